//! The stand-in itself: it must refuse what GitHub refuses, or the other tests prove nothing.

use crate::scene::Scene;
use bot::demo::standin::{Covered, NewRepository};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or("")
    }
}

async fn ask(method: Method, url: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

fn jwt(scene: &Scene, claims: Value) -> String {
    let key = EncodingKey::from_rsa_pem(scene.app.private_key.expose_secret().as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
}

/// `Bearer` with a fresh installation token.
async fn bearer(scene: &Scene) -> String {
    let now = scene.clock.now_ms() / 1000;
    let jwt = jwt(scene, json!({ "iss": scene.app.app_id, "iat": now, "exp": now + 60 }));
    let url = format!("{}/app/installations/{}/access_tokens", scene.standin.url(), scene.installation.0);
    let answer = ask(Method::POST, &url, &[("authorization", &format!("Bearer {jwt}"))], &Value::Null).await;
    assert_eq!(answer.status, 201);
    format!("Bearer {}", answer.body["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_jwt_is_believed_only_when_all_of_it_is_right() {
    let scene = Scene::new().await;
    let url = format!("{}/app", scene.standin.url());
    let now = scene.clock.now_ms() / 1000;
    let app = scene.app.app_id;
    let cases = [
        (json!({ "iss": app, "iat": now, "exp": now + 600 }), 200),
        (json!({ "iss": app.to_string(), "iat": now - 60, "exp": now + 540 }), 200),
        (json!({ "iss": app, "iat": now, "exp": now + 601 }), 401),
        (json!({ "iss": app, "iat": now - 100, "exp": now }), 401),
        (json!({ "iss": app, "iat": now + 120, "exp": now + 300 }), 401),
        (json!({ "iss": app, "iat": now }), 401),
        (json!({ "iss": app, "exp": now + 60 }), 401),
        (json!({ "iat": now, "exp": now + 60 }), 401),
        (json!({ "iss": app + 1, "iat": now, "exp": now + 60 }), 404),
    ];
    for (claims, status) in cases {
        let header = format!("Bearer {}", jwt(&scene, claims.clone()));
        assert_eq!(
            ask(Method::GET, &url, &[("authorization", &header)], &Value::Null).await.status,
            status,
            "{claims}"
        );
    }
    // Right claims under a signature that anybody can make.
    let claims = json!({ "iss": app, "iat": now, "exp": now + 60 });
    let forged =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"x"));
    let header = format!("Bearer {}", forged.unwrap());
    assert_eq!(ask(Method::GET, &url, &[("authorization", &header)], &Value::Null).await.status, 401);
    assert_eq!(ask(Method::GET, &url, &[], &Value::Null).await.status, 401);
}

#[tokio::test]
async fn tokens_expire_and_reach_no_further_than_their_installation() {
    let scene = Scene::new().await;
    let token = bearer(&scene).await;
    let auth = [("authorization", token.as_str())];
    let url = scene.standin.url();
    let hidden = scene.standin.create_repository(&NewRepository::named("acme/hidden").unwrap()).unwrap();
    let mut open = NewRepository::named("acme/open").unwrap();
    open.private = false;
    scene.standin.create_repository(&open).unwrap();
    let status = async |method: Method, path: &str, auth: &[(&str, &str)]| {
        ask(method, &format!("{url}{path}"), auth, &json!({ "body": "x" })).await.status
    };
    assert_eq!(status(Method::GET, "/repos/acme/gateway", &auth).await, 200);
    assert_eq!(status(Method::GET, "/repos/acme/gateway", &[]).await, 404);
    assert_eq!(status(Method::GET, "/repos/acme/hidden", &auth).await, 404);
    assert_eq!(status(Method::GET, "/repos/acme/open", &auth).await, 200);
    assert_eq!(status(Method::GET, "/repos/acme/open", &[]).await, 200);
    assert_eq!(status(Method::POST, "/repos/acme/open/issues/1/comments", &auth).await, 403);
    assert_eq!(status(Method::POST, "/repos/acme/open/issues/1/comments", &[]).await, 401);
    assert_eq!(
        status(Method::GET, "/repos/acme/gateway", &[("authorization", "Bearer ghs_none")]).await,
        401
    );
    scene.standin.cover(scene.installation, hidden, Covered::Yes);
    assert_eq!(status(Method::GET, "/repos/acme/hidden", &auth).await, 200);
    scene.standin.grant(scene.installation, "pull_requests", None);
    assert_eq!(status(Method::GET, "/repos/acme/gateway/pulls", &auth).await, 403);
    scene.clock.advance(3_600_000);
    assert_eq!(status(Method::GET, "/repos/acme/gateway", &auth).await, 401);
}

#[tokio::test]
async fn check_runs_are_refused_as_on_github() {
    let scene = Scene::new().await;
    let (_, head) = scene.pull();
    let token = bearer(&scene).await;
    let auth = [("authorization", token.as_str())];
    let url = format!("{}/repos/acme/gateway/check-runs", scene.standin.url());
    let annotation = json!({
        "path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m",
    });
    let output = |field: &str, value: Value| {
        let mut output = json!({ "title": "t", "summary": "s" });
        output[field] = value;
        json!({ "name": "n", "head_sha": head, "output": output })
    };
    let bad_lines = json!([{ "path": "a", "start_line": 2, "end_line": 1, "annotation_level": "notice", "message": "m" }]);
    let cases = [
        (json!({ "name": "n", "head_sha": head }), 201),
        (output("annotations", Value::Array(vec![annotation.clone(); 50])), 201),
        (output("annotations", Value::Array(vec![annotation.clone(); 51])), 422),
        (output("annotations", bad_lines), 422),
        (output("text", json!("é".repeat(65_535))), 201),
        (output("text", json!("é".repeat(65_536))), 422),
        (output("summary", Value::Null), 422),
        (json!({ "name": "n", "head_sha": "0123456789012345678901234567890123456789" }), 422),
        (json!({ "name": "n", "head_sha": "main" }), 422),
        (json!({ "head_sha": head }), 422),
        (json!({ "name": "n", "head_sha": head, "status": "completed" }), 422),
        (json!({ "name": "n", "head_sha": head, "status": "sleeping" }), 422),
        (json!({ "name": "n", "head_sha": head, "conclusion": "great" }), 422),
        (json!({ "name": "n", "head_sha": head, "actions": [{ "label": "x" }] }), 422),
    ];
    for (body, status) in cases {
        let answer = ask(Method::POST, &url, &auth, &body).await;
        let shown: String = body.to_string().chars().take(120).collect();
        assert_eq!(answer.status, status, "{shown}: {}", answer.body);
    }
    assert_eq!(scene.standin.check_runs(scene.repo).len(), 3, "a refused request leaves nothing");
    let missing = ask(Method::PATCH, &format!("{url}/1"), &auth, &json!({ "status": "queued" })).await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn pages_link_to_each_other_and_what_is_known_is_not_sent_again() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    for n in 0..5 {
        scene.standin.comment_as(scene.repo, number, "bob", &format!("{n}"));
    }
    let token = bearer(&scene).await;
    let auth = [("authorization", token.as_str())];
    let url =
        format!("{}/repos/acme/gateway/issues/{number}/comments?per_page=2", scene.standin.enterprise_url());
    let first = ask(Method::GET, &url, &auth, &Value::Null).await;
    let link = first.headers["link"].to_str().unwrap().to_owned();
    let next = link.split('>').next().unwrap().trim_start_matches('<').to_owned();
    let expected = format!("{}/repositories/{}/issues/", scene.standin.enterprise_url(), scene.repo.0);
    assert!(next.starts_with(&expected) && link.contains("rel=\"last\""), "{link}");
    let second = ask(Method::GET, &next, &auth, &Value::Null).await;
    let bodies: Vec<_> =
        second.body.as_array().unwrap().iter().map(|c| c["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["2", "3"]);
    assert_eq!(ask(Method::GET, &next, &[], &Value::Null).await.status, 404);

    let tag = second.headers["etag"].to_str().unwrap().to_owned();
    let known = [("authorization", token.as_str()), ("if-none-match", &tag)];
    let again = ask(Method::GET, &next, &known, &Value::Null).await;
    assert_eq!((again.status, again.body), (304, Value::Null));
    scene.standin.delete_comment(scene.repo, scene.standin.comments(scene.repo, number)[2].id);
    assert_eq!(ask(Method::GET, &next, &known, &Value::Null).await.status, 200);
    let remaining = again.headers["x-ratelimit-remaining"].to_str().unwrap();
    assert!(remaining.parse::<u32>().unwrap() < 5_000);
}

#[tokio::test]
async fn comments_are_refused_as_on_github() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let token = bearer(&scene).await;
    let auth = [("authorization", token.as_str())];
    let url = format!("{}/repos/acme/gateway/issues", scene.standin.url());
    for (body, status) in [("x".repeat(65_536), 201), ("x".repeat(65_537), 422), (" ".into(), 422)] {
        let answer =
            ask(Method::POST, &format!("{url}/{number}/comments"), &auth, &json!({ "body": body })).await;
        assert_eq!(answer.status, status, "{}", answer.message());
    }
    let foreign = scene.standin.comment_as(scene.repo, number, "bob", "mine");
    let answer =
        ask(Method::PATCH, &format!("{url}/comments/{foreign}"), &auth, &json!({ "body": "ours" })).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        ask(Method::POST, &format!("{url}/999/comments"), &auth, &json!({ "body": "x" })).await.status,
        404
    );
}

#[tokio::test]
async fn git_wants_a_token_and_only_gives() {
    use base64::Engine;
    let scene = Scene::new().await;
    let token = bearer(&scene).await;
    let basic = format!("x-access-token:{}", token.trim_start_matches("Bearer "));
    let basic = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(basic));
    let url = format!("{}/acme/gateway.git", scene.standin.url());
    let fetch = format!("{url}/info/refs?service=git-upload-pack");
    let refused = ask(Method::GET, &fetch, &[], &Value::Null).await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    let auth = [("authorization", basic.as_str())];
    assert_eq!(ask(Method::GET, &fetch, &auth, &Value::Null).await.status, 200);
    let push = format!("{url}/info/refs?service=git-receive-pack");
    assert_eq!(ask(Method::GET, &push, &auth, &Value::Null).await.status, 404);
    scene.standin.grant(scene.installation, "contents", None);
    assert_eq!(ask(Method::GET, &fetch, &auth, &Value::Null).await.status, 403);
}
