//! `cargo xtask crash`: the test that hurts the coordinator at its system calls, at every point with every fault.

use std::process::ExitCode;

/// Runs the test.
pub fn run() -> ExitCode {
    let mut cargo = super::cargo();
    cargo
        .args(["test", "--workspace", "--locked", "--test", "coordinator", "--"])
        .args(["--nocapture", "--exact", "crash::a_fault_at_any_system_call_loses_no_receipt_and_doubles_none"])
        .env("TACIT_CRASH_ALL", "1")
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
