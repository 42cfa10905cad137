//! Which benchmarks of two executables run the same machine code, by the executables and their linker's maps.

use super::listing::Listed;
use crate::artifact::{BenchExecutable, Harness};
use crate::codegen::{Comparison, Difference, Entrance, Image, Place};
use crate::model::BenchmarkId;
use crate::model::profile::Touched;
use crate::profile::touched::{FUNCTIONS_MAX, by_code};
use std::collections::BTreeMap;
use std::path::Path;

/// Executables and maps larger than this are not compared: a bench without debug information is some megabytes.
const FILE_MAX_BYTES: u64 = 256 << 20;

/// One side's executable and what it announced.
pub(super) struct Listing {
    pub(super) executable: BenchExecutable,
    pub(super) listed: Vec<Listed>,
}

impl Listing {
    pub(super) fn has(&self, name: &str) -> bool {
        self.listed.iter().any(|listed| listed.name == name)
    }

    /// Whether its benchmark of this name measures time.
    pub(super) fn timed(&self, name: &str) -> bool {
        self.listed.iter().any(|listed| listed.name == name && listed.timed)
    }
}

/// A benchmark that the other side has not.
pub(super) struct Lone<'a> {
    pub(super) listing: &'a Listing,
    pub(super) name: &'a str,
    pub(super) id: BenchmarkId,
}

/// The benchmarks of both sides that reach the same code and constants, with how many functions that is. The error
/// says why nothing was compared.
pub(super) fn same_code(base: &Listing, head: &Listing) -> Result<BTreeMap<String, u64>, String> {
    if base.executable.harness == Harness::Criterion || head.executable.harness == Harness::Criterion {
        // Nothing tells where its benchmarks begin.
        return Ok(BTreeMap::new());
    }
    let (base_files, head_files) = (Files::read(base)?, Files::read(head)?);
    let (base_image, head_image) = (base_files.image()?, head_files.image()?);
    let (base_entries, head_entries) = (entries(base, &base_image), entries(head, &head_image));
    let mut comparison = Comparison::new(&base_image, &head_image);
    let mut same = BTreeMap::new();
    for (name, &own) in &base_entries {
        let Some(&in_head) = head_entries.get(name) else { continue };
        let of =
            |own, entries: &BTreeMap<&str, u64>| Entrance { own, all: entries.values().copied().collect() };
        let difference = comparison.benchmark(&of(own, &base_entries), &of(in_head, &head_entries));
        if let Difference::Same(found) = difference {
            same.insert((*name).to_owned(), found.functions as u64);
        }
    }
    Ok(same)
}

/// What a change touched of what one benchmark can reach.
pub(super) fn touched(base: &Listing, head: &Listing, name: &str) -> Result<Touched, String> {
    let (base_files, head_files) = (Files::read(base)?, Files::read(head)?);
    let (base_image, head_image) = (base_files.image()?, head_files.image()?);
    let (base_entries, head_entries) = (entries(base, &base_image), entries(head, &head_image));
    let of = |entries: &BTreeMap<&str, u64>| {
        let own = *entries.get(name).ok_or("it says no longer where the benchmark begins")?;
        Ok::<_, String>(Entrance { own, all: entries.values().copied().collect() })
    };
    let mut comparison = Comparison::new(&base_image, &head_image);
    let difference = comparison.benchmark_naming(&of(&base_entries)?, &of(&head_entries)?, FUNCTIONS_MAX);
    Ok(by_code(&difference))
}

/// Where each benchmark begins, as an address of the file.
fn entries<'l>(listing: &'l Listing, image: &Image) -> BTreeMap<&'l str, u64> {
    let lowest = image.lowest_address();
    let listed = listing.listed.iter().filter(|listed| listed.timed);
    listed.filter_map(|listed| Some((listed.name.as_str(), lowest.checked_add(listed.entry?)?))).collect()
}

