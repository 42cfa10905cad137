//! TLS through the door: certificates by name, protocols, sessions, clients' certificates, and reloads.

use crate::support::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned, SupportedProtocolVersion, version,
};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/certificates").join(name)
}

fn pem(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).expect("a certificate")
}

/// A table of the configuration.
fn certificate(hosts: &str, name: &str) -> String {
    let (chain, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
    format!(
        "[[server.tls.certificate]]\nhosts = [{hosts}]\nchain = \"{}\"\nkey = \"{}\"\n",
        chain.display(),
        key.display()
    )
}

fn tls(more: &str, certificates: &[String]) -> String {
    format!("[server.tls]\nlisten = \"127.0.0.1:0\"\n{more}\n{}", certificates.concat())
}

fn shop_tls() -> String {
    tls("", &[certificate("\"shop.example\"", "shop")])
}

fn tables(upstream: &Upstream) -> String {
    [upstream.table("shop", ""), route("all", "/", "shop", "")].concat()
}

/// How a client goes about it.
struct Asking<'a> {
    versions: &'a [&'static SupportedProtocolVersion],
    protocols: &'a [&'a str],
    /// Its own certificate.
    shows: Option<&'a str>,
}

const PLAINLY: Asking<'_> = Asking { versions: &[&version::TLS13], protocols: &[], shows: None };

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client(asking: &Asking<'_>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pem("authority.pem")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(asking.versions).expect("versions");
    let builder = builder.with_root_certificates(roots);
    let mut config = match asking.shows {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).expect("a key");
            let chain = vec![pem(&format!("{name}.pem"))];
            builder.with_client_auth_cert(chain, key).expect("a client's certificate")
        }
    };
    config.alpn_protocols = asking.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Takes any certificate, to see which is shown.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection in TLS.
struct Secure {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Secure {
    fn connect(gateway: &Gateway, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Secure> {
        let stream =
            TcpStream::connect(gateway.listen_tls.expect("a listener for TLS")).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(config.clone(), name).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Secure { reader: BufReader::new(stream) })
    }

    fn get(&mut self, path: &str) -> std::io::Result<Response> {
        let ask = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        self.reader.get_mut().write_all(ask.as_bytes())?;
        self.response()
    }

    fn response(&mut self) -> std::io::Result<Response> {
        let head = Head::read(&mut self.reader)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let body = head.body(&mut self.reader, true)?;
        let status = head.first_line[9..12].parse().expect("a status");
        Ok(Response { status, head, body })
    }

    fn connection(&self) -> &ClientConnection {
        &self.reader.get_ref().conn
    }

    fn is_resumed(&self) -> bool {
        self.connection().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn shown(&self) -> CertificateDer<'static> {
        self.connection().peer_certificates().expect("certificates")[0].clone().into_owned()
    }
}

#[test]
fn requests_in_tls_are_answered_and_the_upstream_is_told() {
    let shop = Upstream::start(|mut request| {
        let body = request.body();
        request.reply(200, "", &body)
    });
    let gateway = Gateway::start_with(&shop_tls(), &tables(&shop));
    for versions in [&[&version::TLS13], &[&version::TLS12]] {
        let config = client(&Asking { versions, ..PLAINLY });
        let mut secure = Secure::connect(&gateway, &config, "shop.example").expect("a connection");
        assert_eq!(secure.get("/a").expect("an answer").status, 200);
        assert_eq!(secure.get("/%zz").expect("an answer").status, 400);
        // More than TLS and all sockets on the way hold.
        let body: Vec<u8> = (0..4_000_000_u32).map(|n| (n / 251) as u8).collect();
        let head = format!("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {}\r\n\r\n", body.len());
        secure.reader.get_mut().write_all(&[head.as_bytes(), &body].concat()).expect("a gateway that reads");
        assert!(secure.response().expect("an answer").body == body);
    }
    let seen = &shop.seen()[0];
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(gateway.get("/plain").status, 200, "the other listener goes on beside it");
    assert_eq!(shop.seen().last().and_then(|seen| seen.get("x-forwarded-proto")), Some("http"));
    gateway.metric_becomes("gateway_tls_handshakes_total{outcome=\"done\"}", 2.0);
    gateway.stop();
}

#[test]
fn the_certificate_is_the_names() {
    let shop = Upstream::named("shop");
    let certificates = [
        certificate("\"shop.example\"", "shop"),
        certificate("\"*.shop.example\"", "wild"),
        certificate("\"*\"", "renewed"),
    ];
    let gateway = Gateway::start_with(&tls("", &certificates), &tables(&shop));
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider())));
    let config = Arc::new(builder.with_no_client_auth());
    for (name, expect) in [
        ("shop.example", "shop.pem"),
        ("SHOP.example", "shop.pem"),
        ("a.shop.example", "wild.pem"),
        ("a.b.shop.example", "renewed.pem"),
        ("other.example", "renewed.pem"),
        // Names nobody.
        ("127.0.0.1", "renewed.pem"),
    ] {
        let secure = Secure::connect(&gateway, &config, name).expect("a connection");
        assert_eq!(secure.shown(), pem(expect), "{name}");
    }
    gateway.stop();
    let gateway = Gateway::start_with(&shop_tls(), &tables(&shop));
    assert!(Secure::connect(&gateway, &config, "other.example").is_err(), "there is none for it");
    gateway.metric_becomes("gateway_tls_handshakes_total{outcome=\"failed\"}", 1.0);
    gateway.stop();
}

