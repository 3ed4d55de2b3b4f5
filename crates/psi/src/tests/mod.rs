//! A world of parties in one thread with a virtual clock: messages may be changed on their way, parties killed and begun
//! again.

mod cheats;
mod equality;
mod liars;
mod long;
mod lookup;
mod many;
mod privacy;
mod resume;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tacit_crypto::{Secret, SigningKey};
use tacit_protocol::{Abort, Audience, Disclosure, Effect, Event, Machine, Message, Party, Seating, Setup};
use tacit_types::{Attempt, Fault, Hash, JobId, Millis, NodeId, Seat};

use crate::keyset::{KeySet, KeySetBuilder};
use crate::normalise::Step;
use crate::outcome::{Outcome, Place, View};
use crate::run::intersect;
use crate::schema::{KeyColumn, NoKey, Schema};
use crate::session::{Host, Resume};
use crate::storage::{InMemory, Storage};
use crate::terms::{Level, Mode, Terms};
use crate::workers::{Inline, Workers};

pub const STEP_MS: u64 = 1000;

pub fn disclosure() -> Disclosure {
    Disclosure { what: "matches".into(), to: Audience::Nodes, cells_max: 1 << 40 }
}

pub fn terms(level: Level, mode: Mode) -> Terms {
    Terms {
        level,
        mode,
        context: Hash([7; 32]),
        receiver: Seat(1),
        sender: Seat(0),
        disclosure: disclosure(),
        books: None,
        items_max: 1 << 20,
        items_min: 0,
        announced: None,
        batch: 256,
        checkpoint: 0,
        step_base: 3,
        begin_ms: 10 * STEP_MS,
        step_ms: STEP_MS,
        lie: None,
        asks: None,
    }
}

/// Every combination that there is.
pub fn all() -> Vec<(Level, Mode)> {
    vec![
        (Level::Receiver, Mode::Oprf),
        (Level::Both, Mode::Oprf),
        (Level::Receiver, Mode::DoubleMask),
        (Level::Both, Mode::DoubleMask),
        (Level::Cardinality { both: false }, Mode::DoubleMask),
        (Level::Cardinality { both: true }, Mode::DoubleMask),
        (Level::Spine, Mode::DoubleMask),
    ]
}

pub fn schema() -> Schema {
    let steps = ["nfkc/1", "trim/1", "fold/1"].map(|s| Step::parse(s).unwrap()).to_vec();
    Schema::new(vec![KeyColumn { name: "id".into(), steps }]).unwrap()
}

/// What a party has: one text a row.
pub type Rows = Vec<Option<String>>;

pub fn rows(texts: impl IntoIterator<Item = impl ToString>) -> Rows {
    texts.into_iter().map(|t| Some(t.to_string())).collect()
}

pub fn key_set(storage: &mut dyn Storage, schema: &Schema, rows: &Rows) -> KeySet {
    let mut builder = KeySetBuilder::new(schema.clone(), 1 << 20);
    for row in rows {
        let key: Result<_, NoKey> = schema.key([row.as_deref()]);
        builder.push_key(storage, key).unwrap();
    }
    builder.finish(storage).unwrap()
}

/// What came out, in plain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    Set { matched: Vec<Vec<u64>>, alone: Vec<Vec<u64>>, peer_alone: u64 },
    Count(u64),
    Spine { ids: Vec<([u8; 16], Vec<u64>)>, matches: u64 },
    Nothing,
}

pub fn plain(outcome: &Outcome, storage: &mut dyn Storage) -> Result<Got, Fault> {
    Ok(match outcome {
        Outcome::Nothing => Got::Nothing,
        Outcome::Cardinality(count) => Got::Count(*count),
        Outcome::Spine(spine) => {
            let mut ids = Vec::new();
            spine.each(storage, &mut |uid, rows| {
                ids.push((uid, rows));
                Ok(())
            })?;
            assert_eq!(ids.len() as u64, spine.len());
            Got::Spine { ids, matches: spine.matches() }
        }
        Outcome::Set(alignment) => {
            let (mut matched, mut alone, mut peer_alone) = (Vec::new(), Vec::new(), 0);
            alignment.view(storage, View::Full, &mut |place| {
                match place {
                    Place::Both(rows) => matched.push(rows),
                    Place::Own(rows) => alone.push(rows),
                    Place::Peer => peer_alone += 1,
                }
                Ok(())
            })?;
            assert_eq!(
                (matched.len() as u64, alone.len() as u64, peer_alone),
                (alignment.matches(), alignment.alone(), alignment.peer_alone())
            );
            Got::Set { matched, alone, peer_alone }
        }
    })
}

