//! Approvals through the App: who must still look, what a rebase keeps and what a change drops.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::{CheckRunSeen, Event};
use bot::pull::RepoId;
use perfsuite::model::Sha;

on_both!(
    every_file_wants_two_owners_and_the_author_is_none_of_them,
    a_rebase_keeps_approvals_and_a_change_drops_only_its_own_files,
    teams_that_cannot_be_read_are_told,
    teams_of_each_other_are_asked_once,
    where_nobody_owns_anything_nothing_is_asked,
);

const OWNERS: &str = "* @alice @bob @carol @Dave\nsrc/ @bob @acme/core\n/free/\n";

async fn world(on: On, owners: &'static str, config: &'static str) -> World {
    let files = vec![(".github/CODEOWNERS", owners), ("src/a.rs", A), ("src/b.rs", A), ("free/x", "1\n")];
    let world = World::new(on, Wishes { files, config: Some(config), ..Wishes::default() }).await;
    world.github.set_team("acme", "core", &["carol", "erin", "alice"]);
    world
}

/// Long enough that changes at both ends have lines between them.
const A: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n";

fn with_last(line: &str) -> String {
    A.replace("20\n", &format!("{line}\n"))
}

fn push(world: &World, message: &str, files: &[(&str, &str)]) -> Sha {
    let files: Vec<(&str, Option<&[u8]>)> =
        files.iter().map(|(path, text)| (*path, Some(text.as_bytes()))).collect();
    world.github.commit(world.repository, "topic", message, &files).unwrap()
}

async fn review(world: &World, number: u64, login: &str, word: &str) -> i64 {
    let review = world.github.review_as(world.repository, number, login, word).unwrap();
    tell(world, number, review, "submitted").await;
    review
}

async fn tell(world: &World, number: u64, review: i64, action: &str) {
    let repo: RepoId = world.repository;
    world.send(&Event::PullRequestReview { repo, number, review, action: action.into() }).await;
}

async fn check(world: &World, head: &Sha, title: &str) -> CheckRunSeen {
    let what = format!("the title {title:?}");
    let mut last = String::new();
    eventually(&what, || {
        let found = world.check("paceline/reviews", head)?;
        if found.title != last {
            last.clone_from(&found.title);
            eprintln!("paceline/reviews: {last}");
        }
        (found.title == title).then_some(found)
    })
    .await
}

async fn every_file_wants_two_owners_and_the_author_is_none_of_them(on: On) {
    let world = world(on, OWNERS, "[reviews]\nlevel = 'error'").await;
    let (a, b) = (with_last("a"), with_last("b"));
    let head = push(&world, "feat: x", &[("src/a.rs", &a), ("README.md", &b), ("free/x", "2\n")]);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let seen = check(&world, &head, "2 files lack approvals; waiting for bob, carol").await;
    assert_eq!(seen.conclusion.as_deref(), Some("failure"));
    for words in ["`src/a.rs`", "0 of 2", "`erin`", "1 file has no owner"] {
        assert!(seen.summary.contains(words), "{words} in {}", seen.summary);
    }
    assert!(!seen.summary.contains("`alice`"), "the author is asked: {}", seen.summary);
    review(&world, number, "alice", "APPROVED").await;
    review(&world, number, "mallory", "APPROVED").await;
    review(&world, number, "BOB", "APPROVED").await;
    check(&world, &head, "2 files lack approvals; waiting for carol").await;
    let comment = eventually("the comment's reviews", || {
        let body = world.our_comments(number).pop()?.body;
        body.contains("The approval of `carol` would do").then_some(body)
    })
    .await;
    assert!(!comment.contains("@carol"), "nobody is notified by a bot: {comment}");
    let erin = review(&world, number, "erin", "APPROVED").await;
    check(&world, &head, "1 file lacks approvals; waiting for carol").await;
    review(&world, number, "dave", "APPROVED").await;
    let seen = check(&world, &head, "2 files are approved by enough owners").await;
    assert_eq!(seen.conclusion.as_deref(), Some("success"));
    review(&world, number, "bob", "CHANGES_REQUESTED").await;
    check(&world, &head, "2 files lack approvals; waiting for bob").await;
    review(&world, number, "bob", "APPROVED").await;
    check(&world, &head, "2 files are approved by enough owners").await;
    world.github.dismiss_review(world.repository, erin);
    tell(&world, number, erin, "dismissed").await;
    check(&world, &head, "1 file lacks approvals; waiting for carol").await;
}

