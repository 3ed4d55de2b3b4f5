//! Files of a log that are damaged in every way, copies of it, and its restoration.

use std::collections::BTreeMap;
use std::path::Path;

use tacit_archive::files::TEMPORARY;
use tacit_archive::mirror::MIRRORED_PATH;
use tacit_archive::{Folder, Mirror, examine, restore};
use tacit_crypto::{Secret, SigningKey};
use tacit_receipts::merkle::{MemTree, leaf_hash, root};
use tacit_receipts::tiles::{CHECKPOINT_PATH, TILE_WIDTH};
use tacit_receipts::{Checkpoint, Edge, KeyKind, SignedCheckpoint, TileRead, TileReader, VerifierKey};
use tacit_types::{Code, Hash, UnixMillis};

const ORIGIN: &str = "log.example/usage/2026";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(1).id()).unwrap()
}

fn leaf(i: u64) -> Vec<u8> {
    format!("leaf {i} {}", "x".repeat((i % 50) as usize)).into_bytes()
}

fn other_leaf(i: u64) -> Vec<u8> {
    if i < 5 { leaf(i) } else { format!("another leaf {i}").into_bytes() }
}

fn head(size: u64, leaf: fn(u64) -> Vec<u8>) -> SignedCheckpoint {
    let mut tree = MemTree::default();
    (0..size).for_each(|i| tree.push(leaf_hash(&leaf(i))));
    Checkpoint { origin: ORIGIN.into(), size, root: tree.root() }.sign(&log_key(), &key(1)).unwrap()
}

/// A log of a size, written in steps, with its checkpoint.
fn log(at: &Path, size: u64) -> Folder {
    let (folder, mut edge) = (Folder::new(at.to_owned()), Edge::default());
    while edge.size() < size {
        let to = size.min(edge.size() + 200);
        let leaves: Vec<Vec<u8>> = (edge.size()..to).map(leaf).collect();
        let files: Vec<_> = edge.append(&leaves).unwrap().into_iter().map(|f| (f.path, f.bytes)).collect();
        folder.write_all(&files).unwrap();
    }
    std::fs::write(at.join(CHECKPOINT_PATH), head(size, leaf).to_bytes()).unwrap();
    folder
}

fn damages(folder: &Folder, size: u64) -> Vec<tacit_archive::Damage> {
    let head = head(size, leaf).checkpoint().root;
    (0..size.div_ceil(TILE_WIDTH)).flat_map(|index| examine(folder, (size, head), index)).collect()
}

/// The files of the newest tree: those of older, smaller trees are of no use.
fn newest(folder: &Folder, size: u64) -> BTreeMap<String, Vec<u8>> {
    let mut edge = Edge::default();
    let leaves: Vec<Vec<u8>> = (0..size).map(leaf).collect();
    let files = leaves.chunks(1024).flat_map(|leaves| edge.append(leaves).unwrap());
    let mut files: BTreeMap<_, _> = files.map(|f| (f.path, f.bytes)).collect();
    files.retain(|path, bytes| {
        assert_eq!(folder.read(path).as_ref(), Some(&*bytes), "{path}");
        true
    });
    files
}

#[test]
fn every_flipped_bit_is_named_and_can_be_taken_back() {
    let home = tempfile::tempdir().unwrap();
    let folder = log(home.path(), 300);
    assert_eq!(damages(&folder, 300), []);
    assert_eq!(examine(&folder, (0, head(0, leaf).checkpoint().root), 0), [], "a log that has not begun");
    let files = newest(&folder, 300);
    let mut named = 0;
    for (path, good) in &files {
        let full = home.path().join(path);
        // Every bit of some files would take long; every 101st of a bundle has lengths, leaves, first and last bytes.
        let step = if path.contains("entries") { 101 } else { 149 };
        for at in (0..good.len() * 8).step_by(step) {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            std::fs::write(&full, &bad).unwrap();
            let mut found = damages(&folder, 300);
            // With a tile above another bundle damaged, the root is another, too.
            found.retain(|damage| damage.path != CHECKPOINT_PATH);
            assert_eq!(found.len(), 1, "{path} bit {at}: {found:?}");
            assert_eq!(&found[0].path, path, "bit {at}: {found:?}");
            assert_eq!(found[0].flipped, Some((at as u64 / 8, (at % 8) as u8)), "{path}: {found:?}");
            assert_eq!(found[0].good.as_ref(), Some(good));
            named += 1;
        }
        std::fs::write(&full, good).unwrap();
    }
    assert!(named > 500, "{named}");
}

