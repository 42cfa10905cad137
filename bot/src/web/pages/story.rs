//! `/{owner}/{name}/pull/{number}/story`: what happened to a pull request, in order of time.

use super::access::{AtPull, Readable};
use super::error::PageError;
use super::parts::{When, clean};
use super::{Page, Site, render};
use crate::db::{activity, opt_outs, overview, pulls, repository_settings, story as rows};
use crate::format;
use crate::story::{Entry, Happening, Sources, Stage, Story, tell};
use askama::Template;
use axum::extract::State;

/// Jobs of one pull request in its story, the newest.
const JOBS_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "pages/story.html")]
struct StoryPage {
    name: String,
    number: u64,
    title: String,
    stages: Vec<StageView>,
    entries: Vec<EntryView>,
}

struct StageView {
    name: &'static str,
    took: String,
    open: bool,
    target: Option<String>,
    missed: bool,
}

struct EntryView {
    kind: &'static str,
    by: Option<String>,
    text: String,
    sha: Option<String>,
    job: Option<String>,
    evidence: bool,
    when: When,
    after: Option<String>,
}

/// The story as page and API tell it.
pub async fn load(site: &Site, repository: &Readable, number: u64) -> Result<Story, PageError> {
    let db = &site.db;
    let row = pulls::get(db.pool(), repository.id, number).await?.ok_or(PageError::NotFound)?;
    let events = activity::of_pull(db, repository.id, number).await?;
    let judged = rows::judged(db, repository.id, number).await?;
    let evidence = rows::evidence(db, repository.id, number).await?;
    let jobs = overview::jobs_of_pull(db, repository.id, number, JOBS_MAX).await?;
    let jobs: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let digest = evidence.get(&job.id.0).cloned();
            (job, digest)
        })
        .collect();
    let acceptances = rows::acceptances(db, repository.id, number).await?;
    let merged =
        events.iter().filter(|event| event.kind == crate::activity::Kind::Merged).map(|e| e.at_ms).max();
    let release = match merged {
        Some(at_ms) => activity::release_after(db, repository.id, at_ms).await?,
        None => None,
    };
    let linked: Vec<u64> = events
        .iter()
        .filter(|event| event.kind == crate::activity::Kind::Linked)
        .filter_map(|event| event.detail.as_ref()?.parse().ok())
        .collect();
    let issues = rows::issues(db, repository.id, &linked).await?;
    let settings = repository_settings::get(db, repository.id).await?;
    let mut story = tell(&Sources {
        repository: repository.name.to_string(),
        pull: &row.pull,
        events: &events,
        judged: &judged,
        jobs: &jobs,
        acceptances: &acceptances,
        release: release.as_ref(),
        issues: &issues,
        triage_days: settings.targets.triage_days,
        review_days: settings.targets.review_days,
    });
    let mut unnamed = opt_outs::all(db.pool()).await?;
    unnamed.extend(settings.opt_out);
    for entry in &mut story.entries {
        let hidden = entry.by.as_ref().is_some_and(|by| unnamed.contains(&by.to_lowercase()));
        if hidden && !matches!(entry.what, Happening::Opened) {
            entry.by = Some("somebody".into());
        }
    }
    Ok(story)
}

pub async fn show(State(site): State<Site>, AtPull { repository, number }: AtPull) -> Page {
    let story = load(&site, &repository, number).await?;
    let now_ms = site.clock.now_ms();
    let mut before_ms = None;
    let entries = story.entries.iter().map(|entry| {
        let after = before_ms.map(|before: i64| entry.at_ms - before).filter(|gap| *gap >= 60_000);
        before_ms = Some(entry.at_ms);
        view(entry, after, now_ms)
    });
    render(&StoryPage {
        name: repository.name.to_string(),
        number,
        title: clean(&story.title),
        entries: entries.collect(),
        stages: story.stages.iter().map(|one| stage(one, now_ms)).collect(),
    })
}

fn view(entry: &Entry, after_ms: Option<i64>, now_ms: i64) -> EntryView {
    let kind = match entry.what {
        Happening::Issue => "issue",
        Happening::Opened => "opened",
        Happening::Pushed => "commits",
        Happening::Judged => "conventions",
        Happening::Queued | Happening::Measured => "performance",
        Happening::Review => "review",
        Happening::Comment => "comment",
        Happening::Accepted => "accepted",
        Happening::Ended => "end",
        Happening::Released => "release",
    };
    EntryView {
        kind,
        by: entry.by.as_deref().map(clean),
        text: clean(&entry.text),
        sha: entry.sha.as_ref().map(|sha| sha.short().into()),
        job: entry
            .job
            .clone()
            .filter(|_| entry.what == Happening::Measured || entry.what == Happening::Queued),
        evidence: entry.evidence.is_some(),
        when: When::new(entry.at_ms, now_ms),
        after: after_ms.map(|ms| format::seconds(ms as f64 / 1_000.0)),
    }
}

fn stage(stage: &Stage, now_ms: i64) -> StageView {
    let seconds = (stage.to_ms.unwrap_or(now_ms) - stage.from_ms).max(0) as f64 / 1_000.0;
    StageView {
        name: stage.name,
        took: if seconds < 1.0 { "at once".into() } else { format::seconds(seconds) },
        open: stage.to_ms.is_none(),
        target: stage.target_days.map(|days| format::count(days as usize, "day", "days")),
        missed: stage.target_days.is_some_and(|days| seconds > f64::from(days) * 86_400.0),
    }
}
