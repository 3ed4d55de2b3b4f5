//! A witness: what a node does before it cosigns a log's checkpoint, after C2SP `tlog-witness`.
//!
//! Two steps, because a witness that forgets cosigns two histories: [`Witness::prepare`] checks and
//! gives the state to persist; after it is on disk, [`Witness::release`] signs.

use tacit_crypto::SigningKey;
use tacit_types::{Code, Fault, Hash, UnixMillis};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::fork::Prefix;
use crate::merkle::{PROOF_HASHES_MAX, empty_root, verify_consistency};
use crate::note::{KeyKind, SignatureLine, SignedNote, VerifierKey, from_base64, from_decimal, to_base64};

/// Bytes of an `add-checkpoint` request.
pub const REQUEST_BYTES_MAX: usize = 80 << 10;

/// A witness's name: its party's under the host of the log that its party is enrolled with.
pub fn witness_name(party: &str, origin: &str) -> String {
    format!("{party}.{}", origin.split('/').next().unwrap_or(origin))
}

/// The newest checkpoint that a witness cosigned: its whole state for a log.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Seen {
    /// Leaves.
    #[n(1)]
    pub size: u64,
    /// Root.
    #[n(2)]
    pub root: Hash,
    /// When it was cosigned.
    #[n(3)]
    pub at: UnixMillis,
    /// The note's bytes with the log's signature: one half of the evidence, should the log fork.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub note: Vec<u8>,
}

/// Why a witness does not cosign. The numbers in brackets are the HTTP status of `tlog-witness`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WitnessRefusal {
    /// The request cannot be read, or its old size is above its new size (400).
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The checkpoint is of a log that this witness does not follow (404).
    #[error("another log than {0}")]
    UnknownLog(String),
    /// The log's key did not sign it (403).
    #[error("not signed by the log")]
    Signature,
    /// The request does not start from the size that the witness holds, which is this (409).
    #[error("the witness holds size {0}")]
    Stale(u64),
    /// The checkpoint is smaller than the one that the witness holds: the log went back (409).
    #[error("the log went back from {held} to {offered} leaves")]
    Rollback {
        /// Leaves that the witness has seen.
        held: u64,
        /// Leaves of the checkpoint.
        offered: u64,
    },
    /// Two histories, both signed: another root at the same size (409), or a larger log whose own proof gives its first leaves
    /// another root than the one that was cosigned (422). The two notes are the evidence, the latter with the prefix.
    #[error("the log shows two histories")]
    Fork {
        /// The note that the witness holds.
        held: Vec<u8>,
        /// The note that it was offered.
        offered: Vec<u8>,
        /// What the larger has in the place of what was cosigned.
        prefix: Option<Prefix>,
    },
    /// The proof does not lead from the held root to the new one (422).
    #[error("the consistency proof does not verify")]
    BadProof,
    /// The witness's clock is behind its own last cosignature.
    #[error("the witness's clock went back")]
    Clock,
}

impl WitnessRefusal {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            WitnessRefusal::Malformed(_) => Code::LogMalformed,
            WitnessRefusal::UnknownLog(_) => Code::LogUnknown,
            WitnessRefusal::Signature => Code::LogSignature,
            WitnessRefusal::Stale(_) => Code::LogStale,
            WitnessRefusal::Rollback { .. } => Code::LogRollback,
            WitnessRefusal::Fork { .. } => Code::LogFork,
            WitnessRefusal::BadProof => Code::LogProof,
            WitnessRefusal::Clock => Code::LogClock,
        }
    }

    /// The HTTP status of `tlog-witness`.
    pub fn status(&self) -> u16 {
        match self {
            WitnessRefusal::Malformed(_) => 400,
            WitnessRefusal::UnknownLog(_) => 404,
            WitnessRefusal::Signature => 403,
            WitnessRefusal::BadProof | WitnessRefusal::Fork { prefix: Some(_), .. } => 422,
            WitnessRefusal::Stale(_) | WitnessRefusal::Rollback { .. } | WitnessRefusal::Fork { .. } => 409,
            WitnessRefusal::Clock => 503,
        }
    }
}

/// A request to cosign: the body of `add-checkpoint`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size that the proof starts from: what the witness is thought to hold, or 0.
    pub old: u64,
    /// The consistency proof from `old`.
    pub proof: Vec<Hash>,
    /// The checkpoint note.
    pub note: Vec<u8>,
}

