//! An App's RSA key pair, and checking the JWTs that it signed.

use super::answer::Answer;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::SecretString;
use serde::Deserialize;

/// GitHub's limit of a JWT's life.
const LIFE_MAX_S: i64 = 600;
/// How far GitHub lets a clock be ahead of its own.
const AHEAD_MAX_S: i64 = 60;

/// The private key as PEM and the public key as PKCS#1 DER.
pub(super) fn generate() -> anyhow::Result<(SecretString, Vec<u8>)> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let der: Pkcs8V1Der<'_> = pair.as_der()?;
    let text = BASE64_STANDARD.encode(der.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| *b as char));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok((SecretString::from(pem), pair.public_key().as_ref().to_vec()))
}

#[derive(Deserialize)]
struct Claims {
    iat: Option<i64>,
    exp: Option<i64>,
    iss: Option<serde_json::Value>,
}

/// The App that signed, or GitHub's refusal. `public_key_of` gives the PKCS#1 DER of an App's key.
pub(super) fn verify(
    jwt: &str,
    now_ms: i64,
    public_key_of: impl Fn(u64) -> Option<Vec<u8>>,
) -> Result<u64, Answer> {
    let undecodable = || Answer::refuse(401, "A JSON web token could not be decoded");
    // The issuer says whose key to check with, so it is read first and believed last.
    let unchecked: Claims = jwt
        .split('.')
        .nth(1)
        .and_then(|part| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(undecodable)?;
    let issuer = unchecked.iss.as_ref().and_then(|iss| match iss {
        serde_json::Value::Number(n) => n.as_u64(),
        serde_json::Value::String(s) => s.parse().ok(),
        _ => None,
    });
    let app = issuer.ok_or_else(|| Answer::refuse(401, "'Issuer' claim ('iss') must be an Integer"))?;
    let key = public_key_of(app).ok_or_else(|| Answer::refuse(404, "Integration not found"))?;
    let mut validation = Validation::new(Algorithm::RS256);
    // Times are checked below, against the stand-in's clock.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<serde_json::Value>(jwt, &DecodingKey::from_rsa_der(&key), &validation)
        .map_err(|_| undecodable())?;
    let now = now_ms / 1000;
    let issued = unchecked.iat.ok_or_else(|| Answer::refuse(401, "Missing 'issued at' claim ('iat')"))?;
    let expires = unchecked.exp.ok_or_else(|| Answer::refuse(401, "Missing 'expiration' claim ('exp')"))?;
    if issued > now + AHEAD_MAX_S {
        return Err(Answer::refuse(
            401,
            "'Issued at' claim ('iat') must be an Integer representing a time in the past",
        ));
    }
    if expires <= now {
        return Err(Answer::refuse(
            401,
            "'Expiration time' claim ('exp') must be a numeric value in the future",
        ));
    }
    if expires > now + LIFE_MAX_S {
        return Err(Answer::refuse(401, "'Expiration time' claim ('exp') is too far in the future"));
    }
    Ok(app)
}
