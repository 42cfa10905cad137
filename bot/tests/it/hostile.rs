//! Hostile runners and hostile people at the server's doors: evidence that lies, tokens that have ended, buttons that are
//! pressed too late.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim, evidence};
use crate::world::{Wishes, World, eventually, request};
use bot::db::runners;
use bot::pull::{Permission, RepoId};
use perfsuite::model::wire::{EVIDENCE_MAX_BYTES, Lease, Outcome, Phase, Stored};
use perfsuite::model::{Evidence, Fence, JobId, Sha};
use std::path::Path;

on_both!(
    hostile_evidence_is_refused_and_leaves_nothing,
    a_token_that_is_revoked_ends_at_once_and_its_job_goes_to_another,
    a_button_allows_only_the_head_that_it_was_pressed_on,
);

fn path(lease: &Lease) -> String {
    format!("/runner/v1/jobs/{}/evidence?fence={}", lease.spec.job, lease.fence.0)
}

fn pack(json: &[u8]) -> Vec<u8> {
    zstd::encode_all(json, 3).unwrap()
}

fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

async fn hostile_evidence_is_refused_and_leaves_nothing(on: On) {
    let (world, _) = World::with_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(runner.beat(&lease, lease.fence, Phase::Measuring).await.0, 200);
    let stored = world.server.app.config.data_dir.join("evidence");
    let good = evidence(&lease, 1.0);
    let spoilt = |spoil: &dyn Fn(&mut Evidence)| {
        let mut evidence = good.clone();
        spoil(&mut evidence);
        pack(&serde_json::to_vec(&evidence).unwrap())
    };
    let text = serde_json::to_string(&good).unwrap();
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b' '), 1 << 30), 3).unwrap();
    let refused: Vec<(&str, Vec<u8>)> = vec![
        ("no zstd", b"{}".to_vec()),
        ("nothing", Vec::new()),
        ("a bomb", bomb),
        ("cut short", {
            let whole = pack(text.as_bytes());
            whole[..whole.len() / 2].to_vec()
        }),
        ("no JSON", pack(b"\xff\xfe")),
        ("deep JSON", pack("[".repeat(1_000_000).as_bytes())),
        ("NaN", pack(text.replacen("100.0", "NaN", 1).as_bytes())),
        ("infinite", pack(text.replacen("100.0", "1e999", 1).as_bytes())),
        ("negative", spoilt(&|e| e.series[0].visits[0].head = -1.0)),
        ("another job", spoilt(&|e| e.spec.job = JobId("0198c0de-0000-7000-8000-000000000009".into()))),
        ("another head", spoilt(&|e| e.spec.head = "f".repeat(40).parse().unwrap())),
        ("a larger budget", spoilt(&|e| e.spec.budget = 0.5)),
        ("another format", spoilt(&|e| e.schema = 99)),
        ("two series", spoilt(&|e| e.series.push(e.series[0].clone()))),
        ("a name with a NUL", spoilt(&|e| e.series[0].suite = "a\0b".into())),
        ("a path as a name", spoilt(&|e| e.series[0].benchmark.0 = "../../etc/passwd\n".into())),
        ("too many pairs", spoilt(&|e| e.judged_pairs = u32::MAX)),
    ];
    for (what, body) in refused {
        let (status, words) = runner.call("PUT", &path(&lease), body).await;
        assert_eq!(status, 422, "{what}: {words}");
        assert!(words.len() < 1_000 && words.trim_end().lines().count() == 1, "{what}: {words}");
    }
    let (status, _) = runner.call("PUT", &path(&lease), vec![0; EVIDENCE_MAX_BYTES + 1]).await;
    // The server may close before all of it was sent.
    assert!(status == 413 || status == 0, "{status}");
    let stale = Lease { fence: Fence(lease.fence.0 - 1), ..lease.clone() };
    assert_eq!(runner.upload(&stale, &good).await.0, 409);
    let stranger = Hand { url: world.url(""), token: "plr_".to_owned() + &"0".repeat(64) };
    assert_eq!(stranger.upload(&lease, &good).await.0, 401);
    let other = Hand::new(&world, "other").await;
    assert_eq!(other.upload(&lease, &good).await.0, 409, "another runner's job");
    for digest in ["../../paceline.db", "", &"a".repeat(64), &"A".repeat(64), "/etc/passwd"] {
        let status = runner.finish(&lease, Outcome::Measured { digest: digest.to_owned() }).await;
        assert_eq!(status, 422, "{digest:?}");
    }
    assert_eq!(files_below(&stored), 0, "nothing of it is kept");

    let (status, body) = runner.upload(&lease, &good).await;
    assert_eq!(status, 201, "{body}");
    let Stored { digest } = serde_json::from_str(&body).unwrap();
    assert_eq!(runner.finish(&lease, Outcome::Measured { digest }).await, 204);
    assert_eq!(files_below(&stored), 1);
    world.server.stop().await;
}

