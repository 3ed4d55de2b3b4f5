//! Signed statements: a deterministic CBOR body in a COSE_Sign1 (RFC 9052), Ed25519 (alg -8).
//!
//! Protected header: 1 alg, 3 content type, 4 kid (the signer's 32-byte key), 15 CWT claims
//! {1 issuer, 2 subject, 6 issued at}, and for statements of a sequence -70001 seq and -70002 prev.
//! The unprotected header is empty. Verification works on the received bytes.

use coset::cbor::value::Value;
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, Label, TaggedCborSerializable, iana};
use tacit_types::{Hash, NodeId, StatementId, UnixMillis};

use crate::cbor;
use crate::hash::sha256;
use crate::sign::{Keyring, Signature, SigningKey, verify};

/// Private-use header label of the issuer's sequence number.
pub const LABEL_SEQ: i64 = -70001;
/// Private-use header label of the hash of the issuer's previous statement.
pub const LABEL_PREV: i64 = -70002;
/// CWT claims in a header (RFC 9597).
const LABEL_CLAIMS: i64 = 15;
/// Bytes of a statement that a parser accepts.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// A type that is signed.
pub trait Body: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> {
    /// The word in the content type `application/vnd.tacit.<TYPE>+cbor`.
    const TYPE: &'static str;
}

/// Why bytes were not a statement of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Over [`STATEMENT_BYTES_MAX`].
    #[error("the statement is too long")]
    TooLong,
    /// Not a tagged COSE_Sign1 with the header above.
    #[error("not a signed statement: {0}")]
    Malformed(&'static str),
    /// A statement of another type.
    #[error("a statement of another type")]
    Type,
    /// The signature is not the key's over these bytes.
    #[error("the signature does not verify")]
    Signature,
    /// The body is not canonical CBOR of the type.
    #[error("the body is {0}")]
    Body(&'static str),
}

/// Place of a statement in its issuer's gap-free chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Number from 0, without gaps.
    pub seq: u64,
    /// Hash of the issuer's previous statement; zeroes for the first.
    pub prev: Hash,
}

/// The header of a statement whose signature was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The word of the content type.
    pub kind: String,
    /// The signer's key.
    pub signer: NodeId,
    /// What the statement is about, for people and for SCITT tools.
    pub subject: String,
    /// When the signer says it signed, in whole seconds.
    pub issued_at: UnixMillis,
    /// Place in the signer's chain, for statements that have one.
    pub link: Option<Link>,
    /// The signed body bytes.
    pub body: Vec<u8>,
}

impl Envelope {
    /// Parses a statement of any type and checks its signature against the key that it names.
    ///
    /// # Errors
    /// [`StatementError`]; never `Type` or `Body`.
    pub fn verify(bytes: &[u8]) -> Result<Self, StatementError> {
        Self::verify_by(bytes, &|signer, message, signature| verify(signer, message, signature))
    }

    /// As [`Envelope::verify`], with keys that are decoded once.
    ///
    /// # Errors
    /// Those of [`Envelope::verify`].
    pub fn verify_with(bytes: &[u8], keys: &Keyring) -> Result<Self, StatementError> {
        Self::verify_by(bytes, &|signer, message, signature| keys.verify(signer, message, signature))
    }

