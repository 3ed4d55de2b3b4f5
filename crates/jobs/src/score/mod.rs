//! Scoring: the rows that a list of keys names, by a model of which no party learns more than its own part.

mod brings;
mod checked;
mod circuit;
mod hand;
pub mod keys;
pub mod linear;
pub mod network;
pub mod online;
mod open;
pub mod params;
mod plan;
mod rows;
mod shared;
pub mod trees;
pub mod verify;
mod written;

pub use linear::{PARTIAL_BITS, ScoreLinear};
pub use network::ScoreNetwork;
pub use plan::VERIFIED_RESULT;
pub use trees::ScoreTrees;
pub use verify::Verify;
