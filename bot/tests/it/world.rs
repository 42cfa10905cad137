//! A whole Paceline for a test: a stand-in for GitHub, a server on a free port, a repository with a pull request.

use crate::database::{Fresh, On};
use bot::clock::Clock;
use bot::config::{self, AccessConfig, Config, DiskConfig, NotifyConfig};
use bot::db::pace::Pace;
use bot::demo::standin::{
    CheckRunSeen, CommentSeen, Covered, Event, NewPull, NewRepository, StandIn, StandInOptions,
};
use bot::github::REQUEST_TIMEOUT;
use bot::pull::{InstallationId, RepoId};
use bot::serve::Server;
use hmac::{Hmac, KeyInit, Mac};
use perfsuite::model::{Sha, Trust};
use secrecy::{ExposeSecret, SecretString};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a machine that is busy with other things; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub github: StandIn,
    pub server: Server,
    pub repository: RepoId,
    pub installation: InstallationId,
    pub app_id: u64,
    pub secret: SecretString,
    config: Config,
    _database: Fresh,
    /// Removed with the world.
    _dir: TempDir,
}

/// What a test wants different.
#[derive(Default)]
pub struct Wishes {
    /// `.github/paceline.toml` of the base.
    pub config: Option<&'static str>,
    pub own_runner: bool,
    /// How long GitHub may take for an answer.
    pub github_timeout: Option<Duration>,
    /// The time of every commit, where two worlds must have the same ones.
    pub commits_at_s: Option<i64>,
    /// Where the stand-in listens, and what stands before it: where the server finds the API then.
    pub standin_port: u16,
    pub api_url: Option<String>,
    /// How fast the server writes.
    pub pace: Option<Pace>,
    /// Who else is told what got slower.
    pub notify: NotifyConfig,
    /// Further files of the base.
    pub files: Vec<(&'static str, &'static str)>,
}

