//! Hostile pull requests, whole: each head tries what strangers' code would try, in a build script, a macro, a benchmark,
//! and in files that steer the tools. It fails, the evidence says as much as can be known, and nothing outlives the job.
//!
//! Loopback and local files only. Each case prints one line that `scripts/hostile-test` makes its table of.

use crate::measure::{Scene, scene};
use crate::repository::Repository;
use perfsuite::measure::measure_within;
use perfsuite::model::{Evidence, JobLimits, Side, Trust};
use perfsuite::observe::Unobserved;
use perfsuite::sandbox::{Preference, Sandbox};
use std::os::linux::net::SocketAddrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Enough for an honest visit on a busy machine; what hangs costs as much.
const PROCESS_LIMIT: Duration = Duration::from_secs(10);
/// Everything below the checkout and the target directory of so small a crate is some megabytes.
const DISK_BYTES: u64 = 192 << 20;
/// Three tiny crates on a machine that does ten things at once.
const BUILD_SECONDS: u64 = 300;
const SECRET: &str = "canary-5d41402abc4b2a76";

const MANIFEST: &str = r#"
[workspace]
members = ["macros"]

[package]
name = "fixture"
version = "0.1.0"
edition = "2021"

[dependencies]
macros = { path = "macros" }

[dev-dependencies]
criterion = { path = "criterion" }

[[bench]]
name = "work"
harness = false
"#;

const LOCK: &str = r#"
version = 4

[[package]]
name = "criterion"
version = "0.8.0"

[[package]]
name = "fixture"
version = "0.1.0"
dependencies = [
 "criterion",
 "macros",
]

[[package]]
name = "macros"
version = "0.1.0"
"#;

const BENCH: &str = r#"c.bench("one", || 100.0);"#;

/// What a hostile program must not reach, and would be noticed at.
struct Bait {
    home: tempfile::TempDir,
    port: u16,
    socket: String,
    reached: Arc<AtomicUsize>,
    process: Child,
}

