//! Private set intersection: the curve arithmetic against the curve library, then whole runs of two parties in one process,
//! and one with lists in files.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use serde::Deserialize;
use tacit_benches::case::{Case, Clock, SAMPLES, median, peak_mb, reset_peak, time};
use tacit_benches::lists::{Files, Two};
use tacit_benches::world::{self, Report};
use tacit_crypto::points::{self, Backend, Base, Encoding, From, Multiplier, Operation, Uniform};
use tacit_crypto::{Prg, Secret, SecretScalar};
use tacit_protocol::{Abort, Audience, Disclosure, Party};
use tacit_psi::hash::{DST, Expander};
use tacit_psi::{
    Host, InMemory, Inline, KeyColumn, KeySetBuilder, Level, Mode, Outcome, Schema, Step, Storage, Terms, Workers,
    intersect,
};
use tacit_types::{Hash, Seat};

#[derive(Parser)]
struct Arguments {
    /// Print one JSON object a case instead of lines for people.
    #[arg(long)]
    json: bool,
    /// Without the runs over a million keys.
    #[arg(long)]
    quick: bool,
    /// Run only the cases whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
    /// Compare exact counts of bytes with this file, and time nothing.
    #[arg(long, value_name = "FILE")]
    check: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(budgets) = &arguments.check {
        return check(budgets);
    }
    let bench = Bench { json: arguments.json, only: arguments.only };
    stages(&bench);
    for bits in if arguments.quick { vec![14] } else { vec![16, 20] } {
        for (name, level, mode) in LEVELS {
            // The other levels take minutes at a million keys and scale as these do.
            if bits == 20 && !matches!(name, "l0_oprf" | "l1_oprf" | "l2_mask") {
                continue;
            }
            run_case(&bench, name, level, mode, bits, Kept::Memory);
        }
        run_case(&bench, "l0_oprf_files", Level::Receiver, Mode::Oprf, bits, Kept::Files);
    }
    ExitCode::SUCCESS
}

const LEVELS: [(&str, Level, Mode); 6] = [
    ("l0_oprf", Level::Receiver, Mode::Oprf),
    ("l1_oprf", Level::Both, Mode::Oprf),
    ("l0_mask", Level::Receiver, Mode::DoubleMask),
    ("l1_mask", Level::Both, Mode::DoubleMask),
    ("l2_mask", Level::Cardinality { both: true }, Mode::DoubleMask),
    ("l3_spine", Level::Spine, Mode::DoubleMask),
];

struct Bench {
    json: bool,
    only: String,
}

impl Bench {
    fn wants(&self, case: &str) -> bool {
        case.contains(&self.only)
    }
}

/// The arithmetic of each stage on one core, against the curve library.
fn stages(bench: &Bench) {
    const COUNT: usize = 1 << 13;
    if !bench.wants("stage") {
        return;
    }
    let expander = Expander::new(DST);
    let uniform: Vec<Uniform> = (0..COUNT as u64).map(|i| expander.expand(&i.to_le_bytes())).collect();
    let scalar = |byte| SecretScalar::from_canonical(&[byte; 32]).unwrap_or_else(|| panic!("a scalar"));
    let by = Multiplier::new(scalar(5).expose_scalar());
    let mut r = vec![[0u8; 32]; COUNT];
    Prg::new(&Secret::new([3; 40])).keystream(0, r.as_flattened_mut());
    r.iter_mut().for_each(|r| r[31] &= 15);
    let base = Base::new(scalar(6).public().as_bytes()).unwrap_or_else(|| panic!("a point"));
    let mut encoded = vec![[0; 32]; COUNT];
    points::run(From::Uniform(&uniform), Operation::Multiply(&by), &mut encoded).unwrap_or_else(|e| panic!("{e:?}"));
    let stages: [(&str, From<'_>, Operation<'_>); 4] = [
        ("stage_hash_multiply", From::Uniform(&uniform), Operation::Multiply(&by)),
        ("stage_decode_multiply", From::Encoded(&encoded), Operation::Multiply(&by)),
        ("stage_hash_blind", From::Uniform(&uniform), Operation::Blind(Base::generator(), &r)),
        ("stage_decode_unblind", From::Encoded(&encoded), Operation::Unblind(&base, &r)),
    ];
    for (case, from, operation) in stages {
        let mut out: Vec<Encoding> = vec![[0; 32]; COUNT];
        let mut at = |backend| time(|| _ = points::run_at(backend, from, operation, std::hint::black_box(&mut out)));
        let (seconds, limit_seconds) = (at(Backend::detect()), at(Backend::Portable));
        let each = |seconds: f64| seconds / COUNT as f64 * 1e6;
        let note = format!(
            "{:?}: {:.2} us a point, {:.1} x the speed of the curve library's {:.2} us",
            Backend::detect(),
            each(seconds),
            limit_seconds / seconds,
            each(limit_seconds)
        );
        let case = case.to_owned();
        Case { case, n: COUNT, seconds, limit_seconds, samples: SAMPLES, note, ..Case::default() }.print(bench.json);
    }
    let weights: Vec<[u8; 16]> = uniform.iter().filter_map(|u| u.first_chunk().copied()).collect();
    let sum = |backend| time(|| _ = std::hint::black_box(points::weighed_at(backend, &encoded, &weights)));
    let (seconds, limit_seconds) = (sum(Backend::detect()), sum(Backend::Portable));
    let each = |seconds: f64| seconds / COUNT as f64 * 1e6;
    let note =
        format!("{:.2} us a point of a weighed sum, of the curve library {:.2} us", each(seconds), each(limit_seconds));
    let case = "stage_weigh".to_owned();
    Case { case, n: COUNT, seconds, limit_seconds, samples: SAMPLES, note, ..Case::default() }.print(bench.json);
    let seconds = time(|| uniform.iter().for_each(|u| _ = std::hint::black_box(expander.expand(&u[..32]))));
    let note = format!("{:.2} us a key, both compressions", seconds / COUNT as f64 * 1e6);
    let case = "stage_expand".to_owned();
    Case { case, n: COUNT, seconds, samples: SAMPLES, note, ..Case::default() }.print(bench.json);
}

