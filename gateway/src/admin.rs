//! The thread beside the data path: health, readiness, metrics and profiles for operators, and the reloads.

mod pprof;

use crate::metrics::render;
use crate::reload::{LOOK_EVERY, Source};
use crate::server::Command;
use crate::spans::{Finished, export};
use crate::worker::Shared;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Probes and scrapers are few; more than these wait.
const CONNECTIONS_MAX: usize = 64;
/// Nothing needs a connection for longer: a profile takes at most a minute, and a while to be written.
const CONNECTION_MAX: Duration = Duration::from_secs(pprof::SECONDS_MAX + 60);
/// A look at the traffic ends before its connection has to.
const LOOK_MAX_S: u64 = 50;
/// Names of a kind in one answer.
const LOOK_MAX_NAMES: u64 = 100;
const HEADER_MAX: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Runs until the sender of commands is gone, which is after the data path has ended: probes see the drain.
pub fn run(
    shared: Arc<Shared>,
    (listener, stop): (Option<std::net::TcpListener>, watch::Receiver<bool>),
    source: Source,
    commands: mpsc::Receiver<Command>,
    finished: Finished,
) {
    crate::profile::thread_begins();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "no runtime for the admin thread"),
    };
    LocalSet::new().block_on(&runtime, async move {
        if let Some(listener) = listener {
            match TcpListener::from_std(listener) {
                Ok(listener) => drop(spawn_local(accept(shared.clone(), listener, stop))),
                Err(error) => tracing::error!(%error, "no admin listener"),
            }
        }
        drop(spawn_local(crate::health::run(shared.clone())));
        let (end, ended) = watch::channel(false);
        let exporting = spawn_local(export::run(shared.clone(), finished, ended));
        keep_config(&shared, source, commands).await;
        // What the last requests have left; all threads that serve have ended.
        let _ = end.send(true);
        let drain = shared.active.load().server.timeouts.drain;
        let _ = timeout(drain, exporting).await;
    });
}

async fn keep_config(shared: &Shared, mut source: Source, mut commands: mpsc::Receiver<Command>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Reload) => {
                    shared.log.reopen();
                    source.take(shared);
                }
                None => return,
            },
            _ = look.tick() => source.look(shared),
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let open = Rc::new(Cell::new(0));
    loop {
        let accepted = listener.accept().await;
        match accepted {
            Ok((stream, _)) if open.get() < CONNECTIONS_MAX => {
                let (shared, stop, open) = (shared.clone(), stop.clone(), open.clone());
                open.set(open.get() + 1);
                spawn_local(async move {
                    let _ = timeout(CONNECTION_MAX, serve(shared, stream, stop)).await;
                    open.set(open.get() - 1);
                });
            }
            // Too many: closed unanswered, which a probe sees at once.
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "an admin connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, stop: watch::Receiver<bool>) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let (shared, stopping) = (shared.clone(), *stop.borrow());
        async move {
            let response = match request.uri().path() {
                "/traffic" if *request.method() == Method::GET => {
                    traffic(&shared, request.uri().query()).await
                }
                path if path.starts_with(pprof::UNDER) => {
                    let is_allowed = shared.active.load().server.profiling;
                    pprof::answer(&request, is_allowed).await
                }
                _ => answer(&shared, stopping, &request),
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX);
    builder.serve_connection(TokioIo::new(stream), service).await
}

fn answer(shared: &Shared, stopping: bool, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "alive\n".into()),
        "/readyz" if stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into()),
        "/readyz" => text(StatusCode::OK, "ready\n".into()),
        "/metrics" => {
            let mut response = text(StatusCode::OK, render(&shared.metrics, &shared.active.load()));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz, /metrics, /traffic or /debug/pprof/\n".into()),
    }
}

/// Looks at the traffic for a while: `?seconds=5&top=20`.
async fn traffic(shared: &Shared, query: Option<&str>) -> Response<Full<Bytes>> {
    let (Some(seconds), Some(top)) =
        (asked(query, "seconds", 1..=LOOK_MAX_S, 5), asked(query, "top", 1..=LOOK_MAX_NAMES, 20))
    else {
        let words = format!("seconds is 1 to {LOOK_MAX_S}, top is 1 to {LOOK_MAX_NAMES}\n");
        return text(StatusCode::BAD_REQUEST, words);
    };
    let Some(look) = shared.traffic.look() else {
        return text(StatusCode::CONFLICT, "somebody else looks at the traffic now\n".into());
    };
    sleep(Duration::from_secs(seconds)).await;
    let json = look.end().json(seconds, top as usize);
    let mut response = Response::new(Full::new(Bytes::from(json)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A number in the query; None where it is none, or out of bounds.
fn asked(query: Option<&str>, name: &str, bound: RangeInclusive<u64>, otherwise: u64) -> Option<u64> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(known, _)| *known == name) {
        Some((_, value)) => value.parse().ok().filter(|number| bound.contains(number)),
        None => Some(otherwise),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
