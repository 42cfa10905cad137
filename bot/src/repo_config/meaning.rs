//! What the schema cannot say: globs that compile, names that differ, commands that hold together.

use super::{
    RepoConfig, TestsConfig,
    source::{Source, Step},
};
use crate::judgement::ConfigError;
use crate::text::quoted;
use globset::Glob;
use perfsuite::model::{LoadSuite, SuiteKind, SuiteSpec, job::Rate};
use toml::{Spanned, de::DeTable};

/// Names of suites appear in tables, addresses and file names.
const NAME_MAX_CHARS: usize = 60;
const CONNECTIONS_MAX: u32 = 10_000;
const REQUESTS_MAX: usize = 1_000;
/// Commands that are run for one head.
const CHECKS_MAX: usize = 20;

pub fn check(source: &Source<'_>, tree: &Spanned<DeTable<'_>>, config: &RepoConfig) -> Vec<ConfigError> {
    let mut checker = Checker { source, tree, errors: Vec::new() };
    checker.globs(&[Step::Key("tests"), Step::Key("source")], &config.tests.source);
    checker.globs(&[Step::Key("tests"), Step::Key("tests")], &config.tests.tests);
    checker.tests(&config.tests);
    for (index, count) in config.reviews.count.iter().enumerate() {
        let path = [Step::Key("reviews"), Step::Key("count"), Step::Index(index), Step::Key("paths")];
        checker.globs(&path, &count.paths);
    }
    for (index, suite) in config.perf.suite.iter().enumerate() {
        let path = [Step::Key("perf"), Step::Key("suite"), Step::Index(index)];
        checker.suite(&path, suite, &config.perf.suite[..index]);
    }
    checker.errors
}

struct Checker<'a> {
    source: &'a Source<'a>,
    tree: &'a Spanned<DeTable<'a>>,
    errors: Vec<ConfigError>,
}

