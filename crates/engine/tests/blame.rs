//! A party that breaks a protocol stands in the record that the others attest, and they have seen why.

mod common;

use common::{ORIGIN, T0, key, node, owners, spec};
use tacit_crypto::{SigningKey, Statement, Transcript, cbor};
use tacit_engine::control::{Finished, FromNode, Package, Seated, ToNode};
use tacit_engine::evidence::{self, EVIDENCE_BYTES_MAX, Saw};
use tacit_engine::{Command, Finish, Input, Job, Limits, Member, WorkerContext, WorkerJob};
use tacit_governance::{Admission, JobSpec};
use tacit_protocol::{Blame, Offence};
use tacit_receipts::UsageRecord;
use tacit_receipts::receipt::next_link;
use tacit_receipts::record::CONVICTIONS_MAX;
use tacit_secagg::Signed;
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, ContractId, DatasetVersionId, Hash, Name, NodeId, Seat};

/// What the bodies of the attempt are signed over.
const OVER: Hash = Hash([8; 32]);
const CHEAT: Seat = Seat(2);

/// Two roots that a dealer signed for one slot, over a transcript.
fn equivocation(seat: Seat, over: Hash, long: usize) -> Blame {
    #[derive(serde::Serialize)]
    struct Wire(u32, Hash, u32, Seat, Blob, tacit_crypto::sign::Signature);
    let body = |tag: u8| {
        let body = Blob(vec![tag; 8 + long]);
        let slot = 0u32;
        // Kind 2 is a dealer's root.
        let message = Transcript::new("tacit-secagg/1/signed")
            .u64(2)
            .fixed(&over.0)
            .u64(u64::from(slot))
            .u64(u64::from(seat.0))
            .bytes(&body)
            .finish();
        let signed = wire::encode(&Wire(2, over, slot, seat, body, node(seat).sign(message.as_bytes())));
        assert!(wire::decode::<Signed>(&signed).is_ok());
        signed
    };
    Blame::seat(seat, Offence::Equivocation).with(body(1)).with(body(2))
}

fn ok(aggregator: bool, survivors: &[u16]) -> Finished {
    Finished::Ok {
        package: aggregator.then(|| Package::Inline(Blob(vec![1; 9]))),
        survivors: survivors.iter().copied().map(Seat).collect(),
        cells_in: 4,
        payload_bytes: 48,
        cells_out: 1,
        cells_suppressed: 0,
        opened: Vec::new(),
    }
}

fn lost() -> Finished {
    Finished::Failed { code: Code::JobPeerLost, step: None, seat: None, hint: "left out".into(), input_sent: false }
}

/// A job that ran at the coordinator, with what each seat reports.
fn ended(reports: [(Finished, Vec<Blame>); 3]) -> Job {
    let member = |n: u8| Member {
        name: Name::new(&format!("p{n}")).unwrap(),
        root: key(n).id(),
        node: key(n + 100).id(),
        seated: Seated { card: Blob::default(), address: String::new() },
    };
    let members = [1, 2, 3].map(member).to_vec();
    let mut job = Job::submit(spec(), members, Vec::new(), ORIGIN, Limits::default(), T0).unwrap();
    for n in [owners()[0], owners()[1], owners()[2]] {
        let answer = FromNode::Admitted(Blob(worker(n).answer.0));
        job.step(T0.plus(1), Input::Answer { node: key(n + 100).id(), answer });
    }
    let all = |job: &mut Job, at, answer: FromNode| {
        for n in [1u8, 2, 3] {
            job.step(T0.plus(at), Input::Answer { node: key(n + 100).id(), answer: answer.clone() });
        }
    };
    job.step(T0.plus(2), Input::Tick);
    all(&mut job, 3, FromNode::Reserved);
    all(&mut job, 4, FromNode::Started);
    assert_eq!(job.state(), "running");
    for (seat, (finished, blames)) in reports.into_iter().enumerate() {
        let finish = Finish { job: job.id(), attempt: Attempt(1), finished, blames, links: None };
        job.step(T0.plus(5), Input::Finish { node: node(Seat(seat as u16)).id(), finish });
    }
    assert_eq!(job.state(), "settling");
    job
}

fn asked(job: &Job, seat: Seat) -> (Vec<u8>, Vec<Blame>) {
    let wanted: NodeId = node(seat).id();
    let found = job.outstanding().into_iter().find_map(|command| match command {
        Command::Ask { node, request: ToNode::Attest { record, evidence, .. } } if node == wanted => {
            Some((record.0, evidence))
        }
        _ => None,
    });
    found.expect("it is asked to attest")
}

