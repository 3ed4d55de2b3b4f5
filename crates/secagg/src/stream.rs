//! Masks for many small sums with the same seats, agreed once: what a seat gives to each of them is one message, so an
//! answer takes one round trip.
//!
//! 1. Each masking seat sends every other a signed one-time point. The transcript T is bound to all of them.
//! 2. For the sum of number k over a request R, each pair derives a key from its agreement, T, k and the hash of R, adds
//!    its keystream at the one seat and subtracts it at the other. So seats that were asked different things share no
//!    mask, and what they gave adds up to random numbers.
//!
//! A [`Pad`] is made for the next number alone and consumed by the vector that it masks: no place of a keystream is used
//! twice, whatever is asked. There are no shares and no survivors: a seat that is lost makes every sum unusable.

use std::collections::BTreeMap;

use tacit_crypto::agree::derive;
use tacit_crypto::{Prg, PrgSeed, PublicPoint, SecretScalar, Transcript};
use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::{Code, Fault, Hash, Seat, Step};
use zeroize::Zeroizing;

use crate::keys;
use crate::messages::HEADER_BYTES;
use crate::signed::{Kind, Signed};

/// Bytes of a signed body of 32 bytes.
const SIGNED_POINT_BYTES: usize = HEADER_BYTES - 32;

/// Whose sums they are. Every masking seat holds an equal one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Everything that the job fixed: it must differ between any two attempts.
    pub context: Hash,
    /// The hash of what is summed.
    pub query: Hash,
    /// The seats that mask, two at least.
    pub seats: Vec<Seat>,
    /// The step of the points.
    pub step: Step,
    /// Milliseconds that the step may take.
    pub step_ms: u64,
}

/// A pair's key, and whether this seat subtracts.
struct Pair {
    key: PrgSeed,
    subtract: bool,
}

/// The masks of one seat, one number after the other.
pub struct Pads {
    transcript: Hash,
    pairs: Vec<Pair>,
    next: u64,
}

/// The mask of one vector.
pub struct Pad(Vec<(Prg, bool)>);

/// Numbers under a mask: without those of the other seats they are random.
pub struct Masked(Vec<u64>);

impl Masked {
    /// As they travel: each number as eight bytes, the lowest first.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|n| n.to_le_bytes()).collect()
    }
}

/// Adds a seat's masked numbers to a sum. `false` when there are not as many as in the sum.
pub fn add(sum: &mut [u64], bytes: &[u8]) -> bool {
    if bytes.len() != sum.len() * 8 {
        return false;
    }
    for (slot, number) in sum.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *slot = slot.wrapping_add(u64::from_le_bytes(*number));
    }
    true
}

impl Stream {
    /// Agrees on masks with the other seats of the stream.
    ///
    /// # Errors
    /// [`Abort::Missing`] for a seat that is lost; [`Abort::Misbehaved`]; [`Abort::Local`] when this seat is none of the
    /// stream's or there are fewer than two.
    pub async fn agree(&self, party: &mut Party) -> Result<Pads, Abort> {
        let me = party.seat();
        if self.seats.len() < 2 || !self.seats.contains(&me) {
            let what = "masks of fewer than two seats, or of others";
            return Err(Abort::Local(Fault::new(Code::RefusedParties, what)));
        }
        party.progress(self.step);
        let mut scope = Transcript::new("tacit-secagg/1/stream").fixed(&self.context.0).fixed(&self.query.0);
        scope = scope.u64(self.seats.len() as u64);
        let scope = self.seats.iter().fold(scope, |t, seat| t.u64(u64::from(seat.0))).finish();
        let secret = SecretScalar::random(party.rng());
        let public = secret.public();
        let signed = Signed::new(party, Kind::Point, &scope, 0, public.as_bytes());
        let until = party.now().plus(self.step_ms);
        let others: Vec<Seat> = self.seats.iter().copied().filter(|seat| *seat != me).collect();
        party.broadcast(&others, self.step, &signed.bytes(), until).await?;
        let heard = party.gather(&others, self.step, SIGNED_POINT_BYTES, until).await?.all(self.step)?;
        let mut points: BTreeMap<Seat, (PublicPoint, Hash)> = BTreeMap::from([(me, (public, signed.body_hash()))]);
        for (seat, bytes) in heard {
            let malformed = || Blame::seat(seat, Offence::Malformed).at(self.step);
            let theirs = Signed::read(&bytes).ok_or_else(malformed)?;
            if !theirs.is(party.seating(), Kind::Point, &scope, 0, seat) {
                return Err(Blame::seat(seat, Offence::Signature).at(self.step));
            }
            let point =
                theirs.open::<[u8; 32]>().and_then(|raw| PublicPoint::from_bytes(&raw)).ok_or_else(malformed)?;
            points.insert(seat, (point, theirs.body_hash()));
        }
        let all = Transcript::new("tacit-secagg/1/stream/points").fixed(&scope.0);
        let transcript = points.values().fold(all, |t, (_, hash)| t.fixed(&hash.0)).finish();
        let peers: Vec<(Seat, PublicPoint)> =
            points.iter().filter(|(seat, _)| **seat != me).map(|(seat, (point, _))| (*seat, *point)).collect();
        let keys = keys::pair_seeds(&transcript, (me, &secret, &public), &peers);
        let pairs = keys.into_iter().zip(&peers).map(|(key, (seat, _))| Pair { key, subtract: me > *seat }).collect();
        Ok(Pads { transcript, pairs, next: 0 })
    }
}

