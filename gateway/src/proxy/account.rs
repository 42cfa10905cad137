//! What a request cost and how it ended, accounted exactly once: when its response is gone.

use super::Client;
use crate::access_log::Entry;
use crate::headers::X_REQUEST_ID;
use crate::route::RouteId;
use crate::worker::{View, Worker};
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Uri, request};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Of a client that was gone before there was a status: what nginx made customary.
const CLIENT_WENT_AWAY: u16 = 499;

pub struct Account {
    worker: Rc<Worker>,
    view: Rc<View>,
    pub started: Instant,
    pub route: Option<RouteId>,
    /// 0 until there is a response.
    pub status: u16,
    pub body_bytes: u64,
    pub reason: Option<&'static str>,
    pub is_head: bool,
    /// Only while there is an access log.
    logged: Option<Box<Logged>>,
}

/// What a log line says of the request as it came.
struct Logged {
    client: Rc<Client>,
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
}

impl Account {
    pub fn open(worker: &Rc<Worker>, view: &Rc<View>, client: &Rc<Client>, head: &request::Parts) -> Account {
        let logged = worker.shared.log.is_on().then(|| {
            Box::new(Logged {
                client: client.clone(),
                method: head.method.clone(),
                uri: head.uri.clone(),
                host: head.headers.get(HOST).cloned(),
                request_id: head.headers.get(X_REQUEST_ID).cloned(),
            })
        });
        Account {
            worker: worker.clone(),
            view: view.clone(),
            started: Instant::now(),
            route: None,
            status: 0,
            body_bytes: 0,
            reason: None,
            is_head: head.method == Method::HEAD,
            logged,
        }
    }

    /// When the whole request has to be over.
    pub fn deadline(&self) -> Instant {
        self.started + self.view.active().server.timeouts.request
    }

    /// The id as the upstream gets it.
    pub fn set_request_id(&mut self, headers: &HeaderMap) {
        if let Some(logged) = &mut self.logged {
            logged.request_id = headers.get(X_REQUEST_ID).cloned();
        }
    }

    fn log(&self, logged: &Logged, status: u16) {
        let active = self.view.active();
        if status < 500 && !self.worker.is_sampled(active.access_log.sample_one_in) {
            return;
        }
        let route = self.route.map(|id| &active.routes[id.index()]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = self.worker.shared.log.write(&Entry {
            time_ms: now.as_millis(),
            client: logged.client.ip_text.as_bytes(),
            method: logged.method.as_str(),
            host: logged.host.as_ref().map_or(b"", HeaderValue::as_bytes),
            target: logged.uri.path_and_query().map_or("", |target| target.as_str()),
            request_id: logged.request_id.as_ref().map_or(b"", HeaderValue::as_bytes),
            route: route.map(|route| route.name.as_str()),
            upstream: route.map(|route| active.upstreams[route.upstream].name.as_str()),
            status,
            duration_us: self.started.elapsed().as_micros(),
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
            self.reason = Some("the client went away");
        }
        let counts = match self.route {
            Some(id) => &*self.view.active().routes[id.index()].counts,
            None => &self.worker.shared.metrics.unrouted,
        };
        counts.of(self.worker.thread).request(self.status, self.started.elapsed());
        if let Some(logged) = &self.logged {
            self.log(logged, self.status);
        }
    }
}
