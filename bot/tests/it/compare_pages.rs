//! Any two commits compared through the real router: from a run of both, from the history, and where nothing is known.

use crate::database::{On, on_both};
use crate::large_history::{self, Large};
use crate::pages::{get, ok};
use crate::seed::{NOW_MS, Seeded, base, job_id, sha};
use axum::http::StatusCode;
use serde_json::Value;

on_both!(
    a_run_of_both_is_what_is_shown,
    commits_of_the_history_are_compared_over_their_reference,
    two_commits_are_asked_for_by_a_form,
    what_is_not_known_is_said_in_words,
    what_is_private_is_not_compared,
);

/// The rows of a page, in their order.
fn names(body: &str) -> Vec<&str> {
    let rows = body.split("scope=\"row\" class=\"name\">").skip(1);
    rows.map(|row| {
        row.split("<a href=\"").nth(1).unwrap().split("<bdi>").nth(1).unwrap().split('<').next().unwrap()
    })
    .collect()
}

async fn a_run_of_both_is_what_is_shown(on: On) {
    let seeded = Seeded::working_day(on).await;
    let (base, head) = (base(), sha('d'));
    // The beginning of an id is enough.
    let path = format!("/acme/gateway/compare/{}...{}", &base.as_str()[..9], head.short());
    let body = ok(&seeded, &path).await;
    assert!(body.contains("measured both in lock-step"), "{body}");
    assert!(body.contains(&format!("/runs/{}/visits/0", job_id(2))), "{body}");
    assert!(body.contains("paceline review a1b2c3d4e5f6..dddddddddddd"), "{body}");
    // What did not change is hidden, until somebody asks for it.
    assert_eq!(names(&body), ["route/match/1000", "headers/strip/12", "keepalive"]);
    let all = ok(&seeded, &format!("{path}?show=all&sort=name&group=suite")).await;
    assert!(names(&all).len() > 6 && names(&all)[0] == "keepalive", "{:?}", names(&all));
    assert!(all.contains("<h3><bdi>proxy</bdi></h3>") && all.contains("<h3><bdi>routing</bdi></h3>"));
    assert!(all.contains("/acme/gateway/history?suite=routing"), "a row opens its history");
    let faster = ok(&seeded, &format!("{path}?show=faster")).await;
    assert_eq!(names(&faster), ["headers/strip/12"]);
    let found = ok(&seeded, &format!("{path}?show=all&q=SLIDING")).await;
    assert!(names(&found).len() == 4 && names(&found).iter().all(|name| name.contains("sliding")));
    let signed = ok(&seeded, &format!("{path}?sort=signed")).await;
    assert_eq!(names(&signed), ["headers/strip/12", "keepalive", "route/match/1000"]);
    for query in ["show=%00", "sort=x&group=y", "q=%ff", "show=changed&show=all"] {
        assert!(ok(&seeded, &format!("{path}?{query}")).await.contains("lock-step"), "{query}");
    }
    let json: Value =
        serde_json::from_str(&ok(&seeded, &format!("/api/v1/repositories{path}")).await).unwrap();
    assert_eq!(json["basis"], serde_json::json!({ "kind": "run", "job": job_id(2).0 }));
    assert_eq!((&json["base"], &json["head"]), (&base.as_str().into(), &head.as_str().into()));
    assert_eq!(json["rows"][0]["benchmark"], "route/match/1000");
    assert_eq!(json["rows"][0]["confirmed"], true);
}

