//! The usage record of an attempt: put together by the coordinator from the parties' reports, and
//! checked line by line by each party against what it metered itself.

use tacit_crypto::{Statement, cbor, sha256};
use tacit_governance::{JobSpec, ProviderRef};
use tacit_jobs::session::Given;
use tacit_protocol::Blame;
use tacit_receipts::record::{
    Audience, Disclosure, PartyEntry, PrivacyCharge, Quantity, RECORD_VERSION, RECORD_VERSION_DISPUTED,
    RECORD_VERSION_FIRST, RECORD_VERSION_LINKED, Role, Sighting, Standing, Status, UsageLine, cardinality_bucket,
};
use tacit_receipts::{KeyHistory, UsageRecord, Window};
use tacit_types::{Attempt, Code, DatasetVersionId, Fault, Hash, Name, NodeId, Seat, Step, Unit, UnixMillis};

use crate::control::{Finished, Linked, Package};
use crate::evidence::{self, Held, Saw};

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
    /// What it reported of its links.
    pub links: Option<Linked>,
}

/// What the coordinator knows of an attempt that has ended.
pub struct Ended<'a> {
    /// The job.
    pub job: &'a Statement<JobSpec>,
    /// The log's origin.
    pub origin: &'a str,
    /// The last attempt that ran, 0 when none did.
    pub attempt: Attempt,
    /// How.
    pub status: Status,
    /// Parties in any order.
    pub parties: Vec<Part>,
    /// When it began and ended.
    pub span: (UnixMillis, UnixMillis),
    /// What convicts parties of that attempt, in the order of seats and offences.
    pub evidence: &'a [Blame],
}

/// What a window was used for, as a party reports it; `None` for jobs that open none.
pub fn window(spec: &JobSpec, finished: &Finished) -> Option<Window> {
    match (spec.asker, finished) {
        (Some(_), Finished::Ok { package: Some(Package::Inline(bytes)), .. }) => Window::parse(bytes).ok(),
        _ => None,
    }
}

/// What a party has opened, in all. Of a window that is what its summary says: where the recipient was lost, a seat may
/// have opened more than all of them agree on.
fn opened(spec: &JobSpec, finished: &Finished) -> Vec<(String, u64)> {
    match (window(spec, finished), finished) {
        (Some(window), _) => (window.cells > 0).then(|| ("result".to_owned(), window.cells)).into_iter().collect(),
        (None, Finished::Ok { opened, .. }) => opened.clone(),
        (None, Finished::Failed { .. }) => Vec::new(),
    }
}

/// The job's plan; nothing where there is none here.
pub(crate) fn plan(spec: &JobSpec) -> Option<Box<dyn tacit_jobs::Plan>> {
    tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec))).ok()
}

/// What the job's plan lists as openings; nothing where there is no such plan here.
fn listed(spec: &JobSpec) -> Vec<tacit_protocol::Disclosure> {
    plan(spec).map(|plan| plan.disclosures()).unwrap_or_default()
}

/// To whom the plan opens something. What a window opens is its recipient's, who signs the job.
fn audience(job: &Statement<JobSpec>, listed: &[tacit_protocol::Disclosure], what: &str) -> Audience {
    match listed.iter().find(|d| d.what == what).map(|d| d.to) {
        Some(tacit_protocol::Audience::Nodes) => Audience::Seats,
        Some(tacit_protocol::Audience::Recipient) | None => Audience::Party(job.signer()),
    }
}

/// Checks that each opening of a record is one that the job's plan lists, to the audience that it has there, and no larger.
fn check_disclosures(record: &UsageRecord, own: &Own<'_>) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let (spec, listed) = (own.job.body(), listed(own.job.body()));
    for opened in &record.disclosures {
        let to = audience(own.job, &listed, &opened.what);
        if opened.to != to {
            return wrong(format!("{} to {}, where the job opens it to {to}", opened.what, opened.to));
        }
        let most = listed.iter().find(|d| d.what == opened.what).map(|d| cardinality_bucket(d.cells_max));
        if spec.asker.is_none() && most.is_none_or(|most| opened.cardinality > most) {
            return wrong(format!("{} numbers of {}, which the job does not list", opened.cardinality, opened.what));
        }
    }
    Ok(())
}

