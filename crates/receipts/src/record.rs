//! The usage record: one value per job attempt, the same at every party, whose digest all attest.

use std::collections::BTreeSet;

use minicbor::data::Type;
use tacit_crypto::{Body, cbor, sha256};
use tacit_types::limits::SEATS_MAX;
use tacit_types::unit::Class;
use tacit_types::{
    Attempt, Code, ContractId, DatasetVersionId, Fault, Hash, JobId, Name, NodeId, Seat, Step, Unit, UnixMillis,
};

/// The version of a record without a disputed line and without links. This code reads all four.
pub const RECORD_VERSION: u32 = 2;
/// The version of a record with a disputed line and without links: what says the same has the same bytes.
pub const RECORD_VERSION_DISPUTED: u32 = 3;
/// The version of a record with links, and of no other. It may have disputed lines.
pub const RECORD_VERSION_LINKED: u32 = 4;
/// The version before convictions. Logs hold such records; no node attests another.
pub const RECORD_VERSION_FIRST: u32 = 1;
/// Convictions of a record.
pub const CONVICTIONS_MAX: usize = 16;
/// Bytes of the word for an offence.
pub const OFFENCE_BYTES_MAX: usize = 32;
/// Usage lines of a record.
pub const LINES_MAX: usize = 8 * SEATS_MAX;
/// Counts of observers that stand beside the disputed lines of a record, in all.
pub const SIGHTINGS_MAX: usize = 2 * SEATS_MAX;
/// Disclosures, contracts, privacy charges or transcript roots of a record.
pub const LIST_MAX: usize = SEATS_MAX;
/// Units of which a record has one line, of the seat that [`UsageRecord::speaker`] gives.
pub const SINGLE_UNITS: [Unit; 6] =
    [Unit::Job, Unit::Party, Unit::CellOut, Unit::CellSuppressed, Unit::Call, Unit::RowAsked];
/// Parties of a record with links. Of more, their attestations alone have the roots, and the receipt fits a leaf.
pub const LINKED_PARTIES_MAX: usize = 64;
/// Bytes of the text that says what a disclosure reveals.
pub const DISCLOSURE_TEXT_BYTES_MAX: usize = 256;

/// What one attempt at one job used, at every party. CDDL (keys as integers):
///
/// ```cddl
/// UsageRecord = { 1: v, 2: log_origin, 3: job_id, 4: spec_hash, 5: [* contract_hash], 6: kind, 7: status,
///   8: [+ PartyEntry], 9: [* UsageLine], 10: [* PrivacyCharge], ? 11: algorithm_hash, ? 12: result_commitment,
///   13: [* link_transcript_root], 14: t_start, 15: t_end, 16: [* Disclosure], 17: attempt, ? 18: [+ Conviction], ? 19: [+ PartyLinks] }
/// UsageLine = { 1: unit, 2: seat, 3: qty, 4: class, 5: [* observer], ? 6: [+ { 1: seat, 2: qty }] }
/// Conviction = { 1: seat, 2: offence, 3: evidence_hash }
/// PartyLinks = { 1: seat, 2: root, ? 3: [+ seat], ? 4: unsealed }
/// ```
///
/// An optional field that has no value is left out. Seats in lines and in the status are places in
/// [`parties`](Self::parties). The digest that parties attest is [`UsageRecord::digest`].
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct UsageRecord {
    /// [`RECORD_VERSION`], [`RECORD_VERSION_DISPUTED`] or [`RECORD_VERSION_LINKED`].
    #[n(1)]
    pub version: u32,
    /// The origin of the log that this record is for, so that it cannot move to another log.
    #[n(2)]
    pub origin: String,
    /// The job.
    #[n(3)]
    pub job: JobId,
    /// The hash of the job's specification without its signature.
    #[n(4)]
    pub spec: Hash,
    /// The contracts that the job ran under; empty only for a refused job that named none.
    #[n(5)]
    pub contracts: Vec<ContractId>,
    /// The job kind's id.
    #[n(6)]
    pub kind: Name,
    /// How the attempt ended.
    #[n(7)]
    pub status: Status,
    /// Every party of the job in seat order, each once.
    #[n(8)]
    pub parties: Vec<PartyEntry>,
    /// What was metered.
    #[n(9)]
    pub lines: Vec<UsageLine>,
    /// Privacy budget spent.
    #[n(10)]
    pub privacy: Vec<PrivacyCharge>,
    /// The hash of the reviewed algorithm or model, for kinds that have one.
    #[n(11)]
    pub algorithm: Option<Hash>,
    /// The hash of the sealed result; absent when there is none.
    #[n(12)]
    pub result: Option<Hash>,
    /// The root over the calls of an online window; empty for every other job.
    #[n(13)]
    pub transcripts: Vec<Hash>,
    /// When the attempt began, by the coordinator's clock.
    #[n(14)]
    pub started: UnixMillis,
    /// When the attempt ended, by the coordinator's clock.
    #[n(15)]
    pub ended: UnixMillis,
    /// What was revealed to whom.
    #[n(16)]
    pub disclosures: Vec<Disclosure>,
    /// The attempt, from 1; 0 when the job ended before an attempt began.
    #[n(17)]
    pub attempt: Attempt,
    /// Who broke the protocol, as evidence shows that each party that attests has checked, in the order of seats and
    /// offences. Left out when there are none, and in the first version.
    #[n(18)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub convictions: Vec<Conviction>,
    /// The links of the parties that have reported any, ascending by seat. Left out when there are none, and in versions
    /// before [`RECORD_VERSION_LINKED`].
    #[n(19)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub links: Vec<PartyLinks>,
}

