//! A disk that is nearly full, and one that is full: what goes, what waits, and that nothing is lost.

use crate::commands::paceline;
use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim, evidence};
use crate::world::{Wishes, World, eventually, request};
use bot::config::DiskConfig;
use bot::demo::standin::{Covered, Event, NewPull, NewRepository, StandIn, StandInOptions};
use bot::room::{self, Swept};
use perfsuite::model::wire::{Lease, Outcome, Phase, Stored};
use secrecy::ExposeSecret;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

on_both!(what_is_old_goes_first_and_what_is_young_stays, jobs_wait_for_room_and_the_comment_says_so,);

/// No disk has so much to spare.
const NEVER_ENOUGH: DiskConfig = DiskConfig { reserve_bytes: u64::MAX, evidence_days: 90, delivery_days: 30 };
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn age(path: &Path, days: u32) {
    let file = File::open(path).unwrap();
    file.set_modified(SystemTime::now() - DAY * days).unwrap();
}

/// Every directory and file, the deepest first.
fn age_tree(path: &Path, days: u32) {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().flatten().for_each(|entry| age_tree(&entry.path(), days));
    }
    age(path, days);
}

fn stored(world: &World, digest: &str) -> PathBuf {
    world.server.app.config.data_dir.join("evidence").join(&digest[..2]).join(format!("{digest}.json.zst"))
}

async fn what_is_old_goes_first_and_what_is_young_stays(on: On) {
    let (world, number) = World::with_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(runner.beat(&lease, lease.fence, Phase::Measuring).await.0, 200);
    let (status, body) = runner.upload(&lease, &evidence(&lease, 1.0)).await;
    assert_eq!(status, 201, "{body}");
    let Stored { digest: used } = serde_json::from_str(&body).unwrap();
    assert_eq!(runner.finish(&lease, Outcome::Measured { digest: used.clone() }).await, 204);
    let app = &world.server.app;
    let (orphan, young) = (app.evidence.put(b"old").unwrap(), app.evidence.put(b"young").unwrap());
    age(&stored(&world, &used), 100);
    age(&stored(&world, &orphan), 100);
    let mirror = app.mirrors.path(world.repository);
    assert!(mirror.exists());

    // With room nothing is ever removed.
    assert_eq!(room::sweep(app).await.unwrap(), Swept::default());
    let tight = world.replica_with(NEVER_ENOUGH).await;
    eventually("the old orphan to go", || (!stored(&world, &orphan).exists()).then_some(())).await;
    assert!(stored(&world, &used).exists(), "its job ended a moment ago");
    assert!(stored(&world, &young).exists() && mirror.exists());

    // A hundred days later.
    let hundred_days_ago = app.clock.now_ms() - 100 * DAY.as_millis() as i64;
    sqlx::query("UPDATE jobs SET finished_ms = $1")
        .bind(hundred_days_ago)
        .execute(app.db.pool())
        .await
        .unwrap();
    age_tree(&mirror, 100);
    let swept = room::sweep(&tight.app).await.unwrap();
    assert!(
        swept.evidence <= 1 && swept.mirrors <= 1,
        "the server's own sweep may have been first: {swept:?}"
    );
    eventually("all that is old to go", || {
        (!stored(&world, &used).exists() && !mirror.exists()).then_some(())
    })
    .await;
    assert!(stored(&world, &young).exists());
    // The run is still shown; its evidence is said to be gone.
    let page = request("GET", &world.url(&format!("/runs/{}", lease.spec.job)), &[], vec![]).await;
    assert_eq!(page.0, 200);
    let bundle = request("GET", &world.url(&format!("/runs/{}/evidence", lease.spec.job)), &[], vec![]).await;
    assert!([404, 410].contains(&bundle.0), "{bundle:?}");
    // And the mirror is made again when it is wanted.
    world.push_to("topic", 9);
    world.pull_event(number, "synchronize").await;
    let again = eventually_claim(&runner).await;
    assert_eq!(again.spec.head, world.head());
    assert!(mirror.exists());
    tight.stop().await;
    world.server.stop().await;
}

