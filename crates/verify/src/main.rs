//! `tacit-verify`: checks receipts and their log offline, from files alone.
//!
//! It opens no socket and writes no file. It trusts the keys of the trust file that it is given and
//! nothing else; without one it says so before anything else.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)
)]

mod files;
mod page;
mod progress;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tacit_receipts::budget;
use tacit_receipts::bundle::{BUNDLE_BYTES_MAX, TRUST_BYTES_MAX};
use tacit_receipts::call::CALL_PROOF_BYTES_MAX;
use tacit_receipts::cose::{self, Receipted, TRANSPARENT_BYTES_MAX};
use tacit_receipts::fork::{PREFIX_BYTES_MAX, Prefix, prove_fork};
use tacit_receipts::link::{self, LINK_PROOF_BYTES_MAX, LinkProof, ShownLink};
use tacit_receipts::merkle::{leaf_hash, verify_inclusion};
use tacit_receipts::money::export::Context;
use tacit_receipts::money::lines::{self, Checked};
use tacit_receipts::note::NOTE_BYTES_MAX;
use tacit_receipts::policy::{POLICY_BYTES_MAX, Policy};
use tacit_receipts::proof::PROOF_BYTES_MAX;
use tacit_receipts::shard::prove_two_successors;
use tacit_receipts::{
    Bundle, CallProof, Checkpoint, Leaf, LogChain, LogKey, LogProof, Money, Report, ShardChange, TileRead, Trust,
    VerifierKey, printed, request_hash, verify_bundle_watched, verify_logs_watched, verify_single,
};
use tacit_types::{Code, Fault, Hash, Lang, NodeId};

use progress::Progress;

/// Verifies the receipts of a Tacit log offline.
#[derive(Parser, Debug)]
#[command(
    name = "tacit-verify",
    version,
    about,
    after_help = "Examples:\n  \
        tacit-verify evidence.bundle --trust group.trust\n  \
        tacit-verify --dir mirror/ --trust group.trust --json\n  \
        tacit-verify --dir 2027/ --after 2026/ --trust group.trust\n  \
        tacit-verify --fork one.change other.change --trust group.trust\n  \
        tacit-verify --fork one.checkpoint other.checkpoint --trust group.trust\n  \
        tacit-verify --fork smaller.checkpoint larger.checkpoint prefix --trust group.trust\n  \
        tacit-verify evidence.bundle --trust group.trust --call call.proof --key C-1001\n  \
        tacit-verify evidence.bundle --trust group.trust --link bank-b.link\n  \
        tacit-verify evidence.bundle --trust group.trust --rows costs.csv\n  \
        tacit-verify evidence.bundle --trust group.trust --report q4.html\n  \
        tacit-verify --receipt 17.receipt --proof 17.receipt.tlog-proof --trust group.trust\n  \
        tacit-verify --receipt 17.receipt --proof 17.receipt.tlog-proof --policy group.policy\n  \
        tacit-verify --receipt 17.cose --trust group.trust\n\n\
        Exit status: 0 everything is valid (with --fork: the fork is proven), 1 a file cannot be read, 2 wrong arguments, 6 something is not valid.\n\
        Limit: a job that all of its parties hide together is in no log, and no verification can find it."
)]
struct Args {
    /// An evidence bundle: a whole log or single receipts, in one file.
    #[arg(value_name = "BUNDLE", required_unless_present_any = ["dir", "fork", "receipt"])]
    bundle: Option<PathBuf>,

    /// A log as files: `checkpoint`, `tile/...`, and `attestation/...` beside them.
    #[arg(long, value_name = "TILES_DIR", conflicts_with = "bundle")]
    dir: Option<PathBuf>,

    /// With --dir, a log that it continues: both are checked as one history. Once for each, the oldest first; the trust file is
    /// for the oldest.
    #[arg(long, value_name = "TILES_DIR", requires = "dir")]
    after: Vec<PathBuf>,