#[test]
fn missing_cut_and_exchanged_files_are_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = log(home.path(), 600);
    let files = newest(&folder, 600);
    let path = |path: &str| home.path().join(path);
    for (name, good) in files.iter().filter(|(name, _)| !name.starts_with("tile/2")) {
        std::fs::remove_file(path(name)).unwrap();
        let found = damages(&folder, 600);
        assert!(found.iter().any(|d| d.path.starts_with(name.trim_end_matches(".p/88"))), "{name} gone: {found:?}");
        std::fs::write(path(name), &good[..good.len() - 1]).unwrap();
        assert!(damages(&folder, 600).iter().any(|d| &d.path == name), "{name} cut");
        std::fs::write(path(name), good).unwrap();
    }
    let swapped = ["tile/entries/000", "tile/entries/001"].map(|name| files[name].clone());
    std::fs::write(path("tile/entries/000"), &swapped[1]).unwrap();
    let found = damages(&folder, 600);
    assert_eq!((found.len(), found[0].leaf, found[0].flipped), (1, Some(0), None), "{found:?}");
}

#[test]
fn a_mirror_follows_the_log_and_never_goes_back() {
    let home = tempfile::tempdir().unwrap();
    let mut mirror = Mirror::open(home.path(), ORIGIN, &log_key().into()).unwrap();
    let signer = key(7);
    let signs = ("bank.mirror.log.example", &signer);
    for size in [2, 255, 256, 700] {
        mirror.append(&(mirror.size()..size).map(leaf).collect::<Vec<_>>()).unwrap();
        mirror.seal(&head(size, leaf).to_bytes(), signs, UnixMillis(5_000)).unwrap();
        mirror = Mirror::open(home.path(), ORIGIN, &log_key().into()).unwrap();
        assert_eq!(mirror.size(), size);
        assert_eq!(damages(mirror.folder(), size), []);
    }
    let note = tacit_receipts::SignedNote::parse(&std::fs::read(home.path().join(MIRRORED_PATH)).unwrap()).unwrap();
    let own = VerifierKey::new(signs.0, KeyKind::Cosignature, signer.id()).unwrap();
    assert_eq!(note.check(&own).unwrap(), Some(Some(UnixMillis(5_000))));
    let code = |r: Result<(), tacit_types::Fault>| r.unwrap_err().code;
    assert_eq!(code(mirror.seal(&head(699, leaf).to_bytes(), signs, UnixMillis(0))), Code::LogRollback);
    assert_eq!(code(mirror.seal(&head(700, other_leaf).to_bytes(), signs, UnixMillis(0))), Code::LogFork);
    // Leaves of another history behind the honest ones: not sealed, and gone.
    mirror.append(&(700..710).map(other_leaf).collect::<Vec<_>>()).unwrap();
    assert_eq!(code(mirror.seal(&head(710, leaf).to_bytes(), signs, UnixMillis(0))), Code::LogCorrupt);
    assert_eq!(mirror.size(), 700);
    mirror.append(&(700..710).map(leaf).collect::<Vec<_>>()).unwrap();
    mirror.seal(&head(710, leaf).to_bytes(), signs, UnixMillis(6_000)).unwrap();
    assert_eq!(damages(mirror.folder(), 710), []);
    let stranger = Checkpoint { origin: "log.example/other".into(), size: 900, root: Hash([0; 32]) };
    let stranger = stranger.sign(&log_key(), &key(1)).unwrap().to_bytes();
    assert_eq!(mirror.admit(&stranger).unwrap_err().code, Code::LogUnknown);
    assert_eq!(mirror.admit(&head(900, leaf).to_bytes()).unwrap().size, 900);
}

