//! LightGBM's text model (`Booster.save_model("x.txt")`), versions 3 and 4.
//!
//! LightGBM compares and sums in doubles and goes left when `value <= threshold`. Each split has its own rule for missing
//! values in the bits of its `decision_type`: 1 categorical, 2 missing goes left, 4 zero is missing, 8 NaN is missing;
//! with neither of the last two, NaN counts as zero. A categorical split has the set of codes that go left; a
//! missing or unknown category goes right.
//!
//! A file of the Python package ends with the categories of the data frame's columns, or with `null` or `[]` where the
//! values are the codes. Other packages write no such line.

use tacit_types::{Code, Fault};

use super::features::{self, Known};
use super::{Import, bounded};
use crate::json::Json;
use crate::limits::{
    CATEGORIES_MAX, CATEGORIES_TOTAL_MAX, CATEGORY_BYTES_MAX, NODES_MAX, SET_ENTRIES_MAX, TEXT_LINES_MAX, TREES_MAX,
};
use crate::model::{Feature, FeatureKind, Kind, Link, Model};
use crate::tree::{Linked, Missing, Precision, Test, Tree, Trees, in_order};

type Read<T> = Result<T, Fault>;

/// Reads a model.
///
/// # Errors
/// `model.unsupported` for linear trees, for objectives of more than one score and for custom ones with an unknown
/// link; the codes of [`crate::model`] for the rest, with the line.
pub fn read(import: Import, bytes: &[u8]) -> Result<Model, Fault> {
    bounded(bytes)?;
    let text = core::str::from_utf8(bytes).map_err(|_| Fault::new(Code::ModelMalformed, "the file is not UTF-8"))?;
    let mut lines = Lines { rest: text.lines().enumerate(), number: 0 };
    let header = Header::read(&mut lines)?;
    let mut file = File { header, trees: Vec::new(), nodes: 0, entries: 0, known: Vec::new(), lists: None };
    file.known = file.header.known()?;
    file.read_trees(&mut lines)?;
    file.read_rest(&mut lines)?;
    file.name_categories();
    file.model(import)
}

/// Lines with their numbers.
struct Lines<'a> {
    rest: core::iter::Enumerate<core::str::Lines<'a>>,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line; `None` at the end of the file.
    fn more(&mut self) -> Read<Option<&'a str>> {
        let Some((i, line)) = self.rest.next() else { return Ok(None) };
        self.number = i + 1;
        if self.number > TEXT_LINES_MAX {
            return Err(self.fault(Code::ModelTooLarge, format_args!("more than {TEXT_LINES_MAX} lines")));
        }
        Ok(Some(line.trim_end()))
    }

    fn next(&mut self) -> Read<&'a str> {
        self.more()?.ok_or_else(|| self.fault(Code::ModelMalformed, "the file ends here"))
    }

    fn fault(&self, code: Code, what: impl core::fmt::Display) -> Fault {
        Fault::new(code, format!("line {}: {what}", self.number))
    }

    /// One number.
    fn number<T: core::str::FromStr>(&self, text: &str) -> Read<T> {
        text.parse()
            .map_err(|_| self.fault(Code::ModelMalformed, format_args!("{:?} is not a number here", clip(text))))
    }

    /// Numbers between spaces, up to `max`.
    fn numbers<T: core::str::FromStr>(&self, text: &str, max: usize) -> Read<Vec<T>> {
        let mut list = Vec::new();
        for word in text.split_ascii_whitespace() {
            if list.len() == max {
                return Err(self.fault(Code::ModelTooLarge, format_args!("more than {max} values")));
            }
            list.push(self.number(word)?);
        }
        Ok(list)
    }
}

/// The beginning of what a stranger wrote.
fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The lines before the first tree.
#[derive(Default)]
struct Header {
    objective: Option<String>,
    average: bool,
    features: u64,
    names: Vec<String>,
    infos: Vec<String>,
    /// The first line after.
    next: String,
}

