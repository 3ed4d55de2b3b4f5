//! The aggregator's sum, kept as the bytes that will be sent. Vectors that are complete wait in a pile, and
//! the pile, the masks and the hash of the result go over each tile of the sum while it lies in the first
//! cache, so that the whole of it is read and written once.

use tacit_crypto::kernel::prefetch;
use tacit_crypto::prg::TILE_BYTES;
use tacit_crypto::{Lane, SignedPrg};
use tacit_types::Hash;

use crate::vector::{Vector, Width};

/// Bytes that are asked for while as many are masked.
const AHEAD_BYTES: usize = 2 << 10;

/// A complete masked vector: its bytes in chunks as they came, each with its offset, in order.
pub(crate) type Chunks = Vec<(usize, Vec<u8>)>;

/// Sums of elements of one width as little-endian bytes, and the vectors that are still to be added.
pub(crate) struct Sum {
    width: Width,
    bytes: Vec<u8>,
    pile: Vec<Chunks>,
}

impl Sum {
    /// The sum of one vector, given as its bytes.
    pub fn of(width: Width, bytes: Vec<u8>) -> Self {
        Self { width, bytes, pile: Vec::new() }
    }

    /// Takes a vector in.
    pub fn push(&mut self, vector: Chunks) {
        self.pile.push(vector);
    }

    /// Vectors whose bytes are held and not yet added.
    pub fn waiting(&self) -> usize {
        self.pile.len()
    }

    /// Adds what waits, and frees it.
    pub fn settle(&mut self) {
        self.pass(&[], |_| {});
    }

    /// Adds what waits, applies every mask, and gives the BLAKE3 hash of the result.
    pub fn unmask(&mut self, masks: &[SignedPrg]) -> Hash {
        let mut hasher = blake3::Hasher::new();
        self.pass(masks, |tile| {
            hasher.update(tile);
        });
        Hash(hasher.finalize().into())
    }

    /// The bytes of the sum of what was added.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The elements that [`Sum::into_bytes`] gave.
    pub fn vector(width: Width, bytes: &[u8]) -> Vector {
        let mut vector = Vector::zeroes(width, bytes.len() / width.bytes());
        crate::mask::add_bytes(&mut vector, 0, bytes);
        vector
    }

    fn pass(&mut self, masks: &[SignedPrg], done: impl FnMut(&[u8])) {
        let pile = core::mem::take(&mut self.pile);
        match self.width {
            Width::W32 => pass::<u32>(&mut self.bytes, &pile, masks, done),
            Width::W64 => pass::<u64>(&mut self.bytes, &pile, masks, done),
            Width::W128 => pass::<u128>(&mut self.bytes, &pile, masks, done),
        }
    }
}

fn pass<L: Lane>(sum: &mut [u8], pile: &[Chunks], masks: &[SignedPrg], mut done: impl FnMut(&[u8])) {
    for (i, tile) in sum.chunks_mut(TILE_BYTES).enumerate() {
        let at = i * TILE_BYTES;
        let (fours, rest) = pile.as_chunks::<4>();
        for four in fours {
            match four.each_ref().map(|v| whole(v, at, tile.len())) {
                [Some(a), Some(b), Some(c), Some(d)] => L::add_rows(tile, [a, b, c, d]),
                _ => four.iter().for_each(|vector| add_part::<L>(tile, at, vector)),
            }
        }
        rest.iter().for_each(|vector| add_part::<L>(tile, at, vector));
        unmask::<L>(tile, at, masks, pile);
        done(tile);
    }
}

/// Applies every mask to the tile at byte `at`. The next tile's rows come from memory meanwhile: a few lines are asked for
/// before each piece of a mask, because more than the processor keeps track of would hold up the cipher.
fn unmask<L: Lane>(tile: &mut [u8], at: usize, masks: &[SignedPrg], pile: &[Chunks]) {
    let next = |vector| whole(vector, at + TILE_BYTES, TILE_BYTES).unwrap_or_default();
    let mut ahead = pile.iter().flat_map(|vector| next(vector).chunks(AHEAD_BYTES)).peekable();
    for mask in masks {
        let piece = if ahead.peek().is_some() { AHEAD_BYTES } else { TILE_BYTES };
        for (i, bytes) in tile.chunks_mut(piece).enumerate() {
            ahead.next().into_iter().for_each(prefetch);
            mask.prg.apply_bytes::<L>(((at + i * piece) / L::BYTES) as u64, bytes, mask.subtract);
        }
    }
}

