//! One run of the git command: argv only, its own environment, no configuration but ours, a time limit.

use super::GitError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The end of what git printed; an error shows a few lines of it.
const STDERR_KEPT_BYTES: usize = 16 << 10;
/// What an error shows.
const MESSAGE_MAX_CHARS: usize = 2_000;
/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(10);
/// A transfer slower than one byte a second for this long is given up by git itself.
const STALLED_SECONDS: &str = "30";

/// Harmless flaws of old histories that GitHub serves; refusing them would refuse whole projects.
const FSCK_TOLERATED: [&str; 6] = [
    "badTimezone",
    "missingSpaceBeforeDate",
    "nullSha1",
    "zeroPaddedFilemode",
    "missingEmail",
    "badDateOverflow",
];

/// Environment that belongs to the machine and not to git: where things are, and how to get out.
const ENVIRONMENT_KEPT: [&str; 14] = [
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_EXEC_PATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "LD_LIBRARY_PATH",
];

/// 2.31 reads configuration from numbered variables, by which tokens travel; 2.32 repacks by size.
const VERSION_MIN: (u32, u32) = (2, 32);

/// Whether there is a git command that we can work with; asked at start-up, so that nobody learns it later.
pub fn check_available() -> Result<(), GitError> {
    let output = match Command::new("git").arg("--version").stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(GitError::NoGit),
        Err(e) => return Err(GitError::io("starting git")(e)),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match version(&text) {
        Some(found) if found < VERSION_MIN => Err(GitError::OldGit { found: text.trim().to_owned() }),
        Some(_) => Ok(()),
        None => Err(GitError::NoGit),
    }
}

/// `git version 2.47.3` and what vendors add to it.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `git` with everything from outside shut out.
pub(super) struct Git {
    command: Command,
    settings: Vec<(String, String)>,
    /// Texts that must not be shown.
    secrets: Vec<String>,
}

impl Git {
    pub(super) fn new(git_dir: &Path) -> Self {
        let mut command = Command::new("git");
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in ENVIRONMENT_KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("GIT_DIR", git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS", "")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C");
        let mut git = Self { command, settings: Vec::new(), secrets: Vec::new() };
        for (key, value) in [
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("credential.helper", ""),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("safe.directory", "*"),
            ("protocol.allow", "never"),
            ("protocol.https.allow", "always"),
            ("protocol.http.allow", "always"),
            ("fetch.fsckObjects", "true"),
            // One pack a fetch, instead of up to a hundred loose objects: the mirror counts packs and repacks.
            ("fetch.unpackLimit", "1"),
            ("fetch.recurseSubmodules", "false"),
            ("fetch.writeCommitGraph", "false"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", STALLED_SECONDS),
            ("http.followRedirects", "initial"),
            ("advice.fetchShowForcedUpdates", "false"),
        ] {
            git.setting(key, value);
        }
        for flaw in FSCK_TOLERATED {
            git.setting(format!("fetch.fsck.{flaw}"), "ignore");
        }
        git
    }

    pub(super) fn setting(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// The token goes into the environment, as a header for this URL's host alone.
    pub(super) fn authorize(&mut self, url: &str, token: &SecretString) -> &mut Self {
        let secret = token.expose_secret();
        let basic = BASE64_STANDARD.encode(format!("x-access-token:{secret}"));
        let host = url::Url::parse(url).map(|u| u.origin().ascii_serialization()).unwrap_or_default();
        self.setting(format!("http.{host}/.extraHeader"), format!("Authorization: Basic {basic}"));
        self.secrets.extend([secret.to_owned(), basic]);
        self
    }

    pub(super) fn args<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(
        &mut self,
        args: I,
    ) -> &mut Self {
        self.command.args(args);
        self
    }

    /// The command as it will be started, for tests of what is (and is not) on its command line.
    #[cfg(test)]
    pub(super) fn prepared(&mut self) -> &Command {
        self.export_settings();
        &self.command
    }

    /// Runs to the end, or kills it at the limit.
    pub(super) fn run(mut self, what: &'static str, limit: Duration) -> Result<(), GitError> {
        self.export_settings();
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(GitError::NoGit),
            Err(e) => return Err(GitError::io("starting git")(e)),
        };
        // A pipe that nobody reads would stop git when it is full. The reader may outlive a killed git for as long
        // as a grandchild holds the pipe, so it is joined only when git ended by itself.
        let stderr = child.stderr.take();
        let reader = std::thread::spawn(move || stderr.map(last_bytes).unwrap_or_default());
        match wait(&mut child, limit)? {
            None => Err(GitError::TimedOut { what, seconds: limit.as_secs() }),
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                let printed = reader.join().unwrap_or_default();
                let message = self.scrubbed(&printed);
                let message = if message.is_empty() { status.to_string() } else { message };
                Err(GitError::Failed { what, message })
            }
        }
    }

    fn export_settings(&mut self) {
        self.command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (at, (key, value)) in self.settings.iter().enumerate() {
            self.command
                .env(format!("GIT_CONFIG_KEY_{at}"), key)
                .env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
    }

    fn scrubbed(&self, printed: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(printed).trim().to_owned();
        for secret in self.secrets.iter().filter(|s| !s.is_empty()) {
            text = text.replace(secret, "***");
        }
        let skipped = text.chars().count().saturating_sub(MESSAGE_MAX_CHARS);
        text.chars().skip(skipped).filter(|c| *c == '\n' || !c.is_control()).collect()
    }
}

/// `None` when the limit came first; the child is dead then.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<std::process::ExitStatus>, GitError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(GitError::io("waiting for git"))? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            // Its children end by themselves: their pipe to git is gone, or the transfer stalls.
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn last_bytes(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        kept.extend_from_slice(&piece[..count]);
        if kept.len() > 2 * STDERR_KEPT_BYTES {
            kept.drain(..kept.len() - STDERR_KEPT_BYTES);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_on_the_command_line() {
        let token = SecretString::from("ghs_secret".to_owned());
        let mut git = Git::new(Path::new("/m.git"));
        git.authorize("https://github.com/o/n.git", &token).args(["fetch", "https://github.com/o/n.git"]);
        let prepared = git.prepared();
        let argv: Vec<_> = prepared.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(argv, ["fetch", "https://github.com/o/n.git"]);
        let keys: Vec<_> = prepared.get_envs().filter_map(|(_, v)| v?.to_str()).collect();
        assert!(keys.contains(&"http.https://github.com/.extraHeader"));
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(version("git version 2.47.3\n"), Some((2, 47)));
        assert_eq!(version("git version 2.9.1 (Apple Git-1)"), Some((2, 9)));
        assert!(version("git version 2.9.1").unwrap() < VERSION_MIN);
        assert_eq!(version("hello"), None);
        check_available().unwrap();
    }

    #[test]
    fn what_git_prints_is_scrubbed() {
        let token = SecretString::from("ghs_secret".to_owned());
        let mut git = Git::new(Path::new("/m.git"));
        git.authorize("https://h/o/n.git", &token);
        let basic = BASE64_STANDARD.encode("x-access-token:ghs_secret");
        let shown = git.scrubbed(format!("fatal: ghs_secret and {basic}\x1b[0m\n").as_bytes());
        assert_eq!(shown, "fatal: *** and ***[0m");
    }

    #[test]
    fn a_failure_shows_what_git_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut git = Git::new(dir.path());
        git.args(["rev-parse", "HEAD"]);
        let error = git.run("asking", Duration::from_secs(30)).unwrap_err();
        assert!(
            matches!(&error, GitError::Failed { message, .. } if message.contains("not a git repository"))
        );
    }
}
