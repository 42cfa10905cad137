//! From nothing to a first check run: `paceline setup`, one page, `paceline serve` with what it wrote, a pull request.

use crate::commands::paceline;
use crate::database::On;
use crate::world::{Wishes, World, eventually, request};
use bot::demo::standin::{Covered, Event, NewPull, NewRepository, StandIn, StandInOptions};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A child that is ended with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command and waits for the line that holds `part`, on standard output or standard error.
fn started(mut command: Command, part: &str, on_stderr: bool) -> (Ends, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut wanted, other): (Box<dyn BufRead + Send>, Box<dyn std::io::Read + Send>) = match on_stderr {
        true => (Box::new(BufReader::new(err)), Box::new(out)),
        false => (Box::new(BufReader::new(out)), Box::new(err)),
    };
    let child = Ends(child);
    std::thread::spawn(move || std::io::copy(&mut { other }, &mut std::io::sink()));
    let mut line = String::new();
    let mut all = String::new();
    while !line.contains(part) {
        all += &line;
        line.clear();
        assert!(wanted.read_line(&mut line).unwrap() > 0, "it ended before it said {part:?}: {all}");
    }
    std::thread::spawn(move || std::io::copy(&mut wanted, &mut std::io::sink()));
    (child, line)
}

/// The value of an attribute, as a browser would read it.
fn attribute(page: &str, before: &str) -> String {
    let rest = &page[page.find(before).unwrap_or_else(|| panic!("{before} in {page}")) + before.len()..];
    let text = &rest[..rest.find('"').unwrap()];
    let mut text = text.to_owned();
    for (entity, character) in [("&#34;", "\""), ("&quot;", "\""), ("&#38;", "&"), ("&amp;", "&")] {
        text = text.replace(entity, character);
    }
    text
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_first_check_run() {
    let dir = tempfile::tempdir().unwrap();
    let github = StandIn::start(StandInOptions::new(dir.path().join("github"))).await.unwrap();
    let (kept, public) = (dir.path().join("kept"), format!("http://127.0.0.1:{}", free_port()));
    let mut setup =
        paceline(&["setup", "--public-url", &public, "--name", "Pace of Acme", "--github", &github.url()]);
    setup.arg("--dir").arg(&kept);
    let (mut setup, line) = started(setup, "Open http://", false);
    let page = line.split_whitespace().nth(1).unwrap().to_owned();
    assert!(page.ends_with("/setup"), "{page}");
    let mut steps = Steps::begin("run `paceline setup --public-url …`");

    let (status, start) = request("GET", &page, &[], vec![]).await;
    assert_eq!(status, 200, "{start}");
    let action = attribute(&start, "action=\"");
    assert!(action.starts_with(&format!("{}/settings/apps/new?state=", github.url())), "{action}");
    let manifest: Value = serde_json::from_str(&attribute(&start, "name=\"manifest\" value=\"")).unwrap();
    assert_eq!(manifest["hook_attributes"]["url"], format!("{public}/github/webhook"));
    let redirect = manifest["redirect_url"].as_str().unwrap().to_owned();
    let state = action.split("state=").nth(1).unwrap();
    steps.next("open the page, and press its button");
    let code = github.confirm_manifest(manifest.clone());
    steps.next("confirm the App on GitHub's page");
    for wrong in
        [format!("?code={code}"), format!("?code={code}&state=guessed"), format!("?state={state}&code=none")]
    {
        assert_eq!(request("GET", &format!("{redirect}{wrong}"), &[], vec![]).await.0, 400, "{wrong}");
    }
    assert!(!kept.join("github-app.pem").exists());
    let (status, done) = request("GET", &format!("{redirect}?code={code}&state={state}"), &[], vec![]).await;
    assert_eq!(status, 200, "{done}");
    assert!(done.contains("pace-of-acme") && done.contains("installations/new"), "{done}");
    assert!(setup.0.wait().unwrap().success());
    for name in ["paceline-server.toml", "github-app.pem", "github-webhook-secret"] {
        let mode = std::fs::metadata(kept.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    let app_id = app_id(&kept);
    steps.next("install the App by the link of the page");
    let installation = github.install(app_id, "acme");
    let repository = github.create_repository(&NewRepository::named("acme/widgets").unwrap()).unwrap();
    github.cover(installation, repository, Covered::Yes);
    let base = github.commit(repository, "main", "feat: start", &[("a", Some(b"1\n"))]).unwrap();
    github.set_branch(repository, "topic", &base).unwrap();
    let head = github.commit(repository, "topic", "fix: one", &[("a", Some(b"2\n"))]).unwrap();
    steps.next("run `paceline serve --config …`, as the page says");
    let config = kept.join("paceline-server.toml");
    let mut serve = paceline(&["serve", "--no-runner", "--listen", public.strip_prefix("http://").unwrap()]);
    serve.arg("--config").arg(&config).arg("--data-dir").arg(dir.path().join("data"));
    let (_server, _) = started(serve, "listening", true);
    let check = paceline(&["setup", "check", "--config", config.to_str().unwrap()]).output().unwrap();
    let words = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(0), "{words}");

    // The same from a browser, on the running server.
    let (status, page) = request("GET", &format!("{public}/setup"), &[], vec![]).await;
    assert!(status == 200 && page.contains("All is as it should be"), "{page}");

    steps.next("open a pull request");
    let new = NewPull {
        title: "A change".into(),
        author: "alice".into(),
        base: "main".into(),
        head: "topic".into(),
        fork: None,
        draft: false,
    };
    let number = github.open_pull(repository, &new).unwrap();
    let event = Event::PullRequest { repo: repository, number, action: "opened".into() };
    let delivered = github.deliver(app_id, &format!("{public}/github/webhook"), &event).await.unwrap();
    assert_eq!(delivered.status, 202, "{}", delivered.body);
    let seen = eventually("the first check run", || {
        let all = github.check_runs(repository);
        all.into_iter().find(|run| run.name == "paceline/commits" && run.head_sha == head.as_str())
    })
    .await;
    assert_eq!(seen.conclusion.as_deref(), Some("success"));
    steps.end("the first check run");

    github.grant_app(app_id, "checks", None);
    let check = paceline(&["setup", "check", "--config", config.to_str().unwrap()]).output().unwrap();
    let words = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(1), "{words}");
    assert!(words.contains("missing: permissions are missing: checks: write"), "{words}");
}

/// What it says of the App's key and permissions is for nobody else once somebody is named.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_admins_where_there_are_any() {
    let world = World::new(On::Sqlite, Wishes::default()).await;
    let (status, page) = request("GET", &world.url("/setup"), &[], vec![]).await;
    assert!(status == 200 && page.contains("Set-up"), "{page}");
    let kept = world.replica_of(&["boss"]).await;
    let (status, page) = request("GET", &format!("http://{}/setup", kept.address), &[], vec![]).await;
    assert!(status == 404 && !page.contains("Set-up"), "{page}");
}

