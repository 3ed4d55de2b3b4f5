//! From one log to the next: what must hold where one ends and the other begins.

use tacit_crypto::Statement;
use tacit_types::{Code, Fault, Hash};

use super::Verifier;
use crate::checkpoint::Checkpoint;
use crate::leaf::{GENESIS_LEAVES, Genesis};
use crate::merkle::{HashSource as _, MemTree, root};
use crate::receipt::SeenCheckpoint;
use crate::report::Notice;
use crate::rotation::LogChain;
use crate::shard::{ShardChange, continues};

/// How the log that is read ended.
pub(super) struct Ended {
    leaf: u64,
    change: ShardChange,
}

/// The hash of a leaf by its number: in the log that is read, which begins at `first`, or in one of those before.
pub(super) fn hash_of((past, tree, first): (&[MemTree], &MemTree, u64), leaf: u64) -> Option<Hash> {
    if let Some(place) = leaf.checked_sub(first) {
        return tree.subtree(0, place);
    }
    let mut place = leaf;
    for tree in past {
        match place.checked_sub(tree.size()) {
            None => return tree.subtree(0, place),
            Some(rest) => place = rest,
        }
    }
    None
}

impl Verifier<'_> {
    /// Ends the log that was read with its last checkpoint, and begins the one that its last leaf names: the leaves that
    /// follow are that one's, numbered on.
    ///
    /// # Errors
    /// `log.shard` when the log does not end with a change that holds, or its checkpoint does not: then nothing says which
    /// log is the next.
    pub fn next_log(&mut self, checkpoint: &[u8]) -> Result<(), Fault> {
        let wrong = |what: &str| Fault::new(Code::LogShard, format!("{}: {what}", self.origin));
        let (unended, unsigned) =
            (wrong("its last leaf names no next log"), wrong("its last checkpoint does not hold"));
        let next = self.ended.take().filter(|ended| ended.leaf.saturating_add(1) == self.number());
        let change = next.ok_or(unended)?.change;
        let (head, _) = self.head(checkpoint);
        let head = head.ok_or(unsigned)?;
        self.covers(&head);
        self.report.after.push(format!("{} {} {}", head.origin, head.size, head.root));
        self.report.log_keys.extend(self.log.shown());
        self.log = LogChain::from(change.next_key()?);
        self.first = self.number();
        self.past.push(core::mem::take(&mut self.tree));
        self.continues = Some(continues(&head));
        self.origin.clone_from(&change.next_origin);
        self.report.origin.clone_from(&change.next_origin);
        self.history.also(&change.next_origin);
        self.ledger.turn(&change.next_origin);
        self.cases.turn(&change.next_origin);
        Ok(())
    }

    /// The number of the next leaf.
    pub(super) fn number(&self) -> u64 {
        self.first.saturating_add(self.tree.size())
    }

    /// Whether what needs all the leaves before can be checked: the whole history is read, from its first log on.
    pub(super) fn complete(&self) -> bool {
        self.whole && !self.alone
    }

    /// That the head covers the leaves that were read.
    pub(super) fn covers(&mut self, head: &Checkpoint) {
        let (size, found) = (self.tree.size(), self.tree.root());
        if head.size != size {
            self.find(None, Code::LogCorrupt, format!("{size} leaves are here; the checkpoint has {}", head.size));
        } else if head.root != found {
            let what = format!("the leaves have root {}, the checkpoint has {}", found.short(), head.root.short());
            self.find(None, Code::LogCorrupt, what);
        }
        if size < GENESIS_LEAVES {
            self.find(None, Code::LogGenesis, format!("{size} leaves"));
        }
    }

    /// The next log, named by the one that ends here.
    pub(super) fn shard_change(&mut self, index: u64, statement: &Statement<ShardChange>) {
        let body = statement.body();
        let checked = ShardChange::check(statement).and_then(|()| {
            let what = if body.origin != self.origin {
                "it is of another log"
            } else if body.old != self.log.newest().key() {
                "it is not signed by the log's newest key"
            } else if self.complete() && body.first != index.saturating_add(1) {
                "the next log's first leaf has another number"
            } else {
                return Ok(());
            };
            Err(Fault::new(Code::LogShard, what))
        });
        match checked {
            Ok(()) if self.ended.is_none() => self.ended = Some(Ended { leaf: index, change: body.clone() }),
            // A leaf behind the end, which is named as such.
            Ok(()) => {}
            Err(fault) => self.flaw(index, fault),
        }
    }

    /// Nothing stands behind the end of a log.
    pub(super) fn behind_end(&mut self, index: u64) {
        if let Some(end) = self.ended.as_ref().map(|ended| ended.leaf).filter(|_| self.whole) {
            self.flaw(index, Fault::new(Code::LogShard, format!("the log ended with leaf {end}")));
        }
    }

    /// What the genesis says of the log before.
    pub(super) fn follows(&mut self, index: u64, genesis: &Genesis) {
        if !self.whole {
            return;
        }
        match (&self.continues, &genesis.continues) {
            (Some(last), Some(named)) if last == named => {}
            (Some(_), _) => self.flaw(index, Fault::new(Code::LogShard, "it continues another checkpoint, or none")),
            (None, Some(_)) => {
                self.alone = true;
                self.report.notice(Notice::Continues);
            }
            (None, None) => {}
        }
    }

    /// Whether a checkpoint that a party has seen is of the log that is read at a leaf, or of one before. Some of a log
    /// before, which is not here, nobody can tell.
    pub(super) fn has_seen(&self, index: u64, seen: &SeenCheckpoint) -> Result<(), Fault> {
        let is = |tree: &MemTree| root(tree, seen.size).ok() == Some(seen.root);
        let here = seen.size <= index.saturating_sub(self.first) && (!self.whole || is(&self.tree));
        if here || self.alone || self.past.iter().any(is) {
            Ok(())
        } else if seen.size > index.saturating_sub(self.first) {
            Err(Fault::new(Code::LogRollback, format!("had seen {} leaves", seen.size)))
        } else {
            Err(Fault::new(Code::LogFork, format!("had seen another root at {} leaves", seen.size)))
        }
    }
}
