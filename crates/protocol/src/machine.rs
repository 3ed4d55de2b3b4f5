//! The driver's face of a protocol: events in, effects out.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_crypto::{Pieces, Rng, Seed, SigningKey};
use tacit_types::{Attempt, Code, JobId, Millis, Seat, Step};

use crate::abort::{Abort, Blame, Offence};
use crate::ahead::HashAhead;
use crate::disclosure::Disclosure;
use crate::inbox::Inbox;
use crate::message::Message;
use crate::outbox::Outbox;
use crate::party::{Core, Party, Usage};
use crate::seating::Seating;

/// What a machine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Begin. Also harmless later: the machine looks again.
    Start,
    /// A chunk arrived from the seat that its address names. The driver has checked that the
    /// connection belongs to that seat's node.
    Received(Message),
    /// The same, with the hashes of its pieces, which the driver made where the chunk arrived; see
    /// [`Machine::hash_ahead`]. The machine believes them as it believes its driver's clock: they are
    /// made in its own process.
    Hashed {
        /// The chunk.
        message: Message,
        /// Of the chunk's whole pieces, at the chunk's place in its message.
        pieces: Pieces,
    },
    /// The receiver `from` has consumed so many bytes of ours in all.
    Credit {
        /// Who consumed.
        from: Seat,
        /// Bytes since the start; a repeat or an older number changes nothing.
        consumed: u64,
    },
    /// The time asked for with `SetTimer` has come.
    Timer,
    /// Everything up to this ticket is durable.
    Persisted {
        /// The ticket of the `Persist` effect.
        ticket: u64,
    },
    /// The seat's node is lost for this attempt.
    Gone(Seat),
    /// Bytes of the party's own host, such as calls that it is to answer: see [`Party::next`]. The driver bounds
    /// how many it hands over before they are answered.
    Host(Vec<u8>),
    /// Stop at the next step.
    Cancel(Code),
}

/// What a machine asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a chunk.
    Send(Message),
    /// Tell a sender how many of its bytes were consumed in all.
    Credit {
        /// The sender.
        to: Seat,
        /// Bytes since the start.
        consumed: u64,
    },
    /// Wake the machine at this time. Replaces an earlier request.
    SetTimer(Millis),
    /// Make the record durable, then say so. Sends asked for later wait for it in the protocol.
    Persist {
        /// Answered by [`Event::Persisted`].
        ticket: u64,
        /// What to keep.
        record: Vec<u8>,
    },
    /// A value was opened under a disclosure.
    Opened {
        /// The disclosure's name.
        what: String,
        /// Numbers opened.
        cells: u64,
    },
    /// Bytes for the party's own host; they go nowhere else.
    Host(Vec<u8>),
    /// A step began.
    Progress(Step),
    /// The protocol ended; [`Machine::take_outcome`] has the rest.
    Finish,
}

/// What a machine is made with.
#[derive(Clone)]
pub struct Setup {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// This party's seat.
    pub seat: Seat,
    /// Who sits where.
    pub seating: Seating,
    /// What the admitted job discloses.
    pub disclosures: Vec<Disclosure>,
    /// Bytes of vectors that a peer may send in one message as a stream; beyond it `Flow` blame.
    pub stream_bytes_max: u64,
}

/// A protocol as a state machine.
pub struct Machine<T> {
    future: Pin<Box<dyn Future<Output = Result<T, Abort>> + Send>>,
    core: Arc<Mutex<Core>>,
    outcome: Option<Result<T, Abort>>,
    finished: bool,
}

