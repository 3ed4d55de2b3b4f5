//! What a plan costs: messages, bytes and rounds, exactly, before anything runs.

use tacit_types::Step;

use super::cost_parts::{comparison, open_planes, open_words};
use super::{Op, Plan, Stage};
use crate::group::Group;
use crate::ops::{Comparison, Conjunction, DoubleBits, LeafPads, Leaves, Rectifier, Selection, SharedLeafPads, Triple};
use crate::ops::{Truncation, newton, rank, smooth};
use crate::pack::packed;
use crate::plan::Kind;
use crate::value::bit_words;
use crate::verified;
use crate::wire::Flow;

/// Bytes of each message in which seats compare what they agreed on, and of each seed.
pub(crate) const AGREED_BYTES: u64 = 32;

/// The cost of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Rounds before the first tile, with the two that compare plans and hand out seeds.
    pub rounds_once: u32,
    /// Rounds of each tile; those of several tiles overlap.
    pub rounds_tile: u32,
    /// Tiles.
    pub tiles: u32,
    /// Payload bytes from each party to each other, by sender and receiver, agreement and seeds included.
    pub sent: Vec<Vec<u64>>,
    /// Payload bytes from the dealer to each party, agreement and seeds included.
    pub dealt: Vec<u64>,
}

impl Cost {
    /// Bytes that all parties send to each other.
    pub fn online(&self) -> u64 {
        self.sent.iter().flatten().sum()
    }
}

impl Plan {
    /// The flows of a node's rounds in a tile of so many rows.
    pub(crate) fn flows(&self, id: u32, tile_rows: usize) -> Vec<Vec<Flow>> {
        if self.is_verified() {
            return verified::flows(self, id, tile_rows);
        }
        let (node, parties) = (self.node(id), self.parties());
        let (n, low) = (node.count(tile_rows), node.low);
        match &node.op {
            Op::Input { .. }
            | Op::Share { .. }
            | Op::Add { .. }
            | Op::AddPublic { .. }
            | Op::Scale { .. }
            | Op::TimesPublic { .. }
            | Op::Not { .. }
            | Op::Hand { .. }
            | Op::MatMul { .. } => Vec::new(),
            Op::Mask { to, .. } => match node.kind {
                Kind::Masked(Some(owner)) => {
                    let owner = usize::from(owner);
                    let flow = Flow { from: Group::one(owner), to: to.with(owner), count: n as u64, bits: low };
                    vec![vec![flow]]
                }
                _ => vec![vec![open_words(parties, n, low)]],
            },
            Op::Multiply { .. } => vec![vec![open_words(parties, n, low); 2]],
            Op::Truncate { .. } => vec![vec![open_words(parties, n, self.domain(id))]],
            Op::Rectify { .. } => {
                let mut rounds = comparison(parties, n, self.domain(id), 1);
                rounds.push(vec![open_planes(parties, n, 1)]);
                rounds
            }
            Op::LessThan { .. } => comparison(parties, n, self.domain(id), 1),
            Op::Band { edges, .. } => rank::band_flows(parties, n, self.domain(id), edges.len()),
            Op::ToRing { .. } => vec![vec![open_planes(parties, n, 1)]],
            Op::Select { .. } => vec![vec![open_planes(parties, n, 1), open_words(parties, n, low)]],
            Op::And { inputs } => {
                let all = Group::first(parties);
                let count = bit_words(n) as u64;
                let flow =
                    |owner: Option<usize>| Flow { from: owner.map_or(all, Group::one), to: all, count, bits: 64 };
                vec![inputs.iter().map(|i| flow(self.bit_owner(*i))).collect()]
            }
            Op::Leaves { bits, numbers } => {
                let (all, at) = (Group::first(parties), self.leaves(id, tile_rows));
                let (a, b) = (self.owner(*bits), self.owner(*numbers));
                let count = (at.rows * at.leaves) as u64;
                vec![vec![
                    Flow { from: Group::one(a), to: all, count: bit_words(count as usize) as u64, bits: 64 },
                    Flow { from: Group::one(b), to: Group::one(a).with(b), count, bits: low },
                ]]
            }
            Op::Weights { .. } => {
                let at = self.leaves(id, tile_rows);
                vec![vec![open_planes(parties, at.rows * at.leaves, 1)]]
            }
            Op::ArgMax { x } => rank::flows(parties, node.rows_in(tile_rows), self.node(*x).cols as usize),
            Op::Sigmoid { x } => smooth::flows(parties, n, self.node(*x).fx),
            Op::Inverse { .. } => newton::flows(parties, n, self.inverse(id)),
            Op::Reveal { x, to, .. } => {
                let (bits, count) = match self.node(*x).kind {
                    Kind::Bits => (64, bit_words(n)),
                    _ => (node.fx.b, n),
                };
                vec![vec![Flow { from: Group::first(parties), to: *to, count: count as u64, bits }]]
            }
        }
    }

