//! What people say of a history: through the pages' forms, by those who may, and what it comes to.

use crate::commands::paceline;
use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::seed::{NOW_MS, Seeded};
use crate::visitors::{House, SECRET, csrf_of};
use crate::world::{Wishes, World, eventually};
use axum::http::StatusCode;
use bot::clock::Clock;
use bot::config::AccessConfig;
use bot::db::change_points::{self, ChangePoint, State};
use bot::db::history_commits::{self, HistoryCommit};
use bot::db::points::{self, Against, Ratio};
use bot::db::quarantined_benchmarks::{self, Quarantined};
use bot::db::renamed_benchmarks::series_called;
use bot::db::series::{self, Key};
use bot::db::{Turn, accepted_changes, jobs, opt_outs};
use bot::history::curate::{self, Benchmark, Said};
use bot::history::watch;
use bot::pull::RepoId;
use perfsuite::model::Mode;

on_both!(
    a_writers_forms_are_obeyed_and_nobody_elses,
    what_a_form_says_wrong_is_said_in_words,
    two_names_become_one_history,
    two_benchmarks_do_not_become_one,
    a_series_that_became_another_is_judged_as_such,
    it_is_said_when_it_can_be_stored,
    a_benchmark_in_quarantine_is_recorded_and_replayed_so,
);

const SUITE: &str = "routing";

fn key(benchmark: &str) -> Key {
    Key { suite: SUITE.into(), benchmark: benchmark.into(), metric: "time".into() }
}

/// A series with points at these places, and a change that stands at the last one.
async fn history(seeded: &Seeded, repository: RepoId, benchmark: &str, positions: &[i64]) -> (i64, String) {
    let mut tx = seeded.db().begin().await.unwrap();
    let series = series::insert(&mut tx, repository, &key(benchmark), false).await.unwrap().id;
    for position in positions {
        let commit = HistoryCommit {
            position: *position,
            sha: format!("{:040x}", position + 0xabc).parse().unwrap(),
            parent: None,
            author: "Ada".into(),
            subject: format!("feat: number {position}"),
            committed_ms: NOW_MS,
            pull: None,
            environment: None,
            parent_job: None,
            reference_job: None,
            reference_number: None,
        };
        history_commits::upsert(&mut tx, repository, &commit).await.unwrap();
        let ratio = Ratio { ratio: 1.05, low: 1.04, high: 1.06 };
        points::put(&mut tx, series, *position, Some(105.0), Against::Reference(ratio, 1)).await.unwrap();
    }
    let last = *positions.last().unwrap();
    let change = ChangePoint {
        id: String::new(),
        series,
        position: last,
        before: last - 1,
        size: 0.05,
        state: State::Confirmed,
        found_ms: NOW_MS,
        confirmed_ms: Some(NOW_MS),
    };
    let change = change_points::insert(&mut tx, &change).await.unwrap();
    tx.commit().await.unwrap();
    (series, change)
}

const OF_SERIES: &str = "suite=routing&benchmark=route%2Fmatch&metric=time";

