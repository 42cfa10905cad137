//! Serves seeded pages until standard input closes, for `scripts/pages-test`. A line `step` there takes the run under way
//! a step further, and `end` ends it.

use crate::database::On;
use crate::large_history::{self, Large};
use crate::people::{Past, fill};
use crate::seed::{NOW_MS, Seeded, base, fine_commits, job_id, judged, pull, report, row, sha};
use bot::access::Access;
use bot::clock::Clock;
use bot::config::AccessConfig;
use bot::db::{jobs, repositories, sessions};
use bot::demo::standin::{Covered, NewRepository, StandIn, StandInOptions};
use bot::github::{GitHub, GitHubConfig, Person, REQUEST_TIMEOUT, UserFlow};
use bot::pull::{Permission, RepoId, Repository};
use bot::web::frame::digest;
use bot::web::pages::{self, Site};
use perfsuite::model::{Metric, Verdict};

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
    if size == "huge" {
        paths.clear();
    }
    if size != "empty" {
        let gateway = repositories::by_id(seeded.db().pool(), RepoId(1)).await.unwrap().unwrap();
        let past = match size.as_str() {
            "large" => Past { pulls: 8_000, people: 400, days: 700 },
            _ => Past { pulls: 60, people: 9, days: 200 },
        };
        fill(&seeded, &gateway, past).await;
        let (series, commits) = match size.as_str() {
            "huge" => (1_000, 10_000),
            "large" => (200, 5_000),
            _ => (12, 160),
        };
        let large = Large { series, commits, seed: 1, now_ms: NOW_MS };
        large_history::fill(seeded.db(), gateway.id, large).await;
        // Of a small history this one gets slower, so that there is something to accept.
        let key = large_history::key(6);
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
        if size == "large" || size == "huge" {
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
        let of_day = [
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
        ];
        // Of the largest one, pages of its history and of its run alone.
        if size != "huge" {
            paths.extend(of_day.map(String::from));
            paths.extend([1, 2, 3, 4, 5, 8].map(|number| format!("/runs/{}", job_id(number))));
            paths.push(format!("/runs/{}/visits/0", job_id(2)));
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (alice, _github) = github_of(&mut seeded, &url).await;
    sessions::insert(seeded.db(), &digest(TOKEN), &alice, NOW_MS, NOW_MS + 1_000_000_000).await.unwrap();
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let live = format!("/runs/{}", job_id(5));
    println!("\n{}", serde_json::json!({ "url": url, "cookie": TOKEN, "paths": paths, "live": live }));
    let here = tokio::runtime::Handle::current();
    let orders = tokio::task::spawn_blocking(move || {
        for (n, line) in std::io::stdin().lines().enumerate() {
            here.block_on(obey(&seeded, n, line.unwrap().trim()));
        }
    });
    orders.await.unwrap();
}

/// Who may write in `acme/gateway`, by the word of a GitHub that is there as long as it is held.
async fn github_of(seeded: &mut Seeded, url: &str) -> (Person, StandIn) {
    let github = StandIn::start(StandInOptions::new(seeded.dir.path().join("github"))).await.unwrap();
    let app = github.create_app("paceline").unwrap();
    let installation = github.install(app.app_id, "acme");
    let repo = github.create_repository(&NewRepository::named("acme/gateway").unwrap()).unwrap();
    github.cover(installation, repo, Covered::Yes);
    github.set_permission(repo, "alice", Permission::Write);
    if let Some(gateway) = repositories::by_id(seeded.db().pool(), RepoId(1)).await.unwrap() {
        let mut tx = seeded.db().begin().await.unwrap();
        let gateway = Repository { installation, ..gateway };
        repositories::upsert(&mut tx, &gateway, NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
    }
    let flow = UserFlow {
        api_url: github.enterprise_url(),
        git_url: None,
        client_id: format!("Iv1.{}", app.app_id),
        client_secret: app.webhook_secret.clone(),
    };
    let hub = GitHub::new(GitHubConfig {
        api_url: github.enterprise_url(),
        git_url: None,
        app_id: app.app_id,
        private_key: app.private_key.clone(),
        clock: Clock::system(),
        request_timeout: REQUEST_TIMEOUT,
    });
    let rules = AccessConfig { admins: vec!["alice".into()], sign_in_required: false };
    seeded.site.access = Access::new(hub.unwrap(), Some(flow), rules, url.to_owned(), Clock::system());
    (Person { id: github.account("alice"), login: "alice".into() }, github)
}

/// What the test in the browser has happen to the run under way.
async fn obey(seeded: &Seeded, n: usize, order: &str) {
    let job = jobs::get(seeded.db().pool(), &job_id(5)).await.unwrap().unwrap();
    match order {
        "step" => {
            let done = 20 + n as u64;
            seeded.measuring(&job, &format!("measuring visit {done}"), done, 45).await;
            seeded.log(&job.id, &[&format!("visit {done} of 45"), "<b>not bold</b>"]).await;
        }
        "end" => {
            let equal = row("block/decode/4096", Metric::Time, 812.0, 0.001, Verdict::Equal);
            seeded.finish(&job, &report(vec![equal]), NOW_MS).await;
        }
        other => panic!("no such order: {other:?}"),
    }
}
