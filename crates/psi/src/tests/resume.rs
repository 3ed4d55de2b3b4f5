//! A run that was interrupted goes on in another attempt, with the same input or not at all.

use tacit_protocol::Offence;
use tacit_types::Code;

use super::*;

fn resumable(level: Level, mode: Mode) -> Terms {
    Terms { checkpoint: 1, ..terms(level, mode) }
}

/// Two sides whose disks outlive an attempt.
fn sides(terms: &Terms) -> [Side; 2] {
    [Side::new(terms, &rows(0..2000)), Side::new(terms, &rows(1000..3000))]
}

/// Points that a run sends: what a resumed one saves.
fn points(world: &World<'_>) -> usize {
    world.sent.iter().map(|m| m.body.len() / 32).sum()
}

fn sorted(got: Got) -> Got {
    match got {
        Got::Set { mut matched, mut alone, peer_alone } => {
            matched.sort();
            alone.sort();
            Got::Set { matched, alone, peer_alone }
        }
        // Ids are fresh in each session.
        Got::Spine { ids, matches } => {
            let mut rows: Vec<_> = ids.into_iter().map(|(_, rows)| ([0; 16], rows)).collect();
            rows.sort();
            Got::Spine { ids: rows, matches }
        }
        other => other,
    }
}

#[test]
fn a_run_that_is_killed_anywhere_goes_on_where_it_stood() {
    for (level, mode) in all() {
        let terms = resumable(level, mode);
        let expected = honest(&Terms { checkpoint: 0, ..terms.clone() }, &rows(0..2000), &rows(1000..3000)).map(sorted);
        let mut whole = World::pair(1, sides(&terms));
        whole.run();
        let count = whole.sent.len();
        for tenth in 0..=10 {
            let killed_after = (count * tenth / 10).clamp(1, count - 1);
            let mut sides = sides(&terms);
            let mut first = World::pair(1, sides.clone());
            first.messages_max = killed_after;
            first.run();
            for (i, side) in sides.iter_mut().enumerate() {
                side.state = first.records.get(&i).cloned();
            }
            let mut second = World::pair(2, sides);
            second.run();
            let got: Vec<Got> =
                second.outcomes().into_iter().map(|o| sorted(o.unwrap_or_else(|e| panic!("{e}")))).collect();
            assert_eq!(got[..], expected[..], "{level:?} {mode:?} killed after {killed_after} of {count}");
            if tenth >= 8 {
                assert!(points(&second) < points(&whole) * 3 / 4, "{level:?} {mode:?}: nothing was saved");
            }
        }
    }
}

#[test]
fn one_side_may_be_a_few_batches_behind_the_other() {
    let terms = resumable(Level::Both, Mode::Oprf);
    let mut kept: Vec<Vec<Option<Vec<u8>>>> = vec![vec![None; 2]];
    let mut world = World::pair(1, sides(&terms));
    let shared = sides(&terms);
    drop(world);
    // The same disks in every attempt; states of different ages.
    for stop in [20, 26, 32] {
        world = World::pair(1, shared.clone());
        world.messages_max = stop;
        world.run();
        kept.push((0..2).map(|i| world.records.get(&i).cloned()).collect());
    }
    let (older, newer) = (kept[1].clone(), kept[3].clone());
    assert!(older[0].is_some() && newer[1].is_some() && older[1] != newer[1]);
    let mut sides = shared;
    sides[0].state = older[0].clone();
    sides[1].state = newer[1].clone();
    let mut second = World::pair(2, sides);
    second.run();
    let got = second.outcomes();
    assert!(matches!(&got[0], Ok(Got::Set { matched, .. }) if matched.len() == 1000), "{:?}", got[0]);
    assert!(got[1].is_ok());
}

