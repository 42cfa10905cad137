//! Two pieces, one of each side: do they hold the same, and which pairs do their references make?

use crate::codegen::image::{Image, Kind, PieceId, Reference, Target};
use std::collections::HashMap;

/// A piece of the base and one of the head that stand at the same place.
pub(super) struct Pair<'a> {
    pub(super) pieces: (PieceId, PieceId),
    /// None until asked for.
    pub(super) judgement: Option<Judgement>,
    /// Numbers of the pairs that its references lead to.
    pub(super) edges: Vec<u32>,
    /// Functions that one side's piece calls and the other side does not have, mangled; some of them.
    pub(super) one_sided: Vec<&'a [u8]>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(pieces: (PieceId, PieceId)) -> Pair<'a> {
        Pair { pieces, judgement: None, edges: vec![], one_sided: vec![] }
    }
}

/// Of the two pieces alone; what they refer to is judged as pairs of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Same,
    /// A panic's place, at another line or column.
    LinesMoved,
    /// First at these offsets.
    Differs {
        base_offset: u64,
        head_offset: u64,
    },
    Unsure(&'static str),
}

pub(super) struct Judged<'a> {
    pub(super) judgement: Judgement,
    pub(super) edges: Vec<(PieceId, PieceId)>,
    pub(super) one_sided: Vec<&'a [u8]>,
}

pub(super) fn judge<'a>(
    base: &Image<'a>,
    base_piece: PieceId,
    head: &Image<'a>,
    head_piece: PieceId,
) -> Judged<'a> {
    let sides = Sides { base, base_piece, head, head_piece };
    let mut judged = Judged { judgement: sides.judgement(), edges: vec![], one_sided: vec![] };
    match judged.judgement {
        Judgement::Same | Judgement::LinesMoved => judged.edges = sides.edges_in_order(),
        Judgement::Differs { .. } | Judgement::Unsure(_) => sides.edges_by_name(&mut judged),
    }
    judged
}

struct Sides<'s, 'a> {
    base: &'s Image<'a>,
    base_piece: PieceId,
    head: &'s Image<'a>,
    head_piece: PieceId,
}

