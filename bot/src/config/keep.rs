//! What is kept on the disk and in the database, and for how long.

/// Room for a job's evidence, a first fetch of a large repository and the database's journal together.
const RESERVE_DEFAULT_MIB: u32 = 2_048;
/// Evidence is kept for this long at least, whatever the settings say.
const EVIDENCE_DAYS_MIN: u32 = 30;
/// A release's worth of history, in teams that release by the quarter.
const EVIDENCE_DAYS_DEFAULT: u32 = 90;
/// GitHub sends a delivery again for three days. One that it sends again must still be known by its GUID.
const DELIVERY_DAYS_MIN: u32 = 7;
const DELIVERY_DAYS_DEFAULT: u32 = 30;

/// The owner's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    pub reserve_bytes: u64,
    pub evidence_days: u32,
    pub delivery_days: u32,
}

impl DiskConfig {
    /// `None` is the default; what is too short is made as long as it must be.
    pub fn new(
        reserve_mib: Option<u32>,
        evidence_days: Option<u32>,
        delivery_days: Option<u32>,
    ) -> DiskConfig {
        DiskConfig {
            reserve_bytes: u64::from(reserve_mib.unwrap_or(RESERVE_DEFAULT_MIB)) << 20,
            evidence_days: evidence_days.unwrap_or(EVIDENCE_DAYS_DEFAULT).max(EVIDENCE_DAYS_MIN),
            delivery_days: delivery_days.unwrap_or(DELIVERY_DAYS_DEFAULT).max(DELIVERY_DAYS_MIN),
        }
    }
}

impl Default for DiskConfig {
    fn default() -> Self {
        DiskConfig::new(None, None, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_floor() {
        let asked = |days| DiskConfig::new(Some(1), Some(days), Some(days));
        let days = |config: DiskConfig| (config.evidence_days, config.delivery_days);
        assert_eq!(days(asked(0)), (EVIDENCE_DAYS_MIN, DELIVERY_DAYS_MIN));
        assert_eq!(days(asked(365)), (365, 365));
        assert_eq!(asked(365).reserve_bytes, 1 << 20);
    }
}
