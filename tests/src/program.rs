//! Finds the programs under test, built by cargo from this very tree in the profile of the caller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();

/// The path of a program: `tacit` or `tacit-verify`. The first call of a process builds both, unless
/// `TACIT_PROGRAMS` names the folder of installed ones, which are tested then.
///
/// # Panics
/// When they do not build.
pub fn program(name: &str) -> &'static Path {
    let built = BUILT.get_or_init(|| match std::env::var_os("TACIT_PROGRAMS") {
        Some(folder) => ["tacit", "tacit-verify"].map(|p| (p.to_owned(), Path::new(&folder).join(p))).into(),
        None => build(),
    });
    built.get(name).unwrap_or_else(|| panic!("cargo built no program `{name}`: {built:?}"))
}

fn build() -> BTreeMap<String, PathBuf> {
    let release = std::env::current_exe().is_ok_and(|p| p.components().any(|c| c.as_os_str() == "release"));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--message-format=json-render-diagnostics", "-p", "tacit", "-p", "tacit-verify"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if release {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap_or_else(|e| panic!("cargo cannot be run: {e}"));
    assert!(output.status.success(), "the programs do not build");
    let messages = output.stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    messages
        .filter_map(|message: serde_json::Value| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect()
}
