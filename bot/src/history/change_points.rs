//! What is stored of change points, when they are looked for anew: the same ones stay the same. Pure.

use crate::db::change_points::{ChangePoint, State};
use perfsuite::history;

/// A change whose place moved by so many points, as more came, is the same one.
const MOVED_MAX: usize = 5;

/// What is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Renewal {
    New(ChangePoint),
    /// As it is now, under the id that it had.
    Changed(ChangePoint),
    /// A provisional one that was unsaid.
    Gone(String),
}

/// Holds what was found in a series against what is known of it. `positions` are those of the points that were looked
/// at, oldest first; what lies before `judged_from` is neither told nor unsaid, since too little was seen before it.
pub fn renew(
    series: i64,
    positions: &[i64],
    judged_from: i64,
    found: &[history::ChangePoint],
    known: &[ChangePoint],
    now_ms: i64,
) -> Vec<Renewal> {
    let Some(first) = positions.first() else { return Vec::new() };
    let place = |position: i64| positions.partition_point(|at| *at < position);
    let mut left: Vec<&ChangePoint> = known.iter().filter(|point| point.before >= *first).collect();
    let mut renewals = Vec::new();
    for change in found {
        let confirmed = change.state == history::State::Confirmed;
        let nearest = left
            .iter()
            .enumerate()
            .filter(|(_, known)| known.size.signum() == change.size.signum())
            .map(|(i, known)| (place(known.position).abs_diff(change.at), i))
            .filter(|(moved, _)| *moved <= MOVED_MAX)
            .min();
        let before = positions[change.at.saturating_sub(1)];
        let Some((_, i)) = nearest else {
            if change.index < judged_from {
                continue;
            }
            renewals.push(Renewal::New(ChangePoint {
                id: String::new(),
                series,
                position: change.index,
                before,
                size: change.size,
                state: if confirmed { State::Confirmed } else { State::Provisional },
                found_ms: now_ms,
                confirmed_ms: confirmed.then_some(now_ms),
            }));
            continue;
        };
        let known = left.remove(i);
        // Once confirmed it stays so: points may come in between.
        let confirmed = confirmed || known.state != State::Provisional;
        let renewed = ChangePoint {
            position: change.index,
            before,
            size: change.size,
            state: if confirmed { State::Confirmed } else { State::Provisional },
            confirmed_ms: known.confirmed_ms.or(confirmed.then_some(now_ms)),
            ..known.clone()
        };
        if renewed != *known {
            renewals.push(Renewal::Changed(renewed));
        }
    }
    for gone in left.into_iter().filter(|gone| gone.before >= judged_from) {
        match gone.state {
            State::Provisional => renewals.push(Renewal::Gone(gone.id.clone())),
            State::Confirmed => {
                renewals.push(Renewal::Changed(ChangePoint { state: State::Withdrawn, ..gone.clone() }));
            }
            State::Withdrawn => {}
        }
    }
    renewals
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::State::{Confirmed, Provisional};

    const POSITIONS: [i64; 12] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22];

    fn found(at: usize, size: f64, state: history::State) -> history::ChangePoint {
        history::ChangePoint { index: POSITIONS[at], at, size, state }
    }

    fn known(id: &str, at: usize, size: f64, state: State) -> ChangePoint {
        ChangePoint {
            id: id.into(),
            series: 1,
            position: POSITIONS[at],
            before: POSITIONS[at - 1],
            size,
            state,
            found_ms: 1,
            confirmed_ms: (state != State::Provisional).then_some(2),
        }
    }

    fn renewed(found: &[history::ChangePoint], known: &[ChangePoint]) -> Vec<Renewal> {
        renew(1, &POSITIONS, POSITIONS[0], found, known, 9)
    }

    #[test]
    fn a_change_is_told_once() {
        let first = renewed(&[found(5, 0.03, Provisional)], &[]);
        let [Renewal::New(new)] = &first[..] else { panic!("{first:?}") };
        assert_eq!(
            (new.position, new.before, new.state, new.confirmed_ms),
            (10, 8, State::Provisional, None)
        );
        let stored = known("a", 5, 0.03, State::Provisional);
        assert_eq!(renewed(&[found(5, 0.03, Provisional)], std::slice::from_ref(&stored)), []);
        let later = renewed(&[found(6, 0.031, Confirmed)], &[stored]);
        let [Renewal::Changed(moved)] = &later[..] else { panic!("{later:?}") };
        assert_eq!((moved.id.as_str(), moved.position, moved.before), ("a", 12, 10));
        assert_eq!((moved.state, moved.confirmed_ms, moved.found_ms), (State::Confirmed, Some(9), 1));
    }

    #[test]
    fn what_is_unsaid_goes_and_what_was_confirmed_is_kept() {
        let known = [
            known("p", 3, 0.02, State::Provisional),
            known("c", 8, -0.05, State::Confirmed),
            known("w", 10, 0.05, State::Withdrawn),
        ];
        let renewals = renewed(&[], &known);
        assert_eq!(renewals[0], Renewal::Gone("p".into()));
        assert!(matches!(&renewals[1], Renewal::Changed(c) if c.id == "c" && c.state == State::Withdrawn));
        assert_eq!(renewals.len(), 2);
        // It comes back as what it was.
        let back = renewed(
            &[found(8, -0.05, Provisional)],
            &[ChangePoint { state: State::Withdrawn, ..known[1].clone() }],
        );
        assert!(matches!(&back[..], [Renewal::Changed(c)] if c.state == State::Confirmed), "{back:?}");
    }

    #[test]
    fn opposite_and_distant_changes_are_others() {
        let stored = [known("a", 3, 0.03, State::Confirmed)];
        let renewals = renewed(&[found(3, -0.03, Confirmed)], &stored);
        assert!(matches!(renewals[0], Renewal::New(_)), "{renewals:?}");
        let renewals = renewed(&[found(3, 0.03, Confirmed), found(9, 0.03, Provisional)], &stored);
        assert!(matches!(&renewals[..], [Renewal::New(new)] if new.position == 18), "{renewals:?}");
    }

    #[test]
    fn where_older_points_are_left_out_the_first_ones_say_nothing_new() {
        let renew = |found: &[history::ChangePoint], known: &[ChangePoint]| {
            renew(1, &POSITIONS, POSITIONS[4], found, known, 9)
        };
        let stored = [known("a", 3, 0.03, State::Confirmed)];
        assert_eq!(renew(&[], &stored), []);
        assert_eq!(renew(&[found(2, -0.05, Confirmed)], &[]), []);
        assert_eq!(renew(&[found(3, 0.03, Confirmed)], &stored), []);
        let later = renew(&[], &[known("b", 6, 0.03, State::Provisional)]);
        assert_eq!(later, [Renewal::Gone("b".into())]);
    }

    #[test]
    fn what_lies_before_the_points_is_not_judged() {
        let old = ChangePoint { position: -4, before: -6, ..known("old", 1, 0.1, State::Confirmed) };
        assert_eq!(renewed(&[], &[old]), []);
        assert_eq!(renew(1, &[], 0, &[], &[known("a", 1, 0.1, State::Confirmed)], 9), []);
    }
}
