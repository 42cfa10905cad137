//! `paceline history accept`, `rename`, `quarantine`, `release`: what the pages' forms do, for whoever has the database.

use super::curate::{self, Benchmark, Said};
use crate::backup::DatabaseArgs;
use crate::clock::Clock;
use crate::db::{Db, repositories};
use crate::error::UserError;
use crate::pull::{RepoId, RepoName};
use clap::Args;

/// Take a change of a history, with a reason: it stands, and is no longer listed as open
#[derive(Args)]
pub struct AcceptArgs {
    /// The change point's id, as the history's JSON has it
    change: String,
    /// Why it is taken
    reason: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    who: Who,
}

/// Have a benchmark go on under another name: points of both names become one history
#[derive(Args)]
pub struct RenameArgs {
    /// The suite of both
    suite: String,
    /// As it was called
    from: String,
    /// As it is called now
    to: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    who: Who,
}

/// Have a benchmark recorded only: it blocks nothing, and nobody is told of its changes
#[derive(Args)]
pub struct QuarantineArgs {
    suite: String,
    benchmark: String,
    reason: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    who: Who,
}

/// End a benchmark's quarantine
#[derive(Args)]
pub struct ReleaseArgs {
    suite: String,
    benchmark: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    /// The repository
    #[arg(long, value_name = "OWNER/NAME")]
    repo: RepoName,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Args)]
struct Who {
    /// Your login, which stands beside what you say
    #[arg(long, value_name = "LOGIN")]
    by: String,
}

impl Who {
    fn said<'a>(&'a self, clock: &'a Clock) -> Said<'a> {
        Said { by: &self.by, clock }
    }
}

impl Place {
    async fn open(&self) -> anyhow::Result<(Db, RepoId)> {
        let db = self.database.open().await?;
        let repository = repositories::by_name(&db, &self.repo).await?;
        let unknown = || UserError::new(format!("the server knows no repository {}", self.repo));
        Ok((db, repository.ok_or_else(unknown)?.id))
    }
}

impl AcceptArgs {
    pub async fn run(&self) -> anyhow::Result<()> {
        let (db, repository) = self.place.open().await?;
        curate::accept(&db, repository, &self.change, &self.reason, self.who.said(&Clock::system())).await
    }
}

impl RenameArgs {
    pub async fn run(&self) -> anyhow::Result<()> {
        let (db, repository) = self.place.open().await?;
        let of = Benchmark { repository, suite: &self.suite, name: &self.from };
        curate::rename(&db, of, &self.to, self.who.said(&Clock::system())).await
    }
}

impl QuarantineArgs {
    pub async fn run(&self) -> anyhow::Result<()> {
        let (db, repository) = self.place.open().await?;
        let of = Benchmark { repository, suite: &self.suite, name: &self.benchmark };
        curate::quarantine(&db, of, &self.reason, self.who.said(&Clock::system())).await
    }
}

impl ReleaseArgs {
    pub async fn run(&self) -> anyhow::Result<()> {
        let (db, repository) = self.place.open().await?;
        let of = Benchmark { repository, suite: &self.suite, name: &self.benchmark };
        curate::release(&db, of, &Clock::system()).await
    }
}