#[test]
fn the_protocol_is_agreed_on() {
    let shop = Upstream::named("shop");
    let agreed = |gateway: &Gateway, protocols: &[&str]| {
        let config = client(&Asking { protocols, ..PLAINLY });
        let secure = Secure::connect(gateway, &config, "shop.example").ok()?;
        Some(secure.connection().alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()))
    };
    let some = |name: &str| Some(Some(name.to_owned()));
    let gateway = Gateway::start_with(&shop_tls(), &tables(&shop));
    assert_eq!(agreed(&gateway, &["http/1.1", "h2"]), some("h2"));
    assert_eq!(agreed(&gateway, &["http/1.1"]), some("http/1.1"));
    assert_eq!(agreed(&gateway, &[]), Some(None));
    assert_eq!(agreed(&gateway, &["spdy/3"]), None);
    gateway.stop();
    let gateway = Gateway::start_with(&format!("http2 = false\n{}", shop_tls()), &tables(&shop));
    assert_eq!(agreed(&gateway, &["http/1.1", "h2"]), some("http/1.1"));
    gateway.stop();
}

#[test]
fn sessions_are_resumed_also_after_a_reload() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start_with(&shop_tls(), &tables(&shop));
    for versions in [&[&version::TLS13], &[&version::TLS12]] {
        let config = client(&Asking { versions, ..PLAINLY });
        let is_resumed = || {
            let mut secure = Secure::connect(&gateway, &config, "shop.example").expect("a connection");
            // What it is resumed with may come behind the handshake.
            assert_eq!(secure.get("/").expect("an answer").status, 200);
            secure.is_resumed()
        };
        assert!(!is_resumed());
        assert!(is_resumed());
        gateway.change(&[tables(&shop), route("more", &format!("/{}", versions.len()), "shop", "")].concat());
        gateway.change(&tables(&shop));
        assert!(is_resumed());
    }
    gateway.stop();
}

#[test]
fn clients_show_certificates_where_they_are_asked_to() {
    let shop = Upstream::named("shop");
    let certificates = [certificate("\"shop.example\"", "shop")];
    let asks = |more: &str| {
        let ca = format!("client_ca = \"{}\"\n{more}", file("authority.pem").display());
        Gateway::start_with(&tls(&ca, &certificates), &tables(&shop))
    };
    // In TLS 1.3 a client learns only behind its handshake that it was refused.
    let is_served = |gateway: &Gateway, shows: Option<&str>| {
        let versions: [&[_]; 2] = [&[&version::TLS13], &[&version::TLS12]];
        let served = versions.map(|versions| {
            let config = client(&Asking { versions, shows, ..PLAINLY });
            let secure = Secure::connect(gateway, &config, "shop.example");
            secure.and_then(|mut secure| secure.get("/")).is_ok_and(|answer| answer.status == 200)
        });
        assert_eq!(served[0], served[1]);
        served[0]
    };
    let gateway = asks("");
    assert!(is_served(&gateway, Some("client")));
    assert!(!is_served(&gateway, Some("strange-client")));
    assert!(!is_served(&gateway, None));
    gateway.stop();
    let gateway = asks("client_auth = \"optional\"");
    assert!(is_served(&gateway, Some("client")));
    assert!(!is_served(&gateway, Some("strange-client")));
    assert!(is_served(&gateway, None));
    gateway.stop();
}

