//! Who may see what: every route by every kind of visitor, people who sign in through GitHub's door, forms of ours alone.

use crate::database::{On, on_both};
use crate::seed::{NOW_MS, Seeded, fine_commits, job_id, judged, pull, report, sha};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bot::access::Access;
use bot::activity::{Kind, NewEvent};
use bot::config::AccessConfig;
use bot::db::{activity, opt_outs, repositories};
use bot::demo::standin::{Covered, NewRepository, StandIn, StandInOptions};
use bot::github::{GitHub, GitHubConfig, REQUEST_TIMEOUT, UserFlow};
use bot::pull::{Permission, RepoId, RepoName, Repository};
use bot::web::pages::{self, Site};
use std::collections::{BTreeMap, BTreeSet};
use tower::ServiceExt;

on_both!(
    every_route_by_every_visitor,
    where_sign_in_is_required_nothing_is_public,
    a_sign_in_is_good_once_and_in_one_browser,
    a_form_of_another_site_does_nothing,
    who_asks_to_be_left_out_is_named_nowhere,
    who_has_a_login_now_is_not_who_had_it,
    where_github_does_not_answer_nothing_private_is_shown,
);

const PUBLIC_URL: &str = "http://paceline.test";
/// Has job 6 and pull request 1.
pub const SECRET: &str = "acme/secret-sauce";

/// A working day with a door to GitHub.
pub struct House {
    pub seeded: Seeded,
    github: StandIn,
}

impl House {
    pub async fn new(on: On, config: AccessConfig) -> Self {
        let mut seeded = Seeded::working_day(on).await;
        let github = StandIn::start(StandInOptions::new(seeded.dir.path().join("github"))).await.unwrap();
        let app = github.create_app("paceline").unwrap();
        let installation = github.install(app.app_id, "acme");
        let mut people: BTreeMap<&str, RepoId> = BTreeMap::new();
        for name in [SECRET, "acme/other", "acme/gateway"] {
            let mut new = NewRepository::named(name).unwrap();
            new.private = name != "acme/gateway";
            let repo = github.create_repository(&new).unwrap();
            github.cover(installation, repo, Covered::Yes);
            people.insert(name, repo);
        }
        github.set_permission(people[SECRET], "reader", Permission::Read);
        github.set_permission(people[SECRET], "writer", Permission::Write);
        github.set_permission(people["acme/other"], "other", Permission::Admin);
        github.set_permission(people["acme/other"], "boss", Permission::Read);
        for (id, name, private) in [(3, SECRET, true), (9, "acme/other", true), (1, "acme/gateway", false)] {
            let repository = Repository {
                id: RepoId(id),
                installation,
                name: name.parse::<RepoName>().unwrap(),
                private,
                default_branch: "main".into(),
            };
            let mut tx = seeded.db().begin().await.unwrap();
            repositories::upsert(&mut tx, &repository, NOW_MS).await.unwrap();
            tx.commit().await.unwrap();
        }
        // Something to download, and a person to look at.
        let runner = seeded.runner("bench-02", false, NOW_MS).await;
        let job = seeded.claim(&runner, NOW_MS).await;
        assert_eq!(job.id, job_id(6));
        seeded.finish(&job, &report(Vec::new()), NOW_MS).await;
        let flow = UserFlow {
            api_url: github.enterprise_url(),
            git_url: None,
            client_id: format!("Iv1.{}", app.app_id),
            client_secret: app.webhook_secret.clone(),
        };
        let hub = GitHub::new(GitHubConfig {
            api_url: github.enterprise_url(),
            git_url: None,
            app_id: app.app_id,
            private_key: app.private_key.clone(),
            clock: bot::clock::Clock::system(),
            request_timeout: REQUEST_TIMEOUT,
        });
        let clock = seeded.site.clock.clone();
        seeded.site.access = Access::new(hub.unwrap(), Some(flow), config, PUBLIC_URL.into(), clock);
        Self { seeded, github }
    }

    pub async fn send(&self, method: &str, path: &str, cookie: Option<&str>, body: &str) -> Answer {
        let site = self.seeded.site.clone();
        let router = pages::routes::<Site>(site.clone()).with_state(site);
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let response = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str, cookie: Option<&str>) -> Answer {
        self.send("GET", path, cookie, "").await
    }

