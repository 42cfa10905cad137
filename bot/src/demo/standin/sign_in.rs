//! The user flow: a browser is sent to authorize, comes back with a code, and the code is good for a token once.

use super::access::Caller;
use super::answer::Answer;
use super::call::Call;
use super::state::Code;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::Digest;

/// Whoever sits at the browser agrees at once.
pub(super) fn authorize(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let given = |name: &str| call.asked.query.get(name).cloned().unwrap_or_default();
    let app = app_of(call, &given("client_id"))?;
    let login =
        call.state.at_the_browser.clone().ok_or_else(|| Answer::refuse(401, "Nobody is at the browser"))?;
    let (redirect, challenge) = (given("redirect_uri"), given("code_challenge"));
    if given("code_challenge_method") != "S256" || challenge.is_empty() || redirect.is_empty() {
        return Err(Answer::refuse(400, "PKCE is wanted here"));
    }
    let code = hex::encode(rand::random::<[u8; 10]>());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", &given("state"))
        .finish();
    let mut answer = Answer::refuse(302, "Found");
    answer.headers.push(("location", format!("{redirect}?{query}")));
    call.state.codes.insert(code, Code { app, login, challenge, redirect });
    Ok(answer)
}

/// As on GitHub, a refusal is an answer of 200 with an error in it.
pub(super) fn access_token(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let sent = call.asked.json()?;
    let text = |name: &str| sent[name].as_str().unwrap_or_default().to_owned();
    let refused = |why: &str| Answer::ok(json!({ "error": why }));
    let app = app_of(call, &text("client_id"))?;
    // The stand-in gives an App one secret for both purposes.
    if call.state.apps[&app].webhook_secret != text("client_secret") {
        return Ok(refused("incorrect_client_credentials"));
    }
    let Some(code) = call.state.codes.remove(&text("code")) else {
        return Ok(refused("bad_verification_code"));
    };
    let digest = BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text("code_verifier").as_bytes()));
    if code.app != app || code.challenge != digest || code.redirect != text("redirect_uri") {
        return Ok(refused("bad_verification_code"));
    }
    let token = format!("ghu_{}", hex::encode(rand::random::<[u8; 18]>()));
    call.state.people.insert(token.clone(), code.login);
    Ok(Answer::ok(json!({ "access_token": token, "token_type": "bearer", "scope": "" })))
}

pub(super) fn user(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let Caller::Person(id) = call.caller else { return Err(Answer::refuse(401, "Requires authentication")) };
    let login = call.state.users.iter().find(|(_, known)| **known == id).map(|(login, _)| login.clone());
    let user: Value = super::json::user(call.state, &login.ok_or_else(Answer::not_found)?);
    Ok(Answer::ok(user))
}

fn app_of(call: &Call<'_>, client_id: &str) -> Result<u64, Answer> {
    let app = client_id.strip_prefix("Iv1.").and_then(|id| id.parse().ok());
    app.filter(|app| call.state.apps.contains_key(app)).ok_or_else(Answer::not_found)
}
