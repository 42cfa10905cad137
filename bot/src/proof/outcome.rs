//! From what tests said on the graft and on the head to whether the fix proves itself. Pure.

use crate::judgement::Proof;
use perfsuite::model::checks::{Ended, ProofRan, Ran, TestRan};
use std::collections::{BTreeMap, BTreeSet};

/// One test: the target that holds it, and its name.
type TestName<'a> = (&'a str, &'a str);

/// Every test of some targets, after one run.
type Results<'a> = BTreeMap<TestName<'a>, &'a Ended>;

fn results(tests: &[TestRan]) -> Results<'_> {
    tests.iter().map(|test| ((test.target.as_str(), test.test.as_str()), &test.ended)).collect()
}

/// Decides. Every run with the fix counts.
pub fn decide(ran: &ProofRan) -> Proof {
    let graft = match &ran.graft {
        Ran::Tests { tests } => results(tests),
        Ran::DoesNotCompile { .. } if matches!(ran.base, Some(Ran::DoesNotCompile { .. })) => {
            return Proof::Unclear {
                reason: "the base does not build, with or without the new tests".into(),
            };
        }
        Ran::DoesNotCompile { output } => return Proof::DoesNotCompile { output: output.clone() },
    };
    let mut heads: Vec<Results<'_>> = Vec::new();
    for head in &ran.heads {
        match head {
            Ran::Tests { tests } => heads.push(results(tests)),
            Ran::DoesNotCompile { .. } => return Proof::Unclear { reason: "the head does not build".into() },
        }
    }
    let failing: Vec<(TestName<'_>, &str)> = graft
        .iter()
        .filter_map(|(name, ended)| match ended {
            Ended::Failed { words } => Some((*name, words.as_str())),
            _ => None,
        })
        .collect();
    let always_passes = |name: &TestName<'_>| {
        !heads.is_empty() && heads.iter().all(|results| results.get(name) == Some(&&Ended::Passed))
    };
    let proven: Vec<_> = failing.iter().filter(|(name, _)| always_passes(name)).collect();
    if let Some((_, words)) = proven.first() {
        let tests = proven.iter().map(|(name, _)| named(name)).collect();
        return Proof::Proven { tests, words: (*words).to_owned() };
    }
    if let Some((_, words)) = failing.first() {
        let tests = failing.iter().map(|(name, _)| named(name)).collect();
        return Proof::FailsWith { tests, words: (*words).to_owned() };
    }
    if let Some((name, words)) = graft.iter().find_map(|(name, ended)| match ended {
        Ended::Crashed { words } => Some((name, words)),
        _ => None,
    }) {
        return Proof::Unclear {
            reason: format!("without the fix `{}` ends without a verdict: {words}", name.1),
        };
    }
    let passing: BTreeSet<&TestName<'_>> =
        graft.iter().filter(|(_, ended)| ***ended == Ended::Passed).map(|(name, _)| name).collect();
    if passing.is_empty() {
        return Proof::Unclear { reason: "no test ran".into() };
    }
    Proof::PassesWithout { tests: passing.into_iter().map(named).collect() }
}

fn named((target, test): &TestName<'_>) -> String {
    format!("{target}: {test}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(tests: &[(&str, Ended)]) -> Ran {
        let test = |(name, ended): &(&str, Ended)| TestRan {
            target: "t".into(),
            test: (*name).to_owned(),
            ended: ended.clone(),
        };
        Ran::Tests { tests: tests.iter().map(test).collect() }
    }

    fn failed() -> Ended {
        Ended::Failed { words: "assertion failed".into() }
    }

    #[test]
    fn a_fix_is_proven_by_a_test_that_fails_without_it() {
        use Ended::{Crashed, Ignored, Passed};
        let broken = Ran::DoesNotCompile { output: "error".into() };
        let kind = |graft: &Ran, base: Option<&Ran>, heads: &[Ran]| {
            let ran = ProofRan { graft: graft.clone(), base: base.cloned(), heads: heads.to_vec() };
            match decide(&ran) {
                Proof::Proven { .. } => "proven",
                Proof::NoTests => "none",
                Proof::PassesWithout { .. } => "passes without",
                Proof::DoesNotCompile { .. } => "does not compile",
                Proof::FailsWith { .. } => "fails with",
                Proof::Unclear { .. } => "unclear",
            }
        };
        let good = ran(&[("a", Passed), ("b", Passed)]);
        let fails = ran(&[("a", Passed), ("b", failed())]);
        assert_eq!(kind(&fails, None, &[good.clone(), good.clone()]), "proven");
        assert_eq!(kind(&good, None, std::slice::from_ref(&good)), "passes without");
        assert_eq!(kind(&broken, Some(&good), &[]), "does not compile");
        assert_eq!(kind(&broken, Some(&broken), &[]), "unclear");
        assert_eq!(kind(&fails, None, std::slice::from_ref(&fails)), "fails with");
        assert_eq!(kind(&fails, None, &[good.clone(), fails.clone()]), "fails with", "not every time");
        assert_eq!(kind(&fails, None, &[broken]), "unclear");
        assert_eq!(kind(&fails, None, &[]), "fails with", "the head was not asked");
        assert_eq!(kind(&ran(&[("b", Ignored)]), None, &[ran(&[("b", Ignored)])]), "unclear");
        let crashes = ran(&[("b", Crashed { words: "signal 6".into() })]);
        assert_eq!(kind(&crashes, None, &[good]), "unclear");
    }
}
