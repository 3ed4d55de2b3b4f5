//! Every job kind of the catalogue has its page, its scenario in the simulator and its wire vector; and the bytes
//! that are signed for a kind stay what they are.

use serde_json::{Value, json};
use tacit_governance::ColumnKind;
use tacit_jobs::CATALOG;
use tacit_jobs::review::{self, Roles, Writing};
use tacit_tests::repo;
use tacit_types::Lang;

/// The file name of a kind's page and vector.
fn file(id: &str) -> String {
    id.replace('/', "-")
}

#[test]
fn every_kind_has_a_page_that_says_what_it_reveals() {
    for kind in CATALOG {
        let path = format!("docs/jobs/{}.md", file(kind.id()));
        let page = repo::text(path.as_ref());
        for part in ["# `", "## What it reveals, and to whom", "## Parameters", "## Units"] {
            assert!(page.contains(part), "{path} has no `{part}`");
        }
        assert!(page.contains(kind.id()), "{path} does not name its kind");
        assert!(!kind.title(Lang::En).is_empty() && !kind.title(Lang::Zh).is_empty());
    }
}

#[test]
fn every_kind_is_run_by_the_simulator() {
    let sources = repo::with_extension("crates/sim/src", "rs");
    for kind in CATALOG {
        let literal = format!("\"{}\"", kind.id());
        assert!(sources.iter().any(|p| repo::text(p).contains(&literal)), "{} has no scenario", kind.id());
    }
}

#[test]
fn what_is_signed_for_a_kind_stays_the_same_bytes() {
    for kind in CATALOG {
        let path = format!("tests/vectors/jobs/{}.json", file(kind.id()));
        let vectors = review::vectors(kind.id()).unwrap_or_else(|f| panic!("{path}: {f}"));
        assert_eq!(vectors.kind, kind.id());
        assert!(!vectors.cases.is_empty(), "{path} has no case");
        for case in &vectors.cases {
            let given = vectors.written(case).unwrap_or_else(|f| panic!("{path}, {}: {f}", case.name));
            assert_eq!(given["params"], json!(case.params_hex), "{path}, {}", case.name);
            assert_eq!(given["disclosures"], json!(case.disclosures), "{path}, {}", case.name);
            assert_eq!(given["uses"], json!(case.uses), "{path}, {}", case.name);
            assert_eq!(given["strict"], json!(true), "{path}, {}: a trailing byte is refused", case.name);
        }
        let file: Value = serde_json::from_str(&repo::text(path.as_ref())).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(
            file["cases"].as_array().map(Vec::len),
            Some(vectors.cases.len()),
            "it is the file that is built in"
        );
    }
}

#[test]
fn the_template_of_every_kind_is_a_job_that_can_be_planned() {
    let named = [("amount", ColumnKind::Float), ("age", ColumnKind::Int), ("id", ColumnKind::Text)];
    let columns = named.map(|(name, kind)| (name.to_owned(), kind)).into();
    for kind in CATALOG {
        // Most templates begin inside `[params]`; what is in them is what the tool reads.
        let template: toml::Table = kind.template().parse().unwrap_or_else(|e| panic!("{}: {e}", kind.id()));
        let models = template.get("models").and_then(toml::Value::as_array).map_or(0, Vec::len);
        let writing = Writing::with(&columns, Roles::of(template.contains_key("dealer"), models)).expect("roles");
        let params = serde_json::to_value(&template["params"]).expect("TOML is JSON");
        let params = kind.draft(params, &writing.draft).unwrap_or_else(|f| panic!("{}: {f}", kind.id()));
        assert!(kind.plan(&params, &writing.parts()).is_ok(), "{}", kind.id());
    }
}
