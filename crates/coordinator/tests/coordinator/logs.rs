//! The log at rest and restored.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tacit_coordinator::{fsck, rotate_log_key};
use tacit_engine::{FromCoordinator, Terminal, ToCoordinator};
use tacit_governance::PartyRole;
use tacit_receipts::{TileRead, Trust, verify_files};
use tacit_types::{Code, Name};

use crate::support::*;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

async fn some_jobs(world: &World, nodes: &[Node], operator: &Client, nonces: std::ops::Range<u8>) {
    for nonce in nonces {
        let id = operator.submit(operator.job(nodes, nonce)).await.unwrap();
        assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
    }
    let _ = world;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_byte_of_the_log_is_found_and_named() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..3).await;
    assert_eq!(fsck(world.home()).unwrap_err().code, Code::StoreLocked);
    world.stop().await;
    let good = fsck(world.home()).unwrap();
    assert_eq!((good.leaves, good.receipts, good.unsigned_files), (5, 3, 0));
    let trust = world.log().join("trust.cbor");
    for path in files(&world.log()).into_iter().filter(|p| *p != trust) {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.strip_prefix(world.log()).unwrap().display().to_string();
        for at in (0..bytes.len()).step_by(bytes.len() / 12 + 1).chain([bytes.len() - 1]) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let fault = fsck(world.home()).expect_err(&format!("{name}: byte {at}"));
            assert_eq!(fault.code, Code::LogCorrupt, "{name}: byte {at}: {fault}");
            assert!(fault.what.contains(&name), "{name}: byte {at}: {fault}");
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(fsck(world.home()).unwrap(), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_or_log_is_not_served() {
    let mut world = World::new().await;
    let nodes = world.nodes(2).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..1).await;
    world.stop().await;
    let damage = |path: PathBuf, at: usize| {
        let bytes = std::fs::read(&path).unwrap();
        let mut bad = bytes.clone();
        let end = bad.len().min(at + 200);
        bad[at..end].iter_mut().for_each(|b| *b ^= 0x55);
        std::fs::write(&path, bad).unwrap();
        (path, bytes)
    };
    let (path, bytes) = damage(world.home().join("coordinator.db"), 4096);
    let fault = start_again(world.home()).await.unwrap_err();
    assert_eq!(fault.code, Code::StoreCorrupt, "{fault}");
    std::fs::write(path, bytes).unwrap();
    let (path, bytes) = damage(world.log().join("tile/entries/000.p/3"), 10);
    assert_eq!(start_again(world.home()).await.unwrap_err().code, Code::LogCorrupt);
    std::fs::write(path, bytes).unwrap();
    world.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_that_was_restored_signs_nothing() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..1).await;
    world.stop().await;
    let old = tempfile::TempDir::new().unwrap();
    copy(world.home(), old.path());
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes, &operator, 1..3).await;
    world.stop().await;
    std::fs::remove_dir_all(world.home()).unwrap();
    copy(old.path(), world.home());
    let head = std::fs::read(world.log().join("checkpoint")).unwrap();
    world.start().await;
    within(10, "the refusal", async {
        let mut nonce = 10;
        loop {
            nonce += 1;
            match operator.submit(operator.job(&nodes, nonce)).await {
                Err(fault) if fault.code == Code::LogRollback => return,
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    world.stop().await;
    assert_eq!(std::fs::read(world.log().join("checkpoint")).unwrap(), head);
    assert_eq!(fsck(world.home()).unwrap().leaves, 3);
}

/// Files and database of yesterday beside the keys of today: what a witness shows is signed with the key of yesterday, and
/// proves that the log went back all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_log_beside_a_newer_key_signs_nothing() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..1).await;
    world.stop().await;
    let old = tempfile::TempDir::new().unwrap();
    copy(world.home(), old.path());
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes, &operator, 1..3).await;
    world.stop().await;
    rotate_log_key(world.home(), 3_600_000).unwrap();
    std::fs::remove_dir_all(world.log()).unwrap();
    std::fs::create_dir_all(world.log()).unwrap();
    copy(&old.path().join("log"), &world.log());
    for ending in ["", "-wal", "-shm"] {
        let name = format!("coordinator.db{ending}");
        let _ = std::fs::remove_file(world.home().join(&name));
        let _ = std::fs::copy(old.path().join(&name), world.home().join(&name));
    }
    world.start().await;
    let mut nonce = 10;
    within(20, "the refusal", async {
        loop {
            nonce += 1;
            match operator.submit(operator.job(&nodes, nonce)).await {
                Err(fault) if fault.code == Code::LogRollback => return,
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    world.stop().await;
}

/// Without a database the log does not go back in time: its leaves say when the last append was.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_database_is_lost_knows_its_time() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..2).await;
    world.stop().await;
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(world.home().join(format!("coordinator.db{ending}")));
    }
    world.start().await;
    world.stop().await;
    let files = tacit_archive::Folder::new(world.log());
    let newest = tacit_receipts::TileReader::new(&files, 4).leaf(3).unwrap();
    let Ok(tacit_receipts::Leaf::Receipt(receipt)) = tacit_receipts::Leaf::read(&newest) else { panic!("no receipt") };
    let options = SqliteConnectOptions::new().filename(world.home().join("coordinator.db"));
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let row = sqlx::query("SELECT value FROM meta WHERE key = 'head_at'").fetch_one(&mut database).await.unwrap();
    assert_eq!(row.get::<Vec<u8>, _>(0), receipt.envelope().issued_at.0.to_be_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lying_witness_of_four_stops_nothing() {
    let world = World::new().await;
    let nodes = world.nodes(4).await;
    let operator = world.operator("o").await;
    nodes[0].script().lie = Some(u64::MAX);
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn among_three_nobody_is_believed_who_shows_nothing() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..1).await;
    nodes[0].script().lie = Some(u64::MAX);
    let waiting = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    within(10, "being asked to show it", async {
        while !nodes[0].script().came.contains(&"held") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    // Jobs are taken still, and end once the witness does its part.
    let next = operator.submit(operator.job(&nodes, 2)).await.unwrap();
    nodes[0].script().lie = None;
    for id in [waiting, next] {
        assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_nobody_cosigns_is_waited_for_as_long_as_was_promised() {
    let world = World::with_limits(&format!("{LIMITS}promise_ms = 1500\n")).await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes.iter().skip(1).for_each(|node| {
        node.script().hold.insert("cosign");
    });
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    let ended = operator.end(id).await.terminal;
    assert!(matches!(ended, Some(Terminal::Failed { code: Code::LogQuorum, .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_witnesses_that_are_said_to_be_gone() {
    let mut world = World::new().await;
    let mut nodes = world.nodes(6).await;
    let operator = world.operator("o").await;
    // Three of six cosign, of four that it takes.
    for node in &nodes[3..] {
        node.script().hold.insert("cosign");
    }
    let id = operator.submit(operator.job(&nodes[..3], 1)).await.unwrap();
    nodes[4].came("cosign").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!((operator.view(id).await.state.as_str(), operator.view(id).await.terminal), ("settling", None));
    let root = tacit_net::keyfile::read_signing(&world.home().join("root.key")).unwrap();
    let keys = Keys { node: root, ..Keys::new("c", PartyRole::Coordinator) };
    let own = Client::new(keys, world.id, world.address).await;
    let away = |name: &str| ToCoordinator::Away(Name::new(name).unwrap());
    assert_eq!(own.ask(&away("o")).await.unwrap_err().code, Code::ArgsInvalid, "an operator is no node");
    for name in ["p4", "p5"] {
        assert_eq!(own.ask(&away(name)).await.unwrap(), FromCoordinator::Done);
    }
    assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
    // It holds after a restart, as long as they do not come back.
    drop(nodes.split_off(4));
    world.stop().await;
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes[..3], &operator, 2..3).await;
    world.stop().await;
    fsck(world.home()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_that_only_the_files_have_are_entered_again() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..1).await;
    world.stop().await;
    let database = std::fs::read(world.home().join("coordinator.db")).unwrap();
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes, &operator, 1..3).await;
    world.stop().await;
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.home().join(format!("coordinator.db{ending}")));
    }
    std::fs::write(world.home().join("coordinator.db"), database).unwrap();
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes, &operator, 3..4).await;
    world.stop().await;
    let report = fsck(world.home()).unwrap();
    assert_eq!((report.leaves, report.receipts, report.jobs), (6, 4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_process() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    world.stop().await;
    // No folder for tiles can be made where a file is.
    std::fs::write(world.log().join("tile"), b"in the way").unwrap();
    let home = world.home().to_owned();
    let running = tokio::spawn(async move { tacit_coordinator::run(&home, std::future::pending()).await });
    for node in &nodes {
        node.up().await;
    }
    let id = within(10, "submitting", async {
        loop {
            match operator.submit(operator.job(&nodes, 1)).await {
                Ok(id) => return id,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    let fault = within(10, "the end", running).await.unwrap().unwrap_err();
    assert_eq!(fault.code, Code::IoFailed, "{fault}");
    std::fs::remove_file(world.log().join("tile")).unwrap();
    world.start().await;
    assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_quorum_no_receipt_is_handed_out() {
    let world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes[0].script().hold.insert("cosign");
    nodes[1].script().hold.insert("cosign");
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    nodes[2].came("attest").await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let view = operator.view(id).await;
    assert_eq!((view.state.as_str(), view.receipt), ("settling", None));
    nodes[0].script().hold.clear();
    assert_eq!(operator.end(id).await.terminal, Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_waits_for_the_witnesses_of_its_own_parties() {
    let world = World::new().await;
    let nodes = world.nodes(4).await;
    let operator = world.operator("o").await;
    // Three of four are a quorum of the log, but this job's two parties ask for both of theirs.
    nodes[0].script().hold.insert("cosign");
    let id = operator.submit(operator.job(&nodes[..2], 1)).await.unwrap();
    nodes[1].came("attest").await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(operator.view(id).await.state, "settling");
    let others = operator.submit(operator.job(&nodes[1..], 2)).await.unwrap();
    assert_eq!(operator.end(others).await.terminal, Some(Terminal::Succeeded));
    nodes[0].script().hold.clear();
    let view = operator.end(id).await;
    assert_eq!((view.terminal, view.receipt), (Some(Terminal::Succeeded), Some(2)));
}

/// Witnesses that know the old key alone go on until the overlap is over, and a verifier that does follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_changes_its_key_goes_on_with_those_who_have_not_heard() {
    let mut world = World::new().await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    some_jobs(&world, &nodes, &operator, 0..1).await;
    assert_eq!(rotate_log_key(world.home(), 0).unwrap_err().code, Code::StoreLocked);
    world.stop().await;
    let first = Trust::parse(&std::fs::read(world.log().join("trust.cbor")).unwrap()).unwrap();
    let done = rotate_log_key(world.home(), 3_600_000).unwrap();
    assert_eq!(fsck(world.home()).unwrap().receipts, 1);
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes, &operator, 1..3).await;
    world.stop().await;
    let report = fsck(world.home()).unwrap();
    // A beginning of two leaves, a receipt, the change and the keys after it, two receipts.
    assert_eq!((report.leaves, report.receipts), (7, 3));
    let files = tacit_archive::Folder::new(world.log());
    let note = String::from_utf8(files.read("checkpoint").unwrap()).unwrap();
    assert_eq!(note.lines().filter(|line| line.contains(&format!(" {ORIGIN} "))).count(), 2, "{note}");
    let report = verify_files(&files, Some(&first)).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert_eq!(
        report.log_keys.iter().map(|k| (k.key.clone(), k.leaf)).collect::<Vec<_>>(),
        [(done.old.to_string(), None), (done.new.to_string(), Some(3))]
    );
    // A second start adds no second leaf.
    world.start().await;
    for node in &nodes {
        node.up().await;
    }
    some_jobs(&world, &nodes, &operator, 3..4).await;
    world.stop().await;
    assert_eq!(fsck(world.home()).unwrap().leaves, 8);
}
