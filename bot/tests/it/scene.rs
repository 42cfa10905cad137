//! One repository on the stand-in, with an App installed on it, as most tests want it.

use bot::clock::Clock;
use bot::demo::standin::{AppCredentials, NewPull, NewRepository, StandIn, StandInOptions};
use bot::github::{GitHub, GitHubConfig};
use bot::pull::{InstallationId, RepoId, Repository};
use perfsuite::model::Sha;

pub struct Scene {
    pub standin: StandIn,
    pub app: AppCredentials,
    pub installation: InstallationId,
    pub repo: RepoId,
    pub clock: Clock,
    pub dir: tempfile::TempDir,
}

/// Which form of address the API has.
#[derive(Clone, Copy, Debug)]
pub enum Base {
    Root,
    Enterprise,
}

pub const BASES: [Base; 2] = [Base::Root, Base::Enterprise];

impl Scene {
    /// `acme/gateway`, private, with one commit on `main`, at a fixed time.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(1_760_000_000_000);
        let mut options = StandInOptions::new(dir.path().join("github"));
        options.clock = clock.clone();
        let standin = StandIn::start(options).await.unwrap();
        let app = standin.create_app("paceline").unwrap();
        let installation = standin.install(app.app_id, "acme");
        let repo = standin.create_repository(&NewRepository::named("acme/gateway").unwrap()).unwrap();
        standin.cover(installation, repo, bot::demo::standin::Covered::Yes);
        standin.commit(repo, "main", "feat: start", &[("README.md", Some(b"hello\n"))]).unwrap();
        Self { standin, app, installation, repo, clock, dir }
    }

    pub fn github(&self, base: Base) -> GitHub {
        let api_url = match base {
            Base::Root => self.standin.url(),
            Base::Enterprise => self.standin.enterprise_url(),
        };
        GitHub::new(GitHubConfig {
            api_url,
            git_url: None,
            request_timeout: bot::github::REQUEST_TIMEOUT,
            app_id: self.app.app_id,
            private_key: self.app.private_key.clone(),
            clock: self.clock.clone(),
        })
        .unwrap()
    }

    pub fn repository(&self) -> Repository {
        Repository {
            id: self.repo,
            installation: self.installation,
            name: "acme/gateway".parse().unwrap(),
            private: true,
            default_branch: "main".into(),
        }
    }

    /// A branch `change` from `main` with one commit, and a pull request for it.
    pub fn pull(&self) -> (u64, Sha) {
        let base = self.standin.tip(self.repo, "main").unwrap();
        self.standin.set_branch(self.repo, "change", &base).unwrap();
        let head = self
            .standin
            .commit(self.repo, "change", "fix: a thing", &[("src/lib.rs", Some(b"fn f() {}\n"))])
            .unwrap();
        (self.standin.open_pull(self.repo, &new_pull("change")).unwrap(), head)
    }
}

pub fn new_pull(head: &str) -> NewPull {
    NewPull {
        title: "fix: a thing".into(),
        author: "alice".into(),
        base: "main".into(),
        head: head.into(),
        fork: None,
        draft: false,
    }
}
