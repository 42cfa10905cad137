//! The breaker by cases, and its laws over random histories.

use super::*;
use proptest::prelude::*;

const RULE: Rule = Rule::in_a_row(3, 1000, 2);

fn pass(breaker: &mut Breaker, now_ms: u64) -> Permit {
    match breaker.admit(now_ms) {
        Admission::Pass(permit) => permit,
        refused => panic!("{refused:?} at {now_ms}"),
    }
}

fn fail(breaker: &mut Breaker, now_ms: u64) -> Option<State> {
    let permit = pass(breaker, now_ms);
    breaker.settle(permit, Outcome::Failure, now_ms)
}

fn opened(now_ms: u64) -> Breaker {
    let mut breaker = Breaker::new(RULE);
    for _ in 0..RULE.failures {
        let _ = fail(&mut breaker, now_ms);
    }
    assert_eq!(breaker.state(), State::Open);
    breaker
}

#[test]
fn failures_in_a_row_open_it() {
    let mut breaker = Breaker::new(RULE);
    assert_eq!(fail(&mut breaker, 0), None);
    assert_eq!(fail(&mut breaker, 0), None);
    let permit = pass(&mut breaker, 0);
    assert_eq!(breaker.settle(permit, Outcome::Success, 0), None);
    assert_eq!(fail(&mut breaker, 0), None);
    let permit = pass(&mut breaker, 0);
    assert_eq!(breaker.settle(permit, Outcome::GivenUp, 0), None);
    assert_eq!(fail(&mut breaker, 0), None);
    assert_eq!(fail(&mut breaker, 5), Some(State::Open));
    assert_eq!(breaker.admit(5), Admission::Refused { retry_after_ms: 1000 });
    assert_eq!(breaker.admit(1004), Admission::Refused { retry_after_ms: 1 });
}

#[test]
fn a_share_of_failures_opens_it() {
    let share = Share { percent: 50, window_ms: 1000, requests_min: 4 };
    let rule = Rule { share: Some(share), ..Rule::in_a_row(100, 1000, 1) };
    let mut breaker = Breaker::new(rule);
    let settle = |breaker: &mut Breaker, outcome, now_ms| {
        let permit = pass(breaker, now_ms);
        breaker.settle(permit, outcome, now_ms)
    };
    assert_eq!(settle(&mut breaker, Outcome::Failure, 0), None);
    assert_eq!(settle(&mut breaker, Outcome::Failure, 0), None);
    assert_eq!(settle(&mut breaker, Outcome::Success, 0), None, "too few to say");
    // A window later the old ones do not count any more.
    for _ in 0..3 {
        assert_eq!(settle(&mut breaker, Outcome::Success, 1500), None);
    }
    assert_eq!(settle(&mut breaker, Outcome::GivenUp, 1500), None);
    assert_eq!(settle(&mut breaker, Outcome::Failure, 1600), None);
    assert_eq!(settle(&mut breaker, Outcome::Failure, 1700), None);
    assert_eq!(settle(&mut breaker, Outcome::Failure, 1800), Some(State::Open));
    assert_eq!(settle(&mut breaker, Outcome::Success, 2800), Some(State::Closed));
    assert_eq!(settle(&mut breaker, Outcome::Failure, 2800), None, "a new window begins");
}

#[test]
fn trials_close_it() {
    let mut breaker = opened(0);
    let (first, second) = (pass(&mut breaker, 1000), pass(&mut breaker, 1000));
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(breaker.admit(1000), Admission::Refused { retry_after_ms: 1000 });
    assert_eq!(breaker.settle(first, Outcome::GivenUp, 1000), None);
    let third = pass(&mut breaker, 1001);
    assert_eq!(breaker.settle(second, Outcome::Success, 1001), None);
    assert!(matches!(breaker.admit(1001), Admission::Refused { .. }));
    assert_eq!(breaker.settle(third, Outcome::Success, 1002), Some(State::Closed));
    let _ = pass(&mut breaker, 1002);
}

