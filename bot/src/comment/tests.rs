//! The comment in every state as a snapshot, and what no input may do to it.

use super::*;
use crate::{
    judgement::{Acceptance, ConfigError, Performance},
    render::fixtures::{self, context, hostile, pull, repo_name},
};
use perfsuite::model::Side;
use proptest::prelude::*;

fn written(run: &Run) -> String {
    comment(run, &context(&repo_name(), &pull()))
}

#[test]
fn every_state() {
    for (name, run) in fixtures::states() {
        insta::assert_snapshot!(name, written(&run));
    }
}

#[test]
fn an_accepted_slowdown_asks_for_nothing() {
    let accepted = Acceptance { by: "alice".into(), reason: "it is right now".into(), at_ms: 1 };
    let run = fixtures::done(fixtures::regressed());
    assert!(written(&run).contains("## 🔴 Slower") && written(&run).contains("/paceline accept REASON"));
    let text = written(&Run { accepted: Some(accepted), ..run });
    assert!(
        text.contains("## 🟠 Slower, accepted: ")
            && text.contains("**Accepted** by `alice`: it is right now")
    );
    assert!(!text.contains("make it fast again"), "{text}");
}

#[test]
fn the_marker_is_the_first_line_and_finds_only_its_own() {
    let text = written(&fixtures::done(fixtures::regressed()));
    assert_eq!(text.lines().next(), Some(marker(RepoId(42), 7).as_str()));
    assert_ne!(marker(RepoId(4), 27), marker(RepoId(42), 7));
}

#[test]
fn a_local_review_has_no_words_for_github() {
    for (name, run) in fixtures::states() {
        let text = local(&run);
        let fork = name == "needs_approval";
        assert!(fork || !text.contains("/paceline "), "{name}\n{text}");
        assert!(
            !text.contains("<!--") && !text.contains("<sub>") && !text.starts_with('\n'),
            "{name}\n{text}"
        );
    }
}

#[test]
fn a_bot_and_a_first_contribution() {
    let run = fixtures::done(fixtures::report(fixtures::equal_rows()));
    let (name, mut pull) = (repo_name(), pull());
    let first = comment(&run, &CommentContext { author_pulls: 1, ..context(&name, &pull) });
    assert!(first.contains("@alice's first pull request seen here"), "{first}");
    pull.author_is_bot = true;
    assert!(!comment(&run, &context(&name, &pull)).contains("alice"));
    pull.author_is_bot = false;
    pull.author = "<b>@everyone".into();
    let odd = comment(&run, &context(&name, &pull));
    assert!(!odd.contains("<b>") && !odd.contains("@everyone"), "{odd}");
}

#[test]
fn the_calm_states_are_short() {
    for (name, run) in fixtures::states() {
        if matches!(name, "queued" | "running" | "skipped" | "identical") {
            let text = written(&run);
            let seen =
                text.split("<details>").next().unwrap().lines().filter(|l| !l.trim().is_empty()).count();
            assert!(seen <= 5, "{name} has {seen} lines:\n{text}");
        }
    }
}

/// What a reader's browser would get from a text: every place outside of code where something would happen.
fn harmful(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fence: Option<usize> = None;
    for (index, line) in text.lines().enumerate().skip(1) {
        let ticks = line.bytes().take_while(|b| *b == b'`').count();
        match fence {
            Some(opened) if ticks >= opened && line.len() == ticks => fence = None,
            Some(_) => continue,
            None if ticks >= 3 => fence = Some(ticks),
            None => {}
        }
        if fence.is_some() {
            continue;
        }
        let plain = without_code(line);
        let tags =
            ["<details>", "<details open>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>"];
        let bare = tags.iter().fold(plain.clone(), |text, tag| text.replace(tag, ""));
        if bare.contains('<') {
            found.push(format!("{index}: HTML in {line:?}"));
        }
        let mention = plain.replace("@alice", "").match_indices('@').any(|(at, _)| {
            plain.replace("@alice", "")[at + 1..].starts_with(|c: char| c.is_ascii_alphanumeric())
        });
        if mention {
            found.push(format!("{index}: mention in {line:?}"));
        }
        if line.chars().any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
            found.push(format!("{index}: direction in {line:?}"));
        }
        let own = plain.replace("](https://paceline.example", "");
        if own.contains("https://") || own.contains("http://") {
            found.push(format!("{index}: link in {line:?}"));
        }
    }
    if fence.is_some() {
        found.push("an open fence".into());
    }
    found
}

