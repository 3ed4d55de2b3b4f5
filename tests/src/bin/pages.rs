//! Writes `docs/CODES.md` and `docs/LIMITS.md`.

use tacit_tests::{pages, repo};

fn main() -> std::io::Result<()> {
    for (name, text) in [("CODES.md", pages::codes()), ("LIMITS.md", pages::limits())] {
        std::fs::write(repo::root().join("docs").join(name), text)?;
    }
    Ok(())
}
