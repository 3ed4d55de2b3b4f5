//! The job's life, step by step.

use super::*;
use tacit_crypto::{Rng, SealKey, Secret, SigningKey};
use tacit_governance::{Cohort, PartyCard, PartyRole, ProviderRef};
use tacit_types::{ContractId, DatasetVersionId};

const T0: UnixMillis = UnixMillis(1_800_000_000_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn member(seed: u8) -> Member {
    let (root, node) = (key(seed), key(seed + 100));
    let name = Name::new(&format!("p{seed}")).unwrap();
    let card = PartyCard {
        version: 1,
        name: name.clone(),
        root: root.id(),
        node: node.id(),
        seal: SealKey::generate(&mut Rng::from_seed(&Secret::new([seed; 32]))).public(),
        witness: key(seed + 50).id(),
        role: PartyRole::Partner,
        issued_at: T0,
    };
    let card = Statement::sign(&root, "card", T0, None, card).bytes().to_vec().into();
    Member { name, root: root.id(), node: node.id(), seated: Seated { card, address: "127.0.0.1:1".into() } }
}

fn spec(providers: &[u8]) -> Vec<u8> {
    let provider =
        |seed: &u8| ProviderRef { owner: key(*seed).id(), dataset: DatasetVersionId([*seed; 32]), view: "v".into() };
    let spec = JobSpec {
        version: 1,
        kind: "count/v1".into(),
        params: Vec::new(),
        contracts: vec![ContractId([1; 32])],
        providers: providers.iter().map(provider).collect(),
        purpose: "test".into(),
        recipient: SealKey::generate(&mut Rng::from_seed(&Secret::new([9; 32]))).public(),
        cohort: Cohort { rows: 3, contributors: 2 },
        nonce: vec![7; 16],
        created_at: T0,
        expires_at: T0.plus(3_600_000),
        attempt_ms: 60_000,
        models: Vec::new(),
        dealer: None,
        attachments: Vec::new(),
    };
    Statement::sign(&key(90), "job", T0, None, spec).bytes().to_vec()
}

fn job(seeds: &[u8]) -> Job {
    let members = seeds.iter().map(|s| member(*s)).collect();
    Job::submit(spec(seeds), members, Vec::new(), "l.example/u", Limits::default(), T0).unwrap()
}

fn answer(job: &mut Job, seed: u8, at: u64, answer: FromNode) {
    job.step(T0.plus(at), Input::Answer { node: key(seed + 100).id(), answer });
}

fn admit(job: &mut Job, seeds: &[u8]) {
    for seed in seeds {
        let body = Admission {
            job: job.id(),
            owner: key(*seed).id(),
            contract: ContractId([1; 32]),
            dataset: Some(DatasetVersionId([*seed; 32])),
            rows: 0,
            at: T0,
        };
        let signed = Statement::sign(&key(seed + 100), "a", T0, None, body).bytes().to_vec().into();
        answer(job, *seed, 1, FromNode::Admitted(signed));
    }
}

/// Up to a running attempt; the aggregator's seed and the others'.
fn running(seeds: &[u8]) -> (Job, u8, Vec<u8>) {
    let mut job = job(seeds);
    admit(&mut job, seeds);
    for seed in seeds {
        answer(&mut job, *seed, 2, FromNode::Reserved);
    }
    assert_eq!(job.state(), "running");
    let aggregator = *seeds.iter().find(|s| Some(key(**s + 100).id()) == job.aggregator).unwrap();
    (job, aggregator, seeds.iter().copied().filter(|s| *s != aggregator).collect())
}

fn finish(job: &mut Job, seed: u8, at: u64, finished: Finished) {
    let finish = Finish { job: job.id(), attempt: Attempt(job.attempt), finished };
    job.step(T0.plus(at), Input::Finish { node: key(seed + 100).id(), finish });
}

fn failed(code: Code, hint: &str) -> Finished {
    Finished::Failed { code, step: None, seat: None, hint: hint.into(), blame: None, input_sent: false }
}

fn asked(job: &Job) -> Vec<(NodeId, ToNode)> {
    let ask = |c| match c {
        Command::Ask { node, request } => Some((node, request)),
        _ => None,
    };
    job.outstanding().into_iter().filter_map(ask).collect()
}

#[test]
fn a_job_without_providers_is_no_job() {
    let fault = Job::submit(spec(&[]), Vec::new(), Vec::new(), "o", Limits::default(), T0).unwrap_err();
    assert_eq!(fault.code, Code::RefusedParties);
}

#[test]
fn a_job_that_nobody_attests_ends_without_a_receipt() {
    let mut job = job(&[1, 2]);
    job.step(T0.plus(20_000), Input::Tick);
    assert!(job.outstanding().iter().all(|c| !matches!(c, Command::Append { .. })));
    job.step(T0.plus(40_000), Input::Tick);
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::JobUnreachable, party: Some(_), .. })));
    assert_eq!((job.state(), job.receipt()), ("failed", None));
    job.step(T0.plus(60_000), Input::Tick);
    assert!(job.is_over());
}