    /// Two changes of the log, each as the leaf that it is: shows that the log has two successors. Or two checkpoint notes of one size; or of two, and what the larger has in the smaller's place: shows that the log has two
    /// histories. Needs --trust.
    #[arg(long, num_args = 2..=3, value_names = ["NOTE", "NOTE", "PREFIX"], requires = "trust", conflicts_with_all = ["bundle", "dir"])]
    fork: Option<Vec<PathBuf>>,

    /// One receipt: with --proof the receipt alone, else a statement that carries its COSE receipts. Needs --trust or --policy.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "dir", "fork"])]
    receipt: Option<PathBuf>,

    /// With --receipt, its proof as a `tlog-proof` file.
    #[arg(long, value_name = "FILE", requires = "receipt")]
    proof: Option<PathBuf>,

    /// With --proof, a `tlog-policy` file instead of a trust file: shows that the receipt is in a witnessed log, not who
    /// its parties are.
    #[arg(long, value_name = "FILE", requires = "proof", conflicts_with = "trust")]
    policy: Option<PathBuf>,

    /// The keys to trust, from a channel other than the evidence. Without it the evidence's own keys
    /// are used, which shows that it holds together but not who signed it.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,

    /// The proof of one call of an online window: shows that the window's receipt in the bundle counts it.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    call: Option<PathBuf>,

    /// With --call, the keys that it asked for, each with its own --key, in their order.
    #[arg(long, value_name = "KEY", requires = "call")]
    key: Vec<String>,

    /// A link that `tacit receipt link` wrote: shows what both of its ends have signed, and that the party's attestation in
    /// the bundle is over it.
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with_all = ["call", "rows", "report", "budget"])]
    link: Option<PathBuf>,

    /// Rows that `tacit export` wrote: shows that each is one that a leaf of the bundle gives.
    #[arg(long, value_name = "FILE", requires = "bundle", conflicts_with = "call")]
    rows: Option<PathBuf>,

    /// A report that `tacit report` wrote: shows that the bundle gives it, to the byte. Needs --trust.
    #[arg(long, value_name = "FILE", requires_all = ["bundle", "trust"], conflicts_with_all = ["call", "rows"])]
    report: Option<PathBuf>,

    /// What a dataset version may have cost in privacy by its contract, as DATASET=EPSILON: finds the receipts that go past
    /// it, in a bundle or a whole log. Once for each version.
    #[arg(long, value_name = "DATASET=EPSILON", conflicts_with_all = ["call", "rows", "report", "fork", "receipt"])]
    budget: Vec<String>,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,

    /// The language of sentences.
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    En,
    Zh,
}

impl From<Language> for Lang {
    fn from(language: Language) -> Self {
        match language {
            Language::En => Lang::En,
            Language::Zh => Lang::Zh,
        }
    }
}

fn trust(args: &Args) -> Result<Option<Trust>, Fault> {
    let Some(path) = &args.trust else { return Ok(None) };
    Trust::parse(&files::read(path, TRUST_BYTES_MAX)?).map(Some)
}

/// What shows two histories.
enum Forked {
    /// Two heads.
    Heads([Checkpoint; 2]),
    /// Two logs that are to follow one.
    Successors([ShardChange; 2]),
}

fn fork(args: &Args, notes: &[PathBuf]) -> Result<Forked, Fault> {
    let (Some(trust), [one, other, between @ ..]) = (trust(args)?, notes) else {
        return Err(Fault::new(Code::ArgsInvalid, "two checkpoints and --trust are needed"));
    };
    let (one, other) = (files::read(one, NOTE_BYTES_MAX)?, files::read(other, NOTE_BYTES_MAX)?);
    let change = |bytes: &[u8]| matches!(Leaf::read(bytes), Ok(Leaf::ShardChange(_)));
    if change(&one) && change(&other) {
        return prove_two_successors(&one, &other, &trust.origin, &trust.chain()?).map(Forked::Successors);
    }
    let read = |path: &PathBuf| files::read(path, PREFIX_BYTES_MAX).and_then(|bytes| Prefix::parse(&bytes));
    let between = between.first().map(read).transpose()?;
    prove_fork(&one, &other, between.as_ref(), &trust.origin, &trust.chain()?).map(Forked::Heads)
}

