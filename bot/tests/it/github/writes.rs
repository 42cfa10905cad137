//! What the client writes: the one comment, check runs with their annotations, reactions; each once.

use super::{MARKER, check_run};
use crate::scene::{Base, Scene};
use bot::demo::standin::{Fault, FaultKind};
use bot::github::GitHubError;
use bot::outgoing::{Annotation, AnnotationLevel, CheckStatus, Conclusion, TEXT_MAX_CHARS};

fn annotations(count: u32) -> Vec<Annotation> {
    let annotation = |n| Annotation {
        path: "src/lib.rs".into(),
        line: n + 1,
        column: (n % 2 == 0).then_some(3),
        level: AnnotationLevel::Warning,
        title: format!("finding {n}"),
        message: "says why".into(),
    };
    (0..count).map(annotation).collect()
}

#[tokio::test]
async fn comments_are_written_found_and_edited() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let repo = scene.repository();
    let github = scene.github(Base::Enterprise);
    assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), None);
    let id = github.create_comment(&repo, number, &format!("{MARKER}\nfirst")).await.unwrap();
    github.update_comment(&repo, id, &format!("{MARKER}\nsecond")).await.unwrap();
    assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), Some(id));
    let seen = scene.standin.comments(scene.repo, number);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].author.as_str(), seen[0].edits), ("paceline[bot]", 1));
    assert_eq!(seen[0].body, format!("{MARKER}\nsecond"));

    let asked = scene.standin.comment_as(scene.repo, number, "bob", "/paceline bench");
    github.create_reaction(&repo, asked, "eyes").await.unwrap();
    github.create_reaction(&repo, asked, "eyes").await.unwrap();
    assert_eq!(scene.standin.comments(scene.repo, number)[1].reactions, ["eyes"]);
    assert!(matches!(
        github.create_reaction(&repo, asked, "applause").await,
        Err(GitHubError::Invalid { status: 422, .. })
    ));

    scene.standin.delete_comment(scene.repo, id);
    assert!(matches!(github.update_comment(&repo, id, "x").await, Err(GitHubError::NotFound { .. })));
}

#[tokio::test]
async fn a_stranger_who_copies_the_marker_fools_nobody() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let repo = scene.repository();
    let github = scene.github(Base::Root);
    for login in ["mallory", "paceline", "other[bot]"] {
        scene.standin.comment_as(scene.repo, number, login, &format!("{MARKER}\nall green"));
    }
    assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), None);
    // Nor do we fool ourselves by quoting somebody's copy.
    github
        .create_comment(&repo, number, &format!("> {MARKER}\n\nI do not know that command."))
        .await
        .unwrap();
    assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), None);
    let ours = github.create_comment(&repo, number, MARKER).await.unwrap();
    assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), Some(ours));
}

#[tokio::test]
async fn what_a_502_hid_is_found_again() {
    let scene = Scene::new().await;
    let (number, head) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    scene.standin.fail(Fault::new("POST", "/issues/", FaultKind::BadGatewayAfter, 1));
    assert!(github.create_comment(&repo, number, MARKER).await.unwrap_err().passes());
    let found = github.find_comment(&repo, number, MARKER).await.unwrap();
    assert_eq!(found, Some(scene.standin.comments(scene.repo, number)[0].id));

    scene.standin.fail(Fault::new("POST", "/check-runs", FaultKind::BadGatewayAfter, 1));
    let run = check_run(&head);
    assert!(github.create_check_run(&repo, &run).await.unwrap_err().passes());
    let found = github.find_check_run(&repo, &head, &run.name, &run.external_id).await.unwrap();
    assert_eq!(found, Some(scene.standin.check_runs(scene.repo)[0].id));
    assert_eq!(github.find_check_run(&repo, &head, &run.name, "another").await.unwrap(), None);
    assert_eq!(github.find_check_run(&repo, &head, "another", &run.external_id).await.unwrap(), None);
}

