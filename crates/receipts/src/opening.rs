//! Figures that a receipt commits to and does not show, and what opens them.
//!
//! An attestation may carry a [`Figure`]: the hash of what the number is, of the number and of 32 random bytes. Without these
//! bytes it tells nothing of the number, however few numbers there could be. The party keeps the [`Opening`], hands it
//! out sealed to one reader, and forgets it when it has to: the receipt stays as valid as it was, and the figure is closed for
//! good.

use minicbor::bytes::{ByteArray, ByteVec};
use tacit_crypto::{Keyring, Rng, SealKey, SealPublic, Secret, Statement, Transcript, cbor};
use tacit_types::unit::{Class, Unit};
use tacit_types::{Attempt, Code, Fault, Hash, JobId, NodeId, StatementId};
use zeroize::{Zeroize, Zeroizing};

use crate::bundle::{Bundle, Trust};
use crate::keys::{KeyHistory, KeyRole};
use crate::leaf::Leaf;
use crate::receipt::{Attestation, JointReceipt};
use crate::record::UsageRecord;
use crate::report::Report;
use crate::verify::verify_bundle;

/// The number of the figure that says how many rows the party's dataset version has, whose published description has a
/// power of two alone.
pub const DATASET_ROWS: u8 = 0;
/// The number of the figure that says how many rows the party's local query read of its source.
pub const ROWS_SCANNED: u8 = 1;
/// The number of the figure that says how many milliseconds of processor time the party's halves of the job took.
pub const CPU_MILLIS: u8 = 2;
/// The number of the figure that says how many bytes the party's local query held at most for intermediate results.
pub const MEMORY_BYTES: u8 = 3;
/// Figures of one attestation.
pub const FIGURES_MAX: usize = 8;
/// Bytes of a sealed opening.
pub const SEALED_OPENING_BYTES_MAX: usize = 1024;

const LABEL: &str = "tacit-opening/1";
const VERSION: u8 = 1;

/// A figure that an attestation commits to: `{1: what, 2: commitment}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Figure {
    /// What it is, such as [`DATASET_ROWS`].
    #[n(1)]
    pub what: u8,
    /// The salted commitment: [`Opening::commitment`].
    #[n(2)]
    pub commitment: Hash,
}

/// Whether figures are in order: at most [`FIGURES_MAX`], each once, by ascending number.
pub fn in_order(figures: &[Figure]) -> bool {
    figures.len() <= FIGURES_MAX && figures.windows(2).all(|pair| matches!(pair, [a, b] if a.what < b.what))
}

/// What a figure is called, in English and Chinese.
pub fn word(what: u8) -> (&'static str, &'static str) {
    match what {
        DATASET_ROWS => ("rows of the dataset version", "数据集版本的行数"),
        ROWS_SCANNED => ("rows scanned", "读取的行数"),
        CPU_MILLIS => ("processor time in milliseconds", "处理器时间（毫秒）"),
        MEMORY_BYTES => ("most memory of the local query in bytes", "本地查询的内存峰值（字节）"),
        _ => ("a figure that this version does not know", "本版本未知的数值"),
    }
}

/// The unit that a figure is metered in; none for what is no use of anything, or is not known.
pub fn unit_of(what: u8) -> Option<Unit> {
    match what {
        ROWS_SCANNED => Some(Unit::RowScanned),
        CPU_MILLIS => Some(Unit::CpuMilli),
        MEMORY_BYTES => Some(Unit::MemoryByte),
        _ => None,
    }
}

/// The class of a figure. One party's word, so it is [`Class::C`] wherever there is a unit: it informs and is never billed.
pub fn class_of(what: u8) -> Option<Class> {
    unit_of(what).map(Unit::class)
}

/// A figure of a receipt, and the party that committed to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// By its id: the key that the record names.
    pub party: NodeId,
    /// What it committed to.
    pub figure: Figure,
}