async fn commits_of_the_history_are_compared_over_their_reference(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let large = Large { series: 6, commits: 120, seed: 3, now_ms: NOW_MS };
    large_history::fill(seeded.db(), repository.id, large).await;
    let sha = |at| large_history::sha(3, at);
    let path = format!("/acme/gateway/compare/{}...{}", sha(10), sha(110));
    let body = ok(&seeded, &format!("{path}?show=all")).await;
    assert!(body.contains("divided") && !body.contains("/visits/"), "{body}");
    assert_eq!(names(&body).len(), 6);
    let json: Value =
        serde_json::from_str(&ok(&seeded, &format!("/api/v1/repositories{path}")).await).unwrap();
    assert_eq!(json["basis"], serde_json::json!({ "kind": "history" }));
    for row in json["rows"].as_array().unwrap() {
        let (base, head) = (row["base"].as_f64().unwrap(), row["head"].as_f64().unwrap());
        let change = row["change"].as_f64().unwrap();
        assert!((head / base - 1.0 - change).abs() < 1e-9, "here one machine measured all: {row}");
        assert!(row["low"].as_f64().unwrap() < change && change < row["high"].as_f64().unwrap());
        assert_eq!(row["confirmed"], false);
    }
    // A commit with itself.
    let itself = ok(&seeded, &format!("/acme/gateway/compare/{}...{}?show=changed", sha(10), sha(10))).await;
    assert!(names(&itself).is_empty() && itself.contains("No row is like this"), "{itself}");
}

async fn two_commits_are_asked_for_by_a_form(on: On) {
    let seeded = Seeded::working_day(on).await;
    let body = ok(&seeded, "/acme/gateway/compare").await;
    assert!(body.contains("name=\"base\"") && body.contains("name=\"head\""), "{body}");
    let sent = get(&seeded, "/acme/gateway/compare?base=+a1b2c3d4&head=DDDDDDDD").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let location = sent.headers["location"].to_str().unwrap();
    assert_eq!(location, "/acme/gateway/compare/a1b2c3d4...DDDDDDDD");
    assert!(ok(&seeded, location).await.contains("lock-step"));
    for query in
        ["base=main&head=dddddddd", "base=a1b2c3d&head=", "base=%2F%2Fevil.example&head=%0d%0a", "base=%ff"]
    {
        assert!(
            ok(&seeded, &format!("/acme/gateway/compare?{query}")).await.contains("name=\"base\""),
            "{query}"
        );
    }
}

async fn what_is_not_known_is_said_in_words(on: On) {
    let seeded = Seeded::working_day(on).await;
    let body = ok(&seeded, "/acme/gateway/compare/0123456...ddddddd").await;
    assert!(body.contains("No commit that was measured begins with 0123456."), "{body}");
    // Both are known, and were never measured against each other.
    let body = ok(&seeded, &format!("/acme/gateway/compare/{}...{}", sha('7'), sha('d'))).await;
    assert!(body.contains("Never measured against each other") && body.contains("paceline review"), "{body}");
    let twin = format!("/api/v1/repositories/acme/gateway/compare/{}...{}", sha('7'), sha('d'));
    let json: Value = serde_json::from_str(&ok(&seeded, &twin).await).unwrap();
    assert_eq!((&json["basis"]["kind"], json["rows"].as_array().unwrap().len()), (&"nothing".into(), 0));
    for path in [
        "/acme/gateway/compare/ddddddd",
        "/acme/gateway/compare/main...topic",
        "/acme/gateway/compare/a1b2c3...ddddddd",
        "/acme/gateway/compare/...",
        "/acme/gateway/compare/a1b2c3d...ddddddd...fffffff",
        "/api/v1/repositories/acme/gateway/compare/0123456...ddddddd",
    ] {
        assert_eq!(get(&seeded, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let asked = format!("{twin}?show=all");
    assert_eq!(get(&seeded, &asked).await.status, StatusCode::BAD_REQUEST, "the API takes no such word");
}

async fn what_is_private_is_not_compared(on: On) {
    let seeded = Seeded::working_day(on).await;
    let range = format!("{}...{}", base(), sha('5'));
    for path in [
        format!("/acme/secret-sauce/compare/{range}"),
        "/acme/secret-sauce/compare".to_owned(),
        format!("/api/v1/repositories/acme/secret-sauce/compare/{range}"),
    ] {
        assert_eq!(get(&seeded, &path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Nor are its commits those of another.
    let body = ok(&seeded, &format!("/acme/gateway/compare/{range}")).await;
    assert!(body.contains("No commit that was measured begins with 5555555"), "{body}");
}
