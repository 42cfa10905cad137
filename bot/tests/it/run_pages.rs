//! The pages of runs: what they show, every visit behind a row, and what is told while a run is under way.

use crate::database::{On, on_both};
use crate::pages::{get, ok, run_path};
use crate::seed::{self, NOW_MS, Seeded, job_id, pull, report, row, sha};
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use bot::db::jobs;
use bot::db::series::{self, Key};
use bot::judgement::{Performance, Run};
use bot::listeners::Listeners;
use bot::pull::RepoId;
use bot::web::pages::{self, Site};
use futures_util::StreamExt;
use perfsuite::model::{Comparison, Metric, Verdict};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

on_both!(
    a_run_can_be_filtered,
    a_run_under_way_can_be_kept_still,
    the_json_twin_has_what_the_page_has,
    evidence_is_passed_on_as_it_was_stored,
    the_main_part_of_a_run,
    every_visit_of_a_row_is_drawn,
    a_row_leads_to_its_history,
    a_row_without_its_evidence_says_so,
    a_run_under_way_is_told_as_it_goes,
    a_listener_goes_on_where_it_was_cut_off,
    listeners_have_a_bound_and_end_with_the_server,
);

/// Longer than a machine takes that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

async fn ask(seeded: &Seeded, request: Request<Body>) -> Response {
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    router.oneshot(request).await.unwrap()
}

async fn a_run_can_be_filtered(on: On) {
    let seeded = Seeded::working_day(on).await;
    let check = |show: &'static str, shown: &'static [&'static str], hidden: &'static [&'static str]| {
        let seeded = &seeded;
        async move {
            let body = ok(seeded, &format!("{}?show={show}", run_path(2))).await;
            let table = &body[body.find("<tbody").unwrap()..body.find("</tbody>").unwrap()];
            for name in shown {
                assert!(table.contains(name), "{show} hides {name}");
            }
            for name in hidden {
                assert!(!table.contains(name), "{show} shows {name}");
            }
            assert!(
                body.contains(&format!("show={show}#rows\" aria-current=\"true\"")),
                "{show} is not marked"
            );
        }
    };
    check("all", &["route/match/1000", "limit/sliding/10", "p99 latency"], &[]).await;
    check("changed", &["route/match/1000", "headers/strip/12"], &["limit/sliding/10", "p99 latency"]).await;
    check("slower", &["route/match/1000"], &["headers/strip/12", "QPS per core"]).await;
    check("suspect", &["QPS per core"], &["route/match/1000", "headers/strip/12"]).await;
    check("inconclusive", &["p99 latency"], &["route/match/1000"]).await;
    check("equal", &["limit/sliding/10000"], &["route/match/1000"]).await;
}

async fn a_run_under_way_can_be_kept_still(on: On) {
    let seeded = Seeded::working_day(on).await;
    let body = ok(&seeded, &format!("{}?refresh=off", run_path(5))).await;
    assert!(!body.contains("http-equiv=\"refresh\"") && body.contains("Let it renew itself"), "{body}");
    assert!(
        !ok(&seeded, &run_path(2)).await.contains("http-equiv=\"refresh\""),
        "an ended run renews itself"
    );
}

async fn the_json_twin_has_what_the_page_has(on: On) {
    let seeded = Seeded::working_day(on).await;
    let run: Run = serde_json::from_str(&ok(&seeded, &format!("/api/v1{}", run_path(2))).await).unwrap();
    assert_eq!((run.pull, run.head.clone()), (Some(17), sha('d')));
    let Performance::Done { report } = &run.performance else { panic!("{:?}", run.performance) };
    let stored = seed::slow_report();
    let named = |rows: &[Comparison]| {
        rows.iter().map(|r| (r.benchmark.clone(), r.verdict, r.visits)).collect::<Vec<_>>()
    };
    assert_eq!(named(&report.rows), named(&stored.rows));
    assert_eq!((&report.failures, &report.environment), (&stored.failures, &stored.environment));
    let twin = ok(&seeded, "/api/v1/repositories/acme/gateway/pulls/17").await;
    assert_eq!(serde_json::from_str::<Run>(&twin).unwrap(), run);
    let answer = get(&seeded, "/api/v1/runs/none").await;
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &error["error"]), (StatusCode::NOT_FOUND, &"Nothing here".into()));
}

