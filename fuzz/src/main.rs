//! The fuzzer's body. `TACIT_FUZZ_TARGET` names the target; `cargo xtask fuzz` sets it.
#![no_main]

use std::sync::OnceLock;

use tacit_fuzz::Target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: {
    let wanted = std::env::var("TACIT_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = tacit_fuzz::TARGETS.iter().find(|t| t.name == wanted) else {
        let names: Vec<&str> = tacit_fuzz::TARGETS.iter().map(|t| t.name).collect();
        eprintln!("TACIT_FUZZ_TARGET is one of: {}", names.join(" "));
        std::process::exit(2);
    };
    let _ = CHOSEN.set(*target);
}, |bytes: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.run)(bytes);
    }
});
