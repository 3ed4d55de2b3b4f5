//! The pages that are written from the code. `cargo xtask codes` writes them; a test compares.

use std::fmt::Write;

use tacit_types::{Code, Lang};

use crate::repo;

/// `docs/CODES.md`: every stable code with title and hint in both languages.
pub fn codes() -> String {
    let mut page = String::from(
        "# Codes\n\n\
         Refusals, failed jobs, faults of the tools and receipts carry these codes. The text of a code never changes\n\
         once released; the sentences may. `cargo xtask codes` writes this page from `crates/types/src/code.rs`.\n\n\
         The exit status of `tacit` follows from the code's area: `args`, `config`, `data` 2; `refused` 3; `job` 4;\n\
         `net`, `invite`, `clock` 5; `receipt`, `log` 6; anything else 1.\n",
    );
    let mut area = "";
    for code in Code::ALL {
        let this = code.text().split('.').next().unwrap_or_default();
        if this != area {
            area = this;
            let _ = write!(page, "\n## {area}\n\n| code | what it means | what to do |\n|---|---|---|\n");
        }
        let cell = |f: &dyn Fn(Lang) -> &'static str| format!("{}<br>{}", f(Lang::En), f(Lang::Zh)).replace('|', "\\|");
        let (title, hint) = (cell(&|l| code.title(l)), cell(&|l| code.hint(l)));
        let _ = writeln!(page, "| `{}` | {title} | {hint} |", code.text());
    }
    page
}

/// `docs/LIMITS.md`: every public constant whose name ends in `_MAX` or has `_MAX_` in it, and those of
/// `limits` modules.
pub fn limits() -> String {
    let mut page = String::from(
        "# Limits\n\n\
         Everything that a person, a file or a peer can make large has a cap, and every cap is a named constant with\n\
         a test one past it. `cargo xtask codes` writes this page from the constants and their descriptions.\n",
    );
    for name in repo::crates() {
        let mut rows = String::new();
        for path in repo::with_extension(&format!("crates/{name}/src"), "rs") {
            let all = path.ends_with("limits.rs");
            for limit in constants(&repo::text(&path)).filter(|l| all || l.name.contains("_MAX")) {
                let file = path.strip_prefix(format!("crates/{name}/src")).unwrap_or(&path).display();
                let _ = writeln!(rows, "| `{}` | `{}` | {} | `{file}` |", limit.name, limit.value, limit.about);
            }
        }
        if !rows.is_empty() {
            let _ = write!(page, "\n## {name}\n\n| limit | value | of what | where |\n|---|---|---|---|\n{rows}");
        }
    }
    page
}

struct Constant {
    name: String,
    value: String,
    about: String,
}

/// The public constants of a file, each on one line, with the documentation above it.
fn constants(source: &str) -> impl Iterator<Item = Constant> {
    let mut about = String::new();
    source.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            about.push_str(text);
            return None;
        }
        let about = plain(&std::mem::take(&mut about));
        let (name, rest) = line.strip_prefix("pub const ")?.split_once(':')?;
        let (_, value) = rest.split_once('=')?;
        let value = value.trim().strip_suffix(';')?.to_owned();
        (!name.contains('(')).then(|| Constant { name: name.to_owned(), value, about })
    })
}

/// A description without links, fit for a cell.
fn plain(text: &str) -> String {
    text.trim().replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_read_with_its_description() {
        let source = "/// Bytes of a\n/// [`Name`].\npub const NAME_BYTES_MAX: usize = 1 << 6;\npub const fn f(x: u8) -> u8 { x }\n";
        let found: Vec<Constant> = constants(source).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].value.as_str()), ("NAME_BYTES_MAX", "1 << 6"));
        assert_eq!(found[0].about, "Bytes of a `Name`.");
    }
}
