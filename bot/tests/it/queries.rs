//! What each query promises, on both databases: leases, fences, order, bounds. Pages' queries are asked by their pages.

use crate::database::{On, on_both};
use crate::seed::{NOW_MS, Seeded, base, fine_commits, job_id, judged, pull, sha, slow_report};
use bot::db::deliveries::{self, Attempt, Ending, NewDelivery, Wanted};
use bot::db::judgements::{self, Judgement};
use bot::db::{Db, activity, job_log, jobs, migrate, overview, pulls, repositories, runners};
use bot::judgement::{ChecksReport, ConfigError};
use bot::prune::{self, Pruned};
use bot::pull::{PullRequest, PullState, RepoId, RepoName};
use bot::queue::{ATTEMPTS_MAX, JobState};
use perfsuite::model::wire::{Phase, Progress};
use perfsuite::model::{ChecksSpec, Fence, JobSpec};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

on_both!(
    a_lane_hands_out_its_oldest_delivery_alone,
    deliveries_are_put_back_and_given_up,
    many_workers_never_share_a_lane,
    who_holds_a_pull_request_goes_first,
    a_job_is_fenced,
    jobs_of_silent_runners_are_taken_back,
    jobs_are_superseded_and_cancelled,
    a_run_of_checks_stands_for_no_measurement,
    a_log_keeps_its_end,
    what_was_dealt_with_is_forgotten_in_time,
    a_deadlock_is_told_from_other_errors,
    what_was_judged_is_renewed,
    repositories_keep_their_number_when_names_move,
    pull_requests_keep_their_approval,
    tokens_of_runners_end,
);

const LEASE_MS: i64 = 1_000;

fn delivery(guid: &str, lane: &str) -> NewDelivery {
    NewDelivery {
        guid: guid.into(),
        event: "pull_request".into(),
        action: Some("opened".into()),
        installation_id: Some(1),
        repository: Some("acme/gateway".into()),
        lane: lane.into(),
        payload: "{\"text\":\"Zürich \u{1F3D4}\"}".into(),
        wanted: Wanted::Yes,
    }
}

async fn take(seeded: &Seeded, now_ms: i64) -> Option<deliveries::Delivery> {
    deliveries::claim(seeded.db(), "worker", now_ms, LEASE_MS).await.unwrap()
}

async fn a_lane_hands_out_its_oldest_delivery_alone(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    assert!(take(&seeded, 10).await.is_none());
    for (guid, lane, at_ms) in [("b", "one", 2), ("a", "one", 2), ("c", "one", 1), ("d", "two", 3)] {
        assert!(deliveries::insert(db, &delivery(guid, lane), at_ms).await.unwrap());
    }
    assert!(!deliveries::insert(db, &delivery("a", "elsewhere"), 9).await.unwrap(), "the same GUID");
    assert!(deliveries::known(db, "a").await.unwrap() && !deliveries::known(db, "z").await.unwrap());
    assert_eq!(deliveries::waiting(db.pool()).await.unwrap(), (4, Some(1)));
    assert!(take(&seeded, 0).await.is_none(), "none is due");
    let c = take(&seeded, 10).await.unwrap();
    assert_eq!((c.guid.as_str(), c.attempts, c.received_ms), ("c", 1, 1));
    assert_eq!(c.payload, delivery("c", "one").payload);
    assert_eq!(take(&seeded, 10).await.unwrap().guid, "d", "the other lane is free");
    assert!(take(&seeded, 10).await.is_none(), "both lanes are held");
    deliveries::finish(db, &c, Ending::Done, None, 11).await.unwrap();
    let a = take(&seeded, 12).await.unwrap();
    assert_eq!(a.guid, "a", "of the same moment, the lesser GUID");
    deliveries::finish(db, &a, Ending::Ignored, None, 13).await.unwrap();
    assert_eq!(take(&seeded, 14).await.unwrap().guid, "b");
}