async fn jobs_wait_for_room_and_the_comment_says_so(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let tight = world.replica_with(NEVER_ENOUGH).await;
    let hand = Hand::new(&world, "box").await;
    let runner = Hand { url: format!("http://{}", tight.address), ..hand };
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    // Either server may work on the delivery; the one without room repaints what waits.
    eventually("the job to wait", || (!world.our_comments(number).is_empty()).then_some(())).await;
    let mut tx = tight.app.db.begin().await.unwrap();
    let repository = bot::db::repositories::by_id(&mut *tx, world.repository).await.unwrap().unwrap();
    bot::runs::publish(&mut tx, &tight.app, &repository, number).await.unwrap();
    tx.commit().await.unwrap();
    tight.app.wake.writes.notify_one();
    eventually("the reason", || {
        let comments = world.our_comments(number);
        comments.iter().any(|comment| comment.body.contains("disk is nearly full")).then_some(())
    })
    .await;
    assert!(runner.claim(true).await.is_none(), "no job without room for its evidence");
    let (_, metrics) = request("GET", &format!("http://{}/metrics", tight.address), &[], vec![]).await;
    for name in [
        "paceline_disk_free_bytes",
        "paceline_disk_total_bytes",
        "paceline_disk_reserve_bytes",
        "paceline_disk_short 1",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    let runner = Hand { url: world.url(""), ..runner };
    assert!(eventually_claim(&runner).await.spec.head == world.head());
    tight.stop().await;
    world.server.stop().await;
}

/// A server whose data directory is a small disk of its own.
struct Small {
    child: Child,
    port: u16,
    data: PathBuf,
}

impl Small {
    /// `None`, and a line that says so, where a disk cannot be made.
    fn start(dir: &Path, serve: &Command, port: u16) -> Option<Small> {
        let data = dir.join("data");
        std::fs::create_dir(&data).unwrap();
        // Within the walls of the new disk, since nobody outside sees it under its own name.
        let script = "mount -t tmpfs -o size=48m,mode=0700 tmpfs \"$0\" && \
                      \"$1\" runner add box --data-dir \"$0\" > \"$0.token\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "--", "sh", "-c", script]).arg(&data);
        let possible = Command::new("unshare")
            .args(["--map-root-user", "--mount", "--", "sh", "-c", "mount -t tmpfs tmpfs \"$0\""])
            .arg(&data)
            .output();
        if !possible.as_ref().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "no small disk can be made here: {possible:?}");
            eprintln!("skipped: no small disk can be made here (unshare and mount)");
            return None;
        }
        command.arg(serve.get_program()).args(serve.get_args()).env_clear();
        command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child =
            command.stdin(Stdio::null()).stderr(File::create(dir.join("log")).unwrap()).spawn().unwrap();
        Some(Small { child, port, data })
    }

    /// The data directory as the server sees it.
    fn inside(&self) -> PathBuf {
        let path = self.data.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.child.id().to_string()).join("root").join(path)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Not a byte is left.
    fn fill(&self) {
        let mut file = File::create(self.inside().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.inside().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.data.with_file_name("log")).unwrap_or_default();
            eprintln!("the server's log:\n{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nothing_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let github = StandIn::start(StandInOptions::new(dir.path().join("github"))).await.unwrap();
    let app = github.create_app("paceline").unwrap();
    let installation = github.install(app.app_id, "acme");
    let mut new = NewRepository::named("acme/widgets").unwrap();
    new.private = false;
    let repository = github.create_repository(&new).unwrap();
    github.cover(installation, repository, Covered::Yes);
    let main = github.commit(repository, "main", "feat: start", &[("src/lib.rs", Some(b""))]).unwrap();
    let open = |branch: &str| {
        github.set_branch(repository, branch, &main).unwrap();
        let source = format!("// {branch}\n");
        github.commit(repository, branch, "fix: it", &[("src/lib.rs", Some(source.as_bytes()))]).unwrap();
        let pull = NewPull {
            title: branch.into(),
            author: "alice".into(),
            base: "main".into(),
            head: branch.into(),
            fork: None,
            draft: false,
        };
        github.open_pull(repository, &pull).unwrap()
    };
    let key = dir.path().join("key.pem");
    std::fs::write(&key, app.private_key.expose_secret()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let data = dir.path().join("data");
    let mut serve =
        paceline(&["serve", "--no-runner", "--write-spacing-ms", "10", "--disk-reserve-mib", "4"]);
    serve.env("PACELINE_LISTEN", format!("127.0.0.1:{port}")).arg("--data-dir").arg(&data);
    serve.arg("--github-private-key-file").arg(&key).args(["--github-app-id", &app.app_id.to_string()]);
    serve
        .env("GITHUB_API_URL", github.url())
        .env("GITHUB_WEBHOOK_SECRET", app.webhook_secret.expose_secret());
    let Some(server) = Small::start(dir.path(), &serve, port) else { return };
    let deliver = |number: u64| {
        let (github, hook) = (github.clone(), server.url("/github/webhook"));
        let event = Event::PullRequest { repo: repository, number, action: "opened".into() };
        async move {
            github.deliver(app.app_id, &hook, &event).await.map(|delivered| delivered.status).unwrap_or(0)
        }
    };
    wait("the server", || async { request("GET", &server.url("/readyz"), &[], vec![]).await.0 == 200 }).await;
    let token = std::fs::read_to_string(dir.path().join("data.token")).unwrap().trim().to_owned();
    let hand = Hand { url: server.url(""), token };
    assert_eq!(deliver(open("one")).await, 202);
    let mut lease: Option<Lease> = None;
    let until = Instant::now() + Duration::from_secs(60);
    while lease.is_none() && Instant::now() < until {
        lease = hand.claim(true).await;
    }
    let lease = lease.expect("a job");
    assert_eq!(hand.beat(&lease, lease.fence, Phase::Measuring).await.0, 200);

    server.fill();
    let found = evidence(&lease, 1.3);
    let (status, words) = hand.upload(&lease, &found).await;
    assert_eq!(status, 500, "evidence that cannot be kept is not taken, and may come again: {words}");
    let (_, metrics) = request("GET", &server.url("/metrics"), &[], vec![]).await;
    assert!(metrics.contains("paceline_disk_short 1"), "{metrics}");
    let two = open("two");
    let mut refused = 0;
    for _ in 0..20 {
        // Some may still fit into the journal; what does not fit is not answered with "accepted".
        match deliver(two).await {
            202 => {}
            500 | 503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "a full disk takes no deliveries");
    assert_eq!(request("GET", &server.url("/healthz"), &[], vec![]).await.0, 200, "it lives");

    server.empty();
    wait("the upload to be taken", || async { hand.upload(&lease, &found).await.0 == 201 }).await;
    hand.measure(&lease, 1.3).await;
    assert_eq!(deliver(two).await, 202);
    let mut next = None;
    let until = Instant::now() + Duration::from_secs(60);
    while next.is_none() && Instant::now() < until {
        next = hand.claim(true).await;
    }
    hand.measure(&next.expect("the second job"), 1.0).await;
    wait("both comments", || async {
        [1, 2].iter().all(|number| {
            github.comments(repository, *number).iter().filter(|c| c.author.ends_with("[bot]")).count() == 1
        })
    })
    .await;
    // The database is whole. Copied out, because SQLite follows the links that lead to the disk back to our own.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["paceline.db", "paceline.db-wal"] {
        std::fs::copy(server.inside().join(name), copy.join(name)).unwrap();
    }
    let db = bot::db::Db::open_in(&copy).await.unwrap();
    let row = sqlx::query("SELECT COUNT(*) AS done FROM jobs WHERE state = 'done'")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(sqlx::Row::get::<i64, _>(&row, "done"), 2);
    let row = sqlx::query("PRAGMA integrity_check").fetch_one(db.pool()).await.unwrap();
    assert_eq!(sqlx::Row::get::<String, _>(&row, 0), "ok");
    db.close().await;
}

async fn wait<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let until = Instant::now() + Duration::from_secs(90);
    while !look().await {
        assert!(Instant::now() < until, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
