//! The door: signatures, bounds, duplicates.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually, request};
use bot::demo::standin::{FaultKind, Weather};
use bot::github::BreakerState;
use sqlx::Row;

on_both!(
    only_signed_json_of_bounded_size_comes_in,
    a_body_of_25_megabytes_is_taken,
    unknown_events_are_recorded_and_the_same_guid_is_one_delivery,
    health_and_metrics_answer,
    readiness_tells_the_truth,
    while_github_is_down_it_is_left_alone_and_writes_wait,
);

async fn post(world: &World, event: &str, guid: &str, signature: Option<&str>, body: &[u8]) -> (u16, String) {
    let mut headers =
        vec![("content-type", "application/json"), ("x-github-event", event), ("x-github-delivery", guid)];
    headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
    request("POST", &world.url("/github/webhook"), &headers, body.to_vec()).await
}

async fn states(world: &World) -> Vec<(String, String)> {
    let rows = sqlx::query("SELECT guid, state FROM deliveries ORDER BY guid");
    let rows = rows.fetch_all(world.server.app.db.pool()).await.unwrap();
    rows.iter().map(|row| (row.get("guid"), row.get("state"))).collect()
}

async fn only_signed_json_of_bounded_size_comes_in(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let body = br#"{"zen":"Half measures are as bad as nothing at all."}"#;
    let good = world.sign(body);
    assert_eq!(post(&world, "ping", "a", None, body).await.0, 401);
    assert_eq!(post(&world, "ping", "a", Some("sha256=00"), body).await.0, 401);
    assert_eq!(post(&world, "ping", "a", Some(&good), b"{}").await.0, 401);
    let broken = b"{\"zen\":";
    let (status, words) = post(&world, "ping", "a", Some(&world.sign(broken)), broken).await;
    assert_eq!(status, 400, "{words}");
    let list = b"[1, 2]";
    assert_eq!(post(&world, "ping", "a", Some(&world.sign(list)), list).await.0, 400);
    let large = vec![b' '; (25 << 20) + 1];
    assert_eq!(post(&world, "ping", "a", Some(&world.sign(&large)), &large).await.0, 413);
    assert_eq!(states(&world).await, [], "nothing of this was taken");
    assert_eq!(post(&world, "ping", "a", Some(&good), body).await.0, 202);
    world.server.stop().await;
}

async fn a_body_of_25_megabytes_is_taken(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let mut body = br#"{"zen":""#.to_vec();
    body.resize((25 << 20) - 2, b'x');
    body.extend_from_slice(br#""}"#);
    assert_eq!(body.len(), 25 << 20);
    assert_eq!(post(&world, "ping", "large", Some(&world.sign(&body)), &body).await.0, 202);
    world.server.stop().await;
}

async fn unknown_events_are_recorded_and_the_same_guid_is_one_delivery(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let body = br#"{"action":"sparkled","repository":{"id":1,"full_name":"acme/widgets"}}"#;
    let signature = world.sign(body);
    for _ in 0..3 {
        assert_eq!(post(&world, "sparkle", "guid-1", Some(&signature), body).await.0, 202);
    }
    let db = world.server.app.db.clone();
    eventually("the delivery to be put aside", || {
        let states =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(states(&world)));
        (states == [("guid-1".to_owned(), "ignored".to_owned())]).then_some(())
    })
    .await;
    drop(db);
    world.server.stop().await;
}

async fn health_and_metrics_answer(on: On) {
    let world = World::new(on, Wishes::default()).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(request("GET", &world.url(path), &[], Vec::new()).await.0, 200, "{path}");
    }
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let head = world.head();
    eventually("the check", || world.check("paceline/commits", &head)).await;
    let (status, text) = request("GET", &world.url("/metrics"), &[], Vec::new()).await;
    assert_eq!(status, 200);
    let quota = format!("paceline_github_quota_remaining{{installation=\"{}\"}}", world.installation.0);
    for name in [
        "paceline_deliveries_waiting",
        "paceline_delivery_oldest_seconds",
        "paceline_lanes_busy",
        "paceline_lane_longest",
        "paceline_writes_waiting",
        "paceline_jobs{state=\"queued\"}",
        "paceline_webhooks_total{outcome=\"new\"}",
        "paceline_delivery_wait_seconds_bucket{le=\"0.5\"}",
        "paceline_delivery_seconds_bucket{le=\"60\"}",
        "paceline_write_seconds_count",
        "paceline_inbox_group_bucket{le=\"64\"}",
        "paceline_github_requests_total{method=\"GET\",outcome=\"ok\"}",
        "paceline_github_breaker 0",
        quota.as_str(),
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    world.server.stop().await;
}

async fn ready(world: &World) -> (u16, String) {
    request("GET", &world.url("/readyz"), &[], Vec::new()).await
}

async fn readiness_tells_the_truth(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let data = world.data_dir();
    let aside = data.with_extension("aside");
    std::fs::rename(&data, &aside).unwrap();
    let (status, words) = ready(&world).await;
    assert!(status == 503 && words.contains("the data directory cannot be written"), "{status} {words}");
    std::fs::rename(&aside, &data).unwrap();
    assert_eq!(ready(&world).await, (200, "ready\n".to_owned()));
    world.server.app.db.close().await;
    let (status, words) = ready(&world).await;
    assert!(status == 503 && words.contains("the database does not answer"), "{status} {words}");
    assert_eq!(request("GET", &world.url("/healthz"), &[], Vec::new()).await.0, 200, "the process is well");
    // What cannot be stored is not said to be taken: GitHub keeps it, and is asked for it later.
    let body = b"{}";
    assert_eq!(post(&world, "ping", "lost", Some(&world.sign(body)), body).await.0, 500);
    world.server.stop().await;
}

async fn while_github_is_down_it_is_left_alone_and_writes_wait(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    world.github.weather(Some(Weather::new(100, &[FaultKind::InternalError], usize::MAX, 1)));
    world.pull_event(number, "opened").await;
    eventually("the breaker to open", || {
        matches!(world.server.app.github.breaker(), BreakerState::Open { .. }).then_some(())
    })
    .await;
    let (status, words) = ready(&world).await;
    assert!(status == 200 && words.contains("GitHub does not answer"), "{status} {words}");
    let asked = world.github.requests().len();
    assert!(world.server.app.github.app_self_check().await.is_err());
    assert!(world.github.requests().len() <= asked + 1, "nothing is asked but what probes");
    world.github.weather(None);
    let head = world.head();
    eventually("both checks after all", || {
        world.check("paceline/commits", &head).and_then(|_| world.check("paceline/performance", &head))
    })
    .await;
    eventually("the comment", || (world.our_comments(number).len() == 1).then_some(())).await;
    assert_eq!(ready(&world).await, (200, "ready\n".to_owned()));
    world.server.stop().await;
}
