//! A thousand logs that go back or show a second history, to one honest witness: none passes, and what the witness holds
//! and what it was offered convince others.

mod common;

use common::*;
use tacit_crypto::{Rng, Secret};
use tacit_receipts::fork::{Prefix, prove_fork};
use tacit_receipts::merkle::{consistency_proof, leaf_hash, root};
use tacit_receipts::*;
use tacit_types::{Code, UnixMillis};

const TRIALS: u64 = 1_000;

/// The leaves of a log: the beginning of all, then statements that are another history's from `fork` on.
struct Leaves {
    begin: Vec<Vec<u8>>,
    honest: Vec<Vec<u8>>,
    forged: Vec<Vec<u8>>,
}

impl Leaves {
    fn new(world: &World, most: usize) -> Self {
        let statements =
            |what: &str| (0..most).map(|i| world.by_coordinator(Novelty { text: format!("{what} {i}") })).collect();
        Self { begin: world.genesis_leaves(), honest: statements("leaf"), forged: statements("another leaf") }
    }

    /// So many leaves, those from place `fork` on of the second history.
    fn of(&self, size: u64, fork: u64) -> Vec<Vec<u8>> {
        let begin = self.begin.len() as u64;
        let at = |i: u64| match i.checked_sub(begin) {
            None => self.begin[i as usize].clone(),
            Some(n) if i < fork => self.honest[n as usize].clone(),
            Some(n) => self.forged[n as usize].clone(),
        };
        (0..size).map(at).collect()
    }
}

fn tree(leaves: &[Vec<u8>]) -> MemTree {
    let mut tree = MemTree::default();
    leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
    tree
}

fn note(tree: &MemTree, size: u64) -> Vec<u8> {
    let head = Checkpoint { origin: ORIGIN.into(), size, root: root(tree, size).unwrap() };
    head.sign(&log_key(), &key(1)).unwrap().to_bytes()
}

#[test]
fn of_a_thousand_forks_and_rollbacks_none_passes_one_honest_witness() {
    let world = World::new(3);
    let leaves = Leaves::new(&world, 24);
    let mut rng = Rng::from_seed(&Secret::new([42; 32]));
    let mut below = |n: u64| rng.below(n);
    let trust = Trust { witnesses: Vec::new(), quorum: 0, ..world.trust() };
    let mut kinds = [0_u64; 4];
    for trial in 0..TRIALS {
        let mut witness = Witness::new(world.witness(0), log_key(), ORIGIN, None).unwrap();
        let held = 4 + below(20);
        let honest = tree(&leaves.of(held, u64::MAX));
        let first = AddCheckpoint { old: 0, proof: Vec::new(), note: note(&honest, held) };
        let prepared = witness.prepare(&first, START).unwrap();
        let line = witness.release(prepared, &key(50)).unwrap();
        assert!(!line.to_string().is_empty());

        // Where the second history begins, and to which size it goes: below, at or above what was cosigned.
        let kind = below(4);
        let fork = 2 + below(held - 2);
        let size = match kind {
            0 => 2 + below(held - 2),
            1 => held,
            _ => held + 1 + below(26 - held),
        };
        let fork = if kind == 0 && trial % 2 == 0 { u64::MAX } else { fork };
        let shown = leaves.of(size, fork);
        let forged = tree(&shown);
        // The proof is the second history's own, an honest one's, or none.
        let proof = match kind {
            2 => consistency_proof(&forged, held, size).unwrap(),
            3 => consistency_proof(&tree(&leaves.of(size, u64::MAX)), held, size).unwrap(),
            _ => Vec::new(),
        };
        let old = held.min(size);
        let offered = AddCheckpoint { old, proof, note: note(&forged, size) };
        let before = witness.seen().cloned().unwrap();
        let refused = witness.prepare(&offered, UnixMillis(START.0 + 1_000)).unwrap_err();
        // The second history's own proof gives it away, but where it begins at a power of two.
        let shows = kind == 2 && !held.is_power_of_two();
        let third = if shows { Code::LogFork } else { Code::LogProof };
        let expected = [Code::LogRollback, Code::LogFork, third, Code::LogProof][kind as usize];
        assert_eq!(refused.code(), expected, "trial {trial}: {held} to {size}, another from {fork} on");
        assert_eq!(witness.seen(), Some(&before));
        kinds[kind as usize] += 1;

        // The note that it holds and what it was offered are the evidence.
        if kind == 1 {
            let [one, other] = prove_fork(&before.note, &offered.note, None, ORIGIN, &log_key().into()).unwrap();
            assert!(one.size == held && one.root != other.root);
        }
        // Of two sizes with what the larger has in the smaller's place: of what was refused, of the second history's files, or
        // of the mirror that a witness keeps of the first.
        let between = match refused {
            WitnessRefusal::Fork { prefix, .. } if kind == 2 => prefix,
            _ if kind == 0 => Some(Prefix::of(&honest, size, held).unwrap()),
            _ if size > held => Some(Prefix::of(&forged, held, size).unwrap()),
            _ => None,
        };
        if kind != 1 {
            let proven = prove_fork(&before.note, &offered.note, between.as_ref(), ORIGIN, &log_key().into());
            let extends = kind == 0 && root(&honest, size).unwrap() == root(&forged, size).unwrap();
            assert_eq!(proven.is_ok(), !extends, "trial {trial}: {held} to {size}, another from {fork} on");
        }
        let differs = size >= held && root(&forged, held).unwrap() != before.root;
        assert!(differs || size < held);
        if trial % 25 == 0 {
            let mut bundle = Bundle::whole(None, offered.note.clone(), shown);
            bundle.kept.push(before.note.clone().into());
            let report = verify_bundle(&bundle.to_bytes(), Some(&trust)).unwrap();
            let expected = if size < held { Code::LogRollback } else { Code::LogFork };
            assert_eq!(codes(&report), [expected], "trial {trial}: {:?}", report.faults);
        }
    }
    assert!(kinds.iter().all(|n| *n > TRIALS / 8), "{kinds:?}");
}
