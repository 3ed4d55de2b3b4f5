//! Whole numbers of money. Prices are in millionths of a currency unit, charges in fen, its hundredths; products are
//! formed in 128 bits and checked. Nothing here holds a fraction that is not named.

use tacit_types::{Code, Fault, NodeId};

/// Millionths of a currency unit in a fen.
pub const MICRO_PER_FEN: i128 = 10_000;
/// Fen of one charge: ten trillion units.
pub const AMOUNT_FEN_MAX: u64 = 1_000_000_000_000_000;
/// Millionths of a currency unit of one price: a billion units.
pub const PRICE_MICRO_MAX: u64 = 1_000_000_000_000_000;
/// Parts of a whole, for commissions and fixed shares.
pub const PPM: u64 = 1_000_000;

/// That an amount is over its limit.
pub fn too_large(what: &str) -> Fault {
    Fault::new(Code::ReceiptAmount, format!("{what} is over {AMOUNT_FEN_MAX} fen, or overflows"))
}

/// The nearest whole quotient, halves to the even one. `divisor` is positive.
pub fn half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    // rest < divisor, so the difference cannot overflow where the double of rest could.
    match rest.cmp(&(divisor - rest)) {
        core::cmp::Ordering::Less => quotient,
        core::cmp::Ordering::Greater => quotient + 1,
        core::cmp::Ordering::Equal => quotient + (quotient & 1),
    }
}

/// Fen of a sum of millionths, rounded half even.
///
/// # Errors
/// `receipt.amount` when it is negative or over [`AMOUNT_FEN_MAX`].
pub fn fen(micro: i128, what: &str) -> Result<u64, Fault> {
    u64::try_from(half_even(micro, MICRO_PER_FEN))
        .ok()
        .filter(|fen| *fen <= AMOUNT_FEN_MAX)
        .ok_or_else(|| too_large(what))
}

/// Divides `total` in proportion to weights: everyone gets the whole part, and what is left goes out one by one to
/// the largest remainders, ties to the lesser party id. Without any weight everyone weighs the same. The parts add
/// up to `total` always; without a party there is nobody to give it to and the list is empty.
///
/// # Errors
/// `receipt.amount` when a product overflows.
pub fn largest_remainder(total: u64, weights: &[(NodeId, u128)]) -> Result<Vec<(NodeId, u64)>, Fault> {
    let overflow = || too_large("a share");
    let sum = weights.iter().try_fold(0u128, |sum, (_, w)| sum.checked_add(*w)).ok_or_else(overflow)?;
    let equal = u128::from(sum == 0);
    let sum = if sum == 0 { weights.len() as u128 } else { sum };
    if weights.is_empty() {
        return Ok(Vec::new());
    }
    let mut parts: Vec<(NodeId, u64, u128)> = Vec::with_capacity(weights.len());
    let mut left = total;
    for (party, weight) in weights {
        let product = u128::from(total).checked_mul(weight + equal).ok_or_else(overflow)?;
        let whole = u64::try_from(product / sum).map_err(|_| overflow())?;
        left = left.checked_sub(whole).ok_or_else(overflow)?;
        parts.push((*party, whole, product % sum));
    }
    parts.sort_unstable_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
    // Fewer are left than there are parties: each remainder is less than one.
    for part in parts.iter_mut().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        part.1 += 1;
    }
    parts.sort_unstable_by_key(|a| a.0);
    Ok(parts.into_iter().map(|(party, fen, _)| (party, fen)).collect())
}

/// An amount in the currency unit, with two decimals: `-12.05`.
pub fn decimal(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let whole = fen.unsigned_abs();
    format!("{sign}{}.{:02}", whole / 100, whole % 100)
}

/// A price in the currency unit, with six decimals.
pub fn price_decimal(micro: u64) -> String {
    format!("{}.{:06}", micro / PPM, micro % PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn halves_go_to_the_even_fen() {
        for (micro, expected) in [
            (0, 0),
            (4_999, 0),
            (5_000, 0),
            (5_001, 1),
            (14_999, 1),
            (15_000, 2),
            (25_000, 2),
            (25_001, 3),
            (-5_000, 0),
            (-15_000, -2),
            (-15_001, -2),
            (-25_000, -2),
        ] {
            assert_eq!(half_even(micro, MICRO_PER_FEN), expected, "{micro}");
        }
        assert_eq!(half_even(i128::MAX, i128::MAX), 1);
        assert_eq!(half_even(i128::MAX - 1, i128::MAX), 1);
        assert_eq!(half_even(i128::MAX / 2, i128::MAX), 0);
    }

    #[test]
    fn an_amount_has_a_limit() {
        let most = i128::from(AMOUNT_FEN_MAX) * MICRO_PER_FEN;
        assert_eq!(fen(most, "x"), Ok(AMOUNT_FEN_MAX));
        assert_eq!(fen(most + MICRO_PER_FEN, "x").unwrap_err().code, Code::ReceiptAmount);
        assert_eq!(fen(i128::MAX, "x").unwrap_err().code, Code::ReceiptAmount);
        assert_eq!(fen(-MICRO_PER_FEN, "x").unwrap_err().code, Code::ReceiptAmount);
    }

    #[test]
    fn remainders_go_to_the_largest_then_to_the_lesser_id() {
        let split = |total, weights: &[u128]| {
            let weights: Vec<_> = (1..).map(id).zip(weights.iter().copied()).collect();
            largest_remainder(total, &weights).unwrap().into_iter().map(|(_, fen)| fen).collect::<Vec<_>>()
        };
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(101, &[1, 1, 1]), [34, 34, 33]);
        assert_eq!(split(10, &[1, 2, 4]), [1, 3, 6]);
        assert_eq!(split(5, &[0, 0, 0]), [2, 2, 1]);
        assert_eq!(split(5, &[0, 3, 0]), [0, 5, 0]);
        assert_eq!(split(0, &[1, 2]), [0, 0]);
        assert_eq!(split(7, &[]), [0u64; 0]);
        let out_of_order = [(id(9), 1), (id(2), 1)];
        assert_eq!(largest_remainder(3, &out_of_order), Ok(vec![(id(2), 2), (id(9), 1)]));
        assert_eq!(largest_remainder(2, &[(id(1), u128::MAX)]).unwrap_err().code, Code::ReceiptAmount);
        assert_eq!(largest_remainder(0, &[(id(1), u128::MAX), (id(2), 1)]).unwrap_err().code, Code::ReceiptAmount);
    }

    #[test]
    fn amounts_print_exactly() {
        assert_eq!([0, 5, -5, 1205, -100].map(decimal), ["0.00", "0.05", "-0.05", "12.05", "-1.00"]);
        assert_eq!(decimal(i64::MIN), "-92233720368547758.08");
        assert_eq!(price_decimal(1_000_005), "1.000005");
    }
}
