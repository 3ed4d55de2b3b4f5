//! Verify mode: right sums are believed, and each way to give a wrong one convicts who did.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tacit_crypto::{Rng, SealKey};
use tacit_protocol::{Offence, Offender};
use tacit_types::Code;

use super::*;
use crate::plan::round_phase;
use crate::signed::Signed;
use crate::verify::pieces::Shape;
use crate::verify::{ClaimedSurvivors, PieceDigest, Proof, Tags, VERIFIED_BYTES_MAX, phase};
use crate::{unblind, verify_blame};

const HUB: Seat = Seat(0);
const CHEAT: Seat = Seat(3);
const N: u16 = 7;

fn params(n: u16) -> Params {
    Params::new(n).unwrap().verified()
}

fn step(phase: u16) -> Step {
    Step::new(BASE + 1, phase)
}

/// Alters the body of a signed message and signs it again as its sender.
fn edit<T: Serialize + DeserializeOwned>(mut m: Message, f: impl FnOnce(&mut T)) -> Message {
    let signed = Signed::read(&m.body).unwrap();
    let mut body: T = signed.open().unwrap();
    f(&mut body);
    m.body = Signed::with_key(&keys(N)[signed.seat.index()], signed.seat, &signed, &body).bytes();
    m.total = m.body.len() as u64;
    m
}

fn recipient() -> SealKey {
    SealKey::generate(&mut Rng::from_seed(&Secret::new([3; 32])))
}

fn blind(index: u16, width: Width, len: usize) -> Round {
    let delivery = Delivery::Recipient { key: recipient().public(), disclosure: disclosure() };
    Round { delivery, ..round(index, width, len) }
}

/// Runs rounds in which `hook` sees the messages of `at` from `from`.
fn run(
    rounds: Vec<Round>,
    from: Seat,
    at: Step,
    mut hook: impl FnMut(Message) -> Vec<Message>,
) -> BTreeMap<Seat, Done> {
    let mut world = World::new(&plan(params(N), 1), &script(rounds));
    world.hook = Box::new(move |m| if m.address.from == from && m.address.step == at { hook(m) } else { vec![m] });
    world.run();
    world.outcomes()
}

fn one(width: Width) -> Vec<Round> {
    vec![round(0, width, 20)]
}

fn blame_of(outcomes: &BTreeMap<Seat, Done>, seat: Seat) -> Blame {
    match &outcomes[&seat] {
        Err(Abort::Misbehaved { blame, .. }) => blame.clone(),
        Err(other) => panic!("{seat}: {other}"),
        Ok(_) => panic!("{seat} believes the sum"),
    }
}

/// The evidence convicts exactly the offender, and no altered or shortened evidence convicts anyone.
fn assert_convicts(blame: &Blame, offender: Seat, offence: Offence) {
    assert_eq!((blame.offender, blame.offence), (Offender::Seat(offender), offence));
    assert!(verify_blame(&seating(N), blame), "{} pieces", blame.evidence.len());
    for other in (0..N).map(Seat).filter(|s| *s != offender) {
        assert!(!verify_blame(&seating(N), &Blame { offender: Offender::Seat(other), ..blame.clone() }));
    }
    for i in 0..blame.evidence.len() {
        let mut fewer = blame.clone();
        fewer.evidence.remove(i);
        assert!(!verify_blame(&seating(N), &fewer), "without piece {i}");
        let length = blame.evidence[i].len();
        for at in (0..length).step_by(length / 40 + 1) {
            let mut altered = blame.clone();
            altered.evidence[i].0[at] ^= 1;
            assert!(!verify_blame(&seating(N), &altered), "piece {i}, byte {at} of {length}");
        }
    }
}

/// Every honest survivor refuses the sum and convicts the aggregator.
fn all_convict_the_aggregator(outcomes: &BTreeMap<Seat, Done>) {
    for seat in (1..N).map(Seat) {
        let blame = blame_of(outcomes, seat);
        if seat == Seat(1) {
            assert_convicts(&blame, HUB, Offence::BadSum);
        }
        assert!(verify_blame(&seating(N), &blame), "{seat}");
    }
}