#[test]
fn a_session_does_not_outlive_what_was_asked_of_its_client() {
    let shop = Upstream::named("shop");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("clients.pem");
    std::fs::copy(file("authority.pem"), &ca).expect("a copy");
    let more = format!("client_ca = \"{}\"", ca.display());
    let server = tls(&more, &[certificate("\"shop.example\"", "shop")]);
    let gateway = Gateway::start_with(&server, &tables(&shop));
    let config = client(&Asking { shows: Some("client"), ..PLAINLY });
    let ask = || {
        let mut secure = Secure::connect(&gateway, &config, "shop.example").ok()?;
        secure.get("/").ok()?;
        Some(secure.is_resumed())
    };
    assert_eq!((ask(), ask()), (Some(false), Some(true)));
    gateway.changed(|| {
        std::fs::copy(file("stranger.pem"), &ca).expect("a copy");
    });
    assert_eq!(ask(), None, "what it showed then counts no more");
    gateway.stop();
}

#[test]
fn certificates_are_renewed_without_a_break() {
    let shop = Upstream::named("shop");
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let copy = |from: &str, to: &str| {
        std::fs::copy(file(from), place(to)).expect("a copy");
    };
    copy("shop.pem", "live.pem");
    copy("shop.key", "live.key");
    let (chain, key) = (place("live.pem"), place("live.key"));
    let table = format!(
        "[[server.tls.certificate]]\nhosts = [\"shop.example\"]\nchain = \"{}\"\nkey = \"{}\"\n",
        chain.display(),
        key.display()
    );
    let gateway = Gateway::start_with(&tls("", &[table]), &tables(&shop));
    let config = client(&PLAINLY);
    let connect = || Secure::connect(&gateway, &config, "shop.example").expect("a connection");
    let mut from_before = connect();
    assert_eq!(from_before.get("/").expect("an answer").status, 200);
    // One of the two files alone makes no sense; what is in force stays.
    gateway.changed(|| copy("renewed.pem", "live.pem"));
    assert_eq!(connect().shown(), pem("shop.pem"));
    // Perhaps twice: a look may have come while half of the file was there.
    let refused = || gateway.metric("gateway_config_reloads_total{outcome=\"refused\"}");
    until("it is refused", || refused().is_some_and(|times| times >= 1.0));
    // Noticed without being told, and without a change of the configuration.
    copy("renewed.key", "live.key");
    until("the renewed certificate is shown", || connect().shown() == pem("renewed.pem"));
    assert_eq!(from_before.get("/").expect("an answer").status, 200, "it keeps what it began with");
    gateway.stop();
}

#[test]
fn handshakes_that_lead_nowhere_end() {
    let shop = Upstream::named("shop");
    let server = format!("{}[server.timeouts]\ntls_handshake_ms = 200", shop_tls());
    let gateway = Gateway::start_with(&server, &tables(&shop));
    let connect = || Client::connect(gateway.listen_tls.expect("a listener for TLS"));
    assert!(connect().is_closed(), "nothing was said");
    gateway.metric_becomes("gateway_tls_handshakes_total{outcome=\"timeout\"}", 1.0);
    gateway.stop();
    let gateway = Gateway::start_with(&shop_tls(), &tables(&shop));
    let mut plain = Client::connect(gateway.listen_tls.expect("a listener for TLS"));
    plain.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = Vec::new();
    let _ = plain.reader.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "it is not HTTP that is spoken there");
    gateway.metric_becomes("gateway_tls_handshakes_total{outcome=\"failed\"}", 1.0);
    gateway.stop();
}

#[test]
fn the_end_of_a_session_is_told() {
    let shop = Upstream::named("shop");
    let gateway = Gateway::start_with(&shop_tls(), &tables(&shop));
    let mut secure = Secure::connect(&gateway, &client(&PLAINLY), "shop.example").expect("a connection");
    let ask = b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
    secure.reader.get_mut().write_all(ask).expect("a gateway that reads");
    assert_eq!(secure.response().expect("an answer").text(), "shop");
    // An end without a word would be an error here.
    assert_eq!(secure.reader.read(&mut [0]).expect("a farewell"), 0);
    gateway.stop();
}