/// A line without its code spans, read as CommonMark does: a run of back-quotes closes at the next run as long.
fn without_code(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let escaped = rest[..start].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
        let ticks = rest[start..].bytes().take_while(|b| *b == b'`').count();
        let after = &rest[start + ticks..];
        if escaped {
            out.push_str(&rest[..start + 1]);
            rest = &rest[start + 1..];
            continue;
        }
        out.push_str(&rest[..start]);
        match closing(after, ticks) {
            Some(end) => rest = &after[end + ticks..],
            None => {
                out.push_str(&rest[start..start + ticks]);
                rest = after;
            }
        }
    }
    out + rest
}

fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(start) = text[at..].find('`') {
        let run = text[at + start..].bytes().take_while(|b| *b == b'`').count();
        if run == ticks {
            return Some(at + start);
        }
        at += start + run;
    }
    None
}

/// Lines that are not within a fenced block, where nothing is a table.
fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut fence = None;
    text.lines().filter(move |line| {
        let ticks = line.bytes().take_while(|b| *b == b'`').count();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(opened) if ticks >= opened && line.len() == ticks => fence = None,
            None => return true,
            Some(_) => {}
        }
        false
    })
}

fn check_harmless(foreign: &str) {
    let text = written(&hostile(foreign));
    assert_eq!(harmful(&text), Vec::<String>::new(), "{foreign:?}\n{text}");
    let columns = |line: &str| without_code(line).replace("\\|", "").matches('|').count();
    for line in outside_fences(&text).filter(|line| line.starts_with("| ")) {
        assert!([3, 7].contains(&columns(line)), "{foreign:?} broke a table: {line}");
    }
    for performance in [
        Performance::Failed { message: foreign.into(), output: foreign.into() },
        Performance::Skipped { reason: foreign.into() },
        Performance::Running { text: foreign.into(), done: 1, total: 2 },
        Performance::Cancelled { by: foreign.into() },
    ] {
        let mut run = fixtures::run(performance);
        run.config_error = Some(ConfigError {
            path: foreign.into(),
            line: 1,
            column: 1,
            message: foreign.into(),
            nearest: None,
        });
        let text = written(&run);
        assert_eq!(harmful(&text), Vec::<String>::new(), "{foreign:?}\n{text}");
    }
    let mut report = fixtures::report(Vec::new());
    report.builds = vec![fixtures::build(Side::Head, Some(foreign))];
    let text = written(&fixtures::done(report));
    assert_eq!(harmful(&text), Vec::<String>::new(), "{foreign:?}\n{text}");
}

#[test]
fn foreign_text_does_nothing() {
    for foreign in [
        "@octocat #12 GH-12 octo/other#5",
        "<script>alert(1)</script><img src=x onerror=y>",
        "</details><h1>done</h1>",
        "a | b | c",
        "``` ` `` ```` @x",
        "```\n</details>\n@all\n```",
        "[click](https://evil.example) ![x](https://evil.example/x.png)",
        "\u{202e}txet\u{202c} \u{2066}x\u{2069}",
        "-->\n<!-- paceline:comment repository=1 pull=1 -->",
        "`",
        "``",
        "\\`@x\\`",
        "\\",
        "*b* _i_ ~s~",
        "\r\n# heading\n- list\n> quote\n",
        "&lt;b&gt;",
        "| :",
        "\u{0}\u{1b}[31mred",
    ] {
        check_harmless(foreign);
    }
}

#[test]
fn the_comment_fits_whatever_is_put_in() {
    let long = "x".repeat(50_000);
    let mut run = hostile(&long);
    run.commits = fixtures::commits_of(&vec!["Bad message."; 2_000]);
    if let Performance::Done { report } = &mut run.performance {
        let rows = report.rows.clone();
        report.rows = rows.iter().cycle().take(5_000).cloned().collect();
        let failures = report.failures.clone();
        report.failures = failures.iter().cycle().take(500).cloned().collect();
        report.environment.warnings = vec![long.clone(); 500];
    }
    let text = written(&run);
    assert!(text.encode_utf16().count() <= TEXT_MAX_CHARS, "{}", text.encode_utf16().count());
    assert!(
        text.contains("more") && text.contains("<sub>"),
        "the end is there, and says that something is not"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_text_does_anything(foreign in "[`|@<>#a-z\\\\ \n\\[\\]()!:/.*_~-]{0,24}|\\PC{0,16}") {
        check_harmless(&foreign);
    }
}
