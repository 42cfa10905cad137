//! A pull request's story: what happened in order of time, each anchored to the head that it was about, and how long each
//! stage took. Pure.

use crate::activity::{GHOST, Kind, Recorded};
use crate::db::overview::JobSummary;
use crate::judgement::Acceptance;
use crate::pull::{PullRequest, PullState};
use crate::queue::JobState;
use perfsuite::model::Sha;
use schemars::JsonSchema;
use serde::Serialize;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Entry {
    pub at_ms: i64,
    pub what: Happening,
    /// Who did it; `None`: Paceline, or nobody that is known.
    pub by: Option<String>,
    pub text: String,
    /// The head that it was about.
    #[schemars(with = "Option<String>")]
    pub sha: Option<Sha>,
    /// The job, where there is a run's page.
    pub job: Option<String>,
    /// The issue that it leads to.
    pub issue: Option<u64>,
    /// The evidence's digest, while it is kept.
    pub evidence: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    Issue,
    Opened,
    Pushed,
    Judged,
    Queued,
    Measured,
    Review,
    Comment,
    Accepted,
    Ended,
    Released,
}

/// From one station to the next.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Stage {
    pub name: &'static str,
    pub from_ms: i64,
    /// `None`: still going on.
    pub to_ms: Option<i64>,
    /// What is aimed at.
    pub target_days: Option<u32>,
}

/// The whole story.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Story {
    pub repository: String,
    pub number: u64,
    pub title: String,
    /// The oldest first.
    pub entries: Vec<Entry>,
    pub stages: Vec<Stage>,
}

/// How a head was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedHead {
    pub head: Sha,
    pub at_ms: i64,
    pub commits: usize,
    pub clean: usize,
    pub config_error: bool,
    /// Files that lack approvals, where any are asked.
    pub lacking: Option<usize>,
    pub skipped: Option<String>,
}

/// What a story is made of.
pub struct Sources<'a> {
    pub repository: String,
    pub pull: &'a PullRequest,
    pub events: &'a [Recorded],
    pub judged: &'a [JudgedHead],
    /// With the digest of the evidence while it is kept.
    pub jobs: &'a [(JobSummary, Option<String>)],
    pub acceptances: &'a [(Sha, Acceptance)],
    pub release: Option<&'a Recorded>,
    /// The closed issues' opening, as far as it is known.
    pub issues: &'a [Recorded],
    pub triage_days: u32,
    pub review_days: u32,
}

pub fn tell(sources: &Sources<'_>) -> Story {
    let pull = sources.pull;
    let mut entries = Vec::new();
    let opened = sources.events.iter().find(|event| event.kind == Kind::Opened);
    let opened_ms = opened.map_or(pull.opened_ms, |event| event.at_ms);
    let opened_sha = opened.and_then(sha).or_else(|| {
        // The first head that is known of.
        sources.judged.iter().min_by_key(|judged| judged.at_ms).map(|judged| judged.head.clone())
    });
    let mut opening = entry(opened_ms, Happening::Opened, Some(&pull.author), "opened the pull request");
    opening.sha = opened_sha;
    entries.push(opening);
    entries.extend(sources.issues.iter().map(|issue| {
        let number = issue.number.unwrap_or(0);
        let text = format!("opened issue #{number}, which this closes");
        Entry { issue: issue.number, ..entry(issue.at_ms, Happening::Issue, Some(&issue.login), text) }
    }));
    entries.extend(sources.events.iter().filter_map(of_event));
    entries.extend(sources.judged.iter().map(of_judged));
    for (job, evidence) in sources.jobs {
        entries.extend(of_job(job, evidence.as_deref()));
    }
    entries.extend(sources.acceptances.iter().map(|(head, accepted)| Entry {
        sha: Some(head.clone()),
        ..entry(
            accepted.at_ms,
            Happening::Accepted,
            Some(&accepted.by),
            format!("took the slowdown: {}", accepted.reason),
        )
    }));
    if let Some(release) = sources.release {
        let tag = release.detail.as_deref().unwrap_or("a release");
        let text = format!("published {tag}, the first release after the merge");
        entries.push(entry(release.at_ms, Happening::Released, Some(&release.login), text));
    }
    entries.sort_by_key(|entry| entry.at_ms);
    Story {
        repository: sources.repository.clone(),
        number: pull.number,
        title: pull.title.clone(),
        stages: stages(sources, opened_ms),
        entries,
    }
}

