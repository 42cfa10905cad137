//! What hostile bytes must never do, one function for each fuzz target of `fuzz/`. Tests run them on the seeds, and on
//! what was found in the past.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold ends the process, as it should"
)]

use crate::conventions::reviews::{CodeOwners, Owner};
use crate::conventions::{commits, parse_message, scan_header};
use crate::judgement::{CommentContext, Performance, Run};
use crate::pull::{Commit, RepoName};
use crate::render::{fixtures, markdown};
use crate::repo_config::{self, CommitsConfig, ERRORS_MAX, RepoConfig};
use crate::{checks, command, comment, event, evidence, git, render, web};
use perfsuite::model::{Evidence, Sha};
use secrecy::SecretString;

/// A request's headers, one a line (signature, event), an empty line, its body.
pub fn webhook(data: &[u8]) {
    let at = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let body = data.get(at + 2..).unwrap_or_default();
    let mut headers = data[..at].split(|byte| *byte == b'\n');
    let mut header = || axum::http::HeaderValue::from_bytes(headers.next().unwrap_or_default()).ok();
    let (signature, name) = (header(), header());
    let signature = signature.as_ref().and_then(|value| value.to_str().ok());
    let secrets = [SecretString::from("fuzz".to_owned()), SecretString::from("older".to_owned())];
    let good = web::webhook::sign(&secrets[1], body);
    // Unless the fuzzer has broken HMAC. Digits may be of either case.
    let lower = signature
        .and_then(|value| Some(format!("sha256={}", value.strip_prefix("sha256=")?.to_ascii_lowercase())));
    assert_eq!(web::webhook::signature_is_good(signature, body, &secrets), lower.as_ref() == Some(&good));
    assert!(web::webhook::signature_is_good(Some(&good), body, &secrets));
    assert!(!web::webhook::signature_is_good(Some(&good), &[body, b" "].concat(), &secrets));
    if let Ok(envelope) = event::envelope(body) {
        assert!(!envelope.lane.is_empty());
        let own = serde_json::json!({"repository": {"id": 7}, "pull_request": {"number": 3}}).to_string();
        assert_eq!(event::envelope(own.as_bytes()).unwrap().lane, "7/3");
    }
    if let Ok(payload) = std::str::from_utf8(body) {
        for known in ["pull_request", "issue_comment", "check_run", "check_suite"] {
            // An event that cannot be read is told; it never ends the process.
            let _ = event::parse(known, payload);
        }
        let name = name.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let _ = event::parse(name, payload);
    }
}

/// A `.github/paceline.toml`.
pub fn config(data: &[u8]) {
    match repo_config::parse_bytes(data, repo_config::PATH) {
        Ok(config) => use_config(&config),
        Err(errors) => {
            assert!(!errors.is_empty() && errors.len() <= ERRORS_MAX);
            let text = String::from_utf8_lossy(data);
            let lines = text.split('\n').count() as u32;
            for error in errors {
                assert!(error.line >= 1 && error.line <= lines, "line {} of {lines}", error.line);
                assert!(error.column >= 1 && !error.message.is_empty());
                assert!(!repo_config::describe(&error, &text).is_empty());
            }
        }
    }
}

/// What was accepted can be used: a bad glob or number is found while checking, not while a pull request waits.
fn use_config(config: &RepoConfig) {
    for changed in
        [vec![], vec!["src/lib.rs".to_owned()], vec!["docs/a.md".to_owned(), "\u{fffd}".to_owned()]]
    {
        // Nothing to measure is told with its reason.
        assert!(repo_config::suites_for(config, &changed).map_or_else(|reason| !reason.is_empty(), |_| true));
    }
    assert!((0.0..1.0).contains(&config.perf.budget()) && config.perf.budget() > 0.0);
    assert!(config.perf.limits().measure_seconds > 0);
    judge_commit("feat: add a thing\n\nBody.\n\nFixes: #1", &config.commits);
}

