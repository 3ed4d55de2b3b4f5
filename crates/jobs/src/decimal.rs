//! Decimal numbers in signed parameters: digits and a scale, never a float.

use core::fmt;
use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault, Literal};

/// Digits after the point at most.
pub const SCALE_MAX: u8 = 18;

/// `units` times ten to the minus `scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Decimal {
    /// The digits.
    #[n(1)]
    pub units: i64,
    /// Digits after the point, at most [`SCALE_MAX`].
    #[n(2)]
    pub scale: u8,
}

impl Decimal {
    /// A whole number.
    pub const fn whole(units: i64) -> Self {
        Self { units, scale: 0 }
    }

    /// Parses `-12.50`.
    ///
    /// # Errors
    /// `refused.parameters` for anything but digits with one optional point, or too many of them.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            let shown: String = text.chars().take(40).collect();
            Fault::new(Code::RefusedParameters, format!("`{shown}` is not a decimal number of at most 18 digits"))
        };
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{sign}{whole}{fraction}");
        let plain = !whole.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && !digits.ends_with('.')
            && fraction.len() <= SCALE_MAX as usize;
        if !plain {
            return Err(wrong());
        }
        Ok(Self { units: all.parse().map_err(|_| wrong())?, scale: fraction.len() as u8 })
    }

    /// Whether the scale is in range.
    pub const fn is_valid(self) -> bool {
        self.scale <= SCALE_MAX
    }

    /// The nearest double, correctly rounded because it is parsed from the decimal text.
    pub fn to_f64(self) -> f64 {
        // why: the text of a Decimal is always a number.
        self.to_string().parse().unwrap_or(0.0)
    }

    /// The value times two to the `fraction_bits`, rounded down; `None` beyond 100 bits.
    pub fn to_fixed_floor(self, fraction_bits: u32) -> Option<i128> {
        let scaled = i128::from(self.units).checked_shl(fraction_bits).filter(|_| fraction_bits <= 60)?;
        Some(scaled.div_euclid(10i128.pow(u32::from(self.scale.min(SCALE_MAX)))))
    }

    /// Compares exactly.
    pub fn cmp_value(self, other: Self) -> core::cmp::Ordering {
        let wide = |d: Self, by: u8| i128::from(d.units) * 10i128.pow(u32::from(by.min(SCALE_MAX)));
        wide(self, other.scale).cmp(&wide(other, self.scale))
    }

    /// The least `b` with |value| below two to the `b`.
    pub fn magnitude_bits(self) -> u32 {
        let ceiling = i128::from(self.units).unsigned_abs().div_ceil(10u128.pow(u32::from(self.scale.min(SCALE_MAX))));
        128 - ceiling.leading_zeros()
    }

    /// As a literal of a predicate.
    pub const fn to_literal(self) -> Literal {
        match self.scale {
            0 => Literal::Int(self.units),
            scale => Literal::Decimal { units: self.units, scale },
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale.min(SCALE_MAX));
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.units < 0 { "-" } else { "" };
        if scale == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Decimal {
    /// From a string such as `"0.25"` or a whole number.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a decimal in quotes, such as \"0.25\"")
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Decimal, E> {
                Ok(Decimal::whole(v))
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Decimal, E> {
                i64::try_from(v).map(Decimal::whole).map_err(|_| E::custom("too large"))
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Decimal, E> {
                Decimal::parse(v).map_err(|f| E::custom(f.what))
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["0", "-1", "12.50", "-0.001", "9223372036854775807", "0.000000000000000001"] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), text);
        }
        for bad in
            ["", "-", ".5", "5.", "1e3", "+1", "1.2.3", "9223372036854775808", "0.0000000000000000001", "NaN", "--1"]
        {
            assert!(Decimal::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fixed_point_and_magnitude() {
        assert_eq!(Decimal::parse("2.5").unwrap().to_fixed_floor(1), Some(5));
        assert_eq!(Decimal::parse("-0.3").unwrap().to_fixed_floor(1), Some(-1));
        assert_eq!(Decimal::whole(0).magnitude_bits(), 0);
        assert_eq!(Decimal::whole(1).magnitude_bits(), 1);
        assert_eq!(Decimal::parse("-1024.5").unwrap().magnitude_bits(), 11);
        assert_eq!(
            Decimal::parse("0.10").unwrap().cmp_value(Decimal::parse("0.1").unwrap()),
            core::cmp::Ordering::Equal
        );
    }
}
