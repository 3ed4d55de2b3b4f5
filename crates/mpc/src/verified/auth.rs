//! Authenticated shares. A number x in Z_2^64 stands as summands of some x' = x + 2^64 (...) modulo 2^128, and of
//! alpha x' modulo 2^128 under a key of 64 bits that is itself shared (Cramer, Damgard, Escudero, Scholl, Xing, CRYPTO
//! 2018, with k = s = 64). A bit b stands as summands under exclusive or of b, and of b Delta for a shared key of
//! [`BIT_KEY_BITS`] bits.
//!
//! They are other types than [`Share`](crate::Share) and [`BitShare`](crate::BitShare): nothing makes one of the other.

use zeroize::Zeroizing;

use crate::ops::bits::bit;
use crate::value::{Words, bit_words, trim};

/// Wide words that are erased when dropped.
pub(crate) type Wide = Zeroizing<Vec<u128>>;

/// Bits of the key of bits: what a wrong bit is found with is 1 - 2^-40.
pub const BIT_KEY_BITS: u8 = 40;

/// This party's summands of the keys.
pub(crate) struct Keys {
    pub alpha: Zeroizing<u64>,
    pub delta: Zeroizing<u64>,
    /// Whether this party adds what is public to its summand.
    pub lead: bool,
}

/// Summands of authenticated numbers.
pub(crate) struct Auth {
    pub value: Wide,
    pub mac: Wide,
}

/// Summands of authenticated bits: the bits packed, a code for each.
pub(crate) struct AuthBits {
    pub bits: usize,
    pub words: Words,
    pub codes: Words,
}

impl Keys {
    fn alpha(&self) -> u128 {
        (*self.alpha).into()
    }

    fn lead(&self) -> u128 {
        self.lead.into()
    }
}

impl Auth {
    pub fn zero(n: usize) -> Self {
        Self { value: Zeroizing::new(vec![0; n]), mac: Zeroizing::new(vec![0; n]) }
    }

    /// Public numbers as a share.
    pub fn public(keys: &Keys, words: &[u64]) -> Self {
        let mut out = Self::zero(words.len());
        out.add_public(keys, words.iter().copied());
        out
    }

    pub fn len(&self) -> usize {
        self.value.len()
    }

    pub fn copy(&self) -> Self {
        Self { value: Zeroizing::new(self.value.to_vec()), mac: Zeroizing::new(self.mac.to_vec()) }
    }

    fn join<'a>(&mut self, other: impl Iterator<Item = (&'a u128, &'a u128)>, f: impl Fn(u128, u128) -> u128) {
        for ((v, m), (x, y)) in self.value.iter_mut().zip(self.mac.iter_mut()).zip(other) {
            (*v, *m) = (f(*v, *x), f(*m, *y));
        }
    }

    /// Adds numbers; one row is repeated.
    pub fn add(&mut self, other: &Auth) {
        self.join(other.value.iter().cycle().zip(other.mac.iter().cycle()), u128::wrapping_add);
    }

    pub fn subtract(&mut self, other: &Auth) {
        self.join(other.value.iter().zip(other.mac.iter()), u128::wrapping_sub);
    }

    pub fn minus(&self, other: &Auth) -> Self {
        let mut out = self.copy();
        out.subtract(other);
        out
    }

    pub fn plus(&self, other: &Auth) -> Self {
        let mut out = self.copy();
        out.add(other);
        out
    }

    pub fn add_public(&mut self, keys: &Keys, words: impl Iterator<Item = u64>) {
        let (alpha, lead) = (keys.alpha(), keys.lead());
        for ((v, m), w) in self.value.iter_mut().zip(self.mac.iter_mut()).zip(words) {
            *v = v.wrapping_add(lead.wrapping_mul(w.into()));
            *m = m.wrapping_add(alpha.wrapping_mul(w.into()));
        }
    }

    /// Adds another share times public numbers.
    pub fn add_times(&mut self, factors: impl Iterator<Item = u64>, other: &Auth) {
        let both = other.value.iter().zip(other.mac.iter());
        for (((v, m), (x, y)), f) in self.value.iter_mut().zip(self.mac.iter_mut()).zip(both).zip(factors) {
            *v = v.wrapping_add(x.wrapping_mul(f.into()));
            *m = m.wrapping_add(y.wrapping_mul(f.into()));
        }
    }

    /// Times public numbers; one is repeated.
    pub fn times(&self, factors: impl Iterator<Item = u64>) -> Self {
        let mut out = Self::zero(self.len());
        out.add_times(factors, self);
        out
    }

    /// Columns summed within each row of so many.
    pub fn row_sums(&self, columns: usize) -> Self {
        let sums = |words: &[u128]| -> Wide {
            let row = |row: &[u128]| row.iter().fold(0, |s: u128, w| s.wrapping_add(*w));
            Zeroizing::new(words.chunks_exact(columns.max(1)).map(row).collect())
        };
        Self { value: sums(&self.value), mac: sums(&self.mac) }
    }
}

