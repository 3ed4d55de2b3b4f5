//! What each operation of a plan draws.

use super::auth::Wide;
use super::compare::{Bands, Comparison, Rectifier};
use super::maker::Maker;
use super::ops::{Conjunction, DoubleBits, LeafPads, Selection, Triple, Truncation, WeightPads, pad_product};
use super::tile::compared_bits;
use crate::deal::dims;
use crate::plan::{Kind, Op, Plan};

/// The material of one operation.
pub(crate) enum Material<M: Maker> {
    Nothing,
    /// A pad, a product of pads, or what fills the upper half of a number that is handed out.
    Number(M::Num),
    /// A pad of bits.
    Bits(M::Bits),
    Triple(Triple<M>),
    Truncation(Truncation<M>),
    Comparison(Comparison<M>),
    Rectifier(Rectifier<M>),
    Bands(Bands<M>),
    DoubleBits(DoubleBits<M>),
    Selection(Selection<M>),
    Conjunction(Conjunction<M>),
    LeafPads(LeafPads<M>),
    WeightPads(WeightPads<M>),
    /// A pad for each receiver, which it knows.
    Outputs(Vec<M::Num>),
    OutputBits(Vec<M::Bits>),
}

/// Makes the material of an operation; `pad` gives the pad of a masked operand or of a party's
/// input in clear, at the dealer; bits as numbers 0 and 1.
pub(crate) fn make<M: Maker>(plan: &Plan, id: u32, rows: usize, m: &mut M, pad: &dyn Fn(u32) -> Wide) -> Material<M> {
    let node = plan.node(id);
    let n = node.count(rows);
    match &node.op {
        // What a party brings is told once, under one pad, for all its uses: it is held to one value.
        Op::Input { owner, bits: true, .. } => Material::Bits(m.own_bits((*owner).into(), n)),
        Op::Input { owner, .. } => Material::Number(m.own((*owner).into(), n)),
        Op::Mask { .. } if node.kind == Kind::Masked(None) => Material::Number(m.free(n)),
        Op::MatMul { x, w } => {
            Material::Number(m.fixed(n, || pad_product(dims(plan, *x, *w, rows), &pad(*x), &pad(*w))))
        }
        Op::Multiply { .. } => Material::Triple(Triple::make(m, n)),
        Op::Truncate { by, .. } => Material::Truncation(Truncation::make(m, n, *by)),
        Op::Rectify { x, by } => Material::Rectifier(Rectifier::make(m, n, compared_bits(plan, *x), *by)),
        Op::LessThan { x, .. } => Material::Comparison(Comparison::make(m, n, compared_bits(plan, *x), 1)),
        Op::Band { x, edges } => Material::Bands(Bands::make(m, n, compared_bits(plan, *x), edges.len())),
        Op::ToRing { .. } => Material::DoubleBits(DoubleBits::make(m, n)),
        Op::Select { .. } => Material::Selection(Selection::make(m, n)),
        Op::And { inputs } => {
            let owners: Vec<Option<usize>> = inputs.iter().map(|i| plan.bit_owner(*i)).collect();
            Material::Conjunction(Conjunction::make(m, n, &owners, &|i| {
                inputs.get(i).map_or_else(Wide::default, |x| pad(*x))
            }))
        }
        Op::Leaves { bits, numbers } => {
            Material::LeafPads(LeafPads::make(m, plan.leaves(id, rows), plan.owner(*bits), &|| pad(*bits), &|| {
                pad(*numbers)
            }))
        }
        Op::Weights { w, .. } => Material::WeightPads(WeightPads::make(m, plan.leaves(id, rows), || pad(*w))),
        Op::Hand { .. } => Material::Number(m.free(n)),
        Op::Reveal { x, to, .. } => match plan.node(*x).kind {
            Kind::Bits => Material::OutputBits(to.iter().map(|q| m.own_bits(q, n)).collect()),
            _ => Material::Outputs(to.iter().map(|q| m.own(q, n)).collect()),
        },
        _ => Material::Nothing,
    }
}
