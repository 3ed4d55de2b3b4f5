//! Keys into the group, and group elements into tags.

use sha2::{Digest, Sha256, Sha512};
use tacit_crypto::Transcript;
use tacit_types::Hash;

use tacit_crypto::points::{Encoding, Uniform};

/// The domain separation tag of hashing to the group. With 45 bytes the second hash of the expansion is one compression.
pub const DST: &[u8] = b"TPSI-V01-ristretto255_XMD:SHA-512_R255MAP_RO_";

/// The hash of one key under its schema.
pub type KeyHash = [u8; 32];

/// Expansion of messages to 64 uniform bytes (expand_message_xmd of RFC 9380, section 5.3.1, with SHA-512). The group
/// element is derived from those by [`points`](tacit_crypto::points): together hash_to_ristretto255 (RFC 9380, appendix B).
pub struct Expander {
    padded: Sha512,
    suffix: Vec<u8>,
}

impl Expander {
    /// With a tag of 1 to 255 bytes; of a longer one the first 255 count.
    pub fn new(dst: &[u8]) -> Self {
        let dst = dst.get(..255).unwrap_or(dst);
        let mut suffix = dst.to_vec();
        suffix.push(dst.len() as u8);
        Self { padded: Sha512::new_with_prefix([0u8; 128]), suffix }
    }

    /// Expands one message.
    pub fn expand(&self, message: &[u8]) -> Uniform {
        let mut first = self.padded.clone();
        first.update(message);
        first.update([0, 64, 0]);
        first.update(&self.suffix);
        let mut second = Sha512::new();
        second.update(first.finalize());
        second.update([1]);
        second.update(&self.suffix);
        second.finalize().into()
    }
}

/// Bits of a tag beyond those that keep all pairs of two lists apart.
pub const STATISTICAL_BITS: u32 = 40;
/// Bytes of the longest tag: lists of 2^40 items.
pub const TAG_BYTES_MAX: usize = 16;
/// Bytes of a proof that a tag's item is held.
pub const CHECK_BYTES: usize = 16;

/// Bytes of a tag between lists of so many items: 40 + ceil(log2 nx) + ceil(log2 ny) bits, to whole bytes.
pub fn tag_bytes(ours: u64, theirs: u64) -> usize {
    let bits = |n: u64| u64::BITS - n.max(1).saturating_sub(1).leading_zeros();
    ((STATISTICAL_BITS + bits(ours) + bits(theirs)).div_ceil(8) as usize).min(TAG_BYTES_MAX)
}

/// What group elements become outside the group: a hash under the session and the server's public key.
#[derive(Clone)]
pub struct Tagger(Hash);

impl Tagger {
    /// For one session, one server's key `B` and one use.
    pub fn new(session: &Hash, public: &Encoding, use_: &str) -> Self {
        Self(Transcript::new("tacit-psi/1/tag").fixed(&session.0).fixed(public).bytes(use_.as_bytes()).finish())
    }

    /// The hash of a key and its evaluated element. With the key in it, an element can only match for the key that it was
    /// asked for (the outer hash of Jarecki, Kiayias and Krawczyk 2014).
    pub fn keyed(&self, key: &KeyHash, element: &Encoding) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.0);
        hash.update(key);
        hash.update(element);
        hash.finalize().into()
    }

    /// The hash of an element, for those who do not know its key.
    pub fn plain(&self, element: &Encoding) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.0);
        hash.update(element);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::ristretto::RistrettoPoint;
    use curve25519_dalek::scalar::Scalar;

    use super::*;

    /// RFC 9497, appendix A.1.1: the only official vectors of hash_to_ristretto255, with the blinding taken off.
    #[test]
    fn vectors_of_rfc_9497() {
        let expander = Expander::new(b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512");
        let blind = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
        let key = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e";
        let scalar = |text: &str| Scalar::from_canonical_bytes(hex::decode(text).unwrap().try_into().unwrap()).unwrap();
        for (input, blinded, evaluated) in [
            (
                &[0u8][..],
                "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
                "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
            ),
            (
                &[0x5a; 17][..],
                "da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
                "b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
            ),
        ] {
            let element = RistrettoPoint::from_uniform_bytes(&expander.expand(input)) * scalar(blind);
            assert_eq!(hex::encode(element.compress().to_bytes()), blinded);
            assert_eq!(hex::encode((element * scalar(key)).compress().to_bytes()), evaluated);
        }
    }

    #[test]
    fn the_second_hash_of_the_expansion_is_one_compression() {
        assert_eq!(DST.len(), 45);
        assert!(64 + 1 + DST.len() + 1 + 1 + 16 <= 128);
    }

    #[test]
    fn tags_are_as_long_as_the_lists_ask() {
        assert_eq!(tag_bytes(1 << 20, 1 << 20), 10);
        assert_eq!(tag_bytes((1 << 20) + 1, 1 << 20), 11);
        assert_eq!(tag_bytes(0, 0), 5);
        assert_eq!(tag_bytes(1, 2), 6);
        assert_eq!(tag_bytes(1 << 40, 1 << 40), 15);
        assert_eq!(tag_bytes(u64::MAX, u64::MAX), TAG_BYTES_MAX);
    }

    #[test]
    fn tags_depend_on_session_key_use_and_item() {
        let tags = [
            Tagger::new(&Hash([1; 32]), &[2; 32], "a").keyed(&[3; 32], &[4; 32]),
            Tagger::new(&Hash([9; 32]), &[2; 32], "a").keyed(&[3; 32], &[4; 32]),
            Tagger::new(&Hash([1; 32]), &[9; 32], "a").keyed(&[3; 32], &[4; 32]),
            Tagger::new(&Hash([1; 32]), &[2; 32], "b").keyed(&[3; 32], &[4; 32]),
            Tagger::new(&Hash([1; 32]), &[2; 32], "a").keyed(&[9; 32], &[4; 32]),
            Tagger::new(&Hash([1; 32]), &[2; 32], "a").keyed(&[3; 32], &[9; 32]),
            Tagger::new(&Hash([1; 32]), &[2; 32], "a").plain(&[4; 32]),
        ];
        for (i, a) in tags.iter().enumerate() {
            assert!(tags[..i].iter().all(|b| a != b), "{i}");
        }
    }
}
