//! People, events and counts for a seeded database: made by a generator, the same each time.

use crate::seed::{NOW_MS, Seeded, sha};
use bot::activity::{Kind, NewEvent};
use bot::db::backfills::{self, Backfill};
use bot::db::repository_settings::{self, RepositorySettings};
use bot::db::sessions::{self, UnderWay};
use bot::db::{activity, counts, opt_outs, pulls};
use bot::github::Person;
use bot::measures::DAY_MS;
use bot::measures::health::Counts;
use bot::pull::{PullRequest, PullState, Repository};
use bot::repo_config::RepoConfig;
use std::collections::BTreeSet;

/// How much of a past a repository gets.
#[derive(Clone, Copy)]
pub struct Past {
    pub pulls: u64,
    pub people: u64,
    pub days: i64,
}

/// A small generator with a fixed seed: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// Pull requests from number 1,000 on, with what happened to them, and hourly counts.
pub async fn fill(seeded: &Seeded, repository: &Repository, past: Past) {
    let mut dice = Dice(repository.id.0 as u64 + 7);
    let name = |n: u64| match n {
        0 => "alice".to_owned(),
        1 => "bob".to_owned(),
        2 => "carol".to_owned(),
        3 => "a-rather-long-login-of-thirty-nine-chars".to_owned(),
        n => format!("person-{n}"),
    };
    let none = BTreeSet::new();
    let mut tx = seeded.db().begin().await.unwrap();
    for index in 0..past.pulls {
        let number = 1_000 + index;
        // A few people do most of it.
        let (a, b) = (dice.below(past.people), dice.below(past.people));
        let author = name(a.min(b));
        let opened_ms = NOW_MS - DAY_MS * past.days * (past.pulls - index) as i64 / past.pulls as i64;
        let response_ms = opened_ms + 600_000 + dice.below(4 * 86_400_000) as i64;
        let end_ms = response_ms + dice.below(5 * 86_400_000) as i64;
        let ended = end_ms < NOW_MS && dice.below(12) > 0;
        let merged = ended && dice.below(6) > 0;
        let pull = PullRequest {
            number,
            title: format!("feat: part {index} of the whole"),
            author: author.clone(),
            author_is_bot: false,
            state: match (ended, merged) {
                (false, _) => PullState::Open,
                (_, true) => PullState::Merged,
                _ => PullState::Closed,
            },
            draft: false,
            base_ref: "main".into(),
            base_sha: crate::seed::base(),
            head_ref: format!("topic-{index}"),
            head_sha: sha('f'),
            from_fork: dice.below(3) == 0,
            labels: Vec::new(),
            opened_ms,
        };
        pulls::upsert(&mut tx, repository.id, &pull, if ended { end_ms } else { opened_ms }).await.unwrap();
        let reviewer = name((a.min(b) + 1 + dice.below(3)) % past.people.max(2));
        let event = |kind, source: String, login: &str, detail: Option<&str>, at_ms| NewEvent {
            kind,
            source,
            number: Some(number),
            login: login.into(),
            bot: false,
            detail: detail.map(Into::into),
            sha: Some(sha('f').to_string()),
            at_ms,
        };
        let mut events = vec![event(Kind::Opened, number.to_string(), &author, None, opened_ms)];
        if response_ms < NOW_MS {
            let word = if dice.below(3) == 0 { "commented" } else { "approved" };
            events.push(event(Kind::Review, number.to_string(), &reviewer, Some(word), response_ms));
            events.push(event(Kind::Comment, number.to_string(), &author, None, response_ms + 60_000));
        }
        if ended {
            let kind = if merged { Kind::Merged } else { Kind::Closed };
            events.push(event(kind, number.to_string(), &reviewer, None, end_ms));
        }
        for event in &events {
            activity::insert(&mut tx, repository.id, event, &none).await.unwrap();
        }
    }
    for hour in 0..past.days.min(90) * 4 {
        let at_ms = NOW_MS - hour * 6 * 3_600_000;
        let grown = past.days.min(90) * 4 - hour;
        let sample =
            Counts { at_ms, stars: 1_200 + grown, forks: 85 + grown / 20, watchers: 60 + grown / 12 };
        counts::insert(&mut tx, repository.id, &sample).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// A row in every table of what people did and who they are.
pub async fn one_of_each(seeded: &Seeded, repository: &Repository) {
    let db = seeded.db();
    fill(seeded, repository, Past { pulls: 3, people: 2, days: 10 }).await;
    let state = Backfill {
        since_ms: 0,
        stage: "pulls".into(),
        page: 2,
        pulls: 100,
        events: 321,
        started_ms: NOW_MS - 1_000,
    };
    let settings = RepositorySettings::from(&RepoConfig::default());
    let mut tx = db.begin().await.unwrap();
    opt_outs::add(&mut tx, "Somebody", NOW_MS).await.unwrap();
    repository_settings::upsert(&mut tx, repository.id, &settings, NOW_MS).await.unwrap();
    backfills::put(&mut tx, repository.id, &state, NOW_MS).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(backfills::get(db, repository.id).await.unwrap(), Some(state));
    assert_eq!(repository_settings::get(db, repository.id).await.unwrap(), settings);
    assert!(opt_outs::has(db.pool(), "somebody").await.unwrap());
    let person = Person { id: 7, login: "alice".into() };
    sessions::insert(db, "digest of a session", &person, NOW_MS, NOW_MS + 1).await.unwrap();
    assert_eq!(sessions::get(db, "digest of a session", NOW_MS).await.unwrap(), Some(person));
    assert_eq!(sessions::get(db, "digest of a session", NOW_MS + 1).await.unwrap(), None, "it is over");
    let under_way = UnderWay { verifier: "verifier".into(), back: "/".into() };
    sessions::begin(db, "digest of a state", &under_way, NOW_MS, 0).await.unwrap();
}
