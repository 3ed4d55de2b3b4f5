//! Every kind of fault that a log can have is produced and found, by its code and its leaf.

mod common;

use common::*;
use tacit_crypto::Statement;
use tacit_receipts::receipt::next_link;
use tacit_receipts::*;
use tacit_types::*;

/// Asserts that a world's log has faults of exactly these codes, the first at `leaf`.
#[track_caller]
fn found(world: &World, leaf: impl Into<Option<u64>>, expected: &[Code]) {
    check(&world.report(), leaf.into(), expected);
}

#[track_caller]
fn check(report: &Report, leaf: Option<u64>, expected: &[Code]) {
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(codes(report), expected, "{:#?}", report.faults);
    assert_eq!(report.faults[0].leaf, leaf, "{:#?}", report.faults);
    assert!(!report.is_valid());
    for lang in [Lang::En, Lang::Zh] {
        assert!(report.faults.iter().all(|f| f.sentence(lang).contains(f.code.text())));
    }
}

/// A world with two good receipts at leaves 2 and 3.
fn world() -> World {
    let mut world = World::new(3);
    world.job(1);
    world.job(2);
    world
}

/// A third job's record and attestations, to be tampered with.
fn third(world: &mut World) -> (UsageRecord, Vec<Statement<Attestation>>) {
    let record = world.record(3);
    let attestations = world.attest_all(&record);
    (record, attestations)
}

fn receipt(record: UsageRecord, attestations: &[Statement<Attestation>]) -> JointReceipt {
    JointReceipt {
        record,
        attestations: attestations.iter().map(|a| a.bytes().to_vec().into()).collect(),
        price_plan: None,
        charges: None,
        absent: Vec::new(),
    }
}

#[test]
fn an_honest_log_is_valid() {
    let mut world = world();
    let mut aborted = world.record(3);
    aborted.status = Status::Aborted { code: Code::JobPeerLost, step: Some(Step::new(1, 2)), seat: Some(Seat(2)) };
    aborted.result = None;
    aborted.parties[2].standing = Standing::Dropped { step: Step::new(1, 2) };
    let attestations = [world.attest(0, &aborted), world.attest(1, &aborted)];
    let absent = vec![Absent { party: world.party(2).id(), code: Code::JobPeerLost }];
    let assembled = assemble(aborted.clone(), &attestations, absent).unwrap();
    world.publish(assembled.receipt);
    let mut refused = world.record(4);
    refused.status = Status::Refused { code: Code::RefusedQuota, seat: Some(Seat(1)) };
    refused.attempt = Attempt(0);
    world.close(refused);
    // The lost party comes back and attests what it missed.
    let late = world.attest(2, &aborted);
    world.append(late.bytes().to_vec());
    let novelty = world.by_coordinator(Novelty { text: "later".into() });
    world.append(novelty);

    let report = world.report();
    assert_eq!(report.faults, []);
    assert!(report.is_valid());
    assert_eq!((report.leaves, report.receipts, report.valid, report.cosigned.len()), (8, 4, 4, 2));
    assert_eq!(report.notices, [Notice::Unchecked { kind: "novelty".into(), count: 1 }]);
    assert_eq!(report.trust_fingerprint, world.trust().fingerprint().to_string());

    let unpinned = verify_bundle(&world.bundle().to_bytes(), None).unwrap();
    assert_eq!((unpinned.trust, &unpinned.notices[0]), (TrustSource::FromBundle, &Notice::Unpinned));
    let files = verify_files(&world.disk(), Some(&world.trust())).unwrap();
    assert_eq!(files, report);
}

#[test]
fn a_missing_attestation_is_found() {
    let mut world = world();
    let (record, attestations) = third(&mut world);
    let leaf = world.publish(receipt(record, &attestations[..2]));
    found(&world, leaf, &[Code::ReceiptAttestationMissing]);
    assert_eq!((world.report().receipts, world.report().valid), (3, 2));
}

#[test]
fn a_party_that_took_part_cannot_be_declared_absent() {
    let mut world = world();
    let (record, attestations) = third(&mut world);
    let absent = vec![Absent { party: world.party(2).id(), code: Code::JobUnreachable }];
    let assembled = assemble(record, &attestations[..2], absent).unwrap();
    let leaf = world.publish(assembled.receipt);
    found(&world, leaf, &[Code::ReceiptAttestationMissing]);
}

