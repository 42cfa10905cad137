//! The names of a Cargo workspace's members at a commit: the scopes that `scope-enum.workspace` allows.

use crate::git::{GitError, History};
use perfsuite::model::Sha;
use toml::{Table, Value};

/// Members that are read; the largest workspaces in use have some hundred.
const MEMBERS_MAX: usize = 1_000;
/// A manifest that people write is a few KiB.
const MANIFEST_MAX_BYTES: usize = 1 << 20;

/// Every member's name, without repetition; none where there is no workspace. A manifest that cannot be read has none:
/// cargo says so elsewhere.
pub fn names(history: &History, commit: &Sha) -> Result<Vec<String>, GitError> {
    let Some(root) = manifest(history, commit, "Cargo.toml")? else { return Ok(Vec::new()) };
    let mut names: Vec<String> = package(&root).into_iter().collect();
    let members =
        root.get("workspace").and_then(|workspace| workspace.get("members")).and_then(Value::as_array);
    let patterns = members.into_iter().flatten().filter_map(Value::as_str);
    for pattern in patterns {
        for directory in directories(history, commit, pattern)? {
            if names.len() >= MEMBERS_MAX {
                break;
            }
            let found = manifest(history, commit, &format!("{directory}/Cargo.toml"))?;
            names.extend(found.as_ref().and_then(package));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// `crates/*` has every directory in `crates`; anything without a `*` is itself.
fn directories(history: &History, commit: &Sha, pattern: &str) -> Result<Vec<String>, GitError> {
    let pattern = pattern.trim_matches('/').trim_start_matches("./");
    let Some((parent, last)) =
        pattern.rsplit_once('/').or(Some(("", pattern))).filter(|_| pattern.contains('*'))
    else {
        return Ok(vec![pattern.to_owned()]);
    };
    let Some((before, after)) = last.split_once('*') else { return Ok(Vec::new()) };
    let all = history.directories_in(commit, parent)?;
    let fitting = all.into_iter().filter(|name| {
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    });
    Ok(fitting.map(|name| if parent.is_empty() { name } else { format!("{parent}/{name}") }).collect())
}

fn manifest(history: &History, commit: &Sha, path: &str) -> Result<Option<Table>, GitError> {
    let blob = match history.blob_at(commit, path, MANIFEST_MAX_BYTES) {
        Ok(blob) => blob,
        Err(GitError::TooLarge { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(blob.and_then(|blob| String::from_utf8(blob.bytes).ok()?.parse().ok()))
}

fn package(manifest: &Table) -> Option<String> {
    manifest.get("package")?.get("name")?.as_str().map(str::to_owned)
}
