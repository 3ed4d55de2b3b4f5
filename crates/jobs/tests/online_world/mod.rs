//! A window among machines in one process: who calls, the owners, the dealer.
#![allow(dead_code, reason = "shared by test programs that use parts of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use tacit_jobs::JointOutput;
use tacit_jobs::score::online::host::{self, Reading, Say, Tell};
use tacit_protocol::{Abort, Effect, Event, Machine, Message};
use tacit_receipts::Window;
use tacit_types::wire::Blob;
use tacit_types::{Code, Millis, NodeId, Seat};

use crate::shares::{Job, signing};

/// The recipient's key among those of tests.
pub const ASKER: usize = 18;
/// What becomes of a message: whether it arrives.
pub type Hook = Box<dyn FnMut(&mut Message) -> bool>;

/// How an owner's node counts the keys of a batch, by seat.
pub type Counting = Box<dyn FnMut(usize, &[Blob]) -> Result<(), Code>>;

pub struct World {
    pub job: Job,
    pub reading: Reading,
    pub counting: Counting,
    /// A seat whose node takes its time to count.
    pub slow: Option<usize>,
    pub machines: Vec<Machine<JointOutput>>,
    pub now: Millis,
    pub queue: VecDeque<(usize, Event)>,
    pub timers: BTreeMap<usize, Millis>,
    pub dead: BTreeSet<usize>,
    pub told: Vec<Tell>,
    pub asker: usize,
    pub dealer: usize,
    pub hook: Hook,
    /// Messages by sender and receiver.
    pub sent: BTreeMap<(usize, usize), usize>,
    /// Chunks that were held back.
    pub held: Vec<(usize, Event)>,
    pub opened: BTreeMap<usize, u64>,
    /// A seat whose clock stands.
    pub frozen: Option<(usize, Millis)>,
}

/// What a job file says of a window.
pub fn window(rows: u64, rows_per_second: u64) -> Value {
    json!({"rows": rows, "rows_per_second": rows_per_second, "seconds": 60,
        "recipient": signing(ASKER).id().to_string()})
}

impl World {
    pub fn new(job: Job) -> Self {
        let mut world = Self::unopened(job, Box::new(|_| true));
        world.run();
        assert_eq!(core::mem::take(&mut world.told), [Tell::Ready]);
        world
    }

    pub fn unopened(job: Job, hook: Hook) -> Self {
        let mut all = job;
        all.seated.push(signing(ASKER));
        all.seated.sort_by_key(tacit_crypto::SigningKey::id);
        let roots: Vec<NodeId> = all.seated.iter().map(tacit_crypto::SigningKey::id).collect();
        let seat = |id: NodeId| roots.iter().position(|r| *r == id).unwrap();
        let machines: Vec<_> = (0..roots.len()).map(|seat| all.machine(seat)).collect();
        Self {
            reading: all.plan().unwrap().window().unwrap(),
            counting: Box::new(|_, _| Ok(())),
            slow: None,
            queue: (0..machines.len()).map(|i| (i, Event::Start)).collect(),
            machines,
            now: Millis(0),
            timers: BTreeMap::new(),
            dead: BTreeSet::new(),
            told: Vec::new(),
            asker: seat(signing(ASKER).id()),
            dealer: seat(all.dealer.unwrap()),
            hook,
            sent: BTreeMap::new(),
            held: Vec::new(),
            opened: BTreeMap::new(),
            frozen: None,
            job: all,
        }
    }

