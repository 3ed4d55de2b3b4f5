//! Every place of every kind's parameters, changed in every way, alone and in pairs, under a contract that allows what the
//! unchanged job asks for and nothing else. Every owner of the job decides. What is admitted asks for no more: no other
//! column and no other use of one, no more rows, no finer score, no more of a budget, and lists that are brought together no wider.
//!
//! Places whose changes are another question within the same terms stand in [`FREE`]; any other change that is admitted fails.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Decoder;
use serde_json::{Value, json};
use tacit_crypto::{SealPublic, Secret, SigningKey, Statement};
use tacit_governance::contract::{Cohort, ColumnGrant, DatasetGrant, Quota};
use tacit_governance::{
    AlignFacts, AlignTerms, Aligned, ColumnInfo, Contract, ContractParty, DatasetDescriptor, Feeds, JobFacts, JobSpec,
    Ledger, Level, LookupTerms, MatchesShown, ModelDescriptor, ModelGrant, OnlineFacts, OnlineTerms, Precision,
    PrivacyCost, PrivacyLedger, PrivacyTerms, Request, Role, ScoringTerms, SignedContract, User, judge,
};
use tacit_jobs::review::{self, Roles, Writing};
use tacit_jobs::{CATALOG, Kind, Parts, Plan};
use tacit_types::{Code, DatasetVersionId, Fault, Hash, JobId, Name, NodeId, UnixMillis};

mod tree;

use tree::{Change, Item};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const PURPOSE: &str = "tests";

/// Where a change asks another question within the same terms, by kind; a pattern ends with `*` for everything below it.
const FREE: &[(&str, &str, &str)] = &[
    ("align/v1", "2", "how it is done; who learns what is the level"),
    ("align/v1", "4[]*", "by which of the granted keys"),
    ("align/v1", "6", "lists that must be longer"),
    ("align/v1", "7", "to which size lists are padded"),
    ("align/v1", "8", "fewer days"),
    ("count/v1", "1*", "another filter over granted columns"),
    ("cross-stats/v1", "2", "rows at the most, held to the dataset's own"),
    ("cross-stats/v1", "3[].2*", "fewer columns, other bounds"),
    ("lookup/v1", "1.4[]*", "by which of the granted keys"),
    ("lookup/v1", "1.6", "lists that must be longer"),
    ("lookup/v1", "1.7", "fewer queries"),
    ("lookup/v1", "1.8", "fewer days"),
    ("lookup/v1", "2", "a key that is replaced sooner"),
    ("match-count/v1", "4[]*", "by which of the granted keys"),
    ("match-count/v1", "6", "lists that must be longer"),
    ("match-count/v1", "7", "to which size lists are padded"),
    ("match-count/v1", "9", "below which number the asker wants to hear nothing: no contract states it"),
    ("match-count/v1", "10*", "groups of a column that may form groups"),
    ("score-linear/v1", "2", "fewer rows"),
    ("score-linear/v1", "3[].3*", "fewer features"),
    ("score-linear/v1", "3[].4*", "the range that a feature is held to"),
    ("score-linear/v1", "4*", "where the bands are"),
    ("score-linear/v1", "5", "less of unknown keys"),
    ("score-linear/v1", "6", "the link, which changes no order"),
    ("score-linear/v1", "7*", "the bound of a sum"),
    ("score-linear/v1", "8*", "how near it is computed"),
    ("score-linear/v1", "9.*", "a window that is shorter or slower"),
    ("score-linear/v1", "10", "how many deals are audited, where it is verified"),
    ("score-network/v1", "1.2", "fewer rows"),
    ("score-network/v1", "1.3[].4*", "the range that a feature is held to"),
    ("score-network/v1", "1.4*", "where the bands are"),
    ("score-network/v1", "1.5", "less of unknown keys"),
    ("score-network/v1", "1.6", "the link, which changes no order"),
    ("score-network/v1", "1.7*", "the bound of a sum"),
    ("score-network/v1", "1.8*", "how near it is computed"),
    ("score-network/v1", "2*", "the size of layers, of a model that is granted by its hash"),
    ("score-trees/v1", "1.2", "fewer rows"),
    ("score-trees/v1", "1.3[].3*", "fewer features"),
    ("score-trees/v1", "1.3[].5*", "the words that a feature may have"),
    ("score-trees/v1", "1.4*", "where the bands are, and less precision"),
    ("score-trees/v1", "1.5", "less of unknown keys"),
    ("score-trees/v1", "1.6", "the link, which changes no order"),
    ("score-trees/v1", "1.7*", "the bound of a sum"),
    ("score-trees/v1", "1.8*", "how near it is computed"),
    ("score-trees/v1", "2", "the number of trees, of a model that is granted by its hash"),
    ("score-trees/v1", "3", "how deep trees are, of a model that is granted by its hash"),
    ("score-trees/v1", "5", "the outputs of a leaf, of a model that is granted by its hash"),
    ("stats/v1", "1*", "other groups of a column that may form groups"),
    ("stats/v1", "2*", "other statistics of a column that may be summed"),
    ("stats/v1", "3*", "other bins of it"),
    ("stats/v1", "4*", "other quantiles of it"),
    ("stats/v1", "5*", "other products of such columns"),
    ("stats/v1", "6*", "another filter over granted columns"),
    ("stats/v1", "7", "rows at the most, held to the dataset's own"),
    ("stats/v1", "9*", "less of the budget"),
    ("verify/v1", "1.2", "fewer rows"),
    ("verify/v1", "1.3[].3*", "fewer features"),
    ("verify/v1", "1.3[].4*", "the range that a feature is held to"),
    ("verify/v1", "1.4*", "where the bands are"),
    ("verify/v1", "1.5", "less of unknown keys"),
    ("verify/v1", "1.7*", "the bound of a sum"),
    ("verify/v1", "2*", "another rule over granted columns, with the same answer: yes or no"),
];

