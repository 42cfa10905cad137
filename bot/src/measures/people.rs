//! Who contributes how: new, returning, episodic, regular.

use super::facts::{Contribution, What};
use super::{DAY_MS, Period};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Who was away for as long as this and came back is returning.
const AWAY_MS: i64 = 180 * DAY_MS;
/// Who contributed in no more months than this of the last twelve is episodic.
const EPISODIC_MONTHS: usize = 2;
const MONTH_MS: i64 = 365 * DAY_MS / 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Habit {
    /// The first contribution that is known lies in the period.
    New,
    /// Came back in the period after half a year without a contribution.
    Returning,
    /// Contributed in at most two of the last twelve months.
    Episodic,
    Regular,
}

impl Habit {
    pub const ALL: [Habit; 4] = [Habit::New, Habit::Returning, Habit::Episodic, Habit::Regular];

    pub fn word(self) -> &'static str {
        match self {
            Habit::New => "new",
            Habit::Returning => "returning",
            Habit::Episodic => "episodic",
            Habit::Regular => "regular",
        }
    }

    pub fn definition(self) -> &'static str {
        match self {
            Habit::New => "The first contribution that is known lies in the period.",
            Habit::Returning => {
                "Contributed in the period, for the first time after half a year without a contribution."
            }
            Habit::Episodic => "Contributed in the period, and in at most two of the last twelve months.",
            Habit::Regular => "Contributed in the period, and in at least three of the last twelve months.",
        }
    }
}

/// One person's contributions in a period.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Person {
    pub login: String,
    pub habit: Habit,
    pub opened: usize,
    pub merged: usize,
    pub reviews: usize,
    pub comments: usize,
    pub issues: usize,
    /// Milliseconds since the epoch.
    pub first_ms: i64,
    pub last_ms: i64,
}

impl Person {
    /// What the absence factor counts: pull requests that were merged, and reviews.
    pub fn weight(&self) -> u64 {
        (self.merged + self.reviews) as u64
    }
}

/// Everybody who contributed in the period: who gave most first, then by name.
pub fn of_period(contributions: &[Contribution], period: Period) -> Vec<Person> {
    let mut by_login: BTreeMap<String, Vec<&Contribution>> = BTreeMap::new();
    for one in contributions.iter().filter(|one| one.at_ms < period.to_ms) {
        by_login.entry(one.login.to_lowercase()).or_default().push(one);
    }
    let mut people: Vec<Person> = by_login.values().filter_map(|all| person(all, period)).collect();
    people.sort_by(|a, b| {
        let key = |one: &Person| (one.weight(), one.opened + one.comments + one.issues);
        key(b).cmp(&key(a)).then_with(|| a.login.to_lowercase().cmp(&b.login.to_lowercase()))
    });
    people
}

/// `all` is not empty and in order of time.
fn person(all: &[&Contribution], period: Period) -> Option<Person> {
    let within: Vec<&&Contribution> = all.iter().filter(|one| period.has(one.at_ms)).collect();
    let (first, last) = (all.first()?, within.last()?);
    let count = |what| within.iter().filter(|one| one.what == what).count();
    Some(Person {
        login: last.login.clone(),
        habit: habit(all, period),
        opened: count(What::Opened),
        merged: count(What::Merged),
        reviews: count(What::Review),
        comments: count(What::Comment),
        issues: count(What::Issue),
        first_ms: first.at_ms,
        last_ms: last.at_ms,
    })
}

fn habit(all: &[&Contribution], period: Period) -> Habit {
    if all.first().is_some_and(|first| period.has(first.at_ms)) {
        return Habit::New;
    }
    let came_back =
        all.windows(2).any(|two| period.has(two[1].at_ms) && two[1].at_ms - two[0].at_ms >= AWAY_MS);
    if came_back {
        return Habit::Returning;
    }
    let months: BTreeSet<i64> = all
        .iter()
        .map(|one| (period.to_ms - 1 - one.at_ms) / MONTH_MS)
        .filter(|month| (0..12).contains(month))
        .collect();
    if months.len() <= EPISODIC_MONTHS { Habit::Episodic } else { Habit::Regular }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 2_000 * DAY_MS;

    fn at(login: &str, days_ago: i64, what: What) -> Contribution {
        Contribution { login: login.into(), what, at_ms: NOW - days_ago * DAY_MS, number: None }
    }

    #[test]
    fn people_are_told_apart_by_when_they_came() {
        let mut all = vec![
            at("new", 10, What::Opened),
            at("gone", 300, What::Opened),
            at("returning", 400, What::Opened),
            at("returning", 5, What::Review),
            at("episodic", 100, What::Opened),
            at("episodic", 20, What::Opened),
        ];
        all.extend((0..12).map(|month| at("regular", 5 + month * 31, What::Merged)));
        all.sort_by_key(|one| one.at_ms);
        let people = of_period(&all, Period::last_days(90, NOW));
        let habits: Vec<_> = people.iter().map(|one| (one.login.as_str(), one.habit)).collect();
        assert_eq!(
            habits,
            [
                ("regular", Habit::Regular),
                ("returning", Habit::Returning),
                ("episodic", Habit::Episodic),
                ("new", Habit::New),
            ]
        );
        assert_eq!((people[0].merged, people[0].weight()), (3, 3));
    }

    #[test]
    fn a_login_is_the_same_however_it_is_written() {
        let all = [at("Ann", 3, What::Opened), at("ann", 2, What::Merged)];
        let people = of_period(&all, Period::last_days(30, NOW));
        assert_eq!((people.len(), people[0].opened, people[0].merged), (1, 1, 1));
        assert_eq!(of_period(&[], Period::last_days(30, NOW)), []);
    }
}
