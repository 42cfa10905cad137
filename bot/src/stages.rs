//! The stages of a pull request (open, first response, approval, merge) against their targets: pure.

use crate::format;
use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// When each stage was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    pub opened_ms: i64,
    pub triage_days: u32,
    pub review_days: u32,
    /// The first answer of somebody who is neither the author nor a bot.
    pub responded_ms: Option<i64>,
    pub approved_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// When somebody was reminded.
    pub reminded_ms: Option<i64>,
}

impl Stages {
    /// Whether a target was missed that nobody was told of. A target of no days is none.
    pub fn overdue(&self, now_ms: i64) -> bool {
        self.reminded_ms.is_none() && self.missed(now_ms).is_some()
    }

    fn missed(&self, now_ms: i64) -> Option<Target> {
        if self.ended_ms.is_some() {
            return None;
        }
        let passed = |days: u32| days > 0 && now_ms - self.opened_ms > i64::from(days) * DAY_MS;
        match (self.responded_ms, self.approved_ms) {
            (None, None) if passed(self.triage_days) => Some(Target::Triage),
            (_, None) if passed(self.review_days) => Some(Target::Review),
            _ => None,
        }
    }

    /// The reminder, as long as what it asks for is missing. It holds no time that passes, so it is one text.
    pub fn reminder(&self) -> Option<String> {
        let reminded_ms = self.reminded_ms?;
        Some(match self.missed(reminded_ms)? {
            Target::Triage => format!(
                "⏰ Nobody has answered within {}, which is the target for a first response. A word would help, even \
                 \"later\".",
                days(self.triage_days)
            ),
            Target::Review => format!(
                "⏰ This has waited longer than {} for its review, which is the target. Whoever can look at it next?",
                days(self.review_days)
            ),
        })
    }

    /// `first response in 5 h (target 3 d)`, and the same of approval and merge; empty before the first.
    pub fn in_words(&self) -> String {
        let after = |at_ms: i64| format::seconds((at_ms - self.opened_ms).max(0) as f64 / 1_000.0);
        let target = |days: u32| if days > 0 { format!(" (target {days} d)") } else { String::new() };
        let mut parts = Vec::new();
        if let Some(at_ms) = self.responded_ms {
            parts.push(format!("first response in {}{}", after(at_ms), target(self.triage_days)));
        }
        if let Some(at_ms) = self.approved_ms {
            parts.push(format!("approved in {}{}", after(at_ms), target(self.review_days)));
        }
        if let Some(at_ms) = self.ended_ms {
            parts.push(format!("ended after {}", after(at_ms)));
        }
        parts.join(" · ")
    }
}

enum Target {
    Triage,
    Review,
}

fn days(count: u32) -> String {
    format::count(count as usize, "day", "days")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn opened() -> Stages {
        Stages { triage_days: 3, review_days: 10, ..Stages::default() }
    }

    #[test]
    fn one_reminder_of_what_is_missing() {
        let waiting = opened();
        assert!(!waiting.overdue(3 * DAY_MS) && waiting.overdue(3 * DAY_MS + 1));
        let reminded = Stages { reminded_ms: Some(4 * DAY_MS), ..waiting };
        assert!(!reminded.overdue(99 * DAY_MS), "once");
        assert!(reminded.reminder().unwrap().contains("within 3 days"));
        // It goes when what it asked for has come.
        assert_eq!(Stages { responded_ms: Some(5 * DAY_MS), ..reminded }.reminder(), None);
        let answered = Stages { responded_ms: Some(DAY_MS), ..waiting };
        assert!(!answered.overdue(10 * DAY_MS) && answered.overdue(11 * DAY_MS));
        let late = Stages { reminded_ms: Some(11 * DAY_MS), ..answered };
        assert!(late.reminder().unwrap().contains("10 days"));
        for done in [
            Stages { approved_ms: Some(1), ..late },
            Stages { ended_ms: Some(1), ..late },
            Stages { triage_days: 0, review_days: 0, ..waiting },
        ] {
            assert!(!done.overdue(99 * DAY_MS) && done.reminder().is_none(), "{done:?}");
        }
    }

    #[test]
    fn stages_are_told_against_their_targets() {
        assert_eq!(opened().in_words(), "");
        let stages = Stages { responded_ms: Some(5 * HOUR_MS), approved_ms: Some(2 * DAY_MS), ..opened() };
        assert_eq!(stages.in_words(), "first response in 5 h (target 3 d) · approved in 2 d (target 10 d)");
    }
}