/// The keys of a window come with its calls and not with the job.
const WINDOW: &str = "a window";

/// Jobs beside the vectors, for what these do not have: noise, a window, scores that are verified.
fn more() -> Vec<(&'static str, &'static str, Roles, Value)> {
    let noisy = json!({"measures": [{"column": "age", "statistics": ["sum"], "bound": "64"}],
        "privacy": {"epsilon": "0.5", "delta": "0.000001"}});
    let window = json!({"key": "id", "online": {"recipient": "99".repeat(32), "rows": 100, "rows_per_second": 10, "seconds": 60}});
    let verified = json!({"mode": "private", "key": "id",
        "ranges": {"x": ["-3", "5"], "y": ["0", "1.5"]}, "bound": "64", "verified": true});
    vec![
        ("stats/v1", "noise", Roles::Split, noisy),
        ("score-linear/v1", WINDOW, Roles::Split, window),
        ("score-linear/v1", "verified", Roles::Private, verified),
    ]
}

/// Keys in the order of their ids, so that what stands in that order still does.
fn keys() -> Vec<SigningKey> {
    let mut keys: Vec<SigningKey> = (1..=9).map(|n| SigningKey::from_seed(&Secret::new([n; 32]))).collect();
    keys.sort_by_key(SigningKey::id);
    keys
}

fn key(id: &NodeId) -> SigningKey {
    keys().into_iter().find(|key| key.id() == *id).expect("one of the keys")
}

/// The id for which a vector writes thirty-two equal bytes; other bytes stay.
fn named(bytes: &[u8]) -> Option<NodeId> {
    let n = *bytes.first()?;
    let place = if n == 0x99 { 7 } else { usize::from(n).checked_sub(1).filter(|n| *n < 7)? };
    (bytes.len() == 32 && bytes.iter().all(|b| *b == n)).then(|| keys()[place].id())
}

