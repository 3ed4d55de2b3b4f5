//! A world of in-process parties with a virtual clock, one of which may be killed or made to cheat.

mod ahead;
mod attacks;
mod cheats;
mod collect;
mod convict;
mod dropouts;
mod framed;
mod honest;
mod never;
mod once;
mod sparse;
mod verified;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use tacit_crypto::{Secret, SigningKey};
use tacit_protocol::{Abort, Audience, Blame, Disclosure, Effect, Event, Machine, Message, Party, Seating, Setup};
use tacit_types::{Attempt, Hash, JobId, Millis, NodeId, Seat, Step};

use crate::{Delivery, Epoch, Outcome, Params, Plan, Round, Vector, Width, aggregate, setup};

pub const STEP_MS: u64 = 1000;
pub const BASE: u16 = 5;

pub fn disclosure() -> Disclosure {
    Disclosure { what: "sum".into(), to: Audience::Nodes, cells_max: 1 << 30 }
}

pub fn keys(n: u16) -> Vec<Arc<SigningKey>> {
    let seed = |i: u16| {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&i.to_le_bytes());
        Secret::new(seed)
    };
    let mut keys: Vec<_> = (0..n).map(|i| SigningKey::from_seed(&seed(i))).collect();
    keys.sort_by_key(SigningKey::id);
    keys.into_iter().map(Arc::new).collect()
}

pub fn seating(n: u16) -> Seating {
    let nodes: Vec<NodeId> = keys(n).iter().map(|k| k.id()).collect();
    Seating::new(nodes).unwrap()
}

pub fn plan(params: Params, rounds: u16) -> Plan {
    Plan { params, context: Hash([7; 32]), rounds, aggregator: Seat(0), step_ms: STEP_MS, step_base: BASE }
}

pub fn round(index: u16, width: Width, len: usize) -> Round {
    let delivery = Delivery::Nodes(disclosure());
    Round { index, query: Hash([index as u8; 32]), model_root: None, width, len, delivery }
}

/// Seat `i`'s numbers: some negative, all different, so that a missing or doubled seat shows.
pub fn input(seat: Seat, width: Width, len: usize) -> Vector {
    let value = |k: usize| {
        let sign = if (k + seat.index()).is_multiple_of(2) { 1i128 } else { -1 };
        sign * ((1 << (seat.0 % 20)) + 3 * k as i128)
    };
    match width {
        Width::W32 => Vector::W32((0..len).map(|k| value(k) as u32).collect()),
        Width::W64 => Vector::W64((0..len).map(|k| (value(k) << 20) as u64).collect()),
        Width::W128 => Vector::W128((0..len).map(|k| (value(k) << 80) as u128).collect()),
    }
}

pub fn plain_sum(seats: &[Seat], width: Width, len: usize) -> Vector {
    let mut sum = Vector::zeroes(width, len);
    for seat in seats {
        crate::mask::add_bytes(&mut sum, 0, &input(*seat, width, len).to_bytes());
    }
    sum
}

/// What a seat does after its set-up.
pub type Script = Arc<dyn Fn(Seat) -> Vec<(Round, Vector)> + Send + Sync>;

pub fn script(rounds: Vec<Round>) -> Script {
    Arc::new(move |seat| rounds.iter().map(|r| (r.clone(), input(seat, r.width, r.len))).collect())
}

async fn act(mut party: Party, plan: Plan, script: Script) -> Done {
    let epoch = setup(&mut party, &plan).await?;
    rounds(party, epoch, script).await
}

pub async fn rounds(mut party: Party, mut epoch: Epoch, script: Script) -> Done {
    let mut outcomes = Vec::new();
    for (round, vector) in script(party.seat()) {
        outcomes.push(aggregate(&mut party, &mut epoch, &round, vector).await?);
    }
    Ok((outcomes, epoch.complaints().to_vec()))
}

pub type Output = (Vec<Outcome>, Vec<Blame>);
pub type Done = Result<Output, Abort>;
/// What a seat runs.
pub type Protocol<T> = Box<dyn Fn(Party) -> Pin<Box<dyn Future<Output = Result<T, Abort>> + Send>>>;
/// Sees every message on its way; may change it, drop it, or send more.
pub type Hook<'a> = Box<dyn FnMut(Message) -> Vec<Message> + 'a>;

pub struct World<'a, T: 'static = Output> {
    pub machines: Vec<Machine<T>>,
    pub now: Millis,
    queue: VecDeque<(usize, Event)>,
    timers: BTreeMap<usize, Millis>,
    pub dead: BTreeSet<Seat>,
    /// Kill the seat when it begins the step.
    pub kills: BTreeMap<Seat, Step>,
    /// Whether the others are told of a death or have to wait.
    pub tell: bool,
    pub hook: Hook<'a>,
    /// What a driver makes of a message that has arrived.
    pub arrive: Box<dyn FnMut(Message) -> Event + 'a>,
    /// What was persisted, with the number of messages that had been sent by then.
    pub records: Vec<(Seat, Vec<u8>, usize)>,
    pub sent: Vec<Message>,
    /// Keep copies of what was sent.
    pub log: bool,
    /// The disk says nothing.
    pub lost_records: bool,
}

