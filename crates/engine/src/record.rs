//! The usage record of an attempt: put together by the coordinator from the parties' reports, and
//! checked line by line by each party against what it metered itself.

use tacit_crypto::{Statement, cbor, sha256};
use tacit_governance::JobSpec;
use tacit_receipts::UsageRecord;
use tacit_receipts::record::{
    Disclosure, PartyEntry, Quantity, RECORD_VERSION, Role, Standing, Status, UsageLine, cardinality_bucket,
};
use tacit_types::{Attempt, Code, DatasetVersionId, Fault, Hash, Name, NodeId, Seat, Unit, UnixMillis};

use crate::control::Finished;

/// A party, for the record.
pub struct Part {
    /// Name.
    pub name: Name,
    /// Key that attests.
    pub node: NodeId,
    /// Root key, which the job names.
    pub root: NodeId,
    /// Standing.
    pub standing: Standing,
    /// Its report.
    pub finished: Option<Finished>,
}

/// What the coordinator knows of an attempt that has ended.
pub struct Ended<'a> {
    /// The job.
    pub job: &'a Statement<JobSpec>,
    /// The log's origin.
    pub origin: &'a str,
    /// The attempt, 0 when none began.
    pub attempt: Attempt,
    /// How.
    pub status: Status,
    /// Parties in any order.
    pub parties: Vec<Part>,
    /// When it began and ended.
    pub span: (UnixMillis, UnixMillis),
}

/// The hash of the job's body without its signature.
pub fn spec_hash(job: &Statement<JobSpec>) -> Hash {
    sha256(&cbor::encode(job.body()))
}

/// Puts the record together. Parties stand in the order of their node keys, which is the order of
/// seats.
pub fn assemble(mut ended: Ended<'_>) -> UsageRecord {
    ended.parties.sort_by_key(|p| p.node);
    let spec = ended.job.body();
    let ok = matches!(ended.status, Status::Ok);
    let entries = ended.parties.iter().map(|p| PartyEntry {
        party: p.node,
        role: Role::Input,
        dataset: spec.provider(&p.root).map(|d| d.dataset),
        rights: None,
        name: p.name.clone(),
        standing: p.standing,
    });
    let reports = |i: usize| ended.parties.get(i).and_then(|p| p.finished.as_ref()).filter(|_| ok);
    let mut lines = Vec::new();
    let mut result = None;
    let mut disclosures = Vec::new();
    let mut line = |unit: Unit, party: usize, quantity: u64| {
        lines.push(UsageLine {
            unit,
            party: Seat(party as u16),
            quantity: Quantity::Plain(quantity),
            class: unit.class(),
            observers: Vec::new(),
        });
    };
    for i in 0..ended.parties.len() {
        let Some(Finished::Ok { package, cells_in, cells_out, cells_suppressed, opened, .. }) = reports(i) else {
            continue;
        };
        line(Unit::CellIn, i, *cells_in);
        let Some(package) = package else { continue };
        result = Some(sha256(package));
        line(Unit::Job, i, 1);
        line(Unit::Party, i, ended.parties.len() as u64);
        line(Unit::CellOut, i, *cells_out);
        line(Unit::CellSuppressed, i, *cells_suppressed);
        disclosures = opened
            .iter()
            .map(|(what, cells)| Disclosure {
                what: what.clone(),
                to: ended.job.signer(),
                cardinality: cardinality_bucket(*cells),
            })
            .collect();
    }
    UsageRecord {
        version: RECORD_VERSION,
        origin: ended.origin.to_owned(),
        job: JobSpec::id(ended.job),
        spec: spec_hash(ended.job),
        contracts: spec.contracts.clone(),
        kind: kind_name(&spec.kind),
        status: ended.status,
        parties: entries.collect(),
        lines,
        privacy: Vec::new(),
        algorithm: None,
        result,
        transcripts: Vec::new(),
        started: ended.span.0,
        ended: ended.span.1.max(ended.span.0),
        disclosures,
        attempt: ended.attempt,
    }
}

/// The kind as a name: `stats/v1` becomes `stats.v1`.
pub fn kind_name(kind: &str) -> Name {
    let plain: String = kind
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' { c } else { '.' })
        .take(tacit_types::limits::NAME_LEN_MAX)
        .collect();
    // proof: the constant is a name.
    Name::new(&plain).or_else(|_| Name::new("unknown")).unwrap_or_else(|_| unreachable!("a constant name is a name"))
}

/// What a node knows of its own part.
pub struct Own<'a> {
    /// The job, if its bytes are a job.
    pub job: &'a Statement<JobSpec>,
    /// The log's origin that this node follows.
    pub origin: &'a str,
    /// Its key.
    pub node: NodeId,
    /// Its dataset version.
    pub dataset: Option<DatasetVersionId>,
    /// The last attempt that it took part in.
    pub attempt: Attempt,
    /// How that ended here.
    pub finished: Option<&'a Finished>,
    /// Whether it admitted the job.
    pub admitted: bool,
    /// The time, and how far a record's times may lie from it.
    pub now: UnixMillis,
}

