//! A plan that is computed piece by piece, as somebody asks for rows, with several pieces on their way at a time.
//!
//! What is done once, such as the mask of a model, is done when the plan opens. Rows come later, in *pieces* of a fixed
//! number of rows each, numbered from 0: material is addressed by (operation, piece), so the dealer makes it ahead of any
//! demand, and a piece that was begun or passed over is never begun again. How messages travel, and in what step, is the
//! caller's: a [`Flight`] gives the words for each other party in each of its rounds, and takes theirs. All parties begin
//! the same pieces in the same order.

use core::task::Poll;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tacit_protocol::{Abort, Party};
use tacit_types::{Code, Fault};
use zeroize::Zeroizing;

use crate::deal::{hand_seeds, send, tile_corrections};
use crate::eval::{self, Opened};
use crate::kernel::ErasedBytes;
use crate::plan::{Op, Plan};
use crate::prep::{Place, Stock, StreamKey};
use crate::run::{Ready, Source, disclose, make_ready, read};
use crate::terms::Terms;
use crate::wire::{self, Answer, Ask, Lane, Task, together};

fn internal(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::JobInternal, what))
}

fn refused(what: String) -> Fault {
    Fault::new(Code::RefusedParameters, what)
}

impl Plan {
    /// The same operations over pieces of so many rows, of which at most `pieces` are ever computed.
    ///
    /// # Errors
    /// `refused.parameters` for a plan in verified mode, one without rows or messages, larger pieces than its tiles, or
    /// more of them than steps to number them.
    pub fn in_pieces(mut self, rows: u32, pieces: u32) -> Result<Plan, Fault> {
        if self.is_verified() || self.tiled.is_empty() || self.rounds(1) == 0 {
            return Err(refused("a plan that cannot be computed piece by piece".into()));
        }
        if !(1..=self.tile).contains(&u64::from(rows)) {
            return Err(refused(format!("pieces of {rows} rows, of 1 to {}", self.tile)));
        }
        (self.tile, self.rows) = (rows.into(), u64::from(rows) * u64::from(pieces));
        if pieces >= 1 << 24 || self.steps() >= 1 << 30 {
            return Err(refused(format!("{pieces} pieces of {rows} rows")));
        }
        Ok(self)
    }

    /// Rows of a piece.
    pub fn piece_rows(&self) -> u64 {
        self.tile
    }

    /// Bytes that are dealt for a piece, to one party.
    pub fn piece_dealt(&self) -> usize {
        self.tile_fixed_bytes(1)
    }

    /// Bytes of the largest message about a piece, dealt or between parties.
    pub fn piece_message(&self) -> u64 {
        self.largest_message(&self.tiled, self.tile as usize)
    }

    /// Rounds of a piece.
    pub fn piece_rounds(&self) -> u32 {
        self.rounds(1)
    }
}

/// A party's side of an open plan.
pub struct Live {
    plan: Arc<Plan>,
    ready: Ready,
    /// The next piece that is begun.
    next: u32,
    /// At the party that gets corrections: those of the pieces from `next` on.
    dealt: VecDeque<ErasedBytes>,
}

impl Live {
    /// Agrees on the terms, takes seeds, and does what is done once.
    ///
    /// # Errors
    /// Those of [`compute`](crate::compute).
    pub async fn open(party: &mut Party, terms: &Terms, source: &mut impl Source) -> Result<Self, Abort> {
        let ready = make_ready(party, terms, source).await?;
        Ok(Self { plan: terms.plan.clone(), ready, next: 0, dealt: VecDeque::new() })
    }

    /// This party's number.
    pub fn me(&self) -> usize {
        self.ready.me
    }

    /// Whether this party is dealt corrections.
    pub fn is_corrected(&self) -> bool {
        self.ready.me == self.plan.corrected() && self.plan.piece_dealt() > 0
    }

    /// The next piece that is begun or passed over.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Pieces that can be begun now.
    pub fn stock(&self) -> u32 {
        if self.is_corrected() { self.dealt.len() as u32 } else { u32::MAX }
    }

