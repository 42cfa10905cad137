//! Serves seeded pages until standard input closes, for `scripts/pages-test`.

use crate::database::On;
use crate::large_history::{self, Large};
use crate::people::{Past, fill};
use crate::seed::{NOW_MS, Seeded, base, fine_commits, job_id, judged, pull, report, row, sha};
use bot::access::Access;
use bot::clock::Clock;
use bot::config::AccessConfig;
use bot::db::{repositories, sessions};
use bot::github::{GitHub, GitHubConfig, Person, REQUEST_TIMEOUT, UserFlow};
use bot::pull::RepoId;
use bot::web::frame::digest;
use bot::web::pages::{self, Site};
use perfsuite::model::{Metric, Verdict};
use std::io::Read;

/// The session of `alice`, an admin.
const TOKEN: &str = "a11ce0000000000000000000000000000000000000000000000000000000cafe";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves until standard input closes; scripts/pages-test starts it"]
async fn serve() {
    let size = std::env::var("PACELINE_LOOK").unwrap_or_else(|_| "small".into());
    let on = if std::env::var("PACELINE_LOOK_ON").is_ok_and(|on| on == "postgres") {
        On::Postgres
    } else {
        On::Sqlite
    };
    let mut seeded = if size == "empty" { Seeded::empty(on).await } else { Seeded::working_day(on).await };
    let mut paths: Vec<String> =
        ["/", "/runners", "/service", "/me", "/no/such", "/sign-in/callback"].map(String::from).to_vec();
    if size != "empty" {
        let gateway = repositories::by_id(seeded.db().pool(), RepoId(1)).await.unwrap().unwrap();
        let past = match size.as_str() {
            "large" => Past { pulls: 8_000, people: 400, days: 700 },
            _ => Past { pulls: 60, people: 9, days: 200 },
        };
        fill(&seeded, &gateway, past).await;
        let (series, commits) = if size == "large" { (200, 5_000) } else { (12, 160) };
        let large = Large { series, commits, seed: 1, now_ms: NOW_MS };
        large_history::fill(seeded.db(), gateway.id, large).await;
        let key = large_history::key(7);
        let of_series = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("suite", &key.suite)
            .append_pair("benchmark", &key.benchmark)
            .append_pair("metric", &key.metric)
            .finish();
        paths.push("/acme/gateway/history".into());
        paths.push(format!("/acme/gateway/history?{of_series}"));
        paths.push(format!("/acme/gateway/history?{of_series}&from=0"));
        paths.push(format!("/acme/gateway/history?{of_series}&view=raw"));
        paths.push(format!("/acme/gateway/history?{of_series}&with=2,3,4"));
        let at = |at| large_history::sha(1, at);
        paths.push(format!("/acme/gateway/compare/{}...{}?show=all", at(9), at(commits - 9)));
        paths.push(format!("/acme/gateway/compare/{}...{}", base(), sha('d')));
        paths.push(format!("/acme/gateway/compare/{}...{}", sha('7'), sha('d')));
        if size == "large" {
            for id in 100..400 {
                seeded.repository(id, "acme", &format!("repository-{id}"), false).await;
            }
            let runner = seeded.runner("rack-8", false, NOW_MS).await;
            seeded
                .pull(
                    &gateway,
                    &pull(9_999, "perf: all of it", "alice", sha('e')),
                    Some(&judged(fine_commits())),
                    NOW_MS,
                )
                .await;
            let rows = (0..1_000).map(|n| {
                let verdict =
                    [Verdict::Equal, Verdict::Slower, Verdict::Faster, Verdict::Inconclusive][n % 4];
                let estimate = [0.001, 0.04, -0.05, 0.01][n % 4];
                row(
                    &format!("group/{}/benchmark/{n}", n / 50),
                    Metric::Time,
                    1_000.0 + n as f64,
                    estimate,
                    verdict,
                )
            });
            let rows: Vec<_> = rows.collect();
            // What waits is taken first.
            for number in 20..23 {
                seeded.queue(&gateway, 9_999, &sha('e'), number, NOW_MS - 900 * 60_000).await;
            }
            let job = seeded.claim(&runner, NOW_MS).await;
            seeded.finish(&job, &report(rows), NOW_MS).await;
            paths.push(format!("/runs/{}", job.id));
            paths.push("/acme/gateway/pull/9999".into());
        }
        paths.extend(
            [
                "/acme/gateway",
                "/acme/gateway?before=2",
                "/octo/quiet-library",
                "/acme/gateway/contributors",
                "/acme/gateway/contributors?days=365",
                "/octo/quiet-library/contributors",
                "/acme/gateway/contributors/alice",
                "/acme/gateway/calibration",
                "/octo/quiet-library/calibration",
                "/acme/gateway/pull/17",
                "/acme/gateway/pull/17/story",
                "/acme/gateway/pull/1001/story",
                "/acme/gateway/pull/16",
                "/acme/codec/pull/4",
                "/octo/quiet-library/history",
                "/acme/gateway/compare",
            ]
            .map(String::from),
        );
        for number in [1, 2, 3, 4, 5, 8] {
            paths.push(format!("/runs/{}", job_id(number)));
        }
        paths.push(format!("/runs/{}/visits/0", job_id(2)));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let flow = UserFlow {
        api_url: "http://127.0.0.1:1".into(),
        git_url: None,
        client_id: "Iv1.1".into(),
        client_secret: String::from("none").into(),
    };
    let (private_key, _) = bot::demo::standin::StandIn::start(bot::demo::standin::StandInOptions::new(
        seeded.dir.path().join("github"),
    ))
    .await
    .and_then(|github| Ok((github.create_app("paceline")?.private_key, ())))
    .unwrap();
    let hub = GitHub::new(GitHubConfig {
        api_url: flow.api_url.clone(),
        git_url: None,
        app_id: 1,
        private_key,
        clock: Clock::system(),
        request_timeout: REQUEST_TIMEOUT,
    });
    let rules = AccessConfig { admins: vec!["alice".into()], sign_in_required: false };
    seeded.site.access = Access::new(hub.unwrap(), Some(flow), rules, url.clone(), Clock::system());
    let alice = Person { id: 1, login: "alice".into() };
    sessions::insert(seeded.db(), &digest(TOKEN), &alice, NOW_MS, NOW_MS + 1_000_000_000).await.unwrap();
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    println!("\n{}", serde_json::json!({ "url": url, "cookie": TOKEN, "paths": paths }));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}
