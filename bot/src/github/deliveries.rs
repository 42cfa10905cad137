//! Webhooks that never reached us: GitHub keeps its attempts for three days and repeats one when asked.

use super::{GitHub, GitHubError, wire};
use http::Method;
use std::collections::{BTreeMap, BTreeSet};

/// A delivery of which no attempt succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    /// Of the newest attempt: what [`GitHub::redeliver`] wants.
    pub id: i64,
    /// `X-GitHub-Delivery`, the same in every attempt.
    pub guid: String,
    pub event: String,
    /// The newest attempt.
    pub at_ms: i64,
}

impl GitHub {
    /// Deliveries since a time that our webhook never accepted, oldest first.
    pub async fn failed_deliveries(&self, since_ms: i64) -> Result<Vec<FailedDelivery>, GitHubError> {
        let at_ms = |attempt: &wire::HookDelivery| wire::time_ms(&attempt.delivered_at).unwrap_or(0);
        let attempts = self
            .transport()
            .pages_while(
                "/app/hook/deliveries",
                &self.as_app()?,
                |page: Vec<wire::HookDelivery>| page,
                // Newest first.
                |last| at_ms(last) >= since_ms,
            )
            .await?;
        let mut arrived = BTreeSet::new();
        let mut failed: BTreeMap<String, FailedDelivery> = BTreeMap::new();
        for attempt in attempts.items {
            let at_ms = at_ms(&attempt);
            if (200..300).contains(&attempt.status_code) {
                arrived.insert(attempt.guid);
            } else if at_ms >= since_ms {
                let wire::HookDelivery { id, guid, event, .. } = attempt;
                let newest = failed.get(&guid).is_none_or(|known| known.id < id);
                if newest {
                    failed.insert(guid.clone(), FailedDelivery { id, guid, event, at_ms });
                }
            }
        }
        let mut lost: Vec<_> = failed.into_values().filter(|f| !arrived.contains(&f.guid)).collect();
        lost.sort_by_key(|f| (f.at_ms, f.id));
        Ok(lost)
    }

    /// Asks GitHub to send a delivery once more, under the same GUID.
    pub async fn redeliver(&self, id: i64) -> Result<(), GitHubError> {
        let path = format!("/app/hook/deliveries/{id}/attempts");
        self.transport().write_nothing(Method::POST, &path, &self.as_app()?).await?;
        Ok(())
    }
}
