//! Secure aggregation: masking against the raw cipher, whole rounds of 10, 50 and 1,000 parties by
//! client and server, a vector of 10^8 elements in bounded memory, and exact counts of bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tacit_benches::case::{Case, SAMPLES, median, peak_mb, reset_peak, time};
use tacit_benches::world::{Report, Tape, Work, alone, recorded, streamed};
use tacit_crypto::prg::{TILE_BYTES, apply_all};
use tacit_crypto::{Backend, Lane, Prg, Rng, SealKey, Secret, SignedPrg};
use tacit_protocol::{Abort, Audience, Disclosure, Party};
use tacit_secagg::mask::add_bytes;
use tacit_secagg::{Delivery, FixedPoint, Outcome, PHASES, Params, Plan, Round, Slots, Source, Vector, Width};
use tacit_types::{Fault, Hash, Seat, Step};

#[derive(Parser)]
struct Arguments {
    /// Print one JSON object a case instead of lines for people.
    #[arg(long)]
    json: bool,
    /// Leave out the cases that take minutes, and shorten the rest.
    #[arg(long)]
    quick: bool,
    /// Run only this group of cases: mask, 10, 50, verified, stream, 1000.
    #[arg(long, default_value = "")]
    only: String,
    /// Compare exact counts of bytes and rounds with this file and the memory of a large vector with its limit, and time nothing.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Run the server of a thousand parties by itself on what came to it, and print its memory and bytes.
    #[arg(long, value_name = "TAPE", hide = true)]
    alone: Option<PathBuf>,
    /// Run a client by itself with a vector of so many elements, and print its memory and bytes.
    #[arg(long, value_name = "ELEMENTS", hide = true)]
    stream: Option<usize>,
}

const CLIP: f32 = 8.0;
const FRACTION_BITS: u8 = 16;
const SETUP: u16 = 1;
const ROUND: u16 = 2;
const MASKED: Step = Step::new(ROUND, 2);
const UNMASK: Step = Step::new(ROUND, 7);
const RESULT: Step = Step::new(ROUND, 8);
const TAGS: Step = Step::new(ROUND, 9);
const PROOF: Step = Step::new(ROUND, 10);

