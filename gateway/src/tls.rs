//! TLS for clients: certificates by the name that they ask for, swapped with the configuration. TLS to upstreams.
//!
//! A connection keeps what it began with, so a reload breaks none off. Sessions can be resumed after one too, as
//! long as what is asked of clients stays the same: a ticket stands for a certificate that was looked at then.

use crate::config::{self, Address, ClientAuth, Config, ConfigError, PlacedPath, Protocol};
use crate::proxy::Speaks;
use crate::route::HostPattern;
use crate::stream::Wire;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{
    ClientHello, ParsedCertificate, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Of one file; the bundle of all public authorities has 200 KB.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Sessions of TLS 1.2 that are kept here, for clients that take no tickets.
const SESSIONS_MAX: usize = 4096;
/// As ALPN names them (RFC 7301).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What the listener needs, ready for use.
pub struct Tls {
    server: Arc<ServerConfig>,
    /// Of what is asked of clients.
    clients: u64,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Reads the files that the configuration names, relative to `folder`. `before` hands its sessions on.
pub fn load(
    config: &config::Tls,
    folder: &Path,
    http2: bool,
    before: Option<&Tls>,
) -> Result<Tls, ConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let names = Names::load(config, folder, &provider)?;
    let refuse = |error: rustls::Error| config.place.error(format!("TLS cannot begin: {error}"));
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(refuse)?;
    let mut hasher = DefaultHasher::new();
    let builder = match &config.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let bytes = read(&clients.ca, folder)?;
            (&bytes, clients.auth == ClientAuth::Required).hash(&mut hasher);
            let roots = Arc::new(authorities(&clients.ca, &bytes)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match clients.auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| clients.ca.error(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let clients = hasher.finish();
    let mut server = builder.with_cert_resolver(Arc::new(names));
    let (tickets, sessions) = match before.filter(|before| before.clients == clients) {
        Some(before) => (before.server.ticketer.clone(), before.server.session_storage.clone()),
        None => new_sessions().map_err(refuse)?,
    };
    (server.ticketer, server.session_storage) = (tickets, sessions);
    if http2 {
        server.alpn_protocols.push(HTTP2.into());
    }
    server.alpn_protocols.push(HTTP1.into());
    Ok(Tls { server: Arc::new(server), clients })
}

type Sessions = (Arc<dyn ProducesTickets>, Arc<dyn StoresServerSessions>);

fn new_sessions() -> Result<Sessions, rustls::Error> {
    Ok((aws_lc_rs::Ticketer::new()?, ServerSessionMemoryCache::new(SESSIONS_MAX)))
}

/// The files that [`load`] and [`load_outward`] read.
pub fn files(config: &Config, folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    if let Some(tls) = &config.server.tls {
        all.extend(tls.certificates.iter().flat_map(|certificate| [&certificate.chain, &certificate.key]));
        all.extend(tls.clients.iter().map(|clients| &clients.ca));
    }
    for tls in config.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref()) {
        all.push(&tls.ca);
        all.extend(tls.own.iter().flat_map(|own| [&own.chain, &own.key]));
    }
    all.into_iter().map(|file| folder.join(&file.path)).collect()
}

/// How an upstream is spoken to in TLS.
pub struct Outward {
    client: Arc<ClientConfig>,
    /// In place of an address's own.
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for Outward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outward").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Reads the files that an upstream's table names.
pub fn load_outward(
    config: &config::UpstreamTls,
    protocol: Protocol,
    folder: &Path,
) -> Result<Outward, ConfigError> {
    let refuse = |error: rustls::Error| config.place.error(format!("TLS cannot begin: {error}"));
    let roots = authorities(&config.ca, &read(&config.ca, folder)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder =
        builder.with_safe_default_protocol_versions().map_err(refuse)?.with_root_certificates(roots);
    let mut client = match &config.own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = certificates(&own.chain, &read(&own.chain, folder)?)?;
            let private = private_key(&own.key, folder)?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| own.key.error(format!("has a key that cannot be used: {error}")))?
        }
    };
    client.alpn_protocols = vec![match protocol {
        Protocol::Http1 => HTTP1.into(),
        Protocol::Http2 => HTTP2.into(),
    }];
    let server_name = match &config.server_name {
        Some(name) => {
            let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            let valid = ServerName::try_from(bare);
            Some(valid.map_err(|_| config.place.error(format!("`{name}` is no name that TLS knows")))?)
        }
        None => None,
    };
    Ok(Outward { client: Arc::new(client), server_name })
}

/// Shakes hands with an upstream.
pub async fn connect(
    outward: &Outward,
    protocol: Protocol,
    address: &Address,
    stream: TcpStream,
) -> io::Result<Wire> {
    let name = match (&outward.server_name, address) {
        (Some(name), _) => name.clone(),
        (None, Address::Ip(address)) => ServerName::from(address.ip()),
        (None, Address::Name(name)) => {
            let host = name.rsplit_once(':').map_or(&**name, |(host, _)| host).to_owned();
            ServerName::try_from(host).map_err(io::Error::other)?
        }
        (None, Address::Unix(_)) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let connector = TlsConnector::from(outward.client.clone());
    let stream = connector.connect(name, stream).await?;
    if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
        return Err(io::Error::other("the upstream does not speak HTTP/2"));
    }
    Ok(Wire::Tls(Box::new(stream.into())))
}

/// Shakes hands with a client.
pub async fn accept(tls: &Tls, stream: TcpStream) -> io::Result<(Wire, Speaks)> {
    let stream = TlsAcceptor::from(tls.server.clone()).accept(stream).await?;
    let speaks = match stream.get_ref().1.alpn_protocol() {
        Some(protocol) if protocol == HTTP2 => Speaks::Http2,
        Some(_) => Speaks::Http1,
        None => Speaks::Unknown,
    };
    Ok((Wire::Tls(Box::new(stream.into())), speaks))
}

/// Certificates by the names that they are shown for.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// `*.example.com`, by what follows the first dot; that one label can be anything, and only one (RFC 6125).
    under: HashMap<String, Arc<CertifiedKey>>,
    any: Option<Arc<CertifiedKey>>,
}

