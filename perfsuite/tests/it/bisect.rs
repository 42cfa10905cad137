//! `perfsuite bisect` through the door: real repositories, whose benches state their times.

use crate::repository::Repository;
use serde_json::Value;
use std::process::{Command, Output};

fn bisect(repository: &Repository, ends: [&str; 2], bench: &str, format: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perfsuite"));
    command.args(["bisect", ends[0], ends[1], "--bench", bench, "--format", format, "--sandbox", "off"]);
    command.args(["--even-when-busy", "--minutes", "1", "--seed", "3", "--repo"]).arg(repository.path());
    command.arg("--cache-dir").arg(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bisect-cache"));
    command.output().unwrap()
}

fn told(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Two benchmarks; what else is in the file differs from commit to commit.
fn benches(parse: u32, other: u32) -> String {
    format!("c.bench(\"parse\", || {parse}.0);\nc.bench(\"other\", || {other}.0);\n")
}

/// Sixteen commits after the first one: the eleventh makes `parse` slower, the fourth and the ninth do not build.
fn history() -> (Repository, Vec<String>) {
    let repository = Repository::with_benches(&benches(100, 50));
    let mut commits = vec![repository.commit("the good end")];
    for i in 1..=16 {
        let parse = if i >= 11 { 110 } else { 100 };
        let broken = if i == 4 || i == 9 { "this is no Rust" } else { "" };
        repository.write_benches(&(benches(parse, 50 + i % 3) + broken));
        commits.push(repository.commit(&format!("commit {i}")));
    }
    (repository, commits)
}

#[test]
fn one_of_sixteen_commits_is_found() {
    let (repository, commits) = history();
    let output = bisect(&repository, [&commits[0], &commits[16]], "parse", "json");
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(
        (told["outcome"].as_str(), told["commit"].as_str()),
        (Some("found"), Some(&*commits[11])),
        "{told}"
    );
    assert_eq!(told["parent"].as_str(), Some(&*commits[10]));
    assert!((told["estimate"].as_f64().unwrap() - 0.1).abs() < 1e-6, "{told}");
    assert_eq!(told["commits"], 16);
    assert!(told["comparisons"].as_u64().unwrap() <= 8, "{told}");
    for skipped in told["skipped"].as_array().unwrap() {
        let commit = skipped["commit"].as_str().unwrap();
        assert!(commit == commits[4] || commit == commits[9], "{told}");
        assert!(skipped["reason"].as_str().unwrap().starts_with("it does not build"), "{told}");
    }
}

#[test]
fn a_range_without_a_change_ends_in_none() {
    let (repository, commits) = history();
    let output = bisect(&repository, [&commits[0], &commits[3]], "parse", "text");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("parse: none: the ends do not differ, +0.0 %"), "{text}");
    assert!(text.ends_with("3 commits, 1 comparisons\n"), "{text}");
}

#[test]
fn what_cannot_be_bisected_is_said() {
    let (repository, commits) = history();
    let refused = |ends: [&str; 2], bench: &str, expect: &str| {
        let output = bisect(&repository, ends, bench, "text");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.contains(expect), "{said}");
    };
    refused([&commits[3], &commits[0]], "parse", "name the older commit first");
    refused([&commits[1], &commits[1]], "parse", "both ends are");
    refused(["nothing", &commits[1]], "parse", "has no commit \"nothing\"");
    refused([&commits[0], &commits[2]], "no-such", "there is no benchmark \"no-such\"");
    refused(
        [&commits[0], &commits[4]],
        "parse",
        "the ends of the range cannot be compared: it does not build",
    );
    refused([&commits[4], &commits[5]], "parse", "does not build");
}
