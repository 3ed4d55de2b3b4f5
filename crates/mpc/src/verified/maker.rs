//! What an operation draws, written once: the same code draws a party's part, deals it, and counts what is dealt.

use zeroize::Zeroizing;

use super::auth::{Auth, AuthBits, BIT_KEY_BITS, Keys, Wide};
use crate::ops::bits::spread;
use crate::pack::{low_mask, pack, packed_bytes};
use crate::prep::{Dealing, Place, Stock, StreamKey};
use crate::value::{Words, bit_words, trim};

/// The operation under which a holder's keys of codes stand.
const KEYS: Place = Place { op: u32::MAX, tile: 0 };

/// One who makes dealt material: a party that draws it, the dealer, or who counts.
pub(crate) trait Maker {
    /// Numbers, as this maker has them.
    type Num;
    /// Bits, as this maker has them.
    type Bits;

    /// Random numbers that nobody knows.
    fn free(&mut self, n: usize) -> Self::Num;
    /// Random numbers that one party knows.
    fn own(&mut self, owner: usize, n: usize) -> Self::Num;
    /// Dealt numbers. Only a dealer looks at the value.
    fn fixed(&mut self, n: usize, value: impl FnOnce() -> Wide) -> Self::Num;
    /// Random bits that nobody knows.
    fn free_bits(&mut self, n: usize) -> Self::Bits;
    /// Random bits that one party knows.
    fn own_bits(&mut self, owner: usize, n: usize) -> Self::Bits;
    /// Dealt bits. Only a dealer looks at the value.
    fn fixed_bits(&mut self, n: usize, value: impl FnOnce() -> Words) -> Self::Bits;
    /// Bits that one party knows as its numbers 0 and 1. The party has them packed, a dealer in clear.
    fn lift(&mut self, owner: usize, n: usize, value: impl FnOnce() -> Wide) -> Self::Num;
    /// The numbers in clear, at a dealer.
    fn clear(x: &Self::Num) -> &[u128];
    /// The bits in clear, at a dealer.
    fn clear_bits(x: &Self::Bits) -> &[u64];
}

/// Pairs of words as wide ones.
fn widen(words: &[u64]) -> Wide {
    Zeroizing::new(words.as_chunks::<2>().0.iter().map(|[l, h]| u128::from(*l) | u128::from(*h) << 64).collect())
}

fn narrow(wide: &[u128]) -> Words {
    Zeroizing::new(wide.iter().flat_map(|w| [*w as u64, (*w >> 64) as u64]).collect())
}

/// Bits spread to wide numbers 0 and 1.
pub(crate) fn spread_wide(bits: &[u64], n: usize) -> Wide {
    Zeroizing::new(spread(bits, n).iter().map(|b| u128::from(*b)).collect())
}

/// A party that draws its part.
pub(crate) struct Draw<'a> {
    pub stock: &'a mut Stock,
    pub me: usize,
}

impl Draw<'_> {
    fn codes(&mut self, n: usize) -> Words {
        self.stock.fixed_packed(n, BIT_KEY_BITS)
    }

    fn mac(&mut self, n: usize) -> Wide {
        widen(&self.stock.fixed(2 * n))
    }
}

