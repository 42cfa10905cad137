//! Holds the file's tree against the schema: unknown keys, wrong types, values out of range, each with its place.
//!
//! Serde alone cannot: a struct flattened into another (a suite's kind) swallows unknown keys and loses their places.
//! Depth is bounded by the schema's own, time by file size times the few alternatives of each table.

use super::{ERRORS_MAX, schema, source::Source};
use crate::judgement::ConfigError;
use crate::text::quoted;
use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Every departure from the schema, at most about [`ERRORS_MAX`].
pub fn check(source: &Source<'_>, tree: &Spanned<DeTable<'_>>) -> Vec<ConfigError> {
    let mut checker = Checker { source, errors: Vec::new() };
    let root = schema::REPO_CONFIG.as_object().expect("the root of a generated schema is an object");
    checker.table(&alternatives(root), tree.get_ref(), tree.span().start, "the file");
    checker.errors
}

struct Checker<'a> {
    source: &'a Source<'a>,
    errors: Vec<ConfigError>,
}

type Part = &'static Map<String, Value>;
/// Schemas that apply together.
type Alternative = Vec<Part>;

impl Checker<'_> {
    /// `name` is the key that holds the value, as people would point at it.
    fn value(&mut self, schema: Part, value: &Spanned<DeValue<'_>>, name: &str) {
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        let at = value.span().start;
        let possible = alternatives(schema);
        let fitting: Vec<Alternative> = possible
            .iter()
            .filter(|alternative| accepts_type(alternative, value.get_ref()))
            .cloned()
            .collect();
        if fitting.is_empty() {
            let found = type_of(value.get_ref());
            return self.error(at, format!("`{name}` must be {}, not {found}.", expected(&possible)), None);
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(&fitting, table, at, &format!("`{name}`")),
            DeValue::Array(array) => {
                let (min, max) = (number(&fitting, "minItems"), number(&fitting, "maxItems"));
                self.bounds(at, array.len() as f64, min, max, &format!("The number of entries of `{name}`"));
                let items = fitting[0].iter().find_map(|part| part.get("items")).and_then(Value::as_object);
                if let Some(items) = items {
                    for item in array.iter() {
                        self.value(items, item, name);
                    }
                }
            }
            DeValue::String(text) => self.string(&fitting, &possible, text, at, name),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => self.range(&fitting, integer as f64, at, name),
                Err(_) => self.error(at, format!("`{name}` is too large a number."), None),
            },
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(float) if float.is_finite() => self.range(&fitting, float, at, name),
                _ => self.error(at, format!("`{name}` must be a finite number."), None),
            },
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    /// `place` is what the table is called in a message.
    fn table(&mut self, fitting: &[Alternative], table: &DeTable<'_>, at: usize, place: &str) {
        let Some(chosen) = self.variant(fitting, table, at, place) else { return };
        for (key, value) in table {
            if self.errors.len() >= ERRORS_MAX {
                return;
            }
            let name: &str = key.get_ref();
            if let Some(schema) = property(&chosen, name) {
                self.value(schema, value, name);
            } else if let Some(schema) =
                chosen.iter().find_map(|part| part.get("additionalProperties")?.as_object())
            {
                self.value(schema, value, name);
            } else {
                let known = keys(&chosen);
                let (nearest, message) = unknown("key", name, &known, place);
                self.error(key.span().start, message, nearest);
            }
        }
        for part in &chosen {
            for required in part.get("required").and_then(Value::as_array).into_iter().flatten() {
                if let Some(required) = required.as_str().filter(|key| !table.contains_key(*key)) {
                    self.error(at, format!("The key `{required}` is missing in {place}."), None);
                }
            }
        }
    }

    /// The alternative that the table's own words choose: by a key with a constant, such as `kind`.
    fn variant(
        &mut self,
        fitting: &[Alternative],
        table: &DeTable<'_>,
        at: usize,
        place: &str,
    ) -> Option<Alternative> {
        if fitting.len() == 1 {
            return fitting.first().cloned();
        }
        let key = fitting.iter().flatten().find_map(|part| {
            let properties = part.get("properties")?.as_object()?;
            properties.iter().find(|(_, schema)| schema.get("const").is_some()).map(|(key, _)| key.as_str())
        })?;
        let constant =
            |alternative: &Alternative| property(alternative, key)?.get("const")?.as_str().map(str::to_owned);
        let known: Vec<String> = fitting.iter().filter_map(constant).collect();
        let Some(value) = table.get(key) else {
            self.error(
                at,
                format!("The key `{key}` is missing in {place}; it is {}.", list(&known, "or")),
                None,
            );
            return None;
        };
        let DeValue::String(word) = value.get_ref() else {
            let found = type_of(value.get_ref());
            self.error(
                value.span().start,
                format!("`{key}` must be {}, not {found}.", list(&known, "or")),
                None,
            );
            return None;
        };
        let chosen =
            fitting.iter().find(|alternative| constant(alternative).as_deref() == Some(word.as_ref()));
        if chosen.is_none() {
            let (nearest, message) = unknown("value", word, &known, &format!("`{key}`"));
            self.error(value.span().start, message, nearest);
        }
        chosen.cloned()
    }

    fn string(
        &mut self,
        fitting: &[Alternative],
        possible: &[Alternative],
        text: &str,
        at: usize,
        name: &str,
    ) {
        let allowed = words(fitting);
        if !allowed.is_empty() {
            if !allowed.iter().any(|word| word == text) {
                let nearest = nearest(text, &allowed);
                let found = quoted(text);
                self.error(at, format!("`{name}` must be {}, not {found}.", expected(possible)), nearest);
            }
            return;
        }
        let length = text.chars().count() as f64;
        let (min, max) = (number(fitting, "minLength"), number(fitting, "maxLength"));
        if length < 1.0 && min.is_some() {
            return self.error(at, format!("`{name}` must not be empty."), None);
        }
        self.bounds(at, length, min, max, &format!("The length of `{name}`"));
    }

    fn range(&mut self, fitting: &[Alternative], value: f64, at: usize, name: &str) {
        let (min, max) = (number(fitting, "minimum"), number(fitting, "maximum"));
        self.bounds(at, value, min, max, &format!("`{name}`"));
    }

    fn bounds(&mut self, at: usize, value: f64, min: Option<f64>, max: Option<f64>, what: &str) {
        if let Some(min) = min.filter(|min| value < *min) {
            self.error(at, format!("{what} must be at least {min}."), None);
        } else if let Some(max) = max.filter(|max| value > *max) {
            self.error(at, format!("{what} must be at most {max}."), None);
        }
    }

    fn error(&mut self, at: usize, message: String, nearest: Option<String>) {
        self.errors.push(ConfigError { nearest, ..self.source.error(at, message) });
    }
}