#[test]
fn checked_sums_are_those_of_the_plain_vectors() {
    // 8,192 cells are a piece: more than one, and a ragged last one; carries between the halves of 128 bits.
    for (n, width, len) in [(3, Width::W32, 9), (4, Width::W64, 8193), (5, Width::W128, 4097), (4, Width::W128, 3)] {
        let everyone: Vec<Seat> = (0..n).map(Seat).collect();
        for (seat, done) in run_all(&plan(params(n), 2), vec![round(0, width, len), round(1, width, len)]) {
            let (outcomes, complaints) = done.unwrap_or_else(|e| panic!("{n} {width:?} {seat}: {e}"));
            for outcome in &outcomes {
                assert_eq!(outcome.survivors, everyone);
                assert!(outcome.sum == Some(plain_sum(&everyone, width, len)), "{n} {width:?} {seat}");
                assert!(outcome.blames.is_empty() && complaints.is_empty());
            }
        }
    }
}

#[test]
fn a_checked_blind_sum_opens_for_the_recipient_alone() {
    let done = run_all(&plan(params(4), 1), vec![blind(0, Width::W128, 5000)]);
    let outcomes: BTreeMap<Seat, Outcome> = done.into_iter().map(|(s, d)| (s, d.unwrap().0.remove(0))).collect();
    assert!(outcomes.values().all(|o| o.sum.is_none() && o.release.is_some()));
    let releases = outcomes.iter().map(|(s, o)| (*s, o.release.unwrap())).collect();
    let everyone: Vec<Seat> = (0..4).map(Seat).collect();
    let sum = unblind(&recipient(), outcomes[&HUB].blinded.as_ref().unwrap(), &releases).unwrap();
    assert!(sum == plain_sum(&everyone, Width::W128, 5000));
}

#[test]
fn seats_lost_between_any_two_steps_leave_a_checked_sum_of_the_survivors() {
    let numbers = 1..=12;
    for (number, blinded) in numbers.flat_map(|number| [(number, false), (number, true)]) {
        let the_round = if blinded { blind(0, Width::W64, 30) } else { round(0, Width::W64, 30) };
        let mut world = World::new(&plan(params(N), 1), &script(vec![the_round]));
        world.kills = [Seat(4), CHEAT].into_iter().map(|s| (s, step(number))).collect();
        world.run();
        let mut lists = BTreeSet::new();
        let mut releases = BTreeMap::new();
        let mut package = None;
        for (seat, done) in world.outcomes() {
            let outcome = done.unwrap_or_else(|e| panic!("{number} {seat}: {e}")).0.remove(0);
            let sum = plain_sum(&outcome.survivors, Width::W64, 30);
            assert!(blinded || outcome.sum == Some(sum), "{number} {seat}");
            package = package.or(outcome.blinded);
            releases.extend(outcome.release.map(|r| (seat, r)));
            lists.insert(outcome.survivors);
        }
        assert_eq!(lists.len(), 1, "{number}");
        let survivors = lists.pop_first().unwrap();
        if let Some(package) = package.filter(|_| survivors.iter().all(|s| releases.contains_key(s))) {
            assert_eq!(unblind(&recipient(), &package, &releases).unwrap(), plain_sum(&survivors, Width::W64, 30));
        }
    }
}

#[test]
fn the_vector_of_a_seat_lost_before_its_tags_is_shown_and_checked() {
    for tell in [true, false] {
        let mut world = World::new(&plan(params(N), 1), &script(vec![round(0, Width::W32, 9000)]));
        (world.log, world.tell) = (true, tell);
        world.kills = BTreeMap::from([(CHEAT, step(round_phase::VOTE))]);
        world.run();
        let everyone: Vec<Seat> = (0..N).map(Seat).collect();
        for (seat, done) in world.outcomes() {
            let outcome = done.unwrap_or_else(|e| panic!("{seat}: {e}")).0.remove(0);
            assert!(outcome.sum == Some(plain_sum(&everyone, Width::W32, 9000)));
        }
        let shown: usize =
            world.sent.iter().filter(|m| m.address.step == step(phase::SHOWN)).map(|m| m.body.len()).sum();
        assert_eq!(shown, 9000 * 4 * if tell { 5 } else { 6 }, "to the others that are not known to be lost");
    }
}

#[test]
fn a_shown_vector_other_than_its_header_is_refused() {
    let mut world = World::new(&plan(params(N), 1), &script(one(Width::W64)));
    world.kills = BTreeMap::from([(CHEAT, step(round_phase::VOTE))]);
    world.hook = Box::new(|mut m| {
        if m.address.step == step(phase::SHOWN) && m.address.to == Seat(5) {
            m.body[9] ^= 1;
        }
        vec![m]
    });
    world.run();
    let outcomes = world.outcomes();
    assert_eq!(blame_of(&outcomes, Seat(5)), Blame::seat(HUB, Offence::BadSum));
    assert!(outcomes[&Seat(6)].is_ok());
}

