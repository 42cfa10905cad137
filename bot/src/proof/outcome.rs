//! From what tests said on the graft and on the head to whether the fix proves itself. Pure.

use crate::text;
use std::collections::{BTreeMap, BTreeSet};

/// One test: the target that holds it, and its name.
pub type TestName = (String, String);

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Passed,
    Ignored,
    /// It said so itself: an assertion, or another panic, with the first lines of its words.
    Failed {
        words: String,
    },
    /// It took its whole process with it, or never came to an end.
    Crashed {
        words: String,
    },
}

/// Every test of some targets, after one run.
pub type Results = BTreeMap<TestName, Ended>;

/// What came of building and running tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// The compiler's words.
    DoesNotCompile {
        output: String,
    },
    Tests(Results),
}

/// Whether a fix proves itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Proof {
    /// These fail without the fix, by their own words, and pass with it, every time.
    Proven { tests: Vec<String>, words: String },
    /// The change brings no test.
    NoTests,
    /// The change's tests pass without the fix.
    PassesWithout { tests: Vec<String> },
    /// The change's tests do not compile without the fix, so they show nothing of it.
    DoesNotCompile { output: String },
    /// The tests that fail without the fix fail with it too, or not always pass.
    FailsWith { tests: Vec<String>, words: String },
    /// It cannot be told, and why.
    Unclear { reason: String },
}

impl Proof {
    pub fn proven(&self) -> bool {
        matches!(self, Self::Proven { .. })
    }
}

/// Decides. `graft`: the head's tests upon the base; `base`: the base as it is, where it was asked; `heads`: the head's
/// own runs, of which every one counts.
pub fn decide(graft: &Ran, base: Option<&Ran>, heads: &[Ran]) -> Proof {
    let results = match graft {
        Ran::Tests(results) => results,
        Ran::DoesNotCompile { .. } if matches!(base, Some(Ran::DoesNotCompile { .. })) => {
            return Proof::Unclear {
                reason: "the base does not build, with or without the new tests".into(),
            };
        }
        Ran::DoesNotCompile { output } => return Proof::DoesNotCompile { output: output.clone() },
    };
    let mut all: Vec<&Results> = Vec::new();
    for head in heads {
        match head {
            Ran::Tests(results) => all.push(results),
            Ran::DoesNotCompile { .. } => return Proof::Unclear { reason: "the head does not build".into() },
        }
    }
    let failing: Vec<(&TestName, &str)> = results
        .iter()
        .filter_map(|(name, ended)| match ended {
            Ended::Failed { words } => Some((name, words.as_str())),
            _ => None,
        })
        .collect();
    let always_passes = |name: &TestName| {
        !all.is_empty() && all.iter().all(|results| results.get(name) == Some(&Ended::Passed))
    };
    let proven: Vec<&(&TestName, &str)> = failing.iter().filter(|(name, _)| always_passes(name)).collect();
    let names = |tests: &mut dyn Iterator<Item = &TestName>| {
        tests.map(|(target, name)| format!("{target}: {name}")).collect::<Vec<String>>()
    };
    if let Some((_, words)) = proven.first() {
        let tests = names(&mut proven.iter().map(|(name, _)| *name));
        return Proof::Proven { tests, words: (*words).to_owned() };
    }
    if let Some((_, words)) = failing.first() {
        let tests = names(&mut failing.iter().map(|(name, _)| *name));
        return Proof::FailsWith { tests, words: (*words).to_owned() };
    }
    if let Some((name, Ended::Crashed { words })) =
        results.iter().find(|(_, e)| matches!(e, Ended::Crashed { .. }))
    {
        return Proof::Unclear {
            reason: format!("without the fix `{}` ends without a verdict: {words}", name.1),
        };
    }
    let passing: BTreeSet<&TestName> =
        results.iter().filter(|(_, ended)| **ended == Ended::Passed).map(|(name, _)| name).collect();
    if passing.is_empty() {
        return Proof::Unclear { reason: "no test ran".into() };
    }
    Proof::PassesWithout { tests: names(&mut passing.into_iter()) }
}

