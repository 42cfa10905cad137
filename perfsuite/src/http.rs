//! A small HTTP client for talking to the server: http and https, bounded bodies, deadlines, errors in words.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// An answer that is not a download: small JSON, or an error's text.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// Silence within a download: a server that has stopped sending is not waited for.
const DOWNLOAD_IDLE: Duration = Duration::from_secs(60);
/// Connections that nobody uses are closed before a proxy in between forgets them.
const POOL_IDLE: Duration = Duration::from_secs(30);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Characters of a server's complaint that are passed on.
const COMPLAINT_CHARS_MAX: usize = 300;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No answer: the network, the server's process, a deadline.
    #[error("{url} cannot be reached: {why}")]
    Unreachable { url: String, why: String },
    /// An answer other than success.
    #[error("{url} answered {status}{}", said(.text))]
    Status { url: String, status: StatusCode, text: String },
    /// An answer that is not what was agreed on.
    #[error("{url} gave an answer that makes no sense: {why}")]
    Nonsense { url: String, why: String },
    /// The local file could not be written.
    #[error("cannot write {path}: {why}")]
    Disk { path: String, why: std::io::Error },
}

fn said(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!(": {}", text.chars().take(COMPLAINT_CHARS_MAX).collect::<String>()),
    }
}

impl HttpError {
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            HttpError::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same request may succeed later: nobody answered, or the server was at fault or overloaded.
    pub fn is_passing(&self) -> bool {
        match self {
            HttpError::Unreachable { .. } => true,
            HttpError::Status { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            HttpError::Nonsense { .. } | HttpError::Disk { .. } => false,
        }
    }
}

/// Speaks with one server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    pool: Transport,
    /// Without a slash at its end.
    base: String,
    authorization: HeaderValue,
}

