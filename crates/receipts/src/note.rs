//! C2SP `signed-note`: a text and the lines that sign it, with verifier keys in text form.
//!
//! Two signature types are known: 0x01, Ed25519 over the text, and 0x04, the timestamped
//! `cosignature/v1` of `tlog-cosignature`. Lines of other keys are kept and ignored.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tacit_crypto::{Signature, SigningKey, verify};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

/// Bytes of a note.
pub const NOTE_BYTES_MAX: usize = 64 << 10;
/// Signature lines of a note.
pub const SIGNATURES_MAX: usize = 128;
/// Bytes of a key's name or a log's origin.
pub const KEY_NAME_BYTES_MAX: usize = 255;
/// Characters of one base64 field.
const BASE64_CHARS_MAX: usize = 16 << 10;

/// What a key signs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KeyKind {
    /// Type 0x01: Ed25519 over the text. A log signs so.
    Ed25519,
    /// Type 0x04: Ed25519 over `cosignature/v1`, a time, and the text. A witness signs so.
    Cosignature,
}

impl KeyKind {
    /// The signature type byte.
    pub const fn byte(self) -> u8 {
        match self {
            KeyKind::Ed25519 => 1,
            KeyKind::Cosignature => 4,
        }
    }
}

/// A named public key. Its text form is `NAME+HASH+BASE64`, with the hash as 8 hex digits and the
/// type byte and the key in base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: NodeId,
}

fn malformed(what: impl Into<String>) -> Fault {
    Fault::new(Code::LogMalformed, what)
}

/// Checks a key name or an origin: 1 to 255 bytes, no space, no plus, no control character.
///
/// # Errors
/// `log.malformed`.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let plain = !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
    if plain && !name.is_empty() && name.len() <= KEY_NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(malformed(format!("not a key name: {:?}", name.chars().take(80).collect::<String>())))
    }
}

/// Strict base64: padded, canonical, of bounded length.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, Fault> {
    if text.len() > BASE64_CHARS_MAX {
        return Err(malformed("a base64 field is too long"));
    }
    STANDARD.decode(text).map_err(|_| malformed("a field is not base64"))
}

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A decimal without sign or leading zeros.
pub(crate) fn from_decimal(text: &str) -> Result<u64, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = if plain { text.parse().ok() } else { None };
    number.ok_or_else(|| malformed(format!("not a number: {:?}", text.chars().take(30).collect::<String>())))
}

impl VerifierKey {
    /// Names a key.
    ///
    /// # Errors
    /// `log.malformed` for an unusable name.
    pub fn new(name: &str, kind: KeyKind, key: NodeId) -> Result<Self, Fault> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), kind, key })
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// `log.malformed` for another form, an unknown type, or a hash that is not this key's.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("a verifier key is NAME+HASH+BASE64"));
        };
        let material = from_base64(material)?;
        let (kind, key) = match material.split_first() {
            Some((1, key)) => (KeyKind::Ed25519, key),
            Some((4, key)) => (KeyKind::Cosignature, key),
            _ => return Err(malformed("a verifier key of an unknown type")),
        };
        let key: [u8; 32] = key.try_into().map_err(|_| malformed("an Ed25519 key is 32 bytes"))?;
        let parsed = Self::new(name, kind, NodeId(key))?;
        if hash != format!("{:08x}", parsed.id()) {
            return Err(malformed(format!("the hash of verifier key {name} is not {hash:.8?}")));
        }
        Ok(parsed)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public key.
    pub fn key(&self) -> NodeId {
        self.key
    }

    /// The key id: the first four bytes of SHA-256(name || 0x0A || type || key), big-endian.
    pub fn id(&self) -> u32 {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', self.kind.byte()])
            .chain_update(self.key.0)
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether a line claims to be by this key.
    pub fn owns(&self, line: &SignatureLine) -> bool {
        self.name == line.name && self.id() == line.id
    }

    /// Checks a line of this key over a text; gives the time for a cosignature.
    ///
    /// # Errors
    /// `log.signature`.
    pub fn check(&self, text: &str, line: &SignatureLine) -> Result<Option<UnixMillis>, Fault> {
        let wrong = || Fault::new(Code::LogSignature, format!("the signature of {} does not verify", self.name));
        if !self.owns(line) {
            return Err(wrong());
        }
        let (time, signature) = match self.kind {
            KeyKind::Ed25519 => (None, line.signature.as_slice()),
            KeyKind::Cosignature => {
                let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(wrong)?;
                (Some(u64::from_be_bytes(*time)), signature)
            }
        };
        let signature: [u8; 64] = signature.try_into().map_err(|_| wrong())?;
        let held = match time {
            None => verify(&self.key, text.as_bytes(), &Signature(signature)),
            Some(time) => time <= i64::MAX as u64 && verify(&self.key, &cosigned(time, text), &Signature(signature)),
        };
        if held { Ok(time.map(|seconds| UnixMillis(seconds.saturating_mul(1000)))) } else { Err(wrong()) }
    }

    /// Signs a text as this key. A cosignature carries `at` in whole seconds.
    ///
    /// # Errors
    /// `log.signature` when `key` is not this verifier key's.
    pub fn sign(&self, key: &SigningKey, text: &str, at: UnixMillis) -> Result<SignatureLine, Fault> {
        if key.id() != self.key {
            return Err(Fault::new(Code::LogSignature, format!("the key at hand is not that of {}", self.name)));
        }
        let signature = match self.kind {
            KeyKind::Ed25519 => key.sign(text.as_bytes()).0.to_vec(),
            KeyKind::Cosignature => {
                let seconds = at.seconds();
                [&seconds.to_be_bytes()[..], &key.sign(&cosigned(seconds, text)).0].concat()
            }
        };
        Ok(SignatureLine { name: self.name.clone(), id: self.id(), signature })
    }
}

