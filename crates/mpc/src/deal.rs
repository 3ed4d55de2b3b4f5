//! The dealer's seat: seeds for everyone, corrections for one, tile by tile. It is told nothing but the
//! terms, and gets no share and no opened value.

use tacit_crypto::Secret;
use tacit_protocol::{Abort, Blame, Gathered, Offence, Party};
use tacit_types::{Hash, Seat, Step};
use zeroize::Zeroizing;

use crate::kernel::ErasedBytes;
use crate::ops::{ArgMaxMaterial, BandMaterial, Comparison, Conjunction, Dims, DoubleBits, InverseMaterial, LeafPads};
use crate::ops::{Rectifier, Selection, SharedLeafPads, Sines, Triple, Truncation, deal_matmul};
use crate::plan::{Kind, Op, Plan};
use crate::prep::{Dealing, Place, StreamKey};
use crate::terms::Terms;
use crate::value::Words;
use crate::verified;
use crate::verified::audit::{self, Whole};

/// The label of streams that the dealer knows.
pub(crate) const DEALT: &str = "tacit-mpc/1/dealt";

/// Deals for a run. The corrected party's window is the back-pressure: at most one tile is in memory.
///
/// # Errors
/// [`Abort::Disagreement`] when a seat holds other terms; [`Abort::Missing`] when a seat was lost or does
/// not take what it is dealt.
pub async fn deal(party: &mut Party, terms: &Terms) -> Result<(), Abort> {
    terms.agree(party).await?;
    if terms.plan.audits() > 0 {
        return deal_audited(party, terms, &|keys, tile| tile_corrections(&terms.plan, keys, tile)).await;
    }
    let keys = hand_seeds(party, terms)?;
    let Some(corrected) = terms.parties.get(terms.plan.corrected()).copied() else { return terms.check(party) };
    for tile in 0..=terms.plan.tiles() {
        let corrections = tile_corrections(&terms.plan, &keys, tile);
        if !corrections.is_empty() {
            send(party, terms, corrected, tile, &corrections).await?;
        }
    }
    let until = terms.until(party);
    party.flush(until).await
}

/// Posts each party its seed.
pub(crate) fn hand_seeds(party: &mut Party, terms: &Terms) -> Result<Vec<StreamKey>, Abort> {
    let agreed = terms.hash();
    let mut keys = Vec::with_capacity(terms.parties.len());
    for (i, seat) in terms.parties.iter().enumerate() {
        let seed = party.rng().seed();
        keys.push(StreamKey::derive(&seed, &agreed, DEALT, i as u64));
        party.post(*seat, Step(terms.first_step().0 + 1), seed.expose_secret().to_vec())?;
    }
    Ok(keys)
}

/// As [`deal`] for a plan with audits or without, by corrections that the test makes.
#[cfg(test)]
pub(crate) async fn deal_by(
    party: &mut Party,
    terms: &Terms,
    make: &impl Fn(&[StreamKey], u32) -> ErasedBytes,
) -> Result<(), Abort> {
    terms.agree(party).await?;
    deal_audited(party, terms, make).await
}

/// Deals as many times as the plan's audits want and once more, opens all but the one that the parties toss for, and
/// sends that one's corrections, which it has committed to.
async fn deal_audited(
    party: &mut Party,
    terms: &Terms,
    make: &impl Fn(&[StreamKey], u32) -> ErasedBytes,
) -> Result<(), Abort> {
    let parties = terms.parties.len();
    let mut deals: Vec<Whole> = Vec::new();
    for _ in 0..=terms.plan.audits() {
        deals.push(Whole { seeds: (0..parties).map(|_| party.rng().seed()).collect() });
    }
    let chains: Vec<Vec<Hash>> = deals.iter().map(|d| d.chain(terms, make)).collect();
    for (i, seat) in terms.parties.iter().enumerate() {
        let mut body = Vec::new();
        deals.iter().filter_map(|d| d.seeds.get(i)).for_each(|s| body.extend_from_slice(s.expose_secret()));
        chains.iter().filter_map(|c| c.first()).for_each(|head| body.extend_from_slice(&head.0));
        party.post(*seat, Step(terms.first_step().0 + 1), body)?;
    }
    let used = audit::open(party, terms, &deals).await?;
    let Some(corrected) = terms.parties.get(terms.plan.corrected()).copied() else { return terms.check(party) };
    if let (Some(deal), Some(chain)) = (deals.get(used), chains.get(used)) {
        let keys = deal.keys(terms);
        for (tile, after) in (0..=terms.plan.tiles()).zip(chain.iter().skip(1)) {
            let mut body = make(&keys, tile);
            body.extend_from_slice(&after.0);
            send(party, terms, corrected, tile, &body).await?;
        }
    }
    let until = terms.until(party);
    party.flush(until).await
}

