//! A repository's measures: response, review stages, closure, acceptance, absence factor, new and episodic people, growth.

use super::facts::{Facts, PullFacts, span};
use super::people::{self, Habit, Person};
use super::survival::{self, Span};
use super::weeks::by_week;
use super::{Better, Measure, Period, Target, Unit, absence, growth, ratio, shared};
use schemars::JsonSchema;
use serde::Serialize;

const OF_PULLS: &str = "pull requests";
pub(super) const KAPLAN_MEIER: &str = "Kaplan-Meier; interval after Brookmeyer and Crowley";
pub(super) const WILSON: &str = "Wilson's interval";

/// What the targets are, by the repository's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    pub triage_days: u32,
    pub review_days: u32,
}

impl Default for Targets {
    fn default() -> Self {
        Self { triage_days: 3, review_days: 10 }
    }
}

/// Stars, forks and watchers at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    pub at_ms: i64,
    pub stars: i64,
    pub forks: i64,
    pub watchers: i64,
}

/// A repository's health in a period.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Health {
    pub repository: String,
    pub from_ms: i64,
    pub to_ms: i64,
    /// What was left out, in sentences: bots, people not counted, what is not known.
    pub notes: Vec<String>,
    pub measures: Vec<Measure>,
    /// The newest sample.
    pub counts: Option<Counts>,
    #[serde(skip)]
    #[schemars(skip)]
    pub people: Vec<Person>,
}

/// All of it. `counts` in order of time.
pub fn health(
    repository: String,
    facts: &Facts,
    counts: &[Counts],
    targets: Targets,
    period: Period,
    now_ms: i64,
) -> Health {
    let people = people::of_period(&facts.contributions, period);
    let earlier = people::of_period(&facts.contributions, period.before());
    let mut measures = Vec::new();
    let view = View { facts, period, now_ms };
    for (id, name, p) in [
        ("first-response-p15", "First response, fastest 15 %", 0.15),
        ("first-response-p50", "First response, half", 0.5),
        ("first-response-p85", "First response, 85 %", 0.85),
    ] {
        measures.push(view.duration(Duration {
            id,
            name,
            definition: "Time from opening a pull request to the first review, comment or closing by a person who is \
                         not its author. Open and unanswered ones count as longer than they are.",
            p,
            target_days: (p == 0.5).then_some(targets.triage_days),
            stage: |pull, now_ms| {
                Some(span(pull.opened_ms, pull.first_response_ms, pull.ended, now_ms))
            },
        }));
    }
    measures.push(view.duration(Duration {
        id: "approval-p50",
        name: "From response to approval, half",
        definition: "Time from the first response to the first approval by somebody who is not the author, of pull \
                     requests that had a response.",
        p: 0.5,
        target_days: None,
        stage: |pull, now_ms| {
            let from = pull.first_response_ms?;
            Some(span(from, pull.approved_ms, pull.ended, now_ms))
        },
    }));
    measures.push(view.duration(Duration {
        id: "merge-p50",
        name: "From approval to merge, half",
        definition: "Time from the first approval to the merge, of pull requests that were approved.",
        p: 0.5,
        target_days: None,
        stage: |pull, now_ms| {
            let merged = pull.ended.filter(|ended| ended.merged).map(|ended| ended.at_ms);
            Some(span(pull.approved_ms?, merged, pull.ended, now_ms))
        },
    }));
    measures.push(view.duration(Duration {
        id: "review-p50",
        name: "From opening to the end, half",
        definition: "Time from opening a pull request to its merge or closing. Open ones count as longer than they are.",
        p: 0.5,
        target_days: Some(targets.review_days),
        stage: |pull, now_ms| {
            Some(span(pull.opened_ms, pull.ended.map(|ended| ended.at_ms), None, now_ms))
        },
    }));
    measures.push(view.closure());
    measures.push(view.acceptance());
    measures.push(tested(&facts.pulls.iter().collect::<Vec<_>>(), period));
    measures.push(view.absence(&people, &earlier));
    for habit in [Habit::New, Habit::Episodic, Habit::Returning] {
        measures.push(view.habit(habit, &people, &earlier));
    }
    measures.extend(growth::measures(facts, counts, period));
    Health {
        repository,
        from_ms: period.from_ms,
        to_ms: period.to_ms,
        notes: view.notes(),
        measures,
        counts: counts.last().copied(),
        people,
    }
}

struct View<'a> {
    facts: &'a Facts,
    period: Period,
    now_ms: i64,
}