/// What a new user does, and how long the programs take for it. `scripts/setup-test` prints it.
struct Steps {
    began: Instant,
    count: usize,
}

impl Steps {
    fn begin(what: &str) -> Self {
        let mut steps = Self { began: Instant::now(), count: 0 };
        steps.next(what);
        steps
    }

    fn next(&mut self, what: &str) {
        self.count += 1;
        println!("step {} at {:.1} s: {what}", self.count, self.began.elapsed().as_secs_f64());
    }

    fn end(&self, what: &str) {
        println!(
            "{what} after {} steps and {:.1} s of waiting",
            self.count,
            self.began.elapsed().as_secs_f64()
        );
    }
}

fn app_id(kept: &Path) -> u64 {
    let text = std::fs::read_to_string(kept.join("paceline-server.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("github_app_id")).unwrap();
    line.split('=').nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn what_cannot_be_set_up_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("github-app.pem"), "mine").unwrap();
    for (arguments, expect) in [
        (vec!["setup"], "--public-url"),
        (vec!["setup", "--public-url", "paceline.example"], "http"),
        (vec!["setup", "--public-url", "https://p.example", "--org", "a/b"], "--org"),
        (vec!["setup", "--public-url", "https://p.example"], "there already"),
        (vec!["setup", "--public-url", "https://p.example", "--dir", "/dev/null/x"], "/dev/null/x"),
    ] {
        let output = paceline(&arguments).current_dir(dir.path()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), words.trim_end().lines().count()), (Some(2), 1), "{words}");
        assert!(words.contains(expect), "{words}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("github-app.pem")).unwrap(), "mine");
}
