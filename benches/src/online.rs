//! Windows of scores on shares with the seats of the jobs themselves: a call of one key, counted exactly and timed.
//!
//! Seats 0 and 1 compute, 2 deals, 3 asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::online::host::{self, Say, Tell};
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan};
use tacit_models::{
    Activation, Additive, Division, Feature, Kind, Layer, Link, Meta, Missing, Model, Network, Node, Precision, Shape,
    Split, Term, Test, Tree, Trees,
};
use tacit_protocol::{Effect, Event, Machine, Seating, Setup};
use tacit_types::wire::Blob;
use tacit_types::{
    Attempt, Column, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat, Values,
};
use tokio::sync::mpsc;

use crate::case::{Case, Clock, median};
use crate::mesh::{AnyError, Host, Mesh};

/// Seats of a window.
pub const SEATS: usize = 4;
const DEALER: usize = 2;
const ASKER: usize = 3;
/// Calls of which the middle is taken.
const CALLS: usize = 200;
/// Rows of each owner.
const ROWS: usize = 512;
/// Features of all owners.
const FEATURES: usize = 100;

/// One window.
pub struct Window {
    /// A stable name.
    pub case: &'static str,
    kind: &'static str,
    note: &'static str,
    written: Value,
    /// Which seats have rows.
    owners: usize,
    /// Models by seat.
    models: Vec<(usize, Model)>,
}

/// Exact counts of a call of one key.
#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The window's name.
    pub case: String,
    /// Payload bytes from the recipient to each party.
    pub asked: [u64; 2],
    /// Payload bytes that each party sends the other.
    pub between: [u64; 2],
    /// Payload bytes from each party to the recipient.
    pub answered: [u64; 2],
    /// Payload bytes that are dealt ahead for it.
    pub dealt: u64,
    /// Exchanges between the parties; the question and the answers are one more.
    pub rounds: u64,
}

/// Numbers between -1 and 1 that look random.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 32)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn name(feature: usize) -> String {
    format!("f{feature:03}")
}

fn features() -> Vec<Feature> {
    (0..FEATURES).map(|f| Feature::numeric(name(f)).within(-1.0, 1.0)).collect()
}

fn meta(owner: NodeId) -> Result<Meta, Fault> {
    Ok(Meta { owner, name: Name::new("m")?, version: 1 })
}

fn ranges() -> Value {
    (0..FEATURES).map(|f| (name(f), json!(["-1", "1"]))).collect::<Map<_, _>>().into()
}

/// The windows that are measured.
///
/// # Errors
/// None that is not a fault of this file.
pub fn windows(keys: &[Arc<SigningKey>]) -> Result<Vec<Window>, Fault> {
    let ids: Vec<NodeId> = keys.iter().map(|k| k.id()).collect();
    let model = |kind| Model::new(meta(ids[1])?, features(), Link::Identity, kind);
    let weight = |f: usize| Shape::Linear { weight: noise(f as u64) / 8.0, missing: None };
    let terms = (0..FEATURES).map(|f| Term { feature: f as u32, shape: weight(f) }).collect();
    let linear = model(Kind::Additive(Additive { intercept: 0.25, terms }))?;
    let network = model(Kind::Network(Network { layers: layers(&[FEATURES, 64, 32, 1]) }))?;
    let trees = (0..100).map(|t| full_tree(t, 6)).collect();
    let trees = model(Kind::Trees(Trees { precision: Precision::Single, base: 0.5, average: false, trees }))?;
    let whose: Vec<usize> = (0..FEATURES).map(|f| f % 2).collect();
    let metas = [meta(ids[0])?, meta(ids[1])?];
    let parts = Division::new(&trees, &whose, 2)?.models(Link::Identity, &metas, 0)?;
    Ok(vec![
        Window {
            case: "online_linear_100",
            kind: "score-linear/v1",
            note: "private model of 100 features",
            written: json!({"key": "id", "mode": "private", "bound": "16", "ranges": ranges()}),
            owners: 1,
            models: vec![(1, linear)],
        },
        Window {
            case: "online_trees_100",
            kind: "score-trees/v1",
            note: "100 split trees of 64 leaves",
            written: json!({"key": "id", "mode": "split", "trees": 100, "leaves": 6400, "bound": "64", "holder": "p0"}),
            owners: 2,
            models: parts.into_iter().enumerate().collect(),
        },
        Window {
            case: "online_network",
            kind: "score-network/v1",
            note: "private network of 100-64-32-1",
            written: json!({"key": "id", "layers": [64, 32], "bound": "1000", "error": "0.01", "ranges": ranges()}),
            owners: 1,
            models: vec![(1, network)],
        },
    ])
}

