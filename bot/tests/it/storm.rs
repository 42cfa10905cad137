//! Deliveries that come shuffled, doubled, late and not at all, while GitHub fails in every way. In the end all is as if
//! they had come in order and nothing had failed. The short form is one of the tests; `scripts/storm-test` runs the long
//! one.

use crate::crash::measure_for_ever;
use crate::database::{On, on_both};
use crate::hand::Hand;
use crate::postgres;
use crate::world::{Wishes, World};

use bot::db::{Db, deliveries, writes};
use bot::demo::standin::{Event, FaultKind, Parcel, Weather};
use bot::missed::{self, Asked};
use bot::pull::PullState;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

on_both!(a_storm_ends_as_a_calm_day_does);

const CHECKS: [&str; 2] = ["paceline/commits", "paceline/performance"];
/// The time of every commit: both days have the same ones.
const COMMITS_AT_S: i64 = 1_760_000_000;
/// How late a delivery comes at most; what happens within this time comes in any order.
const LATE_MAX_MS: u64 = 3_000;
/// Of a hundred deliveries: sent twice, and never.
const DOUBLED: u32 = 30;
const DROPPED: u32 = 5;
/// Of a hundred requests to GitHub, for as long as there are some to fail.
const FAULTS: u32 = 10;
/// Instead of GitHub's 45 s, so that those that hang end within the test.
const GITHUB_TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(900);
/// Missed deliveries are asked for, and pull requests compared, more often than by the server itself.
const ASK_EVERY: Duration = Duration::from_secs(2);
const SWEEP_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Plan {
    deliveries: usize,
    pulls: usize,
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    Calm,
    Stormy,
}

async fn a_storm_ends_as_a_calm_day_does(on: On) {
    println!("{}", compare(on, Plan { deliveries: 48, pulls: 4, seed: rand::random() }).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; scripts/storm-test runs it"]
async fn at_length() {
    let number = |name: &str, default: usize| match std::env::var(format!("PACELINE_STORM_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")),
        Err(_) => default,
    };
    let plan = Plan {
        deliveries: number("DELIVERIES", 1_000),
        pulls: number("PULLS", 40),
        seed: number("SEED", rand::random::<u32>() as usize) as u64,
    };
    let wanted = std::env::var("PACELINE_STORM_DATABASE").unwrap_or_else(|_| "both".into());
    assert!(["both", "sqlite", "postgres"].contains(&wanted.as_str()), "no such database: {wanted}");
    if wanted != "postgres" {
        println!("{}", compare(On::Sqlite, plan).await);
    }
    if wanted != "sqlite" && postgres::available() {
        println!("{}", compare(On::Postgres, plan).await);
    }
}

async fn compare(on: On, plan: Plan) -> String {
    let calm = Lived::through(on, plan, Day::Calm).await;
    let stormy = Lived::through(on, plan, Day::Stormy).await;
    assert_eq!(
        calm.end.keys().collect::<Vec<_>>(),
        stormy.end.keys().collect::<Vec<_>>(),
        "seed {}",
        plan.seed
    );
    for (what, calm) in &calm.end {
        assert_eq!(calm, &stormy.end[what], "{what}, seed {}", plan.seed);
    }
    format!(
        "{on:?}: {} deliveries for {} pull requests (seed {}); {} things compared, all equal; one comment on each pull request\n  \
         calm:   {}\n  stormy: {}",
        plan.deliveries,
        plan.pulls,
        plan.seed,
        calm.end.len(),
        calm.figures,
        stormy.figures,
    )
}

/// A day that is over.
struct Lived {
    /// What there is in the end, by name, without what differs from run to run.
    end: BTreeMap<String, String>,
    figures: String,
}

impl Lived {
    async fn through(on: On, plan: Plan, day: Day) -> Self {
        let wishes = Wishes {
            github_timeout: Some(GITHUB_TIMEOUT),
            commits_at_s: Some(COMMITS_AT_S),
            ..Wishes::default()
        };
        let world = World::new(on, wishes).await;
        let runner = tokio::spawn(measure_for_ever(Hand::new(&world, "by-hand").await));
        let branches: Vec<String> = (0..plan.pulls).map(|n| format!("topic-{n}")).collect();
        let numbers: Vec<u64> = branches.iter().map(|branch| world.open_pull_on(branch)).collect();
        let started = Instant::now();
        let mut storm =
            Storm { world: &world, day, random: StdRng::seed_from_u64(plan.seed ^ 1), sent: Sent::default() };
        if day == Day::Stormy {
            let kinds = [
                FaultKind::InternalError,
                FaultKind::BadGatewayAfter,
                FaultKind::Secondary { retry_after_s: 1 },
                FaultKind::TooMany { retry_after_s: 1 },
                FaultKind::Hang,
            ];
            world.github.weather(Some(Weather::new(FAULTS, &kinds, plan.deliveries / 4, plan.seed)));
        }
        // The story is the same on both days; what differs is how it is told.
        let mut story = StdRng::seed_from_u64(plan.seed);
        for step in 0..plan.deliveries {
            let place = step % plan.pulls;
            let last = step + plan.pulls >= plan.deliveries;
            let action = happens(&world, &branches[place], numbers[place], step, last, &mut story);
            storm.tell(numbers[place], action).await;
        }
        let sent = storm.sent.all_told(&world).await;
        settle(&world, &branches, &sent).await;
        let took = started.elapsed();
        runner.abort();
        let end = end(&world, &branches, &numbers, &sent).await;
        let totals = world.github.totals();
        let api: usize = ["GET", "POST", "PATCH"].iter().filter_map(|method| totals.get(*method)).sum();
        let figures = format!(
            "{:.0} s; {} doubled, {} dropped; faults {:?}; requests {totals:?}, {:.1} to the API for each pull request",
            took.as_secs_f64(),
            sent.doubled,
            sent.dropped,
            world.github.failed(),
            api as f64 / plan.pulls as f64,
        );
        world.server.stop().await;
        Self { end, figures }
    }
}

/// What happens on GitHub in one step. In the last round every pull request ends open, ready and with a new title.
fn happens(
    world: &World,
    branch: &str,
    number: u64,
    step: usize,
    last: bool,
    story: &mut StdRng,
) -> &'static str {
    let drawn = story.random_range(0..100);
    let edit = |edit: &dyn Fn(&mut bot::demo::standin::PullEdit)| {
        world.github.edit_pull(world.repository, number, |pull| edit(pull)).unwrap();
    };
    if last {
        edit(&|pull| {
            (pull.state, pull.draft, pull.title) = (PullState::Open, false, format!("fix: after {step}"))
        });
        return "edited";
    }
    match drawn {
        0..50 => {
            world.push_to(branch, step + 1);
            "synchronize"
        }
        50..60 => {
            edit(&|pull| pull.draft = !pull.draft);
            "converted_to_draft"
        }
        60..70 => {
            edit(&|pull| {
                pull.state = if pull.state == PullState::Open { PullState::Closed } else { PullState::Open };
            });
            "closed"
        }
        _ => {
            edit(&|pull| pull.title = format!("fix: {step}"));
            "edited"
        }
    }
}

