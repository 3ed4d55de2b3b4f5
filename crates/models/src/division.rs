//! A model divided among the owners of its features.
//!
//! Each party gets what it needs to evaluate its own features and nothing of the others'. Additive models and the first
//! layer of a network divide into sums. Trees divide into conditions: a party's conditions on the way to a leaf either
//! hold for a row or do not, which is one bit a leaf; the conjunction over the parties has exactly one bit set in each
//! tree. The weights of the leaves, the intercept and the later layers stay with the model's owner.

use tacit_types::{Code, Fault};

use crate::additive::{Shape, Term};
use crate::frame::Frame;
use crate::limits::OWNERS_MAX;
use crate::model::{Feature, Kind, Link, Meta, Model};
use crate::network::Layer;
use crate::part::{Condition, Conditions, Leaves, TreesPart, allowed};
use crate::tree::{Node, Precision, Tree};

/// The parts of a model, by party.
#[derive(Clone, PartialEq, Debug)]
pub struct Division {
    /// One part a party, in the order of the parties. A party without features has an empty part.
    pub parts: Vec<Part>,
    /// What stays with the model's owner.
    pub rest: Rest,
}

/// What one party evaluates.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Its features; a frame of the part has these columns.
    pub features: Vec<Feature>,
    /// What it does with them.
    pub local: Local,
}

/// What a party does with its features.
#[derive(Clone, PartialEq, Debug)]
pub enum Local {
    /// Adds terms; features are counted within the part.
    Sum(Vec<Term>),
    /// Answers a bit a leaf.
    Conditions {
        /// Width of the comparisons.
        precision: Precision,
        /// One list a tree.
        trees: Vec<Conditions>,
    },
    /// Multiplies by its rows of the first layer: inputs by outputs, row by row.
    Product {
        /// The rows of its features.
        weights: Vec<f64>,
        /// Number of outputs.
        outputs: usize,
    },
}

/// What stays with the model's owner.
#[derive(Clone, PartialEq, Debug)]
pub enum Rest {
    /// The intercept.
    Intercept(f64),
    /// The values of the leaves.
    Leaves(Leaves),
    /// The first layer's biases and activation, with no weights, and the later layers.
    Layers(Vec<Layer>),
}

impl Division {
    /// Divides a model. `owners` has the party of each feature, counted from 0 to `parties - 1`.
    ///
    /// # Errors
    /// `model.unsupported` for what is a part itself;
    /// `model.features` when there is another number of owners than of features or a party is out of range;
    /// `model.too_large` for more than [`OWNERS_MAX`] parties.
    pub fn new(model: &Model, owners: &[usize], parties: usize) -> Result<Self, Fault> {
        let features = model.features();
        if let Kind::Part(_) = model.kind() {
            return Err(Fault::new(Code::ModelUnsupported, "a part of a model is divided no further"));
        }
        if let Kind::Normed(_) = model.kind() {
            let what = "a norm is over all features of a row: its model is that of one owner and cannot be divided";
            return Err(Fault::new(Code::ModelUnsupported, what));
        }
        if parties > OWNERS_MAX {
            return Err(Fault::new(Code::ModelTooLarge, format!("{parties} parties; at most {OWNERS_MAX}")));
        }
        if owners.len() != features.len() {
            let what = format!("{} owners for {} features", owners.len(), features.len());
            return Err(Fault::new(Code::ModelFeatures, what));
        }
        let mut own: Vec<Vec<usize>> = vec![Vec::new(); parties];
        // Place of each feature within its part.
        let mut places = Vec::with_capacity(owners.len());
        for (feature, party) in owners.iter().enumerate() {
            let Some(list) = own.get_mut(*party) else {
                return Err(Fault::new(Code::ModelFeatures, format!("feature {feature}: party {party} of {parties}")));
            };
            // why: the number of features is bounded.
            places.push(list.len() as u32);
            list.push(feature);
        }
        let place = |feature: u32, party: usize| {
            let feature = feature as usize;
            (owners.get(feature) == Some(&party)).then(|| places.get(feature).copied()).flatten()
        };
        let parts = own.iter().enumerate().map(|(party, list)| Part {
            features: list.iter().filter_map(|f| features.get(*f).cloned()).collect(),
            local: local(model.kind(), list, |feature| place(feature, party)),
        });
        Ok(Self { parts: parts.collect(), rest: rest(model.kind()) })
    }

