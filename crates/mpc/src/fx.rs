//! Fixed-point numbers with public bounds: the interval arithmetic that makes overflow impossible.

use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault};

/// Bits of the widest value that a plan may compute: |x 2^f| < 2^(61), so that one addition and the
/// offset of truncation still fit.
pub const FX_BITS_MAX: u8 = 62;

/// A fixed-point format: the number x stands as the integer x 2^f, and |x 2^f| < 2^(b-1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fx {
    /// Fraction bits.
    pub f: u8,
    /// Bits of the integer, its sign included.
    pub b: u8,
}

fn refused(what: String) -> Fault {
    Fault::new(Code::RefusedOverflow, what)
}

/// The bits by which a sum of so many values may be wider than one of them.
fn carry(terms: usize) -> u32 {
    terms.max(1).next_power_of_two().trailing_zeros()
}

impl Fx {
    /// A format.
    ///
    /// # Errors
    /// `refused.overflow` beyond [`FX_BITS_MAX`] bits, without bits, or with more fraction bits than bits.
    pub fn new(f: u8, b: u8) -> Result<Self, Fault> {
        if b == 0 || b > FX_BITS_MAX || f >= FX_BITS_MAX {
            return Err(refused(format!("a number of {b} bits, {f} of them a fraction; at most {FX_BITS_MAX} fit")));
        }
        Ok(Self { f, b })
    }

    fn wide(f: u32, b: u32, what: &str) -> Result<Self, Fault> {
        if b > u32::from(FX_BITS_MAX) || f >= u32::from(FX_BITS_MAX) {
            return Err(refused(format!("{what} needs {b} bits with {f} of fraction; at most {FX_BITS_MAX} fit")));
        }
        Ok(Self { f: f as u8, b: b as u8 })
    }

    /// The format of a sum or difference.
    ///
    /// # Errors
    /// `refused.overflow`, also for different fractions.
    pub fn plus(self, other: Self) -> Result<Self, Fault> {
        if self.f != other.f {
            return Err(refused(format!("a sum of values with {} and {} fraction bits", self.f, other.f)));
        }
        Self::wide(self.f.into(), u32::from(self.b.max(other.b)) + 1, "a sum")
    }

    /// The format of an inner product of so many terms.
    ///
    /// # Errors
    /// `refused.overflow`.
    pub fn dot(self, other: Self, terms: usize) -> Result<Self, Fault> {
        let b = u32::from(self.b) + u32::from(other.b) - 1 + carry(terms);
        Self::wide(u32::from(self.f) + u32::from(other.f), b, "a product")
    }

    /// The format of a sum of so many values of this one.
    ///
    /// # Errors
    /// `refused.overflow`.
    pub fn sum(self, terms: usize) -> Result<Self, Fault> {
        Self::wide(self.f.into(), u32::from(self.b) + carry(terms), "a sum")
    }

    /// The format after a division by 2^`by` that may be one unit too high.
    ///
    /// # Errors
    /// `refused.overflow` when fewer fraction bits are there.
    pub fn truncate(self, by: u8) -> Result<Self, Fault> {
        if by > self.f {
            return Err(refused(format!("{by} of {} fraction bits cut off", self.f)));
        }
        Ok(Self { f: self.f - by, b: (self.b.saturating_sub(by) + 1).clamp(2, FX_BITS_MAX) })
    }

    /// The integer that stands for a number, rounded to the nearest.
    ///
    /// # Errors
    /// `refused.overflow` for what is not finite or out of the format's range.
    pub fn encode(self, x: f64) -> Result<u64, Fault> {
        let scaled = (x * (1u64 << self.f) as f64).round();
        let limit = (1u64 << (self.b - 1)) as f64;
        if scaled.is_finite() && scaled.abs() < limit {
            Ok(scaled as i64 as u64)
        } else {
            Err(refused(format!("a value outside the declared range of ±{}", limit / (1u64 << self.f) as f64)))
        }
    }

    /// The number that an integer stands for.
    pub fn decode(self, word: u64) -> f64 {
        word as i64 as f64 / (1u64 << self.f) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_edges_and_one_past_is_refused() {
        let x = Fx::new(20, 25).unwrap();
        assert_eq!(x.dot(x, 100).unwrap(), Fx { f: 40, b: 25 + 25 - 1 + 7 });
        assert_eq!(x.dot(x, 128).unwrap(), x.dot(x, 65).unwrap());
        let max = (1i128 << 24) - 1;
        assert!(max * max * 128 < 1 << (x.dot(x, 128).unwrap().b - 1));
        assert!(Fx::new(20, 28).unwrap().dot(Fx::new(20, 28).unwrap(), 128).is_ok());
        assert!(Fx::new(20, 28).unwrap().dot(Fx::new(20, 28).unwrap(), 129).is_err());
        assert!(Fx::new(0, FX_BITS_MAX).is_ok() && Fx::new(0, FX_BITS_MAX + 1).is_err());
        assert!(Fx::new(0, FX_BITS_MAX).unwrap().plus(Fx::new(0, 1).unwrap()).is_err());
        assert!(x.plus(Fx::new(19, 25).unwrap()).is_err());
        assert!(x.truncate(21).is_err());
    }

    #[test]
    fn numbers_at_the_edge_of_the_range() {
        let x = Fx::new(4, 8).unwrap();
        assert_eq!(x.encode(7.9375).unwrap(), 127);
        assert_eq!(x.encode(-7.9375).unwrap(), 127u64.wrapping_neg());
        assert!(x.encode(8.0).is_err() && x.encode(-8.0).is_err() && x.encode(f64::NAN).is_err());
        assert_eq!((x.decode(x.encode(-3.5).unwrap()) * 2.0) as i64, -7);
    }
}
