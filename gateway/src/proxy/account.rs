//! What a request cost and how it ended, accounted exactly once: when its response is gone.

use super::Client;
use crate::access_log::Entry;
use crate::http1::request::RequestHead;
use crate::route::RouteId;
use crate::spans::{Outcome, Span};
use crate::trace::Onward;
use crate::traffic::Asked;
use crate::worker::{View, Worker};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Of a client that was gone before there was a status: what nginx made customary.
const CLIENT_WENT_AWAY: u16 = 499;

pub struct Account {
    worker: Rc<Worker>,
    view: Rc<View>,
    pub started: Instant,
    ended: Option<Instant>,
    pub route: Option<RouteId>,
    /// The place in the configuration's list.
    pub upstream: Option<usize>,
    /// 0 until there is a response.
    pub status: u16,
    pub body_bytes: u64,
    pub reason: Option<&'static str>,
    pub is_head: bool,
    /// A call of gRPC, which wants an answer in its own words.
    pub is_grpc: bool,
    /// Only while there is an access log.
    logged: Option<Box<Logged>>,
    /// Only while somebody looks at the traffic.
    looked_at: Option<Box<LookedAt>>,
    /// Only of a request that is followed.
    span: Option<Box<Span>>,
}

/// What the traffic's profile says of the request as it came.
struct LookedAt {
    client: Rc<Client>,
    host: Box<str>,
    grpc_method: Option<Box<str>>,
    protocol: &'static str,
}

/// What a log line says of the request as it came.
struct Logged {
    client: Rc<Client>,
    method: Box<str>,
    target: Box<str>,
    host: Box<str>,
    request_id: Box<[u8]>,
    address: Option<Box<str>>,
}

impl Account {
    pub fn open(
        worker: &Rc<Worker>,
        view: &Rc<View>,
        client: &Rc<Client>,
        head: &RequestHead<'_, '_>,
    ) -> Account {
        let mut account = Account::open_unread(worker, view, client);
        account.is_head = head.method == "HEAD";
        account.is_grpc = head.method == "POST" && head.field("content-type").is_some_and(is_grpc);
        if worker.shared.traffic.is_on() {
            account.looked_at = Some(Box::new(LookedAt {
                client: client.clone(),
                host: head.host.unwrap_or_default().into(),
                grpc_method: account.is_grpc.then(|| head.path.into()),
                protocol: match (client.is_http2.get(), head.is_http_11) {
                    (true, _) => "HTTP/2",
                    (false, true) => "HTTP/1.1",
                    (false, false) => "HTTP/1.0",
                },
            }));
        }
        if let Some(tracing) = &view.active().tracing {
            account.span = Span::begin(tracing, head, client, || worker.chance());
        }
        if let Some(logged) = &mut account.logged {
            logged.method = head.method.into();
            logged.host = head.host.unwrap_or_default().into();
            logged.target = match head.query {
                Some(query) => [head.path, "?", query].concat().into(),
                None => head.path.into(),
            };
        }
        account
    }

    /// For a request of which nothing could be understood.
    pub fn open_unread(worker: &Rc<Worker>, view: &Rc<View>, client: &Rc<Client>) -> Account {
        let logged = worker.shared.log.is_on().then(|| {
            Box::new(Logged {
                client: client.clone(),
                method: "".into(),
                target: "".into(),
                host: "".into(),
                request_id: Box::default(),
                address: None,
            })
        });
        Account {
            worker: worker.clone(),
            view: view.clone(),
            started: Instant::now(),
            ended: None,
            route: None,
            upstream: None,
            status: 0,
            body_bytes: 0,
            reason: None,
            is_head: false,
            is_grpc: false,
            logged,
            looked_at: None,
            span: None,
        }
    }

    /// The configuration that the request is served under, to its end.
    pub fn view(&self) -> Rc<View> {
        self.view.clone()
    }

    /// What the upstream is told of the request's trace, if it is followed.
    pub fn traced(&self) -> Option<Onward<'_>> {
        self.span.as_deref().map(Span::onward)
    }

    /// The id as the upstream gets it.
    pub fn set_request_id(&mut self, id: &[u8]) {
        if let Some(logged) = &mut self.logged {
            logged.request_id = id.into();
        }
    }

    /// The instance that answered, or was asked last.
    pub fn set_address(&mut self, address: &crate::config::Address) {
        if let Some(logged) = &mut self.logged {
            logged.address = Some(address.to_string().into());
        }
        if let Some(span) = &mut self.span {
            span.address = Some(address.to_string().into());
        }
    }

    /// Ends the account at a time that is known already.
    pub fn close(mut self, now: Instant) {
        self.ended = Some(now);
    }

    fn count(&self, looked_at: &LookedAt) {
        let active = self.view.active();
        let names = [
            Some(looked_at.protocol),
            Some(&*looked_at.host),
            looked_at.client.sni.as_deref(),
            self.route.map(|id| active.routes[id.index()].name.as_str()),
            looked_at.grpc_method.as_deref(),
            self.upstream.map(|place| active.upstreams[place].name.as_str()),
        ];
        self.worker.shared.traffic.count(self.worker.thread, &Asked { names, answer_bytes: self.body_bytes });
    }

    fn follow(&self, mut span: Box<Span>, duration: Duration) {
        let active = self.view.active();
        span.end(Outcome {
            ended: SystemTime::now(),
            duration,
            status: self.status,
            body_bytes: self.body_bytes,
            route: self.route.map(|id| active.routes[id.index()].name.as_str().into()),
            upstream: self.upstream.map(|place| active.upstreams[place].name.as_str().into()),
            reason: self.reason,
        });
        if !self.worker.shared.spans.send(span) {
            self.worker.shared.metrics.spans.overflowed.add(1);
        }
    }

    fn log(&self, logged: &Logged, status: u16, duration_us: u128) {
        let active = self.view.active();
        if status < 500 && !self.worker.is_sampled(active.access_log.sample_one_in) {
            return;
        }
        let route = self.route.map(|id| &active.routes[id.index()]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = self.worker.shared.log.write(&Entry {
            time_ms: now.as_millis(),
            client: logged.client.ip_text.as_bytes(),
            method: &logged.method,
            host: logged.host.as_bytes(),
            target: &logged.target,
            request_id: &logged.request_id,
            route: route.map(|route| route.name.as_str()),
            upstream: self.upstream.map(|place| active.upstreams[place].name.as_str()),
            address: logged.address.as_deref(),
            status,
            duration_us,
            body_bytes: self.body_bytes,
            reason: self.reason,
        });
        if !written {
            self.worker.shared.metrics.log_lines_dropped.add(1);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.status == 0 {
            self.status = CLIENT_WENT_AWAY;
            self.reason.get_or_insert("the client went away");
        }
        let counts = match self.route {
            Some(id) => &*self.view.active().routes[id.index()].counts,
            None => &self.worker.shared.metrics.unrouted,
        };
        let duration = self.ended.unwrap_or_else(Instant::now).saturating_duration_since(self.started);
        counts.of(self.worker.thread).request(self.status, duration);
        if let Some(looked_at) = &self.looked_at {
            self.count(looked_at);
        }
        if let Some(span) = self.span.take() {
            self.follow(span, duration);
        }
        if let Some(logged) = &self.logged {
            self.log(logged, self.status, duration.as_micros());
        }
    }
}

/// `application/grpc`, perhaps with the coding of its messages behind it; not gRPC-Web, which is plain HTTP.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
