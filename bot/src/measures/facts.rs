//! What measures are made of: pull requests with what happened to them, and contributions. Put together from the event log.

use super::survival::Span;
use crate::activity::{GHOST, Kind, Recorded};
use std::collections::{BTreeMap, BTreeSet};

/// One pull request and its stations.
#[derive(Clone, Debug, PartialEq)]
pub struct PullFacts {
    pub number: u64,
    pub author: String,
    pub bot: bool,
    pub from_fork: bool,
    pub opened_ms: i64,
    pub ended: Option<Ended>,
    /// By a person other than the author.
    pub first_response_ms: Option<i64>,
    pub approved_ms: Option<i64>,
    /// Whether every changed source came with a changed test; `None` without a changed source, and where nobody looked.
    pub tested: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at_ms: i64,
    pub merged: bool,
}

/// A pull request as the database has it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPull {
    pub number: u64,
    pub author: String,
    pub bot: bool,
    pub from_fork: bool,
    pub opened_ms: i64,
    /// Merged or not, and when we learned of it: where no event tells when it was.
    pub ended: Option<Ended>,
    pub tested: Option<bool>,
}

/// Something that somebody gave: what is counted of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    pub login: String,
    pub what: What,
    pub at_ms: i64,
    pub number: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Opened,
    Merged,
    Review,
    Comment,
    Issue,
}

/// Everything that a repository's measures are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// By people; those of bots are counted apart.
    pub pulls: Vec<PullFacts>,
    /// By people, the oldest first.
    pub contributions: Vec<Contribution>,
    /// Pull requests of bots and of people who are not counted, left out.
    pub left_out: usize,
    /// From when on events are known; `None` where there are none.
    pub known_since_ms: Option<i64>,
    /// The list was longer than is read.
    pub cut: bool,
}

impl Facts {
    /// `excluded` in lower case: people whom the configuration does not count.
    pub fn of(known: Vec<KnownPull>, events: &[Recorded], excluded: &BTreeSet<String>) -> Self {
        let counts = |login: &str, bot: bool| !bot && !excluded.contains(&login.to_lowercase());
        let mut by_number: BTreeMap<u64, Vec<&Recorded>> = BTreeMap::new();
        for event in events {
            if let Some(number) = event.number {
                by_number.entry(number).or_default().push(event);
            }
        }
        let (mut pulls, mut contributions, mut left_out) = (Vec::new(), Vec::new(), 0);
        for pull in known {
            if !counts(&pull.author, pull.bot) {
                left_out += 1;
                continue;
            }
            let of_pull = by_number.get(&pull.number).map(Vec::as_slice).unwrap_or_default();
            let facts = stations(pull, of_pull);
            let mut add = |what, at_ms| {
                let (login, number) = (facts.author.clone(), Some(facts.number));
                contributions.push(Contribution { login, what, at_ms, number });
            };
            add(What::Opened, facts.opened_ms);
            if let Some(ended) = facts.ended.filter(|ended| ended.merged) {
                add(What::Merged, ended.at_ms);
            }
            pulls.push(facts);
        }
        for event in events.iter().filter(|event| counts(&event.login, event.bot)) {
            let what = match event.kind {
                Kind::Review => What::Review,
                Kind::Comment | Kind::ReviewComment => What::Comment,
                Kind::IssueOpened => What::Issue,
                _ => continue,
            };
            contributions.push(Contribution {
                login: event.login.clone(),
                what,
                at_ms: event.at_ms,
                number: event.number,
            });
        }
        contributions.sort_by_key(|one| one.at_ms);
        let known_since_ms = events.iter().map(|event| event.at_ms).min();
        Self { pulls, contributions, left_out, known_since_ms, cut: false }
    }
}

