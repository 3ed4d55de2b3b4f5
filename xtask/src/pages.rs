//! `cargo xtask codes`: writes the pages of `docs/` that come from the code, `CODES.md` and `LIMITS.md`.

use std::process::{Command, ExitCode};

/// Writes the pages.
pub fn run() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    match Command::new(cargo).args(["run", "--quiet", "--package", "tacit-tests", "--bin", "pages"]).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("codes: {error}");
            ExitCode::FAILURE
        }
    }
}
