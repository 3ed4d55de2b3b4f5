//! The classical operators of `ai.onnx.ml`: tree ensembles and linear models.

use std::collections::{BTreeMap, BTreeSet};

use tacit_types::{Code, Fault};

use super::grow::{self, Column, Mode, Raw};
use super::proto::{Attribute, Node, Tensor};
use crate::limits::{NODES_MAX, TREES_MAX};
use crate::model::Link;
use crate::normed::Norm;
use crate::tree::{Node as Tip, Precision, Tree, Trees};

type Read<T> = Result<T, Fault>;

fn unsupported<T>(what: String) -> Read<T> {
    Err(Fault::new(Code::ModelUnsupported, what))
}

fn structure<T>(what: String) -> Read<T> {
    Err(Fault::new(Code::ModelStructure, what))
}

fn ints(node: &Node<'_>, name: &str) -> Read<Vec<i64>> {
    Ok(node.attribute(name)?.map(|a| a.ints).unwrap_or_default())
}

fn floats(node: &Node<'_>, name: &str) -> Read<Vec<f32>> {
    Ok(node.attribute(name)?.map(|a| a.floats).unwrap_or_default())
}

fn text(node: &Node<'_>, name: &str, default: &str) -> Read<String> {
    let bytes = node.attribute(name)?.and_then(|a| a.text);
    Ok(bytes.map_or(default.to_owned(), |b| String::from_utf8_lossy(b).into_owned()))
}

/// The norm of that name.
pub fn norm(name: &[u8]) -> Read<Norm> {
    match name {
        b"MAX" => Ok(Norm::Max),
        b"L1" => Ok(Norm::L1),
        b"L2" => Ok(Norm::L2),
        other => unsupported(format!("norm {:?}", String::from_utf8_lossy(other))),
    }
}

/// A weight of a leaf.
struct Weight {
    tree: i64,
    node: i64,
    /// The class or target.
    class: i64,
    weight: f32,
}

fn weights(node: &Node<'_>, prefix: &str) -> Read<Vec<Weight>> {
    let column = |name: &str| ints(node, &format!("{prefix}_{name}"));
    let (trees, nodes, classes) = (column("treeids")?, column("nodeids")?, column("ids")?);
    let weights = floats(node, &format!("{prefix}_weights"))?;
    if [trees.len(), nodes.len(), classes.len()].iter().any(|n| *n != weights.len()) {
        return structure(format!("{prefix}_*: lists of different lengths"));
    }
    let columns = trees.into_iter().zip(nodes).zip(classes).zip(weights);
    Ok(columns.map(|(((tree, node), class), weight)| Weight { tree, node, class, weight }).collect())
}

/// A tree ensemble as a regressor: one target.
pub fn regressor(node: &Node<'_>, columns: &[Column]) -> Read<(Trees, Link)> {
    let targets = node.attribute("n_targets")?.and_then(|a| a.int).unwrap_or(1);
    if targets != 1 {
        return unsupported(format!("{targets} targets; models of one score can be used"));
    }
    let average = match text(node, "aggregate_function", "SUM")?.as_str() {
        "SUM" => false,
        "AVERAGE" => true,
        other => return unsupported(format!("aggregate_function {other:?}")),
    };
    let link = match text(node, "post_transform", "NONE")?.as_str() {
        "NONE" => Link::Identity,
        "LOGISTIC" => Link::Logistic { slope: 1.0 },
        other => return unsupported(format!("post_transform {other:?}")),
    };
    let base = match floats(node, "base_values")?.as_slice() {
        [] => 0.0,
        [base] => *base,
        more => return structure(format!("{} base values for one target", more.len())),
    };
    let weights = weights(node, "target")?;
    Ok((trees(node, columns, &weights, |w| (w.class == 0).then_some(w.weight), base, average)?, link))
}

/// How far the scores of two classes may be from a sum of one and still be taken for probabilities: what many singles lose.
const WHOLE_ERROR: f64 = 5e-7;

