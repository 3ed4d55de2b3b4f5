//! Parties in one process, driven one event at a time, with the work of each timed apart. It is the
//! protocol's own machine: nothing here knows any mathematics.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{BufWriter, Read, Write};
use std::ops::Range;
use std::path::Path;
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
    recorded(n, disclosures, kills, None, protocol)
}

/// The time, always.
const NOW: Millis = Millis(0);

/// As [`run`]; what comes to seat 0 goes on the tape as well, for [`alone`].
pub fn recorded<T, F>(
    n: usize,
    disclosures: &[Disclosure],
    kills: &BTreeMap<Seat, Step>,
    mut tape: Option<&mut Tape>,
    protocol: impl Fn(Party) -> F,
) -> Report<T>
where
    T: 'static,
    F: Future<Output = Result<T, Abort>> + Send + 'static,
{
    let mut machines: Vec<Machine<T>> = Seats::new(n).machines(disclosures, 0..n, &protocol);
    let mut work = vec![Work::default(); n];
    let mut now_in = vec![Step(0); n];
    let mut dead = vec![false; n];
    let ahead: Vec<HashAhead> = (0..n).map(|_| HashAhead::new(chunk_bytes(n))).collect();
    let mut queue: VecDeque<(usize, Event)> = (0..n).map(|i| (i, Event::Start)).collect();
    while let Some((to, event)) = queue.pop_front() {
        if dead[to] {
            continue;
        }
        if let (0, Some(tape)) = (to, tape.as_deref_mut()) {
            tape.put(&event);
        }
        let effects = step(&mut machines[to], &ahead[to], event, now_in[to], &mut work[to]);
        let me = Seat(to as u16);
        for effect in effects {
            match effect {
                Effect::Send(m) => queue.push_back((m.address.to.index(), Event::Received(carried(m)))),
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
                // The clock stands still: what is due at once is a pause.
                Effect::SetTimer(NOW) => queue.push_back((to, Event::Timer)),
                Effect::SetTimer(_) | Effect::Opened { .. } | Effect::Host(_) | Effect::Finish => {}
            }
        }
    }
    let finished = machines.iter_mut().enumerate().filter(|(i, _)| !dead[*i]);
    let outcomes =
        finished.map(|(i, m)| (Seat(i as u16), m.take_outcome().unwrap_or_else(|| panic!("seat {i} hangs")))).collect();
    Report { outcomes, work }
}

/// Runs seat 0 of `n` by itself on what came to it in a run that was [`recorded`]: its memory is then the process's.
/// Peers get nothing; what it does and sends is the same, since the machine has no other input.
pub fn alone<T, F>(
    n: usize,
    disclosures: &[Disclosure],
    tape: &Path,
    protocol: impl Fn(Party) -> F,
) -> (Result<T, Abort>, Work)
where
    T: 'static,
    F: Future<Output = Result<T, Abort>> + Send + 'static,
{
    let mut machine =
        Seats::new(n).machines(disclosures, 0..1, &protocol).pop().unwrap_or_else(|| panic!("one machine of one seat"));
    let ahead = HashAhead::new(chunk_bytes(n));
    let (mut work, mut now_in) = (Work::default(), Step(0));
    let file = std::fs::File::open(tape).unwrap_or_else(|e| panic!("{}: {e}", tape.display()));
    let mut events = std::io::BufReader::new(file);
    while let Some(event) = Tape::next(&mut events) {
        for effect in step(&mut machine, &ahead, event, now_in, &mut work) {
            if let Effect::Progress(step) = effect {
                now_in = step;
            }
        }
    }
    (machine.take_outcome().unwrap_or_else(|| panic!("the tape ends before the machine does")), work)
}

/// Runs `n` parties until nothing moves, where seat 1 sends its message of one step to nobody: each chunk is counted, dropped and
/// allowed for at once, as by a receiver that is never behind. What seat 1 did; the others may end as they like.
pub fn streamed<T, F>(n: usize, disclosures: &[Disclosure], streamed: Step, protocol: impl Fn(Party) -> F) -> Work
where
    T: 'static,
    F: Future<Output = Result<T, Abort>> + Send + 'static,
{
    const ME: usize = 1;
    let mut machines: Vec<Machine<T>> = Seats::new(n).machines(disclosures, 0..n, &protocol);
    let mut work = vec![Work::default(); n];
    let mut now_in = vec![Step(0); n];
    let ahead: Vec<HashAhead> = (0..n).map(|_| HashAhead::new(chunk_bytes(n))).collect();
    let mut queue: VecDeque<(usize, Event)> = (0..n).map(|i| (i, Event::Start)).collect();
    while let Some((to, event)) = queue.pop_front() {
        for effect in step(&mut machines[to], &ahead[to], event, now_in[to], &mut work[to]) {
            match effect {
                Effect::Send(m) if to == ME && m.address.step == streamed => {
                    let from = m.address.to;
                    drop(m);
                    let consumed = machines[ME].usage().sent.get(&from).copied().unwrap_or_default();
                    queue.push_back((ME, Event::Credit { from, consumed }));
                }
                Effect::Send(m) => queue.push_back((m.address.to.index(), Event::Received(carried(m)))),
                Effect::Credit { to: sender, consumed } => {
                    queue.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                }
                Effect::Persist { ticket, .. } => queue.push_front((to, Event::Persisted { ticket })),
                Effect::Progress(step) => now_in[to] = step,
                Effect::SetTimer(_) | Effect::Opened { .. } | Effect::Host(_) | Effect::Finish => {}
            }
        }
    }
    work.swap_remove(ME)
}

