//! `paceline backup` and `paceline restore`: the database and its evidence in one file, the same for SQLite and
//! PostgreSQL.
//!
//! The file is a zstd stream of lines, each one JSON value:
//!
//! ```text
//! {"line":"backup","format":1,"schema":2,"made_ms":1795345024000}            first, once
//! {"line":"table","name":"jobs","columns":[{"name":"id","kind":"text"},…]}   parents before children
//! ["0193…","…",17,null,…]                                                    a row of the table above
//! {"line":"evidence","digest":"SHA-256 in hex","base64":"…"}                 a bundle as it was stored
//! {"line":"end","rows":1234,"evidence":12}                                   last, once: what is cut off is refused
//! ```
//!
//! `schema` is the number of the newest migration that had been applied. A file of an older schema can be restored:
//! its rows go into the schema that they were made in, which is then brought up to date. All of it is one transaction.

use crate::app;
use crate::clock::Clock;
use crate::db::tables::{self, Column, Insert, TABLES};
use crate::db::{Db, migrate};
use crate::error::UserError;
use crate::evidence::EvidenceStore;
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;
/// Over the largest row (a payload of 25 MiB, each character escaped) and the largest bundle of evidence.
const LINE_MAX_BYTES: u64 = 256 << 20;
/// Fast, and payloads shrink to a tenth already.
const ZSTD_LEVEL: i32 = 3;

#[derive(Args)]
pub struct BackupArgs {
    /// The file to make; it must not exist
    file: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Args)]
pub struct RestoreArgs {
    /// A file made by `paceline backup`
    file: PathBuf,
    /// Drop what the database holds
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Where a server keeps what it knows, for commands beside it.
#[derive(Args)]
pub struct DatabaseArgs {
    /// The server's data directory
    #[arg(long, env = "PACELINE_DATA_DIR", default_value = "paceline-data")]
    pub data_dir: PathBuf,
    /// The server's database, when it is not in the data directory
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

impl DatabaseArgs {
    /// Opens the database with its newest schema.
    pub async fn open(&self) -> anyhow::Result<Db> {
        Db::open(&self.url()?).await
    }

    fn url(&self) -> anyhow::Result<String> {
        match &self.database_url {
            Some(url) => Ok(url.clone()),
            None => {
                app::prepare_data_dir(&self.data_dir)?;
                Ok(Db::url_in(&self.data_dir))
            }
        }
    }

