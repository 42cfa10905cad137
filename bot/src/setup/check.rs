//! `paceline setup check`: every step from GitHub to the server and back, tried, in words.

use super::self_test::Tried;
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, ServeArgs};
use crate::github::{EVENTS, GitHub, GitHubError};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::process::ExitCode;
use std::time::Duration;

/// For an answer of our own server through whatever stands before it.
const ANSWER_MAX: Duration = Duration::from_secs(15);
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Lines as they are found; the code says whether all is well.
pub async fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(args, |name| std::env::var(name).ok())?;
    let github = app::connect(&config, Clock::system())?;
    let tried = try_out(&config, &github).await;
    for one in &tried {
        println!("{}: {}", if one.good { "ok" } else { "missing" }, one.words);
    }
    Ok(ExitCode::from(u8::from(tried.iter().any(|one| !one.good))))
}

/// Key, clock, permissions, events, installations, and the way from outside to the server.
pub async fn try_out(config: &Config, github: &GitHub) -> Vec<Tried> {
    let mut told = Told::default();
    match github.app_self_check().await {
        Ok(app) => {
            told.good(format!("key and number belong to the App {}, and the clock is right", app.slug));
            match app.missing_permissions.as_slice() {
                [] => told.good("it has the permissions that it needs".into()),
                missing => told.bad(format!(
                    "permissions are missing: {}. Add them on the App's page, then accept them for each installation",
                    missing.join(", ")
                )),
            }
            let missing: Vec<&str> =
                EVENTS.into_iter().filter(|event| !app.events.iter().any(|known| known == event)).collect();
            match missing.as_slice() {
                [] => told.good("it is told of every event that is handled".into()),
                missing => told.bad(format!(
                    "it is not told of {}. Subscribe to them on the App's page",
                    missing.join(", ")
                )),
            }
            installations(github, &mut told).await;
        }
        Err(GitHubError::Unauthorized { message, .. }) => told.bad(format!(
            "GitHub does not accept the key ({message}). Either it is another App's, or this machine's clock is wrong by \
             more than a minute"
        )),
        Err(error) => told.bad(error.to_string()),
    }
    match &config.public_url {
        None => told.bad(
            "PACELINE_PUBLIC_URL is not set, so GitHub can reach the server on this machine only".into(),
        ),
        Some(url) => match answer(&format!("{url}/healthz")).await {
            Ok(200) => told.good(format!("the server answers at {url}")),
            Ok(status) => {
                told.bad(format!("{url}/healthz answers {status}: does something else listen there?"));
            }
            Err(why) => told
                .bad(format!("nothing answers at {url} ({why}): is the server started, and its name known?")),
        },
    }
    if config.webhook_secrets.is_empty() {
        told.bad("there is no webhook secret, so no delivery can be believed".into());
    }
    told.0
}

async fn installations(github: &GitHub, told: &mut Told) {
    match github.installations().await {
        Ok(all) if all.is_empty() => told.bad("the App is installed nowhere yet".into()),
        Ok(all) => told.good(format!("it is installed {} times", all.len())),
        Err(error) => told.bad(error.to_string()),
    }
}

#[derive(Default)]
struct Told(Vec<Tried>);

impl Told {
    fn good(&mut self, words: String) {
        self.0.push(Tried { good: true, words });
    }

    fn bad(&mut self, words: String) {
        self.0.push(Tried { good: false, words });
    }
}

/// The status of a GET.
async fn answer(url: &str) -> Result<u16, String> {
    let builder = Client::builder(TokioExecutor::new());
    let exchange = async {
        let request =
            http::Request::get(url).body(Empty::<bytes::Bytes>::new()).map_err(|e| e.to_string())?;
        // Without TLS no certificate authorities are wanted, which a machine may lack.
        let response = if url.starts_with("http://") {
            builder.build_http().request(request).await
        } else {
            let roots = HttpsConnectorBuilder::new().with_native_roots().map_err(|e| e.to_string())?;
            builder.build(roots.https_only().enable_http1().build()).request(request).await
        };
        let response = response.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        // Read, so that a server is not left with half an answer.
        let _ = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        Ok(status)
    };
    tokio::time::timeout(ANSWER_MAX, exchange).await.unwrap_or_else(|_| Err("no answer in time".into()))
}
