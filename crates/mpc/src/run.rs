//! A party's run of a plan: what is done once, then tile after tile with several in flight.

use core::task::Poll;
use std::collections::VecDeque;
use std::sync::Arc;

use tacit_crypto::{Rng, Secret};
use tacit_protocol::{Abort, Blame, Concealed, Offence, Party};
use tacit_types::{Code, Fault, Hash, Seat, Step};
use zeroize::Zeroizing;

use crate::deal::Dealt;
use crate::eval::{self, Opened, Value, Values};
use crate::group::Group;
use crate::plan::{Op, Plan};
use crate::prep::{Preprocessing, Stock, StreamKey, ZeroKeys};
use crate::terms::Terms;
use crate::value::{Released, Words};
use crate::verified::auth::Keys;
use crate::verified::{self, audit, desk::Coins};
use crate::wire::{self, Ask, Lane, Task};

/// Where a party's own inputs come from.
pub trait Source: Send {
    /// Writes rows of an input of this party from `first_row` on: words row by row, or packed bits.
    ///
    /// # Errors
    /// What keeps the rows from being read; it ends the run.
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault>;
}

/// Where opened rows go, at the seats that receive them.
pub trait Sink: Send {
    /// Takes rows of an output from `first_row` on: words row by row with their sign extended, or packed
    /// bits. Rows of one output come in order.
    ///
    /// # Errors
    /// What keeps the rows from being taken; it ends the run.
    fn take(&mut self, output: u32, first_row: u64, words: Vec<u64>) -> Result<(), Fault>;

    /// Takes this party's own summands of rows that the plan hands out, from `first_row` on, in order. They are
    /// secret: they may leave in nothing but a masked sum.
    ///
    /// # Errors
    /// What keeps them from being taken; it ends the run.
    fn summands(&mut self, output: u32, first_row: u64, words: Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        let _ = (first_row, words);
        Err(Fault::new(Code::JobInternal, format!("nobody takes the summands of output {output}")))
    }

    /// Takes this party's summands of the key that goes with all handed out rows of a verified plan, once, after them:
    /// [`HANDED_KEY_WORDS`](crate::HANDED_KEY_WORDS) words, to be summed beside the rows. In verified mode a number has
    /// [`HANDED_WORDS`](crate::HANDED_WORDS) words, and [`open_handed`](crate::open_handed) reads their sums.
    ///
    /// # Errors
    /// What keeps them from being taken; it ends the run.
    fn key(&mut self, words: Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        let _ = words;
        Err(Fault::new(Code::JobInternal, "nobody takes the key of what is handed out"))
    }
}

/// What a tile begins with.
struct Begun<V> {
    plan: Arc<Plan>,
    tile: u32,
    lane: Lane,
    once: Arc<Values<V>>,
    zeroes: Arc<ZeroKeys>,
    inputs: Vec<(u32, Words)>,
    stocks: Vec<(u32, Stock)>,
}

type Running<V> = Task<'static, Result<(Values<V>, Vec<Opened>), Abort>>;

/// How a tile is computed. Each mode has values of its own, and nothing makes one mode's of the other's.
trait Mode {
    type Value: Send + Sync + 'static;
    fn start(&self, begun: Begun<Self::Value>, rng: &mut Rng) -> Running<Self::Value>;
}

struct SemiHonest;

impl Mode for SemiHonest {
    type Value = Value;

    fn start(&self, begun: Begun<Value>, _: &mut Rng) -> Running<Value> {
        let Begun { plan, tile, lane, once, zeroes, inputs, stocks } = begun;
        Box::pin(eval::tile(eval::Job { plan, tile, lane, once, zeroes, inputs, stocks }))
    }
}

struct Verified {
    keys: Arc<Keys>,
    agreed: Hash,
}

impl Mode for Verified {
    type Value = verified::tile::Value;

    fn start(&self, begun: Begun<Self::Value>, rng: &mut Rng) -> Running<Self::Value> {
        let Begun { plan, tile, lane, once, zeroes, inputs, stocks } = begun;
        let coins = verified::check_places(&plan, tile).iter().map(|_| Coins::toss(rng)).collect();
        let (keys, agreed) = (self.keys.clone(), self.agreed);
        let job = verified::tile::Job { plan, tile, lane, keys, agreed, once, zeroes, inputs, stocks, coins };
        Box::pin(verified::tile::tile(job))
    }
}

fn internal(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::JobInternal, what))
}

