//! What a coordinator that holds the log's key and its own can try, with witnesses who cosign whatever grows. For each attack
//! the evidence that travels is written to files, and the program convicts from these files and the keys alone; of the honest
//! log beside it the same files say nothing.

#[path = "../../receipts/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::*;
use tacit_crypto::Statement;
use tacit_receipts::money::{Ledger, Period};
use tacit_receipts::record::Role;
use tacit_receipts::*;
use tacit_types::*;

const HOUR: u64 = 3_600_000;

struct Files(tempfile::TempDir);

impl Files {
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn run(args: &[&Path], options: &[&str]) -> (i32, serde_json::Value) {
    let mut command = Command::cargo_bin("tacit-verify").unwrap();
    let output = command.args(args).args(options).arg("--json").output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// The faults that the program names in a bundle: code and leaf.
#[track_caller]
fn found(world: &World, bundle: &Bundle) -> Vec<(String, Option<u64>)> {
    let files = Files(tempfile::tempdir().unwrap());
    let trust = files.write("group.trust", &world.trust().to_bytes());
    let evidence = files.write("evidence.bundle", &bundle.to_bytes());
    let (status, report) = run(&[&evidence, Path::new("--trust"), &trust], &[]);
    let faults = report["faults"].as_array().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(status, if faults.is_empty() { 0 } else { 6 }, "{report}");
    faults.iter().map(|f| (f["code"].as_str().unwrap().to_owned(), f["leaf"].as_u64())).collect()
}

#[track_caller]
fn convicts(world: &World, bundle: &Bundle, code: Code, leaf: Option<u64>) {
    let found = found(world, bundle);
    assert!(found.contains(&(code.text().to_owned(), leaf)), "{code} at {leaf:?}: {found:?}");
}

fn codes_of(found: &[(String, Option<u64>)]) -> BTreeSet<&str> {
    found.iter().map(|(code, _)| code.as_str()).collect()
}

/// A log with two honest jobs, which the program finds nothing wrong with.
fn honest() -> World {
    let mut world = World::new(3);
    (1..=2).for_each(|job| _ = world.job(job));
    assert_eq!(found(&world, &world.bundle()), []);
    assert_eq!(found(&world, &world.single(&[2, 3])), []);
    world
}

/// The evidence is the leaf itself: in a bundle of it alone, and in the log.
#[track_caller]
fn leaf_convicts(world: &World, leaf: u64, code: Code) {
    convicts(world, &world.single(&[leaf]), code, Some(leaf));
    convicts(world, &world.bundle(), code, Some(leaf));
}

#[test]
fn a_forged_use_is_shown_by_its_leaf() {
    // Attestations made up with a key of the coordinator's own.
    let mut world = honest();
    let record = world.record(3);
    let forged = |world: &World, i: usize| {
        let body = Attestation::agreeing(&record, record.party(&world.party(i).id()).unwrap().role, None);
        body.sign(&world.coordinator(), &record, world.now, receipt::next_link(None))
    };
    let attestations: Vec<_> = (0..3).map(|i| forged(&world, i).bytes().to_vec().into()).collect();
    let leaf = world.publish(JointReceipt {
        record: record.clone(),
        attestations,
        price_plan: None,
        charges: None,
        absent: Vec::new(),
    });
    leaf_convicts(&world, leaf, Code::ReceiptAttestationMissing);

    // A use that a party took no part in and is said to have been away from.
    let mut world = honest();
    let record = world.record(3);
    let own: Vec<_> = (0..2).map(|i| world.attest(i, &record)).collect();
    let away = Absent { party: world.party(2).id(), code: Code::JobUnreachable };
    let receipt = assemble(record, &own, vec![away]).unwrap().receipt;
    let leaf = world.publish(receipt);
    leaf_convicts(&world, leaf, Code::ReceiptAttestationMissing);
}

#[test]
fn an_altered_quantity_is_shown_by_what_its_parties_signed() {
    let mut world = honest();
    let mut record = world.record(3);
    let signed = world.attest_all(&record);
    record.lines[1].quantity = record::Quantity::Plain(1);
    let leaf = world.publish(JointReceipt {
        record,
        attestations: signed.iter().map(|a| a.bytes().to_vec().into()).collect(),
        price_plan: None,
        charges: None,
        absent: Vec::new(),
    });
    leaf_convicts(&world, leaf, Code::ReceiptDigest);
}

#[test]
fn an_omitted_receipt_is_shown_by_the_next_attestation_by_a_promise_and_by_a_close() {
    // The next attestation of each party names the number that is nowhere.
    let mut world = honest();
    let record = world.record(3);
    world.attest_all(&record);
    let leaf = world.job(4);
    let faults = found(&world, &world.bundle());
    assert_eq!(codes_of(&faults), BTreeSet::from([Code::ReceiptSequenceGap.text()]));
    assert_eq!(faults, vec![(Code::ReceiptSequenceGap.text().to_owned(), Some(leaf)); 3]);

    // Nobody attests again: the promise, and a log that witnesses saw after it was due.
    let mut world = honest();
    let record = world.record(3);
    world.attest_all(&record);
    let promise = world.by_coordinator(Promise { usage: record.digest(), deadline: world.now.plus(HOUR) });
    let with = |world: &World, at: u64| {
        let later = World { now: world.now.plus(at), leaves: world.leaves.clone(), ..World::new(3) };
        let mut bundle = World { tree: tree(&later.leaves), ..later }.bundle();
        bundle.promises = vec![promise.clone().into()];
        bundle
    };
    assert_eq!(found(&world, &with(&world, HOUR)), [], "not yet");
    let late = with(&world, HOUR + 1_000);
    assert_eq!(found(&world, &late), [(Code::ReceiptPromiseUnkept.text().to_owned(), None)]);
    let mut forged = late.clone();
    let last = forged.promises[0].len() - 1;
    forged.promises[0][last] ^= 1;
    assert!(!codes_of(&found(&world, &forged)).contains(Code::ReceiptPromiseUnkept.text()), "an altered promise");

    // The party's own close of the period counts what it has signed.
    let mut world = honest();
    let mut whole = honest();
    let record = world.record(3);
    world.attest_all(&record);
    whole.job(3);
    let period = Period { first: 2, end: 4, from: START, until: world.now };
    let counted = |of: &World| {
        let mut ledger = Ledger::new(ORIGIN);
        for (index, leaf) in (0..).zip(&of.leaves) {
            let _ = ledger.follow(index, leaf, &|_| None);
        }
        let end = of.tree.size();
        ledger.close(&of.party(1).id(), Period { end, ..period }).unwrap()
    };
    let (mut close, true_one) = (counted(&whole), counted(&world));
    assert_eq!((close.count, true_one.count), (3, 2));
    close.period = true_one.period;
    for (close, convicted) in [(true_one, false), (close, true)] {
        let mut world = World { leaves: world.leaves.clone(), tree: tree(&world.leaves), ..World::new(3) };
        world.now = period.until;
        let bytes = Statement::sign(&world.party(1), "close", world.now, None, close).bytes().to_vec();
        let leaf = world.append(bytes);
        let faults = found(&world, &world.bundle());
        let expected = (Code::ReceiptPeriodClose.text().to_owned(), Some(leaf));
        assert_eq!(faults, if convicted { vec![expected] } else { Vec::new() });
    }
}

fn tree(leaves: &[Vec<u8>]) -> MemTree {
    let mut tree = MemTree::default();
    leaves.iter().for_each(|leaf| tree.push(merkle::leaf_hash(leaf)));
    tree
}

/// A log that has this one's first leaves and then goes another way.
fn otherwise(world: &World, shared: u64, jobs: &[u8]) -> World {
    let leaves = world.leaves[..shared as usize].to_vec();
    let mut other = World { tree: tree(&leaves), leaves, now: world.now, ..World::new(3) };
    other.chains = vec![None; 3];
    jobs.iter().for_each(|job| _ = other.job(*job));
    other
}

#[test]
fn a_split_view_is_shown_by_two_signed_checkpoints() {
    let world = honest();
    // What others are shown has another receipt in the place of the second.
    let other = otherwise(&world, 3, &[9]);
    let files = Files(tempfile::tempdir().unwrap());
    let trust = files.write("group.trust", &world.trust().to_bytes());
    let [one, same] = ["one", "same"].map(|name| files.write(name, &world.cosigned(2)));
    let two = files.write("two", &other.cosigned(0));
    let fork = |a: &Path, b: &Path| run(&[Path::new("--fork"), a, b, Path::new("--trust"), &trust], &[]);
    let (status, proof) = fork(&one, &two);
    assert!(status == 0 && proof["roots"][0] != proof["roots"][1], "{proof}");
    assert_eq!(fork(&one, &same).0, 6, "one head twice is no fork");
    // Of two sizes with what the larger has in the place of the smaller.
    let mut grown = otherwise(&world, 3, &[9]);
    grown.job(10);
    let (small, large) = (world.tree.size(), grown.tree.size());
    let larger = files.write("larger", &grown.cosigned(0));
    let prefix = |of: &World| fork::Prefix::of(&of.tree, small, large).unwrap().to_text();
    let between = files.write("prefix", prefix(&grown).as_bytes());
    let forked = |a: &Path, b: &Path| run(&[Path::new("--fork"), a, b, &between, Path::new("--trust"), &trust], &[]);
    let (status, proof) = forked(&one, &larger);
    assert!(status == 0 && proof["sizes"] == serde_json::json!([small, large]), "{proof}");
    assert_eq!(fork(&one, &larger).0, 6, "two sizes show nothing by themselves");
    let mut same = honest();
    same.job(10);
    let extended = files.write("extended", &same.cosigned(0));
    files.write("prefix", prefix(&same).as_bytes());
    assert_eq!(forked(&one, &extended).0, 6, "a log that grew is no fork");
    // Whoever kept the other head has it in the bundle.
    let mut bundle = world.bundle();
    bundle.kept = vec![other.cosigned(0).into()];
    convicts(&world, &bundle, Code::LogFork, None);
    // And a party that was shown the other log says so in its next attestation.
    let mut world = world;
    let record = world.record(3);
    let shown = Attestation::agreeing(&record, Role::Input, Some(other.seen()));
    let attestations = [world.attest(0, &record), world.attest_with(1, &record, shown), world.attest(2, &record)];
    let leaf = world.publish(assemble(record, &attestations, Vec::new()).unwrap().receipt);
    convicts(&world, &world.bundle(), Code::LogFork, Some(leaf));
}

#[test]
fn a_rollback_is_shown_by_an_older_signed_checkpoint() {
    let mut world = honest();
    world.job(3);
    let kept = world.cosigned(2);
    // The log as it was restored: the third receipt is nowhere, and other jobs take its place later.
    let restored = otherwise(&world, 4, &[]);
    let with = |log: &World| {
        let mut bundle = log.bundle();
        bundle.kept = vec![kept.clone().into()];
        bundle
    };
    assert_eq!(found(&world, &with(&world)), []);
    convicts(&restored, &with(&restored), Code::LogRollback, None);
    let mut grown = restored;
    let record = grown.record(4);
    grown.close(record);
    convicts(&grown, &with(&grown), Code::LogFork, None);
}

#[test]
fn a_replay_is_shown_by_its_two_leaves() {
    // The same leaf again, and the same job attested and billed anew.
    let mut world = honest();
    let leaf = world.append(world.leaves[3].clone());
    convicts(&world, &world.bundle(), Code::ReceiptDuplicate, Some(leaf));
    convicts(&world, &world.single(&[3, leaf]), Code::ReceiptDuplicate, Some(leaf));
    let mut world = honest();
    let leaf = world.job(2);
    convicts(&world, &world.bundle(), Code::ReceiptDuplicate, Some(leaf));
    convicts(&world, &world.single(&[3, leaf]), Code::ReceiptDuplicate, Some(leaf));
    assert_eq!(found(&world, &world.single(&[2, leaf])), [], "one of them alone says nothing");
}

#[test]
fn a_wrong_date_is_shown_by_the_witnesses_and_by_the_receipts_around_it() {
    // Dated after the witnesses saw it.
    let mut world = honest();
    let now = world.now;
    world.now = now.plus(HOUR);
    let leaf = world.job(3);
    world.now = now;
    leaf_convicts(&world, leaf, Code::ReceiptTime);
    // Dated back behind a receipt that the log had before it, as a use under a contract that has ended would be.
    let mut world = honest();
    world.now = UnixMillis(world.now.0 - HOUR);
    let leaf = world.job(3);
    world.now = world.now.plus(2 * HOUR);
    convicts(&world, &world.bundle(), Code::ReceiptTime, Some(leaf));
}

/// The roots of links that parties attest are those of the record: one that a coordinator alters or leaves out there, with the
/// parties' help or by a bug of theirs, is named with the party, in both languages.
#[test]
fn a_root_of_links_that_is_altered_or_left_out_is_shown_by_its_leaf() {
    let root = |seat: usize| Hash([seat as u8 + 1; 32]);
    type Alter = fn(&mut UsageRecord);
    let alter: [(Alter, bool); 4] = [
        (|_| {}, false),
        (|r| r.links[1].root = Hash([9; 32]), true),
        (|r| drop(r.links.remove(1)), true),
        (|r| (r.version, r.links) = (record::RECORD_VERSION, Vec::new()), true),
    ];
    for (alter, wrong) in alter {
        let mut world = honest();
        let mut record = world.record(3);
        let links =
            |seat: usize| PartyLinks { seat: Seat(seat as u16), root: root(seat), differing: vec![], unsealed: 0 };
        (record.version, record.links) = (record::RECORD_VERSION_LINKED, (0..3).map(links).collect());
        alter(&mut record);
        let said = |world: &mut World, seat: usize| {
            let role = record.parties[seat].role;
            let agreeing = Attestation::agreeing(&record, role, Some(world.seen()));
            let body = Attestation { transcript: Some(root(seat)), ..agreeing };
            world.attest_with(seat, &record, body).bytes().to_vec().into()
        };
        let attestations = (0..3).map(|seat| said(&mut world, seat)).collect();
        let receipt = JointReceipt { record, attestations, price_plan: None, charges: None, absent: Vec::new() };
        let leaf = world.publish(receipt);
        if !wrong {
            assert_eq!(found(&world, &world.bundle()), []);
            continue;
        }
        leaf_convicts(&world, leaf, Code::ReceiptLink);
        let files = Files(tempfile::tempdir().unwrap());
        let trust = files.write("group.trust", &world.trust().to_bytes());
        let evidence = files.write("evidence.bundle", &world.single(&[leaf]).to_bytes());
        for lang in [Lang::En, Lang::Zh] {
            let word = if lang == Lang::Zh { "zh" } else { "en" };
            let (status, report) = run(&[&evidence, Path::new("--trust"), &trust], &["--lang", word]);
            let sentences = report["sentences"].to_string();
            assert!(status == 6 && sentences.contains(Code::ReceiptLink.title(lang)), "{report}");
            assert!(sentences.contains(name(1).as_str()), "who: {sentences}");
        }
    }
}
