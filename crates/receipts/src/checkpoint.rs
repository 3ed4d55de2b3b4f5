//! C2SP `tlog-checkpoint`: a log's size and root as a signed note, and the quorum of witnesses that
//! a reader asks for.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::SigningKey;
use tacit_types::{Code, Fault, Hash, NodeId, UnixMillis};

use crate::keys::{KeyHistory, KeyRole, PartyKeySpan};
use crate::merkle::TREE_SIZE_MAX;
use crate::note::{KeyKind, SignedNote, VerifierKey, check_name, from_base64, from_decimal, to_base64};
use crate::verify::CLOCK_SKEW_MILLIS_MAX;

/// Witnesses of a log.
pub const WITNESSES_MAX: usize = 64;

/// The head of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log's name, such as `example.org/usage/2026`.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Hash,
}

impl Checkpoint {
    /// Parses the text of a note. Extension lines are refused: no one could audit them.
    ///
    /// # Errors
    /// `log.malformed`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let malformed = |what: &str| Fault::new(Code::LogMalformed, format!("a checkpoint: {what}"));
        let body = text.strip_suffix('\n').ok_or_else(|| malformed("no final newline"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed("three lines are expected"));
        };
        check_name(origin)?;
        let size = from_decimal(size)?;
        if size > TREE_SIZE_MAX {
            return Err(malformed("the size is over the limit"));
        }
        let root: [u8; 32] = from_base64(root)?.try_into().map_err(|_| malformed("a root is 32 bytes"))?;
        Ok(Self { origin: origin.to_owned(), size, root: Hash(root) })
    }

    /// Signs the checkpoint with the log's key.
    ///
    /// # Errors
    /// `log.signature` when `key` is not `log`'s, `log.malformed` when the origin is unusable.
    pub fn sign(&self, log: &VerifierKey, key: &SigningKey) -> Result<SignedCheckpoint, Fault> {
        check_name(&self.origin)?;
        let mut note = SignedNote::new(self.to_string())?;
        note.add(log.sign(key, note.text(), UnixMillis(0))?)?;
        Ok(SignedCheckpoint { checkpoint: self.clone(), note })
    }
}

impl fmt::Display for Checkpoint {
    /// The text of the note.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, to_base64(&self.root.0))
    }
}

/// A checkpoint whose log signature was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl SignedCheckpoint {
    /// Parses a note and checks that the log signed it.
    ///
    /// # Errors
    /// `log.malformed`; `log.signature` when the log's key has no valid line.
    pub fn open(bytes: &[u8], log: &VerifierKey) -> Result<Self, Fault> {
        let note = SignedNote::parse(bytes)?;
        if log.kind() != KeyKind::Ed25519 || note.check(log)?.is_none() {
            return Err(Fault::new(Code::LogSignature, format!("no signature of {}", log.name())));
        }
        Ok(Self { checkpoint: Checkpoint::parse(note.text())?, note })
    }

    /// The head.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The note's bytes, as stored and served.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_string().into_bytes()
    }

    /// Signs with another key of the log as well: that of before, while its overlap lasts.
    ///
    /// # Errors
    /// `log.signature` when `key` is not `log`'s, `log.malformed` for too many lines.
    pub fn also_sign(&mut self, log: &VerifierKey, key: &SigningKey) -> Result<(), Fault> {
        let line = log.sign(key, self.note.text(), UnixMillis(0))?;
        self.note.add(line)
    }

    /// Adds a witness's line after checking it; a line that is there already is left alone.
    ///
    /// # Errors
    /// `log.signature` when the line does not verify.
    pub fn add_cosignature(&mut self, witness: &VerifierKey, line: crate::note::SignatureLine) -> Result<(), Fault> {
        witness.check(self.note.text(), &line)?;
        if self.note.signatures().iter().any(|known| witness.owns(known)) {
            return Ok(());
        }
        self.note.add(line)
    }
}

/// Which witnesses count and how many must have cosigned. Against a log that shows two histories,
/// with `f` of `n` witnesses dishonest, a threshold above (n + f) / 2 is needed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quorum {
    witnesses: Vec<VerifierKey>,
    threshold: usize,
    /// Of witnesses whose keys have changed: every key and when it held, under the first, which stands among the
    /// witnesses.
    later: BTreeMap<NodeId, Vec<(VerifierKey, PartyKeySpan)>>,
}

