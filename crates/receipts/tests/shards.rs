//! A log ends and the next one goes on: both are one history, and what is wrong over the change is found.

mod common;

use common::shop::Shop;
use common::*;
use tacit_crypto::Statement;
use tacit_receipts::money::Period;
use tacit_receipts::shard::{continues, prove_two_successors};
use tacit_receipts::tiles::CHECKPOINT_PATH;
use tacit_receipts::*;
use tacit_types::*;

const NEXT: &str = "log.example/usage/2027";

/// The seed of the next log's key.
const NEXT_KEY: u8 = 31;

fn next_key() -> VerifierKey {
    VerifierKey::new(NEXT, KeyKind::Ed25519, key(NEXT_KEY).id()).unwrap()
}

fn change_to(world: &World, next: &str, seed: u8, first: u64) -> Statement<ShardChange> {
    ShardChange::sign((ORIGIN, &key(1)), (next, &key(seed)), first, world.now)
}

/// A log of two jobs that ended.
fn ended() -> World {
    let mut world = World::new(3);
    world.job(1);
    world.job(2);
    let first = world.tree.size() + 1;
    let change = change_to(&world, NEXT, NEXT_KEY, first);
    world.append(change.bytes().to_vec());
    world
}

/// The next log, which goes on with the parties' chains.
struct Next {
    world: World,
}

impl Next {
    fn begin(old: &World, named: Option<Hash>) -> Self {
        let (chains, changed) = (old.chains.clone(), old.changed.clone());
        let mut world = World { chains, changed, now: old.now.plus(60_000), ..World::new(3) };
        (world.leaves, world.tree) = (Vec::new(), MemTree::default());
        let genesis = Genesis { version: 1, origin: NEXT.into(), policy: "receipts".into(), continues: named };
        let trust = old.trust();
        let keys = KeyEvent {
            version: 1,
            coordinator: trust.coordinator,
            log_key: next_key().to_string(),
            witnesses: trust.witnesses.clone(),
            quorum: trust.quorum,
            parties: trust.parties.iter().map(|p| KeyCard { name: p.name.clone(), key: p.key }).collect(),
        };
        for leaf in [world.by_coordinator(genesis), world.by_coordinator(keys)] {
            world.append(leaf);
        }
        Self { world }
    }

    fn after(old: &World) -> Self {
        Self::begin(old, Some(continues(&old.signed_checkpoint(old.tree.size()).checkpoint().clone())))
    }

    fn job(&mut self, job: u8) {
        let record = UsageRecord { origin: NEXT.into(), ..self.world.record(job) };
        self.world.close(record);
    }

    fn disk(&self) -> Disk {
        let mut disk = self.world.disk();
        let world = &self.world;
        let head = Checkpoint { origin: NEXT.into(), size: world.tree.size(), root: world.tree.root() };
        let mut signed = head.sign(&next_key(), &key(NEXT_KEY)).unwrap();
        for i in 0..2 {
            let line = world.witness(i).sign(&key(50 + i as u8), signed.note().text(), world.now).unwrap();
            signed.add_cosignature(&world.witness(i), line).unwrap();
        }
        disk.0.insert(CHECKPOINT_PATH.into(), signed.to_bytes());
        disk
    }
}

fn old_disk(world: &World) -> Disk {
    let mut disk = world.disk();
    disk.0.insert(CHECKPOINT_PATH.into(), world.cosigned(2));
    disk
}

fn both(old: &World, next: &Next) -> Result<Report, Fault> {
    let (a, b) = (old_disk(old), next.disk());
    verify_logs_watched(&[&a, &b], Some(&old.trust()), &mut |_, _, _| {})
}

fn found(report: &Report) -> Vec<(Option<u64>, Code)> {
    report.faults.iter().map(|f| (f.leaf, f.code)).collect()
}