/// A schema with its references followed and its choices multiplied out.
fn alternatives(schema: Part) -> Vec<Alternative> {
    let mut result = vec![vec![schema]];
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(definition) {
        result = product(result, alternatives(target));
    }
    for every in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        result = product(result, every.as_object().map(alternatives).unwrap_or_default());
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema.get(choice).and_then(Value::as_array) {
            let choices = choices.iter().filter_map(Value::as_object).flat_map(alternatives).collect();
            result = product(result, choices);
        }
    }
    result
}

fn product(left: Vec<Alternative>, right: Vec<Alternative>) -> Vec<Alternative> {
    left.iter().flat_map(|l| right.iter().map(move |r| [l.as_slice(), r].concat())).collect()
}

fn definition(reference: &str) -> Option<Part> {
    schema::REPO_CONFIG.get("$defs")?.get(reference.strip_prefix("#/$defs/")?)?.as_object()
}

fn property(alternative: &Alternative, name: &str) -> Option<Part> {
    alternative.iter().find_map(|part| part.get("properties")?.get(name)?.as_object())
}

fn keys(alternative: &Alternative) -> Vec<String> {
    let mut keys: Vec<String> = alternative
        .iter()
        .filter_map(|part| part.get("properties")?.as_object())
        .flat_map(|properties| properties.keys().cloned())
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The types that an alternative names; empty: any.
fn types(part: Part) -> Vec<&'static str> {
    match part.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn accepts_type(alternative: &Alternative, value: &DeValue<'_>) -> bool {
    alternative.iter().all(|part| {
        let types = types(part);
        let accepted: &[&str] = match value {
            DeValue::String(_) | DeValue::Datetime(_) => &["string"],
            DeValue::Integer(_) => &["integer", "number"],
            DeValue::Float(_) => &["number"],
            DeValue::Boolean(_) => &["boolean"],
            DeValue::Array(_) => &["array"],
            DeValue::Table(_) => &["object"],
        };
        let datetime = matches!(value, DeValue::Datetime(_));
        types.is_empty() || (!datetime && types.iter().any(|t| accepted.contains(t)))
    })
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The words that a text may be, where it may not be any.
fn words(alternatives: &[Alternative]) -> Vec<String> {
    let mut words = Vec::new();
    for part in alternatives.iter().flatten() {
        words.extend(part.get("const").and_then(Value::as_str).map(str::to_owned));
        let listed = part.get("enum").and_then(Value::as_array).into_iter().flatten();
        words.extend(listed.filter_map(Value::as_str).map(str::to_owned));
    }
    words.sort();
    words.dedup();
    words
}

/// "a whole number", "`auto` or a number".
fn expected(alternatives: &[Alternative]) -> String {
    let mut named: Vec<String> = words(alternatives).iter().map(|word| format!("`{word}`")).collect();
    for part in alternatives.iter().flatten() {
        if part.contains_key("const") || part.contains_key("enum") {
            continue;
        }
        for name in types(part) {
            let name = match name {
                "string" => "a text",
                "integer" => "a whole number",
                "number" => "a number",
                "boolean" => "true or false",
                "array" => "a list",
                "object" => "a table",
                _ => continue,
            };
            if !named.iter().any(|n| n == name) {
                named.push(name.into());
            }
        }
    }
    join(&named, "or")
}

fn number(alternatives: &[Alternative], key: &str) -> Option<f64> {
    alternatives.iter().flatten().find_map(|part| part.get(key)?.as_f64())
}

/// Names the nearest known word, or lists all where none is near.
fn unknown(what: &str, found: &str, known: &[String], place: &str) -> (Option<String>, String) {
    let nearest = nearest(found, known);
    let found = quoted(found);
    let message = match &nearest {
        Some(nearest) => format!("Unknown {what} {found} in {place}; did you mean `{nearest}`?"),
        None => format!("Unknown {what} {found} in {place}; known are {}.", list(known, "and")),
    };
    (nearest, message)
}

fn nearest(found: &str, known: &[String]) -> Option<String> {
    /// Below this likeness a proposal misleads more than it helps (`runs` is not `forks`).
    const LIKENESS_MIN: f64 = 0.6;
    /// Longer words are nobody's typing error, and the comparison is quadratic.
    const COMPARED_MAX_BYTES: usize = 100;
    if found.len() > COMPARED_MAX_BYTES {
        return None;
    }
    let found = found.to_lowercase().replace('_', "-");
    /// A word that is only the start of a longer one was most likely meant to be it.
    const START_MIN_BYTES: usize = 4;
    let likeness = |word: &str| {
        if found.len() >= START_MIN_BYTES && word.starts_with(&found) {
            return 1.0;
        }
        strsim::normalized_damerau_levenshtein(&found, word)
    };
    known
        .iter()
        .map(|word| (likeness(word), word))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word.clone())
}

fn list(words: &[String], last: &str) -> String {
    join(&words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>(), last)
}

fn join(words: &[String], last: &str) -> String {
    match words {
        [] => "nothing".into(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