impl AddCheckpoint {
    /// Parses the body: `old N`, proof lines, an empty line, the checkpoint.
    ///
    /// # Errors
    /// `log.malformed`.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let malformed = |what: &str| Fault::new(Code::LogMalformed, format!("an add-checkpoint request: {what}"));
        if body.len() > REQUEST_BYTES_MAX {
            return Err(malformed("too long"));
        }
        let text = core::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| malformed("no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|l| l.strip_prefix("old ")).ok_or_else(|| malformed("no old size"))?;
        Ok(Self { old: from_decimal(old)?, proof: proof_lines(lines)?, note: note.as_bytes().to_vec() })
    }

    /// The origin that the checkpoint names, before anything of it was checked but its form.
    ///
    /// # Errors
    /// [`WitnessRefusal::Malformed`].
    pub fn origin(&self) -> Result<String, WitnessRefusal> {
        let head = SignedNote::parse(&self.note).and_then(|note| Checkpoint::parse(note.text()));
        head.map(|head| head.origin).map_err(|fault| WitnessRefusal::Malformed(fault.what))
    }

    /// The body's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("old {}\n", self.old);
        for hash in &self.proof {
            out.push_str(&to_base64(&hash.0));
            out.push('\n');
        }
        out.push('\n');
        [out.as_bytes(), &self.note].concat()
    }
}

/// Base64 hashes, one a line.
pub(crate) fn proof_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, Fault> {
    let mut proof = Vec::new();
    for line in lines {
        if proof.len() == PROOF_HASHES_MAX {
            return Err(Fault::new(Code::LogMalformed, format!("a proof of more than {PROOF_HASHES_MAX} hashes")));
        }
        let raw: [u8; 32] = from_base64(line)?
            .try_into()
            .map_err(|_| Fault::new(Code::LogMalformed, "a proof line is not 32 bytes in base64"))?;
        proof.push(Hash(raw));
    }
    Ok(proof)
}

/// A witness of one log.
#[derive(Clone, Debug)]
pub struct Witness {
    key: VerifierKey,
    log: VerifierKey,
    origin: String,
    seen: Option<Seen>,
}

/// A checkpoint that passed, not yet cosigned. Persist [`seen`](Self::seen), then release.
#[derive(Debug)]
#[must_use = "persist the state, then release the cosignature"]
pub struct Prepared {
    base: u64,
    seen: Seen,
    text: String,
}

impl Prepared {
    /// The state to write to disk before the cosignature is released.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Witness {
    /// A witness that signs as `key`, follows the log `origin` with the key `log`, and last cosigned
    /// `seen`.
    ///
    /// # Errors
    /// `log.malformed` when `key` is no cosignature key or `log` no log key.
    pub fn new(key: VerifierKey, log: VerifierKey, origin: &str, seen: Option<Seen>) -> Result<Self, Fault> {
        if key.kind() != KeyKind::Cosignature || log.kind() != KeyKind::Ed25519 {
            return Err(Fault::new(Code::LogMalformed, "a witness key has type 4, a log key type 1"));
        }
        Ok(Self { key, log, origin: origin.to_owned(), seen })
    }

    /// Follows the log to its next key.
    ///
    /// # Errors
    /// `log.malformed` when it is no log key.
    pub fn rekey(&mut self, log: VerifierKey) -> Result<(), Fault> {
        if log.kind() != KeyKind::Ed25519 {
            return Err(Fault::new(Code::LogMalformed, "a log key has type 1"));
        }
        self.log = log;
        Ok(())
    }