impl Names {
    fn load(config: &config::Tls, folder: &Path, provider: &CryptoProvider) -> Result<Names, ConfigError> {
        let mut names = Names::default();
        for certificate in &config.certificates {
            let certified = Arc::new(certified(certificate, folder, provider)?);
            for host in &certificate.hosts {
                match host {
                    HostPattern::Exact(name) => drop(names.exact.insert(name.clone(), certified.clone())),
                    HostPattern::Under(name) => drop(names.under.insert(name.clone(), certified.clone())),
                    HostPattern::Any => names.any = Some(certified.clone()),
                }
            }
        }
        Ok(names)
    }

    fn of(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let named = name.as_deref().and_then(|name| {
            let parent = || name.split_once('.').and_then(|(_, parent)| self.under.get(parent));
            self.exact.get(name).or_else(parent)
        });
        named.or(self.any.as_ref())
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.of(hello.server_name()).cloned()
    }
}

fn certified(
    certificate: &config::Certificate,
    folder: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, ConfigError> {
    let (chain, key) = (&certificate.chain, &certificate.key);
    let certificates = certificates(chain, &read(chain, folder)?)?;
    let private = private_key(key, folder)?;
    let first = ParsedCertificate::try_from(&certificates[0])
        .map_err(|error| chain.error(format!("has a first certificate that cannot be used: {error}")))?;
    for host in &certificate.hosts {
        let (name, shown) = match host {
            HostPattern::Exact(name) => (name.clone(), name.clone()),
            HostPattern::Under(name) => (format!("any.{name}"), format!("*.{name}")),
            HostPattern::Any => continue,
        };
        let is_for = ServerName::try_from(name).is_ok_and(|name| verify_server_name(&first, &name).is_ok());
        if !is_for {
            return Err(chain.error(format!("has a certificate that is not for `{shown}`")));
        }
    }
    CertifiedKey::from_der(certificates, private, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => key.error("does not belong to the certificate"),
        error => key.error(format!("has a key that cannot be used: {error}")),
    })
}

fn private_key(file: &PlacedPath, folder: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_slice(&read(file, folder)?).map_err(|_| file.error("has no private key in PEM"))
}

/// At least one.
fn certificates(file: &PlacedPath, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(file.error("has no certificate in PEM")),
    }
}

fn authorities(file: &PlacedPath, bytes: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, bytes)? {
        roots
            .add(certificate)
            .map_err(|error| file.error(format!("has an authority that cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn read(file: &PlacedPath, folder: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let opened = File::open(folder.join(&file.path));
    match opened.and_then(|opened| opened.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 <= FILE_MAX_BYTES => Ok(bytes),
        Ok(_) => Err(file.error(format!("is longer than {FILE_MAX_BYTES} bytes"))),
        Err(error) => Err(file.error(format!("cannot be read: {error}"))),
    }
}