fn entry(at_ms: i64, what: Happening, by: Option<&str>, text: impl Into<String>) -> Entry {
    let by = by.map(str::to_owned);
    Entry { at_ms, what, by, text: text.into(), sha: None, job: None, issue: None, evidence: None }
}

fn sha(event: &Recorded) -> Option<Sha> {
    event.sha.as_ref()?.parse().ok()
}

fn of_event(event: &Recorded) -> Option<Entry> {
    let (what, text) = match event.kind {
        Kind::Pushed => (Happening::Pushed, "pushed".into()),
        Kind::Ready => (Happening::Pushed, "said that it is ready for review".into()),
        Kind::Review => match event.detail.as_deref() {
            Some("approved") => (Happening::Review, "approved".into()),
            Some("changes-requested") => (Happening::Review, "asked for changes".into()),
            Some("dismissed") => (Happening::Review, "gave a review that was dismissed".into()),
            _ => (Happening::Review, "reviewed".into()),
        },
        Kind::Comment => (Happening::Comment, "commented".into()),
        Kind::ReviewComment => (Happening::Comment, "commented on a line".into()),
        Kind::Merged => (Happening::Ended, "merged it".into()),
        Kind::Closed => (Happening::Ended, "closed it".into()),
        Kind::Reopened => (Happening::Opened, "opened it again".into()),
        _ => return None,
    };
    let text: String = text;
    Some(Entry { sha: sha(event), ..entry(event.at_ms, what, Some(&event.login), text) })
}

fn of_judged(judged: &JudgedHead) -> Entry {
    let mut text = if judged.config_error {
        "The configuration cannot be used, so the defaults judged.".to_owned()
    } else {
        String::new()
    };
    if judged.commits > 0 {
        text += &format!("Commits: {} of {} fine.", judged.clean, judged.commits);
    }
    match judged.lacking {
        Some(0) => text += " Every owned file is approved.",
        Some(lacking) => {
            text +=
                &format!(" {} still approvals.", crate::format::count(lacking, "file wants", "files want"));
        }
        None => {}
    }
    if let Some(reason) = &judged.skipped {
        text += &format!(" Not measured: {reason}.");
    }
    Entry { sha: Some(judged.head.clone()), ..entry(judged.at_ms, Happening::Judged, None, text.trim()) }
}

