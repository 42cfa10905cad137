//! `perfsuite report`: judges stored evidence again, offline.

use super::{Answer, Format, markdown, text};
use crate::model::wire::EVIDENCE_MAX_BYTES;
use crate::model::{Certainty, Comparison, Evidence, Report};
use crate::verdict::judge;
use anyhow::{Context, ensure};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Evidence compresses about tenfold; what unpacks to more is a bomb.
const UNPACKED_MAX_BYTES: u64 = 16 * EVIDENCE_MAX_BYTES as u64;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Favours time over size: evidence is small.
const ZSTD_LEVEL: i32 = 3;

/// Judge stored evidence again: the same bytes in give the same bytes out.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Evidence as a run stored it: JSON, plain or compressed by zstd
    evidence: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<Answer> {
    let report = judge(&read(&args.evidence)?);
    print(&report, args.format)?;
    Ok(answer(&report))
}

pub(super) fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => print!("{}", text::report(report)),
        Format::Markdown => print!("{}", markdown::report(report)),
        Format::Json => println!("{}", serde_json::to_string_pretty(report)?),
    }
    Ok(())
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

fn read(file: &Path) -> anyhow::Result<Evidence> {
    let open = || std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()));
    let mut magic = Vec::new();
    open()?.take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic)?;
    let mut json = Vec::new();
    if magic == ZSTD_MAGIC {
        let unpacked = zstd::stream::read::Decoder::new(open()?)?;
        unpacked.take(UNPACKED_MAX_BYTES + 1).read_to_end(&mut json).context("damaged evidence")?;
    } else {
        open()?.take(UNPACKED_MAX_BYTES + 1).read_to_end(&mut json)?;
    }
    ensure!(json.len() as u64 <= UNPACKED_MAX_BYTES, "evidence of more than {UNPACKED_MAX_BYTES} bytes");
    serde_json::from_slice(&json).with_context(|| format!("{} is no evidence of a run", file.display()))
}
