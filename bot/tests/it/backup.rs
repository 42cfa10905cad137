//! Backup and restore through the command line: the same rows on the same and on the other kind of database.

use crate::commands::paceline;
use crate::database::{Fresh, On, on_both};
use crate::people::one_of_each;
use crate::postgres;
use crate::seed::{MINUTE_MS, NOW_MS, Seeded};
use bot::app::evidence_in;
use bot::backup::{self, Over};
use bot::clock::Clock;
use bot::conventions::landing::Opened;
use bot::db::deliveries::{self, NewDelivery, Wanted};
use bot::db::pace::Pace;
use bot::db::tables::{self, TABLES};
use bot::db::{Db, acceptances, approvals, clocks, dossiers, errands, repositories, writes};
use bot::db::{bisects, change_points, environments, notices, points, series};
use bot::demo::sample;
use bot::dossier::Facts;
use bot::errands::Errand;
use bot::history::curate::{self, Benchmark, Said};
use bot::judgement::Acceptance;
use bot::outgoing::Outgoing;
use bot::pull::MergeSettings;
use bot::pull::{InstallationId, RepoId};
use perfsuite::model::{Environment, JobId, Sha};
use sqlx::Row;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

on_both!(
    what_was_backed_up_comes_back_on_either_kind,
    a_database_with_rows_is_kept_unless_forced,
    a_damaged_backup_changes_nothing,
    a_backup_is_of_one_moment,
    every_table_is_backed_up,
);

/// A working day, with something in every table.
pub async fn full(on: On) -> Seeded {
    let seeded = Seeded::working_day(on).await;
    let delivery = NewDelivery {
        guid: "72d3162e-cc78-11e3-81ab-4c9367dc0958".into(),
        event: "pull_request".into(),
        action: None,
        installation_id: Some(1),
        repository: Some("acme/gateway".into()),
        wanted: Wanted::Yes,
        lane: "1/17".into(),
        payload: r#"{"text":"Zürich \u0000 \"quoted\"\nline"}"#.into(),
    };
    deliveries::insert(seeded.db(), &delivery, NOW_MS).await.unwrap();
    let mut tx = seeded.db().begin().await.unwrap();
    for number in [17, 16] {
        let body = Outgoing::Comment { number, body: "as it stands".into() };
        writes::want(&mut tx, InstallationId(1), RepoId(1), &body, NOW_MS).await.unwrap();
    }
    let head = "d".repeat(40).parse().unwrap();
    let entry = approvals::Entry {
        review: 5,
        login: "bob".into(),
        commit: "c".repeat(40).parse().unwrap(),
        patches: [("src/a.rs".to_owned(), "abc".to_owned())].into(),
    };
    let accepted = |reason: &str| Acceptance { by: "carol".into(), reason: reason.into(), at_ms: NOW_MS };
    for _ in 0..2 {
        approvals::insert(&mut tx, RepoId(1), 17, &entry, NOW_MS).await.unwrap();
    }
    for reason in ["first", "last"] {
        acceptances::insert(&mut tx, RepoId(1), 17, &head, &accepted(reason)).await.unwrap();
    }
    let kept = judged_by(&head);
    dossiers::judged(&mut tx, RepoId(1), 1, Some(&head), &kept, NOW_MS).await.unwrap();
    let errand = &Errand::Against { base: head.clone(), name: "v1 \0".into() };
    let job = &JobId("0193f2a0-0000-7000-8000-00000000abce".into());
    let (repository, number, comment) = (RepoId(1), 17, 5);
    let new = errands::NewErrand { repository, number, comment, head: &head, errand, job };
    let begun = errands::insert(&mut tx, &new, NOW_MS).await.unwrap().unwrap();
    assert_eq!((&begun.errand, begun.running), (errand, true));
    assert_eq!(errands::insert(&mut tx, &new, NOW_MS).await.unwrap(), None, "one of a command");
    for days in [3, 2] {
        clocks::targets(&mut tx, RepoId(1), 17, days, 10).await.unwrap();
    }
    assert!(clocks::responded(&mut tx, RepoId(1), 17, "somebody", NOW_MS + 1).await.unwrap());
    assert!(
        !clocks::responded(&mut tx, RepoId(1), 17, "another", NOW_MS + 2).await.unwrap(),
        "the first counts"
    );
    tx.commit().await.unwrap();
    let gateway = repositories::by_id(seeded.db().pool(), RepoId(1)).await.unwrap().unwrap();
    one_of_each(&seeded, &gateway).await;
    let pool = seeded.db().pool();
    assert_eq!(approvals::of_pull(pool, RepoId(1), 17).await.unwrap(), [entry], "written once");
    assert_eq!(approvals::of_pull(pool, RepoId(1), 16).await.unwrap(), []);
    let found = acceptances::of_head(pool, RepoId(1), 17, &head).await.unwrap();
    assert_eq!(found, Some(accepted("last")), "the newest counts");
    let dossier = dossiers::get(pool, RepoId(1), 17, Some(&head)).await.unwrap().unwrap();
    assert_eq!((dossier.facts, dossier.config, dossier.texts), (kept, Some(head.to_string()), None));
    assert_eq!(dossiers::get(pool, RepoId(1), 16, None).await.unwrap(), None);
    let stages = clocks::get(pool, RepoId(1), 17, 0).await.unwrap().unwrap();
    assert_eq!((stages.triage_days, stages.responded_ms), (2, Some(NOW_MS + 1)));
    writes::claim(seeded.db(), "worker", NOW_MS, MINUTE_MS, Pace::GITHUB).await.unwrap().unwrap();
    history(&seeded).await;
    seeded
}

