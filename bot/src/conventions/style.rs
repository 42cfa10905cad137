//! Rules of style beside the specification, by config-conventional's definitions, each with its level.

use super::{
    footers::{self, Below},
    header::{self, Header},
    message::{self, Text},
};
use crate::text::quoted;
use crate::{
    judgement::{Finding, Level},
    repo_config::{CommitsConfig, WordCase},
    text,
};

/// Long lines named one by one in one message; the last finding counts the rest.
const LONG_LINES_SHOWN: usize = 3;

/// Judges what can be judged: the header's parts where it could be read, and the lines below it.
pub fn check(text: &Text, header: Option<Header>, below: &Below, config: &CommitsConfig) -> Vec<Finding> {
    let mut style = Style { text, config, findings: Vec::new() };
    let corrected = header.map(|header| corrected(header, config));
    if let Some(header) = header {
        let corrected = corrected.as_deref().filter(|corrected| *corrected != text.header());
        style.kind(header, corrected);
        style.scope(header);
        style.subject(header, corrected);
    }
    style.header_length(header, corrected.as_deref());
    style.long_lines(below, Part::Body);
    style.long_lines(below, Part::Footers);
    style.unheard(below);
    style.sign_off(below);
    style.findings
}

/// The header with everything mended that can be mended by rule: type, case, full stop.
pub fn corrected(header: Header, config: &CommitsConfig) -> String {
    let rules = &config.rules;
    let on = |own, default| config.level_of(own, default) > Level::Off;
    let mut kind = header.kind.to_owned();
    if on(rules.type_enum.level, Level::Error)
        && !known(&kind, &rules.type_enum.values)
        && let Some(near) = near_type(&kind, &rules.type_enum.values)
    {
        kind = near;
    }
    if on(rules.type_case.level, Level::Warn) {
        kind = cased(&kind, rules.type_case.case);
    }
    let mut description = header.description.to_owned();
    if on(rules.subject_full_stop.level, Level::Error) && has_full_stop(&description) {
        let kept = description.trim_end_matches(['.', ' ']);
        if !kept.is_empty() {
            description.truncate(kept.len());
        }
    }
    if on(rules.subject_case.level, Level::Warn)
        && starts_upper(&description)
        && let Some(lowered) = lowered(&description)
    {
        description = lowered;
    }
    header::written(&kind, header.scope, header.breaking, &description)
}

/// Where a line below the header stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Body,
    Footers,
}

struct Style<'a> {
    text: &'a Text<'a>,
    config: &'a CommitsConfig,
    findings: Vec<Finding>,
}

