//! Scoring: the rows that a list of keys names, by a model of which no party learns more than its own part.

mod circuit;
mod hand;
pub mod keys;
pub mod linear;
pub mod open;
pub mod params;
mod shared;
mod split;

pub use split::PARTIAL_BITS;

pub use linear::ScoreLinear;
