//! The coordinator daemon: it knows who, when and how much, never what.
//!
//! It keeps the roster, queues jobs and drives each through its life ([`tacit_engine::Job`]),
//! relays signed and sealed bytes, and keeps the transparency log. It decides nothing about data:
//! remove every check here and no owner's policy can be broken.
//!
//! A state change is durable before anything follows from it, so the process may be killed
//! anywhere. [`init`] makes a home folder, [`run`] serves it, [`fsck`] checks it at rest.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)
)]

mod books;
mod clock;
pub mod config;
mod daemon;
mod depot;
mod driver;
mod enrol;
pub mod fsck;
mod home;
pub mod limits;
mod log;
mod nodes;
mod party_keys;
mod promises;
pub mod repair;
mod roster;
pub mod rotation;
mod serve;
pub mod sign_key;
mod slots;
mod store;

pub use config::{Config, JobLimits};
pub use daemon::{Coordinator, Running, run};
pub use fsck::{FsckReport, fsck};
pub use home::{InitOptions, Initialised, init};
pub use repair::repair;
pub use rotation::{Rotated, rotate_log_key};
pub use sign_key::{SignRotated, rotate_sign_key};