fn layers(widths: &[usize]) -> Vec<Layer> {
    let layer = |(i, pair): (usize, &[usize])| {
        let (inputs, outputs) = (pair[0], pair[1]);
        let scale = (3.0 / inputs as f64).sqrt();
        let weights = (0..inputs * outputs).map(|j| noise((i * 1_000_003 + j) as u64) * scale).collect();
        let activation = if i + 2 < widths.len() { Activation::Relu } else { Activation::Identity };
        Layer { weights, bias: vec![0.01; outputs], activation }
    };
    widths.windows(2).enumerate().map(layer).collect()
}

fn full_tree(tree: u64, depth: usize) -> Tree {
    fn grow(tree: u64, depth: usize, nodes: &mut Vec<Node>) {
        let at = nodes.len();
        let seed = tree * 1000 + at as u64;
        if depth == 0 {
            return nodes.push(Node::Leaf(f64::from(noise(seed) as f32 * 0.1)));
        }
        let feature = (seed.wrapping_mul(2_654_435_761) >> 7) % FEATURES as u64;
        let test = Test::Below(f64::from(noise(seed + 77) as f32 * 0.5));
        nodes.push(Node::Split(Split { feature: feature as u32, test, missing: Missing::Yes, no: 0 }));
        grow(tree, depth - 1, nodes);
        let second = nodes.len() as u32;
        if let Node::Split(split) = &mut nodes[at] {
            split.no = second;
        }
        grow(tree, depth - 1, nodes);
    }
    let mut nodes = Vec::new();
    grow(tree, depth, &mut nodes);
    Tree { nodes }
}

impl Window {
    fn features(&self, seat: usize) -> impl Iterator<Item = usize> {
        (seat..FEATURES).step_by(self.owners)
    }

    /// The rows of a seat.
    fn table(&self, seat: usize) -> Columns {
        let ids = Values::Text((0..ROWS).map(|row| format!("k{row}")).collect());
        let mut columns = vec![Column { name: "id".into(), values: ids, valid: None }];
        for f in self.features(seat) {
            let values = (0..ROWS).map(|row| noise((row * 4096 + f) as u64)).collect();
            columns.push(Column { name: name(f), values: Values::Float(values), valid: None });
        }
        Columns { rows: ROWS, columns }
    }

    fn family(&self) -> ModelFamily {
        match self.models[0].1.kind() {
            Kind::Additive(_) | Kind::Normed(_) => ModelFamily::Linear,
            Kind::Trees(_) | Kind::Part(_) => ModelFamily::Trees,
            Kind::Network(_) => ModelFamily::Network,
        }
    }

    /// The plan of a window among these parties.
    fn plan(&self, ids: &[NodeId]) -> Result<Box<dyn Plan>, Fault> {
        let kind = tacit_jobs::kind(self.kind)?;
        let provider = |seat: usize| DraftProvider {
            name: format!("p{seat}"),
            owner: ids[seat],
            columns: self.features(seat).map(|f| (name(f), ColumnKind::Float)).chain([key_column()]).collect(),
        };
        let named = |(seat, model): &(usize, Model)| {
            let descriptor = ModelDescriptor {
                format: 1,
                owner: ids[*seat],
                name: Name::new("m")?,
                version: 1,
                family: self.family(),
                features: model.features().iter().map(|f| f.name.clone()).collect(),
                commitment: Hash([0; 32]),
            };
            Ok((model_ref(ids[*seat]), descriptor))
        };
        let draft = Draft {
            providers: (0..self.owners).map(provider).collect(),
            models: self.models.iter().map(named).collect::<Result<_, Fault>>()?,
            dealer: Some(ids[DEALER]),
            keys: None,
        };
        let mut written = self.written.clone();
        written["online"] = json!({"rows": 100_000, "rows_per_second": 1_000_000, "seconds": 3600,
            "recipient": ids[ASKER].to_string()});
        let params = kind.draft(written, &draft)?;
        let data = |seat: usize| ProviderRef { owner: ids[seat], dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = (0..self.owners).map(data).collect();
        let models: Vec<ModelRef> = self.models.iter().map(|(seat, _)| model_ref(ids[*seat])).collect();
        let parts = Parts { providers: &providers, models: &models, dealer: Some(ids[DEALER]), attachments: &[] };
        kind.plan(&params, &parts)
    }

    /// A machine for each seat.
    fn machines(&self, keys: &[Arc<SigningKey>]) -> Result<Vec<Machine<JointOutput>>, Fault> {
        let ids: Vec<NodeId> = keys.iter().map(|k| k.id()).collect();
        let plan = self.plan(&ids)?;
        let recipient = SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9)))
            .unwrap_or_else(|| panic!("a key of these bytes"));
        let machine = |seat: usize| {
            let model = self.models.iter().find(|(s, _)| *s == seat).map(|(_, model)| model.encode());
            let mut fold = plan.fold(&ids[seat], Material { model, ..Material::default() })?;
            if seat < self.owners {
                fold.take(&self.table(seat))?;
            }
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(seat as u16),
                seating: Seating::new(ids.clone()).unwrap_or_else(|| panic!("{SEATS} seats")),
                disclosures: plan.disclosures(),
                stream_bytes_max: 1 << 40,
            };
            let context = JointContext {
                session: Hash([5; 32]),
                aggregator: Seat(0),
                step_ms: 60_000,
                cohort: Cohort { rows: 3, contributors: 2 },
                recipient: recipient.public(),
                owners: ids.clone(),
            };
            let (half, seed) = (fold.finish(), Secret::new([40 + seat as u8; 32]));
            Ok(Machine::new(setup, &seed, keys[seat].clone(), Millis(0), |party| half.run(party, context)))
        };
        (0..SEATS).map(machine).collect()
    }
}

