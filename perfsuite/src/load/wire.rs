//! What goes into one round and comes out of it, as JSON between the measuring process and the sandbox.

use super::schedule::Spacing;
use crate::model::{
    FailureReason, Side,
    job::{Protocol, Request},
    scenario::Knee,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// Latencies are kept from 1 ns to a minute, with three digits: 0.1 % wide, 230 KiB a side.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
const LATENCY_DIGITS: u8 = 3;
/// HDR's V2 encoding begins with its cookie, the length of the counts, an offset, digits, the lowest and the highest value
/// and a ratio, all of them big-endian.
const HEADER_BYTES: usize = 40;
const PLAIN: u32 = 0x1c84_9313;
/// One round's result: two histograms of at most 20,000 two-byte counters, in base64, and change.
pub const RESULT_MAX_BYTES: usize = 1 << 20;
/// A plan: commands and request templates.
pub const PLAN_MAX_BYTES: usize = 1 << 20;

/// One visit to both servers (or one search on the base), run whole in one sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// What `{perfsuite}` stands for: its executable, and the word before its subcommands where there is one.
    pub perfsuite: Vec<String>,
    /// Empty: the servers need none. One process serves both sides.
    pub upstream: Vec<String>,
    /// In the order in which they are started.
    pub servers: Vec<ServerPlan>,
    /// `METHOD /path`, asked until it answers 2xx.
    pub ready: String,
    pub ready_limit_ms: u64,
    /// Over both sides together.
    pub connections: u32,
    #[serde(default)]
    pub protocol: Protocol,
    pub requests: Vec<Request>,
    pub spacing: Spacing,
    /// Statuses of 400 and above that are good answers.
    #[serde(default)]
    pub expect: Vec<u16>,
    pub seed: u64,
    pub task: RoundTask,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerPlan {
    pub side: Side,
    /// `{listen}`, `{upstream}` and `{perfsuite}` are still to be replaced: ports are picked inside.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "task")]
pub enum RoundTask {
    /// One schedule over all servers of the plan.
    Measure { rate_per_second: f64, warmup_ms: u64, window_ms: u64 },
    /// One schedule, which begins when it is told to, so that somebody outside can watch the servers.
    Watched { rate_per_second: f64, warmup_ms: u64, window_ms: u64 },
    /// The largest rate that the (single) server sustains with p99 under the limit.
    Knee { p99_limit_ns: u64, probe_ms: u64, limit_ms: u64 },
}

/// What a round printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum RoundOutcome {
    /// Not the last word: warmed up, and waiting for a line. The servers' process ids, as the round sees them.
    Ready {
        processes: BTreeMap<Side, u32>,
    },
    Measured(RoundResult),
    Knee(Knee),
    Failed(RoundFailure),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundFailure {
    /// `None`: the upstream or the round itself.
    pub side: Option<Side>,
    pub reason: FailureReason,
    /// One line that says what happened, then the end of the process's stderr.
    pub output: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundResult {
    pub sides: BTreeMap<Side, SideResult>,
    /// Both servers ran on the same cores, and the generator on others.
    pub pinned: bool,
    /// How late requests were handed out, in nanoseconds.
    pub lateness_p50_ns: u64,
    pub lateness_p99_ns: u64,
    /// Requests of the schedule that were never sent because the generator was too far behind.
    pub unsent: u64,
    /// From the first due time to the last answer.
    pub elapsed_ns: u64,
    /// CPU time of the generator itself, to send and to receive; zero when not known.
    #[serde(default)]
    pub generator_cpu_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideResult {
    pub scheduled: u64,
    /// With a status below 400, or one that is expected.
    pub answered: u64,
    pub errors: BTreeMap<ErrorKind, u64>,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    /// User and system, of the server and everything below it, within the window.
    pub cpu_ns: u64,
    pub memory_peak_bytes: Option<u64>,
    /// By how much the memory of the server and everything below it grew within the window.
    #[serde(default)]
    pub memory_growth_bytes: Option<i64>,
    /// Mean latency of the requests that were due in each quarter of the window.
    #[serde(default)]
    pub quarters_ns: [u64; 4],
    /// Latencies in nanoseconds: base64 of HDR's V2 encoding.
    pub latency: String,
}

/// Why a request brought no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// An attempt to connect failed (not a request by itself: it waits for the next attempt).
    Connect,
    /// The connection was closed before the response was whole.
    Closed,
    Malformed,
    TooLarge,
    /// 400 or above.
    Status,
    /// No answer by the end of the drain; its waiting is among the latencies.
    Unanswered,
}

impl ErrorKind {
    pub fn title(self) -> &'static str {
        match self {
            ErrorKind::Connect => "connections refused",
            ErrorKind::Closed => "connections closed within a response",
            ErrorKind::Malformed => "malformed responses",
            ErrorKind::TooLarge => "responses above the size bound",
            ErrorKind::Status => "answers of 400 and above",
            ErrorKind::Unanswered => "requests without an answer",
        }
    }
}

/// One side's counts and latencies of one schedule.
#[derive(Clone, Debug)]
pub struct Tally {
    pub latency: Histogram<u64>,
    pub scheduled: u64,
    pub answered: u64,
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Of the requests that were due in each quarter of the schedule: the sum of latencies, and how many they were.
    quarters: [(u128, u64); 4],
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            latency: histogram(),
            scheduled: 0,
            answered: 0,
            errors: BTreeMap::new(),
            quarters: [(0, 0); 4],
        }
    }

    /// One request's latency, by the quarter of the schedule in which it was due.
    pub(super) fn record(&mut self, latency_ns: u64, quarter: usize) {
        self.latency.saturating_record(latency_ns);
        let of = &mut self.quarters[quarter.min(3)];
        of.0 += u128::from(latency_ns);
        of.1 += 1;
    }

    pub(super) fn count(&mut self, kind: ErrorKind) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// Requests without a good answer.
    pub fn failed(&self) -> u64 {
        self.errors.iter().filter(|(kind, _)| **kind != ErrorKind::Connect).map(|(_, n)| n).sum()
    }

    pub(super) fn result(&self, spent: Spent) -> SideResult {
        let mean =
            |(sum, count): (u128, u64)| u64::try_from(sum / u128::from(count.max(1))).unwrap_or(u64::MAX);
        SideResult {
            scheduled: self.scheduled,
            answered: self.answered,
            errors: self.errors.clone(),
            p50_ns: self.latency.value_at_quantile(0.5),
            p99_ns: self.latency.value_at_quantile(0.99),
            p999_ns: self.latency.value_at_quantile(0.999),
            cpu_ns: spent.cpu_ns,
            memory_peak_bytes: spent.memory_peak_bytes,
            memory_growth_bytes: spent.memory_growth_bytes,
            quarters_ns: self.quarters.map(mean),
            latency: encode(&self.latency),
        }
    }
}

