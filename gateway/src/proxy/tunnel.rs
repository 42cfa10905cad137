//! After a switch of protocols: bytes go both ways as they come, until both sides have ended or fall silent.

use crate::http1::buffer::Buffer;
use crate::stream::Stream;
use crate::timer::Timer;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// One direction of a tunnel.
struct Way {
    buffer: Buffer,
    ended: bool,
    shut: bool,
    bytes: u64,
}

/// Carries bytes between the two until both ways are over; what each buffer holds goes first. Returns how many
/// bytes the client was sent. A side that has ended is told so, and the other way goes on.
pub(super) async fn run(
    client: (&mut Stream, Buffer),
    upstream: (&mut Stream, Buffer),
    timer: &mut Timer,
    idle: Duration,
) -> u64 {
    let (client, from_client) = client;
    let (upstream, from_upstream) = upstream;
    let mut up = Way::new(from_client);
    let mut down = Way::new(from_upstream);
    let mut moved = Instant::now();
    let _ = poll_fn(|cx| -> Poll<io::Result<()>> {
        loop {
            let went = up.poll(cx, client, upstream)? | down.poll(cx, upstream, client)?;
            if up.shut && down.shut {
                return Poll::Ready(Ok(()));
            }
            if !went {
                break;
            }
            moved = Instant::now();
        }
        match timer.has_passed(cx, moved + idle) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    })
    .await;
    down.bytes
}

impl Way {
    fn new(mut buffer: Buffer) -> Way {
        let waiting = buffer.unjudged().len();
        buffer.pass(waiting);
        Way { buffer, ended: false, shut: false, bytes: 0 }
    }

    /// Whether anything moved.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream) -> io::Result<bool> {
        let mut moved = false;
        loop {
            if self.buffer.has_pending() {
                match to.poll_write(cx, self.buffer.pending())? {
                    Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(bytes) => {
                        self.buffer.sent(bytes);
                        self.bytes += bytes as u64;
                    }
                    Poll::Pending => return Ok(moved),
                }
                moved = true;
                continue;
            }
            if self.ended {
                if !self.shut && to.poll_shutdown(cx)?.is_ready() {
                    self.shut = true;
                    return Ok(true);
                }
                return Ok(moved);
            }
            if let Poll::Ready(Err(error)) = to.poll_flush(cx) {
                return Err(error);
            }
            self.buffer.compact();
            match from.poll_read(cx, self.buffer.free())? {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(bytes) => {
                    self.buffer.filled(bytes);
                    self.buffer.pass(bytes);
                }
                Poll::Pending => return Ok(moved),
            }
            moved = true;
        }
    }
}
