//! Money: `price`, `period`, `charge`, `settlement`, `dispute`, `export`. Each reads the whole log, verifies it with the
//! keys that this party knows, and shows what the ledger of a verifier shows.

pub mod args;
mod dispute;
mod export;
mod period;
mod price;
mod value;
pub mod when;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tacit_crypto::{Body, Statement, sha256};
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_node::Client;
use tacit_receipts::money::amount::decimal;
use tacit_receipts::{Cases, Ledger, Report, Scope, Trust, TrustSource, Verifier};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, NodeId, StatementId};

use super::fetch::Fetched;
use super::receipt;
use crate::cli::Cli;
use crate::home::{Party, unexpected};
use crate::output::Out;
use crate::progress::Progress;

pub use args::{
    ChargeCommand, DisputeCommand, ExportArgs, PeriodCommand, PriceCommand, SettlementCommand, ValueCommand,
};
pub use price::{cautions, plan_of_file};
pub use when::parse as parse_time;

/// How long a statement is handed in again while the log waits for witnesses.
const SAY_WAIT: Duration = Duration::from_secs(60);
/// Bytes of a document of evidence.
const EVIDENCE_BYTES_MAX: u64 = 1 << 30;

/// A log, verified, and what it says about money.
pub struct Books {
    /// The checkpoint that covers the leaves.
    pub checkpoint: Vec<u8>,
    /// Every leaf.
    pub leaves: Vec<Vec<u8>>,
    /// What they come to.
    pub ledger: Ledger,
    /// The cases in it.
    pub cases: Cases,
    /// The keys it was verified with.
    pub trust: Trust,
}

impl Books {
    /// Fetches and verifies the log. What is wrong with it is said on standard error, and counts as a verifier counts it.
    pub async fn open(party: &Party, client: &Client, out: &Out) -> Result<Self, Fault> {
        let (log, trust) = (Fetched::all(client, out).await?, receipt::trust(party, client).await?);
        let (report, ledger, cases) = verify(out, &trust, &log)?;
        for finding in &report.faults {
            eprintln!("! {}", crate::output::plain(&finding.sentence(out.lang())));
        }
        Ok(Self { checkpoint: log.checkpoint, leaves: log.leaves, ledger, cases, trust })
    }

    /// The name of a key.
    pub fn name(&self, key: &NodeId) -> String {
        let party = self.trust.parties.iter().find(|p| p.key == *key);
        party.map_or_else(|| key.short(), |p| p.name.to_string())
    }

    /// The names by key.
    pub fn names(&self) -> BTreeMap<NodeId, String> {
        self.trust.parties.iter().map(|p| (p.key, p.name.to_string())).collect()
    }
}

fn verify(out: &Out, trust: &Trust, log: &Fetched) -> Result<(Report, Ledger, Cases), Fault> {
    let beside = |id: &StatementId| log.beside.get(id).cloned();
    let mut verifier = Verifier::new(trust, TrustSource::Pinned, Scope::WholeLog, &beside)?;
    let progress = Progress::new(out.json(), out.say("verifying the log", "正在验证日志"));
    for (read, leaf) in (1..).zip(&log.leaves) {
        verifier.leaf(leaf);
        progress.at(read, log.leaves.len() as u64);
    }
    Ok(verifier.finish_books(&log.checkpoint, [], []))
}

/// Signs a statement as this party and has it put into the log; gives its leaf.
pub(super) async fn say<T: Body>(party: &Party, client: &Client, out: &Out, body: T) -> Result<u64, Fault> {
    let statement = Statement::sign(&party.keys.node, "money", tacit_node::now(), None, body);
    let request = ToCoordinator::Say(Blob(statement.bytes().to_vec()));
    let progress = Progress::new(out.json(), out.say("waiting for the log's witnesses", "正在等待日志见证方"));
    let begun = Instant::now();
    loop {
        match client.ask(&request).await {
            Ok(FromCoordinator::Said(leaf)) => {
                drop(progress);
                return Ok(leaf);
            }
            Ok(_) => return Err(unexpected()),
            Err(fault) if fault.code == Code::ReceiptPending && begun.elapsed() < SAY_WAIT => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// The hashes of documents, which stay where they are.
pub(super) fn evidence(files: &[PathBuf]) -> Result<Vec<Hash>, Fault> {
    let hash = |path: &PathBuf| -> Result<Hash, Fault> {
        let failed = |e: std::io::Error| Fault::new(Code::IoFailed, format!("{}: {e}", path.display()));
        if std::fs::metadata(path).map_err(failed)?.len() > EVIDENCE_BYTES_MAX {
            return Err(Fault::new(Code::ArgsInvalid, format!("{}: over {EVIDENCE_BYTES_MAX} bytes", path.display())));
        }
        Ok(sha256(&std::fs::read(path).map_err(failed)?))
    };
    files.iter().map(hash).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    receipt::write(path, bytes)
}

/// An amount with its currency.
fn money(fen: i64, currency: &str) -> String {
    format!("{} {currency}", decimal(fen))
}

/// Fen as a number that every reader of JSON keeps exactly.
fn signed(fen: u64) -> i64 {
    i64::try_from(fen).unwrap_or(i64::MAX)
}

/// Runs a command of a party with its books.
macro_rules! with_books {
    ($cli:expr, $out:expr, |$party:ident, $client:ident, $books:ident| $body:expr) => {{
        let $party = Party::open($cli).await?;
        let $client = $party.connect().await?;
        let done = async {
            let $books = Books::open(&$party, &$client, $out).await?;
            $body
        }
        .await;
        $client.close().await;
        $party.store.close().await;
        done
    }};
}

/// Runs a `price` command.
pub async fn price(cli: &Cli, out: &Out, command: &PriceCommand) -> Result<(), Fault> {
    with_books!(cli, out, |party, client, books| price::run(&party, &client, &books, out, command).await)
}

/// Runs a `period` command.
pub async fn period(cli: &Cli, out: &Out, command: &PeriodCommand) -> Result<(), Fault> {
    if let PeriodCommand::Close { until } = command
        && period::at_coordinator(cli)
    {
        return period::close(cli, out, when::parse(until)?).await;
    }
    with_books!(cli, out, |party, client, books| period::run(&party, &client, &books, out, command).await)
}

/// Runs a `charge` command.
pub async fn charge(cli: &Cli, out: &Out, command: &ChargeCommand) -> Result<(), Fault> {
    let ChargeCommand::List { period } = command;
    with_books!(cli, out, |party, client, books| period::charges(&books, out, *period))
}

/// Runs a `settlement` command.
pub async fn settlement(cli: &Cli, out: &Out, command: &SettlementCommand) -> Result<(), Fault> {
    with_books!(cli, out, |party, client, books| period::settlements(&books, out, command))
}

/// Runs a `value` command.
pub async fn value(cli: &Cli, out: &Out, command: &ValueCommand) -> Result<(), Fault> {
    with_books!(cli, out, |party, client, books| value::run(&party, &client, &books, out, command).await)
}

/// Runs a `dispute` command.
pub async fn dispute(cli: &Cli, out: &Out, command: &DisputeCommand) -> Result<(), Fault> {
    with_books!(cli, out, |party, client, books| dispute::run(&party, &client, &books, out, command).await)
}

/// Writes rows for other tools.
pub async fn export(cli: &Cli, out: &Out, args: &ExportArgs) -> Result<(), Fault> {
    if let Some(file) = &args.from {
        return export::again(out, args, file);
    }
    with_books!(cli, out, |party, client, books| export::run(&books, out, args))
}
