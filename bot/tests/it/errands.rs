//! What somebody asks for by a command and that takes more than one step: its answer is one reply, renewed as it goes on,
//! and nothing of it weighs in a check.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim, evidence};
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::CommentSeen;
use bot::pull::Permission;
use perfsuite::model::profile::{Profile, ProfileStack, ProfileVisit, WorkUnit};
use perfsuite::model::wire::{Lease, Outcome, Stored};
use perfsuite::model::{BenchmarkId, Sha};
use std::collections::BTreeMap;

on_both!(
    the_head_is_measured_against_a_tag,
    a_profile_is_a_reply_with_its_functions,
    a_search_names_the_commit_of_the_pull_request,
    what_cannot_be_asked_for_is_said,
    a_cancel_and_a_push_end_it,
    a_forks_head_waits_for_its_permission,
);

/// With a pull request by alice, who may write, whose benchmark got slower by a quarter.
async fn slower(on: On, messages: &[&str]) -> (World, u64, Hand) {
    let world = World::new(on, Wishes::default()).await;
    world.github.set_permission(world.repository, "alice", Permission::Write);
    world.github.set_permission(world.repository, "mallory", Permission::Read);
    for (n, message) in messages.iter().enumerate() {
        world.commit(message, &format!("pub fn one() -> u32 {{ {n} + 7 }}\n"));
    }
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.focus, None);
    runner.measure(&lease, 1.25).await;
    world.ended("paceline/performance", &world.head()).await;
    (world, number, runner)
}

/// The reply to a comment, once it says so.
async fn reply(world: &World, number: u64, to: i64, part: &str) -> CommentSeen {
    let mut last = String::new();
    eventually(&format!("a reply with {part:?}"), || {
        let comments = world.our_comments(number);
        let mut replies = comments.into_iter().filter(|reply| reply.body.contains(&format!("to={to} ")));
        let reply = replies.next()?;
        assert!(replies.next().is_none(), "one reply to one command");
        if reply.body != last {
            eprintln!("{}", reply.body);
            last.clone_from(&reply.body);
        }
        reply.body.contains(part).then_some(reply)
    })
    .await
}

fn tag(world: &World, name: &str, sha: &Sha) {
    let git = git2::Repository::open_bare(world.github.git_dir(world.repository).unwrap()).unwrap();
    let id = git2::Oid::from_str(sha.as_str()).unwrap();
    git.reference(&format!("refs/tags/{name}"), id, true, "").unwrap();
}

async fn the_head_is_measured_against_a_tag(on: On) {
    let (world, number, runner) = slower(on, &["fix: one"]).await;
    let (head, main) = (world.head(), world.github.tip(world.repository, "main").unwrap());
    let before = world.check("paceline/performance", &head).unwrap();
    let released = world.github.commit(world.repository, "old", "feat: of old", &[("old", Some(b"1\n"))]);
    let released = released.unwrap();
    tag(&world, "v1.2.0", &released);
    for (name, base, passing) in
        [("v1.2.0", &released, true), ("latest-release", &released, true), ("main", &main, false)]
    {
        let said = world.say(number, "alice", &format!("/paceline bench against {name}")).await;
        let begun = reply(&world, number, said, "is measured against").await;
        let lease = eventually_claim(&runner).await;
        assert_eq!((&lease.spec.base, &lease.spec.head), (base, &head));
        assert_eq!(lease.spec.focus.as_ref().unwrap().passing_base, passing, "{name}");
        runner.measure(&lease, 1.5).await;
        let ended = reply(&world, number, said, "+50").await;
        assert_eq!(begun.id, ended.id, "the reply that was there");
        let run = format!("/runs/{}", lease.spec.job);
        for part in ["widgets/one", base.short(), run.as_str(), "weighs nothing"] {
            assert!(ended.body.contains(part), "{part} in {}", ended.body);
        }
        let (status, page) = crate::world::request("GET", &world.url(&run), &[], vec![]).await;
        assert!(status == 200 && page.contains(&format!("pull request #{number}")), "{status} {page}");
    }
    assert_eq!(world.check("paceline/performance", &head).unwrap(), before, "the checks are as they were");
    let comment = world.our_comments(number).into_iter().find(|comment| comment.body.contains("+25"));
    assert!(!comment.unwrap().body.contains("+50"));
    // GitHub may tell of a command twice.
    let repo = world.repository;
    let said = world.say(number, "alice", "/paceline bench against main").await;
    reply(&world, number, said, "is measured against").await;
    let again =
        bot::demo::standin::Event::IssueComment { repo, number, comment: said, action: "created".into() };
    world.send(&again).await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    reply(&world, number, said, "weighs nothing").await;
    assert!(runner.claim(true).await.is_none(), "once");
    world.server.stop().await;
}

