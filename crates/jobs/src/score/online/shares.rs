//! Windows of scores on shares: a private model, or less than the score of a split one, with a dealer that deals ahead.
//!
//! The parties are the owners of data and of the model, as in a job without a window. The plan is cut into *pieces* of a
//! few rows, of fewer the more a row takes, see [`Cut`]. Randomness for them is dealt in *lots* to the one party that gets
//! corrections: when fewer than [`LOTS_LOW`] lots are left or on their way it asks for more, up to [`LOTS_MAX`], and it
//! tells the recipient how many pieces are there. The recipient puts a batch to the owners when there are enough for it, so a batch waits in the
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
//! | 2 | recipient | dealer | at the end, the counts |
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

/// Rows that are computed together at most, the last piece of a batch filled up with rows of nobody.
pub const PIECE_ROWS: u32 = 16;
/// Bytes of a piece, dealt or sent to one party, above which it has fewer rows, down to one: a call of one key takes a
/// piece.
pub const PIECE_BYTES: u64 = 4 << 10;
/// Rows that are dealt in one message at most.
pub const LOT_ROWS: u32 = 256;
/// Lots below which more are asked for: as many as the largest batch takes.
pub const LOTS_LOW: u32 = 16;
/// Lots that are held, or on their way, at most.
pub const LOTS_MAX: u32 = 32;
/// Bytes of dealt randomness that a window holds at most.
pub const STOCK_BYTES_MAX: usize = 64 << 20;
/// How long a batch waits in the recipient's node for randomness.
pub const STOCK_MS_MAX: u64 = 1_000;
/// How long an owner waits for another before it tells the recipient; less than the recipient waits for both.
pub const PEER_MS_MAX: u64 = 1_500;
/// How long an owner waits for what the dealer owes it, before it tells the recipient.
pub const DEAL_MS_MAX: u64 = 5_000;

const _: () = assert!(PEER_MS_MAX < super::ANSWER_MS_MAX);
const _: () = assert!((LOTS_LOW * LOT_ROWS) as usize >= BATCH_ROWS_MAX && LOTS_LOW < LOTS_MAX);

/// How the plan of a window is cut: what is computed together, and what is dealt together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Rows of a piece.
    pub piece_rows: u32,
    /// Pieces of a lot.
    pub lot_pieces: u32,
}

/// Pieces of a lot, of so many rows and bytes each: none where a lot may not hold one.
fn lot_pieces(rows: u32, dealt: u64, message: u64) -> u32 {
    let fits = |most: usize, each: u64| u32::try_from(most as u64 / each.max(1)).unwrap_or(u32::MAX);
    let held = fits(STOCK_BYTES_MAX / LOTS_MAX as usize, dealt);
    (LOT_ROWS / rows.max(1)).min(held).min(fits(MESSAGE_BYTES_MAX / LOTS_LOW as usize, message))
}

impl Cut {
    /// Of a plan in pieces.
    pub(in crate::score) fn of(plan: &Plan) -> Self {
        // why: pieces have 1 to 16 rows.
        let piece_rows = plan.piece_rows() as u32;
        Self { piece_rows, lot_pieces: lot_pieces(piece_rows, plan.piece_dealt() as u64, plan.piece_message()) }
    }

    /// Pieces that so many rows take.
    pub(super) fn pieces(self, rows: u64) -> u32 {
        rows.div_ceil(self.piece_rows.into()) as u32
    }

    /// Rows of the largest batch: those for which there is always randomness in time.
    pub fn batch_rows(self) -> usize {
        ((LOTS_LOW * self.lot_pieces * self.piece_rows) as usize).min(BATCH_ROWS_MAX)
    }

    /// Pieces that are on their way at a time.
    pub fn flying(self) -> u32 {
        LOTS_MAX * self.lot_pieces
    }
}

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
    pub cut: Cut,
}

impl Shares {
    /// Of a window with this circuit.
    pub fn of<I>(circuit: &Circuit<I>) -> Self {
        let corrected = circuit.parties.get(circuit.plan.corrected()).copied().unwrap_or(circuit.dealer);
        let pieces = circuit.plan.tiles();
        Self {
            parties: circuit.parties.clone(),
            dealer: circuit.dealer,
            corrected,
            pieces,
            cut: Cut::of(&circuit.plan),
        }
    }

    fn lots(&self) -> u32 {
        self.pieces.div_ceil(self.cut.lot_pieces)
    }

    /// Pieces of a lot: the last may have fewer.
    fn lot(&self, number: u32) -> u32 {
        let each = self.cut.lot_pieces;
        self.pieces.saturating_sub(number.saturating_mul(each)).min(each)
    }

    /// The lots to be asked for in all, where so many were and so many pieces were taken; nothing above the low mark.
    fn wanted(&self, asked: u32, taken: u32) -> Option<u32> {
        let each = self.cut.lot_pieces;
        let left = asked.saturating_mul(each).saturating_sub(taken);
        let most = (taken / each + LOTS_MAX).min(self.lots());
        (left < LOTS_LOW * each && most > asked).then_some(most)
    }
}

