//! What a node attests, and what not.

use super::*;

mod links;
mod lists;

#[test]
fn two_quorums_share_an_honest_witness() {
    assert_eq!([1, 3, 4, 7, 10].map(witness_threshold), [1, 2, 3, 5, 7]);
    for n in 1..200 {
        let (k, liars) = (witness_threshold(n), (n - 1) / 3);
        assert!(2 * k > n + liars && k <= n - liars, "{n}");
    }
}

use tacit_crypto::{SealPublic, Secret, SigningKey};
use tacit_governance::admission::CLOCK_SKEW_MAX_MS;
use tacit_governance::{AlignLevel, Cohort, ProviderRef};
use tacit_jobs::align::params::AlignMode;
use tacit_jobs::align::{AlignParams, KeyPart, OwnerKey};
use tacit_receipts::record::SINGLE_UNITS;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn job() -> Statement<JobSpec> {
    let provider = |n: u8| ProviderRef { owner: key(n).id(), dataset: DatasetVersionId([n; 32]), view: "v".into() };
    let spec = JobSpec {
        version: 1,
        kind: "count/v1".into(),
        params: tacit_jobs::kind("count/v1").unwrap().params(serde_json::json!({}), &Default::default()).unwrap(),
        contracts: vec![tacit_types::ContractId([1; 32])],
        providers: [1, 2, 3].map(provider).to_vec(),
        purpose: "test".into(),
        recipient: SealPublic([7; 32]),
        cohort: Cohort { rows: 3, contributors: 2 },
        nonce: vec![7; 16],
        created_at: NOW,
        expires_at: NOW.plus(1000),
        attempt_ms: 1000,
        models: Vec::new(),
        dealer: None,
        asker: None,
        attachments: Vec::new(),
    };
    Statement::sign(&key(90), "job", NOW, None, spec)
}

fn finished(package: Option<Vec<u8>>) -> Finished {
    Finished::Ok {
        package: package.map(|p| Package::Inline(p.into())),
        survivors: vec![Seat(0), Seat(1), Seat(2)],
        cells_in: 4,
        payload_bytes: 48,
        cells_out: 1,
        cells_suppressed: 0,
        opened: vec![("counts".into(), 2)],
    }
}

fn record(job: &Statement<JobSpec>) -> UsageRecord {
    record_of(job, &|n| finished((n == 1).then(|| vec![1, 2, 3])))
}

fn record_of(job: &Statement<JobSpec>, finished: &dyn Fn(u8) -> Finished) -> UsageRecord {
    let part = |n: u8| Part {
        name: Name::new(&format!("p{n}")).unwrap(),
        node: key(n + 100).id(),
        root: key(n).id(),
        standing: Standing::TookPart,
        finished: Some(finished(n)),
        links: None,
    };
    assemble(Ended {
        job,
        origin: "log.example",
        attempt: Attempt(1),
        status: Status::Ok,
        parties: [1, 2, 3].map(part).into(),
        span: (NOW, NOW.plus(5)),
        evidence: &[],
    })
}

fn pinned(root: &NodeId) -> Option<NodeId> {
    (1..=3).find(|n| key(*n).id() == *root).map(|n| key(n + 100).id())
}

/// What the node that holds the second dataset says to a record.
fn verdict(job: &Statement<JobSpec>, record: &UsageRecord) -> Result<(), Fault> {
    verdict_of(job, record, &finished(None))
}

fn verdict_of(job: &Statement<JobSpec>, record: &UsageRecord, finished: &Finished) -> Result<(), Fault> {
    verdict_at(2, job, record, finished)
}

/// What the node that holds dataset `n` says.
fn verdict_at(n: u8, job: &Statement<JobSpec>, record: &UsageRecord, finished: &Finished) -> Result<(), Fault> {
    verdict_each((n, &[]), job, record, finished)
}

/// What it says where it knows what each party gave.
fn verdict_each(
    (n, each): (u8, &[Given]),
    job: &Statement<JobSpec>,
    record: &UsageRecord,
    finished: &Finished,
) -> Result<(), Fault> {
    verdict_linked((n, each, None), job, record, finished)
}

