//! A tile in verified mode: its stages, then a check of all that was opened, then the outputs, then a check of those.

use std::sync::Arc;

use tacit_protocol::Abort;
use tacit_types::{Code, Fault};
use zeroize::Zeroizing;

use super::auth::{Auth, AuthBits, Keys};
use super::compare::{self, band, compare, rectify};
use super::desk::{CHECKS, Checked, Coins, Desk, Item};
use super::maker::{Draw, Maker};
use super::material::{Material, make};
use super::ops::{self, Conjunct, Veil, VeilBits};
use crate::deal::dims;
use crate::eval::{Opened, Values};
use crate::plan::{Kind, Op, Plan};
use crate::prep::{Place, Stock, ZeroKeys};
use crate::value::{Words, bit_words, trim};
use crate::wire::{Lane, Task, together};

/// What a node gives.
pub(crate) enum Value {
    Num(Auth),
    Bits(AuthBits),
    /// What was told or opened under a pad, for any number of uses.
    Veil(Arc<Veil>),
    VeilBits(VeilBits),
}

type Kept = Option<Arc<Value>>;

/// Everything that a tile needs.
pub(crate) struct Job {
    pub plan: Arc<Plan>,
    pub tile: u32,
    pub lane: Lane,
    pub keys: Arc<Keys>,
    pub agreed: tacit_types::Hash,
    pub once: Arc<Values<Value>>,
    pub zeroes: Arc<ZeroKeys>,
    pub inputs: Vec<(u32, Words)>,
    pub stocks: Vec<(u32, Stock)>,
    pub coins: Vec<Coins>,
}

fn internal(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::JobInternal, what))
}

/// Where an operation stands.
struct At {
    plan: Arc<Plan>,
    id: u32,
    rows: usize,
    tile: u32,
    desk: Desk,
    zeroes: Arc<ZeroKeys>,
}

/// Runs a tile to its end.
pub(crate) async fn tile(job: Job) -> Result<(Values<Value>, Vec<Opened>), Abort> {
    let Job { plan, tile, lane, keys, agreed, once, zeroes, mut inputs, mut stocks, coins } = job;
    let mut values = Values::sized(plan.nodes.len());
    if !super::active(&plan, tile) {
        return Ok((values, Vec::new()));
    }
    let desk = Desk::new(lane, keys, agreed, tile);
    let (_, rows) = plan.tile_rows(tile);
    let at = |id: u32| At { plan: plan.clone(), id, rows, tile, desk: desk.clone(), zeroes: zeroes.clone() };
    let commits = desk.commit(&coins).await;
    for stage in plan.stages(tile) {
        for id in stage.local.iter().filter(|id| !is_output(&plan, **id)) {
            let stock = stocks.iter().position(|(i, _)| i == id).map(|i| stocks.swap_remove(i).1);
            let from = inputs_of(&plan, *id, &values, &once);
            values.set(*id, Arc::new(local(&at(*id), &from, stock)?));
        }
        let mut tasks: Vec<Task<'static, Result<Value, Abort>>> = Vec::new();
        let joint: Vec<u32> = stage.joint.iter().copied().filter(|id| !is_output(&plan, *id)).collect();
        for id in &joint {
            let from = inputs_of(&plan, *id, &values, &once);
            let own = inputs.iter().position(|(i, _)| i == id).map(|i| inputs.swap_remove(i).1);
            let (at, stock) = (at(*id), take(&mut stocks, *id)?);
            tasks.push(Box::pin(async move { step(&at, own, &from, stock).await }));
        }
        for (id, value) in joint.iter().zip(together(tasks).await) {
            values.set(*id, Arc::new(value?));
        }
    }
    let mut coins = coins.into_iter();
    let places = super::check_places(&plan, tile);
    let mut masks = Vec::new();
    for place in &places {
        let mut stock = take(&mut stocks, *place)?;
        masks.push(Draw { stock: &mut stock, me: desk.lane.me() }.free(1));
    }
    let mut masks = masks.into_iter();
    let mut next = || coins.next().zip(masks.next()).ok_or_else(|| internal("a check without coins"));
    let (seed, mask) = next()?;
    let checked = desk.check(0, seed, &commits, mask).await?;
    // From here on every value is what the plan says it is, or this seat has stopped.
    let outputs: Vec<u32> = super::outputs(&plan, tile).collect();
    let mut opened = Vec::new();
    let mut tasks: Vec<Task<'static, Result<Option<Opened>, Abort>>> = Vec::new();
    for id in outputs {
        let from = inputs_of(&plan, id, &values, &once);
        let (at, stock) = (at(id), take(&mut stocks, id)?);
        tasks.push(Box::pin(async move { output(&at, &from, stock, checked).await }));
    }
    for one in together(tasks).await {
        opened.extend(one?);
    }
    if places.len() == CHECKS {
        let (seed, mask) = next()?;
        desk.check(1, seed, &commits, mask).await?;
    }
    if tile > 0 {
        values = Values::default();
    }
    Ok((values, opened))
}

