//! The one timer of a connection: it moves only when it has to.
//!
//! Deadlines move with every step of a request, nearly always to later. A timer that fires too early is set
//! anew then, which is once in a whole timeout; setting it at every step would cost more than parsing does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes when it fires, until then.
    wakes: Option<Waker>,
}

impl Timer {
    /// Whether `at` has come. If not, the task is woken by then.
    pub fn has_passed(&mut self, cx: &mut Context<'_>, at: Instant) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        } else if !sleep.is_elapsed() && self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            // Set for no later than that, and by this task: nothing to say that was not said.
            return false;
        }
        // A task that has used up its turn is polled again at once, and was not noted down as to be woken.
        let mut is_noted = has_budget_remaining();
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                self.wakes = None;
                return true;
            }
            sleep.as_mut().reset(at);
            is_noted = has_budget_remaining();
        }
        self.wakes = is_noted.then(|| cx.waker().clone());
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;
    use tokio::task::coop::consume_budget;

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

    #[test]
    fn a_task_that_has_used_up_its_turn_is_woken_all_the_same() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let waiting = async {
            let mut timer = Timer::default();
            let at = Instant::now() + Duration::from_millis(20);
            let mut is_first = true;
            poll_fn(|cx| {
                while is_first && has_budget_remaining() {
                    let _ = std::pin::pin!(consume_budget()).poll(cx);
                }
                is_first = false;
                if timer.has_passed(cx, at) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        let bounded =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), waiting).await });
        assert!(bounded.is_ok(), "nobody woke it");
    }
}
