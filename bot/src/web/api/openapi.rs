//! The API described by OpenAPI 3.1, whose schemas are JSON Schema: the types' own, as everywhere else here.

use super::handlers::{Page, PullItem, RepositoryItem};
use super::query::LIMIT_MAX;
use crate::compared::Compared;
use crate::contributors::PERIODS;
use crate::judgement::Run;
use crate::measures::health::{Counts, Health};
use crate::measures::people::Person;
use crate::measures::person::PersonRecord;
use crate::service::Service;
use crate::story::Story;
use crate::web::pages::calibration::RunnerCalibration;
use axum::Json;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// One address.
pub struct Endpoint {
    pub path: &'static str,
    pub summary: &'static str,
    /// Names of the query's parameters.
    pub query: &'static [&'static str],
    answer: fn(&mut SchemaGenerator) -> Schema,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json!({ "type": "object" }).try_into().unwrap_or_default()
}

/// All of them.
pub const ENDPOINTS: [Endpoint; 15] = [
    Endpoint { path: "/api/v1/openapi.json", summary: "This description", query: &[], answer: anything },
    Endpoint {
        path: "/api/v1/repositories",
        summary: "Repositories that you may read, by name",
        query: &["limit", "after"],
        answer: of::<Page<RepositoryItem>>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}",
        summary: "One repository",
        query: &[],
        answer: of::<RepositoryItem>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/pulls",
        summary: "Pull requests, the newest first",
        query: &["limit", "after"],
        answer: of::<Page<PullItem>>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/pulls/{number}",
        summary: "The run of a pull request's present head",
        query: &[],
        answer: of::<Run>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/pulls/{number}/story",
        summary: "What happened to a pull request, in order of time",
        query: &[],
        answer: of::<Story>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/health",
        summary: "A repository's measures, each with its definition, N, interval and trend",
        query: &["days"],
        answer: of::<Health>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/contributors",
        summary: "People who contributed in the period, who gave most first",
        query: &["days", "limit", "after"],
        answer: of::<Page<Person>>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/contributors/{login}",
        summary: "One person's record",
        query: &["days"],
        answer: of::<PersonRecord>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/calibration",
        summary: "What runners made of no change at all, benchmark by benchmark",
        query: &[],
        answer: of::<Vec<RunnerCalibration>>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/counts",
        summary: "Stars, forks and watchers by the hour, the oldest first",
        query: &["days"],
        answer: of::<Vec<Counts>>,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/history",
        summary: "One series along the default branch, with its change points; without a name, all series",
        query: &["suite", "benchmark", "metric", "from", "to"],
        answer: anything,
    },
    Endpoint {
        path: "/api/v1/repositories/{owner}/{name}/compare/{range}",
        summary: "What two commits differ by, from a run of both or from the history",
        query: &[],
        answer: of::<Compared>,
    },
    Endpoint { path: "/api/v1/runs/{job}", summary: "One run", query: &[], answer: of::<Run> },
    Endpoint {
        path: "/api/v1/service",
        summary: "How well the server serves",
        query: &[],
        answer: of::<Service>,
    },
];

/// What an answer that is none looks like.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes what the pages' errors are made of")]
struct Refusal {
    error: String,
    message: String,
    /// To quote, where the server's log has more.
    id: Option<String>,
}

/// `GET /api/v1/openapi.json`
pub async fn serve() -> Json<Value> {
    Json(DOCUMENT.clone())
}

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let refusal = generator.subschema_for::<Refusal>();
    let mut paths = serde_json::Map::new();
    for endpoint in &ENDPOINTS {
        let answer = (endpoint.answer)(&mut generator);
        let refused = |words: &str| json!({ "description": words, "content": { "application/json": { "schema": refusal } } });
        let mut responses = json!({
            "200": { "description": endpoint.summary, "content": { "application/json": { "schema": answer } },
                     "headers": { "ETag": { "schema": { "type": "string" } } } },
            "304": { "description": "Not changed since the answer with the ETag of If-None-Match" },
            "400": refused("The query cannot be read"),
            "404": refused("No such thing, or none that you may know of"),
            "429": refused("Asked too often; Retry-After says when to ask again"),
            "503": refused("The database does not answer"),
        });
        if endpoint.path == "/api/v1/openapi.json"
            && let Some(responses) = responses.as_object_mut()
        {
            responses.retain(|status, _| ["200", "304", "429"].contains(&status.as_str()));
        }
        let parameters: Vec<Value> = in_path(endpoint.path)
            .map(parameter_in_path)
            .chain(endpoint.query.iter().map(|name| parameter_in_query(name)))
            .collect();
        let get = json!({ "summary": endpoint.summary, "parameters": parameters, "responses": responses });
        paths.insert(endpoint.path.into(), json!({ "get": get }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Paceline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What Paceline's pages show, as JSON. Repositories that you may not read do not exist. Numbers \
                            that are not known are null, which is no zero.",
        },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn in_path(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter_in_path(name: &str) -> Value {
    let schema = match name {
        "number" => json!({ "type": "string", "pattern": "^[1-9][0-9]{0,14}$" }),
        "range" => json!({
            "type": "string",
            "pattern": "^[0-9a-f]{7,64}\\.\\.\\.[0-9a-f]{7,64}$",
            "description": "BASE...HEAD, each the id of a commit or its beginning",
        }),
        "job" => json!({ "type": "string", "format": "uuid" }),
        _ => json!({ "type": "string", "pattern": "^[A-Za-z0-9._\\[\\]-]{1,100}$" }),
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

fn parameter_in_query(name: &str) -> Value {
    let (schema, words) = match name {
        "limit" => (
            json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX }),
            "How many items at most; 50 when left out",
        ),
        "days" => (
            json!({ "type": "integer", "enum": PERIODS }),
            "How long the period is that ends now; 90 when left out",
        ),
        "suite" | "benchmark" | "metric" => {
            (json!({ "type": "string" }), "Of the series, as the list names it")
        }
        "from" | "to" => {
            (json!({ "type": "integer", "format": "int64" }), "A place along the branch; all when left out")
        }
        _ => (json!({ "type": "string" }), "The next of an earlier answer"),
    };
    json!({ "name": name, "in": "query", "required": false, "schema": schema, "description": words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referred_to_is_defined() {
        let text = DOCUMENT.to_string();
        let defined = DOCUMENT["components"]["schemas"].as_object().unwrap();
        let referred: Vec<&str> = text
            .match_indices("\"#/components/schemas/")
            .map(|(at, start)| text[at + start.len()..].split('"').next().unwrap())
            .collect();
        assert!(referred.len() > 20, "{referred:?}");
        for name in referred {
            assert!(defined.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_address_is_described_once() {
        let mut paths: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), ENDPOINTS.len());
        let routed = include_str!("mod.rs");
        for path in &paths {
            assert!(routed.contains(&format!("\"{path}\"")), "{path} is described and not there");
        }
        let routes = routed.matches(".route(\"/api/v1/").count();
        assert_eq!(routes, paths.len() + 1, "an address is there and not described");
    }
}
