//! Private set intersection between two processes over QUIC on loopback, with lists in files: time by the clock, bytes an item,
//! and the peak of memory of each process, which may not be more than a ceiling. And searches in a cache that is shipped once.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tacit_benches::case::{Case, peak_mb};
use tacit_benches::lists::{Files, Two};
use tacit_benches::mesh::{AnyError, Mesh};
use tacit_crypto::Secret;
use tacit_protocol::{Abort, Audience, Disclosure, Party};
use tacit_psi::lookup::{Cache, LookupTerms, Maker, Role, SHIP_TAGS_MAX, cache, lookup};
use tacit_psi::{Host, KeyColumn, KeySet, KeySetBuilder, Level, Mode, Outcome, Schema, Step, Terms, intersect};
use tacit_types::{Code, Fault, Hash, Seat, UnixMillis};

/// Megabytes that one process may have at any time, the program and its network with it.
const CEILING_MB: f64 = 256.0;
/// The same at a million keys a side, which a side could hold.
const CEILING_MILLION_MB: f64 = 200.0;
/// Seconds by the clock, on two cores that do nothing else, at so many keys a side.
const GOALS: [(u64, f64); 2] = [(1 << 16, 0.9), (1 << 20, 12.0)];
/// Bytes an item that both sides may send together, frames and signatures with them.
const BYTES_AN_ITEM: f64 = 76.0;
/// Bytes that sorting may hold.
const MEMORY: usize = 32 << 20;

#[derive(Parser)]
struct Arguments {
    /// Print one JSON object a case instead of lines for people.
    #[arg(long)]
    json: bool,
    /// Small lists alone.
    #[arg(long)]
    quick: bool,
    /// Run only the cases whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Small lists alone, for the bytes and the memory that they may take.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// One side of a case, as this program runs it: keys of its list.
    #[arg(long, hide = true)]
    keys: Option<u64>,
    /// Keys of the other side's list.
    #[arg(long, hide = true, default_value_t = 0)]
    others: u64,
    /// Queries, where it is a search.
    #[arg(long, hide = true, default_value_t = 0)]
    queries: u64,
    /// Where the other side is.
    #[arg(long, hide = true)]
    peer: Option<String>,
}

