//! What a tile computes: its stages in order, the operations of a stage side by side.

use std::sync::Arc;

use tacit_protocol::Abort;
use tacit_types::{Code, Fault};

use crate::deal::dims;
use crate::ops::mul::local_product;
use crate::ops::{self, Conjunct, Dims, Sides};
use crate::pack::low_mask;
use crate::plan::{Kind, Op, Plan};
use crate::prep::{Place, Stock, ZeroKeys};
use crate::run::Kept;
use crate::value::{BitShare, Masked, Owned, Share, Words, bit_words, trim};
use crate::wire::{Lane, Task, together};

/// What a node gives.
pub(crate) enum Value {
    Owned(Owned),
    Num(Share),
    Bits(BitShare),
    Masked(Masked),
    Opened(Option<Opened>),
}

/// Rows that were opened to this party, or its own summands of rows.
pub(crate) struct Opened {
    pub output: u32,
    pub summands: bool,
    pub words: Words,
}

/// Values by node.
pub(crate) struct Values<V = Value>(Vec<Option<Arc<V>>>);

impl<V> Default for Values<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Everything that a tile needs.
pub(crate) struct Job {
    pub plan: Arc<Plan>,
    pub tile: u32,
    pub lane: Lane,
    pub once: Arc<Values>,
    pub zeroes: Arc<ZeroKeys>,
    pub inputs: Vec<(u32, Words)>,
    pub stocks: Vec<(u32, Stock)>,
}

fn internal(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::JobInternal, what))
}

/// Runs a tile to its end.
pub(crate) async fn tile(job: Job) -> Result<(Values, Vec<Opened>), Abort> {
    let Job { plan, tile, lane, once, zeroes, mut inputs, mut stocks } = job;
    let mut values = Values::sized(plan.nodes.len());
    let (_, rows) = plan.tile_rows(tile);
    let mut opened = Vec::new();
    for stage in plan.stages(tile) {
        for id in &stage.local {
            let at = At { plan: &plan, id: *id, rows, lane: &lane };
            let own = inputs.iter().position(|(i, _)| i == id).map(|i| inputs.swap_remove(i).1);
            match local(&at, own, |x| values.get(&once, x), &mut stocks)? {
                Value::Opened(rows) => opened.extend(rows),
                value => values.set(*id, Arc::new(value)),
            }
        }
        let mut tasks: Vec<Task<'static, Result<Value, Abort>>> = Vec::new();
        for id in &stage.joint {
            let from: Vec<Kept> = plan.node(*id).inputs().iter().map(|i| values.get(&once, *i)).collect();
            let (plan, lane, id, zeroes) = (plan.clone(), lane.clone(), *id, zeroes.clone());
            let stock = take(&mut stocks, id)?;
            tasks.push(Box::pin(async move {
                let at = At { plan: &plan, id, rows, lane: &lane };
                joint(&at, from, stock, &zeroes, tile).await
            }));
        }
        for (id, value) in stage.joint.iter().zip(together(tasks).await) {
            match value? {
                Value::Opened(rows) => opened.extend(rows),
                value => values.set(*id, Arc::new(value)),
            }
        }
    }
    if tile > 0 {
        values.0.clear();
    }
    Ok((values, opened))
}

fn take(stocks: &mut Vec<(u32, Stock)>, id: u32) -> Result<Stock, Abort> {
    let at = stocks.iter().position(|(i, _)| *i == id).ok_or_else(|| internal("material was taken before"))?;
    Ok(stocks.swap_remove(at).1)
}

impl<V> Values<V> {
    /// Room for the values of so many nodes.
    pub fn sized(nodes: usize) -> Self {
        Self((0..nodes).map(|_| None).collect())
    }

    /// A value of this tile, or of what was done once.
    pub fn get(&self, once: &Self, id: u32) -> Option<Arc<V>> {
        let here = |v: &Self| v.0.get(id as usize).and_then(Clone::clone);
        here(self).or_else(|| here(once))
    }

    pub fn set(&mut self, id: u32, value: Arc<V>) {
        if let Some(place) = self.0.get_mut(id as usize) {
            *place = Some(value);
        }
    }
}

/// Where an operation stands.
struct At<'a> {
    plan: &'a Plan,
    id: u32,
    rows: usize,
    lane: &'a Lane,
}

impl At<'_> {
    fn count(&self) -> usize {
        self.plan.node(self.id).count(self.rows)
    }
}

fn num(value: &Kept) -> Result<&Share, Abort> {
    match value.as_deref() {
        Some(Value::Num(x)) => Ok(x),
        _ => Err(internal("numbers were wanted")),
    }
}

fn bits(value: &Kept) -> Result<&BitShare, Abort> {
    match value.as_deref() {
        Some(Value::Bits(x)) => Ok(x),
        _ => Err(internal("bits were wanted")),
    }
}