/// Cuts the plan of a window with so many rows into pieces.
///
/// # Errors
/// `refused.parameters` when one row takes more than a lot may.
pub(in crate::score) fn cut(plan: &Plan, rows: u64) -> Result<Plan, Fault> {
    // why: a window has at most 2^20 rows; each call may take a piece of its own.
    let at = |each: u32| plan.clone().in_pieces(each, rows as u32);
    let small = |plan: &Plan| plan.piece_message().max(plan.piece_dealt() as u64) <= PIECE_BYTES;
    let halves = core::iter::successors(Some(PIECE_ROWS), |each| Some(each / 2)).take_while(|each| *each > 1);
    let plan = match halves.filter_map(|each| at(each).ok()).find(small) {
        Some(plan) => plan,
        None => at(1)?,
    };
    if Cut::of(&plan).lot_pieces == 0 {
        let (dealt, sent, lots) = (plan.piece_dealt(), plan.piece_message(), LOTS_MAX as usize);
        let (held, message) = (STOCK_BYTES_MAX / lots, MESSAGE_BYTES_MAX / LOTS_LOW as usize);
        let what = format!("online: {dealt} bytes are dealt and {sent} sent for a row; at most {held} and {message}");
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

/// Owner to dealer; its end also the recipient to the dealer.
#[derive(Serialize, Deserialize)]
pub(super) enum Want {
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

    /// A plan of products of so many features, or of as many divisions, no value wider than 2^15. What comes out has 32
    /// bits.
    fn plan(columns: u32, product: bool) -> Plan {
        let (mut b, fx) = (Plan::builder(2, 100).unwrap(), Fx::new(4, 33).unwrap());
        for from in (0..columns).step_by(1 << 15) {
            let columns = (columns - from).min(1 << 15);
            let x = b.input(0, columns, fx).unwrap();
            let value = if product {
                let w = b.input_once(1, columns, 1, fx).unwrap();
                let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
                b.inner(&[(x, w)], &[], 32).unwrap()
            } else {
                let x = b.share(x).unwrap();
                b.truncate(x, 2).unwrap()
            };
            b.hand(value).unwrap();
        }
        b.finish().unwrap()
    }

    fn cut_of(columns: u32, product: bool) -> Result<(u32, u32), Code> {
        let cut = cut(&plan(columns, product), 100).map_err(|f| f.code)?;
        assert!(cut.tiles() == 100);
        let cut = Cut::of(&cut);
        Ok((cut.piece_rows, cut.lot_pieces))
    }

    #[test]
    fn the_more_a_row_takes_the_fewer_rows_has_a_piece() {
        // Eight bytes are dealt for a division: twice the bits of what comes out.
        let rows = PIECE_BYTES as u32 / 8;
        let of = |columns: u32| cut_of(columns, false).unwrap();
        assert_eq!((of(rows / 16), of(rows / 16 + 1)), ((16, 16), (8, 32)));
        assert_eq!((of(rows / 2), of(rows / 2 + 1), of(rows * 9)), ((2, 128), (1, 256), (1, 56)));
        // Four bytes are sent for a factor.
        assert_eq!((cut_of(rows / 8, true), cut_of(rows / 8 + 1, true)), (Ok((16, 16)), Ok((8, 32))));
    }

    #[test]
    fn a_window_holds_and_sends_no_more_than_its_limits() {
        let lot = STOCK_BYTES_MAX as u32 / LOTS_MAX / 8;
        let most = lot / LOT_ROWS;
        assert_eq!((cut_of(most, false), cut_of(most + 1, false)), (Ok((1, 256)), Ok((1, 255))));
        let cut = |columns| cut_of(columns, false).map(|(piece_rows, lot_pieces)| Cut { piece_rows, lot_pieces });
        assert_eq!((cut(most).unwrap().batch_rows(), cut(most + 1).unwrap().batch_rows()), (4096, 4080));
        let batch = (MESSAGE_BYTES_MAX / 4) as u32 / LOTS_LOW;
        assert_eq!((cut_of(batch / 5, true), cut_of(batch / 5 + 1, true)), (Ok((1, 5)), Ok((1, 4))));
        // A row that takes a whole lot is the most.
        let (held, message) = ((STOCK_BYTES_MAX as u64) / 32, (MESSAGE_BYTES_MAX as u64) / 16);
        assert_eq!(
            (lot_pieces(1, held, message), lot_pieces(1, held + 1, 0), lot_pieces(1, 0, message + 1)),
            (1, 0, 0)
        );
    }

    #[test]
    fn more_is_asked_for_below_the_mark_and_up_to_the_cap() {
        let id = NodeId([1; 32]);
        for each in [16, 3] {
            let cut = Cut { piece_rows: 16, lot_pieces: each };
            let pieces = each * 40 + 1;
            let shares = Shares { parties: vec![id], dealer: id, corrected: id, pieces, cut };
            assert_eq!(shares.wanted(0, 0), Some(LOTS_MAX));
            let mark = (LOTS_MAX - LOTS_LOW) * each;
            assert_eq!((shares.wanted(LOTS_MAX, mark), shares.lots()), (None, 41));
            assert_eq!(shares.wanted(LOTS_MAX, mark + 1), Some(41), "no more than the window has");
            let lots = (shares.lot(39), shares.lot(40), shares.lot(41));
            assert_eq!((shares.wanted(41, pieces), lots), (None, (each, 1, 0)));
            let long = Shares { pieces: 1 << 20, ..shares };
            assert_eq!(long.wanted(LOTS_MAX, mark + 1), Some(LOTS_MAX + LOTS_MAX - LOTS_LOW));
        }
    }
}
