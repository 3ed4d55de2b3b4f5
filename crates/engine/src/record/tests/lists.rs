//! Records of jobs that bring lists of keys together.

use super::*;

/// A job that counts the keys in common of the three.
fn listed() -> Statement<JobSpec> {
    let mut spec = job().body().clone();
    let own = |provider: &ProviderRef| OwnerKey { owner: provider.owner, columns: vec!["id".into()] };
    let mut owners: Vec<OwnerKey> = spec.providers.iter().map(own).collect();
    owners.sort_by_key(|own| own.owner);
    let params = AlignParams {
        level: AlignLevel::Count,
        mode: AlignMode::DoubleMask,
        learner: Some(key(1).id()),
        key: vec![KeyPart { name: "id".into(), steps: Vec::new() }],
        owners,
        keys_min: 5,
        size: None,
        keep_days: 0,
        count_min: None,
        group: None,
    };
    (spec.kind, spec.params) = ("match-count/v1".into(), cbor::encode(&params));
    Statement::sign(&key(90), "job", NOW, None, spec)
}

/// Of lists of keys each party gives its own number, which all know: each checks every party's line against it, and that two
/// report different numbers is no dispute.
#[test]
fn each_party_has_a_line_of_what_it_gave() {
    let job = listed();
    let give = |n: u8| Given { cells: 40 + u64::from(n), bytes: 32 * (40 + u64::from(n)) };
    let said = |n: u8| {
        let Finished::Ok { package, survivors, cells_out, cells_suppressed, .. } =
            finished((n == 1).then(|| vec![1, 2, 3]))
        else {
            unreachable!("it ends well")
        };
        let (Given { cells, bytes }, opened) = (give(n), Vec::new());
        Finished::Ok { package, survivors, cells_in: cells, payload_bytes: bytes, cells_out, cells_suppressed, opened }
    };
    let record = record_of(&job, &said);
    let number = |party: Seat| (1..=3).find(|n| record.parties[party.index()].party == key(n + 100).id()).unwrap();
    let each: Vec<Given> = (0..3).map(|seat| give(number(Seat(seat)))).collect();
    for line in &record.lines {
        let given = each[line.party.index()];
        match line.unit {
            Unit::CellIn => assert_eq!(line.quantity, Quantity::Plain(given.cells)),
            Unit::PayloadByte => assert_eq!(line.quantity, Quantity::Plain(given.bytes)),
            _ => {}
        }
    }
    assert!(!record.lines.iter().any(UsageLine::is_disputed));
    let verdict = |record: &UsageRecord, each: &[Given]| verdict_each((2, each), &job, record, &said(2)).is_ok();
    assert!(verdict(&record, &each));
    assert!(!verdict(&record, &[]), "who knows of one number attests no others");
    let inputs = |line: &UsageLine| matches!(line.unit, Unit::CellIn | Unit::PayloadByte);
    let places: Vec<usize> = (0..record.lines.len()).filter(|i| inputs(&record.lines[*i])).collect();
    assert_eq!(places.len(), 6);
    for place in places {
        let mut other = record.clone();
        let Quantity::Plain(quantity) = &mut other.lines[place].quantity else { panic!("a number") };
        *quantity += 1;
        assert!(!verdict(&other, &each), "line {place}");
        // Nor may anybody be said to have counted another's list otherwise.
        let mut disputed = record.clone();
        let line = &mut disputed.lines[place];
        let seat = Seat(u16::from(line.party == Seat(0)));
        line.differing = vec![Sighting { seat, quantity: 1 }];
        disputed.version = RECORD_VERSION_DISPUTED;
        assert!(!verdict(&disputed, &each), "line {place}");
    }
    // Of what an alignment releases no other number stands beside the one that its contracts let a receipt show, nor, where all
    // are metered by the sum, of the lists.
    let alike = |n: u8| match said(n) {
        Finished::Ok { package, survivors, cells_out, cells_suppressed, opened, .. } => {
            let (cells_in, payload_bytes) = (120, 3840);
            Finished::Ok { package, survivors, cells_in, payload_bytes, cells_out, cells_suppressed, opened }
        }
        failed => failed,
    };
    let odd = |n: u8| match alike(n) {
        Finished::Ok { package, survivors, cells_in, payload_bytes, opened, .. } if n == 3 => {
            let (cells_out, cells_suppressed) = (173, 9);
            Finished::Ok { package, survivors, cells_in, payload_bytes, cells_out, cells_suppressed, opened }
        }
        finished => finished,
    };
    let record = record_of(&job, &odd);
    assert!(!record.lines.iter().any(UsageLine::is_disputed));
    let record = record_of(&job, &alike);
    assert!(verdict_each((2, &[]), &job, &record, &alike(2)).is_ok());
    for place in 0..record.lines.len() {
        let mut disputed = record.clone();
        let line = &mut disputed.lines[place];
        line.differing = vec![Sighting { seat: Seat(u16::from(line.party == Seat(0))), quantity: 173 }];
        disputed.version = RECORD_VERSION_DISPUTED;
        assert!(verdict_each((2, &[]), &job, &disputed, &alike(2)).is_err(), "line {place}");
        // Nor is this party's own number a sighting of what is another's.
        let own = record.parties.iter().position(|p| p.party == key(102).id()).unwrap();
        let line = &mut disputed.lines[place];
        let Quantity::Plain(said) = line.quantity else { panic!("a number") };
        (line.quantity, line.differing) =
            (Quantity::Plain(173), vec![Sighting { seat: Seat(own as u16), quantity: said }]);
        assert!(verdict_each((2, &[]), &job, &disputed, &alike(2)).is_err(), "line {place}");
    }
}
