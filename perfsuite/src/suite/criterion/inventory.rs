//! Which benchmarks there are on both sides, before the first sample: their number shares the false-alarm budget.

use super::Bench;
use super::listing::{Listed, list};
use super::process::Broken;
use super::same_code::{Listing, Lone, renamed, same_code};
use crate::artifact::{BenchExecutable, Stopped, say};
use crate::model::wire::Phase;
use crate::model::{BenchmarkId, Failure, FailureReason, Metric, OneSided, Side, SuiteSpec, Unaffected};
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
    /// What its values are.
    pub metric: Metric,
    /// Its machine code is the same on both sides: measured because everything is to be.
    pub unaffected: bool,
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
            let foreign = bench.base.foreign || bench.head.foreign;
            if matches!(suite.kind, crate::model::SuiteKind::Criterion(_)) && !foreign {
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
    let all_identical = pairs.values().all(|pair| pair.is_identical() && bench.changed_data.is_empty());
    let mut listed = Vec::new();
    for ((package, name), pair) in pairs {
        let called = format!("{package}/{name}");
        let identical = pair.is_identical() && bench.changed_data.is_empty();
        if identical && !bench.all {
            inventory.identical.push(called.clone());
            // Asked all the same where others are run: ids must not depend on which executables are identical.
            if all_identical {
                continue;
            }
        }
        say(bench.observer, Phase::Measuring, &format!("listing the benchmarks of {called}"));
        let [base, head] = list_pair(bench, suite, &name, &pair, identical, inventory)?;
        let unlisted = |found: &Option<Vec<Listed>>, has: bool| has && found.is_none();
        // A side that could not be listed is a failure, not a side without benchmarks.
        if unlisted(&base, pair.base.is_some()) || unlisted(&head, pair.head.is_some()) {
            continue;
        }
        let listing = |executable: Option<&BenchExecutable>, found: Option<Vec<Listed>>| {
            Some(Listing { executable: executable?.clone(), listed: found? })
        };
        let (base, head) = (listing(pair.base, base), listing(pair.head, head));
        listed.push(Executables { name, called, identical, base, head });
    }
    let ids = Ids::of(&listed);
    for pair in &listed {
        take_pair(bench, suite, pair, &ids, inventory);
    }
    one_sided(suite, &listed, &ids, inventory);
    Ok(())
}

impl Pair<'_> {
    fn is_identical(&self) -> bool {
        matches!((self.base, self.head), (Some(base), Some(head)) if base.digest == head.digest)
    }
}

/// One bench with what its executables announced, on the sides that have it.
struct Executables {
    name: String,
    /// `package/bench`
    called: String,
    identical: bool,
    base: Option<Listing>,
    head: Option<Listing>,
}

impl Executables {
    fn names(&self) -> BTreeSet<&str> {
        let both = [&self.base, &self.head].into_iter().flatten();
        both.flat_map(|side| &side.listed).map(|listed| listed.name.as_str()).collect()
    }
}

/// What benchmarks are called: as in their executable, with the executable's name in front where several executables of
/// the suite, on either side, have one of that name.
struct Ids(BTreeMap<String, usize>);

impl Ids {
    fn of(executables: &[Executables]) -> Ids {
        let mut holders = BTreeMap::new();
        for name in executables.iter().flat_map(Executables::names) {
            *holders.entry(name.to_owned()).or_insert(0) += 1;
        }
        Ids(holders)
    }

    fn id(&self, executable: &str, benchmark: &str) -> BenchmarkId {
        BenchmarkId(match self.0.get(benchmark) {
            Some(2..) => format!("{executable}/{benchmark}"),
            _ => benchmark.to_owned(),
        })
    }
}

