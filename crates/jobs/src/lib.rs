//! The catalogue of job kinds. A kind is a pair of halves: a local half that reads the owner's rows
//! inside the domain, and a joint half, a protocol between the nodes.
//!
//! Adding a kind is one file and one line in [`CATALOG`]; everything else iterates over it.

#![forbid(unsafe_code)]

pub mod align;
pub mod checked;
pub mod count;
pub mod cross;
pub mod decimal;
pub mod difference;
pub mod evidence;
pub mod filter;
pub mod kind;
pub mod review;
pub mod score;
pub mod session;
pub mod shares;
pub mod stats;
pub mod words;

pub use decimal::Decimal;
pub use kind::{
    ColumnKinds, Draft, DraftProvider, Estimate, Fold, JointContext, JointHalf, JointOutput, Kind, Material, Opened,
    Parts, Plan, Safeguard, Table,
};

/// Every job kind of this version.
pub const CATALOG: &[&dyn Kind] = &[
    &stats::Stats,
    &count::Count,
    &score::ScoreLinear,
    &score::ScoreTrees,
    &score::ScoreNetwork,
    &score::Verify,
    &align::Align,
    &align::MatchCount,
    &align::Lookup,
    &cross::CrossStats,
];

/// The kind of that name.
///
/// # Errors
/// `refused.kind` for a kind that this version does not have.
pub fn kind(id: &str) -> Result<&'static dyn Kind, tacit_types::Fault> {
    CATALOG.iter().copied().find(|k| k.id() == id).ok_or_else(|| {
        let known: Vec<&str> = CATALOG.iter().map(|k| k.id()).collect();
        let shown: String = id.chars().take(64).collect();
        tacit_types::Fault::new(
            tacit_types::Code::RefusedKind,
            format!("`{shown}`; this version has {}", known.join(", ")),
        )
    })
}
