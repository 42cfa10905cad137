//! JSON schemas, generated from the types: of this file, and of a run's JSON.

use super::RepoConfig;
use crate::judgement::Run;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The schema of `.github/paceline.toml`, as editors use it and as [`super::parse`] checks by.
pub static REPO_CONFIG: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = generate::<RepoConfig>(SchemaSettings::draft2020_12().for_deserialize());
    close(&mut schema, true);
    schema
});

/// The schema of a run: what `paceline review --format json` prints and the run's page answers as JSON.
pub static RUN: LazyLock<Value> =
    LazyLock::new(|| generate::<Run>(SchemaSettings::draft2020_12().for_serialize()));

/// As committed under `docs/schema/`.
pub fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Refuses unknown keys everywhere. Serde cannot say so where one struct is flattened into another, so the schema does.
fn close(schema: &mut Value, outermost: bool) {
    match schema {
        Value::Object(object) => {
            for (key, inner) in object.iter_mut() {
                // What stands below these describes the same object, which is closed once, from outside.
                let same_object = matches!(key.as_str(), "oneOf" | "anyOf" | "allOf");
                close(inner, !same_object);
            }
            if outermost && describes_table(object) {
                object.insert("unevaluatedProperties".into(), Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, outermost)),
        _ => {}
    }
}

/// Whether the schema lists keys and leaves open what happens to others.
fn describes_table(schema: &Map<String, Value>) -> bool {
    schema.contains_key("properties")
        && schema.contains_key("type")
        && !schema.contains_key("additionalProperties")
        && (schema.contains_key("oneOf") || schema.contains_key("anyOf"))
}
