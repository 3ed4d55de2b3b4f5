//! Attestations, the joint receipt that becomes a leaf, and the coordinator's promise to log it.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::bytes::ByteVec;
use tacit_crypto::statement::Link;
use tacit_crypto::{Body, Keyring, SigningKey, Statement, cbor, sha256};
use tacit_types::limits::LEAF_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, NodeId, StatementId, UnixMillis};

use crate::opening::{self, Figure};
use crate::record::{LINKED_PARTIES_MAX, PartyEntry, RECORD_VERSION_LINKED, Role, Standing, Status, UsageRecord};

/// Bytes that the coordinator's signature and header add to a receipt's body, rounded up.
pub const SIGNING_OVERHEAD_BYTES: usize = 512;
/// Bytes of one attestation statement.
pub const ATTESTATION_BYTES_MAX: usize = 8 << 10;

/// One party's signed word on a usage record. The statement's header carries the party's `seq` and
/// `prev`: its attestations form one gap-free chain, in which a missing one shows.
///
/// ```cddl
/// Attestation = { 1: usage_digest, 2: role, 3: verdict, 4: [* {1: line, 2: own_qty_commitment}],
///   ? 5: transcript_root, ? 6: quota_after_commitment, ? 7: {1: size, 2: root}, ? 8: [+ {1: what, 2: commitment}] }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Attestation {
    /// [`UsageRecord::digest`] of the record that the party holds.
    #[n(1)]
    pub usage: Hash,
    /// The party's role, as in the record.
    #[n(2)]
    pub role: Role,
    /// Whether the party's own counters agree.
    #[n(3)]
    pub verdict: Verdict,
    /// Commitments to the party's own counts.
    #[n(4)]
    pub own: Vec<OwnQuantity>,
    /// The root over the transcripts of the party's links.
    #[n(5)]
    pub transcript: Option<Hash>,
    /// A commitment to the quota that is left.
    #[n(6)]
    pub quota: Option<Hash>,
    /// The newest checkpoint of the log that the party had checked. Readers compare it with the log,
    /// so a split view shows without any further exchange.
    #[n(7)]
    pub seen: Option<SeenCheckpoint>,
    /// Figures of the party's own that the receipt commits to and does not show.
    #[n(8)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
}

/// What a party says about a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub enum Verdict {
    /// Every line of class A or B equals its own count.
    #[n(0)]
    Agrees,
    /// It does not.
    #[n(1)]
    Disputes {
        /// Why.
        #[n(1)]
        code: Code,
    },
}

/// A commitment to a party's own count for a usage line.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct OwnQuantity {
    /// The line's place in the record.
    #[n(1)]
    pub line: u32,
    /// The salted commitment.
    #[n(2)]
    pub commitment: Hash,
}

/// The size and root of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct SeenCheckpoint {
    /// Leaves.
    #[n(1)]
    pub size: u64,
    /// RFC 6962 root.
    #[n(2)]
    pub root: Hash,
}

/// A record with what its parties signed: the leaf, once the coordinator has signed it.
///
/// ```cddl
/// JointReceipt = { 1: UsageRecord, 2: [* bstr], ? 3: price_plan_hash, ? 4: charges_commitment, 5: [* Absent] }
/// ```
///
/// An element of 2 is an attestation statement's exact bytes; in a receipt too large for a leaf
/// every element is the 32-byte hash of one instead and the statements are mirrored beside the log.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct JointReceipt {
    /// The record.
    #[n(1)]
    pub record: UsageRecord,
    /// Attestation statements in the order of the record's parties, inline or by hash.
    #[n(2)]
    pub attestations: Vec<ByteVec>,
    /// The price plan.
    #[n(3)]
    pub price_plan: Option<Hash>,
    /// A commitment to the charges.
    #[n(4)]
    pub charges: Option<Hash>,
    /// Parties without an attestation, in the order of the record's parties.
    #[n(5)]
    pub absent: Vec<Absent>,
}

/// A party that did not attest.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Absent {
    /// The party.
    #[n(1)]
    pub party: NodeId,
    /// Why, as far as the coordinator knows.
    #[n(2)]
    pub code: Code,
}

