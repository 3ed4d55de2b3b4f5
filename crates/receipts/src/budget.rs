//! What noisy results have cost each dataset, by the receipts of a log, against the budgets of its contracts.

use std::collections::BTreeMap;

use tacit_types::{Attempt, Code, DatasetVersionId, Fault, JobId};

use crate::leaf::Leaf;
use crate::report::Report;

/// Budgets in millionths of epsilon, by dataset version.
pub type Budgets = BTreeMap<DatasetVersionId, u64>;

/// Reads `DATASET=EPSILON`: the version in hex, and a decimal with at most six digits after the point.
///
/// # Errors
/// `args.invalid`.
pub fn parse(text: &str) -> Result<(DatasetVersionId, u64), Fault> {
    let wrong = || {
        let shown: String = text.chars().take(120).collect();
        Fault::new(Code::ArgsInvalid, format!("`{shown}`: a dataset version in hex, `=`, and an epsilon such as 0.5"))
    };
    let (dataset, epsilon) = text.split_once('=').ok_or_else(wrong)?;
    let (whole, fraction) = epsilon.split_once('.').unwrap_or((epsilon, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let micro = format!("{whole}{fraction:0<6}").parse().map_err(|_| wrong())?;
    Ok((DatasetVersionId::from_hex(dataset).map_err(|_| wrong())?, micro))
}

/// What the leaves of a log say that results have cost, added up leaf by leaf: one charge for a job at each dataset.
/// Datasets without a budget are not judged.
pub struct Costs<'a> {
    budgets: &'a Budgets,
    /// A node charges a job once, whatever number its attempt has.
    charged: BTreeMap<(JobId, DatasetVersionId), Attempt>,
    spent: Budgets,
    past: Vec<(u64, String)>,
}

impl<'a> Costs<'a> {
    /// Nothing was spent yet.
    pub fn new(budgets: &'a Budgets) -> Self {
        Self { budgets, charged: BTreeMap::new(), spent: BTreeMap::new(), past: Vec::new() }
    }

    /// Takes the next leaf.
    pub fn leaf(&mut self, index: u64, leaf: &[u8]) {
        let Ok(Leaf::Receipt(receipt)) = Leaf::read(leaf) else { return };
        let record = &receipt.body().record;
        for charge in &record.privacy {
            let Some(budget) = self.budgets.get(&charge.dataset) else { continue };
            if self.charged.insert((record.job, charge.dataset), record.attempt).is_some() {
                continue;
            }
            let sum = self.spent.entry(charge.dataset).or_default();
            *sum = sum.saturating_add(charge.epsilon_micro);
            if *sum > *budget {
                let what = format!("dataset {}: {sum} of {budget} millionths of epsilon", charge.dataset.short());
                self.past.push((index, what));
            }
        }
    }

    /// What was spent of each budget so far, in millionths of epsilon.
    pub fn spent(&self) -> &Budgets {
        &self.spent
    }

    /// Finds each leaf at which a sum went past its budget (`receipt.budget`).
    pub fn close(self, report: &mut Report) {
        for (index, what) in self.past {
            report.find(Some(index), Code::ReceiptBudget, what);
        }
    }
}

/// As [`Costs`] over all of these leaves.
pub fn check<'a>(report: &mut Report, leaves: impl Iterator<Item = (u64, &'a [u8])>, budgets: &Budgets) {
    let mut costs = Costs::new(budgets);
    leaves.for_each(|(index, leaf)| costs.leaf(index, leaf));
    costs.close(report);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_to_the_last_digit() {
        let id = DatasetVersionId([0xab; 32]);
        let read = |epsilon: &str| parse(&format!("{id}={epsilon}"));
        assert_eq!(read("0.5"), Ok((id, 500_000)));
        assert_eq!(read("4"), Ok((id, 4_000_000)));
        assert_eq!(read("0.000001"), Ok((id, 1)));
        for bad in ["", "-1", "1e3", "0.0000001", "1.", ".5", "99999999999999999999"] {
            assert_eq!(read(bad).unwrap_err().code, Code::ArgsInvalid, "{bad}");
        }
        assert!(parse("4").is_err() && parse("ab=4").is_err());
    }
}
