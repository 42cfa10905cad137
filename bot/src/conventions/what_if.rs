//! What another configuration would have done to pull requests of the past: pure.

use super::landing::{self, Opened};
use crate::judgement::Level;
use crate::pull::Commit;
use crate::repo_config::RepoConfig;
use serde::{Deserialize, Serialize};

/// Pull requests that are looked at, the newest.
pub const PULLS_MAX: usize = 200;
/// Numbers that are named.
const NAMED: usize = 5;

/// A pull request of the past.
pub struct Past {
    pub number: u64,
    pub author: String,
    pub opened: Opened,
    pub commits: Vec<Commit>,
}

/// How many would have been refused for their commits, by the configuration there is and by the one that is proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    pub looked_at: usize,
    pub refused_now: usize,
    pub refused_then: usize,
    /// Passed now, refused then; and the other way round. The first of each.
    pub newly_refused: Vec<u64>,
    pub newly_passed: Vec<u64>,
    /// The file cannot be read as it is proposed.
    #[serde(default)]
    pub invalid: Option<String>,
}

impl WhatIf {
    pub fn of(past: &[Past], now: &RepoConfig, then: Result<&RepoConfig, &str>) -> Self {
        let then = match then {
            Ok(then) => then,
            Err(reason) => return Self { invalid: Some(reason.to_owned()), ..Self::default() },
        };
        let mut what_if = Self { looked_at: past.len(), ..Self::default() };
        for pull in past {
            let (before, after) = (refused(pull, now), refused(pull, then));
            what_if.refused_now += usize::from(before);
            what_if.refused_then += usize::from(after);
            match (before, after) {
                (false, true) => what_if.newly_refused.push(pull.number),
                (true, false) => what_if.newly_passed.push(pull.number),
                _ => {}
            }
        }
        what_if.newly_refused.truncate(NAMED);
        what_if.newly_passed.truncate(NAMED);
        what_if
    }

    pub fn in_words(&self) -> String {
        if let Some(reason) = &self.invalid {
            return format!("It cannot be read as it is proposed: {reason}");
        }
        if self.looked_at == 0 {
            return "There is no earlier pull request to try it on.".into();
        }
        let listed = |numbers: &[u64]| {
            numbers.iter().map(|number| format!("#{number}")).collect::<Vec<_>>().join(", ")
        };
        let mut words = format!(
            "Of the last {} pull requests it would have refused {} for their commits (now {})",
            self.looked_at, self.refused_then, self.refused_now
        );
        for (numbers, what) in [(&self.newly_refused, "newly refused"), (&self.newly_passed, "newly passed")]
        {
            if !numbers.is_empty() {
                words += &format!("; {what}: {}", listed(numbers));
            }
        }
        words + "."
    }
}

fn refused(pull: &Past, config: &RepoConfig) -> bool {
    !config.commits.exempts(&pull.author)
        && landing::judge(&pull.commits, Some(&pull.opened), &config.commits).worst() == Level::Error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo_config;

    fn past(number: u64, message: &str) -> Past {
        let sha: perfsuite::model::Sha = "1".repeat(40).parse().unwrap();
        let commits =
            vec![Commit { sha: sha.clone(), message: message.into(), parents: 1, author_name: "a".into() }];
        let opened = Opened {
            number,
            head: sha,
            title: message.into(),
            body: String::new(),
            settings: Default::default(),
            auto_merge: None,
        };
        Past { number, author: "alice".into(), opened, commits }
    }

    #[test]
    fn a_stricter_file_is_tried_on_the_past() {
        let pulls = [past(7, "fix: one"), past(6, "Fix two"), past(5, "wip: three")];
        let now = repo_config::parse("", "x").unwrap();
        let then = repo_config::parse("[commits.rules]\ntype-enum = { values = [\"wip\"] }\n", "x").unwrap();
        let what_if = WhatIf::of(&pulls, &now, Ok(&then));
        assert_eq!((what_if.looked_at, what_if.refused_now, what_if.refused_then), (3, 2, 2));
        assert_eq!((what_if.newly_refused.as_slice(), what_if.newly_passed.as_slice()), (&[7][..], &[5][..]));
        assert_eq!(
            what_if.in_words(),
            "Of the last 3 pull requests it would have refused 2 for their commits (now 2); newly refused: #7; \
             newly passed: #5."
        );
        assert!(WhatIf::of(&pulls, &now, Err("line 3")).in_words().contains("line 3"));
        assert!(WhatIf::of(&[], &now, Ok(&then)).in_words().contains("no earlier"));
    }
}
