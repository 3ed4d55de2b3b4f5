//! A seat: its machine, its disk, and the protocol that it runs.

use std::sync::{Arc, Mutex, PoisonError};

use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_protocol::{Abort, Audience, Blame, Disclosure, Machine, Party, Seating, Setup};
use tacit_secagg::{Blinded, Delivery, Params, Plan, Release, Round, Vector, Width, aggregate, setup};
use tacit_types::{Attempt, Hash, JobId, Millis, Seat};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::wiretap::STEP_BASE;

/// Milliseconds of a step among a few, and among many, to whom the aggregator has megabytes of set-up to send over links
/// whose windows are small.
const STEP_MS: u64 = 1_000;
const STEP_OF_MANY_MS: u64 = 4_000;

/// What is summed, the same at every seat.
#[derive(Clone)]
pub struct Task {
    pub job: JobId,
    pub params: Params,
    pub rounds: u16,
    pub aggregator: Seat,
    pub width: Width,
    pub seating: Seating,
    pub recipient: Arc<SealKey>,
    /// For each round, whether its sum goes to the recipient.
    pub blind: Vec<bool>,
    /// Changes every number that is summed and nothing that is public.
    pub variant: u16,
}

impl Task {
    pub fn draw(d: &mut Dice, seats: usize, variant: u16) -> (Self, Vec<Arc<SigningKey>>) {
        let mut keys: Vec<Arc<SigningKey>> = (0..seats).map(key).map(Arc::new).collect();
        keys.sort_by_key(|k| k.id());
        let seating = Seating::new(keys.iter().map(|k| k.id()).collect()).expect("why: the keys are distinct");
        let rounds = d.between(1, 3) as u16;
        let params = Params::new(seats as u16).expect("why: there are at least three seats");
        let recipient = SealKey::generate(&mut tacit_crypto::Rng::from_seed(&Secret::new([9; 32])));
        let task = Self {
            job: JobId(d.bytes()),
            params: if seats <= 30 && d.chance(300) { params.verified() } else { params },
            rounds,
            aggregator: Seat(d.below(seats as u64) as u16),
            width: *d.pick(&[Width::W32, Width::W64, Width::W128]),
            seating,
            recipient: Arc::new(recipient),
            blind: (0..rounds).map(|_| d.chance(400)).collect(),
            variant,
        };
        (task, keys)
    }

    /// A one at the seat's own place, its square, and a number of its own: any party missing or
    /// counted twice shows.
    pub fn input(&self, seat: Seat, round: u16) -> Vector {
        let mut cells = vec![0u128; self.len()];
        cells[seat.index()] = 1;
        cells[self.len() - 2] = u128::from(seat.0 + 1).pow(2);
        cells[self.len() - 1] = u128::from(seat.0 * 31 + round + 1_000 * self.variant);
        match self.width {
            Width::W32 => Vector::W32(cells.into_iter().map(|c| c as u32).collect()),
            Width::W64 => Vector::W64(cells.into_iter().map(|c| c as u64).collect()),
            Width::W128 => Vector::W128(cells),
        }
    }

    /// Milliseconds of a step.
    pub fn step_ms(&self) -> u64 {
        if self.seating.len() > 128 { STEP_OF_MANY_MS } else { STEP_MS }
    }

    pub fn len(&self) -> usize {
        self.seating.len() + 2
    }

    /// The sum over these seats in plain numbers.
    pub fn oracle(&self, survivors: &[Seat], round: u16) -> Vec<i128> {
        let mut sum = vec![0; self.len()];
        for seat in survivors {
            let input = self.input(*seat, round);
            sum.iter_mut().enumerate().for_each(|(i, cell)| *cell += input.signed(i).unwrap_or(0));
        }
        sum
    }

    pub fn plan(&self, attempt: u32) -> Plan {
        let mut context = self.job.0;
        context[0] ^= attempt as u8;
        Plan {
            params: self.params,
            context: Hash(context),
            rounds: self.rounds,
            aggregator: self.aggregator,
            step_ms: self.step_ms(),
            step_base: STEP_BASE,
        }
    }