/// Runs rounds with an aggregator that changes the cells and carries before it claims them.
fn with_claim(rounds: Vec<Round>, cheat: fn(&mut (Vec<u8>, Vec<u8>))) -> BTreeMap<Seat, Done> {
    crate::verify::hub::CHEAT.set(Some(cheat));
    let mut world = World::new(&plan(params(N), 1), &script(rounds));
    world.run();
    crate::verify::hub::CHEAT.set(None);
    world.outcomes()
}

#[test]
fn a_claim_that_is_not_the_sum_convicts_the_aggregator() {
    for width in [Width::W32, Width::W64, Width::W128] {
        all_convict_the_aggregator(&with_claim(one(width), |sum| sum.0[9] ^= 0x80));
        all_convict_the_aggregator(&with_claim(one(width), |sum| sum.1[2] ^= 1));
    }
    all_convict_the_aggregator(&with_claim(vec![blind(0, Width::W64, 8200)], |sum| sum.0[8192 * 8 + 1] ^= 1));
    // A cell and its carry changed so that the element stays the same.
    all_convict_the_aggregator(&with_claim(one(Width::W64), |sum| sum.1[0] = sum.1[0].wrapping_add(1)));
}

#[test]
fn a_claim_that_is_wrong_beside_a_shown_vector_convicts_the_aggregator() {
    crate::verify::hub::CHEAT.set(Some(|sum| sum.0[3] ^= 1));
    let mut world = World::new(&plan(params(N), 1), &script(one(Width::W32)));
    world.kills = BTreeMap::from([(CHEAT, step(round_phase::VOTE))]);
    world.run();
    crate::verify::hub::CHEAT.set(None);
    let outcomes = world.outcomes();
    assert_convicts(&blame_of(&outcomes, Seat(1)), HUB, Offence::BadSum);
}

#[test]
fn a_claim_of_another_shape_is_refused_before_the_vote() {
    let outcomes = run(one(Width::W64), HUB, step(round_phase::SURVIVORS), |m| {
        vec![edit(m, |list: &mut ClaimedSurvivors| list.claim.shape = Shape { width: Width::W64, len: 21 })]
    });
    for seat in (1..N).map(Seat) {
        assert_eq!(blame_of(&outcomes, seat).offence, Offence::Malformed);
    }
}

#[test]
fn two_claims_for_the_same_survivors_are_not_both_opened() {
    let mut world = World::new(&plan(params(N), 1), &script(one(Width::W64)));
    world.log = true;
    world.hook = Box::new(|m| {
        let split = m.address.step == step(round_phase::SURVIVORS) && m.address.to.0 > 3;
        vec![if split { edit(m, |list: &mut ClaimedSurvivors| list.claim.root = Hash([1; 32])) } else { m }]
    });
    world.run();
    assert!(world.outcomes().values().all(Result::is_err));
    assert!(!world.sent.iter().any(|m| m.address.step == step(round_phase::UNMASK)), "nobody opens a share");
}

#[test]
fn bytes_other_than_the_claimed_ones_are_refused_by_who_got_them() {
    for at in [0, 8 * 20 + 5] {
        let outcomes = run(one(Width::W64), HUB, step(phase::MASKED_SUM), move |mut m| {
            m.body[at] ^= u8::from(m.address.to == CHEAT);
            vec![m]
        });
        let blame = blame_of(&outcomes, CHEAT);
        assert_eq!(blame, Blame::seat(HUB, Offence::BadSum));
        assert!(!verify_blame(&seating(N), &blame), "the network may have changed them");
        assert!(outcomes.iter().filter(|(s, _)| **s != CHEAT).all(|(_, done)| done.is_ok()));
    }
}

#[test]
fn a_secret_other_than_that_of_the_signed_keys_convicts_the_aggregator() {
    let lost = BTreeMap::from([(Seat(6), step(round_phase::MASKED))]);
    // b of a survivor, s of the lost seat.
    for seat in [Seat(2), Seat(6)] {
        let mut world = World::new(&plan(params(N), 1), &script(one(Width::W64)));
        world.kills = lost.clone();
        world.hook = Box::new(move |m| {
            let proof = m.address.step == step(phase::PROOF);
            let wrong = |p: &mut Proof| p.secrets.iter_mut().find(|(s, _)| *s == seat).unwrap().1[0] ^= 1;
            vec![if proof { edit(m, wrong) } else { m }]
        });
        world.run();
        let outcomes = world.outcomes();
        for other in (1..6).map(Seat) {
            assert_convicts(&blame_of(&outcomes, other), HUB, Offence::BadSum);
        }
    }
}

