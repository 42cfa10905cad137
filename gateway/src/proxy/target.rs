//! The host and the path of a request: which ones it names, and which ones the upstream gets.

use super::refusal::Refusal;
use crate::active::Route;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Version, request};

/// The host that the request is for. None is possible only in HTTP/1.0.
///
/// Refuses what two readers could take for two different requests: several or no `Host` fields (RFC 9112,
/// section 3.2), and a length beside a transfer coding (section 6.3).
pub(super) fn host(head: &request::Parts) -> Result<Option<HeaderValue>, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::NoTunnel);
    }
    if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::BadFraming);
    }
    let mut fields = head.headers.get_all(HOST).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() || (first.is_none() && head.version >= Version::HTTP_11) {
        return Err(Refusal::BadHost);
    }
    let host = match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => first.cloned(),
    };
    match host {
        Some(host) if !host.as_bytes().iter().all(|byte| is_of_host(*byte)) => Err(Refusal::BadHost),
        host => Ok(host),
    }
}

/// What a host and a port are made of (RFC 3986, section 3.2.2), without the user that may stand before
/// them in an absolute target.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// The target for the upstream, if it differs from the one that came: the path in normal form and without
/// the route's prefix where that is to be taken off, the query as it was, no scheme and no authority.
pub(super) fn for_upstream(uri: &Uri, path: &str, route: &Route) -> Result<Option<Uri>, Refusal> {
    if uri.authority().is_none() && path == uri.path() && route.strip_bytes == 0 {
        return Ok(None);
    }
    let kept = &path[route.strip_bytes..];
    let mut text = String::with_capacity(kept.len() + uri.query().map_or(0, str::len) + 2);
    if !kept.starts_with('/') {
        text.push('/');
    }
    text.push_str(kept);
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::try_from(text).map(|target| Some(Uri::from(target))).map_err(|_| Refusal::BadPath)
}
