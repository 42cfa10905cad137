//! TLS of the file, to clients and to upstreams, checked value by value; what the files that it names hold is looked at when
//! they are loaded.

use super::check::{Checked, Checker};
use super::spanned::Spanned;
use super::*;
use crate::route::HostPattern;
use std::collections::HashSet;

/// Their files are looked at once a second.
const CERTIFICATES_MAX: usize = 1000;
/// Of one certificate.
const HOSTS_MAX: usize = 1000;

impl Checker<'_> {
    pub(super) fn tls(&self, spanned: &Spanned<file::Tls>) -> Checked<Tls> {
        let tls = spanned.get_ref();
        if tls.certificates.is_empty() {
            return Err(self.error(spanned, "needs a `[[server.tls.certificate]]`"));
        }
        if let Some(more) = tls.certificates.get(CERTIFICATES_MAX) {
            return Err(self.error(more, format!("more than {CERTIFICATES_MAX} certificates")));
        }
        let mut known = HashSet::new();
        let mut certificates = Vec::with_capacity(tls.certificates.len());
        for certificate in &tls.certificates {
            certificates.push(self.certificate(certificate.get_ref(), &mut known)?);
        }
        Ok(Tls { listen: tls.listen, certificates, clients: self.clients(tls)?, place: self.place(spanned) })
    }

    fn certificate(
        &self,
        certificate: &file::Certificate,
        known: &mut HashSet<HostPattern>,
    ) -> Checked<Certificate> {
        let count = certificate.hosts.get_ref().len();
        if count == 0 || count > HOSTS_MAX {
            return Err(self.error(&certificate.hosts, format!("must list 1 to {HOSTS_MAX} names, or `*`")));
        }
        let mut hosts = Vec::with_capacity(count);
        for host in certificate.hosts.get_ref() {
            let pattern = self.host(host)?;
            let is_address = matches!(&pattern, HostPattern::Exact(name) if name.parse::<std::net::Ipv4Addr>().is_ok() || name.starts_with('['));
            if is_address {
                return Err(self.error(host, "no client names an address; write `*`"));
            }
            if !known.insert(pattern.clone()) {
                return Err(self.error(host, format!("a second certificate for `{}`", host.get_ref())));
            }
            hosts.push(pattern);
        }
        Ok(Certificate { hosts, chain: self.file(&certificate.chain), key: self.file(&certificate.key) })
    }

    fn clients(&self, tls: &file::Tls) -> Checked<Option<TlsClients>> {
        let auth = match &tls.client_auth {
            None => ClientAuth::Required,
            Some(auth) => match auth.get_ref().as_str() {
                "required" => ClientAuth::Required,
                "optional" => ClientAuth::Optional,
                _ => return Err(self.error(auth, "must be \"required\" or \"optional\"")),
            },
        };
        match (&tls.client_ca, &tls.client_auth) {
            (Some(ca), _) => Ok(Some(TlsClients { ca: self.file(ca), auth })),
            (None, Some(auth)) => Err(self.error(auth, "needs `client_ca`")),
            (None, None) => Ok(None),
        }
    }

    fn file(&self, path: &Spanned<PathBuf>) -> PlacedPath {
        PlacedPath { path: path.get_ref().clone(), place: self.place(path) }
    }

    pub(super) fn upstream_tls(
        &self,
        spanned: &Spanned<file::UpstreamTls>,
        addresses: &[Address],
    ) -> Checked<UpstreamTls> {
        let tls = spanned.get_ref();
        let server_name = match &tls.server_name {
            Some(name) => match self.host(name)? {
                HostPattern::Exact(name) => Some(name),
                _ => return Err(self.error(name, "must be one name, or an address")),
            },
            None => None,
        };
        if addresses.iter().any(|address| matches!(address, Address::Unix(_))) {
            return Err(self.error(spanned, "is not for `unix:` addresses, which no network lies before"));
        }
        let own = match (&tls.chain, &tls.key) {
            (Some(chain), Some(key)) => Some(OwnCertificate { chain: self.file(chain), key: self.file(key) }),
            (Some(stray), None) | (None, Some(stray)) => {
                return Err(self.error(stray, "`chain` and `key` need each other"));
            }
            (None, None) => None,
        };
        Ok(UpstreamTls { ca: self.file(&tls.ca), server_name, own, place: self.place(spanned) })
    }
}
