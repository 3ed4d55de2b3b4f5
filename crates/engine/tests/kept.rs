//! A party that was killed between its vote and its attestation reports and attests what it voted for, and nothing that it did not.

mod common;

use common::{ORIGIN, T0, key, node, owners, spec};
use tacit_crypto::{SigningKey, Statement, cbor};
use tacit_engine::control::{Finished, FromNode, PACKAGE_INLINE_BYTES_MAX, Package, Seated};
use tacit_engine::evidence::{EVIDENCE_BYTES_MAX, Saw};
use tacit_engine::kept::KEPT_BYTES_MAX;
use tacit_engine::{Finish, Input, Job, Kept, Limits, Member, Terminal, WorkerContext, WorkerJob};
use tacit_governance::{Admission, JobSpec};
use tacit_receipts::receipt::next_link;
use tacit_receipts::record::{Quantity, Status};
use tacit_receipts::{Attestation, UsageRecord};
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, ContractId, DatasetVersionId, Fault, Name, Seat};

const ONE: Attempt = Attempt(1);
const AGGREGATOR: Seat = Seat(0);
const LOST: Seat = Seat(1);

fn ok(seat: Seat) -> Finished {
    Finished::Ok {
        package: (seat == AGGREGATOR).then(|| Package::Inline(Blob(vec![1; 900]))),
        survivors: [0, 1, 2].map(Seat).to_vec(),
        cells_in: 4,
        payload_bytes: 48,
        cells_out: 1,
        cells_suppressed: 0,
        opened: Vec::new(),
    }
}

fn context(seat: Seat, key_of_node: &SigningKey) -> WorkerContext<'_> {
    let owner = key(owners()[seat.index()]).id();
    WorkerContext {
        key: key_of_node,
        node: key_of_node.id(),
        keys: Default::default(),
        owner,
        origin: ORIGIN,
        coordinator: key(80).id(),
        now: T0.plus(30_000),
    }
}

/// A node that runs the first attempt.
fn running(seat: Seat) -> WorkerJob {
    let (n, bytes) = (owners()[seat.index()], spec());
    let id = JobSpec::id(&JobSpec::verify(&bytes).unwrap());
    let dataset = Some(DatasetVersionId([n; 32]));
    let admission = Admission {
        job: id,
        owner: key(n).id(),
        contract: ContractId([1; 32]),
        dataset,
        rows: 0,
        at: T0,
        privacy: None,
    };
    let own = node(seat);
    let mut worker = tacit_engine::Worker::refuse(&bytes, id, Fault::new(Code::RefusedKind, ""), &context(seat, &own));
    (worker.answer, worker.admitted) = (Blob(Statement::sign(&own, "a", T0, None, admission).bytes().to_vec()), true);
    worker.begin(ONE, T0.plus(4)).unwrap();
    worker.input_sent = true;
    worker
}

/// One that has voted for the end.
fn voted(seat: Seat) -> WorkerJob {
    let mut worker = running(seat);
    worker.vote(ONE, Kept::new(ok(seat), &Saw::default(), vec![9])).unwrap();
    worker
}

/// One that was killed then and is back.
fn back(seat: Seat) -> WorkerJob {
    let mut worker = voted(seat);
    // It is the same after its way over the disk.
    worker = wire::decode_capped(&wire::encode(&worker), 1 << 20).unwrap();
    assert!(worker.burn());
    worker
}

fn attests(worker: &WorkerJob, seat: Seat, record: &UsageRecord) -> Result<WorkerJob, Code> {
    let mut worker = worker.clone();
    let own = node(seat);
    let done = worker.attest(&cbor::encode(record), &[], next_link(None), None, &context(seat, &own));
    done.map(|_| worker).map_err(|fault| fault.code)
}

