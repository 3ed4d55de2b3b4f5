//! The bytes of the formats: every altered one shows, sizes are bounded, one value has one form.

mod common;

use common::shop::*;
use common::*;
use tacit_crypto::Statement;
use tacit_receipts::receipt::{ATTESTATION_BYTES_MAX, SIGNING_OVERHEAD_BYTES};
use tacit_receipts::*;
use tacit_types::limits::LEAF_BYTES_MAX;
use tacit_types::*;

/// Whether a verification of altered bytes differs visibly from that of the honest ones.
fn shows(bytes: &[u8], trust: &Trust, honest: &Report) -> bool {
    match verify_bundle(bytes, Some(trust)) {
        Err(_) => true,
        Ok(report) => !report.is_valid() || report.notices != honest.notices,
    }
}

/// Flips bits of every byte, cuts before every byte and appends one. Each byte gets the next of the lists of masks.
fn every_flip_shows_by(bundle: &Bundle, trust: &Trust, masks: &[&[u8]]) {
    let bytes = bundle.to_bytes();
    let honest = verify_bundle(&bytes, Some(trust)).unwrap();
    assert!(honest.is_valid(), "{:?}", honest.faults);
    let mut altered = bytes.clone();
    for i in 0..bytes.len() {
        for mask in masks[i % masks.len()] {
            altered[i] = bytes[i] ^ mask;
            assert!(shows(&altered, trust, &honest), "byte {i} of {} by {mask:#x}", bytes.len());
        }
        altered[i] = bytes[i];
    }
    for cut in 0..bytes.len() {
        assert!(verify_bundle(&bytes[..cut], Some(trust)).is_err(), "cut to {cut}");
    }
    altered.push(0);
    assert!(verify_bundle(&altered, Some(trust)).is_err());
}

fn every_flip_shows(bundle: &Bundle, trust: &Trust) {
    every_flip_shows_by(bundle, trust, &[&[0x01, 0x80]]);
}

/// A log with prices, a charge and its settlement, figures behind commitments, and changed keys of a party, of the coordinator
/// and of the log; beside it a paper.
#[test]
fn every_altered_byte_of_money_figures_papers_and_changed_keys_shows() {
    let (mut shop, plan) = Shop::with(2, |_| {});
    let record = shop.world.record(1);
    let figure = |what: u8| Figure { what, commitment: Hash([what; 32]) };
    let said = Attestation {
        figures: [0, 1, 2, 3].map(figure).to_vec(),
        ..Attestation::agreeing(&record, record.parties[1].role, None)
    };
    let signed = [shop.world.attest(0, &record), shop.world.attest_with(1, &record, said)];
    shop.world.publish(assemble(record.clone(), &signed, Vec::new()).unwrap().receipt);
    shop.follow().unwrap();
    let period = shop.period(2, START);
    let (charge, _) = shop.charge(plan, period);
    shop.settle(&[charge]);
    shop.world.change_key(0, 180, 3_600_000);
    shop.world.change_coordinator(182, 3_600_000);
    let turn = shop.world.rotation(1, 183, 3_600_000);
    shop.world.append(turn);
    let mut bundle = shop.world.bundle();
    let subject = record.subject();
    let paper = Statement::sign(
        &key(77),
        &subject,
        START,
        None,
        Memo { version: 1, origin: ORIGIN.into(), number: 1, tag: Hash([7; 32]), sealed: None },
    );
    bundle.papers = vec![paper.bytes().to_vec().into()];
    // One bit of each byte, of bytes in a row each time another.
    let masks: [&[u8]; 8] = [&[0x01], &[0x80], &[0x20], &[0x02], &[0x40], &[0x08], &[0x10], &[0x04]];
    every_flip_shows_by(&bundle, &shop.world.trust(), &masks);
}

#[test]
fn every_altered_byte_of_a_whole_log_shows() {
    let mut world = World::new(2);
    world.job(1);
    let mut bundle = world.bundle();
    bundle.kept = vec![world.signed_checkpoint(2).to_bytes().into()];
    let record = world.record(1);
    bundle.promises = vec![world.by_coordinator(Promise { usage: record.digest(), deadline: START.plus(1) }).into()];
    // The promise is for a record of another time, hence not kept; it is pending by the witnesses' clock.
    bundle.promises[0] = world.by_coordinator(Promise { usage: record.digest(), deadline: START.plus(1 << 40) }).into();
    every_flip_shows(&bundle, &world.trust());
}

