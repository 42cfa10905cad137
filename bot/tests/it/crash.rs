//! A real `paceline serve` is killed at random instants while deliveries come in. In the end nothing is lost and nothing
//! doubled. The short form is one of the tests; `scripts/crash-test` runs the long one.

use crate::commands::paceline;
use crate::database::{Fresh, On, on_both};
use crate::hand::Hand;
use crate::postgres;

use bot::db::{Db, deliveries, runners, writes};
use bot::demo::standin::{
    AppCredentials, Covered, Event, Fault, FaultKind, NewPull, NewRepository, StandIn, StandInOptions,
};
use bot::pull::{InstallationId, RepoId};
use perfsuite::model::Sha;
use perfsuite::model::wire::Lease;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

on_both!(killed_at_random_instants_nothing_is_lost_and_nothing_doubled);

const CHECKS: [&str; 2] = ["paceline/commits", "paceline/performance"];
/// A server lives so long at most; it starts in a tenth of this.
const LIFE_MAX_MS: u64 = 2_000;
/// Between what GitHub has done and our knowing it: the instant that matters most.
const ANSWER_AFTER: Duration = Duration::from_millis(40);
/// From the last start to the end of all work: more than the longest pause between two tries, which is five minutes.
const PATIENCE: Duration = Duration::from_secs(420);

#[derive(Clone, Copy, Debug)]
struct Plan {
    /// How often the server is killed.
    rounds: usize,
    pulls: usize,
    deliveries: usize,
    /// How often GitHub fails besides.
    faults: usize,
    seed: u64,
}

