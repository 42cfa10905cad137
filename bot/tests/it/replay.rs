//! `paceline replay`: what a delivery led to, judged once more from the stored evidence by the program as people start it.

use crate::commands::paceline;
use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{Wishes, World, eventually};
use bot::db::jobs;
use bot::demo::standin::Event;
use serde_json::Value;
use sqlx::Row;
use std::process::Output;

on_both!(a_verdict_is_replayed_byte_for_byte);

async fn a_verdict_is_replayed_byte_for_byte(on: On) {
    let files = vec![(".github/CODEOWNERS", "* @bob @carol\n")];
    let world = World::new(on, Wishes { files, ..Wishes::default() }).await;
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
    // A review changes what is shown, and nothing of the report.
    let review = world.github.review_as(world.repository, number, "bob", "APPROVED").unwrap();
    let told =
        Event::PullRequestReview { repo: world.repository, number, review, action: "submitted".into() };
    world.send(&told).await;
    let shown = eventually("what is shown of it", || {
        let check = world.check("paceline/reviews", &head)?;
        let comment = world.our_comments(number).pop()?;
        // The last that the review changes is the time to the first response.
        let body = comment.body.contains("The approval of `carol` would do")
            && comment.body.contains("first response in");
        (body && check.title.ends_with("waiting for carol")).then_some(comment.body)
    })
    .await;
    let checks: Vec<(String, String, String)> = world
        .github
        .check_runs(world.repository)
        .into_iter()
        .map(|check| (check.name, check.title, check.summary))
        .collect();
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

    // The comment and the check runs, from git's objects, the ledger and the evidence.
    let texts = |what: &str| -> Output {
        let mut command = paceline(&["replay", what, "--texts"]);
        command.arg("--data-dir").arg(&data_dir).args(["--database-url", &url]).output().unwrap()
    };
    let output = texts(&guid);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("byte for byte")
            && said.contains(&format!("by rules {} and no configuration", bot::dossier::RULES)),
        "{said}"
    );
    let made: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(made[0]["body"], shown.as_str());
    for (name, title, summary) in &checks {
        let made = made.iter().find(|made| made["name"] == name.as_str()).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((&made["title"], &made["summary"]), (&title.as_str().into(), &summary.as_str().into()));
    }
    assert_eq!(made.len(), checks.len() + 1);
    // Other facts make other texts, and that is said.
    let db = bot::db::Db::open(&url).await.unwrap();
    let forge = |from: &str, to: &str| {
        let sql = format!("UPDATE dossiers SET facts = REPLACE(facts, '{from}', '{to}')");
        let db = db.clone();
        async move {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(db.pool()).await.unwrap();
        }
    };
    forge("\"bob\"", "\"eve\"").await;
    let output = texts(&guid);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not what was shown: comment, paceline/reviews"), "{said}");
    forge("\"eve\"", "\"bob\"").await;
    assert_eq!(texts(&job.id.0).status.code(), Some(0));

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
