//! Where notices may go: an address that leads to private networks or to this machine is refused, unless the owner
//! allows it. A name is looked at when it has been resolved, so that one that changes its mind leads nowhere either.

use hyper_util::client::legacy::connect::dns::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use url::{Host, Url};

/// Longer than any address that a service hands out.
const URL_MAX_BYTES: usize = 2_000;

/// Why an address is none that is told, in words.
pub fn check(text: &str, private: bool) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is no URL")?;
    if text.len() > URL_MAX_BYTES {
        return Err("it is too long");
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with https:// or http://");
    }
    let leads_inside = match url.host() {
        None => return Err("it has no host"),
        Some(Host::Ipv4(ip)) => !is_public(ip.into()),
        Some(Host::Ipv6(ip)) => !is_public(ip.into()),
        // A name is looked at when it is resolved.
        Some(Host::Domain(_)) => false,
    };
    if leads_inside && !private {
        return Err("it leads into a private network; PACELINE_NOTIFY_PRIVATE allows that");
    }
    Ok(url)
}

/// Whether an address is one of the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// By IANA's registry of special addresses.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        // This network; shared by a provider's customers; protocols' own; benchmarks; reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // What carries an IPv4 address leads where that leads.
    if let Some(inner) = carried(ip) {
        return is_public_v4(inner);
    }
    let [first, second, ..] = ip.segments();
    // Of the rest only 2000::/3 is given out; in it, documentation and protocols' own are not the internet.
    let special = (first, second) == (0x2001, 0x0db8) || (first == 0x2001 && second < 0x0200);
    first & 0xe000 == 0x2000 && !special
}

/// IPv4 mapped, translated (64:ff9b::/96) and tunnelled (2002::/16).
fn carried(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = ip.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(of(high, low)),
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Resolves names to addresses that may be told.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Whether private ones may.
    pub private: bool,
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|at| private || is_public(at.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::other(format!("{name} leads into a private network, or nowhere")));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for public in
            ["1.1.1.1", "140.82.112.3", "100.128.0.1", "2606:4700::1", "::ffff:1.1.1.1", "2002:101:101::"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.7",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fec0::1",
            "2001::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn an_address_is_http_and_leads_outside() {
        assert!(check("https://chat.example/hooks/1", false).is_ok());
        for bad in [
            "",
            "chat.example",
            "file:///etc/passwd",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert!(check("http://127.0.0.1:8080/", true).is_ok());
        assert!(check(&format!("https://a.example/{}", "x".repeat(URL_MAX_BYTES)), true).is_err());
    }

    #[tokio::test]
    async fn a_name_of_this_machine_leads_nowhere() {
        use std::str::FromStr;
        use tower::Service;
        let name = || Name::from_str("localhost").unwrap();
        assert!(Resolver { private: false }.call(name()).await.is_err());
        assert!(Resolver { private: true }.call(name()).await.is_ok_and(|mut found| found.next().is_some()));
    }
}