/// The cosignatures of a checkpoint that count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cosigned {
    /// Names and times, in the order of the quorum.
    pub by: Vec<(String, UnixMillis)>,
}

impl Cosigned {
    /// The latest time at which a counted witness saw the checkpoint as the newest.
    pub fn latest(&self) -> Option<UnixMillis> {
        self.by.iter().map(|(_, at)| *at).max()
    }
}

impl Quorum {
    /// A quorum of `threshold` out of `witnesses`.
    ///
    /// # Errors
    /// `log.malformed` when a key is no cosignature key, is named twice, or the threshold is more
    /// than there are witnesses, or there are more than [`WITNESSES_MAX`].
    pub fn new(witnesses: Vec<VerifierKey>, threshold: usize) -> Result<Self, Fault> {
        let malformed = |what: &str| Err(Fault::new(Code::LogMalformed, format!("the witnesses: {what}")));
        if witnesses.len() > WITNESSES_MAX {
            return malformed("too many");
        }
        if witnesses.iter().any(|w| w.kind() != KeyKind::Cosignature) {
            return malformed("a key is not a cosignature key");
        }
        let keys: BTreeSet<NodeId> = witnesses.iter().map(VerifierKey::key).collect();
        let names: BTreeSet<&str> = witnesses.iter().map(VerifierKey::name).collect();
        if keys.len() != witnesses.len() || names.len() != witnesses.len() {
            return malformed("a key or a name is there twice");
        }
        if threshold > witnesses.len() {
            return malformed("the threshold is more than there are");
        }
        Ok(Self { witnesses, threshold, later: BTreeMap::new() })
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// How many must have cosigned.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Takes over the changes of its witnesses' keys. A witness counts once, with a key that held when it cosigned.
    pub fn follow(&mut self, history: &KeyHistory) {
        for first in &self.witnesses {
            let keys = history.keys_of(KeyRole::Witness, &first.key()).iter();
            // why: a name that was good with one key is with another.
            let named = |key| VerifierKey::new(first.name(), KeyKind::Cosignature, key).ok();
            let keys: Vec<_> = keys.filter_map(|span| Some((named(span.key)?, span.clone()))).collect();
            if !keys.is_empty() {
                self.later.insert(first.key(), keys);
            }
        }
    }

    /// The newest key of each witness.
    pub fn newest(&self) -> impl Iterator<Item = &VerifierKey> {
        let newest = |w: &VerifierKey| self.later.get(&w.key()).and_then(|keys| keys.last()).map(|(key, _)| key);
        self.witnesses.iter().map(move |w| newest(w).unwrap_or(w))
    }

    /// Counts the valid cosignatures. An invalid line of a trusted witness counts for nothing, and so does one of a key
    /// that did not hold then.
    pub fn count(&self, note: &SignedNote) -> Cosigned {
        self.count_behind(note, UnixMillis(0))
    }

    /// As [`Quorum::count`], of a checkpoint behind a receipt of this time: no key that is over by then has seen it,
    /// whatever time it claims.
    pub fn count_behind(&self, note: &SignedNote, newest: UnixMillis) -> Cosigned {
        let at = |key: &VerifierKey| Some(note.check(key).ok()??.unwrap_or_default());
        let behind = |until: UnixMillis| newest <= until.plus(CLOCK_SKEW_MILLIS_MAX);
        let by = |w: &VerifierKey| {
            let at = match self.later.get(&w.key()) {
                None => at(w),
                Some(keys) => keys
                    .iter()
                    .rev()
                    .find_map(|(key, span)| at(key).filter(|at| span.holds(*at) && span.until.is_none_or(behind))),
            };
            Some((w.name().to_owned(), at?))
        };
        Cosigned { by: self.witnesses.iter().filter_map(by).collect() }
    }

    /// Demands the quorum.
    ///
    /// # Errors
    /// `log.quorum`.
    pub fn check(&self, note: &SignedNote) -> Result<Cosigned, Fault> {
        self.enough(self.count(note))
    }

    /// Demands that the cosignatures which count are enough.
    ///
    /// # Errors
    /// `log.quorum`.
    pub fn enough(&self, cosigned: Cosigned) -> Result<Cosigned, Fault> {
        if cosigned.by.len() < self.threshold {
            let what = format!("{} of {} that are needed", cosigned.by.len(), self.threshold);
            return Err(Fault::new(Code::LogQuorum, what));
        }
        Ok(cosigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::Secret;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn vkey(name: &str, kind: KeyKind, seed: u8) -> VerifierKey {
        VerifierKey::new(name, kind, key(seed).id()).unwrap()
    }

    fn signed() -> (VerifierKey, SignedCheckpoint) {
        let log = vkey("log.example/usage/2026", KeyKind::Ed25519, 1);
        let head = Checkpoint { origin: "log.example/usage/2026".into(), size: 7, root: Hash([9; 32]) };
        (log.clone(), head.sign(&log, &key(1)).unwrap())
    }

    #[test]
    fn the_published_example_parses_and_writes_back() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let head = Checkpoint::parse(text).unwrap();
        assert_eq!((head.size, head.to_string().as_str()), (20_852_163, text));
        let largest = text.replace("20852163", &TREE_SIZE_MAX.to_string());
        assert_eq!(Checkpoint::parse(&largest).unwrap().size, TREE_SIZE_MAX);
        for bad in [
            "example.com/x\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
            "example.com/x\n05\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "example.com/x\n+5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "example.com/x\n\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "example.com/x\n99999999999999999999\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "example.com/x\n4611686018427387905\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "example.com/x\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
            "example.com/x\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2\n",
            "example.com/x\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nextension\n",
            "\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        ] {
            assert_eq!(Checkpoint::parse(bad).unwrap_err().code, Code::LogMalformed, "{bad}");
        }
    }

    #[test]
    fn only_the_logs_own_signature_opens_a_checkpoint() {
        let (log, head) = signed();
        assert_eq!(SignedCheckpoint::open(&head.to_bytes(), &log).unwrap(), head);
        let other = vkey("log.example/usage/2026", KeyKind::Ed25519, 2);
        assert_eq!(SignedCheckpoint::open(&head.to_bytes(), &other).unwrap_err().code, Code::LogSignature);
        let bytes = head.to_bytes();
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(SignedCheckpoint::open(&bad, &log).is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_quorum_counts_distinct_trusted_witnesses() {
        let (_, mut head) = signed();
        let names = ["w/a", "w/b", "w/c"];
        let witnesses: Vec<VerifierKey> =
            names.iter().zip(10..).map(|(n, seed)| vkey(n, KeyKind::Cosignature, seed)).collect();
        let quorum = Quorum::new(witnesses.clone(), 2).unwrap();
        let cosign = |head: &mut SignedCheckpoint, w: &VerifierKey, seed: u8, at: u64| {
            let line = w.sign(&key(seed), head.note().text(), UnixMillis(at)).unwrap();
            head.add_cosignature(w, line)
        };
        assert_eq!(quorum.check(head.note()).unwrap_err().code, Code::LogQuorum);
        cosign(&mut head, &witnesses[0], 10, 5_000).unwrap();
        cosign(&mut head, &witnesses[0], 10, 6_000).unwrap();
        let stranger = vkey("w/z", KeyKind::Cosignature, 20);
        cosign(&mut head, &stranger, 20, 7_000).unwrap();
        assert_eq!(quorum.check(head.note()).unwrap_err().code, Code::LogQuorum);
        cosign(&mut head, &witnesses[2], 12, 4_000).unwrap();
        let cosigned = quorum.check(head.note()).unwrap();
        assert_eq!(cosigned.by, [("w/a".into(), UnixMillis(5_000)), ("w/c".into(), UnixMillis(4_000))]);
        assert_eq!(cosigned.latest(), Some(UnixMillis(5_000)));
        let line = witnesses[1].sign(&key(11), "another\n", UnixMillis(1)).unwrap();
        assert!(head.add_cosignature(&witnesses[1], line).is_err());

        assert!(Quorum::new(witnesses.clone(), 4).is_err());
        assert!(Quorum::new(vec![witnesses[0].clone(), vkey("w/d", KeyKind::Cosignature, 10)], 1).is_err());
        assert!(Quorum::new(vec![vkey("w/d", KeyKind::Ed25519, 10)], 1).is_err());
        let many = |n: u8| (0..n).map(|i| vkey(&format!("w/{i}"), KeyKind::Cosignature, i)).collect();
        assert!(Quorum::new(many(WITNESSES_MAX as u8), 1).is_ok());
        assert!(Quorum::new(many(WITNESSES_MAX as u8 + 1), 1).is_err());
    }
}
