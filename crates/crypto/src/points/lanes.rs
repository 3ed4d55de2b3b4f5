//! Whole batches in lanes of eight.

use super::base::add_multiple;
use super::point::*;
use super::{Encoding, From, Operation, Refused, Uniform, erase};

/// Registers of eight points of which the inversions are done together: few enough that they stay in the second cache.
const TOGETHER: usize = 64;
/// Points of so many registers.
const CHUNK: usize = 8 * TOGETHER;

/// Registers of eight points whose weighed sum is made with the same doublings: few enough that their multiples stay in the second
/// cache.
const SUMMED: usize = 16;

/// See [`super::run`].
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn run(from: From<'_>, operation: Operation<'_>, out: &mut [Encoding]) -> Result<(), Refused> {
    let mut points = Vec::with_capacity(TOGETHER + 1);
    for (i, out) in out.chunks_mut(CHUNK).enumerate() {
        let first = i * CHUNK;
        points.clear();
        match from {
            From::Uniform(all) => derive_all(&all[first..first + out.len()], &mut points),
            From::Encoded(all) => {
                decode_all(&all[first..first + out.len()], &mut points).map_err(|Refused(at)| Refused(first + at))?;
            }
        }
        points.truncate(out.len().div_ceil(8));
        for (register, p) in points.iter_mut().enumerate() {
            *p = apply(operation, p, first + 8 * register, first + out.len());
        }
        encode_doubled(&points, |register, encodings| {
            for (out, encoding) in out[8 * register..].iter_mut().zip(encodings) {
                *out = encoding;
            }
        });
        erase(&mut points, identity());
    }
    Ok(())
}

/// Encodings of twice eight points whose sum is that of the weighed ones.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn weighed(points: &[Encoding], weights: &[[u8; 16]]) -> Result<[Encoding; 8], Refused> {
    let (mut total, mut decoded) = (identity(), Vec::with_capacity(SUMMED + 1));
    for (i, points) in points.chunks(8 * SUMMED).enumerate() {
        let first = i * 8 * SUMMED;
        decoded.clear();
        decode_all(points, &mut decoded).map_err(|Refused(at)| Refused(first + at))?;
        decoded.truncate(points.len().div_ceil(8));
        // Lanes past the end have the last point again, and weigh nothing.
        let weight = |place: usize| weights.get(place).map_or(0, |w| u128::from_le_bytes(*w));
        let registers = decoded.iter().enumerate();
        let summands: Vec<Weighed> = registers
            .map(|(register, p)| Weighed::new(p, core::array::from_fn(|lane| weight(first + 8 * register + lane))))
            .collect();
        total = plus::<true>(&total, &summand(&sum(&summands)));
    }
    let mut out = [[0; 32]; 8];
    encode_doubled(&[total], |_, encodings| out = encodings);
    Ok(out)
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn apply(operation: Operation<'_>, p: &P, first: usize, end: usize) -> P {
    // Lanes past the end do the last point's work again.
    let scalars = |all| at(all, first, end);
    match operation {
        Operation::Multiply(by) => multiply(p, &by.digits),
        Operation::Blind(base, r) | Operation::Unblind(base, r) => {
            let subtract = matches!(operation, Operation::Unblind(..));
            match &base.lanes {
                Some(table) => add_multiple(p, table, scalars(r), subtract),
                None => *p, // proof: a base has a table wherever the lanes run.
            }
        }
    }
}

/// Eight items from `first` on; past `end` the last one.
#[inline]
fn at<T>(all: &[T], first: usize, end: usize) -> [&T; 8] {
    core::array::from_fn(|lane| &all[(first + lane).min(end - 1)])
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn derive_all(all: &[Uniform], points: &mut Vec<P>) {
    for first in (0..all.len()).step_by(8) {
        let eight = at(all, first, all.len());
        // proof: 64 bytes are two halves.
        let half = |k: usize| eight.map(|u| &u.as_chunks::<32>().0[k]);
        points.push(derive(half(0), half(1)));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn decode_all(all: &[Encoding], points: &mut Vec<P>) -> Result<(), Refused> {
    for first in (0..all.len()).step_by(16) {
        let later = (first + 8).min(all.len() - 1);
        let both = decode([at(all, first, all.len()), at(all, later, all.len())]);
        for (k, (p, bad)) in both.into_iter().enumerate() {
            if bad != 0 {
                return Err(Refused((first + 8 * k + bad.trailing_zeros() as usize).min(all.len() - 1)));
            }
            points.push(p);
        }
    }
    Ok(())
}
