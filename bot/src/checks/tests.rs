//! Check runs in every state as snapshots, and their bounds.

use super::*;
use crate::render::fixtures;
use std::fmt::Write;

fn shown(check: &CheckRun) -> String {
    let mut out = format!("{} {:?}\n{}\n---\n{}\n", check.name, check.status, check.title, check.summary);
    for a in &check.annotations {
        let _ = write!(out, "---\n{}:{} {:?} {}\n{}\n", a.path, a.line, a.level, a.title, a.message);
    }
    for action in &check.actions {
        let _ = write!(out, "---\n[{}] {} ({})\n", action.label, action.description, action.identifier);
    }
    out
}

#[test]
fn every_state() {
    for (name, run) in fixtures::states() {
        let mut text = shown(&performance_check(&run, "https://paceline.example/runs/1"));
        if matches!(name, "regressed" | "commits_only" | "commits_warned") {
            text = text + "=====\n" + &shown(&commits_check(&run, ""));
        }
        if let Some(config) = config_check(&run, "") {
            text = text + "=====\n" + &shown(&config);
        }
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn conclusions_follow_the_design() {
    use CheckStatus::{Completed, InProgress, Queued};
    let expect = |name: &str| match name {
        "equal" | "commits_only" | "commits_warned" | "faster" | "identical" | "instruction_change"
        | "all_measured" => Completed(Conclusion::Success),
        "regressed" | "regressed_and_commits" | "troubled" | "head_does_not_build" => {
            Completed(Conclusion::Failure)
        }
        "needs_approval" => Completed(Conclusion::ActionRequired),
        "queued" | "queued_without_runner" => Queued,
        "running" => InProgress,
        "skipped" | "bad_config" => Completed(Conclusion::Skipped),
        "cancelled" => Completed(Conclusion::Cancelled),
        _ => Completed(Conclusion::Neutral),
    };
    for (name, run) in fixtures::states() {
        assert_eq!(performance_check(&run, "").status, expect(name), "{name}");
        assert_eq!(config_check(&run, "").is_some(), name == "bad_config", "{name}");
    }
    let commits = |messages: &[&str]| {
        commits_check(&Run { commits: fixtures::commits_of(messages), ..fixtures::states().remove(0).1 }, "")
            .status
    };
    assert_eq!(commits(&["feat: x"]), Completed(Conclusion::Success));
    assert_eq!(commits(&["feat: X"]), Completed(Conclusion::Neutral));
    assert_eq!(commits(&["feat:x", "feat: X"]), Completed(Conclusion::Failure));
    assert_eq!(commits(&[]), Completed(Conclusion::Skipped));
}

fn accepted() -> Option<Acceptance> {
    Some(Acceptance { by: "alice".into(), reason: "worth *it*".into(), at_ms: 1 })
}

#[test]
fn what_was_accepted_blocks_no_more_and_what_is_broken_does() {
    for (name, run) in fixtures::states() {
        let check = performance_check(&Run { accepted: accepted(), ..run.clone() }, "");
        let expect = match name {
            "regressed" | "regressed_and_commits" => CheckStatus::Completed(Conclusion::Neutral),
            _ => performance_check(&run, "").status,
        };
        assert_eq!(check.status, expect, "{name}");
        if name == "regressed" {
            assert!(check.title.starts_with("Accepted by alice: Slower"), "{}", check.title);
            assert!(check.summary.contains("**Accepted** by `alice`: worth \\*it\\*"), "{}", check.summary);
        }
    }
}

#[test]
fn no_summary_is_empty() {
    for (name, run) in fixtures::states() {
        for check in [commits_check(&run, ""), performance_check(&run, "")] {
            assert!(
                !check.summary.trim().is_empty() && !check.title.trim().is_empty(),
                "{name}: {}",
                check.name
            );
        }
    }
}

#[test]
fn a_check_run_is_found_by_head_and_name() {
    let run = fixtures::states().remove(0).1;
    let (commits, performance) = (commits_check(&run, ""), performance_check(&run, "x"));
    assert_eq!(commits.external_id, external_id(&run, COMMITS));
    assert_ne!(commits.external_id, performance.external_id);
    assert_eq!((commits.details_url, performance.details_url.as_deref()), (None, Some("x")));
}

#[test]
fn githubs_limits_hold() {
    let action =
        &performance_check(&fixtures::states().into_iter().find(|s| s.0 == "needs_approval").unwrap().1, "")
            .actions[0];
    assert!(action.label.len() <= 20 && action.description.len() <= 40 && action.identifier.len() <= 20);
    let long = "x".repeat(20_000);
    let mut run = fixtures::hostile(&long);
    let messages: Vec<String> = (0..1_000).map(|n| format!("Bad {long} {n}.")).collect();
    run.commits = fixtures::commits_of(&messages.iter().map(String::as_str).collect::<Vec<_>>());
    for check in [commits_check(&run, ""), performance_check(&run, "")] {
        assert!(check.summary.encode_utf16().count() <= TEXT_MAX_CHARS, "{}", check.name);
        assert!(text::graphemes(&check.title) <= TITLE_MAX_GRAPHEMES);
        assert!(check.annotations.len() <= ANNOTATIONS_MAX);
        assert!(check.annotations.iter().all(|a| a.message.len() < 60_000 && a.title.len() < 255));
    }
}
