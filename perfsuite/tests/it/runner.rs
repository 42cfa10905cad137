//! The runner against a server on loopback: real HTTP, real git, a measurement that takes no time.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use perfsuite::model::wire::{Claim, Finish, Heartbeat, Lease, Orders, Outcome, Stored};
use perfsuite::model::{Environment, Evidence, Fence, JobId, JobLimits, JobSpec, Sha, Trust};
use perfsuite::observe::Observer;
use perfsuite::runner::{Measure, RunnerConfig, Token, Workplace};
use perfsuite::session::Lifetime;
use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Only a hang is longer.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token";

/// What the server does with heartbeats.
#[derive(Clone, Copy, PartialEq)]
enum Beats {
    Continue,
    Stop,
    Stale,
}

struct Server {
    leases: VecDeque<Lease>,
    bundle: Vec<u8>,
    beats: Beats,
    /// Answer this many more requests with 503.
    failures: u32,
    token: &'static str,
    evidence: Option<Vec<u8>>,
    log: Vec<String>,
    seen: mpsc::UnboundedSender<String>,
}

/// A server under test, and what it has been asked.
struct Stand {
    address: String,
    server: Arc<Mutex<Server>>,
    seen: mpsc::UnboundedReceiver<String>,
    work_dir: tempfile::TempDir,
    source: Source,
}