impl Style<'_> {
    fn kind(&mut self, header: Header, corrected: Option<&str>) {
        let rules = &self.config.rules;
        let (enumeration, case) = (&rules.type_enum, &rules.type_case);
        if !known(header.kind, &enumeration.values) {
            let message =
                format!("The type {} is not one of {}.", quoted(header.kind), listed(&enumeration.values));
            let mended = near_type(header.kind, &enumeration.values).and(corrected);
            self.at_header("type-enum", (enumeration.level, Level::Error), 0, message, mended);
        }
        if cased(header.kind, case.case) != header.kind {
            let word = match case.case {
                WordCase::Lower => "lower",
                WordCase::Upper => "upper",
            };
            let message = format!("The type {} is not in {word} case.", quoted(header.kind));
            self.at_header("type-case", (case.level, Level::Warn), 0, message, corrected);
        }
    }

    fn scope(&mut self, header: Header) {
        let rule = &self.config.rules.scope_enum;
        let Some(scope) = header.scope.filter(|_| !rule.values.is_empty()) else { return };
        let listed_scope = |scope: &str| rule.values.iter().any(|value| value == scope.trim());
        if listed_scope(scope) || scope.split(['/', '\\', ',']).all(listed_scope) {
            return;
        }
        let message = format!("The scope {} is not one of {}.", quoted(scope), listed(&rule.values));
        self.at_header("scope-enum", (rule.level, Level::Off), header.kind.len() + 1, message, None);
    }

    fn subject(&mut self, header: Header, corrected: Option<&str>) {
        let rules = &self.config.rules;
        let end = header.description_at + header.description.len();
        if has_full_stop(header.description) {
            let mended = corrected.filter(|c| !has_full_stop(c));
            let message = "A full stop ends the description.".to_owned();
            self.at_header(
                "subject-full-stop",
                (rules.subject_full_stop.level, Level::Error),
                end - 1,
                message,
                mended,
            );
        }
        if starts_upper(header.description) {
            let mended = lowered(header.description).and(corrected);
            let message = "The description starts with a capital letter.".to_owned();
            let levels = (rules.subject_case.level, Level::Warn);
            self.at_header("subject-case", levels, header.description_at, message, mended);
        }
        if self.text.header().len() > end {
            let message = "White space follows the description.".to_owned();
            self.at_header("header-trim", (rules.header_trim.level, Level::Error), end, message, corrected);
        }
    }

    fn header_length(&mut self, header: Option<Header>, corrected: Option<&str>) {
        let rule = self.config.rules.header_max_length;
        let line = self.text.header();
        let max = rule.graphemes as usize;
        if !text::longer_than(line, max) {
            return;
        }
        let message =
            format!("The header has {} characters; at most {max} are allowed.", text::graphemes(line));
        let at = text::offset(line, max);
        let suggestion = match corrected.filter(|corrected| !text::longer_than(corrected, max)) {
            Some(corrected) => header::offered(corrected),
            None => corrected.filter(|_| header.is_some()).and_then(|line| divided(line, max)),
        };
        let place = (self.text.header, text::column(line, at));
        self.push("header-max-length", (rule.level, Level::Error), place, message, suggestion);
    }

    fn long_lines(&mut self, below: &Below, part: Part) {
        let (name, rule) = match part {
            Part::Body => ("body-max-line-length", self.config.rules.body_max_line_length),
            Part::Footers => ("footer-max-line-length", self.config.rules.footer_max_line_length),
        };
        let max = rule.graphemes as usize;
        let lines = self.text.below_header();
        let lines = lines.filter(|(index, _)| (*index < below.footers_at) == (part == Part::Body));
        // A line with an address cannot be broken where the address is, so it is left alone.
        let long = lines.filter(|(_, line)| text::longer_than(line, max) && !line.contains("://"));
        let long: Vec<usize> = long.map(|(index, _)| index).collect();
        for (count, index) in long.iter().enumerate().take(LONG_LINES_SHOWN) {
            let mut message = format!("The line is longer than {max} characters.");
            if count + 1 == LONG_LINES_SHOWN && long.len() > LONG_LINES_SHOWN {
                message += &format!(" So are {} more below it.", long.len() - LONG_LINES_SHOWN);
            }
            let suggestion = wrapped(self.text.lines[*index], max, part);
            let column = u32::try_from(max).unwrap_or(u32::MAX).saturating_add(1);
            self.push(name, (rule.level, Level::Warn), (*index, column), message, suggestion);
        }
    }

    fn unheard(&mut self, below: &Below) {
        let rule = self.config.rules.footer_leading_blank;
        if let Some(index) = below.unheard.first() {
            let message = "An empty line is missing before this footer, so it announces no breaking change.";
            let suggestion = message::after_blank(self.text.lines[*index]);
            self.push(
                "footer-leading-blank",
                (rule.level, Level::Warn),
                (*index, 1),
                message.into(),
                suggestion,
            );
        }
    }

    fn sign_off(&mut self, below: &Below) {
        let rule = self.config.rules.signed_off_by;
        let signed = below.footers.iter().any(|footer| footer.token.eq_ignore_ascii_case("Signed-off-by"));
        // A sign-off at the end of a long footer's value is one all the same.
        if signed || self.text.below_header().any(|(_, line)| line.starts_with("Signed-off-by: ")) {
            return;
        }
        let last = self.text.lines.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0);
        let message = "A `Signed-off-by: Name <address>` line is missing (`git commit --amend --signoff`).";
        self.push("signed-off-by", (rule.level, Level::Off), (last, 1), message.into(), None);
    }

    fn at_header(
        &mut self,
        rule: &str,
        levels: (Option<Level>, Level),
        at: usize,
        message: String,
        mended: Option<&str>,
    ) {
        let place = (self.text.header, text::column(self.text.header(), at));
        self.push(rule, levels, place, message, mended.and_then(header::offered));
    }

    fn push(
        &mut self,
        rule: &str,
        levels: (Option<Level>, Level),
        place: (usize, u32),
        message: String,
        suggestion: Option<String>,
    ) {
        let level = self.config.level_of(levels.0, levels.1);
        if level > Level::Off {
            let line = self.text.line_number(place.0);
            self.findings.push(Finding {
                rule: rule.into(),
                level,
                line,
                column: place.1,
                message,
                suggestion,
            });
        }
    }
}

fn known(kind: &str, values: &[String]) -> bool {
    values.is_empty() || values.iter().any(|value| value.to_lowercase() == kind.to_lowercase())
}

