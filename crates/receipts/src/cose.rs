//! RFC 9942 COSE Receipts of inclusion, the second form of a proof, for tools that know statements and receipts of
//! SCITT (RFC 9943) and no notes. The log's key signs the root of a tree, which the receipt does not carry: a reader
//! computes it from leaf and proof.
//!
//! ```cddl
//! receipt = #6.18([protected: bstr .cbor { 1: -8, 4: kid, 15: { 1: origin, 2: subject }, 395: 1, -70003: [size, index] },
//!   unprotected: { 396: { -1: [+ bstr .cbor [size, index, [* hash]]] } }, payload: nil, signature])
//! transparent-statement = the leaf with { 394: [+ bstr .cbor receipt] } as its unprotected header
//! ```
//!
//! The signature that the standard asks for is over the root alone, to which proofs of several places and sizes may lead;
//! -70003, of the private use, has the log sign both. No witness stands in it: a receipt shows what the log's key signed, not that others saw the same log. Where that
//! matters, the proof is a [`crate::LogProof`].

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};
use tacit_crypto::sign::verify;
use tacit_crypto::statement::Envelope;
use tacit_crypto::{Signature, SigningKey, cbor};
use tacit_types::limits::LEAF_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, UnixMillis};

use crate::checkpoint::Checkpoint;
use crate::leaf::refused;
use crate::merkle::{HashSource, PROOF_HASHES_MAX, inclusion_proof, leaf_hash, root, root_of_proof};
use crate::note::{KeyKind, VerifierKey};

/// Bytes of a receipt.
pub const COSE_RECEIPT_BYTES_MAX: usize = 8 << 10;
/// Receipts that a statement carries.
pub const COSE_RECEIPTS_MAX: usize = 16;
/// Bytes of a statement with its receipts.
pub const TRANSPARENT_BYTES_MAX: usize = LEAF_BYTES_MAX + COSE_RECEIPTS_MAX * (COSE_RECEIPT_BYTES_MAX + 8) + 16;

/// COSE_Sign1.
const SIGN1: u64 = 18;
/// EdDSA, and Ed25519 alone.
const ALGORITHMS: [i64; 2] = [-8, -19];
/// The verifiable data structure RFC9162_SHA256.
const RFC9162_SHA256: u64 = 1;
/// The header of receipts in a statement.
const RECEIPTS: i64 = 394;
/// The header of proofs in a receipt, and the proofs of inclusion among them.
const PROOFS: i64 = 396;
const INCLUSION: i64 = -1;

/// Private-use header label of the tree's size and the leaf's place.
pub const LABEL_PLACE: i64 = -70003;

/// What the log signs beside the root.
struct Protected {
    alg: i64,
    kid: [u8; 32],
    origin: String,
    subject: String,
    size: u64,
    index: u64,
}

impl Protected {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        let mut put = || -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
            out.map(5)?.u8(1)?.i64(self.alg)?.u8(4)?.bytes(&self.kid)?;
            out.u8(15)?.map(2)?.u8(1)?.str(&self.origin)?.u8(2)?.str(&self.subject)?;
            out.u16(395)?.u64(RFC9162_SHA256)?.i64(LABEL_PLACE)?.array(2)?.u64(self.size)?.u64(self.index)?;
            Ok(())
        };
        // why: writing into a vector cannot fail.
        let _ = put();
        out.into_writer()
    }

    /// Reads the header; whoever has it compares with what [`Self::to_bytes`] gives, so nothing but values is looked at.
    fn parse(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let mut from = Decoder::new(bytes);
        from.map()?;
        from.skip()?;
        let alg = from.i64()?;
        from.skip()?;
        let kid = from.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("a kid is 32 bytes"))?;
        from.skip()?;
        from.map()?;
        from.skip()?;
        let origin = from.str()?.to_owned();
        from.skip()?;
        let subject = from.str()?.to_owned();
        from.skip()?;
        from.skip()?;
        from.skip()?;
        from.array()?;
        Ok(Self { alg, kid, origin, subject, size: from.u64()?, index: from.u64()? })
    }
}

#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
struct Inclusion {
    #[n(0)]
    size: u64,
    #[n(1)]
    index: u64,
    #[n(2)]
    path: Vec<Hash>,
}

/// A leaf that a receipt showed to be in a tree whose root the log signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipted {
    /// The head that the log signed.
    pub head: Checkpoint,
    /// The leaf's place.
    pub index: u64,
    /// What the leaf is about, as the receipt and the leaf say.
    pub subject: String,
    /// When the leaf's signer says that it signed.
    pub issued_at: UnixMillis,
}

fn malformed(what: &str) -> Fault {
    Fault::new(Code::LogMalformed, format!("a COSE receipt: {what}"))
}

