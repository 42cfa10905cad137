//! A profile as text, JSON and files.

use crate::model::Side;
use crate::model::profile::{Cause, FunctionChange, Profile, ProfileSummary, TouchedBy};
use crate::profile::summary::in_percent;
use crate::profile::{flame, folded, pprof};
use crate::suite::criterion::Allocations;
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Version of the JSON.
const SCHEMA: u32 = 1;
/// Of a name in a line of text; the files have all of it.
const NAME_CHARS_MAX: usize = 70;

/// What is printed.
pub(super) struct Told<'a> {
    summary: ProfileSummary,
    allocations: BTreeMap<Side, Allocations>,
    sides: Vec<Side>,
    profile: &'a Profile,
}

#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    #[serde(flatten)]
    summary: &'a ProfileSummary,
    period_ns: u64,
    kernel: bool,
    /// Of one unit of work, by valgrind's dhat.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    allocations: &'a BTreeMap<Side, Allocations>,
    files: &'a [PathBuf],
}

impl<'a> Told<'a> {
    pub(super) fn of(
        profile: &'a Profile,
        summary: ProfileSummary,
        allocations: Vec<(Side, Allocations)>,
    ) -> Told<'a> {
        Told { summary, allocations: allocations.into_iter().collect(), sides: sides(profile), profile }
    }

    /// Whether a function changed for certain.
    pub(super) fn changed(&self) -> bool {
        self.summary.cause.is_some() || self.summary.functions.iter().any(|function| function.changed)
    }

    pub(super) fn json(&self, files: &[PathBuf]) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&Json {
            schema: SCHEMA,
            summary: &self.summary,
            period_ns: self.profile.period_ns,
            kernel: self.profile.kernel,
            allocations: &self.allocations,
            files,
        })?)
    }

    pub(super) fn words(&self, files: &[PathBuf]) -> String {
        let mut out = String::new();
        // Writing into memory does not fail.
        let _ = self.write(&mut out, files);
        out
    }

    fn write(&self, out: &mut String, files: &[PathBuf]) -> std::fmt::Result {
        let ProfileSummary { benchmark, unit, visits, .. } = &self.summary;
        let unit = unit.as_str();
        let samples = self.summary.base_samples + self.summary.head_samples;
        writeln!(out, "{benchmark}: {samples} samples over {visits} visits, per {unit}")?;
        match self.sides.as_slice() {
            [side] => {
                let ns = if *side == Side::Base { self.summary.base_ns } else { self.summary.head_ns };
                writeln!(out, "CPU time of a{}: {}\n", n_unit(unit), time(ns))?;
                self.table_of_one(out, *side, ns)?;
            }
            _ => self.difference(out, unit)?,
        }
        for (side, allocations) in &self.allocations {
            let of = if self.sides.len() > 1 { format!(" ({})", side.as_str()) } else { String::new() };
            let (blocks, bytes) = (allocations.blocks, allocations.bytes);
            writeln!(out, "allocations of a{}{of}: {blocks:.1} blocks, {bytes:.0} bytes", n_unit(unit))?;
        }
        for note in &self.summary.notes {
            writeln!(out, "note: {note}")?;
        }
        for file in files {
            writeln!(out, "wrote {}", file.display())?;
        }
        Ok(())
    }

    fn table_of_one(&self, out: &mut String, side: Side, all: f64) -> std::fmt::Result {
        writeln!(out, "     self   with callees  function")?;
        for function in &self.summary.functions {
            let (own, total) = match side {
                Side::Base => (function.base_ns, function.base_total_ns),
                Side::Head => (function.head_ns, function.head_total_ns),
            };
            let share = |ns: f64| if all > 0.0 { ns / all * 100.0 } else { 0.0 };
            writeln!(out, "  {:5.1} %        {:5.1} %  {}", share(own), share(total), short(&function.name))?;
        }
        writeln!(out)
    }

    fn difference(&self, out: &mut String, unit: &str) -> std::fmt::Result {
        let (base, head) = (time(self.summary.base_ns), time(self.summary.head_ns));
        let change = in_percent(&self.summary.change);
        writeln!(out, "CPU time of a{}: {base} -> {head}, {change}", n_unit(unit))?;
        if let Some(cause) = &self.summary.cause {
            writeln!(out, "{}", cause_in_words(cause, unit))?;
        }
        if let Some(doubt) = &self.summary.doubt {
            writeln!(out, "but: {doubt}")?;
        }
        writeln!(out, "\n        base        head  change of its own time (95 % CI)  function")?;
        for function in &self.summary.functions {
            let mark = if function.changed { "*" } else { " " };
            writeln!(
                out,
                "{mark} {:>10}  {:>10}  {:<32}  {}{}",
                time(function.base_ns),
                time(function.head_ns),
                if function.base_ns + function.head_ns > 0.0 {
                    in_percent(&function.change)
                } else {
                    "-".into()
                },
                short(&function.name),
                touched(function)
            )?;
        }
        writeln!(out, "  * changed for certain, beyond what the layout of code can do\n")
    }
}

