//! The gateway through its door: real listeners, real upstreams on loopback, and the real binary.

mod breaking;
mod floods;
mod frames;
mod grpc;
mod http2;
mod misbehaving;
mod process;
mod protocol;
mod reload;
mod resilience;
mod routing;
mod smuggling;
mod streaming;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod traffic;