fn main() -> ExitCode {
    // As the product's programs do.
    tacit_protocol::keep_chunk_memory();
    let arguments = Arguments::parse();
    if let Some(budgets) = &arguments.check {
        return check(budgets);
    }
    let d = if arguments.quick { 100_000 } else { 1_000_000 };
    if let Some(d) = arguments.stream {
        return client_alone(d);
    }
    if let Some(tape) = &arguments.alone {
        return server_alone(tape, d);
    }
    let wanted = |group: &str| arguments.only.is_empty() || group == arguments.only;
    let bytes = if arguments.quick { 1 << 22 } else { 1 << 26 };
    let library = raw_cipher(bytes, Backend::Portable);
    let cipher = raw_cipher(bytes, Backend::detect()).min(library);
    let bench = Bench { json: arguments.json, cipher, library };
    let mut kept = true;
    if wanted("mask") {
        mask_cases(bytes, bench);
    }
    for (n, dropped) in [(10, 0), (10, 2), (50, 0), (50, 10)] {
        if wanted(&n.to_string()) {
            round_case(n, d, dropped, bench);
        }
    }
    if wanted("verified") {
        verified_case(10, d, bench);
    }
    if wanted("stream") {
        kept = large_case(if arguments.quick { 1_000_000 } else { STREAM_ELEMENTS }, Some(bench));
    }
    if !arguments.quick && wanted("1000") {
        thousand_case(d, bench);
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How to print, and what to measure against.
#[derive(Clone, Copy)]
struct Bench {
    json: bool,
    /// Seconds a byte of raw AES-256-CTR on this machine.
    cipher: f64,
    /// The same through the cipher's library alone, which is what the portable path has.
    library: f64,
}

fn prg(i: usize, backend: Backend) -> Prg {
    let mut seed = [7; 40];
    seed[..8].copy_from_slice(&(i as u64).to_le_bytes());
    Prg::with_backend(&Secret::new(seed), backend)
}

/// The cipher alone, on a tile that stays in the first cache, in seconds a byte.
fn raw_cipher(bytes: usize, backend: Backend) -> f64 {
    let tiles = bytes / TILE_BYTES;
    let mut tile = vec![0u8; TILE_BYTES];
    let prg = prg(0, backend);
    let seconds = time(|| {
        for i in 0..tiles {
            prg.keystream((i * TILE_BYTES) as u64, &mut tile);
            std::hint::black_box(&tile);
        }
    });
    seconds / bytes as f64
}

/// Expansion and addition of one mask of `bytes` bytes against the cipher alone: of AES-NI against AES-NI, which those
/// instructions cannot pass; of the fastest kernel and of the portable path against the fastest cipher here.
fn mask_cases(bytes: usize, bench: Bench) {
    let tiles = bytes / TILE_BYTES;
    let speed = |a_byte: f64| 1e-9 / a_byte;
    for backend in Backend::available() {
        let (cipher, what) = match backend {
            Backend::AesNi => (raw_cipher(bytes, backend), "raw AES-256-CTR by AES-NI"),
            _ => (bench.cipher, "raw AES-256-CTR, the fastest here,"),
        };
        let print = |width: usize, seconds: f64| {
            let mut note = format!("limit: {what} of the same bytes, {:.1} GB/s", speed(cipher));
            if backend == Backend::Portable {
                let library = bench.library * bytes as f64;
                note += &format!(
                    "; the library alone has {:.1} GB/s: {:.2} of that",
                    speed(bench.library),
                    seconds / library
                );
            }
            let case = format!("mask_add_{width}_{}", format!("{backend:?}").to_lowercase());
            let (d, limit_seconds) = (bytes * 8 / width, cipher * bytes as f64);
            Case { case, d, seconds, limit_seconds, samples: SAMPLES, note, ..Case::default() }.print(bench.json);
        };
        print(32, add::<u32>(tiles, backend));
        print(64, add::<u64>(tiles, backend));
        print(128, add::<u128>(tiles, backend));
    }
}

fn add<L: Lane>(tiles: usize, backend: Backend) -> f64 {
    let mut lanes = vec![L::default(); TILE_BYTES / L::BYTES];
    let masks = [SignedPrg { prg: prg(1, backend), subtract: false }];
    time(|| {
        for i in 0..tiles {
            apply_all(&masks, (i * lanes.len()) as u64, &mut lanes);
            std::hint::black_box(&lanes);
        }
    })
}

fn disclosure(d: usize) -> Disclosure {
    Disclosure { what: "sum".into(), to: Audience::Recipient, cells_max: d as u64 }
}

/// Model-like numbers, made where they are read.
struct Numbers(usize);

impl Source for Numbers {
    fn width(&self) -> Width {
        Width::W32
    }

    fn len(&self) -> usize {
        self.0
    }

    fn fill(&mut self, start: usize, out: Slots<'_>) -> Result<(), Fault> {
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) % 2001) as f32 * 1e-5 - 0.01;
        let values: Vec<f32> = (start..start + out.len()).map(value).collect();
        FixedPoint::new(&values, CLIP, FRACTION_BITS)?.fill(0, out)
    }
}

fn numbers(d: usize) -> Vec<f32> {
    (0..d).map(|i| (i.wrapping_mul(2_654_435_761) % 2001) as f32 * 1e-5 - 0.01).collect()
}

/// One set-up and one round with a recipient: what each party runs.
#[derive(Clone)]
struct Session {
    plan: Plan,
    round: Round,
}

impl Session {
    fn new(params: Params, d: usize) -> Self {
        let plan =
            Plan { params, context: Hash([3; 32]), rounds: 1, aggregator: Seat(0), step_ms: 1000, step_base: SETUP };
        let recipient = SealKey::generate(&mut Rng::from_seed(&Secret::new([9; 32])));
        let delivery = Delivery::Recipient { key: recipient.public(), disclosure: disclosure(d) };
        let query = Hash([4; 32]);
        Self { plan, round: Round { index: 0, query, model_root: None, width: Width::W32, len: d, delivery } }
    }

