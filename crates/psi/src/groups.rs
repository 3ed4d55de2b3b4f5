//! A party's keys where each stands in a group: what is counted for each group of one party's rows.

use tacit_crypto::Prg;
use tacit_types::{Code, Fault, Hash};

use crate::hash::KeyHash;
use crate::keyset::{Key, RowsRef, files};
use crate::sort::sort;
use crate::storage::{Log, Reader, Storage, Writer};

/// Groups of one list, the last of which takes what is in no other.
pub const RING_GROUPS_MAX: usize = 65;
/// Bytes of a record while keys are gathered: key, group.
const GATHERED: usize = 32 + 1;
/// Bytes of a key's record: group, half of the key space, key.
const WIDTH: usize = 1 + 1 + 32;
/// Random keys that are made at a time.
const PADDING_KEYS: u64 = 1 << 12;

/// Takes keys in, each with its group.
pub struct GroupSetBuilder {
    schema: Hash,
    writer: Writer,
    memory: usize,
    groups: usize,
}

impl GroupSetBuilder {
    /// For keys of a schema in so many groups, holding about `memory` bytes while they are sorted.
    pub fn new(schema: Hash, groups: usize, memory: usize) -> Self {
        Self { schema, writer: Writer::new(files::INPUT, GATHERED), memory, groups: groups.min(RING_GROUPS_MAX) }
    }

    /// Takes the next row in. A group past the last is the last.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn push(&mut self, storage: &mut dyn Storage, key: &KeyHash, group: usize) -> Result<(), Fault> {
        let group = group.min(self.groups.saturating_sub(1)) as u8; // proof: at most RING_GROUPS_MAX.
        self.writer.push(storage, &[key, &[group]])
    }

    /// Puts each key into the first of its rows' groups, and groups of fewer than `least` keys into the last one: none
    /// that has any is left with fewer, as long as there are so many keys in all.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn finish(self, storage: &mut dyn Storage, least: u64) -> Result<GroupSet, Fault> {
        let unsorted = self.writer.finish(storage)?;
        let gathered = sort(storage, &unsorted, files::SORTED, files::SCRATCH, self.memory)?;
        unsorted.remove(storage)?;
        let mut own = vec![0u64; self.groups];
        first_of_each(storage, &gathered, &mut |_, _, group| {
            if let Some(size) = own.get_mut(usize::from(group)) {
                *size += 1; // proof: there are at most as many keys as rows.
            }
            Ok(())
        })?;
        let into = merge(&mut own, least);
        let mut writer = Writer::new(files::INPUT, WIDTH);
        first_of_each(storage, &gathered, &mut |storage, key, group| {
            let group = into.get(usize::from(group)).copied().unwrap_or(group);
            writer.push(storage, &[&[group, key[31] & 1], key])
        })?;
        gathered.remove(storage)?;
        let unsorted = writer.finish(storage)?;
        let log = sort(storage, &unsorted, files::GROUPED, files::SCRATCH, self.memory)?;
        unsorted.remove(storage)?;
        Ok(GroupSet { schema: self.schema, log, sizes: own.clone(), own })
    }
}

/// Takes a key and its group, with the storage at hand.
type TakeGrouped<'a> = dyn FnMut(&mut dyn Storage, &KeyHash, u8) -> Result<(), Fault> + 'a;

/// Goes through the distinct keys of gathered records, each with the first of its groups.
fn first_of_each(storage: &mut dyn Storage, gathered: &Log, take: &mut TakeGrouped<'_>) -> Result<(), Fault> {
    let mut reader = Reader::new(gathered);
    let mut held: Option<KeyHash> = None;
    while let Some(record) = reader.next(storage)? {
        let Some((key, [group])) = record.split_first_chunk::<32>() else { continue };
        let (key, group) = (*key, *group);
        if held.replace(key) != Some(key) {
            take(storage, &key, group)?;
        }
    }
    Ok(())
}

