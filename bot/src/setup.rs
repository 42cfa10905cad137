//! `paceline setup`: makes the GitHub App in the browser, and keeps its key and secrets; `paceline setup check` tries out
//! what there is.

mod check;
mod keep;
mod pages;
pub mod self_test;

pub use check::try_out;

use crate::config::ServeArgs;
use crate::error::UserError;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// GitHub's codes are good for an hour.
const PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    paceline setup --public-url https://paceline.example\n  \
    paceline setup --public-url https://paceline.example --org acme --dir /etc/paceline\n  \
    paceline setup --public-url https://paceline.example --github https://ghe.example\n  \
    paceline setup check --config /etc/paceline/paceline-server.toml\n\n\
    Opens a page on this machine, whose one button makes the App on GitHub. Nothing is sent before you press it. The App's \
    id, key and secrets are then written to files that only you may read, and the page says what to do next.\n\n\
    Exit code: 0 done, 1 `check` found something, 2 could not be done."
)]
pub struct SetupArgs {
    #[command(subcommand)]
    check: Option<SetupCommand>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Subcommand, Clone, Debug)]
enum SetupCommand {
    /// Try out key, permissions, events and webhook address, and say in words what is missing
    Check(Box<ServeArgs>),
}

#[derive(Args, Clone, Debug)]
pub struct MakeArgs {
    /// Where GitHub and people will reach the server
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The App's name; GitHub wants one that nobody else has
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The organisation that shall own the App [default: you]
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// GitHub, or your Enterprise Server
    #[arg(long, value_name = "URL", default_value = "https://github.com")]
    github: String,
    /// Its API [default: https://api.github.com, or /api/v3 of an Enterprise Server]
    #[arg(long, value_name = "URL")]
    github_api_url: Option<String>,
    /// Where the files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Address of the page; port 0 is any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
}

/// What was asked for, found to be possible.
#[derive(Clone, Debug)]
struct Wanted {
    name: String,
    public_url: String,
    github: String,
    api_url: String,
    org: Option<String>,
    dir: PathBuf,
}

pub async fn run(args: SetupArgs) -> anyhow::Result<ExitCode> {
    match args.check {
        Some(SetupCommand::Check(serve)) => check::run(&serve).await,
        None => make(args.make).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn make(args: MakeArgs) -> anyhow::Result<()> {
    let wanted = wanted(&args)?;
    keep::may_write(&wanted.dir)?;
    let cannot = |error: std::io::Error| UserError::new(format!("cannot listen on {}: {error}", args.listen));
    let listener = tokio::net::TcpListener::bind(&args.listen).await.map_err(cannot)?;
    let address = listener.local_addr()?;
    println!("Open http://{address}/setup in your browser. It has one button.");
    std::io::stdout().flush()?;
    let made = tokio::time::timeout(PATIENCE, pages::serve(listener, address, wanted.clone())).await;
    let app = made.map_err(|_| UserError::new("nobody pressed the button within an hour"))??;
    println!(
        "The App {} (number {}) is made. Install it: {}/installations/new\nStart the server: paceline serve --config {}",
        app.slug,
        app.id,
        app.html_url,
        wanted.dir.join(keep::CONFIG).display()
    );
    Ok(())
}

fn wanted(args: &MakeArgs) -> anyhow::Result<Wanted> {
    let address = |name: &str, text: &str| match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(UserError::new(format!(
            "{name} is {text:?}; it wants a URL that starts with http:// or https://"
        ))),
    };
    let public_url = args.public_url.as_deref().context("absent").map_err(|_| {
        UserError::new(
            "--public-url is missing: where GitHub will reach the server, such as https://paceline.example",
        )
    })?;
    let github = address("--github", &args.github)?;
    let api_url = match (&args.github_api_url, github.as_str()) {
        (Some(url), _) => address("--github-api-url", url)?,
        (None, "https://github.com") => "https://api.github.com".to_owned(),
        (None, other) => format!("{other}/api/v3"),
    };
    let plain = |org: &String| org.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !org.is_empty();
    if args.org.as_ref().is_some_and(|org| !plain(org)) {
        return Err(UserError::new("--org wants the name of an organisation, as in its address").into());
    }
    let public_url = address("--public-url", public_url)?;
    let host = url::Url::parse(&public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    // GitHub's bound.
    const NAME_MAX_CHARS: usize = 34;
    let name = args.name.clone().unwrap_or_else(|| format!("Paceline {}", host.unwrap_or_default()));
    Ok(Wanted {
        name: name.chars().take(NAME_MAX_CHARS).collect(),
        public_url,
        github,
        api_url,
        org: args.org.clone(),
        dir: args.dir.clone(),
    })
}
