//! A window of calls between seats in one process: what the recipient's node hears is what plain addition gives, every
//! seat counts the same, and who asks for what it may not, or is lost, ends the window in the open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::online::host::{self, Reading, Say, Tell};
use tacit_jobs::score::online::{ANSWER_MS_MAX, BATCH_CALLS_MAX, BATCH_ROWS_MAX, CALL_KEYS_MAX};
use tacit_jobs::score::params::ScoreParams;
use tacit_jobs::{Draft, JointContext, JointOutput, Kind as _, Material, Parts, Plan};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_protocol::{Abort, Effect, Event, Machine, Message, Seating, Setup};
use tacit_receipts::{MemTree, Window};
use tacit_types::wire::Blob;
use tacit_types::{
    Attempt, Code, Column, Columns, DatasetVersionId, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat, Values,
};

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

/// Owner `i` has these amounts; a key may stand twice, an amount may be missing. Its part is `i + amount * 2^i`.
type Rows = Vec<(&'static str, Option<f64>)>;

fn model(i: usize, owner: NodeId) -> Vec<u8> {
    let terms = vec![Term { feature: 0, shape: Shape::Linear { weight: 2f64.powi(i as i32), missing: None } }];
    let meta = Meta { owner, name: Name::new("credit").unwrap(), version: 1 };
    let kind = Kind::Additive(Additive { intercept: i as f64, terms });
    Model::new(meta, vec![Feature::numeric("amount")], Link::Identity, kind).unwrap().encode()
}

fn columns(rows: &Rows) -> Columns {
    let amounts = rows.iter().map(|r| r.1.unwrap_or(0.0)).collect();
    let there = rows.iter().map(|r| r.1.is_some()).collect();
    let keys = rows.iter().map(|r| r.0.to_owned()).collect();
    Columns {
        rows: rows.len(),
        columns: vec![
            Column { name: "amount".into(), values: Values::Float(amounts), valid: Some(there) },
            Column { name: "id".into(), values: Values::Text(keys), valid: None },
        ],
    }
}

/// What each key's score is; `None` where some owner has no usable row.
fn plain(owners: &[Rows], key: &str) -> Option<f64> {
    owners.iter().enumerate().try_fold(0.0, |sum, (i, rows)| {
        let mut found = rows.iter().filter(|r| r.0 == key);
        let (row, more) = (found.next()?, found.next());
        if more.is_some() { None } else { Some(sum + i as f64 + row.1? * 2f64.powi(i as i32)) }
    })
}

fn rows() -> Vec<Rows> {
    let first: Rows = vec![("a", Some(1.5)), ("b", Some(-2.0)), ("c", None), ("d", Some(4.0)), ("d", Some(4.0))];
    let second: Rows = vec![("e", Some(9.0)), ("b", Some(0.25)), ("a", Some(7.0)), ("c", Some(1.0)), ("d", Some(1.0))];
    let third: Rows = vec![("a", Some(-1.0)), ("b", Some(3.0)), ("d", Some(2.0)), ("e", Some(5.0)), ("c", Some(2.0))];
    vec![first, second, third]
}

type Cheat = Box<dyn FnMut(&mut Message)>;

struct World {
    params: ScoreParams,
    reading: Reading,
    machines: Vec<Machine<JointOutput>>,
    now: Millis,
    queue: VecDeque<(usize, Event)>,
    timers: BTreeMap<usize, Millis>,
    dead: Vec<usize>,
    told: Vec<Tell>,
    asker: usize,
    cheat: Cheat,
    /// Messages of the owners to the recipient since the last look.
    sent: usize,
}

impl World {
    fn new(owners: &[Rows], window: &Value, unknown: &str) -> Self {
        let asker = key(50).id();
        let roots: Vec<NodeId> = (0..owners.len() as u8).map(|i| key(i + 1).id()).collect();
        let provider = |o: &NodeId| ProviderRef { owner: *o, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = roots.iter().map(provider).collect();
        let models: Vec<ModelRef> =
            roots.iter().map(|o| ModelRef { owner: *o, model: ModelVersionId([1; 32]) }).collect();
        let descriptor = |owner: NodeId| ModelDescriptor {
            format: 1,
            owner,
            name: Name::new("credit").unwrap(),
            version: 1,
            family: ModelFamily::Linear,
            features: vec!["amount".into()],
            commitment: Hash([0; 32]),
        };
        let columns_of = [("amount", ColumnKind::Float), ("id", ColumnKind::Text)].map(|(n, k)| (n.to_owned(), k));
        let named = |(i, o): (usize, &NodeId)| DraftProvider {
            name: format!("p{i}"),
            owner: *o,
            columns: columns_of.clone().into(),
        };
        let draft = Draft {
            providers: roots.iter().enumerate().map(named).collect(),
            models: models.iter().cloned().zip(roots.iter().map(|o| descriptor(*o))).collect(),
            ..Draft::default()
        };
        let mut window = window.clone();
        window["recipient"] = json!(asker.to_string());
        let kind = tacit_jobs::score::ScoreLinear;
        let params = kind.draft(json!({"key": "id", "unknown": unknown, "online": window}), &draft).unwrap();
        let parts = Parts { providers: &providers, models: &models, ..Parts::default() };
        let plan: Box<dyn Plan> = kind.plan(&params, &parts).unwrap();
        // Seats lie in the order of node keys, which here are the root keys.
        let mut seats: Vec<(NodeId, u8)> = roots.iter().zip(1..).map(|(o, n)| (*o, n)).collect();
        seats.push((asker, 50));
        seats.sort_unstable();
        let seating = Seating::new(seats.iter().map(|(id, _)| *id).collect()).unwrap();
        let mut machines = Vec::new();
        for (seat, (root, n)) in seats.iter().enumerate() {
            let model = (*n < 50).then(|| model(usize::from(*n) - 1, *root));
            let mut fold = plan.fold(root, Material { model, attachments: BTreeMap::new() }).unwrap();
            if *n < 50 {
                let all = &owners[usize::from(*n) - 1];
                let (first, rest) = all.split_at(2);
                fold.take(&columns(&first.to_vec())).unwrap();
                fold.take(&columns(&rest.to_vec())).unwrap();
            }
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(seat as u16),
                seating: seating.clone(),
                disclosures: plan.disclosures(),
                stream_bytes_max: 1 << 30,
            };
            let context = JointContext {
                session: Hash([5; 32]),
                aggregator: Seat(0),
                step_ms: 3000,
                cohort: Cohort { rows: 3, contributors: 2 },
                recipient: SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0))))
                    .unwrap()
                    .public(),
                owners: seats.iter().map(|(id, _)| *id).collect(),
            };
            let half = fold.finish();
            machines.push(Machine::new(
                setup,
                &Secret::new([40 + seat as u8; 32]),
                Arc::new(key(*n)),
                Millis(0),
                |p| half.run(p, context),
            ));
        }
        let mut world = Self {
            params: tacit_crypto::cbor::decode(&params).unwrap(),
            reading: plan.window().unwrap(),
            queue: (0..machines.len()).map(|i| (i, Event::Start)).collect(),
            machines,
            now: Millis(0),
            timers: BTreeMap::new(),
            dead: Vec::new(),
            told: Vec::new(),
            asker: seats.iter().position(|(_, n)| *n == 50).unwrap(),
            cheat: Box::new(|_| {}),
            sent: 0,
        };
        world.run();
        assert_eq!(core::mem::take(&mut world.told), [Tell::Ready]);
        world
    }

    /// The seats of the owners.
    fn owners(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|i| *i != self.asker).collect()
    }

    fn run(&mut self) {
        while let Some((to, event)) = self.queue.pop_front() {
            if self.dead.contains(&to) {
                continue;
            }
            for effect in self.machines[to].step(self.now, event) {
                match effect {
                    Effect::Send(mut m) => {
                        self.sent += usize::from(m.address.to.index() == self.asker);
                        (self.cheat)(&mut m);
                        self.queue.push_back((m.address.to.index(), Event::Received(m)));
                    }
                    Effect::Credit { to: sender, consumed } => {
                        self.queue.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                    }
                    Effect::SetTimer(at) => drop(self.timers.insert(to, at)),
                    Effect::Host(bytes) if to == self.asker => self.told.push(host::hear(&bytes).unwrap()),
                    _ => {}
                }
            }
        }
    }

    /// Lets time pass.
    fn wait(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while let Some((seat, at)) =
            self.timers.iter().map(|(s, at)| (*s, *at)).min_by_key(|(_, at)| *at).filter(|(_, at)| *at <= end)
        {
            self.now = self.now.max(at);
            self.timers.remove(&seat);
            self.queue.push_back((seat, Event::Timer));
            self.run();
        }
        self.now = end;
    }

    fn kill(&mut self, seat: usize) {
        self.dead.push(seat);
        self.timers.remove(&seat);
        for i in 0..self.machines.len() {
            self.queue.push_back((i, Event::Gone(Seat(seat as u16))));
        }
        self.run();
    }

    fn say(&mut self, say: &Say) -> Vec<Tell> {
        self.queue.push_back((self.asker, Event::Host(host::said(say))));
        self.run();
        core::mem::take(&mut self.told)
    }

    /// One batch of calls; the scores of each, or why there are none.
    fn ask(&mut self, calls: &[&[&str]]) -> Result<Vec<Vec<Value>>, Code> {
        let keys = |call: &&[&str]| call.iter().map(|k| Blob(k.as_bytes().to_vec())).collect();
        let told = self.say(&Say::Calls { tag: 7, calls: calls.iter().map(keys).collect() });
        let [Tell::Answered { tag: 7, outcome, .. }] = &told[..] else { panic!("{told:?}") };
        let cells = outcome.clone()?;
        assert_eq!(cells.len(), calls.len());
        Ok(calls.iter().zip(&cells).map(|(call, cells)| self.reading.scores(call.len(), cells).unwrap()).collect())
    }

    fn outcome(&mut self, seat: usize) -> Result<JointOutput, Abort> {
        self.machines[seat].take_outcome().expect("it has ended")
    }

    /// Every outcome of these seats is the same window, of these calls and rows.
    fn agree(&mut self, seats: &[usize], calls: u64, rows: u64, cells: u64) -> Window {
        let survivors: Vec<Seat> = seats.iter().map(|s| Seat(*s as u16)).collect();
        let outputs: Vec<JointOutput> = seats.iter().map(|s| self.outcome(*s).unwrap()).collect();
        for output in &outputs {
            assert_eq!((output, &output.survivors), (&outputs[0], &survivors));
            assert_eq!((output.cells_in, output.payload_bytes, output.cells_out), (cells, cells * 8, rows));
        }
        let window = Window::parse(outputs[0].package.as_ref().unwrap()).unwrap();
        assert_eq!((window.calls, window.rows, window.cells), (calls, rows, cells));
        window
    }
}

