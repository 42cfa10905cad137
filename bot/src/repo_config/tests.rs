//! The configuration by examples: the whole file, each mistake with its place, and the schemas as committed.

use super::*;
use crate::judgement::Level;
use perfsuite::model::{Metric, Mode, SuiteKind, job::Rate};
use std::path::PathBuf;

fn errors(text: &str) -> Vec<(u32, u32, String, Option<String>)> {
    let errors = parse(text, PATH).expect_err(text);
    errors.into_iter().map(|e| (e.line, e.column, e.message, e.nearest)).collect()
}

/// One mistake: its place, a part of its message, the nearest word.
fn check(text: &str, line: u32, column: u32, part: &str, nearest: Option<&str>) {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{text}\n{errors:#?}");
    let (found_line, found_column, message, found_nearest) = &errors[0];
    assert_eq!((*found_line, *found_column), (line, column), "{text}\n{message}");
    assert!(message.contains(part), "{message:?} does not say {part:?}");
    assert_eq!(found_nearest.as_deref(), nearest, "{message}");
}

const LOAD: &str = r#"
[[perf.suite]]
name = "proxy"
kind = "load"
build = ["cargo", "build"]
server = ["{target}/release/gateway", "--listen", "{listen}"]
requests = [{ path = "/" }]
"#;

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("", PATH).unwrap();
    assert_eq!(config, RepoConfig::default());
    assert!((config.perf.budget() - 0.01).abs() < 1e-12);
    assert_eq!((config.commits.level, config.reviews.level), (Level::Error, Level::Warn));
    assert_eq!(config.tests.check.len(), 3);
    assert!(config.commits.exempts("Dependabot[bot]") && !config.commits.exempts("alice"));
}

#[test]
fn the_whole_file_is_understood() {
    let config = parse(include_str!("testdata/whole.toml"), PATH).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(
        config.commits,
        CommitsConfig {
            rules: CommitRules {
                type_enum: TypeEnum { level: Some(Level::Error), ..TypeEnum::default() },
                type_case: TypeCase { level: Some(Level::Warn), case: WordCase::Lower },
                scope_enum: ScopeEnum { level: Some(Level::Off), ..ScopeEnum::default() },
                subject_full_stop: Rule { level: Some(Level::Error) },
                subject_case: Rule { level: Some(Level::Warn) },
                header_trim: Rule { level: None },
                header_max_length: MaxLength { level: Some(Level::Error), graphemes: 100 },
                body_max_line_length: MaxLength { level: Some(Level::Warn), graphemes: 100 },
                footer_max_line_length: MaxLength { level: None, graphemes: 100 },
                footer_leading_blank: Rule { level: None },
                signed_off_by: Rule { level: Some(Level::Off) },
            },
            ..CommitsConfig::default()
        }
    );
    assert_eq!(config.tests, TestsConfig::default());
    assert_eq!((&config.reviews, &config.claims), (&ReviewsConfig::default(), &ClaimsConfig::default()));
    let [routing, proxy] = &config.perf.suite[..] else { panic!("{:#?}", config.perf.suite) };
    assert_eq!(routing.mode_of("route/match/100000", Metric::Time), Mode::Advise);
    assert_eq!(routing.mode_of("route/match/10", Metric::Time), Mode::Gate);
    assert!(matches!(&routing.kind, SuiteKind::Criterion(c) if c.bench.as_deref() == Some("route")));
    let SuiteKind::Load(load) = &proxy.kind else { panic!("{proxy:?}") };
    assert_eq!((load.rate, load.connections, load.profile.enabled), (Rate::default(), 64, true));
    assert_eq!(PerfConfig { suite: Vec::new(), ..config.perf }, PerfConfig::default());
}

#[test]
fn this_repository_keeps_its_own_rules() {
    let own = include_str!("../../../.github/paceline.toml");
    let config = parse(own, PATH).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(config.commits.level, Level::Error);
    let names: Vec<_> = config.perf.suite.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["routing", "proxy"]);
}

#[test]
fn a_short_load_suite_has_defaults() {
    let config = parse(LOAD, PATH).unwrap_or_else(|e| panic!("{e:#?}"));
    let SuiteKind::Load(load) = &config.perf.suite[0].kind else { panic!() };
    assert_eq!(
        (load.ready.as_str(), load.p99_limit_ms, load.requests[0].method.as_str()),
        ("GET /readyz", 10.0, "GET")
    );
    assert_eq!((config.perf.suite[0].on.as_str(), config.perf.suite[0].mode), ("push", Mode::Gate));
}

