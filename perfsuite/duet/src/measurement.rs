//! What is measured: time, unless a bench brings something else, which is then not driven.

use crate::Throughput;
use std::time::{Duration, Instant};

/// Turns values into words. Nothing here calls it; benches with their own measurement implement it.
pub trait ValueFormatter {
    fn format_value(&self, value: f64) -> String {
        let mut values = [value];
        let unit = self.scale_values(value, &mut values);
        format!("{:.4} {unit}", values[0])
    }

    fn format_throughput(&self, throughput: &Throughput, value: f64) -> String {
        let mut values = [value];
        let unit = self.scale_throughputs(value, throughput, &mut values);
        format!("{:.4} {unit}", values[0])
    }

    fn scale_values(&self, typical_value: f64, values: &mut [f64]) -> &'static str;

    fn scale_throughputs(
        &self,
        typical_value: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str;

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str;
}

/// A way to measure.
pub trait Measurement {
    type Intermediate;
    type Value;

    fn start(&self) -> Self::Intermediate;
    fn end(&self, i: Self::Intermediate) -> Self::Value;
    fn add(&self, v1: &Self::Value, v2: &Self::Value) -> Self::Value;
    fn zero(&self) -> Self::Value;
    fn to_f64(&self, value: &Self::Value) -> f64;
    fn formatter(&self) -> &dyn ValueFormatter;
}

/// Time by the monotonic clock; its values as numbers are nanoseconds.
#[derive(Debug, Default)]
pub struct WallTime;

impl Measurement for WallTime {
    type Intermediate = Instant;
    type Value = Duration;

    #[inline]
    fn start(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn end(&self, i: Instant) -> Duration {
        i.elapsed()
    }

    fn add(&self, v1: &Duration, v2: &Duration) -> Duration {
        *v1 + *v2
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "ns"
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let amount = match *throughput {
            Throughput::Bits(n)
            | Throughput::Bytes(n)
            | Throughput::BytesDecimal(n)
            | Throughput::Elements(n) => n,
            Throughput::ElementsAndBytes { elements, .. } => elements,
        };
        for value in values {
            *value = amount as f64 * 1e9 / *value;
        }
        "a second"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

/// By this it is known, without running it, that an executable may have benchmarks that cannot be driven.
static OTHER: [u8; 31] = *b"paceline:duet:other-measurement";

#[inline(never)]
pub(crate) fn mark_other() {
    std::hint::black_box(&OTHER);
}

/// Whether `M` is [`WallTime`]. By name, since a measurement need not be `'static`.
pub(crate) fn is_wall_time<M>() -> bool {
    std::any::type_name::<M>() == std::any::type_name::<WallTime>()
}
