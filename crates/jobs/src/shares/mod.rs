//! Kinds that compute on the rows of an alignment by ids, of which nobody knows which match.
//!
//! Such rows have one way into a job. An owner's node gives each of them its place among the ids ([`Spine`]); what comes
//! out, [`Placed`], can be looked at by a [`SharesFold`] and by no [`Fold`](crate::Fold). A fold of this kind ends in
//! [`Values`], which have nowhere to go but into the inputs of a plan of `tacit-mpc`; and the one joint half that takes
//! them, in this module, computes the plan and gives each party's summands to the masked sum for the recipient. It opens
//! nothing else, whatever a kind would like.

mod joint;
mod spine;

use std::sync::Arc;

use tacit_governance::Cohort;
use tacit_protocol::Disclosure;
use tacit_types::{Fault, JobId, NodeId};

pub use self::joint::{brings, deals};
pub use self::spine::{Placed, Room, Spine};

/// What is computed, and by whom.
pub struct Circuit {
    /// The operations. It hands numbers out and reveals none.
    pub plan: Arc<tacit_mpc::Plan>,
    /// Who computes, in the plan's order.
    pub parties: Vec<NodeId>,
    /// Who deals.
    pub dealer: NodeId,
    /// Numbers that it hands out.
    pub numbers: u64,
}

/// A job that computes on shares.
pub trait OnShares: Send + Sync {
    /// The alignment on whose ids it computes.
    fn alignment(&self) -> JobId;

    /// The local half of an owner, for so many ids.
    ///
    /// # Errors
    /// `refused.parties` for whoever has no rows in it; `refused.parameters` for more ids than the job has room for.
    fn fold(&self, owner: &NodeId, ids: u64) -> Result<Box<dyn SharesFold>, Fault>;

    /// What is computed under a floor.
    ///
    /// # Errors
    /// `refused.cohort` for a floor that the job can never meet; those of the plan.
    fn circuit(&self, floor: Cohort) -> Result<Circuit, Fault>;

    /// What the recipient learns.
    fn disclosure(&self) -> Disclosure;
}

/// Takes an owner's rows, each with its place among the ids.
pub trait SharesFold: Send {
    /// Takes a batch. The first may be empty: it shows the columns. `members` is given each set of [`SharesFold::sets`] and
    /// each row that stands in it, if it is the only one at its place.
    ///
    /// # Errors
    /// `data.column_type`, `data.column_unknown`: of the columns, never of a value.
    fn take(&mut self, batch: &Placed, members: &mut dyn FnMut(usize, usize)) -> Result<(), Fault>;

    /// What the owner should know of its own rows, and nobody else. Without values of rows.
    fn notes(&self) -> Vec<String>;

    /// As [`Fold::sets`](crate::Fold::sets), at most [`PLACED_SETS_MAX`](crate::difference::PLACED_SETS_MAX).
    fn sets(&self) -> Vec<String>;

    /// Ends the local half.
    fn finish(self: Box<Self>) -> Box<dyn Values>;
}

/// What an owner brings to the inputs of a plan.
pub trait Values: Send + Sync {
    /// Writes an input of this owner, row by row.
    ///
    /// # Errors
    /// `job.internal` for an input that this owner does not have.
    fn fill(&self, input: u32, out: &mut [u64]) -> Result<(), Fault>;
}
