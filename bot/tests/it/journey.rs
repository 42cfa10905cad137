//! A delivery becomes a comment, and a job becomes a verdict: through the real router, database, git and protocol.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim, evidence};
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::{Fault, FaultKind, NewPull};
use bot::pull::Permission;
use perfsuite::model::wire::{Outcome, Phase};

on_both!(
    a_slowdown_becomes_one_comment_and_a_failed_check,
    the_same_event_twice_is_one_job_and_a_push_supersedes_it,
    an_old_attempt_is_refused_and_a_job_handed_back_is_taken_again,
    a_lost_answer_never_makes_a_second_comment,
    a_broken_configuration_is_a_check_run_that_points_at_the_line,
    a_forks_head_runs_only_after_a_maintainer_names_it,
    the_rerun_button_measures_again,
    a_draft_waits_and_only_documentation_is_not_measured,
);

async fn a_slowdown_becomes_one_comment_and_a_failed_check(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("Made it better");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    let head = world.head();
    assert_eq!(lease.spec.head, head);
    let commits = eventually("the commits check", || world.check("paceline/commits", &head)).await;
    assert_eq!(commits.conclusion.as_deref(), Some("failure"));
    assert_eq!(commits.annotations.len(), 1, "{:?}", commits.annotations);

    let (status, _) = runner
        .call(
            "GET",
            &format!("/runner/v1/jobs/{}/source?fence={}", lease.spec.job, lease.fence.0),
            Vec::new(),
        )
        .await;
    assert_eq!(status, 200);
    runner.measure(&lease, 1.25).await;
    let check = world.ended("paceline/performance", &head).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let comments = eventually("the comment to tell the verdict", || {
        let comments = world.our_comments(number);
        comments.iter().any(|comment| comment.body.contains("widgets/one")).then_some(comments)
    })
    .await;
    assert_eq!(comments.len(), 1);
    let body = &comments[0].body;
    assert!(body.contains("Slower") && body.contains("+25"), "{body}");
    assert!(body.contains("Made it better"), "{body}");
    world.server.stop().await;
}

async fn the_same_event_twice_is_one_job_and_a_push_supersedes_it(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    for _ in 0..3 {
        world.pull_event(number, "opened").await;
    }
    let (one, two) = (Hand::new(&world, "one").await, Hand::new(&world, "two").await);
    let first = eventually_claim(&one).await;
    assert!(two.claim(false).await.is_none(), "one job for one head");
    let second_head = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    world.pull_event(number, "synchronize").await;
    let second = eventually_claim(&two).await;
    assert_eq!(second.spec.head, second_head);
    let (status, orders) = one.beat(&first, first.fence, Phase::Building).await;
    assert_eq!((status, orders.contains("stop")), (200, true), "{orders}");
    assert_eq!(one.finish(&first, Outcome::HandedBack).await, 409);
    two.measure(&second, 1.0).await;
    let check = world.ended("paceline/performance", &second_head).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{check:?}");
    assert_eq!(world.our_comments(number).len(), 1);
    world.server.stop().await;
}

async fn an_old_attempt_is_refused_and_a_job_handed_back_is_taken_again(on: On) {
    let (world, _) = World::with_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let first = eventually_claim(&runner).await;
    assert_eq!(runner.finish(&first, Outcome::HandedBack).await, 204);
    let second = eventually_claim(&runner).await;
    assert_eq!(second.spec.job, first.spec.job);
    assert!(second.fence > first.fence);
    assert_eq!(runner.beat(&second, first.fence, Phase::Building).await.0, 409);
    assert_eq!(runner.upload(&first, &evidence(&first, 1.0)).await.0, 409);
    let mut forged = evidence(&second, 0.5);
    forged.spec.head = "0".repeat(40).parse().unwrap();
    assert_eq!(runner.upload(&second, &forged).await.0, 422, "evidence of another job");
    let stranger = Hand { url: world.url(""), token: "plr_no".into() };
    assert_eq!(stranger.beat(&second, second.fence, Phase::Building).await.0, 401);
    world.server.stop().await;
}

