//! The job's life, step by step.

use super::*;
use tacit_crypto::{Rng, SealKey, Secret, SigningKey};
use tacit_governance::{Cohort, PartyCard, PartyRole, ProviderRef};
use tacit_types::{ContractId, DatasetVersionId};

mod large;
mod late;
mod links;
mod voted;

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
    dealt(providers, None)
}

fn dealt(providers: &[u8], dealer: Option<u8>) -> Vec<u8> {
    specified(providers, dealer, None)
}

fn specified(providers: &[u8], dealer: Option<u8>, asker: Option<u8>) -> Vec<u8> {
    let spec = drafted(providers, dealer, asker);
    Statement::sign(&key(90), "job", T0, None, spec).bytes().to_vec()
}

fn drafted(providers: &[u8], dealer: Option<u8>, asker: Option<u8>) -> JobSpec {
    let provider =
        |seed: &u8| ProviderRef { owner: key(*seed).id(), dataset: DatasetVersionId([*seed; 32]), view: "v".into() };
    JobSpec {
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
        dealer: dealer.map(|seed| key(seed).id()),
        asker: asker.map(|seed| key(seed).id()),
        attachments: Vec::new(),
    }
}

fn job(seeds: &[u8]) -> Job {
    let members = seeds.iter().map(|s| member(*s)).collect();
    Job::submit(spec(seeds), members, Vec::new(), "l.example/u", Limits::default(), T0).unwrap()
}

/// Data owners and a dealer, up to a running attempt.
fn on_shares(owners: &[u8], dealer: u8) -> Job {
    let seeds: Vec<u8> = owners.iter().copied().chain([dealer]).collect();
    begun(dealt(owners, Some(dealer)), &seeds)
}

/// Owners of lists, up to a running attempt.
fn aligning(owners: &[u8]) -> Job {
    let columns = [("id".to_owned(), tacit_governance::ColumnKind::Text)];
    let provider = |seed: &u8| tacit_jobs::DraftProvider {
        name: format!("p{seed}"),
        owner: key(*seed).id(),
        columns: columns.clone().into(),
    };
    let draft = tacit_jobs::Draft { providers: owners.iter().map(provider).collect(), ..Default::default() };
    let written = serde_json::json!({
        "level": "both", "mode": "double_mask", "keys_min": 10, "keep_days": 9, "key": {"id": ["trim/1"]},
    });
    let params = tacit_jobs::kind("align/v1").unwrap().draft(written, &draft).unwrap();
    let spec = JobSpec { kind: "align/v1".into(), params, ..drafted(owners, None, None) };
    begun(Statement::sign(&key(90), "job", T0, None, spec).bytes().to_vec(), owners)
}

fn begun(bytes: Vec<u8>, seeds: &[u8]) -> Job {
    let members = seeds.iter().map(|s| member(*s)).collect();
    let mut job = Job::submit(bytes, members, Vec::new(), "l.example/u", Limits::default(), T0).unwrap();
    admit(&mut job, seeds);
    seeds.iter().for_each(|seed| answer(&mut job, *seed, 2, FromNode::Reserved));
    assert_eq!(job.state(), "running");
    seeds.iter().for_each(|seed| answer(&mut job, *seed, 3, FromNode::Started));
    job
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
            privacy: None,
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
    let finish = Finish { job: job.id(), attempt: Attempt(job.attempt), finished, blames: Vec::new(), links: None };
    job.step(T0.plus(at), Input::Finish { node: key(seed + 100).id(), finish });
}

fn failed(code: Code, hint: &str) -> Finished {
    Finished::Failed { code, step: None, seat: None, hint: hint.into(), input_sent: false }
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
    job.step(T0.plus(4), Input::Progress { step: Step::new(3, 1) });
    job.step(T0.plus(4), Input::Cancel(lab()));
    // The first order counts, and a later one says nothing new.
    job.step(T0.plus(4), Input::Cancel(Name::new("other").unwrap()));
    assert!(asked(&job).iter().all(|(_, r)| matches!(r, ToNode::Cancel { code: Code::JobCancelled, .. })));
    for other in others {
        answer(&mut job, other, 5, FromNode::Done);
    }
    assert_eq!(job.state(), "running");
    answer(&mut job, aggregator, 6, FromNode::Done);
    assert_eq!(job.state(), "running", "it began, so it has a report to make");
    finish(&mut job, aggregator, 7, failed(Code::JobCancelled, ""));
    let end = Terminal::CancelledBy { party: lab(), step: Some(Step::new(3, 1)) };
    assert_eq!((job.state(), job.terminal()), ("settling", Some(&end)));
    assert_eq!((end.word(), end.code(), end.reason()), ("cancelled", Some(Code::JobCancelled), None));
    assert_eq!((end.party(), end.step()), (Some(&lab()), Some(Step::new(3, 1))));
    job.step(T0.plus(8), Input::Cancel(lab()));
    let orders = job.timeline.iter().filter(|entry| entry.what == CANCELLING).count();
    assert_eq!((orders, job.terminal()), (1, Some(&end)));
}

