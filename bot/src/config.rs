//! The server's settings: flags win over the environment, the environment over the file.

use crate::db::pace::Pace;
use crate::error::UserError;
use crate::github::REQUEST_TIMEOUT;
use anyhow::Context;
use clap::Args;
use perfsuite::model::Trust;
use secrecy::SecretString;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod access;
mod keep;
mod notify;

pub use access::AccessConfig;
pub use keep::DiskConfig;
pub use notify::NotifyConfig;

/// `paceline serve`'s flags; each has its environment variable. The same names, in lower case, are the file's keys.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// TOML file with the same settings; flags and environment win over it
    #[arg(long, env = "PACELINE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:3000]
    #[arg(long, env = "PACELINE_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where people reach the pages, for links in comments [default: http://LISTEN]
    #[arg(long, env = "PACELINE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Database, mirrors, evidence and logs live here [default: ./paceline-data]
    #[arg(long, env = "PACELINE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// sqlite://PATH or postgres://… [default: paceline.db in the data directory]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// GitHub's API; any base, with or without a path [default: https://api.github.com]
    #[arg(long, env = "GITHUB_API_URL", value_name = "URL")]
    pub github_api_url: Option<String>,
    /// Where git finds owner/name.git, when that is not beside the API [default: derived from the API's address]
    #[arg(long, env = "GITHUB_GIT_URL", value_name = "URL")]
    pub github_git_url: Option<String>,
    /// The App's id
    #[arg(long, env = "GITHUB_APP_ID", value_name = "ID")]
    pub github_app_id: Option<u64>,
    /// File with the App's private key (PEM); or the key itself in GITHUB_PRIVATE_KEY
    #[arg(long, env = "GITHUB_PRIVATE_KEY_FILE", value_name = "FILE")]
    pub github_private_key_file: Option<PathBuf>,
    /// File with the webhook secrets, separated by commas or lines; or GITHUB_WEBHOOK_SECRET
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub github_webhook_secret_file: Option<PathBuf>,
    /// The App's OAuth client id, for sign-in
    #[arg(long, env = "GITHUB_CLIENT_ID", value_name = "ID")]
    pub github_client_id: Option<String>,
    /// Logins of people who see the server's own pages, separated by commas
    #[arg(long, env = "PACELINE_ADMINS", value_name = "LOGINS")]
    pub admins: Option<String>,
    /// Show pages of public repositories to signed-in people only
    #[arg(long, env = "PACELINE_SIGN_IN_REQUIRED")]
    pub sign_in_required: bool,
    /// Addresses that are told what got slower, separated by commas; wants a secret in PACELINE_NOTIFY_SECRET
    #[arg(long, env = "PACELINE_NOTIFY_URLS", value_name = "URLS", hide_env_values = true)]
    pub notify_urls: Option<String>,
    /// File with the secret that signs what they are told; or PACELINE_NOTIFY_SECRET
    #[arg(long, env = "PACELINE_NOTIFY_SECRET_FILE", value_name = "FILE")]
    pub notify_secret_file: Option<PathBuf>,
    /// Such addresses may lead into private networks and to this machine
    #[arg(long, env = "PACELINE_NOTIFY_PRIVATE")]
    pub notify_private: bool,
    /// Do not start a runner of its own; use `paceline runner` elsewhere
    #[arg(long, env = "PACELINE_NO_RUNNER")]
    pub no_runner: bool,
    /// For an Enterprise Server whose rate limits are switched off: milliseconds between writes, without the bounds by
    /// minute and hour [default: what github.com bears]
    #[arg(long, env = "PACELINE_WRITE_SPACING_MS", value_name = "MS")]
    pub write_spacing_ms: Option<u32>,
    /// Space kept free on the data directory's disk: below it no job is handed out, and what is old goes [default: 2048]
    #[arg(long, env = "PACELINE_DISK_RESERVE_MIB", value_name = "MIB")]
    pub disk_reserve_mib: Option<u32>,
    /// Days after which evidence may go when the disk is nearly full, 30 at least [default: 90]
    #[arg(long, env = "PACELINE_EVIDENCE_DAYS", value_name = "DAYS")]
    pub evidence_days: Option<u32>,
    /// Days after which webhook deliveries that were dealt with go, and logs of jobs, 7 at least [default: 30]
    #[arg(long, env = "PACELINE_DELIVERY_DAYS", value_name = "DAYS")]
    pub delivery_days: Option<u32>,
    /// How long a dead process keeps its deliveries and writes from others; shorter ones are for tests
    #[arg(long, env = "PACELINE_LEASE_MS", value_name = "MS", hide = true)]
    pub lease_ms: Option<u32>,
    /// How long GitHub may take for an answer; shorter ones are for tests
    #[arg(long, env = "PACELINE_GITHUB_TIMEOUT_MS", value_name = "MS", hide = true)]
    pub github_timeout_ms: Option<u32>,
}

