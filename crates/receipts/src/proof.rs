//! C2SP `tlog-proof`: one text file that shows a leaf to be in a witnessed log.

use core::fmt;

use tacit_types::{Code, Fault, Hash, UnixMillis};

use crate::checkpoint::{Cosigned, Quorum, SignedCheckpoint};
use crate::merkle::{HashSource, inclusion_proof, leaf_hash, verify_inclusion};
use crate::note::{NOTE_BYTES_MAX, VerifierKey, from_base64, from_decimal, to_base64};
use crate::witness::proof_lines;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Bytes of a proof file.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + (32 << 10);

/// A proof file. Nothing in it is trusted before [`LogProof::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogProof {
    /// Data that the proof does not vouch for.
    pub extra: Option<Vec<u8>>,
    /// The leaf's place.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling upward.
    pub hashes: Vec<Hash>,
    /// The checkpoint note.
    pub note: Vec<u8>,
}

/// A leaf that was shown to be in a witnessed log. Only [`LogProof::verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Included {
    checkpoint: SignedCheckpoint,
    cosigned: Cosigned,
    index: u64,
}

impl Included {
    /// The checkpoint that the leaf is in.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The witnesses that count.
    pub fn cosigned(&self) -> &Cosigned {
        &self.cosigned
    }

