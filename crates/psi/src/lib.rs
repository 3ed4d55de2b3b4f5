//! Private set intersection and alignment, `tacit-psi/1`: two or more owners find the keys that they have in common and
//! learn as much of them as the level of the job says, and no more. `docs/protocols/psi.md` gives the argument.
//!
//! A [`Schema`] says what a key is made of; [`KeySetBuilder`] takes rows in; [`intersect`] runs [`Terms`] between two
//! parties and gives an [`Outcome`]. The group is ristretto255 (RFC 9496), the arithmetic [`tacit_crypto::points`].

#![forbid(unsafe_code)]

mod exchange;
pub mod groups;
pub mod hash;
mod items;
pub mod keyset;
pub mod lookup;
mod mask;
pub mod normalise;
mod oprf;
pub mod outcome;
mod proof;
pub mod ring;
mod run;
mod same;
pub mod schema;
pub mod session;
pub mod sort;
mod spine;
pub mod star;
pub mod storage;
pub mod terms;
pub mod workers;

pub use groups::{GroupSet, GroupSetBuilder};
pub use keyset::{KeySet, KeySetBuilder, LeftOut};
pub use normalise::Step;
pub use outcome::{Alignment, Outcome, Place, Spine, View};
pub use ring::{RingGroups, RingKeys, RingTerms, ring};
pub use run::intersect;
pub use schema::{KeyColumn, NoKey, Schema};
pub use session::{Host, Open, Resume};
pub use star::{Common, star};
pub use storage::{InMemory, Storage};
pub use terms::{Level, Mode, Terms};
pub use workers::{Inline, Workers};

#[cfg(test)]
mod tests;
