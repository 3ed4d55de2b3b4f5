use tacit_crypto::{Rng, SealKey};
use tacit_types::{Code, Unit};

use super::*;
use crate::params::TwoParty;
use crate::{PHASES, unblind};

fn check(params: Params, width: Width, len: usize) {
    let n = params.seats();
    let everyone: Vec<Seat> = (0..n).map(Seat).collect();
    for (seat, done) in run_all(&plan(params, 1), vec![round(0, width, len)]) {
        let (outcomes, complaints) = done.unwrap_or_else(|e| panic!("{n} {width:?} {seat}: {e}"));
        assert_eq!(outcomes[0].survivors, everyone);
        assert_eq!(outcomes[0].sum, Some(plain_sum(&everyone, width, len)), "{n} {width:?} {seat}");
        assert!(outcomes[0].blames.is_empty() && complaints.is_empty());
    }
}

#[test]
fn sums_are_those_of_the_plain_vectors() {
    for n in [3, 4, 5, 10, 30] {
        for width in [Width::W32, Width::W64, Width::W128] {
            check(Params::new(n).unwrap(), width, 33);
        }
    }
}

#[test]
fn vectors_of_many_chunks_and_of_one_number_sum() {
    // A chunk is 1 MiB: 300,001 numbers of 4 bytes end within the second.
    for len in [1, 300_001] {
        check(Params::new(3).unwrap(), Width::W32, len);
    }
}

#[test]
fn two_parties_sum_only_when_both_asked_for_it() {
    check(Params::two(TwoParty::NoiseForOne).unwrap(), Width::W64, 5);
}

#[test]
fn any_seat_can_aggregate() {
    for aggregator in [1, 3] {
        let plan = Plan { aggregator: Seat(aggregator), ..plan(Params::new(4).unwrap(), 1) };
        for (_, done) in run_all(&plan, vec![round(0, Width::W64, 9)]) {
            let everyone: Vec<Seat> = (0..4).map(Seat).collect();
            assert_eq!(done.unwrap().0[0].sum, Some(plain_sum(&everyone, Width::W64, 9)));
        }
    }
}

#[test]
fn one_set_up_serves_rounds_of_different_shapes_in_any_order() {
    let rounds = vec![round(2, Width::W32, 10), round(0, Width::W128, 3), round(1, Width::W64, 70)];
    let everyone: Vec<Seat> = (0..4).map(Seat).collect();
    for (_, done) in run_all(&plan(Params::new(4).unwrap(), 3), rounds.clone()) {
        for (outcome, round) in done.unwrap().0.iter().zip(&rounds) {
            assert_eq!(outcome.sum, Some(plain_sum(&everyone, round.width, round.len)));
        }
    }
}

#[test]
fn a_round_key_is_consumed_before_use_and_never_used_again() {
    let plan = plan(Params::new(3).unwrap(), 2);
    let rounds = vec![round(0, Width::W64, 4), round(0, Width::W64, 4)];
    let mut world = World::new(&plan, &script(rounds));
    world.log = true;
    world.run();
    for (seat, done) in world.outcomes() {
        assert_eq!(done.unwrap_err().code(), Code::JobInternal, "{seat}");
    }
    for seat in (0..3).map(Seat) {
        let records: Vec<&Vec<u8>> = world.records.iter().filter(|(s, ..)| *s == seat).map(|(_, r, _)| r).collect();
        let order = ["consume", "vote", "open"];
        assert_eq!(records.len(), order.len());
        for (record, word) in records.iter().zip(order) {
            assert!(record.starts_with(format!("tacit-secagg/1/{word}/").as_bytes()));
        }
    }
    // Nothing of the second use of the key was ever sent.
    let starts = world.sent.iter().filter(|m| m.address.step == Step::new(BASE + 1, 1)).count();
    assert_eq!(starts, 2, "the aggregator's terms, once to each of two seats");
}