#[test]
fn a_failed_trial_opens_it_again() {
    let mut breaker = opened(0);
    let late = pass(&mut breaker, 1500);
    assert_eq!(fail(&mut breaker, 1500), Some(State::Open));
    assert_eq!(breaker.settle(late, Outcome::Success, 1600), None);
    assert_eq!(breaker.admit(2499), Admission::Refused { retry_after_ms: 1 });
    let _ = pass(&mut breaker, 2500);
}

#[test]
fn outcomes_of_an_older_generation_are_ignored() {
    let mut breaker = Breaker::new(RULE);
    let old: Vec<_> = (0..8).map(|_| pass(&mut breaker, 0)).collect();
    for _ in 0..3 {
        let _ = fail(&mut breaker, 0);
    }
    let trials = [pass(&mut breaker, 1000), pass(&mut breaker, 1000)];
    for permit in old {
        assert_eq!(breaker.settle(permit, Outcome::Failure, 1000), None);
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    for permit in trials {
        let _ = breaker.settle(permit, Outcome::Success, 1000);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_new_rule_keeps_the_state() {
    let mut breaker = opened(0);
    breaker.set_rule(Rule { open_ms: 10, half_open_max: 3, ..RULE });
    assert_eq!(breaker.admit(500), Admission::Refused { retry_after_ms: 500 });
    let permits = [pass(&mut breaker, 1000), pass(&mut breaker, 1000)];
    for permit in permits {
        let _ = breaker.settle(permit, Outcome::Success, 1000);
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.set_rule(RULE);
    assert_eq!(breaker.state(), State::Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Admit,
    Settle(usize, Outcome),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::GivenUp]);
    prop_oneof![
        (0u64..40).prop_map(Step::Wait),
        Just(Step::Admit),
        Just(Step::Admit),
        (0usize..8, outcome).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
    ]
}

proptest! {
    #[test]
    fn its_laws_hold(
        failures in 1u32..5,
        open_ms in 1u32..60,
        half_open_max in 1u32..4,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let rule = Rule::in_a_row(failures, open_ms, half_open_max);
        let mut breaker = Breaker::new(rule);
        let mut now_ms = 0;
        let mut opened_ms = None;
        let mut permits = Vec::new();
        for step in steps {
            match step {
                Step::Wait(ms) => now_ms += ms,
                Step::Admit => match breaker.admit(now_ms) {
                    Admission::Pass(permit) => {
                        if let Some(opened_ms) = opened_ms {
                            prop_assert!(now_ms >= opened_ms + u64::from(open_ms), "open, and passed");
                        }
                        permits.push(permit);
                        let generation = breaker.generation;
                        let trials = permits.iter().filter(|p| p.generation == generation).count();
                        if breaker.state() == State::HalfOpen {
                            prop_assert!(trials as u32 <= half_open_max, "too many trials at once");
                        }
                    }
                    Admission::Refused { retry_after_ms } => {
                        prop_assert_ne!(breaker.state(), State::Closed, "closed, and refused");
                        prop_assert!(retry_after_ms >= 1 && retry_after_ms <= u64::from(open_ms));
                    }
                },
                Step::Settle(which, outcome) => {
                    if which < permits.len() {
                        let before = (breaker.state(), breaker.generation);
                        match breaker.settle(permits.swap_remove(which), outcome, now_ms) {
                            Some(State::Open) => {
                                prop_assert_eq!(outcome, Outcome::Failure);
                                opened_ms = Some(now_ms);
                            }
                            Some(State::Closed) => {
                                prop_assert_eq!((before.0, outcome), (State::HalfOpen, Outcome::Success));
                                opened_ms = None;
                            }
                            Some(State::HalfOpen) => prop_assert!(false, "an outcome never half opens"),
                            None => prop_assert_eq!(before, (breaker.state(), breaker.generation)),
                        }
                    }
                }
            }
        }
        // Whatever happened, enough time and successes close it: it cannot be stuck.
        for permit in permits {
            let _ = breaker.settle(permit, Outcome::GivenUp, now_ms);
        }
        now_ms += u64::from(open_ms);
        for _ in 0..half_open_max {
            if let Admission::Pass(permit) = breaker.admit(now_ms) {
                let _ = breaker.settle(permit, Outcome::Success, now_ms);
            }
        }
        prop_assert_eq!(breaker.state(), State::Closed);
    }
}
