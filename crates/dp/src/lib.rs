//! Differential privacy in whole numbers: noise from exact tables, and the accounting of what it costs.
//!
//! - [`Sampler`] draws discrete Laplace, discrete Gaussian (Canonne, Kamath and Steinke 2020, arXiv 2004.00010) and
//!   Skellam noise (Agarwal, Kairouz and Liu 2021, arXiv 2110.04995). The probabilities are whole numbers out of a
//!   table that is made without floating point, so they are the same on every machine, and a draw reads the whole
//!   table, so neither its time nor its memory tells the noise.
//! - [`Spending`] adds up what releases cost, as zero-concentrated privacy (Bun and Steinke 2016, arXiv 1605.02065) and
//!   as a Rényi curve (Mironov 2017, arXiv 1702.07476), and gives epsilon for a delta; all of it in whole numbers that are
//!   rounded up.
//! - [`distributed`] divides Skellam noise among parties of whom some may drop out or collude, and plans it from a budget.
//!
//! No party of a computation learns the noise of another: that is what the sums of `secagg` are for. This crate has no
//! IO and no clock; randomness is the caller's [`tacit_crypto::Rng`].

mod account;
pub mod distributed;
mod fixed;
mod noise;
mod ratio;
mod table;

pub use account::{DRAWS_MAX, Delta, EPSILON_MAX_MICRO, ORDERS, Spending, least_variance};
pub use distributed::{Crowd, Sensitivity, SumNoise};
pub use noise::{Mechanism, Sampler};
pub use ratio::{RATIO_MAX, Ratio};
pub use table::{DISTANCE_BITS, TABLE_ENTRIES_MAX};
