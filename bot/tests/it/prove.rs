//! Ten fixes, five that prove themselves and five that do not, by the real binary, real git and real builds.

use crate::commands::paceline;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const LIB: &str = r#"
/// Adds, and stops at the largest.
pub fn add(a: u8, b: u8) -> u8 {
    a.wrapping_add(b)
}

/// The first word.
pub fn first(text: &str) -> &str {
    text.split(' ').next_back().unwrap()
}

fn hidden() -> u32 {
    41
}

/// What is hidden.
pub fn shown() -> u32 {
    hidden()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sums() {
        assert_eq!(add(1, 2), 3);
    }
}
"#;

const INNER: &str = r#"
/// The middle of a list.
pub fn middle(list: &[u32]) -> u32 {
    list[list.len() / 2 + 1]
}

#[cfg(test)]
mod tests;
"#;

const FIXED_ADD: (&str, &str) = ("a.wrapping_add(b)", "a.saturating_add(b)");
const FIXED_FIRST: (&str, &str) = ("next_back()", "next()");
const FIXED_HIDDEN: (&str, &str) = ("    41\n", "    42\n");

fn git(dir: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "Cargo.toml", &manifest("widgets", "[workspace]\nmembers = [\"inner\"]\n"));
    write(at, "src/lib.rs", LIB);
    write(at, "inner/Cargo.toml", &manifest("inner", ""));
    write(at, "inner/src/lib.rs", INNER);
    write(
        at,
        "inner/src/tests.rs",
        "#[test]\nfn of_four() {\n    assert_eq!(super::middle(&[1, 2, 3, 4]), 4);\n}\n",
    );
    write(at, ".gitignore", "target\n");
    git(at, &["init", "-q", "-b", "main"]);
    commit(at, "feat: start");
    dir
}

fn commit(dir: &Path, message: &str) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
}

/// A file of a pull request: the base's with replacements, or a new one.
type File = (&'static str, String);

fn lib(replaced: &[(&str, &str)]) -> File {
    let mut text = LIB.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    ("src/lib.rs", text)
}

fn test_file(name: &'static str, body: &str) -> File {
    (name, format!("#[test]\nfn it_holds() {{\n    {body}\n}}\n"))
}

const INLINE: &str = "        assert_eq!(add(1, 2), 3);\n";

/// Each with what is to be found.
fn pull_requests() -> Vec<(&'static str, &'static str, Vec<File>)> {
    vec![
        (
            "a new file of tests",
            "proven",
            vec![lib(&[FIXED_ADD]), test_file("tests/sums.rs", "assert_eq!(widgets::add(200, 100), 255);")],
        ),
        (
            "an inline test of something private",
            "proven",
            vec![lib(&[FIXED_HIDDEN, (INLINE, "        assert_eq!(hidden(), 42, \"{}\", '}');\n")])],
        ),
        (
            "a test module in a file of its own, and a panic",
            "proven",
            vec![
                ("inner/src/lib.rs", INNER.replace(" / 2 + 1", " / 2")),
                ("inner/src/tests.rs", "#[test]\nfn of_one() {\n    assert_eq!(super::middle(&[7]), 7);\n}\n".into()),
            ],
        ),
        (
            "a test with a file of data",
            "proven",
            vec![
                lib(&[FIXED_FIRST]),
                ("tests/data/words", "one two".into()),
                test_file("tests/words.rs", "assert_eq!(widgets::first(include_str!(\"data/words\")), \"one\");"),
            ],
        ),
        (
            "a test that fails by its answer, not by a macro",
            "proven",
            vec![
                lib(&[FIXED_FIRST]),
                (
                    "tests/answer.rs",
                    "#[test]\nfn it_holds() -> Result<(), String> {\n    match widgets::first(\"a b\") {\n        \
                     \"a\" => Ok(()),\n        other => Err(other.into()),\n    }\n}\n"
                        .into(),
                ),
            ],
        ),
        (
            "a test that is always true",
            "passes-without",
            vec![lib(&[FIXED_ADD]), test_file("tests/sums.rs", "assert!(widgets::add(200, 100) < 255 || true);")],
        ),
        (
            "a test of what was right before",
            "passes-without",
            vec![lib(&[FIXED_ADD, (INLINE, "        assert_eq!(add(2, 2), 4);\n")])],
        ),
        (
            "a test of a function that the fix brings",
            "does-not-compile",
            vec![
                lib(&[FIXED_ADD, ("/// The first word.", "pub fn sum(a: u8, b: u8) -> u8 { add(a, b) }\n\n/// The first word.")]),
                test_file("tests/sums.rs", "assert_eq!(widgets::sum(200, 100), 255);"),
            ],
        ),
        (
            "an inline test of a function that the fix brings",
            "does-not-compile",
            vec![lib(&[FIXED_HIDDEN, ("fn hidden", "fn new_one() -> u32 { 42 }\n\nfn hidden"), (INLINE, "        assert_eq!(new_one(), 42);\n")])],
        ),
        (
            "a test that is not run",
            "passes-without",
            vec![lib(&[
                FIXED_ADD,
                ("    fn small_sums", "    #[ignore]\n    fn large_sums() {\n        assert_eq!(add(200, 100), 255);\n    }\n\n    #[test]\n    fn small_sums"),
            ])],
        ),
    ]
}

fn answer(dir: &Path) -> (Value, Option<i32>) {
    let cache = dir.join(".git/cache");
    let mut command = paceline(&["prove", "main..HEAD", "--format", "json"]);
    let output = command.current_dir(dir).env("XDG_CACHE_HOME", cache).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let proof = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words}"));
    (proof, output.status.code())
}

#[test]
fn ten_fixes_are_told_apart() {
    let mut wrong = Vec::new();
    for (what, expect, files) in pull_requests() {
        let dir = repository();
        git(dir.path(), &["checkout", "-q", "-b", "topic"]);
        for (path, text) in &files {
            write(dir.path(), path, text);
        }
        commit(dir.path(), "fix: it");
        let (proof, code) = answer(dir.path());
        eprintln!("{what}: {proof}");
        if proof["outcome"] != expect || code != Some(i32::from(expect != "proven")) {
            wrong.push(format!("{what}: {proof} ({code:?})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_no_proof_is_said() {
    let dir = repository();
    git(dir.path(), &["checkout", "-q", "-b", "topic"]);
    let (path, text) = lib(&[FIXED_ADD]);
    write(dir.path(), path, &text);
    commit(dir.path(), "fix: without a test");
    assert_eq!(answer(dir.path()).0["outcome"], "no-tests");
    // A test that fails with the fix too.
    write(
        dir.path(),
        "tests/both.rs",
        "#[test]\nfn never() {\n    assert_eq!(widgets::add(200, 100), 1);\n}\n",
    );
    commit(dir.path(), "test: what is wrong itself");
    assert_eq!(answer(dir.path()).0["outcome"], "fails-with");
    let output = paceline(&["prove", "--repo", "/nonexistent"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), words.trim_end().lines().count()), (Some(2), 1), "{words}");
}