/// What the second node knows of a job, before anything of its end.
fn own_of(job: &Statement<JobSpec>) -> Own<'_> {
    static SAW: Saw = Saw { blames: Vec::new(), transcripts: Vec::new() };
    Own {
        keys: KeyHistory::none(),
        job,
        origin: "log.example",
        node: key(102).id(),
        root: key(2).id(),
        dataset: Some(DatasetVersionId([2; 32])),
        attempt: Attempt(1),
        finished: None,
        each: &[],
        input_sent: true,
        admitted: true,
        refusal: None,
        began: Some(NOW),
        evidence: &[],
        untold: false,
        saw: &SAW,
        links: None,
        now: NOW,
    }
}

/// What it says where it has had links.
fn verdict_linked(
    (n, each, links): (u8, &[Given], Option<&Linked>),
    job: &Statement<JobSpec>,
    record: &UsageRecord,
    finished: &Finished,
) -> Result<(), Fault> {
    let (node, root, dataset) = (key(n + 100).id(), key(n).id(), Some(DatasetVersionId([n; 32])));
    let own = Own { node, root, dataset, finished: Some(finished), each, links, now: NOW.plus(9), ..own_of(job) };
    check(record, &own)?;
    check_parties(record, job.body(), pinned)
}

/// Of a checked sum every survivor has made the result; an aggregator that hands in another has no receipt for it.
#[test]
fn a_node_that_has_made_the_result_attests_no_other() {
    let (job, record) = (job(), record(&job()));
    let knows = |bytes: &[u8]| {
        let mut own = finished(None);
        let Finished::Ok { package, .. } = &mut own else { unreachable!("it ended well") };
        *package = Some(Package::Known { hash: tacit_crypto::sha256(bytes) });
        verdict_of(&job, &record, &own).map_err(|fault| fault.code)
    };
    assert_eq!(verdict(&job, &record), Ok(()), "who does not know it believes the aggregator");
    assert_eq!((knows(&[1, 2, 3]), knows(&[1, 2, 4])), (Ok(()), Err(Code::ReceiptRecord)));
}

/// The same job with noise, of which a part is what its owners' nodes have charged when they admitted it.
fn private_job() -> Statement<JobSpec> {
    let mut spec = job().into_body();
    let columns = std::collections::BTreeMap::from([("x".to_owned(), tacit_governance::ColumnKind::Int)]);
    let written = serde_json::json!({
        "histograms": [{"column": "x", "edges": ["0", "9"]}],
        "privacy": {"epsilon": "0.25", "delta": "0.000000001"},
    });
    spec.kind = "stats/v1".into();
    spec.params = tacit_jobs::kind("stats/v1").unwrap().params(written, &columns).unwrap();
    Statement::sign(&key(90), "job", NOW, None, spec)
}

#[test]
fn a_record_states_what_every_owner_has_charged() {
    let job = private_job();
    let mut record = record(&job);
    record.disclosures.clear();
    let plan = tacit_jobs::kind("stats/v1").unwrap().plan(&job.body().params, &tacit_jobs::Parts::of(job.body()));
    let cost = plan.unwrap().facts(&key(2).id()).privacy.unwrap();
    let charged: Vec<_> = record.privacy.iter().map(|c| (c.dataset, c.epsilon_micro, c.delta_femto)).collect();
    let owner = |n: u8| (DatasetVersionId([n; 32]), cost.epsilon_micro, cost.delta_femto);
    assert_eq!(charged, [1, 2, 3].map(owner));
    assert_eq!((cost.epsilon_micro, cost.delta_femto), (250_000, 1_000_000));
    let own = |opened| {
        let Finished::Ok { package, survivors, cells_in, payload_bytes, cells_out, cells_suppressed, .. } =
            finished(None)
        else {
            unreachable!("it ended well")
        };
        Finished::Ok { package, survivors, cells_in, payload_bytes, cells_out, cells_suppressed, opened }
    };
    assert_eq!(verdict_of(&job, &record, &own(Vec::new())), Ok(()));
    let changes: [fn(&mut UsageRecord); 5] = [
        |r| r.privacy.clear(),
        |r| r.privacy.truncate(2),
        |r| r.privacy[0].epsilon_micro -= 1,
        |r| r.privacy[2].delta_femto = 0,
        |r| r.privacy[1].dataset = DatasetVersionId([9; 32]),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut other = record.clone();
        change(&mut other);
        let fault = verdict_of(&job, &other, &own(Vec::new())).unwrap_err();
        assert_eq!((fault.code, fault.what.contains("privacy")), (Code::ReceiptRecord, true), "{i}: {fault}");
    }
    // A refused job opens nothing, and says no cost.
    assert!(super::privacy(job.body(), Attempt(0)).is_empty());
    // An exact one costs nothing, and none may be stated.
    assert!(self::record(&self::job()).privacy.is_empty());
}

