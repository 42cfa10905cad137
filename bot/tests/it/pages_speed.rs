//! How long pages of a large database take the server, and how much they send. Run by `scripts/pages-speed`.

use crate::database::On;
use crate::large_history::{self, Large};
use crate::pages_charts;
use crate::postgres;
use crate::seed::{NOW_MS, Seeded, fine_commits, job_id, judged, pull, report, row, sha};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bot::db::{jobs, repositories, series};
use bot::pull::RepoId;
use bot::queue::JobState;
use bot::web::pages::{self, Site};
use perfsuite::model::{Metric, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::Row;
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
    let measured = Measured { requests: number("REQUESTS", 200), charts: number("CHARTS", 0) };
    let mut missed = Vec::new();
    if let Ok(url) = std::env::var("PACELINE_SPEED_URL") {
        missed.extend(run(Seeded::kept(&url).await, large, measured).await);
    } else {
        let wanted = std::env::var("PACELINE_SPEED_DATABASE").unwrap_or_else(|_| "both".into());
        assert!(["both", "sqlite", "postgres"].contains(&wanted.as_str()), "no such database: {wanted}");
        if wanted != "postgres" {
            missed.extend(run(Seeded::empty(On::Sqlite).await, large, measured).await);
        }
        if wanted != "sqlite" && postgres::available() {
            missed.extend(run(Seeded::empty(On::Postgres).await, large, measured).await);
        }
    }
    assert_eq!(missed, [""; 0], "over their bounds");
}

/// How often.
#[derive(Clone, Copy)]
struct Measured {
    /// Of each kind of page, in the server's process.
    requests: usize,
    /// Of each kind that has a chart, in a browser.
    charts: usize,
}

/// A kind of page: how to ask for one, by a number at random, and how long 99 of 100 may take.
struct Kind {
    name: &'static str,
    bound_ms: u128,
    sent_max: usize,
    /// A browser is asked, too.
    chart: bool,
    path: Box<dyn Fn(&mut StdRng) -> String>,
}

/// What was over its bound.
async fn run(seeded: Seeded, large: Large, measured: Measured) -> Vec<String> {
    let on = if seeded.db().is_sqlite() { "SQLite" } else { "PostgreSQL" };
    let run_page = ready(&seeded, on, large).await;
    let of_repository = series::of_repository(seeded.db().pool(), REPOSITORY).await.unwrap();
    let numbers = (0..large.series).map(|n| of_repository[&large_history::key(n)].id).collect();
    let kinds = kinds(large, numbers, run_page, sent_with_a_chart());
    let mut missed = Vec::new();
    if measured.requests > 0 {
        println!("{on}: {} requests of each kind, load {}", measured.requests, load());
        for kind in &kinds {
            if !answers(&seeded, kind, large.seed, measured.requests).await {
                missed.push(format!("{on}: {}", kind.name));
            }
        }
        println!("  load afterwards {}", load());
    }
    if measured.charts > 0 {
        println!("{on}: {} pages of each kind in a browser, load {}", measured.charts, load());
        let pages = kinds.iter().filter(|kind| kind.chart).map(|kind| {
            let mut rng = StdRng::seed_from_u64(large.seed);
            (kind.name, (0..measured.charts).map(|_| (kind.path)(&mut rng)).collect())
        });
        for name in pages_charts::slow(&seeded, pages.collect()).await {
            missed.push(format!("{on}: the first chart of {name}"));
        }
        println!("  load afterwards {}", load());
    }
    missed
}

/// Whether a kind of page kept its bounds.
async fn answers(seeded: &Seeded, kind: &Kind, seed: u64, requests: usize) -> bool {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut took, mut most) = (Vec::new(), 0);
    for n in 0..=requests {
        let path = (kind.path)(&mut rng);
        let began = Instant::now();
        let sent = get(seeded, &path).await;
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
    at(0.99).as_millis() < kind.bound_ms && most <= kind.sent_max
}

const REPOSITORY: RepoId = RepoId(1);
/// The number of the run of 1,000 benchmarks, which is stored last.
const RUN: u32 = 20;