/// The figures that the attestations of a receipt commit to, in the receipt's order. `beside` gives the statement of a hash,
/// for receipts that carry attestations so, and `id_of` for whom a key speaks. Those of an attestation that does not hold
/// are left out.
pub fn committed(
    receipt: &JointReceipt,
    beside: &dyn Fn(&StatementId) -> Option<Vec<u8>>,
    id_of: &dyn Fn(&NodeId) -> NodeId,
) -> Vec<Committed> {
    let held = receipt.attested_with(beside, &Keyring::default(), id_of).held;
    let of = |attestation: &Statement<Attestation>| {
        let party = id_of(&attestation.signer());
        attestation.body().figures.iter().map(move |figure| Committed { party, figure: *figure }).collect::<Vec<_>>()
    };
    held.iter().flat_map(of).collect()
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct Body {
    #[n(1)]
    version: u8,
    #[n(2)]
    job: JobId,
    #[n(3)]
    attempt: u32,
    #[n(4)]
    party: NodeId,
    #[n(5)]
    what: u8,
    #[n(6)]
    value: u64,
    #[n(7)]
    salt: ByteArray<32>,
}

/// What opens a figure. It is secret: it can neither be printed nor copied, and is erased when dropped.
///
/// ```cddl
/// opening = { 1: 1, 2: job, 3: attempt, 4: party, 5: what, 6: value, 7: bstr .size 32 }
/// ```
pub struct Opening {
    /// The job.
    pub job: JobId,
    /// The attempt that the receipt is for.
    pub attempt: Attempt,
    /// Whose figure, by the key that attested it.
    pub party: NodeId,
    /// What it is.
    pub what: u8,
    value: u64,
    salt: Secret<[u8; 32]>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptOpening, what)
}

impl Opening {
    /// A figure of a party in one attempt, with a salt of its own.
    pub fn new(rng: &mut Rng, (job, attempt): (JobId, Attempt), party: NodeId, what: u8, value: u64) -> Self {
        Self { job, attempt, party, what, value, salt: Secret::new(rng.bytes()) }
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// The bytes, which are as secret as the opening.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (job, attempt, party, what, value) = (self.job, self.attempt.0, self.party, self.what, self.value);
        let mut body =
            Body { version: VERSION, job, attempt, party, what, value, salt: (*self.salt.expose_secret()).into() };
        let bytes = Zeroizing::new(cbor::encode(&body));
        body.salt.zeroize();
        bytes
    }

    /// Reads an opening.
    ///
    /// # Errors
    /// `receipt.opening` for anything but its one encoding.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut body: Body = cbor::decode(bytes).map_err(|e| wrong(format!("the opening is {e}")))?;
        if body.version != VERSION {
            return Err(wrong(format!("an opening of version {}", body.version)));
        }
        let Body { job, attempt, party, what, value, .. } = body;
        let salt = Secret::new(*body.salt);
        body.salt.zeroize();
        Ok(Self { job, attempt: Attempt(attempt), party, what, value, salt })
    }

    /// The commitment: the labelled SHA-256 of [`Opening::to_bytes`].
    pub fn commitment(&self) -> Hash {
        Transcript::new(LABEL).bytes(&self.to_bytes()).finish()
    }

    /// What the attestation carries.
    pub fn figure(&self) -> Figure {
        Figure { what: self.what, commitment: self.commitment() }
    }

    /// Seals it to a reader.
    ///
    /// # Errors
    /// `receipt.opening` when the reader's key is none.
    pub fn seal(&self, rng: &mut Rng, to: &SealPublic) -> Result<Vec<u8>, Fault> {
        let commitment = self.commitment();
        let sealed = to.seal(rng, &context(&commitment), &self.to_bytes());
        let sealed = sealed.ok_or_else(|| wrong("the reader's key is not a group element"))?;
        Ok(cbor::encode(&SealedOpening { version: VERSION, commitment, to: *to, sealed: sealed.into() }))
    }

    /// Checks that it opens a figure of this record's attestation, by a party that has had these keys.
    ///
    /// # Errors
    /// `receipt.opening`.
    pub fn check(
        &self,
        record: &UsageRecord,
        attestation: &Statement<Attestation>,
        keys: &KeyHistory,
    ) -> Result<(), Fault> {
        if (self.job, self.attempt) != (record.job, record.attempt) || attestation.body().usage != record.digest() {
            return Err(wrong("it is for another job or attempt"));
        }
        if self.party != keys.id_of(KeyRole::Node, &attestation.signer()) {
            return Err(wrong("it is of another party than the attestation"));
        }
        if !attestation.body().figures.contains(&self.figure()) {
            return Err(wrong("the attestation commits to another figure"));
        }
        Ok(())
    }
}

fn context(commitment: &Hash) -> Vec<u8> {
    [LABEL.as_bytes(), &commitment.0].concat()
}

/// An opening on its way to one reader.
///
/// ```cddl
/// sealed-opening = { 1: 1, 2: commitment, 3: reader_seal_key, 4: bstr }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct SealedOpening {
    #[n(1)]
    version: u8,
    /// The commitment that it opens.
    #[n(2)]
    pub commitment: Hash,
    /// To whom it is sealed.
    #[n(3)]
    pub to: SealPublic,
    #[n(4)]
    sealed: ByteVec,
}

