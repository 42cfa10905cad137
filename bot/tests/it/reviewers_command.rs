//! `paceline reviewers` through the real binary: the contract's fields, bounds, and what is said of bad files.

use crate::commands::paceline;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(dir.join(name), text).unwrap();
}

fn ask(dir: &Path, arguments: &[&str]) -> Output {
    paceline(&[&["reviewers"], arguments].concat()).current_dir(dir).output().unwrap()
}

fn answer(dir: &Path, more: &[&str]) -> (Value, String) {
    let output = ask(dir, &[&["--codeowners", "OWNERS", "--changed", "changed"], more].concat());
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{words}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (serde_json::from_str(&text).unwrap(), words)
}

#[test]
fn the_answer_has_the_fields_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "OWNERS", "* @alice @bob\n/docs/ @org/writers\n/free/\n/lone @alice @dave\n");
    write(dir, "changed", "src/a.rs\ndocs/b.md\nfree/c\nlone\n");
    write(
        dir,
        "teams.json",
        r#"{"org/writers": ["@bob", "org/more"], "org/more": ["carol", "org/writers"]}"#,
    );
    let all = ["--teams", "teams.json", "--approved", "bob,eve", "--author", "alice", "--count", "2"];
    let (found, words) = answer(dir, &all);
    assert_eq!(
        found,
        json!({
            "short": [
                {"path": "src/a.rs", "have": 1, "need": 2, "candidates": []},
                {"path": "docs/b.md", "have": 1, "need": 2, "candidates": ["carol"]},
                {"path": "lone", "have": 0, "need": 2, "candidates": ["dave"]},
            ],
            "smallest_set": ["carol", "dave"],
            "impossible": ["src/a.rs", "lone"],
        })
    );
    assert_eq!(words, "");
    let (found, _) =
        answer(dir, &["--teams", "teams.json", "--approved", "bob", "--author", "alice", "--count", "1"]);
    assert_eq!(found["smallest_set"], json!(["dave"]));
    let (found, _) = answer(dir, &["--author", "zoe", "--count", "0"]);
    assert_eq!(found, json!({"short": [], "smallest_set": [], "impossible": []}));
}

#[test]
fn a_cycle_of_teams_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "OWNERS", "* @org/a\n/alone @org/self\n");
    write(dir, "changed", "x\nalone\n");
    write(
        dir,
        "teams.json",
        r#"{"org/a": ["org/b"], "org/b": ["bob", "org/c"], "org/c": ["org/a", "carol"], "org/self": ["org/self"]}"#,
    );
    let (found, words) = answer(dir, &["--teams", "teams.json", "--author", "zoe", "--count", "2"]);
    assert_eq!(
        found,
        json!({
            "short": [
                {"path": "x", "have": 0, "need": 2, "candidates": ["bob", "carol"]},
                {"path": "alone", "have": 0, "need": 2, "candidates": []},
            ],
            "smallest_set": ["bob", "carol"],
            "impossible": ["alone"],
        })
    );
    assert_eq!(words, "");
}

#[test]
fn what_github_skips_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "OWNERS", "* @a @b\n!x @c\n[a] @d\nq @org/team\n");
    write(dir.path(), "changed", "x\0new\nline\0q\0");
    let (found, words) = answer(dir.path(), &["--author", "a"]);
    let lines: Vec<&str> = words.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["OWNERS:2", "OWNERS:3", "OWNERS"], "{words}");
    assert!(words.contains("@org/team"));
    let paths: Vec<&Value> = found["short"].as_array().unwrap().iter().map(|short| &short["path"]).collect();
    assert_eq!(paths, ["x", "new\nline", "q"]);
    assert_eq!(found["impossible"], json!(["x", "new\nline", "q"]));
    assert_eq!(found["smallest_set"], json!(["b"]));
}

#[test]
fn what_cannot_be_read_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "OWNERS", "* @a");
    write(dir, "changed", "x");
    write(dir, "bad.json", "[1]");
    for (arguments, expect) in [
        (vec!["--codeowners", "none", "--changed", "changed"], "none"),
        (vec!["--codeowners", "OWNERS", "--changed", "none"], "none"),
        (vec!["--codeowners", ".", "--changed", "changed"], "cannot read"),
        (vec!["--codeowners", "OWNERS", "--changed", "changed", "--teams", "bad.json"], "object of lists"),
    ] {
        let output = ask(dir, &arguments);
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), words.trim_end().lines().count()), (Some(2), 1), "{words}");
        assert!(words.contains(expect), "{words}");
    }
    assert_eq!(
        ask(dir, &["--codeowners", "OWNERS", "--changed", "changed", "--count", "-1"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_hundred_thousand_lines_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let line =
        |n: usize| format!("/src/module{n}/**/*.rs @owner{} @owner{} @org/team{}\n", n % 97, n % 89, n % 50);
    write(dir.path(), "OWNERS", (0..100_000).map(line).collect::<String>());
    write(
        dir.path(),
        "changed",
        (0..3_000).map(|n| format!("src/module{}/a/b.rs\n", n * 33)).collect::<String>(),
    );
    let teams: Vec<String> =
        (0..50).map(|n| format!("\"org/team{n}\": [\"org/team{}\", \"t{n}\"]", (n + 1) % 50)).collect();
    write(dir.path(), "teams.json", format!("{{{}}}", teams.join(",")));
    let (found, words) = answer(dir.path(), &["--teams", "teams.json", "--author", "owner1"]);
    assert_eq!(found["short"].as_array().unwrap().len(), 3_000);
    // Every team is in one circle, so two of its members do.
    assert_eq!(found["smallest_set"].as_array().unwrap().len(), 2);
    assert!(words.contains("GitHub reads no CODEOWNERS over"), "{words}");
}
