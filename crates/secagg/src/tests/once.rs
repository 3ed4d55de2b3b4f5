//! A round key is used once, across a crash at any moment: its record is durable before its first
//! use, and a node that comes back finds no key to use again.

use tacit_types::Code;

use super::*;
use crate::epoch::record;
use crate::params::TwoParty;
use crate::plan::round_phase;

/// What a disk would hold: the records that were acknowledged.
fn consumed(world: &World<'_>, seat: Seat) -> Vec<Vec<u8>> {
    let of = |(s, r, _): &(Seat, Vec<u8>, usize)| {
        (*s == seat && r.starts_with(b"tacit-secagg/1/consume/")).then(|| r.clone())
    };
    world.records.iter().filter_map(of).collect()
}

fn masked_of(world: &World<'_>, seat: Seat) -> Vec<Vec<u8>> {
    let masked = |m: &&Message| m.address.from == seat && m.address.step.phase() == round_phase::MASKED;
    world.sent.iter().filter(masked).filter(|m| m.address.step.round() > BASE).map(|m| m.body.clone()).collect()
}

/// Runs three rounds on three keys and kills seat 2 at a step; gives the world at the end.
fn crash(at: Step, context: u8) -> World<'static> {
    let plan = Plan { context: Hash([context; 32]), ..plan(Params::new(4).unwrap(), 3) };
    let rounds = (0..3).map(|index| round(index, Width::W64, 6)).collect();
    let mut world = World::new(&plan, &script(rounds));
    world.log = true;
    world.kills = BTreeMap::from([(Seat(2), at)]);
    world.run();
    world
}

#[test]
fn every_masked_vector_has_its_record_on_disk_and_no_key_two_vectors() {
    for index in 0..3u16 {
        for phase in 1..=8 {
            let world = crash(Step::new(BASE + 1 + index, phase), 7);
            let (records, masked) = (consumed(&world, Seat(2)), masked_of(&world, Seat(2)));
            let distinct: BTreeSet<&Vec<u8>> = records.iter().collect();
            assert_eq!(distinct.len(), records.len(), "{index} {phase}: a key was consumed twice");
            assert!(masked.len() <= records.len(), "{index} {phase}: a vector left before its key was consumed");
            assert!(records.len() <= masked.len() + 1);
        }
    }
}

#[test]
fn a_node_that_comes_back_never_masks_under_a_key_of_before() {
    // The attempt before the crash and the one after it have another context, so another T1 and other
    // keys; each record names its T1, so none of the later epoch's is among the earlier ones.
    let crashed = crash(Step::new(BASE + 2, round_phase::VOTE), 7);
    let again = crash(Step::new(BASE + 3, round_phase::RESULT), 8);
    let (before, after) = (consumed(&crashed, Seat(2)), consumed(&again, Seat(2)));
    assert_eq!((before.len(), after.len()), (2, 3));
    assert!(before.iter().all(|r| !after.contains(r)));
    let (old, new) = (masked_of(&crashed, Seat(2)), masked_of(&again, Seat(2)));
    assert!(old.iter().all(|v| !new.contains(v)), "the same numbers under another mask");
}

#[test]
fn a_record_that_is_not_durable_lets_nothing_leave() {
    let plan = plan(Params::new(3).unwrap(), 1);
    let mut world = World::new(&plan, &script(vec![round(0, Width::W64, 4)]));
    world.log = true;
    world.lost_records = true;
    world.run();
    assert!(world.sent.iter().all(|m| m.address.step.round() == BASE), "only the set-up");
    assert_eq!(world.records.len(), 3, "each seat asked once and waits");
}

#[test]
fn a_key_beyond_those_dealt_is_refused() {
    for (_, done) in run_all(&plan(Params::new(3).unwrap(), 2), vec![round(2, Width::W64, 4)]) {
        assert_eq!(done.unwrap_err().code(), Code::JobInternal);
    }
}

#[test]
fn records_of_two_keys_rounds_or_decisions_differ() {
    let (a, b) = (Hash([1; 32]), Hash([2; 32]));
    let all = [
        record("consume", &a, 0, &a),
        record("consume", &a, 1, &a),
        record("consume", &b, 0, &a),
        record("vote", &a, 0, &a),
        record("vote", &a, 0, &b),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn one_party_cannot_be_planned_and_two_only_by_a_reason_that_everyone_holds() {
    for n in [0, 1] {
        assert_eq!(Params::new(n).unwrap_err().code, Code::RefusedParties);
        assert_eq!(Params::complete(n, 0).unwrap_err().code, Code::RefusedParties);
    }
    assert_eq!(Params::new(2).unwrap_err().code, Code::RefusedParties);
    // A plan for more parties than sit here, or fewer, is none either.
    let two = plan(Params::two(TwoParty::ThirdPartyRecipient).unwrap(), 1);
    assert_eq!([1, 3].map(|n| two.check(n).unwrap_err().code), [Code::RefusedParties; 2]);
    assert!(two.check(2).is_ok());
    // One party opted in for another reason: they share no key, and nothing is summed.
    let other = Plan { params: Params::two(TwoParty::NoiseForOne).unwrap(), ..two.clone() };
    let mut world = World::with_plans(&[two, other], &script(vec![round(0, Width::W64, 4)]));
    world.log = true;
    world.run();
    assert!(world.outcomes().values().all(Result::is_err));
    assert!(world.sent.iter().all(|m| m.address.step.round() == BASE));
}
