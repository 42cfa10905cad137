//! How full the disk of the data directory is, and what is said of it.

use crate::app::App;
use crate::format;
use perfsuite::disk::{self, Space};

/// Why nothing that needs space may begin; `None` when there is enough. A disk that cannot be asked is said to have
/// space: what fails then says so itself.
pub fn shortage(app: &App) -> Option<String> {
    let space = space(app)?;
    short_of(space, app.config.disk.reserve_bytes)
}

fn short_of(space: Space, reserve_bytes: u64) -> Option<String> {
    (space.free_bytes < reserve_bytes).then(|| {
        format!(
            "The server's disk is nearly full: {} of {} are free, {} are kept in reserve.",
            format::bytes(space.free_bytes),
            format::bytes(space.total_bytes),
            format::bytes(reserve_bytes)
        )
    })
}

fn space(app: &App) -> Option<Space> {
    disk::space(&app.config.data_dir).ok()
}

/// For `/metrics`.
pub fn gauges(app: &App) {
    let Some(space) = space(app) else { return };
    metrics::gauge!("paceline_disk_free_bytes").set(space.free_bytes as f64);
    metrics::gauge!("paceline_disk_total_bytes").set(space.total_bytes as f64);
    metrics::gauge!("paceline_disk_reserve_bytes").set(app.config.disk.reserve_bytes as f64);
    let short = short_of(space, app.config.disk.reserve_bytes).is_some();
    metrics::gauge!("paceline_disk_short").set(f64::from(u8::from(short)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_in_figures() {
        let space = |free_bytes| Space { free_bytes, total_bytes: 50 << 30 };
        assert_eq!(short_of(space(2 << 30), 2 << 30), None);
        let words = short_of(space(1 << 30), 2 << 30).unwrap();
        assert!(words.contains("1") && words.contains("50") && words.contains("nearly full"), "{words}");
    }
}