    fn verify_by(bytes: &[u8], holds: &dyn Fn(&NodeId, &[u8], &Signature) -> bool) -> Result<Self, StatementError> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::TooLong);
        }
        let malformed = StatementError::Malformed;
        let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| malformed("not a tagged COSE_Sign1"))?;
        let envelope = Self::read(&sign1)?;
        let signature = <[u8; 64]>::try_from(sign1.signature.as_slice());
        let signature = signature.map_err(|_| malformed("a signature is 64 bytes"))?;
        let protected = sign1.protected.original_data.as_deref().ok_or(malformed("no protected header"))?;
        // One statement, one encoding: ids are hashes of these bytes.
        if !is_encoding(bytes, protected, &envelope.body, &signature) {
            return Err(malformed("not canonical"));
        }
        let message = to_be_signed(protected, &envelope.body);
        if !holds(&envelope.signer, &message, &Signature(signature)) {
            return Err(StatementError::Signature);
        }
        Ok(envelope)
    }

    fn read(sign1: &CoseSign1) -> Result<Self, StatementError> {
        let malformed = StatementError::Malformed;
        if !sign1.unprotected.is_empty() {
            return Err(malformed("the unprotected header is not empty"));
        }
        let header = &sign1.protected.header;
        let algorithm = header.alg.as_ref().ok_or(malformed("no algorithm"))?;
        let accepted =
            [iana::Algorithm::EdDSA, iana::Algorithm::Ed25519].map(coset::RegisteredLabelWithPrivate::Assigned);
        if !accepted.contains(algorithm) {
            return Err(malformed("the algorithm is not Ed25519"));
        }
        let Some(coset::ContentType::Text(content_type)) = &header.content_type else {
            return Err(malformed("no content type"));
        };
        let kind = content_type
            .strip_prefix("application/vnd.tacit.")
            .and_then(|rest| rest.strip_suffix("+cbor"))
            .ok_or(malformed("another content type"))?;
        let signer: [u8; 32] = header.key_id.as_slice().try_into().map_err(|_| malformed("a kid is 32 bytes"))?;
        if header.rest.iter().any(|(label, _)| ![LABEL_CLAIMS, LABEL_SEQ, LABEL_PREV].map(Label::Int).contains(label)) {
            return Err(malformed("an unknown header field"));
        }
        let claims = field(&header.rest, LABEL_CLAIMS).and_then(Value::as_map).ok_or(malformed("no claims"))?;
        let claim = |n: i64| claims.iter().find(|(k, _)| *k == Value::from(n)).map(|(_, v)| v);
        if claim(1).and_then(Value::as_text) != Some(NodeId(signer).to_string().as_str()) {
            return Err(malformed("the issuer is not the signing key"));
        }
        let subject = claim(2).and_then(Value::as_text).ok_or(malformed("no subject"))?;
        let issued_at = claim(6).and_then(as_u64).ok_or(malformed("no time of issue"))?;
        let link = match (field(&header.rest, LABEL_SEQ), field(&header.rest, LABEL_PREV)) {
            (None, None) => None,
            (Some(seq), Some(prev)) => Some(Link {
                seq: as_u64(seq).ok_or(malformed("seq"))?,
                prev: Hash(prev.as_bytes().and_then(|b| b.as_slice().try_into().ok()).ok_or(malformed("prev"))?),
            }),
            _ => return Err(malformed("seq and prev go together")),
        };
        Ok(Self {
            kind: kind.to_owned(),
            signer: NodeId(signer),
            subject: subject.to_owned(),
            issued_at: UnixMillis(issued_at.saturating_mul(1000)),
            link,
            body: sign1.payload.clone().ok_or(malformed("no payload"))?,
        })
    }
}

/// The head of a byte string: its length in the shortest form (RFC 8949, section 3).
fn bytes_head(length: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    match length {
        0..=23 => ([0x40 | d, 0, 0, 0, 0], 1),
        24..=0xff => ([0x58, d, 0, 0, 0], 2),
        0x100..=0xffff => ([0x59, c, d, 0, 0], 3),
        // proof: a statement has at most STATEMENT_BYTES_MAX bytes, so its parts have.
        _ => ([0x5a, a, b, c, d], 5),
    }
}

/// Whether the bytes are the tagged COSE_Sign1 of these parts and an empty unprotected header, in the shortest form.
fn is_encoding(bytes: &[u8], protected: &[u8], payload: &[u8], signature: &[u8; 64]) -> bool {
    let mut rest = bytes;
    let heads = [bytes_head(protected.len()), bytes_head(payload.len()), bytes_head(signature.len())];
    let [protected_head, payload_head, signature_head] = &heads;
    let parts: [&[u8]; 8] = [
        &[0xd2, 0x84],
        protected_head.0.get(..protected_head.1).unwrap_or_default(),
        protected,
        &[0xa0],
        payload_head.0.get(..payload_head.1).unwrap_or_default(),
        payload,
        signature_head.0.get(..signature_head.1).unwrap_or_default(),
        signature,
    ];
    for part in parts {
        let Some(left) = rest.strip_prefix(part) else { return false };
        rest = left;
    }
    rest.is_empty()
}