impl Bait {
    fn laid() -> Bait {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("secret"), SECRET).unwrap();
        let reached = Arc::new(AtomicUsize::new(0));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let socket = format!("paceline-bait-{}-{port}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&socket).unwrap();
        let unix = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let (by_tcp, by_unix) = (reached.clone(), reached.clone());
        std::thread::spawn(move || count(tcp.incoming(), &by_tcp));
        std::thread::spawn(move || count(unix.incoming(), &by_unix));
        // Somebody else's process, with a secret in its environment and among its arguments.
        let process = Command::new("sleep")
            .args(["600"])
            .env("CANARY", format!("{SECRET}-process"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Bait { home, port, socket, reached, process }
    }

    /// The attack's source with its targets in it.
    fn attack(&self) -> String {
        include_str!("../fixtures/attack.rs")
            .replace("%SECRET%", SECRET)
            .replace("%HOME%", &self.home.path().to_string_lossy())
            .replace("%PORT%", &self.port.to_string())
            .replace("%SOCKET%", &self.socket)
            .replace("%PROCESS%", &self.process.id().to_string())
            .replace("%BEAT%", "/build/src/beat")
    }

    fn untouched(&mut self) {
        assert_eq!(self.reached.load(Ordering::SeqCst), 0, "somebody called");
        assert!(self.process.try_wait().unwrap().is_none(), "somebody killed a process of the host");
        let names: Vec<_> =
            std::fs::read_dir(self.home.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["secret"], "somebody wrote to the home directory");
        assert!(!Path::new("/var/tmp/planted").exists());
    }
}

/// Counts who calls, for ever.
fn count<T>(calls: impl Iterator<Item = T>, reached: &AtomicUsize) {
    for _ in calls {
        reached.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The honest base, whose build script and macro do nothing.
fn honest() -> Repository {
    let repository = Repository::with_benches(BENCH);
    repository.write("Cargo.toml", MANIFEST);
    repository.write("Cargo.lock", LOCK);
    repository.write("build.rs", "fn main() {}\n");
    repository.write("src/lib.rs", "macros::nothing!();\n");
    repository.write(
        "macros/Cargo.toml",
        "[package]\nname = \"macros\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\nproc-macro = true\n",
    );
    repository.write("macros/src/lib.rs", &macro_source("", ""));
    repository
}

fn macro_source(body: &str, attack: &str) -> String {
    format!(
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn nothing(_: TokenStream) -> TokenStream {{\n{body}\n\
         TokenStream::new() }}\n{attack}"
    )
}

/// One hostile head on the honest base, measured as a stranger's; `None`, and a line that says so, without walls.
struct Attempt {
    evidence: Evidence,
    bait: Bait,
    _scene: Scene,
}

fn attempt(case: &str, make_head: impl FnOnce(&Repository, &str)) -> Option<Attempt> {
    attempt_within(case, BUILD_SECONDS, make_head)
}

fn attempt_within(
    case: &str,
    build_seconds: u64,
    make_head: impl FnOnce(&Repository, &str),
) -> Option<Attempt> {
    let sandbox = Sandbox::detect(Preference::Auto).unwrap();
    if !sandbox.walled() {
        assert!(std::env::var_os("CI").is_none(), "no walls to test: {}", sandbox.describe());
        println!("skipped: {case}: no walls to test ({})", sandbox.describe());
        return None;
    }
    let mut bait = Bait::laid();
    let repository = honest();
    let base = repository.commit("base");
    make_head(&repository, &bait.attack());
    let head = repository.commit("head");
    let mut scene = scene(&repository, &base, &head, Preference::Auto);
    scene.job.spec.trust = Trust::Stranger;
    if let Some(cache) = std::env::var_os("PACELINE_HOSTILE_CACHE") {
        // Another user than the one that built the tests.
        scene.job.cache_dir = cache.into();
    }
    scene.job.spec.limits =
        JobLimits { disk_bytes: DISK_BYTES, measure_seconds: 60, build_seconds, ..JobLimits::default() };
    let evidence = measure_within(&scene.job, &Unobserved, PROCESS_LIMIT).unwrap();

    let text = serde_json::to_string(&evidence).unwrap();
    assert!(!text.contains("BREACH"), "{case}: {}", shown(&evidence));
    assert!(!text.contains(SECRET), "{case}: a secret came out");
    bait.untouched();
    nothing_lives(&scene.job.work_dir);
    still(&scene.job.work_dir);
    perfsuite::disk::remove_tree(&scene.job.work_dir).unwrap();
    println!("HOSTILE\t{case}\t{}", shown(&evidence));
    Some(Attempt { evidence, bait, _scene: scene })
}

/// No process is left that saw the job's files: those of the sandbox have them mounted.
fn nothing_lives(work: &Path) {
    let work = work.canonicalize().unwrap();
    let name = work.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let mounts = std::fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        assert!(!mounts.contains(&name), "{} outlived the job", entry.path().display());
    }
}

/// Nothing writes to the job's files any more.
fn still(work: &Path) {
    let beat = |directory: &str| std::fs::read(work.join(directory).join("beat")).unwrap_or_default();
    let before = (beat("src"), beat("old"));
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(before, (beat("src"), beat("old")), "something still writes");
}

/// What the report has to say of it, in one line.
fn shown(evidence: &Evidence) -> String {
    let builds = evidence.builds.iter().filter_map(|build| build.error.clone());
    let failures = evidence.failures.iter().map(|failure| failure.output.clone());
    let notes = evidence.environment.warnings.iter().cloned();
    let all = builds.chain(failures).chain(notes).collect::<Vec<_>>().join(" / ");
    let told = all.lines().filter(|line| !line.trim_start().starts_with("Compiling"));
    told.map(str::trim).collect::<Vec<_>>().join(" | ")
}

impl Attempt {
    fn head_error(&self) -> &str {
        let head = self.evidence.builds.iter().find(|build| build.side == Side::Head).unwrap();
        head.error.as_deref().unwrap_or_else(|| panic!("the head built: {}", shown(&self.evidence)))
    }

    fn has(&self, words: &[&str]) {
        let text = shown(&self.evidence);
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
    }
}

/// What every attack that runs sees, wherever it runs.
const HELD: &[&str] = &[
    "environment: without secrets",
    "/secret: NotFound",
    "/etc/shadow: NotFound",
    "/usr/planted: ReadOnlyFilesystem",
    "/etc/planted: ReadOnlyFilesystem",
    "processes: own ones only (-1)",
    "loopback: ConnectionRefused",
    "abstract socket: ConnectionRefused",
    "daemon: left behind",
];

#[test]
fn a_build_script() {
    let seen = attempt("build.rs", |repository, attack| {
        repository.write("build.rs", &format!("fn main() {{ panic!(\"{{}}\", attack::all()); }}\n{attack}"));
    });
    let Some(seen) = seen else { return };
    assert!(seen.head_error().contains("environment"), "{}", seen.head_error());
    seen.has(HELD);
}

#[test]
fn a_procedural_macro() {
    let seen = attempt("procedural macro", |repository, attack| {
        repository.write("macros/src/lib.rs", &macro_source("panic!(\"{}\", attack::all());", attack));
    });
    let Some(seen) = seen else { return };
    seen.head_error();
    seen.has(HELD);
}

#[test]
fn a_benchmark() {
    let seen = attempt("benchmark", |repository, attack| {
        repository.write_benches(r#"c.bench("one", || panic!("{}", attack::all()));"#);
        let bench = std::fs::read_to_string(repository.path().join("benches/work.rs")).unwrap();
        repository.write("benches/work.rs", &format!("{bench}\n{attack}"));
    });
    let Some(seen) = seen else { return };
    assert_eq!(seen.evidence.failures.len(), 1, "{}", shown(&seen.evidence));
    seen.has(HELD);
}

#[test]
fn cargo_configuration() {
    // A wrapper, a linker and a runner that each write to the home directory, which they do not see.
    let seen = attempt(".cargo/config.toml", |repository, attack| {
        let home = attack.split("read {place}").next().unwrap();
        let home = home.rsplit("let places = [\"").next().unwrap().split("/secret").next().unwrap();
        repository.write(
            ".cargo/config.toml",
            "[build]\nrustc-wrapper = \"/build/src/evil.sh\"\n[target.'cfg(all())']\n\
             linker = \"/build/src/evil.sh\"\nrunner = \"/build/src/evil.sh\"\n[env]\nPATH = \"/build/src\"\n",
        );
        let script = format!(
            "#!/bin/sh\necho x > {home}/planted && echo BREACH >&2\ncat {home}/secret >&2\n\
             echo evil ran as $0 in $(pwd) >&2\nexit 1\n"
        );
        repository.write("evil.sh", &script);
        use std::os::unix::fs::PermissionsExt;
        let path = repository.path().join("evil.sh");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    let Some(seen) = seen else { return };
    seen.head_error();
    seen.has(&["`build.rustc-wrapper`", "`target.*.runner`", "`target.*.linker`", "`env`", "in the sandbox"]);
}

#[test]
fn a_toolchain_of_its_own() {
    for (file, text, asked) in [
        ("rust-toolchain.toml", "[toolchain]\npath = '../../evil'\n", "path ../../evil"),
        ("rust-toolchain", "nightly-2020-01-01\n", "nightly-2020-01-01"),
    ] {
        let seen = attempt(file, |repository, _| repository.write(file, text));
        let Some(seen) = seen else { return };
        assert!(seen.head_error().contains(asked), "{}", seen.head_error());
    }
}

#[test]
fn links_and_submodules_that_lead_out() {
    let seen = attempt("link and submodule", |repository, attack| {
        let home = attack.split("/secret\"").next().unwrap().rsplit('"').next().unwrap().to_owned();
        std::os::unix::fs::symlink(format!("{home}/secret"), repository.path().join("link")).unwrap();
        std::os::unix::fs::symlink("../../../../../etc", repository.path().join("src/up")).unwrap();
        repository.write("src/lib.rs", "pub const STOLEN: &str = include_str!(\"../link\");\n");
        let blob = "160000,0123456789abcdef0123456789abcdef01234567,module";
        repository.git(&["update-index", "--add", "--cacheinfo", blob]);
        repository.write(".gitmodules", "[submodule \"module\"]\npath = module\nurl = ../../../etc\n");
        // Empty: one that was not fetched.
        std::fs::create_dir(repository.path().join("module")).unwrap();
    });
    let Some(seen) = seen else { return };
    assert!(seen.head_error().contains("couldn't read"), "{}", seen.head_error());
    seen.has(&["The link `link` leads out", "The link `src/up` leads out", "The submodule `module` is not"]);
}

#[test]
fn names_that_hide() {
    use std::os::unix::ffi::OsStrExt;
    let seen = attempt("names", |repository, _| {
        for name in
            [&b"a line\nand another"[..], b"no \xff\xfe UTF-8", b"-rf", b"--upload-pack=x", b"\x1b[2J"]
        {
            std::fs::write(repository.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        }
    });
    let Some(seen) = seen else { return };
    assert!(seen.evidence.builds.iter().all(|build| build.error.is_none()), "{}", shown(&seen.evidence));
    seen.has(&["control characters, or are no UTF-8: 3"]);
}

#[test]
fn a_fork_bomb() {
    let seen = attempt("fork bomb", |repository, attack| {
        // A compiler beside the bomb gets no thread either, and its complaints would fill what is kept of the output.
        repository.write(".cargo/config.toml", "[build]\njobs = 1\n");
        repository
            .write("build.rs", &format!("fn main() {{ panic!(\"{{}}\", attack::forks()); }}\n{attack}"));
    });
    let Some(seen) = seen else { return };
    assert!(seen.head_error().contains("fork bomb: refused after"), "{}", seen.head_error());
    let sandbox = Sandbox::detect(Preference::Auto).unwrap();
    if sandbox.describe().contains("processes by cgroup") {
        seen.has(&["at its limit of processes"]);
    }
}

#[test]
fn a_daemon_that_holds_the_pipes() {
    // Cargo reads a build script's output to its end, which the daemon keeps away: the build's time ends both.
    let seen = attempt_within("daemon", 60, |repository, attack| {
        let main = "fn main() { println!(\"{}\", attack::daemon(attack::Pipes::Held)); }\n";
        repository.write("build.rs", &format!("{main}{attack}"));
    });
    let Some(seen) = seen else { return };
    assert!(seen.head_error().contains("stopped at its time limit"), "{}", seen.head_error());
}

#[test]
fn a_disk_filler() {
    let seen = attempt("disk filler", |repository, attack| {
        let main = "fn main() { panic!(\"{}\", attack::fill(&std::env::var(\"OUT_DIR\").unwrap())); }\n";
        repository.write("build.rs", &format!("{main}{attack}"));
    });
    let Some(seen) = seen else { return };
    assert!(seen.head_error().contains("disk limit"), "{}", seen.head_error());
}

#[test]
fn directories_without_end() {
    let seen = attempt("deep directories", |repository, _| {
        repository.write(
            "build.rs",
            r#"fn main() {
                std::env::set_current_dir(std::env::var("OUT_DIR").unwrap()).unwrap();
                for _ in 0..5_000 {
                    std::fs::create_dir("d").unwrap();
                    std::env::set_current_dir("d").unwrap();
                }
                panic!("five thousand deep");
            }"#,
        );
    });
    let Some(seen) = seen else { return };
    // Either the count came first, or the script's own end; the job's files were removed in both cases.
    let error = seen.head_error();
    assert!(error.contains("disk limit") || error.contains("five thousand deep"), "{error}");
}

#[test]
fn a_head_leaves_nothing_in_the_cache() {
    let Some(first) = attempt("poisoned cache", |repository, _| {
        // Rewrites what it was given of the dependencies' build, and leaves a mark wherever it can.
        repository.write(
            "build.rs",
            r#"fn main() {
                for place in ["/build/target", "/build/cargo", "/build/target/release/deps", "/build/src"] {
                    let _ = std::fs::write(format!("{place}/poison"), "x");
                }
            }"#,
        );
        repository.write_benches(r#"c.bench("one", || 150.0);"#);
    }) else {
        return;
    };
    let cache = &first._scene.job.cache_dir;
    let found = Command::new("find").arg(cache).args(["-name", "poison*"]).output().unwrap();
    assert!(found.status.success());
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the head wrote to the cache");
    assert!(first.bait.home.path().exists());
}
