//! Every job kind of the catalogue has its page, its scenario in the simulator and its wire vector; and the bytes
//! that are signed for a kind stay what they are.

use serde::Deserialize;
use tacit_governance::{AttachmentRef, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::{CATALOG, ColumnKinds, Draft, Parts};
use tacit_tests::repo;
use tacit_types::{DatasetVersionId, Hash, Lang, ModelVersionId, Name, NodeId};

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
    /// Who has models, and whether somebody deals; a part each and nobody where it is not said.
    #[serde(default)]
    roles: Roles,
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

/// Who has models, and whether somebody deals.
#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub enum Roles {
    /// Each provider has a model, and nobody deals.
    #[default]
    Split,
    /// The same with a dealer.
    Dealt,
    /// The first provider has the one model, over features that all have between them; with a dealer.
    Private,
    /// Nobody has a model; with a dealer.
    Rule,
}

impl Roles {
    /// Those of a job file: by its dealer and the models that it names.
    pub fn of(dealer: bool, models: usize) -> Self {
        match (dealer, models) {
            (false, _) => Roles::Split,
            (true, 0) => Roles::Rule,
            (true, 1) => Roles::Private,
            (true, _) => Roles::Dealt,
        }
    }
}

/// Two providers, each with these columns and a model over those of real numbers, and a list of two keys: what any kind
/// may be written with.
pub struct Writing {
    pub draft: Draft,
    providers: Vec<ProviderRef>,
    models: Vec<ModelRef>,
    attachments: Vec<AttachmentRef>,
}

/// The first provider.
pub const OWNER: NodeId = NodeId([1; 32]);

impl Writing {
    pub fn new(columns: &ColumnKinds) -> Self {
        let owners = [("bank", OWNER), ("telecom", NodeId([2; 32]))];
        let features = columns.iter().filter(|(_, kind)| **kind == ColumnKind::Float).map(|(name, _)| name.clone());
        let features: Vec<String> = features.collect();
        let model = |owner| {
            let descriptor = ModelDescriptor {
                format: 1,
                owner,
                name: Name::new("credit").expect("a name"),
                version: 1,
                family: ModelFamily::Linear,
                features: features.clone(),
                commitment: Hash([0; 32]),
            };
            (ModelRef { owner, model: ModelVersionId([1; 32]) }, descriptor)
        };
        let provider = |name: &str, owner| DraftProvider { name: name.to_owned(), owner, columns: columns.clone() };
        let draft = Draft {
            providers: owners.map(|(name, owner)| provider(name, owner)).to_vec(),
            models: owners.map(|(_, owner)| model(owner)).to_vec(),
            dealer: None,
            keys: Some(2),
        };
        let named = |(_, owner)| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let hash = Hash([0; 32]);
        Self {
            providers: owners.map(named).to_vec(),
            models: draft.models.iter().map(|(at, _)| at.clone()).collect(),
            attachments: vec![AttachmentRef { name: "keys".into(), plain: hash, sealed: hash, bytes: 9 }],
            draft,
        }
    }

    /// The same in other roles.
    pub fn with(columns: &ColumnKinds, roles: Roles) -> Self {
        let mut this = Self::new(columns);
        let models = match roles {
            Roles::Split | Roles::Dealt => this.models.len(),
            Roles::Private => 1,
            Roles::Rule => 0,
        };
        this.draft.models.truncate(models);
        this.models.truncate(models);
        this.draft.dealer = (!matches!(roles, Roles::Split)).then_some(NodeId([3; 32]));
        if matches!(roles, Roles::Private) {
            let numbers = columns.iter().filter(|(_, kind)| **kind == ColumnKind::Float);
            for (i, (name, _)) in numbers.enumerate() {
                this.draft.providers[i % 2].columns.remove(name);
            }
        }
        this
    }

    pub fn parts(&self) -> Parts<'_> {
        Parts {
            providers: &self.providers,
            models: &self.models,
            dealer: self.draft.dealer,
            attachments: &self.attachments,
        }
    }
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
            let mut writing = Writing::with(&columns, case.roles);
            if case.written.get("features").is_some() {
                // Whose each feature is, is written out and does not follow from who has which columns.
                writing.draft.providers.iter_mut().for_each(|provider| provider.columns = columns.clone());
            }
            let fault = |f: tacit_types::Fault| -> ! { panic!("{path}, {}: {f}", case.name) };
            let params = kind.draft(case.written.clone(), &writing.draft).unwrap_or_else(|f| fault(f));
            let plan = kind.plan(&params, &writing.parts()).unwrap_or_else(|f| fault(f));
            let opened: Vec<(String, String, u64)> = plan
                .disclosures()
                .into_iter()
                .map(|d| (d.what.to_string(), format!("{:?}", d.to).to_lowercase(), d.cells_max))
                .collect();
            let uses: Vec<(String, String)> =
                plan.facts(&OWNER).uses.into_iter().map(|(c, u)| (c, format!("{u:?}").to_lowercase())).collect();
            assert_eq!(hex::encode(&params), case.params_hex, "{path}, {}", case.name);
            assert_eq!(opened, case.disclosures, "{path}, {}", case.name);
            assert_eq!(uses, case.uses, "{path}, {}", case.name);
            let mut longer = params.clone();
            longer.push(0);
            let refused = kind.plan(&longer, &writing.parts()).is_err();
            assert!(refused, "{path}, {}: a trailing byte is refused", case.name);
        }
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
        let writing = Writing::with(&columns, Roles::of(template.contains_key("dealer"), models));
        let params = serde_json::to_value(&template["params"]).expect("TOML is JSON");
        let params = kind.draft(params, &writing.draft).unwrap_or_else(|f| panic!("{}: {f}", kind.id()));
        assert!(kind.plan(&params, &writing.parts()).is_ok(), "{}", kind.id());
    }
}