#[test]
fn two_logs_are_one_history() {
    let old = ended();
    let mut next = Next::after(&old);
    next.job(3);
    next.job(4);
    let report = both(&old, &next).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert_eq!((report.receipts, report.valid, report.leaves), (4, 4, 9));
    assert_eq!((report.origin.as_str(), report.size, report.after.len()), (NEXT, 4, 1));
    assert_eq!(report.notices, []);
    // The one that ended is valid by itself.
    let alone = verify_files(&old_disk(&old), Some(&old.trust())).unwrap();
    assert!(alone.is_valid() && alone.notices.is_empty(), "{:?}", alone.faults);
    // So is the next one, which says what is not checked.
    let trust = Trust { origin: NEXT.into(), log_key: next_key().to_string(), ..old.trust() };
    let alone = verify_files(&next.disk(), Some(&trust)).unwrap();
    assert!(alone.is_valid(), "{:?}", alone.faults);
    assert_eq!(alone.notices, [Notice::Continues]);
    // Who has the keys of the old one alone does not take the next one's word.
    assert_eq!(verify_files(&next.disk(), Some(&old.trust())).unwrap_err().code, Code::LogSignature);
}

#[test]
fn what_crosses_the_change_is_found() {
    let old = ended();
    // A job that has a receipt in both.
    let mut next = Next::after(&old);
    next.job(2);
    assert_eq!(found(&both(&old, &next).unwrap()), [(Some(7), Code::ReceiptDuplicate)]);
    // A chain that begins anew, and one with a gap.
    let mut anew = Next::after(&old);
    anew.world.chains = vec![None; 3];
    anew.job(3);
    assert!(codes(&both(&old, &anew).unwrap()).contains(&Code::ReceiptSequenceFork));
    let mut gap = Next::after(&old);
    let left_out = UsageRecord { origin: NEXT.into(), ..gap.world.record(3) };
    gap.world.attest_all(&left_out);
    gap.job(4);
    assert_eq!(found(&both(&old, &gap).unwrap()), [(Some(7), Code::ReceiptSequenceGap); 3]);
    // A receipt of the log before.
    let mut late = Next::after(&old);
    late.world.job(3);
    assert_eq!(found(&both(&old, &late).unwrap()), [(Some(7), Code::ReceiptRecord)]);
    // A party that has seen the old log under another root.
    let mut fork = Next::after(&old);
    let record = UsageRecord { origin: NEXT.into(), ..fork.world.record(3) };
    let mut all = fork.world.attest_all(&record);
    let body = Attestation { seen: Some(SeenCheckpoint { size: 2, root: Hash([9; 32]) }), ..all[0].body().clone() };
    fork.world.chains[0] = old.chains[0];
    all[0] = fork.world.attest_with(0, &record, body);
    let receipt = assemble_with(record, &all, Vec::new(), &|key| *key).unwrap().receipt;
    fork.world.publish(receipt);
    assert_eq!(found(&both(&old, &fork).unwrap()), [(Some(7), Code::LogFork)]);
    // What somebody saw of the old log before it ended is of this history.
    let mut saw = Next::after(&old);
    let record = UsageRecord { origin: NEXT.into(), ..saw.world.record(3) };
    let mut all = saw.world.attest_all(&record);
    let root = merkle::root(&old.tree, 4).unwrap();
    let body = Attestation { seen: Some(SeenCheckpoint { size: 4, root }), ..all[0].body().clone() };
    saw.world.chains[0] = old.chains[0];
    all[0] = saw.world.attest_with(0, &record, body);
    let receipt = assemble_with(record, &all, Vec::new(), &|key| *key).unwrap().receipt;
    saw.world.publish(receipt);
    assert!(both(&old, &saw).unwrap().is_valid());
}

