//! A log's files on disk: written so that a crash leaves the old content or the new ([`files`]), checked bundle by
//! bundle so that a flipped bit is found and named ([`check`]), kept a second time by others ([`mirror`]), and restored
//! from those copies ([`restore`]). The formats are those of `tacit-receipts`; nothing here knows a job, a database or a
//! connection.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)
)]

pub mod check;
pub mod files;
pub mod mirror;
pub mod restore;

pub use check::{Damage, examine};
pub use files::Folder;
pub use mirror::Mirror;
pub use restore::{Restored, restore};
