//! Writing a plan: each call adds an operation and checks shapes, owners and bounds at once.

use tacit_protocol::Disclosure;
use tacit_types::{Code, Fault};

use super::{
    AUDITS_MAX, EDGES_MAX, Kind, Node, Op, PLAN_OPS_MAX, Plan, Security, Stage, VALUE_COLUMNS_MAX, VALUE_ELEMENTS_MAX,
};
use super::{DEALT_BYTES_MAX, TILE_BYTES, TILE_ROWS_MAX, TILE_ROWS_MIN};
use crate::fx::{FX_BITS_MAX, Fx};
use crate::group::{Group, PARTIES_MAX};
use crate::ops::{FAN_IN_MAX, newton, smooth};

/// Numbers that one party knows. The number of the input, where it is one, is the source's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known(pub(crate) u32);
/// Bits that one party knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownBits(pub(crate) u32);
/// Shared numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Num(pub(crate) u32);
/// Shared bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits(pub(crate) u32);
/// An operand that is opened under a mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Veiled(pub(crate) u32);
/// The number of an output, as the sink is told it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Output(pub u32);

/// Bits on their way into a conjunction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnyBits {
    /// One party's.
    Known(KnownBits),
    /// Shared.
    Shared(Bits),
}

/// A plan in the making.
pub struct Builder {
    parties: usize,
    corrected: usize,
    security: Security,
    rows: u64,
    nodes: Vec<Node>,
    inputs: u32,
    outputs: u32,
}

fn refused(what: String) -> Fault {
    Fault::new(Code::RefusedParameters, what)
}

fn bit_format() -> Fx {
    Fx { f: 0, b: 2 }
}

impl Builder {
    pub(super) fn new(parties: usize, rows: u64) -> Result<Self, Fault> {
        if !(2..=PARTIES_MAX).contains(&parties) {
            return Err(Fault::new(Code::RefusedParties, format!("{parties} parties; 2 to {PARTIES_MAX} can compute")));
        }
        let security = Security::SemiHonest;
        Ok(Self { parties, corrected: parties - 1, security, rows, nodes: Vec::new(), inputs: 0, outputs: 0 })
    }

    /// Names the party that gets corrections; by default the last.
    ///
    /// # Errors
    /// `refused.parameters` when there is no such party.
    pub fn corrected(&mut self, party: usize) -> Result<(), Fault> {
        self.party(party)?;
        self.corrected = party;
        Ok(())
    }

    /// Chooses verified mode: parties that deviate are found before anything is opened, and a dealer that does with
    /// probability `audits / (audits + 1)`. All seats agree on it, since it is part of the plan.
    ///
    /// # Errors
    /// `refused.parameters` for more than [`AUDITS_MAX`] audits.
    pub fn verified(&mut self, audits: u8) -> Result<(), Fault> {
        if audits > AUDITS_MAX {
            return Err(refused(format!("{audits} audits; at most {AUDITS_MAX}")));
        }
        self.security = Security::Verified { audits };
        Ok(())
    }

    fn party(&self, party: usize) -> Result<u8, Fault> {
        if party < self.parties { Ok(party as u8) } else { Err(refused(format!("there is no party {party}"))) }
    }

    fn node(&self, id: u32) -> Result<&Node, Fault> {
        self.nodes.get(id as usize).ok_or_else(|| refused(format!("there is no operation {id} in this plan")))
    }

    fn push(&mut self, op: Op, kind: Kind, rows: Option<u32>, cols: u32, fx: Fx) -> Result<u32, Fault> {
        if self.nodes.len() >= PLAN_OPS_MAX {
            return Err(refused(format!("more than {PLAN_OPS_MAX} operations")));
        }
        let elements = u64::from(rows.unwrap_or(TILE_ROWS_MIN as u32)) * u64::from(cols);
        if cols == 0 || rows == Some(0) || cols > VALUE_COLUMNS_MAX || elements > VALUE_ELEMENTS_MAX {
            return Err(refused(format!("a value of {rows:?} rows and {cols} columns")));
        }
        self.nodes.push(Node { op, kind, rows, cols, fx, low: 0 });
        Ok(self.nodes.len() as u32 - 1)
    }

