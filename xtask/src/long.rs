//! `cargo xtask long`: the tests that take minutes or gigabytes, of which each build runs a shorter form.

use std::process::ExitCode;

use clap::ValueEnum;

/// Which.
#[derive(clap::Args)]
pub struct Arguments {
    /// The tests; all of them if none is named.
    names: Vec<Name>,
}

/// A set of long tests.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// A hundred thousand rows of private and split trees and of a network against plain evaluation, and 32,000 leaves in
    /// two tiles.
    Scores,
    /// A million keys in parts, through processes: a daemon holds what one part needs.
    Batch,
    /// A hundred thousand rows of twenty features with a private model, through processes, and their memory.
    Private,
    /// Ten million rows aligned with ten thousand through nodes of little memory, against a plain join; gigabytes of disk.
    Join,
    /// Either side of an alignment killed at every tenth of it, at the levels at which one alone learns or nobody learns which.
    Kills,
    /// A hundred thousand random price plans and usages against the second implementation.
    Money,
}

impl Name {
    /// Of `cargo test`. The packages that process tests are of are built all together, as those tests build them.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Name::Scores => {
                &["--release", "--package", "tacit-jobs", "--test", "score_costs", "--", "equal", "two_tiles"]
            }
            Name::Batch => &["--workspace", "--test", "scoring_batch", "--"],
            Name::Private => &["--workspace", "--test", "scoring_private", "--"],
            Name::Join => &["--workspace", "--test", "align_sizes", "--"],
            Name::Kills => &["--workspace", "--test", "align_kill", "--"],
            Name::Money => &["--release", "--package", "tacit-receipts", "--test", "money", "--"],
        }
    }
}

/// Runs them one after the other, and all of them whatever fails.
pub fn run(arguments: &Arguments) -> ExitCode {
    let names = if arguments.names.is_empty() { Name::value_variants() } else { &arguments.names };
    let mut held = true;
    for name in names {
        let mut cargo = super::cargo();
        cargo.args(["test", "--locked"]).args(name.arguments()).args(["--ignored", "--nocapture"]);
        match cargo.current_dir(super::root()).status() {
            Ok(status) => held &= status.success(),
            Err(error) => {
                eprintln!("cargo cannot be run: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