#[test]
fn a_job_waits_for_a_turn_without_spending_attempts() {
    let mut job = job(&[1, 2]);
    admit(&mut job, &[1, 2]);
    for round in 0..5 {
        assert_eq!((job.state(), job.attempt), ("reserving", 1));
        job.step(T0.plus(10 + round), Input::Capacity(false));
        assert_eq!((job.state(), job.attempt), ("queued", 0));
        assert!(asked(&job).is_empty());
        job.step(T0.plus(20 + round), Input::Tick);
        assert_eq!(job.state(), "queued");
        job.step(T0.plus(30 + round), Input::Capacity(true));
    }
    // Once a node keeps a slot for it, the number is spent.
    answer(&mut job, 1, 40, FromNode::Reserved);
    job.step(T0.plus(41), Input::Capacity(false));
    assert_eq!(job.state(), "reserving");
    answer(&mut job, 2, 42, FromNode::Busy);
    job.step(T0.plus(43), Input::Capacity(false));
    assert_eq!((job.state(), job.attempt), ("queued", 1));
    job.step(T0.plus(70_000), Input::Tick);
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::JobBusy, .. })));
}

#[test]
fn a_cancelled_attempt_does_not_wait_for_nodes_that_never_began() {
    let (mut job, aggregator, others) = running(&[1, 2, 3]);
    answer(&mut job, aggregator, 3, FromNode::Started);
    job.step(T0.plus(4), Input::Cancel);
    assert!(asked(&job).iter().all(|(_, r)| matches!(r, ToNode::Cancel { code: Code::JobCancelled, .. })));
    for other in others {
        answer(&mut job, other, 5, FromNode::Done);
    }
    assert_eq!(job.state(), "running");
    answer(&mut job, aggregator, 6, FromNode::Done);
    assert_eq!(job.state(), "running", "it began, so it has a report to make");
    finish(&mut job, aggregator, 7, failed(Code::JobCancelled, ""));
    assert_eq!((job.state(), job.terminal()), ("settling", Some(&Terminal::Cancelled)));
}