#[test]
fn a_secret_too_few_or_of_another_seat_is_refused() {
    let cases: [fn(&mut Proof); 3] =
        [|p| p.secrets.truncate(6), |p| p.secrets[1] = p.secrets[0], |p| p.secrets[6].0 = Seat(9)];
    for cheat in cases {
        let outcomes = run(one(Width::W64), HUB, step(phase::PROOF), move |m| vec![edit(m, cheat)]);
        for seat in (1..N).map(Seat) {
            assert_eq!(blame_of(&outcomes, seat).offence, Offence::BadSum);
        }
    }
}

#[test]
fn a_proof_that_is_not_whole_convicts_the_aggregator() {
    let cases: [fn(&mut Proof); 5] = [
        |p| p.tags.truncate(6),
        |p| p.tags[2] = p.tags[1].clone(),
        |p| {
            let tag = p.tags[2].clone();
            let mut body: Tags = tag.open().unwrap();
            body.tags[0][0] ^= 1;
            p.tags[2] = Signed::with_key(&keys(N)[0], tag.seat, &tag, &body);
        },
        |p| p.shown.push(Seat(2)),
        |p| p.survivors = Hash([0; 32]),
    ];
    for cheat in cases {
        let outcomes = run(one(Width::W64), HUB, step(phase::PROOF), move |m| vec![edit(m, cheat)]);
        all_convict_the_aggregator(&outcomes);
    }
}

#[test]
fn tags_of_another_vector_convict_their_signer_and_the_sum_is_still_checked() {
    for width in [Width::W32, Width::W128] {
        let outcomes =
            run(one(width), CHEAT, step(phase::TAGS), |m| vec![edit(m, |tags: &mut Tags| tags.tags[0][0] ^= 1)]);
        let everyone: Vec<Seat> = (0..N).map(Seat).collect();
        for (seat, done) in &outcomes {
            let outcome = &done.as_ref().unwrap_or_else(|e| panic!("{seat}: {e}")).0[0];
            assert!(outcome.sum == Some(plain_sum(&everyone, width, 20)), "{seat}");
        }
        let blames = &outcomes[&HUB].as_ref().unwrap().0[0].blames;
        assert_eq!(blames.len(), 1);
        assert_convicts(&blames[0], CHEAT, Offence::BadInput);
    }
    // Right tags convict nobody.
    let mut world = World::new(&plan(params(N), 1), &script(one(Width::W64)));
    world.log = true;
    world.run();
    let find = |phase: u16, from: Seat| {
        world.sent.iter().find(|m| m.address.step == step(phase) && m.address.from == from).unwrap().body.clone()
    };
    let masked = &find(round_phase::MASKED, CHEAT)[..160];
    let piece = tacit_types::wire::encode(&(0u32, Shape { width: Width::W64, len: 20 }.open(0, masked, &[])));
    let blame = Blame::seat(CHEAT, Offence::BadInput).with(find(round_phase::SURVIVORS, HUB));
    assert!(!verify_blame(&seating(N), &blame.with(find(phase::TAGS, CHEAT)).with(piece)));
}

#[test]
fn tags_that_are_none_are_replaced_by_the_vector() {
    let cases: [fn(&mut Tags); 3] = [|t| t.tags.clear(), |t| t.tags[0] = [0xff; 16], |t| t.survivors = Hash([0; 32])];
    for cheat in cases {
        let outcomes = run(one(Width::W64), CHEAT, step(phase::TAGS), move |m| vec![edit(m, cheat)]);
        assert!(outcomes.values().all(Result::is_ok));
        assert_eq!(outcomes[&HUB].as_ref().unwrap().0[0].blames, [Blame::seat(CHEAT, Offence::Malformed)]);
    }
}

#[test]
fn a_digest_of_another_blinded_sum_convicts_the_aggregator() {
    for (width, len, piece) in [(Width::W64, 20, 0), (Width::W32, 8200, 1), (Width::W128, 4100, 1)] {
        let outcomes = run(vec![blind(0, width, len)], HUB, step(round_phase::RESULT), move |m| {
            vec![edit(m, |p: &mut PieceDigest| p.leaves[piece].0[0] ^= 1)]
        });
        all_convict_the_aggregator(&outcomes);
    }
    let outcomes = run(vec![blind(0, Width::W64, 20)], HUB, step(round_phase::RESULT), |m| {
        vec![edit(m, |p: &mut PieceDigest| p.leaves.clear())]
    });
    all_convict_the_aggregator(&outcomes);
}

