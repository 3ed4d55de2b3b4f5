//! Pages say what is true: links lead somewhere, samples parse with the real parsers, and what is written from the
//! code is as the code has it.

use std::path::{Path, PathBuf};

use tacit_governance::ColumnKind;
use tacit_jobs::ColumnKinds;
use tacit_jobs::review::{Roles, Writing};
use tacit_tests::{pages, repo};

fn documents() -> Vec<PathBuf> {
    repo::with_extension("", "md")
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut links = 0;
    for path in documents() {
        for target in targets(&repo::text(&path)) {
            if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
                continue;
            }
            let file = target.split('#').next().unwrap_or_default();
            let from = repo::root().join(path.parent().unwrap_or(Path::new("")));
            assert!(from.join(file).exists(), "{}: {target} leads nowhere", path.display());
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links were found");
}

/// The page on governance names each rule of the decision, in the order in which they are put.
#[test]
fn the_page_on_governance_has_every_rule_in_its_order() {
    let page = repo::text(Path::new("docs/GOVERNANCE.md"));
    let table = page.split("| rules | what they ask |\n|---|---|\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let first = |line: &str| line.trim_start_matches('|').split('|').next().unwrap_or_default().to_owned();
    let named: Vec<String> = table
        .lines()
        .flat_map(|line| first(line).split(',').map(|w| w.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    let put: Vec<&str> = tacit_governance::admission::Rule::ALL.iter().map(|rule| rule.word()).collect();
    assert_eq!(named, put);
}

/// Where a page says which test shows what, the test is there.
#[test]
fn every_test_that_the_page_on_governance_names_is_there() {
    let page = repo::text(Path::new("docs/GOVERNANCE.md"));
    let table = page.split("## What shows it").nth(1).unwrap().split("\n## ").next().unwrap();
    let word = |w: &&str| w.matches('_').count() > 2 && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).filter(word).collect();
    let sources = repo::with_extension("", "rs");
    let sources: String = sources.iter().map(|path| repo::text(path)).collect();
    for name in &named {
        assert!(sources.contains(&format!("fn {name}()")), "`{name}` is no test");
    }
    assert!(named.len() > 30, "only {} tests are named", named.len());
}

/// The pages of the protocols name tests of every crate, with their modules or without, and invariants of the simulator.
#[test]
fn every_test_that_a_page_of_a_protocol_names_is_there() {
    let sources = repo::with_extension("", "rs");
    let sources: String = sources.iter().map(|path| repo::text(path)).collect();
    let mut names = 0;
    for path in repo::with_extension("docs/protocols", "md") {
        for name in tests_named(&repo::text(&path)) {
            let found = sources.contains(&format!("fn {name}()")) || sources.contains(&format!("\"{name}\""));
            assert!(found, "{}: `{name}` is no test and no invariant", path.display());
            names += 1;
        }
    }
    assert!(names > 80, "only {names} tests are named");
}

#[test]
fn the_tests_that_a_page_names_are_found_in_it() {
    let page = "Test: `a_b_c_d`. `cheats::two_roots_of_one`, `Crate::Type`, `max_rows`, `a::B::three_of_the_parts`.\n\
                ```\n`in_a_fence_of_code`\n```\n| a | `tacit-crypto`: `prg::tests::one_two_three_four`, `framed` |";
    let found = ["a_b_c_d", "two_roots_of_one", "three_of_the_parts", "one_two_three_four"];
    assert_eq!(tests_named(page), found);
}

/// What stands between backticks, ends in a name of four words or more, and is no path of a type or of a file.
fn tests_named(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    let code = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    let word = |w: &&str| w.matches('_').count() > 2 && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.filter_map(|path| path.rsplit("::").next()).filter(word).collect()
}

/// A row apart from its table is no row.
#[test]
fn no_row_stands_apart_from_its_table() {
    for path in documents() {
        let page = repo::text(&path);
        let lines: Vec<&str> = page.lines().collect();
        let mut fenced = false;
        for (i, line) in lines.iter().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            let starts = !fenced && line.starts_with("| ") && (i == 0 || !lines[i - 1].starts_with('|'));
            let headed = lines.get(i + 1).is_some_and(|next| next.starts_with("|-") || next.starts_with("| -"));
            assert!(!starts || headed, "{}:{}: a row without a table", path.display(), i + 1);
        }
    }
}

/// The targets of `[text](target)` outside code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Parts between backticks are code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (at, _) in prose.match_indices("](") {
            if let Some(end) = prose[at + 2..].find(')') {
                found.push(prose[at + 2..at + 2 + end].to_owned());
            }
        }
    }
    found
}

#[test]
fn pages_from_the_code_are_as_the_code_has_them() {
    for (name, text) in [("CODES.md", pages::codes()), ("LIMITS.md", pages::limits())] {
        let path = format!("docs/{name}");
        assert!(repo::text(path.as_ref()) == text, "{path} is not as the code has it: run `cargo xtask codes`");
    }
}

