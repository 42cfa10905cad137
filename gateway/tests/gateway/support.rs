//! A gateway on ports of its own, an upstream that does as it is told, and a client that sees every byte.

use gateway::server::{Options, Running, start};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes a hundredth of it; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(within(PATIENCE, is_so), "waited in vain until {what}");
}

/// Whether something becomes so in a while.
pub fn within(bound: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + bound;
    while !is_so() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// The head of a message.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub first_line: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// None at the end of the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut head = Head::default();
        if reader.read_line(&mut head.first_line)? == 0 {
            return Ok(None);
        }
        head.first_line.truncate(head.first_line.trim_end().len());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => head.fields.push((name.to_lowercase(), value.trim().into())),
                None => return Ok(Some(head)),
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn body(&self, reader: &mut impl BufRead, to_the_end: bool) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.get("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size)?;
                let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                let start = body.len();
                body.resize(start + size, 0);
                reader.read_exact(&mut body[start..])?;
                // The end of the chunk, or of the trailers.
                let mut line = String::new();
                while reader.read_line(&mut line)? > 2 && size == 0 {
                    line.clear();
                }
                if size == 0 {
                    return Ok(body);
                }
            }
        } else if let Some(length) = self.get("content-length") {
            body.resize(length.parse().map_err(io::Error::other)?, 0);
            reader.read_exact(&mut body)?;
        } else if to_the_end {
            reader.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

/// What an upstream does with its connection after a request.
pub enum Then {
    Keep,
    Close,
}

/// One request at an upstream.
pub struct Request<'a> {
    pub head: &'a Head,
    reader: &'a mut BufReader<TcpStream>,
}

impl Request<'_> {
    pub fn body(&mut self) -> Vec<u8> {
        self.head.body(self.reader, false).expect("a request body")
    }

    pub fn reader(&mut self) -> &mut BufReader<TcpStream> {
        self.reader
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub fn reply(&mut self, status: u16, fields: &str, body: &[u8]) -> Then {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
        let mut stream = self.reader.get_ref();
        match stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)) {
            Ok(()) => Then::Keep,
            Err(_) => Then::Close,
        }
    }
}

/// A server whose answers are a closure's.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Head>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn start(answer: impl Fn(Request<'_>) -> Then + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let answer = Arc::new(answer);
        let upstream = Upstream { address, seen: seen.clone(), connections: connections.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                // Else what is written in two pieces waits for an acknowledgement in between, 40 ms.
                let _ = stream.set_nodelay(true);
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Ok(Some(head)) = Head::read(&mut reader) {
                        seen.lock().expect("a list").push(head.clone());
                        if let Then::Close = answer(Request { head: &head, reader: &mut reader }) {
                            return;
                        }
                    }
                });
            }
        });
        upstream
    }

    /// Answers everything with 200 and a name.
    pub fn named(name: &'static str) -> Upstream {
        Upstream::start(move |mut request| match request.head.body(request.reader, false) {
            Ok(_) => request.reply(200, "", name.as_bytes()),
            // Its client or the gateway broke off.
            Err(_) => Then::Close,
        })
    }

    pub fn seen(&self) -> Vec<Head> {
        self.seen.lock().expect("a list").clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// As a table of the configuration, with more keys if need be.
    pub fn table(&self, name: &str, more: &str) -> String {
        format!("[[upstream]]\nname = \"{name}\"\naddresses = [\"{}\"]\n{more}\n", self.address)
    }
}

/// A port where nobody listens: bound once, so that it is nobody else's, and never listened on.
pub fn dead_address() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let address = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    (socket, address)
}

pub fn route(name: &str, prefix: &str, upstream: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nprefix = \"{prefix}\"\nupstream = \"{upstream}\"\n{more}\n")
}

/// A gateway in this process, with a file of its own.
pub struct Gateway {
    running: Option<Running>,
    pub listen: SocketAddr,
    pub listen_tls: Option<SocketAddr>,
    admin: SocketAddr,
    /// More of the `[server]` table.
    server: String,
    folder: tempfile::TempDir,
}

impl Gateway {
    pub fn start(tables: &str) -> Gateway {
        Gateway::start_with("", tables)
    }

    /// `server` is more of the `[server]` table.
    pub fn start_with(server: &str, tables: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, whole(server, tables)).expect("a file");
        let running = start(&Options { config, ..Options::default() }).expect("a gateway");
        let admin = running.admin.expect("an admin listener");
        let (listen, listen_tls) = (running.listen, running.listen_tls);
        Gateway { listen, listen_tls, admin, server: server.into(), running: Some(running), folder }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Writes other tables and returns when the gateway has looked at them.
    pub fn change(&self, tables: &str) {
        self.changed(|| std::fs::write(self.config(), whole(&self.server, tables)).expect("a file"));
    }

    /// The same for any change that the gateway is to notice when it reads its files again.
    pub fn changed(&self, change: impl FnOnce()) {
        let reloads = || {
            let metrics = self.metrics();
            let count = |name: &str| self.metric_in(&metrics, name).expect("a metric");
            count("gateway_config_reloads_total{outcome=\"taken\"}")
                + count("gateway_config_reloads_total{outcome=\"refused\"}")
        };
        let before = reloads();
        change();
        self.running.as_ref().expect("a gateway").reload();
        until("the gateway has read its file", || reloads() > before);
    }

    pub fn client(&self) -> Client {
        Client::connect(self.listen)
    }

    pub fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    pub fn admin(&self, path: &str) -> Response {
        Client::connect(self.admin).get(path)
    }

    pub fn metrics(&self) -> String {
        self.admin("/metrics").text()
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metric_in(&self.metrics(), name)
    }

    /// Waits until a counter has a value: a request is counted when its answer has gone, which its client may
    /// see first.
    #[track_caller]
    pub fn metric_becomes(&self, name: &str, value: f64) {
        until(&format!("{name} is {value}"), || self.metric(name) == Some(value));
    }

    pub fn breaker_state(&self, name: &str, upstream: &Upstream) -> Option<f64> {
        let address = upstream.address;
        self.metric(&format!("gateway_breaker_state{{upstream=\"{name}\",address=\"{address}\"}}"))
    }

    fn metric_in(&self, metrics: &str, name: &str) -> Option<f64> {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    pub fn stop(mut self) {
        self.running.take().expect("a gateway").stop();
    }
}

fn whole(server: &str, tables: &str) -> String {
    let io = match std::env::var("GATEWAY_TEST_IO") {
        Ok(io) if !server.contains("io = ") => format!("io = \"{io}\"\n"),
        _ => String::new(),
    };
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nthreads = 2\n{io}{server}\n{tables}"
    )
}

/// One connection to the gateway.
pub struct Client {
    pub reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Client { reader: BufReader::new(stream) }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n"))
    }

    pub fn ask(&mut self, raw: &str) -> Response {
        self.send(raw.as_bytes());
        self.response(raw.starts_with("HEAD"))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("a gateway that reads");
    }

    pub fn response(&mut self, is_head: bool) -> Response {
        let head = self.head();
        let status = head.first_line.split(' ').nth(1).expect("a status").parse().expect("a number");
        let body = match is_head || status == 204 {
            true => Vec::new(),
            false => head.body(&mut self.reader, true).expect("a body"),
        };
        Response { status, head, body }
    }

    pub fn head(&mut self) -> Head {
        Head::read(&mut self.reader).expect("a head").expect("a response")
    }

    /// True once the gateway has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0) | Err(_))
    }
}
