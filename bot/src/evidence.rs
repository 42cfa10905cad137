//! Stored evidence: files named by the SHA-256 of their bytes, written whole or not at all.

pub use perfsuite::evidence::{DECODED_MAX_BYTES, check, decode, decode_for};

use anyhow::{Context, bail};
use perfsuite::model::Evidence;
use perfsuite::model::wire::EVIDENCE_MAX_BYTES;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
        let digest = perfsuite::evidence::digest(bytes);
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
}
