//! The chains of attestations: per issuer, numbers from 0 without gaps, each naming the one before.
//! Leaves may come in another order than the numbers, because jobs end in another order than they
//! are attested.

use std::collections::BTreeMap;

use tacit_crypto::statement::Link;
use tacit_types::{Hash, NodeId, StatementId};

#[derive(Debug, Default)]
struct Chain {
    /// The lowest number that is not in yet.
    next: u64,
    /// The statement before it.
    last: Option<StatementId>,
    /// Numbers above `next`: leaf, statement, the one before.
    waiting: BTreeMap<u64, (u64, StatementId, Hash)>,
}

/// Every issuer's chain.
#[derive(Debug, Default)]
pub struct Chains(BTreeMap<NodeId, Chain>);

/// Numbers that an issuer's chain lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The issuer.
    pub issuer: NodeId,
    /// The first number that is missing.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The leaf of the number that follows.
    pub leaf: u64,
}

impl Chains {
    /// Adds a statement.
    ///
    /// # Errors
    /// A sentence when its number is taken, or it or a waiting one does not name the one before.
    pub fn push(&mut self, issuer: NodeId, link: Link, id: StatementId, leaf: u64) -> Result<(), String> {
        let chain = self.0.entry(issuer).or_default();
        if link.seq < chain.next || chain.waiting.contains_key(&link.seq) {
            return Err(format!("number {} is used twice", link.seq));
        }
        chain.waiting.insert(link.seq, (leaf, id, link.prev));
        let mut broken = None;
        while let Some((_, id, prev)) = chain.waiting.remove(&chain.next) {
            if prev != chain.last.map_or(Hash([0; 32]), |last| Hash(last.0)) {
                broken.get_or_insert(chain.next);
            }
            chain.last = Some(id);
            chain.next = chain.next.saturating_add(1);
        }
        match broken {
            None => Ok(()),
            Some(seq) => Err(format!("number {seq} does not name the attestation before it")),
        }
    }

    /// Ends the chains: the gaps that are left, by issuer and number.
    pub fn gaps(&mut self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (issuer, chain) in &mut self.0 {
            for (seq, (leaf, ..)) in core::mem::take(&mut chain.waiting) {
                if let Some(last) = seq.checked_sub(1).filter(|last| *last >= chain.next) {
                    gaps.push(Gap { issuer: *issuer, first: chain.next, last, leaf });
                }
                chain.next = seq.saturating_add(1);
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> StatementId {
        StatementId([n; 32])
    }

    fn link(seq: u64, prev: u8) -> Link {
        Link { seq, prev: Hash([prev; 32]) }
    }

    const A: NodeId = NodeId([1; 32]);

    #[test]
    fn any_order_of_a_whole_chain_holds() {
        let mut chains = Chains::default();
        for (seq, prev, own) in [(1, 1, 2), (3, 3, 4), (0, 0, 1), (2, 2, 3)] {
            chains.push(A, link(seq, prev), id(own), seq).unwrap();
        }
        assert!(chains.gaps().is_empty());
        assert!(chains.push(A, link(3, 3), id(9), 9).is_err());
    }

    #[test]
    fn gaps_and_breaks_are_found() {
        let mut chains = Chains::default();
        chains.push(A, link(0, 0), id(1), 10).unwrap();
        chains.push(A, link(2, 2), id(3), 11).unwrap();
        chains.push(A, link(3, 3), id(4), 12).unwrap();
        chains.push(A, link(9, 9), id(5), 13).unwrap();
        assert!(chains.push(A, link(9, 9), id(6), 14).is_err());
        let gap = |first, last, leaf| Gap { issuer: A, first, last, leaf };
        assert_eq!(chains.gaps(), [gap(1, 1, 11), gap(4, 8, 13)]);

        let mut chains = Chains::default();
        assert!(chains.push(A, link(0, 5), id(1), 0).is_err());
        assert!(chains.push(A, link(1, 9), id(2), 0).is_err());
        chains.push(A, link(u64::MAX, 0), id(3), 1).unwrap();
        assert_eq!(chains.gaps(), [gap(2, u64::MAX - 1, 1)]);
    }
}