    async fn run_streamed(self, mut party: Party, d: usize) -> Result<Outcome, Abort> {
        let mut epoch = tacit_secagg::setup(&mut party, &self.plan).await?;
        tacit_secagg::aggregate(&mut party, &mut epoch, &self.round, Numbers(d)).await
    }

    async fn run(self, mut party: Party, values: Arc<Vec<f32>>) -> Result<Outcome, Abort> {
        let mut epoch = tacit_secagg::setup(&mut party, &self.plan).await?;
        let input = FixedPoint::new(&values, CLIP, FRACTION_BITS)?;
        tacit_secagg::aggregate(&mut party, &mut epoch, &self.round, input).await
    }
}

/// Runs a session; the highest seats vanish before their vectors. What comes to the server goes on the tape as well.
fn run_round(params: Params, d: usize, dropped: usize, tape: Option<&mut Tape>) -> Report<Outcome> {
    let n = usize::from(params.seats());
    let kills: BTreeMap<Seat, Step> =
        (0..dropped).map(|i| (Seat((n - 1 - i * (n / dropped.max(1) - 1).max(1)) as u16), MASKED)).collect();
    let (session, values) = (Session::new(params, d), Arc::new(numbers(d)));
    let protocol = |party| session.clone().run(party, values.clone());
    let report = recorded(n, &[disclosure(d)], &kills, tape, protocol);
    for (seat, outcome) in &report.outcomes {
        let outcome = outcome.as_ref().unwrap_or_else(|e| panic!("{seat}: {e}"));
        assert_eq!(outcome.survivors.len(), n - dropped);
    }
    report
}

/// A client: everything up to its openings, set-up and round.
fn client_seconds(work: &Work) -> f64 {
    work.seconds_of(|s| s != RESULT)
}

fn client_online_seconds(work: &Work) -> f64 {
    work.seconds_of(|s| s.round() == ROUND && s != RESULT)
}

/// The server: from the first masked chunk to the unmasked sum. The aggregator's own vector is a
/// client's work and lies before.
fn server_seconds(work: &Work) -> f64 {
    work.seconds_of(|s| s >= MASKED && s <= UNMASK)
}

fn clients(report: &Report<Outcome>) -> impl Iterator<Item = &Work> {
    report.outcomes.keys().filter(|s| **s != Seat(0)).map(|s| &report.work[s.index()])
}

fn online_bytes(work: &Work) -> u64 {
    work.bytes_of(|s| s.round() == ROUND)
}

/// Steps of a round in which a client sends: each waits for the one before. Tags go beside the vote.
fn online_rounds(work: &Work) -> u64 {
    work.bytes.keys().filter(|s| s.round() == ROUND && **s != TAGS).count() as u64
}

/// Milliseconds of each step of the round, by the name of the step that an event found running.
fn by_step(work: &Work) -> String {
    let named = |s: &Step| PHASES.iter().find(|p| !p.setup && s.round() == ROUND && p.number == s.phase());
    let steps = work.seconds.iter().filter_map(|(s, t)| named(s).map(|p| format!("{} {:.2}", p.name, t * 1e3)));
    steps.collect::<Vec<_>>().join(", ")
}

/// Seconds to add `n` vectors that lie in memory: the plain work of a server. As many differ as are more than the last
/// cache that a core has for itself.
fn plain_sum_seconds(n: usize, d: usize) -> f64 {
    let vectors: Vec<Vec<u8>> = (0..n.min(DISTINCT)).map(|i| vec![i as u8; 4 * d]).collect();
    let mut sum = Vector::zeroes(Width::W32, d);
    time(|| {
        for vector in vectors.iter().cycle().take(n) {
            add_bytes(&mut sum, 0, vector);
        }
        std::hint::black_box(&sum);
    })
}

