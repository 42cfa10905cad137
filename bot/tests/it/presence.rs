//! Installations that come and go, repositories that are renamed, moved, hidden and deleted: rows follow by number.

use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim};
use crate::world::{World, eventually, request};
use bot::db::{deliveries, pulls, repositories, writes};
use bot::demo::standin::{Covered, Event};
use bot::missed;
use bot::pull::{RepoName, Repository};
use bot::runs;
use perfsuite::model::wire::Phase;

on_both!(
    an_installation_that_ends_stops_all_work_and_one_that_begins_takes_it_up,
    while_suspended_writes_wait,
    a_repository_taken_out_is_put_aside_and_given_back,
    a_rename_and_a_transfer_are_followed,
    what_becomes_private_is_no_longer_shown,
    an_end_that_nobody_told_is_found_by_the_sweep,
);

/// A world whose pull request waits for a runner.
async fn with_a_pull(on: On) -> (World, u64) {
    let (world, number) = World::with_pull(on).await;
    let head = world.head();
    eventually("both checks", || {
        world.check("paceline/commits", &head).and_then(|_| world.check("paceline/performance", &head))
    })
    .await;
    idle(&world).await;
    (world, number)
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

fn active(world: &World) -> bool {
    now(repositories::active(&world.server.app.db, world.repository)).unwrap()
}

fn row(world: &World) -> Repository {
    now(repositories::by_id(world.server.app.db.pool(), world.repository)).unwrap().unwrap()
}

async fn idle(world: &World) {
    eventually("all to be done and written", || {
        let db = &world.server.app.db;
        let (waiting, _) = now(deliveries::waiting(db.pool())).unwrap();
        (waiting == 0 && now(writes::waiting(db)).unwrap() == 0).then_some(())
    })
    .await;
}

async fn post(world: &World, event: &Event) {
    let parcel = world.github.compose(world.app_id, &world.url("/github/webhook"), event).unwrap();
    assert_eq!(world.github.post(parcel).await.unwrap().status, 202);
}

async fn an_installation_that_ends_stops_all_work_and_one_that_begins_takes_it_up(on: On) {
    let (world, number) = with_a_pull(on).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    let event = Event::Installation { installation: world.installation, action: "deleted".into() };
    let ended = world.github.compose(world.app_id, &world.url("/github/webhook"), &event).unwrap();
    let late = Event::PullRequest { repo: world.repository, number, action: "edited".into() };
    let late = world.github.compose(world.app_id, &world.url("/github/webhook"), &late).unwrap();
    world.github.uninstall(world.installation);
    world.github.post(ended).await.unwrap();
    eventually("the repository to be put aside", || (!active(&world)).then_some(())).await;
    let (_, orders) = runner.beat(&lease, lease.fence, Phase::Building).await;
    assert!(orders.contains("stop"), "the job is called off: {orders}");
    // One that was on its way is no failure.
    world.github.post(late).await.unwrap();
    idle(&world).await;
    assert_eq!(deliveries::newest_failure(&world.server.app.db).await.unwrap(), None);
    assert!(runner.claim(true).await.is_none());

    let installation = world.github.install(world.app_id, "acme");
    world.github.cover(installation, world.repository, Covered::Yes);
    let pushed = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    post(&world, &Event::Installation { installation, action: "created".into() }).await;
    eventually("the new head to be judged", || world.check("paceline/commits", &pushed)).await;
    assert!(active(&world));
    assert_eq!(row(&world).installation, installation);
    assert_eq!(eventually_claim(&runner).await.spec.head, pushed);
    assert_eq!(world.our_comments(number).len(), 1, "the same comment");
    world.server.stop().await;
}

async fn while_suspended_writes_wait(on: On) {
    let (world, number) = with_a_pull(on).await;
    idle(&world).await;
    let event =
        |action: &str| Event::Installation { installation: world.installation, action: action.into() };
    world.github.suspend(world.installation, true);
    post(&world, &event("suspend")).await;
    eventually("the repository to be put aside", || (!active(&world)).then_some(())).await;
    let asked = world.github.count("PATCH", "/comments/");
    runs::republish(&world.server.app, world.repository, number).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    assert_eq!(world.github.count("PATCH", "/comments/"), asked, "nothing is tried in vain");
    world.github.suspend(world.installation, false);
    post(&world, &event("unsuspend")).await;
    eventually("the comment to say what came of it", || {
        world.our_comments(number)[0].body.contains("suspension").then_some(())
    })
    .await;
    assert!(active(&world));
    world.server.stop().await;
}

async fn a_repository_taken_out_is_put_aside_and_given_back(on: On) {
    let (world, number) = with_a_pull(on).await;
    let event = |action: &str| Event::InstallationRepositories {
        installation: world.installation,
        repo: world.repository,
        action: action.into(),
    };
    world.github.cover(world.installation, world.repository, Covered::No);
    post(&world, &event("removed")).await;
    eventually("the repository to be put aside", || (!active(&world)).then_some(())).await;
    world.github.cover(world.installation, world.repository, Covered::Yes);
    let pushed = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    post(&world, &event("added")).await;
    eventually("the new head to be judged", || world.check("paceline/commits", &pushed)).await;
    idle(&world).await;
    assert!(active(&world));
    assert_eq!(world.our_comments(number).len(), 1);
    world.server.stop().await;
}

async fn a_rename_and_a_transfer_are_followed(on: On) {
    let (world, number) = with_a_pull(on).await;
    let name: RepoName = "acme/gadgets".parse().unwrap();
    world.github.rename_repository(world.repository, &name);
    post(&world, &Event::Repository { repo: world.repository, action: "renamed".into() }).await;
    eventually("the row to follow", || (row(&world).name == name).then_some(())).await;

    let globex = world.github.install(world.app_id, "globex");
    let name: RepoName = "globex/gadgets".parse().unwrap();
    world.github.cover(world.installation, world.repository, Covered::No);
    world.github.cover(globex, world.repository, Covered::Yes);
    world.github.rename_repository(world.repository, &name);
    post(&world, &Event::Repository { repo: world.repository, action: "transferred".into() }).await;
    eventually("the row to follow", || {
        let row = row(&world);
        (row.name == name && row.installation == globex).then_some(())
    })
    .await;
    let pushed = world.commit("fix: two", "pub fn one() -> u32 { 3 - 2 }\n");
    world.pull_event(number, "synchronize").await;
    eventually("the new head to be judged", || world.check("paceline/commits", &pushed)).await;
    let runner = Hand::new(&world, "box").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!((&lease.spec.head, lease.spec.repository.as_str()), (&pushed, "globex/gadgets"));
    runner.measure(&lease, 1.0).await;
    let comments = eventually("the comment of the new head", || {
        let comments = world.our_comments(number);
        comments[0].body.contains(&pushed.as_str()[..7]).then_some(comments)
    })
    .await;
    assert_eq!(comments.len(), 1, "found again under the new name");
    assert!(active(&world));
    world.server.stop().await;
}

async fn what_becomes_private_is_no_longer_shown(on: On) {
    let (world, _) = with_a_pull(on).await;
    let page = world.url("/acme/widgets");
    assert_eq!(request("GET", &page, &[], Vec::new()).await.0, 200);
    world.github.set_private(world.repository, true);
    post(&world, &Event::Repository { repo: world.repository, action: "privatized".into() }).await;
    eventually("the row to follow", || row(&world).private.then_some(())).await;
    let (status, body) = request("GET", &page, &[], Vec::new()).await;
    assert!(matches!(status, 401 | 403 | 404), "{status} {body}");
    world.github.set_private(world.repository, false);
    post(&world, &Event::Repository { repo: world.repository, action: "publicized".into() }).await;
    eventually("the row to follow", || (!row(&world).private).then_some(())).await;
    assert_eq!(request("GET", &page, &[], Vec::new()).await.0, 200);
    world.server.stop().await;
}

async fn an_end_that_nobody_told_is_found_by_the_sweep(on: On) {
    let (world, number) = with_a_pull(on).await;
    idle(&world).await;
    let other = world.github.install(world.app_id, "elsewhere");
    world.github.delete_repository(world.repository);
    missed::sweep(&world.server.app).await.unwrap();
    assert!(!active(&world), "deleted without a word");
    let row = pulls::get(world.server.app.db.pool(), world.repository, number).await.unwrap();
    assert!(row.is_some(), "what was found out is kept");
    world.github.uninstall(world.installation);
    world.github.uninstall(other);
    missed::sweep(&world.server.app).await.unwrap();
    assert_eq!(deliveries::newest_failure(&world.server.app.db).await.unwrap(), None);
    world.server.stop().await;
}