#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Memory,
    Files,
}

fn disclosure() -> Disclosure {
    Disclosure { what: "matches".into(), to: Audience::Nodes, cells_max: 1 << 40 }
}

fn terms(level: Level, mode: Mode) -> Terms {
    Terms {
        level,
        mode,
        context: Hash([7; 32]),
        receiver: Seat(1),
        sender: Seat(0),
        disclosure: disclosure(),
        books: None,
        items_max: 1 << 24,
        items_min: 1,
        announced: None,
        batch: 1 << 14,
        checkpoint: 0,
        step_base: 3,
        begin_ms: 1000,
        step_ms: 1000,
    }
}

/// Texts of 16 hex digits, half of which the two parties have in common.
async fn seat(mut party: Party, terms: Terms, n: u64, kept: Kept, two: bool) -> Result<(u64, f64), Abort> {
    let start = Clock::start();
    let mut storage: Box<dyn Storage> = match kept {
        Kept::Memory => Box::new(InMemory::default()),
        Kept::Files => Box::new(Files::new()?),
    };
    let memory = if kept == Kept::Files { 8 << 20 } else { 64 << 20 };
    let steps = vec![Step::Nfkc, Step::Trim];
    let schema = Schema::new(vec![KeyColumn { name: "id".into(), steps }])?;
    let mut builder = KeySetBuilder::new(schema.clone(), memory);
    let first = if party.seat() == Seat(0) { 0 } else { n / 2 };
    for i in first..first + n {
        let text = format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        builder.push_key(&mut *storage, schema.key([Some(text.as_str())]))?;
    }
    let keys = builder.finish(&mut *storage)?;
    let prepared = start.seconds();
    let workers: &dyn Workers = if two { &Two } else { &Inline };
    let mut host = Host { storage: &mut *storage, workers, memory, run: 0, resume: None };
    let matches = match intersect(&mut party, &terms, &keys, &mut host).await? {
        Outcome::Set(set) => set.matches(),
        Outcome::Cardinality(count) => count,
        Outcome::Spine(spine) => spine.matches(),
        Outcome::Nothing => n / 2,
    };
    assert_eq!(matches, n / 2, "a wrong result");
    Ok((matches, prepared))
}

fn run(level: Level, mode: Mode, n: u64, kept: Kept, two: bool) -> (Report<(u64, f64)>, f64) {
    let terms = terms(level, mode);
    let start = std::time::Instant::now();
    let report = world::run(2, &[disclosure()], &BTreeMap::new(), |party| seat(party, terms.clone(), n, kept, two));
    for (seat, outcome) in &report.outcomes {
        outcome.as_ref().unwrap_or_else(|e| panic!("{seat}: {e}"));
    }
    (report, start.elapsed().as_secs_f64())
}

/// A run with all work on this thread, which tells how much there is, then one with two threads.
fn run_case(bench: &Bench, name: &str, level: Level, mode: Mode, bits: u32, kept: Kept) {
    let case = format!("{name}_2^{bits}");
    if !bench.wants(&case) {
        return;
    }
    let n = 1u64 << bits;
    let samples = if bits > 16 { 1 } else { SAMPLES };
    reset_peak();
    let runs: Vec<_> = (0..samples).map(|_| run(level, mode, n, kept, true)).collect();
    let peak = peak_mb();
    let single = run(level, mode, n, kept, false).0;
    let work = |report: &Report<(u64, f64)>, seat: usize| report.work[seat].seconds_of(|_| true);
    let wall = median(runs.iter().map(|r| r.1).collect());
    let path = median(runs.iter().map(|r| work(&r.0, 0) + work(&r.0, 1)).collect());
    let sent = |seat: usize| single.work[seat].bytes_of(|_| true);
    let prepared: f64 = single.outcomes.values().flatten().map(|o| o.1).sum();
    let note = format!(
        "both parties with 2 threads in one process, one party at a time: this thread's seconds; by the clock {wall:.2}; on \
         one thread {:.2} + {:.2} s, of which {prepared:.2} prepare keys; {:.1} B an item; peak of both parties",
        work(&single, 0),
        work(&single, 1),
        (sent(0) + sent(1)) as f64 / n as f64
    );
    Case {
        case,
        n: n as usize,
        parties: 2,
        seconds: path,
        bytes_sent: sent(0).max(sent(1)),
        limit_seconds: (work(&single, 0) + work(&single, 1)) / 2.0,
        peak_mb: peak,
        samples,
        note,
        ..Case::default()
    }
    .print(bench.json);
}

/// Exact counts of one case.
#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct Budget {
    case: String,
    /// Payload bytes that sender and receiver send.
    sent: [u64; 2],
}

#[derive(Deserialize)]
struct Budgets {
    #[serde(default)]
    psi: Vec<Budget>,
}

fn check(path: &std::path::Path) -> ExitCode {
    const BITS: u32 = 12;
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let budgets: Budgets = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut same = true;
    for (name, level, mode) in LEVELS {
        let report = run(level, mode, 1 << BITS, Kept::Memory, false).0;
        let sent = [0, 1].map(|seat: usize| report.work[seat].bytes_of(|_| true));
        let counted = Budget { case: format!("{name}_2^{BITS}"), sent };
        if !budgets.psi.contains(&counted) {
            eprintln!("not in {}: {counted:?}", path.display());
            same = false;
        }
    }
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