impl Maker for Draw<'_> {
    type Num = Auth;
    type Bits = AuthBits;

    fn free(&mut self, n: usize) -> Auth {
        let value = widen(&self.stock.free(2 * n));
        Auth { value, mac: self.mac(n) }
    }

    fn own(&mut self, owner: usize, n: usize) -> Auth {
        let value = if owner == self.me {
            widen(&self.stock.free(2 * n))
        } else {
            self.stock.skip(2 * n);
            Zeroizing::new(vec![0; n])
        };
        Auth { value, mac: self.mac(n) }
    }

    fn fixed(&mut self, n: usize, _: impl FnOnce() -> Wide) -> Auth {
        let value = widen(&self.stock.fixed(2 * n));
        Auth { value, mac: self.mac(n) }
    }

    fn free_bits(&mut self, n: usize) -> AuthBits {
        let mut words = self.stock.free(bit_words(n));
        trim(n, &mut words);
        AuthBits { bits: n, words, codes: self.codes(n) }
    }

    fn own_bits(&mut self, owner: usize, n: usize) -> AuthBits {
        if owner == self.me {
            return self.free_bits(n);
        }
        self.stock.skip(bit_words(n));
        AuthBits { bits: n, words: Zeroizing::new(vec![0; bit_words(n)]), codes: self.codes(n) }
    }

    fn fixed_bits(&mut self, n: usize, _: impl FnOnce() -> Words) -> AuthBits {
        let mut words = self.stock.fixed(bit_words(n));
        trim(n, &mut words);
        AuthBits { bits: n, words, codes: self.codes(n) }
    }

    fn lift(&mut self, _: usize, n: usize, _: impl FnOnce() -> Wide) -> Auth {
        // The owner's bits are added where they are at hand.
        Auth { value: Zeroizing::new(vec![0; n]), mac: self.mac(n) }
    }

    fn clear(_: &Auth) -> &[u128] {
        &[]
    }

    fn clear_bits(_: &AuthBits) -> &[u64] {
        &[]
    }
}

/// This holder's summands of the keys of codes.
pub(crate) fn keys(key: &StreamKey, lead: bool) -> Keys {
    let words = key.words(KEYS, 0, 2);
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    Keys { alpha: Zeroizing::new(word(0)), delta: Zeroizing::new(word(1) & low_mask(BIT_KEY_BITS)), lead }
}

/// The dealer, with both keys.
pub(crate) struct Deal<'a, 'b> {
    dealing: &'a mut Dealing<'b>,
    alpha: Zeroizing<u128>,
    delta: Zeroizing<u64>,
}

impl<'a, 'b> Deal<'a, 'b> {
    pub fn new(dealing: &'a mut Dealing<'b>) -> Self {
        let all: Vec<Keys> = dealing.keys().iter().map(|k| keys(k, false)).collect();
        let alpha = all.iter().map(|k| u128::from(*k.alpha)).sum::<u128>();
        let delta = all.iter().fold(0, |d, k| d ^ *k.delta);
        Self { dealing, alpha: Zeroizing::new(alpha), delta: Zeroizing::new(delta) }
    }

    fn fix(&mut self, value: &[u128]) {
        let mut left = Zeroizing::new(value.to_vec());
        self.dealing.each_but_corrected(2 * value.len(), |words| {
            left.iter_mut().zip(widen(words).iter()).for_each(|(v, w)| *v = v.wrapping_sub(*w));
        });
        self.dealing.push_words(&narrow(&left));
    }

    fn mac(&mut self, value: &[u128]) {
        let macs: Wide = Zeroizing::new(value.iter().map(|v| v.wrapping_mul(*self.alpha)).collect());
        self.fix(&macs);
    }

    fn codes(&mut self, bits: &[u64], n: usize) {
        let mut codes: Words = Zeroizing::new(spread(bits, n).iter().map(|b| b.wrapping_neg() & *self.delta).collect());
        self.dealing.each_but_corrected(n, |words| {
            codes.iter_mut().zip(words).for_each(|(c, w)| *c ^= w & low_mask(BIT_KEY_BITS));
        });
        self.dealing.push_with(n, |out| pack(&codes, BIT_KEY_BITS, out));
    }
}

impl Maker for Deal<'_, '_> {
    type Num = Wide;
    type Bits = Words;

    fn free(&mut self, n: usize) -> Wide {
        let mut sum: Wide = Zeroizing::new(vec![0; n]);
        self.dealing.each(2 * n, |words| {
            sum.iter_mut().zip(widen(words).iter()).for_each(|(s, w)| *s = s.wrapping_add(*w));
        });
        self.dealing.pass(2 * n);
        self.mac(&sum);
        sum
    }

