//! Payloads as they come: odd shapes of our own, and with `scripts/payload-test` all of GitHub's published examples.

use crate::database::{On, on_both};
use crate::postgres;
use crate::world::{Wishes, World, request};
use bot::db::deliveries;
use serde_json::{Value, json};
use sqlx::Row;
use std::collections::BTreeMap;
use std::time::Duration;

on_both!(odd_payloads_are_taken_and_stop_nothing);

/// Sends a payload as GitHub would: the status of the answer.
async fn post(world: &World, event: &str, payload: &[u8]) -> (u16, String) {
    let (guid, signature) = (bot::db::new_id(), world.sign(payload));
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", event),
        ("x-github-delivery", guid.as_str()),
        ("x-hub-signature-256", signature.as_str()),
    ];
    request("POST", &world.url("/github/webhook"), &headers, payload.to_vec()).await
}

/// Waits until nothing waits; how many deliveries ended how, and the errors of those that failed.
async fn endings(world: &World) -> (BTreeMap<String, i64>, Vec<String>) {
    let pool = world.server.app.db.pool();
    for _ in 0..1_200 {
        if deliveries::waiting(pool).await.unwrap().0 == 0 {
            let rows = sqlx::query("SELECT state, COUNT(*) AS n FROM deliveries GROUP BY state");
            let rows = rows.fetch_all(pool).await.unwrap();
            let failed =
                sqlx::query("SELECT event || ': ' || error AS e FROM deliveries WHERE state = 'failed'");
            let failed = failed.fetch_all(pool).await.unwrap();
            return (
                rows.iter().map(|row| (row.get("state"), row.get("n"))).collect(),
                failed.iter().map(|row| row.get("e")).collect(),
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let query =
        "SELECT event || ': ' || COALESCE(error, '') FROM deliveries WHERE state IN ('queued', 'working')";
    let rows = sqlx::query(query).fetch_all(pool).await.unwrap();
    let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    panic!("deliveries wait for ever: {left:?}");
}

/// Shapes that GitHub sends seldom, and some that it never should.
fn odd() -> Vec<(&'static str, Value)> {
    let place = || {
        json!({
            "installation": { "id": 1 },
            "repository": { "id": 2, "full_name": "nobody/here" },
            "sender": { "login": "ann" },
        })
    };
    let with = |fields: Value| {
        let mut payload = place();
        for (name, value) in fields.as_object().unwrap() {
            payload[name] = value.clone();
        }
        payload
    };
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({ "deeper": deep });
    }
    vec![
        ("ping", json!({})),
        ("ping", json!({ "zen": "\u{0}Ünïcödé \u{1F9EA}", "hook": null })),
        ("meta", json!({ "action": "deleted", "hook_id": 1 })),
        ("pull_request", json!({ "action": "opened" })),
        ("pull_request", with(json!({ "action": "opened" }))),
        ("pull_request", with(json!({ "action": "opened", "pull_request": null }))),
        (
            "pull_request",
            with(json!({ "action": "opened", "pull_request": { "number": 7, "head": { "repo": null } } })),
        ),
        ("pull_request", with(json!({ "action": "opened", "pull_request": { "number": -7 } }))),
        ("pull_request", with(json!({ "action": "opened", "pull_request": { "number": 1e300 } }))),
        ("pull_request", with(json!({ "action": "opened", "pull_request": { "number": u64::MAX } }))),
        (
            "pull_request",
            with(json!({ "action": "opened", "installation": null, "pull_request": { "number": 7 } })),
        ),
        (
            "pull_request",
            with(
                json!({ "action": "opened", "repository": { "id": 2, "full_name": "../../etc" }, "pull_request": { "number": 7 } }),
            ),
        ),
        ("pull_request", with(json!({ "action": "opened", "repository": "text", "pull_request": [] }))),
        ("pull_request", with(json!({ "action": ["opened"], "pull_request": { "number": 7 } }))),
        (
            "issue_comment",
            with(
                json!({ "action": "created", "issue": { "number": 7, "pull_request": {} }, "comment": { "id": 1, "body": null, "user": null } }),
            ),
        ),
        (
            "issue_comment",
            with(
                json!({ "action": "created", "issue": { "number": 7, "pull_request": {} }, "comment": { "id": 1, "body": "/paceline run \u{202e}", "user": { "login": "ghost" } } }),
            ),
        ),
        ("issue_comment", with(json!({ "action": "created", "issue": { "number": 7 }, "comment": null }))),
        (
            "check_run",
            with(json!({ "action": "rerequested", "check_run": { "name": "x", "head_sha": "short" } })),
        ),
        (
            "check_run",
            with(json!({ "action": "requested_action", "check_run": null, "requested_action": {} })),
        ),
        (
            "check_suite",
            with(json!({ "action": "rerequested", "check_suite": { "head_sha": "0".repeat(40) } })),
        ),
        ("installation", json!({ "action": "deleted", "installation": { "id": i64::MAX } })),
        ("installation", json!({ "action": "created", "installation": { "id": 77 }, "repositories": null })),
        ("installation", json!({ "action": "suspend", "installation": null })),
        (
            "installation_repositories",
            json!({ "action": "removed", "installation": { "id": 77 }, "repositories_removed": [{}] }),
        ),
        ("repository", with(json!({ "action": "renamed", "changes": {} }))),
        ("repository", with(json!({ "action": "deleted" }))),
        ("star", deep),
        ("sparkle", json!({ "": "", "action": "x".repeat(70_000) })),
        ("\u{7f}nonsense".trim_start_matches('\u{7f}'), json!({ "action": null })),
    ]
}

async fn odd_payloads_are_taken_and_stop_nothing(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let odd = odd();
    for (event, payload) in &odd {
        let (status, words) = post(&world, event, payload.to_string().as_bytes()).await;
        assert_eq!(status, 202, "{event} {payload}: {words}");
    }
    for broken in [&b""[..], b"null", b"[]", b"{\"a\":", b"{\"a\":\"\xff\"}", b"\"text\"", b"{} {}"] {
        let (status, words) = post(&world, "push", broken).await;
        assert_eq!(status, 400, "{:?}: {words}", String::from_utf8_lossy(broken));
    }
    let (ended, failed) = endings(&world).await;
    assert_eq!(ended.values().sum::<i64>(), odd.len() as i64, "{ended:?}");
    for error in &failed {
        // What lacks a field that its event must have, in words; never a place that is merely out of sight.
        assert!(!error.contains("does not know"), "{error}");
    }
    // The next good one is worked on.
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let head = world.head();
    crate::world::eventually("the check", || world.check("paceline/commits", &head)).await;
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants GitHub's examples; scripts/payload-test fetches them"]
async fn githubs_examples() {
    let path = std::env::var("PACELINE_PAYLOADS").expect("PACELINE_PAYLOADS names the examples' index.json");
    let index: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    on_one(On::Sqlite, &index).await;
    if postgres::available() {
        on_one(On::Postgres, &index).await;
    }
}

async fn on_one(on: On, index: &[Value]) {
    let world = World::new(on, Wishes::default()).await;
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    let mut refused = Vec::new();
    for kind in index {
        let event = kind["name"].as_str().unwrap();
        for example in kind["examples"].as_array().unwrap() {
            let (status, words) = post(&world, event, example.to_string().as_bytes()).await;
            *answers.entry(status).or_default() += 1;
            if status != 202 {
                refused.push(format!("{event}: {status} {words}"));
            }
        }
    }
    let (ended, failed) = endings(&world).await;
    println!("{on:?}: {} payloads, answers {answers:?}; ended {ended:?}", answers.values().sum::<usize>());
    for line in refused.iter().chain(&failed) {
        println!("  {line}");
    }
    assert!(refused.is_empty(), "every one of these is GitHub's own");
    world.server.stop().await;
}