/// Reads what Rust's own test harness printed, and how the process ended (`None`: by itself, with a verdict).
///
/// What prints no such lines is a test of its own kind: one, named as its target.
pub fn read(target: &str, output: &str, ended: Result<i32, String>) -> Results {
    /// Words of one failure.
    const WORDS_MAX_LINES: usize = 6;
    const LINE_MAX_GRAPHEMES: usize = 300;
    let mut results = Results::new();
    let mut section: Option<(String, Vec<String>)> = None;
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            close(&mut section, &mut words);
            section = Some((name.to_owned(), Vec::new()));
        } else if line == "failures:" {
            close(&mut section, &mut words);
        } else if let Some((_, lines)) = &mut section {
            if lines.len() < WORDS_MAX_LINES && !line.trim().is_empty() && !line.starts_with("note: ") {
                lines.push(text::cut(line, LINE_MAX_GRAPHEMES));
            }
        } else if let Some((name, verdict)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            let name = name.strip_suffix(" - should panic").unwrap_or(name);
            let ended = match verdict.split([' ', ',']).next().unwrap_or_default() {
                "ok" => Ended::Passed,
                "ignored" => Ended::Ignored,
                "FAILED" => Ended::Failed { words: String::new() },
                _ => continue,
            };
            results.insert((target.to_owned(), name.to_owned()), ended);
        }
    }
    close(&mut section, &mut words);
    for ((_, name), ended) in &mut results {
        if let Ended::Failed { words: said } = ended {
            *said = words.remove(name).unwrap_or_else(|| "failed".to_owned());
        }
    }
    let whole = (target.to_owned(), "(the whole target)".to_owned());
    let spoke = output.contains("\nrunning ") || output.starts_with("running ");
    let of_whole = match ended {
        Ok(_) if spoke => None,
        Ok(0) => Some(Ended::Passed),
        Ok(code) => Some(Ended::Failed { words: format!("exit code {code}") }),
        Err(words) => Some(Ended::Crashed { words }),
    };
    results.extend(of_whole.map(|ended| (whole, ended)));
    results
}

fn close(section: &mut Option<(String, Vec<String>)>, words: &mut BTreeMap<String, String>) {
    if let Some((name, lines)) = section.take() {
        words.insert(name, lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(tests: &[(&str, Ended)]) -> Ran {
        Ran::Tests(tests.iter().map(|(n, e)| (("t".to_owned(), (*n).to_owned()), e.clone())).collect())
    }

    fn failed() -> Ended {
        Ended::Failed { words: "assertion failed".into() }
    }

    #[test]
    fn a_fix_is_proven_by_a_test_that_fails_without_it() {
        use Ended::{Crashed, Ignored, Passed};
        let broken = Ran::DoesNotCompile { output: "error".into() };
        let kind = |graft: &Ran, base: Option<&Ran>, heads: &[Ran]| match decide(graft, base, heads) {
            Proof::Proven { .. } => "proven",
            Proof::NoTests => "none",
            Proof::PassesWithout { .. } => "passes without",
            Proof::DoesNotCompile { .. } => "does not compile",
            Proof::FailsWith { .. } => "fails with",
            Proof::Unclear { .. } => "unclear",
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

    #[test]
    fn the_harness_is_read() {
        let output = "\nrunning 4 tests\ntest a::b ... ok\ntest c - should panic ... FAILED\n\
            test d ... ignored, slow\ntest e ... FAILED\n\nfailures:\n\n---- e stdout ----\n\n\
            thread 'e' panicked at src/lib.rs:3:5:\nassertion `left == right` failed\n  left: 1\n right: 2\n\
            note: run with `RUST_BACKTRACE=1`\n\n---- c stdout ----\nnote: test did not panic as expected\n\n\
            failures:\n    c\n    e\n\ntest result: FAILED. 1 passed; 2 failed\n";
        let results = read("lib", output, Ok(101));
        let at = |name: &str| &results[&("lib".to_owned(), name.to_owned())];
        assert_eq!((at("a::b"), at("d"), results.len()), (&Ended::Passed, &Ended::Ignored, 4));
        let Ended::Failed { words } = at("e") else { panic!("{results:?}") };
        assert!(words.ends_with("assertion `left == right` failed\n  left: 1\n right: 2"), "{words}");
        assert!(matches!(at("c"), Ended::Failed { .. }));
    }

    #[test]
    fn what_is_no_harness_is_one_test() {
        let whole = ("x".to_owned(), "(the whole target)".to_owned());
        assert_eq!(read("x", "hello", Ok(0))[&whole], Ended::Passed);
        assert!(matches!(read("x", "", Ok(2))[&whole], Ended::Failed { .. }));
        assert!(matches!(
            read("x", "running 1 test\n", Err("signal 11".into()))[&whole],
            Ended::Crashed { .. }
        ));
        assert!(read("x", "running 0 tests\n", Ok(0)).is_empty());
    }
}
