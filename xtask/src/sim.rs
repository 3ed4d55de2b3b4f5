//! `cargo xtask sim` and `cargo xtask replay`: many simulated runs, or one step by step.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use tacit_sim::{Bug, FaultKind, Options, Recording, Report, Scenario, run};

/// Runs at a time: as many as CI has cores.
const THREADS: usize = 2;

/// Many runs.
#[derive(clap::Args)]
pub struct Sim {
    /// Seeds to run, the end not included; 0..1000 when absent, of `thousand` 1..2.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// `secagg`, `life`, `window`, `verified`, `align`, or `thousand` seats, which takes minutes a seed; the others, seed
    /// by seed in turn, when absent.
    #[arg(long, value_parser = scenario)]
    scenario: Option<Scenario>,
    /// Kinds of faults that stay switched on, separated by commas; `none` for none.
    #[arg(long, value_name = "KINDS", value_parser = faults)]
    faults: Option<Kinds>,
    /// Plants a bug, to see that it is found.
    #[arg(long, value_parser = bug)]
    bug: Option<Bug>,
    /// Where a failing run leaves its recording.
    #[arg(long, value_name = "DIR", default_value = "target/sim")]
    out: PathBuf,
}

/// One recorded run.
#[derive(clap::Args)]
pub struct Replay {
    /// The recording.
    file: PathBuf,
    /// Stop after this many events.
    #[arg(long, value_name = "N")]
    until: Option<u64>,
}

/// Kinds of faults.
#[derive(Clone)]
struct Kinds(Vec<FaultKind>);

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}`: a range such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let range = from.parse().map_err(|_| wrong())?..to.parse().map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn scenario(text: &str) -> Result<Scenario, String> {
    match text {
        "secagg" => Ok(Scenario::Secagg),
        "life" => Ok(Scenario::Life),
        "window" => Ok(Scenario::Window),
        "thousand" => Ok(Scenario::Thousand),
        "verified" => Ok(Scenario::Verified),
        "align" => Ok(Scenario::Align),
        other => Err(format!("`{other}`: secagg, life, window, thousand, verified or align")),
    }
}

fn faults(text: &str) -> Result<Kinds, String> {
    let words = text.split(',').filter(|word| *word != "none");
    let known = || FaultKind::ALL.iter().map(|k| k.word()).collect::<Vec<_>>().join(", ");
    words
        .map(|w| FaultKind::parse(w).ok_or_else(|| format!("`{w}`: none or {}", known())))
        .collect::<Result<_, _>>()
        .map(Kinds)
}

fn bug(text: &str) -> Result<Bug, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|e| e.to_string())
}

/// What many runs came to.
#[derive(Default)]
struct Tally {
    runs: u64,
    events: u64,
    ends: BTreeMap<String, u64>,
    coverage: BTreeMap<FaultKind, u64>,
    failures: Vec<(Options, Report)>,
}

/// Failing runs that are recorded; the rest is only counted.
const RECORDED_MAX: usize = 5;

impl Tally {
    fn add(&mut self, options: Options, report: Report) {
        self.runs += 1;
        self.events += report.events;
        for end in &report.ends {
            *self.ends.entry(end.clone()).or_default() += 1;
        }
        for (kind, count) in &report.coverage {
            *self.coverage.entry(*kind).or_default() += count;
        }
        if report.violation.is_some() {
            self.failures.push((options, report));
        }
    }
}

impl Sim {
    /// Runs every seed.
    ///
    /// # Errors
    /// When an invariant does not hold in some run, after its recording was written.
    pub fn run(self) -> anyhow::Result<()> {
        let began = Instant::now();
        let few = self.scenario == Some(Scenario::Thousand);
        let seeds = self.seeds.clone().unwrap_or(if few { 1..2 } else { 0..1000 });
        let next = AtomicU64::new(seeds.start);
        let tally = Mutex::new(Tally::default());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end {
                            return;
                        }
                        let options = self.options(seed);
                        let report = run(&options);
                        // why: a thread that panicked has left a whole tally behind.
                        tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(options, report);
                    }
                });
            }
        });
        let mut tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        print(&tally, began);
        if tally.failures.is_empty() {
            return Ok(());
        }
        tally.failures.sort_by_key(|(options, _)| options.seed);
        for (options, report) in tally.failures.iter().take(RECORDED_MAX) {
            let file = self.record(options)?;
            let violation = report.violation.as_ref().map_or(String::new(), |v| format!("{}: {}", v.invariant, v.what));
            println!("seed {}: {violation}\n  cargo xtask replay {}", options.seed, file.display());
        }
        bail!("{} of {} runs broke an invariant", tally.failures.len(), tally.runs)
    }

    fn options(&self, seed: u64) -> Options {
        use Scenario::{Align, Life, Secagg, Verified, Window};
        let turn = [Life, Secagg, Life, Secagg, Window, Verified, Align];
        let drawn = turn[(seed % turn.len() as u64) as usize]; // proof: less than its length.
        let only = self.faults.clone().map(|kinds| kinds.0);
        Options { only, bug: self.bug, ..Options::new(self.scenario.unwrap_or(drawn), seed) }
    }

    /// Runs a seed again, this time keeping its events.
    fn record(&self, options: &Options) -> anyhow::Result<PathBuf> {
        let options = Options { trace: true, ..options.clone() };
        let recording = Recording::new(&options, run(&options));
        std::fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let file = self.out.join(format!("{:?}-{}.jsonl", options.scenario, options.seed).to_lowercase());
        std::fs::write(&file, recording.to_text()).with_context(|| file.display().to_string())?;
        Ok(file)
    }
}

fn print(tally: &Tally, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let ends: Vec<String> = tally.ends.iter().map(|(word, n)| format!("{word} {n}")).collect();
    println!("{} runs, {} events, {seconds:.1} s; {}", tally.runs, tally.events, ends.join(", "));
    let fired = |kind: &FaultKind| tally.coverage.get(kind).copied().unwrap_or(0);
    let faults: Vec<String> = FaultKind::ALL.iter().map(|kind| format!("{} {}", kind.word(), fired(kind))).collect();
    println!("faults: {}", faults.join(", "));
}

impl Replay {
    /// Runs a recording again and prints its events.
    ///
    /// # Errors
    /// When the file is none, or the run does not go as it was recorded.
    pub fn run(self) -> anyhow::Result<()> {
        let recording = read(&self.file)?;
        let report = run(&recording.options);
        let until = self.until.unwrap_or(u64::MAX);
        for (i, line) in report.lines.iter().take_while(|line| line.n <= until).enumerate() {
            println!("{:>6}  {:>7} ms  {:<12}  {}", line.n, line.at, line.who, line.what);
            if recording.lines.get(i) != Some(line) {
                bail!("event {} was recorded as {:?}: the code has changed since", line.n, recording.lines.get(i));
            }
        }
        match (report.violation, until) {
            (Some(found), u64::MAX) => println!("{}: {}", found.invariant, found.what),
            (None, u64::MAX) => println!("every invariant holds; the recording has {:?}", recording.violation),
            _ => {}
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Recording> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Recording::parse(&text).map_err(|fault| anyhow::anyhow!("{}: {fault}", path.display()))
}

/// How the process ends.
pub fn exit(done: anyhow::Result<()>) -> std::process::ExitCode {
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
