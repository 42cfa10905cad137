//! What another configuration would have done to pull requests of the past: pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pull requests that are looked at, the newest.
pub const PULLS_MAX: usize = 200;
/// Numbers that are named of each kind.
const NAMED: usize = 5;

/// What a configuration does to a pull request, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The check run fails.
    CommitsRefused,
    /// It says something that does not fail it.
    CommitsTold,
    ClaimsRefused,
    ClaimsTold,
    TestsRefused,
    TestsTold,
    ReviewsRefused,
    ReviewsTold,
    PerformanceRefused,
    PerformanceTold,
    /// Benchmarks are run without being asked for.
    Measured,
}

impl Part {
    /// After a number of pull requests.
    fn words(self) -> &'static str {
        match self {
            Part::CommitsRefused => "refused for their commits",
            Part::CommitsTold => "told of their commits",
            Part::ClaimsRefused => "refused for a claim",
            Part::ClaimsTold => "told of a claim",
            Part::TestsRefused => "refused for their tests",
            Part::TestsTold => "told of their tests",
            Part::ReviewsRefused => "refused for want of approvals",
            Part::ReviewsTold => "told that approvals lack",
            Part::PerformanceRefused => "refused for a slowdown",
            Part::PerformanceTold => "told of a slowdown, or of doubt",
            Part::Measured => "measured",
        }
    }
}

/// What was known of one pull request, by one configuration. What nobody can know is left out.
pub type Outcome = BTreeMap<Part, bool>;

/// A pull request of the past by both configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub number: u64,
    pub now: Outcome,
    pub then: Outcome,
}

/// One part of it, over all pull requests of which it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    pub part: Part,
    pub of: usize,
    pub now: usize,
    pub then: usize,
    /// The first of those to which it would newly happen, and no more.
    pub newly: Vec<u64>,
    pub no_more: Vec<u64>,
}

/// What the configuration there is, and the one that is proposed, make of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    pub looked_at: usize,
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// The file cannot be read as it is proposed.
    #[serde(default)]
    pub invalid: Option<String>,
}

impl WhatIf {
    pub fn of(tried: &[Tried]) -> Self {
        let mut effects: BTreeMap<Part, Effect> = BTreeMap::new();
        for pull in tried {
            for (part, now) in &pull.now {
                let Some(then) = pull.then.get(part) else { continue };
                let effect = effects.entry(*part).or_insert_with(|| Effect {
                    part: *part,
                    of: 0,
                    now: 0,
                    then: 0,
                    newly: Vec::new(),
                    no_more: Vec::new(),
                });
                effect.of += 1;
                effect.now += usize::from(*now);
                effect.then += usize::from(*then);
                match (now, then) {
                    (false, true) if effect.newly.len() < NAMED => effect.newly.push(pull.number),
                    (true, false) if effect.no_more.len() < NAMED => effect.no_more.push(pull.number),
                    _ => {}
                }
            }
        }
        Self { looked_at: tried.len(), effects: effects.into_values().collect(), invalid: None }
    }

    pub fn invalid(reason: String) -> Self {
        Self { invalid: Some(reason), ..Self::default() }
    }

    pub fn in_words(&self) -> String {
        if let Some(reason) = &self.invalid {
            return format!("It cannot be read as it is proposed: {reason}");
        }
        let pulls = match self.looked_at {
            0 => return "There is no earlier pull request to try it on.".into(),
            1 => "the last pull request".to_owned(),
            count => format!("the last {count} pull requests"),
        };
        let changed = |effect: &&Effect| !effect.newly.is_empty() || !effect.no_more.is_empty();
        let parts: Vec<String> = self.effects.iter().filter(changed).map(|one| self.part(one)).collect();
        match parts.is_empty() {
            true => format!("Tried on {pulls}, it would have changed nothing that is known of them."),
            false => format!("Tried on {pulls}, it would have changed this: {}.", parts.join("; ")),
        }
    }

    fn part(&self, effect: &Effect) -> String {
        let listed = |numbers: &[u64]| {
            numbers.iter().map(|number| format!("#{number}")).collect::<Vec<_>>().join(", ")
        };
        let of = match effect.of == self.looked_at {
            true => String::new(),
            false => format!(" of {} of which it is known", effect.of),
        };
        let mut words = format!("{}{of} {} (now {}", effect.then, effect.part.words(), effect.now);
        for (numbers, what) in [(&effect.newly, "newly"), (&effect.no_more, "no more")] {
            if !numbers.is_empty() {
                words += &format!("; {what} {}", listed(numbers));
            }
        }
        words + ")"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(number: u64, parts: &[(Part, bool, bool)]) -> Tried {
        Tried {
            number,
            now: parts.iter().map(|(part, now, _)| (*part, *now)).collect(),
            then: parts.iter().map(|(part, _, then)| (*part, *then)).collect(),
        }
    }

    #[test]
    fn what_would_change_is_told_with_its_numbers() {
        let all = [
            tried(7, &[(Part::CommitsRefused, false, true), (Part::Measured, true, true)]),
            tried(6, &[(Part::CommitsRefused, true, true), (Part::ReviewsTold, true, false)]),
            tried(5, &[(Part::CommitsRefused, true, false), (Part::ReviewsTold, true, true)]),
        ];
        let what_if = WhatIf::of(&all);
        assert_eq!(
            what_if.in_words(),
            "Tried on the last 3 pull requests, it would have changed this: 2 refused for their commits (now 2; newly #7; \
             no more #5); 1 of 2 of which it is known told that approvals lack (now 2; no more #6)."
        );
        let kept = serde_json::to_string(&what_if).unwrap();
        assert_eq!(serde_json::from_str::<WhatIf>(&kept).unwrap(), what_if);
    }

    #[test]
    fn where_nothing_changes_or_nothing_is_known_that_is_told() {
        assert!(WhatIf::of(&[]).in_words().contains("no earlier"));
        assert!(WhatIf::invalid("line 3".into()).in_words().contains("line 3"));
        let same = WhatIf::of(&[tried(1, &[(Part::Measured, true, true)])]);
        assert_eq!(
            same.in_words(),
            "Tried on the last pull request, it would have changed nothing that is known of them."
        );
        let many: Vec<Tried> =
            (0..300).map(|number| tried(number, &[(Part::Measured, false, true)])).collect();
        assert_eq!(WhatIf::of(&many).effects[0].newly, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_an_older_version_kept_is_read() {
        let old =
            r#"{"looked_at":3,"refused_now":2,"refused_then":2,"newly_refused":[7],"newly_passed":[5]}"#;
        assert_eq!(serde_json::from_str::<WhatIf>(old).unwrap().looked_at, 3);
    }
}
