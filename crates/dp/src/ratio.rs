use tacit_types::{Code, Fault};

/// Both sides of a [`Ratio`] are at most this.
pub const RATIO_MAX: u64 = 1 << 40;

/// A positive rational number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ratio {
    num: u64,
    den: u64,
}

impl Ratio {
    /// `num / den`.
    ///
    /// # Errors
    /// `refused.parameters` unless both are 1 to [`RATIO_MAX`].
    pub fn new(num: u64, den: u64) -> Result<Self, Fault> {
        if (1..=RATIO_MAX).contains(&num) && (1..=RATIO_MAX).contains(&den) {
            return Ok(Self { num, den });
        }
        Err(Fault::new(Code::RefusedParameters, format!("noise: {num}/{den}; both sides are 1 to {RATIO_MAX}")))
    }

    /// The upper side.
    pub fn num(&self) -> u64 {
        self.num
    }

    /// The lower side.
    pub fn den(&self) -> u64 {
        self.den
    }

    /// The least whole number that is not below it.
    pub fn ceiling(&self) -> u64 {
        self.num.div_ceil(self.den)
    }

    /// Divided by `by`.
    ///
    /// # Errors
    /// As for [`Ratio::new`].
    pub fn divided(&self, by: u64) -> Result<Self, Fault> {
        let common = gcd(self.num, by);
        let num = self.num.checked_div(common).unwrap_or(0);
        let den = by.checked_div(common).and_then(|by| self.den.checked_mul(by)).unwrap_or(u64::MAX);
        Self::new(num, den)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_within_their_limit_and_divide() {
        assert!(Ratio::new(RATIO_MAX, RATIO_MAX).is_ok());
        for (num, den) in [(RATIO_MAX + 1, 1), (1, RATIO_MAX + 1), (0, 1), (1, 0)] {
            assert_eq!(Ratio::new(num, den).unwrap_err().code, Code::RefusedParameters, "{num}/{den}");
        }
        let six = Ratio::new(6, 5).unwrap();
        assert_eq!(six.divided(4), Ratio::new(3, 10));
        assert_eq!(six.divided(6), Ratio::new(1, 5));
        assert_eq!((six.ceiling(), Ratio::new(10, 5).unwrap().ceiling()), (2, 2));
        assert!(six.divided(0).is_err() && six.divided(u64::MAX).is_err());
    }
}
