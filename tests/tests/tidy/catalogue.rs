//! Every job kind of the catalogue has its page, its scenario in the simulator and its wire vector; and the bytes
//! that are signed for a kind stay what they are.

use serde::Deserialize;
use tacit_governance::ColumnKind;
use tacit_jobs::{CATALOG, ColumnKinds};
use tacit_tests::repo;
use tacit_types::Lang;

/// A wire vector: what a person writes, and the canonical bytes that are signed for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    kind: String,
    /// Columns that every provider has, with their kinds.
    columns: std::collections::BTreeMap<String, ColumnKind>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    written: serde_json::Value,
    params_hex: String,
    /// What the job may open: name, audience, numbers at most.
    disclosures: Vec<(String, String, u64)>,
    /// Columns with the use of each.
    uses: Vec<(String, String)>,
}

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
        let vector: Vector = serde_json::from_str(&repo::text(path.as_ref())).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(vector.kind, kind.id());
        assert!(!vector.cases.is_empty(), "{path} has no case");
        let columns: ColumnKinds = vector.columns.into_iter().collect();
        for case in vector.cases {
            let params = kind.params(case.written, &columns).unwrap_or_else(|f| panic!("{path}, {}: {f}", case.name));
            let plan = kind
                .plan(&params, &tacit_jobs::Parts::default())
                .unwrap_or_else(|f| panic!("{path}, {}: {f}", case.name));
            let opened: Vec<(String, String, u64)> = plan
                .disclosures()
                .into_iter()
                .map(|d| (d.what.to_string(), format!("{:?}", d.to).to_lowercase(), d.cells_max))
                .collect();
            let uses: Vec<(String, String)> = plan
                .facts(&tacit_types::NodeId([0; 32]))
                .uses
                .into_iter()
                .map(|(c, u)| (c, format!("{u:?}").to_lowercase()))
                .collect();
            assert_eq!(hex::encode(&params), case.params_hex, "{path}, {}", case.name);
            assert_eq!(opened, case.disclosures, "{path}, {}", case.name);
            assert_eq!(uses, case.uses, "{path}, {}", case.name);
            let mut longer = params.clone();
            longer.push(0);
            assert!(
                kind.plan(&longer, &tacit_jobs::Parts::default()).is_err(),
                "{path}, {}: a trailing byte is refused",
                case.name
            );
        }
    }
}

#[test]
fn the_template_of_every_kind_is_a_job_that_can_be_planned() {
    let columns = ColumnKinds::from([("amount".to_owned(), ColumnKind::Float), ("age".to_owned(), ColumnKind::Int)]);
    for kind in CATALOG {
        // Most templates begin inside `[params]`; what is in them is what the tool reads.
        let template: toml::Table = kind.template().parse().unwrap_or_else(|e| panic!("{}: {e}", kind.id()));
        let params = serde_json::to_value(&template["params"]).expect("TOML is JSON");
        let params = kind.params(params, &columns).unwrap_or_else(|f| panic!("{}: {f}", kind.id()));
        assert!(kind.plan(&params, &tacit_jobs::Parts::default()).is_ok(), "{}", kind.id());
    }
}