    /// Takes the corrections of the pieces that follow those that were dealt, one after the other. `false` when they are
    /// not of so many pieces.
    pub fn take(&mut self, pieces: u32, dealt: Vec<u8>) -> bool {
        let (each, dealt) = (self.plan.piece_dealt(), ErasedBytes::from(dealt));
        if !self.is_corrected() || dealt.len() != each * pieces as usize {
            return false;
        }
        self.dealt.extend(dealt.chunks_exact(each).map(|piece| ErasedBytes::from(piece.to_vec())));
        true
    }

    /// Passes over pieces that nobody begins: what was dealt for them is dropped.
    ///
    /// # Errors
    /// [`Abort::Local`] when they were not dealt yet, or there are no more.
    pub fn pass(&mut self, pieces: u32) -> Result<(), Abort> {
        (0..pieces).try_for_each(|_| self.spend().map(|_| ()))
    }

    /// The number of the next piece, with its corrections. It is never given again.
    fn spend(&mut self) -> Result<(u32, Option<ErasedBytes>), Abort> {
        let piece = self.next;
        if piece >= self.plan.tiles() {
            return Err(internal("a piece past the last"));
        }
        let dealt = match self.is_corrected() {
            true => Some(self.dealt.pop_front().ok_or_else(|| internal("a piece that was not dealt"))?),
            false => None,
        };
        self.next += 1;
        Ok((piece, dealt))
    }

    /// Begins the next pieces. Rows that the source is asked for are counted from the first of them.
    ///
    /// # Errors
    /// [`Abort::Local`] when they were not dealt yet, or there are no more; the source's own faults.
    pub fn begin(&mut self, party: &mut Party, source: &mut impl Source, pieces: u32) -> Result<Flight, Abort> {
        let lane = Lane::new(self.ready.me, self.plan.parties());
        let mut tasks: Vec<Task<'static, Result<Vec<Opened>, Abort>>> = Vec::new();
        for i in 0..pieces {
            let (piece, dealt) = self.spend()?;
            let job = self.job(source, lane.clone(), piece + 1, u64::from(i) * self.plan.tile, dealt)?;
            tasks.push(Box::pin(async move { eval::tile(job).await.map(|(_, opened)| opened) }));
        }
        let task = Box::pin(async move { together(tasks).await.into_iter().collect() });
        let none = (Vec::new(), Vec::new());
        let mut flight = Flight { lane, task, asks: none.0, answers: none.1, round: 0, done: None };
        flight.poll(party)?;
        Ok(flight)
    }

    /// What one piece needs.
    fn job(
        &self,
        source: &mut impl Source,
        lane: Lane,
        tile: u32,
        row: u64,
        dealt: Option<ErasedBytes>,
    ) -> Result<eval::Job, Abort> {
        let (plan, rows) = (&self.plan, self.plan.tile as usize);
        let mut inputs = Vec::new();
        for id in plan.stages(tile).iter().flat_map(|s| s.local.iter().chain(&s.joint)).copied() {
            let node = plan.node(id);
            if let Op::Input { owner, bits, index } = node.op
                && usize::from(owner) == self.ready.me
            {
                inputs.push((id, read(source, index, bits, row, node.count(rows), node.fx)?));
            }
        }
        let mut rest = dealt.as_ref().map(|dealt| &dealt[..]);
        let mut stocks = Vec::new();
        for id in plan.dealt_ids(tile) {
            let own = rest.map(|all| all.split_at(all.len().min(plan.fixed_bytes(id, rows))));
            rest = own.map(|(_, later)| later);
            let prg = self.ready.key.stream(Place { op: id, tile });
            stocks.push((id, Stock::new(prg, own.map(|(now, _)| now.to_vec().into()))));
        }
        let (plan, once, zeroes) = (plan.clone(), self.ready.once.clone(), self.ready.zeroes.clone());
        Ok(eval::Job { plan, tile, lane, once, zeroes, inputs, stocks })
    }
}

/// Pieces on their way, round by round, all of them in one message to each party.
pub struct Flight {
    lane: Lane,
    task: Task<'static, Result<Vec<Vec<Opened>>, Abort>>,
    asks: Vec<Ask>,
    answers: Vec<Answer>,
    round: u32,
    done: Option<Vec<Vec<Opened>>>,
}

