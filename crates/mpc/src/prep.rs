//! Correlated randomness: what a party draws, from a seed or from corrections, and what the dealer deals.
//!
//! Material is addressed by (operation, tile): each address is a keystream of its own, so that tiles can
//! be made in any order and nothing is ever drawn twice. Every party expands its summands from its seed;
//! where the summands must add to a dealt value, one party, the *corrected* one, gets its summand from
//! the dealer instead. So the dealer's traffic does not grow with the number of parties.

use tacit_crypto::{Lane, Prg, Secret, Transcript};
use tacit_protocol::{Abort, Party};
use tacit_types::Hash;
use zeroize::{Zeroize, Zeroizing};

use crate::kernel::ErasedBytes;
use crate::pack::{fold, low_mask, pack, packed_bytes};
use crate::value::{Pad, Words};

/// What material belongs to: an operation of the plan and a tile of rows, 0 for what is done once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The operation's number in the plan.
    pub op: u32,
    /// The tile.
    pub tile: u32,
}

impl Place {
    fn nonce(self) -> u64 {
        (u64::from(self.op) << 32) | u64::from(self.tile)
    }
}

/// A key from which keystreams by place are made.
pub(crate) struct StreamKey(Secret<[u8; 32]>);

impl StreamKey {
    /// The key of a seed in one agreed computation; `who` keeps the streams of different holders apart.
    pub fn derive(seed: &Secret<[u8; 32]>, agreed: &Hash, label: &str, who: u64) -> Self {
        let hash = Transcript::new(label).fixed(seed.expose_secret()).fixed(&agreed.0).u64(who).finish();
        Self(Secret::new(hash.0))
    }

    /// The keystream of a place.
    pub fn stream(&self, place: Place) -> Prg {
        let mut seed = [0u8; 40];
        let (key, nonce) = seed.split_at_mut(32);
        key.copy_from_slice(self.0.expose_secret());
        nonce.copy_from_slice(&place.nonce().to_le_bytes());
        let secret = Secret::new(seed);
        seed.zeroize();
        Prg::new(&secret)
    }

    /// Words of a place's keystream from word `at` on.
    pub fn words(&self, place: Place, at: u64, count: usize) -> Words {
        let mut words = Zeroizing::new(vec![0u64; count]);
        self.stream(place).apply(at, &mut words[..], false);
        words
    }
}

/// Where a party's correlated randomness comes from.
pub trait Preprocessing: Send {
    /// Brings what a tile needs to this party. Called once for each tile, in order.
    fn prepare(&mut self, party: &mut Party, tile: u32) -> impl Future<Output = Result<(), Abort>> + Send;

    /// The material of one operation in a prepared tile, handed out once.
    ///
    /// # Errors
    /// [`Abort::Local`] for a place that was taken before or never prepared.
    fn stock(&mut self, place: Place) -> Result<Stock, Abort>;
}

/// One party's material of one place, drawn front to back.
pub struct Stock {
    prg: Prg,
    at: u64,
    /// The corrected party's dealt summands, little-endian words; `None` for the others.
    dealt: Option<ErasedBytes>,
    read: usize,
}

impl Stock {
    pub(crate) fn new(prg: Prg, dealt: Option<ErasedBytes>) -> Self {
        Self { prg, at: 0, dealt, read: 0 }
    }

    /// Words that this party alone chose the seed of: its summand of a random value, or a mask of its own.
    pub fn free(&mut self, count: usize) -> Words {
        let mut words = Zeroizing::new(vec![0u64; count]);
        self.prg.apply(self.at, &mut words[..], false);
        self.at += count as u64;
        words
    }

    /// A pad of free words.
    pub fn pad(&mut self, count: usize) -> Pad {
        Pad(self.free(count))
    }

    /// Passes over words that are another party's own.
    pub fn skip(&mut self, count: usize) {
        self.at += count as u64;
    }

    /// This party's summands of dealt words of `bits` bits, as they lie in a message. Bits above are not dealt.
    pub fn fixed_packed(&mut self, count: usize, bits: u8) -> Words {
        let Some(dealt) = &self.dealt else {
            let mut words = self.free(count);
            if bits < 64 {
                words.iter_mut().for_each(|w| *w &= low_mask(bits));
            }
            return words;
        };
        let bytes = packed_bytes(count as u64, bits) as usize;
        let mut words = Zeroizing::new(vec![0u64; count]);
        fold(dealt.get(self.read..self.read + bytes).unwrap_or_default(), bits, false, &mut words);
        self.read += bytes;
        self.at += count as u64;
        words
    }

    /// This party's summand of a dealt value.
    pub fn fixed(&mut self, count: usize) -> Words {
        let Some(dealt) = &self.dealt else { return self.free(count) };
        let bytes = dealt.get(self.read..).unwrap_or_default();
        // A short message was refused when it came; what is not there reads as zero.
        let mut words: Vec<u64> = bytes.as_chunks::<8>().0.iter().take(count).map(|c| u64::from_le_bytes(*c)).collect();
        words.resize(count, 0);
        self.read += count * 8;
        self.at += count as u64;
        Zeroizing::new(words)
    }
}

