//! What a repository's `.github/paceline.toml` says of measuring, as far as a comparison by hand needs it.
//!
//! The App reads and checks the whole file; here the part `[perf]` counts, in the version of the base commit, as there.

use crate::model::{JobLimits, Sha, SuiteSpec};
use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Value};

/// Where the file lies in a repository.
const PATH: &str = ".github/paceline.toml";
/// As the App's bound.
const FILE_MAX_BYTES: usize = 256 << 10;

/// `[perf]`, with its defaults.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Settings {
    budget: String,
    minutes_per_run: f64,
    pub(super) suite: Vec<SuiteSpec>,
}

impl Default for Settings {
    fn default() -> Self {
        let minutes_per_run = JobLimits::default().measure_seconds as f64 / 60.0;
        Settings { budget: "1 in 100".into(), minutes_per_run, suite: vec![] }
    }
}

impl Settings {
    /// Of a commit; the defaults where it has no such file.
    pub(super) fn of(repository: &Path, commit: &Sha) -> anyhow::Result<Settings> {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(repository)
            .args(["cat-file", "blob", &format!("{commit}:{PATH}")])
            .output()
            .context("cannot run git; install it")?;
        if !output.status.success() {
            return Ok(Settings::default());
        }
        ensure!(output.stdout.len() <= FILE_MAX_BYTES, "{PATH} of {} is too large", commit.short());
        let text = String::from_utf8(output.stdout).with_context(|| format!("{PATH} is no UTF-8 text"))?;
        Settings::parse(&text).with_context(|| format!("{PATH} of {} cannot be used", commit.short()))
    }

    pub(super) fn parse(text: &str) -> anyhow::Result<Settings> {
        let document: DocumentMut = text.parse()?;
        let Some(perf) = document.get("perf") else { return Ok(Settings::default()) };
        let settings: Settings = serde_json::from_value(json(perf)?).context("in [perf]")?;
        settings.budget()?;
        let minutes = settings.minutes_per_run;
        ensure!(minutes > 0.0 && minutes.is_finite(), "minutes-per-run must be more than 0");
        Ok(settings)
    }

    /// False alarms allowed per run, as a probability.
    pub(super) fn budget(&self) -> anyhow::Result<f64> {
        let words: Vec<&str> = self.budget.split_whitespace().collect();
        if let [some, "in", of] = words.as_slice()
            && let (Ok(some), Ok(of)) = (some.parse::<u32>(), of.parse::<u32>())
            && (1..=of).contains(&some)
        {
            return Ok(f64::from(some) / f64::from(of));
        }
        bail!("budget must be words like \"1 in 100\", not {:?}", self.budget)
    }

    pub(super) fn limits(&self, minutes: Option<f64>) -> JobLimits {
        let seconds = (minutes.unwrap_or(self.minutes_per_run) * 60.0).ceil() as u64;
        JobLimits { measure_seconds: seconds, ..JobLimits::default() }
    }
}

/// A TOML value as JSON: what suites consist of (dates are none of it).
pub(super) fn json(item: &Item) -> anyhow::Result<serde_json::Value> {
    use serde_json::Value as Json;
    if let Some(tables) = item.as_array_of_tables() {
        let tables = tables.iter().map(|table| json(&Item::Table(table.clone())));
        return Ok(Json::Array(tables.collect::<anyhow::Result<_>>()?));
    }
    if let Some(table) = item.as_table_like() {
        let fields = table.iter().map(|(key, item)| Ok((key.to_owned(), json(item)?)));
        return Ok(Json::Object(fields.collect::<anyhow::Result<_>>()?));
    }
    Ok(match item.as_value() {
        Some(Value::String(text)) => Json::from(text.value().as_str()),
        Some(Value::Integer(number)) => Json::from(*number.value()),
        Some(Value::Float(number)) => Json::from(*number.value()),
        Some(Value::Boolean(yes)) => Json::from(*yes.value()),
        Some(Value::Array(values)) => {
            let values = values.iter().map(|value| json(&Item::Value(value.clone())));
            Json::Array(values.collect::<anyhow::Result<_>>()?)
        }
        _ => bail!("a date has no meaning in [perf]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, Mode, SuiteKind};

    #[test]
    fn the_part_about_measuring_is_read() {
        let text = r#"
            [commits]
            level = "off"
            [perf]
            budget = "2 in 50"
            minutes-per-run = 3
            forks = "never"
            [[perf.suite]]
            name = "routing"
            kind = "criterion"
            package = "gateway"
            mode = "advise"
            metrics = { instructions = "gate" }
            [perf.suite.benchmarks."route/match"]
            mode = "record"
            [[perf.suite]]
            name = "proxy"
            kind = "load"
            build = ["cargo", "build"]
            server = ["{target}/release/gateway", "--listen", "{listen}"]
            rate = "auto"
            requests = [{ path = "/" }]
        "#;
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.budget().unwrap(), 0.04);
        assert_eq!(settings.limits(None).measure_seconds, 180);
        assert_eq!(settings.limits(Some(0.5)).measure_seconds, 30);
        assert_eq!(settings.suite[0].mode_of("route/match", Metric::Time), Mode::Record);
        assert_eq!(settings.suite[0].mode_of("other", Metric::Instructions), Mode::Gate);
        assert!(matches!(&settings.suite[1].kind, SuiteKind::Load(load) if load.requests.len() == 1));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        assert_eq!(Settings::parse("[commits]\nlevel = 'off'").unwrap(), Settings::default());
        for (text, expect) in [
            ("[perf", "TOML"),
            ("[perf]\nbudget = 'never'", "1 in 100"),
            ("[perf]\nbudget = '0 in 100'", "1 in 100"),
            ("[perf]\nminutes-per-run = 0", "more than 0"),
            ("[[perf.suite]]\nname = 'x'", "in [perf]"),
        ] {
            let message = format!("{:#}", Settings::parse(text).unwrap_err());
            assert!(message.contains(expect), "{text}: {message}");
        }
    }
}
