//! The file's text with its places: TOML tree with spans, lines and columns, errors that point.

use crate::judgement::ConfigError;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub struct Source<'a> {
    text: &'a str,
    path: &'a str,
}

/// One step down the tree.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, path: &'a str) -> Self {
        Self { text, path }
    }

    pub fn tree(&self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| self.syntax_error(&error))
    }

    /// An error at a byte of the text.
    pub fn error(&self, at: usize, message: String) -> ConfigError {
        let (line, column) = place(self.text, at);
        ConfigError { path: self.path.into(), line, column, message, nearest: None }
    }

    /// What the TOML reader itself found.
    pub fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start);
        let mut message: String = error.message().lines().collect::<Vec<_>>().join("; ");
        if let Some(first) = message.get(..1) {
            message = format!("{}{}", first.to_uppercase(), &message[1..]);
        }
        if !message.ends_with('.') {
            message.push('.');
        }
        self.error(at, message)
    }

    /// An error at a value that is known to the configuration but whose place must be looked up.
    /// Points at the deepest place that exists, so that a missing key shows its table.
    pub fn error_at(&self, tree: &Spanned<DeTable<'_>>, steps: &[Step<'_>], message: String) -> ConfigError {
        let mut at = tree.span().start;
        let mut table = Some(tree.get_ref());
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in steps {
            let next = match (step, table, value.map(Spanned::get_ref)) {
                (Step::Key(key), Some(table), _) => table.get(*key),
                (Step::Index(index), _, Some(DeValue::Array(array))) => array.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            at = next.span().start;
            table = match next.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => None,
            };
            value = Some(next);
        }
        self.error(at, message)
    }
}

/// Line and column of a byte, both from 1, the column in characters.
fn place(text: &str, at: usize) -> (u32, u32) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let lines = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    (u32::try_from(lines).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
