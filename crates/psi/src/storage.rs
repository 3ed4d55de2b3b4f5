//! Where lists lie that may be larger than memory. Reading and writing is the host's; what is here is a contract, memory
//! as the simplest keeper of it, and lists of records of one length on top.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault};

/// Numbered files of bytes. They hold hashed keys and tags: they must be as private as the rows they come from, and the
/// host removes what is left of them when the session is over.
pub trait Storage: Send {
    /// Writes bytes at a place, which is at most the file's end. The file begins empty.
    ///
    /// # Errors
    /// What keeps the bytes from being written; it ends the run.
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Reads bytes that were written.
    ///
    /// # Errors
    /// What keeps the bytes from being read, such as that there are fewer; it ends the run.
    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault>;

    /// Forgets a file.
    ///
    /// # Errors
    /// What keeps it from being removed; it ends the run.
    fn remove(&mut self, file: u32) -> Result<(), Fault>;

    /// Makes everything that was written durable. Called before state that counts on it is persisted.
    ///
    /// # Errors
    /// What keeps it from being durable; it ends the run.
    fn sync(&mut self) -> Result<(), Fault>;

    /// A run is taken up again in which so many batches are done, of which the files are here. A host may write it down.
    fn taken_up(&mut self, _batches: u64) {}

    /// A list is sorted in so many runs, each in a file, because memory has no room for it. A host may write it down.
    fn sorting(&mut self, _runs: u64) {}
}

/// Files in memory.
#[derive(Default)]
pub struct InMemory(BTreeMap<u32, Vec<u8>>);

impl Storage for InMemory {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let content = self.0.entry(file).or_default();
        let at = usize::try_from(offset).ok().filter(|at| *at <= content.len()).ok_or_else(|| gap(file, offset))?;
        let (inside, beyond) = bytes.split_at(bytes.len().min(content.len() - at));
        content[at..at + inside.len()].copy_from_slice(inside); // proof: `inside` ends where the content does.
        content.extend_from_slice(beyond);
        Ok(())
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let content = self.0.get(&file).map(Vec::as_slice).unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|at| content.get(at..));
        let bytes = rest.and_then(|r| r.get(..out.len())).ok_or_else(|| gap(file, offset))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        self.0.remove(&file);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

fn gap(file: u32, offset: u64) -> Fault {
    Fault::new(Code::JobInternal, format!("storage file {file} ends before byte {offset}"))
}

/// Bytes that are read or written at a time.
pub(crate) const BLOCK_BYTES: usize = 1 << 16;

/// A list of records of one length in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// The file.
    pub file: u32,
    /// Bytes of a record.
    pub width: usize,
    /// Records.
    pub count: u64,
}

impl Log {
    /// An empty list in a file that is empty or will be written over.
    pub fn new(file: u32, width: usize) -> Self {
        Self { file, width, count: 0 }
    }

    /// Writes whole records from number `first` on, which is at most the number of records.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn put(&mut self, storage: &mut dyn Storage, first: u64, records: &[u8]) -> Result<(), Fault> {
        storage.write(self.file, first * self.width as u64, records)?;
        self.count = self.count.max(first + (records.len() / self.width) as u64);
        Ok(())
    }

    /// Reads `count` records from number `first` on.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn get(&self, storage: &mut dyn Storage, first: u64, count: usize) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0; count * self.width];
        storage.read(self.file, first * self.width as u64, &mut out)?;
        Ok(out)
    }

    /// Forgets the records.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn remove(self, storage: &mut dyn Storage) -> Result<(), Fault> {
        storage.remove(self.file)
    }
}

/// Reads a list from its beginning, a block at a time.
pub struct Reader {
    log: Log,
    next: u64,
    block: Vec<u8>,
    holds: usize,
    at: usize,
}

impl Reader {
    /// At the first record.
    pub fn new(log: &Log) -> Self {
        Self::holding(log, BLOCK_BYTES)
    }

    /// At the first record, with blocks of about so many bytes.
    pub(crate) fn holding(log: &Log, bytes: usize) -> Self {
        Self { log: log.clone(), next: 0, block: Vec::new(), holds: bytes, at: 0 }
    }

    /// The record that comes next; `None` at the end.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn next(&mut self, storage: &mut dyn Storage) -> Result<Option<&[u8]>, Fault> {
        if self.at == self.block.len() {
            let whole = (self.holds / self.log.width).max(1) as u64;
            let count = whole.min(self.log.count - self.next);
            if count == 0 {
                return Ok(None);
            }
            self.block = self.log.get(storage, self.next, count as usize)?;
            self.next += count;
            self.at = 0;
        }
        let from = self.at;
        self.at += self.log.width;
        Ok(self.block.get(from..self.at))
    }
}

/// Writes a list from its beginning, a block at a time.
pub struct Writer {
    log: Log,
    block: Vec<u8>,
}

impl Writer {
    /// Before the first record.
    pub fn new(file: u32, width: usize) -> Self {
        Self { log: Log::new(file, width), block: Vec::new() }
    }

    /// Adds a record, given in parts that make up its length.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn push(&mut self, storage: &mut dyn Storage, parts: &[&[u8]]) -> Result<(), Fault> {
        for part in parts {
            self.block.extend_from_slice(part);
        }
        debug_assert!(self.block.len().is_multiple_of(self.log.width), "a record of another length");
        if self.block.len() >= BLOCK_BYTES { self.flush(storage) } else { Ok(()) }
    }

    fn flush(&mut self, storage: &mut dyn Storage) -> Result<(), Fault> {
        let at = self.log.count;
        self.log.put(storage, at, &self.block)?;
        self.block.clear();
        Ok(())
    }

    /// The list.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn finish(mut self, storage: &mut dyn Storage) -> Result<Log, Fault> {
        self.flush(storage)?;
        Ok(self.log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        let mut storage = InMemory::default();
        storage.write(3, 0, b"abcdef").unwrap();
        storage.write(3, 4, b"XYZ").unwrap();
        let mut out = [0; 7];
        storage.read(3, 0, &mut out).unwrap();
        assert_eq!(&out, b"abcdXYZ");
        assert!(storage.write(3, 8, b"gap").is_err());
        assert!(storage.read(3, 1, &mut out).is_err());
        assert!(storage.read(3, u64::MAX, &mut out).is_err());
        storage.remove(3).unwrap();
        assert!(storage.read(3, 0, &mut out[..1]).is_err());
        storage.read(3, 0, &mut []).unwrap();
    }

    #[test]
    fn lists_are_read_as_they_were_written() {
        let mut storage = InMemory::default();
        let count = 3 * BLOCK_BYTES as u64 / 12 + 5;
        let mut writer = Writer::new(1, 12);
        for i in 0..count {
            writer.push(&mut storage, &[&i.to_le_bytes(), &[7; 4]]).unwrap();
        }
        let log = writer.finish(&mut storage).unwrap();
        assert_eq!(log.count, count);
        let mut reader = Reader::new(&log);
        for i in 0..count {
            let record = reader.next(&mut storage).unwrap().unwrap();
            assert_eq!(record[..8], i.to_le_bytes());
        }
        assert!(reader.next(&mut storage).unwrap().is_none());
    }
}
