//! Arguments of `node rotate`.

use clap::{Args, ValueEnum};

/// Which key.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyArg {
    /// The node's: connections, admissions, attestations, jobs.
    Node,
    /// The witness's: cosignatures.
    Witness,
}

/// A change of a key.
#[derive(Args)]
pub struct RotateArgs {
    /// Which key.
    #[arg(long, value_enum, default_value = "node")]
    pub key: KeyArg,
    /// For how long the key of before holds as well, at most 2160 hours.
    #[arg(long, value_name = "HOURS", default_value_t = 168)]
    pub overlap_hours: u64,
}