/// What one side says of itself.
#[derive(Serialize, Deserialize, Default)]
struct Side {
    matches: u64,
    /// Seconds of each run, by the clock.
    seconds: Vec<f64>,
    /// Bytes that it sent in each.
    sent: Vec<u64>,
    /// Seconds of its processor time in all.
    busy: f64,
    /// Seconds until the list, or the cache, was there.
    prepared: f64,
    peak_mb: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(keys) = arguments.keys {
        let sizes = Sizes { own: keys, others: arguments.others, queries: arguments.queries };
        return match side(sizes, arguments.peer.as_deref()) {
            Ok(side) => {
                println!("{}", serde_json::to_string(&side).unwrap_or_default());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let quick = arguments.quick || arguments.check.is_some();
    let same = if quick { &[1 << 14][..] } else { &[1 << 16, 1 << 20, 10_000_000] };
    // Of the sender and of the receiver, who learns.
    let apart = if quick { (1 << 14, 1 << 10) } else { (10_000_000, 10_000) };
    let searches: &[(u64, u64)] = if quick { &[(1 << 14, 1 << 12)] } else { &[(1 << 20, 100_000), (1 << 22, 100_000)] };
    let mut fine = true;
    for keys in same {
        fine &= run(&arguments, &format!("l0_oprf_quic_{keys}"), (*keys, *keys), 0);
    }
    fine &= run(&arguments, &format!("l0_oprf_quic_{}_by_{}", apart.0, apart.1), apart, 0);
    for (keys, queries) in searches {
        fine &= run(&arguments, &format!("lookup_quic_{queries}_of_{keys}"), (*keys, *queries), *queries);
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Distinct keys of either side, and the queries where it is a search.
#[derive(Clone, Copy)]
struct Sizes {
    own: u64,
    others: u64,
    queries: u64,
}

impl Sizes {
    /// Keys that both have: half of the smaller list.
    fn common(self) -> u64 {
        self.own.min(self.others) / 2
    }
}

fn start(sizes: Sizes, peer: Option<&str>) -> Result<Child, AnyError> {
    let mut child = Command::new(std::env::current_exe()?);
    let numbers = [("--keys", sizes.own), ("--others", sizes.others), ("--queries", sizes.queries)];
    numbers.iter().for_each(|(name, number)| _ = child.args([*name, &number.to_string()]));
    peer.iter().for_each(|peer| _ = child.args(["--peer", peer]));
    Ok(child.stdout(Stdio::piped()).spawn()?)
}

/// Both sides in processes of their own.
fn pair((own, others): (u64, u64), queries: u64) -> Result<[Side; 2], AnyError> {
    let mut first = start(Sizes { own, others, queries }, None)?;
    let mut out = BufReader::new(first.stdout.take().ok_or("no output")?);
    let mut address = String::new();
    out.read_line(&mut address)?;
    let second = start(Sizes { own: others, others: own, queries }, Some(address.trim()))?;
    let second = second.wait_with_output()?;
    let mut said = String::new();
    out.read_to_string(&mut said)?;
    if !first.wait()?.success() || !second.status.success() {
        return Err("a side failed".into());
    }
    Ok([serde_json::from_str(&said)?, serde_json::from_slice(&second.stdout)?])
}

fn run(arguments: &Arguments, case: &str, keys: (u64, u64), queries: u64) -> bool {
    if !case.contains(&arguments.only) {
        return true;
    }
    let [a, b] = match pair(keys, queries) {
        Ok(sides) => sides,
        Err(error) => {
            eprintln!("{case}: {error}");
            return false;
        }
    };
    let last = |all: &[u64]| all.last().copied().unwrap_or(0);
    let seconds = b.seconds.last().copied().unwrap_or(0.0);
    let items = if queries == 0 { keys.0.max(keys.1) } else { queries };
    let each = (last(&a.sent) + last(&b.sent)) as f64 / items as f64;
    let ceiling = if keys == (1 << 20, 1 << 20) { CEILING_MILLION_MB } else { CEILING_MB };
    let mut note = format!(
        "by the clock, two processes of two threads each on the same cores, with {:.1} and {:.1} s of them, lists and all; \
         {each:.1} B an item; peaks {:.0} and {:.0} MB of {ceiling}",
        a.busy, b.busy, a.peak_mb, b.peak_mb
    );
    if let Some((_, goal)) = GOALS.iter().find(|(n, _)| keys == (*n, *n) && queries == 0) {
        note += &format!("; the goal is {goal} s");
    }
    if queries > 0 {
        let (first, sent) = (b.seconds.first().copied().unwrap_or(0.0), a.sent.first().copied().unwrap_or(0));
        note += &format!(
            "; a later search, the cache being there; the first took {first:.2} s with {:.1} MB of cache, which took {:.1} s to \
             make",
            sent as f64 / 1e6,
            a.prepared
        );
    }
    let sent = last(&a.sent).max(last(&b.sent));
    let row = Case {
        case: case.to_owned(),
        n: items as usize,
        parties: 2,
        seconds,
        bytes_sent: sent,
        peak_mb: a.peak_mb.max(b.peak_mb),
        samples: 1,
        note,
        ..Case::default()
    };
    row.print(arguments.json);
    let fine = each <= BYTES_AN_ITEM && [&a, &b].iter().all(|side| side.peak_mb > 0.0 && side.peak_mb <= ceiling);
    if !fine {
        eprintln!("{case}: more than {BYTES_AN_ITEM} B an item or {ceiling} MB");
    }
    fine
}

fn disclosure() -> Disclosure {
    Disclosure { what: "matches".into(), to: Audience::Nodes, cells_max: 1 << 40 }
}

/// Everything that a side works with, through its runs.
struct Own {
    files: Files,
    shelf: Files,
    keys: KeySet,
    cache: Option<Cache>,
}

/// Texts of 16 hex digits.
fn list(files: &mut Files, range: core::ops::Range<u64>) -> Result<KeySet, Fault> {
    let schema = Schema::new(vec![KeyColumn { name: "id".into(), steps: vec![Step::Nfkc, Step::Trim] }])?;
    let mut builder = KeySetBuilder::new(schema.clone(), MEMORY);
    for i in range {
        let text = format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        builder.push_key(files, schema.key([Some(text.as_str())]))?;
    }
    builder.finish(files)
}

fn side(sizes: Sizes, peer: Option<&str>) -> Result<Side, AnyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let begun = Instant::now();
    let mut own = own(sizes, peer.is_some())?;
    let mut side = Side { prepared: begun.elapsed().as_secs_f64(), ..Side::default() };
    runtime.block_on(async {
        let mesh = Mesh::end(peer, |at| println!("{at}")).await?;
        for attempt in 0..if sizes.queries == 0 { 1 } else { 2 } {
            let begun = Instant::now();
            let run = |party| one(party, own, sizes, attempt);
            let ((matches, back), sent) = mesh.run_own(&[disclosure()], run).await?;
            side.seconds.push(begun.elapsed().as_secs_f64());
            side.sent.push(sent);
            side.matches = matches;
            own = back;
        }
        Ok::<_, AnyError>(())
    })?;
    side.peak_mb = peak_mb();
    let busy = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    side.busy = busy.tv_sec as f64 + busy.tv_nsec as f64 * 1e-9;
    Ok(side)
}

/// Who asks, or learns, has its first keys in common with the end of the other's list.
fn own(sizes: Sizes, asks: bool) -> Result<Own, AnyError> {
    let (mut files, mut shelf) = (Files::new()?, Files::new()?);
    let first = if asks { sizes.others - sizes.common() } else { 0 };
    let range = first..first + sizes.own;
    let list = list(&mut files, range)?;
    let cache = if sizes.queries > 0 && !asks {
        let key = Secret::new([3; 32]);
        let mut host = Host { storage: &mut files, workers: &Two, memory: MEMORY, run: 0, resume: None };
        let lasts = 1 << 40;
        let mut maker = Maker { shelf: &mut shelf, key: &key, series: Hash([4; 32]), now: UnixMillis(1), lasts };
        Some(cache(&mut maker, &list, &mut host)?)
    } else {
        None
    };
    Ok(Own { files, shelf, keys: list, cache })
}

async fn one(mut party: Party, mut own: Own, sizes: Sizes, attempt: u8) -> Result<(u64, Own), Abort> {
    let mut host = Host { storage: &mut own.files, workers: &Two, memory: MEMORY, run: attempt.into(), resume: None };
    let asks = party.seat() == Seat(1);
    let matches = if sizes.queries == 0 {
        let terms = Terms {
            level: Level::Receiver,
            mode: Mode::Oprf,
            context: Hash([7; 32]),
            receiver: Seat(1),
            sender: Seat(0),
            disclosure: disclosure(),
            books: None,
            items_max: 1 << 24,
            items_min: 1,
            announced: None,
            batch: 1 << 12,
            checkpoint: 0,
            step_base: 3,
            begin_ms: 3_600_000,
            step_ms: 600_000,
        };
        match intersect(&mut party, &terms, &own.keys, &mut host).await? {
            Outcome::Set(set) => {
                // What a plain join has: each of the first rows of who learns, once.
                let mut joined = vec![false; sizes.common() as usize];
                set.matched(host.storage, &mut |_, rows| {
                    for row in rows {
                        let place = joined.get_mut(row as usize).filter(|joined| !**joined);
                        *place.ok_or_else(|| Fault::new(Code::JobInternal, "a row that no join has"))? = true;
                    }
                    Ok(())
                })?;
                joined.into_iter().filter(|joined| *joined).count() as u64
            }
            _ => sizes.common(),
        }
    } else {
        let terms = LookupTerms {
            context: Hash([attempt; 32]),
            series: Hash([4; 32]),
            asker: Seat(1),
            holder: Seat(0),
            disclosure: disclosure(),
            queries: sizes.queries,
            keys_min: 1,
            keys_max: 1 << 27,
            batch: 1 << 12,
            ship: SHIP_TAGS_MAX,
            step_base: 3,
            begin_ms: 3_600_000,
            step_ms: 600_000,
        };
        let role = own.cache.as_ref().map_or(Role::Asker { oldest: 0, keys_max: u64::MAX }, Role::Holder);
        let found = lookup(&mut party, &terms, &own.keys, &mut host, &mut own.shelf, role).await?;
        found.map_or(sizes.common(), |found| found.len())
    };
    assert_eq!(matches, sizes.common(), "a wrong result {}", if asks { "at who asks" } else { "" });
    Ok((matches, own))
}
