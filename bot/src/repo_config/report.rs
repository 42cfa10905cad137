//! What `paceline config check FILE` says: each error with its line quoted and a caret below.

use super::{CONFIG_MAX_BYTES, parse};
use crate::{judgement::ConfigError, text};
use std::{fmt::Write, fs::File, io::Read, path::Path};

/// The outcome for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCheck {
    pub valid: bool,
    /// For people; ends with a line end.
    pub text: String,
}

/// Reads and checks a file. A file that cannot be read is an outcome too.
pub fn check_file(path: &Path) -> FileCheck {
    let name = path.display().to_string();
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return FileCheck { valid: false, text: format!("error: cannot read {name}: {error}\n") };
        }
    };
    let Ok(content) = String::from_utf8(bytes) else {
        return FileCheck { valid: false, text: format!("error: {name} is no UTF-8 text\n") };
    };
    match parse(&content, &name) {
        Ok(_) => FileCheck { valid: true, text: format!("{name}: valid\n") },
        Err(errors) => {
            let mut text: String = errors.iter().map(|error| describe(error, &content) + "\n").collect();
            let plural = if errors.len() == 1 { "" } else { "s" };
            let _ = writeln!(text, "{name}: {} error{plural}", errors.len());
            FileCheck { valid: false, text }
        }
    }
}

/// One error with its line quoted: no colours, ends with a line end.
pub fn describe(error: &ConfigError, content: &str) -> String {
    /// Wider lines are cut, from the left where the caret stands far out.
    const LINE_MAX_GRAPHEMES: usize = 100;
    const CARETS_MAX: usize = 60;
    let number = error.line.to_string();
    let gutter = " ".repeat(number.len());
    let mut out =
        format!("error: {}\n{gutter}--> {}:{}:{}\n", error.message, error.path, error.line, error.column);
    let Some(line) = content.lines().nth(error.line.saturating_sub(1) as usize) else { return out };
    let before: String = line.chars().take(error.column.saturating_sub(1) as usize).collect();
    let at = &line[before.len()..];
    if text::longer_than(&before, LINE_MAX_GRAPHEMES) {
        return out;
    }
    let word = at.find(|c: char| !(c.is_alphanumeric() || "-_".contains(c))).unwrap_or(at.len());
    let carets = "^".repeat(text::graphemes(&at[..word]).clamp(1, CARETS_MAX));
    let space: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let shown: String =
        text::cut(line, 2 * LINE_MAX_GRAPHEMES).replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
    let _ = writeln!(out, "{gutter} |\n{number} | {shown}\n{gutter} | {space}{carets}");
    out
}

/// One byte more than allowed is enough to know that the file is too large.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CONFIG_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