impl Header {
    fn read(lines: &mut Lines<'_>) -> Read<Self> {
        let mut it = Self::default();
        if lines.next()? != "tree" {
            return Err(lines.fault(Code::ModelMalformed, "a LightGBM model begins with the line \"tree\""));
        }
        loop {
            let line = lines.next()?;
            if line.starts_with("Tree=") || line == "end of trees" {
                it.next = line.to_owned();
                return Ok(it);
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            match key {
                "version" if !matches!(value, "v3" | "v4") => {
                    return Err(lines.fault(
                        Code::ModelUnsupported,
                        format_args!("version {:?}; v3 and v4 can be read", clip(value)),
                    ));
                }
                "num_class" | "num_tree_per_iteration" if value != "1" => {
                    return Err(lines.fault(
                        Code::ModelUnsupported,
                        format_args!("{} scores a row; models of one score can be used", clip(value)),
                    ));
                }
                "max_feature_idx" => it.features = lines.number::<u64>(value)?.saturating_add(1),
                "objective" => it.objective = Some(value.to_owned()),
                "average_output" => it.average = true,
                "feature_names" => it.names = words(lines, value)?,
                "feature_infos" => it.infos = words(lines, value)?,
                _ => {}
            }
        }
    }

    fn link(&self) -> Read<Link> {
        let Some(objective) = &self.objective else { return Ok(Link::Identity) };
        let mut words = objective.split(' ');
        let name = words.next().unwrap_or_default();
        let unsupported = |what: String| Err(Fault::new(Code::ModelUnsupported, what));
        let mut slope = 1.0;
        for word in words {
            match word.split_once(':') {
                Some(("sigmoid", value)) => {
                    slope = value
                        .parse()
                        .map_err(|_| Fault::new(Code::ModelMalformed, format!("sigmoid {:?}", clip(value))))?;
                }
                None if word == "sqrt" => return unsupported("regression on square roots (reg_sqrt)".into()),
                _ => {}
            }
        }
        match name {
            "binary" => Ok(Link::Logistic { slope }),
            "cross_entropy" | "xentropy" => Ok(Link::Logistic { slope: 1.0 }),
            "poisson" | "gamma" | "tweedie" => Ok(Link::Exp),
            "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank" | "rank_xendcg" => {
                Ok(Link::Identity)
            }
            other => {
                unsupported(format!("objective {:?}; see docs/MODELS.md for those that can be scored", clip(other)))
            }
        }
    }

    /// Names, and which features have categories: a range `[a:b]` is a number, codes `a:b:c` are categories.
    fn known(&self) -> Read<Vec<Known>> {
        let count = features::count(self.features)?;
        for (list, what) in [(&self.names, "names"), (&self.infos, "infos")] {
            if !list.is_empty() && list.len() != count {
                let what = format!("{count} features and {} {what}", list.len());
                return Err(Fault::new(Code::ModelFeatures, what));
            }
        }
        Ok((0..count)
            .map(|i| {
                let info = self.infos.get(i).map_or("none", String::as_str);
                Known {
                    name: self.names.get(i).cloned(),
                    categorical: !info.starts_with('[') && info != "none",
                    ..Known::default()
                }
            })
            .collect())
    }
}

fn words(lines: &Lines<'_>, text: &str) -> Read<Vec<String>> {
    let list = text.split(' ').filter(|w| !w.is_empty());
    if list.clone().count() > crate::limits::FEATURES_MAX {
        return Err(lines.fault(Code::ModelTooLarge, "more features than a model may have"));
    }
    Ok(list.map(str::to_owned).collect())
}

struct File {
    header: Header,
    trees: Vec<Tree>,
    nodes: usize,
    entries: usize,
    known: Vec<Known>,
    /// The categories of the data frame's columns; `None` without such a line.
    lists: Option<Vec<Vec<String>>>,
}

impl File {
    fn read_trees(&mut self, lines: &mut Lines<'_>) -> Read<()> {
        let mut line = core::mem::take(&mut self.header.next);
        loop {
            if line == "end of trees" {
                return Ok(());
            }
            if !line.is_empty() && !line.starts_with("Tree=") {
                return Err(
                    lines.fault(Code::ModelMalformed, format_args!("{:?} where a tree is expected", clip(&line)))
                );
            }
            if line.starts_with("Tree=") {
                if self.trees.len() == TREES_MAX {
                    return Err(lines.fault(Code::ModelTooLarge, format_args!("more than {TREES_MAX} trees")));
                }
                let begins = lines.number;
                let raw = RawTree::read(lines, NODES_MAX - self.nodes)?;
                self.nodes += 2 * raw.leaf.len();
                let wrong = |fault: Fault| Fault::new(fault.code, format!("tree at line {begins}: {}", fault.what));
                let tree = raw.tree(self.trees.len(), &mut self.entries, &mut self.known).map_err(wrong)?;
                self.trees.push(tree);
            }
            line = lines.next()?.to_owned();
        }
    }

    /// What follows the trees: the parameters, which name the categorical features, and the line of categories.
    fn read_rest(&mut self, lines: &mut Lines<'_>) -> Read<()> {
        while let Some(line) = lines.more()? {
            if self.lists.is_some() {
                if !line.is_empty() {
                    return Err(lines.fault(Code::ModelMalformed, "the categories are the last line of a model"));
                }
            } else if let Some(text) = line.strip_prefix("pandas_categorical:") {
                self.lists = Some(self.read_lists(text).map_err(|f| lines.fault(f.code, f.what))?);
            } else if let Some(value) = line.strip_prefix("[categorical_feature: ").and_then(|l| l.strip_suffix(']')) {
                // Those of the Python package are places; others may write names, which the line of infos has too.
                for place in value.split(',').filter_map(|word| word.trim().parse::<usize>().ok()) {
                    if let Some(known) = self.known.get_mut(place) {
                        known.categorical = true;
                    }
                }
            }
        }
        Ok(())
    }