/// Different vectors of a plain sum.
const DISTINCT: usize = 64;

fn round_case(n: usize, d: usize, dropped: usize, bench: Bench) {
    let params = Params::new(n as u16).unwrap_or_else(|e| panic!("{e}"));
    let bytes = 4.0 * d as f64;
    reset_peak();
    let reports: Vec<Report<Outcome>> = (0..SAMPLES).map(|_| run_round(params, d, dropped, None)).collect();
    let peak = peak_mb();
    let over = |f: fn(&Work) -> f64| median(reports.iter().flat_map(|r| clients(r).map(f)).collect());
    let first = clients(&reports[0]).next().cloned().unwrap_or_default();
    let case = Case {
        n,
        d,
        parties: n - dropped,
        bytes_sent: online_bytes(&first),
        rounds: online_rounds(&first),
        peak_mb: peak,
        samples: SAMPLES,
        ..Case::default()
    };
    // Its own mask, one with each other seat, one for the recipient.
    let limit_seconds = (n + 1) as f64 * bytes * bench.cipher;
    let note = "limit: raw AES of its masks; with set-up; peak is that of all parties in one process".to_owned();
    let name = |who: &str| format!("round_{n}x{d}_drop{dropped}_{who}");
    Case { case: name("client"), seconds: over(client_seconds), limit_seconds, note, ..case.clone() }.print(bench.json);
    let note = "limit: raw AES of its masks; keys dealt ahead".to_owned();
    Case { case: name("client_online"), seconds: over(client_online_seconds), limit_seconds, note, ..case.clone() }
        .print(bench.json);
    let seconds = median(reports.iter().map(|r| server_seconds(&r.work[0])).collect());
    let unmasks = (n - dropped) + dropped * (n - dropped);
    let limit_seconds = plain_sum_seconds(n - dropped, d) + unmasks as f64 * bytes * bench.cipher;
    let note = format!(
        "limit: plain sum of {} vectors and raw AES of {unmasks} masks; the machine's thread, without hashing the \
         chunks, which is the case hash_ahead; ms by step of one run: {}",
        n - dropped,
        by_step(&reports[0].work[0])
    );
    let bytes_sent = online_bytes(&reports[0].work[0]);
    let hashing = median(reports.iter().map(|r| r.work[0].ahead_seconds).collect());
    server_cases(&Case { seconds, limit_seconds, bytes_sent, note, ..case }, hashing, name, bench);
}

/// The server's thread, the hashing of chunks on the threads of its readers, and both.
fn server_cases(server: &Case, hashing: f64, name: impl Fn(&str) -> String, bench: Bench) {
    let Case { seconds, limit_seconds, .. } = *server;
    Case { case: name("server"), ..server.clone() }.print(bench.json);
    let note = "limit: the case server; hashing of chunks where they arrive, on the threads of the readers".to_owned();
    Case { case: name("server_hash_ahead"), seconds: hashing, limit_seconds: seconds, note, ..server.clone() }
        .print(bench.json);
    let note = "limit: as for server; all of the server's work, hashing included".to_owned();
    Case { case: name("server_all"), seconds: seconds + hashing, limit_seconds, note, ..server.clone() }
        .print(bench.json);
}

