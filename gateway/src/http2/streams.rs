//! What serves the streams of one connection: a future each, all polled in the connection's own task.
//!
//! A slot outlives its streams, and so do its allocation, its waker and its timer: a stream costs none of them.

use crate::timer::Timer;
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

pub(super) struct Streams<F> {
    slots: Vec<Slot<F>>,
    ready: Arc<Ready>,
    /// What was ready, while it is polled.
    round: Vec<usize>,
}

struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    wake: Arc<SlotWake>,
    waker: Waker,
    timer: Timer,
}

/// The slots that are to be polled, and whom to wake for them.
#[derive(Default)]
struct Ready {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    slots: Vec<usize>,
    /// The connection's task.
    task: Option<Waker>,
    /// It is running, and will look here before it rests.
    is_awake: bool,
}

struct SlotWake {
    ready: Arc<Ready>,
    slot: usize,
    is_queued: AtomicBool,
}

impl Ready {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for SlotWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.ready.queue();
        queue.slots.push(self.slot);
        if !queue.is_awake
            && let Some(task) = &queue.task
        {
            task.wake_by_ref();
        }
    }
}

impl<F: Future<Output = Timer>> Streams<F> {
    pub(super) fn new() -> Streams<F> {
        Streams { slots: Vec::new(), ready: Arc::default(), round: Vec::new() }
    }

    /// Says that the connection's task is running.
    pub(super) fn awake(&self) {
        self.ready.queue().is_awake = true;
    }

    /// Says that it will rest until it is woken; false when there is something to poll first.
    pub(super) fn rest(&self, task: &Waker) -> bool {
        let mut queue = self.ready.queue();
        // Nobody polls a slot that there is no more, and it would keep the task running for nothing.
        queue.slots.retain(|slot| *slot < self.slots.len());
        if !queue.slots.is_empty() {
            return false;
        }
        if !queue.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            queue.task = Some(task.clone());
        }
        queue.is_awake = false;
        true
    }

    /// Puts a future into a free slot, to be polled in the next round. It gets the slot's timer, and gives it back.
    pub(super) fn start(&mut self, slot: usize, make: impl FnOnce(Timer) -> F) {
        while self.slots.len() <= slot {
            let wake = Arc::new(SlotWake {
                ready: self.ready.clone(),
                slot: self.slots.len(),
                is_queued: AtomicBool::new(false),
            });
            let waker = Waker::from(wake.clone());
            self.slots.push(Slot { future: Box::pin(None), wake, waker, timer: Timer::default() });
        }
        let slot = &mut self.slots[slot];
        let future = make(take(&mut slot.timer));
        slot.future.set(Some(future));
        slot.wake.wake_by_ref();
    }

    pub(super) fn wake(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.wake.wake_by_ref();
        }
    }

    /// Polls all that were ready when this began, but for those that are not to be looked at: these are dropped.
    /// How many they were.
    pub(super) fn poll_round(&mut self, mut look: impl FnMut(usize) -> bool) -> usize {
        let mut round = take(&mut self.round);
        std::mem::swap(&mut round, &mut self.ready.queue().slots);
        let polled = round.len();
        for number in round.drain(..) {
            let Some(slot) = self.slots.get_mut(number) else { continue };
            // Whoever finds it queued still, and so wakes nobody, has what it did seen by the poll below.
            slot.wake.is_queued.swap(false, Ordering::AcqRel);
            if slot.future.is_none() {
                continue;
            }
            if !look(number) {
                slot.future.set(None);
                continue;
            }
            let mut cx = Context::from_waker(&slot.waker);
            if let Some(future) = slot.future.as_mut().as_pin_mut()
                && let Poll::Ready(timer) = future.poll(&mut cx)
            {
                slot.future.set(None);
                slot.timer = timer;
            }
        }
        self.round = round;
        polled
    }

    /// Drops all futures.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Keeps no more slots than these; those behind have no future.
    pub(super) fn truncate(&mut self, slots: usize) {
        self.slots.truncate(slots);
    }
}

impl<F> Drop for Streams<F> {
    fn drop(&mut self) {
        // Wakers may lie about for longer, and are to hold nothing of the task.
        self.ready.queue().task = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pending until the door is open; its waker is left there.
    fn waiting(door: &Rc<Door>, timer: Timer) -> impl Future<Output = Timer> + use<> {
        let (door, mut timer) = (door.clone(), Some(timer));
        poll_fn(move |cx| {
            door.waker.set(Some(cx.waker().clone()));
            match door.open.get() {
                true => Poll::Ready(timer.take().unwrap_or_default()),
                false => Poll::Pending,
            }
        })
    }

    #[derive(Default)]
    struct Door {
        open: Cell<bool>,
        waker: Cell<Option<Waker>>,
    }

    #[test]
    fn a_future_is_polled_when_it_was_woken_and_else_not() {
        let (doors, count) =
            ([Rc::new(Door::default()), Rc::new(Door::default())], Arc::new(Count::default()));
        let task = Waker::from(count.clone());
        let mut streams = Streams::new();
        streams.awake();
        for (slot, door) in doors.iter().enumerate() {
            streams.start(slot, |timer| waiting(door, timer));
        }
        assert!(!streams.rest(&task), "both are to be polled");
        assert_eq!(streams.poll_round(|_| true), 2);
        assert_eq!(streams.poll_round(|_| true), 0);
        assert!(streams.rest(&task));
        let waker = doors[1].waker.take().expect("a waker");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the task is woken once");
        streams.awake();
        doors[1].open.set(true);
        assert_eq!(streams.poll_round(|_| true), 1);
        // Its slot is free again; a waker of before does no harm.
        waker.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "a task that runs is not woken");
        assert_eq!(streams.poll_round(|_| true), 1);
        streams.start(1, |timer| waiting(&doors[0], timer));
        assert_eq!(streams.poll_round(|slot| slot != 1), 1);
        assert_eq!(Rc::strong_count(&doors[0]), 2, "what is not to be looked at is dropped");
        streams.truncate(1);
        streams.wake(1);
        assert!(streams.rest(&task));
        streams.clear();
        assert_eq!(Rc::strong_count(&doors[0]), 1);
    }

    #[test]
    fn what_was_dropped_keeps_nobody_running() {
        let (door, task) = (Rc::new(Door::default()), Waker::from(Arc::new(Count::default())));
        let mut streams = Streams::new();
        streams.awake();
        streams.start(0, |timer| waiting(&door, timer));
        streams.poll_round(|_| true);
        streams.start(1, |timer| waiting(&door, timer));
        streams.clear();
        assert!(streams.rest(&task), "one was to be polled");
        door.waker.take().expect("a waker").wake();
        assert!(streams.rest(&task), "one is woken late");
    }
}