/// The file's keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    public_url: Option<String>,
    data_dir: Option<PathBuf>,
    database_url: Option<String>,
    github_api_url: Option<String>,
    github_git_url: Option<String>,
    github_app_id: Option<u64>,
    github_private_key: Option<String>,
    github_private_key_file: Option<PathBuf>,
    github_webhook_secret: Option<String>,
    github_webhook_secret_file: Option<PathBuf>,
    github_client_id: Option<String>,
    github_client_secret: Option<String>,
    admins: Option<String>,
    sign_in_required: Option<bool>,
    notify_urls: Option<String>,
    notify_secret: Option<String>,
    notify_secret_file: Option<PathBuf>,
    notify_private: Option<bool>,
    no_runner: Option<bool>,
    write_spacing_ms: Option<u32>,
    disk_reserve_mib: Option<u32>,
    evidence_days: Option<u32>,
    delivery_days: Option<u32>,
}

/// Settings as they are in force.
#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// Without a trailing slash; `None`: `http://` and the address that was bound.
    pub public_url: Option<String>,
    pub data_dir: PathBuf,
    pub database_url: Option<String>,
    pub github_api_url: String,
    /// Where git finds `owner/name.git`; `None`: derived from the API's address.
    pub github_git_url: Option<String>,
    /// From a request's first byte to its answer's last.
    pub github_timeout: Duration,
    pub app_id: u64,
    pub private_key: SecretString,
    pub webhook_secrets: Vec<SecretString>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretString>,
    /// Who may see the pages.
    pub access: AccessConfig,
    /// Who else is told what got slower.
    pub notify: NotifyConfig,
    pub own_runner: bool,
    /// How fast GitHub may be written to.
    pub pace: Pace,
    /// How long a dead process keeps its deliveries and writes from others, and a silent runner its job.
    pub lease_ms: i64,
    /// What is kept, and for how long.
    pub disk: DiskConfig,
    /// Whose code the jobs run: strangers', but for the demo's own pull request.
    pub trust: Trust,
    /// Where the own runner keeps builds between jobs; `None`: in the data directory.
    pub runner_cache_dir: Option<PathBuf>,
    /// This very program, which is started again as the own runner.
    pub program: PathBuf,
}

const SECRET_FILE_MAX_BYTES: u64 = 64 << 10;
/// Longer than GitHub's slowest answer that we wait for: what a dead process sent may still be on its way.
pub const LEASE_MS: i64 = 60_000;
/// Below this, a lease would run out between two of the calls that keep it.
const LEASE_MIN_MS: i64 = 500;

