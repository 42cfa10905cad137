//! What `perfsuite load` is told to play: a suite of `.github/paceline.toml`, or a file of its own with the same keys.

use super::settings::{Settings, json};
use crate::model::{LoadSuite, SuiteKind};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::Path;
use toml_edit::DocumentMut;

/// Where a repository's suites are.
const CONFIG: &str = ".github/paceline.toml";
/// As the App's bound for the configuration.
const FILE_MAX_BYTES: u64 = 256 << 10;
/// Stands for the binary of a side.
const SERVER: &str = "{server}";
/// The keys of a scenario; those of the second row mean something on a pull request only.
const KEYS: [&str; 19] = [
    "name",
    "kind",
    "server",
    "upstream",
    "ready",
    "protocol",
    "connections",
    "rate",
    "spacing",
    "requests",
    "expect",
    "p99-limit-ms",
    "build",
    "profile",
    "paths",
    "on",
    "mode",
    "metrics",
    "benchmarks",
];

/// A scenario's name and what it does, its server's command made to start `binary`.
pub(super) fn scenario(named: &str, checkout: &Path, binary: &str) -> anyhow::Result<(String, LoadSuite)> {
    let file = Path::new(named);
    let (name, mut load) = if file.extension().is_some_and(|ending| ending == "toml") || named.contains('/') {
        of_file(&read(file)?).with_context(|| format!("{named} is no scenario"))?
    } else {
        let config = checkout.join(CONFIG);
        let known = if config.is_file() {
            Settings::parse(&read(&config)?)
                .with_context(|| format!("{} cannot be used", config.display()))?
                .suite
        } else {
            vec![]
        };
        let loads = known.into_iter().filter_map(|suite| match suite.kind {
            SuiteKind::Load(load) => Some((suite.name, load)),
            SuiteKind::Criterion(_) => None,
        });
        one_of(named, loads.collect(), &config)?
    };
    let name = name
        .unwrap_or_else(|| file.file_stem().map_or(named.into(), |stem| stem.to_string_lossy().into_owned()));
    ensure!(!load.server.is_empty(), "the scenario {name} has no server command");
    ensure!(!load.requests.is_empty(), "the scenario {name} has no requests");
    if !load.server.iter().any(|word| word.contains(SERVER)) {
        load.server[0] = SERVER.into();
    }
    for word in &mut load.server {
        *word = word.replace(SERVER, binary);
    }
    Ok((name, load))
}

fn one_of(
    named: &str,
    loads: Vec<(String, LoadSuite)>,
    config: &Path,
) -> anyhow::Result<(Option<String>, LoadSuite)> {
    let names: Vec<String> = loads.iter().map(|(name, _)| name.clone()).collect();
    let Some((name, load)) = loads.into_iter().find(|(name, _)| name == named) else {
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        bail!(
            "there is no load scenario {named:?}; {} has {known}, and a file of its own is named by its path (./x.toml)",
            config.display()
        );
    };
    Ok((Some(name), load))
}

fn of_file(text: &str) -> anyhow::Result<(Option<String>, LoadSuite)> {
    let document: DocumentMut = text.parse()?;
    let Value::Object(mut keys) = json(document.as_item())? else { bail!("it is no table") };
    if let Some(key) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let near = KEYS.into_iter().min_by_key(|known| distance(known, key));
        bail!("the key {key:?} is not known; the nearest is {:?}", near.unwrap_or_default());
    }
    ensure!(keys.get("kind").is_none_or(|kind| kind == "load"), "its kind is not \"load\"");
    // Here nothing is built.
    keys.entry("build").or_insert_with(|| Value::Array(vec![]));
    let name = keys.get("name").and_then(Value::as_str).map(str::to_owned);
    Ok((name, serde_json::from_value(Value::Object(keys))?))
}

/// Letters that two words do not share, in any order: enough to find what was meant.
fn distance(one: &str, other: &str) -> usize {
    let lacks = |a: &str, b: &str| a.chars().filter(|letter| !b.contains(*letter)).count();
    lacks(one, other) + lacks(other, one) + one.len().abs_diff(other.len())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let name = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("cannot open {name}"))?.len();
    ensure!(size <= FILE_MAX_BYTES, "{name} is larger than {FILE_MAX_BYTES} bytes");
    std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::{Rate, Spacing};

    fn place(config: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(".github")).unwrap();
        std::fs::write(directory.path().join(CONFIG), config).unwrap();
        directory
    }

    const SUITE: &str = "[[perf.suite]]\nname = 'proxy'\nkind = 'load'\nbuild = ['make']\n\
        server = ['{target}/release/gateway', '--listen', '{listen}']\nrequests = [{ path = '/' }]\n";

    #[test]
    fn a_suite_of_the_configuration_starts_the_given_binary() {
        let place = place(SUITE);
        let (name, load) = scenario("proxy", place.path(), "{target}/server").unwrap();
        assert_eq!(name, "proxy");
        assert_eq!(load.server, ["{target}/server", "--listen", "{listen}"]);
    }

    #[test]
    fn a_file_has_the_same_keys_and_may_say_where_the_binary_stands() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("slow.toml");
        let text = "server = ['env', 'A=1', '{server}']\nrequests = [{ path = '/' }]\nrate = 500\nspacing = 'poisson'\n";
        std::fs::write(&file, text).unwrap();
        let (name, load) = scenario(file.to_str().unwrap(), place.path(), "x").unwrap();
        assert_eq!((name.as_str(), load.server), ("slow", vec!["env".into(), "A=1".into(), "x".into()]));
        assert_eq!((load.rate, load.spacing), (Rate::PerSecond(500.0), Spacing::Poisson));
    }

    #[test]
    fn what_cannot_be_played_is_said() {
        let place = place(SUITE);
        let said = |named: &str| format!("{:#}", scenario(named, place.path(), "x").unwrap_err());
        assert!(said("prox").contains("has proxy, and a file"), "{}", said("prox"));
        assert!(said("./no/such.toml").contains("cannot open ./no/such.toml"));
        for (text, expect) in [
            ("conections = 5", "the nearest is \"connections\""),
            ("kind = 'criterion'", "its kind is not \"load\""),
            ("server = 'x'", "invalid type"),
            ("server = []\nrequests = [{ path = '/' }]", "no server command"),
            ("server = ['x']\nrequests = []", "no requests"),
            ("= 1", "TOML"),
        ] {
            let file = place.path().join("bad.toml");
            std::fs::write(&file, text).unwrap();
            let said = said(file.to_str().unwrap());
            assert!(said.contains(expect), "{text}: {said}");
        }
    }
}