/// A tree ensemble as a classifier of two classes: the score is that of the second. And whether the two are
/// probabilities: each from 0 to 1, of the sum one.
pub fn classifier(node: &Node<'_>, columns: &[Column]) -> Read<((Trees, Link), bool)> {
    let labels = class_count(node)?;
    if labels != 2 {
        return unsupported(format!("{labels} classes; classifiers of two can be used"));
    }
    let transform = text(node, "post_transform", "NONE")?;
    let weights = weights(node, "class")?;
    let classes: BTreeSet<i64> = weights.iter().map(|w| w.class).collect();
    let base = floats(node, "base_values")?;
    // With the weights of one class alone, that number stands for the second class.
    if classes.len() <= 1 {
        let positive = weights.iter().all(|w| w.weight >= 0.0);
        let link = match transform.as_str() {
            "LOGISTIC" => Link::Logistic { slope: 1.0 },
            "NONE" if positive => Link::Identity,
            other => return unsupported(format!("post_transform {other:?} with the weights of one class")),
        };
        let first = !classes.contains(&1);
        let base = match base.as_slice() {
            [] => 0.0,
            [base] if first => *base,
            more => return unsupported(format!("{} base values with the weights of one class", more.len())),
        };
        // The runtime makes the other score of the weights of the first class alone.
        let whole = first
            && (link != Link::Identity || {
                let (least, most) = sums(node, &weights, base)?;
                least >= 0.0 && most <= 1.0 + WHOLE_ERROR
            });
        return Ok(((trees(node, columns, &weights, |w| Some(w.weight), base, false)?, link), whole));
    }
    // What the runtime makes of these is not what the specification says.
    if base.len() > 1 {
        return unsupported(format!("{} base values with the weights of two classes", base.len()));
    }
    let of = |class: i64| weights.iter().filter(move |w| w.class == class).map(|w| (w.tree, w.node));
    if !of(0).collect::<BTreeSet<_>>().is_subset(&of(1).collect()) {
        return unsupported("a leaf with the weight of the first of two classes alone".into());
    }
    let base = |class: usize| base.get(class).copied().unwrap_or(0.0);
    match transform.as_str() {
        "NONE" => {
            let (least, most) = sums(node, &weights, base(0) + base(1))?;
            let positive = weights.iter().map(|w| w.weight).chain([base(0), base(1)]).all(|w| w >= 0.0);
            let whole = positive && least >= 1.0 - WHOLE_ERROR && most <= 1.0 + WHOLE_ERROR;
            let second = |w: &Weight| (w.class == 1).then_some(w.weight);
            Ok(((trees(node, columns, &weights, second, base(1), false)?, Link::Identity), whole))
        }
        // The second of two softmaxes is the logistic of the difference.
        "SOFTMAX" => {
            let signed = |w: &Weight| Some(if w.class == 1 { w.weight } else { -w.weight });
            Ok((
                (trees(node, columns, &weights, signed, base(1) - base(0), false)?, Link::Logistic { slope: 1.0 }),
                true,
            ))
        }
        other => unsupported(format!("post_transform {other:?} with the weights of two classes")),
    }
}

/// The least and the greatest sum of all weights over one leaf of each tree.
fn sums(node: &Node<'_>, weights: &[Weight], base: f32) -> Read<(f64, f64)> {
    let mut leaves: BTreeMap<(i64, i64), f64> = BTreeMap::new();
    for weight in weights {
        *leaves.entry((weight.tree, weight.node)).or_default() += f64::from(weight.weight);
    }
    let modes = node.attribute("nodes_modes")?.map(|a| a.texts).unwrap_or_default();
    // A leaf without a weight adds nothing; which tree has it does not matter here.
    let bare = modes.iter().filter(|mode| **mode == b"LEAF").count() > leaves.len();
    let mut trees: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for ((tree, _), sum) in leaves {
        let (least, most) = trees.entry(tree).or_insert((sum, sum));
        (*least, *most) = (least.min(sum), most.max(sum));
        if bare {
            (*least, *most) = (least.min(0.0), most.max(0.0));
        }
    }
    Ok(trees.values().fold((f64::from(base), f64::from(base)), |(a, b), (least, most)| (a + least, b + most)))
}

fn class_count(node: &Node<'_>) -> Read<usize> {
    let count = |a: Option<Attribute<'_>>| a.map_or(0, |a| a.ints.len() + a.texts.len());
    let mut labels = 0;
    for name in ["classlabels_ints", "classlabels_int64s", "classlabels_strings"] {
        labels += count(node.attribute(name)?);
    }
    Ok(labels)
}

