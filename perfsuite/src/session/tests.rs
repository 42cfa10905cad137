//! The session by tables: inputs in, effects out.

use super::*;
use crate::model::{Fence, JobId, JobLimits, JobSpec, Trust};

fn lease() -> Lease {
    let sha = |digit: &str| digit.repeat(40).parse().unwrap();
    Lease {
        spec: JobSpec {
            job: JobId("0190".into()),
            repository: "a/b".into(),
            base: sha("1"),
            head: sha("2"),
            trust: Trust::Stranger,
            suites: vec![],
            limits: JobLimits::default(),
            budget: 0.01,
            seed: 1,
            all: false,
            checks: None,
            focus: None,
        },
        fence: Fence(7),
        lease_ms: 30_000,
        heartbeat_ms: 5_000,
    }
}

fn granted() -> Input {
    Input::LeaseGranted(Box::new(lease()))
}

fn digest() -> Input {
    Input::EvidenceStored { digest: "d1".into() }
}

fn stop_order() -> Input {
    Input::OrdersReceived(Orders::Stop { reason: "superseded".into() })
}

/// The effects in a short form: `wait` and `beat` without their times, which have tests of their own.
fn short(effects: &[Effect]) -> String {
    let words: Vec<String> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Claim => "claim".into(),
            Effect::FetchSource => "fetch".into(),
            Effect::StartWork => "start".into(),
            Effect::StopWork { .. } => "stop".into(),
            Effect::UploadEvidence => "upload".into(),
            Effect::Finish(Outcome::Measured { digest }) => format!("finish measured {digest}"),
            Effect::Finish(Outcome::Failed { message, .. }) => format!("finish failed {message}"),
            Effect::Finish(Outcome::HandedBack) => "hand back".into(),
            Effect::Heartbeat => "heartbeat".into(),
            Effect::BeatAfter { .. } => "beat".into(),
            Effect::Wait { .. } => "wait".into(),
            Effect::CleanUp => "clean".into(),
            Effect::Quit(Ok(())) => "quit".into(),
            Effect::Quit(Err(why)) => format!("quit: {why}"),
        })
        .collect();
    words.join(", ")
}

/// Feeds inputs, a minute apart, and compares what each asks for.
fn check_lifetime(lifetime: Lifetime, table: &[(Input, &str)]) {
    let mut session = Session::new(lifetime, 1);
    for (row, (input, expect)) in table.iter().enumerate() {
        let effects = session.step(row as u64 * 60_000, input.clone());
        assert_eq!(short(&effects), *expect, "row {row}: {input:?}");
    }
}

fn check(table: &[(Input, &str)]) {
    check_lifetime(Lifetime::Forever, table);
}

#[test]
fn a_job_is_claimed_measured_reported_and_followed_by_the_next() {
    check(&[
        (Input::Start, "claim"),
        (Input::NoJob, "claim"),
        (granted(), "beat, fetch"),
        (Input::BeatDue, "heartbeat"),
        (Input::OrdersReceived(Orders::Continue), "beat"),
        (Input::SourceReady, "start"),
        (Input::WorkDone, "upload"),
        (digest(), "finish measured d1"),
        (Input::FinishAccepted, "clean, claim"),
    ]);
}

#[test]
fn a_runner_for_one_job_ends_after_it() {
    check_lifetime(
        Lifetime::OneJob,
        &[
            (Input::Start, "claim"),
            (Input::NoJob, "claim"),
            (granted(), "beat, fetch"),
            (Input::SourceReady, "start"),
            (Input::WorkFailed { message: "no disk".into(), output: "".into() }, "finish failed no disk"),
            (Input::FinishAccepted, "clean, quit"),
            (Input::Start, ""),
        ],
    );
}

#[test]
fn an_order_or_a_stale_fence_stops_the_work_and_nothing_is_reported() {
    for lost in [stop_order(), Input::FenceStale] {
        check(&[
            (Input::Start, "claim"),
            (granted(), "beat, fetch"),
            (Input::SourceReady, "start"),
            (lost.clone(), "stop"),
            (lost.clone(), ""),
            (Input::WorkStopped, "clean, claim"),
        ]);
        check(&[
            (Input::Start, "claim"),
            (granted(), "beat, fetch"),
            (lost.clone(), "stop"),
            (Input::WorkStopped, "clean, claim"),
        ]);
        check(&[
            (Input::Start, "claim"),
            (granted(), "beat, fetch"),
            (Input::SourceReady, "start"),
            (Input::WorkDone, "upload"),
            (lost.clone(), "clean, claim"),
        ]);
        check(&[
            (Input::Start, "claim"),
            (granted(), "beat, fetch"),
            (Input::SourceReady, "start"),
            (Input::WorkDone, "upload"),
            (digest(), "finish measured d1"),
            (lost, "clean, claim"),
        ]);
    }
}

#[test]
fn work_that_ends_while_it_is_being_stopped_is_not_reported() {
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::SourceReady, "start"),
        (stop_order(), "stop"),
        (Input::WorkDone, ""),
        (Input::WorkStopped, "clean, claim"),
    ]);
}

