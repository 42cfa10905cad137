//! How long pages of a large database take the server, and how much they send. Run by `scripts/pages-speed`.

use crate::database::On;
use crate::large_history::{self, Large};
use crate::postgres;
use crate::seed::{NOW_MS, Seeded, fine_commits, judged, pull, report, row, sha};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bot::web::pages::{self, Site};
use perfsuite::model::{Metric, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// What a page may send, in bytes: with the scripts and the stylesheet of a history page beside it.
const SENT_MAX: usize = 300 << 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement; scripts/pages-speed runs it"]
async fn at_length() {
    let number = |name: &str, default: usize| match std::env::var(format!("PACELINE_SPEED_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")),
        Err(_) => default,
    };
    let large = Large {
        series: number("SERIES", 1_000),
        commits: number("COMMITS", 10_000),
        seed: number("SEED", 1) as u64,
        now_ms: NOW_MS,
    };
    let requests = number("REQUESTS", 200);
    let wanted = std::env::var("PACELINE_SPEED_DATABASE").unwrap_or_else(|_| "both".into());
    assert!(["both", "sqlite", "postgres"].contains(&wanted.as_str()), "no such database: {wanted}");
    let mut missed = Vec::new();
    if wanted != "postgres" {
        missed.extend(run(On::Sqlite, large, requests).await);
    }
    if wanted != "sqlite" && postgres::available() {
        missed.extend(run(On::Postgres, large, requests).await);
    }
    assert_eq!(missed, [""; 0], "over their bounds");
}

/// A kind of page: how to ask for one, by a number at random, and how long 99 of 100 may take.
struct Kind {
    name: &'static str,
    bound_ms: u128,
    sent_max: usize,
    path: Box<dyn Fn(&mut StdRng) -> String>,
}

/// What was over its bound.
async fn run(on: On, large: Large, requests: usize) -> Vec<String> {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let began = Instant::now();
    large_history::fill(seeded.db(), repository.id, large).await;
    let run_page = large_run(&seeded, &repository).await;
    println!(
        "{on:?}: {} series of {} commits, stored in {} s; load {}",
        large.series,
        large.commits,
        began.elapsed().as_secs(),
        load()
    );
    let scripts = sent_with_a_chart();
    let mut missed = Vec::new();
    for kind in kinds(large, run_page, scripts) {
        let mut rng = StdRng::seed_from_u64(large.seed);
        let (mut took, mut most) = (Vec::new(), 0);
        for n in 0..=requests {
            let path = (kind.path)(&mut rng);
            let began = Instant::now();
            let sent = get(&seeded, &path).await;
            // The first of a kind prepares its statements.
            if n > 0 {
                took.push(began.elapsed());
            }
            most = most.max(sent);
        }
        took.sort();
        let at = |share: f64| took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1];
        let ms = |duration: Duration| duration.as_micros() as f64 / 1_000.0;
        println!(
            "  {:<44} median {:>6.1} ms, 99 of 100 under {:>6.1} ms, the longest {:>6.1} ms, at most {:>4} KiB",
            kind.name,
            ms(at(0.5)),
            ms(at(0.99)),
            ms(at(1.0)),
            most >> 10
        );
        if at(0.99).as_millis() >= kind.bound_ms || most > kind.sent_max {
            missed.push(format!("{on:?}: {}", kind.name));
        }
    }
    println!("  load afterwards {}", load());
    missed
}

fn kinds(large: Large, run_page: String, scripts: usize) -> Vec<Kind> {
    let (series, commits, seed) = (large.series, large.commits, large.seed);
    let of_series = move |rng: &mut StdRng| {
        let key = large_history::key(rng.random_range(0..series));
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("suite", &key.suite)
            .append_pair("benchmark", &key.benchmark)
            .append_pair("metric", &key.metric)
            .finish()
    };
    let page = |name, path: Box<dyn Fn(&mut StdRng) -> String>| Kind {
        name,
        bound_ms: 100,
        sent_max: SENT_MAX - scripts,
        path,
    };
    let at = |more: &'static str| -> Box<dyn Fn(&mut StdRng) -> String> {
        Box::new(move |rng| format!("/acme/gateway/history?{}{more}", of_series(rng)))
    };
    vec![
        page("history: the list", Box::new(|_| "/acme/gateway/history".into())),
        page(
            "history: a page of the list, filtered",
            Box::new(move |rng| {
                format!("/acme/gateway/history?q=group-1&after={}", rng.random_range(0..3) * 50)
            }),
        ),
        page("history: the newest commits of a series", at("")),
        page("history: all commits of a series", at("&from=0")),
        page("history: all commits, to the parent", at("&from=0&view=parent")),
        page("history: all commits, raw", at("&from=0&view=raw")),
        page(
            "history: 500 commits of a series, zoomed",
            Box::new(move |rng| {
                let from = rng.random_range(0..commits);
                format!("/acme/gateway/history?{}&from={from}&to={}", of_series(rng), from + 500)
            }),
        ),
        page(
            "a series as a picture for a README",
            Box::new(move |rng| format!("/acme/gateway/history.svg?{}", of_series(rng))),
        ),
        Kind {
            name: "compare: two commits of the history",
            bound_ms: 150,
            sent_max: usize::MAX,
            path: Box::new(move |rng| {
                let mut sha = || large_history::sha(seed, rng.random_range(0..commits));
                format!("/acme/gateway/compare/{}...{}", sha(), sha())
            }),
        },
        Kind {
            name: "run: 1,000 benchmarks",
            bound_ms: 150,
            sent_max: usize::MAX,
            path: Box::new(move |_| run_page.clone()),
        },
    ]
}

/// Scripts and stylesheets that a browser loads beside a history page, in bytes.
fn sent_with_a_chart() -> usize {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/assets");
    let names = ["paceline.css", "uplot.css", "uplot.js", "history.js", "copy.js"];
    names.iter().map(|name| std::fs::metadata(dir.join(name)).unwrap().len() as usize).sum()
}

async fn large_run(seeded: &Seeded, repository: &bot::pull::Repository) -> String {
    let runner = seeded.runner("rack-8", false, NOW_MS).await;
    let pull = pull(1, "perf: all of it", "alice", sha('e'));
    seeded.pull(repository, &pull, Some(&judged(fine_commits())), NOW_MS).await;
    let verdicts = [Verdict::Equal, Verdict::Slower, Verdict::Faster, Verdict::Inconclusive];
    let rows = (0..1_000).map(|n| {
        let estimate = [0.001, 0.04, -0.05, 0.01][n % 4];
        let name = format!("group/{}/benchmark/{n}", n / 50);
        row(&name, Metric::Time, 1_000.0 + n as f64, estimate, verdicts[n % 4])
    });
    let rows: Vec<_> = rows.collect();
    seeded.queue(repository, 1, &sha('e'), 20, NOW_MS).await;
    let job = seeded.claim(&runner, NOW_MS).await;
    seeded.finish(&job, &report(rows), NOW_MS).await;
    format!("/runs/{}", job.id)
}

/// The bytes of a page.
async fn get(seeded: &Seeded, path: &str) -> usize {
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    axum::body::to_bytes(answer.into_body(), 16 << 20).await.unwrap().len()
}

/// Of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
