//! The disclosure gate: what a job may open, to whom, and how much of it.

use serde::{Deserialize, Serialize};

/// Who learns an opened value.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[cbor(index_only)]
pub enum Audience {
    /// The recipients whose sealing keys the signed job names.
    #[n(0)]
    Recipient,
    /// Every seated node, so that each can enforce its floor on the joint value.
    #[n(1)]
    Nodes,
}

/// One thing that a job reveals. A job's list of these is part of what an owner approves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Disclosure {
    /// A stable name within the kind, such as `row_counts`.
    #[n(1)]
    pub what: String,
    /// Who learns it.
    #[n(2)]
    pub to: Audience,
    /// The most numbers that it opens in one attempt.
    #[n(3)]
    pub cells_max: u64,
}

/// A value that a protocol has computed but nobody may read yet. Only
/// [`Party::reveal`](crate::Party::reveal) turns it into a plain one.
pub struct Concealed<T>(T);

impl<T> Concealed<T> {
    /// Conceals a value at the point where the protocol's arithmetic ends.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }

    /// Passes the value on without opening it: still concealed, still unreadable.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Concealed<U> {
        Concealed(f(self.0))
    }
}
