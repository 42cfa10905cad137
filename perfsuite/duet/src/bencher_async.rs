//! The same loops around routines that are futures.

use crate::async_executor::AsyncExecutor;
use crate::bencher::{batches, Bencher};
use crate::measurement::{Measurement, WallTime};
use crate::BatchSize;
use std::future::Future;
use std::hint::black_box;
use std::time::Instant;

/// What [`Bencher::to_async`] gives.
pub struct AsyncBencher<'a, 'b, A: AsyncExecutor, M: Measurement = WallTime> {
    bencher: &'b mut Bencher<'a, M>,
    runner: A,
}

impl<'a, 'b, A: AsyncExecutor, M: Measurement> AsyncBencher<'a, 'b, A, M> {
    pub(crate) fn new(bencher: &'b mut Bencher<'a, M>, runner: A) -> Self {
        AsyncBencher { bencher, runner }
    }

    #[inline(never)]
    pub fn iter<O, R, F>(&mut self, mut routine: R)
    where
        R: FnMut() -> F,
        F: Future<Output = O>,
    {
        let AsyncBencher { bencher, runner } = self;
        bencher.seat.enter();
        while let Some(turn) = bencher.seat.turn() {
            let began = Instant::now();
            let value = runner.block_on(async {
                let start = bencher.measurement.start();
                for _ in 0..turn.iters {
                    black_box(routine().await);
                }
                bencher.measurement.end(start)
            });
            bencher.answer(turn, value, began);
        }
    }

    #[inline(never)]
    pub fn iter_custom<R, F>(&mut self, mut routine: R)
    where
        R: FnMut(u64) -> F,
        F: Future<Output = M::Value>,
    {
        let AsyncBencher { bencher, runner } = self;
        bencher.seat.enter();
        while let Some(turn) = bencher.seat.turn() {
            let began = Instant::now();
            let value = runner.block_on(routine(turn.iters));
            bencher.answer(turn, value, began);
        }
    }

    pub fn iter_with_setup<I, O, S, R, F>(&mut self, setup: S, routine: R)
    where
        S: FnMut() -> I,
        R: FnMut(I) -> F,
        F: Future<Output = O>,
    {
        self.iter_batched(setup, routine, BatchSize::PerIteration);
    }

    pub fn iter_with_large_drop<O, R, F>(&mut self, mut routine: R)
    where
        R: FnMut() -> F,
        F: Future<Output = O>,
    {
        self.iter_batched(|| (), |()| routine(), BatchSize::SmallInput);
    }

    pub fn iter_with_large_setup<I, O, S, R, F>(&mut self, setup: S, routine: R)
    where
        S: FnMut() -> I,
        R: FnMut(I) -> F,
        F: Future<Output = O>,
    {
        self.iter_batched(setup, routine, BatchSize::NumBatches(1));
    }

    #[inline(never)]
    pub fn iter_batched<I, O, S, R, F>(&mut self, mut setup: S, mut routine: R, size: BatchSize)
    where
        S: FnMut() -> I,
        R: FnMut(I) -> F,
        F: Future<Output = O>,
    {
        let AsyncBencher { bencher, runner } = self;
        bencher.seat.enter();
        while let Some(turn) = bencher.seat.turn() {
            let began = Instant::now();
            let value = runner.block_on(async {
                let mut value = bencher.measurement.zero();
                for batch in batches(turn.iters, size) {
                    let inputs = black_box((0..batch).map(|_| setup()).collect::<Vec<_>>());
                    let mut outputs = Vec::with_capacity(inputs.len());
                    let start = bencher.measurement.start();
                    for input in inputs {
                        outputs.push(routine(input).await);
                    }
                    let timed = bencher.measurement.end(start);
                    black_box(outputs);
                    value = bencher.measurement.add(&value, &timed);
                }
                value
            });
            bencher.answer(turn, value, began);
        }
    }

    #[inline(never)]
    pub fn iter_batched_ref<I, O, S, R, F>(&mut self, mut setup: S, mut routine: R, size: BatchSize)
    where
        S: FnMut() -> I,
        R: FnMut(&mut I) -> F,
        F: Future<Output = O>,
    {
        let AsyncBencher { bencher, runner } = self;
        bencher.seat.enter();
        while let Some(turn) = bencher.seat.turn() {
            let began = Instant::now();
            let value = runner.block_on(async {
                let mut value = bencher.measurement.zero();
                for batch in batches(turn.iters, size) {
                    let mut inputs = black_box((0..batch).map(|_| setup()).collect::<Vec<_>>());
                    let mut outputs = Vec::with_capacity(inputs.len());
                    let start = bencher.measurement.start();
                    for input in &mut inputs {
                        outputs.push(routine(input).await);
                    }
                    let timed = bencher.measurement.end(start);
                    black_box(outputs);
                    drop(black_box(inputs));
                    value = bencher.measurement.add(&value, &timed);
                }
                value
            });
            bencher.answer(turn, value, began);
        }
    }
}
