//! Answers kept for conditional requests: GitHub says 304 to who has the present state, and takes nothing off the quota.

use super::guard::Who;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ETAG, HeaderValue, LINK};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

/// All answers together: facts of some thousand pull requests at 15 KiB each.
const TOTAL_MAX_BYTES: usize = 32 << 20;
/// One answer; a longer list is rare, and would push out many short ones.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// An answer's path, headers and place in the tables, about.
const OVERHEAD_BYTES: usize = 512;

/// An answer that can be asked for again by its tag.
#[derive(Clone)]
pub(super) struct Kept {
    pub tag: HeaderValue,
    pub link: Option<HeaderValue>,
    pub body: Bytes,
}

impl Kept {
    /// What an answer's headers and body are worth keeping; `None` when GitHub gave no tag.
    pub(super) fn of(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let tag = headers.get(ETAG)?.clone();
        Some(Self { tag, link: headers.get(LINK).cloned(), body: body.clone() })
    }

    fn bytes(&self) -> usize {
        self.body.len() + OVERHEAD_BYTES
    }
}

type Key = (Who, String);

/// The least recently used goes first. What one installation may see is never shown to another.
#[derive(Default)]
pub(super) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    kept: HashMap<Key, (Kept, u64)>,
    /// By last use.
    order: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

impl Cache {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics while it holds the lock.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn get(&self, who: Who, path: &str) -> Option<Kept> {
        let key = (who, path.to_owned());
        let mut inner = self.inner();
        let kept = inner.take(&key)?;
        inner.put(key, kept.clone());
        Some(kept)
    }

    pub(super) fn put(&self, who: Who, path: &str, kept: Kept) {
        let key = (who, path.to_owned());
        let mut inner = self.inner();
        inner.take(&key);
        if kept.body.len() > ANSWER_MAX_BYTES {
            return;
        }
        inner.put(key, kept);
        while inner.bytes > TOTAL_MAX_BYTES {
            let Some((_, oldest)) = inner.order.pop_first() else { return };
            inner.take(&oldest);
        }
    }
}

impl Inner {
    fn take(&mut self, key: &Key) -> Option<Kept> {
        let (kept, used) = self.kept.remove(key)?;
        self.order.remove(&used);
        self.bytes -= kept.bytes();
        Some(kept)
    }

    fn put(&mut self, key: Key, kept: Kept) {
        self.uses += 1;
        self.bytes += kept.bytes();
        self.order.insert(self.uses, key.clone());
        self.kept.insert(key, (kept, self.uses));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::InstallationId;

    fn kept(bytes: usize) -> Kept {
        Kept { tag: HeaderValue::from_static("\"t\""), link: None, body: vec![b'x'; bytes].into() }
    }

    #[test]
    fn it_never_holds_more_than_its_bound_and_drops_what_was_unused_longest() {
        let cache = Cache::default();
        for n in 0..200 {
            cache.put(Who::App, &format!("/{n}"), kept(ANSWER_MAX_BYTES));
            assert!(cache.get(Who::App, "/0").is_some(), "it is used all the time");
            assert!(cache.inner().bytes <= TOTAL_MAX_BYTES);
        }
        assert!(cache.get(Who::App, "/1").is_none());
        assert!(cache.get(Who::App, "/199").is_some());
        let inner = cache.inner();
        assert_eq!(inner.kept.len(), inner.order.len());
        assert_eq!(inner.bytes, inner.kept.values().map(|(kept, _)| kept.bytes()).sum::<usize>());
    }

    #[test]
    fn callers_are_kept_apart_and_large_answers_left_out() {
        let cache = Cache::default();
        let here = Who::Installation(InstallationId(1));
        cache.put(here, "/a", kept(10));
        assert!(cache.get(Who::Installation(InstallationId(2)), "/a").is_none());
        cache.put(here, "/a", kept(ANSWER_MAX_BYTES + 1));
        assert!(cache.get(here, "/a").is_none(), "the old state is no longer true");
    }
}
