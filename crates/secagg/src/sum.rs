//! The aggregator's sum, kept as the bytes that will be sent. Vectors are added by chunks as they come; the masks and the
//! hash of the result go over each tile of the sum while it lies in the first cache, so that the whole of it is read
//! and written once however many masks there are.

use tacit_crypto::kernel::prefetch;
use tacit_crypto::prg::TILE_BYTES;
use tacit_crypto::{Lane, SignedPrg};
use tacit_types::Hash;

use crate::vector::{Vector, Width};

/// Sums of elements of one width as little-endian bytes.
pub(crate) struct Sum {
    width: Width,
    bytes: Vec<u8>,
}

impl Sum {
    /// The sum of one vector, given as its bytes.
    pub fn of(width: Width, bytes: Vec<u8>) -> Self {
        Self { width, bytes }
    }

    /// Adds elements to those from byte `offset` on, which begins an element. What lies beyond the sum is left out.
    pub fn add(&mut self, offset: usize, bytes: &[u8]) {
        self.change(offset, bytes, false);
    }

    /// Takes back what [`Sum::add`] added.
    pub fn subtract(&mut self, offset: usize, bytes: &[u8]) {
        self.change(offset, bytes, true);
    }

    fn change(&mut self, offset: usize, bytes: &[u8], subtract: bool) {
        let sum = self.bytes.get_mut(offset..).unwrap_or_default();
        match self.width {
            Width::W32 => u32::add_row(sum, bytes, subtract),
            Width::W64 => u64::add_row(sum, bytes, subtract),
            Width::W128 => u128::add_row(sum, bytes, subtract),
        }
    }

    /// Applies every mask, and gives the BLAKE3 hash of the result.
    pub fn unmask(&mut self, masks: &[SignedPrg]) -> Hash {
        match self.width {
            Width::W32 => unmask::<u32>(&mut self.bytes, masks),
            Width::W64 => unmask::<u64>(&mut self.bytes, masks),
            Width::W128 => unmask::<u128>(&mut self.bytes, masks),
        }
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
}

fn unmask<L: Lane>(mut rest: &mut [u8], masks: &[SignedPrg]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while !rest.is_empty() {
        let (tile, later) = rest.split_at_mut(rest.len().min(TILE_BYTES));
        // The next tile comes nearer while this one is unmasked, a part for each mask.
        let mut ahead = later.chunks(TILE_BYTES.div_ceil(masks.len().max(1)));
        for mask in masks {
            ahead.next().into_iter().for_each(prefetch);
            mask.prg.apply_bytes::<L>((at / L::BYTES) as u64, tile, mask.subtract);
        }
        hasher.update(tile);
        at += tile.len();
        rest = later;
    }
    Hash(hasher.finalize().into())
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

    /// Each width with vectors of random bytes, and their plain sum.
    fn cases() -> Vec<(Width, Vec<Vec<u8>>, Vector)> {
        let mut rng = Rng::from_seed(&Secret::new([3; 32]));
        let mut case = |width: Width, len: usize, count: usize| {
            let vector = |_| (0..len * width.bytes()).map(|_| rng.below(256) as u8).collect();
            let vectors: Vec<Vec<u8>> = (0..=count).map(vector).collect();
            let mut sum = Vector::zeroes(width, len);
            vectors.iter().for_each(|v| add_bytes(&mut sum, 0, v));
            (width, vectors, sum)
        };
        let sizes = [(1, 1), (1023, 3), (4096, 4), (9001, 5)];
        let widths = [Width::W32, Width::W64, Width::W128];
        widths.into_iter().flat_map(|w| sizes.map(|(len, count)| case(w, len, count))).collect()
    }

    #[test]
    fn the_sum_is_unmasked_and_hashed_however_vectors_were_cut() {
        for (width, vectors, plain) in cases() {
            for size in [usize::MAX, TILE_BYTES, 4096, 48] {
                for backend in Backend::available() {
                    let mut want = Vector::zeroes(width, plain.len());
                    add_bytes(&mut want, 0, &plain.to_bytes());
                    apply_masks(&mut want, &masks(3, backend));
                    let mut sum = Sum::of(width, vectors[0].clone());
                    for vector in &vectors[1..] {
                        let size = size.min(vector.len());
                        vector.chunks(size).enumerate().for_each(|(i, chunk)| sum.add(i * size, chunk));
                    }
                    let hash = sum.unmask(&masks(3, backend));
                    let bytes = sum.into_bytes();
                    assert_eq!(bytes, want.to_bytes(), "{width:?} {} {size} {backend:?}", plain.len());
                    assert_eq!(hash, Hash(blake3::hash(&bytes).into()));
                    assert_eq!(Sum::vector(width, &bytes), want);
                }
            }
        }
    }

    #[test]
    fn what_is_taken_back_leaves_nothing_and_what_lies_beyond_is_left_out() {
        for (width, vectors, plain) in cases() {
            let mut sum = Sum::of(width, vectors[0].clone());
            let other = vec![0xa7; 3 * 16];
            let places = [0, 16, plain.len() * width.bytes() - width.bytes(), plain.len() * width.bytes(), usize::MAX];
            places.iter().for_each(|at| sum.add(*at, &other));
            vectors[1..].iter().for_each(|v| sum.add(0, v));
            places.iter().for_each(|at| sum.subtract(*at, &other));
            assert_eq!(sum.into_bytes(), plain.to_bytes(), "{width:?}");
        }
    }
}
