//! Files that are written whole or not at all.

use std::path::Path;

pub use tacit_archive::files::io_fault;
use tacit_archive::files::write_durable;
use tacit_types::Fault;

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
    write_durable(path, bytes)
}

#[cfg(test)]
mod tests {
    use tacit_types::Code;

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
