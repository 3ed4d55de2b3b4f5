//! The curve arithmetic over many points: hash or decode a point, multiply or blind it, encode it. One of the modules
//! with unsafe code.
//!
//! There are many points and one scalar, so the vector form puts eight points into the eight lanes of a register
//! instead of dividing one point among them. Unsafe is needed to call functions compiled for instructions that were found
//! at run time and to read lanes. [`portable`] does the same with the curve library and is what the tests hold the lanes
//! to, byte for byte.
//!
//! Nothing branches on a scalar or a point of one's own or indexes memory by one: the shared scalar's digits select by
//! scanning the table, those of a blinding scalar by permutations of registers. Weights of a sum are known to all.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // why: limbs and columns are numbered in the formulas.

#[cfg(target_arch = "x86_64")]
mod base;
#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod point;
mod portable;

use std::sync::{Arc, OnceLock};

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The encoding of a group element (RFC 9496, section 4.3.2).
pub type Encoding = [u8; 32];
/// Uniform bytes from which a group element is derived (RFC 9496, section 4.3.4).
pub type Uniform = [u8; 64];

/// The instructions that do the arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// Eight points at a time with products of 52-bit integers (AVX-512 IFMA).
    Lanes,
    /// The curve library.
    Portable,
}

impl Backend {
    /// The faster one here. The processor is asked once in the life of the process.
    pub fn detect() -> Self {
        static BEST: OnceLock<Backend> = OnceLock::new();
        *BEST.get_or_init(|| if lanes_run_here() { Backend::Lanes } else { Backend::Portable })
    }

    /// Every one that runs here, fastest first.
    pub fn available() -> impl Iterator<Item = Backend> {
        [Backend::Lanes, Backend::Portable].into_iter().skip(usize::from(Self::detect() == Backend::Portable))
    }
}

#[cfg(target_arch = "x86_64")]
fn lanes_run_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512ifma")
}

#[cfg(not(target_arch = "x86_64"))]
fn lanes_run_here() -> bool {
    false
}

/// A scalar that multiplies every point, erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Multiplier {
    scalar: Scalar,
    /// Digits of 4 bits, each 8 too high, so that they need no carry: `scalar + sum 8 * 16^i`.
    digits: [u8; 64],
}

impl Multiplier {
    /// From a scalar.
    pub fn new(scalar: &Scalar) -> Self {
        let mut raised = zeroize::Zeroizing::new(scalar.to_bytes());
        raise(&mut raised, &[0x88; 32]);
        let mut digits = [0; 64];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(raised.iter()) {
            *pair = [byte & 15, byte >> 4];
        }
        Self { scalar: *scalar, digits }
    }
}

/// Adds two numbers of 256 bits, little-endian, wrapping.
fn raise(number: &mut [u8; 32], by: &[u8; 32]) {
    let mut carry = 0u16;
    for (n, b) in number.iter_mut().zip(by) {
        carry += u16::from(*n) + u16::from(*b);
        *n = carry as u8;
        carry >>= 8;
    }
}

/// Multiples of one point, so that products with it by many scalars are cheap.
#[derive(Clone)]
pub struct Base {
    encoding: Encoding,
    portable: Arc<RistrettoBasepointTable>,
    #[cfg(target_arch = "x86_64")]
    lanes: Option<Arc<base::Table>>,
}

impl Base {
    /// The multiples of an encoded point; `None` when it is no encoding or that of the identity.
    pub fn new(encoding: &Encoding) -> Option<Self> {
        let point = CompressedRistretto(*encoding).decompress()?;
        if *encoding == [0; 32] {
            return None;
        }
        Some(Self {
            encoding: *encoding,
            portable: Arc::new(RistrettoBasepointTable::create(&point)),
            #[cfg(target_arch = "x86_64")]
            lanes: (Backend::detect() == Backend::Lanes).then(|| Arc::new(base::Table::new(encoding))),
        })
    }

    /// The multiples of the group's generator (RFC 9496, section 4).
    pub fn generator() -> &'static Self {
        static GENERATOR: OnceLock<Base> = OnceLock::new();
        GENERATOR.get_or_init(|| {
            // proof: the generator's encoding is that of a point other than the identity.
            Base::new(&RISTRETTO_BASEPOINT_COMPRESSED.to_bytes()).expect("the generator")
        })
    }

    /// The encoding of the point.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }
}

