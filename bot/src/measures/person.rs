//! One person's measures in one repository.

use super::facts::{Facts, PullFacts, What, span};
use super::health::{KAPLAN_MEIER, WILSON, tested};
use super::people::{self, Habit};
use super::survival::{self, Span};
use super::{Better, Measure, Period, Target, Unit, ratio, shared};
use perfsuite::model::Metric;
use schemars::JsonSchema;
use serde::Serialize;

/// A benchmark that a person's pull request made slower or faster, confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Impact {
    pub number: u64,
    pub suite: String,
    pub benchmark: String,
    #[schemars(with = "String")]
    pub metric: Metric,
    /// Relative: 0.1 is ten percent more than before.
    pub estimate: f64,
    pub faster: bool,
    pub job: String,
    pub merged: bool,
}

/// One person in one repository.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PersonRecord {
    pub login: String,
    pub repository: String,
    /// `None`: nothing in the period.
    pub habit: Option<Habit>,
    pub first_ms: Option<i64>,
    pub last_ms: Option<i64>,
    pub measures: Vec<Measure>,
    /// Confirmed changes by this person's pull requests, the largest first.
    pub impact: Vec<Impact>,
}

/// Heads of this person that the conventions judged, and those without an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub all: usize,
    pub passed: usize,
}

/// `None` where the person never contributed here.
pub fn record(
    repository: String,
    login: &str,
    facts: &Facts,
    judged: Judged,
    mut impact: Vec<Impact>,
    period: Period,
    now_ms: i64,
) -> Option<PersonRecord> {
    let same = |other: &str| other.eq_ignore_ascii_case(login);
    let own: Vec<_> = facts.contributions.iter().filter(|one| same(&one.login)).cloned().collect();
    let shown = own.last()?.login.clone();
    let person = people::of_period(&own, period).pop();
    let mine: Vec<&PullFacts> = facts.pulls.iter().filter(|pull| same(&pull.author)).collect();
    impact.sort_by(|a, b| b.estimate.abs().total_cmp(&a.estimate.abs()));
    let measures = vec![
        count(
            &own,
            period,
            What::Opened,
            ("pulls-opened", "Pull requests opened", "Pull requests that this person opened in the period."),
        ),
        count(
            &own,
            period,
            What::Merged,
            (
                "pulls-merged",
                "Pull requests merged",
                "Pull requests of this person that were merged in the period.",
            ),
        ),
        count(
            &own,
            period,
            What::Review,
            (
                "reviews-given",
                "Reviews given",
                "Reviews that this person gave in the period, of anybody's pull requests.",
            ),
        ),
        acceptance(&mine, period),
        tested(&mine, period),
        response(&mine, period, now_ms),
        conventions(judged),
    ];
    Some(PersonRecord {
        login: shown,
        repository,
        habit: person.map(|person| person.habit),
        first_ms: own.first().map(|one| one.at_ms),
        last_ms: own.last().map(|one| one.at_ms),
        measures,
        impact,
    })
}

fn count(
    own: &[super::facts::Contribution],
    period: Period,
    what: What,
    (id, name, definition): (&'static str, &'static str, &'static str),
) -> Measure {
    let of = |period: Period| own.iter().filter(|one| one.what == what && period.has(one.at_ms)).count();
    let all: Vec<_> = own.iter().filter(|one| one.what == what).collect();
    Measure {
        id,
        name,
        definition,
        unit: Unit::Count,
        value: Some(of(period) as f64),
        low: None,
        high: None,
        interval: "",
        n: all.len(),
        of: "known in all",
        missing: None,
        before: Some(of(period.before()) as f64),
        target: None,
        weeks: super::weeks::by_week(period, &all, |one| one.at_ms, |week| Some(week.len() as f64)),
    }
}

fn acceptance(mine: &[&PullFacts], period: Period) -> Measure {
    let share = |period: Period| {
        let ended: Vec<_> =
            mine.iter().filter_map(|pull| pull.ended).filter(|e| period.has(e.at_ms)).collect();
        (ratio::share(ended.iter().filter(|ended| ended.merged).count(), ended.len()), ended.len())
    };
    let (estimate, n) = share(period);
    shared(
        estimate,
        Measure {
            id: "acceptance-ratio",
            name: "Acceptance ratio",
            definition: "Of this person's pull requests that ended in the period, those that were merged.",
            unit: Unit::Share,
            interval: WILSON,
            n,
            of: "ended pull requests",
            before: share(period.before()).0.map(|one| one.value),
            ..Measure::EMPTY
        },
    )
}

fn response(mine: &[&PullFacts], period: Period, now_ms: i64) -> Measure {
    let spans = |period: Period| -> Vec<Span> {
        let opened = mine.iter().filter(|pull| period.has(pull.opened_ms));
        opened.map(|pull| span(pull.opened_ms, pull.first_response_ms, pull.ended, now_ms)).collect()
    };
    let now = spans(period);
    shared(
        survival::quantile(&now, 0.5),
        Measure {
            id: "response-waited-p50",
            name: "Waited for a first response, half",
            definition: "How long this person's pull requests waited for the first review, comment or closing by another \
                         person.",
            unit: Unit::Seconds,
            interval: KAPLAN_MEIER,
            n: now.len(),
            of: "opened pull requests",
            before: survival::quantile(&spans(period.before()), 0.5).map(|one| one.value),
            ..Measure::EMPTY
        },
    )
}

fn conventions(judged: Judged) -> Measure {
    shared(
        ratio::share(judged.passed, judged.all),
        Measure {
            id: "conventions-passed",
            name: "Commits as the conventions want them",
            definition: "Of this person's pull requests that were judged, those whose newest head has no error in its commits.",
            unit: Unit::Share,
            interval: WILSON,
            n: judged.all,
            of: "judged pull requests",
            target: Some(Target { value: 1.0, at: Better::More }),
            ..Measure::EMPTY
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::DAY_MS;
    use crate::measures::facts::{Ended, KnownPull};
    use std::collections::BTreeSet;

    #[test]
    fn a_record_is_of_one_person_alone() {
        let now = 1_000 * DAY_MS;
        let known = |number, author: &str, merged| KnownPull {
            number,
            author: author.into(),
            bot: false,
            from_fork: false,
            opened_ms: now - 5 * DAY_MS,
            ended: Some(Ended { at_ms: now - DAY_MS, merged }),
            tested: Some(number == 1),
        };
        let pulls = vec![known(1, "Ann", true), known(2, "ann", false), known(3, "bob", true)];
        let facts = Facts::of(pulls, &[], &BTreeSet::new());
        let period = Period::last_days(30, now);
        let of =
            |login| record("r".into(), login, &facts, Judged { all: 2, passed: 1 }, Vec::new(), period, now);
        let ann = of("ann").unwrap();
        let value = |id: &str| ann.measures.iter().find(|measure| measure.id == id).unwrap().value;
        assert_eq!((value("pulls-opened"), value("pulls-merged")), (Some(2.0), Some(1.0)));
        assert_eq!((value("acceptance-ratio"), value("conventions-passed")), (Some(0.5), Some(0.5)));
        assert_eq!(value("tests-added"), Some(1.0), "of what was merged");
        assert_eq!(value("response-waited-p50"), None, "nobody answered");
        assert_eq!(ann.habit, Some(Habit::New));
        assert_eq!(of("nobody"), None);
    }
}
