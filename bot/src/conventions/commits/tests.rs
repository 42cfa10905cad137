//! The judge by tables and by properties.

use super::*;
use crate::conventions::parse;
use proptest::prelude::*;

fn commit(message: &str) -> Commit {
    Commit {
        sha: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
        message: message.into(),
        parents: 1,
        author_name: "Alice".into(),
    }
}

fn judged(message: &str, config: &CommitsConfig) -> CommitJudgement {
    judge(&[commit(message)], config).commits.remove(0)
}

fn check(message: &str, expect: &[(&str, Level, u32, u32, Option<&str>)]) {
    let judgement = judged(message, &CommitsConfig::default());
    let found: Vec<_> = judgement
        .findings
        .iter()
        .map(|f| (f.rule.as_str(), f.level, f.line, f.column, f.suggestion.as_deref()))
        .collect();
    assert_eq!(found, expect, "{message:?}: {:#?}", judgement.findings);
}

#[test]
fn a_good_message_has_no_finding() {
    check("feat(router): match by method\n\nWhy: speed.\n\nCloses #12", &[]);
    check("revert: feat: x", &[]);
    check("Merge branch 'main'", &[]);
}

/// Messages as tools and people really write them.
#[test]
fn messages_of_the_wild() {
    check(
        "chore(deps): bump serde from 1.0.1 to 1.0.2 (#12)\n\nBumps [serde](https://example.org).\n\n---\nupdated-dependencies:\n- dependency-name: serde\n...\n\nSigned-off-by: bot <b@example.org>",
        &[],
    );
    check(
        "fix(parser)!: drop `old()`\n\nBREAKING CHANGE: `old()` is gone;\nuse `new()`.\n\nRefs: #4, #5",
        &[],
    );
    check(
        "feat: x\n\n* one\n* two\n\nCo-authored-by: A <a@example.org>\nCo-authored-by: B <b@example.org>",
        &[],
    );
    check("feat: x (#12)\n\n* feat: part one\n\n* fix: part two\n", &[]);
    check("build: v1.2.3", &[]);
    check(
        "Bump version to 1.2.3",
        &[("header-form", Level::Error, 1, 5, Some("chore: bump version to 1.2.3"))],
    );
    check("WIP", &[("header-form", Level::Error, 1, 4, None)]);
    check("🎉 Initial commit", &[("header-form", Level::Error, 1, 1, None)]);
    check("fix:", &[("header-form", Level::Error, 1, 5, None)]);
    check("feat: add x \t", &[("header-trim", Level::Error, 1, 12, Some("feat: add x"))]);
}

#[test]
fn rules_of_style_with_their_places() {
    use Level::{Error, Warn};
    check("feature: x", &[("type-enum", Error, 1, 1, Some("feat: x"))]);
    check("faet(a): x", &[("type-enum", Error, 1, 1, Some("feat(a): x"))]);
    check("wonder: x", &[("type-enum", Error, 1, 1, None)]);
    check("Feat: x", &[("type-case", Warn, 1, 1, Some("feat: x"))]);
    check("feat: x.", &[("subject-full-stop", Error, 1, 8, Some("feat: x"))]);
    check("feat: wait for it...", &[]);
    check("feat: Add x", &[("subject-case", Warn, 1, 7, Some("feat: add x"))]);
    check("feat: HTTP/2 works", &[("subject-case", Warn, 1, 7, None)]);
    check("feat: `Router` works", &[]);
    check(
        "Feature: Add x.",
        &[
            ("type-enum", Error, 1, 1, Some("feat: add x")),
            ("type-case", Warn, 1, 1, Some("feat: add x")),
            ("subject-case", Warn, 1, 10, Some("feat: add x")),
            ("subject-full-stop", Error, 1, 15, Some("feat: add x")),
        ],
    );
}

#[test]
fn faults_of_form_are_mended_in_style_too() {
    check("Feat:Add x.", &[("header-form", Level::Error, 1, 6, Some("feat: add x"))]);
    check("Improve route matching", &[("header-form", Level::Error, 1, 8, None)]);
    check("Add route matching.", &[("header-form", Level::Error, 1, 4, Some("feat: add route matching"))]);
}

#[test]
fn lengths_count_what_people_see() {
    let fits = format!("feat: {}", "é".repeat(94));
    check(&fits, &[]);
    let decomposed = format!("feat: {}", "e\u{301}".repeat(94));
    check(&decomposed, &[]);
    check(&format!("{fits}x"), &[("header-max-length", Level::Error, 1, 101, None)]);
    check(
        &format!("{fits}."),
        &[
            ("subject-full-stop", Level::Error, 1, 101, Some(&fits)),
            ("header-max-length", Level::Error, 1, 101, Some(&fits)),
        ],
    );
}

