//! Lists in files, with memory for a part of them alone: what comes out is what memory gives.

// A host's storage is made of files, and this is one.
#![allow(clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::Error;
use std::os::unix::fs::FileExt;

use tacit_psi::keyset::KeySet;
use tacit_psi::{InMemory, KeyColumn, KeySetBuilder, Schema, Storage};
use tacit_types::{Code, Fault};

/// Files without a name, which go away with this value.
#[derive(Default)]
struct Files(BTreeMap<u32, File>);

impl Files {
    fn file(&mut self, file: u32) -> Result<&File, Fault> {
        Ok(match self.0.entry(file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => free.insert(tempfile::tempfile().map_err(fault)?),
        })
    }
}

fn fault(error: Error) -> Fault {
    Fault::new(Code::JobInternal, error.to_string())
}

impl Storage for Files {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.file(file)?.write_all_at(bytes, offset).map_err(fault)
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.file(file)?.read_exact_at(out, offset).map_err(fault)
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        self.0.remove(&file);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.0.values().try_for_each(|f| f.sync_all().map_err(fault))
    }
}

fn build(storage: &mut dyn Storage, memory: usize, rows: u64) -> KeySet {
    let schema = Schema::new(vec![KeyColumn { name: "id".into(), steps: vec![] }]).unwrap();
    let mut builder = KeySetBuilder::new(schema.clone(), memory);
    for i in 0..rows {
        let text = (i % (rows / 3)).to_string();
        builder.push_key(storage, schema.key([Some(text.as_str())])).unwrap();
    }
    builder.finish(storage).unwrap()
}

#[test]
fn a_key_set_in_files_and_many_runs_is_the_one_in_memory() {
    let rows = 60_000;
    let (mut files, mut memory) = (Files::default(), InMemory::default());
    // 64 KiB is less than a fortieth of the list.
    let (small, large) = (build(&mut files, 0, rows), build(&mut memory, 1 << 30, rows));
    assert_eq!(small.digest(), large.digest());
    assert_eq!(small.len(), rows / 3);
    files.sync().unwrap();
    // What was sorted in runs is gone: keys and rows of either half are left.
    assert_eq!(files.0.len(), 4);
    let bytes = |f: &File| f.metadata().unwrap().len();
    assert_eq!(files.0.values().map(bytes).sum::<u64>(), rows / 3 * 45 + rows * 8);
}
