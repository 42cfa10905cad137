//! Groups of benchmarks and their ids; where a benchmark is announced, passed over or driven.

use crate::bencher::Bencher;
use crate::measurement::{is_wall_time, Measurement, WallTime};
use crate::seat::{self, Announcement, Seat};
use crate::{Criterion, PlotConfiguration, SamplingMode, Throughput};
use std::fmt::Display;
use std::time::Duration;

/// Benchmarks under one name.
pub struct BenchmarkGroup<'a, M: Measurement = WallTime> {
    criterion: &'a mut Criterion<M>,
    group_name: String,
    ids: Vec<BenchmarkId>,
}

/// Settings without effect here.
macro_rules! ignored {
    ($($name:ident($argument:ident: $kind:ty);)*) => {
        $(
            pub fn $name(&mut self, $argument: $kind) -> &mut Self {
                let _ = $argument;
                self
            }
        )*
    };
}

impl<'a, M: Measurement> BenchmarkGroup<'a, M> {
    ignored! {
        sample_size(n: usize);
        warm_up_time(dur: Duration);
        measurement_time(dur: Duration);
        nresamples(n: usize);
        noise_threshold(threshold: f64);
        confidence_level(cl: f64);
        significance_level(sl: f64);
        plot_config(new_config: PlotConfiguration);
        throughput(throughput: Throughput);
        sampling_mode(new_mode: SamplingMode);
    }

    pub(crate) fn new(criterion: &'a mut Criterion<M>, group_name: String) -> Self {
        BenchmarkGroup { criterion, group_name, ids: vec![] }
    }

    pub fn bench_function<ID: IntoBenchmarkId, F>(&mut self, id: ID, mut f: F) -> &mut Self
    where
        F: FnMut(&mut Bencher<'_, M>),
    {
        self.benchmark(id.into_benchmark_id(), &(), |bencher, ()| f(bencher));
        self
    }

    pub fn bench_with_input<ID: IntoBenchmarkId, F, I>(&mut self, id: ID, input: &I, f: F) -> &mut Self
    where
        F: FnMut(&mut Bencher<'_, M>, &I),
        I: ?Sized,
    {
        self.benchmark(id.into_benchmark_id(), input, f);
        self
    }

    pub fn finish(self) {}

    fn benchmark<F, I>(&mut self, id: BenchmarkId, input: &I, mut f: F)
    where
        F: FnMut(&mut Bencher<'_, M>, &I),
        I: ?Sized,
    {
        assert!(
            !self.ids.contains(&id),
            "Benchmark IDs must be unique within a group. Encountered duplicated benchmark ID {}",
            id.full(&self.group_name)
        );
        let entry: fn(&mut F, &I, &M, &mut Seat) = drive::<F, I, M>;
        let announcement = Announcement {
            id: id.full(&self.group_name),
            address: entry as usize,
            driven: is_wall_time::<M>(),
        };
        self.ids.push(id);
        if let Some(mut seat) = seat::reached(announcement) {
            entry(&mut f, input, &self.criterion.measurement, &mut seat);
            seat.leave();
        }
    }
}

/// Everything that a benchmark runs is reached from here: one function for each closure, never inlined, so that its
/// machine code can be found.
#[inline(never)]
fn drive<F, I, M>(f: &mut F, input: &I, measurement: &M, seat: &mut Seat)
where
    F: FnMut(&mut Bencher<'_, M>, &I),
    I: ?Sized,
    M: Measurement,
{
    while seat.wants_state() {
        f(&mut Bencher { measurement, seat }, input);
        seat.state_left();
    }
}

/// A benchmark's name within its group.
#[derive(Clone, Eq, PartialEq, Hash)]
pub struct BenchmarkId {
    function_name: Option<String>,
    parameter: Option<String>,
}

impl BenchmarkId {
    pub fn new<S: Into<String>, P: Display>(function_name: S, parameter: P) -> BenchmarkId {
        BenchmarkId { function_name: Some(function_name.into()), parameter: Some(parameter.to_string()) }
    }

    pub fn from_parameter<P: Display>(parameter: P) -> BenchmarkId {
        BenchmarkId { function_name: None, parameter: Some(parameter.to_string()) }
    }

    pub(crate) fn no_function() -> BenchmarkId {
        BenchmarkId { function_name: None, parameter: None }
    }

    /// The function as the group's name, and the rest.
    pub(crate) fn split(self) -> (String, BenchmarkId) {
        let group = self.function_name.expect("Cannot use BenchmarkId::from_parameter with Criterion::bench_with_input. Consider using a BenchmarkGroup or BenchmarkId::new instead.");
        (group, BenchmarkId { function_name: None, parameter: self.parameter })
    }

    fn full(&self, group: &str) -> String {
        let parts = [Some(group), self.function_name.as_deref(), self.parameter.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("/")
    }
}

mod private {
    pub trait Sealed {}
    impl Sealed for super::BenchmarkId {}
    impl<S: Into<String>> Sealed for S {}
}

pub trait IntoBenchmarkId: private::Sealed {
    fn into_benchmark_id(self) -> BenchmarkId;
}

impl IntoBenchmarkId for BenchmarkId {
    fn into_benchmark_id(self) -> BenchmarkId {
        self
    }
}

impl<S: Into<String>> IntoBenchmarkId for S {
    fn into_benchmark_id(self) -> BenchmarkId {
        let function_name = self.into();
        assert!(!function_name.is_empty(), "Function name must not be empty.");
        BenchmarkId { function_name: Some(function_name), parameter: None }
    }
}
