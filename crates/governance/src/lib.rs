//! Who may use what, for what, how much, until when: signed objects and the decision over them.
//!
//! The owner's node is the only place where use is decided. The decision is a pure function of the
//! signed bytes, the owner's own store and the time; anything missing is a refusal.

#![forbid(unsafe_code)]

pub mod admission;
pub mod align;
pub mod attachment;
pub mod contract;
pub mod dataset;
pub mod job;
pub mod model;
pub mod party;

pub use admission::{Admission, JobFacts, Ledger, Refusal, Request, admit};
pub use align::{AlignFacts, AlignLevel, AlignTerms, Aligned, RepeatTerms};
pub use contract::{Cohort, ColumnGrant, Contract, ContractParty, DatasetGrant, Quota, Role, SignedContract};
pub use dataset::{ColumnInfo, ColumnKind, DatasetDescriptor, Level, Use};
pub use job::{AttachmentRef, JobSpec, ModelRef, ProviderRef};
pub use model::{
    DistinctTerms, ModelDescriptor, ModelFamily, ModelGrant, OnlineFacts, OnlineTerms, Period, Precision, ScoreFacts,
    ScoringTerms,
};
pub use party::{PartyCard, PartyRole};