async fn deliveries_are_put_back_and_given_up(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    deliveries::insert(db, &delivery("a", "one"), 1).await.unwrap();
    deliveries::insert(db, &delivery("b", "one"), 2).await.unwrap();
    let first = take(&seeded, 10).await.unwrap();
    deliveries::retry(db, &first, "GitHub is down", 100, Attempt::Counts).await.unwrap();
    assert!(take(&seeded, 99).await.is_none(), "the lane waits for its oldest");
    let second = take(&seeded, 100).await.unwrap();
    assert_eq!((second.guid.as_str(), second.attempts), ("a", 2));
    // The lease is kept, then it runs out and another takes over.
    deliveries::extend(db, &second, 5_000).await.unwrap();
    assert_eq!(deliveries::requeue_expired(db, 5_000).await.unwrap(), 0);
    assert_eq!(deliveries::requeue_expired(db, 5_001).await.unwrap(), 1);
    let third = take(&seeded, 5_001).await.unwrap();
    assert_eq!((third.guid.as_str(), third.attempts), ("a", 3));
    // Who lost it stores nothing any more.
    deliveries::finish(db, &second, Ending::Done, None, 5_002).await.unwrap();
    deliveries::retry(db, &second, "late", 0, Attempt::Counts).await.unwrap();
    assert!(take(&seeded, 9_000).await.is_none(), "the lane is still held");
    assert_eq!(deliveries::newest_failure(db).await.unwrap(), None);
    deliveries::finish(db, &third, Ending::Failed, Some("no such repository"), 5_003).await.unwrap();
    assert_eq!(deliveries::newest_failure(db).await.unwrap().as_deref(), Some("no such repository"));
    let b = take(&seeded, 9_000).await.unwrap();
    deliveries::retry(db, &b, "limited", 9_500, Attempt::Free).await.unwrap();
    let again = take(&seeded, 9_500).await.unwrap();
    assert_eq!((again.guid.as_str(), again.attempts), ("b", 1), "being limited is no failure");
}

async fn many_workers_never_share_a_lane(on: On) {
    const DELIVERIES: usize = 40;
    let seeded = Seeded::empty(on).await;
    let other = Db::open(&seeded.database.url).await.unwrap();
    let held: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let done: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut workers = JoinSet::new();
    for n in 0..6 {
        let db = if n % 2 == 0 { seeded.db().clone() } else { other.clone() };
        let (held, done) = (held.clone(), done.clone());
        workers.spawn(async move {
            while done.lock().unwrap().len() < DELIVERIES {
                let worker = format!("worker {n}");
                let Some(taken) = deliveries::claim(&db, &worker, 1_000, 100_000).await.unwrap() else {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    continue;
                };
                let lane = taken.event.clone();
                assert!(held.lock().unwrap().insert(lane.clone()), "{lane} is held twice");
                tokio::task::yield_now().await;
                assert!(held.lock().unwrap().remove(&lane));
                deliveries::finish(&db, &taken, Ending::Done, None, 1_000).await.unwrap();
                done.lock().unwrap().push(taken.guid);
            }
        });
    }
    // The later ones are older, as they are from a server whose clock is behind.
    for n in 0..DELIVERIES {
        let lane = format!("lane {}", n % 2);
        let new = NewDelivery { event: lane.clone(), ..delivery(&format!("guid {n}"), &lane) };
        deliveries::insert(seeded.db(), &new, (DELIVERIES - n) as i64).await.unwrap();
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let done = done.lock().unwrap().clone();
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), done.len(), "each once");
    other.close().await;
}

async fn who_holds_a_pull_request_goes_first(on: On) {
    let seeded = with_jobs(on, 1).await;
    let mut first = seeded.db().begin().await.unwrap();
    pulls::hold(&mut first, RepoId(1), 7).await.unwrap();
    let db = seeded.db().clone();
    let second = tokio::spawn(async move {
        let mut tx = db.begin().await.unwrap();
        pulls::hold(&mut tx, RepoId(1), 7).await.unwrap();
        jobs::get(&mut *tx, &job_id(1)).await.unwrap().unwrap().state
    });
    // Time enough to go wrong in; right is whatever comes after the commit.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    jobs::cancel(&mut first, RepoId(1), 7, "mia", 9).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), JobState::Cancelled, "it sees what the first has changed");
}

/// A repository with a pull request and `jobs` queued jobs of it, at times 1, 2, …
async fn with_jobs(on: On, jobs: u32) -> Seeded {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    seeded.pull(&repository, &pull(7, "fix: a", "alice", sha('d')), Some(&judged(fine_commits())), 1).await;
    for id in 1..=jobs {
        seeded.queue(&repository, 7, &sha('d'), id, i64::from(id)).await;
    }
    seeded
}

fn progress(text: &str) -> Progress {
    Progress { phase: Phase::Building, text: text.into(), done: 1, total: 3 }
}

