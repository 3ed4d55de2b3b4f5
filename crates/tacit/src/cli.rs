//! The commands, their arguments and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::case::CaseCommand;
use crate::commands::link::LinkArgs;
use crate::commands::list::ListCommand;
use crate::commands::money::{
    ChargeCommand, DisputeCommand, ExportArgs, PeriodCommand, PriceCommand, SettlementCommand, ValueCommand,
};
use crate::commands::opening::{FigureWord, OpenArgs, OpeningArgs};
use crate::commands::policy::PolicyCommand;
use crate::commands::promises::PromisesArgs;
use crate::commands::report::ReportArgs;
use crate::commands::review::ReviewCommand;
use crate::commands::warn::WarnArgs;

mod contract;
mod data;
mod node;

pub use contract::ContractCommand;
pub use data::{DataAddArgs, DataCommand, RegradeArgs};
pub use node::{KeyArg, NodeCommand, RotateArgs};

/// Organisations compute together; raw data stays home; every use leaves a receipt.
#[derive(Parser)]
#[command(
    name = "tacit",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Begin with `tacit demo`, or `tacit demo scoring`: organisations on this machine, real data, verified receipts."
)]
pub struct Cli {
    /// The folder of this party: keys, configuration, database.
    #[arg(long, global = true, env = "TACIT_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print one JSON value instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Language of messages.
    #[arg(long, global = true, env = "TACIT_LANG", value_enum, default_value = "en")]
    pub lang: LangArg,
    /// What to log to standard error: error, warn, info, debug, trace, or a filter.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum LangArg {
    En,
    Zh,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show the whole product on this machine, with real data, in under a minute.
    Demo(DemoArgs),
    /// Make a coordinator's folder.
    #[command(after_help = "Example: tacit --home /srv/tacit init --listen 0.0.0.0:7400 --public tacit.example:7400")]
    Init(InitArgs),
    /// Print an invitation for one party (at the coordinator).
    #[command(after_help = "Example: tacit --home /srv/tacit invite --role node --name bank-a")]
    Invite(InviteArgs),
    /// Make this party's keys and enrol with an invitation.
    #[command(after_help = "Example: tacit join 'tacit1:tacit.example:7400#3d40…#9f…' --listen 0.0.0.0:7402")]
    Join(JoinArgs),
    /// Check this installation: keys, database, port, and the paths to the coordinator and the other nodes.
    #[command(
        after_help = "Example: tacit --home /srv/tacit doctor\n\nFor the folder of a node, an operator, a regulator or a coordinator. Exit status 1 when a check fails."
    )]
    Doctor,
    /// Serve as coordinator.
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// Serve as a party's node, or look at it.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Register datasets in place; nothing is copied.
    #[command(subcommand)]
    Data(DataCommand),
    /// Import models; they stay at this party's node.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Write, sign and look at contracts.
    #[command(subcommand)]
    Contract(ContractCommand),
    /// Lists of what is denied, reviews of algorithms, assessments of recipients: sign them, take them in, look at them.
    #[command(subcommand)]
    List(ListCommand),
    /// Review what computes: run a kind of job over its test vectors, sign what came out, run again what others signed.
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Look at a site's own policy, which decides last at its owner's node.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Write, submit and follow jobs, and open results.
    #[command(subcommand)]
    Job(JobCommand),
    /// Look at receipts, verify and export them.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Write, sign and look at price plans.
    #[command(subcommand)]
    Price(PriceCommand),
    /// Close periods: what was used, by whom, and what it costs.
    #[command(subcommand)]
    Period(PeriodCommand),
    /// Look at charges.
    #[command(subcommand)]
    Charge(ChargeCommand),
    /// Look at settlements: who pays whom.
    #[command(subcommand)]
    Settlement(SettlementCommand),
    /// What payees are worth together, for price plans that divide by worth.
    #[command(subcommand)]
    Value(ValueCommand),
    /// Dispute a use, answer, and resolve.
    #[command(subcommand)]
    Dispute(DisputeCommand),
    /// Complaints, incidents and conduct records: open, answer, decide, look.
    #[command(subcommand)]
    Case(CaseCommand),
    /// Write rows of the log for other tools; each names its leaf and `tacit-verify --rows` checks it.
    #[command(
        after_help = "Examples: tacit export focus --format csv --out costs.csv\n          tacit export focus --format parquet --out costs.parquet\n          tacit export focus --from costs.parquet --out costs.jsonl"
    )]
    Export(ExportArgs),
    /// Write the report of a quarter, or of any time, as a page to print with the proofs of what it rests on.
    #[command(
        after_help = "Example: tacit report --from 2026-10-01 --until 2027-01-01 --out q4.html --bundle log.bundle\nWhoever has the bundle makes the same page: tacit-verify log.bundle --trust group.trust --report q4.html"
    )]
    Report(ReportArgs),
    /// Check the transparency log, and show what was wrong with it.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Args)]