#[test]
fn a_record_that_no_party_attested_is_found() {
    let mut world = world();
    let mut record = world.record(3);
    record.parties.iter_mut().for_each(|p| p.standing = Standing::Silent);
    record.lines.clear();
    let absent: Vec<Absent> =
        record.parties.iter().map(|p| Absent { party: p.party, code: Code::JobUnreachable }).collect();
    let refused = assemble(record.clone(), &[], absent.clone()).unwrap_err();
    assert_eq!(refused.code, Code::ReceiptAttestationMissing);
    let leaf = world.publish(JointReceipt { absent, ..receipt(record, &[]) });
    found(&world, leaf, &[Code::ReceiptAttestationMissing]);
}

#[test]
fn an_altered_quantity_is_found() {
    let mut world = world();
    let (mut record, attestations) = third(&mut world);
    record.lines[1].quantity = Quantity::Plain(1);
    let leaf = world.publish(receipt(record, &attestations));
    // Without a valid attestation every party is missing too, and their chains lack a number.
    found(&world, leaf, &[Code::ReceiptDigest, Code::ReceiptAttestationMissing]);
}

#[test]
fn a_forged_use_is_found() {
    let mut world = world();
    let record = world.record(3);
    let forger = key(200);
    let forged = Attestation::agreeing(&record, Role::Input, None).sign(&forger, &record, world.now, next_link(None));
    let attestations: Vec<_> = (0..2).map(|i| world.attest(i, &record)).chain([forged]).collect();
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptPartyUnknown, Code::ReceiptAttestationMissing]);

    // A byte changed inside an attestation that the coordinator then signs over.
    let mut world = self::world();
    let (record, attestations) = third(&mut world);
    let mut receipt = receipt(record, &attestations);
    let last = receipt.attestations[1].len() - 1;
    receipt.attestations[1][last] ^= 1;
    let leaf = world.publish(receipt);
    found(&world, leaf, &[Code::ReceiptAttestationInvalid, Code::ReceiptAttestationMissing]);
}

#[test]
fn an_attestation_of_another_role_or_twice_is_found() {
    let mut world = world();
    let record = world.record(3);
    let wrong = Attestation::agreeing(&record, Role::Compute, None);
    let attestations = [world.attest_with(0, &record, wrong), world.attest(1, &record), world.attest(2, &record)];
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptAttestationInvalid, Code::ReceiptAttestationMissing]);

    let mut world = self::world();
    let (record, mut attestations) = third(&mut world);
    attestations.push(attestations[0].clone());
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptAttestationInvalid]);
}

#[test]
fn a_receipt_of_another_signer_is_found() {
    let mut world = world();
    let (record, attestations) = third(&mut world);
    let statement = receipt(record, &attestations).sign(&key(200), world.now).unwrap();
    let leaf = world.append(statement.bytes().to_vec());
    found(&world, leaf, &[Code::ReceiptCoordinator]);
}

#[test]
fn an_omitted_receipt_leaves_a_gap() {
    let mut world = world();
    third(&mut world);
    let leaf = world.job(4);
    found(&world, leaf, &[Code::ReceiptSequenceGap]);
    assert_eq!(world.report().faults.len(), 3);
    assert!(world.report().faults.iter().all(|f| f.what.ends_with("number 2")), "{:?}", world.report().faults);
}

#[test]
fn a_number_used_twice_and_a_broken_link_are_found() {
    let mut world = world();
    world.chains[1] = Some((0, StatementId([9; 32])));
    let leaf = world.job(3);
    found(&world, leaf, &[Code::ReceiptSequenceFork]);
    let mut world = self::world();
    world.chains[1] = Some((1, StatementId([9; 32])));
    let leaf = world.job(3);
    found(&world, leaf, &[Code::ReceiptSequenceFork]);
}

#[test]
fn a_receipt_twice_is_found() {
    let mut world = world();
    let again = world.leaves[3].clone();
    let leaf = world.append(again);
    found(&world, leaf, &[Code::ReceiptDuplicate, Code::ReceiptSequenceFork]);
    // The same job and attempt, attested anew: a double bill.
    let mut world = self::world();
    let leaf = world.job(2);
    found(&world, leaf, &[Code::ReceiptDuplicate]);
    assert_eq!((world.report().receipts, world.report().valid), (3, 2));
    // Another attempt at the job is no duplicate.
    let mut world = self::world();
    let mut record = world.record(2);
    record.attempt = Attempt(2);
    world.close(record);
    assert!(world.report().is_valid());
}

