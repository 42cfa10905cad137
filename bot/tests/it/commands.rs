//! The program as people start it: what it says when something is wrong, and that it ends with a non-zero code.

use crate::database::{Fresh, On, on_both};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

on_both!(runners_are_added_listed_and_revoked);

pub fn paceline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    command
}

/// With everything that `serve` must have; the key is a real one.
fn serve(data_dir: &Path, key: &Path) -> Command {
    let mut command = paceline(&["serve", "--no-runner"]);
    command.env("PACELINE_LISTEN", "127.0.0.1:0");
    command.arg("--data-dir").arg(data_dir).arg("--github-private-key-file").arg(key);
    command.args(["--github-app-id", "1"]).env("GITHUB_WEBHOOK_SECRET", "a secret");
    command
}

fn key(dir: &Path) -> std::path::PathBuf {
    use secrecy::ExposeSecret;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = bot::demo::standin::StandInOptions::new(dir.join("github"));
    let app = runtime.block_on(async {
        bot::demo::standin::StandIn::start(options).await.unwrap().create_app("paceline").unwrap()
    });
    let path = dir.join("key.pem");
    std::fs::write(&path, app.private_key.expose_secret()).unwrap();
    path
}

fn refused(output: &Output, expect: &str) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert_eq!(words.trim_end().lines().count(), 1, "one line, not: {words}");
    assert!(words.contains(expect), "{words}");
}

#[test]
fn what_stops_the_server_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let key = key(dir.path());
    let data = dir.path().join("data");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&serve(&data, &key).args(["--listen", &address]).output().unwrap(), &address);

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&serve(&file.join("data"), &key).output().unwrap(), "--data-dir");

    refused(&serve(&data, &key).env("PATH", "/nowhere").output().unwrap(), "git");
    refused(&serve(&data, &dir.path().join("no.pem")).output().unwrap(), "no.pem");
    refused(
        &serve(&data, &key).env_remove("GITHUB_WEBHOOK_SECRET").output().unwrap(),
        "GITHUB_WEBHOOK_SECRET",
    );
    refused(&serve(&data, &key).args(["--database-url", "mysql://x"]).output().unwrap(), "DATABASE_URL");
}

#[test]
fn a_server_starts_and_stops_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let key = key(dir.path());
    let mut child = serve(&dir.path().join("data"), &key).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line =
        lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("listens on"))).unwrap().unwrap();
    assert!(line.contains("/github/webhook"), "{line}");
    let asked = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    assert!(asked.success());
    // Drained, so that the child is never held up by a full pipe.
    for _ in lines.by_ref() {}
    assert!(child.wait().unwrap().success());
}

async fn runners_are_added_listed_and_revoked(on: On) {
    let dir = tempfile::tempdir().unwrap();
    let database = Fresh::new(on, dir.path()).await;
    let run = |arguments: &[&str]| {
        let output = paceline(arguments).env("DATABASE_URL", &database.url).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, token) = run(&["runner", "add", "build-box"]);
    assert_eq!(code, Some(0));
    assert!(token.starts_with("plr_") && token.trim_end().len() == 68, "{token}");
    assert!(run(&["runner", "list"]).1.contains("build-box\tnever seen"));
    assert_eq!(run(&["runner", "revoke", "build-box"]).0, Some(0));
    assert!(run(&["runner", "list"]).1.contains("revoked"));
    assert_eq!(run(&["runner", "revoke", "build-box"]).0, Some(2), "only once");
    assert_eq!(run(&["runner", "add", "../x"]).0, Some(2));
}

#[test]
fn a_configuration_is_checked_with_line_and_nearest_key() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[perf]\nminutes-per-rn = 3\n").unwrap();
    let output = paceline(&["config", "check"]).arg(file.path()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("minutes-per-run") && words.contains(":2:1"), "{words}");
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/paceline.toml");
    let output = paceline(&["config", "check"]).arg(&good).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_review_of_commits_alone_ends_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "feat: start"]);
    git(&["checkout", "-q", "-b", "topic"]);
    std::fs::write(dir.path().join("a.rs"), "fn a() {}\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "fix: one"]);
    let review = |more: &[&str]| {
        let mut command = paceline(&["review", "--no-measure", "--repo"]);
        command.arg(dir.path()).args(more).output().unwrap()
    };
    let clean = review(&[]);
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stderr));
    git(&["commit", "-q", "--allow-empty", "-m", "Broke it"]);
    let found = review(&["main..topic", "--format", "json"]);
    assert_eq!(found.status.code(), Some(1));
    let run: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(run["commits"]["commits"].as_array().unwrap().len(), 2);
    assert_eq!(run["performance"]["state"], "skipped");
    let nowhere = review(&["no-such..branch"]);
    assert_eq!(nowhere.status.code(), Some(2));
}

/// What a commit's type says is held against what it does to the public items of libraries, as `git` has them.
#[test]
fn a_refactoring_that_takes_something_away_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let source = "pub fn gone() {}\npub enum Kind { One, Two }\npub trait Does { fn it(&self); }\n";
    git(&["init", "-q", "-b", "main"]);
    write("Cargo.toml", "[workspace]\nmembers = [\"library\", \"program\"]\n");
    for (name, file) in [("library", "lib.rs"), ("program", "main.rs")] {
        write(&format!("{name}/Cargo.toml"), &format!("[package]\nname = \"{name}\"\n"));
        write(&format!("{name}/src/{file}"), "mod inner;\n");
        write(&format!("{name}/src/inner.rs"), source);
    }
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "feat: start"]);
    let claims = |path: &str, text: &str, message: &str| {
        git(&["checkout", "-q", "-B", "topic", "main"]);
        write(path, text);
        git(&["commit", "-q", "-a", "-m", message]);
        let mut review = paceline(&["review", "main..topic", "--no-measure", "--format", "json", "--repo"]);
        let output = review.arg(dir.path()).output().unwrap();
        let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        run["commits"]["claims"].to_string()
    };
    let without_fn = source.replace("pub fn gone() {}\n", "");
    for (text, named) in [
        (without_fn.clone(), "`fn gone ( )`"),
        (source.replace("One, Two", "One"), "`enum Kind :: Two`"),
        (source.replace("&self", "&mut self"), "`trait Does :: fn it ( & self )`"),
    ] {
        let told = claims("library/src/inner.rs", &text, "refactor: tidy");
        assert!(told.contains("says `refactor` without `!`") && told.contains(named), "{named} in {told}");
    }
    for (path, text, message) in [
        ("library/src/inner.rs", &without_fn, "refactor!: tidy"),
        ("library/src/inner.rs", &without_fn, "refactor: tidy\n\nBREAKING CHANGE: gone is gone"),
        (
            "library/src/inner.rs",
            &source.replace("{ One, Two }", "{\n    One,\n    Two,\n}"),
            "refactor: tidy",
        ),
        ("program/src/inner.rs", &without_fn, "refactor: tidy"),
    ] {
        assert_eq!(claims(path, text, message), "null", "{path} {message}");
    }
}