/// Checks a record against what this node knows and metered.
///
/// # Errors
/// `receipt.record` naming the first field that differs. A node does not attest such a record.
pub fn check(record: &UsageRecord, own: &Own<'_>) -> Result<(), Fault> {
    record.check()?;
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let spec = own.job.body();
    if record.origin != own.origin {
        return wrong(format!("it is for the log {}", record.origin));
    }
    if record.job != JobSpec::id(own.job) || record.spec != spec_hash(own.job) {
        return wrong("it is of another job".into());
    }
    if record.contracts != spec.contracts || record.kind != kind_name(&spec.kind) {
        return wrong("contracts or kind differ from the job".into());
    }
    let Some(entry) = record.party(&own.node) else { return wrong("this party is not in it".into()) };
    if entry.role != Role::Input || entry.dataset != own.dataset {
        return wrong("this party's role or dataset differs".into());
    }
    if record.ended > own.now.plus(tacit_governance::admission::CLOCK_SKEW_MAX_MS) {
        return wrong(format!("it ended at {}, in the future", record.ended));
    }
    match &record.status {
        Status::Ok => check_ok(record, entry, own),
        Status::Aborted { .. } if !own.admitted => wrong("an aborted attempt of a job that was not admitted".into()),
        Status::Aborted { .. } | Status::Refused { .. } if record.result.is_some() || !record.lines.is_empty() => {
            wrong("usage in an attempt without result".into())
        }
        Status::Aborted { .. } | Status::Refused { .. } => Ok(()),
    }
}

fn check_ok(record: &UsageRecord, entry: &PartyEntry, own: &Own<'_>) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let Some(Finished::Ok { package, survivors, cells_in, cells_out, cells_suppressed, opened }) = own.finished else {
        return wrong("this party's attempt gave no result".into());
    };
    if record.attempt != own.attempt || entry.standing != Standing::TookPart {
        return wrong("another attempt, or this party is said to have dropped".into());
    }
    let took_part: Vec<Seat> = (0..record.parties.len() as u16)
        .map(Seat)
        .filter(|s| record.parties.get(s.index()).is_some_and(|p| p.standing == Standing::TookPart))
        .collect();
    if took_part != *survivors {
        return wrong("the survivors differ".into());
    }
    let commitment = package.as_ref().map(|p| sha256(p));
    if record.result.is_none() || (commitment.is_some() && record.result != commitment) {
        return wrong("the result's commitment differs".into());
    }
    for line in &record.lines {
        let expected = match line.unit {
            Unit::Job => 1,
            Unit::Party => record.parties.len() as u64,
            Unit::CellIn => *cells_in,
            Unit::CellOut => *cells_out,
            Unit::CellSuppressed => *cells_suppressed,
            Unit::PayloadByte | Unit::RowScanned => return wrong(format!("a line of {}", line.unit.word())),
        };
        if line.quantity != Quantity::Plain(expected) {
            return wrong(format!("{} is {:?}, counted {expected}", line.unit.word(), line.quantity));
        }
    }
    let inputs = record.lines.iter().filter(|l| l.unit == Unit::CellIn).count();
    let others = record.lines.iter().filter(|l| matches!(l.unit, Unit::CellOut | Unit::CellSuppressed)).count();
    if inputs != took_part.len() || others != 2 {
        return wrong("a usage line is missing or stands twice".into());
    }
    // A party that is not the aggregator may have opened less itself; what it opened must be listed.
    let listed = |what: &str, cells: u64| {
        record.disclosures.iter().any(|d| d.what == what && d.cardinality == cardinality_bucket(cells))
    };
    match opened.iter().find(|(what, cells)| !listed(what, *cells)) {
        Some((what, cells)) => wrong(format!("the opening of {cells} cells of {what} is not listed")),
        None => Ok(()),
    }
}

/// Cosignatures that a checkpoint needs of `n` witnesses of which fewer than a third may lie:
/// floor((n + f) / 2) + 1 with f = floor((n - 1) / 3), so that two quorums share an honest witness.
pub const fn witness_threshold(n: usize) -> usize {
    let liars = n.saturating_sub(1) / 3;
    (n + liars) / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quorums_share_an_honest_witness() {
        assert_eq!([1, 3, 4, 7, 10].map(witness_threshold), [1, 2, 3, 5, 7]);
        for n in 1..200 {
            let (k, liars) = (witness_threshold(n), (n - 1) / 3);
            assert!(2 * k > n + liars && k <= n - liars, "{n}");
        }
    }

    #[test]
    fn kinds_become_names() {
        assert_eq!(kind_name("stats/v1").as_str(), "stats.v1");
        assert_eq!(kind_name("").as_str(), "unknown");
    }
}
