//! Paths and places that are put together from a request: parsed once, filled in for each.

use crate::route::parameter;
use std::fmt;

/// A text with places to fill in: `/v2/{id}{rest}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A segment of the request's path, counted from its front.
    Segment(usize),
    /// What follows the route's path: empty, or from a slash on.
    Rest,
    Host,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTemplate {
    Unclosed,
    Unknown(String),
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadTemplate::Unclosed => f.write_str("a brace is opened and not closed"),
            BadTemplate::Unknown(name) => {
                write!(f, "`{{{name}}}` is no parameter of the path, {{rest}} or {{host}}")
            }
        }
    }
}

impl Template {
    /// `path` is the route's, whose parameters may be used.
    pub fn parse(text: &str, path: &str) -> Result<Template, BadTemplate> {
        let segments = || path.split('/').filter(|segment| !segment.is_empty());
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(BadTemplate::Unclosed)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(match name {
                "rest" => Piece::Rest,
                "host" => Piece::Host,
                name => match segments().position(|segment| parameter(segment) == Some(name)) {
                    Some(place) => Piece::Segment(place),
                    None => return Err(BadTemplate::Unknown(name.into())),
                },
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Template(pieces))
    }

    /// Fills in what a request has. `path` is in normal form and matched the route's, which has `depth` segments.
    pub fn fill(&self, path: &str, depth: usize, host: &str) -> String {
        let mut out = String::with_capacity(path.len() + 32);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Segment(place) => out.push_str(path.split('/').nth(place + 1).unwrap_or_default()),
                Piece::Rest => out.push_str(rest(path, depth)),
                Piece::Host => out.push_str(host),
            }
        }
        out
    }
}

/// What follows the first `depth` segments of a path.
pub fn rest(path: &str, depth: usize) -> &str {
    match path.match_indices('/').nth(depth) {
        Some((at, _)) => &path[at..],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, route: &str, path: &str, expect: &str) {
        let depth = route.split('/').filter(|segment| !segment.is_empty()).count();
        let template = Template::parse(template, route).expect(template);
        assert_eq!(template.fill(path, depth, "shop.example"), expect);
    }

    #[test]
    fn places_are_filled_in() {
        check("/v2{rest}", "/api/v1", "/api/v1/users/7", "/v2/users/7");
        check("/v2{rest}", "/api/v1", "/api/v1", "/v2");
        check("/o/{order}/of/{id}", "/users/{id}/orders/{order}", "/users/7/orders/9", "/o/9/of/7");
        check("https://{host}/new{rest}", "/", "/a/b", "https://shop.example/new/a/b");
        check("/same", "/x", "/x/y", "/same");
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(Template::parse("/{id}", "/users/{name}"), Err(BadTemplate::Unknown("id".into())));
        assert_eq!(Template::parse("/{id", "/users/{id}"), Err(BadTemplate::Unclosed));
    }
}
