//! Noise that each party adds to its own summand, so that any sum that is opened carries enough of it.
//!
//! A sum of Skellam numbers is one, of the sum of their variances. So with `n` parties of whom at least `survivors_min`
//! are in an opened sum, and at most `colluders` of those take their own noise away again, each adds the whole variance
//! divided by `survivors_min - colluders`. More survivors only add noise.

use tacit_types::{Code, Fault};

use crate::noise::Mechanism;
use crate::ratio::Ratio;

/// The part of each party in Skellam noise of this variance.
///
/// # Errors
/// `refused.parameters` when no honest party is sure to be left, or for a variance that cannot be divided.
pub fn part(variance: Ratio, survivors_min: u16, colluders: u16) -> Result<Mechanism, Fault> {
    let honest = survivors_min.checked_sub(colluders).filter(|honest| *honest > 0).ok_or_else(|| {
        let what = format!("noise: of {survivors_min} survivors {colluders} may collude: none is left to add it");
        Fault::new(Code::RefusedParameters, what)
    })?;
    Ok(Mechanism::Skellam { variance: variance.divided(u64::from(honest))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_honest_survivors_carry_the_whole() {
        let whole = Ratio::new(900, 1).unwrap();
        assert_eq!(part(whole, 5, 2), Ok(Mechanism::Skellam { variance: Ratio::new(300, 1).unwrap() }));
        assert_eq!(part(whole, 7, 0), Ok(Mechanism::Skellam { variance: Ratio::new(900, 7).unwrap() }));
        for (survivors, colluders) in [(3, 3), (2, 3), (0, 0)] {
            assert_eq!(part(whole, survivors, colluders).unwrap_err().code, Code::RefusedParameters);
        }
    }
}
