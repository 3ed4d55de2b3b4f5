//! Two owners bring their keys together while messages come late and everyone may be killed and begin again: what each
//! keeps is what a plain join gives, whatever happens on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{Cohort, ColumnKind, ProviderRef};
use tacit_jobs::align::{Desk, InMemory, Inline, KEPT_BYTES, Keep, Kept, STATE_LABEL, Storage};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan, session};
use tacit_protocol::{Abort, Effect, Event, Machine, Seating, Setup};
use tacit_types::{Attempt, Code, Column, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, NodeId, Seat, Values};

use crate::dice::Dice;

const KIND: &str = "align/v1";
const NAMES: [&str; 3] = ["bank", "telecom", "grocer"];
const JOB: JobId = JobId([9; 32]);

type Shared<T> = Arc<Mutex<T>>;

fn held<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists that outlive an attempt.
struct Disk(Shared<InMemory>);

impl Storage for Disk {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        held(&self.0).write(file, offset, bytes)
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        held(&self.0).read(file, offset, out)
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        held(&self.0).remove(file)
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// What was found, and whether it is whole.
#[derive(Default)]
struct Found {
    records: Vec<Vec<u8>>,
    kept: Option<Kept>,
}

struct Shelf(Shared<Found>);

impl Keep for Shelf {
    fn put(&mut self, record: &[u8]) -> Result<(), Fault> {
        held(&self.0).records.push(record.to_vec());
        Ok(())
    }

    fn done(&mut self, kept: Kept) -> Result<(), Fault> {
        held(&self.0).kept = Some(kept);
        Ok(())
    }
}

/// One owner.
struct Side {
    ids: Vec<Option<String>>,
    disk: Shared<InMemory>,
    state: Option<Vec<u8>>,
    found: Shared<Found>,
}

struct World {
    kind: &'static str,
    keys: Vec<Arc<SigningKey>>,
    sides: Vec<Side>,
    params: Vec<u8>,
    providers: Vec<ProviderRef>,
    written: Value,
}

/// How an attempt ended, by seat; nothing for who was killed.
type Ends = Vec<Option<Result<JointOutput, Abort>>>;

impl World {
    /// Owners whose 900 ids begin at these numbers.
    fn new(dice: &mut Dice, kind: &'static str, mut written: Value, firsts: &[u64]) -> Self {
        let numbers = 1..=firsts.len() as u8;
        let mut keys: Vec<SigningKey> = numbers.map(|n| SigningKey::from_seed(&Secret::new([n; 32]))).collect();
        keys.sort_by_key(SigningKey::id);
        let keys: Vec<Arc<SigningKey>> = keys.into_iter().map(Arc::new).collect();
        written["key"] = json!({"id": ["trim/1", "fold/1"]});
        let columns = BTreeMap::from([("id".to_owned(), ColumnKind::Text)]);
        let provider = |(i, key): (usize, &Arc<SigningKey>)| DraftProvider {
            name: NAMES[i].into(),
            owner: key.id(),
            columns: columns.clone(),
        };
        let draft = Draft { providers: keys.iter().enumerate().map(provider).collect(), ..Draft::default() };
        let params = tacit_jobs::kind(kind).and_then(|k| k.draft(written.clone(), &draft)).unwrap();
        let of = |owner: NodeId| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers = keys.iter().map(|k| of(k.id())).collect();
        let mut side = |first: &u64| {
            let mut id = |i: u64| match dice.below(4) {
                0 => format!(" ID-{i}"),
                _ => format!("id-{i}"),
            };
            let mut ids: Vec<Option<String>> = (*first..first + 900).map(|i| Some(id(i))).collect();
            ids.extend([None, Some(String::new()), ids[5].clone(), ids[300].clone()]);
            Side { ids, disk: Shared::default(), state: None, found: Shared::default() }
        };
        let sides = firsts.iter().map(&mut side).collect();
        Self { kind, keys, sides, params, providers, written }
    }

    fn plan(&self) -> Box<dyn Plan> {
        let parts = Parts { providers: &self.providers, ..Parts::default() };
        tacit_jobs::kind(self.kind).and_then(|k| k.plan(&self.params, &parts)).unwrap()
    }

