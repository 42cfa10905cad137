//! An HTTP gateway: routes by host, path and method, a rate limiter, a circuit breaker.
//!
//! The decisions are pure: [`path`], [`route`], [`limit`], [`breaker`], [`headers`], and the checked
//! [`config`]. [`proxy`] is one request's life, [`worker`] one thread's, [`server`] the whole's.

pub mod breaker;
pub mod config;
pub mod headers;
pub mod limit;
pub mod path;
pub mod route;

pub mod access_log;
pub mod active;
mod admin;
pub mod metrics;
pub mod proxy;
pub mod reload;
pub mod server;
mod stall;
mod upstream;
pub mod worker;
