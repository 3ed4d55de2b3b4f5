//! A disk in memory. A transaction is atomic; until it is synced, a crash may keep or lose it,
//! whatever became of the others.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// A process's disk.
#[derive(Clone, Debug)]
pub struct Disk<K, V> {
    durable: BTreeMap<K, V>,
    pending: Vec<Vec<(K, V)>>,
}

impl<K: Ord + Clone, V: Clone> Default for Disk<K, V> {
    fn default() -> Self {
        Self { durable: BTreeMap::new(), pending: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Disk<K, V> {
    /// What the process reads: the newest write, synced or not.
    pub fn read(&self, key: &K) -> Option<&V> {
        let unsynced = self.pending.iter().rev().flat_map(|tx| tx.iter().rev()).find(|(k, _)| k == key);
        unsynced.map(|(_, v)| v).or_else(|| self.durable.get(key))
    }

    /// What would be there after a crash that loses every unsynced write.
    pub fn durable(&self, key: &K) -> Option<&V> {
        self.durable.get(key)
    }

    /// Everything durable.
    pub fn all_durable(&self) -> &BTreeMap<K, V> {
        &self.durable
    }

    /// Everything that the process reads.
    pub fn all(&self) -> BTreeMap<&K, &V> {
        let mut all: BTreeMap<&K, &V> = self.durable.iter().collect();
        all.extend(self.pending.iter().flatten().map(|(key, value)| (key, value)));
        all
    }

    /// Writes a transaction.
    pub fn write(&mut self, tx: Vec<(K, V)>) {
        self.pending.push(tx);
    }

    /// Makes everything written durable.
    pub fn sync(&mut self) {
        self.durable.extend(self.pending.drain(..).flatten());
    }

    /// The process died: any subset of the unsynced transactions is kept.
    pub fn crash(&mut self, dice: &mut Dice) {
        for tx in core::mem::take(&mut self.pending) {
            if dice.chance(500) {
                self.durable.extend(tx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_any_subset_of_what_was_not_synced_and_all_that_was() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut disk = Disk::default();
            disk.write(vec![(0, 'a')]);
            disk.sync();
            disk.write(vec![(1, 'b'), (2, 'c')]);
            disk.write(vec![(3, 'd')]);
            assert_eq!((disk.read(&2), disk.durable(&2)), (Some(&'c'), None));
            disk.crash(&mut Dice::new(seed, "crash"));
            assert_eq!(disk.read(&0), Some(&'a'));
            assert_eq!(disk.read(&1).is_some(), disk.read(&2).is_some(), "a transaction is kept whole");
            seen.insert((disk.read(&1).is_some(), disk.read(&3).is_some()));
        }
        assert_eq!(seen.len(), 4);
    }
}