    /// The parts of an ensemble of trees as models of their own: one a party, the leaves' values in that of `holder`.
    ///
    /// # Errors
    /// `model.unsupported` for other kinds; `model.features` for another number of names than of parties, or a holder
    /// that is none of them.
    pub fn models(&self, link: Link, metas: &[Meta], holder: usize) -> Result<Vec<Model>, Fault> {
        let Rest::Leaves(leaves) = &self.rest else {
            return Err(Fault::new(Code::ModelUnsupported, "parts as models are those of trees"));
        };
        if metas.len() != self.parts.len() || holder >= metas.len() {
            let what = format!("{} names for {} parts, the leaves with number {holder}", metas.len(), self.parts.len());
            return Err(Fault::new(Code::ModelFeatures, what));
        }
        let model = |(i, (part, meta)): (usize, (&Part, &Meta))| {
            let Local::Conditions { precision, trees } = &part.local else {
                return Err(Fault::new(Code::ModelUnsupported, "parts as models are those of trees"));
            };
            let leaves = (i == holder).then(|| leaves.clone());
            let kind = Kind::Part(TreesPart { precision: *precision, trees: trees.clone(), leaves });
            Model::new(meta.clone(), part.features.clone(), link, kind)
        };
        self.parts.iter().zip(metas).enumerate().map(model).collect()
    }
}

/// What a party does; `place` gives the place of its features within its part.
fn local(kind: &Kind, own: &[usize], place: impl Fn(u32) -> Option<u32>) -> Local {
    match kind {
        Kind::Additive(additive) => {
            let mine = |t: &Term| place(t.feature).map(|feature| Term { feature, shape: t.shape.clone() });
            Local::Sum(additive.terms.iter().filter_map(mine).collect())
        }
        // proof: refused before.
        Kind::Normed(_) => Local::Sum(Vec::new()),
        Kind::Trees(trees) => Local::Conditions {
            precision: trees.precision,
            trees: trees.trees.iter().map(|tree| conditions(tree, &place)).collect(),
        },
        Kind::Part(part) => Local::Conditions { precision: part.precision, trees: part.trees.clone() },
        Kind::Network(network) => {
            let outputs = network.layers.first().map_or(0, Layer::outputs);
            let all = network.layers.first().map_or(&[][..], |l| &l.weights);
            let row = |f: &usize| all.get(f * outputs..(f + 1) * outputs).unwrap_or_default();
            Local::Product { weights: own.iter().flat_map(row).copied().collect(), outputs }
        }
    }
}

fn rest(kind: &Kind) -> Rest {
    match kind {
        Kind::Additive(additive) => Rest::Intercept(additive.intercept),
        Kind::Normed(normed) => Rest::Intercept(normed.intercept),
        Kind::Trees(trees) => Rest::Leaves(Leaves {
            base: trees.base,
            factor: trees.leaf_factor(),
            trees: trees.trees.iter().map(|t| t.leaves().collect()).collect(),
        }),
        // A part is divided no further.
        Kind::Part(part) => Rest::Leaves(part.leaves.clone().unwrap_or_default()),
        Kind::Network(network) => {
            let mut layers = network.layers.clone();
            if let Some(first) = layers.first_mut() {
                first.weights.clear();
            }
            Rest::Layers(layers)
        }
    }
}

/// A party's conditions of a tree.
fn conditions(tree: &Tree, place: impl Fn(u32) -> Option<u32>) -> Conditions {
    // Leaves before each node, in preorder: the leaves below a node are neighbours.
    let mut before = Vec::with_capacity(tree.nodes.len() + 1);
    let mut leaves = 0u32;
    for node in &tree.nodes {
        before.push(leaves);
        leaves += u32::from(matches!(node, Node::Leaf(_)));
    }
    before.push(leaves);
    let at = |node: usize| before.get(node).copied().unwrap_or(leaves);
    // Where the subtrees of open splits end, innermost last.
    let mut ends: Vec<usize> = vec![tree.nodes.len()];
    let mut splits = Vec::new();
    for (i, node) in tree.nodes.iter().enumerate() {
        while ends.len() > 1 && ends.last() == Some(&i) {
            ends.pop();
        }
        let Node::Split(split) = node else { continue };
        let (second, end) = (split.no as usize, ends.last().copied().unwrap_or(tree.nodes.len()));
        if let Some(feature) = place(split.feature) {
            let (yes, no) = (at(i + 1)..at(second), at(second)..at(end));
            splits.push(Condition { feature, test: split.test.clone(), missing: split.missing, yes, no });
        }
        // The first branch ends where the second begins.
        ends.push(second);
    }
    Conditions { leaves, splits }
}

