//! Scoring: the rows that a list of keys names, by a model of which no party learns more than its own part.

mod circuit;
mod hand;
pub mod keys;
pub mod linear;
pub mod online;
mod open;
pub mod params;
mod plan;
mod rows;
mod shared;
pub mod trees;
mod written;

pub use linear::{PARTIAL_BITS, ScoreLinear};
pub use trees::ScoreTrees;