/// However full its timeline is; and before any attempt there is no step.
#[test]
fn a_cancelled_job_ends_by_the_name_of_who_cancelled_it() {
    let mut full = job(&[1, 2]);
    let filler = TimelineEntry { at: T0, what: "x".into(), party: None, detail: String::new() };
    full.timeline = vec![filler; TIMELINE_MAX];
    full.step(T0.plus(4), Input::Cancel(lab()));
    let end = Terminal::CancelledBy { party: lab(), step: None };
    assert_eq!(full.terminal(), Some(&end));
    // One that an earlier version had cancelled names nobody.
    let mut stored = job(&[1, 2]);
    stored.cancelled = true;
    stored.step(T0.plus(5), Input::Tick);
    assert_eq!(stored.terminal(), Some(&Terminal::Cancelled));
    assert_eq!((Terminal::Cancelled.party(), Terminal::Cancelled.step()), (None, None));
    let number = |end: &Terminal| tacit_types::wire::encode(end)[0];
    let numbers = [Terminal::Succeeded, Terminal::Cancelled, Terminal::Expired, end].map(|end| number(&end));
    assert_eq!(numbers, [0, 3, 4, 5], "what is stored keeps its numbers");
}

fn lab() -> Name {
    Name::new("lab").unwrap()
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
    // A wake that is past is not the only one: the end of patience with it, and of the attempt.
    let wakes = job.outstanding().into_iter().filter(|c| matches!(c, Command::WakeAt(at) if at.0 > T0.0 + 4_010));
    assert_eq!(wakes.count(), 2);
}

/// On shares nobody can be missed, whoever adds up: the first report of a loss stops the others, and the end names who
/// was lost, not who waited for somebody that waited for it.
#[test]
fn a_loss_on_shares_stops_everyone_and_names_who_was_lost_first() {
    let seat_of = |job: &Job, seed: u8| {
        let order = job.seat_order();
        Seat(order.iter().position(|i| job.parties[*i].member.root == key(seed).id()).unwrap() as u16)
    };
    let missing = |seat: Seat, input_sent: bool| Finished::Failed {
        code: Code::JobPeerLost,
        step: Some(Step(7)),
        seat: Some(seat),
        hint: "nothing from it".into(),
        input_sent,
    };
    for (lost, back) in [(4, false), (4, true), (2, false), (2, true)] {
        let mut job = on_shares(&[1, 2, 3], 4);
        let others: Vec<u8> = [1, 2, 3, 4].into_iter().filter(|s| *s != lost).collect();
        job.step(T0.plus(10), Input::Reachable { node: key(lost + 100).id(), reachable: false });
        let (first, second, third) = (others[0], others[1], others[2]);
        // One that waits for who waits reports first.
        let (named, waited) = (seat_of(&job, lost), seat_of(&job, second));
        finish(&mut job, first, 20, missing(waited, true));
        let told: Vec<NodeId> =
            asked(&job).into_iter().filter(|(_, r)| matches!(r, ToNode::Cancel { .. })).map(|(node, _)| node).collect();
        assert!([second, third].iter().all(|s| told.contains(&key(s + 100).id())), "{told:?}");
        finish(&mut job, second, 30, missing(named, true));
        finish(&mut job, third, 40, failed(Code::JobPeerLost, "cancelled"));
        if back {
            finish(&mut job, lost, 50, failed(Code::JobPeerLost, "the node was restarted; the attempt is burned"));
        } else {
            job.step(T0.plus(20_000), Input::Tick);
        }
        let Some(Terminal::Failed { code: Code::JobPeerLost, party: Some(party), .. }) = job.terminal() else {
            panic!("{:?}", job.terminal())
        };
        assert_eq!(party.as_str(), format!("p{lost}"), "{back}");
    }
}

