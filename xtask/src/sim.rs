//! `cargo xtask sim` and `cargo xtask replay`: many simulated runs, or one step by step.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use tacit_sim::{Bug, FaultKind, LOST_SHARE, Line, Options, Recording, Report, Scenario, Violation, run};

/// Seats of [`Scenario::Thousand`].
const THOUSAND: usize = 1_000;

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
    /// Runs that were too easy to show anything, and why.
    easy: Vec<(u64, String)>,
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
        } else if options.scenario == Scenario::Thousand
            && let Some(why) = too_easy(&report, options.only.as_deref())
        {
            self.easy.push((options.seed, why));
        }
    }
}

/// What a run among a thousand seats lacks to show that the sum bears losses: of those switched on, each must have happened,
/// and there must be a sum all the same.
fn too_easy(report: &Report, only: Option<&[FaultKind]>) -> Option<String> {
    use FaultKind::{Cheat, CrashAfter, CrashBefore, NeverBack};
    let on = |kind: &FaultKind| only.is_none_or(|kinds| kinds.contains(kind));
    let count = |kinds: &[FaultKind]| kinds.iter().filter_map(|kind| report.coverage.get(kind)).sum::<u64>();
    let crashes = [CrashBefore, CrashAfter];
    let lost = (THOUSAND / LOST_SHARE) as u64;
    // why: of the lost seats one cheats, and one of the others comes back.
    let (fell, gone) = (count(&crashes), count(&[NeverBack]));
    if crashes.iter().all(on) && fell < lost - 1 {
        return Some(format!("{fell} seats died, of {}", lost - 1));
    }
    if crashes.iter().all(on) && on(&NeverBack) && (gone < lost - 2 || gone >= fell) {
        return Some(format!("{gone} seats that died stayed away, of {}", lost - 2));
    }
    if on(&Cheat) && count(&[Cheat]) == 0 {
        return Some("no seat cheated".into());
    }
    (!report.ends.iter().any(|end| end == "sum")).then(|| "no sum".into())
}

impl Sim {
    /// Runs every seed.
    ///
    /// # Errors
    /// When an invariant does not hold in some run, after its recording was written, or a run among a thousand seats
    /// lacks the faults that it is for.
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
        for (seed, why) in &tally.easy {
            println!("seed {seed} shows nothing: {why}");
        }
        if tally.failures.is_empty() && !tally.easy.is_empty() {
            bail!("{} of {} runs did not have the faults that they are for", tally.easy.len(), tally.runs)
        }
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
    /// When the file is none, or the run does not go or end as it was recorded.
    pub fn run(self) -> anyhow::Result<()> {
        let recording = read(&self.file)?;
        let report = run(&recording.options);
        let until = self.until.unwrap_or(u64::MAX);
        let (recorded, now) = (up_to(&recording.lines, until), up_to(&report.lines, until));
        let alike = recorded.iter().zip(now).take_while(|(one, other)| one == other).count();
        for line in &now[..now.len().min(alike + 1)] {
            println!("{:>6}  {:>7} ms  {:<12}  {}", line.n, line.at, line.who, line.what);
        }
        if (recorded.len(), now.len()) != (alike, alike) {
            let shown =
                |line: Option<&Line>| line.map_or("nothing".into(), |line| format!("{}: {}", line.who, line.what));
            let (was, is) = (shown(recorded.get(alike)), shown(now.get(alike)));
            bail!("event {} was recorded as `{was}` and is now `{is}`: the code has changed since", alike + 1);
        }
        if self.until.is_some() {
            return Ok(());
        }
        let shown = |violation: &Option<Violation>| match violation {
            Some(found) => format!("{}: {}", found.invariant, found.what),
            None => "every invariant holds".into(),
        };
        let (was, is) = (shown(&recording.violation), shown(&report.violation));
        if recording.violation != report.violation {
            bail!("recorded was `{was}`, and now `{is}`: the code has changed since");
        }
        println!("{is}");
        Ok(())
    }
}