    pub fn evidence(&self) -> EvidenceStore {
        app::evidence_in(&self.data_dir)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum Line {
    Backup { format: u32, schema: i64, made_ms: i64 },
    Table { name: String, columns: Vec<Column> },
    Evidence { digest: String, base64: String },
    End { rows: u64, evidence: u64 },
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub rows: u64,
    pub evidence: u64,
    /// Bundles that the database names and that are no longer kept.
    pub missing: u64,
}

pub async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let db = Db::connect(&args.database.url()?).await?;
    let content = write(&db, &args.database.evidence(), &args.file, Clock::system().now_ms()).await?;
    println!(
        "{} has {} rows and {} bundles of evidence.",
        args.file.display(),
        content.rows,
        content.evidence
    );
    if content.missing > 0 {
        println!("{} bundles were no longer in the data directory.", content.missing);
    }
    Ok(())
}

pub async fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    let db = Db::connect(&args.database.url()?).await?;
    let over = if args.force { Over::Anything } else { Over::Nothing };
    app::prepare_data_dir(&args.database.data_dir)?;
    let content = read(&db, &args.database.evidence(), &args.file, over).await?;
    println!("Restored {} rows and {} bundles of evidence.", content.rows, content.evidence);
    Ok(())
}

/// Writes the state of one moment, whatever goes on meanwhile. The file appears whole or not at all, readable by its
/// owner alone.
pub async fn write(db: &Db, evidence: &EvidenceStore, file: &Path, now_ms: i64) -> anyhow::Result<Content> {
    let refuse = |error: std::io::Error| {
        UserError::new(format!("cannot make {}: {error}; choose another name", file.display()))
    };
    if file.exists() {
        return Err(refuse(std::io::ErrorKind::AlreadyExists.into()).into());
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(dir).map_err(refuse)?;
    let mut encoder = zstd::stream::write::Encoder::new(temporary, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    let mut tx = db.begin_snapshot().await?;
    let mut content = write_tables(&mut encoder, &mut tx, db, now_ms).await?;
    let digests = digests(&mut tx).await?;
    tx.rollback().await?;
    // What a job names was stored before, and does not change.
    write_evidence(&mut encoder, evidence, digests, &mut content)?;
    put(&mut encoder, &Line::End { rows: content.rows, evidence: content.evidence })?;
    let temporary = encoder.finish()?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(file).map_err(|error| refuse(error.error))?;
    Ok(content)
}

async fn write_tables(
    out: &mut impl Write,
    tx: &mut AnyConnection,
    db: &Db,
    now_ms: i64,
) -> anyhow::Result<Content> {
    let schema = migrate::version(tx, db).await?;
    if schema == 0 || schema > migrate::newest()? {
        let what = if schema == 0 { "holds no Paceline yet" } else { "is of a newer Paceline; use that one" };
        return Err(UserError::new(format!("the database {what}")).into());
    }
    put(out, &Line::Backup { format: FORMAT, schema, made_ms: now_ms })?;
    let mut content = Content::default();
    for table in TABLES {
        let columns = tables::columns(tx, db, table).await?;
        if columns.is_empty() {
            continue;
        }
        put(out, &Line::Table { name: table.into(), columns: columns.clone() })?;
        let mut rows = sqlx::query(tables::select(table, &columns)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            put(out, &tables::cells(&row, &columns)?)?;
            content.rows += 1;
        }
    }
    Ok(content)
}

fn write_evidence(
    out: &mut impl Write,
    evidence: &EvidenceStore,
    digests: BTreeSet<String>,
    content: &mut Content,
) -> anyhow::Result<()> {
    for digest in digests {
        match evidence.open(&digest)? {
            Some(_) => {
                put(out, &Line::Evidence { base64: STANDARD.encode(evidence.bytes(&digest)?), digest })?;
                content.evidence += 1;
            }
            None => content.missing += 1,
        }
    }
    Ok(())
}

fn put<T: Serialize>(out: &mut impl Write, line: &T) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n").context("cannot write the backup")
}

/// The bundles that jobs name, each once.
async fn digests(on: &mut AnyConnection) -> sqlx::Result<BTreeSet<String>> {
    let rows =
        sqlx::query("SELECT evidence FROM jobs WHERE evidence IS NOT NULL").fetch_all(&mut *on).await?;
    rows.iter().map(|row| row.try_get("evidence")).collect()
}

/// What a restore may take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Only tables without rows.
    Nothing,
    Anything,
}

/// Fills a database. When anything is wrong with the file, the database stays as it was.
pub async fn read(db: &Db, evidence: &EvidenceStore, file: &Path, over: Over) -> anyhow::Result<Content> {
    let opened = File::open(file)
        .map_err(|error| UserError::new(format!("cannot read {}: {error}", file.display())))?;
    let mut lines = Lines { from: BufReader::new(zstd::stream::read::Decoder::new(opened)?) };
    let no_backup = || UserError::new(format!("{} is no backup of Paceline", file.display()));
    let (format, schema) = match lines.next() {
        Ok(Some(Item::Line(Line::Backup { format, schema, .. }))) => (format, schema),
        _ => return Err(no_backup().into()),
    };
    if format != FORMAT || schema > migrate::newest()? {
        return Err(UserError::new(format!("{} is of a newer Paceline; use that one", file.display())).into());
    }
    let mut tx = db.begin().await?;
    if over == Over::Nothing && tables::any_row(&mut tx, db).await? {
        return Err(UserError::new(
            "the database is not empty; restore into an empty one, or drop what it holds with --force",
        )
        .into());
    }
    tables::drop_all(&mut tx).await?;
    migrate::run_to(&mut tx, schema).await?;
    let content = read_lines(&mut lines, &mut tx, db, evidence)
        .await
        .with_context(|| format!("{} cannot be restored; the database is as it was", file.display()))?;
    migrate::run_to(&mut tx, migrate::newest()?).await?;
    tx.commit().await?;
    Ok(content)
}

async fn read_lines(
    lines: &mut Lines<impl BufRead>,
    tx: &mut AnyConnection,
    db: &Db,
    evidence: &EvidenceStore,
) -> anyhow::Result<Content> {
    let mut content = Content::default();
    let mut insert = None;
    while let Some(line) = lines.next()? {
        match line {
            Item::Row(cells) => {
                let insert: &Insert = insert.as_ref().context("a row before its table")?;
                insert.run(tx, cells).await?;
                content.rows += 1;
            }
            Item::Line(Line::Table { name, columns }) => {
                // Names are looked up before they become part of a statement.
                let known =
                    TABLES.contains(&name.as_str()) && tables::columns(tx, db, &name).await? == columns;
                if !known {
                    bail!("its table {name:?} is not that of its schema");
                }
                insert = Some(Insert::into(&name, columns));
            }
            Item::Line(Line::Evidence { digest, base64 }) => {
                let stored = evidence.put(&STANDARD.decode(base64)?)?;
                if stored != digest {
                    bail!("its evidence {digest} has other bytes than were stored");
                }
                content.evidence += 1;
            }
            Item::Line(Line::End { rows, evidence }) => {
                if (rows, evidence) != (content.rows, content.evidence) {
                    bail!("it says that it has {rows} rows, and has {}", content.rows);
                }
                // Asked for what follows, the decoder also compares its checksum.
                return match lines.next()? {
                    None => Ok(content),
                    Some(_) => bail!("it goes on after its end"),
                };
            }
            Item::Line(Line::Backup { .. }) => bail!("it begins twice"),
        }
    }
    bail!("its end is missing")
}

struct Lines<R> {
    from: R,
}

enum Item {
    Line(Line),
    Row(Vec<Value>),
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> anyhow::Result<Option<Item>> {
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(LINE_MAX_BYTES).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.pop() != Some(b'\n') {
            bail!("a line is cut off or too long");
        }
        Ok(Some(if bytes.first() == Some(&b'[') {
            Item::Row(serde_json::from_slice(&bytes)?)
        } else {
            Item::Line(serde_json::from_slice(&bytes)?)
        }))
    }
}
