//! The commands over contracts.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum ContractCommand {
    /// Write a contract from a TOML file, sign it as this party, and offer it to the others.
    #[command(
        after_help = "See examples/contract.toml.\nExample: tacit --home lab contract draft screening.toml --ask"
    )]
    Draft {
        /// The file.
        file: PathBuf,
        /// Ask for the terms, one after the other, and write the file, which is not there yet.
        #[arg(long)]
        ask: bool,
    },
    /// Contracts that concern this party.
    List,
    /// The terms of one contract and who has signed.
    Show {
        /// Name, id or the beginning of an id.
        contract: String,
    },
    /// Sign a contract as this party.
    Sign {
        /// Name, id or the beginning of an id.
        contract: String,
    },
    /// Approve a contract, or reject it, in the office that it gives this party.
    #[command(
        after_help = "Examples: tacit --home cdo contract approve health-2026 --reason 'reviewed 2026-11-20'\n          tacit --home trustee contract approve health-2026 --reject --reason 'not what persons agreed to'\nWho approves joins as an operator. An approval is of the exact bytes: an edited contract needs it anew."
    )]
    Approve {
        /// Name, id or the beginning of an id.
        contract: String,
        /// Reject it. Of a trustee that is a veto; no word of the same key takes it back.
        #[arg(long)]
        reject: bool,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Say what this owner's node would decide on a job now, and by which rule. Nothing is consumed.
    #[command(
        after_help = "Examples: tacit --home bank contract test 5c01\n          tacit job plan job.toml --signed job.signed   (the operator)\n          tacit --home bank contract test job.signed\nExit status: 0 admitted, 3 refused."
    )]
    Test {
        /// A file with a signed job, or the beginning of the id of a job that this node was asked about.
        job: String,
    },
    /// Revoke a contract at this party's node, at once and offline.
    #[command(
        after_help = "Examples: tacit --home bank contract revoke health-2026 --reason 'purpose is over' --out revoked\n          tacit --home clinic list add revoked   (another party, with or without a connection)"
    )]
    Revoke {
        /// Name, id or the beginning of an id.
        contract: String,
        /// Why, for people and for refusals.
        #[arg(long, default_value = "not stated")]
        reason: String,
        /// Write the signed revocation to a file: it does the same at each party that takes it in.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// What the jobs of a contract left at this party's node, and what is to be deleted at its end.
    #[command(after_help = "Example: tacit --home bank contract duties health-2026")]
    Duties {
        /// Name, id or the beginning of an id.
        contract: String,
    },
    /// After the end of a contract: delete what its jobs left at this node, and sign that it is gone.
    #[command(
        after_help = "Example: tacit --home bank contract attest health-2026 --declare 'copies of the results were deleted on 2027-01-04' --out bank.deleted\nThe node deletes what it holds itself; --declare says what became of what left it. The same command again adds to what was said."
    )]
    Attest {
        /// Name, id or the beginning of an id.
        contract: String,
        /// What the party says of results, copies and models outside of the node.
        #[arg(long, value_name = "TEXT")]
        declare: Vec<String>,
        /// Write the signed attestation to a file, for the other parties.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Read another party's attestation: whether its signature holds, of which contract it is, and what was deleted.
    #[command(after_help = "Example: tacit --home clinic contract attested bank.deleted")]
    Attested {
        /// A file that `contract attest` wrote.
        file: PathBuf,
    },
    /// Suspend a contract at this party's node until a time, at once and offline. A later suspension takes its place.
    #[command(
        after_help = "Examples: tacit --home bank contract suspend health-2026 --until 2026-12-31 --reason 'under review'\n          tacit --home bank contract suspend health-2026 --until 2026-11-01 --reason 'review is over'   (a time that has passed lifts it)"
    )]
    Suspend {
        /// Name, id or the beginning of an id.
        contract: String,
        /// Until when.
        #[arg(long, value_name = "TIME")]
        until: String,
        /// Why, for people and for refusals.
        #[arg(long, default_value = "not stated")]
        reason: String,
        /// Write the signed suspension to a file: it does the same at each party that takes it in.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
