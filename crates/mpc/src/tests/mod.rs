//! A world of parties and a dealer in one thread, which counts what is sent.

mod attacks;
mod costs;
mod dealer;
mod faults;
mod live;
mod low;
mod operations;
mod privacy;
mod verified;
mod wide;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tacit_crypto::{Secret, SigningKey};
use tacit_protocol::{Abort, Audience, Disclosure, Effect, Event, Machine, Message, Seating, Setup};
use tacit_types::{Attempt, Fault, Hash, JobId, Millis, NodeId, Seat};

use crate::plan::Op;
use crate::prep::StreamKey;
use crate::{Builder, HANDED_WORDS, Plan, Security, Sink, Source, Terms, open_handed};

pub const STEP_MS: u64 = 1000;

pub fn disclosure() -> Disclosure {
    Disclosure { what: "scores".into(), to: Audience::Recipient, cells_max: 1 << 40 }
}

/// Random words for tests.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below 2^(bits-1) in size.
    pub fn signed(&mut self, bits: u8) -> i64 {
        (self.word() as i64) >> (64 - bits)
    }

    pub fn numbers(&mut self, count: usize, bits: u8) -> Vec<i64> {
        (0..count).map(|_| self.signed(bits).max(1 - (1 << (bits - 1)))).collect()
    }
}

/// Inputs by number, all rows.
#[derive(Clone, Default)]
pub struct Table(pub BTreeMap<u32, Vec<u64>>, pub BTreeMap<u32, usize>);

impl Table {
    /// Rows of numbers, so many columns.
    pub fn with(mut self, input: u32, columns: usize, numbers: &[i64]) -> Self {
        self.0.insert(input, numbers.iter().map(|n| *n as u64).collect());
        self.1.insert(input, columns);
        self
    }

    /// Packed bits, so many words to a row.
    pub fn with_bits(mut self, input: u32, words: usize, bits: &[u64]) -> Self {
        self.0.insert(input, bits.to_vec());
        self.1.insert(input, words);
        self
    }
}

impl Source for Table {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        let from = first_row as usize * self.1[&input];
        out.copy_from_slice(&self.0[&input][from..from + out.len()]);
        Ok(())
    }
}

/// Outputs by number, rows in order.
#[derive(Clone, Default)]
pub struct Outputs(pub BTreeMap<u32, Vec<u64>>);

impl Outputs {
    pub fn numbers(&self, output: u32) -> Vec<i64> {
        self.0[&output].iter().map(|w| *w as i64).collect()
    }
}

impl Sink for Outputs {
    fn take(&mut self, output: u32, _: u64, words: Vec<u64>) -> Result<(), Fault> {
        self.0.entry(output).or_default().extend(words);
        Ok(())
    }

    fn summands(&mut self, output: u32, row: u64, words: zeroize::Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        self.take(output, row, words.to_vec())
    }

    fn key(&mut self, words: zeroize::Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        self.take(KEY, 0, words.to_vec())
    }
}

/// The output under which [`Outputs`] keeps the key of what is handed out.
pub const KEY: u32 = u32::MAX;

/// Keeps what it takes where it can be seen after the machine has failed.
struct Tap(Arc<Mutex<Outputs>>);

impl Sink for Tap {
    fn take(&mut self, output: u32, row: u64, words: Vec<u64>) -> Result<(), Fault> {
        self.0.lock().unwrap().take(output, row, words)
    }

    fn summands(&mut self, output: u32, row: u64, words: zeroize::Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        self.0.lock().unwrap().summands(output, row, words)
    }

    fn key(&mut self, words: zeroize::Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        self.0.lock().unwrap().key(words)
    }
}

/// Sees every message; may change or drop it.
pub type Hook<'a> = Box<dyn FnMut(&mut Message) -> bool + 'a>;

pub struct World<'a> {
    pub machines: Vec<Machine<Outputs>>,
    pub now: Millis,
    queue: VecDeque<(usize, Event, u32)>,
    timers: BTreeMap<usize, Millis>,
    pub dead: Vec<usize>,
    /// The seat is lost once it has sent so many messages.
    pub kill: Option<(usize, usize)>,
    pub hook: Hook<'a>,
    sent: Vec<usize>,
    /// How many messages in a row lead to what each seat knows.
    pub depth: Vec<u32>,
    /// Chunks in memory on their way to protocol, the most at once, by receiver.
    /// What each party took, whether or not it ended well.
    pub taken: Vec<Arc<Mutex<Outputs>>>,
    pub unread: Vec<i64>,
    pub unread_max: i64,
}

pub fn terms(plan: &Plan, n: usize) -> Terms {
    Terms {
        plan: Arc::new(plan.clone()),
        context: Hash([7; 32]),
        parties: (0..n as u16).map(Seat).collect(),
        dealer: Seat(n as u16),
        step_base: 3,
        step_ms: STEP_MS,
    }
}

