//! Who takes part in a window, with which rows, and the machines of the seats. Some windows are on shares: a dealer has a
//! seat then, and what comes out is rounded, exactly as the plain score is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tacit_crypto::{Rng, SealKey, Secret, Seed, SigningKey, Transcript};
use tacit_governance::{Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::online::host::Reading;
use tacit_jobs::score::params::{ScoreParams, Unknown};
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_protocol::{Machine, Seating, Setup};
use tacit_types::{
    Attempt, Column, Columns, DatasetVersionId, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat,
};

use crate::dice::Dice;

/// Milliseconds of a step.
pub const STEP_MS: u64 = 3_000;
/// Keys that somebody may have; a call asks for one more.
const KEYS: u64 = 12;

/// An owner's rows: a key and its number, which may be missing.
type Rows = Vec<(String, Option<f64>)>;

/// What a window is over, the same for each of a run.
pub struct Cast {
    /// The rows of each owner, in the order of owners.
    rows: Vec<Rows>,
    /// The owner in each seat; none in the recipient's and in the dealer's.
    owner_at: Vec<Option<usize>>,
    /// Who deals, in a window on shares.
    dealer: Option<NodeId>,
    keys: Vec<Arc<SigningKey>>,
    seating: Seating,
    params: Vec<u8>,
    /// What the recipient runs: its own parameters, when it wants more than the job says.
    greedy: Vec<u8>,
    job: JobId,
    pub seconds: u64,
    pub rows_per_second: u64,
    pub recipient: usize,
}

fn key(n: usize) -> SigningKey {
    let seed = Transcript::new("tacit-sim/1/window").u64(n as u64).finish();
    SigningKey::from_seed(&Secret::new(seed.0))
}

fn provider(owner: NodeId) -> ProviderRef {
    ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() }
}

fn model_ref(owner: NodeId) -> ModelRef {
    ModelRef { owner, model: ModelVersionId([1; 32]) }
}

fn weight(owner: usize) -> f64 {
    0.5 + owner as f64
}

/// The part of the model that an owner has: `owner + weight * x`.
fn model(owner: usize, root: NodeId) -> Vec<u8> {
    let terms = vec![Term { feature: 0, shape: Shape::Linear { weight: weight(owner), missing: None } }];
    let meta = Meta { owner: root, name: name(), version: 1 };
    let kind = Kind::Additive(Additive { intercept: owner as f64, terms });
    Model::new(meta, vec![Feature::numeric("x")], Link::Identity, kind).expect("why: one feature, one term").encode()
}

fn name() -> Name {
    Name::new("credit").expect("why: letters alone")
}

fn draw_rows(d: &mut Dice) -> Rows {
    let mut rows = Rows::new();
    for i in 0..KEYS {
        let value = d.below(64) as f64 / 4.0 - 8.0;
        let copies = if d.chance(850) { 1 + u64::from(d.chance(60)) } else { 0 };
        let missing = d.chance(60);
        rows.extend((0..copies).map(|_| (format!("k{i}"), (!missing).then_some(value))));
    }
    rows
}

fn columns(rows: &Rows) -> Columns {
    let values = rows.iter().map(|r| r.1.unwrap_or(0.0)).collect();
    let valid = rows.iter().map(|r| r.1.is_some()).collect();
    let keys = rows.iter().map(|r| r.0.clone()).collect();
    Columns {
        rows: rows.len(),
        columns: vec![
            Column { name: "x".into(), values: tacit_types::Values::Float(values), valid: Some(valid) },
            Column { name: "id".into(), values: tacit_types::Values::Text(keys), valid: None },
        ],
    }
}

