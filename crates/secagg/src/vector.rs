//! Vectors in the rings Z_2^32, Z_2^64 and Z_2^128, and where a party's numbers come from.

use serde::{Deserialize, Serialize};
use tacit_crypto::kernel::prefetch;
use tacit_crypto::{Lane, fixed};
use tacit_types::{Code, Fault};

/// Bits of one number of a sum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Width {
    /// Models and gradients.
    W32,
    /// Counts and sums.
    W64,
    /// Exact sums of squares and products.
    W128,
}

impl Width {
    /// Bits of a number.
    pub const fn bits(self) -> u32 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
            Width::W128 => 128,
        }
    }

    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        self.bits() as usize / 8
    }
}

/// A vector of ring elements. Negative numbers are in two's complement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vector {
    /// Elements of Z_2^32.
    W32(Vec<u32>),
    /// Elements of Z_2^64.
    W64(Vec<u64>),
    /// Elements of Z_2^128.
    W128(Vec<u128>),
}

/// Runs one body for whichever width a vector or slots have.
macro_rules! each_width {
    ($kind:ident, $value:expr, $v:ident => $body:expr) => {
        match $value {
            $kind::W32($v) => $body,
            $kind::W64($v) => $body,
            $kind::W128($v) => $body,
        }
    };
}
pub(crate) use each_width;

impl Vector {
    /// `len` zeroes.
    pub fn zeroes(width: Width, len: usize) -> Self {
        match width {
            Width::W32 => Vector::W32(vec![0; len]),
            Width::W64 => Vector::W64(vec![0; len]),
            Width::W128 => Vector::W128(vec![0; len]),
        }
    }

    /// The width.
    pub const fn width(&self) -> Width {
        match self {
            Vector::W32(_) => Width::W32,
            Vector::W64(_) => Width::W64,
            Vector::W128(_) => Width::W128,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        each_width!(Vector, self, v => v.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements as slots to work on.
    pub fn slots(&mut self) -> Slots<'_> {
        match self {
            Vector::W32(v) => Slots::W32(v),
            Vector::W64(v) => Slots::W64(v),
            Vector::W128(v) => Slots::W128(v),
        }
    }

    /// Element `index` as a signed number, two's complement.
    pub fn signed(&self, index: usize) -> Option<i128> {
        match self {
            Vector::W32(v) => v.get(index).map(|x| i128::from(*x as i32)),
            Vector::W64(v) => v.get(index).map(|x| i128::from(*x as i64)),
            Vector::W128(v) => v.get(index).map(|x| *x as i128),
        }
    }

    /// The elements as little-endian bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        each_width!(Vector, self, v => Lane::write_bytes(v, &mut out));
        out
    }

    /// Elements from little-endian bytes; `None` when the bytes are not whole elements.
    pub fn from_bytes(width: Width, bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_multiple_of(width.bytes()) {
            return None;
        }
        Some(match width {
            Width::W32 => Vector::W32(bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()),
            Width::W64 => Vector::W64(bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect()),
            Width::W128 => Vector::W128(bytes.as_chunks().0.iter().map(|b| u128::from_le_bytes(*b)).collect()),
        })
    }
}

/// Elements being written, a piece of a vector.
pub enum Slots<'a> {
    /// Elements of Z_2^32.
    W32(&'a mut [u32]),
    /// Elements of Z_2^64.
    W64(&'a mut [u64]),
    /// Elements of Z_2^128.
    W128(&'a mut [u128]),
}

impl Slots<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        each_width!(Slots, self, v => v.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An element whose slices are slots.
pub(crate) trait Element: Lane {
    fn slots(elements: &mut [Self]) -> Slots<'_>;
}

impl Element for u32 {
    fn slots(elements: &mut [Self]) -> Slots<'_> {
        Slots::W32(elements)
    }
}

impl Element for u64 {
    fn slots(elements: &mut [Self]) -> Slots<'_> {
        Slots::W64(elements)
    }
}

impl Element for u128 {
    fn slots(elements: &mut [Self]) -> Slots<'_> {
        Slots::W128(elements)
    }
}

/// Where a party's numbers come from, piece by piece, so that a vector is encoded, masked and sent
/// without a second copy of the whole.
pub trait Source: Send {
    /// The width of its elements.
    fn width(&self) -> Width;

    /// The number of its elements.
    fn len(&self) -> usize;

    /// Whether it has no elements.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the elements from `start` on into all of `out`, which has this source's width and
    /// ends within its length. Pieces are asked for once each, in order.
    ///
    /// # Errors
    /// A fault of the caller's own half, such as a value out of range; it ends the aggregation
    /// before the piece leaves.
    fn fill(&mut self, start: usize, out: Slots<'_>) -> Result<(), Fault>;

    /// Says that `len` elements from `start` on will be asked for soon. They may lie beyond the end.
    fn hint(&self, start: usize, len: usize) {
        let _ = (start, len);
    }
}

impl Source for &Vector {
    fn hint(&self, start: usize, len: usize) {
        each_width!(Vector, self, v => prefetch(within(v, start, len)));
    }

