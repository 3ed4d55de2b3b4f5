//! Writes the seeds of every target to `corpus/TARGET/` beneath the folder that is given.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = std::env::args().nth(1).unwrap_or_else(|| "corpus".into());
    for target in tacit_fuzz::TARGETS {
        let folder = Path::new(&root).join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (i, seed) in (target.seeds)().iter().enumerate() {
            (target.run)(seed);
            std::fs::write(folder.join(format!("seed-{i:02}")), seed)?;
        }
    }
    Ok(())
}
