//! What records and attestations say of links.

use super::*;

/// Receipts whose links are attested as they stand, or otherwise.
pub fn of_receipts(cases: &mut Cases) {
    // What parties attest of their links is what the record has of them.
    let root = |seat: u16| Hash([seat as u8 + 1; 32]);
    let linked = |r: &mut UsageRecord, seats: &[u16]| {
        let links = |seat: &u16| PartyLinks { seat: Seat(*seat), root: root(*seat), differing: vec![], unsealed: 0 };
        (r.version, r.links) = (record::RECORD_VERSION_LINKED, seats.iter().map(links).collect());
    };
    let attested = |w: &mut World, r: &UsageRecord, seats: &[u16]| {
        let said = |w: &mut World, seat: u16| {
            let role = r.parties[usize::from(seat)].role;
            let transcript = seats.contains(&seat).then(|| root(seat));
            let body = Attestation { transcript, ..Attestation::agreeing(r, role, Some(w.seen())) };
            w.attest_with(usize::from(seat), r, body)
        };
        [0, 1, 2].map(|seat| said(w, seat))
    };
    let all: [(&str, &[u16], &[u16]); 5] = [
        ("links of all", &[0, 1, 2], &[0, 1, 2]),
        ("links of some", &[0, 2], &[0, 2]),
        ("links that a party does not attest", &[0, 1, 2], &[0, 2]),
        ("links that the record leaves out", &[0, 2], &[0, 1, 2]),
        ("links of which the record has none", &[], &[1]),
    ];
    for (name, in_record, in_attestations) in all {
        cases.receipt(name, |w, mut r| {
            if !in_record.is_empty() {
                linked(&mut r, in_record);
            }
            let signed = attested(w, &r, in_attestations);
            w.publish(receipt(r, &signed))
        });
    }
    cases.receipt("ends of links that signed different things", |w, mut r| {
        linked(&mut r, &[0, 1, 2]);
        (r.links[0].differing, r.links[2].differing) = (vec![Seat(1), Seat(2)], vec![Seat(0)]);
        r.links[1].unsealed = 1;
        let signed = attested(w, &r, &[0, 1, 2]);
        w.publish(receipt(r, &signed))
    });
}

/// Records whose links contradict themselves.
pub fn of_records(cases: &mut Cases) {
    fn linked(r: &mut UsageRecord, seat: u16, differing: &[u16], unsealed: u16) {
        r.version = record::RECORD_VERSION_LINKED;
        let differing = differing.iter().map(|seat| Seat(*seat)).collect();
        r.links.push(PartyLinks { seat: Seat(seat), root: Hash([9; 32]), differing, unsealed });
    }
    let altered: [(&'static str, Alter); 9] = [
        ("links of a version that has none", |r| {
            linked(r, 0, &[], 0);
            r.version = record::RECORD_VERSION;
        }),
        ("no links in their version", |r| r.version = record::RECORD_VERSION_LINKED),
        ("links out of order", |r| [1, 0].iter().for_each(|seat| linked(r, *seat, &[], 0))),
        ("links twice", |r| [1, 1].iter().for_each(|seat| linked(r, *seat, &[], 0))),
        ("links of nobody", |r| linked(r, 3, &[], 0)),
        ("links with itself", |r| linked(r, 1, &[1], 0)),
        ("other ends out of order", |r| linked(r, 1, &[2, 0], 0)),
        ("other ends that are nobody", |r| linked(r, 1, &[3], 0)),
        ("more links than parties", |r| linked(r, 1, &[0], 2)),
    ];
    for (name, alter) in altered {
        cases.receipt(name, |w, mut r| {
            alter(&mut r);
            let signed = w.attest_all(&r);
            w.publish(receipt(r, &signed))
        });
    }
}
