//! The vector work of a round: encode, mask and serialise a piece at a time; add what arrives; take
//! the masks off in one pass.

use tacit_crypto::prg::{TILE_BYTES, apply_all};
use tacit_crypto::{Lane, SignedPrg};
use tacit_types::Fault;

use crate::vector::{Element, Slots, Source, Vector, each_width};

/// A party's vector on its way out: each tile is filled by the source, masked while it lies in the
/// first cache, and appended to the bytes to be sent. Nothing else holds the plain numbers.
pub struct Masker<S> {
    source: S,
    masks: Vec<SignedPrg>,
    tile: Vector,
    at: usize,
}

impl<S: Source> Masker<S> {
    /// A source under its masks.
    pub fn new(source: S, masks: Vec<SignedPrg>) -> Self {
        let tile = Vector::zeroes(source.width(), TILE_BYTES / source.width().bytes());
        Self { source, masks, tile, at: 0 }
    }

    /// Appends the next masked elements to `out` until it holds `bytes` bytes or the source ends.
    ///
    /// # Errors
    /// The source's own.
    pub fn next(&mut self, out: &mut Vec<u8>, bytes: usize) -> Result<(), Fault> {
        let width = self.source.width().bytes();
        let end = self.source.len();
        while self.at < end && out.len() + width <= bytes {
            let room = (bytes - out.len()) / width;
            let take = room.min(end - self.at).min(self.tile.len());
            let (source, masks, at) = (&mut self.source, &self.masks, self.at);
            each_width!(Vector, &mut self.tile, tile => {
                piece(source, masks, at, tile.get_mut(..take).unwrap_or_default(), out)
            })?;
            self.at += take;
        }
        Ok(())
    }
}

fn piece<L: Element>(
    source: &mut impl Source,
    masks: &[SignedPrg],
    at: usize,
    tile: &mut [L],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    source.fill(at, L::slots(tile))?;
    // The next tile's numbers come from memory while this one is masked, a part for each mask.
    let (next, part) = (at + tile.len(), tile.len().div_ceil(masks.len().max(1)));
    for (i, mask) in masks.iter().enumerate() {
        source.hint(next + i * part, part);
        mask.prg.apply(at as u64, tile, mask.subtract);
    }
    L::write_bytes(tile, out);
    Ok(())
}

/// Adds little-endian elements to the sum from byte `offset` on. What lies beyond it is left out.
pub fn add_bytes(sum: &mut Vector, offset: usize, bytes: &[u8]) {
    let start = offset / sum.width().bytes();
    each_width!(Vector, sum, v => Lane::add_bytes(v.get_mut(start..).unwrap_or_default(), bytes));
}

/// Applies every mask to the whole of a vector.
pub fn apply_masks(vector: &mut Vector, masks: &[SignedPrg]) {
    match vector.slots() {
        Slots::W32(v) => apply_all(masks, 0, v),
        Slots::W64(v) => apply_all(masks, 0, v),
        Slots::W128(v) => apply_all(masks, 0, v),
    }
}

#[cfg(test)]
mod tests {
    use tacit_crypto::{Prg, Secret};

    use super::*;
    use crate::vector::Width;

    fn masks(subtract: bool) -> Vec<SignedPrg> {
        (0..3).map(|i| SignedPrg { prg: Prg::new(&Secret::new([i; 40])), subtract }).collect()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_masked_bytes_and_unmasking_gives_the_input() {
        for width in [Width::W32, Width::W64, Width::W128] {
            let len = 9001;
            let mut plain = Vector::zeroes(width, len);
            each_width!(Vector, &mut plain, v => v.iter_mut().enumerate().for_each(|(i, x)| *x = (i * i) as _));
            let whole = {
                let mut out = Vec::new();
                Masker::new(&plain, masks(false)).next(&mut out, usize::MAX).unwrap();
                out
            };
            assert_eq!(whole.len(), len * width.bytes());
            for piece in [16, 4096, 40_000] {
                let mut masker = Masker::new(&plain, masks(false));
                let mut joined = Vec::new();
                loop {
                    let mut out = Vec::new();
                    masker.next(&mut out, piece).unwrap();
                    if out.is_empty() {
                        break;
                    }
                    assert!(out.len() <= piece);
                    joined.extend_from_slice(&out);
                }
                assert_eq!(joined, whole, "{width:?} {piece}");
            }
            let mut sum = Vector::zeroes(width, len);
            let cut = 4096;
            add_bytes(&mut sum, cut, &whole[cut..]);
            add_bytes(&mut sum, 0, &whole[..cut]);
            apply_masks(&mut sum, &masks(true));
            assert_eq!(sum, plain);
        }
    }
}
