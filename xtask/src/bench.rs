//! `cargo xtask bench NAME`: builds the bench in release and runs it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::ValueEnum;

/// What to measure, and how.
#[derive(clap::Args)]
pub struct Arguments {
    /// The part.
    name: Name,
    /// One JSON object a case on standard output, and nothing else.
    #[arg(long)]
    json: bool,
    /// Smaller inputs, and without the cases that take minutes.
    #[arg(long)]
    quick: bool,
    /// Only the cases whose name has this in it; of `secagg` one group: mask, 10, 50, verified, stream or 1000.
    #[arg(long, conflicts_with = "check")]
    only: Option<String>,
    /// Compare exact counts of bytes and rounds with benches/budgets.toml; times nothing.
    #[arg(long)]
    check: bool,
}

/// A part that has a bench.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Secure aggregation, then as `secagg-quic`.
    Secagg,
    /// A round of secure aggregation over QUIC on loopback.
    SecaggQuic,
    /// Scoring on shares: kernels, runs in one process, and over QUIC on loopback.
    Scoring,
    /// Private set intersection: the arithmetic, and runs in one process; then as `psi-quic`.
    Psi,
    /// Intersections and searches between two processes over QUIC on loopback, each with its peak of memory.
    PsiQuic,
    /// Receipts: appended, cosigned, proved, verified; a large log opened again.
    Receipts,
    /// Bulk between two nodes over QUIC on loopback, beside raw quinn with its default settings.
    Net,
    /// A small job from submission to opened result, through processes.
    #[value(name = "end_to_end")]
    EndToEnd,
}

impl Name {
    /// The packages and the programs, one after the other, as arguments of `cargo run`. The bench of the transport is an
    /// example of its own crate, because no other crate names the QUIC library.
    fn programs(self, check: bool) -> Vec<[&'static str; 4]> {
        let bin = |name| ["--package", "tacit-benches", "--bin", name];
        match self {
            // A round's bytes are the same in one process and over QUIC.
            Name::Secagg if check => vec![bin("secagg")],
            Name::Secagg => vec![bin("secagg"), bin("secagg_quic")],
            Name::SecaggQuic => vec![bin("secagg_quic")],
            Name::Scoring => vec![bin("scoring")],
            Name::Psi => vec![bin("psi"), bin("psi_quic")],
            Name::PsiQuic => vec![bin("psi_quic")],
            Name::Receipts => vec![["--package", "tacit-archive", "--example", "receipts"]],
            Name::Net => vec![["--package", "tacit-net", "--example", "bulk_rows"]],
            Name::EndToEnd => vec![bin("end_to_end")],
        }
    }
}

/// The folder of release programs, if they are built: beside the folder of this program.
fn released() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folder = own.parent()?.parent()?.join("release");
    ["tacit", "tacit-verify"].iter().all(|name| folder.join(name).is_file()).then_some(folder)
}

/// Programs that run some of their cases alone.
const CHOOSERS: [&str; 4] = ["secagg", "scoring", "psi", "psi_quic"];

/// Runs the bench.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut programs = arguments.name.programs(arguments.check);
    if arguments.only.is_some() {
        programs.retain(|program| CHOOSERS.contains(&program[3]));
        if programs.is_empty() {
            eprintln!("this bench has no cases to choose from: leave --only out");
            return ExitCode::FAILURE;
        }
    }
    for program in programs {
        match command(arguments, program).and_then(|mut command| command.status()) {
            Ok(status) if status.success() => {
                if arguments.check {
                    eprintln!("{}: the counts are within the budgets", program[3]);
                }
            }
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("cargo cannot be run: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn command(arguments: &Arguments, program: [&str; 4]) -> std::io::Result<Command> {
    // Counts are the same in every profile, and the development one is built already: with the features that the
    // packages have together, which those of the bench alone are not.
    let mut cargo = if arguments.check {
        super::built(program[2], program[3])?
    } else {
        let mut cargo = super::cargo();
        cargo.args(["run", "--quiet"]).args(program);
        // What runs through processes takes the release programs where there are some: building them takes a quarter
        // of an hour.
        let processes = matches!(arguments.name, Name::EndToEnd);
        match released().filter(|_| processes) {
            Some(folder) => drop(cargo.arg("--release").env("TACIT_PROGRAMS", folder)),
            None if processes => {}
            None => drop(cargo.arg("--release")),
        }
        cargo.arg("--");
        cargo
    };
    if arguments.json {
        cargo.arg("--json");
    }
    if arguments.quick {
        cargo.arg("--quick");
    }
    if let Some(only) = &arguments.only {
        cargo.args(["--only", only]);
    }
    if arguments.check {
        cargo.args(["--check", concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/budgets.toml")]);
    }
    Ok(cargo)
}
