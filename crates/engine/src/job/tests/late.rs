//! What comes after the end.

use super::*;

fn attestation(job: &Job, seed: u8, seq: u64) -> Blob {
    let record = job.record().unwrap();
    let link = tacit_crypto::statement::Link { seq, prev: tacit_types::Hash([0; 32]) };
    let role = tacit_receipts::record::Role::Input;
    let signed = Attestation::agreeing(&record, role, None).sign(&key(seed + 100), &record, T0, link);
    Blob(signed.bytes().to_vec())
}

type Appended = (Vec<Blob>, Vec<(NodeId, Code)>);

fn append(job: &Job) -> Option<Appended> {
    job.outstanding().into_iter().find_map(|c| match c {
        Command::Append { attestations, absent, .. } => Some((attestations, absent)),
        _ => None,
    })
}

/// The leaf that the log makes of what the job asks for.
fn logged(job: &mut Job, at: u64) {
    let (attestations, absent) = append(job).unwrap();
    let signed: Vec<_> = attestations.iter().map(|bytes| Statement::verify(bytes).unwrap()).collect();
    let absent = absent.into_iter().map(|(party, code)| tacit_receipts::receipt::Absent { party, code }).collect();
    let receipt = tacit_receipts::assemble(job.record().unwrap(), &signed, absent).unwrap().receipt;
    let leaf = Blob(receipt.sign(&key(80), T0.plus(at)).unwrap().bytes().to_vec());
    job.step(T0.plus(at), Input::Logged { index: 7, leaf, proof: Blob(Vec::new()) });
}

/// A job of two that failed, with these attestations at hand when the time to settle was over.
fn failed_with(attested: &[u8]) -> Job {
    let (mut job, ..) = running(&[1, 2]);
    [1, 2].iter().for_each(|seed| finish(&mut job, *seed, 4, failed(Code::JobLocal, "")));
    assert_eq!(job.state(), "settling");
    for seed in attested {
        let bytes = attestation(&job, *seed, 0);
        answer(&mut job, *seed, 5, FromNode::Attested(bytes));
    }
    job.step(T0.plus(20_000), Input::Tick);
    job
}

fn over(job: &mut Job, at: u64) {
    [0, 20_000, 40_000].iter().for_each(|more| job.step(T0.plus(at + more), Input::Tick));
    assert!(job.is_over());
}

/// What a party signed and could not bring in time becomes a leaf of its own, once.
#[test]
fn an_attestation_after_the_receipt_becomes_a_leaf() {
    let mut job = failed_with(&[1]);
    let (held, absent) = append(&job).unwrap();
    assert_eq!((held.len(), absent), (1, vec![(key(102).id(), Code::JobUnreachable)]));
    let (own, other) = (attestation(&job, 2, 4), attestation(&job, 2, 5));
    let late = |job: &mut Job, seed: u8, bytes: &[u8]| job.late(T0.plus(90_000), &key(seed + 100).id(), bytes);
    assert_eq!(late(&mut job, 2, &own).unwrap_err().code, Code::JobNotFinished);
    logged(&mut job, 21_000);
    over(&mut job, 22_000);
    assert_eq!(late(&mut job, 1, &own).unwrap_err().code, Code::ReceiptAttestationInvalid, "not its own");
    let first = job.parties.iter().find_map(|p| p.attestation.clone()).unwrap();
    assert_eq!(late(&mut job, 1, &first), Ok(Late::InReceipt));
    assert_eq!(late(&mut job, 2, &own), Ok(Late::OwnLeaf));
    assert_eq!(late(&mut job, 2, &own), Ok(Late::OwnLeaf), "handed in again");
    assert_eq!(late(&mut job, 2, &other).unwrap_err().code, Code::ReceiptRecord, "one word of each party");
    let foreign = attestation(&failed_with(&[]), 2, 4);
    assert!(foreign == own || late(&mut job, 2, &foreign).is_err());
    assert!(job.is_over());
}

/// A job whose only attestation was lost on the way gets its receipt when it comes. Its end stays.
#[test]
fn a_late_attestation_gives_a_job_its_receipt() {
    let mut job = failed_with(&[]);
    over(&mut job, 20_000);
    assert!(job.receipt().is_none() && append(&job).is_none());
    let (end, bytes) = (job.terminal().cloned(), attestation(&job, 2, 0));
    assert_eq!(job.late(T0.plus(90_000), &key(102).id(), &bytes), Ok(Late::Reopened));
    assert!(!job.is_over() && job.has_ended());
    assert_eq!((job.state(), job.view(T0).terminal), ("failed", end.clone()), "nobody unlearns an end");
    logged(&mut job, 91_000);
    over(&mut job, 92_000);
    assert_eq!((job.receipt().map(|r| r.0), job.terminal()), (Some(7), end.as_ref()));
    assert_eq!(job.timeline.iter().filter(|e| e.what == "ended").count(), 1);

    // What the log could not take, it is not handed again.
    let mut job = failed_with(&[]);
    over(&mut job, 20_000);
    assert_eq!(job.late(T0.plus(90_000), &key(102).id(), &bytes), Ok(Late::Reopened));
    job.step(T0.plus(91_000), Input::NotLogged(Fault::new(Code::ReceiptTooLarge, "big")));
    over(&mut job, 92_000);
    assert_eq!(job.late(T0.plus(200_000), &key(102).id(), &bytes).unwrap_err().code, Code::ReceiptRecord);
}

/// While the coordinator was away nobody could answer: the time to attest begins anew.
#[test]
fn a_restart_leaves_time_to_attest() {
    let (mut job, ..) = running(&[1, 2]);
    [1, 2].iter().for_each(|seed| finish(&mut job, *seed, 4, failed(Code::JobLocal, "")));
    job.step(T0.plus(60_000), Input::Resumed);
    let State::Attesting { until } = job.state else { panic!("{:?}", job.state) };
    assert_eq!(until, T0.plus(70_000));
    job.step(T0.plus(70_000), Input::Tick);
    assert!(matches!(job.state, State::Closed { .. }));
}