/// What the signature is over: RFC 9052, section 4.4.
fn signed_bytes(protected: &[u8], root: &Hash) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    // why: writing into a vector cannot fail.
    let _ = out
        .array(4)
        .and_then(|e| e.str("Signature1"))
        .and_then(|e| e.bytes(protected))
        .and_then(|e| e.bytes(&[]))
        .and_then(|e| e.bytes(&root.0));
    out.into_writer()
}

/// Makes the receipt of a leaf in the tree of `size`, signed with the log's key.
///
/// # Errors
/// `log.signature` when `key` is not `log`'s, `log.proof` for a place outside the tree, `log.corrupt` when the source
/// lacks a hash, `receipt.signature` or `receipt.malformed` for a leaf that is no statement.
pub fn receipt(
    source: &dyn HashSource,
    (index, size): (u64, u64),
    leaf: &[u8],
    (log, key): (&VerifierKey, &SigningKey),
) -> Result<Vec<u8>, Fault> {
    if log.kind() != KeyKind::Ed25519 || log.key() != key.id() {
        return Err(Fault::new(Code::LogSignature, "another key than the log's"));
    }
    let subject = Envelope::verify(leaf).map_err(refused)?.subject;
    let inclusion = Inclusion { size, index, path: inclusion_proof(source, index, size)? };
    let (alg, kid, origin) = (ALGORITHMS[0], key.id().0, log.name().to_owned());
    let protected = Protected { alg, kid, origin, subject, size, index }.to_bytes();
    let signature = key.sign(&signed_bytes(&protected, &root(source, size)?));
    Ok(write(&protected, &[cbor::encode(&inclusion)], &signature.0))
}

fn write(protected: &[u8], proofs: &[Vec<u8>], signature: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    let mut put = || -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        out.tag(Tag::new(SIGN1))?.array(4)?.bytes(protected)?.map(1)?.i64(PROOFS)?.map(1)?.i64(INCLUSION)?;
        out.array(proofs.len() as u64)?;
        for proof in proofs {
            out.bytes(proof)?;
        }
        out.null()?.bytes(signature)?;
        Ok(())
    };
    // why: writing into a vector cannot fail.
    let _ = put();
    out.into_writer()
}

struct Read {
    protected: Vec<u8>,
    proofs: Vec<Vec<u8>>,
    signature: [u8; 64],
}

/// Takes a receipt apart. Only the one encoding of it is accepted.
fn read(bytes: &[u8]) -> Result<Read, Fault> {
    if bytes.len() > COSE_RECEIPT_BYTES_MAX {
        return Err(malformed("too long"));
    }
    let read = parse(bytes).map_err(|_| malformed("not a COSE_Sign1 with inclusion proofs and a detached payload"))?;
    if write(&read.protected, &read.proofs, &read.signature) != bytes {
        return Err(malformed("not the canonical encoding"));
    }
    Ok(read)
}

fn parse(bytes: &[u8]) -> Result<Read, minicbor::decode::Error> {
    let wrong = minicbor::decode::Error::message;
    let mut from = Decoder::new(bytes);
    if from.tag()? != Tag::new(SIGN1) || from.array()? != Some(4) {
        return Err(wrong("no COSE_Sign1"));
    }
    let protected = from.bytes()?.to_vec();
    if from.map()? != Some(1) || from.i64()? != PROOFS || from.map()? != Some(1) || from.i64()? != INCLUSION {
        return Err(wrong("another header"));
    }
    let count = from.array()?.filter(|n| (1..=COSE_RECEIPTS_MAX as u64).contains(n)).ok_or(wrong("no proofs"))?;
    let proofs = (0..count).map(|_| from.bytes().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
    from.null()?;
    let signature = from.bytes()?.try_into().map_err(|_| wrong("a signature is 64 bytes"))?;
    Ok(Read { protected, proofs, signature })
}

/// Shows that `leaf` is in a tree of the log `origin` whose root the log's key signed.
///
/// # Errors
/// `log.malformed`; `log.signature` for another key or a signature that does not hold; `log.proof` for another log,
/// another subject than the leaf's or a proof that does not lead to the signed root; `receipt.signature` or
/// `receipt.malformed` for a leaf that is no statement.
pub fn verify_receipt(bytes: &[u8], leaf: &[u8], origin: &str, log: &VerifierKey) -> Result<Receipted, Fault> {
    let envelope = Envelope::verify(leaf).map_err(refused)?;
    let Read { protected, proofs, signature } = read(bytes)?;
    let header = Protected::parse(&protected).ok().filter(|header| header.to_bytes() == protected);
    let header = header.ok_or_else(|| malformed("another protected header"))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(malformed("another algorithm than Ed25519"));
    }
    if log.kind() != KeyKind::Ed25519 || header.kid != log.key().0 {
        return Err(Fault::new(Code::LogSignature, "the receipt is by another key than the log's"));
    }
    if header.origin != origin {
        return Err(Fault::new(Code::LogProof, format!("the receipt is of the log {:?}", header.origin)));
    }
    if header.subject != envelope.subject {
        return Err(Fault::new(Code::LogProof, "the receipt is about another subject than the statement"));
    }
    // One signature is over one root, so one proof is what there is to check.
    let [proof] = proofs.as_slice() else { return Err(malformed("more than one proof")) };
    let Inclusion { size, index, path } = cbor::decode(proof).map_err(|e| malformed(&format!("the proof is {e}")))?;
    if path.len() > PROOF_HASHES_MAX {
        return Err(malformed("the proof is too long"));
    }
    if (size, index) != (header.size, header.index) {
        return Err(Fault::new(Code::LogProof, "the proof is of another place than the log signed"));
    }
    let root = root_of_proof(&leaf_hash(leaf), index, size, &path)?;
    if !verify(&log.key(), &signed_bytes(&protected, &root), &Signature(signature)) {
        return Err(Fault::new(Code::LogSignature, "the log's key did not sign the root that the proof leads to"));
    }
    let head = Checkpoint { origin: origin.to_owned(), size, root };
    Ok(Receipted { head, index, subject: envelope.subject, issued_at: envelope.issued_at })
}