#[test]
fn leaves_that_do_not_fit_the_checkpoint_are_found() {
    let world = world();
    let verify = |bundle: &Bundle| verify_bundle(&bundle.to_bytes(), Some(&world.trust())).unwrap();
    let mut dropped = world.bundle();
    dropped.leaves.pop();
    check(&verify(&dropped), None, &[Code::LogCorrupt]);
    let mut swapped = world.bundle();
    swapped.leaves.swap(2, 3);
    // Exchanged receipts also have seen checkpoints that they could not have seen.
    assert!(codes(&verify(&swapped)).contains(&Code::LogCorrupt));
    let mut unwitnessed = world.bundle();
    unwitnessed.checkpoint = world.cosigned(1).into();
    check(&verify(&unwitnessed), None, &[Code::LogQuorum]);
    let mut unsigned = world.bundle();
    let other = VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(9).id()).unwrap();
    let head = world.signed_checkpoint(4).checkpoint().clone();
    unsigned.checkpoint = head.sign(&other, &key(9)).unwrap().to_bytes().into();
    check(&verify(&unsigned), None, &[Code::LogSignature]);
    let mut garbled = world.bundle();
    garbled.checkpoint = b"nothing".to_vec().into();
    check(&verify(&garbled), None, &[Code::LogMalformed]);
    let mut elsewhere = world.bundle();
    let moved = Checkpoint { origin: "log.example/other".into(), ..head };
    elsewhere.checkpoint = moved.sign(&log_key(), &key(1)).unwrap().to_bytes().into();
    check(&verify(&elsewhere), None, &[Code::LogSignature, Code::LogQuorum]);
}

#[test]
fn a_split_view_shows_in_what_a_party_had_seen() {
    let mut world = world();
    let record = world.record(3);
    let other = SeenCheckpoint { size: 3, root: Hash([1; 32]) };
    let body = Attestation::agreeing(&record, Role::Input, Some(other));
    let attestations = [world.attest(0, &record), world.attest_with(1, &record, body), world.attest(2, &record)];
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::LogFork]);

    let mut world = self::world();
    let record = world.record(3);
    let later = SeenCheckpoint { size: 9, root: Hash([1; 32]) };
    let body = Attestation::agreeing(&record, Role::Input, Some(later));
    let attestations = [world.attest(0, &record), world.attest_with(1, &record, body), world.attest(2, &record)];
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::LogRollback]);
}

#[test]
fn kept_checkpoints_must_be_of_this_logs_past() {
    let world = world();
    let verify = |kept: SignedCheckpoint| {
        let mut bundle = world.bundle();
        bundle.kept = vec![kept.to_bytes().into()];
        verify_bundle(&bundle.to_bytes(), Some(&world.trust())).unwrap()
    };
    for size in 0..=4 {
        assert!(verify(world.signed_checkpoint(size)).is_valid());
    }
    let head = |size, root| Checkpoint { origin: ORIGIN.into(), size, root }.sign(&log_key(), &key(1)).unwrap();
    check(&verify(head(3, Hash([4; 32]))), None, &[Code::LogFork]);
    check(&verify(head(5, Hash([4; 32]))), None, &[Code::LogRollback]);
    let moved = Checkpoint { origin: "log.example/other".into(), size: 3, root: Hash([4; 32]) };
    check(&verify(moved.sign(&log_key(), &key(1)).unwrap()), None, &[Code::LogSignature]);
}