fn judged_by(head: &Sha) -> Facts {
    Facts {
        base_tip: "b".repeat(40).parse().unwrap(),
        head: head.clone(),
        author: "alice".into(),
        labels: vec!["x".into()],
        asked: false,
        suite: None,
        opened: Opened {
            number: 17,
            head: head.clone(),
            title: "fix: one \0".into(),
            body: "Why.".into(),
            settings: MergeSettings::default(),
            auto_merge: None,
        },
        reviews: None,
        what_if: None,
        untried: None,
    }
}

/// A history with something in every table of it.
async fn history(seeded: &Seeded) {
    sample::seed(seeded.db(), RepoId(1), 1, NOW_MS).await.unwrap();
    let series = series::of_repository(seeded.db().pool(), RepoId(1)).await.unwrap();
    let (key, series) = series.iter().next().unwrap();
    let series = series.id;
    let mut tx = seeded.db().begin().await.unwrap();
    environments::number_of(&mut tx, &Environment::default()).await.unwrap();
    let job = JobId("0193f2a0-0000-7000-8000-00000000abcd".into());
    points::put_link(&mut tx, series, 2, points::Ratio::SAME, &job).await.unwrap();
    let change = change_points::ChangePoint {
        id: String::new(),
        series,
        position: 9,
        before: 7,
        size: 0.1 + 0.2,
        state: change_points::State::Provisional,
        found_ms: NOW_MS,
        confirmed_ms: None,
    };
    let change_point = &change_points::insert(&mut tx, &change).await.unwrap();
    let (good, commits) = (&"c".repeat(40).parse().unwrap(), &["d".repeat(40).parse().unwrap()]);
    let new = bisects::NewBisect { repository: RepoId(1), series, change_point, good, commits };
    assert!(bisects::insert(&mut tx, &new, NOW_MS).await.unwrap().is_some());
    assert!(bisects::insert(&mut tx, &new, NOW_MS).await.unwrap().is_none(), "one of a change point");
    notices::insert(&mut tx, "https://chat.example/", "run.slower", "{}", NOW_MS).await.unwrap();
    tx.commit().await.unwrap();
    let clock = Clock::fixed(NOW_MS);
    let (db, said) = (seeded.db(), Said { by: "carol", clock: &clock });
    let of = Benchmark { repository: RepoId(1), suite: &key.suite, name: &key.benchmark };
    curate::accept(db, RepoId(1), change_point, "it is safer", said).await.unwrap();
    curate::quarantine(db, of, "it reads the clock", said).await.unwrap();
    curate::rename(db, of, "sample/renamed", said).await.unwrap();
}

