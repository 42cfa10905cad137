//! Errors that have an audience: what the person is told, in one line, and what to do about it.

use std::fmt;

/// Shown to the person as it is: says what was wrong and what to do. Everything else is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    message: String,
}

impl UserError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UserError {}
