//! One command of the repository's: run, and what it said of which place.

use super::findings;
use super::place::Place;
use crate::artifact::{last_lines, stopped, to_millis};
use crate::model::checks::{CheckCommand, ChecksSpec, CommandEnd, CommandRan};
use crate::process::{End, Exit, Finished};
use anyhow::Context;
use std::time::Duration;

/// cargo's messages, or a whole test run's words; of more the end is kept.
const STDOUT_MAX_BYTES: usize = 32 << 20;
const STDERR_MAX_BYTES: usize = 1 << 20;

/// Runs it on what stands in the place.
pub(super) fn run(place: &Place, check: &CheckCommand, spec: &ChecksSpec) -> anyhow::Result<CommandRan> {
    let words = with_habits(check, &spec.habits);
    let (program, arguments) = words.split_first().context("a check has a program")?;
    let mut command = place.command(program);
    command.args(arguments).keep(STDOUT_MAX_BYTES, STDERR_MAX_BYTES);
    command.deadline(Duration::from_secs(check.deadline_seconds));
    let finished = match place.sandbox.run(&command, place.observer) {
        Ok(finished) => finished,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(missing(check, &format!("there is no `{program}` on the runner")));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot run {program}")),
    };
    stopped(place.observer)?;
    Ok(seen(place, check, spec, &finished))
}

/// Dependencies that cannot be had are the change's fault or the network's: cargo's words tell.
pub(super) fn could_not_fetch(check: &CheckCommand, words: &str) -> CommandRan {
    CommandRan { end: CommandEnd::Failed { code: 101 }, output: last_lines(words), ..nothing(check) }
}

fn missing(check: &CheckCommand, words: &str) -> CommandRan {
    CommandRan { end: CommandEnd::Missing { words: words.to_owned() }, ..nothing(check) }
}

fn nothing(check: &CheckCommand) -> CommandRan {
    CommandRan {
        name: check.name.clone(),
        end: CommandEnd::Passed,
        seconds: 0.0,
        output: String::new(),
        findings: vec![],
        findings_left_out: 0,
        tests: None,
    }
}

/// Clippy's lints of the configuration, switched on for everything: what they say of unchanged lines is dropped.
fn with_habits(check: &CheckCommand, habits: &[String]) -> Vec<String> {
    let mut words = check.command.clone();
    if habits.is_empty() || !check.is_cargo("clippy") {
        return words;
    }
    if !words.iter().any(|word| word == "--") {
        words.push("--".into());
    }
    words.extend(habits.iter().flat_map(|lint| ["-W".to_owned(), format!("clippy::{lint}")]));
    words
}

fn seen(place: &Place, check: &CheckCommand, spec: &ChecksSpec, finished: &Finished) -> CommandRan {
    let stdout = finished.stdout_text();
    let source = place.seen_source();
    let messages = findings::of_messages(&stdout, &source);
    let printed = match &messages {
        Some(messages) => messages.rendered.clone(),
        None => stdout.clone(),
    };
    let mut found = match messages {
        Some(messages) => messages.findings,
        None => findings::of_text(&format!("{}\n{stdout}", finished.stderr_tail), &source),
    };
    let habit = |code: &str| {
        code.strip_prefix("clippy::").is_some_and(|lint| spec.habits.iter().any(|habit| habit == lint))
    };
    found.retain(|finding| !habit(&finding.code) || spec.brought(&finding.path, finding.line));
    let (findings, findings_left_out) = findings::bounded(found, spec);
    CommandRan {
        end: end(&finished.stderr_tail, finished),
        seconds: to_millis(finished.elapsed),
        output: last_lines(&format!("{}\n{printed}", finished.stderr_tail.trim_end())),
        findings,
        findings_left_out,
        tests: findings::counts(&stdout, &finished.stderr_tail),
        ..nothing(check)
    }
}

fn end(stderr: &str, finished: &Finished) -> CommandEnd {
    match finished.end {
        End::Exited(Exit::Code(0)) => CommandEnd::Passed,
        End::Exited(Exit::Code(code)) => match lacking(stderr) {
            Some(words) => CommandEnd::Missing { words },
            None => CommandEnd::Failed { code },
        },
        End::TimedOut => CommandEnd::TimedOut,
        _ => CommandEnd::Killed { words: finished.in_words() },
    }
}

/// What the toolchain or the system says where a program is not there.
fn lacking(stderr: &str) -> Option<String> {
    let line = stderr.lines().find(|line| {
        line.contains("error: no such command:")
            || (line.contains("is not installed for the toolchain"))
            || (line.starts_with("bwrap: execvp ") && line.contains("No such file or directory"))
    })?;
    Some(line.trim_start_matches("error: ").chars().filter(|c| !c.is_control()).take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str]) -> CheckCommand {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        CheckCommand { name: "x".into(), command, deadline_seconds: 1 }
    }

    #[test]
    fn habits_are_asked_of_clippy_alone() {
        let habits = ["panic".to_owned()];
        let with = |words: &[&str]| with_habits(&check(words), &habits).join(" ");
        assert_eq!(with(&["cargo", "clippy", "--workspace"]), "cargo clippy --workspace -- -W clippy::panic");
        assert_eq!(with(&["cargo", "clippy", "--", "-D", "x"]), "cargo clippy -- -D x -W clippy::panic");
        assert_eq!(with(&["cargo", "test"]), "cargo test");
        assert_eq!(with_habits(&check(&["cargo", "clippy"]), &[]).join(" "), "cargo clippy");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_apart() {
        for words in [
            "error: no such command: `clippy`\n\n\thelp: x",
            "error: 'cargo-fmt' is not installed for the toolchain 'stable'",
            "bwrap: execvp make: No such file or directory",
        ] {
            assert!(lacking(words).is_some(), "{words}");
        }
        assert_eq!(lacking("error: test failed, to rerun pass `--lib`"), None);
    }
}
