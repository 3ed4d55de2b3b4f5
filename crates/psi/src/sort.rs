//! Sorting lists that may be larger than memory: runs that fit, then merges of some of them at a time.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use tacit_types::{Code, Fault};

use crate::storage::{BLOCK_BYTES, Log, Reader, Storage, Writer};

/// Runs of one sorting. They take the files from the given one on, and their merges those after them.
pub const RUNS_MAX: u32 = 1 << 16;
/// Runs that are merged at a time: as many files are open, and a block of each is held.
const RUNS_AT_ONCE: usize = 64;
/// Bytes of a run that are read at a time at the least.
const MERGED_BYTES_MIN: usize = 1 << 12;
/// Bytes that are sorted at a time at the least.
const RUN_BYTES_MIN: usize = 1 << 16;

/// Sorts a list by its records' bytes into `into`, holding about `memory` bytes. Runs and merges take the files from `scratch` on.
///
/// # Errors
/// Those of the storage; `data.too_large` when more than [`RUNS_MAX`] runs were needed.
pub fn sort(storage: &mut dyn Storage, log: &Log, into: u32, scratch: u32, memory: usize) -> Result<Log, Fault> {
    let width = log.width;
    // A record is there three times: read, in order of its first bytes, and written.
    let per_run = (memory.max(RUN_BYTES_MIN) / (2 * width + 16)).max(1) as u64;
    let runs = log.count.div_ceil(per_run);
    if runs > u64::from(RUNS_MAX) {
        return Err(Fault::new(Code::DataTooLarge, format!("{runs} runs of sorting")));
    }
    if runs <= 1 {
        return sorted_run(storage, log, 0, log.count, into);
    }
    storage.sorting(runs);
    // proof: at most RUNS_MAX, and fewer merges than runs.
    let mut merging = Merging { levels: Vec::new(), file: scratch + runs as u32, width, memory };
    for run in 0..runs {
        let first = run * per_run;
        let part = sorted_run(storage, log, first, per_run.min(log.count - first), scratch + run as u32)?;
        merging.add(storage, part)?;
    }
    merging.finish(storage, into)
}

/// Sorted parts on their way into one: runs, merges of runs, merges of those. They are merged as soon as there are more than
/// enough of them, so that few files are there at a time.
struct Merging {
    levels: Vec<Vec<Log>>,
    /// Where the next merge goes.
    file: u32,
    width: usize,
    memory: usize,
}

