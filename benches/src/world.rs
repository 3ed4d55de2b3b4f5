//! Parties in one process, driven one event at a time, with the work of each timed apart. It is the
//! protocol's own machine: nothing here knows any mathematics.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;

use tacit_crypto::{Secret, SigningKey};
use tacit_protocol::{Abort, Disclosure, Effect, Event, HashAhead, Machine, Message, Party, Seating, Setup};
use tacit_types::{Attempt, JobId, Millis, Seat, Step};

use crate::case::Clock;

/// What one party did.
#[derive(Clone, Default)]
pub struct Work {
    /// Seconds of computing, by the step that was running when the event came.
    pub seconds: BTreeMap<Step, f64>,
    /// Seconds of hashing chunks where they arrive, apart from the party's own thread.
    pub ahead_seconds: f64,
    /// Payload bytes sent, by step.
    pub bytes: BTreeMap<Step, u64>,
}

impl Work {
    /// Seconds of the steps that `wanted` picks.
    pub fn seconds_of(&self, wanted: impl Fn(Step) -> bool) -> f64 {
        self.seconds.iter().filter(|(s, _)| wanted(**s)).map(|(_, t)| t).sum()
    }

    /// Bytes of the steps that `wanted` picks.
    pub fn bytes_of(&self, wanted: impl Fn(Step) -> bool) -> u64 {
        self.bytes.iter().filter(|(s, _)| wanted(**s)).map(|(_, b)| b).sum()
    }
}

/// A run's outcome.
pub struct Report<T> {
    /// What each living party returned.
    pub outcomes: BTreeMap<Seat, Result<T, Abort>>,
    /// What each party did.
    pub work: Vec<Work>,
}

/// Runs `n` parties to their end. Seats in `kills` vanish when they begin the step.
pub fn run<T, F>(
    n: usize,
    disclosures: &[Disclosure],
    kills: &BTreeMap<Seat, Step>,
    protocol: impl Fn(Party) -> F,
) -> Report<T>
where
    T: 'static,
    F: Future<Output = Result<T, Abort>> + Send + 'static,
{
    let mut keys: Vec<SigningKey> = (0..n).map(|i| SigningKey::from_seed(&seed(1, i))).collect();
    keys.sort_by_key(SigningKey::id);
    let ids: Vec<_> = keys.iter().map(SigningKey::id).collect();
    let seating = Seating::new(ids.clone()).unwrap_or_else(|| panic!("{n} seats"));
    let mut machines: Vec<Machine<T>> = keys
        .into_iter()
        .enumerate()
        .map(|(i, key)| {
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(i as u16),
                // Each has one of its own: a seating keeps the keys that its party has decoded.
                seating: Seating::new(ids.clone()).unwrap_or_else(|| panic!("{n} seats")),
                disclosures: disclosures.to_vec(),
                stream_bytes_max: 1 << 40,
            };
            Machine::new(setup, &seed(2, i), Arc::new(key), Millis(0), &protocol)
        })
        .collect();
    let mut work = vec![Work::default(); n];
    let mut now_in = vec![Step(0); n];
    let mut dead = vec![false; n];
    let ahead: Vec<HashAhead> = (0..n).map(|_| HashAhead::new(seating.chunk_bytes())).collect();
    let mut queue: VecDeque<(usize, Event)> = (0..n).map(|i| (i, Event::Start)).collect();
    while let Some((to, event)) = queue.pop_front() {
        if dead[to] {
            continue;
        }
        let start = Clock::start();
        let event = match event {
            Event::Received(message) => ahead[to].event(message),
            other => other,
        };
        if matches!(event, Event::Hashed { .. }) {
            work[to].ahead_seconds += start.seconds();
        }
        let start = Clock::start();
        let effects = machines[to].step(Millis(0), event);
        *work[to].seconds.entry(now_in[to]).or_default() += start.seconds();
        ahead[to].want(machines[to].hash_ahead());
        let me = Seat(to as u16);
        for effect in effects {
            match effect {
                Effect::Send(m) => {
                    *work[to].bytes.entry(m.address.step).or_default() += m.body.len() as u64;
                    queue.push_back((m.address.to.index(), Event::Received(carried(m))));
                }
                Effect::Credit { to: sender, consumed } => {
                    queue.push_back((sender.index(), Event::Credit { from: me, consumed }));
                }
                Effect::Persist { ticket, .. } => queue.push_front((to, Event::Persisted { ticket })),
                Effect::Progress(step) => {
                    now_in[to] = step;
                    if kills.get(&me) == Some(&step) {
                        dead[to] = true;
                        queue.extend((0..n).filter(|i| *i != to).map(|i| (i, Event::Gone(me))));
                        break;
                    }
                }
                Effect::SetTimer(_) | Effect::Opened { .. } | Effect::Host(_) | Effect::Finish => {}
            }
        }
    }
    let finished = machines.iter_mut().enumerate().filter(|(i, _)| !dead[*i]);
    let outcomes =
        finished.map(|(i, m)| (Seat(i as u16), m.take_outcome().unwrap_or_else(|| panic!("seat {i} hangs")))).collect();
    Report { outcomes, work }
}

/// What arrives of a message: its bytes in memory of the receiver's, as after a network. The sender's buffer is given
/// back, so that the sender is not charged for fresh memory for all that waits at the receiver.
fn carried(mut message: Message) -> Message {
    message.body = message.body.as_slice().to_vec();
    message
}

fn seed(kind: u8, i: usize) -> Secret<[u8; 32]> {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&(i as u64).to_le_bytes());
    Secret::new(seed)
}
