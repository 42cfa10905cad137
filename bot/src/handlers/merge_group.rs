//! A merge queue asks about a group of pull requests: what will land is there, commit by commit, so that is judged, and
//! measured.

use super::{Ask, load_repository, mirrored};
use crate::app::App;
use crate::assess::{self, Plan};
use crate::checks;
use crate::db::jobs::{Job, NewJob};
use crate::db::{Tx, jobs, repositories, writes};
use crate::event::Place;
use crate::facts::GitFacts;
use crate::git::{History, Wants};
use crate::history::follow;
use crate::judgement::{Performance, RUN_SCHEMA, Run};
use crate::outgoing::Outgoing;
use crate::pull::Repository;
use crate::queue::{self, Purpose};
use crate::repo_config::Trigger;
use crate::runs;
use perfsuite::model::{JobId, Sha, Trust};

/// Judges the commits between the two, and answers every check that a queue may wait for.
pub async fn handle(app: &App, place: &Place, base: &Sha, head: &Sha, ask: Ask) -> anyhow::Result<()> {
    let repository = load_repository(app, place).await?;
    let mut run = Run {
        schema: RUN_SCHEMA,
        repository: repository.name.to_string(),
        pull: None,
        base: base.clone(),
        head: head.clone(),
        commits: Default::default(),
        config_error: None,
        reviews: None,
        tests: None,
        accepted: None,
        performance: Performance::Skipped { reason: "the group cannot be judged".into() },
    };
    let (mut reviewed, mut tested) = (false, false);
    let mut plan = None;
    let (of_base, of_head) = (base.clone(), head.clone());
    let wants = Wants { commits: vec![base.clone(), head.clone()], ..Wants::default() };
    let facts = move |history: &History| GitFacts::read(history, &of_base, &of_head);
    match mirrored::read(app, &repository, wants, facts).await? {
        Ok(facts) => {
            let assessment = assess::assess(&facts, assess::Whose::Group, Trigger::Push { labels: &[] });
            reviewed = assessment.asks_for_reviews(&facts);
            tested = assessment.tests.is_some();
            run.base = facts.merge_base;
            match assessment.plan {
                Ok(wanted) => plan = Some(wanted),
                Err(reason) => run.performance = Performance::Skipped { reason },
            }
            (run.commits, run.config_error) = (assessment.commits, assessment.config_error);
        }
        Err(reason) => run.commits = assess::unreadable_commits(head, "a merge queue's group", &reason),
    }
    let details = format!("{}/{}", app.public_url, repository.name);
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, &repository, now_ms).await?;
    let mut wanted = vec![checks::commits_check(&run, &details)];
    wanted.extend(checks::config_check(&run, &details));
    if reviewed {
        wanted.push(checks::reviewed_before(&run, &details));
    }
    if tested {
        wanted.push(checks::tested_before(&run, &details));
    }
    match plan {
        Some(plan) => match queue_job(&mut tx, app, &repository, &run, plan, ask).await? {
            Ok(job) => runs::publish_group(&mut tx, app, &repository, &job).await?,
            Err(reason) => {
                run.performance = Performance::Skipped { reason };
                wanted.push(checks::performance_check(&run, &details));
            }
        },
        None => wanted.push(checks::performance_check(&run, &details)),
    }
    for check in wanted {
        let body = Outgoing::CheckRun(check);
        writes::want(&mut tx, repository.installation, repository.id, &body, now_ms).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    app.wake.jobs.notify_waiters();
    Ok(())
}

/// The group is no more: its measuring is pointless.
pub async fn gone(app: &App, place: &Place, head: &Sha) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    if let Some(job) = jobs::newest_of_group(&mut *tx, place.repository, head).await? {
        jobs::drop_one(&mut tx, &job.id, "the end of the merge queue's group", now_ms).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The group's job, which may be there already; or why there is none. A queue cannot wait for the next day.
async fn queue_job(
    tx: &mut Tx,
    app: &App,
    repository: &Repository,
    run: &Run,
    plan: Plan,
    ask: Ask,
) -> anyhow::Result<Result<JobId, String>> {
    let now_ms = app.clock.now_ms();
    let known = jobs::newest_of_group(&mut **tx, repository.id, &run.head).await?;
    let stands = |job: &Job| job.base == run.base && !(ask.measures_again() && job.state.ended());
    if let Some(job) = known.filter(stands) {
        return Ok(Ok(job.id));
    }
    let limit_ms = follow::day_limit_ms(plan.minutes_per_day);
    let spent_ms = jobs::spent_ms(&mut **tx, repository.id, now_ms).await?;
    if spent_ms >= limit_ms && !ask.measures_again() {
        let reason = "today's measuring for this repository is used up (minutes-per-day)";
        return Ok(Err(reason.into()));
    }
    let spec = mirrored::job(app, repository, plan, (run.base.clone(), run.head.clone()));
    let new = NewJob {
        repository: repository.id,
        purpose: Purpose::Group,
        number: 0,
        spec: &spec,
        stranger: spec.trust == Trust::Stranger,
        place: queue::Place::group(now_ms),
        day_limit_ms: None,
    };
    jobs::queue(tx, &new, now_ms).await?;
    Ok(Ok(spec.job))
}