/// Which benchmarks of one side alone are probably the same under another name: pairs of places in the two lists. A
/// pair's machine code is the same, and no other benchmark of either list could as well be meant; where the same code
/// has as many names on both sides (one function with several parameters), they are paired in order.
pub(super) fn renamed(base: &[Lone], head: &[Lone]) -> Vec<[usize; 2]> {
    /// Files are read again for each pair of executables, and of so many new names nobody wants a list of guesses.
    const NAMES_MAX: usize = 50;
    if base.len() > NAMES_MAX || head.len() > NAMES_MAX {
        return vec![];
    }
    let mut alike: Vec<[usize; 2]> = Vec::new();
    let executables = |lone: &[Lone]| {
        let mut seen: Vec<*const Listing> = vec![];
        lone.iter().for_each(|lone| {
            if !seen.contains(&std::ptr::from_ref(lone.listing)) {
                seen.push(lone.listing);
            }
        });
        seen
    };
    for of_base in executables(base) {
        for of_head in executables(head) {
            let of = |lone: &[Lone], listing: *const Listing| -> Vec<usize> {
                (0..lone.len()).filter(|&at| std::ptr::eq(lone[at].listing, listing)).collect()
            };
            let (in_base, in_head) = (of(base, of_base), of(head, of_head));
            // What cannot be read gives no suggestion.
            alike.extend(same_under_other_names(base, &in_base, head, &in_head).unwrap_or_default());
        }
    }
    let matches = |at: usize, side: usize| -> Vec<usize> {
        alike.iter().filter(|pair| pair[side] == at).map(|pair| pair[1 - side]).collect()
    };
    let mut renamed = Vec::new();
    for at in 0..base.len() {
        let partners = matches(at, 0);
        let Some(&first) = partners.first() else { continue };
        let rivals = matches(first, 1);
        if rivals.len() == partners.len()
            && let Some(place) = rivals.iter().position(|&rival| rival == at)
        {
            renamed.push([at, partners[place]]);
        }
    }
    renamed
}

/// The pairs of names, of one executable each, that run the same code.
fn same_under_other_names(
    base: &[Lone],
    in_base: &[usize],
    head: &[Lone],
    in_head: &[usize],
) -> Result<Vec<[usize; 2]>, String> {
    let (Some(&some_base), Some(&some_head)) = (in_base.first(), in_head.first()) else { return Ok(vec![]) };
    let (base_listing, head_listing) = (base[some_base].listing, head[some_head].listing);
    let harnesses = [base_listing.executable.harness, head_listing.executable.harness];
    if harnesses.contains(&Harness::Criterion) {
        return Ok(vec![]);
    }
    let (base_files, head_files) = (Files::read(base_listing)?, Files::read(head_listing)?);
    let (base_image, head_image) = (base_files.image()?, head_files.image()?);
    let (base_entries, head_entries) =
        (entries(base_listing, &base_image), entries(head_listing, &head_image));
    let mut comparison = Comparison::new(&base_image, &head_image);
    let mut alike = Vec::new();
    for &of_base in in_base {
        let Some(&own_base) = base_entries.get(base[of_base].name) else { continue };
        for &of_head in in_head {
            let Some(&own_head) = head_entries.get(head[of_head].name) else { continue };
            let own = |own| Entrance { own, all: vec![own] };
            // The text of a name lies around the benchmark, and differs.
            let same = match comparison.benchmark(&own(own_base), &own(own_head)) {
                Difference::Same(_) => true,
                Difference::Changed(changed) => changed.place == Place::Around,
            };
            if same {
                alike.push([of_base, of_head]);
            }
        }
    }
    Ok(alike)
}

struct Files {
    program: Vec<u8>,
    map: Vec<u8>,
}

impl Files {
    fn read(listing: &Listing) -> Result<Files, String> {
        let map = listing.executable.map.as_deref().ok_or("the linker wrote no map")?;
        Ok(Files { program: read(&listing.executable.program)?, map: read(map)? })
    }

    fn image(&self) -> Result<Image<'_>, String> {
        Image::read(&self.program, &self.map).map_err(|error| error.to_string())
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > FILE_MAX_BYTES {
        return Err(format!("a file of {} MiB is too large for that", size >> 20));
    }
    std::fs::read(file).map_err(|error| error.to_string())
}
