//! Who asks for what: the values that requests have most often, counted while somebody looks, in bounded memory.
//!
//! While nobody does, a request reads one flag. Each thread counts by itself; what all have counted is added up when
//! the look is over.

mod sketch;

use self::sketch::Sketch;
use crate::access_log::text;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What requests are told apart by.
pub const KINDS: [&str; 6] = ["protocol", "host", "sni", "route", "grpc_method", "upstream"];
/// A longer value is cut; those that differ behind this are counted as one.
const NAME_MAX_BYTES: usize = 256;
/// Values of one kind that a thread keeps apart: ten times as many as anybody reads.
const NAMES_MAX: usize = 512;

/// What is counted of one request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// By the place in [`KINDS`]; none where a request has no such value.
    pub names: [Option<&'a str>; KINDS.len()],
    pub answer_bytes: u64,
}

/// What the threads have counted.
#[derive(Debug)]
pub struct Traffic {
    is_on: AtomicBool,
    threads: Box<[Mutex<Profile>]>,
}

/// What came while somebody looked.
#[derive(Debug, Default)]
pub struct Profile {
    requests: u64,
    sketches: [Sketch; KINDS.len()],
}

/// Somebody looks; dropped, nobody does.
#[derive(Debug)]
pub struct Look<'a>(&'a Traffic);

impl Traffic {
    pub fn new(threads: usize) -> Traffic {
        Traffic { is_on: AtomicBool::new(false), threads: (0..threads).map(|_| Mutex::default()).collect() }
    }

    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// None while somebody else looks.
    pub fn look(&self) -> Option<Look<'_>> {
        let was_on = self.is_on.swap(true, Ordering::AcqRel);
        (!was_on).then(|| Look(self))
    }

    pub fn count(&self, thread: usize, asked: &Asked<'_>) {
        let mut profile = self.profile(thread);
        // Asked once nobody else has it: the look may have ended since the request came.
        if !self.is_on() {
            return;
        }
        profile.requests += 1;
        for (sketch, name) in profile.sketches.iter_mut().zip(asked.names) {
            if let Some(name) = name {
                sketch.count(&name[..name.floor_char_boundary(NAME_MAX_BYTES)], asked.answer_bytes);
            }
        }
    }

    fn profile(&self, thread: usize) -> MutexGuard<'_, Profile> {
        self.threads[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look<'_> {
    /// Ends the look: what all threads have counted.
    pub fn end(self) -> Profile {
        let mut all = Profile::default();
        for thread in 0..self.0.threads.len() {
            let profile = std::mem::take(&mut *self.0.profile(thread));
            all.requests += profile.requests;
            for (sum, sketch) in all.sketches.iter_mut().zip(profile.sketches) {
                sum.merge(sketch);
            }
        }
        all
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.0.is_on.store(false, Ordering::Release);
        // What was still counted between its end and here belongs to nobody.
        for thread in 0..self.0.threads.len() {
            *self.0.profile(thread) = Profile::default();
        }
    }
}

impl Profile {
    /// The most frequent values of each kind, as JSON. `over` is by how much a count may be too high: what was
    /// counted of other values before this one took their place.
    pub fn json(&self, seconds: u64, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = write!(out, "{{\"seconds\":{seconds},\"requests\":{}", self.requests);
        for (kind, sketch) in KINDS.iter().zip(&self.sketches) {
            let _ = write!(out, ",\"{kind}\":[");
            for (n, counted) in sketch.top(most).into_iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                let (requests, over, bytes) = (counted.requests, counted.over, counted.bytes);
                let _ =
                    write!(out, "{comma}{{\"requests\":{requests},\"over\":{over},\"answer_bytes\":{bytes}");
                text(&mut out, "name", counted.name.as_bytes());
                out.push(b'}');
            }
            out.push(b']');
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(host: &'a str, route: &'a str) -> Asked<'a> {
        Asked { names: [Some("HTTP/2"), Some(host), None, Some(route), None, Some("shop")], answer_bytes: 10 }
    }

    #[test]
    fn what_threads_count_is_added_up() {
        let traffic = Traffic::new(2);
        assert!(!traffic.is_on());
        let look = traffic.look().expect("a look");
        assert!(traffic.is_on() && traffic.look().is_none());
        for thread in [0, 1, 1] {
            traffic.count(thread, &asked("a.example", "\"all\""));
        }
        traffic.count(0, &asked("b.example", "few"));
        let json: serde_json::Value = serde_json::from_slice(&look.end().json(5, 1)).expect("JSON");
        assert!(!traffic.is_on());
        traffic.count(0, &asked("late.example", "few"));
        assert!(json["requests"] == 4 && json["seconds"] == 5, "{json}");
        assert_eq!(json["host"][0]["name"], "a.example");
        assert!(json["host"][0]["requests"] == 3 && json["host"][0]["answer_bytes"] == 30, "{json}");
        assert_eq!(json["route"][0]["name"], "\"all\"");
        assert_eq!(json["host"].as_array().map(Vec::len), Some(1), "no more than were asked for");
        assert_eq!(json["sni"], serde_json::json!([]));
        let again = traffic.look().expect("a look").end();
        assert_eq!(again.requests, 0, "what was counted before is not counted again");
    }

    #[test]
    fn long_names_are_cut() {
        let traffic = Traffic::new(1);
        let look = traffic.look().expect("a look");
        let long = "\u{e9}".repeat(1000);
        traffic.count(0, &asked(&long, "r"));
        let profile = look.end();
        assert_eq!(profile.sketches[1].top(1)[0].name.len(), NAME_MAX_BYTES);
    }
}