/// A job of a vector under a contract of its own.
struct Base {
    kind: &'static dyn Kind,
    name: String,
    tree: Item,
    spec: JobSpec,
    contract: SignedContract,
    datasets: BTreeMap<NodeId, DatasetDescriptor>,
    models: Vec<(NodeId, tacit_types::ModelVersionId, ModelDescriptor)>,
    facts: BTreeMap<NodeId, JobFacts>,
    align: Option<AlignFacts>,
    online: Option<OnlineFacts>,
}

fn plan(kind: &dyn Kind, spec: &JobSpec) -> Result<Box<dyn Plan>, Fault> {
    kind.plan(&spec.params, &Parts::of(spec))
}

impl Base {
    fn all() -> Vec<Base> {
        let mut all = Vec::new();
        for kind in CATALOG {
            let vectors = review::vectors(kind.id()).unwrap();
            for case in &vectors.cases {
                let writing = Writing::with(&vectors.columns, case.roles).unwrap();
                let bytes: Vec<u8> = (0..case.params_hex.len() / 2)
                    .map(|i| u8::from_str_radix(&case.params_hex[2 * i..2 * i + 2], 16).unwrap())
                    .collect();
                let tree = Item::read(&mut Decoder::new(&bytes));
                assert_eq!(tree.bytes(), bytes, "{}", case.name);
                all.push(Self::new(*kind, &case.name, tree.signable(), &writing, &vectors.columns));
            }
            for (_, name, roles, written) in more().into_iter().filter(|(id, ..)| *id == kind.id()) {
                let writing = Writing::with(&vectors.columns, roles).unwrap();
                let bytes = kind.draft(written, &writing.draft).unwrap_or_else(|fault| panic!("{name}: {fault}"));
                let tree = Item::read(&mut Decoder::new(&bytes));
                all.push(Self::new(*kind, name, tree.signable(), &writing, &vectors.columns));
            }
        }
        all
    }

