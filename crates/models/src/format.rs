//! The own form of a model: deterministic CBOR, version 1. One model has one encoding, and its hash is over that.
//!
//! Floats travel as their bits in byte strings, so the round trip is exact to the bit and no encoder chooses a width.
//! Lists of numbers are byte strings too: what is decoded is never larger than a small multiple of what was sent.

use minicbor::bytes::ByteVec;
use minicbor::data::Token;
use minicbor::decode::Tokenizer;
use tacit_crypto::{Transcript, cbor};
use tacit_types::{Code, Fault, Hash, Name, NodeId};

use crate::additive::{Additive, Shape, Term};
use crate::limits::MODEL_BYTES_MAX;
use crate::model::{Feature, FeatureKind, Kind, Link, Meta, Model};
use crate::network::{Activation, Layer, Network};
use crate::normed::{Norm, Normed, NormedColumn};
use crate::part_form::PartForm;
use crate::tree::{Missing, Node, Precision, Split, Test, Tree, Trees};

/// The version of the form that this software writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// Features, categories, trees, terms and layers together: each is far larger in memory than the fewest bytes of it.
pub const ITEMS_MAX: u64 = 1 << 19;
/// The label under which a model is hashed.
pub const HASH_LABEL: &str = "tacit-model/1";

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct Form {
    #[n(1)]
    version: u32,
    #[n(2)]
    owner: NodeId,
    #[n(3)]
    name: Name,
    #[n(4)]
    number: u32,
    #[n(5)]
    features: Vec<FeatureForm>,
    /// 0 identity, 1 logistic, 2 exponential.
    #[n(6)]
    link: u8,
    /// The slope of the logistic link, and nothing else.
    #[n(7)]
    slope: Option<u64>,
    #[n(8)]
    additive: Option<AdditiveForm>,
    #[n(9)]
    trees: Option<TreesForm>,
    #[n(10)]
    network: Option<Vec<LayerForm>>,
    #[n(11)]
    part: Option<PartForm>,
    #[n(12)]
    normed: Option<NormedForm>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct FeatureForm {
    #[n(1)]
    name: String,
    #[n(2)]
    categories: Option<Vec<String>>,
    /// Two doubles.
    #[n(3)]
    range: Option<ByteVec>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct AdditiveForm {
    #[n(1)]
    intercept: u64,
    #[n(2)]
    terms: Vec<TermForm>,
}

/// Columns by what they hold.
#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct NormedForm {
    /// 0 the greatest, 1 the sum of magnitudes, 2 the root of the sum of squares.
    #[n(1)]
    norm: u8,
    #[n(2)]
    intercept: u64,
    /// Four bytes a column.
    #[n(3)]
    features: ByteVec,
    /// Offset, scale and weight of each column.
    #[n(4)]
    numbers: ByteVec,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct TermForm {
    #[n(1)]
    feature: u32,
    /// 0 linear, 1 bins, 2 categories.
    #[n(2)]
    shape: u8,
    /// The weight, or the points.
    #[n(3)]
    points: ByteVec,
    #[n(4)]
    edges: Option<ByteVec>,
    #[n(5)]
    missing: Option<u64>,
    #[n(6)]
    other: Option<u64>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct TreesForm {
    #[n(1)]
    double: bool,
    #[n(2)]
    base: u64,
    #[n(3)]
    average: bool,
    #[n(4)]
    trees: Vec<TreeForm>,
}

/// A tree by columns. A split has its number of categories, or its threshold, in `values`.
#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct TreeForm {
    /// One byte a node: 0 leaf, 1 below, 2 at most, 3 one of; plus 16 times the rule for missing values.
    #[n(1)]
    kinds: ByteVec,
    /// Four bytes a split.
    #[n(2)]
    features: ByteVec,
    /// Four bytes a split: the place of the second branch.
    #[n(3)]
    seconds: ByteVec,
    /// Eight bytes a node: a leaf's value, a threshold, or the number of categories as an integer.
    #[n(4)]
    values: ByteVec,
    /// Four bytes a category, all sets one after the other.
    #[n(5)]
    sets: ByteVec,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct LayerForm {
    #[n(1)]
    weights: ByteVec,
    #[n(2)]
    bias: ByteVec,
    /// 0 identity, 1 ReLU, 2 logistic, 3 tanh.
    #[n(3)]
    activation: u8,
}

pub(crate) fn malformed(what: &str) -> Fault {
    Fault::new(Code::ModelMalformed, what)
}

pub(crate) fn doubles(list: &[f64]) -> ByteVec {
    list.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect::<Vec<u8>>().into()
}

pub(crate) fn read_doubles(bytes: &[u8], what: &str) -> Result<Vec<f64>, Fault> {
    let (chunks, []) = bytes.as_chunks::<8>() else {
        return Err(malformed(&format!("{what}: not a whole number of doubles")));
    };
    Ok(chunks.iter().map(|c| f64::from_bits(u64::from_le_bytes(*c))).collect())
}

pub(crate) fn words(list: impl Iterator<Item = u32>) -> ByteVec {
    list.flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

pub(crate) fn read_words(bytes: &[u8], what: &str) -> Result<Vec<u32>, Fault> {
    let (chunks, []) = bytes.as_chunks::<4>() else {
        return Err(malformed(&format!("{what}: not a whole number of words")));
    };
    Ok(chunks.iter().map(|c| u32::from_le_bytes(*c)).collect())
}

impl Model {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&Form::from(self))
    }

    /// The hash under which the model is known: labelled SHA-256 of the canonical bytes.
    pub fn hash(&self) -> Hash {
        Transcript::new(HASH_LABEL).bytes(&self.encode()).finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// `model.too_large` over the cap, `model.malformed` for what is not canonical, `model.version` for another
    /// version, and those of [`Model::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > MODEL_BYTES_MAX {
            let what = format!("{} bytes; at most {MODEL_BYTES_MAX}", bytes.len());
            return Err(Fault::new(Code::ModelTooLarge, what));
        }
        if list_items(bytes) > ITEMS_MAX {
            return Err(Fault::new(Code::ModelTooLarge, format!("more than {ITEMS_MAX} items in its lists")));
        }
        let form: Form = cbor::decode(bytes).map_err(malformed)?;
        if form.version != FORMAT_VERSION {
            let what = format!("version {}; this software reads {FORMAT_VERSION}", form.version);
            return Err(Fault::new(Code::ModelVersion, what));
        }
        form.read()
    }
}

/// Items that the lists of some bytes announce, before any is read.
fn list_items(bytes: &[u8]) -> u64 {
    let arrays = Tokenizer::new(bytes).map_while(Result::ok).filter_map(|token| match token {
        Token::Array(n) => Some(n),
        _ => None,
    });
    arrays.fold(0, u64::saturating_add)
}

impl From<&Model> for Form {
    fn from(model: &Model) -> Self {
        let meta = model.meta();
        let (link, slope) = match model.link() {
            Link::Identity => (0, None),
            Link::Logistic { slope } => (1, Some(slope.to_bits())),
            Link::Exp => (2, None),
        };
        let mut form = Self {
            version: FORMAT_VERSION,
            owner: meta.owner,
            name: meta.name.clone(),
            number: meta.version,
            features: model.features().iter().map(FeatureForm::from).collect(),
            link,
            slope,
            additive: None,
            trees: None,
            network: None,
            part: None,
            normed: None,
        };
        match model.kind() {
            Kind::Additive(additive) => form.additive = Some(additive.into()),
            Kind::Normed(normed) => form.normed = Some(normed.into()),
            Kind::Trees(trees) => form.trees = Some(trees.into()),
            Kind::Network(network) => form.network = Some(network.layers.iter().map(LayerForm::from).collect()),
            Kind::Part(part) => form.part = Some(part.into()),
        }
        form
    }
}

impl Form {
    fn read(self) -> Result<Model, Fault> {
        let link = match (self.link, self.slope) {
            (0, None) => Link::Identity,
            (1, Some(slope)) => Link::Logistic { slope: f64::from_bits(slope) },
            (2, None) => Link::Exp,
            _ => return Err(malformed("an unknown link")),
        };
        let kind = match (self.additive, self.trees, self.network, self.part, self.normed) {
            (Some(additive), None, None, None, None) => Kind::Additive(additive.read()?),
            (None, Some(trees), None, None, None) => Kind::Trees(trees.read()?),
            (None, None, None, Some(part), None) => Kind::Part(part.read()?),
            (None, None, None, None, Some(normed)) => Kind::Normed(normed.read()?),
            (None, None, Some(layers), None, None) => {
                let layers = layers.into_iter().map(LayerForm::read).collect::<Result<_, _>>()?;
                Kind::Network(Network { layers })
            }
            _ => return Err(malformed("a model is of exactly one kind")),
        };
        let features = self.features.into_iter().map(FeatureForm::read).collect::<Result<_, _>>()?;
        Model::new(Meta { owner: self.owner, name: self.name, version: self.number }, features, link, kind)
    }
}

impl From<&Feature> for FeatureForm {
    fn from(feature: &Feature) -> Self {
        let categories = match &feature.kind {
            FeatureKind::Numeric => None,
            FeatureKind::Categorical(list) => Some(list.clone()),
        };
        Self { name: feature.name.clone(), categories, range: feature.range.map(|(a, b)| doubles(&[a, b])) }
    }
}

impl FeatureForm {
    fn read(self) -> Result<Feature, Fault> {
        let range = match self.range.map(|r| read_doubles(&r, "a range")).transpose()?.as_deref() {
            None => None,
            Some([a, b]) => Some((*a, *b)),
            Some(_) => return Err(malformed("a range is two doubles")),
        };
        let kind = self.categories.map_or(FeatureKind::Numeric, FeatureKind::Categorical);
        Ok(Feature { name: self.name, kind, range })
    }
}

impl From<&Additive> for AdditiveForm {
    fn from(additive: &Additive) -> Self {
        let terms = additive.terms.iter().map(|term| {
            let (shape, points, edges, missing, other) = match &term.shape {
                Shape::Linear { weight, missing } => (0, doubles(&[*weight]), None, missing, None),
                Shape::Bins { edges, points, missing } => (1, doubles(points), Some(doubles(edges)), missing, None),
                Shape::Categories { points, other, missing } => (2, doubles(points), None, missing, *other),
            };
            let bits = |v: f64| v.to_bits();
            TermForm { feature: term.feature, shape, points, edges, missing: missing.map(bits), other: other.map(bits) }
        });
        Self { intercept: additive.intercept.to_bits(), terms: terms.collect() }
    }
}

impl AdditiveForm {
    fn read(self) -> Result<Additive, Fault> {
        let terms = self.terms.into_iter().map(TermForm::read).collect::<Result<_, _>>()?;
        Ok(Additive { intercept: f64::from_bits(self.intercept), terms })
    }
}

impl From<&Normed> for NormedForm {
    fn from(normed: &Normed) -> Self {
        let numbers: Vec<f64> = normed.columns.iter().flat_map(|c| [c.offset, c.scale, c.weight]).collect();
        Self {
            norm: match normed.norm {
                Norm::Max => 0,
                Norm::L1 => 1,
                Norm::L2 => 2,
            },
            intercept: normed.intercept.to_bits(),
            features: words(normed.columns.iter().map(|c| c.feature)),
            numbers: doubles(&numbers),
        }
    }
}

impl NormedForm {
    fn read(self) -> Result<Normed, Fault> {
        let norm = match self.norm {
            0 => Norm::Max,
            1 => Norm::L1,
            2 => Norm::L2,
            _ => return Err(malformed("an unknown norm")),
        };
        let (features, numbers) = (read_words(&self.features, "features")?, read_doubles(&self.numbers, "columns")?);
        let (numbers, rest) = numbers.as_chunks::<3>();
        if !rest.is_empty() || numbers.len() != features.len() {
            return Err(malformed("columns under a norm that are not of one length"));
        }
        let columns = features.into_iter().zip(numbers);
        let columns = columns.map(|(feature, [offset, scale, weight])| NormedColumn {
            feature,
            offset: *offset,
            scale: *scale,
            weight: *weight,
        });
        Ok(Normed { norm, intercept: f64::from_bits(self.intercept), columns: columns.collect() })
    }
}

impl TermForm {
    fn read(self) -> Result<Term, Fault> {
        let points = read_doubles(&self.points, "points")?;
        let edges = self.edges.map(|e| read_doubles(&e, "edges")).transpose()?;
        let (missing, other) = (self.missing.map(f64::from_bits), self.other.map(f64::from_bits));
        let shape = match (self.shape, points.as_slice(), edges, other) {
            (0, [weight], None, None) => Shape::Linear { weight: *weight, missing },
            (1, _, Some(edges), None) => Shape::Bins { edges, points, missing },
            (2, _, None, other) => Shape::Categories { points, other, missing },
            _ => return Err(malformed("a term of no known shape")),
        };
        Ok(Term { feature: self.feature, shape })
    }
}

impl From<&Trees> for TreesForm {
    fn from(trees: &Trees) -> Self {
        Self {
            double: trees.precision == Precision::Double,
            base: trees.base.to_bits(),
            average: trees.average,
            trees: trees.trees.iter().map(TreeForm::from).collect(),
        }
    }
}

impl TreesForm {
    fn read(self) -> Result<Trees, Fault> {
        Ok(Trees {
            precision: if self.double { Precision::Double } else { Precision::Single },
            base: f64::from_bits(self.base),
            average: self.average,
            trees: self.trees.into_iter().map(TreeForm::read).collect::<Result<_, _>>()?,
        })
    }
}

/// The rules for missing values, by number.
pub(crate) const MISSING: [Missing; 5] = [Missing::Yes, Missing::No, Missing::Zero, Missing::ZeroYes, Missing::ZeroNo];

/// The byte of a split: its test, and 16 times its rule for missing values.
pub(crate) fn split_byte(test: &Test, missing: Missing) -> u8 {
    // why: the list has every rule.
    let rule = MISSING.iter().position(|m| *m == missing).unwrap_or_default() as u8;
    let test = match test {
        Test::Below(_) => 1,
        Test::AtMost(_) => 2,
        Test::OneOf(_) => 3,
    };
    test + 16 * rule
}

/// The eight bytes of a split: its threshold, or the number of its categories.
pub(crate) fn split_value(test: &Test) -> u64 {
    match test {
        Test::Below(t) | Test::AtMost(t) => t.to_bits(),
        Test::OneOf(set) => set.len() as u64,
    }
}

/// What a split asks, from its byte, its value and the categories that are left.
///
/// # Errors
/// `model.malformed`.
pub(crate) fn read_split(byte: u8, value: f64, sets: &mut std::vec::IntoIter<u32>) -> Result<(Test, Missing), Fault> {
    let missing = MISSING.get(usize::from(byte / 16)).copied();
    let missing = missing.ok_or_else(|| malformed("an unknown rule for missing values"))?;
    let test = match byte % 16 {
        1 => Test::Below(value),
        2 => Test::AtMost(value),
        3 => {
            // why: the number of categories stands in the place of a threshold; more than there are is short.
            let count = usize::try_from(value.to_bits()).ok().filter(|n| *n <= sets.len()).ok_or_else(uneven)?;
            Test::OneOf(sets.by_ref().take(count).collect())
        }
        _ => return Err(malformed("an unknown test")),
    };
    Ok((test, missing))
}

/// The categories of one split after the other.
pub(crate) fn set_words<'a>(tests: impl Iterator<Item = &'a Test>) -> ByteVec {
    let sets = tests.filter_map(|test| match test {
        Test::OneOf(set) => Some(set.iter().copied()),
        _ => None,
    });
    words(sets.flatten())
}

