//! The report of a quarter, or of any stretch of time: one page to print, with the proof of every leaf that it rests on.
//!
//! The page follows from a bundle of the whole log, the keys that its reader trusts, and two times, and from nothing else:
//! whoever has these makes the same bytes again ([`check`]). It has no script and loads nothing.

mod page;

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::sha256;
use tacit_types::unit::Class;
use tacit_types::{Code, ContractId, Fault, Hash, NodeId, StatementId, Unit, UnixMillis};

use crate::bundle::{Bundle, Trust};
use crate::cases::{CaseView, Cases};
use crate::leaf::Leaf;
use crate::merkle::{MemTree, inclusion_proof, leaf_hash};
use crate::money::amount::too_large;
use crate::money::{Charge, LeafRef, Ledger, Money, Settlement};
use crate::record::{Quantity, Status, UsageRecord};
use crate::report::{Report, Scope, TrustSource};
use crate::verify::Verifier;

pub use page::PROOF_ROW;

/// Leaves that a report proves; a longer stretch is reported in parts.
pub const PROOFS_MAX: usize = 5_000;

/// What the log has of a stretch of time.
struct Found {
    report: Report,
    ledger: Ledger,
    checkpoint: String,
    /// Receipts by how they ended.
    ended: [u64; 3],
    refusals: BTreeMap<&'static str, u64>,
    /// By contract, party and unit.
    usage: BTreeMap<(ContractId, String, Unit), u64>,
    charges: Vec<(LeafRef, Charge)>,
    settlements: Vec<(LeafRef, Settlement)>,
    disputes: Vec<(LeafRef, UnixMillis)>,
    cases: Vec<CaseView>,
    proofs: Vec<(LeafRef, Vec<Hash>)>,
}

/// Makes the page of the receipts and statements that were issued from a time until another.
///
/// # Errors
/// `receipt.bundle` for single leaves or an unusable trust; `receipt.period` when it ends before it begins;
/// `receipt.too_large` for more than [`PROOFS_MAX`] leaves; `receipt.amount` when a sum overflows.
pub fn report(bundle: &Bundle, trust: &Trust, from: UnixMillis, until: UnixMillis) -> Result<String, Fault> {
    if from >= until {
        return Err(Fault::new(Code::ReceiptPeriod, format!("from {from} until {until}")));
    }
    let found = find(bundle, trust, from, until)?;
    Ok(page::write(trust, &found, from, until))
}

/// Makes a report again, and compares it byte by byte. Gives how many leaves it proves.
///
/// # Errors
/// `log.proof`, naming the first line that differs; what [`report`] gives.
pub fn check(text: &str, bundle: &Bundle, trust: &Trust) -> Result<u64, Fault> {
    let wrong = |what: String| Fault::new(Code::LogProof, what);
    let (from, until) = page::times(text).ok_or_else(|| wrong("it does not begin as a report does".into()))?;
    let ours = report(bundle, trust, from, until)?;
    if ours == text {
        return Ok(ours.matches(page::PROOF_ROW).count() as u64);
    }
    let differs = (1u64..).zip(ours.lines().zip(text.lines())).find(|(_, (a, b))| a != b).map(|(number, _)| number);
    Err(wrong(match differs {
        Some(number) => format!("line {number}: the log does not give this"),
        None => "it is cut off, or something was added to it".into(),
    }))
}