#[test]
fn the_others_stop_when_the_aggregator_cannot_go_on() {
    let (mut job, aggregator, others) = running(&[1, 2, 3]);
    for seed in [1, 2, 3] {
        answer(&mut job, seed, 3, FromNode::Started);
    }
    assert!(asked(&job).is_empty());
    finish(&mut job, aggregator, 4, failed(Code::JobLocal, "no"));
    assert_eq!(asked(&job).len(), 2);
    assert!(asked(&job).iter().all(|(_, r)| matches!(r, ToNode::Cancel { code: Code::JobLocal, .. })));
    for other in others {
        finish(&mut job, other, 5, failed(Code::JobCancelled, ""));
    }
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::JobLocal, .. })));

    let (mut job, aggregator, _) = running(&[1, 2, 3]);
    job.step(T0.plus(10), Input::Reachable { node: key(aggregator + 100).id(), reachable: false });
    assert!(asked(&job).iter().all(|(_, r)| matches!(r, ToNode::Start { .. })));
    job.step(T0.plus(4_010), Input::Tick);
    assert!(asked(&job).iter().all(|(_, r)| matches!(r, ToNode::Cancel { code: Code::JobPeerLost, .. })));
    // A wake that is past is not the only one.
    let wakes = job.outstanding().into_iter().filter(|c| matches!(c, Command::WakeAt(at) if at.0 > T0.0 + 4_010));
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_result_is_the_aggregators_alone_and_hints_are_short() {
    let (mut job, _, others) = running(&[1, 2, 3]);
    let result = Finished::Ok {
        package: Some(Package::Inline(Blob(vec![1; 9]))),
        survivors: vec![Seat(0)],
        cells_in: 1,
        payload_bytes: 8,
        cells_out: 1,
        cells_suppressed: 0,
        opened: Vec::new(),
    };
    finish(&mut job, others[0], 3, result);
    assert!(job.survivors().is_none());
    finish(&mut job, others[1], 4, failed(Code::JobLocal, &"\u{9ed8}".repeat(DETAIL_BYTES_MAX)));
    assert!(job.timeline.iter().all(|e| e.detail.len() <= DETAIL_BYTES_MAX));
    let hints = job.parties.iter().filter_map(|p| match &p.finished {
        Some(Finished::Failed { hint, .. }) => Some(hint.len()),
        _ => None,
    });
    assert_eq!(hints.max(), Some(DETAIL_BYTES_MAX / 3 * 3));
}

#[test]
fn a_receipt_that_no_leaf_can_hold_ends_the_job() {
    let (mut job, ..) = running(&[1, 2]);
    job.state = State::Logging;
    job.terminal = Some(Terminal::Succeeded);
    job.step(T0.plus(9), Input::NotLogged(Fault::new(Code::ReceiptTooLarge, "big")));
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::ReceiptTooLarge, .. })));
    assert_eq!((job.state(), job.sealed_result()), ("failed", None));
}

#[test]
fn an_end_that_may_still_change_is_told_to_nobody() {
    let (mut job, aggregator, others) = running(&[1, 2, 3]);
    let ok = |package: Option<Package>| Finished::Ok {
        package,
        survivors: vec![Seat(0), Seat(1), Seat(2)],
        cells_in: 1,
        payload_bytes: 8,
        cells_out: 1,
        cells_suppressed: 0,
        opened: Vec::new(),
    };
    finish(&mut job, aggregator, 3, ok(Some(Package::Inline(Blob(vec![1; 9])))));
    others.iter().for_each(|other| finish(&mut job, *other, 3, ok(None)));
    job.state = State::Releasing { until: T0.plus(9_000) };
    answer(&mut job, aggregator, 4, FromNode::Released(Blob(vec![2])));
    assert_eq!(job.terminal(), Some(&Terminal::Succeeded));
    assert_eq!((job.view(T0).terminal, job.sealed_result()), (None, None), "two releases are still out");
    job.step(T0.plus(9_000), Input::Tick);
    let end = job.view(T0).terminal;
    assert!(matches!(end, Some(Terminal::Failed { code: Code::JobPeerLost, .. })), "{end:?}");
    assert_eq!(job.sealed_result(), None);
}

#[test]
fn one_owner_decides_first_and_the_others_on_what_it_admitted() {
    let seeds = [1, 2, 3];
    let asked = |job: &Job| -> Vec<NodeId> {
        let asked = job.outstanding().into_iter().filter_map(|c| match c {
            Command::Ask { node, request: ToNode::Admit { .. } } => Some(node),
            _ => None,
        });
        asked.collect()
    };
    let mut order = seeds;
    order.sort_by_key(|seed| key(seed + 100).id());
    let nodes = order.map(|seed| key(seed + 100).id());
    let mut admitted = job(&seeds);
    assert_eq!(asked(&admitted), [nodes[0]]);
    admit(&mut admitted, &order[..1]);
    let mut others = asked(&admitted);
    others.sort();
    assert_eq!(others, nodes[1..]);
    admit(&mut admitted, &order[1..]);
    assert_eq!((asked(&admitted), admitted.state()), (Vec::new(), "reserving"));

    // Who does not decide in time is named, and not one that was never asked.
    let mut silent = job(&seeds);
    silent.step(T0.plus(20_000), Input::Tick);
    let named = format!("p{}", order[0]);
    let end = silent.terminal();
    assert!(matches!(end, Some(Terminal::Failed { party: Some(party), .. }) if party.as_str() == named), "{end:?}");

    // What the first refuses, the others never hear of.
    let mut refused = job(&seeds);
    let body = Refusal {
        job: refused.id(),
        owner: key(order[0]).id(),
        code: Code::RefusedQuota,
        reason: "10 of 10 jobs used".into(),
        at: T0,
        offered: tacit_types::Hash(refused.id().0),
    };
    let signed = Statement::sign(&key(order[0] + 100), "r", T0, None, body).bytes().to_vec().into();
    answer(&mut refused, order[0], 1, FromNode::Refused(signed));
    assert_eq!((asked(&refused), refused.state()), (Vec::new(), "settling"));
    assert_eq!(refused.terminal().and_then(Terminal::code), Some(Code::RefusedQuota));
}

