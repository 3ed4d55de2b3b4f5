//! Verified mode: parties that deviate are found before anything is opened (active security with abort, any number of them
//! but one), and a dealer that deals wrong with a stated probability.
//!
//! Everything that is opened is a public linear function of dealt values, and each of those carries a code under a key
//! that nobody knows: [`auth`]. What is opened passes the [`desk`], where a batched check covers it before any output
//! leaves, and the openings of outputs before they are taken. What is handed to another protocol keeps codes for whoever
//! opens it there: [`open_handed`]. The dealer is held by cut and choose over whole deals: [`audit`].

pub(crate) mod audit;
pub(crate) mod auth;
mod compare;
pub(crate) mod desk;
pub(crate) mod handed;
pub(crate) mod maker;
mod material;
mod ops;
pub(crate) mod tile;

pub use audit::AUDITS_MAX;
pub(crate) use audit::{AUDIT_ROUNDS, opening_seeds};
pub use auth::BIT_KEY_BITS;
pub use handed::{HANDED_KEY_WORDS, HANDED_WORDS, open_handed};

use tacit_types::{Code, Fault};

use crate::group::Group;
use crate::plan::{Kind, Node, Op, Plan, Stage};
use crate::prep::Dealing;
use crate::value::bit_words;
use crate::wire::Flow;
use desk::{CHECK_WORDS, CHECKS, COMMIT_WORDS};
use maker::{Count, Deal, Maker};

/// Refuses what verified mode does not cover.
pub(crate) fn supports(node: &Node) -> Result<(), Fault> {
    let what = match node.op {
        Op::ArgMax { .. } => "the largest of columns",
        Op::Sigmoid { .. } => "the logistic function",
        Op::Inverse { .. } => "reciprocals and roots",
        _ => return Ok(()),
    };
    Err(Fault::new(Code::RefusedParameters, format!("{what} in verified mode; only the semi-honest mode has it")))
}

fn nodes(stages: &[Stage]) -> impl Iterator<Item = u32> + '_ {
    stages.iter().flat_map(|s| s.local.iter().chain(&s.joint)).copied()
}

/// The outputs of a tile.
pub(crate) fn outputs(plan: &Plan, tile: u32) -> impl Iterator<Item = u32> + '_ {
    nodes(plan.stages(tile)).filter(|id| matches!(plan.node(*id).op, Op::Reveal { .. } | Op::Hand { .. }))
}

fn reveals(plan: &Plan, tile: u32) -> bool {
    nodes(plan.stages(tile)).any(|id| matches!(plan.node(id).op, Op::Reveal { .. }))
}

/// Whether there is anything to do in a tile.
pub(crate) fn active(plan: &Plan, tile: u32) -> bool {
    nodes(plan.stages(tile)).next().is_some()
}

fn checks(plan: &Plan, tile: u32) -> usize {
    match (active(plan, tile), reveals(plan, tile)) {
        (false, _) => 0,
        (true, false) => CHECKS - 1,
        (true, true) => CHECKS,
    }
}

/// Where the masks of a tile's checks stand: past the operations.
pub(crate) fn check_places(plan: &Plan, tile: u32) -> Vec<u32> {
    let checks = if plan.is_verified() { checks(plan, tile) } else { 0 };
    (0..checks).map(|i| (plan.nodes.len() + i) as u32).collect()
}

/// The rounds of a tile that its operations do not have.
pub(crate) fn check_flows(plan: &Plan, tile: u32) -> Vec<Vec<Flow>> {
    let checks = check_places(plan, tile).len();
    let say = |words: usize| {
        let from = |i| Flow { from: Group::one(i), to: Group::first(plan.parties()), count: words as u64, bits: 64 };
        (0..plan.parties()).map(from).collect()
    };
    if checks == 0 {
        return Vec::new();
    }
    let commit = core::iter::once(say(checks * COMMIT_WORDS));
    commit.chain((0..checks).flat_map(|_| CHECK_WORDS.map(say))).collect()
}

/// Rounds of a tile: the operations', the checks', and one for all openings of outputs.
pub(crate) fn rounds(plan: &Plan, tile: u32) -> u32 {
    let output = |id: &u32| matches!(plan.node(*id).op, Op::Reveal { .. } | Op::Hand { .. });
    let stage = |s: &Stage| {
        s.joint.iter().filter(|id| !output(id)).map(|id| plan.flows(*id, 1).len() as u32).max().unwrap_or(0)
    };
    let own: u32 = plan.stages(tile).iter().map(stage).sum();
    own + check_flows(plan, tile).len() as u32 + u32::from(reveals(plan, tile))
}

