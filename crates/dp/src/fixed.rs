//! Numbers from 0 to 1 in 127 binary places, by integer operations alone: the same on every machine.

/// One.
pub(crate) const ONE: u128 = 1 << 127;
/// Both sides of a ratio stay below it.
pub(crate) const RATIO_BITS_MAX: u32 = 95;
/// e^-90 is below the last place.
const EXPONENT_MAX: u128 = 90;

/// `a * b`, at most one unit of the last place too small.
pub(crate) fn mul(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    // Both factors are at most 2^127, so that the sum of the middle products has room.
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let cross = a0 * b1 + (middle & LOW);
    let high = a1 * b1 + (middle >> 64) + (cross >> 64);
    let rest = (cross << 64) | (low & LOW);
    (high << 1) | (rest >> 127)
}

/// `a / b` for `a <= b`, rounded down. Both are below 2^95, and `b` is not 0.
pub(crate) fn ratio(a: u128, b: u128) -> u128 {
    debug_assert!(a <= b && b != 0 && b >> RATIO_BITS_MAX == 0);
    if a == b {
        return ONE;
    }
    let (mut rest, mut quotient) = (a, 0);
    for bits in [32, 32, 32, 31] {
        rest <<= bits;
        quotient = (quotient << bits) | (rest / b);
        rest %= b;
    }
    quotient
}

/// e^-x for x from 0 to 1 by its series, within 40 units of the last place.
fn exp_fraction(x: u128) -> u128 {
    let (mut sum, mut term, mut place) = (ONE, ONE, 0u128);
    loop {
        place += 1;
        term = mul(term, x) / place;
        if term == 0 {
            return sum.min(ONE);
        }
        if place % 2 == 1 { sum -= term } else { sum += term }
    }
}

/// e^-(a/b), within 2^8 units of the last place. `b` and the remainder of `a` are below 2^95.
pub(crate) fn exp_neg(a: u128, b: u128) -> u128 {
    let whole = a / b;
    if whole >= EXPONENT_MAX {
        return 0;
    }
    let (mut power, mut result, mut left) = (exp_fraction(ONE), exp_fraction(ratio(a % b, b)), whole);
    while left > 0 {
        if left & 1 == 1 {
            result = mul(result, power);
        }
        power = mul(power, power);
        left >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_ratios_are_those_of_long_hand() {
        assert_eq!(mul(ONE, ONE), ONE);
        assert_eq!(mul(ONE, 12_345), 12_345);
        assert_eq!(mul(ONE / 2, ONE / 2), ONE / 4);
        assert_eq!(mul(ONE - 1, ONE - 1), ONE - 2);
        // (2^127 / 3) * 3 falls short by less than three places.
        let third = ratio(1, 3);
        assert_eq!(third, 0x2aaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa);
        assert!(ONE - third * 3 < 3);
        assert_eq!(ratio((1 << 95) - 1, (1 << 95) - 1), ONE);
        assert_eq!(ratio((1 << 95) - 2, (1 << 95) - 1), ONE - (1 << 32) - 1);
        assert_eq!(ratio(0, 7), 0);
    }

    /// Against 80 digits of mpmath.
    #[test]
    fn exponentials_are_right_to_a_hundred_and_more_bits() {
        for (a, b, want) in [
            (0, 5, ONE),
            (1, 1, 0x2f16_ac6c_59de_6f8d_5d6f_63c1_482a_7c86),
            (1, 3, 0x5bb7_4c48_bcba_9344_e2cc_264e_2875_f264),
            (7, 2, 0x03dd_8203_1c9f_ecbe_d2b5_ea40_6b4a_4dc7),
            (40, 1, 0x0000_0000_0000_0027_2f24_9336_3448_52a9),
        ] {
            let got = exp_neg(a, b);
            assert!(got.abs_diff(want) < 1 << 8, "e^-({a}/{b}): {got:x}, not {want:x}");
        }
        assert_eq!(exp_neg(90, 1), 0);
    }
}
