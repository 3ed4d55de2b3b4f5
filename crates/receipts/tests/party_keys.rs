//! A party changes the key of its node, or a witness its own: the id stays, and what names it goes on to mean the same.

mod common;

use std::path::Path;
use std::process::Command;

use common::shop::*;
use common::*;
use tacit_crypto::Statement;
use tacit_receipts::keys::{LATE_MILLIS_MAX, PARTY_KEYS_MAX};
use tacit_receipts::receipt::next_link;
use tacit_receipts::rotation::OVERLAP_MILLIS_MAX;
use tacit_receipts::verify::CLOCK_SKEW_MILLIS_MAX;
use tacit_receipts::*;
use tacit_types::*;

const HOUR: u64 = 3_600_000;
const NODE: KeyRole = KeyRole::Node;

/// A change of the first party's key, from now on.
fn turn(world: &World, old: u8, new: u8, overlap: u64) -> Statement<PartyRotation> {
    let times = (world.now, world.now.plus(overlap));
    PartyRotation::sign(ORIGIN, (NODE, world.party(0).id()), (&key(old), &key(new)), times)
}

fn said(world: &World) -> Vec<(Option<u64>, Code)> {
    world.report().faults.iter().map(|f| (f.leaf, f.code)).collect()
}

#[test]
fn a_chain_of_three_keys_is_one_party() {
    let mut world = World::new(3);
    let id = world.party(0).id();
    world.job(1);
    assert_eq!(world.change_key(0, 180, HOUR), 3);
    // In the overlap the old key is still good.
    world.changed.clear();
    world.job(2);
    world.changed.insert(0, 180);
    world.job(3);
    world.now = world.now.plus(2 * HOUR);
    assert_eq!(world.change_key(0, 181, 0), 6);
    world.now = world.now.plus(LATE_MILLIS_MAX + HOUR);
    let last = world.job(4);
    assert_eq!(said(&world), []);
    let report = world.report();
    assert!(report.is_valid() && report.notices.is_empty(), "{:?}", report.notices);
    let shown: Vec<_> = report.party_keys.iter().map(|k| (k.id.clone(), k.key.clone(), k.leaf)).collect();
    let expected = [(100, None), (180, Some(3)), (181, Some(6))];
    assert_eq!(shown, expected.map(|(seed, leaf)| (id.to_string(), key(seed).id().to_string(), leaf)));
    assert_eq!(report.party_keys[0].until, report.party_keys[1].from.map(|from| from + HOUR));
    assert!(verify_files(&world.disk(), Some(&world.trust())).unwrap().is_valid());

    // Without the changes the last key is a stranger's: in single receipts it takes them from the trust file or the bundle.
    let trust = world.trust();
    let newer =
        Trust { party_rotations: [3, 6].map(|at: usize| world.leaves[at].clone().into()).to_vec(), ..trust.clone() };
    let single = |own: &Trust, theirs: &Trust| {
        let bundle = Bundle { trust: Some(theirs.clone()), ..world.single(&[last]) };
        codes(&verify_bundle(&bundle.to_bytes(), Some(own)).unwrap())
    };
    assert!(single(&trust, &trust).contains(&Code::ReceiptPartyUnknown));
    assert_eq!((single(&newer, &trust), single(&trust, &newer)), (vec![], vec![]));
    assert_eq!(Trust::parse(&newer.to_bytes()).unwrap(), newer);
    // In whatever order; and one that leads nowhere is refused in a trust file.
    let turned = Trust { party_rotations: newer.party_rotations.iter().rev().cloned().collect(), ..trust.clone() };
    assert_eq!(turned.history().unwrap(), newer.history().unwrap());
    assert_eq!(newer.history().unwrap().newest(NODE, &id), key(181).id());
    let stray = Trust { party_rotations: vec![world.leaves[6].clone().into()], ..trust };
    assert_eq!(Trust::parse(&stray.to_bytes()).unwrap_err().code, Code::ReceiptBundle);
}