fn of_job(job: &JobSummary, evidence: Option<&str>) -> Vec<Entry> {
    let anchored = |entry: Entry| Entry { sha: Some(job.head.clone()), job: Some(job.id.0.clone()), ..entry };
    let mut entries =
        vec![anchored(entry(job.created_ms, Happening::Queued, None, "Queued to be measured."))];
    if let Some(finished_ms) = job.finished_ms {
        let tally = &job.tally;
        let counts = [
            (tally.slower, "slower"),
            (tally.faster, "faster"),
            (tally.equal, "equal"),
            (tally.suspect, "perhaps moved by layout"),
            (tally.inconclusive, "inconclusive"),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let text = match job.state {
            JobState::Done if counts.is_empty() => "Measured: no rows.".into(),
            JobState::Done => format!("Measured: {}.", counts.join(", ")),
            JobState::Failed => "Could not be measured.".into(),
            JobState::Cancelled => "The measurement was cancelled.".into(),
            _ => "The measurement was superseded.".into(),
        };
        let ended = anchored(entry(finished_ms, Happening::Measured, None, text));
        entries.push(Entry { evidence: evidence.map(str::to_owned), ..ended });
    }
    entries
}

/// First response, approval, merge; and the last measurement's wait and work.
fn stages(sources: &Sources<'_>, opened_ms: i64) -> Vec<Stage> {
    let pull = sources.pull;
    let by_another = |event: &&Recorded| {
        !event.bot && !event.login.eq_ignore_ascii_case(&pull.author) && event.at_ms >= opened_ms
    };
    let first = |fits: fn(&Recorded) -> bool| {
        sources.events.iter().filter(by_another).filter(|event| fits(event)).map(|event| event.at_ms).min()
    };
    let response = first(|event| match event.kind {
        Kind::Review | Kind::Comment | Kind::ReviewComment => true,
        Kind::Merged | Kind::Closed => event.login != GHOST,
        _ => false,
    });
    let approval = first(|event| event.kind == Kind::Review && event.detail.as_deref() == Some("approved"));
    let ends = sources.events.iter().filter(|event| matches!(event.kind, Kind::Merged | Kind::Closed));
    let end = ends.map(|event| event.at_ms).max().filter(|_| pull.state != PullState::Open);
    let mut stages = vec![Stage {
        name: "first response",
        from_ms: opened_ms,
        to_ms: response.or(end),
        target_days: Some(sources.triage_days),
    }];
    if let Some(response) = response {
        stages.push(Stage {
            name: "approval",
            from_ms: response,
            to_ms: approval.or(end),
            target_days: Some(sources.review_days),
        });
    }
    if let Some(approval) = approval {
        let name = if pull.state == PullState::Closed { "closing" } else { "merge" };
        stages.push(Stage { name, from_ms: approval, to_ms: end, target_days: None });
    }
    if let Some((job, _)) = sources.jobs.iter().max_by_key(|(job, _)| job.created_ms) {
        stages.push(Stage {
            name: "wait for a runner",
            from_ms: job.created_ms,
            to_ms: job.claimed_ms.or(job.finished_ms),
            target_days: None,
        });
        if let Some(claimed_ms) = job.claimed_ms {
            stages.push(Stage {
                name: "measuring",
                from_ms: claimed_ms,
                to_ms: job.finished_ms,
                target_days: None,
            });
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(state: PullState) -> PullRequest {
        PullRequest {
            number: 7,
            title: "fix: one".into(),
            author: "ann".into(),
            author_is_bot: false,
            state,
            draft: false,
            base_ref: "main".into(),
            base_sha: "a".repeat(40).parse().unwrap(),
            head_ref: "topic".into(),
            head_sha: "b".repeat(40).parse().unwrap(),
            from_fork: false,
            labels: Vec::new(),
            opened_ms: 100,
        }
    }

    fn event(kind: Kind, login: &str, at_ms: i64, detail: Option<&str>) -> Recorded {
        Recorded {
            kind,
            number: Some(7),
            login: login.into(),
            bot: false,
            detail: detail.map(Into::into),
            sha: Some("c".repeat(40)),
            at_ms,
        }
    }

    fn sources<'a>(pull: &'a PullRequest, events: &'a [Recorded]) -> Sources<'a> {
        Sources {
            repository: "o/r".into(),
            pull,
            events,
            judged: &[],
            jobs: &[],
            acceptances: &[],
            release: None,
            issues: &[],
            triage_days: 3,
            review_days: 10,
        }
    }

    #[test]
    fn a_story_is_in_order_of_time_and_has_its_stages() {
        let events = [
            event(Kind::Merged, "carol", 500, None),
            event(Kind::Review, "bob", 300, Some("approved")),
            event(Kind::Comment, "bob", 200, None),
            event(Kind::Comment, "ann", 150, None),
        ];
        let pull = pull(PullState::Merged);
        let story = tell(&sources(&pull, &events));
        let times: Vec<i64> = story.entries.iter().map(|entry| entry.at_ms).collect();
        assert_eq!(times, [100, 150, 200, 300, 500]);
        let stages: Vec<_> = story.stages.iter().map(|s| (s.name, s.from_ms, s.to_ms)).collect();
        let expected =
            [("first response", 100, Some(200)), ("approval", 200, Some(300)), ("merge", 300, Some(500))];
        assert_eq!(stages, expected);
        assert_eq!(story.entries[3].sha.as_ref().map(|sha| sha.as_str().len()), Some(40));
    }

    #[test]
    fn what_is_open_goes_on() {
        let pull = pull(PullState::Open);
        let story = tell(&sources(&pull, &[]));
        assert_eq!((story.stages.len(), story.stages[0].to_ms), (1, None));
        assert_eq!(story.entries.len(), 1);
    }
}
