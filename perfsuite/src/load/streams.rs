//! One HTTP/2 connection of a lane: its streams are the lane's slots, so that many requests share it at a time.

use super::lane::{Lane, Out, Ticket};
use super::wire::ErrorKind;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use std::{io, ops::Range, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// Requests that share a connection at a time. Servers allow a hundred and more; of fewer, the rest wait, as they would
/// for a connection of HTTP/1.
pub(super) const STREAMS: usize = 10;
/// A server that takes the connection and never says its settings.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What may come before it is taken: bodies are counted at once, so this bounds nothing but a burst.
const WINDOW_BYTES: u32 = 1 << 20;

/// Opens a connection, lends it to the lane's slots, and returns once it is over. An error when it never began.
pub(super) async fn lend(lane: &Arc<Lane>, stream: TcpStream, slots: Range<usize>) -> io::Result<()> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES).enable_push(false);
    let shaken = tokio::time::timeout(HANDSHAKE, builder.handshake::<_, Bytes>(stream)).await;
    let (send, connection) = shaken.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)?;
    for slot in slots {
        lane.opened(slot, Out::Streams(send.clone()));
    }
    drop(send);
    // However it ends, the lane looks at what was on its way.
    let _ = connection.await;
    Ok(())
}

/// Sends a request on a connection's next stream, and has its answer awaited. A connection that takes none is over.
pub(super) fn send(
    lane: &Arc<Lane>,
    sender: &mut SendRequest<Bytes>,
    request: http::Request<()>,
    ticket: Ticket,
) {
    let Ok((response, _)) = sender.send_request(request, true) else { return };
    let lane = lane.clone();
    tokio::spawn(async move {
        let outcome = hear(response, lane.response_max_bytes()).await;
        lane.heard(ticket, outcome);
    });
}

/// Waits for a whole response; its status.
async fn hear(response: ResponseFuture, body_max_bytes: u64) -> Result<u16, ErrorKind> {
    let kind = |error: h2::Error| {
        // Its own frames were against the protocol; else the stream or the connection has ended.
        if error.is_io() || error.is_reset() || error.is_go_away() {
            ErrorKind::Closed
        } else {
            ErrorKind::Malformed
        }
    };
    let (head, mut body) = response.await.map_err(kind)?.into_parts();
    let mut seen = 0_u64;
    while let Some(bytes) = body.data().await {
        let bytes = bytes.map_err(kind)?;
        seen += bytes.len() as u64;
        if seen > body_max_bytes {
            return Err(ErrorKind::TooLarge);
        }
        // One that cannot be given back is of a stream that has ended.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    Ok(head.status.as_u16())
}

/// Whether a server answers one request over HTTP/2 with 2xx.
pub(super) async fn ask(stream: TcpStream, request: http::Request<()>) -> bool {
    let asked = async {
        let (send, connection) = h2::client::handshake(stream).await.ok()?;
        let driven = tokio::spawn(connection);
        let answered = async {
            let (response, _) = send.ready().await.ok()?.send_request(request, true).ok()?;
            Some(response.await.ok()?.status().is_success())
        };
        let answered = answered.await;
        driven.abort();
        answered
    };
    asked.await.unwrap_or(false)
}
