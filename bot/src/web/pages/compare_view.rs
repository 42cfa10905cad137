//! Two commits as their page compares them. Pure.

use super::history_list;
use super::interval::{IntervalBar, Scale};
use super::parts::{Badge, Kind, clean, verdict_word};
use crate::compared::{Basis, Compared, Difference};
use crate::db::series::Key;
use crate::format;
use crate::pull::RepoName;
use askama::Template;
use perfsuite::model::{Metric, Verdict};
use perfsuite::verdict::sequential::EQUAL_WITHIN;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Rows on one page; the filter finds the others.
const ROWS_MAX: usize = 1_000;
/// A filter's text: longer than any benchmark's name.
const FILTER_MAX_CHARS: usize = 200;
/// Digits of a commit id in a command: unique in any repository that there is.
const COMMIT_DIGITS: usize = 12;

/// What a visitor wants to see. Anything that is no choice is the first one.
#[derive(Debug, Default, Deserialize)]
pub struct Choice {
    #[serde(default)]
    show: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    group: String,
    /// What a name must have in it.
    #[serde(default)]
    q: String,
}

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    /// What did not change is hidden.
    Changed,
    All,
    Only(Verdict),
}

impl Show {
    const ALL: [Show; 6] = [
        Show::Changed,
        Show::All,
        Show::Only(Verdict::Slower),
        Show::Only(Verdict::Faster),
        Show::Only(Verdict::Inconclusive),
        Show::Only(Verdict::Equal),
    ];

    /// Without a wish what changed, where something did.
    fn chosen(text: &str, rows: &[Difference]) -> Self {
        let asked = Self::ALL.into_iter().find(|show| show.word() == text);
        let changed = rows.iter().any(Difference::changed);
        asked.unwrap_or(if changed { Show::Changed } else { Show::All })
    }

    fn word(self) -> &'static str {
        match self {
            Show::Changed => "changed",
            Show::All => "all",
            Show::Only(verdict) => verdict_word(verdict),
        }
    }

    fn takes(self, row: &Difference) -> bool {
        match self {
            Show::Changed => row.changed(),
            Show::All => true,
            Show::Only(verdict) => row.verdict == verdict,
        }
    }
}

const SORTS: [(&str, &str); 3] =
    [("change", "largest change first"), ("name", "by name"), ("signed", "from faster to slower")];
const GROUPS: [(&str, &str); 3] = [("none", "all together"), ("suite", "by suite"), ("metric", "by metric")];

fn chosen(text: &str, among: &[(&'static str, &'static str)]) -> &'static str {
    among.iter().map(|(name, _)| *name).find(|name| *name == text).unwrap_or(among[0].0)
}

#[derive(Template)]
#[template(path = "pages/compare.html")]
pub struct ComparePage {
    name: String,
    tab: &'static str,
    /// As the form has them.
    base: String,
    head: String,
    lately: Vec<(String, String)>,
    complaints: Vec<String>,
    found: Option<Found>,
}

struct Found {
    base: String,
    head: String,
    /// The run's, where there is one.
    job: Option<String>,
    nothing: bool,
    one_sided: usize,
    shows: Vec<Link>,
    sorts: Vec<Link>,
    groups_by: Vec<Link>,
    wanted: String,
    /// What the filter's form sends along.
    show: &'static str,
    sort: &'static str,
    group: &'static str,
    groups: Vec<Group>,
    scale: String,
    equal: String,
    shown: usize,
    left_out: usize,
    swapped: String,
    json: String,
    reproduce: String,
}

struct Link {
    address: String,
    word: &'static str,
    count: Option<String>,
    chosen: bool,
}

struct Group {
    title: Option<String>,
    rows: Vec<Row>,
}

struct Row {
    suite: String,
    benchmark: String,
    metric: &'static str,
    base: String,
    head: String,
    change: String,
    interval: String,
    bar: Option<IntervalBar>,
    verdict: Badge,
    changed: bool,
    history: String,
    visits: Option<String>,
}

/// The form alone.
pub fn form(
    name: &RepoName,
    [base, head]: [&str; 2],
    lately: Vec<(String, String)>,
    asked: bool,
) -> ComparePage {
    let words = "A commit is named by its id, or by seven or more of its first digits.";
    ComparePage {
        name: name.to_string(),
        tab: "compare",
        base: clean(base).chars().take(64).collect(),
        head: clean(head).chars().take(64).collect(),
        lately: offered(lately),
        complaints: if asked { vec![words.into()] } else { Vec::new() },
        found: None,
    }
}

fn offered(lately: Vec<(String, String)>) -> Vec<(String, String)> {
    lately.into_iter().map(|(sha, subject)| (sha, clean(&subject))).collect()
}

/// With what was found; or why nothing was.
pub fn page(
    name: &RepoName,
    [base, head]: [&str; 2],
    found: Result<Compared, Vec<String>>,
    choice: &Choice,
    lately: Vec<(String, String)>,
) -> ComparePage {
    let name = name.to_string();
    let (found, complaints) = match found {
        Ok(compared) => (Some(view(&name, &compared, choice)), Vec::new()),
        Err(complaints) => (None, complaints),
    };
    ComparePage {
        tab: "compare",
        base: base.into(),
        head: head.into(),
        lately: offered(lately),
        complaints,
        found,
        name,
    }
}