impl SealedOpening {
    /// Reads the file.
    ///
    /// # Errors
    /// `receipt.opening` for anything but its one encoding, or more than [`SEALED_OPENING_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > SEALED_OPENING_BYTES_MAX {
            return Err(wrong(format!("{} bytes, at most {SEALED_OPENING_BYTES_MAX}", bytes.len())));
        }
        let sealed: Self = cbor::decode(bytes).map_err(|e| wrong(format!("the sealed opening is {e}")))?;
        if sealed.version == VERSION { Ok(sealed) } else { Err(wrong("a sealed opening of another version")) }
    }

    /// Opens it with the reader's key.
    ///
    /// # Errors
    /// `receipt.opening` when it is sealed to another key, was altered, or holds something else than its commitment says.
    pub fn open(&self, key: &SealKey) -> Result<Opening, Fault> {
        if key.public() != self.to {
            return Err(wrong("it is sealed to another key than this party's"));
        }
        let plain = key.open(&context(&self.commitment), &self.sealed).map(Zeroizing::new);
        let opening = Opening::parse(&plain.ok_or_else(|| wrong("it does not open with this party's key"))?)?;
        if opening.commitment() != self.commitment {
            return Err(wrong("what is sealed opens another commitment"));
        }
        Ok(opening)
    }
}

/// Where a figure stands that an opening opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The receipt's leaf.
    pub leaf: u64,
    /// Its record.
    pub record: UsageRecord,
}

/// That nothing is wrong with a leaf, nor with the log.
fn sound(report: &Report, leaf: u64) -> Result<(), Fault> {
    let wrong = report.faults.iter().find(|f| f.leaf.is_none_or(|at| at == leaf));
    wrong.map_or(Ok(()), |fault| Err(Fault::new(fault.code, fault.what.clone())))
}

/// Finds the receipt of an opening in a bundle, verifies it, and checks the opening against the party's attestation.
///
/// # Errors
/// `receipt.unknown` when the bundle has no such attestation; the fault of the receipt or of the log when the bundle does not
/// hold; those of [`Opening::check`]; `receipt.bundle`.
pub fn find(opening: &Opening, bundle: &[u8], trust: Option<&Trust>) -> Result<Opened, Fault> {
    let attempt = (opening.job, opening.attempt);
    let (leaf, record, attestation, keys) = attestation_of(attempt, &opening.party, bundle, trust)?;
    opening.check(&record, &attestation, &keys)?;
    Ok(Opened { leaf, record })
}

/// The receipt of an attempt in a bundle, with a party's attestation and the keys that parties have had, once both hold.
pub(crate) fn attestation_of(
    attempt: (JobId, Attempt),
    party: &NodeId,
    bundle: &[u8],
    trust: Option<&Trust>,
) -> Result<(u64, UsageRecord, Statement<Attestation>, KeyHistory), Fault> {
    let report = verify_bundle(bundle, trust)?;
    let bundle = Bundle::parse(bundle)?;
    let keys = bundle.history(trust);
    let whole = (0u64..).zip(bundle.leaves.iter().map(|leaf| leaf.as_slice()));
    let leaves: Vec<(u64, &[u8])> =
        whole.chain(bundle.proven.iter().map(|proven| (proven.index, proven.leaf.as_slice()))).collect();
    for (leaf, bytes) in &leaves {
        let Ok(Leaf::Receipt(receipt)) = Leaf::read(bytes) else { continue };
        let receipt = receipt.into_body();
        if (receipt.record.job, receipt.record.attempt) != attempt {
            continue;
        }
        sound(&report, *leaf)?;
        // In the receipt, beside it, or in a leaf of its own when it came late.
        let inline = receipt.attestations.iter().map(|bytes| (*leaf, bytes.as_slice()));
        let beside = bundle.beside.iter().map(|bytes| (*leaf, bytes.as_slice()));
        let digest = receipt.record.digest();
        let own = inline.chain(beside).chain(leaves.iter().copied()).find_map(|(at, bytes)| {
            let own = Statement::<Attestation>::verify(bytes).ok()?;
            (keys.id_of(KeyRole::Node, &own.signer()) == *party && own.body().usage == digest).then_some((at, own))
        });
        let Some((at, own)) = own else { break };
        sound(&report, at)?;
        return Ok((*leaf, receipt.record, own, keys));
    }
    let what = format!("the bundle has no attestation of job {} by {}", attempt.0.short(), party.short());
    Err(Fault::new(Code::ReceiptUnknown, what))
}
