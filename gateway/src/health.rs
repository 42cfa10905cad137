//! Asks instances whether they are well, beside the data path, and tells it when that changes.

use crate::active::{Active, Instance, Upstream};
use crate::config::{Health, Server};
use crate::stream::Stream;
use crate::upstream::Pool;
use crate::worker::Shared;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked whose turn it is; intervals are kept to within this.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Of a status line, up to and with the status.
const STATUS_BYTES: usize = 12;

/// Answers in a row of one kind. Decides when they change what is thought of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    well: bool,
    count: u32,
}

impl Streak {
    /// Takes an answer; true or false when the instance is to be thought well or unwell from now on.
    pub fn add(&mut self, well: bool, is_thought_well: bool, rule: &Health) -> Option<bool> {
        self.count = if self.well == well { self.count.saturating_add(1) } else { 1 };
        self.well = well;
        let enough = if well { rule.healthy_after } else { rule.unhealthy_after };
        (well != is_thought_well && self.count >= enough).then_some(well)
    }
}

/// Runs for as long as the process does.
pub async fn run(shared: Arc<Shared>) {
    let mut due: HashMap<u64, Instant> = HashMap::new();
    // An instance is asked again only once it has answered, or its time has run out.
    let asked = Rc::new(RefCell::new(HashSet::new()));
    loop {
        let active = shared.active.load_full();
        let now = Instant::now();
        let mut next = HashMap::new();
        for (of_upstream, upstream) in active.upstreams.iter().enumerate() {
            let Some(rule) = &upstream.health else { continue };
            for (of_instance, instance) in upstream.instances.iter().enumerate() {
                let at = due.get(&instance.id.0).copied().unwrap_or(now);
                if at > now || asked.borrow().contains(&instance.id.0) {
                    next.insert(instance.id.0, at);
                    continue;
                }
                next.insert(instance.id.0, now + rule.interval);
                asked.borrow_mut().insert(instance.id.0);
                let (asked, id) = (asked.clone(), instance.id.0);
                let of = (of_upstream, of_instance);
                let asking = ask(shared.clone(), active.clone(), of, rule.clone());
                spawn_local(async move {
                    asking.await;
                    asked.borrow_mut().remove(&id);
                });
            }
        }
        due = next;
        sleep(LOOK_EVERY).await;
    }
}

async fn ask(shared: Arc<Shared>, active: Arc<Active>, of: (usize, usize), rule: Health) {
    let upstream = &active.upstreams[of.0];
    let instance = &upstream.instances[of.1];
    let asking = probe(upstream, instance, &active.server, &rule.path);
    let answer = timeout(rule.timeout, asking).await;
    let well = matches!(answer, Ok(Ok(200..=399)));
    let changed = instance.take_answer(well, &rule, shared.epoch.elapsed().as_millis() as u64);
    if let Some(well) = changed {
        let address = &instance.address;
        tracing::warn!(upstream = upstream.name, %address, well, ?answer, "the health of an instance changed");
    }
}

/// The status that a request for the path has.
async fn probe(upstream: &Upstream, instance: &Instance, server: &Server, path: &str) -> io::Result<u16> {
    // A pool of its own: what is asked here says as much about connecting as about answering.
    let opened = Pool::default().connect(upstream, instance, server).await;
    let mut stream = opened.map_err(|error| io::Error::other(format!("{error:?}")))?.stream;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: gateway-health\r\nconnection: close\r\n\r\n",
        instance.host()
    );
    let mut written = 0;
    while written < request.len() {
        written += poll_fn(|cx| stream.poll_write(cx, &request.as_bytes()[written..])).await?;
    }
    status(&mut stream).await
}

/// Reads the first line of an answer, up to its status.
pub(crate) async fn status(stream: &mut Stream) -> io::Result<u16> {
    let mut line = [0; STATUS_BYTES];
    let mut read = 0;
    while read < line.len() {
        match poll_fn(|cx| stream.poll_read(cx, &mut line[read..])).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| std::str::from_utf8(&rest[2..]).ok());
    status.and_then(|status| status.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_answers_in_a_row_change_what_is_thought() {
        let ms = Duration::from_millis;
        let rule = Health {
            path: "/".into(),
            interval: ms(1),
            timeout: ms(1),
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let mut streak = Streak::default();
        assert_eq!(streak.add(false, true, &rule), None);
        assert_eq!(streak.add(false, true, &rule), None);
        assert_eq!(streak.add(true, true, &rule), None, "and from the start");
        assert_eq!([(); 3].map(|()| streak.add(false, true, &rule)), [None, None, Some(false)]);
        assert_eq!(streak.add(false, false, &rule), None, "that is known");
        assert_eq!([(); 2].map(|()| streak.add(true, false, &rule)), [None, Some(true)]);
    }
}
