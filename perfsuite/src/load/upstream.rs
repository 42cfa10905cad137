//! `perfsuite upstream`: a cheap HTTP/1.1 server that answers every request with the same body, for proxies to sit in
//! front of. One thread, keep-alive, pipelining answered in order.

use super::faults::{Faults, FaultsArgs};
use super::framing::{Body, Malformed, body_of, closes};
use anyhow::Context;
use std::{net::SocketAddr, rc::Rc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// A larger body measures memory copies, and one buffer of it is kept.
const BODY_MAX_BYTES: usize = 64 << 20;
/// One request's head.
const HEAD_MAX_BYTES: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
const READ_BYTES: usize = 16 << 10;
/// Answers gathered before they are written: a pipelining client gets them in few writes, a hostile one no memory.
const WRITE_BYTES: usize = 256 << 10;
/// After a failed accept (no descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Answer every HTTP/1.1 request with the same body, for a proxy to sit in front of.
///
/// With faults it plays a server that is slow, broken or greedy. `GET /readyz` is always answered at once, with 200.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite upstream --listen 127.0.0.1:9000 --body-bytes 100000
  perfsuite upstream --listen 127.0.0.1:9000 --delay-us 2000            a slow one
  perfsuite upstream --listen 127.0.0.1:9000 --stall-ms 500 --stall-every 3000")]
pub struct UpstreamArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Size of each answer's body
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub body_bytes: usize,
    #[command(flatten)]
    pub faults: FaultsArgs,
}

/// Serves until the process is ended. An error when the address cannot be had.
pub fn run(args: &UpstreamArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.body_bytes <= BODY_MAX_BYTES, "--body-bytes is at most {BODY_MAX_BYTES}");
    args.faults.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(args.listen).await.with_context(|| {
            format!("cannot listen on {}: choose another address with --listen", args.listen)
        })?;
        serve(listener, args.body_bytes, &args.faults).await;
        Ok(())
    })
}

/// Answers on `listener` for ever. Must run inside a [`tokio::task::LocalSet`].
pub async fn serve(listener: TcpListener, body_bytes: usize, faults: &FaultsArgs) {
    let answers = Rc::new(Answers::new(body_bytes.min(BODY_MAX_BYTES), faults));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = answers.clone();
                tokio::task::spawn_local(async move {
                    let _ = converse(stream, &answers).await;
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The only answers there are, as bytes.
struct Answers {
    full: Vec<u8>,
    head_bytes: usize,
    faults: Faults,
}

/// The answer to the readiness probe, whatever is wrong otherwise.
const READY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

impl Answers {
    fn new(body_bytes: usize, faults: &FaultsArgs) -> Self {
        let status = faults.status_line();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {body_bytes}\r\n\r\n");
        let mut full = head.into_bytes();
        let head_bytes = full.len();
        full.resize(head_bytes + body_bytes, b'x');
        Self { full, head_bytes, faults: Faults::new(faults) }
    }
}

/// One request's head, as far as an answer depends on it.
struct Asked {
    head: bool,
    /// The readiness probe.
    ready: bool,
    closes: bool,
    body: Option<Body>,
    length: usize,
}

async fn converse(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kept: Vec<u8> = Vec::new();
    let mut read = vec![0; READ_BYTES];
    let mut out: Vec<u8> = Vec::new();
    // The body of the request that is being read through.
    let mut body: Option<Body> = None;
    loop {
        stream.readable().await?;
        let n = match stream.try_read(&mut read) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        };
        kept.extend_from_slice(&read[..n]);
        let mut at = 0;
        let mut last = false;
        while !last && at < kept.len() {
            if let Some(reading) = &mut body {
                match reading.feed(&kept[at..]) {
                    Ok(fed) => {
                        at += fed.consumed;
                        if !fed.done {
                            break;
                        }
                        body = None;
                        continue;
                    }
                    Err(Malformed) => {
                        out.extend_from_slice(BAD_REQUEST);
                        last = true;
                        continue;
                    }
                }
            }
            match parse(&kept[at..]) {
                Ok(None) => break,
                Ok(Some(asked)) => {
                    at += asked.length;
                    body = asked.body.filter(|b| *b != Body::Fixed(0));
                    last = asked.closes;
                    let bytes = match (asked.ready, asked.head) {
                        (true, _) => READY,
                        (_, true) => &answers.full[..answers.head_bytes],
                        _ => &answers.full[..],
                    };
                    if !asked.ready {
                        answers.faults.before_answer().await?;
                    }
                    out.extend_from_slice(bytes);
                    if out.len() >= WRITE_BYTES {
                        stream.write_all(&out).await?;
                        out.clear();
                    }
                }
                Err(Malformed) => {
                    out.extend_from_slice(BAD_REQUEST);
                    last = true;
                }
            }
        }
        kept.drain(..at);
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if last {
            return stream.shutdown().await;
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Asked>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes).map_err(|_| Malformed)? {
        httparse::Status::Partial if bytes.len() > HEAD_MAX_BYTES => Err(Malformed),
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(length) => Ok(Some(Asked {
            head: request.method == Some("HEAD"),
            ready: request.method == Some("GET") && request.path == Some("/readyz"),
            closes: closes(request.version.unwrap_or(0), request.headers),
            body: body_of(request.headers)?,
            length,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Sends `wire` in pieces and reads until the server closes.
    async fn talk(wire: &[u8], piece: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let local = tokio::task::LocalSet::new();
        local.spawn_local(async move { serve(listener, 3, &FaultsArgs::default()).await });
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for part in wire.chunks(piece) {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            let mut got = String::new();
            stream.read_to_string(&mut got).await.unwrap();
            got
        };
        local.run_until(client).await
    }

    #[tokio::test]
    async fn pipelined_requests_are_answered_in_order_and_then_closed() {
        let wire = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n\
            POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello\
            POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
            HEAD /d HTTP/1.1\r\nhost: x\r\n\r\n\
            GET /e HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        for piece in [1, 7, wire.len()] {
            let got = talk(wire, piece).await;
            assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 5, "pieces of {piece}: {got}");
            assert_eq!(got.matches("xxx").count(), 4, "pieces of {piece}: {got}");
            assert!(got.ends_with("xxx"));
        }
    }

    #[tokio::test]
    async fn nonsense_is_400_and_the_end() {
        let got = talk(b"not http at all\r\n\r\n", 100).await;
        assert!(got.starts_with("HTTP/1.1 400"), "{got}");
        let got = talk(b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 100).await;
        assert!(got.starts_with("HTTP/1.1 400"), "{got}");
    }
}