/// A leaf that carries its receipts: a transparent statement, RFC 9943. The leaf's own signature is over neither.
///
/// # Errors
/// `log.malformed` for no receipt or more than [`COSE_RECEIPTS_MAX`], or a leaf that is no statement.
pub fn attach(leaf: &[u8], receipts: &[Vec<u8>]) -> Result<Vec<u8>, Fault> {
    if receipts.is_empty() || receipts.len() > COSE_RECEIPTS_MAX {
        return Err(malformed("a statement carries 1 to 16"));
    }
    let (protected, payload, signature) = statement(leaf, &mut |from| {
        if from.map()? == Some(0) { Ok(()) } else { Err(minicbor::decode::Error::message("a header")) }
    })?;
    let mut out = Encoder::new(Vec::new());
    let mut put = || -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        out.tag(Tag::new(SIGN1))?.array(4)?.bytes(&protected)?.map(1)?.i64(RECEIPTS)?.array(receipts.len() as u64)?;
        for receipt in receipts {
            out.bytes(receipt)?;
        }
        out.bytes(&payload)?.bytes(&signature)?;
        Ok(())
    };
    // why: writing into a vector cannot fail.
    let _ = put();
    Ok(out.into_writer())
}

/// The leaf and the receipts of a transparent statement.
///
/// # Errors
/// `log.malformed` when it is none, has no receipt, or is not canonical.
pub fn detach(bytes: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
    if bytes.len() > TRANSPARENT_BYTES_MAX {
        return Err(malformed("a transparent statement is too long"));
    }
    let mut receipts = Vec::new();
    let (protected, payload, signature) = statement(bytes, &mut |from| {
        let wrong = minicbor::decode::Error::message;
        if from.map()? != Some(1) || from.i64()? != RECEIPTS {
            return Err(wrong("another header"));
        }
        let count = from.array()?.filter(|n| *n <= COSE_RECEIPTS_MAX as u64).ok_or(wrong("too many"))?;
        for _ in 0..count {
            receipts.push(from.bytes()?.to_vec());
        }
        Ok(())
    })?;
    let mut out = Encoder::new(Vec::new());
    // why: writing into a vector cannot fail.
    let _ = out
        .tag(Tag::new(SIGN1))
        .and_then(|e| e.array(4))
        .and_then(|e| e.bytes(&protected))
        .and_then(|e| e.map(0))
        .and_then(|e| e.bytes(&payload))
        .and_then(|e| e.bytes(&signature));
    let leaf = out.into_writer();
    if attach(&leaf, &receipts)? != bytes {
        return Err(malformed("a transparent statement that is not canonical"));
    }
    Ok((leaf, receipts))
}

type Parts = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The byte strings of a tagged COSE_Sign1, whose unprotected header is read by `header`.
fn statement(
    bytes: &[u8],
    header: &mut dyn FnMut(&mut Decoder<'_>) -> Result<(), minicbor::decode::Error>,
) -> Result<Parts, Fault> {
    let mut parts = || {
        let mut from = Decoder::new(bytes);
        if from.tag()? != Tag::new(SIGN1) || from.array()? != Some(4) {
            return Err(minicbor::decode::Error::message("no COSE_Sign1"));
        }
        let protected = from.bytes()?.to_vec();
        header(&mut from)?;
        let parts = (protected, from.bytes()?.to_vec(), from.bytes()?.to_vec());
        if from.position() == bytes.len() { Ok(parts) } else { Err(minicbor::decode::Error::message("more")) }
    };
    parts().map_err(|_| malformed("not a statement with its receipts"))
}