#[test]
fn every_altered_byte_of_a_single_receipt_shows() {
    let mut world = World::new(2);
    world.job(1);
    every_flip_shows(&world.single(&[2]), &world.trust());
}

#[test]
fn every_altered_byte_beside_the_log_shows() {
    let mut world = World::new(2);
    let record = world.record(1);
    let attestations = world.attest_all(&record);
    let mut receipt = assemble(record, &attestations, Vec::new()).unwrap().receipt;
    receipt.attestations = attestations.iter().map(|a| a.id().0.to_vec().into()).collect();
    world.beside = attestations.iter().map(|a| a.bytes().to_vec()).collect();
    world.publish(receipt);
    every_flip_shows(&world.bundle(), &world.trust());
}

#[test]
fn a_receipt_of_a_hundred_and_twenty_eight_parties_is_a_leaf() {
    let mut world = World::new(128);
    let mut record = world.record(1);
    let line = record.lines[1].clone();
    record.lines = (0..128 * 5)
        .map(|i| UsageLine { party: Seat(i % 128), quantity: Quantity::Plain(u64::MAX), ..line.clone() })
        .collect();
    let attestations = world.attest_all(&record);
    let longest = attestations.iter().map(|a| a.bytes().len()).max().unwrap();
    assert!(longest < 560, "an attestation has {longest} bytes");
    let assembled = assemble(record.clone(), &attestations, Vec::new()).unwrap();
    assert_eq!(assembled.beside.len(), 128);
    world.beside = assembled.beside.clone();
    let index = world.publish(assembled.receipt);
    let leaf = &world.leaves[index as usize];
    assert!(leaf.len() < LEAF_BYTES_MAX, "{}", leaf.len());
    let report = world.report();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert!(verify_files(&world.disk(), Some(&world.trust())).unwrap().is_valid());
    // Without the statements beside it the receipt proves nothing.
    world.beside.pop();
    let missing = codes(&world.report());
    assert_eq!(missing, [Code::ReceiptAttestationMissing, Code::ReceiptAttestationInvalid]);

    // One more line at a time until not even the hashes fit: a clear error, and none before.
    let mut lines = record.lines.len();
    let too_large = loop {
        lines += 128;
        record.lines = vec![line.clone(); lines];
        let attestations = world.attest_all(&record);
        match assemble(record.clone(), &attestations, Vec::new()) {
            Ok(assembled) => _ = assembled.receipt.sign(&world.coordinator(), world.now).unwrap(),
            Err(fault) => break fault,
        }
    };
    assert_eq!(too_large.code, Code::ReceiptTooLarge);
}

/// A record whose disclosures have texts of `bytes` in all, each of 30 to 250.
fn wordy(world: &mut World, bytes: usize) -> UsageRecord {
    let mut record = world.record(1);
    let (full, rest) = ((bytes - 100) / 200, (bytes - 100) % 200);
    let lengths = core::iter::repeat_n(200, full).chain([50, 50 + rest]);
    let to = Audience::Party(world.party(0).id());
    record.disclosures = lengths.map(|n| Disclosure { what: "x".repeat(n), to, cardinality: 1 }).collect();
    record
}

#[test]
fn a_receipt_goes_by_hash_one_byte_past_the_inline_limit() {
    let inline = |bytes: usize| {
        let mut world = World::new(2);
        let record = wordy(&mut world, bytes);
        let attestations = world.attest_all(&record);
        let assembled = assemble(record, &attestations, Vec::new()).unwrap();
        (assembled.beside.is_empty(), tacit_crypto::cbor::encode(&assembled.receipt).len())
    };
    let limit = LEAF_BYTES_MAX - SIGNING_OVERHEAD_BYTES;
    // Disclosures cost more than their text: approach the limit from below by what is left.
    let mut bytes = 40_000;
    while inline(bytes).1 < limit {
        bytes += (limit - inline(bytes).1).div_ceil(2);
    }
    assert_eq!(inline(bytes), (true, limit));
    assert!(!inline(bytes + 1).0);
}

