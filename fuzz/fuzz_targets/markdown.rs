//! Somebody else's text within our Markdown, read back by a parser that reads as GitHub does (comrak, a port of
//! cmark-gfm, with GitHub's extensions).
//!
//! The oracle: however the text reads, what comes out has the one shape that our sentence, table cell or block has
//! without it; no link, no image, no HTML, no emphasis; and outside of code no `@name`, `#1`, `GH-1` that
//! GitHub would make live after parsing. In a whole comment every link is ours, and every piece of HTML too.
#![no_main]

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, parse_document};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for (way, markdown) in bot::fuzzing::markdown(data) {
        let arena = Arena::new();
        let mut options = Options::default();
        let extension = &mut options.extension;
        (extension.autolink, extension.table, extension.strikethrough) = (true, true, true);
        (extension.tasklist, extension.footnotes, extension.math_dollars) = (true, true, true);
        extension.alerts = true;
        let root = parse_document(&arena, &markdown, &options);
        let blocks: Vec<String> = root.children().map(|node| kind(node)).collect();
        let expected: &[&str] = match way {
            "inline" | "code" | "prose" => &["paragraph"],
            "cell" => &["table of 2 rows and 2 columns"],
            "block" => &["code"],
            _ => &[],
        };
        assert!(way == "comment" || blocks == expected, "{way}: {blocks:?} in {markdown:?}");
        for node in root.descendants() {
            if let Some(fault) = fault(way, node) {
                panic!("{way}: {fault} in {markdown:?}");
            }
        }
    }
});

fn kind<'a>(node: &'a AstNode<'a>) -> String {
    match &node.data.borrow().value {
        NodeValue::Paragraph => "paragraph".into(),
        NodeValue::CodeBlock(_) => "code".into(),
        NodeValue::Table(table) => {
            let cells: Vec<usize> = node.children().map(|row| row.children().count()).collect();
            assert!(cells.iter().all(|count| *count == table.num_columns));
            format!("table of {} rows and {} columns", cells.len(), table.num_columns)
        }
        other => format!("{other:?}"),
    }
}

fn fault<'a>(way: &str, node: &'a AstNode<'a>) -> Option<String> {
    let comment = way == "comment";
    match &node.data.borrow().value {
        NodeValue::Link(link) if comment && is_ours(&link.url) => None,
        NodeValue::Link(link) => Some(format!("a link to {:?}", link.url)),
        NodeValue::Image(link) => Some(format!("an image of {:?}", link.url)),
        NodeValue::HtmlInline(html) if !(comment && is_our_html(html)) => Some(format!("HTML {html:?}")),
        NodeValue::HtmlBlock(html) if !(comment && html.literal.lines().all(is_our_html)) => {
            Some(format!("HTML {:?}", html.literal))
        }
        NodeValue::Emph | NodeValue::Strong | NodeValue::Strikethrough if !comment => Some("emphasis".into()),
        NodeValue::FootnoteReference(_) | NodeValue::FootnoteDefinition(_) => Some("a footnote".into()),
        NodeValue::Math(_) if !comment => Some("mathematics".into()),
        NodeValue::Text(text) => live(text).filter(|word| !(comment && word == "@alice")),
        _ => None,
    }
}

fn is_ours(url: &str) -> bool {
    ["https://paceline.example/", "https://github.com/acme/gateway/"].iter().any(|own| url.starts_with(own))
}

fn is_our_html(line: &str) -> bool {
    let tags = ["<details>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>", "<br>"];
    let mut rest = line.trim();
    if rest.starts_with("<!-- paceline:") && rest.ends_with("-->") && rest.matches("-->").count() == 1 {
        return true;
    }
    for tag in tags {
        rest = rest.trim_start_matches(tag).trim_end_matches(tag);
    }
    !rest.contains('<')
}

/// What GitHub looks for in text after parsing: mentions, and references to issues and pull requests.
fn live(text: &str) -> Option<String> {
    for (at, c) in text.char_indices() {
        let before = text[..at].chars().next_back();
        let after: String = text[at + c.len_utf8()..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let apart = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        if c == '@' && apart && after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Some(format!("@{after}"));
        }
        if c == '#' && after.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(format!("#{after}"));
        }
        if c == '-'
            && after.starts_with(|c: char| c.is_ascii_digit())
            && text[..at].to_ascii_lowercase().ends_with("gh")
        {
            return Some(format!("GH-{after}"));
        }
    }
    None
}