/// The job at the coordinator, with reports of some seats.
fn job(reports: &[Seat]) -> Job {
    let member = |n: u8| Member {
        name: Name::new(&format!("p{n}")).unwrap(),
        root: key(n).id(),
        node: key(n + 100).id(),
        seated: Seated { card: Blob::default(), address: String::new() },
    };
    let mut job =
        Job::submit(spec(), [1, 2, 3].map(member).to_vec(), Vec::new(), ORIGIN, Limits::default(), T0).unwrap();
    let all = |job: &mut Job, at, answer: &dyn Fn(Seat) -> FromNode| {
        for seat in [0, 1, 2].map(Seat) {
            job.step(T0.plus(at), Input::Answer { node: node(seat).id(), answer: answer(seat) });
        }
    };
    all(&mut job, 1, &|seat| FromNode::Admitted(running(seat).answer));
    job.step(T0.plus(2), Input::Tick);
    all(&mut job, 3, &|_| FromNode::Reserved);
    all(&mut job, 4, &|_| FromNode::Started);
    assert_eq!(job.state(), "running");
    reports.iter().for_each(|seat| report(&mut job, 5, *seat, ok(*seat)));
    job
}

fn report(job: &mut Job, at: u64, seat: Seat, finished: Finished) {
    let finish = Finish { job: job.id(), attempt: ONE, finished, blames: Vec::new(), links: None };
    job.step(T0.plus(at), Input::Finish { node: node(seat).id(), finish });
}

/// One party counts otherwise than two: the job goes on to its result, and the record says who counted what. Before, no party
/// attested, and there was none.
#[test]
fn a_count_that_differs_ends_no_job() {
    let mut job = job(&[AGGREGATOR, LOST]);
    let Finished::Ok { package, survivors, payload_bytes, cells_out, cells_suppressed, opened, .. } = ok(Seat(2))
    else {
        unreachable!("it ended well")
    };
    let other = Finished::Ok { package, survivors, cells_in: 5, payload_bytes, cells_out, cells_suppressed, opened };
    report(&mut job, 6, Seat(2), other.clone());
    assert_eq!((job.state(), job.terminal()), ("settling", Some(&Terminal::Succeeded)));
    let asked = job.outstanding().into_iter().find_map(|command| match command {
        tacit_engine::Command::Ask { request: tacit_engine::ToNode::Attest { record, .. }, .. } => Some(record),
        _ => None,
    });
    let record: UsageRecord = cbor::decode(&asked.expect("the parties are asked")).unwrap();
    assert_eq!(record.disputed().count(), 3, "a line of each");
    let noted =
        |what: &str| job.view(T0).timeline.iter().any(|e| e.what == what && e.detail.starts_with("3 usage lines"));
    assert!(noted("disputed"));
    let mut odd = running(Seat(2));
    odd.finish(ONE, other, Some(vec![9]));
    let mut attestations = Vec::new();
    for (seat, worker) in [(AGGREGATOR, back(AGGREGATOR)), (LOST, back(LOST)), (Seat(2), odd)] {
        let attested = attests(&worker, seat, &record).expect("its own count is in it").attested.unwrap().1;
        attestations.push(Statement::<Attestation>::verify(&attested).unwrap());
    }
    let receipt = tacit_receipts::assemble(record.clone(), &attestations, Vec::new()).unwrap().receipt;
    assert!(receipt.missing().next().is_none());
    // Who has not counted so does not sign that it has.
    assert_eq!(attests(&back(Seat(2)), Seat(2), &record).err(), Some(Code::ReceiptRecord));
}

/// The record of a result of all three.
fn record() -> UsageRecord {
    let job = job(&[AGGREGATOR, LOST, Seat(2)]);
    let asked = job.outstanding().into_iter().find_map(|command| match command {
        tacit_engine::Command::Ask { request: tacit_engine::ToNode::Attest { record, .. }, .. } => Some(record),
        _ => None,
    });
    cbor::decode(&asked.expect("the parties are asked")).unwrap()
}