#[test]
fn a_key_is_refused_after_its_end_and_before_its_beginning() {
    let rotated = || {
        let mut world = World::new(3);
        world.job(1);
        world.change_key(0, 180, HOUR);
        world
    };
    let until = rotated().now.plus(HOUR);
    // By the time that the old key itself states.
    for (at, faults) in [(until, vec![]), (until.plus(1_000), vec![(Some(4), Code::ReceiptKeyRetired)])] {
        let mut world = rotated();
        world.changed.clear();
        let record = world.record(2);
        world.now = at;
        world.close(record);
        assert_eq!(said(&world), faults, "{at}");
    }
    // Dated back, it is refused where the log is behind the end by more than a receipt may take.
    for (late, faults) in [(0, vec![]), (1, vec![(Some(4), Code::ReceiptKeyRetired)])] {
        let mut world = rotated();
        world.changed.clear();
        let record = world.record(2);
        world.now = until;
        let attestations = world.attest_all(&record);
        world.now = until.plus(LATE_MILLIS_MAX + CLOCK_SKEW_MILLIS_MAX + 1_000 * late);
        world.publish(assemble(record, &attestations, Vec::new()).unwrap().receipt);
        assert_eq!(said(&world), faults, "{late} s");
    }
    // Before the leaf that names it the next key is a stranger's, and before its time it is early.
    let mut world = World::new(3);
    let named = turn(&world, 100, 180, HOUR);
    world.changed.insert(0, 180);
    world.job(1);
    world.append(named.bytes().to_vec());
    assert!(codes(&world.report()).contains(&Code::ReceiptPartyUnknown));
    let mut world = World::new(3);
    let later = (world.now.plus(10 * HOUR), world.now.plus(11 * HOUR));
    let early = PartyRotation::sign(ORIGIN, (NODE, world.party(0).id()), (&key(100), &key(180)), later);
    world.append(early.bytes().to_vec());
    world.changed.insert(0, 180);
    world.job(1);
    assert_eq!(said(&world), [(Some(3), Code::ReceiptKeyRetired)]);
}

#[test]
fn both_keys_of_an_overlap_are_one_chain_and_one_vote() {
    let mut world = World::new(3);
    world.change_key(0, 180, HOUR);
    let record = world.record(1);
    let mut attestations = world.attest_all(&record);
    // The old key attests as well: once more for one party, and another statement of the same number.
    let role = record.parties[0].role;
    let twice =
        Attestation::agreeing(&record, role, Some(world.seen())).sign(&key(100), &record, world.now, next_link(None));
    let id_of = |id: &NodeId| if *id == key(180).id() { key(100).id() } else { *id };
    attestations.push(twice.clone());
    let fault = assemble_with(record.clone(), &attestations, Vec::new(), &id_of).unwrap_err();
    assert_eq!(fault.code, Code::ReceiptAttestationInvalid, "{fault}");
    attestations.pop();
    let mut receipt = assemble_with(record, &attestations, Vec::new(), &id_of).unwrap().receipt;
    receipt.attestations.push(twice.bytes().to_vec().into());
    let at = world.publish(receipt);
    assert!(said(&world).contains(&(Some(at), Code::ReceiptAttestationInvalid)), "{:?}", said(&world));

    // A late one by the old key, of a number that the new one has used.
    let mut world = World::new(3);
    world.change_key(0, 180, HOUR);
    world.job(1);
    let late = twice.bytes().to_vec();
    world.append(late);
    assert!(said(&world).contains(&(Some(4), Code::ReceiptSequenceFork)), "{:?}", said(&world));
}

