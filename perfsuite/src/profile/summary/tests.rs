//! Profiles whose truth is known.

use super::*;
use crate::model::profile::{ProfileStack, ProfileVisit, WorkUnit};
use crate::model::{BenchmarkId, profile::TouchedBy};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const VISITS: usize = 12;

/// Stacks with the mean samples of a visit on either side.
fn profile(stacks: &[(&str, f64, f64)], seed: u64) -> Profile {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut names: Vec<String> = Vec::new();
    let mut number = |name: &str| match names.iter().position(|known| known == name) {
        Some(at) => at as u32,
        None => {
            names.push(name.to_owned());
            names.len() as u32 - 1
        }
    };
    // Counts of regular work scatter by about a third of their root.
    let mut draw = |mean: f64| -> Vec<u32> {
        let scatter = |rng: &mut StdRng| (rng.random::<f64>() - 0.5) * mean.sqrt();
        (0..VISITS).map(|_| (mean + scatter(&mut rng)).round().max(0.0) as u32).collect()
    };
    let stacks = stacks
        .iter()
        .map(|(stack, base, head)| ProfileStack {
            frames: stack.split(';').map(&mut number).collect(),
            base: draw(*base),
            head: draw(*head),
        })
        .collect();
    Profile {
        suite: "routing".into(),
        benchmark: BenchmarkId("route/match".into()),
        unit: WorkUnit::Iteration,
        period_ns: 500_000,
        kernel: false,
        names,
        stacks,
        visits: vec![ProfileVisit { base: 1_000.0, head: 1_000.0 }; VISITS],
        touched: None,
        notes: vec![],
    }
}

fn touching(profile: Profile, functions: &[&str], complete: bool) -> Profile {
    let functions = functions.iter().map(|name| (*name).to_owned()).collect();
    Profile { touched: Some(Touched { functions, complete, modules: vec![] }), ..profile }
}

#[test]
fn a_function_twice_as_dear_is_named_with_its_size() {
    let doubled = [
        ("main;bench;parse", 100.0, 200.0),
        ("main;bench;lookup", 100.0, 100.0),
        ("main;bench;hash", 80.0, 80.0),
        ("main;bench", 20.0, 20.0),
    ];
    for seed in 0..20 {
        let found = summarise(&profile(&doubled, seed));
        let cause = found.cause.expect("a cause");
        assert_eq!((cause.function.as_str(), cause.with_callees), ("parse", false));
        assert!((cause.change.estimate.unwrap() - 1.0).abs() < 0.1, "{cause:?}");
        assert!(cause.change.low > 0.8 && cause.change.high.unwrap() < 1.2, "{cause:?}");
        assert_eq!(cause.caller.as_deref(), Some("bench"));
        assert!(
            (cause.more_ns - 50_000.0).abs() < 5_000.0,
            "100 samples of half a millisecond in 1000 iterations"
        );
        assert_eq!(found.functions[0].name, "parse");
        let named: Vec<&str> =
            found.functions.iter().filter(|f| f.changed).map(|f| f.name.as_str()).collect();
        assert_eq!(named, ["parse"], "though every other one's share has fallen");
    }
}

#[test]
fn work_that_a_changed_function_gives_to_others_is_its_own() {
    let copying = [
        ("main;bench;normalize", 100.0, 110.0),
        ("main;bench;normalize;[libc.so.6]", 1.0, 150.0),
        ("main;bench;other", 100.0, 100.0),
    ];
    let found = summarise(&touching(profile(&copying, 1), &["normalize", "main"], true));
    let cause = found.cause.unwrap();
    assert_eq!(
        (cause.function.as_str(), cause.with_callees),
        ("normalize", true),
        "the innermost that was touched"
    );
    assert_eq!(cause.touched, Some(TouchedBy::Code));
    assert!((cause.more_ns - 79_500.0).abs() < 8_000.0, "{cause:?}");
    assert_eq!(found.doubt, None);
    // Where nobody knows what was touched, the function whose own time grew.
    let unknown = summarise(&profile(&copying, 1));
    assert_eq!(unknown.cause.unwrap().function, "[libc.so.6]");
}