    fn new(
        kind: &'static dyn Kind,
        name: &str,
        tree: Item,
        writing: &Writing,
        columns: &tacit_jobs::ColumnKinds,
    ) -> Self {
        let parts = writing.parts();
        let id = |old: &NodeId| named(&old.0).unwrap();
        let mut spec = JobSpec {
            version: 1,
            kind: kind.id().into(),
            params: tree.bytes(),
            contracts: Vec::new(),
            providers: parts.providers.to_vec(),
            purpose: PURPOSE.into(),
            recipient: SealPublic([7; 32]),
            cohort: Cohort { rows: 10, contributors: 2 },
            nonce: vec![0; 16],
            created_at: UnixMillis(NOW.0 - 1),
            expires_at: UnixMillis(NOW.0 + 1),
            attempt_ms: 1000,
            models: parts.models.to_vec(),
            dealer: parts.dealer.as_ref().map(id),
            asker: None,
            attachments: parts.attachments.to_vec(),
        };
        spec.providers.iter_mut().for_each(|p| p.owner = id(&p.owner));
        spec.models.iter_mut().for_each(|m| m.owner = id(&m.owner));
        if name == WINDOW {
            spec.attachments.clear();
        }
        // Vectors are written for two; of sums there must be three.
        if ["stats/v1", "count/v1"].contains(&kind.id()) {
            let third = spec.providers[0].clone();
            spec.providers.push(tacit_governance::ProviderRef { owner: keys()[3].id(), ..third });
        }
        let planned = plan(kind, &spec).unwrap_or_else(|fault| panic!("{}, {name}: {fault}", kind.id()));
        let (online, align, feeds) = (planned.online(), planned.aligns(), planned.feeds());
        spec.asker = online.map(|o| o.recipient);
        // A vector is written with all that any kind may be written with.
        if planned.facts(&spec.providers[0].owner).score.is_none() {
            (spec.models, spec.attachments) = (Vec::new(), Vec::new());
            spec.dealer = spec.dealer.filter(|_| matches!(feeds, Feeds::Shares { .. }));
        }
        let planned = plan(kind, &spec).unwrap_or_else(|fault| panic!("{}, {name}: {fault}", kind.id()));
        // Statistics over what was aligned are of these owners alone.
        let owners: Vec<NodeId> = spec.providers.iter().map(|p| p.owner).collect();
        let facts: BTreeMap<NodeId, JobFacts> = owners.iter().map(|o| (*o, planned.facts(o))).collect();
        let (mut parties, mut datasets) = (Vec::new(), BTreeMap::new());
        let party = |root, role| ContractParty { name: Name::new("party").unwrap(), root, role };
        let granted = |owner: &NodeId| {
            let mut columns: BTreeMap<String, Vec<Level>> = BTreeMap::new();
            for (column, usage) in &facts[owner].uses {
                columns.entry(column.clone()).or_default().push(usage.needs());
            }
            // A grant has a column, also where the job touches none of this owner's.
            columns.entry("unused".into()).or_default();
            columns.into_iter().map(|(name, levels)| ColumnGrant { name, levels }).collect::<Vec<_>>()
        };
        let mut grants = Vec::new();
        for provider in &spec.providers {
            parties.push(party(provider.owner, Role::Provider));
            let (owner, dataset, views) = (provider.owner, provider.dataset, vec![provider.view.clone()]);
            grants.push(DatasetGrant { owner, dataset, views: views.clone(), columns: granted(&owner) });
            // The owner itself would allow anything: what refuses is the contract.
            let names = columns.keys().cloned().chain(["secret".into(), "unused".into()]);
            let kind_of = |name: &String| columns.get(name).copied().unwrap_or(tacit_governance::ColumnKind::Float);
            let info = |name: String| ColumnInfo { kind: kind_of(&name), name, levels: Level::ALL.to_vec() };
            let aligned = match feeds {
                Feeds::Rows => None,
                Feeds::Shares { alignment } | Feeds::Found { alignment } => Some((alignment, feeds)),
            };
            let aligned = aligned.map(|(job, feeds)| aligned_by(job, feeds, &owners));
            let descriptor = DatasetDescriptor {
                format: 1,
                owner,
                name: Name::new("rows").unwrap(),
                version: 1,
                columns: names.map(info).collect(),
                row_bucket: 1,
                commitment: Hash([0; 32]),
                views,
                aligned,
                terms: None,
            };
            datasets.insert(owner, descriptor);
        }
        for owner in spec.models.iter().map(|m| m.owner) {
            if !parties.iter().any(|p: &ContractParty| p.root == owner) {
                parties.push(party(owner, Role::Provider));
            }
        }
        parties.extend(spec.dealer.map(|root| party(root, Role::Dealer)));
        let demander = online.map_or_else(|| keys()[7].id(), |o| o.recipient);
        parties.push(party(demander, Role::Demander));
        let any = facts.values().next().unwrap();
        let rows = facts.values().filter_map(|f| f.score).map(|s| s.rows).max().unwrap_or(1);
        let scoring = any.score.map(|s| ScoringTerms {
            rows,
            rows_per_job: rows,
            precision: s.precision,
            // Of edges too: where it is of rounded scores that a contract says it.
            decimals: s.decimals.filter(|_| s.precision == Precision::Rounded),
            unknown: Some(s.unknown),
            verified: s.verified,
            online: online.map(|o| OnlineTerms { rows_per_window: o.rows, rows_per_second: o.rows_per_second }),
            distinct: None,
        });
        let alignment = align.as_ref().map(|a| AlignTerms {
            levels: vec![a.level],
            learners: a.learners.clone(),
            keys_min: a.keys_min,
            padded: a.padded.is_some(),
            keep_days: a.keep_days.max(1),
            repeat: None,
            lookup: a.lookup.map(|l| LookupTerms {
                per_job: l.queries,
                queries: l.queries,
                days: 30,
                epoch_days: l.epoch_days,
            }),
            matches: MatchesShown::Never,
            each_list: false,
            recipients_with_columns: Vec::new(),
        });
        let contract = Contract {
            version: 1,
            name: Name::new("exactly").unwrap(),
            parties,
            datasets: grants,
            kinds: vec![kind.id().into()],
            purpose: PURPOSE.into(),
            recipients: vec![SealPublic([7; 32])],
            operators: vec![demander],
            users: vec![User { root: demander, node: demander, seal: SealPublic([7; 32]) }],
            cohort: spec.cohort,
            quota: Quota { jobs: 1 },
            valid_from: UnixMillis(NOW.0 - 10),
            valid_until: UnixMillis(NOW.0 + 10),
            models: spec.models.iter().map(|m| ModelGrant { owner: m.owner, model: m.model }).collect(),
            scoring,
            alignment,
            checked: any.checked == Some(true),
            privacy: any.privacy.map(|cost| PrivacyTerms {
                budget: cost,
                job_epsilon_micro: cost.epsilon_micro,
                only: true,
            }),
            exact: None,
            price_plan: None,
            control: None,
            lifecycle: None,
        };
        assert_eq!(contract.faults(), Vec::<String>::new(), "{}, {name}", kind.id());
        spec.contracts = vec![contract.id()];
        let mut signed = SignedContract::draft(contract.clone());
        contract.signers().for_each(|p| drop(signed.sign(&key(&p.root), NOW).unwrap()));
        let models = writing.draft.models.iter().map(|(at, descriptor)| {
            let owner = id(&at.owner);
            (
                owner,
                at.model,
                ModelDescriptor {
                    owner,
                    family: any.score.map_or(descriptor.family, |s| s.family),
                    ..descriptor.clone()
                },
            )
        });
        let models = models.collect();
        Self { kind, name: name.to_owned(), tree, spec, contract: signed, datasets, models, facts, align, online }
    }

