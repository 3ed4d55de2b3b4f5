//! Batches of keys and points through the kernel, on as many cores as the host has.

use tacit_crypto::Prg;
use tacit_protocol::Offence;
use zeroize::Zeroizing;

use crate::hash::Expander;
use crate::keyset::Key;
use crate::session::Trouble;
use crate::workers::{Workers, in_pieces};
use tacit_crypto::points::{self, Base, Encoding, From, Multiplier, Operation, Refused, Uniform};

/// Blinding scalars: one for each key of a list, by its place, uniform below 2^252, which is within 2^-126 of uniform modulo
/// the group's order.
pub(crate) struct Blinds(Prg);

impl Blinds {
    pub(crate) fn new(seed: &tacit_crypto::PrgSeed) -> Self {
        Self(Prg::new(seed))
    }

    fn get(&self, first: u64, count: usize) -> Zeroizing<Vec<[u8; 32]>> {
        let mut out = Zeroizing::new(vec![[0; 32]; count]);
        self.0.keystream(32 * first, out.as_flattened_mut());
        out.iter_mut().for_each(|r| r[31] &= 15);
        out
    }
}

/// Encodings of k H(x), where `half` multiplies by k / 2.
pub(crate) fn hash_multiply(
    workers: &dyn Workers,
    expander: &Expander,
    half: &Multiplier,
    keys: &[Key],
) -> Vec<Encoding> {
    let done = in_pieces(workers, keys.len(), |range| {
        let uniform = expand(expander, &keys[range]); // proof: pieces are ranges of the list, here and below.
        run(From::Uniform(&uniform), Operation::Multiply(half))
    });
    done.unwrap_or_default() // proof: derived elements are never refused.
}

/// Encodings of 2 (H(x) + r B), the scalars from place `first` on.
pub(crate) fn hash_blind(
    workers: &dyn Workers,
    expander: &Expander,
    base: &Base,
    blinds: &Blinds,
    first: u64,
    keys: &[Key],
) -> Vec<Encoding> {
    let done = in_pieces(workers, keys.len(), |range| {
        let r = blinds.get(first + range.start as u64, range.len());
        let uniform = expand(expander, &keys[range]);
        run(From::Uniform(&uniform), Operation::Blind(base, &r))
    });
    done.unwrap_or_default() // proof: derived elements are never refused.
}

/// Encodings of k P, where `half` multiplies by k / 2.
pub(crate) fn multiply(
    workers: &dyn Workers,
    half: &Multiplier,
    points: &[Encoding],
) -> Result<Vec<Encoding>, Trouble> {
    in_pieces(workers, points.len(), |range| run(From::Encoded(&points[range]), Operation::Multiply(half)))
        .map_err(bad_point)
}

/// Encodings of 2 (P - r B).
pub(crate) fn unblind(
    workers: &dyn Workers,
    base: &Base,
    blinds: &Blinds,
    first: u64,
    points: &[Encoding],
) -> Result<Vec<Encoding>, Trouble> {
    in_pieces(workers, points.len(), |range| {
        let r = blinds.get(first + range.start as u64, range.len());
        run(From::Encoded(&points[range]), Operation::Unblind(base, &r))
    })
    .map_err(bad_point)
}

/// A hash for each of several items.
pub(crate) fn hashes(workers: &dyn Workers, count: usize, hash: impl Fn(usize) -> [u8; 32] + Sync) -> Vec<[u8; 32]> {
    in_pieces(workers, count, |range| Ok::<_, ()>(range.map(&hash).collect())).unwrap_or_default()
}

fn expand(expander: &Expander, keys: &[Key]) -> Vec<Uniform> {
    keys.iter().map(|k| expander.expand(&k.hash)).collect()
}

fn run(from: From<'_>, operation: Operation<'_>) -> Result<Vec<Encoding>, Refused> {
    let mut out = vec![[0; 32]; from.len()];
    points::run(from, operation, &mut out)?;
    Ok(out)
}

fn bad_point(_: Refused) -> Trouble {
    Trouble::Peer(Offence::BadPoint)
}
