//! One proof for a batch of answers: all were made with the key whose public part is known (the batched proof of equal
//! logarithms of RFC 9497, section 2.2). In a search answers have the halved form of this crate.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha256};
use tacit_crypto::points::{self, Encoding};
use tacit_crypto::{Transcript, sha256};
use tacit_protocol::Offence;
use tacit_types::Hash;
use zeroize::Zeroizing;

use crate::workers::{Workers, in_pieces};

/// Bytes of a proof: challenge and response.
pub(crate) const PROOF_BYTES: usize = 64;

/// What a proof is about.
pub(crate) struct About<'a> {
    /// The name of the protocol, under which nothing else is hashed.
    pub protocol: &'static str,
    /// The cache, or the session.
    pub scope: &'a Hash,
    /// The public part of the key.
    pub public: &'a Encoding,
    /// The run, or who answers in which exchange of the session.
    pub run: &'a Hash,
    /// The batch in it.
    pub batch: u64,
    /// Whether an answer is half the key times its point.
    pub halved: bool,
}

impl About<'_> {
    fn seed(&self, points: &[Encoding], answers: &[Encoding]) -> Hash {
        Transcript::new(&format!("{}/weights", self.protocol))
            .fixed(&self.scope.0)
            .fixed(self.public)
            .fixed(&self.run.0)
            .u64(self.batch)
            .fixed(&sha256(points.as_flattened()).0)
            .fixed(&sha256(answers.as_flattened()).0)
            .finish()
    }

    fn challenge(&self, seed: &Hash, all: [&RistrettoPoint; 4]) -> Scalar {
        let start = Transcript::new(&format!("{}/challenge", self.protocol)).fixed(&seed.0).fixed(self.public);
        let hash = all.iter().fold(start, |hash, point| hash.fixed(&point.compress().to_bytes()));
        Scalar::from_bytes_mod_order(hash.finish().0)
    }
}

/// The point of a public key; `None` for what is none, or for the identity.
pub(crate) fn public(encoding: &Encoding) -> Option<RistrettoPoint> {
    CompressedRistretto(*encoding).decompress().filter(|point| !point.is_identity())
}

/// 128 bits for each place: a wrong answer stays in the sum except with probability 2^-128.
fn weight(seed: &Hash, place: usize) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(seed.0);
    hash.update((place as u64).to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let [low, _] = hash.as_chunks::<16>().0 else { return [1; 16] }; // proof: 32 bytes are two chunks.
    *low
}

/// The sum of weighed points. `None` for an encoding that is none, or for the identity.
fn sum(workers: &dyn Workers, seed: &Hash, points: &[Encoding]) -> Option<RistrettoPoint> {
    let parts = in_pieces(workers, points.len(), |range| {
        let weights: Vec<[u8; 16]> = range.clone().map(|place| weight(seed, place)).collect();
        points::weighed(&points[range], &weights).map(|sum| vec![sum]) // proof: pieces are ranges of the list.
    });
    Some(parts.ok()?.iter().sum())
}

/// Proves that each answer is the key times its point, or half of that. Points are public to both parties; `key` is secret, and
/// so is the nonce, which is drawn for the statement that it is given the hash of: at random, or from that hash and a secret.
pub(crate) fn prove(
    workers: &dyn Workers,
    about: &About<'_>,
    key: &Zeroizing<Scalar>,
    nonce: &mut dyn FnMut(&Hash) -> Zeroizing<Scalar>,
    points: &[Encoding],
    answers: &[Encoding],
) -> Option<[u8; PROOF_BYTES]> {
    let seed = about.seed(points, answers);
    let base = sum(workers, &seed, points)?;
    let image = base * **key;
    let nonce = nonce(&seed);
    let commitments = [RistrettoPoint::mul_base(&nonce), base * *nonce];
    let [first, second] = &commitments;
    let challenge = about.challenge(&seed, [&base, &image, first, second]);
    let response = Zeroizing::new(*nonce - challenge * **key);
    let mut out = [0; PROOF_BYTES];
    out[..32].copy_from_slice(challenge.as_bytes());
    out[32..].copy_from_slice(response.as_bytes());
    Some(out)
}