    /// Who computes.
    pub fn owners(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|i| *i != self.asker && *i != self.dealer).collect()
    }

    /// The owner of the highest root: it gets what is dealt.
    pub fn corrected(&self) -> usize {
        *self.owners().last().unwrap()
    }

    pub fn run(&mut self) {
        while let Some((to, event)) = self.queue.pop_front() {
            if self.dead.contains(&to) {
                continue;
            }
            let now = self.frozen.filter(|(seat, _)| *seat == to).map_or(self.now, |(_, at)| at);
            for effect in self.machines[to].step(now, event) {
                match effect {
                    Effect::Send(mut m) => {
                        let receiver = m.address.to.index();
                        *self.sent.entry((to, receiver)).or_default() += 1;
                        let arrives = (self.hook)(&mut m);
                        let event = (receiver, Event::Received(m));
                        if arrives { self.queue.push_back(event) } else { self.held.push(event) }
                    }
                    Effect::Credit { to: sender, consumed } => {
                        self.queue.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                    }
                    Effect::SetTimer(at) => drop(self.timers.insert(to, at)),
                    Effect::Host(bytes) => match host::hear(&bytes).unwrap() {
                        Tell::Count { keys, .. } => {
                            let outcome = (self.counting)(to, &keys);
                            let event = (to, Event::Host(host::said(&Say::Counted { outcome })));
                            if self.slow == Some(to) { self.held.push(event) } else { self.queue.push_back(event) }
                        }
                        told if to == self.asker => self.told.push(told),
                        _ => {}
                    },
                    Effect::Opened { what, cells } => {
                        assert_eq!(what, "result");
                        *self.opened.entry(to).or_default() += cells;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        let next = |timers: &BTreeMap<usize, Millis>| timers.iter().map(|(s, at)| (*at, *s)).min();
        while let Some((at, seat)) = next(&self.timers).filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.timers.remove(&seat);
            self.queue.push_back((seat, Event::Timer));
            self.run();
        }
        self.now = end;
    }

    /// Delivers what was held back.
    pub fn release(&mut self) {
        self.hook = Box::new(|_| true);
        self.slow = None;
        self.queue.extend(core::mem::take(&mut self.held));
        self.run();
    }

    pub fn kill(&mut self, seat: usize) {
        self.dead.insert(seat);
        self.timers.remove(&seat);
        let others = (0..self.machines.len()).filter(|i| *i != seat);
        self.queue.extend(others.map(|i| (i, Event::Gone(Seat(seat as u16)))));
        self.run();
    }

    pub fn say(&mut self, say: &Say) -> Vec<Tell> {
        self.queue.push_back((self.asker, Event::Host(host::said(say))));
        self.run();
        core::mem::take(&mut self.told)
    }

    pub fn calls(&mut self, tag: u64, calls: &[&[&str]]) -> Vec<Tell> {
        let keys = |call: &&[&str]| call.iter().map(|k| Blob(k.as_bytes().to_vec())).collect();
        self.say(&Say::Calls { tag, calls: calls.iter().map(keys).collect() })
    }

    /// The values of each call of an answer.
    pub fn values(&self, calls: &[&[&str]], cells: &[Vec<u64>]) -> Vec<Vec<Value>> {
        assert_eq!(cells.len(), calls.len());
        let value = |(call, cells): (&&[&str], &Vec<u64>)| self.reading.scores(call.len(), cells).unwrap();
        calls.iter().zip(cells).map(value).collect()
    }

    /// One batch of calls; what each comes to, or why there is nothing.
    pub fn ask(&mut self, calls: &[&[&str]]) -> Result<Vec<Vec<Value>>, Code> {
        let told = self.calls(7, calls);
        let [Tell::Answered { tag: 7, outcome, .. }] = &told[..] else { panic!("{told:?}") };
        outcome.clone().map(|cells| self.values(calls, &cells))
    }

    pub fn outcome(&mut self, seat: usize) -> Result<JointOutput, Abort> {
        self.machines[seat].take_outcome().unwrap_or_else(|| panic!("seat {seat} has not ended"))
    }

    /// Every outcome of these seats is the same window, of these calls and rows.
    pub fn agree(&mut self, seats: &[usize], calls: u64, rows: u64, cells: u64) -> Window {
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

    /// As [`World::agree`], of every seat.
    pub fn agree_all(&mut self, calls: u64, rows: u64, cells: u64) -> Window {
        let all = self.all();
        self.agree(&all, calls, rows, cells)
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.machines.len()).collect()
    }
}
