//! `paceline/tests`: what a runner saw becomes a verdict, annotations and words; and the same by the real runner, held
//! against `paceline review` on the same commits.

use crate::commands::paceline;
use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim, evidence};
use crate::world::{Wishes, World, eventually, eventually_within, request};
use perfsuite::model::Evidence;
use perfsuite::model::checks::{
    Checked, CommandEnd, CommandRan, Ended, ProofRan, Ran, TestCounts, TestRan, ToolFinding, ToolLevel,
};
use perfsuite::model::wire::{Lease, Outcome, Phase, Stored};
use serde_json::Value;
use std::time::Duration;

on_both!(what_a_runner_saw_becomes_a_check_run, checks_wait_run_again_and_go_with_their_head);

const CONFIG: &str = r#"
[tests]
level = "error"
prove-fixes = "error"
[tests.habits]
level = "error"
lints = ["unwrap_used"]
[[tests.check]]
name = "clippy"
command = ["cargo", "clippy", "--message-format=json"]
timeout-minutes = 7
[[tests.check]]
name = "test"
command = ["cargo", "test"]
"#;

const MANIFEST: &str = "[package]\nname = \"widgets\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

/// What a runner says after running the checks of a lease.
fn saw(lease: &Lease, findings: Vec<ToolFinding>, proof: Option<ProofRan>) -> Evidence {
    let ran = |name: &str, end: CommandEnd, findings: Vec<ToolFinding>| CommandRan {
        name: name.into(),
        seconds: 2.0,
        output: if end == CommandEnd::Passed {
            String::new()
        } else {
            "the last words\n```\n@everyone".into()
        },
        end,
        findings,
        findings_left_out: 0,
        tests: (name == "test").then_some(TestCounts { passed: 3, failed: 1, ignored: 0 }),
    };
    let checked = Checked {
        commands: vec![
            ran("clippy", CommandEnd::Passed, findings),
            ran("test", CommandEnd::Failed { code: 101 }, vec![]),
        ],
        proof,
    };
    Evidence {
        series: vec![],
        calibration: vec![],
        judged_pairs: 0,
        checks: Some(checked),
        ..evidence(lease, 1.0)
    }
}

fn finding(path: &str, line: u32, code: &str) -> ToolFinding {
    ToolFinding {
        level: ToolLevel::Warning,
        path: path.into(),
        line,
        column: 5,
        code: code.into(),
        message: "say <b>what</b> is wrong".into(),
    }
}

async fn finish(runner: &Hand, lease: &Lease, evidence: &Evidence) -> u16 {
    assert_eq!(runner.beat(lease, lease.fence, Phase::Measuring).await.0, 200);
    let (status, body) = runner.upload(lease, evidence).await;
    if status != 201 {
        return status;
    }
    let Stored { digest } = serde_json::from_str(&body).unwrap();
    runner.finish(lease, Outcome::Measured { digest }).await
}