#[test]
fn a_damaged_log_is_restored_from_a_copy_or_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let (own, copy) = (home.path().join("own"), home.path().join("copy"));
    let (own, _) = (log(&own, 700), log(&copy, 600));
    let signed = head(700, leaf);
    let again = |copies: &[std::path::PathBuf]| restore(&own, Some(&signed), copies, ORIGIN, &log_key().into());
    assert_eq!(again(&[]).unwrap().written, Vec::<String>::new());
    // One flipped bit needs nobody.
    let file = own.path().join("tile/entries/001");
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[1000] ^= 4;
    std::fs::write(&file, &bad).unwrap();
    assert_eq!(again(&[]).unwrap().written, ["tile/entries/001"]);
    assert_eq!(std::fs::read(&file).unwrap(), good);
    // A whole file does.
    std::fs::write(&file, b"nothing").unwrap();
    std::fs::remove_file(own.path().join("tile/0/000")).unwrap();
    assert_eq!(again(&[]).unwrap_err().code, Code::LogCorrupt);
    assert_eq!(std::fs::read(&file).unwrap(), b"nothing", "nothing was written");
    let done = again(std::slice::from_ref(&copy)).unwrap();
    assert_eq!((done.size, done.from_copies), (700, 600));
    assert_eq!(done.written, ["tile/entries/001", "tile/0/000"]);
    assert_eq!(damages(&own, 700), []);
    // What only the lost end of the log had cannot be made up, and no smaller log is written instead.
    std::fs::write(own.path().join("tile/entries/002.p/188"), b"").unwrap();
    assert_eq!(again(std::slice::from_ref(&copy)).unwrap_err().code, Code::LogCorrupt);
}

#[test]
fn a_lost_log_is_restored_to_the_newest_head_and_no_other_history_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let [own, newer, older] = ["own", "newer", "older"].map(|name| home.path().join(name));
    log(&newer, 700);
    log(&older, 300);
    std::fs::create_dir_all(&own).unwrap();
    let folder = Folder::new(own.clone());
    let copies = [older.clone(), newer.clone()];
    let done = restore(&folder, None, &copies, ORIGIN, &log_key().into()).unwrap();
    assert_eq!((done.size, done.from_copies), (700, 700));
    assert_eq!(damages(&folder, 700), []);
    assert_eq!(std::fs::read(own.join(CHECKPOINT_PATH)).unwrap(), head(700, leaf).to_bytes());
    // Yesterday's copy of the home folder: the newest head is a mirror's.
    let old = Folder::new(home.path().join("old"));
    log(old.path(), 300);
    assert_eq!(restore(&old, Some(&head(300, leaf)), &copies, ORIGIN, &log_key().into()).unwrap().size, 700);
    // A head that was signed here and is nowhere else whole: an older state is no substitute.
    let ahead = restore(&folder, Some(&head(705, leaf)), &copies, ORIGIN, &log_key().into()).unwrap_err();
    assert_eq!(ahead.code, Code::LogCorrupt);
    assert_eq!(root(&TileReader::new(&folder, 700), 700).unwrap(), head(700, leaf).checkpoint().root);
    // Two histories.
    let forked = home.path().join("forked");
    std::fs::create_dir_all(&forked).unwrap();
    std::fs::write(forked.join(CHECKPOINT_PATH), head(200, other_leaf).to_bytes()).unwrap();
    let refused = restore(&folder, None, &[forked, newer], ORIGIN, &log_key().into()).unwrap_err();
    assert_eq!(refused.code, Code::LogFork);
    assert!(!std::fs::read_dir(&own).unwrap().any(|f| f.unwrap().path().extension().is_some_and(|e| e == TEMPORARY)));
}