#[test]
fn a_state_meets_its_own_input_or_none() {
    let terms = resumable(Level::Both, Mode::Oprf);
    let mut sides = sides(&terms);
    let mut first = World::pair(1, sides.clone());
    first.messages_max = 24;
    first.run();
    for (i, side) in sides.iter_mut().enumerate() {
        side.state = first.records.get(&i).cloned();
        assert!(side.state.is_some());
    }
    let mut changed = sides.clone();
    changed[1].rows[7] = Some("another".into());
    let mut second = World::pair(2, changed);
    second.run();
    let outcomes = second.outcomes();
    assert!(matches!(&outcomes[1], Err(Abort::Local(f)) if f.code == Code::RefusedDataset), "{:?}", outcomes[1]);
    assert!(second.sent.iter().all(|m| m.address.from == Seat(0) && m.body.len() == 104), "nothing was said");

    // A state that cannot be opened, or is of other terms, counts as none: the run begins anew.
    let damaged: [fn(&mut Side); 3] = [
        |s| *s.state.as_mut().unwrap().last_mut().unwrap() ^= 1,
        |s| s.state.as_mut().unwrap().truncate(40),
        |s| s.state = None,
    ];
    for damage in damaged {
        let mut sides = sides.clone();
        damage(&mut sides[0]);
        let mut second = World::pair(2, sides);
        second.run();
        let got = second.outcomes();
        assert!(matches!(&got[0], Ok(Got::Set { matched, .. }) if matched.len() == 1000), "{:?}", got[0]);
    }
}

#[test]
fn a_peer_that_goes_on_with_other_points_is_refused_before_they_are_evaluated() {
    let terms = resumable(Level::Receiver, Mode::Oprf);
    let mut sides = sides(&terms);
    let mut first = World::pair(1, sides.clone());
    first.messages_max = 14;
    first.run();
    let old = first.records.get(&1).cloned();
    let mut more = World::pair(1, sides.clone());
    more.messages_max = 28;
    more.run();
    // The receiver is behind the sender, so it says some points again; one is changed on its way.
    sides[0].state = more.records.get(&0).cloned();
    sides[1].state = old;
    let mut second = World::pair(2, sides);
    let mut done = false;
    second.hook = Box::new(move |mut m| {
        if m.address.from == Seat(1) && m.body.len() == 256 * 32 && !done {
            done = true;
            let (a, b) = m.body.split_at_mut(32);
            a.swap_with_slice(&mut b[..32]);
        }
        vec![m]
    });
    second.run();
    let outcomes = second.outcomes();
    let Err(Abort::Misbehaved { blame, .. }) = &outcomes[0] else { panic!("{:?}", outcomes[0]) };
    assert_eq!(blame.offence, Offence::Equivocation);
    let answers = second.sent.iter().filter(|m| m.address.from == Seat(0) && m.body.len() == 256 * 32);
    assert_eq!(answers.count(), 0, "an answer left");
}

#[test]
fn a_state_says_nothing_without_its_key() {
    let terms = resumable(Level::Both, Mode::Oprf);
    let mut world = World::pair(1, sides(&terms));
    world.messages_max = 24;
    world.run();
    let record = &world.records[&0];
    assert!(record.starts_with(crate::session::STATE_LABEL));
    let public = world.sent.iter().find(|m| m.address.from == Seat(0) && m.body.len() == 80).unwrap();
    let holds = |needle: &[u8]| record.windows(needle.len()).any(|w| w == needle);
    assert!(!holds(&public.body[..32]) && !holds(&public.body[48..]), "nonce or key in the open");
    assert!(record.len() <= crate::session::STATE_BYTES_MAX);
}

/// The two states of attempts that were killed after so many messages, on the disks of the sides.
fn states(sides: &[Side; 2], killed_after: [usize; 2]) -> [Vec<u8>; 2] {
    // The longer one last, so that the disks have what both tell of.
    let mut order = [0, 1];
    order.sort_by_key(|i| killed_after[*i]);
    let mut states = [vec![], vec![]];
    for i in order {
        let mut world = World::pair(1, sides.clone());
        world.messages_max = killed_after[i];
        world.run();
        states[i] = world.records[&i].clone();
    }
    states
}

