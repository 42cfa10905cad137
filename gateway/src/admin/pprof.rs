//! `/debug/pprof/`: profiles of this process over HTTP, by the paths and forms that Go's programs have them under.

use super::{asked, text};
use crate::profile::{self, Form, Refused};
use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::spawn_blocking;

pub(super) const UNDER: &str = "/debug/pprof/";
/// A longer profile tells little more, and is kept in memory.
pub(super) const SECONDS_MAX: u64 = 60;
/// As in Go.
const SECONDS: u64 = 30;

const INDEX: &str = "\
/debug/pprof/profile?seconds=30      CPU time of all threads, for `go tool pprof` (profile.pb.gz)
/debug/pprof/flamegraph?seconds=30   the same as a picture (SVG)
/debug/pprof/heap                    what is allocated now and was ever, by stacks, sampled (profile.pb.gz)

seconds is 1 to 60. One profile is made at a time; who asks meanwhile gets 409 and Retry-After.
";
/// The picture's own script and style are within it; nothing else is to run or be fetched.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";

/// Answers a request for a path below [`UNDER`].
pub(super) async fn answer<B>(request: &Request<B>, is_allowed: bool) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    if !is_allowed {
        return text(StatusCode::FORBIDDEN, "`server.profiling` is false in the configuration\n".into());
    }
    let form = match request.uri().path().strip_prefix(UNDER).unwrap_or_default() {
        "" => return text(StatusCode::OK, INDEX.into()),
        "heap" => return told(made(|_| profile::heap()).await, Form::Pprof, "heap.pb.gz"),
        "profile" => Form::Pprof,
        "flamegraph" => Form::Flame,
        _ => return text(StatusCode::NOT_FOUND, INDEX.into()),
    };
    let Some(seconds) = asked(request.uri().query(), "seconds", 1..=SECONDS_MAX, SECONDS) else {
        return text(StatusCode::BAD_REQUEST, format!("seconds is 1 to {SECONDS_MAX}\n"));
    };
    let length = Duration::from_secs(seconds);
    told(made(move |is_given_up| profile::cpu(length, form, is_given_up)).await, form, "profile.pb.gz")
}

/// Makes a profile on a thread of its own; dropped, it is given up.
async fn made<M>(make: M) -> Result<Vec<u8>, Refused>
where
    M: FnOnce(&AtomicBool) -> Result<Vec<u8>, Refused> + Send + 'static,
{
    struct GivenUp(Arc<AtomicBool>);
    impl Drop for GivenUp {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let given_up = GivenUp(Arc::default());
    let of_thread = given_up.0.clone();
    let made = spawn_blocking(move || make(&of_thread)).await;
    made.unwrap_or_else(|error| Err(Refused::Failed(error.into())))
}

fn told(made: Result<Vec<u8>, Refused>, form: Form, name: &str) -> Response<Full<Bytes>> {
    let refusal = match made {
        Ok(body) => {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            let headers = response.headers_mut();
            match form {
                Form::Flame => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
                    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
                }
                Form::Pprof => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                    if let Ok(place) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
                        headers.insert(CONTENT_DISPOSITION, place);
                    }
                }
            }
            return response;
        }
        Err(refusal) => refusal,
    };
    match refusal {
        Refused::Busy { seconds } => {
            let mut response = text(StatusCode::CONFLICT, "another profile is being made\n".into());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Refused::Never(why) => text(StatusCode::NOT_IMPLEMENTED, format!("{why}\n")),
        Refused::Nothing => {
            text(StatusCode::NOT_FOUND, "no thread used any CPU time worth a sample\n".into())
        }
        Refused::Failed(error) => {
            tracing::error!("a profile could not be made: {error:#}");
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n"))
        }
    }
}
