//! From CODEOWNERS, reviews and the ledger of what they approved to what is still missing.

use super::{Asked, CodeOwners, FileAsked, Login, Owner, Teams, missing};
use crate::judgement::{Approval, ReviewsJudgement, ShortFile};
use crate::pull::{Review, ReviewState};
use crate::repo_config::ReviewsConfig;
use std::collections::{BTreeMap, BTreeSet};

/// Files that are named; the rest is counted.
const FILES_NAMED_MAX: usize = 500;
/// Candidates named for one file.
const CANDIDATES_NAMED_MAX: usize = 20;

/// What is known of a pull request's reviews.
pub struct ReviewFacts<'a> {
    pub owners: &'a CodeOwners,
    pub teams: &'a Teams,
    pub author: &'a str,
    pub config: &'a ReviewsConfig,
    /// Patch ids of the head, by path.
    pub patches: &'a BTreeMap<String, String>,
    /// Approving reviews that stand ([`standing`]), each with the patch ids of what was approved.
    pub approved: &'a [(Login, &'a BTreeMap<String, String>)],
    /// What could not be known, in sentences.
    pub notes: Vec<String>,
}

/// Approving reviews that stand: all of a person's since they last asked for changes or were dismissed. Each was of
/// one head; a later one, of another, does not take the earlier one's files away.
pub fn standing(reviews: &[Review]) -> Vec<&Review> {
    let mut in_order: Vec<&Review> = reviews.iter().collect();
    in_order.sort_by_key(|review| (review.submitted_ms, review.id));
    let mut by_person: BTreeMap<Login, Vec<&Review>> = BTreeMap::new();
    for review in in_order {
        let theirs = by_person.entry(Login::new(&review.login)).or_default();
        match review.state {
            ReviewState::Approved => theirs.push(review),
            ReviewState::ChangesRequested | ReviewState::Dismissed => theirs.clear(),
            ReviewState::Other => {}
        }
    }
    by_person.into_values().flatten().collect()
}

/// Teams that own one of these paths, without repetition.
pub fn teams_of<'a>(owners: &'a CodeOwners, paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let owners = paths.into_iter().flat_map(|path| owners.owners(path));
    owners
        .filter_map(|owner| match owner {
            Owner::Team(name) => Some(name.as_str()),
            Owner::Person(_) => None,
        })
        .collect()
}

pub fn judge(facts: ReviewFacts<'_>) -> ReviewsJudgement {
    let mut by_patch: BTreeMap<(&str, &str), BTreeSet<Login>> = BTreeMap::new();
    let mut approvals: BTreeMap<&Login, BTreeSet<&str>> = BTreeMap::new();
    for (login, patches) in facts.approved {
        let theirs = approvals.entry(login).or_default();
        for (path, patch) in *patches {
            by_patch.entry((path.as_str(), patch.as_str())).or_default().insert(login.clone());
            if facts.patches.get(path) == Some(patch) {
                theirs.insert(path.as_str());
            }
        }
    }
    let nobody = BTreeSet::new();
    let counts = facts.config.counts(facts.patches.keys().map(String::as_str));
    let files = facts.patches.iter().zip(counts).map(|((path, patch), count)| FileAsked {
        path: path.as_str(),
        count,
        approved: by_patch.get(&(path.as_str(), patch.as_str())).unwrap_or(&nobody),
    });
    let author = Login::new(facts.author);
    let found =
        missing(&Asked { owners: facts.owners, teams: facts.teams, author: &author, files: files.collect() });
    let names = |logins: &[Login], most: usize| logins.iter().take(most).map(Login::to_string).collect();
    let approvals = approvals.into_iter().map(|(login, files)| Approval {
        login: login.to_string(),
        files: files.len(),
        outdated: facts.patches.len() - files.len(),
    });
    ReviewsJudgement {
        level: facts.config.level,
        owned: facts.patches.len() - found.unowned,
        unowned: found.unowned,
        short_left_out: found.short.len().saturating_sub(FILES_NAMED_MAX),
        short: found
            .short
            .iter()
            .take(FILES_NAMED_MAX)
            .map(|short| ShortFile {
                path: short.path.clone(),
                have: short.have,
                need: short.need,
                candidates: names(&short.candidates, CANDIDATES_NAMED_MAX),
            })
            .collect(),
        smallest_set: names(&found.smallest_set, usize::MAX),
        exact: found.exact,
        impossible_left_out: found.impossible.len().saturating_sub(FILES_NAMED_MAX),
        impossible: found.impossible.into_iter().take(FILES_NAMED_MAX).collect(),
        approvals: approvals.collect(),
        bad_lines: facts.owners.bad.clone(),
        notes: facts.notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::Level;

    fn review(id: i64, login: &str, state: ReviewState) -> Review {
        Review { id, login: login.into(), state, commit: None, submitted_ms: id }
    }

    #[test]
    fn the_last_word_counts() {
        use ReviewState::{Approved, ChangesRequested, Dismissed, Other};
        let check = |reviews: &[(&str, ReviewState)], expect: &[i64]| {
            let reviews: Vec<Review> = reviews
                .iter()
                .enumerate()
                .map(|(n, (login, state))| review(n as i64, login, *state))
                .collect();
            assert_eq!(standing(&reviews).iter().map(|r| r.id).collect::<Vec<_>>(), expect, "{reviews:?}");
        };
        check(&[("a", Approved), ("b", Approved)], &[0, 1]);
        check(&[("a", Approved), ("A", Approved), ("a", Other)], &[0, 1]);
        check(&[("a", Approved), ("a", ChangesRequested)], &[]);
        check(&[("a", Approved), ("a", Dismissed), ("a", Approved)], &[2]);
        check(&[("a", Other), ("b", ChangesRequested)], &[]);
    }

    #[test]
    fn an_approval_covers_what_was_looked_at() {
        let owners = CodeOwners::parse("* @bob @carol\n/free\n");
        let patches = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(path, id)| ((*path).to_owned(), (*id).to_owned())).collect()
        };
        let (earlier, later) = (patches(&[("a", "1"), ("b", "2"), ("gone", "3")]), patches(&[("b", "4")]));
        let judged = judge(ReviewFacts {
            owners: &owners,
            teams: &Teams::default(),
            author: "alice",
            config: &ReviewsConfig::default(),
            patches: &patches(&[("a", "1"), ("b", "4"), ("free", "5")]),
            approved: &[
                (Login::new("bob"), &earlier),
                (Login::new("bob"), &later),
                (Login::new("carol"), &earlier),
            ],
            notes: Vec::new(),
        });
        let short: Vec<(&str, usize)> = judged.short.iter().map(|s| (s.path.as_str(), s.have)).collect();
        assert_eq!((short, judged.owned, judged.unowned), (vec![("b", 1)], 2, 1));
        assert_eq!((judged.smallest_set, judged.level), (vec!["carol".to_owned()], Level::Warn));
        let worth: Vec<(&str, usize, usize)> =
            judged.approvals.iter().map(|a| (a.login.as_str(), a.files, a.outdated)).collect();
        assert_eq!(worth, [("bob", 2, 1), ("carol", 1, 2)]);
    }
}
