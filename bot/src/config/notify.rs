//! Who else is told of what got slower.

use crate::error::UserError;
use crate::notify::address;
use secrecy::{ExposeSecret, SecretString};

/// Addresses that are told: a chat, a pager, a team's own program. More of them want a program of their own that passes on.
const URLS_MAX: usize = 10;
/// Digits of a random secret in base 64; what is shorter could be guessed from one notice.
const SECRET_MIN_CHARS: usize = 16;

/// The owner's settings. Without an address nobody is told.
#[derive(Clone, Debug, Default)]
pub struct NotifyConfig {
    pub urls: Vec<String>,
    /// Signs what is sent.
    pub secret: Option<SecretString>,
    /// Whether an address may lead into private networks and to this machine.
    pub private: bool,
}

impl NotifyConfig {
    /// `urls` separated by commas or spaces.
    pub fn new(urls: Option<&str>, secret: Option<String>, private: bool) -> Result<Self, UserError> {
        let urls = urls.unwrap_or_default().split([',', ' ', '\n']).map(str::trim);
        let urls: Vec<String> = urls.filter(|url| !url.is_empty()).map(str::to_owned).collect();
        if urls.len() > URLS_MAX {
            return Err(UserError::new(format!("PACELINE_NOTIFY_URLS has more than {URLS_MAX} addresses")));
        }
        for url in &urls {
            address::check(url, private)
                .map_err(|why| UserError::new(format!("PACELINE_NOTIFY_URLS has {url:?}: {why}")))?;
        }
        let secret = secret.filter(|secret| !secret.is_empty()).map(SecretString::from);
        match &secret {
            None if !urls.is_empty() => Err(UserError::new(
                "PACELINE_NOTIFY_URLS wants a secret that signs what is sent, in PACELINE_NOTIFY_SECRET or \
                 PACELINE_NOTIFY_SECRET_FILE",
            )),
            Some(secret) if secret.expose_secret().chars().count() < SECRET_MIN_CHARS => {
                Err(UserError::new(format!(
                    "PACELINE_NOTIFY_SECRET is shorter than {SECRET_MIN_CHARS} characters: it could be guessed"
                )))
            }
            _ => Ok(Self { urls, secret, private }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_want_a_secret_and_public_places() {
        let new = |urls, secret: Option<&str>, private| {
            NotifyConfig::new(Some(urls), secret.map(str::to_owned), private).map(|config| config.urls)
        };
        let secret = Some("0123456789abcdef");
        let two = new("https://a.example/x, https://b.example", secret, false).unwrap();
        assert_eq!(two, ["https://a.example/x", "https://b.example"]);
        assert_eq!(new("", None, false).unwrap(), [""; 0]);
        assert!(new("http://127.0.0.1:9/", secret, true).is_ok());
        for (urls, secret) in [
            ("https://a.example", None),
            ("https://a.example", Some("short")),
            ("http://127.0.0.1:9/", secret),
            ("ftp://a.example", secret),
            ("not a URL", secret),
        ] {
            assert!(new(urls, secret, false).is_err(), "{urls}");
        }
        assert!(new(&"https://a.example ".repeat(URLS_MAX + 1), secret, false).is_err());
    }
}
