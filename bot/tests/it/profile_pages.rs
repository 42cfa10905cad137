//! A run's profiles through the real router: functions, and flame graphs that are no pages of the site.

use crate::database::{On, on_both};
use crate::seed::{NOW_MS, Seeded, fine_commits, job_id, judged, pull, sha};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bot::db::{comparisons, jobs};
use bot::web::pages::{self, Site};
use perfsuite::model::evidence::EVIDENCE_SCHEMA;
use perfsuite::model::profile::{Profile, ProfileStack, ProfileVisit, Touched, WorkUnit};
use perfsuite::model::{BenchmarkId, Environment, Evidence, JobSpec, Metric, Series, Side, Visit};
use tower::ServiceExt;

on_both!(
    the_function_is_named_and_the_pictures_are_there,
    a_picture_runs_nothing_on_the_sites_origin,
    what_is_not_there_is_not_found,
);

/// A function of a stranger's choice, and one that takes twice as long.
const HOSTILE: &str = "<script>alert(1)</script>`|\u{202e}";

fn profile() -> Profile {
    let stack = |frames: &[u32], base: u32, head: u32| ProfileStack {
        frames: frames.to_vec(),
        base: vec![base; 8],
        head: vec![head; 8],
    };
    Profile {
        suite: "routing".into(),
        benchmark: BenchmarkId("route/match/1000".into()),
        unit: WorkUnit::Iteration,
        period_ns: 499_979,
        kernel: true,
        names: ["main", "gateway::route::look_up", HOSTILE].map(String::from).into(),
        stacks: vec![stack(&[0, 1], 200, 400), stack(&[0, 2], 100, 100)],
        visits: vec![ProfileVisit { base: 1e5, head: 1e5 }; 8],
        touched: Some(Touched {
            functions: vec!["gateway::route::look_up".into()],
            complete: true,
            modules: vec![],
        }),
        notes: vec![],
    }
}

fn evidence(spec: &JobSpec) -> Evidence {
    let visit = |n: u32| Visit::single(Side::Base, 100.0, 166.0 + f64::from(n % 5) / 10.0);
    Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: spec.clone(),
        environment: Environment::default(),
        builds: vec![],
        series: vec![Series {
            suite: "routing".into(),
            benchmark: BenchmarkId("route/match/1000".into()),
            metric: Metric::Time,
            visits: (0..20).map(visit).collect(),
            seconds: 1.0,
            instructions: None,
        }],
        calibration: vec![],
        profiles: vec![profile()],
        scenarios: vec![],
        failures: vec![],
        one_sided: vec![],
        judged_pairs: 1,
        identical: vec![],
        unaffected: vec![],
        started_ms: 1,
        finished_ms: 2,
        measure_ms: 1,
        count_ms: 0,
        checks: None,
    }
}

/// A repository with one run that has a profile.
async fn seeded(on: On) -> Seeded {
    let seeded = Seeded::empty(on).await;
    let runner = seeded.runner("bench-01", true, NOW_MS).await;
    let gateway = seeded.repository(1, "acme", "gateway", false).await;
    let change = pull(7, "perf: look up twice", "alice", sha('d'));
    seeded.pull(&gateway, &change, Some(&judged(fine_commits())), NOW_MS).await;
    seeded.queue(&gateway, 7, &sha('d'), 2, NOW_MS).await;
    let job = seeded.claim(&runner, NOW_MS).await;
    let evidence = evidence(&job.spec);
    let packed = zstd::encode_all(&serde_json::to_vec(&evidence).unwrap()[..], 3).unwrap();
    let digest = seeded.site.evidence.put(&packed).unwrap();
    let report = perfsuite::verdict::judge(&evidence);
    let mut tx = seeded.db().begin().await.unwrap();
    let end = jobs::End::Done { evidence: &digest, report: &report };
    assert!(jobs::end(&mut tx, &job.id, job.fence, &end, NOW_MS).await.unwrap());
    comparisons::insert_all(&mut tx, job.repository, &job.id, &report.rows).await.unwrap();
    tx.commit().await.unwrap();
    seeded
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

async fn get(seeded: &Seeded, below: &str) -> Answer {
    let router = pages::routes::<Site>(seeded.site.clone()).with_state(seeded.site.clone());
    let path = format!("/runs/{}{below}", job_id(2));
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn the_function_is_named_and_the_pictures_are_there(on: On) {
    let seeded = seeded(on).await;
    let run = get(&seeded, "").await.text();
    let link = format!("/runs/{}/profile/0/difference.svg", job_id(2));
    assert!(run.contains("gateway::route::look_up takes +100 %") && run.contains(&link), "{run}");
    let page = get(&seeded, "/profile/0").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let text = page.text();
    assert!(text.contains("changed by this pull request") && text.contains("its code changed"), "{text}");
    assert!(
        !text.contains("<script>alert") && !text.contains('\u{202e}') && text.contains("alert(1)"),
        "{text}"
    );
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for (file, kind) in [
        ("difference.svg", "image/svg+xml"),
        ("base-flame.svg", "image/svg+xml"),
        ("head-flame.svg", "image/svg+xml"),
        ("head-stacks.folded", "text/plain; charset=utf-8"),
        ("base-profile.pb.gz", "application/octet-stream"),
    ] {
        let answer = get(&seeded, &format!("/profile/0/{file}")).await;
        assert_eq!((answer.status, answer.header("content-type").as_str()), (StatusCode::OK, kind), "{file}");
        assert!(!answer.body.is_empty());
        assert!(text.contains(file), "the page has no link to {file}");
    }
    let folded = get(&seeded, "/profile/0/head-stacks.folded").await.text();
    assert!(folded.contains("main;gateway::route::look_up 3200\n"), "{folded}");
}

async fn a_picture_runs_nothing_on_the_sites_origin(on: On) {
    let seeded = seeded(on).await;
    for file in ["difference.svg", "base-flame.svg"] {
        let answer = get(&seeded, &format!("/profile/0/{file}")).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("sandbox allow-scripts;"), "{policy}");
        assert!(!policy.contains("allow-same-origin") && policy.contains("default-src 'none'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let svg = answer.text();
        assert!(!svg.contains("<script>alert") && svg.contains("alert(1)"), "a name is text");
    }
}

async fn what_is_not_there_is_not_found(on: On) {
    let seeded = seeded(on).await;
    for below in [
        "/profile/1",
        "/profile/-1",
        "/profile/00000",
        "/profile/x",
        "/profile/0/",
        "/profile/0/flame.svg",
        "/profile/1/difference.svg",
        "/profile/0/difference.svg/x",
        "/profile",
    ] {
        assert_eq!(get(&seeded, below).await.status, StatusCode::NOT_FOUND, "{below}");
    }
}
