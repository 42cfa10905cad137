//! A runner that speaks the protocol by hand, so that a test decides what it measures and when.

use crate::world::{World, request};
use perfsuite::model::wire::{Claim, Finish, Heartbeat, Lease, Outcome, Phase, Progress, Stored};
use perfsuite::model::{
    BenchmarkId, Environment, Evidence, Fence, Metric, Series, Side, Visit, evidence::EVIDENCE_SCHEMA,
};

/// A runner that speaks the protocol by hand.
pub struct Hand {
    /// Of a server, without a path.
    pub url: String,
    pub token: String,
}

impl Hand {
    pub async fn new(world: &World, name: &str) -> Self {
        let token = bot::db::runners::new_token();
        bot::db::runners::upsert(&world.server.app.db, name, &token, false, 0).await.unwrap();
        Self { url: world.url(""), token }
    }

    pub async fn call(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, String) {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        request(method, &format!("{}{path}", self.url), &headers, body).await
    }

    pub async fn claim(&self, sandboxed: bool) -> Option<Lease> {
        let claim = Claim {
            version: "test".into(),
            environment: Environment::default(),
            sandboxed,
            unable: None,
            wait_ms: 1_500,
        };
        let (status, body) = self.call("POST", "/runner/v1/claim", serde_json::to_vec(&claim).unwrap()).await;
        match status {
            // Nothing to do, or nobody there.
            204 | 0 => None,
            200 => Some(serde_json::from_str(&body).unwrap()),
            other => panic!("{other}: {body}"),
        }
    }

    pub async fn beat(&self, lease: &Lease, fence: Fence, phase: Phase) -> (u16, String) {
        let progress = Progress { phase, text: "at work".into(), done: 1, total: 2 };
        let beat = Heartbeat { fence, progress, log: vec!["a line".into()] };
        let path = format!("/runner/v1/jobs/{}/heartbeat", lease.spec.job);
        self.call("POST", &path, serde_json::to_vec(&beat).unwrap()).await
    }

    pub async fn finish(&self, lease: &Lease, outcome: Outcome) -> u16 {
        let finish = Finish { fence: lease.fence, outcome };
        let path = format!("/runner/v1/jobs/{}/finish", lease.spec.job);
        self.call("POST", &path, serde_json::to_vec(&finish).unwrap()).await.0
    }

    pub async fn upload(&self, lease: &Lease, evidence: &Evidence) -> (u16, String) {
        let packed = zstd::encode_all(&serde_json::to_vec(evidence).unwrap()[..], 3).unwrap();
        let path = format!("/runner/v1/jobs/{}/evidence?fence={}", lease.spec.job, lease.fence.0);
        self.call("PUT", &path, packed).await
    }

    /// The whole job, as far as the server lets it come: the status of the last answer, `None` without one.
    pub async fn try_to_measure(&self, lease: &Lease, ratio: f64) -> Option<u16> {
        let (beaten, _) = self.beat(lease, lease.fence, Phase::Measuring).await;
        if beaten != 200 {
            return Some(beaten).filter(|status| *status != 0);
        }
        let (uploaded, body) = self.upload(lease, &evidence(lease, ratio)).await;
        if uploaded != 201 {
            return Some(uploaded).filter(|status| *status != 0);
        }
        let Stored { digest } = serde_json::from_str(&body).unwrap();
        Some(self.finish(lease, Outcome::Measured { digest }).await).filter(|status| *status != 0)
    }

    /// The whole job: head takes `ratio` times as long as base.
    pub async fn measure(&self, lease: &Lease, ratio: f64) {
        assert_eq!(self.beat(lease, lease.fence, Phase::Measuring).await.0, 200);
        let (status, body) = self.upload(lease, &evidence(lease, ratio)).await;
        assert_eq!(status, 201, "{body}");
        let Stored { digest } = serde_json::from_str(&body).unwrap();
        assert_eq!(self.finish(lease, Outcome::Measured { digest }).await, 204);
    }
}

/// Twenty visits with a little noise that is the same in every run of the test.
fn visits_of(ratio: f64) -> Vec<Visit> {
    let visit = |n: u32| {
        let noise = f64::from(n * 7 % 11) / 1_000.0;
        let first = if n.is_multiple_of(2) { Side::Base } else { Side::Head };
        let head = 100.0 * ratio * (1.0 + f64::from(n * 5 % 11) / 1_000.0);
        Visit::single(first, 100.0 * (1.0 + noise), head)
    };
    (0..20).map(visit).collect()
}

fn one(visits: Vec<Visit>) -> Series {
    Series {
        suite: "widgets".into(),
        benchmark: BenchmarkId("widgets/one".into()),
        metric: Metric::Time,
        visits,
        seconds: 0.0,
        instructions: None,
    }
}

/// Of one benchmark, which is well calibrated.
pub fn evidence(lease: &Lease, ratio: f64) -> Evidence {
    Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: lease.spec.clone(),
        environment: Environment::default(),
        builds: Vec::new(),
        series: vec![one(visits_of(ratio))],
        failures: Vec::new(),
        one_sided: Vec::new(),
        judged_pairs: 1,
        identical: Vec::new(),
        unaffected: Vec::new(),
        profiles: vec![],
        scenarios: vec![],
        calibration: vec![one(visits_of(1.0))],
        count_ms: 0,
        checks: None,
        started_ms: 1,
        finished_ms: 2,
        measure_ms: 1,
    }
}

/// The next job; there is one soon.
pub async fn eventually_claim(runner: &Hand) -> Lease {
    for _ in 0..40 {
        if let Some(lease) = runner.claim(false).await {
            return lease;
        }
    }
    panic!("no job came");
}
