//! The commands over datasets.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum DataCommand {
    /// Register a dataset, or a new version of it.
    #[command(
        after_help = "Example: tacit data add claims claims.csv --level 'amount=after_aggregate,after_compare' --level region=after_group_by"
    )]
    Add(DataAddArgs),
    /// Datasets, or one with its columns.
    #[command(visible_alias = "list")]
    Show {
        /// The dataset's name.
        name: Option<String>,
    },
    /// Whether a source can still be read, has its columns, and is as anonymous as was stated.
    Check {
        /// The dataset's name.
        name: String,
    },
    /// Grade a dataset, or a column of it, anew, on evidence. A more sensitive grade holds at once; a less sensitive one holds
    /// under a contract once two of those who approve the contract have approved it.
    #[command(
        after_help = "Example: tacit --home bank data regrade claims --grade important --evidence review.pdf --reason 'linked with tax data'\n         tacit --home bank data regrade claims --grade general-3 --evidence report.pdf --reason 'identifiers removed' --out down\n         tacit --home officer list approve down --reason 'report read' --out yes   # and a second approver\n         tacit --home bank list add yes"
    )]
    Regrade(RegradeArgs),
    /// Datasets of which a restored database has forgotten which rows exact questions asked about; with --accept, exact
    /// questions over one are answered again.
    #[command(
        after_help = "Two exact answers whose questions differ in a few rows tell of single rows; what was asked under contracts with `[exact]` since the backup is not held apart from what is asked from now on.\n\nExample: tacit --home bank data forgotten\n         tacit --home bank data forgotten claims --accept --reason 'all rows are new since'"
    )]
    Forgotten {
        /// The dataset's name.
        name: Option<String>,
        /// Accept what is forgotten of it now.
        #[arg(long, requires_all = ["name", "reason"])]
        accept: bool,
        /// Why.
        #[arg(long, requires = "accept")]
        reason: Option<String>,
    },
    /// The keys of an aligned version, one a line, in the order of the rows of a job over them: what `job result --keys` puts
    /// beside its scores. They are this owner's, as its rows have them today; parts of a key stand apart by tabs.
    #[command(
        after_help = "A line of `-` and a number stands for a key that no row has any more, and for room of the job past the last key.\n\nExample: tacit --home bank data keys customers-aligned --rows 1000 > keys.txt\n         tacit --home bank job result JOB --keys keys.txt"
    )]
    Keys {
        /// The version's name.
        name: String,
        /// The version, where it is not the newest.
        #[arg(long)]
        version: Option<u32>,
        /// The `rows` of the job: as many lines are written.
        #[arg(long)]
        rows: Option<usize>,
    },
    /// In which jobs a person's record was eligible: for what, under which contract, when. It reads this node's own store and
    /// rows, as they are now, and tells nobody.
    #[command(
        after_help = "Example: tacit --home bank data subject claims C-000017\n         tacit --home bank data subject claims 4711 --column customer --json"
    )]
    Subject {
        /// The dataset's name.
        dataset: String,
        /// The value of the person's key.
        key: String,
        /// The column of the key; the one with level align_key when absent.
        #[arg(long)]
        column: Option<String>,
    },
}

#[derive(Args)]
pub struct RegradeArgs {
    /// The dataset's name.
    pub name: String,
    /// The version, where there are several.
    #[arg(long)]
    pub version: Option<u32>,
    /// A column of the source or of a view, for jobs that touch it; a more sensitive grade holds under every name that views give
    /// it, and for what they compute of it. The whole dataset when absent.
    #[arg(long)]
    pub column: Option<String>,
    /// general-1 to general-4, important or core.
    #[arg(long)]
    pub grade: String,
    /// The document that shows it, or sha256:HEX: its hash is signed.
    #[arg(long, value_name = "FILE")]
    pub evidence: String,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// The signed file to write, for those who approve.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct DataAddArgs {
    /// The dataset's name.
    pub name: String,
    /// A .csv or .parquet file, or postgres://NAME/TABLE with NAME from node.toml.
    pub source: String,
    /// A column that is text though it looks like numbers.
    #[arg(long, value_name = "COLUMN")]
    pub text: Vec<String>,
    /// Levels of a column: what may leave of it. COLUMN=LEVEL,LEVEL
    #[arg(long, value_name = "COLUMN=LEVELS")]
    pub level: Vec<String>,
    /// Levels of every column without its own.
    #[arg(long, value_name = "LEVELS")]
    pub all: Option<String>,
    /// A view: NAME=SELECT … FROM data
    #[arg(long, value_name = "NAME=SQL")]
    pub view: Vec<String>,
    /// The rule that every row must satisfy before anything reads it.
    #[arg(long, value_name = "FILTER")]
    pub consent: Option<String>,
    /// Class, grade, lawful basis, consent rules by purpose, registration and sharing: see docs/GOVERNANCE.md.
    #[arg(long, value_name = "FILE")]
    pub terms: Option<PathBuf>,
}
