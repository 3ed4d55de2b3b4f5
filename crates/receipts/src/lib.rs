//! Receipts: what a use of data leaves behind, and how anyone checks it.
//!
//! Every node meters itself and signs an [`Attestation`] over the digest of the one [`UsageRecord`]
//! that all parties of a job attempt hold. The coordinator only assembles a [`JointReceipt`] and
//! appends it to a transparency log: RFC 6962 hashing, C2SP `tlog-tiles` files, `tlog-checkpoint`
//! notes, `cosignature/v1` by witnesses, `tlog-proof` files. [`verify`] checks a whole log or single
//! receipts offline, trusting only the keys of a [`Trust`] that the verifier brings.
//!
//! Pure: no IO, no clock, no randomness. The daemons write the files and keep the state.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)
)]

pub mod budget;
pub mod bundle;
pub mod call;
pub mod cases;
pub mod chain;
pub mod checkpoint;
pub mod cose;
pub mod fork;
pub mod keys;
pub mod leaf;
pub mod link;
pub mod log;
pub mod memo;
pub mod merkle;
pub mod money;
pub mod note;
pub mod opening;
pub mod page;
pub mod papers;
pub mod policy;
pub mod printed;
pub mod proof;
pub mod receipt;
pub mod record;
pub mod report;
pub mod rotation;
pub mod shard;
pub mod tiles;
pub mod verify;
pub mod warn;
pub mod witness;

pub use bundle::{Bundle, PartyKey, Proven, Trust};
pub use call::{Call, CallProof, Window, request_hash};
pub use cases::Cases;
pub use checkpoint::{Checkpoint, Quorum, SignedCheckpoint};
pub use keys::{KeyHistory, KeyRole, PartyRotation};
pub use leaf::{Genesis, KeyCard, KeyEvent, Leaf};
pub use link::{Flow, FlowChain, LinkLeaf, LinkProof, LinkScope, LinkSeal, LinkState, ReadLink, links_root};
pub use log::{Log, Plan, Write};
pub use memo::Memo;
pub use merkle::{MemTree, Peaks};
pub use money::{Ledger, Money};
pub use note::{KeyKind, SignatureLine, SignedNote, VerifierKey};
pub use opening::{Figure, Opening, SealedOpening};
pub use proof::{Included, LogProof};
pub use receipt::{
    Absent, Assembled, Attestation, JointReceipt, Promise, SeenCheckpoint, Verdict, assemble, assemble_with,
};
pub use record::{
    Audience, Conviction, Disclosure, PartyEntry, PartyLinks, Quantity, Role, Sighting, Standing, Status, UsageLine,
    UsageRecord,
};
pub use report::{Finding, Notice, Report, Scope, TrustSource};
pub use rotation::{KeyRotation, LogChain, LogKey};
pub use shard::ShardChange;
pub use tiles::{Edge, File, TileRead, TileReader};
pub use verify::{
    Verifier, verify_bundle, verify_bundle_watched, verify_files, verify_files_watched, verify_logs_watched,
    verify_single,
};
pub use witness::{AddCheckpoint, Prepared, Seen, Witness, WitnessRefusal};
