//! A party that says another thing than the truth, and hashes and signs what it says: by its own code, with changed values. What
//! each level lets it do, and what not.

use std::cell::RefCell;

use super::*;
use crate::exchange::Said;
use crate::spine::Asks;
use tacit_protocol::{Blame, Offence};

/// Keys of either party, of which the second half of the one's is the first half of the other's. One batch.
const KEYS: usize = 200;
/// Bytes of a tag of such lists.
const TAG: usize = 7;

/// Gives each key the answer of the next one.
fn swaps(width: usize) -> fn(Said, &mut Vec<u8>) {
    match width {
        32 => |what, body| turn(what, body, 32),
        _ => |what, body| turn(what, body, TAG),
    }
}

fn turn(what: Said, body: &mut [u8], width: usize) {
    if what == Said::Answers {
        assert_eq!(body.len() % width, 0);
        body.rotate_left(width);
    }
}

/// The outcomes where the first party's terms are a liar's; the second, who may learn, does not lie.
fn with(honest: &Terms, liar: &Terms) -> Vec<Result<Got, Abort>> {
    let half = KEYS / 2;
    let sides = [Side::new(liar, &rows(0..KEYS)), Side::new(honest, &rows(half..half + KEYS))];
    let mut world = World::pair(1, sides);
    world.run();
    world.outcomes()
}

fn lied(level: Level, mode: Mode, lie: fn(Said, &mut Vec<u8>)) -> Vec<Result<Got, Abort>> {
    let honest = terms(level, mode);
    with(&honest, &Terms { lie: Some(lie), ..honest.clone() })
}

/// The second party has no result, and names the first.
#[track_caller]
fn found(outcomes: &[Result<Got, Abort>], expected: Offence) {
    let Err(Abort::Misbehaved { blame: Blame { offence, .. }, .. }) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
    assert_eq!(*offence, expected);
    assert!(outcomes[0].is_err(), "nor has the first");
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
fn in_mode_a_a_liar_makes_no_wrong_match_where_one_learns_alone() {
    assert_eq!(matched(&lied(Level::Receiver, Mode::DoubleMask, |_, _| {})[1]), (KEYS / 2, 0));
    // Whether it gives the answers other places or makes one of another key: its own proof does not hold.
    found(&lied(Level::Receiver, Mode::DoubleMask, swaps(32)), Offence::BadOpening);
    let other: fn(Said, &mut Vec<u8>) = |what, body| {
        if what == Said::Answers {
            body.copy_within(32..64, 0);
        }
    };
    found(&lied(Level::Receiver, Mode::DoubleMask, other), Offence::BadOpening);
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

/// The ids of either party's keys, where both hold the same union.
fn ids(outcomes: &[Result<Got, Abort>]) -> [BTreeMap<[u8; 16], u64>; 2] {
    [0, 1].map(|seat: usize| {
        let Ok(Got::Spine { ids, matches }) = &outcomes[seat] else { panic!("no spine: {:?}", outcomes[seat]) };
        assert_eq!((*matches, ids.len()), (KEYS as u64 / 2, KEYS * 3 / 2));
        let first = seat as u64 * KEYS as u64 / 2;
        ids.iter().filter_map(|(id, rows)| Some((*id, rows.first()? + first))).collect()
    })
}

#[test]
fn at_l3_a_liar_gives_no_key_the_id_of_another() {
    let [one, other] = ids(&lied(Level::Spine, Mode::DoubleMask, |_, _| {}));
    let common: Vec<_> = one.iter().filter(|(id, _)| other.contains_key(*id)).collect();
    assert!(common.len() == KEYS / 2 && common.iter().all(|(id, key)| other[*id] == **key));
    found(&lied(Level::Spine, Mode::DoubleMask, swaps(32)), Offence::BadOpening);
    // Nor are the ids of keys that the other lacks others than they are.
    thread_local!(static HEARD: RefCell<usize> = const { RefCell::new(0) });
    let second: fn(Said, &mut Vec<u8>) = |what, body| {
        let answers = HEARD.with_borrow_mut(|n| {
            *n += usize::from(what == Said::Answers);
            *n
        });
        if (what, answers) == (Said::Answers, 2) {
            body.rotate_left(32);
        }
    };
    found(&lied(Level::Spine, Mode::DoubleMask, second), Offence::BadOpening);
    assert_eq!(HEARD.take(), 2, "the first answers were as they should be");
}

#[test]
fn at_l3_who_hides_a_match_that_it_has_brought_is_found() {
    // The other asks for the id and finds that it is its own.
    let lie: fn(Said, &mut Vec<u8>) = |what, body| {
        if what == Said::Tags {
            body.as_chunks_mut::<TAG>().0.iter_mut().for_each(|tag| tag[TAG - 1] ^= 1);
        }
    };
    let honest = terms(Level::Spine, Mode::DoubleMask);
    // It answers as many questions as it now has to.
    let liar = Terms { lie: Some(lie), asks: Some(Asks::Every), ..honest.clone() };
    found(&with(&honest, &liar), Offence::Duplicate);
}

thread_local! {
    /// The tags of the one's keys, as the other has made them; of the other's, as the one has.
    static TAGS: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

#[test]
fn at_l3_who_announces_tags_of_keys_that_the_other_lacks_cannot_end() {
    let honest = terms(Level::Spine, Mode::DoubleMask);
    // What both say where neither lies; the second run has the same secrets.
    const KEEP: [fn(Said, &mut Vec<u8>); 2] = [
        |what, body| {
            TAGS.with_borrow_mut(|tags| {
                if what == Said::Tags {
                    tags[0] = body.clone()
                }
            })
        },
        |what, body| {
            TAGS.with_borrow_mut(|tags| {
                if what == Said::Tags {
                    tags[1] = body.clone()
                }
            })
        },
    ];
    let [one, other] = KEEP.map(|keep| Terms { lie: Some(keep), ..honest.clone() });
    ids(&with(&other, &one));
    // Half of the keys that it alone has it announces as common, and leaves them out of the union.
    let lie: fn(Said, &mut Vec<u8>) = |what, body| {
        if what == Said::Tags {
            let [own, others] = TAGS.take().map(|tags| tags.as_chunks::<TAG>().0.to_vec());
            assert_eq!(body[..], own.concat(), "the runs are the same");
            let (common, lacking): (Vec<&[u8; TAG]>, Vec<&[u8; TAG]>) =
                others.iter().partition(|tag| own.contains(*tag));
            let alone = own.iter().filter(|tag| !others.contains(*tag));
            let mut all: Vec<[u8; TAG]> = common.iter().chain(&lacking[..KEYS / 4]).map(|tag| **tag).collect();
            all.extend(alone.take(KEYS / 4));
            all.sort_unstable();
            *body = all.concat();
        }
    };
    let liar = Terms { lie: Some(lie), asks: Some(Asks::Some(KEYS as u64 / 4)), ..honest.clone() };
    found(&with(&honest, &liar), Offence::Equivocation);
}

#[test]
fn at_l3_who_asks_for_what_is_in_both_gets_no_result_and_gives_none() {
    let honest = terms(Level::Spine, Mode::DoubleMask);
    let liar = Terms { asks: Some(Asks::Matched), ..honest.clone() };
    let outcomes = with(&honest, &liar);
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
}