/// `more, because normalize takes +96 % (90 to 103) samples per iteration (1.2 µs more), called from handle; its code
/// changed`
pub(in crate::cli) fn cause_in_words(cause: &Cause, unit: &str) -> String {
    let way = if cause.more_ns > 0.0 { "more" } else { "less" };
    let callees = if cause.with_callees { " with what it calls" } else { "" };
    let mut words = format!(
        "{way}, because {}{callees} takes {} samples per {unit} ({} {way})",
        short(&cause.function),
        in_percent(&cause.change),
        time(cause.more_ns.abs())
    );
    if let Some(caller) = &cause.caller {
        words.push_str(&format!(", called from {}", short(caller)));
    }
    words.push_str(match cause.touched {
        Some(TouchedBy::Code) => "; its code changed",
        Some(TouchedBy::File) => "; its file changed",
        None => "",
    });
    words
}

fn touched(function: &FunctionChange) -> &'static str {
    match function.touched {
        Some(TouchedBy::Code) => "  (code changed)",
        Some(TouchedBy::File) => "  (file changed)",
        None => "",
    }
}

fn n_unit(unit: &str) -> String {
    if unit.starts_with('i') { format!("n {unit}") } else { format!(" {unit}") }
}

fn time(ns: f64) -> String {
    super::super::text::value(ns, crate::model::Unit::Nanoseconds)
}

fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn sides(profile: &Profile) -> Vec<Side> {
    let done = |side: Side| {
        let of = |visit: &crate::model::profile::ProfileVisit| {
            if side == Side::Base { visit.base } else { visit.head }
        };
        profile.visits.iter().map(of).sum::<f64>() > 0.0
    };
    Side::BOTH.into_iter().filter(|side| done(*side)).collect()
}

/// Writes the files of a profile; which they are.
pub(super) fn write(profile: &Profile, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let sides = sides(profile);
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    if sides.len() > 1 {
        files.push(("difference.svg".into(), flame::difference(profile)?));
    }
    for side in &sides {
        let prefix = if sides.len() > 1 { format!("{}-", side.as_str()) } else { String::new() };
        files.push((format!("{prefix}flame.svg"), flame::of_side(profile, *side)?));
        files.push((format!("{prefix}stacks.folded"), folded::folded(profile, *side).into_bytes()));
        files.push((format!("{prefix}profile.pb.gz"), pprof::encode(profile, *side)?));
    }
    let mut written = Vec::new();
    for (name, bytes) in files {
        let path = directory.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BenchmarkId;
    use crate::model::profile::{ProfileStack, ProfileVisit, Touched, WorkUnit};

    fn sample(base: u32) -> Profile {
        let stack = |frames: &[u32], base: u32, head: u32| ProfileStack {
            frames: frames.to_vec(),
            base: vec![base; 4],
            head: vec![head; 4],
        };
        Profile {
            suite: "routing".into(),
            benchmark: BenchmarkId("route/match/1000".into()),
            unit: WorkUnit::Iteration,
            period_ns: 499_979,
            kernel: true,
            names: ["main", "bench::run", "gateway::path::normalize", "gateway::route::hash"]
                .map(String::from)
                .into(),
            stacks: vec![stack(&[0, 1, 2], base, 400), stack(&[0, 1, 3], base * 3 / 2, 300)],
            visits: vec![ProfileVisit { base: if base > 0 { 50_000.0 } else { 0.0 }, head: 50_000.0 }; 4],
            touched: Some(Touched {
                functions: vec!["gateway::path::normalize".into()],
                complete: true,
                modules: vec![],
            }),
            notes: vec!["3 samples were lost beside 4800: the machine was busy".into()],
        }
    }

    fn words(profile: &Profile) -> String {
        let allocations = vec![(Side::Head, Allocations { blocks: 2.0, bytes: 96.0 })];
        Told::of(profile, crate::profile::summarise(profile), allocations).words(&["out/flame.svg".into()])
    }

    #[test]
    fn a_difference_reads_well() {
        insta::assert_snapshot!(words(&sample(200)));
    }

    #[test]
    fn one_side_reads_well() {
        insta::assert_snapshot!(words(&sample(0)));
    }

    #[test]
    fn files_are_those_of_the_sides() {
        let place = tempfile::tempdir().unwrap();
        let names = |profile: &Profile, directory: &str| -> Vec<String> {
            let written = write(profile, &place.path().join(directory)).unwrap();
            written.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&sample(0), "one"), ["flame.svg", "stacks.folded", "profile.pb.gz"]);
        assert_eq!(
            names(&sample(200), "two"),
            [
                "difference.svg",
                "base-flame.svg",
                "base-stacks.folded",
                "base-profile.pb.gz",
                "head-flame.svg",
                "head-stacks.folded",
                "head-profile.pb.gz"
            ]
        );
        let json: serde_json::Value = serde_json::from_str(
            &Told::of(&sample(200), crate::profile::summarise(&sample(200)), vec![]).json(&[]).unwrap(),
        )
        .unwrap();
        assert_eq!(json["cause"]["function"], "gateway::path::normalize");
        assert_eq!(json["unit"], "iteration");
    }
}
