//! Convictions in a record: bounded, in order, and absent from the first version.

mod common;

use common::World;
use tacit_crypto::cbor;
use tacit_receipts::record::{CONVICTIONS_MAX, OFFENCE_BYTES_MAX, RECORD_VERSION, RECORD_VERSION_FIRST};
use tacit_receipts::{Audience, Conviction, UsageRecord};
use tacit_types::{Code, Hash, Seat};

fn conviction(seat: u16, offence: &str) -> Conviction {
    Conviction { seat: Seat(seat), offence: offence.into(), evidence: Hash([seat as u8; 32]) }
}

fn with(convictions: Vec<Conviction>) -> UsageRecord {
    UsageRecord { convictions, ..World::new(3).record(1) }
}

#[test]
fn a_record_has_convictions_in_order_and_within_limits() {
    let code = |record: &UsageRecord| record.check().map_err(|fault| fault.code);
    let good = with(vec![conviction(1, "bad_opening"), conviction(1, "equivocation"), conviction(2, "bad_opening")]);
    assert_eq!(code(&good), Ok(()));
    assert_eq!(cbor::decode::<UsageRecord>(&cbor::encode(&good)).unwrap(), good);
    let words: Vec<String> = (0..=CONVICTIONS_MAX).map(|i| format!("a{}", "b".repeat(i))).collect();
    let many = |n: usize| with(words[..n].iter().map(|word| conviction(0, word)).collect());
    assert_eq!(code(&many(CONVICTIONS_MAX)), Ok(()));
    let long = |n: usize| with(vec![conviction(0, &"a".repeat(n))]);
    assert_eq!(code(&long(OFFENCE_BYTES_MAX)), Ok(()));
    let bad = [
        many(CONVICTIONS_MAX + 1),
        long(OFFENCE_BYTES_MAX + 1),
        long(0),
        with(vec![conviction(0, "Bad")]),
        with(vec![conviction(3, "bad_opening")]),
        with(vec![conviction(2, "a"), conviction(1, "a")]),
        with(vec![conviction(1, "a"), conviction(1, "a")]),
    ];
    for (i, record) in bad.iter().enumerate() {
        assert_eq!(code(record), Err(Code::ReceiptRecord), "{i}");
    }
}

/// Logs hold records of the first version, whose bytes must stay what they are.
#[test]
fn a_record_of_the_first_version_reads_as_before() {
    let first = UsageRecord { version: RECORD_VERSION_FIRST, ..with(Vec::new()) };
    assert!(first.check().is_ok());
    let bytes = cbor::encode(&first);
    // The 17 fields of then without the algorithm.
    assert_eq!(bytes[0], 0xb0, "16 fields");
    assert_eq!(cbor::decode::<UsageRecord>(&bytes).unwrap(), first);
    let convicting = UsageRecord { version: RECORD_VERSION_FIRST, ..with(vec![conviction(1, "a")]) };
    assert!(convicting.check().is_err(), "the first version has no convictions");
    let mut to_all = first.clone();
    to_all.disclosures[0].to = Audience::Seats;
    assert!(to_all.check().is_err(), "nor an audience without a key");
    let second = UsageRecord { version: RECORD_VERSION, ..to_all };
    assert!(second.check().is_ok());
    assert_eq!(cbor::decode::<UsageRecord>(&cbor::encode(&second)).unwrap(), second);
    assert!(UsageRecord { version: 3, ..first }.check().is_err());
}