    /// What each owner of data says to the job with these parameters; the first refusal.
    fn decide(&self, params: Vec<u8>) -> Result<(), Code> {
        let spec = JobSpec { params, ..self.spec.clone() };
        let operator = key(&self.contract.body().operators[0]);
        let job = Statement::sign(&operator, "job", NOW, None, spec);
        let planned = plan(self.kind, job.body());
        for (owner, dataset) in &self.datasets {
            let request = Request {
                job: &job,
                facts: planned.as_ref().map(|p| p.facts(owner)).map_err(Clone::clone),
                online: planned.as_ref().ok().and_then(|p| p.online()),
                align: planned.as_ref().ok().and_then(|p| p.aligns()),
                feeds: planned.as_ref().map(|p| p.feeds()).unwrap_or_default(),
                rerun: |_| Vec::new(),
                now: NOW,
            };
            let models: Vec<_> =
                self.models.iter().filter(|(o, ..)| o == owner).map(|(_, id, m)| (*id, m.clone())).collect();
            let ledger = Ledger {
                owner: *owner,
                contracts: core::slice::from_ref(&self.contract),
                revoked: &[],
                dataset: Some(dataset),
                sources: &[],
                models: &models,
                orders: &[],
                jobs_used: &|_| 0,
                rows_used: &|_| 0,
                privacy: PrivacyLedger { spent: &|_| PrivacyCost::default(), asked: &|_| None },
                consumed: false,
                priced: &|_, _| false,
                speaker: &|key| Some(*key),
                unkept: None,
                high_water: NOW,
                coordinator: keys()[8].id(),
                site: None,
            };
            judge(&request, &ledger).decision.map_err(|fault| fault.code)?;
        }
        Ok(())
    }

