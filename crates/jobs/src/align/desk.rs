//! What an owner's node lends to a job that brings keys together: room for lists that may be larger than memory, cores, a
//! key of its own, and a place for what the job finds.

use std::sync::Arc;

use tacit_crypto::Secret;
use tacit_governance::Shown;
use tacit_psi::{Storage, Workers};
use tacit_types::{Fault, Hash, JobId, UnixMillis};

/// Bytes by which a kept key is known: the beginning of its hash.
pub const KEPT_BYTES: usize = 16;

/// Where the matched keys go. Nothing of them leaves the node.
pub trait Keep: Send {
    /// Takes the next record: a matched key, which is past the one before, or an id, in the order that both parties have.
    ///
    /// # Errors
    /// What keeps it from being written.
    fn put(&mut self, record: &[u8]) -> Result<(), Fault>;

    /// Makes what was put durable, and says of which form it is. Until then there is nothing.
    ///
    /// # Errors
    /// What keeps it from being durable.
    fn done(&mut self, kept: Kept) -> Result<(), Fault>;
}

/// What was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Records.
    pub records: u64,
    /// Bytes of each: [`KEPT_BYTES`] of a matched key; or an id of a spine and the same of this owner's key, zeroes where
    /// it has none.
    pub width: usize,
    /// Rows of this owner in them.
    pub rows: u64,
}

/// What a node remembers of the lists that it offers, where the contract limits how they may change. Nothing of it leaves
/// the node.
pub trait Offered: Send {
    /// Takes the next distinct key of a list, in the order of [`tacit_psi::keyset::KeySet::each`].
    ///
    /// # Errors
    /// What keeps it from being written.
    fn put(&mut self, key: &[u8; 32]) -> Result<(), Fault>;

    /// What is put from now on is another list of the same job: a part of the first, about which there is an answer of its own.
    ///
    /// # Errors
    /// What keeps it from being written.
    fn next(&mut self) -> Result<(), Fault>;

    /// Decides whether the lists may be offered, and remembers them, durable when this returns. `form` is the digest of the
    /// key's schema: keys of another form cannot be compared.
    ///
    /// # Errors
    /// `refused.alignment` for a list that differs too little from an earlier one.
    fn done(&mut self, form: Hash) -> Result<(), Fault>;

    /// Counts the distinct keys that the others of this attempt bring, durable when this returns.
    ///
    /// # Errors
    /// `refused.alignment` for more than the contract allows in its days; what keeps them from being counted.
    fn others(&mut self, keys: u64) -> Result<(), Fault>;
}

/// What a holder's node counts of the queries that it answers, over all jobs of who asks.
pub trait Spend: Send {
    /// Counts queries, durable when this returns: whatever becomes of the attempt, they are used.
    ///
    /// # Errors
    /// `refused.alignment` for more than the contract allows in its days; what keeps them from being counted.
    fn spend(&mut self, queries: u64) -> Result<(), Fault>;
}

/// What a node lends to a search in a cache.
pub struct LookupDesk {
    /// Caches of the series, which outlive jobs.
    pub shelf: Box<dyn Storage>,
    /// A key of this node for the series.
    pub key: Secret<[u8; 32]>,
    /// The time.
    pub now: UnixMillis,
    /// What is counted, at the holder.
    pub spend: Option<Box<dyn Spend>>,
}

/// What a node lends.
pub struct Desk {
    /// The job: the same in every attempt.
    pub job: JobId,
    /// Lists. Where a state is taken up again they are those of the attempt that was interrupted.
    pub storage: Box<dyn Storage>,
    /// Cores.
    pub workers: Arc<dyn Workers>,
    /// Bytes that sorting may hold.
    pub memory: usize,
    /// Distinct keys of one list, own or another's, that the node brings together.
    pub keys_max: u64,
    /// A key of this node for this job alone.
    pub key: Secret<[u8; 32]>,
    /// The last state that an earlier attempt persisted.
    pub state: Option<Vec<u8>>,
    /// What is remembered of the list, where the contract wants that.
    pub offered: Option<Box<dyn Offered>>,
    /// Where it searches a cache.
    pub lookup: Option<LookupDesk>,
    /// What the contract under which this owner admitted the job lets its receipt show.
    pub shown: Shown,
    /// The job names one contract, under which every owner has admitted it.
    pub sole: bool,
    /// What is found.
    pub keep: Box<dyn Keep>,
}