    pub fn round(&self, index: u16) -> Round {
        let delivery = match self.blind[usize::from(index)] {
            true => Delivery::Recipient { key: self.recipient.public(), disclosure: self.disclosure("result") },
            false => Delivery::Nodes(self.disclosure("sums")),
        };
        let query = Hash([index as u8; 32]);
        Round { index, query, model_root: None, width: self.width, len: self.len(), delivery }
    }

    fn disclosure(&self, what: &str) -> Disclosure {
        let to = if what == "result" { Audience::Recipient } else { Audience::Nodes };
        Disclosure { what: what.into(), to, cells_max: u64::from(self.rounds) * self.len() as u64 }
    }

    pub fn disclosures(&self) -> Vec<Disclosure> {
        vec![self.disclosure("sums"), self.disclosure("result")]
    }
}

fn key(i: usize) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(i as u64).to_le_bytes());
    SigningKey::from_seed(&Secret::new(seed))
}

/// What one round gave at one seat.
pub struct Result1 {
    pub round: u16,
    pub survivors: Vec<Seat>,
    pub sum: Option<Vector>,
    pub blinded: Option<Blinded>,
    pub release: Option<Release>,
    pub blames: Vec<Blame>,
}

/// Where a seat's protocol leaves what it got: an abort later does not take it away.
pub type Sink = Arc<Mutex<Vec<Result1>>>;

/// An attempt of a seat.
pub struct Run {
    pub attempt: u32,
    pub sink: Sink,
    pub abort: Option<Abort>,
}

/// In place of a round's number: the set-up.
pub const SETUP: u16 = u16::MAX;

/// A process with a seat.
pub struct Member {
    pub key: Arc<SigningKey>,
    pub up: bool,
    pub disk: Disk<u64, Vec<u8>>,
    pub effects: u64,
    pub began: u64,
    pub timer: Option<u64>,
    pub machine: Option<Machine<()>>,
    /// The attempts that this seat has begun.
    pub runs: Vec<Run>,
    pub honest: bool,
}

impl Member {
    pub fn new(key: Arc<SigningKey>, honest: bool) -> Self {
        Self {
            key,
            up: true,
            disk: Disk::default(),
            effects: 0,
            began: 0,
            timer: None,
            machine: None,
            runs: Vec::new(),
            honest,
        }
    }

    /// Seats the member in an attempt.
    pub fn begin(&mut self, task: &Task, seat: Seat, attempt: u32, seed: &tacit_crypto::Seed, now: u64, double: bool) {
        let sink = Sink::default();
        self.runs.push(Run { attempt, sink: sink.clone(), abort: None });
        self.began = now;
        self.timer = None;
        let setup = Setup {
            job: task.job,
            attempt: Attempt(attempt),
            seat,
            seating: task.seating.clone(),
            disclosures: task.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let task = task.clone();
        let protocol = move |party| protocol(party, task, attempt, sink, double);
        self.machine = Some(Machine::new(setup, seed, self.key.clone(), Millis(0), protocol));
    }
}

fn twice(vector: Vector) -> Vector {
    match vector {
        Vector::W32(v) => Vector::W32(v.into_iter().map(|x| x * 2).collect()),
        Vector::W64(v) => Vector::W64(v.into_iter().map(|x| x * 2).collect()),
        Vector::W128(v) => Vector::W128(v.into_iter().map(|x| x * 2).collect()),
    }
}

async fn protocol(mut party: Party, task: Task, attempt: u32, sink: Sink, double: bool) -> Result<(), Abort> {
    let mut epoch = setup(&mut party, &task.plan(attempt)).await?;
    let put = |result| sink.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    let blames = epoch.complaints().to_vec();
    put(Result1 { round: SETUP, survivors: Vec::new(), sum: None, blinded: None, release: None, blames });
    for index in 0..task.rounds {
        let mut input = task.input(party.seat(), index);
        if double {
            input = twice(input);
        }
        let outcome = aggregate(&mut party, &mut epoch, &task.round(index), &input).await?;
        put(Result1 {
            round: index,
            survivors: outcome.survivors,
            sum: outcome.sum,
            blinded: outcome.blinded,
            release: outcome.release,
            blames: outcome.blames,
        });
    }
    Ok(())
}