    /// What it last cosigned.
    pub fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// Its verifier key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Checks a request. The log must have signed the checkpoint, and the proof must lead from what
    /// this witness holds to it.
    ///
    /// # Errors
    /// [`WitnessRefusal`].
    pub fn prepare(&self, request: &AddCheckpoint, now: UnixMillis) -> Result<Prepared, WitnessRefusal> {
        // A log that is not followed is no log with a bad signature: its origin is looked at first.
        if request.origin()? != self.origin {
            return Err(WitnessRefusal::UnknownLog(self.origin.clone()));
        }
        let signed = SignedCheckpoint::open(&request.note, &self.log).map_err(|fault| match fault.code {
            Code::LogSignature => WitnessRefusal::Signature,
            _ => WitnessRefusal::Malformed(fault.what),
        })?;
        let head = signed.checkpoint();
        if request.old > head.size {
            return Err(WitnessRefusal::Malformed("the old size is above the new".into()));
        }
        let (held, held_root) = self.seen.as_ref().map_or((0, empty_root()), |seen| (seen.size, seen.root));
        if let Some(seen) = &self.seen {
            if head.size == seen.size && head.root != seen.root {
                let (held, offered) = (seen.note.clone(), self.own_evidence(signed.note()));
                return Err(WitnessRefusal::Fork { held, offered, prefix: None });
            }
            if now.seconds() < seen.at.seconds() {
                return Err(WitnessRefusal::Clock);
            }
        }
        if head.size < held {
            return Err(WitnessRefusal::Rollback { held, offered: head.size });
        }
        if request.old != held {
            return Err(WitnessRefusal::Stale(held));
        }
        if verify_consistency(held, head.size, &request.proof, &held_root, &head.root).is_err() {
            let prefix = Prefix::given(held, head.size, &request.proof, &head.root);
            let Some((seen, prefix)) = self.seen.as_ref().zip(prefix) else { return Err(WitnessRefusal::BadProof) };
            let (held, offered) = (seen.note.clone(), self.own_evidence(signed.note()));
            return Err(WitnessRefusal::Fork { held, offered, prefix: Some(prefix) });
        }
        let text = signed.note().text().to_owned();
        let seen = Seen { size: head.size, root: head.root, at: now, note: self.own_evidence(signed.note()) };
        Ok(Prepared { base: held, seen, text })
    }

    /// The note with the log's line alone: others' lines could make it grow.
    fn own_evidence(&self, note: &SignedNote) -> Vec<u8> {
        let lines: String = note.signatures().iter().filter(|l| self.log.owns(l)).map(|l| format!("{l}\n")).collect();
        format!("{}\n{lines}", note.text()).into_bytes()
    }

    /// The state after a cosignature of this witness that it does not remember, because its state is from before: a head
    /// beyond what it remembers that carries one. Persist it, then [`remember`](Self::remember) it.
    pub fn forgotten(&self, head: &SignedCheckpoint) -> Option<Seen> {
        let (note, head) = (head.note(), head.checkpoint());
        if head.origin != self.origin || head.size <= self.seen.as_ref().map_or(0, |seen| seen.size) {
            return None;
        }
        let at = note.check(&self.key).ok()??.unwrap_or(UnixMillis(0));
        Some(Seen { size: head.size, root: head.root, at, note: self.own_evidence(note) })
    }

    /// Goes on from what it had cosigned before its state was lost. What it has cosigned since stays where it is further.
    pub fn remember(&mut self, seen: Seen) {
        if self.seen.as_ref().is_none_or(|held| held.size < seen.size) {
            self.seen = Some(seen);
        }
    }

