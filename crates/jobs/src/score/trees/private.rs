//! A private ensemble on shares.
//!
//! Trees run in groups whose leaves fill whole words. For each group: what its splits ask, as the product of features
//! and a matrix of ones; the bits of the comparisons; for each leaf how many splits of its way agree, as a product
//! again, and whether all do; and the sum of what such leaves are worth.

use std::sync::Arc;

use tacit_models::hidden::{HiddenLeaf, HiddenSplit, HiddenTree};
use tacit_models::{Feature, HiddenTrees, TreesShape};
use tacit_mpc::plan::{Bits, Num, Veiled};
use tacit_types::{Code, Columns, Fault, NodeId};

use super::split::ERROR;
use super::{Input, TreesParams};
use crate::kind::{Fold, Parts};
use crate::score::brings::{self, Brings, Reader, read};
use crate::score::circuit::{Circuit, Draft, Scale, bits_above, features, fx};
use crate::score::keys::Wanted;
use crate::score::linear::{error, held, no_part, only_features_of_its_own};
use crate::score::params::OwnerColumns;
use crate::score::rows::Kept;
use crate::score::shared::{Values, not_ours, put};

/// A private ensemble on shares.
#[derive(Clone)]
pub(super) struct PrivateTrees {
    pub circuit: Arc<Circuit<Input>>,
    shape: Arc<TreesShape>,
    groups: Groups,
    model: NodeId,
}

/// How trees are cut into groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Groups {
    /// Trees of a group, the last one's filled up with trees of nothing.
    trees: usize,
    /// Leaves of a tree.
    leaves: usize,
    count: usize,
}

impl Groups {
    fn new(trees: usize, leaves: usize) -> Self {
        let each = if leaves < 64 { 64 / leaves } else { 1 };
        Self { trees: each, leaves, count: trees.div_ceil(each) }
    }

    /// Splits of a group.
    fn splits(self) -> usize {
        self.trees * (self.leaves - 1)
    }

    /// Leaves of a group.
    fn all(self) -> usize {
        self.trees * self.leaves
    }
}

/// An owner's features.
pub(super) fn features_of(columns: &OwnerColumns) -> Vec<Feature> {
    let none = Vec::new();
    let lists = columns.categories.iter().chain(core::iter::repeat(&none));
    let feature = |(name, list): (&String, &Vec<String>)| match list.as_slice() {
        [] => Feature::numeric(name),
        list => Feature::categorical(name, list.to_vec()),
    };
    columns.features.iter().zip(lists).map(feature).collect()
}

impl PrivateTrees {
    /// Plans a job whose parameters were checked, and fit its parts.
    ///
    /// # Errors
    /// `refused.parameters`; `refused.overflow` or `model.precision` when bound, trees and error do not fit 64 bits.
    pub fn new(params: &TreesParams, parts: &Parts<'_>) -> Result<Self, Fault> {
        let score = &params.score;
        let model = parts.models.first().map(|m| m.owner).ok_or_else(no_part)?;
        let library = params.library.ok_or_else(no_part)?;
        if score.owners.iter().all(|o| o.owner == model || o.features.is_empty()) {
            return Err(only_features_of_its_own());
        }
        let units = Scale::units(score);
        let size = (params.trees as usize, params.leaves as usize);
        let bound = score.bound.map_or(0.0, |b| b.to_f64()) * units;
        let all = score.owners.iter().flat_map(features_of).collect();
        let shape = TreesShape::new(all, library.rules(), size, bound, error(score, ERROR))?;
        let groups = Groups::new(size.0, size.1);
        let draft = Draft::new(score, parts, Some(model))?;
        let mut plan = Writing { draft, shape: &shape, groups, model };
        let margin = plan.margin()?;
        let mut draft = plan.draft;
        let less = draft.less(margin)?;
        draft.hand(less)?;
        let circuit = draft.finish(Scale { fraction_bits: shape.sum.bits, units });
        let circuit = Arc::new(circuit.map_err(|fault| too_large(params, fault))?);
        Ok(Self { circuit, shape: Arc::new(shape), groups, model })
    }

