//! The witness of a node over HTTP, asked by a client that shares nothing with it: `tests/interop/witness_client.py`, in
//! Python with its standard library alone. And a coordinator that forges its own log's history.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::witness::witness_name;
use tacit_receipts::{AddCheckpoint, Checkpoint, KeyKind, MemTree, VerifierKey};
use tacit_tests::World;
use tacit_tests::world::{COORDINATOR, START_WAIT, shown};

const ORIGIN: &str = "test.tacit/usage/2026";
const FOLLOWED: &str = "peer.example/log";
const SEED: &str = "0707070707070707070707070707070707070707070707070707070707070708";

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("interop/witness_client.py")
}

/// What the client prints; none without Python, which is said.
fn client(arguments: &[&str]) -> Option<String> {
    let Ok(done) = Command::new("python3").arg(script()).args(arguments).output() else {
        eprintln!("*** python3 is not installed: the independent client of the witness was NOT run ***");
        return None;
    };
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn free_tcp_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// A node whose witness listens, and where.
fn witness(more: &str) -> (World, String) {
    let mut world = World::with_coordinator();
    world.join("bank", "node");
    let at = format!("127.0.0.1:{}", free_tcp_port());
    let config = world.home("bank").join("node.toml");
    let text = std::fs::read_to_string(&config).expect("node.toml");
    std::fs::write(&config, format!("{text}\n[witness]\nlisten = \"{at}\"\n{more}")).expect("node.toml");
    world.start("bank");
    wait_for(&at);
    (world, at)
}

fn wait_for(at: &str) {
    let begun = Instant::now();
    while std::net::TcpStream::connect(at).is_err() {
        assert!(begun.elapsed() < START_WAIT, "nothing listens at {at}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn witness_key(world: &World) -> VerifierKey {
    let key = tacit_net::keyfile::read_signing(&world.home("bank").join("witness.key")).expect("witness.key");
    VerifierKey::new(&witness_name("bank", ORIGIN), KeyKind::Cosignature, key.id()).expect("a name")
}

#[test]
fn a_client_of_others_gets_cosignatures_and_every_refusal_and_a_kill_forgets_nothing() {
    let Some(key) = client(&["key", FOLLOWED, SEED]) else { return };
    let (mut world, at) = witness(&format!("[[witness.logs]]\norigin = \"{FOLLOWED}\"\nkey = \"{key}\"\n"));
    let (url, witness) = (format!("http://{at}"), witness_key(&world).to_string());
    client(&["first", &url, FOLLOWED, SEED, &witness]);
    world.kill("bank");
    world.start("bank");
    wait_for(&at);
    client(&["again", &url, FOLLOWED, SEED, &witness]);
}

/// The coordinator holds its log's key, so nothing stops it from signing two histories. Whoever has seen one refuses
/// the other, and keeps both notes.
#[test]
fn a_coordinator_that_shows_two_histories_is_refused_and_leaves_the_evidence() {
    let (world, at) = witness("");
    let key = tacit_net::keyfile::read_signing(&world.home(COORDINATOR).join("log.key")).expect("log.key");
    let log = VerifierKey::new(ORIGIN, KeyKind::Ed25519, key.id()).expect("an origin");
    let note = |text: &str| {
        let mut tree = MemTree::default();
        (0..3).for_each(|i| tree.push(leaf_hash(format!("{text} {i}").as_bytes())));
        let head = Checkpoint { origin: ORIGIN.into(), size: 3, root: tree.root() };
        head.sign(&log, &key).expect("signed").to_bytes()
    };
    let ask = |note: Vec<u8>, old| post(&at, &AddCheckpoint { old, proof: Vec::new(), note }.to_bytes());
    let cosigned = ask(note("one history"), 0);
    assert!(cosigned.starts_with("HTTP/1.1 200 ") && cosigned.contains("\n\u{2014} bank.test.tacit "), "{cosigned}");
    assert!(world.run("bank", &["log", "evidence", &shown(&world.home("none"))]).fails("log.unknown").contains("fork"));
    let refused = ask(note("another history"), 3);
    assert!(refused.starts_with("HTTP/1.1 409 ") && refused.ends_with("\r\n\r\n3\n"), "{refused}");

    let folder = world.home("evidence");
    let written = world.run("bank", &["log", "evidence", &shown(&folder)]).ok();
    assert_eq!(written["size"], 3);
    let notes = ["held.checkpoint", "offered.checkpoint"].map(|name| std::fs::read(folder.join(name)).expect("a note"));
    let proven =
        tacit_receipts::fork::prove_fork(&notes[0], &notes[1], None, ORIGIN, &log.clone().into()).expect("a fork");
    assert_ne!(proven[0].root, proven[1].root);

    // A larger one that does not extend what was cosigned: its own proof gives it away.
    let mut tree = MemTree::default();
    (0..5).for_each(|i| tree.push(leaf_hash(format!("a third history {i}").as_bytes())));
    let head = Checkpoint { origin: ORIGIN.into(), size: 5, root: tree.root() };
    let larger = head.sign(&log, &key).expect("signed").to_bytes();
    let proof = tacit_receipts::merkle::consistency_proof(&tree, 3, 5).expect("a proof");
    let refused = post(&at, &AddCheckpoint { old: 3, proof, note: larger.clone() }.to_bytes());
    assert!(refused.starts_with("HTTP/1.1 422 "), "{refused}");
    let written = world.run("bank", &["log", "evidence", &shown(&folder)]).ok();
    assert_eq!(written["sizes"], serde_json::json!([3, 5]));
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
    let prefix = tacit_receipts::fork::Prefix::parse(&read("prefix")).expect("a prefix");
    let notes = ["held.checkpoint", "offered.checkpoint"].map(read);
    let log = log.into();
    assert!(tacit_receipts::fork::prove_fork(&notes[0], &notes[1], Some(&prefix), ORIGIN, &log).is_ok());
}

/// Posts a body and gives the whole answer.
fn post(at: &str, body: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).expect("the witness listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let head = format!("POST /add-checkpoint HTTP/1.1\r\nhost: {at}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    let mut answer = Vec::new();
    while length(&answer).is_none_or(|n| answer.len() < n) {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).expect("an answer");
        assert!(n > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(answer).expect("text")
}

fn length(answer: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    Some(head.len() + 4 + length)
}
