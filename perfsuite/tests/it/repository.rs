//! Git repositories with a small crate and its benches, made on the fly.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Repository {
    directory: tempfile::TempDir,
}

const MANIFEST: &str = r#"
[package]
name = "fixture"
version = "0.1.0"
edition = "2021"

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
]
"#;

/// criterion's command line and files, with times that the bench states instead of measured ones.
const STAND_IN: &str = r#"
pub struct Criterion { list: bool, filter: Option<String> }

impl Criterion {
    pub fn from_args() -> Self {
        let mut args = std::env::args().skip(1);
        let mut criterion = Criterion { list: false, filter: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => criterion.list = true,
                "--bench" | "--noplot" | "--color=never" => {}
                option if option.starts_with("--") => drop(args.next()),
                filter => criterion.filter = Some(filter.to_owned()),
            }
        }
        criterion
    }

    pub fn bench(&mut self, name: &str, mut ns: impl FnMut() -> f64) {
        if self.list {
            println!("{name}: benchmark");
            return;
        }
        let filter = self.filter.as_deref().unwrap_or_default();
        if filter.trim_start_matches('^').trim_end_matches('$').replace('\\', "") != name {
            return;
        }
        let ns = ns();
        println!("a bench that talks");
        let home = std::env::var("CRITERION_HOME").expect("CRITERION_HOME");
        let new = format!("{home}/{}/new", name.replace('/', "_"));
        std::fs::create_dir_all(&new).unwrap();
        let sample = format!("{{\"sampling_mode\":\"Linear\",\"iters\":[1.0,2.0],\"times\":[{ns},{}]}}", 2.0 * ns);
        std::fs::write(format!("{new}/sample.json"), sample).unwrap();
    }
}
"#;

impl Repository {
    fn empty() -> Repository {
        let repository = Repository { directory: tempfile::tempdir().unwrap() };
        repository.git(&["init", "--quiet"]);
        repository.write(".gitignore", "/target\n");
        repository
    }

    /// A crate whose bench `work` runs `body` on the stand-in `c`.
    pub fn with_benches(body: &str) -> Repository {
        let repository = Repository::empty();
        repository.write("Cargo.toml", MANIFEST);
        repository.write("Cargo.lock", LOCK);
        repository.write("src/lib.rs", "");
        repository.write(
            "criterion/Cargo.toml",
            "[package]\nname = \"criterion\"\nversion = \"0.8.0\"\nedition = \"2021\"\n",
        );
        repository.write("criterion/src/lib.rs", STAND_IN);
        repository.write_benches(body);
        repository
    }

    pub fn write_benches(&self, body: &str) {
        let bench = format!("fn main() {{ let mut c = criterion::Criterion::from_args();\n{body}\n}}\n");
        self.write("benches/work.rs", &bench);
    }

    /// A crate on the criterion that this workspace's lockfile names, with `bench` as its bench `work`. `None` where
    /// criterion was not downloaded yet.
    pub fn on_criterion(bench: &str) -> Option<Repository> {
        let repository = Repository::empty();
        let own_lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        std::fs::copy(own_lock, repository.path().join("Cargo.lock")).ok()?;
        repository.write(
            "Cargo.toml",
            &MANIFEST.replace(
                r#"{ path = "criterion" }"#,
                r#"{ version = "0.8", default-features = false, features = ["cargo_bench_support"] }"#,
            ),
        );
        repository.write("src/lib.rs", "pub const ROUNDS: u64 = 300;\n");
        repository.write("benches/work.rs", bench);
        // Takes out of the lockfile what this crate does not need; fails where something is not here. Of other
        // platforms nothing is.
        let trimmed = Command::new(env!("CARGO"))
            .args(["fetch", "--offline", "--target", &host()])
            .current_dir(repository.path())
            .output()
            .unwrap();
        trimmed.status.success().then_some(repository)
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, file: &str, text: &str) {
        let path: PathBuf = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.path().join(file)).unwrap();
    }

    /// Commits everything; the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_DIR")
            .args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"])
            .args(args)
            .current_dir(self.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// The platform that this machine's compiler builds for.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}
