//! Windows of scores on shares: a private model, or less than the score of a split one, with a dealer that deals ahead.
//!
//! The parties are the owners of data and of the model, as in a job without a window. The plan is cut into *pieces* of
//! [`PIECE_ROWS`] rows. Randomness for them is dealt in *lots* to the one party that gets corrections: when fewer than
//! [`LOTS_LOW`] lots are left or on their way it asks for more, up to [`LOTS_MAX`], and it tells the recipient how many
//! pieces are there. The recipient puts a batch to the owners when there are enough for it, so a batch waits in the
//! recipient's own node if it has to, and never among the owners. A batch takes the next pieces, whatever becomes of it:
//! none is used twice, and those of a window that ends go with it.
//!
//! | step | from | to | |
//! |---|---|---|---|
//! | terms, seeds, once | all | all | as in a job without a window: the mask of a model is opened once |
//! | 0, 1 | owner | owner, recipient | as in a window without shares |
//! | 2 + k | recipient | owner | the k-th batch: keys, or to who has no rows how many; or the end |
//! | 2 + k r + j | owner | owner | round j of r of the k-th batch; the first says what it is about, or that it is refused |
//! | 2 + i | owner | recipient | its i-th message: numbers under masks, why not, pieces that were dealt, who is waited for |
//! | 2 + i | owner | dealer | so many lots are wanted; at the end, the counts |
//! | 2 + l | dealer | owner | the l-th lot |

pub(in crate::score) mod batch;
pub(in crate::score) mod dealer;
pub(in crate::score) mod party;
pub(in crate::score) mod rows;

use std::sync::Arc;

use dealer::DealerFold;
use serde::{Deserialize, Serialize};
use tacit_mpc::{Plan, Terms};
use tacit_protocol::Abort;
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, NodeId, Seat};

use super::super::circuit::Circuit;
use super::super::params::ScoreParams;
use super::super::shared::Values;
use super::asker::AskerFold;
use super::{BATCH_ROWS_MAX, Online, Roles};
use crate::kind::{Fold, JointContext};
use crate::session;

/// Rows that are computed together, the last of a batch filled up with rows of nobody.
pub const PIECE_ROWS: u32 = 16;
/// Pieces that are dealt in one message.
pub const LOT_PIECES: u32 = 16;
/// Lots below which more are asked for: as many as the largest batch takes.
pub const LOTS_LOW: u32 = 16;
/// Lots that are held, or on their way, at most.
pub const LOTS_MAX: u32 = 32;
/// Pieces that are on their way at a time.
pub const FLYING_PIECES_MAX: u32 = LOTS_MAX * LOT_PIECES;
/// Bytes of dealt randomness that a window holds at most.
pub const STOCK_BYTES_MAX: usize = 64 << 20;
/// How long a batch waits in the recipient's node for randomness.
pub const STOCK_MS_MAX: u64 = 1_000;
/// How long an owner waits for another before it tells the recipient; less than the recipient waits for both.
pub const PEER_MS_MAX: u64 = 1_500;
/// How long an owner waits for what the dealer owes it, before it tells the recipient.
pub const DEAL_MS_MAX: u64 = 5_000;

const _: () = assert!(PEER_MS_MAX < super::ANSWER_MS_MAX);
const _: () = assert!((LOTS_LOW * LOT_PIECES * PIECE_ROWS) as usize >= BATCH_ROWS_MAX && LOTS_LOW < LOTS_MAX);

/// What the recipient and the dealer know of such a window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::score) struct Shares {
    /// Who computes, in the plan's order.
    pub parties: Vec<NodeId>,
    pub dealer: NodeId,
    /// Who gets what is dealt.
    pub corrected: NodeId,
    /// Pieces of the whole window.
    pub pieces: u32,
}

impl Shares {
    /// Of a window with this circuit.
    pub fn of<I>(circuit: &Circuit<I>) -> Self {
        let corrected = circuit.parties.get(circuit.plan.corrected()).copied().unwrap_or(circuit.dealer);
        let pieces = circuit.plan.tiles();
        Self { parties: circuit.parties.clone(), dealer: circuit.dealer, corrected, pieces }
    }

    fn lots(&self) -> u32 {
        self.pieces.div_ceil(LOT_PIECES)
    }

    /// Pieces of a lot: the last may have fewer.
    fn lot(&self, number: u32) -> u32 {
        self.pieces.saturating_sub(number.saturating_mul(LOT_PIECES)).min(LOT_PIECES)
    }

    /// The lots to be asked for in all, where so many were and so many pieces were taken; nothing above the low mark.
    fn wanted(&self, asked: u32, taken: u32) -> Option<u32> {
        let left = (asked * LOT_PIECES).saturating_sub(taken);
        let most = (taken / LOT_PIECES + LOTS_MAX).min(self.lots());
        (left < LOTS_LOW * LOT_PIECES && most > asked).then_some(most)
    }
}

/// Pieces that so many rows take.
pub(super) fn pieces(rows: u64) -> u32 {
    rows.div_ceil(PIECE_ROWS.into()) as u32
}

