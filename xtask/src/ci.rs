//! `cargo xtask ci`: what the build server runs, here.

use std::process::{Command, ExitCode};

/// Runs `.ci/run` to its end.
pub fn run() -> ExitCode {
    match Command::new(super::root().join(".ci/run")).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ci: {error}");
            ExitCode::FAILURE
        }
    }
}