#[test]
fn a_header_that_is_too_long_goes_on_in_the_body() {
    let words = "word ".repeat(30);
    let findings = judged(&format!("feat: {words}"), &CommitsConfig::default()).findings;
    let finding = findings.iter().find(|finding| finding.rule == "header-max-length").unwrap();
    let kept = format!("feat: {}…", "word ".repeat(18).trim());
    assert_eq!(finding.suggestion, Some(format!("{kept}\n\n…{}", "word ".repeat(12).trim())));
    let judgement = judged(finding.suggestion.as_deref().unwrap(), &CommitsConfig::default());
    assert_eq!((judgement.compliant, judgement.findings), (Some(true), vec![]));
}

#[test]
fn a_break_makes_no_comment_and_no_footer_of_text() {
    for word in ["# x", "BREAKING CHANGE: y", "Closes: y"] {
        let line = format!("{}{word} {}", "word ".repeat(20), "word ".repeat(5));
        let findings = judged(&format!("feat: x\n\n{}", line.trim()), &CommitsConfig::default()).findings;
        assert_eq!((findings.len(), findings[0].suggestion.as_deref()), (1, None), "{word}");
    }
}

#[test]
fn long_lines_of_the_body_are_wrapped_and_counted() {
    let words = "word ".repeat(30);
    let line = words.trim();
    let wrapped = format!("{}\n{}", "word ".repeat(20).trim(), "word ".repeat(10).trim());
    check(&format!("feat: x\n\n{line}"), &[("body-max-line-length", Level::Warn, 3, 101, Some(&wrapped))]);
    check(&format!("feat: x\n\nhttps://example.org/{}", "a".repeat(200)), &[]);
    let folded = format!("See: {}\n {}", "word ".repeat(19).trim(), "word ".repeat(11).trim());
    check(
        &format!("feat: x\n\nSee: {line}"),
        &[("footer-max-line-length", Level::Warn, 3, 101, Some(&folded))],
    );
    check(
        &format!("feat: x\n\nReviewed-by: {line}"),
        &[("footer-max-line-length", Level::Warn, 3, 101, None)],
    );
    let many = format!("feat: x\n\n{}", format!("{line}\n").repeat(10));
    let findings = judged(&many, &CommitsConfig::default()).findings;
    assert_eq!(findings.len(), 3);
    assert!(findings[2].message.contains("7 more"), "{}", findings[2].message);
}

#[test]
fn levels_come_from_the_group_and_from_the_rule() {
    let mut config = CommitsConfig { level: Level::Warn, ..CommitsConfig::default() };
    assert_eq!(judged("feat: x.", &config).findings[0].level, Level::Warn);
    assert_eq!(judged("feat:x", &config).findings[0].level, Level::Warn);
    config.rules.subject_full_stop.level = Some(Level::Error);
    assert_eq!(judged("feat: x.", &config).findings[0].level, Level::Error);
    config.rules.subject_full_stop.level = Some(Level::Off);
    assert!(judged("feat: x.", &config).findings.is_empty());
    config.level = Level::Off;
    assert!(judge(&[commit("nonsense")], &config).commits.is_empty());
}

#[test]
fn scopes_and_sign_offs_when_asked_for() {
    let mut config = CommitsConfig::default();
    config.rules.scope_enum.level = Some(Level::Error);
    config.rules.scope_enum.workspace = true;
    let mut config = config.with_workspace_scopes(["bot".into(), "gateway".into()]);
    assert!(judged("feat(bot): x", &config).findings.is_empty());
    assert!(judged("feat(bot,gateway): x", &config).findings.is_empty());
    let finding = &judged("feat(web): x", &config).findings[0];
    assert_eq!((finding.rule.as_str(), finding.column), ("scope-enum", 6));
    config.rules.signed_off_by.level = Some(Level::Error);
    assert_eq!(judged("feat: x", &config).findings[0].rule, "signed-off-by");
    assert!(judged("feat: x\n\nSigned-off-by: A <a@example.org>", &config).findings.is_empty());
}

#[test]
fn fixups_block_unless_allowed() {
    check("fixup! feat: x", &[("fixup", Level::Error, 1, 1, None)]);
    assert_eq!(judged("fixup! feat: x", &CommitsConfig::default()).compliant, None);
    let config = CommitsConfig { fixup: FixupPolicy::Allow, ..CommitsConfig::default() };
    assert!(judged("fixup! feat: x", &config).findings.is_empty());
}

