//! Scores online: the recipient takes a seat and asks during the run of the job, its *window*; each answer takes one
//! round trip to the owners.
//!
//! An owner looks its rows up in an index that it made when the window opened. What it answers is under masks that cancel
//! with those of the other owners for the same request alone, see [`tacit_secagg::stream`], so the recipient learns the
//! sum and no part of it, and owners that were asked different things give it nothing. Every call is a leaf of a Merkle
//! tree that each seat keeps by itself. At the end all of them have the same counts and root, or there is no receipt over
//! them; when the recipient is lost the owners settle on the calls that all of them have heard.
//!
//! | step | from | to | |
//! |---|---|---|---|
//! | 0 | owner | owner | one-time points of the masks |
//! | 1 | owner | recipient | ready; answered by the opening, from which times count |
//! | 2 + k | recipient | owner | the k-th batch of calls, or the end |
//! | 2 + k | owner | recipient | its numbers under masks, or why not; at the end, agreed |
//! | last | owner | owner | once the recipient is lost: calls heard |

mod asker;
pub mod host;
mod index;
pub mod messages;
mod owner;
pub(super) mod shares;
mod tally;

use asker::AskerFold;
use owner::OwnerFold;
use serde::{Deserialize, Serialize};
use tacit_crypto::Transcript;
use tacit_governance::OnlineFacts;
use tacit_protocol::Abort;
use tacit_receipts::Window;
use tacit_secagg::stream::Stream;
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, NodeId, Seat, Step};

use super::keys::KEY_BYTES_MAX;
use super::params::{ScoreParams, Unknown};
use crate::kind::{Fold, JointContext, Opened, Table};
use crate::session::{COLLECT_ROUND, ONLINE_ROUND};
use shares::Shares;

pub use index::INDEX_ROWS_MAX;
pub use shares::{
    Cut, DEAL_MS_MAX, LOT_ROWS, LOTS_LOW, LOTS_MAX, PEER_MS_MAX, PIECE_BYTES, PIECE_ROWS, STOCK_BYTES_MAX, STOCK_MS_MAX,
};

/// Keys of one call.
pub const CALL_KEYS_MAX: usize = 1024;
/// Calls of one batch.
pub const BATCH_CALLS_MAX: usize = 256;
/// Rows of one batch.
pub const BATCH_ROWS_MAX: usize = 4096;
/// Batches of one window that wait for their answers.
pub const BATCHES_MAX: usize = 64;
/// The longest window: a day less what opening and closing it may take.
pub const WINDOW_SECONDS_MAX: u64 = 86_000;
/// How long an owner may take to answer a batch before it counts as lost.
pub const ANSWER_MS_MAX: u64 = 2_000;
/// By how much the time that the recipient states may differ from the owner's own.
pub const CALL_SKEW_MS_MAX: u64 = 10_000;
/// Bytes of a message of the window.
const BATCH_BYTES_MAX: usize = 64 + BATCH_CALLS_MAX * 48 + BATCH_ROWS_MAX * (KEY_BYTES_MAX + 8);
/// Bytes of an answer: two numbers a row.
const ANSWER_BYTES_MAX: usize = 64 + BATCH_ROWS_MAX * 16;

const _: () = assert!(BATCH_BYTES_MAX < MESSAGE_BYTES_MAX && CALL_KEYS_MAX <= BATCH_ROWS_MAX);

/// What a job that opens a window is signed over beside the rest of its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Online {
    /// The recipient's root key.
    #[n(1)]
    pub recipient: NodeId,
    /// Rows a second, with a burst of one second's rows.
    #[n(2)]
    pub rows_per_second: u64,
    /// Seconds from the opening after which the window closes.
    #[n(3)]
    pub seconds: u64,
}

/// What a person writes under `[params.online]`. The recipient is filled in by who publishes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenOnline {
    pub rows: u64,
    rows_per_second: u64,
    seconds: u64,
    #[serde(default)]
    recipient: String,
}

impl WrittenOnline {
    pub fn online(&self) -> Result<Online, Fault> {
        let recipient = NodeId::from_hex(&self.recipient).map_err(|_| {
            let what = "online: a window is opened with `tacit model publish`, not submitted";
            Fault::new(Code::RefusedParameters, what)
        })?;
        Ok(Online { recipient, rows_per_second: self.rows_per_second, seconds: self.seconds })
    }
}

impl Online {
    /// Checks the window of a job with these parameters.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self, params: &ScoreParams) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::RefusedParameters, format!("online: {what}")));
        if !(1..=WINDOW_SECONDS_MAX).contains(&self.seconds) || self.rows_per_second == 0 {
            return wrong(format!("`seconds` is 1 to {WINDOW_SECONDS_MAX}, `rows_per_second` is not 0"));
        }
        if params.owners.iter().any(|o| o.owner == self.recipient) {
            return wrong("the recipient is an owner".into());
        }
        Ok(())
    }

    /// What the owners' nodes decide on.
    pub fn facts(&self, params: &ScoreParams) -> OnlineFacts {
        OnlineFacts { recipient: self.recipient, rows: params.rows, rows_per_second: self.rows_per_second }
    }
}