/// The fault of lists that do not fit each other.
pub(crate) fn uneven() -> Fault {
    malformed("a tree whose columns are not of one length")
}

impl From<&Tree> for TreeForm {
    fn from(tree: &Tree) -> Self {
        let kind = |node: &Node| match node {
            Node::Leaf(_) => 0,
            Node::Split(split) => split_byte(&split.test, split.missing),
        };
        let value = |node: &Node| match node {
            Node::Leaf(value) => value.to_bits(),
            Node::Split(split) => split_value(&split.test),
        };
        Self {
            kinds: tree.nodes.iter().map(kind).collect::<Vec<u8>>().into(),
            features: words(tree.splits().map(|(_, s)| s.feature)),
            seconds: words(tree.splits().map(|(_, s)| s.no)),
            values: tree.nodes.iter().flat_map(|n| value(n).to_le_bytes()).collect::<Vec<u8>>().into(),
            sets: set_words(tree.splits().map(|(_, s)| &s.test)),
        }
    }
}

impl TreeForm {
    fn read(self) -> Result<Tree, Fault> {
        let values = read_doubles(&self.values, "values")?;
        let mut features = read_words(&self.features, "features")?.into_iter();
        let mut seconds = read_words(&self.seconds, "branches")?.into_iter();
        let mut sets = read_words(&self.sets, "sets")?.into_iter();
        if values.len() != self.kinds.len() {
            return Err(uneven());
        }
        let mut nodes = Vec::with_capacity(values.len());
        for (kind, value) in self.kinds.iter().zip(values) {
            if *kind == 0 {
                nodes.push(Node::Leaf(value));
                continue;
            }
            let (test, missing) = read_split(*kind, value, &mut sets)?;
            let (Some(feature), Some(no)) = (features.next(), seconds.next()) else { return Err(uneven()) };
            nodes.push(Node::Split(Split { feature, test, missing, no }));
        }
        if features.next().is_some() || seconds.next().is_some() || sets.next().is_some() {
            return Err(uneven());
        }
        Ok(Tree { nodes })
    }
}

/// The activations, by number.
const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Logistic, Activation::Tanh];

impl From<&Layer> for LayerForm {
    fn from(layer: &Layer) -> Self {
        // why: the list has every activation.
        let activation = ACTIVATIONS.iter().position(|a| *a == layer.activation).unwrap_or_default() as u8;
        Self { weights: doubles(&layer.weights), bias: doubles(&layer.bias), activation }
    }
}

impl LayerForm {
    fn read(self) -> Result<Layer, Fault> {
        let activation = ACTIVATIONS.get(usize::from(self.activation)).copied();
        Ok(Layer {
            weights: read_doubles(&self.weights, "weights")?,
            bias: read_doubles(&self.bias, "biases")?,
            activation: activation.ok_or_else(|| malformed("an unknown activation"))?,
        })
    }
}