/// What the job costs each dataset in privacy, from its first attempt on and whatever became of that: each owner's node has
/// charged it when it admitted the job.
fn privacy(spec: &JobSpec, attempt: Attempt) -> Vec<PrivacyCharge> {
    let plan = plan(spec);
    let cost = |provider: &ProviderRef| plan.as_ref().and_then(|plan| plan.facts(&provider.owner).privacy);
    let charge = |provider: &ProviderRef| {
        let cost = cost(provider)?;
        let (mechanism, dataset) = (Name::new(tacit_jobs::stats::private::MECHANISM).ok()?, provider.dataset);
        let (epsilon_micro, delta_femto) = (cost.epsilon_micro, cost.delta_femto);
        Some(PrivacyCharge { dataset, mechanism, epsilon_micro, delta_femto })
    };
    if attempt.0 > 0 { spec.providers.iter().filter_map(charge).collect() } else { Vec::new() }
}

/// The role of a party: who asks brings nothing and receives, who deals brings nothing and computes.
fn role(spec: &JobSpec, root: &NodeId) -> Role {
    match root {
        root if spec.asker == Some(*root) => Role::Result,
        root if spec.dealer == Some(*root) => Role::Compute,
        _ => Role::Input,
    }
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
        role: role(spec, &p.root),
        dataset: spec.provider(&p.root).map(|d| d.dataset),
        rights: None,
        name: p.name.clone(),
        standing: p.standing,
    });
    let took_part = |p: &Part| p.standing == Standing::TookPart;
    let of = |i: usize| ended.parties.get(i).filter(|p| ok && took_part(p));
    let reports = |i: usize| of(i).and_then(|p| p.finished.as_ref());
    let mut lines = Vec::new();
    let mut result = None;
    let mut disclosures = Vec::new();
    let listed = listed(spec);
    let mut transcripts = Vec::new();
    let mut line = |unit: Unit, party: usize, quantity: u64| {
        lines.push(UsageLine {
            unit,
            party: Seat(party as u16),
            quantity: Quantity::Plain(quantity),
            class: unit.class(),
            observers: Vec::new(),
            differing: Vec::new(),
        });
    };
    // Whose the lines are that stand once, as `UsageRecord::speaker` has it.
    let speaker = ended.parties.iter().position(took_part);
    for i in 0..ended.parties.len() {
        let Some(report) = reports(i) else { continue };
        let Finished::Ok { package, cells_in, payload_bytes, cells_out, cells_suppressed, .. } = report else {
            continue;
        };
        if ended.parties.get(i).is_some_and(|p| role(spec, &p.root) == Role::Input) {
            line(Unit::CellIn, i, *cells_in);
            line(Unit::PayloadByte, i, *payload_bytes);
        }
        if let Some(package) = package.as_ref().filter(|_| result.is_none()) {
            result = Some(package.hash());
            disclosures = opened(spec, report)
                .iter()
                .map(|(what, cells)| Disclosure {
                    what: what.clone(),
                    to: audience(ended.job, &listed, what),
                    cardinality: cardinality_bucket(*cells),
                })
                .collect();
        }
        if speaker != Some(i) {
            continue;
        }
        if let Some(window) = window(spec, report) {
            line(Unit::Call, i, window.calls);
            line(Unit::RowAsked, i, window.rows);
            transcripts.push(window.root);
        }
        line(Unit::Job, i, 1);
        line(Unit::Party, i, ended.parties.len() as u64);
        line(Unit::CellOut, i, *cells_out);
        line(Unit::CellSuppressed, i, *cells_suppressed);
    }
    let reported: Vec<(Seat, &Finished)> = (0u16..)
        .zip(&ended.parties)
        .filter(|(_, p)| took_part(p))
        .filter_map(|(seat, p)| Some((Seat(seat), p.finished.as_ref()?)))
        .collect();
    let disputable = disputable(spec);
    lines.iter_mut().filter(|line| disputable(line.unit)).for_each(|line| line.differing = differing(line, &reported));
    let disputed = lines.iter().any(UsageLine::is_disputed);
    let links = links(&ended);
    UsageRecord {
        version: match (links.is_empty(), disputed) {
            (false, _) => RECORD_VERSION_LINKED,
            (true, true) => RECORD_VERSION_DISPUTED,
            (true, false) => RECORD_VERSION,
        },
        origin: ended.origin.to_owned(),
        job: JobSpec::id(ended.job),
        spec: spec_hash(ended.job),
        contracts: spec.contracts.clone(),
        kind: kind_name(&spec.kind),
        status: ended.status,
        parties: entries.collect(),
        lines,
        privacy: privacy(spec, ended.attempt),
        algorithm: None,
        result,
        transcripts,
        started: ended.span.0,
        ended: ended.span.1.max(ended.span.0),
        disclosures,
        attempt: ended.attempt,
        convictions: ended.evidence.iter().filter_map(evidence::conviction).collect(),
        links,
    }
}