    /// The local half.
    ///
    /// # Errors
    /// `refused.parties`; `refused.model` and `model.*` when the model is none of this job's.
    pub fn fold(
        &self,
        params: &TreesParams,
        me: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault> {
        let score = &params.score;
        brings::fold(score, &self.circuit, me, wanted, || {
            let columns = score.columns(me);
            let trees = match self.model == *me {
                true => Some(self.shape.weights(&held(model)?, self.circuit.scale.units)?),
                false => None,
            };
            let place = score.owners.iter().position(|o| o.owner == *me);
            let firsts = (0..=score.owners.len()).map(|o| self.shape.columns(features(score, o).0).start).collect();
            Ok(PrivateParty {
                shape: self.shape.clone(),
                groups: self.groups,
                firsts,
                first: place.map_or(0, |place| features(score, place).0),
                key: columns.map(|c| c.key.clone()),
                features: columns.map(features_of).unwrap_or_default(),
                trees,
            })
        })
    }
}

/// What to do about an ensemble that is more than a job can hold.
fn too_large(params: &TreesParams, fault: Fault) -> Fault {
    if fault.code != Code::RefusedParameters {
        return fault;
    }
    let verified = if params.score.verified.is_some() { ", leave `verified` out" } else { "" };
    let what = format!(
        "{} private trees of {} leaves are too many for a job: {}; divide the ensemble among the owners of its features \
         (`tacit model divide`){verified}, or bring fewer trees",
        params.trees, params.leaves, fault.what
    );
    Fault::new(fault.code, what)
}

/// The plan in the making.
struct Writing<'a> {
    draft: Draft<'a, Input>,
    shape: &'a TreesShape,
    groups: Groups,
    model: NodeId,
}

impl Writing<'_> {
    /// The columns of an owner's features.
    fn columns(&self, owner: usize) -> u32 {
        let (first, count) = features(self.draft.params, owner);
        // why: as many as the job's bytes can name.
        (self.shape.columns(first + count).start - self.shape.columns(first).start) as u32
    }

    fn margin(&mut self) -> Result<Num, Fault> {
        let column = fx(0, self.shape.rules().bits())?;
        let mut brought = Vec::new();
        for (i, owner) in (0u32..).zip(&self.draft.params.owners) {
            let count = self.columns(i as usize);
            if owner.owner != self.model && count > 0 {
                brought.push((i, count, self.draft.masked(&owner.owner, Input::Columns, None, count, column)?));
            }
        }
        let sum = self.shape.sum;
        let value = fx(sum.bits, sum.bits + bits_above(sum.bound))?;
        let mut chosen = Vec::new();
        for group in 0..self.groups.count as u32 {
            let reached = self.reached(group, &brought)?;
            let rows = Some(self.groups.all() as u32);
            let weights = self.draft.masked(&self.model.clone(), Input::Values(group), rows, 1, value)?;
            chosen.push(self.draft.builder.select_weights(reached, weights)?);
        }
        chosen.push(self.draft.shared(&self.model.clone(), Input::Base, Some(1), 1, value)?);
        // One leaf a tree is reached, so that the sum is within the bound.
        self.draft.builder.inner(&[], &chosen, value.b)
    }

    /// Which leaves of a group are reached.
    fn reached(&mut self, group: u32, brought: &[(u32, u32, Veiled)]) -> Result<Bits, Fault> {
        let (splits, leaves) = (self.groups.splits() as u32, self.groups.all() as u32);
        let (model, unit) = (self.model, fx(0, 2)?);
        let wide = fx(0, self.shape.rules().bits() + 1)?;
        let mut products = Vec::new();
        for (owner, columns, features) in brought {
            let choice = self.draft.masked(&model, Input::Choice(*owner, group), Some(*columns), splits, unit)?;
            products.push((*features, choice));
        }
        let narrow = fx(0, self.shape.rules().bits())?;
        let rest = match self.draft.params.columns(&model) {
            Some(_) => self.draft.shared(&model, Input::Own(group), None, splits, wide)?,
            None => self.draft.shared(&model, Input::Thresholds(group), Some(1), splits, narrow)?,
        };
        // Each split asks one feature: its columns have one factor that is not zero, or a category's ones.
        let asked = self.draft.builder.inner(&products, &[rest], wide.b)?;
        let holds = self.draft.builder.less_than(asked, 0.0)?;
        let holds = self.draft.builder.to_ring(holds)?;
        let holds = self.draft.builder.mask_share(holds)?;
        let ways = self.draft.masked(&model, Input::Ways(group), Some(splits), leaves, unit)?;
        let agree = fx(0, bits_above(self.groups.leaves as f64) + 1)?;
        let lengths = self.draft.shared(&model, Input::Lengths(group), Some(1), leaves, agree)?;
        let short = self.draft.builder.inner(&[(holds, ways)], &[lengths], agree.b)?;
        self.draft.builder.at_least(short, 0.0)
    }
}

/// What a party brings: the features of its rows, the ensemble, or both; nothing at the dealer.
struct PrivateParty {
    shape: Arc<TreesShape>,
    groups: Groups,
    /// The first column of each owner, and their number.
    firsts: Vec<usize>,
    /// The first of this owner's features among all.
    first: usize,
    key: Option<String>,
    features: Vec<Feature>,
    trees: Option<HiddenTrees>,
}

impl Brings for PrivateParty {
    type Input = Input;
    type Cell = f64;

    fn kept(&self) -> Option<(&str, usize)> {
        self.key.as_deref().map(|key| (key, self.features.len()))
    }

    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, f64>, Fault> {
        read(&self.features, batch, |_, value| Some(value))
    }

