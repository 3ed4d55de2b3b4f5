//! Every kernel at every level of this processor against its plain twin.

use tacit_crypto::{Rng, Secret};

use super::*;

pub(super) fn rng(seed: u8) -> Rng {
    Rng::from_seed(&Secret::new([seed; 32]))
}

/// Words of which many are at an edge: all ones, one bit, zero, one less than a power.
pub(super) fn words(rng: &mut Rng, count: usize) -> Vec<u64> {
    let word = |rng: &mut Rng| match rng.below(8) {
        0 => u64::MAX,
        1 => 1 << rng.below(64),
        2 => (1 << rng.below(64)) - 1,
        3 => 0,
        _ => u64::from_le_bytes(rng.bytes()),
    };
    (0..count).map(|_| word(rng)).collect()
}

/// Words that are signed integers of `bits` bits.
fn bounded(rng: &mut Rng, bits: u32, count: usize) -> Vec<u64> {
    let edges = [1 << (bits - 1), (1 << (bits - 1)) - 1, u64::MAX, 0];
    let word = |rng: &mut Rng, x: u64| if rng.below(4) == 0 { edges[rng.below(4) as usize] } else { x };
    let narrow = |x: u64| ((x << (64 - bits)) as i64 >> (64 - bits)) as u64;
    words(rng, count).into_iter().map(|x| narrow(word(rng, x))).collect()
}

/// Zero, one, primes, and both sides of every size of tile and block.
const SHAPES: &[(usize, usize, usize)] = &[
    (0, 3, 4),
    (3, 0, 4),
    (3, 4, 0),
    (1, 1, 1),
    (1, 100, 1),
    (7, 13, 1),
    (64, 33, 1),
    (3, 1000, 2),
    (97, 31, 3),
    (6, 128, 16),
    (7, 129, 17),
    (5, 127, 15),
    (12, 20, 24),
    (13, 64, 25),
    (16, 64, 16),
    (31, 65, 33),
    (33, 63, 31),
    (32, 128, 32),
    (100, 100, 64),
    (61, 257, 47),
    (17, 40, 241),
    (2, 523, 487),
    (130, 20, 7),
    (33, 1100, 19),
    (530, 17, 20),
    (20, 70, 200),
];

#[test]
fn every_product_is_that_of_the_plain_twin() {
    let mut rng = rng(1);
    for (m, k, n) in SHAPES.iter().copied() {
        let (a, b) = (words(&mut rng, m * k), words(&mut rng, k * n));
        let begin = words(&mut rng, m * n);
        let mut want = begin.clone();
        portable::gemm(k, n, &a, &b, &mut want);
        for level in Level::available() {
            let mut got = begin.clone();
            gemm_at(level, m, k, n, Bound::None, &a, &b, &mut got);
            assert!(got == want, "{level:?} {m}x{k}x{n}");
        }
    }
}

#[test]
fn a_bound_changes_no_product_that_keeps_it() {
    let mut rng = rng(2);
    for (m, k, n) in SHAPES.iter().copied() {
        for bits in [1, 8, 17, 24, 25, 32, 40, 41, 63, 64] {
            let left = bounded(&mut rng, bits, m * k);
            let right = bounded(&mut rng, bits, k * n);
            let (a, b) = (words(&mut rng, m * k), words(&mut rng, k * n));
            let begin = words(&mut rng, m * n);
            for (bound, a, b) in [(Bound::Left(bits), &left, &b), (Bound::Right(bits), &a, &right)] {
                let mut want = begin.clone();
                portable::gemm(k, n, a, b, &mut want);
                for level in Level::available() {
                    let mut got = begin.clone();
                    gemm_at(level, m, k, n, bound, a, b, &mut got);
                    assert!(got == want, "{level:?} {m}x{k}x{n} {bound:?}");
                }
            }
        }
    }
}

#[test]
fn products_with_a_vector_are_those_of_the_plain_twin() {
    let mut rng = rng(3);
    for (m, k) in [
        (0, 5),
        (5, 0),
        (1, 1),
        (3, 7),
        (4, 8),
        (5, 9),
        (7, 31),
        (9, 32),
        (6, 63),
        (6, 64),
        (6, 65),
        (11, 33),
        (64, 100),
        (101, 20),
        (3, 1025),
    ] {
        let a = words(&mut rng, m * k);
        let (x, y) = (words(&mut rng, k), words(&mut rng, m));
        let (begin, begin_transposed) = (words(&mut rng, m), words(&mut rng, k));
        let (mut want, mut want_transposed) = (begin.clone(), begin_transposed.clone());
        portable::gemm(k, 1, &a, &x, &mut want);
        let turned: Vec<u64> = (0..k).flat_map(|j| (0..m).map(move |i| (i, j))).map(|(i, j)| a[i * k + j]).collect();
        portable::gemm(m, 1, &turned, &y, &mut want_transposed);
        for level in Level::available() {
            let mut got = begin.clone();
            gemv_at(level, m, k, &a, &x, &mut got);
            assert!(got == want, "{level:?} {m}x{k}");
            let mut got = begin_transposed.clone();
            gemv_transposed_at(level, m, k, &a, &y, &mut got);
            assert!(got == want_transposed, "{level:?} {m}x{k} transposed");
        }
    }
}