#[test]
fn a_change_that_does_not_hold_is_a_flaw_and_changes_nothing() {
    type Tamper = fn(&mut PartyRotation);
    let tampered: [Tamper; 7] = [
        |b| b.version = 2,
        |b| b.new = key(182).id(),
        |b| b.until = b.until.plus(1),
        |b| b.role = KeyRole::Witness,
        |b| b.id = key(101).id(),
        |b| b.old = key(101).id(),
        |b| b.consent = None,
    ];
    let mut wrong: Vec<Vec<u8>> = Vec::new();
    let mut world = World::new(3);
    world.job(1);
    let genuine = turn(&world, 100, 180, HOUR);
    for tamper in tampered {
        let mut body = genuine.body().clone();
        tamper(&mut body);
        let subject = body.subject();
        wrong.push(Statement::sign(&key(100), &subject, world.now, None, body).bytes().to_vec());
    }
    // By who has the coordinator's key, or another party's, and not the one that goes.
    let subject = genuine.body().subject();
    for other in [world.coordinator(), world.party(1)] {
        wrong.push(Statement::sign(&other, &subject, world.now, None, genuine.body().clone()).bytes().to_vec());
    }
    wrong.push(turn(&world, 100, 180, OVERLAP_MILLIS_MAX + 1).bytes().to_vec());
    // To a key of another party, to a witness's, to itself.
    wrong.extend([101, 50, 100].map(|new| turn(&world, 100, new, HOUR).bytes().to_vec()));
    let times = (world.now, world.now);
    let pair = (&key(100), &key(180));
    wrong.push(PartyRotation::sign("log.example/other", (NODE, key(100).id()), pair, times).bytes().to_vec());
    wrong.push(PartyRotation::sign(ORIGIN, (NODE, key(200).id()), (&key(200), &key(201)), times).bytes().to_vec());
    let expected: Vec<_> = (3..).zip(&wrong).map(|(at, _)| (Some(at), Code::ReceiptKeyRotation)).collect();
    wrong.into_iter().for_each(|leaf| _ = world.append(leaf));
    world.job(2);
    assert_eq!(said(&world), expected);
    assert_eq!(world.report().party_keys, []);

    // The longest overlap, and then forks of it: another successor of the key, of the first one, and one too early.
    let mut world = World::new(3);
    let first = turn(&world, 100, 180, OVERLAP_MILLIS_MAX).bytes().to_vec();
    for leaf in [
        first.clone(),
        turn(&world, 100, 181, HOUR).bytes().to_vec(),
        turn(&world, 100, 180, HOUR).bytes().to_vec(),
        turn(&world, 180, 182, HOUR).bytes().to_vec(),
        first,
    ] {
        world.append(leaf);
    }
    // It is told again without harm.
    assert_eq!(said(&world), [3, 4, 5].map(|at| (Some(at), Code::ReceiptKeyRotation)));
    assert_eq!(world.report().party_keys.len(), 2);
}

#[test]
fn a_party_has_at_most_so_many_keys() {
    let world = World::new(1);
    let ids = world.trust().ids();
    let mut history = KeyHistory::new(ORIGIN);
    let mut follow = |old: u8, new: u8| {
        let known = |role, key: &NodeId| ids.contains(&(role, *key));
        history.follow(&turn(&world, old, new, 0), None, &known).map_err(|fault| fault.code)
    };
    let last = 100 + PARTY_KEYS_MAX as u8 - 1;
    (100..last).for_each(|seed| follow(seed, seed + 1).unwrap());
    assert_eq!(follow(last, last + 1), Err(Code::ReceiptKeyRotation));
}