/// The coordinator's signed word that a receipt will be in the log by a time. A promise that was not
/// kept, with a later witnessed checkpoint, is evidence that needs no trust in its bearer.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Promise {
    /// The digest of the usage record.
    #[n(1)]
    pub usage: Hash,
    /// By when its receipt is in a witnessed checkpoint.
    #[n(2)]
    pub deadline: UnixMillis,
}

impl Body for Attestation {
    const TYPE: &'static str = "attestation";
}

impl Body for JointReceipt {
    const TYPE: &'static str = "joint-receipt";
}

impl Body for Promise {
    const TYPE: &'static str = "promise";
}

impl Attestation {
    /// An attestation of `role` to a record, without the optional fields.
    pub fn agreeing(record: &UsageRecord, role: Role, seen: Option<SeenCheckpoint>) -> Self {
        Self {
            usage: record.digest(),
            role,
            verdict: Verdict::Agrees,
            own: Vec::new(),
            transcript: None,
            quota: None,
            seen,
            figures: Vec::new(),
        }
    }

    /// Signs the attestation as the issuer's next in its chain.
    pub fn sign(self, key: &SigningKey, record: &UsageRecord, at: UnixMillis, link: Link) -> Statement<Self> {
        Statement::sign(key, &record.subject(), at, Some(link), self)
    }
}

/// The link that follows a statement in its issuer's chain; `None` gives the first.
pub fn next_link(last: Option<(u64, StatementId)>) -> Link {
    match last {
        None => Link { seq: 0, prev: Hash([0; 32]) },
        Some((seq, id)) => Link { seq: seq.saturating_add(1), prev: Hash(id.0) },
    }
}

/// A receipt ready to be signed, and the attestations that travel beside it.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The receipt.
    pub receipt: JointReceipt,
    /// Exact bytes of attestation statements that the receipt carries by hash alone; empty when it
    /// carries them inline. The log mirrors them under their hash.
    pub beside: Vec<Vec<u8>>,
}

/// Puts a receipt together: every attestation is over this record's digest, in the role of its
/// issuer's entry, at most one for each party and at least one; every other party is in `absent`. A party that took
/// part may be absent here: the receipt is then incomplete, and says so to every reader.
///
/// # Errors
/// `receipt.record` for a record that contradicts itself, `receipt.party_unknown`,
/// `receipt.digest`, `receipt.link` or `receipt.attestation_invalid` for an attestation,
/// `receipt.attestation_missing` for a party that is in neither list or in both, or when none attested,
/// `receipt.too_large` when even with attestations by hash the leaf would pass `LEAF_BYTES_MAX`.
pub fn assemble(
    record: UsageRecord,
    attestations: &[Statement<Attestation>],
    absent: Vec<Absent>,
) -> Result<Assembled, Fault> {
    assemble_with(record, attestations, absent, &|key| *key)
}

/// As [`assemble`], with `id_of` to say for whom a key speaks.
///
/// # Errors
/// Those of [`assemble`].
pub fn assemble_with(
    record: UsageRecord,
    attestations: &[Statement<Attestation>],
    absent: Vec<Absent>,
    id_of: &dyn Fn(&NodeId) -> NodeId,
) -> Result<Assembled, Fault> {
    record.check()?;
    let digest = record.digest();
    let mut signed: BTreeMap<NodeId, &Statement<Attestation>> = BTreeMap::new();
    for attestation in attestations {
        let id = id_of(&attestation.signer());
        check_attestation_of(&id, &record, &digest, attestation)?;
        if signed.insert(id, attestation).is_some() {
            let what = format!("party {} attested twice", attestation.signer().short());
            return Err(Fault::new(Code::ReceiptAttestationInvalid, what));
        }
    }
    check_absent(&record, &signed.keys().copied().collect(), &absent)?;
    let ordered: Vec<&Statement<Attestation>> =
        record.parties.iter().filter_map(|p| signed.get(&p.party).copied()).collect();
    let absent = record.parties.iter().filter_map(|p| absent.iter().find(|a| a.party == p.party).cloned()).collect();
    let inline = ordered.iter().map(|a| ByteVec::from(a.bytes().to_vec())).collect();
    let mut receipt = JointReceipt { record, attestations: inline, price_plan: None, charges: None, absent };
    let fits = |receipt: &JointReceipt| cbor::encode(receipt).len() + SIGNING_OVERHEAD_BYTES <= LEAF_BYTES_MAX;
    if fits(&receipt) {
        return Ok(Assembled { receipt, beside: Vec::new() });
    }
    receipt.attestations = ordered.iter().map(|a| ByteVec::from(a.id().0.to_vec())).collect();
    if !fits(&receipt) {
        let what = format!(
            "{} bytes with {} parties and {} usage lines; a leaf has at most {LEAF_BYTES_MAX}",
            cbor::encode(&receipt).len(),
            receipt.record.parties.len(),
            receipt.record.lines.len()
        );
        return Err(Fault::new(Code::ReceiptTooLarge, what));
    }
    Ok(Assembled { receipt, beside: ordered.iter().map(|a| a.bytes().to_vec()).collect() })
}