/// A storage that outlives an attempt.
pub type Disk = Arc<Mutex<InMemory>>;

/// A handle to it.
pub struct Kept(pub Disk);

impl Storage for Kept {
    fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(file, offset, bytes)
    }

    fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(file, offset, out)
    }

    fn remove(&mut self, file: u32) -> Result<(), Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(file)
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// What one party brings to one attempt.
#[derive(Clone)]
pub struct Side {
    pub terms: Terms,
    pub schema: Schema,
    pub rows: Rows,
    pub disk: Disk,
    /// The last record of an earlier attempt.
    pub state: Option<Vec<u8>>,
    /// Pieces of batches that were worked on.
    pub work: Arc<AtomicUsize>,
}

/// Counts the pieces.
struct Counting(Arc<AtomicUsize>);

impl Workers for Counting {
    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(count, Ordering::Relaxed);
        Inline.run(count, piece);
    }
}

impl Side {
    pub fn new(terms: &Terms, rows: &Rows) -> Self {
        let (terms, rows) = (terms.clone(), rows.clone());
        Self { terms, schema: schema(), rows, disk: Disk::default(), state: None, work: Arc::default() }
    }
}

pub async fn act(mut party: Party, side: Side) -> Result<Got, Abort> {
    let mut storage = Kept(side.disk.clone());
    let keys = key_set(&mut storage, &side.schema, &side.rows);
    let node = Secret::new([party.seat().0 as u8 + 1; 32]);
    let resume = (side.terms.checkpoint > 0).then_some(Resume { key: &node, state: side.state.as_deref() });
    let workers = Counting(side.work);
    let mut host = Host { storage: &mut storage, workers: &workers, memory: 1 << 20, run: 0, resume };
    let outcome = intersect(&mut party, &side.terms, &keys, &mut host).await?;
    Ok(plain(&outcome, host.storage)?)
}

/// Sees every message on its way; may change it, drop it, or send more.
pub type Hook<'a> = Box<dyn FnMut(Message) -> Vec<Message> + 'a>;
/// What a party is told in place of a timer.
pub type OnTimer<'a> = Box<dyn FnMut(usize) -> Option<Event> + 'a>;
/// What a seat runs.
pub type Protocol<T> = Box<dyn FnOnce(Party) -> Pin<Box<dyn Future<Output = Result<T, Abort>> + Send>>>;

pub struct World<'a, T: 'static = Got> {
    pub machines: Vec<Machine<T>>,
    pub now: Millis,
    queue: VecDeque<(usize, Event)>,
    timers: BTreeMap<usize, Millis>,
    pub hook: Hook<'a>,
    /// What was persisted last.
    pub records: BTreeMap<usize, Vec<u8>>,
    pub sent: Vec<Message>,
    /// Everyone is killed after so many messages.
    pub messages_max: usize,
    /// Everyone is killed after so many records.
    pub records_max: usize,
    /// Milliseconds that each party works before it lets the driver have its turn.
    pub piece_ms: Vec<u64>,
    /// What a party is told in place of a timer, if anything.
    pub on_timer: OnTimer<'a>,
    /// What each has consumed of each.
    pub consumed: BTreeMap<[usize; 2], u64>,
}

pub fn keys(n: usize) -> Vec<Arc<SigningKey>> {
    let mut keys: Vec<_> = (0..n).map(|i| SigningKey::from_seed(&Secret::new([i as u8 + 1; 32]))).collect();
    keys.sort_by_key(SigningKey::id);
    keys.into_iter().map(Arc::new).collect()
}

