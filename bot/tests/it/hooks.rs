//! Git's hooks, installed on request: a bad message is stopped before the commit, a bad branch before the push.

use crate::commands::paceline;
use std::path::Path;
use std::process::{Command, Output};

fn git(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn good(dir: &Path, arguments: &[&str]) {
    let output = git(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
}

#[test]
fn hooks_stop_what_a_check_run_would() {
    let (remote, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = local.path();
    good(remote.path(), &["init", "-q", "--bare", "-b", "main"]);
    good(at, &["init", "-q", "-b", "main"]);
    good(at, &["commit", "-q", "--allow-empty", "-m", "Not yet judged"]);
    good(at, &["remote", "add", "origin", remote.path().to_str().unwrap()]);
    good(at, &["push", "-q", "origin", "main"]);
    let installed = paceline(&["review", "--install-hooks"]).current_dir(at).output().unwrap();
    assert!(installed.status.success(), "{}", words(&installed));
    assert!(words(&installed).contains("commit-msg") && words(&installed).contains("pre-push"));

    let commit = |message: &str| git(at, &["commit", "-q", "--allow-empty", "-m", message]);
    let refused = commit("feat:x");
    assert!(!refused.status.success());
    assert!(
        words(&refused).contains("write: feat: x") && words(&refused).contains("--no-verify"),
        "{}",
        words(&refused)
    );
    assert!(commit("feat: x").status.success());
    assert!(commit("fixup! feat: x").status.success(), "blocks the merge, not the commit");
    good(at, &["push", "-q", "origin", "main"]);

    good(at, &["checkout", "-q", "-b", "topic"]);
    good(at, &["commit", "-q", "--no-verify", "--allow-empty", "-m", "Nonsense"]);
    let refused = git(at, &["push", "-q", "origin", "topic"]);
    assert!(!refused.status.success() && words(&refused).contains("Nonsense"), "{}", words(&refused));
    good(at, &["push", "-q", "--no-verify", "origin", "topic"]);
    good(at, &["push", "-q", "origin", ":topic"]);

    // Made anew without a word; somebody's own is left alone.
    assert!(paceline(&["review", "--install-hooks"]).current_dir(at).output().unwrap().status.success());
    let hook = at.join(".git/hooks/pre-push");
    for own in [b"#!/bin/sh\n".as_slice(), b"\x7fELF\xff\xfe a program"] {
        std::fs::write(&hook, own).unwrap();
        let refused = paceline(&["review", "--install-hooks"]).current_dir(at).output().unwrap();
        assert_eq!((refused.status.code(), words(&refused).trim_end().lines().count()), (Some(2), 1));
        assert_eq!(std::fs::read(&hook).unwrap(), own);
    }
}
