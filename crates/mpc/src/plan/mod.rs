//! A computation written down beforehand: operations, public shapes and public bounds, nothing else.
//!
//! All parties and the dealer hold the same plan and compare its hash before anything else is sent. What
//! will be sent, in how many rounds, and what has to be dealt follows from it: [`Plan::cost`].

mod build;
mod cost;
pub(crate) mod cost_parts;
mod low;

use serde::{Deserialize, Serialize};
use tacit_crypto::Transcript;
use tacit_protocol::Disclosure;
use tacit_types::{Hash, wire};

pub use build::{AnyBits, Bits, Builder, Known, KnownBits, Num, Output, Veiled};
pub use cost::Cost;

use crate::fx::Fx;
use crate::group::Group;
use crate::verified::AUDITS_MAX;

/// The most operations of a plan.
pub const PLAN_OPS_MAX: usize = 1 << 17;
/// The most elements of one value that is there once, and of one tile's value.
pub const VALUE_ELEMENTS_MAX: u64 = 1 << 22;
/// The most columns of a value.
pub const VALUE_COLUMNS_MAX: u32 = 1 << 16;
/// The most public edges of one comparison.
pub const EDGES_MAX: usize = 64;
/// Bytes that one party sends another in a round of a tile, and that are dealt for it: rows are cut so.
pub const TILE_BYTES: u64 = 2 << 20;
/// Bytes that are dealt for the smallest tile at most. What is dealt streams, so it may be longer than a message; the party
/// that gets it holds that of the tiles that it works on.
pub const DEALT_BYTES_MAX: u64 = 512 << 20;
/// Dealt bytes of all tiles that a party works on, where there is more than one.
pub const DEALT_IN_FLIGHT: u64 = 64 << 20;
/// Rows of the smallest tile, and what the rows of each are a multiple of.
pub const TILE_ROWS_MIN: u64 = 64;
/// The most rows of a tile.
pub const TILE_ROWS_MAX: u64 = 8192;
/// Tiles that a party works on at a time, so that rounds overlap.
pub const TILES_IN_FLIGHT: usize = 4;

/// What a plan holds against.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Security {
    /// Parties and a dealer that follow the protocol, and look.
    #[default]
    SemiHonest,
    /// Any parties but one that deviate: nothing is opened before a check of all that it depends on, and no output is
    /// taken before a check of its opening.
    Verified {
        /// Deals that are opened and derived again, beside the one that is used: a dealer that deals wrong is found with
        /// probability `audits / (audits + 1)`.
        audits: u8,
    },
}

/// What a node of the plan does. Numbers are those of earlier nodes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    /// Numbers, or packed bits, that a party brings; its number among the inputs.
    Input { owner: u8, bits: bool, index: u32 },
    /// Owned numbers or bits as shares.
    Share { x: u32 },
    /// Sum or difference of shares, element by element; a single row is added to every row.
    Add { x: u32, y: u32, minus: bool },
    /// Public words, one for each column or one for all, added to a share.
    AddPublic { x: u32, words: Vec<u64> },
    /// A share times a public word.
    Scale { x: u32, by: u64 },
    /// A share times a public matrix of so many columns.
    TimesPublic { x: u32, matrix: Vec<u64> },
    /// Opened operand; the parties that take part in its products.
    Mask { x: u32, to: Group },
    /// Product of two masked operands.
    MatMul { x: u32, w: u32 },
    /// Product element by element.
    Multiply { x: u32, y: u32 },
    /// Division by a power of two.
    Truncate { x: u32, by: u8 },
    /// ReLU and division by a power of two.
    Rectify { x: u32, by: u8 },
    /// The bits x < edge.
    LessThan { x: u32, edge: u64 },
    /// How many edges are not above x.
    Band { x: u32, edges: Vec<u64> },
    /// Bits as 0 and 1.
    ToRing { x: u32 },
    /// Numbers where bits are set.
    Select { bits: u32, x: u32 },
    /// The complement of bits.
    Not { x: u32 },
    /// Conjunction.
    And { inputs: Vec<u32> },
    /// One party's numbers where another's bits are set, summed by row.
    Leaves { bits: u32, numbers: u32 },
    /// A masked vector's elements where shared bits are set, summed by row.
    Weights { bits: u32, w: u32 },
    /// The column of the largest number of each row, from 0; the first of equals.
    ArgMax { x: u32 },
    /// Logistic function by a sine series.
    Sigmoid { x: u32 },
    /// Reciprocal or reciprocal square root.
    Inverse { x: u32, root: bool },
    /// This party's summands, to itself.
    Hand { x: u32, index: u32 },
    /// Opening to some under a disclosure.
    Reveal { x: u32, to: Group, disclosure: Disclosure, index: u32 },
}

/// What a node's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Numbers that a party knows.
    Owned(u8),
    /// Bits that a party knows.
    OwnedBits(u8),
    /// Shared numbers.
    Share,
    /// Shared bits.
    Bits,
    /// A masked operand; of whom, if of one party.
    Masked(Option<u8>),
    /// Nothing that goes on.
    Opened,
}

/// One operation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Node {
    pub op: Op,
    pub kind: Kind,
    /// Rows, for what is there once; `None` for what has the rows of the tile.
    pub rows: Option<u32>,
    pub cols: u32,
    /// Format and bound of numbers.
    pub fx: Fx,
    /// Low bits of a number that anything reads: the others are whatever the shares have there, and never leave.
    pub low: u8,
}