fn owned(value: &Kept) -> Result<&Owned, Abort> {
    match value.as_deref() {
        Some(Value::Owned(x)) => Ok(x),
        _ => Err(internal("known values were wanted")),
    }
}

fn masked(value: &Kept) -> Result<&Masked, Abort> {
    match value.as_deref() {
        Some(Value::Masked(x)) => Ok(x),
        _ => Err(internal("a masked operand was wanted")),
    }
}

/// Repeats words to a length: one for all, or one for each column.
fn repeated(words: &[u64]) -> impl Iterator<Item = &u64> {
    words.iter().cycle()
}

/// Operations without messages.
fn local(
    at: &At<'_>,
    own: Option<Words>,
    get: impl Fn(u32) -> Kept,
    stocks: &mut Vec<(u32, Stock)>,
) -> Result<Value, Abort> {
    let node = at.plan.node(at.id);
    let (n, lead) = (at.count(), u64::from(at.lane.leads()));
    Ok(match &node.op {
        Op::Input { owner, .. } => Value::Owned(Owned { owner: usize::from(*owner), words: own }),
        Op::Share { x } if node.kind == Kind::Bits => Value::Bits(owned(&get(*x))?.share_bits(n)),
        Op::Share { x } => Value::Num(owned(&get(*x))?.share(n)),
        Op::Add { x, y, minus } => {
            let (x, y) = (get(*x), get(*y));
            let (x, y) = (num(&x)?, num(&y)?);
            let join = |(x, y): (&u64, &u64)| if *minus { x.wrapping_sub(*y) } else { x.wrapping_add(*y) };
            Value::Num(Share::new(x.0.iter().zip(repeated(&y.0)).map(join).collect()))
        }
        Op::AddPublic { x, words } => {
            let join = |(x, y): (&u64, &u64)| x.wrapping_add(y.wrapping_mul(lead));
            Value::Num(Share::new(num(&get(*x))?.0.iter().zip(repeated(words)).map(join).collect()))
        }
        Op::Scale { x, by } => Value::Num(num(&get(*x))?.map(|x| x.wrapping_mul(*by))),
        Op::TimesPublic { x, matrix } => {
            let k = at.plan.node(*x).cols as usize;
            let dims = Dims { m: node.rows_in(at.rows), k, n: node.cols as usize };
            Value::Num(Share(local_product(dims, &num(&get(*x))?.0, matrix)))
        }
        Op::Not { x } => {
            let x = get(*x);
            let x = bits(&x)?;
            let mask = lead.wrapping_neg();
            Value::Bits(BitShare::new(n, x.words.iter().map(|w| w ^ mask).collect::<Vec<u64>>().into()))
        }
        Op::MatMul { x, w } => {
            let sides = match (at.plan.node(*x).kind, at.plan.node(*w).kind) {
                (Kind::Masked(Some(_)), Kind::Masked(Some(_))) => Sides::BothOwned,
                (Kind::Masked(Some(_)), _) => Sides::LeftOwned,
                (_, Kind::Masked(Some(_))) => Sides::RightOwned,
                _ => Sides::Shared,
            };
            let pads = Share(take(stocks, at.id)?.fixed_packed(n, node.low));
            let dims = dims(at.plan, *x, *w, at.rows);
            Value::Num(ops::matmul(at.lane, masked(&get(*x))?, masked(&get(*w))?, sides, dims, pads))
        }
        Op::Hand { x, index } => {
            let words = handed(&num(&get(*x))?.0, node.fx.b);
            Value::Opened(Some(Opened { output: *index, summands: true, words }))
        }
        _ => return Err(internal("an operation that needs messages")),
    })
}

/// This party's summands of numbers of so many bits, at the top of their words: their sum has no bit but those of the sum
/// of the numbers, whatever the shares have above.
fn handed(x: &[u64], bits: u8) -> Words {
    Words::new(x.iter().map(|w| w << (64 - bits)).collect())
}