/// Runs a plan with dealt randomness.
///
/// # Errors
/// [`Abort::Disagreement`] when a seat holds other terms; [`Abort::Missing`] names a lost party or dealer;
/// [`Abort::Misbehaved`] for a message of another length than the plan's; [`Abort::Undisclosed`] when the
/// job does not list an opening; [`Abort::Local`] for the source's and sink's own faults, and
/// `refused.overflow` for an input outside its declared range.
pub async fn compute(
    party: &mut Party,
    terms: &Terms,
    source: &mut impl Source,
    sink: &mut impl Sink,
) -> Result<(), Abort> {
    terms.agree(party).await?;
    let seat = party.seat();
    let me = terms.parties.iter().position(|s| *s == seat).ok_or_else(|| internal("this seat does not compute"))?;
    let (seeds, heads, zeroes) = seeds(party, terms, me).await?;
    let (seed, head) = if terms.plan.audits() > 0 {
        let (seed, head) = audit::choose(party, terms, me, seeds, &heads).await?;
        (seed, Some(head))
    } else {
        (seeds.into_iter().next().ok_or_else(|| internal("no seed"))?, None)
    };
    let prep = Dealt::new(terms, me, &seed, head);
    if !terms.plan.is_verified() {
        return run(party, terms, (me, prep, zeroes), SemiHonest, source, sink).await;
    }
    let keys = Arc::new(verified::maker::keys(&prep.key, me == 0));
    let mode = Verified { keys: keys.clone(), agreed: terms.hash() };
    run(party, terms, (me, prep, zeroes), mode, source, sink).await?;
    if terms.plan.nodes.iter().any(|n| matches!(n.op, Op::Hand { .. })) {
        sink.key(verified::handed::key(&keys))?;
    }
    Ok(())
}

/// What a party holds once it has done what is done once.
pub(crate) struct Ready {
    pub me: usize,
    pub key: StreamKey,
    pub zeroes: Arc<ZeroKeys>,
    pub once: Arc<Values>,
}

/// Nobody receives anything of what is done once.
struct Nobody;

impl Sink for Nobody {
    fn take(&mut self, output: u32, _: u64, _: Vec<u64>) -> Result<(), Fault> {
        Err(Fault::new(Code::JobInternal, format!("nobody takes output {output}")))
    }
}

/// Does what is done once of a plan in semi-honest mode, and no tile.
pub(crate) async fn make_ready(party: &mut Party, terms: &Terms, source: &mut impl Source) -> Result<Ready, Abort> {
    terms.agree(party).await?;
    let seat = party.seat();
    let me = terms.parties.iter().position(|s| *s == seat).ok_or_else(|| internal("this seat does not compute"))?;
    let (seeds, _, zeroes) = seeds(party, terms, me).await?;
    let prep = Dealt::new(terms, me, &seeds.into_iter().next().ok_or_else(|| internal("no seed"))?, None);
    let (zeroes, once) = (Arc::new(zeroes), Arc::new(Values::default()));
    let mut run = Run { terms, me, prep, mode: SemiHonest, zeroes, once, source, sink: &mut Nobody };
    let mut first = run.begin(party, 0).await?;
    while !run.turn(party, &mut first).await? {}
    let once = Arc::new(run.deliver(first)?);
    let until = terms.until(party);
    party.flush(until).await?;
    Ok(Ready { me, key: run.prep.key, zeroes: run.zeroes, once })
}

