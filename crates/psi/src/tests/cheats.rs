//! A peer that breaks the protocol, in each way that has a name, and every message changed on its way.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use tacit_protocol::{Blame, Offence, Offender};
use tacit_types::{Code, Step, wire};

use super::*;
use crate::exchange::POSTED_MAX;
use crate::session::Open;

/// Steps of a run as the tests' terms number them: the first two, then points and answers in turn.
fn step(i: u32) -> Step {
    Step((3 << 16) + i)
}

/// The outcomes when the sender's message of a step is changed on its way.
fn tampered(
    terms: &Terms,
    rows: [&Rows; 2],
    at: Step,
    change: impl Fn(&mut Vec<u8>) + 'static,
) -> Vec<Result<Got, Abort>> {
    let mut world = World::pair(1, [Side::new(terms, rows[0]), Side::new(terms, rows[1])]);
    world.hook = Box::new(move |mut m| {
        if m.address.step == at && m.address.from == Seat(0) {
            change(&mut m.body);
            m.total = m.body.len() as u64;
        }
        vec![m]
    });
    world.run();
    world.outcomes()
}

fn offence(outcome: &Result<Got, Abort>) -> Option<Offence> {
    match outcome {
        Err(Abort::Misbehaved { blame: Blame { offender: Offender::Seat(Seat(0)), offence, .. }, .. }) => {
            Some(*offence)
        }
        _ => None,
    }
}

#[track_caller]
fn blamed(level: Level, mode: Mode, at: u32, change: impl Fn(&mut Vec<u8>) + 'static, expected: Offence) {
    let outcomes = tampered(&terms(level, mode), [&rows(0..300), &rows(100..400)], step(at), change);
    assert_eq!(offence(&outcomes[1]), Some(expected), "{level:?} {mode:?} {:?}", outcomes[1]);
    assert!(outcomes[0].is_err(), "the peer has no result either");
}

const SET: (Level, Mode) = (Level::Both, Mode::Oprf);
const ONE: (Level, Mode) = (Level::Receiver, Mode::DoubleMask);
const SPINE: (Level, Mode) = (Level::Spine, Mode::DoubleMask);
const COUNT: (Level, Mode) = (Level::Cardinality { both: true }, Mode::DoubleMask);

#[test]
fn points_that_are_none_are_refused() {
    let bad: [[u8; 32]; 4] = [
        // The identity, a negative element, one at the prime, and a point off the group.
        [0; 32],
        hex::decode("ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20").unwrap().try_into().unwrap(),
        hex::decode("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f").unwrap().try_into().unwrap(),
        hex::decode("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371").unwrap().try_into().unwrap(),
    ];
    for encoding in bad {
        for at in [2, 3] {
            // A point to be evaluated, and an evaluated one.
            let change = move |body: &mut Vec<u8>| body[32 * 5..32 * 6].copy_from_slice(&encoding);
            blamed(SET.0, SET.1, at, change, Offence::BadPoint);
        }
        // In a sorted list it must also stand in its place.
        let change = move |body: &mut Vec<u8>| {
            let mut all = body.as_chunks::<32>().0.to_vec();
            all[9] = encoding;
            all.sort_unstable();
            *body = all.concat();
        };
        blamed(COUNT.0, COUNT.1, 2, change, Offence::BadPoint);
    }
}

#[test]
fn a_point_twice_is_refused() {
    let twice = |body: &mut Vec<u8>| body.copy_within(32..64, 64);
    blamed(SET.0, SET.1, 2, twice, Offence::Duplicate);
    blamed(COUNT.0, COUNT.1, 2, twice, Offence::Duplicate);
    blamed(Level::Spine, Mode::DoubleMask, 3, twice, Offence::Duplicate);
}

#[test]
fn lists_out_of_order_are_refused() {
    let swap = |body: &mut Vec<u8>| body[..64].rotate_left(32);
    blamed(COUNT.0, COUNT.1, 2, swap, Offence::Unordered);
    // Tags: the step after two batches of points and answers.
    let tags = |body: &mut Vec<u8>| body[..16].rotate_left(8);
    blamed(COUNT.0, COUNT.1, 6, tags, Offence::Unordered);
}

#[test]
fn lists_of_another_length_are_refused() {
    for (level, mode) in [SET, COUNT] {
        blamed(level, mode, 2, |body| body.truncate(body.len() - 32), Offence::BadCount);
        blamed(level, mode, 2, |body| body.truncate(body.len() - 1), Offence::BadCount);
        blamed(level, mode, 2, |body| body.extend_from_slice(&[1; 32]), Offence::BadCount);
        blamed(level, mode, 2, Vec::clear, Offence::BadCount);
        blamed(level, mode, 2, |body| body.extend_from_slice(&[1; 1 << 15]), Offence::Flow);
    }
    blamed(COUNT.0, COUNT.1, 6, |body| body.truncate(5), Offence::BadCount);
    blamed(SET.0, SET.1, 3, |body| body.truncate(32), Offence::BadCount);
}

