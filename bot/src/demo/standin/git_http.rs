//! The repositories through git's smart HTTP: `git upload-pack` behind two addresses, fetching only.

use super::Shared;
use super::access::{self, Need};
use super::answer::{Answer, Asked};
use axum::body::Body;
use axum::http::{Method, Response, header};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio_util::io::ReaderStream;

/// What a client sends of its negotiation, unpacked: ids of commits, a few megabytes at most.
const NEGOTIATION_MAX_BYTES: u64 = 64 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Advertisement,
    Pack,
}

/// Whether a request is git's and not the API's.
pub(super) fn wanted(asked: &Asked) -> Option<Wanted> {
    let service = asked.query.get("service").map(String::as_str);
    match asked.segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, _, "info", "refs"] if asked.method == Method::GET && service == Some("git-upload-pack") => {
            Some(Wanted::Advertisement)
        }
        [_, _, "git-upload-pack"] if asked.method == Method::POST => Some(Wanted::Pack),
        _ => None,
    }
}

pub(super) async fn answer(
    shared: &Arc<Shared>,
    asked: &Asked,
    wanted: Wanted,
    now_ms: i64,
) -> Response<Body> {
    let path = match repository(shared, asked, now_ms) {
        Ok(path) => path,
        Err(refused) => return refused.into_response(asked),
    };
    let answered = match wanted {
        Wanted::Advertisement => advertise(&path, asked).await,
        Wanted::Pack => pack(&path, asked).await,
    };
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "git upload-pack could not be run");
        Answer::refuse(500, "Server Error").into_response(asked)
    })
}

/// The directory, for whoever may read it. Everybody must say who they are, so that a missing token never goes
/// unnoticed.
fn repository(shared: &Shared, asked: &Asked, now_ms: i64) -> Result<PathBuf, Answer> {
    let state = shared.state();
    let asks_for_login = |mut refused: Answer| {
        refused.headers.push(("www-authenticate", "Basic realm=\"GitHub\"".into()));
        refused
    };
    let caller = access::caller(&state, &asked.headers, now_ms).map_err(asks_for_login)?;
    if caller == access::Caller::Nobody {
        return Err(asks_for_login(Answer::refuse(401, "Authentication required")));
    }
    let (owner, name) = (asked.segments[0].as_str(), asked.segments[1].as_str());
    let name = name.strip_suffix(".git").unwrap_or(name);
    if let Some(new) = state.moved_from(owner, name).and_then(|id| state.repos.get(&id)) {
        let mut moved = Answer::refuse(301, "Moved Permanently");
        let rest = asked.segments[2..].join("/");
        moved
            .headers
            .push(("location", format!("{}/{}.git/{rest}?service=git-upload-pack", shared.url(), new.name)));
        return Err(moved);
    }
    let id = caller.repo(&state, state.repo_by_name(owner, name), "contents", Need::Read)?;
    Ok(state.repos[&id].path.clone())
}

async fn advertise(path: &Path, asked: &Asked) -> anyhow::Result<Response<Body>> {
    let mut command = upload_pack(asked);
    command.arg("--http-backend-info-refs").arg(path).stdin(Stdio::null());
    let output = command.output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut body = Vec::new();
    // Version 2 of the protocol has no such line.
    if !protocol(asked).contains("version=2") {
        body.extend_from_slice(b"001e# service=git-upload-pack\n0000");
    }
    body.extend(output.stdout);
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "application/x-git-upload-pack-advertisement")
        .header(header::CACHE_CONTROL, "no-cache")
        .body(Body::from(body))?)
}

async fn pack(path: &Path, asked: &Asked) -> anyhow::Result<Response<Body>> {
    let negotiation = unpacked(asked)?;
    let mut command = upload_pack(asked);
    command.arg(path).stdin(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        anyhow::bail!("git has no pipes")
    };
    tokio::spawn(async move {
        // A client that goes away early closes the pipe; that is its business.
        let _ = stdin.write_all(&negotiation).await;
        drop(stdin);
        let _ = child.wait().await;
    });
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "application/x-git-upload-pack-result")
        .header(header::CACHE_CONTROL, "no-cache")
        .body(Body::from_stream(ReaderStream::new(stdout)))?)
}

/// git compresses what it sends once it is longer than a kilobyte.
fn unpacked(asked: &Asked) -> anyhow::Result<Vec<u8>> {
    let gzip = asked.headers.get(header::CONTENT_ENCODING).is_some_and(|v| v == "gzip" || v == "x-gzip");
    if !gzip {
        return Ok(asked.body.clone());
    }
    let mut negotiation = Vec::new();
    flate2::read::GzDecoder::new(asked.body.as_slice())
        .take(NEGOTIATION_MAX_BYTES)
        .read_to_end(&mut negotiation)?;
    Ok(negotiation)
}

fn upload_pack(asked: &Asked) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    for name in ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "GIT_EXEC_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_COUNT", "3"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
        ("GIT_CONFIG_KEY_1", "uploadpack.allowAnySHA1InWant"),
        ("GIT_CONFIG_VALUE_1", "true"),
        ("GIT_CONFIG_KEY_2", "gc.auto"),
        ("GIT_CONFIG_VALUE_2", "0"),
    ] {
        command.env(name, value);
    }
    let protocol = protocol(asked);
    if !protocol.is_empty() {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.args(["upload-pack", "--strict", "--stateless-rpc"]).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// `Git-Protocol`, if it is nothing but `version=N` and the like.
fn protocol(asked: &Asked) -> String {
    let sent = asked.headers.get("git-protocol").and_then(|v| v.to_str().ok()).unwrap_or("");
    let plain = sent.bytes().all(|b| b.is_ascii_alphanumeric() || b"=:-.".contains(&b));
    if plain && sent.len() < 100 { sent.to_owned() } else { String::new() }
}
