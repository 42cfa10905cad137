//! A signal to the command line ends all that it has started, with and without walls.

use crate::repository::Repository;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far longer than a stop takes on a machine that does ten things at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says its number in a file, and runs for five minutes.
const BUILD_SCRIPT: &str = r#"
fn main() {
    std::fs::write("alive", std::process::id().to_string()).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(300));
}
"#;

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The file that the build script writes, in whichever directory the checkout is.
fn alive(temporary: &Path) -> Option<String> {
    let jobs = std::fs::read_dir(temporary).ok()?.flatten();
    jobs.filter_map(|job| std::fs::read_to_string(job.path().join("src/alive")).ok())
        .find(|text| !text.is_empty())
}

/// Gone, or killed and not yet buried by whoever adopted it.
fn is_dead(process: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

fn a_stop(sandbox: &str) {
    let repository = Repository::with_benches("c.bench(\"one\", || 1.0);");
    let base = repository.commit("base");
    repository.write("build.rs", BUILD_SCRIPT);
    let head = repository.commit("head");
    let (temporary, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_perfsuite"))
        .args(["compare", &base, &head, "--sandbox", sandbox, "--repo"])
        .arg(repository.path())
        .arg("--cache-dir")
        .arg(cache.path())
        .env("TMPDIR", temporary.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = wait_for("the build script", || alive(temporary.path()));
    let kill = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(2), "it could not judge");
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().flatten().map(|e| e.path()).collect();
    assert_eq!(left, [] as [std::path::PathBuf; 0], "its files are gone");
    // Within walls it had a number of its own there, and nothing outlives them.
    if sandbox == "off" {
        wait_for("the build script's end", || is_dead(&script).then_some(()));
    }
}

#[test]
fn a_signal_ends_a_build_within_walls() {
    a_stop("auto");
}

#[test]
fn a_signal_ends_a_build_without_walls() {
    a_stop("off");
}