fn key_column() -> (String, ColumnKind) {
    ("id".to_owned(), ColumnKind::Text)
}

fn model_ref(owner: NodeId) -> ModelRef {
    ModelRef { owner, model: ModelVersionId([1; 32]) }
}

/// Keys of parties, ascending, as a mesh has them.
pub fn parties() -> Vec<Arc<SigningKey>> {
    let mut keys: Vec<_> = (0..SEATS).map(|i| SigningKey::from_seed(&Secret::new([i as u8 + 1; 32]))).collect();
    keys.sort_by_key(SigningKey::id);
    keys.into_iter().map(Arc::new).collect()
}

/// The message for one call of one key.
fn call(number: usize) -> Vec<u8> {
    let key = Blob(format!("k{}", number % ROWS).into_bytes());
    host::said(&Say::Calls { tag: number as u64, calls: vec![vec![key]] })
}

/// Whether a seat told of the answer to a call; panics for one that failed.
fn is_answer(bytes: &[u8]) -> bool {
    match host::hear(bytes) {
        Ok(Tell::Answered { outcome: Ok(_), .. }) => true,
        Ok(Tell::Answered { outcome: Err(code), .. }) => panic!("a call failed: {code}"),
        Ok(_) => false,
        Err(fault) => panic!("{fault}"),
    }
}

/// An open window whose seats take turns in this thread.
struct Turns {
    machines: Vec<Machine<JointOutput>>,
    queue: VecDeque<(usize, Event)>,
    /// Processor seconds of each seat.
    seconds: [f64; SEATS],
    /// Payload bytes and messages by sender and receiver.
    bytes: [[u64; SEATS]; SEATS],
    messages: [[u64; SEATS]; SEATS],
    /// Bytes of the dealer's last message.
    lot: u64,
    answers: usize,
}

impl Turns {
    fn open(window: &Window, keys: &[Arc<SigningKey>]) -> Result<Self, Fault> {
        let machines = window.machines(keys)?;
        let queue = (0..SEATS).map(|seat| (seat, Event::Start)).collect();
        let none = [[0; SEATS]; SEATS];
        let mut turns =
            Self { machines, queue, seconds: [0.0; SEATS], bytes: none, messages: none, lot: 0, answers: 0 };
        turns.run();
        Ok(turns)
    }

    fn run(&mut self) {
        while let Some((to, event)) = self.queue.pop_front() {
            let start = Clock::start();
            let effects = self.machines[to].step(Millis(0), event);
            self.seconds[to] += start.seconds();
            for effect in effects {
                match effect {
                    Effect::Send(message) => {
                        let (receiver, bytes) = (message.address.to.index(), message.body.len() as u64);
                        self.bytes[to][receiver] += bytes;
                        self.messages[to][receiver] += 1;
                        if to == DEALER {
                            self.lot = message.total;
                        }
                        self.queue.push_back((receiver, Event::Received(message)));
                    }
                    Effect::Credit { to: sender, consumed } => {
                        self.queue.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                    }
                    Effect::Host(bytes) if to == ASKER => self.answers += usize::from(is_answer(&bytes)),
                    _ => {}
                }
            }
        }
    }

    /// Makes one call, and forgets what was counted before.
    fn call(&mut self, number: usize) {
        (self.seconds, self.bytes, self.messages) = ([0.0; SEATS], [[0; SEATS]; SEATS], [[0; SEATS]; SEATS]);
        let before = self.answers;
        self.queue.push_back((ASKER, Event::Host(call(number))));
        self.run();
        assert_eq!(self.answers, before + 1, "a call without an answer");
    }

