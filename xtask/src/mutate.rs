//! `cargo xtask mutate`: changes the decision at the owner's node in one place at a time and asks its tests. A change that
//! no test notices is a survivor: it needs a test, or a reason why it is no change in `crates/governance/tests/mutants.txt`.

mod rewrite;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rewrite::Mutant;

/// The crate whose decision is changed.
const CRATE: &str = "governance";
/// What of it decides.
const FILES: [&str; 6] =
    ["admission/mod.rs", "admission/steps.rs", "admission/control.rs", "privacy.rs", "align.rs", "grade.rs"];
/// Crates that it is built of.
const BELOW: [&str; 2] = ["types", "crypto"];
/// The tests in three parts, the quick ones first: each part is asked about what the ones before it did not notice.
const PARTS: [&[&str]; 3] = [&["--skip", "mutations::"], &["mutations::", "--skip", SLOW], &[SLOW]];
/// What takes minutes.
const SLOW: &str = "no_second_change_makes_up";
/// How long a part may take; a change that makes it hang is noticed.
const PATIENCE: Duration = Duration::from_secs(600);
/// Reasons for survivors, beside the tests.
const REASONS: &str = "tests/mutants.txt";

/// The tests with every mutant in them.
struct Tests {
    /// Where they run.
    folder: PathBuf,
    programs: Vec<PathBuf>,
}

/// The arguments of `mutate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only mutants whose description contains this text.
    #[arg(long)]
    only: Option<String>,
    /// Prints the mutants and asks nobody.
    #[arg(long)]
    list: bool,
}

/// Makes the mutants and asks; fails when one survives without a reason, or a reason has no survivor.
pub fn run(arguments: &Arguments) -> ExitCode {
    match mutate(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mutate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn mutate(arguments: &Arguments) -> Result<()> {
    let root = super::root();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let scratch = target.join("mutate");
    let mutants = copy(root, &scratch)?;
    let wanted = |m: &Mutant| arguments.only.as_ref().is_none_or(|text| m.key.contains(text.as_str()));
    let asked: Vec<usize> = (0..mutants.len()).filter(|i| wanted(&mutants[*i])).collect();
    if arguments.list {
        asked.iter().for_each(|i| println!("{} {}", mutants[*i].at, mutants[*i].key));
        return Ok(());
    }
    let tests = build(&scratch)?;
    let began = Instant::now();
    let mut left = asked.clone();
    for part in PARTS {
        ensure!(passes(&tests, None, part)?, "the tests fail without a mutant");
        left = survivors(&tests, &left, part)?;
        eprintln!("{} s: {} of {} not noticed yet", began.elapsed().as_secs(), left.len(), asked.len());
        left.iter().for_each(|i| eprintln!("  {} {}", mutants[*i].at, mutants[*i].key));
    }
    let reasons = reasons(&root.join("crates").join(CRATE).join(REASONS))?;
    let (seconds, alive) = (began.elapsed().as_secs(), left.len());
    println!("{} mutants, {} noticed, {alive} not, {seconds} s", asked.len(), asked.len() - alive);
    judge(&mutants, &asked, &left, &reasons)
}

/// Every survivor has a reason, and every reason a survivor.
fn judge(mutants: &[Mutant], asked: &[usize], left: &[usize], reasons: &BTreeMap<String, String>) -> Result<()> {
    let mut bare = 0;
    for mutant in left.iter().map(|i| &mutants[*i]) {
        match reasons.get(&mutant.key) {
            Some(reason) => println!("  {} {}\n      {reason}", mutant.at, mutant.key),
            None => {
                bare += 1;
                println!("  SURVIVES {} {}", mutant.at, mutant.key);
            }
        }
    }
    let alive: BTreeSet<&str> = left.iter().map(|i| mutants[*i].key.as_str()).collect();
    let known: BTreeSet<&str> = asked.iter().map(|i| mutants[*i].key.as_str()).collect();
    let whole = asked.len() == mutants.len();
    let stale: Vec<&String> =
        reasons.keys().filter(|k| !alive.contains(k.as_str()) && (whole || known.contains(k.as_str()))).collect();
    ensure!(stale.is_empty(), "these are noticed, or are no mutants any more: {stale:?}");
    ensure!(bare == 0, "{bare} mutants survive without a reason");
    Ok(())
}

/// Lines of `KEY => REASON`; empty ones and those after `#` say nothing.
fn reasons(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (key, reason) = line.split_once(" => ").with_context(|| format!("no reason in `{line}`"))?;
            Ok((key.trim().to_owned(), reason.trim().to_owned()))
        })
        .collect()
}

