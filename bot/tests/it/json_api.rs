//! The API through its door: every address that is described answers, pages are walked, answers are not sent twice.

use crate::database::{On, on_both};
use crate::people::{Past, fill};
use crate::seed::{Seeded, base, job_id, sha};
use crate::world::{Wishes, World, request};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bot::db::repositories;
use bot::pull::RepoId;
use bot::web::api::openapi::{DOCUMENT, ENDPOINTS};
use bot::web::pages::{self, Site};
use serde_json::Value;
use std::collections::BTreeSet;
use tower::ServiceExt;

on_both!(
    every_address_that_is_described_answers_as_described,
    lists_are_walked_by_their_cursors,
    what_has_not_changed_is_not_sent_again,
    what_cannot_be_read_is_refused_in_words,
    health_says_how_each_number_came_about,
    a_person_has_a_record,
    badges_are_drawn_here,
    a_question_of_ten_megabytes_is_refused_and_harms_nobody,
);

async fn busy(on: On) -> Seeded {
    let seeded = Seeded::working_day(on).await;
    let gateway = repositories::by_id(seeded.db().pool(), RepoId(1)).await.unwrap().unwrap();
    fill(&seeded, &gateway, Past { pulls: 40, people: 8, days: 200 }).await;
    seeded
}

async fn get(seeded: &Seeded, path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let mut request = Request::get(path);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn json(seeded: &Seeded, path: &str) -> Value {
    let (status, _, body) = get(seeded, path, None).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Holds a value against a schema, as far as our own schemas go.
fn fits(value: &Value, schema: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = DOCUMENT.pointer(name.trim_start_matches('#')).unwrap();
        return fits(value, target, place);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(all) = schema[choice].as_array() {
            let fitting = |one: &&Value| std::panic::catch_unwind(|| fits(value, one, place)).is_ok();
            assert!(all.iter().find(fitting).is_some(), "{place} fits none of {all:?}: {value}");
            return;
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let number = kind == "integer" && kinds.contains(&"number");
    assert!(kinds.contains(&kind) || number, "{place} is {kind}, not {kinds:?}");
    if let Some(object) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(object.contains_key(required.as_str().unwrap()), "{place} lacks {required}");
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, inner) in object {
                if let Some(schema) = properties.get(name) {
                    fits(inner, schema, &format!("{place}.{name}"));
                }
            }
        }
    }
    if let (Some(items), schema @ Value::Object(_)) = (value.as_array(), &schema["items"]) {
        for (index, item) in items.iter().enumerate() {
            fits(item, schema, &format!("{place}[{index}]"));
        }
    }
}