    /// What a job that is admitted asks for beyond the unchanged one, by what it says itself.
    fn wider(&self, params: Vec<u8>) -> Option<String> {
        let spec = JobSpec { params, ..self.spec.clone() };
        let planned = plan(self.kind, &spec).unwrap();
        for (owner, before) in &self.facts {
            let facts = planned.facts(owner);
            if let Some(more) = facts.uses.iter().find(|usage| !before.uses.contains(usage)) {
                return Some(format!("uses {more:?}"));
            }
            match (before.score, facts.score) {
                (None, None) => {}
                (Some(a), Some(b))
                    if b.rows <= a.rows
                        && b.precision <= a.precision
                        && (a.precision != Precision::Rounded || b.decimals <= a.decimals)
                        && b.unknown <= a.unknown
                        && (b.verified || !a.verified)
                        && b.family == a.family => {}
                (_, b) => return Some(format!("scores {b:?}")),
            }
            match (before.privacy, facts.privacy) {
                (Some(a), Some(b)) if b.within(a) => {}
                (None, _) => {}
                (_, b) => return Some(format!("costs {b:?}")),
            }
            if before.checked == Some(true) && facts.checked != Some(true) {
                return Some("is not checked".into());
            }
        }
        match (&self.align, planned.aligns()) {
            (None, None) => {}
            (Some(a), Some(b))
                if b.level == a.level
                    && b.learners.iter().all(|l| a.learners.contains(l))
                    && b.keys_min >= a.keys_min
                    && (b.padded.is_some() || a.padded.is_none())
                    && b.keep_days <= a.keep_days.max(1)
                    && b.lookup.map(|l| l.queries) <= a.lookup.map(|l| l.queries) => {}
            (_, b) => return Some(format!("brings together {b:?}")),
        }
        match (self.online, planned.online()) {
            (None, None) => None,
            (Some(a), Some(b))
                if b.recipient == a.recipient && b.rows <= a.rows && b.rows_per_second <= a.rows_per_second =>
            {
                None
            }
            (_, b) => Some(format!("opens {b:?}")),
        }
    }

    /// The place of a change by kind, each place of a list as `[]`.
    fn place(&self, path: &[u64]) -> String {
        let mut tree = self.tree.clone();
        let mut text = String::new();
        for (i, step) in path.iter().enumerate() {
            match tree.at(&path[..i]) {
                Some(Item::Array(_)) => text.push_str("[]"),
                _ if text.is_empty() => text.push_str(&step.to_string()),
                _ => text.push_str(&format!(".{step}")),
            }
        }
        text
    }

    /// The row of a place at which changes are free.
    fn free(&self, path: &[u64]) -> Option<usize> {
        let place = self.place(path);
        let covers =
            |pattern: &str| pattern.strip_suffix('*').map_or(pattern == place, |under| place.starts_with(under));
        FREE.iter().position(|(kind, pattern, _)| *kind == self.kind.id() && covers(pattern))
    }

    fn says(&self, change: &Change) -> String {
        format!("{} `{}` {} {:?}", self.kind.id(), self.name, self.place(&change.path), change.becomes)
    }

    fn changes(&self) -> Vec<Change> {
        let mut tree = self.tree.clone();
        let places = tree.places();
        let columns: BTreeSet<&String> = self.facts.values().flat_map(|f| f.uses.iter().map(|(c, _)| c)).collect();
        let columns: Vec<String> = columns.into_iter().cloned().collect();
        places.iter().flat_map(|path| Change::of(&mut tree, path, &columns)).collect()
    }

    fn with(&self, changes: &[&Change]) -> Vec<u8> {
        let mut tree = self.tree.clone();
        changes.iter().for_each(|change| change.make(&mut tree));
        tree.bytes()
    }
}

fn aligned_by(job: JobId, feeds: Feeds, owners: &[NodeId]) -> Aligned {
    let level = match feeds {
        Feeds::Shares { .. } => tacit_governance::AlignLevel::Spine,
        _ => tacit_governance::AlignLevel::Both,
    };
    let mut parties = owners.to_vec();
    parties.sort();
    Aligned { job, parties, level, base: DatasetVersionId([4; 32]), expires: UnixMillis(NOW.0 + 100) }
}

