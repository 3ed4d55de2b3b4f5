//! What a contract asks of exact answers: two questions take the same rows of an owner, or differ by a group.

use tacit_types::{Code, Fault};

/// The least number of rows by which two questions may differ that a contract may state.
pub const CHANGE_ROWS_MIN: u64 = 2;
/// The largest number of them: what a node remembers of each set of rows grows with it.
pub const CHANGE_ROWS_MAX: u64 = 256;

/// The terms under which exact statistics and counts are released. Every owner's node holds them for its own rows, over every
/// question to the same dataset under a contract with such terms, where it reads the rows: admission does not know them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ExactTerms {
    /// Two sets of rows that numbers of one kind are of are the same, or differ by so many rows of the owner.
    #[n(1)]
    pub change_min: u64,
}

impl ExactTerms {
    /// Whether the terms can be kept to.
    pub fn is_sound(&self) -> bool {
        (CHANGE_ROWS_MIN..=CHANGE_ROWS_MAX).contains(&self.change_min)
    }

    /// The terms, where they can be kept to.
    ///
    /// # Errors
    /// `args.invalid` with the bounds.
    pub fn new(change_min: u64) -> Result<Self, Fault> {
        let terms = Self { change_min };
        let what = || format!("exact.change_min: {change_min}; from {CHANGE_ROWS_MIN} to {CHANGE_ROWS_MAX} rows");
        if terms.is_sound() { Ok(terms) } else { Err(Fault::new(Code::ArgsInvalid, what())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_two_rows_and_not_too_many_to_remember() {
        let code = |n| ExactTerms::new(n).map(|terms| terms.change_min).map_err(|fault| fault.code);
        assert_eq!((code(CHANGE_ROWS_MIN), code(CHANGE_ROWS_MAX)), (Ok(CHANGE_ROWS_MIN), Ok(CHANGE_ROWS_MAX)));
        assert_eq!(code(CHANGE_ROWS_MIN - 1), Err(Code::ArgsInvalid));
        assert_eq!(code(CHANGE_ROWS_MAX + 1), Err(Code::ArgsInvalid));
    }
}
