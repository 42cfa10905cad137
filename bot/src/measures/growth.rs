//! How stars and watchers grow, and whether forks come back: by hourly samples, against what the design aims at.

use super::facts::Facts;
use super::health::{Counts, WILSON};
use super::{Better, DAY_MS, Measure, Period, Target, Unit, ratio, shared};

/// DESIGN: stars a month.
const STARS_A_MONTH: f64 = 50.0;
/// People whose fork became a pull request.
const FORK_TO_PULL: f64 = 0.12;
/// Growth of watchers a month.
const WATCHES_A_MONTH: f64 = 0.08;
const MONTH_MS: f64 = 365.0 / 12.0 * DAY_MS as f64;

/// `counts` in order of time.
pub fn measures(facts: &Facts, counts: &[Counts], period: Period) -> Vec<Measure> {
    let within: Vec<&Counts> = counts.iter().filter(|one| period.has(one.at_ms)).collect();
    let ends = within.first().copied().zip(within.last().copied()).filter(|(a, b)| a.at_ms < b.at_ms);
    let months = ends.map(|(first, last)| (last.at_ms - first.at_ms) as f64 / MONTH_MS);
    // Of less than a day's samples nothing is foretold.
    let months = months.filter(|months| *months * MONTH_MS >= DAY_MS as f64);
    let missing = months.is_none().then(|| "It takes a day of samples, one an hour.".to_owned());
    let sampled = |id, name, definition, unit, value: Option<f64>, target| Measure {
        id,
        name,
        definition,
        unit,
        value: value.filter(|value| value.is_finite()),
        n: within.len(),
        of: "samples",
        missing: missing.clone(),
        target: Some(Target { value: target, at: Better::More }),
        ..Measure::EMPTY
    };
    let per_month = |of: fn(&Counts) -> i64| {
        let ((first, last), months) = (ends?, months?);
        Some((of(last) - of(first)) as f64 / months)
    };
    vec![
        sampled(
            "stars-per-month",
            "Stars a month",
            "How many stars the repository gains in a month, by the first and last sample of the period.",
            Unit::Count,
            per_month(|one| one.stars),
            STARS_A_MONTH,
        ),
        fork_to_pull(facts, counts),
        sampled(
            "watchers-per-month",
            "Growth of watchers a month",
            "By how much of itself the number of watchers grows in a month, by the first and last sample of the period.",
            Unit::Share,
            ends.and_then(|(first, _)| {
                (first.watchers > 0).then_some(per_month(|one| one.watchers)? / first.watchers as f64)
            }),
            WATCHES_A_MONTH,
        ),
    ]
}

fn fork_to_pull(facts: &Facts, counts: &[Counts]) -> Measure {
    let forks = counts.last().map_or(0, |last| last.forks.max(0)) as usize;
    let from_forks = facts.pulls.iter().filter(|pull| pull.from_fork);
    let mut owners: Vec<String> = from_forks.map(|pull| pull.author.to_lowercase()).collect();
    owners.sort();
    owners.dedup();
    shared(
        ratio::share(owners.len().min(forks), forks),
        Measure {
            id: "fork-to-pull",
            name: "Forks that came back",
            definition: "People who opened a pull request from a fork, divided by the forks there are.",
            unit: Unit::Share,
            interval: WILSON,
            n: forks,
            of: "forks",
            target: Some(Target { value: FORK_TO_PULL, at: Better::More }),
            missing: counts.is_empty().then(|| "Forks have not been counted yet.".to_owned()),
            ..Measure::EMPTY
        },
    )
}