pub(crate) async fn send(party: &mut Party, terms: &Terms, to: Seat, tile: u32, body: &[u8]) -> Result<(), Abort> {
    let step = terms.plan.tile_step(terms.step_base, tile);
    let mut message = party.open(to, step, body.len() as u64);
    for piece in body.chunks(message.party().seating().chunk_bytes()) {
        // Each chunk has its own time: a tile waits until the parties come to it.
        let until = message.party().now().plus(terms.step_ms);
        message.write(piece, until).await?;
    }
    let until = message.party().now().plus(terms.step_ms);
    message.finish(until).await
}

/// The corrections of a tile: for each operation in order of the stages, its fixed words.
pub(crate) fn tile_corrections(plan: &Plan, keys: &[StreamKey], tile: u32) -> ErasedBytes {
    let mut out = ErasedBytes::from(Vec::with_capacity(plan.tile_fixed_bytes(tile)));
    let (_, rows) = plan.tile_rows(tile);
    for id in plan.dealt_ids(tile) {
        let place = Place { op: id, tile };
        if plan.fixed_bytes(id, rows) == 0 {
            continue;
        }
        let mut dealing = Dealing::new(keys, plan.corrected(), place, &mut out);
        if plan.is_verified() {
            verified::deal_op(plan, id, rows, &mut dealing, tile);
        } else {
            deal_op(plan, id, rows, &mut dealing, tile);
        }
    }
    out
}

/// Where a node's pad stands: with the tile, or with what is done once.
pub(crate) fn pad_place(plan: &Plan, id: u32, tile: u32) -> Place {
    Place { op: id, tile: if plan.node(id).rows.is_some() { 0 } else { tile } }
}

/// The pad of a masked operand, as its owner or all parties together drew it.
fn pad(plan: &Plan, dealing: &Dealing<'_>, id: u32, rows: usize, tile: u32) -> Words {
    let (node, place) = (plan.node(id), pad_place(plan, id, tile));
    let count = node.count(rows);
    if let Kind::Masked(Some(owner)) = node.kind {
        return dealing.pad_of(owner.into(), place, count);
    }
    let mut sum = Zeroizing::new(vec![0u64; count]);
    for party in 0..plan.parties() {
        let one = dealing.pad_of(party, place, count);
        sum.iter_mut().zip(one.iter()).for_each(|(s, w)| *s = s.wrapping_add(*w));
    }
    sum
}

fn deal_op(plan: &Plan, id: u32, rows: usize, dealing: &mut Dealing<'_>, tile: u32) {
    let node = plan.node(id);
    let (n, low, domain) = (node.count(rows), node.low, plan.domain(id));
    match &node.op {
        Op::MatMul { x, w } => {
            let (u, v) = (pad(plan, dealing, *x, rows, tile), pad(plan, dealing, *w, rows, tile));
            deal_matmul(dealing, &u, &v, dims(plan, *x, *w, rows), low);
        }
        Op::Multiply { .. } => Triple::deal(dealing, n, low),
        Op::Truncate { by, .. } => Truncation::deal(dealing, n, (domain, low), *by),
        Op::Rectify { by, .. } => Rectifier::deal(dealing, n, (domain, low), *by),
        Op::LessThan { .. } => {
            Comparison::deal(dealing, n, domain, 1);
        }
        Op::Band { edges, .. } => BandMaterial::deal(dealing, n, (domain, low), edges.len()),
        Op::ToRing { .. } => DoubleBits::deal(dealing, n, low),
        Op::Select { .. } => Selection::deal(dealing, n, low),
        Op::And { inputs } => {
            let owners: Vec<Option<usize>> = inputs.iter().map(|i| plan.bit_owner(*i)).collect();
            Conjunction::deal(dealing, n, &owners);
        }
        Op::Leaves { bits, numbers } => {
            LeafPads::deal(dealing, (plan.leaves(id, rows), low), plan.owner(*bits), plan.owner(*numbers));
        }
        Op::Weights { w, .. } => {
            let v = pad(plan, dealing, *w, rows, tile);
            SharedLeafPads::deal(dealing, plan.leaves(id, rows), low, &v);
        }
        Op::ArgMax { x } => ArgMaxMaterial::deal(dealing, node.rows_in(rows), plan.node(*x).cols as usize),
        Op::Sigmoid { x } => Sines::deal(dealing, n, plan.node(*x).fx),
        Op::Inverse { .. } => InverseMaterial::deal(dealing, n, plan.inverse(id)),
        _ => {}
    }
}