/// What a server used up within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) cpu_ns: u64,
    pub(super) memory_peak_bytes: Option<u64>,
    pub(super) memory_growth_bytes: Option<i64>,
}

/// A server falls behind the schedule when requests wait longer in each quarter of it, in the last one so many times as
/// long as in the first, and at least so much longer: its queue grows. One that is slow but keeps up does not wait longer
/// and longer, and one that stood still for a moment works off what came meanwhile.
const BEHIND_TIMES: u64 = 2;
const BEHIND_MIN_NS: u64 = 50_000_000;

impl SideResult {
    /// Whether the server is slower than the schedule, so that its queue grows as long as that lasts.
    pub fn behind(&self) -> bool {
        let [first, second, third, last] = self.quarters_ns;
        // Of a queue that grows evenly they are as 1 to 3 to 5 to 7.
        let evenly =
            first <= second && second <= third && third <= last && second >= last / 4 && third >= last / 2;
        evenly && last > first.saturating_mul(BEHIND_TIMES) && last - first > BEHIND_MIN_NS
    }

    /// Requests without a good answer.
    pub fn failed(&self) -> u64 {
        self.errors.iter().filter(|(kind, _)| **kind != ErrorKind::Connect).map(|(_, n)| n).sum()
    }

    /// Requests that a whole core of CPU time would serve in a second; `None` when nothing was spent or answered.
    pub fn qps_per_core(&self) -> Option<f64> {
        (self.cpu_ns > 0 && self.answered > 0).then(|| self.answered as f64 * 1e9 / self.cpu_ns as f64)
    }
}

/// An empty latency histogram with our bounds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MAX_NS, LATENCY_DIGITS).expect("the constant bounds are valid ones")
}

