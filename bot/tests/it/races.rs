//! What changes while it is looked at or measured: heads, bases, states, forks; and changes larger than GitHub lists.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually, eventually_within};
use bot::db::{deliveries, writes};
use bot::missed;
use bot::pull::{Permission, PullState};
use perfsuite::model::wire::Phase;
use std::time::Duration;

on_both!(
    a_head_that_moves_while_its_facts_are_read_is_followed,
    a_push_while_it_is_measured_leaves_no_check_waiting,
    a_pull_request_closed_while_it_is_measured_says_so,
    a_base_changed_while_it_is_measured_is_measured_anew,
    a_draft_is_measured_when_it_is_ready_and_not_before,
    a_fork_that_is_gone_is_still_judged,
    more_commits_and_files_than_github_lists_are_all_seen,
    a_change_beyond_all_bounds_fails_in_words,
);

/// Making and fetching thousands of objects on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

async fn idle(world: &World) {
    eventually("all to be done and written", || {
        let db = &world.server.app.db;
        let (waiting, _) = now(deliveries::waiting(db.pool())).unwrap();
        (waiting == 0 && now(writes::waiting(db)).unwrap() == 0).then_some(())
    })
    .await;
}

async fn comment_says(world: &World, number: u64, words: &str) {
    eventually(words, || {
        let comments = world.our_comments(number);
        assert!(comments.len() <= 1, "one comment");
        comments.first().is_some_and(|comment| comment.body.contains(words)).then_some(())
    })
    .await;
}

async fn a_head_that_moves_while_its_facts_are_read_is_followed(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    let old = world.head();
    // Forced away from the head that was just told, as an amended commit is.
    let (github, repository) = (world.github.clone(), world.repository);
    let base = world.github.tip(repository, "main").unwrap();
    world.github.after("GET", &format!("/pulls/{number}"), move || {
        github.set_branch(repository, "topic", &base).unwrap();
        let files: [(&str, Option<&[u8]>); 1] = [("src/lib.rs", Some(b"pub fn one() -> u32 { 4 - 3 }\n"))];
        github.commit(repository, "topic", "fix: one, amended", &files).unwrap();
    });
    world.pull_event(number, "opened").await;
    idle(&world).await;
    let new = world.head();
    assert_ne!(new, old, "it moved in between");
    // The delivery of that push is lost; the sweep finds it.
    missed::sweep(&world.server.app).await.unwrap();
    world.checked("paceline/commits", &new).await;
    world.checked("paceline/performance", &new).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.head, new, "the old head is not measured");
    assert!(runner.claim(false).await.is_none());
    runner.measure(&lease, 1.0).await;
    comment_says(&world, number, &new.as_str()[..7]).await;
    assert_eq!(deliveries::newest_failure(&world.server.app.db).await.unwrap(), None);
    world.server.stop().await;
}

async fn a_push_while_it_is_measured_leaves_no_check_waiting(on: On) {
    let (world, number) = World::with_pull(on).await;
    let old = world.head();
    world.checked("paceline/performance", &old).await;
    let new = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    world.pull_event(number, "synchronize").await;
    let left = world.ended("paceline/performance", &old).await;
    assert_eq!(left.conclusion.as_deref(), Some("cancelled"), "{left:?}");
    world.checked("paceline/performance", &new).await;
    // Forced back: the old head is the present one again.
    world.github.set_branch(world.repository, "topic", &old).unwrap();
    world.pull_event(number, "synchronize").await;
    eventually("the old head's check to wait again", || {
        world.check("paceline/performance", &old).filter(|run| run.status == "queued")
    })
    .await;
    assert_eq!(world.ended("paceline/performance", &new).await.conclusion.as_deref(), Some("cancelled"));
    world.server.stop().await;
}

async fn a_pull_request_closed_while_it_is_measured_says_so(on: On) {
    let (world, number) = World::with_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    world.github.edit_pull(world.repository, number, |pull| pull.state = PullState::Closed).unwrap();
    world.pull_event(number, "closed").await;
    comment_says(&world, number, "cancelled by the closing of the pull request").await;
    let (_, orders) = runner.beat(&lease, lease.fence, Phase::Measuring).await;
    assert!(orders.contains("stop"), "{orders}");
    let head = world.head();
    assert_eq!(world.ended("paceline/performance", &head).await.conclusion.as_deref(), Some("cancelled"));
    world.github.edit_pull(world.repository, number, |pull| pull.state = PullState::Open).unwrap();
    world.pull_event(number, "reopened").await;
    assert_eq!(eventually_claim(&runner).await.spec.head, head, "measured after all");
    world.server.stop().await;
}

