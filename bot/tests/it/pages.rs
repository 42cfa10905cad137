//! The pages through their real router, over a real database.

use crate::database::{On, on_both};
use crate::seed::{self, NOW_MS, Seeded, job_id, judged, pull, report, row, sha};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bot::activity::{Kind, NewEvent};
use bot::db::activity;
use bot::judgement::{CommitJudgement, CommitsJudgement, Finding, Level};
use bot::web::pages::{self, Site};
use perfsuite::model::{Metric, Verdict};
use std::collections::BTreeSet;
use tower::ServiceExt;

on_both!(
    each_page_of_a_working_day_says_what_matters,
    what_needs_attention_comes_first,
    an_empty_server_says_how_to_begin,
    a_private_repository_does_not_exist_for_visitors,
    unknown_and_malformed_addresses_are_not_found,
    nonsense_in_a_query_shows_the_whole,
    hostile_text_is_shown_and_does_nothing,
    every_answer_is_locked_down,
    pages_load_nothing_from_elsewhere_and_have_no_dead_links,
    assets_are_named_by_content_and_kept,
    pull_requests_are_paged,
    a_database_that_is_gone_is_said_in_words,
    a_database_that_is_locked_is_said_in_words,
);

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// Asks the router for an address.
pub async fn get(seeded: &Seeded, path: &str) -> Answer {
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    // Evidence is no text.
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn ok(seeded: &Seeded, path: &str) -> String {
    let answer = get(seeded, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

pub fn run_path(number: u32) -> String {
    format!("/runs/{}", job_id(number))
}

/// Every page of a working day, and what each must say.
fn pages_of_the_day() -> Vec<(String, Vec<&'static str>)> {
    vec![
        (
            "/".into(),
            vec![
                "Needs attention",
                "1 slower, blocking",
                "1 perhaps layout",
                "acme/gateway",
                "1 blocked",
                "octo/quiet-library",
                "could not be measured",
            ],
        ),
        (
            "/acme/gateway".into(),
            vec!["normalise paths", "does not build", "not measured", "waiting for approval", "merged"],
        ),
        ("/octo/quiet-library".into(), vec!["No pull request yet"]),
        (
            "/acme/gateway/pull/17".into(),
            vec![
                "Slower: route/match/1000 time +18.4 % (95 % interval +17.4 to +19.6)",
                "feat(route): normalise paths",
                "it wants <code>type(scope): description</code>.",
                "header-form",
                "superseded",
                "took 6 min",
                "on <bdi>bench-01</bdi>",
            ],
        ),
        ("/acme/gateway/pull/16".into(), vec!["The head does not build"]),
        ("/acme/gateway/pull/15".into(), vec!["Nothing to measure", "Only documentation changed."]),
        ("/acme/gateway/pull/14".into(), vec!["Waiting for approval", "/paceline run 8888888"]),
        (run_path(1), vec!["superseded", "There is a newer run"]),
        (
            run_path(2),
            vec![
                "61,300",
                "−3.9 %",
                "−4.9 to −2.7",
                "slower, perhaps layout",
                "blocks the check",
                "6 min 30 s more would settle it",
                "noisy",
                "advises only",
                "paceline review a1b2c3d4e5f6..dddddddddddd",
                "valgrind",
                "Finished `bench` profile in 38.2s",
            ],
        ),
        (run_path(3), vec!["mismatched types", "The head does not build"]),
        (run_path(4), vec!["Faster: headers/strip/12"]),
        (run_path(5), vec!["http-equiv=\"refresh\"", "value=\"14\"", "14 of 45", "Compiling codec"]),
        (run_path(7), vec!["Waiting for a runner", "number 2 in the queue", "One runner is at work."]),
        (run_path(8), vec!["The disk of the runner is full.", "No space left on device"]),
        ("/runners".into(), vec!["bench-01", "at work", "silent", "AMD EPYC 7763", "acme/codec#4"]),
    ]
}

async fn each_page_of_a_working_day_says_what_matters(on: On) {
    let seeded = Seeded::working_day(on).await;
    for (path, expected) in pages_of_the_day() {
        let body = ok(&seeded, &path).await;
        for words in expected {
            assert!(body.contains(words), "{path} does not say {words:?}:\n{body}");
        }
    }
}

async fn what_needs_attention_comes_first(on: On) {
    let body = ok(&Seeded::working_day(on).await, "/").await;
    let at = |words: &str| body.find(words).unwrap_or_else(|| panic!("no {words:?}"));
    assert!(at("normalise paths") < at("raise the toolchain"), "a slowdown before a failure");
    assert!(at("raise the toolchain") < at("blocks of sixteen"), "a failure before what runs");
    assert!(at("href=\"/acme/gateway\"") < at("href=\"/acme/codec\""), "blocked repositories first");
    assert!(at("href=\"/acme/codec\"") < at("href=\"/octo/quiet-library\""));
}

async fn an_empty_server_says_how_to_begin(on: On) {
    let seeded = Seeded::empty(on).await;
    let body = ok(&seeded, "/").await;
    assert!(body.contains("paceline demo") && body.contains("Install the GitHub App"), "{body}");
    let body = ok(&seeded, "/runners").await;
    assert!(body.contains("No runner yet") && body.contains("Nothing waits, nothing runs."), "{body}");
}

async fn a_private_repository_does_not_exist_for_visitors(on: On) {
    let seeded = Seeded::working_day(on).await;
    let run = run_path(6);
    let paths = [
        "/acme/secret-sauce".to_owned(),
        "/acme/secret-sauce/pull/1".into(),
        "/api/v1/repositories/acme/secret-sauce/pulls/1".into(),
        format!("{run}/evidence"),
        format!("/api/v1{run}"),
        run,
    ];
    for path in &paths {
        let answer = get(&seeded, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let unknown = if path.starts_with("/api") { "/api/v1/runs/none" } else { "/no/such" };
        assert_eq!(answer.body, get(&seeded, unknown).await.body, "{path} differs from what does not exist");
    }
    for (path, _) in pages_of_the_day() {
        let body = ok(&seeded, &path).await;
        for words in ["secret", "mallory", &job_id(6).0] {
            assert!(!body.contains(words), "{path} tells of {words:?}");
        }
    }
}

async fn unknown_and_malformed_addresses_are_not_found(on: On) {
    let seeded = Seeded::working_day(on).await;
    let unknown = seed::unknown_job();
    let long = "x".repeat(5_000);
    for path in [
        "/nobody/nothing",
        "/acme/gateway/pull/999",
        "/acme/gateway/pull/0",
        "/acme/gateway/pull/-1",
        "/acme/gateway/pull/17abc",
        "/acme/gateway/pull/99999999999999999999999",
        "/acme/%2e%2e",
        "/acme/%ff",
        "/acme/gate%00way",
        "/a%2fb/c",
        "/runs/7",
        &format!("/runs/{unknown}"),
        &format!("/runs/{unknown}/evidence"),
        &format!("/runs/{}", long),
        &format!("/{long}/{long}"),
        &format!("/runs/{}/evidence", job_id(5)),
        "/runs/0193F2A0-0000-7000-8000-000000000002",
        "/assets/paceline.css",
        "/assets/..%2fpages%2flayout.html",
        "/api/v1/repositories/acme/gateway/pulls/999",
        "/api/v1/nothing",
        "/deep/er/than/any/page",
    ] {
        assert_eq!(get(&seeded, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let body = get(&seeded, "/nobody/nothing").await.body;
    assert!(body.contains("Nothing here") && body.contains("stylesheet"), "{body}");
}

async fn nonsense_in_a_query_shows_the_whole(on: On) {
    let seeded = Seeded::working_day(on).await;
    for path in
        ["/acme/gateway?before=-1", "/acme/gateway?before=9999999999999999999999", "/acme/gateway?before=%ff"]
    {
        assert!(ok(&seeded, path).await.contains("normalise paths"), "{path}");
    }
    for query in ["show=%00", "show=%3Cscript%3E", "show=all&show=all", "refresh=x"] {
        assert!(
            ok(&seeded, &format!("{}?{query}", run_path(2))).await.contains("limit/sliding/10"),
            "{query}"
        );
    }
}

const HOSTILE: &str =
    "</title><script>alert(1)</script><img src=x onerror=alert(1)> \"'& \u{202e}gnp.exe \u{1b}[31mred";

async fn hostile_text_is_shown_and_does_nothing(on: On) {
    let seeded = Seeded::empty(on).await;
    let runner = seeded.runner(HOSTILE, false, NOW_MS).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let commits = CommitsJudgement {
        commits: vec![CommitJudgement {
            sha: sha('1'),
            header: HOSTILE.into(),
            compliant: Some(false),
            findings: vec![Finding {
                rule: HOSTILE.into(),
                level: Level::Error,
                line: 1,
                column: 1,
                message: HOSTILE.into(),
                suggestion: Some(HOSTILE.into()),
            }],
        }],
        ..CommitsJudgement::default()
    };
    let mut hostile = pull(1, HOSTILE, HOSTILE, sha('d'));
    hostile.head_ref = HOSTILE.into();
    hostile.base_ref = HOSTILE.into();
    seeded.pull(&repository, &hostile, Some(&judged(commits)), NOW_MS).await;
    seeded.queue(&repository, 1, &sha('d'), 1, NOW_MS).await;
    let job = seeded.claim(&runner, NOW_MS).await;
    seeded.measuring(&job, HOSTILE, 1, 2).await;
    seeded.log(&job.id, &[HOSTILE]).await;
    let live = ok(&seeded, &run_path(1)).await;
    let mut report = report(vec![row(HOSTILE, Metric::Time, 1.0, 0.2, Verdict::Slower)]);
    report.failures = seed::slow_report().failures;
    report.failures[0].output = HOSTILE.into();
    report.environment.hostname = HOSTILE.into();
    report.environment.warnings = vec![HOSTILE.into()];
    report.identical = vec![HOSTILE.into()];
    report.builds[0].error = Some(HOSTILE.into());
    seeded.finish(&job, &report, NOW_MS).await;
    let mut bodies = vec![live];
    let mut tx = seeded.db().begin().await.unwrap();
    for (source, kind) in [("1", Kind::Review), ("2", Kind::Comment), ("3", Kind::Merged)] {
        let event = NewEvent {
            kind,
            source: source.into(),
            number: Some(1),
            login: HOSTILE.into(),
            bot: false,
            detail: Some(HOSTILE.into()),
            sha: Some(HOSTILE.into()),
            at_ms: NOW_MS - 1_000,
        };
        activity::insert(&mut tx, repository.id, &event, &BTreeSet::new()).await.unwrap();
    }
    tx.commit().await.unwrap();
    for path in [
        "/",
        "/acme/gateway",
        "/acme/gateway/pull/1",
        "/acme/gateway/pull/1/story",
        "/acme/gateway/contributors",
        &run_path(1),
        "/runners",
    ] {
        bodies.push(ok(&seeded, path).await);
    }
    for body in bodies {
        assert!(!body.contains("<script>") && !body.contains("<img"), "{body}");
        assert!(!body.contains('\u{202e}') && !body.contains('\u{1b}'), "{body}");
        assert!(body.contains("alert(1)"), "the text is not shown: {body}");
        assert_eq!(body.matches("</title>").count(), 1);
    }
}

async fn every_answer_is_locked_down(on: On) {
    let seeded = Seeded::working_day(on).await;
    let run = run_path(2);
    for path in
        ["/", "/runners", "/acme/gateway", &run, "/nobody/nothing", "/a/b/c/d", &format!("/api/v1{run}")]
    {
        let headers = get(&seeded, path).await.headers;
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cache-control"), "no-cache", "{path}");
    }
}

/// Values of an attribute in a page.
fn attributes<'a>(body: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    body.match_indices(&start).map(|(at, _)| body[at + start.len()..].split('"').next().unwrap()).collect()
}

async fn pages_load_nothing_from_elsewhere_and_have_no_dead_links(on: On) {
    let seeded = Seeded::working_day(on).await;
    for (path, _) in pages_of_the_day() {
        let body = ok(&seeded, &path).await;
        for inline in [" style=\"", "<style", "<script>", " onclick", "javascript:"] {
            assert!(!body.contains(inline), "{path} has {inline}");
        }
        for link in attributes(&body, "href").into_iter().chain(attributes(&body, "src")) {
            let target = link.split('#').next().unwrap();
            assert!(
                link.starts_with('#') || link.starts_with('/') && !link.starts_with("//"),
                "{path} -> {link}"
            );
            if !target.is_empty() {
                let answer = get(&seeded, target).await;
                assert_eq!(answer.status, StatusCode::OK, "{path} links to {link}");
            }
        }
        let ids = attributes(&body, "id");
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(ids.len(), unique.len(), "{path} uses an id twice");
        for label in attributes(&body, "aria-labelledby") {
            assert!(ids.contains(&label), "{path} has no {label}");
        }
    }
}

async fn assets_are_named_by_content_and_kept(on: On) {
    let seeded = Seeded::empty(on).await;
    let body = ok(&seeded, "/").await;
    let assets: Vec<&str> = attributes(&body, "href")
        .into_iter()
        .chain(attributes(&body, "src"))
        .filter(|link| link.starts_with("/assets/"))
        .collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in assets {
        let answer = get(&seeded, asset).await;
        assert_eq!(answer.status, StatusCode::OK);
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert!(header("cache-control").contains("immutable"), "{asset}");
        let expected = match asset.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(header("content-type"), expected);
        assert!(!answer.body.contains("http://") || asset.ends_with(".svg"), "{asset} names another place");
    }
}

async fn pull_requests_are_paged(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "busy", false).await;
    for number in 1..=53 {
        seeded
            .pull(&repository, &pull(number, &format!("change {number}."), "alice", sha('d')), None, NOW_MS)
            .await;
    }
    let first = ok(&seeded, "/acme/busy").await;
    assert!(
        first.contains("change 53.") && first.contains("change 4.") && !first.contains("change 3."),
        "{first}"
    );
    assert!(first.contains("?before=4\""), "{first}");
    let second = ok(&seeded, "/acme/busy?before=4").await;
    assert!(second.contains("change 3.") && second.contains("change 1.") && !second.contains("change 4."));
    assert!(!second.contains("?before="), "nothing is older");
    assert!(ok(&seeded, "/acme/busy?before=1").await.contains("No older pull request"));
}

async fn a_database_that_is_gone_is_said_in_words(on: On) {
    let seeded = Seeded::working_day(on).await;
    seeded.db().close().await;
    for path in [
        "/",
        "/runners",
        "/service",
        "/acme/gateway",
        "/acme/gateway/contributors",
        "/acme/gateway/contributors/alice",
        "/acme/gateway/calibration",
        "/acme/gateway/badge/stars.svg",
        "/acme/gateway/pull/17",
        "/acme/gateway/pull/17/story",
        &run_path(2),
    ] {
        let answer = get(&seeded, path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(
            answer.body.contains("The database does not answer") && !answer.body.contains("sqlx"),
            "{path}"
        );
    }
    let answer = get(&seeded, &format!("/api/v1{}", run_path(2))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

async fn a_database_that_is_locked_is_said_in_words(on: On) {
    let seeded = Seeded::working_day(on).await;
    let mut holder = seeded.db().begin().await.unwrap();
    if on == On::Postgres {
        let lock = "LOCK TABLE pull_requests IN ACCESS EXCLUSIVE MODE";
        sqlx::query(lock).execute(&mut *holder).await.unwrap();
    }
    let answer = get(&seeded, "/acme/gateway/pull/17").await;
    match on {
        // Its readers wait for no writer.
        On::Sqlite => assert_eq!(answer.status, StatusCode::OK),
        On::Postgres => {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.body.contains("The database does not answer"), "{}", answer.body);
        }
    }
    holder.rollback().await.unwrap();
    assert_eq!(get(&seeded, "/acme/gateway/pull/17").await.status, StatusCode::OK);
}