/// One bit a leaf of every tree, for some rows: 1 where a party's conditions allow the leaf. Row by row, trees one
/// after the other without gaps, the lowest bit of the first word first; each row begins with a new word.
#[derive(Clone, PartialEq, Eq)]
pub struct LeafBits {
    words_per_row: usize,
    words: Vec<u64>,
}

impl LeafBits {
    /// The words of a row.
    pub fn row(&self, row: usize) -> &[u64] {
        self.words.get(row * self.words_per_row..(row + 1) * self.words_per_row).unwrap_or_default()
    }

    /// Words of each row.
    pub fn words_per_row(&self) -> usize {
        self.words_per_row
    }

    /// Whether the leaf of that number is allowed.
    pub fn bit(&self, row: usize, leaf: usize) -> bool {
        self.row(row).get(leaf / 64).is_some_and(|word| word >> (leaf % 64) & 1 == 1)
    }

    /// The conjunction with another party's bits of the same shape.
    pub fn and(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }
}

impl Part {
    /// The bits of each row of a frame of this part; `None` when the model is not of trees.
    ///
    /// # Errors
    /// `model.input` for a frame of another number of features.
    pub fn leaf_bits(&self, frame: &Frame) -> Result<Option<LeafBits>, Fault> {
        self.fits(frame)?;
        let Local::Conditions { precision, trees } = &self.local else { return Ok(None) };
        let leaves: usize = trees.iter().map(|t| t.leaves as usize).sum();
        let words_per_row = leaves.div_ceil(64);
        let mut words = vec![0u64; words_per_row * frame.rows()];
        for (row, words) in words.chunks_exact_mut(words_per_row.max(1)).enumerate() {
            allowed(*precision, trees, |feature| frame.value(row, feature), words);
        }
        Ok(Some(LeafBits { words_per_row, words }))
    }

    /// What this part adds to each row: one number a row for an additive model, one an output of the first layer for a
    /// network, row by row; `None` when the model is of trees.
    ///
    /// # Errors
    /// `model.input` for a frame of another number of features; `model.value_missing`.
    pub fn partial(&self, frame: &Frame) -> Result<Option<Vec<f64>>, Fault> {
        self.fits(frame)?;
        let missing = |row: usize, feature: u32| {
            let name = self.features.get(feature as usize).map_or("", |f| f.name.as_str());
            Fault::new(Code::ModelValueMissing, format!("row {row}, feature {name:?}"))
        };
        match &self.local {
            Local::Conditions { .. } => Ok(None),
            Local::Sum(terms) => {
                let row = |row: usize| {
                    terms.iter().try_fold(0.0, |sum, term: &Term| {
                        let value = term.shape.value(frame.value(row, term.feature));
                        value.map(|v| sum + v).ok_or_else(|| missing(row, term.feature))
                    })
                };
                (0..frame.rows()).map(row).collect::<Result<_, _>>().map(Some)
            }
            Local::Product { weights, outputs } => {
                let mut all = vec![0.0; frame.rows() * outputs];
                for (row, sums) in all.chunks_exact_mut((*outputs).max(1)).enumerate() {
                    for (feature, weights) in (0u32..).zip(weights.chunks_exact((*outputs).max(1))) {
                        let value = frame.value(row, feature);
                        if value.is_nan() {
                            return Err(missing(row, feature));
                        }
                        sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += value * w);
                    }
                }
                Ok(Some(all))
            }
        }
    }

    fn fits(&self, frame: &Frame) -> Result<(), Fault> {
        if frame.features() == self.features.len() {
            return Ok(());
        }
        let what = format!("{} features where the part has {}", frame.features(), self.features.len());
        Err(Fault::new(Code::ModelInput, what))
    }

    /// The greatest magnitude of what this part adds, where the ranges of its features bound it.
    pub fn bound(&self) -> Option<f64> {
        let Local::Sum(terms) = &self.local else { return None };
        let range = |t: &Term| self.features.get(t.feature as usize).and_then(|f| f.range);
        terms.iter().map(|t| Shape::bound(&t.shape, range(t))).sum()
    }
}
