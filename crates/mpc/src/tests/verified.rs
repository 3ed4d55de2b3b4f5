//! Verified mode with honest seats: the same results, the stated costs, and what it refuses.

use super::*;
use crate::plan::{AnyBits, Num};
use crate::tests::operations as semi;
use crate::{AUDITS_MAX, Fx, Group};

const VERIFIED: Security = Security::Verified { audits: 0 };
const AUDITED: Security = Security::Verified { audits: 1 };

macro_rules! both_ways {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            with_security(VERIFIED, semi::$name);
        })*
    };
}

// Each holds the results to plain arithmetic, and what is sent and dealt to the plan's cost, to the byte.
both_ways!(
    sums_and_public_factors,
    products_element_by_element,
    matrix_products_of_every_kind_of_operand,
    truncation_is_exact_to_one_unit_at_the_edges_of_the_range,
    comparisons_at_the_edges_of_the_range,
    relu_with_truncation,
    bits_become_numbers_and_select_them,
    bands_of_a_score,
    conjunctions_of_owned_and_shared_bits,
    leaf_selections,
    whole_numbers_below_are_exact_and_summands_add_up,
    an_inner_product_with_a_bound_of_its_own_is_as_wide_as_that
);

#[test]
fn audited_deals_give_the_same_results_at_the_stated_cost() {
    with_security(AUDITED, semi::products_element_by_element);
    with_security(Security::Verified { audits: 2 }, semi::bits_become_numbers_and_select_them);
}

#[test]
fn a_mode_is_part_of_the_plan_and_seats_with_another_stop() {
    let plan = |security: Security| {
        let mut b = Plan::builder(2, 4).unwrap();
        let x = b.input(0, 1, Fx::new(0, 20).unwrap()).unwrap();
        let x = b.share(x).unwrap();
        b.reveal(x, Group::one(1), disclosure()).unwrap();
        Builder::again(&b.finish().unwrap(), security).unwrap()
    };
    let all = [Security::SemiHonest, VERIFIED, AUDITED];
    let hashes: std::collections::BTreeSet<Hash> = all.iter().map(|s| plan(*s).hash()).collect();
    assert_eq!(hashes.len(), 3);
    for other in 0..=2 {
        let mut terms = vec![terms(&plan(VERIFIED), 2); 3];
        terms[other] = super::terms(&plan(Security::SemiHonest), 2);
        let table = Table::default().with(0, 1, &[1, 2, 3, 4]);
        let mut world = World::with(terms, vec![table, Table::default()], 1, vec![disclosure()]);
        world.run();
        assert!(world.outcomes().values().all(|o| matches!(o, Err(Abort::Disagreement { .. }))));
    }
}

#[test]
fn what_verified_mode_does_not_cover_is_refused_when_planned() {
    let finish = |f: &dyn Fn(&mut Builder, Num) -> Num| {
        let mut b = Plan::builder(2, 4).unwrap();
        b.verified(0).unwrap();
        let x = b.input(0, 2, Fx::new(16, 20).unwrap()).unwrap();
        let x = b.share(x).unwrap();
        let y = f(&mut b, x);
        b.reveal(y, Group::one(0), disclosure()).unwrap();
        b.finish().map_err(|e| e.code.text())
    };
    assert!(finish(&|_, x| x).is_ok());
    assert_eq!(finish(&|b, x| b.argmax(x).unwrap()), Err("refused.parameters"));
    assert_eq!(finish(&|b, x| b.sigmoid(x).unwrap()), Err("refused.parameters"));
    assert_eq!(finish(&|b, x| b.reciprocal(x, 8).unwrap()), Err("refused.parameters"));
    let mut b = Plan::builder(2, 4).unwrap();
    assert!(b.verified(AUDITS_MAX).is_ok() && b.verified(AUDITS_MAX + 1).is_err());
}

/// Bytes that party 0 sends to 1 and that are dealt to the last, and rounds, of `f` alone: less what the same plan costs
/// without it.
fn cost_of(n: usize, f: impl Fn(&mut Builder, Num) -> Num) -> (u32, u64, u64) {
    const ROWS: u64 = 128;
    let plan = |f: &dyn Fn(&mut Builder, Num) -> Num| {
        let mut b = Plan::builder(n, ROWS).unwrap();
        b.verified(0).unwrap();
        let x = b.input(0, 1, Fx::new(10, 26).unwrap()).unwrap();
        let x = b.share(x).unwrap();
        let y = f(&mut b, x);
        b.reveal(y, Group::one(0), disclosure()).unwrap();
        b.finish().unwrap().cost()
    };
    let (with, without) = (plan(&f), plan(&|_, x| x));
    let rounds = with.rounds_tile - without.rounds_tile;
    (rounds, with.sent[0][1] - without.sent[0][1], with.dealt[n - 1] - without.dealt[n - 1])
}