pub struct DemoArgs {
    /// Which one.
    #[arg(value_enum, default_value = "statistics")]
    pub what: DemoName,
    /// Leave everything running and print what to try.
    #[arg(long)]
    pub keep: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum DemoName {
    /// Joint statistics of hospitals, and one that is killed while it computes.
    Statistics,
    /// Scores of real models over the features of a bank, a telecom and a shop.
    Scoring,
    /// Customers that a bank and a telecom have in common, found without showing any other.
    Align,
}

#[derive(Args)]
pub struct InitArgs {
    /// UDP address to listen on.
    #[arg(long, default_value = "0.0.0.0:7400")]
    pub listen: String,
    /// Address that parties dial; it stands in invitations.
    #[arg(long)]
    pub public: Option<String>,
    /// Name of the transparency log.
    #[arg(long, default_value = "tacit.local/usage/2026")]
    pub origin: String,
}

#[derive(Args)]
pub struct InviteArgs {
    /// node, operator or regulator.
    #[arg(long)]
    pub role: String,
    /// The party's name: a-z, 0-9, - _ .
    #[arg(long)]
    pub name: String,
    /// Hours until the invitation expires.
    #[arg(long, default_value_t = 24)]
    pub hours: u64,
}

#[derive(Args)]
pub struct JoinArgs {
    /// The invitation: the whole line that begins with tacit1:
    pub invitation: String,
    /// UDP address to listen on (nodes).
    #[arg(long, default_value = "0.0.0.0:7402")]
    pub listen: String,
    /// Address that other nodes dial (nodes).
    #[arg(long, default_value = "")]
    pub public: String,
}

#[derive(Subcommand)]
pub enum CoordinatorCommand {
    /// Serve until interrupted.
    #[command(after_help = DEALER_HELP)]
    Run(CoordinatorRunArgs),
    /// Count a node as gone: the log waits for its cosignature no more, until the node registers again.
    #[command(
        after_help = "Example: tacit --home /srv/tacit coordinator away bank-a\n\nFor a partner that has left, or whose machine \
                            will be down for long. Receipts that wait are published once the witnesses that are left are enough."
    )]
    Away {
        /// The node's name.
        name: String,
    },
}

/// What a dealer can and cannot do, for whoever offers one and for whoever signs it.
const DEALER_HELP: &str = "\
Example: tacit --home /srv/tacit coordinator run --dealer notary --dealer-listen 0.0.0.0:7401 --dealer-public tacit.example:7401

A dealer hands out the randomness that computing on shares takes. It is a node with keys of its own, in the folder `dealer` \
below the coordinator's; once made it is served at every start. It deals for a contract that names it, once everyone has \
signed, this coordinator as the dealer too: tacit --home /srv/tacit/dealer contract sign NAME

A dealer knows every mask. Alone it learns nothing. TOGETHER WITH ANY ONE PARTY THAT COMPUTES IT CAN READ ALL FEATURES AND \
ALL WEIGHTS OF THE JOB. Who does not trust this coordinator with that does not sign the contract.";

#[derive(Args)]
pub struct CoordinatorRunArgs {
    /// Serve a dealer of this name as well; see below what it could read.
    #[arg(long, value_name = "NAME")]
    pub dealer: Option<String>,
    /// UDP address on which the dealer listens, when it is made.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7401", requires = "dealer")]
    pub dealer_listen: String,
    /// Address of the dealer that nodes dial, when it is made.
    #[arg(long, value_name = "ADDRESS", default_value = "", requires = "dealer")]
    pub dealer_public: String,
}

#[derive(Subcommand)]
pub enum ModelCommand {
    /// Import a model file as the next version of a name.
    #[command(
        after_help = "Example: tacit model import credit model.json --format xgboost\nFormats: xgboost, lightgbm, linear, scorecard, onnx, tacit; see docs/MODELS.md"
    )]
    Import(ModelImportArgs),
    /// Divide an ensemble of trees among the owners of its features: one file a party, for score-trees/v1.
    #[command(after_help = DIVIDE_HELP)]
    Divide(ModelDivideArgs),
    /// Models of this party, and what it publishes.
    List,
    /// Take calls for scores at this node: windows are opened under a contract, one after the other.
    #[command(after_help = "Example: tacit model publish credit online.toml; see docs/SCORING.md")]
    Publish(PublishArgs),
    /// Take no more calls for a published model.
    Unpublish {
        /// The published name.
        name: String,
    },
    /// Who may call.
    #[command(subcommand)]
    Caller(CallerCommand),
    /// Calls that were answered here, and proofs of them.
    #[command(subcommand)]
    Call(CallCommand),
    /// Call a published model.
    #[command(
        after_help = "Example: tacit model score credit C-1001 C-1002 --at 127.0.0.1:7480 --node 4f0c… --key app.key"
    )]
    Score(ScoreArgs),
}