#[test]
fn a_log_that_does_not_end_or_does_not_continue_is_none() {
    let mut old = ended();
    // A genesis that continues nothing, or another checkpoint: an earlier one of the same log.
    let early = continues(old.signed_checkpoint(4).checkpoint());
    for named in [None, Some(early), Some(Hash([7; 32]))] {
        let report = both(&old, &Next::begin(&old, named)).unwrap();
        assert_eq!(found(&report), [(Some(5), Code::LogShard)], "{named:?}");
    }
    // A leaf behind the end, another end included.
    let mut more = ended();
    more.job(3);
    let again = change_to(&more, "log.example/usage/2028", 32, more.tree.size() + 1);
    more.append(again.bytes().to_vec());
    let report = verify_files(&old_disk(&more), Some(&more.trust())).unwrap();
    assert_eq!(found(&report), [(Some(5), Code::LogShard), (Some(6), Code::LogShard)]);
    assert_eq!(both(&more, &Next::after(&more)).unwrap_err().code, Code::LogShard);
    // A log that has not ended, and a last checkpoint that nobody signed.
    let mut going = World::new(3);
    going.job(1);
    assert_eq!(both(&going, &Next::after(&going)).unwrap_err().code, Code::LogShard);
    // The quorum holds over the change: a last checkpoint without it is a fault.
    let next = Next::after(&old);
    let mut bare = old.disk();
    bare.0.insert(CHECKPOINT_PATH.into(), old.cosigned(1));
    let report = verify_logs_watched(&[&bare, &next.disk()], Some(&old.trust()), &mut |_, _, _| {}).unwrap();
    assert_eq!(found(&report), [(None, Code::LogQuorum)]);
    // A next log whose head another key signs than the change names.
    let mut foreign = next.disk();
    let head = Checkpoint { origin: NEXT.into(), size: next.world.tree.size(), root: next.world.tree.root() };
    let other = VerifierKey::new(NEXT, KeyKind::Ed25519, key(33).id()).unwrap();
    foreign.0.insert(CHECKPOINT_PATH.into(), head.sign(&other, &key(33)).unwrap().to_bytes());
    let logs: [&dyn TileRead; 2] = [&old_disk(&old), &foreign];
    let refused = verify_logs_watched(&logs, Some(&old.trust()), &mut |_, _, _| {}).unwrap_err();
    assert_eq!(refused.code, Code::LogSignature);
    // Rolled back behind the end.
    old.leaves.pop();
    let mut back = World { leaves: Vec::new(), tree: MemTree::default(), ..ended() };
    for leaf in old.leaves {
        back.append(leaf);
    }
    assert_eq!(both(&back, &next).unwrap_err().code, Code::LogShard);
}

#[test]
fn a_change_that_does_not_hold_ends_nothing() {
    let good = change_to(&World::new(3), NEXT, NEXT_KEY, 4).into_body();
    let world = World::new(3);
    let signed = |seed: u8, body: ShardChange| Statement::sign(&key(seed), ORIGIN, world.now, None, body);
    let sign = |from: &str, (next, first): (&str, u64)| {
        ShardChange::sign((from, &key(1)), (next, &key(NEXT_KEY)), first, world.now)
    };
    let wrong = [
        // The next log's key has not agreed, or to something else.
        signed(1, ShardChange { consent: None, ..good.clone() }),
        signed(1, ShardChange { first: 5, ..good.clone() }),
        // The coordinator's key instead of the log's.
        signed(2, good.clone()),
        ShardChange::sign((ORIGIN, &key(2)), (NEXT, &key(NEXT_KEY)), 4, world.now),
        sign(ORIGIN, ("other.example/usage/2027", 4)),
        sign(ORIGIN, (ORIGIN, 4)),
        sign(ORIGIN, (NEXT, 5)),
        sign("log.example/usage/2025", (NEXT, 4)),
    ];
    for (at, change) in wrong.iter().enumerate() {
        let mut world = World::new(3);
        world.job(1);
        world.append(change.bytes().to_vec());
        let report = verify_files(&old_disk(&world), Some(&world.trust())).unwrap();
        assert_eq!(found(&report), [(Some(3), Code::LogShard)], "{at}");
        assert_eq!(both(&world, &Next::after(&world)).unwrap_err().code, Code::LogShard, "{at}");
    }
    let mut world = World::new(3);
    world.job(1);
    world.append(sign(ORIGIN, (NEXT, 4)).bytes().to_vec());
    assert!(both(&world, &Next::after(&world)).unwrap().is_valid());
}