async fn a_writers_forms_are_obeyed_and_nobody_elses(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let (_, change) = history(&house.seeded, RepoId(3), "route/match", &[1, 2, 3]).await;
    let (writer, reader) = (house.sign_in("writer").await, house.sign_in("reader").await);
    let address = format!("/{SECRET}/history?{OF_SERIES}");
    let forms = ["history/accept", "history/rename", "history/quarantine"];
    let seen = house.get(&address, Some(&writer)).await.body;
    assert!(forms.iter().all(|form| seen.contains(form)) && seen.contains(&change), "{seen}");
    let seen = house.get(&address, Some(&reader)).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert!(forms.iter().all(|form| !seen.body.contains(form)), "{}", seen.body);

    // Nobody has to take that something got faster.
    let mut tx = house.seeded.db().begin().await.unwrap();
    sqlx::query("UPDATE change_points SET size = -0.05").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let faster = house.get(&address, Some(&writer)).await.body;
    assert!(!faster.contains(forms[0]) && faster.contains(forms[1]), "{faster}");
    let mut tx = house.seeded.db().begin().await.unwrap();
    sqlx::query("UPDATE change_points SET size = 0.05").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();

    // Each with a proof of their own.
    let send = async |cookie: &str, form: &str, more: &str| {
        let csrf = csrf_of(&house.get("/me", Some(cookie)).await.body);
        let body = format!("csrf={csrf}&{OF_SERIES}&{more}");
        house.send("POST", &format!("/{SECRET}/history/{form}"), Some(cookie), &body).await
    };
    let accept = format!("change={change}&reason=the+price+of+%3Cb%3Esafety%3C%2Fb%3E");
    let refused = send(&reader, "accept", &accept).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "{}", refused.body);
    let others = csrf_of(&house.get("/me", Some(&reader)).await.body);
    let body = format!("csrf={others}&{OF_SERIES}&{accept}");
    let stolen = house.send("POST", &format!("/{SECRET}/history/accept"), Some(&writer), &body).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND);
    assert!(!house.get(&address, Some(&writer)).await.body.contains("Accepted by"));
    let home = house.get("/", Some(&writer)).await.body;
    assert!(home.contains("Slower on a default branch") && home.contains("route/match"), "{home}");
    assert!(!house.get("/", None).await.body.contains("route/match"), "of a private repository");

    let done = send(&writer, "accept", &accept).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert_eq!(done.headers["location"], address.as_str());
    let seen = house.get(&address, Some(&reader)).await.body;
    assert!(seen.contains("Accepted by <bdi>writer</bdi>") && !seen.contains("<b>safety"), "{seen}");
    let api = format!("/api/v1/repositories/{SECRET}/history?{OF_SERIES}");
    let json: serde_json::Value = serde_json::from_str(&house.get(&api, Some(&reader)).await.body).unwrap();
    assert_eq!(json["changes"][0]["accepted"]["reason"], "the price of <b>safety</b>");
    assert!(!house.get("/", Some(&writer)).await.body.contains("Slower on a default branch"));

    let done = send(&writer, "quarantine", "reason=it+reads+the+clock").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let seen = house.get(&address, Some(&reader)).await.body;
    assert!(seen.contains("In quarantine") && !seen.contains("history/release"), "{seen}");
    let list = house.get(&format!("/{SECRET}/history"), Some(&reader)).await.body;
    assert!(list.contains("in quarantine") && list.contains("accepted"), "{list}");
    assert_eq!(send(&reader, "release", "").await.status, StatusCode::NOT_FOUND);
    assert!(house.get(&address, Some(&writer)).await.body.contains("history/release"));
    assert_eq!(send(&writer, "release", "").await.status, StatusCode::SEE_OTHER);
    assert!(!house.get(&address, Some(&reader)).await.body.contains("In quarantine"));

    assert_eq!(send(&reader, "rename", "to=route%2Ffind").await.status, StatusCode::NOT_FOUND);
    let done = send(&writer, "rename", "to=route%2Ffind").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let seen = house.get(&address, Some(&reader)).await;
    assert_eq!(seen.status, StatusCode::OK, "the old name leads to the new one");
    assert!(seen.body.contains("<h1><bdi>route/find</bdi>"), "{}", seen.body);
}

async fn what_a_form_says_wrong_is_said_in_words(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let (_, change) = history(&house.seeded, RepoId(3), "route/match", &[1]).await;
    // Of a repository that this person has nothing to say in.
    let (_, elsewhere) = history(&house.seeded, RepoId(1), "route/match", &[1]).await;
    let writer = house.sign_in("writer").await;
    let csrf = csrf_of(&house.get("/me", Some(&writer)).await.body);
    for (form, more, expect) in [
        ("accept", format!("change={change}"), "It wants a reason."),
        ("accept", format!("change={elsewhere}&reason=x"), "does not stand"),
        ("accept", "change=%00&reason=x".into(), "does not stand"),
        ("rename", "to=".into(), "It wants a name."),
        ("rename", "to=route%2Fmatch".into(), "called so already"),
        ("quarantine", format!("reason={}", "x".repeat(501)), "at most 500 characters"),
        ("release", String::new(), "in no quarantine"),
    ] {
        let body = format!("csrf={csrf}&{OF_SERIES}&{more}");
        let path = format!("/{SECRET}/history/{form}");
        let answer = house.send("POST", &path, Some(&writer), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{form} {more}: {}", answer.body);
        assert!(answer.body.contains(expect), "{form} {more}: {}", answer.body);
    }
    // Without a series, and of one that there is none.
    for body in [format!("csrf={csrf}&reason=x"), format!("csrf={csrf}&suite=a&benchmark=%00&reason=x")] {
        let answer = house.send("POST", &format!("/{SECRET}/history/quarantine"), Some(&writer), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    }
    let body = format!("csrf={csrf}&{OF_SERIES}&change={elsewhere}&reason=x");
    let public = house.send("POST", "/acme/gateway/history/accept", Some(&writer), &body).await;
    assert_eq!(public.status, StatusCode::NOT_FOUND, "may read, and not write");
    let pool = house.seeded.db().pool();
    assert!(accepted_changes::of_repository(pool, RepoId(1)).await.unwrap().is_empty());
}

fn said(clock: &Clock) -> Said<'_> {
    Said { by: "alice", clock }
}

fn benchmark(name: &str) -> Benchmark<'_> {
    Benchmark { repository: RepoId(1), suite: SUITE, name }
}