async fn a_job_is_fenced(on: On) {
    let seeded = with_jobs(on, 2).await;
    let db = seeded.db();
    assert!(jobs::claim(db, "box", false, 10, LEASE_MS).await.unwrap().is_none(), "strangers want walls");
    let second = jobs::get(db.pool(), &job_id(2)).await.unwrap().unwrap();
    assert_eq!(jobs::position(db.pool(), &second).await.unwrap(), 2);
    let job = jobs::claim(db, "box", true, 10, LEASE_MS).await.unwrap().unwrap();
    assert_eq!((&job.id, job.fence, job.state), (&job_id(1), Fence(1), JobState::Claimed));
    assert_eq!(jobs::position(db.pool(), &second).await.unwrap(), 1);
    assert!(jobs::hand_back(db, &job.id, job.fence).await.unwrap());
    let again = jobs::claim(db, "box", true, 11, LEASE_MS).await.unwrap().unwrap();
    assert_eq!((&again.id, again.fence, again.attempts), (&job_id(1), Fence(2), 1));
    let said = progress("base");
    let beat = |fence| jobs::heartbeat(db, &again.id, fence, JobState::Building, &said, 5_000);
    assert!(!beat(Fence(1)).await.unwrap());
    assert!(beat(Fence(2)).await.unwrap());
    let seen = jobs::get(db.pool(), &again.id).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.progress), (JobState::Building, Some(progress("base"))));
    let counts = jobs::open_counts(db).await.unwrap();
    assert_eq!(counts.len(), 2, "{counts:?}");

    let report = slow_report();
    let end = jobs::End::Done { evidence: "00", report: &report };
    let mut tx = db.begin().await.unwrap();
    assert!(!jobs::end(&mut tx, &again.id, Fence(1), &end, 20).await.unwrap(), "an old attempt");
    assert!(jobs::end(&mut tx, &again.id, Fence(2), &end, 20).await.unwrap());
    assert!(!jobs::end(&mut tx, &again.id, Fence(2), &end, 21).await.unwrap(), "only once");
    tx.commit().await.unwrap();
    assert!(!jobs::hand_back(db, &again.id, Fence(2)).await.unwrap());
    let done = jobs::get(db.pool(), &again.id).await.unwrap().unwrap();
    assert_eq!((done.state, done.finished_ms, done.report), (JobState::Done, Some(20), Some(report)));
    let newest = jobs::newest(db.pool(), RepoId(1), 7, &sha('d')).await.unwrap().unwrap();
    assert_eq!(newest.id, job_id(2));
    let ids: Vec<_> = jobs::of_pull(db, RepoId(1), 7, 10).await.unwrap().into_iter().map(|j| j.id).collect();
    assert_eq!(ids, [job_id(2), job_id(1)]);
    assert_eq!(overview::job(db, &job_id(1)).await.unwrap().unwrap().state, JobState::Done);
}

async fn jobs_of_silent_runners_are_taken_back(on: On) {
    let seeded = with_jobs(on, 1).await;
    let db = seeded.db();
    let mut now_ms = 10;
    for attempt in 1..=ATTEMPTS_MAX {
        let job = jobs::claim(db, "box", true, now_ms, LEASE_MS).await.unwrap().unwrap();
        assert_eq!(job.attempts, attempt);
        now_ms += LEASE_MS;
        assert_eq!(jobs::expire_leases(db, now_ms).await.unwrap(), [], "not yet");
        now_ms += 1;
        let taken = jobs::expire_leases(db, now_ms).await.unwrap();
        assert_eq!(
            taken.iter().map(|job| (job.repository, job.number)).collect::<Vec<_>>(),
            [(RepoId(1), 7)]
        );
    }
    let job = jobs::get(db.pool(), &job_id(1)).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_ms), (JobState::Failed, Some(now_ms)));
    assert!(job.error.unwrap().contains("every attempt"));
}