/// Asks both sides, or where they are the same one of them. What cannot be listed is noted as a failure.
fn list_pair(
    bench: &Bench,
    suite: &str,
    name: &str,
    pair: &Pair,
    identical: bool,
    inventory: &mut Inventory,
) -> anyhow::Result<[Option<Vec<Listed>>; 2]> {
    let mut listed: [Option<Vec<Listed>>; 2] = [None, None];
    let mut cut_short = [false; 2];
    for (side, executable) in Side::BOTH.into_iter().zip([pair.base, pair.head]) {
        let Some(executable) = executable else { continue };
        if identical && side == Side::Head {
            listed[1] = listed[0].clone();
            cut_short[1] = cut_short[0];
            continue;
        }
        match list(bench, side, executable)?.ok_or(Stopped)? {
            Ok(found) => {
                listed[side as usize] = Some(found.benchmarks);
                cut_short[side as usize] = found.cut_short;
            }
            // Nothing of it is to be measured.
            Err(_) if identical && !bench.all => return Ok([None, None]),
            Err(Broken { reason, output }) => {
                let output = format!("bench `{name}` could not list its benchmarks\n{output}");
                inventory.failures.push(whole_suite(suite, Some(side), reason, &output));
            }
        }
    }
    let words = "ends by itself before it has named all of its benchmarks";
    match cut_short {
        [false, false] => {}
        _ if identical && !bench.all => {}
        [true, true] => inventory
            .notes
            .push(format!("bench `{name}` {words}, on both sides: what comes after that is not compared")),
        // What one side alone leaves out would pass for removed.
        [on_base, _] => {
            let side = if on_base { Side::Base } else { Side::Head };
            let output = format!("bench `{name}` {words}, on the {} alone", side.as_str());
            inventory.failures.push(whole_suite(suite, Some(side), FailureReason::BadOutput, &output));
        }
    }
    Ok(listed)
}

/// The benchmarks that both sides have: to be measured, or known to be the same.
fn take_pair(bench: &Bench, suite: &str, pair: &Executables, ids: &Ids, inventory: &mut Inventory) {
    let (Some(base), Some(head)) = (&pair.base, &pair.head) else { return };
    if pair.identical && !bench.all {
        return;
    }
    let same = match pair.identical {
        true => Ok(base.listed.iter().map(|listed| (listed.name.clone(), 0)).collect()),
        false => same_code(base, head),
    };
    if let Err(reason) = &same {
        let words = format!("the machine code of {} was not compared: {reason}", pair.called);
        bench.observer.log(&words);
        inventory.notes.push(words);
    }
    let same = same.unwrap_or_default();
    for listed in base.listed.iter().filter(|listed| head.has(&listed.name)) {
        let called = &listed.name;
        let id = ids.id(&pair.name, called);
        if !base.timed(called) || !head.timed(called) {
            // The same measurement on both sides, or values of two kinds would be compared.
            let undriven = base.executable.undriven.as_deref().zip(head.executable.undriven.as_deref());
            if let (Some((base, head)), false, false) = (undriven, base.timed(called), head.timed(called)) {
                inventory.notes.push(format!(
                    "{called} has a measurement of its own, so it was measured with criterion itself, less sharply"
                ));
                inventory.benchmarks.push(Benchmark {
                    suite: suite.to_owned(),
                    id,
                    name: called.clone(),
                    metric: Metric::Own,
                    unaffected: false,
                    base: base.clone(),
                    head: head.clone(),
                });
            } else {
                inventory.notes.push(format!("{called} is not measured: its measurement is not time"));
            }
            continue;
        }
        let same = same.get(called).filter(|_| bench.changed_data.is_empty());
        if let Some(&functions) = same {
            let (suite, benchmark) = (suite.to_owned(), id.clone());
            inventory.unaffected.push(Unaffected { suite, benchmark, functions });
            if !bench.all {
                continue;
            }
        }
        inventory.benchmarks.push(Benchmark {
            suite: suite.to_owned(),
            id,
            name: called.clone(),
            metric: Metric::Time,
            unaffected: same.is_some(),
            base: base.executable.clone(),
            head: head.executable.clone(),
        });
    }
}

