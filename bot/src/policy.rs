//! Who may do what, and what a pull request's state allows: pure.

use crate::pull::{Permission, PullRequest, PullState};
use crate::repo_config::ForkPolicy;

/// Commands and buttons are for people who could push anyway.
pub fn may_command(permission: Permission) -> bool {
    permission >= Permission::Write
}

/// Why a pull request is not measured now, whatever its changes.
pub fn not_measured_because(pull: &PullRequest) -> Option<&'static str> {
    match (pull.state, pull.draft) {
        (PullState::Open, false) => None,
        (PullState::Open, true) => Some("a draft: it is measured when it is marked ready for review"),
        (PullState::Closed, _) => Some("the pull request is closed"),
        (PullState::Merged, _) => Some("the pull request is merged"),
    }
}

/// Why a fork's pull request is not measured, whoever would allow it.
pub fn fork_not_measured_because(pull: &PullRequest, policy: ForkPolicy) -> Option<&'static str> {
    (pull.from_fork && policy == ForkPolicy::Never).then_some(
        "pull requests from forks are not measured here (`forks = \"never\"` in the configuration)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_people_who_can_push_may_command() {
        let may: Vec<Permission> = [
            Permission::None,
            Permission::Read,
            Permission::Triage,
            Permission::Write,
            Permission::Maintain,
            Permission::Admin,
        ]
        .into_iter()
        .filter(|p| may_command(*p))
        .collect();
        assert_eq!(may, [Permission::Write, Permission::Maintain, Permission::Admin]);
    }
}
