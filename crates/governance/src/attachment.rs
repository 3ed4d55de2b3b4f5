//! What comes with a job under seal: the job holds its hash, the coordinator holds bytes that it cannot open.
//!
//! The plain bytes are thirty-two random ones and the content, so that the hash in the job tells nothing of a
//! content that could be guessed. One key seals them; it is sealed to each party that may open them.

use serde::{Deserialize, Serialize};
use tacit_crypto::seal::{open_once, seal_once};
use tacit_crypto::{Rng, SealKey, SealPublic, Secret, sha256};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault};

use crate::job::AttachmentRef;

/// Bytes of an attachment's content.
pub const ATTACHMENT_BYTES_MAX: usize = 32 << 20;
/// Bytes of an attachment's name.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 32;
/// Random bytes before the content.
const SALT_BYTES: usize = 32;
/// Parties that one attachment is sealed to.
const WRAPS_MAX: usize = tacit_types::limits::SEATS_MAX;
/// What sealing adds to the content at most.
const OVERHEAD_MAX: usize = 256 + WRAPS_MAX * 192;
/// The most sealed bytes.
pub const SEALED_BYTES_MAX: usize = ATTACHMENT_BYTES_MAX + OVERHEAD_MAX;

#[derive(Serialize, Deserialize)]
struct Sealed {
    /// The key, sealed to each party.
    wraps: Vec<(SealPublic, Blob)>,
    /// Salt and content under the key.
    body: Blob,
}

/// Seals a content to parties. Gives what the job says of it, and the sealed bytes.
///
/// # Errors
/// `args.invalid` for a name or a content over its limit, or a party's key that is none.
pub fn seal(
    rng: &mut Rng,
    name: &str,
    content: &[u8],
    parties: &[SealPublic],
) -> Result<(AttachmentRef, Vec<u8>), Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, format!("attachment `{name}`: {what}"));
    if content.len() > ATTACHMENT_BYTES_MAX || parties.len() > WRAPS_MAX || name.len() > ATTACHMENT_NAME_BYTES_MAX {
        return Err(invalid(format!("{} bytes, at most {ATTACHMENT_BYTES_MAX}", content.len())));
    }
    let mut plain = rng.bytes::<SALT_BYTES>().to_vec();
    plain.extend_from_slice(content);
    let hash = sha256(&plain);
    let key = Secret::new(rng.bytes::<32>());
    let wraps = parties
        .iter()
        .map(|to| to.seal(rng, &hash.0, key.expose_secret()).map(|sealed| (*to, Blob(sealed))))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| invalid("a party's sealing key is not a group element".into()))?;
    let sealed = wire::encode(&Sealed { wraps, body: Blob(seal_once(&key, &hash.0, &plain)) });
    let reference =
        AttachmentRef { name: name.to_owned(), plain: hash, sealed: sha256(&sealed), bytes: content.len() as u64 };
    Ok((reference, sealed))
}

/// Opens what [`seal`] made, and checks that it is what the signed job refers to.
///
/// # Errors
/// `refused.parameters` when it is not, or is not sealed to this key.
pub fn open(reference: &AttachmentRef, sealed: &[u8], key: &SealKey) -> Result<Vec<u8>, Fault> {
    let wrong = |what: &str| Fault::new(Code::RefusedParameters, format!("attachment `{}`: {what}", reference.name));
    if sha256(sealed) != reference.sealed {
        return Err(wrong("the sealed bytes are not those that the job names"));
    }
    let parsed: Sealed = wire::decode_capped(sealed, SEALED_BYTES_MAX).map_err(|_| wrong("malformed"))?;
    let own = key.public();
    let wrap = parsed.wraps.iter().find(|(to, _)| *to == own).ok_or_else(|| wrong("not sealed to this node"))?;
    let inner = key.open(&reference.plain.0, &wrap.1).and_then(|k| <[u8; 32]>::try_from(k).ok());
    let inner = Secret::new(inner.ok_or_else(|| wrong("the key does not open"))?);
    let mut plain =
        open_once(&inner, &reference.plain.0, &parsed.body).ok_or_else(|| wrong("the content does not open"))?;
    if sha256(&plain) != reference.plain || plain.len() as u64 != reference.bytes + SALT_BYTES as u64 {
        return Err(wrong("the content is not the one that the job names"));
    }
    Ok(plain.split_off(SALT_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng(n: u8) -> Rng {
        Rng::from_seed(&Secret::new([n; 32]))
    }

    #[test]
    fn each_party_opens_what_the_job_names_and_nobody_else_does() {
        let mut r = rng(1);
        let keys = [SealKey::generate(&mut r), SealKey::generate(&mut r), SealKey::generate(&mut r)];
        let to = [keys[0].public(), keys[1].public()];
        let (reference, sealed) = seal(&mut r, "keys", b"alice bob", &to).unwrap();
        assert_eq!(open(&reference, &sealed, &keys[0]).unwrap(), b"alice bob");
        assert_eq!(open(&reference, &sealed, &keys[1]).unwrap(), b"alice bob");
        assert!(open(&reference, &sealed, &keys[2]).unwrap_err().what.contains("not sealed to this node"));
        let window = |needle: &[u8]| sealed.windows(needle.len()).any(|w| w == needle);
        assert!(!window(b"alice") && !window(b"bob"));
        // Equal contents have unequal hashes.
        assert_ne!(seal(&mut rng(2), "keys", b"alice bob", &to).unwrap().0.plain, reference.plain);
    }

    #[test]
    fn an_altered_byte_or_reference_is_refused() {
        let mut r = rng(3);
        let key = SealKey::generate(&mut r);
        let (reference, sealed) = seal(&mut r, "keys", &[7; 100], &[key.public()]).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open(&reference, &altered, &key).is_err(), "{at}");
            // Also where a coordinator could change what the job says, which it cannot.
            let follows = AttachmentRef { sealed: sha256(&altered), ..reference.clone() };
            assert!(open(&follows, &altered, &key).is_err(), "{at}");
        }
        for wrong in [
            AttachmentRef { plain: tacit_types::Hash([0; 32]), ..reference.clone() },
            AttachmentRef { bytes: 99, ..reference.clone() },
        ] {
            assert!(open(&wrong, &sealed, &key).is_err());
        }
    }

    #[test]
    fn the_limits_hold_one_past_each() {
        let mut r = rng(4);
        assert!(seal(&mut r, "keys", &vec![0; ATTACHMENT_BYTES_MAX], &[]).is_ok());
        assert!(seal(&mut r, "keys", &vec![0; ATTACHMENT_BYTES_MAX + 1], &[]).is_err());
        assert!(seal(&mut r, &"k".repeat(ATTACHMENT_NAME_BYTES_MAX), b"", &[]).is_ok());
        assert!(seal(&mut r, &"k".repeat(ATTACHMENT_NAME_BYTES_MAX + 1), b"", &[]).is_err());
        let point = SealKey::generate(&mut r).public();
        assert!(seal(&mut r, "keys", b"", &[point; WRAPS_MAX]).unwrap().1.len() < OVERHEAD_MAX);
        assert!(seal(&mut r, "keys", b"", &vec![point; WRAPS_MAX + 1]).is_err());
        assert!(seal(&mut r, "keys", b"", &[SealPublic([0; 32])]).is_err());
    }
}