#[test]
fn operations_cost_what_the_documentation_says() {
    let words = 128 * 8;
    let bits = 128 / 8;
    for n in [2, 3] {
        assert_eq!(cost_of(n, |b, x| b.add(x, x).unwrap()), (0, 0, 0));
        assert_eq!(cost_of(n, |b, x| b.multiply(x, x).unwrap()), (1, 2 * words, 8 * words));
        assert_eq!(cost_of(n, |b, x| b.truncate(x, 3).unwrap()), (1, words, 10 * words));
        // 26 bits: eight blocks of three and one of two, 26 / 3 * 7 + 3 products; joins of 9, 5, 3 and 2 parts.
        let (products, joins) = (8 * 7 + 3 + 1, 4 + 2 + 1 + 1);
        let (masks, pairs) = (3 * joins - 4, 2 * joins - 4);
        let code = 5 * 128;
        let tree = (16 * 128) + (products + pairs) * (bits + code) + masks * code;
        let less = |b: &mut Builder, x| b.less_than(x, 0.0).and_then(|s| b.to_ring(s)).unwrap();
        let double = code + 32 * 128;
        assert_eq!(cost_of(n, less), (5 + 1, words + masks * bits + bits, tree + double));
        let rectify = |b: &mut Builder, x| b.relu(x, 8).unwrap();
        assert_eq!(cost_of(n, rectify), (5 + 1, words + (masks + 1) * bits, tree + double + 4 * 32 * 128));
        let band = |b: &mut Builder, x| b.band(x, &[1.0, 2.0]).unwrap();
        let edge = pairs * (bits + code) + masks * code;
        assert_eq!(cost_of(n, band), (5 + 1, words + 2 * (masks + 1) * bits, tree + edge + 2 * double));
    }
}

#[test]
fn an_owned_operand_and_a_check_cost_what_the_documentation_says() {
    let rows = 100u64;
    for n in [2usize, 3] {
        let mut b = Plan::builder(n, rows).unwrap();
        b.verified(0).unwrap();
        let fx = Fx::new(0, 20).unwrap();
        let (x, w) = (b.input(0, 10, fx).unwrap(), b.input_once(1, 10, 1, fx).unwrap());
        let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
        let y = b.matmul(x, w).unwrap();
        b.reveal(y, Group::one(0), disclosure()).unwrap();
        let cost = b.finish().unwrap().cost();
        // Terms and a seed; a check of the weights' opening; rows and their opened output; two checks.
        let check = 32 + 48 + 32 + 56;
        assert_eq!(cost.sent[0][1], 64 + (32 + check) + 10 * rows * 8 + rows * 8 + 2 * (32 + check));
        assert_eq!(cost.sent[1][0], 32 + (32 + check) + 10 * 8 + rows * 8 + 2 * (32 + check));
        assert_eq!((cost.rounds_once, cost.rounds_tile), (2 + 6, 1 + 1 + 4 + 1 + 4));
        let (cells, weights, product, output) = (16 * 10 * rows, 160, 32 * rows, 16 * rows);
        assert_eq!(cost.dealt[n - 1], 64 + cells + weights + product + output + 3 * 16);
    }
}

#[test]
fn what_a_party_brings_is_told_once_for_all_its_uses() {
    let sent = |uses: usize| {
        let mut b = Plan::builder(3, 64).unwrap();
        b.verified(0).unwrap();
        let fx = Fx::new(0, 20).unwrap();
        let (x, bits) = (b.input(0, 64, fx).unwrap(), b.input_bits(0, 64).unwrap());
        let other = b.input_bits(1, 64).unwrap();
        let mut sum = b.share(x).unwrap();
        for _ in 1..uses {
            let more = b.share(x).unwrap();
            sum = b.add(sum, more).unwrap();
            b.and(&[AnyBits::Known(bits), AnyBits::Known(other)]).unwrap();
            b.select_leaves(other, x).unwrap();
            b.mask(x).unwrap();
        }
        b.reveal(sum, Group::one(2), disclosure()).unwrap();
        let cost = b.finish().unwrap().cost();
        (cost.sent, cost.rounds_tile)
    };
    // So no owner can bring one value here and another there.
    assert_eq!(sent(1), sent(3));
}

