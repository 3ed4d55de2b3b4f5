//! Vectors in pieces under one root, so that a wrong piece convicts without the rest.
//!
//! Tags count in *cells*: elements of 32 and 64 bits as they are, elements of 128 bits as their two
//! halves. The sum of the parties' cells is a cell and a carry, so that the sum over the whole
//! numbers is known, of which the element is a remainder.

use serde::{Deserialize, Serialize};
use tacit_crypto::Transcript;
use tacit_types::Hash;
use tacit_types::wire::Blob;

use super::tag::{Challenge, Tag};
use crate::merkle::{Tree, climb};
use crate::vector::{Vector, Width};

/// Cells of a piece.
pub(crate) const PIECE_CELLS: usize = 8192;
/// Bytes of a carry: the number of parties is below 2^16.
pub(crate) const CARRY_BYTES: usize = 2;

/// How a vector is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub width: Width,
    /// Elements.
    pub len: u64,
}

impl Shape {
    /// Bytes of a cell.
    pub fn cell(self) -> usize {
        self.width.bytes().min(8)
    }

    /// Bytes of a vector's cells, which are those of its elements.
    pub fn bytes(self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX).saturating_mul(self.width.bytes())
    }

    /// Bytes of the carries.
    pub fn carries(self) -> usize {
        self.bytes() / self.cell() * CARRY_BYTES
    }

    /// Pieces of a vector.
    pub fn pieces(self) -> usize {
        self.bytes().div_ceil(PIECE_CELLS * self.cell())
    }

    /// Each piece of a vector's bytes.
    pub fn cut(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        bytes.chunks(PIECE_CELLS * self.cell())
    }

    /// The tree over a vector, or over a sum with its carries.
    pub fn tree(self, bytes: &[u8], carries: &[u8]) -> Tree {
        Tree::new(self.leaves(bytes, carries))
    }

    /// The leaves of that tree, one a piece.
    pub fn leaves(self, bytes: &[u8], carries: &[u8]) -> Vec<Hash> {
        let mut carries = carries.chunks(PIECE_CELLS * CARRY_BYTES);
        self.cut(bytes).zip(0..).map(|(piece, i)| leaf(i, piece, carries.next().unwrap_or_default())).collect()
    }

    /// A vector's tag for each piece.
    pub fn tags(self, challenge: &Challenge, bytes: &[u8]) -> Vec<Tag> {
        self.cut(bytes).enumerate().map(|(i, piece)| challenge.tag(i, self.cell(), piece)).collect()
    }

    /// A piece with its way to the root.
    pub fn open(self, index: usize, bytes: &[u8], carries: &[u8]) -> Piece {
        Piece {
            bytes: Blob(self.cut(bytes).nth(index).unwrap_or_default().to_vec()),
            carries: Blob(carries.chunks(PIECE_CELLS * CARRY_BYTES).nth(index).unwrap_or_default().to_vec()),
            path: self.tree(bytes, carries).path(index),
        }
    }

    /// Adds vectors cell by cell: the cells of the sum, and the carries.
    pub fn add<'a>(self, vectors: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>) {
        if self.cell() == 4 { add_cells::<u32, 4>(self, vectors) } else { add_cells::<u64, 8>(self, vectors) }
    }

    /// The elements whose cells, summed, are these.
    pub fn elements(self, cells: &[u8], carries: &[u8]) -> Option<Vector> {
        if self.width != Width::W128 {
            return Vector::from_bytes(self.width, cells);
        }
        // why: an element is low + 2^64 high, and the carry of the low half belongs to the high one.
        let halves = cells.as_chunks::<8>().0.as_chunks::<2>().0.iter();
        let carries = carries.as_chunks::<CARRY_BYTES>().0.as_chunks::<2>().0.iter();
        let join = |([low, high], [carry, _]): (&[[u8; 8]; 2], &[[u8; 2]; 2])| {
            let high = u64::from_le_bytes(*high).wrapping_add(u64::from(u16::from_le_bytes(*carry)));
            u128::from(u64::from_le_bytes(*low)) | (u128::from(high) << 64)
        };
        Some(Vector::W128(halves.zip(carries).map(join).collect()))
    }
}

/// A cell of a vector.
trait Cell<const N: usize>: Copy + Default {
    fn read(bytes: [u8; N]) -> Self;
    fn write(self) -> [u8; N];
    fn add(self, other: Self) -> (Self, bool);
}

macro_rules! cell {
    ($t:ty, $n:literal) => {
        impl Cell<$n> for $t {
            fn read(bytes: [u8; $n]) -> Self {
                Self::from_le_bytes(bytes)
            }
            fn write(self) -> [u8; $n] {
                self.to_le_bytes()
            }
            fn add(self, other: Self) -> (Self, bool) {
                self.overflowing_add(other)
            }
        }
    };
}
cell!(u32, 4);
cell!(u64, 8);