/// Evidence as a runner uploads it. The first byte says whether the rest is packed.
pub fn evidence(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let parsed = match kind % 2 {
        0 => evidence::decode(bytes).ok(),
        _ => serde_json::from_slice::<Evidence>(bytes).ok(),
    };
    let Some(mut found) = parsed else { return };
    // The job's own, which evidence must repeat.
    found.spec.budget = 0.01;
    let asked = found.spec.clone();
    if evidence::check::check(&found, &asked).is_err() {
        return;
    }
    // What was let in can be judged, stored and shown.
    let report = perfsuite::verdict::judge(&found);
    let stored = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<perfsuite::model::Report>(&stored).unwrap(), report, "{stored}");
    show(&fixtures::done(report));
}

fn show(run: &Run) {
    let (name, pull) = (fixtures::repo_name(), fixtures::pull());
    let text = comment::comment(run, &fixtures::context(&name, &pull));
    assert!(text.encode_utf16().count() <= crate::outgoing::TEXT_MAX_CHARS);
    let check = checks::performance_check(run, "https://paceline.example/run");
    assert!(check.summary.encode_utf16().count() <= crate::outgoing::TEXT_MAX_CHARS);
    render::json(run).unwrap();
    let shown = render::terminal(run, &render::Style::default());
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

/// Whatever names a commit, a branch or a repository, one a line, and ranges.
pub fn git_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines().take(16) {
        if let Ok(sha) = line.parse::<Sha>() {
            assert!(sha.as_str().len() == 40 && sha.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(sha.short().len() == 7 && sha.to_string().parse::<Sha>().unwrap() == sha);
        }
        if let Ok(name) = line.parse::<RepoName>() {
            assert_eq!(name.to_string(), line);
            for part in [&name.owner, &name.name] {
                assert!(!part.contains('/') && part != ".." && !part.contains('%'), "{part}");
            }
        }
        git::hostile_names(line);
    }
}

/// A commit message, by the default rules and by rules that are all switched on.
pub fn commit_message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let message = parse_message(&text);
    for fault in &message.faults {
        assert!(fault.line >= 1 && fault.column >= 1 && !fault.message.is_empty());
        if let Some(suggestion) = fault.suggestion.as_deref().filter(|_| fault.rule == "header-form") {
            assert!(scan_header(suggestion), "{suggestion:?} is offered and wrong itself");
        }
    }
    judge_commit(&text, &CommitsConfig::default());
    judge_commit(&text, strict());
}

fn judge_commit(message: &str, config: &CommitsConfig) {
    let commit =
        Commit { sha: fixtures::sha('a'), message: message.into(), parents: 1, author_name: "alice".into() };
    let judged = commits::judge(&[commit], config);
    let lines = message.split('\n').count() as u32 + 1;
    for finding in judged.commits.iter().flat_map(|commit| &commit.findings) {
        assert!((1..=lines).contains(&finding.line) && finding.column >= 1, "{finding:?}");
    }
    let mut run = fixtures::run(Performance::Skipped { reason: "fuzzed".into() });
    run.commits = judged;
    checks::commits_check(&run, "https://paceline.example/run");
}

fn strict() -> &'static CommitsConfig {
    static STRICT: std::sync::OnceLock<CommitsConfig> = std::sync::OnceLock::new();
    STRICT.get_or_init(|| {
        let text = include_str!("../../fuzz/seeds/config/strict.toml");
        repo_config::parse(text, repo_config::PATH).unwrap_or_else(|errors| panic!("{errors:?}")).commits
    })
}

/// A comment with or without a command.
pub fn comment_command(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(command::Command::Run { head }) = command::parse(&text) {
        assert!(
            text.to_ascii_lowercase().contains(head.as_str()),
            "only a commit that was written is approved"
        );
    }
    let quoted: String = text.lines().map(|line| format!("> {line}\n")).collect();
    assert_eq!(command::parse(&quoted), None, "quoting somebody's command is no command");
}

