//! Stored evidence: files named by the SHA-256 of their bytes, written whole or not at all.

pub mod check;

use anyhow::{Context, bail};
use perfsuite::model::wire::EVIDENCE_MAX_BYTES;
use perfsuite::model::{Evidence, JobSpec};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Decompressed evidence: 1,000 benchmarks of 120 visits with all their pairs are below 100 MiB. A bundle that unpacks
/// to more is refused before it fills the memory.
pub const DECODED_MAX_BYTES: u64 = 128 << 20;
/// Memory that a stream may ask for to be unpacked, as a power of two: 16 MiB. Runners use a fifth of it.
const WINDOW_LOG_MAX: u32 = 24;

/// A directory of evidence.
#[derive(Clone, Debug)]
pub struct EvidenceStore {
    dir: PathBuf,
}

impl EvidenceStore {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(&digest[..2]).join(format!("{digest}.json.zst"))
    }

    /// Stores bytes and returns their digest. The same bytes twice are one file.
    pub fn put(&self, bytes: &[u8]) -> anyhow::Result<String> {
        if bytes.len() > EVIDENCE_MAX_BYTES {
            bail!("evidence of {} bytes is over the bound of {EVIDENCE_MAX_BYTES}", bytes.len());
        }
        let digest = hex::encode(Sha256::digest(bytes));
        let path = self.path(&digest);
        if path.exists() {
            return Ok(digest);
        }
        let parent = path.parent().expect("evidence paths have a parent");
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).with_context(|| format!("cannot store evidence as {}", path.display()))?;
        Ok(digest)
    }

    /// The stored bytes, as they came.
    pub fn bytes(&self, digest: &str) -> anyhow::Result<Vec<u8>> {
        if !is_digest(digest) {
            bail!("{digest:?} is no digest");
        }
        read_bounded(&self.path(digest))
    }

    /// The stored file, for passing on without holding it in memory. `None` when it is no longer kept.
    pub fn open(&self, digest: &str) -> anyhow::Result<Option<std::fs::File>> {
        if !is_digest(digest) {
            bail!("{digest:?} is no digest");
        }
        match std::fs::File::open(self.path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot open evidence {digest}")),
        }
    }

    /// Stored files that were last written before, the oldest first, by their digests.
    pub fn older_than(&self, when: SystemTime) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            for entry in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let digest = name.strip_suffix(".json.zst").filter(|digest| is_digest(digest));
                let (Some(digest), Ok(meta)) = (digest, entry.metadata()) else { continue };
                let written = meta.modified().context("this file system knows no times")?;
                if written < when {
                    found.push((written, digest.to_owned(), entry.path()));
                }
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, digest, path)| (digest, path)).collect())
    }

    pub fn get(&self, digest: &str) -> anyhow::Result<Evidence> {
        decode(&self.bytes(digest)?)
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn read_bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(EVIDENCE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > EVIDENCE_MAX_BYTES {
        bail!("{} is over the bound of {EVIDENCE_MAX_BYTES} bytes", path.display());
    }
    Ok(bytes)
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

fn decode_within(bytes: &[u8], decoded_max_bytes: u64) -> anyhow::Result<Evidence> {
    let mut json = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(bytes).context("evidence is no zstd stream")?;
    decoder.window_log_max(WINDOW_LOG_MAX).context("evidence cannot be unpacked")?;
    decoder.take(decoded_max_bytes + 1).read_to_end(&mut json).context("evidence is no zstd stream")?;
    if json.len() as u64 > decoded_max_bytes {
        bail!("evidence unpacks to more than {decoded_max_bytes} bytes");
    }
    serde_json::from_slice(&json).context("evidence is not what its format says")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_are_stored_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = EvidenceStore::new(dir.path().into());
        let digest = store.put(b"some bytes").unwrap();
        assert_eq!(store.put(b"some bytes").unwrap(), digest);
        assert_eq!(store.bytes(&digest).unwrap(), b"some bytes");
        assert!(store.get(&digest).is_err(), "no zstd stream");
    }

    #[test]
    fn only_digests_are_looked_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = EvidenceStore::new(dir.path().join("evidence"));
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        let long = format!("../{}", "/".repeat(61));
        for name in ["", "a", "../../etc/passwd", "../secret", &long, &"A".repeat(64), &"é".repeat(32)] {
            assert!(store.bytes(name).is_err(), "{name:?}");
            assert!(store.open(name).is_err(), "{name:?}");
        }
        assert!(store.open(&"a".repeat(64)).unwrap().is_none());
    }

    #[test]
    fn what_unpacks_to_nonsense_is_refused() {
        let packed = zstd::encode_all(&b"{\"schema\": 1}"[..], 1).unwrap();
        assert!(decode(&packed).unwrap_err().to_string().contains("format"));
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
}
