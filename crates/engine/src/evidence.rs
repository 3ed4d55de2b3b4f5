//! What shows that a party broke a protocol: from the node that has it into the record that all attest.
//!
//! A node reports the blame of its attempt with its evidence. The coordinator keeps what convicts, puts its hash into the
//! record, and shows the evidence to every party that is to attest; each checks it with its own eyes. Blame without
//! evidence that convicts is one party's word: it stays with that party, and in the hint that it gives.

use serde::{Deserialize, Serialize};
use tacit_crypto::sha256;
use tacit_protocol::{Blame, Offence, Offender, Seating, Usage};
use tacit_receipts::record::{CONVICTIONS_MAX, Conviction};
use tacit_receipts::{Bundle, KeyHistory, KeyRole, Leaf, Trust, UsageRecord, verify_bundle};
use tacit_types::{Code, Fault, Hash, Seat, wire};

/// Bytes of the evidence that travels with one report, and with one request to attest. What is longer stays with its node.
pub const EVIDENCE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one piece of evidence that a node keeps.
pub const EVIDENCE_KEPT_BYTES_MAX: usize = 4 << 20;

/// The bytes of a blame as they are kept, hashed and exported.
pub fn encode(blame: &Blame) -> Vec<u8> {
    wire::encode(blame)
}

/// Reads exported evidence.
///
/// # Errors
/// `receipt.malformed`.
pub fn decode(bytes: &[u8]) -> Result<Blame, Fault> {
    wire::decode_capped(bytes, EVIDENCE_KEPT_BYTES_MAX)
        .map_err(|e| Fault::new(Code::ReceiptMalformed, format!("it is no evidence: {e}")))
}

/// What a record says about a blame; `None` for one of the coordinator, which has no seat.
pub fn conviction(blame: &Blame) -> Option<Conviction> {
    let Offender::Seat(seat) = blame.offender else { return None };
    Some(Conviction { seat, offence: blame.offence.word().to_owned(), evidence: sha256(&encode(blame)) })
}

/// Whether the evidence convicts a seat to anyone who knows the seating. Evidence of a wrong root does so only beside the
/// job's own terms, which whoever blames could make up, so it does not count here.
pub fn convicts(seating: &Seating, blame: &Blame) -> bool {
    blame.offence != Offence::WrongRoot && tacit_jobs::evidence::verify(seating, blame)
}

/// Takes those blames in that convict, one for each seat and offence, in order, as many as a record and a request hold.
pub fn take(kept: &mut Vec<Blame>, seating: &Seating, blames: Vec<Blame>) {
    let mut bytes: usize = kept.iter().map(|blame| encode(blame).len()).sum();
    for blame in blames {
        let Some(new) = conviction(&blame) else { continue };
        let size = encode(&blame).len();
        let place = kept.binary_search_by(|known| place(known).cmp(&(new.seat, new.offence.as_str())));
        let Err(place) = place else { continue };
        if kept.len() >= CONVICTIONS_MAX || bytes.saturating_add(size) > EVIDENCE_BYTES_MAX {
            continue;
        }
        if convicts(seating, &blame) {
            bytes += size;
            kept.insert(place, blame);
        }
    }
}

fn place(blame: &Blame) -> (Seat, &'static str) {
    let seat = match blame.offender {
        Offender::Seat(seat) => seat,
        Offender::Coordinator => Seat(u16::MAX),
    };
    (seat, blame.offence.word())
}

/// What a node saw of the others in one attempt.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Saw {
    /// Blame, survived or not.
    pub blames: Vec<Blame>,
    /// What the attempt's bodies were signed over.
    pub transcripts: Vec<Hash>,
}

impl Saw {
    /// From what the machine has metered, and the abort that stopped it.
    pub fn of(usage: &Usage, abort: Option<&tacit_protocol::Abort>) -> Self {
        let mut blames = usage.blames.clone();
        if let Some(tacit_protocol::Abort::Misbehaved { blame, .. }) = abort {
            blames.retain(|b| place(b) != place(blame) || !b.evidence.is_empty());
            if !blames.iter().any(|b| place(b) == place(blame)) {
                blames.push(blame.clone());
            }
        }
        Self { blames, transcripts: usage.transcripts.clone() }
    }
}

/// The seating of a record's parties: seats are places in the order of node ids. Each signs with the keys that it had while the
/// attempt ran.
pub fn seating(record: &UsageRecord, keys: &KeyHistory) -> Option<Seating> {
    let seating = Seating::new(record.parties.iter().map(|p| p.party).collect())?;
    Some(seating.signing(|id| keys.within(KeyRole::Node, id, (record.started, record.ended))))
}

/// What a node holds against a record's convictions.
pub struct Held<'a> {
    /// The keys that parties have had.
    pub keys: &'a KeyHistory,
    /// The evidence that came with the record.
    pub evidence: &'a [Blame],
    /// What this node reported of the record's attempt.
    pub blames: &'a [Blame],
    /// What it signed over in that attempt. Only who ended it well has seen all of them.
    pub transcripts: Option<&'a [Hash]>,
}

