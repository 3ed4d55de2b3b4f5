//! Values of which no more than the low bits are sent and dealt that anything reads.

use super::*;
use crate::plan::AnyBits;
use crate::{Fx, Group};

/// The edges of a format, and numbers between.
fn sample(bits: u8, count: usize) -> Vec<i64> {
    let top = (1i64 << (bits - 1)) - 1;
    let mut all = vec![0, top, -top, top / 2, -(top / 2), top.min(1), -top.min(1)];
    all.extend(Noise::new(bits.into()).numbers(count - all.len(), bits.max(2)).into_iter().map(|x| x.clamp(-top, top)));
    all
}

/// From one bit to as many as fit, with no fraction, a part of them, and more fraction bits than bits.
#[test]
fn numbers_of_every_format_are_cut_and_compared() {
    const ROWS: usize = 70;
    for bits in 1..=62u8 {
        for f in [0, bits / 2, (bits + 9).min(60)] {
            let (x, fx) = (sample(bits, ROWS), Fx::new(f, bits).unwrap());
            let top = (1i64 << (bits - 1)) - 1;
            let mut b = Plan::builder(2, ROWS as u64).unwrap();
            let i = b.input(0, 1, fx).unwrap();
            let p = b.share(i).unwrap();
            let cut = b.truncate(p, f).unwrap();
            let positive = b.relu(p, f).unwrap();
            b.reveal(cut, Group::one(1), disclosure()).unwrap();
            b.reveal(positive, Group::one(1), disclosure()).unwrap();
            let edges: Vec<i64> =
                [-top, 0, top].into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            // why: an edge of more bits than a float holds is rounded, maybe past the format.
            let edges: Vec<i64> =
                edges.into_iter().filter(|e| *e == *e as f64 as i64 && (*e as f64).abs() <= top as f64).collect();
            let plain: Vec<f64> = edges.iter().map(|e| fx.decode(*e as u64)).collect();
            let band = b.band(p, &plain).unwrap();
            b.reveal(band, Group::one(1), disclosure()).unwrap();
            for edge in &plain {
                let less = b.less_than(p, *edge).unwrap();
                b.reveal_bits(less, Group::one(1), disclosure()).unwrap();
            }
            let inputs = vec![Table::default().with(0, 1, &x), Table::default()];
            let outputs = run(&b.finish().unwrap(), inputs);
            let (cut, positive, band) = (outputs[1].numbers(0), outputs[1].numbers(1), outputs[1].numbers(2));
            for (row, x) in x.iter().enumerate() {
                let at = format!("{bits} bits, {f} of fraction, {x}");
                assert!(cut[row] == x >> f || (f > 0 && cut[row] == (x >> f) + 1), "{at}: {}", cut[row]);
                let wanted = if *x < 0 { 0..=0 } else { x >> f..=(x >> f) + i64::from(f > 0) };
                assert!(wanted.contains(&positive[row]), "{at}: {}", positive[row]);
                assert_eq!(band[row], edges.iter().filter(|e| *e <= x).count() as i64, "{at}");
                for (k, edge) in edges.iter().enumerate() {
                    let bit = outputs[1].0[&(3 + k as u32)][row / 64] >> (row % 64) & 1;
                    assert_eq!(bit == 1, x < edge, "{at} below {edge}");
                }
            }
        }
    }
}

