//! What the data plane does its I/O through: connections, and what carries HTTP/1 over them.
//!
//! Everything is a poll without an allocation, so another backend has to offer these few calls and no more.

use crate::http2::{Asked, Served};
use crate::ring::{Ring, Ringed};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::has_budget_remaining;

/// A connection to a client or an upstream.
#[derive(Debug)]
pub enum Wire {
    Tcp(Tcp),
    Ringed(Ringed),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

/// A connection over TCP that remembers who waits to read from it.
///
/// A task is polled for the sake of one of its connections, and asks the other whether something has come. To be noted
/// down again for what it is noted down for already would cost a lock each time.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    /// The address of the task that is noted down to be woken, as its waker has it; 0 if none is known to be. As long as
    /// it is noted down, its memory is not another's.
    awaited_by: usize,
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

impl Tcp {
    /// Whether nothing has come, as far as the event loop knows; costs no system call.
    fn is_quiet(&self) -> bool {
        self.stream.try_io(Interest::READABLE, || Ok(())).is_err()
    }
}

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Tcp {
        Tcp { stream, awaited_by: 0 }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let task = cx.waker().data().addr();
        if task == this.awaited_by && task != 0 && this.is_quiet() {
            return Poll::Pending;
        }
        // A task that has used up its turn is polled again at once, and was not noted down.
        let is_noted = has_budget_remaining();
        let polled = Pin::new(&mut this.stream).poll_read(cx, into);
        this.awaited_by = if polled.is_pending() && is_noted { task } else { 0 };
        polled
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Wire {
    /// Through the ring, where there is one.
    pub fn tcp(stream: TcpStream, ring: Option<&Rc<Ring>>) -> io::Result<Wire> {
        let Some(ring) = ring else { return Ok(Wire::Tcp(stream.into())) };
        match ring.adopt(stream.into_std()?) {
            Ok(ringed) => Ok(Wire::Ringed(ringed)),
            Err(stream) => Ok(Wire::Tcp(TcpStream::from_std(stream)?.into())),
        }
    }

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
            Wire::Ringed($stream) => $call,
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
        if let Stream::Wire(Wire::Tcp(tcp)) = self
            && tcp.is_quiet()
        {
            return true;
        }
        if let Stream::Wire(Wire::Ringed(ringed)) = self {
            return ringed.is_quiet();
        }
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_read(&mut cx, &mut [0]).is_pending()
    }

    /// Watches a connection that is to be kept, where that has to be begun. False if it cannot be kept.
    pub fn is_watched(&mut self) -> bool {
        match self {
            Stream::Wire(Wire::Ringed(ringed)) => ringed.is_quiet(),
            _ => true,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }

        /// Lets the event loop go on until it was woken, for a minute at most.
        async fn come(&self) {
            let until = tokio::time::Instant::now() + Duration::from_secs(60);
            while self.times() == 0 && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(self.times(), 1);
        }
    }

    fn on_a_connection<F: Future>(test: impl FnOnce(Stream, TcpStream) -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            let ours =
                TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
            let (theirs, _) = listener.accept().await.expect("a connection");
            test(Stream::Wire(Wire::Tcp(ours.into())), theirs).await
        })
    }

    fn read(stream: &mut Stream, by: &Arc<Woken>) -> Poll<usize> {
        let waker = Waker::from(by.clone());
        let mut into = [0; 16];
        stream.poll_read(&mut Context::from_waker(&waker), &mut into).map(|read| read.expect("no error"))
    }

    #[test]
    fn a_task_that_asks_again_and_again_is_woken_each_time() {
        on_a_connection(|mut ours, mut theirs| async move {
            for _ in 0..3 {
                let task = Arc::new(Woken::default());
                for _ in 0..3 {
                    assert!(read(&mut ours, &task).is_pending());
                }
                theirs.write_all(b"hello").await.expect("room");
                task.come().await;
                assert_eq!(read(&mut ours, &task), Poll::Ready(5));
                assert!(read(&mut ours, &task).is_pending());
            }
        });
    }

    #[test]
    fn the_task_that_asked_last_is_woken() {
        on_a_connection(|mut ours, mut theirs| async move {
            let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
            assert!(read(&mut ours, &first).is_pending());
            assert!(ours.is_quiet());
            assert!(read(&mut ours, &second).is_pending());
            theirs.write_all(b"hello").await.expect("room");
            second.come().await;
            assert_eq!(first.times(), 0);
            assert!(!ours.is_quiet());
            drop(theirs);
            // To find out took a byte.
            assert_eq!(read(&mut ours, &second), Poll::Ready(4));
        });
    }

    #[test]
    fn a_task_that_has_used_up_its_turn_is_woken_all_the_same() {
        on_a_connection(|mut ours, mut theirs| async move {
            let task = Arc::new(Woken::default());
            std::future::poll_fn(|cx| {
                while has_budget_remaining() {
                    let _ = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
                assert!(read(&mut ours, &task).is_pending());
                Poll::Ready(())
            })
            .await;
            // It was told to come again at once.
            task.come().await;
            task.0.store(0, Ordering::Relaxed);
            assert!(read(&mut ours, &task).is_pending());
            theirs.write_all(b"hello").await.expect("room");
            task.come().await;
            assert_eq!(read(&mut ours, &task), Poll::Ready(5));
        });
    }
}