impl Cast {
    pub fn draw(d: &mut Dice) -> Self {
        let owners = if d.chance(500) { 2 } else { 3 };
        let rows = (0..owners).map(|_| draw_rows(d)).collect();
        let dealer = d.chance(400).then(|| owners + 1);
        let mut seats: Vec<(NodeId, usize)> = (0..=owners).chain(dealer).map(|n| (key(n).id(), n)).collect();
        seats.sort_unstable();
        let dealer = dealer.map(|n| key(n).id());
        let owner_at: Vec<Option<usize>> = seats.iter().map(|(_, n)| (*n < owners).then_some(*n)).collect();
        let seating = Seating::new(seats.iter().map(|(id, _)| *id).collect()).expect("why: the keys are distinct");
        let unknown = *d.pick(&["flag", "flag", "default", "refuse"]);
        let (most, per_second) = (*d.pick(&[20, 60, 5_000]), *d.pick(&[5, 40, 5_000]));
        let seconds = *d.pick(&[2, 8, 20]);
        let params = |most: u64, per_second: u64| {
            let window = json!({"rows": most, "rows_per_second": per_second, "seconds": seconds,
                "recipient": key(owners).id().to_string()});
            let mut written = json!({"key": "id", "mode": "split", "unknown": unknown, "online": window});
            if dealer.is_some() {
                // Scores are whole eighths, so that no rounding is left to chance.
                written["output"] = json!("rounded");
                (written["decimals"], written["bound"]) = (json!(3), json!("64"));
            }
            kind().draft(written, &draft(owners, dealer)).expect("why: sound parameters")
        };
        Self {
            rows,
            recipient: seats.iter().position(|(_, n)| *n == owners).unwrap_or(0),
            owner_at,
            dealer,
            keys: seats.iter().map(|(_, n)| Arc::new(key(*n))).collect(),
            seating,
            params: params(most, per_second),
            greedy: params(most * 50, per_second * 50),
            job: JobId(d.bytes()),
            seconds,
            rows_per_second: per_second,
        }
    }

    /// Whether it is computed on shares.
    pub fn is_shared(&self) -> bool {
        self.dealer.is_some()
    }

    /// Steps that all but the calls may take.
    pub fn steps(&self) -> u64 {
        if self.is_shared() { 24 } else { 12 }
    }

    /// Whether a seat has rows.
    pub fn is_owner(&self, seat: usize) -> bool {
        self.owner_at[seat].is_some()
    }

    /// How many seats there are.
    pub fn seats(&self) -> usize {
        self.owner_at.len()
    }

    /// What the job is signed over.
    pub fn params(&self) -> ScoreParams {
        tacit_crypto::cbor::decode(&self.params).expect("why: encoded by the kind itself")
    }

    /// What the numbers of an answer stand for.
    pub fn reading(&self) -> Reading {
        self.plan(&self.params).window().expect("why: it opens a window")
    }

    /// Rows for which an owner that opened so many numbers must have answered at least.
    pub fn rows_of(&self, cells: u64) -> u64 {
        if self.params().unknown == Unknown::Default { cells } else { cells.div_ceil(2) }
    }

    fn plan(&self, params: &[u8]) -> Box<dyn Plan> {
        let roots: Vec<NodeId> = (0..self.rows.len()).map(|n| key(n).id()).collect();
        let providers: Vec<ProviderRef> = roots.iter().copied().map(provider).collect();
        let models: Vec<ModelRef> = roots.iter().copied().map(model_ref).collect();
        let parts = Parts { providers: &providers, models: &models, dealer: self.dealer, ..Parts::default() };
        kind().plan(params, &parts).expect("why: drafted for these parts")
    }

    /// Numbers that one seat may open in all.
    pub fn cells_max(&self) -> u64 {
        self.plan(&self.params).disclosures().iter().map(|d| d.cells_max).max().unwrap_or(0)
    }

    /// The keys of a call.
    pub fn draw_call(d: &mut Dice) -> Vec<String> {
        (0..d.between(1, 4)).map(|_| format!("k{}", d.below(KEYS + 1))).collect()
    }