/// The message of a cosignature.
fn cosigned(seconds: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.kind.byte()][..], &self.key.0].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id(), to_base64(&material))
    }
}

/// One signature of a note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureLine {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: u32,
    /// The signature in its type's form.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Parses `\u{2014} NAME BASE64`, without the newline.
    ///
    /// # Errors
    /// `log.malformed`.
    pub fn parse(line: &str) -> Result<Self, Fault> {
        let rest =
            line.strip_prefix("\u{2014} ").ok_or_else(|| malformed("a signature line begins with an em dash"))?;
        let (name, encoded) =
            rest.split_once(' ').ok_or_else(|| malformed("a signature line has a name and base64"))?;
        check_name(name)?;
        let raw = from_base64(encoded)?;
        let (id, signature) = raw.split_first_chunk::<4>().ok_or_else(|| malformed("a signature is too short"))?;
        if signature.is_empty() {
            return Err(malformed("a signature is too short"));
        }
        Ok(Self { name: name.to_owned(), id: u32::from_be_bytes(*id), signature: signature.to_vec() })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = [&self.id.to_be_bytes()[..], &self.signature].concat();
        write!(f, "\u{2014} {} {}", self.name, to_base64(&raw))
    }
}

/// A parsed note. Its text means nothing until a trusted key's line was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// A note of a text and no signature yet.
    ///
    /// # Errors
    /// `log.malformed` when the text does not end in a newline or has a control character.
    pub fn new(text: String) -> Result<Self, Fault> {
        let plain = text.ends_with('\n') && !text.bytes().any(|b| b < 0x20 && b != b'\n');
        if plain && text.len() <= NOTE_BYTES_MAX {
            Ok(Self { text, signatures: Vec::new() })
        } else {
            Err(malformed("not the text of a note"))
        }
    }

    /// Parses a note.
    ///
    /// # Errors
    /// `log.malformed` for anything that is not in the format, is over [`NOTE_BYTES_MAX`] or has
    /// more than [`SIGNATURES_MAX`] lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(malformed(format!("a note of {} bytes; {NOTE_BYTES_MAX} are allowed", bytes.len())));
        }
        let whole = core::str::from_utf8(bytes).map_err(|_| malformed("a note is not UTF-8"))?;
        let at = whole.rfind("\n\n").ok_or_else(|| malformed("a note has no blank line before its signatures"))?;
        let (text, rest) = (whole.get(..=at).unwrap_or_default(), whole.get(at + 2..).unwrap_or_default());
        let lines = rest.strip_suffix('\n').ok_or_else(|| malformed("a note does not end in a newline"))?;
        let mut note = Self::new(text.to_owned())?;
        for line in lines.split('\n') {
            note.add(SignatureLine::parse(line)?)?;
        }
        Ok(note)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// `log.malformed` past [`SIGNATURES_MAX`].
    pub fn add(&mut self, line: SignatureLine) -> Result<(), Fault> {
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(malformed(format!("a note has more than {SIGNATURES_MAX} signatures")));
        }
        self.signatures.push(line);
        Ok(())
    }

    /// The text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Checks the line of a key: `None` when there is none; for a cosignature its time.
    ///
    /// # Errors
    /// `log.signature` when the key has a line that does not verify, or several lines.
    pub fn check(&self, key: &VerifierKey) -> Result<Option<Option<UnixMillis>>, Fault> {
        let mut own = self.signatures.iter().filter(|line| key.owns(line));
        match (own.next(), own.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => key.check(&self.text, line).map(Some),
            (Some(_), Some(_)) => Err(Fault::new(Code::LogSignature, format!("{} signed twice", key.name))),
        }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::Secret;

    const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_published_note_verifies_and_writes_back() {
        let key = VerifierKey::parse(NEUMANN).unwrap();
        assert_eq!(key.to_string(), NEUMANN);
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.to_string(), NOTE);
        assert_eq!(note.check(&key).unwrap(), Some(None));
        let altered = NOTE.replacen("answer", "Answer", 1);
        assert!(SignedNote::parse(altered.as_bytes()).unwrap().check(&key).is_err());
        let stranger = VerifierKey::new("someone", KeyKind::Ed25519, key.key()).unwrap();
        assert_eq!(note.check(&stranger).unwrap(), None);
    }

    #[test]
    fn keys_are_parsed_strictly() {
        for bad in [
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AhpcARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
            "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert_eq!(VerifierKey::parse(bad).unwrap_err().code, Code::LogMalformed, "{bad}");
        }
        assert!(check_name(&"a".repeat(KEY_NAME_BYTES_MAX)).is_ok());
        assert!(check_name(&"a".repeat(KEY_NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn notes_are_parsed_strictly() {
        let line = NOTE.lines().last().unwrap();
        for bad in [
            "".to_owned(),
            "text\n".to_owned(),
            "text\n\n".to_owned(),
            format!("text\n{line}\n"),
            format!("text\n\n{line}"),
            format!("te\txt\n\n{line}\n"),
            format!("text\n\n{line}\r\n"),
            format!("text\n\n- PeterNeumann x08go/ZJ\n{line}\n"),
            format!("text\n\n{line} \n"),
            "text\n\n\u{2014} PeterNeumann x08g\n".into(),
            "text\n\n\u{2014} PeterNeumann x08goA==\n".into(),
            format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX + 1)),
            format!("{}\n\n{line}\n", "x".repeat(NOTE_BYTES_MAX)),
        ] {
            assert!(SignedNote::parse(bad.as_bytes()).is_err(), "{bad:.60}");
        }
        let full = format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX));
        assert_eq!(SignedNote::parse(full.as_bytes()).unwrap().signatures().len(), SIGNATURES_MAX);
        // A key that signed twice could sign two things: neither line counts.
        let twice = format!("{NOTE}{line}\n");
        assert!(SignedNote::parse(twice.as_bytes()).unwrap().check(&VerifierKey::parse(NEUMANN).unwrap()).is_err());
    }

    #[test]
    fn a_cosignature_is_over_its_time() {
        let key = SigningKey::from_seed(&Secret::new([5; 32]));
        let public = VerifierKey::new("w.example/1", KeyKind::Cosignature, key.id()).unwrap();
        assert_eq!(VerifierKey::parse(&public.to_string()).unwrap(), public);
        let text = "log.example/x\n1\nAAAA\n";
        let line = public.sign(&key, text, UnixMillis(1_700_000_000_999)).unwrap();
        assert_eq!(public.check(text, &line).unwrap(), Some(UnixMillis(1_700_000_000_000)));
        assert_eq!(line.signature.len(), 72);
        for i in 0..line.signature.len() {
            let mut bad = line.clone();
            bad.signature[i] ^= 1;
            assert!(public.check(text, &bad).is_err(), "byte {i}");
        }
        let plain = VerifierKey::new("w.example/1", KeyKind::Ed25519, key.id()).unwrap();
        assert_ne!(plain.id(), public.id());
        assert!(plain.check(text, &line).is_err());
        let other = SigningKey::from_seed(&Secret::new([6; 32]));
        assert!(public.sign(&other, text, UnixMillis(0)).is_err());
    }
}