    /// One list for each column of categories in the data frame, in the order of the columns.
    fn read_lists(&self, text: &str) -> Read<Vec<Vec<String>>> {
        let mut json = Json::new(text.as_bytes());
        let (mut lists, mut total) = (Vec::new(), 0);
        if json.peek() == Some(b'n') {
            json.word("null")?;
            json.finish()?;
            return Ok(lists);
        }
        json.array(self.known.len(), "categorical columns", |json| {
            let list = json.list(CATEGORIES_MAX, "categories", |json| match json.peek() {
                Some(b'"') => json.string(CATEGORY_BYTES_MAX),
                // Truth values are 0 and 1 in a column.
                Some(b't' | b'f') => json.i64().map(|v| v.to_string()),
                _ => {
                    let text = json.number()?;
                    features::number(text).ok_or_else(|| json.fault(Code::ModelMalformed, "a number is expected"))
                }
            })?;
            total += list.len();
            if total > CATEGORIES_TOTAL_MAX {
                let what = format_args!("more than {CATEGORIES_TOTAL_MAX} categories");
                return Err(json.fault(Code::ModelTooLarge, what));
            }
            lists.push(list);
            Ok(())
        })?;
        json.finish()?;
        Ok(lists)
    }

    /// Gives the categorical features their categories, where it is certain which are whose.
    fn name_categories(&mut self) {
        let Some(lists) = &self.lists else { return };
        let infos = &self.header.infos;
        let columns = self.known.iter_mut().enumerate().filter(|(_, k)| k.categorical);
        let mut columns: Vec<(i64, &mut Known)> =
            columns.map(|(i, known)| (infos.get(i).map_or(-1, |info| greatest(info)), known)).collect();
        // Columns of numbers that were said to be categories have no list, and ordered categories have one and are
        // numbers to the model: then the lists do not say whose they are.
        let fits = |((seen, known), list): (&(i64, &mut Known), &Vec<String>)| {
            // why: a list is far shorter than 2^63.
            known.codes <= list.len() && *seen < list.len() as i64
        };
        let certain = columns.len() == lists.len() && columns.iter().zip(lists).all(fits);
        for (i, (_, known)) in columns.iter_mut().enumerate() {
            known.coded = lists.is_empty();
            known.categories = lists.get(i).filter(|_| certain).cloned();
        }
    }

