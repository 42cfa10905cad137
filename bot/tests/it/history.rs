//! Pushes to the default branch become points, points become change points, and those are searched for their commit:
//! through the real router, database, git and runner protocol.

use crate::commands::paceline;
use crate::database::{On, on_both};
use crate::hand::{Hand, eventually_claim, evidence};
use crate::world::{Wishes, World};
use bot::db::history_commits::{self, HistoryCommit};
use bot::db::points::{self, Point};
use bot::db::series::{self, Key, Series};
use bot::db::{Db, bisects, change_points, jobs, references};
use bot::demo::standin::Event;
use bot::history::bisect::Outcome;
use bot::history::curate::{self, Benchmark, Said};
use bot::queue::{JobState, Purpose};
use perfsuite::model::wire::{self, Lease, Stored};
use perfsuite::model::{BenchmarkId, Build, Sha, Side};
use std::collections::BTreeMap;
use std::time::Duration;

on_both!(
    a_push_makes_a_point_against_parent_and_reference,
    a_renamed_benchmark_goes_on_as_one_series,
    a_new_reference_is_linked_to_the_one_before,
    a_level_that_changed_is_found_and_its_commit_searched,
    a_rewritten_branch_takes_its_points_along,
    what_cannot_be_measured_leaves_a_gap,
    a_deleted_repository_measures_nothing_more,
    a_range_is_filled_and_filled_again_for_nothing,
);

fn key() -> Key {
    Key { suite: "widgets".into(), benchmark: "widgets/one".into(), metric: "time".into() }
}

/// Waits for what only a query can tell.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    for _ in 0..6_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {what}");
}

impl World {
    fn db(&self) -> &Db {
        &self.server.app.db
    }

    /// A commit on `main`, which nobody was told of.
    fn main_commit(&self, n: usize) -> Sha {
        let source = format!("pub fn one() -> u32 {{ {n} + 100 }}\n");
        let files = [("src/lib.rs", Some(source.as_bytes()))];
        self.github.commit(self.repository, "main", &format!("feat: {n} (#{})", n + 1), &files).unwrap()
    }

    pub async fn push_event(&self, branch: &str) {
        let after = self.github.tip(self.repository, branch).unwrap();
        let event = Event::Push {
            repo: self.repository,
            branch: branch.into(),
            before: after.clone(),
            after,
            pusher: "alice".into(),
        };
        self.send(&event).await;
    }

    fn tag(&self, name: &str, sha: &Sha) {
        let git = git2::Repository::open_bare(self.github.git_dir(self.repository).unwrap()).unwrap();
        let id = git2::Oid::from_str(sha.as_str()).unwrap();
        git.reference(&format!("refs/tags/{name}"), id, true, "").unwrap();
    }

    async fn stored(&self, sha: &Sha) -> Option<HistoryCommit> {
        history_commits::by_sha(self.db().pool(), self.repository, sha).await.unwrap()
    }

    async fn series(&self) -> Option<Series> {
        series::by_key(self.db().pool(), self.repository, &key()).await.unwrap()
    }

    async fn points(&self) -> Vec<Point> {
        let Some(series) = self.series().await else { return Vec::new() };
        points::between(self.db().pool(), series.id, 0, i64::MAX, points::READ_MAX).await.unwrap()
    }

    async fn kind_of(&self, lease: &Lease) -> Purpose {
        jobs::get(self.db().pool(), &lease.spec.job).await.unwrap().unwrap().purpose
    }
}

fn near(given: f64, expect: f64) -> bool {
    (given / expect - 1.0).abs() < 0.01
}