    /// The bytes that are dealt for a node in a tile of so many rows.
    pub(crate) fn fixed_bytes(&self, id: u32, tile_rows: usize) -> usize {
        if self.is_verified() {
            return verified::fixed_bytes(self, id, tile_rows);
        }
        let node = self.node(id);
        let (n, low) = (node.count(tile_rows), node.low);
        match &node.op {
            Op::MatMul { .. } => packed(n, low),
            Op::Multiply { .. } => Triple::fixed_bytes(n, low),
            Op::Truncate { .. } => Truncation::fixed_bytes(n, low),
            Op::Rectify { .. } => Rectifier::fixed_bytes(n, self.domain(id), low),
            Op::LessThan { .. } => Comparison::fixed_bytes(n, self.domain(id), 1),
            Op::Band { edges, .. } => rank::BandMaterial::fixed_bytes(n, (self.domain(id), low), edges.len()),
            Op::ToRing { .. } => DoubleBits::fixed_bytes(n, low),
            Op::Select { .. } => Selection::fixed_bytes(n, low),
            Op::And { inputs } => 8 * Conjunction::fixed_words(n, inputs.len()),
            Op::Leaves { .. } => LeafPads::fixed_bytes(self.leaves(id, tile_rows), low),
            Op::Weights { .. } => SharedLeafPads::fixed_bytes(self.leaves(id, tile_rows), low),
            Op::ArgMax { x } => rank::fixed_bytes(node.rows_in(tile_rows), self.node(*x).cols as usize),
            Op::Sigmoid { .. } => smooth::fixed_bytes(n),
            Op::Inverse { .. } => newton::fixed_bytes(n, self.inverse(id)),
            _ => 0,
        }
    }

    /// The bits in which the operand of a comparison or truncation is opened.
    pub(crate) fn domain(&self, id: u32) -> u8 {
        super::low::domain(&self.nodes, self.node(id))
    }

    /// What is dealt for in a tile, in order: the operations, and in verified mode the masks of the checks.
    pub(crate) fn dealt_ids(&self, tile: u32) -> Vec<u32> {
        let nodes = self.stages(tile).iter().flat_map(|s| s.local.iter().chain(&s.joint)).copied();
        nodes.chain(verified::check_places(self, tile)).collect()
    }

    pub(crate) fn owner(&self, id: u32) -> usize {
        match self.node(id).kind {
            Kind::Owned(o) | Kind::OwnedBits(o) | Kind::Masked(Some(o)) => o.into(),
            _ => 0,
        }
    }

    pub(crate) fn bit_owner(&self, id: u32) -> Option<usize> {
        matches!(self.node(id).kind, Kind::OwnedBits(_)).then(|| self.owner(id))
    }

    /// The shape of a leaf selection.
    pub(crate) fn leaves(&self, id: u32, tile_rows: usize) -> Leaves {
        let bits = match &self.node(id).op {
            Op::Leaves { bits, .. } | Op::Weights { bits, .. } => self.node(*bits),
            _ => self.node(id),
        };
        Leaves { rows: bits.rows_in(tile_rows), leaves: bits.cols as usize }
    }

    pub(crate) fn inverse(&self, id: u32) -> newton::Inverse {
        let (x, root) = match &self.node(id).op {
            Op::Inverse { x, root } => (*x, *root),
            _ => (id, false),
        };
        newton::Inverse { from: self.node(x).fx, f: self.node(id).fx.f, root }
    }

    /// Rounds of one stage.
    fn stage_rounds(&self, stage: &Stage) -> u32 {
        stage.joint.iter().map(|id| self.flows(*id, 1).len() as u32).max().unwrap_or(0)
    }

    /// Rounds of a tile.
    pub(crate) fn rounds(&self, tile: u32) -> u32 {
        let own = self.stages(tile).iter().map(|s| self.stage_rounds(s)).sum();
        if self.is_verified() { verified::rounds(self, tile) } else { own }
    }

    /// Bytes that are dealt for a tile.
    pub(crate) fn tile_fixed_bytes(&self, tile: u32) -> usize {
        let (_, rows) = self.tile_rows(tile);
        let link = if self.audits() > 0 { AGREED_BYTES as usize } else { 0 };
        self.dealt_ids(tile).into_iter().map(|id| self.fixed_bytes(id, rows)).sum::<usize>() + link
    }