    /// Cosigns a prepared checkpoint whose state is on disk.
    ///
    /// # Errors
    /// [`WitnessRefusal::Stale`] when another checkpoint was released in between;
    /// [`WitnessRefusal::Signature`] when `key` is not this witness's.
    pub fn release(&mut self, prepared: Prepared, key: &SigningKey) -> Result<SignatureLine, WitnessRefusal> {
        let held = self.seen.as_ref().map_or(0, |seen| seen.size);
        if held != prepared.base {
            return Err(WitnessRefusal::Stale(held));
        }
        let line = self.key.sign(key, &prepared.text, prepared.seen.at).map_err(|_| WitnessRefusal::Signature)?;
        self.seen = Some(prepared.seen);
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{MemTree, consistency_proof, leaf_hash, root};
    use tacit_crypto::Secret;

    const ORIGIN: &str = "log.example/usage/2026";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn log_key() -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(1).id()).unwrap()
    }

    fn tree(n: u64, salt: u8) -> MemTree {
        let mut tree = MemTree::default();
        (0..n).for_each(|i| tree.push(leaf_hash(&[salt * u8::from(i > 4), i as u8])));
        tree
    }

    fn request(tree: &MemTree, old: u64, new: u64) -> AddCheckpoint {
        let head = Checkpoint { origin: ORIGIN.into(), size: new, root: root(tree, new).unwrap() };
        let note = head.sign(&log_key(), &key(1)).unwrap().to_bytes();
        AddCheckpoint { old, proof: consistency_proof(tree, old, new).unwrap(), note }
    }

    fn witness() -> Witness {
        let public = VerifierKey::new("w.example/a", KeyKind::Cosignature, key(2).id()).unwrap();
        Witness::new(public, log_key(), ORIGIN, None).unwrap()
    }

    fn advance(witness: &mut Witness, request: &AddCheckpoint, now: u64) -> Result<SignatureLine, WitnessRefusal> {
        let prepared = witness.prepare(request, UnixMillis(now))?;
        witness.release(prepared, &key(2))
    }

    #[test]
    fn a_growing_log_is_cosigned() {
        let (tree, mut witness) = (tree(20, 0), witness());
        let mut old = 0;
        for (new, now) in [(0, 1), (2, 1_000), (7, 2_000), (7, 2_000), (20, 9_000)] {
            let ask = request(&tree, old, new);
            assert_eq!(AddCheckpoint::parse(&ask.to_bytes()).unwrap(), ask);
            let line = advance(&mut witness, &ask, now).unwrap();
            let mut signed = SignedCheckpoint::open(&ask.note, &log_key()).unwrap();
            signed.add_cosignature(witness.key(), line).unwrap();
            assert_eq!(signed.note().check(witness.key()).unwrap(), Some(Some(UnixMillis(now / 1000 * 1000))));
            old = new;
        }
        assert_eq!(witness.seen().unwrap().size, 20);
    }

    #[test]
    fn rollback_fork_and_bad_proofs_are_refused() {
        let (honest, forked) = (tree(20, 0), tree(20, 1));
        let mut witness = witness();
        advance(&mut witness, &request(&honest, 0, 10), 5_000).unwrap();
        let before = witness.seen().cloned();
        let refusal = |ask: &AddCheckpoint, now: u64| witness.prepare(ask, UnixMillis(now)).unwrap_err();

        assert_eq!(refusal(&request(&honest, 4, 8), 6_000), WitnessRefusal::Rollback { held: 10, offered: 8 });
        assert_eq!(refusal(&request(&honest, 4, 12), 6_000), WitnessRefusal::Stale(10));
        let WitnessRefusal::Fork { prefix: Some(prefix), .. } = refusal(&request(&forked, 10, 12), 6_000) else {
            panic!("no fork")
        };
        assert_eq!(prefix.root, root(&forked, 10).unwrap());
        let mut made_up = request(&forked, 10, 12);
        made_up.proof[1] = Hash([0; 32]);
        assert_eq!(refusal(&made_up, 6_000), WitnessRefusal::BadProof);
        assert_eq!(refusal(&request(&honest, 10, 12), 4_000), WitnessRefusal::Clock);
        let fork = request(&forked, 10, 10);
        let WitnessRefusal::Fork { held, offered, prefix: None } = refusal(&fork, 6_000) else { panic!("no fork") };
        // The two notes convince anyone who has the log's key.
        let (a, b) = (SignedCheckpoint::open(&held, &log_key()), SignedCheckpoint::open(&offered, &log_key()));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.checkpoint().size == b.checkpoint().size && a.checkpoint().root != b.checkpoint().root);

        let mut long = request(&honest, 10, 12);
        long.proof.push(Hash([0; 32]));
        assert_eq!(refusal(&long, 6_000), WitnessRefusal::BadProof);
        let mut unsigned = request(&honest, 10, 12);
        let other = VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(9).id()).unwrap();
        let head = Checkpoint { origin: ORIGIN.into(), size: 12, root: root(&honest, 12).unwrap() };
        unsigned.note = head.sign(&other, &key(9)).unwrap().to_bytes();
        assert_eq!(refusal(&unsigned, 6_000), WitnessRefusal::Signature);
        let head = Checkpoint { origin: "log.example/other".into(), ..head };
        unsigned.note = head.sign(&log_key(), &key(1)).unwrap().to_bytes();
        assert_eq!(refusal(&unsigned, 6_000), WitnessRefusal::UnknownLog(ORIGIN.into()));
        let foreign = VerifierKey::new("log.example/other", KeyKind::Ed25519, key(9).id()).unwrap();
        unsigned.note = head.sign(&foreign, &key(9)).unwrap().to_bytes();
        assert_eq!(refusal(&unsigned, 6_000), WitnessRefusal::UnknownLog(ORIGIN.into()));
        unsigned.note = b"log.example/other\n".to_vec();
        assert!(matches!(refusal(&unsigned, 6_000), WitnessRefusal::Malformed(_)));
        assert_eq!(witness.seen().cloned(), before);
    }

    /// A state of before takes up its own cosignatures again, and nobody else's.
    #[test]
    fn what_a_witness_cosigned_and_forgot_it_remembers() {
        let (tree, mut old) = (tree(20, 0), witness());
        advance(&mut old, &request(&tree, 0, 5), 1_000).unwrap();
        let mut new = old.clone();
        let ask = request(&tree, 5, 9);
        let line = advance(&mut new, &ask, 2_000).unwrap();
        let mut head = SignedCheckpoint::open(&ask.note, &log_key()).unwrap();
        assert_eq!(old.forgotten(&head), None, "it is not cosigned");
        head.add_cosignature(new.key(), line).unwrap();
        assert_eq!(new.forgotten(&head), None, "it is remembered");
        let other = VerifierKey::new("w.example/a", KeyKind::Cosignature, key(3).id()).unwrap();
        let other = Witness::new(other, log_key(), ORIGIN, None).unwrap();
        assert_eq!(other.forgotten(&head), None, "it is another's");
        let seen = old.forgotten(&head).unwrap();
        assert_eq!(Some(&seen), new.seen());
        let before = old.seen().cloned().unwrap();
        old.remember(seen);
        old.remember(before);
        assert_eq!(old.seen(), new.seen());
    }

    #[test]
    fn of_two_prepared_from_one_state_only_one_is_released() {
        let (tree, mut witness) = (tree(20, 0), witness());
        let small = witness.prepare(&request(&tree, 0, 5), UnixMillis(1)).unwrap();
        let large = witness.prepare(&request(&tree, 0, 9), UnixMillis(1)).unwrap();
        witness.release(large, &key(2)).unwrap();
        assert_eq!(witness.release(small, &key(2)).unwrap_err(), WitnessRefusal::Stale(9));
        assert_eq!(witness.seen().unwrap().size, 9);
    }

    #[test]
    fn keys_of_the_wrong_kind_make_no_witness() {
        let cosigner = VerifierKey::new("w.example/a", KeyKind::Cosignature, key(2).id()).unwrap();
        assert!(Witness::new(log_key(), log_key(), ORIGIN, None).is_err());
        assert!(Witness::new(cosigner.clone(), cosigner.clone(), ORIGIN, None).is_err());
        assert!(Witness::new(cosigner, log_key(), ORIGIN, None).is_ok());
        let (tree, mut witness) = (tree(3, 0), witness());
        let prepared = witness.prepare(&request(&tree, 0, 3), UnixMillis(1)).unwrap();
        let state: Seen = tacit_crypto::cbor::decode(&tacit_crypto::cbor::encode(prepared.seen())).unwrap();
        assert_eq!(&state, prepared.seen());
        assert_eq!(witness.release(prepared, &key(9)).unwrap_err(), WitnessRefusal::Signature);
        assert!(witness.seen().is_none());
    }

    #[test]
    fn requests_are_parsed_strictly() {
        let longest = format!("old 5\n\n{}", "x".repeat(REQUEST_BYTES_MAX - 7));
        assert!(longest.len() == REQUEST_BYTES_MAX && AddCheckpoint::parse(longest.as_bytes()).is_ok());
        assert!(AddCheckpoint::parse(format!("{longest}x").as_bytes()).is_err());
        let hash = to_base64(&[7; 32]);
        let lines = |n: usize| format!("old 5\n{}\nnote", format!("{hash}\n").repeat(n));
        assert_eq!(AddCheckpoint::parse(lines(PROOF_HASHES_MAX).as_bytes()).unwrap().proof.len(), PROOF_HASHES_MAX);
        for bad in [
            lines(PROOF_HASHES_MAX + 1),
            "old 5\n".into(),
            "old 05\n\nnote".into(),
            "new 5\n\nnote".into(),
            "old 5\nAAAA\n\nnote".into(),
            format!("old 5\n\n{}", "x".repeat(REQUEST_BYTES_MAX)),
        ] {
            assert_eq!(AddCheckpoint::parse(bad.as_bytes()).unwrap_err().code, Code::LogMalformed, "{bad:.40}");
        }
    }
}