/// Checks that the proof holds for these points and answers.
///
/// # Errors
/// `BadPoint` for an answer, or a point, that is none; `BadOpening` where it does not hold.
pub(crate) fn check(
    workers: &dyn Workers,
    about: &About<'_>,
    points: &[Encoding],
    answers: &[Encoding],
    proof: &[u8; PROOF_BYTES],
) -> Result<(), Offence> {
    let scalar = |bytes: &[u8; 32]| Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes));
    let seed = about.seed(points, answers);
    let sum = |of| sum(workers, &seed, of).ok_or(Offence::BadPoint);
    let (base, told) = (sum(points)?, sum(answers)?);
    let ([c, s], _) = proof.as_chunks::<32>() else { return Err(Offence::BadOpening) };
    let (Some(challenge), Some(response), Some(public)) = (scalar(c), scalar(s), public(about.public)) else {
        return Err(Offence::BadOpening);
    };
    let image = if about.halved { told + told } else { told };
    let first = RistrettoPoint::vartime_double_scalar_mul_basepoint(&challenge, &public, &response);
    let second = RistrettoPoint::vartime_multiscalar_mul([&response, &challenge], [&base, &image]);
    let holds = about.challenge(&seed, [&base, &image, &first, &second]) == challenge;
    if holds && points.len() == answers.len() { Ok(()) } else { Err(Offence::BadOpening) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::Inline;

    fn point(n: u64) -> RistrettoPoint {
        RistrettoPoint::mul_base(&Scalar::from(n + 2)) + RistrettoPoint::mul_base(&Scalar::from(n * n))
    }

    #[test]
    fn a_proof_holds_for_the_answers_of_one_key_and_for_nothing_else() {
        for halved in [true, false] {
            holds_for_nothing_else(halved);
        }
    }

    fn holds_for_nothing_else(halved: bool) {
        let key = Zeroizing::new(Scalar::from(987_654_321_u64));
        let by = if halved { *key * Scalar::from(2u8).invert() } else { *key };
        let public = RistrettoPoint::mul_base(&key).compress().to_bytes();
        let points: Vec<Encoding> = (0..600).map(|n| point(n).compress().to_bytes()).collect();
        let answers: Vec<Encoding> = (0..600).map(|n| (point(n) * by).compress().to_bytes()).collect();
        let (scope, run) = (Hash([1; 32]), Hash([2; 32]));
        let about = About { protocol: "tacit-test/1", scope: &scope, public: &public, run: &run, batch: 3, halved };
        let holds = |about: &About<'_>, points: &[Encoding], answers: &[Encoding], proof: &[u8; PROOF_BYTES]| {
            check(&Inline, about, points, answers, proof).is_ok()
        };
        let prove = |points: &[Encoding], answers: &[Encoding]| {
            let mut nonce = |seed: &Hash| Zeroizing::new(Scalar::from_bytes_mod_order(sha256(&seed.0).0));
            prove(&Inline, &about, &key, &mut nonce, points, answers).unwrap()
        };
        let proof = prove(&points, &answers);
        assert_eq!(check(&Inline, &about, &points, &answers, &proof), Ok(()));
        assert_eq!(prove(&points, &answers), proof, "the same statement has the same proof");
        // One answer of another key, two that change places, and each byte of the proof.
        for change in [0, 599] {
            let mut wrong = answers.clone();
            wrong[change] = (point(change as u64) * (by + Scalar::ONE)).compress().to_bytes();
            assert_eq!(check(&Inline, &about, &points, &wrong, &proof), Err(Offence::BadOpening));
            assert!(!holds(&about, &points, &wrong, &prove(&points, &wrong)), "the key itself cannot prove it");
            for none in [[0; 32], [0xff; 32]] {
                wrong[change] = none;
                assert_eq!(check(&Inline, &about, &points, &wrong, &proof), Err(Offence::BadPoint));
            }
        }
        let mut swapped = answers.clone();
        swapped.swap(1, 2);
        assert!(!holds(&about, &points, &swapped, &proof));
        assert!(!holds(&about, &points, &swapped, &prove(&points, &swapped)));
        for byte in 0..PROOF_BYTES {
            let mut wrong = proof;
            wrong[byte] ^= 1;
            assert!(!holds(&about, &points, &answers, &wrong), "byte {byte}");
        }
        // Of another batch, run, scope, protocol, form or key.
        let other = Hash([9; 32]);
        let stranger = RistrettoPoint::mul_base(&Scalar::from(5u8)).compress().to_bytes();
        for about in [
            About { batch: 4, ..about },
            About { run: &other, ..about },
            About { scope: &other, ..about },
            About { protocol: "tacit-test/2", ..about },
            About { halved: !halved, ..about },
            About { public: &stranger, ..about },
        ] {
            assert!(!holds(&about, &points, &answers, &proof));
        }
        assert!(!holds(&about, &points[..599], &answers, &proof));
        assert!(!holds(&about, &points, &answers[..599], &proof));
    }
}
