//! `paceline commits`: messages from a file or from standard input, judged; one JSON object a line. Needs no repository.

use crate::conventions::commits::{self, Judged};
use crate::conventions::{Kind, MESSAGE_MAX_BYTES};
use crate::error::UserError;
use crate::judgement::{Finding, Level};
use crate::render::markdown::visible;
use crate::repo_config::{self, CommitsConfig, FixupPolicy, RepoConfig};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    git log -z --format=%B main..HEAD | paceline commits -\n  \
    git log -z --format=%B | paceline commits - --config .github/paceline.toml --check\n  \
    printf 'feat:x\\0fix: y' | paceline commits -\n\n\
    Each line has index, compliant (by Conventional Commits 1.0.0; null for git's own merge, revert and fixup! messages, \
    with their kind), type, scope, breaking, description, footers, and the findings of the configured rules, with line and \
    column from 1 (columns in graphemes) and the corrected line where there is one.\n\n\
    Exit code: 0 read and judged; 1 with --check when there is a finding of level error; 2 could not read.")]
pub struct CommitsArgs {
    /// Messages, separated by NUL bytes; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The rules [default: .github/paceline.toml of this directory where there is one, else the defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Exit with code 1 when there is a finding of level error; a `fixup!` that only blocks the merge is none
    #[arg(long)]
    pub check: bool,
    /// `text`: only what was found, for people
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Text,
}

/// One line of the output. The names are a contract with outside tools.
#[derive(Serialize)]
struct Record<'a> {
    index: u64,
    compliant: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    r#type: Option<&'a str>,
    scope: Option<&'a str>,
    breaking: bool,
    description: Option<&'a str>,
    footers: Vec<FooterRecord<'a>>,
    findings: &'a [Finding],
}

#[derive(Serialize)]
struct FooterRecord<'a> {
    token: &'a str,
    value: &'a str,
}

/// Judges every message of the input. Memory is bounded by one message.
pub fn run(args: &CommitsArgs) -> anyhow::Result<ExitCode> {
    let config = rules(args.config.as_deref())?;
    let mut input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let open = File::open(&args.file).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::Error::from(ErrorKind::IsADirectory)),
            false => Ok(file),
        });
        Box::new(BufReader::new(open.map_err(|error| cannot_read(&args.file, &error))?))
    };
    let mut output = BufWriter::new(io::stdout().lock());
    let mut errors = false;
    let mut index = 0;
    while let Some(message) = next_message(&mut input).map_err(|error| cannot_read(&args.file, &error))? {
        let judged = commits::judge_message(&message, &config);
        errors |= judged.findings.iter().any(|finding| stops(finding, &config));
        let written = match args.format {
            Format::Json => write_record(&mut output, index, &judged),
            Format::Text => write_text(&mut output, &judged),
        };
        if let Err(error) = written {
            return ended(error);
        }
        index += 1;
    }
    if let Err(error) = output.flush() {
        return ended(error);
    }
    Ok(ExitCode::from(u8::from(args.check && errors)))
}

/// The next message without its NUL, or `None` at the end. What is longer than the judge reads is cut, and one byte more
/// is kept, so that the judge says so. Bytes that are no UTF-8 are replaced.
fn next_message(input: &mut impl BufRead) -> io::Result<Option<String>> {
    const KEPT_MAX_BYTES: usize = MESSAGE_MAX_BYTES + 1;
    let mut kept = Vec::new();
    let mut begun = false;
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(begun.then(|| String::from_utf8_lossy(&kept).into_owned()));
        }
        begun = true;
        let nul = bytes.iter().position(|byte| *byte == 0);
        let piece = &bytes[..nul.unwrap_or(bytes.len())];
        kept.extend_from_slice(&piece[..piece.len().min(KEPT_MAX_BYTES - kept.len())]);
        let used = piece.len() + usize::from(nul.is_some());
        input.consume(used);
        if nul.is_some() {
            return Ok(Some(String::from_utf8_lossy(&kept).into_owned()));
        }
    }
}

/// Whether a finding stops a commit; what only blocks the merge does not.
fn stops(finding: &Finding, config: &CommitsConfig) -> bool {
    let waits = finding.rule == "fixup" && config.fixup == FixupPolicy::BlockMerge;
    finding.level == Level::Error && !waits
}

