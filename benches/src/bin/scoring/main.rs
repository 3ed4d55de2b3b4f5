//! Scoring on shares: the kernels against what the processor and the memory can do, then whole runs of two parties and a
//! dealer in one process, each seat's work timed apart, and the same runs over QUIC on loopback, by the clock.

mod long;
mod split;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use serde::Deserialize;
use tacit_benches::case::{Case, SAMPLES, median, peak_mb, reset_peak, time};
use tacit_benches::mesh::{AnyError, Mesh};
use tacit_benches::online;
use tacit_benches::world::{self, Report};
use tacit_crypto::prg::TILE_BYTES;
use tacit_crypto::{Backend, Prg, Secret};
use tacit_mpc::kernel::{self, Bound, Level};
use tacit_mpc::{Fx, Group, Plan, Sink, Source, Terms};
use tacit_protocol::{Abort, Audience, Disclosure, Party};
use tacit_types::{Fault, Hash, Seat};

#[derive(Parser)]
struct Arguments {
    /// Print one JSON object a case instead of lines for people.
    #[arg(long)]
    json: bool,
    /// A tenth of the rows.
    #[arg(long)]
    quick: bool,
    /// Run only the cases whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Compare exact counts of bytes and rounds with this file, and time nothing.
    #[arg(long, value_name = "FILE")]
    check: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(budgets) = &arguments.check {
        return check(budgets);
    }
    let bench = Bench { json: arguments.json, only: arguments.only, cipher: raw_cipher(1 << 24) };
    products(&bench);
    vectors(&bench);
    bits(&bench);
    let by = if arguments.quick { 10 } else { 1 };
    for work in works(by) {
        if bench.wants(&work.case) {
            run_case(&work, &bench);
        }
    }
    let calls = online::timed(|case| bench.wants(case)).unwrap_or_else(|e| panic!("{e}"));
    calls.into_iter().for_each(|case| bench.print(case));
    long::streamed(10_000_000 / by, &bench);
    split::beside_plain(100_000 / by, 100, &bench);
    split::in_parts(10_000_000 / by, 20, &bench);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(AnyError::from).and_then(|runtime| runtime.block_on(over_quic(by, &bench))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scoring: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Bench {
    json: bool,
    only: String,
    /// Seconds a byte of raw AES-256-CTR on this machine.
    cipher: f64,
}

impl Bench {
    fn wants(&self, case: &str) -> bool {
        case.contains(&self.only)
    }

    fn print(&self, case: Case) {
        if self.wants(&case.case) {
            case.print(self.json);
        }
    }
}

/// The cipher alone, on a tile that stays in the first cache.
fn raw_cipher(bytes: usize) -> f64 {
    let mut tile = vec![0u8; TILE_BYTES];
    let prg = Prg::with_backend(&Secret::new([7; 40]), Backend::detect());
    let seconds = time(|| {
        for i in 0..bytes / TILE_BYTES {
            prg.keystream((i * TILE_BYTES) as u64, &mut tile);
            std::hint::black_box(&tile);
        }
    });
    seconds / bytes as f64
}

/// Words that fill the ring, or signed ones of so many bits.
fn words(count: usize, bits: u32) -> Vec<u64> {
    let word = |i: usize| {
        (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    (0..count).map(|i| (word(i) as i64 >> (64 - bits)) as u64).collect()
}

/// Products of matrices at every level, against the same number of products on registers alone.
fn products(bench: &Bench) {
    const PASSES: u64 = 1 << 20;
    for level in Level::available() {
        for (m, k, n) in [(1000, 1000, 1000), (10_000, 100, 64), (10_000, 64, 32)] {
            for (name, bound) in [("full", Bound::None), ("left24", Bound::Left(24))] {
                let case = format!("gemm_{m}x{k}x{n}_{name}_{level:?}").to_lowercase();
                if !bench.wants(&case) || (level > Level::Avx512 && m * k * n > 100_000_000) {
                    continue;
                }
                let (a, b) = (words(m * k, if name == "full" { 64 } else { 24 }), words(k * n, 64));
                let mut out = vec![0; m * n];
                let seconds = time(|| kernel::gemm_at(level, m, k, n, bound, &a, &b, &mut out));
                let mut done = 0;
                let probe = time(|| done = kernel::probe(level, bound, PASSES));
                let limit_seconds = probe / done as f64 * (m * k * n) as f64;
                let rate = |seconds: f64| (m * k * n) as f64 / seconds / 1e9;
                let note = format!(
                    "{:.1} G products/s; limit: the innermost instructions on registers, {:.1} G/s",
                    rate(seconds),
                    rate(limit_seconds)
                );
                bench.print(Case {
                    case,
                    n: m,
                    d: k,
                    seconds,
                    limit_seconds,
                    samples: SAMPLES,
                    note,
                    ..Case::default()
                });
            }
        }
    }
}

/// Products of a matrix with a vector, against a sum of the same words.
fn vectors(bench: &Bench) {
    for (m, k) in [(100_000, 100), (1_000_000, 20), (1024, 100)] {
        let (case, turned) = (format!("gemv_{m}x{k}"), format!("gemv_transposed_{m}x{k}"));
        if !bench.wants(&case) && !bench.wants(&turned) {
            continue;
        }
        let (a, x, y) = (words(m * k, 64), words(k, 64), words(m, 64));
        let (mut out, mut out_turned) = (vec![0; m], vec![0; k]);
        let sum = || std::hint::black_box(&a).iter().fold(0u64, |s, w| s.wrapping_add(*w));
        let limit_seconds = time(|| _ = std::hint::black_box(kernel::vectorized(sum)));
        let base = Case { n: m, d: k, limit_seconds, samples: SAMPLES, ..Case::default() };
        let rate =
            |seconds: f64| format!("{:.1} GB/s; limit: a sum of the same words", (m * k * 8) as f64 / seconds / 1e9);
        let seconds = time(|| kernel::gemv(m, k, &a, &x, &mut out));
        bench.print(Case { case, seconds, note: rate(seconds), ..base.clone() });
        let seconds = time(|| kernel::gemv_transposed(m, k, &a, &y, &mut out_turned));
        bench.print(Case { case: turned, seconds, note: rate(seconds), ..base });
    }
}

/// Bit-planes and products with packed bits, against reading and writing the same words.
fn bits(bench: &Bench) {
    const COUNT: usize = 1 << 14;
    const TIMES: usize = 100;
    let (from, mut to) = (words(COUNT, 64), vec![0; COUNT]);
    let repeated = |mut once: Box<dyn FnMut() + '_>| time(|| (0..TIMES).for_each(|_| once()));
    let copy = repeated(Box::new(|| std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from))));
    let print = |case: &str, seconds: f64| {
        let each = seconds / (COUNT * TIMES) as f64 * 1e9;
        let note = format!("{each:.2} ns a value; limit: a copy of the same words");
        let case = case.to_owned();
        bench.print(Case { case, d: COUNT, seconds, limit_seconds: copy, samples: SAMPLES, note, ..Case::default() });
    };
    print("planes", repeated(Box::new(|| kernel::planes(std::hint::black_box(&from), &mut to))));
    print("unplanes", repeated(Box::new(|| kernel::unplanes(std::hint::black_box(&from), &mut to))));
    let packed = words(COUNT / 64, 64);
    print(
        "dot_bits",
        repeated(Box::new(|| _ = std::hint::black_box(kernel::dot_bits(&packed, std::hint::black_box(&from))))),
    );
}

/// A plan of two parties, and what they bring.
struct Work {
    case: String,
    rows: usize,
    columns: usize,
    plan: Plan,
    /// Of a verified plan, the same without.
    unverified: Option<Plan>,
    inputs: [Table; 2],
    note: &'static str,
}

/// Inputs by number: words, and how many there are to a row.
#[derive(Clone, Default)]
struct Table(BTreeMap<u32, (Arc<Vec<u64>>, usize)>);

impl Table {
    fn with(mut self, input: u32, to_a_row: usize, words: Vec<u64>) -> Self {
        self.0.insert(input, (Arc::new(words), to_a_row));
        self
    }
}

impl Source for Table {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        if let Some((words, to_a_row)) = self.0.get(&input) {
            let from = first_row as usize * to_a_row;
            out.copy_from_slice(&words[from..from + out.len()]);
        }
        Ok(())
    }
}

/// Keeps the sum of what was opened, so that nothing is left out.
#[derive(Default)]
struct Total(u64);

impl Sink for Total {
    fn take(&mut self, _: u32, _: u64, words: Vec<u64>) -> Result<(), Fault> {
        self.0 = words.iter().fold(self.0, |s, w| s.wrapping_add(*w));
        Ok(())
    }
}

fn disclosure() -> Disclosure {
    Disclosure { what: "scores".into(), to: Audience::Recipient, cells_max: 1 << 40 }
}

fn fx(f: u8, b: u8) -> Fx {
    Fx::new(f, b).unwrap_or_else(|e| panic!("{e}"))
}

/// The cases of the design, the rows of the large ones divided.
fn works(by: usize) -> Vec<Work> {
    let cases = || -> Result<Vec<Work>, Fault> {
        Ok(vec![
            linear(100_000 / by, 100)?,
            linear(1_000_000 / by, 20)?,
            rectifier(1_000_000 / by)?,
            trees(10_000 / by, 10)?,
            trees(10_000 / by, 100)?,
            network(10_000 / by)?,
            linear_verified(100_000 / by, 100)?,
            trees_verified(1_000 / by, 10)?,
            linear(1, 100)?,
            trees(1, 100)?,
            network(1)?,
        ])
    };
    cases().unwrap_or_else(|e| panic!("{e}"))
}

/// Deals of a verified case that are opened and derived again: as many as of a job that names none.
const AUDITS: u8 = 1;

/// A plan of two parties, verified or not.
fn builder(rows: usize, audits: Option<u8>) -> Result<tacit_mpc::Builder, Fault> {
    let mut b = Plan::builder(2, rows as u64)?;
    if let Some(audits) = audits {
        b.verified(audits)?;
    }
    Ok(b)
}

/// The work of a verified plan, with the plan of the same without.
fn beside(make: impl Fn(Option<u8>) -> Result<Work, Fault>) -> Result<Work, Fault> {
    let (plain, verified) = (make(None)?, make(Some(AUDITS))?);
    let (name, size) = plain.case.split_once('_').unwrap_or((&plain.case, ""));
    Ok(Work {
        case: format!("{name}_verified_{size}"),
        unverified: Some(plain.plan),
        note: "verified, one audit",
        ..verified
    })
}

fn linear_verified(rows: usize, columns: usize) -> Result<Work, Fault> {
    beside(|audits| linear_with(rows, columns, audits))
}

fn trees_verified(rows: usize, count: usize) -> Result<Work, Fault> {
    beside(|audits| trees_with(rows, count, audits))
}

fn linear(rows: usize, columns: usize) -> Result<Work, Fault> {
    linear_with(rows, columns, None)
}

fn trees(rows: usize, trees: usize) -> Result<Work, Fault> {
    trees_with(rows, trees, None)
}

/// Bits of a score: 40 of fraction, and a margin below 128. The weights' owner answers for that, as in a job.
const SCORE_BITS: u8 = 48;

/// One party's features by another's weights, with 20 fraction bits each.
fn linear_plan(rows: usize, columns: usize, audits: Option<u8>) -> Result<Plan, Fault> {
    let mut b = builder(rows, audits)?;
    let x = b.input(0, columns as u32, fx(20, 24))?;
    let w = b.input_once(1, columns as u32, 1, fx(20, 22))?;
    let (x, w) = (b.mask(x)?, b.mask(w)?);
    let z = b.inner(&[(x, w)], &[], SCORE_BITS)?;
    b.reveal(z, Group::one(0), disclosure())?;
    b.finish()
}

fn linear_with(rows: usize, columns: usize, audits: Option<u8>) -> Result<Work, Fault> {
    Ok(Work {
        case: format!("linear_{rows}x{columns}"),
        rows,
        columns,
        plan: linear_plan(rows, columns, audits)?,
        unverified: None,
        inputs: [
            Table::default().with(0, columns, words(rows * columns, 23)),
            Table::default().with(1, 1, words(columns, 21)),
        ],
        note: "private model",
    })
}

fn rectifier(rows: usize) -> Result<Work, Fault> {
    let mut b = Plan::builder(2, rows as u64)?;
    let x = b.input(0, 1, fx(32, 40))?;
    let x = b.share(x)?;
    let y = b.relu(x, 16)?;
    b.reveal(y, Group::one(0), disclosure())?;
    let inputs = [Table::default().with(0, 1, words(rows, 39)), Table::default()];
    Ok(Work {
        case: format!("relu_{rows}"),
        rows,
        columns: 1,
        plan: b.finish()?,
        unverified: None,
        inputs,
        note: "with truncation",
    })
}

/// One party's candidate leaves as bits, the other's numbers of the leaves that its splits allow.
fn trees_with(rows: usize, trees: usize, audits: Option<u8>) -> Result<Work, Fault> {
    const LEAVES: usize = 64;
    let leaves = trees * LEAVES;
    let mut b = builder(rows, audits)?;
    let a = b.input_bits(0, leaves as u32)?;
    let y = b.input(1, leaves as u32, fx(20, 24))?;
    let z = b.select_leaves(a, y)?;
    b.reveal(z, Group::one(0), disclosure())?;
    Ok(Work {
        case: format!("trees_{rows}x{trees}"),
        rows,
        columns: leaves,
        plan: b.finish()?,
        unverified: None,
        inputs: [
            Table::default().with(0, trees, words(rows * trees, 64)),
            Table::default().with(1, leaves, words(rows * leaves, 23)),
        ],
        note: "64 leaves a tree, split model",
    })
}

/// A network of 100, 64, 32 and 1, the features of one party and the weights of the other.
fn network(rows: usize) -> Result<Work, Fault> {
    let sizes = [100usize, 64, 32, 1];
    let mut b = Plan::builder(2, rows as u64)?;
    let x = b.input(0, 100, fx(16, 20))?;
    let mut veiled = b.mask(x)?;
    let mut model = Table::default();
    for (layer, size) in sizes.windows(2).enumerate() {
        let w = b.input_once(1, size[0] as u32, size[1] as u32, fx(16, 18))?;
        model = model.with(layer as u32 + 1, size[1], words(size[0] * size[1], 14));
        let w = b.mask(w)?;
        let z = b.matmul(veiled, w)?;
        if layer + 2 == sizes.len() {
            b.reveal(z, Group::one(0), disclosure())?;
        } else {
            let h = b.relu(z, 16)?;
            veiled = b.mask_share(h)?;
        }
    }
    let inputs = [Table::default().with(0, 100, words(rows * 100, 19)), model];
    Ok(Work {
        case: format!("network_{rows}"),
        rows,
        columns: 100,
        plan: b.finish()?,
        unverified: None,
        inputs,
        note: "100-64-32-1",
    })
}

async fn seat(mut party: Party, terms: Terms, inputs: [Table; 2]) -> Result<u64, Abort> {
    let mut total = Total::default();
    match inputs.into_iter().nth(party.seat().index()) {
        Some(mut table) => tacit_mpc::compute(&mut party, &terms, &mut table, &mut total).await?,
        None => tacit_mpc::deal(&mut party, &terms).await?,
    }
    Ok(total.0)
}

const STEP_BASE: u16 = 3;
const DEALER: usize = 2;
const HASH_BYTES: u64 = 32;

fn terms(plan: &Plan) -> Terms {
    Terms {
        plan: Arc::new(plan.clone()),
        context: Hash([7; 32]),
        parties: vec![Seat(0), Seat(1)],
        dealer: Seat(DEALER as u16),
        step_base: STEP_BASE,
        step_ms: 10_000,
    }
}

fn run_work(work: &Work, plan: &Plan) -> Report<u64> {
    let terms = terms(plan);
    let protocol = |party| seat(party, terms.clone(), work.inputs.clone());
    let report = world::run(3, &[disclosure()], &BTreeMap::new(), protocol);
    for (seat, outcome) in &report.outcomes {
        outcome.as_ref().unwrap_or_else(|e| panic!("{seat}: {e}"));
    }
    report
}

/// Seconds of every seat together.
fn all_seats(report: &Report<u64>) -> f64 {
    report.work.iter().map(|seat| seat.seconds_of(|_| true)).sum()
}

fn run_case(work: &Work, bench: &Bench) {
    reset_peak();
    let mut ratios = Vec::new();
    let mut run = || {
        let plain = work.unverified.as_ref().map(|plan| all_seats(&run_work(work, plan)));
        let report = run_work(work, &work.plan);
        ratios.extend(plain.map(|plain| all_seats(&report) / plain));
        report
    };
    let reports: Vec<Report<u64>> = (0..SAMPLES).map(|_| run()).collect();
    let ratio = match ratios.is_empty() {
        true => String::new(),
        false => format!("; {:.1} times the time of all seats without, run beside it", median(ratios)),
    };
    let peak = peak_mb();
    let seconds = |seat: usize| median(reports.iter().map(|r| r.work[seat].seconds_of(|_| true)).collect());
    let (a, b, dealer) = (seconds(0), seconds(1), seconds(DEALER));
    let cost = work.plan.cost();
    let sent = |i: usize| cost.sent[i].iter().sum::<u64>();
    let busiest = (0..2).map(|i| sent(i) + sent(1 - i) + cost.dealt[i]).max().unwrap_or(0);
    // A party tells the dealer the hash of the terms; with audits, also its coin and first the coin's hash.
    let told = HASH_BYTES * if work.unverified.is_some() { 3 } else { 1 };
    assert_eq!(reports[0].work[0].bytes_of(|_| true), sent(0) + told, "counted bytes");
    bench.print(Case {
        case: work.case.clone(),
        n: work.rows,
        d: work.columns,
        parties: 2,
        seconds: a.max(b).max(dealer),
        bytes_sent: sent(0).max(sent(1)),
        rounds: u64::from(cost.rounds_once + cost.rounds_tile),
        limit_seconds: busiest as f64 * bench.cipher,
        peak_mb: peak,
        samples: SAMPLES,
        note: format!(
            "{}{ratio}; the busiest seat; ms: parties {:.2} and {:.2}, dealer {:.2}; dealt {} B; limit: raw AES of all \
             bytes that a party sends and gets",
            work.note,
            a * 1e3,
            b * 1e3,
            dealer * 1e3,
            cost.dealt.iter().sum::<u64>()
        ),
        ..Case::default()
    });
}

/// The runs of the design over QUIC: from the first message to the last output, with the links up.
async fn over_quic(by: usize, bench: &Bench) -> Result<(), AnyError> {
    let mesh = Mesh::connect(DEALER + 1).await?;
    for work in works(by) {
        let case = format!("quic_{}", work.case);
        if !bench.wants(&case) {
            continue;
        }
        reset_peak();
        let terms = terms(&work.plan);
        let mut seconds = Vec::new();
        for _ in 0..SAMPLES {
            let begun = Instant::now();
            mesh.run(&[disclosure()], |party| seat(party, terms.clone(), work.inputs.clone())).await?;
            seconds.push(begun.elapsed().as_secs_f64());
        }
        let cost = work.plan.cost();
        let sent = |i: usize| cost.sent[i].iter().sum::<u64>();
        let peak_mb = peak_mb();
        let mut links = vec![(0, 1, sent(0)), (1, 0, sent(1))];
        links.extend((0..2).map(|i| (DEALER, i, cost.dealt[i])));
        bench.print(Case {
            case,
            n: work.rows,
            d: work.columns,
            parties: 2,
            seconds: median(seconds),
            bytes_sent: sent(0).max(sent(1)),
            rounds: u64::from(cost.rounds_once + cost.rounds_tile),
            limit_seconds: mesh.plain(&links).await?,
            peak_mb,
            samples: SAMPLES,
            note: format!(
                "{}; wall time, two parties and the dealer on the machine's cores; limit: the same bytes sent plainly over \
                 the same links",
                work.note
            ),
            ..Case::default()
        });
    }
    split::over_quic(100_000 / by, 100, bench).await?;
    online::over_quic(|case| bench.wants(case)).await?.into_iter().for_each(|case| bench.print(case));
    Ok(())
}

/// Exact counts of one case.
#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct Budget {
    case: String,
    /// Payload bytes that each party sends the other.
    sent: [u64; 2],
    /// Payload bytes that the dealer sends.
    dealt: u64,
    rounds_once: u32,
    rounds_tile: u32,
    tiles: u32,
}

#[derive(Deserialize)]
struct Budgets {
    #[serde(default)]
    scoring: Vec<Budget>,
    /// Calls of one key in windows.
    #[serde(default)]
    online: Vec<online::Budget>,
}

fn check(path: &std::path::Path) -> ExitCode {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let budgets: Budgets = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut same = true;
    for work in works(1) {
        let cost = work.plan.cost();
        let counted = Budget {
            sent: [0, 1].map(|i| cost.sent[i].iter().sum()),
            dealt: cost.dealt.iter().sum(),
            rounds_once: cost.rounds_once,
            rounds_tile: cost.rounds_tile,
            tiles: cost.tiles,
            case: work.case,
        };
        if !budgets.scoring.contains(&counted) {
            eprintln!("not in {}: {counted:?}", path.display());
            same = false;
        }
    }
    for counted in online::budgets().unwrap_or_else(|e| panic!("{e}")) {
        if !budgets.online.contains(&counted) {
            eprintln!("not in {}: {counted:?}", path.display());
            same = false;
        }
    }
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