fn verify(args: &Args) -> Result<Report, Fault> {
    let trust = trust(args)?;
    let mut progress = Progress::new(args.json, args.lang.into());
    let budgets = args.budget.iter().map(|text| budget::parse(text)).collect::<Result<_, _>>()?;
    match (&args.bundle, &args.dir) {
        (_, Some(dir)) => {
            let mut costs = budget::Costs::new(&budgets);
            let watch = &mut |done, size, leaf: &[u8]| {
                progress.at(done, size);
                if !budgets.is_empty() {
                    costs.leaf(done.saturating_sub(1), leaf);
                }
            };
            let logs =
                args.after.iter().chain([dir]).map(|dir| files::Dir::open(dir)).collect::<Result<Vec<_>, _>>()?;
            let logs: Vec<&dyn TileRead> = logs.iter().map(|dir| dir as &dyn TileRead).collect();
            let mut report = verify_logs_watched(&logs, trust.as_ref(), watch)?;
            costs.close(&mut report);
            Ok(report)
        }
        (Some(bundle), None) => {
            let bytes = files::read(bundle, BUNDLE_BYTES_MAX)?;
            let mut report = verify_bundle_watched(&bytes, trust.as_ref(), &mut |done, size| progress.at(done, size))?;
            if !budgets.is_empty() {
                let bundle = Bundle::parse(&bytes)?;
                let whole = (0u64..).zip(bundle.leaves.iter().map(|leaf| leaf.as_slice()));
                let leaves = whole.chain(bundle.proven.iter().map(|p| (p.index, p.leaf.as_slice())));
                budget::check(&mut report, leaves, &budgets);
            }
            Ok(report)
        }
        (None, None) => Err(Fault::new(Code::ArgsInvalid, "a bundle or --dir is needed")),
    }
}

/// Checks one call against the receipt of its window, in a bundle that is valid as a whole. Gives the receipt's place.
fn call(args: &Args, file: &Path) -> Result<(CallProof, u64), Fault> {
    let proof = CallProof::parse(&files::read(file, CALL_PROOF_BYTES_MAX)?)?;
    if !args.key.is_empty() {
        let keys: Vec<&[u8]> = args.key.iter().map(|k| k.as_bytes()).collect();
        if proof.call.request != request_hash(&keys) || proof.call.keys as usize != keys.len() {
            return Err(Fault::new(Code::ReceiptInvalid, "the call asked for other keys"));
        }
    }
    let Some(bundle) = &args.bundle else { return Err(Fault::new(Code::ArgsInvalid, "a bundle is needed")) };
    let bundle = Bundle::parse(&files::read(bundle, BUNDLE_BYTES_MAX)?)?;
    let whole = (0u64..).zip(bundle.leaves.iter().map(|leaf| leaf.as_slice()));
    let proven = bundle.proven.iter().map(|p| (p.index, p.leaf.as_slice()));
    for (index, leaf) in whole.chain(proven) {
        if let Ok(Leaf::Receipt(receipt)) = Leaf::read(leaf)
            && receipt.body().record.job == proof.job
        {
            proof.verify(&receipt.body().record)?;
            return Ok((proof, index));
        }
    }
    Err(Fault::new(Code::ReceiptUnknown, format!("the receipt of window {} is not in the bundle", proof.job.short())))
}

/// Checks a link against the receipt of its attempt.
fn link(args: &Args, file: &Path) -> Result<(LinkProof, ShownLink), Fault> {
    let proof = LinkProof::parse(&files::read(file, LINK_PROOF_BYTES_MAX)?)?;
    let Some(bundle) = &args.bundle else { return Err(Fault::new(Code::ArgsInvalid, "a bundle is needed")) };
    let shown = link::find(&proof, &files::read(bundle, BUNDLE_BYTES_MAX)?, trust(args)?.as_ref())?;
    Ok((proof, shown))
}

