//! The gateway through its door: real listeners, real upstreams on loopback, and the real binary.

mod breaking;
mod floods;
mod frames;
mod grpc;
mod http2;
mod misbehaving;
mod process;
#[cfg(feature = "profile")]
mod profiles;
mod protocol;
mod reload;
mod resilience;
mod ring;
mod routing;
mod smuggling;
mod spans;
mod streaming;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod traffic;
