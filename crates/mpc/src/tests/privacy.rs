//! What a seat sees is independent of the inputs, given the outputs it receives.

use super::*;
use crate::plan::AnyBits;
use crate::{Fx, Group};

const RUNS: u32 = 400;
/// With two columns, as many lanes as a word has: no bit of a message is padding.
const ROWS: usize = 32;

/// Products, a comparison, a selection and a conjunction; opened is a sum that the inputs leave as it is.
fn plan(n: usize) -> Plan {
    let mut b = Plan::builder(n, ROWS as u64).unwrap();
    let fx = Fx::new(0, 24).unwrap();
    let (x, y) = (b.input(0, 2, fx).unwrap(), b.input(1, 2, fx).unwrap());
    let w = b.input_once(1, 2, 1, fx).unwrap();
    let bits: Vec<_> = (0..2).map(|p| AnyBits::Known(b.input_bits(p, 64).unwrap())).collect();
    let (p, q) = (b.share(x).unwrap(), b.share(y).unwrap());
    let sum = b.add(p, q).unwrap();
    let less = b.less_than(p, 3.0).unwrap();
    b.select(less, p).unwrap();
    b.multiply(p, q).unwrap();
    b.relu(p, 0).unwrap();
    b.and(&bits).unwrap();
    let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
    b.matmul(x, w).unwrap();
    let sum = b.scale(sum, 1.0, Fx::new(0, 32).unwrap()).unwrap();
    b.reveal(sum, Group::one(n - 1), disclosure()).unwrap();
    b.finish().unwrap()
}

/// For each party, and each bit of everything that it received over many runs: how often it was set.
fn ones(n: usize, inputs: &[Table], plan: &Plan) -> Vec<Vec<u32>> {
    let mut counts: Vec<Vec<u32>> = vec![Vec::new(); n];
    for run in 0..RUNS {
        // Another context and other seeds each run.
        let mut terms = terms(plan, n);
        terms.context = Hash([(run / 200) as u8; 32]);
        let seed = (run % 200) as u8 + 1;
        let mut world = World::with(vec![terms; n + 1], inputs.to_vec(), seed, vec![disclosure()]);
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let log = seen.clone();
        let first = plan.tile_step(3, 0);
        world.hook = Box::new(move |m| {
            let from_party = m.address.from.index() < n;
            if m.address.to.index() < n && m.address.step >= first && from_party {
                let at = (m.address.to, m.address.step, m.address.from, m.address.sequence);
                log.lock().unwrap().insert(at, m.body.clone());
            }
            true
        });
        world.run();
        assert!(world.outcomes().values().all(Result::is_ok));
        for (seat, counts) in counts.iter_mut().enumerate() {
            let seen = seen.lock().unwrap();
            let bytes: Vec<u8> =
                seen.iter().filter(|(at, _)| at.0.index() == seat).flat_map(|(_, b)| b.clone()).collect();
            counts.resize(bytes.len() * 8, 0);
            for (i, count) in counts.iter_mut().enumerate() {
                *count += u32::from(bytes[i / 8] >> (i % 8) & 1);
            }
        }
    }
    counts
}

/// Inputs of two kinds with one sum: all small, or large ones that cancel.
fn inputs(n: usize, large: bool) -> Vec<Table> {
    let at = |i: i64| if large { (1 << 22) + 7 * i } else { 0 };
    let all = 0..2 * ROWS as i64;
    let (x, y): (Vec<i64>, Vec<i64>) = (all.clone().map(|i| at(i) + 5).collect(), all.map(|i| 6 - at(i)).collect());
    let ones = [if large { u64::MAX } else { 0 }; ROWS];
    let mut all = vec![Table::default(); n];
    all[0] = Table::default().with(0, 2, &x).with_bits(3, 1, &ones);
    all[1] = Table::default().with(1, 2, &y).with(2, 1, &[at(1), at(2)]).with_bits(4, 1, &ones);
    all
}

#[test]
fn every_bit_that_a_seat_receives_is_a_fair_coin_whatever_the_inputs() {
    for n in [2, 3, 5] {
        let plan = plan(n);
        for large in [false, true] {
            for (seat, counts) in ones(n, &inputs(n, large), &plan).iter().enumerate() {
                assert!(counts.len() > 2000, "{} bits", counts.len());
                // 400 coins: 200 with a standard deviation of 10. Twenty thousand bits stay within six and a half of them.
                for (i, count) in counts.iter().enumerate() {
                    assert!(
                        count.abs_diff(RUNS / 2) < 65,
                        "bit {i} of seat {seat} of {n} was set {count} times, large {large}"
                    );
                }
            }
        }
    }
}

/// In verified mode some words are the same in every run: sums of checks in which nothing was opened. What holds is that no
/// bit tells inputs apart that give the same output, the words of the checks among them.
#[test]
fn in_verified_mode_no_bit_that_a_seat_receives_depends_on_the_inputs() {
    for n in [2, 3, 5] {
        let plan = crate::Builder::again(&plan(n), crate::Security::Verified { audits: 0 }).unwrap();
        let (small, large) = (ones(n, &inputs(n, false), &plan), ones(n, &inputs(n, true), &plan));
        for (seat, (small, large)) in small.iter().zip(&large).enumerate() {
            assert!(small.len() > 10_000 && small.len() == large.len(), "{} bits", small.len());
            let mut fair = 0;
            for (i, (a, b)) in small.iter().zip(large).enumerate() {
                // The difference of two counts of 400 coins has a standard deviation of 14.
                assert!(a.abs_diff(*b) < 92, "bit {i} of seat {seat} of {n}: {a} or {b} times by the inputs");
                fair += usize::from(a.abs_diff(RUNS / 2) < 65);
            }
            assert!(fair * 100 > small.len() * 97, "{fair} of {} bits of seat {seat} are fair coins", small.len());
        }
    }
}
