//! Jobs and records that no leaf can hold.

use super::*;

/// The record that the parties are asked to attest of an attempt whose seats all count otherwise.
fn all_differ(parties: u8) -> (Job, UsageRecord) {
    let seeds: Vec<u8> = (1..=parties).collect();
    let (mut job, aggregator, _) = running(&seeds);
    let survivors: Vec<Seat> = (0..u16::from(parties)).map(Seat).collect();
    for seed in seeds {
        let package = (seed == aggregator).then(|| Package::Inline(vec![1].into()));
        let counted = Finished::Ok {
            package,
            survivors: survivors.clone(),
            cells_in: u64::from(seed),
            payload_bytes: 8,
            cells_out: 1,
            cells_suppressed: 0,
            opened: Vec::new(),
        };
        finish(&mut job, seed, 3, counted);
    }
    let record = job.record().unwrap();
    (job, record)
}

/// More counts beside disputed lines than a record has room for: the use is not lost, its parties attest an end without a result.
#[test]
fn a_record_with_more_counts_than_fit_ends_without_a_result_and_is_receipted() {
    // 45 parties have 44 counts beside each of 45 lines, 46 have 45 beside each of 46.
    let (job, record) = all_differ(45);
    assert_eq!((job.terminal(), record.disputed().count()), (Some(&Terminal::Succeeded), 45));
    let (mut job, record) = all_differ(46);
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::ReceiptTooLarge, .. })));
    let status = Status::Aborted { code: Code::ReceiptTooLarge, step: None, seat: None };
    assert_eq!((&record.status, record.lines.len(), record.result), (&status, 0, None));
    assert!(record.parties.iter().all(|party| party.standing == tacit_receipts::record::Standing::TookPart));
    assert_eq!(asked(&job).iter().filter(|(_, r)| matches!(r, ToNode::Attest { .. })).count(), 46);
    let body = tacit_receipts::Attestation::agreeing(&record, record.parties[0].role, None);
    let link = tacit_receipts::receipt::next_link(None);
    let attested = body.sign(&key(101), &record, T0.plus(4), link).bytes().to_vec().into();
    answer(&mut job, 1, 4, FromNode::Attested(attested));
    assert!(job.promises().is_some(), "its receipt is promised");
    job.step(T0.plus(60_000), Input::Tick);
    assert!(job.outstanding().iter().any(|c| matches!(c, Command::Append { .. })));
}

/// A job whose receipt could not be logged is refused before anybody's data is touched.
#[test]
fn a_job_of_more_parties_than_a_receipt_holds_is_refused() {
    let seed = |n: u16, of: u8| {
        let mut seed = [of; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        SigningKey::from_seed(&Secret::new(seed)).id()
    };
    let submit = |parties: u16| {
        let member = |n: u16| Member {
            name: Name::new(&format!("{:x<64}", format!("p{n}"))).unwrap(),
            root: seed(n, 1),
            node: seed(n, 2),
            seated: Seated { card: Blob::default(), address: String::new() },
        };
        let provider = |n: u16| ProviderRef { owner: seed(n, 1), dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let spec = JobSpec { providers: (0..parties).map(provider).collect(), ..drafted(&[], None, None) };
        let bytes = Statement::sign(&key(90), "job", T0, None, spec).bytes().to_vec();
        let members: Vec<Member> = (0..parties).map(member).collect();
        let job = JobSpec::verify(&bytes).unwrap();
        let named: Vec<_> = members.iter().map(|m| (&m.name, m.node, m.root)).collect();
        let fits = record::fits_all(&job, "l.example/u", &named).map_err(|fault| fault.code);
        let said = Job::submit(bytes, members.clone(), Vec::new(), "l.example/u", Limits::default(), T0);
        assert_eq!(said.map(|_| ()).map_err(|fault| fault.code), fits);
        fits
    };
    let (mut fits, mut over) = (2_u16, 800_u16);
    while over - fits > 1 {
        let middle = fits.midpoint(over);
        match submit(middle) {
            Ok(()) => fits = middle,
            Err(code) => {
                assert_eq!(code, Code::ReceiptTooLarge);
                over = middle;
            }
        }
    }
    // A job of hundreds has a receipt, of names as long as can be.
    assert!((200..300).contains(&fits), "{fits}");
}
