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
        self.block(&self.first(message, 64), 1)
    }

    /// The hash of a message that is expanded to so many bytes, from which every block is made.
    fn first(&self, message: &[u8], bytes: u16) -> Uniform {
        let mut first = self.padded.clone();
        first.update(message);
        first.update(bytes.to_be_bytes());
        first.update([0]);
        first.update(&self.suffix);
        first.finalize().into()
    }

    /// A block, of that hash and the block before.
    fn block(&self, before: &Uniform, number: u8) -> Uniform {
        let mut block = Sha512::new();
        block.update(before);
        block.update([number]);
        block.update(&self.suffix);
        block.finalize().into()
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

    /// RFC 9380, appendix K.3, at 32 and at 128 bytes: the expansion itself, of which this crate takes 64.
    #[test]
    fn vectors_of_rfc_9380() {
        let expander = Expander::new(b"QUUX-V01-CS02-with-expander-SHA512-256");
        let expand = |message: &[u8], bytes: u16| {
            let first = expander.first(message, bytes);
            let mut blocks = vec![expander.block(&first, 1)];
            while blocks.len() * 64 < usize::from(bytes) {
                let before = blocks[blocks.len() - 1];
                let mixed = core::array::from_fn(|i| first[i] ^ before[i]);
                blocks.push(expander.block(&mixed, blocks.len() as u8 + 1));
            }
            hex::encode(&blocks.concat()[..usize::from(bytes)])
        };
        let long = |start: &str, letter: &str, times| format!("{start}{}", letter.repeat(times));
        let messages =
            [String::new(), "abc".into(), "abcdef0123456789".into(), long("q128_", "q", 128), long("a512_", "a", 512)];
        let expected = [
            (
                "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba",
                "41b037d1734a5f8df225dd8c7de38f851efdb45c372887be655212d07251b921b052b62eaed99b46f72f2ef4cc96bfaf254ebbbec091e1a3b9e4fb5e5b619d2e\
                 0c5414800a1d882b62bb5cd1778f098b8eb6cb399d5d9d18f5d5842cf5d13d7eb00a7cff859b605da678b318bd0e65ebff70bec88c753b159a805d2c89c55961",
            ),
            (
                "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc",
                "7f1dddd13c08b543f2e2037b14cefb255b44c83cc397c1786d975653e36a6b11bdd7732d8b38adb4a0edc26a0cef4bb45217135456e58fbca1703cd6032cb134\
                 7ee720b87972d63fbf232587043ed2901bce7f22610c0419751c065922b488431851041310ad659e4b23520e1772ab29dcdeb2002222a363f0c2b1c972b3efe1",
            ),
            (
                "087e45a86e2939ee8b91100af1583c4938e0f5fc6c9db4b107b83346bc967f58",
                "3f721f208e6199fe903545abc26c837ce59ac6fa45733f1baaf0222f8b7acb0424814fcb5eecf6c1d38f06e9d0a6ccfbf85ae612ab8735dfdf9ce84c372a77c8\
                 f9e1c1e952c3a61b7567dd0693016af51d2745822663d0c2367e3f4f0bed827feecc2aaf98c949b5ed0d35c3f1023d64ad1407924288d366ea159f46287e61ac",
            ),
            (
                "7336234ee9983902440f6bc35b348352013becd88938d2afec44311caf8356b3",
                "b799b045a58c8d2b4334cf54b78260b45eec544f9f2fb5bd12fb603eaee70db7317bf807c406e26373922b7b8920fa29142703dd52bdf280084fb7ef69da78af\
                 df80b3586395b433dc66cde048a258e476a561e9deba7060af40adf30c64249ca7ddea79806ee5beb9a1422949471d267b21bc88e688e4014087a0b592b695ed",
            ),
            (
                "57b5f7e766d5be68a6bfe1768e3c2b7f1228b3e4b3134956dd73a59b954c66f4",
                "05b0bfef265dcee87654372777b7c44177e2ae4c13a27f103340d9cd11c86cb2426ffcad5bd964080c2aee97f03be1ca18e30a1f14e27bc11ebbd650f305269c\
                 c9fb1db08bf90bfc79b42a952b46daf810359e7bc36452684784a64952c343c52e5124cd1f71d474d5197fefc571a92929c9084ffe1112cf5eea5192ebff330b",
            ),
        ];
        for (message, (short, long)) in messages.iter().zip(expected) {
            assert_eq!(expand(message.as_bytes(), 0x20), short);
            assert_eq!(expand(message.as_bytes(), 0x80), long);
            assert_eq!(hex::encode(expander.expand(message.as_bytes())), expand(message.as_bytes(), 64));
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