fn is_output(plan: &Plan, id: u32) -> bool {
    matches!(plan.node(id).op, Op::Reveal { .. } | Op::Hand { .. })
}

fn take(stocks: &mut Vec<(u32, Stock)>, id: u32) -> Result<Stock, Abort> {
    let at = stocks.iter().position(|(i, _)| *i == id).ok_or_else(|| internal("material was taken before"))?;
    Ok(stocks.swap_remove(at).1)
}

fn inputs_of(plan: &Plan, id: u32, values: &Values<Value>, once: &Values<Value>) -> Vec<Kept> {
    plan.node(id).inputs().iter().map(|i| values.get(once, *i)).collect()
}

fn num(from: &[Kept], i: usize) -> Result<&Auth, Abort> {
    match from.get(i).and_then(Option::as_deref) {
        Some(Value::Num(x)) => Ok(x),
        _ => Err(internal("numbers were wanted")),
    }
}

fn bits(from: &[Kept], i: usize) -> Result<&AuthBits, Abort> {
    match from.get(i).and_then(Option::as_deref) {
        Some(Value::Bits(x)) => Ok(x),
        _ => Err(internal("bits were wanted")),
    }
}

fn told_bits(from: &[Kept], i: usize) -> Result<&VeilBits, Abort> {
    match from.get(i).and_then(Option::as_deref) {
        Some(Value::VeilBits(x)) => Ok(x),
        _ => Err(internal("known bits were wanted")),
    }
}

fn veil(from: &[Kept], i: usize) -> Result<&Arc<Veil>, Abort> {
    match from.get(i).and_then(Option::as_deref) {
        Some(Value::Veil(x)) => Ok(x),
        _ => Err(internal("a masked operand was wanted")),
    }
}

/// Operations without messages.
fn local(at: &At, from: &[Kept], stock: Option<Stock>) -> Result<Value, Abort> {
    let (node, keys) = (at.plan.node(at.id), &at.desk.keys);
    Ok(match &node.op {
        Op::Share { .. } if node.kind == Kind::Bits => Value::Bits(ops::unveiled_bits(&at.desk, told_bits(from, 0)?)),
        Op::Share { .. } => Value::Num(ops::unveiled(&at.desk, veil(from, 0)?)),
        Op::Mask { .. } => Value::Veil(veil(from, 0)?.clone()),
        Op::And { .. } | Op::Leaves { .. } => {
            let mut stock = stock.ok_or_else(|| internal("an operation without material"))?;
            match draw(at, &mut stock) {
                Material::Conjunction(c) => {
                    let inputs = conjuncts(at, from)?;
                    Value::Bits(ops::conjunction(&at.desk, node.count(at.rows), &inputs, &c, Vec::new()))
                }
                Material::LeafPads(pads) => {
                    let shape = at.plan.leaves(at.id, at.rows);
                    Value::Num(ops::select_leaves(&at.desk, shape, told_bits(from, 0)?, veil(from, 1)?, pads))
                }
                _ => return Err(internal("other material")),
            }
        }
        Op::Add { minus, .. } => {
            let mut out = num(from, 0)?.copy();
            if *minus {
                out.subtract(num(from, 1)?)
            } else {
                out.add(num(from, 1)?)
            }
            Value::Num(out)
        }
        Op::AddPublic { words, .. } => {
            let mut out = num(from, 0)?.copy();
            out.add_public(keys, words.iter().copied().cycle());
            Value::Num(out)
        }
        Op::Scale { by, .. } => Value::Num(num(from, 0)?.times(core::iter::repeat(*by))),
        Op::TimesPublic { x, matrix } => {
            let k = at.plan.node(*x).cols as usize;
            let shape = ops_dims(node.rows_in(at.rows), k, node.cols as usize);
            let (x, mut out) = (num(from, 0)?, Auth::zero(node.count(at.rows)));
            super::auth::add_product_left(shape, &x.value, matrix, &mut out.value);
            super::auth::add_product_left(shape, &x.mac, matrix, &mut out.mac);
            Value::Num(out)
        }
        Op::Not { .. } => Value::Bits(bits(from, 0)?.not(keys)),
        Op::MatMul { x, w } => {
            let mut stock = stock.ok_or_else(|| internal("a product without material"))?;
            match draw(at, &mut stock) {
                Material::Number(pads) => Value::Num(ops::matmul(
                    &at.desk,
                    veil(from, 0)?,
                    veil(from, 1)?,
                    dims(&at.plan, *x, *w, at.rows),
                    pads,
                )),
                _ => return Err(internal("other material")),
            }
        }
        _ => return Err(internal("an operation that needs messages")),
    })
}

