//! Small parts that every page is made of: times, badges, commits. Pure.

use crate::db::overview::JobSummary;
use crate::format;
use crate::queue::JobState;
use crate::render::words;
use askama::Template;
use askama::filters::HtmlSafe;
use perfsuite::model::{Certainty, Comparison, Metric, Report, Verdict};

/// A time: how long ago, with the exact time behind it.
#[derive(Template)]
#[template(source = "<time datetime=\"{{ iso }}\" title=\"{{ exact }}\">{{ ago }}</time>", ext = "html")]
pub struct When {
    iso: String,
    exact: String,
    ago: String,
}

impl HtmlSafe for When {}

impl When {
    pub fn new(at_ms: i64, now_ms: i64) -> Self {
        Self { iso: format::iso(at_ms), exact: format::exact(at_ms), ago: format::ago(at_ms, now_ms) }
    }
}

/// What a badge stands for: a colour and a shape, never without its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Slower,
    Faster,
    Equal,
    Unsure,
    Running,
    Waiting,
    Broken,
    /// As the conventions want it.
    Fine,
    /// Nothing to say.
    Quiet,
}

impl Kind {
    pub fn class(self) -> &'static str {
        match self {
            Kind::Slower => "slower",
            Kind::Faster => "faster",
            Kind::Equal => "equal",
            Kind::Unsure => "unsure",
            Kind::Running => "running",
            Kind::Waiting => "waiting",
            Kind::Broken => "broken",
            Kind::Fine => "fine",
            Kind::Quiet => "quiet",
        }
    }

    /// A shape of its own, for those who do not see the colour.
    pub fn symbol(self) -> &'static str {
        match self {
            Kind::Slower => "◆",
            Kind::Faster => "●",
            Kind::Equal => "○",
            Kind::Unsure => "?",
            Kind::Running => "▸",
            Kind::Waiting => "…",
            Kind::Broken => "✕",
            Kind::Fine => "✓",
            Kind::Quiet => "–",
        }
    }
}

/// How a row looks. A change that layout may have made alone is not certain enough for a colour of its own.
pub fn kind_of(row: &Comparison) -> Kind {
    match row.verdict {
        _ if row.certainty == Certainty::LayoutSuspect => Kind::Unsure,
        _ if row.metric == Metric::Instructions && !row.blocks() => Kind::Quiet,
        Verdict::Slower => Kind::Slower,
        Verdict::Faster => Kind::Faster,
        Verdict::Equal => Kind::Equal,
        Verdict::Inconclusive => Kind::Unsure,
    }
}

#[derive(Template)]
#[template(
    source = "<span class=\"badge {{ kind.class() }}\"><span class=\"mark\" aria-hidden=\"true\">{{ kind.symbol() }}</span> {{ word }}</span>",
    ext = "html"
)]
pub struct Badge {
    pub kind: Kind,
    pub word: String,
}

impl HtmlSafe for Badge {}

impl Badge {
    pub fn new(kind: Kind, word: impl Into<String>) -> Self {
        Self { kind, word: word.into() }
    }
}

/// A verdict in one word.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Slower => "slower",
        Verdict::Faster => "faster",
        Verdict::Equal => "equal",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// A row's verdict, with its certainty where that is in doubt.
pub fn verdict(row: &Comparison) -> Badge {
    let word = verdict_word(row.verdict);
    if row.metric == Metric::Instructions {
        return Badge::new(kind_of(row), words::verdict(row).1);
    }
    match row.certainty {
        Certainty::LayoutSuspect => Badge::new(kind_of(row), format!("{word}, perhaps layout")),
        Certainty::Confirmed | Certainty::InstructionChange | Certainty::NotApplicable => {
            Badge::new(kind_of(row), word)
        }
    }
}

/// Where a job stands, in badges: what changed each, or one word for all.
pub fn standing(job: &JobSummary) -> Vec<Badge> {
    let one = |kind, word: String| vec![Badge::new(kind, word)];
    match job.state {
        JobState::Queued => one(Kind::Waiting, "queued".into()),
        JobState::Claimed => one(Kind::Running, "preparing".into()),
        JobState::Building => one(Kind::Running, "building".into()),
        JobState::Measuring => one(Kind::Running, "measuring".into()),
        JobState::Failed => one(Kind::Broken, "could not be measured".into()),
        JobState::Cancelled => one(Kind::Quiet, "cancelled".into()),
        JobState::Superseded => one(Kind::Quiet, "superseded".into()),
        JobState::Done if job.tally.rows() == 0 => vec![without_rows(job.report.as_ref())],
        JobState::Done => tally(job),
    }
}

fn tally(job: &JobSummary) -> Vec<Badge> {
    let tally = &job.tally;
    let mut badges = Vec::new();
    let mut add = |kind, count: i64, word: &str| {
        if count > 0 {
            badges.push(Badge::new(kind, format!("{} {word}", format::thousands(count as f64))));
        }
    };
    add(Kind::Slower, tally.blocking, "slower, blocking");
    add(Kind::Slower, tally.slower - tally.blocking, "slower");
    add(Kind::Faster, tally.faster, "faster");
    add(Kind::Unsure, tally.suspect, "perhaps layout");
    add(Kind::Equal, tally.equal, "equal");
    add(Kind::Unsure, tally.inconclusive, "inconclusive");
    badges
}

/// A report without a single row, in words.
fn without_rows(report: Option<&Report>) -> Badge {
    match report {
        Some(report) if report.broken_build().is_some() => Badge::new(Kind::Broken, "does not build"),
        Some(report) if !report.failures.is_empty() => Badge::new(Kind::Broken, "every benchmark failed"),
        Some(report) if report.has_same_code() => Badge::new(Kind::Equal, "identical code"),
        _ => Badge::new(Kind::Quiet, "nothing to measure"),
    }
}

/// A line of our own that quotes code between backticks.
#[derive(Template)]
#[template(
    source = "{% for part in parts %}{% if loop.index0 % 2 == 1 %}<code>{{ part }}</code>{% else %}{{ part }}{% endif %}{% endfor %}",
    ext = "html"
)]
pub struct Prose {
    /// Text and code in turn.
    parts: Vec<String>,
}

impl HtmlSafe for Prose {}

impl Prose {
    /// A backtick without its partner stays one.
    pub fn new(text: &str) -> Self {
        let text = clean(text);
        let paired = text.matches('`').count().is_multiple_of(2);
        let parts = if paired { text.split('`').map(str::to_owned).collect() } else { vec![text] };
        Self { parts }
    }
}

/// Other people's text without what would act on a page or a terminal: escape sequences are dropped, marks that turn
/// the direction of writing become visible.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends with a byte from @ to ~.
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                out.push('\u{fffd}');
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_text_does_nothing() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m b\u{202e}c\u{0}\td\n"), "ared b\u{fffd}c\td\n");
        assert_eq!(clean("\u{1b}[31"), "");
        assert_eq!(clean("ünïcode 👍"), "ünïcode 👍");
    }

    #[test]
    fn parts_are_escaped_inside() {
        let badge = Badge::new(Kind::Slower, "<b>").to_string();
        assert!(badge.contains("&#60;b&#62;"), "{badge}");
        let prose = Prose::new("it wants `<type>: x`.").to_string();
        assert_eq!(prose, "it wants <code>&#60;type&#62;: x</code>.");
        assert_eq!(Prose::new("one ` alone").to_string(), "one ` alone");
    }
}
