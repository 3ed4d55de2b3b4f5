//! `cargo xtask bench receipts`: what receipts cost at the coordinator, at its witnesses and at whoever verifies them.
//!
//! Everything runs in one thread, so a rate is that of one core; files are on the disk of the temporary folder, and what
//! must be durable is synced. `--quick` takes a tenth of the sizes. Each case says what is asked of it, and whether it was met;
//! what is asked in seconds is asked of the full sizes alone. Exit status 1 where anything was not.

#[path = "../../receipts/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::{ORIGIN, World, key, log_key};
use tacit_archive::Folder;
use tacit_archive::files::write_durable;
use tacit_crypto::{Statement, cbor, sha256};
use tacit_receipts::merkle::consistency_proof;
use tacit_receipts::tiles::CHECKPOINT_PATH;
use tacit_receipts::*;
use tacit_types::{JobId, UnixMillis};

/// Receipts of one append.
const BATCH: usize = 256;

/// Processor seconds of this thread, and those of the clock.
struct Clock(rustix::time::Timespec, Instant);

impl Clock {
    fn start() -> Self {
        Self(cpu(), Instant::now())
    }

    fn seconds(&self) -> (f64, f64) {
        let now = cpu();
        let own = (now.tv_sec - self.0.tv_sec) as f64 + (now.tv_nsec - self.0.tv_nsec) as f64 * 1e-9;
        (own, self.1.elapsed().as_secs_f64())
    }
}

fn cpu() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
}

/// The process's peak of resident memory in MB of 10^6 bytes, since the last reset.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).map_or(0.0, |kb| kb * 1.024e-3)
}

/// Whether a case was not met.
static MISSED: AtomicBool = AtomicBool::new(false);

/// What is asked of a case; what is not asked is 0 or without end.
struct Asked {
    per_second: f64,
    per_core_second: f64,
    seconds: f64,
    peak_mb: f64,
}

const NOTHING: Asked = Asked { per_second: 0.0, per_core_second: 0.0, seconds: f64::INFINITY, peak_mb: f64::INFINITY };
/// Of one thread, where two cores may be used.
const APPEND: Asked = Asked { per_second: 1_000.0, ..NOTHING };
/// A hundred thousand in one pass.
const VERIFY: Asked = Asked { seconds: 30.0, peak_mb: 200.0, ..NOTHING };
const SINGLE: Asked = Asked { per_core_second: 5_000.0, ..NOTHING };
/// A million leaves.
const REOPEN: Asked = Asked { seconds: 5.0, ..NOTHING };

fn print(json: bool, case: &str, asked: &Asked, count: u64, (cpu, wall): (f64, f64), peak: f64, note: &str) {
    let (rate, by_clock) = (count as f64 / cpu, count as f64 / wall);
    let met =
        by_clock >= asked.per_second && rate >= asked.per_core_second && wall <= asked.seconds && peak <= asked.peak_mb;
    if !met {
        MISSED.store(true, Ordering::Relaxed);
    }
    if json {
        let least = |n: f64| Some(n).filter(|n| *n > 0.0);
        let most = |n: f64| Some(n).filter(|n| n.is_finite());
        println!(
            "{}",
            serde_json::json!({"case": case, "count": count, "cpu_seconds": cpu, "seconds": wall,
                "per_core_second": rate, "per_second": by_clock, "peak_mb": peak, "note": note, "met": met,
                "asked": {"per_second": least(asked.per_second), "per_core_second": least(asked.per_core_second),
                    "seconds": most(asked.seconds), "peak_mb": most(asked.peak_mb)}})
        );
    } else {
        let met = if met { "met" } else { "NOT MET" };
        println!(
            "{case:24} {count:8} in {cpu:7.2} s of a core, {wall:7.2} s: {rate:9.0} a core second, {by_clock:9.0} a second; {peak:.0} MB; {met}\n    {note}"
        );
    }
}

/// Records and attestations of so many jobs of three parties, as their nodes hand them in.
fn handed_in(world: &mut World, from: usize, count: usize) -> Vec<(UsageRecord, Vec<Statement<Attestation>>)> {
    let one = |i: usize| {
        let mut record = world.record(1);
        record.job = JobId(sha256(&(i as u64).to_be_bytes()).0);
        let attestations = world.attest_all(&record);
        (record, attestations)
    };
    (from..from + count).map(one).collect()
}

