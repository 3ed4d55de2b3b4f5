//! Sums without drop-out.

use std::collections::BTreeMap;

use tacit_crypto::{SealKey, Secret};
use tacit_protocol::{Abort, Audience, Disclosure, Offence};
use tacit_types::{Code, Hash, Seat};

use super::{Protocol, STEP_MS, World, input, plain_sum};
use crate::collect::phase;
use crate::{Collection, Outcome, Release, Signed, Width, collect, unblind};

const ROUND: u16 = 40;
const LEN: usize = 300_000;

fn recipient() -> SealKey {
    SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap()
}

fn plan() -> Collection {
    Collection {
        context: Hash([7; 32]),
        query: Hash([8; 32]),
        collector: Seat(0),
        step_ms: STEP_MS,
        round: ROUND,
        recipient: recipient().public(),
        disclosure: Disclosure { what: "sum".into(), to: Audience::Nodes, cells_max: 1 << 30 },
    }
}

fn protocol(plan: Collection, width: Width, len: usize) -> Protocol<Outcome> {
    Box::new(move |mut party| {
        let plan = plan.clone();
        Box::pin(async move {
            let vector = input(party.seat(), width, len);
            collect(&mut party, &plan, &vector).await
        })
    })
}

fn world(n: u16, width: Width, len: usize) -> World<'static, Outcome> {
    World::custom(n, |_| protocol(plan(), width, len))
}

fn seats(n: u16) -> Vec<Seat> {
    (0..n).map(Seat).collect()
}

#[test]
fn the_recipient_alone_reads_the_sum_of_all_seats() {
    for (n, width) in [(2, Width::W64), (3, Width::W128), (5, Width::W64), (9, Width::W32)] {
        let mut world = world(n, width, LEN);
        world.log = true;
        world.run();
        let done: BTreeMap<Seat, Outcome> = world.outcomes().into_iter().map(|(s, o)| (s, o.unwrap())).collect();
        let blinded = done[&Seat(0)].blinded.clone().unwrap();
        let releases: BTreeMap<Seat, Release> = done.iter().map(|(s, o)| (*s, o.release.unwrap())).collect();
        assert!(done.values().all(|o| o.survivors == seats(n)));
        assert!(done.iter().all(|(s, o)| o.blinded.is_some() == (*s == Seat(0))));
        assert_eq!(unblind(&recipient(), &blinded, &releases).unwrap(), plain_sum(&seats(n), width, LEN));
        let mut fewer = releases.clone();
        fewer.remove(&Seat(1));
        assert_eq!(unblind(&recipient(), &blinded, &fewer).unwrap_err().code, Code::ReceiptInvalid);
        // One vector up from each seat but the collector, and what is small beside it.
        let up: u64 = world.machines[1].usage().sent.values().sum();
        assert!(up > (LEN * width.bytes()) as u64 && up < (LEN * width.bytes()) as u64 + 400 * u64::from(n), "{up}");
        assert!(world.sent.iter().all(|m| m.address.step.round() == ROUND));
    }
}

#[test]
fn equal_inputs_leave_as_unrelated_bytes() {
    // What the collector sees of a seat is its vector under pair and recipient masks: flipping every bit of the
    // input changes half the bits of nothing that could be told from any other run.
    let masked = |flip: bool| {
        let mut world = World::custom(3, |_| {
            let plan = plan();
            Box::new(move |mut party: tacit_protocol::Party| {
                let plan = plan.clone();
                Box::pin(async move {
                    let fill = if flip { u64::MAX } else { 0 };
                    collect(&mut party, &plan, &crate::Vector::W64(vec![fill; 4096])).await
                }) as core::pin::Pin<Box<dyn Future<Output = Result<Outcome, Abort>> + Send>>
            }) as Protocol<Outcome>
        });
        world.log = true;
        world.run();
        let of = |m: &&tacit_protocol::Message| m.address.from == Seat(1) && m.address.step.phase() == phase::MASKED;
        world.sent.iter().find(of).unwrap().body.clone()
    };
    for bytes in [masked(false), masked(true)] {
        let ones: u32 = bytes[..4096 * 8].iter().map(|b| b.count_ones()).sum();
        let half = 4096 * 8 * 4;
        assert!(ones.abs_diff(half) < 6 * 362 / 2, "{ones} of {half}");
    }
}