impl<T> Machine<T> {
    /// A machine at its beginning. It does nothing before its first [`Machine::step`].
    pub fn new<F, P>(setup: Setup, seed: &Seed, key: Arc<SigningKey>, now: Millis, protocol: P) -> Self
    where
        P: FnOnce(Party) -> F,
        F: Future<Output = Result<T, Abort>> + Send + 'static,
    {
        let seats = setup.seating.len();
        let core = Arc::new(Mutex::new(Core {
            setup,
            now,
            effects: Vec::new(),
            inboxes: (0..seats).map(|_| Inbox::default()).collect(),
            outboxes: (0..seats).map(|_| Outbox::default()).collect(),
            sent: vec![0; seats],
            credited: vec![0; seats],
            widening: Default::default(),
            narrow: None,
            gone: Default::default(),
            ready: Default::default(),
            host: Default::default(),
            persisted: 0,
            next_ticket: 0,
            stopped: None,
            timer: None,
            hash_ahead: None,
            usage: Usage::default(),
        }));
        let party = Party::new(core.clone(), Rng::from_seed(seed), key);
        Self { future: Box::pin(protocol(party)), core, outcome: None, finished: false }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one event at a time that never goes back, and gives the effects in order.
    pub fn step(&mut self, now: Millis, event: Event) -> Vec<Effect> {
        if self.finished {
            return Vec::new();
        }
        {
            let mut core = self.core();
            core.now = core.now.max(now);
            if core.timer.is_some_and(|at| at <= core.now) {
                core.timer = None;
            }
            core.take_in(event);
            core.pump();
        }
        let polled = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut core = self.core();
        let mut effects = core::mem::take(&mut core.effects);
        drop(core);
        if let Poll::Ready(outcome) = polled {
            self.outcome = Some(outcome);
            self.finished = true;
            effects.push(Effect::Finish);
        }
        effects
    }

    /// Whether the protocol has ended.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The outcome, once.
    pub fn take_outcome(&mut self) -> Option<Result<T, Abort>> {
        self.outcome.take()
    }

    /// The step whose chunks the protocol will hash. A driver that has threads to spare hashes them as
    /// they arrive, with [`pieces_of`], and hands them over as [`Event::Hashed`]; one that does not leaves
    /// it to the machine. The outcome is the same.
    pub fn hash_ahead(&self) -> Option<Step> {
        self.core().hash_ahead
    }

    /// What the readers of this machine's driver look at; see [`Machine::hash_ahead`].
    pub fn ahead(&self) -> HashAhead {
        HashAhead::new(self.core().setup.seating.chunk_bytes())
    }

    /// What was metered so far.
    pub fn usage(&self) -> Usage {
        self.core().usage.clone()
    }
}

/// The hashes of a chunk's whole pieces at its place in its message, where a chunk has `chunk_bytes`.
pub fn pieces_of(message: &Message, chunk_bytes: usize) -> Pieces {
    Pieces::of(u64::from(message.address.sequence) * chunk_bytes as u64, &message.body)
}

impl Core {
    fn take_in(&mut self, event: Event) {
        match event {
            Event::Start | Event::Timer => {}
            Event::Received(message) => self.take_message(message, Pieces::default()),
            Event::Hashed { message, pieces } => self.take_message(message, pieces),
            Event::Credit { from, consumed } => self.take_credit(from, consumed),
            Event::Persisted { ticket } => self.persisted = self.persisted.max(ticket),
            Event::Gone(seat) => {
                self.gone.insert(seat);
            }
            Event::Host(bytes) => self.host.push_back(bytes),
            Event::Cancel(code) => self.stop(Abort::Cancelled(code)),
        }
    }

    /// The first reason to stop is the one that counts.
    fn stop(&mut self, abort: Abort) {
        self.stopped.get_or_insert(abort);
    }

    fn take_message(&mut self, message: Message, pieces: Pieces) {
        let Message { address, total, body } = message;
        let ours = address.job == self.setup.job
            && address.attempt == self.setup.attempt
            && address.to == self.setup.seat
            && address.from != self.setup.seat;
        // A message for another job, attempt or seat is not this machine's business, and must not
        // let a replay stop it.
        if !ours || self.gone.contains(&address.from) {
            return;
        }
        let (chunk_bytes, window) = (self.setup.seating.chunk_bytes(), self.window_to(self.setup.seat));
        let step = address.step;
        let Some(inbox) = self.inboxes.get_mut(address.from.index()) else { return };
        let length = body.len() as u64;
        let accepted = if total > self.setup.stream_bytes_max {
            Err(Offence::Flow)
        } else {
            inbox.accept(step, address.sequence, total, body, chunk_bytes, window)
        };
        match accepted {
            Ok(true) => {
                if pieces != Pieces::default() {
                    inbox.attach(step, address.sequence, pieces);
                }
                if inbox.has_next(step) {
                    self.ready.entry(step).or_default().insert(address.from);
                }
                *self.usage.received.entry(address.from).or_insert(0) += length;
            }
            Ok(false) => {}
            Err(offence) => self.stop(Blame::seat(address.from, offence).at(step)),
        }
    }

    fn take_credit(&mut self, from: Seat, consumed: u64) {
        let (Some(credited), Some(sent)) = (self.credited.get_mut(from.index()), self.sent.get(from.index())) else {
            return;
        };
        let ahead = if self.widening.contains(&from) { self.setup.seating.widened_bytes() } else { 0 };
        if consumed > *sent + ahead {
            return self.stop(Blame::seat(from, Offence::Flow).at(Step(0)));
        }
        *credited = (*credited).max(consumed);
    }
}

#[cfg(test)]
mod tests;
