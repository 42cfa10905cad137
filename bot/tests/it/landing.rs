//! What will land is what is judged: squashes by the repository's settings, and a merge queue's groups.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually};
use bot::db::jobs;
use bot::demo::standin::{CheckRunSeen, Event};
use bot::queue::{JobState, Purpose};
use perfsuite::model::Sha;
use serde_json::json;
use std::time::{Duration, Instant};

on_both!(
    where_only_squashes_land_the_title_is_judged,
    where_anything_may_land_the_commits_are_judged,
    a_merge_queue_is_answered,
    a_button_is_answered_even_where_nothing_changed,
);

async fn commits_check(world: &World, head: &Sha, conclusion: &str) -> CheckRunSeen {
    eventually(&format!("{conclusion} of paceline/commits"), || {
        let found = world.check("paceline/commits", head)?;
        (found.conclusion.as_deref() == Some(conclusion)).then_some(found)
    })
    .await
}

async fn where_only_squashes_land_the_title_is_judged(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let settings = [("allow_merge_commit", json!(false)), ("allow_rebase_merge", json!(false))];
    world.github.set_merging(world.repository, &settings);
    world.commit("Nonsense", "pub fn one() -> u32 { 1 - 0 }\n");
    let number = world.open_pull("More nonsense");
    let head = world.head();
    world.pull_event(number, "opened").await;
    let seen = commits_check(&world, &head, "failure").await;
    assert!(seen.summary.contains(&format!("A change (#{number})")), "{}", seen.summary);
    assert!(
        seen.summary.contains("* Nonsense") && seen.summary.contains("edit the title"),
        "{}",
        seen.summary
    );
    world
        .github
        .edit_pull(world.repository, number, |pull| pull.title = "fix: count from one".into())
        .unwrap();
    world.pull_event(number, "edited").await;
    let seen = commits_check(&world, &head, "success").await;
    assert!(seen.summary.contains(&format!("fix: count from one (#{number})")), "{}", seen.summary);
    // Nothing of the body with another setting.
    world.github.set_merging(world.repository, &[("squash_merge_commit_message", json!("BLANK"))]);
    world.pull_event(number, "edited").await;
    eventually("a message without a body", || {
        world.check("paceline/commits", &head).filter(|seen| !seen.summary.contains("* Nonsense"))
    })
    .await;
}

async fn where_anything_may_land_the_commits_are_judged(on: On) {
    let world = World::new(on, Wishes::default()).await;
    world.commit("fix: one", "pub fn one() -> u32 { 1 - 0 }\n");
    let number = world.open_pull("fix: two");
    world.pull_event(number, "opened").await;
    let seen = commits_check(&world, &world.head(), "success").await;
    assert!(seen.summary.contains("A change (#") && seen.summary.contains("not judged"), "{}", seen.summary);
    assert!(!world.our_comments(number).iter().any(|comment| comment.body.contains("A change (#")));
}

async fn a_merge_queue_is_answered(on: On) {
    let files = vec![("CODEOWNERS", "* @bob @carol\n")];
    let world = World::new(on, Wishes { files, ..Wishes::default() }).await;
    let base = world.github.tip(world.repository, "main").unwrap();
    let queued = |message: &str| {
        let files: [(&str, Option<&[u8]>); 1] = [("src/lib.rs", Some(message.as_bytes()))];
        world.github.commit(world.repository, "queue", message, &files).unwrap()
    };
    world.github.set_branch(world.repository, "queue", &base).unwrap();
    let good = queued("fix: one (#1)");
    let bad = queued("Squashed by hand (#2)");
    for (head, conclusion) in [(&good, "success"), (&bad, "failure")] {
        let repo = world.repository;
        world.send(&Event::MergeGroup { repo, base: base.clone(), head: head.clone() }).await;
        commits_check(&world, head, conclusion).await;
        let seen = eventually("reviews", || world.check("paceline/reviews", head)).await;
        assert!(matches!(seen.conclusion.as_deref(), Some("skipped" | "success")), "{seen:?}");
    }
    // What would land together is measured together.
    let runner = Hand::new(&world, "box").await;
    for (head, ratio, conclusion) in [(&good, 1.0, "success"), (&bad, 1.25, "failure")] {
        let lease = eventually_claim(&runner).await;
        assert_eq!((&lease.spec.base, &lease.spec.head), (&base, head));
        runner.measure(&lease, ratio).await;
        let seen = world.ended("paceline/performance", head).await;
        assert_eq!(seen.conclusion.as_deref(), Some(conclusion), "{seen:?}");
    }
    assert!(runner.claim(true).await.is_none());
    // The button of a group's check measures it again.
    let slow = world.check("paceline/performance", &bad).unwrap();
    world.press(slow.id, None, "mia").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!((&lease.spec.base, &lease.spec.head), (&base, &bad));
    runner.measure(&lease, 1.0).await;
    eventually("the second verdict", || {
        world.check("paceline/performance", &bad).filter(|seen| seen.conclusion.as_deref() == Some("success"))
    })
    .await;
    // Once it has landed and is measured there, the end of the group still finds the group's own job.
    let repo = world.repository;
    world.press(slow.id, None, "mia").await;
    let db = &world.server.app.db;
    let state = async || jobs::newest_of_group(db.pool(), repo, &bad).await.unwrap().unwrap().state;
    until("its job to wait", async || state().await == JobState::Queued).await;
    world.github.set_branch(repo, "main", &bad).unwrap();
    let (before, after) = (base.clone(), bad.clone());
    world.send(&Event::Push { repo, branch: "main".into(), before, after, pusher: "mia".into() }).await;
    let newest = async || jobs::newest(db.pool(), repo, 0, &bad).await.unwrap().unwrap().purpose;
    until("a job of the history", async || newest().await != Purpose::Group).await;
    world.send(&Event::MergeGroupDestroyed { repo, base: base.clone(), head: bad.clone() }).await;
    until("its job to end", async || state().await == JobState::Superseded).await;
    let comments = (1..10).flat_map(|number| world.our_comments(number)).count();
    assert_eq!(comments, 0, "a group has no pull request to comment on");
}

async fn until(what: &str, look: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !look().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// GitHub's suite waits for an answer to its button, also where there is nothing new to say.
async fn a_button_is_answered_even_where_nothing_changed(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let (head, repo) = (world.head(), world.repository);
    let commits = world.checked("paceline/commits", &head).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    let measured = world.ended("paceline/performance", &head).await;
    let written = |id: i64| world.github.count("PATCH", &format!("/check-runs/{id}"));
    let answered = async |id: i64, before: usize| {
        eventually("the answer", || (written(id) > before).then_some(())).await;
    };
    let before = written(commits.id);
    world.press(commits.id, None, "mia").await;
    answered(commits.id, before).await;
    assert_eq!(world.check("paceline/commits", &head).unwrap().conclusion, commits.conclusion);
    assert!(runner.claim(true).await.is_none(), "the button of another check measures nothing");

    let before = [written(commits.id), written(measured.id)];
    let event =
        Event::CheckSuite { repo, head: head.clone(), action: "rerequested".into(), sender: "mia".into() };
    world.send(&event).await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    answered(commits.id, before[0]).await;
    answered(measured.id, before[1]).await;
    world.ended("paceline/performance", &head).await;
    world.server.stop().await;
}