/// Checks that an attestation is over a record, by a party of it in its role, and has a link.
///
/// # Errors
/// `receipt.party_unknown`, `receipt.digest`, `receipt.attestation_invalid`, or `receipt.link` for other links than the record has.
pub fn check_attestation(
    record: &UsageRecord,
    digest: &Hash,
    attestation: &Statement<Attestation>,
) -> Result<(), Fault> {
    check_attestation_of(&attestation.signer(), record, digest, attestation)
}

/// As [`check_attestation`], of a party whose key has changed: `id` is what its key speaks for.
///
/// # Errors
/// Those of [`check_attestation`].
pub fn check_attestation_of(
    id: &NodeId,
    record: &UsageRecord,
    digest: &Hash,
    attestation: &Statement<Attestation>,
) -> Result<(), Fault> {
    let who = attestation.signer().short();
    let entry = record
        .party(id)
        .ok_or_else(|| Fault::new(Code::ReceiptPartyUnknown, format!("{who} attested but is no party of the job")))?;
    let invalid =
        |what: &str| Err(Fault::new(Code::ReceiptAttestationInvalid, format!("{} ({who}): {what}", entry.name)));
    if attestation.body().usage != *digest {
        return Err(Fault::new(Code::ReceiptDigest, format!("{} ({who}) attested another record", entry.name)));
    }
    if attestation.body().role != entry.role {
        return invalid("another role than in the record");
    }
    if attestation.envelope().link.is_none() {
        return invalid("no sequence number");
    }
    if attestation.envelope().subject != record.subject() {
        return invalid("another job in the header than in the record");
    }
    if !opening::in_order(&attestation.body().figures) {
        return invalid("too many figures, or out of order");
    }
    if attestation.bytes().len() > ATTESTATION_BYTES_MAX {
        return invalid("too long");
    }
    // What the record has of its links is what it signs of them. A record without a result may have been made before a party
    // reported any, and one of many parties has none: then its own word stands alone.
    let bound = record.version == RECORD_VERSION_LINKED
        || (record.status == Status::Ok && record.parties.len() <= LINKED_PARTIES_MAX);
    if bound && record.links_of(id).map(|links| links.root) != attestation.body().transcript {
        let what = format!("{} ({who}) attested other links than the record has for it", entry.name);
        return Err(Fault::new(Code::ReceiptLink, what));
    }
    Ok(())
}

fn check_absent(record: &UsageRecord, signed: &BTreeSet<NodeId>, absent: &[Absent]) -> Result<(), Fault> {
    let missing = |what: String| Err(Fault::new(Code::ReceiptAttestationMissing, what));
    if signed.is_empty() {
        return missing("no party attested: the record is the coordinator's word alone".into());
    }
    let listed: BTreeSet<NodeId> = absent.iter().map(|a| a.party).collect();
    if listed.len() != absent.len() {
        return missing("a party is listed as absent twice".into());
    }
    if let Some(stranger) = listed.iter().find(|key| record.party(key).is_none()) {
        return missing(format!("{} is listed as absent but is no party of the job", stranger.short()));
    }
    for entry in &record.parties {
        match (signed.contains(&entry.party), listed.contains(&entry.party)) {
            (true, true) => return missing(format!("{} attested and is listed as absent", entry.name)),
            (false, false) => return missing(format!("{} neither attested nor is listed as absent", entry.name)),
            _ => {}
        }
    }
    Ok(())
}

/// What the attestations of a receipt turned out to be.
#[derive(Debug, Default)]
pub struct Attested {
    /// The ones that hold, in the receipt's order.
    pub held: Vec<Statement<Attestation>>,
    /// What is wrong with the others, and with the parties that are missing.
    pub faults: Vec<Fault>,
}