fn wide() -> Value {
    json!({"rows": 100_000, "rows_per_second": 100_000, "seconds": 60})
}

#[test]
fn answers_are_what_plain_addition_gives_and_all_seats_count_alike() {
    for n in [2, 3] {
        let owners: Vec<Rows> = rows().into_iter().take(n).collect();
        for (unknown, per_row, per_call) in [("flag", 2, 0), ("default", 1, 0), ("refuse", 1, 1)] {
            let mut world = World::new(&owners, &wide(), unknown);
            let calls: [&[&str]; 3] = [&["a"], &["b", "a", "b"], &["b", "nobody", "d", "c", "a"]];
            let mut answers = world.ask(&calls).unwrap();
            answers.extend(world.ask(&[&["a"]]).unwrap());
            for (call, scores) in calls.iter().chain(&[&["a"][..]]).zip(&answers) {
                let expected: Vec<Option<f64>> = call.iter().map(|k| plain(&owners, k)).collect();
                let whole = expected.iter().all(Option::is_some);
                for (score, expected) in scores.iter().zip(&expected) {
                    match (unknown, expected) {
                        ("default", None) => assert!(score.is_number()),
                        ("refuse", _) if !whole => assert!(score.is_null()),
                        (_, None) => assert!(score.is_null(), "{call:?}"),
                        (_, Some(x)) => assert!((score.as_f64().unwrap() - x).abs() < 1e-7, "{score} {x}"),
                    }
                }
            }
            let told = world.say(&Say::Close);
            let all: Vec<usize> = (0..=n).collect();
            let window = world.agree(&all, 4, 10, 10 * per_row + 4 * per_call);
            let [Tell::Ending, Tell::Closed { leaves }] = &told[..] else { panic!("{told:?}") };
            let mut tree = MemTree::default();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            assert_eq!((leaves.len(), tree.root()), (4, window.root));
        }
    }
}

