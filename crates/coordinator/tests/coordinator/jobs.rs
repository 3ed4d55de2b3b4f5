//! Jobs from submission to their end.

use std::time::{Duration, Instant};

use tacit_crypto::Statement;
use tacit_engine::api::{FromCoordinator, ToCoordinator};
use tacit_engine::{CancelOrder, Terminal};
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::{Purpose, keyfile};
use tacit_receipts::{JointReceipt, Notice, TrustSource, verify_files};
use tacit_types::{Code, JobId};

use crate::support::*;

fn receipts(leaves: &[Vec<u8>]) -> Vec<JobId> {
    leaves.iter().filter_map(|l| Statement::<JointReceipt>::verify(l).ok()).map(|r| r.body().record.job).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_succeeds_and_its_receipt_is_in_the_log() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let (operator, other) = (world.operator("o").await, world.operator("x").await);
    let bytes = operator.job(&nodes, 1);
    let mut times = Vec::new();
    let id = operator.submit(bytes.clone()).await.unwrap();
    assert_eq!(operator.submit(bytes.clone()).await.unwrap(), id);
    let view = operator.end(id).await;
    assert_eq!(
        (view.terminal, view.receipt, view.attempt),
        (Some(Terminal::Succeeded), Some(2), 1),
        "{:?}",
        view.timeline
    );
    assert_eq!(operator.submit(bytes).await.unwrap(), id);

    let FromCoordinator::Result(result) = operator.ask(&ToCoordinator::Result(id)).await.unwrap() else { panic!() };
    assert_eq!(result.package, tacit_engine::Package::Inline(tacit_types::wire::Blob(b"sealed".to_vec())));
    let mut ids: Vec<_> = nodes.iter().map(Node::id).collect();
    ids.sort();
    let released: Vec<_> = result.releases.iter().map(|(_, r)| r.0.clone()).collect();
    assert_eq!(released, ids.iter().map(|n| n.0.to_vec()).collect::<Vec<_>>());
    assert_eq!(other.ask(&ToCoordinator::Result(id)).await.unwrap_err().code, Code::JobNotOurs);
    let order = Statement::sign(&other.keys.node, "c", now(), None, CancelOrder { job: id });
    let order = ToCoordinator::Cancel(order.bytes().to_vec().into());
    assert_eq!(other.ask(&order).await.unwrap_err().code, Code::JobNotOurs);

    for nonce in 2..12 {
        let begun = Instant::now();
        let id = operator.submit(operator.job(&nodes, nonce)).await.unwrap();
        assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
        times.push(begun.elapsed());
    }
    times.sort();
    println!("a job takes {:?} (median of {})", times[times.len() / 2], times.len());
    // Alone it takes a fifth of this; other tests run beside it.
    assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");

    let leaves = world.leaves(&operator).await;
    assert_eq!((leaves.len(), receipts(&leaves).len()), (13, 11));
    world.stop().await;
    let report = verify_files(&Files(world.log()), None).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert_eq!((report.receipts, report.trust), (11, TrustSource::FromBundle));
    let report = tacit_coordinator::fsck(world.home()).unwrap();
    assert_eq!((report.leaves, report.receipts, report.jobs, report.unreceipted), (13, 11, 11, 0));
    assert!(report.cosignatures >= 2);
}