    /// To GitHub and back: the path of the callback, and the cookie that the browser has by then.
    async fn go_to_github(&self, login: &str) -> (String, String) {
        self.github.at_the_browser(login);
        let begun = self.get("/sign-in?back=%2Facme%2Fgateway", None).await;
        assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.body);
        let authorize = begun.headers["location"].to_str().unwrap();
        let back = crate::world::location(authorize).await;
        let path = back.strip_prefix(PUBLIC_URL).expect("GitHub sends people back to us").to_owned();
        (path, cookie_of(&begun.headers, "paceline-sign-in"))
    }

    /// The cookie of somebody who is signed in.
    pub async fn sign_in(&self, login: &str) -> String {
        let (path, cookie) = self.go_to_github(login).await;
        let done = self.get(&path, Some(&cookie)).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
        assert_eq!(done.headers["location"], "/acme/gateway");
        cookie_of(&done.headers, "paceline-session")
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// `name=value` of a cookie that an answer sets.
fn cookie_of(headers: &HeaderMap, name: &str) -> String {
    let all = headers.get_all("set-cookie").into_iter().map(|value| value.to_str().unwrap());
    let found = all.into_iter().find(|cookie| cookie.starts_with(&format!("{name}="))).unwrap();
    assert!(
        found.contains("HttpOnly") && found.contains("SameSite=Lax") && found.contains("Path=/"),
        "{found}"
    );
    found.split(';').next().unwrap().to_owned()
}

pub fn csrf_of(body: &str) -> String {
    body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// Whose a route is.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    /// For everybody, whatever is in it.
    Everybody,
    /// Of the repository that is in its path, or of the job.
    Repository,
    /// The same, where the seeded repositories may have nothing to show.
    Part,
    /// Of the visitor.
    Visitor,
    /// Answered to forms of ours alone.
    Form,
    /// The same of the repository that is in its path, to those who may write there.
    Writing,
    /// Sends the browser elsewhere, or refuses.
    SignIn,
}

/// Every route of the pages and of the API.
const ROUTES: [(&str, Whose); 42] = [
    ("/", Whose::Everybody),
    ("/runners", Whose::Everybody),
    ("/service", Whose::Everybody),
    ("/assets/{file}", Whose::Everybody),
    ("/runs/{job}", Whose::Repository),
    ("/runs/{job}/evidence", Whose::Repository),
    ("/{owner}/{name}", Whose::Repository),
    ("/{owner}/{name}/contributors", Whose::Repository),
    ("/{owner}/{name}/contributors/{login}", Whose::Repository),
    ("/{owner}/{name}/history", Whose::Repository),
    ("/{owner}/{name}/history.csv", Whose::Repository),
    ("/{owner}/{name}/history/accept", Whose::Writing),
    ("/{owner}/{name}/history/rename", Whose::Writing),
    ("/{owner}/{name}/history/quarantine", Whose::Writing),
    ("/{owner}/{name}/history/release", Whose::Writing),
    ("/{owner}/{name}/compare", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/history", Whose::Repository),
    ("/{owner}/{name}/calibration", Whose::Repository),
    ("/{owner}/{name}/badge/{what}", Whose::Repository),
    ("/{owner}/{name}/pull/{number}", Whose::Repository),
    ("/{owner}/{name}/pull/{number}/story", Whose::Repository),
    ("/sign-in", Whose::SignIn),
    ("/sign-in/callback", Whose::SignIn),
    ("/sign-out", Whose::Form),
    ("/me", Whose::Visitor),
    ("/me/leave-out", Whose::Form),
    ("/me/take-in", Whose::Form),
    ("/me/delete", Whose::Form),
    ("/api/v1/openapi.json", Whose::Everybody),
    ("/api/v1/repositories", Whose::Everybody),
    ("/api/v1/repositories/{owner}/{name}", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/pulls", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/pulls/{number}", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/pulls/{number}/story", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/health", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/contributors", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/contributors/{login}", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/calibration", Whose::Repository),
    ("/api/v1/repositories/{owner}/{name}/counts", Whose::Repository),
    ("/api/v1/runs/{job}", Whose::Repository),
    ("/api/v1/service", Whose::Everybody),
    ("/api/v1/{*rest}", Whose::SignIn),
];

/// Those of [`ROUTES`], and further ones below a repository or a run, which keep to the same rule.
fn routes() -> Vec<(&'static str, Whose)> {
    let mut all = ROUTES.to_vec();
    for route in routed() {
        let below = route.contains("{owner}/{name}") || route.contains("/runs/{job}");
        if below && all.iter().all(|(known, _)| *known != route) {
            all.push((route, Whose::Part));
        }
    }
    all
}

fn path(route: &str, name: &str, job: u32, number: u64, login: &str) -> String {
    let (owner, name) = name.split_once('/').unwrap();
    let known = route
        .replace("{owner}", owner)
        .replace("{name}", name)
        .replace("{job}", &job_id(job).0)
        .replace("{number}", &number.to_string())
        .replace("{login}", login)
        .replace("{what}", "stars.svg");
    // Whatever else a route has in it.
    known.split('/').map(|part| if part.starts_with('{') { "0" } else { part }).collect::<Vec<_>>().join("/")
}

async fn every_route_by_every_visitor(on: On) {
    let config = AccessConfig { admins: vec!["Boss".into()], sign_in_required: false };
    let house = House::new(on, config).await;
    let mut visitors: Vec<(&str, Option<String>, bool)> = vec![("nobody", None, false)];
    for (login, may_read) in [("reader", true), ("writer", true), ("boss", false), ("other", false)] {
        visitors.push((login, Some(house.sign_in(login).await), may_read));
    }
    for (route, whose) in routes() {
        for (who, cookie, may_read) in &visitors {
            let cookie = cookie.as_deref();
            match whose {
                Whose::Everybody if !route.contains('{') => {
                    let answer = house.get(route, cookie).await;
                    assert_eq!(answer.status, StatusCode::OK, "{route} by {who}: {}", answer.body);
                    let names_it = answer.body.contains(SECRET) || answer.body.contains("the secret plan");
                    assert!(!names_it || *may_read, "{route} tells {who} of what is private");
                }
                Whose::Repository => {
                    let public = house.get(&path(route, "acme/gateway", 2, 17, "alice"), cookie).await;
                    assert_eq!(public.status, StatusCode::OK, "{route} by {who}: {}", public.body);
                    let private = house.get(&path(route, SECRET, 6, 1, "mallory"), cookie).await;
                    let expected = if *may_read { StatusCode::OK } else { StatusCode::NOT_FOUND };
                    assert_eq!(private.status, expected, "{route} by {who}: {}", private.body);
                    let none = house.get(&path(route, "acme/nothing", 999, 1, "mallory"), cookie).await;
                    assert_eq!(none.status, StatusCode::NOT_FOUND, "{route} by {who}");
                    if !may_read {
                        let told = private.body.replace("secret-sauce", "nothing");
                        let told = told.replace(&job_id(6).0, &job_id(999).0);
                        assert_eq!(told, none.body, "{route} tells {who} that it exists");
                    }
                }
                Whose::Part if !may_read => {
                    let private = house.get(&path(route, SECRET, 6, 1, "mallory"), cookie).await;
                    let none = house.get(&path(route, "acme/nothing", 999, 1, "mallory"), cookie).await;
                    let told = private.body.replace("secret-sauce", "nothing");
                    let told = told.replace(&job_id(6).0, &job_id(999).0);
                    assert_eq!(
                        (private.status, told),
                        (none.status, none.body),
                        "{route} tells {who} that it exists"
                    );
                }
                Whose::Visitor => {
                    let expected = if cookie.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
                    assert_eq!(house.get(route, cookie).await.status, expected, "{route} by {who}");
                }
                Whose::Form => {
                    for body in ["", "csrf=", "csrf=0000", "other=1"] {
                        let answer = house.send("POST", route, cookie, body).await;
                        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{route} by {who}");
                    }
                    assert_eq!(house.get(route, cookie).await.status, StatusCode::METHOD_NOT_ALLOWED);
                }
                Whose::Writing => a_form_of(&house, route, who, cookie).await,
                Whose::Everybody | Whose::Part | Whose::SignIn => {}
            }
            let failed = house.get("/service", cookie).await.body.contains("Deliveries that were given up");
            assert_eq!(failed, *who == "boss", "{who}");
        }
    }
}

/// Only who may write there is read at all, and only with a form of ours; to everybody else there is nothing.
async fn a_form_of(house: &House, route: &str, who: &str, cookie: Option<&str>) {
    let proof = match cookie {
        Some(cookie) => csrf_of(&house.get("/me", Some(cookie)).await.body),
        None => "0".repeat(64),
    };
    let to = |name| path(route, name, 6, 1, "mallory");
    for body in [String::new(), "csrf=".into(), "csrf=0000".into(), format!("csrf={proof}")] {
        let none = house.send("POST", &to("acme/nothing"), cookie, &body).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{route} by {who}");
        for name in [SECRET, "acme/gateway"] {
            let answer = house.send("POST", &to(name), cookie, &body).await;
            if who == "writer" && name == SECRET && body.ends_with(&proof) {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{route}: {}", answer.body);
            } else {
                // The way to sign in leads back to the address itself.
                let told = answer.body.replace(name.trim_start_matches("acme/"), "nothing");
                assert_eq!((answer.status, &told), (none.status, &none.body), "{route} by {who}");
            }
        }
    }
    assert_eq!(house.get(&to(SECRET), cookie).await.status, StatusCode::METHOD_NOT_ALLOWED, "{route}");
}

/// What the routers' sources have.
fn routed() -> Vec<&'static str> {
    let sources = [include_str!("../../src/web/pages/mod.rs"), include_str!("../../src/web/api/mod.rs")];
    let calls = sources.iter().flat_map(|source| source.split(".route(").skip(1));
    calls.map(|call| call.trim_start().trim_start_matches('"').split('"').next().unwrap()).collect()
}

#[test]
fn every_route_is_in_the_matrix() {
    let known: BTreeSet<&str> = routes().iter().map(|(route, _)| *route).collect();
    assert!(routed().len() > 30);
    for route in routed() {
        assert!(known.contains(route), "{route} is not in the matrix of visitors");
    }
}

async fn where_sign_in_is_required_nothing_is_public(on: On) {
    let house = House::new(on, AccessConfig { admins: Vec::new(), sign_in_required: true }).await;
    let other = house.sign_in("other").await;
    for (route, whose) in ROUTES.into_iter().filter(|(_, whose)| *whose == Whose::Repository) {
        assert!(whose == Whose::Repository);
        let path = path(route, "acme/gateway", 2, 17, "alice");
        assert_eq!(house.get(&path, None).await.status, StatusCode::NOT_FOUND, "{route}");
        assert_eq!(house.get(&path, Some(&other)).await.status, StatusCode::OK, "{route}");
    }
    let home = house.get("/", None).await.body;
    assert!(!home.contains("acme/") && home.contains("/sign-in"), "{home}");
    assert!(!house.get("/runners", None).await.body.contains("acme/"));
    assert!(!house.get("/api/v1/repositories", None).await.body.contains("acme/"));
}

async fn a_sign_in_is_good_once_and_in_one_browser(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let (path, cookie) = house.go_to_github("reader").await;
    assert_eq!(house.get(&path, None).await.status, StatusCode::BAD_REQUEST, "another browser");
    let (_, elsewhere) = house.go_to_github("reader").await;
    assert_eq!(house.get(&path, Some(&elsewhere)).await.status, StatusCode::BAD_REQUEST, "another sign-in");
    let done = house.get(&path, Some(&cookie)).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert_eq!(house.get(&path, Some(&cookie)).await.status, StatusCode::BAD_REQUEST, "a second time");
    let session = cookie_of(&done.headers, "paceline-session");
    let page = house.get(&format!("/{SECRET}"), Some(&session)).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers["cache-control"], "private, no-cache");
    // A sign-in that takes too long, and a session that is over.
    let (path, cookie) = house.go_to_github("reader").await;
    house.seeded.site.clock.advance(16 * 60_000);
    assert_eq!(house.get(&path, Some(&cookie)).await.status, StatusCode::BAD_REQUEST);
    house.seeded.site.clock.advance(8 * 24 * 60 * 60_000);
    let page = house.get(&format!("/{SECRET}"), Some(&session)).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "the session is over");
    // Never back to another host.
    house.github.at_the_browser("reader");
    let begun = house.get("/sign-in?back=//evil.example", None).await;
    let back = crate::world::location(begun.headers["location"].to_str().unwrap()).await;
    let cookie = cookie_of(&begun.headers, "paceline-sign-in");
    let done = house.get(back.strip_prefix(PUBLIC_URL).unwrap(), Some(&cookie)).await;
    assert_eq!(done.headers["location"], "/");
    for bad in ["/sign-in/callback", "/sign-in/callback?code=x&state=y", "/sign-in/callback?state="] {
        assert_eq!(house.get(bad, Some(&cookie)).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

async fn a_form_of_another_site_does_nothing(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let (ann, bob) = (house.sign_in("reader").await, house.sign_in("writer").await);
    let others = csrf_of(&house.get("/me", Some(&bob)).await.body);
    let stolen = house.send("POST", "/sign-out", Some(&ann), &format!("csrf={others}")).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get("/me", Some(&ann)).await.status, StatusCode::OK, "still signed in");
    let own = csrf_of(&house.get("/me", Some(&ann)).await.body);
    let out = house.send("POST", "/sign-out", Some(&ann), &format!("csrf={own}")).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(house.get("/me", Some(&ann)).await.status, StatusCode::NOT_FOUND, "the session has ended");
    assert_eq!(house.get("/me", Some(&bob)).await.status, StatusCode::OK);
}

async fn who_asks_to_be_left_out_is_named_nowhere(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let db = house.seeded.db();
    let gateway = repositories::by_id(db.pool(), RepoId(1)).await.unwrap().unwrap();
    let head = pull(18, "fix: one more", "reader", sha('e'));
    house.seeded.pull(&gateway, &head, Some(&judged(fine_commits())), NOW_MS).await;
    let review = NewEvent {
        kind: Kind::Review,
        source: "77".into(),
        number: Some(17),
        login: "reader".into(),
        bot: false,
        detail: Some("approved".into()),
        sha: None,
        at_ms: NOW_MS - 60_000,
    };
    let mut tx = db.begin().await.unwrap();
    activity::insert(&mut tx, gateway.id, &review, &BTreeSet::new()).await.unwrap();
    tx.commit().await.unwrap();
    let pages = [
        "/acme/gateway/contributors",
        "/api/v1/repositories/acme/gateway/contributors",
        "/acme/gateway/pull/17/story",
    ];
    let named = async |name: &str| {
        let mut count = 0;
        for page in pages {
            count += usize::from(house.get(page, None).await.body.contains(name));
        }
        count
    };
    assert_eq!(named("reader").await, 3);
    let own = "/acme/gateway/contributors/reader";
    assert_eq!(house.get(own, None).await.status, StatusCode::OK);
    let cookie = house.sign_in("reader").await;
    let form = async |path: &str| {
        let csrf = csrf_of(&house.get("/me", Some(&cookie)).await.body);
        let done = house.send("POST", path, Some(&cookie), &format!("csrf={csrf}")).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER);
    };
    form("/me/leave-out").await;
    assert_eq!(named("reader").await, 0);
    assert_eq!(house.get(own, None).await.status, StatusCode::NOT_FOUND);
    form("/me/take-in").await;
    assert_eq!(named("reader").await, 3);
    form("/me/delete").await;
    let mut tx = db.begin().await.unwrap();
    opt_outs::remove(&mut tx, "reader").await.unwrap();
    tx.commit().await.unwrap();
    let story = house.get("/acme/gateway/pull/17/story", None).await.body;
    assert!(!story.contains("reader") && story.contains("ghost"), "what was deleted stays so: {story}");
}

async fn who_has_a_login_now_is_not_who_had_it(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let old = house.sign_in("reader").await;
    assert_eq!(house.get(&format!("/{SECRET}"), Some(&old)).await.status, StatusCode::OK);
    // The account was renamed, and its name taken by somebody who may read.
    house.github.give_login_away("reader");
    house.seeded.site.clock.advance(61_000);
    assert_eq!(house.get(&format!("/{SECRET}"), Some(&old)).await.status, StatusCode::NOT_FOUND);
}

async fn where_github_does_not_answer_nothing_private_is_shown(on: On) {
    let house = House::new(on, AccessConfig::default()).await;
    let cookie = house.sign_in("reader").await;
    let page = format!("/{SECRET}");
    assert_eq!(house.get(&page, Some(&cookie)).await.status, StatusCode::OK);
    house.github.set_permission_everywhere("reader", Permission::None);
    assert_eq!(house.get(&page, Some(&cookie)).await.status, StatusCode::OK, "believed for a minute");
    house.seeded.site.clock.advance(61_000);
    assert_eq!(house.get(&page, Some(&cookie)).await.status, StatusCode::NOT_FOUND, "the right is gone");
    house.github.set_permission_everywhere("reader", Permission::Read);
    house.seeded.site.clock.advance(61_000);
    house.github.revoke_tokens();
    house.github.uninstall_all();
    assert_eq!(house.get(&page, Some(&cookie)).await.status, StatusCode::NOT_FOUND, "nobody can say");
    assert_eq!(house.get("/acme/gateway", Some(&cookie)).await.status, StatusCode::OK);
}
