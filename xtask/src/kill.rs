//! `cargo xtask kill`: the test that kills daemons under load, for as many cycles as wanted.

use std::process::ExitCode;

/// How long.
#[derive(clap::Args)]
pub struct Arguments {
    /// Kills; each takes about a second and a half.
    #[arg(long, default_value_t = 100)]
    cycles: u32,
}

/// Runs the test.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut cargo = super::cargo();
    cargo
        .args(["test", "--workspace", "--locked", "--test", "kill", "--", "--nocapture"])
        .env("TACIT_KILL_CYCLES", arguments.cycles.to_string())
        .current_dir(super::root());
    match cargo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}