/// The nodes have the counts, the operator the result, and the record says so.
#[test]
fn an_opening_stands_with_the_audience_that_the_job_gives_it() {
    let job = job();
    let Finished::Ok { package, survivors, cells_in, payload_bytes, cells_out, cells_suppressed, .. } =
        finished(Some(vec![1, 2, 3]))
    else {
        unreachable!("an attempt that ended well")
    };
    let opened = vec![("counts".into(), 2), ("result".into(), 2)];
    let well = Finished::Ok { package, survivors, cells_in, payload_bytes, cells_out, cells_suppressed, opened };
    let part = |n: u8| Part {
        name: Name::new(&format!("p{n}")).unwrap(),
        node: key(n + 100).id(),
        root: key(n).id(),
        standing: Standing::TookPart,
        finished: Some(well.clone()),
        links: None,
    };
    let record = assemble(Ended {
        job: &job,
        origin: "log.example",
        attempt: Attempt(1),
        status: Status::Ok,
        parties: [1, 2, 3].map(part).into(),
        span: (NOW, NOW.plus(5)),
        evidence: &[],
    });
    let said: Vec<(&str, Audience)> = record.disclosures.iter().map(|d| (d.what.as_str(), d.to)).collect();
    assert_eq!(said, [("counts", Audience::Seats), ("result", Audience::Party(key(90).id()))]);
}

/// Every place where a coordinator could write something else into the record of a job that ended well.
#[test]
fn a_node_attests_only_what_it_can_know() {
    type Change = fn(&mut UsageRecord);
    let job = job();
    let good = record(&job);
    assert!(verdict(&job, &good).is_ok(), "{:?}", verdict(&job, &good));
    let changes: [(&str, Change); 19] = [
        ("another's key", |r| r.parties.iter_mut().find(|p| p.party == key(101).id()).unwrap().party = key(66).id()),
        ("another's dataset", |r| {
            let other = r.parties.iter_mut().find(|p| p.party == key(103).id()).unwrap();
            other.dataset = Some(DatasetVersionId([2; 32]));
        }),
        ("no dataset", |r| r.parties.iter_mut().find(|p| p.party == key(103).id()).unwrap().dataset = None),
        ("a party more", |r| {
            let entry = PartyEntry { party: key(66).id(), standing: Standing::Silent, ..r.parties[0].clone() };
            r.parties.push(entry);
        }),
        ("to another", |r| r.disclosures[0].to = Audience::Party(key(66).id())),
        ("to the operator", |r| r.disclosures[0].to = Audience::Party(key(90).id())),
        ("another opening", |r| {
            let to = Audience::Party(key(90).id());
            r.disclosures.push(Disclosure { what: "rows".into(), to, cardinality: 1 });
        }),
        ("a larger opening", |r| r.disclosures[0].cardinality = 1 << 20),
        ("a disclosure to another", |r| {
            let more = Disclosure { what: "rows".into(), to: Audience::Party(key(66).id()), cardinality: 1 };
            r.disclosures.push(more);
        }),
        ("an algorithm", |r| r.algorithm = Some(Hash([1; 32]))),
        ("a transcript", |r| r.transcripts.push(Hash([1; 32]))),
        ("one's input twice", |r| {
            r.lines.iter_mut().filter(|l| l.unit == Unit::CellIn).for_each(|l| l.party = Seat(0));
        }),
        ("a byte more", |r| {
            let line = r.lines.iter_mut().rfind(|l| l.unit == Unit::PayloadByte).unwrap();
            line.quantity = Quantity::Plain(49);
        }),
        ("another's bytes left out", |r| {
            let at = r.lines.iter().position(|l| l.unit == Unit::PayloadByte).unwrap();
            r.lines.remove(at);
        }),
        ("cells released twice", |r| {
            r.lines.iter_mut().find(|l| l.unit == Unit::CellSuppressed).unwrap().unit = Unit::CellOut;
        }),
        ("no job", |r| r.lines.retain(|l| l.unit != Unit::Job)),
        ("two jobs", |r| {
            let line = r.lines.iter().find(|l| l.unit == Unit::Job).unwrap().clone();
            r.lines.push(line);
        }),
        ("observers", |r| r.lines[0].observers.push(Seat(0))),
        ("another log", |r| r.origin = "other.example".into()),
    ];
    for (what, change) in changes {
        let mut record = good.clone();
        change(&mut record);
        assert_eq!(verdict(&job, &record).map_err(|f| f.code), Err(Code::ReceiptRecord), "{what}");
    }
}

