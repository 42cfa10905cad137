//! Compiler flags that both sides are built with, beside the repository's own.
//!
//! A change in one function moves all that the linker puts behind it, and a loop that straddles a line of the
//! instruction cache in another way runs up to a quarter slower or faster, with not one byte of it changed. With
//! functions and jump targets on boundaries of such lines that is gone: a benchmark of three branches that moved by
//! +23 % and −28 % was back within 2 %, and no slower than before.
//!
//! A crate is compiled as one unit, because which functions share a unit, and so what is inlined into what, otherwise
//! changes with the size of everything else in it: with the usual 16 units a change of two functions made all of 14
//! benchmarks other machine code, with one unit the three that run them.

use super::{Places, home};
use std::path::Path;
use toml_edit::{DocumentMut, Item};

/// 2^6 = 64 bytes: a cache line of every x86-64 and of nearly every aarch64.
const ALIGNED: [&str; 2] =
    ["-Cllvm-args=-align-all-functions=6", "-Cllvm-args=-align-all-nofallthru-blocks=6"];
/// Profiles follow frame pointers from function to function. They cost one or two percent, on both sides alike; a second
/// build for profiles alone would cost as much time as the first, and show other code than what was measured.
const FRAMES: [&str; 1] = ["-Cforce-frame-pointers=yes"];
/// Debug information is not linked in, because fresh copies of the executable are made all the time.
const LINKED: [&str; 1] = ["-Clink-arg=-Wl,--strip-debug"];
/// Benches are built under the one profile, servers usually under the other; both alike, so that they share what they
/// depend on.
const UNITS: [(&str, &str); 2] =
    [("CARGO_PROFILE_BENCH_CODEGEN_UNITS", "1"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")];
/// A configuration larger than this is none.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// The environment variables that add the flags to the repository's own.
///
/// Cargo takes flags from one place only: those for a target win over those for all builds. Ours go where the
/// repository's are, and cargo joins the two.
pub(super) fn environment(places: &Places) -> anyhow::Result<Vec<(String, String)>> {
    let source = places.source();
    let by_target = [".cargo/config.toml", ".cargo/config"]
        .iter()
        .any(|name| read(&source.join(name)).is_some_and(|config| has_target_flags(&config)));
    let name = if by_target {
        let triple = home::host_triple(&places.rustc)?.to_uppercase().replace(['-', '.'], "_");
        format!("CARGO_TARGET_{triple}_RUSTFLAGS")
    } else {
        "CARGO_BUILD_RUSTFLAGS".to_owned()
    };
    // Cargo takes a list from the environment apart at spaces.
    let flags = [&ALIGNED[..], &FRAMES[..], &LINKED[..]].concat().join(" ");
    let units = UNITS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(units.into_iter().chain([(name, flags)]).collect())
}

fn read(file: &Path) -> Option<DocumentMut> {
    let meta = std::fs::symlink_metadata(file).ok()?;
    let plain = meta.is_file() && meta.len() <= CONFIG_MAX_BYTES;
    plain.then(|| std::fs::read_to_string(file).ok()?.parse().ok()).flatten()
}

fn has_target_flags(config: &DocumentMut) -> bool {
    let Some(targets) = config.get("target").and_then(Item::as_table_like) else { return false };
    let flags = |target: &Item| target.as_table_like().is_some_and(|table| table.contains_key("rustflags"));
    targets.iter().any(|(_, target)| flags(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_where_the_repositorys_are() {
        for (text, expect) in [
            ("", false),
            ("[build]\nrustflags = [\"-Ctarget-cpu=native\"]", false),
            ("[target.x86_64-unknown-linux-gnu]\nlinker = \"clang\"", false),
            ("[target.x86_64-unknown-linux-gnu]\nrustflags = [\"-g\"]", true),
            ("[target.'cfg(unix)']\nrustflags = \"-g\"", true),
        ] {
            assert_eq!(has_target_flags(&text.parse().unwrap()), expect, "{text}");
        }
    }
}
