//! The recipient's seat: puts the calls of its node to the owners and adds what they answer.

use std::collections::{BTreeMap, BTreeSet};

use tacit_protocol::{Abort, Blame, Concealed, Disclosure, Next, Offence, Party, Wanted};
use tacit_receipts::{Call, request_hash};
use tacit_secagg::stream;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Columns, Fault, Hash, Millis, Seat, Step};

use super::super::params::ScoreParams;
use super::super::plan::result_disclosure;
use super::host::{Asked, Say, Tell, told};
use super::shares::party::OPENING_STEPS;
use super::shares::{Cut, STOCK_MS_MAX, Shares, Want};
use super::tally::Tally;
use super::{
    ANSWER_BYTES_MAX, ANSWER_MS_MAX, Answer, Ask, AskedCall, BATCH_CALLS_MAX, BATCH_ROWS_MAX, BATCHES_MAX,
    CALL_KEYS_MAX, Online, READY, Roles, cells, serial,
};
use crate::kind::{Fold, JointContext, JointFuture, JointHalf, JointOutput};
use crate::session;

/// The local half of a recipient, which has no rows.
pub(super) struct AskerFold {
    params: ScoreParams,
    online: Online,
    shares: Option<Shares>,
}

impl AskerFold {
    /// For a window, on shares or not.
    pub fn new(params: ScoreParams, online: Online, shares: Option<Shares>) -> Self {
        Self { params, online, shares }
    }
}

impl Fold for AskerFold {
    fn take(&mut self, _: &Columns) -> Result<(), Fault> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        self
    }
}

impl JointHalf for AskerFold {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(serve(*self, party, context))
    }
}

/// A batch that waits for the owners.
struct Batch {
    tag: u64,
    asked: Asked,
    /// Keys of each call.
    keys: Vec<usize>,
    sum: Vec<u64>,
    waiting: BTreeSet<Seat>,
    refused: Option<Code>,
    until: Millis,
}

/// A batch that waits for randomness, or for others to be answered.
struct Pending {
    tag: u64,
    calls: Vec<Vec<Blob>>,
    until: Millis,
}

/// Pieces of a window on shares.
struct Stock {
    /// Who tells how many were dealt.
    by: Option<Seat>,
    dealt: u32,
    taken: u32,
    /// Those of the whole window.
    most: u32,
    cut: Cut,
}

/// Messages of one owner that were heard, and batches that it answered.
#[derive(Default)]
struct Line {
    heard: u32,
    answered: u32,
}

struct Serving {
    params: ScoreParams,
    disclosure: Disclosure,
    roles: Roles,
    opened_at: Millis,
    ends_at: Millis,
    wanted: Wanted,
    /// By number.
    batches: BTreeMap<u32, Batch>,
    next: u32,
    lines: BTreeMap<Seat, Line>,
    stock: Option<Stock>,
    pending: Option<Pending>,
    tally: Tally,
    closing: bool,
    lost: BTreeSet<Seat>,
}

async fn serve(half: AskerFold, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let AskerFold { params, online, shares } = half;
    let roles = Roles::of(&context, &params, &online, shares.as_ref())?;
    party.progress(READY);
    let steps = if shares.is_some() { OPENING_STEPS } else { 2 };
    let until = party.now().plus(context.step_ms.saturating_mul(steps));
    party.gather(&roles.owners, READY, 0, until).await?.all(READY)?;
    for owner in &roles.owners {
        party.post(*owner, READY, Vec::new())?;
    }
    party.tell_host(told(&Tell::Ready));
    let opened_at = party.now();
    let mut wanted = Wanted::default();
    wanted.messages.extend(roles.owners.iter().map(|owner| (serial(0), *owner)));
    let by = |s: &Shares| s.parties.iter().position(|p| *p == s.corrected).and_then(|i| roles.owners.get(i).copied());
    let stock = shares.as_ref().map(|s| Stock { by: by(s), dealt: 0, taken: 0, most: s.pieces, cut: s.cut });
    let mut serving = Serving {
        disclosure: result_disclosure(&params),
        params,
        opened_at,
        ends_at: opened_at.plus(online.seconds.saturating_mul(1000)),
        wanted,
        batches: BTreeMap::new(),
        next: 0,
        lines: roles.owners.iter().map(|owner| (*owner, Line::default())).collect(),
        stock,
        pending: None,
        tally: Tally::default(),
        closing: false,
        lost: BTreeSet::new(),
        roles,
    };
    while !serving.is_over() {
        serving.step(&mut party).await?;
    }
    serving.end(&mut party, &context).await
}

