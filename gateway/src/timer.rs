//! The one timer of a connection: it moves only when it has to.
//!
//! Deadlines move with every step of a request, nearly always to later. A timer that fires too early is set
//! anew then, which is once in a whole timeout; setting it at every step would cost more than parsing does.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Whether `at` has come. If not, the task is woken by then.
    pub fn has_passed(&mut self, cx: &mut Context<'_>, at: Instant) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return true;
            }
            sleep.as_mut().reset(at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    #[test]
    fn a_deadline_that_moves_is_kept() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut timer = Timer::default();
            let start = Instant::now();
            let (early, late) = (start + Duration::from_millis(5), start + Duration::from_millis(20));
            let mut asked = 0;
            poll_fn(|cx| {
                asked += 1;
                // Asked first for the early one, later only for the late one.
                let at = if asked == 1 { early } else { late };
                if timer.has_passed(cx, at) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            assert!(Instant::now() >= late);
        });
    }
}
