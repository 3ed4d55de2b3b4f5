//! Rotation of the log's key: the next key is named in a leaf that the key before it signs.
//!
//! Both keys sign every checkpoint until the overlap is over, so a reader that has not heard of the next one goes on
//! meanwhile. Whoever pinned any key of a log follows the [`KeyRotation`] statements from there to the newest: each is
//! signed by the key that goes, and the key that comes has signed the same terms.

use minicbor::bytes::ByteVec;
use serde::Serialize;
use tacit_crypto::{Body, Signature, SigningKey, Statement, cbor, verify};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::checkpoint::{Quorum, SignedCheckpoint};
use crate::leaf::refused;
use crate::note::{KeyKind, SignedNote, VerifierKey};
use crate::proof::LogProof;
use crate::verify::CLOCK_SKEW_MILLIS_MAX;

/// Keys that a log has had.
pub const LOG_KEYS_MAX: usize = 64;
/// The longest time for which two keys of a log may sign, in milliseconds: 90 days.
pub const OVERLAP_MILLIS_MAX: u64 = 90 * 24 * 3_600_000;

/// What the key that comes signs, before the terms.
const LABEL: &[u8] = b"tacit-key-rotation/1\0";

/// One key of the log gives way to another. Signed by the old one; a leaf of the log.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct KeyRotation {
    /// 1.
    #[n(1)]
    pub version: u32,
    /// The log's origin.
    #[n(2)]
    pub origin: String,
    /// The key that goes.
    #[n(3)]
    pub old: NodeId,
    /// The key that comes.
    #[n(4)]
    pub new: NodeId,
    /// From when on the new key holds.
    #[n(5)]
    pub from: UnixMillis,
    /// Until when the old one still does.
    #[n(6)]
    pub until: UnixMillis,
    /// The new key's signature over a label and this map without this field, 64 bytes.
    #[n(7)]
    pub consent: Option<ByteVec>,
}

impl Body for KeyRotation {
    const TYPE: &'static str = "key-rotation";
}

impl KeyRotation {
    /// Has the old key name the new one, and the new one agree.
    pub fn sign(
        origin: &str,
        (old, new): (&SigningKey, &SigningKey),
        (from, until): (UnixMillis, UnixMillis),
    ) -> Statement<Self> {
        let mut body =
            Self { version: 1, origin: origin.to_owned(), old: old.id(), new: new.id(), from, until, consent: None };
        body.consent = Some(new.sign(&body.terms()).0.to_vec().into());
        Statement::sign(old, origin, from, None, body)
    }

    fn terms(&self) -> Vec<u8> {
        [LABEL, &cbor::encode(&Self { consent: None, ..self.clone() })].concat()
    }

    /// Checks what stands in the statement itself.
    ///
    /// # Errors
    /// `log.key_rotation`.
    pub fn check(statement: &Statement<Self>) -> Result<(), Fault> {
        let body = statement.body();
        let consent = body.consent.as_ref().and_then(|bytes| <[u8; 64]>::try_from(bytes.as_slice()).ok());
        let what = if body.version != 1 {
            "another version than 1"
        } else if statement.signer() != body.old {
            "not signed by the key that goes"
        } else if body.old == body.new {
            "the same key again"
        } else if body.until < body.from || body.until.0 - body.from.0 > OVERLAP_MILLIS_MAX {
            "the overlap"
        } else if !consent.is_some_and(|signature| verify(&body.new, &body.terms(), &Signature(signature))) {
            "the key that comes has not agreed"
        } else {
            return Ok(());
        };
        Err(Fault::new(Code::LogKeyRotation, what))
    }
}

/// The changes of a log's key as one file keeps them.
pub fn to_file(rotations: &[Vec<u8>]) -> Vec<u8> {
    let items: Vec<ByteVec> = rotations.iter().map(|bytes| bytes.clone().into()).collect();
    cbor::encode(&items)
}

/// Reads them back. Whether they follow is for [`LogChain::take`].
///
/// # Errors
/// `log.malformed`.
pub fn from_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let malformed = |what: String| Fault::new(Code::LogMalformed, format!("the changes of the log's key: {what}"));
    let items: Vec<ByteVec> = cbor::decode(bytes).map_err(|e| malformed(e.to_string()))?;
    if items.len() >= LOG_KEYS_MAX {
        return Err(malformed(format!("{} of them", items.len())));
    }
    Ok(items.into_iter().map(Vec::from).collect())
}

/// A key of a log and when it held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKey {
    /// The key.
    pub key: VerifierKey,
    /// From when on; none for a key whose beginning is not known.
    pub from: Option<UnixMillis>,
    /// Until when; none for the newest.
    pub until: Option<UnixMillis>,
    /// The leaf that named it, where it was seen.
    pub leaf: Option<u64>,
}