/// A server in TLS that shows a certificate, asks for its client's, and answers each request with what it saw.
fn secure_upstream() -> std::net::SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(pem("authority.pem")).expect("an authority");
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder =
        builder.with_client_cert_verifier(clients.allow_unauthenticated().build().expect("a verifier"));
    let key = PrivateKeyDer::from_pem_file(file("shop.key")).expect("a key");
    let mut config = builder.with_single_cert(vec![pem("shop.pem")], key).expect("a certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            std::thread::spawn(move || {
                let mut reader = BufReader::new(StreamOwned::new(connection, stream));
                while let Ok(Some(head)) = Head::read(&mut reader) {
                    let connection = &reader.get_ref().conn;
                    let own =
                        connection.peer_certificates().is_some_and(|chain| chain[0] == pem("client.pem"));
                    let name = connection.server_name().unwrap_or("-");
                    let text = format!("{name} {own} {}", head.first_line);
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                    if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn towards(address: std::net::SocketAddr, ca: &str, more: &str) -> String {
    let tls = format!("tls = {{ ca = \"{}\"{more} }}", file(ca).display());
    let upstream = format!("[[upstream]]\nname = \"u\"\naddresses = [\"{address}\"]\n{tls}\n");
    [upstream, route("all", "/", "u", "")].concat()
}

#[test]
fn upstreams_are_spoken_to_in_tls() {
    let address = secure_upstream();
    let name = ", server_name = \"shop.example\"";
    let gateway = Gateway::start(&towards(address, "authority.pem", name));
    let mut client = gateway.client();
    assert_eq!(client.get("/a").text(), "shop.example false GET /a HTTP/1.1");
    assert_eq!(client.get("/b").text(), "shop.example false GET /b HTTP/1.1");
    let connections = "gateway_upstream_connections_total{upstream=\"u\"}";
    assert_eq!(gateway.metric(connections), Some(1.0), "it is kept as any other");
    let own =
        format!(", chain = \"{}\", key = \"{}\"", file("client.pem").display(), file("client.key").display());
    gateway.change(&towards(address, "authority.pem", &format!("{name}{own}")));
    assert_eq!(client.get("/c").text(), "shop.example true GET /c HTTP/1.1", "over another connection");
    gateway.stop();
}

#[test]
fn upstreams_that_are_not_who_they_should_be_are_not_asked() {
    let address = secure_upstream();
    for (ca, more) in [
        ("stranger.pem", ", server_name = \"shop.example\""),
        ("authority.pem", ", server_name = \"other.example\""),
        // The address itself, which the certificate is not for.
        ("authority.pem", ""),
    ] {
        let gateway = Gateway::start(&towards(address, ca, more));
        let answer = gateway.get("/");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (502, "no understanding with the upstream in TLS")
        );
        gateway.stop();
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let timeouts = "[server.timeouts]\nconnect_ms = 300";
    let gateway = Gateway::start_with(timeouts, &towards(address, "authority.pem", ""));
    assert_eq!(gateway.get("/").status, 504);
    gateway.metric_becomes("gateway_timeouts_total{phase=\"upstream_tls\"}", 1.0);
    gateway.stop();
}

#[test]
fn faults_of_the_files_are_named_with_their_place() {
    let check = |certificate: &str, more: &str, expect: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["shop.pem", "shop.key", "wild.key", "authority.pem"] {
            std::fs::copy(file(name), folder.path().join(name)).expect("a copy");
        }
        std::fs::write(folder.path().join("empty"), "").expect("a file");
        let config = folder.path().join("gateway.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[server.tls]\nlisten = \"127.0.0.1:0\"\n{more}\n\
             [[server.tls.certificate]]\n{certificate}\n"
        );
        std::fs::write(&config, text).expect("a file");
        let options = gateway::server::Options { config, ..Default::default() };
        let error = gateway::reload::Source::open(&options).map(|_| ()).expect_err(expect).to_string();
        assert!(error.contains(&format!("gateway.toml:{expect}")), "{error}\n  not  {expect}");
    };
    let whole = "hosts = [\"shop.example\"]\nchain = \"shop.pem\"\nkey = \"shop.key\"";
    let with = |from: &str, to: &str| whole.replace(from, to);
    check(&with("\"shop.pem\"", "\"none\""), "", "8:9: `none` cannot be read: ");
    check(&with("\"shop.pem\"", "\"empty\""), "", "8:9: `empty` has no certificate in PEM");
    check(&with("\"shop.key\"", "\"empty\""), "", "9:7: `empty` has no private key in PEM");
    check(&with("\"shop.key\"", "\"wild.key\""), "", "9:7: `wild.key` does not belong to the certificate");
    check(
        &with("\"shop.example\"", "\"*.shop.example\""),
        "",
        "8:9: `shop.pem` has a certificate that is not for `*.shop.example`",
    );
    check(whole, "client_ca = \"empty\"", "5:13: `empty` has no certificate in PEM");
    check(whole, "client_auth = \"required\"", "5:15: needs `client_ca`");
}
