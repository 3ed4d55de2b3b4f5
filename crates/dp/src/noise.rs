use tacit_crypto::Rng;
use tacit_types::Fault;

use crate::ratio::Ratio;
use crate::table::Table;

/// A distribution of noise over the whole numbers, around 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// P(k) ~ e^(-|k|/scale).
    Laplace {
        /// In units of the data.
        scale: Ratio,
    },
    /// P(k) ~ e^(-k^2/(2 variance)).
    Gaussian {
        /// In squared units of the data.
        variance: Ratio,
    },
    /// The difference of two Poisson numbers, each of half the variance. Sums of it are such noise again.
    Skellam {
        /// In squared units of the data.
        variance: Ratio,
    },
}

/// Up to this variance Skellam noise surely has a table.
pub(crate) const SKELLAM_VARIANCE_MAX: u64 = 50_000_000;

/// Draws noise of one mechanism.
pub struct Sampler {
    table: Table,
    /// Whether the table is one of Poisson numbers, of which noise is the difference of two, or of magnitudes.
    difference: bool,
}

impl Sampler {
    /// Makes the table.
    ///
    /// # Errors
    /// `refused.parameters` for noise that is spread over more than [`crate::TABLE_ENTRIES_MAX`] numbers on a side: the
    /// data are to be counted in coarser units then.
    pub fn new(mechanism: Mechanism) -> Result<Self, Fault> {
        let (table, difference) = match mechanism {
            Mechanism::Laplace { scale } => (Table::laplace(scale)?, false),
            Mechanism::Gaussian { variance } => (Table::gaussian(variance)?, false),
            Mechanism::Skellam { variance } => (Table::poisson(variance.divided(2)?)?, true),
        };
        Ok(Self { table, difference })
    }

    /// Whether there is a table for the mechanism, without making it: spread is bounded far below what fills one.
    ///
    /// # Errors
    /// `refused.parameters`, as for [`Sampler::new`].
    pub(crate) fn fits(mechanism: Mechanism) -> Result<(), Fault> {
        match mechanism {
            Mechanism::Skellam { variance } if variance.ceiling() <= SKELLAM_VARIANCE_MAX => Ok(()),
            other => Self::new(other).map(|_| ()),
        }
    }

    /// Draws. What is drawn is as secret as the data that it hides.
    pub fn draw(&self, rng: &mut Rng) -> i64 {
        if self.difference {
            return self.table.draw(rng) - self.table.draw(rng);
        }
        let magnitude = self.table.draw(rng);
        let sign = i64::from(rng.bytes::<1>()[0] & 1);
        // Two's complement without a branch: 0 has no other sign.
        (magnitude ^ -sign) + sign
    }

    /// Adds a draw to each cell, in the ring of 128-bit numbers.
    pub fn add(&self, cells: &mut [u128], rng: &mut Rng) {
        for cell in cells {
            *cell = cell.wrapping_add_signed(i128::from(self.draw(rng)));
        }
    }
}

#[cfg(test)]
mod tests;
