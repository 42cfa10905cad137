//! Stored evidence, read with a bound on everything: what is cut short, forged or huge is refused in words.
//!
//! `docs/evidence.md` describes the format.

pub mod check;

use crate::model::evidence::EVIDENCE_SCHEMA;
use crate::model::wire::EVIDENCE_MAX_BYTES;
use crate::model::{Evidence, JobSpec};
use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Decompressed evidence: 1,000 benchmarks of 120 visits with all their pairs are below 100 MiB. A bundle that unpacks
/// to more is refused before it fills the memory.
pub const DECODED_MAX_BYTES: u64 = 128 << 20;
/// Memory that a stream may ask for to be unpacked, as a power of two: 16 MiB. Runners use a fifth of it.
const WINDOW_LOG_MAX: u32 = 24;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What a stored bundle is called, after its digest.
const ENDING: &str = ".json.zst";
/// Hex digits of a SHA-256.
const DIGEST_CHARS: usize = 64;

/// The name of a bundle's bytes: their SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Decompresses and parses evidence, with a bound on its unpacked size.
pub fn decode(bytes: &[u8]) -> anyhow::Result<Evidence> {
    decode_within(bytes, DECODED_MAX_BYTES)
}

/// The same, and holds it against the job that it must be of.
pub fn decode_for(bytes: &[u8], spec: &JobSpec) -> anyhow::Result<Evidence> {
    let evidence = decode(bytes)?;
    check::check(&evidence, spec)?;
    Ok(evidence)
}

/// Reads a bundle that somebody keeps: compressed, or as plain JSON. A file that is named by a digest, as a server names
/// it, must have that digest.
pub fn read(file: &Path) -> anyhow::Result<Evidence> {
    let name = file.display();
    let mut bytes = Vec::new();
    let open = std::fs::File::open(file).with_context(|| format!("cannot open {name}"))?;
    open.take(DECODED_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    let packed = bytes.starts_with(&ZSTD_MAGIC);
    let most = if packed { EVIDENCE_MAX_BYTES as u64 } else { DECODED_MAX_BYTES };
    ensure!(bytes.len() as u64 <= most, "{name} is larger than evidence can be, {most} bytes");
    if let Some(named) = named_digest(file) {
        let is = digest(&bytes);
        ensure!(is == named, "{name} was changed: its name says SHA-256 {named}, and its bytes have {is}");
    }
    let evidence = if packed { decode(&bytes) } else { parse(&bytes) };
    let evidence = evidence.with_context(|| format!("{name} is no evidence of a run"))?;
    check::check(&evidence, &evidence.spec).with_context(|| format!("{name} cannot be evidence of a run"))?;
    Ok(evidence)
}

fn named_digest(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?.strip_suffix(ENDING)?;
    let is_digest = name.len() == DIGEST_CHARS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| name.to_ascii_lowercase())
}

fn decode_within(bytes: &[u8], decoded_max_bytes: u64) -> anyhow::Result<Evidence> {
    let mut json = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(bytes).context("evidence is no zstd stream")?;
    decoder.window_log_max(WINDOW_LOG_MAX).context("evidence cannot be unpacked")?;
    let unpacked = decoder.take(decoded_max_bytes + 1).read_to_end(&mut json);
    unpacked.context("evidence is no zstd stream, or was cut short")?;
    if json.len() as u64 > decoded_max_bytes {
        bail!("evidence unpacks to more than {decoded_max_bytes} bytes");
    }
    parse(&json)
}

fn parse(json: &[u8]) -> anyhow::Result<Evidence> {
    /// Read first: what another version wrote is another thing than what is broken.
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let Versioned { schema } =
        serde_json::from_slice(json).context("evidence is not what its format says: it has no schema")?;
    ensure!(
        schema == EVIDENCE_SCHEMA,
        "the evidence has format {schema}, this program reads {EVIDENCE_SCHEMA}: use the version that wrote it"
    );
    serde_json::from_slice(json).context("evidence is not what its format says")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_to_nonsense_is_refused() {
        let packed = zstd::encode_all(&b"{\"schema\": 1}"[..], 1).unwrap();
        assert!(decode(&packed).unwrap_err().to_string().contains("format"));
        let newer = zstd::encode_all(&b"{\"schema\": 9, \"new\": true}"[..], 1).unwrap();
        assert!(decode(&newer).unwrap_err().to_string().contains("has format 9, this program reads 1"));
        assert!(decode(b"").unwrap_err().to_string().contains("zstd"), "nothing at all");
        assert!(decode(&packed[..packed.len() - 3]).unwrap_err().to_string().contains("zstd"), "cut short");
        assert!(decode(b"{}").unwrap_err().to_string().contains("zstd"));
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_the_memory() {
        let bomb = zstd::encode_all(std::io::repeat(b' ').take(16 << 20), 3).unwrap();
        assert!(bomb.len() < 10_000, "{} bytes become 16 MiB", bomb.len());
        assert!(decode_within(&bomb, 1 << 20).unwrap_err().to_string().contains("unpacks to more than"));
        // A stream that wants gigabytes of memory to be unpacked at all.
        let mut greedy = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        greedy.window_log(WINDOW_LOG_MAX + 3).unwrap();
        std::io::copy(&mut std::io::repeat(b' ').take(100), &mut greedy).unwrap();
        assert!(decode(&greedy.finish().unwrap()).unwrap_err().to_string().contains("zstd"));
    }

    #[test]
    fn only_a_name_that_is_a_digest_binds() {
        let named = |name: &str| named_digest(Path::new(name));
        let hex = "AB".repeat(32);
        assert_eq!(named(&format!("/x/{hex}.json.zst")), Some("ab".repeat(32)));
        for other in ["evidence.json.zst", &format!("{hex}.json"), &format!("{}g.json.zst", &hex[1..])] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