#[test]
fn honest_messages_of_a_checked_round_convict_nobody() {
    let mut world = World::new(&plan(params(N), 1), &script(vec![blind(0, Width::W64, 20)]));
    world.log = true;
    world.run();
    let find = |number: u16| {
        world.sent.iter().find(|m| m.address.step == step(number) && m.address.from == HUB).unwrap().body.clone()
    };
    let (list, proof) = (find(round_phase::SURVIVORS), find(phase::PROOF));
    let (start, digest, sum) = (find(round_phase::START), find(round_phase::RESULT), find(phase::MASKED_SUM));
    let shape = Shape { width: Width::W64, len: 20 };
    let piece = shape.open(0, &sum[..160], &sum[160..]);
    let wrong = crate::verify::evidence::WrongPiece { index: 0, sum: piece.clone(), shown: vec![] };
    let story = vec![1, 2, 3];
    let blame = || Blame::seat(HUB, Offence::BadSum).with(list.clone()).with(proof.clone());
    let index = tacit_types::wire::encode(&(0u32, piece));
    for blame in [
        blame(),
        blame().with(tacit_types::wire::encode(&wrong)),
        blame().with(start.clone()).with(story.clone()),
        blame().with(start).with(story).with(digest).with(index),
    ] {
        assert!(!verify_blame(&seating(N), &blame), "{} pieces", blame.evidence.len());
    }
}

#[test]
fn a_drawn_graph_checks_its_sum() {
    let params = Params::sparse(200, 4, 4).unwrap().verified();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W32, 16)]));
    world.kills = [(Seat(7), step(round_phase::MASKED)), (Seat(90), step(round_phase::VOTE))].into();
    world.run();
    for (seat, done) in world.outcomes() {
        let outcome = done.unwrap_or_else(|e| panic!("{seat}: {e}")).0.remove(0);
        assert_eq!(outcome.survivors.len(), 199);
        assert_eq!(outcome.sum, Some(plain_sum(&outcome.survivors, Width::W32, 16)), "{seat}");
    }
}

#[test]
fn seats_of_different_modes_share_no_key() {
    let mut plans = vec![plan(params(N), 1); usize::from(N)];
    plans[CHEAT.index()].params = Params::new(N).unwrap();
    let mut world = World::with_plans(&plans, &script(one(Width::W64)));
    world.run();
    let outcomes = world.outcomes();
    assert_eq!(outcomes[&HUB].as_ref().err(), Some(&Abort::Disagreement { seats: vec![CHEAT] }));
}

#[test]
fn vectors_beyond_what_is_kept_are_refused_before_the_key_is_used() {
    let most = VERIFIED_BYTES_MAX / 8 / 3;
    let round = |len| round(0, Width::W64, len);
    assert!(crate::verify::check(&params(3), &round(most)).is_ok());
    let fault = crate::verify::check(&params(3), &round(most + 1)).unwrap_err();
    assert_eq!(fault.code, Code::RefusedParameters);
    assert!(crate::verify::check(&Params::new(3).unwrap(), &round(most + 1)).is_ok());
}

#[test]
fn evidence_with_a_claim_beyond_every_limit_convicts_nobody_and_allocates_nothing() {
    let mut world = World::new(&plan(params(N), 1), &script(one(Width::W64)));
    world.log = true;
    world.run();
    let find = |number: u16| {
        world.sent.iter().find(|m| m.address.step == step(number) && m.address.from == HUB).unwrap().clone()
    };
    for len in [VERIFIED_BYTES_MAX as u64 / 8 + 1, u64::MAX] {
        let list = edit(find(round_phase::SURVIVORS), |l: &mut ClaimedSurvivors| l.claim.shape.len = len);
        let hash = crate::verify::List::read(&Signed::read(&list.body).unwrap()).map(|l| l.hash);
        assert_eq!(hash, None, "{len}");
        let proof = edit(find(phase::PROOF), |p: &mut Proof| {
            p.shown = (0..N).map(Seat).collect();
            p.tags.clear();
        });
        let blame = Blame::seat(HUB, Offence::BadSum).with(list.body).with(proof.body);
        assert!(!verify_blame(&seating(N), &blame));
    }
}