fn add_cells<'a, C: Cell<N>, const N: usize>(
    shape: Shape,
    vectors: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Vec<u8>) {
    let cells = shape.bytes() / N;
    let (mut sums, mut carries) = (vec![C::default(); cells], vec![0u16; cells]);
    for vector in vectors {
        for ((sum, carry), cell) in sums.iter_mut().zip(&mut carries).zip(vector.as_chunks::<N>().0) {
            let (next, over) = sum.add(C::read(*cell));
            *sum = next;
            *carry += u16::from(over);
        }
    }
    (sums.iter().flat_map(|s| s.write()).collect(), carries.iter().flat_map(|c| c.to_le_bytes()).collect())
}

/// One piece of a vector, or of a sum with its carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub bytes: Blob,
    /// Empty in a party's own vector.
    pub carries: Blob,
    pub path: Vec<Hash>,
}

impl Piece {
    /// Whether this is that piece of what the root was made of.
    pub fn is_under(&self, shape: Shape, index: usize, root: &Hash) -> bool {
        let pieces = shape.pieces();
        index < pieces
            && self.path.len() == pieces.next_power_of_two().trailing_zeros() as usize
            && climb(leaf(index as u64, &self.bytes, &self.carries), index, &self.path) == *root
    }

    /// The tag of a party's piece.
    pub fn tag(&self, challenge: &Challenge, shape: Shape, index: usize) -> Tag {
        challenge.tag(index, shape.cell(), &self.bytes)
    }
}

/// The tag of a piece of the sum over the whole numbers: `cell + 2^bits carry`.
pub(crate) fn tag_of_sum(challenge: &Challenge, shape: Shape, index: usize, cells: &[u8], carries: &[u8]) -> Tag {
    let high = challenge.tag(index, CARRY_BYTES, carries);
    challenge.tag(index, shape.cell(), cells).plus(high.shifted(8 * shape.cell() as u32))
}

/// The commitment to a piece.
pub(crate) fn leaf(index: u64, bytes: &[u8], carries: &[u8]) -> Hash {
    let hash = |b: &[u8]| *blake3::hash(b).as_bytes();
    Transcript::new("tacit-secagg/1/piece").u64(index).fixed(&hash(bytes)).fixed(&hash(carries)).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(width: Width, len: usize, party: u64) -> Vec<u8> {
        // Large cells, so that nearly every one carries.
        let byte = |i: usize| 0xff - ((i as u64 * 31 + party * 7) % 40) as u8;
        (0..len * width.bytes()).map(byte).collect()
    }

    #[test]
    fn tags_of_the_vectors_add_up_to_the_tag_of_their_sum() {
        let challenge = Challenge::new(&Hash([1; 32]), &Hash([2; 32]));
        for (width, len) in [(Width::W32, 8193), (Width::W64, 20), (Width::W128, 4100)] {
            let shape = Shape { width, len: len as u64 };
            let vectors: Vec<Vec<u8>> = (0..5).map(|p| vector(width, len, p)).collect();
            let (cells, carries) = shape.add(vectors.iter().map(Vec::as_slice));
            assert_eq!((cells.len(), carries.len()), (shape.bytes(), shape.carries()));
            let tags: Vec<Vec<Tag>> = vectors.iter().map(|v| shape.tags(&challenge, v)).collect();
            assert_eq!(tags[0].len(), shape.pieces());
            let mut wrapped = crate::vector::Vector::zeroes(width, len);
            vectors.iter().for_each(|v| crate::mask::add_bytes(&mut wrapped, 0, v));
            assert_eq!(shape.elements(&cells, &carries), Some(wrapped), "{width:?}");
            for index in 0..shape.pieces() {
                let piece = shape.open(index, &cells, &carries);
                let of = |p: &Piece| tag_of_sum(&challenge, shape, index, &p.bytes, &p.carries);
                let sum = tags.iter().fold(Tag::default(), |sum, t| sum.plus(t[index]));
                assert_eq!(of(&piece), sum, "{width:?} {index}");
                let mut carry = piece.clone();
                carry.carries.0[0] ^= 1;
                assert_ne!(of(&carry), sum);
                let mut cell = piece.clone();
                cell.bytes.0[3] ^= 0x80;
                assert_ne!(of(&cell), sum);
            }
        }
    }

    #[test]
    fn a_piece_lies_under_its_own_root_and_place_alone() {
        let shape = Shape { width: Width::W32, len: 3 * PIECE_CELLS as u64 - 5 };
        let bytes = vector(Width::W32, shape.len as usize, 1);
        let root = shape.tree(&bytes, &[]).root();
        assert_eq!(shape.pieces(), 3);
        for index in 0..3 {
            let piece = shape.open(index, &bytes, &[]);
            assert!(piece.is_under(shape, index, &root));
            assert!(!piece.is_under(shape, (index + 1) % 3, &root));
            assert!(!piece.is_under(shape, index, &Hash([0; 32])));
            let mut other = piece.clone();
            other.bytes.0[5] ^= 1;
            assert!(!other.is_under(shape, index, &root));
            let mut carried = piece.clone();
            carried.carries.0.push(0);
            assert!(!carried.is_under(shape, index, &root));
            let mut short = piece;
            short.path.pop();
            assert!(!short.is_under(shape, index, &root));
        }
        assert!(!shape.open(3, &bytes, &[]).is_under(shape, 3, &root));
    }
}
