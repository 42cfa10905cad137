//! Whether GitHub is asked at all: a circuit breaker over faults that follow one another. Pure: callers tell the time.

/// Faults one after another after which GitHub is taken for down; a restart of one front end makes fewer.
const FAULTS_MAX: u32 = 8;
/// The first pause; doubled each time that the probe after it fails.
const PAUSE_MIN_MS: i64 = 2_000;
/// Nobody notices two minutes after an outage, and a question every two minutes is no load.
const PAUSE_MAX_MS: i64 = 120_000;
/// A probe not heard of for this long was given up by whoever sent it; longer than any request may take.
const PROBE_MAX_MS: i64 = 60_000;
/// Who comes while a probe is under way asks again after this.
const PROBE_STEP_MS: i64 = 1_000;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// One request is let through; its outcome decides.
    HalfOpen,
    /// Nothing is asked before `until_ms`.
    Open {
        until_ms: i64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    faults: u32,
    /// How often it opened since an answer came; zero while closed.
    opened: u32,
    until_ms: i64,
    probe_ms: Option<i64>,
}

impl Breaker {
    /// May a request go out now? If not: when to ask again.
    pub(super) fn ask(&mut self, now_ms: i64) -> Result<(), i64> {
        if self.opened == 0 {
            return Ok(());
        }
        if now_ms < self.until_ms {
            return Err(self.until_ms);
        }
        match self.probe_ms {
            Some(since_ms) if now_ms - since_ms < PROBE_MAX_MS => Err(now_ms + PROBE_STEP_MS),
            _ => {
                self.probe_ms = Some(now_ms);
                Ok(())
            }
        }
    }

    /// GitHub answered, whatever it said.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// A request ended in a fault. True when that opened the breaker.
    pub(super) fn failed(&mut self, now_ms: i64) -> bool {
        self.faults = self.faults.saturating_add(1);
        // Requests that were under way when it opened tell nothing new; the probe does.
        let opens = if self.opened == 0 { self.faults >= FAULTS_MAX } else { self.probe_ms.take().is_some() };
        if opens {
            let pause_ms = PAUSE_MIN_MS.saturating_mul(1 << self.opened.min(16)).min(PAUSE_MAX_MS);
            self.opened = self.opened.saturating_add(1);
            self.until_ms = now_ms + pause_ms;
        }
        opens
    }

    pub(super) fn state(&self, now_ms: i64) -> BreakerState {
        match self.opened {
            0 => BreakerState::Closed,
            _ if now_ms < self.until_ms => BreakerState::Open { until_ms: self.until_ms },
            _ => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for fault in 1..=FAULTS_MAX {
            assert_eq!(breaker.ask(0), Ok(()));
            assert_eq!(breaker.failed(0), fault == FAULTS_MAX);
        }
        breaker
    }

    #[test]
    fn it_opens_after_faults_in_a_row_and_closes_by_one_answer() {
        let mut breaker = Breaker::default();
        for _ in 0..3 * FAULTS_MAX {
            breaker.failed(0);
            breaker.answered();
        }
        assert_eq!(breaker.state(0), BreakerState::Closed, "never two in a row");
        let mut breaker = opened();
        assert_eq!(breaker.state(1_999), BreakerState::Open { until_ms: 2_000 });
        assert_eq!(breaker.ask(1_999), Err(2_000));
        assert_eq!(breaker.state(2_000), BreakerState::HalfOpen);
        assert_eq!(breaker.ask(2_000), Ok(()), "the probe");
        assert_eq!(breaker.ask(2_000), Err(3_000), "one at a time");
        breaker.answered();
        assert_eq!(breaker.ask(2_001), Ok(()));
        assert_eq!(breaker.state(2_001), BreakerState::Closed);
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_its_bound() {
        let mut breaker = opened();
        assert!(!breaker.failed(1), "a straggler is no probe");
        let (mut now_ms, mut pauses) = (2_000, Vec::new());
        for _ in 0..8 {
            assert_eq!(breaker.ask(now_ms), Ok(()));
            assert!(breaker.failed(now_ms));
            let BreakerState::Open { until_ms } = breaker.state(now_ms) else { panic!("it is open") };
            pauses.push((until_ms - now_ms) / 1_000);
            now_ms = until_ms;
        }
        assert_eq!(pauses, [4, 8, 16, 32, 64, 120, 120, 120]);
    }

    #[test]
    fn a_probe_that_nobody_waits_for_any_more_is_followed_by_another() {
        let mut breaker = opened();
        assert_eq!(breaker.ask(2_000), Ok(()));
        assert!(breaker.ask(2_000 + PROBE_MAX_MS - 1).is_err());
        assert_eq!(breaker.ask(2_000 + PROBE_MAX_MS), Ok(()));
    }
}
