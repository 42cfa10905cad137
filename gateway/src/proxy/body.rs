//! Bodies on their way through, a frame at a time; nothing is ever gathered.
//!
//! The request's body counts its bytes against their bound and tells the exchange how far it has come. The
//! response's body gives the upstream connection back when it has been read to its end, and closes the
//! request's account when it is gone.

use super::account::Account;
use super::refusal::Refusal;
use crate::config::Server;
use crate::upstream::Lease;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep_until};

type PolledFrame = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

/// The body of a request for an upstream.
pub struct RequestBody {
    /// None when the request has no body; most have none, and they need no allocation.
    stream: Option<Upload>,
}

struct Upload {
    incoming: Incoming,
    left_bytes: u64,
    deadline: Deadline,
    progress: Rc<Progress>,
}

/// How far a request's body has come.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) sent: Cell<bool>,
    pub(super) waits_for_client: Cell<bool>,
    pub(super) moved: Cell<Instant>,
    pub(super) fault: Cell<Option<BodyFault>>,
}

/// Why a request's body did not reach its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    TooLarge,
    TooSlow,
    Broken,
}

impl RequestBody {
    /// Refuses a body whose announced length is over the bound.
    pub(super) fn new(
        incoming: Incoming,
        server: &Server,
        deadline: Instant,
    ) -> Result<RequestBody, Refusal> {
        if incoming.is_end_stream() {
            return Ok(RequestBody { stream: None });
        }
        let left_bytes = server.limits.body_bytes;
        if incoming.size_hint().lower() > left_bytes {
            return Err(Refusal::BodyTooLarge);
        }
        let progress = Rc::new(Progress {
            sent: Cell::new(false),
            waits_for_client: Cell::new(false),
            moved: Cell::new(Instant::now()),
            fault: Cell::new(None),
        });
        let deadline = Deadline::new(deadline);
        Ok(RequestBody { stream: Some(Upload { incoming, left_bytes, deadline, progress }) })
    }

    pub(super) fn none() -> RequestBody {
        RequestBody { stream: None }
    }

    pub(super) fn is_none(&self) -> bool {
        self.stream.is_none()
    }

    pub(super) fn progress(&self) -> Option<Rc<Progress>> {
        self.stream.as_ref().map(|upload| upload.progress.clone())
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        match &mut self.stream {
            Some(upload) => upload.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|upload| upload.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.as_ref().map_or(SizeHint::with_exact(0), |upload| upload.incoming.size_hint())
    }
}

impl Upload {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        let progress = &self.progress;
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            progress.waits_for_client.set(true);
            ready!(self.deadline.poll(cx));
            progress.fault.set(Some(BodyFault::TooSlow));
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        progress.waits_for_client.set(false);
        progress.moved.set(Instant::now());
        let frame = match frame {
            None => {
                progress.sent.set(true);
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                progress.fault.set(Some(BodyFault::Broken));
                return Poll::Ready(Some(Err(io::Error::other(error))));
            }
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left_bytes.checked_sub(bytes) {
            Some(left) => self.left_bytes = left,
            None => {
                progress.fault.set(Some(BodyFault::TooLarge));
                return Poll::Ready(Some(Err(io::Error::other("the request body is too large"))));
            }
        }
        progress.sent.set(self.incoming.is_end_stream());
        Poll::Ready(Some(Ok(frame)))
    }
}

/// The body of a response for a client.
pub struct Body {
    content: Content,
    account: Account,
    finished: bool,
}

pub enum Content {
    /// The gateway's own words; taken when they are sent.
    Own(Option<Bytes>),
    Relay(Relay),
}

impl Body {
    pub(super) fn new(content: Content, account: Account) -> Body {
        Body { content, account, finished: false }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let frame = match &mut self.content {
            Content::Own(text) => text.take().map(|text| Ok(Frame::data(text))),
            Content::Relay(relay) => ready!(relay.poll_frame(cx)),
        };
        match &frame {
            Some(Ok(frame)) => self.account.body_bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(error)) => {
                self.finished = true;
                self.account.reason = Some(match error.kind() {
                    io::ErrorKind::TimedOut => "the response took too long",
                    _ => "the upstream broke off its response",
                });
            }
            None => self.finished = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(text) => text.is_none(),
            Content::Relay(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Content::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.finished && !self.account.is_head && !self.is_end_stream() {
            self.account.reason = Some("the client went away");
        }
    }
}

/// An upstream's response, and the connection that it comes over.
pub struct Relay {
    incoming: Incoming,
    lease: Option<Lease>,
    /// The connection can be kept only if the request was sent whole, too.
    request: Option<Rc<Progress>>,
    deadline: Deadline,
}

impl Relay {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        request: Option<Rc<Progress>>,
        deadline: Instant,
    ) -> Relay {
        let mut relay = Relay { incoming, lease: Some(lease), request, deadline: Deadline::new(deadline) };
        relay.give_back_if_over();
        relay
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.deadline.poll(cx));
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        match &frame {
            None => self.give_back(),
            Some(Ok(_)) => self.give_back_if_over(),
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn give_back_if_over(&mut self) {
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.request.as_ref().is_none_or(|request| request.sent.get())
        {
            lease.give_back();
        }
    }
}

/// The end of a request's time. The timer is made only when something has to wait.
struct Deadline {
    at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn new(at: Instant) -> Deadline {
        Deadline { at, timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(at))).as_mut().poll(cx)
    }
}
