//! The files of the repository.

use std::path::{Path, PathBuf};

/// Folders that hold no source: builds, version control, what a fuzzer found.
const SKIPPED: [&str; 4] = ["target", ".git", ".venv", "artifacts"];

/// The folder of the repository.
pub fn root() -> &'static Path {
    // why: the manifest of this package lies one folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Every file below a folder of the repository, in order, by its path from the root.
///
/// # Panics
/// When a folder cannot be listed.
pub fn files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { panic!("{} cannot be listed", folder.display()) };
        for entry in entries.flatten() {
            let path = entry.path();
            let skipped = path.file_name().is_some_and(|n| SKIPPED.iter().any(|s| n == *s));
            match path.is_dir() {
                true if skipped => {}
                true => folders.push(path),
                false => found.push(path.strip_prefix(root()).unwrap_or(&path).to_path_buf()),
            }
        }
    }
    found.sort();
    found
}

/// Every file with an extension below a folder.
pub fn with_extension(below: &str, extension: &str) -> Vec<PathBuf> {
    files(below).into_iter().filter(|p| p.extension().is_some_and(|e| e == extension)).collect()
}

/// The text of a file, by its path from the root; empty for one that is not text.
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// The names of the folders of `crates/`.
pub fn crates() -> Vec<String> {
    let manifests = with_extension("crates", "toml").into_iter().filter(|p| p.ends_with("Cargo.toml"));
    let folder = |p: PathBuf| Some(p.parent()?.file_name()?.to_string_lossy().into_owned());
    manifests.filter_map(folder).collect()
}

/// The fenced block after the line of a page that names a file.
///
/// # Panics
/// When the page has no such line, or no block after it.
pub fn snippet<'a>(page: &'a str, file: &str) -> &'a str {
    let after = page.split_once(&format!("\n`{file}`")).unwrap_or_else(|| panic!("{file} is not in the page")).1;
    let block = after.split_once("```").and_then(|(_, b)| b.split_once('\n')).map(|(_, b)| b);
    block.and_then(|b| b.split_once("```")).unwrap_or_else(|| panic!("{file} has no block")).0
}
