//! Tools that others wrote read a log of ours, and we read what they sign: `tests/interop/peers.py` installs them. Not
//! among the tests of every build, because it downloads them:
//! `cargo test -p tacit-verify --test interop -- --ignored --nocapture`.

#[path = "../../receipts/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::*;
use serde_json::json;
use tacit_crypto::statement::Envelope;
use tacit_receipts::merkle::{consistency_proof, inclusion_proof, root};
use tacit_receipts::*;

/// More than a tile of leaves, so that a full and a partial one are read.
const LEAVES: u64 = 300;
const FULL: u64 = 256;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Two checkpoints of another history that the log's key has signed: one of the size that its witness has, and a longer one that
/// grows from its own past.
fn forks(world: &World) -> [(&'static str, AddCheckpoint); 2] {
    let mut tree = MemTree::default();
    let other = |at: u64| if at == 280 { b"another leaf".to_vec() } else { world.leaves[at as usize].clone() };
    (0..LEAVES).for_each(|at| tree.push(merkle::leaf_hash(&other(at))));
    tree.push(merkle::leaf_hash(b"one more"));
    let head = |size| {
        let root = root(&tree, size).unwrap();
        Checkpoint { origin: ORIGIN.into(), size, root }.sign(&log_key(), &key(1)).unwrap().to_bytes()
    };
    let grown = consistency_proof(&tree, LEAVES, LEAVES + 1).unwrap();
    [
        ("fork-same-size", AddCheckpoint { old: LEAVES, proof: Vec::new(), note: head(LEAVES) }),
        ("fork-longer", AddCheckpoint { old: LEAVES, proof: grown, note: head(LEAVES + 1) }),
    ]
}

#[test]
#[ignore = "downloads the tools of others"]
fn tools_of_others_read_our_log_and_we_read_their_cosignatures() {
    let mut world = World::new(3);
    (1..=5).for_each(|job| {
        world.job(job);
    });
    while world.tree.size() < LEAVES {
        let text = format!("leaf {}", world.tree.size());
        let leaf = world.by_coordinator(Novelty { text });
        world.append(leaf);
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let folder = cache.join("log-of-ours");
    for (path, bytes) in world.disk().0 {
        write(&folder.join("log").join(path), &bytes);
    }
    let trust = world.trust();
    let keys = json!({
        "origin": trust.origin, "log": trust.log_key, "witnesses": trust.witnesses, "quorum": trust.quorum,
    });
    let hex_of = |hashes: Vec<tacit_types::Hash>| hashes.iter().map(ToString::to_string).collect::<Vec<_>>();
    let inclusion: Vec<_> =
        [0, 1, 3, 255, 256, 299].map(|i| json!([i, hex_of(inclusion_proof(&world.tree, i, LEAVES).unwrap())])).to_vec();
    let consistency = consistency_proof(&world.tree, FULL, LEAVES).unwrap();
    let signers: Vec<String> =
        world.leaves.iter().map(|leaf| Envelope::verify(leaf).unwrap().signer.to_string()).collect();
    let receipt = |i: u64| {
        let leaf = &world.leaves[i as usize];
        let receipt = cose::receipt(&world.tree, (i, LEAVES), leaf, (&log_key(), &key(1))).unwrap();
        let whole = cose::attach(leaf, std::slice::from_ref(&receipt)).unwrap();
        json!([i, hex(&receipt), hex(&whole)])
    };
    let receipts: Vec<_> = [0, 1, 3, 255, 256, 299].map(receipt).to_vec();
    let facts = json!({
        "cose_receipts": receipts,
        "log_public": log_key().key().to_string(),
        "leaves": world.leaves.iter().map(|leaf| hex(leaf)).collect::<Vec<_>>(),
        "signers": signers,
        "root": world.tree.root().to_string(),
        "old_root": root(&world.tree, FULL).unwrap().to_string(),
        "inclusion": inclusion,
        "consistency": [json!(FULL), json!(LEAVES), json!(hex_of(consistency.clone()))],
    });
    write(&folder.join("keys.json"), keys.to_string().as_bytes());
    write(&folder.join("facts.json"), facts.to_string().as_bytes());
    let heads = [FULL, LEAVES].map(|size| world.signed_checkpoint(size));
    let requests = [
        AddCheckpoint { old: 0, proof: Vec::new(), note: heads[0].to_bytes() },
        AddCheckpoint { old: FULL, proof: consistency, note: heads[1].to_bytes() },
    ];
    for (i, request) in (1..).zip(&requests) {
        write(&folder.join(format!("request-{i}")), &request.to_bytes());
    }
    let again = AddCheckpoint { old: LEAVES, proof: Vec::new(), note: heads[1].to_bytes() };
    write(&folder.join("request-3"), &again.to_bytes());
    for (name, fork) in forks(&world) {
        write(&folder.join(name), &fork.to_bytes());
    }
    let theirs = folder.join("peer-witness.json");
    let _ = std::fs::remove_file(&theirs);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/peers.py");
    let status = Command::new("python3").arg(script).arg(&folder).arg(&cache).status();
    let status = status.expect("python3, which runs the tools of others: apt-get install -y python3 python3-venv");
    assert!(status.success());

    // Written by the peer's witness, when it could be installed.
    let Ok(bytes) = std::fs::read(&theirs) else { return };
    let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let witness = VerifierKey::parse(said["vkey"].as_str().unwrap()).unwrap();
    let quorum = Quorum::new(vec![witness.clone()], 1).unwrap();
    for (mut head, lines) in heads.into_iter().zip(said["lines"].as_array().unwrap()) {
        for line in lines.as_str().unwrap().lines() {
            head.add_cosignature(&witness, SignatureLine::parse(line).unwrap()).unwrap();
        }
        assert_eq!(quorum.check(head.note()).unwrap().by.len(), 1);
    }
}

/// A peer that its registry hands out no longer is a failure where all is checked; one whose registry is not reachable is none.
#[test]
fn a_peer_that_is_gone_is_a_failure_in_ci() {
    let script = r"
import pathlib, sys, types
sys.path.insert(0, sys.argv[1])
import peers
said = types.SimpleNamespace(returncode=1, stdout='', stderr=sys.argv[2])
peers.run = lambda command, **more: said
def gone(cache, folder):
    peers.installed(['pip'])
def there(cache, folder):
    return types.SimpleNamespace(returncode=0, stdout='read', stderr='')
peers.PEERS = [gone, there]
peers.main(pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[3]))
";
    let folder = tempfile::tempdir().unwrap();
    let interop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop");
    let no_version = "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)";
    let unreachable = format!("WARNING: Retrying (Retry(total=0)) after connection broken\n{no_version}");
    let other = "error: the disk is full";
    for (said, ci, fails) in [
        (no_version, "true", true),
        (no_version, "false", false),
        (&unreachable, "true", false),
        ("npm error code E404", "true", true),
        (other, "false", true),
    ] {
        let mut command = Command::new("python3");
        command.args(["-B", "-c", script]).arg(&interop).arg(said).arg(folder.path()).env("CI", ci);
        match command.output() {
            Ok(done) => assert_eq!(!done.status.success(), fails, "{said}, CI={ci}: {done:?}"),
            Err(error) => common::without_python("the tools of others", &error),
        }
    }
}