impl World<'_> {
    pub fn new(plan: &Plan, script: &Script) -> Self {
        Self::with_plans(&vec![plan.clone(); usize::from(plan.params.seats())], script)
    }

    pub fn with_plans(plans: &[Plan], script: &Script) -> Self {
        Self::custom(plans.len() as u16, |seat| honest(plans[seat.index()].clone(), script.clone()))
    }
}

/// What an honest seat runs.
pub fn honest(plan: Plan, script: Script) -> Protocol<Output> {
    Box::new(move |party| Box::pin(act(party, plan.clone(), script.clone())))
}

impl<T: 'static> World<'_, T> {
    pub fn custom(n: u16, protocol: impl Fn(Seat) -> Protocol<T>) -> Self {
        let (keys, seating) = (keys(n), seating(n));
        let machine = |seat: u16| {
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(seat),
                seating: seating.clone(),
                disclosures: vec![disclosure()],
                stream_bytes_max: 1 << 32,
            };
            let mut seed = [0x51; 32];
            seed[..2].copy_from_slice(&seat.to_le_bytes());
            Machine::new(setup, &Secret::new(seed), keys[usize::from(seat)].clone(), Millis(0), protocol(Seat(seat)))
        };
        Self {
            machines: (0..n).map(machine).collect(),
            now: Millis(0),
            queue: (0..usize::from(n)).map(|i| (i, Event::Start)).collect(),
            timers: BTreeMap::new(),
            dead: BTreeSet::new(),
            kills: BTreeMap::new(),
            tell: true,
            hook: Box::new(|m| vec![m]),
            arrive: Box::new(Event::Received),
            records: Vec::new(),
            sent: Vec::new(),
            log: false,
            lost_records: false,
        }
    }

    pub fn kill(&mut self, seat: Seat) {
        self.dead.insert(seat);
        self.timers.remove(&seat.index());
        if self.tell {
            let others = (0..self.machines.len()).filter(|i| *i != seat.index());
            self.queue.extend(others.map(|i| (i, Event::Gone(seat))));
        }
    }

    /// Runs until nothing moves; virtual time jumps to the next timer.
    pub fn run(&mut self) {
        loop {
            while let Some((to, event)) = self.queue.pop_front() {
                self.step(to, event);
            }
            let alive = |i: &usize| !self.dead.contains(&Seat(*i as u16)) && !self.machines[*i].is_finished();
            let next = self.timers.iter().filter(|(i, _)| alive(i)).map(|(i, at)| (*at, *i)).min();
            let Some((at, who)) = next else { return };
            self.now = self.now.max(at);
            self.timers.remove(&who);
            self.queue.push_back((who, Event::Timer));
        }
    }

    fn step(&mut self, to: usize, event: Event) {
        let me = Seat(to as u16);
        if self.dead.contains(&me) {
            return;
        }
        for effect in self.machines[to].step(self.now, event) {
            match effect {
                Effect::Send(message) => {
                    if self.log {
                        self.sent.push(message.clone());
                    }
                    for m in (self.hook)(message) {
                        self.queue.push_back((m.address.to.index(), (self.arrive)(m)));
                    }
                }
                Effect::Credit { to: sender, consumed } => {
                    // A hook may have made a message longer than its sender knows.
                    let sent = self.machines[sender.index()].usage().sent.get(&me).copied().unwrap_or(0);
                    let consumed = consumed.min(sent);
                    self.queue.push_back((sender.index(), Event::Credit { from: me, consumed }));
                }
                Effect::SetTimer(at) => {
                    self.timers.insert(to, at);
                }
                Effect::Persist { ticket, record } => {
                    self.records.push((me, record, self.sent.len()));
                    if !self.lost_records {
                        self.queue.push_back((to, Event::Persisted { ticket }));
                    }
                }
                Effect::Progress(step) if self.kills.get(&me) == Some(&step) => return self.kill(me),
                Effect::Progress(_) | Effect::Opened { .. } | Effect::Host(_) | Effect::Finish => {}
            }
        }
    }

    /// Every living seat's outcome.
    pub fn outcomes(&mut self) -> BTreeMap<Seat, Result<T, Abort>> {
        let dead = self.dead.clone();
        let living = self.machines.iter_mut().enumerate().map(|(i, m)| (Seat(i as u16), m));
        living
            .filter(|(s, _)| !dead.contains(s))
            .map(|(s, m)| (s, m.take_outcome().unwrap_or_else(|| panic!("{s} hangs"))))
            .collect()
    }
}

/// Runs honest seats to their outcomes.
pub fn run_all(plan: &Plan, rounds: Vec<Round>) -> BTreeMap<Seat, Done> {
    let mut world = World::new(plan, &script(rounds));
    world.run();
    world.outcomes()
}
