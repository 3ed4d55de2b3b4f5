//! What opens the figures that this node has committed to in receipts: kept in its folder, handed out under seal, forgotten.
//!
//! `openings/sealed/COMMITMENT` is an opening under a key of its own, and `openings/keys/COMMITMENT` that key: 32 bytes that
//! belong in no backup. Without them the other file says nothing, here or in any copy.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tacit_crypto::seal::{open_once, seal_once};
use tacit_crypto::{Rng, Secret};
use tacit_engine::WorkerJob;
use tacit_receipts::opening::{CPU_MILLIS, DATASET_ROWS, MEMORY_BYTES, ROWS_SCANNED};
use tacit_receipts::{Opening, Status, UsageRecord};
use tacit_types::{Code, Fault, Hash, NodeId};
use zeroize::Zeroizing;

use crate::files::io_fault;
use crate::store::Tx;

/// The folder under a node's own.
const FOLDER: &str = "openings";
/// Bytes of an opening at rest.
const SEALED_BYTES_MAX: u64 = 1024;
/// Openings that a listing shows.
pub const OPENINGS_LISTED_MAX: usize = 10_000;

fn at(home: &Path, kind: &str, commitment: &Hash) -> PathBuf {
    home.join(FOLDER).join(kind).join(commitment.to_string())
}

fn sync_folder(path: &Path) -> Result<(), Fault> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| io_fault(folder, &e))
}

/// What this node commits to when it attests a record with a result, ascending by number: the rows of the dataset version that it
/// gave, and what it counted of itself in the attempt. Nothing of data in a job to which it gave none.
///
/// # Errors
/// Those of the database; `internal` without randomness.
pub(crate) async fn of(
    tx: &mut Tx<'_>,
    owner: &NodeId,
    node: NodeId,
    job: &WorkerJob,
    record: &UsageRecord,
) -> Result<Vec<Opening>, Fault> {
    if record.status != Status::Ok || job.attested.is_some() {
        return Ok(Vec::new());
    }
    let dataset = job.job()?.body().provider(owner).map(|provider| provider.dataset);
    let rows = match dataset {
        Some(dataset) => tx.datasets().await?.into_iter().find(|row| row.id == dataset).map(|row| row.rows),
        None => None,
    };
    let asserted = tx.asserted(&record.job, record.attempt).await?;
    let figures = [
        (DATASET_ROWS, rows),
        (ROWS_SCANNED, asserted.and_then(|row| row.rows_scanned)),
        (CPU_MILLIS, asserted.map(|row| row.cpu_ms)),
        (MEMORY_BYTES, asserted.and_then(|row| row.memory_bytes)),
    ];
    let mut rng = crate::os_rng()?;
    let attempt = (record.job, record.attempt);
    let known = figures.into_iter().filter_map(|(what, value)| Some((what, value?)));
    Ok(known.map(|(what, value)| Opening::new(&mut rng, attempt, node, what, value)).collect())
}

/// Keeps openings durably. They are kept before the attestation is: one that no attestation names is of no use and does no harm.
///
/// # Errors
/// `store.full`, `io.failed`.
pub fn keep(home: &Path, rng: &mut Rng, openings: &[Opening]) -> Result<(), Fault> {
    let mut last = None;
    for opening in openings {
        let commitment = opening.commitment();
        let (key_path, sealed_path) = (at(home, "keys", &commitment), at(home, "sealed", &commitment));
        for path in [&key_path, &sealed_path] {
            let folder = path.parent().unwrap_or(home);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| io_fault(folder, &e))?;
        }
        let key = Secret::new(rng.bytes::<32>());
        write_new(&sealed_path, &seal_once(&key, &commitment.0, &opening.to_bytes()))?;
        write_new(&key_path, key.expose_secret())?;
        last = Some([sealed_path, key_path]);
    }
    last.iter().flatten().try_for_each(|path| sync_folder(path))
}

/// Writes a file of which nobody knows before it is whole, for this user's eyes.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| io_fault(path, &e))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|e| io_fault(path, &e))?;
    file.take(SEALED_BYTES_MAX).read_to_end(&mut bytes).map_err(|e| io_fault(path, &e))?;
    Ok(bytes)
}

/// The opening of a commitment.
///
/// # Errors
/// `receipt.opening` when it is not here, or was forgotten; `io.failed`.
pub fn open(home: &Path, commitment: &Hash) -> Result<Opening, Fault> {
    let closed = |what: &str| Fault::new(Code::ReceiptOpening, format!("{}: {what}", commitment.short()));
    let (key_path, sealed_path) = (at(home, "keys", commitment), at(home, "sealed", commitment));
    if !sealed_path.exists() {
        return Err(closed("this node has no such opening"));
    }
    if !key_path.exists() {
        return Err(closed("its key was forgotten"));
    }
    let key: [u8; 32] = read(&key_path)?.as_slice().try_into().map_err(|_| closed("its key is damaged"))?;
    let plain = open_once(&Secret::new(key), &commitment.0, &read(&sealed_path)?).map(Zeroizing::new);
    let opening = Opening::parse(&plain.ok_or_else(|| closed("its key does not open it"))?)?;
    if opening.commitment() == *commitment { Ok(opening) } else { Err(closed("it opens another")) }
}

