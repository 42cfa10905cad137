//! What can go wrong when we talk to GitHub, sorted by what the caller can do about it.

use http::{HeaderMap, StatusCode};

/// A limit without a reset time: GitHub's advice for secondary limits is to wait at least a minute.
const LIMITED_DEFAULT_MS: i64 = 60_000;
/// No header may silence us for longer: GitHub's windows are one hour.
pub(super) const LIMITED_MAX_MS: i64 = 2 * 3_600_000;
/// Enough of an answer's message to act on, little enough for a log line.
const MESSAGE_MAX_CHARS: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitHubError {
    /// It does not exist, or this App may not see it (GitHub does not say which).
    #[error("GitHub does not know {what}, or the App may not see it")]
    NotFound { what: String },
    /// The App lacks a permission, or the target refuses (locked conversation, archived repository).
    #[error("GitHub refused {what}: {message}")]
    Forbidden { what: String, message: String },
    /// The key, the App's id or the token was not accepted. A cached token is dropped with this.
    #[error("GitHub did not accept our credentials for {what}: {message}")]
    Unauthorized { what: String, message: String },
    /// Ask again after `until_ms` (since the epoch), not before.
    #[error("GitHub limits our requests until {until_ms} (ms since the epoch)")]
    RateLimited { until_ms: i64 },
    /// GitHub failed so often that it is not asked before `until_ms`. Nothing was sent.
    #[error("GitHub does not answer; it is asked again after {until_ms} (ms since the epoch)")]
    Unreachable { until_ms: i64 },
    /// A fault that passes. A write may have been applied all the same: look before writing again.
    #[error("GitHub could not answer {what}: {message}")]
    Transient { what: String, message: String, retry_after_ms: Option<i64> },
    /// Our request was wrong; repeating it changes nothing.
    #[error("GitHub rejected {what} with {status}: {message}")]
    Invalid { what: String, status: u16, message: String },
    /// An answer that we cannot use: no JSON, not the expected fields, or beyond our bounds.
    #[error("GitHub's answer to {what} cannot be used: {message}")]
    Malformed { what: String, message: String },
    /// The configuration cannot work: key, App id or address.
    #[error("{message}")]
    Config { message: String },
}

impl GitHubError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unreachable { .. }
                | Self::Transient { .. }
                | Self::Unauthorized { .. }
        )
    }

    /// When GitHub may be asked again, if it is GitHub as a whole that must be left alone: no failure of the request.
    pub fn silent_until_ms(&self) -> Option<i64> {
        match self {
            Self::RateLimited { until_ms } | Self::Unreachable { until_ms } => Some(*until_ms),
            _ => None,
        }
    }

    /// How long GitHub asked to wait after a fault.
    pub fn retry_after_ms(&self) -> Option<i64> {
        match self {
            Self::Transient { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }

    pub(super) fn transient(what: &str, message: impl Into<String>) -> Self {
        Self::Transient { what: what.into(), message: cut(&message.into()), retry_after_ms: None }
    }

    pub(super) fn malformed(what: &str, message: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), message: cut(&message.into()) }
    }

    pub(super) fn config(message: impl Into<String>) -> Self {
        Self::Config { message: message.into() }
    }
}

/// Sorts an answer that is no success. `body` is GitHub's JSON or a proxy's page.
pub(super) fn from_answer(
    what: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: i64,
) -> GitHubError {
    let what = what.to_owned();
    let message = message_of(status, body);
    let retry_after_ms =
        number(headers, "retry-after").map(|s| s.saturating_mul(1000).clamp(0, LIMITED_MAX_MS));
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN => {
            match limited_until(status, headers, &message, retry_after_ms, now_ms) {
                Some(until_ms) => GitHubError::RateLimited { until_ms },
                None => GitHubError::Forbidden { what, message },
            }
        }
        StatusCode::UNAUTHORIZED => GitHubError::Unauthorized { what, message },
        StatusCode::NOT_FOUND | StatusCode::GONE => GitHubError::NotFound { what },
        StatusCode::REQUEST_TIMEOUT => GitHubError::Transient { what, message, retry_after_ms },
        _ if status.is_server_error() => GitHubError::Transient { what, message, retry_after_ms },
        _ => GitHubError::Invalid { what, status: status.as_u16(), message },
    }
}