async fn what_a_runner_saw_becomes_a_check_run(on: On) {
    let files = vec![("Cargo.toml", MANIFEST), ("tests/it.rs", "#[test]\nfn it() {}\n")];
    let world = World::new(on, Wishes { config: Some(CONFIG), files, ..Wishes::default() }).await;
    let files: [(&str, Option<&[u8]>); 2] = [
        ("src/lib.rs", Some(b"pub fn one() -> u32 { 1 }\npub fn two() -> u32 { Some(2).unwrap() }\n")),
        ("tests/it.rs", Some(b"#[test]\nfn it() { assert_eq!(widgets::one(), 1) }\n")),
    ];
    world.github.commit(world.repository, "topic", "fix: one", &files).unwrap();
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let head = world.head();
    assert_eq!(world.checked("paceline/tests", &head).await.status, "queued");

    // Before what is measured.
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    let asked = lease.spec.checks.clone().expect("checks come first");
    assert_ne!(lease.spec.head, head, "what is tried is the merge");
    let names: Vec<(&str, u64)> =
        asked.commands.iter().map(|check| (check.name.as_str(), check.deadline_seconds)).collect();
    assert_eq!(names, [("clippy", 420), ("test", 1_800)]);
    assert_eq!(asked.habits, ["unwrap_used"]);
    assert!(asked.brought("src/lib.rs", 2) && !asked.brought("src/lib.rs", 1), "{:?}", asked.changed);
    let proof = asked.proof.as_ref().expect("a fix is to prove itself");
    assert_eq!(proof.grafted, ["tests/it.rs"]);
    let (status, _) = runner
        .call("GET", &format!("/runner/v1/jobs/{}/source?fence={}", lease.spec.job, lease.fence.0), vec![])
        .await;
    assert_eq!(status, 200, "both commits can be had");

    let test = |ended| TestRan { target: "test it".into(), test: "it".into(), ended };
    let proven = ProofRan {
        graft: Ran::Tests { tests: vec![test(Ended::Failed { words: "left: 1".into() })] },
        base: None,
        heads: vec![Ran::Tests { tests: vec![test(Ended::Passed)] }; 3],
    };
    let findings = vec![
        finding("src/lib.rs", 2, "clippy::unwrap_used"),
        finding("src/lib.rs", 1, "dead_code"),
        finding("src/lib.rs", 2, "dead_code"),
    ];
    let mut unasked = saw(&lease, findings.clone(), Some(proven.clone()));
    unasked.checks.as_mut().unwrap().commands[0].name = "other".into();
    assert_eq!(finish(&runner, &lease, &unasked).await, 422, "not what the job asks for");
    assert_eq!(finish(&runner, &lease, &saw(&lease, findings, Some(proven))).await, 204);

    let check = eventually("the tests' check run to end", || {
        world.check("paceline/tests", &head).filter(|check| check.status == "completed")
    })
    .await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"), "{}", check.title);
    assert_eq!(check.title, "Test fails (1 of 4 tests); 1 finding on changed lines");
    assert!(check.summary.contains("1 of 4 tests failed") && check.summary.contains("The fix proves itself"));
    assert!(check.summary.contains("the last words"), "{}", check.summary);
    let places: Vec<(String, u64)> = check.annotations.iter().map(|a| (a.path.clone(), a.line)).collect();
    assert_eq!(places, [("src/lib.rs".to_owned(), 2)], "on changed lines alone, and each place's words once");
    let comment = eventually("the comment", || {
        let comments = world.our_comments(number);
        comments.into_iter().find(|comment| comment.body.contains("checks fail"))
    })
    .await;
    assert!(comment.body.contains("✅ The fix proves itself"), "{}", comment.body);
    assert!(comment.body.contains("3 times of 3") && comment.body.contains("| tests |"), "{}", comment.body);
    let page = world.url(&format!("/runs/{}", lease.spec.job));
    let (status, page) = request("GET", &page, &[], vec![]).await;
    assert_eq!(status, 200);
    assert!(page.contains("say &lt;b&gt;what") || page.contains("say &#60;b&#62;what"), "{page}");
    assert!(page.contains("src/lib.rs:2"));

    // Then what is measured, as before.
    let lease = eventually_claim(&runner).await;
    assert!(lease.spec.checks.is_none() && lease.spec.head == head);
    runner.measure(&lease, 1.0).await;
    world.server.stop().await;
}

async fn checks_wait_run_again_and_go_with_their_head(on: On) {
    let files = vec![("Cargo.toml", MANIFEST)];
    let world = World::new(on, Wishes { config: Some(CONFIG), files, ..Wishes::default() }).await;
    world.github.set_permission(world.repository, "alice", bot::pull::Permission::Write);
    let number = world.open_pull("feat: one");
    world.pull_event(number, "opened").await;
    let first = world.head();
    let queued = world.checked("paceline/tests", &first).await;
    assert_eq!(queued.status, "queued");

    // A newer push takes its place.
    world.commit("feat: another", "pub fn one() -> u32 { 3 }\n");
    world.pull_event(number, "synchronize").await;
    let head = world.head();
    world.checked("paceline/tests", &head).await;
    let left = eventually("the older head's check run to end", || {
        world.check("paceline/tests", &first).filter(|check| check.status == "completed")
    })
    .await;
    assert_eq!(left.conclusion.as_deref(), Some("cancelled"));

    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert!(lease.spec.checks.as_ref().is_some_and(|checks| checks.proof.is_none()), "no fix, no proof");
    assert_eq!(finish(&runner, &lease, &saw(&lease, vec![], None)).await, 204);
    let check = eventually("the check run to end", || {
        world.check("paceline/tests", &head).filter(|check| check.status == "completed")
    })
    .await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let measured = eventually_claim(&runner).await;
    runner.measure(&measured, 1.0).await;

    // The button of the check run runs the checks again, and measures nothing.
    let again = bot::demo::standin::Event::CheckRun {
        repo: world.repository,
        check_run: check.id,
        action: "rerequested".into(),
        button: None,
        sender: "alice".into(),
    };
    world.send(&again).await;
    let lease = eventually_claim(&runner).await;
    assert!(lease.spec.checks.is_some());
    assert_eq!(finish(&runner, &lease, &saw(&lease, vec![], None)).await, 204);
    assert!(runner.claim(false).await.is_none(), "nothing else was asked for");

    // That of the whole suite does both, as `/paceline retry` does.
    let suite = bot::demo::standin::Event::CheckSuite {
        repo: world.repository,
        head: head.clone(),
        action: "rerequested".into(),
        sender: "alice".into(),
    };
    for way in ["suite", "command"] {
        match way {
            "suite" => world.send(&suite).await,
            _ => drop(world.say(number, "alice", "/paceline retry").await),
        }
        let (first, second) = (eventually_claim(&runner).await, eventually_claim(&runner).await);
        let (checks, measured) = match first.spec.checks.is_some() {
            true => (first, second),
            false => (second, first),
        };
        assert_eq!(finish(&runner, &checks, &saw(&checks, vec![], None)).await, 204, "{way}");
        runner.measure(&measured, 1.0).await;
    }
    world.server.stop().await;
}

