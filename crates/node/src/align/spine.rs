//! The ids of an aligned version on their way to a job: read from their file in pieces, this owner's keys held in order as
//! far as its `[align] memory_mb` goes, and in files past that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tacit_jobs::align::{InMemory, KEPT_BYTES, Storage};
use tacit_jobs::shares::{Room, Spine};
use tacit_types::{Code, Fault, JobId};

use super::{AlignConfig, Files, Found, KeptFile, clear, create, key_of, work};

/// The file of ids that an aligned version has, and the alignments of keys before, of whose rows they are.
pub(crate) struct SpineFile<'a> {
    kept: KeptFile,
    found_by: &'a Found,
    /// The alignments before.
    pub before: &'a [Found],
}

impl<'a> SpineFile<'a> {
    /// Of a version that a job left.
    ///
    /// # Errors
    /// `refused.dataset` for a version whose ids are not those of this job; `store.corrupt` when they are gone.
    pub fn open(home: &Path, all: &'a [Found], job: &JobId) -> Result<Self, Fault> {
        let Some((last, before)) = all.split_last().filter(|(last, _)| last.job == *job) else {
            let what = format!("the version has no ids of alignment {}", job.short());
            return Err(Fault::new(Code::RefusedDataset, what));
        };
        Ok(Self { kept: KeptFile::of(home, last, 2 * KEPT_BYTES)?, found_by: last, before })
    }

    /// Ids of all owners.
    pub fn ids(&self) -> u64 {
        self.kept.kept.records
    }

    /// Reads them for a job. What memory has no room for lies in a folder of that job until it has its rows.
    ///
    /// # Errors
    /// `store.corrupt` for ids that are none; those of the disk.
    pub fn read(&self, home: &Path, config: AlignConfig, job: &JobId) -> Result<Spine, Fault> {
        let folder = work(home, job).join("ids");
        self.room(Room { memory: config.memory(), storage: Box::new(Scratch::new(folder)) })
    }

    /// Reads them into memory: for an owner who asks about one person, in a program of its own.
    ///
    /// # Errors
    /// `store.corrupt` for ids that are none.
    pub fn held(&self) -> Result<Spine, Fault> {
        self.room(Room { memory: usize::MAX, storage: Box::new(InMemory::default()) })
    }

    fn room(&self, room: Room) -> Result<Spine, Fault> {
        let (parts, columns) = key_of(self.found_by);
        Spine::new(&parts, &columns, &self.kept, room)
    }
}

/// Files that are there as long as this is.
struct Scratch {
    files: Files,
    begun: bool,
}

impl Scratch {
    fn new(folder: PathBuf) -> Self {
        Self { files: Files { folder, open: BTreeMap::new() }, begun: false }
    }
}

impl Storage for Scratch {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        if !self.begun {
            clear(&self.files.folder)?;
            create(&self.files.folder)?;
            self.begun = true;
            tracing::info!(folder = %self.files.folder.display(), "more ids than [align] memory_mb has room for lie in files");
        }
        self.files.write(file, offset, bytes)
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.files.read(file, offset, out)
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        self.files.remove(file)
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.files.sync()
    }

    fn sorting(&mut self, runs: u64) {
        self.files.sorting(runs);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.begun
            && let Err(fault) = clear(&self.files.folder)
        {
            tracing::error!(%fault, "ids of an alignment that were sorted in files could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sorted_in_files_leaves_none() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a").join("b");
        let mut scratch = Scratch::new(folder.clone());
        assert!(!folder.exists(), "nothing was written");
        scratch.write(0, 0, b"ids").unwrap();
        let mut out = [0; 3];
        scratch.read(0, 0, &mut out).unwrap();
        assert!(out == *b"ids" && folder.join("0.list").exists());
        drop(scratch);
        assert!(!folder.exists());
        // What a process that was killed left is not read.
        create(&folder).unwrap();
        std::fs::write(folder.join("0.list"), b"older").unwrap();
        let mut scratch = Scratch::new(folder.clone());
        scratch.write(1, 0, b"new").unwrap();
        assert!(scratch.read(0, 0, &mut out).is_err());
    }
}