/// The bytes that are signed: `Sig_structure` of RFC 9052, section 4.4, for one signer, without external data.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + protected.len() + payload.len());
    out.extend_from_slice(b"\x84\x6aSignature1");
    let mut add = |part: &[u8]| {
        let (head, length) = bytes_head(part.len());
        out.extend_from_slice(head.get(..length).unwrap_or_default());
        out.extend_from_slice(part);
    };
    add(protected);
    add(&[]);
    add(payload);
    out
}

fn field(rest: &[(Label, Value)], label: i64) -> Option<&Value> {
    rest.iter().find(|(l, _)| *l == Label::Int(label)).map(|(_, v)| v)
}

fn as_u64(value: &Value) -> Option<u64> {
    value.as_integer().and_then(|i| u64::try_from(i).ok())
}

/// A statement whose signature and body were checked, with its exact bytes.
#[derive(Clone, Debug)]
pub struct Statement<T> {
    bytes: Vec<u8>,
    envelope: Envelope,
    body: T,
}

impl<T: Body> Statement<T> {
    /// Signs a body.
    pub fn sign(key: &SigningKey, subject: &str, issued_at: UnixMillis, link: Option<Link>, body: T) -> Self {
        let payload = cbor::encode(&body);
        let signer = key.id();
        let seconds = issued_at.seconds();
        let claims = Value::Map(vec![
            (Value::from(1), Value::from(signer.to_string())),
            (Value::from(2), Value::from(subject)),
            (Value::from(6), Value::from(seconds)),
        ]);
        let mut header = HeaderBuilder::new()
            .algorithm(iana::Algorithm::EdDSA)
            .content_type(format!("application/vnd.tacit.{}+cbor", T::TYPE))
            .key_id(signer.0.to_vec())
            .value(LABEL_CLAIMS, claims);
        if let Some(link) = link {
            header =
                header.value(LABEL_SEQ, Value::from(link.seq)).value(LABEL_PREV, Value::from(link.prev.0.to_vec()));
        }
        let sign1 = CoseSign1Builder::new()
            .protected(header.build())
            .payload(payload.clone())
            .create_signature(&[], |message| key.sign(message).0.to_vec())
            .build();
        // why: every field is of an encodable type, so encoding cannot fail.
        let bytes = sign1.to_tagged_vec().unwrap_or_default();
        let envelope = Envelope {
            kind: T::TYPE.to_owned(),
            signer,
            subject: subject.to_owned(),
            issued_at: UnixMillis(seconds * 1000),
            link,
            body: payload,
        };
        Self { bytes, envelope, body }
    }