/// Where the points come from.
#[derive(Clone, Copy)]
pub enum From<'a> {
    /// Derived from uniform bytes: the end of hashing to the group (RFC 9380, appendix B).
    Uniform(&'a [Uniform]),
    /// Decoded; encodings that are not canonical and that of the identity are refused.
    Encoded(&'a [Encoding]),
}

impl From<'_> {
    /// Number of points.
    pub fn len(&self) -> usize {
        match self {
            From::Uniform(all) => all.len(),
            From::Encoded(all) => all.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is done with each point P.
#[derive(Clone, Copy)]
pub enum Operation<'a> {
    /// k P.
    Multiply(&'a Multiplier),
    /// P + r_i B: one scalar below 2^252 for each point, as 32 little-endian bytes.
    Blind(&'a Base, &'a [[u8; 32]]),
    /// P - r_i B.
    Unblind(&'a Base, &'a [[u8; 32]]),
}

/// A point that was refused, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused(pub usize);

/// Takes each point through the operation and writes the encoding of **twice** the result: encoding many points at once
/// doubles them, which is a fifth of the cost of encoding them apart. Callers take the doubling into their scalars.
///
/// # Errors
/// The first point that is not decoded. The output is not to be used then.
pub fn run(from: From<'_>, operation: Operation<'_>, out: &mut [Encoding]) -> Result<(), Refused> {
    run_at(Backend::detect(), from, operation, out)
}

/// As [`run`] with chosen instructions; the portable ones where those are absent.
///
/// # Errors
/// Those of [`run`].
pub fn run_at(backend: Backend, from: From<'_>, operation: Operation<'_>, out: &mut [Encoding]) -> Result<(), Refused> {
    let scalars = match operation {
        Operation::Multiply(_) => from.len(),
        Operation::Blind(_, r) | Operation::Unblind(_, r) => r.len(),
    };
    assert!(out.len() == from.len() && scalars == from.len(), "lengths"); // why: lengths come from the caller's own batch.
    #[cfg(target_arch = "x86_64")]
    if backend == Backend::Lanes && lanes_run_here() {
        // SAFETY: the instructions that the function is compiled for were found on this processor.
        return unsafe { lanes::run(from, operation, out) };
    }
    let _ = backend;
    portable::run(from, operation, out)
}

/// The sum of w_i P_i: one weight of 128 bits, little-endian, for each point. For points and weights that are known to all: what
/// is looked up follows from the weights.
///
/// # Errors
/// The first point that is not decoded: encodings that are not canonical and that of the identity are refused.
pub fn weighed(points: &[Encoding], weights: &[[u8; 16]]) -> Result<RistrettoPoint, Refused> {
    weighed_at(Backend::detect(), points, weights)
}

/// As [`weighed`] with chosen instructions; the portable ones where those are absent.
///
/// # Errors
/// Those of [`weighed`].
pub fn weighed_at(backend: Backend, points: &[Encoding], weights: &[[u8; 16]]) -> Result<RistrettoPoint, Refused> {
    assert!(points.len() == weights.len(), "lengths"); // why: lengths come from the caller's own batch.
    #[cfg(target_arch = "x86_64")]
    if backend == Backend::Lanes && lanes_run_here() {
        // SAFETY: the instructions that the function is compiled for were found on this processor.
        let doubled = unsafe { lanes::weighed(points, weights)? };
        // proof: the lanes encode points of the group, the identity among them.
        let sums = doubled.iter().filter_map(|sum| CompressedRistretto(*sum).decompress());
        return Ok(sums.sum::<RistrettoPoint>() * Scalar::from(2u8).invert());
    }
    let _ = backend;
    portable::weighed(points, weights)
}

/// Writes over what may be secret, in a way that is not left out because nobody reads it again.
#[cfg(target_arch = "x86_64")]
fn erase<T: Copy>(all: &mut [T], with: T) {
    all.fill(with);
    zeroize::optimization_barrier(all);
}

#[cfg(test)]
mod tests;
