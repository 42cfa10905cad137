//! Findings with a place, read from what cargo, rustc, clippy, rustfmt and the test harnesses print. Pure.

use crate::model::checks::{ChecksSpec, TestCounts, ToolFinding, ToolLevel};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

/// Findings of one command that are kept: people mend the first screen, and look again.
pub const FINDINGS_MAX: usize = 500;
const MESSAGE_MAX_CHARS: usize = 1_000;
const CODE_MAX_CHARS: usize = 100;
const PATH_MAX_CHARS: usize = 1_000;
/// Findings looked at before the bound is put to them.
const READ_MAX: usize = 50_000;
/// Rendered words of errors, of which the end is shown.
const RENDERED_MAX_BYTES: usize = 64 << 10;

/// What cargo's JSON messages say.
pub struct Messages {
    pub findings: Vec<ToolFinding>,
    /// As the compiler prints errors and warnings for people.
    pub rendered: String,
}

/// `None` where it is no stream of cargo's messages.
pub fn of_messages(output: &str, source: &Path) -> Option<Messages> {
    let mut messages = Messages { findings: Vec::new(), rendered: String::new() };
    let mut any = false;
    for line in output.lines().filter(|line| line.starts_with('{')) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let Some(reason) = message["reason"].as_str() else { continue };
        any = true;
        if reason != "compiler-message" || messages.findings.len() >= READ_MAX {
            continue;
        }
        let said = &message["message"];
        if let Some(rendered) = said["rendered"].as_str()
            && messages.rendered.len() < RENDERED_MAX_BYTES
            && said["level"] == "error"
        {
            messages.rendered.push_str(rendered);
        }
        messages.findings.extend(of_diagnostic(said, source));
    }
    any.then_some(messages)
}

fn of_diagnostic(said: &Value, source: &Path) -> Option<ToolFinding> {
    let level = match said["level"].as_str()? {
        "error" | "error: internal compiler error" => ToolLevel::Error,
        "warning" => ToolLevel::Warning,
        _ => return None,
    };
    let spans = said["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true)?;
    Some(ToolFinding {
        level,
        path: within(span["file_name"].as_str()?, source)?,
        line: number(&span["line_start"])?,
        column: number(&span["column_start"]).unwrap_or(0),
        code: bounded_text(said["code"]["code"].as_str().unwrap_or_default(), CODE_MAX_CHARS),
        message: bounded_text(said["message"].as_str()?, MESSAGE_MAX_CHARS),
    })
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// What stands in words for people: rustc's errors, rustfmt's differences, tests that panicked.
pub fn of_text(output: &str, source: &Path) -> Vec<ToolFinding> {
    let mut found = Vec::new();
    let mut error: Option<(String, String)> = None;
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        if found.len() >= READ_MAX {
            break;
        }
        if let Some(message) = error_line(line) {
            error = Some(message);
        } else if let Some(place) = line.trim_start().strip_prefix("--> ") {
            if let (Some((code, message)), Some((path, line, column))) =
                (error.take(), place_of(place, source))
            {
                found.push(finding(ToolLevel::Error, (path, line, column), &code, &message));
            }
        } else if let Some(place) = line.strip_prefix("Diff in ") {
            let place = place.replace(" at line ", ":");
            if let Some(place) = place_of(place.trim_end_matches(':'), source) {
                found.push(finding(ToolLevel::Error, place, "rustfmt", "Not as rustfmt would write it."));
            }
        } else if let Some((test, place)) = panicked(line)
            && let Some(place) = place_of(place.trim_end_matches(':'), source)
        {
            // The first words follow in the next line.
            let words = lines.peek().map(|words| words.trim()).filter(|words| !words.is_empty());
            let message = match words {
                Some(words) => format!("The test `{test}` fails: {words}"),
                None => format!("The test `{test}` fails."),
            };
            found.push(finding(ToolLevel::Error, place, test, &message));
        }
    }
    found
}

fn finding(level: ToolLevel, place: (String, u32, u32), code: &str, message: &str) -> ToolFinding {
    let (path, line, column) = place;
    let (code, message) = (bounded_text(code, CODE_MAX_CHARS), bounded_text(message, MESSAGE_MAX_CHARS));
    ToolFinding { level, path, line, column, code, message }
}

/// `error[E0308]: mismatched types`, `error: expected …`: code and words.
fn error_line(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("error")?;
    if let Some(rest) = rest.strip_prefix('[') {
        let (code, rest) = rest.split_once(']')?;
        return Some((code.to_owned(), rest.strip_prefix(": ")?.to_owned()));
    }
    Some((String::new(), rest.strip_prefix(": ")?.to_owned()))
}

/// `thread 'a::b' panicked at src/lib.rs:3:5:`, with a number of the thread in newer toolchains.
fn panicked(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("thread '")?;
    let (test, rest) = rest.split_once('\'')?;
    let (_, place) = rest.split_once(" panicked at ")?;
    (test != "main").then_some((test, place))
}

/// `src/lib.rs:3:5`, or without the column.
fn place_of(text: &str, source: &Path) -> Option<(String, u32, u32)> {
    let mut parts = text.trim().rsplitn(3, ':');
    let (last, middle, first) = (parts.next()?, parts.next(), parts.next());
    if let (Some(middle), Some(first)) = (middle, first)
        && let (Ok(line), Ok(column)) = (middle.parse(), last.parse())
    {
        return Some((within(first, source)?, line, column));
    }
    let (path, line) = text.trim().rsplit_once(':')?;
    Some((within(path, source)?, line.parse().ok()?, 0))
}

/// A path within the repository; `None` for what lies elsewhere (the standard library, a dependency).
fn within(path: &str, source: &Path) -> Option<String> {
    let seen = Path::new(path);
    let relative = if seen.is_absolute() { seen.strip_prefix(source).ok()? } else { seen };
    let inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let text = relative.to_str()?;
    let plain =
        !text.is_empty() && text.chars().count() <= PATH_MAX_CHARS && !text.chars().any(char::is_control);
    (inside && plain).then(|| text.to_owned())
}

fn bounded_text(text: &str, max: usize) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).take(max).collect()
}