/// The chunks from the one that holds byte `at` on.
fn from(vector: &Chunks, at: usize) -> &[(usize, Vec<u8>)] {
    let after = vector.partition_point(|(offset, _)| *offset <= at);
    vector.get(after.saturating_sub(1)..).unwrap_or_default()
}

/// The bytes from `at` on, where one chunk holds `length` of them.
fn whole(vector: &Chunks, at: usize, length: usize) -> Option<&[u8]> {
    let (offset, chunk) = from(vector, at).first()?;
    let start = at.checked_sub(*offset)?;
    chunk.get(start..start.checked_add(length)?)
}

/// Adds what a vector has for the tile at byte `at`, however it was cut.
fn add_part<L: Lane>(tile: &mut [u8], at: usize, vector: &Chunks) {
    let end = at + tile.len();
    for (offset, chunk) in from(vector, at).iter().take_while(|(offset, _)| *offset < end) {
        let start = at.max(*offset);
        let part = chunk.get(start - offset..chunk.len().min(end - offset)).unwrap_or_default();
        L::add_stream(tile.get_mut(start - at..).unwrap_or_default(), part, false);
    }
}

#[cfg(test)]
mod tests {
    use tacit_crypto::{Backend, Prg, Rng, Secret};

    use super::*;
    use crate::mask::{add_bytes, apply_masks};

    fn masks(count: u8, backend: Backend) -> Vec<SignedPrg> {
        let prg = |i| Prg::with_backend(&Secret::new([i; 40]), backend);
        (0..count).map(|i| SignedPrg { prg: prg(i), subtract: i % 2 == 0 }).collect()
    }

    fn cut(bytes: &[u8], size: usize) -> Chunks {
        bytes.chunks(size).enumerate().map(|(i, chunk)| (i * size, chunk.to_vec())).collect()
    }

    #[test]
    fn one_pass_gives_the_sum_unmasked_and_its_hash_however_vectors_were_cut() {
        let mut rng = Rng::from_seed(&Secret::new([3; 32]));
        for width in [Width::W32, Width::W64, Width::W128] {
            for (len, count) in [(1, 1), (1023, 3), (4096, 4), (9001, 5), (20_000, 9)] {
                let size = width.bytes();
                let vectors: Vec<Vec<u8>> =
                    (0..=count).map(|_| (0..len * size).map(|_| rng.below(256) as u8).collect()).collect();
                for (first, other) in [(TILE_BYTES, TILE_BYTES), (2 * TILE_BYTES, 48), (48, 4096), (usize::MAX, 16)] {
                    for backend in Backend::available() {
                        let mut sum = Sum::of(width, vectors[0].clone());
                        let mut want = Vector::zeroes(width, len);
                        vectors.iter().for_each(|v| add_bytes(&mut want, 0, v));
                        apply_masks(&mut want, &masks(3, backend));
                        for (i, vector) in vectors[1..].iter().enumerate() {
                            sum.push(cut(vector, if i % 5 == 4 { other } else { first.min(vector.len()) }));
                            if i == 6 {
                                sum.settle();
                                assert_eq!(sum.waiting(), 0);
                            }
                        }
                        let hash = sum.unmask(&masks(3, backend));
                        let bytes = sum.into_bytes();
                        assert_eq!(bytes, want.to_bytes(), "{width:?} {len} {first} {other} {backend:?}");
                        assert_eq!(hash, Hash(blake3::hash(&bytes).into()));
                        assert_eq!(Sum::vector(width, &bytes), want);
                    }
                }
            }
        }
    }
}
