//! A secret is in no log, page, metric, file or command line, not even at the most talkative level and when things fail.

use crate::commands::paceline;
use crate::hand::Hand;
use crate::world::request;
use bot::db::{Db, runners};
use bot::demo::standin::{Covered, Event, Fault, FaultKind, NewPull, NewRepository, StandIn, StandInOptions};
use perfsuite::model::wire::Phase;
use secrecy::ExposeSecret;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Far longer than each step takes on a machine that does ten things at once.
const PATIENCE: Duration = Duration::from_secs(90);
const OLDER_SECRET: &str = "canary-webhook-3f2a9c";
const CLIENT_SECRET: &str = "canary-client-8d11e0";

/// Ended with the test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mut command: std::process::Command, log: &Path) -> Process {
    let file = std::fs::File::create(log).unwrap();
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    command.stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null());
    Process(command.spawn().unwrap())
}

async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let ends = Instant::now() + PATIENCE;
    while !look().await {
        assert!(Instant::now() < ends, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_or_kept_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (data, key) = (dir.path().join("data"), dir.path().join("key.pem"));
    let (server_log, runner_log) = (dir.path().join("server.log"), dir.path().join("runner.log"));
    let github = StandIn::start(StandInOptions::new(dir.path().join("github"))).await.unwrap();
    let app = github.create_app("paceline").unwrap();
    let installation = github.install(app.app_id, "acme");
    let mut new = NewRepository::named("acme/widgets").unwrap();
    new.private = false;
    let repository = github.create_repository(&new).unwrap();
    github.cover(installation, repository, Covered::Yes);
    let main = github.commit(repository, "main", "feat: start", &[("src/lib.rs", Some(b""))]).unwrap();
    github.set_branch(repository, "topic", &main).unwrap();
    std::fs::write(&key, app.private_key.expose_secret()).unwrap();

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let mut serve = paceline(&["serve", "--no-runner", "--write-spacing-ms", "10"]);
    serve.env("PACELINE_LISTEN", format!("127.0.0.1:{port}")).arg("--data-dir").arg(&data);
    serve.arg("--github-private-key-file").arg(&key).args(["--github-app-id", &app.app_id.to_string()]);
    serve.env("GITHUB_API_URL", github.url());
    serve.env("GITHUB_WEBHOOK_SECRET", format!("{},{OLDER_SECRET}", app.webhook_secret.expose_secret()));
    serve.env("GITHUB_CLIENT_ID", "an-id").env("GITHUB_CLIENT_SECRET", CLIENT_SECRET);
    let server = start(serve, &server_log);
    until("the server", || async { request("GET", &url("/readyz"), &[], vec![]).await.0 == 200 }).await;

    // A real runner that finds nothing to do, and one whose token is wrong.
    let db = Db::open_in(&data).await.unwrap();
    let (token, by_hand, unknown) = (runners::new_token(), runners::new_token(), runners::new_token());
    runners::upsert(&db, "real", &token, false, 0).await.unwrap();
    runners::upsert(&db, "hand", &by_hand, false, 0).await.unwrap();
    let run = |token: &str, name: &str| {
        let mut command = paceline(&["runner", "--server", &url(""), "--work-dir"]);
        command.arg(dir.path().join(name)).env("PACELINE_RUNNER_TOKEN", token);
        command
    };
    let runner = start(run(&token, "runner"), &runner_log);
    until("the runner", || async {
        runners::all(&db)
            .await
            .unwrap()
            .iter()
            .any(|runner| runner.name == "real" && runner.seen_ms.is_some())
    })
    .await;
    drop(runner);
    let refused = run(&unknown, "other").env("RUST_LOG", "trace").output().unwrap();
    assert!(!refused.status.success());

    // A pull request from delivery to verdict, while GitHub fails in several ways.
    for (method, part, kind) in [
        ("GET", "/pulls/", FaultKind::Revoked),
        ("POST", "/access_tokens", FaultKind::InternalError),
        ("POST", "/comments", FaultKind::InternalError),
        ("POST", "/check-runs", FaultKind::BadGatewayAfter),
    ] {
        github.fail(Fault::new(method, part, kind, 1));
    }
    github.commit(repository, "topic", "Not by the convention", &[("src/lib.rs", Some(b"\n"))]).unwrap();
    let pull = NewPull {
        title: "A change".into(),
        author: "alice".into(),
        base: "main".into(),
        head: "topic".into(),
        fork: None,
        draft: false,
    };
    let number = github.open_pull(repository, &pull).unwrap();
    let event = Event::PullRequest { repo: repository, number, action: "opened".into() };
    let delivered = github.deliver(app.app_id, &url("/github/webhook"), &event).await.unwrap();
    assert_eq!(delivered.status, 202);
    let unsigned =
        [("x-hub-signature-256", "sha256=00"), ("x-github-event", "ping"), ("x-github-delivery", "g")];
    assert_eq!(request("POST", &url("/github/webhook"), &unsigned, b"{}".to_vec()).await.0, 401);
    let hand = Hand { url: url(""), token: by_hand.clone() };
    let mut lease = None;
    let ends = Instant::now() + PATIENCE;
    while lease.is_none() && Instant::now() < ends {
        lease = hand.claim(true).await;
    }
    let lease = lease.expect("a job");
    assert_eq!(hand.beat(&lease, lease.fence, Phase::Measuring).await.0, 200);
    let broken = format!("/runner/v1/jobs/{}/evidence?fence={}", lease.spec.job, lease.fence.0);
    assert_eq!(hand.call("PUT", &broken, b"nonsense".to_vec()).await.0, 422);
    hand.measure(&lease, 1.3).await;
    until("the comment", || async {
        github.comments(repository, number).iter().any(|comment| comment.body.contains("Slower"))
    })
    .await;

    let mut shown = vec![
        ("the server's log".to_owned(), std::fs::read(&server_log).unwrap()),
        ("the runner's log".to_owned(), std::fs::read(&runner_log).unwrap()),
        ("a refused runner's words".to_owned(), [refused.stdout, refused.stderr].concat()),
        (
            "the server's command line".to_owned(),
            std::fs::read(format!("/proc/{}/cmdline", server.0.id())).unwrap(),
        ),
    ];
    let run_page = format!("/runs/{}", lease.spec.job);
    for path in [
        "/metrics",
        "/",
        "/acme/widgets",
        "/acme/widgets/pull/1",
        "/runners",
        "/healthz",
        "/readyz",
        &run_page,
        "/none",
    ] {
        let (status, body) = request("GET", &url(path), &[], vec![]).await;
        assert!(status == 200 || path == "/none", "{path}: {status}");
        shown.push((path.to_owned(), body.into_bytes()));
    }
    let saved = dir.path().join("backup");
    let backup = paceline(&["backup"]).arg(&saved).arg("--data-dir").arg(&data).output().unwrap();
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    shown.push(("the backup".into(), zstd::decode_all(&std::fs::read(&saved).unwrap()[..]).unwrap()));
    db.close().await;
    drop(server);
    collect(&data, &mut shown);
    collect(&dir.path().join("runner"), &mut shown);

    let pem = app.private_key.expose_secret();
    let mut secrets: Vec<(String, String)> = vec![
        ("the webhook secret".into(), app.webhook_secret.expose_secret().to_owned()),
        ("the older webhook secret".into(), OLDER_SECRET.into()),
        ("the client secret".into(), CLIENT_SECRET.into()),
        ("a runner's token".into(), token),
        ("another runner's token".into(), by_hand),
        ("an unknown token".into(), unknown),
    ];
    secrets.extend(
        pem.lines().filter(|line| line.len() > 40).map(|line| ("the private key".into(), line.into())),
    );
    secrets.extend(github.tokens().into_iter().map(|token| ("an installation token".into(), token)));
    // A JSON web token of the App begins with `{"alg":"RS256"` or `{"typ":"JWT"` in base64.
    secrets.extend(["eyJhbGciOi", "eyJ0eXAiOi"].map(|start| ("a JSON web token".into(), start.into())));
    assert!(secrets.len() > 15, "the stand-in gave out tokens: {}", secrets.len());
    let log = String::from_utf8_lossy(&shown[0].1).into_owned();
    assert!(log.contains("TRACE") && log.contains("delivery"), "the log is at its most talkative");
    for (place, bytes) in &shown {
        for (name, secret) in &secrets {
            let found = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            if let Some(at) = found {
                let from = at.saturating_sub(200);
                panic!("{name} in {place}: …{}", String::from_utf8_lossy(&bytes[from..at]));
            }
        }
    }
}

/// Every file below a directory.
fn collect(directory: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            collect(&path, into);
        } else if kind.is_file() {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}