    /// Parses and checks a statement of this type, signed by the key that it names. Whether that key
    /// may say so is the caller's question.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify(bytes: &[u8]) -> Result<Self, StatementError> {
        Self::of(Envelope::verify(bytes)?, bytes)
    }

    /// As [`Statement::verify`], with keys that are decoded once.
    ///
    /// # Errors
    /// Those of [`Statement::verify`].
    pub fn verify_with(bytes: &[u8], keys: &Keyring) -> Result<Self, StatementError> {
        Self::of(Envelope::verify_with(bytes, keys)?, bytes)
    }

    /// Reads the body of an envelope that was checked; `bytes` are those that it was read from.
    ///
    /// # Errors
    /// `Type` or `Body`.
    pub fn of(envelope: Envelope, bytes: &[u8]) -> Result<Self, StatementError> {
        if envelope.kind != T::TYPE {
            return Err(StatementError::Type);
        }
        let body = cbor::decode(&envelope.body).map_err(StatementError::Body)?;
        Ok(Self { bytes: bytes.to_vec(), envelope, body })
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the exact bytes.
    pub fn id(&self) -> StatementId {
        StatementId(sha256(&self.bytes).0)
    }

    /// The hash of the body bytes, the same for every signer of one body.
    pub fn body_hash(&self) -> Hash {
        sha256(&self.envelope.body)
    }

    /// The signer's key.
    pub fn signer(&self) -> NodeId {
        self.envelope.signer
    }

    /// The checked header.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The body.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The body, by value.
    pub fn into_body(self) -> T {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::secret::Secret;

    #[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
    #[cbor(map)]
    struct Note {
        #[n(1)]
        text: String,
    }

    impl Body for Note {
        const TYPE: &'static str = "note";
    }

    #[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
    #[cbor(map)]
    struct Other {
        #[n(1)]
        text: String,
    }

    impl Body for Other {
        const TYPE: &'static str = "other";
    }

    fn signed(link: Option<Link>) -> Statement<Note> {
        let key = SigningKey::generate(&mut Rng::from_seed(&Secret::new([9; 32])));
        Statement::sign(&key, "job 1", UnixMillis(5_999), link, Note { text: "hello".into() })
    }

    #[test]
    fn a_statement_round_trips() {
        for link in [None, Some(Link { seq: 3, prev: Hash([2; 32]) })] {
            let statement = signed(link);
            let read = Statement::<Note>::verify(statement.bytes()).unwrap();
            assert_eq!(read.envelope(), statement.envelope());
            assert_eq!(read.body().text, "hello");
            assert_eq!(read.envelope().issued_at, UnixMillis(5_000));
            assert_eq!(read.id(), statement.id());
            assert_eq!(Statement::<Other>::verify(statement.bytes()).unwrap_err(), StatementError::Type);
        }
    }

    /// The two forms that are written here by hand are those of the COSE library, at every length of a head.
    #[test]
    fn the_signed_bytes_and_the_encoding_are_those_of_the_library() {
        let key = SigningKey::generate(&mut Rng::from_seed(&Secret::new([9; 32])));
        for length in [0, 17, 18, 19, 249, 250, 251, 252, 253, 300, 65_529, 65_530, 65_531, 65_532, 70_000] {
            let statement = Statement::sign(&key, "job 1", UnixMillis(5_000), None, Note { text: "x".repeat(length) });
            let sign1 = CoseSign1::from_tagged_slice(statement.bytes()).unwrap();
            let (protected, payload) = (sign1.protected.original_data.clone().unwrap(), sign1.payload.clone().unwrap());
            assert_eq!(to_be_signed(&protected, &payload), sign1.tbs_data(&[]), "{length}");
            let signature = <[u8; 64]>::try_from(sign1.signature.as_slice()).unwrap();
            assert_eq!(sign1.to_tagged_vec().unwrap(), statement.bytes());
            assert!(is_encoding(statement.bytes(), &protected, &payload, &signature), "{length}");
            assert!(Statement::<Note>::verify(statement.bytes()).is_ok());
        }
        // The same statement with a longer head is not its encoding, though the library reads it.
        let statement = signed(None);
        let mut longer = statement.bytes().to_vec();
        assert_eq!(longer[2], 0x58);
        longer.splice(2..3, [0x59, 0x00]);
        assert!(CoseSign1::from_tagged_slice(&longer).is_ok());
        assert_eq!(Statement::<Note>::verify(&longer).unwrap_err(), StatementError::Malformed("not canonical"));
    }

    #[test]
    fn every_altered_bit_is_refused() {
        let statement = signed(Some(Link { seq: 3, prev: Hash([2; 32]) }));
        for i in 0..statement.bytes().len() * 8 {
            let mut bytes = statement.bytes().to_vec();
            bytes[i / 8] ^= 1 << (i % 8);
            assert!(Statement::<Note>::verify(&bytes).is_err(), "bit {i}");
        }
        let mut longer = statement.bytes().to_vec();
        longer.push(0);
        assert!(Statement::<Note>::verify(&longer).is_err());
        assert_eq!(Envelope::verify(&vec![0; STATEMENT_BYTES_MAX + 1]).unwrap_err(), StatementError::TooLong);
    }
}
