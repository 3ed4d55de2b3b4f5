use serde::Deserialize;
use tacit_crypto::Secret;

use super::*;
use crate::fixed::mul;
use crate::table::{DISTANCE_BITS, Table};

#[derive(Deserialize)]
struct Fixtures {
    probabilities: Vec<Probabilities>,
    samples: Vec<Samples>,
}

/// Of numbers, in parts of 2^120.
#[derive(Deserialize)]
struct Probabilities {
    kind: String,
    num: u64,
    den: u64,
    weights: Vec<(i64, String)>,
}

/// How often another library drew each number.
#[derive(Deserialize)]
struct Samples {
    kind: String,
    num: u64,
    den: u64,
    counts: Vec<(i64, u64)>,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../../tests/fixtures.json")).unwrap()
}

fn mechanism(kind: &str, num: u64, den: u64) -> Mechanism {
    let ratio = Ratio::new(num, den).unwrap();
    match kind {
        "laplace" => Mechanism::Laplace { scale: ratio },
        "gaussian" => Mechanism::Gaussian { variance: ratio },
        _ => Mechanism::Skellam { variance: ratio },
    }
}

/// A weight of a table as a part of 2^127.
fn part(table: &Table, k: i64) -> u128 {
    let (total, mut rest, mut out) = (table.total(), table.weight(k), 0);
    for _ in 0..127 {
        rest <<= 1;
        out = (out << 1) | u128::from(rest >= total);
        rest -= if rest >= total { total } else { 0 };
    }
    out
}

/// The probability with which a sampler draws `k`, from its table, in parts of 2^127.
fn probability(sampler: &Sampler, k: i64) -> u128 {
    match (sampler.difference, k) {
        (true, _) => (0..2048).map(|j| mul(part(&sampler.table, j + k), part(&sampler.table, j))).sum(),
        (false, 0) => part(&sampler.table, 0),
        (false, _) => part(&sampler.table, k.abs()) / 2,
    }
}

#[test]
fn probabilities_are_those_of_the_formulas_to_ninety_six_bits() {
    for shape in fixtures().probabilities {
        let sampler = Sampler::new(mechanism(&shape.kind, shape.num, shape.den)).unwrap();
        for (k, want) in &shape.weights {
            let want = want.parse::<u128>().unwrap() << 7;
            for k in [*k, -*k] {
                let off = probability(&sampler, k).abs_diff(want);
                assert!(off >> (127 - DISTANCE_BITS) == 0, "{} {}/{} at {k}: {off}", shape.kind, shape.num, shape.den);
            }
        }
    }
}

/// All that is not in a table, together.
#[test]
fn a_table_holds_all_but_a_tail_of_its_distribution() {
    let variance = Ratio::new(9, 1).unwrap();
    let table = Table::gaussian(variance).unwrap();
    let last = (0..TABLE_REACH).take_while(|k| table.weight(*k) > 0).last().unwrap();
    // The next number is drawn with e^-(k^2/18) of the chance of 0.
    let bits = (last + 1) as f64 * (last + 1) as f64 / 18.0 / core::f64::consts::LN_2;
    assert!((106.0..112.0).contains(&bits), "{bits}");
}

const TABLE_REACH: i64 = 1 << 17;

/// Chi-square of counts against probabilities, with its degrees of freedom; rare numbers are put together.
fn chi_square(counts: &[(i64, u64)], probability: impl Fn(i64) -> f64) -> (f64, f64) {
    let all: u64 = counts.iter().map(|c| c.1).sum();
    let (mut sum, mut cells, mut rare) = (0.0, 0.0, (all as f64, all as f64));
    let (low, high) = (counts[0].0, counts[counts.len() - 1].0);
    for k in low..=high {
        let expected = probability(k) * all as f64;
        if expected >= 10.0 {
            let seen = counts.iter().find(|c| c.0 == k).map_or(0, |c| c.1) as f64;
            sum += (seen - expected).powi(2) / expected;
            cells += 1.0;
            rare = (rare.0 - seen, rare.1 - expected);
        }
    }
    (sum + (rare.0 - rare.1).powi(2) / rare.1.max(1.0), cells)
}