struct Duration {
    id: &'static str,
    name: &'static str,
    definition: &'static str,
    p: f64,
    target_days: Option<u32>,
    stage: fn(&PullFacts, i64) -> Option<Span>,
}

/// Whether merged code came with tests.
pub(super) fn tested(pulls: &[&PullFacts], period: Period) -> Measure {
    let merged = |period: Period| -> Vec<(i64, bool)> {
        let ended = pulls.iter().filter_map(|pull| Some((pull.ended?, pull.tested?)));
        let merged = ended.filter(|(ended, _)| ended.merged && period.has(ended.at_ms));
        merged.map(|(ended, tested)| (ended.at_ms, tested)).collect()
    };
    let share =
        |all: &[(i64, bool)]| ratio::share(all.iter().filter(|(_, tested)| *tested).count(), all.len());
    let now = merged(period);
    shared(
        share(&now),
        Measure {
            id: "tests-added",
            name: "Merged with tests",
            definition: "Of the pull requests merged in the period that changed sources, and whose tests the conventions \
                         looked at, those that changed a test for every changed source.",
            unit: Unit::Share,
            interval: WILSON,
            n: now.len(),
            of: "merged pull requests with sources",
            missing: now
                .is_empty()
                .then(|| "None was looked at: `[tests]` of the configuration asks for it.".into()),
            before: share(&merged(period.before())).map(|one| one.value),
            weeks: by_week(
                period,
                &now,
                |one| one.0,
                |week| {
                    let week: Vec<(i64, bool)> = week.iter().map(|one| **one).collect();
                    share(&week).map(|one| one.value)
                },
            ),
            ..Measure::EMPTY
        },
    )
}