/// More steps along the inner dimension than the sums of any form have room for, with elements that fill it.
#[test]
fn a_long_inner_dimension_of_full_elements_does_not_overflow_a_sum() {
    let (m, k, n) = (16, 9001, 16);
    let (a, b) = (vec![u64::MAX; m * k], vec![u64::MAX; k * n]);
    for level in Level::available() {
        let mut got = vec![0; m * n];
        gemm_at(level, m, k, n, Bound::None, &a, &b, &mut got);
        // (-1) * (-1) summed k times.
        assert!(got.iter().all(|x| *x == k as u64), "{level:?}");
    }
}

#[test]
fn an_absent_level_is_replaced_by_the_best_one_here() {
    let mut rng = rng(4);
    let (a, b) = (words(&mut rng, 64 * 64), words(&mut rng, 64 * 64));
    let mut want = vec![0; 64 * 64];
    portable::gemm(64, 64, &a, &b, &mut want);
    let mut got = vec![0; 64 * 64];
    gemm_at(Level::Amx, 64, 64, 64, Bound::None, &a, &b, &mut got);
    assert!(got == want);
    assert_eq!(Level::available().next(), Some(Level::detect()));
    assert_eq!(Level::available().last(), Some(Level::Portable));
}

const LENGTHS: &[usize] = &[0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 448, 449, 511, 512, 513, 640, 1000, 1023, 1100];

#[test]
fn bits_times_words_are_those_of_a_sum_by_hand() {
    let mut rng = rng(5);
    for n in LENGTHS.iter().copied() {
        // A bit past the end must not count.
        let bits = words(&mut rng, n.div_ceil(64) + 1);
        let wide = words(&mut rng, n);
        let narrow: Vec<u32> = wide.iter().map(|w| (w >> 7) as u32).collect();
        let set = |i: usize| bits[i / 64] >> (i % 64) & 1 == 1;
        let want = (0..n).filter(|i| set(*i)).fold(0, |s: u64, i| s.wrapping_add(wide[i]));
        let want_signs =
            (0..n).fold(0, |s: u64, i| if set(i) { s.wrapping_sub(wide[i]) } else { s.wrapping_add(wide[i]) });
        let want_narrow = (0..n).filter(|i| set(*i)).fold(0, |s: u32, i| s.wrapping_add(narrow[i]));
        let want_narrow_signs =
            (0..n).fold(0, |s: u32, i| if set(i) { s.wrapping_sub(narrow[i]) } else { s.wrapping_add(narrow[i]) });
        for level in Level::available() {
            assert_eq!(dot_bits_at(level, &bits, &wide), want, "{level:?} {n}");
            assert_eq!(dot_signs_at(level, &bits, &wide), want_signs, "{level:?} {n}");
            assert_eq!(dot_bits_at(level, &bits, &narrow), want_narrow, "{level:?} {n}");
            assert_eq!(dot_signs_at(level, &bits, &narrow), want_narrow_signs, "{level:?} {n}");
        }
    }
}

#[test]
fn a_plane_has_the_bits_of_its_place_and_words_come_back() {
    let mut rng = rng(6);
    for n in LENGTHS.iter().copied() {
        let given = words(&mut rng, n);
        let stride = n.div_ceil(64);
        let bit = |plane: usize, i: usize| given.get(i).map_or(0, |w| w >> plane & 1);
        let want: Vec<u64> = (0..64 * stride)
            .map(|p| (0..64).map(|i| bit(p / stride, p % stride * 64 + i) << i).fold(0, |w, b| w | b))
            .collect();
        for level in Level::available() {
            let mut got = vec![u64::MAX; 64 * stride];
            planes_at(level, &given, &mut got);
            assert!(got == want, "{level:?} {n}");
            let mut back = vec![u64::MAX; n];
            unplanes_at(level, &got, &mut back);
            assert!(back == given, "{level:?} {n} back");
        }
    }
}

#[test]
fn code_compiled_for_wide_registers_gives_what_it_gives_anywhere() {
    let mut rng = rng(7);
    let (a, b) = (words(&mut rng, 1001), words(&mut rng, 1001));
    let work = || -> Vec<u64> { a.iter().zip(&b).map(|(a, b)| a.wrapping_mul(*b) ^ (a >> 5)).collect() };
    let want = work();
    for level in Level::available() {
        assert!(vectorized_at(level, work) == want, "{level:?}");
    }
}

#[test]
fn a_probe_tells_how_much_it_did() {
    for level in Level::available() {
        for bound in [Bound::None, Bound::Left(24), Bound::Right(40)] {
            assert!(probe(level, bound, 0) == 0 && probe(level, bound, 1000) >= 1000, "{level:?} {bound:?}");
        }
    }
}