    fn input_node(&mut self, owner: usize, bits: bool, rows: Option<u32>, cols: u32, fx: Fx) -> Result<u32, Fault> {
        let owner = self.party(owner)?;
        let fx = Fx::new(fx.f, fx.b)?;
        let index = self.inputs;
        self.inputs += 1;
        let kind = if bits { Kind::OwnedBits(owner) } else { Kind::Owned(owner) };
        self.push(Op::Input { owner, bits, index }, kind, rows, cols, fx)
    }

    /// Numbers of one party, a row of the table each. Inputs are numbered from 0 in order of these calls.
    ///
    /// # Errors
    /// `refused.parameters` for an unusable shape or owner, `refused.overflow` for the format.
    pub fn input(&mut self, owner: usize, cols: u32, fx: Fx) -> Result<Known, Fault> {
        self.input_node(owner, false, None, cols, fx).map(Known)
    }

    /// Numbers of one party that are there once, such as a model's weights.
    ///
    /// # Errors
    /// As [`Builder::input`].
    pub fn input_once(&mut self, owner: usize, rows: u32, cols: u32, fx: Fx) -> Result<Known, Fault> {
        self.input_node(owner, false, Some(rows), cols, fx).map(Known)
    }

    /// Bits of one party, so many to a row; the rows of a tile follow each other without gaps.
    ///
    /// # Errors
    /// As [`Builder::input`].
    pub fn input_bits(&mut self, owner: usize, cols: u32) -> Result<KnownBits, Fault> {
        self.input_node(owner, true, None, cols, bit_format()).map(KnownBits)
    }