impl Node {
    /// Rows in a tile of so many.
    pub fn rows_in(&self, tile_rows: usize) -> usize {
        self.rows.map_or(tile_rows, |r| r as usize)
    }

    /// Elements in a tile of so many rows.
    pub fn count(&self, tile_rows: usize) -> usize {
        self.rows_in(tile_rows) * self.cols as usize
    }

    /// The nodes that this one reads.
    pub fn inputs(&self) -> Vec<u32> {
        match &self.op {
            Op::Input { .. } => Vec::new(),
            Op::And { inputs } => inputs.clone(),
            Op::Add { x, y, .. } | Op::Multiply { x, y } => vec![*x, *y],
            Op::MatMul { x, w } => vec![*x, *w],
            Op::Select { bits, x } => vec![*bits, *x],
            Op::Leaves { bits, numbers } => vec![*bits, *numbers],
            Op::Weights { bits, w } => vec![*bits, *w],
            Op::Share { x }
            | Op::AddPublic { x, .. }
            | Op::Scale { x, .. }
            | Op::TimesPublic { x, .. }
            | Op::Mask { x, .. }
            | Op::Truncate { x, .. }
            | Op::Rectify { x, .. }
            | Op::LessThan { x, .. }
            | Op::Band { x, .. }
            | Op::ToRing { x }
            | Op::Not { x }
            | Op::ArgMax { x }
            | Op::Sigmoid { x }
            | Op::Inverse { x, .. }
            | Op::Hand { x, .. }
            | Op::Reveal { x, .. } => vec![*x],
        }
    }
}

/// How numbers stand in the sums of what all parties hand out: in the top bits, as many as their format has. With codes
/// whole words are handed out, and [`open_handed`](crate::open_handed) gives the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handed(u8);

impl Handed {
    /// The number of a sum modulo 2^64, its sign extended; `None` for what is none.
    pub fn number(self, sum: u64) -> Option<u64> {
        let below = u32::from(64 - self.0);
        let number = sum as i64 >> below;
        (number << below == sum as i64).then_some(number as u64)
    }
}

/// A finished plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub(crate) parties: u8,
    pub(crate) security: Security,
    /// Who gets corrections instead of expanding everything from a seed.
    pub(crate) corrected: u8,
    /// Rows of the tiled values.
    pub(crate) rows: u64,
    /// Rows of a tile.
    pub(crate) tile: u64,
    pub(crate) nodes: Vec<Node>,
    /// Of what is done once, then of each tile: the nodes of each stage.
    pub(crate) once: Vec<Stage>,
    pub(crate) tiled: Vec<Stage>,
}

/// Nodes that run side by side: first those that need no message, in order, then the others together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub local: Vec<u32>,
    pub joint: Vec<u32>,
}

impl Plan {
    /// A plan for 2 to [`PARTIES_MAX`](crate::group::PARTIES_MAX) parties and so many rows.
    ///
    /// # Errors
    /// `refused.parties` for another number of parties.
    pub fn builder(parties: usize, rows: u64) -> Result<Builder, tacit_types::Fault> {
        Builder::new(parties, rows)
    }

    /// The hash of the canonical encoding.
    pub fn hash(&self) -> Hash {
        Transcript::new("tacit-mpc/1/plan").bytes(&wire::encode(self)).finish()
    }

    /// How many parties compute.
    pub fn parties(&self) -> usize {
        self.parties.into()
    }

    /// What it holds against.
    pub fn security(&self) -> Security {
        self.security
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.security != Security::SemiHonest
    }

    /// Deals that are opened and derived again.
    pub(crate) fn audits(&self) -> usize {
        match self.security {
            Security::SemiHonest => 0,
            Security::Verified { audits } => audits.into(),
        }
    }

    /// Who receives the dealer's corrections.
    pub fn corrected(&self) -> usize {
        self.corrected.into()
    }

    /// How the sums of what all parties hand out as an output stand for numbers; `None` for another output.
    pub fn handed(&self, output: u32) -> Option<Handed> {
        let bits = |node: &Node| match node.op {
            Op::Hand { index, .. } if index == output => Some(Handed(if self.is_verified() { 64 } else { node.fx.b })),
            _ => None,
        };
        self.nodes.iter().find_map(bits)
    }

    /// Rows of the tiled values.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Tiles that a party works on at a time: fewer where much is dealt for each.
    pub(crate) fn in_flight(&self) -> usize {
        let dealt = self.tile_fixed_bytes(1).max(1) as u64;
        usize::try_from(DEALT_IN_FLIGHT / dealt).unwrap_or(TILES_IN_FLIGHT).clamp(1, TILES_IN_FLIGHT)
    }

    /// How many tiles the rows are cut into; 0 for a plan without tiled values.
    pub fn tiles(&self) -> u32 {
        if self.tiled.is_empty() { 0 } else { self.rows.div_ceil(self.tile) as u32 }
    }

    /// First row and number of rows of a tile; tiles are numbered from 1, since 0 is what is done once.
    pub(crate) fn tile_rows(&self, tile: u32) -> (u64, usize) {
        let first = u64::from(tile.saturating_sub(1)) * self.tile;
        (first, self.rows.saturating_sub(first).min(self.tile) as usize)
    }

    /// The stages of a tile.
    pub(crate) fn stages(&self, tile: u32) -> &[Stage] {
        if tile == 0 { &self.once } else { &self.tiled }
    }

    pub(crate) fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize] // proof: the builder gives ids of nodes that it has made, and keeps all.
    }
}