/// Checks a file of rows against the leaves of a bundle that is valid as a whole. Names are those of the trust file.
fn exported(args: &Args, file: &Path) -> Result<Checked, Fault> {
    let Some(bundle) = &args.bundle else { return Err(Fault::new(Code::ArgsInvalid, "a bundle is needed")) };
    let bundle = Bundle::parse(&files::read(bundle, BUNDLE_BYTES_MAX)?)?;
    let own = trust(args)?;
    let none = || Fault::new(Code::ReceiptBundle, "no trust file was given and the bundle has none");
    let trust = own.as_ref().or(bundle.trust.as_ref()).ok_or_else(none)?;
    let whole = (0u64..).zip(bundle.leaves.iter().map(|leaf| leaf.as_slice()));
    let leaves = whole.chain(bundle.proven.iter().map(|p| (p.index, p.leaf.as_slice())));
    let mut plans = BTreeMap::new();
    for (_, leaf) in leaves.clone() {
        if let Ok(Leaf::Money(_, money)) = Leaf::read(leaf)
            && let Money::Plan(plan) = *money
        {
            plans.insert(plan.id(), plan);
        }
    }
    let name = |key: &NodeId| trust.parties.iter().find(|p| p.key == *key).map(|p| p.name.to_string());
    let plan = |hash: &Hash| plans.get(hash).cloned();
    let context = Context { origin: &trust.origin, name: &name, plan: &plan };
    let text = String::from_utf8(files::read(file, BUNDLE_BYTES_MAX)?);
    let text = text.map_err(|_| Fault::new(Code::LogProof, format!("{}: it is no text", file.display())))?;
    lines::check(&text, leaves, &context)
}

/// Makes a report again from the bundle, and compares. What the log has wrong is in the report itself.
fn reported(args: &Args, file: &Path) -> Result<u64, Fault> {
    let (Some(bundle), Some(trust)) = (&args.bundle, trust(args)?) else {
        return Err(Fault::new(Code::ArgsInvalid, "a bundle and --trust are needed"));
    };
    let bundle = Bundle::parse(&files::read(bundle, BUNDLE_BYTES_MAX)?)?;
    let text = String::from_utf8(files::read(file, BUNDLE_BYTES_MAX)?);
    let text = text.map_err(|_| Fault::new(Code::LogProof, format!("{}: it is no text", file.display())))?;
    printed::check(&text, &bundle, &trust)
}

/// What was shown of one receipt.
enum Shown {
    /// With the parties' keys: everything that a single receipt can be checked for.
    Report(Box<Report>),
    /// That it is in the log, and by how many witnesses.
    Included { origin: String, size: u64, index: u64, witnesses: Option<usize> },
}

/// Checks a COSE receipt. Nothing in one says when it was signed, so of the log's keys the newest alone counts.
fn receipted(receipt: &[u8], leaf: &[u8], chain: &LogChain) -> Result<Receipted, Fault> {
    let by = |key: &VerifierKey| cose::verify_receipt(receipt, leaf, key.name(), key);
    by(chain.newest()).map_err(|fault| match chain.keys().find(|held| by(&held.key).is_ok()) {
        Some(LogKey { until: Some(until), key, .. }) => {
            let what = format!("the key {} held until {until}, and a COSE receipt has no time", key.key().short());
            Fault::new(Code::LogKeyRetired, what)
        }
        _ if fault.code == Code::LogSignature => {
            let what = format!("{}; if the log has changed its key, a newer trust file has it", fault.what);
            Fault::new(fault.code, what)
        }
        _ => fault,
    })
}

