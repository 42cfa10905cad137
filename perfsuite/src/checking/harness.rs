//! What Rust's own test harness printed, read. Pure.

use crate::model::checks::{Ended, TestRan};
use std::collections::BTreeMap;

/// What stands for a target that ends without naming a test.
const WHOLE: &str = "(the whole target)";

/// Every test that is named, and how the process ended (`Err`: not by itself, in words).
///
/// What prints no such lines is a test of its own kind: one, named as its target.
pub fn read(target: &str, output: &str, ended: Result<i32, String>) -> Vec<TestRan> {
    /// Words of one failure.
    const WORDS_MAX_LINES: usize = 6;
    const LINE_MAX_CHARS: usize = 300;
    let mut results: BTreeMap<String, Ended> = BTreeMap::new();
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
                lines.push(line.chars().take(LINE_MAX_CHARS).collect());
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
            results.insert(name.to_owned(), ended);
        }
    }
    close(&mut section, &mut words);
    for (name, ended) in &mut results {
        if let Ended::Failed { words: said } = ended {
            *said = words.remove(name).unwrap_or_else(|| "failed".to_owned());
        }
    }
    let spoke = output.contains("\nrunning ") || output.starts_with("running ");
    let of_whole = match ended {
        Ok(_) if spoke => None,
        Ok(0) => Some(Ended::Passed),
        Ok(code) => Some(Ended::Failed { words: format!("exit code {code}") }),
        Err(words) => Some(Ended::Crashed { words }),
    };
    results.extend(of_whole.map(|ended| (WHOLE.to_owned(), ended)));
    // A name is text of the stranger's: it stands in one line, and in a bounded one.
    let plain =
        |text: &str| text.chars().filter(|c| !c.is_control()).take(LINE_MAX_CHARS).collect::<String>();
    results
        .into_iter()
        .map(|(test, ended)| TestRan { target: plain(target), test: plain(&test), ended })
        .filter(|test| !test.test.is_empty())
        .collect()
}

fn close(section: &mut Option<(String, Vec<String>)>, words: &mut BTreeMap<String, String>) {
    if let Some((name, lines)) = section.take() {
        words.insert(name, lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(results: &'a [TestRan], name: &str) -> &'a Ended {
        &results.iter().find(|test| test.test == name).unwrap().ended
    }

    #[test]
    fn the_harness_is_read() {
        let output = "\nrunning 4 tests\ntest a::b ... ok\ntest c - should panic ... FAILED\n\
            test d ... ignored, slow\ntest e ... FAILED\n\nfailures:\n\n---- e stdout ----\n\n\
            thread 'e' panicked at src/lib.rs:3:5:\nassertion `left == right` failed\n  left: 1\n right: 2\n\
            note: run with `RUST_BACKTRACE=1`\n\n---- c stdout ----\nnote: test did not panic as expected\n\n\
            failures:\n    c\n    e\n\ntest result: FAILED. 1 passed; 2 failed\n";
        let results = read("lib", output, Ok(101));
        assert_eq!(
            (at(&results, "a::b"), at(&results, "d"), results.len()),
            (&Ended::Passed, &Ended::Ignored, 4)
        );
        let Ended::Failed { words } = at(&results, "e") else { panic!("{results:?}") };
        assert!(words.ends_with("assertion `left == right` failed\n  left: 1\n right: 2"), "{words}");
        assert!(matches!(at(&results, "c"), Ended::Failed { .. }));
    }

    #[test]
    fn what_is_no_harness_is_one_test() {
        assert_eq!(*at(&read("x", "hello", Ok(0)), WHOLE), Ended::Passed);
        assert!(matches!(at(&read("x", "", Ok(2)), WHOLE), Ended::Failed { .. }));
        let crashed = read("x", "running 1 test\n", Err("signal 11".into()));
        assert!(matches!(at(&crashed, WHOLE), Ended::Crashed { .. }));
        assert!(read("x", "running 0 tests\n", Ok(0)).is_empty());
    }
}