impl Merging {
    fn add(&mut self, storage: &mut dyn Storage, mut part: Log) -> Result<(), Fault> {
        for level in 0.. {
            match self.levels.get_mut(level) {
                Some(parts) if parts.len() == RUNS_AT_ONCE => {
                    let full = std::mem::replace(parts, vec![part]);
                    part = self.merge(storage, full)?;
                }
                Some(parts) => {
                    parts.push(part);
                    break;
                }
                None => {
                    self.levels.push(vec![part]);
                    break;
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, storage: &mut dyn Storage, parts: Vec<Log>) -> Result<Log, Fault> {
        let file = self.file;
        self.file += 1;
        merge(storage, parts, file, (self.width, self.memory))
    }

    fn finish(mut self, storage: &mut dyn Storage, into: u32) -> Result<Log, Fault> {
        let mut parts: VecDeque<Log> = std::mem::take(&mut self.levels).into_iter().flatten().collect();
        while parts.len() > RUNS_AT_ONCE {
            let some = parts.drain(..RUNS_AT_ONCE).collect();
            let part = self.merge(storage, some)?;
            parts.push_back(part);
        }
        merge(storage, parts.into(), into, (self.width, self.memory))
    }
}

fn sorted_run(storage: &mut dyn Storage, log: &Log, first: u64, count: u64, into: u32) -> Result<Log, Fault> {
    let width = log.width;
    let records = log.get(storage, first, count as usize)?;
    let record = |i: u32| records.get(i as usize * width..(i as usize + 1) * width).unwrap_or_default();
    // Most comparisons end at the first eight bytes, which are uniform.
    let head = |i: u32| record(i).iter().take(8).fold(0u64, |n, b| (n << 8) | u64::from(*b));
    let mut order: Vec<(u64, u32)> = (0..count as u32).map(|i| (head(i), i)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| record(a.1).cmp(record(b.1))));
    let mut writer = Writer::new(into, width);
    for (_, i) in order {
        writer.push(storage, &[record(i)])?;
    }
    writer.finish(storage)
}

fn merge(storage: &mut dyn Storage, parts: Vec<Log>, into: u32, (width, memory): (usize, usize)) -> Result<Log, Fault> {
    let held = (memory / (2 * parts.len().max(1))).clamp(MERGED_BYTES_MIN, BLOCK_BYTES);
    let mut readers: Vec<Reader> = parts.iter().map(|part| Reader::holding(part, held)).collect();
    let mut heap = BinaryHeap::with_capacity(readers.len());
    for (i, reader) in readers.iter_mut().enumerate() {
        if let Some(record) = reader.next(storage)? {
            heap.push(Reverse((record.to_vec(), i)));
        }
    }
    let mut writer = Writer::new(into, width);
    while let Some(Reverse((mut record, i))) = heap.pop() {
        writer.push(storage, &[&record])?;
        let Some(reader) = readers.get_mut(i) else { continue };
        if let Some(next) = reader.next(storage)? {
            record.clear();
            record.extend_from_slice(next);
            heap.push(Reverse((record, i)));
        }
    }
    for part in parts {
        part.remove(storage)?;
    }
    writer.finish(storage)
}

/// One record of a join.
pub(crate) enum Side<'a> {
    /// In both lists: the left record.
    Both(&'a [u8]),
    /// In the left list alone.
    Left(&'a [u8]),
    /// In the right list alone.
    Right,
}

/// What is done with each record.
pub(crate) type OnSide<'a> = dyn FnMut(&mut dyn Storage, Side<'_>) -> Result<(), Fault> + Send + 'a;

/// Goes through two sorted lists side by side, the right one as it comes. Records are equal when their first bytes are;
/// within a list those differ.
pub(crate) struct Join {
    left: Reader,
    key: usize,
    held: Option<Vec<u8>>,
    started: bool,
}

impl Join {
    /// Of a sorted list, by the first `key` bytes.
    pub(crate) fn new(left: &Log, key: usize) -> Self {
        Self { left: Reader::new(left), key, held: None, started: false }
    }

    fn advance(&mut self, storage: &mut dyn Storage) -> Result<(), Fault> {
        self.started = true;
        self.held = self.left.next(storage)?.map(<[u8]>::to_vec);
        Ok(())
    }

    /// Takes the right list's next record.
    pub(crate) fn right(&mut self, storage: &mut dyn Storage, record: &[u8], on: &mut OnSide<'_>) -> Result<(), Fault> {
        if !self.started {
            self.advance(storage)?;
        }
        let key = record.get(..self.key).unwrap_or(record);
        while let Some(held) = self.held.take() {
            match held.get(..self.key).unwrap_or(&held).cmp(key) {
                Ordering::Less => {
                    on(storage, Side::Left(&held))?;
                    self.advance(storage)?;
                }
                Ordering::Equal => {
                    on(storage, Side::Both(&held))?;
                    return self.advance(storage);
                }
                Ordering::Greater => {
                    self.held = Some(held);
                    break;
                }
            }
        }
        on(storage, Side::Right)
    }

    /// The right list is over.
    pub(crate) fn finish(mut self, storage: &mut dyn Storage, on: &mut OnSide<'_>) -> Result<(), Fault> {
        if !self.started {
            self.advance(storage)?;
        }
        while let Some(held) = self.held.take() {
            on(storage, Side::Left(&held))?;
            self.advance(storage)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::InMemory;

    fn list(storage: &mut InMemory, file: u32, numbers: &[u32]) -> Log {
        let mut writer = Writer::new(file, 11);
        for n in numbers {
            writer.push(storage, &[&n.to_be_bytes(), &[1; 7]]).unwrap();
        }
        writer.finish(storage).unwrap()
    }

    fn numbers(storage: &mut dyn Storage, log: &Log) -> Vec<u32> {
        let mut reader = Reader::new(log);
        let mut out = Vec::new();
        while let Some(record) = reader.next(storage).unwrap() {
            out.push(u32::from_be_bytes(record[..4].try_into().unwrap()));
        }
        out
    }

    #[test]
    fn runs_and_their_merge_sort_as_memory_does() {
        let mut storage = InMemory::default();
        // The last but one are as many runs as are merged at a time, the last one more.
        let most = RUNS_AT_ONCE as u32 * 1724;
        for count in [0u32, 1, 2, 1000, 1724, 1725, 40_000, most, most + 1] {
            // Duplicates too: every number comes about twice.
            let unsorted: Vec<u32> = (0..count).map(|i| i.wrapping_mul(2_654_435_761) % (count / 2 + 1)).collect();
            let log = list(&mut storage, 1, &unsorted);
            let sorted = sort(&mut storage, &log, 2, 10, 0).unwrap();
            let mut expected = unsorted.clone();
            expected.sort_unstable();
            assert_eq!(numbers(&mut storage, &sorted), expected, "{count}");
            let left = (10..100).find(|file| storage.read(*file, 0, &mut [0]).is_ok());
            assert_eq!(left, None, "left behind");
        }
    }

    /// Storage that says how many runs there were and how many files of them there were at a time.
    #[derive(Default)]
    struct Watched {
        files: InMemory,
        runs: Vec<u64>,
        open: std::collections::BTreeSet<u32>,
        most: usize,
    }

    impl Storage for Watched {
        fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
            self.open.insert(file);
            self.most = self.most.max(self.open.len());
            self.files.write(file, offset, bytes)
        }

        fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
            self.files.read(file, offset, out)
        }

        fn remove(&mut self, file: u32) -> Result<(), Fault> {
            self.open.remove(&file);
            self.files.remove(file)
        }

        fn sync(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        fn sorting(&mut self, runs: u64) {
            self.runs.push(runs);
        }
    }

    #[test]
    fn what_memory_has_no_room_for_goes_to_files_and_comes_back_the_same() {
        let numbers_of = |storage: &mut Watched, memory| {
            let mut writer = Writer::new(1, 11);
            for i in 0..200_000u32 {
                writer.push(storage, &[&i.wrapping_mul(2_654_435_761).to_be_bytes(), &[1; 7]]).unwrap();
            }
            let log = writer.finish(storage).unwrap();
            let sorted = sort(storage, &log, 2, 10, memory).unwrap();
            numbers(storage, &sorted)
        };
        let (mut small, mut large) = (Watched::default(), Watched::default());
        assert_eq!(numbers_of(&mut small, 0), numbers_of(&mut large, 1 << 30));
        // 117 runs of 1724: when there is one more than 64, these are merged.
        assert_eq!((small.runs, large.runs), (vec![117], vec![]));
        assert_eq!((small.most, large.most), (1 + RUNS_AT_ONCE + 2, 2));
        assert_eq!(small.open.into_iter().collect::<Vec<_>>(), [1, 2], "what was sorted, and how");
    }

    #[test]
    fn a_list_of_one_run_too_many_is_refused_before_it_is_read() {
        let mut storage = InMemory::default();
        let mut of = |runs: u64| {
            let log = Log { file: 1, width: 11, count: runs * 1724 };
            sort(&mut storage, &log, 2, 10, 0).map_err(|f| f.code)
        };
        // There is nothing to read of the one that would be.
        assert_eq!(of(RUNS_MAX.into()), Err(Code::JobInternal));
        assert_eq!(of(u64::from(RUNS_MAX) + 1), Err(Code::DataTooLarge));
    }

    #[test]
    fn a_join_names_both_sides() {
        let mut storage = InMemory::default();
        for (left, right) in [
            (vec![1u32, 3, 5, 7], vec![0u32, 3, 4, 7, 9]),
            (vec![], vec![1]),
            (vec![1], vec![]),
            (vec![1, 2], vec![1, 2]),
            (vec![5, 6], vec![1, 2]),
            (vec![1, 2], vec![5, 6]),
        ] {
            let log = list(&mut storage, 1, &left);
            let mut seen = Vec::new();
            let number = |r: &[u8]| u32::from_be_bytes(r[..4].try_into().unwrap());
            let mut on = |_: &mut dyn Storage, side: Side<'_>| {
                seen.push(match side {
                    Side::Both(r) => ('=', number(r)),
                    Side::Left(r) => ('<', number(r)),
                    Side::Right => ('>', 0),
                });
                Ok(())
            };
            let mut join = Join::new(&log, 4);
            for n in &right {
                join.right(&mut storage, &n.to_be_bytes(), &mut on).unwrap();
            }
            join.finish(&mut storage, &mut on).unwrap();
            let of = |c: char| seen.iter().filter(|s| s.0 == c).map(|s| s.1).collect::<Vec<u32>>();
            let only = |a: &[u32], b: &[u32]| a.iter().filter(|n| !b.contains(n)).copied().collect::<Vec<u32>>();
            assert_eq!(of('<'), only(&left, &right));
            assert_eq!(of('>').len(), only(&right, &left).len());
            assert_eq!(of('='), left.iter().filter(|n| right.contains(n)).copied().collect::<Vec<u32>>());
        }
    }
}