impl<'a> World<'a> {
    /// Parties in seats 0 to n-1, the dealer in seat n.
    pub fn new(plan: &Plan, inputs: Vec<Table>, seed: u8) -> Self {
        let terms = terms(plan, inputs.len());
        Self::with(vec![terms; inputs.len() + 1], inputs, seed, vec![disclosure()])
    }

    pub fn with(terms: Vec<Terms>, inputs: Vec<Table>, seed: u8, disclosures: Vec<Disclosure>) -> Self {
        Self::with_dealer(terms, inputs, seed, disclosures, None)
    }

    /// As [`World::with`], with a dealer that makes its corrections in a way of its own.
    pub fn with_dealer(
        terms: Vec<Terms>,
        inputs: Vec<Table>,
        seed: u8,
        disclosures: Vec<Disclosure>,
        dealer: Option<Corrections>,
    ) -> Self {
        let n = inputs.len();
        let mut keys: Vec<SigningKey> =
            (0..=n).map(|i| SigningKey::from_seed(&Secret::new([i as u8 + 1; 32]))).collect();
        keys.sort_by_key(SigningKey::id);
        let keys: Vec<Arc<SigningKey>> = keys.into_iter().map(Arc::new).collect();
        let nodes: Vec<NodeId> = keys.iter().map(|k| k.id()).collect();
        let seating = Seating::new(nodes).unwrap();
        let taken: Vec<Arc<Mutex<Outputs>>> = (0..=n).map(|_| Arc::default()).collect();
        let machine = |i: usize| {
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(i as u16),
                seating: seating.clone(),
                disclosures: disclosures.clone(),
                stream_bytes_max: 1 << 32,
            };
            let mut bytes = [seed; 32];
            bytes[0] = i as u8;
            let (terms, inputs) = (terms[i].clone(), inputs.get(i).cloned());
            let (dealer, taken) = (dealer.clone(), taken[i].clone());
            Machine::new(setup, &Secret::new(bytes), keys[i].clone(), Millis(0), move |mut party| async move {
                match (inputs, dealer) {
                    (Some(mut table), _) => {
                        crate::compute(&mut party, &terms, &mut table, &mut Tap(taken.clone())).await?
                    }
                    (None, None) => crate::deal(&mut party, &terms).await?,
                    (None, Some(make)) => {
                        let make = |keys: &[StreamKey], tile| make(&terms, keys, tile);
                        crate::deal::deal_by(&mut party, &terms, &make).await?
                    }
                }
                let outputs = taken.lock().unwrap().clone();
                Ok(outputs)
            })
        };
        Self {
            machines: (0..=n).map(machine).collect(),
            now: Millis(0),
            queue: (0..=n).map(|i| (i, Event::Start, 0)).collect(),
            timers: BTreeMap::new(),
            dead: Vec::new(),
            kill: None,
            hook: Box::new(|_| true),
            sent: vec![0; n + 1],
            depth: vec![0; n + 1],
            taken,
            unread: vec![0; n + 1],
            unread_max: 0,
        }
    }

    pub fn lose(&mut self, seat: usize) {
        self.dead.push(seat);
        self.timers.remove(&seat);
        let others = (0..self.machines.len()).filter(|i| *i != seat);
        self.queue.extend(others.map(|i| (i, Event::Gone(Seat(seat as u16)), 0)));
    }

    pub fn run(&mut self) {
        loop {
            while let Some((to, event, depth)) = self.queue.pop_front() {
                self.step(to, event, depth);
            }
            let alive = |i: &usize| !self.dead.contains(i) && !self.machines[*i].is_finished();
            let next = self.timers.iter().filter(|(i, _)| alive(i)).map(|(i, at)| (*at, *i)).min();
            let Some((at, who)) = next else { return };
            self.now = self.now.max(at);
            self.timers.remove(&who);
            self.queue.push_back((who, Event::Timer, 0));
        }
    }

    fn step(&mut self, to: usize, event: Event, depth: u32) {
        if self.dead.contains(&to) {
            return;
        }
        self.depth[to] = self.depth[to].max(depth);
        if let Event::Received(m) = &event {
            self.unread[to] += m.body.len() as i64;
            self.unread_max = self.unread_max.max(self.unread[to]);
        }
        for effect in self.machines[to].step(self.now, event) {
            match effect {
                Effect::Send(mut message) => {
                    self.sent[to] += 1;
                    if self.kill.is_some_and(|(who, after)| who == to && self.sent[to] > after) {
                        return self.lose(to);
                    }
                    if (self.hook)(&mut message) {
                        let depth = self.depth[to] + 1;
                        self.queue.push_back((message.address.to.index(), Event::Received(message), depth));
                    }
                }
                Effect::Credit { to: sender, consumed } => {
                    let from = Seat(to as u16);
                    let known = self.machines[sender.index()].usage().sent.get(&from).copied().unwrap_or(0);
                    self.queue.push_back((sender.index(), Event::Credit { from, consumed: consumed.min(known) }, 0));
                    self.unread[to] = 0;
                }
                Effect::SetTimer(at) => {
                    self.timers.insert(to, at);
                }
                Effect::Persist { ticket, .. } => self.queue.push_back((to, Event::Persisted { ticket }, 0)),
                Effect::Progress(_) | Effect::Opened { .. } | Effect::Host(_) | Effect::Finish => {}
            }
        }
    }

    /// Every living seat's outcome; a seat that hangs is a failed test.
    pub fn outcomes(&mut self) -> BTreeMap<usize, Result<Outputs, Abort>> {
        let dead = self.dead.clone();
        let living = self.machines.iter_mut().enumerate().filter(|(i, _)| !dead.contains(i));
        living.map(|(i, m)| (i, m.take_outcome().unwrap_or_else(|| panic!("seat {i} hangs")))).collect()
    }
}

