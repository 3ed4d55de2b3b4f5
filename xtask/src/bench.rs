//! `cargo xtask bench NAME`: builds the bench in release and runs it.

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
    /// Compare exact counts of bytes and rounds with benches/budgets.toml; times nothing.
    #[arg(long)]
    check: bool,
}

/// A part that has a bench.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Secure aggregation.
    Secagg,
    /// A round of secure aggregation over QUIC on loopback.
    SecaggQuic,
}

impl Name {
    fn binary(self) -> &'static str {
        match self {
            Name::Secagg => "secagg",
            Name::SecaggQuic => "secagg_quic",
        }
    }
}

/// Runs the bench.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--package", "tacit-benches", "--bin", arguments.name.binary()]);
    // Counts are the same in every profile, and the development one is built already.
    if !arguments.check {
        cargo.arg("--release");
    }
    cargo.arg("--");
    if arguments.json {
        cargo.arg("--json");
    }
    if arguments.quick {
        cargo.arg("--quick");
    }
    if arguments.check {
        cargo.args(["--check", concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/budgets.toml")]);
    }
    match cargo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}
