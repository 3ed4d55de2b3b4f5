//! An owner's seat in a window on shares: it brings rows, a model, or both, and computes.

use std::collections::VecDeque;
use std::sync::Arc;

use tacit_crypto::Transcript;
use tacit_mpc::Live;
use tacit_protocol::{Abort, Blame, Disclosure, Next, Offence, Party, Wanted};
use tacit_receipts::{Call, request_hash};
use tacit_secagg::stream::{Pad, Pads};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Hash, Millis, Seat, Step};

use super::super::super::circuit::Circuit;
use super::super::super::keys::KEY_BYTES_MAX;
use super::super::super::params::ScoreParams;
use super::super::super::plan::result_disclosure;
use super::super::host::{self, Tell, told};
use super::super::owner::{Pace, settle};
use super::super::tally::Tally;
use super::super::{
    Answer, Ask, BATCH_CALLS_MAX, BATCHES_MAX, CALL_KEYS_MAX, CALL_SKEW_MS_MAX, Online, READY, Roles, serial,
};
use super::batch::{Batch, Brought, Rounds, Way, shown};
use super::{DEAL_MS_MAX, LOTS_LOW, Lookup, PEER_MS_MAX, Shares, Want, terms};
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session;

/// The joint half.
pub(in crate::score) struct PartyJoint<I> {
    pub params: ScoreParams,
    pub online: Online,
    pub circuit: Arc<Circuit<I>>,
    /// Whether its node counts the keys of each batch before it is answered.
    pub counts: bool,
    pub lookup: Box<dyn Lookup<I>>,
}

impl<I: Copy + Send + Sync + 'static> JointHalf for PartyJoint<I> {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(serve(*self, party, context))
    }
}

/// What the party that gets corrections has asked for.
struct Lots {
    dealer: Seat,
    /// Lots asked for, and come.
    asked: u32,
    came: u32,
    /// Since when the dealer owes the next.
    since: Millis,
    told: bool,
}

/// What this seat says to another, or hears from it, in its own numbering.
#[derive(Default)]
struct Line {
    said: u32,
    heard: u32,
}

struct Serving<I> {
    params: ScoreParams,
    disclosure: Disclosure,
    circuit: Arc<Circuit<I>>,
    lookup: Box<dyn Lookup<I>>,
    shares: Shares,
    live: Live,
    pads: Pads,
    pace: Pace,
    roles: Roles,
    rounds: Rounds,
    lots: Option<Lots>,
    opened_at: Millis,
    /// Whether calls are taken.
    open: bool,
    said_ms: u64,
    tally: Tally,
    recipient: Line,
    dealer: Line,
    counts: bool,
    /// Batches that were not begun, because keys of theirs or of one before are counted.
    waiting: VecDeque<Waiting>,
    batches: VecDeque<Batch>,
}

/// A batch that was not begun.
struct Waiting {
    number: u32,
    heard: Heard,
    rows: u64,
    request: Hash,
    pad: Pad,
    /// Whether it is answered; nothing as long as its keys are counted.
    verdict: Option<Result<(), Code>>,
}

/// The calls of a batch, as this party counts them.
struct Heard {
    at_ms: u64,
    /// Keys of each call, and the hash of its leaf.
    calls: Vec<(usize, Hash)>,
    /// Where this party has rows.
    keys: Vec<Blob>,
}