/// Operations with messages.
async fn joint(at: &At<'_>, from: Vec<Kept>, mut stock: Stock, zeroes: &ZeroKeys, tile: u32) -> Result<Value, Abort> {
    let (node, n, lane) = (at.plan.node(at.id), at.count(), at.lane);
    let (none, me, low, domain) = (None, lane.me(), node.low, at.plan.domain(at.id));
    let input = |i: usize| from.get(i).unwrap_or(&none);
    let stock = &mut stock;
    Ok(match &node.op {
        Op::Mask { to, .. } => Value::Masked(match node.kind {
            Kind::Masked(Some(owner)) => {
                let pad = (usize::from(owner) == me).then(|| stock.pad(n));
                ops::mask_owned(lane, owned(input(0))?, n, low, pad, *to).await
            }
            _ => ops::mask_share(lane, num(input(0))?, low, stock.pad(n)).await,
        }),
        Op::Multiply { .. } => {
            Value::Num(ops::multiply(lane, num(input(0))?, num(input(1))?, ops::Triple::draw(stock, n, low)).await)
        }
        Op::Truncate { by, .. } => {
            Value::Num(ops::truncate(lane, num(input(0))?, *by, ops::Truncation::draw(stock, n, domain, low)).await)
        }
        Op::Rectify { by, .. } => {
            Value::Num(ops::rectify(lane, num(input(0))?, *by, ops::Rectifier::draw(stock, n, domain, low)).await)
        }
        Op::LessThan { edge, .. } => {
            let less = ops::less_than(lane, num(input(0))?, &[*edge], ops::Comparison::draw(stock, n, domain, 1)).await;
            Value::Bits(less.into_iter().next().ok_or_else(|| internal("a comparison without an edge"))?)
        }
        Op::Band { edges, .. } => {
            let material = ops::BandMaterial::draw(stock, n, (domain, low), edges.len());
            Value::Num(ops::band(lane, num(input(0))?, edges, material).await)
        }
        Op::ToRing { .. } => {
            Value::Num(ops::to_ring(lane, bits(input(0))?, ops::DoubleBits::draw(stock, n, low)).await)
        }
        Op::Select { .. } => {
            Value::Num(ops::select(lane, bits(input(0))?, num(input(1))?, ops::Selection::draw(stock, n, low)).await)
        }
        Op::And { inputs } => {
            let owners: Vec<Option<usize>> = inputs.iter().map(|i| at.plan.bit_owner(*i)).collect();
            let mut conjuncts = Vec::with_capacity(from.len());
            for (value, owner) in from.iter().zip(&owners) {
                conjuncts.push(if owner.is_some() {
                    Conjunct::Owned(owned(value)?)
                } else {
                    Conjunct::Shared(bits(value)?)
                });
            }
            Value::Bits(ops::and(lane, n, &conjuncts, ops::Conjunction::draw(stock, n, &owners, me)).await)
        }
        Op::Leaves { bits, numbers } => {
            let shape = at.plan.leaves(at.id, at.rows);
            let pads = ops::LeafPads::draw(stock, (shape, low), at.plan.owner(*bits), at.plan.owner(*numbers), me);
            Value::Num(ops::select_leaves(lane, shape, owned(input(0))?, owned(input(1))?, pads).await)
        }
        Op::Weights { .. } => {
            let shape = at.plan.leaves(at.id, at.rows);
            let pads = ops::SharedLeafPads::draw(stock, shape, low);
            Value::Num(ops::select_weights(lane, shape, bits(input(0))?, masked(input(1))?, pads).await)
        }
        Op::ArgMax { x } => {
            let columns = at.plan.node(*x).cols as usize;
            let material = ops::ArgMaxMaterial::draw(stock, node.rows_in(at.rows), columns);
            Value::Num(ops::argmax(lane, num(input(0))?, columns, material).await)
        }
        Op::Sigmoid { x } => {
            let material = ops::Sines::draw(stock, n);
            Value::Num(ops::sigmoid(lane, num(input(0))?, at.plan.node(*x).fx, material).await)
        }
        Op::Inverse { .. } => {
            let what = at.plan.inverse(at.id);
            Value::Num(ops::inverse(lane, num(input(0))?, what, ops::InverseMaterial::draw(stock, n, what)).await)
        }
        Op::Reveal { .. } => Value::Opened(reveal(at, input(0), zeroes, tile).await?),
        _ => return Err(internal("an operation without messages")),
    })
}

/// Opens a share to its receivers, under fresh summands of zero.
async fn reveal(at: &At<'_>, value: &Kept, zeroes: &ZeroKeys, tile: u32) -> Result<Option<Opened>, Abort> {
    let (node, n, lane) = (at.plan.node(at.id), at.count(), at.lane);
    let Op::Reveal { to, disclosure, index, .. } = &node.op else { return Err(internal("not an opening")) };
    let place = Place { op: at.id, tile };
    let receives = to.has(lane.me());
    let words = match value.as_deref() {
        Some(Value::Bits(x)) => {
            let copy = BitShare::new(n, x.words.clone());
            let released = copy.release(zeroes.zero(place, bit_words(n), true));
            let mut words = lane.reveal(*to, 64, n as u64, released, disclosure.clone()).await.0;
            trim(n, &mut words);
            words
        }
        value => {
            let Some(Value::Num(x)) = value else { return Err(internal("an opening of what is not shared")) };
            let released = x.map(|w| w).release(zeroes.zero(place, n, false));
            let mut words = lane.reveal(*to, node.fx.b, n as u64, released, disclosure.clone()).await.0;
            let sign = 1u64 << (node.fx.b - 1);
            words.iter_mut().for_each(|w| *w = ((*w & low_mask(node.fx.b)) ^ sign).wrapping_sub(sign));
            words
        }
    };
    Ok(receives.then_some(Opened { output: *index, summands: false, words: words.into() }))
}