#[test]
fn what_is_kept_is_bounded() {
    let kept = |release: usize| Kept::new(ok(LOST), &Saw::default(), vec![7; release]);
    let room = KEPT_BYTES_MAX - wire::encode(&kept(0)).len();
    assert!(running(LOST).vote(ONE, kept(room)).is_ok());
    let mut worker = running(LOST);
    assert_eq!(worker.vote(ONE, kept(room + 1)).map_err(|f| f.code), Err(Code::ReceiptTooLarge));
    assert_eq!(worker.kept, None);
    // A sealed result that a report holds, and all evidence that travels, fit with room to spare.
    const FITS: usize = PACKAGE_INLINE_BYTES_MAX + EVIDENCE_BYTES_MAX + (64 << 10);
    const { assert!(FITS < KEPT_BYTES_MAX) };
    // A larger one is kept by its hash, and a vote for it is read back whole.
    const { assert!(tacit_jobs::session::VOTE_PACKAGE_BYTES_MAX + (64 << 10) < tacit_types::limits::MESSAGE_BYTES_MAX) };
    // Nothing is kept of an attempt that does not run, and nothing beyond the end.
    let mut other = running(LOST);
    other.vote(Attempt(2), kept(1)).unwrap();
    assert_eq!(other.kept, None);
    let mut ended = voted(LOST);
    ended.finish(ONE, ok(LOST), Some(vec![9]));
    assert_eq!((ended.kept, ended.untold), (None, false));
}

#[test]
fn who_voted_reports_and_attests_as_it_voted() {
    let record = record();
    for seat in [AGGREGATOR, LOST] {
        let worker = back(seat);
        let said = worker.report(job(&[]).id()).expect("it reports");
        assert_eq!((said.finished, worker.release.clone()), (ok(seat), Some(Blob(vec![9]))));
        assert!(attests(&worker, seat, &record).is_ok());
        let mut more = record.clone();
        more.lines[0].quantity = Quantity::Plain(5);
        assert_eq!(attests(&worker, seat, &more).err(), Some(Code::ReceiptRecord));
        let mut fewer = record.clone();
        fewer.parties[2].standing = tacit_receipts::record::Standing::Dropped { step: tacit_types::Step::new(1, 1) };
        assert_eq!(attests(&worker, seat, &fewer).err(), Some(Code::ReceiptRecord));
    }
    // The sealed result is the aggregator's to know.
    let other = UsageRecord { result: Some(tacit_types::Hash([3; 32])), ..record };
    assert_eq!(attests(&back(AGGREGATOR), AGGREGATOR, &other).err(), Some(Code::ReceiptRecord));
}

#[test]
fn what_has_left_masked_is_not_masked_another_time() {
    let mut worker = running(LOST);
    let begin = |worker: &mut WorkerJob, attempt: u32| worker.begin(Attempt(attempt), T0).map_err(|f| f.code);
    assert_eq!(begin(&mut worker, 1), Err(Code::RefusedReplayed));
    worker.input_sent = true;
    assert_eq!(begin(&mut worker, 2), Err(Code::JobPeerLost));
    worker.input_sent = false;
    assert_eq!(begin(&mut worker, 2), Ok(()));
}

#[test]
fn a_result_that_was_dropped_is_no_end() {
    let mut worker = voted(LOST);
    worker.drop_vote(ONE);
    assert!(worker.burn());
    assert!(matches!(worker.finished, Some(Finished::Failed { code: Code::JobPeerLost, .. })));
    assert_eq!(attests(&worker, LOST, &record()).err(), Some(Code::ReceiptRecord));
}

/// It has not heard the verdict, so its vote may have been lost to the others; but not for another reason than that.
#[test]
fn who_heard_no_verdict_lets_a_loss_stand() {
    let told = {
        let mut worker = voted(LOST);
        worker.finish(ONE, ok(LOST), Some(vec![9]));
        worker
    };
    for (code, seat, untold, heard) in [
        (Code::JobPeerLost, Some(LOST), true, false),
        (Code::JobDeadline, Some(LOST), true, false),
        (Code::JobPeerLost, Some(Seat(2)), true, true),
        (Code::JobLocal, Some(LOST), false, false),
        (Code::JobBusy, Some(LOST), false, false),
        (Code::JobBusy, None, false, false),
    ] {
        let mut record = UsageRecord { status: Status::Aborted { code, step: None, seat }, result: None, ..record() };
        record.lines.clear();
        assert_eq!(attests(&back(LOST), LOST, &record).is_ok(), untold, "{code} {seat:?}, no verdict heard");
        assert_eq!(attests(&told, LOST, &record).is_ok(), heard, "{code} {seat:?}, the verdict heard");
    }
}

