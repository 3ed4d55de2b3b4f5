//! Values by who may read them. A share has no way to its number but [`reveal`](crate::Lane::reveal),
//! and no way onto the wire but under a [`Pad`], which is consumed.
//!
//! None of the secret types can be printed, copied, compared or encoded:
//!
//! ```compile_fail
//! fn print(share: tacit_mpc::Share) { println!("{share:?}"); }
//! ```
//! ```compile_fail
//! fn copy(share: &tacit_mpc::Share) -> tacit_mpc::Share { share.clone() }
//! ```
//! ```compile_fail
//! fn equal(a: &tacit_mpc::Share, b: &tacit_mpc::Share) -> bool { a == b }
//! ```
//! ```compile_fail
//! fn encode(share: &tacit_mpc::Share) -> Vec<u8> { tacit_types::wire::encode(share) }
//! ```
//! ```compile_fail
//! fn read(share: &tacit_mpc::Share) -> u64 { share.0[0] }
//! ```
//! ```compile_fail
//! fn public(share: tacit_mpc::Share) -> tacit_mpc::Public { share.into() }
//! ```
//! ```compile_fail
//! fn print(bits: tacit_mpc::BitShare) { println!("{bits:?}"); }
//! ```
//! ```compile_fail
//! fn open(bits: tacit_mpc::BitShare) -> Vec<u64> { bits.into() }
//! ```
//! A pad hides one value, once:
//!
//! ```compile_fail
//! fn twice(x: &tacit_mpc::Share, y: &tacit_mpc::Share, pad: tacit_mpc::Pad) {
//!     let _ = (x.blind(pad), y.blind(pad));
//! }
//! ```
//! A triple serves one product:
//!
//! ```compile_fail
//! async fn twice(l: &tacit_mpc::Lane, x: &tacit_mpc::Share, t: tacit_mpc::ops::Triple) {
//!     let _ = tacit_mpc::ops::multiply(l, x, x, t).await;
//!     let _ = tacit_mpc::ops::multiply(l, x, x, t).await;
//! }
//! ```
//! What may be done compiles:
//!
//! ```
//! async fn once(l: &tacit_mpc::Lane, x: &tacit_mpc::Share, t: tacit_mpc::ops::Triple) -> tacit_mpc::Share {
//!     tacit_mpc::ops::multiply(l, x, x, t).await
//! }
//! ```

use zeroize::Zeroizing;

/// Words that are erased when dropped.
pub(crate) type Words = Zeroizing<Vec<u64>>;

/// Words of a bit vector: bit i is bit `i % 64` of word `i / 64`.
pub const fn bit_words(bits: usize) -> usize {
    bits.div_ceil(64)
}

/// Sets the bits past the end to zero.
pub(crate) fn trim(bits: usize, words: &mut [u64]) {
    if let Some(last) = words.last_mut()
        && !bits.is_multiple_of(64)
    {
        *last &= (1 << (bits % 64)) - 1;
    }
}

/// This party's summands of values in Z_2^64.
pub struct Share(pub(crate) Words);

/// This party's summands of bits under exclusive or.
pub struct BitShare {
    pub(crate) bits: usize,
    pub(crate) words: Words,
}

/// Words that every party knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Public(pub Vec<u64>);

/// Values that one party knows.
pub struct Owned {
    pub(crate) owner: usize,
    /// The values at the owner, nothing elsewhere.
    pub(crate) words: Option<Words>,
}

/// This party's summand of fresh uniform words that hide one value, once.
pub struct Pad(pub(crate) Words);

/// A value under its pad, which may leave.
pub struct Blinded(pub(crate) Vec<u64>);

/// An operand that was opened under a pad, and this party's summand of the pad. The difference is public
/// to those who take part in its products; each product needs dealt words of its own, so that one
/// opening serves any number of them.
pub struct Masked {
    /// The value less the pad; empty where it was not told.
    pub(crate) difference: Vec<u64>,
    pub(crate) pad: Share,
    /// The value itself, at its owner, when it has one.
    pub(crate) clear: Option<Words>,
}

