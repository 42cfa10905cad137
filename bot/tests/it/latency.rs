//! How long a webhook takes to become a convention check run. Run by `scripts/check-latency`.

use crate::database::On;
use crate::postgres;
use crate::world::{Wishes, World};
use bot::db::pace::Pace;
use bot::demo::standin::NewPull;
use std::time::{Duration, Instant};

/// How long one may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the stand-in.
const LOOK: Duration = Duration::from_millis(2);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement; scripts/check-latency runs it"]
async fn at_length() {
    let number = |name: &str, default: usize| match std::env::var(format!("PACELINE_LATENCY_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")),
        Err(_) => default,
    };
    let (runs, commits, bound_ms) = (number("RUNS", 40), number("COMMITS", 50), number("BOUND_MS", 2_000));
    let wanted = std::env::var("PACELINE_LATENCY_DATABASE").unwrap_or_else(|_| "both".into());
    assert!(["both", "sqlite", "postgres"].contains(&wanted.as_str()), "no such database: {wanted}");
    let mut worst = 0;
    if wanted != "postgres" {
        worst = worst.max(run(On::Sqlite, runs, commits).await);
    }
    if wanted != "sqlite" && postgres::available() {
        worst = worst.max(run(On::Postgres, runs, commits).await);
    }
    assert!(worst <= bound_ms, "95 of 100 were under {worst} ms, not under {bound_ms} ms");
}

/// The 95th percentile, in milliseconds.
async fn run(on: On, runs: usize, commits: usize) -> usize {
    let world = World::new(on, Wishes { pace: Some(Pace::GITHUB), ..Wishes::default() }).await;
    let mut took = Vec::new();
    for run in 0..runs {
        let branch = format!("change-{run}");
        let main = world.github.tip(world.repository, "main").unwrap();
        world.github.set_branch(world.repository, &branch, &main).unwrap();
        for commit in 0..commits {
            // One in ten is not as it should be.
            let message = match commit % 10 {
                9 => format!("Change {commit} of {run}."),
                _ => format!("feat(part-{commit}): change {commit}\n\nBecause of {run}.\n"),
            };
            let text = format!("pub fn f{commit}() -> u32 {{ {run} }}\n");
            let path = format!("src/part_{commit}.rs");
            let files = [(path.as_str(), Some(text.as_bytes()))];
            world.github.commit(world.repository, &branch, &message, &files).unwrap();
        }
        let new = NewPull {
            title: format!("feat: change {run}"),
            author: "alice".into(),
            base: "main".into(),
            head: branch.clone(),
            fork: None,
            draft: false,
        };
        let number = world.github.open_pull(world.repository, &new).unwrap();
        let head = world.github.tip(world.repository, &branch).unwrap();
        let began = Instant::now();
        world.pull_event(number, "opened").await;
        loop {
            let done =
                world.check("paceline/commits", &head).is_some_and(|check| check.status == "completed");
            if done {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "no check run after {} s", PATIENCE.as_secs());
            tokio::time::sleep(LOOK).await;
        }
        took.push(began.elapsed());
        // The pull request's other writes go out before the next one comes.
        while bot::db::writes::waiting(&world.server.app.db).await.unwrap() > 0 {
            assert!(began.elapsed() < PATIENCE, "the writes do not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    world.server.stop().await;
    took.sort();
    let at = |share: f64| took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1];
    let ms = |duration: Duration| duration.as_millis() as usize;
    println!(
        "{on:?}: {runs} pull requests of {commits} commits, from the webhook to paceline/commits: \
         median {} ms, 95 of 100 under {} ms, the longest {} ms",
        ms(at(0.5)),
        ms(at(0.95)),
        ms(at(1.0))
    );
    ms(at(0.95))
}
