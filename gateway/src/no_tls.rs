//! A build without TLS: a configuration that asks for it is refused, so nothing here is ever made.

use crate::config::{self, Address, Config, ConfigError, Protocol};
use crate::proxy::Speaks;
use crate::stream::Wire;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;

pub const FILE_MAX_BYTES: u64 = 0;
const WITHOUT: &str = "this gateway was built without TLS (the feature `tls`)";

/// Never made.
#[derive(Debug)]
pub enum Tls {}

pub fn load(config: &config::Tls, _: &Path, _: bool, _: Option<&Tls>) -> Result<Tls, ConfigError> {
    Err(config.place.error(WITHOUT))
}

pub fn files(_: &Config, _: &Path) -> Vec<PathBuf> {
    Vec::new()
}

/// Never made.
#[derive(Debug)]
pub enum Outward {}

pub fn load_outward(config: &config::UpstreamTls, _: Protocol, _: &Path) -> Result<Outward, ConfigError> {
    Err(config.place.error(WITHOUT))
}

pub async fn connect(outward: &Outward, _: Protocol, _: &Address, _: TcpStream) -> io::Result<Wire> {
    match *outward {}
}

pub async fn accept(tls: &Tls, _: TcpStream) -> io::Result<(Wire, Speaks)> {
    match *tls {}
}