/// All rows as text, in one order on both databases.
pub async fn rows(db: &Db) -> BTreeMap<&'static str, Vec<String>> {
    let mut connection = db.pool().acquire().await.unwrap();
    let mut all = BTreeMap::new();
    for table in TABLES {
        let columns = tables::columns(&mut connection, db, table).await.unwrap();
        let rows = sqlx::query(tables::select(table, &columns)).fetch_all(&mut *connection).await.unwrap();
        let cells = |row| serde_json::to_string(&tables::cells(row, &columns).unwrap()).unwrap();
        let mut rows: Vec<String> = rows.iter().map(cells).collect();
        rows.sort();
        all.insert(table, rows);
    }
    all
}

fn run(arguments: &[&str], file: &Path, url: &str, data_dir: &Path) -> Output {
    let mut command = paceline(arguments);
    command.arg(file).env("DATABASE_URL", url).env("PACELINE_DATA_DIR", data_dir);
    command.output().unwrap()
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &Output, expect: &str) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && words.contains(expect), "{words}");
}

async fn what_was_backed_up_comes_back_on_either_kind(on: On) {
    let seeded = full(on).await;
    let before = rows(seeded.db()).await;
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "{table} has a row to lose");
    }
    let file = seeded.dir.path().join("all.backup");
    let said = run(&["backup"], &file, &seeded.database.url, seeded.dir.path());
    succeeds(&said);
    let count: usize = before.values().map(Vec::len).sum();
    assert!(String::from_utf8_lossy(&said.stdout).contains(&format!("{count} rows")), "{said:?}");
    refused(&run(&["backup"], &file, &seeded.database.url, seeded.dir.path()), "all.backup");

    let kinds = [On::Sqlite, On::Postgres];
    for to in kinds.into_iter().filter(|to| *to == On::Sqlite || postgres::available()) {
        let dir = tempfile::tempdir().unwrap();
        let database = Fresh::new(to, dir.path()).await;
        succeeds(&run(&["restore"], &file, &database.url, dir.path()));
        let db = Db::open(&database.url).await.unwrap();
        assert_eq!(rows(&db).await, before, "from {on:?} to {to:?}");
        let digests = sqlx::query("SELECT evidence FROM jobs WHERE evidence IS NOT NULL");
        let digests = digests.fetch_all(db.pool()).await.unwrap();
        assert_eq!(digests.len(), 3);
        for row in digests {
            let digest: String = row.get("evidence");
            let restored = evidence_in(dir.path()).bytes(&digest).unwrap();
            assert_eq!(restored, seeded.site.evidence.bytes(&digest).unwrap());
        }
        db.close().await;
    }
}

async fn a_database_with_rows_is_kept_unless_forced(on: On) {
    let (first, second) = (full(on).await, Seeded::empty(on).await);
    let file = first.dir.path().join("all.backup");
    succeeds(&run(&["backup"], &file, &first.database.url, first.dir.path()));
    second.repository(9, "octo", "kept", false).await;
    let kept = rows(second.db()).await;
    let restore = |arguments: &[&str]| run(arguments, &file, &second.database.url, second.dir.path());
    refused(&restore(&["restore"]), "--force");
    assert_eq!(rows(second.db()).await, kept);
    succeeds(&restore(&["restore", "--force"]));
    let db = Db::open(&second.database.url).await.unwrap();
    assert_eq!(rows(&db).await, rows(first.db()).await);
    db.close().await;
}

