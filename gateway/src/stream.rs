//! What the data plane does its I/O through: connections, and what carries HTTP/1 over them.
//!
//! Everything is a poll without an allocation, so another backend has to offer these few calls and no more.

use crate::http2::{Asked, Served};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection to a client or an upstream.
#[derive(Debug)]
pub enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

/// A stream of HTTP/1: a connection, or one stream of HTTP/2 that is translated both ways.
#[derive(Debug)]
pub enum Stream {
    Wire(Wire),
    /// A client's request.
    Served(Box<Served>),
    /// A request to an upstream.
    Asked(Box<Asked>),
}

impl Wire {
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The name that a client of TLS has asked for.
    pub fn server_name(&self) -> Option<&str> {
        #[cfg(feature = "tls")]
        if let Wire::Tls(stream) = self
            && let tokio_rustls::TlsStream::Server(stream) = &**stream
        {
            return stream.get_ref().1.server_name();
        }
        None
    }

    pub async fn connect_unix(path: &Path) -> io::Result<Wire> {
        UnixStream::connect(path).await.map(Wire::Unix)
    }
}

/// The same call for each kind of connection.
macro_rules! each {
    ($wire:expr, $stream:ident => $call:expr) => {
        match $wire {
            Wire::Tcp($stream) => $call,
            Wire::Unix($stream) => $call,
            #[cfg(feature = "tls")]
            Wire::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, into))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }
}

impl Stream {
    /// How many bytes came; 0 at the end, or where there was no room.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Wire(wire) => {
                let mut read = ReadBuf::new(into);
                ready!(Pin::new(wire).poll_read(cx, &mut read))?;
                Poll::Ready(Ok(read.filled().len()))
            }
            Stream::Served(served) => served.poll_read(into),
            Stream::Asked(asked) => asked.poll_read(cx, into),
        }
    }

    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Wire(wire) => Pin::new(wire).poll_write(cx, bytes),
            Stream::Served(served) => served.poll_write(cx, bytes),
            Stream::Asked(asked) => asked.poll_write(cx, bytes),
        }
    }

    /// Hands over what was written and is still held here, as TLS may hold some.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Wire(wire) => Pin::new(wire).poll_flush(cx),
            Stream::Served(_) | Stream::Asked(_) => Poll::Ready(Ok(())),
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Wire(wire) => Pin::new(wire).poll_shutdown(cx),
            Stream::Served(_) | Stream::Asked(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether a kept connection is still open and the other side has said nothing unasked. As long as
    /// nothing has happened to it since it was read last, this costs no system call.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_read(&mut cx, &mut [0]).is_pending()
    }

    /// Whether the upstream has said that it did nothing with the request.
    pub fn was_refused(&self) -> bool {
        matches!(self, Stream::Asked(asked) if asked.was_refused())
    }

    /// Ends a session of TLS in words, where that needs no waiting, so that its client knows that nothing was
    /// cut off.
    pub fn farewell(&mut self) {
        #[cfg(feature = "tls")]
        if let Stream::Wire(Wire::Tls(stream)) = self {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(stream).poll_shutdown(&mut cx);
        }
    }
}