#[test]
fn every_sample_configuration_is_read_by_its_own_parser() {
    let mut samples: Vec<(String, String)> = Vec::new();
    for path in documents() {
        let blocks = toml_blocks(&repo::text(&path));
        samples.extend(blocks.into_iter().map(|b| (path.display().to_string(), b)));
    }
    for folder in ["examples", "deploy"] {
        let files = repo::with_extension(folder, "toml");
        samples.extend(files.iter().map(|p| (p.display().to_string(), repo::text(p))));
    }
    assert!(samples.len() >= 5, "only {} samples were found", samples.len());
    for (place, text) in samples {
        check(&place, &text);
    }
}

fn toml_blocks(text: &str) -> Vec<String> {
    let after = text.split("```toml\n").skip(1);
    after.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// A sample begins with a comment that names the file it is a sample of.
fn check(place: &str, text: &str) {
    let first = text.lines().next().unwrap_or_default();
    let of = first.strip_prefix("# ").and_then(|l| l.split([':', ' ', ',']).next()).unwrap_or_default();
    let wrong = |what: &str| -> ! { panic!("{place}, `{first}`: {what}") };
    match of {
        "node.toml" => drop(tacit_node::Config::parse(text).unwrap_or_else(|f| wrong(&f.to_string()))),
        "coordinator.toml" => {
            drop(tacit_coordinator::Config::parse(place, text).unwrap_or_else(|f| wrong(&f.to_string())));
        }
        "job.toml" | "online.toml" => {
            let job: toml::Table = toml::from_str(text).unwrap_or_else(|e| wrong(&e.to_string()));
            let kind = job.get("kind").and_then(toml::Value::as_str).unwrap_or_default();
            let kind = tacit_jobs::kind(kind).unwrap_or_else(|f| wrong(&f.to_string()));
            let given = job.get("params").and_then(toml::Value::as_table).cloned().unwrap_or_default();
            let mut params = serde_json::to_value(&given).expect("TOML is JSON");
            let opens = of == "online.toml";
            if opens {
                // Who publishes fills it in.
                params["online"]["recipient"] = "99".repeat(32).into();
            }
            let ranges = given.get("ranges").and_then(toml::Value::as_table);
            // A private model's features are those with a range; a sample may also say whose columns are whose.
            let ranged = ranges.into_iter().flat_map(|r| r.keys().cloned());
            let owned = given.get("features").and_then(toml::Value::as_table);
            let owned = owned.into_iter().flat_map(|f| f.values().filter_map(toml::Value::as_array)).flatten();
            let named = ranged.chain(owned.filter_map(|v| v.as_str().map(str::to_owned)));
            let mut named: ColumnKinds = named.map(|name| (name, ColumnKind::Float)).collect();
            if named.is_empty() {
                named = columns();
            }
            named.insert("id".to_owned(), ColumnKind::Text);
            // Where none is named they are the contract's: one that is private, or a part each.
            let models = job.get("models").and_then(toml::Value::as_array);
            let models = models.map_or(if ranges.is_some() { 1 } else { 2 }, Vec::len);
            let roles = Roles::of(job.contains_key("dealer"), models);
            let writing = Writing::with(&named, roles).expect("roles");
            let params = kind.draft(params, &writing.draft).unwrap_or_else(|f| wrong(&f.to_string()));
            let mut parts = writing.parts();
            // The keys of a window come with its calls, and an alignment's are at the owners.
            let none = opens || given.contains_key("aligned");
            parts.attachments = if none { &[] } else { parts.attachments };
            assert!(kind.plan(&params, &parts).is_ok(), "{place}");
        }
        // The program's own tests read these, and job files too, with its own parsers.
        "contract.toml" | "control.toml" | "price.toml" | "warn.toml" | "terms.toml" => {
            let _: toml::Table = toml::from_str(text).unwrap_or_else(|e| wrong(&e.to_string()));
        }
        _ => wrong(
            "a sample begins with `# node.toml`, `# coordinator.toml`, `# contract.toml`, `# control.toml`, `# job.toml`, `# price.toml`, `# warn.toml`, `# terms.toml` or `# online.toml`",
        ),
    }
}

/// The columns of the data in `examples/data`, and a key.
fn columns() -> ColumnKinds {
    let table = repo::text("examples/data/hospital-a.csv".as_ref());
    let mut lines = table.lines();
    let head = lines.next().expect("a header").split(',');
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split(',').collect()).collect();
    let read = head
        .enumerate()
        .map(|(i, name)| {
            let all = |f: &dyn Fn(&str) -> bool| rows.iter().all(|r| r.get(i).is_none_or(|v| v.is_empty() || f(v)));
            let kind = match () {
                () if all(&|v| v.parse::<i64>().is_ok()) => ColumnKind::Int,
                () if all(&|v| v.parse::<f64>().is_ok()) => ColumnKind::Float,
                () => ColumnKind::Text,
            };
            (name.to_owned(), kind)
        })
        .collect::<ColumnKinds>();
    read.into_iter().chain([("id".to_owned(), ColumnKind::Text)]).collect()
}
