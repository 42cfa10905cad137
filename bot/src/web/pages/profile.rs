//! `/runs/{job}/profile/{place}`: where the time of a changed benchmark went; and its flame graphs, drawn when asked for.
//!
//! A flame graph has a script of its own in it, and its words are a stranger's functions. So it is no page of this site:
//! its policy puts it into a sandbox, where it has no origin, and may load and send nothing.

use super::access::{AtPlace, AtRun};
use super::error::PageError;
use super::profile_view;
use super::secure::OwnPolicy;
use super::{Page, Site, render};
use crate::db::jobs::Job;
use crate::judgement::Performance;
use crate::runs;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use perfsuite::model::{Profile, Report, Side};
use perfsuite::profile::{flame, folded, pprof};
use tokio::sync::Semaphore;

/// Evidence is unpacked whole to find a profile in it: so many at a time.
const AT_ONCE: usize = 2;
pub(super) static DRAWING: Semaphore = Semaphore::const_new(AT_ONCE);

/// Scripts and styles that are in the document itself, nothing else, and no origin to run them on.
const POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub async fn show(
    State(site): State<Site>,
    AtPlace { run: AtRun { repository, job }, place, .. }: AtPlace,
) -> Page {
    let (id, number) = (job.id.clone(), job.number);
    let report = report(&site, &repository, job).await?;
    let summary = report.profiles.get(place).ok_or(PageError::NotFound)?;
    render(&profile_view::page(&repository.name, number, &id, place, &report, summary))
}

/// The run's report, where it has one.
pub(super) async fn report(
    site: &Site,
    repository: &crate::pull::Repository,
    job: Job,
) -> Result<Report, PageError> {
    let mut connection = site.db.pool().acquire().await?;
    let loaded = runs::of_job(&mut connection, repository, job, site.clock.now_ms()).await?;
    match loaded.ok_or(PageError::NotFound)?.run.performance {
        Performance::Done { report } => Ok(*report),
        _ => Err(PageError::NotFound),
    }
}

/// What can be asked for of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Difference,
    Flame(Side),
    Folded(Side),
    Pprof(Side),
}

impl Wanted {
    fn named(file: &str) -> Option<Wanted> {
        let of = |name: &str| {
            Some(match name {
                "flame.svg" => Wanted::Flame as fn(Side) -> Wanted,
                "stacks.folded" => Wanted::Folded,
                "profile.pb.gz" => Wanted::Pprof,
                _ => return None,
            })
        };
        match file.split_once('-') {
            None if file == "difference.svg" => Some(Wanted::Difference),
            Some(("base", name)) => Some(of(name)?(Side::Base)),
            Some(("head", name)) => Some(of(name)?(Side::Head)),
            _ => None,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Wanted::Difference | Wanted::Flame(_) => "image/svg+xml",
            Wanted::Folded(_) => "text/plain; charset=utf-8",
            Wanted::Pprof(_) => "application/octet-stream",
        }
    }

    fn make(self, profile: &Profile) -> anyhow::Result<Vec<u8>> {
        match self {
            Wanted::Difference => flame::difference(profile),
            Wanted::Flame(side) => flame::of_side(profile, side),
            Wanted::Folded(side) => Ok(folded::folded(profile, side).into_bytes()),
            Wanted::Pprof(side) => pprof::encode(profile, side),
        }
    }
}

/// `/runs/{job}/profile/{place}/{file}`: made from the stored evidence.
pub async fn file(
    State(site): State<Site>,
    AtPlace { run: AtRun { job, .. }, place, file }: AtPlace,
) -> Result<Response, PageError> {
    let wanted = Wanted::named(&file).ok_or(PageError::NotFound)?;
    let digest = job.evidence.ok_or(PageError::NotFound)?;
    let _turn = DRAWING.acquire().await.map_err(anyhow::Error::from)?;
    let store = site.evidence.clone();
    let made = tokio::task::spawn_blocking(move || {
        // Old evidence is forgotten, and its report is not.
        let Some(_) = store.open(&digest)? else { return Ok(None) };
        let evidence = store.get(&digest)?;
        evidence.profiles.get(place).map(|profile| wanted.make(profile)).transpose()
    });
    let bytes = made.await.map_err(anyhow::Error::from)??.ok_or(PageError::NotFound)?;
    let name = format!("inline; filename=\"paceline-{}-{place}-{file}\"", job.id);
    let headers =
        [(header::CONTENT_TYPE, wanted.content_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    let mut response = (headers, bytes).into_response();
    response.extensions_mut().insert(OwnPolicy(POLICY));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_fixed_names() {
        for (name, expect) in [
            ("difference.svg", Some(Wanted::Difference)),
            ("head-flame.svg", Some(Wanted::Flame(Side::Head))),
            ("base-stacks.folded", Some(Wanted::Folded(Side::Base))),
            ("base-profile.pb.gz", Some(Wanted::Pprof(Side::Base))),
            ("flame.svg", None),
            ("head-difference.svg", None),
            ("head-../../etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(Wanted::named(name), expect, "{name}");
        }
    }
}
