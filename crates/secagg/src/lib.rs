//! Secure aggregation, `tacit-secagg/1`: sums of vectors of which nobody learns more than the sum
//! over the agreed survivors.
//!
//! Double masking after Bonawitz et al. (CCS 2017), with the sparse graph of Bell et al. (CCS 2020)
//! above 128 seats, made safe against an active aggregator: every body is signed, every key is bound
//! to the whole transcript, survivors are agreed by vote before anything opens, round keys are used
//! once, and shares are committed to, so that blame has evidence. `docs/protocols/secagg.md` gives
//! the argument step by step.
//!
//! [`setup`] deals keys for several rounds; [`aggregate`] uses one of them.

#![forbid(unsafe_code)]

mod blind;
#[cfg(any(test, feature = "cheat"))]
pub mod cheat;
mod collect;
mod deal;
mod epoch;
pub mod evidence;
mod graph;
mod hub;
mod keys;
pub mod mask;
mod merkle;
mod messages;
pub mod never;
pub mod params;
pub mod plan;
mod quorum;
mod recover;
mod relay;
mod round;
mod setup;
pub mod signed;
mod story;
pub mod stream;
mod sum;
pub mod tails;
pub mod vector;
pub mod verify;

pub use blind::{Blinded, Release, unblind};
pub use collect::{COLLECT_PHASES, Collection, collect};
pub use epoch::Epoch;
pub use evidence::{evidence_transcript, verify_blame};
pub use params::{Bound, Graph, Params, TwoParty};
pub use plan::{Delivery, Outcome, PHASES, Phase, Plan, Round};
pub use round::aggregate;
pub use setup::setup;
pub use signed::Signed;
pub use vector::{FixedPoint, Slots, Source, Vector, Width};

#[cfg(test)]
mod tests;