impl<'a> Sides<'_, 'a> {
    fn judgement(&self) -> Judgement {
        let differs = |at| Judgement::Differs { base_offset: at, head_offset: at };
        let (base, head) = (self.base_references(), self.head_references());
        if self.base.kind(self.base_piece) != self.head.kind(self.head_piece) {
            return differs(0);
        }
        let (base_bytes, head_bytes) = (self.base.bytes(self.base_piece), self.head.bytes(self.head_piece));
        for (of_base, of_head) in base.iter().zip(head) {
            if of_base.target == Target::Unknown || of_head.target == Target::Unknown {
                return Judgement::Unsure("the linker left a reference that cannot be followed");
            }
            if !self.refer_alike(of_base, of_head) {
                return Judgement::Differs { base_offset: of_base.offset, head_offset: of_head.offset };
            }
        }
        let lens_equal = self.base.len(self.base_piece) == self.head.len(self.head_piece);
        let first = first_difference(base_bytes, head_bytes, base);
        if base.len() != head.len() || !lens_equal || base_bytes.len() != head_bytes.len() {
            return differs(first.unwrap_or(base_bytes.len().min(head_bytes.len())) as u64);
        }
        match first {
            None => Judgement::Same,
            Some(at) if at >= LINE && self.is_panic_place() => Judgement::LinesMoved,
            Some(at) => differs(at as u64),
        }
    }

    /// One field and another: of one form, at one offset, to targets of one form. Which pieces the targets are, and
    /// whether they are the same, is another pair's matter.
    fn refer_alike(&self, base: &Reference, head: &Reference) -> bool {
        let form = |r: &Reference| (r.offset, r.field_start, r.field_width, r.kind);
        let targets = match (base.target, head.target) {
            (Target::Piece { delta: base, .. }, Target::Piece { delta: head, .. }) => base == head,
            (Target::AlsoPiece { .. }, Target::AlsoPiece { .. }) => true,
            (base @ Target::Named { .. }, head @ Target::Named { .. }) => base == head,
            (
                Target::Section { section: base, name: base_name },
                Target::Section { section: head, name: head_name },
            ) => {
                let count = |image: &Image, section| image.pieces_of_section(section).len();
                base_name == head_name && count(self.base, base) == count(self.head, head)
            }
            _ => false,
        };
        targets && form(base) == form(head)
    }

    /// `core::panic::Location`: the file as a slice, line and column; here in a constant of its own, with equal
    /// references, so the file is a pair of its own.
    fn is_panic_place(&self) -> bool {
        let bytes = self.base.bytes(self.base_piece);
        let [reference] = self.base_references() else { return false };
        let Target::Piece { piece, delta } = reference.target else { return false };
        if bytes.len() != LINE + 8 || (reference.offset, reference.field_width) != (0, 8) {
            return false;
        }
        if self.base.kind(self.base_piece) != Kind::Constants {
            return false;
        }
        let len: [u8; 8] = match bytes[8..LINE].try_into() {
            Ok(len) => len,
            Err(_) => return false,
        };
        let (Ok(start), Ok(len)) = (usize::try_from(delta), usize::try_from(u64::from_le_bytes(len))) else {
            return false;
        };
        let file = self.base.bytes(piece).get(start..).and_then(|rest| rest.get(..len));
        file.is_some_and(|file| file.strip_suffix(b"\0").unwrap_or(file).ends_with(b".rs"))
    }

    fn edges_in_order(&self) -> Vec<(PieceId, PieceId)> {
        let mut edges = Vec::new();
        for (base, head) in self.base_references().iter().zip(self.head_references()) {
            edges.extend(base.or_end_of.zip(head.or_end_of));
            match (base.target, head.target) {
                (
                    Target::Piece { piece: base, .. } | Target::AlsoPiece { piece: base },
                    Target::Piece { piece: head, .. } | Target::AlsoPiece { piece: head },
                ) => edges.push((base, head)),
                (Target::Section { section: base, .. }, Target::Section { section: head, .. }) => {
                    edges.extend(self.base.pieces_of_section(base).zip(self.head.pieces_of_section(head)));
                }
                _ => {}
            }
        }
        edges
    }

    /// Once pieces differ, their references no longer correspond by order. Functions of one name are followed, so that
    /// the report names all that changed and not just the first.
    fn edges_by_name(&self, judged: &mut Judged<'a>) {
        /// More than a report names.
        const ONE_SIDED_MAX: usize = 100;
        let base = called(self.base, self.base_references());
        let head = called(self.head, self.head_references());
        for (name, piece) in &base {
            match head.get(name) {
                Some(other) => judged.edges.push((*piece, *other)),
                None if !self.head.has_function(name) => judged.one_sided.push(name),
                None => {}
            }
        }
        let added = head.keys().filter(|name| !base.contains_key(*name) && !self.base.has_function(name));
        judged.one_sided.extend(added);
        judged.one_sided.sort_unstable();
        judged.one_sided.truncate(ONE_SIDED_MAX);
        judged.edges.sort_unstable();
    }

    fn base_references(&self) -> &[Reference<'a>] {
        self.base.references(self.base_piece)
    }

    fn head_references(&self) -> &[Reference<'a>] {
        self.head.references(self.head_piece)
    }
}

/// Where the line starts in a panic's place; the column follows, four bytes each.
const LINE: usize = 16;

/// Functions that references go to, by mangled name.
fn called<'a>(image: &Image<'a>, references: &[Reference<'a>]) -> HashMap<&'a [u8], PieceId> {
    let mut called = HashMap::new();
    for reference in references {
        let Target::Piece { piece, .. } = reference.target else { continue };
        if image.kind(piece) == Kind::Code
            && let Some(name) = image.function_at_start(piece)
        {
            called.insert(name, piece);
        }
    }
    called
}

/// The first byte outside of the references' fields that is not the same. Of different lengths, as far as both go.
fn first_difference(base: &[u8], head: &[u8], references: &[Reference]) -> Option<usize> {
    let len = base.len().min(head.len());
    let mut from = 0;
    let mut compare = |until: usize, next: usize| {
        let range = from..until.min(len).max(from);
        from = next.min(len).max(from);
        let (base, head) = (&base[range.clone()], &head[range.clone()]);
        match base == head {
            true => None,
            false => base.iter().zip(head).position(|(b, h)| b != h).map(|at| range.start + at),
        }
    };
    for reference in references {
        let start = usize::try_from(reference.field_start).unwrap_or(usize::MAX);
        let found = compare(start, start.saturating_add(usize::from(reference.field_width)));
        if found.is_some() {
            return found;
        }
    }
    compare(len, len)
}