#[test]
fn a_window_without_calls_and_one_that_runs_out_of_time_end_well() {
    let mut world = World::new(&rows()[..2], &wide(), "flag");
    world.wait(59_999);
    assert!(world.told.is_empty());
    world.ask(&[&["a"]]).unwrap();
    world.wait(1);
    world.agree(&[0, 1, 2], 1, 1, 2);
    let mut world = World::new(&rows()[..2], &wide(), "flag");
    world.say(&Say::Close);
    world.agree(&[0, 1, 2], 0, 0, 0);
}

/// What the recipient's own seat does not let pass does not reach an owner, and is not counted.
#[test]
fn a_batch_over_a_limit_is_refused_before_it_leaves() {
    let mut world = World::new(&rows()[..2], &json!({"rows": 5000, "rows_per_second": 100_000, "seconds": 60}), "flag");
    let long = vec!["a"; CALL_KEYS_MAX];
    assert!(world.ask(&[&long]).is_ok());
    world.sent = 0;
    let longer = vec!["a"; CALL_KEYS_MAX + 1];
    assert_eq!(world.ask(&[&longer]), Err(Code::OnlineRequest));
    assert_eq!(world.ask(&[&[]]), Err(Code::OnlineRequest));
    assert_eq!(world.ask(&vec![&["a"][..]; BATCH_CALLS_MAX + 1]), Err(Code::OnlineRequest));
    assert_eq!(world.ask(&[&long[..]; BATCH_ROWS_MAX / CALL_KEYS_MAX + 1]), Err(Code::OnlineRequest));
    assert_eq!(world.ask(&[&long[..]; BATCH_ROWS_MAX / CALL_KEYS_MAX]), Err(Code::RefusedQuota), "rows are left over");
    assert_eq!(world.sent, 0, "no owner was asked");
    assert!(world.ask(&vec![&["a"][..]; BATCH_CALLS_MAX]).is_ok());
    world.say(&Say::Close);
    world.agree(&[0, 1, 2], 257, 1280, 2560);
}

