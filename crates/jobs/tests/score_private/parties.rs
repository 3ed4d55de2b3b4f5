//! Owners with features, a model and a dealer, as machines stepped by hand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{AttachmentRef, Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::{DraftProvider, OpenedVector};
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan, score, session};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_protocol::{Abort, Effect, Event, Machine, Seating, Setup, Usage};
use tacit_types::{
    Attempt, Column, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat, Step,
    Values,
};

pub const STEP_MS: u64 = 1000;
/// The public range of each owner's first and second feature.
const RANGES: [(f64, f64); 2] = [(-3.0, 5.0), (100.0, 101.5)];
const INTERCEPT: f64 = -40.625;

/// One owner of data: rows of a key and two numbers; NULL is `None`.
pub struct Owner {
    key: SigningKey,
    pub rows: Vec<(String, [Option<f64>; 2])>,
    number: usize,
}

impl Owner {
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    fn names(&self) -> [String; 2] {
        [format!("a{}", self.number), format!("b{}", self.number)]
    }

    fn weights(&self) -> [f64; 2] {
        let i = self.number as f64;
        [0.7 - 0.5 * i, [1.0 / 3.0, -0.21, 0.05, 0.0, -0.125][self.number]]
    }

    fn columns(&self) -> Columns {
        let column = |name: &str, values, valid| Column { name: name.into(), values, valid: Some(valid) };
        let number = |i: usize| Values::Float(self.rows.iter().map(|r| r.1[i].unwrap_or(0.0)).collect());
        let valid = |i: usize| self.rows.iter().map(|r| r.1[i].is_some()).collect();
        let [a, b] = self.names();
        let ids = Values::Text(self.rows.iter().map(|r| r.0.clone()).collect());
        Columns {
            rows: self.rows.len(),
            columns: vec![
                column(&a, number(0), valid(0)),
                column("id", ids, vec![true; self.rows.len()]),
                column(&b, number(1), valid(1)),
            ],
        }
    }

    /// What the row adds, each value within its range; `None` when it is not there or not usable.
    fn part(&self, key: &str, clip: bool) -> Option<f64> {
        let mut rows = self.rows.iter().filter(|r| r.0 == key);
        let (row, more) = (rows.next()?, rows.next());
        let values = [row.1[0]?, row.1[1]?];
        let within = |i: usize| if clip { values[i].clamp(RANGES[i].0, RANGES[i].1) } else { values[i] };
        if more.is_some() { None } else { Some((0..2).map(|i| within(i) * self.weights()[i]).sum()) }
    }
}

/// What happens to a seat.
#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    Well,
    /// Known to be gone after so many messages.
    Lost {
        seat: usize,
        after: usize,
    },
    /// Says nothing more after so many messages, and nobody is told.
    Silent {
        seat: usize,
        after: usize,
    },
}

type Unblind<'a> = dyn Fn(&[u8], &BTreeMap<Seat, Vec<u8>>) -> Result<OpenedVector, Fault> + 'a;

/// What came of a run.
pub struct Run {
    pub outcomes: Vec<Result<JointOutput, Abort>>,
    pub usage: Vec<Usage>,
    pub messages: Vec<usize>,
    pub steps: std::collections::BTreeSet<Step>,
    pub now: Millis,
}

pub struct Job {
    pub owners: Vec<Owner>,
    pub models: Vec<ModelRef>,
    pub dealer: Option<NodeId>,
    pub rows: u64,
    keys: Vec<u8>,
    written: Value,
    split: bool,
    /// All keys with a seat, ascending.
    seated: Vec<SigningKey>,
}

fn signing(seed: usize) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed as u8 + 1; 32]))
}

fn recipient() -> SealKey {
    SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap()
}

fn rows(owner: usize) -> Vec<(String, [Option<f64>; 2])> {
    let row = |(i, name): (usize, &&str)| {
        let t = (i * 7 + owner * 3) % 10;
        let values = [-3.0 + 0.8 * t as f64, 100.0 + 0.15 * t as f64 + 1e-4 * owner as f64];
        (name.to_string(), values.map(Some))
    };
    let mut all: Vec<_> = ["ann", "bob", "cid", "dot", "fay", "gus", "hal"].iter().enumerate().map(row).collect();
    all.rotate_left(owner);
    all
}

