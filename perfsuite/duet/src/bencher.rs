//! The loops around a benchmark's routine: each runs a batch whenever it is told to.

use crate::measurement::{Measurement, WallTime};
use crate::seat::{Seat, Turn};
use crate::BatchSize;
use std::hint::black_box;
use std::time::Instant;

/// What a benchmark's closure gets.
pub struct Bencher<'a, M: Measurement = WallTime> {
    pub(crate) measurement: &'a M,
    pub(crate) seat: &'a mut Seat,
}

impl<M: Measurement> Bencher<'_, M> {
    /// Says what one batch took: by the measurement, and by the clock with all set-up.
    pub(crate) fn answer(&mut self, turn: Turn, value: M::Value, began: Instant) {
        self.seat.answer(turn, self.measurement.to_f64(&value), began.elapsed());
    }

    #[inline(never)]
    pub fn iter<O, R>(&mut self, mut routine: R)
    where
        R: FnMut() -> O,
    {
        self.seat.enter();
        while let Some(turn) = self.seat.turn() {
            let began = Instant::now();
            let start = self.measurement.start();
            for _ in 0..turn.iters {
                black_box(routine());
            }
            let value = self.measurement.end(start);
            self.answer(turn, value, began);
        }
    }

    #[inline(never)]
    pub fn iter_custom<R>(&mut self, mut routine: R)
    where
        R: FnMut(u64) -> M::Value,
    {
        self.seat.enter();
        while let Some(turn) = self.seat.turn() {
            let began = Instant::now();
            let value = routine(turn.iters);
            self.answer(turn, value, began);
        }
    }

    pub fn iter_with_setup<I, O, S, R>(&mut self, setup: S, routine: R)
    where
        S: FnMut() -> I,
        R: FnMut(I) -> O,
    {
        self.iter_batched(setup, routine, BatchSize::PerIteration);
    }

    pub fn iter_with_large_drop<O, R>(&mut self, mut routine: R)
    where
        R: FnMut() -> O,
    {
        self.iter_batched(|| (), |()| routine(), BatchSize::SmallInput);
    }

    pub fn iter_with_large_setup<I, O, S, R>(&mut self, setup: S, routine: R)
    where
        S: FnMut() -> I,
        R: FnMut(I) -> O,
    {
        self.iter_batched(setup, routine, BatchSize::NumBatches(1));
    }

    #[inline(never)]
    pub fn iter_batched<I, O, S, R>(&mut self, mut setup: S, mut routine: R, size: BatchSize)
    where
        S: FnMut() -> I,
        R: FnMut(I) -> O,
    {
        self.seat.enter();
        while let Some(turn) = self.seat.turn() {
            let began = Instant::now();
            let mut value = self.measurement.zero();
            for batch in batches(turn.iters, size) {
                let timed = if batch == 1 {
                    let input = black_box(setup());
                    let start = self.measurement.start();
                    let output = routine(input);
                    let timed = self.measurement.end(start);
                    drop(black_box(output));
                    timed
                } else {
                    let inputs = black_box((0..batch).map(|_| setup()).collect::<Vec<_>>());
                    let mut outputs = Vec::with_capacity(inputs.len());
                    let start = self.measurement.start();
                    outputs.extend(inputs.into_iter().map(&mut routine));
                    let timed = self.measurement.end(start);
                    black_box(outputs);
                    timed
                };
                value = self.measurement.add(&value, &timed);
            }
            self.answer(turn, value, began);
        }
    }

    #[inline(never)]
    pub fn iter_batched_ref<I, O, S, R>(&mut self, mut setup: S, mut routine: R, size: BatchSize)
    where
        S: FnMut() -> I,
        R: FnMut(&mut I) -> O,
    {
        self.seat.enter();
        while let Some(turn) = self.seat.turn() {
            let began = Instant::now();
            let mut value = self.measurement.zero();
            for batch in batches(turn.iters, size) {
                let timed = if batch == 1 {
                    let mut input = black_box(setup());
                    let start = self.measurement.start();
                    let output = routine(&mut input);
                    let timed = self.measurement.end(start);
                    drop(black_box(output));
                    drop(black_box(input));
                    timed
                } else {
                    let mut inputs = black_box((0..batch).map(|_| setup()).collect::<Vec<_>>());
                    let mut outputs = Vec::with_capacity(inputs.len());
                    let start = self.measurement.start();
                    outputs.extend(inputs.iter_mut().map(&mut routine));
                    let timed = self.measurement.end(start);
                    black_box(outputs);
                    timed
                };
                value = self.measurement.add(&value, &timed);
            }
            self.answer(turn, value, began);
        }
    }
}

#[cfg(feature = "async")]
impl<'a, M: Measurement> Bencher<'a, M> {
    pub fn to_async<'b, A: crate::async_executor::AsyncExecutor>(
        &'b mut self,
        runner: A,
    ) -> crate::AsyncBencher<'a, 'b, A, M> {
        crate::AsyncBencher::new(self, runner)
    }
}

/// The sizes of the batches of inputs that make up `iters` iterations.
pub(crate) fn batches(iters: u64, size: BatchSize) -> impl Iterator<Item = u64> {
    let batch = size.iters_per_batch(iters);
    (0..iters.div_ceil(batch)).map(move |n| batch.min(iters - n * batch))
}