/// Checks one receipt by its proof.
fn one(args: &Args, file: &Path) -> Result<Shown, Fault> {
    let bytes = files::read(file, TRANSPARENT_BYTES_MAX)?;
    let (trust, proof) = (trust(args)?, args.proof.as_deref());
    let proof = proof.map(|path| files::read(path, PROOF_BYTES_MAX).and_then(|b| LogProof::parse(&b))).transpose()?;
    match (proof, trust, &args.policy) {
        (Some(proof), Some(trust), _) => {
            verify_single(&bytes, &proof, &trust, &|_| None).map(Box::new).map(Shown::Report)
        }
        (Some(proof), None, Some(policy)) => {
            let policy = Policy::parse(&files::read(policy, POLICY_BYTES_MAX)?)?;
            let (signed, _) = policy.open(&proof.note)?;
            let head = signed.checkpoint();
            Leaf::read(&bytes)?;
            verify_inclusion(&leaf_hash(&bytes), proof.index, head.size, &proof.hashes, &head.root)?;
            let (origin, size, index) = (head.origin.clone(), head.size, proof.index);
            Ok(Shown::Included { origin, size, index, witnesses: Some(policy.cosigned(signed.note())) })
        }
        (None, Some(trust), _) => {
            let (leaf, receipts) = cose::detach(&bytes)?;
            let chain = trust.chain()?;
            let read = |receipt: &Vec<u8>| receipted(receipt, &leaf, &chain);
            let all = receipts.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
            Leaf::read(&leaf)?;
            let newest = all.into_iter().max_by_key(|shown| shown.head.size);
            let shown = newest.ok_or_else(|| Fault::new(Code::LogMalformed, "the statement carries no receipt"))?;
            let (origin, size, index) = (shown.head.origin, shown.head.size, shown.index);
            Ok(Shown::Included { origin, size, index, witnesses: None })
        }
        _ => Err(Fault::new(Code::ArgsInvalid, "--trust, or --proof with --policy, is needed")),
    }
}

fn verdict(report: &Report, args: &Args, lang: Lang) -> (String, u8) {
    let text = if args.json { page::json(report, lang) } else { page::text(report, lang) };
    (text, if report.is_valid() { 0 } else { Code::ReceiptInvalid.exit_status() })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let lang = args.lang.into();
    let outcome = match (&args.fork, &args.report, &args.receipt) {
        (_, _, Some(file)) => one(&args, file).map(|shown| match shown {
            Shown::Report(report) => verdict(&report, &args, lang),
            Shown::Included { origin, size, index, witnesses } => {
                (page::included(&origin, (size, index), witnesses, args.json, lang), 0)
            }
        }),
        (None, Some(file), None) => reported(&args, file).map(|proofs| (page::report(proofs, args.json, lang), 0)),
        (Some(notes), _, None) => fork(&args, notes).map(|shown| match shown {
            Forked::Heads(heads) => (page::fork(&heads, args.json, lang), 0),
            Forked::Successors(changes) => (page::successors(&changes, args.json, lang), 0),
        }),
        (None, None, None) if args.link.is_some() => {
            let file = args.link.clone().unwrap_or_default();
            link(&args, &file).map(|(proof, shown)| page::link(&proof, &shown, args.json, lang))
        }
        (None, None, None) => verify(&args).and_then(|report| {
            if let (Some(file), true) = (&args.call, report.is_valid()) {
                return call(&args, file).map(|(proof, leaf)| (page::call(&proof, leaf, args.json, lang), 0));
            }
            if let (Some(file), true) = (&args.rows, report.is_valid()) {
                return exported(&args, file).map(|rows| (page::rows(rows, args.json, lang), 0));
            }
            Ok(verdict(&report, &args, lang))
        }),
    };
    let (text, status) = outcome.unwrap_or_else(|fault| {
        let text = if args.json { page::fault_json(&fault, lang) } else { page::fault(&fault, lang) };
        (text, fault.code.exit_status())
    });
    // A reader that closed its end has not seen the verdict: that is no success.
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(status),
        Err(_) => ExitCode::from(1),
    }
}
