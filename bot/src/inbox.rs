//! Stores deliveries in groups: each is on disk before it is answered, and many share one write to the disk.

use crate::clock::Clock;
use crate::db::Db;
use crate::db::deliveries::{self, NewDelivery};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};

/// Deliveries of one statement: 64 times nine values is far below what either database takes.
const GROUP_MAX: usize = 64;
/// Payloads of one statement; a larger one goes alone.
const GROUP_MAX_BYTES: usize = 8 << 20;
/// Deliveries that wait to be stored. Who comes later waits with its request open.
const WAITING_MAX: usize = 1_024;
/// All bodies in memory together: five of the largest, or ten thousand usual ones.
const MEMORY_MAX_KIB: u32 = 128 << 10;

/// The way into the database for webhooks. The task behind it ends with the last sender.
pub struct Inbox {
    sender: mpsc::Sender<Waiting>,
    memory: Semaphore,
}

struct Waiting {
    delivery: NewDelivery,
    stored: oneshot::Sender<Result<bool, Arc<sqlx::Error>>>,
}

/// The inbox is closed, as when the server stops.
#[derive(Debug, thiserror::Error)]
#[error("the inbox is closed")]
pub struct Closed;

impl Inbox {
    /// Needs a tokio runtime.
    pub fn open(db: Db, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(store_all(db, clock, receiver));
        Self { sender, memory: Semaphore::new(MEMORY_MAX_KIB as usize) }
    }

    /// Waits for room for a body of this size, before it is read.
    pub async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Closed> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).clamp(1, MEMORY_MAX_KIB);
        self.memory.acquire_many(kib).await.map_err(|_| Closed)
    }

    /// Stores a delivery; whether it is new.
    pub async fn store(&self, delivery: NewDelivery) -> anyhow::Result<bool> {
        let (stored, outcome) = oneshot::channel();
        self.sender.send(Waiting { delivery, stored }).await.map_err(|_| Closed)?;
        Ok(outcome.await.map_err(|_| Closed)??)
    }
}

async fn store_all(db: Db, clock: Clock, mut receiver: mpsc::Receiver<Waiting>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(waiting) => waiting,
            None => match receiver.recv().await {
                Some(waiting) => waiting,
                None => return,
            },
        };
        let mut bytes = first.delivery.payload.len();
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(waiting) = receiver.try_recv()
        {
            bytes += waiting.delivery.payload.len();
            if bytes > GROUP_MAX_BYTES {
                next = Some(waiting);
                break;
            }
            group.push(waiting);
        }
        store(&db, group, clock.now_ms()).await;
    }
}

async fn store(db: &Db, group: Vec<Waiting>, now_ms: i64) {
    let (deliveries, waiting): (Vec<_>, Vec<_>) = group.into_iter().map(|w| (w.delivery, w.stored)).unzip();
    metrics::histogram!("paceline_inbox_group").record(deliveries.len() as f64);
    let outcomes = match deliveries::insert_all(db, &deliveries, now_ms).await {
        Ok(new) => new.into_iter().map(Ok).collect::<Vec<_>>(),
        // One that cannot be stored must not take the others with it.
        Err(_) if deliveries.len() > 1 => {
            let mut outcomes = Vec::new();
            for delivery in &deliveries {
                outcomes.push(deliveries::insert(db, delivery, now_ms).await.map_err(Arc::new));
            }
            outcomes
        }
        Err(error) => vec![Err(Arc::new(error))],
    };
    for (stored, outcome) in waiting.into_iter().zip(outcomes) {
        // Who asked may be gone; the delivery is stored all the same.
        let _ = stored.send(outcome);
    }
}
