//! How many low bits of each value anything reads.
//!
//! Taking words modulo 2^k is a homomorphism of rings, so whoever wants k bits of a sum or product needs k bits of its
//! operands. Only what looks at a number's sign, or cuts it, wants all bits of it, and those are as many as its format
//! has. So a plan tells from its end to its beginning how many bits of each value matter, and no more are sent or dealt.

use super::{Kind, Node, Op};
use crate::ops::{smooth, trunc};

/// The bits in which the operand of a comparison or truncation is opened; 64 of any other node.
pub(super) fn domain(nodes: &[Node], node: &Node) -> u8 {
    let of = |x: u32, by: u8| nodes.get(x as usize).map_or(64, |x| trunc::domain(x.fx.b, by));
    match node.op {
        Op::Truncate { x, by } | Op::Rectify { x, by } => of(x, by),
        Op::LessThan { x, .. } | Op::Band { x, .. } => of(x, 0),
        _ => 64,
    }
}

/// The low bits that a node reads of each of its operands that is of numbers.
fn reads(nodes: &[Node], node: &Node) -> u8 {
    match node.op {
        Op::Truncate { .. } | Op::Rectify { .. } | Op::LessThan { .. } | Op::Band { .. } => domain(nodes, node),
        Op::ArgMax { .. } | Op::Inverse { .. } => 64,
        // why: at most 62 of fraction, and of 16 bits or fewer above: the builder refuses more.
        Op::Sigmoid { x } => nodes.get(x as usize).map_or(64, |x| smooth::period_bits(x.fx) as u8),
        Op::Reveal { .. } | Op::Hand { .. } => node.fx.b,
        _ => node.low,
    }
}

/// Finds [`Node::low`] of all nodes of a plan without codes: a code covers whole words, so with codes it is 64.
pub(super) fn mark(nodes: &mut [Node], verified: bool) {
    for node in nodes.iter_mut() {
        node.low = if verified { 64 } else { 0 };
    }
    for id in (0..nodes.len()).rev().filter(|_| !verified) {
        let Some(node) = nodes.get_mut(id) else { continue };
        if node.low == 0 || matches!(node.kind, Kind::Bits | Kind::OwnedBits(_)) {
            // What nothing reads is as wide as its format.
            node.low = node.fx.b;
        }
        let Some(node) = nodes.get(id) else { continue };
        let (low, inputs) = (reads(nodes, node), node.inputs());
        for input in inputs {
            if let Some(x) = nodes.get_mut(input as usize) {
                x.low = x.low.max(low);
            }
        }
    }
}