/// What checking a sum costs a client, and what it costs the server that the sum can be checked.
fn verified_case(n: usize, d: usize, bench: Bench) {
    let params = Params::new(n as u16).unwrap_or_else(|e| panic!("{e}")).verified();
    let bytes = 4.0 * d as f64;
    let reports: Vec<Report<Outcome>> = (0..SAMPLES).map(|_| run_round(params, d, 0, None)).collect();
    let over = |f: fn(&Work) -> f64| median(reports.iter().flat_map(|r| clients(r).map(f)).collect());
    let first = clients(&reports[0]).next().cloned().unwrap_or_default();
    let case = Case { n, d, parties: n, samples: SAMPLES, rounds: online_rounds(&first), ..Case::default() };
    // The own mask of each survivor, and twice 16 bytes of coefficients an element.
    let limit_seconds = (n as f64 + 8.0) * bytes * bench.cipher;
    let note = "limit: raw AES of the survivors' own masks and of the coefficients".to_owned();
    let seconds = over(|w| w.seconds_of(|s| s == PROOF || s == RESULT));
    let name = |who: &str| format!("round_{n}x{d}_verified_{who}");
    Case { case: name("client_check"), seconds, limit_seconds, note, bytes_sent: online_bytes(&first), ..case.clone() }
        .print(bench.json);
    let seconds = median(reports.iter().map(|r| r.work[0].seconds_of(|s| s >= MASKED)).collect());
    let limit_seconds = 2.0 * plain_sum_seconds(n, d) + (5 * n) as f64 * bytes * bench.cipher;
    let note = "limit: plain sum twice, raw AES of own masks and of each seat's coefficients".to_owned();
    let bytes_sent = online_bytes(&reports[0].work[0]);
    Case { case: name("server"), seconds, limit_seconds, note, bytes_sent, ..case }.print(bench.json);
}

/// Parties of the case of a vector that does not fit in memory.
const STREAM_PARTIES: usize = 10;
/// Elements of that vector.
const STREAM_ELEMENTS: usize = 100_000_000;
/// Most memory of a client beside its input, in bytes.
const STREAM_BYTES_MAX: f64 = 67_108_864.0;

/// An input that is never read.
struct Nothing(usize);

impl Source for Nothing {
    fn width(&self) -> Width {
        Width::W32
    }

    fn len(&self) -> usize {
        self.0
    }

    fn fill(&mut self, _: usize, _: Slots<'_>) -> Result<(), Fault> {
        Err(Fault::new(tacit_types::Code::JobInternal, "the bench needs the other seats for their keys alone"))
    }
}

/// One client's set-up and vector in a process that holds nothing else. Its numbers are made where they are read, so all of the
/// process's memory is beside the input. The other seats run their set-up in the same process, and end with it.
fn client_alone(d: usize) -> ExitCode {
    let before_mb = peak_mb();
    let session = Session::new(Params::new(STREAM_PARTIES as u16).unwrap_or_else(|e| panic!("{e}")), d);
    let protocol = |mut party: Party| {
        let session = session.clone();
        async move {
            if party.seat() == Seat(1) {
                return session.run_streamed(party, d).await;
            }
            let mut epoch = tacit_secagg::setup(&mut party, &session.plan).await?;
            tacit_secagg::aggregate(&mut party, &mut epoch, &session.round, Nothing(d)).await
        }
    };
    let work = streamed(STREAM_PARTIES, &[disclosure(d)], MASKED, protocol);
    let alone =
        Alone { peak_mb: peak_mb(), before_mb, seconds: client_online_seconds(&work), bytes_sent: online_bytes(&work) };
    println!("{}", serde_json::to_string(&alone).unwrap_or_default());
    ExitCode::SUCCESS
}

