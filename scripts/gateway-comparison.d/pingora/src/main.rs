//! The smallest reverse proxy on Pingora that does what the others of the comparison do.

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;
use std::sync::atomic::{AtomicU64, Ordering};

struct Proxy {
    upstream: String,
    requests: AtomicU64,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_string());
        request.insert_header("x-forwarded-for", client.unwrap_or_default())?;
        request.insert_header("x-forwarded-proto", "http")?;
        let host = request.headers.get("host").cloned();
        if let Some(host) = host {
            request.insert_header("x-forwarded-host", host)?;
        }
        request.insert_header("via", "1.1 pingora")?;
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        request.insert_header("x-request-id", format!("{id:032x}"))?;
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut ()) -> Result<()> {
        response.insert_header("via", "1.1 pingora")
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().expect("an address to listen on");
    let upstream = arguments.next().expect("the upstream's address");
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Proxy { upstream, requests: AtomicU64::new(0) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