    /// What the whole model says of each key of a call; none where it says nothing, and where it may say anything.
    pub fn plain(&self, call: &[String]) -> Vec<Expected> {
        let scores: Vec<Option<f64>> = call.iter().map(|key| self.score(key)).collect();
        let whole = scores.iter().all(Option::is_some);
        let unknown = self.params().unknown;
        let expected = |score: &Option<f64>| match (unknown, score) {
            (Unknown::Default, None) => Expected::Anything,
            (Unknown::Refuse, _) if !whole => Expected::Nothing,
            (_, None) => Expected::Nothing,
            (_, Some(score)) => Expected::Score(*score),
        };
        scores.iter().map(expected).collect()
    }

    fn score(&self, key: &str) -> Option<f64> {
        self.rows.iter().enumerate().try_fold(0.0, |sum, (owner, rows)| {
            let mut found = rows.iter().filter(|r| r.0 == key);
            let (row, more) = (found.next()?, found.next());
            if more.is_some() { None } else { Some(sum + owner as f64 + weight(owner) * row.1?) }
        })
    }

    /// The machine of a seat in an attempt. `twice` folds an owner's first rows again.
    pub fn machine(&self, seat: usize, attempt: u32, seed: &Seed, how: How) -> Machine<JointOutput> {
        let plan = self.plan(if how.greedy { &self.greedy } else { &self.params });
        let root = self.keys[seat].id();
        let owner = self.owner_at[seat];
        let material = Material { model: owner.map(|n| model(n, root)), attachments: BTreeMap::new() };
        let mut fold = plan.fold(&root, material).expect("why: every seat has its part");
        if let Some(owner) = owner {
            let rows = &self.rows[owner];
            let (first, rest) = rows.split_at(rows.len() / 2);
            let again = if how.twice { first } else { &[] };
            for part in [first, rest, again] {
                fold.take(&columns(&part.to_vec())).expect("why: the columns that the plan asks for");
            }
        }
        let setup = Setup {
            job: self.job,
            attempt: Attempt(attempt),
            seat: Seat(seat as u16),
            seating: self.seating.clone(),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let session = Transcript::new("tacit-sim/1/window-session").bytes(&self.job.0).u64(attempt.into()).finish();
        let context = JointContext {
            session: Hash(session.0),
            aggregator: Seat(0),
            step_ms: STEP_MS,
            cohort: Cohort { rows: 3, contributors: 2 },
            recipient: SealKey::generate(&mut Rng::from_seed(&Secret::new([9; 32]))).public(),
            owners: self.keys.iter().map(|k| k.id()).collect(),
        };
        let half = fold.finish();
        Machine::new(setup, seed, self.keys[seat].clone(), Millis(0), |party| half.run(party, context))
    }
}

/// What is wrong with a seat from the start.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// It folds some of its rows twice.
    pub twice: bool,
    /// It asks for more than the job says.
    pub greedy: bool,
}

/// What a key's score must be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Expected {
    Score(f64),
    Nothing,
    Anything,
}

fn kind() -> &'static dyn tacit_jobs::Kind {
    tacit_jobs::kind("score-linear/v1").expect("why: the kind is in the catalogue")
}

fn draft(owners: usize, dealer: Option<NodeId>) -> Draft {
    let columns = [("x", ColumnKind::Float), ("id", ColumnKind::Text)].map(|(n, k)| (n.to_owned(), k));
    let descriptor = |owner: NodeId| ModelDescriptor {
        format: 1,
        owner,
        name: name(),
        version: 1,
        family: ModelFamily::Linear,
        features: vec!["x".into()],
        commitment: Hash([0; 32]),
    };
    let roots: Vec<NodeId> = (0..owners).map(|n| key(n).id()).collect();
    let named = |(i, owner): (usize, &NodeId)| DraftProvider {
        name: format!("p{i}"),
        owner: *owner,
        columns: columns.clone().into(),
    };
    Draft {
        providers: roots.iter().enumerate().map(named).collect(),
        models: roots.iter().map(|owner| (model_ref(*owner), descriptor(*owner))).collect(),
        dealer,
        ..Draft::default()
    }
}
