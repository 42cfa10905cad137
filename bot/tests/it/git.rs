//! Mirrors, bundles and reading, against the stand-in's real git server.

use crate::scene::{Base, Scene, new_pull};
use bot::demo::standin::{Fault, FaultKind, NewPull, NewRepository};
use bot::git::{BUNDLE_BASE_REF, BUNDLE_HEAD_REF, GitError, History, MergeResult, Mirrors, Wants};
use bot::pull::{ChangeKind, RepoId};
use perfsuite::model::Sha;
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use std::process::Command;

/// A scene with a mirror and what a fetch needs.
struct Fetching {
    scene: Scene,
    mirrors: Mirrors,
    url: String,
    token: SecretString,
}

impl Fetching {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let github = scene.github(Base::Enterprise);
        let token = github.installation_token(scene.installation).await.unwrap();
        let url = github.git_url(&scene.repository().name);
        let mirrors = Mirrors::new(scene.dir.path().join("data"));
        Self { scene, mirrors, url, token }
    }

    async fn fetch(&self, wants: Wants) -> Result<bot::git::Fetched, GitError> {
        let (mirrors, repo, url, token) =
            (self.mirrors.clone(), self.scene.repo, self.url.clone(), self.token.clone());
        blocking(move || mirrors.fetch(repo, &url, Some(&token), &wants)).await
    }

    fn history(&self) -> History {
        self.mirrors.open(self.scene.repo).unwrap()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn wants(number: u64) -> Wants {
    Wants { pulls: vec![number], branches: vec!["main".into()], commits: Vec::new() }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"])
        .args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn sha(text: &str) -> Sha {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_fetch_brings_pull_request_base_and_history() {
    let it = Fetching::new().await;
    let fork_point = it.scene.standin.tip(it.scene.repo, "main").unwrap();
    let (number, head) = it.scene.pull();
    // The base moves on, so that merge base and tip differ.
    let base = it.scene.standin.commit(it.scene.repo, "main", "docs: more", &[("a.md", Some(b"a"))]).unwrap();
    let fetched = it.fetch(wants(number)).await.unwrap();
    assert_eq!(fetched.pulls[&number], head);
    assert_eq!(fetched.branches["main"], base);

    let history = it.history();
    assert_eq!(history.merge_base(&base, &head).unwrap(), fork_point);
    let commits = history.commits(&fork_point, &head, 10).unwrap();
    assert_eq!(commits.iter().map(|c| c.message.as_str()).collect::<Vec<_>>(), ["fix: a thing"]);
    let changed = history.changed_paths(&fork_point, &head).unwrap();
    assert!(changed.complete);
    assert_eq!(changed.paths[0].path, "src/lib.rs");
    assert_eq!(changed.paths[0].kind, ChangeKind::Added);
    let MergeResult::Clean { tree } = history.merge_result(&base, &head).unwrap() else { panic!("conflict") };
    assert_ne!(tree, head);
    let readme = history.blob_at(&head, "README.md", 100).unwrap().unwrap();
    assert_eq!(readme.bytes, b"hello\n");
    assert_eq!(history.blob_at(&head, "a.md", 100).unwrap(), None);

    // A push moves the head, a second fetch follows, and the old head is still there.
    let pushed = it.scene.standin.commit(it.scene.repo, "change", "fix: more", &[("b", Some(b"b"))]).unwrap();
    assert_eq!(it.fetch(wants(number)).await.unwrap().pulls[&number], pushed);
    assert!(it.history().has(&head) && it.history().has(&pushed));
    let commits = it.history().commits(&fork_point, &pushed, 10).unwrap();
    assert_eq!(commits.iter().map(|c| &c.sha).collect::<Vec<_>>(), [&head, &pushed]);
    assert!(matches!(it.history().commits(&fork_point, &pushed, 1), Err(GitError::TooMany { max: 1, .. })));
}

#[tokio::test]
async fn a_forced_push_from_a_fork_is_followed() {
    let it = Fetching::new().await;
    let standin = &it.scene.standin;
    let fork = standin.create_repository(&NewRepository::named("mallory/gateway").unwrap()).unwrap();
    let main = standin.tip(it.scene.repo, "main").unwrap();
    standin.push(fork, &standin.git_dir(it.scene.repo).unwrap(), &main, "patch").unwrap();
    let first = standin.commit(fork, "patch", "fix: one", &[("x", Some(b"1"))]).unwrap();
    let pull = NewPull { author: "mallory".into(), fork: Some(fork), ..new_pull("patch") };
    let number = standin.open_pull(it.scene.repo, &pull).unwrap();
    assert_eq!(it.fetch(wants(number)).await.unwrap().pulls[&number], first);
    standin.set_branch(fork, "patch", &main).unwrap();
    let second = standin.commit(fork, "patch", "fix: two", &[("x", Some(b"2"))]).unwrap();
    assert_eq!(it.fetch(wants(number)).await.unwrap().pulls[&number], second);
    assert_eq!(it.history().merge_base(&main, &second).unwrap(), main);
}

#[tokio::test]
async fn a_bundle_carries_both_commits_to_a_runner() {
    let it = Fetching::new().await;
    let (number, head) = it.scene.pull();
    it.fetch(wants(number)).await.unwrap();
    let base = it.scene.standin.tip(it.scene.repo, "main").unwrap();
    let dir = it.scene.dir.path().join("bundles");
    let bundle = it.history().bundle(&base, &head, &dir).unwrap();
    let checkout = tempfile::tempdir().unwrap();
    git(checkout.path(), &["init", "--quiet"]);
    let path = bundle.to_str().unwrap();
    git(checkout.path(), &["fetch", "--quiet", path, "+refs/paceline/*:refs/paceline/*"]);
    assert_eq!(git(checkout.path(), &["rev-parse", BUNDLE_BASE_REF]), base.as_str());
    assert_eq!(git(checkout.path(), &["rev-parse", BUNDLE_HEAD_REF]), head.as_str());
    git(checkout.path(), &["fsck", "--full", "--strict"]);
    assert_eq!(git(checkout.path(), &["show", &format!("{head}:src/lib.rs")]), "fn f() {}");
    // Two at once, and nothing is left in the mirror or beside the bundles.
    let again = it.history().bundle(&head, &head, &dir).unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
    drop((bundle, again));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    let mirror = it.mirrors.path(it.scene.repo);
    assert_eq!(git(&mirror, &["for-each-ref", "refs/paceline/base", "refs/paceline/head"]), "");
}

#[tokio::test]
async fn a_commit_is_fetched_by_its_id() {
    let it = Fetching::new().await;
    let standin = &it.scene.standin;
    let old = standin.tip(it.scene.repo, "main").unwrap();
    standin.commit(it.scene.repo, "main", "feat: next", &[("n", Some(b"n"))]).unwrap();
    it.fetch(Wants { commits: vec![old.clone()], ..Wants::default() }).await.unwrap();
    assert!(it.history().has(&old));
    // What is there is not asked for again.
    let before = standin.requests().len();
    it.fetch(Wants { commits: vec![old.clone()], ..Wants::default() }).await.unwrap();
    assert_eq!(standin.requests().len(), before);
    let nowhere = sha("0123456789012345678901234567890123456789");
    let missing = it.fetch(Wants { commits: vec![nowhere], ..Wants::default() }).await;
    assert!(matches!(missing, Err(GitError::Failed { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_renamed_repository_is_fetched_from_its_old_address() {
    let it = Fetching::new().await;
    let (number, head) = it.scene.pull();
    it.scene.standin.rename_repository(it.scene.repo, &"acme/edge".parse().unwrap());
    assert_eq!(it.fetch(wants(number)).await.unwrap().pulls[&number], head);
}

#[tokio::test]
async fn a_long_negotiation_is_compressed_and_understood() {
    let it = Fetching::new().await;
    // git compresses what it sends beyond a kilobyte: the ids of a few dozen branches.
    let branches: Vec<String> = (0..40).map(|n| format!("topic-{n}")).collect();
    let tips = branches.iter().map(|branch| {
        it.scene.standin.commit(it.scene.repo, branch, &format!("feat: {branch}"), &[]).unwrap()
    });
    let tips: Vec<Sha> = tips.collect();
    let fetched = it.fetch(Wants { branches: branches.clone(), ..Wants::default() }).await.unwrap();
    for (branch, tip) in branches.iter().zip(&tips) {
        assert_eq!(&fetched.branches[branch], tip);
    }
    assert!(it.scene.standin.requests().iter().any(|r| r.compressed), "the negotiation was short");
}

#[tokio::test]
async fn packs_do_not_pile_up() {
    let it = Fetching::new().await;
    let (number, _) = it.scene.pull();
    let packs = || {
        let dir = it.mirrors.path(it.scene.repo).join("objects/pack");
        let pack = |e: &std::fs::DirEntry| e.path().extension().is_some_and(|e| e == "pack");
        std::fs::read_dir(dir).unwrap().flatten().filter(pack).count()
    };
    it.fetch(wants(number)).await.unwrap();
    let mirror = it.mirrors.path(it.scene.repo);
    // As many as a few dozen pushes leave behind, made without the pushes.
    let mut heads = Vec::new();
    for n in 0..40 {
        let head = it.scene.standin.commit(it.scene.repo, "change", &format!("fix: {n}"), &[]).unwrap();
        let into = format!("{head}:refs/paceline/commit/{head}");
        let from = it.scene.standin.git_dir(it.scene.repo).unwrap();
        git(&mirror, &["-c", "fetch.unpackLimit=1", "fetch", "--quiet", from.to_str().unwrap(), &into]);
        heads.push(head);
    }
    assert!(packs() >= 40);
    it.fetch(wants(number)).await.unwrap();
    assert!(packs() < 10, "{}", packs());
    assert!(heads.iter().all(|head| it.history().has(head)));
}

#[tokio::test]
async fn many_fetches_of_one_mirror_take_turns() {
    let it = Fetching::new().await;
    let (number, head) = it.scene.pull();
    let fetches = (0..6).map(|_| {
        let (mirrors, repo, url, token) =
            (it.mirrors.clone(), it.scene.repo, it.url.clone(), it.token.clone());
        tokio::task::spawn_blocking(move || mirrors.fetch(repo, &url, Some(&token), &wants(number)))
    });
    for fetch in fetches.collect::<Vec<_>>() {
        assert_eq!(fetch.await.unwrap().unwrap().pulls[&number], head);
    }
}

#[tokio::test]
async fn a_killed_fetch_leaves_nothing_in_the_way() {
    let it = Fetching::new().await;
    let (number, _) = it.scene.pull();
    it.fetch(wants(number)).await.unwrap();
    let mirror = it.mirrors.path(it.scene.repo);
    std::fs::write(mirror.join("packed-refs.lock"), "").unwrap();
    std::fs::write(mirror.join(format!("refs/paceline/pull/{number}.lock")), "").unwrap();
    std::fs::create_dir_all(mirror.with_extension("new").join("objects")).unwrap();
    let pushed = it.scene.standin.commit(it.scene.repo, "change", "fix: more", &[("b", Some(b"b"))]).unwrap();
    assert_eq!(it.fetch(wants(number)).await.unwrap().pulls[&number], pushed);
}

#[tokio::test]
async fn without_a_token_nothing_is_given_and_none_is_shown() {
    let it = Fetching::new().await;
    let (number, _) = it.scene.pull();
    let (mirrors, repo, url) = (it.mirrors.clone(), it.scene.repo, it.url.clone());
    let refused = blocking(move || mirrors.fetch(repo, &url, None, &wants(number))).await;
    assert!(matches!(&refused, Err(GitError::Failed { .. })), "{refused:?}");
    let wrong = SecretString::from("ghs_wrongwrongwrong".to_owned());
    let (mirrors, url) = (it.mirrors.clone(), it.url.clone());
    let refused =
        blocking(move || mirrors.fetch(repo, &url, Some(&wrong), &wants(number))).await.unwrap_err();
    assert!(!format!("{refused:?} {refused}").contains("wrongwrong"));
    let missing = it.fetch(Wants { branches: vec!["nowhere".into()], ..Wants::default() }).await.unwrap_err();
    assert!(!format!("{missing:?}").contains(it.token.expose_secret()));
}

/// Every process's command line while a fetch hangs.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_token_is_on_no_command_line() {
    let it = Fetching::new().await;
    let (number, _) = it.scene.pull();
    it.scene.standin.fail(Fault::new("POST", "/git-upload-pack", FaultKind::Hang, 1));
    let (mirrors, repo, url, token) = (it.mirrors.clone(), it.scene.repo, it.url.clone(), it.token.clone());
    let fetch = tokio::task::spawn_blocking(move || mirrors.fetch(repo, &url, Some(&token), &wants(number)));
    while it.scene.standin.count("POST", "/git-upload-pack") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    use base64::Engine;
    let secret = it.token.expose_secret().to_owned();
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("x-access-token:{secret}"));
    let mut lines_with_url = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line);
        assert!(!line.contains(&secret) && !line.contains(&basic), "{line}");
        lines_with_url += usize::from(line.contains(&it.url));
    }
    assert!(lines_with_url > 0, "the fetch was not running");
    // The server goes away, and the fetch with it. (The handles are dropped one by one: the directory stays.)
    let Fetching { scene: Scene { standin, dir: _dir, .. }, .. } = it;
    drop(standin);
    assert!(fetch.await.unwrap().is_err());
}

#[tokio::test]
async fn branch_names_mean_nothing_else() {
    let it = Fetching::new().await;
    for bad in ["*", "a:b", "-x..", "a b", "", "../../heads/main", "main^{}", "main~1"] {
        let refused = it.fetch(Wants { branches: vec![bad.into()], ..Wants::default() }).await;
        assert!(matches!(refused, Err(GitError::Missing { .. })), "{bad:?}: {refused:?}");
    }
    // A branch where another's folder was.
    let main = it.scene.standin.tip(it.scene.repo, "main").unwrap();
    for name in ["feature/a", "feature"] {
        let git_dir = it.scene.standin.git_dir(it.scene.repo).unwrap();
        let _ = std::fs::remove_dir_all(git_dir.join("refs/heads/feature"));
        it.scene.standin.set_branch(it.scene.repo, name, &main).unwrap();
        let fetched = it.fetch(Wants { branches: vec![name.into()], ..Wants::default() }).await.unwrap();
        assert_eq!(fetched.branches[name], main);
    }
    assert!(matches!(it.mirrors.open(RepoId(404)), Err(GitError::Missing { .. })));
}

#[test]
fn a_local_repository_is_read_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    git(at, &["init", "--quiet"]);
    std::fs::write(at.join("a"), "1\n2\n3\n").unwrap();
    git(at, &["add", "."]);
    git(at, &["commit", "--quiet", "-m", "feat: start"]);
    let main = sha(&git(at, &["rev-parse", "HEAD"]));
    git(at, &["checkout", "--quiet", "-b", "work"]);
    std::fs::write(at.join("a"), "1\n2\nthree\n").unwrap();
    git(at, &["commit", "--quiet", "-am", "fix: three"]);
    let work = sha(&git(at, &["rev-parse", "HEAD"]));
    git(at, &["checkout", "--quiet", "main"]);
    std::fs::write(at.join("a"), "one\n2\n3\n").unwrap();
    git(at, &["commit", "--quiet", "-am", "fix: one"]);
    let moved = sha(&git(at, &["rev-parse", "HEAD"]));
    git(at, &["checkout", "--quiet", "work"]);
    std::fs::create_dir(at.join("inside")).unwrap();

    let history = History::local(at.join("inside")).unwrap();
    for (text, base, head) in [
        (None, &main, &work),
        (Some("main..HEAD"), &main, &work),
        (Some("main...work"), &main, &work),
        (Some("main"), &main, &work),
        (Some("HEAD~1"), &main, &work),
        (Some("HEAD..HEAD"), &work, &work),
        (Some("work..main"), &main, &moved),
    ] {
        let range = history.range(text).unwrap();
        assert_eq!((&range.base, &range.head), (base, head), "{text:?}");
    }
    assert_eq!(history.range(None).unwrap().name, "main..HEAD");
    for bad in ["nonsense", "a..b..c", "main..nonsense", ""] {
        assert!(matches!(history.range(Some(bad)), Err(GitError::Range(_))), "{bad:?}");
    }
    assert!(!history.has_uncommitted_changes().unwrap());
    std::fs::write(at.join("a"), "dirty\n").unwrap();
    assert!(history.has_uncommitted_changes().unwrap());

    let objects = || git(at, &["count-objects", "-v"]);
    let before = objects();
    assert!(matches!(history.merge_result(&moved, &work).unwrap(), MergeResult::Clean { .. }));
    let bundles = tempfile::tempdir().unwrap();
    drop(history.bundle(&main, &work, bundles.path()).unwrap());
    assert_eq!(objects(), before);
    assert_eq!(git(at, &["for-each-ref", "--format=%(refname)"]), "refs/heads/main\nrefs/heads/work");

    git(at, &["checkout", "--quiet", "--force", "main"]);
    let at_default = History::local(at).unwrap().range(None);
    assert!(matches!(&at_default, Err(GitError::Range(m)) if m.contains("HEAD~1..HEAD")), "{at_default:?}");
    assert!(matches!(History::local(bundles.path()), Err(GitError::Range(_))));
}

#[test]
fn conflicts_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    git(at, &["init", "--quiet"]);
    std::fs::write(at.join("a"), "1\n").unwrap();
    git(at, &["add", "."]);
    git(at, &["commit", "--quiet", "-m", "feat: start"]);
    git(at, &["checkout", "--quiet", "-b", "work"]);
    std::fs::write(at.join("a"), "2\n").unwrap();
    git(at, &["commit", "--quiet", "-am", "two"]);
    git(at, &["checkout", "--quiet", "main"]);
    std::fs::write(at.join("a"), "3\n").unwrap();
    git(at, &["commit", "--quiet", "-am", "three"]);
    let (base, head) = (sha(&git(at, &["rev-parse", "main"])), sha(&git(at, &["rev-parse", "work"])));
    let result = History::local(at).unwrap().merge_result(&base, &head).unwrap();
    assert_eq!(result, MergeResult::Conflict { paths: vec!["a".into()], count: 1 });
}

#[cfg(unix)]
#[test]
fn odd_names_links_and_submodules_survive() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    git(at, &["init", "--quiet"]);
    git(at, &["commit", "--quiet", "--allow-empty", "-m", "feat: start"]);
    let base = sha(&git(at, &["rev-parse", "HEAD"]));
    std::fs::write(at.join("new\nline"), "x").unwrap();
    std::fs::write(at.join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8")), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", at.join("dir")).unwrap();
    git(at, &["add", "."]);
    git(at, &["update-index", "--add", "--cacheinfo", &format!("160000,{base},sub")]);
    std::fs::write(at.join(".git/message"), b"fix: caf\xe9\n").unwrap();
    git(at, &["-c", "i18n.commitEncoding=latin1", "commit", "--quiet", "-F", ".git/message"]);
    let head = sha(&git(at, &["rev-parse", "HEAD"]));
    let history = History::local(at).unwrap();
    let paths: Vec<_> =
        history.changed_paths(&base, &head).unwrap().paths.into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["dir", "link", "new\nline", "not-\u{fffd}-utf8", "sub"]);
    for path in ["link", "dir/passwd", "dir", "sub", "nothing", "../etc/passwd", "/etc/passwd", ""] {
        assert!(!matches!(history.blob_at(&head, path, 1_000_000), Ok(Some(_))), "{path}");
    }
    assert!(history.blob_at(&head, "new\nline", 10).unwrap().is_some());
    assert!(matches!(history.blob_at(&head, "new\nline", 0), Err(GitError::TooLarge { bytes: 1, .. })));
    assert_eq!(history.commits(&base, &head, 10).unwrap()[0].message, "fix: caf\u{fffd}\n");
}

