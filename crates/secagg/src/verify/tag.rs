//! Tags: inner products of a vector's cells with coefficients that nobody knew when the vectors and
//! their sum were committed. They are linear over the whole numbers, so the tags of the parties add
//! up to the tag of the sum of their vectors.
//!
//! The field is that of the whole numbers modulo 2^127 - 1. A cell is smaller than 2^64 and a sum of
//! cells smaller than 2^74, so two different sums differ in the field, too, and have the same tag
//! with a chance of at most 2^-126.

use tacit_crypto::{Prg, Secret, Transcript};
use tacit_types::Hash;

use super::pieces::{CARRY_BYTES, PIECE_CELLS};

/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of a coefficient.
const COEFFICIENT_BYTES: usize = 16;
/// Cells whose coefficients are made at a time: 16 KiB, which stay in the first cache.
const TILE_CELLS: usize = 1024;

/// A number modulo 2^127 - 1, below the modulus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tag(u128);

const P: u128 = (1 << 127) - 1;

impl Tag {
    /// From any number.
    fn reduce(x: u128) -> Self {
        let folded = (x & P) + (x >> 127);
        Self(if folded >= P { folded - P } else { folded })
    }

    /// From bytes; `None` when they are not below the modulus.
    pub fn from_bytes(bytes: &[u8; TAG_BYTES]) -> Option<Self> {
        let x = u128::from_le_bytes(*bytes);
        (x < P).then_some(Self(x))
    }

    /// Little-endian.
    pub fn to_bytes(self) -> [u8; TAG_BYTES] {
        self.0.to_le_bytes()
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Self {
        Self::reduce(self.0 + other.0)
    }

    /// Times two to the `bits`, for `bits` below 127: a rotation.
    pub fn shifted(self, bits: u32) -> Self {
        if bits == 0 {
            return self;
        }
        Self::reduce(((self.0 << bits) & P) | (self.0 >> (127 - bits)))
    }
}

/// The coefficients of one round.
pub(crate) struct Challenge(Prg);

impl Challenge {
    /// They follow from the survivors, their headers and the claimed sum, and from nothing else: who
    /// could still choose one of these after seeing them could choose a sum to fit.
    pub fn new(tr: &Hash, agreed: &Hash) -> Self {
        let key = Transcript::new("tacit-secagg/1/challenge").fixed(&tr.0).fixed(&agreed.0).finish();
        let mut seed = [0; 40];
        seed[..32].copy_from_slice(&key.0);
        Self(Prg::new(&Secret::new(seed)))
    }