    fn model(self, import: Import) -> Read<Model> {
        let link = self.header.link()?;
        let features = features::resolve(self.known, &import)?;
        check_lists(self.lists.as_deref().unwrap_or_default(), &features)?;
        let trees = Trees { precision: Precision::Double, base: 0.0, average: self.header.average, trees: self.trees };
        Model::new(import.meta, features, link, Kind::Trees(trees))
    }
}

/// The greatest code in what a file says of a categorical feature, `-1:4:0`.
fn greatest(info: &str) -> i64 {
    info.split(':').filter_map(|code| code.parse().ok()).max().unwrap_or(-1)
}

/// Checks what was declared where the file does not say whose its lists are: each is one of them, in their order, or
/// the codes themselves.
fn check_lists(lists: &[Vec<String>], features: &[Feature]) -> Read<()> {
    let mut rest = lists.iter();
    for feature in features {
        let FeatureKind::Categorical(told) = &feature.kind else { continue };
        let mut ahead = rest.clone();
        if ahead.any(|list| list == told) {
            rest = ahead;
        } else if !lists.is_empty() && told.iter().enumerate().any(|(code, name)| *name != code.to_string()) {
            let what = format!("{:?}: the file has no such list of categories in this order", feature.name);
            return Err(Fault::new(Code::ModelFeatures, what));
        }
    }
    Ok(())
}

/// The columns of one tree.
#[derive(Default)]
struct RawTree {
    feature: Vec<u32>,
    threshold: Vec<f64>,
    decision: Vec<u8>,
    left: Vec<i64>,
    right: Vec<i64>,
    leaf: Vec<f64>,
    set_ends: Vec<usize>,
    sets: Vec<u32>,
}

impl RawTree {
    fn read(lines: &mut Lines<'_>, nodes: usize) -> Read<Self> {
        let mut it = Self::default();
        let mut leaves = None;
        loop {
            let line = lines.next()?;
            if line.is_empty() {
                break;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            match key {
                "num_leaves" => leaves = Some(lines.number::<usize>(value)?),
                "split_feature" => it.feature = lines.numbers(value, nodes)?,
                "threshold" => it.threshold = lines.numbers(value, nodes)?,
                "decision_type" => it.decision = lines.numbers(value, nodes)?,
                "left_child" => it.left = lines.numbers(value, nodes)?,
                "right_child" => it.right = lines.numbers(value, nodes)?,
                "leaf_value" => it.leaf = lines.numbers(value, nodes)?,
                "cat_boundaries" => it.set_ends = lines.numbers(value, nodes)?,
                "cat_threshold" => it.sets = lines.numbers(value, SET_ENTRIES_MAX)?,
                "is_linear" if value != "0" => {
                    return Err(lines.fault(Code::ModelUnsupported, "linear trees (linear_tree)"));
                }
                _ => {}
            }
        }
        let splits = it.leaf.len().saturating_sub(1);
        let columns = [it.feature.len(), it.threshold.len(), it.decision.len(), it.left.len(), it.right.len()];
        if leaves != Some(it.leaf.len()) || it.leaf.is_empty() || columns.iter().any(|n| *n != splits) {
            return Err(lines.fault(Code::ModelStructure, "the columns of a tree are of different lengths"));
        }
        if 2 * it.leaf.len() > nodes {
            return Err(lines.fault(Code::ModelTooLarge, format_args!("more than {NODES_MAX} nodes")));
        }
        Ok(it)
    }

    /// Splits keep their numbers; leaf `i` follows them.
    fn tree(self, tree: usize, entries: &mut usize, known: &mut [Known]) -> Read<Tree> {
        let splits = self.feature.len();
        let branch = |child: i64| {
            // A leaf is the complement of its number.
            let place = if child < 0 { (!child).saturating_add(splits as i64) } else { child };
            u32::try_from(place).map_err(|_| Fault::new(Code::ModelStructure, format!("branch {child}")))
        };
        let mut nodes = Vec::with_capacity(splits + self.leaf.len());
        for n in 0..splits {
            let column = |list: &[i64]| list.get(n).copied().unwrap_or_default();
            let (yes, no) = (branch(column(&self.left))?, branch(column(&self.right))?);
            let feature = self.feature.get(n).copied().unwrap_or_default();
            let threshold = self.threshold.get(n).copied().unwrap_or_default();
            let decision = self.decision.get(n).copied().unwrap_or_default();
            let split = if decision & 1 == 1 {
                let codes = self.codes(threshold, entries)?;
                if let Some(known) = known.get_mut(feature as usize) {
                    known.categorical = true;
                    known.codes = known.codes.max(codes.last().map_or(0, |last| *last as usize + 1));
                }
                Linked::Split { feature, test: Test::OneOf(codes), missing: Missing::No, yes, no }
            } else {
                let left = decision & 2 != 0;
                let missing = match (decision >> 2 & 3, left) {
                    (0, _) => Missing::Zero,
                    (1, true) => Missing::ZeroYes,
                    (1, false) => Missing::ZeroNo,
                    (2, true) => Missing::Yes,
                    (2, false) => Missing::No,
                    _ => return Err(Fault::new(Code::ModelStructure, format!("split {n}: decision type {decision}"))),
                };
                // LightGBM writes its greatest double for infinity; a file may have the word.
                let threshold = if threshold.is_nan() { threshold } else { threshold.clamp(f64::MIN, f64::MAX) };
                Linked::Split { feature, test: Test::AtMost(threshold), missing, yes, no }
            };
            nodes.push(Some(split));
        }
        nodes.extend(self.leaf.iter().map(|value| Some(Linked::Leaf(*value))));
        in_order(tree, &mut nodes, 0)
    }

    /// The codes of the set whose number stands in the place of a threshold.
    fn codes(&self, set: f64, entries: &mut usize) -> Read<Vec<u32>> {
        let wrong = || Fault::new(Code::ModelStructure, format!("there is no set {set} of categories"));
        // why: saturates; what is no number of a set has no end.
        let set = if set >= 0.0 && set.fract() == 0.0 { set as usize } else { usize::MAX };
        let from = self.set_ends.get(set).copied().ok_or_else(wrong)?;
        let to = set.checked_add(1).and_then(|next| self.set_ends.get(next)).copied().ok_or_else(wrong)?;
        let words = self.sets.get(from..to).ok_or_else(wrong)?;
        if words.len() > CATEGORIES_MAX.div_ceil(32) {
            return Err(Fault::new(Code::ModelTooLarge, format!("a code of a category over {CATEGORIES_MAX}")));
        }
        *entries += words.iter().map(|w| w.count_ones() as usize).sum::<usize>();
        if *entries > SET_ENTRIES_MAX {
            return Err(Fault::new(Code::ModelTooLarge, format!("more than {SET_ENTRIES_MAX} categories in splits")));
        }
        let bits = words
            .iter()
            .zip(0u32..)
            .flat_map(|(word, i)| (0..32).filter(move |b| word >> b & 1 == 1).map(move |b| 32 * i + b));
        Ok(bits.collect())
    }
}
