//! Profiles in evidence: bounded, whole, and of what was measured.

use super::{Unsound, is_measure, known_suite, name, output, quoted, refuse};
use crate::model::profile::{Profile, ProfileStack};
use crate::model::{Evidence, JobSpec};
use crate::profile::stacks::{NAMES_MAX, STACKS_MAX};
use crate::profile::touched::{FUNCTIONS_MAX, MODULES_MAX};

/// Profiles of one run: runners send four.
const PROFILES_MAX: usize = 20;
/// Runners make some twenty.
const VISITS_MAX: usize = 100;
/// Frames of a stack: runners cut at 128, and two may stand for where they were cut, and for the kernel.
const FRAMES_MAX: usize = 130;
/// Of all stacks and visits of a profile together: each is a number in memory, on both sides.
const COUNTS_MAX: usize = 200_000;
const NOTES_MAX: usize = 20;
/// Functions' names are cut at 200.
const FUNCTION_CHARS_MAX: usize = 256;

pub(super) fn check(evidence: &Evidence, spec: &JobSpec) -> Result<(), Unsound> {
    if evidence.profiles.len() > PROFILES_MAX {
        return refuse(format!("{} profiles are more than {PROFILES_MAX}", evidence.profiles.len()));
    }
    for (at, profile) in evidence.profiles.iter().enumerate() {
        let of = |other: &&Profile| (&other.suite, &other.benchmark) == (&profile.suite, &profile.benchmark);
        if evidence.profiles[..at].iter().any(|other| of(&other)) {
            return refuse(format!("{} has two profiles", quoted(&profile.benchmark.0)));
        }
        check_profile(profile, spec)?;
    }
    Ok(())
}

fn check_profile(profile: &Profile, spec: &JobSpec) -> Result<(), Unsound> {
    name(&profile.suite)?;
    name(&profile.benchmark.0)?;
    known_suite(&profile.suite, spec)?;
    let of = || quoted(&profile.benchmark.0);
    let touched = profile.touched.clone().unwrap_or_default();
    for (what, count, most) in [
        ("functions", profile.names.len(), NAMES_MAX),
        ("stacks", profile.stacks.len(), STACKS_MAX),
        ("visits", profile.visits.len(), VISITS_MAX),
        ("counts", profile.stacks.len() * profile.visits.len(), COUNTS_MAX),
        ("notes", profile.notes.len(), NOTES_MAX),
        ("touched functions", touched.functions.len(), FUNCTIONS_MAX),
        ("touched modules", touched.modules.len(), MODULES_MAX),
    ] {
        if count > most {
            return refuse(format!("the profile of {} has {count} {what}, more than {most}", of()));
        }
    }
    if profile.period_ns == 0 || profile.period_ns > 1_000_000_000 {
        return refuse(format!("the profile of {} has a period that nothing can sample", of()));
    }
    for text in profile.names.iter().chain(&touched.functions).chain(&touched.modules) {
        if text.chars().count() > FUNCTION_CHARS_MAX {
            return refuse(format!("a function's name is longer than {FUNCTION_CHARS_MAX} characters"));
        }
        name(text)?;
    }
    profile.notes.iter().try_for_each(|note| output(note))?;
    if !profile.visits.iter().flat_map(|visit| [visit.base, visit.head]).all(is_measure) {
        return refuse(format!("the profile of {} has work that nothing can do", of()));
    }
    for ProfileStack { frames, base, head } in &profile.stacks {
        let whole = base.len() == profile.visits.len() && head.len() == profile.visits.len();
        let known = frames.iter().all(|frame| (*frame as usize) < profile.names.len());
        if !whole || !known || frames.is_empty() || frames.len() > FRAMES_MAX {
            return refuse(format!("the profile of {} has a stack that is none", of()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BenchmarkId;
    use crate::model::profile::{ProfileVisit, Touched, WorkUnit};

    fn sound() -> Profile {
        Profile {
            suite: "widgets".into(),
            benchmark: BenchmarkId("b".into()),
            unit: WorkUnit::Iteration,
            period_ns: 500_000,
            kernel: true,
            names: vec!["main".into(), "f".into()],
            stacks: vec![ProfileStack { frames: vec![0, 1], base: vec![1], head: vec![2] }],
            visits: vec![ProfileVisit { base: 5.0, head: 5.0 }],
            touched: Some(Touched::default()),
            notes: vec![],
        }
    }

    fn said(change: impl FnOnce(&mut Profile)) -> Option<String> {
        let spec = super::super::tests::spec();
        let mut profile = sound();
        change(&mut profile);
        check_profile(&profile, &spec).err().map(|unsound| unsound.to_string())
    }

    #[test]
    fn what_cannot_be_a_profile_is_refused() {
        assert_eq!(said(|_| {}), None);
        let stack =
            |change: fn(&mut ProfileStack)| move |profile: &mut Profile| change(&mut profile.stacks[0]);
        for refused in [
            said(stack(|stack| stack.frames = vec![2])),
            said(stack(|stack| stack.frames = vec![])),
            said(stack(|stack| stack.frames = vec![0; 200])),
            said(stack(|stack| stack.base = vec![])),
            said(stack(|stack| stack.head = vec![1, 2])),
            said(|profile| profile.stacks = vec![profile.stacks[0].clone(); STACKS_MAX + 1]),
            said(|profile| profile.names = vec!["f".into(); NAMES_MAX + 1]),
            said(|profile| profile.names[1] = "x".repeat(300)),
            said(|profile| profile.names[1] = "a\nb".into()),
            said(|profile| profile.visits[0].head = -1.0),
            said(|profile| profile.visits[0].head = f64::NAN),
            said(|profile| profile.period_ns = 0),
            said(|profile| profile.suite = "other".into()),
            said(|profile| profile.notes = vec![String::new(); NOTES_MAX + 1]),
            said(|profile| {
                profile.visits = vec![profile.visits[0]; VISITS_MAX];
                profile.stacks = vec![
                    ProfileStack {
                        frames: vec![0],
                        base: vec![0; VISITS_MAX],
                        head: vec![0; VISITS_MAX]
                    };
                    STACKS_MAX
                ];
            }),
        ] {
            assert!(refused.is_some());
        }
    }
}