/// Runs all tiles in a mode.
async fn run<M: Mode>(
    party: &mut Party,
    terms: &Terms,
    (me, prep, zeroes): (usize, Dealt<'_>, ZeroKeys),
    mode: M,
    source: &mut impl Source,
    sink: &mut impl Sink,
) -> Result<(), Abort> {
    let mut run =
        Run { terms, me, prep, mode, zeroes: Arc::new(zeroes), once: Arc::new(Values::default()), source, sink };
    let mut first = run.begin(party, 0).await?;
    while !run.turn(party, &mut first).await? {}
    run.once = Arc::new(run.deliver(first)?);
    run.tiles(party).await?;
    let until = terms.until(party);
    party.flush(until).await
}

/// A party's seeds of each deal, and what the dealer commits to where more than one is dealt.
type Deals = (Vec<Secret<[u8; 32]>>, Vec<Hash>, ZeroKeys);

/// The dealer's seeds and commitments, and keys with each other party for summands of zero.
async fn seeds(party: &mut Party, terms: &Terms, me: usize) -> Result<Deals, Abort> {
    let (step, agreed) = (Step(terms.first_step().0 + 1), terms.hash());
    let pair = |seed: &Secret<[u8; 32]>| StreamKey::derive(seed, &agreed, "tacit-mpc/1/zero", 0);
    let mut keys: Vec<Option<StreamKey>> = Vec::with_capacity(terms.parties.len());
    for (i, seat) in terms.parties.iter().enumerate() {
        keys.push(if i > me {
            let seed = party.rng().seed();
            party.post(*seat, step, seed.expose_secret().to_vec())?;
            Some(pair(&seed))
        } else {
            None
        });
    }
    let earlier: Vec<Seat> = terms.parties.iter().take(me).copied().chain([terms.dealer]).collect();
    let until = terms.until(party);
    let deals = terms.plan.audits() + 1;
    let from_dealer = if deals > 1 { 2 * deals } else { 1 };
    let gathered = party.gather(&earlier, step, 32 * from_dealer, until).await?;
    let (mut seeds, mut heads) = (Vec::new(), Vec::new());
    for (seat, body) in terms.all(party, step, gathered)? {
        let (parts, rest) = body.as_chunks::<32>();
        let place = terms.parties.iter().position(|s| *s == seat).and_then(|i| keys.get_mut(i));
        let due = if place.is_some() { 1 } else { from_dealer };
        if parts.len() != due || !rest.is_empty() {
            return Err(Blame::seat(seat, Offence::Malformed).at(step));
        }
        match (place, parts) {
            (Some(key), [seed]) => *key = Some(pair(&Secret::new(*seed))),
            _ => {
                seeds = parts.iter().take(deals).map(|s| Secret::new(*s)).collect();
                heads = parts.iter().skip(deals).map(|h| Hash(*h)).collect();
            }
        }
    }
    Ok((seeds, heads, ZeroKeys::new(keys, me)))
}

/// One tile on its way.
struct Tile<V> {
    number: u32,
    lane: Lane,
    task: Running<V>,
    /// The step of the round that is awaited.
    step: Step,
    asks: Vec<Ask>,
    done: Option<(Values<V>, Vec<Opened>)>,
}

struct Run<'a, M: Mode, S, K> {
    terms: &'a Terms,
    me: usize,
    prep: Dealt<'a>,
    mode: M,
    zeroes: Arc<ZeroKeys>,
    once: Arc<Values<M::Value>>,
    source: &'a mut S,
    sink: &'a mut K,
}

