//! The one comment of a pull request: facts in, Markdown out. Pure; everything foreign in it is made harmless.

mod author;
mod commits;
mod rows;
mod sections;
mod sentences;
mod surroundings;

use crate::{
    judgement::{CommentContext, Run},
    outgoing::TEXT_MAX_CHARS,
    pull::RepoId,
    render::markdown::tidy,
};
use askama::Template;
use sections::Sections;

/// The first line of the comment, by which it is found again. Not seen on the page.
pub fn marker(repository: RepoId, number: u64) -> String {
    format!("<!-- paceline:comment repository={} pull={number} -->", repository.0)
}

/// The first line of an answer to somebody's comment, by which it is found again.
pub fn reply_marker(to: i64) -> String {
    format!("<!-- paceline:reply to={to} -->")
}

/// The whole comment, never longer than GitHub takes. Rows are what goes first, with a note.
pub fn comment(run: &Run, context: &CommentContext<'_>) -> String {
    bounded(run, Some(context))
}

/// The same for a local range: without the marker, and without what only GitHub can do.
pub fn local(run: &Run) -> String {
    bounded(run, None)
}

fn bounded(run: &Run, context: Option<&CommentContext<'_>>) -> String {
    let mut text = String::new();
    for limits in Limits::STEPS {
        text = render(run, context, &limits);
        if text.encode_utf16().count() <= TEXT_MAX_CHARS {
            return text;
        }
    }
    // The last step is bounded far below GitHub's limit by its numbers; this holds all the same.
    text.chars().take(TEXT_MAX_CHARS / 2).collect()
}

/// How much of what has no natural end is shown.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Rows of the table of everything.
    rows: usize,
    /// Rows of the table of changes.
    changes: usize,
    /// Commits with findings, failures, one-sided benchmarks, warnings: each.
    items: usize,
    /// Bytes of the end of a program's output.
    output_bytes: usize,
}

impl Limits {
    const STEPS: [Limits; 4] = [
        Limits { rows: 300, changes: 60, items: 30, output_bytes: 8_000 },
        Limits { rows: 120, changes: 40, items: 15, output_bytes: 4_000 },
        Limits { rows: 40, changes: 20, items: 8, output_bytes: 2_000 },
        Limits { rows: 0, changes: 10, items: 4, output_bytes: 800 },
    ];
}

#[derive(Template)]
#[template(path = "comment/comment.md")]
struct Page<'a> {
    marker: String,
    s: Sections<'a>,
}

fn render(run: &Run, context: Option<&CommentContext<'_>>, limits: &Limits) -> String {
    let marker = context.map(|context| marker(context.id, context.pull.number)).unwrap_or_default();
    let page = Page { marker, s: Sections::of(run, context, limits) };
    // The template writes into memory and calls nothing that fails.
    tidy(&page.render().unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests;
