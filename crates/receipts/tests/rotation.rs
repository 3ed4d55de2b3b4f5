//! The log changes its key: who has only the log and the key that it began with follows.

mod common;

use common::*;
use tacit_crypto::Statement;
use tacit_receipts::*;
use tacit_types::*;

const HOUR: u64 = 3_600_000;

/// A log that changes from key 1 to key 21 at its leaf 3, with an hour of overlap, and goes on.
fn rotated() -> World {
    let mut world = World::new(3);
    world.job(1);
    let leaf = world.rotation(1, 21, HOUR);
    assert_eq!(world.append(leaf), 3);
    world.job(2);
    world
}

fn whole(world: &World, note: Vec<u8>) -> Bundle {
    Bundle { checkpoint: note.into(), ..world.bundle() }
}

fn said(bundle: &Bundle, trust: &Trust) -> Report {
    verify_bundle(&bundle.to_bytes(), Some(trust)).unwrap()
}

fn with(trust: Trust, rotations: &[Vec<u8>]) -> Trust {
    Trust { rotations: rotations.iter().map(|r| r.clone().into()).collect(), ..trust }
}

#[test]
fn a_verifier_with_the_log_and_its_first_key_follows_to_the_next() {
    let mut world = rotated();
    let trust = world.trust();
    // In the overlap both sign; who stays with the old key alone is right until its end.
    for seeds in [&[21, 1][..], &[21], &[1]] {
        let report = said(&whole(&world, world.noted(world.tree.size(), seeds)), &trust);
        assert!(report.is_valid(), "{seeds:?}: {:?}", report.faults);
        assert_eq!(report.notices, [], "{seeds:?}");
    }
    world.now = world.now.plus(2 * HOUR);
    world.job(3);
    let size = world.tree.size();
    let report = said(&whole(&world, world.noted(size, &[21])), &trust);
    assert!(report.is_valid(), "{:?}", report.faults);
    let keys: Vec<_> = report.log_keys.iter().map(|k| (k.key.clone(), k.leaf)).collect();
    assert_eq!(keys, [(log_key().to_string(), None), (log_key_of(21).to_string(), Some(3))]);
    assert_eq!(report.log_keys[0].until, report.log_keys[1].from.map(|from| from + HOUR));

    // The old key after its overlap, and a key that nothing leads to.
    let report = said(&whole(&world, world.noted(size, &[1])), &trust);
    assert_eq!(codes(&report), [Code::LogKeyRetired], "{:?}", report.faults);
    let report = said(&whole(&world, world.noted(size, &[22])), &trust);
    assert_eq!(codes(&report), [Code::LogSignature]);
    assert!(report.faults[0].what.contains("newer trust file"), "{:?}", report.faults);

    // As files, and for who pinned the newest key alone.
    let mut disk = world.disk();
    let mut files = |note: Vec<u8>, trust: &Trust| {
        disk.0.insert(tiles::CHECKPOINT_PATH.into(), note);
        verify_files(&disk, Some(trust))
    };
    assert!(files(world.noted(size, &[21]), &trust).unwrap().is_valid());
    assert_eq!(codes(&files(world.noted(size, &[1]), &trust).unwrap()), [Code::LogKeyRetired]);
    assert_eq!(files(world.noted(size, &[22]), &trust).unwrap_err().code, Code::LogSignature);
    let newest = Trust { log_key: log_key_of(21).to_string(), ..trust };
    assert!(files(world.noted(size, &[21]), &newest).unwrap().is_valid());
}

#[test]
fn a_kept_checkpoint_is_judged_by_the_key_of_its_time() {
    let mut world = rotated();
    let old = world.noted(3, &[1]);
    world.now = world.now.plus(2 * HOUR);
    world.job(3);
    let late = world.noted(4, &[1]);
    let trust = world.trust();
    let mut bundle = whole(&world, world.noted(world.tree.size(), &[21]));
    bundle.kept = vec![old.into()];
    assert!(said(&bundle, &trust).is_valid());
    // Nobody but the log signed it: where it ends shows that it is older than the change.
    let bare = |size| world.signed_checkpoint(size).to_bytes();
    bundle.kept = vec![bare(3).into()];
    assert!(said(&bundle, &trust).is_valid());
    for kept in [bare(4), late] {
        bundle.kept = vec![kept.into()];
        assert_eq!(codes(&said(&bundle, &trust)), [Code::LogKeyRetired]);
    }
}

