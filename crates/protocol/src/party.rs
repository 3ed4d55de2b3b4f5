//! The face that a protocol sees: seats, sending, receiving, randomness, time, metering, revealing.

use core::future::poll_fn;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_crypto::{Pieces, Rng, Signature, SigningKey};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step, Unit};

use crate::abort::{Abort, Blame, Offence};
use crate::disclosure::{Concealed, Disclosure};
use crate::inbox::Inbox;
use crate::machine::{Effect, Setup};
use crate::message::{Address, Message};
use crate::outbox::Outbox;
use crate::seating::Seating;

/// Blames that a party keeps of one attempt.
pub const BLAMES_MAX: usize = 64;
/// Transcripts that a party keeps of one attempt.
pub const TRANSCRIPTS_MAX: usize = 256;

/// What a party metered in one attempt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Quantities by unit.
    pub units: BTreeMap<Unit, u64>,
    /// Payload bytes sent to each seat.
    pub sent: BTreeMap<Seat, u64>,
    /// Payload bytes accepted from each seat.
    pub received: BTreeMap<Seat, u64>,
    /// Numbers opened under each disclosure.
    pub opened: BTreeMap<String, u64>,
    /// Misbehaviour of others that this seat saw, survived or not: one for each seat and offence, at most [`BLAMES_MAX`].
    pub blames: Vec<Blame>,
    /// What bodies of this attempt are signed over, at most [`TRANSCRIPTS_MAX`]: evidence over another transcript is of
    /// another attempt.
    pub transcripts: Vec<Hash>,
}

impl Usage {
    /// Takes a blame in, unless that seat is blamed for the same already: the first with evidence stays.
    fn accuse(&mut self, blame: &Blame) {
        let same = |b: &&mut Blame| (b.offender, b.offence) == (blame.offender, blame.offence);
        if let Some(known) = self.blames.iter_mut().find(same) {
            if known.evidence.is_empty() {
                *known = blame.clone();
            }
        } else if self.blames.len() < BLAMES_MAX {
            self.blames.push(blame.clone());
        }
    }
}

/// One chunk of a streamed message.
pub struct Chunk {
    /// The sender.
    pub from: Seat,
    /// Where the chunk begins in the message.
    pub offset: u64,
    /// Bytes of the whole message.
    pub total: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The hashes of their pieces, where the driver made them.
    pub pieces: Pieces,
    /// Whether the message ends here.
    pub last: bool,
}

/// One message from each of several seats.
pub struct Gathered {
    /// What came.
    pub messages: BTreeMap<Seat, Vec<u8>>,
    /// Who delivered nothing by the deadline or was lost.
    pub missing: Vec<Seat>,
}

impl Gathered {
    /// All messages, or an abort that names the missing.
    ///
    /// # Errors
    /// [`Abort::Missing`].
    pub fn all(self, step: Step) -> Result<BTreeMap<Seat, Vec<u8>>, Abort> {
        if self.missing.is_empty() { Ok(self.messages) } else { Err(Abort::Missing { step, seats: self.missing }) }
    }
}

/// State shared by the machine and its protocol.
pub(crate) struct Core {
    pub(crate) setup: Setup,
    pub(crate) now: Millis,
    pub(crate) effects: Vec<Effect>,
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) outboxes: Vec<Outbox>,
    /// Bytes sent to each seat and bytes it said it consumed.
    pub(crate) sent: Vec<u64>,
    pub(crate) credited: Vec<u64>,
    /// Seats that may widen the window that this one has to them.
    pub(crate) widening: BTreeSet<Seat>,
    /// The seat at which all send at once.
    pub(crate) narrow: Option<Seat>,
    pub(crate) gone: BTreeSet<Seat>,
    /// Seats of which the next chunk of a step is there, so that a wait among many seats looks at
    /// those alone.
    pub(crate) ready: BTreeMap<Step, BTreeSet<Seat>>,
    /// What the host has handed over and the protocol has not taken.
    pub(crate) host: VecDeque<Vec<u8>>,
    pub(crate) persisted: u64,
    pub(crate) next_ticket: u64,
    pub(crate) stopped: Option<Abort>,
    pub(crate) timer: Option<Millis>,
    pub(crate) hash_ahead: Option<Step>,
    pub(crate) usage: Usage,
}