/// Appends, has three witnesses cosign, publishes and proves, and a reader verifies each proof.
fn append(json: bool, batches: usize) {
    let home = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(home.path().join("log"));
    let mut world = World::new(3);
    let mut log = Log::create(ORIGIN).expect("a log");
    let quorum = world.trust().witness_quorum().expect("a quorum");
    let mut witnesses: Vec<Witness> =
        (0..3).map(|i| Witness::new(world.witness(i), log_key(), ORIGIN, None).expect("a witness")).collect();
    let (mut total, mut spent) = (0, (0.0, 0.0));
    let mut genesis = world.genesis_leaves();
    for batch in 0..batches {
        let jobs = handed_in(&mut world, batch * BATCH, BATCH);
        let clock = Clock::start();
        let mut leaves = std::mem::take(&mut genesis);
        let first = leaves.len();
        for (record, attestations) in jobs {
            // The bytes came over the wire: the coordinator reads and checks them.
            let attestations: Vec<_> =
                attestations.iter().map(|a| Statement::verify(a.bytes()).expect("an attestation")).collect();
            let assembled = assemble(record, &attestations, Vec::new()).expect("a receipt");
            leaves.push(assembled.receipt.sign(&world.coordinator(), world.now).expect("signed").bytes().to_vec());
        }
        let old = log.size();
        let plan = log.plan_exactly(&leaves).expect("a plan");
        let files: Vec<_> = plan.writes.iter().map(|f| (f.path.clone(), f.bytes.clone())).collect();
        folder.write_all(&files).expect("written");
        let mut signed = plan.checkpoint.sign(&log_key(), &key(1)).expect("signed");
        log.commit(plan).expect("committed");
        let reader = TileReader::new(&folder, log.size());
        let proof = consistency_proof(&reader, old, log.size()).expect("a proof");
        let request = AddCheckpoint { old, proof, note: signed.to_bytes() }.to_bytes();
        for (i, witness) in witnesses.iter_mut().enumerate() {
            let request = AddCheckpoint::parse(&request).expect("a request");
            let prepared = witness.prepare(&request, UnixMillis(world.now.0)).expect("cosigned");
            write_durable(&home.path().join(format!("seen-{i}")), &cbor::encode(prepared.seen())).expect("kept");
            let line = witness.release(prepared, &key(50 + i as u8)).expect("a line");
            signed.add_cosignature(&world.witness(i), line).expect("a line that holds");
        }
        write_durable(&folder.path().join(CHECKPOINT_PATH), &signed.to_bytes()).expect("published");
        let cached = Cached { folder: &folder, read: std::cell::RefCell::default() };
        let reader = TileReader::new(&cached, log.size());
        for (i, leaf) in leaves.iter().enumerate().skip(first) {
            let proof = LogProof::build(&reader, old + i as u64, &signed).expect("a proof").to_string();
            let proof = LogProof::parse(proof.as_bytes()).expect("a proof");
            proof.verify(leaf, ORIGIN, &log_key(), &quorum).expect("in the log");
        }
        let (own, wall) = clock.seconds();
        spent = (spent.0 + own, spent.1 + wall);
        total += BATCH as u64;
    }
    let note = "receipts signed and appended in batches of 256, cosigned by three witnesses with their state synced, \
                published, proved, and each proof read and verified with all signatures";
    print(json, "append_cosign_prove", &APPEND, total, spent, peak_mb(), note);
}

struct Cached<'a> {
    folder: &'a Folder,
    read: std::cell::RefCell<std::collections::BTreeMap<String, Option<Vec<u8>>>>,
}

impl TileRead for Cached<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.read.borrow_mut().entry(path.to_owned()).or_insert_with(|| self.folder.read(path)).clone()
    }
}

/// Writes leaves as a log's files, unsynced: only reading is measured.
fn write(folder: &Path, edge: &mut Edge, leaves: &[Vec<u8>]) {
    for file in edge.append(leaves).expect("leaves") {
        let path = folder.join(file.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, file.bytes).expect("written");
    }
}