async fn a_rebase_keeps_approvals_and_a_change_drops_only_its_own_files(on: On) {
    let world = world(on, "src/ @bob @carol\n", "[reviews]\nowners-per-file = 2").await;
    let (a, b) = (with_last("a"), with_last("b"));
    let first = push(&world, "feat: x", &[("src/a.rs", &a), ("src/b.rs", &b)]);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let waiting = "2 files lack approvals; waiting for bob, carol";
    assert_eq!(check(&world, &first, waiting).await.conclusion.as_deref(), Some("neutral"));
    review(&world, number, "bob", "APPROVED").await;
    review(&world, number, "carol", "APPROVED").await;
    check(&world, &first, "2 files are approved by enough owners").await;

    // The base moves on, in the same file too, elsewhere; the branch is put upon it, history rewritten.
    let moved = A.replace("1\n2\n", "0\n1\n2\n");
    let files: [(&str, Option<&[u8]>); 2] =
        [("src/a.rs", Some(moved.as_bytes())), ("src/c.rs", Some(b"new\n"))];
    let main = world.github.commit(world.repository, "main", "feat: elsewhere", &files).unwrap();
    world.github.set_branch(world.repository, "topic", &main).unwrap();
    let a_moved = moved.replace("20\n", "a\n");
    push(&world, "feat: half", &[("src/a.rs", &a_moved)]);
    let second = push(&world, "feat: x", &[("src/b.rs", &b)]);
    world.pull_event(number, "synchronize").await;
    check(&world, &second, "2 files are approved by enough owners").await;

    // One file changes: its approvals go, the other's stay.
    let third = push(&world, "fix: y", &[("src/b.rs", &with_last("other"))]);
    world.pull_event(number, "synchronize").await;
    let seen = check(&world, &third, "1 file lacks approvals; waiting for bob, carol").await;
    assert!(seen.summary.contains("| `src/b.rs` | 0 of 2 |") && !seen.summary.contains("| `src/a.rs`"));
    assert!(
        seen.summary.contains("`bob`: 1 file as it is now, not 1 that came or changed since"),
        "{}",
        seen.summary
    );

    // Back as it was approved: the ledger knows it again.
    let fourth = push(&world, "fix: z", &[("src/b.rs", &b)]);
    world.pull_event(number, "synchronize").await;
    check(&world, &fourth, "2 files are approved by enough owners").await;

    // A file that came since was never looked at.
    let fifth = push(&world, "feat: w", &[("src/d.rs", "d\n")]);
    world.pull_event(number, "synchronize").await;
    check(&world, &fifth, "1 file lacks approvals; waiting for bob, carol").await;
    review(&world, number, "bob", "APPROVED").await;
    check(&world, &fifth, "1 file lacks approvals; waiting for carol").await;
}

async fn teams_that_cannot_be_read_are_told(on: On) {
    let world = world(on, "src/ @acme/core @other/team\n!bad @bob\n", "[reviews]").await;
    world.github.grant(world.installation, "members", None);
    let head = push(&world, "feat: x", &[("src/a.rs", "1\n")]);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let seen = check(&world, &head, "1 file lacks approvals, and nobody is left to ask").await;
    for words in ["`acme/core` cannot be read", "`other/team` cannot be read", "members: read", "line 2"] {
        assert!(seen.summary.contains(words), "{words} in {}", seen.summary);
    }
    world.github.grant(world.installation, "members", Some("read"));
    world.pull_event(number, "edited").await;
    check(&world, &head, "1 file lacks approvals; waiting for carol, erin").await;
}

/// GitHub tells the members of teams within a team as its own; two that hold each other have the same.
async fn teams_of_each_other_are_asked_once(on: On) {
    let owners = "* @acme/core\nsrc/ @acme/core @acme/inner\n";
    let world = world(on, owners, "[reviews]\nlevel = 'error'").await;
    for team in ["core", "inner"] {
        world.github.set_team("acme", team, &["carol", "erin", "alice", "acme/core", "acme/inner"]);
    }
    let head = push(&world, "feat: x", &[("src/a.rs", "1\n"), ("README.md", "2\n")]);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    check(&world, &head, "2 files lack approvals; waiting for carol, erin").await;
    review(&world, number, "erin", "APPROVED").await;
    check(&world, &head, "2 files lack approvals; waiting for carol").await;
    world.server.stop().await;
}

async fn where_nobody_owns_anything_nothing_is_asked(on: On) {
    for (owners, config) in [("", "[perf]"), ("* @bob @carol\n", "[reviews]\nlevel = 'off'")] {
        let files = if owners.is_empty() { Vec::new() } else { vec![("CODEOWNERS", owners)] };
        let world = World::new(on, Wishes { files, config: Some(config), ..Wishes::default() }).await;
        let number = world.open_pull("fix: one");
        world.pull_event(number, "opened").await;
        let head = world.head();
        eventually("the commits", || world.check("paceline/commits", &head)).await;
        assert!(world.check("paceline/reviews", &head).is_none());
        assert_eq!(world.github.count("GET", "/reviews"), 0);
    }
}