fn ops_dims(m: usize, k: usize, n: usize) -> crate::ops::Dims {
    crate::ops::Dims { m, k, n }
}

fn draw<'a>(at: &At, stock: &'a mut Stock) -> Material<Draw<'a>> {
    let mut draw = Draw { stock, me: at.desk.lane.me() };
    make(&at.plan, at.id, at.rows, &mut draw, &|_| Zeroizing::new(Vec::new()))
}

/// The inputs of a conjunction.
fn conjuncts<'a>(at: &At, from: &'a [Kept]) -> Result<Vec<Conjunct<'a>>, Abort> {
    let ids = at.plan.node(at.id).inputs();
    let one = |(i, id): (usize, &u32)| match at.plan.bit_owner(*id) {
        Some(_) => told_bits(from, i).map(Conjunct::Told),
        None => bits(from, i).map(Conjunct::Shared),
    };
    ids.iter().enumerate().map(one).collect()
}

/// Operations with messages; `own` is what this party brings.
async fn step(at: &At, own: Option<Words>, from: &[Kept], mut stock: Stock) -> Result<Value, Abort> {
    let (node, desk) = (at.plan.node(at.id), &at.desk);
    let n = node.count(at.rows);
    Ok(match (&node.op, draw(at, &mut stock)) {
        (Op::Input { owner, .. }, Material::Number(pad)) => {
            let words = own.as_ref().map(|w| &w[..]);
            Value::Veil(Arc::new(ops::tell(desk, (*owner).into(), words, pad).await))
        }
        (Op::Input { owner, .. }, Material::Bits(pad)) => {
            let words = own.as_ref().map(|w| &w[..]);
            Value::VeilBits(ops::tell_bits(desk, (*owner).into(), words, pad).await)
        }
        (Op::Mask { .. }, Material::Number(pad)) => Value::Veil(Arc::new(ops::veil(desk, num(from, 0)?, pad).await)),
        (Op::Multiply { .. }, Material::Triple(t)) => {
            Value::Num(ops::multiply(desk, num(from, 0)?, num(from, 1)?, t).await)
        }
        (Op::Truncate { by, .. }, Material::Truncation(t)) => {
            Value::Num(ops::truncate(desk, num(from, 0)?, *by, t).await)
        }
        (Op::Rectify { by, .. }, Material::Rectifier(r)) => Value::Num(rectify(desk, num(from, 0)?, *by, r).await),
        (Op::LessThan { edge, .. }, Material::Comparison(c)) => {
            let (less, _) = compare(desk, num(from, 0)?, &[*edge], c).await;
            Value::Bits(less.into_iter().next().ok_or_else(|| internal("a comparison without an edge"))?)
        }
        (Op::Band { edges, .. }, Material::Bands(b)) => Value::Num(band(desk, num(from, 0)?, edges, b).await),
        (Op::ToRing { .. }, Material::DoubleBits(d)) => Value::Num(ops::to_ring(desk, bits(from, 0)?, d).await),
        (Op::Select { .. }, Material::Selection(s)) => {
            Value::Num(ops::select(desk, bits(from, 0)?, num(from, 1)?, s).await)
        }
        (Op::And { .. }, Material::Conjunction(c)) => Value::Bits(ops::and(desk, n, &conjuncts(at, from)?, c).await),
        (Op::Weights { .. }, Material::WeightPads(pads)) => {
            let shape = at.plan.leaves(at.id, at.rows);
            Value::Num(ops::select_weights(desk, shape, bits(from, 0)?, veil(from, 1)?, pads).await)
        }
        _ => return Err(internal("an operation without messages, or with other material")),
    })
}

