//! Reads queries of the API strictly: what is wrong is said, and nothing is guessed.

use super::super::pages::error::ApiError;
use crate::contributors::PERIODS;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Items of one answer when nobody says otherwise, and at most.
const LIMIT_DEFAULT: usize = 50;
pub const LIMIT_MAX: usize = 100;
/// A query that is longer is no query of ours.
const QUERY_MAX_BYTES: usize = 8 << 10;

/// The query of a request, by name. A name that is given twice counts once, the last.
pub struct Asked(Vec<(String, String)>);

impl Asked {
    pub fn of(raw: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let raw = raw.unwrap_or_default();
        if raw.len() > QUERY_MAX_BYTES {
            return Err(ApiError::bad(format!("The query is longer than {QUERY_MAX_BYTES} bytes.")));
        }
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let name: String = name.chars().take(40).collect();
            return Err(ApiError::bad(format!("There is no parameter {name:?} here.")));
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(LIMIT_DEFAULT) };
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| plain && (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| ApiError::bad(format!("limit wants a number from 1 to {LIMIT_MAX}.")))
    }

    pub fn days(&self) -> Result<i64, ApiError> {
        let Some(text) = self.get("days") else { return Ok(PERIODS[0]) };
        let days = PERIODS.into_iter().find(|days| days.to_string() == text);
        days.ok_or_else(|| ApiError::bad(format!("days wants one of {PERIODS:?}.")))
    }

    /// What [`cursor`] made.
    pub fn after(&self) -> Result<Option<String>, ApiError> {
        let Some(text) = self.get("after") else { return Ok(None) };
        let decoded =
            BASE64_URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // PostgreSQL's text has no U+0000.
        let decoded = decoded.filter(|text| !text.contains('\0'));
        decoded.map(Some).ok_or_else(|| ApiError::bad("after wants the next of an earlier answer."))
    }
}

/// Where the next page begins, as a word that says nothing.
pub fn cursor(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(raw: &str) -> Asked {
        Asked::of(Some(raw), &["limit", "days", "after"]).map_err(|_| ()).unwrap()
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(asked("").limit().map_err(|_| ()), Ok(50));
        assert_eq!(asked("limit=7").limit().map_err(|_| ()), Ok(7));
        for bad in ["limit=0", "limit=101", "limit=-1", "limit=+5", "limit=1e1", "limit="] {
            assert!(asked(bad).limit().is_err(), "{bad}");
        }
        assert_eq!(asked("days=365").days().map_err(|_| ()), Ok(365));
        assert!(asked("days=9999").days().is_err() && asked("days=-90").days().is_err());
        assert!(Asked::of(Some("page=-1"), &["limit"]).is_err());
        assert!(Asked::of(Some(&"x".repeat(10 << 20)), &["limit"]).is_err());
    }

    #[test]
    fn a_cursor_is_read_back() {
        let after = asked(&format!("after={}", cursor("acme/gateway"))).after();
        assert_eq!(after.map_err(|_| ()), Ok(Some("acme/gateway".into())));
        assert!(asked("after=%00").after().is_err() && asked("after=!").after().is_err());
    }
}