/// Forgets what opens a commitment: the key is overwritten, then removed. Gives whether there was one.
///
/// # Errors
/// `receipt.opening` when the node has no such opening; `io.failed`.
pub fn forget(home: &Path, commitment: &Hash) -> Result<bool, Fault> {
    let path = at(home, "keys", commitment);
    if !at(home, "sealed", commitment).exists() {
        let what = format!("{}: this node has no such opening", commitment.short());
        return Err(Fault::new(Code::ReceiptOpening, what));
    }
    if !path.exists() {
        return Ok(false);
    }
    let erase = || {
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.write_all(&[0; 32])?;
        file.sync_all()?;
        fs::remove_file(&path)
    };
    erase().map_err(|e| io_fault(&path, &e))?;
    sync_folder(&path)?;
    Ok(true)
}

/// The commitments that this node keeps, in order, each with whether it can still be opened; at most [`OPENINGS_LISTED_MAX`].
///
/// # Errors
/// `io.failed`.
pub fn list(home: &Path) -> Result<Vec<(Hash, bool)>, Fault> {
    let folder = home.join(FOLDER).join("sealed");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| io_fault(&folder, &e))? {
        let entry = entry.map_err(|e| io_fault(&folder, &e))?;
        if let Some(commitment) = entry.file_name().to_str().and_then(|name| Hash::from_hex(name).ok())
            && all.len() < OPENINGS_LISTED_MAX
        {
            all.push((commitment, at(home, "keys", &commitment).exists()));
        }
    }
    all.sort_unstable_by_key(|(commitment, _)| commitment.0);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use tacit_types::{Attempt, JobId};

    use super::*;

    fn rng() -> Rng {
        Rng::from_seed(&Secret::new([3; 32]))
    }

    fn opening() -> Opening {
        Opening::new(&mut rng(), (JobId([1; 32]), Attempt(2)), NodeId([4; 32]), DATASET_ROWS, 1234)
    }

    /// Every file below a folder.
    fn files(folder: &Path) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] }).collect()
    }

    #[test]
    fn what_is_kept_opens_until_it_is_forgotten_and_then_nothing_on_the_disk_does() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let (opening, home) = (opening(), home.path());
        let commitment = opening.commitment();
        assert_eq!(list(home).unwrap(), []);
        assert_eq!(open(home, &commitment).map(drop).unwrap_err().code, Code::ReceiptOpening);
        keep(home, &mut rng(), core::slice::from_ref(&opening)).unwrap();
        assert_eq!(list(home).unwrap(), [(commitment, true)]);
        assert_eq!(open(home, &commitment).unwrap().value(), 1234);
        let key_path = at(home, "keys", &commitment);
        assert_eq!(fs::metadata(&key_path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = fs::read(&key_path).unwrap();
        let bare = opening.to_bytes();
        // A backup as it should be: everything but the keys.
        let copy = fs::read(at(home, "sealed", &commitment)).unwrap();
        assert!(!copy.windows(32).any(|part| bare.windows(32).any(|secret| secret == part) || part == key));

        let mut held = File::open(&key_path).unwrap();
        assert_eq!(forget(home, &commitment), Ok(true));
        assert_eq!(forget(home, &commitment), Ok(false));
        assert_eq!(list(home).unwrap(), [(commitment, false)]);
        let closed = open(home, &commitment).map(drop).unwrap_err();
        assert_eq!((closed.code, closed.what.contains("forgotten")), (Code::ReceiptOpening, true));
        // Who still has the file open reads zeroes, and no file has key or salt.
        let mut left = Vec::new();
        held.read_to_end(&mut left).unwrap();
        assert_eq!(left, [0; 32]);
        let found = files(home);
        assert_eq!(found, std::slice::from_ref(&copy));
        assert!(!found.iter().any(|file| file.windows(32).any(|part| part == key)));
        assert_eq!(forget(home, &Hash([9; 32])).unwrap_err().code, Code::ReceiptOpening);
        // Another key does not open what is left.
        for key in [[0; 32], [7; 32]] {
            assert!(open_once(&Secret::new(key), &commitment.0, &copy).is_none());
        }
    }

    #[test]
    fn damage_is_named_and_gives_no_opening() {
        let home = tempfile::tempdir().unwrap();
        let (opening, home) = (opening(), home.path());
        let commitment = opening.commitment();
        keep(home, &mut rng(), core::slice::from_ref(&opening)).unwrap();
        for kind in ["keys", "sealed"] {
            let path = at(home, kind, &commitment);
            let whole = fs::read(&path).unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut altered = whole.clone();
                altered[at] ^= 1;
                fs::write(&path, altered).unwrap();
                assert_eq!(open(home, &commitment).map(drop).unwrap_err().code, Code::ReceiptOpening, "{kind} {at}");
                fs::write(&path, &whole[..at]).unwrap();
                assert_eq!(open(home, &commitment).map(drop).unwrap_err().code, Code::ReceiptOpening, "{kind} {at}");
            }
            fs::write(&path, whole).unwrap();
        }
        assert!(open(home, &commitment).is_ok());
    }
}
