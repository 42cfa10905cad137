//! What of a pull request's files deserves a word in the report: files that steer the build, lead out of the
//! repository, or hide. None of it is followed or obeyed outside of the sandbox; a reviewer should know all the same.

use super::git::git;
use crate::model::Sha;
use anyhow::{Context, ensure};
use std::path::{Component, Path};
use toml_edit::{DocumentMut, Item};

/// Notes of one pull request: a hostile one could have thousands of such files.
const NOTES_MAX: usize = 20;
/// A link's target, a configuration: more of it is not read.
const BLOB_MAX_BYTES: u64 = 64 << 10;
/// A path within a note.
const SHOWN_MAX: usize = 120;

const LINK: &str = "120000";
const SUBMODULE: &str = "160000";

/// Keys of cargo's configuration that choose programs, or where packages come from; `*` stands for any key.
const STEERING: &[&[&str]] = &[
    &["build", "rustc"],
    &["build", "rustc-wrapper"],
    &["build", "rustc-workspace-wrapper"],
    &["build", "rustdoc"],
    &["build", "rustflags"],
    &["build", "target-dir"],
    &["target", "*", "runner"],
    &["target", "*", "linker"],
    &["target", "*", "rustflags"],
    &["env"],
    &["include"],
    &["paths"],
    &["patch"],
    &["source"],
    &["registries"],
    &["registry"],
    &["credential-alias"],
    &["net", "git-fetch-with-cli"],
];

/// What the head added or changed against the base, in words.
pub(super) fn notes(git_dir: &Path, base: &Sha, head: &Sha) -> anyhow::Result<Vec<String>> {
    let output = git(git_dir)
        .args(["diff-tree", "-r", "-z", "--raw", "--no-renames", "--full-index", "--no-ext-diff"])
        .args([base.as_str(), head.as_str(), "--"])
        .output()
        .context("cannot run git; install it")?;
    ensure!(output.status.success(), "git cannot compare {base} and {head}");
    let mut notes = Vec::new();
    let (mut odd_names, mut links_left_out) = (0, 0);
    let mut fields = output.stdout.split(|byte| *byte == 0);
    while let (Some(change), Some(path)) = (fields.next(), fields.next()) {
        let change = String::from_utf8_lossy(change);
        // `:OLD-MODE NEW-MODE OLD-SHA NEW-SHA STATUS`
        let [_, mode, _, blob, _] = change.split(' ').collect::<Vec<_>>()[..] else { continue };
        odd_names += usize::from(is_odd(path));
        let path = String::from_utf8_lossy(path);
        let note = match mode {
            SUBMODULE => Some(format!("The submodule {} is not checked out.", shown(&path))),
            LINK => leads_out(&path, &read_blob(git_dir, blob)).map(|target| {
                format!(
                    "The link {} leads out of the repository, to {}: it leads nowhere in the sandbox.",
                    shown(&path),
                    shown(&target)
                )
            }),
            _ if is_cargo_config(&path) => steering(&read_blob(git_dir, blob)).map(|keys| {
                format!(
                    "{} sets {}: it applied to the head's build alone, in the sandbox.",
                    shown(&path),
                    keys.join(", ")
                )
            }),
            _ => None,
        };
        if let Some(note) = note {
            if notes.len() < NOTES_MAX { notes.push(note) } else { links_left_out += 1 }
        }
    }
    if odd_names > 0 {
        notes.push(format!(
            "Names of changed files that hold control characters, or are no UTF-8: {odd_names}."
        ));
    }
    if links_left_out > 0 {
        notes.push(format!(
            "Further links, submodules and cargo configurations of this kind: {links_left_out}."
        ));
    }
    Ok(notes)
}

/// The blob's start; empty when it cannot be had.
fn read_blob(git_dir: &Path, blob: &str) -> Vec<u8> {
    let ask = |what: &str| git(git_dir).args(["cat-file", what, blob]).output().ok();
    let size = ask("-s").and_then(|out| String::from_utf8_lossy(&out.stdout).trim().parse::<u64>().ok());
    match size {
        Some(size) if size <= BLOB_MAX_BYTES => ask("blob").map(|out| out.stdout).unwrap_or_default(),
        _ => vec![],
    }
}

fn is_odd(path: &[u8]) -> bool {
    std::str::from_utf8(path).map_or(true, |text| text.chars().any(char::is_control))
}

fn is_cargo_config(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (name, directory) = (parts.next(), parts.next());
    matches!(name, Some("config" | "config.toml")) && directory == Some(".cargo")
}

/// The target of a link at `path`, where it does not stay in the repository.
fn leads_out(path: &str, target: &[u8]) -> Option<String> {
    let target = String::from_utf8_lossy(target).into_owned();
    let mut depth = Path::new(path).components().count() as i64 - 1;
    for part in Path::new(&target).components() {
        match part {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Some(target),
        }
        if depth < 0 {
            return Some(target);
        }
    }
    None
}

/// Keys that steer a build; a file that is no TOML is told as one.
fn steering(text: &[u8]) -> Option<Vec<String>> {
    let Some(document) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<DocumentMut>().ok())
    else {
        return Some(vec!["what cannot be read".into()]);
    };
    let found: Vec<String> = STEERING
        .iter()
        .filter(|keys| holds(document.as_item(), keys))
        .map(|keys| format!("`{}`", keys.join(".")))
        .collect();
    (!found.is_empty()).then_some(found)
}

