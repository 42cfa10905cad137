//! Which benchmarks of two executables run the same machine code, by the executables and their linker's maps.

use super::listing::Listed;
use crate::artifact::{BenchExecutable, Harness};
use crate::codegen::{Comparison, Difference, Entrance, Image};
use std::collections::BTreeMap;
use std::path::Path;

/// Executables and maps larger than this are not compared: a bench without debug information is some megabytes.
const FILE_MAX_BYTES: u64 = 256 << 20;

/// One side's executable and what it announced.
pub(super) struct Listing<'a> {
    pub(super) executable: &'a BenchExecutable,
    pub(super) listed: &'a [Listed],
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

/// Where each benchmark begins, as an address of the file.
fn entries<'l>(listing: &Listing<'l>, image: &Image) -> BTreeMap<&'l str, u64> {
    let lowest = image.lowest_address();
    let listed = listing.listed.iter().filter(|listed| listed.timed);
    listed.filter_map(|listed| Some((listed.name.as_str(), lowest.checked_add(listed.entry?)?))).collect()
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
