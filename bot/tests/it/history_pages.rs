//! Pages of histories through their real router, over a real database.

use crate::database::{On, on_both};
use crate::large_history::{self, Large};
use crate::seed::{NOW_MS, Seeded};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bot::db::change_points::{self, ChangePoint, State};
use bot::db::history_commits::{self, HistoryCommit};
use bot::db::points::{self, Against, Ratio};
use bot::db::references::{self, Reference};
use bot::db::series::{self, Key};
use bot::demo::sample;
use bot::pull::Repository;
use bot::web::pages::{self, Site};
use perfsuite::history::generate::Shape;
use perfsuite::model::Sha;
use serde_json::Value;
use tower::ServiceExt;

on_both!(
    a_series_has_a_chart_a_table_and_exports,
    a_sample_says_that_it_is_one,
    series_with_gaps_or_one_point_are_shown,
    hostile_names_do_nothing,
    what_is_not_there_is_not_found,
    a_long_series_is_thinned_and_a_zoom_has_every_point,
    a_series_has_a_picture_for_a_readme,
    several_series_share_a_chart,
    a_point_far_out_flattens_no_chart,
    a_commit_of_no_year_that_we_know_is_shown,
);

async fn get(seeded: &Seeded, path: &str) -> (StatusCode, String) {
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let bytes = axum::body::to_bytes(answer.into_body(), 16 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn ok(seeded: &Seeded, path: &str) -> String {
    let (status, body) = get(seeded, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

/// What the chart's script is given.
fn chart(body: &str) -> Value {
    let (_, data) = body.split_once("id=\"chart-data\">").expect("a chart");
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

/// Whose a chart's point is: each name is said once.
fn author(data: &Value, at: usize) -> &Value {
    &data["authors"][data["author"][at].as_u64().unwrap() as usize]
}

fn sha(n: i64) -> Sha {
    format!("{:040x}", n + 0xabc).parse().unwrap()
}

/// `acme/gateway` with commits at these places, and its reference.
async fn history(seeded: &Seeded, positions: &[i64]) -> Repository {
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let mut tx = seeded.db().begin().await.unwrap();
    let reference =
        Reference { number: 1, sha: sha(0), name: "v1.0.0".into(), since_ms: NOW_MS - 86_400_000 };
    references::insert(&mut tx, repository.id, &reference).await.unwrap();
    for position in positions {
        let commit = HistoryCommit {
            position: *position,
            sha: sha(*position),
            parent: Some(sha(position - 1)),
            author: format!("Ada {position}"),
            subject: format!("feat: number {position} (#{})", position + 100),
            committed_ms: NOW_MS - (1_000 - position) * 60_000,
            pull: Some((position + 100) as u64),
            environment: None,
            parent_job: None,
            reference_job: None,
            reference_number: Some(1),
        };
        history_commits::upsert(&mut tx, repository.id, &commit).await.unwrap();
    }
    tx.commit().await.unwrap();
    repository
}

fn key(benchmark: &str) -> Key {
    Key { suite: "routing".into(), benchmark: benchmark.into(), metric: "time".into() }
}

/// Stores points: value in nanoseconds, ratio to the reference.
async fn fill(seeded: &Seeded, repository: &Repository, benchmark: &str, of: &[(i64, f64)]) -> i64 {
    let mut tx = seeded.db().begin().await.unwrap();
    let series = series::insert(&mut tx, repository.id, &key(benchmark), false).await.unwrap().id;
    for (position, ratio) in of {
        let ratio = Ratio { ratio: *ratio, low: ratio * 0.99, high: ratio * 1.01 };
        let (value, against) = (Some(100.0 * ratio.ratio), Against::Reference(ratio, 1));
        points::put(&mut tx, series, *position, value, against).await.unwrap();
    }
    series::changed(&mut tx, series).await.unwrap();
    tx.commit().await.unwrap();
    series
}

const SERIES: &str = "suite=routing&benchmark=route%2Fmatch&metric=time";

async fn a_series_has_a_chart_a_table_and_exports(on: On) {
    let seeded = Seeded::empty(on).await;
    let positions: Vec<i64> = (1..=20).collect();
    let repository = history(&seeded, &positions).await;
    let of: Vec<(i64, f64)> = positions.iter().map(|n| (*n, if *n >= 10 { 1.05 } else { 1.0 })).collect();
    let series = fill(&seeded, &repository, "route/match", &of).await;
    let mut tx = seeded.db().begin().await.unwrap();
    let change = ChangePoint {
        id: String::new(),
        series,
        position: 10,
        before: 9,
        size: 0.05,
        state: State::Confirmed,
        found_ms: NOW_MS,
        confirmed_ms: Some(NOW_MS),
    };
    change_points::insert(&mut tx, &change).await.unwrap();
    tx.commit().await.unwrap();

    let list = ok(&seeded, "/acme/gateway/history").await;
    for expect in ["route/match", "+5.0 % slower", "confirmed", "v1.0.0", "class=\"spark\"", "105 ns"] {
        assert!(list.contains(expect), "{expect} in {list}");
    }
    assert!(ok(&seeded, "/acme/gateway").await.contains("/acme/gateway/history"));
    let page = ok(&seeded, &format!("/acme/gateway/history?{SERIES}")).await;
    for expect in ["+5.0 % slower", "feat: number 10 (#110)", "Ada 10", "/acme/gateway/history.csv?", "#110"]
    {
        assert!(page.contains(expect), "{expect} in {page}");
    }
    assert!(!page.contains("A sample"));
    let data = chart(&page);
    assert_eq!(data["view"], "reference");
    assert_eq!(data["x"].as_array().unwrap().len(), 20);
    assert!((data["y"][19].as_f64().unwrap() - 5.0).abs() < 1e-9, "in percent: {data}");
    assert!(data["low"][0].as_f64().unwrap() < 0.0 && data["high"][0].as_f64().unwrap() > 0.0);
    assert_eq!((author(&data, 9), &data["pull"][9]), (&"Ada 10".into(), &110.into()));
    assert_eq!(data["changes"][0]["x"], 10);
    let raw = chart(&ok(&seeded, &format!("/acme/gateway/history?{SERIES}&view=raw")).await);
    assert_eq!((&raw["view"], &raw["told"][0]), (&"raw".into(), &"100 ns".into()));
    let none = ok(&seeded, &format!("/acme/gateway/history?{SERIES}&view=parent")).await;
    assert!(none.contains("There is no such figure"), "{none}");
    // A permalink shows what was seen.
    let zoomed = chart(&ok(&seeded, &format!("/acme/gateway/history?{SERIES}&from=5&to=8")).await);
    assert_eq!(zoomed["x"], serde_json::json!([5, 6, 7, 8]));

    let csv = ok(&seeded, &format!("/acme/gateway/history.csv?{SERIES}")).await;
    assert_eq!(csv.lines().count(), 21, "{csv}");
    let row = csv.lines().nth(10).unwrap();
    assert!(
        row.starts_with("10,") && row.contains("\"Ada 10\",110,105,,,,1.05,") && row.ends_with(",confirmed"),
        "{row}"
    );
    let json = ok(&seeded, &format!("/api/v1/repositories/acme/gateway/history?{SERIES}")).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["unit"], "nanoseconds");
    assert_eq!(json["points"].as_array().unwrap().len(), 20);
    assert_eq!(json["points"][9]["commit"], sha(10).as_str());
    assert_eq!(json["points"][9]["reference"]["ratio"], 1.05);
    assert_eq!(
        (&json["changes"][0]["position"], &json["changes"][0]["state"]),
        (&10.into(), &"confirmed".into())
    );
}

async fn a_sample_says_that_it_is_one(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    sample::seed(seeded.db(), repository.id, 1, NOW_MS).await.unwrap();
    let list = ok(&seeded, "/acme/gateway/history").await;
    assert!(list.contains("A sample.") && list.contains("sample/two-steps"), "{list}");
    let path = "/acme/gateway/history?suite=sample&benchmark=sample%2Ftwo-steps&metric=time";
    let page = ok(&seeded, path).await;
    assert!(page.contains("A sample.") && page.contains("Nothing of it was measured"), "{page}");
    // What it is meant to show is there to be found.
    let series = series::of_repository(seeded.db().pool(), repository.id).await.unwrap();
    for series in series.values() {
        let stored = points::between(seeded.db().pool(), series.id, 0, i64::MAX, 10_000).await.unwrap();
        let linked = bot::history::linked::linked(&stored, &[]);
        let points: Vec<perfsuite::history::Point> = linked
            .iter()
            .map(|point| perfsuite::history::Point { index: point.position, value: point.ratio.ratio })
            .collect();
        let found = perfsuite::history::change_points(&points, &Default::default());
        let expect = if series.key.benchmark == "sample/no-step" { 0 } else { 2 };
        assert_eq!(found.len(), expect, "{found:?}");
    }
}

async fn series_with_gaps_or_one_point_are_shown(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = history(&seeded, &[3, 9, 40]).await;
    fill(&seeded, &repository, "alone", &[(9, 1.0)]).await;
    fill(&seeded, &repository, "gaps", &[(3, 1.0), (40, 1.1)]).await;
    // As an older or a broken program may have left them.
    fill(&seeded, &repository, "broken", &[(3, 0.0), (9, -1.0), (40, 1e300)]).await;
    fill(&seeded, &repository, "empty", &[]).await;
    let list = ok(&seeded, "/acme/gateway/history").await;
    assert!(list.contains("too few points"), "{list}");
    for (name, shown) in [("alone", 1), ("gaps", 2), ("broken", 1)] {
        let path = format!("/acme/gateway/history?suite=routing&benchmark={name}&metric=time");
        let data = chart(&ok(&seeded, &path).await);
        assert_eq!(data["x"].as_array().unwrap().len(), shown, "{name}: {data}");
        ok(&seeded, &path.replace("/history?", "/history.csv?")).await;
    }
    let path = "/acme/gateway/history?suite=routing&benchmark=empty&metric=time";
    assert!(ok(&seeded, path).await.contains("There is no such figure"));
    let path = "/acme/gateway/history?suite=routing&benchmark=gaps&metric=time&from=900&to=2";
    assert!(ok(&seeded, path).await.contains("There is no such figure"));
}

async fn hostile_names_do_nothing(on: On) {
    const NAME: &str = "</script><script>alert(1)</script>";
    let seeded = Seeded::empty(on).await;
    let repository = history(&seeded, &[1, 2]).await;
    fill(&seeded, &repository, NAME, &[(1, 1.0), (2, 1.0)]).await;
    let mut tx = seeded.db().begin().await.unwrap();
    let mut commit = history_commits::by_sha(&mut *tx, repository.id, &sha(1)).await.unwrap().unwrap();
    (commit.author, commit.subject) = (NAME.into(), format!("{NAME}\u{202e}<!--"));
    history_commits::upsert(&mut tx, repository.id, &commit).await.unwrap();
    tx.commit().await.unwrap();
    let query = "suite=routing&benchmark=%3C%2Fscript%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&metric=time";
    for path in ["/acme/gateway/history".to_owned(), format!("/acme/gateway/history?{query}")] {
        let body = ok(&seeded, &path).await;
        assert!(
            !body.contains("<script>") && !body.contains("<!--") && !body.contains('\u{202e}'),
            "{path}: {body}"
        );
    }
    let data = chart(&ok(&seeded, &format!("/acme/gateway/history?{query}")).await);
    assert_eq!(author(&data, 0), NAME);
}

async fn what_is_not_there_is_not_found(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = history(&seeded, &[1]).await;
    fill(&seeded, &repository, "route/match", &[(1, 1.0)]).await;
    seeded.repository(2, "acme", "secret", true).await;
    for path in [
        "/acme/secret/history",
        "/acme/none/history",
        "/acme/secret/history.csv?suite=a&benchmark=b&metric=time",
        "/acme/gateway/history?suite=routing&benchmark=none&metric=time",
        "/acme/secret/history.csv",
        "/api/v1/repositories/acme/secret/history",
        "/api/v1/repositories/acme/secret/history?suite=a&benchmark=b&metric=time",
    ] {
        assert_eq!(get(&seeded, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // Nonsense shows the list.
    for query in [
        "from=x",
        "suite=%00&benchmark=%00&metric=time",
        "q=ROUTE%2Fm",
        "q=%00",
        "after=-3",
        "suite=%ff",
        "benchmark=only",
    ] {
        let body = ok(&seeded, &format!("/acme/gateway/history?{query}")).await;
        assert!(body.contains("route/match"), "{query}");
    }
    // Without a name, what there is.
    assert!(ok(&seeded, "/acme/gateway/history.csv").await.contains("\"routing\",\"route/match\",\"time\""));
    let all = ok(&seeded, "/api/v1/repositories/acme/gateway/history").await;
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap()["series"][0]["benchmark"], "route/match");
    let far = format!("/acme/gateway/history?{SERIES}&from=-9223372036854775808&to=9223372036854775807");
    ok(&seeded, &far).await;
}

async fn a_long_series_is_thinned_and_a_zoom_has_every_point(on: On) {
    const COMMITS: usize = 3_000;
    let seeded = Seeded::empty(on).await;
    let repository = seeded.repository(1, "acme", "gateway", false).await;
    let large = Large { series: 2, commits: COMMITS, seed: 7, now_ms: NOW_MS };
    large_history::fill(seeded.db(), repository.id, large).await;
    let key = large_history::key(1);
    let of = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("suite", &key.suite)
        .append_pair("benchmark", &key.benchmark)
        .append_pair("metric", &key.metric)
        .finish();
    let page = ok(&seeded, &format!("/acme/gateway/history?{of}&from=0")).await;
    assert!(page.contains("Of 3,000 points"), "{page}");
    let data = chart(&page);
    let length = |name: &str| data[name].as_array().unwrap().len();
    assert_eq!(data["of"], COMMITS);
    assert!((400..=820).contains(&length("x")), "{}", length("x"));
    for column in ["y", "low", "high", "told", "commit", "subject", "author", "pull", "day", "run"] {
        assert_eq!(length(column), length("x"), "{column}");
    }
    // What stands out is among what is drawn, with its commit.
    let stored = Shape { points: COMMITS, steps: 3, gap: 20, ..Shape::default() }.series(8);
    let (highest, value) = stored
        .points
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.value.total_cmp(&b.1.value))
        .map(|(at, point)| (at, point.value / stored.points[0].value))
        .unwrap();
    let place = data["x"].as_array().unwrap().iter().position(|x| *x == highest).expect("it is drawn");
    let drawn = data["y"][place].as_f64().unwrap();
    assert!((drawn - (value - 1.0) * 100.0).abs() < 0.01 * drawn.abs(), "{drawn}");
    assert_eq!(data["commit"][place], large_history::sha(7, highest).short());
    assert!(data["subject"][place].as_str().unwrap().contains(&format!("step {highest} ")));
    let zoomed = ok(&seeded, &format!("/acme/gateway/history?{of}&from=1000&to=1499")).await;
    assert!(!zoomed.contains("points 800 are drawn"));
    let zoomed = chart(&zoomed);
    assert_eq!((&zoomed["of"], zoomed["x"].as_array().unwrap().len()), (&500.into(), 500));
    // Exports leave nothing out.
    let csv = ok(&seeded, &format!("/acme/gateway/history.csv?{of}")).await;
    assert_eq!(csv.lines().count(), COMMITS + 1);
    // A change of long ago is named by its commit on the list.
    let list = ok(&seeded, "/acme/gateway/history").await;
    let (oldest, _) = stored.steps[0];
    assert!(list.contains(large_history::sha(7, oldest).short()), "{oldest} in {list}");
}

async fn a_series_has_a_picture_for_a_readme(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = history(&seeded, &[1, 2, 3]).await;
    fill(&seeded, &repository, "route/match", &[(1, 1.0), (2, 1.0), (3, 1.04)]).await;
    let picture = ok(&seeded, &format!("/acme/gateway/history.svg?{SERIES}")).await;
    assert!(picture.starts_with("<svg") && picture.contains("+4.0 % to v1.0.0"), "{picture}");
    let page = ok(&seeded, &format!("/acme/gateway/history?{SERIES}")).await;
    assert!(page.contains("/acme/gateway/history.svg?suite=routing"), "{page}");
    for path in ["/acme/gateway/history.svg", "/acme/gateway/history.svg?suite=a&benchmark=b&metric=time"] {
        assert_eq!(get(&seeded, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

async fn a_commit_of_no_year_that_we_know_is_shown(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = history(&seeded, &[1, 2]).await;
    fill(&seeded, &repository, "route/match", &[(1, 1.0), (2, 1.0)]).await;
    let mut tx = seeded.db().begin().await.unwrap();
    let mut commit = history_commits::by_sha(&mut *tx, repository.id, &sha(1)).await.unwrap().unwrap();
    commit.committed_ms = i64::MAX;
    history_commits::upsert(&mut tx, repository.id, &commit).await.unwrap();
    tx.commit().await.unwrap();
    for path in ["/acme/gateway/history".to_owned(), format!("/acme/gateway/history?{SERIES}")] {
        assert!(ok(&seeded, &path).await.contains("feat: number 1"), "{path}");
    }
    ok(&seeded, &format!("/acme/gateway/history.csv?{SERIES}")).await;
}

async fn a_point_far_out_flattens_no_chart(on: On) {
    let seeded = Seeded::empty(on).await;
    let positions: Vec<i64> = (1..=60).collect();
    let repository = history(&seeded, &positions).await;
    let calm = |n: i64| 1.0 + (n % 5) as f64 * 0.001;
    let of: Vec<(i64, f64)> = positions.iter().map(|n| (*n, if *n == 30 { 4.0 } else { calm(*n) })).collect();
    fill(&seeded, &repository, "route/match", &of).await;
    let second = fill(&seeded, &repository, "other", &[(1, 1.0), (2, 1.2), (60, 1.2)]).await;
    let data = chart(&ok(&seeded, &format!("/acme/gateway/history?{SERIES}")).await);
    let reach = |data: &Value| (data["reach"][0].as_f64().unwrap(), data["reach"][1].as_f64().unwrap());
    let (low, high) = reach(&data);
    assert!((-5.0..0.0).contains(&low) && (0.4..5.0).contains(&high), "{low} to {high} percent");
    assert_eq!(data["y"][29], 300.0, "it is there nevertheless");
    assert_eq!(data["ends"], serde_json::json!([1, 60]));
    // A series beside it is seen whole.
    let data = chart(&ok(&seeded, &format!("/acme/gateway/history?{SERIES}&with={second}")).await);
    assert!((20.0..30.0).contains(&reach(&data).1), "{}", data["reach"]);
    // In a stretch without it nothing is cut, and the ends are those of the whole.
    let data = chart(&ok(&seeded, &format!("/acme/gateway/history?{SERIES}&from=31&to=50")).await);
    assert_eq!((&data["reach"], &data["ends"]), (&Value::Null, &serde_json::json!([1, 60])));
}

async fn several_series_share_a_chart(on: On) {
    let seeded = Seeded::empty(on).await;
    let repository = history(&seeded, &[1, 2, 3]).await;
    let first = fill(&seeded, &repository, "route/match", &[(1, 1.0), (2, 1.0), (3, 1.04)]).await;
    let second = fill(&seeded, &repository, "<i>other", &[(1, 1.0), (3, 0.9)]).await;
    let secret = seeded.repository(2, "acme", "secret", true).await;
    let hidden = fill(&seeded, &secret, "hidden/plan", &[(1, 1.0), (2, 2.0)]).await;
    let list = ok(&seeded, "/acme/gateway/history").await;
    assert!(list.contains(&format!("name=\"with\" value=\"{second}\"")), "{list}");
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let asked = format!("/acme/gateway/history/together?with={first}&with={second}&with={hidden}&with=x");
    let answer = router.oneshot(Request::get(asked).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let path = answer.headers()["location"].to_str().unwrap().to_owned();
    let page = ok(&seeded, &path).await;
    assert!(!page.contains("hidden/plan") && !page.contains("<i>"), "{page}");
    let data = chart(&page);
    assert_eq!(data["others"].as_array().unwrap().len(), 1, "no other repository's: {data}");
    assert_eq!(data["others"][0]["name"], "<i>other time");
    assert_eq!(data["others"][0]["y"], serde_json::json!([0.0, null, -10.0]));
    // Without any, or with one of elsewhere, the list.
    for query in ["", "?with=", &format!("?with={hidden}"), "?with=99999999999999999999"] {
        let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
        let asked =
            Request::get(format!("/acme/gateway/history/together{query}")).body(Body::empty()).unwrap();
        let answer = router.oneshot(asked).await.unwrap();
        assert_eq!(answer.headers()["location"], "/acme/gateway/history", "{query}");
    }
}