impl Stand {
    async fn start() -> Stand {
        let source = Source::make();
        let (send, seen) = mpsc::unbounded_channel();
        let server = Arc::new(Mutex::new(Server {
            leases: [lease(&source)].into(),
            bundle: source.bundle.clone(),
            beats: Beats::Continue,
            failures: 0,
            token: TOKEN,
            evidence: None,
            log: vec![],
            seen: send,
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/prefix", listener.local_addr().unwrap());
        let state = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                let service = service_fn(move |request| serve(state.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Stand { address, server, seen, work_dir: tempfile::tempdir().unwrap(), source }
    }

    fn set(&self, change: impl FnOnce(&mut Server)) {
        change(&mut self.server.lock().unwrap());
    }

    fn config(&self, lifetime: Lifetime) -> RunnerConfig {
        let work_dir = self.work_dir.path().to_owned();
        RunnerConfig { server: self.address.clone(), token: Token(TOKEN.into()), work_dir, lifetime }
    }

    /// Starts a runner; the sender stops it.
    fn run(
        &self,
        lifetime: Lifetime,
        measure: Fake,
    ) -> (tokio::task::JoinHandle<anyhow::Result<()>>, mpsc::Sender<()>) {
        let (stop, stopped) = mpsc::channel(2);
        let config = self.config(lifetime);
        (tokio::spawn(async { perfsuite::runner::run(config, Arc::new(measure), stopped).await }), stop)
    }

    /// Waits for a request that starts like `wanted`, and returns all that came before it, it included.
    async fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut all = vec![];
        loop {
            let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("no {wanted:?} after {all:?}")).unwrap();
            all.push(next.clone());
            if next.starts_with(wanted) {
                return all;
            }
        }
    }

    /// Nothing of a job is left on the disk.
    fn assert_clean(&self) {
        assert_eq!(std::fs::read_dir(self.work_dir.path().join("jobs")).unwrap().count(), 0);
    }
}

async fn serve(
    state: Arc<Mutex<Server>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(answer(&mut state.lock().unwrap(), &parts, &body))
}

fn answer(server: &mut Server, parts: &http::request::Parts, body: &[u8]) -> Response<Full<Bytes>> {
    let plain = |status: u16, text: &str| {
        Response::builder().status(status).body(Full::new(Bytes::from(text.to_owned()))).unwrap()
    };
    let json =
        |status: StatusCode, text: String| Response::builder().status(status).body(Full::from(text)).unwrap();
    let see = |server: &Server, what: String| server.seen.send(what).unwrap_or_default();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let path = path.strip_prefix("/prefix/runner/v1/").expect("the address's path comes first");
    if parts.headers["authorization"] != format!("Bearer {}", server.token) {
        see(server, "unauthorized".into());
        return plain(401, "The runner's token is unknown or revoked.");
    }
    if server.failures > 0 {
        server.failures -= 1;
        see(server, format!("failed {path}"));
        return plain(503, "starting");
    }
    match (&parts.method, path) {
        (&Method::POST, "claim") => {
            let claim: Claim = serde_json::from_slice(body).unwrap();
            assert!(claim.sandboxed && claim.wait_ms > 0);
            see(server, "claim".into());
            match server.leases.pop_front() {
                Some(lease) => json(StatusCode::OK, serde_json::to_string(&lease).unwrap()),
                None => plain(204, ""),
            }
        }
        (&Method::POST, "jobs/job-1/heartbeat") => {
            let beat: Heartbeat = serde_json::from_slice(body).unwrap();
            assert_eq!(beat.fence, Fence(7));
            server.log.extend(beat.log);
            see(server, "heartbeat".into());
            match server.beats {
                Beats::Continue => json(StatusCode::OK, serde_json::to_string(&Orders::Continue).unwrap()),
                Beats::Stop => {
                    let orders = Orders::Stop { reason: "superseded".into() };
                    json(StatusCode::OK, serde_json::to_string(&orders).unwrap())
                }
                Beats::Stale => plain(409, "Another attempt holds this job."),
            }
        }
        (&Method::GET, "jobs/job-1/source?fence=7") => {
            see(server, "source".into());
            Response::new(Full::from(server.bundle.clone()))
        }
        (&Method::PUT, "jobs/job-1/evidence?fence=7") => {
            server.evidence = Some(body.to_vec());
            see(server, "evidence".into());
            json(StatusCode::CREATED, serde_json::to_string(&Stored { digest: "d1".into() }).unwrap())
        }
        (&Method::POST, "jobs/job-1/finish") => {
            let finish: Finish = serde_json::from_slice(body).unwrap();
            assert_eq!(finish.fence, Fence(7));
            let what = match finish.outcome {
                Outcome::Measured { digest } => format!("measured {digest}"),
                Outcome::Failed { message, output } => format!("failed: {message} [{}]", output.trim()),
                Outcome::HandedBack => "handed back".into(),
            };
            see(server, format!("finish {what}"));
            plain(204, "")
        }
        other => panic!("no such request: {other:?}"),
    }
}

/// A measurement that takes no time, or any.
struct Fake {
    does: Does,
    at_work: Arc<AtomicBool>,
}

#[derive(Clone, Copy)]
enum Does {
    Measure,
    WorkUntilStopped,
    Fail,
    Panic,
}

fn fake(does: Does) -> Fake {
    Fake { does, at_work: Arc::default() }
}

impl Measure for Fake {
    fn environment(&self) -> Environment {
        Environment::default()
    }

    fn sandboxed(&self) -> bool {
        true
    }

    fn measure(
        &self,
        spec: &JobSpec,
        place: &Workplace,
        observer: &dyn Observer,
    ) -> anyhow::Result<Evidence> {
        assert_eq!(std::fs::read_dir(&place.work_dir).unwrap().count(), 0);
        assert_eq!(git(&place.repository, &["rev-parse", "refs/paceline/head"]), spec.head.as_str());
        assert_eq!(git(&place.repository, &["show", "refs/paceline/base:file"]), "base");
        std::fs::write(place.work_dir.join("left"), "behind").unwrap();
        observer.log("a line");
        match self.does {
            Does::Measure => Ok(evidence(spec)),
            Does::WorkUntilStopped => {
                self.at_work.store(true, Ordering::SeqCst);
                while !observer.stopped() {
                    std::thread::sleep(Duration::from_millis(2));
                }
                self.at_work.store(false, Ordering::SeqCst);
                anyhow::bail!("stopped")
            }
            Does::Fail => anyhow::bail!("no space left on this machine"),
            Does::Panic => panic!("a bug"),
        }
    }
}

fn evidence(spec: &JobSpec) -> Evidence {
    Evidence {
        schema: perfsuite::model::evidence::EVIDENCE_SCHEMA,
        spec: spec.clone(),
        environment: Environment::default(),
        builds: vec![],
        series: vec![],
        failures: vec![],
        one_sided: vec![],
        judged_pairs: 0,
        identical: vec!["gateway/route".into()],
        unaffected: vec![],
        profiles: vec![],
        scenarios: vec![],
        calibration: vec![],
        count_ms: 0,
        checks: None,
        started_ms: 1,
        finished_ms: 2,
        measure_ms: 1,
    }
}

/// A repository's two commits as a bundle.
struct Source {
    base: Sha,
    head: Sha,
    bundle: Vec<u8>,
}

impl Source {
    fn make() -> Source {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "--quiet"]);
        let commit = |content: &str| -> Sha {
            std::fs::write(path.join("file"), content).unwrap();
            git(path, &["add", "file"]);
            git(path, &["commit", "--quiet", "--message", content]);
            let sha = git(path, &["rev-parse", "HEAD"]);
            git(path, &["update-ref", &format!("refs/paceline/{content}"), &sha]);
            sha.parse().unwrap()
        };
        let (base, head) = (commit("base"), commit("head"));
        git(path, &["bundle", "create", "--quiet", "b", "refs/paceline/base", "refs/paceline/head"]);
        Source { base, head, bundle: std::fs::read(path.join("b")).unwrap() }
    }
}

fn git(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn lease(source: &Source) -> Lease {
    Lease {
        spec: JobSpec {
            job: JobId("job-1".into()),
            repository: "owner/name".into(),
            base: source.base.clone(),
            head: source.head.clone(),
            trust: Trust::Own,
            suites: vec![],
            limits: JobLimits::default(),
            budget: 0.01,
            seed: 1,
            all: false,
            checks: None,
            focus: None,
        },
        fence: Fence(7),
        lease_ms: 10_000,
        heartbeat_ms: 20,
    }
}

async fn end(run: tokio::task::JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(PATIENCE, run).await.expect("the runner does not end").unwrap()
}

#[tokio::test]
async fn a_job_is_measured_and_reported() {
    let mut stand = Stand::start().await;
    let (run, _stop) = stand.run(Lifetime::OneJob, fake(Does::Measure));
    end(run).await.unwrap();
    let mut asked = stand.until("finish").await;
    asked.retain(|what| what != "heartbeat");
    assert_eq!(asked, ["claim", "source", "evidence", "finish measured d1"]);
    let server = stand.server.lock().unwrap();
    let json = zstd::decode_all(server.evidence.as_deref().unwrap()).unwrap();
    let found: Evidence = serde_json::from_slice(&json).unwrap();
    assert_eq!(found, evidence(&lease(&stand.source).spec));
    assert_eq!(server.log, ["a line"]);
    stand.assert_clean();
}

#[tokio::test]
async fn an_order_or_a_stale_fence_stops_the_work_and_the_next_job_is_asked_for() {
    for beats in [Beats::Stop, Beats::Stale] {
        let mut stand = Stand::start().await;
        let measure = fake(Does::WorkUntilStopped);
        let at_work = measure.at_work.clone();
        let (run, stop) = stand.run(Lifetime::Forever, measure);
        stand.until("source").await;
        stand.until("heartbeat").await;
        stand.until("heartbeat").await;
        stand.set(|server| server.beats = beats);
        let asked = stand.until("claim").await;
        assert!(asked.iter().all(|what| what == "heartbeat" || what == "claim"), "{asked:?}");
        assert!(!at_work.load(Ordering::SeqCst));
        stand.assert_clean();
        stop.send(()).await.unwrap();
        end(run).await.unwrap();
    }
}

#[tokio::test]
async fn asked_to_stop_the_runner_hands_the_job_back() {
    let mut stand = Stand::start().await;
    let measure = fake(Does::WorkUntilStopped);
    let at_work = measure.at_work.clone();
    let (run, stop) = stand.run(Lifetime::Forever, measure);
    stand.until("heartbeat").await;
    while !at_work.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.send(()).await.unwrap();
    end(run).await.unwrap();
    let asked = stand.until("finish").await;
    assert_eq!(asked.last().unwrap(), "finish handed back");
    assert!(!asked.contains(&"evidence".to_owned()));
    stand.assert_clean();
}

#[tokio::test]
async fn a_server_that_fails_for_a_while_loses_nothing() {
    let mut stand = Stand::start().await;
    stand.set(|server| server.failures = 2);
    let measure = fake(Does::WorkUntilStopped);
    let (run, stop) = stand.run(Lifetime::Forever, measure);
    let asked = stand.until("source").await;
    assert_eq!(asked.iter().filter(|what| what.starts_with("failed claim")).count(), 2, "{asked:?}");
    stand.until("heartbeat").await;
    // While the work goes on, the server goes away and comes back: the job is still ours.
    stand.set(|server| server.failures = 3);
    stand.until("failed jobs/job-1/heartbeat").await;
    stand.until("heartbeat").await;
    stop.send(()).await.unwrap();
    end(run).await.unwrap();
    stand.until("finish handed back").await;
}

#[tokio::test]
async fn the_end_of_a_job_is_told_until_the_server_hears_it() {
    let mut stand = Stand::start().await;
    let (run, _stop) = stand.run(Lifetime::OneJob, fake(Does::Measure));
    stand.until("source").await;
    stand.set(|server| server.failures = 3);
    end(run).await.unwrap();
    stand.until("finish measured d1").await;
    assert!(stand.server.lock().unwrap().evidence.is_some());
}

#[tokio::test]
async fn a_failure_is_reported_with_the_end_of_the_log() {
    for (does, expect) in [
        (Does::Fail, "finish failed: no space left on this machine [a line]"),
        (Does::Panic, "finish failed: the runner itself failed; its log has more [a line]"),
    ] {
        let mut stand = Stand::start().await;
        let (run, _stop) = stand.run(Lifetime::OneJob, fake(does));
        end(run).await.unwrap();
        assert_eq!(stand.until("finish").await.last().unwrap(), expect);
        stand.assert_clean();
    }
}

#[tokio::test]
async fn a_source_that_is_not_what_was_promised_fails_the_job() {
    let mut stand = Stand::start().await;
    let wrong = "1".repeat(40);
    stand.set(|server| server.leases[0].spec.head = wrong.parse().unwrap());
    let (run, _stop) = stand.run(Lifetime::OneJob, fake(Does::Measure));
    end(run).await.unwrap();
    let told = stand.until("finish").await.pop().unwrap();
    let expect = format!("refs/paceline/head is {}, not {wrong}", stand.source.head);
    assert!(told.contains(&expect), "{told}");

    let mut stand = Stand::start().await;
    stand.set(|server| server.bundle = b"not a bundle".to_vec());
    let (run, _stop) = stand.run(Lifetime::OneJob, fake(Does::Measure));
    end(run).await.unwrap();
    let told = stand.until("finish").await.pop().unwrap();
    assert!(told.starts_with("finish failed: the sources cannot be unpacked"), "{told}");
}

#[tokio::test]
async fn a_token_that_is_refused_ends_the_runner_with_the_servers_words() {
    let stand = Stand::start().await;
    stand.set(|server| server.token = "another");
    let (run, _stop) = stand.run(Lifetime::Forever, fake(Does::Measure));
    let error = end(run).await.unwrap_err().to_string();
    assert!(error.contains("401") && error.contains("unknown or revoked"), "{error}");
    assert!(!error.contains(TOKEN), "{error}");
}

#[tokio::test]
async fn a_work_directory_has_one_runner_and_is_swept_when_it_starts() {
    let mut stand = Stand::start().await;
    let left = stand.work_dir.path().join("jobs/old.1/work");
    std::fs::create_dir_all(&left).unwrap();
    let (run, stop) = stand.run(Lifetime::Forever, fake(Does::WorkUntilStopped));
    stand.until("heartbeat").await;
    assert!(!left.exists());
    let jobs = std::fs::metadata(stand.work_dir.path().join("jobs")).unwrap();
    assert_eq!(jobs.permissions().mode() & 0o777, 0o700, "sources of private repositories lie there");
    let (second, _stop) = stand.run(Lifetime::Forever, fake(Does::Measure));
    let error = end(second).await.unwrap_err().to_string();
    assert!(error.contains("another runner works in"), "{error}");
    stop.send(()).await.unwrap();
    end(run).await.unwrap();
}