impl Config {
    /// Puts flags (clap has read the environment into them already), secret environment variables and file together.
    pub fn load(args: &ServeArgs, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let secret =
            |name: &str, own_file: &Option<PathBuf>, text: Option<String>, text_file: Option<PathBuf>| {
                if let Some(path) = own_file {
                    return read_secret(path).map(Some);
                }
                if let Some(value) = environment(name).filter(|value| !value.is_empty()) {
                    return Ok(Some(value));
                }
                match (text, text_file) {
                    (Some(value), _) => Ok(Some(value)),
                    (None, Some(path)) => read_secret(&path).map(Some),
                    (None, None) => Ok(None),
                }
            };

        let listen = args.listen.clone().or(file.listen).unwrap_or_else(|| "127.0.0.1:3000".into());
        let listen = listen.parse().map_err(|_| {
            UserError::new(format!(
                "PACELINE_LISTEN is {listen:?}; it wants ADDRESS:PORT, such as 127.0.0.1:3000"
            ))
        })?;
        let private_key = secret(
            "GITHUB_PRIVATE_KEY",
            &args.github_private_key_file,
            file.github_private_key,
            file.github_private_key_file,
        )?
        .ok_or_else(|| {
            missing("GITHUB_PRIVATE_KEY or GITHUB_PRIVATE_KEY_FILE", "the App's private key (PEM)")
        })?;
        let webhook = secret(
            "GITHUB_WEBHOOK_SECRET",
            &args.github_webhook_secret_file,
            file.github_webhook_secret,
            file.github_webhook_secret_file,
        )?
        .ok_or_else(|| {
            missing("GITHUB_WEBHOOK_SECRET or GITHUB_WEBHOOK_SECRET_FILE", "the App's webhook secret")
        })?;
        let webhook_secrets: Vec<SecretString> = webhook
            .split([',', '\n', '\r'])
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .map(|secret| SecretString::from(secret.to_owned()))
            .collect();
        if webhook_secrets.is_empty() {
            return Err(missing("GITHUB_WEBHOOK_SECRET", "the App's webhook secret").into());
        }
        let client_secret = secret("GITHUB_CLIENT_SECRET", &None, file.github_client_secret, None)?;
        let notify_secret = secret(
            "PACELINE_NOTIFY_SECRET",
            &args.notify_secret_file,
            file.notify_secret,
            file.notify_secret_file,
        )?;
        let github_api_url = args
            .github_api_url
            .clone()
            .or(file.github_api_url)
            .unwrap_or_else(|| "https://api.github.com".into());
        check_url("GITHUB_API_URL", &github_api_url)?;
        let github_git_url = args.github_git_url.clone().or(file.github_git_url);
        if let Some(url) = &github_git_url {
            check_url("GITHUB_GIT_URL", url)?;
        }
        let public_url = args.public_url.clone().or(file.public_url);
        if let Some(url) = &public_url {
            check_url("PACELINE_PUBLIC_URL", url)?;
        }
        Ok(Self {
            listen,
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            data_dir: args.data_dir.clone().or(file.data_dir).unwrap_or_else(|| "paceline-data".into()),
            database_url: args.database_url.clone().or(file.database_url),
            github_api_url,
            github_git_url,
            github_timeout: args
                .github_timeout_ms
                .map_or(REQUEST_TIMEOUT, |ms| Duration::from_millis(u64::from(ms.max(1)))),
            app_id: args
                .github_app_id
                .or(file.github_app_id)
                .ok_or_else(|| missing("GITHUB_APP_ID", "the App's id"))?,
            private_key: private_key.into(),
            webhook_secrets,
            client_id: args.github_client_id.clone().or(file.github_client_id),
            client_secret: client_secret.map(SecretString::from),
            access: AccessConfig::new(
                args.admins.as_deref().or(file.admins.as_deref()),
                args.sign_in_required || file.sign_in_required.unwrap_or(false),
            ),
            notify: NotifyConfig::new(
                args.notify_urls.as_deref().or(file.notify_urls.as_deref()),
                notify_secret,
                args.notify_private || file.notify_private.unwrap_or(false),
            )?,
            own_runner: !(args.no_runner || file.no_runner.unwrap_or(false)),
            pace: match args.write_spacing_ms.or(file.write_spacing_ms) {
                Some(spacing_ms) => Pace::unlimited(i64::from(spacing_ms)),
                None => Pace::GITHUB,
            },
            lease_ms: args.lease_ms.map_or(LEASE_MS, |lease_ms| i64::from(lease_ms).max(LEASE_MIN_MS)),
            disk: DiskConfig::new(
                args.disk_reserve_mib.or(file.disk_reserve_mib),
                args.evidence_days.or(file.evidence_days),
                args.delivery_days.or(file.delivery_days),
            ),
            trust: Trust::Stranger,
            runner_cache_dir: None,
            program: std::env::current_exe().context("cannot find this program")?,
        })
    }
}