    /// What a call of one key takes.
    fn budget(&mut self, window: &Window, pieces: u64) -> Budget {
        let dealt = self.lot / pieces;
        self.call(0);
        let (bytes, sent) = (&self.bytes, &self.messages);
        assert_eq!(sent[0][1], sent[1][0], "each says something in each round");
        Budget {
            case: window.case.to_owned(),
            asked: [bytes[ASKER][0], bytes[ASKER][1]],
            between: [bytes[0][1], bytes[1][0]],
            answered: [bytes[0][ASKER], bytes[1][ASKER]],
            dealt,
            rounds: sent[0][1],
        }
    }
}

/// Pieces of the lots of a window.
fn lot_pieces(window: &Window, keys: &[Arc<SigningKey>]) -> Result<u64, Fault> {
    let ids: Vec<NodeId> = keys.iter().map(|k| k.id()).collect();
    let cut = window.plan(&ids)?.window().and_then(|reading| reading.cut());
    Ok(cut.map_or(1, |cut| cut.lot_pieces.into()))
}

/// Exact counts of each window.
///
/// # Errors
/// None that is not a fault of this file.
pub fn budgets() -> Result<Vec<Budget>, Fault> {
    let keys = parties();
    let all = windows(&keys)?;
    all.iter().map(|w| Ok(Turns::open(w, &keys)?.budget(w, lot_pieces(w, &keys)?))).collect()
}

/// A percentile of a list.
fn place(seconds: &[f64], hundredth: usize) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) * hundredth / 100).copied().unwrap_or(0.0)
}

/// Times calls of one key one after the other: what has to happen one after the other in processor time, without a
/// network. `wants` picks cases.
///
/// # Errors
/// None that is not a fault of this file.
pub fn timed(wants: impl Fn(&str) -> bool) -> Result<Vec<Case>, Fault> {
    let (keys, mut cases) = (parties(), Vec::new());
    for window in windows(&keys)?.iter().filter(|w| wants(w.case)) {
        let mut turns = Turns::open(window, &keys)?;
        let opening = turns.seconds.iter().sum::<f64>();
        let budget = turns.budget(window, lot_pieces(window, &keys)?);
        let mut seconds = Vec::new();
        for number in 0..CALLS {
            turns.call(number);
            seconds.push(turns.seconds[ASKER] + turns.seconds[0].max(turns.seconds[1]));
        }
        cases.push(Case {
            case: window.case.to_owned(),
            n: 1,
            d: FEATURES,
            parties: 2,
            seconds: median(seconds.clone()),
            bytes_sent: budget.between[0].max(budget.between[1]),
            rounds: budget.rounds + 1,
            samples: CALLS,
            note: format!(
                "{}; p50 of calls of one key, the recipient and the busier party; p99 {:.3} ms; {} B dealt ahead; rounds \
                 with the question and the answers; opening {opening:.2} s of all seats",
                window.note,
                place(&seconds, 99) * 1e3,
                budget.dealt
            ),
            ..Case::default()
        });
    }
    Ok(cases)
}

/// The same calls over QUIC on loopback, by the clock.
///
/// # Errors
/// What the network says.
pub async fn over_quic(wants: impl Fn(&str) -> bool) -> Result<Vec<Case>, AnyError> {
    let mesh = Mesh::connect(SEATS).await?;
    let mut cases = Vec::new();
    for window in windows(mesh.keys())? {
        let case = format!("quic_{}", window.case);
        if !wants(&case) {
            continue;
        }
        let (say, says) = mpsc::unbounded_channel();
        let (hears, mut heard) = mpsc::unbounded_channel();
        let seats = mesh.serve(window.machines(mesh.keys())?, ASKER, Host { says, hears });
        // The first thing that is heard is that the window is open.
        heard.recv().await.ok_or("the window did not open")?;
        let mut seconds = Vec::new();
        for number in 0..CALLS {
            let begun = Instant::now();
            say.send(call(number))?;
            while !is_answer(&heard.recv().await.ok_or("the window has ended")?) {}
            seconds.push(begun.elapsed().as_secs_f64());
        }
        say.send(host::said(&Say::Close))?;
        for seat in seats {
            seat.await??;
        }
        let budget = Turns::open(&window, mesh.keys())?.budget(&window, lot_pieces(&window, mesh.keys())?);
        let links = [(ASKER, 0, budget.asked[0]), (ASKER, 1, budget.asked[1])];
        cases.push(Case {
            case,
            n: 1,
            d: FEATURES,
            parties: 2,
            seconds: median(seconds.clone()),
            bytes_sent: budget.between[0].max(budget.between[1]),
            rounds: budget.rounds + 1,
            limit_seconds: mesh.plain(&links).await? * (budget.rounds + 1) as f64,
            samples: CALLS,
            note: format!(
                "{}; p50 by the clock, four seats on the machine's cores; p99 {:.3} ms; limit: a message to both parties \
                 for each round",
                window.note,
                place(&seconds, 99) * 1e3
            ),
            ..Case::default()
        });
    }
    Ok(cases)
}
