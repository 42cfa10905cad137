//! What no delivery told is found out: by asking GitHub for failed deliveries, and by comparing pull requests.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually};
use bot::db::deliveries;
use bot::demo::standin::Event;
use bot::missed::{self, Asked};
use bot::pull::PullState;

on_both!(
    a_delivery_that_found_nobody_is_sent_again,
    what_is_refused_is_not_asked_for_for_ever,
    a_pull_request_without_a_delivery_is_found,
    what_is_missing_or_changed_on_github_is_written_again,
);

async fn a_delivery_that_found_nobody_is_sent_again(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    let event = Event::PullRequest { repo: world.repository, number, action: "opened".into() };
    let parcel = world.github.compose(world.app_id, &world.url("/github/webhook"), &event).unwrap();
    world.github.lose(parcel);
    // The server asked when it started, which may be before or after; asking again does no harm.
    missed::redeliver(&world.server.app, &mut Asked::default()).await.unwrap();
    eventually("the comment", || (world.our_comments(number).len() == 1).then_some(())).await;
    // What has arrived is not asked for again.
    let asked = world.github.count("POST", "/app/hook/deliveries/");
    missed::redeliver(&world.server.app, &mut Asked::default()).await.unwrap();
    assert_eq!(world.github.count("POST", "/app/hook/deliveries/"), asked);
    world.server.stop().await;
}

/// The server's own question when it starts may fall into the test.
const AT_START: usize = 1;

async fn what_is_refused_is_not_asked_for_for_ever(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    let event = Event::PullRequest { repo: world.repository, number, action: "opened".into() };
    let wrong = world.url("/no/such/address");
    assert_eq!(world.github.deliver(world.app_id, &wrong, &event).await.unwrap().status, 404);
    let mut asked = Asked::default();
    for round in 1..=5 {
        missed::redeliver(&world.server.app, &mut asked).await.unwrap();
        // Sent before the next round asks for what has failed.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let times = world.github.count("POST", "/app/hook/deliveries/");
        assert!(times >= round.min(3) && times <= 3 + AT_START, "{times} times in round {round}");
    }
    world.server.stop().await;
}

async fn a_pull_request_without_a_delivery_is_found(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let number = world.open_pull("fix: one");
    let app = &world.server.app;
    assert_eq!(missed::sweep(app).await.unwrap(), 1);
    assert_eq!(missed::sweep(app).await.unwrap(), 0, "it is queued already");
    let head = world.head();
    eventually("the check", || world.check("paceline/commits", &head)).await;
    idle(&world).await;
    assert_eq!(missed::sweep(app).await.unwrap(), 0, "all is known");

    let pushed = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    assert_eq!(missed::sweep(app).await.unwrap(), 1);
    eventually("the new head's check", || world.check("paceline/commits", &pushed)).await;
    idle(&world).await;

    world.github.edit_pull(world.repository, number, |pull| pull.state = PullState::Closed).unwrap();
    assert_eq!(missed::sweep(app).await.unwrap(), 1);
    idle(&world).await;
    let row = bot::db::pulls::get(app.db.pool(), world.repository, number).await.unwrap().unwrap();
    assert_eq!(row.pull.state, PullState::Closed);
    assert_eq!(missed::sweep(app).await.unwrap(), 0);
    assert_eq!(world.our_comments(number).len(), 1);
    world.server.stop().await;
}

async fn what_is_missing_or_changed_on_github_is_written_again(on: On) {
    let (world, number) = World::with_pull(on).await;
    let head = world.head();
    let check = eventually("the check", || world.check("paceline/commits", &head)).await;
    idle(&world).await;
    let app = &world.server.app;
    assert_eq!(missed::sweep(app).await.unwrap(), 0, "all is as it was written");
    // Nothing has changed: the second look costs nothing of the quota.
    let unchanged = world.github.totals().get("304").copied().unwrap_or(0);
    assert_eq!(missed::sweep(app).await.unwrap(), 0);
    assert!(world.github.totals()["304"] >= unchanged + 4, "{:?}", world.github.totals());

    world.github.delete_check_run(world.repository, check.id);
    assert_eq!(missed::sweep(app).await.unwrap(), 1);
    eventually("the check again", || world.check("paceline/commits", &head)).await;

    let comment = world.our_comments(number).remove(0);
    world.github.edit_comment(world.repository, comment.id, "All is well, merge it!");
    idle(&world).await;
    assert_eq!(missed::sweep(app).await.unwrap(), 1);
    eventually("our own words", || (world.our_comments(number)[0].body == comment.body).then_some(())).await;

    idle(&world).await;
    world.github.delete_comment(world.repository, comment.id);
    assert_eq!(missed::sweep(app).await.unwrap(), 1);
    eventually("a new comment", || world.our_comments(number).first().map(|comment| comment.id)).await;
    idle(&world).await;
    assert_eq!(missed::sweep(app).await.unwrap(), 0);
    assert_eq!(world.our_comments(number).len(), 1);
    world.server.stop().await;
}

/// Waits until no delivery and no write waits.
async fn idle(world: &World) {
    for _ in 0..600 {
        let db = &world.server.app.db;
        let writes = bot::db::writes::waiting(db).await.unwrap();
        if deliveries::waiting(db.pool()).await.unwrap().0 == 0 && writes == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("work waits for ever");
}
