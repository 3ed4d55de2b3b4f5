//! A record has of each party's links what that party reported, and a party attests no other.

use tacit_receipts::PartyLinks;
use tacit_receipts::record::LINKED_PARTIES_MAX;

use super::*;

fn links(n: u8) -> Linked {
    Linked { root: Hash([n; 32]), differing: Vec::new(), unsealed: 0 }
}

/// The record of three parties that have reported these, by their numbers.
fn reported(job: &Statement<JobSpec>, status: Status, of: &dyn Fn(u8) -> Option<Linked>) -> UsageRecord {
    let part = |n: u8| Part {
        name: Name::new(&format!("p{n}")).unwrap(),
        node: key(n + 100).id(),
        root: key(n).id(),
        standing: Standing::TookPart,
        finished: Some(finished((n == 1).then(|| vec![1, 2, 3]))),
        links: of(n),
    };
    let (attempt, span, parties) = (Attempt(1), (NOW, NOW.plus(5)), [1, 2, 3].map(part).into());
    assemble(Ended { job, origin: "log.example", attempt, status, parties, span, evidence: &[] })
}

#[test]
fn a_party_attests_its_own_links_and_no_others() {
    let job = job();
    let good = reported(&job, Status::Ok, &|n| Some(links(n)));
    assert_eq!((good.version, good.links.len(), good.check()), (RECORD_VERSION_LINKED, 3, Ok(())));
    let says = |record: &UsageRecord, own: Option<Linked>| {
        let said = verdict_linked((2, &[], own.as_ref()), &job, record, &finished(None));
        said.map_err(|fault| fault.code)
    };
    let wrong = Err(Code::ReceiptRecord);
    let seat = good.parties.iter().position(|p| p.party == key(102).id()).unwrap();
    let own = Some(links(2));
    assert_eq!(says(&good, own.clone()), Ok(()));
    assert_eq!(attested_root(&good, &key(102).id(), own.as_ref()), Some(Hash([2; 32])));
    type Change = fn(&mut PartyLinks);
    let changes: [(&str, Change); 3] = [
        ("another root", |links| links.root = Hash([9; 32])),
        ("an end that differs", |links| links.differing = vec![Seat(u16::from(links.seat.0 == 0))]),
        ("one that is not sealed", |links| links.unsealed = 1),
    ];
    for (what, change) in changes {
        let mut record = good.clone();
        change(&mut record.links[seat]);
        assert_eq!(record.check(), Ok(()), "{what}");
        assert_eq!(says(&record, own.clone()), wrong, "{what}");
        // What the record has of another, that one signs.
        let mut record = good.clone();
        change(&mut record.links[(seat + 1) % 3]);
        assert_eq!(says(&record, own.clone()), Ok(()), "{what}, of another");
    }
    let mut without = good.clone();
    without.links.remove(seat);
    assert_eq!(says(&without, own.clone()), wrong, "its links are left out");
    (without.version, without.links) = (RECORD_VERSION, Vec::new());
    assert_eq!(says(&without, own.clone()), wrong, "everyone's are");
    assert_eq!(says(&good, None), wrong, "links that it never had");
    assert_eq!(says(&reported(&job, Status::Ok, &|_| None), None), Ok(()));
    // One that was killed after its vote has none, and the others' stand.
    let two = reported(&job, Status::Ok, &|n| (n != 2).then(|| links(n)));
    assert_eq!((says(&two, None), two.links.len()), (Ok(()), 2));
    assert_eq!(attested_root(&two, &key(102).id(), None), None);
}

#[test]
fn of_an_attempt_without_a_result_a_report_may_come_after_the_record() {
    let aborted = Status::Aborted { code: Code::JobPeerLost, step: None, seat: None };
    let (job, node) = (job(), key(102).id());
    let none = reported(&job, aborted.clone(), &|_| None);
    let (some, two) = (links(2), reported(&job, aborted, &|n| (n != 2).then(|| links(n))));
    let own = |record: &UsageRecord, links: Option<&Linked>| -> Result<(), Code> {
        let ours = Own { links, ..own_of(&job) };
        super::super::links::check(record, &ours).map_err(|fault| fault.code)
    };
    assert_eq!((own(&none, Some(&some)), own(&two, Some(&some))), (Ok(()), Ok(())));
    // Its word stands in its attestation where the record has links of nobody, and nowhere where it has others'.
    assert_eq!(attested_root(&none, &node, Some(&some)), Some(some.root));
    assert_eq!(attested_root(&two, &node, Some(&some)), None);
    let mut altered = two.clone();
    altered.links[0].seat = Seat(altered.parties.iter().position(|p| p.party == node).unwrap() as u16);
    assert_eq!(own(&altered, Some(&some)), Err(Code::ReceiptRecord));
}

#[test]
fn a_report_of_links_that_no_record_can_have_stands_in_none() {
    let may = |links: &Linked, parties| may_be_links(links, parties);
    let with = |differing: &[u16], unsealed| Linked {
        differing: differing.iter().map(|seat| Seat(*seat)).collect(),
        unsealed,
        ..links(1)
    };
    assert!(may(&links(1), LINKED_PARTIES_MAX) && !may(&links(1), LINKED_PARTIES_MAX + 1));
    assert!(may(&with(&[0, 2], 0), 3) && !may(&with(&[2, 0], 0), 3) && !may(&with(&[2, 2], 0), 3));
    assert!(!may(&with(&[3], 0), 3), "a seat that there is not");
    assert!(may(&with(&[1], 1), 3) && !may(&with(&[1], 2), 3), "more links than there are");
    // Of itself: the record has none of it.
    let job = job();
    let record = reported(&job, Status::Ok, &|n| {
        let seat = [1, 2, 3].iter().filter(|other| key(**other + 100).id() < key(n + 100).id()).count() as u16;
        Some(with(if n == 1 { &[0, 1, 2][usize::from(seat)..=usize::from(seat)] } else { &[] }, 0))
    });
    assert_eq!((record.links.len(), record.check()), (2, Ok(())));
}
