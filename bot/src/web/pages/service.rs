//! `/service`: how well the server serves; for admins, what failed.

use super::parts::{When, clean};
use super::{Page, Site, render};
use crate::db::service as rows;
use crate::format;
use crate::service::{self, Quantiles, Service};
use crate::web::frame;
use askama::Template;
use axum::extract::State;

/// Failed deliveries on the page: more than this is one fault, not many.
const FAILED_MAX: i64 = 50;

#[derive(Template)]
#[template(path = "pages/service.html")]
struct ServicePage {
    service: Service,
    oldest: Option<String>,
    lines: Vec<LevelLine>,
    /// `None`: the visitor is no admin.
    failed: Option<Vec<FailedLine>>,
}

struct LevelLine {
    name: &'static str,
    n: String,
    p50: String,
    p90: String,
    p99: String,
}

struct FailedLine {
    guid: String,
    event: String,
    repository: String,
    error: String,
    attempts: i64,
    received: When,
}

pub async fn show(State(site): State<Site>) -> Page {
    let now_ms = site.clock.now_ms();
    let service = service::service(&site.db, now_ms).await?;
    let failed = match frame::visitor().filter(|visitor| visitor.admin) {
        None => None,
        Some(_) => Some(
            rows::failed(&site.db, FAILED_MAX)
                .await?
                .iter()
                .map(|one| FailedLine {
                    guid: clean(&one.guid),
                    event: clean(&[&one.event, one.action.as_deref().unwrap_or_default()].join(" ")),
                    repository: one.repository.as_deref().map_or(format::NONE.into(), clean),
                    error: clean(&one.error),
                    attempts: one.attempts,
                    received: When::new(one.received_ms, now_ms),
                })
                .collect(),
        ),
    };
    render(&ServicePage {
        oldest: service.deliveries.oldest_waiting_seconds.map(format::seconds),
        lines: vec![
            line("Deliveries: from received to judged", &service.deliveries.took),
            line("Jobs: waiting for a runner", &service.jobs.waited),
            line("Jobs: from taken to ended", &service.jobs.took),
        ],
        service,
        failed,
    })
}

fn line(name: &'static str, quantiles: &Quantiles) -> LevelLine {
    let of = |value: Option<f64>| value.map_or(format::NONE.into(), format::seconds);
    LevelLine {
        name,
        n: format::thousands(quantiles.n as f64),
        p50: of(quantiles.p50),
        p90: of(quantiles.p90),
        p99: of(quantiles.p99),
    }
}
