//! Netting: what parties owe each other over many charges becomes one position for each and one payment for each pair.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault, NodeId};

use super::statement::{Due, POSITIONS_MAX, TRANSFERS_MAX, Transfer};

/// Nets the shares of charges, each with its payer. Positions add up to zero, and the payments of each party to its
/// position.
///
/// # Errors
/// `receipt.settlement` for more than [`POSITIONS_MAX`] parties or [`TRANSFERS_MAX`] payments: settle fewer charges
/// together; `receipt.amount` on overflow.
pub fn net<'a>(charges: impl IntoIterator<Item = (NodeId, &'a [Due])>) -> Result<(Vec<Due>, Vec<Transfer>), Fault> {
    let overflow = || Fault::new(Code::ReceiptAmount, "a sum of charges overflows");
    let mut positions: BTreeMap<NodeId, i64> = BTreeMap::new();
    // Both ways of a pair in one number: what the lesser id owes the greater one, or less than zero.
    let mut pairs: BTreeMap<(NodeId, NodeId), i64> = BTreeMap::new();
    let add = |sum: &mut i64, fen: i64| -> Result<(), Fault> {
        *sum = sum.checked_add(fen).ok_or_else(overflow)?;
        Ok(())
    };
    for (payer, shares) in charges {
        for due in shares {
            let back = due.fen.checked_neg().ok_or_else(overflow)?;
            add(positions.entry(payer).or_default(), back)?;
            add(positions.entry(due.party).or_default(), due.fen)?;
            if payer < due.party {
                add(pairs.entry((payer, due.party)).or_default(), due.fen)?;
            } else {
                add(pairs.entry((due.party, payer)).or_default(), back)?;
            }
        }
    }
    let mut transfers: Vec<Transfer> = pairs
        .into_iter()
        .filter(|((a, b), fen)| a != b && *fen != 0)
        .map(|((a, b), fen)| {
            let (from, to) = if fen > 0 { (a, b) } else { (b, a) };
            Transfer { from, to, fen: fen.unsigned_abs() }
        })
        .collect();
    transfers.sort_unstable_by_key(|t| (t.from, t.to));
    if positions.len() > POSITIONS_MAX || transfers.len() > TRANSFERS_MAX {
        let what =
            format!("{} parties and {} payments; settle fewer charges together", positions.len(), transfers.len());
        return Err(Fault::new(Code::ReceiptSettlement, what));
    }
    Ok((positions.into_iter().map(|(party, fen)| Due { party, fen }).collect(), transfers))
}
