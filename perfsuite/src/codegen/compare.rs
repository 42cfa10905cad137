//! Two images side by side: pairs of pieces that take the same place on both sides, walked from the roots.

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod flips;
mod pair;
mod walk;

use super::image::{Image, PieceId, Reference, Target};
use pair::{Pair, judge};
use std::collections::{BTreeSet, HashMap};
use walk::{Visit, Walk};

/// What was said of one benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    Same(Same),
    Changed(Changed),
}

/// Everything that the benchmark can reach is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Same {
    /// How many functions were compared, and how many bytes of code and constants.
    pub functions: usize,
    pub bytes: u64,
    /// Only places in the source, which a panic would print, differ in line or column.
    pub lines_moved: bool,
}

/// What differs, as far as it was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub place: Place,
    /// Functions whose code differs, or that one side alone calls, demangled; sorted, the first [`NAMES_MAX`].
    pub functions: Vec<String>,
    /// Statics and constants whose contents differ: by name, or by the function that uses them. As above.
    pub data: Vec<String>,
    /// So many names, or more, are left out.
    pub unnamed: usize,
    /// Why sameness could not be shown, where nothing is known to differ.
    pub unsure: Option<String>,
}

/// Where in the benchmark's process something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The benchmark's own function can reach it.
    Inside,
    /// Only what runs around that function can: the harness, and the code that prepares what it works on.
    Around,
}

impl Changed {
    /// The code is the same, constants differ.
    pub fn is_data_only(&self) -> bool {
        self.functions.is_empty() && self.unsure.is_none()
    }
}

/// How many functions and constants are named each: a report shows some, not a list.
pub const NAMES_MAX: usize = 20;

/// Where a benchmark's own code is in an executable: addresses as in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The function that this benchmark alone runs.
    pub own: u64,
    /// Such functions of all benchmarks of the executable; its own may be among them.
    pub all: Vec<u64>,
}

/// Two executables, with what was found out about pairs of their pieces. Benchmarks share that, so ask one comparison
/// for all of them.
pub struct Comparison<'i, 'a> {
    base: &'i Image<'a>,
    head: &'i Image<'a>,
    pairs: Vec<Pair<'a>>,
    numbers: HashMap<(PieceId, PieceId), u32>,
    /// Bytes, and what references cost in bytes, that may still be compared.
    bytes_left: u64,
}

impl<'i, 'a> Comparison<'i, 'a> {
    pub fn new(base: &'i Image<'a>, head: &'i Image<'a>) -> Comparison<'i, 'a> {
        /// Ten times what large executables hold: pieces are compared once, or a few times where one side merged what
        /// the other did not. Only a file made for it gets here.
        const COMPARED_BYTES_MAX: u64 = 1 << 30;
        Comparison { base, head, pairs: vec![], numbers: HashMap::new(), bytes_left: COMPARED_BYTES_MAX }
    }

    /// Whether one benchmark's code is the same on both sides.
    pub fn benchmark(&mut self, base: &Entrance, head: &Entrance) -> Difference {
        self.benchmark_naming(base, head, NAMES_MAX)
    }

    /// The same, with so many names of functions and constants that differ.
    pub fn benchmark_naming(&mut self, base: &Entrance, head: &Entrance, names_max: usize) -> Difference {
        let mut walk = Walk::new();
        let skipped = (left_out(self.base, base), left_out(self.head, head));
        match self.own(base, head) {
            Ok(root) => walk.reach(root, None),
            Err(reason) => walk.unsure(&reason, None),
        }
        self.walk(&mut walk, &skipped);
        walk.place = Place::Around;
        match self.roots() {
            Ok(roots) => roots.into_iter().for_each(|root| walk.reach(root, None)),
            Err(reason) => walk.unsure(&reason, None),
        }
        self.walk(&mut walk, &skipped);
        walk.into_difference(names_max)
    }