impl Job {
    fn new(count: usize, split: bool, both: bool, keys: &[&str], written: Value) -> Self {
        let owners: Vec<Owner> = (0..count).map(|i| Owner { key: signing(i), rows: rows(i), number: i }).collect();
        let model = ModelVersionId([1; 32]);
        let (elsewhere, dealer) = (signing(20), signing(21));
        let models = match (split, both) {
            (true, _) => owners.iter().map(|o| ModelRef { owner: o.id(), model }).collect(),
            (false, true) => vec![ModelRef { owner: owners[count - 1].id(), model }],
            (false, false) => vec![ModelRef { owner: elsewhere.id(), model }],
        };
        let mut seated: Vec<SigningKey> = (0..count).map(signing).collect();
        if !split && !both {
            seated.push(elsewhere);
        }
        let id = dealer.id();
        seated.push(dealer);
        seated.sort_by_key(SigningKey::id);
        let mut written = written;
        if !split && written.get("ranges").is_none() {
            let range = |(least, most): (f64, f64)| json!([format!("{least}"), format!("{most}")]);
            let all = owners.iter().flat_map(|o| o.names().into_iter().zip(RANGES.map(range)));
            written["ranges"] = all.collect::<serde_json::Map<_, _>>().into();
        }
        written["mode"] = json!(if split { "split" } else { "private" });
        let it = Self { owners, models, dealer: Some(id), rows: 0, keys: Vec::new(), written, split, seated };
        if keys.is_empty() { it } else { it.keyed(keys) }
    }

    pub fn private(owners: usize, both: bool, keys: &[&str], written: Value) -> Self {
        Self::new(owners, false, both, keys, written)
    }

    pub fn split(owners: usize, keys: &[&str], written: Value) -> Self {
        Self::new(owners, true, true, keys, written)
    }

    fn keyed(mut self, keys: &[&str]) -> Self {
        (self.rows, self.keys) = score::keys::encode(keys.iter().copied()).unwrap();
        self
    }

    pub fn with_keys(&mut self, keys: &[&str]) -> &Self {
        (self.rows, self.keys) = score::keys::encode(keys.iter().copied()).unwrap();
        self
    }

    /// Gives every owner so many rows; their keys.
    pub fn fill(&mut self, rows: usize) -> Vec<String> {
        for owner in &mut self.owners {
            let value =
                |i: usize, (a, b): (f64, f64)| Some(a + (b - a) * ((i * 37 + owner.number) % 101) as f64 / 100.0);
            owner.rows = (0..rows).map(|i| (format!("k{i}"), RANGES.map(|r| value(i, r)))).collect();
        }
        (0..rows).rev().map(|i| format!("k{i}")).collect()
    }

    /// Makes some rows unknown: see the test of the rules.
    pub fn spoil(&mut self) {
        self.owners[1].rows.retain(|r| r.0 != "fay");
        self.owners[2].rows.iter_mut().filter(|r| r.0 == "gus").for_each(|r| r.1[1] = None);
        let again = self.owners[0].rows.iter().find(|r| r.0 == "hal").unwrap().clone();
        self.owners[0].rows.push(again);
    }

    /// The exact margin of a key.
    pub fn plain(&self, key: &str) -> Option<f64> {
        let parts: Option<Vec<f64>> = self.owners.iter().map(|o| o.part(key, !self.split)).collect();
        Some(parts?.into_iter().sum::<f64>() + INTERCEPT)
    }

    /// The margin where an owner without the row brings zeroes within the ranges; of a split model, nothing.
    pub fn with_zeroes(&self, key: &str) -> f64 {
        let zero = |o: &Owner| -> f64 { (0..2).map(|i| 0f64.clamp(RANGES[i].0, RANGES[i].1) * o.weights()[i]).sum() };
        let part = |o: &Owner| match (o.part(key, !self.split), self.split) {
            (Some(part), _) => part + if self.split { INTERCEPT / self.owners.len() as f64 } else { 0.0 },
            (None, true) => 0.0,
            (None, false) => zero(o),
        };
        self.owners.iter().map(part).sum::<f64>() + if self.split { 0.0 } else { INTERCEPT }
    }

