//! What will land: the commits of the pull request, or the one that a squash makes of them, by the repository's settings.

use super::commits;
use crate::judgement::{CommitsJudgement, Landing, SquashJudgement};
use crate::pull::{Commit, MergeMethod, MergeSettings, SquashBody, SquashTitle};
use crate::repo_config::{CommitsConfig, JudgeWhat};
use perfsuite::model::Sha;
use serde::{Deserialize, Serialize};

/// Of a predicted message as it is kept for showing; what is judged is whole.
const SHOWN_MAX_BYTES: usize = 4_000;

/// What GitHub says of a pull request, beside its commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub number: u64,
    pub head: Sha,
    pub title: String,
    pub body: String,
    pub settings: MergeSettings,
    /// How it will be merged by itself, where somebody has said so.
    pub auto_merge: Option<MergeMethod>,
}

/// Judges what will land. Only where nothing but a squash can happen, the squash counts; else the commits do, since they
/// may land as they are, and what a squash would make of them is told beside.
pub fn judge(commits: &[Commit], opened: Option<&Opened>, config: &CommitsConfig) -> CommitsJudgement {
    let judged = commits::judge(commits, config);
    let Some(opened) = opened.filter(|_| config.judge == JudgeWhat::WhatLands && !judged.commits.is_empty())
    else {
        return judged;
    };
    let methods = methods(opened);
    if !methods.contains(&MergeMethod::Squash) {
        return CommitsJudgement { landing: Some(Landing { methods, squash: None }), ..judged };
    }
    let message = squashed(opened, commits);
    let commit = Commit { sha: opened.head.clone(), message, parents: 1, author_name: String::new() };
    let squash = commits::judge(std::slice::from_ref(&commit), config).commits;
    let counts = methods == [MergeMethod::Squash];
    let shown = &commit.message[..commit.message.floor_char_boundary(SHOWN_MAX_BYTES)];
    let landing = Landing {
        methods,
        squash: squash.first().map(|judgement| SquashJudgement {
            message: shown.to_owned(),
            findings: judgement.findings.clone(),
            counts,
        }),
    };
    let commits = if counts { squash } else { judged.commits };
    CommitsJudgement { commits, landing: Some(landing), ..CommitsJudgement::default() }
}

/// The ways in which it can be merged; none where GitHub does not tell.
fn methods(opened: &Opened) -> Vec<MergeMethod> {
    if let Some(method) = opened.auto_merge {
        return vec![method];
    }
    let settings = &opened.settings;
    let allowed = [
        (settings.merge, MergeMethod::Merge),
        (settings.squash, MergeMethod::Squash),
        (settings.rebase, MergeMethod::Rebase),
    ];
    allowed.into_iter().filter(|(allowed, _)| *allowed == Some(true)).map(|(_, method)| method).collect()
}

/// The message of GitHub's squash, by the two settings of the repository. The `Co-authored-by:` lines that GitHub adds
/// for other authors are left out: they change no judgement.
pub fn squashed(opened: &Opened, commits: &[Commit]) -> String {
    let single = match commits {
        [commit] => Some(commit),
        _ => None,
    };
    let title = match (opened.settings.squash_title, single) {
        (SquashTitle::CommitOrPull, Some(commit)) => parts(&commit.message).0,
        _ => opened.title.trim(),
    };
    let title = format!("{title} (#{})", opened.number);
    let body = match (opened.settings.squash_body, single) {
        (SquashBody::Blank, _) => String::new(),
        (SquashBody::Pull, _) => opened.body.replace("\r\n", "\n"),
        (SquashBody::Commits, Some(commit)) => parts(&commit.message).1.to_owned(),
        (SquashBody::Commits, None) => {
            let listed = commits.iter().map(|commit| match parts(&commit.message) {
                (header, "") => format!("* {header}"),
                (header, body) => format!("* {header}\n\n{body}"),
            });
            listed.collect::<Vec<_>>().join("\n\n")
        }
    };
    let body = body.trim();
    if body.is_empty() { title } else { format!("{title}\n\n{body}") }
}