impl Flight {
    /// The round that is under way, from 0.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Whether no round follows.
    pub fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// What a party is told in this round; nothing where it is told nothing.
    pub fn words_for(&self, to: usize) -> Vec<u8> {
        wire::frame(&self.asks, self.lane.me(), to)
    }

    /// Whether a party tells this one something in this round.
    pub fn awaits(&self, from: usize) -> bool {
        self.asks.iter().any(|ask| ask.flow.bytes(from, self.lane.me()) > 0)
    }

    /// Takes what a party says in this round, once. `false` when it has another length than the plan's.
    #[must_use]
    pub fn take(&mut self, from: usize, body: &[u8]) -> bool {
        wire::absorb(&self.asks, &mut self.answers, from, self.lane.me(), body)
    }

    /// Goes on to the next round, once everything that is awaited was taken.
    ///
    /// # Errors
    /// [`Abort::Undisclosed`] for an opening that the job does not list; [`Abort::Local`].
    pub fn proceed(&mut self, party: &mut Party) -> Result<(), Abort> {
        let mut answers = core::mem::take(&mut self.answers);
        wire::finish(&self.asks, &mut answers);
        self.asks.clear();
        self.lane.answer(answers);
        self.round += 1;
        self.poll(party)
    }

    fn poll(&mut self, party: &mut Party) -> Result<(), Abort> {
        match wire::poll_once(&mut self.task) {
            Poll::Ready(done) => self.done = Some(done?),
            Poll::Pending => {
                self.asks = self.lane.take_asks();
                if self.asks.is_empty() {
                    return Err(internal("pieces that wait for nothing"));
                }
                self.asks.iter_mut().try_for_each(|ask| disclose(party, ask))?;
                self.answers = wire::begin(&self.asks, self.lane.me());
            }
        }
        Ok(())
    }

    /// This party's summands of what is handed out, by output: rows in order. Nothing before the pieces are done.
    pub fn summands(self) -> BTreeMap<u32, Zeroizing<Vec<u64>>> {
        let given: Vec<Opened> = self.done.into_iter().flatten().flatten().filter(|opened| opened.summands).collect();
        let mut all: BTreeMap<u32, Zeroizing<Vec<u64>>> = BTreeMap::new();
        for opened in &given {
            // why: whole at once, so that growing leaves no copy behind.
            let count = || given.iter().filter(|o| o.output == opened.output).map(|o| o.words.len()).sum();
            let list = all.entry(opened.output).or_insert_with(|| Zeroizing::new(Vec::with_capacity(count())));
            list.extend_from_slice(&opened.words);
        }
        all
    }
}

/// The dealer's side of an open plan.
pub struct Dealer {
    plan: Arc<Plan>,
    keys: Vec<StreamKey>,
    next: u32,
}

impl Dealer {
    /// Agrees on the terms, hands out seeds, and deals what is done once.
    ///
    /// # Errors
    /// Those of [`deal`](crate::deal()).
    pub async fn open(party: &mut Party, terms: &Terms) -> Result<Self, Abort> {
        terms.agree(party).await?;
        let keys = hand_seeds(party, terms)?;
        let first = tile_corrections(&terms.plan, &keys, 0);
        if let Some(corrected) = terms.parties.get(terms.plan.corrected()).filter(|_| !first.is_empty()) {
            send(party, terms, *corrected, 0, &first).await?;
        }
        let until = terms.until(party);
        party.flush(until).await?;
        Ok(Self { plan: terms.plan.clone(), keys, next: 0 })
    }

    /// Corrections of the next pieces, one after the other, for the party that gets them. Each piece is dealt once.
    ///
    /// # Errors
    /// [`Abort::Local`] when there are no more.
    pub fn deal(&mut self, pieces: u32) -> Result<Vec<u8>, Abort> {
        let mut all = Vec::with_capacity(self.plan.piece_dealt() * pieces as usize);
        for _ in 0..pieces {
            if self.next >= self.plan.tiles() {
                return Err(internal("a piece past the last"));
            }
            self.next += 1;
            all.extend_from_slice(&tile_corrections(&self.plan, &self.keys, self.next));
        }
        Ok(all)
    }
}