#[test]
fn a_leaf_is_signed_up_to_its_limit() {
    let signed = |bytes: usize| {
        let mut world = World::new(1);
        let record = wordy(&mut world, bytes);
        let absent = Vec::new();
        let receipt = JointReceipt { record, attestations: Vec::new(), price_plan: None, charges: None, absent };
        receipt.sign(&world.coordinator(), world.now).map(|leaf| leaf.bytes().len()).map_err(|fault| fault.code)
    };
    let mut bytes = 40_000;
    while let Ok(len) = signed(bytes)
        && len < LEAF_BYTES_MAX
    {
        bytes += (LEAF_BYTES_MAX - len).div_ceil(2);
    }
    assert_eq!(signed(bytes), Ok(LEAF_BYTES_MAX));
    assert_eq!(signed(bytes + 1), Err(Code::ReceiptTooLarge));
}

#[test]
fn an_attestation_is_taken_up_to_its_limit() {
    let mut world = World::new(2);
    let record = world.record(1);
    let other = world.attest(1, &record);
    // A line's number costs 1 byte below 24 and 2 from there: the length is tuned to the byte.
    let attest = |entries: usize, wide: usize| {
        let mut body = Attestation::agreeing(&record, Role::Result, None);
        let own = |i| receipt::OwnQuantity { line: if i < wide { 24 } else { 0 }, commitment: Hash([1; 32]) };
        body.own = (0..entries).map(own).collect();
        body.sign(&world.party(0), &record, world.now, receipt::next_link(None))
    };
    let mut entries = 100;
    while attest(entries + 1, 0).bytes().len() <= ATTESTATION_BYTES_MAX {
        entries += 1;
    }
    let wide = ATTESTATION_BYTES_MAX - attest(entries, 0).bytes().len();
    let (longest, longer) = (attest(entries, wide), attest(entries, wide + 1));
    assert_eq!((longest.bytes().len(), longer.bytes().len()), (ATTESTATION_BYTES_MAX, ATTESTATION_BYTES_MAX + 1));
    assert!(assemble(record.clone(), &[longest, other.clone()], Vec::new()).is_ok());
    assert!(assemble(record.clone(), &[longer, other], Vec::new()).is_err());
}

#[test]
fn the_coordinators_header_fits_the_overhead() {
    let mut world = World::new(3);
    let mut record = world.record(255);
    record.attempt = Attempt(u32::MAX);
    let attestations = world.attest_all(&record);
    let receipt = assemble(record, &attestations, Vec::new()).unwrap().receipt;
    let body = tacit_crypto::cbor::encode(&receipt).len();
    let signed = receipt.sign(&world.coordinator(), UnixMillis(u64::MAX)).unwrap();
    assert!(signed.bytes().len() <= body + SIGNING_OVERHEAD_BYTES, "{}", signed.bytes().len() - body);
}

#[test]
fn assembling_refuses_what_a_verifier_would() {
    let mut world = World::new(3);
    let record = world.record(1);
    let attestations = world.attest_all(&record);
    let code = |record: &UsageRecord, attestations: &[_], absent| {
        assemble(record.clone(), attestations, absent).map(|_| ()).map_err(|f| f.code)
    };
    let absent = |i: usize| vec![Absent { party: world.party(i).id(), code: Code::JobPeerLost }];
    assert_eq!(code(&record, &attestations, vec![]), Ok(()));
    assert_eq!(code(&record, &attestations[..2], absent(2)), Ok(()));
    assert_eq!(code(&record, &attestations[..2], vec![]), Err(Code::ReceiptAttestationMissing));
    assert_eq!(code(&record, &attestations[..2], absent(1)), Err(Code::ReceiptAttestationMissing));
    assert_eq!(code(&record, &attestations, absent(1)), Err(Code::ReceiptAttestationMissing));
    let stranger = vec![Absent { party: key(200).id(), code: Code::JobPeerLost }];
    assert_eq!(code(&record, &attestations, stranger), Err(Code::ReceiptAttestationMissing));
    let doubled = [attestations[0].clone(), attestations[0].clone()];
    assert_eq!(code(&record, &doubled, vec![]), Err(Code::ReceiptAttestationInvalid));
    let mut altered = record.clone();
    altered.lines[1].quantity = Quantity::Plain(0);
    assert_eq!(code(&altered, &attestations, vec![]), Err(Code::ReceiptDigest));
    altered.ended = UnixMillis(0);
    assert_eq!(code(&altered, &attestations, vec![]), Err(Code::ReceiptRecord));
    let mut fewer = record.clone();
    fewer.parties.pop();
    assert_eq!(code(&fewer, &attestations, vec![]), Err(Code::ReceiptDigest));
    // An attestation over its limit.
    let mut body = Attestation::agreeing(&record, Role::Result, None);
    body.own = vec![receipt::OwnQuantity { line: 0, commitment: Hash([1; 32]) }; ATTESTATION_BYTES_MAX / 32];
    let long = body.sign(&world.party(0), &record, world.now, receipt::next_link(None));
    assert_eq!(code(&record, &[long], vec![]), Err(Code::ReceiptAttestationInvalid));
    // Order of the list does not matter: the receipt is in the record's order.
    let mut reversed = attestations.clone();
    reversed.reverse();
    let (a, b) = (assemble(record.clone(), &attestations, vec![]), assemble(record.clone(), &reversed, vec![]));
    assert_eq!(a.unwrap().receipt, b.unwrap().receipt);
    let receipt = assemble(record, &attestations, vec![]).unwrap().receipt;
    assert!(receipt.complete(&attestations.iter().map(|a| a.signer()).collect()));
    assert!(!receipt.complete(&attestations[1..].iter().map(|a| a.signer()).collect()));
}