async fn killed_at_random_instants_nothing_is_lost_and_nothing_doubled(on: On) {
    let plan = Plan { rounds: 4, pulls: 3, deliveries: 24, faults: 0, seed: rand::random() };
    println!("{}", Crashing::run(on, plan).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; scripts/crash-test runs it"]
async fn at_length() {
    let number = |name: &str, default: usize| match std::env::var(format!("PACELINE_CRASH_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")),
        Err(_) => default,
    };
    let plan = Plan {
        rounds: number("ROUNDS", 20),
        pulls: number("PULLS", 20),
        deliveries: number("DELIVERIES", 200),
        faults: number("FAULTS", 40),
        seed: number("SEED", rand::random::<u32>() as usize) as u64,
    };
    let wanted = std::env::var("PACELINE_CRASH_DATABASE").unwrap_or_else(|_| "both".into());
    assert!(["both", "sqlite", "postgres"].contains(&wanted.as_str()), "no such database: {wanted}");
    if wanted != "postgres" {
        println!("{}", Crashing::run(On::Sqlite, plan).await);
    }
    if wanted != "sqlite" && postgres::available() {
        println!("{}", Crashing::run(On::Postgres, plan).await);
    }
}

/// A server that is started and killed, and the GitHub that it serves.
pub struct Crashing {
    pub github: StandIn,
    pub app: AppCredentials,
    pub installation: InstallationId,
    pub repository: RepoId,
    pub numbers: Vec<u64>,
    pub database: Fresh,
    port: u16,
    dir: TempDir,
}

/// What was sent.
#[derive(Default)]
pub struct Sent {
    guids: BTreeSet<String>,
    pub deliveries: usize,
    /// Found nobody, or a server that died before it answered.
    unanswered: usize,
}

impl Crashing {
    async fn run(on: On, plan: Plan) -> String {
        let it = Self::new(on, plan.pulls).await;
        let db = Db::open(&it.database.url).await.unwrap();
        let runner = tokio::spawn(measure_for_ever(it.hand(&db).await));
        let mut random = StdRng::seed_from_u64(plan.seed);
        let mut sent = Sent::default();
        for round in 0..plan.rounds {
            let mut server = it.start();
            let random_ms = random.random_range(0..LIFE_MAX_MS);
            let life = Duration::from_millis(if round % 2 == 0 { random_ms } else { LIFE_MAX_MS });
            let github = it.github.clone();
            let created = creations(&github);
            let killed = tokio::spawn(async move {
                // Every second time at the worst instant: GitHub has made something, and we do not know it yet.
                let born = Instant::now();
                while born.elapsed() < life && (round % 2 == 0 || creations(&github) == created) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                server.kill().unwrap();
                server.wait().unwrap();
            });
            let share = plan.deliveries * (round + 1) / plan.rounds - sent.deliveries;
            for _ in plan.faults * round / plan.rounds..plan.faults * (round + 1) / plan.rounds {
                it.github.fail(fault(&mut random));
            }
            it.send(share, &mut sent, &mut random).await;
            killed.await.unwrap();
        }
        let last_start = Instant::now();
        let mut server = it.start();
        it.settled(&db, &sent).await;
        let settled = last_start.elapsed();
        server.kill().unwrap();
        server.wait().unwrap();
        runner.abort();
        it.check(&db, &sent, plan.faults).await;
        let figures = format!(
            "{on:?}: {} kills and {} faults of GitHub (seed {}), {} deliveries for {} pull requests, {} of them unanswered and asked for again;\n\
             \x20 at the end {} comments and {} check runs, made by {} and {} requests; one of each on every pull request and head, \
             none lost, none doubled;\n\
             \x20 settled {:.1} s after the last start; all requests to GitHub: {:?}",
            plan.rounds,
            plan.faults,
            plan.seed,
            sent.deliveries,
            plan.pulls,
            sent.unanswered,
            it.numbers.len(),
            it.github.check_runs(it.repository).len(),
            it.github.count("POST", "/comments"),
            it.github.count("POST", "/check-runs"),
            settled.as_secs_f64(),
            it.github.totals(),
        );
        db.close().await;
        figures
    }

    pub async fn new(on: On, pulls: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = StandInOptions::new(dir.path().join("github"));
        options.answer_writes_after = ANSWER_AFTER;
        let github = StandIn::start(options).await.unwrap();
        let app = github.create_app("paceline").unwrap();
        let installation = github.install(app.app_id, "acme");
        let mut new = NewRepository::named("acme/widgets").unwrap();
        new.private = false;
        let repository = github.create_repository(&new).unwrap();
        github.cover(installation, repository, Covered::Yes);
        github.commit(repository, "main", "feat: start", &[("src/lib.rs", Some(b""))]).unwrap();
        std::fs::write(dir.path().join("key.pem"), app.private_key.expose_secret()).unwrap();
        let database = Fresh::new(on, &dir.path().join("data")).await;
        // Free now, and ours again and again: GitHub knows one address.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut it = Self { github, app, installation, repository, numbers: Vec::new(), database, port, dir };
        for pull in 0..pulls {
            it.open_pull(pull);
        }
        it
    }

    fn open_pull(&mut self, pull: usize) {
        let main = self.github.tip(self.repository, "main").unwrap();
        let branch = branch(pull);
        self.github.set_branch(self.repository, &branch, &main).unwrap();
        self.push(pull, 0);
        let new = NewPull {
            title: format!("fix: {branch}"),
            author: "alice".into(),
            base: "main".into(),
            head: branch,
            fork: None,
            draft: false,
        };
        self.numbers.push(self.github.open_pull(self.repository, &new).unwrap());
    }

    fn push(&self, pull: usize, n: usize) {
        let source = format!("pub const N: usize = {n}; // of {pull}\n");
        let files = [("src/lib.rs", Some(source.as_bytes()))];
        self.github.commit(self.repository, &branch(pull), &format!("fix: {pull} {n}"), &files).unwrap();
    }

    fn head(&self, pull: usize) -> Sha {
        self.github.tip(self.repository, &branch(pull)).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn start(&self) -> Child {
        let mut command = paceline(&["serve", "--no-runner"]);
        command
            .env("PACELINE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("PACELINE_DATA_DIR", self.dir.path().join("data"))
            .env("DATABASE_URL", &self.database.url)
            .env("GITHUB_API_URL", self.github.url())
            .env("GITHUB_APP_ID", self.app.app_id.to_string())
            .env("GITHUB_PRIVATE_KEY_FILE", self.dir.path().join("key.pem"))
            .env("GITHUB_WEBHOOK_SECRET", self.app.webhook_secret.expose_secret())
            .env("PACELINE_WRITE_SPACING_MS", "50")
            .env("PACELINE_LEASE_MS", "1500")
            .env("RUST_LOG", "warn");
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    pub async fn hand(&self, db: &Db) -> Hand {
        let token = runners::new_token();
        runners::upsert(db, "by-hand", &token, false, 0).await.unwrap();
        Hand { url: self.url(""), token }
    }

    /// Sends deliveries, whether anybody listens or not: pushes, and events that change nothing.
    pub async fn send(&self, count: usize, sent: &mut Sent, random: &mut StdRng) {
        for _ in 0..count {
            let pull = sent.deliveries % self.numbers.len();
            let action = if sent.deliveries < self.numbers.len() {
                "opened"
            } else if random.random_bool(0.5) {
                self.push(pull, sent.deliveries);
                "synchronize"
            } else {
                "edited"
            };
            let number = self.numbers[pull];
            let event = Event::PullRequest { repo: self.repository, number, action: action.into() };
            match self.github.deliver(self.app.app_id, &self.url("/github/webhook"), &event).await {
                Ok(delivered) => {
                    assert_eq!(delivered.status, 202, "{}", delivered.body);
                    sent.guids.insert(delivered.guid);
                }
                Err(_) => sent.unanswered += 1,
            }
            sent.deliveries += 1;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
        }
    }

    /// Waits until everything sent was worked on and everything wanted was written.
    pub async fn settled(&self, db: &Db, sent: &Sent) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left(db, sent).await;
            if left.is_empty() {
                return;
            }
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain: {left}\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What is still to be done, in words; empty at the end.
    async fn left(&self, db: &Db, sent: &Sent) -> String {
        let row = sqlx::query("SELECT COUNT(*) FROM deliveries WHERE guid NOT LIKE 'sweep:%'")
            .fetch_one(db.pool())
            .await
            .unwrap();
        let stored: i64 = sqlx::Row::get(&row, 0);
        let (waiting, _) = deliveries::waiting(db.pool()).await.unwrap();
        let writes = writes::waiting(db).await.unwrap();
        let unmeasured = (0..self.numbers.len()).filter(|pull| !self.measured(*pull)).count();
        if (stored, waiting, writes, unmeasured) == (sent.deliveries as i64, 0, 0, 0) {
            return String::new();
        }
        format!("{stored} stored, {waiting} wait, {writes} writes wait, {unmeasured} heads unmeasured")
    }

    fn measured(&self, pull: usize) -> bool {
        let head = self.head(pull);
        CHECKS.iter().all(|name| {
            let of_head = |run: &bot::demo::standin::CheckRunSeen| {
                run.name == *name && run.head_sha == head.as_str() && run.status == "completed"
            };
            self.github.check_runs(self.repository).iter().any(of_head)
        })
    }

    /// Nothing is lost or doubled; `faults` of GitHub excuse requests in vain.
    pub async fn check(&self, db: &Db, sent: &Sent, faults: usize) {
        for guid in &sent.guids {
            assert!(deliveries::known(db, guid).await.unwrap(), "{guid} was answered with 202 and is lost");
        }
        assert_eq!(deliveries::newest_failure(db).await.unwrap(), None);
        for (pull, number) in self.numbers.iter().enumerate() {
            let comments = self.github.comments(self.repository, *number);
            assert_eq!(comments.len(), 1, "comments of #{number}");
            assert!(comments[0].body.contains(&self.head(pull).as_str()[..7]), "{}", comments[0].body);
        }
        let runs = self.github.check_runs(self.repository);
        let named: BTreeSet<_> = runs.iter().map(|run| (&run.head_sha, &run.name)).collect();
        assert_eq!(named.len(), runs.len(), "one check run of each name per head");
        if faults == 0 {
            assert_eq!(self.github.count("POST", "/check-runs"), runs.len(), "none was asked for in vain");
            assert_eq!(self.github.count("POST", "/comments"), self.numbers.len());
        }
    }
}

/// One request that goes wrong: refused, limited, or carried out with its answer lost.
fn fault(random: &mut StdRng) -> Fault {
    let (method, part) = [
        ("POST", "/check-runs"),
        ("POST", "/comments"),
        ("PATCH", "/check-runs/"),
        ("PATCH", "/comments/"),
        ("GET", "/pulls/"),
        ("GET", "/check-runs"),
    ][random.random_range(0..6)];
    let kind = [
        FaultKind::InternalError,
        FaultKind::BadGatewayAfter,
        FaultKind::Secondary { retry_after_s: 1 },
        FaultKind::TooMany { retry_after_s: 1 },
    ][random.random_range(0..4)];
    Fault::new(method, part, kind, 1)
}

/// How often something was to be created on GitHub.
fn creations(github: &StandIn) -> usize {
    github.count("POST", "/comments") + github.count("POST", "/check-runs")
}

fn branch(pull: usize) -> String {
    format!("topic-{pull}")
}

/// A runner that goes on whatever becomes of the server.
pub async fn measure_for_ever(hand: Hand) {
    loop {
        match hand.claim(true).await {
            Some(lease) => persist(&hand, &lease).await,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Tries a job until the server has taken its end, or says that it is no longer this runner's.
async fn persist(hand: &Hand, lease: &Lease) {
    loop {
        if hand.try_to_measure(lease, 1.0).await.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