async fn two_names_become_one_history(on: On) {
    let clock = Clock::fixed(NOW_MS);
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await.id;
    let (_, change) = history(&seeded, repository, "match", &[1, 2, 3]).await;
    let (present, _) = history(&seeded, repository, "find", &[5, 6]).await;
    let db = seeded.db();
    curate::accept(db, repository, &change, "it is safer", said(&clock)).await.unwrap();
    let again = curate::accept(db, repository, &change, "it is faster", said(&clock)).await.unwrap_err();
    assert!(again.to_string().contains("accepted before"), "{again}");
    curate::quarantine(db, benchmark("match"), "it reads the clock", said(&clock)).await.unwrap();
    curate::rename(db, benchmark("match"), "find", said(&clock)).await.unwrap();

    let pool = db.pool();
    let series = series_called(pool, repository, &key("match")).await.unwrap().unwrap();
    assert_eq!((series.id, series.key.benchmark.as_str()), (present, "find"));
    let points = points::between(pool, present, 0, i64::MAX, 100).await.unwrap();
    let positions: Vec<i64> = points.iter().map(|point| point.position).collect();
    assert_eq!(positions, [1, 2, 3, 5, 6]);
    assert_eq!(series::of_repository(pool, repository).await.unwrap().len(), 1);
    assert_eq!(change_points::of_series(pool, present).await.unwrap().len(), 2);
    let accepted = accepted_changes::of_series(pool, present).await.unwrap();
    assert_eq!(accepted[&change].reason, "it is safer");
    let held = async |name: &str| {
        quarantined_benchmarks::of(db.pool(), repository, SUITE, name).await.unwrap().is_some()
    };
    assert!(held("match").await && held("find").await);
    assert!(!series::unjudged(db, 10).await.unwrap().is_empty(), "its change points are looked for anew");

    // Once more, to a name that nothing has; both former names lead there.
    curate::rename(db, benchmark("find"), "seek", said(&clock)).await.unwrap();
    for name in ["match", "find", "seek"] {
        let series = series_called(pool, repository, &key(name)).await.unwrap().unwrap();
        assert_eq!((series.id, series.key.benchmark.as_str()), (present, "seek"), "{name}");
    }
    clock.advance(1);
    curate::release(db, benchmark("seek"), &clock).await.unwrap();
    assert!(!held("match").await && !held("find").await && !held("seek").await, "under every name");
    // And back.
    curate::rename(db, benchmark("seek"), "match", said(&clock)).await.unwrap();
    let series = series_called(pool, repository, &key("find")).await.unwrap().unwrap();
    assert_eq!(series.key.benchmark, "match");
}

async fn two_benchmarks_do_not_become_one(on: On) {
    let clock = Clock::fixed(NOW_MS);
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await.id;
    history(&seeded, repository, "match", &[1, 2, 3]).await;
    history(&seeded, repository, "find", &[3, 4]).await;
    let refused = curate::rename(seeded.db(), benchmark("match"), "find", said(&clock)).await.unwrap_err();
    assert!(refused.to_string().contains("at the same commit"), "{refused}");
    let unknown = curate::rename(seeded.db(), benchmark("seek"), "find", said(&clock)).await.unwrap_err();
    assert!(unknown.to_string().contains("no history of such"), "{unknown}");
    let pool = seeded.db().pool();
    assert_eq!(series::of_repository(pool, repository).await.unwrap().len(), 2, "nothing was done by half");
    for name in ["match", "find"] {
        let series = series_called(pool, repository, &key(name)).await.unwrap().unwrap();
        assert_eq!(series.key.benchmark, name);
    }
}

