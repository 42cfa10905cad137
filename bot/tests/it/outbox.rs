//! Outgoing writes and their pace, on both databases: each target once, one at a time for each installation.

use crate::database::{On, on_both};
use crate::seed::Seeded;
use bot::db::pace::{self, Pace};
use bot::db::writes::{self, Outcome, Write};
use bot::outgoing::Outgoing;
use bot::pull::{InstallationId, RepoId};

on_both!(
    the_newest_wanted_state_wins,
    an_installation_is_written_to_one_at_a_time,
    who_lost_a_write_stores_nothing,
    the_bounds_by_minute_and_hour_are_kept,
);

const LEASE_MS: i64 = 1_000;
const PACE: Pace = Pace::unlimited(100);

fn comment(number: u64, body: &str) -> Outgoing {
    Outgoing::Comment { number, body: body.into() }
}

async fn want(seeded: &Seeded, installation: i64, body: &Outgoing, now_ms: i64) {
    let mut tx = seeded.db().begin().await.unwrap();
    writes::want(&mut tx, InstallationId(installation), RepoId(installation), body, now_ms).await.unwrap();
    tx.commit().await.unwrap();
}

async fn take(seeded: &Seeded, now_ms: i64) -> Option<Write> {
    writes::claim(seeded.db(), "worker", now_ms, LEASE_MS, PACE).await.unwrap()
}

async fn written(seeded: &Seeded, write: &Write, remote_id: i64, next_ms: i64) {
    writes::settle(seeded.db(), write, &Outcome::Written { remote_id }, next_ms).await.unwrap();
}

async fn the_newest_wanted_state_wins(on: On) {
    let seeded = Seeded::empty(on).await;
    want(&seeded, 1, &comment(7, "queued"), 1).await;
    want(&seeded, 1, &comment(7, "queued"), 2).await;
    assert_eq!(writes::waiting(seeded.db()).await.unwrap(), 1);
    let first = take(&seeded, 10).await.unwrap();
    assert_eq!((first.version, first.remote_id, &first.body), (1, None, &comment(7, "queued")));
    // Wanted while the first is under way: it goes out afterwards, to the same comment.
    want(&seeded, 1, &comment(7, "measuring"), 11).await;
    written(&seeded, &first, 42, 12).await;
    let second = take(&seeded, 200).await.unwrap();
    assert_eq!((second.version, second.remote_id, &second.body), (2, Some(42), &comment(7, "measuring")));
    let gone = Outcome::Later { error: "gone".into(), not_before_ms: 300, forget: true };
    writes::settle(seeded.db(), &second, &gone, 0).await.unwrap();
    assert!(take(&seeded, 299).await.is_none(), "not before its time");
    let third = take(&seeded, 300).await.unwrap();
    assert_eq!((third.remote_id, third.attempts), (None, 2), "made anew, because it was deleted");
    let later = Outcome::Later { error: "down".into(), not_before_ms: 400, forget: false };
    writes::settle(seeded.db(), &third, &later, 0).await.unwrap();
    let fourth = take(&seeded, 400).await.unwrap();
    let limited = Outcome::Limited { error: "limited".into(), not_before_ms: 600 };
    writes::settle(seeded.db(), &fourth, &limited, 0).await.unwrap();
    let fifth = take(&seeded, 600).await.unwrap();
    assert_eq!(fifth.attempts, fourth.attempts, "being limited is no failure");
    writes::settle(seeded.db(), &fifth, &Outcome::GivenUp { error: "no".into() }, 0).await.unwrap();
    assert_eq!(writes::waiting(seeded.db()).await.unwrap(), 0);
    want(&seeded, 1, &comment(7, "done"), 700).await;
    assert_eq!(take(&seeded, 800).await.unwrap().attempts, 1, "a new state is tried afresh");
}

async fn an_installation_is_written_to_one_at_a_time(on: On) {
    let seeded = Seeded::empty(on).await;
    want(&seeded, 1, &comment(1, "a"), 1).await;
    want(&seeded, 1, &comment(2, "b"), 2).await;
    want(&seeded, 2, &comment(3, "c"), 3).await;
    let a = take(&seeded, 10).await.unwrap();
    assert_eq!(a.target, "comment:1:1", "the oldest first");
    let c = take(&seeded, 10).await.unwrap();
    assert_eq!(c.target, "comment:2:3", "the other installation is free");
    assert!(take(&seeded, 500).await.is_none(), "one at a time");
    written(&seeded, &a, 1, 700).await;
    assert!(take(&seeded, 699).await.is_none(), "at its pace");
    assert_eq!(take(&seeded, 700).await.unwrap().target, "comment:1:2");
}

async fn who_lost_a_write_stores_nothing(on: On) {
    let seeded = Seeded::empty(on).await;
    want(&seeded, 1, &comment(1, "a"), 1).await;
    let lost = take(&seeded, 10).await.unwrap();
    assert!(writes::extend(seeded.db(), &lost, 2_000).await.unwrap());
    assert!(take(&seeded, 2_000).await.is_none(), "it was kept");
    let taken = take(&seeded, 2_001).await.unwrap();
    assert_eq!(taken.target, lost.target);
    assert!(!writes::extend(seeded.db(), &lost, 9_000).await.unwrap(), "another holds it now");
    written(&seeded, &lost, 41, 0).await;
    assert_eq!(writes::waiting(seeded.db()).await.unwrap(), 1);
    written(&seeded, &taken, 42, 0).await;
    assert_eq!(writes::waiting(seeded.db()).await.unwrap(), 0);
}

async fn the_bounds_by_minute_and_hour_are_kept(on: On) {
    let seeded = Seeded::empty(on).await;
    let pace = Pace { spacing_ms: 1_000, minute_max: 4, hour_max: 10 };
    let mut sent: Vec<i64> = Vec::new();
    let mut now_ms = 1_000_000;
    while sent.len() < 25 {
        want(&seeded, 1, &comment(sent.len() as u64, "a"), now_ms).await;
        let claimed = writes::claim(seeded.db(), "worker", now_ms, LEASE_MS, pace).await.unwrap();
        if let Some(write) = claimed {
            sent.push(now_ms);
            written(&seeded, &write, 1, 0).await;
            now_ms += 500;
        } else {
            now_ms += 5_000;
        }
        assert!(now_ms < 4 * 3_600_000, "it comes to a stop: {sent:?}");
    }
    for (n, at_ms) in sent.iter().enumerate() {
        let since = |span_ms: i64| sent[..=n].iter().filter(|t| **t > at_ms - span_ms).count();
        assert!(since(1_000) <= 1 && since(60_000) <= 4 && since(3_600_000) <= 10, "{sent:?}");
    }
    let used = sent.iter().filter(|at_ms| **at_ms < sent[0] + 60_000).count();
    assert_eq!(used, 4, "no slower than need be");
    // What GitHub itself asks for is never shortened.
    let mut tx = seeded.db().begin().await.unwrap();
    pace::wait(&mut tx, InstallationId(1), now_ms + 9_000_000).await.unwrap();
    pace::wait(&mut tx, InstallationId(1), now_ms).await.unwrap();
    tx.commit().await.unwrap();
    want(&seeded, 1, &comment(99, "a"), now_ms).await;
    assert!(take(&seeded, now_ms + 8_999_999).await.is_none());
    assert!(take(&seeded, now_ms + 9_000_000).await.is_some());
}
