//! Every library that is linked has a licence under which the product can be given away.

use std::process::Command;

use tacit_tests::repo;

fn allowed() -> Vec<String> {
    let deny: toml::Table = repo::text("deny.toml".as_ref()).parse().expect("deny.toml is TOML");
    let list = deny["licenses"]["allow"].as_array().expect("licenses.allow");
    list.iter().map(|l| l.as_str().expect("a licence is text").to_owned()).collect()
}

/// Whether an SPDX expression can be satisfied with the allowed licences. `/` is the old spelling of OR.
fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    let ok = any(&words, &mut at, allowed);
    ok && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut ok = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        ok |= all(words, at, allowed);
    }
    ok
}

fn all(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut ok = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        ok &= one(words, at, allowed);
    }
    ok
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let ok = any(words, at, allowed);
        *at += 1;
        return ok;
    }
    if words.get(*at) == Some(&"WITH") {
        let whole = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
        return allowed.contains(&whole);
    }
    allowed.iter().any(|a| a == word)
}

#[test]
fn every_library_has_a_licence_of_the_list() {
    let allowed = allowed();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--workspace", "-e", "normal,build,dev", "--prefix", "none", "-f", "{p}|{l}"])
        .current_dir(repo::root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    assert!(tree.lines().count() > 100, "{}", String::from_utf8_lossy(&output.stderr));
    for line in tree.lines().filter(|l| !l.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        let licence = licence.trim_end_matches(" (*)");
        assert!(satisfied(licence, &allowed), "{package} has the licence `{licence}`");
    }
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"].map(str::to_owned);
    for ok in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "ISC AND (GPL-3.0 OR MIT)", "Apache-2.0 WITH LLVM-exception"] {
        assert!(satisfied(ok, &allowed), "{ok}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "GPL-2.0 WITH LLVM-exception", "MIT MIT"]
    {
        assert!(!satisfied(bad, &allowed), "{bad}");
    }
}
