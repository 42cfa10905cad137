//! The GitHub client against the stand-in: every endpoint on both kinds of address, and every trap.

use crate::scene::{BASES, Base, Scene, new_pull};
use bot::demo::standin::{Covered, Event, Fault, FaultKind, NewPull, NewRepository};
use bot::github::{GitHub, GitHubConfig, GitHubError, Standing};
use bot::outgoing::{Action, CheckRun, CheckStatus, Conclusion};
use bot::pull::{ChangeKind, Permission, PullState};
use perfsuite::model::Sha;
use secrecy::{ExposeSecret, SecretString};

mod writes;

const MARKER: &str = "<!-- paceline:comment -->";

fn check_run(head: &Sha) -> CheckRun {
    CheckRun {
        name: "paceline/commits".into(),
        head_sha: head.clone(),
        external_id: format!("commits:{head}"),
        status: CheckStatus::Completed(Conclusion::Failure),
        title: "1 of 3 commits".into(),
        summary: "summary".into(),
        text: "text".into(),
        details_url: Some("http://127.0.0.1:3000/x".into()),
        annotations: Vec::new(),
        actions: vec![Action {
            label: "Run".into(),
            description: "Allow this head to run".into(),
            identifier: "approve".into(),
        }],
    }
}

#[tokio::test]
async fn every_question_works_on_both_kinds_of_address() {
    let scene = Scene::new().await;
    let (number, head) = scene.pull();
    scene.standin.set_permission(scene.repo, "bob", Permission::Maintain);
    scene.standin.edit_pull(scene.repo, number, |p| p.labels = vec!["perf".into(), "größer".into()]).unwrap();
    for base in BASES {
        let github = scene.github(base);
        let app = github.app_self_check().await.unwrap();
        assert_eq!((app.id, app.bot_login().as_str()), (scene.app.app_id, "paceline[bot]"));
        assert_eq!(app.missing_permissions, [""; 0]);
        let name = scene.repository().name;
        assert_eq!(github.installation_for(&name).await.unwrap(), scene.installation);
        assert_eq!(github.installations().await.unwrap(), [(scene.installation, Standing::Active)]);
        let repo = github.repository(scene.installation, &name).await.unwrap();
        assert_eq!(repo, scene.repository());
        assert_eq!(github.repositories(scene.installation).await.unwrap(), std::slice::from_ref(&repo));

        let pull = github.pull_request(&repo, number).await.unwrap();
        assert_eq!(
            (pull.number, pull.title.as_str(), pull.author.as_str()),
            (number, "fix: a thing", "alice")
        );
        assert_eq!((pull.state, pull.draft, pull.from_fork), (PullState::Open, false, false));
        assert_eq!((pull.base_ref.as_str(), pull.head_ref.as_str()), ("main", "change"));
        assert_eq!(pull.base_sha, scene.standin.tip(scene.repo, "main").unwrap());
        assert_eq!(pull.head_sha, head);
        assert_eq!(pull.labels, ["perf", "größer"]);
        assert_eq!(pull.opened_ms, scene.clock.now_ms());
        assert_eq!(github.open_pulls(&repo).await.unwrap(), [pull]);

        let commits = github.commits(&repo, number).await.unwrap();
        assert!(commits.complete);
        let shown: Vec<_> = commits.items.iter().map(|c| (c.message.as_str(), c.parents)).collect();
        assert_eq!(shown, [("fix: a thing", 1)]);
        let files = github.files(&repo, number).await.unwrap();
        assert!(files.complete);
        let shown: Vec<_> = files.items.iter().map(|f| (f.path.as_str(), f.kind)).collect();
        assert_eq!(shown, [("src/lib.rs", ChangeKind::Added)]);

        for (login, expected) in
            [("acme", Permission::Admin), ("bob", Permission::Maintain), ("nobody", Permission::None)]
        {
            assert_eq!(github.permission(&repo, login).await.unwrap(), expected, "{login}");
        }
        assert!(matches!(github.pull_request(&repo, 999).await, Err(GitHubError::NotFound { .. })));
    }
}