/// What a party says of its links in the attempt: the root over them ([`crate::link`]), and on which its ends differ.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PartyLinks {
    /// The party.
    #[n(1)]
    pub seat: Seat,
    /// The root over its links, which its attestation has as well.
    #[n(2)]
    pub root: Hash,
    /// The other ends that have signed something else than it did, ascending. What went over these links is disputed.
    #[n(3)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub differing: Vec<Seat>,
    /// How many of its links have its own seal alone.
    #[n(4)]
    #[cbor(default, skip_if = "is_none_unsealed")]
    pub unsealed: u16,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
fn is_none_unsealed(n: &u16) -> bool {
    *n == 0
}

/// A party that broke the protocol, shown by evidence that convicts it to anyone who knows the parties' keys: signed bodies
/// of its own. The evidence itself stays with the parties; what is blamed without such evidence stands in no record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Conviction {
    /// Its seat.
    #[n(1)]
    pub seat: Seat,
    /// The word of what it did, as in the protocol's documentation.
    #[n(2)]
    pub offence: String,
    /// SHA-256 of the evidence as the parties keep and export it.
    #[n(3)]
    pub evidence: Hash,
}

/// How an attempt ended. Aborted and refused jobs are receipted too, so that an abort does not dodge
/// the meter.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub enum Status {
    /// The result was delivered.
    #[n(0)]
    Ok,
    /// The protocol ended without a result.
    #[n(1)]
    Aborted {
        /// Why.
        #[n(1)]
        code: Code,
        /// At which step, when it had begun.
        #[n(2)]
        step: Option<Step>,
        /// The seat that is named, if one is.
        #[n(3)]
        seat: Option<Seat>,
    },
    /// A party's policy said no.
    #[n(2)]
    Refused {
        /// Why.
        #[n(1)]
        code: Code,
        /// Whose policy. Absent in the first version; no node attests a later one without it.
        #[n(2)]
        seat: Option<Seat>,
    },
}

/// A party of the job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PartyEntry {
    /// The key of the party's node, which signs its attestation. Contracts name the root key; this is the other one.
    #[n(1)]
    pub party: NodeId,
    /// What it does in the job.
    #[n(2)]
    pub role: Role,
    /// The dataset version that it brought, if any.
    #[n(3)]
    pub dataset: Option<DatasetVersionId>,
    /// The hash of the grant that the use rests on, if any.
    #[n(4)]
    pub rights: Option<Hash>,
    /// Its name as the contracts have it. The key decides; the name must fit the verifier's trust.
    #[n(5)]
    pub name: Name,
    /// Whether it took part to the end.
    #[n(6)]
    pub standing: Standing,
}

/// Roles of ISO/IEC 4922. A party of several roles is entered with the first that it has in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Brings data.
    #[n(0)]
    Input,
    /// Computes without data of its own.
    #[n(1)]
    Compute,
    /// Receives the result.
    #[n(2)]
    Result,
}

/// Whether a party took part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub enum Standing {
    /// To the end: its attestation is required.
    #[n(0)]
    TookPart,
    /// It was lost at a step.
    #[n(1)]
    Dropped {
        /// The step.
        #[n(1)]
        step: Step,
    },
    /// It never answered.
    #[n(2)]
    Silent,
}

