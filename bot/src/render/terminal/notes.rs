//! Sentences below the terminal's table.

use crate::format;
use crate::render::facts::{Facts, Names};
use crate::render::markdown::visible;
use crate::render::words;
use perfsuite::model::{Report, Scenario, Side};

/// What the table does not say, in the order in which a reader wants to know it.
pub(super) fn notes(report: &Report, facts: &Facts<'_>, names: &Names<'_>) -> Vec<String> {
    /// Names in a sentence.
    const LISTED: usize = 20;
    let mut notes = Vec::new();
    if let Some((low, high)) = facts.smallest_visible() {
        notes.push(format!("Smallest change that this run would have seen: {}.", words::range(low, high)));
    }
    if let Some(minutes) = facts.minutes_to_settle() {
        notes.push(format!(
            "About {} more of measuring would settle what is inconclusive.",
            format::seconds(minutes * 60.0)
        ));
    }
    if report.has_same_code() {
        let names = words::listed(report.same_code().map(visible), LISTED);
        notes.push(format!("Identical machine code on both sides, so not run: {names}."));
    }
    if let Some(clock) = report.clock_against_code() {
        let named = clock.disagree.iter().map(|row| visible(&row.benchmark.0));
        let beyond = match clock.disagree.len() {
            0 => String::new(),
            _ => format!("; beyond it, by layout still or a false alarm: {}", words::listed(named, LISTED)),
        };
        notes
            .push(format!("Measured although the machine code is identical: {}{beyond}.", clock.agreement()));
    }
    let renamed = report.one_sided.iter().filter(|one| one.side == Side::Base);
    let renamed = renamed.filter_map(|one| {
        let other = one.other_name.as_ref()?;
        Some(format!("{} to {}", visible(&one.benchmark.0), visible(&other.0)))
    });
    let renamed = words::listed(renamed, LISTED);
    if !renamed.is_empty() {
        notes.push(format!("Renamed, by the same machine code, so without a verdict: {renamed}."));
    }
    let reasons = facts.advised.iter().chain(&facts.shown).filter(|row| !report.is_unaffected(row));
    for row in reasons.filter(|row| row.mode_reason.is_some()).take(LISTED) {
        let reason = visible(row.mode_reason.as_deref().unwrap_or_default());
        notes.push(format!("{} does not block: {reason}.", visible(&row.benchmark.0)));
    }
    for side in Side::BOTH {
        let on = report.one_sided.iter().filter(|one| one.side == side && one.other_name.is_none());
        let listed = words::listed(on.map(|one| visible(&names.name(&one.suite, &one.benchmark.0))), LISTED);
        if !listed.is_empty() {
            notes.push(format!("Only on the {}, so without a verdict: {listed}.", side.as_str()));
        }
    }
    let environment = &report.environment;
    for missing in &environment.missing {
        let hides = visible(missing.hides.trim_end_matches('.'));
        notes.push(format!("Not shown here: {hides} (install the package {}).", visible(&missing.package)));
    }
    let scenarios = report.scenarios.iter().flat_map(Scenario::in_words);
    notes.extend(scenarios.take(LISTED).map(|said| format!("{}.", visible(&said))));
    notes.extend(
        environment
            .warnings
            .iter()
            .take(LISTED)
            .map(|warning| format!("Warning: {}.", visible(warning.trim_end_matches('.')))),
    );
    if facts.judged() > 0 {
        notes.push(format!(
            "Measured for {} on {}; sandbox: {}. At most {} runs raises a false alarm.",
            format::seconds(report.measure_seconds),
            visible(&environment.cpu_model),
            visible(&environment.sandbox),
            words::odds(report.budget)
        ));
    }
    notes
}
