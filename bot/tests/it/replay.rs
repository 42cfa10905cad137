//! `paceline replay`: what a delivery led to, judged once more from the stored evidence by the program as people start it.

use crate::commands::paceline;
use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually};
use bot::db::jobs;
use sqlx::Row;
use std::process::Output;

on_both!(a_verdict_is_replayed_byte_for_byte);

async fn a_verdict_is_replayed_byte_for_byte(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.25).await;
    let head = world.head();
    eventually("the performance check to end", || {
        world.check("paceline/performance", &head).filter(|check| check.status == "completed")
    })
    .await;
    let db = world.server.app.db.clone();
    let job = jobs::get(db.pool(), &lease.spec.job).await.unwrap().unwrap();
    let guid: String = sqlx::query("SELECT guid FROM deliveries WHERE event = 'pull_request'")
        .fetch_one(db.pool())
        .await
        .unwrap()
        .get("guid");
    let (data_dir, url) = (world.data_dir(), world.database_url());
    // Nobody is there but the files and the database.
    world.server.stop().await;

    let replay = |what: &str, format: &str| -> Output {
        let mut command = paceline(&["replay", what, "--format", format]);
        command.arg("--data-dir").arg(&data_dir).args(["--database-url", &url]).output().unwrap()
    };
    let stored = serde_json::to_string_pretty(job.report.as_ref().unwrap()).unwrap() + "\n";
    for what in [guid.as_str(), &job.id.0] {
        let output = replay(what, "json");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), stored);
        assert!(said.contains("byte for byte the report that was stored"), "{said}");
    }
    let words = String::from_utf8(replay(&guid, "text").stdout).unwrap();
    assert!(words.contains("widgets/one") && words.contains("SLOWER"), "{words}");

    let refused = |what: &str, expect: &str| {
        let output = replay(what, "json");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.contains(expect) && said.trim_end().lines().count() == 1, "{said}");
    };
    refused("0198c0de-0000-7000-8000-00000000ffff", "there is no delivery and no run");
    let digest = job.evidence.unwrap();
    let bundle = data_dir.join("evidence").join(&digest[..2]).join(format!("{digest}.json.zst"));
    let kept = std::fs::read(&bundle).unwrap();
    // Sound evidence, of a slowdown that was not measured.
    let told = String::from_utf8(zstd::decode_all(&kept[..]).unwrap()).unwrap().replace("125.", "145.");
    let forged = zstd::encode_all(told.as_bytes(), 3).unwrap();
    assert_ne!(forged, kept);
    std::fs::write(&bundle, forged).unwrap();
    refused(&guid, "its evidence was changed");
    std::fs::write(&bundle, &kept[..kept.len() / 2]).unwrap();
    refused(&guid, "its evidence was changed");
    std::fs::remove_file(&bundle).unwrap();
    refused(&guid, "is no longer kept");
}