fn stations(pull: KnownPull, events: &[&Recorded]) -> PullFacts {
    let mut ended = pull.ended;
    // The newest end that was told, unless it was opened again after it.
    let told = events.iter().filter(|event| matches!(event.kind, Kind::Merged | Kind::Closed));
    if let (Some(known), Some(told)) = (&mut ended, told.max_by_key(|event| event.at_ms)) {
        known.at_ms = told.at_ms;
    }
    let by_another = |event: &&&Recorded| {
        !event.bot && !event.login.eq_ignore_ascii_case(&pull.author) && event.at_ms >= pull.opened_ms
    };
    // Who ended it is not always known, and may have been the author.
    let answers = |event: &&&Recorded| match event.kind {
        Kind::Review | Kind::Comment | Kind::ReviewComment => true,
        Kind::Merged | Kind::Closed => event.login != GHOST,
        _ => false,
    };
    let first_response_ms = events.iter().filter(by_another).filter(answers).map(|event| event.at_ms).min();
    let approves =
        |event: &&&Recorded| event.kind == Kind::Review && event.detail.as_deref() == Some("approved");
    let approved_ms = events.iter().filter(by_another).filter(approves).map(|event| event.at_ms).min();
    PullFacts {
        number: pull.number,
        author: pull.author.clone(),
        bot: pull.bot,
        from_fork: pull.from_fork,
        opened_ms: pull.opened_ms,
        ended,
        first_response_ms,
        approved_ms,
        tested: pull.tested,
    }
}

/// From one station to another: what has not happened when the pull request ended, or by now, counts as longer.
pub fn span(from_ms: i64, to_ms: Option<i64>, ended: Option<Ended>, now_ms: i64) -> Span {
    let until = to_ms.or(ended.map(|ended| ended.at_ms)).unwrap_or(now_ms);
    Span { seconds: (until.saturating_sub(from_ms)).max(0) as f64 / 1_000.0, ended: to_ms.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(number: u64, author: &str, ended: Option<Ended>) -> KnownPull {
        let author = author.into();
        KnownPull { number, author, bot: false, from_fork: false, opened_ms: 100, ended, tested: None }
    }

    fn event(kind: Kind, number: u64, login: &str, at_ms: i64) -> Recorded {
        Recorded {
            kind,
            number: Some(number),
            login: login.into(),
            bot: login.ends_with("[bot]"),
            detail: None,
            sha: None,
            at_ms,
        }
    }

    #[test]
    fn a_response_is_by_a_person_other_than_the_author() {
        let events = [
            event(Kind::Comment, 1, "ann", 200),
            event(Kind::Comment, 1, "paceline[bot]", 210),
            event(Kind::Review, 1, "bob", 300),
            Recorded { detail: Some("approved".into()), ..event(Kind::Review, 1, "carol", 400) },
            event(Kind::Merged, 1, "carol", 500),
            event(Kind::Comment, 2, "bob", 50),
            event(Kind::Closed, 2, GHOST, 300),
        ];
        let merged = Some(Ended { at_ms: 900, merged: true });
        let facts = Facts::of(vec![pull(1, "Ann", merged), pull(2, "ann", None)], &events, &BTreeSet::new());
        let first = &facts.pulls[0];
        assert_eq!((first.first_response_ms, first.approved_ms), (Some(300), Some(400)));
        assert_eq!(first.ended, Some(Ended { at_ms: 500, merged: true }), "the event knows when");
        assert_eq!(
            facts.pulls[1].first_response_ms, None,
            "before it was opened, and closed by nobody known"
        );
        assert_eq!(facts.known_since_ms, Some(50));
    }

    #[test]
    fn bots_and_excluded_people_are_counted_apart() {
        let bot = KnownPull { bot: true, ..pull(1, "dependabot[bot]", None) };
        let excluded = BTreeSet::from(["mirror".to_owned()]);
        let facts = Facts::of(
            vec![bot, pull(2, "Mirror", None), pull(3, "ann", None)],
            &[event(Kind::Review, 3, "MIRROR", 200), event(Kind::Review, 3, "ci[bot]", 200)],
            &excluded,
        );
        assert_eq!((facts.pulls.len(), facts.left_out), (1, 2));
        assert_eq!(facts.contributions.iter().map(|one| one.what).collect::<Vec<_>>(), [What::Opened]);
    }
}
