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

/// ln 2 in 120 binary places.
const LN_2: u128 = 0x00b1_7217_f7d1_cf79_abc9_e3b3_9803_f2f6;

/// The logarithm of `a / b` for `a >= b`, in 120 binary places, rounded down, at most 2^-113 too small. Both are below 2^94,
/// and `b` is not 0.
pub(crate) fn ln(a: u128, b: u128) -> u128 {
    debug_assert!(a >= b && b != 0 && a >> (RATIO_BITS_MAX - 1) == 0);
    let mut doublings = 0u32;
    while b << (doublings + 1) <= a {
        doublings += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)) for m from 1 to 2, by its series in odd powers.
    let base = b << doublings;
    let place = ratio(a - base, a + base);
    let square = mul(place, place);
    let (mut power, mut sum, mut odd) = (place, 0, 1);
    while power > 0 {
        sum += power / odd;
        power = mul(power, square);
        odd += 2;
    }
    u128::from(doublings) * LN_2 + (sum >> 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against 80 digits of mpmath.
    #[test]
    fn logarithms_are_right_to_a_hundred_and_more_bits() {
        for (a, b, want) in [
            (2, 1, 0x00b1_7217_f7d1_cf79_abc9_e3b3_9803_f2f6),
            (3, 2, 0x0067_cc8f_b2fe_612f_cada_35d9_bd01_4886),
            (1280, 1279, 0x0000_3338_529a_6297_ed15_18ce_79bf_f802),
            (1280, 1, 0x0727_94df_3d67_4f04_0e2e_9541_d626_f0e7),
            (64, 8, 0x0214_5647_e775_6e6d_035d_ab1a_c80b_d8e4),
            (9, 8, 0x001e_2707_6e2a_f2e5_e9ea_87ff_e1fe_9e15),
            (1000000000000000000000000, 1, 0x3743_1533_1fff_4088_97e0_9050_510f_23cf),
            (1000000000000000000000000, 1000000000000000000, 0x0dd0_c54c_c7ff_d022_25f8_2414_1443_c8f3),
            (1000000000000000000000000, 3, 0x3629_d68b_752f_0fdf_213c_76c2_fc09_e852),
        ] {
            let got = ln(a, b);
            assert!(got <= want && want - got < 1 << 7, "ln({a}/{b}): {got:x}, not {want:x}");
        }
        assert_eq!(ln(5, 5), 0);
    }

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
