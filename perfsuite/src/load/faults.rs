//! What can be wrong with a server, to be put in on purpose: for trying out what a measurement makes of it.

use super::precise::PreciseTimer;
use std::{
    cell::{Cell, RefCell},
    hint,
    time::Duration,
};

/// One wait or one stall: a minute is the end of every histogram.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Turns of one request: some seconds.
const BURN_TURNS_MAX: u64 = 10_000_000_000;
/// What one request may leak.
const LEAK_MAX_BYTES: usize = 64 << 20;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct FaultsArgs {
    /// Wait so long before each answer, while others are answered
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub delay_us: u64,
    /// Wait so much longer, once in --slow-every requests
    #[arg(long, value_name = "N", default_value_t = 0, requires = "slow_every")]
    pub slow_us: u64,
    #[arg(long, value_name = "N", requires = "slow_us")]
    pub slow_every: Option<u64>,
    /// Turn so often in a loop for each answer: one or two nanoseconds of CPU time each
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub burn_turns: u64,
    /// Stand still so long, with all connections, once in --stall-every requests
    #[arg(long, value_name = "N", default_value_t = 0, requires = "stall_every")]
    pub stall_ms: u64,
    #[arg(long, value_name = "N", requires = "stall_ms")]
    pub stall_every: Option<u64>,
    /// Answer with this status
    #[arg(long, value_name = "CODE", default_value_t = 200)]
    pub status: u16,
    /// Keep so much memory for each request, for ever
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub leak_bytes: usize,
    /// End after so many requests, with exit code 101
    #[arg(long, value_name = "N")]
    pub die_after: Option<u64>,
}

impl FaultsArgs {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let longest = self.delay_us.max(self.slow_us).max(self.stall_ms.saturating_mul(1_000));
        anyhow::ensure!(
            Duration::from_micros(longest) <= WAIT_MAX,
            "waits are at most {} s",
            WAIT_MAX.as_secs()
        );
        anyhow::ensure!(self.leak_bytes <= LEAK_MAX_BYTES, "--leak-bytes is at most {LEAK_MAX_BYTES}");
        anyhow::ensure!((200..600).contains(&self.status), "--status is from 200 to 599");
        anyhow::ensure!(self.burn_turns <= BURN_TURNS_MAX, "--burn-turns is at most {BURN_TURNS_MAX}");
        let every = [self.stall_every, self.slow_every];
        anyhow::ensure!(!every.contains(&Some(0)), "--stall-every and --slow-every must be more than 0");
        Ok(())
    }

    pub(super) fn status_line(&self) -> String {
        // `FaultsArgs::default()` is no command line, and has no status.
        let status = if self.status == 0 { 200 } else { self.status };
        let status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::OK);
        format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Unnamed"))
    }
}

/// The same, in a server that runs.
pub(super) struct Faults {
    args: FaultsArgs,
    requests: Cell<u64>,
    leaked: RefCell<Vec<Vec<u8>>>,
}

impl Faults {
    pub(super) fn new(args: &FaultsArgs) -> Self {
        Self { args: args.clone(), requests: Cell::new(0), leaked: RefCell::default() }
    }

    /// Does to one request what is asked for.
    pub(super) async fn before_answer(&self) -> std::io::Result<()> {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        if self.args.die_after.is_some_and(|last| number > last) {
            eprintln!("ended after {} requests, as asked", number - 1);
            std::process::exit(101);
        }
        if self.args.leak_bytes > 0 {
            // Written to, since memory that nobody touches is not there.
            self.leaked.borrow_mut().push(vec![1; self.args.leak_bytes]);
        }
        let once_in = |every: Option<u64>| every.is_some_and(|every| number.is_multiple_of(every.max(1)));
        if once_in(self.args.stall_every) {
            std::thread::sleep(Duration::from_millis(self.args.stall_ms));
        }
        burn(self.args.burn_turns);
        let slow_us = if once_in(self.args.slow_every) { self.args.slow_us } else { 0 };
        let wait = Duration::from_micros(self.args.delay_us + slow_us);
        if !wait.is_zero() {
            PreciseTimer::new()?.sleep(wait).await?;
        }
        Ok(())
    }
}

/// Keeps the CPU busy, by work and not by the clock: who shares a core with others would else do less of it.
fn burn(turns: u64) {
    let mut number = turns;
    for _ in 0..turns {
        number = hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = FaultsArgs { status: 503, ..FaultsArgs::default() };
        assert!(good.check().is_ok());
        assert_eq!(good.status_line(), "503 Service Unavailable");
        assert_eq!(FaultsArgs::default().status_line(), "200 OK");
        for bad in [
            FaultsArgs { status: 99, ..good.clone() },
            FaultsArgs { delay_us: 61_000_000, ..good.clone() },
            FaultsArgs { stall_ms: u64::MAX, ..good.clone() },
            FaultsArgs { leak_bytes: usize::MAX, ..good.clone() },
            FaultsArgs { stall_every: Some(0), ..good.clone() },
            FaultsArgs { burn_turns: u64::MAX, ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn requests_are_counted_and_memory_is_kept() {
        let faults = Faults::new(&FaultsArgs { leak_bytes: 1_000, delay_us: 100, ..FaultsArgs::default() });
        let begun = std::time::Instant::now();
        for _ in 0..3 {
            faults.before_answer().await.unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_micros(300));
        assert_eq!(faults.leaked.borrow().iter().map(Vec::len).sum::<usize>(), 3_000);
    }
}
