//! The commands of money, their arguments and their help.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What a price plan's file looks like.
const PRICE_HELP: &str = "\
Example: tacit price draft price.toml --contract screening-2026; see docs/MONEY.md and examples/price.toml

A contract names the terms of its plan: price = \"price.toml\" in the file for `tacit contract draft`. The plan is in force \
from the place in the log at which payer and payees have all signed it.";

#[derive(Subcommand)]
pub enum PriceCommand {
    /// Write the price plan of a contract from its file, sign it as this party and put it into the log.
    #[command(after_help = PRICE_HELP)]
    Draft {
        /// The file.
        file: PathBuf,
        /// The contract: name, id or the beginning of an id.
        #[arg(long)]
        contract: String,
    },
    /// Sign the price plan of a contract as this party.
    #[command(after_help = "Example: tacit price sign screening-2026")]
    Sign {
        /// The contract: name, id or the beginning of an id.
        contract: String,
    },
    /// Price plans in the log, and who has not signed yet.
    List,
    /// What a contract's use costs, and who has signed it.
    #[command(after_help = "Example: tacit price show screening-2026")]
    Show {
        /// The contract: name, id or the beginning of an id.
        contract: String,
    },
}

#[derive(Subcommand)]
pub enum PeriodCommand {
    /// At the coordinator: charge and settle what was used before a time. At a party: sign this party's own count of it.
    #[command(
        after_help = "Example: tacit --home /srv/tacit period close --until 2026-12-01\nThe same time again gives the same answer. A day alone begins at midnight UTC; with a zone: 2026-12-01T00:00:00+08:00"
    )]
    Close {
        /// The end of the period; it must be over.
        #[arg(long, value_name = "TIME")]
        until: String,
    },
    /// Periods that were charged, with their sums and who has closed them.
    List,
}

#[derive(Subcommand)]
pub enum ChargeCommand {
    /// Charges, line by line.
    #[command(after_help = "Example: tacit charge list --period 1")]
    List {
        /// Of one period alone, by its number in `tacit period list`.
        #[arg(long, value_name = "NUMBER")]
        period: Option<usize>,
    },
}

#[derive(Subcommand)]
pub enum SettlementCommand {
    /// Settlements: what each party gets or gives in all.
    List,
    /// One settlement: its charges, and who pays whom.
    #[command(after_help = "Example: tacit settlement show 42")]
    Show {
        /// Its place in the log.
        leaf: u64,
    },
}

#[derive(Subcommand)]
pub enum ValueCommand {
    /// Write a file with every coalition of payees that a plan's division looks at, to be filled in.
    #[command(
        after_help = "Example: tacit value ask screening-2026 --until 2026-12-01 --out value.toml\nFor plans whose split is leave_one_out, shapley or shapley_sampled; once the period is over and before it is charged."
    )]
    Ask {
        /// The contract: name, id or the beginning of an id.
        contract: String,
        /// The end of the period, as in `tacit period close`.
        #[arg(long, value_name = "TIME")]
        until: String,
        /// The file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a file that was filled in and put it into the log.
    #[command(after_help = "Example: tacit value draft value.toml")]
    Draft {
        /// The file.
        file: PathBuf,
    },
    /// Sign what another party put into the log. In force once payer and payees have, or the plan's arbiter.
    #[command(after_help = "Example: tacit value sign 40")]
    Sign {
        /// Its place in the log.
        leaf: u64,
    },
    /// Valuations, who has not signed yet, and how they divide.
    List,
}

#[derive(Subcommand)]
pub enum DisputeCommand {
    /// Say that a use is not as its receipt has it. It is not billed until this is resolved.
    #[command(
        after_help = "Example: tacit dispute open 17 --line 3 --reason 'we gave fewer rows' --evidence count.csv"
    )]
    Open(OpenArgs),
    /// Say something on a dispute that is open. No amount changes.
    #[command(after_help = "Example: tacit dispute answer 21 --reason 'see the enclosed count' --evidence ours.csv")]
    Answer {
        /// The dispute's place in the log, or that of a receipt on a line of which observers differ.
        dispute: u64,
        /// Of such a receipt, the line, by its number in `tacit receipt explain`.
        #[arg(long, value_name = "NUMBER")]
        line: Option<u32>,
        /// What to say.
        #[arg(long)]
        reason: String,
        /// A document to exchange; its hash goes into the log, the file stays here.
        #[arg(long, value_name = "FILE")]
        evidence: Vec<PathBuf>,
    },
    /// Propose how a dispute ends, or agree to what another party proposed: payer and payees sign the same, the plan's
    /// arbiter alone suffices, and who disputed may withdraw; on a line on which observers differ that is each of those whose
    /// count is not the line's.
    #[command(
        after_help = "Example: tacit dispute resolve 21 --outcome stands --reason 'counted again'\n         tacit dispute resolve 21 --outcome 990 --reason 'ten were counted twice'\n         tacit dispute resolve 21 --agree\n         tacit dispute resolve 17 --line 3 --outcome 990 --reason 'counted again'"
    )]
    Resolve(ResolveArgs),
    /// Disputes, what was said on them, and how they ended.
    List,
}

#[derive(Args)]
pub struct OpenArgs {
    /// The receipt's place in the log.
    pub receipt: u64,
    /// One usage line of it, by its number in `tacit receipt explain`; without it, all of them.
    #[arg(long, value_name = "NUMBER")]
    pub line: Option<u32>,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// A document to exchange; its hash goes into the log, the file stays here.
    #[arg(long, value_name = "FILE")]
    pub evidence: Vec<PathBuf>,
}

#[derive(Args)]
pub struct ResolveArgs {
    /// The dispute's place in the log, or that of a receipt on a line of which observers differ.
    pub dispute: u64,
    /// Of such a receipt, the line, by its number in `tacit receipt explain`.
    #[arg(long, value_name = "NUMBER")]
    pub line: Option<u32>,
    /// stands: billed as it is; void: not billed; a number: billed with this quantity.
    #[arg(long, required_unless_present = "agree", conflicts_with = "agree", requires = "reason")]
    pub outcome: Option<String>,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
    /// Agree to what was proposed.
    #[arg(long)]
    pub agree: bool,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Which rows.
    #[arg(value_enum)]
    pub table: ExportTable,
    /// How they are written.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: ExportFormat,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Take the rows from this Parquet file instead of the log, as `tacit-verify --rows` reads them. Nothing is asked of anyone.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportTable {
    /// Usage lines of receipts.
    Usage,
    /// Lines of charges, in the columns of FOCUS 1.2.
    Focus,
    /// What each payee gets of each charge.
    Shares,
    /// Who pays whom.
    Payments,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ExportFormat {
    /// JSON Lines.
    Jsonl,
    /// CSV (RFC 4180).
    Csv,
    /// Parquet: counts as UInt64, amounts and prices as decimals.
    Parquet,
    /// A page to print.
    Html,
}