/// Bytes that are dealt for an operation, or for the mask of a check.
pub(crate) fn fixed_bytes(plan: &Plan, id: u32, rows: usize) -> usize {
    let mut count = Count::default();
    if id as usize >= plan.nodes.len() {
        count.free(1);
    } else {
        material::make(plan, id, rows, &mut count, &|_| zeroize::Zeroizing::new(Vec::new()));
    }
    count.bytes
}

/// Deals for an operation, or the mask of a check.
pub(crate) fn deal_op(plan: &Plan, id: u32, rows: usize, dealing: &mut Dealing<'_>, tile: u32) {
    let keys = dealing.keys();
    let mut deal = Deal::new(dealing);
    if id as usize >= plan.nodes.len() {
        deal.free(1);
        return;
    }
    let pad = |id: u32| {
        // What one party brings has its pad where it was told.
        let id = match plan.node(id).op {
            Op::Mask { x, .. } if plan.node(id).kind != Kind::Masked(None) => x,
            _ => id,
        };
        let (node, place) = (plan.node(id), crate::deal::pad_place(plan, id, tile));
        let n = node.count(rows);
        match node.kind {
            Kind::OwnedBits(owner) => maker::bits_in_clear(keys, owner.into(), place, n),
            Kind::Owned(owner) => maker::pad_in_clear(keys, Some(owner.into()), place, n),
            _ => maker::pad_in_clear(keys, None, place, n),
        }
    };
    material::make(plan, id, rows, &mut deal, &pad);
}

/// The flows of an operation's rounds in a tile of so many rows.
pub(crate) fn flows(plan: &Plan, id: u32, tile_rows: usize) -> Vec<Vec<Flow>> {
    let (node, all) = (plan.node(id), Group::first(plan.parties()));
    let n = node.count(tile_rows);
    let open = |count: usize| Flow { from: all, to: all, count: count as u64, bits: 64 };
    let tell = |owner: usize, count: usize| Flow { from: Group::one(owner), to: all, count: count as u64, bits: 64 };
    let planes = |planes: usize| open(planes * bit_words(n));
    let comparison = |x: u32, edges: usize| -> Vec<Vec<Flow>> {
        let levels = tile::opened_planes(tile::compared_bits(plan, x));
        core::iter::once(vec![open(n)]).chain(levels.into_iter().map(|p| vec![planes(edges * p)])).collect()
    };
    match &node.op {
        Op::Input { owner, bits: true, .. } => vec![vec![tell((*owner).into(), bit_words(n))]],
        Op::Input { owner, .. } => vec![vec![tell((*owner).into(), n)]],
        Op::Mask { .. } if node.kind == Kind::Masked(None) => vec![vec![open(n)]],
        Op::Multiply { .. } => vec![vec![open(n), open(n)]],
        Op::Truncate { .. } => vec![vec![open(n)]],
        Op::Rectify { x, .. } => {
            let mut rounds = comparison(*x, 1);
            rounds.push(vec![planes(1)]);
            rounds
        }
        Op::LessThan { x, .. } => comparison(*x, 1),
        Op::Band { x, edges } => {
            let mut rounds = comparison(*x, edges.len());
            rounds.push(vec![planes(edges.len())]);
            rounds
        }
        Op::ToRing { .. } => vec![vec![planes(1)]],
        Op::Select { .. } => vec![vec![planes(1), open(n)]],
        Op::And { inputs } => {
            let shared = inputs.iter().filter(|id| plan.bit_owner(**id).is_none());
            let flows: Vec<Flow> = shared.map(|_| planes(1)).collect();
            if flows.is_empty() { Vec::new() } else { vec![flows] }
        }
        Op::Weights { .. } => {
            let at = plan.leaves(id, tile_rows);
            vec![vec![open(bit_words(at.rows * at.leaves))]]
        }
        Op::Reveal { x, to, .. } => {
            let count = if plan.node(*x).kind == Kind::Bits { bit_words(n) } else { n };
            vec![to.iter().map(|_| open(count)).collect()]
        }
        _ => Vec::new(),
    }
}
