//! Ed25519 signatures (RFC 8032) over labelled messages, verified strictly.

use core::cell::RefCell;
use core::fmt;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::{Signer, Verifier as _};
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

/// A public key, decoded once for many signatures.
#[derive(Clone)]
pub struct Verifier {
    key: ed25519_dalek::VerifyingKey,
    /// Of small order: it verifies nothing.
    weak: bool,
}

/// The encodings of the eight points of small order (the torsion of Curve25519's twisted Edwards form).
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().0));

impl Verifier {
    /// Decodes a signer's key; `None` when it is no point.
    pub fn new(signer: &NodeId) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&signer.0).ok()?;
        Some(Self { weak: key.is_weak(), key })
    }

    /// Whether `signature` is this key's over `message`, as strictly as [`verify`].
    ///
    /// The accepted signatures are exactly those of `VerifyingKey::verify_strict`, which decodes R to see whether it is
    /// of small order. Where the signature holds, R is the canonical encoding of a point, so that it is enough to compare it
    /// with those of the eight: a square root less.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let (r, _) = signature.0.split_at(32);
        !self.weak
            && SMALL_ORDER.iter().all(|small| small != r)
            && self.key.verify(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }
}

/// Keys that a keyring holds.
pub const KEYRING_KEYS_MAX: usize = 4096;

/// Keys decoded once, for a reader of many statements by few signers.
#[derive(Default)]
pub struct Keyring(RefCell<BTreeMap<NodeId, Option<Verifier>>>);

impl Keyring {
    /// As [`verify`].
    pub fn verify(&self, signer: &NodeId, message: &[u8], signature: &Signature) -> bool {
        let mut held = self.0.borrow_mut();
        if held.len() >= KEYRING_KEYS_MAX && !held.contains_key(signer) {
            return verify(signer, message, signature);
        }
        let key = held.entry(*signer).or_insert_with(|| Verifier::new(signer));
        key.as_ref().is_some_and(|key| key.verify(message, signature))
    }
}

/// Whether `signature` is `signer`'s over `message`. Strict: small-order and non-canonical keys and
/// points are refused, so that one signature verifies for one key and one message only.
pub fn verify(signer: &NodeId, message: &[u8], signature: &Signature) -> bool {
    Verifier::new(signer).is_some_and(|key| key.verify(message, signature))
}