/// What a process of its own measured.
fn apart(arguments: &[&std::ffi::OsStr]) -> Alone {
    let done = std::env::current_exe().and_then(|me| Command::new(me).args(arguments).output());
    let done = done.unwrap_or_else(|e| panic!("a case by itself: {e}"));
    serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|e| panic!("a case by itself: {e}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// A client whose vector does not fit in memory. Whether it sent all of it in the memory that it may have.
fn large_case(d: usize, bench: Option<Bench>) -> bool {
    let (n, whole) = (STREAM_PARTIES, 4 * d as u64);
    let alone = apart(&["--stream".as_ref(), d.to_string().as_ref()]);
    let kept = alone.peak_mb > 0.0
        && alone.peak_mb * 1e6 <= STREAM_BYTES_MAX
        && alone.bytes_sent > whole
        && alone.bytes_sent as f64 <= BYTES_RATIO_MAX * whole as f64;
    if !kept {
        let Alone { peak_mb, bytes_sent, .. } = alone;
        eprintln!("a client of {d} elements had {peak_mb:.1} MB at its peak and sent {bytes_sent} bytes");
    }
    let Some(bench) = bench else {
        println!("{n} x {d}, streamed: {:.1} MB at the peak of a client's process", alone.peak_mb);
        return kept;
    };
    let note = format!(
        "limit: raw AES of {} masks; by the party's machine in a process of its own, which makes and encodes the numbers, hashes and \
         sends them; the process had {:.1} MB before",
        n + 1,
        alone.before_mb
    );
    Case {
        case: format!("client_stream_{n}x{d}"),
        n,
        d,
        parties: n,
        seconds: alone.seconds,
        limit_seconds: (n + 1) as f64 * 4.0 * d as f64 * bench.cipher,
        bytes_sent: alone.bytes_sent,
        peak_mb: alone.peak_mb,
        rounds: 1,
        samples: 1,
        note,
        ..Case::default()
    }
    .print(bench.json);
    kept
}

/// What [`server_alone`] and [`client_alone`] print.
#[derive(Serialize, Deserialize)]
struct Alone {
    peak_mb: f64,
    /// What the program itself had, before anybody was seated.
    before_mb: f64,
    seconds: f64,
    bytes_sent: u64,
}

/// The server of a thousand parties, in a process that holds nothing else.
fn server_alone(tape: &Path, d: usize) -> ExitCode {
    let before_mb = peak_mb();
    let session = Session::new(thousand(), d);
    // The server's own vector is made where it is read, as a node's is.
    let protocol = |party| session.clone().run_streamed(party, d);
    let (outcome, work) = alone(THOUSAND, &[disclosure(d)], tape, protocol);
    let outcome = outcome.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.survivors.len(), THOUSAND - THOUSAND_DROPPED);
    let alone =
        Alone { peak_mb: peak_mb(), before_mb, seconds: server_seconds(&work), bytes_sent: online_bytes(&work) };
    println!("{}", serde_json::to_string(&alone).unwrap_or_default());
    ExitCode::SUCCESS
}

fn thousand() -> Params {
    let (n, dropped) = (THOUSAND as u16, THOUSAND_DROPPED as u16);
    Params::with_degree(n, dropped, dropped, THOUSAND_DEGREE, THOUSAND_THRESHOLD).unwrap_or_else(|e| panic!("{e}"))
}

const THOUSAND: usize = 1000;
const THOUSAND_DROPPED: usize = 50;
const THOUSAND_DEGREE: u16 = 102;
const THOUSAND_THRESHOLD: u16 = 72;
/// A thousand parties on a drawn graph, once, whole: every party masks, sends and is counted, so the figures are those
/// of the product's own path, passes over the sum as vectors come in included.
fn thousand_case(d: usize, bench: Bench) {
    let path = std::env::temp_dir().join(format!("tacit-secagg-{}.tape", std::process::id()));
    let mut tape = Tape::create(&path);
    reset_peak();
    let report = run_round(thousand(), d, THOUSAND_DROPPED, Some(&mut tape));
    tape.finish();
    let (parties, peak) = (THOUSAND - THOUSAND_DROPPED, peak_mb());
    let (first, hub) = (clients(&report).next().cloned().unwrap_or_default(), &report.work[0]);
    let case = Case { n: THOUSAND, d, parties, rounds: online_rounds(&first), peak_mb: peak, ..Case::default() };
    let name = |who: &str| format!("round_{THOUSAND}x{d}_k{THOUSAND_DEGREE}_drop{THOUSAND_DROPPED}_{who}");
    let bytes = 4.0 * d as f64;
    let over = |f: fn(&Work) -> f64| median(clients(&report).map(f).collect());
    let masks = usize::from(THOUSAND_DEGREE) + 2;
    let online = over(client_online_seconds);
    Case {
        case: name("client"),
        seconds: over(client_seconds),
        bytes_sent: online_bytes(&first),
        limit_seconds: masks as f64 * bytes * bench.cipher,
        samples: parties - 1,
        note: format!(
            "limit: raw AES of {masks} masks; with set-up, {online:.4} s without; median of the clients; peak is that of all \
             parties in one process"
        ),
        ..case.clone()
    }
    .print(bench.json);
    let lost = THOUSAND_DROPPED * usize::from(THOUSAND_DEGREE) * parties / THOUSAND;
    let unmasks = parties + lost;
    let (machine, hashing) = (server_seconds(hub), hub.ahead_seconds);
    let alone = apart(&["--alone".as_ref(), path.as_os_str()]);
    let _ = std::fs::remove_file(&path);
    assert_eq!(alone.bytes_sent, online_bytes(hub), "the server by itself did something else");
    let (sum_mb, program_mb) = (bytes / 1e6, alone.before_mb);
    let server = Case {
        seconds: machine,
        bytes_sent: online_bytes(hub),
        limit_seconds: plain_sum_seconds(parties, d) + unmasks as f64 * bytes * bench.cipher,
        samples: 1,
        peak_mb: alone.peak_mb,
        note: format!(
            "limit: plain sum and raw AES of about {unmasks} masks; the machine's thread, without hashing the chunks, which is \
             the case hash_ahead; peak is that of the case alone; ms by step: {}",
            by_step(hub)
        ),
        ..case
    };
    server_cases(&server, hashing, name, bench);
    Case {
        case: name("server_alone"),
        seconds: alone.seconds,
        limit_seconds: machine,
        note: format!(
            "the same again in a process of its own, for its memory; the sum is {sum_mb:.0} MB, the program alone \
             {program_mb:.1} MB"
        ),
        ..server
    }
    .print(bench.json);
}

/// Bytes that a client may send in a round, as a multiple of its vector.
const BYTES_RATIO_MAX: f64 = 1.02;

/// Exact counts of one case.
#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct Budget {
    n: usize,
    d: usize,
    dropped: usize,
    /// Whether every survivor checks the sum.
    #[serde(default)]
    verified: bool,
    /// Payload bytes of one client in the set-up.
    setup_bytes: u64,
    /// Payload bytes of one client in the round.
    online_bytes: u64,
    /// Payload bytes of the aggregator in the round.
    server_bytes: u64,
    rounds: u64,
}

