//! Evidence of two histories: checkpoints that one log signed and that no log can have. Two of one size show it by themselves. Of
//! two sizes the larger's own consistency proof shows it, when it leads to the larger's root from another root than the
//! smaller's: the log's first leaves are then others than those that it had signed before.

use tacit_types::{Code, Fault, Hash};

use crate::checkpoint::Checkpoint;
use crate::merkle::{HashSource, PROOF_HASHES_MAX, consistency_proof, prefix_root, root, verify_consistency};
use crate::note::{from_base64, to_base64};
use crate::rotation::LogChain;
use crate::witness::proof_lines;

/// The first line of the file of a [`Prefix`].
const HEAD: &str = "tacit-fork-prefix/1";
/// Bytes of that file: its head, a root and the longest proof.
pub const PREFIX_BYTES_MAX: usize = HEAD.len() + 1 + (PROOF_HASHES_MAX + 1) * 45;

/// What the larger of two trees has in the place of the smaller: the root of its first leaves, as many as the smaller has, and the
/// consistency proof (RFC 6962) from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The root of the first leaves.
    pub root: Hash,
    /// The proof.
    pub proof: Vec<Hash>,
}

impl Prefix {
    /// That of a tree at hand.
    ///
    /// # Errors
    /// `log.proof` when the tree is smaller; those of the source.
    pub fn of(tree: &dyn HashSource, smaller: u64, larger: u64) -> Result<Self, Fault> {
        Ok(Self { root: root(tree, smaller)?, proof: consistency_proof(tree, smaller, larger)? })
    }

    /// What a proof that was offered gives away, when it leads to the larger root. A proof from a power of two leaves the root out
    /// from which it begins, and gives nothing away.
    pub fn given(smaller: u64, larger: u64, proof: &[Hash], larger_root: &Hash) -> Option<Self> {
        prefix_root(smaller, larger, proof, larger_root).map(|root| Self { root, proof: proof.to_vec() })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `log.malformed`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let malformed = |what: &str| Fault::new(Code::LogMalformed, format!("a fork's prefix: {what}"));
        if bytes.len() > PREFIX_BYTES_MAX {
            return Err(malformed("too long"));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let mut lines = text.strip_suffix('\n').ok_or_else(|| malformed("no last end of line"))?.split('\n');
        if lines.next() != Some(HEAD) {
            return Err(malformed("another first line"));
        }
        let root = from_base64(lines.next().ok_or_else(|| malformed("no root"))?)?;
        let root = Hash(root.try_into().map_err(|_| malformed("a root that is not 32 bytes"))?);
        Ok(Self { root, proof: proof_lines(lines)? })
    }

    /// The file: its head, the root, and the hashes of the proof, each in base64 on a line.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for hash in core::iter::once(&self.root).chain(&self.proof) {
            text.push_str(&to_base64(&hash.0));
            text.push('\n');
        }
        text
    }
}