impl JointReceipt {
    /// Signs the receipt as the coordinator: the statement's bytes are the leaf.
    ///
    /// # Errors
    /// `receipt.too_large` past `LEAF_BYTES_MAX`.
    pub fn sign(self, key: &SigningKey, at: UnixMillis) -> Result<Statement<Self>, Fault> {
        let statement = Statement::sign(key, &self.record.subject(), at, None, self);
        if statement.bytes().len() > LEAF_BYTES_MAX {
            let what = format!("{} bytes; a leaf has at most {LEAF_BYTES_MAX}", statement.bytes().len());
            return Err(Fault::new(Code::ReceiptTooLarge, what));
        }
        Ok(statement)
    }

    /// Whether the attestations are carried by hash alone and the statements stand beside the log.
    pub fn by_hash(&self) -> bool {
        self.attestations.iter().any(|carried| carried.len() == 32)
    }

    /// Checks every attestation and that no party is missing or listed twice. `beside` gives the
    /// statement of a hash, for receipts that carry attestations by hash.
    pub fn attested(&self, beside: &dyn Fn(&StatementId) -> Option<Vec<u8>>) -> Attested {
        self.attested_with(beside, &Keyring::default(), &|key| *key)
    }

    /// As [`JointReceipt::attested`], with keys that are decoded once for many receipts, and `id_of` to say for whom a
    /// key speaks.
    pub fn attested_with(
        &self,
        beside: &dyn Fn(&StatementId) -> Option<Vec<u8>>,
        keys: &Keyring,
        id_of: &dyn Fn(&NodeId) -> NodeId,
    ) -> Attested {
        let mut out = Attested::default();
        let digest = self.record.digest();
        let mut signed: BTreeSet<NodeId> = BTreeSet::new();
        for (i, carried) in self.attestations.iter().enumerate() {
            let read = self.attestation(carried, beside, keys);
            let checked = read.and_then(|a| {
                check_attestation_of(&id_of(&a.signer()), &self.record, &digest, &a)?;
                Ok(a)
            });
            match checked {
                Err(Fault { code, what }) => out.faults.push(Fault::new(code, format!("attestation {i}: {what}"))),
                Ok(a) if !signed.insert(id_of(&a.signer())) => out.faults.push(Fault::new(
                    Code::ReceiptAttestationInvalid,
                    format!("attestation {i}: {} attested twice", a.signer().short()),
                )),
                Ok(a) => out.held.push(a),
            }
        }
        if let Err(fault) = check_absent(&self.record, &signed, &self.absent) {
            out.faults.push(fault);
        }
        out
    }

    /// Parties that took part and are listed as absent. With a result, such a receipt is incomplete until
    /// their attestations are in the log as leaves of their own; without one, it says who was away.
    pub fn missing(&self) -> impl Iterator<Item = &PartyEntry> {
        let absent = |p: &&PartyEntry| self.absent.iter().any(|a| a.party == p.party);
        self.record.parties.iter().filter(|p| p.standing == Standing::TookPart).filter(absent)
    }

    /// Whether the receipt carries this attestation, inline or by its hash.
    pub fn carries(&self, id: &StatementId) -> bool {
        self.attestations.iter().any(|carried| carried[..] == id.0 || sha256(carried).0 == id.0)
    }

    fn attestation(
        &self,
        carried: &[u8],
        beside: &dyn Fn(&StatementId) -> Option<Vec<u8>>,
        keys: &Keyring,
    ) -> Result<Statement<Attestation>, Fault> {
        let invalid = |what: String| Fault::new(Code::ReceiptAttestationInvalid, what);
        let fetched;
        let bytes = match <[u8; 32]>::try_from(carried) {
            Err(_) => carried,
            Ok(hash) => {
                fetched = beside(&StatementId(hash)).ok_or_else(|| invalid("its statement is not at hand".into()))?;
                if sha256(&fetched).0 != hash {
                    return Err(invalid("the statement beside the log has another hash".into()));
                }
                fetched.as_slice()
            }
        };
        Statement::<Attestation>::verify_with(bytes, keys).map_err(|e| invalid(e.to_string()))
    }

    /// Whether every party that took part is among `attested`.
    pub fn complete(&self, attested: &BTreeSet<NodeId>) -> bool {
        self.record.parties.iter().all(|p| p.standing != Standing::TookPart || attested.contains(&p.party))
    }
}