async fn a_token_that_is_revoked_ends_at_once_and_its_job_goes_to_another(on: On) {
    let (world, _) = World::with_pull(on).await;
    let (lost, other) = (Hand::new(&world, "lost").await, Hand::new(&world, "other").await);
    let lease = eventually_claim(&lost).await;
    assert_eq!(lost.beat(&lease, lease.fence, Phase::Building).await.0, 200);
    assert!(other.claim(true).await.is_none(), "it is held");

    let db = &world.server.app.db;
    assert!(runners::revoke(db, "lost", 1).await.unwrap());
    assert_eq!(lost.beat(&lease, lease.fence, Phase::Building).await.0, 401);
    assert_eq!(lost.upload(&lease, &evidence(&lease, 1.0)).await.0, 401);
    assert_eq!(lost.finish(&lease, Outcome::HandedBack).await, 401);
    let source = format!("/runner/v1/jobs/{}/source?fence={}", lease.spec.job, lease.fence.0);
    assert_eq!(lost.call("GET", &source, Vec::new()).await.0, 401);

    let again = eventually_claim(&other).await;
    assert_eq!((&again.spec.job, again.fence > lease.fence), (&lease.spec.job, true));
    other.measure(&again, 1.0).await;
    for runner in runners::all(db).await.unwrap() {
        assert!(runner.name != "lost" || runner.revoked_ms.is_some());
    }
    // A new token under the old name is another token.
    let renewed = Hand::new(&world, "lost").await;
    assert!(renewed.claim(true).await.is_none());
    assert_eq!(lost.beat(&lease, lease.fence, Phase::Building).await.0, 401, "the old one stays ended");
    world.server.stop().await;
}

/// Another commit on the fork.
fn push(world: &World, fork: RepoId, n: usize) -> Sha {
    let source = format!("pub fn one() -> u32 {{ 1 + {n} }}\n");
    world
        .github
        .commit(fork, "patch", &format!("fix: {n}"), &[("src/lib.rs", Some(source.as_bytes()))])
        .unwrap()
}

async fn a_button_allows_only_the_head_that_it_was_pressed_on(on: On) {
    let world = World::new(on, Wishes::default()).await;
    world.github.set_permission(world.repository, "mia", Permission::Write);
    world.github.set_permission(world.repository, "eve", Permission::Read);
    let (fork, number, first) = world.open_fork();
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let asks = |head: Sha| {
        let world = &world;
        async move {
            eventually("the check that asks", || {
                world
                    .check("paceline/performance", &head)
                    .filter(|check| check.conclusion.as_deref() == Some("action_required"))
            })
            .await
        }
    };
    let button = asks(first.clone()).await;
    world.press(button.id, Some("run"), "eve").await;
    assert!(runner.claim(true).await.is_none(), "the author has no say");

    // The head moves, and GitHub's word of it is late: what mia saw and allowed is not what would run.
    let second = push(&world, fork, 1);
    world.press(button.id, Some("run"), "mia").await;
    assert!(runner.claim(true).await.is_none(), "an older head was allowed");
    world.pull_event(number, "synchronize").await;
    let button = asks(second.clone()).await;
    assert!(runner.claim(true).await.is_none());

    // Asking for a measurement is no approval.
    world.say(number, "mia", "/paceline bench").await;
    assert!(runner.claim(true).await.is_none());

    world.press(button.id, Some("run"), "mia").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.head, second);
    runner.measure(&lease, 1.0).await;

    // And the next push asks again.
    let third = push(&world, fork, 2);
    world.pull_event(number, "synchronize").await;
    asks(third).await;
    assert!(runner.claim(true).await.is_none());
    world.server.stop().await;
}

#[tokio::test]
async fn a_body_is_not_read_from_somebody_unknown() {
    let world = World::new(On::Sqlite, Wishes::default()).await;
    let job = "0198c0de-0000-7000-8000-000000000001";
    for (method, path) in [
        ("PUT", format!("/runner/v1/jobs/{job}/evidence?fence=1")),
        ("POST", format!("/runner/v1/jobs/{job}/heartbeat")),
        ("POST", format!("/runner/v1/jobs/{job}/finish")),
        ("POST", "/runner/v1/claim".to_owned()),
    ] {
        // Neither JSON nor a bundle: the token is looked at first.
        let (status, words) = request(method, &world.url(&path), &[], b"nonsense".to_vec()).await;
        assert_eq!(status, 401, "{path}: {words}");
    }
    world.server.stop().await;
}