/// One metered quantity.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct UsageLine {
    /// The unit.
    #[n(1)]
    pub unit: Unit,
    /// Whose usage it is.
    #[n(2)]
    pub party: Seat,
    /// How much.
    #[n(3)]
    pub quantity: Quantity,
    /// How far it can be checked; always [`Unit::class`].
    #[n(4)]
    pub class: Class,
    /// Who observes it; empty means every party that took part.
    #[n(5)]
    pub observers: Vec<Seat>,
    /// The counts of those observers that counted something else, ascending by seat; every other observer counted
    /// [`quantity`](Self::quantity), which is that of the line's own party. With any, the line is disputed: nothing is
    /// billed for it until a ruling. Left out when there are none, and in versions before [`RECORD_VERSION_DISPUTED`].
    #[n(6)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub differing: Vec<Sighting>,
}

/// What an observer counted where the line says something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Sighting {
    /// The observer.
    #[n(1)]
    pub seat: Seat,
    /// Its count.
    #[n(2)]
    pub quantity: u64,
}

impl UsageLine {
    /// Whether its observers counted different numbers.
    pub fn is_disputed(&self) -> bool {
        !self.differing.is_empty()
    }
}

/// A quantity in the open, or a salted commitment to one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantity {
    /// In the open: an unsigned integer.
    Plain(u64),
    /// A 32-byte salted commitment whose opening the parties keep.
    Committed(Hash),
}

/// Privacy budget spent on a dataset.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PrivacyCharge {
    /// The dataset version.
    #[n(1)]
    pub dataset: DatasetVersionId,
    /// The mechanism.
    #[n(2)]
    pub mechanism: Name,
    /// Epsilon in millionths.
    #[n(3)]
    pub epsilon_micro: u64,
    /// Delta in parts of 10^15; 0 where there is none.
    #[n(4)]
    #[cbor(default, skip_if = "is_zero")]
    pub delta_femto: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Something that was revealed.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Disclosure {
    /// What, in the words of the job kind.
    #[n(1)]
    pub what: String,
    /// To whom.
    #[n(2)]
    pub to: Audience,
    /// How many values, rounded by [`cardinality_bucket`].
    #[n(3)]
    pub cardinality: u64,
}

/// To whom something was revealed: `bstr .size 32 / 0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// The holder of a key: the operator who signed the job, whose recipient opens the result.
    Party(NodeId),
    /// Every party of the record that took part, while the job ran. Not in the first version.
    Seats,
}

impl core::fmt::Display for Audience {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Audience::Party(key) => key.fmt(f),
            Audience::Seats => f.write_str("parties"),
        }
    }
}

/// Rounds a count up to a power of two, so that a public receipt tells the order of magnitude alone.
pub fn cardinality_bucket(count: u64) -> u64 {
    if count == 0 { 0 } else { count.checked_next_power_of_two().unwrap_or(u64::MAX) }
}

impl Body for UsageRecord {
    const TYPE: &'static str = "usage-record";
}

impl UsageRecord {
    /// SHA-256 of the record's canonical CBOR, without a label: what every attestation is over.
    pub fn digest(&self) -> Hash {
        sha256(&cbor::encode(self))
    }

    /// The text that statements about this record have as their subject: `job/HEX/ATTEMPT`.
    pub fn subject(&self) -> String {
        format!("job/{}/{}", self.job, self.attempt.0)
    }

    /// The entry of a party.
    pub fn party(&self, key: &NodeId) -> Option<&PartyEntry> {
        self.parties.iter().find(|p| p.party == *key)
    }

