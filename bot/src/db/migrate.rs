//! Brings the schema up to date: the files of `migrations/`, embedded, each applied once and in order.

use super::Db;
use rust_embed::RustEmbed;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::borrow::Cow;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../migrations"]
struct Files;

/// Applies what is missing. Fails when an applied migration's text has changed since.
pub async fn run(db: &Db) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrations()?);
    // SQLite and our Any pool: one process at a time is ensured by its write lock.
    migrator.set_locking(!db.is_sqlite());
    migrator.run(db.pool()).await?;
    Ok(())
}

fn migrations() -> anyhow::Result<Vec<Migration>> {
    let mut names: Vec<Cow<'static, str>> = Files::iter().filter(|name| name.ends_with(".sql")).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let (version, description) = name
                .trim_end_matches(".sql")
                .split_once('_')
                .ok_or_else(|| anyhow::anyhow!("migration {name} is not named NUMBER_WORDS.sql"))?;
            let file = Files::get(&name).ok_or_else(|| anyhow::anyhow!("migration {name} is gone"))?;
            let sql = String::from_utf8(file.data.into_owned())?;
            Ok(Migration::new(
                version.parse()?,
                description.replace('_', " ").into(),
                MigrationType::Simple,
                sqlx::AssertSqlSafe(sql).into_sql_str(),
                false,
            ))
        })
        .collect()
}