async fn a_push_makes_a_point_against_parent_and_reference(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    let root = world.github.tip(world.repository, "main").unwrap();
    let first = world.main_commit(1);
    world.push_event("main").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!((&lease.spec.base, &lease.spec.head), (&root, &first));
    assert_eq!(lease.spec.suites.len(), 0, "every bench of the workspace");
    runner.measure(&lease, 1.25).await;
    let [point] = &world.points().await[..] else { panic!("one point") };
    assert_eq!(point.position, 1);
    let (parent, reference) = (point.parent.unwrap(), point.reference.unwrap());
    assert_eq!(parent, reference, "without a release, the history begins at the parent");
    assert!(near(parent.ratio, 1.25) && parent.low < parent.ratio && parent.ratio < parent.high, "{point:?}");
    assert!(near(point.value.unwrap(), 125.0), "{point:?}");
    let commit = world.stored(&first).await.unwrap();
    assert_eq!((commit.pull, commit.author.as_str()), (Some(2), "Ada Example"));
    assert!(commit.environment.is_some() && commit.parent_job == commit.reference_job);

    // Told again, and told of other branches, it does nothing more.
    world.push_event("main").await;
    world.push_event("topic").await;
    let second = world.main_commit(2);
    world.push_event("main").await;
    let mut leases = BTreeMap::new();
    for _ in 0..2 {
        let lease = eventually_claim(&runner).await;
        assert_eq!(lease.spec.head, second);
        let other = Hand::new(&world, "other").await;
        assert!(other.claim(true).await.is_none(), "of one history, one at a time");
        let kind = world.kind_of(&lease).await;
        runner.measure(&lease, if kind == Purpose::Parent { 0.5 } else { 0.625 }).await;
        leases.insert(lease.spec.base, kind);
    }
    assert_eq!(leases, BTreeMap::from([(root, Purpose::Reference), (first, Purpose::Parent)]));
    let [_, point] = &world.points().await[..] else { panic!("two points") };
    assert!(
        near(point.parent.unwrap().ratio, 0.5) && near(point.reference.unwrap().ratio, 0.625),
        "{point:?}"
    );
    assert!(near(point.value.unwrap(), 50.0), "the value of the run against the parent: {point:?}");
    assert!(runner.claim(true).await.is_none());
    world.server.stop().await;
}

async fn a_renamed_benchmark_goes_on_as_one_series(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    world.main_commit(1);
    world.push_event("main").await;
    runner.measure(&eventually_claim(&runner).await, 1.25).await;
    let old = world.series().await.unwrap();
    let of = Benchmark { repository: world.repository, suite: "widgets", name: "widgets/one" };
    let said = Said { by: "alice", clock: &world.server.app.clock };
    curate::rename(world.db(), of, "widgets/two", said).await.unwrap();
    // What is measured under the old name, as commits of before the rename are, is stored under the new one.
    world.main_commit(2);
    world.push_event("main").await;
    for _ in 0..2 {
        runner.measure(&eventually_claim(&runner).await, 0.5).await;
    }
    assert_eq!(world.series().await, None);
    let points = points::between(world.db().pool(), old.id, 0, i64::MAX, 10).await.unwrap();
    assert_eq!(points.len(), 2, "{points:?}");
    assert!(near(points[1].parent.unwrap().ratio, 0.5), "{points:?}");
    let all = series::of_repository(world.db().pool(), world.repository).await.unwrap();
    assert_eq!(all.into_keys().map(|key| key.benchmark).collect::<Vec<_>>(), ["widgets/two"]);
    world.server.stop().await;
}