/// The events up to this number.
fn up_to(lines: &[Line], until: u64) -> &[Line] {
    &lines[..lines.partition_point(|line| line.n <= until)]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The first recorded run of these seeds that breaks an invariant.
    fn planted(bug: Bug) -> Recording {
        let of = |seed| Options { bug: Some(bug), trace: true, ..Options::new(Scenario::Secagg, seed) };
        let mut runs = (0..200).map(|seed| Recording::new(&of(seed), run(&of(seed))));
        runs.find(|recording| recording.violation.is_some()).expect("the bug is found")
    }

    fn replayed(recording: &Recording, until: Option<u64>) -> anyhow::Result<()> {
        let folder = std::env::temp_dir().join(format!("tacit-replay-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{:?}.jsonl", recording.options.bug));
        std::fs::write(&file, recording.to_text())?;
        let done = Replay { file, until }.run();
        std::fs::remove_dir_all(&folder)?;
        done
    }

    #[test]
    fn a_replay_fails_where_it_is_not_what_was_recorded() {
        for bug in [Bug::DoubleCount, Bug::Panic] {
            let recording = || planted(bug);
            assert!(recording().lines.len() > 5, "{bug:?}");
            replayed(&recording(), None).expect("it recurs");
            let says = |wrong: &Recording, until: Option<u64>| {
                format!("{:#}", replayed(wrong, until).expect_err("it differs"))
            };
            // The bug has been mended since, or has come in.
            let mended = Recording { options: Options { bug: None, ..recording().options }, ..recording() };
            assert!(says(&mended, None).contains("the code has changed since"), "{bug:?}");
            let sound = Recording { violation: None, ..recording() };
            assert!(says(&sound, None).contains("recorded was `every invariant holds`"), "{bug:?}");
            let other = Violation { invariant: "nothing_panics".into(), what: "another".into() };
            let other = Recording { violation: Some(other), ..recording() };
            assert!(says(&other, None).contains("recorded was `nothing_panics: another`"), "{bug:?}");
            // An event is missing, is too many, is another.
            let mut fewer = recording();
            fewer.lines.pop();
            assert!(says(&fewer, None).contains("was recorded as `nothing`"), "{bug:?}");
            let mut more = recording();
            let last = more.lines.last().cloned().expect("events");
            more.lines.push(Line { n: last.n + 1, ..last.clone() });
            assert!(says(&more, None).contains("is now `nothing`"), "{bug:?}");
            let mut another = recording();
            another.lines[3].what = "nothing of note".into();
            assert!(says(&another, None).contains("event 4 was recorded"), "{bug:?}");
            // Up to an event, only what is before it counts.
            replayed(&another, Some(3)).expect("the first three are the same");
            assert!(says(&another, Some(4)).contains("event 4 was recorded"), "{bug:?}");
            replayed(&mended, Some(1)).expect("the first is the same");
        }
    }

    #[test]
    fn a_run_among_a_thousand_without_its_faults_shows_nothing() {
        use FaultKind::{Cheat, CrashAfter, CrashBefore, NeverBack};
        let lost = (THOUSAND / LOST_SHARE) as u64;
        let all = [(CrashBefore, 20), (CrashAfter, lost - 21), (NeverBack, lost - 2), (Cheat, 1)];
        let easy = |coverage: &[(FaultKind, u64)], end: &str, only: Option<&[FaultKind]>| {
            let report =
                run(&Options { faults: Some(tacit_sim::Faults::default()), ..Options::new(Scenario::Secagg, 1) });
            let coverage = coverage.iter().copied().collect();
            too_easy(&Report { coverage, ends: vec![end.into()], ..report }, only)
        };
        assert_eq!(easy(&all, "sum", None), None);
        assert_eq!(easy(&all, "abort", None).as_deref(), Some("no sum"));
        for (i, (kind, count)) in all.iter().enumerate() {
            let mut fewer = all;
            fewer[i].1 = count - 1;
            assert!(easy(&fewer, "sum", None).is_some(), "{kind:?}");
        }
        // Nobody came back.
        let mut gone = all;
        gone[2].1 += 1;
        assert!(easy(&gone, "sum", None).is_some());
        // What is switched off is not asked for.
        assert_eq!(easy(&[], "sum", Some(&[])), None);
        assert!(easy(&[], "sum", Some(&[Cheat])).is_some());
    }
}
