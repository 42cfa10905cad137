//! Others are told what got slower: signed, once, again when they did not answer, and nowhere that leads inside.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::seed::{NOW_MS, Seeded};
use crate::world::{Wishes, World, eventually};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bot::config::NotifyConfig;
use bot::db::notices::{self, Ending};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use std::sync::{Arc, Mutex};

on_both!(
    a_slower_head_is_told_once_and_signed,
    what_does_not_answer_is_told_again_later,
    a_private_address_is_told_nothing,
);

const SECRET: &str = "a secret of twenty-six chars";

/// What came, with its headers.
type Heard = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// Somebody who wants to be told, on a free port of this machine.
async fn receiver() -> (String, Heard) {
    async fn hear(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> StatusCode {
        heard.lock().unwrap().push((headers, body));
        StatusCode::NO_CONTENT
    }
    let heard = Heard::default();
    let router = Router::new().route("/hook", post(hear)).with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, heard)
}

fn notify(urls: &[&str], private: bool) -> NotifyConfig {
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    NotifyConfig { urls, secret: Some(SECRET.to_owned().into()), private }
}

async fn a_slower_head_is_told_once_and_signed(on: On) {
    let (url, heard) = receiver().await;
    let world = World::new(on, Wishes { notify: notify(&[&url], true), ..Wishes::default() }).await;
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    // What is as fast as before is told to nobody.
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    world.commit("fix: slower", "pub fn one() -> u32 { 1 + 1 - 1 }\n");
    world.pull_event(number, "synchronize").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.25).await;
    let (headers, body) = eventually("the notice", || heard.lock().unwrap().first().cloned()).await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["event"], "run.slower");
    assert_eq!(headers["x-paceline-event"], "run.slower");
    assert_eq!((&told["repository"], &told["pull"]), (&"acme/widgets".into(), &number.into()));
    assert_eq!(told["head"], world.head().as_str());
    assert_eq!(told["benchmarks"][0]["benchmark"], "widgets/one");
    assert!((told["benchmarks"][0]["change"].as_f64().unwrap() - 0.25).abs() < 0.02, "{told}");
    assert!(told["url"].as_str().unwrap().ends_with(&format!("/runs/{}", lease.spec.job)), "{told}");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(headers["x-paceline-signature-256"], signature);
    assert!(uuid::Uuid::parse_str(headers["x-paceline-delivery"].to_str().unwrap()).is_ok());
    // Once it is stored as told, nothing is left to be told.
    let db = world.server.app.db.clone();
    loop {
        let all = notices::newest(&db, 10).await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        if all[0].ended_ms.is_some() {
            assert_eq!((all[0].attempts, &all[0].error), (1, &None));
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.server.stop().await;
    assert_eq!(heard.lock().unwrap().len(), 1);
}

async fn what_does_not_answer_is_told_again_later(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    let mut tx = db.begin().await.unwrap();
    notices::insert(&mut tx, "https://a.example/", "run.slower", "{}", NOW_MS).await.unwrap();
    tx.commit().await.unwrap();
    let claim = |now_ms| notices::claim(db, now_ms, 1_000);
    assert_eq!(claim(NOW_MS - 1).await.unwrap(), None, "not yet due");
    let first = claim(NOW_MS).await.unwrap().unwrap();
    assert_eq!((first.attempts, first.body.as_str()), (1, "{}"));
    assert_eq!(claim(NOW_MS + 1_000).await.unwrap(), None, "one at a time");
    // Its taker died: another goes on, and the first one's word counts no more.
    let second = claim(NOW_MS + 1_001).await.unwrap().unwrap();
    assert_eq!((&second.id, second.attempts), (&first.id, 2));
    notices::settle(db, &first, &Ending::Told, NOW_MS + 1_002).await.unwrap();
    assert_eq!(notices::newest(db, 1).await.unwrap()[0].ended_ms, None);
    let later = Ending::Later { error: "no answer".into(), not_before_ms: NOW_MS + 9_000 };
    notices::settle(db, &second, &later, NOW_MS + 1_003).await.unwrap();
    assert_eq!(claim(NOW_MS + 8_999).await.unwrap(), None);
    let third = claim(NOW_MS + 9_000).await.unwrap().unwrap();
    assert_eq!((&third.id, third.attempts), (&first.id, 3));
    notices::settle(db, &third, &Ending::Told, NOW_MS + 9_001).await.unwrap();
    assert_eq!(claim(NOW_MS + 1_000_000).await.unwrap(), None, "told is told");
    let told = &notices::newest(db, 1).await.unwrap()[0];
    assert_eq!((told.ended_ms, &told.error), (Some(NOW_MS + 9_001), &None));
    assert_eq!(notices::prune(db, NOW_MS + 9_001).await.unwrap(), 0);
    assert_eq!(notices::prune(db, NOW_MS + 9_002).await.unwrap(), 1);
}

async fn a_private_address_is_told_nothing(on: On) {
    let (url, heard) = receiver().await;
    // A name that leads to this machine, and an address that the owner has taken out meanwhile.
    let inside = url.replace("127.0.0.1", "localhost");
    let world = World::new(on, Wishes { notify: notify(&[&inside], false), ..Wishes::default() }).await;
    let db = world.server.app.db.clone();
    let now_ms = world.server.app.clock.now_ms();
    let mut tx = db.begin().await.unwrap();
    for url in [&inside, &url] {
        notices::insert(&mut tx, url, "run.slower", "{}", now_ms).await.unwrap();
    }
    tx.commit().await.unwrap();
    world.server.app.wake.notices.notify_one();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let all = loop {
        let all = notices::newest(&db, 10).await.unwrap();
        if all.iter().all(|notice| notice.error.is_some()) {
            break all;
        }
        assert!(std::time::Instant::now() < patience, "{all:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let words: Vec<&str> = all.iter().filter_map(|notice| notice.error.as_deref()).collect();
    assert!(words.iter().any(|words| words.contains("private network")), "{words:?}");
    let gone = all.iter().find(|notice| notice.ended_ms.is_some()).expect("one is given up");
    assert!(gone.error.as_deref().unwrap().contains("no longer in the settings"), "{gone:?}");
    world.server.stop().await;
    assert!(heard.lock().unwrap().is_empty());
}
