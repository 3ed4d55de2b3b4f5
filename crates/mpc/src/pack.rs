//! Words of k bits as bytes: what a receiver needs modulo 2^k travels in k bits.

use tacit_crypto::Lane;

/// Bytes of `count` words of `bits` bits.
pub const fn packed_bytes(count: u64, bits: u8) -> u64 {
    (count * bits as u64).div_ceil(8)
}

/// As [`packed_bytes`], of a count in memory.
pub(crate) const fn packed(count: usize, bits: u8) -> usize {
    packed_bytes(count as u64, bits) as usize
}

/// The words below 2^`bits` of a mask.
pub const fn low_mask(bits: u8) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Bits of a word that eight bytes hold whole wherever in its first byte it begins.
const NARROW_BITS: u8 = 57;

/// Appends the low `bits` bits of each word, least significant first, the last byte filled with zeros.
pub fn pack(words: &[u64], bits: u8, out: &mut Vec<u8>) {
    if bits == 64 {
        return u64::write_bytes(words, out);
    }
    let bits = u32::from(bits);
    out.reserve(packed(words.len(), bits as u8));
    let (mut held, mut have, mask) = (0u64, 0u32, low_mask(bits as u8));
    for word in words {
        let word = word & mask;
        held |= word << have;
        have += bits;
        if have >= 64 {
            out.extend_from_slice(&held.to_le_bytes());
            have -= 64;
            // The bits of the word that did not fit.
            held = word >> (bits - have);
        }
    }
    let rest = held.to_le_bytes();
    out.extend(rest.iter().take(have.div_ceil(8) as usize));
}

/// Adds the packed words to `sum`, or joins them by exclusive or. The slice has the packed length.
pub fn fold(bytes: &[u8], bits: u8, xor: bool, sum: &mut [u64]) {
    if xor { fold_by(bytes, bits, sum, |s, w| s ^ w) } else { fold_by(bytes, bits, sum, u64::wrapping_add) }
}

fn fold_by(bytes: &[u8], bits: u8, sum: &mut [u64], join: impl Fn(u64, u64) -> u64 + Copy) {
    if bits == 64 {
        let words = bytes.as_chunks::<8>().0;
        return sum.iter_mut().zip(words).for_each(|(s, w)| *s = join(*s, u64::from_le_bytes(*w)));
    }
    let width = usize::from(bits);
    let mut begun = 0;
    if (1..=NARROW_BITS).contains(&bits) {
        // Eight words take as many bytes as a word has bits; the last of them reads up to eight more.
        let mask = low_mask(bits);
        for (eight, block) in sum.chunks_exact_mut(8).zip(bytes.windows(width + 8).step_by(width)) {
            for (i, s) in eight.iter_mut().enumerate() {
                let at = i * width;
                let word = block.get(at / 8..).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b));
                *s = join(*s, word >> (at % 8) & mask);
            }
            begun += 8;
        }
    }
    fold_slowly(
        bytes.get(begun / 8 * width..).unwrap_or_default(),
        bits,
        sum.get_mut(begun..).unwrap_or_default(),
        join,
    );
}

fn fold_slowly(bytes: &[u8], bits: u8, sum: &mut [u64], join: impl Fn(u64, u64) -> u64) {
    let (bits, mask) = (u32::from(bits), low_mask(bits));
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut last = [0u8; 8];
    last.iter_mut().zip(rest).for_each(|(l, r)| *l = *r);
    let mut words = eights.iter().chain([&last]).map(|w| u64::from_le_bytes(*w));
    let (mut held, mut have) = (0u64, 0u32);
    for s in sum {
        if have >= bits {
            *s = join(*s, held & mask);
            held >>= bits;
            have -= bits;
            continue;
        }
        let next = words.next().unwrap_or(0);
        *s = join(*s, (held | next << have) & mask);
        let taken = bits - have;
        held = next >> taken;
        have = 64 - taken;
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
            assert_eq!(packed_bytes(0, bits), 0);
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
