//! `paceline backfill` against GitHub's stand-in: what happened before is read once, and goes on where it stopped.

use crate::database::{On, on_both};
use crate::world::{Wishes, World};
use bot::backfill::{Wish, backfill};
use bot::contributors;
use bot::db::{backfills, counts, pulls, repositories};
use bot::demo::standin::{Fault, FaultKind};
use bot::measures::DAY_MS;
use bot::pull::PullState;
use bot::sampling;
use std::cell::RefCell;

on_both!(
    the_past_is_read_once,
    a_back_fill_goes_on_where_it_stopped,
    what_webhooks_tell_is_kept,
    stars_are_counted_by_the_hour,
);

const PULLS: i64 = 105;

/// Pull requests of the last hundred days and more, with reviews and comments, of which nobody was told. All have ended,
/// so that the server finds none of them by itself.
async fn past(on: On) -> (World, i64) {
    let world = World::new(on, Wishes::default()).await;
    let now_ms = world.server.app.clock.now_ms();
    world.commit("fix: one", "pub fn one() -> u32 { 2 - 1 }\n");
    for index in 0..PULLS {
        let number = world.open_pull_as_it_is();
        let opened_ms = now_ms - (PULLS - index) * DAY_MS;
        world.github.review_as(world.repository, number, "bob", "APPROVED").unwrap();
        world
            .github
            .edit_pull(world.repository, number, |pull| {
                pull.state = if index % 2 == 0 { PullState::Merged } else { PullState::Closed };
            })
            .unwrap();
        let author = if index % 5 == 0 { "carol" } else { "alice" };
        world.github.date_pull(world.repository, number, author, opened_ms, opened_ms + DAY_MS);
    }
    world.github.comment_as(world.repository, 1, "dave", "Nice.");
    world.github.add_issue(world.repository, 900, "erin", now_ms - 3 * DAY_MS, Some(now_ms - DAY_MS));
    world.github.set_counts(world.repository, 12, 3, 4);
    (world, now_ms)
}

fn wish(since_ms: i64) -> Wish {
    Wish { name: "acme/widgets".parse().unwrap(), since_ms, requests_per_hour: 100_000_000, restart: false }
}

async fn the_past_is_read_once(on: On) {
    let (world, now_ms) = past(on).await;
    let app = &world.server.app;
    // Not all of it: the oldest five days are before what is asked for.
    let since_ms = now_ms - 100 * DAY_MS - DAY_MS / 2;
    let lines = RefCell::new(Vec::new());
    let tell = |line: &str| lines.borrow_mut().push(line.to_owned());
    let done = backfill(&app.db, &app.github, &app.clock, &wish(since_ms), tell).await.unwrap();
    assert_eq!((done.pulls, done.stage.as_str()), (100, "done"));
    assert!(lines.borrow().iter().any(|line| line.starts_with("pulls: page 2")), "{lines:?}");
    let repository = repositories::by_id(app.db.pool(), world.repository).await.unwrap().unwrap();
    let all = pulls::of_repository(&app.db, world.repository, 1_000).await.unwrap();
    assert_eq!(all.len(), 100);
    let health = contributors::health(&app.db, &repository, 365, app.clock.now_ms()).await.unwrap();
    let logins: Vec<&str> = health.people.iter().map(|person| person.login.as_str()).collect();
    assert_eq!(logins, ["bob", "alice", "carol", "dave", "erin"], "who gave most first");
    assert_eq!(health.counts.map(|counts| (counts.stars, counts.forks, counts.watchers)), Some((12, 3, 4)));
    let merged = health.measures.iter().find(|measure| measure.id == "acceptance-ratio").unwrap();
    assert_eq!((merged.value, merged.n), (Some(0.5), 100));
    // A second time nothing is new.
    let again = backfill(&app.db, &app.github, &app.clock, &wish(since_ms), |_| {}).await.unwrap();
    assert_eq!((again.pulls, again.events), (100, 0));
}

async fn a_back_fill_goes_on_where_it_stopped(on: On) {
    let (world, now_ms) = past(on).await;
    let app = &world.server.app;
    let since_ms = now_ms - 365 * DAY_MS;
    // It ends in the middle of the second page of pull requests.
    world.github.fail(Fault::new("GET", "/pulls/3/reviews", FaultKind::Revoked, 2));
    let broken = backfill(&app.db, &app.github, &app.clock, &wish(since_ms), |_| {}).await;
    assert!(broken.is_err(), "{broken:?}");
    let stopped = backfills::get(&app.db, world.repository).await.unwrap().unwrap();
    assert_eq!((stopped.stage.as_str(), stopped.page, stopped.pulls), ("pulls", 2, 100));
    let before = world.github.count("GET", "/reviews");
    let done = backfill(&app.db, &app.github, &app.clock, &wish(since_ms), |_| {}).await.unwrap();
    assert_eq!(done.stage, "done");
    assert_eq!(world.github.count("GET", "/reviews") - before, 5, "only what was missing is asked for");
    let all = pulls::of_repository(&app.db, world.repository, 1_000).await.unwrap();
    assert_eq!(all.len() as i64, PULLS);
}

async fn what_webhooks_tell_is_kept(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    world.pull_event(number, "opened").await;
    world.say(number, "bob", "Why?").await;
    let review = world.github.review_as(world.repository, number, "bob", "APPROVED").unwrap();
    let event = bot::demo::standin::Event::PullRequestReview {
        repo: world.repository,
        number,
        review,
        action: "submitted".into(),
    };
    world.send(&event).await;
    let app = &world.server.app;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let told = bot::db::activity::of_pull(&app.db, world.repository, number).await.unwrap();
        let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
        if kinds.contains(&"opened") && kinds.contains(&"comment") && kinds.contains(&"review") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{kinds:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn stars_are_counted_by_the_hour(on: On) {
    let (world, _) = World::with_pull(on).await;
    let app = &world.server.app;
    world.checked("paceline/commits", &world.head()).await;
    world.github.set_counts(world.repository, 5, 2, 1);
    assert_eq!(sampling::once(app).await.unwrap(), 1);
    assert_eq!(sampling::once(app).await.unwrap(), 0, "the hour is not over");
    let newest = counts::newest(app.db.pool(), world.repository).await.unwrap().unwrap();
    assert_eq!((newest.stars, newest.forks, newest.watchers), (5, 2, 1));
}
