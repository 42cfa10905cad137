//! `runner` on the command line. The token comes from a file or the environment, never as an argument.

use super::{RunnerConfig, Token};
use crate::sandbox::Preference;
use crate::session::Lifetime;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// The environment variable that holds the token when no file is given.
pub const TOKEN_VARIABLE: &str = "PACELINE_RUNNER_TOKEN";

/// Two target directories of a workspace of some hundred packages, and the checkouts.
const RESERVE_DEFAULT_MIB: u32 = 2_048;

/// Take jobs from a server and measure them on this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct RunnerArgs {
    /// Address of the server.
    #[arg(long, value_name = "URL", env = "PACELINE_SERVER")]
    pub server: String,

    /// File with the runner's token (`paceline runner add NAME` makes one); else PACELINE_RUNNER_TOKEN holds it.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Directory for jobs [default: paceline-runner in the user's cache directory].
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Where builds are kept from job to job [default: `cache` in the work directory].
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Space that must be free on the disk of the kept builds before a job is taken.
    #[arg(long, value_name = "MIB", env = "PACELINE_DISK_RESERVE_MIB", default_value_t = RESERVE_DEFAULT_MIB)]
    pub disk_reserve_mib: u32,

    /// End after one job.
    #[arg(long)]
    pub once: bool,

    /// Walls around measured code. Without them only one's own code is measured.
    #[arg(long, value_enum, default_value_t)]
    pub sandbox: Preference,
}

impl RunnerArgs {
    pub fn config(&self) -> anyhow::Result<RunnerConfig> {
        let token = match &self.token_file {
            Some(file) => read_token(file)?,
            None => std::env::var(TOKEN_VARIABLE).ok().context(
                "no token: name a file with --token-file, or set PACELINE_RUNNER_TOKEN \
                 (`paceline runner add NAME` on the server makes one)",
            )?,
        };
        let token = token.trim().to_owned();
        ensure!(!token.is_empty(), "the runner's token is empty");
        Ok(RunnerConfig {
            server: self.server.clone(),
            token: Token(token),
            work_dir: self.work_dir(),
            lifetime: if self.once { Lifetime::OneJob } else { Lifetime::Forever },
        })
    }

    pub fn work_dir(&self) -> PathBuf {
        self.work_dir.clone().unwrap_or_else(|| {
            let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            let cache = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
            cache.unwrap_or_else(|| "/var/cache".into()).join("paceline-runner")
        })
    }

    pub fn reserve_bytes(&self) -> u64 {
        u64::from(self.disk_reserve_mib) << 20
    }

    /// Where builds are kept from job to job.
    pub fn cache_dir(&self) -> PathBuf {
        self.cache_dir.clone().unwrap_or_else(|| self.work_dir().join("cache"))
    }
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read the token from {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        runner: RunnerArgs,
    }

    #[test]
    fn the_token_comes_from_a_file_and_is_trimmed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let path = file.path().to_str().unwrap();
        let args =
            ["runner", "--server", "http://localhost", "--token-file", path, "--once", "--work-dir", "/w"];
        let args = Cli::try_parse_from(args).unwrap().runner;
        let config = args.config().unwrap();
        assert_eq!(config.token.0, "secret");
        assert_eq!(config.lifetime, Lifetime::OneJob);
        assert_eq!(args.cache_dir(), Path::new("/w/cache"));
        assert!(!format!("{config:?}").contains("secret"));
        std::fs::write(file.path(), "\n").unwrap();
        assert!(args.config().unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn no_argument_takes_the_token_itself() {
        assert!(
            Cli::try_parse_from(["runner", "--server", "http://localhost", "--token", "secret"]).is_err()
        );
    }
}
