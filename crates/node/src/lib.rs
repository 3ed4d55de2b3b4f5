//! The node daemon: the only place where the owner's data is read and where use of it is decided.
//!
//! [`Node::start`] opens the folder, keeps one connection to the coordinator, answers its requests
//! out of the database, and runs attempts: local half, machine, streams to the other seats. What it
//! decides is in `tacit-governance` and `tacit-engine`; here is the plumbing.

#![forbid(unsafe_code)]

pub mod align;
pub mod anonymity;
pub mod client;
pub mod config;
pub mod daemon;
pub mod datasets;
mod difference;
pub mod duties;
pub mod files;
pub mod key_change;
pub mod ledger;
pub mod memos;
pub mod mirror;
pub mod models;
pub mod online;
pub mod openings;
pub mod promises;
pub mod site;
pub mod store;
pub mod subject;
pub mod trust;
pub mod witness;

mod asked;
mod carried;
mod egress;
mod heads;
mod link;
mod listener;
pub mod log_keys;
mod peers;
mod recount;
mod runner;
mod serve;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use config::{Config, Keys};
pub use daemon::Node;
pub use store::Store;

use tacit_crypto::{Rng, Secret};
use tacit_types::{Code, Fault, UnixMillis};

/// A generator seeded by the operating system.
///
/// # Errors
/// `internal` when the system gives no randomness: nothing can go on then.
pub fn os_rng() -> Result<Rng, Fault> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| Fault::new(Code::Internal, format!("no randomness: {e}")))?;
    Ok(Rng::from_seed(&Secret::new(seed)))
}

/// The wall clock.
pub fn now() -> UnixMillis {
    (tacit_net::system_clock())()
}
