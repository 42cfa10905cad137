//! The gateway through its door: real listeners, real upstreams on loopback, and the real binary.

mod breaking;
mod process;
mod reload;
mod routing;
mod streaming;
mod support;
