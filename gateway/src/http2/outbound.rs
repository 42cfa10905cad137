//! The bytes of a body of HTTP/1, written as frames of HTTP/2.

use super::{Carried, broken, text};
use crate::http1::chunked::{Chunked, Piece};
use bytes::Bytes;
use h2::SendStream;
use std::io;
use std::task::{Context, Poll, ready};

/// Where the frames of one stream go.
pub(super) trait Sink {
    /// Room for at least one byte and for no more than `wanted`.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>>;
    /// Sends no more than there was room for; `ends` says that nothing follows.
    fn send(&mut self, data: &[u8], ends: bool) -> io::Result<()>;
    /// Ends the stream with a trailer section, which may be empty but for its empty line.
    fn end(&mut self, section: &[u8]) -> io::Result<()>;
}

/// Writes no more than the other side has room for.
#[derive(Debug)]
pub(super) struct Outbound<S> {
    sink: S,
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

impl<S: Sink> Outbound<S> {
    /// A body that is carried as nothing has ended with its head.
    pub(super) fn new(sink: S, carried: Carried) -> Outbound<S> {
        let state = match carried {
            Carried::Nothing => State::Done,
            Carried::Length(left) => State::Length(left),
            Carried::Chunks => State::Chunks { chunked: Chunked::default(), owed: 0 },
        };
        Outbound { sink, state }
    }

    /// Whether all of it has been handed over.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many of the bytes were taken: at least one.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Done => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            State::Length(left) => {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let room = ready!(self.sink.poll_room(cx, wanted))?;
                *left -= room as u64;
                let ends = *left == 0;
                self.sink.send(&bytes[..room], ends)?;
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
                let room = match self.sink.poll_room(cx, (*owed).min(rest.len())) {
                    Poll::Ready(room) => room?,
                    Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                    Poll::Pending => return Poll::Pending,
                };
                self.sink.send(&rest[..room], false)?;
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
                    self.sink.end(&rest[..count])?;
                    self.state = State::Done;
                    return Poll::Ready(Ok(taken + count));
                }
            }
        }
    }
}

impl Sink for SendStream<Bytes> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.reserve_capacity(wanted);
        loop {
            let room = self.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn send(&mut self, data: &[u8], ends: bool) -> io::Result<()> {
        self.send_data(Bytes::copy_from_slice(data), ends).map_err(broken)
    }

    fn end(&mut self, section: &[u8]) -> io::Result<()> {
        let trailers = text::read_fields(section)?;
        match trailers.is_empty() {
            true => self.send_data(Bytes::new(), true),
            false => self.send_trailers(trailers),
        }
        .map_err(broken)
    }
}
