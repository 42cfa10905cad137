//! One request to GitHub and its answer: time limits, a bound on the body, retries of GET, pages.
//!
//! octocrab sends; how often, how long and how much is decided here. It is built without its retry layer
//! (which repeats a POST), its installation tokens (not single-flight) and its pages (which lose Authorization).

use super::cache::{Cache, Kept};
use super::error::{GitHubError, from_answer};
use super::guard::{Guard, Who};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use rand::RngExt;
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;

/// A machine that does not answer a SYN within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte sent to the last byte read, for an answer that trickles. GitHub itself gives up on a request
/// after 10 s.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);
/// A page of 100 commits, each message at GitHub's limit of 64 KiB, is 6 MiB; files carry patches.
const ANSWER_MAX_BYTES: usize = 32 << 20;
/// Three tries outlast a restart of one of GitHub's front ends; more would hide an outage.
const GET_TRIES: u32 = 3;
/// First pause between tries, doubled each time, with half of it at random.
const BACK_OFF: Duration = Duration::from_millis(250);
/// An answer that asks for a longer pause is handed to the caller, who can wait without holding a task.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// GitHub's largest page.
pub(super) const PAGE_ITEMS: usize = 100;
/// 10,000 items; no list that we ask for is longer on GitHub.
const PAGES_MAX: usize = 100;

/// Where the API lives: origin and path prefix apart, so that a prefix is never guessed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiBase {
    pub url: url::Url,
    /// Empty, or `/api/v3`: with a leading and without a trailing slash.
    pub prefix: String,
}