/// A share with fresh summands of zero on it: it tells its receiver nothing but its part of the sum.
pub struct Released {
    pub(crate) words: Words,
    pub(crate) xor: bool,
}

impl Share {
    /// Takes in words that are a summand.
    pub(crate) fn new(words: Vec<u64>) -> Self {
        Self(Zeroizing::new(words))
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hides the values under a pad; the pad's summands remain, as a share like any other.
    pub fn blind(&self, pad: Pad) -> (Blinded, Share) {
        let difference = self.0.iter().zip(pad.0.iter()).map(|(x, p)| x.wrapping_sub(*p)).collect();
        (Blinded(difference), Share(pad.0))
    }

    /// Hides the values by adding the pad.
    pub fn blind_up(&self, pad: Pad) -> (Blinded, Share) {
        let sum = self.0.iter().zip(pad.0.iter()).map(|(x, p)| x.wrapping_add(*p)).collect();
        (Blinded(sum), Share(pad.0))
    }

    /// Makes the share ready for a receiver by summands of zero.
    pub(crate) fn release(self, zero: Pad) -> Released {
        let mut words = self.0;
        words.iter_mut().zip(zero.0.iter()).for_each(|(w, z)| *w = w.wrapping_add(*z));
        Released { words, xor: false }
    }

    /// The share of a linear function of each value.
    pub(crate) fn map(&self, f: impl Fn(u64) -> u64) -> Share {
        Share::new(self.0.iter().map(|w| f(*w)).collect())
    }
}

impl BitShare {
    pub(crate) fn new(bits: usize, mut words: Words) -> Self {
        trim(bits, &mut words);
        Self { bits, words }
    }

    /// How many bits.
    pub fn len(&self) -> usize {
        self.bits
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Hides the bits under a pad.
    pub fn blind(&self, pad: Pad) -> (Blinded, BitShare) {
        let mut hidden: Vec<u64> = self.words.iter().zip(pad.0.iter()).map(|(x, p)| x ^ p).collect();
        trim(self.bits, &mut hidden);
        (Blinded(hidden), BitShare::new(self.bits, pad.0))
    }

    pub(crate) fn release(self, zero: Pad) -> Released {
        let bits = self.bits;
        let mut words = self.words;
        words.iter_mut().zip(zero.0.iter()).for_each(|(w, z)| *w ^= z);
        trim(bits, &mut words);
        Released { words, xor: true }
    }
}

impl Owned {
    /// Who knows the values.
    pub fn owner(&self) -> usize {
        self.owner
    }

    /// The values as shares: the owner's summand is the value, everyone else's is zero. What is opened of
    /// it later is under a pad or freshly shared, so a lopsided share tells no more than another.
    pub fn share(&self, count: usize) -> Share {
        Share(self.words.as_ref().map_or_else(|| Zeroizing::new(vec![0; count]), |w| Zeroizing::new(w.to_vec())))
    }

    /// The bits as shares.
    pub fn share_bits(&self, bits: usize) -> BitShare {
        BitShare::new(bits, self.share(bit_words(bits)).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pad_hides_and_stays_as_a_share() {
        let x = Share::new(vec![5, u64::MAX]);
        let (blinded, pad) = x.blind(Pad(Zeroizing::new(vec![7, 1])));
        assert_eq!(blinded.0, [5u64.wrapping_sub(7), u64::MAX - 1]);
        assert_eq!(*pad.0, [7, 1]);
        let bits = BitShare::new(3, Zeroizing::new(vec![0xff]));
        assert_eq!(*bits.words, [7], "bits past the end are none");
        let (hidden, _) = bits.blind(Pad(Zeroizing::new(vec![u64::MAX])));
        assert_eq!(hidden.0, [0], "nor do they leave");
    }
}
