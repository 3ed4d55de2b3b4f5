//! Records in the order of the keys that they begin with, where they are kept: of each block the first key is held, and the
//! others are read when one of them is looked for.

use tacit_types::Fault;

use super::desk::KEPT_BYTES;

/// Records of a block.
pub(crate) const BLOCK_RECORDS: usize = 256;

/// A key as it is kept.
pub(crate) type Key = [u8; KEPT_BYTES];

/// Reads bytes of the records, from one of them on.
pub(crate) type Read<'a> = dyn FnMut(u64, &mut [u8]) -> Result<(), Fault> + 'a;

/// Where to look.
pub(crate) struct Ordered {
    count: u64,
    width: usize,
    /// The first key of each block.
    firsts: Vec<Key>,
}

fn key(record: &[u8]) -> Option<Key> {
    record.first_chunk().copied()
}

impl Ordered {
    /// Looks through so many records of so many bytes, once. `None` where their keys do not ascend.
    pub fn new(count: u64, width: usize, read: &mut Read<'_>) -> Result<Option<Self>, Fault> {
        let mut all = Self { count, width, firsts: Vec::new() };
        let mut last: Option<Key> = None;
        for number in 0..count.div_ceil(BLOCK_RECORDS as u64) {
            let block = all.block(number, read)?;
            let keys = || block.chunks_exact(width).filter_map(key);
            if !last.into_iter().chain(keys()).is_sorted_by(|a, b| a < b) {
                return Ok(None);
            }
            all.firsts.extend(keys().next());
            last = keys().next_back();
        }
        Ok(Some(all))
    }

    /// A block of the records.
    fn block(&self, number: u64, read: &mut Read<'_>) -> Result<Vec<u8>, Fault> {
        let first = number * BLOCK_RECORDS as u64; // proof: no further than the records, whose bytes are a file's.
        let count = self.count.saturating_sub(first).min(BLOCK_RECORDS as u64) as usize;
        let mut out = vec![0; count * self.width];
        read(first * self.width as u64, &mut out)?;
        Ok(out)
    }

    /// Gives the record of each of some keys that has one, with the key's place among them. They ascend, so that no block is
    /// read twice.
    pub fn find(&self, keys: &[Key], read: &mut Read<'_>, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), Fault> {
        let mut held: Option<(u64, Vec<u8>)> = None;
        for (place, wanted) in keys.iter().enumerate() {
            // The last block that begins with the key or before it.
            let Some(number) = self.firsts.partition_point(|first| first <= wanted).checked_sub(1) else { continue };
            let number = number as u64;
            if held.as_ref().is_none_or(|(held, _)| *held != number) {
                held = Some((number, self.block(number, read)?));
            }
            let block = held.as_ref().map_or(&[][..], |(_, block)| block);
            let records: Vec<&[u8]> = block.chunks_exact(self.width).collect();
            let at = records.binary_search_by(|record| key(record).cmp(&Some(*wanted)));
            if let Some(record) = at.ok().and_then(|at| records.get(at)) {
                found(place, record);
            }
        }
        Ok(())
    }

    /// Keys that are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.firsts.len()
    }
}
