//! `paceline demo`: the whole journey on one machine, with a stand-in for GitHub.

mod edits;
pub mod sample;
mod source;
pub mod standin;
mod verdict;
mod watch;

use crate::clock::Clock;
use crate::config::{self, AccessConfig, Config, DiskConfig, NotifyConfig};
use crate::db::pace::Pace;
use crate::db::repositories;
use crate::error::UserError;
use crate::pull::{RepoId, RepoName};
use crate::review;
use crate::serve::{Server, StopSignals};
use anyhow::Context;
use clap::Args;
use edits::Story;
use perfsuite::model::Trust;
use secrecy::SecretString;
use standin::{Covered, Event, NewPull, NewRepository, StandIn, StandInOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The repository of the demonstration.
const REPOSITORY: &str = "acme/gateway";
const AUTHOR: &str = "alice";
/// Everything of one demonstration, cold caches included, ends well before this.
const LIMIT: Duration = Duration::from_secs(45 * 60);

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    paceline demo                   a slowdown in routing, found; the pages stay up until Ctrl-C\n  \
    paceline demo --seed 7 --exit   another slowdown; exit code 0 when the comment says what the seed put in\n  \
    paceline demo --identical       a pull request that changes nothing that runs")]
pub struct DemoArgs {
    /// Which function gets slower, and how much
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Open a pull request that changes nothing that runs
    #[arg(long)]
    pub identical: bool,
    /// End once the comment is printed: code 0 when it says what was put in, else 1
    #[arg(long)]
    pub exit: bool,
    /// Address of the pages
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Keep database, evidence and repository here, instead of a temporary directory that is removed
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    crate::git::check_available()?;
    let mut signals = StopSignals::catch()?;
    let started = Instant::now();
    let story = Story::choose(args.seed, args.identical);
    let temporary =
        tempfile::Builder::new().prefix("paceline-demo-").tempdir().context("no temporary directory")?;
    let data_dir = args.data_dir.clone().unwrap_or_else(|| temporary.path().join("data"));
    let github = StandIn::start(StandInOptions::new(temporary.path().join("github"))).await?;
    let stage = Stage::set(&github, &story)?;
    let server = Server::start(stage.config(&args, &github, data_dir)?, Clock::system()).await?;
    eprintln!("Paceline listens on http://{}; a stand-in for GitHub on {}.", server.address, github.url());

    let number = github.open_pull(
        stage.repository,
        &NewPull {
            title: story.title().into(),
            author: AUTHOR.into(),
            base: "main".into(),
            head: "topic".into(),
            fork: None,
            draft: false,
        },
    )?;
    eprintln!("{AUTHOR} opened pull request #{number}: {}", story.title());
    let opened = Event::PullRequest { repo: stage.repository, number, action: "opened".into() };
    let hook = format!("http://{}/github/webhook", server.address);
    let delivered = github.deliver(stage.app_id, &hook, &opened).await?;
    if delivered.status != 202 {
        anyhow::bail!("the webhook was answered {}: {}", delivered.status, delivered.body);
    }

    let outcome = tokio::select! {
        outcome = tokio::time::timeout(LIMIT, watch::until_comment(&server.app, &github, stage.repository, number)) => {
            outcome.unwrap_or_else(|_| Err(UserError::new("the demonstration took too long and was ended").into()))
        }
        () = signals.asked() => {
            server.stop().await;
            return Ok(ExitCode::from(130));
        }
    };
    // After all that is measured, so that nothing of it is in the way.
    let app = &server.app;
    sample::seed(&app.db, stage.repository, args.seed, app.clock.now_ms()).await?;
    app.wake.history.notify_one();
    let code = match outcome {
        Err(error) => {
            server.stop().await;
            return Err(error);
        }
        Ok(seen) => {
            println!("{}", seen.comment);
            eprintln!();
            let problems = verdict::problems(&story, &seen);
            for problem in &problems {
                eprintln!("not as it should be: {problem}");
            }
            if problems.is_empty() {
                eprintln!("The comment says what was put in: {}.", story.summary());
            }
            eprintln!("{:.0} s in all.", started.elapsed().as_secs_f64());
            ExitCode::from(u8::from(!problems.is_empty()))
        }
    };
    if !args.exit {
        let name =
            repositories::by_id(server.app.db.pool(), stage.repository).await?.map(|r| r.name.to_string());
        let name = name.unwrap_or_else(|| REPOSITORY.into());
        eprintln!("Pages: http://{}/{name}/pull/{number} — Ctrl-C ends all.", server.address);
        eprintln!("A history, of sample figures: http://{}/{name}/history", server.address);
        signals.asked().await;
    }
    server.stop().await;
    // Without --exit, ending by Ctrl-C is a success whatever was measured.
    Ok(if args.exit { code } else { ExitCode::SUCCESS })
}

/// The App, its installation and the repository with its two branches.
struct Stage {
    app_id: u64,
    private_key: SecretString,
    webhook_secret: SecretString,
    repository: RepoId,
}

impl Stage {
    fn set(github: &StandIn, story: &Story) -> anyhow::Result<Self> {
        let app = github.create_app("paceline")?;
        let name: RepoName = REPOSITORY.parse()?;
        let installation = github.install(app.app_id, &name.owner);
        let new = NewRepository { name, private: false, default_branch: "main".into() };
        let repository = github.create_repository(&new)?;
        github.cover(installation, repository, Covered::Yes);
        let files = source::files()?;
        for commit in story.commits(&files)? {
            let changes: Vec<(&str, Option<&[u8]>)> =
                commit.files.iter().map(|(path, text)| (path.as_str(), Some(text.as_bytes()))).collect();
            let sha = github.commit(repository, commit.branch, &commit.message, &changes)?;
            if commit.branch == "main" {
                github.set_branch(repository, "topic", &sha)?;
            }
        }
        Ok(Self {
            app_id: app.app_id,
            private_key: app.private_key,
            webhook_secret: app.webhook_secret,
            repository,
        })
    }

    fn config(&self, args: &DemoArgs, github: &StandIn, data_dir: PathBuf) -> anyhow::Result<Config> {
        Ok(Config {
            listen: args.listen,
            public_url: None,
            data_dir,
            database_url: None,
            github_api_url: github.url(),
            app_id: self.app_id,
            private_key: self.private_key.clone(),
            webhook_secrets: vec![self.webhook_secret.clone()],
            client_id: None,
            client_secret: None,
            access: AccessConfig::default(),
            notify: NotifyConfig::default(),
            own_runner: true,
            // The stand-in has no secondary limits; the spacing would only make the demonstration longer.
            pace: Pace::unlimited(50),
            lease_ms: config::LEASE_MS,
            github_git_url: None,
            github_timeout: crate::github::REQUEST_TIMEOUT,
            disk: DiskConfig::default(),
            trust: Trust::Own,
            runner_cache_dir: Some(review::cache_dir()),
            program: std::env::current_exe().context("cannot find this program")?,
        })
    }
}
