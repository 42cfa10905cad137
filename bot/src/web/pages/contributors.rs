//! `/{owner}/{name}/contributors`: a repository's health, and the people who contributed.

use super::access::AtRepository;
use super::figure::Figure;
use super::parts::{When, clean};
use super::{Page, Site, render};
use crate::contributors::{self, PERIODS};
use crate::format;
use crate::measures::people::Person;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

/// People on the page; the API has all.
const PEOPLE_MAX: usize = 100;

#[derive(Template)]
#[template(path = "pages/contributors.html")]
struct ContributorsPage {
    name: String,
    tab: &'static str,
    days: i64,
    periods: [i64; 3],
    notes: Vec<String>,
    response: Vec<Figure>,
    flow: Vec<Figure>,
    community: Vec<Figure>,
    growth: Vec<Figure>,
    counts: Option<CountsView>,
    /// Markdown of badges.
    snippet: String,
    people: Vec<PersonLine>,
    more: usize,
}

struct CountsView {
    stars: String,
    forks: String,
    watchers: String,
    when: When,
}

struct PersonLine {
    login: String,
    habit: &'static str,
    opened: usize,
    merged: usize,
    reviews: usize,
    comments: usize,
    last: When,
}

#[derive(Default, Deserialize)]
pub struct Choice {
    pub days: Option<String>,
}

impl Choice {
    /// Any other number, and no number, is the first period.
    pub fn days(&self) -> i64 {
        contributors::days(self.days.as_deref().and_then(|text| text.parse().ok()))
    }
}

pub async fn show(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Page {
    let (days, now_ms) = (choice.unwrap_or_default().0.days(), site.clock.now_ms());
    let health = contributors::health(&site.db, &repository, days, now_ms).await?;
    let some = |ids: &[&str]| -> Vec<Figure> {
        let chosen = health.measures.iter().filter(|measure| ids.contains(&measure.id));
        chosen.map(Figure::new).collect()
    };
    render(&ContributorsPage {
        name: repository.name.to_string(),
        tab: "contributors",
        days,
        periods: sorted(PERIODS),
        response: some(&["first-response-p15", "first-response-p50", "first-response-p85"]),
        flow: some(&[
            "approval-p50",
            "merge-p50",
            "review-p50",
            "closure-ratio",
            "acceptance-ratio",
            "tests-added",
        ]),
        community: some(&[
            "absence-factor",
            "new-contributors",
            "episodic-contributors",
            "returning-contributors",
        ]),
        growth: some(&["stars-per-month", "fork-to-pull", "watchers-per-month"]),
        counts: health.counts.map(|counts| CountsView {
            stars: format::thousands(counts.stars as f64),
            forks: format::thousands(counts.forks as f64),
            watchers: format::thousands(counts.watchers as f64),
            when: When::new(counts.at_ms, now_ms),
        }),
        snippet: snippet(site.access.public_url(), &repository.name.to_string()),
        more: health.people.len().saturating_sub(PEOPLE_MAX),
        people: health.people.iter().take(PEOPLE_MAX).map(|person| line(person, now_ms)).collect(),
        notes: health.notes,
    })
}

fn snippet(public_url: &str, name: &str) -> String {
    let badge = |(what, words): (&str, &str)| {
        format!("[![{words}]({public_url}/{name}/badge/{what}.svg)]({public_url}/{name}/contributors)")
    };
    [("stars", "stars"), ("forks", "forks"), ("response", "first response"), ("absence", "absence factor")]
        .map(badge)
        .join("\n")
}

fn sorted(mut periods: [i64; 3]) -> [i64; 3] {
    periods.sort_unstable();
    periods
}

fn line(person: &Person, now_ms: i64) -> PersonLine {
    PersonLine {
        login: clean(&person.login),
        habit: person.habit.word(),
        opened: person.opened,
        merged: person.merged,
        reviews: person.reviews,
        comments: person.comments,
        last: When::new(person.last_ms, now_ms),
    }
}
