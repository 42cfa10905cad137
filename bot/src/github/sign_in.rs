//! The App's user flow: where people sign in, and who came back. Their token is asked one question and then dropped.

use super::error::from_answer;
use super::transport::{ApiBase, connect, segment};
use super::{GitHub, GitHubError, REQUEST_TIMEOUT, git_base, wire};
use crate::clock::Clock;
use crate::pull::{Permission, Repository};
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

/// An answer with a token, or with a person's public record.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// Who somebody is to GitHub. The number stays through renames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: i64,
    pub login: String,
}

/// What it takes to let people sign in.
#[derive(Clone)]
pub struct UserFlow {
    pub api_url: String,
    pub git_url: Option<String>,
    pub client_id: String,
    pub client_secret: SecretString,
}

/// What a browser brought back from GitHub, and what it left with.
pub struct Returned<'a> {
    pub code: &'a str,
    pub verifier: &'a str,
    pub redirect: &'a str,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

impl UserFlow {
    /// Where GitHub's own pages are: beside its git.
    fn web(&self) -> Result<String, GitHubError> {
        let base = ApiBase::parse(&self.api_url)?;
        Ok(self.git_url.as_ref().map_or_else(|| git_base(&base), |url| url.trim_end_matches('/').to_owned()))
    }

    /// Where a browser is sent. `challenge` is the digest of the verifier, by PKCE.
    pub fn authorize_url(&self, state: &str, challenge: &str, redirect: &str) -> Result<String, GitHubError> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("state", state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        Ok(format!("{}/login/oauth/authorize?{query}", self.web()?))
    }

    /// Who came back with this code. GitHub takes each code once.
    pub async fn person(&self, returned: &Returned<'_>) -> Result<Person, GitHubError> {
        let web = self.web()?;
        let base = ApiBase::parse(&web)?;
        let what = "POST /login/oauth/access_token";
        let body = json!({
            "client_id": self.client_id,
            "client_secret": self.client_secret.expose_secret(),
            "code": returned.code,
            "code_verifier": returned.verifier,
            "redirect_uri": returned.redirect,
        });
        let crab = connect(&base.origin())?;
        let head =
            Request::builder().method(Method::POST).uri(format!("{}/login/oauth/access_token", base.prefix));
        let answer = exchange(what, &crab, head, Some(&body)).await?;
        let token = granted(&answer).ok_or_else(|| GitHubError::malformed(what, "no token was granted"))?;
        let api = ApiBase::parse(&self.api_url)?;
        let crab = connect(&api.origin())?
            .user_access_token(token)
            .map_err(|error| GitHubError::transient("GET /user", error.to_string()))?;
        let head = Request::builder().method(Method::GET).uri(format!("{}/user", api.prefix));
        let answer = exchange("GET /user", &crab, head, None::<&()>).await?;
        let user: wire::SignedIn = serde_json::from_slice(&answer)
            .map_err(|error| GitHubError::malformed("GET /user", error.to_string()))?;
        Ok(Person { id: user.id, login: user.login })
    }
}

/// GitHub answers JSON to who asks for it, and a form to others. A refusal is an answer of 200 with an error in it.
fn granted(answer: &[u8]) -> Option<SecretString> {
    if let Ok(granted) = serde_json::from_slice::<Granted>(answer) {
        return Some(granted.access_token.into());
    }
    let found = url::form_urlencoded::parse(answer).find(|(name, _)| name == "access_token");
    found.map(|(_, token)| token.into_owned().into())
}

async fn exchange<B: serde::Serialize + ?Sized>(
    what: &str,
    crab: &octocrab::Octocrab,
    head: http::request::Builder,
    body: Option<&B>,
) -> Result<bytes::Bytes, GitHubError> {
    let unsent = |why: String| GitHubError::transient(what, why);
    let request = crab.build_request(head, body).map_err(|error| unsent(error.to_string()))?;
    let exchange = async {
        let response = crab.execute(request).await.map_err(|error| unsent(error.to_string()))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
        Ok((parts, body.map_err(|error| unsent(error.to_string()))?.to_bytes()))
    };
    let settled = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await;
    let (parts, body) = settled.unwrap_or_else(|_| Err(unsent("no answer in time".into())))?;
    match parts.status.is_success() {
        true => Ok(body),
        false => Err(from_answer(what, parts.status, &parts.headers, &body, Clock::system().now_ms())),
    }
}

impl GitHub {
    /// What a person may do on a repository, by GitHub's answer to the App. Logins are given on: who has this login now
    /// and is somebody else may do nothing.
    pub async fn permission_of(&self, repo: &Repository, person: &Person) -> Result<Permission, GitHubError> {
        let path = format!(
            "{}/collaborators/{}/permission",
            super::pulls::repo_path(&repo.name),
            segment(&person.login)
        );
        match self.get::<wire::PermissionAnswer>(repo.installation, &path).await {
            Ok(answer) if answer.user.as_ref().is_some_and(|user| user.id == person.id) => {
                Ok(super::pulls::permission_of(&answer))
            }
            Ok(_) | Err(GitHubError::NotFound { .. }) => Ok(Permission::None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_json_or_as_a_form() {
        let token = |answer: &str| granted(answer.as_bytes()).map(|token| token.expose_secret().to_owned());
        assert_eq!(token(r#"{"access_token":"ghu_1","token_type":"bearer"}"#).as_deref(), Some("ghu_1"));
        assert_eq!(token("access_token=ghu_2&scope=&token_type=bearer").as_deref(), Some("ghu_2"));
        assert_eq!(token(r#"{"error":"bad_verification_code"}"#), None);
        assert_eq!(token(""), None);
    }

    #[test]
    fn a_browser_is_sent_to_githubs_own_pages() {
        let flow = UserFlow {
            api_url: "https://ghe.example/api/v3".into(),
            git_url: None,
            client_id: "Iv1.a&b".into(),
            client_secret: "s".to_owned().into(),
        };
        let url = flow.authorize_url("st", "ch", "https://p.example/sign-in/callback").unwrap();
        assert!(url.starts_with("https://ghe.example/login/oauth/authorize?client_id=Iv1.a%26b&"), "{url}");
        assert!(url.contains("code_challenge=ch&code_challenge_method=S256"), "{url}");
    }
}