#[test]
fn an_owner_holds_the_pace_by_its_own_clock_and_the_call_counts() {
    let mut world = World::new(&rows()[..2], &json!({"rows": 100, "rows_per_second": 10, "seconds": 60}), "default");
    assert!(world.ask(&[&["a"; 10]]).is_ok());
    assert_eq!(world.ask(&[&["a"]]), Err(Code::RefusedPace));
    world.wait(100);
    assert!(world.ask(&[&["a"]]).is_ok(), "the masks go on in step after a refusal");
    world.say(&Say::Close);
    world.agree(&[0, 1, 2], 3, 12, 12);
}

/// An owner that is lost: its calls fail, the others' counts are one receipt.
#[test]
fn the_loss_of_an_owner_ends_the_window_with_what_was_done() {
    for silent in [false, true] {
        let mut world = World::new(&rows(), &wide(), "flag");
        world.ask(&[&["a"]]).unwrap();
        let lost = world.owners()[1];
        if silent {
            // It is there for the network and answers no more.
            world.dead.push(lost);
        } else {
            world.kill(lost);
        }
        let told = world.say(&Say::Calls { tag: 9, calls: vec![vec![Blob(b"b".to_vec())]] });
        let calls = if silent {
            assert_eq!(told, []);
            world.wait(ANSWER_MS_MAX);
            let [Tell::Answered { tag: 9, outcome: Err(Code::JobPeerLost), .. }, ..] = &world.told[..] else {
                panic!("{:?}", world.told)
            };
            2
        } else {
            1
        };
        let left: Vec<usize> = (0..4).filter(|i| *i != lost).collect();
        world.agree(&left, calls, calls, 2 * calls);
    }
}

