//! What parties report of their links stands in the record of that attempt, and of no other.

use super::*;
use crate::control::Linked;

fn linked(n: u8, differing: &[u16]) -> Option<Linked> {
    let differing = differing.iter().map(|seat| Seat(*seat)).collect();
    Some(Linked { root: tacit_types::Hash([n; 32]), differing, unsealed: 0 })
}

fn report(job: &mut Job, seed: u8, finished: Finished, links: Option<Linked>) {
    let finish = Finish { job: job.id(), attempt: Attempt(job.attempt), finished, blames: Vec::new(), links };
    job.step(T0.plus(3), Input::Finish { node: key(seed + 100).id(), finish });
}

fn ok(package: bool) -> Finished {
    Finished::Ok {
        package: package.then(|| Package::Inline(Blob(vec![1; 9]))),
        survivors: vec![Seat(0), Seat(1), Seat(2)],
        cells_in: 1,
        payload_bytes: 8,
        cells_out: 1,
        cells_suppressed: 0,
        opened: Vec::new(),
    }
}

#[test]
fn a_record_has_the_links_that_parties_report_and_none_that_cannot_be() {
    let (mut job, aggregator, others) = running(&[1, 2, 3]);
    report(&mut job, aggregator, ok(true), linked(7, &[]));
    // Of a seat that there is not.
    report(&mut job, others[0], ok(false), linked(8, &[3]));
    let adds = job.seat(&key(aggregator + 100).id()).unwrap().0;
    report(&mut job, others[1], ok(false), linked(9, &[adds]));
    let record = job.record().expect("it settles");
    assert_eq!((record.status.clone(), record.check()), (Status::Ok, Ok(())));
    let root = |seed: u8| record.links_of(&key(seed + 100).id()).map(|links| links.root.0[0]);
    assert_eq!((root(aggregator), root(others[0]), root(others[1])), (Some(7), None, Some(9)));
    assert_eq!(record.disputed_links().len(), 1);
}

#[test]
fn links_of_an_attempt_that_is_tried_again_are_left_behind() {
    let (mut job, aggregator, others) = running(&[1, 2, 3]);
    for seed in [aggregator, others[0], others[1]] {
        report(&mut job, seed, failed(Code::JobPeerLost, ""), linked(seed, &[]));
    }
    assert_eq!(job.links.len(), 3);
    assert_eq!(job.state(), "queued");
    job.step(T0.plus(1_000), Input::Tick);
    (1..=3).for_each(|seed| answer(&mut job, seed, 1_001, FromNode::Reserved));
    assert_eq!((job.state(), job.attempt, job.links.len()), ("running", 2, 0));
}