/// A hidden layer, a leaf selection and a selection by two owners' bits: what one operation leaves above the bits that
/// the next reads changes nothing.
#[test]
fn what_shares_have_above_changes_nothing_further_on() {
    const ROWS: usize = 130;
    for n in [2, 3, 5] {
        let mut b = Plan::builder(n, ROWS as u64).unwrap();
        let fx = |f, b| Fx::new(f, b).unwrap();
        let (x, w) = (b.input(0, 3, fx(6, 12)).unwrap(), b.input_once(1, 3, 64, fx(6, 10)).unwrap());
        let v = b.input_once(1, 64, 1, fx(6, 10)).unwrap();
        let bits: Vec<_> = (0..2).map(|p| b.input_bits(p, 1).unwrap()).collect();
        let (x, w, v) = (b.mask(x).unwrap(), b.mask(w).unwrap(), b.mask(v).unwrap());
        let z = b.inner(&[(x, w)], &[], 23).unwrap();
        let h = b.relu(z, 6).unwrap();
        let hidden = b.mask_share(h).unwrap();
        let y = b.matmul(hidden, v).unwrap();
        let leaves = b.at_least(z, 0.0).unwrap();
        let sum = b.select_weights(leaves, v).unwrap();
        let square = b.multiply(sum, sum).unwrap();
        let both = b.and(&[AnyBits::Known(bits[0]), AnyBits::Known(bits[1])]).unwrap();
        let shown = b.select(both, square).unwrap();
        b.hand(shown).unwrap();
        b.hand(y).unwrap();
        let plan = b.finish().unwrap();
        let widths: Vec<u8> = [x.0, v.0, z.0, h.0].iter().map(|id| plan.node(*id).low).collect();
        // Of z the 24 bits of a comparison are read, more than what cuts it reads; of v the bits of the widest product.
        assert_eq!(widths, [24, 33, 24, 33]);
        let mut noise = Noise::new(3);
        let (x, w, v) = (noise.numbers(3 * ROWS, 12), noise.numbers(3 * 64, 10), noise.numbers(64, 10));
        let shown: [Vec<u64>; 2] = core::array::from_fn(|_| (0..3).map(|_| noise.word()).collect());
        let mut inputs = vec![Table::default(); n];
        inputs[0] = Table::default().with(0, 3, &x).with_bits(3, 1, &shown[0]);
        inputs[1] = Table::default().with(1, 64, &w).with(2, 1, &v).with_bits(4, 1, &shown[1]);
        let outputs = run(&plan, inputs);
        let total =
            |output: u32, row: usize| outputs.iter().fold(0u64, |s, o| s.wrapping_add(o.0[&output][row])) as i64;
        for row in 0..ROWS {
            let z: Vec<i64> = (0..64).map(|j| (0..3).map(|k| x[row * 3 + k] * w[k * 64 + j]).sum()).collect();
            let least: i64 = z.iter().zip(&v).map(|(z, v)| (z.max(&0) >> 6) * v).sum();
            let slack: i64 = v.iter().map(|v| v.abs()).sum();
            assert!((total(1, row) - least).abs() <= slack, "row {row}");
            let sum: i64 = z.iter().zip(&v).map(|(z, v)| if *z >= 0 { *v } else { 0 }).sum();
            let both = (shown[0][row / 64] & shown[1][row / 64]) >> (row % 64) & 1 == 1;
            assert_eq!(total(0, row), if both { sum * sum } else { 0 }, "row {row}");
        }
    }
}

/// Codes cover whole words.
#[test]
fn a_verified_plan_sends_whole_words() {
    let make = |audits: Option<u8>| {
        let mut b = Plan::builder(2, 64).unwrap();
        if let Some(audits) = audits {
            b.verified(audits).unwrap();
        }
        let (x, w) =
            (b.input(0, 3, Fx::new(0, 9).unwrap()).unwrap(), b.input_once(1, 3, 1, Fx::new(0, 9).unwrap()).unwrap());
        let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
        let z = b.matmul(x, w).unwrap();
        b.hand(z).unwrap();
        b.finish().unwrap()
    };
    assert!(make(Some(0)).nodes.iter().all(|n| n.low == 64));
    let plan = make(None);
    assert_eq!(plan.nodes.iter().map(|n| n.low).collect::<Vec<_>>(), [19; 6]);
    assert_eq!(plan.cost().sent[0][1], 64 + 64 * 3 * 19 / 8);
    // The numbers stand at the top, with their sign; what has bits below them is none.
    let format = plan.handed(0).unwrap();
    assert_eq!(format.number((-5i64 as u64) << 45), Some(-5i64 as u64));
    assert_eq!((format.number(1 << 44), plan.handed(1)), (None, None));
}