    fn machine(&self, seat: usize, attempt: u32) -> Machine<JointOutput> {
        let (plan, side, owner) = (self.plan(), &self.sides[seat], self.keys[seat].id());
        *held(&side.found) = Found::default();
        let desk = Desk {
            job: JOB,
            storage: Box::new(Disk(side.disk.clone())),
            workers: Arc::new(Inline),
            memory: 1 << 20,
            key: Secret::new([seat as u8 + 7; 32]),
            state: side.state.clone(),
            offered: None,
            keep: Box::new(Shelf(side.found.clone())),
        };
        let mut fold = plan.fold_at(&owner, Material::default(), desk).unwrap();
        for ids in [&side.ids[..0], &side.ids[..500], &side.ids[500..]] {
            let values = Values::Text(ids.iter().map(|id| id.clone().unwrap_or_default()).collect());
            let valid = Some(ids.iter().map(Option::is_some).collect());
            let column = Column { name: "id".into(), values, valid };
            fold.take(&Columns { rows: ids.len(), columns: vec![column] }).unwrap();
        }
        let half = fold.finish();
        let setup = Setup {
            job: JOB,
            attempt: Attempt(attempt),
            seat: Seat(seat as u16),
            seating: Seating::new(self.keys.iter().map(|k| k.id()).collect()).unwrap(),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let context = JointContext {
            session: Hash([attempt as u8; 32]),
            aggregator: Seat(0),
            step_ms: 1000,
            cohort: Cohort { rows: 3, contributors: 2 },
            recipient: recipient().public(),
            owners: self.keys.iter().map(|k| k.id()).collect(),
        };
        let seed = Secret::new([attempt as u8 * 2 + seat as u8; 32]);
        Machine::new(setup, &seed, self.keys[seat].clone(), Millis(0), |party| half.run(party, context))
    }

    /// One attempt. Messages take different times; whoever is killed after so many events does nothing more, and the other
    /// hears of it.
    fn attempt(&mut self, dice: &mut Dice, attempt: u32, kill: Option<(usize, u64)>) -> Ends {
        let parties = self.sides.len();
        let mut machines: Vec<_> = (0..parties).map(|seat| Some(self.machine(seat, attempt))).collect();
        // By time, and by the order in which they were sent.
        let mut queue: BTreeMap<(u64, u64), (usize, Event)> = BTreeMap::new();
        let mut timers: Vec<Option<u64>> = vec![None; parties];
        // When the last message of a sender is with a receiver.
        let mut last: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let (mut count, mut events) = (parties as u64, 0);
        (0..parties).for_each(|seat| drop(queue.insert((0, seat as u64), (seat, Event::Start))));
        loop {
            let timer = (0..parties).filter_map(|s| timers[s].map(|at| (at, s))).min();
            let next = queue.keys().next().map(|(at, _)| *at);
            let (now, to, event) = match (next, timer) {
                (Some(at), Some((due, s))) if due < at => (due, s, Event::Timer),
                (None, Some((due, s))) => (due, s, Event::Timer),
                (Some(_), _) => {
                    let ((at, _), (to, event)) = queue.pop_first().unwrap();
                    (at, to, event)
                }
                (None, None) => break,
            };
            if matches!(event, Event::Timer) {
                timers[to] = None;
            }
            let Some(machine) = machines[to].as_mut() else { continue };
            let effects = machine.step(Millis(now), event);
            events += 1;
            for effect in effects {
                count += 1;
                match effect {
                    Effect::Send(message) => {
                        let peer = message.address.to.index();
                        // One stream: nothing overtakes.
                        let at = last.entry((to, peer)).or_default();
                        *at = (*at).max(now + dice.between(1, 40));
                        queue.insert((*at, count), (peer, Event::Received(message)));
                    }
                    Effect::Credit { to: peer, consumed } => {
                        let event = Event::Credit { from: Seat(to as u16), consumed };
                        queue.insert((now + dice.between(1, 40), count), (peer.index(), event));
                    }
                    Effect::SetTimer(at) => timers[to] = Some(at.0),
                    Effect::Persist { ticket, record } => {
                        if record.starts_with(STATE_LABEL) {
                            self.sides[to].state = Some(record);
                        }
                        queue.insert((now, count), (to, Event::Persisted { ticket }));
                    }
                    Effect::Finish => timers[to] = None,
                    Effect::Opened { .. } | Effect::Progress(_) | Effect::Host(_) => {}
                }
            }
            if let Some((seat, _)) = kill.filter(|(seat, after)| *seat == to && events >= *after)
                && machines[seat].as_ref().is_some_and(|m| !m.is_finished())
            {
                machines[seat] = None;
                timers[seat] = None;
                for other in (0..parties).filter(|other| *other != seat) {
                    count += 1;
                    queue.insert((now + 50, count), (other, Event::Gone(Seat(seat as u16))));
                }
            }
        }
        machines.iter_mut().map(|m| m.as_mut().and_then(Machine::take_outcome)).collect()
    }

    /// What an owner must have kept: the first bytes of the keys that both have.
    fn oracle(&self) -> BTreeSet<Vec<u8>> {
        let plain = |ids: &[Option<String>]| -> BTreeSet<String> {
            let form = |id: &String| id.trim().to_lowercase();
            ids.iter().flatten().map(form).filter(|id| !id.is_empty()).collect()
        };
        let part = serde_json::from_value::<BTreeMap<String, Vec<String>>>(self.written["key"].clone()).unwrap();
        let parts: Vec<_> = part.into_iter().map(|(name, steps)| tacit_jobs::align::KeyPart { name, steps }).collect();
        let schema = tacit_jobs::align::params::schema(&parts).unwrap();
        let both = plain(&self.sides[0].ids).intersection(&plain(&self.sides[1].ids)).cloned().collect::<Vec<_>>();
        both.iter().map(|id| schema.key([Some(id.as_str())]).unwrap()[..KEPT_BYTES].to_vec()).collect()
    }

    fn kept(&self, seat: usize) -> BTreeSet<Vec<u8>> {
        held(&self.sides[seat].found).records.iter().cloned().collect()
    }
}

fn recipient() -> SealKey {
    SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap()
}

/// What the recipient opens.
fn opened(world: &World, ends: &Ends) -> Value {
    let ok: Vec<&JointOutput> = ends.iter().map(|e| e.as_ref().unwrap().as_ref().unwrap()).collect();
    let releases = ok.iter().enumerate().map(|(i, o)| (Seat(i as u16), o.release.clone())).collect();
    let open = |package: &[u8]| session::unblind(&recipient(), package, &releases);
    world.plan().open(ok[0].package.as_ref().unwrap(), &open).unwrap().json
}

fn levels() -> [Value; 5] {
    [
        json!({"level": "both", "mode": "double_mask", "keys_min": 10}),
        json!({"level": "both", "mode": "keyed", "keys_min": 10}),
        json!({"level": "receiver", "receiver": "telecom", "mode": "keyed", "keys_min": 10}),
        json!({"level": "receiver", "receiver": "bank", "mode": "double_mask", "keys_min": 10, "size": 1024}),
        json!({"level": "spine", "keys_min": 10, "size": 1000}),
    ]
}

/// Who keeps something at a level.
fn learns(written: &Value, seat: usize) -> bool {
    written["receiver"].as_str().is_none_or(|name| name == NAMES[seat])
}

fn check(world: &World, ends: &Ends) {
    let written = &world.written;
    assert_eq!(opened(world, ends), json!({"parties": 2, "level": written["level"], "aligned": true}));
    let oracle = world.oracle();
    assert_eq!(oracle.len(), 500);
    for (seat, end) in ends.iter().enumerate() {
        let output = end.as_ref().unwrap().as_ref().unwrap();
        let size = written["size"].as_u64();
        assert_eq!(output.cells_in, 2 * size.unwrap_or(900), "keys that were offered");
        let told = if written["level"] == "receiver" { 0 } else { 500 };
        assert_eq!(output.cells_out, told, "matches, where both know them");
        let kept = held(&world.sides[seat].found).kept;
        if !learns(written, seat) {
            assert_eq!((kept, world.kept(seat).len()), (None, 0), "seat {seat} learns nothing");
        } else if written["level"] == "spine" {
            let own: BTreeSet<_> =
                world.kept(seat).into_iter().filter(|r| r[KEPT_BYTES..] != [0; KEPT_BYTES]).collect();
            assert_eq!((own.len(), kept.unwrap().records), (900, 2 * 1000 - 500));
        } else {
            assert_eq!(world.kept(seat), oracle, "seat {seat}");
            let rows = 500 + if seat == 0 { 0 } else { 1 };
            assert!(kept.unwrap().rows >= rows, "rows of equal keys are all there");
        }
    }
    if written["level"] == "spine" {
        let ids = |seat: usize| -> Vec<Vec<u8>> {
            held(&world.sides[seat].found).records.iter().map(|r| r[..KEPT_BYTES].to_vec()).collect()
        };
        assert_eq!(ids(0), ids(1), "both have the same ids in the same order");
    }
}

#[test]
fn each_keeps_what_a_plain_join_gives_when_messages_come_late() {
    for seed in 0..4 {
        for written in levels() {
            let dice = &mut Dice::new(seed, "align");
            let mut world = World::new(dice, KIND, written, &[0, 400]);
            let ends = world.attempt(dice, 1, None);
            check(&world, &ends);
        }
    }
}

#[test]
fn whoever_is_killed_anywhere_ends_the_attempt_with_a_cause_and_the_next_one_gives_the_same() {
    for seed in 0..12 {
        for written in levels() {
            let dice = &mut Dice::new(seed, "align killed");
            let mut world = World::new(dice, KIND, written, &[0, 400]);
            let kill = (dice.below(2) as usize, dice.between(1, 30));
            let first = world.attempt(dice, 1, Some(kill));
            match &first[1 - kill.0] {
                Some(Err(Abort::Missing { seats, .. })) => assert_eq!(seats[..], [Seat(kill.0 as u16)]),
                Some(Ok(_)) => {}
                other => panic!("seed {seed}: {:?}", other.as_ref().map(|o| o.as_ref().map(|_| ()))),
            }
            if first[kill.0].is_some() {
                check(&world, &first);
                continue;
            }
            let second = world.attempt(dice, 2, None);
            check(&world, &second);
        }
    }
}

#[test]
fn a_state_meets_no_other_input() {
    let dice = &mut Dice::new(1, "align changed");
    let mut world = World::new(dice, KIND, levels()[0].clone(), &[0, 400]);
    world.attempt(dice, 1, Some((0, 25)));
    let Some(side) = world.sides.iter_mut().find(|s| s.state.is_some()) else { panic!("no state was persisted") };
    side.ids[1] = Some("somebody else".into());
    let ends = world.attempt(dice, 2, None);
    let refused = ends.iter().flatten().any(|e| matches!(e, Err(Abort::Local(f)) if f.code == Code::RefusedDataset));
    assert!(refused, "the same secrets on other keys");
}

const COUNT: &str = "match-count/v1";

#[test]
fn owners_count_what_a_plain_join_counts_and_nobody_keeps_anything() {
    for seed in 0..4 {
        for (firsts, expected) in [(&[0u64, 400][..], 500), (&[0, 400, 700], 200), (&[0, 400, 898], 2)] {
            let dice = &mut Dice::new(seed, "count");
            let written = json!({"collector": "telecom", "keys_min": 10, "count_min": 4});
            let mut world = World::new(dice, COUNT, written, firsts);
            let ends = world.attempt(dice, 1, None);
            let told = (expected >= 4).then_some(expected);
            let parties = firsts.len();
            let json = json!({"parties": parties, "keys": told, "suppressed": told.is_none()});
            assert_eq!(opened(&world, &ends), json);
            for (seat, end) in ends.iter().enumerate() {
                let output = end.as_ref().unwrap().as_ref().unwrap();
                assert_eq!((output.cells_in, output.cells_out), (900 * parties as u64, 1));
                assert_eq!(world.kept(seat).len(), 0);
            }
        }
    }
}

#[test]
fn whoever_is_killed_while_owners_count_ends_it_for_all_and_the_next_attempt_counts() {
    for seed in 0..12 {
        let dice = &mut Dice::new(seed, "count killed");
        let written = json!({"keys_min": 10, "size": 1024});
        let mut world = World::new(dice, COUNT, written, &[0, 400, 700]);
        let kill = (dice.below(3) as usize, dice.between(1, 40));
        let first = world.attempt(dice, 1, Some(kill));
        for end in first.iter().flatten() {
            assert!(matches!(end, Ok(_) | Err(Abort::Missing { .. })), "seed {seed}");
        }
        let second = world.attempt(dice, 2, None);
        assert_eq!(opened(&world, &second), json!({"parties": 3, "keys": 200, "suppressed": false}));
    }
}
