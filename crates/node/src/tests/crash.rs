//! The node is killed at one system call after the other while it decides on jobs: whichever it is, what it has said yes to
//! is counted, and no more than the quota, the privacy budget and the limit on different keys is ever given.
//!
//! The node is a process of its own under `strace`. `TACIT_CRASH_ALL=1` kills it at every call; the short form at some.

use std::path::Path;
use std::process::{Command, Stdio};

use tacit_governance::{Admission, Period};
use tacit_types::ContractId;

use super::*;
use crate::store::Limit;

/// Names the home of the process that is killed.
const HOME: &str = "TACIT_NODE_CRASH_HOME";
const ALL: &str = "TACIT_CRASH_ALL";
/// Jobs that are put under each of two contracts: the one has a budget for fewer, the other a quota for fewer.
const OFFERED: u32 = 3;
/// What is admitted of them.
const ADMITTED: u64 = 2;
/// A noisy job costs so much of a budget of 1.
const EPSILON_MICRO: u64 = 500_000;
/// Different keys that may be asked for under either contract, two after each admission: not for the second.
const KEYS: u64 = 3;
/// Calls at which the short form kills.
const SHORT: usize = 12;
/// What the process has said, a line each; what it wrote before it was killed counts as having left.
const SAID: &str = "said";

fn limit(contract: ContractId) -> Limit {
    let period = Period { number: 0, until: UnixMillis(u64::MAX >> 2) };
    Limit { contract, recipient: SealPublic([7; 32]), period, keys: KEYS }
}

/// The process that is killed: decides on the jobs that lie in its home and asks for keys after each. Without a home there is
/// nothing to do.
#[test]
fn decides() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let home = Path::new(&home);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = Node::start(home).await.unwrap();
        node.inner().recount.skip();
        for n in 0..2 * OFFERED {
            let request = std::fs::read(home.join(format!("offer-{n}"))).unwrap();
            let answer = node.inner().respond(key(COORDINATOR).id(), &request).await.unwrap();
            say(home, "answer", &answer);
            let FromNode::Admitted(admission) = wire::decode(&answer).unwrap() else { continue };
            let contract = Statement::<Admission>::verify(&admission).unwrap().body().contract;
            let keys = [[n as u8, 0], [n as u8, 1]];
            if node.inner().store.ask(&limit(contract), keys.iter().map(|k| k.as_slice()), crate::now()).await.is_ok() {
                keys.iter().for_each(|k| say(home, "key", k));
            }
        }
        node.stop().await;
        say(home, "end", b"");
    });
    std::process::exit(0);
}

fn say(home: &Path, what: &str, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(home.join(SAID)).unwrap();
    file.write_all(format!("{what} {}\n", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()).as_bytes())
        .unwrap();
}

/// Runs the process in a home, killed at the so-manyeth of such calls on a file where that is asked. Gives the trace.
fn run(home: &Path, kill: Option<(&str, &str, usize)>, trace: bool) -> String {
    let this = std::env::current_exe().unwrap();
    let log = home.join("trace");
    let mut command = if kill.is_some() || trace { Command::new("strace") } else { Command::new(&this) };
    if kill.is_some() || trace {
        command.args(["-f", "-y", "-o"]).arg(&log);
        match kill {
            Some((file, call, when)) => {
                command.arg("-P").arg(home.join(file)).args(["-e", &format!("trace={call}"), "-e"]);
                command.arg(format!("inject={call}:signal=KILL:when={when}"));
            }
            None => {
                for file in FILES {
                    command.arg("-P").arg(home.join(file));
                }
                command.args(["-e", &format!("trace={}", CALLS.join(","))]);
            }
        }
        command.arg(&this);
    }
    command.args(["--exact", "tests::crash::decides", "--nocapture"]).env(HOME, home);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok(), "{status:?}");
    std::fs::read_to_string(log).unwrap_or_default()
}

const FILES: [&str; 2] = ["node.db-wal", "node.db"];
const CALLS: [&str; 3] = ["pwrite64", "fsync", "fdatasync"];