#[test]
fn a_price_plan_and_a_case_go_on_to_mean_the_same_party() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    let opened = shop.world.now;
    let opening = cases::Opening {
        version: cases::CASE_VERSION,
        origin: ORIGIN.into(),
        about: Some(shop.id(0)),
        decider: shop.id(2),
        leaves: Vec::new(),
        topic: Name::new("overuse").unwrap(),
        text: "more rows than were agreed".into(),
        evidence: Vec::new(),
        answer_by: opened.plus(HOUR),
        decide_by: opened.plus(2 * HOUR),
        until: None,
    };
    let complaint = shop.sign(&shop.world.party(1), cases::Complaint(opening.clone()));
    let (case, _) = shop.append(complaint);
    shop.job(1);
    shop.world.change_key(0, 180, HOUR);
    shop.world.change_key(1, 181, HOUR);
    shop.follow().unwrap();
    let used = shop.job(2);
    let step = |shop: &Shop, signer: u8| {
        let (version, origin, case) = (cases::CASE_VERSION, ORIGIN.into(), shop.at(case));
        let body =
            cases::Step { version, origin, case, act: cases::Act::Answer, text: "as agreed".into(), evidence: vec![] };
        shop.sign(&key(signer), body)
    };
    // The answer is the party's by its new key, and not by that of the other.
    let other = step(&shop, 181);
    let (refused, _) = shop.append(other);
    let own = step(&shop, 180);
    shop.append(own).1.unwrap();
    assert_eq!(said(&shop.world), [(Some(refused), Code::ReceiptCase)]);

    // The payer's new key corrects with the payees' under the plan that names the old ones, and the charge names the ids.
    let correction = shop.correction(plan, used, 1002, 2);
    for seed in [180, 181, 102] {
        let leaf = shop.sign(&key(seed), correction.clone());
        shop.append(leaf).1.unwrap();
    }
    let period = shop.period(2 + 3, START);
    let (_, charge) = shop.charge(plan, period);
    // Two jobs at 5.00, and 1001 + 2 cells at 0.001234.
    assert_eq!((charge.total, charge.lines[1].quantity), (1000 + 124, 1003), "{charge:?}");
    let shares: Vec<NodeId> = charge.shares.iter().map(|due| due.party).collect();
    let mut payees = vec![shop.id(1), shop.id(2)];
    payees.sort();
    assert_eq!(shares, payees);
    assert_eq!(said(&shop.world), [(Some(refused), Code::ReceiptCase)]);

    // What a party closes is what both of its keys have attested.
    let close = shop.ledger.close(&shop.id(0), period).unwrap();
    assert_eq!((close.count, close.first_seq, close.last_seq), (2, Some(0), Some(1)));
    let leaf = shop.sign(&key(180), close.clone());
    shop.append(leaf).1.unwrap();
    // After its end the old key says nothing any more.
    shop.world.now = shop.world.now.plus(2 * HOUR);
    let now = shop.world.now;
    let opening = cases::Opening { about: Some(shop.id(1)), answer_by: now, decide_by: now, ..opening };
    let by_old = shop.sign(&key(100), cases::Complaint(opening));
    let (at, _) = shop.append(by_old);
    assert_eq!(said(&shop.world), [(Some(refused), Code::ReceiptCase), (Some(at), Code::ReceiptKeyRetired)]);
}

/// The checkpoint of the whole log, cosigned by keys of witnesses at times.
fn cosigned(world: &World, by: &[(usize, u8, UnixMillis)]) -> Vec<u8> {
    let mut signed = world.signed_checkpoint(world.tree.size());
    for (i, seed, at) in by {
        let name = world.witness(*i).name().to_owned();
        let witness = VerifierKey::new(&name, KeyKind::Cosignature, key(*seed).id()).unwrap();
        let line = witness.sign(&key(*seed), signed.note().text(), *at).unwrap();
        signed.add_cosignature(&witness, line).unwrap();
    }
    signed.to_bytes()
}

