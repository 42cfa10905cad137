//! Sends notices: each until it is taken or given up, ever more rarely. An address that does not answer holds up no other.

use super::address::{self, Resolver};
use crate::app::App;
use crate::config::NotifyConfig;
use crate::db::notices::{self, Ending, Stored};
use crate::web::webhook;
use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Notices under way at once: each waits for somebody else's program.
const AT_ONCE: usize = 4;
/// From the first byte to the answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Of an answer nothing is read but its status; so much is taken off the wire, so that the connection may be kept.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// How long a dead process keeps a notice from others: longer than sending takes.
const LEASE_MS: i64 = 60_000;
/// Tries of one notice; half a day with the waits between.
const TRIES_MAX: i64 = 20;
/// The wait after the first failure, which doubles with each further one, and its bound.
const PAUSE_MIN_MS: i64 = 10_000;
const PAUSE_MAX_MS: i64 = 60 * 60 * 1_000;
/// When nobody calls, look anyway: what was put back for later is due at some time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Sends until `stop`, then lets end what was begun.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let sender = match Sender::new(&app.config.notify) {
        Ok(sender) => Arc::new(sender),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "nobody can be told of what got slower");
            return;
        }
    };
    let mut begun = JoinSet::new();
    while !stop.is_cancelled() {
        let taken = if begun.len() < AT_ONCE {
            notices::claim(&app.db, app.clock.now_ms(), LEASE_MS).await
        } else {
            Ok(None)
        };
        match taken {
            Ok(Some(notice)) => {
                let (app, sender) = (app.clone(), sender.clone());
                begun.spawn(async move { tell(&app, &sender, &notice).await });
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot take a notice from the database"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.wake.notices.notified() => {}
            Some(_) = begun.join_next() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    // Each is bounded.
    while begun.join_next().await.is_some() {}
}

async fn tell(app: &App, sender: &Sender, notice: &Stored) {
    let (id, kind) = (notice.id.as_str(), notice.kind.as_str());
    let outcome = sender.send(notice).await;
    let now_ms = app.clock.now_ms();
    let ending = match outcome {
        Ok(()) => Ending::Told,
        Err(error) if notice.attempts >= TRIES_MAX || error.is::<NoLongerWanted>() => {
            let error = format!("{error:#}");
            metrics::counter!("paceline_notices_given_up_total").increment(1);
            tracing::error!(notice = id, kind, error, "given up");
            Ending::GivenUp { error }
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(notice = id, kind, error, "told again later");
            Ending::Later { error, not_before_ms: now_ms + pause_ms(notice.attempts) }
        }
    };
    if let Err(error) = notices::settle(&app.db, notice, &ending, now_ms).await {
        tracing::error!(notice = id, %error, "the outcome could not be stored; the lease will run out");
    }
}

/// 10 s, 20 s, 40 s … up to an hour.
fn pause_ms(attempts: i64) -> i64 {
    (PAUSE_MIN_MS << (attempts - 1).clamp(0, 20)).min(PAUSE_MAX_MS)
}

/// The owner took the address out of the settings.
#[derive(Debug, thiserror::Error)]
#[error("the address is no longer in the settings")]
struct NoLongerWanted;

/// What sends. No redirect is followed: it could lead anywhere.
pub struct Sender {
    config: NotifyConfig,
    plain: Client<HttpConnector<Resolver>, Full<Bytes>>,
    /// Only where an address wants it: a machine may lack the certificates.
    tls: Option<Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>>,
}

impl Sender {
    pub fn new(config: &NotifyConfig) -> anyhow::Result<Self> {
        let builder = Client::builder(TokioExecutor::new());
        let connector = || {
            let mut connector = HttpConnector::new_with_resolver(Resolver { private: config.private });
            connector.set_connect_timeout(Some(ANSWER_MAX));
            connector
        };
        let tls = match config.urls.iter().any(|url| url.starts_with("https:")) {
            false => None,
            true => {
                let roots = HttpsConnectorBuilder::new().with_native_roots();
                let roots = roots.context("this machine has no root certificates")?;
                let mut inner = connector();
                inner.enforce_http(false);
                Some(builder.build(roots.https_only().enable_http1().wrap_connector(inner)))
            }
        };
        Ok(Self { config: config.clone(), plain: builder.build(connector()), tls })
    }

    async fn send(&self, notice: &Stored) -> anyhow::Result<()> {
        if !self.config.urls.contains(&notice.url) {
            return Err(NoLongerWanted.into());
        }
        let url = address::check(&notice.url, self.config.private).map_err(anyhow::Error::msg)?;
        let secret = self.config.secret.as_ref().context("there is no secret to sign with")?;
        let request = http::Request::post(url.as_str())
            .header("content-type", "application/json")
            .header("user-agent", "paceline")
            .header("x-paceline-event", &notice.kind)
            .header("x-paceline-delivery", &notice.id)
            .header("x-paceline-signature-256", webhook::sign(secret, notice.body.as_bytes()))
            .body(Full::new(Bytes::from(notice.body.clone())))?;
        let exchange = async {
            let response = match (url.scheme(), &self.tls) {
                ("https", Some(client)) => client.request(request).await?,
                ("https", None) => bail!("there is no client for https"),
                _ => self.plain.request(request).await?,
            };
            let status = response.status();
            // Whatever it says, it has answered.
            let _ = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
            if !status.is_success() {
                bail!("it answered {status}");
            }
            Ok(())
        };
        tokio::time::timeout(ANSWER_MAX, exchange).await.context("it did not answer in time")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_an_hour() {
        assert_eq!(
            [1, 2, 3, 9, 10, 20].map(pause_ms),
            [10_000, 20_000, 40_000, 2_560_000, 3_600_000, 3_600_000]
        );
        let all: i64 = (1..TRIES_MAX).map(pause_ms).sum();
        assert!((10..15).contains(&(all / PAUSE_MAX_MS)), "{all}");
    }
}
