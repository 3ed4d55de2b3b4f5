//! A list that is much longer than the other: its owner answers first, keeps what it does, is waited for, and can be stopped.

use std::sync::atomic::Ordering;

use tacit_types::Code;

use super::*;
use crate::terms::{BATCHES_A_STEP, patience};

/// Batches of the long list, and what is in the other.
const LONG: u64 = BATCHES_A_STEP;
const SHORT: u64 = 300;

fn sides(terms: &Terms) -> [Side; 2] {
    [Side::new(terms, &rows(0..LONG * 256)), Side::new(terms, &rows(LONG * 256 - 100..LONG * 256 - 100 + SHORT))]
}

fn matched(got: &Result<Got, Abort>) -> usize {
    match got {
        Ok(Got::Set { matched, .. }) => matched.len(),
        Ok(_) => panic!("no set"),
        Err(abort) => panic!("{abort}"),
    }
}

#[test]
fn the_owner_of_a_long_list_answers_first_and_keeps_what_it_does_beside() {
    let terms = Terms { checkpoint: 4, ..terms(Level::Receiver, Mode::Oprf) };
    let sides = sides(&terms);
    let (done, at_answers) = (sides[0].work.clone(), Arc::new(Mutex::new(Vec::new())));
    let mut whole = World::pair(1, sides.clone());
    let (work, seen) = (done.clone(), at_answers.clone());
    whole.hook = Box::new(move |m| {
        if m.address.from == Seat(0) && [3, 5].map(|i| terms.step(i)).contains(&m.address.step) {
            seen.lock().unwrap().push(work.load(Ordering::Relaxed));
        }
        vec![m]
    });
    whole.run();
    assert_eq!(matched(&whole.outcomes()[1]), 100);
    let all = done.load(Ordering::Relaxed);
    // A piece for each of two answers, and two for a batch beside, which is masked and tagged.
    assert_eq!(*at_answers.lock().unwrap(), [1, 4]);
    assert_eq!(all as u64, 2 + 2 * LONG);

    // States: of the answers, at each side, and of every four batches beside.
    let records = 2 + LONG / 4;
    for killed_after in [3, records / 2, records - 1] {
        let mut sides = self::sides(&sides[0].terms);
        let mut first = World::pair(1, sides.clone());
        first.records_max = killed_after as usize;
        first.run();
        let before = sides[0].work.swap(0, Ordering::Relaxed) as u64;
        assert!(before >= 8 * (killed_after - 2), "{before} pieces before the death");
        for (i, side) in sides.iter_mut().enumerate() {
            side.state = first.records.get(&i).cloned();
        }
        let mut second = World::pair(2, sides.clone());
        second.run();
        assert_eq!(matched(&second.outcomes()[1]), 100);
        let after = sides[0].work.load(Ordering::Relaxed) as u64;
        assert_eq!(after, 2 * (LONG - 4 * (killed_after - 2)), "what was done is not done again");
    }
}

#[test]
fn who_masks_or_tags_a_long_list_is_waited_for_by_its_size() {
    for (level, mode) in all() {
        let terms = terms(level, mode);
        let until = patience(STEP_MS, LONG + 2);
        assert_eq!(until, 2 * STEP_MS);
        // What all of the long list takes: more than a step and less than the patience, and more than that.
        for (piece_ms, waits) in [(until * 2 / 3 / LONG, true), (until * 3 / 2 / LONG, false)] {
            assert!(piece_ms * LONG > STEP_MS && (piece_ms * LONG < until) == waits);
            let mut world = World::pair(1, sides(&terms));
            world.piece_ms = vec![piece_ms, 0];
            world.run();
            let outcomes = world.outcomes();
            if waits {
                for outcome in outcomes {
                    outcome.unwrap_or_else(|abort| panic!("{level:?} {mode:?} {abort}"));
                }
            } else if (level, mode) != (Level::Both, Mode::Oprf) {
                // There both halves go on side by side, a batch at a time.
                let lost =
                    |o: &Result<Got, Abort>| matches!(o, Err(Abort::Missing { seats, .. }) if *seats == [Seat(0)]);
                assert!(lost(&outcomes[1]), "{level:?} {mode:?}");
            }
        }
    }
}

#[test]
fn the_time_of_a_step_more_is_for_so_many_batches() {
    assert_eq!(patience(7, 0), 7);
    assert_eq!(patience(7, BATCHES_A_STEP - 1), 7);
    assert_eq!(patience(7, BATCHES_A_STEP), 14);
    assert_eq!(patience(u64::MAX / 2, 3 * BATCHES_A_STEP), u64::MAX);
}

#[test]
fn who_is_stopped_while_it_masks_sends_nothing_of_it() {
    // At L1 in mode B the lists are worked on as messages come.
    for (level, mode) in all().into_iter().filter(|run| *run != (Level::Both, Mode::Oprf)) {
        let terms = terms(level, mode);
        let mut world = World::pair(1, sides(&terms));
        let mut pieces = 0;
        // The driver's turn after the second piece: the sender is told to stop.
        world.on_timer = Box::new(move |to| {
            pieces += usize::from(to == 0);
            (to == 0 && pieces == 2).then_some(Event::Cancel(Code::RefusedContractRevoked))
        });
        world.run();
        let ended = world.outcomes().swap_remove(0);
        assert!(
            matches!(ended, Err(Abort::Cancelled(Code::RefusedContractRevoked))),
            "{level:?} {mode:?} was not stopped"
        );
        let of_sender = |m: &&Message| m.address.from == Seat(0) && m.address.step > terms.step(1);
        let sent: Vec<_> = world.sent.iter().filter(of_sender).map(|m| m.address.step).collect();
        // In mode B two answers have left before; of the list nothing.
        let answers = [3, 5].map(|i| terms.step(i));
        assert_eq!(sent, if mode == Mode::Oprf { &answers[..] } else { &[] }, "{level:?} {mode:?}");
    }
}
