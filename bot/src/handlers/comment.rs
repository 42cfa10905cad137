//! Somebody wrote to Paceline on a pull request: check that they may, do it, leave a receipt.

use super::{Ask, load_repository, refresh, refresh_suite};
use crate::app::App;
use crate::command::{self, Command, HELP};
use crate::db::deliveries::Ending;
use crate::db::{acceptances, clocks, jobs, pulls, repositories, writes};
use crate::errands::{self, Request, Wanted};
use crate::event::Place;
use crate::judgement::{Acceptance, Performance};
use crate::outgoing::Outgoing;
use crate::policy;
use crate::pull::Repository;
use crate::runs;
use perfsuite::model::Sha;

/// A comment as it came.
pub struct Said {
    pub place: Place,
    pub number: u64,
    pub comment_id: i64,
    pub author: String,
    pub by_bot: bool,
    pub body: String,
}

/// What the person gets back.
enum Receipt {
    Done,
    Refused(String),
    Answer(String),
}

pub async fn handle(app: &App, said: &Said) -> anyhow::Result<Ending> {
    if !said.by_bot {
        responded(app, &said.place, said.number, &said.author).await?;
    }
    // Our own comments quote commands; answering bots would be a loop.
    let Some(command) = command::parse(&said.body).filter(|_| !said.by_bot) else {
        return Ok(Ending::Ignored);
    };
    let repository = load_repository(app, &said.place).await?;
    let permission = app.github.permission(&repository, &said.author).await?;
    let receipt = if policy::may_command(permission) {
        obey(app, said, &repository, command).await?
    } else {
        Receipt::Refused("Commands are taken from people with write permission on this repository.".into())
    };
    answer(app, said, &repository, receipt).await?;
    Ok(Ending::Done)
}

/// Somebody said something: where it is the first answer, the comment tells so.
pub async fn responded(app: &App, place: &Place, number: u64, login: &str) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    pulls::hold(&mut tx, place.repository, number).await?;
    if clocks::responded(&mut tx, place.repository, number, login, app.clock.now_ms()).await?
        && let Some(repository) = repositories::by_id(&mut *tx, place.repository).await?
    {
        runs::publish(&mut tx, app, &repository, number).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    Ok(())
}

async fn obey(app: &App, said: &Said, repository: &Repository, command: Command) -> anyhow::Result<Receipt> {
    Ok(match command {
        Command::Help => Receipt::Answer(HELP.into()),
        Command::Unknown { text } => {
            Receipt::Refused(format!("`{}` is not something that I know.\n\n{HELP}", text.replace('`', "'")))
        }
        Command::Bench { suite: None } => {
            refresh(app, &said.place, said.number, Ask::Again).await?;
            Receipt::Done
        }
        Command::Bench { suite: Some(suite) } => {
            match refresh_suite(app, &said.place, said.number, &suite).await? {
                Ok(()) => Receipt::Done,
                Err(reason) => Receipt::Refused(reason),
            }
        }
        Command::Against { suite, name } => {
            let wanted = Wanted::Against { suite: suite.as_deref(), name: &name };
            run_errand(app, said, repository, wanted).await?
        }
        Command::Profile { benchmark } => {
            run_errand(app, said, repository, Wanted::Profile { benchmark: benchmark.as_deref() }).await?
        }
        Command::Bisect { benchmark } => {
            run_errand(app, said, repository, Wanted::Bisect { benchmark: benchmark.as_deref() }).await?
        }
        Command::Retry => {
            refresh(app, &said.place, said.number, Ask::All).await?;
            Receipt::Done
        }
        Command::Cancel => {
            let mut tx = app.db.begin().await?;
            pulls::hold(&mut tx, repository.id, said.number).await?;
            let now_ms = app.clock.now_ms();
            let (number, by) = (said.number, &said.author);
            let cancelled = jobs::cancel(&mut tx, repository.id, number, by, now_ms).await?;
            if cancelled > 0 {
                runs::publish(&mut tx, app, repository, number).await?;
            }
            let of_errands = errands::cancel(&mut tx, repository, number, by, now_ms).await?;
            tx.commit().await?;
            if of_errands > 0 {
                errands::once(app).await?;
            }
            match cancelled + of_errands {
                0 => Receipt::Refused("Nothing runs or waits for this pull request.".into()),
                _ => Receipt::Done,
            }
        }
        Command::Accept { reason } => accept(app, said, repository, reason).await?,
        Command::Run { head } => {
            approve(app, &said.place, repository, said.number, &head, &said.author).await?
        }
    })
}

/// Its reply says more than a receipt, now and later.
async fn run_errand(
    app: &App,
    said: &Said,
    repository: &Repository,
    wanted: Wanted<'_>,
) -> anyhow::Result<Receipt> {
    let request = Request { number: said.number, comment: said.comment_id, wanted };
    Ok(match errands::begin(app, repository, request).await? {
        Ok(()) => Receipt::Done,
        Err(reason) => Receipt::Refused(reason),
    })
}

/// Takes the slowdown of the present head, where there is one that blocks.
async fn accept(app: &App, said: &Said, repository: &Repository, reason: String) -> anyhow::Result<Receipt> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    pulls::hold(&mut tx, repository.id, said.number).await?;
    let loaded = runs::load(&mut tx, repository, said.number, now_ms).await?;
    let blocks = loaded.as_ref().is_some_and(
        |loaded| matches!(&loaded.run.performance, Performance::Done { report } if report.blocks()),
    );
    let Some(head) = loaded.filter(|_| blocks).map(|loaded| loaded.run.head) else {
        return Ok(Receipt::Refused("Nothing blocks this head that could be accepted.".into()));
    };
    let acceptance = Acceptance { by: said.author.clone(), reason, at_ms: now_ms };
    acceptances::insert(&mut tx, repository.id, said.number, &head, &acceptance).await?;
    runs::publish(&mut tx, app, repository, said.number).await?;
    tx.commit().await?;
    Ok(Receipt::Done)
}

/// Allows a fork's head to run, if it still is the head.
async fn approve(
    app: &App,
    place: &Place,
    repository: &Repository,
    number: u64,
    head: &Sha,
    by: &str,
) -> anyhow::Result<Receipt> {
    let pull = app.github.pull_request(repository, number).await?;
    let mut tx = app.db.begin().await?;
    let now_ms = app.clock.now_ms();
    repositories::upsert(&mut tx, repository, now_ms).await?;
    pulls::upsert(&mut tx, repository.id, &pull, now_ms).await?;
    let approved = pulls::approve(&mut tx, repository.id, number, head, by).await?;
    tx.commit().await?;
    if !approved {
        return Ok(Receipt::Refused(format!(
            "The head has moved: it is `{}` now. Look at it, then write `/paceline run {}`.",
            pull.head_sha, pull.head_sha
        )));
    }
    refresh(app, place, number, Ask::Facts).await?;
    Ok(Receipt::Done)
}

async fn answer(app: &App, said: &Said, repository: &Repository, receipt: Receipt) -> anyhow::Result<()> {
    let (content, body) = match receipt {
        Receipt::Done => ("+1", None),
        Receipt::Answer(body) => ("eyes", Some(body)),
        Receipt::Refused(body) => ("confused", Some(body)),
    };
    let mut wanted = vec![Outgoing::Reaction { comment_id: said.comment_id, content: content.into() }];
    if let Some(body) = body {
        wanted.push(Outgoing::Reply { number: said.number, to: said.comment_id, body });
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, repository, now_ms).await?;
    for body in &wanted {
        writes::want(&mut tx, repository.installation, repository.id, body, now_ms).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    Ok(())
}