#[test]
fn the_record_has_the_keys_of_its_grammar_and_a_fixed_digest() {
    let mut world = World::new(2);
    let mut record = world.record(1);
    record.algorithm = Some(Hash([1; 32]));
    let bytes = tacit_crypto::cbor::encode(&record);
    let mut decoder = minicbor::Decoder::new(&bytes);
    let keys = decoder.map().unwrap().unwrap();
    let read: Vec<u64> = (0..keys)
        .map(|_| {
            let key = decoder.u64().unwrap();
            decoder.skip().unwrap();
            key
        })
        .collect();
    assert_eq!(read, (1..=17).collect::<Vec<u64>>());
    assert_eq!(tacit_crypto::cbor::decode::<UsageRecord>(&bytes).unwrap(), record);
    assert_eq!(record.digest(), tacit_crypto::sha256(&bytes));
    // The digest of this record is part of the format: a change to it breaks every signed receipt. Version 2 can have
    // convictions and audiences without a key; one that has neither differs in its version alone.
    assert_eq!(record.digest().to_string(), "2c143a173500e42b3e570d28489bae4104cb01f6f7e2267160161f6f16f25d19");
    let first = UsageRecord { version: record::RECORD_VERSION_FIRST, ..record.clone() };
    assert_eq!(first.digest().to_string(), "d5982828fb55a1c61a5f88b52dca1c038dcb7c4e748c552fd1890a53a861a10a");
    let evidence = Hash([9; 32]);
    record.convictions = vec![Conviction { seat: Seat(1), offence: "equivocation".into(), evidence }];
    record.disclosures[0].to = Audience::Seats;
    let tail = tacit_crypto::cbor::encode(&record.convictions);
    let expected = [&[0x81, 0xa3, 0x01, 0x01, 0x02, 0x6c][..], b"equivocation", &[0x03, 0x58, 0x20], &[9; 32]].concat();
    assert_eq!(tail, expected);
    assert!(tacit_crypto::cbor::encode(&record).ends_with(&[&[0x12][..], &expected].concat()), "field 18 is the last");
    assert_eq!(tacit_crypto::cbor::encode(&Audience::Seats), [0]);
    assert!(tacit_crypto::cbor::decode::<Audience>(&[1]).is_err());
    let committed = tacit_crypto::cbor::encode(&Quantity::Committed(Hash([1; 32])));
    assert_eq!((committed[0], committed[1], committed.len()), (0x58, 32, 34));
    assert_eq!(tacit_crypto::cbor::encode(&Quantity::Plain(5)), [5]);
    assert!(tacit_crypto::cbor::decode::<Quantity>(&[0x20]).is_err());
    let buckets = [0, 1, 2, 3, 4, 5, 1000, u64::MAX].map(record::cardinality_bucket);
    assert_eq!(buckets, [0, 1, 2, 4, 4, 8, 1024, u64::MAX]);
}

