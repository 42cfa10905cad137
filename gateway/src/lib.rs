//! An HTTP gateway: routes by host, path and method, a rate limiter, a circuit breaker.
//!
//! The decisions are pure: [`path`], [`route`], [`limit`], [`breaker`], [`headers`], [`http1`], and the checked
//! [`config`]. [`proxy`] is one connection's life, [`worker`] one thread's, [`server`] the whole's.

pub mod balance;
pub mod breaker;
pub mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod limit;
pub mod path;
pub mod route;
pub mod trace;

pub mod access_log;
pub mod active;
mod admin;
mod clock;
mod health;
pub mod metrics;
#[cfg(all(feature = "profile", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod profile;
#[cfg(not(all(
    feature = "profile",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "no_profile.rs"]
pub mod profile;
pub mod proxy;
pub mod reload;
mod ring;
pub mod server;
pub mod spans;
mod stream;
mod sys;
mod timer;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
pub mod traffic;
mod upstream;
pub mod worker;
