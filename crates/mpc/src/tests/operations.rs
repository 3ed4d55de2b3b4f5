//! Every operation against plain arithmetic, for two, three and five parties.

use super::*;
use crate::plan::AnyBits;
use crate::{Fx, Group};

const PARTIES: [usize; 3] = [2, 3, 5];

fn tables(n: usize) -> Vec<Table> {
    vec![Table::default(); n]
}

fn edges(bits: u8) -> Vec<i64> {
    let top = (1i64 << (bits - 1)) - 1;
    vec![0, 1, -1, 2, -2, top, -top, top - 1, 1 - top, 1 << (bits / 2), -(1 << (bits / 2))]
}

/// Numbers of `bits` bits, the edges of their range among them.
fn sample(noise: &mut Noise, count: usize, bits: u8) -> Vec<i64> {
    let mut all = edges(bits);
    all.extend(noise.numbers(count.saturating_sub(all.len()), bits));
    all.truncate(count);
    all
}

#[test]
pub fn sums_and_public_factors() {
    for n in PARTIES {
        let x = sample(&mut Noise::new(1), 100, 30);
        let y = sample(&mut Noise::new(2), 100, 30).into_iter().rev().collect::<Vec<_>>();
        let bias = [5i64, -7];
        let mut b = Plan::builder(n, 50).unwrap();
        let fx = Fx::new(4, 30).unwrap();
        let (i, j, k) =
            (b.input(0, 2, fx).unwrap(), b.input(n - 1, 2, fx).unwrap(), b.input_once(n - 1, 1, 2, fx).unwrap());
        let (p, q, r) = (b.share(i).unwrap(), b.share(j).unwrap(), b.share(k).unwrap());
        let sum = b.add(p, q).unwrap();
        let all = Group::first(n);
        b.reveal(sum, all, disclosure()).unwrap();
        let minus = b.subtract(p, q).unwrap();
        b.reveal(minus, Group::one(0), disclosure()).unwrap();
        let rows = b.add(p, r).unwrap();
        b.reveal(rows, all, disclosure()).unwrap();
        let public = b.add_public(p, &[1.5, -2.0]).unwrap();
        b.reveal(public, all, disclosure()).unwrap();
        let scaled = b.scale(p, -3.0, Fx::new(2, 6).unwrap()).unwrap();
        b.reveal(scaled, all, disclosure()).unwrap();
        let times = b.times_public(p, &[1.0, 2.0, 3.0, -4.0, 5.0, 6.0], 3, Fx::new(0, 5).unwrap()).unwrap();
        b.reveal(times, all, disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[0] = inputs[0].clone().with(0, 2, &x);
        inputs[n - 1] = inputs[n - 1].clone().with(1, 2, &y).with(2, 2, &bias);
        let outputs = run(&b.finish().unwrap(), inputs);
        for (party, o) in outputs.iter().enumerate() {
            assert_eq!(o.numbers(0), x.iter().zip(&y).map(|(x, y)| x + y).collect::<Vec<_>>());
            assert_eq!(o.0.contains_key(&1), party == 0, "an output reaches its receivers alone");
            assert_eq!(o.numbers(2), x.iter().enumerate().map(|(i, x)| x + bias[i % 2]).collect::<Vec<_>>());
            assert_eq!(o.numbers(3), x.iter().enumerate().map(|(i, x)| x + [24, -32][i % 2]).collect::<Vec<_>>());
            assert_eq!(o.numbers(4), x.iter().map(|x| x * -12).collect::<Vec<_>>());
            let rows: Vec<i64> =
                x.chunks(2).flat_map(|r| [r[0] - 4 * r[1], 2 * r[0] + 5 * r[1], 3 * r[0] + 6 * r[1]]).collect();
            assert_eq!(o.numbers(5), rows);
        }
        assert_eq!(outputs[0].numbers(1), x.iter().zip(&y).map(|(x, y)| x - y).collect::<Vec<_>>());
    }
}

#[test]
pub fn products_element_by_element() {
    for n in PARTIES {
        let (x, y) = (sample(&mut Noise::new(3), 65, 30), sample(&mut Noise::new(4), 65, 31));
        let mut b = Plan::builder(n, 65).unwrap();
        let (i, j) = (b.input(0, 1, Fx::new(0, 30).unwrap()).unwrap(), b.input(1, 1, Fx::new(0, 31).unwrap()).unwrap());
        let (p, q) = (b.share(i).unwrap(), b.share(j).unwrap());
        let z = b.multiply(p, q).unwrap();
        b.reveal(z, Group::one(1), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[0] = Table::default().with(0, 1, &x);
        inputs[1] = Table::default().with(1, 1, &y);
        let outputs = run(&b.finish().unwrap(), inputs);
        assert_eq!(outputs[1].numbers(0), x.iter().zip(&y).map(|(x, y)| x * y).collect::<Vec<_>>());
    }
}

fn matrix_product(x: &[i64], w: &[i64], k: usize, cols: usize) -> Vec<i64> {
    x.chunks(k)
        .flat_map(|row| (0..cols).map(move |j| row.iter().enumerate().map(|(i, x)| x * w[i * cols + j]).sum::<i64>()))
        .collect()
}

#[test]
pub fn matrix_products_of_every_kind_of_operand() {
    let (rows, k, cols) = (70u64, 5usize, 3usize);
    for n in PARTIES {
        for corrected in [0, n - 1] {
            let x = sample(&mut Noise::new(5), rows as usize * k, 24);
            let (w, v) = (sample(&mut Noise::new(6), k * cols, 24), sample(&mut Noise::new(7), cols, 10));
            let mut b = Plan::builder(n, rows).unwrap();
            b.corrected(corrected).unwrap();
            let fx = Fx::new(0, 24).unwrap();
            let i = b.input(0, k as u32, fx).unwrap();
            let j = b.input_once(1, k as u32, cols as u32, fx).unwrap();
            let l = b.input_once(n - 1, cols as u32, 1, Fx::new(0, 10).unwrap()).unwrap();
            let (x_known, w_known, v_known) = (b.mask(i).unwrap(), b.mask(j).unwrap(), b.mask(l).unwrap());
            let (x_share, w_share) = (b.share(i).unwrap(), b.share(j).unwrap());
            let (x_mask, w_mask) = (b.mask_share(x_share).unwrap(), b.mask_share(w_share).unwrap());
            let all = Group::first(n);
            let mut h = None;
            for (a, c) in [(x_known, w_known), (x_known, w_mask), (x_mask, w_known), (x_mask, w_mask)] {
                let z = b.matmul(a, c).unwrap();
                b.reveal(z, all, disclosure()).unwrap();
                h = Some(z);
            }
            // A second layer, with a mask of the same model's other matrix.
            let h = b.mask_share(h.unwrap()).unwrap();
            let score = b.matmul(h, v_known).unwrap();
            b.reveal(score, all, disclosure()).unwrap();
            let mut inputs = tables(n);
            inputs[0] = inputs[0].clone().with(0, k, &x);
            inputs[1] = inputs[1].clone().with(1, cols, &w);
            inputs[n - 1] = inputs[n - 1].clone().with(2, 1, &v);
            let outputs = run(&b.finish().unwrap(), inputs);
            let z = matrix_product(&x, &w, k, cols);
            for o in &outputs {
                for kind in 0..4 {
                    assert_eq!(o.numbers(kind), z, "kind {kind} with {n} parties");
                }
                assert_eq!(o.numbers(4), matrix_product(&z, &v, cols, 1));
            }
        }
    }
}

#[test]
pub fn truncation_is_exact_to_one_unit_at_the_edges_of_the_range() {
    for n in PARTIES {
        for by in [0u8, 1, 16, 40] {
            let x = sample(&mut Noise::new(8), 2000, 62);
            let mut b = Plan::builder(n, 2000).unwrap();
            let i = b.input(0, 1, Fx::new(by, 62).unwrap()).unwrap();
            let p = b.share(i).unwrap();
            let y = b.truncate(p, by).unwrap();
            b.reveal(y, Group::one(0), disclosure()).unwrap();
            let mut inputs = tables(n);
            inputs[0] = Table::default().with(0, 1, &x);
            let outputs = run(&b.finish().unwrap(), inputs);
            let mut up = 0;
            for (x, y) in x.iter().zip(outputs[0].numbers(0)) {
                assert!(y == x >> by || y == (x >> by) + 1, "{x} >> {by} gave {y}");
                up += usize::from(y != x >> by);
            }
            assert_eq!(up > 0, by > 0, "nothing is cut by a shift of zero, and half of the rest is rounded up");
        }
    }
}

#[test]
pub fn comparisons_at_the_edges_of_the_range() {
    for n in PARTIES {
        let x = sample(&mut Noise::new(9), 700, 62);
        let mut b = Plan::builder(n, 350).unwrap();
        let i = b.input(n - 1, 2, Fx::new(0, 62).unwrap()).unwrap();
        let p = b.share(i).unwrap();
        let thresholds = [0.0, 1.0, -1.0, 2.0, (1u64 << 60) as f64, -((1u64 << 60) as f64)];
        for t in thresholds {
            let less = b.less_than(p, t).unwrap();
            b.reveal_bits(less, Group::first(n), disclosure()).unwrap();
        }
        let more = b.at_least(p, 1.0).unwrap();
        b.reveal_bits(more, Group::one(1), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[n - 1] = Table::default().with(0, 2, &x);
        let outputs = run(&b.finish().unwrap(), inputs);
        for (k, t) in thresholds.iter().enumerate() {
            for (i, x) in x.iter().enumerate() {
                let bit = outputs[0].0[&(k as u32)][i / 64] >> (i % 64) & 1;
                assert_eq!(bit == 1, *x < *t as i64, "{x} < {t}");
            }
        }
        assert!(x.iter().enumerate().all(|(i, x)| (outputs[1].0[&6][i / 64] >> (i % 64) & 1 == 1) == (*x >= 1)));
    }
}

#[test]
pub fn relu_with_truncation() {
    for n in PARTIES {
        for (by, count) in [(0u8, 3usize), (16, 1000), (30, 64)] {
            let x = sample(&mut Noise::new(10 + u64::from(by)), count, 62);
            let mut b = Plan::builder(n, count as u64).unwrap();
            let i = b.input(0, 1, Fx::new(by, 62).unwrap()).unwrap();
            let p = b.share(i).unwrap();
            let y = b.relu(p, by).unwrap();
            b.reveal(y, Group::one(1), disclosure()).unwrap();
            let mut inputs = tables(n);
            inputs[0] = Table::default().with(0, 1, &x);
            let outputs = run(&b.finish().unwrap(), inputs);
            for (x, y) in x.iter().zip(outputs[1].numbers(0)) {
                let floor = (*x).max(0) >> by;
                assert!(y == floor || (y == floor + 1 && by > 0 && *x > 0), "relu({x}) >> {by} gave {y}");
            }
        }
    }
}

#[test]
pub fn bits_become_numbers_and_select_them() {
    for n in PARTIES {
        let x = sample(&mut Noise::new(11), 130, 50);
        let mut b = Plan::builder(n, 130).unwrap();
        let i = b.input(0, 1, Fx::new(0, 50).unwrap()).unwrap();
        let p = b.share(i).unwrap();
        let less = b.less_than(p, 5.0).unwrap();
        let ones = b.to_ring(less).unwrap();
        let kept = b.select(less, p).unwrap();
        b.reveal(ones, Group::first(n), disclosure()).unwrap();
        b.reveal(kept, Group::first(n), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[0] = Table::default().with(0, 1, &x);
        for o in run(&b.finish().unwrap(), inputs) {
            assert_eq!(o.numbers(0), x.iter().map(|x| i64::from(*x < 5)).collect::<Vec<_>>());
            assert_eq!(o.numbers(1), x.iter().map(|x| if *x < 5 { *x } else { 0 }).collect::<Vec<_>>());
        }
    }
}

#[test]
pub fn bands_of_a_score() {
    for n in PARTIES {
        let x = sample(&mut Noise::new(12), 200, 40);
        let cuts = [-1e9, -3.0, 0.0, 0.0625, 12.0, 1e9];
        let mut b = Plan::builder(n, 200).unwrap();
        let i = b.input(1, 1, Fx::new(4, 40).unwrap()).unwrap();
        let p = b.share(i).unwrap();
        let band = b.band(p, &cuts).unwrap();
        b.reveal(band, Group::one(0), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[1] = Table::default().with(0, 1, &x);
        let outputs = run(&b.finish().unwrap(), inputs);
        let expected = x.iter().map(|x| cuts.iter().filter(|c| **c <= *x as f64 / 16.0).count() as i64);
        assert_eq!(outputs[0].numbers(0), expected.collect::<Vec<_>>());
    }
}

#[test]
pub fn conjunctions_of_owned_and_shared_bits() {
    for n in PARTIES {
        let mut noise = Noise::new(13);
        let mut b = Plan::builder(n, 64).unwrap();
        let mut inputs = tables(n);
        let mut all = vec![u64::MAX; 192];
        let mut parts = Vec::new();
        for (party, table) in inputs.iter_mut().enumerate() {
            let bits: Vec<u64> = (0..192).map(|_| noise.word() | noise.word()).collect();
            all.iter_mut().zip(&bits).for_each(|(a, b)| *a &= b);
            *table = Table::default().with_bits(party as u32, 3, &bits);
            let known = b.input_bits(party, 192).unwrap();
            parts.push(if party == 1 { AnyBits::Shared(b.share_bits(known).unwrap()) } else { AnyBits::Known(known) });
        }
        let both = b.and(&parts).unwrap();
        b.reveal_bits(both, Group::one(0), disclosure()).unwrap();
        assert_eq!(run(&b.finish().unwrap(), inputs)[0].0[&0], all);
    }
}

fn bit_of(words: &[u64], i: usize) -> bool {
    words[i / 64] >> (i % 64) & 1 == 1
}

#[test]
pub fn leaf_selections() {
    let (rows, leaves) = (70usize, 128usize);
    for n in PARTIES {
        let mut noise = Noise::new(14);
        let words = rows * leaves / 64;
        let (a, c): (Vec<u64>, Vec<u64>) =
            ((0..words).map(|_| noise.word()).collect(), (0..words).map(|_| noise.word()).collect());
        let (y, w) = (sample(&mut noise, rows * leaves, 40), sample(&mut noise, leaves, 40));
        let mut b = Plan::builder(n, rows as u64).unwrap();
        let fx = Fx::new(0, 40).unwrap();
        let bits = b.input_bits(0, leaves as u32).unwrap();
        let numbers = b.input(n - 1, leaves as u32, fx).unwrap();
        let others = b.input_bits(1, leaves as u32).unwrap();
        let weights = b.input_once(n - 1, leaves as u32, 1, fx).unwrap();
        let z = b.select_leaves(bits, numbers).unwrap();
        b.reveal(z, Group::first(n), disclosure()).unwrap();
        let both = b.and(&[AnyBits::Known(bits), AnyBits::Known(others)]).unwrap();
        let veiled = b.mask(weights).unwrap();
        let z = b.select_weights(both, veiled).unwrap();
        b.reveal(z, Group::first(n), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[0] = inputs[0].clone().with_bits(0, leaves / 64, &a);
        inputs[n - 1] = inputs[n - 1].clone().with(1, leaves, &y).with(3, 1, &w);
        inputs[1] = inputs[1].clone().with_bits(2, leaves / 64, &c);
        for o in run(&b.finish().unwrap(), inputs) {
            let sum = |f: &dyn Fn(usize, usize) -> i64| -> Vec<i64> {
                (0..rows).map(|r| (0..leaves).map(|l| f(r * leaves + l, l)).sum()).collect()
            };
            assert_eq!(o.numbers(0), sum(&|i, _| if bit_of(&a, i) { y[i] } else { 0 }));
            assert_eq!(o.numbers(1), sum(&|i, l| if bit_of(&a, i) && bit_of(&c, i) { w[l] } else { 0 }));
        }
    }
}

#[test]
pub fn the_largest_of_a_row() {
    for n in PARTIES {
        for columns in [2usize, 3, 4, 5, 8] {
            let mut x = sample(&mut Noise::new(15), 66 * columns, 50);
            x[..columns].fill(3); // all equal: the first
            x[columns..2 * columns].fill(-9);
            x[2 * columns - 1] = -8; // the last
            let mut b = Plan::builder(n, 66).unwrap();
            let i = b.input(0, columns as u32, Fx::new(0, 50).unwrap()).unwrap();
            let p = b.share(i).unwrap();
            let best = b.argmax(p).unwrap();
            b.reveal(best, Group::one(1), disclosure()).unwrap();
            let mut inputs = tables(n);
            inputs[0] = Table::default().with(0, columns, &x);
            let expected = x.chunks(columns).map(|row| {
                let top = row.iter().max().unwrap();
                row.iter().position(|v| v == top).unwrap() as i64
            });
            assert_eq!(run(&b.finish().unwrap(), inputs)[1].numbers(0), expected.collect::<Vec<_>>());
        }
    }
}

#[test]
pub fn the_logistic_function() {
    for (n, b_bits, error) in [(2usize, 19u8, 4.5e-5), (3, 20, 3e-5)] {
        let x = sample(&mut Noise::new(16), 500, b_bits);
        let mut b = Plan::builder(n, 500).unwrap();
        let i = b.input(0, 1, Fx::new(15, b_bits).unwrap()).unwrap();
        let p = b.share(i).unwrap();
        let y = b.sigmoid(p).unwrap();
        let format = b.format(y).unwrap();
        b.reveal(y, Group::one(1), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[0] = Table::default().with(0, 1, &x);
        let outputs = run(&b.finish().unwrap(), inputs);
        for (x, y) in x.iter().zip(&outputs[1].0[&0]) {
            let plain = 1.0 / (1.0 + (-(*x as f64) / 32768.0).exp());
            assert!((format.decode(*y) - plain).abs() < error, "sigmoid({x}/2^15)");
        }
    }
}

#[test]
pub fn reciprocals_and_square_roots() {
    for n in [2usize, 3] {
        for (f, bits) in [(10u8, 27u8), (16, 33), (4, 12)] {
            let mut noise = Noise::new(17);
            let top = (1i64 << (bits - 1)) - 1;
            let mut x = vec![1i64, 2, 3, 4, 5, 7, 8, 9, top, top - 1, 1 << (bits - 2), (1 << (bits - 2)) - 1];
            x.extend((0..200).map(|i| {
                (noise.signed(63).unsigned_abs() as i64 >> (63 - bits + (i % i64::from(bits - 1)) as u8)).max(1)
            }));
            x.iter_mut().for_each(|x| *x = (*x).min(top));
            let mut b = Plan::builder(n, x.len() as u64).unwrap();
            let i = b.input(0, 1, Fx::new(f, bits).unwrap()).unwrap();
            let p = b.share(i).unwrap();
            let (y, root) = (b.reciprocal(p, 12).unwrap(), b.sqrt(p).unwrap());
            let (y_format, root_format) = (b.format(y).unwrap(), b.format(root).unwrap());
            b.reveal(y, Group::one(1), disclosure()).unwrap();
            b.reveal(root, Group::one(1), disclosure()).unwrap();
            let mut inputs = tables(n);
            inputs[0] = Table::default().with(0, 1, &x);
            let outputs = run(&b.finish().unwrap(), inputs);
            for (i, x) in x.iter().enumerate() {
                let real = *x as f64 / (1u64 << f) as f64;
                let y = y_format.decode(outputs[1].0[&0][i]);
                assert!((y - 1.0 / real).abs() < 3.0 / 4096.0 + 3e-6 / real, "1/{real} gave {y}");
                let root = root_format.decode(outputs[1].0[&1][i]);
                let unit = 1.0 / (1u64 << f) as f64;
                assert!(
                    (root - real.sqrt()).abs() < 2.0 * unit + 2.0 * unit * real + 3e-6 * real.sqrt(),
                    "sqrt({real}) gave {root}"
                );
            }
        }
    }
}

/// What the parties' summands of an output add up to.
fn total(outputs: &[Outputs], output: u32) -> Vec<i64> {
    let mut sum = vec![0u64; outputs[0].0[&output].len()];
    for o in outputs {
        sum.iter_mut().zip(&o.0[&output]).for_each(|(s, w)| *s = s.wrapping_add(*w));
    }
    sum.into_iter().map(|w| w as i64).collect()
}

#[test]
pub fn whole_numbers_below_are_exact_and_summands_add_up() {
    for n in PARTIES {
        for (f, bits) in [(0, 20), (7, 30), (40, 60)] {
            let mut x = sample(&mut Noise::new(90 + u64::from(f)), 130, bits);
            let units = [0i64, 1, -1, 3, -3].map(|u| u << f);
            x.extend(units.iter().flat_map(|u| [*u, u - 1, u + 1]));
            let mut b = Plan::builder(n, x.len() as u64).unwrap();
            let i = b.input(n - 1, 1, Fx::new(f, bits).unwrap()).unwrap();
            let p = b.share(i).unwrap();
            let floor = b.floor(p).unwrap();
            b.hand(floor).unwrap();
            let mut inputs = tables(n);
            inputs[n - 1] = Table::default().with(0, 1, &x);
            let outputs = run(&b.finish().unwrap(), inputs);
            assert_eq!(total(&outputs, 0), x.iter().map(|x| x >> f).collect::<Vec<_>>(), "{f} {bits}");
            let zero = |o: &Outputs| o.0[&0].iter().all(|w| *w == 0);
            assert!(!outputs.iter().any(zero), "everyone has a part");
        }
        let mut b = Plan::builder(n, 1).unwrap();
        let i = b.input(0, 1, Fx::new(40, 61).unwrap()).unwrap();
        let p = b.share(i).unwrap();
        assert!(b.floor(p).is_err(), "one bit past the most");
    }
}

#[test]
pub fn an_inner_product_with_a_bound_of_its_own_is_as_wide_as_that() {
    for n in PARTIES {
        let (rows, columns) = (70, 3);
        let x = sample(&mut Noise::new(120), rows * columns, 29);
        // Weights of 31 bits whose magnitudes add up to less than 2^31: the products fit 60 bits, not what their
        // formats say.
        let (w, plus) = ([1i64 << 29, -(1 << 28), 5], -77i64);
        let mut b = Plan::builder(n, rows as u64).unwrap();
        let i = b.input(1, columns as u32, Fx::new(20, 29).unwrap()).unwrap();
        let j = b.input_once(0, columns as u32, 1, Fx::new(20, 34).unwrap()).unwrap();
        let k = b.input_once(0, 1, 1, Fx::new(40, 60).unwrap()).unwrap();
        let (a, v, c) = (b.mask(i).unwrap(), b.mask(j).unwrap(), b.share(k).unwrap());
        assert!(b.matmul(a, v).is_err(), "the formats alone do not fit");
        assert!(b.inner(&[(a, v)], &[c], 63).is_err() && b.inner(&[], &[], 60).is_err());
        let z = b.inner(&[(a, v)], &[c], 60).unwrap();
        assert_eq!(b.format(z).unwrap(), Fx { f: 40, b: 60 });
        b.hand(z).unwrap();
        b.reveal(z, Group::one(1), disclosure()).unwrap();
        let mut inputs = tables(n);
        inputs[0] = Table::default().with(1, 1, &w).with(2, 1, &[plus]);
        inputs[1] = Table::default().with(0, columns, &x);
        let outputs = run(&b.finish().unwrap(), inputs);
        let plain: Vec<i64> =
            x.chunks(columns).map(|r| r.iter().zip(&w).map(|(x, w)| x * w).sum::<i64>() + plus).collect();
        assert_eq!(total(&outputs, 0), plain);
        assert_eq!(outputs[1].numbers(1), plain);
    }
}