/// How a dealer makes a tile's corrections.
pub type Corrections = Arc<dyn Fn(&Terms, &[StreamKey], u32) -> crate::kernel::ErasedBytes + Send + Sync>;

thread_local! {
    /// What [`run`] makes of a plan's security; `None` leaves it as it is.
    static SECURITY: core::cell::Cell<Option<Security>> = const { core::cell::Cell::new(None) };
}

/// Runs a test whose plans are run with another security.
pub fn with_security(security: Security, test: impl FnOnce()) {
    SECURITY.set(Some(security));
    test();
    SECURITY.set(None);
}

/// The sums of what parties handed out as numbers, with codes checked against their key, and shares of these numbers in
/// whole words.
pub fn handed(plan: &Plan, outputs: &mut [Outputs]) {
    let n = outputs.len();
    let sum = |all: &[Outputs], i: u32| -> Vec<u64> {
        let add =
            |s: &[u64], o: &Outputs| s.iter().zip(&o.0[&i]).map(|(s, w)| s.wrapping_add(*w)).collect::<Vec<u64>>();
        all.iter().fold(vec![0; all[0].0[&i].len()], |s, o| add(&s, o))
    };
    let indexes: Vec<u32> =
        plan.nodes.iter().filter_map(|n| if let Op::Hand { index, .. } = n.op { Some(index) } else { None }).collect();
    for index in indexes {
        let format = plan.handed(index).unwrap();
        if !plan.is_verified() {
            let numbers = sum(outputs, index).into_iter().map(|s| format.number(s).unwrap().wrapping_sub(s));
            let words = outputs[0].0.get_mut(&index).unwrap();
            words.iter_mut().zip(numbers).for_each(|(w, n)| *w = w.wrapping_add(n));
            continue;
        }
        let key: [u64; 2] = sum(outputs, KEY).try_into().unwrap();
        let opened = open_handed(&sum(outputs, index), &key, n).unwrap();
        for o in outputs.iter_mut() {
            let low = o.0[&index].chunks(HANDED_WORDS).map(|c| c[0]).collect();
            o.0.insert(index, low);
        }
        assert_eq!(opened, sum(outputs, index));
        assert!(opened.iter().all(|n| format.number(*n) == Some(*n)));
    }
}

/// Runs honest seats, checks that they sent what the plan's cost says, and gives every party's outputs.
pub fn run(plan: &Plan, inputs: Vec<Table>) -> Vec<Outputs> {
    let plan = &match SECURITY.get() {
        Some(security) => Builder::again(plan, security).unwrap_or_else(|e| panic!("{e}")),
        None => plan.clone(),
    };
    let n = inputs.len();
    let mut world = World::new(plan, inputs, 1);
    let log = Arc::new(Mutex::new(BTreeMap::<(usize, usize), u64>::new()));
    let counts = log.clone();
    world.hook = Box::new(move |m| {
        let pair = (m.address.from.index(), m.address.to.index());
        *counts.lock().unwrap().entry(pair).or_default() += m.body.len() as u64;
        true
    });
    world.run();
    let mut outputs: Vec<Outputs> =
        world.outcomes().into_values().map(|o| o.unwrap_or_else(|a| panic!("{a}"))).take(n).collect();
    let cost = plan.cost();
    let log = log.lock().unwrap();
    for i in 0..n {
        for j in (0..n).filter(|j| *j != i) {
            assert_eq!(log.get(&(i, j)).copied().unwrap_or(0), cost.sent[i][j], "bytes from {i} to {j}");
        }
        assert_eq!(log.get(&(n, i)).copied().unwrap_or(0), cost.dealt[i], "bytes dealt to {i}");
        // The hash of the terms, and with audits a coin and its commitment.
        assert_eq!(log[&(i, n)], if plan.audits() > 0 { 96 } else { 32 }, "what a party tells the dealer");
    }
    if cost.tiles == 1 {
        let depth = world.depth[..n].iter().max().unwrap();
        // Where one seat alone speaks in a round, the others' next words do not wait for it: checks come in such rounds.
        let (most, slack) = (cost.rounds_once + cost.rounds_tile, if plan.is_verified() { 2 } else { 0 });
        assert!((most - slack..=most).contains(depth), "{depth} rounds, {most} stated");
    }
    handed(plan, &mut outputs);
    outputs
}
