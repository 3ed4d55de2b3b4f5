//! BLAKE3 of a long stream by pieces, so that pieces can be hashed where and when they arrive and the one
//! that needs the root only joins them. The root is plain BLAKE3 of the whole, whoever hashed what.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use tacit_types::Hash;

/// Bytes of a piece: a whole subtree of BLAKE3, and a divisor of every chunk of a protocol message.
pub const PIECE_BYTES: usize = 32 << 10;

/// The values of the whole pieces of one run of bytes that begins at a piece. They are worth what their
/// maker is worth: a party believes only those of its own process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pieces {
    offset: u64,
    values: Vec<ChainingValue>,
}

impl Pieces {
    /// Hashes the whole pieces of `bytes`, which begin at `offset` of their stream. Bytes after the last
    /// whole piece are left for [`Root::push`], and all of them when the offset is not a piece's.
    pub fn of(offset: u64, bytes: &[u8]) -> Self {
        let whole = if offset.is_multiple_of(PIECE_BYTES as u64) { bytes.as_chunks::<PIECE_BYTES>().0 } else { &[] };
        let values = whole.iter().zip(0..).map(|(piece, i)| value(offset + i * PIECE_BYTES as u64, piece));
        Self { offset, values: values.collect() }
    }
}

/// The root of a stream of known length that is pushed in order.
pub struct Root {
    length: u64,
    at: u64,
    /// Of the pieces so far.
    values: Vec<ChainingValue>,
    /// The bytes of a piece that has begun. A stream of one piece at most is hashed whole at the end.
    rest: Vec<u8>,
}

impl Root {
    /// The root of a stream of `length` bytes.
    pub fn new(length: u64) -> Self {
        Self { length, at: 0, values: Vec::new(), rest: Vec::new() }
    }

    /// Takes the next bytes in. Of `known`, what was made at this offset and ends within these bytes needs
    /// no hashing: a run may be wider than what is pushed, such as a vector before its header.
    pub fn push(&mut self, bytes: &[u8], known: &Pieces) {
        if bytes.len() as u64 > self.length.saturating_sub(self.at) {
            // Longer than announced: there is no root, and nothing more is kept.
            self.at = u64::MAX;
            return;
        }
        let fits = self.length > PIECE_BYTES as u64 && self.rest.is_empty() && known.offset == self.at;
        let whole = if fits { known.values.len().min(bytes.len() / PIECE_BYTES) } else { 0 };
        self.values.extend(known.values.iter().take(whole));
        self.at += (whole * PIECE_BYTES) as u64;
        let mut left = bytes.get(whole * PIECE_BYTES..).unwrap_or_default();
        while !left.is_empty() {
            let room = PIECE_BYTES - self.rest.len();
            let (now, later) = left.split_at(left.len().min(room));
            left = later;
            if now.len() == PIECE_BYTES && self.length > PIECE_BYTES as u64 {
                self.values.push(value(self.at, now));
            } else {
                self.rest.extend_from_slice(now);
            }
            self.at += now.len() as u64;
            if self.rest.len() == PIECE_BYTES {
                self.close_piece();
            }
        }
    }

    fn close_piece(&mut self) {
        if self.length > PIECE_BYTES as u64 && !self.rest.is_empty() {
            self.values.push(value(self.at - self.rest.len() as u64, &self.rest));
            self.rest.clear();
        }
    }

    /// The root; `None` when more or fewer bytes came than were announced.
    pub fn finish(mut self) -> Option<Hash> {
        if self.at != self.length {
            return None;
        }
        self.close_piece();
        let Some((left, right)) = halves(&self.values) else {
            return Some(Hash(blake3::hash(&self.rest).into()));
        };
        Some(Hash(merge_subtrees_root(&join(left), &join(right), Mode::Hash).into()))
    }
}

/// The value of a piece, which is never a root.
fn value(offset: u64, piece: &[u8]) -> ChainingValue {
    Hasher::new().set_input_offset(offset).update(piece).finalize_non_root()
}

/// The two subtrees over two pieces or more: the left one is the largest power of two that leaves some.
fn halves(values: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
    (values.len() > 1).then(|| values.split_at(values.len().next_power_of_two() / 2))
}

fn join(values: &[ChainingValue]) -> ChainingValue {
    match halves(values) {
        Some((left, right)) => merge_subtrees_non_root(&join(left), &join(right), Mode::Hash),
        None => values.first().copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    /// Pushes in runs of `run` bytes, with the values of every `every`-th run made ahead.
    fn root(bytes: &[u8], run: usize, every: usize) -> Option<Hash> {
        let mut root = Root::new(bytes.len() as u64);
        for (i, now) in bytes.chunks(run).enumerate() {
            let known = if i % every == 0 { Pieces::of((i * run) as u64, now) } else { Pieces::default() };
            root.push(now, &known);
        }
        root.finish()
    }

    #[test]
    fn the_root_is_blake3_of_the_whole_whoever_hashed_what() {
        let p = PIECE_BYTES;
        for len in [0, 1, p - 1, p, p + 1, 2 * p, 3 * p - 5, 4 * p, 5 * p, 6 * p + 77, 8 * p, 13 * p + 1] {
            let bytes = bytes(len);
            let whole = Hash(blake3::hash(&bytes).into());
            for run in [p, 2 * p, 4 * p, 1000, p + 13, 16 * p] {
                for every in [1, 2, 3] {
                    assert_eq!(root(&bytes, run, every), Some(whole), "{len} {run} {every}");
                }
            }
        }
    }

    #[test]
    fn values_of_a_wider_run_serve_as_far_as_they_reach_and_of_another_place_not_at_all() {
        let p = PIECE_BYTES;
        let bytes = bytes(3 * p + 100);
        let vector = &bytes[..2 * p + 10];
        let whole = Hash(blake3::hash(vector).into());
        let mut root = Root::new(vector.len() as u64);
        root.push(vector, &Pieces::of(0, &bytes));
        assert_eq!(root.finish(), Some(whole));
        let mut root = Root::new(vector.len() as u64);
        root.push(&vector[..p], &Pieces::of(p as u64, &bytes[p..]));
        root.push(&vector[p..], &Pieces::of(0, &bytes));
        assert_eq!(root.finish(), Some(whole));
        assert_eq!(Pieces::of(1, &bytes).values.len(), 0);
    }

    #[test]
    fn given_values_are_used_and_a_wrong_one_changes_the_root() {
        let bytes = bytes(4 * PIECE_BYTES);
        let mut known = Pieces::of(0, &bytes);
        known.values[2][0] ^= 1;
        let mut root = Root::new(bytes.len() as u64);
        root.push(&bytes, &known);
        assert_ne!(root.finish(), Some(Hash(blake3::hash(&bytes).into())));
    }

    #[test]
    fn another_length_has_no_root() {
        for (length, pushed) in [(10, 9), (10, 11), (PIECE_BYTES, 2 * PIECE_BYTES), (2 * PIECE_BYTES, PIECE_BYTES)] {
            let mut root = Root::new(length as u64);
            root.push(&bytes(pushed), &Pieces::default());
            assert_eq!(root.finish(), None);
        }
    }
}