async fn a_damaged_backup_changes_nothing(on: On) {
    let seeded = full(on).await;
    let file = seeded.dir.path().join("all.backup");
    backup::write(seeded.db(), &seeded.site.evidence, &file, NOW_MS).await.unwrap();
    let lines = String::from_utf8(zstd::decode_all(&std::fs::read(&file).unwrap()[..]).unwrap()).unwrap();
    let packed = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let (head, rest) = lines.split_once('\n').unwrap();
    let without_end = &lines[..lines.trim_end().rfind('\n').unwrap() + 1];
    let last_row = lines.lines().collect::<Vec<_>>().iter().rposition(|line| line.starts_with('[')).unwrap();
    let without_a_row: String =
        lines.lines().enumerate().filter(|(n, _)| *n != last_row).map(|(_, l)| format!("{l}\n")).collect();
    let whole = std::fs::read(&file).unwrap();
    let damaged: [(&str, Vec<u8>); 7] = [
        ("no backup", b"not even packed".to_vec()),
        ("no backup", packed("{\"line\":\"end\",\"rows\":0,\"evidence\":0}\n")),
        ("newer Paceline", packed(&format!("{}\n{rest}", head.replace("\"schema\":", "\"schema\":9")))),
        ("end is missing", packed(without_end)),
        ("rows, and has", packed(&without_a_row)),
        ("not that of its schema", packed(&lines.replace("\"name\":\"jobs\"", "\"name\":\"sqlite_master\""))),
        ("cannot be restored", whole[..whole.len() - 2].to_vec()),
    ];
    let target = Seeded::empty(on).await;
    target.repository(9, "octo", "kept", false).await;
    let kept = rows(target.db()).await;
    for (expect, bytes) in damaged {
        std::fs::write(&file, bytes).unwrap();
        let error = backup::read(target.db(), &target.site.evidence, &file, Over::Anything).await;
        let error = format!("{:#}", error.expect_err(expect));
        assert!(error.contains(expect), "{expect}: {error}");
        assert_eq!(rows(target.db()).await, kept, "after: {error}");
    }
}

async fn a_backup_is_of_one_moment(on: On) {
    let seeded = full(on).await;
    let db = seeded.db().clone();
    // Each transaction adds a row to the first table that is read and to the last, so they always count the same.
    let writer = tokio::spawn(async move {
        for n in 100.. {
            let mut tx = db.begin().await.unwrap();
            for sql in [
                "INSERT INTO repositories (id, installation_id, owner, name, private, default_branch, seen_ms)
                 VALUES ($1, 1, 'busy', CAST($1 AS TEXT), 0, 'main', 1)",
                "INSERT INTO sent_writes VALUES (CAST($1 AS TEXT), 77, 1)",
            ] {
                sqlx::query(sql).bind(n).execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
    });
    for n in 0..5 {
        let file = seeded.dir.path().join(format!("{n}.backup"));
        backup::write(seeded.db(), &seeded.site.evidence, &file, NOW_MS).await.unwrap();
        let copy = Seeded::empty(On::Sqlite).await;
        backup::read(copy.db(), &copy.site.evidence, &file, Over::Nothing).await.unwrap();
        let first = count(copy.db(), "SELECT COUNT(*) FROM repositories WHERE owner = 'busy'").await;
        let last = count(copy.db(), "SELECT COUNT(*) FROM sent_writes WHERE installation_id = 77").await;
        assert_eq!(first, last);
    }
    assert!(!writer.is_finished(), "it wrote all the time");
    writer.abort();
}

async fn count(db: &Db, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(db.pool()).await.unwrap().get(0)
}

async fn every_table_is_backed_up(on: On) {
    let seeded = Seeded::empty(on).await;
    let mut connection = seeded.db().pool().acquire().await.unwrap();
    let mut listed = TABLES.map(str::to_owned);
    listed.sort();
    assert_eq!(tables::names(&mut connection, seeded.db()).await.unwrap(), listed);
    for table in TABLES {
        assert!(!tables::columns(&mut connection, seeded.db(), table).await.unwrap().is_empty(), "{table}");
    }
}