    /// A row that is not there is one without values.
    fn absent(&self, _: usize) -> f64 {
        f64::NAN
    }

    fn values(self: Arc<Self>, kept: Option<Kept<f64>>) -> Box<dyn Values<Input>> {
        Box::new(PrivateValues { party: self, kept })
    }
}

impl PrivateParty {
    /// The splits of a group, each with its place in it.
    fn splits(&self, group: u32) -> impl Iterator<Item = (usize, &HiddenSplit)> {
        let each = self.groups.leaves - 1;
        self.trees(group).flat_map(move |(t, tree)| tree.splits.iter().enumerate().map(move |(s, x)| (t * each + s, x)))
    }

    /// The trees of a group, each with its place in it.
    fn trees(&self, group: u32) -> impl Iterator<Item = (usize, &HiddenTree)> {
        let all = self.trees.as_ref().map_or(&[][..], |t| &t.trees);
        all.iter().skip(group as usize * self.groups.trees).take(self.groups.trees).enumerate()
    }

    /// The leaves of a group, each with its place in it and the place of its tree's first split.
    fn leaves(&self, group: u32) -> impl Iterator<Item = (usize, usize, &HiddenLeaf)> {
        let each = self.groups.leaves;
        self.trees(group).flat_map(move |(t, tree)| {
            tree.leaves.iter().enumerate().map(move |(l, x)| (t * each + l, t * (each - 1), x))
        })
    }
}

struct PrivateValues {
    party: Arc<PrivateParty>,
    kept: Option<Kept<f64>>,
}

impl PrivateValues {
    /// This owner's columns of a row.
    fn columns(&self, row: usize) -> Result<Vec<i64>, Fault> {
        let cells = self.kept.as_ref().ok_or_else(not_ours)?.row(row);
        let (shape, first) = (&self.party.shape, self.party.first);
        let start = shape.columns(first).start;
        let mut out = vec![0; shape.columns(first + cells.len()).start - start];
        for (i, value) in cells.iter().enumerate() {
            let at = shape.columns(first + i);
            if let Some(slots) = out.get_mut(at.start - start..at.end - start) {
                shape.encode(first + i, *value, slots);
            }
        }
        Ok(out)
    }
}

/// Writes a number in its place.
fn set(out: &mut [u64], at: usize, value: i64) {
    if let Some(slot) = out.get_mut(at) {
        *slot = value as u64;
    }
}

impl Values<Input> for PrivateValues {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        let party = self.party.clone();
        let (splits, leaves) = (party.groups.splits(), party.groups.all());
        // Padding: no split is asked, no leaf reached, nothing worth anything.
        out.fill(0);
        match input {
            Input::Columns => {
                let count = self.columns(row)?.len().max(1);
                for (i, words) in out.chunks_exact_mut(count).enumerate() {
                    put(words, &mut self.columns(row + i)?.into_iter())?;
                }
            }
            Input::Choice(owner, group) => {
                let at = |o: u32| party.firsts.get(o as usize).copied().unwrap_or_default();
                let own = at(owner)..at(owner + 1);
                for (place, split) in party.splits(group) {
                    for (column, factor) in split.terms.iter().filter(|(c, _)| own.contains(&(*c as usize))) {
                        set(out, (*column as usize - own.start) * splits + place, *factor);
                    }
                }
            }
            Input::Thresholds(group) => party.splits(group).for_each(|(place, s)| set(out, place, -s.threshold)),
            Input::Own(group) => {
                let start = party.shape.columns(party.first).start;
                for (i, words) in out.chunks_exact_mut(splits).enumerate() {
                    let columns = self.columns(row + i)?;
                    for (place, split) in party.splits(group) {
                        let own = |(c, factor): &(u32, i64)| {
                            (*c as usize).checked_sub(start).and_then(|c| columns.get(c)).map_or(0, |x| x * factor)
                        };
                        set(words, place, split.terms.iter().map(own).sum::<i64>() - split.threshold);
                    }
                }
            }
            Input::Ways(group) => {
                for (place, first, leaf) in party.leaves(group) {
                    for (split, holds) in &leaf.way {
                        set(out, (first + *split as usize) * leaves + place, if *holds { 1 } else { -1 });
                    }
                }
            }
            Input::Lengths(group) => {
                out.fill(-1i64 as u64);
                for (place, _, leaf) in party.leaves(group) {
                    let holding = leaf.way.iter().filter(|(_, holds)| *holds).count();
                    set(out, place, -i64::try_from(holding).unwrap_or(i64::MAX));
                }
            }
            Input::Values(group) => party.leaves(group).for_each(|(place, _, leaf)| set(out, place, leaf.value)),
            Input::Base => set(out, 0, party.trees.as_ref().ok_or_else(not_ours)?.base),
            Input::Allowed => return Err(not_ours()),
        }
        Ok(())
    }
}