fn find(bundle: &Bundle, trust: &Trust, from: UnixMillis, until: UnixMillis) -> Result<Found, Fault> {
    if bundle.leaves.is_empty() {
        return Err(Fault::new(Code::ReceiptBundle, "single receipts: a report is of a whole log"));
    }
    let beside: BTreeMap<StatementId, &[u8]> =
        bundle.beside.iter().map(|bytes| (StatementId(sha256(bytes).0), bytes.as_slice())).collect();
    let beside = |id: &StatementId| beside.get(id).map(|bytes| bytes.to_vec());
    let mut verifier = Verifier::new(trust, TrustSource::Pinned, Scope::WholeLog, &beside)?;
    bundle.leaves.iter().for_each(|leaf| verifier.leaf(leaf));
    let (report, ledger, cases): (Report, Ledger, Cases) = verifier.finish_books(&bundle.checkpoint, [], []);
    let mut found = Found {
        report,
        ledger,
        checkpoint: String::from_utf8_lossy(&bundle.checkpoint).into_owned(),
        ended: [0; 3],
        refusals: BTreeMap::new(),
        usage: BTreeMap::new(),
        charges: Vec::new(),
        settlements: Vec::new(),
        disputes: Vec::new(),
        cases: cases.iter().filter(|c| (from..until).contains(&c.opened)).cloned().collect(),
        proofs: Vec::new(),
    };
    let faulty: BTreeSet<u64> = found.report.faults.iter().filter_map(|f| f.leaf).collect();
    let (mut tree, mut cited) = (MemTree::default(), Vec::new());
    for (index, bytes) in (0u64..).zip(&bundle.leaves) {
        let at = LeafRef { index, hash: leaf_hash(bytes) };
        tree.push(at.hash);
        let Ok(leaf) = Leaf::read(bytes) else { continue };
        if take(&mut found, at, leaf, (from, until), faulty.contains(&index))? {
            cited.push(at);
        }
    }
    if cited.len() > PROOFS_MAX {
        let what = format!("{} leaves; {PROOFS_MAX} fit: report a shorter time", cited.len());
        return Err(Fault::new(Code::ReceiptTooLarge, what));
    }
    for at in cited {
        found.proofs.push((at, inclusion_proof(&tree, at.index, tree.size())?));
    }
    Ok(found)
}

/// Takes a leaf in; says whether the report rests on it.
fn take(
    found: &mut Found,
    at: LeafRef,
    leaf: Leaf,
    (from, until): (UnixMillis, UnixMillis),
    faulty: bool,
) -> Result<bool, Fault> {
    let within = |issued: UnixMillis| (from..until).contains(&issued);
    match leaf {
        Leaf::Receipt(statement) if within(statement.envelope().issued_at) => {
            let record = &statement.body().record;
            match &record.status {
                Status::Ok => found.ended[0] += 1,
                Status::Aborted { .. } => found.ended[1] += 1,
                Status::Refused { code, .. } => {
                    found.ended[2] += 1;
                    *found.refusals.entry(code.text()).or_default() += 1;
                }
            }
            if record.status == Status::Ok && !faulty {
                used(&mut found.usage, record)?;
                if record.disputed().next().is_some() {
                    found.disputes.push((at, statement.envelope().issued_at));
                }
            }
        }
        Leaf::Money(envelope, money) if within(envelope.issued_at) => match *money {
            Money::Charge(charge) => found.charges.push((at, charge)),
            Money::Settlement(settlement) => found.settlements.push((at, settlement)),
            Money::Dispute(_) => found.disputes.push((at, envelope.issued_at)),
            _ => return Ok(false),
        },
        Leaf::Case(envelope, _) if within(envelope.issued_at) => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// Adds what a receipt counts that could be billed, and on which its observers agree.
fn used(usage: &mut BTreeMap<(ContractId, String, Unit), u64>, record: &UsageRecord) -> Result<(), Fault> {
    for line in record.lines.iter().filter(|l| l.class != Class::C && !l.is_disputed()) {
        let Quantity::Plain(quantity) = line.quantity else { continue };
        let party = record.parties.get(line.party.index()).map(|p| p.name.to_string()).unwrap_or_default();
        for contract in &record.contracts {
            let sum = usage.entry((*contract, party.clone(), line.unit)).or_default();
            *sum = sum.checked_add(quantity).ok_or_else(|| too_large("a sum of usage"))?;
        }
    }
    Ok(())
}

fn name(trust: &Trust, key: &NodeId) -> String {
    trust.parties.iter().find(|p| p.key == *key).map_or_else(|| key.to_string(), |p| p.name.to_string())
}
