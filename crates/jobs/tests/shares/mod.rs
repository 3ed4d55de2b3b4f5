//! A scoring job among owners of data, owners of models and a dealer, as machines stepped by hand.
#![allow(dead_code)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{AttachmentRef, Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::{DraftProvider, OpenedVector};
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan, score, session};
use tacit_models::{Kind, Model};
use tacit_protocol::{Abort, Effect, Event, Machine, Message, Seating, Setup, Usage};
use tacit_types::{
    Attempt, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat, Step, Values,
};

pub const STEP_MS: u64 = 1000;

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

/// A sealed result and the parts of its key.
pub struct Handed {
    pub package: Vec<u8>,
    pub releases: BTreeMap<Seat, Vec<u8>>,
}

type Unblind<'a> = dyn Fn(&[u8], &BTreeMap<Seat, Vec<u8>>) -> Result<OpenedVector, Fault> + 'a;

/// What came of a run.
pub struct Run {
    /// Nanoseconds of this thread's processor time that each seat took.
    pub cpu: Vec<u64>,
    pub outcomes: Vec<Result<JointOutput, Abort>>,
    pub usage: Vec<Usage>,
    pub messages: Vec<usize>,
    pub steps: std::collections::BTreeSet<Step>,
    pub now: Millis,
}

/// An owner's rows.
pub struct Table {
    pub name: String,
    pub owner: NodeId,
    pub columns: Columns,
}

/// What one is in a sum of flags or decisions, which have two bits.
pub const ONE: i64 = 1 << 62;

/// A job, with what each of its parties brings.
pub struct Job {
    pub kind: &'static str,
    pub tables: Vec<Table>,
    pub models: Vec<ModelRef>,
    /// The models by owner.
    pub held: BTreeMap<NodeId, Model>,
    pub dealer: Option<NodeId>,
    pub written: Value,
    pub rows: u64,
    pub keys: Vec<u8>,
    /// All keys with a seat, ascending.
    pub seated: Vec<SigningKey>,
    /// Whether the nodes of the owners of rows count the keys of calls.
    pub counts: bool,
}

pub fn signing(seed: usize) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed as u8 + 1; 32]))
}

pub fn recipient() -> SealKey {
    SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap()
}

/// A model version that a job names.
pub fn model_ref(owner: NodeId) -> ModelRef {
    ModelRef { owner, model: ModelVersionId([1; 32]) }
}

fn family(model: &Model) -> ModelFamily {
    match model.kind() {
        Kind::Additive(_) | Kind::Normed(_) => ModelFamily::Linear,
        Kind::Trees(_) | Kind::Part(_) => ModelFamily::Trees,
        Kind::Network(_) => ModelFamily::Network,
    }
}

impl Job {
    /// A job of these tables and models; everybody has a seat.
    pub fn new(kind: &'static str, tables: Vec<Table>, held: Vec<(NodeId, Model)>, written: Value) -> Self {
        let dealer = signing(21).id();
        let parties = tables.iter().map(|t| t.owner).chain(held.iter().map(|(owner, _)| *owner)).chain([dealer]);
        let all: std::collections::BTreeSet<NodeId> = parties.collect();
        let seated = (0..22).map(signing).filter(|k| all.contains(&k.id()));
        let mut seated: Vec<SigningKey> = seated.collect();
        seated.sort_by_key(SigningKey::id);
        let models = held.iter().map(|(owner, _)| model_ref(*owner)).collect();
        let (held, dealer) = (held.into_iter().collect(), Some(dealer));
        Self { kind, tables, models, held, dealer, written, rows: 0, keys: Vec::new(), seated, counts: false }
    }

    /// The same for these keys.
    pub fn keyed(mut self, keys: &[&str]) -> Self {
        (self.rows, self.keys) = score::keys::encode(keys.iter().copied()).unwrap();
        self
    }

    /// A party's node in the job, by the number of its key.
    pub fn party(number: usize) -> NodeId {
        signing(number).id()
    }

    pub fn seats(&self) -> usize {
        self.seated.len()
    }

    pub fn material(&self, owner: &NodeId) -> Material {
        let mut material = Material::default();
        if self.tables.iter().any(|t| t.owner == *owner) {
            material.attachments.insert("keys".into(), self.keys.clone());
        }
        if self.models.iter().any(|m| m.owner == *owner) {
            material.model = self.held.get(owner).map(Model::encode);
        }
        material
    }

    pub fn draft(&self) -> Draft {
        let kind = |values: &Values| match values {
            Values::Int(_) => ColumnKind::Int,
            Values::Float(_) => ColumnKind::Float,
            Values::Text(_) => ColumnKind::Text,
        };
        let provider = |t: &Table| DraftProvider {
            name: t.name.clone(),
            owner: t.owner,
            columns: t.columns.columns.iter().map(|c| (c.name.clone(), kind(&c.values))).collect(),
        };
        let named = |m: &ModelRef| {
            let model = self.held.get(&m.owner);
            let descriptor = ModelDescriptor {
                format: 1,
                owner: m.owner,
                name: Name::new("credit").unwrap(),
                version: 1,
                family: model.map_or(ModelFamily::Linear, family),
                features: model.iter().flat_map(|m| m.features()).map(|f| f.name.clone()).collect(),
                commitment: Hash([0; 32]),
            };
            (m.clone(), descriptor)
        };
        Draft {
            providers: self.tables.iter().map(provider).collect(),
            models: self.models.iter().map(named).collect(),
            dealer: self.dealer,
            keys: Some(self.rows),
        }
    }