fn view(name: &str, compared: &Compared, choice: &Choice) -> Found {
    let wanted: String = clean(&choice.q).chars().take(FILTER_MAX_CHARS).collect();
    let lower = wanted.to_lowercase();
    let named = |row: &&Difference| {
        lower.is_empty()
            || row.benchmark.to_lowercase().contains(&lower)
            || row.suite.to_lowercase().contains(&lower)
    };
    let matching: Vec<&Difference> = compared.rows.iter().filter(named).collect();
    let show = Show::chosen(&choice.show, &compared.rows);
    let (sort, group) = (chosen(&choice.sort, &SORTS), chosen(&choice.group, &GROUPS));
    let (base, head) = (&compared.base, &compared.head);
    let here = format!("/{name}/compare/{base}...{head}");
    let address = |show: &str, sort: &str, group: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("show", show)
            .append_pair("sort", sort)
            .append_pair("group", group)
            .append_pair("q", &wanted)
            .finish();
        format!("{here}?{query}#rows")
    };
    let mut shown: Vec<&Difference> = matching.iter().copied().filter(|row| show.takes(row)).collect();
    match sort {
        "name" => shown.sort_by_key(|row| (&row.suite, &row.benchmark, row.metric)),
        "signed" => shown.sort_by(|a, b| a.change.total_cmp(&b.change)),
        // As they come.
        _ => {}
    }
    let left_out = shown.len().saturating_sub(ROWS_MAX);
    shown.truncate(ROWS_MAX);
    let scale = Scale::holding(compared.rows.iter().map(|row| (row.low, row.high)));
    let job = match &compared.basis {
        Basis::Run { job } => Some(job.clone()),
        Basis::History | Basis::Nothing => None,
    };
    let digits = |sha: &perfsuite::model::Sha| sha.as_str()[..COMMIT_DIGITS].to_owned();
    Found {
        base: base.short().into(),
        head: head.short().into(),
        nothing: compared.basis == Basis::Nothing,
        one_sided: compared.one_sided,
        shows: Show::ALL
            .into_iter()
            .map(|choice| {
                let count = matching.iter().filter(|row| choice.takes(row)).count();
                Link {
                    address: address(choice.word(), sort, group),
                    word: choice.word(),
                    count: Some(format::thousands(count as f64)),
                    chosen: choice == show,
                }
            })
            .collect(),
        sorts: links(&SORTS, sort, |sort| address(show.word(), sort, group)),
        groups_by: links(&GROUPS, group, |group| address(show.word(), sort, group)),
        show: show.word(),
        sort,
        group,
        shown: shown.len(),
        left_out,
        groups: grouped(name, job.as_deref(), &shown, group, scale),
        scale: format!("{:.0} %", scale.end * 100.0),
        equal: format::percent(EQUAL_WITHIN),
        swapped: format!("/{name}/compare/{head}...{base}"),
        json: format!("/api/v1/repositories/{name}/compare/{base}...{head}"),
        reproduce: format!("paceline review {}..{}", digits(base), digits(head)),
        wanted,
        job,
    }
}

fn links(
    among: &[(&'static str, &'static str)],
    chosen: &str,
    address: impl Fn(&str) -> String,
) -> Vec<Link> {
    let link = |(name, word): &(&'static str, &'static str)| Link {
        address: address(name),
        word,
        count: None,
        chosen: *name == chosen,
    };
    among.iter().map(link).collect()
}

/// Groups in the order of their names; rows keep theirs.
fn grouped(name: &str, job: Option<&str>, rows: &[&Difference], by: &str, scale: Scale) -> Vec<Group> {
    let mut groups: BTreeMap<Option<String>, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let title = match by {
            "suite" => Some(clean(&row.suite)),
            "metric" => Some(row.metric.title().to_owned()),
            _ => None,
        };
        groups.entry(title).or_default().push(row_view(name, job, row, scale));
    }
    groups.into_iter().map(|(title, rows)| Group { title, rows }).collect()
}

fn row_view(name: &str, job: Option<&str>, row: &Difference, scale: Scale) -> Row {
    let kind = match row.verdict {
        Verdict::Slower | Verdict::Faster if row.metric == Metric::Instructions => Kind::Quiet,
        Verdict::Slower => Kind::Slower,
        Verdict::Faster => Kind::Faster,
        Verdict::Equal => Kind::Equal,
        Verdict::Inconclusive => Kind::Unsure,
    };
    let raw = |value: Option<f64>| {
        value.map_or_else(|| format::NONE.into(), |value| format::value(row.metric, value))
    };
    let key = Key {
        suite: row.suite.clone(),
        benchmark: row.benchmark.clone(),
        metric: row.metric.as_str().into(),
    };
    Row {
        suite: clean(&row.suite),
        benchmark: clean(&row.benchmark),
        metric: row.metric.title(),
        base: raw(row.base),
        head: raw(row.head),
        change: format::change(row.change),
        interval: format::interval(row.low, row.high),
        bar: IntervalBar::of(kind, (row.change, row.low, row.high), scale),
        verdict: Badge::new(kind, verdict_word(row.verdict)),
        changed: row.changed(),
        history: history_list::address(name, &key),
        visits: job.zip(row.place).map(|(job, place)| format!("/runs/{job}/visits/{place}")),
    }
}