/// One event of one machine, and what it cost.
fn step<T>(machine: &mut Machine<T>, ahead: &HashAhead, event: Event, now_in: Step, work: &mut Work) -> Vec<Effect> {
    let start = Clock::start();
    let event = match event {
        Event::Received(message) => ahead.event(message),
        other => other,
    };
    if matches!(event, Event::Hashed { .. }) {
        work.ahead_seconds += start.seconds();
    }
    let start = Clock::start();
    let effects = machine.step(NOW, event);
    *work.seconds.entry(now_in).or_default() += start.seconds();
    ahead.want(machine.hash_ahead());
    for effect in &effects {
        if let Effect::Send(m) = effect {
            *work.bytes.entry(m.address.step).or_default() += m.body.len() as u64;
        }
    }
    effects
}

/// The parties' keys in the order of their seats.
struct Seats(Vec<SigningKey>);

impl Seats {
    fn new(n: usize) -> Self {
        let mut keys: Vec<SigningKey> = (0..n).map(|i| SigningKey::from_seed(&seed(1, i))).collect();
        keys.sort_by_key(SigningKey::id);
        Self(keys)
    }

    /// The machines of some seats.
    fn machines<T, F>(
        self,
        disclosures: &[Disclosure],
        wanted: Range<usize>,
        protocol: &impl Fn(Party) -> F,
    ) -> Vec<Machine<T>>
    where
        T: 'static,
        F: Future<Output = Result<T, Abort>> + Send + 'static,
    {
        let ids: Vec<_> = self.0.iter().map(SigningKey::id).collect();
        let machine = |(i, key): (usize, SigningKey)| {
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(i as u16),
                // Each has one of its own: a seating keeps the keys that its party has decoded.
                seating: Seating::new(ids.clone()).unwrap_or_else(|| panic!("{} seats", ids.len())),
                disclosures: disclosures.to_vec(),
                stream_bytes_max: 1 << 40,
            };
            Machine::new(setup, &seed(2, i), Arc::new(key), Millis(0), protocol)
        };
        self.0.into_iter().enumerate().filter(|(i, _)| wanted.contains(i)).map(machine).collect()
    }
}

/// Bytes of a chunk among so many seats.
fn chunk_bytes(n: usize) -> usize {
    let ids = Seats::new(n).0.iter().map(SigningKey::id).collect();
    Seating::new(ids).unwrap_or_else(|| panic!("{n} seats")).chunk_bytes()
}

/// What came to one party, in its order, in a file.
pub struct Tape(BufWriter<std::fs::File>);

impl Tape {
    /// An empty one.
    pub fn create(path: &Path) -> Self {
        Self(BufWriter::new(std::fs::File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))))
    }

    /// Writes out what is still in memory.
    pub fn finish(mut self) {
        self.0.flush().unwrap_or_else(|e| panic!("a tape: {e}"));
    }

    fn put(&mut self, event: &Event) {
        let (kind, bytes) = match event {
            Event::Start => (0u8, Vec::new()),
            Event::Received(message) => (1, message.clone().into_frame()),
            Event::Credit { from, consumed } => (2, [&from.0.to_le_bytes()[..], &consumed.to_le_bytes()[..]].concat()),
            Event::Persisted { ticket } => (3, ticket.to_le_bytes().to_vec()),
            Event::Gone(seat) => (4, seat.0.to_le_bytes().to_vec()),
            Event::Hashed { .. } | Event::Timer | Event::Host(_) | Event::Cancel(_) => {
                panic!("no run of a bench has such an event")
            }
        };
        let header = [&[kind][..], &(bytes.len() as u32).to_le_bytes()[..]].concat();
        self.0.write_all(&header).and_then(|()| self.0.write_all(&bytes)).unwrap_or_else(|e| panic!("a tape: {e}"));
    }

    /// The next event, none at the end.
    fn next(tape: &mut impl Read) -> Option<Event> {
        let mut header = [0; 5];
        if tape.read(&mut header[..1]).unwrap_or_else(|e| panic!("a tape: {e}")) == 0 {
            return None;
        }
        tape.read_exact(&mut header[1..]).unwrap_or_else(|e| panic!("a tape: {e}"));
        let mut bytes = vec![0; u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize];
        tape.read_exact(&mut bytes).unwrap_or_else(|e| panic!("a tape: {e}"));
        let seat = || Seat(u16::from_le_bytes([bytes[0], bytes[1]]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Some(match header[0] {
            0 => Event::Start,
            1 => Event::Received(Message::from_frame(bytes).unwrap_or_else(|e| panic!("a tape's frame: {e:?}"))),
            2 => Event::Credit { from: seat(), consumed: long(2) },
            3 => Event::Persisted { ticket: long(0) },
            4 => Event::Gone(seat()),
            other => panic!("a tape has no event {other}"),
        })
    }
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
