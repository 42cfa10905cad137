//! The part of evidence that is about a repository's own checks, held against what the job asked for.

use super::{ROWS_MAX, Unsound, duration, name, output, refuse};
use crate::checking::FINDINGS_MAX;
use crate::model::checks::{Checked, ChecksSpec, CommandEnd, CommandRan, Ended, ProofRan, ProofSpec, Ran};

/// Words of one finding or failure.
const WORDS_MAX_BYTES: usize = 16 << 10;

pub(super) fn check(found: Option<&Checked>, asked: Option<&ChecksSpec>) -> Result<(), Unsound> {
    let (found, asked) = match (found, asked) {
        (None, None) => return Ok(()),
        (Some(found), Some(asked)) => (found, asked),
        (Some(_), None) => return refuse("there are checks, and the job asks for none"),
        (None, Some(_)) => return refuse("the job asks for checks, and there are none"),
    };
    let same = found.commands.len() == asked.commands.len()
        && found.commands.iter().zip(&asked.commands).all(|(ran, asked)| ran.name == asked.name);
    if !same {
        return refuse("the checks are not those that the job asks for");
    }
    found.commands.iter().try_for_each(check_command)?;
    match (&found.proof, &asked.proof) {
        (None, None) => Ok(()),
        (Some(found), Some(asked)) => check_proof(found, asked),
        _ => refuse("the proof is not the one that the job asks for"),
    }
}

fn check_command(ran: &CommandRan) -> Result<(), Unsound> {
    duration(ran.seconds)?;
    output(&ran.output)?;
    if let CommandEnd::Killed { words: text } | CommandEnd::Missing { words: text } = &ran.end {
        words(text)?;
    }
    if ran.findings.len() > FINDINGS_MAX {
        return refuse(format!(
            "{} findings of one command are more than {FINDINGS_MAX}",
            ran.findings.len()
        ));
    }
    for finding in &ran.findings {
        name(&finding.path)?;
        words(&finding.message)?;
        words(&finding.code)?;
        if finding.line == 0 {
            return refuse("a finding is in line 0");
        }
    }
    Ok(())
}

fn check_proof(found: &ProofRan, asked: &ProofSpec) -> Result<(), Unsound> {
    if found.heads.len() > asked.runs as usize {
        return refuse("the tests were run more often than asked");
    }
    let all = std::iter::once(&found.graft).chain(&found.base).chain(&found.heads);
    for ran in all {
        match ran {
            Ran::DoesNotCompile { output: text } => output(text)?,
            Ran::Tests { tests } if tests.len() > ROWS_MAX => {
                return refuse(format!("{} tests are more than {ROWS_MAX}", tests.len()));
            }
            Ran::Tests { tests } => {
                for test in tests {
                    name(&test.target)?;
                    name(&test.test)?;
                    if let Ended::Failed { words: text } | Ended::Crashed { words: text } = &test.ended {
                        words(text)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn words(text: &str) -> Result<(), Unsound> {
    if text.len() > WORDS_MAX_BYTES {
        return refuse(format!("words of {} bytes are longer than {WORDS_MAX_BYTES}", text.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::checks::{CheckCommand, TestRan, ToolFinding, ToolLevel};

    fn asked() -> ChecksSpec {
        ChecksSpec {
            commands: vec![CheckCommand {
                name: "fmt".into(),
                command: vec!["cargo".into(), "fmt".into()],
                deadline_seconds: 60,
            }],
            proof: Some(ProofSpec { base: "0".repeat(40).parse().unwrap(), grafted: vec![], runs: 2 }),
            ..ChecksSpec::default()
        }
    }

    fn found() -> Checked {
        let finding = ToolFinding {
            level: ToolLevel::Error,
            path: "src/lib.rs".into(),
            line: 3,
            column: 0,
            code: String::new(),
            message: "wrong".into(),
        };
        let test = TestRan { target: "lib".into(), test: "a".into(), ended: Ended::Passed };
        Checked {
            commands: vec![CommandRan {
                name: "fmt".into(),
                end: CommandEnd::Failed { code: 1 },
                seconds: 1.0,
                output: String::new(),
                findings: vec![finding],
                findings_left_out: 0,
                tests: None,
            }],
            proof: Some(ProofRan { graft: Ran::Tests { tests: vec![test] }, base: None, heads: vec![] }),
        }
    }

    fn refused(change: impl FnOnce(&mut Checked)) -> String {
        let mut found = found();
        change(&mut found);
        check(Some(&found), Some(&asked())).unwrap_err().to_string()
    }

    #[test]
    fn what_was_asked_for_is_taken() {
        check(Some(&found()), Some(&asked())).unwrap();
        check(None, None).unwrap();
        check(None, Some(&asked())).unwrap_err();
        check(Some(&found()), None).unwrap_err();
    }

    #[test]
    fn what_was_not_is_refused() {
        assert!(refused(|f| f.commands.clear()).contains("not those"));
        assert!(refused(|f| f.commands[0].name = "other".into()).contains("not those"));
        assert!(refused(|f| f.commands[0].seconds = f64::NAN).contains("duration"));
        assert!(refused(|f| f.commands[0].findings[0].path = "a\nb".into()).contains("no name"));
        assert!(refused(|f| f.commands[0].findings[0].line = 0).contains("line 0"));
        assert!(
            refused(|f| f.commands[0].findings = vec![f.commands[0].findings[0].clone(); 501])
                .contains("501")
        );
        assert!(refused(|f| f.commands[0].output = "x".repeat(1 << 20)).contains("output"));
        assert!(refused(|f| f.proof = None).contains("proof"));
        assert!(
            refused(|f| f.proof.as_mut().unwrap().heads = vec![Ran::Tests { tests: vec![] }; 3])
                .contains("often")
        );
        let long = TestRan { target: "t".into(), test: "a".repeat(2_000), ended: Ended::Passed };
        assert!(
            refused(|f| f.proof.as_mut().unwrap().graft = Ran::Tests { tests: vec![long] }).contains("name")
        );
    }
}
