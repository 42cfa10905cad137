//! The files of the demonstration's repository: the bundled gateway as a workspace of its own.

use anyhow::Context;
use rust_embed::RustEmbed;
use std::collections::{BTreeMap, BTreeSet};

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
    files.insert("Cargo.toml".into(), workspace_of_gateway()?);
    files.insert("Cargo.lock".into(), reachable_from(LOCK, "gateway"));
    files.insert(".github/paceline.toml".into(), CONFIG.into());
    Ok(files)
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
    Ok(manifest.to_string())
}

/// The lockfile's packages that `root` needs, with the versions that this project was tested with.
fn reachable_from(lock: &str, root: &str) -> String {
    let (head, packages) = lock.split_once("[[package]]").unwrap_or((lock, ""));
    let packages: Vec<Package<'_>> = packages.split("[[package]]").filter_map(Package::read).collect();
    let mut wanted = vec![(root, None)];
    let mut kept = BTreeSet::new();
    while let Some((name, version)) = wanted.pop() {
        for (at, package) in packages.iter().enumerate() {
            let meant = package.name == name && version.is_none_or(|version| version == package.version);
            if meant && kept.insert(at) {
                wanted.extend(package.dependencies());
            }
        }
    }
    let kept: String = kept.into_iter().map(|at| format!("[[package]]{}", packages[at].block)).collect();
    format!("{head}{kept}")
}

/// One package of a lockfile.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    block: &'a str,
}

impl<'a> Package<'a> {
    fn read(block: &'a str) -> Option<Self> {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"'))
        };
        Some(Self { name: value("name")?, version: value("version")?, block })
    }

    /// Name, and version where several are locked.
    fn dependencies(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + 'a {
        let list = self.block.split_once("dependencies = [").map_or("", |(_, rest)| rest);
        list.lines().skip(1).take_while(|line| !line.starts_with(']')).filter_map(|line| {
            let mut words = line.trim().trim_matches(['"', ',']).split(' ');
            Some((words.next()?, words.next()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_a_workspace_of_the_gateway_alone() {
        let files = files().unwrap();
        assert!(files.contains_key("gateway/src/lib.rs"));
        assert!(files["Cargo.toml"].contains("members = [\"gateway\"]"));
        let lock = &files["Cargo.lock"];
        for present in ["gateway", "hyper", "criterion"] {
            assert!(lock.contains(&format!("name = \"{present}\"\n")), "{present}");
        }
        for absent in ["bot", "perfsuite", "octocrab", "sqlx"] {
            assert!(!lock.contains(&format!("name = \"{absent}\"\n")), "{absent}");
        }
    }

    #[test]
    fn of_two_versions_only_the_needed_one_is_kept() {
        let lock = "# head\nversion = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\n \"b 2.0.0\",\n]\n\n\
                    [[package]]\nname = \"b\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        let kept = reachable_from(lock, "a");
        assert!(kept.starts_with("# head\nversion = 4\n"));
        assert!(kept.contains("name = \"b\"\nversion = \"2.0.0\""));
        assert!(!kept.contains("name = \"b\"\nversion = \"1.0.0\""));
    }
}