/// The dealer's side of one place: the same draws, with every party's keystream at hand.
pub struct Dealing<'a> {
    keys: &'a [StreamKey],
    streams: Vec<Prg>,
    corrected: usize,
    at: u64,
    /// Corrections in order.
    out: &'a mut Vec<u8>,
}

impl<'a> Dealing<'a> {
    pub(crate) fn new(keys: &'a [StreamKey], corrected: usize, place: Place, out: &'a mut Vec<u8>) -> Self {
        Self { keys, streams: keys.iter().map(|k| k.stream(place)).collect(), corrected, at: 0, out }
    }

    /// The sum of the free words of all parties.
    pub fn free(&mut self, count: usize) -> Words {
        let mut sum = Zeroizing::new(vec![0u64; count]);
        self.streams.iter().for_each(|s| s.apply(self.at, &mut sum[..], false));
        self.at += count as u64;
        sum
    }

    /// The exclusive or of the free words of all parties.
    pub fn free_bits(&mut self, count: usize) -> Words {
        let mut joined = Zeroizing::new(vec![0u64; count]);
        let mut one = Zeroizing::new(vec![0u64; count]);
        for stream in &self.streams {
            one.fill(0);
            stream.apply(self.at, &mut one[..], false);
            joined.iter_mut().zip(one.iter()).for_each(|(j, o)| *j ^= o);
        }
        self.at += count as u64;
        joined
    }

    /// The free words of one party, which are a mask of its own.
    pub fn own(&mut self, party: usize, count: usize) -> Words {
        let mut words = Zeroizing::new(vec![0u64; count]);
        if let Some(stream) = self.streams.get(party) {
            stream.apply(self.at, &mut words[..], false);
        }
        self.at += count as u64;
        words
    }

    /// The pad that a party drew at the beginning of another place.
    pub fn pad_of(&self, party: usize, place: Place, count: usize) -> Words {
        self.keys.get(party).map_or_else(|| Zeroizing::new(vec![0; count]), |k| k.words(place, 0, count))
    }

    /// Deals a value as summands.
    pub fn fix(&mut self, value: Words) {
        self.fix_packed(value, 64);
    }

    /// Deals a value modulo 2^`bits` as summands, of which the correction takes as many bits.
    pub fn fix_packed(&mut self, mut value: Words, bits: u8) {
        for (_, stream) in self.streams.iter().enumerate().filter(|(i, _)| *i != self.corrected) {
            stream.apply(self.at, &mut value[..], true);
        }
        self.at += value.len() as u64;
        pack(&value, bits, self.out);
    }

    /// Deals bits as summands under exclusive or.
    pub fn fix_bits(&mut self, mut value: Words) {
        let mut one = Zeroizing::new(vec![0u64; value.len()]);
        for (_, stream) in self.streams.iter().enumerate().filter(|(i, _)| *i != self.corrected) {
            one.fill(0);
            stream.apply(self.at, &mut one[..], false);
            value.iter_mut().zip(one.iter()).for_each(|(v, o)| *v ^= o);
        }
        self.push(&value);
    }

    pub(crate) fn keys(&self) -> &'a [StreamKey] {
        self.keys
    }

    /// The next words of each party's keystream.
    pub(crate) fn each(&self, count: usize, mut take: impl FnMut(&[u64])) {
        let mut one = Zeroizing::new(vec![0u64; count]);
        for stream in &self.streams {
            one.fill(0);
            stream.apply(self.at, &mut one[..], false);
            take(&one);
        }
    }

    /// The next words of each keystream but the corrected party's.
    pub(crate) fn each_but_corrected(&self, count: usize, mut take: impl FnMut(&[u64])) {
        let mut one = Zeroizing::new(vec![0u64; count]);
        for (_, stream) in self.streams.iter().enumerate().filter(|(i, _)| *i != self.corrected) {
            one.fill(0);
            stream.apply(self.at, &mut one[..], false);
            take(&one);
        }
    }

    /// Passes over words that were looked at.
    pub(crate) fn pass(&mut self, count: usize) {
        self.at += count as u64;
    }

    /// The correction of words.
    pub(crate) fn push_words(&mut self, value: &[u64]) {
        self.push(value);
    }

    /// The correction of so many words, written in another form.
    pub(crate) fn push_with(&mut self, count: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.at += count as u64;
        write(self.out);
    }

    fn push(&mut self, value: &[u64]) {
        self.at += value.len() as u64;
        u64::write_bytes(value, self.out);
    }
}

/// Summands of zero, from keys that each pair of parties shares: the lower number adds, the higher
/// subtracts. The dealer does not know them.
pub(crate) struct ZeroKeys {
    /// The key with each other party, by its number; `None` at the own place.
    keys: Vec<Option<StreamKey>>,
    me: usize,
}

