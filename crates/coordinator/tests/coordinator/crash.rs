//! The daemon meets a fault at one system call on one of its files: it is killed there, or the disk fails, or is full. In
//! whichever of append, publication and start this is, afterwards every job that was taken has one receipt, each where it was
//! said to be, and the home is in order.
//!
//! The daemon is a process of its own under `strace`, which hurts it; the nodes and whoever submits live on in the test.
//! `TACIT_CRASH_ALL=1` meets every fault at every point: `cargo xtask crash` is that long form.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tacit_coordinator::{Coordinator, FsckReport, fsck};
use tacit_engine::JobView;
use tacit_engine::api::{FromCoordinator, ToCoordinator};
use tacit_receipts::tiles::{CHECKPOINT_PATH, entries_path, tile_path};
use tokio::time::{sleep, timeout};

use crate::support::*;

/// Names the home that [`served`] serves.
const HOME: &str = "TACIT_CRASH_HOME";
/// Every fault at every point.
const ALL: &str = "TACIT_CRASH_ALL";
/// Faults of the short form.
const SHORT: usize = 10;
/// The exit status of a daemon that could not go on.
const FAILED: i32 = 3;

/// The process that is hurt: the daemon of a home, until its standard input ends. Without a home there is nothing to serve.
#[test]
fn served() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = runtime.block_on(async {
        let mut running = match Coordinator::start(Path::new(&home)).await {
            Ok(running) => running,
            Err(fault) => return said(&fault),
        };
        let input = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
        tokio::select! {
            fault = running.failed() => said(&fault),
            _ = input => {
                running.stop().await;
                0
            }
        }
    });
    std::process::exit(status);
}

fn said(fault: &tacit_types::Fault) -> i32 {
    let _ = writeln!(std::io::stderr(), "{fault}");
    FAILED
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hurt {
    Kill,
    Eio,
    Enospc,
}

impl Hurt {
    const ALL: [Hurt; 3] = [Hurt::Kill, Hurt::Eio, Hurt::Enospc];

    const fn how(self) -> &'static str {
        match self {
            Hurt::Kill => "signal=KILL",
            Hurt::Eio => "error=EIO",
            Hurt::Enospc => "error=ENOSPC",
        }
    }
}

/// Where: the so-manyeth call of a kind on a file.
#[derive(Clone, Debug)]
struct Point {
    file: PathBuf,
    call: &'static str,
    when: u32,
}

/// Every point of the append that makes the log so long, and of the start before it.
fn points(home: &Path, size: u64) -> Vec<Point> {
    let log = home.join("log");
    let at = |file: &Path, call, when| Point { file: file.to_owned(), call, when };
    let mut points = Vec::new();
    for written in [entries_path(0, size), tile_path(0, 0, size), CHECKPOINT_PATH.to_owned()] {
        let file = log.join(written);
        let mut temporary = file.clone().into_os_string();
        temporary.push(".tmp");
        let calls = ["openat", "write", "fsync", "rename"];
        points.extend(calls.map(|call| at(Path::new(&temporary), call, 1)));
        points.extend(file.parent().into_iter().flat_map(|folder| ["openat", "fsync"].map(|call| at(folder, call, 1))));
    }
    let database = home.join("coordinator.db");
    let wal = home.join("coordinator.db-wal");
    // The state of a job is written at each of its phases, the leaf with the head between them.
    points.extend((1..=12).step_by(3).map(|when| at(&wal, "pwrite64", when)));
    points.extend((1..=8).map(|when| at(&wal, "fsync,fdatasync", when)));
    points.push(at(&database, "pwrite64", 1));
    // The start: what is read of the log and the database.
    points.push(at(&log.join(CHECKPOINT_PATH), "openat", 1));
    points.extend([1, 2].map(|when| at(&database, "openat", when)));
    points.push(at(&wal, "openat", 1));
    points
}

/// The daemon's process.
struct Daemon {
    child: Child,
    trace: Option<PathBuf>,
}