/// Somebody's text in each way in which we put it into Markdown: the name of the way, and the Markdown.
pub fn markdown(data: &[u8]) -> Vec<(&'static str, String)> {
    let text = String::from_utf8_lossy(data);
    let text = text.as_ref();
    vec![
        ("inline", format!("It says {} here.", markdown::inline(text, 400))),
        ("code", format!("It says {} here.", markdown::code(text, 400))),
        ("prose", format!("It says {} here.", markdown::prose(text, 400))),
        (
            "cell",
            format!(
                "| a | b |\n|---|---|\n| {} | {} |",
                markdown::inline(text, 400),
                markdown::code(text, 400)
            ),
        ),
        ("block", markdown::fenced_tail(text, 4_000)),
        ("comment", tidied_comment(text)),
    ]
}

fn tidied_comment(text: &str) -> String {
    let (name, pull) = (fixtures::repo_name(), fixtures::pull());
    let context = CommentContext { author_pulls: 1, ..fixtures::context(&name, &pull) };
    comment::comment(&fixtures::hostile(text), &context)
}

/// CODEOWNERS, and below the last line `PATHS` the paths that are asked for.
pub fn codeowners(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (file, paths) = text.rsplit_once("\nPATHS\n").unwrap_or((&text, "src/lib.rs\n"));
    let file = file.trim_start_matches('\u{feff}');
    let owners = CodeOwners::parse(file);
    let lines = file.split('\n').count() as u32;
    for bad in &owners.bad {
        assert!(bad.line >= 1 && bad.line <= lines && !bad.message.is_empty(), "{bad:?} of {lines}");
    }
    let last = CodeOwners::parse(&format!("{file}\n* @the-last\n"));
    let first = CodeOwners::parse(&format!("* @the-first\n{file}\n"));
    // A line of a stranger's is tried against each path of theirs.
    const PATHS_MAX: usize = 50;
    // As git has them: no part is empty.
    let paths = paths.lines().filter(|path| path.split('/').all(|part| !part.is_empty()));
    for path in paths.take(PATHS_MAX) {
        let found = owners.owners(path);
        assert_eq!(
            last.owners(path),
            [Owner::Person("the-last".into())],
            "the last line that matches counts"
        );
        if !found.is_empty() {
            assert_eq!(first.owners(path), found, "a line before it changes nothing");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each file of a target's seeds and of what was found in the past; every target has some.
    fn each(target: &str, holds: impl Fn(&[u8])) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let mut inputs = 0;
        for kind in ["seeds", "regressions"] {
            for entry in std::fs::read_dir(root.join(kind).join(target)).into_iter().flatten() {
                let path = entry.unwrap().path();
                eprintln!("{}", path.display());
                holds(&std::fs::read(path).unwrap());
                inputs += 1;
            }
        }
        assert!(inputs > 0, "no seeds for {target}");
    }

    #[test]
    fn seeds_and_findings_hold() {
        each("webhook", webhook);
        each("config", config);
        each("evidence", evidence);
        each("git_names", git_names);
        each("commit_message", commit_message);
        each("comment_command", comment_command);
        each("codeowners", codeowners);
        each("markdown", |data| drop(markdown(data)));
    }

    #[test]
    fn seeds_reach_what_they_are_for() {
        let seed = |name: &str| {
            std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name))
                .unwrap()
        };
        assert!(repo_config::parse_bytes(&seed("config/strict.toml"), repo_config::PATH).is_ok());
        let text = seed("evidence/one-series.json");
        let parsed: Evidence = serde_json::from_slice(&text[1..]).unwrap();
        assert_eq!(evidence::check::check(&parsed, &parsed.spec.clone()), Ok(()));
        assert!(evidence::decode(&seed("evidence/packed.zst")[1..]).is_ok());
    }
}
