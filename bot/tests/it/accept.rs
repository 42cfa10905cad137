//! A slowdown is found, taken with a reason by somebody who may, and stays taken for that head alone.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::CheckRunSeen;
use bot::pull::Permission;
use perfsuite::model::Sha;

on_both!(a_slowdown_is_accepted_with_a_reason, perf_without_a_gain_is_told);

async fn concluded(world: &World, head: &Sha, conclusion: &str) -> CheckRunSeen {
    let mut last = String::new();
    eventually(&format!("the performance check to be {conclusion}"), || {
        let check = world.check("paceline/performance", head)?;
        let words = format!("{:?} {}", check.conclusion, check.title);
        if words != last {
            eprintln!("paceline/performance: {words}");
            last = words;
        }
        (check.conclusion.as_deref() == Some(conclusion)).then_some(check)
    })
    .await
}

/// So many measurements of nothing that a runner's word counts.
async fn calibrated(world: &World, number: u64, runner: &Hand) {
    for n in 0..4 {
        let lease = eventually_claim(runner).await;
        runner.measure(&lease, 1.0).await;
        world.commit(&format!("fix: calibrate {n}"), &format!("pub fn one() -> u32 {{ {n} + 9 }}\n"));
        world.pull_event(number, "synchronize").await;
        world.checked("paceline/performance", &world.head()).await;
    }
}

async fn a_slowdown_is_accepted_with_a_reason(on: On) {
    let world = World::new(on, Wishes::default()).await;
    world.github.set_permission(world.repository, "alice", Permission::Write);
    world.github.set_permission(world.repository, "mallory", Permission::Read);
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    calibrated(&world, number, &runner).await;

    let head = world.head();
    let early = world.say(number, "alice", "/paceline accept because").await;
    eventually("the refusal", || {
        let replies = world.github.comments(world.repository, number);
        replies.into_iter().find(|reply| reply.body.contains(&format!("to={early}")))
    })
    .await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.25).await;
    let blocked = concluded(&world, &head, "failure").await;
    assert!(blocked.title.starts_with("Slower"), "{}", blocked.title);

    eventually("the label", || {
        (world.github.labels(world.repository, number) == ["perf-regression"]).then_some(())
    })
    .await;
    let refused = world.say(number, "mallory", "/paceline accept I say so").await;
    eventually("the refusal", || {
        let replies = world.github.comments(world.repository, number);
        replies.into_iter().find(|reply| {
            reply.body.contains(&format!("to={refused}")) && reply.body.contains("write permission")
        })
    })
    .await;
    assert_eq!(world.check("paceline/performance", &head).unwrap().conclusion.as_deref(), Some("failure"));

    world.say(number, "alice", "/paceline accept the price of `safety`, <b>see</b> #4").await;
    let accepted = concluded(&world, &head, "neutral").await;
    assert!(accepted.title.starts_with("Accepted by alice: Slower"), "{}", accepted.title);
    let comment = eventually("the comment to say so", || {
        let comments = world.our_comments(number);
        comments.into_iter().find(|comment| comment.body.contains("Slower, accepted"))
    })
    .await;
    assert!(comment.body.contains("the price of") && !comment.body.contains("<b>"), "{}", comment.body);
    let db = &world.server.app.db;
    let kept =
        bot::db::acceptances::of_head(db.pool(), world.repository, number, &head).await.unwrap().unwrap();
    assert_eq!((kept.by.as_str(), kept.reason.contains("the price of")), ("alice", true), "it stays");

    eventually("the label to go", || world.github.labels(world.repository, number).is_empty().then_some(()))
        .await;

    // Another head is another slowdown.
    world.commit("fix: another", "pub fn one() -> u32 { 3 }\n");
    world.pull_event(number, "synchronize").await;
    let next = world.head();
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.25).await;
    concluded(&world, &next, "failure").await;
    world.server.stop().await;
}

async fn perf_without_a_gain_is_told(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("perf: make it fly");
    world.pull_event(number, "opened").await;
    let head = world.head();
    let before = world.checked("paceline/commits", &head).await;
    assert!(!before.summary.contains("says `perf`"), "nothing is measured yet: {}", before.summary);
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    let told = eventually("the claim", || {
        world.check("paceline/commits", &head).filter(|check| check.summary.contains("says `perf`"))
    })
    .await;
    assert!(told.summary.contains("none got faster"), "{}", told.summary);
    assert_eq!(told.conclusion.as_deref(), Some("success"), "a claim is told, and weighs nothing by default");
    world.server.stop().await;
}
