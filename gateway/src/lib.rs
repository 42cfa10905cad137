//! An HTTP gateway: routes by host, path and method, a rate limiter, a circuit breaker.
//!
//! The decisions are pure and public: [`path`], [`route`], [`limit`], [`breaker`], [`headers`].

pub mod breaker;
pub mod config;
pub mod headers;
pub mod limit;
pub mod path;
pub mod route;