#[derive(Default)]
struct Sent {
    guids: BTreeSet<String>,
    doubled: usize,
    dropped: usize,
    late: Vec<tokio::task::JoinHandle<()>>,
}

impl Sent {
    /// Waits until the last one was sent.
    async fn all_told(mut self, world: &World) -> Self {
        let mut asked = Asked::default();
        let (mut last_ask, mut last_sweep) = (Instant::now(), Instant::now());
        while self.late.iter().any(|late| !late.is_finished()) {
            look_for_missed(world, &mut asked, &mut last_ask, &mut last_sweep).await;
        }
        for late in std::mem::take(&mut self.late) {
            late.await.unwrap();
        }
        self
    }
}

/// What the server does by period, oftener. It may meet a fault, as there.
async fn look_for_missed(world: &World, asked: &mut Asked, last_ask: &mut Instant, last_sweep: &mut Instant) {
    let app = &world.server.app;
    if last_ask.elapsed() > ASK_EVERY {
        let _ = missed::redeliver(app, asked).await;
        *last_ask = Instant::now();
    }
    if last_sweep.elapsed() > SWEEP_EVERY {
        let _ = missed::sweep(app).await;
        *last_sweep = Instant::now();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// How a day's events are told to the server.
struct Storm<'a> {
    world: &'a World,
    day: Day,
    random: StdRng,
    sent: Sent,
}

impl Storm<'_> {
    async fn tell(&mut self, number: u64, action: &str) {
        let world = self.world;
        let event = Event::PullRequest { repo: world.repository, number, action: action.into() };
        let parcel = world.github.compose(world.app_id, &world.url("/github/webhook"), &event).unwrap();
        self.sent.guids.insert(parcel.guid.clone());
        if self.day == Day::Calm {
            let delivered = world.github.post(parcel).await.unwrap();
            assert_eq!(delivered.status, 202, "{}", delivered.body);
            return;
        }
        if self.random.random_range(0..100) < DROPPED {
            world.github.lose(parcel);
            self.sent.dropped += 1;
            return;
        }
        let copies = if self.random.random_range(0..100) < DOUBLED { 2 } else { 1 };
        self.sent.doubled += copies - 1;
        for _ in 0..copies {
            let late = Duration::from_millis(self.random.random_range(0..LATE_MAX_MS));
            self.sent.late.push(tokio::spawn(send_late(world.github.clone(), parcel.clone(), late)));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn send_late(github: bot::demo::standin::StandIn, parcel: Parcel, late: Duration) {
    tokio::time::sleep(late).await;
    // What finds nobody is asked for again, as GitHub keeps it.
    if let Ok(delivered) = github.post(parcel).await {
        assert_eq!(delivered.status, 202, "{}", delivered.body);
    }
}

async fn settle(world: &World, branches: &[String], sent: &Sent) {
    let mut asked = Asked::default();
    let (mut last_ask, mut last_sweep) = (Instant::now(), Instant::now());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = left(world, branches, sent).await;
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain: {left}");
        look_for_missed(world, &mut asked, &mut last_ask, &mut last_sweep).await;
    }
}

/// What is still to be done, in words; empty at the end.
async fn left(world: &World, branches: &[String], sent: &Sent) -> String {
    let db = &world.server.app.db;
    let stored = sqlx::query("SELECT COUNT(*) FROM deliveries WHERE guid NOT LIKE 'sweep:%'");
    let stored: i64 = stored.fetch_one(db.pool()).await.unwrap().get(0);
    let (waiting, _) = deliveries::waiting(db.pool()).await.unwrap();
    let writes = writes::waiting(db).await.unwrap();
    let unmeasured = branches.iter().filter(|branch| !measured(world, branch)).count();
    if (stored, waiting, writes, unmeasured) == (sent.guids.len() as i64, 0, 0, 0) {
        return String::new();
    }
    let checks: Vec<_> = branches
        .iter()
        .filter(|branch| !measured(world, branch))
        .flat_map(|branch| {
            let head = world.github.tip(world.repository, branch).unwrap();
            let all = world.github.check_runs(world.repository).into_iter();
            all.filter(move |run| run.head_sha == head.as_str())
                .map(|run| format!("{} {} {:?} {}", run.name, run.status, run.conclusion, run.title))
        })
        .take(6)
        .collect();
    format!(
        "{stored} of {} stored, {waiting} wait, {writes} writes wait, {unmeasured} heads unmeasured: {checks:?}",
        sent.guids.len()
    )
}

fn measured(world: &World, branch: &str) -> bool {
    let head = world.github.tip(world.repository, branch).unwrap();
    CHECKS
        .iter()
        .all(|name| world.check(name, &head).is_some_and(|run| run.conclusion.as_deref() == Some("success")))
}

/// What there is on GitHub and in the database.
async fn end(world: &World, branches: &[String], numbers: &[u64], sent: &Sent) -> BTreeMap<String, String> {
    let mut end = BTreeMap::new();
    let runs = world.github.check_runs(world.repository);
    let named: BTreeSet<_> = runs.iter().map(|run| (&run.head_sha, &run.name)).collect();
    assert_eq!(named.len(), runs.len(), "one check run of each name per head");
    for (branch, number) in branches.iter().zip(numbers) {
        let comments = world.our_comments(*number);
        assert_eq!(comments.len(), 1, "comments of #{number}");
        end.insert(format!("comment of #{number}"), plain(world, &comments[0].body));
        let head = world.github.tip(world.repository, branch).unwrap();
        for run in runs.iter().filter(|run| run.head_sha == head.as_str()) {
            let text =
                format!("{} {:?} {} {} {}", run.status, run.conclusion, run.title, run.summary, run.text);
            end.insert(format!("{} of #{number}", run.name), plain(world, &text));
        }
    }
    let db = &world.server.app.db;
    for guid in &sent.guids {
        assert!(deliveries::known(db, guid).await.unwrap(), "{guid} is lost");
    }
    end.extend(rows(world, db).await);
    end
}

/// Rows that say how things stand; those that say how they came to be so (old heads, attempts, times) are left out.
async fn rows(world: &World, db: &Db) -> BTreeMap<String, String> {
    let present = "IN (SELECT head_sha FROM pull_requests)";
    let queries = [
        "SELECT repository_id || ' ' || number || ' ' || title || ' ' || state || ' ' || draft || ' ' || base_ref || ' '
             || base_sha || ' ' || head_ref || ' ' || head_sha || ' ' || merge_base || ' ' || mergeable FROM pull_requests"
            .to_owned(),
        format!(
            "SELECT number || ' ' || head_sha || ' ' || commits || COALESCE(skipped, '') FROM judgements WHERE head_sha {present}"
        ),
        format!(
            "SELECT number || ' ' || base_sha || ' ' || head_sha || ' done' FROM jobs WHERE state = 'done' AND head_sha {present}"
        ),
        "SELECT state || ' ' || COUNT(*) FROM deliveries WHERE guid NOT LIKE 'sweep:%' GROUP BY state".to_owned(),
        "SELECT COUNT(*) || ' writes given up' FROM writes WHERE error IS NOT NULL".to_owned(),
        "SELECT COUNT(*) || ' comments' FROM writes WHERE target LIKE 'comment:%' AND version = written_version"
            .to_owned(),
    ];
    let mut rows = BTreeMap::new();
    for (at, query) in queries.into_iter().enumerate() {
        let found = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(db.pool()).await.unwrap();
        let mut lines: Vec<String> = found.iter().map(|row| plain(world, &row.get::<String, _>(0))).collect();
        lines.sort();
        rows.insert(format!("rows {at}"), lines.join("\n"));
    }
    rows
}

/// Without addresses and job ids, which differ from run to run.
fn plain(world: &World, text: &str) -> String {
    let text = text.replace(&world.url(""), "URL");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(id) = (0..rest.len()).find(|at| uuid_at(rest, *at)) {
        out.push_str(&rest[..id]);
        out.push_str("ID");
        rest = &rest[id + 36..];
    }
    out + rest
}

fn uuid_at(text: &str, at: usize) -> bool {
    let Some(candidate) = text.get(at..at + 36) else { return false };
    candidate.bytes().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}
