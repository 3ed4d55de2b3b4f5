//! XGBoost's JSON model (`Booster.save_model("x.json")`), versions 1.x to 3.x.
//!
//! XGBoost rounds features to singles, goes left when `value < threshold`, and sums leaves as singles onto the margin of
//! `base_score`. A file holds `base_score` as a score, a number until 3.0 and a list of one since 3.1; its margin is the
//! inverse link. A categorical split names the categories that go right; what it does not name goes left.

use tacit_types::{Code, Fault};

use super::features::{self, Known};
use super::{Import, bounded};
use crate::json::Json;
use crate::limits::{
    CATEGORIES_MAX, CATEGORY_BYTES_MAX, FEATURE_NAME_BYTES_MAX, FEATURES_MAX, JSON_STRING_BYTES_MAX, NODES_MAX,
    SET_ENTRIES_MAX, TREES_MAX,
};
use crate::model::{Kind, Link, Model};
use crate::tree::{Linked, Missing, Precision, Test, Tree, Trees, in_order};

/// Reads a model.
///
/// # Errors
/// `model.unsupported` for objectives of more than one score, for other boosters than `gbtree` and `dart`, and for
/// trees with vectors at their leaves; the codes of [`crate::model`] for the rest, with line and byte.
pub fn read(import: Import, bytes: &[u8]) -> Result<Model, Fault> {
    bounded(bytes)?;
    let mut json = Json::new(bytes);
    let mut learner: Option<Learner> = None;
    json.object(|json, key| match key {
        "learner" => {
            learner = Some(Learner::read(json)?);
            Ok(())
        }
        _ => json.skip(),
    })?;
    json.finish()?;
    let learner =
        learner.ok_or_else(|| Fault::new(Code::ModelMalformed, "there is no \"learner\": not XGBoost JSON"))?;
    learner.model(import)
}

/// What the file says, before it is put together.
#[derive(Default)]
struct Learner {
    objective: String,
    base_score: Option<String>,
    /// Numbers that must not exceed one: classes and targets.
    outputs: i64,
    feature_count: usize,
    names: Vec<String>,
    types: Vec<String>,
    booster: String,
    weights: Vec<f32>,
    trees: Vec<RawTree>,
    nodes: usize,
    sets: usize,
    tree_info: Vec<i64>,
    categories: Vec<Option<Vec<String>>>,
    /// The round at which training that stopped early was best, from 0.
    best: Option<u64>,
    /// Trees up to that round, which files before 2.0 say.
    best_trees: Option<u64>,
    /// Rounds, where the file says them: a round may have several trees.
    rounds: Option<u64>,
}

type Read<T> = Result<T, Fault>;

fn unsupported<T>(what: impl Into<String>) -> Read<T> {
    Err(Fault::new(Code::ModelUnsupported, what))
}

fn structure(what: String) -> Fault {
    Fault::new(Code::ModelStructure, what)
}

/// A number that the file writes as text, as XGBoost writes parameters.
fn quoted<T: core::str::FromStr>(json: &mut Json<'_>) -> Read<T> {
    let text = json.string(64)?;
    text.parse().map_err(|_| json.fault(Code::ModelMalformed, format_args!("{text:?} is not a number here")))
}

impl Learner {
    fn read(json: &mut Json<'_>) -> Read<Self> {
        let mut it = Self::default();
        json.object(|json, key| match key {
            "learner_model_param" => it.parameters(json),
            "objective" => json.object(|json, key| match key {
                "name" => {
                    it.objective = json.string(64)?;
                    Ok(())
                }
                _ => json.skip(),
            }),
            "feature_names" => {
                let name = |json: &mut Json<'_>| json.string(FEATURE_NAME_BYTES_MAX);
                it.names = json.list(FEATURES_MAX, "feature names", name)?;
                Ok(())
            }
            "feature_types" => {
                it.types = json.list(FEATURES_MAX, "feature types", |json| json.string(64))?;
                Ok(())
            }
            "gradient_booster" => it.booster(json),
            "attributes" => json.object(|json, key| {
                match key {
                    "best_iteration" => it.best = Some(quoted(json)?),
                    "best_ntree_limit" => it.best_trees = Some(quoted(json)?),
                    _ => json.skip()?,
                }
                Ok(())
            }),
            _ => json.skip(),
        })?;
        Ok(it)
    }

