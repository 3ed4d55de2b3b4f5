//! What a run over lists of keys works with on this machine: files, and both cores.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tacit_psi::{Storage, Workers};
use tacit_types::{Code, Fault};

/// Two threads: this one and another for each batch.
pub struct Two;

impl Workers for Two {
    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                piece(i);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }
}

/// Lists in files of a folder that goes away with this value.
pub struct Files {
    folder: tempfile::TempDir,
    open: BTreeMap<u32, File>,
}

fn fault(error: std::io::Error) -> Fault {
    Fault::new(Code::JobInternal, error.to_string())
}

impl Files {
    /// In a folder of its own.
    ///
    /// # Errors
    /// `job.internal` when there can be none.
    pub fn new() -> Result<Self, Fault> {
        Ok(Self { folder: tempfile::tempdir().map_err(fault)?, open: BTreeMap::new() })
    }

    fn path(&self, file: u32) -> PathBuf {
        self.folder.path().join(file.to_string())
    }

    fn file(&mut self, file: u32) -> Result<&File, Fault> {
        let path = self.path(file);
        Ok(match self.open.entry(file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => {
                let options = File::options().read(true).write(true).create(true).truncate(true).open(path);
                free.insert(options.map_err(fault)?)
            }
        })
    }
}

impl Storage for Files {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.file(file)?.write_all_at(bytes, offset).map_err(fault)
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.file(file)?.read_exact_at(out, offset).map_err(fault)
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        match self.open.remove(&file) {
            Some(_) => std::fs::remove_file(self.path(file)).map_err(fault),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.open.values().try_for_each(|f| f.sync_data().map_err(fault))
    }
}