mod links;

pub(crate) use links::{attested_root, may_be_links};
use links::{check as check_links, of as links};

/// Whether a number that parties count can stand disputed in the record of this job. Of an alignment what is released can not: it
/// is what the contracts let a receipt show of the matches, and a number beside it would show another. Nor can its lists, of
/// which each party may report its own: each node knows all of them, and attests no line with another number.
fn disputable(spec: &JobSpec) -> impl Fn(Unit) -> bool {
    let align = plan(spec).and_then(|plan| plan.aligns());
    move |unit| match (&align, unit) {
        (Some(facts), Unit::CellIn | Unit::PayloadByte) => facts.lookup.is_some(),
        (align, _) => align.is_none(),
    }
}

/// What a party has counted itself in a unit, where every party counts by itself. The others follow from the record, or from the
/// summary that is its result.
fn counted(unit: Unit, finished: &Finished) -> Option<u64> {
    let Finished::Ok { cells_in, payload_bytes, cells_out, cells_suppressed, .. } = finished else { return None };
    match unit {
        Unit::CellIn => Some(*cells_in),
        Unit::PayloadByte => Some(*payload_bytes),
        Unit::CellOut => Some(*cells_out),
        Unit::CellSuppressed => Some(*cells_suppressed),
        Unit::Job | Unit::Party | Unit::Call | Unit::RowAsked => None,
        Unit::RowScanned | Unit::CpuMilli | Unit::MemoryByte => None,
    }
}

/// The counts of those who report another number than a line has. The line's own party is never among them: it states the
/// line's quantity.
fn differing(line: &UsageLine, reported: &[(Seat, &Finished)]) -> Vec<Sighting> {
    let Quantity::Plain(stated) = line.quantity else { return Vec::new() };
    let others = reported.iter().filter(|(seat, _)| *seat != line.party);
    let counts =
        others.filter_map(|(seat, report)| Some(Sighting { seat: *seat, quantity: counted(line.unit, report)? }));
    counts.filter(|count| count.quantity != stated).collect()
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
    /// Its id.
    pub node: NodeId,
    /// The keys that parties have had.
    pub keys: &'a KeyHistory,
    /// Its owner's root key.
    pub root: NodeId,
    /// Its dataset version.
    pub dataset: Option<DatasetVersionId>,
    /// The last attempt that it took part in.
    pub attempt: Attempt,
    /// How that ended here.
    pub finished: Option<&'a Finished>,
    /// What each party has given in it, by seat, where not all have given alike.
    pub each: &'a [Given],
    /// Whether that is the end for which it voted, and it has not heard the verdict.
    pub untold: bool,
    /// Whether its masked input has left it.
    pub input_sent: bool,
    /// Whether it admitted the job.
    pub admitted: bool,
    /// The code of its own signed refusal, if it refused.
    pub refusal: Option<Code>,
    /// When it began its last attempt.
    pub began: Option<UnixMillis>,
    /// The evidence that came with the record.
    pub evidence: &'a [Blame],
    /// What it saw of the others in its last attempt.
    pub saw: &'a Saw,
    /// Its links in the record's attempt.
    pub links: Option<&'a Linked>,
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
    if record.version == RECORD_VERSION_FIRST {
        return wrong(format!("version {}", record.version));
    }
    if record.parties.iter().zip(record.parties.iter().skip(1)).any(|(a, b)| a.party >= b.party) {
        return wrong("parties out of the order of seats".into());
    }
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
    if entry.role != role(spec, &own.root) || entry.dataset != own.dataset {
        return wrong("this party's role or dataset differs".into());
    }
    // What this product does not meter yet stands in no record: nobody could have checked it.
    let window = own.finished.and_then(|finished| window(spec, finished)).filter(|_| record.status == Status::Ok);
    let transcripts: Vec<Hash> = window.iter().map(|w| w.root).collect();
    if record.privacy != privacy(spec, record.attempt) {
        return wrong("it states another privacy cost than the job".into());
    }
    if record.algorithm.is_some() || record.transcripts != transcripts {
        return wrong("it states an algorithm or transcripts that no party has metered".into());
    }
    check_disclosures(record, own)?;
    check_links(record, own)?;
    if record.ended > own.now.plus(tacit_governance::admission::CLOCK_SKEW_MAX_MS) {
        return wrong(format!("it ended at {}, in the future", record.ended));
    }
    check_attempt(record, own)?;
    let same = record.attempt == own.attempt && own.attempt.0 > 0;
    let ended_well = matches!(own.finished, Some(Finished::Ok { .. }));
    evidence::check(
        record,
        &Held {
            keys: own.keys,
            evidence: own.evidence,
            blames: if same { &own.saw.blames } else { &[] },
            transcripts: (same && ended_well).then_some(own.saw.transcripts.as_slice()),
        },
    )?;
    match &record.status {
        Status::Ok => check_ok(record, entry, own, window),
        Status::Aborted { .. } if !own.admitted => wrong("an aborted attempt of a job that was not admitted".into()),
        Status::Aborted { .. } | Status::Refused { .. } => end::check(record, entry, own),
    }
}