#[test]
fn asked_to_end_the_runner_hands_its_job_back() {
    check(&[(Input::Start, "claim"), (Input::StopAsked, "quit")]);
    check(&[(Input::Start, "claim"), (Input::ServerUnreachable, "wait"), (Input::StopAsked, "quit")]);
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::SourceReady, "start"),
        (Input::StopAsked, "stop"),
        (Input::WorkStopped, "hand back"),
        (Input::FinishAccepted, "clean, quit"),
    ]);
    // The server is gone too: try again once, then leave it to the lease.
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::StopAsked, "stop"),
        (Input::WorkStopped, "hand back"),
        (Input::ServerUnreachable, "wait"),
        (Input::WaitOver, "hand back"),
        (Input::ServerUnreachable, "clean, quit"),
    ]);
    // What is measured is still reported.
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::SourceReady, "start"),
        (Input::WorkDone, "upload"),
        (Input::StopAsked, ""),
        (digest(), "finish measured d1"),
        (Input::FinishAccepted, "clean, quit"),
    ]);
    // A second request waits for nothing.
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::SourceReady, "start"),
        (Input::StopAsked, "stop"),
        (Input::StopAsked, "clean, quit"),
    ]);
}

#[test]
fn a_job_lost_while_it_is_handed_back_is_dropped() {
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::SourceReady, "start"),
        (Input::StopAsked, "stop"),
        (Input::FenceStale, ""),
        (Input::WorkStopped, "clean, quit"),
    ]);
}

#[test]
fn a_server_out_of_reach_is_tried_again_and_work_goes_on() {
    check(&[
        (Input::Start, "claim"),
        (Input::ServerUnreachable, "wait"),
        (Input::WaitOver, "claim"),
        (granted(), "beat, fetch"),
        (Input::ServerUnreachable, "wait"),
        (Input::WaitOver, "fetch"),
        (Input::SourceReady, "start"),
        (Input::BeatDue, "heartbeat"),
        (Input::BeatUnanswered, "beat"),
        (Input::WorkDone, "upload"),
        (Input::ServerUnreachable, "wait"),
        (Input::WaitOver, "upload"),
        (digest(), "finish measured d1"),
        (Input::ServerUnreachable, "wait"),
        (Input::WaitOver, "finish measured d1"),
        (Input::FinishAccepted, "clean, claim"),
    ]);
}

#[test]
fn refusals_end_what_cannot_succeed() {
    let refused = || Input::Refused { message: "unknown token".into() };
    check(&[(Input::Start, "claim"), (refused(), "quit: unknown token")]);
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (
            Input::SourceBroken { message: "no head in the bundle".into() },
            "finish failed no head in the bundle",
        ),
        (Input::FinishAccepted, "clean, claim"),
    ]);
    check(&[
        (Input::Start, "claim"),
        (granted(), "beat, fetch"),
        (Input::SourceReady, "start"),
        (Input::WorkDone, "upload"),
        (refused(), "finish failed the evidence was refused: unknown token"),
        (refused(), "clean, claim"),
    ]);
}

#[test]
fn silence_is_borne_for_ten_minutes_and_not_longer() {
    let mut session = Session::new(Lifetime::Forever, 1);
    session.step(0, Input::Start);
    session.step(0, granted());
    session.step(1, Input::SourceReady);
    assert_eq!(short(&session.step(10 * 60_000, Input::BeatUnanswered)), "beat");
    assert_eq!(short(&session.step(10 * 60_000 + 1, Input::BeatUnanswered)), "stop");
}

#[test]
fn an_immediate_no_is_not_asked_again_at_once() {
    let mut session = Session::new(Lifetime::Forever, 1);
    session.step(0, Input::Start);
    assert_eq!(short(&session.step(20, Input::NoJob)), "wait");
}

#[test]
fn pauses_double_up_to_a_bound_and_differ_between_runners() {
    let pauses = |seed| -> Vec<u64> {
        let mut session = Session::new(Lifetime::Forever, seed);
        session.step(0, Input::Start);
        let mut pauses = vec![];
        for _ in 0..12 {
            match session.step(0, Input::ServerUnreachable)[..] {
                [Effect::Wait { ms }] => pauses.push(ms),
                ref other => panic!("{other:?}"),
            }
            session.step(0, Input::WaitOver);
        }
        pauses
    };
    let one = pauses(1);
    for (n, ms) in one.iter().enumerate() {
        let whole = (BACKOFF_FIRST_MS << n.min(20)).min(BACKOFF_MAX_MS);
        assert!((whole / 2..=whole).contains(ms), "pause {n} is {ms}");
    }
    assert_ne!(one, pauses(2));
}

#[test]
fn what_arrives_late_changes_nothing() {
    check(&[
        (Input::Start, "claim"),
        (Input::WorkDone, ""),
        (Input::OrdersReceived(Orders::Continue), ""),
        (Input::BeatDue, ""),
        (granted(), "beat, fetch"),
        (digest(), ""),
        (Input::WorkStopped, ""),
        (Input::SourceReady, "start"),
        (Input::SourceReady, ""),
    ]);
}
