//! What is computed on shares, and which number of it stands where.
//!
//! With p and q whether the first and the second owner have a usable row of an id, x and y their values and c and d whether
//! these carry, all zero where there is no row, every sum over the matched rows is an inner product of a column of the one
//! with a column of the other: p q of rows, x q, x x q and c q of the first's columns, p y, p y y and p d of the second's,
//! x y and c d of each pair. So a matrix product of masked operands gives all of them, and a multiplication for each id is
//! not needed. What is carried by fewer than the floor is taken out before it is handed out.

use std::sync::Arc;

use tacit_mpc::plan::{Num, Veiled};
use tacit_mpc::{Builder, Fx};
use tacit_types::{Fault, NodeId};

use super::params::{CrossParams, VALUE_BITS};
use crate::shares::Circuit;

/// Ids of one operand: the columns that a value of a plan may have.
const BLOCK: u64 = tacit_mpc::plan::VALUE_COLUMNS_MAX as u64;

/// What an input holds, of one block of ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// Whether there is a usable row.
    Present,
    /// Values of a column of the first owner, or of all columns of the second, row by row; as the next two.
    Values(usize),
    /// Their squares.
    Squares(usize),
    /// Whether they carry.
    Carries(usize),
}

/// The inputs of one owner in a block, in the order of the plan.
fn inputs(columns: usize, first: bool) -> Vec<Input> {
    let lists = if first { columns } else { 1 };
    let each = |i| [Input::Values(i), Input::Squares(i), Input::Carries(i)];
    core::iter::once(Input::Present).chain((0..lists).flat_map(each)).collect()
}

/// Where everything stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Columns of the first owner, and of the second.
    pub columns: [usize; 2],
    rows: u64,
}

impl Layout {
    pub fn new(params: &CrossParams) -> Self {
        let columns = |i: usize| params.owners.get(i).map_or(0, |o| o.columns.len());
        Self { columns: [columns(0), columns(1)], rows: params.rows }
    }

    /// Ids of each block: first and end.
    fn blocks(self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.rows.div_ceil(BLOCK)).map(move |b| (b * BLOCK, ((b + 1) * BLOCK).min(self.rows)))
    }

    /// What an input of an owner is: the first id of its block, and what it holds.
    pub fn input(self, owner: usize, number: u32) -> Option<(usize, Input)> {
        let lists = [inputs(self.columns[0], true), inputs(self.columns[1], false)];
        let each: usize = lists.iter().map(Vec::len).sum();
        let (block, at) = (number as usize / each, number as usize % each);
        let before = if owner == 0 { 0 } else { lists[0].len() };
        let input = lists.get(owner)?.get(at.checked_sub(before)?)?;
        Some((block * BLOCK as usize, *input))
    }

    /// Outputs in order, each of so many numbers: what a group's flags are of, then its sums.
    pub fn groups(self) -> Vec<(Group, usize, usize)> {
        let [a, b] = self.columns;
        let mut all = vec![(Group::Rows, 1, 1)];
        all.extend((0..a).map(|i| (Group::First(i), 1, 2)));
        all.push((Group::Second, b, 2));
        all.extend((0..a).map(|i| (Group::Pairs(i), b, 1)));
        all
    }

    /// Numbers that are handed out.
    pub fn numbers(self) -> u64 {
        self.groups().iter().map(|(_, width, sums)| (width * (1 + sums)) as u64).sum()
    }
}

/// Numbers that are told together, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    /// How many rows match.
    Rows,
    /// Sum and sum of squares of a column of the first owner.
    First(usize),
    /// The same of each column of the second.
    Second,
    /// The sum of products of a column of the first with each of the second.
    Pairs(usize),
}

/// The operands of one block.
struct Block {
    p: Veiled,
    /// Of each column of the first owner: values, squares, carries.
    first: Vec<[Veiled; 3]>,
    q: Veiled,
    /// Of all columns of the second.
    second: [Veiled; 3],
}

/// Bits that hold sums over all ids of numbers of so many bits, with a sign and room for one more.
fn sum_bits(rows: u64, bits: u32) -> u8 {
    // why: fewer than a hundred, by the limits of the parameters.
    (bits + rows.next_power_of_two().trailing_zeros() + 2) as u8
}

fn small(bits: u32) -> u8 {
    bits as u8 // why: fewer than a hundred.
}