fn holds(item: &Item, keys: &[&str]) -> bool {
    let Some((key, rest)) = keys.split_first() else { return true };
    let Some(table) = item.as_table_like() else { return false };
    match *key {
        "*" => table.iter().any(|(_, inner)| holds(inner, rest)),
        key => table.get(key).is_some_and(|inner| holds(inner, rest)),
    }
}

/// As it stands in a sentence: bounded, in one line, in back-quotes that it cannot close.
fn shown(text: &str) -> String {
    let plain: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() || c == '`' { '\u{fffd}' } else { c })
        .collect();
    let cut = if text.chars().nth(SHOWN_MAX).is_some() { "…" } else { "" };
    format!("`{plain}{cut}`")
}

/// The toolchain that a checkout asks for, where it names one: by `rust-toolchain.toml` or `rust-toolchain`.
pub(super) fn toolchain_of(checkout: &Path) -> Option<String> {
    ["rust-toolchain", "rust-toolchain.toml"].iter().find_map(|name| {
        let bytes = super::home::read_bounded(&checkout.join(name))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Ok(document) = text.parse::<DocumentMut>() else {
            // The old form: a line with nothing but the channel.
            return Some(text.lines().next().unwrap_or_default().trim().to_owned());
        };
        let toolchain = document.get("toolchain")?;
        let field = |key: &str| Some(toolchain.get(key)?.as_str()?.to_owned());
        field("path").map(|path| format!("path {path}")).or_else(|| field("channel"))
    })
}

/// Whether a channel means the toolchain that builds here, given `rustc --version --verbose`.
pub(super) fn is_here(channel: &str, rustc: &str) -> bool {
    let field =
        |name: &str| rustc.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let (release, host) = (field("release: "), field("host: "));
    let channel = channel.strip_suffix(host).and_then(|rest| rest.strip_suffix('-')).unwrap_or(channel);
    let (version, pre) = release.split_once('-').unwrap_or((release, ""));
    match channel {
        "stable" => pre.is_empty(),
        "beta" | "nightly" => pre.starts_with(channel),
        _ => pre.is_empty() && (channel == version || version.starts_with(&format!("{channel}."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_are_told() {
        for (path, target, leaves) in [
            ("a/b", "../c", false),
            ("a/b", "../../c", true),
            ("a", "/etc/passwd", true),
            ("a", "b/../c", false),
            ("a", "b/../../c", true),
            ("a/b/c", "../../d", false),
            ("a", "", false),
        ] {
            assert_eq!(leads_out(path, target.as_bytes()).is_some(), leaves, "{path} -> {target}");
        }
    }

    #[test]
    fn configurations_that_steer_are_told() {
        let told = |text: &str| steering(text.as_bytes()).unwrap_or_default();
        assert_eq!(told("[net]\nretry = 1\n"), Vec::<String>::new());
        assert_eq!(told("[build]\nrustc-wrapper = 'x'\njobs = 1\n"), ["`build.rustc-wrapper`"]);
        assert_eq!(
            told("[target.x86_64-unknown-linux-gnu]\nrunner = 'x'\n[target.'cfg(all())']\nlinker = 'y'\n"),
            ["`target.*.runner`", "`target.*.linker`"]
        );
        assert_eq!(
            told("target.'cfg(unix)'.runner = 'x'\nenv = { A = '1' }\n"),
            ["`target.*.runner`", "`env`"]
        );
        assert_eq!(told("\u{1}"), ["what cannot be read"]);
        assert!(is_cargo_config("a/.cargo/config") && is_cargo_config(".cargo/config.toml"));
        assert!(!is_cargo_config("config.toml") && !is_cargo_config(".cargo/config.toml/x"));
    }

    #[test]
    fn a_path_cannot_leave_its_quotes() {
        assert_eq!(shown("a`b\nc"), "`a\u{fffd}b\u{fffd}c`");
        assert_eq!(shown(&"é".repeat(200)).chars().count(), SHOWN_MAX + 3);
    }

    #[test]
    fn the_toolchain_here_goes_by_several_names() {
        let stable = "rustc 1.95.0 (x)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        let nightly = "host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\n";
        for (channel, on_stable, on_nightly) in [
            ("stable", true, false),
            ("1.95.0", true, false),
            ("1.95", true, false),
            ("1.9", false, false),
            ("1.95.0-x86_64-unknown-linux-gnu", true, false),
            ("stable-aarch64-unknown-linux-gnu", false, false),
            ("nightly", false, true),
            ("nightly-2026-01-01", false, false),
            ("path ../evil", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_here(channel, stable), on_stable, "{channel}");
            assert_eq!(is_here(channel, nightly), on_nightly, "{channel}");
        }
    }

    #[test]
    fn a_toolchain_file_has_two_forms() {
        let checkout = tempfile::tempdir().unwrap();
        let ask = |name: &str, text: &str| {
            std::fs::write(checkout.path().join(name), text).unwrap();
            let asked = toolchain_of(checkout.path());
            std::fs::remove_file(checkout.path().join(name)).unwrap();
            asked
        };
        assert_eq!(toolchain_of(checkout.path()), None);
        assert_eq!(ask("rust-toolchain", "nightly-2026-01-01\n").as_deref(), Some("nightly-2026-01-01"));
        assert_eq!(ask("rust-toolchain.toml", "[toolchain]\nchannel = 'beta'\n").as_deref(), Some("beta"));
        assert_eq!(
            ask("rust-toolchain.toml", "[toolchain]\npath = '../evil'\n").as_deref(),
            Some("path ../evil")
        );
        assert_eq!(ask("rust-toolchain.toml", "[toolchain]\ncomponents = ['clippy']\n"), None);
    }
}