impl Serving {
    fn is_over(&self) -> bool {
        !self.lost.is_empty() || (self.closing && self.batches.is_empty() && self.pending.is_none())
    }

    async fn step(&mut self, party: &mut Party) -> Result<(), Abort> {
        self.wanted.host = !self.closing && self.pending.is_none() && self.batches.len() < BATCHES_MAX;
        let overdue = self.batches.values().map(|b| b.until).chain(self.pending.iter().map(|p| p.until)).min();
        let end = if self.closing { None } else { Some(self.ends_at) };
        // why: it is over when it closes and no batch waits.
        let until = overdue.into_iter().chain(end).min().unwrap_or(self.ends_at);
        match party.next(&mut self.wanted, ANSWER_BYTES_MAX, until).await? {
            Next::Host(bytes) => match wire::decode::<Say>(&bytes) {
                Ok(Say::Calls { tag, calls }) => self.hear(party, tag, calls),
                Ok(Say::Close) => {
                    self.closing = true;
                    Ok(())
                }
                Ok(Say::Counted { .. }) => Err(Abort::Local(Fault::new(Code::JobInternal, "the host counted no keys"))),
                Err(e) => Err(Abort::Local(Fault::new(Code::JobInternal, format!("the host said {e}")))),
            },
            Next::Message { from, step, body } => self.take(party, from, step, &body),
            Next::Lost(seat) => {
                self.lost.insert(seat);
                Ok(())
            }
            Next::Time => {
                let now = party.now();
                let late = self.batches.values().filter(|b| b.until <= now).flat_map(|b| &b.waiting).copied();
                self.lost.extend(late.collect::<Vec<Seat>>());
                self.closing |= now >= self.ends_at;
                if let Some(Pending { tag, .. }) = self.pending.take_if(|p| p.until <= now) {
                    party.tell_host(told(&Tell::Answered { tag, asked: None, outcome: Err(Code::OnlineBusy) }));
                }
                Ok(())
            }
        }
    }

    /// Takes a batch of the host, and puts it to the owners if there is randomness for it.
    fn hear(&mut self, party: &mut Party, tag: u64, calls: Vec<Vec<Blob>>) -> Result<(), Abort> {
        let keys: Vec<usize> = calls.iter().map(Vec::len).collect();
        let rows: usize = keys.iter().sum();
        let most = self.stock.as_ref().map_or(BATCH_ROWS_MAX, |s| s.cut.batch_rows());
        let fits = (1..=BATCH_CALLS_MAX).contains(&calls.len())
            && rows <= most
            && keys.iter().all(|n| (1..=CALL_KEYS_MAX).contains(n));
        let left = self.params.rows.saturating_sub(self.tally.total_rows());
        if !fits || rows as u64 > left {
            let code = if fits { Code::RefusedQuota } else { Code::OnlineRequest };
            party.tell_host(told(&Tell::Answered { tag, asked: None, outcome: Err(code) }));
            return Ok(());
        }
        self.pending = Some(Pending { tag, calls, until: party.now().plus(STOCK_MS_MAX) });
        self.put(party)
    }

    /// Puts the batch that waits to the owners, once there is randomness for it and not too much is under way.
    fn put(&mut self, party: &mut Party) -> Result<(), Abort> {
        let rows = |p: &Pending| p.calls.iter().map(Vec::len).sum::<usize>() as u64;
        let enough = |p: &Pending| {
            self.stock.as_ref().is_none_or(|s| {
                let taken = |b: &Batch| s.cut.pieces(b.keys.iter().sum::<usize>() as u64);
                let (wanted, flying) = (s.cut.pieces(rows(p)), self.batches.values().map(taken).sum::<u32>());
                s.taken + wanted <= s.dealt && flying + wanted <= s.cut.flying()
            })
        };
        let Some(Pending { tag, calls, .. }) = self.pending.take_if(|p| enough(p)) else { return Ok(()) };
        let keys: Vec<usize> = calls.iter().map(Vec::len).collect();
        let rows: usize = keys.iter().sum();
        if let Some(stock) = &mut self.stock {
            stock.taken += stock.cut.pieces(rows as u64);
        }
        self.ask(party, tag, (calls, keys, rows))
    }