/// The trees; `pick` says what a weight adds to the score, if anything.
fn trees(
    node: &Node<'_>,
    columns: &[Column],
    weights: &[Weight],
    pick: impl Fn(&Weight) -> Option<f32>,
    base: f32,
    average: bool,
) -> Read<Trees> {
    for name in
        ["nodes_values_as_tensor", "base_values_as_tensor", "target_weights_as_tensor", "class_weights_as_tensor"]
    {
        if node.attribute(name)?.is_some_and(|a| a.tensor.is_some()) {
            return unsupported(format!("{name}: trees in double precision"));
        }
    }
    let (tree_ids, node_ids) = (ints(node, "nodes_treeids")?, ints(node, "nodes_nodeids")?);
    let (features, thresholds) = (ints(node, "nodes_featureids")?, floats(node, "nodes_values")?);
    let (yes, no) = (ints(node, "nodes_truenodeids")?, ints(node, "nodes_falsenodeids")?);
    let modes = node.attribute("nodes_modes")?.map(|a| a.texts).unwrap_or_default();
    let tracks = ints(node, "nodes_missing_value_tracks_true")?;
    let count = tree_ids.len();
    if count > NODES_MAX {
        return Err(Fault::new(Code::ModelTooLarge, format!("{count} nodes; at most {NODES_MAX}")));
    }
    let lists = [node_ids.len(), features.len(), thresholds.len(), yes.len(), no.len(), modes.len()];
    if lists.iter().any(|n| *n != count) || (!tracks.is_empty() && tracks.len() != count) {
        return structure("nodes_*: lists of different lengths".into());
    }
    let mut places: BTreeMap<(i64, i64), u32> = BTreeMap::new();
    for (place, key) in (0u32..).zip(tree_ids.iter().copied().zip(node_ids.iter().copied())) {
        if places.insert(key, place).is_some() {
            return structure(format!("tree {}, node {} is there twice", key.0, key.1));
        }
    }
    let mut leaves = vec![0f32; count];
    for weight in weights {
        let place = places.get(&(weight.tree, weight.node)).and_then(|p| leaves.get_mut(*p as usize));
        let Some(leaf) = place else {
            return structure(format!("a weight for tree {}, node {}, which is not there", weight.tree, weight.node));
        };
        *leaf += pick(weight).unwrap_or(0.0);
    }
    let mut nodes = Vec::with_capacity(count);
    let mut inner = vec![false; count];
    for i in 0..count {
        let at = |list: &[i64]| list.get(i).copied().unwrap_or_default();
        let tree = at(&tree_ids);
        let asks = match modes.get(i).copied().unwrap_or_default() {
            b"LEAF" => {
                nodes.push(Raw::Leaf(leaves.get(i).copied().unwrap_or_default()));
                continue;
            }
            b"BRANCH_LEQ" => Ask::AtMost,
            b"BRANCH_LT" => Ask::Below,
            b"BRANCH_GTE" => Ask::AtLeast,
            b"BRANCH_GT" => Ask::Above,
            b"BRANCH_EQ" => Ask::Equal,
            b"BRANCH_NEQ" => Ask::Unequal,
            other => return unsupported(format!("nodes of mode {:?}", String::from_utf8_lossy(other))),
        };
        let branch = |id: i64| match places.get(&(tree, id)) {
            Some(place) => Ok(*place),
            None => structure(format!("tree {tree}: a branch leads to node {id}, which is not there")),
        };
        let (yes, no) = (branch(at(&yes))?, branch(at(&no))?);
        for child in [yes, no] {
            if let Some(mark) = inner.get_mut(child as usize) {
                *mark = true;
            }
        }
        let threshold = thresholds.get(i).copied().unwrap_or_default();
        nodes.push(asks.split(at(&features), threshold, at(&tracks) != 0, yes, no)?);
    }
    let mut roots: Vec<(i64, u32)> = Vec::new();
    for ((place, tree), inner) in (0u32..).zip(&tree_ids).zip(&inner) {
        if !inner {
            roots.push((*tree, place));
        }
    }
    let distinct: BTreeSet<i64> = tree_ids.iter().copied().collect();
    if roots.len() != distinct.len() || roots.iter().map(|(tree, _)| tree).collect::<BTreeSet<_>>().len() != roots.len()
    {
        return structure(format!("{} roots in {} trees", roots.len(), distinct.len()));
    }
    if roots.len() > TREES_MAX {
        return Err(Fault::new(Code::ModelTooLarge, format!("{} trees; at most {TREES_MAX}", roots.len())));
    }
    let roots: Vec<u32> = roots.iter().map(|(_, root)| *root).collect();
    let mut trees = grow::trees(&nodes, &roots, columns)?;
    // The runtime adds the base after all leaves, as a tree that is a leaf alone and comes last.
    let base = if average || base == 0.0 {
        f64::from(base)
    } else {
        trees.push(Tree { nodes: vec![Tip::Leaf(f64::from(base))] });
        0.0
    };
    Ok(Trees { precision: Precision::Single, base, average, trees })
}

