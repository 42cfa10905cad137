//! What starts a job, in which order, and what it costs.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually};
use bot::db::jobs;
use bot::pull::Permission;
use bot::queue::Purpose;

on_both!(
    a_label_brings_its_suite_along,
    the_default_branch_goes_before_pull_requests,
    a_day_that_is_used_up_is_told_and_a_person_can_ask_for_more,
    forks_are_never_measured_where_the_configuration_says_so,
    what_waits_tells_its_place,
);

const LABELLED: &str = "[[perf.suite]]\nname = \"widgets\"\nkind = \"criterion\"\n\n\
                        [[perf.suite]]\nname = \"thorough\"\nkind = \"criterion\"\non = \"label:perf\"\n\n\
                        [[perf.suite]]\nname = \"asked\"\nkind = \"criterion\"\non = \"command\"\n";

fn names(lease: &perfsuite::model::wire::Lease) -> Vec<&str> {
    lease.spec.suites.iter().map(|suite| suite.name.as_str()).collect()
}

async fn a_label_brings_its_suite_along(on: On) {
    let world = World::new(on, Wishes { config: Some(LABELLED), ..Wishes::default() }).await;
    world.github.set_permission(world.repository, "mia", Permission::Write);
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(names(&lease), ["widgets"]);
    runner.measure(&lease, 1.0).await;
    world.github.edit_pull(world.repository, number, |edit| edit.labels = vec!["perf".into()]).unwrap();
    world.pull_event(number, "labeled").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(names(&lease), ["widgets", "thorough"]);
    runner.measure(&lease, 1.0).await;
    // Told again, and without the label, there is nothing more to do.
    world.pull_event(number, "labeled").await;
    world.github.edit_pull(world.repository, number, |edit| edit.labels.clear()).unwrap();
    world.pull_event(number, "unlabeled").await;
    world.say(number, "mia", "/paceline bench").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(names(&lease), ["widgets", "thorough", "asked"], "who asks has all of them");
    runner.measure(&lease, 1.0).await;
    assert!(runner.claim(true).await.is_none());
    world.server.stop().await;
}

async fn the_default_branch_goes_before_pull_requests(on: On) {
    let (world, number) = World::with_pull(on).await;
    let head = world.head();
    eventually("the pull request's job", || world.check("paceline/performance", &head)).await;
    let files = [("src/lib.rs", Some(&b"pub fn one() -> u32 { 7 }\n"[..]))];
    let main = world.github.commit(world.repository, "main", "feat: seven", &files).unwrap();
    world.push_event("main").await;
    for _ in 0..6_000 {
        let open = bot::db::overview::open_jobs(&world.server.app.db, 10).await.unwrap();
        if open.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let runner = Hand::new(&world, "box").await;
    let first = eventually_claim(&runner).await;
    assert_eq!(first.spec.head, main);
    let second = eventually_claim(&runner).await;
    assert_eq!(second.spec.head, head, "pull requests do not wait for the history's end");
    runner.measure(&second, 1.0).await;
    runner.measure(&first, 1.0).await;
    assert_eq!(world.ended("paceline/performance", &head).await.conclusion.as_deref(), Some("success"));
    assert!(world.check("paceline/performance", &main).is_none(), "commits of main have pages, not checks");
    assert!(!world.our_comments(number).is_empty());
    world.server.stop().await;
}

async fn a_day_that_is_used_up_is_told_and_a_person_can_ask_for_more(on: On) {
    let config = "[perf]\nminutes-per-day = 0\n";
    let world = World::new(on, Wishes { config: Some(config), ..Wishes::default() }).await;
    world.github.set_permission(world.repository, "mia", Permission::Write);
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let head = world.head();
    let runner = Hand::new(&world, "box").await;
    eventually("the reason", || {
        let comments = world.our_comments(number);
        comments.iter().any(|comment| comment.body.contains("00:00 UTC")).then_some(())
    })
    .await;
    let check = world.checked("paceline/performance", &head).await;
    assert!(check.summary.contains("used up"), "{}", check.summary);
    assert!(runner.claim(true).await.is_none());
    world.say(number, "mia", "/paceline bench").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.head, head);
    runner.measure(&lease, 1.0).await;
    assert_eq!(world.ended("paceline/performance", &head).await.conclusion.as_deref(), Some("success"));
    world.server.stop().await;
}

async fn forks_are_never_measured_where_the_configuration_says_so(on: On) {
    let config = "[perf]\nforks = \"never\"\n";
    let world = World::new(on, Wishes { config: Some(config), ..Wishes::default() }).await;
    world.github.set_permission(world.repository, "mia", Permission::Admin);
    let (_, number, head) = world.open_fork();
    world.pull_event(number, "opened").await;
    let check = world.ended("paceline/performance", &head).await;
    assert!(check.title.contains("forks") || check.summary.contains("forks"), "{check:?}");
    world.say(number, "mia", &format!("/paceline run {head}")).await;
    let runner = Hand::new(&world, "box").await;
    eventually("the receipt", || {
        let comments = world.github.comments(world.repository, number);
        comments.iter().any(|comment| !comment.reactions.is_empty()).then_some(())
    })
    .await;
    assert!(runner.claim(true).await.is_none());
    world.server.stop().await;
}

async fn what_waits_tells_its_place(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    let first = world.open_pull("fix: one");
    world.pull_event(first, "opened").await;
    runner.measure(&eventually_claim(&runner).await, 1.0).await;
    let second = world.open_pull_on("second");
    world.pull_event(second, "opened").await;
    let head = world.github.tip(world.repository, "second").unwrap();
    let check = world.checked("paceline/performance", &head).await;
    assert!(check.title.contains("at position 1 of the queue, about "), "{}", check.title);
    let open = bot::db::overview::open_jobs(&world.server.app.db, 10).await.unwrap();
    let job = jobs::get(world.server.app.db.pool(), &open[0].job.id).await.unwrap().unwrap();
    assert_eq!((job.purpose, job.number), (Purpose::Pull, second));
    assert!(job.day_limit_ms.is_some_and(|limit_ms| limit_ms == 240 * 60_000));
    world.server.stop().await;
}