/// A window that one party could not open is given up for all; one that is open is settled by who is left.
#[test]
fn a_window_is_given_up_only_by_who_failed_before_it_was_ready() {
    let ready = tacit_jobs::session::ONLINE_ROUND;
    for (step, given_up) in [
        (Some(Step::new(ready, 0)), true),
        (Some(Step::new(ready, 1)), false),
        (Some(Step::new(ready, 9)), false),
        (None, false),
    ] {
        let seeds = [1, 2, 3];
        let members = seeds.iter().map(|s| member(*s)).collect();
        let bytes = specified(&[1, 2], None, Some(3));
        let mut job = Job::submit(bytes, members, Vec::new(), "l.example/u", Limits::default(), T0).unwrap();
        admit(&mut job, &seeds);
        seeds.iter().for_each(|seed| answer(&mut job, *seed, 2, FromNode::Reserved));
        seeds.iter().for_each(|seed| answer(&mut job, *seed, 3, FromNode::Started));
        assert_eq!(job.state(), "running");
        let Finished::Failed { code, seat, hint, input_sent, .. } = failed(Code::JobPeerLost, "gone") else {
            unreachable!("it is a failure")
        };
        finish(&mut job, 1, 20, Finished::Failed { code, step, seat, hint, input_sent });
        let stopped = asked(&job).iter().any(|(_, request)| matches!(request, ToNode::Cancel { .. }));
        assert_eq!(stopped, given_up, "{step:?}");
    }
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
fn a_hash_alone_is_no_result_even_of_the_aggregator() {
    let (mut job, aggregator, _) = running(&[1, 2, 3]);
    let known = Finished::Ok {
        package: Some(Package::Known { hash: tacit_types::Hash([1; 32]) }),
        survivors: vec![Seat(0)],
        cells_in: 1,
        payload_bytes: 8,
        cells_out: 1,
        cells_suppressed: 0,
        opened: Vec::new(),
    };
    finish(&mut job, aggregator, 3, known);
    assert!(job.survivors().is_none());
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
fn who_is_named_does_not_rest_on_an_attempt_before() {
    let (mut job, aggregator, others) = running(&[1, 2, 3]);
    let seat = |job: &Job, seed: u8| job.seat(&key(seed + 100).id());
    let lost = |job: &Job, of: u8| Finished::Failed {
        code: Code::JobPeerLost,
        step: None,
        seat: seat(job, of),
        hint: "lost".into(),
        input_sent: false,
    };
    let (a, b) = (others[0], others[1]);
    // Two say it of each other; the third is told to stop. The first that says so is believed, in each attempt anew.
    let (said_by_a, said_by_b) = (lost(&job, b), lost(&job, a));
    finish(&mut job, a, 3, said_by_a.clone());
    finish(&mut job, b, 4, said_by_b.clone());
    finish(&mut job, aggregator, 5, failed(Code::JobCancelled, "told to stop"));
    let again = |job: &Job| job.timeline.iter().rev().find(|e| e.what == "again").and_then(|e| e.party.clone());
    assert_eq!(again(&job).unwrap().as_str(), format!("p{b}"));
    job.step(T0.plus(200), Input::Tick);
    for seed in [1, 2, 3] {
        answer(&mut job, seed, 201, FromNode::Reserved);
    }
    assert_eq!(job.state(), "running");
    finish(&mut job, b, 203, said_by_b);
    finish(&mut job, a, 204, said_by_a);
    finish(&mut job, aggregator, 205, failed(Code::JobCancelled, "told to stop"));
    assert_eq!(again(&job).unwrap().as_str(), format!("p{a}"));
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
    // Who has not answered by the attempt's own end is named.
    assert!(matches!(job.terminal(), Some(Terminal::Failed { code: Code::JobPeerLost, .. })), "{:?}", job.terminal());
}

/// An owner that brings no list keeps the other waiting for nothing; who drops out of a sum does not.
#[test]
fn a_list_that_is_not_brought_ends_the_attempt_for_the_other() {
    let told = |job: &Job| asked(job).into_iter().filter(|(_, r)| matches!(r, ToNode::Cancel { .. })).count();
    for owner in [1, 2] {
        let mut job = aligning(&[1, 2]);
        finish(&mut job, owner, 10, failed(Code::RefusedAlignment, "fewer than 20 keys"));
        assert_eq!(told(&job), 1);
        finish(&mut job, 3 - owner, 20, failed(Code::JobCancelled, "the attempt was stopped"));
        assert_eq!(job.terminal().and_then(Terminal::code), Some(Code::RefusedAlignment));
    }
    let (mut job, _, others) = running(&[1, 2, 3, 4]);
    [1, 2, 3, 4].iter().for_each(|seed| answer(&mut job, *seed, 3, FromNode::Started));
    finish(&mut job, others[0], 10, failed(Code::JobLocal, ""));
    assert_eq!(told(&job), 0);
}

/// One that is away when the attempt fails is waited for: it may say that its input has not left it.
#[test]
fn an_attempt_is_repeated_once_everyone_has_said_that_no_input_left() {
    let lost = |job: &mut Job, at, reachable| {
        job.step(T0.plus(at), Input::Reachable { node: key(101).id(), reachable });
    };
    for input_sent in [false, true] {
        let (mut job, ..) = running(&[1, 2, 3]);
        [1, 2, 3].iter().for_each(|seed| answer(&mut job, *seed, 3, FromNode::Started));
        lost(&mut job, 10, false);
        [2, 3].iter().for_each(|seed| finish(&mut job, *seed, 20, failed(Code::JobPeerLost, "")));
        job.step(T0.plus(9_000), Input::Tick);
        assert_eq!(job.state(), "running", "past loss_ms, within settle_ms");
        lost(&mut job, 9_500, true);
        let burned = match failed(Code::JobPeerLost, "burned") {
            Finished::Failed { code, step, seat, hint, .. } => Finished::Failed { code, step, seat, hint, input_sent },
            ok => ok,
        };
        finish(&mut job, 1, 9_600, burned);
        assert_eq!(job.state(), if input_sent { "settling" } else { "queued" });
    }
    // It does not come back: it is named. Nor is it waited for once another's input has left.
    let (mut job, ..) = running(&[1, 2, 3]);
    lost(&mut job, 10, false);
    [2, 3].iter().for_each(|seed| finish(&mut job, *seed, 20, failed(Code::JobPeerLost, "")));
    job.step(T0.plus(10_011), Input::Tick);
    assert_eq!(job.terminal().and_then(Terminal::code), Some(Code::JobPeerLost));
    assert_eq!(job.record().unwrap().attempt, Attempt(1));
}

/// A node that answers `Started` to an order to stop has an end to report, and one that was told to begin
/// after its input had left it once is the end of the job.
#[test]
fn only_a_node_that_never_began_ends_by_its_answer() {
    let (mut job, ..) = running(&[1, 2, 3]);
    answer(&mut job, 2, 3, FromNode::Failed(Fault::new(Code::JobBusy, "no slot is kept")));
    assert!(asked(&job).iter().all(|(_, r)| matches!(r, ToNode::Cancel { attempt: Attempt(1), .. })));
    answer(&mut job, 1, 4, FromNode::Started);
    answer(&mut job, 3, 4, FromNode::Done);
    answer(&mut job, 1, 5, FromNode::Done);
    assert_eq!(job.state(), "running", "the end of the first is on its way");
    finish(&mut job, 1, 6, failed(Code::JobBusy, "cancelled"));
    assert_eq!(job.state(), "queued");

    let (mut job, ..) = running(&[1, 2, 3]);
    answer(&mut job, 2, 3, FromNode::Failed(Fault::new(Code::JobPeerLost, "an input has left")));
    [1, 3].iter().for_each(|seed| answer(&mut job, *seed, 4, FromNode::Done));
    assert_eq!((job.state(), job.attempt), ("settling", 1));
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
    job.step(T0.plus(5_001), Input::Cancel(lab()));
    assert_eq!(job.record().unwrap().attempt, Attempt(0));

    let (mut job, ..) = running(&[1, 2]);
    for seed in [1, 2] {
        finish(&mut job, seed, 4, failed(Code::JobLocal, ""));
    }
    assert_eq!(job.record().unwrap().attempt, Attempt(1));
}

/// A node whose key has changed answers under its id, with either key of an overlap, and with the old one no more after it.
#[test]
fn a_node_answers_with_a_key_that_holds() {
    let (old, new, id) = (key(101), key(201), key(101).id());
    let (from, until) = (T0.plus(1_000), T0.plus(5_000));
    let turn = tacit_receipts::PartyRotation::sign("l.example/u", (KeyRole::Node, id), (&old, &new), (from, until));
    let mut keys = KeyHistory::new("l.example/u");
    keys.follow_any(&turn, None).unwrap();
    let keys = Arc::new(keys);
    let admitted = |by: &SigningKey, at: u64, knows: bool| {
        let mut job = job(&[1, 2]);
        if knows {
            job.know(&keys);
        }
        let body = Admission {
            job: job.id(),
            owner: key(1).id(),
            contract: ContractId([1; 32]),
            dataset: Some(DatasetVersionId([1; 32])),
            rows: 0,
            privacy: None,
            at: T0,
        };
        let signed = Statement::sign(by, "a", T0.plus(at), None, body).bytes().to_vec().into();
        answer(&mut job, 1, at, FromNode::Admitted(signed));
        job.parties[0].decision == Decision::Admitted
    };
    assert!(admitted(&old, 0, false) && !admitted(&new, 4_000, false), "as long as nobody has heard of the change");
    assert!(admitted(&old, 4_000, true) && admitted(&new, 4_000, true));
    assert!(!admitted(&old, 6_000, true) && admitted(&new, 6_000, true));
    assert!(!admitted(&key(102), 4_000, true), "another party's");
    // The evidence of an attempt is checked with the keys of its time.
    let mut known = job(&[1, 2]);
    known.know(&keys);
    assert_eq!(wire_of(&known), wire_of(&job(&[1, 2])), "what is known of keys is no part of the state");
}

fn wire_of(job: &Job) -> Vec<u8> {
    tacit_types::wire::encode(job)
}
