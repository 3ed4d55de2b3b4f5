//! Secret-shared computation `dm2k`: additive shares in Z_2^64 and bits shared under exclusive or, among
//! n >= 2 parties, with correlated randomness from a dealer that sees shapes alone.
//!
//! A plan holds against parties that follow the protocol, or, where [`Builder::verified`] was called, against any number of
//! them but one that deviate: [`Security`].

#![deny(unsafe_code)]

pub mod deal;
mod eval;
pub mod fx;
pub mod group;
pub mod kernel;
mod live;
pub mod ops;
pub mod pack;
pub mod plan;
pub mod prep;
mod run;
mod terms;
pub mod value;
mod verified;
pub mod wire;

pub use deal::deal;
pub use fx::Fx;
pub use group::Group;
pub use live::{Dealer, Flight, Live};
pub use plan::{Builder, Cost, Handed, Plan, Security};
pub use prep::{Dealing, Place, Preprocessing, Stock};
pub use run::{Sink, Source, compute};
pub use terms::Terms;
pub use value::{BitShare, Blinded, Masked, Owned, Pad, Public, Released, Share};
pub use verified::{AUDITS_MAX, BIT_KEY_BITS, HANDED_KEY_WORDS, HANDED_WORDS, open_handed};
pub use wire::{Flow, Lane};

#[cfg(test)]
mod tests;