/// GitHub's rules, in its order: `retry-after`, then an empty quota's reset, then a minute.
fn limited_until(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
    retry_after_ms: Option<i64>,
    now_ms: i64,
) -> Option<i64> {
    if let Some(wait_ms) = retry_after_ms {
        return Some(now_ms + wait_ms);
    }
    if number(headers, "x-ratelimit-remaining") == Some(0)
        && let Some(reset_s) = number(headers, "x-ratelimit-reset")
    {
        let reset_ms = reset_s.saturating_mul(1000);
        return Some(reset_ms.clamp(now_ms + 1000, now_ms + LIMITED_MAX_MS));
    }
    let secondary = message.to_ascii_lowercase().contains("rate limit");
    (status == StatusCode::TOO_MANY_REQUESTS || secondary).then_some(now_ms + LIMITED_DEFAULT_MS)
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// `message` and the details of `errors`, or the start of whatever came instead.
fn message_of(status: StatusCode, body: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = match parsed.as_ref().and_then(|v| v.get("message")).and_then(|m| m.as_str()) {
        Some(message) => match parsed.as_ref().and_then(|v| v.get("errors")) {
            Some(errors) => format!("{message} {errors}"),
            None => message.to_owned(),
        },
        None => String::from_utf8_lossy(&body[..body.len().min(4 * MESSAGE_MAX_CHARS)]).trim().to_owned(),
    };
    if text.is_empty() { status.to_string() } else { cut(&text) }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn sorted(status: u16, headers: &[(&'static str, &str)], body: &str) -> GitHubError {
        let headers = headers
            .iter()
            .map(|(k, v)| (http::HeaderName::from_static(k), http::HeaderValue::from_str(v).unwrap()))
            .collect();
        from_answer("it", StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), NOW)
    }

    #[test]
    fn limits_are_told_from_refusals() {
        let limited = |until_ms| GitHubError::RateLimited { until_ms };
        assert_eq!(sorted(403, &[("retry-after", "7")], "{}"), limited(NOW + 7_000));
        assert_eq!(sorted(429, &[("retry-after", "0")], "{}"), limited(NOW));
        assert_eq!(sorted(429, &[], ""), limited(NOW + 60_000));
        let reset = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000120")];
        assert_eq!(sorted(403, &reset, "{}"), limited(NOW + 120_000));
        let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert_eq!(sorted(403, &[("x-ratelimit-remaining", "17")], secondary), limited(NOW + 60_000));
        let refused =
            sorted(403, &[("x-ratelimit-remaining", "17")], r#"{"message":"Resource not accessible"}"#);
        assert!(
            matches!(refused, GitHubError::Forbidden { message, .. } if message == "Resource not accessible")
        );
    }

    #[test]
    fn no_header_silences_us_for_longer_than_the_bound() {
        let far = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9223372036854775807")];
        assert_eq!(sorted(403, &far, ""), GitHubError::RateLimited { until_ms: NOW + LIMITED_MAX_MS });
        let wait = sorted(429, &[("retry-after", "9223372036854775807")], "");
        assert_eq!(wait, GitHubError::RateLimited { until_ms: NOW + LIMITED_MAX_MS });
        let past = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "5")];
        assert_eq!(sorted(403, &past, ""), GitHubError::RateLimited { until_ms: NOW + 1000 });
    }

    #[test]
    fn faults_carry_what_they_know() {
        let fault = sorted(503, &[("retry-after", "2")], "<html>down</html>");
        assert_eq!(
            fault,
            GitHubError::Transient {
                what: "it".into(),
                message: "<html>down</html>".into(),
                retry_after_ms: Some(2000)
            }
        );
        assert!(matches!(sorted(422, &[], r#"{"message":"No","errors":[{"field":"x"}]}"#),
            GitHubError::Invalid { status: 422, message, .. } if message == r#"No [{"field":"x"}]"#));
        assert!(matches!(sorted(404, &[], ""), GitHubError::NotFound { .. }));
    }
}
