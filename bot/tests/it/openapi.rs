//! Every request that Paceline sends, held against GitHub's own description by a proxy that validates. Run by
//! `scripts/openapi-test`.

use crate::database::On;
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually};
use bot::db::{deliveries, writes};
use bot::demo::standin::Event;
use bot::missed::{self, Asked};
use bot::pull::{Permission, PullState};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The description is 12 MB and is read, resolved and listed before anything is answered.
const START_WAIT: Duration = Duration::from_secs(300);

/// The proxy, and what it says.
struct Proxy {
    port: u16,
    log: PathBuf,
    _child: Child,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Proxy {
    async fn before(upstream: u16, dir: &Path) -> Self {
        let named =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}: run scripts/openapi-test"));
        let (port, log) = (free_port(), dir.join("prism.log"));
        let out = std::fs::File::create(&log).unwrap();
        let child = Command::new(named("PACELINE_PRISM"))
            .args(["proxy", &named("PACELINE_OPENAPI"), &format!("http://127.0.0.1:{upstream}")])
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + START_WAIT;
        while !std::fs::read_to_string(&log).unwrap().contains("Prism is listening") {
            assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(&log).unwrap());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Self { port, log, _child: child }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants prism and GitHub's description; scripts/openapi-test fetches them"]
async fn every_request_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = free_port();
    let proxy = Proxy::before(upstream, dir.path()).await;
    let wishes = Wishes {
        standin_port: upstream,
        api_url: Some(format!("http://127.0.0.1:{}", proxy.port)),
        ..Wishes::default()
    };
    let world = World::new(On::Sqlite, wishes).await;
    a_slowdown_and_commands(&world).await;
    a_fork(&world).await;
    what_takes_several_pages(&world).await;
    a_broken_configuration(&world).await;
    what_was_missed(&world).await;
    reads_that_no_journey_makes(&world).await;
    idle(&world).await;
    let asked: BTreeMap<String, usize> = world.github.totals();
    world.server.stop().await;

    let log = std::fs::read_to_string(&proxy.log).unwrap();
    let (mut request, mut seen, mut wrong) = (String::new(), 0, Vec::new());
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines() {
        if let Some((_, received)) = line.split_once("[HTTP SERVER] ") {
            request = received.split(" ℹ").next().unwrap_or_default().to_owned();
            seen += usize::from(line.contains("Request received"));
        }
        let unknown = ["NO_PATH_MATCHED", "NO_METHOD_MATCHED", "NO_SERVER_MATCHED", "Route not resolved"];
        if line.contains("Violation: request") || unknown.iter().any(|word| line.contains(word)) {
            wrong.push(format!("{request}: {line}"));
        } else if let Some((_, words)) = line.split_once("Violation: response") {
            *answers.entry(words.trim().to_owned()).or_default() += 1;
        }
    }
    println!("{seen} requests went through the proxy ({asked:?}); {} violations of requests", wrong.len());
    let (lacking, other): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(words, _)| words.contains("must have required property"));
    println!(
        "the stand-in's answers: {} fields left out that nobody here reads, {} other violations",
        lacking.iter().map(|(_, times)| times).sum::<usize>(),
        other.len()
    );
    for (words, times) in other.iter().take(40) {
        println!("  {times} times: {words}");
    }
    assert!(seen > 50, "the journeys went past the proxy:\n{log}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn idle(world: &World) {
    let db = &world.server.app.db;
    for _ in 0..1_200 {
        let (waiting, _) = deliveries::waiting(db.pool()).await.unwrap();
        if waiting == 0 && writes::waiting(db).await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("work waits for ever: {:?}", deliveries::newest_failure(db).await);
}

async fn a_slowdown_and_commands(world: &World) {
    let number = world.open_pull("Made it better");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(world, "box").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.25).await;
    let head = world.head();
    let check = world.ended("paceline/performance", &head).await;
    world.press(check.id, None, "mia").await;
    world.github.set_permission(world.repository, "mia", Permission::Write);
    world.github.set_permission(world.repository, "eve", Permission::Read);
    for (login, text) in [
        ("mia", "/paceline help"),
        ("mia", "/paceline dance"),
        ("mia", "/paceline bench"),
        ("mia", "/paceline cancel"),
        ("eve", "/paceline bench"),
    ] {
        world.say(number, login, text).await;
    }
    idle(world).await;
    world.github.edit_pull(world.repository, number, |pull| pull.state = PullState::Closed).unwrap();
    world.pull_event(number, "closed").await;
    idle(world).await;
}

async fn a_fork(world: &World) {
    let (_, number, head) = world.open_fork();
    world.pull_event(number, "opened").await;
    let check = eventually("the button", || world.check("paceline/performance", &head)).await;
    world.press(check.id, Some("run"), "mia").await;
    idle(world).await;
}

/// Comments beyond the first page, annotations beyond one request.
async fn what_takes_several_pages(world: &World) {
    let number = world.open_pull_on("many");
    for n in 0..60 {
        let files = [("src/lib.rs", Some(format!("// {n}\n").into_bytes()))];
        let files: Vec<(&str, Option<&[u8]>)> =
            files.iter().map(|(path, text)| (*path, text.as_deref())).collect();
        world.github.commit(world.repository, "many", &format!("Changed it {n}"), &files).unwrap();
    }
    for n in 0..120 {
        world.github.comment_as(world.repository, number, "alice", &format!("comment {n}"));
    }
    world.pull_event(number, "opened").await;
    idle(world).await;
    let head = world.github.tip(world.repository, "many").unwrap();
    let check = world.check("paceline/commits", &head).unwrap();
    assert_eq!(check.annotations.len(), 60);
    assert_eq!(world.our_comments(number).len(), 1);
    // Another state of the same check run asks for what is there already.
    world.github.comment_as(world.repository, number, "mia", "/paceline retry");
    world.say(number, "mia", "/paceline bench").await;
    idle(world).await;
}

async fn a_broken_configuration(world: &World) {
    let config: &[u8] = b"[perf]\nminuts-per-run = 3\n";
    let files = [(".github/paceline.toml", Some(config))];
    world.github.commit(world.repository, "main", "chore: configure", &files).unwrap();
    let number = world.open_pull_on("configured");
    world.pull_event(number, "opened").await;
    idle(world).await;
    let head = world.github.tip(world.repository, "configured").unwrap();
    assert!(world.check("paceline/config", &head).is_some());
}

async fn what_was_missed(world: &World) {
    let number = world.open_pull_on("missed");
    let event = Event::PullRequest { repo: world.repository, number, action: "opened".into() };
    let parcel = world.github.compose(world.app_id, &world.url("/github/webhook"), &event).unwrap();
    world.github.lose(parcel);
    missed::redeliver(&world.server.app, &mut Asked::default()).await.unwrap();
    let head = world.github.tip(world.repository, "missed").unwrap();
    let check = eventually("the check", || world.check("paceline/commits", &head)).await;
    idle(world).await;
    world.github.delete_check_run(world.repository, check.id);
    let comment = world.our_comments(number)[0].id;
    world.github.delete_comment(world.repository, comment);
    assert!(missed::sweep(&world.server.app).await.unwrap() >= 2);
    idle(world).await;
    assert!(world.check("paceline/commits", &head).is_some());
    let event =
        Event::Installation { installation: world.installation, action: "new_permissions_accepted".into() };
    world.send(&event).await;
    world.send(&Event::Repository { repo: world.repository, action: "edited".into() }).await;
    idle(world).await;
}

/// What only some commands ask for.
async fn reads_that_no_journey_makes(world: &World) {
    let github = &world.server.app.github;
    github.app_self_check().await.unwrap();
    let name = "acme/widgets".parse().unwrap();
    let installation = github.installation_for(&name).await.unwrap();
    let repository = github.repository(installation, &name).await.unwrap();
    github.commits(&repository, 1).await.unwrap();
    github.files(&repository, 1).await.unwrap();
    // A login with brackets, as apps have.
    github.permission(&repository, "dependabot[bot]").await.unwrap();
}
