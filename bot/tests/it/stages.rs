//! How long a pull request waits: one reminder, in the comment that is there, and gone when somebody answers.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually};
use bot::demo::standin::Event;
use bot::reconcile;

on_both!(a_pull_request_that_waits_is_told_once, a_changed_configuration_is_tried_on_the_past);

async fn a_pull_request_that_waits_is_told_once(on: On) {
    let files = vec![(".github/CODEOWNERS", "* @bob\n")];
    let config = Some("[reviews]\ntriage-days = 2\nowners-per-file = 1\n");
    let world = World::new(on, Wishes { files, config, ..Wishes::default() }).await;
    let number = world.open_pull("feat: one");
    world.pull_event(number, "opened").await;
    let comment = eventually("the comment", || world.our_comments(number).pop()).await;
    assert!(!comment.body.contains("Nobody has answered"), "{}", comment.body);
    let app = world.server.app.clone();
    // It was opened three days ago.
    sqlx::query("UPDATE pull_requests SET opened_ms = opened_ms - 259200000")
        .execute(app.db.pool())
        .await
        .unwrap();
    reconcile::once(&app).await.unwrap();
    let reminded = eventually("the reminder", || {
        world.our_comments(number).into_iter().find(|comment| comment.body.contains("Nobody has answered"))
    })
    .await;
    assert!(reminded.body.contains("within 2 days"), "{}", reminded.body);
    assert_eq!((world.our_comments(number).len(), reminded.id), (1, comment.id), "no new comment");
    reconcile::once(&app).await.unwrap();
    assert_eq!(bot::reminders::once(&app).await.unwrap(), 0, "once");

    // The author's own words are no answer.
    world.say(number, "alice", "anybody?").await;
    let review = world.github.review_as(world.repository, number, "bob", "APPROVED").unwrap();
    let told =
        Event::PullRequestReview { repo: world.repository, number, review, action: "submitted".into() };
    world.send(&told).await;
    let answered = eventually("the first response", || {
        world.our_comments(number).into_iter().find(|comment| comment.body.contains("first response in"))
    })
    .await;
    assert!(answered.body.contains("(target 2 d)") && !answered.body.contains("Nobody has answered"));
    assert!(answered.body.contains("approved in"), "{}", answered.body);
    world.server.stop().await;
}

async fn a_changed_configuration_is_tried_on_the_past(on: On) {
    let world = World::new(on, Wishes::default()).await;
    for branch in ["one", "two"] {
        let number = world.open_pull_on(branch);
        world.pull_event(number, "opened").await;
        world.checked("paceline/commits", &world.github.tip(world.repository, branch).unwrap()).await;
    }
    let proposed: &[u8] = b"[commits.rules]\ntype-enum = { values = [\"feat\"] }\n";
    let files: [(&str, Option<&[u8]>); 1] = [(".github/paceline.toml", Some(proposed))];
    let head = world.github.commit(world.repository, "topic", "ci: be strict", &files).unwrap();
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let check = world.checked("paceline/commits", &head).await;
    let expect = "Of the last 2 pull requests it would have refused 2 for their commits";
    assert!(check.summary.contains(expect), "{}", check.summary);
    world.server.stop().await;
}
