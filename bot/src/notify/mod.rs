//! Tells others what got slower: a notice to each address that the owner named. What a notice says is decided here, purely;
//! it is stored in the transaction that found it, and sent by [`send`].

pub mod address;
pub mod send;

use crate::app::App;
use crate::db::change_points::ChangePoint;
use crate::db::history_commits::HistoryCommit;
use crate::db::series::Key;
use crate::db::{Tx, notices};
use crate::format;
use crate::pull::Repository;
use perfsuite::model::{Certainty, Direction, JobId, Metric, Report, Verdict};
use serde_json::{Value, json};

/// Benchmarks that one notice names, the largest change first.
const BENCHMARKS_MAX: usize = 50;
/// A change of an older commit is told to nobody: it was found by measuring the past.
const CHANGE_AGE_MAX_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub kind: Kind,
    /// As it is sent.
    pub body: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pull request's head is slower than its merge base, confirmed.
    RunSlower,
    /// A benchmark got slower along the default branch, confirmed.
    HistorySlower,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::RunSlower => "run.slower",
            Kind::HistorySlower => "history.slower",
        }
    }
}

/// Of a pull request's run; `None` where nothing got slower for certain.
pub fn of_run(
    public_url: &str,
    repository: &Repository,
    number: u64,
    job: &JobId,
    report: &Report,
    now_ms: i64,
) -> Option<Notice> {
    let mut slower: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.verdict == Verdict::Slower && row.certainty == Certainty::Confirmed)
        .collect();
    if slower.is_empty() {
        return None;
    }
    slower.sort_by(|a, b| b.estimate.abs().total_cmp(&a.estimate.abs()));
    let benchmarks: Vec<Value> = slower
        .iter()
        .take(BENCHMARKS_MAX)
        .map(|row| {
            json!({
                "suite": row.suite, "benchmark": row.benchmark.0, "metric": row.metric.as_str(),
                "base": row.base, "head": row.head, "change": row.estimate, "low": row.low, "high": row.high,
                "blocking": row.blocks(),
            })
        })
        .collect();
    let body = json!({
        "event": Kind::RunSlower.as_str(),
        "at": format::iso(now_ms),
        "repository": repository.name.to_string(),
        "private": repository.private,
        "pull": number,
        "base": report.base,
        "head": report.head,
        "blocking": report.blocks(),
        "benchmarks": benchmarks,
        "left_out": slower.len().saturating_sub(BENCHMARKS_MAX),
        "url": format!("{public_url}/runs/{job}"),
    });
    Some(Notice { kind: Kind::RunSlower, body })
}

/// Of a change point that was confirmed; `None` where it is for the better, or of long ago.
pub fn of_change(
    public_url: &str,
    repository: &Repository,
    key: &Key,
    change: &ChangePoint,
    commit: Option<&HistoryCommit>,
    now_ms: i64,
) -> Option<Notice> {
    let metric = serde_json::from_value(key.metric.clone().into()).unwrap_or(Metric::Own);
    let worse = (change.size > 0.0) == (metric.direction() == Direction::LowerIsBetter);
    let commit = commit.filter(|commit| now_ms.saturating_sub(commit.committed_ms) <= CHANGE_AGE_MAX_MS)?;
    if !worse {
        return None;
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &key.suite)
        .append_pair("benchmark", &key.benchmark)
        .append_pair("metric", &key.metric)
        .finish();
    let name = repository.name.to_string();
    let body = json!({
        "event": Kind::HistorySlower.as_str(),
        "at": format::iso(now_ms),
        "repository": name,
        "private": repository.private,
        "branch": repository.default_branch,
        "suite": key.suite,
        "benchmark": key.benchmark,
        "metric": key.metric,
        "change": change.size,
        "commit": commit.sha,
        "subject": commit.subject,
        "pull": commit.pull,
        "url": format!("{public_url}/{name}/history?{query}"),
    });
    Some(Notice { kind: Kind::HistorySlower, body })
}

/// Stores a notice for each address, in the transaction that found what it tells. Who commits calls
/// [`crate::app::Wake::notices`].
pub async fn want(tx: &mut Tx, app: &App, notice: &Notice) -> sqlx::Result<()> {
    let body = notice.body.to_string();
    for url in &app.config.notify.urls {
        notices::insert(tx, url, notice.kind.as_str(), &body, app.clock.now_ms()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::change_points::State;
    use crate::pull::{InstallationId, RepoId, RepoName};

    const NOW_MS: i64 = 1_795_345_024_000;

    fn repository() -> Repository {
        Repository {
            id: RepoId(1),
            installation: InstallationId(1),
            name: RepoName { owner: "acme".into(), name: "gateway".into() },
            private: true,
            default_branch: "main".into(),
        }
    }

    fn key(metric: &str) -> Key {
        Key { suite: "s".into(), benchmark: "a/b".into(), metric: metric.into() }
    }

    fn change(size: f64) -> ChangePoint {
        ChangePoint {
            id: "c".into(),
            series: 1,
            position: 9,
            before: 8,
            size,
            state: State::Confirmed,
            found_ms: 1,
            confirmed_ms: Some(2),
        }
    }

    fn commit(committed_ms: i64) -> HistoryCommit {
        HistoryCommit {
            position: 9,
            sha: "a".repeat(40).parse().unwrap(),
            parent: None,
            author: "ann".into(),
            subject: "feat: x".into(),
            committed_ms,
            pull: Some(7),
            environment: None,
            parent_job: None,
            reference_job: None,
            reference_number: None,
        }
    }

    #[test]
    fn a_change_for_the_worse_is_told_and_no_other() {
        let of = |metric, size, commit: Option<&HistoryCommit>| {
            of_change("http://x", &repository(), &key(metric), &change(size), commit, NOW_MS)
        };
        let young = commit(NOW_MS - 1_000);
        let told = of("time", 0.1, Some(&young)).unwrap();
        assert_eq!(told.body["event"], "history.slower");
        assert_eq!(told.body["change"], 0.1);
        assert_eq!(told.body["url"], "http://x/acme/gateway/history?suite=s&benchmark=a%2Fb&metric=time");
        assert!(of("qps-per-core", -0.1, Some(&young)).is_some());
        assert_eq!(of("time", -0.1, Some(&young)), None);
        assert_eq!(of("qps-per-core", 0.1, Some(&young)), None);
        assert_eq!(of("time", 0.1, Some(&commit(NOW_MS - CHANGE_AGE_MAX_MS - 1))), None, "long ago");
        assert_eq!(of("time", 0.1, None), None);
    }
}
