//! A body that comes in frames of HTTP/2, read as the bytes of a body of HTTP/1.

use super::{Carried, broken};
use bytes::{Buf, Bytes};
use h2::RecvStream;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

/// Frames are taken one at a time, and the sender is given room for more only once a frame's bytes are read.
#[derive(Debug)]
pub(super) struct Inbound {
    stream: RecvStream,
    carried: Carried,
    /// At hand, in order: at most one frame of data with its framing.
    pieces: VecDeque<Piece>,
    ended: bool,
}

#[derive(Debug)]
enum Piece {
    Framing(Bytes),
    Data(Bytes),
}

impl Inbound {
    /// `first` comes before the body.
    pub(super) fn new(stream: RecvStream, carried: Carried, first: Bytes) -> Inbound {
        let ended = carried == Carried::Nothing;
        let pieces = VecDeque::from_iter((!first.is_empty()).then_some(Piece::Framing(first)));
        Inbound { stream, carried, pieces, ended }
    }

    /// How many bytes were read; 0 at the end of the body.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = 0;
        loop {
            read += self.take(&mut into[read..])?;
            if read == into.len() || self.ended {
                return Poll::Ready(Ok(read));
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(())) => {}
                // What went wrong is said again when it is asked for again.
                Poll::Ready(Err(_)) | Poll::Pending if read > 0 => return Poll::Ready(Ok(read)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Copies what is at hand.
    fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < into.len()
            && let Some(piece) = self.pieces.front_mut()
        {
            let (Piece::Framing(bytes) | Piece::Data(bytes)) = piece;
            let count = bytes.len().min(into.len() - taken);
            bytes.copy_to_slice(&mut into[taken..taken + count]);
            taken += count;
            let is_empty = bytes.is_empty();
            if matches!(piece, Piece::Data(_)) {
                self.stream.flow_control().release_capacity(count).map_err(broken)?;
            }
            if is_empty {
                self.pieces.pop_front();
            }
        }
        Ok(taken)
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let chunks = self.carried == Carried::Chunks;
        match ready!(self.stream.poll_data(cx)) {
            Some(data) => {
                let data = data.map_err(broken)?;
                if data.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                if chunks {
                    let size = format!("{:x}\r\n", data.len());
                    self.pieces.push_back(Piece::Framing(size.into()));
                }
                self.pieces.push_back(Piece::Data(data));
                if chunks {
                    self.pieces.push_back(Piece::Framing(Bytes::from_static(b"\r\n")));
                }
            }
            None => {
                let trailers = ready!(self.stream.poll_trailers(cx)).map_err(broken)?;
                self.ended = true;
                if chunks {
                    let mut end = b"0\r\n".to_vec();
                    super::text::fields(&mut end, trailers.iter().flatten());
                    end.extend_from_slice(b"\r\n");
                    self.pieces.push_back(Piece::Framing(end.into()));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