async fn jobs_are_superseded_and_cancelled(on: On) {
    let seeded = with_jobs(on, 2).await;
    let db = seeded.db();
    let mut tx = db.begin().await.unwrap();
    let keep = Some((&sha('d'), &base()));
    let by = "a newer push";
    assert_eq!(
        jobs::supersede(&mut tx, jobs::Kind::Measure, RepoId(1), 7, keep, by, 20).await.unwrap(),
        [],
        "these are of this head"
    );
    assert_eq!(
        jobs::supersede(&mut tx, jobs::Kind::Measure, RepoId(1), 8, None, by, 20).await.unwrap(),
        [],
        "another pull request"
    );
    assert_eq!(jobs::cancel(&mut tx, RepoId(1), 7, "mia", 20).await.unwrap(), 2);
    assert_eq!(
        jobs::supersede(&mut tx, jobs::Kind::Measure, RepoId(1), 7, None, by, 21).await.unwrap(),
        [],
        "all have ended"
    );
    tx.commit().await.unwrap();
    let job = jobs::get(db.pool(), &job_id(1)).await.unwrap().unwrap();
    assert_eq!((job.state, job.error.as_deref()), (JobState::Cancelled, Some("mia")));
}

/// Measuring and checking have jobs in one table: a newer one of the other kind hides nothing.
async fn a_run_of_checks_stands_for_no_measurement(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    let runner = seeded.runner("box", false, NOW_MS).await;
    let gateway = seeded.repository(1, "acme", "gateway", false).await;
    let change = pull(7, "perf: one", "alice", sha('d'));
    seeded.pull(&gateway, &change, Some(&judged(fine_commits())), NOW_MS).await;
    let id = seeded.queue(&gateway, 7, &sha('d'), 1, NOW_MS).await;
    let measured = seeded.claim(&runner, NOW_MS).await;
    seeded.finish(&measured, &slow_report(), NOW_MS).await;
    let before = activity::impact(db.pool(), gateway.id, "alice").await.unwrap();
    assert!(!before.is_empty());

    let spec = JobSpec { job: job_id(2), checks: Some(ChecksSpec::default()), ..measured.spec.clone() };
    let mut tx = db.begin().await.unwrap();
    let of = (&base(), &sha('d'));
    jobs::insert_for(&mut tx, gateway.id, 7, of, &spec, true, NOW_MS + 1).await.unwrap();
    tx.commit().await.unwrap();
    let checked = seeded.claim(&runner, NOW_MS + 2).await;
    let spent_ms = jobs::spent_ms(db.pool(), gateway.id, NOW_MS + 2).await.unwrap();
    let measured_ms = (slow_report().measure_seconds * 1_000.0) as i64;
    assert_eq!(spent_ms, measured_ms, "checks take nothing of the day's measuring");
    let mut tx = db.begin().await.unwrap();
    let report = ChecksReport {
        commit: sha('d'),
        commands: Vec::new(),
        findings: Vec::new(),
        findings_left_out: 0,
        elsewhere: 0,
        proof: None,
    };
    let end = jobs::End::Checked { evidence: "abc", checks: &report };
    assert!(jobs::end(&mut tx, &checked.id, checked.fence, &end, NOW_MS + 3).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(activity::impact(db.pool(), gateway.id, "alice").await.unwrap(), before);
    let newest = jobs::newest(db.pool(), gateway.id, 7, &sha('d')).await.unwrap().unwrap();
    assert_eq!(newest.id, id);
    let of_kind = jobs::newest_of(db.pool(), jobs::Kind::Check, gateway.id, 7, &sha('d')).await.unwrap();
    assert_eq!(of_kind.unwrap().checks, Some(report));
    assert_eq!(jobs::newest_of_group(db.pool(), gateway.id, &sha('d')).await.unwrap(), None);
}

async fn a_log_keeps_its_end(on: On) {
    let seeded = with_jobs(on, 1).await;
    let db = seeded.db();
    let lines = |from: i64, to: i64| (from..=to).map(|n| format!("line {n}")).collect::<Vec<_>>();
    job_log::append(db, &job_id(1), &[], 1).await.unwrap();
    job_log::append(db, &job_id(1), &lines(1, 3), 1).await.unwrap();
    assert_eq!(job_log::tail(db, &job_id(1), 1, 1).await.unwrap(), [(2, "line 2".into())]);
    assert_eq!(job_log::last(db, &job_id(1), 2).await.unwrap(), lines(2, 3));
    job_log::append(db, &job_id(1), &lines(4, job_log::LINES_MAX + 2), 2).await.unwrap();
    let kept = job_log::tail(db, &job_id(1), 0, i64::MAX).await.unwrap();
    assert_eq!((kept.len() as i64, kept[0].1.as_str()), (job_log::LINES_MAX, "line 3"));
}

async fn what_was_dealt_with_is_forgotten_in_time(on: On) {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    let n_days = |days: i64| NOW_MS + days * DAY_MS;
    let seeded = with_jobs(on, 2).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let db = seeded.db();
    // More than one statement removes, all of them of the first day.
    let many: Vec<NewDelivery> = (0..1_100)
        .map(|n| NewDelivery { wanted: Wanted::No, ..delivery(&format!("old {n}"), "lane") })
        .collect();
    for some in many.chunks(100) {
        deliveries::insert_all(db, some, n_days(0)).await.unwrap();
    }
    deliveries::insert(db, &delivery("waits", "one"), n_days(0)).await.unwrap();
    deliveries::insert(db, &delivery("ended", "two"), n_days(1)).await.unwrap();
    while let Some(taken) = take(&seeded, n_days(1)).await {
        if taken.guid == "ended" {
            deliveries::finish(db, &taken, Ending::Done, None, n_days(1)).await.unwrap();
        }
    }
    deliveries::insert(db, &NewDelivery { wanted: Wanted::No, ..delivery("young", "three") }, n_days(5))
        .await
        .unwrap();
    let mut tx = db.begin().await.unwrap();
    jobs::cancel_all(&mut tx, RepoId(1), "mia", n_days(1)).await.unwrap();
    tx.commit().await.unwrap();
    seeded.queue(&repository, 7, &sha('d'), 3, n_days(1)).await;
    for job in 1..=3 {
        job_log::append(db, &job_id(job), &["a line".into()], n_days(0)).await.unwrap();
    }

    let pruned = |days: i64| prune::once(db, 30, n_days(days));
    assert_eq!(pruned(30).await.unwrap(), Pruned::default(), "not a day too early");
    let first = pruned(32).await.unwrap();
    assert_eq!((first.deliveries, first.log_lines), (1_101, 2));
    for (guid, kept) in
        [("old 0", false), ("old 1099", false), ("ended", false), ("waits", true), ("young", true)]
    {
        assert_eq!(deliveries::known(db, guid).await.unwrap(), kept, "{guid}");
    }
    assert_eq!(job_log::last(db, &job_id(1), 9).await.unwrap(), [""; 0]);
    assert_eq!(job_log::last(db, &job_id(3), 9).await.unwrap(), ["a line"], "it still waits");
    assert_eq!(pruned(32).await.unwrap(), Pruned::default());
}

async fn a_deadlock_is_told_from_other_errors(on: On) {
    let seeded = Seeded::empty(on).await;
    let other = sqlx::query("SELECT nothing FROM nowhere").execute(seeded.db().pool()).await.unwrap_err();
    assert!(!migrate::is_deadlock(&other), "{other}");
    if on == On::Sqlite {
        return; // It has one writer.
    }
    for (id, name) in [(1, "one"), (2, "two")] {
        seeded.repository(id, "acme", name, false).await;
    }
    const TOUCH: &str = "UPDATE repositories SET seen_ms = seen_ms + 1 WHERE id = $1";
    let (mut one, mut two) = (seeded.db().begin().await.unwrap(), seeded.db().begin().await.unwrap());
    sqlx::query(TOUCH).bind(1_i64).execute(&mut *one).await.unwrap();
    sqlx::query(TOUCH).bind(2_i64).execute(&mut *two).await.unwrap();
    let (first, second) = tokio::join!(
        async {
            let done = sqlx::query(TOUCH).bind(2_i64).execute(&mut *one).await;
            one.rollback().await.unwrap();
            done
        },
        async {
            let done = sqlx::query(TOUCH).bind(1_i64).execute(&mut *two).await;
            two.rollback().await.unwrap();
            done
        },
    );
    let ended: Vec<sqlx::Error> = [first, second].into_iter().filter_map(Result::err).collect();
    assert!(ended.len() == 1 && migrate::is_deadlock(&ended[0]), "{ended:?}");
}

async fn what_was_judged_is_renewed(on: On) {
    let seeded = with_jobs(on, 0).await;
    let db = seeded.db();
    let second = Judgement {
        config_error: Some(ConfigError {
            path: ".github/paceline.toml".into(),
            line: 3,
            column: 1,
            message: "no such key".into(),
            nearest: None,
        }),
        skipped: Some("only documentation changed".into()),
        ..judged(fine_commits())
    };
    let mut tx = db.begin().await.unwrap();
    judgements::upsert(&mut tx, RepoId(1), 7, &sha('d'), &second, 5).await.unwrap();
    tx.commit().await.unwrap();
    let stored = judgements::get(db.pool(), RepoId(1), 7, &sha('d')).await.unwrap();
    assert_eq!(stored, Some(second));
    assert_eq!(judgements::get(db.pool(), RepoId(1), 7, &sha('e')).await.unwrap(), None);
}

async fn repositories_keep_their_number_when_names_move(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    let old = seeded.repository(1, "acme", "gateway", false).await;
    let new = seeded.repository(2, "acme", "gateway", true).await;
    let name = RepoName { owner: "ACME".into(), name: "Gateway".into() };
    assert_eq!(repositories::by_name(db, &name).await.unwrap(), Some(new), "whatever the case");
    let renamed = repositories::by_id(db.pool(), old.id).await.unwrap().unwrap();
    assert_eq!(renamed.name.name, "gateway#1");
    assert_eq!(repositories::all(db, 10).await.unwrap().len(), 2);
    assert_eq!(repositories::by_id(db.pool(), RepoId(3)).await.unwrap(), None);
}

async fn pull_requests_keep_their_approval(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let fork = PullRequest { from_fork: true, ..pull(7, "fix: ¼ of it", "dave", sha('d')) };
    seeded.pull(&repository, &fork, None, 1).await;
    let mut tx = db.begin().await.unwrap();
    pulls::hold(&mut tx, RepoId(1), 7).await.unwrap();
    assert!(!pulls::approve(&mut tx, RepoId(1), 7, &sha('e'), "mia").await.unwrap(), "another head");
    assert!(pulls::approve(&mut tx, RepoId(1), 7, &sha('d'), "mia").await.unwrap());
    tx.commit().await.unwrap();
    seeded.pull(&repository, &fork, None, 2).await;
    let row = pulls::get(db.pool(), RepoId(1), 7).await.unwrap().unwrap();
    assert!(row.may_run());
    assert_eq!((row.pull, row.merge_base, row.updated_ms), (fork.clone(), Some(base()), 2));
    let pushed = PullRequest { head_sha: sha('f'), ..fork };
    seeded.pull(&repository, &pushed, None, 3).await;
    assert!(!pulls::get(db.pool(), RepoId(1), 7).await.unwrap().unwrap().may_run(), "bound to its head");

    let closed = PullRequest { state: PullState::Closed, ..pull(8, "fix: b", "dave", sha('f')) };
    seeded.pull(&repository, &closed, None, 4).await;
    assert_eq!(pulls::open_with_head(db, RepoId(1), &sha('f')).await.unwrap(), [7]);
    assert_eq!(pulls::count_by_author(db.pool(), RepoId(1), "dave", 7).await.unwrap(), 1);
    assert_eq!(pulls::count_by_author(db.pool(), RepoId(1), "dave", 8).await.unwrap(), 2);
    let numbers: Vec<_> = pulls::of_repository(db, RepoId(1), 10).await.unwrap();
    assert_eq!(numbers.iter().map(|row| row.pull.number).collect::<Vec<_>>(), [8, 7]);
}

async fn tokens_of_runners_end(on: On) {
    let seeded = Seeded::empty(on).await;
    let db = seeded.db();
    let (first, second) = (runners::new_token(), runners::new_token());
    runners::upsert(db, "box", &first, false, NOW_MS).await.unwrap();
    let runner = runners::by_token(db, &first).await.unwrap().unwrap();
    runners::upsert(db, "box", &second, false, NOW_MS).await.unwrap();
    assert!(runners::by_token(db, &first).await.unwrap().is_none(), "a new token ends the old one");
    assert_eq!(runners::by_token(db, &second).await.unwrap().unwrap().id, runner.id);
    assert_eq!(runners::alive(db.pool(), 0).await.unwrap(), 0);
    runners::seen(db, &runner.id, None, Some(true), 50).await.unwrap();
    runners::seen(db, &runner.id, None, None, 60).await.unwrap();
    assert_eq!(
        (runners::alive(db.pool(), 60).await.unwrap(), runners::alive(db.pool(), 61).await.unwrap()),
        (1, 0)
    );
    let all = runners::all(db).await.unwrap();
    assert_eq!((all.len(), all[0].sandboxed, all[0].seen_ms), (1, true, Some(60)));
    assert!(runners::revoke(db, "box", 70).await.unwrap());
    assert!(!runners::revoke(db, "box", 71).await.unwrap(), "only once");
    assert!(runners::by_token(db, &second).await.unwrap().is_none());
}
