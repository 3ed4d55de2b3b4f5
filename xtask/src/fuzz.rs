//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage instrumentation, on the stable compiler, and
//! runs each from its corpus. New inputs go to `fuzz/target/corpus`, those that break a target to `fuzz/artifacts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

/// What libFuzzer needs of the compiler: edge counters and operands of comparisons, as an LLVM pass.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";
/// Longest input that is tried: what is special about longer ones is the cap, which has tests of its own.
const INPUT_BYTES_MAX: u32 = 16 << 10;
/// Seconds that one input may take.
const TIMEOUT_SECONDS: u32 = 5;
/// Megabytes that a target may hold.
const MEMORY_MB_MAX: u32 = 512;
/// Lines of a failed target's output that are shown.
const LINES_SHOWN: usize = 40;

/// The arguments of `fuzz`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Build the targets and run none.
    #[arg(long, conflicts_with = "target")]
    build: bool,
}

/// Runs the targets; fails when one does.
pub fn run(arguments: &Arguments) -> ExitCode {
    match fuzz(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz(arguments: &Arguments) -> Result<()> {
    let folder = super::root().join("fuzz");
    let targets = targets(&folder, arguments.target.as_deref())?;
    let binary = build(&folder)?;
    if arguments.build {
        return Ok(());
    }
    let next = AtomicUsize::new(0);
    let failed: Mutex<Vec<String>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = one(&folder, &binary, target, arguments.seconds) {
                        eprintln!("{target}: {error:#}");
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{} of {} targets failed: {}", failed.len(), targets.len(), failed.join(", "));
    println!("{} targets, {} s each: no crash, hang or overuse of memory", targets.len(), arguments.seconds);
    Ok(())
}

/// The names of the corpus folders: every target has one.
fn targets(folder: &Path, only: Option<&str>) -> Result<Vec<String>> {
    let corpus = folder.join("corpus");
    let mut names: Vec<String> = fs::read_dir(&corpus)
        .with_context(|| corpus.display().to_string())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    match only {
        None => Ok(names),
        Some(name) if names.iter().any(|n| n == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("no target `{name}`; there are {}", names.join(" ")),
    }
}

/// Builds for the host by its name, so that build scripts and macros stay without instrumentation.
fn build(folder: &Path) -> Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc names no host")?;
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--bin", "tacit-fuzz", "--target", host, "--target-dir"])
        .arg(folder.join("target"))
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", INSTRUMENTATION)
        .status()
        .context("cargo build")?;
    ensure!(status.success(), "the targets do not build");
    Ok(folder.join("target").join(host).join("debug/tacit-fuzz"))
}

fn one(folder: &Path, binary: &Path, target: &str, seconds: u32) -> Result<()> {
    let (found, artifacts) = (folder.join("target/corpus").join(target), folder.join("artifacts"));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let output = Command::new(binary)
        .env("TACIT_FUZZ_TARGET", target)
        .arg(&found)
        .arg(folder.join("corpus").join(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={TIMEOUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
        .arg("-print_final_stats=1")
        .output()
        .with_context(|| binary.display().to_string())?;
    report(target, &output)
}

fn report(target: &str, output: &Output) -> Result<()> {
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        // A trace pushes what was said first out of the last lines.
        let why = lines.iter().position(|line| line.contains("panicked at"));
        let why = why.map(|at| lines[at..lines.len().min(at + 3)].join("\n")).unwrap_or_default();
        bail!("{}\n{why}\n{last}", output.status);
    }
    let executed = log.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?").trim();
    println!("{target:>20}  {executed:>10} inputs");
    Ok(())
}
