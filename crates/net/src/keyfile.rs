//! Secret keys on disk: 64 hex digits and a newline, readable by their owner alone.

use std::io::{ErrorKind, Write};
use std::path::Path;

use tacit_crypto::{Secret, SigningKey};
use tacit_types::{Code, Fault};
use zeroize::Zeroizing;

/// Bytes of a key file that are read.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// Writes a new key file with mode 0600, whole or not at all. An existing file is never overwritten.
///
/// # Errors
/// `config.exists` for an existing file, `store.full` or `io.failed` otherwise.
pub fn write_new(path: &Path, key: &Secret<[u8; 32]>) -> Result<(), Fault> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = write_durable(&temporary, key).and_then(|()| {
        // Unlike a rename, a link never takes another file's place.
        std::fs::hard_link(&temporary, path)?;
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    });
    // why: of a write that failed nothing is to stay, and what stays is overwritten by the next.
    let _ = std::fs::remove_file(&temporary);
    written.map_err(|e| failed(path, &e))
}

fn write_durable(path: &Path, key: &Secret<[u8; 32]>) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let text = Zeroizing::new(format!("{}\n", hex_of(key).as_str()));
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn hex_of(key: &Secret<[u8; 32]>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in key.expose_secret() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

/// Reads a key file.
///
/// # Errors
/// `config.absent`, `config.key_permissions` when others can read it, `config.malformed`.
pub fn read(path: &Path) -> Result<Secret<[u8; 32]>, Fault> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|e| failed(path, &e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Fault::new(Code::ConfigKeyPermissions, format!("{shown}")));
        }
    }
    let malformed = || Fault::new(Code::ConfigMalformed, format!("{shown}: a key file holds 64 hex digits"));
    if metadata.len() > KEY_FILE_BYTES_MAX {
        return Err(malformed());
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| failed(path, &e))?);
    let digits = text.trim_end();
    if digits.len() != 64 {
        return Err(malformed());
    }
    let mut raw = [0u8; 32];
    for (byte, pair) in raw.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let nibble = |c: u8| char::from(c).to_digit(16);
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return Err(malformed()) };
        *byte = (high * 16 + low) as u8;
    }
    Ok(Secret::new(raw))
}

/// Reads a signing key.
///
/// # Errors
/// Those of [`read`].
pub fn read_signing(path: &Path) -> Result<SigningKey, Fault> {
    Ok(SigningKey::from_seed(&read(path)?))
}

fn failed(path: &Path, error: &std::io::Error) -> Fault {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::ConfigAbsent,
        ErrorKind::AlreadyExists => Code::ConfigExists,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::StoreFull,
        _ => Code::IoFailed,
    };
    Fault::new(code, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let key = Secret::new(core::array::from_fn(|i| (i * 9) as u8));
        write_new(&path, &key).unwrap();
        assert!(read(&path).unwrap().ct_eq(&key));
        assert_eq!(write_new(&path, &key).unwrap_err().code, Code::ConfigExists);
        // What a write left behind that was killed is in nobody's way.
        std::fs::write(dir.path().join("c.key.tmp"), "half").unwrap();
        write_new(&dir.path().join("c.key"), &key).unwrap();
        assert!(read(&dir.path().join("c.key")).unwrap().ct_eq(&key));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(read(&dir.path().join("b.key")).map(|_| ()).unwrap_err().code, Code::ConfigAbsent);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(read(&path).map(|_| ()).unwrap_err().code, Code::ConfigKeyPermissions);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        for bad in ["", "abc", &"g".repeat(64), &"a".repeat(66), &"a".repeat(1000)] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read(&path).map(|_| ()).unwrap_err().code, Code::ConfigMalformed, "{bad}");
        }
    }
}