async fn serve<I: Copy + Send + Sync + 'static>(
    half: PartyJoint<I>,
    mut party: Party,
    context: JointContext,
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let PartyJoint { params, online, circuit, counts, lookup } = half;
    let shares = Shares::of(&circuit);
    let roles = Roles::of(&context, &params, &online, Some(&shares))?;
    let (terms, recipient) = (terms(&circuit, &roles, &context)?, roles.recipient);
    let (values, _) = lookup.find(&[], 0);
    let mut once = Brought { circuit: circuit.clone(), values, shown: Vec::new() };
    let live = Live::open(&mut party, &terms, &mut once).await?;
    let pads = roles.stream(&context).agree(&mut party).await?;
    let now = party.now();
    let lots = live.is_corrected().then_some(Lots { dealer: terms.dealer, asked: 0, came: 0, since: now, told: false });
    let mut serving = Serving {
        disclosure: result_disclosure(&params),
        rounds: Rounds(circuit.plan.piece_rounds()),
        params,
        circuit,
        lookup,
        shares,
        live,
        pads,
        pace: Pace::new(online.rows_per_second, now),
        roles,
        lots,
        opened_at: now,
        open: false,
        said_ms: 0,
        tally: Tally::default(),
        recipient: Line::default(),
        dealer: Line::default(),
        counts,
        waiting: VecDeque::new(),
        batches: VecDeque::new(),
    };
    serving.fill(&mut party, context.step_ms).await?;
    party.progress(READY);
    party.post(recipient, READY, Vec::new())?;
    let until = party.now().plus(context.step_ms.saturating_mul(OPENING_STEPS));
    party.receive(recipient, READY, 0, until).await?;
    serving.opened_at = party.now();
    serving.pace = Pace::new(online.rows_per_second, serving.opened_at);
    serving.open = true;
    serving.tell_stock(&mut party)?;
    let until = serving.opened_at.plus(online.seconds.saturating_mul(1000)).plus(context.step_ms);
    serving.run(&mut party, &context, until).await
}

/// Steps that the opening of a window may take all in all.
pub(in crate::score) const OPENING_STEPS: u64 = 8;

