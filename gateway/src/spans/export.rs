//! Sends spans to their collector, from the thread beside the data path: in batches, each over a connection of its own.

use super::{Finished, Span, otlp};
use crate::active::Active;
use crate::config::Tracing;
use crate::health::status;
use crate::upstream::Pool;
use crate::worker::Shared;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Looked at by the clock, so that no request has to wake anybody.
const EVERY: Duration = Duration::from_millis(250);
/// Spans in one body: below what collectors take (4 MiB in most), however long the paths are.
const BATCH_SPANS: usize = 512;

/// Runs until `stop` says so and all that was queued then is sent; who stops it bounds how long that may take.
pub async fn run(shared: Arc<Shared>, finished: Finished, mut stop: watch::Receiver<bool>) {
    let mut collector = Collector { turn: 0, is_faulty: false };
    let mut is_last = false;
    loop {
        loop {
            let batch: Vec<Box<Span>> = finished.try_iter().take(BATCH_SPANS).collect();
            if batch.is_empty() {
                break;
            }
            let is_sent = collector.take(&shared.active.load_full(), &batch).await;
            let counts = &shared.metrics.spans;
            let count = if is_sent { &counts.sent } else { &counts.failed };
            count.add(batch.len() as u64);
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            // An error means that the sender is gone, which is a stop as well.
            _ = stop.wait_for(|stop| *stop) => is_last = true,
        }
    }
}

/// Where spans go to.
struct Collector {
    turn: usize,
    is_faulty: bool,
}

impl Collector {
    /// Whether it took them.
    async fn take(&mut self, active: &Active, batch: &[Box<Span>]) -> bool {
        // Of requests that were followed under a configuration that is no longer in force.
        let Some(tracing) = &active.tracing else { return false };
        self.turn = self.turn.wrapping_add(1);
        let body = otlp::body(&tracing.service, batch);
        let sent = timeout(tracing.timeout, post(active, tracing, self.turn, &body)).await;
        let fault = match sent {
            Ok(Ok(200..=299)) => None,
            Ok(Ok(status)) => Some(format!("it answered with {status}")),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it took longer than {} ms", tracing.timeout.as_millis())),
        };
        // One line when it starts to fail and one when it ends to, not one for every batch.
        match (&fault, self.is_faulty) {
            (Some(fault), false) => tracing::warn!(fault, "the collector takes no spans"),
            (None, true) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        self.is_faulty = fault.is_some();
        fault.is_none()
    }
}

/// The status that a collector answers a body with.
async fn post(active: &Active, tracing: &Tracing, turn: usize, body: &[u8]) -> io::Result<u16> {
    let upstream = &active.upstreams[tracing.upstream];
    let well: Vec<_> = upstream.instances.iter().filter(|instance| instance.is_well()).collect();
    let instance = match well.is_empty() {
        true => &upstream.instances[turn % upstream.instances.len()],
        false => well[turn % well.len()],
    };
    // A pool of its own: a connection lives for as long as a batch does.
    let opened = Pool::default().connect(upstream, instance, &active.server).await;
    let mut stream =
        opened.map_err(|error| io::Error::other(format!("no connection to it: {error:?}")))?.stream;
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: gateway-spans\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        tracing.path,
        instance.host(),
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let mut written = 0;
    while written < request.len() {
        match poll_fn(|cx| stream.poll_write(cx, &request[written..])).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => written += more,
        }
    }
    poll_fn(|cx| stream.poll_flush(cx)).await?;
    status(&mut stream).await
}