impl<M: Mode, S: Source, K: Sink> Run<'_, M, S, K> {
    async fn tiles(&mut self, party: &mut Party) -> Result<(), Abort> {
        let (last, most, mut next) = (self.terms.plan.tiles(), self.terms.plan.in_flight(), 1);
        let mut flight: VecDeque<Tile<M::Value>> = VecDeque::new();
        loop {
            while flight.len() < most && next <= last {
                let tile = self.begin(party, next).await?;
                flight.push_back(tile);
                next += 1;
            }
            let Some(mut tile) = flight.pop_front() else { return Ok(()) };
            if self.turn(party, &mut tile).await? {
                self.deliver(tile)?;
                let oldest = flight.front().map_or(next, |t| t.number);
                party.forget(self.terms.plan.tile_step(self.terms.step_base, oldest));
            } else {
                flight.push_back(tile);
            }
        }
    }

    /// Reads a tile's inputs and material, and asks its first round.
    async fn begin(&mut self, party: &mut Party, number: u32) -> Result<Tile<M::Value>, Abort> {
        let step = self.terms.plan.tile_step(self.terms.step_base, number);
        party.progress(step);
        self.prep.prepare(party, number).await?;
        let plan = self.terms.plan.clone();
        let (first_row, rows) = plan.tile_rows(number);
        let mut inputs = Vec::new();
        let mut stocks = Vec::new();
        for id in plan.stages(number).iter().flat_map(|s| s.local.iter().chain(&s.joint)).copied() {
            let node = plan.node(id);
            if let Op::Input { owner, bits, index } = node.op
                && usize::from(owner) == self.me
            {
                inputs.push((id, read(self.source, index, bits, first_row, node.count(rows), node.fx)?));
            }
        }
        for id in plan.dealt_ids(number) {
            stocks.push((id, self.prep.stock(crate::Place { op: id, tile: number })?));
        }
        let lane = Lane::new(self.me, plan.parties());
        let (once, zeroes) = (self.once.clone(), self.zeroes.clone());
        let begun = Begun { plan, tile: number, lane: lane.clone(), once, zeroes, inputs, stocks };
        let task = self.mode.start(begun, party.rng());
        let mut tile = Tile { number, lane, task, step, asks: Vec::new(), done: None };
        self.advance(party, &mut tile)?;
        Ok(tile)
    }

    /// Polls a tile, and posts what it asks.
    fn advance(&self, party: &mut Party, tile: &mut Tile<M::Value>) -> Result<(), Abort> {
        match wire::poll_once(&mut tile.task) {
            Poll::Ready(done) => tile.done = Some(done?),
            Poll::Pending => {
                let mut asks = tile.lane.take_asks();
                if asks.is_empty() {
                    return Err(internal("a tile waits for nothing"));
                }
                asks.iter_mut().try_for_each(|ask| disclose(party, ask))?;
                tile.step = Step(tile.step.0 + 1);
                for (i, seat) in self.terms.parties.iter().enumerate().filter(|(i, _)| *i != self.me) {
                    let body = wire::frame(&asks, self.me, i);
                    if !body.is_empty() {
                        party.post(*seat, tile.step, body)?;
                    }
                }
                tile.asks = asks;
            }
        }
        Ok(())
    }

    /// Awaits the round that a tile asked and takes it a round further. Whether the tile is done.
    async fn turn(&self, party: &mut Party, tile: &mut Tile<M::Value>) -> Result<bool, Abort> {
        if tile.done.is_some() {
            return Ok(true);
        }
        let me = self.me;
        let due = |i: usize| tile.asks.iter().map(|a| a.flow.bytes(i, me)).sum::<u64>();
        let senders: Vec<usize> = Group::first(self.terms.parties.len()).iter().filter(|i| due(*i) > 0).collect();
        let seats: Vec<Seat> = senders.iter().filter_map(|i| self.terms.parties.get(*i).copied()).collect();
        let cap = senders.iter().map(|i| due(*i)).max().unwrap_or(0) as usize;
        let until = self.terms.until(party);
        let gathered = party.gather(&seats, tile.step, cap, until).await?;
        let messages = self.terms.all(party, tile.step, gathered)?;
        let mut answers = wire::begin(&tile.asks, me);
        for (i, seat) in senders.iter().zip(&seats) {
            let body = messages.get(seat).map(Vec::as_slice).unwrap_or_default();
            if !wire::absorb(&tile.asks, &mut answers, *i, me, body) {
                return Err(Blame::seat(*seat, Offence::Malformed).at(tile.step));
            }
        }
        wire::finish(&tile.asks, &mut answers);
        tile.asks.clear();
        tile.lane.answer(answers);
        self.advance(party, tile)?;
        Ok(tile.done.is_some())
    }

    /// Hands out what a tile opened to this party; gives its values.
    fn deliver(&mut self, tile: Tile<M::Value>) -> Result<Values<M::Value>, Abort> {
        let (first_row, _) = self.terms.plan.tile_rows(tile.number);
        let Some((values, opened)) = tile.done else { return Err(internal("a tile that is not done")) };
        for Opened { output, summands, mut words } in opened {
            if summands {
                self.sink.summands(output, first_row, words)?;
            } else {
                self.sink.take(output, first_row, core::mem::take(&mut words))?;
            }
        }
        Ok(values)
    }
}

/// Rows of an input of this party, within its declared range.
pub(crate) fn read(
    source: &mut impl Source,
    index: u32,
    bits: bool,
    first: u64,
    count: usize,
    fx: crate::Fx,
) -> Result<Words, Abort> {
    let words = if bits { crate::value::bit_words(count) } else { count };
    let mut out = Words::new(vec![0; words]);
    source.fill(index, first, &mut out)?;
    if bits {
        crate::value::trim(count, &mut out);
    } else if let Some(at) = out.iter().position(|w| (*w as i64).unsigned_abs() >> (fx.b - 1) != 0) {
        let what = format!("input {index}, element {at} from row {first}: outside its declared range");
        return Err(Abort::Local(Fault::new(Code::RefusedOverflow, what)));
    }
    Ok(out)
}

/// The one place where a share is let out as itself: under a disclosure, counted by the party.
pub(crate) fn disclose(party: &mut Party, ask: &mut Ask) -> Result<(), Abort> {
    if let Some((disclosure, cells)) = &ask.grant {
        let words = core::mem::take(&mut ask.words);
        ask.words = party.reveal(disclosure, *cells, Concealed::new(words))?;
    }
    Ok(())
}

impl Lane {
    /// Opens a released share to its receivers: this party's summand leaves only if the job lists the
    /// disclosure, and the receivers get the sum modulo 2^bits. One round, the bits of a number to each
    /// receiver.
    pub async fn reveal(
        &self,
        to: Group,
        bits: u8,
        cells: u64,
        released: Released,
        disclosure: tacit_protocol::Disclosure,
    ) -> crate::Public {
        let [sum] = self.round([self.give(to, bits, released, (disclosure, cells))]).await;
        sum
    }
}

/// A value that the tile computed once is kept for the others.
pub(crate) type Kept = Option<Arc<Value>>;