#[tokio::test]
async fn lists_go_over_many_pages_with_authorization_on_each() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let repo = scene.repository();
    for n in 0..260 {
        scene.standin.comment_as(scene.repo, number, "bob", &format!("comment {n}"));
    }
    for base in BASES {
        let github = scene.github(base);
        // On the last page, so that every page must have been read.
        let ours = github.create_comment(&repo, number, MARKER).await.unwrap();
        assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), Some(ours));
        scene.standin.delete_comment(scene.repo, ours);
    }
    let requests = scene.standin.requests();
    let pages: Vec<_> =
        requests.iter().filter(|r| r.method == "GET" && r.target.contains("/comments?")).collect();
    assert_eq!(pages.len(), 6);
    assert_eq!(pages.iter().filter(|p| p.target.starts_with("/api/v3/repos/acme/gateway/")).count(), 3);
    for page in pages {
        assert!(page.authorized, "{}", page.target);
        assert_eq!(page.status, 200, "{}", page.target);
    }
}

#[tokio::test]
async fn a_list_at_githubs_bound_says_that_it_is_incomplete() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let github = scene.github(Base::Root);
    for n in 1..249 {
        scene.standin.commit(scene.repo, "change", &format!("fix: {n}"), &[]).unwrap();
    }
    let commits = github.commits(&scene.repository(), number).await.unwrap();
    assert_eq!((commits.items.len(), commits.complete), (249, true));
    for n in 249..260 {
        scene.standin.commit(scene.repo, "change", &format!("fix: {n}"), &[]).unwrap();
    }
    let commits = github.commits(&scene.repository(), number).await.unwrap();
    assert_eq!((commits.items.len(), commits.complete), (250, false));
    assert_eq!(commits.items[0].message, "fix: a thing");
    assert_eq!(commits.items[249].message, "fix: 249");
}

#[tokio::test]
async fn fifty_callers_share_one_token() {
    let scene = Scene::new().await;
    let github = scene.github(Base::Root);
    let callers = (0..50).map(|_| {
        let (github, installation) = (github.clone(), scene.installation);
        tokio::spawn(async move { github.installation_token(installation).await.unwrap() })
    });
    let mut tokens = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        tokens.push(caller.await.unwrap().expose_secret().to_owned());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(scene.standin.count("POST", "/access_tokens"), 1);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires_and_when_it_is_refused() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    let tokens = || scene.standin.count("POST", "/access_tokens");
    github.pull_request(&repo, number).await.unwrap();
    scene.clock.advance(40 * 60_000);
    github.pull_request(&repo, number).await.unwrap();
    assert_eq!(tokens(), 1);
    // Ten minutes before its end it is too short for a long fetch.
    scene.clock.advance(10 * 60_000);
    github.pull_request(&repo, number).await.unwrap();
    assert_eq!(tokens(), 2);
    scene.standin.revoke_tokens();
    github.pull_request(&repo, number).await.unwrap();
    assert_eq!(tokens(), 3);
    // A write is not repeated, but the next one has a fresh token.
    scene.standin.revoke_tokens();
    assert!(matches!(github.create_comment(&repo, number, "x").await, Err(GitHubError::Unauthorized { .. })));
    assert_eq!(scene.standin.count("POST", "/comments"), 1);
    github.create_comment(&repo, number, "x").await.unwrap();
    assert_eq!(scene.standin.comments(scene.repo, number).len(), 1);
}

