//! What the comment says to its author: a welcome the first time, and their own record, folded.

use super::rows::person;
use crate::format;
use crate::judgement::Performance;
use crate::judgement::{CommentContext, Run};

/// What happens next, for who comes for the first time. Empty for everybody else.
pub fn welcome(run: &Run, context: &CommentContext<'_>) -> String {
    if context.author.is_none() || context.author_pulls > 1 {
        return String::new();
    }
    let measured = match run.performance {
        Performance::NeedsApproval { .. } => {
            "Somebody with write permission looks at the change before its benchmarks run, because it comes from a fork."
        }
        Performance::Skipped { .. } => "There is nothing to measure in this change.",
        _ => "Its benchmarks run on head and merge base, which takes some minutes.",
    };
    format!(
        "👋 Welcome, {}: this is your first pull request here. Your commits are judged by this repository's conventions, \
         and each finding says how to mend it. {measured} Push again whenever you like: this comment is kept up to date, \
         and there will be no second one.",
        person(&context.pull.author)
    )
}

/// What earlier pull requests of this author came to. Empty where there is none.
pub fn record(context: &CommentContext<'_>) -> Vec<String> {
    let Some(record) = context.author.filter(|record| record.merged > 0) else { return Vec::new() };
    let count = |number: u32, one, many| format::count(number as usize, one, many);
    let mut lines = vec![format!(
        "{} merged here before this one",
        count(record.merged, "pull request", "pull requests")
    )];
    lines.push(match (record.faster, record.slower) {
        (0, 0) => "they changed no benchmark for certain".into(),
        (faster, slower) => format!(
            "they made {} faster and {} slower, for certain",
            count(faster, "benchmark", "benchmarks"),
            count(slower, "benchmark", "benchmarks")
        ),
    });
    let login: String = url::form_urlencoded::byte_serialize(context.pull.author.as_bytes()).collect();
    lines.push(format!(
        "[the whole record, and how to be left out of it]({}/{}/contributors/{login})",
        context.public_url, context.name
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comment::comment;
    use crate::judgement::AuthorRecord;
    use crate::render::fixtures;

    #[test]
    fn who_comes_first_is_told_what_happens_next() {
        let run = fixtures::done(fixtures::report(fixtures::equal_rows()));
        let (name, pull) = (fixtures::repo_name(), fixtures::pull());
        let context = fixtures::context(&name, &pull);
        let first =
            CommentContext { author_pulls: 1, author: Some(AuthorRecord::default()), ..context.clone() };
        let text = comment(&run, &first);
        assert_eq!(text.matches("Welcome, @alice").count(), 1, "{text}");
        assert!(!text.contains("record"), "{text}");
        let known = CommentContext { author: Some(AuthorRecord::default()), ..context.clone() };
        assert_eq!(comment(&run, &known), comment(&run, &context), "quiet when there is nothing to say");
    }

    #[test]
    fn a_record_is_folded() {
        let run = fixtures::done(fixtures::report(fixtures::equal_rows()));
        let (name, pull) = (fixtures::repo_name(), fixtures::pull());
        let record = AuthorRecord { merged: 3, faster: 2, slower: 0 };
        let context = CommentContext { author: Some(record), ..fixtures::context(&name, &pull) };
        let text = comment(&run, &context);
        let folded = text.split("<details><summary>Your record here</summary>").nth(1).unwrap();
        assert!(folded.contains("- 3 pull requests merged here before this one"), "{text}");
        assert!(folded.contains("- they made 2 benchmarks faster and 0 benchmarks slower"), "{text}");
        assert!(folded.contains("/contributors/alice)"), "{text}");
    }
}