    /// The signed parameters.
    pub fn params(&self) -> Result<Vec<u8>, Fault> {
        tacit_jobs::kind(self.kind).unwrap().draft(self.written.clone(), &self.draft())
    }

    pub fn plan(&self) -> Result<Box<dyn Plan>, Fault> {
        self.plan_of(&self.params()?)
    }

    /// A plan of other parameters than those that were written.
    pub fn plan_of(&self, params: &[u8]) -> Result<Box<dyn Plan>, Fault> {
        let data = |t: &Table| ProviderRef { owner: t.owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = self.tables.iter().map(data).collect();
        let (plain, sealed) = (Hash([1; 32]), Hash([2; 32]));
        let keys = [AttachmentRef { name: "keys".into(), plain, sealed, bytes: self.keys.len() as u64 }];
        // A job that opens a window has no list of keys.
        let attachments = if self.keys.is_empty() { &keys[..0] } else { &keys[..] };
        let parts = Parts { providers: &providers, models: &self.models, dealer: self.dealer, attachments };
        tacit_jobs::kind(self.kind).unwrap().plan(params, &parts)
    }

    pub fn machine(&self, seat: usize) -> Machine<JointOutput> {
        let plan = self.plan().unwrap();
        let me = self.seated[seat].id();
        let mut fold = plan.fold(&me, self.material(&me)).unwrap();
        if let Some(table) = self.tables.iter().find(|t| t.owner == me) {
            fold.take(&table.columns).unwrap();
            if self.counts {
                fold.count_keys();
            }
        }
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: Seating::new(self.seated.iter().map(SigningKey::id).collect()).unwrap(),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 36,
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
        self.run_with(fate, &mut |_| {})
    }

    /// A run in which messages may be changed on their way, as if their senders had sent others.
    pub fn run_with(&self, fate: Fate, alter: &mut dyn FnMut(&mut Message)) -> Run {
        let n = self.seats();
        let mut machines: Vec<Machine<JointOutput>> = (0..n).map(|seat| self.machine(seat)).collect();
        let mut events: VecDeque<(usize, Event)> = (0..n).map(|i| (i, Event::Start)).collect();
        let (mut timers, mut messages) = (BTreeMap::<usize, Millis>::new(), vec![0; n]);
        let mut cpu = vec![0; n];
        let (mut steps, mut now, mut gone) = (std::collections::BTreeSet::new(), Millis(0), None);
        loop {
            while let Some((to, event)) = events.pop_front() {
                if gone == Some(to) {
                    continue;
                }
                let before = thread_time();
                let effects = machines[to].step(now, event);
                cpu[to] += thread_time() - before;
                for effect in effects {
                    if gone == Some(to) {
                        break;
                    }
                    match effect {
                        Effect::Send(mut m) => {
                            alter(&mut m);
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
        Run { cpu, outcomes, usage, messages, steps, now }
    }

    pub fn open(&self) -> Value {
        self.open_with(&|bytes, releases| session::unblind(&recipient(), bytes, releases))
    }

    /// The sums that the recipient opens: its numbers, each at the top of its word.
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
        self.open_handed(&self.handed(), unblind).unwrap()
    }

    /// What a run hands to the recipient.
    pub fn handed(&self) -> Handed {
        let outputs: Vec<JointOutput> = self.run(Fate::Well).outcomes.into_iter().map(Result::unwrap).collect();
        assert!(outputs.iter().all(|o| o.survivors.len() == self.seats() && o.cells_out == self.rows));
        let releases = outputs.iter().enumerate().map(|(i, o)| (Seat(i as u16), o.release.clone())).collect();
        Handed { package: outputs[0].package.clone().unwrap(), releases }
    }

    /// The recipient's part.
    pub fn open_handed(&self, handed: &Handed, unblind: &Unblind<'_>) -> Result<Value, Fault> {
        let open = |bytes: &[u8]| unblind(bytes, &handed.releases);
        self.plan().unwrap().open(&handed.package, &open).map(|opened| opened.json)
    }
}

/// Processor time of this thread; nothing where the system does not say.
#[expect(clippy::disallowed_methods, reason = "a test reads its own costs")]
fn thread_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Gives `look` the bytes with each byte changed in several ways, and cut short.
pub fn mutate(bytes: &[u8], mut look: impl FnMut(&[u8])) {
    for at in 0..bytes.len() {
        for change in [1u8, 0x10, 0x80, 0xff] {
            let mut other = bytes.to_vec();
            other[at] ^= change;
            look(&other);
        }
        look(&bytes[..at]);
    }
}