/// The head's `hot` takes twice as long.
fn profile() -> Profile {
    let stack = |frames: &[u32], base: u32, head: u32| ProfileStack {
        frames: frames.to_vec(),
        base: vec![base; 8],
        head: vec![head; 8],
    };
    Profile {
        suite: "widgets".into(),
        benchmark: BenchmarkId("widgets/one".into()),
        unit: WorkUnit::Iteration,
        period_ns: 499_979,
        kernel: false,
        names: ["main", "widgets::hot", "<b>cold</b>"].map(String::from).into(),
        stacks: vec![stack(&[0, 1], 200, 400), stack(&[0, 2], 100, 100)],
        visits: vec![ProfileVisit { base: 1e5, head: 1e5 }; 8],
        touched: None,
        notes: vec![],
    }
}

async fn a_profile_is_a_reply_with_its_functions(on: On) {
    let (world, number, runner) = slower(on, &["fix: one"]).await;
    let said = world.say(number, "alice", "/paceline profile one").await;
    reply(&world, number, said, "is profiled").await;
    let lease = eventually_claim(&runner).await;
    let focus = lease.spec.focus.clone().unwrap();
    assert_eq!(focus.benchmarks, [BenchmarkId("widgets/one".into())]);
    assert!(focus.profile && lease.spec.all, "of what did not change, too");
    assert_eq!(lease.spec.suites.len(), 1);
    let mut found = evidence(&lease, 1.0);
    found.profiles = vec![profile()];
    let (status, body) = runner.upload(&lease, &found).await;
    assert_eq!(status, 201, "{body}");
    let Stored { digest } = serde_json::from_str(&body).unwrap();
    assert_eq!(runner.finish(&lease, Outcome::Measured { digest }).await, 204);
    let ended = reply(&world, number, said, "widgets::hot").await;
    let at = format!("/runs/{}/profile/0", lease.spec.job);
    for part in [format!("{at}/difference.svg"), format!("{at}/head-flame.svg"), "`<b>cold</b>`".into()] {
        assert!(ended.body.contains(&part), "{part} in {}", ended.body);
    }
    let (status, picture) =
        crate::world::request("GET", &world.url(&format!("{at}/difference.svg")), &[], vec![]).await;
    assert!(status == 200 && picture.contains("<svg"), "{status}");

    // A runner that cannot sample says nothing of functions.
    let said = world.say(number, "alice", "/paceline profile").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    reply(&world, number, said, "was not profiled").await;
    world.server.stop().await;
}

async fn a_search_names_the_commit_of_the_pull_request(on: On) {
    let messages = ["fix: one", "feat: accept <b>comments</b>", "docs: say so", "test: it"];
    let (world, number, runner) = slower(on, &messages).await;
    let (main, head) = (world.github.tip(world.repository, "main").unwrap(), world.head());
    let git = git2::Repository::open_bare(world.github.git_dir(world.repository).unwrap()).unwrap();
    let mut commits: Vec<Sha> = Vec::new();
    let mut commit = git.find_commit(git2::Oid::from_str(head.as_str()).unwrap()).unwrap();
    while commit.id().to_string() != main.as_str() {
        commits.push(commit.id().to_string().parse().unwrap());
        commit = commit.parent(0).unwrap();
    }
    commits.reverse();
    let level: BTreeMap<&Sha, f64> = std::iter::once((&main, 1.0))
        .chain(commits.iter().enumerate().map(|(at, sha)| (sha, if at < 1 { 1.0 } else { 1.25 })))
        .collect();

    let said = world.say(number, "alice", "/paceline bisect").await;
    reply(&world, number, said, "among 4 commits").await;
    let ratio = |lease: &Lease| level[&lease.spec.head] / level[&lease.spec.base];
    let last = loop {
        let lease = eventually_claim(&runner).await;
        let focus = lease.spec.focus.clone().unwrap();
        assert_eq!(focus.benchmarks, [BenchmarkId("widgets/one".into())]);
        assert_eq!(focus.passing_base, lease.spec.base != main, "of its own commits nothing is kept");
        runner.measure(&lease, ratio(&lease)).await;
        if focus.passing_base {
            break lease;
        }
    };
    assert_eq!((&last.spec.base, &last.spec.head), (&commits[0], &commits[1]), "verified");
    let found = reply(&world, number, said, "slower").await;
    for part in [commits[1].short(), "`feat: accept <b>comments</b>`", "+25", "4 commits"] {
        assert!(found.body.contains(part), "{part} in {}", found.body);
    }
    assert!(runner.claim(true).await.is_none());
    world.server.stop().await;
}