/// Fills an empty database; one that was filled before must be as large as is asked for. Returns the address of its run.
async fn ready(seeded: &Seeded, on: &str, large: Large) -> String {
    let pool = seeded.db().pool();
    if repositories::all(seeded.db(), 1).await.unwrap().is_empty() {
        let began = Instant::now();
        let repository = seeded.repository(REPOSITORY.0, "acme", "gateway", false).await;
        large_history::fill(seeded.db(), repository.id, large).await;
        large_run(seeded, &repository).await;
        let Large { series, commits, .. } = large;
        println!("{on}: {series} series of {commits} commits, stored in {} s", began.elapsed().as_secs());
    } else {
        let job = jobs::get(pool, &job_id(RUN)).await.unwrap();
        let filled = job.is_some_and(|job| job.repository == REPOSITORY && job.state == JobState::Done);
        assert!(
            filled,
            "this database has something else in it, or was not filled to its end: name an empty one"
        );
        let sql = "SELECT COUNT(*) AS series, (SELECT COUNT(*) FROM history_commits) AS commits,
            (SELECT sha FROM history_commits WHERE position = 0) AS first FROM history_series";
        let row = sqlx::query(sql).fetch_one(pool).await.unwrap();
        let (series, commits, first): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(
            (series as usize, commits as usize),
            (large.series, large.commits),
            "this database has so many series and commits, others are asked for"
        );
        assert_eq!(first, large_history::sha(large.seed, 0).as_str(), "this database is of another seed");
    }
    format!("/runs/{}", job_id(RUN))
}

fn kinds(large: Large, numbers: Vec<i64>, run_page: String, scripts: usize) -> Vec<Kind> {
    let (series, commits, seed) = (large.series, large.commits, large.seed);
    let query = |number: usize| {
        let key = large_history::key(number);
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("suite", &key.suite)
            .append_pair("benchmark", &key.benchmark)
            .append_pair("metric", &key.metric)
            .finish()
    };
    let of_series = move |rng: &mut StdRng| query(rng.random_range(0..series));
    let page = |name, path: Box<dyn Fn(&mut StdRng) -> String>| Kind {
        name,
        bound_ms: 100,
        sent_max: SENT_MAX - scripts,
        chart: false,
        path,
    };
    let chart = |name, path| Kind { chart: true, ..page(name, path) };
    let at = |more: &'static str| -> Box<dyn Fn(&mut StdRng) -> String> {
        Box::new(move |rng| format!("/acme/gateway/history?{}{more}", of_series(rng)))
    };
    let together = |more: &'static str| -> Box<dyn Fn(&mut StdRng) -> String> {
        let numbers = numbers.clone();
        Box::new(move |rng| {
            let first = rng.random_range(0..series);
            let others = (1..5).map(|step| numbers[(first + step * series / 5) % series].to_string());
            let others: Vec<String> = others.collect();
            format!("/acme/gateway/history?{}&from=0&with={}{more}", query(first), others.join(","))
        })
    };
    vec![
        page("history: the list", Box::new(|_| "/acme/gateway/history".into())),
        page(
            "history: a page of the list, filtered",
            Box::new(move |rng| {
                format!("/acme/gateway/history?q=group-1&after={}", rng.random_range(0..3) * 50)
            }),
        ),
        chart("history: the newest commits of a series", at("")),
        chart("history: all commits of a series", at("&from=0")),
        page("history: all commits, to the parent", at("&from=0&view=parent")),
        page("history: all commits, raw", at("&from=0&view=raw")),
        chart("history: all commits of five series", together("")),
        page("history: all commits of five, to the parent", together("&view=parent")),
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
            chart: false,
            path: Box::new(move |rng| {
                let mut sha = || large_history::sha(seed, rng.random_range(0..commits));
                format!("/acme/gateway/compare/{}...{}", sha(), sha())
            }),
        },
        Kind {
            name: "run: 1,000 benchmarks",
            bound_ms: 150,
            sent_max: usize::MAX,
            chart: false,
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

async fn large_run(seeded: &Seeded, repository: &bot::pull::Repository) {
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
    seeded.queue(repository, 1, &sha('e'), RUN, NOW_MS).await;
    let job = seeded.claim(&runner, NOW_MS).await;
    seeded.finish(&job, &report(rows), NOW_MS).await;
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