/// The plan.
///
/// # Errors
/// `refused.overflow` and `refused.parameters` for more than a plan can hold.
pub(super) fn build(params: &CrossParams, dealer: NodeId, floor: u64) -> Result<Circuit, Fault> {
    let layout = Layout::new(params);
    let mut builder = tacit_mpc::Plan::builder(params.owners.len(), 0)?;
    let mut blocks = Vec::new();
    for (first, end) in layout.blocks() {
        blocks.push(block(&mut builder, layout, (end - first) as u32)?); // proof: no more than a block.
    }
    let mut outputs = Outputs { builder, blocks, rows: params.rows, floor };
    let [_, width] = layout.columns;
    for (group, ..) in layout.groups() {
        match group {
            Group::Rows => {
                let rows = outputs.sum(0, |b| (b.p, b.q))?;
                outputs.hand(rows, &[rows])?;
            }
            Group::First(i) => {
                let carriers = outputs.sum(0, |b| (b.first[i][2], b.q))?; // proof: as many as columns, here and below.
                let values = outputs.sum(VALUE_BITS, |b| (b.first[i][0], b.q))?;
                let squares = outputs.sum(2 * VALUE_BITS, |b| (b.first[i][1], b.q))?;
                outputs.hand(carriers, &[values, squares])?;
            }
            Group::Second if width > 0 => {
                let carriers = outputs.sum(0, |b| (b.p, b.second[2]))?;
                let values = outputs.sum(VALUE_BITS, |b| (b.p, b.second[0]))?;
                let squares = outputs.sum(2 * VALUE_BITS, |b| (b.p, b.second[1]))?;
                outputs.hand(carriers, &[values, squares])?;
            }
            Group::Second => {}
            Group::Pairs(i) => {
                let carriers = outputs.sum(0, |b| (b.first[i][2], b.second[2]))?;
                let products = outputs.sum(2 * VALUE_BITS, |b| (b.first[i][0], b.second[0]))?;
                outputs.hand(carriers, &[products])?;
            }
        }
    }
    let plan = Arc::new(outputs.builder.finish()?);
    let parties = params.owners.iter().map(|o| o.owner).collect();
    Ok(Circuit { plan, parties, dealer, numbers: layout.numbers() })
}

/// Inputs of a block in the order of [`Layout::input`]: a row of ids for each list of the first owner, a column for the second's.
fn block(builder: &mut Builder, layout: Layout, ids: u32) -> Result<Block, Fault> {
    let format = |input: Input| match input {
        Input::Present | Input::Carries(_) => Fx::new(0, 2),
        Input::Values(_) => Fx::new(0, small(VALUE_BITS + 2)),
        Input::Squares(_) => Fx::new(0, small(2 * VALUE_BITS + 2)),
    };
    let [a, b] = layout.columns;
    let mut rows = Vec::new();
    for input in inputs(a, true) {
        let known = builder.input_once(0, 1, ids, format(input)?)?;
        rows.push(builder.mask(known)?);
    }
    let mut columns = Vec::new();
    for input in inputs(b, false) {
        let cols = if input == Input::Present { 1 } else { b as u32 };
        let known = builder.input_once(1, ids, cols, format(input)?)?;
        columns.push(builder.mask(known)?);
    }
    // proof: one, and three for each list.
    let (first, second) = (rows[1..].as_chunks::<3>().0.to_vec(), [columns[1], columns[2], columns[3]]);
    Ok(Block { p: rows[0], first, q: columns[0], second })
}

struct Outputs {
    builder: Builder,
    blocks: Vec<Block>,
    rows: u64,
    floor: u64,
}

impl Outputs {
    /// A sum over all ids of products of so many bits.
    fn sum(&mut self, bits: u32, of: impl Fn(&Block) -> (Veiled, Veiled)) -> Result<Num, Fault> {
        let products: Vec<(Veiled, Veiled)> = self.blocks.iter().map(of).collect();
        self.builder.inner(&products, &[], sum_bits(self.rows, bits))
    }

    /// Hands out whether each is carried by enough rows, and the sums of those that are; zeroes for the others.
    fn hand(&mut self, carriers: Num, sums: &[Num]) -> Result<(), Fault> {
        // A floor that is above all rows is never met.
        let floor = self.floor.clamp(1, self.rows + 1);
        let enough = self.builder.at_least(carriers, floor as f64)?;
        let flag = self.builder.to_ring(enough)?;
        self.builder.hand(flag)?;
        for sum in sums {
            let told = self.builder.select(enough, *sum)?;
            self.builder.hand(told)?;
        }
        Ok(())
    }
}