/// One node counts otherwise than the others: the result opens, and the receipt says who counted what.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_differs_is_in_the_receipt_and_holds_nothing_up() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes[1].script().more = 2;
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    let view = operator.end(id).await;
    assert_eq!((view.terminal, view.receipt), (Some(Terminal::Succeeded), Some(2)), "{:?}", view.timeline);
    let FromCoordinator::Result(result) = operator.ask(&ToCoordinator::Result(id)).await.unwrap() else { panic!() };
    assert_eq!(result.releases.len(), 3);
    let leaves = world.leaves(&operator).await;
    let receipt = Statement::<JointReceipt>::verify(&leaves[2]).unwrap().into_body();
    let (record, odd) = (&receipt.record, nodes[1].id());
    assert_eq!((receipt.absent.len(), record.disputed().count()), (0, 3));
    for line in &record.lines {
        let counts = line.differing.iter().map(|s| (record.parties[s.seat.index()].party, s.quantity));
        let own = record.parties[line.party.index()].party == odd;
        match (line.is_disputed(), own) {
            (true, true) => assert!(counts.clone().count() == 2 && counts.clone().all(|c| c.1 == 5 && c.0 != odd)),
            (true, false) => assert_eq!(counts.collect::<Vec<_>>(), [(odd, 7)]),
            (false, _) => assert_ne!(line.unit, tacit_types::Unit::CellIn),
        }
    }
    world.stop().await;
    let report = verify_files(&Files(world.log()), None).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert!(report.notices.contains(&Notice::LinesDisputed { leaf: 2, count: 3 }), "{:?}", report.notices);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_planned_and_receipted() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes[1].script().refuse = true;
    let bytes = operator.job(&nodes, 1);
    let plan = ToCoordinator::Plan { job: bytes.clone().into() };
    let FromCoordinator::Planned(answers) = operator.ask(&plan).await.unwrap() else { panic!() };
    let objections: Vec<_> = answers.iter().filter(|a| a.objection.is_some()).map(|a| a.party.as_str()).collect();
    assert_eq!((answers.len(), objections), (3, vec!["p1"]));
    for answer in &answers {
        let rule = if answer.objection.is_some() { "purpose" } else { "" };
        let limits: Vec<_> = answer.meters.iter().map(|m| (m.limit, m.used, m.takes)).collect();
        assert_eq!((answer.rule.as_str(), limits), (rule, vec![(10, 3, 1)]), "{}", answer.party);
    }
    let view = operator.end(operator.submit(bytes).await.unwrap()).await;
    let Some(Terminal::Refused { code: Code::RefusedPurpose, party, .. }) = view.terminal else { panic!("{view:?}") };
    assert_eq!((party.as_str(), view.receipt), ("p1", Some(2)));
    assert_eq!(operator.ask(&ToCoordinator::Result(view.id)).await.unwrap_err().code, Code::JobNotFinished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_answers_fails_the_job_by_name() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    // Not the one that decides first: nobody would be left who knows of the job.
    let silent = nodes.iter().max_by_key(|n| n.id()).unwrap();
    silent.script().hold.insert("admit");
    let plan = ToCoordinator::Plan { job: operator.job(&nodes, 9).into() };
    let begun = Instant::now();
    let view = operator.end(operator.submit(operator.job(&nodes, 1)).await.unwrap()).await;
    let Some(Terminal::Failed { code: Code::JobUnreachable, party: Some(party), .. }) = view.terminal else {
        panic!("{view:?}")
    };
    assert_eq!((party.as_str(), view.receipt), (silent.keys.name.as_str(), Some(2)));
    assert!(begun.elapsed() < Duration::from_secs(10));

    // One that is not even connected.
    let (first, gone) = nodes.split_at(2);
    gone[0].up().await.close(tacit_net::CloseReason::Done);
    let _ = first;
    drop(nodes);
    let FromCoordinator::Planned(answers) = operator.ask(&plan).await.unwrap() else { panic!() };
    assert!(answers.iter().all(|a| a.objection.as_ref().is_some_and(|f| f.code == Code::JobUnreachable)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_part_fails_the_job_with_its_code() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes.iter().for_each(|n| n.script().fail = Some(Code::JobLocal));
    let view = operator.end(operator.submit(operator.job(&nodes, 1)).await.unwrap()).await;
    assert!(matches!(view.terminal, Some(Terminal::Failed { code: Code::JobLocal, .. })), "{view:?}");
    assert_eq!(view.receipt, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_by_its_operator() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes.iter().for_each(|n| n.script().mute = true);
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    nodes[0].came("start").await;
    let order = Statement::sign(&operator.keys.root, "c", now(), None, CancelOrder { job: id });
    let other_key = ToCoordinator::Cancel(order.bytes().to_vec().into());
    assert_eq!(operator.ask(&other_key).await.unwrap_err().code, Code::JobNotOurs);
    let order = Statement::sign(&operator.keys.node, "c", now(), None, CancelOrder { job: id });
    let order = ToCoordinator::Cancel(order.bytes().to_vec().into());
    operator.ask(&order).await.unwrap();
    nodes.iter().for_each(|n| n.script().mute = false);
    let view = operator.end(id).await;
    assert!(view.receipt.is_some(), "{view:?}");
    operator.ask(&order).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_jobs_at_once_leave_a_hundred_receipts() {
    let mut world = World::with_limits("[limits]\nclose_ms = 700\n").await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    let begun = Instant::now();
    let mut ids = Vec::new();
    for nonce in 0..100 {
        ids.push(operator.submit(operator.job(&nodes, nonce)).await.unwrap());
    }
    for id in &ids {
        let view = operator.end(*id).await;
        assert_eq!((view.terminal, view.attempt), (Some(Terminal::Succeeded), 1), "{:?}", view.timeline);
    }
    println!("100 jobs took {:?}", begun.elapsed());
    let mut logged = receipts(&world.leaves(&operator).await);
    logged.sort();
    ids.sort();
    assert_eq!(logged, ids);
    let mut listed = Vec::new();
    loop {
        let before = listed.last().copied();
        let page = ToCoordinator::Jobs { before, limit: 30 };
        let FromCoordinator::Jobs(page) = operator.ask(&page).await.unwrap() else { panic!() };
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 30);
        listed.extend(page.iter().map(|view| view.id));
    }
    listed.sort();
    assert_eq!(listed, ids);
    world.stop().await;
    let report = tacit_coordinator::fsck(world.home()).unwrap();
    assert_eq!((report.receipts, report.jobs), (100, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so() {
    let world = World::with_limits("[limits]\nopen_jobs = 2\n").await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes[0].script().hold.insert("admit");
    let first = operator.job(&nodes, 1);
    operator.submit(first.clone()).await.unwrap();
    operator.submit(operator.job(&nodes, 2)).await.unwrap();
    assert_eq!(operator.submit(operator.job(&nodes, 3)).await.unwrap_err().code, Code::JobBusy);
    operator.submit(first).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_of_an_enrolled_operator_is_not_taken() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    let good = operator.job(&nodes, 1);
    for at in [10, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(operator.submit(bad).await.is_err());
    }
    let stranger = Keys::new("s", tacit_governance::PartyRole::Operator);
    let body = tacit_governance::JobSpec::verify(&good).unwrap().into_body();
    let signed = Statement::sign(&stranger.node, "job", now(), None, body.clone()).bytes().to_vec();
    assert_eq!(operator.submit(signed).await.unwrap_err().code, Code::RefusedParties);
    let regulator = Keys::new("r", PartyRole::Regulator);
    world.enrol(&regulator).await;
    let signed = Statement::sign(&regulator.node, "job", now(), None, body.clone()).bytes().to_vec();
    assert_eq!(operator.submit(signed).await.unwrap_err().code, Code::RefusedParties, "a regulator submits nothing");
    let sign = |body| Statement::sign(&operator.keys.node, "job", now(), None, body).bytes().to_vec();
    let mut unknown = body.clone();
    unknown.providers[0].owner = stranger.root.id();
    assert_eq!(operator.submit(sign(unknown)).await.unwrap_err().code, Code::RefusedParties);
    let mut old = body;
    (old.created_at, old.expires_at) = (tacit_types::UnixMillis(1), tacit_types::UnixMillis(2));
    assert_eq!(operator.submit(sign(old)).await.unwrap_err().code, Code::RefusedJobExpired);
}

/// An organisation that opens windows has a node, and submits other jobs with the same enrolment: it sees all of those that
/// it signed, without a seat in them, and of others as much as any node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_submits_jobs_in_which_it_has_no_seat() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let lab = Keys::new("lab", PartyRole::Partner);
    world.enrol(&lab).await;
    let (lab, other) = (Client::new(lab, world.id, world.address).await, world.operator("o").await);
    let theirs = other.submit(other.job(&nodes, 1)).await.unwrap();
    other.end(theirs).await;
    let own = lab.submit(lab.job(&nodes, 2)).await.unwrap();
    assert!(matches!(lab.end(own).await.terminal, Some(Terminal::Succeeded)));
    assert!(matches!(lab.ask(&ToCoordinator::Result(own)).await, Ok(FromCoordinator::Result(_))));
    let FromCoordinator::Jobs(listed) = lab.ask(&ToCoordinator::Jobs { before: None, limit: 9 }).await.unwrap() else {
        panic!("no list")
    };
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), [own]);
    for request in [ToCoordinator::Job(theirs), ToCoordinator::Result(theirs)] {
        assert_eq!(lab.ask(&request).await.unwrap_err().code, Code::JobNotOurs);
    }
}

/// What everybody may see of a job, at the coordinator: all of it, all but what the other parties said, or
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_shown_to_those_whom_it_concerns() {
    #[derive(PartialEq, Eq, Debug)]
    enum Sight {
        All,
        Own,
        Nothing,
    }
    let world = World::new().await;
    let nodes = world.nodes(4).await;
    let (operator, other) = (world.operator("o").await, world.operator("x").await);
    let regulator = Keys::new("r", PartyRole::Regulator);
    world.enrol(&regulator).await;
    let regulator = Client::new(regulator, world.id, world.address).await;
    let own = Keys {
        node: keyfile::read_signing(&world.home().join("root.key")).unwrap(),
        ..Keys::new("c", PartyRole::Operator)
    };
    let own = Client::new(own, world.id, world.address).await;
    nodes[1].script().refuse = true;
    let id = operator.submit(operator.job(&nodes[..3], 1)).await.unwrap();
    assert!(matches!(operator.end(id).await.terminal, Some(Terminal::Refused { .. })));
    nodes[1].script().refuse = false;
    // Another one over other parties, so that a list of all would show.
    let elsewhere = other.submit(other.job(&nodes[1..], 2)).await.unwrap();
    other.end(elsewhere).await;

    let (node, bystander, refuser) = (nodes[0].up().await, nodes[3].up().await, nodes[1].up().await);
    for (who, asks, mine, theirs) in [
        ("its operator", Asks::Client(&operator), Sight::All, Sight::Nothing),
        ("another operator", Asks::Client(&other), Sight::Nothing, Sight::All),
        ("a regulator", Asks::Client(&regulator), Sight::All, Sight::All),
        ("who runs the coordinator", Asks::Client(&own), Sight::All, Sight::All),
        ("the party that refused", Asks::Node(&refuser), Sight::All, Sight::Own),
        ("a party", Asks::Node(&node), Sight::Own, Sight::Nothing),
        ("a party of another job", Asks::Node(&bystander), Sight::Nothing, Sight::Own),
    ] {
        let FromCoordinator::Jobs(listed) = asks.ask(&ToCoordinator::Jobs { before: None, limit: 9 }).await.unwrap()
        else {
            panic!("{who}")
        };
        for (job, wanted) in [(id, mine), (elsewhere, theirs)] {
            let shown = asks.ask(&ToCoordinator::Job(job)).await;
            let watched = asks.ask(&ToCoordinator::Watch { job, seen: 0, wait_ms: 10 }).await;
            let in_list = listed.iter().find(|view| view.id == job);
            if wanted == Sight::Nothing {
                assert_eq!(shown.unwrap_err().code, Code::JobNotOurs, "{who}");
                assert_eq!(watched.unwrap_err().code, Code::JobNotOurs, "{who}");
                assert_eq!(in_list, None, "{who}");
                continue;
            }
            let FromCoordinator::Job(shown) = shown.unwrap() else { panic!("{who}") };
            let FromCoordinator::Job(watched) = watched.unwrap() else { panic!("{who}") };
            for view in [&*shown, &*watched, in_list.unwrap_or_else(|| panic!("{who} does not list it"))] {
                assert_eq!(view.timeline.last().unwrap().what, "ended", "{who}");
                if job == id {
                    let refused = view.timeline.iter().find(|e| e.what == "refused").unwrap();
                    assert_eq!(!refused.detail.is_empty(), wanted == Sight::All, "{who}: {:?}", refused.detail);
                }
            }
        }
    }
}

enum Asks<'a> {
    Client(&'a Client),
    Node(&'a tacit_net::Connection),
}

impl Asks<'_> {
    async fn ask(&self, request: &ToCoordinator) -> Result<FromCoordinator, tacit_types::Fault> {
        match self {
            Asks::Client(client) => client.ask(request).await,
            Asks::Node(connection) => ask(connection, request).await,
        }
    }
}

/// A node counts as away as soon as its connection closes, and a new connection of it ends the old one:
/// nothing waits on the dead one until its silence is long enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_away_at_once_and_its_next_connection_counts() {
    let world = World::new().await;
    let operator = world.operator("o").await;
    let keys = Keys::new("p0", PartyRole::Partner);
    world.enrol(&keys).await;
    let online = async || {
        let FromCoordinator::Roster(roster) = operator.ask(&ToCoordinator::Roster).await.unwrap() else { panic!() };
        let find = |e: &&tacit_engine::RosterEntry| PartyCard::verify(&e.card).unwrap().body().name == keys.name;
        roster.iter().find(find).unwrap().online
    };
    let register = async || {
        let endpoint = keys.endpoint();
        let connection = endpoint.connect(&world.address.into(), &world.id, Purpose::Member).await.unwrap();
        let register = ToCoordinator::Register { address: "127.0.0.1:9".into(), datasets: vec![], slots: 4 };
        ask(&connection, &register).await.unwrap();
        (endpoint, connection)
    };
    assert!(!online().await);
    let (_first_endpoint, first) = register().await;
    assert!(online().await);
    let (_second_endpoint, second) = register().await;
    let begun = Instant::now();
    within(2, "the end of the old connection", first.closed()).await;
    assert!(online().await);
    second.close(tacit_net::CloseReason::Done);
    while online().await {
        assert!(begun.elapsed() < Duration::from_secs(2), "it is still taken for there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