/// Whether every signature is its signer's, at about half the cost of one by one (Bernstein et al.,
/// CHES 2012, with random weights).
///
/// Honest signatures pass and forgeries do not. A signer whose own key or signature has a component
/// of small order may pass here and fail [`verify`], so what must convince a third party later is
/// checked with [`verify`].
pub fn verify_batch(items: &[(&Verifier, &[u8], Signature)]) -> bool {
    let keys: Vec<_> = items.iter().map(|(signer, ..)| signer.key).collect();
    if keys.iter().any(ed25519_dalek::VerifyingKey::is_weak) {
        return false;
    }
    let messages: Vec<&[u8]> = items.iter().map(|(_, message, _)| *message).collect();
    let signatures: Vec<_> = items.iter().map(|(.., s)| ed25519_dalek::Signature::from_bytes(&s.0)).collect();
    ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha512};

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
    fn a_batch_passes_only_as_a_whole() {
        let mut rng = Rng::from_seed(&Secret::new([2; 32]));
        let keys: Vec<SigningKey> = (0..5).map(|_| SigningKey::generate(&mut rng)).collect();
        let texts: Vec<Vec<u8>> = (0..5u8).map(|i| vec![i; 9]).collect();
        let verifiers: Vec<Verifier> = keys.iter().map(|k| Verifier::new(&k.id()).unwrap()).collect();
        let items = || -> Vec<(&Verifier, &[u8], Signature)> {
            let all = keys.iter().zip(&verifiers).zip(&texts);
            all.map(|((k, v), t)| (v, t.as_slice(), k.sign(t))).collect()
        };
        assert!(verify_batch(&items()) && verify_batch(&[]));
        for i in 0..5 {
            let mut bad = items();
            bad[i].2.0[40] ^= 1;
            assert!(!verify_batch(&bad));
            let mut bad = items();
            bad[i].1 = &texts[(i + 1) % 5];
            assert!(!verify_batch(&bad));
            let mut bad = items();
            bad[i].0 = &verifiers[(i + 1) % 5];
            assert!(!verify_batch(&bad));
        }
    }

    /// Everything that is accepted or refused here, the library's strict rule accepts or refuses as well.
    #[test]
    fn exactly_what_the_strict_rule_accepts_is_accepted() {
        let mut rng = Rng::from_seed(&Secret::new([4; 32]));
        let strict = |key: &NodeId, message: &[u8], signature: &Signature| {
            ed25519_dalek::VerifyingKey::from_bytes(&key.0).is_ok_and(|key| {
                key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
            })
        };
        let (keyring, mut seen) = (Keyring::default(), [0; 2]);
        let mut compare = |key: &NodeId, message: &[u8], signature: &Signature, what: &str| {
            let right = strict(key, message, signature);
            assert_eq!(verify(key, message, signature), right, "{what}");
            assert_eq!(keyring.verify(key, message, signature), right, "{what}");
            seen[usize::from(right)] += 1;
        };
        let signing = SigningKey::generate(&mut rng);
        for i in 0..32u8 {
            let signature = signing.sign(&[i]);
            compare(&signing.id(), &[i], &signature, "honest");
            for bit in (0..512).step_by(37) {
                let mut altered = signature;
                altered.0[bit / 8] ^= 1 << (bit % 8);
                compare(&signing.id(), &[i], &altered, "altered");
            }
            // S and the group's order more.
            let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
            let (mut more, mut carry) = (signature, 0);
            for (byte, add) in more.0[32..].iter_mut().zip(order) {
                let sum = u16::from(*byte) + u16::from(add) + carry;
                (*byte, carry) = (sum as u8, sum >> 8);
            }
            compare(&signing.id(), &[i], &more, "more than the order");
        }
        // Small orders, canonical or not, as key and as R; with S = 0 a lax verifier accepts many of them.
        let mut points: Vec<[u8; 32]> = SMALL_ORDER.to_vec();
        for low in [0xec_u8, 0xed, 0xee, 0xef] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            points.push(bytes);
            bytes[31] = 0xff;
            points.push(bytes);
        }
        points.push(std::array::from_fn(|i| {
            if i == 0 {
                1
            } else if i == 31 {
                0x80
            } else {
                0
            }
        }));
        for key in &points {
            for r in &points {
                for message in 0..8u8 {
                    let mut signature = Signature([0; 64]);
                    signature.0[..32].copy_from_slice(r);
                    compare(&NodeId(*key), &[message], &signature, "small order");
                    compare(&signing.id(), &[message], &signature, "small R");
                }
            }
        }
        // A key that holds, and R of small order with the S that fits: -h a, so that S B + h A is the identity.
        let own = signing.0.to_scalar();
        for r in SMALL_ORDER.iter() {
            let hash = Sha512::new().chain_update(r).chain_update(signing.id().0).chain_update([9]).finalize();
            let h = curve25519_dalek::Scalar::from_bytes_mod_order_wide(&hash.into());
            let mut signature = Signature([0; 64]);
            signature.0[..32].copy_from_slice(r);
            signature.0[32..].copy_from_slice((h * own).as_bytes());
            compare(&signing.id(), &[9], &signature, "fitting S");
            assert!(!verify(&signing.id(), &[9], &signature));
        }
        assert!(seen[0] > 1000 && seen[1] == 32, "{seen:?}");
    }

    #[test]
    fn a_keyring_is_bounded_and_right_past_its_limit() {
        let keyring = Keyring::default();
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let signature = key.sign(b"x");
        for i in 0..KEYRING_KEYS_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            assert!(!keyring.verify(&NodeId(id), b"x", &signature));
        }
        assert!(keyring.verify(&key.id(), b"x", &signature) && !keyring.verify(&key.id(), b"y", &signature));
        assert_eq!(keyring.0.borrow().len(), KEYRING_KEYS_MAX);
    }

    #[test]
    fn small_order_keys_verify_nothing() {
        // The identity point as a key accepts R = sB for any message under a lax verifier.
        let mut identity = [0u8; 32];
        identity[0] = 1;
        let mut signature = [0u8; 64];
        signature[0] = 1;
        assert!(!verify(&NodeId(identity), b"any", &Signature(signature)));
        let weak = Verifier::new(&NodeId(identity)).unwrap();
        assert!(!weak.verify(b"any", &Signature(signature)));
        assert!(!verify_batch(&[(&weak, b"any".as_slice(), Signature(signature))]));
    }
}
