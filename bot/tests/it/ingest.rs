//! How many deliveries a second are taken: an open loop against a real server. Run by `scripts/ingest-test`.

use crate::crash::Crashing;
use crate::database::On;
use crate::postgres;
use bot::db::{Db, deliveries};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::Row;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Different payloads, signed beforehand; what tells deliveries apart is a header.
const PAYLOADS: usize = 256;
/// Most of GitHub's own examples lie between these.
const PAYLOAD_MIN_BYTES: usize = 10 << 10;
const PAYLOAD_MAX_BYTES: usize = 40 << 10;
/// One delivery in so many is a pull request's, which is worked on; the others are of events that are only recorded.
const HANDLED_EVERY: usize = 20;
/// Pull requests that those are about.
const PULLS: usize = 20;
/// How long the work that was taken may go on afterwards.
const SETTLE: Duration = Duration::from_secs(300);

struct Payload {
    event: &'static str,
    body: Bytes,
    signature: String,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and the whole machine; scripts/ingest-test runs it"]
async fn at_length() {
    let number = |name: &str, default: usize| match std::env::var(format!("PACELINE_INGEST_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")),
        Err(_) => default,
    };
    let (rate, seconds) = (number("RATE", 1_000), number("SECONDS", 60));
    let wanted = std::env::var("PACELINE_INGEST_DATABASE").unwrap_or_else(|_| "both".into());
    assert!(["both", "sqlite", "postgres"].contains(&wanted.as_str()), "no such database: {wanted}");
    if wanted != "postgres" {
        println!("{}", run(On::Sqlite, rate, seconds).await);
    }
    if wanted != "sqlite" && postgres::available() {
        println!("{}", run(On::Postgres, rate, seconds).await);
    }
}

async fn run(on: On, rate: usize, seconds: usize) -> String {
    let it = Crashing::new(on, PULLS).await;
    let db = Db::open(&it.database.url).await.unwrap();
    let mut server = it.start();
    let health = it.url("/healthz");
    while crate::world::request("GET", &health, &[], Vec::new()).await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let payloads = Arc::new(payloads(&it));
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (count, started) = (rate * seconds, Instant::now());
    let mut sent = Vec::with_capacity(count);
    for n in 0..count {
        let due = started + Duration::from_secs_f64(n as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let (client, payloads, url) = (client.clone(), payloads.clone(), it.url("/github/webhook"));
        sent.push(tokio::spawn(async move {
            let payload = &payloads[n % PAYLOADS];
            let request = http::Request::post(url)
                .header("content-type", "application/json")
                .header("x-github-event", payload.event)
                .header("x-github-delivery", bot::db::new_id())
                .header("x-hub-signature-256", &payload.signature)
                .body(Full::new(payload.body.clone()))
                .unwrap();
            let status = match client.request(request).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    answer.into_body().collect().await.map_or(0, |_| status)
                }
                Err(_) => 0,
            };
            // From the time that it was due, whenever it was really sent.
            (status, due.elapsed())
        }));
    }
    let (mut taken, mut times) = (0, Vec::with_capacity(count));
    for sent in sent {
        let (status, time) = sent.await.unwrap();
        taken += usize::from(status == 202);
        times.push(time);
    }
    let took = started.elapsed();
    let memory = peak_memory_mib(server.id());
    let settled = settled(&db).await;
    let stored = sqlx::query("SELECT COUNT(*) FROM deliveries WHERE guid NOT LIKE 'sweep:%'");
    let stored: i64 = stored.fetch_one(db.pool()).await.unwrap().get(0);
    server.kill().unwrap();
    server.wait().unwrap();
    db.close().await;
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    let figures = format!(
        "{on:?}: {rate} deliveries a second for {seconds} s ({count} in {:.1} s), 10 to 40 KB, signed: {taken} answered 202, \
         {} lost of those;\n  answer p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, longest {:.1} ms; \
         peak memory {memory} MiB; the last was worked on {settled}",
        took.as_secs_f64(),
        taken as i64 - stored,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0),
    );
    assert_eq!((taken, stored), (count, count as i64), "{figures}");
    figures
}

/// How long after the last answer nothing waited any more.
async fn settled(db: &Db) -> String {
    let started = Instant::now();
    while started.elapsed() < SETTLE {
        let (waiting, _) = deliveries::waiting(db.pool()).await.unwrap();
        if waiting == 0 {
            return format!("{:.1} s later", started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    format!("not within {} s", SETTLE.as_secs())
}

fn payloads(it: &Crashing) -> Vec<Payload> {
    let mut random = StdRng::seed_from_u64(7);
    let others = ["push", "workflow_job", "status", "check_suite", "issues", "workflow_run"];
    (0..PAYLOADS)
        .map(|n| {
            let handled = n % HANDLED_EVERY == 0;
            let filling: String = (0..random.random_range(PAYLOAD_MIN_BYTES..PAYLOAD_MAX_BYTES))
                .map(|_| char::from(random.random_range(b'a'..=b'z')))
                .collect();
            let number = it.numbers[n / HANDLED_EVERY % it.numbers.len()];
            let body = json!({
                "action": if handled { "synchronize" } else { "completed" },
                "installation": { "id": it.installation.0 },
                "repository": { "id": it.repository.0, "full_name": "acme/widgets" },
                "pull_request": if handled { json!({ "number": number }) } else { json!(null) },
                "sender": { "login": "alice" },
                "filling": filling,
            });
            let body = Bytes::from(body.to_string());
            let secret = it.app.webhook_secret.expose_secret().as_bytes();
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
            mac.update(&body);
            let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
            let event = if handled { "pull_request" } else { others[n % others.len()] };
            Payload { event, body, signature }
        })
        .collect()
}

fn peak_memory_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() >> 10
}