#[test]
fn each_decision_is_durable_before_the_message_that_it_allows() {
    let plan = plan(Params::new(3).unwrap(), 1);
    let mut world = World::new(&plan, &script(vec![round(0, Width::W64, 4)]));
    world.log = true;
    world.run();
    for (word, phase) in [("consume", 2), ("vote", 5), ("open", 7)] {
        for seat in [Seat(1), Seat(2)] {
            let prefix = format!("tacit-secagg/1/{word}/");
            let asked =
                world.records.iter().find(|(s, r, _)| *s == seat && r.starts_with(prefix.as_bytes())).unwrap().2;
            let step = Step::new(BASE + 1, phase);
            let first = world.sent.iter().position(|m| m.address.from == seat && m.address.step == step).unwrap();
            assert!(asked <= first, "{word} {seat}");
        }
    }
}

fn blind_round(key: &SealKey) -> Round {
    let delivery = Delivery::Recipient { key: key.public(), disclosure: disclosure() };
    Round { delivery, ..round(0, Width::W64, 4000) }
}

#[test]
fn only_the_recipient_with_every_release_reads_a_blinded_sum() {
    let mut rng = Rng::from_seed(&Secret::new([3; 32]));
    let (key, other) = (SealKey::generate(&mut rng), SealKey::generate(&mut rng));
    let done = run_all(&plan(Params::new(4).unwrap(), 1), vec![blind_round(&key)]);
    let outcomes: BTreeMap<Seat, Outcome> = done.into_iter().map(|(s, d)| (s, d.unwrap().0.remove(0))).collect();
    assert!(outcomes.values().all(|o| o.sum.is_none() && o.release.is_some()));
    assert!(outcomes.iter().all(|(s, o)| o.blinded.is_some() == (*s == Seat(0))));
    let blinded = outcomes[&Seat(0)].blinded.clone().unwrap();
    assert!(blinded.verify(&seating(4)));
    let releases: BTreeMap<Seat, _> = outcomes.iter().map(|(s, o)| (*s, o.release.unwrap())).collect();
    let everyone: Vec<Seat> = (0..4).map(Seat).collect();
    let sum = plain_sum(&everyone, Width::W64, 4000);
    assert_eq!(blinded.survivors(), everyone);
    assert_eq!(unblind(&key, &blinded, &releases).unwrap(), sum);

    // What the aggregator holds has nothing in common with the sum.
    let Vector::W64(sum) = &sum else { unreachable!() };
    let Some(Vector::W64(view)) = Vector::from_bytes(Width::W64, &blinded.vector) else { unreachable!() };
    assert!(view.iter().zip(sum).all(|(a, b)| a != b));
    assert_balanced(&blinded.vector);

    assert_eq!(unblind(&other, &blinded, &releases).unwrap_err().code, Code::JobNotOurs);
    assert_eq!(blinded.commits(Seat(4), releases.get(&Seat(0))), None);
    for seat in 0..4 {
        // Whoever has the blinded sum tells a false release from a true one, and needs no key for it.
        let commits = |of: u16| blinded.commits(Seat(seat), releases.get(&Seat(of)));
        assert_eq!((commits(seat), commits((seat + 1) % 4), commits(9)), (Some(true), Some(false), Some(false)));
        let mut fewer = releases.clone();
        let taken = fewer.remove(&Seat(seat)).unwrap();
        assert_eq!(unblind(&key, &blinded, &fewer).unwrap_err().code, Code::ReceiptInvalid);
        fewer.insert(Seat(seat), releases[&Seat((seat + 1) % 4)]);
        assert_eq!(unblind(&key, &blinded, &fewer).unwrap_err().code, Code::ReceiptInvalid);
        fewer.insert(Seat(seat), crate::Release { point: *other.scalar().public().as_bytes() });
        assert_ne!(fewer[&Seat(seat)], taken);
        assert_eq!(unblind(&key, &blinded, &fewer).unwrap_err().code, Code::ReceiptInvalid);
    }
    let mut forged = blinded.clone();
    forged.headers[1].body.0[0] ^= 1;
    assert!(!forged.verify(&seating(4)));
    let mut twice = blinded;
    twice.headers.push(twice.headers[0].clone());
    assert_eq!(unblind(&key, &twice, &releases).unwrap_err().code, Code::ReceiptInvalid);
}