/// Refusals of what is no good whatever a contract says; of a dataset, where a range has no room for a value.
const UNSOUND: &[Code] = &[Code::RefusedParameters, Code::RefusedOverflow, Code::ModelPrecision, Code::RefusedDataset];
/// Refusals of what goes beyond the contract.
const BEYOND: &[Code] = &[
    Code::RefusedColumn,
    Code::RefusedLevel,
    Code::RefusedPrecision,
    Code::RefusedUnverified,
    Code::RefusedUnchecked,
    Code::RefusedUnprivate,
    Code::RefusedBudget,
    Code::RefusedQuota,
    Code::RefusedOnline,
    Code::RefusedAlignment,
];

#[test]
fn each_change_of_a_parameter_is_refused_or_asks_for_no_more() {
    let (mut wrong, mut codes) = (Vec::new(), BTreeMap::<Code, u32>::new());
    let (mut admitted, mut used) = (0, BTreeSet::new());
    for base in Base::all() {
        assert_eq!(base.decide(base.tree.bytes()), Ok(()), "{}: {}", base.kind.id(), base.name);
        for change in base.changes() {
            let params = base.with(&[&change]);
            if params == base.tree.bytes() {
                continue;
            }
            let free = base.free(&change.path);
            match base.decide(params.clone()) {
                Err(code) => *codes.entry(code).or_default() += 1,
                Ok(()) => {
                    admitted += 1;
                    used.extend(free);
                    let why = base.wider(params).or_else(|| free.is_none().then(|| "was admitted".into()));
                    wrong.extend(why.map(|why| format!("{}: {why}", base.says(&change))));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<_> = (0..FREE.len()).filter(|i| !used.contains(i)).map(|i| FREE[i]).collect();
    assert!(unused.is_empty(), "nothing is admitted there: {unused:?}");
    // Each rule over parameters has something to refuse, and no other refuses.
    let all: BTreeSet<Code> = UNSOUND.iter().chain(BEYOND).copied().collect();
    assert_eq!(codes.keys().copied().collect::<BTreeSet<_>>(), all);
    assert!(admitted > 400 && codes.values().sum::<u32>() > 2_000, "{admitted} {codes:?}");
}

/// Of all pairs of changes one in so many is made.
const SHARE: usize = 17;

#[test]
fn no_second_change_of_a_parameter_makes_up_for_one_that_is_refused() {
    let (mut wrong, mut pairs) = (Vec::new(), 0_u32);
    for base in Base::all() {
        let changes = base.changes();
        let alone: Vec<Result<(), Code>> = changes.iter().map(|c| base.decide(base.with(&[c]))).collect();
        for (i, first) in changes.iter().enumerate() {
            for (j, second) in changes.iter().enumerate().skip(i + 1).filter(|(j, _)| (i + j) % SHARE == 0) {
                // One that lies in what the other replaces, or after what the other takes out of a list, is not there any more.
                let moves = |a: &Change, b: &Change| {
                    let above = &a.path[..a.path.len() - usize::from(a.becomes.is_none())];
                    b.path.starts_with(above)
                };
                if moves(first, second) || moves(second, first) {
                    continue;
                }
                pairs += 1;
                let params = base.with(&[first, second]);
                if base.decide(params.clone()).is_err() {
                    continue;
                }
                // Two that are no good alone may be good together: then they ask for no more.
                let both = [(first, &alone[i]), (second, &alone[j])];
                let barred = both.iter().find(|(_, alone)| matches!(alone, Err(code) if BEYOND.contains(code)));
                let why = barred.map(|(c, _)| format!("{} was refused alone", base.says(c)));
                wrong.extend(
                    why.or_else(|| base.wider(params))
                        .map(|why| format!("{} and {}: {why}", base.says(first), base.says(second))),
                );
            }
        }
    }
    wrong.truncate(40);
    assert!(wrong.is_empty(), "of {pairs}:\n{}", wrong.join("\n"));
    assert!(pairs > 10_000, "{pairs}");
}
