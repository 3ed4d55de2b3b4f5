//! One proof for a batch of answers: all were made with the key whose public part the cache names (the batched proof of
//! equal logarithms of RFC 9497, section 2.2, with answers in the halved form of this crate).

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, VartimeMultiscalarMul};
use sha2::{Digest, Sha256};
use tacit_crypto::points::Encoding;
use tacit_crypto::{Rng, Transcript, sha256};
use tacit_types::Hash;
use zeroize::Zeroizing;

use crate::workers::{Workers, in_pieces};

/// Bytes of a proof: challenge and response.
pub(crate) const PROOF_BYTES: usize = 64;

/// What a proof is about: the cache, its public key, the exchange and the batch in it.
pub(crate) struct About<'a> {
    pub cache: &'a Hash,
    pub public: &'a Encoding,
    pub run: &'a Hash,
    pub batch: u64,
}

impl About<'_> {
    fn seed(&self, points: &[Encoding], answers: &[Encoding]) -> Hash {
        Transcript::new("tacit-lookup/1/weights")
            .fixed(&self.cache.0)
            .fixed(self.public)
            .fixed(&self.run.0)
            .u64(self.batch)
            .fixed(&sha256(points.as_flattened()).0)
            .fixed(&sha256(answers.as_flattened()).0)
            .finish()
    }

    fn challenge(&self, seed: &Hash, all: [&RistrettoPoint; 4]) -> Scalar {
        let start = Transcript::new("tacit-lookup/1/challenge").fixed(&seed.0).fixed(self.public);
        let hash = all.iter().fold(start, |hash, point| hash.fixed(&point.compress().to_bytes()));
        Scalar::from_bytes_mod_order(hash.finish().0)
    }
}

/// 128 bits for each place: a wrong answer stays in the sum except with probability 2^-128.
fn weight(seed: &Hash, place: usize) -> Scalar {
    let mut hash = Sha256::new();
    hash.update(seed.0);
    hash.update((place as u64).to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let [low, _] = hash.as_chunks::<16>().0 else { return Scalar::ONE }; // proof: 32 bytes are two chunks.
    Scalar::from(u128::from_le_bytes(*low))
}

/// The sums of weighted points. `None` for an encoding that is none.
fn sum(workers: &dyn Workers, seed: &Hash, points: &[Encoding]) -> Option<RistrettoPoint> {
    let parts = in_pieces(workers, points.len(), |range| {
        let decode = |point: &Encoding| CompressedRistretto(*point).decompress().ok_or(());
        let decoded = points[range.clone()].iter().map(decode).collect::<Result<Vec<_>, ()>>()?; // proof: pieces are ranges of the list.
        Ok::<_, ()>(vec![RistrettoPoint::vartime_multiscalar_mul(range.map(|i| weight(seed, i)), decoded)])
    });
    Some(parts.ok()?.iter().fold(RistrettoPoint::identity(), |sum, part| sum + part))
}

/// Proves that each answer is half the key times its point. Points are public to both parties; only `key` is secret.
pub(crate) fn prove(
    workers: &dyn Workers,
    about: &About<'_>,
    key: &Zeroizing<Scalar>,
    rng: &mut Rng,
    points: &[Encoding],
    answers: &[Encoding],
) -> Option<[u8; PROOF_BYTES]> {
    let seed = about.seed(points, answers);
    let base = sum(workers, &seed, points)?;
    let image = base * **key;
    let wide: Zeroizing<[u8; 64]> = Zeroizing::new(rng.bytes());
    let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
    let commitments = [RistrettoPoint::mul_base(&nonce), base * *nonce];
    let [first, second] = &commitments;
    let challenge = about.challenge(&seed, [&base, &image, first, second]);
    let response = Zeroizing::new(*nonce - challenge * **key);
    let mut out = [0; PROOF_BYTES];
    out[..32].copy_from_slice(challenge.as_bytes());
    out[32..].copy_from_slice(response.as_bytes());
    Some(out)
}

/// Whether the proof holds for these points and answers.
pub(crate) fn holds(
    workers: &dyn Workers,
    about: &About<'_>,
    points: &[Encoding],
    answers: &[Encoding],
    proof: &[u8; PROOF_BYTES],
) -> bool {
    let scalar = |bytes: &[u8; 32]| Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes));
    let ([c, s], _) = proof.as_chunks::<32>() else { return false };
    let (Some(challenge), Some(response)) = (scalar(c), scalar(s)) else { return false };
    let Some(public) = CompressedRistretto(*about.public).decompress() else { return false };
    let seed = about.seed(points, answers);
    let (Some(base), Some(half)) = (sum(workers, &seed, points), sum(workers, &seed, answers)) else { return false };
    let image = half + half;
    let first = RistrettoPoint::vartime_double_scalar_mul_basepoint(&challenge, &public, &response);
    let second = RistrettoPoint::vartime_multiscalar_mul([&response, &challenge], [&base, &image]);
    points.len() == answers.len() && about.challenge(&seed, [&base, &image, &first, &second]) == challenge
}