/// Each once, those on changed lines first, errors before warnings; and how many are left out.
pub fn bounded(found: Vec<ToolFinding>, spec: &ChecksSpec) -> (Vec<ToolFinding>, u64) {
    let mut seen = HashSet::new();
    let mut kept: Vec<ToolFinding> = found
        .into_iter()
        .filter(|finding| seen.insert((finding.path.clone(), finding.line, finding.message.clone())))
        .collect();
    kept.sort_by_cached_key(|finding| {
        let brought = spec.brought(&finding.path, finding.line);
        (!brought, std::cmp::Reverse(finding.level), finding.path.clone(), finding.line, finding.column)
    });
    let left_out = kept.len().saturating_sub(FINDINGS_MAX);
    kept.truncate(FINDINGS_MAX);
    (kept, left_out as u64)
}

/// Sums of what libtest and nextest tell at their ends.
pub fn counts(stdout: &str, stderr: &str) -> Option<TestCounts> {
    let mut counts = TestCounts::default();
    let mut any = false;
    for line in stdout.lines().chain(stderr.lines()) {
        let rest = match line.trim_start() {
            text if text.starts_with("test result: ") => text.split_once(". ").map(|(_, rest)| rest),
            text if text.starts_with("Summary [") => text.split_once("run:").map(|(_, rest)| rest),
            _ => None,
        };
        let Some(rest) = rest else { continue };
        any = true;
        for part in rest.split([';', ',']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => counts.passed += number,
                "failed" => counts.failed += number,
                "ignored" | "skipped" => counts.ignored += number,
                _ => {}
            }
        }
    }
    any.then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::checks::ChangedLines;

    fn source() -> &'static Path {
        Path::new("/build/src")
    }

    #[test]
    fn cargos_messages_are_read() {
        let message = |level: &str, path: &str, line: u32| {
            serde_json::json!({"reason": "compiler-message", "message": {
                "level": level, "message": "used `unwrap()`", "code": {"code": "clippy::unwrap_used"},
                "rendered": format!("{level}: used\n"),
                "spans": [{"is_primary": false, "file_name": "x.rs", "line_start": 1, "column_start": 1},
                          {"is_primary": true, "file_name": path, "line_start": line, "column_start": 5}]}})
            .to_string()
        };
        let output = [
            message("warning", "src/lib.rs", 3),
            message("error", "/build/src/src/b.rs", 4),
            message("error", "/rustc/library/core.rs", 4),
            message("error", "../outside.rs", 4),
            message("note", "src/lib.rs", 4),
            "{\"reason\":\"build-finished\",\"success\":false}".into(),
            "{\"reason\":\"compiler-message\",\"message\":{\"level\":\"error\",\"spans\":[]}}".into(),
            "no JSON".into(),
        ]
        .join("\n");
        let messages = of_messages(&output, source()).unwrap();
        let places: Vec<(&str, u32, u32)> =
            messages.findings.iter().map(|f| (f.path.as_str(), f.line, f.column)).collect();
        assert_eq!(places, [("src/lib.rs", 3, 5), ("src/b.rs", 4, 5)]);
        assert_eq!(messages.findings[0].code, "clippy::unwrap_used");
        assert_eq!(messages.rendered.lines().count(), 3, "errors are for reading: {}", messages.rendered);
        assert!(of_messages("running 3 tests\n{not json", source()).is_none());
    }

    #[test]
    fn words_for_people_are_read() {
        let output = "error[E0308]: mismatched types\n --> src/lib.rs:7:9\n  |\n\
            Diff in /build/src/src/a.rs:12:\n-x\n+y\nDiff in /build/src/src/b.rs at line 4:\n\
            thread 'tests::sums' panicked at src/lib.rs:31:9:\nassertion failed: x\n\
            thread 'tests::more' (4711) panicked at src/lib.rs:32:9:\n\n\
            thread 'main' panicked at src/main.rs:1:1:\nno test\n\
            error: aborting due to 1 previous error\n --> \n\
            error: other\n --> /usr/lib/x.rs:1:1\n";
        let found = of_text(output, source());
        let told: Vec<String> =
            found.iter().map(|f| format!("{}:{} {} {}", f.path, f.line, f.code, f.message)).collect();
        assert_eq!(
            told,
            [
                "src/lib.rs:7 E0308 mismatched types",
                "src/a.rs:12 rustfmt Not as rustfmt would write it.",
                "src/b.rs:4 rustfmt Not as rustfmt would write it.",
                "src/lib.rs:31 tests::sums The test `tests::sums` fails: assertion failed: x",
                "src/lib.rs:32 tests::more The test `tests::more` fails.",
            ]
        );
    }

    #[test]
    fn what_is_kept_is_what_the_change_brought_first() {
        let at = |path: &str, line| finding(ToolLevel::Warning, (path.into(), line, 1), "", "x");
        let spec = ChecksSpec {
            changed: vec![ChangedLines { path: "b.rs".into(), lines: vec![(5, 6)] }],
            ..ChecksSpec::default()
        };
        let many: Vec<ToolFinding> = (0..FINDINGS_MAX as u32 + 3).map(|n| at("a.rs", n)).collect();
        let (kept, left_out) = bounded([many, vec![at("b.rs", 5), at("b.rs", 5)]].concat(), &spec);
        assert_eq!((kept.len(), left_out), (FINDINGS_MAX, 4));
        assert_eq!((kept[0].path.as_str(), kept[0].line, kept[1].path.as_str()), ("b.rs", 5, "a.rs"));
    }

    #[test]
    fn tests_are_counted() {
        let libtest = "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.1s\n\
            test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counts(libtest, ""), Some(TestCounts { passed: 13, failed: 3, ignored: 2 }));
        let nextest = "     Summary [   0.234s] 10 tests run: 8 passed, 2 failed, 1 skipped\n";
        assert_eq!(counts("", nextest), Some(TestCounts { passed: 8, failed: 2, ignored: 1 }));
        assert_eq!(counts("hello", ""), None);
    }
}