/// Whoever had the result: what stands once is the first seat's, and nobody signs it as another's.
#[test]
fn what_stands_once_is_the_first_seats_whoever_adds() {
    let job = job();
    for adds in 1..=3 {
        let good = record_of(&job, &|n| finished((n == adds).then(|| vec![1, 2, 3])));
        let once = good.lines.iter().filter(|line| SINGLE_UNITS.contains(&line.unit));
        assert_eq!(once.map(|line| line.party).collect::<Vec<_>>(), [Seat(0); 4], "{adds}");
        assert_eq!(good.result, Some(sha256(&[1, 2, 3])));
        for n in 1..=3 {
            let own = finished((n == adds).then(|| vec![1, 2, 3]));
            assert_eq!(verdict_at(n, &job, &good, &own), Ok(()), "{adds} {n}");
            let mut moved = good.clone();
            moved.lines.iter_mut().filter(|l| l.unit == Unit::CellOut).for_each(|l| l.party = Seat(1));
            assert_eq!(verdict_at(n, &job, &moved, &own).map_err(|f| f.code), Err(Code::ReceiptRecord), "{adds} {n}");
        }
    }
}

/// A record that no leaf holds is none; the job ends without a result, and its parties attest that.
#[test]
fn a_record_fits_a_leaf_up_to_the_last_byte() {
    let job = job();
    let mut record = record(&job);
    record.origin = "x".repeat(50_000);
    while fits(&record).is_ok() {
        record.origin.push('x');
    }
    assert_eq!(fits(&record).map_err(|f| f.code), Err(Code::ReceiptTooLarge));
    let bytes = cbor::encode(&record).len() + RECEIPT_BYTES_PER_PARTY * 4 + 512;
    assert_eq!(bytes, tacit_types::limits::LEAF_BYTES_MAX + 1);
    record.origin.pop();
    assert_eq!(fits(&record), Ok(()));
    // The end of an attempt that went well here, and whose record was too large.
    let mut ended = self::record(&job);
    ended.status = Status::Aborted { code: Code::ReceiptTooLarge, step: None, seat: None };
    (ended.result, ended.lines, ended.disclosures) = (None, Vec::new(), Vec::new());
    assert_eq!(verdict(&job, &ended), Ok(()));
}

/// An end at a party that has counted so many cells.
fn counting(package: Option<Vec<u8>>, cells: u64) -> Finished {
    let Finished::Ok { package, survivors, payload_bytes, cells_out, cells_suppressed, opened, .. } = finished(package)
    else {
        unreachable!("it ended well")
    };
    Finished::Ok { package, survivors, cells_in: cells, payload_bytes, cells_out, cells_suppressed, opened }
}