#[test]
fn a_change_below_no_touched_function_is_doubted() {
    let elsewhere =
        [("main;bench;a", 100.0, 150.0), ("main;bench;b", 100.0, 100.0), ("main;init;c", 5.0, 5.0)];
    let found = summarise(&touching(profile(&elsewhere, 3), &["x"], true));
    assert_eq!(found.cause.unwrap().touched, None);
    assert!(
        found.doubt.unwrap().starts_with("Not even the one function of other machine code is on a stack")
    );
    let none = summarise(&touching(profile(&elsewhere, 3), &[], true));
    assert!(none.doubt.unwrap().starts_with("No function of other machine code is on a stack"));
    let beside = summarise(&touching(profile(&elsewhere, 3), &["c"], true));
    assert!(beside.doubt.unwrap().starts_with("Only "));
    assert_eq!(summarise(&touching(profile(&elsewhere, 3), &["a"], true)).doubt, None);
    assert_eq!(summarise(&touching(profile(&elsewhere, 3), &[], false)).doubt, None, "not all are known");
}

#[test]
fn nothing_is_named_where_nothing_changed() {
    let same =
        [("main;a", 100.0, 100.0), ("main;b", 60.0, 60.0), ("main;c", 30.0, 30.0), ("main;c;d", 9.0, 9.0)];
    for seed in 0..50 {
        let found = summarise(&profile(&same, seed));
        assert_eq!(found.cause, None, "{found:?}");
        assert!(found.functions.iter().all(|function| !function.changed), "{found:?}");
        assert_eq!(found.doubt, None);
    }
}

#[test]
fn a_function_that_calls_itself_has_its_samples_once() {
    let found = summarise(&profile(&[("main;f;f;f", 100.0, 100.0), ("main;f", 50.0, 50.0)], 1));
    let f = found.functions.iter().find(|function| function.name == "f").unwrap();
    assert_eq!(f.base_total_ns, f.base_ns, "all its samples are its own");
    assert!((f.base_ns - 75_000.0).abs() < 4_000.0);
}

#[test]
fn one_side_alone_is_listed_and_not_compared() {
    let mut alone = profile(&[("main;a", 100.0, 0.0), ("main;b", 50.0, 0.0)], 1);
    alone.visits.iter_mut().for_each(|visit| (visit.base, visit.head) = (0.0, visit.base));
    for stack in &mut alone.stacks {
        stack.head = std::mem::take(&mut stack.base);
        stack.base = vec![0; VISITS];
    }
    let found = summarise(&alone);
    assert_eq!(found.functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((found.cause, found.change.estimate), (None, None));
}

#[test]
fn few_samples_say_nothing() {
    let found = summarise(&profile(&[("main;a", 1.0, 3.0)], 1));
    assert!(found.cause.is_none() && found.notes[0].contains("too few"), "{found:?}");
}

#[test]
fn shifts_in_words() {
    let shift = |estimate, low, high| in_percent(&Shift { estimate, low, high });
    assert_eq!(shift(Some(0.96), 0.9, Some(1.03)), "+96 % (90 to 103)");
    assert_eq!(shift(Some(-0.5), -0.6, Some(-0.4)), "-50 % (-60 to -40)");
    assert_eq!(shift(Some(1.0), 0.5, None), "+100 % (50 to ∞)");
    assert_eq!((shift(None, 3.0, None), shift(Some(-1.0), -1.0, Some(-0.9))), ("new".into(), "gone".into()));
}

proptest! {
    /// Whatever was sent as a profile is read to an end, and stored as it was read.
    #[test]
    fn any_profile_is_read(
        stacks in prop::collection::vec(
            (prop::collection::vec(0_u32..9, 0..6), prop::collection::vec(any::<u32>(), 0..5), prop::collection::vec(0_u32..400, 0..5)),
            0..12,
        ),
        visits in prop::collection::vec((0.0_f64..1e6, 0.0_f64..1e6), 0..5),
    ) {
        let mut made = profile(&[], 1);
        made.names = (0..5).map(|n| format!("f{n}")).collect();
        made.visits = visits.into_iter().map(|(base, head)| ProfileVisit { base, head }).collect();
        made.stacks = stacks.into_iter().map(|(frames, base, head)| ProfileStack { frames, base, head }).collect();
        made.touched = Some(Touched { functions: vec!["f1".into()], complete: true, modules: vec!["f".into()] });
        let found = summarise(&made);
        let text = serde_json::to_string(&found).unwrap();
        prop_assert_eq!(serde_json::from_str::<ProfileSummary>(&text).unwrap(), found);
    }
}