#[tokio::test]
async fn reads_are_tried_three_times_and_writes_once() {
    let scene = Scene::new().await;
    let (number, head) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    let fail =
        |method: &str, part: &str, kind, times| scene.standin.fail(Fault::new(method, part, kind, times));
    fail("GET", "/pulls/", FaultKind::InternalError, 2);
    assert_eq!(github.pull_request(&repo, number).await.unwrap().number, number);
    assert_eq!(scene.standin.count("GET", "/pulls/"), 3);
    fail("GET", "/pulls/", FaultKind::InternalError, 3);
    assert!(matches!(github.pull_request(&repo, number).await, Err(GitHubError::Transient { .. })));
    assert_eq!(scene.standin.count("GET", "/pulls/"), 6);

    for (kind, part) in [(FaultKind::InternalError, "/comments"), (FaultKind::BadGatewayAfter, "/comments")] {
        let before = scene.standin.count("POST", part);
        fail("POST", part, kind, 1);
        let failed = github.create_comment(&repo, number, "x").await;
        assert!(matches!(failed, Err(GitHubError::Transient { .. })), "{kind:?}");
        assert_eq!(scene.standin.count("POST", part), before + 1, "{kind:?}");
    }
    fail("POST", "/check-runs", FaultKind::InternalError, 1);
    assert!(github.create_check_run(&repo, &check_run(&head)).await.is_err());
    assert_eq!(scene.standin.count("POST", "/check-runs"), 1);
    fail("PATCH", "/comments", FaultKind::InternalError, 1);
    let id = scene.standin.comments(scene.repo, number)[0].id;
    assert!(github.update_comment(&repo, id, "y").await.is_err());
    assert_eq!(scene.standin.count("PATCH", "/comments"), 1);
}

#[tokio::test]
async fn limits_say_until_when() {
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    for kind in [FaultKind::Secondary { retry_after_s: 7 }, FaultKind::TooMany { retry_after_s: 7 }] {
        scene.standin.fail(Fault::new("GET", "/pulls/", kind, 1));
        let (now_ms, before) = (scene.clock.now_ms(), scene.standin.count("GET", "/pulls/"));
        let limited = github.pull_request(&repo, number).await;
        assert_eq!(limited, Err(GitHubError::RateLimited { until_ms: now_ms + 7_000 }));
        assert_eq!(github.pull_request(&repo, number).await, limited, "we know by ourselves");
        assert_eq!(scene.standin.count("GET", "/pulls/"), before + 1, "asked again at once");
        scene.clock.advance(7_000);
    }
    let now_ms = scene.clock.now_ms();
    scene.standin.set_quota(scene.installation, 0);
    let limited = github.create_comment(&repo, number, "x").await;
    let Err(GitHubError::RateLimited { until_ms }) = limited else { panic!("{limited:?}") };
    assert!(until_ms > now_ms && until_ms <= now_ms + 3_600_000, "{until_ms}");
    let asked = scene.standin.requests().len();
    assert!(matches!(github.pull_request(&repo, number).await, Err(GitHubError::RateLimited { .. })));
    assert_eq!(scene.standin.requests().len(), asked, "an empty quota is not asked of again");
    scene.clock.advance(until_ms - now_ms);
    scene.standin.set_quota(scene.installation, 5_000);
    assert!(github.pull_request(&repo, number).await.is_ok());
}

