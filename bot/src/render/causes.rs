//! The function that explains a change, in words. Pure; the caller makes what is foreign in it harmless.

use super::markdown::code;
use crate::format;
use perfsuite::model::Metric;
use perfsuite::model::profile::{Cause, ProfileSummary, TouchedBy};
use perfsuite::profile::summary::in_percent;

/// Of a function's name in Markdown.
const NAME_MAX_GRAPHEMES: usize = 100;

/// `normalize` takes +96 % (90 to 103) samples per iteration (1.2 µs more); changed by this pull request
pub fn plain(cause: &Cause, unit: &str) -> String {
    sentence(cause, unit, &|name| name.to_owned())
}

/// The same as Markdown, with what else a reader should know: `slower because …`.
pub fn markdown(profile: &ProfileSummary) -> String {
    let named = |name: &str| code(name, NAME_MAX_GRAPHEMES);
    told_with(profile, &named, "**Counter-evidence:**")
}

/// The same without markup.
pub fn told(profile: &ProfileSummary) -> String {
    told_with(profile, &|name| name.to_owned(), "Counter-evidence:")
}

fn told_with(profile: &ProfileSummary, named: &dyn Fn(&str) -> String, but: &str) -> String {
    let because = profile.cause.as_ref().map(|cause| {
        let way = if cause.more_ns > 0.0 { "slower" } else { "faster" };
        format!("{way} because {}", sentence(cause, profile.unit.as_str(), named))
    });
    match (because, &profile.doubt) {
        (Some(because), None) => format!("{because}."),
        // The evidence that speaks against the change is told with it.
        (Some(because), Some(doubt)) => format!("{because}. {but} {doubt}"),
        (None, Some(doubt)) => format!("changed, and no function explains it. {but} {doubt}"),
        (None, None) => "changed, and no single function explains it.".into(),
    }
}

fn sentence(cause: &Cause, unit: &str, named: &dyn Fn(&str) -> String) -> String {
    let callees = if cause.with_callees { " with what it calls" } else { "" };
    let way = if cause.more_ns > 0.0 { "more" } else { "less" };
    let mut words = format!(
        "{}{callees} takes {} samples per {unit} ({} {way})",
        named(&cause.function),
        in_percent(&cause.change),
        format::value(Metric::Time, cause.more_ns.abs())
    );
    if let Some(caller) = &cause.caller {
        words += &format!(", called from {}", named(caller));
    }
    words += match cause.touched {
        Some(TouchedBy::Code) => "; changed by this pull request",
        Some(TouchedBy::File) => "; its file is changed by this pull request",
        None => "",
    };
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use perfsuite::model::profile::{Shift, WorkUnit};

    fn profile(cause: Option<Cause>, doubt: Option<&str>) -> ProfileSummary {
        let shift = Shift { estimate: Some(0.3), low: 0.2, high: Some(0.4) };
        ProfileSummary {
            suite: "routing".into(),
            benchmark: serde_json::from_value("route/match".into()).unwrap(),
            unit: WorkUnit::Iteration,
            visits: 16,
            base_samples: 4_000,
            head_samples: 5_200,
            base_ns: 1_000.0,
            head_ns: 1_300.0,
            change: shift,
            cause,
            functions: vec![],
            doubt: doubt.map(str::to_owned),
            notes: vec![],
        }
    }

    fn cause() -> Cause {
        Cause {
            function: "route::normalize".into(),
            with_callees: false,
            change: Shift { estimate: Some(0.96), low: 0.9, high: Some(1.03) },
            more_ns: 300.0,
            touched: Some(TouchedBy::Code),
            caller: Some("proxy::handle".into()),
        }
    }

    #[test]
    fn the_function_is_named_with_its_size() {
        assert_eq!(
            markdown(&profile(Some(cause()), None)),
            "slower because `route::normalize` takes +96 % (90 to 103) samples per iteration (300 ns more), called from \
             `proxy::handle`; changed by this pull request."
        );
        let less = Cause { more_ns: -300.0, with_callees: true, touched: None, caller: None, ..cause() };
        assert_eq!(
            markdown(&profile(Some(less), None)),
            "faster because `route::normalize` with what it calls takes +96 % (90 to 103) samples per iteration (300 ns less)."
        );
    }

    #[test]
    fn counter_evidence_is_told() {
        let told = markdown(&profile(None, Some("No function is on a stack.")));
        assert_eq!(
            told,
            "changed, and no function explains it. **Counter-evidence:** No function is on a stack."
        );
        assert_eq!(markdown(&profile(None, None)), "changed, and no single function explains it.");
    }

    #[test]
    fn a_name_stays_in_its_code() {
        let told = markdown(&profile(Some(Cause { function: "a`|<b>@c".into(), ..cause() }), None));
        assert!(told.contains("``a`❘<b>@c``"), "{told}");
    }
}
