//! Diffie-Hellman agreement in the Ristretto group (RFC 9496) with keys derived by HKDF-SHA256
//! (RFC 5869).

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::points::{self, Backend, From, Multiplier, Operation};
use crate::rng::Rng;
use crate::secret::Secret;

/// The fewest peers for which lanes are faster than one multiplication after the other: eight points cost as much as
/// fewer do.
const LANES_MIN: usize = 3;

/// A secret scalar, uniform modulo the group order, erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretScalar(Scalar);

impl SecretScalar {
    /// A fresh scalar from 64 random bytes.
    pub fn random(rng: &mut Rng) -> Self {
        Self(Scalar::from_bytes_mod_order_wide(&rng.bytes()))
    }

    /// A scalar from its canonical 32 bytes, `None` when not canonical.
    pub fn from_canonical(bytes: &[u8; 32]) -> Option<Self> {
        Option::from(Scalar::from_canonical_bytes(*bytes)).map(Self)
    }

    /// Wraps a scalar that a protocol computed.
    pub fn from_scalar(scalar: Scalar) -> Self {
        Self(scalar)
    }

    /// The scalar, for protocol arithmetic.
    pub fn expose_scalar(&self) -> &Scalar {
        &self.0
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Secret<[u8; 32]> {
        Secret::new(self.0.to_bytes())
    }

    /// The public point, scalar times the base point.
    pub fn public(&self) -> PublicPoint {
        let point = RistrettoPoint::mul_base(&self.0);
        PublicPoint { point, bytes: point.compress().to_bytes() }
    }

    /// The agreement with a peer's point.
    pub fn agree(&self, peer: &PublicPoint) -> Agreement {
        Agreement(Secret::new((peer.point * self.0).compress().to_bytes()))
    }

    /// The agreements with many peers' points, in order: what [`SecretScalar::agree`] gives for each, at a quarter of
    /// the cost where eight points are multiplied at a time.
    pub fn agree_all(&self, peers: &[PublicPoint]) -> Vec<Agreement> {
        let lanes = Backend::detect() == Backend::Lanes && peers.len() >= LANES_MIN;
        let encodings: Vec<[u8; 32]> = peers.iter().filter(|_| lanes).map(|p| p.bytes).collect();
        let mut products = Zeroizing::new(vec![[0u8; 32]; encodings.len()]);
        // The encoder doubles.
        let half = SecretScalar(self.0.div_by_2());
        match points::run(From::Encoded(&encodings), Operation::Multiply(&Multiplier::new(&half.0)), &mut products) {
            Ok(()) if lanes => products.iter().map(|bytes| Agreement(Secret::new(*bytes))).collect(),
            // proof: a public point has been decoded, so that no lane refuses it.
            _ => peers.iter().map(|peer| self.agree(peer)).collect(),
        }
    }
}

/// A valid group element other than the identity, with its encoding kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicPoint {
    point: RistrettoPoint,
    bytes: [u8; 32],
}

impl PublicPoint {
    /// Decodes 32 bytes; refuses non-canonical encodings and the identity.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let point = CompressedRistretto(*bytes).decompress()?;
        (!point.is_identity()).then_some(Self { point, bytes: *bytes })
    }

    /// The canonical encoding.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The group element, for protocol arithmetic.
    pub const fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

impl core::fmt::Debug for PublicPoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PublicPoint({:02x}{:02x}..)", self.bytes[0], self.bytes[1])
    }
}

impl Serialize for PublicPoint {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(s)
    }
}

impl<'de> Deserialize<'de> for PublicPoint {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes = <[u8; 32]>::deserialize(d)?;
        Self::from_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("not a valid group element"))
    }
}

/// A shared secret before key derivation.
pub struct Agreement(Secret<[u8; 32]>);

impl Agreement {
    /// Derives key material: HKDF-SHA256(salt, ikm = the agreement, info).
    pub fn derive<const N: usize>(&self, salt: &[u8], info: &[&[u8]]) -> Secret<[u8; N]> {
        derive(salt, self.0.expose_secret(), info)
    }
}

/// HKDF-SHA256 of up to 255 * 32 bytes, with the info given in parts.
///
/// `N` above 8,160 is a mistake of the programmer and gives zeroes in release builds only after a
/// debug assertion; every call in the product asks for at most 64 bytes.
pub fn derive<const N: usize>(salt: &[u8], ikm: &[u8], info: &[&[u8]]) -> Secret<[u8; N]> {
    const { assert!(N <= 255 * 32) };
    let mut out = [0u8; N];
    let done = Hkdf::<Sha256>::new(Some(salt), ikm).expand_multi_info(info, &mut out);
    debug_assert!(done.is_ok());
    Secret::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree() {
        let mut rng = Rng::from_seed(&Secret::new([3; 32]));
        let (a, b) = (SecretScalar::random(&mut rng), SecretScalar::random(&mut rng));
        let left: Secret<[u8; 40]> = a.agree(&b.public()).derive(b"salt", &[b"x", b"y"]);
        let right: Secret<[u8; 40]> = b.agree(&a.public()).derive(b"salt", &[b"xy"]);
        assert!(left.ct_eq(&right));
    }

    #[test]
    fn agreements_with_many_are_those_with_each() {
        let mut rng = Rng::from_seed(&Secret::new([4; 32]));
        let least = SecretScalar::from_scalar(Scalar::ONE);
        let most = SecretScalar::from_scalar(-Scalar::ONE);
        for secret in [SecretScalar::random(&mut rng), SecretScalar::random(&mut rng), least, most] {
            for count in [0, 1, 2, 3, 7, 8, 9, 16, 17, 33] {
                let peers: Vec<PublicPoint> = (0..count).map(|_| SecretScalar::random(&mut rng).public()).collect();
                let each: Vec<Agreement> = peers.iter().map(|peer| secret.agree(peer)).collect();
                let all = secret.agree_all(&peers);
                assert_eq!(all.len(), count);
                assert!(all.iter().zip(&each).all(|(a, b)| a.0.ct_eq(&b.0)), "{count}");
            }
        }
    }

    #[test]
    fn bad_points_are_refused() {
        assert!(PublicPoint::from_bytes(&[0; 32]).is_none(), "identity");
        // RFC 9496, A.3: a non-canonical field element and a negative one.
        let mut non_canonical = [0xff; 32];
        non_canonical[0] = 0x00;
        assert!(PublicPoint::from_bytes(&non_canonical).is_none());
        let mut negative = [0; 32];
        negative[0] = 1;
        assert!(PublicPoint::from_bytes(&negative).is_none());
    }

    #[test]
    fn rfc9496_base_point() {
        // RFC 9496, A.1: multiples of the generator, 1 B.
        let one = SecretScalar::from_scalar(Scalar::ONE);
        assert_eq!(
            hex::encode(one.public().as_bytes()),
            "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
        );
    }

    #[test]
    fn rfc5869_case_1() {
        let ikm = [0x0b; 22];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm: Secret<[u8; 42]> = derive(&salt, &ikm, &[&info]);
        assert_eq!(
            hex::encode(okm.expose_secret()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }
}