#[tokio::test]
async fn a_fork_is_one_also_when_it_is_gone() {
    let scene = Scene::new().await;
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    let fork = scene.standin.create_repository(&NewRepository::named("mallory/gateway").unwrap()).unwrap();
    let main = scene.standin.tip(scene.repo, "main").unwrap();
    scene.standin.push(fork, &scene.standin.git_dir(scene.repo).unwrap(), &main, "patch").unwrap();
    let head = scene.standin.commit(fork, "patch", "fix: trust me", &[("build.rs", Some(b"x"))]).unwrap();
    let pull = NewPull { author: "mallory".into(), fork: Some(fork), ..new_pull("patch") };
    let number = scene.standin.open_pull(scene.repo, &pull).unwrap();
    let seen = github.pull_request(&repo, number).await.unwrap();
    assert_eq!((seen.from_fork, seen.head_sha), (true, head));
    scene.standin.delete_repository(fork);
    assert!(github.pull_request(&repo, number).await.unwrap().from_fork);
    assert_eq!(github.commits(&repo, number).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_renamed_repository_is_found_under_its_old_name() {
    for base in BASES {
        let scene = Scene::new().await;
        let (number, _) = scene.pull();
        let (github, repo) = (scene.github(base), scene.repository());
        scene.standin.rename_repository(scene.repo, &"acme/edge".parse().unwrap());
        assert_eq!(github.pull_request(&repo, number).await.unwrap().number, number);
        let id = github.create_comment(&repo, number, MARKER).await.unwrap();
        assert_eq!(github.find_comment(&repo, number, MARKER).await.unwrap(), Some(id));
        assert_eq!(scene.standin.comments(scene.repo, number).len(), 1);
        let renamed = github.repository(scene.installation, &repo.name).await.unwrap();
        assert_eq!((renamed.id, renamed.name.to_string().as_str()), (scene.repo, "acme/edge"));
    }
}

#[tokio::test]
async fn lost_deliveries_are_listed_and_sent_again() {
    use axum::{Router, http::HeaderMap, http::StatusCode, routing::post};
    use std::sync::atomic::{AtomicUsize, Ordering};
    let scene = Scene::new().await;
    let github = scene.github(Base::Enterprise);
    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    let failures = std::sync::Arc::new(AtomicUsize::new(3));
    let router = Router::new().route(
        "/",
        post(move |headers: HeaderMap| async move {
            let broken =
                failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            sent.send(headers["x-github-delivery"].to_str().unwrap().to_owned()).unwrap();
            if broken { StatusCode::BAD_GATEWAY } else { StatusCode::ACCEPTED }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let since = scene.clock.now_ms();
    // Lost twice, lost once, arrived at once.
    let first = scene.standin.deliver(scene.app.app_id, &url, &Event::Ping).await.unwrap().guid;
    scene.standin.redeliver(&first).await.unwrap();
    let second = scene.standin.deliver(scene.app.app_id, &url, &Event::Ping).await.unwrap().guid;
    let third = scene.standin.deliver(scene.app.app_id, &url, &Event::Ping).await.unwrap().guid;
    for guid in [&first, &first, &second, &third] {
        assert_eq!(received.recv().await.as_ref(), Some(guid));
    }
    let lost = github.failed_deliveries(since).await.unwrap();
    assert_eq!(lost.iter().map(|d| &d.guid).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!(github.failed_deliveries(since + 1_000).await.unwrap(), []);
    github.redeliver(lost[0].id).await.unwrap();
    assert_eq!(received.recv().await.as_ref(), Some(&first));
    // The stand-in notes the outcome after the answer; until then it still counts as lost.
    while github.failed_deliveries(since).await.unwrap().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(github.failed_deliveries(since).await.unwrap()[0].guid, second);
    server.abort();
}

#[tokio::test]
async fn a_refusal_is_told_from_what_is_not_there() {
    let scene = Scene::new().await;
    let (number, head) = scene.pull();
    let (github, repo) = (scene.github(Base::Root), scene.repository());
    scene.standin.grant(scene.installation, "checks", Some("read"));
    let refused = github.create_check_run(&repo, &check_run(&head)).await;
    assert!(matches!(refused, Err(GitHubError::Forbidden { .. })), "{refused:?}");
    scene.standin.edit_pull(scene.repo, number, |p| p.locked = true).unwrap();
    let refused = github.create_comment(&repo, number, "x").await;
    assert!(matches!(refused, Err(GitHubError::Forbidden { .. })), "{refused:?}");
    scene.standin.cover(scene.installation, scene.repo, Covered::No);
    let gone = github.pull_request(&repo, number).await;
    assert!(matches!(gone, Err(GitHubError::NotFound { .. })), "{gone:?}");
    let gone = github.installation_for(&repo.name).await;
    assert!(matches!(gone, Err(GitHubError::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn wrong_credentials_are_said_plainly() {
    let scene = Scene::new().await;
    let other = scene.standin.create_app("other").unwrap();
    let with = |app_id, private_key| {
        GitHub::new(GitHubConfig {
            api_url: scene.standin.url(),
            git_url: None,
            request_timeout: bot::github::REQUEST_TIMEOUT,
            app_id,
            private_key,
            clock: scene.clock.clone(),
        })
    };
    // Another App's key under our id.
    let mixed = with(scene.app.app_id, other.private_key.clone()).unwrap();
    assert!(matches!(mixed.app_self_check().await, Err(GitHubError::Unauthorized { .. })));
    // An App that does not exist.
    let unknown = with(1, other.private_key.clone()).unwrap();
    assert!(matches!(unknown.app_self_check().await, Err(GitHubError::NotFound { .. })));
    // No key at all.
    for bad in ["", "hello", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"] {
        let refused = with(1, SecretString::from(bad.to_owned()));
        assert!(matches!(&refused, Err(GitHubError::Config { .. })), "{bad:?}");
        assert!(!refused.err().unwrap().to_string().contains("AAAA"));
    }
    // Another App cannot use our installation.
    let stranger = with(other.app_id, other.private_key).unwrap();
    let refused = stranger.installation_token(scene.installation).await;
    assert!(matches!(refused, Err(GitHubError::NotFound { .. })));
}

#[tokio::test]
async fn no_answer_and_no_server_are_faults_that_pass() {
    let scene = Scene::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let github = GitHub::new(GitHubConfig {
        api_url: format!("http://{address}"),
        git_url: Some("https://git.example/".into()),
        request_timeout: bot::github::REQUEST_TIMEOUT,
        app_id: scene.app.app_id,
        private_key: scene.app.private_key.clone(),
        clock: scene.clock.clone(),
    })
    .unwrap();
    let error = github.app_self_check().await.unwrap_err();
    assert!(matches!(error, GitHubError::Transient { .. }) && error.passes(), "{error}");
    assert_eq!(github.git_url(&scene.repository().name), "https://git.example/acme/gateway.git");
}

#[tokio::test]
async fn a_deliverys_signature_covers_its_bytes() {
    use axum::{Router, http::HeaderMap, routing::post};
    use hmac::{Hmac, KeyInit, Mac};
    let scene = Scene::new().await;
    let (number, _) = scene.pull();
    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().route(
        "/github/webhook",
        post(move |headers: HeaderMap, body: axum::body::Bytes| async move {
            sent.send((headers, body)).unwrap();
            axum::http::StatusCode::ACCEPTED
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/github/webhook", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let comment = scene.standin.comment_as(scene.repo, number, "bob", "/paceline bench");
    let tip = scene.standin.tip(scene.repo, "main").unwrap();
    let events = [
        Event::Ping,
        Event::PullRequest { repo: scene.repo, number, action: "opened".into() },
        Event::IssueComment { repo: scene.repo, number, comment, action: "created".into() },
        Event::Push {
            repo: scene.repo,
            branch: "main".into(),
            before: tip.clone(),
            after: tip,
            pusher: "acme".into(),
        },
        Event::Installation { installation: scene.installation, action: "created".into() },
    ];
    for event in &events {
        let delivered = scene.standin.deliver(scene.app.app_id, &url, event).await.unwrap();
        assert_eq!(delivered.status, 202);
        let (headers, body) = received.recv().await.unwrap();
        let mut mac =
            Hmac::<sha2::Sha256>::new_from_slice(scene.app.webhook_secret.expose_secret().as_bytes())
                .unwrap();
        mac.update(&body);
        let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        assert_eq!(headers["x-hub-signature-256"], expected);
        assert_eq!(headers["x-github-delivery"], delivered.guid);
        let payload: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(payload.is_object());
        let again = scene.standin.redeliver(&delivered.guid).await.unwrap();
        assert_eq!(again.guid, delivered.guid);
        assert_eq!(received.recv().await.unwrap().1, body);
    }
    server.abort();
}