impl<I: Copy + Send + Sync + 'static> Serving<I> {
    async fn run(mut self, party: &mut Party, context: &JointContext, until: Millis) -> Result<JointOutput, Abort> {
        let recipient = self.roles.recipient;
        let mut wanted = Wanted::default();
        loop {
            wanted.messages = self.awaited().into_iter().collect();
            wanted.host = self.waiting.iter().any(|w| w.verdict.is_none());
            let wake = self.wake().map_or(until, |at| at.min(until));
            match party.next(&mut wanted, MESSAGE_BYTES_MAX, wake).await? {
                Next::Message { from, step, body } if from == recipient => {
                    self.recipient.heard += 1;
                    party.forget_of(recipient, serial(self.recipient.heard));
                    if let Some(seats) = self.asked(party, step, &body)? {
                        self.tell_dealer(party, &seats)?;
                        party.flush(party.now().plus(context.step_ms)).await?;
                        return Ok(self.finish(party, seats));
                    }
                }
                Next::Message { from, body, .. } if self.roles.dealer == Some(from) => self.dealt(party, body)?,
                Next::Message { from, step, body } => self.round(party, from, step, &body)?,
                Next::Lost(seat) if seat == recipient => return self.settle(party, context).await,
                Next::Host(bytes) => self.counted(party, &bytes)?,
                // The recipient says how it goes on.
                Next::Lost(_) => {}
                Next::Time if party.now() >= until => {
                    return Err(Abort::Missing { step: serial(self.recipient.heard), seats: vec![recipient] });
                }
                Next::Time => self.overdue(party)?,
            }
        }
    }

    /// Messages that are waited for.
    fn awaited(&self) -> Vec<(Step, Seat)> {
        let rounds = self.batches.iter().flat_map(|b| b.awaited(self.rounds));
        let seat = |i: usize| self.roles.owners.get(i).copied();
        let mut all: Vec<(Step, Seat)> = rounds.filter_map(|(step, i)| Some((step, seat(i)?))).collect();
        all.push((serial(self.recipient.heard), self.roles.recipient));
        all.extend(self.lots.iter().filter(|l| l.came < l.asked).map(|l| (serial(l.came), l.dealer)));
        all
    }

    /// When somebody is overdue next.
    fn wake(&self) -> Option<Millis> {
        let lots = self.lots.iter().filter(|l| l.came < l.asked && !l.told).map(|l| l.since.plus(DEAL_MS_MAX));
        let batches = self.batches.iter().filter(|b| !b.told && !b.is_done()).map(|b| b.until);
        lots.chain(batches).min()
    }

    /// Tells the recipient whom this seat waits for in vain.
    fn overdue(&mut self, party: &mut Party) -> Result<(), Abort> {
        let now = party.now();
        let mut seats: Vec<Seat> = Vec::new();
        if let Some(lots) = self.lots.as_mut().filter(|l| l.came < l.asked && l.since.plus(DEAL_MS_MAX) <= now) {
            lots.told = true;
            seats.push(lots.dealer);
        }
        for batch in self.batches.iter_mut().filter(|b| b.until <= now && !b.told && !b.is_done()) {
            batch.told = true;
            let awaited = batch.awaited(self.rounds);
            seats.extend(awaited.iter().filter_map(|(_, i)| self.roles.owners.get(*i)));
        }
        seats.sort_unstable();
        seats.dedup();
        if seats.is_empty() { Ok(()) } else { self.tell(party, &Answer::Missing(seats)) }
    }

    fn tell(&mut self, party: &mut Party, answer: &Answer) -> Result<(), Abort> {
        let step = serial(self.recipient.said);
        self.recipient.said += 1;
        party.post(self.roles.recipient, step, wire::encode(answer))
    }

    /// Asks for randomness when there is little left.
    fn restock(&mut self, party: &mut Party) -> Result<(), Abort> {
        let Some(lots) = &mut self.lots else { return Ok(()) };
        let Some(upto) = self.shares.wanted(lots.asked, self.live.next()) else { return Ok(()) };
        if lots.came == lots.asked {
            lots.since = party.now();
        }
        lots.asked = upto;
        let step = serial(self.dealer.said);
        self.dealer.said += 1;
        party.post(lots.dealer, step, wire::encode(&Want::Lots(upto)))
    }

    /// Takes the next lot.
    fn dealt(&mut self, party: &mut Party, body: Vec<u8>) -> Result<(), Abort> {
        let Some(lots) = &mut self.lots else { return Ok(()) };
        let step = serial(lots.came);
        if !self.live.take(self.shares.lot(lots.came), body) {
            return Err(Blame::seat(lots.dealer, Offence::Malformed).at(step));
        }
        lots.came += 1;
        lots.since = party.now();
        party.forget_of(lots.dealer, serial(lots.came));
        self.tell_stock(party)
    }

    /// Tells the recipient how many pieces were dealt in all.
    fn tell_stock(&mut self, party: &mut Party) -> Result<(), Abort> {
        if self.lots.is_none() || !self.open {
            return Ok(());
        }
        let dealt = self.live.next() + self.live.stock();
        self.tell(party, &Answer::Stock(dealt))
    }

    /// Takes the first lots, as many as the largest batch takes, before calls are taken.
    async fn fill(&mut self, party: &mut Party, step_ms: u64) -> Result<(), Abort> {
        self.restock(party)?;
        while let Some((dealer, came, asked)) = self.lots.as_ref().map(|l| (l.dealer, l.came, l.asked)) {
            if came >= asked.min(LOTS_LOW) {
                break;
            }
            let until = party.now().plus(step_ms);
            let body = party.receive(dealer, serial(came), MESSAGE_BYTES_MAX, until).await?;
            self.dealt(party, body)?;
        }
        Ok(())
    }

    /// Takes a batch, or the end and who is there.
    fn asked(&mut self, party: &mut Party, step: Step, body: &[u8]) -> Result<Option<Vec<Seat>>, Abort> {
        let recipient = self.roles.recipient;
        let blame = |offence| Err(Blame::seat(recipient, offence).at(step));
        let Ok(ask) = wire::decode_capped::<Ask>(body, super::super::BATCH_BYTES_MAX) else {
            return blame(Offence::Malformed);
        };
        let heard = match ask {
            Ask::End { calls, rows, root, seats } => {
                let own = self.tally.window(self.params.unknown);
                if (calls, rows, root) != (own.calls, own.rows, own.root) {
                    return blame(Offence::BadSum);
                }
                if !seats.contains(&party.seat()) {
                    return Err(Abort::Missing { step, seats: vec![party.seat()] });
                }
                self.tell(party, &Answer::Agreed)?;
                return Ok(Some(seats));
            }
            Ask::Calls { at_ms, calls } if !self.roles.blind.contains(&party.seat()) => {
                let good = |k: &Blob| (1..=KEY_BYTES_MAX).contains(&k.len());
                let leaf = |c: &super::super::AskedCall| {
                    let plain: Vec<&[u8]> = c.keys.iter().map(|k| k.0.as_slice()).collect();
                    let (keys, request) = (c.keys.len() as u32, request_hash(&plain));
                    (c.keys.len(), Call { at_ms, keys, request, salt: c.salt }.leaf())
                };
                if !calls.iter().flat_map(|c| &c.keys).all(good) {
                    return blame(Offence::Malformed);
                }
                let counted = calls.iter().map(leaf).collect();
                Heard { at_ms, calls: counted, keys: calls.into_iter().flat_map(|c| c.keys).collect() }
            }
            Ask::Counted { at_ms, calls } if self.roles.blind.contains(&party.seat()) => {
                let calls = calls.into_iter().map(|(keys, leaf)| (keys as usize, leaf)).collect();
                Heard { at_ms, calls, keys: Vec::new() }
            }
            Ask::Calls { .. } | Ask::Counted { .. } => return blame(Offence::Malformed),
        };
        if !self.count(party.now(), &heard) {
            return blame(Offence::Malformed);
        }
        let rows: usize = heard.calls.iter().map(|(keys, _)| keys).sum();
        let cut = self.shares.cut;
        let taken = cut.pieces(rows as u64);
        let waiting = self.waiting.iter().map(|w| cut.pieces(w.rows)).sum::<u32>() + taken;
        let flying = self.batches.iter().map(|b| cut.pieces(b.rows())).sum::<u32>() + waiting;
        let many = self.batches.len() + self.waiting.len() >= BATCHES_MAX || flying > cut.flying();
        if self.tally.total_rows() > self.params.rows || many || waiting > self.live.stock() {
            return blame(Offence::Flow);
        }
        self.hear(party, heard, rows as u64);
        self.begin(party)?;
        Ok(None)
    }

    /// Counts the calls of a batch, by itself, before it looks at them. `false` for what the recipient may not send.
    fn count(&mut self, now: Millis, heard: &Heard) -> bool {
        let own_ms = now.0.saturating_sub(self.opened_at.0);
        let rows: usize = heard.calls.iter().map(|(keys, _)| keys).fold(0, |a, b| a.saturating_add(*b));
        let fits = (1..=BATCH_CALLS_MAX).contains(&heard.calls.len())
            && rows <= self.shares.cut.batch_rows()
            && heard.calls.iter().all(|(keys, _)| (1..=CALL_KEYS_MAX).contains(keys));
        if heard.at_ms < self.said_ms || heard.at_ms.abs_diff(own_ms) > CALL_SKEW_MS_MAX || !fits {
            return false;
        }
        self.said_ms = heard.at_ms;
        heard.calls.iter().for_each(|(keys, leaf)| self.tally.add_leaf(*leaf, *keys as u32));
        true
    }

    /// Takes a batch in, in its order. Its mask is spent whatever becomes of it, at every owner alike.
    fn hear(&mut self, party: &mut Party, heard: Heard, rows: u64) {
        let number = self.recipient.heard - 1;
        let base = Transcript::new("tacit-score/1/batch").u64(heard.at_ms).u64(heard.calls.len() as u64);
        let request = heard.calls.iter().fold(base, |t, (keys, leaf)| t.u64(*keys as u64).fixed(&leaf.0)).finish();
        let verdict = if !self.pace.take(rows, party.now()) {
            Some(Err(Code::RefusedPace))
        } else if self.counts {
            party.tell_host(told(&Tell::Count { keys: heard.keys.clone(), rows }));
            None
        } else {
            Some(Ok(()))
        };
        let pad = self.pads.next(&request);
        self.waiting.push_back(Waiting { number, heard, rows, request, pad, verdict });
    }

    /// Hears that the keys of a batch are counted.
    fn counted(&mut self, party: &mut Party, said: &[u8]) -> Result<(), Abort> {
        let outcome = host::counted(said).map_err(Abort::Local)?;
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.verdict.is_none()) {
            waiting.verdict = Some(outcome);
        }
        self.begin(party)
    }

    /// Begins what waits no longer. Pieces are spent whatever becomes of a batch, at every owner alike.
    fn begin(&mut self, party: &mut Party) -> Result<(), Abort> {
        while let Some(waiting) = self.waiting.pop_front_if(|w| w.verdict.is_some()) {
            let batch = self.begun(party, waiting)?;
            self.batches.push_back(batch);
        }
        self.restock(party)?;
        self.answer(party)
    }

    fn begun(&mut self, party: &mut Party, waiting: Waiting) -> Result<Batch, Abort> {
        let Waiting { number, heard, rows, request, pad, verdict } = waiting;
        let (cut, until) = (self.shares.cut, party.now().plus(PEER_MS_MAX));
        let taken = cut.pieces(rows);
        let way = Way {
            seats: &self.roles.owners,
            me: self.live.me(),
            rounds: self.rounds,
            unknown: self.params.unknown,
            disclosure: &self.disclosure,
        };
        if let Some(Err(code)) = verdict {
            self.live.pass(taken)?;
            return Batch::refuse(party, &way, (number, until), request, code);
        }
        let calls: Vec<usize> = heard.calls.iter().map(|(keys, _)| *keys).collect();
        let keys: Vec<&[u8]> = heard.keys.iter().map(|k| k.0.as_slice()).collect();
        let (values, known) = self.lookup.find(&keys, (taken * cut.piece_rows) as usize);
        let shown = shown(self.params.unknown, &calls, &known);
        let mut brought = Brought { circuit: self.circuit.clone(), values, shown };
        let flight = self.live.begin(party, &mut brought, taken)?;
        Batch::begin(party, &way, (number, until), (calls, request), (flight, pad))
    }

    /// Takes what another owner says in a round.
    fn round(&mut self, party: &mut Party, from: Seat, step: Step, body: &[u8]) -> Result<(), Abort> {
        let (number, _) = self.rounds.of(step);
        let way = Way {
            seats: &self.roles.owners,
            me: self.live.me(),
            rounds: self.rounds,
            unknown: self.params.unknown,
            disclosure: &self.disclosure,
        };
        let from = way.seats.iter().position(|s| *s == from);
        let batch = self.batches.iter_mut().find(|b| b.number() == number);
        if let (Some(from), Some(batch)) = (from, batch) {
            batch.take(party, &way, from, body)?;
        }
        self.answer(party)
    }

    /// Tells the recipient what is done, in the order of the batches.
    fn answer(&mut self, party: &mut Party) -> Result<(), Abort> {
        while let Some(batch) = self.batches.pop_front_if(|b| b.is_done()) {
            if let Some(answer) = batch.answer() {
                self.tell(party, &answer)?;
            }
            let next = self.waiting.front().map_or(self.recipient.heard, |w| w.number);
            let oldest = self.batches.front().map_or(next, Batch::number);
            let me = self.live.me();
            for (_, seat) in self.roles.owners.iter().enumerate().filter(|(i, _)| *i != me) {
                party.forget_of(*seat, self.rounds.step(oldest, 0));
            }
        }
        Ok(())
    }

    /// Tells the dealer, where it is there, what it deals no more for.
    fn tell_dealer(&mut self, party: &mut Party, seats: &[Seat]) -> Result<(), Abort> {
        let Some(dealer) = self.roles.dealer.filter(|d| seats.contains(d)) else { return Ok(()) };
        let window = self.tally.window(self.params.unknown);
        let (calls, rows, root) = (window.calls, window.rows, window.root);
        let end = Want::End { calls, rows, root, seats: seats.to_vec() };
        party.post(dealer, serial(self.dealer.said), wire::encode(&end))
    }

    fn finish(self, party: &mut Party, seats: Vec<Seat>) -> JointOutput {
        let (output, closed) = self.tally.finish(self.params.unknown, seats);
        party.tell_host(closed);
        output
    }

    /// The recipient is lost: the owners settle on the calls that all of them have heard.
    async fn settle(mut self, party: &mut Party, context: &JointContext) -> Result<JointOutput, Abort> {
        settle(party, context, &self.roles.owners, &mut self.tally).await?;
        let mut seats: Vec<Seat> = self.roles.owners.iter().copied().chain(self.roles.dealer).collect();
        seats.sort_unstable();
        self.tell_dealer(party, &seats)?;
        party.flush(party.now().plus(context.step_ms)).await?;
        Ok(self.finish(party, seats))
    }
}