#[test]
fn promises_are_held_against_the_coordinator() {
    let mut world = world();
    let (record, attestations) = third(&mut world);
    let promise = |usage, deadline| world.by_coordinator(Promise { usage, deadline });
    let due = world.now.plus(5_000);
    let kept = promise(record.digest(), due);
    let broken = promise(Hash([5; 32]), world.now.plus(1_000));
    world.publish(receipt(record, &attestations));
    world.now = world.now.plus(10_000);
    let pending = world.by_coordinator(Promise { usage: Hash([6; 32]), deadline: world.now.plus(99_000) });
    let foreign = Statement::sign(&key(9), "x", world.now, None, Promise { usage: Hash([5; 32]), deadline: due });
    let verify = |promise: Vec<u8>| {
        let mut bundle = world.bundle();
        bundle.promises = vec![promise.into()];
        verify_bundle(&bundle.to_bytes(), Some(&world.trust())).unwrap()
    };
    assert!(verify(kept).is_valid());
    // The witnesses' clock must be past the deadline, not at it.
    let at = world.by_coordinator(Promise { usage: Hash([6; 32]), deadline: world.now });
    assert!(verify(at).is_valid());
    let report = verify(pending);
    assert!(report.is_valid() && report.notices == [Notice::PromisePending { usage: "06060606".into() }]);
    check(&verify(broken), None, &[Code::ReceiptPromiseUnkept]);
    check(&verify(foreign.bytes().to_vec()), None, &[Code::ReceiptCoordinator]);
    check(&verify(b"junk".to_vec()), None, &[Code::ReceiptMalformed]);
}

#[test]
fn times_out_of_order_are_found() {
    const HOUR: u64 = 3_600_000;
    // Issued before its job ended.
    let mut world = world();
    let mut record = world.record(3);
    record.ended = record.ended.plus(HOUR);
    let leaf = world.close(record);
    found(&world, leaf, &[Code::ReceiptTime]);
    // Issued an hour before the receipt that precedes it.
    let mut world = self::world();
    world.now = UnixMillis(world.now.0 - HOUR);
    let leaf = world.job(3);
    world.now = world.now.plus(HOUR);
    found(&world, leaf, &[Code::ReceiptTime]);
    // Issued an hour after the witnesses say they saw it.
    let mut world = self::world();
    world.now = world.now.plus(HOUR);
    let leaf = world.job(3);
    world.now = UnixMillis(world.now.0 - HOUR);
    found(&world, leaf, &[Code::ReceiptTime]);
    // Attested an hour after it was closed.
    let mut world = self::world();
    let record = world.record(3);
    world.now = world.now.plus(HOUR);
    let attestations = world.attest_all(&record);
    world.now = UnixMillis(world.now.0 - HOUR);
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptTime]);
}

#[test]
fn a_receipt_issued_before_its_job_ended_is_found_even_if_attestations_bridge_it() {
    const SKEW: u64 = verify::CLOCK_SKEW_MILLIS_MAX;
    let mut world = world();
    let mut record = world.record(3);
    record.ended = world.now.plus(SKEW + 60_000);
    world.now = world.now.plus(SKEW / 2);
    let attestations = world.attest_all(&record);
    world.now = UnixMillis(world.now.0 - SKEW / 2);
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptTime]);
    assert_eq!(world.report().faults.len(), 1);
}

#[test]
fn a_receipt_under_the_header_of_another_job_is_found() {
    let mut world = world();
    let (record, attestations) = third(&mut world);
    let body = receipt(record, &attestations);
    let statement = Statement::sign(&world.coordinator(), "job/1", world.now, None, body);
    let leaf = world.append(statement.bytes().to_vec());
    found(&world, leaf, &[Code::ReceiptRecord]);

    // And an attestation whose header is of another job.
    let mut world = self::world();
    let record = world.record(3);
    let body = Attestation::agreeing(&record, Role::Input, None);
    let (link, subject) = (next_link(world.chains[1]), "job/1");
    let moved = Statement::sign(&world.party(1), subject, world.now, Some(link), body);
    let attestations = [world.attest(0, &record), moved, world.attest(2, &record)];
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptAttestationInvalid, Code::ReceiptAttestationMissing]);
}

#[test]
fn times_within_the_skew_of_honest_clocks_are_no_fault() {
    const SKEW: u64 = verify::CLOCK_SKEW_MILLIS_MAX;
    for (skew, valid) in [(SKEW, true), (SKEW + 1_000, false)] {
        // Attested and issued before the job ended.
        let mut world = world();
        let mut record = world.record(3);
        record.ended = world.now.plus(skew);
        world.close(record);
        assert_eq!(world.report().is_valid(), valid, "ended {skew}");
        // Issued before the receipt that precedes it; the job's own minute is taken off.
        let mut world = self::world();
        world.now = UnixMillis(world.now.0 - skew - 60_000);
        world.job(3);
        world.now = world.now.plus(skew);
        assert_eq!(world.report().is_valid(), valid, "issued {skew}");
        // Attested after it was closed.
        let mut world = self::world();
        let record = world.record(3);
        world.now = world.now.plus(skew);
        let attestations = world.attest_all(&record);
        world.now = UnixMillis(world.now.0 - skew);
        world.publish(receipt(record, &attestations));
        assert_eq!(world.report().is_valid(), valid, "attested {skew}");
        // Issued after the witnesses saw it.
        let mut world = self::world();
        world.now = world.now.plus(skew);
        world.job(3);
        world.now = UnixMillis(world.now.0 - skew);
        assert_eq!(world.report().is_valid(), valid, "cosigned {skew}");
    }
}