async fn a_lost_answer_never_makes_a_second_comment(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    world.github.fail(Fault::new("POST", "/comments", FaultKind::BadGatewayAfter, 2));
    world.github.fail(Fault::new("POST", "/check-runs", FaultKind::BadGatewayAfter, 2));
    world.pull_event(number, "opened").await;
    let head = world.head();
    eventually("both checks", || {
        world.check("paceline/commits", &head).and_then(|_| world.check("paceline/performance", &head))
    })
    .await;
    eventually("the writes to be done", || {
        let waiting = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(bot::db::writes::waiting(&world.server.app.db))
        });
        (waiting.unwrap() == 0).then_some(())
    })
    .await;
    assert_eq!(world.our_comments(number).len(), 1);
    world.server.stop().await;
}

async fn a_broken_configuration_is_a_check_run_that_points_at_the_line(on: On) {
    let config = "[perf]\nbudget = \"1 in 100\"\nminuts-per-run = 3\n";
    let world = World::new(on, Wishes { config: Some(config), ..Wishes::default() }).await;
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let head = world.head();
    let check = eventually("the config check", || world.check("paceline/config", &head)).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let annotation = &check.annotations[0];
    assert_eq!((annotation.path.as_str(), annotation.line), (".github/paceline.toml", 3));
    assert!(annotation.message.contains("minutes-per-run"), "{}", annotation.message);
    world.server.stop().await;
}

async fn a_forks_head_runs_only_after_a_maintainer_names_it(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let (_, number, head) = world.open_fork();
    world.pull_event(number, "opened").await;
    let check = eventually("the check that asks", || world.check("paceline/performance", &head)).await;
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    let runner = Hand::new(&world, "box").await;
    assert!(runner.claim(true).await.is_none(), "nothing runs unasked");

    world.github.set_permission(world.repository, "eve", Permission::Read);
    world.say(number, "eve", &format!("/paceline run {head}")).await;
    eventually("eve to be refused", || (world.our_comments(number).len() == 2).then_some(())).await;
    assert!(runner.claim(true).await.is_none(), "the author cannot allow it");

    world.github.set_permission(world.repository, "mia", Permission::Write);
    let other = "1".repeat(40);
    world.say(number, "mia", &format!("/paceline run {other}")).await;
    eventually("the wrong head to be refused", || (world.our_comments(number).len() == 3).then_some(()))
        .await;
    assert!(runner.claim(true).await.is_none(), "another head was named");

    let said = world.say(number, "mia", &format!("/paceline run {head}")).await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.head, head);
    eventually("the receipt", || {
        let comments = world.github.comments(world.repository, number);
        comments.iter().find(|c| c.id == said && c.reactions.contains(&"+1".to_owned())).map(|_| ())
    })
    .await;
    world.server.stop().await;
}

async fn the_rerun_button_measures_again(on: On) {
    let (world, _) = World::with_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let first = eventually_claim(&runner).await;
    runner.measure(&first, 1.0).await;
    let head = world.head();
    let check = world.ended("paceline/performance", &head).await;
    world.press(check.id, None, "mia").await;
    let second = eventually_claim(&runner).await;
    assert_ne!(second.spec.job, first.spec.job);
    world.server.stop().await;
}

async fn a_draft_waits_and_only_documentation_is_not_measured(on: On) {
    let world = World::new(on, Wishes::default()).await;
    world
        .github
        .commit(world.repository, "topic", "docs: words", &[("README.md", Some(b"# Widgets\n"))])
        .unwrap();
    let new = NewPull {
        title: "Words".into(),
        author: "alice".into(),
        base: "main".into(),
        head: "topic".into(),
        fork: None,
        draft: false,
    };
    let number = world.github.open_pull(world.repository, &new).unwrap();
    world.pull_event(number, "opened").await;
    let head = world.head();
    let check = eventually("the check", || world.check("paceline/performance", &head)).await;
    assert_eq!(check.status, "completed");
    assert_ne!(check.conclusion.as_deref(), Some("failure"));
    let runner = Hand::new(&world, "box").await;
    assert!(runner.claim(true).await.is_none());
    world.server.stop().await;
}
