//! `/{owner}/{name}/contributors/{login}`: one person in one repository.

use super::access::AtPerson;
use super::contributors::Choice;
use super::error::PageError;
use super::figure::Figure;
use super::parts::{Badge, Kind, When, clean};
use super::{Page, Site, render};
use crate::contributors::{self, PERIODS};
use crate::format;
use crate::measures::person::Impact;
use crate::web::frame;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};

/// Benchmarks on the page, the largest changes first.
const IMPACT_MAX: usize = 50;

#[derive(Template)]
#[template(path = "pages/contributor.html")]
struct ContributorPage {
    name: String,
    tab: &'static str,
    login: String,
    days: i64,
    periods: [i64; 3],
    habit: Option<(&'static str, &'static str)>,
    first: Option<When>,
    last: Option<When>,
    figures: Vec<Figure>,
    faster: usize,
    slower: usize,
    impact: Vec<ImpactLine>,
    impact_more: usize,
    own: bool,
}

struct ImpactLine {
    number: u64,
    job: String,
    benchmark: String,
    suite: String,
    metric: &'static str,
    change: String,
    verdict: Badge,
    merged: bool,
}

pub async fn show(
    State(site): State<Site>,
    AtPerson { repository, login }: AtPerson,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Page {
    let (days, now_ms) = (choice.unwrap_or_default().0.days(), site.clock.now_ms());
    let record = contributors::person(&site.db, &repository, &login, days, now_ms)
        .await?
        .ok_or(PageError::NotFound)?;
    let own =
        frame::visitor().is_some_and(|visitor| visitor.person.login.eq_ignore_ascii_case(&record.login));
    let mut periods = PERIODS;
    periods.sort_unstable();
    let faster = record.impact.iter().filter(|one| one.faster).count();
    render(&ContributorPage {
        name: repository.name.to_string(),
        tab: "contributors",
        login: clean(&record.login),
        days,
        periods,
        habit: record.habit.map(|habit| (habit.word(), habit.definition())),
        first: record.first_ms.map(|at_ms| When::new(at_ms, now_ms)),
        last: record.last_ms.map(|at_ms| When::new(at_ms, now_ms)),
        figures: record.measures.iter().map(Figure::new).collect(),
        faster,
        slower: record.impact.len() - faster,
        impact_more: record.impact.len().saturating_sub(IMPACT_MAX),
        impact: record.impact.iter().take(IMPACT_MAX).map(line).collect(),
        own,
    })
}

fn line(one: &Impact) -> ImpactLine {
    ImpactLine {
        number: one.number,
        job: one.job.clone(),
        benchmark: clean(&one.benchmark),
        suite: clean(&one.suite),
        metric: one.metric.title(),
        change: format::change(one.estimate),
        verdict: match one.faster {
            true => Badge::new(Kind::Faster, "faster"),
            false => Badge::new(Kind::Slower, "slower"),
        },
        merged: one.merged,
    }
}