/// An output, once everything that it depends on is checked. Opened numbers and bits go under a pad that their receiver
/// alone knows, and with fresh summands of zero; what is handed out keeps its codes.
async fn output(at: &At, from: &[Kept], mut stock: Stock, checked: Checked) -> Result<Option<Opened>, Abort> {
    let (node, desk) = (at.plan.node(at.id), &at.desk);
    let (n, me) = (node.count(at.rows), desk.lane.me());
    let place = Place { op: at.id, tile: at.tile };
    match (&node.op, draw(at, &mut stock)) {
        (Op::Hand { index, .. }, Material::Number(upper)) => {
            let words = super::handed::summands(num(from, 0)?, &upper, &at.zeroes, place, checked);
            Ok(Some(Opened { output: *index, summands: true, words }))
        }
        (Op::Reveal { to, disclosure, index, .. }, Material::Outputs(pads)) => {
            let (mut items, mut own) = (Vec::new(), None);
            let mut zeroes = at.zeroes.wide(place, n * pads.len());
            for (i, (receiver, pad)) in to.iter().zip(pads).enumerate() {
                let mut hidden = num(from, 0)?.minus(&pad);
                let zero = zeroes.split_off(zeroes.len() - n);
                hidden.value.iter_mut().zip(&zero).for_each(|(v, z)| *v = v.wrapping_add(*z));
                // One disclosure lists the rows once, however many learn them.
                let cells = if i == 0 { n as u64 } else { 0 };
                items.push(Item::Output(Box::new(Item::Number(hidden)), (disclosure.clone(), cells), checked));
                if receiver == me {
                    own = Some((i, pad));
                }
            }
            let opened = desk.open_all(items).await;
            Ok(own.and_then(|(i, pad)| {
                let words =
                    opened.get(i)?.iter().zip(pad.value.iter()).map(|(o, p)| o.wrapping_add(*p as u64)).collect();
                Some(Opened { output: *index, summands: false, words: Zeroizing::new(words) })
            }))
        }
        (Op::Reveal { to, disclosure, index, .. }, Material::OutputBits(pads)) => {
            let (mut items, mut own) = (Vec::new(), None);
            let words = bit_words(n);
            let zeroes = at.zeroes.zero(place, words * pads.len(), true);
            for (i, ((receiver, pad), zero)) in to.iter().zip(pads).zip(zeroes.0.chunks_exact(words.max(1))).enumerate()
            {
                let mut hidden = bits(from, 0)?.under(&pad);
                hidden.words.iter_mut().zip(zero).for_each(|(v, z)| *v ^= z);
                trim(n, &mut hidden.words);
                let cells = if i == 0 { n as u64 } else { 0 };
                items.push(Item::Output(Box::new(Item::Bits(hidden)), (disclosure.clone(), cells), checked));
                if receiver == me {
                    own = Some((i, pad));
                }
            }
            let opened = desk.open_all(items).await;
            Ok(own.and_then(|(i, pad)| {
                let mut words: Vec<u64> = opened.get(i)?.iter().zip(pad.words.iter()).map(|(o, p)| o ^ p).collect();
                trim(n, &mut words);
                Some(Opened { output: *index, summands: false, words: Zeroizing::new(words) })
            }))
        }
        _ => Err(internal("not an output")),
    }
}

/// Bits that a comparison of a node's input looks at.
pub(crate) fn compared_bits(plan: &Plan, x: u32) -> usize {
    plan.node(x).fx.b.into()
}

pub(crate) use compare::opened_planes;