/// A node that has admitted the job.
fn worker(n: u8) -> WorkerJob {
    let bytes = spec();
    let id = JobSpec::id(&JobSpec::verify(&bytes).unwrap());
    let admission = Admission {
        job: id,
        owner: key(n).id(),
        contract: ContractId([1; 32]),
        dataset: Some(DatasetVersionId([n; 32])),
        rows: 0,
        privacy: None,
        at: T0,
    };
    let answer = Statement::sign(&key(n + 100), "a", T0, None, admission).bytes().to_vec();
    let own = key(n + 100);
    let context = context(n, &own);
    let mut worker = tacit_engine::Worker::refuse(&bytes, id, tacit_types::Fault::new(Code::RefusedKind, ""), &context);
    (worker.answer, worker.admitted) = (Blob(answer), true);
    worker
}

fn context(n: u8, key_of_node: &SigningKey) -> WorkerContext<'_> {
    WorkerContext {
        key: key_of_node,
        node: key_of_node.id(),
        keys: Default::default(),
        owner: key(n).id(),
        origin: ORIGIN,
        coordinator: key(80).id(),
        now: T0.plus(9),
    }
}

/// What a node that ended the attempt like this says to a record.
fn attests(seat: Seat, finished: Finished, saw: Saw, record: &[u8], evidence: &[Blame]) -> Result<(), String> {
    let n = owners()[seat.index()];
    let mut worker = worker(n);
    worker.begin(Attempt(1), T0.plus(4)).unwrap();
    worker.see(Attempt(1), saw);
    worker.finish(Attempt(1), finished, None);
    let done = worker.attest(record, evidence, next_link(None), None, &context(n, &key(n + 100)));
    done.map(|_| ()).map_err(|fault| fault.what)
}

fn saw(blames: Vec<Blame>) -> Saw {
    Saw { blames, transcripts: vec![Hash([7; 32]), OVER] }
}

#[test]
fn a_cheat_that_was_survived_is_in_the_record_and_every_party_has_seen_why() {
    let blame = equivocation(CHEAT, OVER, 0);
    let accusation = Blame::seat(Seat(1), Offence::Malformed);
    let job = ended([
        (ok(true, &[0, 1]), vec![accusation, blame.clone(), blame.clone()]),
        (ok(false, &[0, 1]), Vec::new()),
        (lost(), vec![equivocation(Seat(0), OVER, 0).with(vec![1])]),
    ]);
    let (bytes, evidence) = asked(&job, Seat(1));
    let record: UsageRecord = cbor::decode(&bytes).unwrap();
    assert_eq!(record.convictions, [evidence::conviction(&blame).unwrap()], "what convicts, once, and nothing else");
    assert_eq!((record.convictions[0].seat, record.convictions[0].offence.as_str()), (CHEAT, "equivocation"));
    assert_eq!(evidence, std::slice::from_ref(&blame));
    for (seat, blames) in [(Seat(0), vec![blame.clone()]), (Seat(1), Vec::new())] {
        let finished = ok(seat == Seat(0), &[0, 1]);
        assert_eq!(attests(seat, finished, saw(blames), &bytes, &evidence), Ok(()), "{seat}");
    }
}

#[test]
fn a_party_attests_no_conviction_that_it_has_not_seen_shown_in_this_attempt() {
    let blame = equivocation(CHEAT, OVER, 0);
    let job = ended([(ok(true, &[0, 1]), vec![blame.clone()]), (ok(false, &[0, 1]), Vec::new()), (lost(), Vec::new())]);
    let (bytes, evidence) = asked(&job, Seat(1));
    let said = |record: &UsageRecord, evidence: &[Blame]| {
        attests(Seat(1), ok(false, &[0, 1]), saw(Vec::new()), &cbor::encode(record), evidence)
    };
    let record: UsageRecord = cbor::decode(&bytes).unwrap();
    assert_eq!(said(&record, &evidence), Ok(()));
    let refused = |record: &UsageRecord, evidence: &[Blame], why: &str| {
        let what = said(record, evidence).expect_err(why);
        assert!(what.contains(why), "{what}");
    };
    refused(&record, &[], "nothing shows");
    // Signed by nobody, of another seat, of another offence.
    let mut forged = blame.clone();
    forged.evidence[1].0[80] ^= 1;
    let mut other = record.clone();
    other.convictions = vec![evidence::conviction(&forged).unwrap()];
    refused(&other, &[forged], "nothing shows");
    for (seat, offence) in [(Seat(0), Offence::Equivocation), (CHEAT, Offence::BadOpening)] {
        let mut false_one = blame.clone();
        (false_one.offender, false_one.offence) = (tacit_protocol::Offender::Seat(seat), offence);
        other.convictions = vec![evidence::conviction(&false_one).unwrap()];
        refused(&other, &[false_one], "nothing shows");
    }
    // The same party, in another attempt.
    let before = equivocation(CHEAT, Hash([9; 32]), 0);
    other.convictions = vec![evidence::conviction(&before).unwrap()];
    refused(&other, &[before], "not of this attempt");
}

