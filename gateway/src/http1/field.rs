//! The names of header fields that mean something to a proxy, and lists within their values.

/// What a field is to this hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Connection,
    ContentLength,
    Expect,
    Forwarded,
    GrpcTimeout,
    Host,
    /// Ends at this hop, whatever it says.
    HopByHop,
    RequestDeadline,
    TransferEncoding,
    Trailer,
    Upgrade,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRequestId,
    Other,
}

impl Known {
    /// By length first, so that most names cost one comparison of numbers.
    pub fn of(name: &str) -> Known {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("te") => Known::HopByHop,
            3 if is("via") => Known::Via,
            4 if is("host") => Known::Host,
            6 if is("expect") => Known::Expect,
            7 if is("upgrade") => Known::Upgrade,
            7 if is("trailer") => Known::Trailer,
            9 if is("forwarded") => Known::Forwarded,
            10 if is("connection") => Known::Connection,
            10 if is("keep-alive") => Known::HopByHop,
            12 if is("x-request-id") => Known::XRequestId,
            12 if is("grpc-timeout") => Known::GrpcTimeout,
            14 if is("content-length") => Known::ContentLength,
            15 if is("x-forwarded-for") => Known::XForwardedFor,
            16 if is("x-forwarded-host") => Known::XForwardedHost,
            16 if is("proxy-connection") => Known::HopByHop,
            17 if is("transfer-encoding") => Known::TransferEncoding,
            17 if is("x-forwarded-proto") => Known::XForwardedProto,
            18 if is("x-request-deadline") => Known::RequestDeadline,
            18 if is("proxy-authenticate") => Known::HopByHop,
            19 if is("proxy-authorization") => Known::HopByHop,
            _ => Known::Other,
        }
    }

    /// Whether this may stand in a trailer section (RFC 9110, section 6.5.1): what frames, routes or
    /// controls a message is of no use behind it, and a reader that merges it into the head is fooled.
    pub fn is_of_trailers(name: &str) -> bool {
        const NEVER: [&str; 12] = [
            "authorization",
            "cache-control",
            "content-encoding",
            "content-range",
            "content-type",
            "cookie",
            "max-forwards",
            "pragma",
            "range",
            "set-cookie",
            "age",
            "vary",
        ];
        Known::of(name) == Known::Other && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
    }
}

/// The members of a list (RFC 9110, section 5.6.1), empty ones left out.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// What the `Connection` fields of a message say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Other fields are named, which end at this hop too.
    pub names_more: bool,
}

impl Options {
    pub fn add(&mut self, value: &[u8]) {
        for option in members(value) {
            match () {
                () if option.eq_ignore_ascii_case(b"close") => self.close = true,
                () if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                () if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                () => self.names_more = true,
            }
        }
    }

    /// Whether the connection goes on after a message of this version (RFC 9112, section 9.3).
    pub fn persists(self, is_http_11: bool) -> bool {
        !self.close && (is_http_11 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Known::of("hOsT"), Known::Host);
        assert_eq!(Known::of("Content-Length"), Known::ContentLength);
        assert_eq!(Known::of("content_length"), Known::Other);
        assert_eq!(Known::of("TE"), Known::HopByHop);
        assert!(Known::is_of_trailers("grpc-status") && Known::is_of_trailers("x-sum"));
        for never in ["host", "content-length", "Transfer-Encoding", "connection", "Set-Cookie", "trailer"] {
            assert!(!Known::is_of_trailers(never), "{never}");
        }
    }

    #[test]
    fn options_are_read() {
        let mut options = Options::default();
        options.add(b" Keep-Alive ,, x-mine");
        assert!(options.keep_alive && options.names_more && !options.close && !options.upgrade);
        assert!(options.persists(false) && options.persists(true));
        options.add(b"close");
        assert!(!options.persists(true));
        assert!(!Options::default().persists(false));
    }
}