    pub fn seats(&self) -> usize {
        self.seated.len()
    }

    /// The model of an owner: its part, or the whole with its features in an order of its own.
    fn model(&self, owner: &NodeId) -> Model {
        let meta = Meta { owner: *owner, name: Name::new("credit").unwrap(), version: 1 };
        let parts: Vec<&Owner> = self.owners.iter().rev().filter(|o| !self.split || o.id() == *owner).collect();
        let features: Vec<Feature> = parts.iter().flat_map(|o| o.names()).map(Feature::numeric).collect();
        let weights = parts.iter().flat_map(|o| o.weights());
        let terms = weights
            .enumerate()
            .map(|(i, weight)| Term { feature: i as u32, shape: Shape::Linear { weight, missing: None } });
        let intercept = if self.split { INTERCEPT / self.owners.len() as f64 } else { INTERCEPT };
        let additive = Additive { intercept, terms: terms.collect() };
        Model::new(meta, features, Link::Identity, Kind::Additive(additive)).unwrap()
    }

    pub fn material(&self, owner: &NodeId) -> Material {
        let mut material = Material::default();
        if self.owners.iter().any(|o| o.id() == *owner) {
            material.attachments.insert("keys".into(), self.keys.clone());
        }
        if self.models.iter().any(|m| m.owner == *owner) {
            material.model = Some(self.model(owner).encode());
        }
        material
    }