impl Pads {
    /// The mask of the next number, for what was asked.
    pub fn next(&mut self, request: &Hash) -> Pad {
        let number = self.next;
        self.next += 1;
        let derived = |pair: &Pair| {
            let info: [&[u8]; 3] = [b"tacit-secagg/1/stream/pad", &number.to_le_bytes(), &request.0];
            (Prg::new(&derive(&self.transcript.0, pair.key.expose_secret(), &info)), pair.subtract)
        };
        Pad(self.pairs.iter().map(derived).collect())
    }
}

impl Pad {
    /// Masks the numbers.
    pub fn mask(self, numbers: &Zeroizing<Vec<u64>>) -> Masked {
        let mut masked = numbers.to_vec();
        for (prg, subtract) in &self.0 {
            prg.apply(0, &mut masked, *subtract);
        }
        Masked(masked)
    }
}

#[cfg(test)]
mod tests {
    use tacit_crypto::Secret;

    use super::*;

    /// Pads of `n` seats as the agreement gives them.
    fn pads(n: u16) -> Vec<Pads> {
        let key = |a: u16, b: u16| Secret::new([(a.min(b) * 16 + a.max(b)) as u8; 40]);
        let pair = |me: u16, other: u16| Pair { key: key(me, other), subtract: me > other };
        (0..n)
            .map(|me| Pads {
                transcript: Hash([9; 32]),
                pairs: (0..n).filter(|other| *other != me).map(|other| pair(me, other)).collect(),
                next: 0,
            })
            .collect()
    }

    fn sum(given: Vec<Masked>, cells: usize) -> Vec<u64> {
        let mut sum = vec![0; cells];
        given.into_iter().for_each(|masked| assert!(add(&mut sum, &masked.into_bytes())));
        sum
    }

    #[test]
    fn masks_of_one_number_and_request_cancel_and_no_others() {
        let (mine, other) = (Hash([1; 32]), Hash([2; 32]));
        let values = |seat: u64| Zeroizing::new((0..5).map(|i| i * 100 + seat).collect::<Vec<u64>>());
        for n in [2, 3, 7] {
            let mut all = pads(n);
            let give = |all: &mut Vec<Pads>, requests: &dyn Fn(usize) -> Hash| {
                let masked = all.iter_mut().enumerate().map(|(i, p)| p.next(&requests(i)).mask(&values(i as u64)));
                sum(masked.collect(), 5)
            };
            let seats: u64 = (0..u64::from(n)).sum();
            let plain: Vec<u64> = (0..5).map(|i| i * 100 * u64::from(n) + seats).collect();
            assert_eq!(give(&mut all, &|_| mine), plain, "{n}");
            assert_eq!(give(&mut all, &|_| mine), plain, "the same request again, under another number");
            // One seat was asked something else: what adds up is no number of anybody's.
            assert!(give(&mut all, &|i| if i == 0 { other } else { mine }).iter().zip(&plain).all(|(a, b)| a != b));
            // One seat is a number ahead.
            all[0].next(&mine);
            assert!(give(&mut all, &|_| mine).iter().zip(&plain).all(|(a, b)| a != b));
        }
    }

    #[test]
    fn no_two_masks_of_a_seat_are_equal() {
        let mut pads = pads(2).remove(0);
        let zeroes = Zeroizing::new(vec![0; 4]);
        let mut seen = std::collections::BTreeSet::new();
        for request in [Hash([1; 32]), Hash([1; 32]), Hash([2; 32])] {
            assert!(pads.next(&request).mask(&zeroes).0.into_iter().all(|n| n != 0 && seen.insert(n)));
        }
        assert!(!add(&mut [0; 4], &[0; 31]), "another length");
    }
}
