//! Which benchmarks there are on both sides, before the first sample: their number shares the false-alarm budget.

use super::Bench;
use super::listing::{Listed, list};
use super::process::Broken;
use super::same_code::{Listing, same_code};
use crate::artifact::{BenchExecutable, Stopped, say};
use crate::model::wire::Phase;
use crate::model::{BenchmarkId, Failure, FailureReason, OneSided, Side, SuiteSpec, Unaffected};
use std::collections::{BTreeMap, BTreeSet};

/// Benchmarks of one run. Each costs a second and more, so a list of generated names beyond this ends no run in time.
const BENCHMARKS_MAX: usize = 2_000;

/// One benchmark that both sides have.
#[derive(Clone, Debug)]
pub struct Benchmark {
    pub suite: String,
    pub id: BenchmarkId,
    /// As the executable calls it.
    pub name: String,
    pub base: BenchExecutable,
    pub head: BenchExecutable,
}

impl Benchmark {
    pub(super) fn executable(&self, side: Side) -> &BenchExecutable {
        match side {
            Side::Base => &self.base,
            Side::Head => &self.head,
        }
    }
}

/// What is to be measured, and what cannot be.
#[derive(Debug, Default)]
pub struct Inventory {
    pub benchmarks: Vec<Benchmark>,
    pub one_sided: Vec<OneSided>,
    pub failures: Vec<Failure>,
    /// `package/bench` of executables whose bytes are equal on both sides.
    pub identical: Vec<String>,
    /// Benchmarks of other executables whose machine code is the same.
    pub unaffected: Vec<Unaffected>,
    pub notes: Vec<String>,
}

/// Lists the benchmarks of all criterion suites on both sides.
pub fn take(bench: &Bench, suites: &[SuiteSpec]) -> anyhow::Result<Inventory> {
    let mut inventory = Inventory::default();
    for suite in suites {
        let of = |side: Side| bench.side(side).benches.get(&suite.name).cloned().unwrap_or_default();
        let (base, head) = (of(Side::Base), of(Side::Head));
        if base.is_empty() && head.is_empty() {
            if matches!(suite.kind, crate::model::SuiteKind::Criterion(_)) {
                let output = "neither side has a criterion bench of this package and name";
                inventory.failures.push(whole_suite(&suite.name, None, FailureReason::Refused, output));
            }
            continue;
        }
        take_suite(bench, &suite.name, &base, &head, &mut inventory)?;
    }
    if let (Some(first), false) = (bench.changed_data.first(), inventory.benchmarks.is_empty()) {
        let more = match bench.changed_data.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        inventory.notes.push(format!(
            "benchmarks were measured whether or not their machine code differs, since they may read what changed: {first}{more}"
        ));
    }
    if inventory.benchmarks.len() > BENCHMARKS_MAX {
        let left = inventory.benchmarks.len() - BENCHMARKS_MAX;
        inventory.benchmarks.truncate(BENCHMARKS_MAX);
        inventory
            .notes
            .push(format!("{left} benchmarks beyond the first {BENCHMARKS_MAX} were not measured"));
    }
    Ok(inventory)
}

/// The executables of one bench, on the sides that have it.
#[derive(Default)]
struct Pair<'a> {
    base: Option<&'a BenchExecutable>,
    head: Option<&'a BenchExecutable>,
}

fn take_suite(
    bench: &Bench,
    suite: &str,
    base: &[BenchExecutable],
    head: &[BenchExecutable],
    inventory: &mut Inventory,
) -> anyhow::Result<()> {
    let key = |e: &BenchExecutable| (e.target.package.clone(), e.target.bench.clone());
    let mut pairs: BTreeMap<(String, String), Pair> = BTreeMap::new();
    for executable in base {
        pairs.entry(key(executable)).or_default().base = Some(executable);
    }
    for executable in head {
        pairs.entry(key(executable)).or_default().head = Some(executable);
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for ((package, name), pair) in pairs {
        if let (Some(base), Some(head)) = (pair.base, pair.head)
            && base.digest == head.digest
            && bench.changed_data.is_empty()
            && !bench.all
        {
            inventory.identical.push(format!("{package}/{name}"));
            continue;
        }
        say(bench.observer, Phase::Measuring, &format!("listing the benchmarks of {package}/{name}"));
        let mut listed: [Option<Vec<Listed>>; 2] = [None, None];
        for (side, executable) in Side::BOTH.into_iter().zip([pair.base, pair.head]) {
            let Some(executable) = executable else { continue };
            match list(bench, side, executable)?.ok_or(Stopped)? {
                Ok(found) => listed[side as usize] = Some(found),
                Err(Broken { reason, output }) => {
                    let output = format!("bench `{name}` could not list its benchmarks\n{output}");
                    inventory.failures.push(whole_suite(suite, Some(side), reason, &output));
                }
            }
        }
        let [in_base, in_head] = listed;
        let unlisted = |found: &Option<Vec<Listed>>, has: bool| has && found.is_none();
        // A side that could not be listed is a failure, not a side without benchmarks.
        if unlisted(&in_base, pair.base.is_some()) || unlisted(&in_head, pair.head.is_some()) {
            continue;
        }
        let (in_base, in_head) = (in_base.unwrap_or_default(), in_head.unwrap_or_default());
        let has = |found: &[Listed], name: &str| found.iter().any(|listed| listed.name == name);
        for (side, found, others) in [(Side::Base, &in_base, &in_head), (Side::Head, &in_head, &in_base)] {
            let only = found.iter().filter(|listed| !has(others, &listed.name));
            inventory.one_sided.extend(only.map(|only| OneSided {
                suite: suite.to_owned(),
                benchmark: BenchmarkId(only.name.clone()),
                side,
            }));
        }
        let (Some(base), Some(head)) = (pair.base, pair.head) else { continue };
        let same = same_code(
            &Listing { executable: base, listed: &in_base },
            &Listing { executable: head, listed: &in_head },
        );
        if let Err(reason) = &same {
            let words = format!("the machine code of {package}/{name} was not compared: {reason}");
            bench.observer.log(&words);
            inventory.notes.push(words);
        }
        let same = same.unwrap_or_default();
        for listed in in_base.iter().filter(|listed| has(&in_head, &listed.name)) {
            let called = &listed.name;
            let timed = |found: &[Listed]| found.iter().any(|listed| listed.name == *called && listed.timed);
            if !timed(&in_base) || !timed(&in_head) {
                inventory.notes.push(format!("{called} is not measured: its measurement is not time"));
                continue;
            }
            // Two executables of a suite may use one name.
            let id = if seen.insert(called.clone()) { called.clone() } else { format!("{name}/{called}") };
            let id = BenchmarkId(id);
            if let Some(&functions) = same.get(called).filter(|_| bench.changed_data.is_empty() && !bench.all)
            {
                inventory.unaffected.push(Unaffected { suite: suite.to_owned(), benchmark: id, functions });
                continue;
            }
            inventory.benchmarks.push(Benchmark {
                suite: suite.to_owned(),
                id,
                name: called.clone(),
                base: base.clone(),
                head: head.clone(),
            });
        }
    }
    Ok(())
}

fn whole_suite(suite: &str, side: Option<Side>, reason: FailureReason, output: &str) -> Failure {
    Failure { suite: suite.to_owned(), benchmark: None, side, reason, output: output.to_owned() }
}