fn missing(name: &str, what: &str) -> UserError {
    UserError::new(format!(
        "{name} is not set: it holds {what}. To see Paceline work without a GitHub App, run `paceline demo`."
    ))
}

fn check_url(name: &str, text: &str) -> Result<(), UserError> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        _ => Err(UserError::new(format!(
            "{name} is {text:?}; it wants a URL that starts with http:// or https://"
        ))),
    }
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        UserError::new(format!("cannot read the configuration {}: {error}", path.display()))
    })?;
    toml::from_str(&text).map_err(|error| UserError::new(format!("{}: {error}", path.display())).into())
}

fn read_secret(path: &Path) -> anyhow::Result<String> {
    let size = std::fs::metadata(path)
        .map_err(|error| UserError::new(format!("cannot read the secret file {}: {error}", path.display())))?
        .len();
    if size > SECRET_FILE_MAX_BYTES {
        return Err(
            UserError::new(format!("{} is {size} bytes; that is no key or secret", path.display())).into()
        );
    }
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the secret file {}", path.display()))
        .map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::io::Write;

    fn environment(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        move |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    const SECRETS: &[(&str, &str)] = &[("GITHUB_PRIVATE_KEY", "key"), ("GITHUB_WEBHOOK_SECRET", "new, old")];

    #[test]
    fn flags_win_over_the_file_and_secrets_are_split() {
        let file =
            file("listen = \"127.0.0.1:1\"\ngithub_app_id = 1\npublic_url = \"https://file.example/\"\n");
        let args = ServeArgs {
            config: Some(file.path().into()),
            listen: Some("127.0.0.1:2".into()),
            ..ServeArgs::default()
        };
        let config = Config::load(&args, environment(SECRETS)).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.app_id, 1);
        assert_eq!(config.public_url.as_deref(), Some("https://file.example"));
        let secrets: Vec<&str> = config.webhook_secrets.iter().map(|s| s.expose_secret()).collect();
        assert_eq!(secrets, ["new", "old"]);
    }

    #[test]
    fn the_environment_wins_over_the_files_secret() {
        let file = file(
            "github_app_id = 1\ngithub_webhook_secret = \"from file\"\ngithub_private_key = \"file key\"\n",
        );
        let args = ServeArgs { config: Some(file.path().into()), ..ServeArgs::default() };
        let config = Config::load(&args, environment(&[("GITHUB_WEBHOOK_SECRET", "from env")])).unwrap();
        assert_eq!(config.webhook_secrets[0].expose_secret(), "from env");
        assert_eq!(config.private_key.expose_secret(), "file key");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_in_one_line() {
        let check = |args: ServeArgs, pairs: &[(&str, &str)], expect: &str| {
            let error = Config::load(&args, environment(pairs)).err().expect("refused").to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(ServeArgs::default(), &[], "GITHUB_PRIVATE_KEY");
        check(ServeArgs::default(), &[("GITHUB_PRIVATE_KEY", "key")], "GITHUB_WEBHOOK_SECRET");
        check(ServeArgs::default(), SECRETS, "GITHUB_APP_ID");
        let args = ServeArgs { listen: Some("3000".into()), ..ServeArgs::default() };
        check(args, SECRETS, "ADDRESS:PORT");
        let unknown = file("lisen = \"x\"\n");
        let args = ServeArgs { config: Some(unknown.path().into()), ..ServeArgs::default() };
        check(args, SECRETS, "lisen");
    }
}