/// Checks the number of the attempt as far as this node knows it. One that it did not begin may have run
/// at the others; but none runs after an attempt in which this node's input left it or which went well
/// here, unless the job sums constants, and a refused job has none at all.
fn check_attempt(record: &UsageRecord, own: &Own<'_>) -> Result<(), Fault> {
    let wrong = |what: &str| {
        let what = format!("{what}: it says {}, the last one here was {}", record.attempt, own.attempt);
        Err(Fault::new(Code::ReceiptRecord, what))
    };
    let again = || plan(own.job.body()).is_some_and(|plan| plan.sums_constants());
    let last = own.input_sent || (matches!(own.finished, Some(Finished::Ok { .. })) && !again());
    match &record.status {
        Status::Refused { .. } if own.attempt.0 > 0 => wrong("a refusal of a job that has run here"),
        _ if record.attempt < own.attempt => wrong("an attempt before the last one here"),
        _ if last && record.attempt != own.attempt => wrong("an attempt after the one with this party's input"),
        _ => Ok(()),
    }
}

/// Whether a record ends further ahead of this clock than a clock may be wrong. It may be attested later.
pub fn is_ahead(record: &[u8], now: UnixMillis) -> bool {
    let ahead = |record: UsageRecord| record.ended > now.plus(tacit_governance::admission::CLOCK_SKEW_MAX_MS);
    cbor::decode(record).is_ok_and(ahead)
}

/// Checks that a record's parties are those of the job, each under the key that this node has
/// pinned for it and with its dataset. Otherwise a coordinator could put keys of its own in their places,
/// attest for them, and call the receipt complete. `node_of` gives the pinned node key of a root.
///
/// # Errors
/// `receipt.record`. A party that is not known here is let pass where there is no result.
pub fn check_parties(
    record: &UsageRecord,
    spec: &JobSpec,
    node_of: impl Fn(&NodeId) -> Option<NodeId>,
) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let seated = spec.seated();
    if record.parties.len() != seated.len() {
        let (found, named) = (record.parties.len(), seated.len());
        return wrong(format!("it has {found} parties, the job names {named}"));
    }
    for root in &seated {
        let entry = match node_of(root) {
            Some(node) => record.party(&node),
            None if record.status != Status::Ok => continue,
            None => None,
        };
        match entry {
            Some(entry)
                if entry.dataset == spec.provider(root).map(|p| p.dataset) && entry.role == role(spec, root) => {}
            Some(entry) => return wrong(format!("{} has another dataset or role than in the job", entry.name)),
            None => return wrong(format!("party {} is not in it under its key", root.short())),
        }
    }
    Ok(())
}

