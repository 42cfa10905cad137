//! Who must still look at a change: every changed file wants a number of distinct owners, its author not counted. Pure.

mod codeowners;
mod cover;
mod judge;
mod pattern;
mod people;

pub use codeowners::{CODEOWNERS_MAX_BYTES, CodeOwners, Owner, PLACES};
pub use cover::Cover;
pub use judge::{ReviewFacts, judge, standing, teams_of};
pub use people::{Login, TEAMS_MAX_BYTES, Teams, TeamsError};

use cover::Need;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a change's reviews.
pub struct Asked<'a> {
    pub owners: &'a CodeOwners,
    pub teams: &'a Teams,
    pub author: &'a Login,
    /// Changed files; with each, how many owners it wants, and who approved it as it is now.
    pub files: Vec<FileAsked<'a>>,
}

pub struct FileAsked<'a> {
    pub path: &'a str,
    pub count: usize,
    pub approved: &'a BTreeSet<Login>,
}

/// One changed file that lacks approvals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    pub path: String,
    /// Owners who approved it.
    pub have: usize,
    pub need: usize,
    /// Owners who could still approve it, in alphabetical order.
    pub candidates: Vec<Login>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub short: Vec<Short>,
    /// The fewest people who, with the approvals there are, would cover every file as far as that can be.
    pub smallest_set: Vec<Login>,
    /// Whether no smaller set can do.
    pub exact: bool,
    /// Files with fewer eligible owners than they want.
    pub impossible: Vec<String>,
    /// Files that nobody owns: nothing is asked for them.
    pub unowned: usize,
}

/// Finds what is missing. Files are answered in the order in which they came, each path once.
pub fn missing(asked: &Asked<'_>) -> Missing {
    let mut answer = Missing::default();
    let mut needs: BTreeSet<Need> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    // Thousands of files often have the same owners.
    let mut expanded: BTreeMap<&[Owner], BTreeSet<Login>> = BTreeMap::new();
    for file in &asked.files {
        if !seen.insert(file.path) {
            continue;
        }
        let owners = asked.owners.owners(file.path);
        if owners.is_empty() {
            answer.unowned += 1;
            continue;
        }
        let people = expanded.entry(owners).or_insert_with(|| asked.teams.people(owners));
        let eligible = || people.iter().filter(|person| *person != asked.author);
        let have = eligible().filter(|person| file.approved.contains(*person)).count();
        let number = eligible().count();
        if number < file.count {
            answer.impossible.push(file.path.to_owned());
        }
        if have >= file.count {
            continue;
        }
        let candidates: Vec<Login> =
            eligible().filter(|person| !file.approved.contains(*person)).cloned().collect();
        let lacking = (file.count - have).min(candidates.len());
        needs.insert(Need { candidates: candidates.iter().cloned().collect(), lacking });
        answer.short.push(Short { path: file.path.to_owned(), have, need: file.count, candidates });
    }
    let needs: Vec<Need> = needs.into_iter().collect();
    let Cover { people, exact } = cover::smallest(&needs);
    answer.smallest_set = people;
    answer.exact = exact;
    answer
}

#[cfg(test)]
mod tests;
