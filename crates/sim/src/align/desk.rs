//! What a node lends to alignments, on disks that lose what was not synced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tacit_jobs::align::{Keep, Kept, Offered, Spend, Storage};
use tacit_types::{Code, Fault, Hash};

use crate::dice::Dice;

pub type Shared<T> = Arc<Mutex<T>>;

pub fn held<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

type Contents = BTreeMap<u32, Vec<u8>>;

/// Numbered files, as they are and as they are durable.
#[derive(Default)]
pub struct Disk {
    now: Contents,
    durable: Contents,
    /// Files that differ from what is durable.
    dirty: Vec<u32>,
    /// Says that everything is durable, and nothing is.
    lies: bool,
}

impl Disk {
    pub fn new(lies: bool) -> Self {
        Self { lies, ..Self::default() }
    }

    /// What is left after a death: of each file what was synced, or what was written last.
    pub fn crash(&mut self, dice: &mut Dice) {
        for file in std::mem::take(&mut self.dirty) {
            if dice.chance(500) {
                self.settle(file);
                continue;
            }
            match self.durable.get(&file) {
                Some(content) => drop(self.now.insert(file, content.clone())),
                None => drop(self.now.remove(&file)),
            }
        }
    }

    fn settle(&mut self, file: u32) {
        match self.now.get(&file) {
            Some(content) => drop(self.durable.insert(file, content.clone())),
            None => drop(self.durable.remove(&file)),
        }
    }

    /// Forgets everything, as a node does with the lists of a job that has ended.
    pub fn clear(&mut self) {
        *self = Self::new(self.lies);
    }

    fn touch(&mut self, file: u32) {
        if !self.dirty.contains(&file) {
            self.dirty.push(file);
        }
    }
}

fn gap(file: u32, offset: u64) -> Fault {
    Fault::new(Code::StoreCorrupt, format!("file {file} ends before byte {offset}"))
}

/// A handle to a disk.
pub struct Files(pub Shared<Disk>);

impl Storage for Files {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut disk = held(&self.0);
        disk.touch(file);
        let content = disk.now.entry(file).or_default();
        let at = usize::try_from(offset).ok().filter(|at| *at <= content.len()).ok_or_else(|| gap(file, offset))?;
        let inside = bytes.len().min(content.len() - at);
        content[at..at + inside].copy_from_slice(&bytes[..inside]);
        content.extend_from_slice(&bytes[inside..]);
        Ok(())
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let disk = held(&self.0);
        let content = disk.now.get(&file).map(Vec::as_slice).unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|at| content.get(at..));
        let bytes = rest.and_then(|rest| rest.get(..out.len())).ok_or_else(|| gap(file, offset))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        let mut disk = held(&self.0);
        disk.touch(file);
        disk.now.remove(&file);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        let mut disk = held(&self.0);
        if !disk.lies {
            let dirty = std::mem::take(&mut disk.dirty);
            dirty.into_iter().for_each(|file| disk.settle(file));
        }
        Ok(())
    }
}

/// What was found, and whether it is whole.
#[derive(Default)]
pub struct Found {
    pub records: Vec<Vec<u8>>,
    pub kept: Option<Kept>,
}

/// Where what is found goes.
pub struct Shelf(pub Shared<Found>);

impl Keep for Shelf {
    fn put(&mut self, record: &[u8]) -> Result<(), Fault> {
        held(&self.0).records.push(record.to_vec());
        Ok(())
    }

    fn done(&mut self, kept: Kept) -> Result<(), Fault> {
        held(&self.0).kept = Some(kept);
        Ok(())
    }
}

/// What a contract lets others bring, or ask for, in all; durable when it is counted.
pub struct Count {
    pub used: Shared<u64>,
    pub most: u64,
}

impl Spend for Count {
    fn spend(&mut self, more: u64) -> Result<(), Fault> {
        let mut used = held(&self.used);
        let sum = used.checked_add(more).filter(|sum| *sum <= self.most);
        *used = sum.ok_or_else(|| Fault::new(Code::RefusedAlignment, "no more of that"))?;
        Ok(())
    }
}

impl Offered for Count {
    fn put(&mut self, _: &[u8; 32]) -> Result<(), Fault> {
        Ok(())
    }

    fn next(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn done(&mut self, _: Hash) -> Result<(), Fault> {
        Ok(())
    }

    fn others(&mut self, keys: u64) -> Result<(), Fault> {
        self.spend(keys)
    }
}
