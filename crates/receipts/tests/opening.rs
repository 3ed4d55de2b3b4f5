//! Figures behind a commitment: what opens them, and what does not.

mod common;

use common::*;
use tacit_crypto::{Rng, SealKey, SealPublic, Secret, cbor};
use tacit_receipts::opening::{
    CPU_MILLIS, Committed, DATASET_ROWS, FIGURES_MAX, Figure, MEMORY_BYTES, Opening, ROWS_SCANNED,
    SEALED_OPENING_BYTES_MAX, SealedOpening, class_of, committed, find, in_order, unit_of, word,
};
use tacit_receipts::*;
use tacit_types::*;

fn rng(seed: u8) -> Rng {
    Rng::from_seed(&Secret::new([seed; 32]))
}

/// A log of two receipts, in each of which the second party commits to its rows.
struct Shelf {
    world: World,
    openings: Vec<Opening>,
}

fn shelf() -> Shelf {
    let (mut world, mut openings) = (World::new(3), Vec::new());
    for job in [1, 2] {
        let record = world.record(job);
        let opening = Opening::new(
            &mut rng(job),
            (record.job, record.attempt),
            world.party(1).id(),
            DATASET_ROWS,
            1000 + u64::from(job),
        );
        let role = record.parties[1].role;
        let said = Attestation { figures: vec![opening.figure()], ..Attestation::agreeing(&record, role, None) };
        let all = vec![world.attest(0, &record), world.attest_with(1, &record, said), world.attest(2, &record)];
        world.publish(assemble(record, &all, Vec::new()).unwrap().receipt);
        openings.push(opening);
    }
    Shelf { world, openings }
}

fn code<T>(found: Result<T, Fault>) -> Option<Code> {
    found.err().map(|fault| fault.code)
}

#[test]
fn the_reader_opens_the_figure_in_the_log_and_nobody_else_does() {
    let shelf = shelf();
    let (bundle, trust) = (shelf.world.bundle().to_bytes(), shelf.world.trust());
    let report = verify_bundle(&bundle, Some(&trust)).unwrap();
    assert_eq!((report.faults.as_slice(), report.valid), (&[][..], 2));
    let (regulator, other) = (SealKey::generate(&mut rng(8)), SealKey::generate(&mut rng(9)));
    for (opening, leaf) in shelf.openings.iter().zip(2..) {
        let sealed = opening.seal(&mut rng(7), &regulator.public()).unwrap();
        let file = SealedOpening::parse(&sealed).unwrap();
        assert_eq!((file.commitment, file.to), (opening.commitment(), regulator.public()));
        let opened = file.open(&regulator).unwrap();
        assert_eq!(opened.value(), opening.value());
        assert_eq!(find(&opened, &bundle, Some(&trust)).unwrap().leaf, leaf);
        assert_eq!(code(file.open(&other)), Some(Code::ReceiptOpening));
        // Sealed to somebody else under the reader's name.
        let mut renamed = sealed.clone();
        let at = sealed.windows(32).position(|part| part == regulator.public().0).unwrap();
        renamed[at..at + 32].copy_from_slice(&other.public().0);
        let lie = SealedOpening::parse(&renamed).unwrap();
        assert_eq!(lie.to, other.public());
        assert_eq!(code(lie.open(&other)), Some(Code::ReceiptOpening));
        // A receipt alone is enough.
        let single = shelf.world.single(&[leaf]).to_bytes();
        assert_eq!(find(&opened, &single, Some(&trust)).unwrap().leaf, leaf);
    }
    assert_eq!(code(shelf.openings[0].seal(&mut rng(7), &SealPublic([0; 32]))), Some(Code::ReceiptOpening));
}