impl Daemon {
    fn start(home: &Path, hurt: Option<(&Point, Hurt)>) -> Self {
        let this = std::env::current_exe().unwrap();
        let trace = hurt.map(|_| home.join("trace"));
        let mut command = match (&trace, hurt) {
            (Some(trace), Some((point, how))) => {
                let mut strace = Command::new("strace");
                strace.args(["-f", "-o"]).arg(trace).arg("-P").arg(&point.file);
                strace.args(["-e", &format!("trace={}", point.call), "-e"]);
                strace.arg(format!("inject={}:{}:when={}", point.call, how.how(), point.when)).arg(this);
                strace
            }
            _ => Command::new(this),
        };
        command.args(["--exact", "crash::served", "--nocapture"]).env(HOME, home);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), trace }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Stops it as its administrator would, and says whether the fault was met.
    async fn stop(mut self) -> bool {
        drop(self.child.stdin.take());
        within(30, "the daemon's stop", async {
            while !self.has_ended() {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let trace = self.trace.take().and_then(|trace| std::fs::read_to_string(trace).ok()).unwrap_or_default();
        trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
    }
}

/// A home with its nodes and who submits, and the jobs that were taken so far.
struct Hospital {
    world: World,
    nodes: Vec<Node>,
    operator: Client,
    receipts: Vec<(tacit_types::JobId, u64)>,
    size: u64,
}

impl Hospital {
    async fn new() -> Self {
        let mut world = World::with_limits("[limits]\nloss_ms = 20000\nclose_ms = 3000\n").await;
        let nodes = world.nodes(2).await;
        let operator = world.operator("o").await;
        let first = operator.submit(operator.job(&nodes, 0)).await.unwrap();
        let place = operator.end(first).await.receipt.unwrap();
        world.stop().await;
        let size = fsck(world.home()).unwrap().leaves;
        Self { world, nodes, operator, receipts: vec![(first, place)], size }
    }

    /// Asks; a daemon that has died is started again, unhurt. Whether the fault was met in one that died comes with it.
    async fn ask(&self, daemon: &mut Daemon, met: &mut bool, request: &ToCoordinator) -> FromCoordinator {
        let patience = async {
            loop {
                if daemon.has_ended() {
                    let next = Daemon::start(self.world.home(), None);
                    *met |= std::mem::replace(daemon, next).stop().await;
                }
                match timeout(Duration::from_secs(3), self.operator.ask(request)).await {
                    Ok(Ok(answer)) => return answer,
                    Ok(Err(_)) | Err(_) => sleep(Duration::from_millis(30)).await,
                }
            }
        };
        within(60, "an answer", patience).await
    }

    /// Has one job run while the daemon is hurt. Whether it was.
    async fn meet(&mut self, point: &Point, how: Hurt) -> bool {
        let mut met = false;
        let mut daemon = Daemon::start(self.world.home(), Some((point, how)));
        let number = self.receipts.len();
        let job = self.operator.job(&self.nodes, u8::try_from(number % 251).unwrap());
        let submit = ToCoordinator::Submit { job: job.into() };
        let FromCoordinator::Submitted(id) = self.ask(&mut daemon, &mut met, &submit).await else {
            panic!("{point:?}")
        };
        let view: JobView = loop {
            let FromCoordinator::Job(view) = self.ask(&mut daemon, &mut met, &ToCoordinator::Job(id)).await else {
                panic!("{point:?}")
            };
            // It is over once its word is that of its end.
            if view.terminal.as_ref().is_some_and(|end| end.word() == view.state) {
                break *view;
            }
            sleep(Duration::from_millis(20)).await;
        };
        let place = view.receipt.unwrap_or_else(|| panic!("{point:?} {how:?}: no receipt: {:?}", view.timeline));
        met |= daemon.stop().await;
        self.receipts.push((id, place));
        let report = self.check(&format!("{point:?} {how:?}"));
        self.size = report.leaves;
        met
    }

    /// The home is in order, and each job has its one receipt.
    fn check(&self, what: &str) -> FsckReport {
        let report = fsck(self.world.home()).unwrap_or_else(|fault| panic!("{what}: {fault}"));
        let jobs = self.receipts.len() as u64;
        assert_eq!((report.jobs, report.receipts, report.unreceipted), (jobs, jobs, 0), "{what}: {report:?}");
        let mut places: Vec<u64> = self.receipts.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len() as u64, jobs, "{what}: two jobs in one place");
        report
    }

    /// What every job was told is what the log says in the end.
    async fn confirm(&mut self) {
        self.world.start().await;
        for (job, place) in &self.receipts {
            assert_eq!(self.operator.view(*job).await.receipt, Some(*place));
        }
        self.world.stop().await;
    }
}

fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if traced.is_ok_and(|status| status.success()) {
        return true;
    }
    let lacks = std::env::var("TACIT_LACKS").is_ok_and(|named| named.split(' ').any(|word| word == "tracing"));
    assert!(lacks || std::env::var("CI").as_deref() != Ok("true"), "faults at system calls need strace");
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: faults at system calls: apt-get install -y strace ***\n");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_system_call_loses_no_receipt_and_doubles_none() {
    if !can_trace() {
        return;
    }
    let all = std::env::var_os(ALL).as_deref() == Some(OsStr::new("1"));
    let mut hospital = Hospital::new().await;
    let count = points(hospital.world.home(), 1).len();
    let cases: Vec<(usize, Hurt)> = if all {
        (0..count).flat_map(|point| Hurt::ALL.map(|how| (point, how))).collect()
    } else {
        // Spread over the points, with every fault at its turn.
        (0..SHORT).map(|i| (i * count / SHORT, Hurt::ALL[i % Hurt::ALL.len()])).collect()
    };
    let mut missed = Vec::new();
    for (point, how) in &cases {
        let point = points(hospital.world.home(), hospital.size + 1)[*point].clone();
        if !hospital.meet(&point, *how).await {
            missed.push(format!("{} {} {how:?}", point.call, point.file.display()));
        }
    }
    hospital.confirm().await;
    // A fault that nobody meets tests nothing.
    assert!(missed.len() * 5 <= cases.len(), "{} of {} were not met: {missed:#?}", missed.len(), cases.len());
    let _ = writeln!(std::io::stderr(), "{} faults, {} of them met", cases.len(), cases.len() - missed.len());
}