impl World {
    pub async fn new(on: On, wishes: Wishes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = StandInOptions::new(dir.path().join("github"));
        (options.commits_at_s, options.port) = (wishes.commits_at_s, wishes.standin_port);
        let github = StandIn::start(options).await.unwrap();
        let app = github.create_app("paceline").unwrap();
        let installation = github.install(app.app_id, "acme");
        let mut new = NewRepository::named("acme/widgets").unwrap();
        new.private = false;
        let repository = github.create_repository(&new).unwrap();
        github.cover(installation, repository, Covered::Yes);
        let mut files: Vec<(&str, Option<&[u8]>)> =
            vec![("src/lib.rs", Some(b"pub fn one() -> u32 { 1 }\n"))];
        if let Some(config) = wishes.config {
            files.push((".github/paceline.toml", Some(config.as_bytes())));
        }
        files.extend(wishes.files.iter().map(|(path, text)| (*path, Some(text.as_bytes()))));
        let base = github.commit(repository, "main", "feat: start", &files).unwrap();
        github.set_branch(repository, "topic", &base).unwrap();
        let database = Fresh::new(on, &dir.path().join("data")).await;
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_url: None,
            data_dir: dir.path().join("data"),
            database_url: Some(database.url.clone()),
            // Half of the tests' worth of paths is with a prefix, as at GitHub Enterprise Server.
            github_api_url: wishes.api_url.clone().unwrap_or_else(|| github.enterprise_url()),
            app_id: app.app_id,
            private_key: app.private_key.clone(),
            webhook_secrets: vec![
                SecretString::from("an older secret".to_owned()),
                app.webhook_secret.clone(),
            ],
            client_id: None,
            client_secret: None,
            access: AccessConfig::default(),
            notify: wishes.notify,
            own_runner: wishes.own_runner,
            pace: wishes.pace.unwrap_or(Pace::unlimited(10)),
            lease_ms: config::LEASE_MS,
            github_git_url: wishes.api_url.map(|_| github.url()),
            github_timeout: wishes.github_timeout.unwrap_or(REQUEST_TIMEOUT),
            disk: DiskConfig::new(Some(64), None, None),
            trust: Trust::Own,
            runner_cache_dir: None,
            program: env!("CARGO_BIN_EXE_paceline").into(),
        };
        let server = Server::start(config.clone(), Clock::system()).await.unwrap();
        Self {
            github,
            server,
            repository,
            installation,
            app_id: app.app_id,
            secret: app.webhook_secret,
            config,
            _database: database,
            _dir: dir,
        }
    }

    /// Another server for the same App on the same database and data directory.
    pub async fn replica(&self) -> Server {
        Server::start(self.config.clone(), Clock::system()).await.unwrap()
    }

    /// The same with other bounds on the disk.
    pub async fn replica_with(&self, disk: DiskConfig) -> Server {
        let config = Config { disk, own_runner: false, ..self.config.clone() };
        Server::start(config, Clock::system()).await.unwrap()
    }

    /// The same for which these people are admins.
    pub async fn replica_of(&self, admins: &[&str]) -> Server {
        let admins = admins.iter().map(|login| (*login).to_owned()).collect();
        let access = AccessConfig { admins, ..self.config.access.clone() };
        let config = Config { access, own_runner: false, ..self.config.clone() };
        Server::start(config, Clock::system()).await.unwrap()
    }

    /// A world whose server was told of its one pull request.
    pub async fn with_pull(on: On) -> (Self, u64) {
        let world = Self::new(on, Wishes::default()).await;
        let number = world.open_pull("fix: one");
        world.pull_event(number, "opened").await;
        (world, number)
    }

    /// A commit on `topic`, and a pull request from it by alice.
    pub fn open_pull(&self, message: &str) -> u64 {
        self.commit(message, "pub fn one() -> u32 { 2 - 1 }\n");
        self.open_pull_as_it_is()
    }

    /// A pull request from `topic` by alice.
    pub fn open_pull_as_it_is(&self) -> u64 {
        let new = NewPull {
            title: "A change".into(),
            author: "alice".into(),
            base: "main".into(),
            head: "topic".into(),
            fork: None,
            draft: false,
        };
        self.github.open_pull(self.repository, &new).unwrap()
    }

    /// A pull request by eve from her fork: the fork, its number, its head. Nobody was told of it.
    pub fn open_fork(&self) -> (RepoId, u64, Sha) {
        let fork = self.github.create_repository(&NewRepository::named("eve/widgets").unwrap()).unwrap();
        let base = self.github.tip(self.repository, "main").unwrap();
        let from = self.github.git_dir(self.repository).unwrap();
        self.github.push(fork, &from, &base, "patch").unwrap();
        let files: [(&str, Option<&[u8]>); 1] = [("src/lib.rs", Some(b"pub fn one() -> u32 { 1 + 0 }\n"))];
        let head = self.github.commit(fork, "patch", "fix: from outside", &files).unwrap();
        let new = NewPull {
            title: "From a fork".into(),
            author: "eve".into(),
            base: "main".into(),
            head: "patch".into(),
            fork: Some(fork),
            draft: false,
        };
        (fork, self.github.open_pull(self.repository, &new).unwrap(), head)
    }

    /// A pull request by alice from a branch of its own, with one commit.
    pub fn open_pull_on(&self, branch: &str) -> u64 {
        let main = self.github.tip(self.repository, "main").unwrap();
        self.github.set_branch(self.repository, branch, &main).unwrap();
        self.push_to(branch, 0);
        let new = NewPull {
            title: format!("fix: {branch}"),
            author: "alice".into(),
            base: "main".into(),
            head: branch.into(),
            fork: None,
            draft: false,
        };
        self.github.open_pull(self.repository, &new).unwrap()
    }

    /// The `n`th commit on such a branch.
    pub fn push_to(&self, branch: &str, n: usize) -> Sha {
        let source = format!("pub fn one() -> u32 {{ {n} }} // {branch}\n");
        let files = [("src/lib.rs", Some(source.as_bytes()))];
        self.github.commit(self.repository, branch, &format!("fix: {branch} {n}"), &files).unwrap()
    }

    /// A commit on `topic` that changes the source.
    pub fn commit(&self, message: &str, source: &str) -> Sha {
        self.github
            .commit(self.repository, "topic", message, &[("src/lib.rs", Some(source.as_bytes()))])
            .unwrap()
    }

    pub fn data_dir(&self) -> std::path::PathBuf {
        self.config.data_dir.clone()
    }

    pub fn database_url(&self) -> String {
        self.config.database_url.clone().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    pub async fn pull_event(&self, number: u64, action: &str) {
        let event = Event::PullRequest { repo: self.repository, number, action: action.into() };
        self.send(&event).await;
    }

    pub async fn send(&self, event: &Event) {
        let hook = self.url("/github/webhook");
        let delivered = self.github.deliver(self.app_id, &hook, event).await.unwrap();
        assert_eq!(delivered.status, 202, "{}", delivered.body);
    }

    /// Writes a comment as somebody and tells the App of it.
    pub async fn say(&self, number: u64, login: &str, body: &str) -> i64 {
        let comment = self.github.comment_as(self.repository, number, login, body);
        let event = Event::IssueComment { repo: self.repository, number, comment, action: "created".into() };
        self.send(&event).await;
        comment
    }

    /// Comments of the App on a pull request.
    pub fn our_comments(&self, number: u64) -> Vec<CommentSeen> {
        let comments = self.github.comments(self.repository, number);
        comments.into_iter().filter(|seen| seen.author.ends_with("[bot]")).collect()
    }

    pub fn check(&self, name: &str, head: &Sha) -> Option<CheckRunSeen> {
        let mut found: Vec<CheckRunSeen> = self
            .github
            .check_runs(self.repository)
            .into_iter()
            .filter(|run| run.name == name && run.head_sha == head.as_str())
            .collect();
        assert!(found.len() <= 1, "one check run of each name per head, not {}", found.len());
        found.pop()
    }

    /// The check run, once it is there.
    pub async fn checked(&self, name: &str, head: &Sha) -> CheckRunSeen {
        eventually(name, || self.check(name, head)).await
    }

    /// The check run, once it has ended.
    pub async fn ended(&self, name: &str, head: &Sha) -> CheckRunSeen {
        eventually(name, || self.check(name, head).filter(|run| run.status == "completed")).await
    }

    /// Somebody presses a check run's re-run button, or one of ours.
    pub async fn press(&self, check_run: i64, button: Option<&str>, sender: &str) {
        let event = Event::CheckRun {
            repo: self.repository,
            check_run,
            action: if button.is_some() { "requested_action" } else { "rerequested" }.into(),
            button: button.map(Into::into),
            sender: sender.into(),
        };
        self.send(&event).await;
    }

    pub fn head(&self) -> Sha {
        self.github.tip(self.repository, "topic").unwrap()
    }

    /// `sha256=…` over the body.
    pub fn sign(&self, body: &[u8]) -> String {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(self.secret.expose_secret().as_bytes()).unwrap();
        mac.update(body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }
}

/// Waits until `what` is there.
pub async fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

pub async fn eventually_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An HTTP request to the server: status and body. Status 0, and the reason, when there is no whole answer.
pub async fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::Client;
    let client = Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = match client.request(request.body(Full::from(body)).unwrap()).await {
        Ok(answer) => answer,
        Err(error) => return (0, error.to_string()),
    };
    let status = answer.status().as_u16();
    match answer.into_body().collect().await {
        Ok(body) => (status, String::from_utf8_lossy(&body.to_bytes()).into_owned()),
        Err(error) => (0, error.to_string()),
    }
}

/// Where a GET is sent on to.
pub async fn location(url: &str) -> String {
    use http_body_util::Empty;
    use hyper_util::client::legacy::Client;
    let client = Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = client.get(url.parse().unwrap()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 302, "{url}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}
