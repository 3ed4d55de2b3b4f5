//! The mask generator of secure aggregation: AES-256-CTR (suite 1) with block = LE64(counter) |
//! nonce, read as ring elements and added to a vector in place. The counter follows from the
//! element's position, so any piece of a mask is made alone.
//!
//! A keystream is never stored: the kernel adds each register to the vector as it leaves the cipher,
//! on a tile that stays in the first cache, so making a mask costs less than reading a stored one.

use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit, ParBlocks,
};
use aes::{Aes256, Block};

use crate::kernel::{self, Backend, Lane, Op, STRIDE, Schedule};
use crate::secret::Secret;

/// Bytes of a vector that are worked on at a time, so that they stay in the first cache while every
/// mask is added.
pub const TILE_BYTES: usize = 16 << 10;
/// Bytes of a block.
const BLOCK: usize = 16;
/// Key and nonce of a [`Prg`]: 32 bytes of AES-256 key, 8 bytes of nonce.
pub type PrgSeed = Secret<[u8; 40]>;

enum Cipher {
    Native(Backend, Box<Schedule>),
    Portable(Box<Aes256>),
}

/// A mask. Each seed masks one vector of one round and is never used again.
pub struct Prg {
    cipher: Cipher,
    nonce: u64,
}

impl Prg {
    /// A mask from its seed, made with the fastest instructions here.
    pub fn new(seed: &PrgSeed) -> Self {
        Self::with_backend(seed, Backend::detect())
    }

    /// A mask made with chosen instructions; the portable ones where those are absent. The mask is
    /// the same.
    pub fn with_backend(seed: &PrgSeed, backend: Backend) -> Self {
        let (key, nonce) = split(seed.expose_secret());
        let cipher = match kernel::expand_key(backend, key) {
            Some(schedule) => Cipher::Native(backend, Box::new(schedule)),
            None => Cipher::Portable(Box::new(Aes256::new(key.into()))),
        };
        Self { cipher, nonce: u64::from_le_bytes(*nonce) }
    }

    /// Adds the mask's elements from `start` on to `lanes`, or subtracts them.
    pub fn apply<L: Lane>(&self, start: u64, lanes: &mut [L], subtract: bool) {
        let position = start.wrapping_mul(L::BYTES as u64);
        match &self.cipher {
            Cipher::Native(backend, schedule) => {
                self.fused(*backend, schedule, L::op(subtract).0, position, kernel::as_bytes_mut(lanes));
            }
            Cipher::Portable(cipher) => {
                let length = core::mem::size_of_val(lanes);
                let mut rest = lanes;
                // No element straddles pieces, because its width divides a block's.
                self.portable(cipher, position, length, |stream| {
                    let (now, later) = core::mem::take(&mut rest).split_at_mut(stream.len() / L::BYTES);
                    L::apply_stream(now, stream, subtract);
                    rest = later;
                });
            }
        }
    }

    /// As [`Prg::apply`], for elements that lie as little-endian bytes.
    pub fn apply_bytes<L: Lane>(&self, start: u64, bytes: &mut [u8], subtract: bool) {
        let position = start.wrapping_mul(L::BYTES as u64);
        match &self.cipher {
            Cipher::Native(backend, schedule) => self.fused(*backend, schedule, L::op(subtract).0, position, bytes),
            Cipher::Portable(cipher) => {
                let mut rest = bytes;
                self.portable(cipher, position, rest.len(), |stream| {
                    let (now, later) = core::mem::take(&mut rest).split_at_mut(stream.len());
                    L::add_stream(now, stream, subtract);
                    rest = later;
                });
            }
        }
    }

    /// Writes the keystream from byte `position` on.
    pub fn keystream(&self, position: u64, out: &mut [u8]) {
        match &self.cipher {
            Cipher::Native(backend, schedule) => self.fused(*backend, schedule, Op::Store, position, out),
            Cipher::Portable(cipher) => {
                let mut rest = out;
                self.portable(cipher, position, rest.len(), |stream| {
                    let (now, later) = core::mem::take(&mut rest).split_at_mut(stream.len());
                    now.copy_from_slice(stream);
                    rest = later;
                });
            }
        }
    }

    /// Hands out `length` bytes of keystream from `position` on, piece by piece. Each piece but the
    /// first begins at a block.
    fn portable(&self, cipher: &Aes256, position: u64, length: usize, take: impl FnMut(&[u8])) {
        if length > 0 {
            cipher.encrypt_with_backend(Pieces { nonce: self.nonce, position, length, take });
        }
    }

