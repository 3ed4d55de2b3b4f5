//! Attacks that worked on deployed systems, tried here: both shares of one party's secrets, a vector
//! that arrives late, one key for two vectors.

use super::*;
use crate::keys::{self, PeerKeys};
use crate::merkle::Secret as Kind;
use crate::messages::Bundle;
use crate::plan::{round_phase, setup_phase};
use crate::signed::Signed;
use crate::verify::{Proof, phase};

const LATE: Seat = Seat(3);

#[test]
fn a_vector_that_arrives_late_stays_masked_for_good() {
    // The last part of seat 3's vector arrives when the openings do. What is opened of it is s, with which
    // the others' masks come off; b, under which its own vector lies, is not opened, then or later.
    let params = Params::new(7).unwrap().verified();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W64, 20)]));
    world.log = true;
    let (masked, unmask) = (Step::new(BASE + 1, round_phase::MASKED), Step::new(BASE + 1, round_phase::UNMASK));
    let mut kept = None;
    world.hook = Box::new(move |m| {
        if m.address.from == LATE && m.address.step == masked {
            kept = Some(m);
            return vec![];
        }
        if m.address.step == unmask { kept.take().into_iter().chain([m]).collect() } else { vec![m] }
    });
    world.run();
    let find = |from: Seat, at: Step| {
        let sent = world.sent.iter().find(|m| m.address.from == from && m.address.step == at);
        Signed::read(&sent.unwrap().body).unwrap()
    };
    let bundle: Bundle = find(LATE, Step::new(BASE, setup_phase::BUNDLE)).open().unwrap();
    let proof: Proof = find(Seat(0), Step::new(BASE + 1, phase::PROOF)).open().unwrap();
    let (_, opened) = proof.secrets.iter().find(|(seat, _)| *seat == LATE).unwrap();
    let opened = tacit_crypto::SecretScalar::from_canonical(opened).unwrap();
    let public = PeerKeys::decode(&bundle.keys[0]).unwrap();
    assert!(opened.public() == public.mask && keys::self_hash(LATE, 0, &opened) != public.own);
    assert!(proof.secrets.iter().all(|(seat, s)| {
        let b = tacit_crypto::SecretScalar::from_canonical(s).unwrap();
        *seat == LATE || keys::self_hash(LATE, 0, &b) != public.own
    }));
    let rest: Vec<Seat> = (0..7).map(Seat).filter(|s| *s != LATE).collect();
    for (seat, done) in world.outcomes().into_iter().filter(|(s, _)| *s != LATE) {
        let outcome = done.unwrap_or_else(|e| panic!("{seat}: {e}")).0.remove(0);
        assert_eq!(outcome.sum, Some(plain_sum(&rest, Width::W64, 20)));
    }
}

#[test]
fn a_holder_gives_one_kind_of_a_dealers_shares_and_the_other_is_gone() {
    let plan = plan(Params::new(4).unwrap(), 2);
    let mut world = World::custom(4, move |_| -> Protocol<usize> {
        let plan = plan.clone();
        Box::new(move |mut party| {
            let plan = plan.clone();
            Box::pin(async move {
                let mut epoch = setup(&mut party, &plan).await?;
                let mut opened = 0;
                for (dealer, held) in &mut epoch.held {
                    let (first, second) =
                        if dealer.0 % 2 == 0 { (Kind::Own, Kind::Mask) } else { (Kind::Mask, Kind::Own) };
                    assert!(held.open(0, first).is_some());
                    assert!(held.open(0, second).is_none() && held.open(0, first).is_none(), "{dealer}");
                    assert!(held.shares[1].is_some(), "of the other round key nothing is gone");
                    opened += 1;
                }
                Ok(opened)
            })
        })
    });
    world.run();
    assert!(world.outcomes().into_values().all(|opened| opened.unwrap() == 4));
}

#[test]
fn equal_vectors_under_two_keys_of_one_epoch_share_nothing() {
    let rounds = vec![round(0, Width::W64, 4000), round(1, Width::W64, 4000)];
    let mut world = World::new(&plan(Params::new(3).unwrap(), 2), &script(rounds));
    world.log = true;
    world.run();
    let of = |rho: u16| {
        let at = Step::new(BASE + 1 + rho, round_phase::MASKED);
        world.sent.iter().find(|m| m.address.from == Seat(1) && m.address.step == at).unwrap().body.clone()
    };
    let (first, second) = (of(0), of(1));
    let same = first[..32_000].chunks(8).zip(second[..32_000].chunks(8)).filter(|(a, b)| a == b).count();
    assert_eq!(same, 0);
}
