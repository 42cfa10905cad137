//! Criterion's API, driven from outside: `iter` and its relatives run as many iterations as they are told to, one batch
//! at a time, so that two processes can be measured in lock-step.
//!
//! A bench target links this in criterion's place, unchanged. Nothing here measures for its own sake, prints a report or
//! writes a file; what decides is in perfsuite. Settings are accepted and have no effect, since how long is measured is
//! decided outside. What this does not offer does not compile, and perfsuite then measures with the real criterion.
//!
//! The code around the measured routine (`bencher`) is the smallest that does what criterion's does: a loop with
//! `black_box`, and the clock before and after.

pub mod async_executor;
mod bencher;
#[cfg(feature = "async")]
mod bencher_async;
mod group;
mod macros;
pub mod measurement;
pub mod profiler;
mod seat;
mod settings;
mod system;

pub use bencher::Bencher;
#[cfg(feature = "async")]
pub use bencher_async::AsyncBencher;
pub use group::{BenchmarkGroup, BenchmarkId, IntoBenchmarkId};
pub use settings::{
    AxisScale, Baseline, BatchSize, BenchmarkFilter, PlotConfiguration, PlottingBackend, SamplingMode,
    Throughput,
};
pub use std::hint::black_box;

use measurement::{Measurement, WallTime};
use profiler::Profiler;
use std::path::Path;
use std::time::Duration;

/// What benches configure and hang their benchmarks on.
pub struct Criterion<M: Measurement = WallTime> {
    measurement: M,
}

impl Default for Criterion {
    fn default() -> Self {
        seat::take();
        Criterion { measurement: WallTime }
    }
}

/// Settings without effect here.
macro_rules! ignored {
    ($($(#[$attribute:meta])* $name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(
            $(#[$attribute])*
            #[must_use]
            pub fn $name(self $(, $argument: $kind)*) -> Self {
                $(let _ = $argument;)*
                self
            }
        )*
    };
}

impl<M: Measurement> Criterion<M> {
    /// Another way to measure. Benchmarks under one are announced as such and never driven.
    pub fn with_measurement<M2: Measurement>(self, m: M2) -> Criterion<M2> {
        if !measurement::is_wall_time::<M2>() {
            measurement::mark_other();
        }
        Criterion { measurement: m }
    }

    #[must_use]
    pub fn with_profiler<P: Profiler + 'static>(self, p: P) -> Self {
        drop(p);
        self
    }

    #[must_use]
    pub fn with_filter<S: Into<String>>(self, filter: S) -> Self {
        drop(filter.into());
        self
    }

    ignored! {
        plotting_backend(backend: PlottingBackend);
        sample_size(n: usize);
        warm_up_time(dur: Duration);
        measurement_time(dur: Duration);
        nresamples(n: usize);
        noise_threshold(threshold: f64);
        confidence_level(cl: f64);
        significance_level(sl: f64);
        with_plots();
        without_plots();
        save_baseline(baseline: String);
        retain_baseline(baseline: String, strict: bool);
        with_benchmark_filter(filter: BenchmarkFilter);
        with_output_color(enabled: bool);
        output_directory(path: &Path);
        profile_time(profile_time: Option<Duration>);
        configure_from_args();
    }

    pub fn final_summary(&self) {}

    /// # Panics
    ///
    /// When the name is empty.
    pub fn benchmark_group<S: Into<String>>(&mut self, group_name: S) -> BenchmarkGroup<'_, M> {
        let group_name = group_name.into();
        assert!(!group_name.is_empty(), "Group name must not be empty.");
        BenchmarkGroup::new(self, group_name)
    }

    pub fn bench_function<F>(&mut self, id: &str, f: F) -> &mut Self
    where
        F: FnMut(&mut Bencher<'_, M>),
    {
        self.benchmark_group(id).bench_function(BenchmarkId::no_function(), f);
        self
    }

    /// # Panics
    ///
    /// When the id has no function name.
    pub fn bench_with_input<F, I>(&mut self, id: BenchmarkId, input: &I, f: F) -> &mut Self
    where
        F: FnMut(&mut Bencher<'_, M>, &I),
    {
        let (group_name, id) = id.split();
        self.benchmark_group(group_name).bench_with_input(id, input, f);
        self
    }
}

/// For `criterion_main!` alone.
#[doc(hidden)]
pub fn main_begins() {
    seat::main_begins();
}

/// For `criterion_main!` alone: a bench that ends before this has named only some of its benchmarks.
#[doc(hidden)]
pub fn main_ends() {
    seat::main_ends();
}

/// Runs benchmark groups: what a bench with its own `main` calls.
#[doc(hidden)]
pub fn runner(benches: &[&dyn Fn()]) {
    for bench in benches {
        bench();
    }
}