/// Whoever counts otherwise disputes its own line with those of all others, and each party signs its own count alone.
#[test]
fn a_line_on_which_parties_differ_is_disputed_and_the_rest_is_attested() {
    let job = job();
    let cells = |n: u8| if n == 3 { 5 } else { 4 };
    let own = |n: u8| counting((n == 1).then(|| vec![1, 2, 3]), cells(n));
    let part = |n: u8| Part {
        name: Name::new(&format!("p{n}")).unwrap(),
        node: key(n + 100).id(),
        root: key(n).id(),
        standing: Standing::TookPart,
        finished: Some(own(n)),
        links: None,
    };
    let ended = |parties: Vec<Part>| Ended {
        job: &job,
        origin: "log.example",
        attempt: Attempt(1),
        status: Status::Ok,
        parties,
        span: (NOW, NOW.plus(5)),
        evidence: &[],
    };
    let good = assemble(ended([1, 2, 3].map(part).into()));
    let seat = |n: u8| Seat(good.parties.iter().position(|p| p.party == key(n + 100).id()).unwrap() as u16);
    assert_eq!((good.version, good.check()), (RECORD_VERSION_DISPUTED, Ok(())));
    let all: Vec<u8> = vec![1, 2, 3];
    for line in &good.lines {
        let mut expected: Vec<(Seat, u64)> = match line.unit {
            Unit::CellIn if line.party == seat(3) => vec![(seat(1), 4), (seat(2), 4)],
            Unit::CellIn => vec![(seat(3), 5)],
            _ => Vec::new(),
        };
        expected.sort_unstable();
        let found: Vec<(Seat, u64)> = line.differing.iter().map(|s| (s.seat, s.quantity)).collect();
        assert_eq!(found, expected, "{line:?}");
    }
    assert_eq!(good.disputed().count(), 3);
    // Each attests it, with its own count, and none with another.
    for n in &all {
        assert_eq!(verdict_at(*n, &job, &good, &own(*n)), Ok(()), "{n}");
        let other = counting((*n == 1).then(|| vec![1, 2, 3]), 6);
        assert_eq!(verdict_at(*n, &job, &good, &other).map_err(|f| f.code), Err(Code::ReceiptRecord), "{n}");
    }
    // What a coordinator could write instead, and who does not sign it.
    let refused_by = |change: &dyn Fn(&mut UsageRecord)| -> Vec<u8> {
        let mut record = good.clone();
        change(&mut record);
        record.version = if record.disputed().next().is_some() { RECORD_VERSION_DISPUTED } else { RECORD_VERSION };
        let refuses = |n: &&u8| {
            let said = verdict_at(**n, &job, &record, &own(**n)).map_err(|f| f.code);
            assert!(matches!(said, Ok(()) | Err(Code::ReceiptRecord)), "{said:?}");
            said.is_err()
        };
        all.iter().filter(refuses).copied().collect()
    };
    let cells_of =
        |r: &mut UsageRecord, n: u8| r.lines.iter().position(|l| l.unit == Unit::CellIn && l.party == seat(n)).unwrap();
    let mut two = vec![Sighting { seat: seat(2), quantity: 9 }, Sighting { seat: seat(3), quantity: 5 }];
    two.sort_unstable_by_key(|s| s.seat);
    // A dispute is hidden: who differs does not sign. Of a line of its own nobody else does.
    assert_eq!(
        refused_by(&|r| {
            let i = cells_of(r, 1);
            r.lines[i].differing.clear();
        }),
        [3]
    );
    assert_eq!(
        refused_by(&|r| {
            let i = cells_of(r, 3);
            r.lines[i].differing.clear();
        }),
        [1, 2]
    );
    assert_eq!(refused_by(&|r| r.lines.iter_mut().for_each(|l| l.differing.clear())), [1, 2, 3]);
    // A count is put into a party's mouth.
    assert_eq!(
        refused_by(&|r| {
            let i = cells_of(r, 1);
            r.lines[i].differing.clone_from(&two);
        }),
        [2]
    );
    assert_eq!(
        refused_by(&|r| {
            let i = cells_of(r, 1);
            r.lines[i].differing[0].quantity = 6;
        }),
        [3]
    );
    // The number that the line's own party gave is another.
    assert_eq!(
        refused_by(&|r| {
            let i = cells_of(r, 3);
            r.lines[i].quantity = Quantity::Plain(7);
        }),
        [3]
    );
    // A dispute over what follows from the record, or is the result itself.
    for unit in [Unit::Party, Unit::Job] {
        let made_up = |r: &mut UsageRecord| {
            let line = r.lines.iter_mut().find(|l| l.unit == unit).unwrap();
            let other = if line.party == seat(2) { seat(1) } else { seat(2) };
            line.differing = vec![Sighting { seat: other, quantity: 8 }];
        };
        assert_eq!(refused_by(&made_up), [1, 2, 3], "{unit:?}");
    }
    // Who was lost counts nothing: its report, if there is one, stands nowhere.
    let mut parts: Vec<Part> = [1, 2, 3].map(part).into();
    parts[2].standing = Standing::Dropped { step: Step(4) };
    assert_eq!(assemble(ended(parts)).lines.iter().flat_map(|l| &l.differing).filter(|s| s.seat == seat(3)).count(), 0);
}

