//! Who may use what, for what, how much, until when: signed objects and the decision over them.
//!
//! The owner's node is the only place where use is decided. The decision is a pure function of the
//! signed bytes, the owner's own store and the time; anything missing is a refusal.

#![forbid(unsafe_code)]

pub mod admission;
pub mod align;
pub mod attachment;
pub mod contract;
pub mod control;
pub mod dataset;
pub mod exact;
pub mod grade;
pub mod job;
pub mod lifecycle;
pub mod model;
pub mod orders;
pub mod party;
pub mod privacy;
pub mod regrade;
pub mod site;

pub use admission::{Admission, JobFacts, Judgement, Ledger, Meter, Metered, Refusal, Request, Rule, admit, judge};
pub use align::{
    AlignFacts, AlignLevel, AlignTerms, Aligned, Feeds, LookupFacts, LookupTerms, MatchesShown, RepeatTerms, Shown,
};
pub use contract::{Cohort, ColumnGrant, Contract, ContractParty, DatasetGrant, Quota, Role, SignedContract, User};
pub use control::Control;
pub use dataset::{ColumnInfo, ColumnKind, DatasetDescriptor, Level, Use};
pub use exact::ExactTerms;
pub use grade::DatasetTerms;
pub use job::{AttachmentRef, JobSpec, ModelRef, ProviderRef};
pub use lifecycle::{Lifecycle, Stage, Succession};
pub use model::{
    DistinctTerms, ModelDescriptor, ModelFamily, ModelGrant, OnlineFacts, OnlineTerms, Period, Precision, ScoreFacts,
    ScoringTerms, UnknownKeys,
};
pub use orders::{Approval, Order, Revocation};
pub use party::{PartyCard, PartyRole};
pub use privacy::{PrivacyCost, PrivacyLedger, PrivacyTerms};
pub use site::SitePolicy;