#[derive(Clone)]
enum Transport {
    Plain(Pool<HttpConnector, Full<Bytes>>),
    Tls(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// The body of a successful answer, or nothing for 204.
pub type Answer = Option<Bytes>;

impl Client {
    /// `server` is the address of the server, with any path in front of its own. The token goes into a header only.
    pub fn new(server: &str, token: &str) -> anyhow::Result<Client> {
        let base = server.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|e| anyhow::anyhow!("{server:?} is not an address: {e}"))?;
        anyhow::ensure!(uri.host().is_some(), "{server:?} is not an address like https://example.org");
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| anyhow::anyhow!("the token holds characters that no token has"))?;
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_MAX));
        connector.set_nodelay(true);
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        let pool = match uri.scheme_str() {
            Some("http") => Transport::Plain(builder.build(connector)),
            Some("https") => {
                let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(|e| {
                    anyhow::anyhow!(
                        "no certificate authorities on this machine ({e}); install `ca-certificates`"
                    )
                })?;
                Transport::Tls(builder.build(tls.https_only().enable_http1().wrap_connector(connector)))
            }
            _ => anyhow::bail!("{server:?} is neither an http nor an https address"),
        };
        Ok(Client { pool, base, authorization })
    }

    /// Sends JSON and reads the answer, whole, within `deadline`.
    pub async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        deadline: Duration,
    ) -> Result<Answer, HttpError> {
        let body = serde_json::to_vec(body).map_err(|e| self.nonsense(path, &e))?;
        self.send(Method::POST, path, "application/json", body.into(), deadline).await
    }

    /// Uploads bytes and reads the answer, whole, within `deadline`.
    pub async fn put(&self, path: &str, body: Bytes, deadline: Duration) -> Result<Answer, HttpError> {
        self.send(Method::PUT, path, "application/zstd", body, deadline).await
    }

    /// Downloads into a new file, no more than `max_bytes` of it.
    pub async fn download(&self, path: &str, to: &Path, max_bytes: u64) -> Result<(), HttpError> {
        let request = self.request(Method::GET, path, "application/json", Bytes::new())?;
        let response = self.within(path, DOWNLOAD_IDLE, self.exchange(path, request)).await?;
        if !response.status().is_success() {
            return Err(self.refused(path, response).await);
        }
        let disk = |why| HttpError::Disk { path: to.display().to_string(), why };
        let mut file = tokio::fs::File::create(to).await.map_err(disk)?;
        let mut body = response.into_body();
        let mut received = 0;
        while let Some(frame) = self.within(path, DOWNLOAD_IDLE, async { Ok(body.frame().await) }).await? {
            let frame = frame.map_err(|e| self.unreachable(path, &e))?;
            let Ok(bytes) = frame.into_data() else { continue };
            received += bytes.len() as u64;
            if received > max_bytes {
                return Err(self.nonsense(path, &format!("more than {} MiB", max_bytes >> 20)));
            }
            file.write_all(&bytes).await.map_err(disk)?;
        }
        file.flush().await.map_err(disk)
    }

    /// Reads an answer as JSON.
    pub fn parse<T: DeserializeOwned>(&self, path: &str, answer: Answer) -> Result<T, HttpError> {
        let body = answer.ok_or_else(|| self.nonsense(path, &"nothing"))?;
        serde_json::from_slice(&body).map_err(|e| self.nonsense(path, &e))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Answer, HttpError> {
        let request = self.request(method, path, kind, body)?;
        self.within(path, deadline, async {
            let response = self.exchange(path, request).await?;
            match response.status() {
                StatusCode::NO_CONTENT => Ok(None),
                status if status.is_success() => Ok(Some(self.whole(path, response.into_body()).await?)),
                _ => Err(self.refused(path, response).await),
            }
        })
        .await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::CONTENT_TYPE, kind)
            .header(header::USER_AGENT, concat!("paceline-runner/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|e| self.nonsense(path, &e))
    }

    async fn exchange(
        &self,
        path: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, HttpError> {
        let response = match &self.pool {
            Transport::Plain(pool) => pool.request(request).await,
            Transport::Tls(pool) => pool.request(request).await,
        };
        response.map_err(|e| self.unreachable(path, &e))
    }

    async fn refused(&self, path: &str, response: http::Response<Incoming>) -> HttpError {
        let status = response.status();
        let body = timeout(CONNECT_MAX, self.whole(path, response.into_body())).await;
        let text = body.ok().and_then(Result::ok).unwrap_or_default();
        HttpError::Status { url: self.url(path), status, text: String::from_utf8_lossy(&text).into_owned() }
    }

    async fn whole(&self, path: &str, body: Incoming) -> Result<Bytes, HttpError> {
        let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
        body.map(|body| body.to_bytes()).map_err(|e| self.unreachable(path, e.as_ref()))
    }

    async fn within<T>(
        &self,
        path: &str,
        deadline: Duration,
        work: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        match timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => {
                let why = format!("no answer within {} s", deadline.as_secs());
                Err(HttpError::Unreachable { url: self.url(path), why })
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn unreachable(&self, path: &str, error: &dyn std::error::Error) -> HttpError {
        // The outer error says "client error (Connect)"; the reason is at the end of the chain.
        let mut error = error;
        while let Some(source) = error.source() {
            error = source;
        }
        HttpError::Unreachable { url: self.url(path), why: error.to_string() }
    }

    fn nonsense(&self, path: &str, why: &dyn std::fmt::Display) -> HttpError {
        HttpError::Nonsense { url: self.url(path), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_it_is_used() {
        for good in ["http://127.0.0.1:3000", "http://example.org/prefix/"] {
            assert!(Client::new(good, "t").is_ok(), "{good}");
        }
        for bad in ["", "example.org", "ftp://example.org", "/path"] {
            assert!(Client::new(bad, "t").is_err(), "{bad}");
        }
        assert!(Client::new("http://example.org", "two\nlines").is_err());
    }

    #[test]
    fn only_the_servers_own_trouble_passes() {
        let status = |code: u16| HttpError::Status {
            url: "u".into(),
            status: StatusCode::from_u16(code).unwrap(),
            text: String::new(),
        };
        for (code, passing) in
            [(500, true), (503, true), (429, true), (401, false), (404, false), (409, false)]
        {
            assert_eq!(status(code).is_passing(), passing, "{code}");
        }
    }
}
