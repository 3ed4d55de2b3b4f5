//! The Merkle tree of RFC 6962, section 2.1 (RFC 9162, section 2.1): hashing, inclusion and
//! consistency proofs, written over any source of the hashes of complete subtrees.

use sha2::{Digest, Sha256};
use tacit_crypto::sha256;
use tacit_types::{Code, Fault, Hash};

/// Hashes of a proof: a tree has at most 2^63 leaves.
pub const PROOF_HASHES_MAX: usize = 63;
/// Leaves of a tree.
pub const TREE_SIZE_MAX: u64 = 1 << 62;

/// The hash of a leaf: SHA-256(0x00 || leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// A source of the hashes of complete subtrees.
pub trait HashSource {
    /// The hash of the subtree over leaves `index << level .. (index + 1) << level`, when the source
    /// has all of them.
    fn subtree(&self, level: u8, index: u64) -> Option<Hash>;
}

/// The root of the first `size` leaves.
///
/// # Errors
/// `log.corrupt` when the source lacks a hash.
pub fn root(source: &dyn HashSource, size: u64) -> Result<Hash, Fault> {
    if size == 0 { Ok(empty_root()) } else { range(source, 0, size) }
}

/// MTH(D[from:to]) for a range that the recursion of RFC 6962 reaches: `from` is a multiple of the
/// least power of two that is not below its length.
fn range(source: &dyn HashSource, from: u64, to: u64) -> Result<Hash, Fault> {
    let len = to.saturating_sub(from);
    if len.is_power_of_two() {
        let level = len.trailing_zeros() as u8;
        return source
            .subtree(level, from >> level)
            .ok_or_else(|| Fault::new(Code::LogCorrupt, format!("the hash over leaves {from} to {to} is missing")));
    }
    let middle = from.saturating_add(split(len));
    Ok(node_hash(&range(source, from, middle)?, &range(source, middle, to)?))
}

/// The largest power of two below `len`, for `len` of at least 2.
fn split(len: u64) -> u64 {
    1 << (63 - len.saturating_sub(1).max(1).leading_zeros())
}

