//! The coordinator's promise to log: owed to whoever has attested, while the receipt is on its way; kept by a node only when it
//! is the coordinator's own, about the record that the node attested, and for a time that can be waited for.

mod common;

use common::{ORIGIN, T0, key, node, owners, spec};
use tacit_crypto::{SigningKey, Statement, cbor};
use tacit_engine::control::FromNode;
use tacit_engine::{
    Command, Input, Job, Limits, Member, PROMISE_MILLIS_MAX, Seated, ToNode, Worker, WorkerContext, WorkerJob,
};
use tacit_governance::{Admission, JobSpec};
use tacit_receipts::receipt::next_link;
use tacit_receipts::{Promise, SeenCheckpoint, UsageRecord};
use tacit_types::wire::Blob;
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, Name, NodeId, Seat, UnixMillis};

const SEATS: [Seat; 3] = [Seat(0), Seat(1), Seat(2)];
const COORDINATOR: u8 = 80;

fn context(seat: Seat, own: &SigningKey) -> WorkerContext<'_> {
    let owner = key(owners()[seat.index()]).id();
    WorkerContext {
        key: own,
        node: own.id(),
        keys: Default::default(),
        owner,
        origin: ORIGIN,
        coordinator: key(COORDINATOR).id(),
        now: T0.plus(10),
    }
}

/// A node that has refused the job.
fn refusing(seat: Seat) -> WorkerJob {
    let bytes = spec();
    let id = JobSpec::id(&JobSpec::verify(&bytes).unwrap());
    let own = node(seat);
    Worker::refuse(&bytes, id, Fault::new(Code::RefusedKind, "not here"), &context(seat, &own))
}

/// The seats in the order in which they are asked: the least key decides before the others hear of the job.
fn asked() -> [Seat; 3] {
    let mut seats = SEATS;
    seats.sort_by_key(|seat| node(*seat).id());
    seats
}

/// A node that has decided: the one that is asked last refuses.
fn decided(seat: Seat) -> WorkerJob {
    let mut worker = refusing(seat);
    if seat == asked()[2] {
        return worker;
    }
    let n = owners()[seat.index()];
    let admission = Admission {
        job: JobSpec::id(&JobSpec::verify(&spec()).unwrap()),
        owner: key(n).id(),
        contract: ContractId([1; 32]),
        dataset: Some(DatasetVersionId([n; 32])),
        rows: 0,
        at: T0,
        privacy: None,
    };
    let own = node(seat);
    (worker.answer, worker.admitted) = (Blob(Statement::sign(&own, "a", T0, None, admission).bytes().to_vec()), true);
    worker
}

/// The job at the coordinator, refused by the last and about to be attested.
fn refused() -> Job {
    let member = |n: u8| Member {
        name: Name::new(&format!("p{n}")).unwrap(),
        root: key(n).id(),
        node: key(n + 100).id(),
        seated: Seated { card: Blob::default(), address: String::new() },
    };
    let members = [1, 2, 3].map(member).to_vec();
    let mut job = Job::submit(spec(), members, Vec::new(), ORIGIN, Limits::default(), T0).unwrap();
    assert_eq!(job.promises(), None, "nothing is attested");
    for seat in asked() {
        let worker = decided(seat);
        let answer = if worker.admitted { FromNode::Admitted } else { FromNode::Refused }(worker.answer);
        job.step(T0.plus(1), Input::Answer { node: node(seat).id(), answer });
    }
    assert_eq!(job.state(), "settling");
    job
}

/// The record that the parties are asked to attest.
fn record_of(job: &Job) -> UsageRecord {
    let asked = job.outstanding().into_iter().find_map(|command| match command {
        Command::Ask { request: ToNode::Attest { record, .. }, .. } => Some(record),
        _ => None,
    });
    cbor::decode(&asked.unwrap()).unwrap()
}

/// A node that has attested the record, when it had seen so many leaves.
fn attesting(seat: Seat, record: &UsageRecord, seen: u64) -> (WorkerJob, Blob) {
    let (own, mut worker) = (node(seat), decided(seat));
    let seen = Some(SeenCheckpoint { size: seen, root: Hash([4; 32]) });
    let (answer, _) = worker.attest(&cbor::encode(record), &[], next_link(None), seen, &context(seat, &own)).unwrap();
    let FromNode::Attested(statement) = answer else { panic!("{answer:?}") };
    (worker, statement)
}

fn promise(signer: u8, usage: Hash, deadline: UnixMillis) -> Vec<u8> {
    let promise = Promise { usage, deadline };
    Statement::sign(&key(signer), "job", T0, None, promise).bytes().to_vec()
}

#[test]
fn who_has_attested_is_owed_a_promise_until_the_receipt_is_there() {
    let mut job = refused();
    let record = record_of(&job);
    let owed = |job: &Job| job.promises().map(|(usage, nodes)| (usage == record.digest(), nodes));
    assert_eq!(owed(&job), None);
    let mut attested: Vec<NodeId> = Vec::new();
    for seat in SEATS {
        let (_, statement) = attesting(seat, &record, 0);
        job.step(T0.plus(2), Input::Answer { node: node(seat).id(), answer: FromNode::Attested(statement) });
        attested.push(node(seat).id());
        let (about, mut nodes) = owed(&job).unwrap();
        nodes.sort();
        attested.sort();
        assert!(about && nodes == attested, "{nodes:?}");
    }
    // All have attested: the log has it now, and the promise still stands.
    assert!(job.outstanding().iter().any(|c| matches!(c, Command::Append { .. })));
    job.step(T0.plus(3), Input::NotLogged(Fault::new(Code::ReceiptTooLarge, "")));
    assert_eq!(owed(&job), None);
}

#[test]
fn a_node_keeps_a_promise_that_binds_its_coordinator_and_no_other() {
    let record = record_of(&refused());
    let (mut worker, _) = attesting(SEATS[0], &record, 17);
    let own = node(SEATS[0]);
    let at = context(SEATS[0], &own);
    let latest = at.now.plus(PROMISE_MILLIS_MAX);
    let good = promise(COORDINATOR, record.digest(), latest);
    let (kept, from) = worker.promised(&good, &at).unwrap().unwrap();
    assert_eq!((kept.usage, kept.deadline, from), (record.digest(), latest, 17));
    let code = |worker: &WorkerJob, bytes: &[u8]| worker.promised(bytes, &at).unwrap_err().code;
    assert_eq!(code(&worker, &promise(9, record.digest(), latest)), Code::ReceiptInvalid);
    assert_eq!(code(&worker, &promise(COORDINATOR, Hash([1; 32]), latest)), Code::ReceiptInvalid);
    assert_eq!(code(&worker, &promise(COORDINATOR, record.digest(), latest.plus(1))), Code::ReceiptTime);
    assert_eq!(code(&refusing(SEATS[0]), &good), Code::ReceiptInvalid, "it has attested nothing");
    for at in 0..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 1;
        assert!(worker.promised(&forged, &context(SEATS[0], &own)).is_err(), "byte {at}");
    }
    // What is there need not be promised.
    worker.receipt = Some((7, Blob::default(), Blob::default()));
    assert_eq!(worker.promised(&good, &at).unwrap(), None);
}