#[test]
fn rows_that_come_in_another_order_are_the_same_list() {
    for (level, mode) in all() {
        let terms = resumable(level, mode);
        // Every third key in two rows.
        let list = |first: u64| rows((first..first + 1500).flat_map(|i| vec![i; 1 + usize::from(i % 3 == 0)]));
        let mut sides = [Side::new(&terms, &list(0)), Side::new(&terms, &list(700))];
        let expected = honest(&Terms { checkpoint: 0, ..terms.clone() }, &list(0), &list(700)).map(sorted);
        let mut whole = World::pair(1, sides.clone());
        whole.run();
        let states = states(&sides, [whole.sent.len() * 8 / 10; 2]);
        for (side, state) in sides.iter_mut().zip(states) {
            side.rows.reverse();
            side.state = Some(state);
        }
        let mut second = World::pair(2, sides);
        second.run();
        let turned = |group: &mut Vec<u64>| {
            group.iter_mut().for_each(|row| *row = 1999 - *row);
            group.reverse();
        };
        for (outcome, expected) in second.outcomes().into_iter().zip(expected) {
            let mut got = outcome.unwrap_or_else(|e| panic!("{level:?} {mode:?}: {e}"));
            match &mut got {
                Got::Set { matched, alone, .. } => matched.iter_mut().chain(alone).for_each(turned),
                Got::Spine { ids, .. } => ids.iter_mut().for_each(|(_, rows)| turned(rows)),
                Got::Count(_) | Got::Nothing => {}
            }
            assert_eq!(sorted(got), expected, "{level:?} {mode:?}");
        }
        assert!(points(&second) < points(&whole) * 3 / 4, "{level:?} {mode:?}: nothing was saved");
    }
}

#[test]
fn a_state_whose_files_were_written_over_is_none_any_more() {
    let terms = Terms { checkpoint: 4, ..terms(Level::Both, Mode::DoubleMask) };
    let mut sides = sides(&terms);
    let [theirs, ours] = states(&sides, [28; 2]);
    // The peer does not go on, so that this party begins anew, and dies before its first state.
    sides[1].state = Some(ours);
    let mut fresh = World::pair(2, sides.clone());
    fresh.messages_max = 10;
    fresh.run();
    assert_eq!(
        fresh.records.get(&1).map(Vec::as_slice),
        Some(crate::session::STATE_LABEL),
        "before anything is written"
    );
    // Now the peer would go on, with what it held back.
    sides[0].state = Some(theirs);
    sides[1].state = fresh.records.get(&1).cloned();
    let mut third = World::pair(3, sides);
    third.run();
    let matched = |got: Got| matches!(got, Got::Set { matched, .. } if matched.len() == 1000);
    assert!(third.outcomes().into_iter().all(|o| matched(o.unwrap_or_else(|e| panic!("{e}")))));
}

#[test]
fn order_is_looked_at_across_an_interruption() {
    let terms = resumable(Level::Both, Mode::DoubleMask);
    for (place, offence) in [(255, Offence::Duplicate), (100, Offence::Unordered)] {
        let mut sides = sides(&terms);
        // The second party is behind, so that it hears nothing again.
        let states = states(&sides, [28, 20]);
        let mut whole = World::pair(1, sides.clone());
        whole.messages_max = 28;
        whole.run();
        let said = whole.sent;
        for (side, state) in sides.iter_mut().zip(states) {
            side.state = Some(state);
        }
        let mut second = World::pair(2, sides);
        let mut first = true;
        second.hook = Box::new(move |mut m| {
            if first && m.address.from == Seat(0) && m.body.len() == 256 * 32 {
                first = false;
                let before = |old: &&Message| old.address.from == Seat(0) && old.address.step.0 + 2 == m.address.step.0;
                let before = said.iter().find(before).expect("a batch before").body.as_chunks::<32>().0[place];
                m.body[..32].copy_from_slice(&before);
            }
            vec![m]
        });
        second.run();
        let outcomes = second.outcomes();
        let Err(Abort::Misbehaved { blame, .. }) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
        assert_eq!(blame.offence, offence);
    }
}