async fn a_base_changed_while_it_is_measured_is_measured_anew(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let first = world.github.tip(world.repository, "main").unwrap();
    world.github.set_branch(world.repository, "next", &first).unwrap();
    let files: [(&str, Option<&[u8]>); 1] = [("src/other.rs", Some(b"\n"))];
    let second = world.github.commit(world.repository, "main", "feat: more", &files).unwrap();
    world.github.set_branch(world.repository, "topic", &second).unwrap();
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.base, second);
    world.github.edit_pull(world.repository, number, |pull| pull.base = "next".into()).unwrap();
    world.pull_event(number, "edited").await;
    let anew = eventually_claim(&runner).await;
    assert_eq!((&anew.spec.base, &anew.spec.head), (&first, &lease.spec.head));
    let (_, orders) = runner.beat(&lease, lease.fence, Phase::Measuring).await;
    assert!(orders.contains("stop"), "{orders}");
    runner.measure(&anew, 1.0).await;
    let head = world.head();
    assert_eq!(world.ended("paceline/performance", &head).await.conclusion.as_deref(), Some("success"));
    world.server.stop().await;
}

async fn a_draft_is_measured_when_it_is_ready_and_not_before(on: On) {
    let (world, number) = World::with_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    world.github.edit_pull(world.repository, number, |pull| pull.draft = true).unwrap();
    world.pull_event(number, "converted_to_draft").await;
    comment_says(&world, number, "a draft").await;
    let (_, orders) = runner.beat(&lease, lease.fence, Phase::Measuring).await;
    assert!(orders.contains("stop"), "{orders}");
    let pushed = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    world.pull_event(number, "synchronize").await;
    assert_eq!(world.ended("paceline/performance", &pushed).await.conclusion.as_deref(), Some("skipped"));
    assert!(runner.claim(false).await.is_none(), "no job for a draft");
    world.github.edit_pull(world.repository, number, |pull| pull.draft = false).unwrap();
    world.pull_event(number, "ready_for_review").await;
    assert_eq!(eventually_claim(&runner).await.spec.head, pushed);
    world.server.stop().await;
}

async fn a_fork_that_is_gone_is_still_judged(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let (fork, number, head) = world.open_fork();
    world.github.delete_repository(fork);
    world.pull_event(number, "opened").await;
    let asks = world.checked("paceline/performance", &head).await;
    assert_eq!(asks.conclusion.as_deref(), Some("action_required"), "gone, it is a stranger's all the same");
    assert_eq!(world.checked("paceline/commits", &head).await.conclusion.as_deref(), Some("success"));
    world.github.set_permission(world.repository, "mia", Permission::Write);
    world.say(number, "mia", &format!("/paceline run {head}")).await;
    let runner = Hand::new(&world, "box").await;
    assert_eq!(eventually_claim(&runner).await.spec.head, head);
    world.server.stop().await;
}

/// GitHub ends its lists at 250 commits and 3,000 files.
async fn more_commits_and_files_than_github_lists_are_all_seen(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let docs: Vec<(String, Vec<u8>)> =
        (0..3_050).map(|n| (format!("docs/{n:05}.md"), n.to_string().into_bytes())).collect();
    let mut files: Vec<(&str, Option<&[u8]>)> =
        docs.iter().map(|(path, text)| (path.as_str(), Some(text.as_slice()))).collect();
    // The last of the list, so that only who reads all of it sees that code changed.
    files.push(("src/lib.rs", Some(b"pub fn one() -> u32 { 2 - 1 }\n")));
    world.github.commit(world.repository, "topic", "Wrong from the start", &files).unwrap();
    for n in 0..260 {
        let text = n.to_string();
        let files = [("docs/00000.md", Some(text.as_bytes()))];
        world.github.commit(world.repository, "topic", &format!("docs: page {n}"), &files).unwrap();
    }
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let head = world.head();
    let commits =
        eventually_within(PATIENCE, "the commits check", || world.check("paceline/commits", &head)).await;
    assert_eq!(commits.conclusion.as_deref(), Some("failure"), "{commits:?}");
    assert!(commits.title.contains("1 of 261"), "{}", commits.title);
    let runner = Hand::new(&world, "box").await;
    assert_eq!(eventually_claim(&runner).await.spec.head, head, "not only documentation");
    world.server.stop().await;
}

async fn a_change_beyond_all_bounds_fails_in_words(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let many: Vec<String> = (0..20_001).map(|n| format!("docs/{:03}/{n}.md", n % 200)).collect();
    let files: Vec<(&str, Option<&[u8]>)> =
        many.iter().map(|path| (path.as_str(), Some(&b"x"[..]))).collect();
    world.github.commit(world.repository, "topic", "docs: everything", &files).unwrap();
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let head = world.head();
    let commits =
        eventually_within(PATIENCE, "the commits check", || world.check("paceline/commits", &head)).await;
    assert_eq!(commits.conclusion.as_deref(), Some("failure"), "nothing passes unseen");
    comment_says(&world, number, "cannot be judged").await;
    assert_eq!(world.ended("paceline/performance", &head).await.conclusion.as_deref(), Some("skipped"));
    assert_eq!(deliveries::newest_failure(&world.server.app.db).await.unwrap(), None);
    world.server.stop().await;
}