impl Core {
    pub(crate) fn want_timer(&mut self, at: Millis) {
        if self.timer.is_none_or(|set| set > at || set <= self.now) {
            self.timer = Some(at);
            self.effects.push(Effect::SetTimer(at));
        }
    }

    fn meter(&mut self, unit: Unit, quantity: u64) -> Result<(), Abort> {
        let total = self.usage.units.entry(unit).or_insert(0);
        *total = total
            .checked_add(quantity)
            .ok_or_else(|| Abort::Local(Fault::new(Code::RefusedOverflow, format!("meter of {}", unit.word()))))?;
        Ok(())
    }

    /// Whether a seat's window has room for so many bytes more. There is none for a seat that does
    /// not exist.
    pub(crate) fn has_room(&self, to: Seat, bytes: u64) -> bool {
        let (Some(sent), Some(credited)) = (self.sent.get(to.index()), self.credited.get(to.index())) else {
            return false;
        };
        sent + bytes <= credited + self.window_to(to)
    }

    /// Bytes that one seat may have in flight to this one.
    pub(crate) fn window_to(&self, to: Seat) -> u64 {
        let seating = &self.setup.seating;
        if self.narrow == Some(to) { seating.narrow_bytes() } else { seating.window_bytes() }
    }

    pub(crate) fn send_chunk(&mut self, to: Seat, step: Step, sequence: u32, total: u64, body: Vec<u8>) {
        let length = body.len() as u64;
        if let Some(sent) = self.sent.get_mut(to.index()) {
            *sent += length;
        }
        *self.usage.sent.entry(to).or_insert(0) += length;
        let Setup { job, attempt, seat: from, .. } = self.setup;
        let address = Address { job, attempt, step, from, to, sequence };
        self.effects.push(Effect::Send(Message { address, total, body }));
    }

    pub(crate) fn take_chunk(&mut self, from: Seat, step: Step) -> Option<Chunk> {
        let chunk_bytes = self.setup.seating.chunk_bytes();
        let inbox = self.inboxes.get_mut(from.index())?;
        let pieces = inbox.take_pieces(step);
        let told = inbox.credit();
        let (offset, bytes, total, last) = inbox.next_chunk(step, chunk_bytes)?;
        let consumed = inbox.credit();
        if !inbox.has_next(step)
            && let Some(seats) = self.ready.get_mut(&step)
        {
            seats.remove(&from);
            if seats.is_empty() {
                self.ready.remove(&step);
            }
        }
        if consumed > told {
            self.effects.push(Effect::Credit { to: from, consumed });
        }
        Some(Chunk { from, offset, total, bytes, pieces, last })
    }
}

/// One seat's view of a running protocol.
pub struct Party {
    core: Arc<Mutex<Core>>,
    seating: Arc<Seating>,
    seat: Seat,
    rng: Rng,
    key: Arc<SigningKey>,
}

impl Party {
    pub(crate) fn new(core: Arc<Mutex<Core>>, rng: Rng, key: Arc<SigningKey>) -> Self {
        let (seating, seat) = {
            let core = core.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::new(core.setup.seating.clone()), core.setup.seat)
        };
        Self { core, seating, seat, rng, key }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This party's seat.
    pub fn seat(&self) -> Seat {
        self.seat
    }

    /// Who sits where.
    pub fn seating(&self) -> &Seating {
        &self.seating
    }

    /// The other seats, in order.
    pub fn others(&self) -> Vec<Seat> {
        self.seating.seats().filter(|s| *s != self.seat).collect()
    }

    /// This attempt's randomness.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The time of the last event.
    pub fn now(&self) -> Millis {
        self.core().now
    }