/// Every call of the kind that an unhurt run makes, as file, call and number.
fn points(trace: &str, home: &Path) -> Vec<(&'static str, &'static str, usize)> {
    let mut points = Vec::new();
    for file in FILES {
        for call in CALLS {
            let made =
                trace.lines().filter(|l| l.contains(&format!(" {call}(")) && l.contains(&format!("/{file}>"))).count();
            points.extend((1..=made).map(|when| (file, call, when)));
        }
    }
    assert!(home.exists() && points.len() > 10, "{} points", points.len());
    points
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (own, there) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&own, &there);
        } else {
            std::fs::copy(&own, &there).unwrap();
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// What was said to the world in all lives of a home.
#[derive(Default, Debug)]
struct Said {
    admitted: std::collections::BTreeMap<JobId, Vec<u8>>,
    keys: std::collections::BTreeSet<String>,
    ended: bool,
}

fn said(home: &Path) -> Said {
    let mut said = Said::default();
    for line in std::fs::read_to_string(home.join(SAID)).unwrap_or_default().lines() {
        match line.split_once(' ') {
            Some(("answer", hex)) => {
                let bytes = unhex(hex);
                if let FromNode::Admitted(admission) = wire::decode(&bytes).unwrap() {
                    let id = Statement::<Admission>::verify(&admission).unwrap().body().job;
                    let before = said.admitted.insert(id, bytes.clone());
                    assert!(before.is_none_or(|b| b == bytes), "one job, two answers");
                }
            }
            Some(("key", hex)) => drop(said.keys.insert(hex.to_owned())),
            _ => said.ended |= line.starts_with("end"),
        }
    }
    said
}

/// After any number of lives: what left is counted, and within every limit.
async fn holds(home: &Path, contracts: [ContractId; 2], at: &str) {
    let said = said(home);
    let store = Store::open(&home.join(DATABASE_FILE)).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let used = [tx.jobs_used(&contracts[0]).await.unwrap(), tx.jobs_used(&contracts[1]).await.unwrap()];
    for (id, answer) in &said.admitted {
        let kept = tx.job(id).await.unwrap().unwrap_or_else(|| panic!("{at}: a yes was forgotten"));
        assert_eq!(&wire::encode(&kept.decision()), answer, "{at}");
    }
    drop(tx);
    let spent: u64 = store.spent().await.unwrap().iter().map(|row| row.cost.epsilon_micro).sum();
    let mut asked = 0;
    for contract in contracts {
        let keys = store.asked(&limit(contract)).await.unwrap();
        assert!(keys <= KEYS, "{at}: {keys} keys");
        asked += keys;
    }
    assert_eq!(spent, used[0] * EPSILON_MICRO, "{at}: a job and its cost are one transaction");
    assert!(used.iter().all(|used| *used <= ADMITTED), "{at}: {used:?}");
    assert!(said.admitted.len() as u64 <= used[0] + used[1], "{at}: {used:?}");
    assert!(said.keys.len() as u64 <= asked, "{at}: {asked} keys are counted, {} were asked for", said.keys.len());
    if said.ended {
        assert_eq!((used, said.admitted.len(), asked), ([ADMITTED; 2], 4, 4), "{at}: all that may be given is given");
    }
    store.close().await;
}

/// A home with offers in it, and the contracts that they are under.
async fn prepared() -> (PathBuf, [ContractId; 2]) {
    let mut world = World::new("crash").await;
    world.valid_ms = 3_600_000;
    let long = |mut terms: Contract, jobs: u64| {
        (terms.quota.jobs, terms.valid_until) = (jobs, crate::now().plus(3_600_000));
        let mut contract = SignedContract::draft(terms);
        for signer in [&key(1), &key(2), &key(4), &world.keys.root] {
            contract.sign(signer, crate::now()).unwrap();
        }
        contract
    };
    let private = long(world.private_contract().body().clone(), 9);
    let plain = long(world.contract("plain", 60_000, true).body().clone(), ADMITTED);
    for n in 0..OFFERED {
        let noisy = world.private_job(&private, "0.5", n + 1).1;
        let (_, job, contracts) = world.job(&plain);
        for (n, request) in [(2 * n, noisy), (2 * n + 1, ToNode::Admit { job, contracts })] {
            std::fs::write(world.home.join(format!("offer-{n}")), wire::encode(&request)).unwrap();
        }
    }
    let home = world.home.clone();
    world.node.stop().await;
    (home, [private.id(), plain.id()])
}

fn can_trace() -> bool {
    use std::io::Write as _;
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if traced.is_ok_and(|status| status.success()) {
        return true;
    }
    let lacks = std::env::var("TACIT_LACKS").is_ok_and(|named| named.split(' ').any(|word| word == "tracing"));
    assert!(lacks || std::env::var("CI").as_deref() != Ok("true"), "deaths at system calls need strace");
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: deaths at system calls: apt-get install -y strace ***\n");
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_of_admission_a_node_gives_no_more_than_it_may() {
    if !can_trace() {
        return;
    }
    let (home, contracts) = prepared().await;
    let lives = home.with_extension("lives");
    let _ = std::fs::remove_dir_all(&lives);
    let whole = lives.join("whole");
    copy(&home, &whole);
    let points = points(&run(&whole, None, true), &whole);
    assert!(said(&whole).ended, "the unhurt node ends");
    holds(&whole, contracts, "unhurt").await;
    let step = if std::env::var_os(ALL).is_some() { 1 } else { points.len().div_ceil(SHORT) };
    let mut killed = 0;
    for (n, (file, call, when)) in points.iter().enumerate().filter(|(n, _)| n % step == 0) {
        let at = format!("{call} {when} on {file}");
        let life = lives.join(n.to_string());
        copy(&home, &life);
        let trace = run(&life, Some((file, call, *when)), false);
        if !trace.contains("killed by SIGKILL") {
            continue;
        }
        killed += 1;
        assert!(!said(&life).ended, "{at}");
        holds(&life, contracts, &at).await;
        run(&life, None, false);
        assert!(said(&life).ended, "{at}: it lives again");
        holds(&life, contracts, &at).await;
        std::fs::remove_dir_all(&life).unwrap();
    }
    println!("{killed} deaths of {} points", points.len());
    assert!(killed >= SHORT / 3, "{killed} deaths");
    for folder in [home, lives] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