#[test]
fn both_modes_give_the_same_outputs() {
    let mut b = Plan::builder(3, 70).unwrap();
    let fx = Fx::new(8, 24).unwrap();
    let (x, w) = (b.input(0, 3, fx).unwrap(), b.input_once(1, 3, 1, fx).unwrap());
    let known: Vec<_> = (0..3).map(|p| AnyBits::Known(b.input_bits(p, 1).unwrap())).collect();
    let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
    let z = b.matmul(x, w).unwrap();
    let floor = b.floor(z).unwrap();
    let all = b.and(&known).unwrap();
    let shown = b.select(all, floor).unwrap();
    b.reveal(shown, Group::first(3), disclosure()).unwrap();
    b.reveal_bits(all, Group::one(1).with(2), disclosure()).unwrap();
    let band = b.band(z, &[-2.0, 0.0, 7.5]).unwrap();
    b.hand(band).unwrap();
    let plan = b.finish().unwrap();
    let mut noise = Noise::new(5);
    let inputs: Vec<Table> = (0..3u32)
        .map(|p| {
            let table = Table::default().with_bits(2 + p, 1, &[noise.word(), noise.word()]);
            match p {
                0 => table.with(0, 3, &noise.numbers(210, 15)),
                1 => table.with(1, 1, &noise.numbers(3, 6)),
                _ => table,
            }
        })
        .collect();
    let total = |outputs: &[Outputs]| -> Vec<u64> {
        let sum = |i: usize| outputs.iter().fold(0u64, |s, o| s.wrapping_add(o.0[&2][i]));
        (0..70).map(sum).collect()
    };
    let semi = run(&plan, inputs.clone());
    let verified = run(&Builder::again(&plan, VERIFIED).unwrap(), inputs);
    assert_eq!(total(&semi), total(&verified));
    for (a, b) in semi.iter().zip(&verified) {
        assert_eq!((a.0.get(&0), a.0.get(&1)), (b.0.get(&0), b.0.get(&1)));
    }
    assert!(total(&semi).iter().collect::<std::collections::BTreeSet<_>>().len() > 2, "more than one band");
}

#[test]
fn a_wrong_summand_of_what_is_handed_out_is_found_by_whoever_opens_the_sum() {
    for n in [2usize, 3, 5] {
        let mut b = Plan::builder(n, 20).unwrap();
        b.verified(0).unwrap();
        let x = b.input(0, 1, Fx::new(0, 60).unwrap()).unwrap();
        let x = b.share(x).unwrap();
        b.hand(x).unwrap();
        let numbers = Noise::new(3).numbers(20, 60);
        let mut inputs = vec![Table::default(); n];
        inputs[0] = Table::default().with(0, 1, &numbers);
        let mut world = World::new(&b.finish().unwrap(), inputs, 1);
        world.run();
        let outputs: Vec<Outputs> = world.outcomes().into_values().take(n).map(Result::unwrap).collect();
        let sum = |i: u32| {
            let len = outputs[0].0[&i].len();
            let at = |w: usize| outputs.iter().fold(0u64, |s, o| s.wrapping_add(o.0[&i][w]));
            (0..len).map(at).collect::<Vec<u64>>()
        };
        let (sums, key): (Vec<u64>, [u64; 2]) = (sum(0), sum(KEY).try_into().unwrap());
        let opened = open_handed(&sums, &key, n).unwrap();
        assert_eq!(opened, numbers.iter().map(|x| *x as u64).collect::<Vec<_>>());
        for word in 0..sums.len() {
            for change in [1u64, 1 << 63, 1 << 20, u64::MAX] {
                let mut wrong = sums.clone();
                wrong[word] = wrong[word].wrapping_add(change);
                // What the lower words lose at their top is tried, so a count more or less there may fit; the number stays.
                if let Ok(got) = open_handed(&wrong, &key, n) {
                    assert_eq!(got, opened, "word {word}");
                }
                let row = word / HANDED_WORDS;
                if word % HANDED_WORDS == 0 {
                    assert!(open_handed(&wrong, &key, n).unwrap_err().what.contains(&format!("row {row} ")));
                }
            }
        }
        for change in [[1u64, 0], [0, 1]] {
            let other = [key[0].wrapping_add(change[0]), key[1].wrapping_add(change[1])];
            assert!(open_handed(&sums, &other, n).is_err());
        }
        assert!(open_handed(&sums[1..], &key, n).is_err());
    }
}
