//! What people say of a history: a change is accepted, a benchmark has another name, or is in quarantine. Pages and
//! `paceline history` call these alike; who may is decided before.

use crate::clock::Clock;
use crate::command::REASON_MAX_CHARS;
use crate::db::quarantined_benchmarks::{self, Quarantined};
use crate::db::renamed_benchmarks::{self, Rename};
use crate::db::{Db, Turn, accepted_changes, change_points, series};
use crate::error::UserError;
use crate::judgement::Acceptance;
use crate::pull::RepoId;

/// As long as names of benchmarks are anywhere.
const NAME_MAX_CHARS: usize = 250;

/// A benchmark of a repository, with all of its metrics.
#[derive(Clone, Copy, Debug)]
pub struct Benchmark<'a> {
    pub repository: RepoId,
    pub suite: &'a str,
    pub name: &'a str,
}

/// Who says something, and when: it is said when it can be stored, and not when it began to wait for that. A run that
/// ends meanwhile is judged without it, and `paceline replay` sees that by the time.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub by: &'a str,
    pub clock: &'a Clock,
}

/// Takes a change that stands, with a reason.
pub async fn accept(
    db: &Db,
    repository: RepoId,
    change: &str,
    reason: &str,
    said: Said<'_>,
) -> anyhow::Result<()> {
    let reason = words("a reason", reason, REASON_MAX_CHARS)?;
    let mut tx = db.begin_turn(Turn::History).await?;
    let found = match change_points::get(&mut *tx, change).await? {
        Some(found) => series::by_id(&mut *tx, found.series).await?.map(|series| (found, series)),
        None => None,
    };
    let stands = found.is_some_and(|(found, series)| {
        series.repository == repository && found.state != change_points::State::Withdrawn
    });
    if !stands {
        return Err(UserError::new("That change does not stand any more.").into());
    }
    let acceptance = Acceptance { by: said.by.into(), reason, at_ms: said.clock.now_ms() };
    if !accepted_changes::insert(&mut tx, change, &acceptance).await? {
        return Err(UserError::new("That change was accepted before.").into());
    }
    tx.commit().await?;
    Ok(())
}

/// Has a benchmark go on under another name, in all of its metrics: points of both names become one series. They are two
/// benchmarks, and refused, where both were measured at one commit.
pub async fn rename(db: &Db, of: Benchmark<'_>, to: &str, said: Said<'_>) -> anyhow::Result<()> {
    let to = words("a name", to, NAME_MAX_CHARS)?;
    if to == of.name {
        return Err(UserError::new("It is called so already.").into());
    }
    let mut tx = db.begin_turn(Turn::History).await?;
    let mut all = series::of_repository(&mut *tx, of.repository).await?;
    all.retain(|key, _| key.suite == of.suite && (key.benchmark == of.name || key.benchmark == to));
    let old: Vec<_> = all.values().filter(|series| series.key.benchmark == of.name).collect();
    if old.is_empty() {
        return Err(unknown());
    }
    for series in old {
        let goes_on = all.get(&series::Key { benchmark: to.clone(), ..series.key.clone() });
        let Some(goes_on) = goes_on else {
            renamed_benchmarks::call(&mut tx, series.id, &to).await?;
            continue;
        };
        if series.sample != goes_on.sample {
            return Err(UserError::new("One of the two is a sample, and was not measured.").into());
        }
        if renamed_benchmarks::shared_place(&mut tx, series.id, goes_on.id).await?.is_some() {
            let words = format!(
                "Both were measured at the same commit, so {to:?} is another benchmark and not this one under a new name."
            );
            return Err(UserError::new(words).into());
        }
        renamed_benchmarks::merge(&mut tx, series.id, goes_on.id).await?;
    }
    let at_ms = said.clock.now_ms();
    let rename = Rename { suite: of.suite, from: of.name, to: &to, by: said.by, at_ms };
    renamed_benchmarks::put(&mut tx, of.repository, &rename).await?;
    // Under its old name it is still measured by pull requests that began before.
    if let Some(held) = quarantined_benchmarks::of(&mut *tx, of.repository, of.suite, of.name).await?
        && quarantined_benchmarks::of(&mut *tx, of.repository, of.suite, &to).await?.is_none()
    {
        let held = Quarantined { benchmark: to, since_ms: at_ms, ..held };
        quarantined_benchmarks::insert(&mut tx, of.repository, &held).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Has a benchmark recorded only from now on: it blocks nothing, and nobody is told of its changes.
pub async fn quarantine(db: &Db, of: Benchmark<'_>, reason: &str, said: Said<'_>) -> anyhow::Result<()> {
    let reason = words("a reason", reason, REASON_MAX_CHARS)?;
    let mut tx = db.begin_turn(Turn::History).await?;
    let known = series::of_repository(&mut *tx, of.repository).await?;
    if !known.keys().any(|key| key.suite == of.suite && key.benchmark == of.name) {
        return Err(unknown());
    }
    if quarantined_benchmarks::of(&mut *tx, of.repository, of.suite, of.name).await?.is_some() {
        return Err(UserError::new("It is in quarantine already.").into());
    }
    let new = Quarantined {
        suite: of.suite.into(),
        benchmark: of.name.into(),
        by: said.by.into(),
        reason,
        since_ms: said.clock.now_ms(),
    };
    quarantined_benchmarks::insert(&mut tx, of.repository, &new).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends that.
pub async fn release(db: &Db, of: Benchmark<'_>, clock: &Clock) -> anyhow::Result<()> {
    let mut tx = db.begin_turn(Turn::History).await?;
    let now_ms = clock.now_ms();
    if !quarantined_benchmarks::end(&mut tx, of.repository, of.suite, of.name, now_ms).await? {
        return Err(UserError::new("It is in no quarantine.").into());
    }
    tx.commit().await?;
    Ok(())
}

fn unknown() -> anyhow::Error {
    UserError::new("There is no history of such a benchmark.").into()
}

/// What somebody wrote, on one line and bounded.
fn words(what: &str, text: &str, chars_max: usize) -> Result<String, UserError> {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let said = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.chars().count() {
        0 => Err(UserError::new(format!("It wants {what}."))),
        n if n > chars_max => {
            Err(UserError::new(format!("It wants {what} of at most {chars_max} characters.")))
        }
        _ => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_line_and_not_nothing() {
        assert_eq!(words("a reason", " it is\n\tworth it\u{0} ", 20).unwrap(), "it is worth it");
        for (text, expect) in [("", "It wants a reason."), (" \n", "It wants a reason.")] {
            assert_eq!(words("a reason", text, 20).unwrap_err().to_string(), expect);
        }
        assert!(words("a reason", &"é".repeat(20), 20).is_ok());
        assert!(words("a reason", &"é".repeat(21), 20).unwrap_err().to_string().contains("at most 20"));
    }
}
