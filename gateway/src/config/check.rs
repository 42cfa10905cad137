//! Turns the file's shape into a [`Config`], value by value, each with its bounds and its default.

use super::spanned::Spanned;
use super::*;
use crate::path::normalize;
use std::ops::RangeInclusive;

/// Checks one file; keeps its text, to say where a fault is.
pub(super) struct Checker<'t> {
    text: &'t str,
}

pub(super) type Checked<T> = Result<T, ConfigError>;

/// An hour: the longest that any timeout makes sense here.
pub(super) const TIMEOUT_MAX_MS: u64 = 60 * 60 * 1000;
/// Spans pile up meanwhile, and are dropped soon.
const COLLECTOR_MAX_MS: u64 = 60_000;
/// More threads than the largest machines have cores.
const THREADS_MAX: u64 = 1024;

impl<'t> Checker<'t> {
    pub(super) fn new(text: &'t str) -> Checker<'t> {
        Checker { text }
    }

    pub(super) fn config(&self, file: &file::File) -> Checked<Config> {
        let upstreams = self.upstreams(&file.upstreams)?;
        let routes = self.routes(&file.routes, &upstreams)?;
        Ok(Config {
            server: self.server(&file.server)?,
            access_log: self.access_log(&file.access_log)?,
            tracing: file.tracing.as_ref().map(|tracing| self.tracing(tracing, &upstreams)).transpose()?,
            upstreams,
            routes,
        })
    }

    fn server(&self, server: &file::Server) -> Checked<Server> {
        let ready_path = match &server.ready_path {
            Some(path) => Some(self.path(path)?),
            None => None,
        };
        let threads = match &server.threads {
            Some(threads) => Some(self.within(threads, 1..=THREADS_MAX)? as usize),
            None => None,
        };
        let io = match server.io.as_ref().map(|io| (io, io.get_ref().as_str())) {
            None | Some((_, "epoll")) => Io::Epoll,
            Some((_, "io_uring")) => Io::Uring,
            Some((io, _)) => return Err(self.error(io, "must be \"epoll\" or \"io_uring\"")),
        };
        let tls = match &server.tls {
            Some(tls) => Some(self.tls(tls)?),
            None => None,
        };
        let timeouts = self.timeouts(&server.timeouts)?;
        let limits = self.limits(&server.limits)?;
        Ok(Server {
            listen: server.listen,
            admin: server.admin,
            threads,
            io,
            ready_path,
            forwarded: server.forwarded,
            http2: server.http2.unwrap_or(true),
            profiling: server.profiling.unwrap_or(true),
            tls,
            limits,
            timeouts,
        })
    }

    fn limits(&self, limits: &file::Limits) -> Checked<Limits> {
        let number = |given: &Option<Spanned<u64>>, default, bounds| self.number(given, default, bounds);
        Ok(Limits {
            connections: number(&limits.connections, 10_000, 1..=1_000_000)? as usize,
            headers: number(&limits.headers, 100, 1..=1_000)? as usize,
            // The parser's buffer cannot be smaller than 8 KiB.
            header_bytes: number(&limits.header_bytes, 32 * 1024, 8 * 1024..=1024 * 1024)? as usize,
            body_bytes: number(&limits.body_bytes, 1 << 30, 0..=1 << 50)?,
            upstream_idle: number(&limits.upstream_idle, 64, 0..=10_000)? as usize,
            limiter_keys: number(&limits.limiter_keys, 65_536, 64..=16_777_216)? as usize,
            streams: number(&limits.streams, 100, 1..=10_000)? as u32,
        })
    }

    fn timeouts(&self, timeouts: &file::Timeouts) -> Checked<Timeouts> {
        let time = |given: &Option<Spanned<u64>>, default_ms| {
            self.number(given, default_ms, 1..=TIMEOUT_MAX_MS).map(Duration::from_millis)
        };
        Ok(Timeouts {
            tls_handshake: time(&timeouts.tls_handshake_ms, 10_000)?,
            client_header: time(&timeouts.client_header_ms, 30_000)?,
            client_write: time(&timeouts.client_write_ms, 30_000)?,
            client_body: time(&timeouts.client_body_ms, 30_000)?,
            dns: time(&timeouts.dns_ms, 1_000)?,
            connect: time(&timeouts.connect_ms, 1_000)?,
            upstream_write: time(&timeouts.upstream_write_ms, 15_000)?,
            continue_after: time(&timeouts.continue_ms, 1_000)?,
            response_header: time(&timeouts.response_header_ms, 15_000)?,
            response_body: time(&timeouts.response_body_ms, 30_000)?,
            request: time(&timeouts.request_ms, 60_000)?,
            upstream_idle: time(&timeouts.upstream_idle_ms, 15_000)?,
            tunnel_idle: time(&timeouts.tunnel_idle_ms, TIMEOUT_MAX_MS)?,
            drain: time(&timeouts.drain_ms, 10_000)?,
        })
    }

    fn access_log(&self, log: &file::AccessLog) -> Checked<AccessLog> {
        let output = match (&log.output, &log.file) {
            (Some(output), Some(file)) if output.get_ref() != "file" => {
                return Err(self.error(file, "`file` needs `output = \"file\"`"));
            }
            (None, Some(file)) => return Err(self.error(file, "`file` needs `output = \"file\"`")),
            (None, None) => LogOutput::Off,
            (Some(output), file) => match (output.get_ref().as_str(), file) {
                ("off", _) => LogOutput::Off,
                ("stdout", _) => LogOutput::Stdout,
                ("file", Some(file)) => LogOutput::File(file.get_ref().clone()),
                ("file", None) => return Err(self.error(output, "`output = \"file\"` needs `file`")),
                _ => return Err(self.error(output, "must be \"off\", \"stdout\" or \"file\"")),
            },
        };
        let sample_one_in = self.number(&log.sample_one_in, 1, 1..=1_000_000_000)? as u32;
        Ok(AccessLog { output, sample_one_in })
    }

    fn tracing(&self, tracing: &file::Tracing, upstreams: &[Upstream]) -> Checked<Tracing> {
        let name = tracing.upstream.get_ref();
        let Some(upstream) = upstreams.iter().position(|upstream| upstream.name == *name) else {
            return Err(self.error(&tracing.upstream, format!("no upstream named `{name}`")));
        };
        if upstreams[upstream].protocol != Protocol::Http1 {
            return Err(
                self.error(&tracing.upstream, "spans are sent in HTTP/1, and this upstream speaks HTTP/2")
            );
        }
        let begin_one_in = match &tracing.begin_one_in {
            Some(begin_one_in) => Some(self.within(begin_one_in, 1..=1_000_000_000)? as u32),
            None => None,
        };
        Ok(Tracing {
            upstream,
            path: tracing.path.as_ref().map_or_else(|| Ok("/v1/traces".into()), |path| self.path(path))?,
            service: tracing.service.as_ref().map_or_else(|| Ok("gateway".into()), |name| self.name(name))?,
            begin_one_in,
            timeout: Duration::from_millis(self.number(&tracing.timeout_ms, 5_000, 1..=COLLECTOR_MAX_MS)?),
        })
    }

    pub(super) fn path(&self, path: &Spanned<String>) -> Checked<String> {
        let text = path.get_ref();
        if text.contains(['?', '#']) || text.chars().any(|c| c.is_ascii_control() || c == ' ') {
            return Err(self.error(path, "must be a path alone, without a query, a fragment or a space"));
        }
        match normalize(text) {
            Ok(normal) if normal == *text => Ok(text.clone()),
            Ok(normal) => Err(self.error(path, format!("no request has this path; write `{normal}`"))),
            Err(bad) => Err(self.error(path, bad.to_string())),
        }
    }

    pub(super) fn name(&self, name: &Spanned<String>) -> Checked<String> {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if text.is_empty() || text.len() > NAME_MAX_BYTES || !text.chars().all(plain) {
            let message = format!("must be 1 to {NAME_MAX_BYTES} letters, digits, `-`, `_`, `.` or `/`");
            return Err(self.error(name, message));
        }
        Ok(text.clone())
    }

    pub(super) fn number(
        &self,
        given: &Option<Spanned<u64>>,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Checked<u64> {
        given.as_ref().map_or(Ok(default), |given| self.within(given, bounds))
    }

    pub(super) fn within(&self, given: &Spanned<u64>, bounds: RangeInclusive<u64>) -> Checked<u64> {
        let number = *given.get_ref();
        if !bounds.contains(&number) {
            return Err(self.error(given, format!("must be from {} to {}", bounds.start(), bounds.end())));
        }
        Ok(number)
    }

    pub(super) fn place<T>(&self, of: &Spanned<T>) -> Place {
        Place::of(self.text, of.span().start)
    }

    pub(super) fn error<T>(&self, place: &Spanned<T>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.text, place.span().start, message)
    }
}