/// A node that lost its slot in a restart says so when it is to begin. The others stop at once, and all
/// slots are asked for again, with growing pauses, until the job expires.
#[test]
fn a_lost_slot_is_asked_for_again_until_the_job_expires() {
    let (mut job, ..) = running(&[1, 2, 3]);
    let lost = || FromNode::Failed(Fault::new(Code::JobBusy, "no slot is kept"));
    let (mut at, mut pauses) = (10, Vec::new());
    for round in 1..=u64::from(ATTEMPTS_MAX) + 2 {
        assert_eq!((job.state(), u64::from(job.attempt)), ("running", round));
        answer(&mut job, 2, at, lost());
        let stopped = asked(&job);
        assert_eq!(stopped.len(), 2);
        assert!(stopped.iter().all(|(_, r)| matches!(r, ToNode::Cancel { code: Code::JobBusy, .. })), "{stopped:?}");
        answer(&mut job, 1, at, FromNode::Done);
        answer(&mut job, 3, at, FromNode::Done);
        let State::Queued { from, .. } = job.state else { panic!("{:?}", job.state) };
        pauses.push(from.0 - T0.0 - at);
        at = from.0 - T0.0;
        job.step(T0.plus(at), Input::Tick);
        [1, 2, 3].iter().for_each(|seed| answer(&mut job, *seed, at, FromNode::Reserved));
    }
    assert!(pauses.is_sorted() && pauses[0] >= 100 && pauses[4] > 1_000, "{pauses:?}");
    assert!(*pauses.last().unwrap() <= BUSY_PAUSE_MS_MAX);
    // A loss while it runs still counts as one of a few tries.
    for seed in [1, 2, 3] {
        answer(&mut job, seed, at, FromNode::Started);
        finish(&mut job, seed, at, failed(Code::JobPeerLost, ""));
    }
    assert_eq!(job.state(), "queued");
    job.step(T0.plus(at + 100), Input::Tick);
    [1, 2, 3].iter().for_each(|seed| answer(&mut job, *seed, at + 100, FromNode::Reserved));
    let expired = 3_600_000;
    answer(&mut job, 2, expired, lost());
    answer(&mut job, 1, expired, FromNode::Done);
    answer(&mut job, 3, expired, FromNode::Done);
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::JobBusy, .. })), "{:?}", job.terminal());
}

/// What was only reserved has not run, and no record says that it has.
#[test]
fn a_record_names_the_last_attempt_that_ran() {
    let mut job = job(&[1, 2]);
    admit(&mut job, &[1, 2]);
    answer(&mut job, 1, 3, FromNode::Reserved);
    answer(&mut job, 2, 3, FromNode::Busy);
    job.step(T0.plus(5_000), Input::Tick);
    assert_eq!((job.state(), job.attempt), ("reserving", 2));
    job.step(T0.plus(5_001), Input::Cancel);
    assert_eq!(job.record().unwrap().attempt, Attempt(0));

    let (mut job, ..) = running(&[1, 2]);
    for seed in [1, 2] {
        finish(&mut job, seed, 4, failed(Code::JobLocal, ""));
    }
    assert_eq!(job.record().unwrap().attempt, Attempt(1));
}