#[test]
fn a_witness_counts_once_and_with_the_key_of_its_time() {
    let mut world = World::new(3);
    let id = world.witness(0).key();
    let (from, until) = (world.now, world.now.plus(HOUR));
    let turn = PartyRotation::sign(ORIGIN, (KeyRole::Witness, id), (&key(50), &key(90)), (from, until));
    world.append(turn.bytes().to_vec());
    world.job(1);
    let trust = world.trust();
    let found = |world: &World, by: &[(usize, u8, UnixMillis)]| {
        let bundle = Bundle { checkpoint: cosigned(world, by).into(), ..world.bundle() };
        codes(&verify_bundle(&bundle.to_bytes(), Some(&trust)).unwrap())
    };
    let now = world.now;
    for first in [50, 90] {
        assert_eq!(found(&world, &[(0, first, now), (1, 51, now)]), [], "{first}: both count in the overlap");
    }
    assert_eq!(found(&world, &[(0, 50, now), (0, 90, now)]), [Code::LogQuorum], "one witness is one vote");
    assert_eq!(found(&world, &[(0, 91, now), (1, 51, now)]), [Code::LogQuorum], "a key that nothing leads to");
    let early = UnixMillis(from.0 - CLOCK_SKEW_MILLIS_MAX - 1_000);
    assert_eq!(found(&world, &[(0, 90, early), (1, 51, now)]), [Code::LogQuorum], "before it held");
    let over = until.plus(1_000);
    assert_eq!(found(&world, &[(0, 50, until), (1, 51, now)]), [], "the last moment");
    assert_eq!(found(&world, &[(0, 50, over), (1, 51, now)]), [Code::LogQuorum], "after its end");
    // Dated back, behind a receipt that is newer.
    world.now = until.plus(CLOCK_SKEW_MILLIS_MAX + HOUR);
    world.job(2);
    let now = world.now;
    assert_eq!(found(&world, &[(0, 50, until), (1, 51, now)]), [Code::LogQuorum]);
    assert_eq!(found(&world, &[(0, 90, now), (1, 51, now)]), []);

    // A policy for other tools names the newest keys.
    let newer = Trust { party_rotations: vec![turn.bytes().to_vec().into()], ..trust };
    let policy = policy::Policy::parse(policy::Policy::write(&newer).unwrap().as_bytes()).unwrap();
    assert!(policy.open(&cosigned(&world, &[(0, 90, now), (1, 51, now)])).is_ok());
    assert_eq!(policy.open(&cosigned(&world, &[(0, 50, now), (1, 51, now)])).unwrap_err().code, Code::LogQuorum);
    // And so does the early warning: the witness has not fallen behind.
    let known = warn::Known { now, ..warn::Known::default() };
    let lags = |by: &[(usize, u8, UnixMillis)]| {
        let note = cosigned(&world, by);
        let bundle = Bundle { checkpoint: note.clone().into(), ..world.bundle() };
        let report = verify_bundle(&bundle.to_bytes(), Some(&world.trust())).unwrap();
        let trust = world.trust();
        let mut watch = warn::Watch::new(&trust, &known);
        world.leaves.iter().for_each(|leaf| watch.leaf(leaf));
        let alerts = watch.finish(&report, &note, &[]);
        alerts.alerts.iter().filter(|a| a.rule == warn::Rule::WitnessLag).count()
    };
    let rest = [(1, 51, now), (2, 52, now)];
    assert_eq!(lags(&[&[(0, 90, now)][..], &rest].concat()), 0);
    assert_eq!(lags(&[&[(0, 50, now)][..], &rest].concat()), 1);
}

#[test]
fn a_second_implementation_makes_the_same_bytes_and_judges_alike() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/receipts/party_keys.py");
    match Command::new("python3").arg(script).arg("--check").output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => without_python("parties' keys", &error),
    }
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/receipts/party_keys.json")).unwrap();
    let bytes = |name: &str| hex::decode(vectors[name].as_str().unwrap()).unwrap();
    let changes: Vec<Vec<u8>> =
        vectors["changes"].as_array().unwrap().iter().map(|c| hex::decode(c.as_str().unwrap()).unwrap()).collect();
    let seeds = [(100, 180), (50, 90), (180, 181)];
    for (change, (old, new)) in changes.iter().zip(seeds) {
        let body = Statement::<PartyRotation>::verify(change).unwrap().into_body();
        let of = (body.role, body.id);
        let again = PartyRotation::sign(ORIGIN, of, (&key(old), &key(new)), (body.from, body.until));
        assert_eq!(again.bytes(), change);
    }
    let newer = Trust::parse(&bytes("trust_with_changes")).unwrap();
    assert_eq!(newer.to_bytes(), bytes("trust_with_changes"));
    let trust = Trust { party_rotations: Vec::new(), ..newer.clone() };
    // The log in which the coordinator changes its key knows of no other change.
    let found = |name: &str| codes(&verify_bundle(&bytes(name), Some(&trust)).unwrap());
    assert_eq!(found("bundle_of_next_coordinator"), []);
    assert_eq!(found("bundle_of_retired_coordinator"), [Code::ReceiptKeyRetired]);
    for trust in [trust, newer] {
        let found = |name: &str| verify_bundle(&bytes(name), Some(&trust)).unwrap();
        let report = found("bundle");
        assert!(report.is_valid() && report.party_keys.len() == 5, "{:?}", report.faults);
        assert_eq!(codes(&found("bundle_of_retired_key")), [Code::ReceiptKeyRetired]);
        assert_eq!(codes(&found("bundle_of_retired_witness")), [Code::LogQuorum]);
    }
}

