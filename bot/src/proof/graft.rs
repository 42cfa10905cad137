//! The head's tests upon the base's code.

use super::inline;
use crate::git::{Content, Entry, GitError, History, Snapshot};
use crate::repo_config::TestsConfig;

/// A source file that is larger is left alone.
const SOURCE_MAX_BYTES: usize = 4 << 20;

/// The base with the head's tests.
pub struct Graft {
    pub files: Snapshot,
    /// What was grafted.
    pub paths: Vec<String>,
}

/// `None` where the head's tests are the base's.
pub fn graft(
    history: &History,
    base: &Snapshot,
    head: &Snapshot,
    config: &TestsConfig,
) -> Result<Option<Graft>, GitError> {
    let (sources, tests) = config.globs();
    let mut files = base.clone();
    let mut paths = Vec::new();
    for (path, entry) in &head.files {
        if base.files.get(path) == Some(entry) {
            continue;
        }
        if tests.is_match(path) || (sources.is_match(path) && is_test_module(history, head, path)?) {
            put(&mut files, path, entry.clone());
            paths.push(path.clone());
        } else if let Some(old) = base.files.get(path).filter(|_| sources.is_match(path))
            && let Some(before) = history.text_of(old, SOURCE_MAX_BYTES)?
            && let Some(after) = history.text_of(entry, SOURCE_MAX_BYTES)?
            && let Some(text) = inline::grafted(&before, &after)
        {
            put(&mut files, path, Entry { mode: old.mode, content: Content::Text(text) });
            paths.push(path.clone());
        }
    }
    let gone: Vec<&String> =
        base.files.keys().filter(|path| tests.is_match(path) && !head.files.contains_key(*path)).collect();
    if !paths.is_empty() {
        for path in gone {
            files.files.remove(path);
        }
    }
    Ok((!paths.is_empty()).then_some(Graft { files, paths }))
}

/// Whether a source is the file of a module that another file declares under `#[cfg(test)]`.
fn is_test_module(history: &History, head: &Snapshot, path: &str) -> Result<bool, GitError> {
    for (file, name) in inline::declaring(path) {
        let Some(entry) = head.files.get(&file) else { continue };
        let text = history.text_of(entry, SOURCE_MAX_BYTES)?;
        if text.is_some_and(|text| inline::declares_test_module(&text, &name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file takes the place of whatever stands in its way: a file where it wants a directory, or the other way round.
fn put(snapshot: &mut Snapshot, path: &str, entry: Entry) {
    let below = format!("{path}/");
    let hindering: Vec<String> = snapshot
        .files
        .range(below.clone()..)
        .map(|(path, _)| path.clone())
        .take_while(|p| p.starts_with(&below))
        .collect();
    for path in hindering {
        snapshot.files.remove(&path);
    }
    for (at, _) in path.match_indices('/') {
        snapshot.files.remove(&path[..at]);
    }
    snapshot.files.insert(path.to_owned(), entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_goes() {
        let entry = || Entry { mode: 0o100_644, content: Content::Text(String::new()) };
        let mut snapshot = Snapshot::default();
        for path in ["a", "b/c", "b/d/e", "bc", "b0"] {
            snapshot.files.insert(path.into(), entry());
        }
        put(&mut snapshot, "b", entry());
        put(&mut snapshot, "a/x/y", entry());
        let paths: Vec<&str> = snapshot.files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a/x/y", "b", "b0", "bc"]);
    }
}