#[test]
fn a_log_of_its_two_first_leaves_is_valid() {
    let report = World::new(3).report();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert_eq!((report.leaves, report.receipts, report.notices.len()), (2, 0, 0));
}

#[test]
fn a_record_that_contradicts_itself_is_found() {
    let tamper: [fn(&mut UsageRecord); 9] = [
        |r| r.version = 3,
        |r| r.ended = UnixMillis(r.started.0 - 1),
        |r| r.lines[0].party = Seat(3),
        |r| r.lines[0].observers = vec![Seat(9)],
        |r| r.lines[0].class = unit::Class::A,
        |r| r.attempt = Attempt(0),
        |r| r.origin = "log.example/other".into(),
        |r| r.disclosures[0].what = "x".repeat(record::DISCLOSURE_TEXT_BYTES_MAX + 1),
        |r| r.contracts = vec![ContractId([1; 32]); record::LIST_MAX + 1],
    ];
    for (i, tamper) in tamper.into_iter().enumerate() {
        let mut world = world();
        let mut record = world.record(3);
        tamper(&mut record);
        let attestations = world.attest_all(&record);
        let leaf = world.publish(receipt(record, &attestations));
        found(&world, leaf, &[Code::ReceiptRecord]);
        assert_eq!(world.report().valid, 2, "{i}");
    }
    let mut world = world();
    let mut record = world.record(3);
    record.parties[2] = record.parties[1].clone();
    let attestations = [world.attest(0, &record), world.attest(1, &record)];
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptRecord]);
}

#[test]
fn keys_hold_only_in_their_interval_and_under_their_name() {
    let world = world();
    let verify = |trust: &Trust| verify_bundle(&world.bundle().to_bytes(), Some(trust)).unwrap();
    let mut ended = world.trust();
    ended.parties[1].until = Some(3);
    check(&verify(&ended), Some(3), &[Code::ReceiptPartyUnknown]);
    let mut begun = world.trust();
    begun.parties[1].from = 3;
    check(&verify(&begun), Some(2), &[Code::ReceiptPartyUnknown]);
    let mut handed = world.trust();
    handed.parties[1].until = Some(3);
    handed.parties.push(PartyKey { from: 3, until: None, ..handed.parties[1].clone() });
    assert!(verify(&handed).is_valid());
    let mut renamed = world.trust();
    renamed.parties[1].name = Name::new("bank-x").unwrap();
    check(&verify(&renamed), Some(2), &[Code::ReceiptPartyName]);
    assert!(verify(&renamed).notices.contains(&Notice::TrustDiffers));
    assert!(verify(&renamed).notices.contains(&Notice::KeysDiffer { leaf: 1 }));
    let mut unwitnessed = world.trust();
    unwitnessed.quorum = 0;
    assert!(verify(&unwitnessed).notices.contains(&Notice::NoWitness));
}

#[test]
fn a_list_of_keys_that_differs_in_any_part_is_announced() {
    let tamper: [fn(&mut KeyEvent); 7] = [
        |_| {},
        |e| e.coordinator = NodeId([1; 32]),
        |e| e.log_key = e.witnesses[0].clone(),
        |e| e.witnesses.truncate(2),
        |e| e.quorum = 1,
        |e| e.parties[1].key = NodeId([1; 32]),
        |e| e.parties[1].name = Name::new("bank-x").unwrap(),
    ];
    for (i, tamper) in tamper.into_iter().enumerate() {
        let mut world = world();
        let event = world.genesis_leaves().swap_remove(1);
        let mut event = Statement::<KeyEvent>::verify(&event).unwrap().into_body();
        tamper(&mut event);
        let leaf = world.by_coordinator(event);
        let leaf = world.append(leaf);
        let report = world.report();
        assert!(report.is_valid());
        assert_eq!(report.notices.contains(&Notice::KeysDiffer { leaf }), i > 0, "{i}");
    }
}

