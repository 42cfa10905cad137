//! Stored evidence: files named by the SHA-256 of their bytes, written whole or not at all.

use anyhow::{Context, bail};
use perfsuite::model::Evidence;
use perfsuite::model::wire::EVIDENCE_MAX_BYTES;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Decompressed evidence; a bundle that unpacks to more is refused before it fills the memory.
const DECODED_MAX_BYTES: u64 = 512 << 20;

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

    pub fn get(&self, digest: &str) -> anyhow::Result<Evidence> {
        decode(&self.bytes(digest)?)
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
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
    let mut json = Vec::new();
    zstd::stream::read::Decoder::new(bytes)
        .and_then(|decoder| decoder.take(DECODED_MAX_BYTES + 1).read_to_end(&mut json))
        .context("evidence is no zstd stream")?;
    if json.len() as u64 > DECODED_MAX_BYTES {
        bail!("evidence unpacks to more than {DECODED_MAX_BYTES} bytes");
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
        assert!(store.bytes("../../etc/passwd").is_err());
        assert!(store.get(&digest).is_err(), "no zstd stream");
    }

    #[test]
    fn what_unpacks_to_nonsense_is_refused() {
        let packed = zstd::encode_all(&b"{\"schema\": 1}"[..], 1).unwrap();
        assert!(decode(&packed).unwrap_err().to_string().contains("format"));
    }
}