/// The listed type that an unlisted one most likely means.
fn near_type(kind: &str, values: &[String]) -> Option<String> {
    /// One typing error in a word of four letters is 0.75.
    const LIKENESS_MIN: f64 = 0.7;
    const COMPARED_MAX_BYTES: usize = 40;
    const ALIASES: [(&str, &str); 12] = [
        ("feature", "feat"),
        ("features", "feat"),
        ("bug", "fix"),
        ("bugfix", "fix"),
        ("hotfix", "fix"),
        ("doc", "docs"),
        ("documentation", "docs"),
        ("tests", "test"),
        ("performance", "perf"),
        ("deps", "build"),
        ("refactoring", "refactor"),
        ("cleanup", "refactor"),
    ];
    if kind.len() > COMPARED_MAX_BYTES {
        return None;
    }
    let kind = kind.to_lowercase();
    if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| *alias == kind) {
        return values.iter().find(|value| value == meant).cloned();
    }
    let near = values.iter().map(|value| (strsim::normalized_damerau_levenshtein(&kind, value), value));
    near.filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, value)| value.clone())
}

fn cased(kind: &str, case: WordCase) -> String {
    match case {
        WordCase::Lower => kind.to_lowercase(),
        WordCase::Upper => kind.to_uppercase(),
    }
}

/// One full stop; three of them are an ellipsis, which is left alone.
fn has_full_stop(description: &str) -> bool {
    description.ends_with('.') && !description.ends_with("...")
}

/// Sentence case, start case, Pascal case and upper case all begin with a capital; quoted pieces do not count, nor do
/// capitals that have no small letter (`🄰`).
fn starts_upper(description: &str) -> bool {
    description.starts_with(|c: char| c.is_uppercase() && c.to_lowercase().ne([c]))
}

/// With a small first letter, where the first word is not one that is written with capitals (`HTTP`, `GitHub`).
fn lowered(description: &str) -> Option<String> {
    let word = description.split(|c: char| !c.is_alphanumeric()).next()?;
    let mut letters = word.chars();
    let first = letters.next()?;
    if letters.any(char::is_uppercase) || (word.len() == first.len_utf8() && word != "A") {
        return None;
    }
    Some(first.to_lowercase().chain(description.chars().skip(1)).collect())
}

fn listed(values: &[String]) -> String {
    /// Longer lists are cut; the configuration has them.
    const SHOWN: usize = 15;
    let mut names = values.iter().take(SHOWN).map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
    if values.len() > SHOWN {
        names += &format!(" and {} more", values.len() - SHOWN);
    }
    names
}

/// The line broken at spaces, where no word alone is too long. What continues a footer is indented, as git folds them.
fn wrapped(line: &str, max: usize, part: Part) -> Option<String> {
    /// Longer lines are somebody's data, not a paragraph.
    const WRAPPED_MAX_BYTES: usize = 4_000;
    // Those who read a person's name and address there want them on one line.
    let names_somebody = line.split_once(':').is_some_and(|(token, _)| token.to_lowercase().ends_with("-by"));
    if line.len() > WRAPPED_MAX_BYTES || (part == Part::Footers && names_somebody) {
        return None;
    }
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let continued = if part == Part::Footers && indent.is_empty() { " ".to_owned() } else { indent.clone() };
    let (mut lines, mut current) = (Vec::new(), indent);
    let mut empty = true;
    for word in line.split_whitespace() {
        let wider = if empty { format!("{current}{word}") } else { format!("{current} {word}") };
        if !text::longer_than(&wider, max) {
            current = wider;
        } else if empty || text::longer_than(&format!("{continued}{word}"), max) {
            return None;
        } else {
            lines.push(std::mem::replace(&mut current, format!("{continued}{word}")));
        }
        empty = false;
    }
    lines.push(current);
    // A break must not make a comment or a footer of what was text.
    let changes_meaning = |line: &String| message::is_comment(line) || footers::begins(line);
    (!lines.iter().skip(1).any(changes_meaning)).then(|| lines.join("\n"))
}

/// A header that is too long for one line, as GitHub divides one: what does not fit begins the body.
fn divided(line: &str, max: usize) -> Option<String> {
    let fits = &line[..text::offset(line, max.saturating_sub(1))];
    let (kept, _) = fits.rsplit_once(' ')?;
    let (kept, rest) = (kept.trim_end(), line[kept.len()..].trim());
    header::offered(&format!("{kept}…"))?;
    header::short_enough(format!("{kept}…\n\n…{rest}"))
}
