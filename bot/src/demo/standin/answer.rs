//! One request as the stand-in reads it, one answer as GitHub would give it: refusals, pages, ETags.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::Digest;
use std::collections::BTreeMap;

/// GitHub's pages when nobody says otherwise, and at most.
const PER_PAGE_DEFAULT: usize = 30;
const PER_PAGE_MAX: usize = 100;

/// A request, taken apart.
pub(super) struct Asked {
    pub method: Method,
    /// `http://127.0.0.1:PORT`, with `/api/v3` when it was asked that way.
    pub base: String,
    /// Decoded segments of the path, without the prefix.
    pub segments: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub(super) fn json(&self) -> Result<Value, Answer> {
        match serde_json::from_slice(&self.body) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(Answer::refuse(422, "Invalid request. The body must be an object.")),
            Err(_) => Err(Answer::refuse(400, "Problems parsing JSON")),
        }
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: 200, body, headers: Vec::new() }
    }

    pub(super) fn created(body: Value) -> Self {
        Self { status: 201, body, headers: Vec::new() }
    }

    pub(super) fn refuse(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        });
        Self { status, body, headers: Vec::new() }
    }

    /// GitHub's way to say which field was wrong.
    pub(super) fn invalid(resource: &str, field: &str, why: &str) -> Self {
        let mut answer = Self::refuse(422, "Validation Failed");
        answer.body["errors"] =
            json!([{ "resource": resource, "field": field, "code": "custom", "message": why }]);
        answer
    }

    pub(super) fn not_found() -> Self {
        Self::refuse(404, "Not Found")
    }

    /// One page of `items`, with absolute links to the others. As on GitHub, those name a repository by its number.
    pub(super) fn page(
        asked: &Asked,
        path: &str,
        items: Vec<Value>,
        wrap: impl Fn(usize, Vec<Value>) -> Value,
    ) -> Self {
        let number =
            |name: &str| asked.query.get(name).and_then(|v| v.parse::<usize>().ok()).filter(|v| *v > 0);
        let per_page = number("per_page").unwrap_or(PER_PAGE_DEFAULT).min(PER_PAGE_MAX);
        let page = number("page").unwrap_or(1);
        let (total, last) = (items.len(), items.len().div_ceil(per_page).max(1));
        let link = |to: usize, relation: &str| {
            let mut query = asked.query.clone();
            query.insert("per_page".into(), per_page.to_string());
            query.insert("page".into(), to.to_string());
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
            format!("<{}{path}?{query}>; rel=\"{relation}\"", asked.base)
        };
        let mut links = Vec::new();
        if page > 1 {
            links.extend([link(page - 1, "prev"), link(1, "first")]);
        }
        if page < last {
            links.extend([link(page + 1, "next"), link(last, "last")]);
        }
        let shown = items.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
        let mut answer = Self::ok(wrap(total, shown));
        if !links.is_empty() {
            answer.headers.push(("link", links.join(", ")));
        }
        answer
    }

    /// As HTTP, with an ETag on what was read and 304 for whoever has it already.
    pub(super) fn into_response(self, asked: &Asked) -> Response<Body> {
        let bytes = self.body.to_string().into_bytes();
        let tag = format!("W/\"{}\"", hex::encode(sha2::Sha256::digest(&bytes)));
        let reading = asked.method == Method::GET && self.status == 200;
        let known = asked.headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes());
        let status = if reading && known { 304 } else { self.status };
        let mut response =
            Response::builder().status(status).header("x-github-media-type", "github.v3; format=json");
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        if reading {
            response = response.header(header::ETAG, tag);
        }
        let body = match status {
            304 => Body::empty(),
            _ => {
                response = response.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
                Body::from(bytes)
            }
        };
        response.body(body).unwrap_or_else(|_| {
            let mut broken = Response::new(Body::empty());
            *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            broken
        })
    }
}