/// Whoever judges series has read them a moment ago; meanwhile one is joined to another, and a third gets its number.
async fn a_series_that_became_another_is_judged_as_such(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let db = &world.server.app.db;
    let mut tx = db.begin_turn(Turn::History).await.unwrap();
    let find = series::insert(&mut tx, world.repository, &key("find"), false).await.unwrap();
    let found = series::insert(&mut tx, world.repository, &key("match"), false).await.unwrap();
    for _ in 0..3 {
        series::changed(&mut tx, found.id).await.unwrap();
    }
    let found = series::by_id(&mut *tx, found.id).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let of = Benchmark { repository: world.repository, suite: SUITE, name: "match" };
    curate::rename(db, of, "find", said(&Clock::system())).await.unwrap();
    let mut tx = db.begin_turn(Turn::History).await.unwrap();
    let new = series::insert(&mut tx, world.repository, &key("seek"), false).await.unwrap();
    assert!(new.id == found.id && new.id > find.id);
    tx.commit().await.unwrap();
    watch::judge(&world.server.app, &found).await.unwrap();
    let judged = "SELECT judged_version FROM history_series WHERE id = $1";
    let judged: i64 = sqlx::query_scalar(judged).bind(new.id).fetch_one(db.pool()).await.unwrap();
    assert_eq!(judged, 0, "what was seen of the other says nothing of it");
    world.server.stop().await;
}

/// A run that ends while a quarantine waits to be stored is not held by it, when it is replayed either.
async fn it_is_said_when_it_can_be_stored(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await.id;
    history(&seeded, repository, "match", &[1]).await;
    let (db, clock) = (seeded.db(), Clock::fixed(NOW_MS));
    let turn = db.begin_turn(Turn::History).await.unwrap();
    let waiting = curate::quarantine(db, benchmark("match"), "it reads the clock", said(&clock));
    let passing = async {
        // It waits by now, or begins to when the turn has passed.
        tokio::task::yield_now().await;
        clock.advance(5_000);
        turn.commit().await.unwrap();
    };
    let (held, ()) = tokio::join!(waiting, passing);
    held.unwrap();
    let held = quarantined_benchmarks::of(db.pool(), repository, SUITE, "match").await.unwrap().unwrap();
    assert_eq!(held.since_ms, NOW_MS + 5_000);
}

async fn a_benchmark_in_quarantine_is_recorded_and_replayed_so(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let db = world.server.app.db.clone();
    let number = world.open_pull("fix: one");
    let held = Quarantined {
        suite: "widgets".into(),
        benchmark: "widgets/one".into(),
        by: "alice".into(),
        reason: "it reads the *clock*".into(),
        since_ms: 1,
    };
    let mut tx = db.begin().await.unwrap();
    quarantined_benchmarks::insert(&mut tx, world.repository, &held).await.unwrap();
    tx.commit().await.unwrap();
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.25).await;
    let comment = eventually("the comment to say so", || {
        world.our_comments(number).pop().filter(|comment| comment.body.contains("in quarantine since"))
    })
    .await;
    assert!(comment.body.contains("Recorded only") && !comment.body.contains("*clock*"), "{}", comment.body);
    let job = jobs::get(db.pool(), &lease.spec.job).await.unwrap().unwrap();
    let report = job.report.unwrap();
    assert_eq!((report.rows[0].mode, report.blocks()), (Mode::Record, false));

    // What was over later was not when it was judged.
    let of = Benchmark { repository: world.repository, suite: "widgets", name: "widgets/one" };
    curate::release(&db, of, &Clock::fixed(job.finished_ms.unwrap() + 1)).await.unwrap();
    // Nor is it another report when a person's name is erased.
    let mut tx = db.begin().await.unwrap();
    opt_outs::erase(&mut tx, "alice").await.unwrap();
    tx.commit().await.unwrap();
    let (data_dir, url) = (world.data_dir(), world.database_url());
    world.server.stop().await;
    let mut command = paceline(&["replay", &job.id.0, "--format", "json"]);
    let output = command.arg("--data-dir").arg(&data_dir).args(["--database-url", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("byte for byte the report that was stored"), "{said}");
}
