//! Calibration: how often the verdict is wrong on this machine, measured on sides of which the truth is known.
//!
//! Identical sides (A/A) tell the rate of false alarms; a commit with a known slowdown tells the power. Visits are made a
//! fixed number of times, so that they can be drawn from as if live any number of times ([`trial`]); besides, whole
//! decisions can be made live.

mod samples;
pub mod trial;

pub use samples::{Plan, Samples, measure, read, write};