/// The same, as reports show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShownKey {
    /// The verifier key.
    pub key: String,
    /// From when on, milliseconds since 1970.
    pub from: Option<u64>,
    /// Until when.
    pub until: Option<u64>,
    /// The leaf that named it.
    pub leaf: Option<u64>,
}

/// The keys of one log in their order: one that somebody pinned, and those that rotations lead to from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogChain {
    first: LogKey,
    later: Vec<LogKey>,
}

impl From<VerifierKey> for LogChain {
    fn from(key: VerifierKey) -> Self {
        Self { first: LogKey { key, from: None, until: None, leaf: None }, later: Vec::new() }
    }
}

impl LogChain {
    /// Follows the statements that somebody showed, forwards and backwards from the keys that are known, in whatever
    /// order they come.
    ///
    /// # Errors
    /// `receipt.malformed`, `receipt.signature`; `log.key_rotation` when one does not follow, and then those that do are
    /// followed all the same.
    pub fn take<'a>(&mut self, statements: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Fault> {
        let read = |bytes| Statement::<KeyRotation>::verify(bytes).map_err(refused);
        let mut left = statements.into_iter().take(LOG_KEYS_MAX).map(read).collect::<Result<Vec<_>, _>>()?;
        loop {
            let (before, mut last) = (left.len(), Ok(()));
            left.retain(|statement| {
                let followed = self.follow(statement, None);
                let unmet = followed.is_err();
                last = if unmet { followed } else { core::mem::replace(&mut last, Ok(())) };
                unmet
            });
            if left.is_empty() || left.len() == before {
                return last;
            }
        }
    }

    /// Follows a rotation: away from the newest key, or to the first one, which has signed it as well. One that is
    /// known already changes nothing but where it stands in the log.
    ///
    /// # Errors
    /// `log.key_rotation` for a statement that does not hold, is of another log, names another successor of a key than
    /// the one that is known, or is one too many.
    pub fn follow(&mut self, statement: &Statement<KeyRotation>, leaf: Option<u64>) -> Result<(), Fault> {
        KeyRotation::check(statement)?;
        let body = statement.body();
        let refuse = |what: &str| Err(Fault::new(Code::LogKeyRotation, what));
        if body.origin != self.first.key.name() {
            return refuse("it is of another log");
        }
        let key = |id: NodeId| VerifierKey::new(&body.origin, KeyKind::Ed25519, id);
        let (old, new) = (key(body.old)?, key(body.new)?);
        let known = |wanted: &VerifierKey| self.keys().position(|held| held.key == *wanted);
        match (known(&old), known(&new)) {
            (Some(before), Some(after)) if before + 1 == after => {
                let until = self.keys().nth(before).and_then(|held| held.until);
                let same = |held: &&mut LogKey| (held.from, until) == (Some(body.from), Some(body.until));
                let Some(held) = self.later.get_mut(before).filter(same) else {
                    return refuse("the same keys at another time");
                };
                held.leaf = held.leaf.or(leaf);
                return Ok(());
            }
            _ if self.later.len() + 1 >= LOG_KEYS_MAX => return refuse("too many keys"),
            (Some(last), None) if last == self.later.len() => {
                self.newest_mut().until = Some(body.until);
                self.later.push(LogKey { key: new, from: Some(body.from), until: None, leaf });
            }
            (None, Some(0)) => {
                let came = LogKey { from: Some(body.from), leaf, ..self.first.clone() };
                self.later.insert(0, came);
                self.first = LogKey { key: old, from: None, until: Some(body.until), leaf: None };
            }
            (Some(_), _) => return refuse("the key that goes has another successor"),
            _ => return refuse("neither key is known"),
        }
        Ok(())
    }

    /// The keys, oldest first.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &LogKey> + Clone {
        core::iter::once(&self.first).chain(&self.later)
    }

    /// The key that holds now.
    pub fn newest(&self) -> &VerifierKey {
        &self.later.last().unwrap_or(&self.first).key
    }

    fn newest_mut(&mut self) -> &mut LogKey {
        self.later.last_mut().unwrap_or(&mut self.first)
    }

    /// As reports show it.
    pub fn shown(&self) -> Vec<ShownKey> {
        let millis = |at: Option<UnixMillis>| at.map(|at| at.0);
        let shown = |held: &LogKey| ShownKey {
            key: held.key.to_string(),
            from: millis(held.from),
            until: millis(held.until),
            leaf: held.leaf,
        };
        self.keys().map(shown).collect()
    }

    /// Opens a checkpoint that any key of the chain signed, the newest that did. Whether that key held then is for
    /// [`LogChain::check_held`]: where the reader keeps the log itself, it has checked it before.
    ///
    /// # Errors
    /// `log.malformed`; `log.signature`, which says so when a key signed that the chain does not know.
    pub fn open(&self, bytes: &[u8]) -> Result<(SignedCheckpoint, LogKey), Fault> {
        for held in self.keys().rev() {
            match SignedCheckpoint::open(bytes, &held.key) {
                Err(fault) if fault.code == Code::LogSignature => {}
                opened => return opened.map(|signed| (signed, held.clone())),
            }
        }
        let name = self.first.key.name();
        let note = SignedNote::parse(bytes)?;
        let others = note.signatures().iter().any(|line| line.name == name && !self.keys().any(|k| k.key.owns(line)));
        let hint = if others { ", but one of another key of that name: a newer trust file may have it" } else { "" };
        Err(Fault::new(Code::LogSignature, format!("no signature of {name}{hint}")))
    }

    /// Checks that a key of the chain held when it signed a checkpoint: by the clock of the witnesses that count, and
    /// where none does, by the place of the leaf that named its successor.
    ///
    /// # Errors
    /// `log.key_retired`.
    pub fn check_held(&self, held: &LogKey, seen: Option<UnixMillis>, size: u64) -> Result<(), Fault> {
        let id = || held.key.key().short();
        let retired = |what: String| Err(Fault::new(Code::LogKeyRetired, what));
        match (seen, held.until) {
            (Some(at), Some(until)) if at > until => {
                retired(format!("the key {} held until {until}; the witnesses saw it at {at}", id()))
            }
            (None, Some(until)) if !self.is_before_successor(held, size) => {
                retired(format!("the key {} held until {until}, and no witness says when it signed", id()))
            }
            (Some(at), _) if held.from.is_some_and(|from| at.plus(CLOCK_SKEW_MILLIS_MAX) < from) => {
                let from = held.from.unwrap_or_default();
                retired(format!("the key {} holds from {from}; the witnesses saw it at {at}", id()))
            }
            _ => Ok(()),
        }
    }

    /// The key to verify a proof with: the newest of the chain that signed its checkpoint, when that key held then.
    ///
    /// # Errors
    /// `log.malformed`, `log.signature`, `log.key_retired`.
    pub fn key_of(&self, proof: &LogProof, quorum: &Quorum) -> Result<VerifierKey, Fault> {
        let (signed, held) = self.open(&proof.note)?;
        self.check_held(&held, quorum.count(signed.note()).latest(), signed.checkpoint().size)?;
        Ok(held.key)
    }

    /// Whether a head ends before the leaf that named the successor of a key.
    fn is_before_successor(&self, held: &LogKey, size: u64) -> bool {
        let next = self.keys().skip_while(|k| k.key != held.key).nth(1);
        next.and_then(|next| next.leaf).is_some_and(|leaf| size <= leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use tacit_crypto::Secret;
    use tacit_types::Hash;

    const ORIGIN: &str = "log.example/usage/2026";
    const DAY: u64 = 86_400_000;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn public(seed: u8) -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(seed).id()).unwrap()
    }

    fn turn(old: u8, new: u8, day: u64) -> Statement<KeyRotation> {
        let from = UnixMillis(day * DAY);
        KeyRotation::sign(ORIGIN, (&key(old), &key(new)), (from, from.plus(DAY)))
    }

    fn seeds(chain: &LogChain) -> Vec<u8> {
        let seed = |k: &LogKey| (0..=9).find(|s| public(*s) == k.key).unwrap();
        chain.keys().map(seed).collect()
    }

    #[test]
    fn a_chain_is_followed_from_any_key_that_was_pinned() {
        let turns = [turn(1, 2, 10), turn(2, 3, 20), turn(3, 4, 30)];
        let bytes: Vec<&[u8]> = turns.iter().map(|t| t.bytes()).collect();
        for pinned in 1..=4u8 {
            let mut chain = LogChain::from(public(pinned));
            chain.take(bytes.iter().copied()).unwrap();
            assert_eq!(seeds(&chain), [1, 2, 3, 4], "from {pinned}");
            assert_eq!(*chain.newest(), public(4));
        }
        let (mut chain, stranger) = (LogChain::from(public(2)), turn(7, 8, 15));
        let all = [stranger.bytes()].into_iter().chain(bytes);
        assert_eq!(chain.take(all).unwrap_err().code, Code::LogKeyRotation);
        assert_eq!(seeds(&chain), [1, 2, 3, 4], "what follows is followed all the same");
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let mut chain = LogChain::from(public(1));
        chain.follow(&turn(1, 2, 10), Some(7)).unwrap();
        let before = chain.clone();
        let code = |chain: &mut LogChain, s: &Statement<KeyRotation>| chain.follow(s, None).unwrap_err().code;
        for wrong in [turn(1, 3, 10), turn(1, 2, 11), turn(5, 6, 10), turn(2, 1, 20), turn(4, 2, 9)] {
            assert_eq!(code(&mut chain, &wrong), Code::LogKeyRotation, "{:?}", wrong.body());
            assert_eq!(chain, before);
        }
        chain.follow(&turn(1, 2, 10), Some(9)).unwrap();
        assert_eq!(chain, before, "what is known keeps its leaf");
        let body = turn(2, 3, 20).into_body();
        let tampered: [fn(&mut KeyRotation); 6] = [
            |b| b.version = 2,
            |b| b.origin = "log.example/other".into(),
            |b| b.new = key(4).id(),
            |b| b.until = b.until.plus(1),
            |b| b.from = b.until.plus(1),
            |b| b.consent = None,
        ];
        for tamper in tampered {
            let mut body = body.clone();
            tamper(&mut body);
            let statement = Statement::sign(&key(2), ORIGIN, UnixMillis(0), None, body);
            assert_eq!(code(&mut chain, &statement), Code::LogKeyRotation);
        }
        let by_another = Statement::sign(&key(9), ORIGIN, UnixMillis(0), None, body);
        assert_eq!(code(&mut chain, &by_another), Code::LogKeyRotation);
        let long = |more| {
            let until = UnixMillis(OVERLAP_MILLIS_MAX + more);
            KeyRotation::sign(ORIGIN, (&key(2), &key(3)), (UnixMillis(0), until))
        };
        assert_eq!(code(&mut chain, &long(1)), Code::LogKeyRotation);
        chain.follow(&long(0), None).unwrap();
    }

    #[test]
    fn a_chain_has_at_most_so_many_keys() {
        let many = |seed: u8| SigningKey::from_seed(&Secret::new([seed; 32]));
        let mut chain = LogChain::from(public(1));
        for seed in 1..LOG_KEYS_MAX as u8 {
            let at = (UnixMillis(0), UnixMillis(0));
            chain.follow(&KeyRotation::sign(ORIGIN, (&many(seed), &many(seed + 1)), at), None).unwrap();
        }
        let last = LOG_KEYS_MAX as u8;
        let more = KeyRotation::sign(ORIGIN, (&many(last), &many(last + 1)), (UnixMillis(0), UnixMillis(0)));
        assert_eq!(chain.follow(&more, None).unwrap_err().code, Code::LogKeyRotation);
    }

    #[test]
    fn a_key_holds_in_its_time_alone() {
        let mut chain = LogChain::from(public(1));
        chain.follow(&turn(1, 2, 10), Some(7)).unwrap();
        let head = |size| Checkpoint { origin: ORIGIN.into(), size, root: Hash([1; 32]) };
        let note = |seed: u8, size| head(size).sign(&public(seed), &key(seed)).unwrap().to_bytes();
        let held = |note: &[u8], day: Option<u64>| {
            let (signed, by) = chain.open(note)?;
            let at = day.map(|day| UnixMillis(day * DAY));
            chain.check_held(&by, at, signed.checkpoint().size).map(|()| by.key)
        };
        assert_eq!(held(&note(1, 9), Some(11)).unwrap(), public(1), "the last day of the overlap");
        assert_eq!(held(&note(1, 9), Some(12)).unwrap_err().code, Code::LogKeyRetired);
        assert_eq!(held(&note(2, 9), Some(12)).unwrap(), public(2));
        assert_eq!(held(&note(2, 9), Some(9)).unwrap_err().code, Code::LogKeyRetired, "before it held");
        assert_eq!(held(&note(1, 7), None).unwrap(), public(1), "before the leaf that named the next");
        assert_eq!(held(&note(1, 8), None).unwrap_err().code, Code::LogKeyRetired);
        assert_eq!(held(&note(2, 8), None).unwrap(), public(2));
        let fault = held(&note(3, 8), Some(12)).unwrap_err();
        assert_eq!(fault.code, Code::LogSignature);
        assert!(fault.what.contains("newer trust file"), "{fault}");

        // Who knows the old key alone reads a note of both, and so does who knows both.
        let mut both = head(9).sign(&public(2), &key(2)).unwrap();
        both.also_sign(&public(1), &key(1)).unwrap();
        assert_eq!(held(&both.to_bytes(), Some(12)).unwrap(), public(2));
        assert!(SignedCheckpoint::open(&both.to_bytes(), &public(1)).is_ok());
    }
}
