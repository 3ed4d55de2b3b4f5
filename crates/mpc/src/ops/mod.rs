//! The operations, each with what it draws and what the dealer deals for it. The number of rounds and
//! bytes in their docs is what [`Plan::cost`](crate::Plan::cost) counts and what tests see sent.

pub(crate) mod bits;
pub(crate) mod leaf;
pub(crate) mod mul;
pub(crate) mod newton;
pub(crate) mod rank;
pub(crate) mod sign;
pub(crate) mod smooth;
pub(crate) mod tree;
pub(crate) mod trunc;

pub use bits::{Conjunct, Conjunction, DoubleBits, FAN_IN_MAX, Selection, and, select, to_ring};
pub use leaf::{LeafPads, Leaves, SharedLeafPads, select_leaves, select_weights};
pub use mul::{Dims, Sides, Triple, deal_matmul, mask_owned, mask_share, matmul, multiply};
pub use newton::{Inverse, InverseMaterial, inverse};
pub use rank::{ArgMaxMaterial, BandMaterial, argmax, band};
pub use sign::{Comparison, Rectifier, less_than, rectify};
pub use smooth::{Sines, sigmoid};
pub use trunc::{Truncation, truncate};