#[test]
fn the_coordinator_changes_the_key_that_signs_receipts() {
    let mut world = World::new(3);
    world.job(1);
    assert_eq!(world.change_coordinator(22, HOUR), 3);
    world.job(2);
    // In the overlap the old key is still good.
    world.coordinator_seed = 2;
    world.job(3);
    world.coordinator_seed = 22;
    world.now = world.now.plus(2 * HOUR);
    let last = world.job(4);
    assert_eq!(said(&world), []);
    let report = world.report();
    assert!(report.is_valid() && report.notices.is_empty(), "{:?}", report.notices);
    let shown: Vec<_> = report.party_keys.iter().map(|k| (k.role, k.key.clone(), k.leaf)).collect();
    let expected = [(2, None), (22, Some(3))];
    assert_eq!(shown, expected.map(|(seed, leaf)| ("coordinator", key(seed).id().to_string(), leaf)));

    // A single receipt is read with the change that trust file or bundle show.
    let trust = world.trust();
    let newer = Trust { party_rotations: vec![world.leaves[3].clone().into()], ..trust.clone() };
    let single = |own: &Trust, theirs: &Trust| {
        let bundle = Bundle { trust: Some(theirs.clone()), ..world.single(&[last]) };
        codes(&verify_bundle(&bundle.to_bytes(), Some(own)).unwrap())
    };
    assert_eq!(single(&trust, &trust), [Code::ReceiptCoordinator]);
    assert_eq!((single(&newer, &trust), single(&trust, &newer)), (vec![], vec![]));

    // Promises bind that a key has signed in its time, and no other.
    let promised = |seed: u8, at: UnixMillis| {
        let body = Promise { usage: Hash([5; 32]), deadline: world.now.plus(1_000) };
        let promise = Statement::sign(&key(seed), "job", at, None, body).bytes().to_vec();
        let bundle = Bundle { promises: vec![promise.into()], ..world.bundle() };
        codes(&verify_bundle(&bundle.to_bytes(), Some(&trust)).unwrap())
    };
    let (begun, now) = (START.plus(60_000), world.now);
    for (seed, at, signed) in [(2, begun, true), (2, now, false), (22, now, true), (23, now, false)] {
        assert_eq!(promised(seed, at).contains(&Code::ReceiptCoordinator), !signed, "{seed} {at}");
    }

    // After its end the old key signs nothing more, and a key that is not named, or not yet, never did.
    world.coordinator_seed = 2;
    let over = world.job(5);
    assert_eq!(said(&world), [(Some(over), Code::ReceiptKeyRetired)]);
    let mut early = World::new(3);
    early.coordinator_seed = 22;
    let leaf = early.job(1);
    early.coordinator_seed = 2;
    early.change_coordinator(22, HOUR);
    assert_eq!(said(&early), [(Some(leaf), Code::ReceiptCoordinator)]);
    // A thief of another's key gives the coordinator none, nor does the coordinator become a party.
    let mut stolen = World::new(3);
    let of = (KeyRole::Coordinator, stolen.party(1).id());
    let turn = PartyRotation::sign(ORIGIN, of, (&stolen.party(1), &key(22)), (stolen.now, stolen.now));
    let first = stolen.append(turn.bytes().to_vec());
    let of = (KeyRole::Node, stolen.party(1).id());
    let turn = PartyRotation::sign(ORIGIN, of, (&stolen.party(1), &key(2)), (stolen.now, stolen.now));
    let second = stolen.append(turn.bytes().to_vec());
    assert_eq!(said(&stolen), [first, second].map(|leaf| (Some(leaf), Code::ReceiptKeyRotation)));
}