#[cfg(test)]
mod tests {
    use tacit_crypto::Secret;

    use super::*;
    use crate::workers::Inline;

    fn point(n: u64) -> RistrettoPoint {
        RistrettoPoint::mul_base(&Scalar::from(n + 2)) + RistrettoPoint::mul_base(&Scalar::from(n * n))
    }

    #[test]
    fn a_proof_holds_for_the_answers_of_one_key_and_for_nothing_else() {
        let key = Zeroizing::new(Scalar::from(987_654_321_u64));
        let half = *key * Scalar::from(2u8).invert();
        let public = RistrettoPoint::mul_base(&key).compress().to_bytes();
        let points: Vec<Encoding> = (0..600).map(|n| point(n).compress().to_bytes()).collect();
        let answers: Vec<Encoding> = (0..600).map(|n| (point(n) * half).compress().to_bytes()).collect();
        let (cache, run) = (Hash([1; 32]), Hash([2; 32]));
        let about = About { cache: &cache, public: &public, run: &run, batch: 3 };
        let mut rng = Rng::from_seed(&Secret::new([5; 32]));
        let proof = prove(&Inline, &about, &key, &mut rng, &points, &answers).unwrap();
        assert!(holds(&Inline, &about, &points, &answers, &proof));
        // One answer of another key, two that change places, and each byte of the proof.
        for change in [0, 599] {
            let mut wrong = answers.clone();
            wrong[change] = (point(change as u64) * (half + Scalar::ONE)).compress().to_bytes();
            assert!(!holds(&Inline, &about, &points, &wrong, &proof));
            let own = prove(&Inline, &about, &key, &mut rng, &points, &wrong).unwrap();
            assert!(!holds(&Inline, &about, &points, &wrong, &own), "the key itself cannot prove it");
        }
        let mut swapped = answers.clone();
        swapped.swap(1, 2);
        assert!(!holds(&Inline, &about, &points, &swapped, &proof));
        for byte in 0..PROOF_BYTES {
            let mut wrong = proof;
            wrong[byte] ^= 1;
            assert!(!holds(&Inline, &about, &points, &answers, &wrong), "byte {byte}");
        }
        // Of another batch, run, cache or key.
        let other = Hash([9; 32]);
        let stranger = RistrettoPoint::mul_base(&Scalar::from(5u8)).compress().to_bytes();
        for about in [
            About { batch: 4, ..about },
            About { run: &other, ..about },
            About { cache: &other, ..about },
            About { public: &stranger, ..about },
        ] {
            assert!(!holds(&Inline, &about, &points, &answers, &proof));
        }
        assert!(!holds(&Inline, &about, &points[..599], &answers, &proof));
        assert!(!holds(&Inline, &about, &points, &answers[..599], &proof));
    }
}
