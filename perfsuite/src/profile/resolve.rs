//! Addresses of processes become names of functions.

use super::image::Image;
use super::maps::{Mapping, Maps};
use super::record::Sample;
use super::unwind::{Code, Look, unwind};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file or directory of what is measured: where its processes see it, and where it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub seen: PathBuf,
    pub host: PathBuf,
}

/// Directories of the system, which look the same from inside walls; no other file of a process is opened here.
const SYSTEM: [&str; 4] = ["/usr", "/lib", "/lib64", "/lib32"];
/// Files that are looked into; a process that maps more has plugins.
const IMAGES_MAX: usize = 256;
/// Of a file's name, in brackets.
const FILE_NAME_CHARS_MAX: usize = 80;
/// A time in the kernel, whatever it did.
pub(super) const KERNEL: &str = "[kernel]";
/// Code that no file has, as just-in-time compilers make it.
const NO_FILE: &str = "[code without a file]";

/// Files that were looked into.
#[derive(Default)]
pub(super) struct Library {
    images: HashMap<PathBuf, Option<Arc<Image>>>,
    /// Files of what is measured that have no symbols, by name.
    pub(super) nameless: Vec<String>,
}

impl Library {
    fn image(&mut self, file: &Path, ours: bool) -> Option<Arc<Image>> {
        if let Some(known) = self.images.get(file) {
            return known.clone();
        }
        if self.images.len() >= IMAGES_MAX {
            return None;
        }
        let image = Image::read(file).map(Arc::new);
        if ours && image.as_ref().is_some_and(|image| !image.has_symbols) {
            self.nameless.push(file_name(file));
        }
        self.images.insert(file.to_owned(), image.clone());
        image
    }
}

/// One process: what lies where in it.
pub(super) struct Process {
    maps: Maps,
    /// By path as the process sees it.
    files: HashMap<PathBuf, File>,
    /// How often it was looked at again.
    pub(super) looked: u32,
}

#[derive(Clone)]
struct File {
    image: Option<Arc<Image>>,
    ours: bool,
}

impl Process {
    pub(super) fn of(id: u32, places: &[Place], library: &mut Library) -> Process {
        Process::with(Maps::of(id), places, library)
    }

    fn with(maps: Maps, places: &[Place], library: &mut Library) -> Process {
        let mut files = HashMap::new();
        for path in maps.paths() {
            files.entry(path.to_owned()).or_insert_with(|| {
                let system = SYSTEM.iter().any(|root| path.starts_with(root)).then(|| path.to_owned());
                let ours = system.is_none();
                let file = system.or_else(|| places.iter().find_map(|place| below(path, place)));
                let ours = ours && file.is_some();
                File { image: file.and_then(|file| library.image(&file, ours)), ours }
            });
        }
        Process { maps, files, looked: 0 }
    }

    /// Whether the code that a sample was taken in is known.
    pub(super) fn knows(&self, sample: &Sample) -> bool {
        sample.chain.first().is_none_or(|leaf| self.maps.at(*leaf).is_some())
    }

    /// The functions of a sample's stack, the outermost first.
    pub(super) fn functions(&self, sample: &Sample) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        if sample.in_kernel {
            names.push(KERNEL.into());
        }
        for (depth, address) in unwind(sample, self).into_iter().enumerate() {
            // A return address may be the first of the next function.
            names.push(self.name(if depth == 0 { address } else { address - 1 }));
        }
        names.reverse();
        names
    }

    fn name(&self, address: u64) -> Arc<str> {
        let Some((mapping, file)) = self.file(address) else { return "[unknown]".into() };
        let found = file.image.as_ref().and_then(|image| {
            let address = image.address((address - mapping.start).checked_add(mapping.offset)?)?;
            Some(image.function_at(address)?.name())
        });
        found.unwrap_or_else(|| match file_name(&mapping.path) {
            name if name.is_empty() => NO_FILE.into(),
            name => format!("[{}]", name.trim_matches(['[', ']'])).into(),
        })
    }

    fn file(&self, address: u64) -> Option<(&Mapping, &File)> {
        let mapping = self.maps.at(address)?;
        Some((mapping, self.files.get(&mapping.path)?))
    }
}

impl Code for Process {
    fn look(&self, address: u64) -> Option<Look> {
        let (mapping, file) = self.file(address)?;
        let mut look = Look { ours: file.ours, ..Look::default() };
        if let Some(image) = &file.image {
            let offset = (address - mapping.start).saturating_add(mapping.offset);
            look.into_function =
                image.address(offset).and_then(|address| Some(image.function_at(address)?.offset));
            look.returns = image.bytes_at(offset, 1) == Some(&[0xc3]);
            look.after_call = image.follows_a_call(offset);
        }
        Some(look)
    }
}

/// The file here of a path there, when it lies in that place.
fn below(path: &Path, place: &Place) -> Option<PathBuf> {
    let rest = path.strip_prefix(&place.seen).ok()?;
    let plain = rest.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    plain.then(|| if rest.as_os_str().is_empty() { place.host.clone() } else { place.host.join(rest) })
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(FILE_NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn marked() -> u64 {
        std::hint::black_box(7)
    }

    #[test]
    fn ones_own_functions_have_their_names() {
        let exe = std::env::current_exe().unwrap();
        let places = [Place { seen: exe.clone(), host: exe }];
        let process = Process::of(std::process::id(), &places, &mut Library::default());
        assert_eq!(marked(), 7);
        let name = process.name(marked as fn() -> u64 as usize as u64);
        assert!(name.ends_with("resolve::tests::marked"), "{name}");
        assert_eq!(&*process.name(1), "[unknown]");
    }

    #[test]
    fn only_what_is_measured_and_the_system_is_opened() {
        let place = |seen: &str, host: &str| Place { seen: seen.into(), host: host.into() };
        let file = |path: &str, of: &Place| below(Path::new(path), of);
        let bench = place("/build/bench", "/var/kept/bench-1");
        assert_eq!(file("/build/bench", &bench), Some("/var/kept/bench-1".into()));
        let target = place("/build/base/target", "/var/kept/bin");
        assert_eq!(file("/build/base/target/release/x", &target), Some("/var/kept/bin/release/x".into()));
        assert_eq!(file("/build/base/target/../../etc/passwd", &target), None);
        assert_eq!(file("/tmp/x", &target), None);
    }
}