async fn what_cannot_be_asked_for_is_said(on: On) {
    let (world, number, runner) = slower(on, &["fix: one"]).await;
    let (_, fork, stranger) = world.open_fork();
    for (by, command, part) in [
        ("mallory", "bench against main", "write permission"),
        ("mallory", "profile", "write permission"),
        ("mallory", "bisect", "write permission"),
        ("alice", "bench against no/such", "no tag, branch or commit `no/such`"),
        ("alice", "bench against --upload-pack=x", "no tag, branch or commit"),
        ("alice", "bench against $(touch${IFS}pwned)", "no tag, branch or commit"),
        ("alice", "bench against latest-release", "no tag, branch or commit"),
        ("alice", "bench nothing against main", "no suite of that name"),
        ("alice", "profile <b>nothing", "is called `<b>nothing`"),
        ("alice", "bisect", "one commit"),
        ("alice", "bisect nothing", "is called `nothing`"),
        ("alice", "dance", "is not something that I know"),
    ] {
        let said = world.say(number, by, &format!("/paceline {command}")).await;
        let refused = reply(&world, number, said, part).await;
        assert!(!refused.body.contains("⏳"), "{}", refused.body);
        let seen = eventually("the receipt", || {
            let all = world.github.comments(world.repository, number);
            all.into_iter().find(|comment| comment.id == said && !comment.reactions.is_empty())
        })
        .await;
        assert_eq!(seen.reactions, ["confused"], "{command}");
    }
    // Seen by the mirror, since its pull request was told of, and nobody's to run.
    world.pull_event(fork, "opened").await;
    world.checked("paceline/commits", &stranger).await;
    let said = world.say(number, "alice", &format!("/paceline bench against {stranger}")).await;
    reply(&world, number, said, "Name a branch or a tag").await;
    assert!(runner.claim(true).await.is_none(), "nothing of it was begun");
    world.server.stop().await;
}

async fn a_cancel_and_a_push_end_it(on: On) {
    let (world, number, runner) = slower(on, &["fix: one"]).await;
    let said = world.say(number, "alice", "/paceline bench against main").await;
    reply(&world, number, said, "is measured against").await;
    world.say(number, "alice", "/paceline cancel").await;
    reply(&world, number, said, "Cancelled by alice").await;
    assert!(runner.claim(true).await.is_none());

    let head = world.head();
    let said = world.say(number, "alice", "/paceline profile").await;
    let lease = eventually_claim(&runner).await;
    world.commit("fix: two", "pub fn one() -> u32 { 40 }\n");
    world.pull_event(number, "synchronize").await;
    let ended = reply(&world, number, said, "Ended by a newer push").await;
    assert!(ended.body.contains(head.short()), "{}", ended.body);
    let (_, orders) = runner.beat(&lease, lease.fence, perfsuite::model::wire::Phase::Measuring).await;
    assert!(orders.contains("stop"), "{orders}");
    world.server.stop().await;
}

async fn a_forks_head_waits_for_its_permission(on: On) {
    let world = World::new(on, Wishes::default()).await;
    world.github.set_permission(world.repository, "mia", Permission::Write);
    let (_, number, head) = world.open_fork();
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let said = world.say(number, "mia", "/paceline bench against main").await;
    reply(&world, number, said, &format!("`/paceline run {head}`")).await;
    assert!(runner.claim(true).await.is_none());
    world.say(number, "mia", &format!("/paceline run {head}")).await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    let said = world.say(number, "mia", "/paceline bench against main").await;
    reply(&world, number, said, "is measured against").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.head, head);
    runner.measure(&lease, 1.0).await;
    reply(&world, number, said, "weighs nothing").await;
    world.server.stop().await;
}
