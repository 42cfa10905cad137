//! How long a visitor waits for the first chart of a page, in a real browser. Run by `scripts/pages-speed --charts`.

use crate::seed::Seeded;
use bot::web::pages::{self, Site};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Until the first chart is drawn, in milliseconds.
const FIRST_CHART_MAX_MS: f64 = 1_000.0;

/// Opens pages by kind, each in a browser that has nothing kept, and tells how long their first charts took. Returns the
/// kinds of which one was over the bound.
pub async fn slow(seeded: &Seeded, kinds: Vec<(&'static str, Vec<String>)>) -> Vec<&'static str> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let paths: Vec<&String> = kinds.iter().flat_map(|(_, paths)| paths).collect();
    let took = browsed(&serde_json::json!({ "url": url, "paths": paths })).await;
    server.abort();
    assert_eq!(took.len(), paths.len(), "a page each");
    let mut took = took.as_slice();
    let mut slow = Vec::new();
    for (name, paths) in &kinds {
        let (own, rest) = took.split_at(paths.len());
        took = rest;
        let mut own = own.to_vec();
        own.sort_by(f64::total_cmp);
        let (median, largest) = (own[(own.len() - 1) / 2], own[own.len() - 1]);
        println!("  {name:<44} first chart: median {median:>5.0} ms, the longest {largest:>5.0} ms");
        if largest >= FIRST_CHART_MAX_MS {
            slow.push(*name);
        }
    }
    slow
}

/// Milliseconds for each path, by `scripts/pages-test.d/charts.mjs`.
async fn browsed(asked: &serde_json::Value) -> Vec<f64> {
    let script = std::env::var("PACELINE_SPEED_BROWSER").expect("scripts/pages-speed names the script");
    let mut command = Command::new("node");
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).await.unwrap();
    let said = child.wait_with_output().await.unwrap();
    assert!(said.status.success(), "the browser's script ended with {}", said.status);
    serde_json::from_slice(&said.stdout).unwrap()
}