/// An attempt's number is held to what this node knows: never below its own last one, never above the
/// one with its input, and none for a refusal.
#[test]
fn the_number_of_an_attempt_is_checked() {
    let job = job();
    let verdict = |status: Status, said: u32, own: u32, input_sent: bool, admitted: bool| {
        let mut record = record(&job);
        (record.status, record.attempt, record.result) = (status, Attempt(said), None);
        record.lines.clear();
        record.disclosures.clear();
        let failed =
            Finished::Failed { code: Code::JobPeerLost, step: None, seat: None, hint: String::new(), input_sent };
        let own = Own {
            keys: KeyHistory::none(),
            job: &job,
            origin: "log.example",
            node: key(102).id(),
            root: key(2).id(),
            dataset: Some(DatasetVersionId([2; 32])),
            attempt: Attempt(own),
            finished: Some(&failed).filter(|_| own > 0),
            each: &[],
            input_sent,
            admitted,
            refusal: (!admitted).then_some(Code::RefusedQuota),
            began: None,
            evidence: &[],
            untold: false,
            saw: &Saw::default(),
            links: None,
            now: NOW.plus(9),
        };
        check(&record, &own).is_ok()
    };
    let aborted = || Status::Aborted { code: Code::JobPeerLost, step: None, seat: None };
    let me = record(&job).parties.iter().position(|p| p.party == key(102).id()).unwrap() as u16;
    let refused = |seat| Status::Refused { code: Code::RefusedQuota, seat: Some(Seat(seat)) };
    // Said, own, input left, attested.
    for (said, own, input_sent, good) in [
        (1, 1, false, true),
        (1, 1, true, true),
        (3, 3, true, true),
        (2, 1, false, true),
        (0, 0, false, true),
        (4, 0, false, true),
        (0, 1, false, false),
        (2, 3, false, false),
        (2, 1, true, false),
        (u32::MAX, 2, true, false),
    ] {
        assert_eq!(verdict(aborted(), said, own, input_sent, true), good, "{said} {own} {input_sent}");
    }
    assert!(verdict(refused(me), 0, 0, false, false) && verdict(refused(1 - me.min(1)), 0, 0, false, true));
    assert!(!verdict(refused(me), 1, 0, false, false), "a refused job has no attempt");
    assert!(!verdict(refused(1 - me.min(1)), 0, 1, false, true), "a job that ran here was not refused");
}