async fn every_address_that_is_described_answers_as_described(on: On) {
    let seeded = busy(on).await;
    for endpoint in &ENDPOINTS {
        let path = endpoint
            .path
            .replace("{owner}", "acme")
            .replace("{name}", "gateway")
            .replace("{number}", "17")
            .replace("{login}", "alice")
            .replace("{job}", &job_id(2).0)
            .replace("{range}", &format!("{}...{}", base(), sha('d')));
        let value = json(&seeded, &path).await;
        let schema = &DOCUMENT["paths"][endpoint.path]["get"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        fits(&value, schema, endpoint.path);
    }
}

async fn lists_are_walked_by_their_cursors(on: On) {
    let seeded = busy(on).await;
    for (list, name) in [
        ("/api/v1/repositories", "name"),
        ("/api/v1/repositories/acme/gateway/pulls", "number"),
        ("/api/v1/repositories/acme/gateway/contributors", "login"),
    ] {
        let all = json(&seeded, &format!("{list}?limit=100")).await;
        let expected: Vec<String> =
            all["items"].as_array().unwrap().iter().map(|item| item[name].to_string()).collect();
        assert!(all["next"].is_null() && expected.len() > 2, "{list}: {all}");
        let (mut walked, mut after) = (Vec::new(), String::new());
        loop {
            let page = json(&seeded, &format!("{list}?limit=2{after}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            walked.extend(items.iter().map(|item| item[name].to_string()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(walked, expected, "{list}");
        let unique: BTreeSet<_> = walked.iter().collect();
        assert_eq!(unique.len(), walked.len());
    }
    let names = json(&seeded, "/api/v1/repositories").await.to_string();
    assert!(!names.contains("secret-sauce"), "{names}");
}

async fn what_has_not_changed_is_not_sent_again(on: On) {
    let seeded = busy(on).await;
    let path = "/api/v1/repositories/acme/gateway/health";
    let (_, headers, body) = get(&seeded, path, None).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert!(!body.is_empty() && headers.contains_key("ratelimit-remaining"));
    let (status, headers, body) = get(&seeded, path, Some(&format!("\"x\", W/{tag}"))).await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(headers["etag"], tag.as_str());
    let (status, ..) = get(&seeded, path, Some("\"other\"")).await;
    assert_eq!(status, StatusCode::OK);
}

async fn what_cannot_be_read_is_refused_in_words(on: On) {
    let seeded = busy(on).await;
    let gateway = "/api/v1/repositories/acme/gateway";
    for bad in [
        "/api/v1/repositories?limit=0".to_owned(),
        "/api/v1/repositories?page=-1".into(),
        format!("{gateway}/pulls?after=%21"),
        format!("{gateway}/pulls?after=YWJj"),
        format!("{gateway}/pulls?limit=99999999999999999999"),
        format!("{gateway}/health?days=9999"),
        format!("{gateway}/health?{}", "x".repeat(50_000)),
        format!("{gateway}/contributors/alice?days=-30"),
    ] {
        let (status, _, body) = get(&seeded, &bad, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{}", &bad[..bad.len().min(100)]);
        let error: Value = serde_json::from_str(&body).unwrap();
        assert!(error["message"].as_str().unwrap().ends_with('.'), "{body}");
    }
    for gone in [
        "/api/v1/nonsense",
        "/api/v1/runs/1",
        &format!("{gateway}/contributors/%3Cb%3E"),
        &format!("{gateway}/pulls/0"),
    ] {
        assert_eq!(get(&seeded, gone, None).await.0, StatusCode::NOT_FOUND, "{gone}");
    }
    // Pages guess instead: whatever is wrong shows the whole.
    for odd in ["?days=9999", "?days=-1", "?days=%00", &format!("?x={}", "y".repeat(60_000))] {
        let (status, ..) = get(&seeded, &format!("/acme/gateway/contributors{odd}"), None).await;
        assert_eq!(status, StatusCode::OK);
    }
}

async fn health_says_how_each_number_came_about(on: On) {
    let seeded = busy(on).await;
    let health = json(&seeded, "/api/v1/repositories/acme/gateway/health?days=365").await;
    for measure in health["measures"].as_array().unwrap() {
        assert!(measure["definition"].as_str().unwrap().len() > 20, "{measure}");
        let known = measure["value"].is_number();
        assert!(known || measure["value"].is_null());
        for end in ["low", "high"].map(|end| measure[end].as_f64()) {
            assert!(end.is_none() || known, "{measure}");
        }
    }
    let find = |id: &str| {
        health["measures"].as_array().unwrap().iter().find(|measure| measure["id"] == id).unwrap().clone()
    };
    assert!(find("first-response-p50")["n"].as_u64().unwrap() >= 40);
    assert!(find("absence-factor")["value"].as_f64().unwrap() >= 1.0);
    let body = get(&seeded, "/acme/gateway/contributors?days=365", None).await.2;
    for words in ["Contributor absence factor", "95 % interval", "What this is", "1,5", "paceline"] {
        assert!(body.contains(words), "{words}");
    }
    assert!(!body.contains("NaN") && !body.contains("inf "));
}

async fn a_person_has_a_record(on: On) {
    let seeded = busy(on).await;
    let record = json(&seeded, "/api/v1/repositories/acme/gateway/contributors/ALICE?days=365").await;
    let impact = record["impact"].as_array().unwrap();
    // Of the seeded runs: one slower and one faster on #17, one faster on #12.
    assert_eq!(impact.len(), 3, "{impact:?}");
    assert_eq!(impact.iter().filter(|one| one["faster"] == true).count(), 2);
    let page = get(&seeded, "/acme/gateway/contributors/alice?days=365", None).await.2;
    assert!(page.contains("Performance impact") && page.contains("route/match/1000"), "{page}");
    let (status, ..) = get(&seeded, "/acme/gateway/contributors/nobody-at-all", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn badges_are_drawn_here(on: On) {
    let seeded = busy(on).await;
    for what in ["stars", "forks", "watchers", "response", "absence", "closure", "acceptance", "newcomers"] {
        let (status, headers, body) = get(&seeded, &format!("/acme/gateway/badge/{what}.svg"), None).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "image/svg+xml"));
        assert!(body.starts_with("<svg") && !body.contains("href"), "{body}");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
    }
    assert!(get(&seeded, "/acme/gateway/badge/stars.svg", None).await.2.contains(">1,560<"));
    for none in ["nonsense.svg", "stars", "stars.png"] {
        let (status, ..) = get(&seeded, &format!("/acme/gateway/badge/{none}"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{none}");
    }
}

async fn a_question_of_ten_megabytes_is_refused_and_harms_nobody(on: On) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new(on, Wishes::default()).await;
    for path in ["/", "/acme/widgets/contributors", "/api/v1/repositories"] {
        let mut stream = tokio::net::TcpStream::connect(world.server.address).await.unwrap();
        let head = format!("GET {path}?x={} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(10 << 20));
        // The server may end the connection before it has read all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{}",
            &answer[..answer.len().min(200)]
        );
    }
    let (status, _) = request("GET", &world.url("/api/v1/repositories"), &[], Vec::new()).await;
    assert_eq!(status, 200);
}