/// First line, and what stands below it.
fn parts(message: &str) -> (&str, &str) {
    let (header, body) = message.trim().split_once('\n').unwrap_or((message.trim(), ""));
    (header.trim_end(), body.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::Level;

    fn commit(message: &str) -> Commit {
        Commit {
            sha: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            message: message.into(),
            parents: 1,
            author_name: "Alice".into(),
        }
    }

    fn opened(title: &str, body: &str) -> Opened {
        Opened {
            number: 7,
            head: "fedcba9876543210fedcba9876543210fedcba98".parse().unwrap(),
            title: title.into(),
            body: body.into(),
            settings: MergeSettings { squash: Some(true), ..MergeSettings::default() },
            auto_merge: None,
        }
    }

    #[test]
    fn a_squash_is_put_together_as_github_does() {
        use SquashBody::{Blank, Commits, Pull};
        use SquashTitle::{CommitOrPull, PullTitle};
        let one = [commit("fix: one\n\nwhy\n\nCloses #1\n")];
        let two = [commit("fix: one\n\nwhy"), commit("feat: two\n")];
        for (title, body, commits, expect) in [
            (CommitOrPull, Commits, &one[..], "fix: one (#7)\n\nwhy\n\nCloses #1"),
            (CommitOrPull, Blank, &one, "fix: one (#7)"),
            (CommitOrPull, Pull, &one, "fix: one (#7)\n\nThe body.\nMore."),
            (PullTitle, Commits, &one, "The title (#7)\n\nwhy\n\nCloses #1"),
            (CommitOrPull, Commits, &two, "The title (#7)\n\n* fix: one\n\nwhy\n\n* feat: two"),
            (PullTitle, Blank, &two, "The title (#7)"),
        ] {
            let mut opened = opened("The title", "The body.\r\nMore.\r\n");
            (opened.settings.squash_title, opened.settings.squash_body) = (title, body);
            assert_eq!(squashed(&opened, commits), expect, "{title:?} {body:?}");
        }
    }

    /// What counts, for a good title over bad commits and the other way round.
    #[test]
    fn what_can_land_counts() {
        let (good, bad) = (commit("fix: one"), commit("One"));
        let worst = |opened: &Opened, commits: &[Commit]| {
            judge(commits, Some(opened), &CommitsConfig::default()).worst()
        };
        let two = |commit: &Commit| [commit.clone(), commit.clone()];
        let (fine, poor) = (opened("feat: all of it", ""), opened("All of it", ""));
        assert_eq!(worst(&fine, &two(&bad)), Level::Off);
        assert_eq!(worst(&poor, &two(&good)), Level::Error);
        assert_eq!(worst(&poor, std::slice::from_ref(&good)), Level::Off, "one commit gives the title");
        let any = |mut opened: Opened| {
            (opened.settings.merge, opened.settings.rebase) = (Some(true), Some(true));
            opened
        };
        assert_eq!(worst(&any(fine.clone()), &two(&bad)), Level::Error);
        assert_eq!(worst(&any(poor.clone()), &two(&good)), Level::Off);
        let told = judge(&two(&good), Some(&any(poor.clone())), &CommitsConfig::default()).landing.unwrap();
        let squash = told.squash.unwrap();
        assert_eq!((squash.message.as_str().lines().next(), squash.counts), (Some("All of it (#7)"), false));
        assert_eq!(squash.findings.len(), 1);
        let by_itself = Opened { auto_merge: Some(MergeMethod::Squash), ..any(fine.clone()) };
        assert_eq!(worst(&by_itself, &two(&bad)), Level::Off);
        let rebased = Opened { auto_merge: Some(MergeMethod::Rebase), ..fine.clone() };
        assert_eq!(worst(&rebased, &two(&bad)), Level::Error);
        let unknown = Opened { settings: MergeSettings::default(), ..fine.clone() };
        assert_eq!(worst(&unknown, &two(&bad)), Level::Error);
        let config = CommitsConfig { judge: JudgeWhat::PullRequest, ..CommitsConfig::default() };
        assert_eq!(judge(&two(&bad), Some(&fine), &config).worst(), Level::Error);
        let off = CommitsConfig { level: Level::Off, ..CommitsConfig::default() };
        assert_eq!(judge(&two(&bad), Some(&poor), &off), CommitsJudgement::default());
    }
}
