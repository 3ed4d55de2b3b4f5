//! The log's files on disk, each written whole: a temporary file, fsync, rename, fsync of the folder.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use tacit_receipts::TileRead;
use tacit_types::{Code, Fault};

/// The fault of a file operation: a full disk passes, anything else may not.
pub fn io_fault(path: &Path, error: &std::io::Error) -> Fault {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::StoreFull,
        _ => Code::IoFailed,
    };
    Fault::new(code, format!("{}: {error}", path.display()))
}

/// Ending of files that were being written when the process died.
pub const TEMPORARY: &str = "tmp";

/// Writes a file so that after a crash it has either its old content or this.
///
/// # Errors
/// `store.full`, `io.failed`.
pub fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write_new(path, bytes)?;
    sync_folder(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    let temporary = path.with_file_name(name);
    let failed = |e: std::io::Error| {
        // why: what is left over is overwritten by the next write of the same file.
        let _ = std::fs::remove_file(&temporary);
        io_fault(path, &e)
    };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

/// Gives a file another name, so that it has it after a crash too.
///
/// # Errors
/// `store.full`, `io.failed`.
pub fn rename_durable(from: &Path, to: &Path) -> Result<(), Fault> {
    std::fs::rename(from, to).map_err(|e| io_fault(to, &e))?;
    sync_folder(to)
}

fn sync_folder(path: &Path) -> Result<(), Fault> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_fault(folder, &e))
}

/// A folder of log files.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A folder, there or not.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path of the format below the folder; nothing else is ever asked for.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        plain.then(|| self.0.join(path))
    }

    /// Removes files that may be there.
    ///
    /// # Errors
    /// `io.failed`.
    pub fn remove_all(&self, paths: &[String]) -> Result<(), Fault> {
        for full in paths.iter().filter_map(|path| self.below(path)) {
            match std::fs::remove_file(&full) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_fault(&full, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes files of one append, then makes the folders durable, each once.
    ///
    /// # Errors
    /// `store.full`, `io.failed`.
    pub fn write_all(&self, files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
        let mut folders = std::collections::BTreeSet::new();
        for (path, bytes) in files {
            let Some(full) = self.below(path) else { continue };
            if let Some(parent) = full.parent().filter(|parent| !parent.is_dir()) {
                std::fs::create_dir_all(parent).map_err(|e| io_fault(parent, &e))?;
            }
            write_new(&full, bytes)?;
            // New folders stand in their parents, up to the log's own.
            let mut at = full.as_path();
            while let Some(parent) = at.parent().filter(|parent| parent.starts_with(&self.0)) {
                folders.insert(parent.to_owned());
                at = parent;
            }
        }
        for folder in folders.iter().rev() {
            File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_fault(folder, &e))?;
        }
        Ok(())
    }
}

impl TileRead for Folder {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.below(path)?).ok()
    }
}