impl Checker<'_> {
    fn tests(&mut self, tests: &TestsConfig) {
        if tests.check.len() > CHECKS_MAX {
            let message = format!("There are at most {CHECKS_MAX} checks.");
            self.error(&[Step::Key("tests"), Step::Key("check"), Step::Index(CHECKS_MAX)], message);
        }
        for (index, check) in tests.check.iter().enumerate() {
            let at = |key| [Step::Key("tests"), Step::Key("check"), Step::Index(index), Step::Key(key)];
            let visible = |text: &str| !text.trim().is_empty() && !text.contains(char::is_control);
            if !visible(&check.name) || check.name.chars().count() > NAME_MAX_CHARS {
                let message =
                    format!("A check's name has 1 to {NAME_MAX_CHARS} characters, all of them visible.");
                self.error(&at("name"), message);
            } else if tests.check[..index].iter().any(|other| other.name == check.name) {
                self.error(&at("name"), format!("There are two checks of the name {}.", quoted(&check.name)));
            }
            if !check.command.first().is_some_and(|program| visible(program) && !program.starts_with('-')) {
                self.error(&at("command"), "`command` must hold a program and its arguments.".into());
            } else if check.command.iter().any(|word| word.contains('\0')) {
                self.error(&at("command"), "No argument can hold a NUL.".into());
            }
        }
        for (index, lint) in tests.habits.lints.iter().enumerate() {
            let plain = lint.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if lint.is_empty() || !plain || lint.len() > NAME_MAX_CHARS {
                let path = [Step::Key("tests"), Step::Key("habits"), Step::Key("lints"), Step::Index(index)];
                let message = format!("{} is no lint: `unwrap_used`, without `clippy::`.", quoted(lint));
                self.error(&path, message);
            }
        }
    }

    fn suite(&mut self, path: &[Step<'_>], suite: &SuiteSpec, before: &[SuiteSpec]) {
        let name = &suite.name;
        let at = |key| [path, &[Step::Key(key)]].concat();
        if name.trim().is_empty() {
            self.error(&at("name"), "A suite needs a name that is not empty.".into());
        } else if name.chars().count() > NAME_MAX_CHARS || name.contains(char::is_control) {
            let message =
                format!("A suite's name has at most {NAME_MAX_CHARS} characters, all of them visible.");
            self.error(&at("name"), message);
        } else if before.iter().any(|other| other.name == *name) {
            self.error(&at("name"), format!("There are two suites of the name {}.", quoted(name)));
        }
        self.globs(&at("paths"), &suite.paths);
        let label = suite.on.strip_prefix("label:");
        if !matches!(suite.on.as_str(), "push" | "command")
            && label.is_none_or(|label| label.trim().is_empty())
        {
            let message =
                format!("`on` must be `push`, `command` or `label:NAME`, not {}.", quoted(&suite.on));
            self.error(&at("on"), message);
        }
        match &suite.kind {
            SuiteKind::Criterion(criterion) => {
                for (key, value) in [("package", &criterion.package), ("bench", &criterion.bench)] {
                    if value.as_ref().is_some_and(|value| value.is_empty() || value.starts_with('-')) {
                        self.error(&at(key), format!("`{key}` must be the name of a {key}."));
                    }
                }
                if criterion.bench.is_some() && criterion.package.is_none() {
                    self.error(&at("bench"), "`bench` needs `package` beside it.".into());
                }
            }
            SuiteKind::Load(load) => self.load(path, load),
        }
    }

    fn load(&mut self, path: &[Step<'_>], load: &LoadSuite) {
        let at = |key| [path, &[Step::Key(key)]].concat();
        for (key, command) in [("build", &load.build), ("server", &load.server)] {
            if command.first().is_none_or(|program| program.trim().is_empty()) {
                self.error(&at(key), format!("`{key}` must hold a program and its arguments."));
            }
        }
        if !load.server.iter().any(|word| word.contains("{listen}")) {
            let message = "`server` must hold `{listen}`: the address that the server is told to listen on.";
            self.error(&at("server"), message.into());
        }
        if !load.upstream.is_empty() && !load.upstream.iter().any(|word| word.contains("{upstream}")) {
            let message = "`upstream` must hold `{upstream}`: the address that it is told to listen on.";
            self.error(&at("upstream"), message.into());
        }
        if !load.ready.split_once(' ').is_some_and(|(method, path)| is_request(method, path)) {
            self.error(&at("ready"), "`ready` must be a method and a path, like \"GET /readyz\".".into());
        }
        if !(1..=CONNECTIONS_MAX).contains(&load.connections) {
            self.error(
                &at("connections"),
                format!("`connections` must lie between 1 and {CONNECTIONS_MAX}."),
            );
        }
        if matches!(load.rate, Rate::PerSecond(rate) if !(rate > 0.0 && rate <= 10_000_000.0)) {
            self.error(&at("rate"), "`rate` must be above 0 requests a second, or \"auto\".".into());
        }
        if !(load.p99_limit_ms > 0.0 && load.p99_limit_ms <= 60_000.0) {
            self.error(&at("p99-limit-ms"), "`p99-limit-ms` must lie above 0 and not above 60000.".into());
        }
        if load.requests.is_empty() || load.requests.len() > REQUESTS_MAX {
            self.error(&at("requests"), format!("`requests` must hold 1 to {REQUESTS_MAX} requests."));
        }
        for (index, request) in load.requests.iter().enumerate() {
            if !is_request(&request.method, &request.path) {
                let place = [path, &[Step::Key("requests"), Step::Index(index)]].concat();
                let message = "A request has a method and a path that starts with `/`, without white space.";
                self.error(&place, message.into());
            }
        }
    }

    fn globs(&mut self, path: &[Step<'_>], globs: &[String]) {
        for (index, glob) in globs.iter().enumerate() {
            if let Err(error) = Glob::new(glob) {
                let place = [path, &[Step::Index(index)]].concat();
                self.error(&place, format!("{} is no glob: {}.", quoted(glob), error.kind()));
            }
        }
    }

    fn error(&mut self, path: &[Step<'_>], message: String) {
        self.errors.push(self.source.error_at(self.tree, path, message));
    }
}

fn is_request(method: &str, path: &str) -> bool {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_uppercase())
        && path.starts_with('/')
        && plain(path)
}
