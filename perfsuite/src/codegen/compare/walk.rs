//! One benchmark's walk over the pairs, and what it found.

use super::pair::Judgement;
use super::{Changed, Comparison, Difference, Place, Same};
use crate::codegen::image::Kind;
use crate::codegen::names::readable;
use std::collections::BTreeSet;

pub(super) struct Walk {
    pub(super) queue: Vec<Visit>,
    /// How many of the queue were visited.
    pub(super) done: usize,
    /// What is walked now; `Inside` comes first.
    pub(super) place: Place,
    reached: Vec<bool>,
    functions: usize,
    bytes: u64,
    lines_moved: bool,
    /// Where the first difference was.
    changed: Option<Place>,
    changed_functions: BTreeSet<String>,
    changed_data: BTreeSet<String>,
    unsure: Option<String>,
    /// Names that may still be made readable; those that were not are counted.
    names_left: usize,
    unnamed: usize,
}

/// Making a name readable can take a millisecond, when it is made for that.
const READABLE_MAX: usize = 300;

/// A pair that was reached, and by which visit.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    pub(super) number: u32,
    from: usize,
}

impl Walk {
    pub(super) fn new() -> Walk {
        Walk {
            queue: vec![],
            done: 0,
            place: Place::Inside,
            reached: vec![],
            functions: 0,
            bytes: 0,
            lines_moved: false,
            changed: None,
            changed_functions: BTreeSet::new(),
            changed_data: BTreeSet::new(),
            unsure: None,
            names_left: READABLE_MAX,
            unnamed: 0,
        }
    }

    /// Puts a pair into the queue, once. A root is its own origin.
    pub(super) fn reach(&mut self, number: u32, from: Option<usize>) {
        let index = number as usize;
        if self.reached.len() <= index {
            self.reached.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.reached[index], true) {
            self.queue.push(Visit { number, from: from.unwrap_or(self.queue.len()) });
        }
    }

    /// Takes down what a pair's judgement means for the benchmark.
    pub(super) fn note(&mut self, comparison: &Comparison, visit: usize) {
        let pair = &comparison.pairs[self.queue[visit].number as usize];
        let (base, head) = pair.pieces;
        let is_code = comparison.base.kind(base) == Kind::Code;
        self.functions += usize::from(is_code);
        self.bytes += comparison.base.len(base);
        match &pair.judgement {
            None | Some(Judgement::Same) => {}
            Some(Judgement::LinesMoved) => self.lines_moved = true,
            Some(Judgement::Unsure(reason)) => {
                let user = self.unsure.is_none().then(|| self.user(comparison, visit));
                self.unsure(reason, user);
            }
            Some(Judgement::Differs { base_offset, head_offset }) if is_code => {
                self.changed_function(comparison.base.function_name(base, *base_offset));
                self.changed_function(comparison.head.function_name(head, *head_offset));
            }
            Some(Judgement::Differs { .. }) => {
                let name = comparison.base.static_name(base).filter(|name| !name.starts_with(b"anon."));
                self.changed.get_or_insert(self.place);
                let of = if name.is_none() { "a constant of " } else { "" };
                // The way back to the user is walked for names that are shown, not for each.
                let shown = name.or_else(|| (self.names_left > 0).then(|| self.user(comparison, visit)));
                let shown = self.readable(shown.unwrap_or_default());
                self.changed_data.extend(shown.map(|shown| format!("{of}{shown}")));
            }
        }
        for name in &pair.one_sided {
            self.changed_function(name);
        }
    }

    pub(super) fn changed_function(&mut self, name: &[u8]) {
        self.changed.get_or_insert(self.place);
        let name = self.readable(name);
        self.changed_functions.extend(name);
    }

    pub(super) fn unsure(&mut self, reason: &str, function: Option<&[u8]>) {
        self.changed.get_or_insert(self.place);
        self.unsure.get_or_insert_with(|| match function {
            Some(function) => format!("{reason}, in {}", readable(function)),
            None => reason.to_owned(),
        });
    }

    fn readable(&mut self, name: &[u8]) -> Option<String> {
        let left = self.names_left.checked_sub(1);
        self.unnamed += usize::from(left.is_none());
        self.names_left = left?;
        Some(readable(name))
    }

    pub(super) fn into_difference(self, names_max: usize) -> Difference {
        let Some(place) = self.changed else {
            let Walk { functions, bytes, lines_moved, .. } = self;
            return Difference::Same(Same { functions, bytes, lines_moved });
        };
        let more = |names: &BTreeSet<String>| names.len().saturating_sub(names_max);
        Difference::Changed(Changed {
            place,
            unnamed: self.unnamed + more(&self.changed_functions) + more(&self.changed_data),
            functions: self.changed_functions.into_iter().take(names_max).collect(),
            data: self.changed_data.into_iter().take(names_max).collect(),
            unsure: self.unsure,
        })
    }

    /// The function that led here, mangled.
    fn user<'a>(&self, comparison: &Comparison<'_, 'a>, mut visit: usize) -> &'a [u8] {
        loop {
            let Visit { number, from } = self.queue[visit];
            let (base, _) = comparison.pairs[number as usize].pieces;
            if comparison.base.kind(base) == Kind::Code || from >= visit {
                return comparison.base.function_name(base, 0);
            }
            visit = from;
        }
    }
}