/// Shows that a log has two histories: two checkpoints that it signed, of one size with different roots; or of two sizes, with
/// what the larger has in the place of the smaller. They convince anyone who has the log's keys; gives the two heads. A key that
/// was retired convicts who had it, whenever it signed.
///
/// # Errors
/// `log.malformed` or `log.signature` for either note; `log.proof` when they prove nothing.
pub fn prove_fork(
    one: &[u8],
    other: &[u8],
    between: Option<&Prefix>,
    origin: &str,
    log: &LogChain,
) -> Result<[Checkpoint; 2], Fault> {
    let open = |bytes| log.open(bytes).map(|(signed, _)| signed.checkpoint().clone());
    let heads = [open(one)?, open(other)?];
    let [a, b] = &heads;
    let (small, large) = if a.size <= b.size { (a, b) } else { (b, a) };
    let what = if a.origin != origin || b.origin != origin {
        "a checkpoint is of another log"
    } else if small.size == large.size {
        if small.root != large.root {
            return Ok(heads);
        }
        "the checkpoints are the same"
    } else if let Some(prefix) = between {
        verify_consistency(small.size, large.size, &prefix.proof, &prefix.root, &large.root)?;
        if prefix.root != small.root {
            return Ok(heads);
        }
        "the larger checkpoint extends the smaller"
    } else {
        "the checkpoints are of different sizes: what the larger has in the smaller's place tells whether they fit"
    };
    Err(Fault::new(Code::LogProof, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{MemTree, leaf_hash};
    use crate::note::{KeyKind, VerifierKey};
    use tacit_crypto::{Secret, SigningKey};

    const ORIGIN: &str = "log.example/usage/2026";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn vkey(seed: u8) -> VerifierKey {
        VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(seed).id()).unwrap()
    }

    fn sign(origin: &str, size: u64, root: Hash) -> Vec<u8> {
        let log = VerifierKey::new(origin, KeyKind::Ed25519, key(1).id()).unwrap();
        Checkpoint { origin: origin.into(), size, root }.sign(&log, &key(1)).unwrap().to_bytes()
    }

    fn tree(n: u64, salt: u8) -> MemTree {
        let mut tree = MemTree::default();
        (0..n).for_each(|i| tree.push(leaf_hash(&[salt * u8::from(i > 3), i as u8])));
        tree
    }

    fn code(one: &[u8], other: &[u8], between: Option<&Prefix>) -> Result<(), Code> {
        prove_fork(one, other, between, ORIGIN, &vkey(1).into()).map(|_| ()).map_err(|fault| fault.code)
    }

    #[test]
    fn two_roots_at_one_size_prove_a_fork_and_nothing_else_does() {
        let sign = |origin: &str, size, root| sign(origin, size, Hash([root; 32]));
        let one = sign(ORIGIN, 7, 9);
        let [a, b] = prove_fork(&one, &sign(ORIGIN, 7, 8), None, ORIGIN, &vkey(1).into()).unwrap();
        assert_eq!((a.size, b.size, a.root == b.root), (7, 7, false));
        let wrong = Err(Code::LogProof);
        assert_eq!(code(&one, &one, None), wrong);
        assert_eq!(code(&one, &sign(ORIGIN, 8, 8), None), wrong);
        let code = |other: &[u8], origin: &str, log: u8| {
            prove_fork(&one, other, None, origin, &vkey(log).into()).unwrap_err().code
        };
        assert_eq!(code(&sign(ORIGIN, 7, 8), "log.example/x", 1), Code::LogProof);
        assert_eq!(code(&sign(ORIGIN, 7, 8), ORIGIN, 2), Code::LogSignature);
    }

    #[test]
    fn two_sizes_prove_a_fork_with_what_the_larger_has_in_the_smallers_place() {
        let (honest, forged) = (tree(20, 0), tree(20, 1));
        for (small, large) in [(5, 6), (5, 20), (7, 8), (8, 11), (13, 20), (16, 20), (19, 20)] {
            let head = |tree: &MemTree, size| sign(ORIGIN, size, root(tree, size).unwrap());
            let (held, offered) = (head(&honest, small), head(&forged, large));
            let prefix = Prefix::of(&forged, small, large).unwrap();
            assert_eq!(code(&held, &offered, Some(&prefix)), Ok(()), "{small} {large}");
            assert_eq!(code(&offered, &held, Some(&prefix)), Ok(()), "in either order");
            assert_eq!(Prefix::parse(prefix.to_text().as_bytes()).unwrap(), prefix);
            let given = Prefix::given(small, large, &prefix.proof, &root(&forged, large).unwrap());
            assert_eq!(given, Some(prefix.clone()).filter(|_| !small.is_power_of_two()), "{small} {large}");
            // An honest log, and what is made up about one, prove nothing.
            let grown = head(&honest, large);
            let honest_prefix = Prefix::of(&honest, small, large).unwrap();
            for made_up in [&prefix, &honest_prefix, &Prefix { root: prefix.root, ..honest_prefix.clone() }] {
                assert_eq!(code(&held, &grown, Some(made_up)), Err(Code::LogProof), "{small} {large}");
            }
            assert_eq!(code(&held, &offered, Some(&honest_prefix)), Err(Code::LogProof));
            let mut long = prefix.clone();
            long.proof.push(Hash([0; 32]));
            assert_eq!(code(&held, &offered, Some(&long)), Err(Code::LogProof));
        }
    }

    #[test]
    fn the_file_of_a_prefix_is_read_strictly() {
        let longest = Prefix { root: Hash([1; 32]), proof: vec![Hash([2; 32]); PROOF_HASHES_MAX] };
        let text = longest.to_text();
        assert_eq!((text.len(), Prefix::parse(text.as_bytes()).unwrap()), (PREFIX_BYTES_MAX, longest));
        let hash = to_base64(&[7; 32]);
        for bad in [
            format!("{text}{hash}\n"),
            format!("{HEAD}\n"),
            format!("{HEAD}\n{hash}"),
            format!("{HEAD}\nAAAA\n"),
            format!("{HEAD}\n{hash}\nAAAA\n"),
            format!("{HEAD}\n{hash}\n\n"),
            format!("tacit-fork-prefix/2\n{hash}\n"),
        ] {
            assert_eq!(Prefix::parse(bad.as_bytes()).unwrap_err().code, Code::LogMalformed, "{bad:.60}");
        }
    }
}