#[tokio::test]
async fn check_runs_carry_everything_and_any_number_of_annotations() {
    let scene = Scene::new().await;
    let (_, head) = scene.pull();
    for (base, count) in [(Base::Root, 0), (Base::Enterprise, 50), (Base::Root, 51), (Base::Enterprise, 120)]
    {
        let (github, repo) = (scene.github(base), scene.repository());
        let mut run = check_run(&head);
        run.external_id = format!("commits:{count}");
        run.annotations = annotations(count);
        let id = github.create_check_run(&repo, &run).await.unwrap();
        let seen = scene.standin.check_runs(scene.repo).into_iter().find(|r| r.id == id).unwrap();
        assert_eq!(seen.annotations.len(), count as usize);
        assert_eq!((seen.status.as_str(), seen.conclusion.as_deref()), ("completed", Some("failure")));
        assert_eq!((seen.title.as_str(), seen.summary.as_str()), ("1 of 3 commits", "summary"));
        assert_eq!(
            (seen.external_id.as_str(), seen.head_sha.as_str()),
            (run.external_id.as_str(), head.as_str())
        );
        assert_eq!(seen.actions, ["approve"]);

        // The same once more changes nothing that a reader sees.
        github.update_check_run(&repo, id, &run).await.unwrap();
        let again = scene.standin.check_runs(scene.repo).into_iter().find(|r| r.id == id).unwrap();
        assert!(again == seen, "{count}");
    }
}

#[tokio::test]
async fn annotations_that_were_cut_off_are_completed_without_repeating_any() {
    let scene = Scene::new().await;
    let (_, head) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    let mut run = check_run(&head);
    run.annotations = annotations(170);
    scene.standin.fail(Fault::new("PATCH", "/check-runs/", FaultKind::BadGatewayAfter, 1));
    assert!(github.create_check_run(&repo, &run).await.is_err());
    let id = github.find_check_run(&repo, &head, &run.name, &run.external_id).await.unwrap().unwrap();
    github.update_check_run(&repo, id, &run).await.unwrap();
    let seen = &scene.standin.check_runs(scene.repo)[0];
    let mut lines: Vec<_> = seen.annotations.iter().map(|a| a.line).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=170).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_check_run_goes_back_to_running_and_done_again() {
    let scene = Scene::new().await;
    let (_, head) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    let mut run = check_run(&head);
    let id = github.create_check_run(&repo, &run).await.unwrap();
    let mut states = Vec::new();
    for status in
        [CheckStatus::InProgress, CheckStatus::Queued, CheckStatus::Completed(Conclusion::ActionRequired)]
    {
        run.status = status;
        github.update_check_run(&repo, id, &run).await.unwrap();
        let seen = scene.standin.check_runs(scene.repo).remove(0);
        states.push((seen.status, seen.conclusion));
    }
    let expected = [("in_progress", None), ("queued", None), ("completed", Some("action_required"))];
    let states: Vec<_> = states.iter().map(|(s, c)| (s.as_str(), c.as_deref())).collect();
    assert_eq!(states, expected);
}

#[tokio::test]
async fn texts_beyond_githubs_limits_are_cut_with_a_note() {
    let scene = Scene::new().await;
    let (number, head) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    let long = "🦀".repeat(70_000);
    let mut run = check_run(&head);
    (run.title, run.summary, run.text) = (long.clone(), long.clone(), long.clone());
    run.annotations = annotations(1);
    (run.annotations[0].title, run.annotations[0].message, run.annotations[0].line) =
        (long.clone(), long.clone(), 0);
    run.actions[0].label = long.clone();
    github.create_check_run(&repo, &run).await.unwrap();
    let seen = &scene.standin.check_runs(scene.repo)[0];
    assert!(seen.summary.chars().count() <= TEXT_MAX_CHARS && seen.summary.contains("cut here"));
    assert!(seen.text.contains("cut here") && seen.title.ends_with('…'));
    assert_eq!(seen.annotations[0].line, 1);
    github.create_comment(&repo, number, &long).await.unwrap();
    assert!(scene.standin.comments(scene.repo, number)[0].body.ends_with("is reached.*\n"));
}