/// Evidence of a wrong root rests on what the accuser says that the terms should have been.
#[test]
fn nobody_is_convicted_by_terms_that_the_accuser_brings() {
    let blame = Blame { offence: Offence::WrongRoot, ..equivocation(CHEAT, OVER, 0) };
    let seating = tacit_protocol::Seating::new((0..3).map(|s| node(Seat(s)).id()).collect()).unwrap();
    assert!(!evidence::convicts(&seating, &blame));
}

#[test]
fn a_party_attests_no_record_that_leaves_out_what_it_has_shown() {
    let blame = equivocation(CHEAT, OVER, 0);
    let job = ended([(ok(true, &[0, 1]), Vec::new()), (ok(false, &[0, 1]), Vec::new()), (lost(), Vec::new())]);
    let (bytes, evidence) = asked(&job, Seat(0));
    assert!(evidence.is_empty());
    let what = attests(Seat(0), ok(true, &[0, 1]), saw(vec![blame]), &bytes, &evidence).unwrap_err();
    assert!(what.contains("leaves out the equivocation"), "{what}");
    // What nobody else could check need not stand in it.
    let accusation = Blame::seat(CHEAT, Offence::Malformed).with(vec![1; 9]);
    assert_eq!(attests(Seat(0), ok(true, &[0, 1]), saw(vec![accusation]), &bytes, &evidence), Ok(()));
}

#[test]
fn an_attempt_that_a_cheat_ended_convicts_as_well() {
    let blame = equivocation(CHEAT, OVER, 0);
    let misbehaved = Finished::Failed {
        code: Code::JobMisbehaved,
        step: None,
        seat: Some(CHEAT),
        hint: "seat 2 broke the protocol".into(),
        input_sent: true,
    };
    let job = ended([(misbehaved.clone(), vec![blame.clone()]), (lost(), Vec::new()), (lost(), Vec::new())]);
    let (bytes, evidence) = asked(&job, Seat(1));
    let record: UsageRecord = cbor::decode(&bytes).unwrap();
    assert_eq!(record.convictions, [evidence::conviction(&blame).unwrap()]);
    assert_eq!(attests(Seat(0), misbehaved, saw(vec![blame]), &bytes, &evidence), Ok(()));
    assert_eq!(attests(Seat(1), lost(), Saw::default(), &bytes, &evidence), Ok(()));
}

/// Complaints that convict nobody take no conviction's place in a report.
#[test]
fn what_convicts_travels_before_complaints() {
    let seating = tacit_protocol::Seating::new((0..3).map(|s| node(Seat(s)).id()).collect()).unwrap();
    let complaint = |byte| Blame::seat(Seat(1), Offence::MissingDeal).with(vec![byte; 9]);
    let complaints: Vec<Blame> = (0..CONVICTIONS_MAX as u8).map(complaint).collect();
    let proof = equivocation(CHEAT, OVER, 0);
    let mut saw = complaints.clone();
    saw.push(proof.clone());
    assert!(!evidence::travelling(&saw).contains(&proof));
    assert_eq!(evidence::staying(&seating, &saw), [&proof]);
    evidence::convicting_first(&seating, &mut saw);
    assert_eq!(saw[0], proof);
    assert_eq!(saw[1..], complaints, "and the rest in its order");
    assert!(evidence::travelling(&saw).contains(&proof));
    assert!(evidence::staying(&seating, &saw).is_empty(), "a complaint that stays behind is no loss");
    let long = equivocation(CHEAT, OVER, EVIDENCE_BYTES_MAX / 2);
    assert_eq!(evidence::staying(&seating, std::slice::from_ref(&long)), [&long]);
}

/// Evidence that is longer than what travels stays where it is, and stops nobody.
#[test]
fn evidence_has_a_limit() {
    let long = equivocation(CHEAT, OVER, EVIDENCE_BYTES_MAX / 2);
    assert!(
        evidence::encode(&long).len() > EVIDENCE_BYTES_MAX
            && evidence::travelling(std::slice::from_ref(&long)).is_empty()
    );
    let short = equivocation(CHEAT, OVER, EVIDENCE_BYTES_MAX / 2 - 200);
    assert_eq!(evidence::travelling(&[long.clone(), short.clone()]), [short]);
    let job = ended([(ok(true, &[0, 1]), vec![long.clone()]), (ok(false, &[0, 1]), Vec::new()), (lost(), Vec::new())]);
    let (bytes, evidence) = asked(&job, Seat(0));
    assert!(evidence.is_empty());
    assert_eq!(attests(Seat(0), ok(true, &[0, 1]), saw(vec![long]), &bytes, &evidence), Ok(()));
}