#[derive(Deserialize)]
struct Budgets {
    secagg: Vec<Budget>,
}

/// Runs each case of the file and compares exactly: more is a regression, less an outdated budget.
fn check(path: &Path) -> ExitCode {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => {
            eprintln!("{}: {e}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let budgets: Budgets = match toml::from_str(&text) {
        Ok(budgets) => budgets,
        Err(e) => {
            eprintln!("{}: {e}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let mut kept = large_case(STREAM_ELEMENTS, None);
    for budget in budgets.secagg {
        let params = Params::new(budget.n as u16).unwrap_or_else(|e| panic!("{e}"));
        let params = if budget.verified { params.verified() } else { params };
        let report = run_round(params, budget.d, budget.dropped, None);
        let client = clients(&report).next().cloned().unwrap_or_default();
        let counted = Budget {
            setup_bytes: client.bytes_of(|s| s.round() == SETUP),
            online_bytes: online_bytes(&client),
            server_bytes: online_bytes(&report.work[0]),
            rounds: online_rounds(&client),
            ..Budget {
                n: budget.n,
                d: budget.d,
                dropped: budget.dropped,
                verified: budget.verified,
                setup_bytes: 0,
                online_bytes: 0,
                server_bytes: 0,
                rounds: 0,
            }
        };
        let ratio = counted.online_bytes as f64 / (4 * budget.d) as f64;
        println!("{} x {}, {} dropped: {ratio:.4} of the vector", budget.n, budget.d, budget.dropped);
        if ratio > BYTES_RATIO_MAX {
            eprintln!("a client may send at most {BYTES_RATIO_MAX} times its vector");
            kept = false;
        }
        if counted != budget {
            eprintln!("counted {counted:?}\nbudget  {budget:?}");
            kept = false;
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