/// Verifies a whole log of so many receipts of three parties in one pass over its files.
fn verify(json: bool, count: usize) {
    let home = tempfile::tempdir().expect("a folder");
    let (mut world, mut edge) = (World::new(3), Edge::default());
    write(home.path(), &mut edge, &world.leaves);
    for from in (0..count).step_by(4096) {
        let mut leaves = Vec::new();
        for (record, attestations) in handed_in(&mut world, from, 4096.min(count - from)) {
            let assembled = assemble(record, &attestations, Vec::new()).expect("a receipt");
            world.publish(assembled.receipt);
            leaves.extend(world.leaves.pop());
        }
        write(home.path(), &mut edge, &leaves);
    }
    std::fs::write(home.path().join(CHECKPOINT_PATH), world.cosigned(2)).expect("written");
    let trust = world.trust();
    drop(world);
    // why: 5 resets the peak; where that is not allowed, the peak is the whole process's.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let clock = Clock::start();
    let report = verify_files(&Folder::new(home.path().to_owned()), Some(&trust)).expect("a report");
    let spent = clock.seconds();
    assert!(report.is_valid() && report.valid == count as u64, "{:?}", report.faults);
    print(
        json,
        "verify_log",
        &VERIFY,
        count as u64,
        spent,
        peak_mb(),
        "a whole log of receipts of three parties, from its files, in one pass; four signatures each",
    );
}

/// Verifies the proofs of so many receipts one by one, against a log, its quorum and what a party knows already: the checkpoint's
/// lines are checked each time anew.
fn prove(json: bool, count: usize) {
    let mut world = World::new(3);
    for (record, attestations) in handed_in(&mut world, 0, count) {
        let assembled = assemble(record, &attestations, Vec::new()).expect("a receipt");
        world.publish(assembled.receipt);
    }
    let (trust, log, head) = (world.trust(), log_key(), world.cosigned(2));
    let signed = SignedCheckpoint::open(&head, &log).expect("a checkpoint");
    let build = |i: usize| LogProof::build(&world.tree, i as u64, &signed).expect("a proof").to_string();
    let proofs: Vec<(&Vec<u8>, String)> =
        world.leaves.iter().enumerate().skip(2).map(|(i, leaf)| (leaf, build(i))).collect();
    let quorum = trust.witness_quorum().expect("a quorum");
    let clock = Clock::start();
    for (leaf, proof) in &proofs {
        let proof = LogProof::parse(proof.as_bytes()).expect("a proof");
        proof.verify(leaf, ORIGIN, &log, &quorum).expect("in the log");
    }
    let note = "proofs of single receipts, each read, led to its root, and checked with the log's and two witnesses' signatures";
    print(json, "verify_proof", &SINGLE, count as u64, clock.seconds(), peak_mb(), note);
    let clock = Clock::start();
    for (leaf, proof) in &proofs {
        let proof = LogProof::parse(proof.as_bytes()).expect("a proof");
        let report = verify_single(leaf, &proof, &trust, &|_| None).expect("a report");
        assert!(report.is_valid(), "{:?}", report.faults);
    }
    let note = "the same receipts with everything in them: the coordinator's and three parties' signatures besides";
    print(json, "verify_receipt", &NOTHING, count as u64, clock.seconds(), peak_mb(), note);
}

/// Opens a log of so many leaves again, as a coordinator does at its start.
fn reopen(json: bool, count: usize) {
    let home = tempfile::tempdir().expect("a folder");
    let mut edge = Edge::default();
    while (edge.size() as usize) < count {
        let to = (edge.size() as usize + 4096).min(count);
        let leaves: Vec<Vec<u8>> = (edge.size() as usize..to).map(|i| format!("leaf {i}").into_bytes()).collect();
        write(home.path(), &mut edge, &leaves);
    }
    let head = Checkpoint { origin: ORIGIN.into(), size: edge.size(), root: edge.root() };
    let clock = Clock::start();
    let log = Log::resume(&Folder::new(home.path().to_owned()), &head, UnixMillis(0)).expect("a log");
    let spent = clock.seconds();
    assert_eq!(log.size(), count as u64);
    print(
        json,
        "reopen",
        &REOPEN,
        count as u64,
        spent,
        peak_mb(),
        "leaves of the log; its right edge and the root are read and checked",
    );
}

fn main() -> ExitCode {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let (json, quick) = (has("--json"), has("--quick"));
    append(json, if quick { 4 } else { 40 });
    prove(json, if quick { 500 } else { 5_000 });
    verify(json, if quick { 10_000 } else { 100_000 });
    reopen(json, if quick { 100_000 } else { 1_000_000 });
    ExitCode::from(u8::from(MISSED.load(Ordering::Relaxed)))
}