async fn evidence_is_passed_on_as_it_was_stored(on: On) {
    let seeded = Seeded::working_day(on).await;
    let job = jobs::get(seeded.db().pool(), &job_id(2)).await.unwrap().unwrap();
    let stored = seeded.site.evidence.bytes(&job.evidence.unwrap()).unwrap();
    let request = Request::get(format!("{}/evidence", run_path(2))).body(Body::empty()).unwrap();
    let answer = ask(&seeded, request).await;
    let headers = answer.headers().clone();
    assert_eq!(axum::body::to_bytes(answer.into_body(), 16 << 20).await.unwrap(), stored);
    assert_eq!(headers["content-type"], "application/zstd");
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment;") && disposition.contains(&job_id(2).0), "{disposition}");
    assert_eq!(headers["content-length"], stored.len().to_string());
}

async fn the_main_part_of_a_run(on: On) {
    let body = ok(&Seeded::working_day(on).await, &run_path(2)).await;
    let main = &body[body.find("<main").unwrap()..body.find("</main>").unwrap()];
    insta::assert_snapshot!("the_main_part_of_a_run", main);
}

async fn every_visit_of_a_row_is_drawn(on: On) {
    let seeded = Seeded::working_day(on).await;
    let run = ok(&seeded, &run_path(2)).await;
    let address = format!("{}/visits/0", run_path(2));
    assert!(run.contains(&format!("href=\"{address}\"")), "a row opens its visits");
    let body = ok(&seeded, &address).await;
    for expect in ["route/match/1000", "+18.4 %", "Every visit", "Where the values lie", "15 visits", "time"]
    {
        assert!(body.contains(expect), "{expect} in {body}");
    }
    let dots = body.matches("class=\"dot\"").count() + body.matches("class=\"cut\"").count();
    assert_eq!(dots, 15, "each once");
    assert_eq!(body.matches("data-label=\"Difference\"").count(), 15, "and in figures");
    assert!(body.contains("paceline review a1b2c3d4e5f6..dddddddddddd"));
    for path in ["/visits/9999", "/visits/-1", "/visits/x", "/visits/00000"] {
        assert_eq!(get(&seeded, &format!("{}{path}", run_path(2))).await.status, StatusCode::NOT_FOUND);
    }
    let running = format!("{}/visits/0", run_path(5));
    assert_eq!(get(&seeded, &running).await.status, StatusCode::NOT_FOUND, "it has no rows yet");
}

async fn a_row_leads_to_its_history(on: On) {
    let seeded = Seeded::working_day(on).await;
    let row = format!("{}/visits/0", run_path(2));
    assert!(!ok(&seeded, &row).await.contains("Its history"), "there is none yet");
    let key = |suite: &str, benchmark: &str| Key {
        suite: suite.into(),
        benchmark: benchmark.into(),
        metric: "time".into(),
    };
    let of_row = &seed::slow_report().rows[0];
    let mut tx = seeded.db().begin().await.unwrap();
    series::insert(&mut tx, RepoId(1), &key(&of_row.suite, &of_row.benchmark.0), false).await.unwrap();
    // Of the same name, elsewhere.
    series::insert(&mut tx, RepoId(2), &key(&of_row.suite, "limit/sliding/10"), false).await.unwrap();
    tx.commit().await.unwrap();
    let body = ok(&seeded, &row).await;
    let (before, _) = body.split_once("\">Its history along the default branch").expect("a link");
    let address = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&").replace("&amp;", "&");
    assert!(ok(&seeded, &address).await.contains("route/match/1000"), "{address}");
    let other =
        seed::slow_report().rows.iter().position(|row| row.benchmark.0 == "limit/sliding/10").unwrap();
    assert!(!ok(&seeded, &format!("{}/visits/{other}", run_path(2))).await.contains("Its history"));
}

async fn a_row_without_its_evidence_says_so(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let runner = seeded.runner("box", false, NOW_MS).await;
    seeded.pull(&repository, &pull(1, "fix: a", "ann", sha('d')), None, NOW_MS).await;
    seeded.queue(&repository, 1, &sha('d'), 1, NOW_MS).await;
    let job = seeded.claim(&runner, NOW_MS).await;
    let rows = vec![
        row("a", Metric::Time, 1.0, 0.2, Verdict::Slower),
        row("a", Metric::Instructions, 9.0, 0.1, Verdict::Slower),
    ];
    seeded.finish(&job, &report(rows), NOW_MS).await;
    let counted = ok(&seeded, &format!("{}/visits/1", run_path(1))).await;
    assert!(counted.contains("There are no visits to draw"), "counted, not timed: {counted}");
    let path = format!("{}/visits/0", run_path(1));
    assert!(ok(&seeded, &path).await.contains("Every visit"));
    std::fs::remove_dir_all(seeded.dir.path().join("evidence")).unwrap();
    assert!(ok(&seeded, &path).await.contains("There are no visits to draw"));
}