async fn a_new_reference_is_linked_to_the_one_before(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    let first = world.main_commit(1);
    world.tag("v1.0.0", &first);
    world.tag("v1.1.0-rc.1", &world.github.tip(world.repository, "topic").unwrap());
    world.push_event("main").await;
    let lease = eventually_claim(&runner).await;
    assert_eq!(world.kind_of(&lease).await, Purpose::Parent, "it is the reference itself");
    runner.measure(&lease, 1.1).await;
    assert_eq!(world.points().await[0].reference.unwrap().ratio, 1.0);

    let second = world.main_commit(2);
    world.tag("v1.1.0", &second);
    let third = world.main_commit(3);
    world.push_event("main").await;
    let mut seen = BTreeMap::new();
    // The new reference against the old one, then the newest commit, then the one before it.
    for _ in 0..4 {
        let lease = eventually_claim(&runner).await;
        let kind = world.kind_of(&lease).await;
        let ratio = match (kind, lease.spec.head == third) {
            (Purpose::Overlap, _) => {
                assert_eq!((&lease.spec.base, &lease.spec.head), (&first, &second));
                2.0
            }
            (Purpose::Parent, true) => 1.5,
            _ => 2.0,
        };
        seen.insert(lease.spec.head.clone(), seen.len());
        runner.measure(&lease, ratio).await;
        if seen.len() == 2 && world.points().await.len() == 3 {
            break;
        }
    }
    assert!(runner.claim(true).await.is_none());
    let references = references::all(world.db().pool(), world.repository).await.unwrap();
    let names: Vec<&str> = references.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(names, ["v1.0.0", "v1.1.0"]);
    let points = world.points().await;
    assert_eq!(points.len(), 3, "{points:?}");
    assert_eq!(points[2].reference_number, Some(2));
    assert!(near(points[2].reference.unwrap().ratio, 1.5), "its parent is the reference: {points:?}");
    let series = world.series().await.unwrap();
    let links = points::links(world.db().pool(), series.id).await.unwrap();
    assert!(links.len() == 1 && near(links[0].ratio, 2.0), "{links:?}");
    let over: Vec<f64> =
        bot::history::linked::linked(&points, &links).iter().map(|l| l.ratio.ratio).collect();
    assert!(near(over[0], 0.5) && near(over[1], 1.0) && near(over[2], 1.5), "{over:?}");
    world.server.stop().await;
}

/// Twenty-four commits, of which the thirteenth is 5 % slower; it and the next cannot be measured at first.
async fn a_level_that_changed_is_found_and_its_commit_searched(on: On) {
    const SLOW: usize = 13;
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    let root = world.github.tip(world.repository, "main").unwrap();
    let mut level = BTreeMap::from([(root, 1.0)]);
    let mut commits = Vec::new();
    for n in 1..=24_usize {
        let sha = world.main_commit(n);
        // Without a rhythm, which would look like neighbours that resemble each other.
        let mut mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let jitter = 1.0 + (((mixed ^ (mixed >> 32)) % 1_000) as f64 / 1_000.0 - 0.5) * 0.004;
        level.insert(sha.clone(), jitter * if n >= SLOW { 1.05 } else { 1.0 });
        commits.push(sha);
        if n == 1 {
            world.push_event("main").await;
            eventually_measured(&world, &runner, &level).await;
        }
    }
    let ratio = |lease: &Lease| level[&lease.spec.head] / level[&lease.spec.base];
    world.push_event("main").await;
    let broken = [&commits[SLOW - 1], &commits[SLOW]];
    while world.points().await.len() < 22 {
        let lease = eventually_claim(&runner).await;
        if broken.contains(&&lease.spec.head) && world.kind_of(&lease).await != Purpose::Bisect {
            let outcome = wire::Outcome::Failed { message: "no disk".into(), output: String::new() };
            assert_eq!(runner.finish(&lease, outcome).await, 204);
        } else {
            runner.measure(&lease, ratio(&lease)).await;
        }
    }
    let series = world.series().await.unwrap();
    // The commits of before know the former name alone, and so does what is measured of them.
    let of = Benchmark { repository: world.repository, suite: "widgets", name: "widgets/one" };
    let said = Said { by: "alice", clock: &world.server.app.clock };
    curate::rename(world.db(), of, "widgets/first", said).await.unwrap();
    // What is left of the history, then the search; both end.
    let mut found = None;
    for _ in 0..80 {
        if let Some(lease) = runner.claim(true).await {
            if world.kind_of(&lease).await == Purpose::Bisect {
                let focus = lease.spec.focus.as_ref().unwrap();
                assert!(
                    ["widgets/first", "widgets/one"].iter().all(|n| focus.wants(&BenchmarkId((*n).into())))
                );
            }
            runner.measure(&lease, ratio(&lease)).await;
        }
        let changes = change_points::of_series(world.db().pool(), series.id).await.unwrap();
        assert!(changes.len() <= 1, "{changes:?}");
        // While older commits come in, what was seen may be unsaid for a while.
        let Some(change) = changes.first().filter(|change| change.state == change_points::State::Confirmed)
        else {
            continue;
        };
        let search = bisects::of_series(world.db().pool(), change.series).await.unwrap().remove(&change.id);
        if let Some(search) = search.filter(|search| !search.running) {
            found = Some((change.clone(), search));
            break;
        }
    }
    let found = found.expect("the search to end");
    let (change, search) = found;
    assert_eq!(change.state, change_points::State::Confirmed);
    assert_eq!((change.before, change.position), (12, 15), "between measured commits");
    assert!((change.size - 0.05).abs() < 0.01, "{change:?}");
    assert_eq!(search.commits.len(), 3);
    let Some(Outcome::Found { commit, change }) = &search.outcome else { panic!("{search:?}") };
    assert_eq!(commit, &commits[SLOW - 1]);
    assert!((change.estimate - 0.05).abs() < 0.01, "{change:?}");
    world.server.stop().await;
}