#[test]
fn a_record_with_a_result_is_attested_after_the_end_and_no_other() {
    let record = record();
    let lost = || Terminal::Failed { code: Code::JobPeerLost, party: None, step: None, hint: String::new() };
    for seat in [AGGREGATOR, LOST] {
        let mut worker = back(seat);
        worker.close(lost());
        assert!(worker.owed);
        // Of the sealed result the commitment is left.
        assert!(!matches!(&worker.finished, Some(Finished::Ok { package: Some(Package::Inline(_)), .. })));
        if seat == AGGREGATOR {
            let other = UsageRecord { result: Some(tacit_types::Hash([3; 32])), ..record.clone() };
            assert_eq!(attests(&worker, seat, &other).err(), Some(Code::ReceiptRecord));
        }
        let mut aborted = record.clone();
        aborted.status = Status::Aborted { code: Code::JobPeerLost, step: None, seat: None };
        (aborted.result, aborted.lines) = (None, Vec::new());
        assert_eq!(attests(&worker, seat, &aborted).err(), Some(Code::ReceiptRecord));
        let attested = attests(&worker, seat, &record).unwrap();
        assert!(!attested.owed && attested.attested.is_some());
        assert_eq!(attested.terminal, Some(lost()));
        let mut forgiven = worker.clone();
        forgiven.forgive();
        assert_eq!(attests(&forgiven, seat, &record).err(), Some(Code::ReceiptRecord));
    }
    // Who attested in time, or ended without a result, owes nothing.
    let mut in_time = attests(&back(LOST), LOST, &record).unwrap();
    in_time.close(Terminal::Succeeded);
    let mut burned = running(LOST);
    burned.burn();
    burned.close(lost());
    assert!(!in_time.owed && !burned.owed);
}

/// Where the aggregator has a result all of those in it have voted, so one that was lost since is worth waiting for.
#[test]
fn who_voted_is_waited_for() {
    let Limits { loss_ms, settle_ms, .. } = Limits::default();
    let lost = |reports: &[Seat]| {
        let mut job = job(reports);
        job.step(T0.plus(10), Input::Reachable { node: node(LOST).id(), reachable: false });
        job.step(T0.plus(10 + loss_ms + 1), Input::Tick);
        job
    };
    let mut waits = lost(&[AGGREGATOR, Seat(2)]);
    assert_eq!(waits.state(), "running");
    report(&mut waits, 10 + settle_ms - 1, LOST, back(LOST).finished.unwrap());
    assert_eq!((waits.state(), waits.terminal()), ("settling", Some(&Terminal::Succeeded)));
    let mut given_up = lost(&[AGGREGATOR, Seat(2)]);
    given_up.step(T0.plus(10 + settle_ms), Input::Tick);
    assert_eq!(given_up.terminal().and_then(Terminal::code), Some(Code::JobPeerLost));
}

#[test]
fn a_record_that_lacks_an_attestation_is_given_to_its_party_alone() {
    let mut job = job(&[AGGREGATOR, LOST, Seat(2)]);
    let record = record();
    let attestation = |seat: Seat| {
        let own = node(seat);
        let role = tacit_receipts::record::Role::Input;
        let statement = Attestation::agreeing(&record, role, None).sign(&own, &record, T0.plus(6), next_link(None));
        Blob(statement.bytes().to_vec())
    };
    for seat in [AGGREGATOR, Seat(2)] {
        job.step(T0.plus(7), Input::Answer { node: node(seat).id(), answer: FromNode::Attested(attestation(seat)) });
    }
    assert_eq!(job.lacks(&node(LOST).id()), None, "while the job is open it is asked");
    for at in [20_000, 40_000, 60_000, 80_000] {
        job.step(T0.plus(at), Input::Tick);
        let (index, leaf, proof) = (2, Blob(vec![1]), Blob(vec![2]));
        job.step(T0.plus(at), Input::Logged { index, leaf, proof });
    }
    assert!(job.is_over());
    assert_eq!(job.lacks(&node(LOST).id()), Some((Blob(cbor::encode(&record)), Vec::new())));
    assert_eq!(job.lacks(&node(AGGREGATOR).id()), None);
    assert_eq!(job.lacks(&key(66).id()), None);
    job.late(T0.plus(90_000), &node(LOST).id(), &attestation(LOST)).unwrap();
    assert_eq!(job.lacks(&node(LOST).id()), None);
}
