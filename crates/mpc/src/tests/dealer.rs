//! Dealers that deal wrong in verified mode.

use std::sync::OnceLock;

use super::*;
use crate::deal::tile_corrections;
use crate::verified::maker::keys;
use crate::{Fx, Group};

fn product(n: usize, audits: u8) -> Plan {
    let mut b = Plan::builder(n, 3).unwrap();
    b.verified(audits).unwrap();
    let fx = Fx::new(0, 20).unwrap();
    let (x, y) = (b.input(0, 1, fx).unwrap(), b.input(1, 1, fx).unwrap());
    let (x, y) = (b.share(x).unwrap(), b.share(y).unwrap());
    let z = b.multiply(x, y).unwrap();
    b.reveal(z, Group::one(0), disclosure()).unwrap();
    b.finish().unwrap()
}

fn inputs(n: usize) -> Vec<Table> {
    let mut all = vec![Table::default(); n];
    all[0] = Table::default().with(0, 1, &[5, -6, 7]);
    all[1] = Table::default().with(1, 1, &[11, 12, -13]);
    all
}

const PLAIN: [i64; 3] = [55, -72, -91];

/// Adds 1000 to the first dealt product, and what its code then is: only an audit can tell.
fn forge(terms: &Terms, deal: &[StreamKey], body: &mut [u8]) {
    let alpha: u128 = deal.iter().map(|k| u128::from(*keys(k, false).alpha)).sum();
    let plan = &terms.plan;
    let before: usize = plan
        .dealt_ids(1)
        .into_iter()
        .take_while(|id| !matches!(plan.node(*id).op, Op::Multiply { .. }))
        .map(|id| plan.fixed_bytes(id, 3))
        .sum();
    // Codes of two pads, then products, then their codes.
    let (value, code) = (before + 2 * 48, before + 3 * 48);
    for (at, more) in [(value, 1000), (code, alpha.wrapping_mul(1000))] {
        let place = &mut body[at..at + 16];
        let word = u128::from_le_bytes(place.try_into().unwrap()).wrapping_add(more);
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// A dealer that forges in the first of its deals, with codes that fit.
fn forger() -> Corrections {
    let first: OnceLock<u64> = OnceLock::new();
    Arc::new(move |terms, deal, tile| {
        let mut body = tile_corrections(&terms.plan, deal, tile);
        let mark = *keys(&deal[0], false).alpha;
        if tile == 1 && mark == *first.get_or_init(|| mark) {
            forge(terms, deal, &mut body);
        }
        body
    })
}

/// How often the honest seats took a wrong output, and how often they stopped and blamed the dealer.
fn tries(n: usize, audits: u8, runs: u8) -> (u32, u32) {
    let (mut wrong, mut blamed) = (0, 0);
    let plan = product(n, audits);
    for seed in 1..=runs {
        let terms = vec![terms(&plan, n); n + 1];
        let mut world = World::with_dealer(terms, inputs(n), seed, vec![disclosure()], Some(forger()));
        world.run();
        let outcomes = world.outcomes();
        match &outcomes[&0] {
            Ok(o) => {
                assert_eq!(o.numbers(0)[0], PLAIN[0] + 1000, "the forged deal was used");
                assert_eq!(o.numbers(0)[1..], PLAIN[1..]);
                wrong += 1;
            }
            Err(_) => {
                for i in 0..n {
                    let Err(Abort::Misbehaved { blame, .. }) = &outcomes[&i] else { panic!("seat {i} does not blame") };
                    assert_eq!(*blame, tacit_protocol::Blame::seat(Seat(n as u16), tacit_protocol::Offence::BadDeal));
                }
                blamed += 1;
            }
        }
    }
    (wrong, blamed)
}

#[test]
fn a_forged_deal_is_found_as_often_as_stated() {
    // One of two: 50 of 100 with a standard deviation of 5. One of four: 75 with one of 4.3.
    let (wrong, blamed) = tries(2, 1, 100);
    assert!(wrong + blamed == 100 && (25..=75).contains(&blamed), "{blamed} of 100 with one audit");
    let (wrong, blamed) = tries(3, 3, 100);
    assert!(wrong + blamed == 100 && (50..=95).contains(&blamed), "{blamed} of 100 with three audits");
}

#[test]
fn an_honest_deal_is_never_blamed() {
    for n in [2usize, 3, 5] {
        for audits in [1, 3] {
            let outputs = run(&product(n, audits), inputs(n));
            assert_eq!(outputs[0].numbers(0), PLAIN);
        }
    }
}

#[test]
fn what_is_changed_in_any_message_of_the_dealer_changes_no_output() {
    for (n, audits) in [(2usize, 0u8), (2, 1), (3, 0), (3, 1)] {
        let plan = product(n, audits);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = sent.clone();
        let mut world = World::new(&plan, inputs(n), 1);
        world.hook = Box::new(move |m| {
            if m.address.from.index() == n {
                log.lock().unwrap().push((m.address, m.body.len()));
            }
            true
        });
        world.run();
        let sent = sent.lock().unwrap().clone();
        assert!(sent.len() > n);
        let (mut changes, mut unnoticed) = (0, 0);
        for (address, length) in sent {
            for byte in (0..length).step_by(1 + length / 40) {
                let mut world = World::new(&plan, inputs(n), 1);
                world.hook = Box::new(move |m| {
                    if m.address == address {
                        m.body[byte] ^= 1 << (byte % 8);
                    }
                    true
                });
                world.run();
                let outcomes = world.outcomes();
                let aborted = (0..n).any(|i| outcomes[&i].is_err());
                if let Ok(o) = &outcomes[&0] {
                    assert_eq!(o.numbers(0), PLAIN, "byte {byte} at {address:?}");
                }
                changes += 1;
                unnoticed += u32::from(!aborted);
            }
        }
        // The upper halves of the codes of two masks go unused, and so does the commitment to the used deal at those who
        // get no corrections.
        assert!(unnoticed * 20 < changes, "{unnoticed} of {changes}");
    }
}

#[test]
fn a_seat_that_lies_about_its_coin_is_blamed() {
    let (n, plan) = (3, product(3, 1));
    for (round, to) in [(0u32, 1usize), (1, 1), (0, n), (1, n)] {
        let step = 3 * (1 << 16) + 2 + round;
        let mut world = World::new(&plan, inputs(n), 1);
        world.hook = Box::new(move |m| {
            if m.address.step.0 == step && m.address.from == Seat(0) && m.address.to.index() == to {
                m.body[5] ^= 4;
            }
            true
        });
        world.run();
        let blame = tacit_protocol::Blame::seat(Seat(0), tacit_protocol::Offence::BadOpening);
        let outcomes = world.outcomes();
        assert!(matches!(&outcomes[&to], Err(Abort::Misbehaved { blame: b, .. }) if *b == blame), "{round} to {to}");
        assert!((0..n).all(|i| outcomes[&i].is_err()), "nobody computes with half a choice");
    }
}