#[test]
fn a_dispute_is_found() {
    let mut world = world();
    let record = world.record(3);
    let mut body = Attestation::agreeing(&record, Role::Input, None);
    body.verdict = Verdict::Disputes { code: Code::JobMisbehaved };
    let attestations = [world.attest(0, &record), world.attest_with(1, &record, body), world.attest(2, &record)];
    let leaf = world.publish(receipt(record, &attestations));
    found(&world, leaf, &[Code::ReceiptDisputed]);
}

#[test]
fn a_late_attestation_shows_an_omitted_receipt() {
    let mut world = world();
    let record = world.record(3);
    let late = world.attest(1, &record);
    let leaf = world.append(late.bytes().to_vec());
    found(&world, leaf, &[Code::ReceiptOmitted]);

    let mut world = self::world();
    let record = world.record(3);
    let stranger = Attestation::agreeing(&record, Role::Input, None);
    let statement = stranger.sign(&key(200), &record, world.now, next_link(None));
    let leaf = world.append(statement.bytes().to_vec());
    found(&world, leaf, &[Code::ReceiptPartyUnknown]);

    let mut world = self::world();
    let record = world.record(3);
    let body = Attestation::agreeing(&record, Role::Input, None);
    let unnumbered = Statement::sign(&world.party(1), &record.subject(), world.now, None, body);
    world.append(unnumbered.bytes().to_vec());
    world.close(record);
    found(&world, 4, &[Code::ReceiptAttestationInvalid]);
}

#[test]
fn a_log_without_its_beginning_is_found() {
    let mut world = World::new(3);
    (world.leaves, world.tree) = (Vec::new(), MemTree::default());
    world.job(1);
    found(&world, None, &[Code::LogGenesis]);
    assert_eq!(world.report().faults[1].leaf, Some(0));
    let mut world = self::world();
    let genesis = world.genesis_leaves().swap_remove(0);
    let leaf = world.append(genesis);
    found(&world, leaf, &[Code::LogGenesis]);
    let mut world = World::new(3);
    let keys = world.genesis_leaves().swap_remove(1);
    (world.leaves, world.tree) = (Vec::new(), MemTree::default());
    world.append(keys);
    found(&world, None, &[Code::LogGenesis]);
}

#[test]
fn unreadable_leaves_are_found() {
    let mut world = world();
    let leaf = world.append(b"not a statement".to_vec());
    found(&world, leaf, &[Code::ReceiptMalformed]);
    let mut world = self::world();
    let mut forged = world.leaves[2].clone();
    *forged.last_mut().unwrap() ^= 1;
    let leaf = world.append(forged);
    found(&world, leaf, &[Code::ReceiptSignature]);
    let mut world = self::world();
    let leaf = world.append(vec![0; limits::LEAF_BYTES_MAX + 1]);
    found(&world, leaf, &[Code::ReceiptTooLarge]);
}

#[test]
fn single_receipts_verify_against_their_own_proof_alone() {
    let mut world = world();
    world.job(3);
    let trust = world.trust();
    let verify = |bundle: &Bundle| verify_bundle(&bundle.to_bytes(), Some(&trust)).unwrap();
    let bundle = world.single(&[2, 4]);
    let report = verify(&bundle);
    assert!(report.is_valid(), "{:?}", report.faults);
    assert_eq!((report.scope, report.receipts, report.valid), (Scope::SingleLeaves, 2, 2));
    assert_eq!(report.notices, [Notice::Single]);
    let head = SignedCheckpoint::open(&bundle.checkpoint, &log_key()).unwrap();
    let proof = LogProof::build(&world.tree, 4, &head).unwrap();
    let none = |_: &StatementId| None;
    assert!(verify_single(&world.leaves[4], &proof, &trust, &none).unwrap().is_valid());
    let other = verify_single(&world.leaves[3], &proof, &trust, &none).unwrap();
    check(&other, Some(4), &[Code::LogProof]);
    // A valid proof for another entry.
    let mut crossed = bundle.clone();
    crossed.proven[0].proof = bundle.proven[1].proof.clone();
    check(&verify(&crossed), Some(2), &[Code::LogProof]);
    let mut moved = bundle.clone();
    moved.proven[0].index = 3;
    check(&verify(&moved), Some(3), &[Code::LogProof]);
    let mut twice = bundle.clone();
    twice.proven[1] = twice.proven[0].clone();
    check(&verify(&twice), Some(2), &[Code::ReceiptDuplicate]);
    // Evidence that needs the whole log does not go with single leaves.
    let mut mixed = bundle.clone();
    mixed.kept = vec![world.cosigned(0).into()];
    assert_eq!(verify_bundle(&mixed.to_bytes(), Some(&trust)).unwrap_err().code, Code::ReceiptBundle);
    let mut both = bundle;
    both.leaves = world.bundle().leaves;
    assert_eq!(verify_bundle(&both.to_bytes(), Some(&trust)).unwrap_err().code, Code::ReceiptBundle);
}

