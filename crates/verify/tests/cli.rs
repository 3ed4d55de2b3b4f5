//! The binary over files: verdicts, exit statuses, languages, and what it refuses to read.

#[path = "../../receipts/tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::World;
use tacit_crypto::Statement;
use tacit_receipts::money::{Counted, Ledger, Period, Price, PricePlan, Regime, Schedule, Split};
use tacit_receipts::{Checkpoint, Genesis, KeyKind, MemTree, ShardChange, UsageRecord, VerifierKey, shard};
use tacit_types::{Code, ContractId, Unit};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn log(&self, world: &World) -> PathBuf {
        for (path, bytes) in world.disk().0 {
            self.write(&format!("log/{path}"), &bytes);
        }
        self.0.path().join("log")
    }
}

/// Runs the binary: exit status and what it printed.
fn run(args: &[&str]) -> (i32, String) {
    let output = Command::cargo_bin("tacit-verify").unwrap().args(args).output().unwrap();
    assert!(output.stderr.is_empty() || output.status.code() == Some(2), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn world() -> World {
    let mut world = World::new(3);
    (1..=5).for_each(|job| _ = world.job(job));
    world
}

/// A log of five jobs that ends, and the next one with a job.
fn two_logs(files: &Files) -> (World, [Vec<u8>; 2]) {
    let mut old = world();
    let (origin, next, key) = (common::ORIGIN, "log.example/usage/2027", common::key(31));
    let change =
        |to: &str, first| ShardChange::sign((origin, &common::key(1)), (to, &key), first, old.now).bytes().to_vec();
    let first = old.tree.size() + 1;
    let changes = [change(next, first), change("log.example/usage/2028", first)];
    old.append(changes[0].clone());
    let head = old.signed_checkpoint(old.tree.size());
    let mut world = World { chains: old.chains.clone(), leaves: Vec::new(), tree: MemTree::default(), ..World::new(3) };
    world.now = old.now;
    let continues = Some(shard::continues(head.checkpoint()));
    let genesis = Genesis { version: 1, origin: next.into(), policy: "receipts".into(), continues };
    let leaves = [world.by_coordinator(genesis), old.leaves[1].clone()];
    leaves.into_iter().for_each(|leaf| _ = world.append(leaf));
    let record = UsageRecord { origin: next.into(), ..world.record(9) };
    world.close(record);
    let log = VerifierKey::new(next, KeyKind::Ed25519, key.id()).unwrap();
    let head = Checkpoint { origin: next.into(), size: world.tree.size(), root: world.tree.root() };
    let mut signed = head.sign(&log, &key).unwrap();
    for i in 0..2 {
        let line = world.witness(i).sign(&common::key(50 + i as u8), signed.note().text(), world.now).unwrap();
        signed.add_cosignature(&world.witness(i), line).unwrap();
    }
    for (path, bytes) in world.disk().0 {
        files.write(&format!("next/{path}"), &bytes);
    }
    files.write("next/checkpoint", &signed.to_bytes());
    (old, changes)
}

#[test]
fn two_logs_are_read_as_one_history() {
    let files = Files::new();
    let (old, changes) = two_logs(&files);
    let (log, next) = (files.log(&old), files.0.path().join("next"));
    let trust = files.write("t", &old.trust().to_bytes());
    let (status, page) = run(&["--dir", str(&next), "--after", str(&log), "--trust", str(&trust)]);
    let line = format!("after     {} {} ", common::ORIGIN, old.tree.size());
    assert!(status == 0 && page.contains(&line) && page.contains("log.example/usage/2027"), "{page}");
    // In the wrong order, and the next one alone under keys of the old.
    assert_ne!(run(&["--dir", str(&log), "--after", str(&next), "--trust", str(&trust)]).0, 0);
    let (status, text) = run(&["--dir", str(&next), "--trust", str(&trust)]);
    assert!(status == 6 && text.contains("[log.signature]"), "{text}");
    assert_eq!(run(&["--after", str(&log), "--trust", str(&trust)]).0, 2);
    // Two successors of one log.
    let [one, other] = [files.write("1", &changes[0]), files.write("2", &changes[1])];
    let (status, text) = run(&["--fork", str(&one), str(&other), "--trust", str(&trust)]);
    assert!(status == 0 && text.starts_with("FORK PROVEN: ") && text.contains("[log.shard]"), "{text}");
    let (status, json) = run(&["--fork", str(&one), str(&other), "--trust", str(&trust), "--json"]);
    assert!(status == 0 && json.contains("log.example/usage/2028"), "{json}");
    assert_eq!(run(&["--fork", str(&one), str(&one), "--trust", str(&trust)]).0, 6);
}

#[test]
fn a_valid_bundle_and_folder_exit_0() {
    let (files, world) = (Files::new(), world());
    let bundle = files.write("b", &world.bundle().to_bytes());
    let trust = files.write("t", &world.trust().to_bytes());
    let log = files.log(&world);
    for args in [vec![str(&bundle), "--trust", str(&trust)], vec!["--dir", str(&log), "--trust", str(&trust)]] {
        let (status, page) = run(&args);
        assert_eq!(status, 0, "{page}");
        assert!(page.starts_with("VALID: 5 receipts, 5 valid, 0 faults\n"), "{page}");
        assert!(page.contains("pinned, sha256") && page.contains("\nLimit: "), "{page}");
        assert!(page.contains(&world.trust().fingerprint().to_string()), "{page}");
    }
    let (status, page) = run(&[str(&bundle), "--trust", str(&trust), "--lang", "zh"]);
    assert!(status == 0 && page.starts_with("有效：5 份凭证，5 份有效，0 处错误\n") && page.contains("局限"), "{page}");
    let (status, json) = run(&[str(&bundle), "--trust", str(&trust), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (status, &json["ok"], &json["receipts"], &json["trust"]),
        (0, &true.into(), &5.into(), &"pinned".into())
    );
}

#[test]
fn what_noise_has_cost_is_held_to_a_budget_in_a_bundle_and_in_a_folder() {
    let (files, world) = (Files::new(), world());
    let bundle = files.write("b", &world.bundle().to_bytes());
    let trust = files.write("t", &world.trust().to_bytes());
    let log = files.log(&world);
    // Each of the five jobs costs a quarter.
    let dataset = tacit_types::DatasetVersionId([1; 32]).to_string();
    for evidence in [vec![str(&bundle)], vec!["--dir", str(&log)]] {
        let run = |epsilon: &str| {
            let budget = format!("{dataset}={epsilon}");
            run(&[evidence.as_slice(), &["--trust", str(&trust), "--budget", &budget]].concat())
        };
        assert_eq!(run("1.25").0, 0);
        let (status, page) = run("0.75");
        assert!(status == 6 && page.matches("[receipt.budget]").count() == 2, "{page}");
        assert!(page.contains("1250000 of 750000 millionths"), "{page}");
        assert!(page.contains(&format!("- leaf {}: ", world.leaves.len() - 1)), "{page}");
    }
    assert_eq!(run(&["--dir", str(&log), "--trust", str(&trust), "--budget", "4"]).0, 2);
}

#[test]
fn keys_from_the_evidence_are_announced_first() {
    let (files, world) = (Files::new(), world());
    let bundle = files.write("b", &world.bundle().to_bytes());
    let (_, page) = run(&[str(&bundle)]);
    let second = page.lines().nth(1).unwrap();
    assert!(second.starts_with("! TRUST: FROM BUNDLE, UNPINNED"), "{page}");
    let log = files.log(&world);
    assert_eq!(run(&["--dir", str(&log)]).0, i32::from(Code::ReceiptBundle.exit_status()));
    files.write("log/trust.cbor", &world.trust().to_bytes());
    assert!(run(&["--dir", str(&log)]).1.contains("UNPINNED"));
}

#[test]
fn a_fault_is_named_and_exits_6() {
    let (files, mut world) = (Files::new(), world());
    let again = world.leaves[3].clone();
    world.append(again);
    let bundle = files.write("b", &world.bundle().to_bytes());
    let trust = files.write("t", &world.trust().to_bytes());
    let (status, page) = run(&[str(&bundle), "--trust", str(&trust)]);
    assert_eq!(status, 6);
    assert!(page.starts_with("NOT VALID: 6 receipts, 5 valid, 4 faults\n"), "{page}");
    assert!(page.contains("- leaf 7: ") && page.contains("[receipt.duplicate]"), "{page}");
    let (_, page) = run(&[str(&bundle), "--trust", str(&trust), "--lang", "zh"]);
    assert!(page.contains("- 条目 7：") && page.contains("同一作业"), "{page}");
    let (status, json) = run(&[str(&bundle), "--trust", str(&trust), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["ok"], &json["faults"][0]["leaf"]), (6, &false.into(), &7.into()));
    assert_eq!(json["sentences"].as_array().unwrap().len(), 4);
}

#[test]
fn long_lists_of_faults_are_cut_on_the_page_alone() {
    let (files, mut world) = (Files::new(), World::new(3));
    (0..41).for_each(|i| _ = world.append(vec![i]));
    let bundle = files.write("b", &world.bundle().to_bytes());
    let trust = files.write("t", &world.trust().to_bytes());
    let (_, page) = run(&[str(&bundle), "--trust", str(&trust)]);
    assert!(page.contains("... and 1 more") && page.matches("\n- leaf").count() == 40, "{page}");
    let (_, json) = run(&[str(&bundle), "--trust", str(&trust), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["faults"].as_array().unwrap().len(), 41);
}

#[test]
fn an_altered_file_of_a_folder_is_named() {
    let (files, world) = (Files::new(), world());
    let trust = files.write("t", &world.trust().to_bytes());
    let log = files.log(&world);
    let path = log.join("tile/entries/000.p/7");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (status, page) = run(&["--dir", str(&log), "--trust", str(&trust)]);
    assert!(status == 6 && page.contains("[log.corrupt]"), "{page}");
}

#[test]
fn two_histories_are_proven_from_two_checkpoints() {
    let (files, world) = (Files::new(), world());
    let mut other = World::new(3);
    (11..=15).for_each(|job| _ = other.job(job));
    let trust = files.write("t", &world.trust().to_bytes());
    let (one, two) = (files.write("1", &world.cosigned(2)), files.write("2", &other.cosigned(1)));
    let (status, text) = run(&["--fork", str(&one), str(&two), "--trust", str(&trust)]);
    assert!(status == 0 && text.starts_with("FORK PROVEN: ") && text.contains("[log.fork]"), "{text}");
    let (status, json) = run(&["--fork", str(&one), str(&two), "--trust", str(&trust), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["size"], json["roots"][0] == json["roots"][1]), (0, &7.into(), false));
    let (status, text) = run(&["--fork", str(&one), str(&one), "--trust", str(&trust)]);
    assert!(status == 6 && text.contains("[log.proof]"), "{text}");
    assert_eq!(run(&["--fork", str(&one), str(&two)]).0, 2);
    assert_eq!(run(&["--fork", str(&one), "--trust", str(&trust)]).0, 2);
}

#[test]
fn what_cannot_be_read_is_an_error_not_a_verdict() {
    let files = Files::new();
    let junk = files.write("junk", b"junk");
    let (status, text) = run(&[str(&junk)]);
    assert!(status == 6 && text.contains("[receipt.bundle]"), "{text}");
    let (status, text) = run(&[str(&files.0.path().join("none"))]);
    assert!(status == 1 && text.contains("[io.failed]"), "{text}");
    assert_eq!(run(&[str(files.0.path())]).0, 1);
    assert_eq!(run(&["--dir", str(&junk)]).0, 1);
    assert_eq!(run(&[]).0, 2);
    assert_eq!(run(&[str(&junk), "--dir", "x"]).0, 2);
    let (status, json) = run(&[str(&junk), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["ok"], &json["error"]["code"]), (6, &false.into(), &"receipt.bundle".into()));
}

#[test]
fn a_trust_file_over_its_cap_is_not_read() {
    let (files, world) = (Files::new(), world());
    let bundle = files.write("b", &world.bundle().to_bytes());
    let long = files.write("t", &vec![0; tacit_receipts::bundle::TRUST_BYTES_MAX + 1]);
    let (status, text) = run(&[str(&bundle), "--trust", str(&long)]);
    assert!(status == 1 && text.contains("over 1048576 bytes"), "{text}");
}

/// A log with a plan that all have signed, five jobs at 5.00, and a charge of so many fen too much.
fn charged(too_much: u64) -> World {
    let mut world = World::new(3);
    let mut payees = vec![world.party(1).id(), world.party(2).id()];
    payees.sort_unstable();
    let schedule = Schedule::Each { micro: 5_000_000 };
    let price = Price { unit: Unit::Job, counted: Counted::Every, free: 0, schedule, minimum: None, maximum: None };
    let plan = PricePlan {
        version: 1,
        contract: ContractId([7; 32]),
        currency: "CNY".into(),
        regime: Regime::Market,
        payer: world.party(0).id(),
        payees,
        prices: vec![price],
        subscription: 0,
        minimum: None,
        maximum: None,
        split: Split::Equal,
        commission: None,
        arbiter: None,
        dispute_window_ms: 0,
        valid_from: common::START,
        valid_until: common::START.plus(1_000_000_000),
    };
    for i in 0..3 {
        let leaf = Statement::sign(&world.party(i), "money", world.now, None, plan.clone());
        world.append(leaf.bytes().to_vec());
    }
    (1..=5).for_each(|job| _ = world.job(job));
    let mut ledger = Ledger::new(common::ORIGIN);
    (0..).zip(&world.leaves).for_each(|(i, leaf)| ledger.follow(i, leaf, &|_| None).unwrap());
    let period = Period { first: 2, end: world.tree.size(), from: common::START, until: world.now.plus(1) };
    let mut charge = ledger.charge(&plan.id(), period, period.end).unwrap();
    charge.total += too_much;
    charge.due += too_much as i64;
    charge.lines[0].fen += too_much as i64;
    charge.shares[0].fen += too_much as i64;
    let leaf = world.by_coordinator(charge);
    world.append(leaf);
    world
}

#[test]
fn a_charge_is_rated_again() {
    let files = Files::new();
    let trust = files.write("t", &World::new(3).trust().to_bytes());
    let bundle = files.write("b", &charged(0).bundle().to_bytes());
    let (status, page) = run(&[str(&bundle), "--trust", str(&trust)]);
    assert!(status == 0 && page.starts_with("VALID: 5 receipts, 5 valid, 0 faults\n"), "{page}");

    let bundle = files.write("b", &charged(7).bundle().to_bytes());
    let (status, page) = run(&[str(&bundle), "--trust", str(&trust)]);
    assert_eq!(status, 6, "{page}");
    assert!(page.contains("- leaf 10: a charge does not follow from the receipts and the price plan"), "{page}");
    assert!(page.contains("(2507 fen in all; the receipts give 2500) [receipt.charge]"), "{page}");
    let (status, page) = run(&[str(&bundle), "--trust", str(&trust), "--lang", "zh"]);
    assert_eq!(status, 6, "{page}");
    assert!(page.contains("- 条目 10：费用无法由凭证和价格方案得出（"), "{page}");
}

#[test]
fn one_receipt_is_verified_by_its_proof_a_policy_or_a_cose_receipt() {
    use tacit_receipts::policy::Policy;
    use tacit_receipts::{LogProof, SignedCheckpoint, cose};
    let (files, world) = (Files::new(), world());
    let leaf = &world.leaves[3];
    let head = SignedCheckpoint::open(&world.cosigned(2), &common::log_key()).unwrap();
    let proof = LogProof::build(&world.tree, 3, &head).unwrap().to_string();
    let size = world.tree.size();
    let receipt = cose::receipt(&world.tree, (3, size), leaf, (&common::log_key(), &common::key(1))).unwrap();
    let (trust, leaf_file) = (files.write("t", &world.trust().to_bytes()), files.write("leaf", leaf));
    let policy = files.write("p", Policy::write(&world.trust()).unwrap().as_bytes());
    let proof = files.write("leaf.tlog-proof", proof.as_bytes());
    let whole = files.write("leaf.cose", &cose::attach(leaf, &[receipt]).unwrap());

    let with_trust = ["--receipt", str(&leaf_file), "--proof", str(&proof), "--trust", str(&trust)];
    let (status, page) = run(&with_trust);
    assert_eq!((status, page.lines().next()), (0, Some("VALID: 1 receipts, 1 valid, 0 faults")), "{page}");
    let with_policy = ["--receipt", str(&leaf_file), "--proof", str(&proof), "--policy", str(&policy)];
    let (status, page) = run(&with_policy);
    assert_eq!(status, 0, "{page}");
    assert!(page.starts_with("INCLUDED: leaf 3 of 7 in log.example/usage/2026, cosigned by 2 witnesses"), "{page}");
    let by_cose = ["--receipt", str(&whole), "--trust", str(&trust)];
    let (status, page) = run(&by_cose);
    assert_eq!(status, 0, "{page}");
    assert!(page.contains("signed by the log alone, no witness"), "{page}");
    let (status, page) = run(&[by_cose.as_slice(), &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((status, &json["leaf"], &json["witnesses"]), (0, &3.into(), &serde_json::Value::Null));

    // Another receipt than the proof's, a policy that asks for more, a COSE receipt of another leaf.
    let other = files.write("other", &world.leaves[4]);
    for arguments in [["--trust", str(&trust)], ["--policy", str(&policy)]] {
        let wrong =
            [["--receipt", str(&other), "--proof", str(&proof)], [arguments[0], arguments[1], "--json", "--json"]];
        let (status, page) = run(&wrong.concat()[..7]);
        assert!(status == 6 && page.contains("log.proof"), "{status} {page}");
    }
    let more = std::fs::read_to_string(&policy).unwrap().replace("group witnesses 2", "group witnesses 3");
    let more = files.write("more", more.as_bytes());
    let (status, page) = run(&["--receipt", str(&leaf_file), "--proof", str(&proof), "--policy", str(&more)]);
    assert!(status == 6 && page.contains("[log.quorum]"), "{status} {page}");
    let receipt =
        cose::receipt(&world.tree, (4, size), &world.leaves[4], (&common::log_key(), &common::key(1))).unwrap();
    let foreign = files.write("foreign.cose", &cose::attach(leaf, &[receipt]).unwrap());
    let (status, page) = run(&["--receipt", str(&foreign), "--trust", str(&trust)]);
    assert!(status == 6 && page.contains("[log.proof]"), "{status} {page}");
    let (status, _) = run(&["--receipt", str(&leaf_file), "--proof", str(&proof)]);
    assert_eq!(status, 2, "nobody to trust");
}