    /// Signs a message with this node's key. The caller begins it with a label.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.key.sign(message)
    }

    /// Whether a signature over a message is a seat's.
    pub fn verify(&self, seat: Seat, message: &[u8], signature: &Signature) -> bool {
        self.seating.verifiers(seat).iter().any(|key| key.verify(message, signature))
    }

    /// Adds to a meter.
    ///
    /// # Errors
    /// [`Abort::Local`] when the counter would overflow.
    pub fn meter(&mut self, unit: Unit, quantity: u64) -> Result<(), Abort> {
        self.core().meter(unit, quantity)
    }

    /// Keeps misbehaviour that a protocol survived, or stopped at, for the receipt.
    pub fn accuse<'b>(&self, blames: impl IntoIterator<Item = &'b Blame>) {
        let mut core = self.core();
        blames.into_iter().for_each(|blame| core.usage.accuse(blame));
    }

    /// Keeps what the bodies of a protocol are signed over, so that evidence can be told from that of another attempt.
    pub fn signs_over(&self, transcript: Hash) {
        let transcripts = &mut self.core().usage.transcripts;
        if transcripts.len() < TRANSCRIPTS_MAX && !transcripts.contains(&transcript) {
            transcripts.push(transcript);
        }
    }

    /// Says which step runs, for progress and for the stall detector.
    pub fn progress(&mut self, step: Step) {
        self.core().effects.push(Effect::Progress(step));
    }

    /// Says that the chunks of a step will be hashed by pieces, so that the driver may do it where they
    /// arrive.
    pub fn hash_ahead(&mut self, step: Step) {
        self.core().hash_ahead = Some(step);
    }

    /// The seats known to be lost.
    pub fn gone(&self) -> BTreeSet<Seat> {
        self.core().gone.clone()
    }

    /// Opens a concealed value of `cells` numbers under a disclosure that the admitted job lists.
    ///
    /// # Errors
    /// [`Abort::Undisclosed`] when the job does not list it, or lists fewer cells than are opened
    /// in all.
    pub fn reveal<T>(&mut self, disclosure: &Disclosure, cells: u64, value: Concealed<T>) -> Result<T, Abort> {
        let mut core = self.core();
        let opened = core.usage.opened.get(&disclosure.what).copied().unwrap_or(0).saturating_add(cells);
        let listed = core.setup.disclosures.contains(disclosure);
        if !listed || opened > disclosure.cells_max {
            return Err(Abort::Undisclosed(disclosure.what.clone()));
        }
        core.usage.opened.insert(disclosure.what.clone(), opened);
        core.effects.push(Effect::Opened { what: disclosure.what.clone(), cells });
        Ok(value.into_inner())
    }

    /// Makes a record durable before anything after it happens.
    ///
    /// # Errors
    /// The abort that stopped the machine meanwhile.
    pub async fn persist(&mut self, record: Vec<u8>) -> Result<(), Abort> {
        let ticket = {
            let mut core = self.core();
            core.next_ticket += 1;
            let ticket = core.next_ticket;
            core.effects.push(Effect::Persist { ticket, record });
            ticket
        };
        poll_fn(|_| {
            let core = self.core();
            match &core.stopped {
                Some(abort) => Poll::Ready(Err(abort.clone())),
                None if core.persisted >= ticket => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Gives the driver its turn: what was sent leaves, and a stop is noticed. Who computes for long does so between pieces
    /// that are short.
    ///
    /// # Errors
    /// The abort that stopped the machine meanwhile.
    pub async fn pause(&mut self) -> Result<(), Abort> {
        let mut paused = false;
        poll_fn(|_| {
            let mut core = self.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            if core::mem::replace(&mut paused, true) {
                return Poll::Ready(Ok(()));
            }
            let now = core.now;
            core.want_timer(now);
            Poll::Pending
        })
        .await
    }

    /// Begins a message of `total` bytes to a seat, written in chunks.
    pub fn open(&mut self, to: Seat, step: Step, total: u64) -> Outgoing<'_> {
        Outgoing { party: self, to, step, total, sequence: 0, pending: Vec::new() }
    }

    /// Sends a whole message. Suspends while the receiver's window is full, until `until`.
    ///
    /// # Errors
    /// [`Abort::Missing`] when the window stays full past `until` and the receiver is not lost.
    /// Sending to a lost seat succeeds and does nothing: who waits for its answer finds out.
    pub async fn send(&mut self, to: Seat, step: Step, body: Vec<u8>, until: Millis) -> Result<(), Abort> {
        let mut message = self.open(to, step, body.len() as u64);
        message.write(&body, until).await?;
        message.finish(until).await
    }

    /// Sends one body to each of several seats.
    ///
    /// # Errors
    /// Those of [`Party::send`].
    pub async fn broadcast(&mut self, to: &[Seat], step: Step, body: &[u8], until: Millis) -> Result<(), Abort> {
        for seat in to {
            self.send(*seat, step, body.to_vec(), until).await?;
        }
        Ok(())
    }

    /// Receives a whole message of at most `cap` bytes.
    ///
    /// # Errors
    /// [`Abort::Missing`] past `until` or when the seat is lost; `Flow` blame over the cap.
    pub async fn receive(&mut self, from: Seat, step: Step, cap: usize, until: Millis) -> Result<Vec<u8>, Abort> {
        let mut gathered = self.gather(&[from], step, cap, until).await?;
        gathered.messages.remove(&from).ok_or(Abort::Missing { step, seats: vec![from] })
    }

    /// Receives one message from each of `from`, and names those that delivered none by `until`.
    ///
    /// # Errors
    /// `Flow` blame for a message over `cap`; the abort that stopped the machine.
    pub async fn gather(&mut self, from: &[Seat], step: Step, cap: usize, until: Millis) -> Result<Gathered, Abort> {
        let cap = cap.min(MESSAGE_BYTES_MAX) as u64;
        let mut partial: BTreeMap<Seat, Vec<u8>> = BTreeMap::new();
        let mut waiting: BTreeSet<Seat> = from.iter().copied().filter(|s| *s != self.seat).collect();
        let mut messages = BTreeMap::new();
        poll_fn(|_| {
            let mut core = self.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            for seat in waiting.clone() {
                if core.inboxes.get(seat.index()).and_then(|i| i.total(step)).is_some_and(|total| total > cap) {
                    return Poll::Ready(Err(Blame::seat(seat, Offence::Flow).at(step)));
                }
                while let Some(chunk) = core.take_chunk(seat, step) {
                    let body = partial.entry(seat).or_default();
                    body.extend_from_slice(&chunk.bytes);
                    if chunk.last {
                        messages.insert(seat, partial.remove(&seat).unwrap_or_default());
                        waiting.remove(&seat);
                        break;
                    }
                }
            }
            let missing: Vec<Seat> = waiting.iter().copied().collect();
            if missing.is_empty() || missing.iter().all(|s| core.gone.contains(s)) || core.now >= until {
                return Poll::Ready(Ok(Gathered { messages: core::mem::take(&mut messages), missing }));
            }
            core.want_timer(until);
            Poll::Pending
        })
        .await
    }

    /// Sends a body to every other seat and receives one from each.
    ///
    /// # Errors
    /// Those of [`Party::send`] and [`Party::gather`].
    pub async fn exchange(&mut self, step: Step, body: &[u8], cap: usize, until: Millis) -> Result<Gathered, Abort> {
        let others = self.others();
        self.broadcast(&others, step, body, until).await?;
        self.gather(&others, step, cap, until).await
    }

    /// The next chunk, in order within its message, from any of `from`. `None` when all of them
    /// are finished, lost, or past `until`.
    ///
    /// # Errors
    /// The abort that stopped the machine.
    pub async fn chunk(&mut self, from: &BTreeSet<Seat>, step: Step, until: Millis) -> Result<Option<Chunk>, Abort> {
        // Who is finished changes only by taking chunks, so between those only a loss needs another look.
        let mut looked_at_gone = None;
        poll_fn(|_| {
            let mut core = self.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            let next = core.ready.get(&step).and_then(|ready| first_of_both(ready, from));
            if let Some(chunk) = next.and_then(|seat| core.take_chunk(seat, step)) {
                return Poll::Ready(Ok(Some(chunk)));
            }
            if looked_at_gone != Some(core.gone.len()) {
                looked_at_gone = Some(core.gone.len());
                let finished = |s: &Seat| core.inboxes.get(s.index()).is_none_or(|i| i.finished(step));
                if from.iter().all(|s| finished(s) || core.gone.contains(s)) {
                    return Poll::Ready(Ok(None));
                }
            }
            if core.now >= until {
                return Poll::Ready(Ok(None));
            }
            core.want_timer(until);
            Poll::Pending
        })
        .await
    }
}

/// The first seat that is in both sets. The smaller one is gone through: where hundreds have sent and a few may, looking
/// at all who have for each chunk costs more than what is done with the chunk.
fn first_of_both(a: &BTreeSet<Seat>, b: &BTreeSet<Seat>) -> Option<Seat> {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    few.iter().find(|s| many.contains(s)).copied()
}

/// A message being written in chunks.
pub struct Outgoing<'a> {
    party: &'a mut Party,
    to: Seat,
    step: Step,
    total: u64,
    sequence: u32,
    pending: Vec<u8>,
}

impl Outgoing<'_> {
    /// The party that writes, to sign what the message ends with.
    pub fn party(&self) -> &Party {
        self.party
    }

    /// Writes bytes; each full chunk goes out at once, or when the window has room for it.
    ///
    /// # Errors
    /// [`Abort::Missing`] when the window stays full past `until`.
    pub async fn write(&mut self, mut bytes: &[u8], until: Millis) -> Result<(), Abort> {
        let chunk_bytes = self.party.seating.chunk_bytes();
        while !bytes.is_empty() {
            let take = bytes.len().min(chunk_bytes - self.pending.len());
            let (head, rest) = bytes.split_at(take);
            self.pending.extend_from_slice(head);
            bytes = rest;
            if self.pending.len() == chunk_bytes {
                self.flush(until).await?;
            }
        }
        Ok(())
    }

    /// Writes a buffer of at most one chunk, with nothing before it, without copying it; any other as [`Outgoing::write`] does.
    ///
    /// # Errors
    /// Those of [`Outgoing::write`].
    pub async fn write_chunk(&mut self, bytes: Vec<u8>, until: Millis) -> Result<(), Abort> {
        let chunk_bytes = self.party.seating.chunk_bytes();
        if self.pending.is_empty() && bytes.len() <= chunk_bytes {
            self.pending = bytes;
            return if self.pending.len() == chunk_bytes { self.flush(until).await } else { Ok(()) };
        }
        self.write(&bytes, until).await
    }

    /// Writes the last chunk.
    ///
    /// # Errors
    /// Those of [`Outgoing::write`].
    pub async fn finish(mut self, until: Millis) -> Result<(), Abort> {
        if !self.pending.is_empty() || self.total == 0 {
            self.flush(until).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, until: Millis) -> Result<(), Abort> {
        let body = core::mem::take(&mut self.pending);
        let length = body.len() as u64;
        let (to, step) = (self.to, self.step);
        poll_fn(|_| {
            let mut core = self.party.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            if to.index() >= core.sent.len() {
                return Poll::Ready(Err(Abort::Local(Fault::new(Code::JobInternal, format!("there is no {to}")))));
            }
            if core.gone.contains(&to) || core.has_room(to, length) {
                return Poll::Ready(Ok(()));
            }
            if core.now >= until {
                return Poll::Ready(Err(Abort::Missing { step, seats: vec![to] }));
            }
            core.want_timer(until);
            Poll::Pending
        })
        .await?;
        let (sequence, total) = (self.sequence, self.total);
        self.sequence += 1;
        let mut core = self.party.core();
        if !core.gone.contains(&to) {
            core.send_chunk(to, step, sequence, total, body);
        }
        Ok(())
    }
}