#[test]
fn changes_that_do_not_follow_are_flaws_of_their_leaf() {
    let mut twice = rotated();
    let other = twice.rotation(1, 22, HOUR);
    let leaf = twice.append(other);
    let report = said(&whole(&twice, twice.noted(twice.tree.size(), &[21, 1])), &twice.trust());
    let found: Vec<_> = report.faults.iter().map(|f| (f.leaf, f.code)).collect();
    assert_eq!(found, [(Some(leaf), Code::LogKeyRotation)]);

    let mut forged = World::new(3);
    forged.job(1);
    let genuine = Statement::<KeyRotation>::verify(&forged.rotation(1, 21, HOUR)).unwrap().into_body();
    // By whoever has the coordinator's key, and not the log's.
    let by_coordinator = forged.by_coordinator(genuine.clone());
    forged.append(by_coordinator);
    let without = KeyRotation { consent: None, ..genuine };
    let not_agreed = Statement::sign(&key(1), ORIGIN, forged.now, None, without).bytes().to_vec();
    forged.append(not_agreed);
    let size = forged.tree.size();
    let report = said(&whole(&forged, forged.noted(size, &[1])), &forged.trust());
    let found: Vec<_> = report.faults.iter().map(|f| (f.leaf, f.code)).collect();
    assert_eq!(found, [(Some(3), Code::LogKeyRotation), (Some(4), Code::LogKeyRotation)]);
    let report = said(&whole(&forged, forged.noted(size, &[21])), &forged.trust());
    assert!(codes(&report).contains(&Code::LogSignature), "{:?}", report.faults);
}

#[test]
fn single_receipts_need_the_changes_from_the_trust_file_or_the_bundle() {
    let mut world = rotated();
    let rotation = world.leaves[3].clone();
    world.now = world.now.plus(2 * HOUR);
    let leaf = world.job(3);
    let (trust, size) = (world.trust(), world.tree.size());
    let bundle =
        |note: Vec<u8>, theirs: Trust| Bundle { checkpoint: note.into(), trust: Some(theirs), ..world.single(&[leaf]) };
    let newer = with(trust.clone(), std::slice::from_ref(&rotation));
    let note = world.noted(size, &[21]);
    assert_eq!(codes(&said(&bundle(note.clone(), trust.clone()), &trust)), [Code::LogSignature]);
    for own in [&trust, &newer] {
        assert!(said(&bundle(note.clone(), newer.clone()), own).is_valid());
        assert_eq!(codes(&said(&bundle(world.noted(size, &[1]), newer.clone()), own)), [Code::LogKeyRetired]);
    }
    let proof = |note: Vec<u8>| {
        let head = SignedCheckpoint::open(&note, &log_key_of(21)).unwrap();
        LogProof::build(&world.tree, leaf, &head).unwrap()
    };
    let single = |own: &Trust| verify_single(&world.leaves[leaf as usize], &proof(note.clone()), own, &|_| None);
    assert!(single(&newer).unwrap().is_valid());
    assert_eq!(codes(&single(&trust).unwrap()), [Code::LogSignature]);
    // A trust file is one form, and a change in it that leads nowhere is refused.
    assert_eq!(Trust::parse(&newer.to_bytes()).unwrap(), newer);
    let stray = with(trust.clone(), &[world.rotation(31, 32, HOUR)]);
    assert_eq!(Trust::parse(&stray.to_bytes()).unwrap_err().code, Code::ReceiptBundle);
    let many = with(trust, &vec![rotation; rotation::LOG_KEYS_MAX]);
    assert_eq!(Trust::parse(&many.to_bytes()).unwrap_err().code, Code::ReceiptBundle);
}
