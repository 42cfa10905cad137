//! Requests to an upstream over HTTP/2: each is written, and its answer read, as if it were HTTP/1.

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::{Carried, broken, text};
use crate::http1::scan::HeadScan;
use crate::stream::Wire;
use bytes::{Buf, Bytes};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::Method;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::task::spawn_local;

/// What an upstream may send of one answer before it is read, and of all of its connection's together.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What waits of one request while the upstream reads too slowly.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A connection that many requests share.
#[derive(Clone)]
pub struct Line {
    requests: SendRequest<Bytes>,
    gone: Rc<Cell<bool>>,
    under_way: Rc<Cell<usize>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("gone", &self.gone).field("under_way", &self.under_way).finish()
    }
}

/// Begins HTTP/2, with prior knowledge, and keeps the connection going in a task of its own: to its end, or until
/// nobody can ask over it any more.
pub async fn connect(wire: Wire, header_bytes: usize) -> io::Result<Line> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    let (requests, connection) = builder.handshake(wire).await.map_err(broken)?;
    let gone = Rc::new(Cell::new(false));
    let over = gone.clone();
    spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream has ended");
        }
        over.set(true);
    });
    Ok(Line { requests, gone, under_way: Rc::default() })
}

impl Line {
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Whether the other side lets one more request be under way.
    pub fn has_room(&self) -> bool {
        self.under_way.get() < self.requests.current_max_send_streams()
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.get() == 0
    }

    /// A stream for one request; `own_host` is what it asks for where the request names no host.
    pub fn ask(&self, own_host: &str) -> Asked {
        self.under_way.set(self.under_way.get() + 1);
        Asked {
            line: self.clone(),
            own_host: own_host.into(),
            asked_head: false,
            request: None,
            answer: Answer::NotAsked,
            refused: false,
        }
    }
}

/// One request and its answer. Dropped before its end, it resets its stream.
pub struct Asked {
    line: Line,
    own_host: Box<str>,
    asked_head: bool,
    /// Once the head has been written.
    request: Option<Outbound<SendStream<Bytes>>>,
    answer: Answer,
    refused: bool,
}

enum Answer {
    NotAsked,
    /// `text` is an interim response's.
    Awaited {
        head: ResponseFuture,
        text: Bytes,
    },
    Comes(Inbound),
    Failed,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Asked {
    /// Whether the upstream has said that it did nothing with this request (RFC 9113, section 8.7).
    pub fn was_refused(&self) -> bool {
        self.refused
    }

    /// Takes bytes of the request: the whole head at once, and then of the body what there is room for.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(request) = &mut self.request {
            return request.poll_write(cx, bytes);
        }
        if let Err(error) = ready!(self.line.requests.poll_ready(cx)) {
            return Poll::Ready(Err(self.fail(error)));
        }
        let length = HeadScan::default().advance(bytes).ok().flatten();
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let (request, carried) = match text::read_request(&bytes[..length], &self.own_host) {
            Ok(read) => read,
            Err(error) => {
                self.answer = Answer::Failed;
                return Poll::Ready(Err(error));
            }
        };
        self.asked_head = *request.method() == Method::HEAD;
        match self.line.requests.send_request(request, carried == Carried::Nothing) {
            Ok((head, stream)) => {
                self.answer = Answer::Awaited { head, text: Bytes::new() };
                self.request = Some(Outbound::new(stream, carried));
                Poll::Ready(Ok(length))
            }
            Err(error) => Poll::Ready(Err(self.fail(error))),
        }
    }

    /// Bytes of the answer: its head, its body.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.answer {
                // Whoever writes the request is woken for that.
                Answer::NotAsked => return Poll::Pending,
                Answer::Failed => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Answer::Comes(answer) => return answer.poll_read(cx, into),
                Answer::Awaited { text, .. } if !text.is_empty() => {
                    let count = text.len().min(into.len());
                    text.copy_to_slice(&mut into[..count]);
                    return Poll::Ready(Ok(count));
                }
                Answer::Awaited { .. } => {
                    if let Err(error) = ready!(self.poll_head(cx)) {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                }
            }
        }
    }

    /// The next head of the answer, interim or final.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let Answer::Awaited { head, text } = &mut self.answer else { return Poll::Ready(Ok(())) };
        let mut out = Vec::with_capacity(256);
        match head.poll_informational(cx) {
            Poll::Ready(Some(interim)) => {
                let (parts, ()) = interim?.into_parts();
                text::response(&mut out, &parts, true, self.asked_head);
                *text = out.into();
                return Poll::Ready(Ok(()));
            }
            // No interim one any more; or nothing at all yet, and then this will be woken.
            Poll::Ready(None) | Poll::Pending => {}
        }
        let (parts, body) = ready!(Pin::new(head).poll(cx))?.into_parts();
        let carried = text::response(&mut out, &parts, body.is_end_stream(), self.asked_head);
        self.answer = Answer::Comes(Inbound::new(body, carried, out.into()));
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, error: h2::Error) -> io::Error {
        if !error.is_reset() {
            // Nobody is to ask over it any more; what is under way may still end well.
            self.line.gone.set(true);
        }
        let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
        self.refused = error.is_remote() && refused;
        self.answer = Answer::Failed;
        broken(error)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.line.under_way.set(self.line.under_way.get() - 1);
    }
}