#[test]
fn what_is_the_coordinators_to_sign_is_signed_with_its_next_key() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    shop.job(1);
    shop.world.change_coordinator(22, HOUR);
    shop.follow().unwrap();
    shop.job(2);
    let period = shop.period(2, START);
    let (charged, _) = shop.charge(plan, period);
    shop.settle(&[charged]);
    shop.valid();
}

#[test]
fn a_key_speaks_for_its_id_in_its_time_alone() {
    let world = World::new(3);
    let id = world.party(0).id();
    let mut history = KeyHistory::new(ORIGIN);
    let (from, until) = (world.now, world.now.plus(HOUR));
    history.follow_any(&turn(&world, 100, 180, HOUR), Some(7)).unwrap();
    let [old, new] = [100, 180].map(|seed| key(seed).id());
    let before = UnixMillis(from.0 - CLOCK_SKEW_MILLIS_MAX);
    for (at, old_speaks, new_speaks) in [
        (UnixMillis(before.0 - 1), true, false),
        (before, true, true),
        (until, true, true),
        (until.plus(1), false, true),
    ] {
        let speaks = [old, new].map(|key| history.speaks(NODE, &id, &key, at));
        assert_eq!(speaks, [old_speaks, new_speaks], "{at}");
        let speakers = [old, new].map(|key| history.speaker(&key, at));
        assert_eq!(speakers, [old_speaks, new_speaks].map(|speaks| speaks.then_some(id)), "{at}");
    }
    let within = |from: UnixMillis, to: UnixMillis| history.within(NODE, &id, (from, to));
    assert_eq!(within(until.plus(1), until.plus(2)), [new]);
    assert_eq!(within(until, until.plus(2)), [old, new]);
    assert_eq!(within(UnixMillis(0), UnixMillis(before.0 - 1)), [old]);
    // Who never changed a key speaks for itself, at every time.
    let stranger = key(9).id();
    assert!(history.speaks(NODE, &stranger, &stranger, from) && !history.speaks(NODE, &stranger, &new, from));
    assert_eq!(within(from, until).len(), 2);
    assert_eq!(history.within(NODE, &stranger, (from, until)), [stranger]);
    assert_eq!(KeyHistory::none().speaker(&stranger, from), Some(stranger));
    // As a node's key it is no witness's.
    assert_eq!(history.id_of(KeyRole::Witness, &new), new);
}

#[test]
fn changes_in_a_file_are_as_many_as_may_be() {
    let world = World::new(2);
    let change = turn(&world, 100, 180, HOUR);
    let file = keys::to_file([change.bytes(), change.bytes()]);
    let read = keys::from_file(&file, 2).unwrap();
    assert!(read.len() == 2 && read.iter().all(|read| read.bytes() == change.bytes()));
    assert_eq!(keys::from_file(&file, 1).unwrap_err().code, Code::ReceiptMalformed);
    assert_eq!(keys::from_file(b"junk", 1).unwrap_err().code, Code::ReceiptMalformed);
}

#[test]
fn a_bundle_shows_whose_its_keys_are() {
    let mut world = World::new(3);
    let id = world.party(0).id();
    let named = world.change_key(0, 180, HOUR);
    let last = world.job(1);
    let (whole, trust) = (world.bundle(), world.trust());
    let (new, at) = (key(180).id(), world.now.plus(2 * HOUR));
    assert_eq!(whole.history(Some(&trust)).speaker(&new, at), Some(id));
    assert_eq!(whole.history(None).speaker(&new, at), Some(id));
    // Of single leaves, where the trust file or the bundle's own has the change.
    let single = world.single(&[last]);
    assert_eq!(single.history(Some(&trust)).id_of(NODE, &new), new);
    let newer = Trust { party_rotations: vec![world.leaves[named as usize].clone().into()], ..trust.clone() };
    assert_eq!(single.history(Some(&newer)).id_of(NODE, &new), id);
    let own = Bundle { trust: Some(newer), ..single };
    assert_eq!(own.history(Some(&trust)).id_of(NODE, &new), id);
}