/// The local half of a seat: the recipient's has no rows, an owner's makes an index of its own.
///
/// # Errors
/// `refused.parties` for whoever has no part; `refused.model` when the model is no part for the owner's columns.
pub(super) fn fold(
    params: &ScoreParams,
    online: Online,
    seat: &NodeId,
    model: Option<&[u8]>,
) -> Result<Box<dyn Fold>, Fault> {
    if online.recipient == *seat {
        return Ok(Box::new(AskerFold::new(params.clone(), online, None)));
    }
    let no_part = || Fault::new(Code::RefusedParties, "this owner has no columns in the job");
    let columns = params.columns(seat).ok_or_else(no_part)?;
    let model = model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?;
    Ok(Box::new(OwnerFold::new(params.clone(), online, columns, model)?))
}

/// What a window was used for, for its recipient: the scores went to who called.
///
/// # Errors
/// `receipt.record`.
pub(super) fn summary(package: &[u8]) -> Result<Opened, Fault> {
    let Window { calls, rows, root, .. } = Window::parse(package)?;
    let table = Table {
        title: "window".into(),
        head: ["calls", "rows", "root"].map(String::from).to_vec(),
        rows: vec![vec![calls.to_string(), rows.to_string(), root.to_string()]],
    };
    let json = serde_json::json!({"calls": calls, "rows": rows, "root": root.to_string()});
    Ok(Opened { json, tables: vec![table] })
}

/// Numbers that an owner gives for so many calls and rows.
pub(super) fn cells(unknown: Unknown, calls: u64, rows: u64) -> u64 {
    rows + match unknown {
        Unknown::Default => 0,
        Unknown::Flag => rows,
        Unknown::Refuse => calls,
    }
}

const POINTS: Step = Step::new(ONLINE_ROUND, 0);
const READY: Step = Step::new(ONLINE_ROUND, 1);

/// Beyond every batch: what came before the one that is waited for is forgotten.
const SETTLE: Step = Step::new(COLLECT_ROUND - 1, u16::MAX);

/// The step of the k-th message of one seat to another, counted from the opening; a batch goes to each owner in one.
fn serial(number: u32) -> Step {
    Step(Step::new(ONLINE_ROUND, 2).0 + number)
}

/// One call as the owners see it.
#[derive(Serialize, Deserialize)]
struct AskedCall {
    salt: Hash,
    keys: Vec<Blob>,
}

/// Recipient to owner.
#[derive(Serialize, Deserialize)]
enum Ask {
    /// So many milliseconds after the opening.
    Calls { at_ms: u64, calls: Vec<AskedCall> },
    /// The last message, and who is there.
    End { calls: u64, rows: u64, root: Hash, seats: Vec<Seat> },
    /// As `Calls`, to an owner without rows: the number of keys and the leaf of each call.
    Counted { at_ms: u64, calls: Vec<(u32, Hash)> },
}

/// Owner to recipient.
#[derive(Serialize, Deserialize)]
enum Answer {
    /// Masked numbers, eight bytes each.
    Cells(Blob),
    /// Nothing, and why.
    Refused(Code),
    /// It has counted the same.
    Agreed,
    /// So many pieces were dealt in all.
    Stock(u32),
    /// Seats that it waits for in vain.
    Missing(Vec<Seat>),
}

/// Who is who in a window.
struct Roles {
    recipient: Seat,
    /// Who computes: in the plan's order where there is one.
    owners: Vec<Seat>,
    /// Owners without rows.
    blind: Vec<Seat>,
    dealer: Option<Seat>,
}

impl Roles {
    fn of(
        context: &JointContext,
        params: &ScoreParams,
        online: &Online,
        shares: Option<&Shares>,
    ) -> Result<Self, Abort> {
        let missing = || Abort::Local(Fault::new(Code::RefusedParties, "a party of the window has no seat"));
        let seat = |root: &NodeId| {
            let at = context.owners.iter().position(|r| r == root).ok_or_else(missing)?;
            Ok::<Seat, Abort>(Seat(at as u16))
        };
        let recipient = seat(&online.recipient)?;
        let Some(shares) = shares else {
            let owners = (0..context.owners.len() as u16).map(Seat).filter(|s| *s != recipient).collect();
            return Ok(Self { recipient, owners, blind: Vec::new(), dealer: None });
        };
        let owners = shares.parties.iter().map(seat).collect::<Result<_, _>>()?;
        let blind =
            shares.parties.iter().filter(|p| params.columns(p).is_none()).map(seat).collect::<Result<_, _>>()?;
        Ok(Self { recipient, owners, blind, dealer: Some(seat(&shares.dealer)?) })
    }

    fn stream(&self, context: &JointContext) -> Stream {
        let label = if self.dealer.is_some() { "tacit-score/1/online-shares" } else { "tacit-score/1/online" };
        Stream {
            context: context.session,
            query: Transcript::new(label).u64(self.owners.len() as u64).finish(),
            seats: self.owners.clone(),
            step: POINTS,
            step_ms: context.step_ms,
        }
    }
}
