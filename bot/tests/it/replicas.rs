//! Two servers on one database and data directory share the work of one App, and nothing is done twice.

use crate::database::{On, on_both};
use crate::hand::Hand;
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::Event;
use std::collections::BTreeSet;

on_both!(two_servers_share_work_without_a_duplicate, a_server_that_stops_leaves_its_work_to_the_other);

const PULLS: usize = 6;
const PUSHES: usize = 4;

fn branches() -> Vec<String> {
    (0..PULLS).map(|n| format!("topic-{n}")).collect()
}

/// Writes that GitHub has not seen.
fn waiting(world: &World) -> i64 {
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let (deliveries, _) = bot::db::deliveries::waiting(world.server.app.db.pool()).await.unwrap();
            deliveries + bot::db::writes::waiting(&world.server.app.db).await.unwrap()
        })
    })
}

/// Each pull request has one comment and each head at most one check run of a name; the newest head has both.
fn assert_nothing_doubled(world: &World, numbers: &[u64]) {
    for (branch, number) in branches().iter().zip(numbers) {
        assert_eq!(world.our_comments(*number).len(), 1, "comments of {branch}");
        let head = world.github.tip(world.repository, branch).unwrap();
        for name in ["paceline/commits", "paceline/performance"] {
            assert!(world.check(name, &head).is_some(), "{name} of {branch}");
        }
    }
    let runs = world.github.check_runs(world.repository);
    let named: BTreeSet<_> = runs.iter().map(|run| (&run.head_sha, &run.name)).collect();
    assert_eq!(named.len(), runs.len(), "one check run of each name per head");
    assert_eq!(world.github.count("POST", "/check-runs"), runs.len(), "none was made in vain");
}

async fn two_servers_share_work_without_a_duplicate(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let other = world.replica().await;
    let servers = [world.url(""), format!("http://{}", other.address)];
    let numbers: Vec<u64> = branches().iter().map(|branch| world.open_pull_on(branch)).collect();

    // Two runners, each of which speaks with both servers in turn.
    let mut runners = tokio::task::JoinSet::new();
    for name in ["one", "two"] {
        let mut hand = Hand::new(&world, name).await;
        let servers = servers.clone();
        runners.spawn(async move {
            for turn in 0.. {
                hand.url = servers[turn % 2].clone();
                if let Some(lease) = hand.claim(true).await {
                    hand.url = servers[(turn + 1) % 2].clone();
                    // Refused where a push came between: then there is a newer job.
                    hand.try_to_measure(&lease, 1.0).await;
                }
            }
        });
    }

    for push in 1..=PUSHES {
        for (place, (branch, number)) in branches().iter().zip(&numbers).enumerate() {
            let action = if push == 1 { "opened" } else { "synchronize" };
            if push > 1 {
                world.push_to(branch, push);
            }
            let event = Event::PullRequest { repo: world.repository, number: *number, action: action.into() };
            let hook = format!("{}/github/webhook", servers[(place + push) % 2]);
            let sent = world.github.deliver(world.app_id, &hook, &event).await.unwrap();
            assert_eq!(sent.status, 202);
            // GitHub repeats what it believes lost, and it may come to the other server.
            if place % 3 == 0 {
                let again = world.github.redeliver(&sent.guid).await.unwrap();
                assert_eq!(again.status, 202);
            }
        }
    }
    eventually("every head to be measured and written", || {
        let measured = branches().iter().all(|branch| {
            let head = world.github.tip(world.repository, branch).unwrap();
            world
                .check("paceline/performance", &head)
                .is_some_and(|check| check.conclusion.as_deref() == Some("success"))
        });
        (measured && waiting(&world) == 0).then_some(())
    })
    .await;
    runners.shutdown().await;
    assert_nothing_doubled(&world, &numbers);
    for number in &numbers {
        let body = &world.our_comments(*number)[0].body;
        assert!(body.contains("widgets/one"), "the comment tells the verdict of its newest head: {body}");
    }
    other.stop().await;
    world.server.stop().await;
}

async fn a_server_that_stops_leaves_its_work_to_the_other(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let other = world.replica().await;
    let numbers: Vec<u64> = branches().iter().map(|branch| world.open_pull_on(branch)).collect();
    let hook = format!("http://{}/github/webhook", other.address);
    for number in &numbers {
        let event = Event::PullRequest { repo: world.repository, number: *number, action: "opened".into() };
        assert_eq!(world.github.deliver(world.app_id, &hook, &event).await.unwrap().status, 202);
    }
    other.stop().await;
    eventually("the other server to end the work", || (waiting(&world) == 0).then_some(())).await;
    assert_nothing_doubled(&world, &numbers);
    world.server.stop().await;
}