/// Cuts the plan of a window with so many rows into pieces.
///
/// # Errors
/// `refused.parameters` when the largest batch, or what is held ahead, would take too much.
pub(in crate::score) fn cut(plan: Plan, rows: u64) -> Result<Plan, Fault> {
    // why: a window has at most 2^20 rows; each call may take a piece of its own.
    let plan = plan.in_pieces(PIECE_ROWS, rows as u32)?;
    let (batch, stock) = (u64::from(LOTS_LOW * LOT_PIECES), (LOTS_MAX * LOT_PIECES) as usize);
    let (message, held) = (plan.piece_message() * batch, plan.piece_dealt() * stock);
    if message > MESSAGE_BYTES_MAX as u64 || held > STOCK_BYTES_MAX {
        let what = format!(
            "online: {message} bytes for {BATCH_ROWS_MAX} rows and {held} held ahead; at most {MESSAGE_BYTES_MAX} and \
             {STOCK_BYTES_MAX}"
        );
        return Err(Fault::new(Code::RefusedParameters, what));
    }
    Ok(plan)
}

/// Where a party finds what it brings.
pub(in crate::score) trait Lookup<I>: Send {
    /// What this party brings for these keys, with what stands for a row that is not there up to `rows`, and which of the
    /// keys it knows. Who has no rows is asked for no key.
    fn find(&self, keys: &[&[u8]], rows: usize) -> (Box<dyn Values<I>>, Vec<bool>);
}

/// The local half of a seat that is no owner's: the recipient's, or the dealer's.
pub(in crate::score) fn others<I: Copy + Send + Sync + 'static>(
    params: &ScoreParams,
    online: Online,
    circuit: &Arc<Circuit<I>>,
    seat: &NodeId,
) -> Option<Box<dyn Fold>> {
    if online.recipient == *seat {
        return Some(Box::new(AskerFold::new(params.clone(), online, Some(Shares::of(circuit)))));
    }
    let dealer = || DealerFold { params: params.clone(), online, circuit: circuit.clone() };
    (circuit.dealer == *seat).then(|| Box::new(dealer()) as Box<dyn Fold>)
}

/// Owner to owner, in the first round of a batch.
#[derive(Serialize, Deserialize)]
enum Join {
    /// What it is about, and the words of the round.
    Go { request: Hash, words: Blob },
    /// It does not take part, and why.
    Refused(Code),
}

/// Owner to dealer.
#[derive(Serialize, Deserialize)]
enum Want {
    /// So many lots in all.
    Lots(u32),
    /// What the window was used for, and who is there.
    End { calls: u64, rows: u64, root: Hash, seats: Vec<Seat> },
}

/// What the computation's seats agree on.
fn terms<I>(circuit: &Circuit<I>, roles: &Roles, context: &JointContext) -> Result<Terms, Abort> {
    let missing = || Abort::Local(Fault::new(Code::RefusedParties, "the dealer has no seat"));
    Ok(Terms {
        plan: circuit.plan.clone(),
        context: context.session,
        parties: roles.owners.clone(),
        dealer: roles.dealer.ok_or_else(missing)?,
        step_base: session::COMPUTE_ROUND,
        step_ms: context.step_ms,
    })
}

#[cfg(test)]
mod tests {
    use tacit_mpc::Fx;

    use super::*;

    /// A plan of a product of so many features, or of as many divisions.
    fn plan(columns: u32, product: bool) -> Plan {
        let (mut b, fx) = (Plan::builder(2, 100).unwrap(), Fx::new(4, 20).unwrap());
        let x = b.input(0, columns, fx).unwrap();
        let value = if product {
            let w = b.input_once(1, columns, 1, fx).unwrap();
            let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
            b.inner(&[(x, w)], &[], 60).unwrap()
        } else {
            let x = b.share(x).unwrap();
            b.truncate(x, 2).unwrap()
        };
        b.hand(value).unwrap();
        b.finish().unwrap()
    }

    #[test]
    fn a_window_holds_and_sends_no_more_than_its_limits() {
        let cut = |columns, product| cut(plan(columns, product), 100).map(|p| p.tiles()).map_err(|f| f.code);
        // Sixteen bytes are dealt for a division, for 8,192 rows at a time.
        let most = (STOCK_BYTES_MAX / (16 * (LOTS_MAX * LOT_PIECES * PIECE_ROWS) as usize)) as u32;
        assert_eq!((cut(most, false), cut(most + 1, false)), (Ok(100), Err(Code::RefusedParameters)));
        let most = (MESSAGE_BYTES_MAX / (8 * BATCH_ROWS_MAX)) as u32;
        assert_eq!((cut(most, true), cut(most + 1, true)), (Ok(100), Err(Code::RefusedParameters)));
    }

    #[test]
    fn more_is_asked_for_below_the_mark_and_up_to_the_cap() {
        let id = NodeId([1; 32]);
        let pieces = LOT_PIECES * 40 + 1;
        let shares = Shares { parties: vec![id], dealer: id, corrected: id, pieces };
        assert_eq!(shares.wanted(0, 0), Some(LOTS_MAX));
        let mark = (LOTS_MAX - LOTS_LOW) * LOT_PIECES;
        assert_eq!((shares.wanted(LOTS_MAX, mark), shares.lots()), (None, 41));
        assert_eq!(shares.wanted(LOTS_MAX, mark + 1), Some(41), "no more than the window has");
        assert_eq!((shares.wanted(41, pieces), shares.lot(39), shares.lot(40), shares.lot(41)), (None, 16, 1, 0));
        let long = Shares { pieces: 1 << 20, ..shares };
        assert_eq!(long.wanted(LOTS_MAX, mark + 1), Some(LOTS_MAX + LOTS_MAX - LOTS_LOW));
    }
}