/// The proof that leaf `index` is in the tree of `size` leaves, from the leaf's sibling upward
/// (RFC 6962, section 2.1.1).
///
/// # Errors
/// `log.proof` when the leaf is not in the tree, `log.corrupt` when the source lacks a hash.
pub fn inclusion_proof(source: &dyn HashSource, index: u64, size: u64) -> Result<Vec<Hash>, Fault> {
    if index >= size || size > TREE_SIZE_MAX {
        return Err(Fault::new(Code::LogProof, format!("leaf {index} is not in a tree of {size}")));
    }
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range(source, middle, to)?);
            to = middle;
        } else {
            path.push(range(source, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves (RFC 6962, section
/// 2.1.2). Empty when `old` is 0 or equals `new`.
///
/// # Errors
/// `log.proof` when `old` is larger than `new`, `log.corrupt` when the source lacks a hash.
pub fn consistency_proof(source: &dyn HashSource, old: u64, new: u64) -> Result<Vec<Hash>, Fault> {
    if old > new || new > TREE_SIZE_MAX {
        return Err(Fault::new(Code::LogProof, format!("a tree of {new} does not begin with one of {old}")));
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, new);
    let mut path = Vec::new();
    // Down to the subtree that ends where the old tree ends.
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(range(source, middle, to)?);
            to = middle;
        } else {
            path.push(range(source, from, middle)?);
            from = middle;
        }
    }
    // Unless it is the whole old tree, which the verifier knows, its hash goes first.
    if from != 0 {
        path.push(range(source, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks an inclusion proof (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// `log.proof`.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), Fault> {
    if root_of_proof(leaf, index, size, proof)? == *root {
        return Ok(());
    }
    Err(Fault::new(Code::LogProof, format!("leaf {index} of {size}: the proof leads to another root")))
}

/// The root to which an inclusion proof leads from the hash of the leaf at `index`.
///
/// # Errors
/// `log.proof` when the proof is not of the length that such a leaf's has.
pub fn root_of_proof(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, Fault> {
    let wrong = |what: &str| Err(Fault::new(Code::LogProof, format!("leaf {index} of {size}: {what}")));
    if index >= size {
        return wrong("it lies outside the tree");
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return wrong("the proof is too long");
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(hash) } else { wrong("the proof is too short") }
}

/// Checks a consistency proof (RFC 9162, section 2.1.4.2). Every tree continues the empty one, with
/// an empty proof.
///
/// # Errors
/// `log.proof`.
pub fn verify_consistency(old: u64, new: u64, proof: &[Hash], old_root: &Hash, new_root: &Hash) -> Result<(), Fault> {
    let wrong = |what: &str| Err(Fault::new(Code::LogProof, format!("from {old} to {new} leaves: {what}")));
    if old > new {
        return wrong("the new tree is smaller");
    }
    if old == 0 || old == new {
        let known = if old == 0 { *old_root == empty_root() } else { old_root == new_root };
        return match (proof.is_empty(), known) {
            (true, true) => Ok(()),
            (false, _) => wrong("the proof must be empty"),
            (true, false) => wrong("another root"),
        };
    }
    let known = if old.is_power_of_two() { Some(*old_root) } else { None };
    let (from_old, from_new) = walk(old, new, proof, known)?;
    if from_old == *old_root && from_new == *new_root { Ok(()) } else { wrong("the proof leads to other roots") }
}

/// The root of a tree's first `old` leaves, as a consistency proof gives it that leads to the tree's own root. `None` where it
/// leads elsewhere, and where `old` is 0, no less than `new`, or a power of two, whose root such a proof leaves out.
pub fn prefix_root(old: u64, new: u64, proof: &[Hash], new_root: &Hash) -> Option<Hash> {
    if old == 0 || old >= new || old.is_power_of_two() {
        return None;
    }
    walk(old, new, proof, None).ok().filter(|(_, from_new)| from_new == new_root).map(|(from_old, _)| from_old)
}

/// The old and the new root to which a proof leads; `known` is the old one, where it is of a complete tree.
fn walk(old: u64, new: u64, proof: &[Hash], known: Option<Hash>) -> Result<(Hash, Hash), Fault> {
    let wrong = |what: &str| Err(Fault::new(Code::LogProof, format!("from {old} to {new} leaves: {what}")));
    let mut path = proof.iter();
    let Some(first) = known.or_else(|| path.next().copied()) else {
        return wrong("the proof is too short");
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut from_old, mut from_new) = (first, first);
    for sibling in path {
        if last == 0 {
            return wrong("the proof is too long");
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok((from_old, from_new)) } else { wrong("the proof is too short") }
}

/// A tree in memory: the hash of every complete subtree, 64 bytes a leaf.
#[derive(Clone, Debug, Default)]
pub struct MemTree {
    levels: Vec<Vec<Hash>>,
}

impl MemTree {
    /// Leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |level| level.len() as u64)
    }

    /// Appends the hash of a leaf and closes the subtrees that it completes.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(level) else { return };
            hashes.push(hash);
            match hashes.as_slice() {
                [.., left, right] if hashes.len() % 2 == 0 => hash = node_hash(left, right),
                _ => return,
            }
        }
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        // why: the tree has every hash of its own size, so this cannot fail.
        root(self, self.size()).unwrap_or_else(|_| empty_root())
    }
}

impl HashSource for MemTree {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        self.levels.get(usize::from(level))?.get(usize::try_from(index).ok()?).copied()
    }
}

/// The right edge of a tree: the roots of its largest complete subtrees, from the left. It is all that appending and the root
/// need, at most [`PROOF_HASHES_MAX`] hashes however large the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    size: u64,
    hashes: Vec<Hash>,
}

impl Peaks {
    /// The edge of a tree of a size. `None` when a tree of that size has more or fewer such subtrees.
    pub fn new(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (size <= TREE_SIZE_MAX && hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        let whole = self.hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        whole.unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, word for word, as the oracle.
    fn mth(leaves: &[Vec<u8>]) -> Hash {
        match leaves.len() {
            0 => empty_root(),
            1 => leaf_hash(&leaves[0]),
            n => {
                let mut k = 1;
                while k * 2 < n {
                    k *= 2;
                }
                node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    #[test]
    fn the_edge_of_a_tree_has_its_root_and_goes_on_from_any_size() {
        let leaves: Vec<Vec<u8>> = (0..70u8).map(|i| vec![i; 3]).collect();
        let mut edge = Peaks::default();
        for size in 0..leaves.len() {
            assert_eq!((edge.size(), edge.root()), (size as u64, mth(&leaves[..size])));
            let again = Peaks::new(edge.size(), edge.hashes().to_vec());
            assert_eq!(again, Some(edge.clone()));
            let fewer = edge.hashes().iter().skip(1).copied().collect();
            assert!(size == 0 || Peaks::new(edge.size(), fewer).is_none());
            edge.push(leaf_hash(&leaves[size]));
        }
        assert!(Peaks::new(TREE_SIZE_MAX, vec![Hash([1; 32])]).is_some());
        assert!(Peaks::new(TREE_SIZE_MAX << 1, vec![Hash([1; 32])]).is_none());
    }

    fn path(m: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let mut k = 1;
        while k * 2 < leaves.len() {
            k *= 2;
        }
        let (mut rest, last) = if m < k {
            (path(m, &leaves[..k]), mth(&leaves[k..]))
        } else {
            (path(m - k, &leaves[k..]), mth(&leaves[..k]))
        };
        rest.push(last);
        rest
    }

    fn subproof(m: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { Vec::new() } else { vec![mth(leaves)] };
        }
        let mut k = 1;
        while k * 2 < leaves.len() {
            k *= 2;
        }
        let (mut rest, last) = if m <= k {
            (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
        } else {
            (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
        };
        rest.push(last);
        rest
    }

    fn leaves(n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|i| format!("leaf {i}").into_bytes()).collect()
    }

    fn tree(leaves: &[Vec<u8>]) -> MemTree {
        let mut tree = MemTree::default();
        leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        tree
    }

    fn hash(text: &str) -> Hash {
        Hash::from_hex(text).unwrap()
    }

    #[test]
    fn the_well_known_eight_leaves() {
        let leaves: Vec<Vec<u8>> =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
                .iter()
                .map(|text| hex::decode(text).unwrap())
                .collect();
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let tree = tree(&leaves);
        for (size, expected) in roots.iter().enumerate() {
            assert_eq!(root(&tree, size as u64).unwrap(), hash(expected), "{size}");
        }
    }

    #[test]
    fn roots_and_proofs_equal_the_naive_recursion_and_verify() {
        let leaves = leaves(131);
        let tree = tree(&leaves);
        let roots: Vec<Hash> = (0..=leaves.len()).map(|n| root(&tree, n as u64).unwrap()).collect();
        for size in 0..=leaves.len() {
            assert_eq!(roots[size], mth(&leaves[..size]));
            for old in 0..=size {
                let proof = consistency_proof(&tree, old as u64, size as u64).unwrap();
                if old > 0 {
                    assert_eq!(proof, subproof(old, &leaves[..size], true));
                }
                verify_consistency(old as u64, size as u64, &proof, &roots[old], &roots[size]).unwrap();
            }
            for index in 0..size {
                let proof = inclusion_proof(&tree, index as u64, size as u64).unwrap();
                assert_eq!(proof, path(index, &leaves[..size]));
                verify_inclusion(&leaf_hash(&leaves[index]), index as u64, size as u64, &proof, &roots[size]).unwrap();
            }
            assert!(inclusion_proof(&tree, size as u64, size as u64).is_err());
        }
        assert!(consistency_proof(&tree, 5, 4).is_err());
        assert_eq!(root(&tree, 132).unwrap_err().code, Code::LogCorrupt);
    }

    /// Every proof that differs from `proof` by a flipped bit, a hash less, or a hash more.
    fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut out = Vec::new();
        for i in 0..proof.len() {
            let mut flipped = proof.to_vec();
            flipped[i].0[i % 32] ^= 0x10;
            out.push(flipped);
            let mut shorter = proof.to_vec();
            shorter.remove(i);
            out.push(shorter);
            let mut doubled = proof.to_vec();
            doubled.insert(i, proof[i]);
            out.push(doubled);
        }
        let mut longer = proof.to_vec();
        longer.push(Hash([0; 32]));
        out.push(longer);
        out.retain(|changed| changed != proof);
        out
    }

    #[test]
    fn every_mutation_of_every_proof_is_refused() {
        let leaves = leaves(40);
        let tree = tree(&leaves);
        for size in 1..=leaves.len() as u64 {
            let whole = root(&tree, size).unwrap();
            for index in 0..size {
                let leaf = leaf_hash(&leaves[index as usize]);
                let proof = inclusion_proof(&tree, index, size).unwrap();
                for bad in mutations(&proof) {
                    assert!(verify_inclusion(&leaf, index, size, &bad, &whole).is_err(), "{index} of {size}");
                }
                for other in (0..size + 2).filter(|other| *other != index) {
                    assert!(verify_inclusion(&leaf, other, size, &proof, &whole).is_err(), "{index} as {other}");
                }
                assert!(verify_inclusion(&leaf_hash(b"x"), index, size, &proof, &whole).is_err());
                assert!(verify_inclusion(&leaf, index, size, &proof, &Hash([7; 32])).is_err());
            }
            for old in 1..=size {
                let before = root(&tree, old).unwrap();
                let proof = consistency_proof(&tree, old, size).unwrap();
                for bad in mutations(&proof) {
                    assert!(verify_consistency(old, size, &bad, &before, &whole).is_err(), "{old} to {size}");
                }
                assert!(verify_consistency(old, size, &proof, &Hash([1; 32]), &whole).is_err());
                assert!(verify_consistency(old, size, &proof, &before, &Hash([1; 32])).is_err());
                assert!(old == size || verify_consistency(size, old, &proof, &whole, &before).is_err());
            }
            assert!(verify_consistency(0, size, &[whole], &empty_root(), &whole).is_err());
            assert!(verify_consistency(0, size, &[], &whole, &whole).is_err());
        }
    }

    #[test]
    fn sizes_at_the_edge_of_u64_neither_overflow_nor_pass() {
        let h = Hash([3; 32]);
        let proof = vec![h; PROOF_HASHES_MAX + 1];
        for (a, b) in [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (1 << 63, u64::MAX), (u64::MAX, u64::MAX)] {
            assert!(verify_inclusion(&h, a, b, &proof, &h).is_err());
            assert!(verify_consistency(a, b, &proof, &h, &h).is_err());
        }
        assert!(inclusion_proof(&MemTree::default(), 0, TREE_SIZE_MAX + 1).is_err());
    }
}