async fn eventually_measured(world: &World, runner: &Hand, level: &BTreeMap<Sha, f64>) {
    let lease = eventually_claim(runner).await;
    runner.measure(&lease, level[&lease.spec.head] / level[&lease.spec.base]).await;
    assert_eq!(world.points().await.len(), 1);
}

async fn a_rewritten_branch_takes_its_points_along(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    let first = world.main_commit(1);
    world.push_event("main").await;
    runner.measure(&eventually_claim(&runner).await, 1.0).await;
    let lost = world.main_commit(2);
    world.push_event("main").await;
    let lease = eventually_claim(&runner).await;
    runner.measure(&lease, 1.0).await;
    let waiting = until("the other job", || async {
        let commit = world.stored(&lost).await.unwrap();
        let job = jobs::get(world.db().pool(), &perfsuite::model::JobId(commit.reference_job.unwrap())).await;
        job.unwrap().filter(|job| job.state == JobState::Queued)
    })
    .await;
    assert_eq!(world.points().await.len(), 2);
    world.github.set_branch(world.repository, "main", &first).unwrap();
    let kept = world.main_commit(3);
    world.push_event("main").await;
    until("the new commit", || world.stored(&kept)).await;
    assert!(world.stored(&lost).await.is_none());
    assert_eq!(world.stored(&kept).await.unwrap().position, 2);
    assert_eq!(world.points().await.len(), 1, "what is no longer on the branch has no points");
    let waiting = jobs::get(world.db().pool(), &waiting.id).await.unwrap().unwrap();
    assert_eq!(waiting.state, JobState::Superseded);
    let lease = eventually_claim(&runner).await;
    assert_eq!(lease.spec.head, kept);
    runner.measure(&lease, 1.2).await;
    assert_eq!(world.points().await.len(), 2);
    world.server.stop().await;
}

async fn what_cannot_be_measured_leaves_a_gap(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    world.main_commit(1);
    world.push_event("main").await;
    let lease = eventually_claim(&runner).await;
    let mut broken = evidence(&lease, 1.0);
    broken.series.clear();
    broken.calibration.clear();
    broken.builds = vec![Build {
        side: Side::Head,
        commit: lease.spec.head.clone(),
        seconds: 1.0,
        error: Some("error[E0425]: no such thing".into()),
    }];
    let (status, body) = runner.upload(&lease, &broken).await;
    assert_eq!(status, 201, "{body}");
    let Stored { digest } = serde_json::from_str(&body).unwrap();
    assert_eq!(runner.finish(&lease, wire::Outcome::Measured { digest }).await, 204);
    assert_eq!(world.points().await, []);
    // Words alone change nothing that is measured.
    let words = [("README.md", Some(&b"hello\n"[..]))];
    let docs = world.github.commit(world.repository, "main", "docs: say hello", &words).unwrap();
    world.push_event("main").await;
    until("the commit", || world.stored(&docs)).await;
    let commit = world.stored(&docs).await.unwrap();
    assert_eq!((commit.parent_job, commit.reference_job), (None, None));
    assert!(runner.claim(true).await.is_none());
    world.main_commit(3);
    world.push_event("main").await;
    for _ in 0..2 {
        runner.measure(&eventually_claim(&runner).await, 1.0).await;
    }
    let positions: Vec<i64> = world.points().await.iter().map(|point| point.position).collect();
    assert_eq!(positions, [3]);
    world.server.stop().await;
}