/// The recipient is lost after a call reached one owner of three: the owners settle on what all of them have heard.
#[test]
fn the_owners_settle_when_the_recipient_is_lost() {
    let mut world = World::new(&rows(), &wide(), "flag");
    world.ask(&[&["a", "b"]]).unwrap();
    let one = world.owners()[0];
    world.cheat = Box::new(move |m| {
        if m.address.to.index() != one {
            m.address.job = JobId([9; 32]);
        }
    });
    let told = world.say(&Say::Calls { tag: 9, calls: vec![vec![Blob(b"b".to_vec())]] });
    assert_eq!(told, []);
    world.cheat = Box::new(|_| {});
    let asker = world.asker;
    world.kill(asker);
    world.agree(&world.owners(), 1, 2, 4);
}

/// Who puts different keys to two owners gets random numbers from both.
#[test]
fn owners_that_are_asked_different_things_give_nothing() {
    let mut world = World::new(&rows()[..2], &wide(), "default");
    let one = world.owners()[0];
    world.cheat = Box::new(move |m| {
        if m.address.to.index() == one && m.body.last() == Some(&b'a') {
            m.body.pop();
            m.body.push(b'b');
        }
    });
    let before = world.ask(&[&["a"]]).unwrap();
    let mixed = plain(&rows()[..2], "a").unwrap();
    assert!(before[0][0].as_f64().unwrap().abs() > 1e3 * mixed.abs(), "{before:?}");
    // It is found out at the end at the latest: the owners have counted other calls.
    world.say(&Say::Close);
    assert_eq!(world.outcome(one).unwrap_err().code(), Code::JobMisbehaved);
}

#[test]
fn a_recipient_that_misstates_time_or_the_count_is_blamed() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 3] = [
        ("bytes that are none", |b| b.truncate(b.len() - 1)),
        ("another root", |b| b[30] ^= 1),
        ("another count", |b| b[4] ^= 1),
    ];
    for (what, change) in changes {
        let mut world = World::new(&rows()[..2], &wide(), "flag");
        world.ask(&[&["a"]]).unwrap();
        let one = world.owners()[0];
        world.cheat = Box::new(move |m| {
            if m.address.to.index() == one {
                change(&mut m.body);
                m.total = m.body.len() as u64;
            }
        });
        world.say(&Say::Close);
        assert_eq!(world.outcome(one).unwrap_err().code(), Code::JobMisbehaved, "{what}");
    }
    // A time far from the owner's own clock.
    let mut world = World::new(&rows()[..2], &wide(), "flag");
    let one = world.owners()[0];
    world.cheat = Box::new(move |m| {
        if m.address.to.index() == one {
            let late: u64 = 20_000;
            m.body[4..12].copy_from_slice(&late.to_le_bytes());
        }
    });
    world.say(&Say::Calls { tag: 1, calls: vec![vec![Blob(b"a".to_vec())]] });
    assert_eq!(world.outcome(one).unwrap_err().code(), Code::JobMisbehaved);
}

#[test]
fn a_window_has_terms_within_its_limits_and_is_not_verified() {
    let owners = rows();
    let world = World::new(&owners[..2], &wide(), "flag");
    let mut params = world.params.clone();
    assert!(params.check().is_ok());
    for change in [
        |p: &mut ScoreParams| p.online.as_mut().unwrap().seconds = 0,
        |p: &mut ScoreParams| p.online.as_mut().unwrap().seconds = 86_001,
        |p: &mut ScoreParams| p.online.as_mut().unwrap().rows_per_second = 0,
        |p: &mut ScoreParams| p.online.as_mut().unwrap().recipient = p.owners[0].owner,
        |p: &mut ScoreParams| p.rows = (1 << 20) + 1,
    ] {
        let mut wrong = params.clone();
        change(&mut wrong);
        assert_eq!(wrong.check().unwrap_err().code, Code::RefusedParameters);
    }
    params.verified = Some(0);
    assert!(params.check().unwrap_err().what.contains("verified"));
}