#[test]
fn unknown_keys_name_the_nearest() {
    check("[comits]\n", 1, 2, "did you mean `commits`?", Some("commits"));
    check("\n[commits]\nlevle = \"warn\"", 3, 1, "did you mean `level`?", Some("level"));
    check("[commits.rules]\ntype_enum = {}", 2, 1, "did you mean `type-enum`?", Some("type-enum"));
    check("[commits.rules.type-enum]\nvalue = []", 2, 1, "did you mean `values`?", Some("values"));
    check("[perf]\nminuts-per-run = 3", 2, 1, "did you mean `minutes-per-run`?", Some("minutes-per-run"));
    check("[perf]\nminutes_per_run = 3", 2, 1, "did you mean `minutes-per-run`?", Some("minutes-per-run"));
    check("[claims]\nzebra = 3", 2, 1, "known are `level`.", None);
    check(
        "[[tests.check]]\nname='a'\ncommand=['b']\ntimeout = 3",
        4,
        1,
        "`timeout`",
        Some("timeout-minutes"),
    );
}

#[test]
fn unknown_keys_are_seen_inside_suites() {
    check(&format!("{LOAD}conections = 5"), 8, 1, "did you mean `connections`?", Some("connections"));
    check(
        &format!("{LOAD}[perf.suite.profile]\nenable = true"),
        9,
        1,
        "did you mean `enabled`?",
        Some("enabled"),
    );
    check("[[perf.suite]]\nname='a'\nkind='criterion'\npakage='b'", 4, 1, "`package`?", Some("package"));
    check("[[perf.suite]]\nname='a'\nkind='criterion'\nserver=['b']", 4, 1, "`server`", None);
    check(
        "[[perf.suite]]\nname='a'\nkind='criterion'\n[perf.suite.benchmarks.'a/b']\nmod = 'gate'\nmode = 'gate'",
        5,
        1,
        "did you mean `mode`?",
        Some("mode"),
    );
    let request = LOAD.replace("{ path = \"/\" }", "{ path = \"/\", metod = \"GET\" }");
    check(&request, 7, 27, "did you mean `method`?", Some("method"));
}

#[test]
fn kinds_and_missing_keys() {
    check("[[perf.suite]]\nname='a'\nkind='criteron'", 3, 6, "did you mean `criterion`?", Some("criterion"));
    check("[[perf.suite]]\nname='a'", 1, 1, "`kind` is missing", None);
    check("[[perf.suite]]\nname='a'\nkind=3", 3, 6, "`kind` must be", None);
    check("[[perf.suite]]\nkind='criterion'", 1, 1, "`name` is missing", None);
    check(&LOAD.replace("build", "#"), 2, 1, "`build` is missing", None);
    check("[[tests.check]]\nname='a'", 1, 1, "`command` is missing", None);
}

#[test]
fn wrong_types_and_values_have_places() {
    check("commits = 3", 1, 11, "`commits` must be a table, not a whole number", None);
    check("[commits]\nlevel = 'eror'", 2, 9, "must be `error`, `off` or `warn`, not `eror`", Some("error"));
    check("[commits]\nlevel = true", 2, 9, "not true or false", None);
    check("[commits]\nexempt = 'a'", 2, 10, "must be a list, not a text", None);
    check("[commits]\nexempt = ['a', 3]", 2, 16, "must be a text, not a whole number", None);
    check("[commits.rules]\nheader-max-length = { graphemes = 0 }", 2, 35, "at least 1", None);
    check("[perf]\nminutes-per-run = '3'", 2, 19, "must be a number, not a text", None);
    check("[perf]\nminutes-per-run = -3", 2, 19, "at least 0.1", None);
    check("[perf]\nminutes-per-run = 1e9", 2, 19, "at most 720", None);
    check("[perf]\nminutes-per-run = nan", 2, 19, "finite", None);
    check("[perf]\nbudget = '1 of 100'", 2, 10, "write it like \"1 in 100\"", None);
    check("[perf]\nbudget = '0 in 100'", 2, 10, "between", None);
    check("[perf]\nbudget = '2 in 3'", 2, 10, "between", None);
    check("[perf]\nbudget = 0.01", 2, 10, "must be a text, not a number", None);
    check("[perf]\nforks = 'always'", 2, 9, "`approve` or `never`", None);
    check("[labels]\nperf-regression = ''", 2, 19, "must not be empty", None);
    check("[reviews]\nowners-per-file = 99999999999999999999", 2, 19, "too large", None);
    check("[perf]\nreference = 2024-01-01", 2, 13, "not a date", None);
}

