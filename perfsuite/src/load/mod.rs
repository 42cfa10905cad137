//! Open-loop load on two live servers: the schedule, the generator, the upstream, and one round of all of them.
//!
//! A round is one visit: fresh processes of both sides, one schedule, a coin for every request. It runs whole inside
//! one sandbox (`perfsuite load-round`), so nothing here needs a network but loopback.

pub mod affinity;
pub mod cpu;
mod faults;
pub mod framing;
pub mod generator;
pub mod knee;
pub mod lane;
mod listening;
pub mod precise;
pub mod response;
pub mod round;
pub mod schedule;
pub mod server;
mod streams;
pub mod upstream;
pub mod wire;
