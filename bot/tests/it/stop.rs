//! SIGTERM: what was begun is ended or handed back, and nothing is lost or doubled by it.

use crate::crash::{Crashing, Sent, measure_for_ever};
use crate::database::{On, on_both};
use bot::db::Db;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::Row;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

on_both!(a_server_told_to_stop_ends_what_it_began);

/// What service managers allow before they kill, and then some for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(60);

async fn stopped(server: &mut Child) -> ExitStatus {
    let told = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(told.success());
    let started = Instant::now();
    loop {
        if let Some(status) = server.try_wait().unwrap() {
            return status;
        }
        assert!(started.elapsed() < STOP_MAX, "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Deliveries and writes that somebody holds.
async fn held(db: &Db) -> i64 {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM deliveries WHERE state = 'working' OR claimed_by IS NOT NULL)
              + (SELECT COUNT(*) FROM writes WHERE claimed_by IS NOT NULL OR lease_until_ms IS NOT NULL) AS held",
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    row.get("held")
}

async fn a_server_told_to_stop_ends_what_it_began(on: On) {
    let it = Crashing::new(on, 3).await;
    let db = Db::open(&it.database.url).await.unwrap();
    let runner = tokio::spawn(measure_for_ever(it.hand(&db).await));
    let (mut sent, mut random) = (Sent::default(), StdRng::seed_from_u64(1));
    for _ in 0..3 {
        let mut server = it.start();
        while crate::world::request("GET", &it.url("/readyz"), &[], Vec::new()).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // In the middle of all that follows from these.
        it.send(6, &mut sent, &mut random).await;
        let status = stopped(&mut server).await;
        assert!(status.success(), "{status}");
        assert_eq!(held(&db).await, 0, "all leases were given back");
    }
    let mut server = it.start();
    it.settled(&db, &sent).await;
    server.kill().unwrap();
    server.wait().unwrap();
    runner.abort();
    it.check(&db, &sent, 0).await;
    db.close().await;
}
