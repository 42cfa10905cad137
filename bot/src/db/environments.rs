//! The machines that measured, and their state: each kind once, however often it measures.

use super::{Tx, json, to_json};
use perfsuite::model::Environment;
use sha2::{Digest, Sha256};
use sqlx::{Any, Executor, Row};

/// What of an environment does not change from run to run.
fn lasting(environment: &Environment) -> Environment {
    Environment {
        steal: None,
        load_before: None,
        load_after: None,
        others: None,
        warnings: Vec::new(),
        ..environment.clone()
    }
}

/// The number of an environment, which it gets when it is first seen. The transaction has the turn of histories.
pub async fn number_of(tx: &mut Tx, environment: &Environment) -> sqlx::Result<i64> {
    let text = to_json(&lasting(environment));
    let digest = hex::encode(Sha256::digest(&text));
    let known = sqlx::query("SELECT id FROM environments WHERE digest = $1")
        .bind(&digest)
        .fetch_optional(&mut **tx)
        .await?;
    if let Some(row) = known {
        return row.try_get("id");
    }
    let row = sqlx::query(
        "INSERT INTO environments (id, digest, environment)
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2 FROM environments RETURNING id",
    )
    .bind(&digest)
    .bind(&text)
    .fetch_one(&mut **tx)
    .await?;
    row.try_get("id")
}

pub async fn get<'e, E: Executor<'e, Database = Any>>(on: E, id: i64) -> sqlx::Result<Option<Environment>> {
    let row =
        sqlx::query("SELECT environment FROM environments WHERE id = $1").bind(id).fetch_optional(on).await?;
    row.map(|row| json(&row, "environment")).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_busy_a_machine_was_makes_no_other_environment() {
        let quiet = Environment { kernel: "6.1".into(), ..Environment::default() };
        let busy = Environment { load_before: Some(3.0), steal: Some(0.1), ..quiet.clone() };
        assert_eq!(lasting(&quiet), lasting(&busy));
        let updated = Environment { kernel: "6.2".into(), ..Environment::default() };
        assert_ne!(lasting(&quiet), lasting(&updated));
    }
}
