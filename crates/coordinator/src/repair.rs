//! Restoring a damaged or lost log from the mirrors that the nodes keep.

use std::path::{Path, PathBuf};

use tacit_archive::{Folder, Restored, restore};
use tacit_receipts::TileRead;
use tacit_receipts::receipt::ATTESTATION_BYTES_MAX;
use tacit_receipts::tiles::beside_path;
use tacit_types::{Code, Fault, StatementId};

use crate::config::Config;
use crate::home::Home;
use crate::rotation::LogSigners;
use crate::store::{Fatal, Store};

/// Restores the log of a home whose daemon does not run to the newest head that the log signed, be it in its files, its
/// database or a copy. The database is brought up to the files when the daemon starts.
///
/// # Errors
/// `log.fork`, `log.corrupt`, `log.unknown`, `log.signature`, `log.malformed` as [`restore`] has them; `store.locked` while
/// a daemon serves the home; those of configuration, database and files.
pub fn repair(home: &Path, copies: &[PathBuf]) -> Result<Restored, Fault> {
    let paths = Home::new(home);
    let config = Config::read(&paths.config())?;
    let _lock = paths.lock()?;
    let keys = LogSigners::load(&paths, &config.origin)?.chain;
    // A thread of its own: the caller may be inside a runtime.
    let stored = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| Fault::new(Code::IoFailed, e.to_string()))?;
            runtime.block_on(async {
                let (fatal, _reports) = Fatal::channel();
                let (store, writer) = Store::open(paths.database(), fatal).await?;
                let head = store.head().await;
                drop(store);
                writer.finish().await;
                head
            })
        });
        work.join().unwrap_or_else(|_| Err(Fault::new(Code::Internal, "the database could not be read")))
    })?;
    let signed = stored
        .map(|(note, _)| keys.open(&note).map(|(signed, _)| signed))
        .transpose()
        .map_err(|f| Fault::new(Code::StoreCorrupt, format!("the log's head: {}", f.what)))?;
    let folder = Folder::new(paths.log());
    let mut restored = restore(&folder, signed.as_ref(), copies, &config.origin, &keys)?;
    for copy in copies {
        attestations(&folder, copy, &mut restored)?;
    }
    Ok(restored)
}

/// Takes over attestations that stand beside the log: each is named by its hash, so a copy cannot bring another.
fn attestations(own: &Folder, copy: &Path, restored: &mut Restored) -> Result<(), Fault> {
    let Ok(entries) = std::fs::read_dir(copy.join("attestation")) else { return Ok(()) };
    for entry in entries.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| StatementId::from_hex(name).ok()) else { continue };
        if entry.metadata().is_ok_and(|meta| meta.len() > ATTESTATION_BYTES_MAX as u64) {
            continue;
        }
        let path = beside_path(&id);
        let holds = |bytes: &Vec<u8>| tacit_crypto::sha256(bytes).0 == id.0;
        if own.read(&path).as_ref().is_some_and(holds) {
            continue;
        }
        if let Some(bytes) = Folder::new(copy.to_owned()).read(&path).filter(holds) {
            own.write_all(&[(path.clone(), bytes)])?;
            restored.written.push(path);
        }
    }
    Ok(())
}
