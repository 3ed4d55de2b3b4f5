//! `node` and its arguments.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand)]
pub enum NodeCommand {
    /// Serve until interrupted.
    Run,
    /// What has left this node: payload bytes by job, peer and kind.
    #[command(
        after_help = "Every frame to another node and every request and answer to the coordinator, the commands of this folder included. \
Bytes count when they are handed to a connection; what a connection lost counts too. A crash loses what was counted in its last 0.2 s. \
Answers to calls for scores are counted in their window's receipt.\n\nExample: tacit node egress --json"
    )]
    Egress,
    /// What noisy results have cost each dataset here, and what is left of the budgets of its contracts.
    #[command(
        after_help = "What a job costs is taken when it is admitted, and not given back. A budget is what a dataset version may have \
spent under all contracts together.\n\nExample: tacit node privacy --json"
    )]
    Privacy,
    /// Jobs as this node has them.
    Jobs,
    /// Which key speaks for each party and witness, and since when.
    #[command(after_help = "Example: tacit --home bank node keys")]
    Keys,
    /// Give this node, or its witness, its next key. The id stays: contracts, quotas and receipts go on under it.
    #[command(
        after_help = "The key of before signs the change, and the coordinator puts it into its log. The node may run meanwhile; \
restart it before the overlap is over. A command that was cut off is run again and goes on with the same key.\n\n\
Example: tacit --home bank node rotate\n         tacit --home bank node rotate --key witness --overlap-hours 24"
    )]
    Rotate(RotateArgs),
}

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