    fn ask(
        &mut self,
        party: &mut Party,
        tag: u64,
        (calls, keys, rows): (Vec<Vec<Blob>>, Vec<usize>, usize),
    ) -> Result<(), Abort> {
        let at_ms = party.now().0.saturating_sub(self.opened_at.0);
        let first = self.tally.calls();
        let mut salts = Vec::with_capacity(calls.len());
        let mut asked = Vec::with_capacity(calls.len());
        let mut counted = Vec::with_capacity(calls.len());
        for keys in calls {
            let salt = Hash(party.rng().bytes());
            let plain: Vec<&[u8]> = keys.iter().map(|k| k.0.as_slice()).collect();
            let call = Call { at_ms, keys: keys.len() as u32, request: request_hash(&plain), salt };
            self.tally.add(&call);
            counted.push((call.keys, call.leaf()));
            salts.push(salt);
            asked.push(AskedCall { salt, keys });
        }
        let body = wire::encode(&Ask::Calls { at_ms, calls: asked });
        let blind = wire::encode(&Ask::Counted { at_ms, calls: counted });
        let count = cells(self.params.unknown, keys.len() as u64, rows as u64) as usize;
        let batch = Batch {
            tag,
            asked: Asked { first, at_ms, salts },
            keys,
            sum: vec![0; count],
            waiting: self.roles.owners.iter().copied().collect(),
            refused: None,
            until: party.now().plus(ANSWER_MS_MAX),
        };
        for owner in &self.roles.owners {
            let body = if self.roles.blind.contains(owner) { &blind } else { &body };
            party.post(*owner, serial(self.next), body.clone())?;
        }
        self.batches.insert(self.next, batch);
        self.next += 1;
        Ok(())
    }

    /// Counts a message of an owner, and waits for its next. Gives the number of the batch that is its next to answer.
    fn heard(&mut self, party: &mut Party, from: Seat) -> u32 {
        let line = self.lines.entry(from).or_default();
        line.heard += 1;
        party.forget_of(from, serial(line.heard));
        self.wanted.messages.insert((serial(line.heard), from));
        line.answered
    }

    /// Takes what an owner says: mostly its answer to the next batch that it has not answered.
    fn take(&mut self, party: &mut Party, from: Seat, step: Step, body: &[u8]) -> Result<(), Abort> {
        let malformed = || Blame::seat(from, Offence::Malformed).at(step);
        let number = self.heard(party, from);
        let answer = wire::decode_capped(body, ANSWER_BYTES_MAX).map_err(|_| malformed())?;
        match (&answer, &mut self.stock) {
            (Answer::Stock(dealt), Some(stock)) => {
                if stock.by != Some(from) || *dealt < stock.dealt || *dealt > stock.most {
                    return Err(malformed());
                }
                stock.dealt = *dealt;
                return self.put(party);
            }
            (Answer::Missing(seats), Some(_)) => {
                let others = |s: &&Seat| self.roles.owners.contains(s) || self.roles.dealer == Some(**s);
                self.lost.extend(seats.iter().filter(others));
                return Ok(());
            }
            _ => {}
        }
        let Some(batch) = self.batches.get_mut(&number).filter(|b| b.waiting.contains(&from)) else {
            return Err(malformed());
        };
        match answer {
            Answer::Cells(bytes) => {
                if !stream::add(&mut batch.sum, &bytes) {
                    return Err(malformed());
                }
            }
            Answer::Refused(code) => batch.refused = batch.refused.or(Some(code)),
            Answer::Agreed | Answer::Stock(_) | Answer::Missing(_) => return Err(malformed()),
        }
        if let Some(line) = self.lines.get_mut(&from) {
            line.answered += 1;
        }
        batch.waiting.remove(&from);
        if !batch.waiting.is_empty() {
            return Ok(());
        }
        let Some(batch) = self.batches.remove(&number) else { return Ok(()) };
        let outcome = match batch.refused {
            Some(code) => Err(code),
            None => Ok(self.open(party, batch.sum, &batch.keys)?),
        };
        party.tell_host(told(&Tell::Answered { tag: batch.tag, asked: Some(batch.asked), outcome }));
        self.put(party)
    }