/// Checks that each conviction is shown by evidence that convicts in this very attempt, and that none is left out that this
/// node has shown.
///
/// # Errors
/// `receipt.record`.
pub fn check(record: &UsageRecord, held: &Held<'_>) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let Some(seating) = seating(record, held.keys) else { return wrong("a party stands in it twice".into()) };
    for named in &record.convictions {
        let shown = held.evidence.iter().find(|blame| conviction(blame).as_ref() == Some(named));
        let Some(blame) = shown.filter(|blame| convicts(&seating, blame)) else {
            return wrong(format!("nothing shows the {} of {}", named.offence, named.seat));
        };
        let over = tacit_jobs::evidence::transcript(blame);
        if held.transcripts.is_some_and(|all| over.is_none_or(|over| !all.contains(&over))) {
            return wrong(format!("the evidence of the {} of {} is not of this attempt", named.offence, named.seat));
        }
    }
    let mut own = Vec::new();
    take(&mut own, &seating, travelling(held.blames));
    let listed = |blame: &Blame| record.convictions.iter().any(|c| (c.seat, c.offence.as_str()) == place(blame));
    // Who is convicted otherwise may have left no room.
    let sent: usize = held.evidence.iter().map(|blame| encode(blame).len()).sum();
    let fits = |blame: &Blame| {
        record.convictions.len() < CONVICTIONS_MAX && sent.saturating_add(encode(blame).len()) <= EVIDENCE_BYTES_MAX
    };
    match own.iter().find(|blame| !listed(blame)) {
        Some(blame) if fits(blame) => {
            wrong(format!("it leaves out the {}, which this party has shown", blame.offence.word()))
        }
        _ => Ok(()),
    }
}

/// Puts what convicts before what does not, which would otherwise take its place in a report.
pub fn convicting_first(seating: &Seating, blames: &mut [Blame]) {
    blames.sort_by_cached_key(|blame| !convicts(seating, blame));
}

/// What convicts and is too long, or too much, to travel with a report: no receipt will say it.
pub fn staying<'a>(seating: &Seating, blames: &'a [Blame]) -> Vec<&'a Blame> {
    let travel = travelling(blames);
    blames.iter().filter(|blame| !travel.contains(blame) && convicts(seating, blame)).collect()
}

/// The blames that travel with a report: those with evidence, as many as fit.
pub fn travelling(blames: &[Blame]) -> Vec<Blame> {
    let (mut bytes, mut out) = (0usize, Vec::new());
    for blame in blames.iter().filter(|blame| !blame.evidence.is_empty()) {
        let size = encode(blame).len();
        if out.len() < CONVICTIONS_MAX && bytes.saturating_add(size) <= EVIDENCE_BYTES_MAX {
            bytes += size;
            out.push(blame.clone());
        }
    }
    out
}

/// A conviction that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Convicted {
    /// The leaf of the receipt.
    pub leaf: u64,
    /// Its record.
    pub record: UsageRecord,
    /// What it says.
    pub conviction: Conviction,
}

/// Finds the receipt that carries the hash of exported evidence, in a bundle, and checks both: offline, with keys that the
/// caller brings, or else those of the bundle.
///
/// # Errors
/// `receipt.malformed` or `receipt.bundle` for what cannot be read, `receipt.unknown` when no receipt carries the hash, the
/// fault of the receipt or of the log when the bundle does not hold, `receipt.invalid` when the evidence convicts nobody.
pub fn convict(evidence: &[u8], bundle: &[u8], trust: Option<&Trust>) -> Result<Convicted, Fault> {
    let (hash, blame) = (sha256(evidence), decode(evidence)?);
    let report = verify_bundle(bundle, trust)?;
    let bundle = Bundle::parse(bundle)?;
    let keys = bundle.history(trust);
    let whole = (0u64..).zip(bundle.leaves.iter().map(|leaf| leaf.as_slice()));
    let single = bundle.proven.iter().map(|proven| (proven.index, proven.leaf.as_slice()));
    for (leaf, bytes) in whole.chain(single) {
        let Ok(Leaf::Receipt(receipt)) = Leaf::read(bytes) else { continue };
        let record = receipt.into_body().record;
        let Some(named) = record.convictions.iter().find(|c| c.evidence == hash).cloned() else { continue };
        if let Some(fault) = report.faults.iter().find(|f| f.leaf.is_none_or(|at| at == leaf)) {
            return Err(Fault::new(fault.code, fault.what.clone()));
        }
        let shown = conviction(&blame).as_ref() == Some(&named)
            && seating(&record, &keys).is_some_and(|seating| convicts(&seating, &blame));
        return match shown {
            true => Ok(Convicted { leaf, record, conviction: named }),
            false => Err(Fault::new(Code::ReceiptInvalid, format!("leaf {leaf}: the evidence convicts nobody"))),
        };
    }
    Err(Fault::new(Code::ReceiptUnknown, format!("no receipt of the bundle carries the evidence {hash}")))
}
