//! A party that says another thing than the truth, and hashes and signs what it says: by its own code, with changed values. What
//! each level lets it do, and what not.

use super::*;
use crate::exchange::Said;
use tacit_protocol::{Blame, Offence};

/// Keys of either party, of which the second half of the one's is the first half of the other's. One batch.
const KEYS: usize = 200;

/// Gives each key the answer of the next one.
fn swaps(width: usize) -> fn(Said, &mut Vec<u8>) {
    match width {
        32 => |what, body| turn(what, body, 32),
        _ => |what, body| turn(what, body, TAG),
    }
}

/// Bytes of a tag of such lists.
const TAG: usize = 7;

fn turn(what: Said, body: &mut [u8], width: usize) {
    if what == Said::Answers {
        assert_eq!(body.len() % width, 0);
        body.rotate_left(width);
    }
}

/// The outcomes where the first party lies; the second, who may learn, does not.
fn lied(level: Level, mode: Mode, lie: fn(Said, &mut Vec<u8>)) -> Vec<Result<Got, Abort>> {
    let honest = terms(level, mode);
    let liar = Terms { lie: Some(lie), ..honest.clone() };
    let half = KEYS / 2;
    let sides = [Side::new(&liar, &rows(0..KEYS)), Side::new(&honest, &rows(half..half + KEYS))];
    let mut world = World::pair(1, sides);
    world.run();
    world.outcomes()
}

/// Matched keys of the second party, and how many of them the first one does not have.
fn matched(outcome: &Result<Got, Abort>) -> (usize, usize) {
    match outcome {
        // Its row n is key n + half.
        Ok(Got::Set { matched, .. }) => {
            (matched.len(), matched.iter().filter(|rows| rows[0] >= KEYS as u64 / 2).count())
        }
        Ok(other) => panic!("{other:?}"),
        Err(abort) => panic!("{abort}"),
    }
}

#[test]
fn in_mode_b_a_liar_spoils_matches_and_makes_none() {
    // Who learns alone finds none of its keys; where both learn, those of the half that it answers itself are found.
    let (found, wrong) = matched(&lied(Level::Receiver, Mode::Oprf, swaps(32))[1]);
    assert_eq!((found, wrong), (0, 0));
    let (found, wrong) = matched(&lied(Level::Both, Mode::Oprf, swaps(32))[1]);
    assert!(found > 20 && found < 80 && wrong == 0, "{found} {wrong}");
}

#[test]
fn in_mode_b_tags_of_nothing_match_nothing() {
    let lie: fn(Said, &mut Vec<u8>) = |what, body| {
        if what == Said::Tags {
            body.as_chunks_mut::<TAG>().0.iter_mut().for_each(|tag| tag[TAG - 1] ^= 1);
            // In order still: the last byte is none of those that tell such tags apart.
        }
    };
    assert_eq!(matched(&lied(Level::Receiver, Mode::Oprf, lie)[1]), (0, 0));
}

#[test]
fn in_mode_a_a_liar_makes_wrong_matches_where_one_learns_alone() {
    let (found, wrong) = matched(&lied(Level::Receiver, Mode::DoubleMask, swaps(TAG))[1]);
    assert_eq!(found, KEYS / 2, "as many as there are");
    assert!(wrong > 20, "{wrong} of them of other keys");
}

#[test]
fn in_mode_a_where_both_learn_a_liar_is_found_before_a_result() {
    let outcomes = lied(Level::Both, Mode::DoubleMask, swaps(TAG));
    for (seat, outcome) in outcomes.iter().enumerate() {
        let Err(Abort::Misbehaved { blame: Blame { offence, .. }, .. }) = outcome else {
            panic!("{seat} has a result")
        };
        assert_eq!(*offence, Offence::BadOpening);
    }
}

#[test]
fn a_liar_may_make_a_count_smaller() {
    let lie: fn(Said, &mut Vec<u8>) = |what, body| {
        if what == Said::Tags {
            body.as_chunks_mut::<TAG>().0.iter_mut().for_each(|tag| tag[TAG - 1] ^= 1);
        }
    };
    let level = Level::Cardinality { both: true };
    let honest: fn(Said, &mut Vec<u8>) = |_, _| {};
    assert_eq!(lied(level, Mode::DoubleMask, honest)[1], Ok(Got::Count(KEYS as u64 / 2)));
    assert_eq!(lied(level, Mode::DoubleMask, lie)[1], Ok(Got::Count(0)));
}

#[test]
fn at_l3_a_liar_gives_keys_each_others_ids_and_both_hold_the_same_union() {
    let ids = |outcome: &Result<Got, Abort>, first: u64| -> BTreeMap<[u8; 16], u64> {
        let Ok(Got::Spine { ids, matches }) = outcome else { panic!("no spine") };
        assert_eq!((*matches, ids.len()), (KEYS as u64 / 2, KEYS * 3 / 2));
        ids.iter().filter_map(|(id, rows)| Some((*id, rows.first()? + first))).collect()
    };
    // How many ids stand for one key at the one and for another at the other.
    let wrong = |lie: fn(Said, &mut Vec<u8>)| {
        let outcomes = lied(Level::Spine, Mode::DoubleMask, lie);
        let (one, other) = (ids(&outcomes[0], 0), ids(&outcomes[1], KEYS as u64 / 2));
        one.iter().filter(|(id, key)| other.get(*id).is_some_and(|own| own != *key)).count()
    };
    assert_eq!(wrong(|_, _| {}), 0);
    assert!(wrong(swaps(32)) > 20);
}