    /// The numbers of each call: its rows, then its flags.
    fn open(&self, party: &mut Party, sum: Vec<u64>, keys: &[usize]) -> Result<Vec<Vec<u64>>, Abort> {
        let sum = party.reveal(&self.disclosure, sum.len() as u64, Concealed::new(sum))?;
        let (mut rows, mut flags) = sum.split_at(keys.iter().sum());
        let mut calls = Vec::with_capacity(keys.len());
        for count in keys {
            let more = cells(self.params.unknown, 1, *count as u64) as usize - count;
            let (own, own_flags) = (rows.split_at(*count), flags.split_at(more));
            calls.push([own.0, own_flags.0].concat());
            (rows, flags) = (own.1, own_flags.1);
        }
        Ok(calls)
    }

    /// Ends the window with whoever is left: all of them have counted the same.
    async fn end(mut self, party: &mut Party, context: &JointContext) -> Result<JointOutput, Abort> {
        for (_, batch) in core::mem::take(&mut self.batches) {
            let outcome = Err(Code::JobPeerLost);
            party.tell_host(told(&Tell::Answered { tag: batch.tag, asked: Some(batch.asked), outcome }));
        }
        if let Some(Pending { tag, .. }) = self.pending.take() {
            party.tell_host(told(&Tell::Answered { tag, asked: None, outcome: Err(Code::OnlineClosed) }));
        }
        party.tell_host(told(&Tell::Ending));
        let window = self.tally.window(self.params.unknown);
        let step = serial(self.next);
        party.progress(step);
        let left: Vec<Seat> = self.roles.owners.iter().copied().filter(|s| !self.lost.contains(s)).collect();
        let dealer = self.roles.dealer.filter(|d| !self.lost.contains(d));
        let mut seats: Vec<Seat> = left.iter().copied().chain([party.seat()]).chain(dealer).collect();
        seats.sort_unstable();
        let end = Ask::End { calls: window.calls, rows: window.rows, root: window.root, seats: seats.clone() };
        // Whoever counts as lost and is there hears that it is left out.
        for owner in &self.roles.owners {
            party.post(*owner, step, wire::encode(&end))?;
        }
        if let Some(dealer) = dealer {
            let end = Want::End { calls: window.calls, rows: window.rows, root: window.root, seats: seats.clone() };
            party.post(dealer, serial(0), wire::encode(&end))?;
        }
        let until = party.now().plus(context.step_ms);
        self.agreed(party, left.into_iter().collect(), until).await?;
        if dealer.is_some() {
            party.flush(until).await?;
        }
        let (output, closed) = self.tally.finish(self.params.unknown, seats);
        party.tell_host(closed);
        Ok(output)
    }

    /// Waits until each of them has counted the same. What they have said before is passed over.
    async fn agreed(&mut self, party: &mut Party, mut left: BTreeSet<Seat>, until: Millis) -> Result<(), Abort> {
        self.wanted.host = false;
        let step = serial(self.next);
        while !left.is_empty() {
            match party.next(&mut self.wanted, ANSWER_BYTES_MAX, until).await? {
                Next::Message { from, body, .. } => {
                    self.heard(party, from);
                    match wire::decode_capped(&body, ANSWER_BYTES_MAX) {
                        Ok(Answer::Agreed) => drop(left.remove(&from)),
                        Ok(_) => {}
                        Err(_) => return Err(Blame::seat(from, Offence::Malformed).at(step)),
                    }
                }
                Next::Lost(seat) if left.contains(&seat) => return Err(Abort::Missing { step, seats: vec![seat] }),
                Next::Lost(_) | Next::Host(_) => {}
                Next::Time => return Err(Abort::Missing { step, seats: left.into_iter().collect() }),
            }
        }
        Ok(())
    }
}