/// Benchmarks of one side, with what they are probably called on the other.
fn one_sided(suite: &str, executables: &[Executables], ids: &Ids, inventory: &mut Inventory) {
    let mut only: [Vec<Lone>; 2] = [vec![], vec![]];
    for pair in executables {
        for (at, own, other) in [(0, &pair.base, &pair.head), (1, &pair.head, &pair.base)] {
            let Some(own) = own else { continue };
            let missing = |name: &str| other.as_ref().is_none_or(|other| !other.has(name));
            let lone = own.listed.iter().filter(|listed| missing(&listed.name));
            only[at].extend(lone.map(|listed| Lone {
                listing: own,
                name: &listed.name,
                id: ids.id(&pair.name, &listed.name),
            }));
        }
    }
    let [base, head] = only;
    let renamed = renamed(&base, &head);
    let other = |side: Side, at: usize| {
        let found = renamed.iter().find(|pair| pair[side as usize] == at)?;
        Some(match side {
            Side::Base => head[found[1]].id.clone(),
            Side::Head => base[found[0]].id.clone(),
        })
    };
    for (side, lone) in [(Side::Base, &base), (Side::Head, &head)] {
        inventory.one_sided.extend(lone.iter().enumerate().map(|(at, lone)| OneSided {
            suite: suite.to_owned(),
            benchmark: lone.id.clone(),
            side,
            other_name: other(side, at),
        }));
    }
}

fn whole_suite(suite: &str, side: Option<Side>, reason: FailureReason, output: &str) -> Failure {
    Failure { suite: suite.to_owned(), benchmark: None, side, reason, output: output.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{BenchTarget, Harness};

    fn executable(bench: &str) -> BenchExecutable {
        BenchExecutable {
            target: BenchTarget {
                package: "p".into(),
                bench: bench.into(),
                directory: Default::default(),
                required_features: vec![],
            },
            harness: Harness::Duet,
            program: Default::default(),
            digest: String::new(),
            map: None,
            undriven: None,
        }
    }

    fn listing(bench: &str, names: &[&str]) -> Listing {
        let listed = |name: &&str| Listed { name: (*name).to_owned(), entry: None, timed: true };
        Listing { executable: executable(bench), listed: names.iter().map(listed).collect() }
    }

    fn pair(bench: &str, base: Option<&[&str]>, head: Option<&[&str]>) -> Executables {
        let of = |names: Option<&[&str]>| names.map(|names| listing(bench, names));
        let (name, called) = (bench.to_owned(), format!("p/{bench}"));
        Executables { name, called, identical: false, base: of(base), head: of(head) }
    }

    #[test]
    fn ids_are_those_of_either_side() {
        let pairs = [
            pair("one", Some(&["a", "b", "gone"]), Some(&["a", "b"])),
            pair("two", Some(&["a"]), Some(&["a", "gone"])),
            pair("three", None, Some(&["c"])),
        ];
        let ids = Ids::of(&pairs);
        for (executable, benchmark, expect) in [
            ("one", "a", "one/a"),
            ("two", "a", "two/a"),
            ("one", "b", "b"),
            // One holder on each side: the same id would mean two benchmarks.
            ("one", "gone", "one/gone"),
            ("two", "gone", "two/gone"),
            ("three", "c", "c"),
        ] {
            assert_eq!(ids.id(executable, benchmark).0, expect);
        }
    }

    #[test]
    fn what_one_side_alone_has_is_listed() {
        let pairs = [pair("one", Some(&["a", "b"]), Some(&["b", "c"])), pair("two", None, Some(&["d"]))];
        let mut inventory = Inventory::default();
        one_sided("s", &pairs, &Ids::of(&pairs), &mut inventory);
        let told: Vec<_> =
            inventory.one_sided.iter().map(|one| (one.benchmark.0.as_str(), one.side)).collect();
        assert_eq!(told, [("a", Side::Base), ("c", Side::Head), ("d", Side::Head)]);
        assert!(inventory.one_sided.iter().all(|one| one.other_name.is_none()), "no code was compared");
    }
}
