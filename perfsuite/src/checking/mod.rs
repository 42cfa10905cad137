//! A repository's own checks, run on a merge result within walls: commands, and the proof of a fix.
//!
//! All sources of one job come to stand at one path, one after the other, and share a target directory: they are all the
//! same pull request's, so nobody else meets what its builds leave. What comes back is what was seen; nothing is judged
//! here.

mod command;
mod findings;
mod harness;
mod place;
mod suite;

pub use findings::FINDINGS_MAX;
pub use harness::read as read_harness;
pub use place::Place;

use crate::artifact::{git, say, stopped};
use crate::host::Watch;
use crate::measure::{Job, directory, limits, now_ms};
use crate::model::checks::{Checked, ChecksSpec, Ended, ProofRan, ProofSpec, Ran};
use crate::model::evidence::EVIDENCE_SCHEMA;
use crate::model::wire::Phase;
use crate::model::{Evidence, Sha};
use crate::observe::Observer;
use std::time::Duration;
use suite::Suite;

/// The end of everything, should no command's own limit have ended it.
pub(crate) fn limit(spec: &ChecksSpec) -> Duration {
    /// Downloads, checkouts, and what comes between.
    const AROUND: Duration = Duration::from_secs(20 * 60);
    let commands: u64 = spec.commands.iter().map(|command| command.deadline_seconds).sum();
    let proof = spec.proof.as_ref().map_or(Duration::ZERO, |_| suite::PROOF_MAX);
    Duration::from_secs(commands) + proof + AROUND
}

/// Runs the checks of one job. Errors are what the machine could not do, and
/// [`Stopped`](crate::artifact::Stopped).
pub(crate) fn check(job: &Job, spec: &ChecksSpec, observer: &dyn Observer) -> anyhow::Result<Evidence> {
    job.sandbox.permit(job.spec.trust).map_err(anyhow::Error::msg)?;
    let watch = Watch::begin();
    let started_ms = now_ms();
    let work = directory(&job.work_dir)?;
    let git_dir = git::git_dir(&job.repository)?;
    let place = Place::of_job(job, observer, &work, limits(job))?;
    let put = |commit: &Sha| place.check_out(&git_dir, commit);
    let mut checked = Checked::default();
    if !spec.commands.is_empty() {
        put(&job.spec.head)?;
        checked.commands = commands(&place, spec)?;
    }
    if let Some(proof) = &spec.proof {
        say(observer, Phase::Building, "building the tests without the fix");
        let commits = |stand| match stand {
            Stand::Graft => &job.spec.base,
            Stand::Base => &proof.base,
            Stand::Head => &job.spec.head,
        };
        checked.proof = Some(prove(&place, proof, &mut |stand| put(commits(stand)))?);
    }
    stopped(observer)?;
    Ok(Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: job.spec.clone(),
        environment: watch.end(&job.sandbox, None),
        builds: vec![],
        series: vec![],
        calibration: vec![],
        failures: vec![],
        one_sided: vec![],
        judged_pairs: 0,
        identical: vec![],
        unaffected: vec![],
        started_ms,
        finished_ms: now_ms(),
        measure_ms: 0,
        count_ms: 0,
        profiles: vec![],
        scenarios: vec![],
        checks: Some(checked),
    })
}

fn commands(place: &Place, spec: &ChecksSpec) -> anyhow::Result<Vec<crate::model::checks::CommandRan>> {
    let fetched = place.fetch()?;
    let mut ran = Vec::new();
    for (index, check) in spec.commands.iter().enumerate() {
        stopped(place.observer)?;
        place.observer.progress(crate::model::wire::Progress {
            phase: Phase::Measuring,
            text: format!("running `{}`", check.name),
            done: index as u64,
            total: spec.commands.len() as u64,
        });
        place.observer.log(&format!("running {}", check.command.join(" ")));
        ran.push(match &fetched {
            Err(words) if check.command.first().is_some_and(|program| program == "cargo") => {
                command::could_not_fetch(check, words)
            }
            _ => command::run(place, check, spec)?,
        });
    }
    Ok(ran)
}

/// Which sources are to stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// The fix's tests upon the base.
    Graft,
    Base,
    Head,
}

/// Runs the tests without the fix, and with it where that says anything. `put` lays sources where the place wants them.
pub fn prove(
    place: &Place,
    proof: &ProofSpec,
    put: &mut dyn FnMut(Stand) -> anyhow::Result<()>,
) -> anyhow::Result<ProofRan> {
    if proof.grafted.is_empty() {
        return Ok(ProofRan { graft: Ran::Tests { tests: vec![] }, base: None, heads: vec![] });
    }
    let suite = Suite { place, grafted: &proof.grafted };
    put(Stand::Graft)?;
    let graft = suite.run_once()?;
    let mut found = ProofRan { graft, base: None, heads: vec![] };
    match &found.graft {
        // Whether it is the tests or the base that does not compile.
        Ran::DoesNotCompile { .. } => {
            put(Stand::Base)?;
            found.base = Some(suite.run_once()?);
        }
        // Without a failure there is nothing that the head could confirm.
        Ran::Tests { tests } if !tests.iter().any(|test| matches!(test.ended, Ended::Failed { .. })) => {}
        Ran::Tests { .. } => {
            say(place.observer, Phase::Measuring, "running the tests with the fix");
            put(Stand::Head)?;
            found.heads = suite.run(proof.runs)?;
        }
    }
    Ok(found)
}

/// What must hold of findings, whatever was printed.
#[cfg(any(test, fuzzing))]
#[allow(clippy::panic, reason = "a property that does not hold ends the process, as it should")]
pub(crate) fn hostile_output(text: &str) {
    let source = std::path::Path::new("/build/src");
    let found = findings::of_text(text, source);
    let messages = findings::of_messages(text, source).map(|messages| messages.findings).unwrap_or_default();
    let (kept, left_out) = findings::bounded([found, messages].concat(), &ChecksSpec::default());
    assert!(kept.len() <= FINDINGS_MAX && (left_out == 0 || kept.len() == FINDINGS_MAX));
    for finding in kept {
        let outside = finding.path.starts_with('/') || finding.path.split('/').any(|part| part == "..");
        assert!(!outside && !finding.path.is_empty(), "{finding:?}");
    }
    let _ = findings::counts(text, text);
}
