//! The access log: JSON lines, written by a thread of their own.
//!
//! The data path hands a finished line over and never waits: when the writer cannot keep up, lines are
//! dropped and counted.

use crate::config::LogOutput;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Lines that may wait for the writer: a tenth of a second at a full core's rate, in a few megabytes.
const QUEUE_LINES: usize = 8 * 1024;
/// A target longer than this is cut in the log; the whole of it is of no use there.
const TARGET_MAX_BYTES: usize = 2 * 1024;

/// What there is to say about one request.
#[derive(Debug)]
pub struct Entry<'a> {
    pub time_ms: u128,
    pub client: &'a [u8],
    pub method: &'a str,
    pub host: &'a [u8],
    pub target: &'a str,
    pub request_id: &'a [u8],
    pub route: Option<&'a str>,
    pub upstream: Option<&'a str>,
    /// Of the instance that was asked last.
    pub address: Option<&'a str>,
    pub status: u16,
    pub duration_us: u128,
    pub body_bytes: u64,
    /// Why the gateway itself answered, or why the answer was cut short.
    pub reason: Option<&'a str>,
}

enum Message {
    Line(Vec<u8>),
    Reopen,
}

/// The way to the writer, for many threads.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<Message>>,
}

/// The writer; joined after every [`AccessLog`] is gone, it has written all that they sent.
pub struct Writer(Option<JoinHandle<()>>);

impl AccessLog {
    pub fn start(output: &LogOutput) -> anyhow::Result<(AccessLog, Writer)> {
        let sink = match output {
            LogOutput::Off => return Ok((AccessLog { queue: None }, Writer(None))),
            LogOutput::Stdout => Sink::Stdout,
            LogOutput::File(path) => Sink::File(path.clone(), BufWriter::new(open(path)?)),
        };
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || write(lines, sink));
        let thread = thread.context("no thread for the access log")?;
        Ok((AccessLog { queue: Some(queue) }, Writer(Some(thread))))
    }

    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// False when the line was dropped.
    #[must_use]
    pub fn write(&self, entry: &Entry<'_>) -> bool {
        let Some(queue) = &self.queue else { return true };
        !matches!(queue.try_send(Message::Line(line(entry))), Err(TrySendError::Full(_)))
    }

    /// Opens the file anew, for a rotation that moved it away.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(Message::Reopen);
        }
    }
}

impl Writer {
    pub fn join(self) {
        if let Some(thread) = self.0 {
            let _ = thread.join();
        }
    }
}

enum Sink {
    Stdout,
    File(PathBuf, BufWriter<File>),
}

fn open(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("the access log {} cannot be opened", path.display()))
}

/// Writes until every sender is gone; flushes whenever nothing more waits.
fn write(lines: Receiver<Message>, mut sink: Sink) {
    let mut faulty = false;
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut outcome = Ok(());
        while let Some(message) = next {
            outcome = outcome.and(sink.take(message));
            next = lines.try_recv().ok();
        }
        outcome = outcome.and(sink.flush());
        // One line when it starts to fail, not one for every request.
        if let Err(error) = &outcome
            && !faulty
        {
            tracing::error!(%error, "the access log cannot be written");
        }
        faulty = outcome.is_err();
    }
}

impl Sink {
    fn take(&mut self, message: Message) -> io::Result<()> {
        match (message, self) {
            (Message::Line(line), Sink::Stdout) => io::stdout().write_all(&line),
            (Message::Line(line), Sink::File(_, file)) => file.write_all(&line),
            (Message::Reopen, Sink::Stdout) => Ok(()),
            (Message::Reopen, Sink::File(path, file)) => {
                file.flush()?;
                *file = BufWriter::new(open(path).map_err(io::Error::other)?);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout => io::stdout().flush(),
            Sink::File(_, file) => file.flush(),
        }
    }
}

fn line(entry: &Entry<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    let _ = write!(out, "{{\"time_ms\":{}", entry.time_ms);
    text(&mut out, "client", entry.client);
    text(&mut out, "method", entry.method.as_bytes());
    text(&mut out, "host", entry.host);
    let target = entry.target.as_bytes();
    text(&mut out, "target", &target[..target.len().min(TARGET_MAX_BYTES)]);
    text(&mut out, "request_id", entry.request_id);
    let words = [
        ("route", entry.route),
        ("upstream", entry.upstream),
        ("address", entry.address),
        ("reason", entry.reason),
    ];
    for (name, value) in words {
        if let Some(value) = value {
            text(&mut out, name, value.as_bytes());
        }
    }
    let (status, duration_us, body_bytes) = (entry.status, entry.duration_us, entry.body_bytes);
    let _ = writeln!(out, ",\"status\":{status},\"duration_us\":{duration_us},\"body_bytes\":{body_bytes}}}");
    out
}

/// One more member.
pub(crate) fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let _ = write!(out, ",\"{name}\":");
    string(out, value);
}

/// A value in quotes. Bytes that are not UTF-8 become the replacement character.
pub(crate) fn string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for c in String::from_utf8_lossy(value).chars() {
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>() -> Entry<'a> {
        Entry {
            time_ms: 1_700_000_000_000,
            client: b"192.0.2.7",
            method: "GET",
            host: b"shop.example",
            target: "/a?b=\"c\\",
            request_id: b"ab\x01\xff",
            route: Some("all"),
            upstream: None,
            address: None,
            status: 404,
            duration_us: 17,
            body_bytes: 9,
            reason: Some("no route"),
        }
    }

    #[test]
    fn a_line_is_json() {
        let expect = "{\"time_ms\":1700000000000,\"client\":\"192.0.2.7\",\"method\":\"GET\",\
            \"host\":\"shop.example\",\"target\":\"/a?b=\\\"c\\\\\",\"request_id\":\"ab\\u0001\u{fffd}\",\
            \"route\":\"all\",\"reason\":\"no route\",\"status\":404,\"duration_us\":17,\"body_bytes\":9}\n";
        assert_eq!(String::from_utf8(line(&entry())).expect("text"), expect);
    }

    #[test]
    fn a_file_gets_every_line_and_is_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let (log, writer) = AccessLog::start(&LogOutput::File(path.clone())).expect("a log");
        assert!(log.write(&entry()) && log.write(&entry()));
        while std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() < 2) {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &moved).expect("a rotation");
        log.reopen();
        assert!(log.write(&entry()));
        drop(log);
        writer.join();
        assert_eq!(std::fs::read_to_string(&moved).expect("the old file").lines().count(), 2);
        assert_eq!(std::fs::read_to_string(&path).expect("the new file").lines().count(), 1);
    }
}