async fn a_deleted_repository_measures_nothing_more(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    world.main_commit(1);
    world.push_event("main").await;
    let lease = eventually_claim(&runner).await;
    world.main_commit(2);
    world.push_event("main").await;
    let hook = world.url("/github/webhook");
    let push = Event::Push {
        repo: world.repository,
        branch: "main".into(),
        before: lease.spec.base.clone(),
        after: lease.spec.head.clone(),
        pusher: "alice".into(),
    };
    let late = world.github.compose(world.app_id, &hook, &push).unwrap();
    let gone = Event::Repository { repo: world.repository, action: "deleted".into() };
    let gone = world.github.compose(world.app_id, &hook, &gone).unwrap();
    world.github.delete_repository(world.repository);
    assert_eq!(world.github.post(gone).await.unwrap().status, 202);
    assert_eq!(world.github.post(late).await.unwrap().status, 202);
    until("the jobs to be cancelled", || async {
        let counts = jobs::open_counts(world.db()).await.unwrap();
        let (waiting, _) = bot::db::deliveries::waiting(world.db().pool()).await.unwrap();
        (counts.is_empty() && waiting == 0).then_some(())
    })
    .await;
    assert!(runner.claim(true).await.is_none());
    assert_eq!(bot::db::deliveries::newest_failure(world.db()).await.unwrap(), None);
    world.server.stop().await;
}

async fn a_range_is_filled_and_filled_again_for_nothing(on: On) {
    let world = World::new(on, Wishes::default()).await;
    let runner = Hand::new(&world, "box").await;
    let commits: Vec<Sha> = (1..=4).map(|n| world.main_commit(n)).collect();
    world.push_event("main").await;
    runner.measure(&eventually_claim(&runner).await, 1.0).await;
    assert_eq!(world.points().await.len(), 1, "history begins with the newest");
    let fill = |more: &[&str]| {
        let mut command = paceline(&["history", "backfill", "--repo", "acme/widgets"]);
        command.args(["--from", commits[0].as_str(), "--to", "main"]).args(more);
        command.arg("--data-dir").arg(world.data_dir()).env("DATABASE_URL", world.database_url());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), said)
    };
    let (ok, text, said) = fill(&["--dry-run"]);
    assert!(ok, "{said}");
    assert!(text.starts_with("4 commits of "), "{text}");
    assert!(text.contains("3 to measure, 1 measured or waiting"), "{text}");
    assert!(text.contains("a day for all of the repository: 1 day at least"), "{text}");
    assert!(runner.claim(true).await.is_none(), "a dry run queues nothing");
    let (ok, _, said) = fill(&[]);
    assert!(ok, "{said}");
    let mut heads = Vec::new();
    while let Some(lease) = runner.claim(true).await {
        heads.push(lease.spec.head.clone());
        runner.measure(&lease, 1.0).await;
    }
    heads.dedup();
    let newest_first: Vec<Sha> = commits[..3].iter().rev().cloned().collect();
    assert_eq!(heads, newest_first);
    assert_eq!(world.points().await.len(), 4);
    let (ok, text, _) = fill(&["--wait"]);
    assert!(ok && text.contains("0 to measure, 4 measured or waiting"), "{text}");
    assert!(text.contains("4 measured, 0 to go, 0 that could not be measured"), "{text}");
    assert!(runner.claim(true).await.is_none());
    let (ok, _, said) = fill(&["--every", "0"]);
    assert!(!ok && said.contains("--every"), "{said}");
    world.server.stop().await;
}
