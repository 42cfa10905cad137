//! Profiles of a gateway by its admin listener, while it serves.

use crate::process::Process;
use crate::support::*;
use flate2::read::GzDecoder;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// A gateway in a process of its own, since a profile is of a process, and its upstream.
struct Profiled {
    process: Process,
    _shop: Upstream,
    _folder: tempfile::TempDir,
}

impl Profiled {
    fn start(server: &str) -> Profiled {
        let shop = Upstream::named("shop");
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("gateway.toml");
        let head =
            format!("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nthreads = 1\n{server}\n");
        let tables = [head, shop.table("shop", ""), route("all", "/", "shop", "")].concat();
        std::fs::write(&config, tables).expect("a file");
        let process = Process::start(&["--config", config.to_str().expect("a path")]);
        Profiled { process, _shop: shop, _folder: folder }
    }

    fn admin(&self) -> SocketAddr {
        self.process.admin.expect("an admin listener")
    }

    fn ask(&self, path: &str) -> Response {
        Client::connect(self.admin()).get(path)
    }

    /// Asks while the gateway has requests to serve.
    fn ask_under_load(&self, path: &str) -> Response {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = Client::connect(self.process.listen);
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/").text(), "shop");
                }
            });
            let answer = self.ask(path);
            done.store(true, Ordering::Relaxed);
            answer
        })
    }
}

/// What is in a profile, as text: names among what stands between them.
fn unpacked(answer: &Response) -> String {
    let mut bytes = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut bytes).expect("gzip");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn cpu_time_is_told_by_functions_while_requests_go_on() {
    let gateway = Profiled::start("");
    // On a busy machine a thread may get less than a sample's worth of CPU time in a second, and more in a longer one.
    let named = |path: &str, text: fn(&Response) -> String| {
        let found = [1, 2, 4, 8, 16, 32, 60].iter().any(|seconds| {
            let text = text(&gateway.ask_under_load(&format!("{path}?seconds={seconds}")));
            ["gateway::worker::run", "gateway::proxy::"].iter().any(|name| text.contains(name))
        });
        assert!(found, "{path} names what serves");
    };
    named("/debug/pprof/flamegraph", |answer| {
        assert!([200, 404].contains(&answer.status), "{}", answer.text());
        assert!(answer.status != 200 || answer.head.get("content-type") == Some("image/svg+xml"));
        answer.text()
    });
    named("/debug/pprof/profile", |answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = unpacked(answer);
        assert!(["samples", "nanoseconds", "cpu"].iter().all(|word| text.contains(word)), "{text}");
        text
    });
}

#[test]
fn what_is_allocated_is_told_by_functions() {
    let gateway = Profiled::start("");
    // Each connection allocates a few kilobytes, of which every 512th or so is looked at.
    until("allocations are told with who made them", || {
        for _ in 0..200 {
            assert_eq!(Client::connect(gateway.process.listen).get("/").text(), "shop");
        }
        let answer = gateway.ask("/debug/pprof/heap");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = unpacked(&answer);
        assert!(["inuse_space", "alloc_objects", "bytes"].iter().all(|word| text.contains(word)), "{text}");
        text.contains("gateway::") && !text.contains("gateway::profile::heap::choose")
    });
}

#[test]
fn profiles_have_bounds_and_can_be_forbidden() {
    let gateway = Profiled::start("");
    let index = gateway.ask("/debug/pprof/");
    assert!(index.status == 200 && index.text().contains("/debug/pprof/heap"), "{}", index.text());
    for bad in ["profile?seconds=0", "profile?seconds=61", "flamegraph?seconds=x", "profile?seconds=-1"] {
        assert_eq!(gateway.ask(&format!("/debug/pprof/{bad}")).status, 400, "{bad}");
    }
    assert_eq!(gateway.ask("/debug/pprof/goroutine").status, 404);
    let mut client = Client::connect(gateway.admin());
    let posted = client.ask("POST /debug/pprof/profile HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    assert_eq!((posted.status, posted.head.get("allow")), (405, Some("GET")));

    // One at a time; who goes away makes room.
    let mut first = Client::connect(gateway.admin());
    first.send(b"GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut busy = None;
    until("the first is being made", || {
        let answer = gateway.ask("/debug/pprof/heap");
        busy = (answer.status == 409).then(|| answer.head.get("retry-after").map(str::to_owned));
        busy.is_some()
    });
    let seconds = busy.flatten().and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=61).contains(&seconds)), "{seconds:?}");
    drop(first);
    until("there is room again", || gateway.ask("/debug/pprof/heap").status == 200);

    let closed = Profiled::start("profiling = false");
    let refused = closed.ask("/debug/pprof/profile?seconds=1");
    assert!(refused.status == 403 && refused.text().contains("server.profiling"), "{}", refused.text());
}

#[test]
fn a_program_with_another_allocator_says_so() {
    // This one: the tests' own.
    let gateway = Gateway::start("");
    until("nobody else makes a profile", || {
        let answer = gateway.admin("/debug/pprof/heap");
        assert!(answer.status == 409 || (answer.status == 501 && answer.text().contains("allocator")));
        answer.status == 501
    });
    gateway.stop();
}
