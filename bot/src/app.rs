//! What every part of the server shares: settings, database, GitHub, mirrors, evidence, clock, wake-up calls.

use crate::access::Access;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::error::UserError;
use crate::evidence::EvidenceStore;
use crate::git::Mirrors;
use crate::github::{GitHub, GitHubConfig, GitHubError, UserFlow};
use crate::inbox::Inbox;
use crate::listeners::Listeners;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub struct App {
    pub config: Config,
    pub db: Db,
    pub github: GitHub,
    pub mirrors: Mirrors,
    pub evidence: EvidenceStore,
    pub clock: Clock,
    pub access: Access,
    pub wake: Wake,
    /// Where people reach the pages; without a trailing slash.
    pub public_url: String,
    /// Names this process in leases.
    pub worker: String,
    pub inbox: Inbox,
    /// What the last try of the set-up found.
    pub self_test: crate::setup::self_test::SelfTest,
    /// Who listens to jobs under way.
    pub live: Listeners,
    /// Called off when the server stops.
    pub stop: CancellationToken,
}

/// Calls to loops that would otherwise look again only after a while. A lost call costs that while, nothing more.
#[derive(Default)]
pub struct Wake {
    pub deliveries: Notify,
    pub writes: Notify,
    pub jobs: Notify,
    /// Points came, or a comparison of a search has ended.
    pub history: Notify,
    pub notices: Notify,
}

impl App {
    /// Opens the data directory, the database and the connection to GitHub. `bound` is the address that we listen on.
    pub async fn open(
        config: Config,
        bound: std::net::SocketAddr,
        clock: Clock,
    ) -> anyhow::Result<Arc<Self>> {
        prepare_data_dir(&config.data_dir)?;
        let db = open_database(&config).await?;
        let github = connect(&config, clock.clone())?;
        let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{bound}"));
        let flow =
            config.client_id.clone().zip(config.client_secret.clone()).map(|(client_id, client_secret)| {
                let (api_url, git_url) = (config.github_api_url.clone(), config.github_git_url.clone());
                UserFlow { api_url, git_url, client_id, client_secret }
            });
        let (rules, clock_too) = (config.access.clone(), clock.clone());
        let access = Access::new(github.clone(), flow, rules, public_url.clone(), clock_too);
        let stop = CancellationToken::new();
        Ok(Arc::new(Self {
            access,
            live: Listeners::new(stop.clone()),
            mirrors: Mirrors::new(&config.data_dir),
            evidence: evidence_in(&config.data_dir),
            github,
            wake: Wake::default(),
            public_url,
            worker: crate::db::new_id(),
            inbox: Inbox::open(db.clone(), clock.clone()),
            self_test: Default::default(),
            db,
            clock,
            stop,
            config,
        }))
    }
}

impl App {
    /// How often a lease is extended: often enough that one lost call does not end it.
    pub fn lease_step(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.config.lease_ms as u64 / 3)
    }
}

/// The database that the settings name, with its schema up to date.
pub async fn open_database(config: &Config) -> anyhow::Result<Db> {
    match &config.database_url {
        Some(url) => Db::open(url).await,
        None => Db::open_in(&config.data_dir).await,
    }
}

/// GitHub as the App that the settings name; nothing is sent yet.
pub fn connect(config: &Config, clock: Clock) -> Result<GitHub, GitHubError> {
    GitHub::new(GitHubConfig {
        api_url: config.github_api_url.clone(),
        app_id: config.app_id,
        private_key: config.private_key.clone(),
        clock,
        git_url: config.github_git_url.clone(),
        request_timeout: config.github_timeout,
    })
}

/// The evidence of a data directory.
pub fn evidence_in(data_dir: &Path) -> EvidenceStore {
    EvidenceStore::new(data_dir.join("evidence"))
}

/// Makes the data directory, readable by its owner alone, and checks that it can be written.
pub fn prepare_data_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let refuse = |error: std::io::Error| {
        UserError::new(format!(
            "cannot write to the data directory {}: {error}; choose another with --data-dir or PACELINE_DATA_DIR",
            dir.display()
        ))
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refuse)?;
    tempfile::NamedTempFile::new_in(dir).map_err(refuse)?;
    Ok(())
}