fn write_text(output: &mut impl Write, judged: &Judged<'_>) -> io::Result<()> {
    for finding in &judged.findings {
        let level = if finding.level == Level::Error { "error" } else { "warning" };
        let words = visible(&finding.message);
        writeln!(output, "{level} {}:{} {}: {words}", finding.line, finding.column, finding.rule)?;
        for (index, line) in finding.suggestion.iter().flat_map(|suggestion| suggestion.lines()).enumerate() {
            let lead = if index == 0 { "  write: " } else { "         " };
            writeln!(output, "{lead}{}", visible(line))?;
        }
    }
    Ok(())
}

fn write_record(output: &mut impl Write, index: u64, judged: &Judged<'_>) -> io::Result<()> {
    let parts = judged.message.parts.as_ref();
    let record = Record {
        index,
        compliant: judged.message.compliant(),
        kind: match judged.message.kind {
            Kind::Ordinary => None,
            Kind::Merge => Some("merge"),
            Kind::Revert => Some("revert"),
            Kind::Fixup => Some("fixup"),
        },
        r#type: parts.map(|parts| parts.kind.as_str()),
        scope: parts.and_then(|parts| parts.scope.as_deref()),
        breaking: parts.is_some_and(|parts| parts.breaking) || judged.footers.iter().any(|f| f.breaking()),
        description: parts.map(|parts| parts.description.as_str()),
        footers: judged.footers.iter().map(|f| FooterRecord { token: &f.token, value: &f.value }).collect(),
        findings: &judged.findings,
    };
    serde_json::to_writer(&mut *output, &record)?;
    output.write_all(b"\n")
}

/// The rules of a configuration: the named one, else this directory's own, else the defaults.
pub fn rules(named: Option<&Path>) -> anyhow::Result<CommitsConfig> {
    let own = Path::new(repo_config::PATH);
    let path = match named {
        Some(path) => path,
        None if own.is_file() => own,
        None => return Ok(CommitsConfig::default()),
    };
    let shown = path.display().to_string();
    let read = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        // One byte more than is read, so that a file that is too large is told as such.
        file.take(repo_config::CONFIG_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = read.map_err(|error| cannot_read(path, &error))?;
    let config: RepoConfig = repo_config::parse_bytes(&bytes, &shown).map_err(|errors| {
        let first = errors.first().map(|e| format!("line {}, column {}: {}", e.line, e.column, e.message));
        UserError::new(format!(
            "{shown} cannot be used: {} (`paceline config check {shown}` shows all of it)",
            first.unwrap_or_default()
        ))
    })?;
    Ok(config.commits)
}

fn cannot_read(path: &Path, error: &io::Error) -> anyhow::Error {
    UserError::new(format!("cannot read {}: {error}", path.display())).into()
}

/// Who reads the output may stop when they have seen enough.
fn ended(error: io::Error) -> anyhow::Result<ExitCode> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(error).context("cannot write"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(input: &[u8], buffer: usize) -> Vec<String> {
        let mut input = BufReader::with_capacity(buffer, input);
        std::iter::from_fn(|| next_message(&mut input).unwrap()).collect()
    }

    #[test]
    fn a_nul_ends_a_message_and_the_last_one_needs_none() {
        for buffer in [1, 2, 3, 64] {
            assert_eq!(split(b"", buffer), [""; 0]);
            assert_eq!(split(b"\0", buffer), [""]);
            assert_eq!(split(b"a\0b", buffer), ["a", "b"]);
            assert_eq!(split(b"a\0b\0", buffer), ["a", "b"]);
            assert_eq!(split(b"a\0\0b\0\0", buffer), ["a", "", "b", ""]);
            assert_eq!(split(b"\xff\0b", buffer), ["\u{fffd}", "b"]);
        }
    }

    #[test]
    fn what_is_too_long_is_read_to_its_end_and_kept_to_the_bound() {
        let input = [&b"x".repeat(3 * MESSAGE_MAX_BYTES)[..], b"\0fix: y"].concat();
        let messages = split(&input, 8_192);
        assert_eq!((messages.len(), messages[0].len()), (2, MESSAGE_MAX_BYTES + 1));
        assert_eq!(messages[1], "fix: y");
    }
}