    /// Checks that the record does not contradict itself.
    ///
    /// # Errors
    /// `receipt.record`, naming the field.
    pub fn check(&self) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
        if !(RECORD_VERSION_FIRST..=RECORD_VERSION_LINKED).contains(&self.version) {
            let what = format!("{} is not {RECORD_VERSION_FIRST} to {RECORD_VERSION_LINKED}", self.version);
            return wrong(format!("version {what}"));
        }
        if self.parties.is_empty() || self.parties.len() > SEATS_MAX {
            return wrong(format!("{} parties; 1 to {SEATS_MAX} are possible", self.parties.len()));
        }
        let mut keys: Vec<&NodeId> = self.parties.iter().map(|p| &p.party).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.iter().zip(keys.iter().skip(1)).find(|(a, b)| a == b) {
            return wrong(format!("party {} is entered twice", twice.0.short()));
        }
        let lists = [self.contracts.len(), self.privacy.len(), self.transcripts.len(), self.disclosures.len()];
        if lists.iter().any(|n| *n > LIST_MAX) || self.lines.len() > LINES_MAX {
            return wrong("a list is over its limit".into());
        }
        if self.disclosures.iter().any(|d| d.what.len() > DISCLOSURE_TEXT_BYTES_MAX) {
            return wrong(format!("a disclosure's text is over {DISCLOSURE_TEXT_BYTES_MAX} bytes"));
        }
        if self.version == RECORD_VERSION_FIRST && self.disclosures.iter().any(|d| d.to == Audience::Seats) {
            return wrong(format!("an audience that version {RECORD_VERSION_FIRST} does not have"));
        }
        if self.ended < self.started {
            return wrong(format!("it ended at {} before it began at {}", self.ended, self.started));
        }
        self.check_convictions()?;
        self.check_seats()?;
        self.check_single()?;
        self.check_disputed()?;
        self.check_links()
    }

    /// What the record has of a party's links.
    pub fn links_of(&self, key: &NodeId) -> Option<&PartyLinks> {
        let seat = self.parties.iter().position(|party| party.party == *key)?;
        self.links.iter().find(|links| links.seat.index() == seat)
    }

    /// Links whose ends have signed different things, by the word of either: pairs of seats, the lesser first.
    pub fn disputed_links(&self) -> BTreeSet<(Seat, Seat)> {
        let pairs = |links: &PartyLinks| {
            let own = links.seat;
            links.differing.iter().map(move |other| (own.min(*other), own.max(*other))).collect::<Vec<_>>()
        };
        self.links.iter().flat_map(pairs).collect()
    }

    /// Links are of an attempt that ran, each party's once, and name other seats.
    fn check_links(&self) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
        if self.links.is_empty() == (self.version == RECORD_VERSION_LINKED) {
            let what = if self.links.is_empty() { "no links" } else { "links" };
            return wrong(format!("{what} in version {}", self.version));
        }
        if self.links.is_empty() {
            return Ok(());
        }
        if self.parties.len() > LINKED_PARTIES_MAX || self.attempt.0 == 0 {
            return wrong(format!("links of {} parties in {}", self.parties.len(), self.attempt));
        }
        if self.links.iter().zip(self.links.iter().skip(1)).any(|(a, b)| a.seat >= b.seat) {
            return wrong("links out of order, or a party's twice".into());
        }
        let seated = |seat: &Seat| seat.index() < self.parties.len();
        for links in &self.links {
            let PartyLinks { seat, differing, unsealed, .. } = links;
            if !seated(seat) || differing.iter().any(|other| !seated(other) || other == seat) {
                return wrong(format!("links of {seat} with itself, or of a seat that no party has"));
            }
            if differing.iter().zip(differing.iter().skip(1)).any(|(a, b)| a >= b) {
                return wrong(format!("links of {seat}: the other ends are out of order, or one stands twice"));
            }
            if differing.len() + usize::from(*unsealed) >= self.parties.len() {
                return wrong(format!("links of {seat}: more than there are other parties"));
            }
        }
        Ok(())
    }

    /// Whose the lines are that stand once ([`SINGLE_UNITS`]): the first seat's that took part. Every party counts these
    /// numbers, and nobody chooses whose is the line's.
    pub fn speaker(&self) -> Option<Seat> {
        let first = self.parties.iter().position(|party| party.standing == Standing::TookPart)?;
        u16::try_from(first).ok().map(Seat)
    }

    /// What stands once is the number of the seat that the format names, so that nobody chooses whose it is.
    fn check_single(&self) -> Result<(), Fault> {
        if self.status != Status::Ok {
            return Ok(());
        }
        let (speaker, mut found) = (self.speaker(), BTreeSet::new());
        for (i, line) in self.lines.iter().enumerate().filter(|(_, line)| SINGLE_UNITS.contains(&line.unit)) {
            let word = line.unit.word();
            if speaker != Some(line.party) {
                let first = speaker.map_or_else(|| "nobody".to_owned(), |seat| seat.to_string());
                let what = format!("usage line {i}: {word} of {}; the first that took part is {first}", line.party);
                return Err(Fault::new(Code::ReceiptRecord, what));
            }
            if !found.insert(line.unit) {
                return Err(Fault::new(Code::ReceiptRecord, format!("usage line {i}: {word} a second time")));
            }
        }
        Ok(())
    }

    /// The places of the lines on which observers differ.
    pub fn disputed(&self) -> impl Iterator<Item = usize> {
        self.lines.iter().enumerate().filter(|(_, line)| line.is_disputed()).map(|(i, _)| i)
    }

    /// A line that observers dispute is one that they can count, says who counted what, and says nothing twice.
    fn check_disputed(&self) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
        let any = self.disputed().next().is_some();
        let may = self.version >= RECORD_VERSION_DISPUTED;
        if (any && !may) || (!any && self.version == RECORD_VERSION_DISPUTED) {
            let lines = if any { "a disputed line" } else { "no disputed line" };
            return wrong(format!("{lines} in version {}", self.version));
        }
        let sightings: usize = self.lines.iter().map(|line| line.differing.len()).sum();
        if sightings > SIGHTINGS_MAX {
            return wrong(format!("{sightings} counts beside disputed lines; at most {SIGHTINGS_MAX}"));
        }
        for i in self.disputed() {
            let Some(line) = self.lines.get(i) else { continue };
            let (Quantity::Plain(stated), Class::A, Status::Ok) = (line.quantity, line.class, &self.status) else {
                return wrong(format!("usage line {i} is disputed, and no party can have counted it"));
            };
            if line.differing.iter().zip(line.differing.iter().skip(1)).any(|(a, b)| a.seat >= b.seat) {
                return wrong(format!("usage line {i}: the counts are out of order, or one stands twice"));
            }
            let took_part =
                |seat: &Seat| self.parties.get(seat.index()).is_some_and(|p| p.standing == Standing::TookPart);
            let observes = |seat: &Seat| {
                took_part(seat) && *seat != line.party && (line.observers.is_empty() || line.observers.contains(seat))
            };
            if let Some(other) = line.differing.iter().find(|s| !observes(&s.seat)) {
                return wrong(format!("usage line {i}: {} does not observe it", other.seat));
            }
            if let Some(same) = line.differing.iter().find(|s| s.quantity == stated) {
                return wrong(format!("usage line {i}: {} counted what it says", same.seat));
            }
        }
        Ok(())
    }

    fn check_convictions(&self) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
        if self.convictions.len() > CONVICTIONS_MAX {
            return wrong(format!("{} convictions; at most {CONVICTIONS_MAX}", self.convictions.len()));
        }
        if self.version == RECORD_VERSION_FIRST && !self.convictions.is_empty() {
            return wrong(format!("convictions in version {RECORD_VERSION_FIRST}"));
        }
        let key = |c: &Conviction| (c.seat, c.offence.clone());
        if self.convictions.iter().zip(self.convictions.iter().skip(1)).any(|(a, b)| key(a) >= key(b)) {
            return wrong("convictions out of order, or one twice".into());
        }
        for conviction in &self.convictions {
            let word = conviction.offence.as_bytes();
            let plain = |c: &u8| c.is_ascii_lowercase() || *c == b'_';
            if word.is_empty() || word.len() > OFFENCE_BYTES_MAX || !word.iter().all(plain) {
                return wrong("an offence that is no word".into());
            }
            if conviction.seat.index() >= self.parties.len() {
                return wrong(format!("a conviction of {}, which no party has", conviction.seat));
            }
        }
        Ok(())
    }

    fn check_seats(&self) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ReceiptRecord, what));
        let seated = |seat: &Seat| seat.index() < self.parties.len();
        for (i, line) in self.lines.iter().enumerate() {
            if let Some(seat) = core::iter::once(&line.party).chain(&line.observers).find(|s| !seated(s)) {
                return wrong(format!("usage line {i} names {seat}, which no party has"));
            }
            if line.class != line.unit.class() {
                return wrong(format!("usage line {i} gives {} a class that it does not have", line.unit.word()));
            }
        }
        match &self.status {
            Status::Ok if self.attempt.0 == 0 => wrong("a job ended well without an attempt".into()),
            Status::Refused { .. } if self.attempt.0 > 0 => wrong(format!("{} of a refused job", self.attempt)),
            Status::Aborted { seat: Some(seat), .. } | Status::Refused { seat: Some(seat), .. } if !seated(seat) => {
                wrong(format!("the status names {seat}, which no party has"))
            }
            _ => Ok(()),
        }
    }
}

impl<C> minicbor::Encode<C> for Quantity {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Quantity::Plain(n) => e.u64(*n)?.ok(),
            Quantity::Committed(hash) => hash.encode(e, ctx),
        }
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Quantity {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        match d.datatype()? {
            Type::Bytes => Hash::decode(d, ctx).map(Quantity::Committed),
            _ => d.u64().map(Quantity::Plain),
        }
    }
}

impl<C> minicbor::Encode<C> for Audience {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Audience::Party(key) => key.encode(e, ctx),
            Audience::Seats => e.u8(0)?.ok(),
        }
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Audience {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        match d.datatype()? {
            Type::Bytes => NodeId::decode(d, ctx).map(Audience::Party),
            _ => match d.u8()? {
                0 => Ok(Audience::Seats),
                _ => Err(minicbor::decode::Error::message("an audience of no known code")),
            },
        }
    }
}
