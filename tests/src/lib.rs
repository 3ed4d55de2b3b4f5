//! What is tested across crates.
//!
//! The repository as data: [`repo`], its files, and [`pages`], those of `docs/` that are written from the code.
//!
//! The product as its users run it: the real programs, as processes of their own on loopback. [`World`] keeps
//! folders, ports and processes and removes them all when it is dropped. [`Wire`] speaks to a coordinator
//! without the command line, so that a test can send what the command line would never make.

#![forbid(unsafe_code)]

pub mod craft;
pub mod disk;
pub mod pages;
pub mod program;
pub mod repo;
pub mod signals;
pub mod tap;
pub mod wire;
pub mod world;

pub use craft::Offer;
pub use tap::{Tap, Tapped};
pub use wire::Wire;
pub use world::{Done, World, free_port};

use std::io::Write;

/// Says on the real standard error, past the capture of the test runner, that something was not tested.
/// Where `CI=true` that is a failure.
pub fn skipped(what: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what}");
    passed_over(what);
}

/// Says the same of a test that needs what this system forbids. `.ci/run` finds out once what that is, says so, and
/// names it in `TACIT_LACKS`: what stands there is no failure even where `CI=true`.
pub fn lacking(thing: &str, what: &str) {
    let named = std::env::var("TACIT_LACKS").unwrap_or_default();
    if named.split(' ').any(|word| word == thing) { passed_over(what) } else { skipped(what) }
}

fn passed_over(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {what} ***\n");
}
