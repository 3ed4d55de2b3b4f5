//! A dealer's commitments: one hash a share, under one signed root.
//!
//! The tree is perfect. Each holder has a group of leaves, s and b of round key 0, of 1, and so on,
//! filled up to a power of two; the groups stand in the order of the holders' seats. A share of a
//! random secret has 252 bits that nobody else knows, so its hash hides it.

use tacit_crypto::Transcript;
use tacit_types::{Hash, Seat};

/// Which of a dealer's two secrets a share is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Secret {
    /// s, opened when the dealer dropped out.
    Mask,
    /// b, opened when the dealer survived.
    Own,
}

/// Where a share stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub dealer: Seat,
    pub holder: Seat,
    pub rho: u16,
    pub secret: Secret,
}

/// The commitment to a share.
pub(crate) fn commitment(t1: &Hash, place: Place, share: &[u8; 32]) -> Hash {
    Transcript::new("tacit-secagg/1/leaf")
        .fixed(&t1.0)
        .u64(u64::from(place.dealer.0))
        .u64(u64::from(place.holder.0))
        .u64(u64::from(place.rho))
        .u64(place.secret as u64)
        .fixed(share)
        .finish()
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    Transcript::new("tacit-secagg/1/node").fixed(&left.0).fixed(&right.0).finish()
}

/// A perfect binary tree of hashes.
pub(crate) struct Tree {
    /// From the leaves up to the root alone.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// A tree over leaves, filled up with zeroes to a power of two.
    pub fn new(mut leaves: Vec<Hash>) -> Self {
        leaves.resize(leaves.len().next_power_of_two(), Hash([0; 32]));
        let mut levels = vec![leaves];
        while let Some(top) = levels.last().filter(|level| level.len() > 1) {
            levels.push(top.chunks_exact(2).map(|pair| parent(&pair[0], &pair[1])).collect());
        }
        Self { levels }
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or(Hash([0; 32])) // proof: a level has a power of two.
    }

    /// The siblings from leaf `index` up.
    pub fn path(&self, index: usize) -> Vec<Hash> {
        let levels = self.levels.iter().enumerate();
        levels.filter_map(|(height, level)| level.get((index >> height) ^ 1)).copied().collect()
    }
}

/// The root above a node, from the siblings on the way up.
pub(crate) fn climb(node: Hash, mut index: usize, path: &[Hash]) -> Hash {
    path.iter().fold(node, |node, sibling| {
        let (left, right) = if index & 1 == 0 { (&node, sibling) } else { (sibling, &node) };
        index >>= 1;
        parent(left, right)
    })
}

/// The shape of a dealer's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub holders: usize,
    pub keys: usize,
}

impl Shape {
    /// Leaves of one holder's group.
    pub fn group_leaves(self) -> usize {
        (2 * self.keys).next_power_of_two()
    }

    /// Hashes from a group's root up to the root.
    pub fn outer_path(self) -> usize {
        self.holders.next_power_of_two().trailing_zeros() as usize
    }

    /// Hashes from a leaf up to the root.
    pub fn full_path(self) -> usize {
        self.group_leaves().trailing_zeros() as usize + self.outer_path()
    }

    /// The leaf of a share within its holder's group.
    pub fn leaf(rho: u16, secret: Secret) -> usize {
        2 * usize::from(rho) + secret as usize
    }

    /// Whether a share opens to the root, given the holder's place among the holders.
    pub fn opens(self, t1: &Hash, place: Place, group: usize, share: &[u8; 32], path: &[Hash], root: &Hash) -> bool {
        let index = group * self.group_leaves() + Self::leaf(place.rho, place.secret);
        path.len() == self.full_path() && climb(commitment(t1, place, share), index, path) == *root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_climbs_to_the_root_and_no_other_place_does() {
        for count in [1, 2, 3, 8, 11] {
            let leaves: Vec<Hash> = (0..count).map(|i| Hash([i as u8 + 1; 32])).collect();
            let tree = Tree::new(leaves.clone());
            for (i, leaf) in leaves.iter().enumerate() {
                let path = tree.path(i);
                assert_eq!(path.len(), (count as usize).next_power_of_two().trailing_zeros() as usize);
                assert_eq!(climb(*leaf, i, &path), tree.root());
                if count > 1 {
                    assert_ne!(climb(*leaf, i ^ 1, &path), tree.root());
                    assert_ne!(climb(leaves[(i + 1) % leaves.len()], i, &path), tree.root());
                }
            }
        }
    }

    #[test]
    fn a_share_opens_at_its_own_place_only() {
        let t1 = Hash([3; 32]);
        let shape = Shape { holders: 3, keys: 2 };
        let place = |holder: u16, rho, secret| Place { dealer: Seat(7), holder: Seat(holder), rho, secret };
        let share = |holder: u16, rho: u16, secret: Secret| [(holder * 8 + rho * 2 + secret as u16) as u8; 32];
        let both = [Secret::Mask, Secret::Own];
        let leaves = (0..3)
            .flat_map(|h| {
                (0..2).flat_map(move |rho| both.map(|s| commitment(&t1, place(h, rho, s), &share(h, rho, s))))
            })
            .collect();
        let tree = Tree::new(leaves);
        for (h, rho, secret) in (0..3).flat_map(|h| (0..2).flat_map(move |rho| both.map(|s| (h, rho, s)))) {
            let index = usize::from(h) * shape.group_leaves() + Shape::leaf(rho, secret);
            let path = tree.path(index);
            let opens = |p: Place, group: usize, share: &[u8; 32], path: &[Hash]| {
                shape.opens(&t1, p, group, share, path, &tree.root())
            };
            let (own, group, value) = (place(h, rho, secret), usize::from(h), share(h, rho, secret));
            assert!(opens(own, group, &value, &path));
            let mut other = value;
            other[31] ^= 1;
            assert!(!opens(own, group, &other, &path));
            assert!(!opens(place(h, 1 - rho, secret), group, &value, &path));
            assert!(!opens(Place { dealer: Seat(6), ..own }, group, &value, &path));
            assert!(!opens(own, group ^ 1, &value, &path));
            assert!(!opens(own, group, &value, &path[1..]));
        }
    }
}
