//! JSON schemas, generated from the types: of this file, and of a run's JSON.

use super::RepoConfig;
use crate::judgement::Run;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;
use std::sync::LazyLock;

/// The schema of `.github/paceline.toml`, as editors use it and as [`super::parse`] checks by.
pub static REPO_CONFIG: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = generate::<RepoConfig>(SchemaSettings::draft2020_12().for_deserialize());
    close(&mut schema);
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
fn close(schema: &mut Value) {
    let mut flattened = Vec::new();
    note_flattened(schema, &mut flattened);
    close_tables(schema, &flattened, Position::Outermost);
}

/// Names of the definitions that describe only a part of a table: those referred to from beside other keys.
fn note_flattened(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let (Some(Value::String(target)), true) =
                (object.get("$ref"), object.contains_key("properties"))
            {
                names.push(target.trim_start_matches("#/$defs/").to_owned());
            }
            object.values().for_each(|inner| note_flattened(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|item| note_flattened(item, names)),
        _ => {}
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    /// Describes a table by itself.
    Outermost,
    /// Describes a part of a table, which is closed once, from outside.
    Part,
}

fn close_tables(schema: &mut Value, flattened: &[String], position: Position) {
    match schema {
        Value::Object(object) => {
            for (key, inner) in object.iter_mut() {
                if key == "$defs" {
                    for (name, definition) in inner.as_object_mut().into_iter().flatten() {
                        let part = flattened.contains(name);
                        close_tables(
                            definition,
                            flattened,
                            if part { Position::Part } else { Position::Outermost },
                        );
                    }
                } else {
                    let part = matches!(key.as_str(), "oneOf" | "anyOf" | "allOf");
                    close_tables(inner, flattened, if part { Position::Part } else { Position::Outermost });
                }
            }
            let table = object.contains_key("properties") && object.contains_key("type");
            if position == Position::Outermost && table && !object.contains_key("additionalProperties") {
                object.insert("unevaluatedProperties".into(), Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close_tables(item, flattened, position)),
        _ => {}
    }
}
