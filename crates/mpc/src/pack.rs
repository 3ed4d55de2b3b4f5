//! Words of k bits as bytes: what a receiver needs modulo 2^k travels in k bits.

use tacit_crypto::Lane;

/// Bytes of `count` words of `bits` bits.
pub const fn packed_bytes(count: u64, bits: u8) -> u64 {
    (count * bits as u64).div_ceil(8)
}

/// The words below 2^`bits` of a mask.
pub const fn low_mask(bits: u8) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Appends the low `bits` bits of each word, least significant first, the last byte filled with zeros.
pub fn pack(words: &[u64], bits: u8, out: &mut Vec<u8>) {
    if bits == 64 {
        return u64::write_bytes(words, out);
    }
    let (mut held, mut have) = (0u128, 0u32);
    for word in words {
        held |= u128::from(word & low_mask(bits)) << have;
        have += u32::from(bits);
        while have >= 8 {
            out.push(held as u8);
            held >>= 8;
            have -= 8;
        }
    }
    if have > 0 {
        out.push(held as u8);
    }
}

/// Adds the packed words to `sum`, or joins them by exclusive or. The slice has the packed length.
pub fn fold(bytes: &[u8], bits: u8, xor: bool, sum: &mut [u64]) {
    let join = |s: &mut u64, w: u64| *s = if xor { *s ^ w } else { s.wrapping_add(w) };
    if bits == 64 {
        let words = bytes.as_chunks::<8>().0;
        sum.iter_mut().zip(words).for_each(|(s, w)| join(s, u64::from_le_bytes(*w)));
        return;
    }
    let (mut held, mut have) = (0u128, 0u32);
    let mut bytes = bytes.iter();
    for s in sum {
        while have < u32::from(bits) {
            held |= u128::from(bytes.next().copied().unwrap_or(0)) << have;
            have += 8;
        }
        join(s, held as u64 & low_mask(bits));
        held >>= bits;
        have -= u32::from(bits);
    }
}

/// Adds whole words to `sum`, and counts in `carry` what each sum lost at its top.
pub(crate) fn fold_carry(bytes: &[u8], sum: &mut [u64], carry: &mut [u8]) {
    for ((s, k), w) in sum.iter_mut().zip(carry).zip(bytes.as_chunks::<8>().0) {
        let (next, lost) = s.overflowing_add(u64::from_le_bytes(*w));
        *s = next;
        *k = k.wrapping_add(u8::from(lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_width_come_back() {
        for bits in 1..=64u8 {
            let words: Vec<u64> = (0..67u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            let mut bytes = Vec::new();
            pack(&words, bits, &mut bytes);
            assert_eq!(bytes.len() as u64, packed_bytes(67, bits));
            let mut sum = vec![5u64; 67];
            fold(&bytes, bits, false, &mut sum);
            assert!(sum.iter().zip(&words).all(|(s, w)| *s == (w & low_mask(bits)).wrapping_add(5)), "{bits}");
            let mut sum = vec![5u64; 67];
            fold(&bytes, bits, true, &mut sum);
            assert!(sum.iter().zip(&words).all(|(s, w)| *s == (w & low_mask(bits)) ^ 5), "{bits}");
        }
    }
}