#[test]
fn a_lost_seat_ends_it_for_all_and_is_named() {
    for lost in [Seat(0), Seat(2)] {
        let mut world = world(3, Width::W64, 1000);
        world.kills.insert(lost, tacit_types::Step::new(ROUND, phase::MASKED));
        world.run();
        for (seat, outcome) in world.outcomes() {
            // Who waits for the collector cannot tell whom the collector waits for.
            let abort = outcome.unwrap_err();
            assert!(
                matches!(&abort, Abort::Missing { seats, .. } if seats.contains(&lost) || seats == &[Seat(0)]),
                "{seat}: {abort}"
            );
        }
        assert!(world.now.0 <= 10 * STEP_MS);
    }
}

#[test]
fn every_altered_message_is_caught_or_changes_nothing_that_opens() {
    for (number, from, to) in [(phase::POINT, 1, 0), (phase::POINT, 1, 2), (phase::MASKED, 1, 0), (phase::RESULT, 0, 2)]
    {
        for at in [0, 40, 60, 110, 170] {
            let mut world = world(3, Width::W64, 100);
            world.hook = Box::new(move |mut m| {
                let a = m.address;
                if (a.step.phase(), a.from, a.to) == (number, Seat(from), Seat(to)) {
                    let i = at % m.body.len();
                    m.body[i] ^= 1;
                }
                vec![m]
            });
            world.run();
            let outcome = world.outcomes().remove(&Seat(to)).unwrap();
            assert!(
                matches!(&outcome, Err(abort @ Abort::Misbehaved { .. }) if abort.seat() == Some(Seat(from))),
                "phase {number}, byte {at}: {outcome:?}"
            );
        }
    }
}

#[test]
fn seats_with_different_queries_sum_nothing() {
    let other = Collection { query: Hash([9; 32]), ..plan() };
    let mut world =
        World::custom(3, |seat| protocol(if seat == Seat(1) { other.clone() } else { plan() }, Width::W64, 100));
    world.run();
    for (seat, outcome) in world.outcomes() {
        let named: &[Seat] = if seat == Seat(1) { &[Seat(0), Seat(2)] } else { &[Seat(1)] };
        let abort = outcome.unwrap_err();
        assert!(matches!(&abort, Abort::Misbehaved { blame, .. } if blame.offence == Offence::Signature), "{abort}");
        assert!(abort.seat().is_some_and(|s| named.contains(&s)), "{seat}: {abort}");
    }
}

#[test]
fn a_seat_that_shows_two_points_spoils_the_sum_and_reveals_nothing() {
    // Seat 1 signs another point for seat 2 than for seat 0: the transcripts differ, so no mask cancels.
    let point = |seed: u8| {
        *tacit_crypto::SecretScalar::random(&mut tacit_crypto::Rng::from_seed(&Secret::new([seed; 32])))
            .public()
            .as_bytes()
    };
    let mut world = world(3, Width::W64, 1000);
    world.hook = Box::new(move |mut m| {
        let a = m.address;
        if (a.step.phase(), a.from, a.to) == (phase::POINT, Seat(1), Seat(2)) {
            let honest = Signed::read(&m.body).unwrap();
            m.body = Signed::with_key(&super::keys(3)[1], Seat(1), &honest, &point(3)).bytes();
        }
        vec![m]
    });
    world.run();
    let outcomes = world.outcomes();
    let abort = outcomes[&Seat(0)].as_ref().unwrap_err();
    // Its header, or that of seat 2, is over another transcript than the collector's.
    assert!(matches!(&abort, Abort::Misbehaved { blame, .. } if blame.offence == Offence::Signature), "{abort}");
    assert!(outcomes.values().all(|o| o.as_ref().map_or(true, |o| o.blinded.is_none())));
}

#[test]
fn one_seat_alone_sums_nothing() {
    let mut world = world(1, Width::W64, 10);
    world.run();
    let outcome = world.outcomes().remove(&Seat(0)).unwrap();
    assert!(matches!(outcome, Err(Abort::Local(fault)) if fault.code == Code::RefusedParties));
}