/// What a node of a file asks.
enum Ask {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

impl Ask {
    fn split(self, column: i64, threshold: f32, tracks: bool, yes: u32, no: u32) -> Read<Raw> {
        let Ok(column) = usize::try_from(column) else { return structure(format!("feature {column}")) };
        let (mode, turned) = match self {
            Ask::AtMost => (Mode::AtMost, false),
            Ask::Below => (Mode::Below, false),
            Ask::AtLeast => (Mode::Below, true),
            Ask::Above => (Mode::AtMost, true),
            Ask::Equal => (Mode::Equal, false),
            Ask::Unequal => (Mode::Equal, true),
        };
        // What is no number equals nothing, so it is unequal whether missing values are tracked or not.
        let missing_yes = if matches!(self, Ask::Unequal) { false } else { tracks != turned };
        let (yes, no) = if turned { (no, yes) } else { (yes, no) };
        Ok(Raw::Split { column, mode, threshold, missing_yes, yes, no })
    }
}

/// `TreeEnsemble` of version 5 of the operators: one target.
pub fn ensemble(node: &Node<'_>, columns: &[Column]) -> Read<(Trees, Link)> {
    let int =
        |name: &str, default: i64| -> Read<i64> { Ok(node.attribute(name)?.and_then(|a| a.int).unwrap_or(default)) };
    let targets = int("n_targets", 1)?;
    if targets != 1 {
        return unsupported(format!("{targets} targets; models of one score can be used"));
    }
    let average = match int("aggregate_function", 1)? {
        0 => true,
        1 => false,
        other => return unsupported(format!("aggregate_function {other}")),
    };
    let link = match int("post_transform", 0)? {
        0 => Link::Identity,
        2 => Link::Logistic { slope: 1.0 },
        other => return unsupported(format!("post_transform {other}")),
    };
    let (thresholds, modes, weights) =
        (tensor(node, "nodes_splits", 1)?, tensor(node, "nodes_modes", 2)?, tensor(node, "leaf_weights", 1)?);
    let (features, tracks) = (ints(node, "nodes_featureids")?, ints(node, "nodes_missing_value_tracks_true")?);
    let (yes, yes_leaf) = (ints(node, "nodes_truenodeids")?, ints(node, "nodes_trueleafs")?);
    let (no, no_leaf) = (ints(node, "nodes_falsenodeids")?, ints(node, "nodes_falseleafs")?);
    let (leaf_targets, roots) = (ints(node, "leaf_targetids")?, ints(node, "tree_roots")?);
    let count = thresholds.len();
    if count.saturating_mul(2) > NODES_MAX || weights.len() > NODES_MAX {
        return Err(Fault::new(Code::ModelTooLarge, format!("more than {NODES_MAX} nodes")));
    }
    if roots.len() > TREES_MAX {
        return Err(Fault::new(Code::ModelTooLarge, format!("{} trees; at most {TREES_MAX}", roots.len())));
    }
    let lists = [modes.len(), features.len(), yes.len(), yes_leaf.len(), no.len(), no_leaf.len()];
    if lists.iter().any(|n| *n != count) || (!tracks.is_empty() && tracks.len() != count) {
        return structure("nodes_*: lists of different lengths".into());
    }
    if leaf_targets.len() != weights.len() || leaf_targets.iter().any(|t| *t != 0) {
        return structure("leaf_*: not one weight of the one target a leaf".into());
    }
    // A leaf may be named more than once, as both branches of a tree that is a leaf alone: each gets its own.
    let mut nodes: Vec<Raw> = vec![Raw::Leaf(0.0); count];
    for i in 0..count {
        let at = |list: &[i64]| list.get(i).copied().unwrap_or_default();
        let mut branch = |id: i64, leaf: bool| -> Read<u32> {
            let id = usize::try_from(id).unwrap_or(usize::MAX);
            let weight = weights.get(id).filter(|_| leaf);
            if let Some(weight) = weight {
                // why: a leaf was one single in the file.
                nodes.push(Raw::Leaf(*weight as f32));
            }
            match (weight, leaf) {
                (Some(_), _) => Ok((nodes.len() - 1) as u32),
                (None, false) if id < count => Ok(id as u32),
                _ => structure(format!("node {i}: a branch leads to {id}, which is not there")),
            }
        };
        let (yes, no) = (branch(at(&yes), at(&yes_leaf) != 0)?, branch(at(&no), at(&no_leaf) != 0)?);
        // why: the kind of the tensor is a byte.
        let asks = match modes.get(i).copied().unwrap_or_default() as i64 {
            0 => Ask::AtMost,
            1 => Ask::Below,
            2 => Ask::AtLeast,
            3 => Ask::Above,
            4 => Ask::Equal,
            5 => Ask::Unequal,
            6 => return unsupported("nodes of mode BRANCH_MEMBER".into()),
            other => return structure(format!("node {i}: mode {other}")),
        };
        let threshold = thresholds.get(i).copied().unwrap_or_default() as f32;
        if let Some(slot) = nodes.get_mut(i) {
            *slot = asks.split(at(&features), threshold, at(&tracks) != 0, yes, no)?;
        }
    }
    let roots: Vec<u32> = roots.iter().map(|r| u32::try_from(*r).unwrap_or(u32::MAX)).collect();
    let trees = grow::trees(&nodes, &roots, columns)?;
    Ok((Trees { precision: Precision::Single, base: 0.0, average, trees }, link))
}

/// The values of a tensor of that kind.
fn tensor(node: &Node<'_>, name: &str, kind: i64) -> Read<Vec<f64>> {
    let Some(bytes) = node.attribute(name)?.and_then(|a| a.tensor) else {
        return structure(format!("there is no {name}"));
    };
    let (_, tensor) = Tensor::read(bytes)?;
    if tensor.kind == kind { Ok(tensor.values) } else { unsupported(format!("{name} of element type {}", tensor.kind)) }
}

/// A linear regressor or a classifier of two classes: weights of the score, intercept, link.
pub fn linear(node: &Node<'_>) -> Read<(Vec<f64>, f64, Link)> {
    let (weights, intercepts) = (floats(node, "coefficients")?, floats(node, "intercepts")?);
    let transform = text(node, "post_transform", "NONE")?;
    let wide = |list: &[f32]| list.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let logistic = Link::Logistic { slope: 1.0 };
    if node.operator == "LinearRegressor" {
        let targets = node.attribute("targets")?.and_then(|a| a.int).unwrap_or(1);
        let link = match transform.as_str() {
            "NONE" => Link::Identity,
            "LOGISTIC" => logistic,
            other => return unsupported(format!("post_transform {other:?}")),
        };
        return match intercepts.as_slice() {
            _ if targets != 1 => unsupported(format!("{targets} targets; models of one score can be used")),
            [] => Ok((wide(&weights), 0.0, link)),
            [intercept] => Ok((wide(&weights), f64::from(*intercept), link)),
            more => structure(format!("{} intercepts for one target", more.len())),
        };
    }
    let labels = class_count(node)?;
    if labels != 2 {
        return unsupported(format!("{labels} classes; classifiers of two can be used"));
    }
    match (intercepts.as_slice(), transform.as_str()) {
        ([intercept], "LOGISTIC") => Ok((wide(&weights), f64::from(*intercept), logistic)),
        ([first, second], _) => {
            let (one, two) = weights.split_at(weights.len() / 2);
            let opposite =
                first + second == 0.0 && one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a + b == 0.0);
            let difference = || one.iter().zip(two).map(|(a, b)| f64::from(*b) - f64::from(*a)).collect();
            match transform.as_str() {
                // Of two opposite numbers, the logistics sum to one.
                "LOGISTIC" if opposite => Ok((wide(two), f64::from(*second), logistic)),
                "SOFTMAX" if one.len() == two.len() => {
                    Ok((difference(), f64::from(*second) - f64::from(*first), logistic))
                }
                other => unsupported(format!("post_transform {other:?} of two rows of coefficients")),
            }
        }
        (other, transform) => {
            unsupported(format!("{} rows of coefficients with post_transform {transform:?}", other.len()))
        }
    }
}