#[test]
fn an_unheard_breaking_change_is_told() {
    check(
        "feat: x\n\ntext\nBREAKING CHANGE: y",
        &[("footer-leading-blank", Level::Warn, 4, 1, Some("\nBREAKING CHANGE: y"))],
    );
}

#[test]
fn a_message_without_end_is_cut_and_said_so() {
    let judgement =
        judged(&format!("feat: x\n\n{}", "a\n".repeat(MESSAGE_MAX_BYTES)), &CommitsConfig::default());
    assert_eq!(judgement.findings.len(), 1);
    assert_eq!(judgement.findings[0].rule, "message-size");
    assert_eq!(judgement.compliant, Some(true));
}

/// Inputs that make a reader with back-tracking or repeated counting quadratic: this many bytes take forever there.
#[test]
fn long_inputs_are_read_once() {
    for piece in [
        "(",
        ")",
        "!",
        ":",
        "a(",
        "(a)",
        " ",
        ": ",
        "\n",
        "\r",
        "a: b\n",
        "\u{301}",
        "🇦",
        "👩\u{200d}",
        "#\n",
        "`",
    ] {
        let message = piece.repeat((MESSAGE_MAX_BYTES / 8) / piece.len());
        let judgement = judged(&message, &CommitsConfig::default());
        assert!(judgement.findings.len() < 12);
        let shown: usize = judgement.findings.iter().map(|f| f.message.len()).sum();
        assert!(shown < 10_000 && judgement.header.len() < 10_000, "{piece:?}");
        judged(&format!("feat: {message}"), &CommitsConfig::default());
        judged(&format!("feat: x\n\n{message}"), &CommitsConfig::default());
    }
}

fn messages() -> impl Strategy<Value = String> {
    let header = "[ ]?(feat|Fix|faet|docs|x|Add|É)?[ ]?(\\([a-z @/,:.(]{0,4}\\)){0,2}[! ]{0,2}[:：]?[ \t]{0,2}[A-Za-z .()#:!é`]{0,20}";
    let rest = "(\r?\n[ -~\n]{0,40}){0,3}";
    prop_oneof![(header, rest).prop_map(|(h, r)| h + &r), any::<String>()]
}

#[test]
fn a_capital_without_a_small_letter_is_left_alone() {
    let findings = judged("feat: \u{1f130}a0", &CommitsConfig::default()).findings;
    assert!(findings.iter().all(|finding| finding.rule != "subject-case"), "{findings:?}");
}

proptest! {
    #[test]
    fn nothing_panics_and_places_lie_in_the_message(message in messages()) {
        let lines = message.split('\n').count() as u32;
        for finding in judged(&message, &CommitsConfig::default()).findings {
            prop_assert!(finding.line >= 1 && finding.line <= lines, "{finding:?}");
            let line = message.split('\n').nth(finding.line as usize - 1).unwrap();
            prop_assert!(finding.column >= 1 && finding.column as usize <= crate::text::graphemes(line) + 1, "{finding:?}");
        }
    }

    /// Put in the place of its line, a suggestion takes its finding away.
    #[test]
    fn a_suggestion_is_right_itself(message in messages()) {
        let config = CommitsConfig::default();
        for finding in judged(&message, &config).findings {
            let Some(suggestion) = &finding.suggestion else { continue };
            let at = finding.line as usize - 1;
            let mended: Vec<&str> =
                message.split('\n').enumerate().map(|(n, line)| if n == at { suggestion } else { line }).collect();
            let again = judged(&mended.join("\n"), &config);
            let same = |f: &&Finding| f.rule == finding.rule && f.line == finding.line;
            prop_assert_eq!(again.findings.iter().find(same), None, "{:?} -> {:?}", message, suggestion);
            if finding.rule == "header-form" {
                prop_assert!(again.findings.iter().all(|f| f.rule != "type-case"), "{:?} -> {:?}", message, suggestion);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        kind in "[a-z][a-z0-9-]{0,8}",
        scope in proptest::option::of("[a-z@/,.:]{1,8}"),
        breaking: bool,
        description in "[a-zA-Z(#][ -~]{0,30}[a-z)]",
    ) {
        let line = header::written(&kind, scope.as_deref(), breaking, &description);
        let parts = parse(&line).parts.unwrap();
        prop_assert_eq!(parts.kind, kind);
        prop_assert_eq!(parts.scope, scope);
        prop_assert_eq!(parts.breaking, breaking);
        prop_assert_eq!(parts.description, description);
    }
}
