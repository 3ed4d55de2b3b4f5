//! Reading of files with a cap, and of a log's folder. Paths come from the command line and from
//! the fixed layout of a log, never from the evidence.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use tacit_receipts::TileRead;
use tacit_receipts::tiles::BUNDLE_FILE_BYTES_MAX;
use tacit_types::{Code, Fault};

/// Reads a regular file of at most `cap` bytes.
///
/// # Errors
/// `io.failed` when it cannot be read, is no regular file, or is longer.
pub fn read(path: &Path, cap: usize) -> Result<Vec<u8>, Fault> {
    let failed = |what: String| Fault::new(Code::IoFailed, format!("{}: {what}", path.display()));
    // Asked before the file is opened: to open a pipe would wait for its writer.
    let meta = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?;
    if !meta.is_file() {
        return Err(failed("not a regular file".into()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    file.take(cap as u64 + 1).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
    if bytes.len() > cap {
        return Err(failed(format!("over {cap} bytes")));
    }
    Ok(bytes)
}

/// A log's folder.
pub struct Dir(PathBuf);

impl Dir {
    /// Opens a folder.
    ///
    /// # Errors
    /// `io.failed` when it is none.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        if path.is_dir() {
            Ok(Self(path.to_owned()))
        } else {
            Err(Fault::new(Code::IoFailed, format!("{}: not a folder", path.display())))
        }
    }
}

impl TileRead for Dir {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        read(&self.0.join(path), BUNDLE_FILE_BYTES_MAX).ok()
    }
}