    fn own(&mut self, owner: usize, n: usize) -> Wide {
        let value = widen(&self.dealing.own(owner, 2 * n));
        self.mac(&value);
        value
    }

    fn fixed(&mut self, n: usize, value: impl FnOnce() -> Wide) -> Wide {
        let value = value();
        debug_assert!(value.len() == n);
        self.fix(&value);
        self.mac(&value);
        value
    }

    fn free_bits(&mut self, n: usize) -> Words {
        let mut bits = self.dealing.free_bits(bit_words(n));
        trim(n, &mut bits);
        self.codes(&bits, n);
        bits
    }

    fn own_bits(&mut self, owner: usize, n: usize) -> Words {
        let mut bits = self.dealing.own(owner, bit_words(n));
        trim(n, &mut bits);
        self.codes(&bits, n);
        bits
    }

    fn fixed_bits(&mut self, n: usize, value: impl FnOnce() -> Words) -> Words {
        let mut value = value();
        debug_assert!(value.len() == bit_words(n));
        trim(n, &mut value);
        self.dealing.fix_bits(Zeroizing::new(value.to_vec()));
        self.codes(&value, n);
        value
    }

    fn lift(&mut self, _: usize, n: usize, value: impl FnOnce() -> Wide) -> Wide {
        let value = value();
        debug_assert!(value.len() == n);
        self.mac(&value);
        value
    }

    fn clear(x: &Wide) -> &[u128] {
        x
    }

    fn clear_bits(x: &Words) -> &[u64] {
        x
    }
}

/// Counts the bytes that are dealt.
#[derive(Default)]
pub(crate) struct Count {
    pub bytes: usize,
}

impl Count {
    fn codes(&mut self, n: usize) {
        self.bytes += packed_bytes(n as u64, BIT_KEY_BITS) as usize;
    }
}

impl Maker for Count {
    type Num = ();
    type Bits = ();

    fn free(&mut self, n: usize) {
        self.bytes += 16 * n;
    }

    fn own(&mut self, _: usize, n: usize) {
        self.bytes += 16 * n;
    }

    fn fixed(&mut self, n: usize, _: impl FnOnce() -> Wide) {
        self.bytes += 32 * n;
    }

    fn free_bits(&mut self, n: usize) {
        self.codes(n);
    }

    fn own_bits(&mut self, _: usize, n: usize) {
        self.codes(n);
    }

    fn fixed_bits(&mut self, n: usize, _: impl FnOnce() -> Words) {
        self.bytes += 8 * bit_words(n);
        self.codes(n);
    }

    fn lift(&mut self, _: usize, n: usize, _: impl FnOnce() -> Wide) {
        self.bytes += 16 * n;
    }

    fn clear((): &()) -> &[u128] {
        &[]
    }

    fn clear_bits((): &()) -> &[u64] {
        &[]
    }
}

/// The pad of a party's bits, as numbers 0 and 1.
pub(crate) fn bits_in_clear(keys: &[StreamKey], owner: usize, place: Place, n: usize) -> Wide {
    keys.get(owner).map_or_else(Wide::default, |key| spread_wide(&key.words(place, 0, bit_words(n)), n))
}

/// A masked operand's pad as the dealer knows it: the first that its owner, or all parties together, drew at its place.
pub(crate) fn pad_in_clear(keys: &[StreamKey], owner: Option<usize>, place: Place, n: usize) -> Wide {
    let mut sum: Wide = Zeroizing::new(vec![0; n]);
    for (_, key) in keys.iter().enumerate().filter(|(i, _)| owner.is_none_or(|o| o == *i)) {
        let words = key.words(place, 0, 2 * n);
        sum.iter_mut().zip(widen(&words).iter()).for_each(|(s, w)| *s = s.wrapping_add(*w));
    }
    sum
}