fn check_ok(record: &UsageRecord, entry: &PartyEntry, own: &Own<'_>, window: Option<Window>) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
    let Some(finished @ Finished::Ok { package, survivors, .. }) = own.finished else {
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
    let commitment = package.as_ref().map(Package::hash);
    if record.result.is_none() || (commitment.is_some() && record.result != commitment) {
        return wrong("the result's commitment differs".into());
    }
    let disputable = disputable(own.job.body());
    let me = record.parties.iter().position(|p| p.party == own.node).map_or(Seat(u16::MAX), |i| Seat(i as u16));
    for line in &record.lines {
        let listed = own.each.get(line.party.index()).and_then(|given| match line.unit {
            Unit::CellIn => Some(given.cells),
            Unit::PayloadByte => Some(given.bytes),
            _ => None,
        });
        let expected = match line.unit {
            Unit::Job => Some(1),
            Unit::Party => Some(record.parties.len() as u64),
            Unit::Call => window.map(|w| w.calls),
            Unit::RowAsked => window.map(|w| w.rows),
            unit => listed.or(counted(unit, finished)),
        };
        let Some(expected) = expected else { return wrong(format!("a line of {}", line.unit.word())) };
        // Of lists each party reports its own, so that nobody's report stands against another's line.
        let by_itself = listed.is_none() && disputable(line.unit) && counted(line.unit, finished).is_some();
        check_line(line, me, expected, by_itself)?;
    }
    let of = |unit: Unit| record.lines.iter().filter(move |l| l.unit == unit);
    let mut inputs = [Unit::CellIn, Unit::PayloadByte].map(|unit| of(unit).map(|l| l.party).collect::<Vec<Seat>>());
    inputs.iter_mut().for_each(|seats| seats.sort_unstable());
    let brings = |seat: &Seat| record.parties.get(seat.index()).is_some_and(|p| p.role == Role::Input);
    let givers: Vec<Seat> = took_part.into_iter().filter(brings).collect();
    let others = [Unit::Job, Unit::Party, Unit::CellOut, Unit::CellSuppressed];
    let of_calls = [Unit::Call, Unit::RowAsked];
    if inputs.iter().any(|seats| *seats != givers)
        || others.iter().any(|unit| of(*unit).count() != 1)
        || of_calls.iter().any(|unit| of(*unit).count() != usize::from(window.is_some()))
    {
        return wrong("a usage line is missing, stands twice or is another party's".into());
    }
    if record.lines.iter().any(|l| !l.observers.is_empty()) {
        return wrong("a usage line names observers".into());
    }
    // A party that is not the aggregator may have opened less itself; what it opened must be listed.
    let listed = |what: &str, cells: u64| {
        record.disclosures.iter().any(|d| d.what == what && d.cardinality == cardinality_bucket(cells))
    };
    match opened(own.job.body(), finished).iter().find(|(what, cells)| !listed(what, *cells)) {
        Some((what, cells)) => wrong(format!("the opening of {cells} cells of {what} is not listed")),
        None => Ok(()),
    }
}

/// Checks a line against this party's own count: it says that number, or this party's number stands beside it as what it
/// counted. What others are said to have counted they sign themselves.
fn check_line(line: &UsageLine, me: Seat, expected: u64, by_itself: bool) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, format!("{}: {what}", line.unit.word())));
    if line.is_disputed() && !by_itself {
        return wrong("a dispute over what no party counts by itself".into());
    }
    let said = line.differing.iter().find(|count| count.seat == me).map(|count| count.quantity);
    match (line.quantity == Quantity::Plain(expected), said) {
        (true, None) => Ok(()),
        // Whoever's line it is has said the line's number: this party's own is never anything else.
        (false, Some(said)) if said == expected && line.party != me => Ok(()),
        (_, Some(said)) => wrong(format!("this party is said to have counted {said}, counted {expected}")),
        (false, None) => wrong(format!("{:?}, counted {expected}", line.quantity)),
    }
}

/// Cosignatures that a checkpoint needs of `n` witnesses of which fewer than a third may lie:
/// floor((n + f) / 2) + 1 with f = floor((n - 1) / 3), so that two quorums share an honest witness.
pub const fn witness_threshold(n: usize) -> usize {
    let liars = n.saturating_sub(1) / 3;
    (n + liars) / 2 + 1
}

mod end;
mod size;

pub use size::{RECEIPT_BYTES_PER_PARTY, fits, fits_all, is_leaf};

#[cfg(test)]
mod tests;