/// The base: what is formatted, tested and without a finding.
const LIB: &str = "//! Widgets.\n\n/// Adds, and stops at the largest.\npub fn add(a: u8, b: u8) -> u8 {\n    \
    a.wrapping_add(b)\n}\n\n/// Others see it.\npub fn shown() -> u32 {\n    41\n}\n";

/// The head: a fix whose test passes without it, and findings of each tool on changed lines.
const CHANGED: &str = "//! Widgets.\n\n/// Adds, and stops at the largest.\npub fn add(a: u8, b: u8) -> u8 {\n    \
    a.saturating_add(b)\n}\n\npub fn ugly( ) -> u32 {\n    let it = Some(1);\n    return it.unwrap();\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_app_and_a_local_review_find_the_same() {
    let config = "[tests]\nlevel = \"error\"\n[tests.habits]\nlevel = \"warn\"\n[[tests.check]]\nname = \"fmt\"\n\
        command = [\"cargo\", \"fmt\", \"--all\", \"--check\"]\n[[tests.check]]\nname = \"clippy\"\n\
        command = [\"cargo\", \"clippy\", \"--all-targets\", \"--message-format=json\"]\n[[tests.check]]\n\
        name = \"test\"\ncommand = [\"cargo\", \"test\"]\n[perf]\nminutes-per-run = 1\n";
    let files = vec![("Cargo.toml", MANIFEST), ("README.md", "Widgets.\n")];
    let wishes = Wishes { config: Some(config), own_runner: true, files, ..Wishes::default() };
    let world = World::new(On::Sqlite, wishes).await;
    let commit = |branch: &str, message: &str, files: &[(&str, Option<&[u8]>)]| {
        world.github.commit(world.repository, branch, message, files).unwrap()
    };
    let base = commit("main", "feat: start anew", &[("src/lib.rs", Some(LIB.as_bytes()))]);
    world.github.set_branch(world.repository, "topic", &base).unwrap();
    let test = "#[test]\nfn small_sums() {\n    assert_eq!(widgets::add(1, 2), 3);\n}\n\n#[test]\nfn fails() {\n    \
        assert_eq!(widgets::add(1, 2), 4, \"by its own words\");\n}\n";
    commit("topic", "Fixed the sum.", &[("src/lib.rs", Some(CHANGED.as_bytes()))]);
    commit("topic", "docs: say more\nat once", &[("src/other.rs", Some(b"//! Nothing.\n"))]);
    commit("topic", "fix: stop at the largest", &[("tests/sums.rs", Some(test.as_bytes()))]);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let head = world.head();
    let check = eventually_within(Duration::from_secs(300), "the tests' check run to end", || {
        world.check("paceline/tests", &head).filter(|check| check.status == "completed")
    })
    .await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"), "{}\n{}", check.title, check.summary);
    let (status, body) =
        request("GET", &world.url(&format!("/api/v1/repositories/acme/widgets/pulls/{number}")), &[], vec![])
            .await;
    assert_eq!(status, 200, "{body}");
    let app: Value = serde_json::from_str(&body).unwrap();
    let git_dir = world.github.git_dir(world.repository).unwrap();
    world.server.stop().await;

    let mut review =
        paceline(&["review", "main..topic", "--no-measure", "--tests", "--format", "json", "--repo"]);
    let output = review.arg(&git_dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let local: Value = serde_json::from_slice(&output.stdout).unwrap();

    let app = app.get("run").unwrap_or(&app);
    assert_eq!(findings_of(app), findings_of(&local));
    // And every kind of finding is there.
    let found = findings_of(app);
    let all = found.to_string();
    for part in [
        "header-form",
        "body-leading-blank",
        "says `docs`",
        "links no issue",
        "rustfmt",
        "clippy::unwrap_used",
        "clippy::needless_return",
        "by its own words",
        "fails-with",
    ] {
        assert!(all.contains(part), "{part} is missing: {found:#}");
    }
}

/// What was found, without what differs between any two runs: times, the commit that merges, the words of programs.
fn findings_of(run: &Value) -> Value {
    let commits = &run["commits"];
    let commands: Vec<Value> = run["tests"]["checks"]["report"]["commands"]
        .as_array()
        .unwrap_or(&Vec::new())
        .iter()
        .map(|command| serde_json::json!([command["name"], command["end"], command["tests"]]))
        .collect();
    let report = &run["tests"]["checks"]["report"];
    serde_json::json!({
        "commits": commits["commits"],
        "claims": commits["claims"],
        "config": run["config_error"],
        "untested": run["tests"]["untested"],
        "commands": commands,
        "findings": report["findings"],
        "elsewhere": report["elsewhere"],
        "proof": [report["proof"]["outcome"], report["proof"]["tests"]],
    })
}
