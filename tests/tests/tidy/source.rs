//! Rules of the sources: nothing unfinished, nothing that names where it was written, files of one idea, and no
//! panic without its reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tacit_tests::repo;

/// Lines of a source file of a crate.
const LINES_MAX: usize = 700;
/// Files that may be longer, with the reason.
const LONGER: &[(&str, &str)] = &[];

/// Files with text that people wrote or read.
fn written() -> Vec<PathBuf> {
    let known = ["rs", "md", "toml", "sql", "service", "sh", "json", "html", "css", "js", "txt", "csv"];
    let text = |p: &PathBuf| {
        let named = p.extension().is_some_and(|e| known.iter().any(|k| e == *k)) || p.starts_with(".ci");
        named && p.file_name().is_none_or(|n| n != "LICENSE")
    };
    repo::files("").into_iter().filter(text).collect()
}

fn is_this_file(path: &Path) -> bool {
    path.ends_with("tidy/source.rs")
}

#[test]
fn nothing_is_left_to_do() {
    for path in written().iter().filter(|p| !is_this_file(p)) {
        for (i, line) in repo::text(path).lines().enumerate() {
            for word in ["TODO", "FIXME", "XXX:", "unimplemented!", "todo!("] {
                assert!(!line.contains(word), "{}:{}: {word}", path.display(), i + 1);
            }
        }
    }
}

#[test]
fn the_sources_speak_of_the_product_alone() {
    let substrings = [
        concat!("/", "work/"),
        concat!("/", "root/"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".com"),
        concat!("artifact", "ory"),
        concat!("Co-Authored", "-By"),
    ];
    let words = [
        concat!("chat", "gpt"),
        concat!("clau", "de"),
        concat!("anthro", "pic"),
        concat!("open", "ai"),
        concat!("co", "pilot"),
        concat!("ll", "m"),
        concat!("assist", "ant"),
    ];
    for path in written() {
        let text = repo::text(&path);
        for (i, line) in text.lines().enumerate() {
            for part in substrings {
                assert!(!line.contains(part), "{}:{}: {part}", path.display(), i + 1);
            }
            let mut own = line.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_lowercase);
            let found = own.find(|w| words.contains(&w.as_str()));
            assert!(found.is_none(), "{}:{}: {found:?}", path.display(), i + 1);
        }
    }
}

#[test]
fn a_file_holds_one_idea() {
    for name in repo::crates() {
        for path in repo::with_extension(&format!("crates/{name}/src"), "rs") {
            let lines = repo::text(&path).lines().count();
            let allowed = LONGER.iter().any(|(file, _)| Path::new(file) == path);
            assert!(lines <= LINES_MAX || allowed, "{} has {lines} lines", path.display());
        }
    }
    for (file, reason) in LONGER {
        assert!(!reason.is_empty() && repo::text(file.as_ref()).lines().count() > LINES_MAX, "{file} is not long");
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for name in repo::crates() {
        let manifest = repo::text(format!("crates/{name}/Cargo.toml").as_ref());
        let described = manifest.lines().find_map(|l| l.strip_prefix("description = \""));
        assert!(described.is_some_and(|d| d.len() > 20), "crates/{name}/Cargo.toml has no description");
        assert!(manifest.contains("[lints]\nworkspace = true"), "crates/{name}/Cargo.toml leaves the shared lints out");
    }
}

/// A panic outside tests says in a comment beside it why it cannot happen. The simulator's are its findings.
#[test]
fn no_panic_is_without_its_reason() {
    let mut wrong = Vec::new();
    for name in repo::crates().iter().filter(|name| *name != "sim") {
        let sources = repo::with_extension(&format!("crates/{name}/src"), "rs");
        let tests: BTreeSet<PathBuf> = sources.iter().flat_map(|p| test_modules(p)).collect();
        for path in sources.iter().filter(|p| !tests.iter().any(|t| p.starts_with(t.with_extension("")) || *p == t)) {
            wrong.extend(panics(&repo::text(path)).into_iter().map(|line| format!("{}:{line}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "without a `// why:`, `// proof:` or `// invariant:`:\n{}", wrong.join("\n"));
}

/// Files that a source takes in for its tests alone: `#[cfg(test)] mod name;`.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let text = repo::text(path);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let folder = match path.file_stem() {
        Some(stem) if stem == "mod" || stem == "lib" || stem == "main" => path.parent().unwrap_or(path).to_path_buf(),
        _ => path.with_extension(""),
    };
    let pairs = lines.windows(2).filter(|w| w[0] == "#[cfg(test)]");
    let names = pairs.filter_map(|w| w[1].trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';'));
    names.flat_map(|name| [folder.join(name).with_extension("rs"), folder.join(name).join("mod.rs")]).collect()
}

/// Lines of a source, from 1, that may panic and give no reason.
fn panics(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut i = 0;
    while i < lines.len() {
        if lines[i].trim() == "#[cfg(test)]" {
            i = after_item(&lines, i + 1);
            continue;
        }
        let code = lines[i].split("//").next().unwrap_or_default();
        let code = code.replace(".expect()", "");
        let may = [".unwrap()", ".expect(", "panic!(", "unreachable!("].iter().any(|p| code.contains(p));
        if may && !has_reason(&lines, i) {
            found.push(i + 1);
        }
        i += 1;
    }
    found
}

/// A reason stands on the line, or in the comment above the statement that the line ends.
fn has_reason(lines: &[&str], at: usize) -> bool {
    let gives = |line: &str| {
        let comment = line.split_once("//").map(|(_, c)| c.trim_start());
        comment.is_some_and(|c| ["why:", "proof:", "invariant:"].iter().any(|w| c.starts_with(w)))
    };
    let above = lines[..at].iter().rev().take(6);
    let near = above.take_while(|l| {
        let code = l.split("//").next().unwrap_or_default().trim();
        !code.ends_with([';', '{', '}'])
    });
    gives(lines[at]) || near.into_iter().any(|l| gives(l))
}

/// The line after the item that begins at a line: at its closing brace of the same indentation, or its semicolon.
fn after_item(lines: &[&str], from: usize) -> usize {
    let indent = |l: &str| l.len() - l.trim_start().len();
    let Some(first) = (from..lines.len()).find(|i| !lines[*i].trim().starts_with("#[")) else { return lines.len() };
    if lines[first].trim_end().ends_with(';') {
        return first + 1;
    }
    let depth = indent(lines[first]);
    let closes = |i: &usize| indent(lines[*i]) == depth && lines[*i].trim_start().starts_with('}');
    (first..lines.len()).find(closes).map_or(lines.len(), |i| i + 1)
}

#[test]
fn panics_are_found_where_they_are() {
    let text = "fn a() {\n    x.unwrap();\n    // proof: set above.\n    y.expect(\"y\");\n}\n#[cfg(test)]\nmod tests {\n    z.unwrap();\n}\nfn b() {\n    w.unwrap(); // why: never\n    // w.unwrap()\n    panic!()\n}\n";
    assert_eq!(panics(text), [2, 13]);
}