/// What dividing gives, and to whom.
const DIVIDE_HELP: &str = "\
Example: tacit model divide credit model.json --format xgboost --owner bank=amount,duration --owner telecom=employment \
--holder bank --out parts
Formats: xgboost, lightgbm, onnx, tacit

Each party gets DIR/PARTY.tacit and imports it: tacit model import credit telecom.tacit --format tacit

A part shows its party the splits on its own features, with their thresholds, and where the leaves lie. What the leaves are \
worth is in the holder's part alone. Feature names are separated by commas; an owner may be given more than once. See \
docs/MODELS.md and docs/jobs/score-trees-v1.md";

#[derive(Args)]
pub struct ModelDivideArgs {
    /// The model's name: the parts are called so.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What wrote the file.
    #[arg(long, value_name = "FORMAT")]
    pub format: String,
    /// The names of the features in the order of training, where the file has none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub features: Vec<String>,
    /// The categories of a feature in the order of their codes, where the file has the codes alone:
    /// FEATURE=CATEGORY,CATEGORY
    #[arg(long, value_name = "CATEGORIES")]
    pub categories: Vec<String>,
    /// A party and the features that it has rows of: PARTY=FEATURE,FEATURE
    #[arg(long, value_name = "PARTY=FEATURES", required = true)]
    pub owner: Vec<String>,
    /// The party that keeps what the leaves are worth; this party unless it is given.
    #[arg(long, value_name = "PARTY")]
    pub holder: Option<String>,
    /// The folder to make: it is not there yet, or empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct PublishArgs {
    /// The name in the path of calls.
    pub name: String,
    /// A job file with [params.online].
    pub file: PathBuf,
    /// Milliseconds that a call waits for others, so that they go to the owners together.
    #[arg(long, default_value_t = 0)]
    pub batch_ms: u64,
}

