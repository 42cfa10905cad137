//! The settings that benches name: most have no effect here.

/// How `iter_batched` groups its inputs. The only setting that matters to what is measured.
#[derive(Debug, Eq, PartialEq, Copy, Hash, Clone)]
// Criterion has the last variant, and benches may name it.
#[allow(clippy::manual_non_exhaustive)]
pub enum BatchSize {
    SmallInput,
    LargeInput,
    PerIteration,
    NumBatches(u64),
    NumIterations(u64),
    #[doc(hidden)]
    __NonExhaustive,
}

impl BatchSize {
    /// Inputs that are made before the clock starts: a tenth, a thousandth or a given part of the iterations.
    ///
    /// # Panics
    ///
    /// When it comes to none.
    pub(crate) fn iters_per_batch(self, iters: u64) -> u64 {
        let size = match self {
            BatchSize::SmallInput => iters.div_ceil(10),
            BatchSize::LargeInput => iters.div_ceil(1000),
            BatchSize::PerIteration => 1,
            BatchSize::NumBatches(batches) => iters.div_ceil(batches.max(1)),
            BatchSize::NumIterations(size) => size,
            BatchSize::__NonExhaustive => 0,
        };
        assert!(size != 0, "Batch size must not be zero.");
        size
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throughput {
    Bits(u64),
    Bytes(u64),
    BytesDecimal(u64),
    Elements(u64),
    ElementsAndBytes { elements: u64, bytes: u64 },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SamplingMode {
    #[default]
    Auto,
    Linear,
    Flat,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum AxisScale {
    #[default]
    Linear,
    Logarithmic,
}

#[derive(Debug, Default, Clone)]
pub struct PlotConfiguration {
    _private: (),
}

impl PlotConfiguration {
    #[must_use]
    pub fn summary_scale(self, new_scale: AxisScale) -> Self {
        let _ = new_scale;
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlottingBackend {
    Gnuplot,
    Plotters,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    CompareLenient,
    CompareStrict,
    Save,
    Discard,
}

/// Criterion's command line wins over a filter in the code, so none has an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BenchmarkFilter {
    AcceptAll,
    Exact(String),
    RejectAll,
}

impl BenchmarkFilter {
    /// Written like criterion's variant, which holds a type of another crate that is not needed here.
    #[allow(non_snake_case)]
    pub fn Regex<R: std::fmt::Display>(regex: R) -> BenchmarkFilter {
        drop(regex);
        BenchmarkFilter::AcceptAll
    }
}