    /// The tag of a piece's cells, little-endian of `cell` bytes each (2, 4 or 8).
    pub fn tag(&self, piece: usize, cell: usize, bytes: &[u8]) -> Tag {
        let mut coefficients = [0; TILE_CELLS * COEFFICIENT_BYTES];
        let mut sum = Tag::default();
        for (i, tile) in bytes.chunks(TILE_CELLS * cell).enumerate() {
            let first = (piece * PIECE_CELLS + i * TILE_CELLS) as u64;
            self.0.keystream(first * COEFFICIENT_BYTES as u64, &mut coefficients);
            sum = sum.plus(match cell {
                CARRY_BYTES => inner(&coefficients, tile, |c: &[u8; 2]| u32::from(u16::from_le_bytes(*c))),
                4 => inner(&coefficients, tile, |c: &[u8; 4]| u32::from_le_bytes(*c)),
                _ => {
                    let low = inner(&coefficients, tile, |c: &[u8; 8]| u64::from_le_bytes(*c) as u32);
                    let high = inner(&coefficients, tile, |c: &[u8; 8]| (u64::from_le_bytes(*c) >> 32) as u32);
                    low.plus(high.shifted(32))
                }
            });
        }
        sum
    }
}

/// A tile's inner product. Both halves of a coefficient are below 2^64 and a limb is below 2^32, so
/// 2^32 products fit.
fn inner<const N: usize>(coefficients: &[u8], tile: &[u8], limb: impl Fn(&[u8; N]) -> u32) -> Tag {
    let (mut low, mut high) = (0u128, 0u128);
    for (coefficient, cell) in coefficients.as_chunks::<COEFFICIENT_BYTES>().0.iter().zip(tile.as_chunks::<N>().0) {
        let (a, y) = (u128::from_le_bytes(*coefficient), u64::from(limb(cell)));
        low += u128::from(a as u64) * u128::from(y);
        high += u128::from((a >> 64) as u64 & (u64::MAX >> 1)) * u128::from(y);
    }
    Tag::reduce(low).plus(Tag::reduce(high).shifted(64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication by doubling and adding.
    fn times(mut a: Tag, mut k: u128) -> Tag {
        let mut product = Tag::default();
        while k > 0 {
            if k & 1 == 1 {
                product = product.plus(a);
            }
            a = a.plus(a);
            k >>= 1;
        }
        product
    }

    fn challenge() -> Challenge {
        Challenge::new(&Hash([3; 32]), &Hash([4; 32]))
    }

    fn coefficient(index: usize) -> Tag {
        let mut bytes = [0; 16];
        challenge().0.keystream(16 * index as u64, &mut bytes);
        Tag::reduce(u128::from_le_bytes(bytes) & P)
    }

    #[test]
    fn a_tag_is_the_inner_product_with_the_coefficients() {
        for cell in [2, 4, 8] {
            // Two tiles and a ragged one, in the second piece, with the largest cells among them.
            let cells: Vec<u64> = (0..2 * TILE_CELLS as u64 + 5)
                .map(|i| if i % 7 == 0 { u64::MAX } else { i.wrapping_mul(0x9e37_79b9_7f4a_7c15) })
                .map(|x| x & (u64::MAX >> (64 - 8 * cell)))
                .collect();
            let bytes: Vec<u8> = cells.iter().flat_map(|x| x.to_le_bytes()[..cell].to_vec()).collect();
            let expected = cells
                .iter()
                .enumerate()
                .fold(Tag::default(), |sum, (i, x)| sum.plus(times(coefficient(PIECE_CELLS + i), u128::from(*x))));
            assert_eq!(challenge().tag(1, cell, &bytes), expected, "{cell}");
            assert_ne!(challenge().tag(0, cell, &bytes), expected, "{cell}");
        }
    }

    #[test]
    fn shifts_are_multiplications_and_numbers_have_one_form() {
        for x in [0, 1, 5, P - 1, P / 3, 1 << 126] {
            for bits in [0, 1, 32, 64, 126] {
                assert_eq!(Tag(x).shifted(bits), times(Tag(x), 1 << bits), "{x} {bits}");
            }
            assert_eq!(Tag::from_bytes(&Tag(x).to_bytes()), Some(Tag(x)));
        }
        assert_eq!(Tag::reduce(P), Tag(0));
        assert_eq!(Tag::reduce(u128::MAX), Tag(1));
        assert_eq!(Tag(P - 1).plus(Tag(1)), Tag(0));
        assert_eq!(Tag::from_bytes(&P.to_le_bytes()), None);
        assert_eq!(Tag::from_bytes(&[0xff; 16]), None);
    }

    #[test]
    fn a_changed_cell_changes_the_tag_wherever_it_stands_and_by_however_little() {
        let bytes = vec![7u8; 4 * (TILE_CELLS + 3)];
        let tag = challenge().tag(0, 4, &bytes);
        for at in [0, 3, 4 * TILE_CELLS - 1, 4 * TILE_CELLS, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 0x80;
            assert_ne!(challenge().tag(0, 4, &other), tag, "{at}");
        }
        assert_ne!(Challenge::new(&Hash([3; 32]), &Hash([5; 32])).tag(0, 4, &bytes), tag);
        assert_ne!(Challenge::new(&Hash([2; 32]), &Hash([4; 32])).tag(0, 4, &bytes), tag);
    }
}