/// Ones among the bits: binomial(bits, 1/2) for a uniform vector; six standard deviations allowed.
fn assert_balanced(bytes: &[u8]) {
    let bits = bytes.len() as f64 * 8.0;
    let ones: u32 = bytes.iter().map(|b| b.count_ones()).sum();
    assert!((f64::from(ones) - bits / 2.0).abs() < 6.0 * bits.sqrt() / 2.0, "{ones} of {bits}");
    // Bytes: chi-square with 255 degrees of freedom, mean 255 and standard deviation 22.6.
    let mut counts = [0f64; 256];
    bytes.iter().for_each(|b| counts[usize::from(*b)] += 1.0);
    let expected = bytes.len() as f64 / 256.0;
    let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    assert!((chi - 255.0).abs() < 6.0 * 22.6, "{chi}");
}

#[test]
fn a_masked_vector_looks_uniform_and_differs_between_equal_inputs() {
    let same: Script = Arc::new(|_| vec![(round(0, Width::W32, 20_000), Vector::W32(vec![5; 20_000]))]);
    let mut world = World::new(&plan(Params::new(3).unwrap(), 1), &same);
    world.log = true;
    world.run();
    let masked: Vec<Vec<u8>> = world
        .sent
        .iter()
        .filter(|m| m.address.step == Step::new(BASE + 1, 2))
        .map(|m| m.body[..80_000].to_vec())
        .collect();
    assert_eq!(masked.len(), 2);
    masked.iter().for_each(|bytes| assert_balanced(bytes));
    assert!(masked[0].chunks(4).zip(masked[1].chunks(4)).filter(|(a, b)| a == b).count() < 3);
}

#[test]
fn every_payload_is_metered_and_every_opening_counted_at_every_seat() {
    let mut world = World::new(&plan(Params::new(3).unwrap(), 1), &script(vec![round(0, Width::W64, 12)]));
    world.run();
    for machine in &world.machines {
        let usage = machine.usage();
        assert_eq!(usage.opened["sum"], 12);
        assert!(usage.sent.values().sum::<u64>() > 0);
        assert_eq!(usage.units.get(&Unit::CellIn), None, "cells are metered by the job kind");
    }
}

#[test]
fn a_disclosure_that_the_job_does_not_list_opens_nothing() {
    let other = Disclosure { what: "rows".into(), ..disclosure() };
    let hidden = Round { delivery: Delivery::Nodes(other), ..round(0, Width::W64, 12) };
    for (seat, done) in run_all(&plan(Params::new(3).unwrap(), 1), vec![hidden]) {
        match done {
            Err(Abort::Undisclosed(_)) => assert_eq!(seat, Seat(0)),
            Err(Abort::Missing { seats, .. }) => assert_eq!(seats, [Seat(0)]),
            other => panic!("{seat}: {:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn a_source_that_does_not_fit_or_fails_sends_nothing() {
    let short: Script = Arc::new(|_| vec![(round(0, Width::W32, 9), Vector::W32(vec![1; 8]))]);
    let mut world = World::new(&plan(Params::new(3).unwrap(), 1), &short);
    world.log = true;
    world.run();
    assert!(world.outcomes().into_values().all(|d| d.unwrap_err().code() == Code::JobInternal));
    assert!(world.sent.iter().all(|m| m.address.step.round() == BASE));
}

#[test]
fn a_plan_for_other_seats_is_refused() {
    let good = plan(Params::new(4).unwrap(), 1);
    assert!(good.check(4).is_ok());
    assert_eq!(good.check(5).unwrap_err().code, Code::RefusedParties);
    let plans = [
        (Plan { aggregator: Seat(4), ..good.clone() }, Code::RefusedParties),
        (Plan { rounds: 0, ..good.clone() }, Code::RefusedParameters),
        (Plan { rounds: 33, ..good.clone() }, Code::RefusedParameters),
        (Plan { step_ms: 0, ..good.clone() }, Code::RefusedParameters),
        (Plan { step_base: u16::MAX - 1, ..good.clone() }, Code::RefusedParameters),
    ];
    for (plan, code) in plans {
        assert_eq!(plan.check(4).unwrap_err().code, code, "{plan:?}");
    }
    assert!(Plan { rounds: 32, ..good }.check(4).is_ok());
}

#[test]
fn phases_have_distinct_names() {
    for (i, phase) in PHASES.iter().enumerate() {
        assert!(
            PHASES[i + 1..].iter().all(|p| p.name != phase.name && (p.setup, p.number) != (phase.setup, phase.number))
        );
    }
}