impl View<'_> {
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.facts.left_out > 0 {
            let count = crate::format::count(self.facts.left_out, "pull request", "pull requests");
            notes.push(format!("{count} of bots, and of people who are not counted, left out."));
        }
        match self.facts.known_since_ms {
            None => notes.push(
                "No event is known yet: they are kept from the first webhook on; `paceline backfill` reads earlier ones."
                    .into(),
            ),
            Some(since_ms) if since_ms > self.period.from_ms => notes.push(format!(
                "Events are known since {}; what happened before is missing.",
                crate::format::exact(since_ms)
            )),
            Some(_) => {}
        }
        if self.facts.cut {
            notes.push(
                "The repository has more events than are read at once; the oldest are left out.".into(),
            );
        }
        notes
    }

    fn opened(&self, period: Period) -> Vec<&PullFacts> {
        self.facts.pulls.iter().filter(|pull| period.has(pull.opened_ms)).collect()
    }

    fn duration(&self, what: Duration) -> Measure {
        let spans = |pulls: &[&PullFacts], now_ms: i64| -> Vec<Span> {
            pulls.iter().filter_map(|pull| (what.stage)(pull, now_ms)).collect()
        };
        let opened = self.opened(self.period);
        let now = spans(&opened, self.now_ms);
        let estimate = survival::quantile(&now, what.p);
        let before = survival::quantile(&spans(&self.opened(self.period.before()), self.now_ms), what.p);
        let open = now.iter().filter(|span| !span.ended).count();
        let missing = match (open, estimate) {
            (0, _) => None,
            (_, None) => {
                Some(format!("{open} of {} have not got there, so it cannot be said yet.", now.len()))
            }
            (_, Some(_)) => Some(format!("{open} of {} have not got there and count as longer.", now.len())),
        };
        Measure {
            id: what.id,
            name: what.name,
            definition: what.definition,
            unit: Unit::Seconds,
            value: estimate.map(|one| one.value),
            low: estimate.and_then(|one| one.low),
            high: estimate.and_then(|one| one.high),
            interval: KAPLAN_MEIER,
            n: now.len(),
            of: OF_PULLS,
            missing,
            before: before.map(|one| one.value),
            target: what
                .target_days
                .map(|days| Target { value: f64::from(days) * 86_400.0, at: Better::Less }),
            weeks: by_week(
                self.period,
                &opened,
                |pull| pull.opened_ms,
                |week| {
                    let week: Vec<&PullFacts> = week.iter().map(|pull| **pull).collect();
                    survival::quantile(&spans(&week, self.now_ms), what.p).map(|one| one.value)
                },
            ),
        }
    }

    fn ended(&self, period: Period) -> Vec<&PullFacts> {
        let ended = |pull: &&PullFacts| pull.ended.is_some_and(|ended| period.has(ended.at_ms));
        self.facts.pulls.iter().filter(ended).collect()
    }

    fn closure(&self) -> Measure {
        let ratio = |period: Period| {
            let (ended, opened) = (self.ended(period).len(), self.opened(period).len());
            (opened > 0).then(|| ended as f64 / opened as f64)
        };
        let opened = self.opened(self.period);
        Measure {
            id: "closure-ratio",
            name: "Closure ratio",
            definition: "Pull requests merged or closed in the period, divided by those opened in it. Below one, work piles up.",
            unit: Unit::Ratio,
            value: ratio(self.period),
            low: None,
            high: None,
            interval: "",
            n: opened.len(),
            of: "opened pull requests",
            missing: None,
            before: ratio(self.period.before()),
            target: Some(Target { value: 1.0, at: Better::More }),
            weeks: by_week(
                self.period,
                &opened,
                |pull| pull.opened_ms,
                |week| {
                    let ended = week.iter().filter(|pull| pull.ended.is_some()).count();
                    Some(ended as f64 / week.len() as f64)
                },
            ),
        }
    }

    fn acceptance(&self) -> Measure {
        let merged = |pulls: &[&PullFacts]| {
            pulls.iter().filter(|pull| pull.ended.is_some_and(|ended| ended.merged)).count()
        };
        let ended = self.ended(self.period);
        let share = ratio::share(merged(&ended), ended.len());
        let earlier = self.ended(self.period.before());
        shared(
            share,
            Measure {
                id: "acceptance-ratio",
                name: "Acceptance ratio",
                definition: "Of the pull requests that ended in the period, those that were merged.",
                unit: Unit::Share,
                interval: WILSON,
                n: ended.len(),
                of: "ended pull requests",
                before: ratio::share(merged(&earlier), earlier.len()).map(|one| one.value),
                weeks: by_week(
                    self.period,
                    &ended,
                    |pull| pull.ended.map_or(0, |ended| ended.at_ms),
                    |week| {
                        let week: Vec<&PullFacts> = week.iter().map(|pull| **pull).collect();
                        ratio::share(merged(&week), week.len()).map(|one| one.value)
                    },
                ),
                ..Measure::EMPTY
            },
        )
    }

    fn absence(&self, people: &[Person], earlier: &[Person]) -> Measure {
        let weights = |people: &[Person]| people.iter().map(Person::weight).collect::<Vec<_>>();
        let now = weights(people);
        shared(
            absence::factor(&now),
            Measure {
                id: "absence-factor",
                name: "Contributor absence factor",
                definition: "The fewest people who made half of all contributions (merged pull requests and reviews): how \
                             many would have to be absent for half of the work to stop.",
                unit: Unit::People,
                interval: "bootstrap over contributions",
                n: now.iter().sum::<u64>() as usize,
                of: "contributions",
                before: absence::point(&weights(earlier)),
                ..Measure::EMPTY
            },
        )
    }

    fn habit(&self, habit: Habit, people: &[Person], earlier: &[Person]) -> Measure {
        let count = |people: &[Person]| people.iter().filter(|one| one.habit == habit).count() as f64;
        let (id, name) = match habit {
            Habit::New => ("new-contributors", "New contributors"),
            Habit::Returning => ("returning-contributors", "Returning contributors"),
            Habit::Episodic => ("episodic-contributors", "Episodic contributors"),
            Habit::Regular => ("regular-contributors", "Regular contributors"),
        };
        Measure {
            id,
            name,
            definition: habit.definition(),
            unit: Unit::People,
            value: (!people.is_empty()).then(|| count(people)),
            n: people.len(),
            of: "people who contributed",
            before: (!earlier.is_empty()).then(|| count(earlier)),
            weeks: if habit == Habit::New {
                by_week(self.period, people, |one| one.first_ms, |week| Some(week.len() as f64))
            } else {
                Vec::new()
            },
            ..Measure::EMPTY
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::DAY_MS;
    use crate::measures::facts::Ended;

    const NOW: i64 = 1_000 * DAY_MS;

    fn pull(number: u64, opened_days: i64, response: Option<i64>, ended: Option<(i64, bool)>) -> PullFacts {
        let at = |days: i64| NOW - days * DAY_MS;
        PullFacts {
            number,
            author: format!("author{number}"),
            bot: false,
            from_fork: number.is_multiple_of(2),
            opened_ms: at(opened_days),
            ended: ended.map(|(days, merged)| Ended { at_ms: at(days), merged }),
            first_response_ms: response.map(at),
            approved_ms: None,
            tested: None,
        }
    }

    fn measured(pulls: Vec<PullFacts>, counts: &[Counts]) -> Health {
        let facts = Facts { pulls, known_since_ms: Some(0), ..Facts::default() };
        let period = Period::last_days(90, NOW);
        health("acme/gateway".into(), &facts, counts, Targets::default(), period, NOW)
    }

    fn find<'a>(health: &'a Health, id: &str) -> &'a Measure {
        health.measures.iter().find(|measure| measure.id == id).unwrap()
    }

    #[test]
    fn open_pull_requests_are_censored_not_ignored() {
        let answered: Vec<PullFacts> = (1..=4).map(|n| pull(n, 10, Some(9), None)).collect();
        let mut waiting = answered.clone();
        waiting.extend((5..=8).map(|n| pull(n, 60, None, None)));
        let day = Some(86_400.0);
        assert_eq!(find(&measured(answered, &[]), "first-response-p50").value, day);
        let health = measured(waiting, &[]);
        let half = find(&health, "first-response-p50");
        assert_eq!((half.value, half.n), (day, 8));
        let most = find(&health, "first-response-p85");
        assert_eq!(most.value, None, "four wait for two months: nobody knows when 85 % are answered");
        assert!(most.missing.as_deref().unwrap().starts_with("4 of 8"), "{most:?}");
        assert_eq!(half.meets(), Some(true));
        assert_eq!(most.meets(), None);
    }

    #[test]
    fn ratios_count_what_they_say() {
        let health = measured(
            vec![
                pull(1, 10, None, Some((5, true))),
                pull(2, 10, None, Some((5, false))),
                pull(3, 10, None, None),
                pull(4, 200, None, Some((80, true))),
                pull(5, 150, None, Some((120, false))),
            ],
            &[],
        );
        let closure = find(&health, "closure-ratio");
        assert_eq!((closure.value, closure.n, closure.before), (Some(1.0), 3, Some(1.0)));
        let acceptance = find(&health, "acceptance-ratio");
        assert_eq!((acceptance.value, acceptance.n), (Some(2.0 / 3.0), 3));
        assert!(acceptance.low < acceptance.value && acceptance.value < acceptance.high);
        assert_eq!(acceptance.before, Some(0.0));
    }

    #[test]
    fn code_that_was_merged_with_its_tests_is_told_from_other_code() {
        let merged = |number, tested| PullFacts { tested, ..pull(number, 10, None, Some((5, true))) };
        let health = measured(
            vec![
                merged(1, Some(true)),
                merged(2, Some(true)),
                merged(3, Some(false)),
                merged(4, None),
                PullFacts { tested: Some(false), ..pull(5, 10, None, Some((5, false))) },
                PullFacts { tested: Some(false), ..pull(6, 200, None, Some((100, true))) },
            ],
            &[],
        );
        let measure = find(&health, "tests-added");
        assert_eq!((measure.value, measure.n, measure.before), (Some(2.0 / 3.0), 3, Some(0.0)));
        assert!(measure.low < measure.value && measure.value < measure.high);
    }

    #[test]
    fn weeks_with_nothing_are_shown_as_nothing() {
        let health = measured(vec![pull(1, 1, Some(0), None), pull(2, 80, Some(79), None)], &[]);
        let weeks = &find(&health, "first-response-p50").weeks;
        assert_eq!(weeks.len(), 13);
        assert_eq!(weeks.iter().filter(|week| week.is_some()).count(), 2);
    }

    #[test]
    fn nothing_known_is_no_zero() {
        let health = measured(Vec::new(), &[]);
        assert!(health.measures.iter().all(|measure| measure.value.is_none()), "{:?}", health.measures);
    }

    #[test]
    fn growth_is_by_the_month() {
        let count =
            |days: i64, stars, watchers| Counts { at_ms: NOW - days * DAY_MS, stars, forks: 10, watchers };
        let health = measured(vec![pull(2, 5, None, None)], &[count(73, 100, 50), count(0, 220, 62)]);
        assert_eq!(find(&health, "stars-per-month").value.map(f64::round), Some(50.0));
        let watchers = find(&health, "watchers-per-month").value.unwrap();
        assert!((watchers - 0.1).abs() < 0.001, "{watchers}");
        assert_eq!(find(&health, "fork-to-pull").value, Some(0.1));
        let one = measured(Vec::new(), &[count(0, 1, 0)]);
        assert_eq!(find(&one, "stars-per-month").value, None, "one sample is no growth");
    }
}