    /// To everything that is not reached yet.
    fn walk(&mut self, walk: &mut Walk, skipped: &(BTreeSet<PieceId>, BTreeSet<PieceId>)) {
        while let Some(Visit { number, .. }) = walk.queue.get(walk.done).copied() {
            let visit = walk.done;
            walk.done += 1;
            let (piece_of_base, piece_of_head) = self.pairs[number as usize].pieces;
            match (skipped.0.contains(&piece_of_base), skipped.1.contains(&piece_of_head)) {
                (true, true) => continue,
                (false, false) => {}
                _ => {
                    walk.changed_function(self.base.function_name(piece_of_base, 0));
                    walk.changed_function(self.head.function_name(piece_of_head, 0));
                    continue;
                }
            }
            if !self.judge(number) {
                walk.unsure("there is too much to compare", None);
                break;
            }
            walk.note(self, visit);
            for edge in self.edges(number) {
                walk.reach(*edge, Some(visit));
            }
        }
    }

    /// The benchmark's own function.
    fn own(&mut self, base: &Entrance, head: &Entrance) -> Result<u32, String> {
        const NO_CODE: &str = "there is no code where the benchmark should be";
        let own = self.base.code_at(base.own).zip(self.head.code_at(head.own));
        own.and_then(|own| self.number(own)).ok_or_else(|| NO_CODE.into())
    }

    /// Where a process starts, and what the loader calls before and after.
    fn roots(&mut self) -> Result<Vec<u32>, String> {
        const NO_START: &str = "there is no code where the process should start";
        let entry = self.base.entry().zip(self.head.entry()).ok_or(NO_START)?;
        let mut pieces = vec![entry];
        let (mut of_base, mut of_head) = (self.base.run_by_place(), self.head.run_by_place());
        loop {
            match (of_base.next(), of_head.next()) {
                (None, None) => break,
                (Some((base_name, base)), Some((head_name, head))) if base_name == head_name => {
                    pieces.push((base, head));
                }
                _ => return Err("what runs before or after main is not the same".into()),
            }
        }
        Ok(pieces.into_iter().filter_map(|pair| self.number(pair)).collect())
    }

    /// False when the bounds are reached.
    fn judge(&mut self, number: u32) -> bool {
        let (base, head) = self.pairs[number as usize].pieces;
        if self.pairs[number as usize].judgement.is_some() {
            return true;
        }
        let bytes = self.base.len(base).min(self.head.len(head))
            + reference_cost(self.base, base)
            + reference_cost(self.head, head);
        let Some(left) = self.bytes_left.checked_sub(bytes) else { return false };
        self.bytes_left = left;
        let judged = judge(self.base, base, self.head, head);
        let mut edges = Vec::with_capacity(judged.edges.len());
        for pieces in judged.edges {
            match self.number(pieces) {
                Some(number) => edges.push(number),
                None => return false,
            }
        }
        edges.sort_unstable();
        edges.dedup();
        let pair = &mut self.pairs[number as usize];
        pair.judgement = Some(judged.judgement);
        pair.edges = edges;
        pair.one_sided = judged.one_sided;
        true
    }

    /// The number of a pair; none when there are too many of them, which takes a file made for it: in two builds of
    /// one program a piece has one counterpart, or a few.
    fn number(&mut self, pieces: (PieceId, PieceId)) -> Option<u32> {
        if let Some(number) = self.numbers.get(&pieces) {
            return Some(*number);
        }
        let pairs_max = 2 * (self.base.piece_count() + self.head.piece_count());
        let number = u32::try_from(self.pairs.len()).ok()?;
        if self.pairs.len() >= pairs_max {
            return None;
        }
        self.pairs.push(Pair::new(pieces));
        self.numbers.insert(pieces, number);
        Some(number)
    }

    fn edges(&self, number: u32) -> &[u32] {
        &self.pairs[number as usize].edges
    }
}

/// The functions of the other benchmarks. One that holds more than the function, or that is this benchmark's too, stays.
fn left_out(image: &Image, entrance: &Entrance) -> BTreeSet<PieceId> {
    let own = image.code_at(entrance.own);
    let others = entrance.all.iter().filter_map(|address| image.function_alone_at(*address));
    others.filter(|piece| Some(*piece) != own).collect()
}

/// What the references of a piece cost to compare, in bytes.
fn reference_cost(image: &Image, piece: PieceId) -> u64 {
    /// A reference is looked at several times, and a byte once.
    const EACH: u64 = 64;
    let ends = |reference: &Reference| match reference.target {
        Target::Section { section, .. } => 1 + image.pieces_of_section(section).len() as u64,
        _ => 1,
    };
    image.references(piece).iter().map(|reference| EACH * ends(reference)).sum()
}
