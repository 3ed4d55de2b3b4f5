//! Models of scores: what one is, import from the files of other libraries, an own canonical form, evaluation that
//! equals the source library's, the division of a model among the owners of its features, fixed-point numbers for the
//! secret-shared computation, and metrics.
//!
//! A file of another library is a stranger's: it is read with limits, and a fault says what is wrong and where. See
//! docs/MODELS.md. No IO, no clock, no randomness.

#![forbid(unsafe_code)]

pub mod additive;
pub mod division;
pub mod fixed;
pub mod format;
pub mod frame;
pub mod hidden;
pub mod hidden_network;
pub mod import;
mod json;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod network;
pub mod normed;
pub mod part;
mod part_form;
pub mod shape;
pub mod tree;

pub use additive::{Additive, Shape, Term};
pub use division::{Division, LeafBits, Local, Part, Rest};
pub use fixed::{LinearPlan, NetworkPlan, SumPlan};
pub use frame::{Frame, UNKNOWN_CATEGORY};
pub use hidden::{HiddenTrees, Rules, TreesShape};
pub use hidden_network::{HiddenLayer, NetworkShape};
pub use import::{Format, Import};
pub use model::{Feature, FeatureKind, Kind, Link, Meta, Model};
pub use network::{Activation, Layer, Network};
pub use normed::{Norm, Normed, NormedColumn};
pub use part::{Condition, Conditions, Leaves, TreesPart};
pub use shape::{LinearShape, LinearWeights};
pub use tree::{Missing, Node, Precision, Split, Test, Tree, Trees};
