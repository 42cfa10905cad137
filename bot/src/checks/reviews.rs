//! `paceline/reviews`: which files lack approvals, and the fewest people who would give them.

use super::{LINE_MAX_GRAPHEMES, ROWS_MAX, TITLE_MAX_GRAPHEMES, completed, rendered};
use crate::format;
use crate::judgement::{Level, ReviewsJudgement, Run};
use crate::outgoing::{CheckRun, Conclusion};
use crate::render::markdown::{code, prose, visible};
use crate::render::words;
use crate::text;
use askama::Template;

pub const REVIEWS: &str = "paceline/reviews";

/// People named in a title and in a sentence.
const PEOPLE_NAMED: usize = 10;
const NAME_MAX_GRAPHEMES: usize = 60;
const PATH_MAX_GRAPHEMES: usize = 120;

/// The check run; `None` where nothing is asked.
pub fn reviews_check(run: &Run, details: &str) -> Option<CheckRun> {
    let reviews = run.reviews.as_ref()?;
    let conclusion = match (reviews.lacking(), reviews.level) {
        (0, _) => Conclusion::Success,
        (_, Level::Error) => Conclusion::Failure,
        _ => Conclusion::Neutral,
    };
    let summary = Summary {
        lead: lead(reviews),
        rows: reviews
            .short
            .iter()
            .take(ROWS_MAX)
            .map(|short| FileRow {
                path: code(&short.path, PATH_MAX_GRAPHEMES),
                have: short.have,
                need: short.need,
                candidates: match short.candidates.is_empty() {
                    true => "nobody is left to ask".into(),
                    false => words::listed(short.candidates.iter().map(named), PEOPLE_NAMED),
                },
            })
            .collect(),
        left_out: reviews.lacking().saturating_sub(ROWS_MAX),
        impossible: (!reviews.impossible.is_empty()).then(|| impossible(reviews)),
        approvals: reviews
            .approvals
            .iter()
            .take(ROWS_MAX)
            .map(|approval| {
                let outdated = match approval.outdated {
                    0 => String::new(),
                    count => format!(", not {count} that came or changed since"),
                };
                let files = format::count(approval.files, "file as it is now", "files as they are now");
                format!("{}: {files}{outdated}", named(&approval.login))
            })
            .collect(),
        bad_lines: reviews
            .bad_lines
            .iter()
            .take(ROWS_MAX)
            .map(|bad| format!("line {}: {}", bad.line, prose(&bad.message, LINE_MAX_GRAPHEMES)))
            .collect(),
        notes: reviews.notes.iter().map(|note| prose(note, LINE_MAX_GRAPHEMES)).collect(),
    };
    let title = text::cut(&title(reviews), TITLE_MAX_GRAPHEMES);
    Some(completed(run, REVIEWS, details, conclusion, title, rendered(&summary)))
}

/// For a merge queue's group: its pull requests were judged before they came in.
pub fn reviewed_before(run: &Run, details: &str) -> CheckRun {
    let title = "Reviewed in the pull requests".into();
    let summary = "Approvals are asked for in each pull request, before it enters the merge queue.".into();
    completed(run, REVIEWS, details, Conclusion::Success, title, summary)
}

#[derive(Template)]
#[template(path = "checks/reviews.md")]
struct Summary {
    lead: String,
    rows: Vec<FileRow>,
    left_out: usize,
    impossible: Option<String>,
    approvals: Vec<String>,
    bad_lines: Vec<String>,
    notes: Vec<String>,
}

struct FileRow {
    path: String,
    have: usize,
    need: usize,
    candidates: String,
}

/// A login that notifies nobody.
fn named(login: impl AsRef<str>) -> String {
    code(login.as_ref(), NAME_MAX_GRAPHEMES)
}

/// In one line, without Markdown.
fn title(reviews: &ReviewsJudgement) -> String {
    let lacking = reviews.lacking();
    if lacking == 0 {
        return match reviews.owned {
            0 => "No changed file has an owner".into(),
            count => format!("{} approved by enough owners", format::count(count, "file is", "files are")),
        };
    }
    let files = format::count(lacking, "file lacks approvals", "files lack approvals");
    if reviews.smallest_set.is_empty() {
        return format!("{files}, and nobody is left to ask");
    }
    let people = reviews.smallest_set.iter().map(|login| visible(login));
    format!("{files}; waiting for {}", words::listed(people, PEOPLE_NAMED))
}

fn lead(reviews: &ReviewsJudgement) -> String {
    let unowned = match reviews.unowned {
        0 => String::new(),
        count => format!(
            " {} no owner, so nothing is asked for them.",
            format::count(count, "file has", "files have")
        ),
    };
    sentence(reviews) + &unowned
}

/// What is missing and who could give it, in Markdown: also for the comment.
pub fn sentence(reviews: &ReviewsJudgement) -> String {
    let lacking = reviews.lacking();
    if lacking == 0 {
        return match reviews.owned {
            0 => "No changed file has an owner.".into(),
            1 => "The changed file has the approvals that it wants.".into(),
            count => format!("All {count} files with owners have the approvals that they want."),
        };
    }
    let lack = if lacking == 1 { "lacks approvals" } else { "lack approvals" };
    let files =
        format!("{lacking} of {} {lack}.", format::count(reviews.owned, "changed file", "changed files"));
    let people = words::listed(reviews.smallest_set.iter().map(named), PEOPLE_NAMED);
    let few = if reviews.exact { "" } else { " (perhaps one of them is not needed)" };
    match reviews.smallest_set.len() {
        0 => format!("{files} Nobody is left to ask."),
        1 => format!("{files} The approval of {people} would do."),
        count => format!("{files} The approvals of {count} people would do: {people}{few}."),
    }
}

fn impossible(reviews: &ReviewsJudgement) -> String {
    /// The table above has all.
    const SHOWN: usize = 5;
    let paths = reviews.impossible.iter().map(|path| code(path, PATH_MAX_GRAPHEMES));
    let all = reviews.impossible.len() + reviews.impossible_left_out;
    format!(
        "**Cannot be covered:** {} than wanted, the author not counted: {}. Those there are, are asked.",
        format::count(all, "file has fewer owners", "files have fewer owners"),
        words::listed(paths, SHOWN)
    )
}