/// Base64 of HDR's V2 encoding.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    match V2Serializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        // Counts above i64::MAX only, which no schedule reaches.
        Err(_) => String::new(),
    }
}

/// Base64 of HDR's V2 encoding, compressed: what logs of HdrHistogram and its libraries in other languages read.
pub fn encode_compressed(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        // As above: counts that no schedule reaches.
        Err(_) => String::new(),
    }
}

/// The inverse of [`encode`], of histograms with the bounds of [`histogram`] alone; `None` when it is not one. What comes
/// was in a stranger's hands, and the library believes its header: it reserves what that says will follow.
pub fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_be_bytes(*header[4..].first_chunk()?);
    let digits = u32::from_be_bytes(*header[12..].first_chunk()?);
    let high = u64::from_be_bytes(*header[24..].first_chunk()?);
    let sound = usize::try_from(length).ok()? == bytes.len() - HEADER_BYTES
        && digits == u32::from(LATENCY_DIGITS)
        && high == LATENCY_MAX_NS
        && u32::from_be_bytes(*header.first_chunk()?) == PLAIN;
    sound.then(|| Deserializer::new().deserialize(&mut bytes.as_slice()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_survive_the_wire_and_fit_into_a_result() {
        let mut sent = histogram();
        // Every bucket filled: the largest text that can come.
        for exponent in 0..36 {
            for step in 0..2048 {
                sent.saturating_record((1u64 << exponent) + step * ((1 << exponent) / 2048).max(1));
            }
        }
        let text = encode(&sent);
        assert_eq!(decode(&text).unwrap(), sent);
        let compressed = encode_compressed(&sent);
        assert!(compressed.starts_with("HISTFAAA"), "as logs of HdrHistogram have it: {:.20}", compressed);
        let bytes = STANDARD.decode(&compressed).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(read, sent);
        assert!(decode(&compressed).is_none(), "nobody can say how much it will be");
        assert!(2 * text.len() < RESULT_MAX_BYTES, "{} bytes", text.len());
        assert!(decode("no").is_none());
    }

    #[test]
    fn a_header_that_promises_more_than_comes_reserves_nothing() {
        let sound = STANDARD.decode(encode(&histogram())).unwrap();
        for (at, byte) in [(0, 0), (4, 0xff), (12, 1), (24, 0x7f)] {
            let mut forged = sound.clone();
            forged[at] = byte;
            assert!(decode(&STANDARD.encode(&forged)).is_none(), "byte {at}");
        }
        assert!(decode(&STANDARD.encode(&sound[..30])).is_none());
        assert!(decode(&STANDARD.encode(&sound)).is_some());
    }

    #[test]
    fn a_queue_that_grows_is_behind_and_a_slow_server_is_not() {
        let behind = |means_ms: [u64; 4]| {
            let mut tally = Tally::new();
            for (quarter, mean_ms) in means_ms.into_iter().enumerate() {
                tally.record(mean_ms * 1_000_000, quarter);
            }
            tally.result(Spent::default()).behind()
        };
        assert!(behind([60, 180, 310, 430]));
        assert!(!behind([300, 310, 312, 315]), "slow, and keeps up");
        assert!(!behind([1, 10, 20, 30]), "a hiccup");
        for stall in [[400, 1, 1, 1], [1, 300, 100, 1], [1, 1, 200, 250], [1, 1, 1, 400]] {
            assert!(!behind(stall), "stood still for a moment: {stall:?}");
        }
    }

    #[test]
    fn results_are_the_same_after_json() {
        let mut tally = Tally::new();
        tally.record(1_000_000, 0);
        tally.answered = 1;
        tally.count(ErrorKind::Status);
        let spent =
            Spent { cpu_ns: 500_000, memory_peak_bytes: Some(1 << 20), memory_growth_bytes: Some(-5) };
        let side = tally.result(spent);
        assert_eq!(side.qps_per_core(), Some(2000.0));
        let result = RoundResult {
            sides: Side::BOTH.map(|s| (s, side.clone())).into(),
            pinned: true,
            lateness_p50_ns: 1,
            lateness_p99_ns: 2,
            unsent: 0,
            elapsed_ns: 3,
            generator_cpu_ns: 4,
        };
        let outcome = RoundOutcome::Measured(result);
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<RoundOutcome>(&json).unwrap(), outcome);
    }
}
