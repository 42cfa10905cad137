//! What people and their programs must not be able to break: each kind of bad input, through the App's door.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::{CheckRunSeen, NewPull};
use git2::{FileMode, Oid, Repository, Signature};
use perfsuite::model::Sha;
use std::path::Path;
use std::time::{Duration, Instant};

/// Thousands of commits on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(240);

on_both!(
    hostile_titles_bodies_and_branches_do_nothing,
    names_links_and_submodules_that_point_outside_are_only_names,
);

/// Turns text around, ends it, and is no text to a database.
const HOSTILE: &str = "feat: \u{202e}$(touch pwned) `id` '; DROP TABLE jobs; --\0 </details><script>alert(1)</script> \
    [x](javascript:alert(1)) @everyone #1 | a | b |\r\n\r\n<!-- paceline:comment";

async fn concluded(world: &World, name: &str, head: &Sha) -> CheckRunSeen {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(check) = world.check(name, head).filter(|check| check.status == "completed") {
            return check;
        }
        if Instant::now() > deadline {
            let errors = sqlx::query("SELECT COALESCE(error, state) AS error FROM deliveries");
            let errors = errors.fetch_all(world.server.app.db.pool()).await.unwrap();
            let errors: Vec<String> = errors.iter().map(|row| sqlx::Row::get(row, "error")).collect();
            panic!("waited in vain for {name}: {errors:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn hostile_titles_bodies_and_branches_do_nothing(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let main = world.github.tip(world.repository, "main").unwrap();
    for (at, branch) in
        ["$(touch${IFS}pwned)", "--upload-pack=x", "a;b|c", "\u{202e}gpj.exe", "'\"`"].iter().enumerate()
    {
        let branch = format!("{branch}{at}");
        world.github.set_branch(world.repository, &branch, &main).unwrap();
        let head = world.push_to(&branch, at);
        let new = NewPull {
            title: HOSTILE.into(),
            author: "eve".into(),
            base: "main".into(),
            head: branch,
            fork: None,
            draft: false,
        };
        let number = world.github.open_pull(world.repository, &new).unwrap();
        let body = format!("{HOSTILE}\n{}", "x\u{301}".repeat(350_000));
        world.github.edit_pull(world.repository, number, |pull| pull.body = body).unwrap();
        world.pull_event(number, "opened").await;
        let check = concluded(&world, "paceline/commits", &head).await;
        assert!(!check.summary.contains("<script>"), "{}", check.summary);
        let comment = eventually("the comment", || world.our_comments(number).pop()).await;
        assert!(
            !comment.body.contains("<script>") && !comment.body.contains("@everyone"),
            "{}",
            comment.body
        );
        assert!(comment.body.chars().count() < 65_536);
    }
    world.server.stop().await;
}

/// A commit on `topic` of objects that no ordinary client makes.
fn plant(world: &World, message: &[u8], build: impl FnOnce(&Repository, &mut git2::TreeBuilder<'_>)) -> Sha {
    let git = Repository::open_bare(world.github.git_dir(world.repository).unwrap()).unwrap();
    let parent = Oid::from_str(world.head().as_str()).unwrap();
    let parent = git.find_commit(parent).unwrap();
    let mut tree = git.treebuilder(Some(&parent.tree().unwrap())).unwrap();
    build(&git, &mut tree);
    let tree = git.find_tree(tree.write().unwrap()).unwrap();
    let who = Signature::now("eve", "eve@example.org").unwrap();
    let buffer = git.commit_create_buffer(&who, &who, "x", &tree, &[&parent]).unwrap();
    let head = std::str::from_utf8(&buffer).unwrap().rsplit_once("\n\n").unwrap().0.as_bytes().to_vec();
    let whole = [head.as_slice(), b"\n\n", message].concat();
    let id = git.odb().unwrap().write(git2::ObjectType::Commit, &whole).unwrap();
    let sha: Sha = id.to_string().parse().unwrap();
    world.github.set_branch(world.repository, "topic", &sha).unwrap();
    sha
}

fn blob(git: &Repository, bytes: &[u8]) -> Oid {
    git.blob(bytes).unwrap()
}

async fn names_links_and_submodules_that_point_outside_are_only_names(on: On) {
    let owners = "* @bob\n";
    let world =
        World::new(on, Wishes { files: vec![(".github/CODEOWNERS", owners)], ..Wishes::default() }).await;
    let head = plant(&world, b"feat: odd names\n\n\xff\xfe are no UTF-8\n", |git, tree| {
        let (text, link) = (blob(git, b"x\n"), blob(git, b"../../../../etc/passwd"));
        let file = i32::from(FileMode::Blob);
        for name in ["a\nb.rs", "-rf", "a\tb", "\u{202e}txt.exe", "<b>.rs"] {
            tree.insert(name, text, file).unwrap();
        }
        // The builder takes bytes as paths take them.
        let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"no-\xff-utf8.rs");
        tree.insert(Path::new(odd), text, file).unwrap();
        tree.insert("link", link, i32::from(FileMode::Link)).unwrap();
        let absolute = blob(git, b"/etc");
        tree.insert("directory", absolute, i32::from(FileMode::Link)).unwrap();
        let nowhere = Oid::from_str(&"7".repeat(40)).unwrap();
        tree.insert("module", nowhere, i32::from(FileMode::Commit)).unwrap();
    });
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let check = concluded(&world, "paceline/commits", &head).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{}", check.summary);
    let reviews = eventually("the reviews", || world.check("paceline/reviews", &head)).await;
    assert!(
        reviews.summary.contains("a b.rs") || reviews.summary.contains("a\u{fffd}b.rs"),
        "{}",
        reviews.summary
    );
    assert!(reviews.summary.contains("`<b>.rs`"), "shown as code: {}", reviews.summary);
    assert!(!std::path::Path::new("pwned").exists());

    // What git itself does not take is said, and tried no more.
    let head = plant(&world, b"feat: a module\n", |git, tree| {
        let modules = b"[submodule \"m\"]\npath = m\nurl = --upload-pack=x\n";
        tree.insert(".gitmodules", blob(git, modules), i32::from(FileMode::Blob)).unwrap();
    });
    world.pull_event(number, "synchronize").await;
    let check = concluded(&world, "paceline/commits", &head).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    assert!(check.summary.contains("git does not take its objects"), "{}", check.summary);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_explodes_is_refused_in_words() {
    let world = World::new(On::Sqlite, Wishes::default()).await;
    // Ten levels of a hundred directories, each the same: a hundred million billion files in twelve objects.
    let head = plant(&world, b"feat: explode\n", |git, tree| {
        let mut inner = blob(git, b"x\n");
        let mut mode = i32::from(FileMode::Blob);
        for _ in 0..10 {
            let mut level = git.treebuilder(None).unwrap();
            for name in 0..100 {
                level.insert(format!("n{name}"), inner, mode).unwrap();
            }
            inner = level.write().unwrap();
            mode = i32::from(FileMode::Tree);
        }
        tree.insert("bomb", inner, mode).unwrap();
    });
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let check = concluded(&world, "paceline/commits", &head).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    assert!(
        check.summary.contains("cannot be judged") && check.summary.contains("more than"),
        "{}",
        check.summary
    );
    world.server.stop().await;
}

/// A few KiB of git that are a file of many MiB, as code, as text and as the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_explode_are_looked_at_from_outside() {
    const BYTES: usize = 48 << 20;
    let owners = vec![(".github/CODEOWNERS", "* @bob\n")];
    let world = World::new(On::Sqlite, Wishes { files: owners, ..Wishes::default() }).await;
    let head = plant(&world, b"refactor: explode\n", |git, tree| {
        let bomb = blob(git, &vec![b'\n'; BYTES]);
        let file = i32::from(FileMode::Blob);
        for name in ["bomb.rs", "Cargo.toml", "CODEOWNERS"] {
            tree.insert(name, bomb, file).unwrap();
        }
        let mut github = git.treebuilder(None).unwrap();
        github.insert("paceline.toml", bomb, file).unwrap();
        let github = github.write().unwrap();
        tree.insert(".github", github, i32::from(FileMode::Tree)).unwrap();
    });
    let packed: u64 = walk(world.github.git_dir(world.repository).unwrap().join("objects").as_path());
    assert!(packed < 4 << 20, "it is a bomb: {packed} bytes");
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let check = concluded(&world, "paceline/commits", &head).await;
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{}", check.summary);
    assert!(check.summary.contains("cannot be read as it is proposed"), "{}", check.summary);
    let reviews = concluded(&world, "paceline/reviews", &head).await;
    assert!(reviews.summary.contains("`bomb.rs`"), "the base's owners count: {}", reviews.summary);
    world.server.stop().await;
}

/// Bytes of all files below.
fn walk(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let size = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => walk(&entry.path()),
        false => entry.metadata().unwrap().len(),
    };
    entries.map(size).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_commits_and_long_messages_are_judged_or_said() {
    let world = World::new(On::Sqlite, Wishes::default()).await;
    let long =
        [b"feat: long\n\n".as_slice(), &b"word ".repeat(1 << 18), &b"\xcc\x81".repeat(1 << 16)].concat();
    plant(&world, &long, |git, tree| {
        tree.insert("long", blob(git, b"x\n"), i32::from(FileMode::Blob)).unwrap();
    });
    let chain = |count: usize| {
        let git = Repository::open_bare(world.github.git_dir(world.repository).unwrap()).unwrap();
        let mut parent = git.find_commit(Oid::from_str(world.head().as_str()).unwrap()).unwrap();
        let tree = parent.tree().unwrap();
        let who = Signature::now("eve", "eve@example.org").unwrap();
        for n in 0..count {
            let message = if n % 2 == 0 { format!("fix: step {n}") } else { format!("Step {n}.") };
            let id = git.commit(None, &who, &who, &message, &tree, &[&parent]).unwrap();
            parent = git.find_commit(id).unwrap();
        }
        let sha: Sha = parent.id().to_string().parse().unwrap();
        world.github.set_branch(world.repository, "topic", &sha).unwrap();
        sha
    };
    let head = chain(4_999);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let check = concluded(&world, "paceline/commits", &head).await;
    assert_eq!(check.title, "2500 of 5000 commit messages need a change", "{}", check.summary);
    assert!(check.annotations.len() <= 500 && check.summary.contains("more findings have no annotation"));
    let comment = eventually("the comment", || world.our_comments(number).pop()).await;
    assert!(comment.body.chars().count() < 65_536, "{}", comment.body.len());

    let head = chain(1);
    world.pull_event(number, "synchronize").await;
    let check = concluded(&world, "paceline/commits", &head).await;
    assert!(check.summary.contains("more than 5000 commits"), "nothing passes unseen: {}", check.summary);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_configuration_and_many_owners_are_answered() {
    let config: &'static str = "# 10 MB of nothing\n".repeat(550_000).leak();
    let line = |n: usize| format!("/src/part-{n}/ @person-{} @acme/team-{}\n", n % 977, n % 31);
    let owners: &'static str =
        ((0..100_000).map(line).collect::<String>() + "/src/*.rs @bob @carol\n").leak();
    let files = vec![(".github/CODEOWNERS", owners)];
    let world = World::new(On::Sqlite, Wishes { config: Some(config), files, ..Wishes::default() }).await;
    let number = world.open_pull("feat: one");
    world.pull_event(number, "opened").await;
    let head = world.head();
    let check = concluded(&world, "paceline/config", &head).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    assert!(check.title.contains("too large"), "{}", check.title);
    assert_eq!((check.annotations[0].path.as_str(), check.annotations[0].line), (".github/paceline.toml", 1));
    concluded(&world, "paceline/commits", &head).await;
    // Over what GitHub reads of CODEOWNERS, nobody owns anything; below it, the last line that matches counts.
    let reviews = concluded(&world, "paceline/reviews", &head).await;
    let large = owners.len() > 3 << 20;
    assert!(reviews.summary.contains(if large { "larger than" } else { "`bob`" }), "{}", reviews.summary);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_wrong_types_points_at_its_line() {
    let config = "[commits]\nlevel = \"error\"\n[reviews]\nowners-per-file = \"two\"\n";
    let world = World::new(On::Sqlite, Wishes { config: Some(config), ..Wishes::default() }).await;
    let number = world.open_pull("feat: one");
    world.pull_event(number, "opened").await;
    let check = concluded(&world, "paceline/config", &world.head()).await;
    assert_eq!(
        (check.annotations[0].line, check.conclusion.as_deref()),
        (4, Some("failure")),
        "{}",
        check.title
    );
    assert!(check.title.contains("owners-per-file"), "{}", check.title);
    world.server.stop().await;
}