#[test]
fn two_successors_of_one_log_are_evidence() {
    let world = World::new(3);
    let chain: LogChain = log_key().into();
    let prove = |a: &Statement<ShardChange>, b: &Statement<ShardChange>| {
        prove_two_successors(a.bytes(), b.bytes(), ORIGIN, &chain).map_err(|fault| fault.code)
    };
    let one = change_to(&world, NEXT, NEXT_KEY, 4);
    for other in [
        change_to(&world, "log.example/usage/2028", NEXT_KEY, 4),
        change_to(&world, NEXT, 32, 4),
        change_to(&world, NEXT, NEXT_KEY, 5),
    ] {
        assert_eq!(prove(&one, &other).unwrap(), [one.body().clone(), other.body().clone()]);
    }
    assert_eq!(prove(&one, &one), Err(Code::LogProof));
    let foreign = ShardChange::sign((ORIGIN, &key(2)), (NEXT, &key(32)), 4, world.now);
    assert_eq!(prove(&one, &foreign), Err(Code::LogShard));
    let unagreed = ShardChange { consent: None, ..one.body().clone() };
    let unagreed = Statement::sign(&key(1), ORIGIN, world.now, None, unagreed);
    assert_eq!(prove(&one, &unagreed), Err(Code::LogShard));
}

#[test]
fn a_key_that_changed_before_the_end_holds_behind_it() {
    let mut old = World::new(3);
    old.job(1);
    old.change_key(1, 121, 3_600_000);
    let change = change_to(&old, NEXT, NEXT_KEY, old.tree.size() + 1);
    old.append(change.bytes().to_vec());
    let mut next = Next::after(&old);
    next.job(2);
    let report = both(&old, &next).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
    // And one that changes behind it, by a leaf of the next log.
    let of = (KeyRole::Node, next.world.party(2).id());
    let times = (next.world.now, next.world.now.plus(3_600_000));
    for (origin, valid) in [(NEXT, true), ("log.example/usage/2030", false)] {
        let mut next = Next::after(&old);
        next.job(2);
        let turn = PartyRotation::sign(origin, of, (&next.world.party(2), &key(122)), times);
        next.world.append(turn.bytes().to_vec());
        next.world.changed.insert(2, 122);
        next.job(3);
        assert_eq!(both(&old, &next).unwrap().is_valid(), valid, "{origin}");
    }
}

#[test]
fn money_goes_on_over_the_change() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    shop.job(1);
    let first = shop.size() + 1;
    let change = change_to(&shop.world, NEXT, NEXT_KEY, first);
    shop.append(change.bytes().to_vec()).1.unwrap();
    shop.ledger.turn(NEXT);
    let mut next = Next::after(&shop.world);
    next.job(2);
    let mut number = first;
    let mut follow = |shop: &mut Shop, next: &Next| {
        for leaf in &next.world.leaves[(number - first) as usize..] {
            shop.ledger.follow(number, leaf, &|_| None).unwrap();
            number += 1;
        }
        number
    };
    let size = follow(&mut shop, &next);
    let until = next.world.now.plus(1_000);
    next.world.now = until;
    let charge = shop.ledger.charge(&plan, Period { first: 0, end: size, from: START, until }, size).unwrap();
    // A job of each log at 5.00, and 2003 cells at 0.001234.
    assert_eq!((charge.origin.as_str(), charge.total), (NEXT, 1000 + 247));
    let leaf = next.world.by_coordinator(charge.clone());
    next.world.append(leaf);
    let size = follow(&mut shop, &next);
    let settlement = shop.ledger.settlement("CNY", &[size - 1].into()).unwrap();
    let leaf = next.world.by_coordinator(settlement);
    next.world.append(leaf);
    let report = both(&shop.world, &next).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
    // One that leaves out what the old log has, or is for the old log.
    for wrong in [
        money::Charge { total: charge.total - 1, ..charge.clone() },
        money::Charge { origin: ORIGIN.into(), ..charge.clone() },
    ] {
        let mut next = Next::after(&shop.world);
        next.job(2);
        next.world.now = until;
        let leaf = next.world.by_coordinator(wrong);
        next.world.append(leaf);
        let report = both(&shop.world, &next).unwrap();
        assert_eq!(report.faults.iter().map(|f| f.leaf).collect::<Vec<_>>(), [Some(size - 1)], "{:?}", report.faults);
    }
}