#[test]
fn a_shallow_clone_says_what_to_do() {
    let (dir, shallow) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = dir.path();
    git(at, &["init", "--quiet"]);
    for n in 0..3 {
        git(at, &["commit", "--quiet", "--allow-empty", "-m", &format!("feat: {n}")]);
    }
    git(at, &["branch", "old", "HEAD~2"]);
    let url = format!("file://{}", at.display());
    git(shallow.path(), &["clone", "--quiet", "--depth", "1", "--no-single-branch", &url, "."]);
    let history = History::local(shallow.path()).unwrap();
    let error = history.range(Some("origin/old..HEAD")).unwrap_err();
    assert!(error.to_string().contains("git fetch --unshallow"), "{error}");
}

#[test]
fn members_of_a_workspace_are_scopes() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    git(at, &["init", "-q"]);
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
        std::fs::write(at.join(path), text).unwrap();
    };
    write("Cargo.toml", "[workspace]\nmembers = [\"bot\", \"crates/*\", \"none\"]\n");
    for (path, name) in [("bot", "paceline"), ("crates/a", "one"), ("crates/b", "two"), ("other", "three")] {
        write(&format!("{path}/Cargo.toml"), &format!("[package]\nname = \"{name}\"\n"));
    }
    write("crates/empty/README.md", "x");
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", "feat: x"]);
    let commit = sha(&git(at, &["rev-parse", "HEAD"]));
    let names = bot::members::names(&History::local(at).unwrap(), &commit).unwrap();
    assert_eq!(names, ["one", "paceline", "two"]);
}