/// Into which group each goes: one of fewer than `least` keys into the last, and more of them, the smallest first, until the
/// last has as many or none.
fn merge(sizes: &mut [u64], least: u64) -> Vec<u8> {
    let mut into: Vec<u8> = (0..sizes.len() as u8).collect(); // proof: at most RING_GROUPS_MAX.
    let Some(last) = sizes.len().checked_sub(1) else { return into };
    loop {
        let smallest = (0..last).filter(|g| sizes[*g] > 0).min_by_key(|g| sizes[*g]);
        let Some(group) = smallest else { return into };
        let rest = sizes[last];
        if sizes[group] >= least && (rest == 0 || rest >= least) {
            return into;
        }
        sizes[last] += std::mem::take(&mut sizes[group]); // proof: together they are keys of one list.
        into[group] = last as u8;
    }
}

/// Distinct keys, each in one group.
#[derive(Clone)]
pub struct GroupSet {
    schema: Hash,
    log: Log,
    /// Keys of each group that are the owner's.
    own: Vec<u64>,
    /// The same with what was padded.
    sizes: Vec<u64>,
}

impl GroupSet {
    /// Distinct keys.
    pub fn len(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys of each group.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// The owner's keys of a group, in the order of [`KeySet::each`](crate::KeySet::each).
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn each(
        &self,
        storage: &mut dyn Storage,
        group: usize,
        take: &mut dyn FnMut(&KeyHash) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (mut first, size) = (self.own.iter().take(group).sum::<u64>(), self.own.get(group).copied().unwrap_or(0));
        let end = first + size;
        while first < end {
            let count = PADDING_KEYS.min(end - first);
            let records = self.log.get(storage, first, count as usize)?;
            records.as_chunks::<WIDTH>().0.iter().try_for_each(|r| r.last_chunk().map_or(Ok(()), &mut *take))?;
            first += count;
        }
        Ok(())
    }

    /// Brings every group to `size` keys, with random ones.
    ///
    /// # Errors
    /// `refused.cohort` where a group has more; those of the storage.
    pub fn pad(&mut self, storage: &mut dyn Storage, size: u64, random: &Prg) -> Result<(), Fault> {
        if self.sizes.iter().any(|have| *have > size) {
            return Err(Fault::new(Code::RefusedCohort, format!("a group has more than {size} keys")));
        }
        let mut made = 0;
        for (group, have) in self.sizes.iter_mut().enumerate() {
            while *have < size {
                let count = PADDING_KEYS.min(size - *have);
                let mut keys = vec![[0; 32]; count as usize];
                random.keystream(32 * made, keys.as_flattened_mut());
                let records: Vec<u8> = keys.iter().flat_map(|k| [&[group as u8, k[31] & 1], &k[..]].concat()).collect();
                let end = self.log.count;
                self.log.put(storage, end, &records)?;
                *have += count;
                made += count;
            }
        }
        Ok(())
    }

    pub(crate) fn schema(&self) -> Hash {
        self.schema
    }

    /// Keys `first` to `first + count` and their groups.
    pub(crate) fn read(
        &self,
        storage: &mut dyn Storage,
        first: u64,
        count: usize,
    ) -> Result<(Vec<Key>, Vec<u8>), Fault> {
        let records = self.log.get(storage, first, count)?;
        let rows = RowsRef { half: 0, first: 0, count: 0 };
        let read = |r: &[u8; WIDTH]| Some((Key { hash: *r.last_chunk()?, rows }, r[0]));
        Ok(records.as_chunks::<WIDTH>().0.iter().filter_map(read).unzip())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::storage::InMemory;

    fn key(n: u64) -> KeyHash {
        tacit_crypto::sha256(&n.to_le_bytes()).0
    }

    fn build(rows: &[(u64, usize)], groups: usize, least: u64) -> (GroupSet, InMemory) {
        let mut storage = InMemory::default();
        let mut builder = GroupSetBuilder::new(Hash([1; 32]), groups, 0);
        rows.iter().for_each(|(n, group)| builder.push(&mut storage, &key(*n), *group).unwrap());
        (builder.finish(&mut storage, least).unwrap(), storage)
    }

    fn keys_of(set: &GroupSet, storage: &mut InMemory, group: usize) -> Vec<KeyHash> {
        let mut keys = Vec::new();
        set.each(storage, group, &mut |key| {
            keys.push(*key);
            Ok(())
        })
        .unwrap();
        keys
    }

    #[test]
    fn a_key_counts_once_in_the_first_of_its_groups() {
        // Every third key is in two groups, some rows come twice, and the last group takes what is past it.
        let rows: Vec<(u64, usize)> =
            (0..9000u64).flat_map(|n| [(n, 2 + n as usize % 3), (n, if n % 3 == 0 { 1 } else { 9 }), (n, 9)]).collect();
        let (set, mut storage) = build(&rows, 5, 1);
        assert_eq!((set.len(), set.sizes()), (9000, &[0, 3000, 0, 3000, 3000][..]));
        let mut seen = BTreeSet::new();
        for group in 0..5 {
            let keys = keys_of(&set, &mut storage, group);
            assert_eq!(keys.len() as u64, set.sizes()[group]);
            assert!(keys.windows(2).all(|w| (w[0][31] & 1, w[0]) < (w[1][31] & 1, w[1])), "in order");
            seen.extend(keys);
        }
        assert_eq!(seen, (0..9000).map(key).collect());
        let (again, mut other) = build(&rows.iter().rev().copied().collect::<Vec<_>>(), 5, 1);
        assert_eq!(keys_of(&again, &mut other, 3), keys_of(&set, &mut storage, 3), "the order of rows is nothing");
    }

    #[test]
    fn no_group_is_left_with_few_keys() {
        // Sizes of two groups and the last one, below, at and past the least.
        for code in 0..6u64.pow(3) {
            let mut sizes = [code % 6, code / 6 % 6, code / 36];
            let (before, total) = (sizes, sizes.iter().sum::<u64>());
            let into = merge(&mut sizes, 3);
            assert_eq!(sizes.iter().sum::<u64>(), total);
            let few = sizes.iter().any(|s| (1..3).contains(s));
            assert!(!few || (total < 3 && sizes[..2] == [0, 0]), "{before:?} become {sizes:?}");
            let moved = (0..3).map(|g| if usize::from(into[g]) == g { 0 } else { before[g] }).sum::<u64>();
            assert_eq!(sizes[2], before[2] + moved);
            assert!(before.iter().any(|s| (1..3).contains(s)) || moved == 0, "{before:?} become {sizes:?}");
        }
        let mut sizes = [9, 5, 4, 1];
        assert_eq!((merge(&mut sizes, 3), sizes), (vec![0, 1, 3, 3], [9, 5, 0, 5]), "the smallest goes along");
    }

    #[test]
    fn every_group_is_padded_to_one_size() {
        let rows: Vec<(u64, usize)> = (0..40).map(|n| (n, usize::from(n >= 30))).collect();
        let (mut set, mut storage) = build(&rows, 3, 5);
        let own: Vec<_> = (0..3).map(|group| keys_of(&set, &mut storage, group)).collect();
        let random = Prg::new(&tacit_crypto::Secret::new([5; 40]));
        assert_eq!(set.pad(&mut storage, 29, &random).unwrap_err().code, Code::RefusedCohort);
        set.pad(&mut storage, 5000, &random).unwrap();
        assert_eq!((set.sizes(), set.len()), (&[5000; 3][..], 15_000));
        let (all, groups) = set.read(&mut storage, 0, 15_000).unwrap();
        assert_eq!(all.iter().map(|k| k.hash).collect::<BTreeSet<_>>().len(), 15_000);
        let mut counts = BTreeMap::new();
        groups.iter().for_each(|g| *counts.entry(*g).or_insert(0) += 1);
        assert_eq!(counts, BTreeMap::from([(0, 5000), (1, 5000), (2, 5000)]));
        assert!((0..3).all(|group| keys_of(&set, &mut storage, group) == own[group]), "the owner's are the same");
    }
}
