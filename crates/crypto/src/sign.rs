//! Ed25519 signatures (RFC 8032) over labelled messages, verified strictly.

use core::fmt;
use ed25519_dalek::Signer;
use serde::{Deserialize, Serialize};
use tacit_types::NodeId;

use crate::rng::Rng;
use crate::secret::Secret;

/// A signing key. It cannot be printed or cloned; the inner key zeroizes itself on drop.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key.
    pub fn generate(rng: &mut Rng) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&rng.bytes()))
    }

    /// A key from its 32-byte RFC 8032 seed.
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose_secret()))
    }

    /// The 32-byte seed, to be written to a key file.
    pub fn to_seed(&self) -> Secret<[u8; 32]> {
        Secret::new(self.0.to_bytes())
    }

    /// A second handle to the same key, for a daemon that signs in several places.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(self.0.as_bytes()))
    }

    /// The public key, which is the holder's id.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes as they are. Callers build them with a label first.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// A signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (a, b) = self.0.split_at(32);
        (<[u8; 32]>::try_from(a).unwrap_or_default(), <[u8; 32]>::try_from(b).unwrap_or_default()).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (a, b) = <([u8; 32], [u8; 32])>::deserialize(d)?;
        let mut raw = [0u8; 64];
        raw[..32].copy_from_slice(&a);
        raw[32..].copy_from_slice(&b);
        Ok(Self(raw))
    }
}

/// Whether `signature` is `signer`'s over `message`. Strict: small-order and non-canonical keys and
/// points are refused, so that one signature verifies for one key and one message only.
pub fn verify(signer: &NodeId, message: &[u8], signature: &Signature) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(&signer.0)
        .and_then(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8032_test_2() {
        let mut seed = [0u8; 32];
        hex::decode_to_slice("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", &mut seed).unwrap();
        let key = SigningKey::from_seed(&Secret::new(seed));
        assert_eq!(key.id().to_string(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex::encode(signature.0),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(verify(&key.id(), &[0x72], &signature));
        assert!(!verify(&key.id(), &[0x73], &signature));
    }

    #[test]
    fn small_order_keys_verify_nothing() {
        // The identity point as a key accepts R = sB for any message under a lax verifier.
        let mut identity = [0u8; 32];
        identity[0] = 1;
        let mut signature = [0u8; 64];
        signature[0] = 1;
        assert!(!verify(&NodeId(identity), b"any", &Signature(signature)));
    }
}
