//! What the coordinator has read of its own log, and how it reads on.

use std::collections::{BTreeMap, BTreeSet};

use tacit_archive::Folder;
use tacit_crypto::statement::Envelope;
use tacit_crypto::{Keyring, sha256};
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::money::LeafRef;
use tacit_receipts::tiles::{TILE_WIDTH, beside_path};
use tacit_receipts::verify::Beside;
use tacit_receipts::{Cases, KeyHistory, KeyRole, Leaf, Ledger, Memo, Money, TileRead, TileReader};
use tacit_types::wire::Blob;
use tacit_types::{ContractId, Fault, Hash, NodeId};

/// The memos of a node.
#[derive(Default)]
pub(super) struct Noted {
    /// All numbers up to this one are there.
    pub whole: u64,
    /// Those that are there beyond a hole, as a log of before may have it.
    beyond: BTreeSet<u64>,
    /// Bytes under seal.
    pub bytes: u64,
}

impl Noted {
    pub fn take(&mut self, memo: &Memo) {
        self.beyond.insert(memo.number);
        while self.beyond.remove(&self.whole.saturating_add(1)) {
            self.whole = self.whole.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(sealed_bytes(memo));
    }
}

pub(super) fn sealed_bytes(memo: &Memo) -> u64 {
    memo.sealed.as_ref().map_or(0, |sealed| sealed.len() as u64)
}

/// The log so far.
#[derive(Default)]
pub(super) struct State {
    pub ledger: Ledger,
    pub cases: Cases,
    /// The keys that parties have had.
    keys: KeyHistory,
    /// The same keys and all others that sign leaves, decoded once.
    decoded: Keyring,
    /// The hash of every leaf: a case names those that it rests on.
    pub hashes: Vec<Hash>,
    /// The next leaf.
    pub next: u64,
    /// Where a party has said a thing: the same again is no news.
    pub said: BTreeMap<(NodeId, Hash), u64>,
    /// What nodes have noted.
    pub memos: BTreeMap<NodeId, Noted>,
    /// Statements of price plans, by contract.
    pub plans: BTreeMap<ContractId, Vec<Blob>>,
}

/// What a statement says, whenever it was signed.
pub(super) fn meaning(envelope: &Envelope) -> Hash {
    sha256(&[envelope.kind.as_bytes(), &[0], &envelope.body].concat())
}

impl State {
    /// The state before the first leaf of a log.
    pub fn new(origin: &str) -> Self {
        Self {
            ledger: Ledger::new(origin),
            cases: Cases::new(origin),
            keys: KeyHistory::new(origin),
            ..Self::default()
        }
    }

    /// Takes in what is left of the next bundle of a log of `size` leaves.
    ///
    /// # Errors
    /// `log.corrupt` when the bundle cannot be read: the state is as it was, and the next try goes on from there.
    pub fn follow(&mut self, folder: &Folder, size: u64) -> Result<(), Fault> {
        let beside = |id: &_| folder.read(&beside_path(id));
        let skip = usize::try_from(self.next % TILE_WIDTH).unwrap_or(usize::MAX);
        let leaves = TileReader::new(folder, size).entries(self.next / TILE_WIDTH)?;
        for leaf in leaves.into_iter().skip(skip) {
            if let Err(fault) = self.take(&leaf, &beside) {
                tracing::warn!(leaf = self.next, %fault, "a statement in the log is wrong");
            }
            self.next = self.next.saturating_add(1);
        }
        Ok(())
    }

    /// Takes the next leaf in.
    pub fn take(&mut self, bytes: &[u8], beside: &Beside<'_>) -> Result<(), Fault> {
        let at = LeafRef { index: self.next, hash: leaf_hash(bytes) };
        let said = match Leaf::read_with(bytes, &self.decoded) {
            Ok(leaf) => self.take_read(at, bytes, &leaf, beside),
            Err(fault) => Err(fault),
        };
        self.hashes.push(at.hash);
        if let Some(envelope) = said? {
            // The newest: a step of a case may come again in words that were used before.
            self.said.insert((self.keys.id_of(KeyRole::Node, &envelope.signer), meaning(&envelope)), at.index);
        }
        Ok(())
    }

    /// The statement of a party that a leaf holds.
    fn take_read(
        &mut self,
        at: LeafRef,
        bytes: &[u8],
        leaf: &Leaf,
        beside: &Beside<'_>,
    ) -> Result<Option<Envelope>, Fault> {
        let follow = |ledger: &mut Ledger, keys: &Keyring| ledger.follow_read(at, leaf, beside, keys);
        match leaf {
            Leaf::Case(envelope, said) => {
                let envelope = self.keys.spoken(envelope).into_owned();
                let hashes = &self.hashes;
                self.cases.push(at, &envelope, said, &|leaf| hash_of(hashes, leaf))?;
                Ok(Some(envelope))
            }
            Leaf::Money(envelope, money) => {
                follow(&mut self.ledger, &self.decoded)?;
                if let Money::Plan(plan) = money.as_ref() {
                    self.plans.entry(plan.contract).or_default().push(Blob(bytes.to_vec()));
                }
                Ok(Some(envelope.clone()))
            }
            Leaf::Memo(memo) => {
                let node = self.keys.id_of(KeyRole::Node, &memo.signer());
                self.memos.entry(node).or_default().take(memo.body());
                Ok(Some(memo.envelope().clone()))
            }
            Leaf::PartyRotation(change) => {
                let done = self.keys.follow_any(change, Some(at.index));
                done.and(follow(&mut self.ledger, &self.decoded)).map(|()| None)
            }
            _ => follow(&mut self.ledger, &self.decoded).map(|()| None),
        }
    }
}

pub(super) fn hash_of(hashes: &[Hash], leaf: u64) -> Option<Hash> {
    usize::try_from(leaf).ok().and_then(|leaf| hashes.get(leaf)).copied()
}
