//! Files of test vectors: what a person writes for a kind and what is signed for it, and whole runs over rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tacit_governance::{AttachmentRef, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_types::{DatasetVersionId, Fault, Hash, ModelVersionId, Name, NodeId};

use crate::{ColumnKinds, Draft, DraftProvider, Parts};

/// A file of one kind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vectors {
    /// The kind.
    pub kind: String,
    /// Columns that every provider of a case has, with their kinds.
    pub columns: ColumnKinds,
    /// What is written, and what is signed for it.
    pub cases: Vec<Case>,
    /// Whole runs.
    #[serde(default)]
    pub runs: Vec<Run>,
}

/// What a person writes, and the canonical bytes that are signed for it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Who has models, and whether somebody deals; a part each and nobody where it is not said.
    #[serde(default)]
    pub roles: Roles,
    /// What is written under `[params]`.
    pub written: Value,
    /// The signed bytes.
    pub params_hex: String,
    /// What the job may open: name, audience, numbers at most.
    pub disclosures: Vec<(String, String, u64)>,
    /// Columns with the use of each.
    pub uses: Vec<(String, String)>,
}

/// A run of all seats over rows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// What is written under `[params]`.
    pub written: Value,
    /// Who brings rows, by place.
    pub owners: Vec<Owner>,
    /// The list of keys, where the job has one.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Whether somebody deals.
    #[serde(default)]
    pub dealer: bool,
    /// What stands in the result, by JSON pointer.
    pub expected: BTreeMap<String, Value>,
}

/// An owner of a run.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its rows, by column.
    pub columns: BTreeMap<String, Cells>,
    /// Its model in the layout of linear coefficients, where it has one.
    pub model: Option<Value>,
}

/// A column's values; `null` for none.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cells {
    /// Whole numbers.
    Int(Vec<Option<i64>>),
    /// Real numbers.
    Float(Vec<Option<f64>>),
    /// Texts.
    Text(Vec<Option<String>>),
}

/// Who has models, and whether somebody deals.
#[derive(Serialize, Deserialize, Clone, Copy, Default)]
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
    /// What the job is written with.
    pub draft: Draft,
    providers: Vec<ProviderRef>,
    models: Vec<ModelRef>,
    attachments: Vec<AttachmentRef>,
}

/// The first provider.
pub const OWNER: NodeId = NodeId([1; 32]);

impl Writing {
    fn new(columns: &ColumnKinds) -> Result<Self, Fault> {
        let credit = credit()?;
        let owners = [("bank", OWNER), ("telecom", NodeId([2; 32]))];
        let features = columns.iter().filter(|(_, kind)| **kind == ColumnKind::Float).map(|(name, _)| name.clone());
        let features: Vec<String> = features.collect();
        let model = |owner| {
            let descriptor = ModelDescriptor {
                format: 1,
                owner,
                name: credit.clone(),
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
        Ok(Self {
            providers: owners.map(named).to_vec(),
            models: draft.models.iter().map(|(at, _)| at.clone()).collect(),
            attachments: vec![AttachmentRef { name: "keys".into(), plain: hash, sealed: hash, bytes: 9 }],
            draft,
        })
    }

    /// In these roles.
    ///
    /// # Errors
    /// None that could be: the name of the model is one.
    pub fn with(columns: &ColumnKinds, roles: Roles) -> Result<Self, Fault> {
        let mut this = Self::new(columns)?;
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
                if let Some(provider) = this.draft.providers.get_mut(i % 2) {
                    provider.columns.remove(name);
                }
            }
        }
        Ok(this)
    }

    /// For a case: whose each feature is may be written out and then does not follow from who has which columns.
    fn of(vectors: &Vectors, case: &Case) -> Result<Self, Fault> {
        let mut this = Self::with(&vectors.columns, case.roles)?;
        if case.written.get("features").is_some() {
            this.draft.providers.iter_mut().for_each(|provider| provider.columns = vectors.columns.clone());
        }
        Ok(this)
    }

    /// What the signed job would say of who brings what.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            providers: &self.providers,
            models: &self.models,
            dealer: self.draft.dealer,
            attachments: &self.attachments,
        }
    }
}

/// The name of every model of a vector.
pub(super) fn credit() -> Result<Name, Fault> {
    Name::new("credit")
}

impl Vectors {
    /// What this build signs for a case, may open and touches.
    ///
    /// # Errors
    /// Those of the kind.
    pub fn written(&self, case: &Case) -> Result<Value, Fault> {
        let kind = crate::kind(&self.kind)?;
        let writing = Writing::of(self, case)?;
        let params = kind.draft(case.written.clone(), &writing.draft)?;
        let plan = kind.plan(&params, &writing.parts())?;
        let opened: Vec<(String, String, u64)> = plan
            .disclosures()
            .into_iter()
            .map(|d| (d.what.to_string(), format!("{:?}", d.to).to_lowercase(), d.cells_max))
            .collect();
        let uses: Vec<(String, String)> =
            plan.facts(&OWNER).uses.into_iter().map(|(c, u)| (c, format!("{u:?}").to_lowercase())).collect();
        let hex: String = params.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut longer = params;
        longer.push(0);
        let strict = kind.plan(&longer, &writing.parts()).is_err();
        Ok(json!({"params": hex, "disclosures": opened, "uses": uses, "strict": strict}))
    }
}