    pub fn plan(&self) -> Result<Box<dyn Plan>, Fault> {
        let kind = tacit_jobs::kind("score-linear/v1").unwrap();
        let provider = |o: &Owner| {
            let columns =
                o.names().map(|n| (n, ColumnKind::Float)).into_iter().chain([("id".into(), ColumnKind::Text)]);
            DraftProvider { name: format!("p{}", o.number), owner: o.id(), columns: columns.collect() }
        };
        let named = |m: &ModelRef| {
            let model = self.model(&m.owner);
            let descriptor = ModelDescriptor {
                format: 1,
                owner: m.owner,
                name: Name::new("credit").unwrap(),
                version: 1,
                family: ModelFamily::Linear,
                features: model.features().iter().map(|f| f.name.clone()).collect(),
                commitment: Hash([0; 32]),
            };
            (m.clone(), descriptor)
        };
        let draft = Draft {
            providers: self.owners.iter().map(provider).collect(),
            models: self.models.iter().map(named).collect(),
            dealer: self.dealer,
            keys: Some(self.rows),
        };
        let data = |o: &Owner| ProviderRef { owner: o.id(), dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = self.owners.iter().map(data).collect();
        let (plain, sealed) = (Hash([1; 32]), Hash([2; 32]));
        let attachments = [AttachmentRef { name: "keys".into(), plain, sealed, bytes: self.keys.len() as u64 }];
        let params = kind.draft(self.written.clone(), &draft)?;
        let parts =
            Parts { providers: &providers, models: &self.models, dealer: self.dealer, attachments: &attachments };
        kind.plan(&params, &parts)
    }

    fn machine(&self, seat: usize) -> Machine<JointOutput> {
        let plan = self.plan().unwrap();
        let me = self.seated[seat].id();
        let mut fold = plan.fold(&me, self.material(&me)).unwrap();
        if let Some(owner) = self.owners.iter().find(|o| o.id() == me) {
            fold.take(&owner.columns()).unwrap();
        }
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: Seating::new(self.seated.iter().map(SigningKey::id).collect()).unwrap(),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let context = JointContext {
            session: Hash([5; 32]),
            aggregator: Seat(0),
            step_ms: STEP_MS,
            cohort: Cohort { rows: 3, contributors: 2 },
            recipient: recipient().public(),
            owners: self.seated.iter().map(SigningKey::id).collect(),
        };
        let half = fold.finish();
        let seed = (0..22).find(|s| signing(*s).id() == me).unwrap();
        let key = Arc::new(signing(seed));
        Machine::new(setup, &Secret::new([40 + seat as u8; 32]), key, Millis(0), |p| half.run(p, context))
    }

    pub fn run(&self, fate: Fate) -> Run {
        let n = self.seats();
        let mut machines: Vec<Machine<JointOutput>> = (0..n).map(|seat| self.machine(seat)).collect();
        let mut events: VecDeque<(usize, Event)> = (0..n).map(|i| (i, Event::Start)).collect();
        let (mut timers, mut messages) = (BTreeMap::<usize, Millis>::new(), vec![0; n]);
        let (mut steps, mut now, mut gone) = (std::collections::BTreeSet::new(), Millis(0), None);
        loop {
            while let Some((to, event)) = events.pop_front() {
                if gone == Some(to) {
                    continue;
                }
                for effect in machines[to].step(now, event) {
                    if gone == Some(to) {
                        break;
                    }
                    match effect {
                        Effect::Send(m) => {
                            messages[to] += 1;
                            match fate {
                                Fate::Lost { seat, after } | Fate::Silent { seat, after }
                                    if seat == to && messages[to] > after =>
                                {
                                    gone = Some(to);
                                    if matches!(fate, Fate::Lost { .. }) {
                                        let others = (0..n).filter(|i| *i != to);
                                        events.extend(others.map(|i| (i, Event::Gone(Seat(to as u16)))));
                                    }
                                }
                                _ => {
                                    steps.insert(m.address.step);
                                    events.push_back((m.address.to.index(), Event::Received(m)));
                                }
                            }
                        }
                        Effect::Credit { to: sender, consumed } => {
                            events.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                        }
                        Effect::Persist { ticket, .. } => events.push_back((to, Event::Persisted { ticket })),
                        Effect::SetTimer(at) => drop(timers.insert(to, at)),
                        _ => {}
                    }
                }
            }
            let alive = |i: &usize| gone != Some(*i) && !machines[*i].is_finished();
            let next = timers.iter().filter(|(i, _)| alive(i)).map(|(i, at)| (*at, *i)).min();
            let Some((at, who)) = next else { break };
            timers.remove(&who);
            now = now.max(at);
            events.push_back((who, Event::Timer));
        }
        let missing = || Err(Abort::Missing { step: Step(0), seats: Vec::new() });
        let mut outcomes = Vec::new();
        for (seat, machine) in machines.iter_mut().enumerate() {
            outcomes.push(match machine.take_outcome() {
                Some(outcome) => outcome,
                None if gone == Some(seat) => missing(),
                None => panic!("seat {seat} hangs"),
            });
        }
        let usage = machines.iter().map(|m| m.usage().clone()).collect();
        Run { outcomes, usage, messages, steps, now }
    }

    pub fn open(&self) -> Value {
        self.open_with(&|bytes, releases| session::unblind(&recipient(), bytes, releases))
    }

    /// The numbers that the recipient opens.
    pub fn cells(&self) -> Vec<i64> {
        let cells = std::cell::RefCell::new(Vec::new());
        self.open_with(&|bytes, releases| {
            let opened = session::unblind(&recipient(), bytes, releases)?;
            cells.borrow_mut().extend(opened.cells.iter().map(|c| *c as u64 as i64));
            Ok(opened)
        });
        cells.into_inner()
    }

    fn open_with(&self, unblind: &Unblind<'_>) -> Value {
        let outputs: Vec<JointOutput> = self.run(Fate::Well).outcomes.into_iter().map(Result::unwrap).collect();
        assert!(outputs.iter().all(|o| o.survivors.len() == self.seats() && o.cells_out == self.rows));
        let releases = outputs.iter().enumerate().map(|(i, o)| (Seat(i as u16), o.release.clone())).collect();
        let package = outputs[0].package.clone().unwrap();
        let open = |bytes: &[u8]| unblind(bytes, &releases);
        self.plan().unwrap().open(&package, &open).unwrap().json
    }
}