    fn parameters(&mut self, json: &mut Json<'_>) -> Read<()> {
        json.object(|json, key| {
            match key {
                "base_score" => {
                    let text = json.string(JSON_STRING_BYTES_MAX)?;
                    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
                    self.base_score = Some(inner.to_owned());
                }
                "num_class" | "num_target" => self.outputs = self.outputs.max(quoted(json)?),
                "num_feature" => self.feature_count = features::count(quoted(json)?)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    /// `{"name", "model"}`, and for dart `{"name", "gbtree": {"model"}, "weight_drop"}`.
    fn booster(&mut self, json: &mut Json<'_>) -> Read<()> {
        json.object(|json, key| match key {
            "name" => {
                let name = json.string(64)?;
                // The inner object of dart says `gbtree`.
                if self.booster != "dart" {
                    self.booster = name;
                }
                Ok(())
            }
            "model" => self.ensemble(json),
            "gbtree" => self.booster(json),
            "weight_drop" => {
                self.weights = json.list(TREES_MAX, "weights of trees", Json::f32)?;
                Ok(())
            }
            _ => json.skip(),
        })
    }

    fn ensemble(&mut self, json: &mut Json<'_>) -> Read<()> {
        json.object(|json, key| match key {
            "trees" => json.array(TREES_MAX, "trees", |json| {
                let tree = RawTree::read(json, NODES_MAX - self.nodes, SET_ENTRIES_MAX - self.sets)?;
                self.nodes += tree.left.len();
                self.sets += tree.set_count();
                if self.nodes > NODES_MAX || self.sets > SET_ENTRIES_MAX {
                    return Err(json.fault(Code::ModelTooLarge, "too many nodes or categories in all trees"));
                }
                self.trees.push(tree);
                Ok(())
            }),
            "tree_info" => {
                self.tree_info = json.list(TREES_MAX, "tree_info", Json::i64)?;
                Ok(())
            }
            // The first tree of each round, and the end of the last.
            "iteration_indptr" => {
                let ends = json.list(TREES_MAX + 1, "rounds", Json::i64)?;
                self.rounds = Some(ends.len().saturating_sub(1) as u64);
                Ok(())
            }
            "cats" => {
                self.categories = read_categories(json)?;
                Ok(())
            }
            _ => json.skip(),
        })
    }

    fn model(self, import: Import) -> Read<Model> {
        let booster = self.booster.as_str();
        if !matches!(booster, "gbtree" | "dart") {
            return unsupported(format!("booster {booster:?}; gbtree and dart can be scored"));
        }
        let (link, base) = link(&self.objective, self.base_score.as_deref())?;
        if self.outputs > 1 || self.tree_info.iter().any(|class| *class != 0) {
            return unsupported(format!("{} scores a row; models of one score can be used", self.outputs.max(2)));
        }
        let trees = self.trees.len() as u64;
        let used = self.best.map(|best| best.saturating_add(1));
        let early = match (self.best_trees, used) {
            (Some(best), _) => best < trees,
            (None, Some(used)) => used < self.rounds.unwrap_or(trees),
            (None, None) => false,
        };
        if early {
            let used = used.unwrap_or_default();
            return unsupported(format!(
                "training stopped early: up to round {used} it is best, with which the library's classifiers and regressors score, \
                 and its booster with all; save booster[:{used}], or all without best_iteration, and import that"
            ));
        }
        if booster == "dart" && self.weights.len() != self.trees.len() {
            return Err(structure(format!("{} weights for {} trees", self.weights.len(), self.trees.len())));
        }
        let known = self.known()?;
        let mut trees = Vec::with_capacity(self.trees.len());
        for (i, raw) in self.trees.into_iter().enumerate() {
            trees.push(raw.tree(i, self.weights.get(i).copied())?);
        }
        let features = features::resolve(known, &import)?;
        let trees = Trees { precision: Precision::Single, base: f64::from(base), average: false, trees };
        Model::new(import.meta, features, link, Kind::Trees(trees))
    }

    /// What the file says of the features.
    fn known(&self) -> Read<Vec<Known>> {
        let count = self.feature_count;
        for (list, what) in
            [(self.names.len(), "names"), (self.types.len(), "types"), (self.categories.len(), "lists of categories")]
        {
            if list != 0 && list != count {
                return Err(Fault::new(Code::ModelFeatures, format!("{count} features and {list} {what}")));
            }
        }
        let mut known: Vec<Known> = (0..count)
            .map(|i| Known {
                name: self.names.get(i).cloned(),
                categorical: self.types.get(i).is_some_and(|t| t == "c"),
                categories: self.categories.get(i).cloned().flatten(),
                ..Known::default()
            })
            .collect();
        for (t, tree) in self.trees.iter().enumerate() {
            for (node, from, size) in &tree.sets {
                let feature = tree.feature.get(*node).and_then(|f| known.get_mut(*f as usize));
                let feature = feature.ok_or_else(|| structure(format!("tree {t}, node {node}: no such feature")))?;
                let codes = tree.categories.get(*from..*from + *size).unwrap_or_default();
                feature.categorical = true;
                feature.codes = feature.codes.max(codes.iter().map(|c| *c as usize + 1).max().unwrap_or(0));
            }
        }
        Ok(known)
    }
}

/// The link of an objective, and the margin that the sum begins with.
fn link(objective: &str, base_score: Option<&str>) -> Read<(Link, f32)> {
    let logit = |p: f32| -(1.0 / p - 1.0).ln();
    let (link, margin): (Link, fn(f32) -> f32) = match objective {
        "binary:logistic" | "reg:logistic" => (Link::Logistic { slope: 1.0 }, logit),
        "binary:logitraw" => (Link::Identity, |base| base),
        "count:poisson" | "reg:gamma" | "reg:tweedie" => (Link::Exp, f32::ln),
        "reg:squarederror"
        | "reg:linear"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map" => (Link::Identity, |base| base),
        other => return unsupported(format!("objective {other:?}; see docs/MODELS.md for those that can be scored")),
    };
    let text = base_score.ok_or_else(|| Fault::new(Code::ModelMalformed, "there is no base_score"))?;
    let Ok(base) = text.parse::<f32>() else { return unsupported(format!("base_score {text:?} is not one number")) };
    let margin = margin(base);
    if !margin.is_finite() {
        return Err(Fault::new(Code::ModelNotFinite, format!("base_score {base} has no margin under {objective}")));
    }
    Ok((link, margin))
}

/// The categories that files since 3.1 hold: per feature nothing, texts as bytes with offsets, or numbers.
fn read_categories(json: &mut Json<'_>) -> Read<Vec<Option<Vec<String>>>> {
    let mut lists = Vec::new();
    json.object(|json, key| match key {
        "enc" => {
            lists = json.list(FEATURES_MAX, "lists of categories", |json| {
                let (mut offsets, mut values): (Option<Vec<i64>>, Vec<i64>) = (None, Vec::new());
                json.object(|json, key| {
                    match key {
                        "offsets" => offsets = Some(json.list(CATEGORIES_MAX + 1, "categories", Json::i64)?),
                        "values" => values = json.list(CATEGORIES_MAX * 8, "bytes of categories", Json::i64)?,
                        _ => json.skip()?,
                    }
                    Ok(())
                })?;
                match offsets {
                    _ if values.is_empty() => Ok(None),
                    None => Ok(Some(values.iter().map(i64::to_string).collect())),
                    Some(offsets) => texts(&offsets, &values).map(Some).ok_or_else(|| {
                        json.fault(
                            Code::ModelStructure,
                            format_args!("categories are texts of up to {CATEGORY_BYTES_MAX} bytes"),
                        )
                    }),
                }
            })?;
            Ok(())
        }
        _ => json.skip(),
    })?;
    Ok(lists)
}

fn texts(offsets: &[i64], bytes: &[i64]) -> Option<Vec<String>> {
    let bytes: Vec<u8> = bytes
        .iter()
        .map(|b| u8::try_from(*b).or(i8::try_from(*b).map(i8::cast_unsigned)).ok())
        .collect::<Option<_>>()?;
    let text = |pair: &[i64]| {
        let (from, to) = (usize::try_from(*pair.first()?).ok()?, usize::try_from(*pair.last()?).ok()?);
        let text = bytes.get(from..to).filter(|t| t.len() <= CATEGORY_BYTES_MAX)?;
        String::from_utf8(text.to_vec()).ok()
    };
    offsets.windows(2).map(text).collect()
}

/// A threshold or the value of a leaf. A split on categories has neither, and in files before 3.1 `NaN` there; wherever
/// else it stands, the model is refused.
fn threshold(json: &mut Json<'_>) -> Read<f32> {
    if json.peek() == Some(b'N') {
        json.word("NaN")?;
        return Ok(f32::NAN);
    }
    json.f32()
}

/// The columns of one tree.
#[derive(Default)]
struct RawTree {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<u32>,
    /// A threshold, or the value of a leaf.
    value: Vec<f32>,
    default_left: Vec<i64>,
    kind: Vec<i64>,
    categories: Vec<u32>,
    /// Node, place of its first category, number of them.
    sets: Vec<(usize, usize, usize)>,
}

impl RawTree {
    fn read(json: &mut Json<'_>, nodes: usize, entries: usize) -> Read<Self> {
        let mut it = Self::default();
        let whole = |json: &mut Json<'_>| -> Read<usize> {
            let n = json.i64()?;
            usize::try_from(n).map_err(|_| json.fault(Code::ModelStructure, format_args!("{n} is below zero")))
        };
        let word = |json: &mut Json<'_>| -> Read<u32> {
            let n = json.i64()?;
            u32::try_from(n).map_err(|_| json.fault(Code::ModelStructure, format_args!("{n} is out of range")))
        };
        let (mut set_nodes, mut segments, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        json.object(|json, key| {
            match key {
                "left_children" => it.left = json.list(nodes, "nodes", Json::i64)?,
                "right_children" => it.right = json.list(nodes, "nodes", Json::i64)?,
                "split_indices" => it.feature = json.list(nodes, "nodes", word)?,
                "split_conditions" => it.value = json.list(nodes, "nodes", threshold)?,
                "default_left" => it.default_left = json.list(nodes, "nodes", Json::i64)?,
                "split_type" => it.kind = json.list(nodes, "nodes", Json::i64)?,
                "categories" => it.categories = json.list(entries, "categories in splits", word)?,
                "categories_nodes" => set_nodes = json.list(nodes, "nodes", whole)?,
                "categories_segments" => segments = json.list(nodes, "nodes", whole)?,
                "categories_sizes" => sizes = json.list(nodes, "nodes", whole)?,
                "tree_param" => json.object(|json, key| {
                    if key == "size_leaf_vector" && quoted::<i64>(json)? > 1 {
                        return Err(json.fault(Code::ModelUnsupported, "a leaf with more than one value"));
                    }
                    if key != "size_leaf_vector" { json.skip() } else { Ok(()) }
                })?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let count = it.left.len();
        let columns = [it.right.len(), it.feature.len(), it.value.len(), it.default_left.len()];
        if columns.iter().any(|n| *n != count) || (!it.kind.is_empty() && it.kind.len() != count) {
            return Err(json.fault(Code::ModelStructure, "the columns of a tree are of different lengths"));
        }
        if set_nodes.len() != segments.len() || set_nodes.len() != sizes.len() {
            return Err(json.fault(Code::ModelStructure, "the columns of categories are of different lengths"));
        }
        let sets = set_nodes.into_iter().zip(segments).zip(sizes).map(|((node, from), size)| (node, from, size));
        it.sets = sets.collect();
        let fits = |(_, from, size): &(usize, usize, usize)| {
            from.checked_add(*size).is_some_and(|end| end <= it.categories.len())
        };
        if !it.sets.iter().all(fits) {
            return Err(json.fault(Code::ModelStructure, "a set of categories ends past the list"));
        }
        Ok(it)
    }

    /// Categories in all sets: they may overlap in the file.
    fn set_count(&self) -> usize {
        self.sets.iter().fold(0, |sum, (_, _, size)| sum.saturating_add(*size))
    }

    fn tree(self, tree: usize, weight: Option<f32>) -> Read<Tree> {
        let mut sets: Vec<Option<&[u32]>> = vec![None; self.left.len()];
        for (node, from, size) in &self.sets {
            let slot = sets.get_mut(*node);
            let slot =
                slot.ok_or_else(|| structure(format!("tree {tree}: categories of node {node}, which is not there")))?;
            *slot = Some(self.categories.get(*from..*from + *size).unwrap_or_default());
        }
        let mut nodes = Vec::with_capacity(self.left.len());
        let columns = self.left.iter().zip(&self.right).zip(&self.feature).zip(&self.value).zip(&self.default_left);
        for (n, ((((left, right), feature), value), default_left)) in columns.enumerate() {
            if *left == -1 {
                nodes.push(Some(Linked::Leaf(f64::from(weight.map_or(*value, |w| w * value)))));
                continue;
            }
            let (Ok(left), Ok(right)) = (u32::try_from(*left), u32::try_from(*right)) else {
                return Err(structure(format!("tree {tree}, node {n}: branches {left} and {right}")));
            };
            let missing_left = *default_left != 0;
            let categorical = self.kind.get(n).is_some_and(|k| *k == 1);
            nodes.push(Some(if categorical {
                let set = sets.get(n).copied().flatten();
                let set = set.ok_or_else(|| structure(format!("tree {tree}, node {n}: no categories")))?;
                let mut codes = set.to_vec();
                codes.sort_unstable();
                codes.dedup();
                let missing = if missing_left { Missing::No } else { Missing::Yes };
                Linked::Split { feature: *feature, test: Test::OneOf(codes), missing, yes: right, no: left }
            } else {
                let missing = if missing_left { Missing::Yes } else { Missing::No };
                let test = Test::Below(f64::from(*value));
                Linked::Split { feature: *feature, test, missing, yes: left, no: right }
            }));
        }
        in_order(tree, &mut nodes, 0)
    }
}