/// What a coordinator could write of an attempt without a result, and a party's own end and answers contradict.
#[test]
fn a_node_attests_no_end_that_its_own_contradicts() {
    let job = job();
    let good = {
        let mut record = record(&job);
        record.lines.clear();
        record.disclosures.clear();
        UsageRecord { result: None, ..record }
    };
    let me = Seat(good.parties.iter().position(|p| p.party == key(102).id()).unwrap() as u16);
    let other = Seat((me.0 + 1) % 3);
    let failed = |code, seat| Finished::Failed {
        code,
        step: Some(Step::new(1, 2)),
        seat,
        hint: String::new(),
        input_sent: false,
    };
    let said = |record: &UsageRecord, finished: Option<&Finished>, refusal: Option<Code>| {
        let own = Own {
            keys: KeyHistory::none(),
            job: &job,
            origin: "log.example",
            node: key(102).id(),
            root: key(2).id(),
            dataset: Some(DatasetVersionId([2; 32])),
            attempt: Attempt(finished.map_or(0, |_| 1)),
            finished,
            each: &[],
            input_sent: finished.is_some(),
            admitted: refusal.is_none(),
            refusal,
            began: finished.map(|_| NOW),
            evidence: &[],
            untold: false,
            saw: &Saw::default(),
            links: None,
            now: NOW.plus(9),
        };
        check(record, &own).is_ok()
    };
    let aborted = |code, seat| {
        let status = Status::Aborted { code, step: Some(Step::new(1, 2)), seat };
        UsageRecord { status, ..good.clone() }
    };
    let (well, lost) = (finished(None), failed(Code::JobPeerLost, Some(other)));
    let local = failed(Code::JobLocal, None);
    let blamed = failed(Code::JobMisbehaved, Some(other));
    // Code, named, own end, attested.
    for (i, (code, seat, own, attests)) in [
        (Code::JobPeerLost, Some(other), &well, true),
        (Code::JobCancelled, None, &well, true),
        (Code::JobLocal, Some(other), &well, true),
        (Code::RefusedContractRevoked, Some(other), &well, true),
        (Code::JobMisbehaved, None, &well, true),
        (Code::JobMisbehaved, Some(other), &well, false),
        (Code::JobMisbehaved, Some(other), &lost, false),
        (Code::JobMisbehaved, Some(other), &blamed, true),
        (Code::JobMisbehaved, Some(me), &blamed, false),
        (Code::JobDisagreement, Some(other), &lost, false),
        (Code::JobPeerLost, Some(me), &well, false),
        (Code::JobPeerLost, Some(me), &lost, true),
        (Code::JobBusy, None, &well, false),
        (Code::RefusedQuota, Some(other), &well, false),
        (Code::JobLocal, Some(me), &local, true),
        (Code::JobLocal, Some(me), &lost, false),
        (Code::JobValueOutOfRange, Some(me), &local, false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(said(&aborted(code, seat), Some(own), None), attests, "{i}: {code} {seat:?} {own:?}");
    }
    let refused =
        |code, seat| UsageRecord { status: Status::Refused { code, seat }, attempt: Attempt(0), ..good.clone() };
    for (i, (code, seat, refusal, attests)) in [
        (Code::RefusedQuota, Some(me), Some(Code::RefusedQuota), true),
        (Code::RefusedQuota, Some(other), None, true),
        (Code::RefusedQuota, Some(other), Some(Code::RefusedColumn), true),
        (Code::RefusedQuota, Some(me), None, false),
        (Code::RefusedQuota, Some(me), Some(Code::RefusedColumn), false),
        (Code::RefusedQuota, None, None, false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(said(&refused(code, seat), None, refusal), attests, "{i}: {code} {seat:?} {refusal:?}");
    }
    type Change = fn(&mut UsageRecord);
    let base = aborted(Code::JobPeerLost, Some(other));
    let changes: [(&str, Change); 7] = [
        ("an opening", |r| {
            let to = Audience::Party(r.parties[0].party);
            r.disclosures.push(Disclosure { what: "rows".into(), to, cardinality: 1 });
        }),
        ("away", |r| r.parties.iter_mut().for_each(|p| p.standing = Standing::Dropped { step: Step::new(1, 1) })),
        ("another undecided", |r| {
            let other = r.parties.iter_mut().find(|p| p.party != key(102).id()).unwrap();
            other.standing = Standing::Silent;
        }),
        ("long before", |r| r.started = UnixMillis(1)),
        ("after it began here", |r| {
            r.started = NOW.plus(CLOCK_SKEW_MAX_MS + 1);
            r.ended = r.started;
        }),
        ("another order", |r| r.parties.reverse()),
        ("an old version", |r| r.version = tacit_receipts::record::RECORD_VERSION_FIRST),
    ];
    assert!(said(&base, Some(&lost), None));
    for (what, change) in changes {
        let mut record = base.clone();
        change(&mut record);
        assert!(!said(&record, Some(&lost), None), "{what}");
    }
}

/// A party that was never heard of may be unknown here; then there is no result either.
#[test]
fn a_provider_that_is_not_known_gives_no_result() {
    let job = job();
    let mut record = record(&job);
    let without_one = |root: &NodeId| pinned(root).filter(|_| *root != key(3).id());
    assert!(check_parties(&record, job.body(), without_one).is_err());
    record.status = Status::Refused { code: Code::RefusedKind, seat: Some(Seat(0)) };
    assert!(check_parties(&record, job.body(), without_one).is_ok());
}

#[test]
fn kinds_become_names() {
    assert_eq!(kind_name("stats/v1").as_str(), "stats.v1");
    assert_eq!(kind_name("").as_str(), "unknown");
}