impl ZeroKeys {
    pub fn new(keys: Vec<Option<StreamKey>>, me: usize) -> Self {
        Self { keys, me }
    }

    /// This party's summand of zero; under exclusive or for bits.
    pub fn zero(&self, place: Place, count: usize, xor: bool) -> Pad {
        let mut sum = Zeroizing::new(vec![0u64; count]);
        for (other, key) in self.keys.iter().enumerate() {
            let Some(key) = key else { continue };
            if xor {
                let words = key.words(place, 0, count);
                sum.iter_mut().zip(words.iter()).for_each(|(s, w)| *s ^= w);
            } else {
                key.stream(place).apply(0, &mut sum[..], other < self.me);
            }
        }
        Pad(sum)
    }

    /// This party's summand of zero modulo 2^128.
    pub fn wide(&self, place: Place, count: usize) -> Vec<u128> {
        let mut sum = vec![0u128; count];
        for (other, key) in self.keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let words = key.words(place, 0, 2 * count);
            for (s, [low, high]) in sum.iter_mut().zip(words.as_chunks::<2>().0) {
                let word = u128::from(*low) | u128::from(*high) << 64;
                *s = if other < self.me { s.wrapping_sub(word) } else { s.wrapping_add(word) };
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { op: 3, tile: 9 };

    fn keys(n: u8) -> Vec<StreamKey> {
        let key = |i: u8| StreamKey::derive(&Secret::new([i + 1; 32]), &Hash([7; 32]), "t", i.into());
        (0..n).map(key).collect()
    }

    #[test]
    fn what_is_dealt_is_the_sum_of_what_is_drawn() {
        for (n, corrected) in [(2, 0), (2, 1), (5, 4), (5, 2)] {
            let keys = keys(n);
            let mut out = Vec::new();
            let mut dealing = Dealing::new(&keys, corrected, PLACE, &mut out);
            let free = dealing.free(3);
            let own = dealing.own(1, 2);
            let value = free.iter().map(|w| w.wrapping_mul(*w)).collect::<Vec<u64>>();
            dealing.fix(Zeroizing::new(value.clone()));
            let bits = dealing.free_bits(2);
            dealing.fix_bits(Zeroizing::new(vec![bits[0] & bits[1]]));
            assert_eq!(out.len(), 4 * 8);
            let (mut sum, mut fixed, mut xor, mut anded) = ([0u64; 3], [0u64; 3], [0u64; 2], 0u64);
            for (i, key) in keys.iter().enumerate() {
                let dealt = (i == corrected).then(|| out.clone().into());
                let mut stock = Stock::new(key.stream(PLACE), dealt);
                let add = |s: &mut [u64], w: &[u64]| s.iter_mut().zip(w).for_each(|(s, w)| *s = s.wrapping_add(*w));
                add(&mut sum, &stock.free(3));
                if i == 1 {
                    assert_eq!(*stock.free(2), *own);
                } else {
                    stock.skip(2);
                }
                add(&mut fixed, &stock.fixed(3));
                xor.iter_mut().zip(stock.free(2).iter()).for_each(|(x, w)| *x ^= w);
                anded ^= stock.fixed(1)[0];
            }
            assert_eq!((&sum[..], &fixed[..], &xor[..]), (&free[..], &value[..], &bits[..]));
            assert_eq!(anded, bits[0] & bits[1]);
        }
    }

    #[test]
    fn places_and_holders_have_streams_of_their_own() {
        let (a, b) = (&keys(2)[0], &keys(2)[1]);
        let first = |k: &StreamKey, op, tile| k.words(Place { op, tile }, 0, 1)[0];
        let all = [first(a, 0, 0), first(a, 0, 1), first(a, 1, 0), first(b, 0, 0)];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_eq!(a.words(PLACE, 2, 2)[0], a.words(PLACE, 0, 3)[2], "a stream is read from any word");
    }

    #[test]
    fn zeroes_add_to_zero_and_are_not_zero() {
        let pair = |i: usize, j: usize| {
            let (low, high) = (i.min(j) as u8, i.max(j) as u8);
            StreamKey::derive(&Secret::new([low * 16 + high; 32]), &Hash([7; 32]), "t", 0)
        };
        let zeroes: Vec<_> =
            (0..3).map(|i| ZeroKeys::new((0..3).map(|j| (i != j).then(|| pair(i, j))).collect(), i)).collect();
        let add: u64 = zeroes.iter().map(|z| z.zero(PLACE, 1, false).0[0]).fold(0, u64::wrapping_add);
        let xor = zeroes.iter().map(|z| z.zero(PLACE, 1, true).0[0]).fold(0, |a, b| a ^ b);
        assert_eq!((add, xor), (0, 0));
        assert!(zeroes.iter().all(|z| z.zero(PLACE, 1, false).0[0] != 0));
    }
}