#[test]
fn altered_files_of_a_log_are_found() {
    let mut world = world();
    (3..20).for_each(|job| _ = world.job(job));
    let trust = world.trust();
    let disk = world.disk();
    assert!(verify_files(&disk, Some(&trust)).unwrap().is_valid());
    assert_eq!(verify_files(&disk, None).unwrap_err().code, Code::ReceiptBundle);
    for path in ["tile/0/000.p/21", "tile/entries/000.p/21"] {
        let mut altered = world.disk();
        let at = altered.0[path].len() / 2;
        altered.0.get_mut(path).unwrap()[at] ^= 4;
        let report = verify_files(&altered, Some(&trust)).unwrap();
        assert!(codes(&report).contains(&Code::LogCorrupt), "{path}: {:?}", report.faults);
        altered.0.remove(path);
        let report = verify_files(&altered, Some(&trust)).unwrap();
        assert!(report.faults.iter().any(|f| f.code == Code::LogCorrupt && f.what.contains(path)), "{path}");
    }
    let mut with = world.disk();
    with.0.insert(tiles::TRUST_PATH.into(), trust.to_bytes());
    let report = verify_files(&with, None).unwrap();
    assert!(report.is_valid() && report.trust == TrustSource::FromBundle);
    with.0.remove(tiles::CHECKPOINT_PATH);
    assert_eq!(verify_files(&with, None).unwrap_err().code, Code::LogMalformed);
}

/// With a result, a party that took part must have signed, in the receipt or in a leaf after it. Without one the
/// receipt says who was away, and what that party signed is still missed when it is left out.
#[test]
fn a_late_attestation_completes_its_receipt() {
    let incomplete = |aborted: bool| {
        let mut world = world();
        let mut record = world.record(3);
        if aborted {
            record.status = Status::Aborted { code: Code::JobPeerLost, step: None, seat: None };
            record.result = None;
        }
        let attestations = [world.attest(0, &record), world.attest(1, &record)];
        let absent = vec![Absent { party: world.party(2).id(), code: Code::JobUnreachable }];
        let leaf = world.publish(assemble(record.clone(), &attestations, absent).unwrap().receipt);
        (world, record, leaf)
    };
    let (world, _, leaf) = incomplete(false);
    found(&world, leaf, &[Code::ReceiptAttestationMissing]);
    for aborted in [false, true] {
        let (mut world, record, _) = incomplete(aborted);
        let late = world.attest(2, &record);
        world.append(late.bytes().to_vec());
        let report = world.report();
        assert!(report.is_valid() && report.notices.is_empty(), "{report:#?}");
        assert_eq!(report.valid, 3);
    }

    let (world, ..) = incomplete(true);
    let report = world.report();
    assert!(report.is_valid(), "{:#?}", report.faults);
    assert_eq!((report.notices, report.valid), (vec![Notice::Unattested { count: 1 }], 3));

    // It did sign, and goes on: the number that was left out shows.
    let (mut world, record, _) = incomplete(true);
    world.attest(2, &record);
    let leaf = world.job(4);
    found(&world, leaf, &[Code::ReceiptSequenceGap]);

    // Another party's late word, or one over another record, completes nothing.
    let (mut world, mut record, leaf) = incomplete(false);
    record.ended = record.ended.plus(1);
    let late = world.attest(2, &record);
    world.append(late.bytes().to_vec());
    found(&world, leaf, &[Code::ReceiptAttestationMissing, Code::ReceiptOmitted]);
}
