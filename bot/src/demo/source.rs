//! The files of the demonstration's repository: the bundled gateway as a workspace of its own.

use crate::error::UserError;
use anyhow::Context;
use rust_embed::RustEmbed;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../gateway"]
struct Gateway;

const MANIFEST: &str = include_str!("../../../Cargo.toml");
const LOCK: &str = include_str!("../../../Cargo.lock");
const CONFIG: &str = include_str!("paceline.toml");

/// Path -> text.
pub type Files = BTreeMap<String, String>;

/// All files, as they are on the main branch of this project.
pub fn files() -> anyhow::Result<Files> {
    let mut files = Files::new();
    for name in Gateway::iter() {
        let file = Gateway::get(&name).context("an embedded file is gone")?;
        let text = String::from_utf8(file.data.into_owned()).with_context(|| format!("{name} is no text"))?;
        files.insert(format!("gateway/{name}"), text);
    }
    let manifest = files.get_mut("gateway/Cargo.toml").context("the gateway has a manifest")?;
    *manifest = without_defaults(manifest)?;
    files.insert("Cargo.toml".into(), workspace_of_gateway()?);
    files.insert("Cargo.lock".into(), LOCK.into());
    let lock = locked(&files)?;
    files.insert("Cargo.lock".into(), lock);
    files.insert(".github/paceline.toml".into(), CONFIG.into());
    Ok(files)
}

/// A package's manifest without default features: what they bring has to be built in C, which would make the
/// first look a minute longer, and no edit of the demonstration is about it.
fn without_defaults(manifest: &str) -> anyhow::Result<String> {
    let mut manifest: toml_edit::DocumentMut = manifest.parse().context("a manifest")?;
    if let Some(features) = manifest.get_mut("features").and_then(|item| item.as_table_like_mut()) {
        features.insert("default", toml_edit::value(toml_edit::Array::new()));
    }
    Ok(manifest.to_string())
}

/// The workspace's manifest with the gateway as its only member.
fn workspace_of_gateway() -> anyhow::Result<String> {
    let mut manifest: toml_edit::DocumentMut = MANIFEST.parse().context("the workspace's manifest")?;
    let workspace = manifest.get_mut("workspace").and_then(|item| item.as_table_like_mut());
    let workspace = workspace.context("the manifest has a workspace")?;
    workspace.insert("members", toml_edit::value(toml_edit::Array::from_iter(["gateway"])));
    let dependencies = workspace.get_mut("dependencies").and_then(|item| item.as_table_like_mut());
    // A path that is not in this repository.
    dependencies.context("the workspace has dependencies")?.remove("perfsuite");
    // A profile of a package that is not in this repository either.
    if let Some(release) = manifest.get_mut("profile").and_then(|profile| profile.get_mut("release")) {
        release.as_table_like_mut().context("a profile is a table")?.remove("package");
    }
    Ok(manifest.to_string())
}

/// The lockfile of `files`: the versions that this project was tested with, without the packages that only other
/// members need. Cargo itself leaves them out, as it would for a person who removed the members.
fn locked(files: &Files) -> anyhow::Result<String> {
    let dir = tempfile::tempdir().context("no temporary directory")?;
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().context("files lie in directories")?)?;
        std::fs::write(path, text)?;
    }
    let cargo = |offline: &[&str]| {
        Command::new("cargo")
            .args(["metadata", "--format-version", "1"])
            .args(offline)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                UserError::new(format!("cannot run cargo: {error}; https://rustup.rs installs it"))
            })
    };
    // Whoever built this program has the index at hand; whoever only installed it asks for it.
    let mut output = cargo(&["--offline"])?;
    if !output.status.success() {
        output = cargo(&[])?;
    }
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(UserError::new(format!(
            "cargo cannot resolve the gateway's dependencies: {}",
            words.trim()
        ))
        .into());
    }
    std::fs::read_to_string(dir.path().join("Cargo.lock")).context("cargo wrote no lockfile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_a_workspace_of_the_gateway_alone() {
        let files = files().unwrap();
        assert!(files.contains_key("gateway/src/lib.rs"));
        assert!(files["Cargo.toml"].contains("members = [\"gateway\"]"));
        assert!(files["gateway/Cargo.toml"].contains("default = []"));
        let lock = &files["Cargo.lock"];
        for present in ["gateway", "hyper", "criterion"] {
            assert!(lock.contains(&format!("name = \"{present}\"\n")), "{present}");
        }
        for absent in ["bot", "perfsuite", "octocrab", "sqlx"] {
            assert!(!lock.contains(&format!("name = \"{absent}\"\n")), "{absent}");
        }
    }
}
