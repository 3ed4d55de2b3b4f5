//! Sealing to one recipient: ephemeral Ristretto agreement, HKDF-SHA256, AES-256-GCM. One key seals
//! one message, so the nonce is zero. Layout: 32-byte ephemeral point, then ciphertext and tag.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use serde::{Deserialize, Serialize};

use crate::agree::{PublicPoint, SecretScalar};
use crate::rng::Rng;
use crate::secret::Secret;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = 32 + 16;

/// A recipient's secret key.
pub struct SealKey(SecretScalar);

/// A recipient's public key as it stands in jobs and contracts: 32 bytes, checked when used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SealPublic(pub [u8; 32]);

impl<C> minicbor::Encode<C> for SealPublic {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for SealPublic {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.bytes()?.try_into().map(Self).map_err(|_| minicbor::decode::Error::message("a sealing key is 32 bytes"))
    }
}

impl SealPublic {
    /// The group element, `None` when the bytes are not one.
    pub fn point(&self) -> Option<PublicPoint> {
        PublicPoint::from_bytes(&self.0)
    }

    /// Seals `plain` to this key, bound to `context`. `None` when the key is not a group element.
    pub fn seal(&self, rng: &mut Rng, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let recipient = self.point()?;
        let ephemeral = SecretScalar::random(rng);
        let public = ephemeral.public();
        let key = ephemeral.agree(&recipient).derive(SALT, &[public.as_bytes(), &self.0]);
        let mut out = public.as_bytes().to_vec();
        out.extend_from_slice(&seal_once(&key, context, plain));
        Some(out)
    }
}

const SALT: &[u8] = b"tacit-seal/1";

impl SealKey {
    /// A fresh key.
    pub fn generate(rng: &mut Rng) -> Self {
        Self(SecretScalar::random(rng))
    }

    /// A key from its 32 canonical bytes.
    pub fn from_bytes(bytes: &Secret<[u8; 32]>) -> Option<Self> {
        SecretScalar::from_canonical(bytes.expose_secret()).map(Self)
    }

    /// The 32 canonical bytes, to be written to a key file.
    pub fn to_bytes(&self) -> Secret<[u8; 32]> {
        self.0.to_bytes()
    }

    /// The scalar, for protocols in which the recipient holds a mask key.
    pub fn scalar(&self) -> &SecretScalar {
        &self.0
    }

    /// The public key.
    pub fn public(&self) -> SealPublic {
        SealPublic(*self.0.public().as_bytes())
    }

    /// Opens what [`SealPublic::seal`] made with the same context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (ephemeral, rest) = sealed.split_first_chunk::<32>()?;
        let point = PublicPoint::from_bytes(ephemeral)?;
        let key = self.0.agree(&point).derive(SALT, &[ephemeral, self.public().0.as_slice()]);
        open_once(&key, context, rest)
    }
}

/// AES-256-GCM with nonce zero, for a key that seals exactly one message.
pub fn seal_once(key: &Secret<[u8; 32]>, context: &[u8], plain: &[u8]) -> Vec<u8> {
    // why: encryption fails only beyond 64 GiB of plaintext, which no message cap allows.
    Aes256Gcm::new(key.expose_secret().into())
        .encrypt(&Nonce::default(), Payload { msg: plain, aad: context })
        .unwrap_or_default()
}

/// The inverse of [`seal_once`]; `None` when key, context or bytes are not those that were sealed.
pub fn open_once(key: &Secret<[u8; 32]>, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new(key.expose_secret().into()).decrypt(&Nonce::default(), Payload { msg: sealed, aad: context }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_in_the_same_context_opens() {
        let mut rng = Rng::from_seed(&Secret::new([5; 32]));
        let (key, other) = (SealKey::generate(&mut rng), SealKey::generate(&mut rng));
        let sealed = key.public().seal(&mut rng, b"job 1", b"result").unwrap();
        assert_eq!(sealed.len(), OVERHEAD + 6);
        assert_eq!(key.open(b"job 1", &sealed).unwrap(), b"result");
        assert!(key.open(b"job 2", &sealed).is_none());
        assert!(other.open(b"job 1", &sealed).is_none());
        for i in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[i] ^= 1;
            assert!(key.open(b"job 1", &altered).is_none(), "byte {i}");
        }
        assert!(key.open(b"job 1", &sealed[..31]).is_none());
        assert!(SealPublic([0; 32]).seal(&mut rng, b"", b"").is_none());
    }

    #[test]
    fn nist_gcm_test_case_13() {
        // McGrew and Viega, GCM specification, test case 13: zero key, zero nonce, empty input.
        let sealed = seal_once(&Secret::new([0; 32]), b"", b"");
        assert_eq!(hex::encode(sealed), "530f8afbc74536b9a963b4f1c4cb738b");
    }
}
