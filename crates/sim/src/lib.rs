//! A deterministic world that runs the engine and the protocols under faults; never shipped.
//!
//! One seed draws everything: data, delays, deaths, cuts, cheats. Time is virtual, disks are in
//! memory and lose what was not synced, and a list of invariants, each a function named as a
//! sentence, is checked while a run goes on and at its end. `docs/SIMULATOR.md` tells how to use it.

#![forbid(unsafe_code)]

mod align;
mod bug;
mod dice;
mod disk;
mod faults;
mod ledger;
mod life;
mod net;
mod queue;
mod run;
mod secagg;
mod trace;
mod verified;
mod window;
mod wiretap;

pub use bug::Bug;
pub use faults::{
    Backup, Cheat, Coverage, Crash, Deed, FaultKind, Faults, LOST_SHARE, OldNode, Partition, Rogue, Trick,
};
pub use run::{Options, Report, Scenario, Violation, run};
pub use trace::{Line, Recording};
