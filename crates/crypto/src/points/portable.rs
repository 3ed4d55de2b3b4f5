//! The same with the curve library: where the lanes do not run, and what they are held to.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use zeroize::Zeroizing;

use super::{Encoding, From, Operation, Refused};

/// Points of which the inversions are done together.
const TOGETHER: usize = 256;

/// See [`super::run`].
pub(super) fn run(from: From<'_>, operation: Operation<'_>, out: &mut [Encoding]) -> Result<(), Refused> {
    for (i, out) in out.chunks_mut(TOGETHER).enumerate() {
        let first = i * TOGETHER;
        let points = (first..first + out.len()).map(|i| Ok(apply(operation, i, &point(from, i)?)));
        let points = Zeroizing::new(points.collect::<Result<Vec<RistrettoPoint>, Refused>>()?);
        for (out, encoded) in out.iter_mut().zip(RistrettoPoint::double_and_compress_batch(points.iter())) {
            *out = encoded.to_bytes();
        }
    }
    Ok(())
}

/// See [`super::weighed`].
pub(super) fn weighed(points: &[Encoding], weights: &[[u8; 16]]) -> Result<RistrettoPoint, Refused> {
    let points = (0..points.len()).map(|i| point(From::Encoded(points), i)).collect::<Result<Vec<_>, _>>()?;
    let weights = weights.iter().map(|w| Scalar::from(u128::from_le_bytes(*w)));
    Ok(RistrettoPoint::vartime_multiscalar_mul(weights, points))
}

fn point(from: From<'_>, i: usize) -> Result<RistrettoPoint, Refused> {
    match from {
        From::Uniform(all) => Ok(RistrettoPoint::from_uniform_bytes(&all[i])),
        From::Encoded(all) => {
            let point = CompressedRistretto(all[i]).decompress();
            point.filter(|p| !p.is_identity()).ok_or(Refused(i))
        }
    }
}

fn apply(operation: Operation<'_>, i: usize, point: &RistrettoPoint) -> RistrettoPoint {
    match operation {
        Operation::Multiply(by) => point * by.scalar,
        Operation::Blind(base, r) => point + &*base.portable * &scalar(&r[i]),
        Operation::Unblind(base, r) => point - &*base.portable * &scalar(&r[i]),
    }
}

fn scalar(bytes: &[u8; 32]) -> Scalar {
    Scalar::from_bytes_mod_order(*bytes)
}