#[test]
fn meaning_is_checked_too() {
    let suite = |keys: &str| format!("[[perf.suite]]\nname='a'\nkind='criterion'\n{keys}");
    check(&suite("paths=['a/**', '[']"), 4, 16, "is no glob", None);
    check(&suite("on='always'"), 4, 4, "`label:NAME`", None);
    check(&suite("on='label:'"), 4, 4, "`label:NAME`", None);
    check(&suite("bench='b'"), 4, 7, "needs `package`", None);
    check(&suite("package='--all'\n"), 4, 9, "name of a package", None);
    check("[[perf.suite]]\nname=' '\nkind='criterion'", 2, 6, "not empty", None);
    check(&(suite("") + &suite("")), 5, 6, "two suites of the name `a`", None);
    check("[tests]\nsource=['{a']", 2, 9, "is no glob", None);
    check("[[reviews.count]]\npaths=['a', '{a']\nowners=1", 2, 13, "is no glob", None);
    check("[[reviews.count]]\npaths=['a']", 1, 1, "`owners` is missing", None);
    check(&format!("{LOAD}connections = 0"), 8, 15, "between 1 and", None);
    check(&format!("{LOAD}rate = 0"), 8, 8, "above 0", None);
    check(&format!("{LOAD}rate = 'half'"), 8, 8, "`auto` or a number", None);
    check(&format!("{LOAD}ready = '/readyz'"), 8, 9, "GET /readyz", None);
    check(&LOAD.replace("{ path = \"/\" }", "{ path = \"x\" }"), 7, 13, "starts with `/`", None);
    check(&LOAD.replace("\"{listen}\"", "\"x\""), 6, 10, "{listen}", None);
    check(&LOAD.replace("[\"cargo\", \"build\"]", "[]"), 5, 9, "a program", None);
}

#[test]
fn what_is_no_toml_has_a_place() {
    let errors = errors("[commits]\nlevel = \n");
    assert_eq!((errors.len(), errors[0].0), (1, 2), "{errors:?}");
    check("[commits]\nlevel='warn'\nlevel='warn'", 3, 1, "uplicate key", None);
}

