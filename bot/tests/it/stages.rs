//! How long a pull request waits: one reminder, in the comment that is there, and gone when somebody answers.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually};
use bot::db::clocks;
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
    let other = world.open_pull_on("other");
    world.pull_event(other, "opened").await;
    eventually("the other comment", || world.our_comments(other).pop()).await;
    let app = world.server.app.clone();
    // It was opened three days ago.
    sqlx::query("UPDATE pull_requests SET opened_ms = opened_ms - 259200000")
        .execute(app.db.pool())
        .await
        .unwrap();
    // An older one without targets does not stand before it.
    for sql in [
        "UPDATE pull_requests SET opened_ms = opened_ms - 1000 WHERE number = $1",
        "UPDATE clocks SET triage_days = 0, review_days = 0 WHERE number = $1",
    ] {
        sqlx::query(sql).bind(other as i64).execute(app.db.pool()).await.unwrap();
    }
    let waiting = clocks::waiting(&app.db, app.clock.now_ms(), 1).await.unwrap();
    assert_eq!(waiting.into_iter().map(|(_, number, _)| number).collect::<Vec<_>>(), [number]);
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

/// Stricter in every part, and measured only where a label asks for it.
const PROPOSED: &[u8] = b"[commits.rules]\ntype-enum = { values = ['feat'] }\n[claims]\nlevel = 'error'\n\
    [tests]\nlevel = 'error'\n[reviews]\nlevel = 'error'\nowners-per-file = 1\n\
    [[perf.suite]]\nname = 'widgets'\nkind = 'criterion'\non = 'label:perf'\nmode = 'advise'\n";

async fn a_changed_configuration_is_tried_on_the_past(on: On) {
    let files = vec![(".github/CODEOWNERS", "* @bob @carol\n")];
    let world = World::new(on, Wishes { files, ..Wishes::default() }).await;
    for branch in ["one", "two", "three"] {
        let number = world.open_pull_on(branch);
        if branch == "two" {
            let label = |pull: &mut bot::demo::standin::PullEdit| pull.labels = vec!["perf".into()];
            world.github.edit_pull(world.repository, number, label).unwrap();
            world.github.review_as(world.repository, number, "bob", "APPROVED").unwrap();
        }
        world.pull_event(number, "opened").await;
        world.checked("paceline/reviews", &world.github.tip(world.repository, branch).unwrap()).await;
    }
    let propose = |text: &[u8]| {
        let files: [(&str, Option<&[u8]>); 1] = [(".github/paceline.toml", Some(text))];
        world.github.commit(world.repository, "topic", "ci: be strict", &files).unwrap()
    };
    let head = propose(PROPOSED);
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let check = world.checked("paceline/commits", &head).await;
    let plain: String = check.summary.chars().filter(|c| !matches!(c, '\\' | '\u{200b}')).collect();
    for part in [
        "Tried on the last 3 pull requests",
        "3 refused for their commits (now 0; newly #3, #2, #1)",
        "3 refused for a claim (now 0; newly #3, #2, #1)",
        "0 told of a claim (now 3; no more #3, #2, #1)",
        "3 refused for their tests (now 0; newly #3, #2, #1)",
        "2 refused for want of approvals (now 0; newly #3, #1)",
        "0 told that approvals lack (now 3; no more #3, #2, #1)",
        "1 measured (now 3; no more #3, #1)",
    ] {
        assert!(plain.contains(part), "{part} in {plain}");
    }
    // What was told then can be told again, from what was kept.
    let kept =
        bot::db::dossiers::get(world.server.app.db.pool(), world.repository, number, Some(&head)).await;
    assert_eq!(kept.unwrap().unwrap().facts.what_if.unwrap().looked_at, 3);

    let head = propose(b"[reviews]\nowners-per-file = 'many'\n");
    world.pull_event(number, "synchronize").await;
    let check = world.checked("paceline/commits", &head).await;
    assert!(check.summary.contains("cannot be read as it is proposed: line 2"), "{}", check.summary);

    // Where nothing is known to change, that is told.
    let head = propose(b"[perf]\nminutes-per-day = 100\n");
    world.pull_event(number, "synchronize").await;
    let check = world.checked("paceline/commits", &head).await;
    assert!(check.summary.contains("it would have changed nothing that is known"), "{}", check.summary);
    world.server.stop().await;
}
