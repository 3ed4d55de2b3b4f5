//! Files that are written whole or not at all.

use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::{self, Write};
use std::path::Path;

use tacit_types::{Code, Fault};

/// A file's failure with its path; a full disk has its own code.
pub fn io_fault(path: &Path, error: &io::Error) -> Fault {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StoreFull,
        _ => Code::IoFailed,
    };
    Fault::new(code, format!("{}: {error}", path.display()))
}

/// Writes a file so that it has its old content or this, also after a kill or on a full disk. What is no
/// file, as a pipe, is written straight.
///
/// # Errors
/// `store.full`, `io.failed`.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let real = std::fs::canonicalize(path);
    let path = real.as_deref().unwrap_or(path);
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes).map_err(|e| io_fault(path, &e));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    write_beside(path, &temporary, bytes).map_err(|e| {
        // why: what cannot be removed is overwritten by the next write of the same file.
        let _ = remove_file(&temporary);
        io_fault(path, &e)
    })
}

fn write_beside(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(temporary, path)?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_link_stays_one() {
        let dir = std::env::temp_dir().join(format!("tacit-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, link) = (dir.join("file"), dir.join("link"));
        write_whole(&file, b"one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&link, b"two").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        assert_eq!(write_whole(Path::new("/dev/full"), b"x").unwrap_err().code, Code::StoreFull);
        let absent = dir.join("absent/file");
        assert_eq!(write_whole(&absent, b"x").unwrap_err().code, Code::IoFailed);
        // What is in the way of the temporary file: the old content stays.
        std::fs::create_dir(dir.join("file.tmp")).unwrap();
        assert_eq!(write_whole(&file, b"three").unwrap_err().code, Code::IoFailed);
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
