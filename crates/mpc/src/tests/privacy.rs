//! What a seat sees is independent of the inputs, given the outputs it receives.

use super::*;
use crate::plan::AnyBits;
use crate::{Fx, Group};

const RUNS: u32 = 400;
/// With two columns, as many lanes as a word has: no bit of a message is padding.
const ROWS: usize = 32;
/// The same with one column.
const WIDE_ROWS: usize = 64;

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

/// What the first plan leaves out: bands, truncations, leaf selections of both kinds, a tournament, the logistic function and
/// inverses; opened is the same sum.
fn choices(n: usize) -> Plan {
    let mut b = Plan::builder(n, WIDE_ROWS as u64).unwrap();
    let fx = Fx::new(8, 24).unwrap();
    let (x, y) = (b.input(0, 4, fx).unwrap(), b.input(1, 4, fx).unwrap());
    let (own, others) = (b.input_bits(0, 64).unwrap(), b.input_bits(1, 64).unwrap());
    let (numbers, weights) = (b.input(1, 64, fx).unwrap(), b.input_once(n - 1, 64, 1, fx).unwrap());
    let (small, part) =
        (b.input(0, 1, Fx::new(4, 8).unwrap()).unwrap(), b.input(0, 1, Fx::new(16, 20).unwrap()).unwrap());
    let (p, q) = (b.share(x).unwrap(), b.share(y).unwrap());
    let sum = b.add(p, q).unwrap();
    b.band(p, &[3.0, 9.0]).unwrap();
    b.truncate(p, 5).unwrap();
    b.argmax(p).unwrap();
    b.select_leaves(own, numbers).unwrap();
    let both = b.and(&[AnyBits::Known(own), AnyBits::Known(others)]).unwrap();
    let veiled = b.mask(weights).unwrap();
    b.select_weights(both, veiled).unwrap();
    let (small, part) = (b.share(small).unwrap(), b.share(part).unwrap());
    b.reciprocal(small, 4).unwrap();
    b.sqrt(small).unwrap();
    b.sigmoid(part).unwrap();
    let sum = b.scale(sum, 1.0, Fx::new(8, 32).unwrap()).unwrap();
    b.reveal(sum, Group::one(n - 1), disclosure()).unwrap();
    b.finish().unwrap()
}

/// Inputs of two kinds for [`choices`], with one sum.
fn chosen(n: usize, large: bool) -> Vec<Table> {
    let at = |i: i64| if large { (1 << 22) + 7 * i } else { 0 };
    let all = 0..4 * WIDE_ROWS as i64;
    let (x, y): (Vec<i64>, Vec<i64>) = (all.clone().map(|i| at(i) + 5).collect(), all.map(|i| 6 - at(i)).collect());
    let bits = [if large { u64::MAX } else { 0 }; WIDE_ROWS];
    let leaves: Vec<i64> = (0..64 * WIDE_ROWS as i64).map(at).collect();
    let mut all = vec![Table::default(); n];
    let small = [if large { 120 } else { 1 }; WIDE_ROWS];
    let part = [if large { (1 << 19) - 1 } else { -3 }; WIDE_ROWS];
    all[0] = Table::default().with(0, 4, &x).with_bits(2, 1, &bits).with(6, 1, &small).with(7, 1, &part);
    all[1] = Table::default().with(1, 4, &y).with_bits(3, 1, &bits).with(4, 64, &leaves);
    all[n - 1] = all[n - 1].clone().with(5, 1, &leaves[..64]);
    all
}

/// One bit of a message, in each run.
type Coin = [u64; RUNS.div_ceil(64) as usize];

fn heads(coin: &Coin) -> u32 {
    coin.iter().map(|word| word.count_ones()).sum()
}

/// For each party, and each bit of everything that it received over many runs: the runs in which it was set.
fn coins(n: usize, inputs: &[Table], plan: &Plan) -> Vec<Vec<Coin>> {
    let mut coins: Vec<Vec<Coin>> = vec![Vec::new(); n];
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
        for (seat, coins) in coins.iter_mut().enumerate() {
            let seen = seen.lock().unwrap();
            let bytes: Vec<u8> =
                seen.iter().filter(|(at, _)| at.0.index() == seat).flat_map(|(_, b)| b.clone()).collect();
            coins.resize(bytes.len() * 8, Coin::default());
            for (i, coin) in coins.iter_mut().enumerate() {
                coin[run as usize / 64] |= u64::from(bytes[i / 8] >> (i % 8) & 1) << (run % 64);
            }
        }
    }
    coins
}

/// How often each bit was set.
fn ones(n: usize, inputs: &[Table], plan: &Plan) -> Vec<Vec<u32>> {
    coins(n, inputs, plan).iter().map(|coins| coins.iter().map(heads).collect()).collect()
}

/// Each bit is set in half of the runs, and so is the sum of any two that are at most so far apart: a mask that serves twice shows in
/// the difference of what it hides, whose lowest bit is such a sum.
fn fair(coins: &[Coin], apart: usize, what: &str) {
    // 400 coins: 200 with a standard deviation of 10. Twenty thousand bits stay within six and a half of them, a hundred
    // million pairs within eight.
    for (i, coin) in coins.iter().enumerate() {
        assert!(heads(coin).abs_diff(RUNS / 2) < 65, "bit {i} of {what} was set {} times", heads(coin));
        for (j, other) in coins.iter().enumerate().skip(i + 1).take(apart) {
            let odd: u32 = coin.iter().zip(other).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert!(odd.abs_diff(RUNS / 2) < 80, "bits {i} and {j} of {what} differed {odd} times");
        }
    }
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
fn every_bit_that_a_seat_receives_and_every_two_are_fair_coins_whatever_the_inputs() {
    for n in [2, 3, 5] {
        let plan = plan(n);
        for large in [false, true] {
            for (seat, coins) in coins(n, &inputs(n, large), &plan).iter().enumerate() {
                assert!(coins.len() > 2000, "{} bits", coins.len());
                fair(coins, 1024, &format!("seat {seat} of {n}, large {large}"));
            }
        }
    }
}

#[test]
fn so_are_those_of_bands_truncations_leaves_tournaments_and_inverses() {
    for n in [2, 3] {
        let plan = choices(n);
        for large in [false, true] {
            for (seat, coins) in coins(n, &chosen(n, large), &plan).iter().enumerate() {
                assert!(coins.len() > 100_000, "{} bits", coins.len());
                fair(coins, 128, &format!("seat {seat} of {n}, large {large}"));
            }
        }
    }
}

/// What the tests above would find: a mask that served twice, some bits apart.
#[test]
#[should_panic(expected = "bits 3 and 67")]
fn a_mask_that_serves_twice_is_found() {
    let mut noise = Noise::new(9);
    let mut coins: Vec<Coin> = (0..128).map(|_| Coin::default().map(|_| noise.word())).collect();
    for coin in &mut coins {
        coin[6] &= (1 << (RUNS % 64)) - 1;
    }
    coins[67] = coins[3];
    fair(&coins, 64, "a list");
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