/// What comes of a run under way, until it has the words.
async fn until(events: &mut BodyDataStream, words: &str) -> String {
    let mut heard = String::new();
    let listening = async {
        while !heard.contains(words) {
            let Some(some) = events.next().await else { break };
            heard += std::str::from_utf8(&some.unwrap()).unwrap();
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, listening).await.is_ok();
    assert!(in_time && heard.contains(words), "{words} in {heard}");
    heard
}

fn listen(after: i64) -> Request<Body> {
    Request::get(format!("{}/live?after={after}", run_path(5))).body(Body::empty()).unwrap()
}

async fn a_run_under_way_is_told_as_it_goes(on: On) {
    let seeded = Seeded::working_day(on).await;
    let page = ok(&seeded, &run_path(5)).await;
    assert!(page.contains(&format!("data-live=\"{}/live?after=4\"", run_path(5))), "{page}");
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""), "and without the script: {page}");
    let answer = ask(&seeded, listen(4)).await;
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().unwrap())
    );
    let mut events = answer.into_body().into_data_stream();
    let first = until(&mut events, "event: standing").await;
    assert!(first.contains("\"done\":14,\"total\":45") && !first.contains("event: log"), "{first}");
    let job = jobs::get(seeded.db().pool(), &job_id(5)).await.unwrap().unwrap();
    seeded.log(&job.id, &["head: visit 23", "a \u{1b}[31mred\u{202e} line"]).await;
    seeded.measuring(&job, "measuring block/encode", 15, 45).await;
    let next = until(&mut events, "\"done\":15").await;
    assert!(
        next.contains("event: log\nid: 6\ndata: [\"head: visit 23\",\"a red\u{fffd} line\"]\n\n"),
        "{next}"
    );
    seeded.fail(&job, "the disk is full", NOW_MS).await;
    until(&mut events, "event: end").await;
    assert!(events.next().await.is_none(), "then it is over");
    // Of a run that has ended, its end.
    let ended = ask(&seeded, listen(6)).await;
    let body = axum::body::to_bytes(ended.into_body(), 1 << 20).await.unwrap();
    assert!(body.ends_with(b"event: end\ndata: null\n\n"), "{body:?}");
}

async fn a_listener_goes_on_where_it_was_cut_off(on: On) {
    let seeded = Seeded::working_day(on).await;
    let mut request = listen(0);
    request.headers_mut().insert("last-event-id", "3".parse().unwrap());
    let mut events = ask(&seeded, request).await.into_body().into_data_stream();
    let heard = until(&mut events, "event: log").await;
    assert!(heard.contains("id: 4\ndata: [\"14 of 45\"]"), "{heard}");
    for path in ["?after=x", "?after=-5", "?after=99999999999999999999", ""] {
        let request = Request::get(format!("{}/live{path}", run_path(5))).body(Body::empty()).unwrap();
        let mut events = ask(&seeded, request).await.into_body().into_data_stream();
        let heard = until(&mut events, "event: log").await;
        assert!(heard.contains("Compiling codec"), "{path}: all of it: {heard}");
    }
}

async fn listeners_have_a_bound_and_end_with_the_server(on: On) {
    let mut seeded = Seeded::working_day(on).await;
    let stop = CancellationToken::new();
    seeded.site.live = Listeners::with_places(1, stop.clone());
    let mut first = ask(&seeded, listen(0)).await.into_body().into_data_stream();
    until(&mut first, "event: standing").await;
    let refused = ask(&seeded, listen(0)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    // Who goes makes room.
    drop(first);
    let mut second = ask(&seeded, listen(0)).await;
    assert_eq!(second.status(), StatusCode::OK);
    stop.cancel();
    let body = std::mem::take(second.body_mut());
    let whole = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, 1 << 20)).await;
    let whole = whole.expect("it ends with the server").unwrap();
    assert!(!whole.ends_with(b"event: end\ndata: null\n\n"), "the run goes on, and the browser asks again");
}