#[test]
fn sizes_are_bounded() {
    let large = "#".repeat(CONFIG_MAX_BYTES + 1);
    check(&large, 1, 1, "at most 256 KiB", None);
    assert_eq!(parse_bytes(large.replace('#', "\u{301}").as_bytes(), PATH).unwrap_err().len(), 1);
    let many: String = (0..5_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(errors(&many).len(), ERRORS_MAX);
    let deep = format!("[commits]\nexempt = {}", "[".repeat(100_000));
    assert_eq!(errors(&deep).len(), 1);
    let binary = parse_bytes(b"[commits]\nlevel = \"\xff\"", PATH).unwrap_err();
    assert_eq!((binary[0].line, binary[0].column), (2, 10));
}

#[test]
fn several_mistakes_come_in_order() {
    let errors = errors("[perf]\nfork = 1\n[commits]\nlevle = 1\n[perf.x]\n");
    let lines: Vec<u32> = errors.iter().map(|e| e.0).collect();
    assert_eq!(lines, [2, 4, 5]);
}

#[test]
fn columns_are_characters() {
    check("[commits]\nexempt = ['ä', 3]", 2, 16, "must be a text", None);
}

fn pushed(config: &str, changed: &[&str]) -> Result<Vec<String>, String> {
    let changed: Vec<String> = changed.iter().map(|p| (*p).into()).collect();
    let suites = suites_for(&parse(config, PATH).unwrap(), &changed)?;
    Ok(suites.into_iter().map(|s| s.name).collect())
}

#[test]
fn paths_choose_the_suites() {
    let whole = include_str!("testdata/whole.toml");
    assert_eq!(pushed(whole, &["gateway/src/route.rs"]), Ok(vec!["routing".into(), "proxy".into()]));
    assert_eq!(pushed(whole, &["bot/src/lib.rs"]), Ok(vec!["proxy".into()]));
    assert_eq!(
        pushed(whole, &["README.md", "docs/a.png", "LICENSE-MIT"]),
        Err("only documentation changed".into())
    );
    assert_eq!(pushed(whole, &[]), Err("no file changed".into()));
    assert_eq!(pushed("", &["src/lib.rs"]), Ok(vec![]));
    assert_eq!(pushed("", &["README.md"]), Err("only documentation changed".into()));
    let routing = "[[perf.suite]]\nname='r'\nkind='criterion'\npaths=['gateway/**']\n";
    assert_eq!(pushed(routing, &["bot/src/lib.rs"]), Err("no changed file belongs to a suite".into()));
}

#[test]
fn labels_and_commands_choose_suites() {
    let text = "[[perf.suite]]\nname='l'\nkind='criterion'\non='label:perf'\n[[perf.suite]]\nname='c'\nkind='criterion'\non='command'\n";
    let config = parse(text, PATH).unwrap();
    let changed = ["src/lib.rs".to_owned()];
    let names = |trigger| {
        select(&config, &changed, trigger).map(|s| s.into_iter().map(|s| s.name).collect::<Vec<_>>())
    };
    assert!(names(Trigger::Push { labels: &[] }).unwrap_err().contains("wait for a label"));
    let labels = ["perf".to_owned()];
    assert_eq!(names(Trigger::Push { labels: &labels }).unwrap(), ["l"]);
    assert_eq!(names(Trigger::Command { suite: None }).unwrap(), ["l", "c"]);
    assert_eq!(names(Trigger::Command { suite: Some("c") }).unwrap(), ["c"]);
    assert!(names(Trigger::Command { suite: Some("x") }).is_err());
}

#[test]
fn a_file_is_checked_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("paceline.toml");
    std::fs::write(&path, "[perf]\n  minuts-per-run = 3\nforks = \"äh\"\n").unwrap();
    let check = check_file(&path);
    assert!(!check.valid);
    let text = check.text.replace(&path.display().to_string(), "FILE");
    insta::assert_snapshot!(text, @r#"
    error: Unknown key `minuts-per-run` in `perf`; did you mean `minutes-per-run`?
     --> FILE:2:3
      |
    2 |   minuts-per-run = 3
      |   ^^^^^^^^^^^^^^

    error: `forks` must be `approve` or `never`, not `äh`.
     --> FILE:3:9
      |
    3 | forks = "äh"
      |         ^

    FILE: 2 errors
    "#);
    std::fs::write(&path, "").unwrap();
    assert!(check_file(&path).valid);
    assert!(check_file(&dir.path().join("none")).text.starts_with("error: cannot read"));
}

/// Set `PACELINE_WRITE_SCHEMAS=1` to write the files anew after a change of the types.
#[test]
fn the_committed_schemas_are_up_to_date() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    for (name, schema) in
        [("paceline.schema.json", &*schema::REPO_CONFIG), ("run.schema.json", &*schema::RUN)]
    {
        let path = folder.join(name);
        let wanted = schema::pretty(schema);
        if std::env::var_os("PACELINE_WRITE_SCHEMAS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == wanted, "{name} is out of date; run the tests with PACELINE_WRITE_SCHEMAS=1");
    }
}

#[test]
fn some_paths_want_more_owners() {
    let text =
        "[[reviews.count]]\npaths=['gateway/**']\nowners=3\n[[reviews.count]]\npaths=['**/*.md']\nowners=0\n";
    let config = parse(text, PATH).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(config.reviews.counts(["bot/a.rs", "gateway/a.rs", "gateway/a.md"]), [2, 3, 0]);
}

#[test]
fn metrics_have_modes_of_their_own() {
    let suite = |more: &str| format!("[[perf.suite]]\nname='a'\nkind='criterion'\n{more}");
    let config = parse(&suite("metrics = { instructions = 'gate', time = 'advise' }"), PATH).unwrap();
    let modes = [Metric::Instructions, Metric::Time].map(|metric| config.perf.suite[0].mode_of("b", metric));
    assert_eq!(modes, [Mode::Gate, Mode::Advise]);
    let config =
        parse(&suite("[perf.suite.benchmarks.'b']\nmetrics = { instructions = 'gate' }"), PATH).unwrap();
    assert_eq!(config.perf.suite[0].mode_of("b", Metric::Instructions), Mode::Gate);
    assert_eq!(config.perf.suite[0].mode_of("c", Metric::Instructions), Mode::Advise);
    for wrong in ["metrics = { instruction = 'gate' }", "metrics = { time = 'gates' }"] {
        assert_eq!(errors(&suite(wrong)).len(), 1, "{wrong}");
    }
}