/// Changes the sender's opening.
fn opening(change: impl Fn(&mut crate::Open) + 'static) -> impl Fn(&mut Vec<u8>) + 'static {
    move |body| {
        let mut open = crate::Open::decode(body).unwrap();
        change(&mut open);
        *body = tacit_types::wire::encode(&open);
    }
}

#[test]
fn sizes_beyond_the_terms_are_refused() {
    let size = |halves: [u64; 2]| opening(move |open| open.halves = halves);
    blamed(SET.0, SET.1, 1, size([1 << 20, 1]), Offence::BadSize);
    blamed(SET.0, SET.1, 1, size([u64::MAX, u64::MAX]), Offence::BadSize);
    blamed(SET.0, SET.1, 1, |body| body.truncate(79), Offence::Malformed);
    blamed(SET.0, SET.1, 1, |body| body.push(0), Offence::Malformed);
    let mut terms = terms(SET.0, SET.1);
    terms.items_min = 100;
    let outcomes = tampered(&terms, [&rows(0..300), &rows(0..300)], step(1), size([50, 49]));
    assert_eq!(offence(&outcomes[1]), Some(Offence::BadSize));
}

#[test]
fn a_peer_brings_as_many_keys_as_it_has_announced() {
    for (level, mode) in all() {
        let announced = |of_sender: u64| {
            let sides = [&rows(0..300), &rows(100..400)].map(|rows| Side::new(&terms(level, mode), rows));
            let mut sides = sides;
            sides[1].terms.announced = Some(of_sender);
            let mut world = World::pair(1, sides);
            world.run();
            let sent = world.sent.iter().any(|m| m.address.from == Seat(1) && m.address.step > step(1));
            (offence(&world.outcomes()[1]), sent)
        };
        for wrong in [299, 301] {
            assert_eq!(announced(wrong), (Some(Offence::BadSize), false), "{level:?} {mode:?}: points left");
        }
        assert_eq!(announced(300), (None, true), "{level:?} {mode:?}");
    }
}

#[test]
fn a_public_key_that_is_none_is_refused() {
    for key in [[0; 32], [0xff; 32]] {
        for (level, mode) in [SET, ONE, SPINE] {
            blamed(level, mode, 1, opening(move |open| open.public = key), Offence::BadKey);
        }
        blamed(SPINE.0, SPINE.1, 2, move |body| *body = key.to_vec(), Offence::BadKey);
    }
    blamed(SPINE.0, SPINE.1, 2, |body| body.truncate(31), Offence::BadCount);
}

#[test]
fn answers_that_are_not_those_of_the_key_are_refused() {
    // The first answers, and of a spine the second too: after two batches of either, and one of tags that is all of them.
    for ((level, mode), at) in [(ONE, 3), (SPINE, 4), (SPINE, 10)] {
        blamed(level, mode, at, |body| body[..64].rotate_left(32), Offence::BadOpening);
        blamed(level, mode, at, |body| body.copy_within(32..64, 0), Offence::BadOpening);
        blamed(level, mode, at, |body| body[..32].fill(0), Offence::BadPoint);
        for of_proof in [1, 33, 64] {
            let change = move |body: &mut Vec<u8>| {
                let byte = body.len() - of_proof;
                body[byte] ^= 1;
            };
            blamed(level, mode, at, change, Offence::BadOpening);
        }
        blamed(level, mode, at, |body| body.truncate(body.len() - 64), Offence::BadCount);
    }
}

#[test]
fn a_proof_of_our_own_answers_proves_none_of_the_peers() {
    // The peer gives the other's key as its own, sends its points back and what it answers: that is a right product of the one
    // key, and a proof of it, but not the peer's.
    let texts = rows(0..100);
    let terms = terms(SPINE.0, SPINE.1);
    let mut world = World::pair(1, [Side::new(&terms, &texts), Side::new(&terms, &texts)]);
    let mut held: BTreeMap<Step, Vec<Message>> = BTreeMap::new();
    world.hook = Box::new(move |mut m| {
        if m.address.step < step(1) || m.address.step > step(4) {
            return vec![m];
        }
        // What the first says waits for what the second says, and is then that.
        let waiting = held.entry(m.address.step).or_default();
        waiting.push(m.clone());
        let (Some(first), Some(second)) = (
            waiting.iter().find(|m| m.address.from == Seat(0)).cloned(),
            waiting.iter().find(|m| m.address.from == Seat(1)).cloned(),
        ) else {
            return if m.address.from == Seat(1) { vec![m] } else { Vec::new() };
        };
        let mut mirrored = first;
        if m.address.step == step(1) {
            let mut open = Open::decode(&mirrored.body).unwrap();
            open.public = Open::decode(&second.body).unwrap().public;
            mirrored.body = wire::encode(&open);
        } else {
            mirrored.body = second.body;
        }
        mirrored.total = mirrored.body.len() as u64;
        m.total = m.body.len() as u64;
        if m.address.from == Seat(1) { vec![m, mirrored] } else { vec![mirrored] }
    });
    world.run();
    assert_eq!(offence(&world.outcomes()[1]), Some(Offence::BadOpening));
}

#[test]
fn a_match_that_the_peer_cannot_prove_is_not_believed() {
    // Each half is one batch: points, answers, tags, then bits and proof.
    let (level, mode) = SET;
    for bit in 0..4 {
        let flip = move |body: &mut Vec<u8>| body[3] ^= 1 << bit;
        blamed(level, mode, 5, flip, Offence::BadOpening);
    }
    let all = |body: &mut Vec<u8>| {
        let bits = body.len() - 33;
        body[..bits].fill(0xff);
    };
    blamed(level, mode, 5, all, Offence::BadOpening);
    blamed(level, mode, 5, |body| *body.last_mut().unwrap() ^= 1, Offence::BadOpening);
    let beyond = |body: &mut Vec<u8>| {
        let at = body.len() - 33;
        body[at] |= 0x80;
    };
    let outcomes = tampered(&terms(level, mode), [&rows(0..301), &rows(0..301)], step(5), beyond);
    // Where the list's length is a multiple of eight there is no bit beyond it, and the proof fails instead.
    assert!(matches!(offence(&outcomes[1]), Some(Offence::Malformed | Offence::BadOpening)));
}

#[test]
fn the_end_is_signed_and_about_the_same_messages() {
    let (level, mode) = SET;
    // Whoever sends the last message cannot know that it arrived, so that the sender has its result, which is right.
    let end = |change: fn(&mut Vec<u8>)| {
        let outcomes = tampered(&terms(level, mode), [&rows(0..300), &rows(100..400)], step(6), change);
        assert!(matches!(&outcomes[0], Ok(Got::Set { matched, .. }) if matched.len() == 200));
        offence(&outcomes[1])
    };
    assert_eq!(end(|body| body[0] ^= 1), Some(Offence::Signature));
    assert_eq!(end(|body| body[40] ^= 1), Some(Offence::Signature));
    assert_eq!(end(|body| body.truncate(95)), Some(Offence::BadCount));
    // A tag changed so that order and length still hold: everything goes on, and the end finds it.
    let change = |body: &mut Vec<u8>| {
        let last = body.len() - 1;
        body[last] ^= 1;
    };
    blamed(level, mode, 4, change, Offence::Equivocation);
}

/// Every byte of every message would be long; every message at a few of its bytes is not.
#[test]
fn whatever_is_changed_nobody_accepts_a_wrong_result() {
    let texts = [rows(0..90), rows(45..135)];
    for (level, mode) in all() {
        let terms = terms(level, mode);
        let right = honest(&terms, &texts[0], &texts[1]);
        let mut plain = World::pair(1, [Side::new(&terms, &texts[0]), Side::new(&terms, &texts[1])]);
        plain.run();
        let count = plain.sent.len();
        for number in 0..count {
            let length = plain.sent[number].body.len();
            for at in [0, length / 2, length - 1] {
                let mut world = World::pair(1, [Side::new(&terms, &texts[0]), Side::new(&terms, &texts[1])]);
                let mut seen = 0;
                world.hook = Box::new(move |mut m| {
                    if seen == number {
                        m.body[at] ^= 4;
                    }
                    seen += 1;
                    vec![m]
                });
                world.run();
                let outcomes = world.outcomes();
                let failed = outcomes.iter().filter(|o| o.is_err()).count();
                assert!(failed > 0, "{level:?} {mode:?}: message {number} of {count}, byte {at}, was not missed");
                for (outcome, right) in outcomes.iter().zip(&right) {
                    // Only the last messages can leave one side with its result, which is right.
                    match (outcome, right) {
                        (Ok(Got::Set { matched, .. }), Got::Set { matched: expected, .. }) => {
                            let sorted = |groups: &Vec<Vec<u64>>| {
                                let mut groups = groups.clone();
                                groups.sort();
                                groups
                            };
                            assert_eq!(sorted(matched), sorted(expected));
                        }
                        (Ok(Got::Count(n)), right) => assert_eq!(&Got::Count(*n), right),
                        (Ok(Got::Spine { matches, .. }), Got::Spine { matches: m, .. }) => assert_eq!(matches, m),
                        (Ok(Got::Nothing) | Err(_), _) => {}
                        (got, right) => panic!("{got:?} {right:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn other_terms_or_another_schema_end_the_run_before_anything_else_is_sent() {
    let base = terms(Level::Both, Mode::Oprf);
    let changes: [fn(&mut Side); 8] = [
        |s| s.terms.level = Level::Receiver,
        |s| s.terms.mode = Mode::DoubleMask,
        |s| s.terms.context = Hash([8; 32]),
        |s| s.terms.items_max -= 1,
        |s| s.terms.items_min = 1,
        |s| s.terms.batch = 512,
        |s| s.terms.checkpoint = 1,
        |s| core::mem::swap(&mut s.terms.receiver, &mut s.terms.sender),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut sides = [Side::new(&base, &rows(0..10)), Side::new(&base, &rows(0..10))];
        change(&mut sides[1]);
        let mut world = World::pair(1, sides);
        world.run();
        for (seat, outcome) in world.outcomes().into_iter().enumerate() {
            assert_eq!(outcome, Err(Abort::Disagreement { seats: vec![Seat(1 - seat as u16)] }), "{i}");
        }
        assert_eq!(world.sent.len(), 2);
    }
    let mut sides = [Side::new(&base, &rows(0..10)), Side::new(&base, &rows(0..10))];
    sides[1].schema = Schema::new(vec![KeyColumn { name: "id".into(), steps: vec![] }]).unwrap();
    let mut world = World::pair(1, sides);
    world.run();
    for outcome in world.outcomes() {
        assert!(matches!(&outcome, Err(Abort::Local(f)) if f.code == Code::JobDisagreement), "{outcome:?}");
    }
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn terms_that_cannot_be_are_refused_and_never_made_weaker() {
    let refused = |change: fn(&mut Terms)| {
        let mut terms = terms(Level::Both, Mode::Oprf);
        change(&mut terms);
        let mut world = World::pair(1, [Side::new(&terms, &rows(0..10)), Side::new(&terms, &rows(0..10))]);
        world.run();
        let refused = |o: &Result<Got, Abort>| matches!(o, Err(Abort::Local(f)) if f.code == Code::ArgsInvalid);
        world.outcomes().iter().all(refused) && world.sent.is_empty()
    };
    use crate::terms::{BATCH_ITEMS_MAX, BATCH_ITEMS_MIN, CHECKPOINT_BATCHES_MAX, ITEMS_MAX};
    assert!(refused(|t| t.level = Level::Spine));
    assert!(refused(|t| t.level = Level::Cardinality { both: false }));
    assert!(refused(|t| t.receiver = t.sender));
    assert!(refused(|t| t.receiver = Seat(2)));
    assert!(refused(|t| t.items_max = ITEMS_MAX + 1));
    assert!(!refused(|t| t.items_max = ITEMS_MAX));
    assert!(refused(|t| t.items_max = 0));
    assert!(refused(|t| t.items_min = t.items_max + 1));
    assert!(refused(|t| t.batch = BATCH_ITEMS_MIN - 1));
    assert!(refused(|t| t.batch = BATCH_ITEMS_MAX + 1));
    assert!(!refused(|t| t.batch = BATCH_ITEMS_MAX));
    assert!(refused(|t| t.checkpoint = CHECKPOINT_BATCHES_MAX + 1));
    assert!(refused(|t| (t.step_base, t.items_max) = (u16::MAX, ITEMS_MAX)));
    assert!(!refused(|t| (t.step_base, t.items_max) = (u16::MAX - 200, ITEMS_MAX)));
}

#[test]
fn lists_outside_the_terms_do_not_begin() {
    let mut terms = terms(Level::Both, Mode::Oprf);
    terms.items_max = 20;
    terms.items_min = 10;
    for (n, fits) in [(9, false), (10, true), (20, true), (21, false)] {
        let mut world = World::pair(1, [Side::new(&terms, &rows(0..n)), Side::new(&terms, &rows(0..15))]);
        world.run();
        let outcomes = world.outcomes();
        assert_eq!(outcomes[0].is_ok(), fits, "{n}");
        if !fits {
            assert!(matches!(&outcomes[0], Err(Abort::Local(f)) if f.code == Code::RefusedCohort));
        }
    }
}

#[test]
fn what_the_job_does_not_list_is_not_opened() {
    for (level, mode) in all() {
        let terms = terms(level, mode);
        let cells = match level {
            Level::Cardinality { .. } => 1,
            // The second party learns, and has more keys than the first.
            Level::Receiver => 40,
            Level::Both | Level::Spine => 60,
        };
        for (listed, opens) in [(vec![], false), (vec![cells - 1], false), (vec![cells], true)] {
            let disclosures: Vec<Disclosure> =
                listed.iter().map(|n| Disclosure { cells_max: *n, ..disclosure() }).collect();
            let mut terms = terms.clone();
            terms.disclosure.cells_max = listed.first().copied().unwrap_or(9);
            let sides = [Side::new(&terms, &rows(0..20)), Side::new(&terms, &rows(0..40))];
            let protocols = sides.map(|side| -> Protocol<Got> { Box::new(move |party| Box::pin(act(party, side))) });
            let mut world = World::new(1, protocols.into(), disclosures);
            world.run();
            let outcomes = world.outcomes();
            assert_eq!(outcomes.iter().all(Result::is_ok), opens, "{level:?} {mode:?} {listed:?}");
            // More may be booked, never less; what is booked has to be listed.
            for (books, fits) in [(1, opens), (cells, opens), (cells + 1, false)] {
                let disclosures = listed.iter().map(|n| Disclosure { cells_max: *n, ..disclosure() }).collect();
                let terms = Terms { books: Some(books), ..terms.clone() };
                let sides = [Side::new(&terms, &rows(0..20)), Side::new(&terms, &rows(0..40))];
                let protocols =
                    sides.map(|side| -> Protocol<Got> { Box::new(move |party| Box::pin(act(party, side))) });
                let mut world = World::new(1, protocols.into(), disclosures);
                world.run();
                assert_eq!(world.outcomes().iter().all(Result::is_ok), fits, "{level:?} {mode:?} {listed:?} {books}");
            }
            if !opens {
                assert!(outcomes.iter().all(|o| *o == Err(Abort::Undisclosed("matches".into()))));
                // Terms and sizes alone were sent.
                assert_eq!(world.sent.len(), 4);
            }
        }
    }
}

/// Among so many seats a window is small: four chunks of 16 KiB.
pub const MANY_SEATS: usize = 130;
pub const SMALL_WINDOW: u64 = 64 << 10;

/// Elements of the group, in order.
pub fn elements(count: u64) -> Vec<[u8; 32]> {
    let mut all: Vec<[u8; 32]> =
        (1..=count).map(|i| RistrettoPoint::mul_base(&Scalar::from(i)).compress().to_bytes()).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_peer_that_sends_and_consumes_nothing_is_waited_for_with_little_in_hand() {
    const BATCHES: u64 = 64;
    let terms = terms(Level::Receiver, Mode::DoubleMask);
    let items = BATCHES * 256;
    let open = Open { nonce: [1; 32], halves: [items, 0], public: [0; 32] };
    let agree = [&schema().digest().0[..], &terms.hash().0, &[0; 40]].concat();
    let honest = Side::new(&terms, &rows(0..items));
    // The receiver says all that it has to say, whatever it hears.
    let liar: Protocol<Got> = Box::new(move |mut party| {
        Box::pin(async move {
            party.post(Seat(0), terms.step(0), agree)?;
            party.post(Seat(0), terms.step(1), wire::encode(&open))?;
            for (k, batch) in elements(items).chunks(256).enumerate() {
                party.post(Seat(0), terms.step(2 + 2 * k as u64), batch.concat())?;
            }
            party.flush(Millis(STEP_MS)).await?;
            Ok(Got::Nothing)
        })
    });
    let mut protocols: Vec<Protocol<Got>> = vec![Box::new(move |party| Box::pin(act(party, honest))), liar];
    protocols.resize_with(MANY_SEATS, || Box::new(|_| Box::pin(async { Ok(Got::Nothing) })));
    let mut world = World::new(1, protocols, vec![disclosure()]);
    world.run();
    let consumed = world.consumed[&[0, 1]];
    // It goes on for as long as it has room for what it says itself.
    let room = SMALL_WINDOW + (POSTED_MAX as u64 + 4) * 256 * 32;
    assert!(consumed > SMALL_WINDOW && consumed <= room, "{consumed} of {}", items * 32);
    let ended = world.outcomes().swap_remove(0);
    assert!(matches!(&ended, Err(Abort::Missing { seats, .. }) if *seats == [Seat(1)]), "{ended:?}");
}