    /// Bytes that are dealt for so many rows of these stages.
    pub(crate) fn dealt_bytes(&self, stages: &[Stage], rows: usize) -> u64 {
        let nodes = stages.iter().flat_map(|s| s.local.iter().chain(&s.joint));
        nodes.map(|id| self.fixed_bytes(*id, rows) as u64).sum()
    }

    /// Bytes of the largest message of a tile, dealt or between parties.
    pub(crate) fn largest_message(&self, stages: &[Stage], rows: usize) -> u64 {
        self.dealt_bytes(stages, rows).max(self.largest_sent(stages, rows))
    }

    /// Bytes of the largest message between parties in so many rows of these stages.
    pub(crate) fn largest_sent(&self, stages: &[Stage], rows: usize) -> u64 {
        let pairs = |f: &Flow, p: usize| (0..self.parties()).map(|q| f.bytes(p, q)).max().unwrap_or(0);
        let mut largest = 0;
        for stage in stages {
            let flows: Vec<Vec<Vec<Flow>>> = stage.joint.iter().map(|id| self.flows(*id, rows)).collect();
            for round in 0..flows.iter().map(Vec::len).max().unwrap_or(0) {
                let now: Vec<&Flow> = flows.iter().filter_map(|f| f.get(round)).flatten().collect();
                let by = |p: usize| now.iter().map(|f| pairs(f, p)).sum::<u64>();
                largest = largest.max((0..self.parties()).map(by).max().unwrap_or(0));
            }
        }
        largest
    }

    /// Steps that a run takes from its first on.
    pub(crate) fn steps(&self) -> u64 {
        u64::from(self.steps_before())
            + u64::from(self.rounds(0))
            + 1
            + u64::from(self.tiles()) * (u64::from(self.rounds(1)) + 1)
    }

    /// Steps before the first tile: the comparison of terms, seeds, and those of the audit where there is one.
    fn steps_before(&self) -> u32 {
        if self.audits() > 0 { 2 + verified::AUDIT_ROUNDS } else { 2 }
    }

    /// The step of a tile's corrections; its rounds follow.
    pub(crate) fn tile_step(&self, base: u16, tile: u32) -> Step {
        let first = (u32::from(base) << 16) + self.steps_before();
        let before = if tile == 0 { 0 } else { self.rounds(0) + 1 + (tile - 1) * (self.rounds(1) + 1) };
        Step(first + before)
    }

    /// What a run costs.
    pub fn cost(&self) -> Cost {
        let n = self.parties();
        let mut sent = vec![vec![0; n]; n];
        // Of the dealer: the plan's hash and a seed; with audits a seed and a commitment for each deal, and then the
        // seeds of those that are opened.
        let audits = self.audits() as u64;
        let deals = if audits > 0 { 2 * (audits + 1) + verified::opening_seeds(n, audits) } else { 1 };
        let mut dealt = vec![AGREED_BYTES * (1 + deals); n];
        for (i, row) in sent.iter_mut().enumerate() {
            for (j, bytes) in row.iter_mut().enumerate().filter(|(j, _)| *j != i) {
                // The plan's hash to everyone, and a seed to each later party.
                *bytes = AGREED_BYTES * (1 + u64::from(i < j) + if audits > 0 { 2 } else { 0 });
            }
        }
        // What is done once, a whole tile as often as there are such, and the last one.
        let last = self.tiles();
        let tiles = [(0, 1), (1, u64::from(last.saturating_sub(1))), (last, u64::from(last > 0))];
        for (tile, times) in tiles.into_iter().filter(|(_, times)| *times > 0) {
            let (_, rows) = self.tile_rows(tile);
            let mut add = |flow: &Flow| {
                for (i, row) in sent.iter_mut().enumerate() {
                    row.iter_mut().enumerate().for_each(|(j, bytes)| *bytes += times * flow.bytes(i, j));
                }
            };
            for id in self.stages(tile).iter().flat_map(|s| &s.joint) {
                self.flows(*id, rows).iter().flatten().for_each(&mut add);
            }
            verified::check_flows(self, tile).iter().flatten().for_each(&mut add);
            if let Some(bytes) = dealt.get_mut(self.corrected()) {
                *bytes += times * self.tile_fixed_bytes(tile) as u64;
            }
        }
        Cost {
            rounds_once: self.steps_before() + self.rounds(0),
            rounds_tile: if self.tiles() == 0 { 0 } else { self.rounds(1) },
            tiles: self.tiles(),
            sent,
            dealt,
        }
    }
}