#[derive(Args)]
pub struct ScoreArgs {
    /// The published name.
    pub name: String,
    /// The keys.
    #[arg(required = true)]
    pub keys: Vec<String>,
    /// Where the node takes calls.
    #[arg(long, value_name = "HOST:PORT")]
    pub at: String,
    /// The key of that node, as `model caller add` prints it.
    #[arg(long, value_name = "HEX")]
    pub node: String,
    /// The caller's key file.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

#[derive(Subcommand)]
pub enum CallerCommand {
    /// Enrol a caller by its Ed25519 key.
    Add {
        /// What it is called here.
        name: String,
        /// Its public key.
        #[arg(long, value_name = "HEX", conflicts_with = "new")]
        key: Option<String>,
        /// Make a key and write it to this file.
        #[arg(long, value_name = "FILE")]
        new: Option<PathBuf>,
    },
    /// Callers that are enrolled.
    List,
    /// Forget a caller.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand)]
pub enum CallCommand {
    /// The newest calls.
    List,
    /// Write the proof that a call is in the receipt of its window; `tacit-verify --call` checks it.
    Prove {
        /// WINDOW/NUMBER
        call: String,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args)]
pub struct ModelImportArgs {
    /// The model's name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What wrote the file.
    #[arg(long, value_name = "FORMAT")]
    pub format: String,
    /// The names of the features in the order of training, where the file has none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub features: Vec<String>,
    /// The categories of a feature in the order of their codes, where the file has the codes alone:
    /// FEATURE=CATEGORY,CATEGORY
    #[arg(long, value_name = "CATEGORIES")]
    pub categories: Vec<String>,
    /// The declared range of a numeric feature: FEATURE=LEAST..GREATEST
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub range: Vec<String>,
}

#[derive(Subcommand)]
pub enum JobCommand {
    /// Print a job file to begin with.
    #[command(after_help = "Example: tacit job template stats/v1 --contract health-2026 > job.toml")]
    Template {
        /// The kind; without it, the kinds are listed.
        kind: Option<String>,
        /// The contract to use.
        #[arg(long)]
        contract: Option<String>,
    },
    /// Say what a job would reveal and cost, and who would refuse it. Nothing is submitted.
    Plan {
        /// The job file.
        file: PathBuf,
        /// Write the signed job to a file as well, for an owner to test.
        #[arg(long, value_name = "FILE")]
        signed: Option<PathBuf>,
    },
    /// Sign and submit a job.
    Submit {
        /// The job file.
        file: PathBuf,
        /// Follow it to its end and open the result.
        #[arg(long)]
        watch: bool,
    },
    /// Score a list of any length by jobs of a part of it each, one after the other; the same command goes on after any
    /// end.
    #[command(after_help = "Example: tacit job batch job.toml --out scores.jsonl")]
    Batch {
        /// The job file, which names the list of keys.
        file: PathBuf,
        /// The file to write: a line of JSON for each key. What is done stands beside it, in OUT.parts.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Keys of a job, where the contract allows fewer rows than the 1,048,576 of a job.
        #[arg(long, value_name = "KEYS")]
        part: Option<u64>,
    },
    /// Follow a job to its end.
    Watch {
        /// Id or its beginning.
        job: String,
    },
    /// Jobs, newest first.
    List,
    /// One job with its timeline.
    Show {
        /// Id or its beginning.
        job: String,
    },
    /// Cancel a job.
    Cancel {
        /// Id or its beginning.
        job: String,
    },
    /// Verify the receipt and open the result.
    Result {
        /// Id or its beginning.
        job: String,
        /// The list of keys that the job scored: each score is shown with its key.
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum ReceiptCommand {
    /// Receipts in the log.
    List,
    /// One receipt in words.
    Show {
        /// Its place in the log, or a job's id or its beginning.
        receipt: String,
    },
    /// Say in words who used what, for what, under which authority, and what it costs.
    #[command(after_help = "Example: tacit receipt explain 17")]
    Explain {
        /// Its place in the log, or a job's id or its beginning.
        receipt: String,
    },
    /// Evidence that this node keeps against parties that broke a protocol.
    #[command(after_help = "Example: tacit receipt evidence 5c01 --out cheat.evidence")]
    Evidence {
        /// The hash of one piece, or a job's id, or its beginning.
        evidence: Option<String>,
        /// Write that piece to a file.
        #[arg(long, requires = "evidence")]
        out: Option<PathBuf>,
    },
    /// What went over this node's links in a job, as both ends of each have signed it; write one to a file.
    #[command(
        after_help = "Examples: tacit receipt link 5c01\n          tacit receipt link 5c01 --peer bank-b --out bank-b.link\n          tacit-verify log.bundle --trust group.trust --link bank-b.link"
    )]
    Link(LinkArgs),
    /// What the coordinator promised to log and has not, as this node knows it.
    #[command(
        after_help = "Examples: tacit receipt promises\n          tacit receipt promises 5c01 --evidence unkept.bundle\n          tacit receipt promises 5c01 --forgive"
    )]
    Promises(PromisesArgs),
    /// Check such evidence offline beside the receipt that carries its hash.
    #[command(after_help = "Example: tacit receipt convict cheat.evidence log.bundle --trust group.trust")]
    Convict {
        /// A file made by `receipt evidence`.
        evidence: PathBuf,
        /// A bundle made by `receipt export`.
        bundle: PathBuf,
        /// The trust file to verify with.
        #[arg(long)]
        trust: Option<PathBuf>,
    },
    /// What opens the figures that this node's receipts commit to and do not show; seal one to a regulator.
    #[command(
        after_help = "Examples: tacit receipt opening\n          tacit receipt opening 5c01 --figure rows --to authority --out rows.opening\nA figure is told by its commitment, or by its job and what it is; the receipt shows the commitment alone."
    )]
    Opening(OpeningArgs),
    /// Open a figure that was sealed to this party, and check it against the receipt in a bundle, offline.
    #[command(after_help = "Example: tacit receipt open rows.opening log.bundle --trust group.trust")]
    Open(OpenArgs),
    /// Forget what opens a figure of this node's receipts, or every figure of a job, for good. The receipt stays valid.
    #[command(after_help = "Examples: tacit receipt forget 5c01\n          tacit receipt forget 5c01 --figure memory")]
    Forget {
        /// A commitment, or a job's id, or its beginning.
        commitment: String,
        /// That figure of the job alone.
        #[arg(long, value_enum)]
        figure: Option<FigureWord>,
    },
    /// Verify the log as the coordinator shows it, or a bundle.
    Verify {
        /// A bundle made by `receipt export`.
        bundle: Option<PathBuf>,
        /// The trust file to verify with.
        #[arg(long)]
        trust: Option<PathBuf>,
    },
    /// Write the log, or one receipt with its proof, to one file that `tacit-verify` checks offline.
    #[command(
        after_help = "Examples: tacit receipt export --out log.bundle --trust group.trust\n          tacit receipt export 17 --out receipt.bundle\n          tacit receipt export 17 --papers --out case.bundle\n          tacit receipt export 17 --format tlog-proof --out 17.receipt\n          tacit receipt export 17 --format cose --out 17.cose\nOne receipt can be verified in a browser too: see `tacit receipt page`."
    )]
    Export {
        /// One receipt alone: its place in the log, or a job's id or its beginning.
        #[arg(required_if_eq_any = [("format", "tlog-proof"), ("format", "cose")])]
        receipt: Option<String>,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
        /// In which form: a bundle; for one receipt also the statement with its proof in a file beside it, or a statement
        /// that carries a COSE receipt.
        #[arg(long, value_enum, default_value = "bundle")]
        format: ExportFormat,
        /// With one receipt: the papers of the use as well. The job, the contract with its signatures, the parties' cards,
        /// the dataset versions, and what each owner answered: `tacit-verify` then says who used what for what under
        /// which authority.
        #[arg(long, requires = "receipt")]
        papers: bool,
        /// The `tlog-policy` file to write beside it: log, witnesses and quorum, for tools of others.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// The trust file to write beside it, for comparison by another channel.
        #[arg(long)]
        trust: Option<PathBuf>,
    },
    /// Write the page that verifies one receipt in a browser, without network.
    #[command(after_help = "Example: tacit receipt page --out verify.html")]
    Page {
        /// The page to write.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Forms of evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ExportFormat {
    /// Leaves with keys and checkpoint, in one file.
    Bundle,
    /// C2SP `tlog-proof`, with the cosignatures of the witnesses.
    TlogProof,
    /// RFC 9942 COSE Receipt, signed by the log alone.
    Cose,
}