/// Six standard deviations of a chi-square distribution.
fn fits((sum, freedom): (f64, f64)) -> bool {
    sum < freedom + 6.0 * (2.0 * freedom).sqrt()
}

#[test]
fn another_library_draws_as_the_tables_say() {
    for sample in fixtures().samples {
        let sampler = Sampler::new(mechanism(&sample.kind, sample.num, sample.den)).unwrap();
        let found = chi_square(&sample.counts, |k| probability(&sampler, k) as f64 / 2f64.powi(127));
        assert!(fits(found), "{} {}/{}: {found:?}", sample.kind, sample.num, sample.den);
        // A neighbour does not fit.
        let other = Sampler::new(mechanism(&sample.kind, sample.num * 6, sample.den * 5)).unwrap();
        assert!(!fits(chi_square(&sample.counts, |k| probability(&other, k) as f64 / 2f64.powi(127))));
    }
}

#[test]
fn draws_follow_their_table_with_both_signs() {
    let mut rng = Rng::from_seed(&Secret::new([11; 32]));
    for (kind, num, den) in [("laplace", 9, 2), ("gaussian", 30, 1), ("gaussian", 1, 9), ("skellam", 30, 1)] {
        let sampler = Sampler::new(mechanism(kind, num, den)).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        (0..40_000).for_each(|_| *counts.entry(sampler.draw(&mut rng)).or_insert(0) += 1);
        let counts: Vec<(i64, u64)> = counts.into_iter().collect();
        let found = chi_square(&counts, |k| probability(&sampler, k) as f64 / 2f64.powi(127));
        assert!(fits(found), "{kind} {num}/{den}: {found:?}");
    }
}

#[test]
fn noise_is_added_in_the_ring() {
    let sampler = Sampler::new(mechanism("skellam", 100, 1)).unwrap();
    let mut cells = vec![0u128; 4000];
    sampler.add(&mut cells, &mut Rng::from_seed(&Secret::new([3; 32])));
    let values: Vec<f64> = cells.iter().map(|c| c.cast_signed() as f64).collect();
    let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
    assert!((90.0..110.0).contains(&variance), "{variance}");
    assert!(values.iter().any(|v| *v < 0.0) && values.iter().any(|v| *v > 0.0));
}

const CROWD: crate::distributed::Crowd = crate::distributed::Crowd { parties: 7, survivors_min: 5, colluders: 2 };

/// The parts of the honest survivors make up the whole, whoever else is there.
#[test]
fn parts_add_up_to_the_noise_that_was_asked_for() {
    let whole = Ratio::new(90, 1).unwrap();
    let part = Sampler::new(crate::distributed::part(whole, &CROWD).unwrap()).unwrap();
    let mut rng = Rng::from_seed(&Secret::new([4; 32]));
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..40_000 {
        let sum: i64 = (0..3).map(|_| part.draw(&mut rng)).sum();
        *counts.entry(sum).or_insert(0) += 1;
    }
    let counts: Vec<(i64, u64)> = counts.into_iter().collect();
    let sampler = Sampler::new(Mechanism::Skellam { variance: whole }).unwrap();
    assert!(fits(chi_square(&counts, |k| probability(&sampler, k) as f64 / 2f64.powi(127))));
}

/// What docs/protocols/dp.md says of the spread.
#[test]
fn the_widest_noise_has_a_table_and_a_little_wider_has_none() {
    for (kind, fits, too_wide) in [
        ("laplace", 1_750, 1_770),
        ("gaussian", 10_700 * 10_700, 10_900 * 10_900),
        ("skellam", 57_000_000, 60_000_000),
        ("skellam", SKELLAM_VARIANCE_MAX, 1 << 40),
    ] {
        assert!(Sampler::new(mechanism(kind, fits, 1)).is_ok(), "{kind}");
        assert!(Sampler::new(mechanism(kind, too_wide, 1)).is_err(), "{kind}");
    }
}
