//! Accepts connections within a bound, and lets nobody hold one for ever by saying nothing or reading nothing.

use super::api::Peer;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At the same time. Further ones wait in the kernel's queue until one of these ends.
    pub connections: usize,
    /// From when a connection is opened, or its last answer sent, to the end of the next request's head.
    pub head_wait: Duration,
    /// How long requests under way may take when we stop: a client that trickles its body holds nobody up.
    pub stop_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // At 64 KiB each at most 64 MiB, and below the 1,024 descriptors that a process often has.
            connections: 896,
            head_wait: Duration::from_secs(30),
            stop_wait: Duration::from_secs(10),
        }
    }
}

/// What one connection reads ahead. A head is larger than 16 KiB in no program we know of.
const BUFFER_MAX_BYTES: usize = 64 << 10;
/// A peer that acknowledges nothing for so long, or reads nothing, is gone.
const PEER_WAIT: Duration = Duration::from_secs(60);
/// Too many files are open, or memory is short: what is open must end first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Connections that the kernel keeps for us while all places are taken; it may have a lower bound of its own. Whom it
/// turns away tries again after 1, 2, 4 … seconds, so that a burst would be felt for minutes.
const BACKLOG: u32 = 4_096;

/// Listens at an address; port 0 is any free one.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts again finds its port although connections of the last one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, and then until the requests under way are answered or their time is over.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = GracefulShutdown::new();
    let cut = CancellationToken::new();
    // Where places are few, who was answered gives the place back, and does not keep it for a next request.
    let (free, few) = (places.clone(), limits.connections / 2);
    let router = router.layer(map_response(move |mut response: Response| {
        if free.available_permits() < few {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        std::future::ready(response)
    }));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_wait).max_buf_size(BUFFER_MAX_BYTES);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the places are never closed");
            (place, accept(&listener).await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        metrics::gauge!("paceline_connections").set((limits.connections - places.available_permits()) as f64);
        let service =
            TowerToHyperService::new(router.clone().map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request
            }));
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        let cut = cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended badly");
                },
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.stop_wait, open.shutdown()).await.is_err() {
        tracing::warn!("some requests were not answered in time; their connections are closed");
        cut.cancel();
    }
}

/// The next connection; what went wrong with one before it, or with us, is waited out.
async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let socket = SockRef::from(&stream);
                let set = socket
                    .set_tcp_nodelay(true)
                    .and_then(|()| socket.set_keepalive(true))
                    .and_then(|()| socket.set_tcp_user_timeout(Some(PEER_WAIT)));
                match set {
                    Ok(()) => return (stream, Peer(address.ip())),
                    Err(error) => tracing::debug!(%error, "a connection was gone at once"),
                }
            }
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection; tried again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    const SOON: Duration = Duration::from_millis(200);
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn start(limits: Limits, router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop, task)
    }

    fn router() -> Router {
        Router::new().route("/", get(|| async { "here" }))
    }

    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut bytes = vec![0; 4_096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("an answer in time");
        String::from_utf8(bytes[..read.unwrap()].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn one_more_than_the_bound_waits_for_a_place() {
        let limits = Limits { connections: 2, head_wait: PATIENCE, stop_wait: SOON };
        let (address, stop, task) = start(limits, router()).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            held.push(stream);
        }
        tokio::time::sleep(SOON).await;
        let mut third = TcpStream::connect(address).await.unwrap();
        ask(&mut third).await;
        let mut byte = [0];
        let early = tokio::time::timeout(SOON, third.read(&mut byte)).await;
        assert!(early.is_err(), "answered beyond the bound");
        held.pop();
        assert!(answer(&mut third).await.ends_with("here"));
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn where_places_are_few_nobody_keeps_one_between_requests() {
        let limits = Limits { connections: 4, head_wait: PATIENCE, ..Limits::default() };
        let (address, stop, task) = start(limits, router()).await;
        let mut held = Vec::new();
        // One place is taken for whoever comes next.
        for closes in [false, true] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            ask(&mut stream).await;
            let answered = answer(&mut stream).await;
            assert_eq!(answered.contains("connection: close"), closes, "{answered}");
            held.push(stream);
        }
        assert_eq!(answer(held.last_mut().unwrap()).await, "", "it is closed");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_loses_the_place() {
        let limits = Limits { connections: 2, head_wait: SOON, ..Limits::default() };
        let (address, stop, task) = start(limits, router()).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-more: ").await.unwrap();
        let mut third = TcpStream::connect(address).await.unwrap();
        ask(&mut third).await;
        assert!(answer(&mut third).await.ends_with("here"));
        for stream in [&mut silent, &mut slow] {
            assert!(!answer(stream).await.contains("here"));
        }
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn stopping_answers_what_is_under_way_and_cuts_what_takes_too_long() {
        let release = CancellationToken::new();
        let released = release.clone();
        let quick = Router::new().route(
            "/",
            get(move || {
                let released = released.clone();
                async move {
                    released.cancelled().await;
                    "here"
                }
            }),
        );
        let (address, stop, task) = start(Limits::default(), quick.clone()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream).await;
        tokio::time::sleep(SOON).await;
        stop.cancel();
        tokio::time::sleep(SOON).await;
        assert!(!task.is_finished(), "it waits for the answer");
        release.cancel();
        assert!(answer(&mut stream).await.ends_with("here"));
        task.await.unwrap();

        let never = Router::new().route("/", get(std::future::pending::<&str>));
        let (address, stop, task) = start(Limits { stop_wait: SOON, ..Limits::default() }, never).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream).await;
        tokio::time::sleep(SOON).await;
        stop.cancel();
        task.await.unwrap();
        assert_eq!(answer(&mut stream).await, "");
    }
}