    /// The leaf's place.
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl LogProof {
    /// The proof of a leaf in the tree that a checkpoint note is of.
    ///
    /// # Errors
    /// `log.proof` for a place outside the tree, `log.corrupt` when the source lacks a hash.
    pub fn build(source: &dyn HashSource, index: u64, checkpoint: &SignedCheckpoint) -> Result<Self, Fault> {
        let hashes = inclusion_proof(source, index, checkpoint.checkpoint().size)?;
        Ok(Self { extra: None, index, hashes, note: checkpoint.to_bytes() })
    }

    /// Parses a proof file.
    ///
    /// # Errors
    /// `log.malformed` for anything that is not in the format or over [`PROOF_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let malformed = |what: &str| Fault::new(Code::LogMalformed, format!("a proof: {what}"));
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(malformed("too long"));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("another first line"));
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => Some(from_base64(line.strip_prefix("extra ").unwrap_or_default())?),
            None => None,
        };
        let index = lines.next().and_then(|l| l.strip_prefix("index ")).ok_or_else(|| malformed("no index"))?;
        let index = from_decimal(index)?;
        Ok(Self { extra, index, hashes: proof_lines(lines)?, note: note.as_bytes().to_vec() })
    }

    /// Shows that `leaf` is in the log `origin`: the log signed the checkpoint, the quorum cosigned
    /// it, and the proof leads from the leaf to its root.
    ///
    /// # Errors
    /// `log.malformed`, `log.signature`, `log.quorum` or `log.proof`.
    pub fn verify(&self, leaf: &[u8], origin: &str, log: &VerifierKey, quorum: &Quorum) -> Result<Included, Fault> {
        self.verify_behind(leaf, origin, log, quorum, UnixMillis(0))
    }

    /// As [`LogProof::verify`], of the receipt of a record that ended at a time: no witness's key that is over by then has seen
    /// it, whatever time its cosignature claims.
    ///
    /// # Errors
    /// As there.
    pub fn verify_behind(
        &self,
        leaf: &[u8],
        origin: &str,
        log: &VerifierKey,
        quorum: &Quorum,
        ended: UnixMillis,
    ) -> Result<Included, Fault> {
        let checkpoint = SignedCheckpoint::open(&self.note, log)?;
        let head = checkpoint.checkpoint();
        if head.origin != origin {
            return Err(Fault::new(Code::LogProof, "the checkpoint is of another log"));
        }
        let cosigned = quorum.enough(quorum.count_behind(checkpoint.note(), ended))?;
        verify_inclusion(&leaf_hash(leaf), self.index, head.size, &self.hashes, &head.root)?;
        Ok(Included { cosigned, index: self.index, checkpoint })
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", to_base64(&hash.0)))?;
        write!(f, "\n{}", String::from_utf8_lossy(&self.note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::merkle::{MemTree, PROOF_HASHES_MAX};
    use crate::note::KeyKind;
    use tacit_crypto::{Secret, SigningKey};

    const ORIGIN: &str = "log.example/usage/2026";

    fn leaf(i: u64) -> Vec<u8> {
        format!("receipt {i}").into_bytes()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn log() -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(1).id()).unwrap()
    }

    fn quorum() -> Quorum {
        Quorum::new(vec![VerifierKey::new("w/a", KeyKind::Cosignature, key(2).id()).unwrap()], 1).unwrap()
    }

    fn proofs(n: u64) -> Vec<LogProof> {
        let mut tree = MemTree::default();
        (0..n).for_each(|i| tree.push(leaf_hash(&leaf(i))));
        let head = Checkpoint { origin: ORIGIN.into(), size: n, root: tree.root() };
        let mut signed = head.sign(&log(), &key(1)).unwrap();
        let witness = &quorum().witnesses()[0].clone();
        let line = witness.sign(&key(2), signed.note().text(), UnixMillis(9_000)).unwrap();
        signed.add_cosignature(witness, line).unwrap();
        let proof = |index| LogProof::build(&tree, index, &signed).unwrap();
        (0..n).map(proof).collect()
    }

    #[test]
    fn of_a_hundred_leaves_and_proofs_only_the_diagonal_passes() {
        let (log, quorum) = (log(), quorum());
        for (i, proof) in proofs(100).iter().enumerate() {
            let proof = LogProof::parse(proof.to_string().as_bytes()).unwrap();
            // One signature check covers all: the checkpoint is the same.
            let head = SignedCheckpoint::open(&proof.note, &log).unwrap();
            for j in 0..100 {
                let held =
                    verify_inclusion(&leaf_hash(&leaf(j)), proof.index, 100, &proof.hashes, &head.checkpoint().root);
                assert_eq!(held.is_ok(), i as u64 == j, "proof {i} for leaf {j}");
            }
            if i % 10 == 0 {
                let included = proof.verify(&leaf(i as u64), ORIGIN, &log, &quorum).unwrap();
                assert_eq!((included.index(), included.cosigned().by.len()), (i as u64, 1));
                assert!(proof.verify(&leaf(i as u64 + 1), ORIGIN, &log, &quorum).is_err());
            }
        }
    }

    #[test]
    fn every_altered_byte_of_a_proof_is_refused() {
        let proof = LogProof { extra: None, ..proofs(7).remove(5) };
        let bytes = proof.to_string().into_bytes();
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            let held = LogProof::parse(&bad).and_then(|p| p.verify(&leaf(5), ORIGIN, &log(), &quorum()));
            assert!(held.is_err(), "byte {i}");
        }
        let with = LogProof { extra: Some(b"hello".to_vec()), ..proof.clone() };
        assert_eq!(LogProof::parse(with.to_string().as_bytes()).unwrap(), with);
        with.verify(&leaf(5), ORIGIN, &log(), &quorum()).unwrap();
        assert_eq!(proof.verify(&leaf(5), "log.example/x", &log(), &quorum()).unwrap_err().code, Code::LogProof);
        let mut long = proof.clone();
        long.hashes = vec![Hash([0; 32]); PROOF_HASHES_MAX + 1];
        assert!(LogProof::parse(long.to_string().as_bytes()).is_err());
        assert!(LogProof::parse(&vec![b'x'; PROOF_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn an_unsigned_or_unwitnessed_root_proves_nothing() {
        let proof = proofs(3).remove(1);
        let note = String::from_utf8(proof.note.clone()).unwrap();
        let lines: Vec<&str> = note.lines().collect();
        let without = |drop: usize| {
            let kept: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != drop).map(|(_, l)| *l).collect();
            LogProof { note: format!("{}\n", kept.join("\n")).into_bytes(), ..proof.clone() }
        };
        let code = |p: LogProof| p.verify(&leaf(1), ORIGIN, &log(), &quorum()).unwrap_err().code;
        assert_eq!(code(without(4)), Code::LogSignature);
        assert_eq!(code(without(5)), Code::LogQuorum);
    }
}
