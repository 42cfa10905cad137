//! Loads what measures are made of and makes them: what the pages, the API, the badges and the comment show alike.

use crate::db::repository_settings::{self, RepositorySettings};
use crate::db::{Db, activity, counts, opt_outs};
use crate::measures::health::{self, Health};
use crate::measures::people::Person;
use crate::measures::person::{self, PersonRecord};
use crate::measures::{DAY_MS, Period};
use crate::pull::Repository;
use std::collections::BTreeSet;

/// The periods that can be asked for, in days; the first is what is shown when nobody asks.
pub const PERIODS: [i64; 3] = [90, 30, 365];

/// The nearest period that there is: any other number shows the first.
pub fn days(asked: Option<i64>) -> i64 {
    asked.filter(|days| PERIODS.contains(days)).unwrap_or(PERIODS[0])
}

/// Whose names are shown nowhere.
async fn unnamed(db: &Db, settings: &RepositorySettings) -> sqlx::Result<BTreeSet<String>> {
    let mut unnamed = opt_outs::all(db.pool()).await?;
    unnamed.extend(settings.opt_out.iter().cloned());
    unnamed.insert(crate::activity::GHOST.into());
    Ok(unnamed)
}

/// A repository's health, and the people who may be named. Who asked to be left out is counted and not named.
pub async fn health(db: &Db, repository: &Repository, days: i64, now_ms: i64) -> sqlx::Result<Health> {
    let settings = repository_settings::get(db, repository.id).await?;
    let facts = activity::facts(db, repository.id, &settings.excluded).await?;
    let period = Period::last_days(days, now_ms);
    let counts = counts::since(db, repository.id, now_ms - days * DAY_MS).await?;
    let name = repository.name.to_string();
    let targets = settings.targets;
    let unnamed = unnamed(db, &settings).await?;
    let health = tokio::task::spawn_blocking(move || {
        let mut health = health::health(name, &facts, &counts, targets, period, now_ms);
        let all = health.people.len();
        health.people.retain(|person: &Person| !unnamed.contains(&person.login.to_lowercase()));
        let hidden = all - health.people.len();
        if hidden > 0 {
            let people = crate::format::count(hidden, "person is", "people are");
            health
                .notes
                .push(format!("{people} counted and not named: deleted accounts, or by their own wish."));
        }
        health
    });
    health.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))
}

/// One person in one repository; `None` for who never contributed, and for who asked to be left out.
pub async fn person(
    db: &Db,
    repository: &Repository,
    login: &str,
    days: i64,
    now_ms: i64,
) -> sqlx::Result<Option<PersonRecord>> {
    let settings = repository_settings::get(db, repository.id).await?;
    let hidden = unnamed(db, &settings).await?;
    let lower = login.to_lowercase();
    if hidden.contains(&lower) || settings.excluded.contains(&lower) {
        return Ok(None);
    }
    let facts = activity::facts(db, repository.id, &settings.excluded).await?;
    let judged = activity::judged(db, repository.id, login).await?;
    let impact = activity::impact(db.pool(), repository.id, login).await?;
    let period = Period::last_days(days, now_ms);
    Ok(person::record(repository.name.to_string(), login, &facts, judged, impact, period, now_ms))
}
