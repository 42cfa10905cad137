//! `perfsuite report`: judges stored evidence again, offline.

use super::{Answer, Format, markdown, text};
use crate::evidence;
use crate::model::{Certainty, Comparison, Evidence, Report};
use crate::verdict::judge;
use anyhow::Context;
use std::path::{Path, PathBuf};

/// Favours time over size: evidence is small.
const ZSTD_LEVEL: i32 = 3;

/// Judge stored evidence again, offline: the same bytes in give the same bytes out.
///
/// A file that is named by its SHA-256, as a server stores it, must have that digest. Exit code 0: no change, 1: some
/// change, 2: could not judge, or the file is no sound evidence.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite compare main topic --evidence run.json.zst && perfsuite report run.json.zst
  perfsuite report --format markdown paceline-data/evidence/3f/3f0c….json.zst")]
pub struct ReportArgs {
    /// Evidence as a run stored it: JSON, plain or compressed by zstd
    evidence: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<Answer> {
    let report = judge(&evidence::read(&args.evidence)?);
    print(&report, args.format)?;
    Ok(answer(&report))
}

pub(super) fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    print!("{}", rendered(report, format)?);
    Ok(())
}

pub(super) fn rendered(report: &Report, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => text::report(report),
        Format::Markdown => markdown::report(report),
        Format::Json => serde_json::to_string_pretty(report)? + "\n",
    })
}

/// A change is the stronger news; without one, whatever could not be judged must not pass for "no change".
pub(super) fn answer(report: &Report) -> Answer {
    let told_only = |row: &Comparison| {
        (row.certainty == Certainty::InstructionChange && !row.blocks()) || report.is_unaffected(row)
    };
    if report.rows.iter().any(|row| row.metric.judged() && row.changed() && !told_only(row)) {
        return Answer::Change;
    }
    let nothing = report.rows.is_empty() && !report.has_same_code();
    match report.broken_build().is_some() || !report.failures.is_empty() || nothing {
        true => Answer::CouldNotJudge,
        false => Answer::NoChange,
    }
}

pub(super) fn write(evidence: &Evidence, to: &Path) -> anyhow::Result<()> {
    let json = serde_json::to_vec(evidence)?;
    let bytes = zstd::encode_all(json.as_slice(), ZSTD_LEVEL)?;
    std::fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