impl AuthBits {
    pub fn zero(bits: usize) -> Self {
        Self { bits, words: Zeroizing::new(vec![0; bit_words(bits)]), codes: Zeroizing::new(vec![0; bits]) }
    }

    pub fn copy(&self) -> Self {
        let (words, codes) = (Zeroizing::new(self.words.to_vec()), Zeroizing::new(self.codes.to_vec()));
        Self { bits: self.bits, words, codes }
    }

    pub fn xor(&mut self, other: &AuthBits) {
        self.words.iter_mut().zip(other.words.iter()).for_each(|(a, b)| *a ^= b);
        self.codes.iter_mut().zip(other.codes.iter()).for_each(|(a, b)| *a ^= b);
    }

    pub fn under(&self, mask: &AuthBits) -> Self {
        let mut out = self.copy();
        out.xor(mask);
        out
    }

    pub fn xor_public(&mut self, keys: &Keys, public: &[u64]) {
        if keys.lead {
            self.words.iter_mut().zip(public).for_each(|(a, b)| *a ^= b);
            trim(self.bits, &mut self.words);
        }
        for (codes, word) in self.codes.chunks_mut(64).zip(public) {
            for (i, code) in codes.iter_mut().enumerate() {
                *code ^= *keys.delta & (word >> i & 1).wrapping_neg();
            }
        }
    }

    /// Joins another share where public bits are set.
    pub fn xor_where(&mut self, public: &[u64], other: &AuthBits) {
        for ((a, b), p) in self.words.iter_mut().zip(other.words.iter()).zip(public) {
            *a ^= b & p;
        }
        crate::kernel::vectorized(|| {
            for ((codes, from), word) in self.codes.chunks_mut(64).zip(other.codes.chunks(64)).zip(public) {
                for (i, (code, other)) in codes.iter_mut().zip(from).enumerate() {
                    *code ^= other & (word >> i & 1).wrapping_neg();
                }
            }
        });
    }

    /// Complemented.
    pub fn not(&self, keys: &Keys) -> Self {
        let mut out = self.copy();
        out.xor_public(keys, &vec![u64::MAX; bit_words(self.bits)]);
        out
    }
}

/// 1 - 2 b as a factor.
pub(crate) fn sign(bits: &[u64], i: usize) -> u64 {
    1u64.wrapping_sub(2 * bit(bits, i))
}

/// Products of public words with wide ones: `out += a * b`, row-major m x k by k x n.
pub(crate) fn add_product(dims: crate::ops::Dims, a: &[u64], b: &[u128], out: &mut [u128]) {
    let (k, n) = (dims.k.max(1), dims.n.max(1));
    if n == 1 {
        for (row, out) in a.chunks_exact(k).zip(out) {
            let sum = row.iter().zip(b).fold(0u128, |s, (x, y)| s.wrapping_add(y.wrapping_mul((*x).into())));
            *out = out.wrapping_add(sum);
        }
        return;
    }
    for (row, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (x, line) in row.iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(line).for_each(|(o, y)| *o = o.wrapping_add(y.wrapping_mul((*x).into())));
        }
    }
}

/// As [`add_product`], with wide words on the left.
pub(crate) fn add_product_left(dims: crate::ops::Dims, a: &[u128], b: &[u64], out: &mut [u128]) {
    let (k, n) = (dims.k.max(1), dims.n.max(1));
    for (row, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (x, line) in row.iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(line).for_each(|(o, y)| *o = o.wrapping_add(x.wrapping_mul((*y).into())));
        }
    }
}