    /// The kernel over bytes from any position: whole strides in place, a ragged beginning and end
    /// through a scratch stride.
    fn fused(&self, backend: Backend, schedule: &Schedule, op: Op, position: u64, bytes: &mut [u8]) {
        let skip = (position % BLOCK as u64) as usize;
        let counter = position / BLOCK as u64;
        let (head, rest) = bytes.split_at_mut(if skip == 0 { 0 } else { bytes.len().min(BLOCK - skip) });
        self.scratched(backend, schedule, op, counter, skip, head);
        let counter = counter.wrapping_add(u64::from(skip != 0));
        let (strides, tail) = rest.as_chunks_mut::<STRIDE>();
        kernel::run(backend, schedule, self.nonce, counter, op, strides);
        let counter = counter.wrapping_add((strides.len() * (STRIDE / BLOCK)) as u64);
        self.scratched(backend, schedule, op, counter, 0, tail);
    }

    fn scratched(&self, backend: Backend, schedule: &Schedule, op: Op, counter: u64, skip: usize, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut scratch = [[0u8; STRIDE]];
        let within = skip..skip + bytes.len(); // proof: a head is within a block, a tail below a stride.
        scratch[0][within.clone()].copy_from_slice(bytes);
        kernel::run(backend, schedule, self.nonce, counter, op, &mut scratch);
        bytes.copy_from_slice(&scratch[0][within]);
        kernel::wipe(&mut scratch[0]);
    }
}

/// A keystream that the cipher's library makes a batch at a time. The library calls this within its widest
/// instructions, so counters and `take` are compiled with them too, and a batch does not leave the first
/// cache before it is added. The counters of the next batch are written while the cipher is busy with this one.
struct Pieces<F> {
    nonce: u64,
    position: u64,
    length: usize,
    take: F,
}

impl<F> BlockSizeUser for Pieces<F> {
    type BlockSize = U16;
}

impl<F: FnMut(&[u8])> BlockCipherEncClosure for Pieces<F> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        let mut blocks = ParBlocks::<B>::default();
        let mut counters = ParBlocks::<B>::default();
        let mut counter = self.position / BLOCK as u64;
        let mut skip = (self.position % BLOCK as u64) as usize;
        let mut left = self.length;
        for block in counters.iter_mut() {
            let words = (u128::from(self.nonce) << 64) | u128::from(counter);
            *block = words.to_le_bytes().into();
            counter = counter.wrapping_add(1);
        }
        while left > 0 {
            backend.encrypt_par_blocks((&counters, &mut blocks).into());
            advance(Block::slice_as_flattened_mut(&mut counters));
            let stream = Block::slice_as_flattened(&blocks);
            // A whole batch has a length that is known when this is compiled.
            let piece = if skip == 0 && left >= stream.len() {
                (self.take)(stream);
                stream.len()
            } else {
                let piece = left.min(stream.len() - skip);
                (self.take)(&stream[skip..skip + piece]); // proof: `piece` is at most what is left of the stream.
                piece
            };
            left -= piece;
            skip = 0;
        }
        kernel::wipe(Block::slice_as_flattened_mut(&mut blocks));
    }
}

/// Moves a batch of counters on to the next; the nonces beside them stay, which is half of the writing.
#[inline(always)]
fn advance(counters: &mut [u8]) {
    let batch = (counters.len() / BLOCK) as u64;
    for block in counters.as_chunks_mut::<BLOCK>().0 {
        if let Some(low) = block.first_chunk_mut::<8>() {
            *low = u64::from_le_bytes(*low).wrapping_add(batch).to_le_bytes();
        }
    }
}

fn split(seed: &[u8; 40]) -> (&[u8; 32], &[u8; 8]) {
    let (key, rest) = seed.split_first_chunk::<32>().unwrap_or((&[0; 32], &[])); // proof: 40 is at least 32.
    (key, rest.first_chunk().unwrap_or(&[0; 8])) // proof: 40 - 32 is 8.
}

/// A mask with its sign in a vector.
pub struct SignedPrg {
    /// The mask.
    pub prg: Prg,
    /// Whether it is subtracted.
    pub subtract: bool,
}

/// Applies every mask to the elements from `start` on, tile by tile, so that each tile is read from
/// memory and written to it once however many masks there are.
pub fn apply_all<L: Lane>(masks: &[SignedPrg], start: u64, lanes: &mut [L]) {
    let tile = TILE_BYTES / L::BYTES;
    for (i, piece) in lanes.chunks_mut(tile).enumerate() {
        for mask in masks {
            mask.prg.apply(start.wrapping_add((i * tile) as u64), piece, mask.subtract);
        }
    }
}

#[cfg(test)]
mod tests;