/// Which key of the coordinator's changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogKeyArg {
    /// The log's, which signs checkpoints.
    Log,
    /// The one that signs receipts and whatever else the coordinator says in the log.
    Receipts,
}

#[derive(Subcommand)]
pub enum LogCommand {
    /// Read every tile and leaf and compare them with the signed checkpoint (at the coordinator).
    #[command(after_help = "Example: tacit --home coordinator log fsck")]
    Fsck,
    /// Early warning: rules over the log, each alert with the leaves that it rests on.
    #[command(
        after_help = "Examples: tacit log warn --config warn.toml\n          tacit log warn --bundle log.bundle --trust group.trust --json\nExit status: 0 no alert, 7 warnings alone, 6 an alarm. Rules and thresholds: docs/WARNING.md"
    )]
    Warn(WarnArgs),
    /// Restore a damaged or lost log from the mirrors of nodes (at the coordinator, while it does not run).
    #[command(after_help = "Example: tacit --home coordinator log repair --from bank-a/mirror --from bank-b/mirror")]
    Repair {
        /// A copy of the log, such as the folder `mirror` of a node.
        #[arg(long, value_name = "FOLDER")]
        from: Vec<PathBuf>,
    },
    /// Give the log, or the coordinator's receipts, the next key, signed by the one of now (at the coordinator, while it does not
    /// run).
    #[command(
        after_help = "Examples: tacit --home /srv/tacit log rotate --overlap-hours 168\n          tacit --home /srv/tacit log rotate --key receipts\n\nThe change is a leaf of the log: whoever pinned the old key follows it. Until the overlap is over both keys sign; the old one is removed then."
    )]
    Rotate {
        /// For how long the key of before signs as well, at most 2160 hours.
        #[arg(long, value_name = "HOURS", default_value_t = 168)]
        overlap_hours: u64,
        /// Which key.
        #[arg(long, value_enum, default_value_t = LogKeyArg::Log)]
        key: LogKeyArg,
    },
    /// Look at this node's mirror of the log: how much it holds, and whether every file of it is as it was written.
    #[command(after_help = "Example: tacit --home bank log mirror")]
    Mirror,
    /// Write the two checkpoints of a fork that this node was offered, and what the larger has in the smaller's place, for
    /// `tacit-verify --fork`.
    #[command(
        after_help = "Examples: tacit --home bank log evidence fork/\n          tacit --home bank log evidence fork/ --note shown.checkpoint"
    )]
    Evidence {
        /// The folder to write them to.
        #[arg(value_name = "FOLDER")]
        out: PathBuf,
        /// A checkpoint that somebody was shown, no larger than this node's mirror: compared with that.
        #[arg(long, value_name = "FILE")]
        note: Option<PathBuf>,
    },
}