#[test]
fn an_opening_of_another_value_leaf_party_or_salt_opens_nothing() {
    let shelf = shelf();
    let (bundle, trust) = (shelf.world.bundle().to_bytes(), shelf.world.trust());
    let [one, two] = [&shelf.openings[0], &shelf.openings[1]];
    let found = |opening: &Opening| code(find(opening, &bundle, Some(&trust)));
    assert_eq!((found(one), found(two)), (None, None));
    // Each field of the bytes changed in turn, the salt among them.
    let bytes = one.to_bytes();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.to_vec();
            altered[at] ^= 1 << bit;
            if let Ok(opening) = Opening::parse(&altered) {
                let found = found(&opening);
                assert!(matches!(found, Some(Code::ReceiptOpening | Code::ReceiptUnknown)), "{at}: {found:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 8 * 96, "{refused}");
    // That of the other receipt, said to be of this one.
    let moved = Opening::new(&mut rng(2), (one.job, one.attempt), one.party, DATASET_ROWS, two.value());
    assert_eq!(found(&moved), Some(Code::ReceiptOpening));
    let unknown = Opening::new(&mut rng(1), (JobId([99; 32]), Attempt(1)), one.party, DATASET_ROWS, one.value());
    assert_eq!(found(&unknown), Some(Code::ReceiptUnknown));
    let stranger = Opening::new(&mut rng(1), (one.job, one.attempt), key(77).id(), DATASET_ROWS, one.value());
    assert_eq!(found(&stranger), Some(Code::ReceiptUnknown));
    let silent = Opening::new(&mut rng(1), (one.job, one.attempt), shelf.world.party(2).id(), DATASET_ROWS, 7);
    assert_eq!(found(&silent), Some(Code::ReceiptOpening));
    // Keys that are not those of the reader's trust file.
    assert!(find(one, &bundle, Some(&World::new(2).trust())).is_err());
}

/// Who knows every number that it could be, and not the salt, finds nothing: the same number has another commitment.
#[test]
fn a_commitment_tells_nothing_of_a_number_that_could_be_guessed() {
    let of = |seed: u8, value: u64| {
        Opening::new(&mut rng(seed), (JobId([1; 32]), Attempt(1)), NodeId([2; 32]), DATASET_ROWS, value).commitment()
    };
    assert_ne!(of(1, 5), of(2, 5));
    assert_ne!(of(1, 5), of(1, 6));
    assert_eq!(of(1, 5), of(1, 5));
}

#[test]
fn every_altered_byte_of_a_sealed_opening_is_refused() {
    let shelf = shelf();
    let regulator = SealKey::generate(&mut rng(8));
    let sealed = shelf.openings[0].seal(&mut rng(7), &regulator.public()).unwrap();
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        let found = SealedOpening::parse(&altered).and_then(|file| file.open(&regulator));
        assert_eq!(code(found), Some(Code::ReceiptOpening), "byte {at}");
        assert_eq!(code(SealedOpening::parse(&sealed[..at])), Some(Code::ReceiptOpening));
    }
    let long = vec![0; SEALED_OPENING_BYTES_MAX + 1];
    assert!(SealedOpening::parse(&long).unwrap_err().what.contains("at most"));
    // The value is nowhere in the file.
    let plain = shelf.openings[0].to_bytes();
    assert!(!sealed.windows(32).any(|part| plain.windows(32).any(|secret| secret == part)));
}

#[test]
fn figures_are_few_and_in_order_and_their_absence_changes_no_byte() {
    let figure = |what: u8| Figure { what, commitment: Hash([what; 32]) };
    let all: Vec<Figure> = (0..FIGURES_MAX as u8).map(figure).collect();
    assert!(in_order(&all) && in_order(&[]));
    assert!(!in_order(&(0..=FIGURES_MAX as u8).map(figure).collect::<Vec<_>>()));
    assert!(!in_order(&[figure(1), figure(0)]) && !in_order(&[figure(1), figure(1)]));
    let mut world = World::new(3);
    let record = world.record(1);
    let said = Attestation::agreeing(&record, record.parties[0].role, None);
    assert!(!cbor::keys(&cbor::encode(&said)).contains(&8));
    // A receipt with figures out of order is none.
    let said = Attestation { figures: vec![figure(1), figure(0)], ..said };
    let wrong = world.attest_with(0, &record, said);
    let all = vec![wrong, world.attest(1, &record), world.attest(2, &record)];
    assert_eq!(assemble(record, &all, Vec::new()).unwrap_err().code, Code::ReceiptAttestationInvalid);
}

/// Once the opening is forgotten the receipt is what it was.
#[test]
fn a_receipt_is_valid_without_what_opens_it() {
    let Shelf { world, openings } = shelf();
    drop(openings);
    assert!(verify_bundle(&world.bundle().to_bytes(), Some(&world.trust())).unwrap().is_valid());
}

/// What a party says of itself is of class C, and of nothing else does a figure tell a use.
#[test]
fn counts_of_ones_own_are_of_class_c() {
    let units = [(ROWS_SCANNED, Unit::RowScanned), (CPU_MILLIS, Unit::CpuMilli), (MEMORY_BYTES, Unit::MemoryByte)];
    for (what, unit) in units {
        assert_eq!((unit_of(what), class_of(what)), (Some(unit), Some(unit::Class::C)));
        assert_ne!(word(what), word(u8::MAX));
    }
    for what in [DATASET_ROWS, MEMORY_BYTES + 1, u8::MAX] {
        assert_eq!((unit_of(what), class_of(what)), (None, None));
    }
}

/// The figures of a receipt are those of the attestations that hold, under the names that the record has; in a table of usage
/// each count is a commitment without a quantity.
#[test]
fn a_receipt_shows_what_is_committed_to_and_nothing_of_it() {
    use money::export::{Cell, Context, Table, rows};
    let mut world = World::new(3);
    let record = world.record(1);
    let own = |seat: usize, values: &[(u8, u64)]| -> Vec<Opening> {
        let attempt = (record.job, record.attempt);
        let opening = |(what, value): &(u8, u64)| {
            Opening::new(&mut rng(seat as u8), attempt, world.party(seat).id(), *what, *value)
        };
        values.iter().map(opening).collect()
    };
    let all = [
        own(0, &[(CPU_MILLIS, 5)]),
        own(1, &[(DATASET_ROWS, 9), (ROWS_SCANNED, 9), (CPU_MILLIS, 1), (MEMORY_BYTES, 0)]),
        own(2, &[]),
    ];
    let said = |seat: usize| Attestation {
        figures: all[seat].iter().map(Opening::figure).collect(),
        ..Attestation::agreeing(&record, record.parties[seat].role, None)
    };
    let signed: Vec<_> = (0..3).map(|seat| world.attest_with(seat, &record, said(seat))).collect();
    let mut receipt = assemble(record.clone(), &signed, Vec::new()).unwrap().receipt;
    let expected: Vec<Committed> = all
        .iter()
        .enumerate()
        .flat_map(|(seat, all)| all.iter().map(move |o| (seat, o.figure())))
        .map(|(seat, figure)| Committed { party: world.party(seat).id(), figure })
        .collect();
    let found = |receipt: &JointReceipt| committed(receipt, &|_| None, &|key| *key);
    assert_eq!(found(&receipt), expected);
    // By hash, they are those of the statements beside it.
    let inline = core::mem::take(&mut receipt.attestations);
    receipt.attestations = inline.iter().map(|bytes| tacit_crypto::sha256(bytes).0.to_vec().into()).collect();
    assert_eq!(found(&receipt), []);
    let beside = |id: &StatementId| inline.iter().find(|b| tacit_crypto::sha256(b).0 == id.0).map(|b| b.to_vec());
    assert_eq!(committed(&receipt, &beside, &|key| *key), expected);
    receipt.attestations = inline;

    world.publish(receipt);
    let name = |key: &NodeId| record.party(key).map(|entry| entry.name.to_string());
    let context = Context { origin: ORIGIN, name: &name, plan: &|_| None };
    let index = world.leaves.len() as u64 - 1;
    let all = rows(Table::Usage, index, &world.leaves[index as usize], &context).unwrap();
    let cell = |row: &money::export::Row, name: &str| row.cells.iter().find(|(n, _)| *n == name).unwrap().1.clone();
    let text = |text: &str| Cell::Text(text.to_owned());
    let (lines, own) = all.split_at(record.lines.len());
    assert_eq!(lines.len(), record.lines.len());
    let units: Vec<Cell> = own.iter().map(|row| cell(row, "Unit")).collect();
    assert_eq!(units, ["cpu_ms", "row_scanned", "cpu_ms", "memory_byte"].map(text));
    for row in own {
        assert_eq!((cell(row, "Class"), cell(row, "Quantity")), (text("C"), Cell::Null));
        let Cell::Text(hash) = cell(row, "Commitment") else { panic!("{row:?}") };
        assert!(expected.iter().any(|found| found.figure.commitment.to_string() == hash));
    }
}