impl World<'_> {
    /// Two parties, in seats 0 and 1.
    pub fn pair(attempt: u32, sides: [Side; 2]) -> Self {
        let protocols = sides.map(|side| -> Protocol<Got> { Box::new(move |party| Box::pin(act(party, side))) });
        Self::new(attempt, protocols.into(), vec![disclosure()])
    }
}

impl<T: 'static> World<'_, T> {
    pub fn new(attempt: u32, protocols: Vec<Protocol<T>>, disclosures: Vec<Disclosure>) -> Self {
        let keys = keys(protocols.len());
        let nodes: Vec<NodeId> = keys.iter().map(|k| k.id()).collect();
        let seating = Seating::new(nodes).unwrap();
        let machine = |(i, (key, protocol)): (usize, (&Arc<SigningKey>, Protocol<T>))| {
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(attempt),
                seat: Seat(i as u16),
                seating: seating.clone(),
                disclosures: disclosures.clone(),
                stream_bytes_max: 1 << 30,
            };
            let mut seed = [attempt as u8; 32];
            seed[0] = i as u8;
            Machine::new(setup, &Secret::new(seed), key.clone(), Millis(0), protocol)
        };
        let machines: Vec<Machine<T>> = keys.iter().zip(protocols).enumerate().map(machine).collect();
        let queue = (0..machines.len()).map(|i| (i, Event::Start)).collect();
        Self {
            machines,
            now: Millis(0),
            queue,
            timers: BTreeMap::new(),
            hook: Box::new(|m| vec![m]),
            records: BTreeMap::new(),
            sent: Vec::new(),
            messages_max: usize::MAX,
            records_max: usize::MAX,
            piece_ms: Vec::new(),
            on_timer: Box::new(|_| None),
            consumed: BTreeMap::new(),
        }
    }

    pub fn run(&mut self) {
        loop {
            while let Some((to, event)) = self.queue.pop_front() {
                let effects = self.machines[to].step(self.now, event);
                self.apply(to, effects);
                if self.sent.len() >= self.messages_max || self.records_max == 0 {
                    return;
                }
            }
            let Some((&to, &at)) = self.timers.iter().min_by_key(|(_, at)| **at) else { return };
            self.timers.remove(&to);
            // A timer that is due at once is a pause in a long work.
            let worked = if at <= self.now { self.piece_ms.get(to).copied().unwrap_or(0) } else { 0 };
            self.now = self.now.max(at).plus(worked);
            let event = (self.on_timer)(to).unwrap_or(Event::Timer);
            self.queue.push_back((to, event));
        }
    }

    fn apply(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => {
                    self.sent.push(message.clone());
                    for m in (self.hook)(message) {
                        self.queue.push_back((m.address.to.index(), Event::Received(m)));
                    }
                }
                Effect::Credit { to, consumed } => {
                    self.consumed.insert([from, to.index()], consumed);
                    self.queue.push_back((to.index(), Event::Credit { from: Seat(from as u16), consumed }));
                }
                Effect::SetTimer(at) => drop(self.timers.insert(from, at)),
                Effect::Persist { ticket, record } => {
                    self.records.insert(from, record);
                    self.records_max = self.records_max.saturating_sub(1);
                    self.queue.push_front((from, Event::Persisted { ticket }));
                }
                Effect::Finish => drop(self.timers.remove(&from)),
                Effect::Opened { .. } | Effect::Progress(_) | Effect::Host(_) => {}
            }
        }
    }

    pub fn outcomes(&mut self) -> Vec<Result<T, Abort>> {
        self.machines.iter_mut().map(|m| m.take_outcome().expect("ended")).collect()
    }
}

/// Runs two honest parties.
pub fn honest(terms: &Terms, sender: &Rows, receiver: &Rows) -> [Got; 2] {
    let mut world = World::pair(1, [Side::new(terms, sender), Side::new(terms, receiver)]);
    world.run();
    let outcomes: Vec<Got> = world.outcomes().into_iter().map(|o| o.unwrap_or_else(|e| panic!("{e}"))).collect();
    outcomes.try_into().unwrap()
}
