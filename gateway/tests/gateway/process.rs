//! The binary: its command line, its signals, its access log.

use crate::support::*;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_gateway");

fn scenario() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/proxy.toml")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("the binary")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A gateway in a process of its own, ended at the end of the test.
pub struct Process {
    child: Child,
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Process {
        let mut child =
            Command::new(BINARY).args(arguments).stderr(Stdio::piped()).spawn().expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("listening")).expect("a line that says where it listens");
        let address = |of: &str| {
            line.split(of).nth(1).and_then(|rest| rest.split([' ', '"']).find(|word| !word.is_empty()))
        };
        let listen = address("listen=").expect("an address").parse().expect("an address");
        // "off" is none.
        let admin = address("admin=").and_then(|address| address.parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        Process { child, listen, admin }
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: a small system may have no program of that name.
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_scenario_serves_as_the_load_suite_starts_it() {
    let shop = Upstream::named("shop");
    let (config, upstream) = (scenario(), shop.address.to_string());
    let config = config.to_str().expect("a path");
    let direct = ["--config", config, "--listen", "127.0.0.1:0", "--upstream", &upstream];
    let named = [&["run"], &direct[..]].concat();
    for arguments in [&direct[..], &named[..]] {
        let mut process = Process::start(arguments);
        let mut client = Client::connect(process.listen);
        assert_eq!(client.get("/readyz").status, 200);
        assert_eq!(client.get("/api/v1/users/12345/orders").text(), "shop");
        process.signal("TERM");
        assert!(process.child.wait().expect("an end").success());
    }
}

#[test]
fn signals_reload_and_stop_and_every_request_is_logged() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let folder = tempfile::tempdir().expect("a folder");
    let (config, log) = (folder.path().join("gateway.toml"), folder.path().join("access.log"));
    let write = |upstream: &Upstream| {
        let head = "[server]\nlisten = \"127.0.0.1:0\"\nthreads = 1\n";
        let access_log = format!("[access_log]\noutput = \"file\"\nfile = \"{}\"\n", log.display());
        let tables = [upstream.table("shop", ""), route("all", "/in", "shop", "")].concat();
        std::fs::write(&config, [head, &access_log, &tables].concat()).expect("a file");
    };
    write(&one);
    let mut process = Process::start(&["--config", config.to_str().expect("a path")]);
    let mut client = Client::connect(process.listen);
    assert_eq!(client.get("/in/a").text(), "one");
    write(&two);
    process.signal("HUP");
    until("the file is read", || client.get("/in/b").text() == "two");
    assert_eq!(client.get("/out?c=d").status, 404);
    process.signal("TERM");
    assert!(process.child.wait().expect("an end").success());
    let lines = std::fs::read_to_string(&log).expect("a log");
    let first = lines.lines().next().expect("a line");
    for part in [
        "\"client\":\"127.0.0.1\"",
        "\"method\":\"GET\"",
        "\"target\":\"/in/a\"",
        "\"route\":\"all\"",
        "\"upstream\":\"shop\"",
        "\"status\":200",
        "\"body_bytes\":3",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    let last = lines.lines().last().expect("a line");
    assert!(last.contains("\"status\":404") && last.contains("\"reason\":\"no route\""), "{last}");
    assert!(last.contains("\"target\":\"/out?c=d\""), "{last}");
}

#[test]
fn check_points_at_the_fault() {
    let scenario = run(&["check", scenario().to_str().expect("a path")]);
    assert!(scenario.status.success(), "{}", stderr(&scenario));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("bad.toml");
    std::fs::write(&config, "[server]\nlisten = \"127.0.0.1:0\"\nthreds = 2\n").expect("a file");
    let bad = run(&["check", config.to_str().expect("a path")]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(stderr(&bad).contains("bad.toml:3:1: unknown field `threds`"), "{}", stderr(&bad));
    let missing = run(&["--config", "/nonexistent.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("cannot open /nonexistent.toml"), "{}", stderr(&missing));
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = run(&["--config", scenario().to_str().expect("a path"), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&format!("cannot listen on {address}: another program listens there")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_command_line_explains_itself() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("gateway check gateway.toml"));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["--listen", "x"]).status.code(), Some(2));
}