    /// Known numbers as shares: no bytes.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn share(&mut self, x: Known) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        self.push(Op::Share { x: x.0 }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// Known bits as shares: no bytes.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn share_bits(&mut self, x: KnownBits) -> Result<Bits, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        self.push(Op::Share { x: x.0 }, Kind::Bits, rows, cols, fx).map(Bits)
    }

    fn sum(&mut self, x: Num, y: Num, minus: bool) -> Result<Num, Fault> {
        let fx = self.node(x.0)?.fx.plus(self.node(y.0)?.fx)?;
        self.total(x, y, minus, fx)
    }

    fn total(&mut self, x: Num, y: Num, minus: bool, fx: Fx) -> Result<Num, Fault> {
        let (a, b) = (self.node(x.0)?, self.node(y.0)?);
        let same = a.rows == b.rows || (b.rows == Some(1) && !minus);
        if a.cols != b.cols || !same {
            return Err(refused("a sum of values of different shapes".into()));
        }
        let (rows, cols) = (a.rows, a.cols);
        self.push(Op::Add { x: x.0, y: y.0, minus }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// A sum; a right operand of one row that is there once is added to every row. No bytes.
    ///
    /// # Errors
    /// `refused.parameters` for shapes, `refused.overflow` for bounds.
    pub fn add(&mut self, x: Num, y: Num) -> Result<Num, Fault> {
        self.sum(x, y, false)
    }

    /// A difference of values of one shape. No bytes.
    ///
    /// # Errors
    /// As [`Builder::add`].
    pub fn subtract(&mut self, x: Num, y: Num) -> Result<Num, Fault> {
        self.sum(x, y, true)
    }

    /// Adds public numbers in the format of x: one for each column, or one for all. No bytes.
    ///
    /// # Errors
    /// `refused.parameters` for another count, `refused.overflow` for a number outside the format of x.
    pub fn add_public(&mut self, x: Num, numbers: &[f64]) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        if numbers.len() != 1 && numbers.len() != cols as usize {
            return Err(refused(format!("{} public numbers for {cols} columns", numbers.len())));
        }
        let words = numbers.iter().map(|n| fx.encode(*n)).collect::<Result<Vec<u64>, Fault>>()?;
        self.push(Op::AddPublic { x: x.0, words }, Kind::Share, rows, cols, fx.plus(fx)?).map(Num)
    }

    /// Times a public number of a format. No bytes, no truncation.
    ///
    /// # Errors
    /// `refused.overflow`.
    pub fn scale(&mut self, x: Num, by: f64, format: Fx) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let by = format.encode(by)?;
        self.push(Op::Scale { x: x.0, by }, Kind::Share, rows, cols, fx.dot(format, 1)?).map(Num)
    }

    /// Times a public matrix, row-major with a row for each column of x. No bytes, no truncation.
    ///
    /// # Errors
    /// `refused.parameters` for the shape, `refused.overflow`.
    pub fn times_public(&mut self, x: Num, matrix: &[f64], cols: u32, format: Fx) -> Result<Num, Fault> {
        let Node { rows, cols: inner, fx, .. } = *self.node(x.0)?;
        if u64::from(inner) * u64::from(cols) != matrix.len() as u64 {
            return Err(refused(format!("a public matrix of {} numbers, {inner} x {cols} wanted", matrix.len())));
        }
        let fx = fx.dot(format, inner as usize)?;
        let matrix = matrix.iter().map(|n| format.encode(*n)).collect::<Result<Vec<u64>, Fault>>()?;
        self.push(Op::TimesPublic { x: x.0, matrix }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// Opens known numbers under a mask of their owner, once for all products: the bits that its products are read with, a number to each
    /// party that turns out to need it.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn mask(&mut self, x: Known) -> Result<Veiled, Fault> {
        let Node { rows, cols, fx, kind, .. } = *self.node(x.0)?;
        let Kind::Owned(owner) = kind else { return Err(refused("a mask of what nobody owns".into())) };
        self.push(Op::Mask { x: x.0, to: Group::NONE }, Kind::Masked(Some(owner)), rows, cols, fx).map(Veiled)
    }

    /// Opens shared numbers under a mask, once for all products: the bits that its products are read with, a number, everyone
    /// to everyone.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn mask_share(&mut self, x: Num) -> Result<Veiled, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let to = Group::first(self.parties);
        self.push(Op::Mask { x: x.0, to }, Kind::Masked(None), rows, cols, fx).map(Veiled)
    }

    fn tell(&mut self, id: u32, party: Group) {
        if let Some(Node { op: Op::Mask { to, .. }, .. }) = self.nodes.get_mut(id as usize) {
            party.iter().for_each(|p| *to = to.with(p));
        }
    }

    /// The product of masked matrices; the right one is there once. No bytes beyond those of the masks.
    ///
    /// # Errors
    /// `refused.parameters` for shapes, or one owner of both; `refused.overflow` for bounds.
    pub fn matmul(&mut self, x: Veiled, w: Veiled) -> Result<Num, Fault> {
        let (a, b) = (self.node(x.0)?, self.node(w.0)?);
        let fx = a.fx.dot(b.fx, a.cols as usize)?;
        self.product(x, w, fx)
    }

    fn product(&mut self, x: Veiled, w: Veiled, fx: Fx) -> Result<Num, Fault> {
        let (a, b) = (self.node(x.0)?, self.node(w.0)?);
        if b.rows != Some(a.cols) {
            return Err(refused(format!("a product of {} columns with {:?} rows", a.cols, b.rows)));
        }
        let (rows, cols) = (a.rows, b.cols);
        let all = Group::first(self.parties);
        match (a.kind, b.kind) {
            (Kind::Masked(Some(i)), Kind::Masked(Some(j))) if i == j => {
                return Err(refused("a product of two values of one owner; the owner makes it alone".into()));
            }
            (Kind::Masked(Some(i)), Kind::Masked(Some(j))) => {
                self.tell(x.0, Group::one(j.into()));
                self.tell(w.0, Group::one(i.into()));
            }
            _ => {
                self.tell(x.0, all);
                self.tell(w.0, all);
            }
        }
        self.push(Op::MatMul { x: x.0, w: w.0 }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// The sum of products of masked matrices as [`Builder::matmul`] makes them, and of shared numbers with as many
    /// fraction bits, when more is known of it than its operands' formats tell: it has at most `bits` bits. Whoever
    /// brings the weights answers for that before it brings them, for all that the other operands may be.
    ///
    /// # Errors
    /// As [`Builder::matmul`] and [`Builder::add`] but for bounds; `refused.overflow` for a number of bits.
    pub fn inner(&mut self, products: &[(Veiled, Veiled)], plus: &[Num], bits: u8) -> Result<Num, Fault> {
        let (mut sum, mut format) = (None, None);
        let mut terms = Vec::with_capacity(products.len() + plus.len());
        for (x, w) in products {
            let f = self.node(x.0)?.fx.f.saturating_add(self.node(w.0)?.fx.f);
            terms.push((self.product(*x, *w, Fx::new(f, bits)?)?, f));
        }
        for x in plus {
            terms.push((*x, self.node(x.0)?.fx.f));
        }
        for (term, f) in terms {
            let fx = *format.get_or_insert(Fx::new(f, bits)?);
            if fx.f != f {
                return Err(refused(format!("a sum of values with {} and {f} fraction bits", fx.f)));
            }
            sum = Some(match sum {
                None => term,
                Some(sum) => self.total(sum, term, false, fx)?,
            });
        }
        sum.ok_or_else(|| refused("a sum of nothing".into()))
    }

    /// The product element by element.
    ///
    /// # Errors
    /// `refused.parameters` for shapes, `refused.overflow` for bounds.
    pub fn multiply(&mut self, x: Num, y: Num) -> Result<Num, Fault> {
        let (a, b) = (self.node(x.0)?, self.node(y.0)?);
        if (a.rows, a.cols) != (b.rows, b.cols) {
            return Err(refused("a product of values of different shapes".into()));
        }
        let (rows, cols, fx) = (a.rows, a.cols, a.fx.dot(b.fx, 1)?);
        self.push(Op::Multiply { x: x.0, y: y.0 }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// Cuts fraction bits off: rounded down, or one unit higher.
    ///
    /// # Errors
    /// `refused.overflow` when there are fewer.
    pub fn truncate(&mut self, x: Num, by: u8) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        self.push(Op::Truncate { x: x.0, by }, Kind::Share, rows, cols, fx.truncate(by)?).map(Num)
    }

    /// The greatest whole number not above x, exactly: the unit that a truncation may be too high is found by a
    /// comparison and taken off, so equal numbers always give equal ones.
    ///
    /// # Errors
    /// `refused.overflow` when x has more than 60 bits.
    pub fn floor(&mut self, x: Num) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let high = self.truncate(x, fx.f)?;
        // |high 2^f| is below |x| + 2^(f+1), and x less that is in [-2^f, 2^f).
        let wide = Fx::new(fx.f, fx.b.saturating_add(2))?;
        let back = self.push(Op::Scale { x: high.0, by: 1 << fx.f }, Kind::Share, rows, cols, wide).map(Num)?;
        let rest = self.total(x, back, true, Fx::new(fx.f, fx.f + 2)?)?;
        let above = self.less_than(rest, 0.0)?;
        let above = self.to_ring(above)?;
        let format = self.node(high.0)?.fx;
        self.total(high, above, true, format)
    }

    /// max(x, 0), with fraction bits cut off.
    ///
    /// # Errors
    /// `refused.overflow` when there are fewer.
    pub fn relu(&mut self, x: Num, by: u8) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        self.push(Op::Rectify { x: x.0, by }, Kind::Share, rows, cols, fx.truncate(by)?).map(Num)
    }

    /// Whether x is below a public edge.
    ///
    /// # Errors
    /// `refused.overflow` for an edge outside the format of x.
    pub fn less_than(&mut self, x: Num, edge: f64) -> Result<Bits, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let edge = fx.encode(edge)?;
        self.push(Op::LessThan { x: x.0, edge }, Kind::Bits, rows, cols, bit_format()).map(Bits)
    }

    /// Whether x is at least a public threshold.
    ///
    /// # Errors
    /// As [`Builder::less_than`].
    pub fn at_least(&mut self, x: Num, threshold: f64) -> Result<Bits, Fault> {
        let below = self.less_than(x, threshold)?;
        self.not(below)
    }

    /// The complement. No bytes.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn not(&mut self, x: Bits) -> Result<Bits, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        self.push(Op::Not { x: x.0 }, Kind::Bits, rows, cols, fx).map(Bits)
    }

    /// The number of the band of x, from 0: how many public edges are not above it.
    ///
    /// # Errors
    /// `refused.parameters` for no edge, more than [`EDGES_MAX`] or edges not in rising order;
    /// `refused.overflow` for an edge outside the format of x.
    pub fn band(&mut self, x: Num, edges: &[f64]) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        if edges.is_empty() || edges.len() > EDGES_MAX || !edges.windows(2).all(|w| w[0] < w[1]) {
            return Err(refused(format!("{} edges; 1 to {EDGES_MAX} in rising order are wanted", edges.len())));
        }
        let edges = edges.iter().map(|e| fx.encode(*e)).collect::<Result<Vec<u64>, Fault>>()?;
        let format = Fx::new(0, 8)?;
        self.push(Op::Band { x: x.0, edges }, Kind::Share, rows, cols, format).map(Num)
    }

    /// Bits as the numbers 0 and 1.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn to_ring(&mut self, x: Bits) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        self.push(Op::ToRing { x: x.0 }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// The number where the bit is set, else zero.
    ///
    /// # Errors
    /// `refused.parameters` for shapes.
    pub fn select(&mut self, bits: Bits, x: Num) -> Result<Num, Fault> {
        let (a, b) = (self.node(bits.0)?, self.node(x.0)?);
        if (a.rows, a.cols) != (b.rows, b.cols) {
            return Err(refused("a selection of values of another shape".into()));
        }
        let Node { rows, cols, fx, .. } = *b;
        self.push(Op::Select { bits: bits.0, x: x.0 }, Kind::Share, rows, cols, fx).map(Num)
    }

    /// The conjunction of bits of one shape; more than four are joined in two levels.
    ///
    /// # Errors
    /// `refused.parameters` for shapes or fewer than two.
    pub fn and(&mut self, inputs: &[AnyBits]) -> Result<Bits, Fault> {
        let mut ids: Vec<u32> = Vec::with_capacity(inputs.len());
        for input in inputs {
            ids.push(match input {
                AnyBits::Known(KnownBits(id)) | AnyBits::Shared(Bits(id)) => *id,
            });
        }
        let first = self.node(*ids.first().ok_or_else(|| refused("a conjunction of nothing".into()))?)?;
        let (rows, cols) = (first.rows, first.cols);
        for id in &ids {
            let node = self.node(*id)?;
            if (node.rows, node.cols) != (rows, cols) {
                return Err(refused("a conjunction of bits of different shapes".into()));
            }
        }
        if ids.len() < 2 {
            return Err(refused("a conjunction of one".into()));
        }
        while ids.len() > 1 {
            let mut joined = Vec::new();
            for group in ids.chunks(FAN_IN_MAX) {
                joined.push(match group {
                    [one] => *one,
                    several => {
                        let op = Op::And { inputs: several.to_vec() };
                        self.push(op, Kind::Bits, rows, cols, bit_format())?
                    }
                });
            }
            ids = joined;
        }
        ids.first().copied().map(Bits).ok_or_else(|| refused("a conjunction of nothing".into()))
    }

    /// For each row, the sum of one party's numbers where another party's bits are set. Columns are a
    /// multiple of 64; the unused are zero.
    ///
    /// # Errors
    /// `refused.parameters` for shapes or one owner of both, `refused.overflow` for bounds.
    pub fn select_leaves(&mut self, bits: KnownBits, numbers: Known) -> Result<Num, Fault> {
        let (a, b) = (self.node(bits.0)?, self.node(numbers.0)?);
        let owners = match (a.kind, b.kind) {
            (Kind::OwnedBits(i), Kind::Owned(j)) => (i, j),
            _ => return Err(refused("a leaf selection of other values".into())),
        };
        if (a.rows, a.cols) != (b.rows, b.cols) || !a.cols.is_multiple_of(64) || owners.0 == owners.1 {
            return Err(refused("a leaf selection wants two owners, and columns in multiples of 64".into()));
        }
        let (rows, fx) = (a.rows, b.fx.sum(a.cols as usize)?);
        self.push(Op::Leaves { bits: bits.0, numbers: numbers.0 }, Kind::Share, rows, 1, fx).map(Num)
    }

    /// For each row, the sum of a masked vector's numbers where shared bits are set. The vector is one
    /// column that is there once; columns of the bits are a multiple of 64.
    ///
    /// # Errors
    /// `refused.parameters` for shapes, `refused.overflow` for bounds.
    pub fn select_weights(&mut self, bits: Bits, w: Veiled) -> Result<Num, Fault> {
        let (a, b) = (self.node(bits.0)?, self.node(w.0)?);
        if b.rows != Some(a.cols) || b.cols != 1 || !a.cols.is_multiple_of(64) {
            return Err(refused("leaf weights want one column with a row for each leaf, 64 at a time".into()));
        }
        if !matches!(b.kind, Kind::Masked(Some(_))) {
            return Err(refused("leaf weights that nobody owns".into()));
        }
        let (rows, fx) = (a.rows, b.fx.sum(a.cols as usize)?);
        self.tell(w.0, Group::first(self.parties));
        self.push(Op::Weights { bits: bits.0, w: w.0 }, Kind::Share, rows, 1, fx).map(Num)
    }

    /// The column of each row's largest number, from 0; the first of equals.
    ///
    /// # Errors
    /// `refused.parameters` for one column, `refused.overflow` when differences could overflow.
    pub fn argmax(&mut self, x: Num) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        fx.plus(fx)?;
        if cols < 2 {
            return Err(refused("the largest of one column".into()));
        }
        self.push(Op::ArgMax { x: x.0 }, Kind::Share, rows, 1, Fx::new(0, 18)?).map(Num)
    }

    /// 1 / (1 + e^-x), with 42 fraction bits. For training: scores are better opened and mapped in clear.
    ///
    /// # Errors
    /// `refused.overflow` when |x| may be more than 16, or has more than 56 fraction bits.
    pub fn sigmoid(&mut self, x: Num) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let period = smooth::period_bits(fx) > u32::from(FX_BITS_MAX);
        if period || u32::from(fx.b) - 1 > u32::from(fx.f) + smooth::RANGE_MAX.ilog2() {
            return Err(Fault::new(Code::RefusedOverflow, format!("a logistic function beyond {}", smooth::RANGE_MAX)));
        }
        let format = Fx::new(smooth::RESULT_BITS, smooth::RESULT_BITS + 2)?;
        self.push(Op::Sigmoid { x: x.0 }, Kind::Share, rows, cols, format).map(Num)
    }

    fn inverse(&mut self, x: Num, f: u8, root: bool) -> Result<Num, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let usable = fx.b <= newton::INPUT_BITS_MAX && fx.b >= 4 && !(root && fx.f % 2 == 1);
        let what = newton::Inverse { from: fx, f, root };
        if !usable || what.last_shift().is_none() {
            return Err(Fault::new(Code::RefusedOverflow, format!("an inverse of {} bits to {f} of fraction", fx.b)));
        }
        let top = if root { fx.f / 2 } else { fx.f };
        self.push(Op::Inverse { x: x.0, root }, Kind::Share, rows, cols, Fx::new(f, f + top + 2)?).map(Num)
    }

    /// 1 / x for 0 < x of at most 33 bits, to about 2^-22 of itself; anything for other x.
    ///
    /// # Errors
    /// `refused.overflow` for formats that do not fit.
    pub fn reciprocal(&mut self, x: Num, f: u8) -> Result<Num, Fault> {
        self.inverse(x, f, false)
    }

    /// The square root of 0 < x of at most 33 bits and an even number of fraction bits, in the format of x;
    /// anything for other x.
    ///
    /// # Errors
    /// `refused.overflow` for formats that do not fit.
    pub fn sqrt(&mut self, x: Num) -> Result<Num, Fault> {
        let f = self.node(x.0)?.fx.f;
        let inverse = self.inverse(x, f, true)?;
        let product = self.multiply(x, inverse)?;
        self.truncate(product, f)
    }

    fn output(&mut self, x: u32, to: Group, disclosure: Disclosure) -> Result<Output, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x)?;
        if to.is_empty() || !to.is_within(Group::first(self.parties)) {
            return Err(refused("an output to nobody, or to somebody who is not there".into()));
        }
        let index = self.outputs;
        self.outputs += 1;
        self.push(Op::Reveal { x, to, disclosure, index }, Kind::Opened, rows, cols, fx)?;
        Ok(Output(index))
    }

    /// Opens numbers to some parties under a disclosure. Outputs are numbered from 0 in order of these calls.
    ///
    /// # Errors
    /// `refused.parameters` for an unusable set of receivers.
    pub fn reveal(&mut self, x: Num, to: Group, disclosure: Disclosure) -> Result<Output, Fault> {
        self.output(x.0, to, disclosure)
    }

    /// Opens bits to some parties under a disclosure.
    ///
    /// # Errors
    /// As [`Builder::reveal`].
    pub fn reveal_bits(&mut self, x: Bits, to: Group, disclosure: Disclosure) -> Result<Output, Fault> {
        self.output(x.0, to, disclosure)
    }

    /// Gives each party its own summands of numbers, for a protocol that sums them, such as a masked sum for a
    /// recipient: what opens them, under which disclosure, is that protocol's. Numbered among the outputs; no bytes. What
    /// the sums stand for says [`Plan::handed`].
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn hand(&mut self, x: Num) -> Result<Output, Fault> {
        let Node { rows, cols, fx, .. } = *self.node(x.0)?;
        let index = self.outputs;
        self.outputs += 1;
        self.push(Op::Hand { x: x.0, index }, Kind::Opened, rows, cols, fx)?;
        Ok(Output(index))
    }

    /// The format of shared numbers, with the bound that the plan guarantees.
    ///
    /// # Errors
    /// `refused.parameters` for a foreign handle.
    pub fn format(&self, x: Num) -> Result<Fx, Fault> {
        self.node(x.0).map(|n| n.fx)
    }

    /// A plan's operations with other security, for tests that run one plan both ways.
    #[cfg(test)]
    pub(crate) fn again(plan: &Plan, security: Security) -> Result<Plan, Fault> {
        let (parties, corrected) = (plan.parties(), plan.corrected());
        let nodes = plan.nodes.clone();
        let mut other =
            Self { parties, corrected, security, rows: plan.rows, nodes, inputs: 0, outputs: 1 }.finish()?;
        other.tile = other.tile.min(plan.tile);
        Ok(other)
    }

    /// Orders the nodes of one kind of tile into stages.
    fn stages(&self, plan: &Plan, tiled: bool) -> Vec<Stage> {
        let mut ranks = vec![0usize; self.nodes.len()];
        let mut stages: Vec<Stage> = Vec::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, n)| n.rows.is_none() == tiled) {
            let joint = |id: u32| !plan.flows(id, 1).is_empty();
            let within = node.inputs().into_iter().filter(|i| plan.node(*i).rows.is_none() == tiled);
            let rank = within.map(|i| ranks.get(i as usize).copied().unwrap_or(0) + usize::from(joint(i))).max();
            let rank = rank.unwrap_or(0);
            ranks[id] = rank; // proof: one for each node.
            stages.resize_with(stages.len().max(rank + 1), Stage::default);
            if let Some(stage) = stages.get_mut(rank) {
                let list = if joint(id as u32) { &mut stage.joint } else { &mut stage.local };
                list.push(id as u32);
            }
        }
        stages
    }

    /// Ends the plan: orders it into stages and cuts the rows into tiles.
    ///
    /// # Errors
    /// `refused.parameters` when it opens and hands out nothing, one row already makes a message too large, or it has
    /// more rows than steps to number them.
    pub fn finish(self) -> Result<Plan, Fault> {
        if self.outputs == 0 {
            return Err(refused("a plan that opens nothing".into()));
        }
        let mut plan = Plan {
            parties: self.parties as u8,
            security: self.security,
            corrected: self.corrected as u8,
            rows: self.rows,
            tile: TILE_ROWS_MIN,
            nodes: self.nodes.clone(),
            once: Vec::new(),
            tiled: Vec::new(),
        };
        if plan.is_verified() {
            plan.nodes.iter().try_for_each(crate::verified::supports)?;
        }
        let verified = plan.is_verified();
        super::low::mark(&mut plan.nodes, verified);
        let (once, tiled) = (self.stages(&plan, false), self.stages(&plan, true));
        let least = TILE_ROWS_MIN as usize;
        let sent = plan.largest_sent(&once, 1).max(plan.largest_sent(&tiled, least));
        if sent > tacit_types::limits::MESSAGE_BYTES_MAX as u64 {
            return Err(refused(format!("a message of {sent} bytes")));
        }
        let dealt = plan.dealt_bytes(&once, 1).max(plan.dealt_bytes(&tiled, least));
        if dealt > DEALT_BYTES_MAX {
            return Err(refused(format!("{dealt} bytes are dealt for {least} rows, at most {DEALT_BYTES_MAX}")));
        }
        let least = plan.largest_message(&tiled, least);
        let widest = self.nodes.iter().filter(|n| n.rows.is_none()).map(|n| u64::from(n.cols)).max().unwrap_or(1);
        let fits = (TILE_BYTES / least.max(1)).min(VALUE_ELEMENTS_MAX / (widest * TILE_ROWS_MIN)).max(1);
        plan.tile = (fits * TILE_ROWS_MIN).min(TILE_ROWS_MAX);
        (plan.once, plan.tiled) = (once, tiled);
        if self.rows.div_ceil(plan.tile) >= 1 << 24 || plan.steps() >= 1 << 30 {
            return Err(refused(format!("{} rows in tiles of {}", self.rows, plan.tile)));
        }
        debug_assert!(plan.nodes.iter().all(|n| n.fx.b <= FX_BITS_MAX));
        Ok(plan)
    }
}