    fn width(&self) -> Width {
        Vector::width(self)
    }

    fn len(&self) -> usize {
        Vector::len(self)
    }

    fn fill(&mut self, start: usize, out: Slots<'_>) -> Result<(), Fault> {
        let done = match (*self, out) {
            (Vector::W32(v), Slots::W32(out)) => copy(v, start, out),
            (Vector::W64(v), Slots::W64(out)) => copy(v, start, out),
            (Vector::W128(v), Slots::W128(out)) => copy(v, start, out),
            _ => None,
        };
        done.ok_or_else(|| Fault::new(Code::JobInternal, "a piece outside the vector"))
    }
}

impl Source for Vector {
    fn hint(&self, start: usize, len: usize) {
        <&Vector as Source>::hint(&self, start, len);
    }

    fn width(&self) -> Width {
        Vector::width(self)
    }

    fn len(&self) -> usize {
        Vector::len(self)
    }

    fn fill(&mut self, start: usize, out: Slots<'_>) -> Result<(), Fault> {
        (&*self).fill(start, out)
    }
}

fn copy<T: Copy>(from: &[T], start: usize, out: &mut [T]) -> Option<()> {
    out.copy_from_slice(from.get(start..start.checked_add(out.len())?)?);
    Some(())
}

/// Floating-point numbers encoded as they are sent: `round_ties_even(clamp(x, -clip, clip) 2^f)` in
/// two's complement in Z_2^32. NaN and infinities are refused.
pub struct FixedPoint<'a> {
    values: &'a [f32],
    scale: fixed::Scale,
}

impl<'a> FixedPoint<'a> {
    /// Values to encode with a clip and bits after the binary point.
    ///
    /// # Errors
    /// `refused.overflow` when `clip 2^f` does not fit, or the clip is not a positive number.
    pub fn new(values: &'a [f32], clip: f32, fraction_bits: u8) -> Result<Self, Fault> {
        let scale = fixed::Scale::new(clip, fraction_bits).ok_or_else(|| {
            Fault::new(Code::RefusedOverflow, format!("a clip of {clip} with {fraction_bits} fraction bits"))
        })?;
        Ok(Self { values, scale })
    }
}

/// Of some elements those that exist.
fn within<T>(elements: &[T], start: usize, len: usize) -> &[T] {
    let end = start.saturating_add(len).min(elements.len());
    elements.get(start..end).unwrap_or_default()
}

impl Source for FixedPoint<'_> {
    fn hint(&self, start: usize, len: usize) {
        prefetch(within(self.values, start, len));
    }

    fn width(&self) -> Width {
        Width::W32
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn fill(&mut self, start: usize, out: Slots<'_>) -> Result<(), Fault> {
        let internal = || Fault::new(Code::JobInternal, "a piece outside the vector");
        let Slots::W32(out) = out else { return Err(internal()) };
        let end = start.checked_add(out.len()).ok_or_else(internal)?;
        let values = self.values.get(start..end).ok_or_else(internal)?;
        self.scale
            .encode(values, out)
            .map_err(|at| Fault::new(Code::DataValueNotFinite, format!("element {}", start + at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_round_trip_as_bytes() {
        for v in [
            Vector::W32(vec![1, u32::MAX]),
            Vector::W64(vec![u64::MAX - 1, 2]),
            Vector::W128(vec![(-5i128) as u128, 7]),
        ] {
            let bytes = v.to_bytes();
            assert_eq!(bytes.len(), 2 * v.width().bytes());
            assert_eq!(Vector::from_bytes(v.width(), &bytes).unwrap(), v);
            assert!(Vector::from_bytes(v.width(), &bytes[1..]).is_none());
        }
        assert_eq!(Vector::W128(vec![(-5i128) as u128]).signed(0), Some(-5));
        assert_eq!(Vector::W32(vec![u32::MAX]).signed(0), Some(-1));
    }

    #[test]
    fn a_source_gives_pieces_and_refuses_those_outside() {
        let v = Vector::W64(vec![1, 2, 3]);
        let mut out = [0u64; 2];
        (&v).fill(1, Slots::W64(&mut out)).unwrap();
        assert_eq!(out, [2, 3]);
        assert!((&v).fill(2, Slots::W64(&mut out)).is_err());
        assert!((&v).fill(usize::MAX, Slots::W64(&mut out)).is_err());
        assert!((&v).fill(0, Slots::W32(&mut [0])).is_err());
    }

    #[test]
    fn a_number_that_is_none_is_named() {
        let values = [0.0, 1.0, f32::NAN];
        let mut source = FixedPoint::new(&values, 8.0, 16).unwrap();
        let mut out = [0u32; 2];
        source.fill(0, Slots::W32(&mut out)).unwrap();
        assert_eq!(out, [0, 65536]);
        let fault = source.fill(1, Slots::W32(&mut out)).unwrap_err();
        assert_eq!((fault.code, fault.what.as_str()), (Code::DataValueNotFinite, "element 2"));
        assert!(FixedPoint::new(&values, 8.0, 28).is_err());
        assert!(FixedPoint::new(&values, f32::NAN, 16).is_err());
    }
}