/// The shape of a product.
pub(crate) fn dims(plan: &Plan, x: u32, w: u32, rows: usize) -> Dims {
    let (x, w) = (plan.node(x), plan.node(w));
    Dims { m: x.rows_in(rows), k: x.cols as usize, n: w.cols as usize }
}

/// A dealt source of randomness: a seed, and for one party the dealer's corrections.
pub struct Dealt<'a> {
    terms: &'a Terms,
    me: usize,
    pub(crate) key: StreamKey,
    /// What the next tile's corrections are held to, where the dealer committed to them.
    link: Option<Hash>,
    /// Corrections of prepared tiles by place, not yet taken.
    stocks: std::collections::BTreeMap<Place, Option<ErasedBytes>>,
}

impl<'a> Dealt<'a> {
    pub(crate) fn new(terms: &'a Terms, me: usize, seed: &Secret<[u8; 32]>, link: Option<Hash>) -> Self {
        let key = StreamKey::derive(seed, &terms.hash(), DEALT, me as u64);
        Self { terms, me, key, link, stocks: std::collections::BTreeMap::new() }
    }

    async fn corrections(&mut self, party: &mut Party, tile: u32) -> Result<ErasedBytes, Abort> {
        let (plan, dealer) = (&self.terms.plan, self.terms.dealer);
        let (length, step) = (plan.tile_fixed_bytes(tile), plan.tile_step(self.terms.step_base, tile));
        if length == 0 {
            return Ok(ErasedBytes::default());
        }
        // Chunk by chunk: it may be longer than a message that is gathered, and each chunk has its own time.
        let mut body = ErasedBytes::from(Vec::with_capacity(length));
        let from = [dealer].into();
        loop {
            let until = self.terms.until(party);
            let Some(chunk) = party.chunk(&from, step, until).await? else {
                let missing = Gathered { messages: Default::default(), missing: vec![dealer] };
                return self.terms.all(party, step, missing).map(|_| ErasedBytes::default());
            };
            if chunk.total != length as u64 {
                let offence = if chunk.total > length as u64 { Offence::Flow } else { Offence::Malformed };
                return Err(Blame::seat(dealer, offence).at(step));
            }
            body.extend_from_slice(&chunk.bytes);
            if chunk.last {
                break;
            }
        }
        if let (Some(expected), Some(after)) = (self.link, body.last_chunk::<32>().map(|c| Hash(*c))) {
            body.truncate(length - 32);
            if audit::link(&body, &after) != expected {
                return Err(Blame::seat(dealer, Offence::BadOpening).at(step));
            }
            self.link = Some(after);
        }
        Ok(body)
    }
}

impl crate::prep::Preprocessing for Dealt<'_> {
    async fn prepare(&mut self, party: &mut Party, tile: u32) -> Result<(), Abort> {
        let plan = &self.terms.plan;
        let corrected = self.me == plan.corrected();
        let body = if corrected { self.corrections(party, tile).await? } else { ErasedBytes::default() };
        let (_, rows) = plan.tile_rows(tile);
        let mut rest = &body[..];
        for id in plan.dealt_ids(tile) {
            let (now, later) = rest.split_at(rest.len().min(plan.fixed_bytes(id, rows)));
            rest = later;
            self.stocks.insert(Place { op: id, tile }, corrected.then(|| now.to_vec().into()));
        }
        Ok(())
    }

    fn stock(&mut self, place: Place) -> Result<crate::Stock, Abort> {
        let Some(dealt) = self.stocks.remove(&place) else {
            let what = format!("material of {place:?} was taken before, or never prepared");
            return Err(Abort::Local(tacit_types::Fault::new(tacit_types::Code::JobInternal, what)));
        };
        Ok(crate::Stock::new(self.key.stream(place), dealt))
    }
}