impl ApiBase {
    pub(super) fn parse(text: &str) -> Result<Self, GitHubError> {
        let bad = |why: &str| GitHubError::config(format!("the GitHub API address {text:?} {why}"));
        let url = url::Url::parse(text).map_err(|e| bad(&format!("is no URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad("must start with https:// or http:// and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(bad("must not hold a user, a password or a query"));
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Self { url, prefix })
    }

    /// Scheme, host and port: `https://api.github.com`.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// A list that GitHub (or our own bound) may have ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// False when there may be more: fail closed, or ask git.
    pub complete: bool,
}

/// Who asks, and what proves it.
pub(super) struct Caller {
    pub who: Who,
    pub token: SecretString,
}

/// Sends requests; knows no token. Clones share connections.
#[derive(Clone)]
pub(super) struct Transport {
    crab: Octocrab,
    base: ApiBase,
    clock: crate::clock::Clock,
    request_timeout: Duration,
    guard: Arc<Guard>,
    cache: Arc<Cache>,
}

/// One answer that was a success, now or when it was kept.
pub(super) struct Answer {
    link: Option<HeaderValue>,
    body: Bytes,
}

/// One request, before it is sent.
struct Wish<'a, B: ?Sized> {
    method: Method,
    path: &'a str,
    body: Option<&'a B>,
    /// An earlier answer, good as long as GitHub says so.
    kept: Option<Kept>,
}

impl Transport {
    pub(super) fn new(
        base: ApiBase,
        clock: crate::clock::Clock,
        request_timeout: Duration,
    ) -> Result<Self, GitHubError> {
        let crab = connect(&base.origin())?;
        let guard = Arc::new(Guard::new(clock.clone()));
        Ok(Self { crab, base, clock, request_timeout, guard, cache: Arc::default() })
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// GET, tried again on faults that pass, and asked under the condition that it changed. `path` starts with `/` and
    /// does not hold the prefix.
    pub(super) async fn get(&self, path: &str, caller: &Caller) -> Result<Answer, GitHubError> {
        let mut tried = 1;
        loop {
            let kept = self.cache.get(caller.who, path);
            let wish = Wish { method: Method::GET, path, body: None::<&()>, kept };
            let fault = match self.once(wish, caller).await {
                Err(fault @ GitHubError::Transient { .. }) if tried < GET_TRIES => fault,
                settled => return settled,
            };
            let GitHubError::Transient { retry_after_ms, .. } = &fault else { return Err(fault) };
            let asked = Duration::from_millis(retry_after_ms.unwrap_or(0).max(0) as u64);
            if asked > BACK_OFF_MAX {
                return Err(fault);
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            let pause = BACK_OFF.mul_f64(f64::from(1 << tried) * jitter).max(asked);
            tracing::debug!(path, tried, %fault, "asking GitHub again");
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    /// POST or PATCH, sent exactly once.
    pub(super) async fn write<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        caller: &Caller,
        body: &B,
    ) -> Result<Answer, GitHubError> {
        self.once(Wish { method, path, body: Some(body), kept: None }, caller).await
    }

    /// POST or PATCH without a body, sent exactly once.
    pub(super) async fn write_nothing(
        &self,
        method: Method,
        path: &str,
        caller: &Caller,
    ) -> Result<Answer, GitHubError> {
        self.once(Wish { method, path, body: None::<&()>, kept: None }, caller).await
    }

    /// All pages of `path`. Only the query of a `next` link is believed: it is asked of the same path on our base,
    /// because the link names GitHub's idea of its address (`/repositories/ID/…`, or a host behind a proxy).
    pub(super) async fn pages<P: DeserializeOwned, T>(
        &self,
        path: &str,
        caller: &Caller,
        items_of: impl Fn(P) -> Vec<T>,
    ) -> Result<Listing<T>, GitHubError> {
        self.pages_while(path, caller, items_of, |_| true).await
    }

    /// Pages of `path` for as long as `wants_more`, which sees the last item of each.
    pub(super) async fn pages_while<P: DeserializeOwned, T>(
        &self,
        path: &str,
        caller: &Caller,
        items_of: impl Fn(P) -> Vec<T>,
        wants_more: impl Fn(&T) -> bool,
    ) -> Result<Listing<T>, GitHubError> {
        let (route, given) = path.split_once('?').unwrap_or((path, ""));
        let joint = if given.is_empty() { "" } else { "&" };
        let mut query = format!("{given}{joint}per_page={PAGE_ITEMS}");
        let mut items = Vec::new();
        for _ in 0..PAGES_MAX {
            let asked = format!("{route}?{query}");
            let answer = self.get(&asked, caller).await?;
            let next = answer.link.as_ref().and_then(next_query);
            items.extend(items_of(answer.json(&asked)?));
            match next {
                Some(next) if next != query && items.last().is_none_or(&wants_more) => query = next,
                _ => return Ok(Listing { items, complete: true }),
            }
        }
        Ok(Listing { items, complete: false })
    }

    async fn once<B: Serialize + ?Sized>(
        &self,
        wish: Wish<'_, B>,
        caller: &Caller,
    ) -> Result<Answer, GitHubError> {
        self.guard.permit(caller.who)?;
        let (what, method) = (format!("{} {}", wish.method, wish.path), wish.method.clone());
        let exchange = tokio::time::timeout(self.request_timeout, self.exchange(&what, wish, caller));
        let settled =
            exchange.await.unwrap_or_else(|_| Err(GitHubError::transient(&what, "no answer in time")));
        self.guard.settled(caller.who, &method, &settled);
        settled
    }

    /// One request, or two when the repository has moved: a redirect says that nothing was done.
    async fn exchange<B: Serialize + ?Sized>(
        &self,
        what: &str,
        wish: Wish<'_, B>,
        caller: &Caller,
    ) -> Result<Answer, GitHubError> {
        let mut path = wish.path.to_owned();
        let mut redirected = false;
        loop {
            let (parts, body) = self.send(what, &path, &wish, caller).await?;
            self.guard.heard(caller.who, &parts.headers);
            if let (StatusCode::NOT_MODIFIED, Some(kept)) = (parts.status, &wish.kept) {
                metrics::counter!("paceline_github_not_modified_total").increment(1);
                return Ok(Answer { link: kept.link.clone(), body: kept.body.clone() });
            }
            if parts.status.is_success() {
                if wish.method == Method::GET
                    && let Some(kept) = Kept::of(&parts.headers, &body)
                {
                    self.cache.put(caller.who, wish.path, kept);
                }
                return Ok(Answer { link: parts.headers.get(header::LINK).cloned(), body });
            }
            match moved_to(&parts).filter(|_| !redirected) {
                Some(new) => (path, redirected) = (new, true),
                None => {
                    let now_ms = self.clock.now_ms();
                    return Err(from_answer(what, parts.status, &parts.headers, &body, now_ms));
                }
            }
        }
    }

    async fn send<B: Serialize + ?Sized>(
        &self,
        what: &str,
        path: &str,
        wish: &Wish<'_, B>,
        caller: &Caller,
    ) -> Result<(http::response::Parts, Bytes), GitHubError> {
        let crab = self.crab.user_access_token(caller.token.clone()).map_err(|e| unsent(what, &e))?;
        let mut head =
            Request::builder().method(wish.method.clone()).uri(format!("{}{path}", self.base.prefix));
        if let Some(kept) = &wish.kept {
            head = head.header(header::IF_NONE_MATCH, kept.tag.clone());
        }
        let request = crab.build_request(head, wish.body).map_err(|e| unsent(what, &e))?;
        let response = crab.execute(request).await.map_err(|e| GitHubError::transient(what, causes(&e)))?;
        let (parts, body) = response.into_parts();
        match Limited::new(body, ANSWER_MAX_BYTES).collect().await {
            Ok(body) => Ok((parts, body.to_bytes())),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => {
                let message = format!("the answer is larger than {ANSWER_MAX_BYTES} bytes");
                Err(GitHubError::malformed(what, message))
            }
            Err(e) => Err(GitHubError::transient(what, causes(&*e))),
        }
    }
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, GitHubError> {
        serde_json::from_slice(&self.body).map_err(|e| GitHubError::malformed(what, e.to_string()))
    }
}

/// octocrab over a client of ours. For plain HTTP one without TLS, so that a machine without root certificates can
/// still talk to a loopback address. No layer follows redirects: that would turn a POST into a GET.
pub(super) fn connect(origin: &str) -> Result<Octocrab, GitHubError> {
    let failed = |e: &dyn std::error::Error| GitHubError::config(format!("no HTTP client: {}", causes(e)));
    let base = origin.parse::<http::Uri>().map_err(|e| failed(&e))?;
    let mut plain = HttpConnector::new();
    plain.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let client = Client::builder(TokioExecutor::new());
    if base.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Ok(layered(client.build(plain), base));
    }
    plain.enforce_http(false);
    let roots = HttpsConnectorBuilder::new().with_native_roots().map_err(|e| failed(&e))?;
    Ok(layered(client.build(roots.https_only().enable_http1().wrap_connector(plain)), base))
}

fn layered<C>(client: Client<C, OctoBody>, base: http::Uri) -> Octocrab
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let headers = vec![
        (header::USER_AGENT, HeaderValue::from_static("paceline")),
        (header::ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
    ];
    let built = OctocrabBuilder::new_empty()
        .with_service(client)
        .with_layer(&ExtraHeadersLayer::new(headers.into()))
        .with_layer(&BaseUriLayer::new(base))
        .with_auth(AuthState::None)
        .build();
    match built {
        Ok(crab) => crab,
        Err(never) => match never {},
    }
}

/// Where a repository that was renamed or moved is now: GitHub names it by its number. Nothing else is followed.
fn moved_to(parts: &http::response::Parts) -> Option<String> {
    let moved = matches!(parts.status.as_u16(), 301 | 302 | 307 | 308);
    let location = parts.headers.get(header::LOCATION).filter(|_| moved)?.to_str().ok()?;
    let path = location.find("/repositories/").map(|at| &location[at..])?;
    (path.len() < 4096 && path.parse::<http::uri::PathAndQuery>().is_ok()).then(|| path.to_owned())
}

/// The query of the link with `rel="next"`.
fn next_query(links: &HeaderValue) -> Option<String> {
    links.to_str().ok()?.split(',').find_map(|link| {
        let (target, relation) = link.split_once(';')?;
        let next = relation.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
        let target = target.trim().strip_prefix('<')?.strip_suffix('>')?;
        let (_, query) = target.split_once('?')?;
        let fits = !query.is_empty()
            && query.len() < 4096
            && format!("?{query}").parse::<http::uri::PathAndQuery>().is_ok();
        (next && fits).then(|| query.to_owned())
    })
}

/// A request that could not even be built is ours to fix.
fn unsent(what: &str, error: &octocrab::Error) -> GitHubError {
    GitHubError::Invalid { what: what.into(), status: 0, message: causes(error) }
}

/// An error with its causes in one line: "client error (Connect): tcp connect error: Connection refused".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// One segment of a path: everything but unreserved characters percent-encoded.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    // A segment of dots alone would be resolved away.
    if !out.is_empty() && out.bytes().all(|b| b == b'.') { out.replace('.', "%2E") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_an_origin_and_a_prefix() {
        let base = |text| ApiBase::parse(text).map(|b| (b.origin(), b.prefix));
        assert_eq!(base("https://api.github.com").unwrap(), ("https://api.github.com".into(), String::new()));
        assert_eq!(
            base("https://ghe.example/api/v3/").unwrap(),
            ("https://ghe.example".into(), "/api/v3".into())
        );
        assert_eq!(base("http://127.0.0.1:80/x").unwrap(), ("http://127.0.0.1".into(), "/x".into()));
        for bad in ["", "api.github.com", "ftp://x/", "https://u:p@x/", "https://x/?a=b", "/api"] {
            assert!(matches!(ApiBase::parse(bad), Err(GitHubError::Config { .. })), "{bad:?}");
        }
    }

    #[test]
    fn the_next_page_is_a_query() {
        let next = |link: &str| next_query(&link.parse().unwrap());
        let both = "<https://h/x?page=1>; rel=\"prev\", <https://h/repositories/1/x?per_page=100&page=3>; rel=\"next\"";
        assert_eq!(next(both), Some("per_page=100&page=3".into()));
        assert_eq!(next("<https://h/x?page=9>; rel=\"last\""), None);
        assert_eq!(next("<https://h/x>; rel=\"next\""), None);
        assert_eq!(next("nonsense, ;;<>"), None);
    }

    #[test]
    fn only_a_repositorys_new_place_is_followed() {
        let moved = |status: u16, location: &str| {
            let response = http::Response::builder().status(status).header(header::LOCATION, location);
            moved_to(&response.body(()).unwrap().into_parts().0)
        };
        let new = Some("/repositories/7/pulls/1?a=b".to_owned());
        assert_eq!(moved(301, "https://api.github.com/repositories/7/pulls/1?a=b"), new);
        assert_eq!(moved(307, "https://ghe.example/api/v3/repositories/7/pulls/1?a=b"), new);
        assert_eq!(moved(301, "https://elsewhere.example/login"), None);
        assert_eq!(moved(404, "https://api.github.com/repositories/7"), None);
    }

    #[tokio::test]
    async fn a_client_for_https_can_be_made() {
        // On a machine without root certificates this is refused in words.
        if let Err(error) = connect("https://api.github.com") {
            assert!(error.to_string().contains("certificates"), "{error}");
        }
    }

    #[tokio::test]
    async fn silence_ends_in_time_after_three_tries() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = ApiBase::parse(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
        let accepts = tokio::spawn(async move {
            let mut held = Vec::new();
            while held.len() < 3 {
                held.push(silent.accept().await.unwrap().0);
            }
            held
        });
        let limit = Duration::from_millis(50);
        let transport = Transport::new(base, crate::clock::Clock::system(), limit).unwrap();
        let caller = Caller { who: Who::App, token: SecretString::from("t".to_owned()) };
        let error = transport.get("/app", &caller).await.err().unwrap();
        assert!(matches!(error, GitHubError::Transient { .. }), "{error}");
        assert_eq!(accepts.await.unwrap().len(), 3);
    }

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(segment("a.b-c_d~e"), "a.b-c_d~e");
        assert_eq!(segment("dependabot[bot]"), "dependabot%5Bbot%5D");
        assert_eq!(segment("../a?b#c"), "..%2Fa%3Fb%23c");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