#[test]
fn records_hold_as_much_as_their_limits_and_no_more() {
    let mut world = World::new(2);
    let record = world.record(1);
    let with = |change: &dyn Fn(&mut UsageRecord)| {
        let mut changed = record.clone();
        change(&mut changed);
        changed.check().map_err(|fault| fault.code)
    };
    let refused = Err(Code::ReceiptRecord);
    let party = |i: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&i.to_le_bytes());
        PartyEntry { party: NodeId(key), ..record.parties[1].clone() }
    };
    let parties = |n: usize| with(&|r| r.parties = (0..n).map(party).collect());
    assert_eq!((parties(limits::SEATS_MAX), parties(limits::SEATS_MAX + 1)), (Ok(()), refused));
    assert_eq!(parties(0), refused);
    let lines = |n: usize| with(&|r| r.lines = vec![record.lines[1].clone(); n]);
    assert_eq!((lines(record::LINES_MAX), lines(record::LINES_MAX + 1)), (Ok(()), refused));
    let (at, past) = (record::LIST_MAX, record::LIST_MAX + 1);
    let lists: [fn(&mut UsageRecord, usize); 4] = [
        |r, n| r.contracts = vec![r.contracts[0]; n],
        |r, n| r.privacy = vec![r.privacy[0].clone(); n],
        |r, n| r.transcripts = vec![Hash([1; 32]); n],
        |r, n| r.disclosures = vec![r.disclosures[0].clone(); n],
    ];
    for list in lists {
        assert_eq!((with(&|r| list(r, at)), with(&|r| list(r, past))), (Ok(()), refused));
    }
    let text = |n: usize| with(&|r| r.disclosures[0].what = "x".repeat(n));
    let longest = record::DISCLOSURE_TEXT_BYTES_MAX;
    assert_eq!((text(longest), text(longest + 1)), (Ok(()), refused));
    assert_eq!(with(&|r| r.ended = r.started), Ok(()));
    let named = |seat| Status::Aborted { code: Code::JobPeerLost, step: None, seat: Some(Seat(seat)) };
    assert_eq!((with(&|r| r.status = named(1)), with(&|r| r.status = named(2))), (Ok(()), refused));
}

#[test]
fn trust_files_are_checked() {
    let world = World::new(2);
    let good = world.trust();
    assert_eq!(Trust::parse(&good.to_bytes()).unwrap(), good);
    let tamper: [fn(&mut Trust); 8] = [
        |t| t.version = 2,
        |t| t.origin = "a b".into(),
        |t| t.log_key = t.witnesses[0].clone(),
        |t| t.witnesses[0] = t.log_key.clone(),
        |t| t.witnesses[0] = t.witnesses[1].clone(),
        |t| t.quorum = 4,
        |t| t.parties.push(t.parties[0].clone()),
        |t| t.parties[0].until = Some(0),
    ];
    for (i, tamper) in tamper.into_iter().enumerate() {
        let mut bad = good.clone();
        tamper(&mut bad);
        assert_eq!(Trust::parse(&bad.to_bytes()).unwrap_err().code, Code::ReceiptBundle, "{i}");
    }
    let many = |n: usize| {
        let party = |i: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&i.to_le_bytes());
            PartyKey { name: name(i), key: NodeId(key), from: 0, until: None }
        };
        Trust { parties: (0..n).map(party).collect(), ..good.clone() }
    };
    assert!(Trust::parse(&many(bundle::TRUST_PARTIES_MAX).to_bytes()).is_ok());
    assert!(Trust::parse(&many(bundle::TRUST_PARTIES_MAX + 1).to_bytes()).is_err());
    assert!(Trust::parse(&vec![0; bundle::TRUST_BYTES_MAX + 1]).is_err());
    let world_bundle = Bundle { trust: None, ..world.bundle() };
    assert_eq!(verify_bundle(&world_bundle.to_bytes(), None).unwrap_err().code, Code::ReceiptBundle);
    assert!(verify_bundle(&[], Some(&good)).is_err());
    let long = vec![0; bundle::BUNDLE_BYTES_MAX + 1];
    assert!(verify_bundle(&long, Some(&good)).unwrap_err().what.contains("are allowed"));
    assert!(!verify_bundle(&long[1..], Some(&good)).unwrap_err().what.contains("are allowed"));
}
