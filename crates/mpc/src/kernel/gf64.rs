//! Sums of products in GF(2^64) = GF(2)\[x\] / (x^64 + x^4 + x^3 + x + 1). Products are added before they are reduced,
//! so that one costs a single carry-less multiplication.

/// The sum of `factors[i] * values[i]`.
pub(super) fn dot(plain: bool, factors: &[u64], values: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if !plain && is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the processor was just asked for the instructions of this function.
        let (low, high) = unsafe { carryless(factors, values) };
        return reduce(low, high);
    }
    let _ = plain;
    let (mut low, mut high) = (0, 0);
    for (a, b) in factors.iter().zip(values) {
        let (l, h) = multiply(*a, *b);
        low ^= l;
        high ^= h;
    }
    reduce(low, high)
}

/// The product as polynomials, bit by bit in constant time.
fn multiply(a: u64, b: u64) -> (u64, u64) {
    let mut product = 0u128;
    for i in 0..64 {
        let mask = u128::from(b >> i & 1).wrapping_neg();
        product ^= (u128::from(a) << i) & mask;
    }
    (product as u64, (product >> 64) as u64)
}

fn reduce(low: u64, high: u64) -> u64 {
    let over = high ^ (high >> 63) ^ (high >> 61) ^ (high >> 60);
    low ^ over ^ (over << 1) ^ (over << 3) ^ (over << 4)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "pclmulqdq,sse2")]
fn carryless(factors: &[u64], values: &[u64]) -> (u64, u64) {
    use core::arch::x86_64::*;
    let mut sum = _mm_setzero_si128();
    for (a, b) in factors.iter().zip(values) {
        let (a, b) = (_mm_cvtsi64_si128(*a as i64), _mm_cvtsi64_si128(*b as i64));
        sum = _mm_xor_si128(sum, _mm_clmulepi64_si128::<0>(a, b));
    }
    (_mm_cvtsi128_si64(sum) as u64, _mm_cvtsi128_si64(_mm_unpackhi_epi64(sum, sum)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_field_and_both_forms_agree() {
        // x^63 x = x^64 = x^4 + x^3 + x + 1, and x^63 x^63 = x^126 = x^66 + x^65 + x^63 + x^62 = ...
        assert_eq!(dot(true, &[1 << 63], &[2]), 0x1b);
        assert_eq!(dot(true, &[1 << 63], &[1 << 63]), (0x1b << 2) ^ (0x1b << 1) ^ (1 << 63) ^ (1 << 62));
        let mut noise = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise
        };
        for _ in 0..200 {
            let (a, b, c) = (next(), next(), next());
            let product = |a, b| dot(true, &[a], &[b]);
            assert_eq!(product(a, product(b, c)), product(product(a, b), c));
            assert_eq!(product(a, b ^ c), product(a, b) ^ product(a, c));
            assert_eq!(dot(false, &[a, b, c], &[b, c, a]), dot(true, &[a, b, c], &[b, c, a]));
            // Fermat: a^(2^64) = a.
            assert_eq!((0..64).fold(a, |x, _| product(x, x)), a);
        }
    }
}
