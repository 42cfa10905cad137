//! The bytes of a body of HTTP/1, written as frames of HTTP/2.

use super::{Carried, broken, text};
use crate::http1::chunked::{Chunked, Piece};
use bytes::Bytes;
use h2::{Reason, SendStream};
use std::io;
use std::task::{Context, Poll, ready};

/// Writes no more than the other side has room for.
#[derive(Debug)]
pub(super) struct Outbound {
    stream: SendStream<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    /// `owed` bytes of data come next, which the chunks' reader has seen already.
    Chunks {
        chunked: Chunked,
        owed: usize,
    },
    Done,
}

impl Outbound {
    /// A body that is carried as nothing has ended with its head.
    pub(super) fn new(stream: SendStream<Bytes>, carried: Carried) -> Outbound {
        let state = match carried {
            Carried::Nothing => State::Done,
            Carried::Length(left) => State::Length(left),
            Carried::Chunks => State::Chunks { chunked: Chunked::default(), owed: 0 },
        };
        Outbound { stream, state }
    }

    /// Whether all of it has been handed over.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the other side wants no more of this stream.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.stream.poll_reset(cx).map(|reset| match reset {
            Ok(reason) => broken(reason.into()),
            Err(error) => broken(error),
        })
    }

    /// How many of the bytes were taken: at least one.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Done => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            State::Length(left) => {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let room = ready!(poll_room(&mut self.stream, cx, wanted))?;
                *left -= room as u64;
                let ends = *left == 0;
                self.stream.send_data(Bytes::copy_from_slice(&bytes[..room]), ends).map_err(broken)?;
                if ends {
                    self.state = State::Done;
                }
                Poll::Ready(Ok(room))
            }
            State::Chunks { .. } => self.poll_chunks(cx, bytes),
        }
    }

    fn poll_chunks(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let State::Chunks { chunked, owed } = &mut self.state else { return Poll::Ready(Ok(0)) };
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            if *owed > 0 && !rest.is_empty() {
                let room = match poll_room(&mut self.stream, cx, (*owed).min(rest.len())) {
                    Poll::Ready(room) => room?,
                    Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                    Poll::Pending => return Poll::Pending,
                };
                self.stream.send_data(Bytes::copy_from_slice(&rest[..room]), false).map_err(broken)?;
                *owed -= room;
                taken += room;
                continue;
            }
            match chunked.next(rest).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
                Piece::Need if taken > 0 => return Poll::Ready(Ok(taken)),
                // What is pending was judged, and is whole.
                Piece::Need => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Piece::Frame(count) | Piece::Extension(count) => taken += count,
                Piece::Data(count) => *owed = count,
                Piece::Trailers(count) => {
                    let trailers = text::read_fields(&rest[..count])?;
                    match trailers.is_empty() {
                        true => self.stream.send_data(Bytes::new(), true).map_err(broken)?,
                        false => self.stream.send_trailers(trailers).map_err(broken)?,
                    }
                    self.state = State::Done;
                    return Poll::Ready(Ok(taken + count));
                }
            }
        }
    }
}

/// Room for at least one byte and for no more than `wanted`.
fn poll_room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
    stream.reserve_capacity(wanted);
    loop {
        let room = stream.capacity();
        if room > 0 {
            return Poll::Ready(Ok(room.min(wanted)));
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}