/// A workspace of the few crates, with the mutants in it.
fn copy(root: &Path, scratch: &Path) -> Result<Vec<Mutant>> {
    if scratch.exists() {
        fs::remove_dir_all(scratch)?;
    }
    for name in BELOW.iter().chain([&CRATE]) {
        tree(&root.join("crates").join(name), &scratch.join("crates").join(name))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let mut manifest: toml::Table = manifest.parse()?;
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut).context("no [workspace]")?;
    workspace.insert("members".into(), toml::Value::Array(vec!["crates/*".into()]));
    workspace.retain(|key, _| key != "exclude" && key != "default-members");
    // why: what a rewritten source looks like is nobody's concern.
    workspace.insert("lints".into(), toml::Value::Table(toml::Table::new()));
    fs::write(scratch.join("Cargo.toml"), toml::to_string(&manifest)?)?;
    fs::copy(root.join("Cargo.lock"), scratch.join("Cargo.lock"))?;
    // The tests read the sources too: those stay, and the crate is built of others.
    let folder = scratch.join("crates").join(CRATE);
    let source = folder.join("mutants");
    tree(&folder.join("src"), &source)?;
    let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
    fs::write(folder.join("Cargo.toml"), format!("{manifest}\n[lib]\npath = \"mutants/lib.rs\"\n"))?;
    let mut mutants = Vec::new();
    for name in FILES {
        let path = source.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (rewritten, found) = rewrite::rewrite(name, &text, mutants.len()).with_context(|| name.to_owned())?;
        ensure!(!found.is_empty(), "{name}: nothing to change");
        fs::write(&path, rewritten)?;
        mutants.extend(found);
    }
    let lib = source.join("lib.rs");
    fs::write(&lib, format!("{}\n{}", fs::read_to_string(&lib)?, rewrite::switch()))?;
    Ok(mutants)
}

fn tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (own, there) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() { tree(&own, &there)? } else { fs::copy(&own, &there).map(drop)? }
    }
    Ok(())
}

/// Builds the tests and gives where they are.
fn build(scratch: &Path) -> Result<Tests> {
    let output = super::cargo()
        .args(["test", "--quiet", "--offline", "--no-run", "--message-format=json", "--package"])
        .arg(format!("tacit-{CRATE}"))
        // why: in a common folder the crate's own tests would lie under the same names.
        .arg("--target-dir")
        .arg(scratch.with_extension("target"))
        .current_dir(scratch)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run")?;
    let lines = String::from_utf8(output.stdout)?;
    let values = || lines.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    if !output.status.success() {
        let said = values().filter_map(|v| Some(v.get("message")?.get("rendered")?.as_str()?.to_owned()));
        bail!("the mutants do not build\n{}", said.collect::<String>());
    }
    let programs: Vec<PathBuf> = values()
        .filter(|v| v.pointer("/profile/test").and_then(serde_json::Value::as_bool) == Some(true))
        .filter_map(|v| v.get("executable")?.as_str().map(PathBuf::from))
        .collect();
    ensure!(!programs.is_empty(), "no tests were built");
    Ok(Tests { folder: scratch.join("crates").join(CRATE), programs })
}

/// The mutants with which every test passes.
fn survivors(tests: &Tests, mutants: &[usize], arguments: &[&str]) -> Result<Vec<usize>> {
    let (next, left) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let failed: Mutex<Option<anyhow::Error>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match passes(tests, Some(*mutant), arguments) {
                        Ok(true) => drop(left.lock().map(|mut l| l.insert(*mutant))),
                        Ok(false) => {}
                        Err(error) => drop(failed.lock().map(|mut f| f.get_or_insert(error).to_string())),
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(left.into_inner().unwrap_or_default().into_iter().collect()),
    }
}

/// Whether all tests pass with a mutant on. The first that does not is enough.
fn passes(tests: &Tests, mutant: Option<usize>, arguments: &[&str]) -> Result<bool> {
    let Tests { folder, programs } = tests;
    for program in programs {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("--test-threads=1")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(mutant) = mutant {
            command.env("TACIT_MUTANT", mutant.to_string());
        }
        let mut child = command.spawn().with_context(|| program.display().to_string())?;
        let (output, deadline) = (child.stdout.take().context("no output")?, Instant::now() + PATIENCE);
        let (told, hears) = channel();
        let reader = std::thread::spawn(move || {
            let failed = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.ends_with("FAILED"));
            // why: nobody hears it when the deadline has passed.
            let _ = told.send(failed);
        });
        let failed = hears.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or(true);
        if failed {
            // why: it may have ended by itself.
            let _ = child.kill();
        }
        let status = child.wait()?;
        // why: a panic there is a failure of this program's own.
        ensure!(reader.join().is_ok(), "the tests' output cannot be read");
        if failed || !status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}
