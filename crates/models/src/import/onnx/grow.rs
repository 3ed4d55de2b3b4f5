//! Nodes of a tree ensemble over columns, as trees over features: what was done to a column before becomes part of the
//! thresholds, and equality becomes two comparisons.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault};

use crate::fixed::ordered;
use crate::limits::{NODES_MAX, TREE_DEPTH_MAX};
use crate::tree::{Linked, Missing, Test, Tree, in_order};

type Read<T> = Result<T, Fault>;

fn unsupported<T>(what: &str) -> Read<T> {
    Err(Fault::new(Code::ModelUnsupported, what))
}

fn structure<T>(what: String) -> Read<T> {
    Err(Fault::new(Code::ModelStructure, what))
}

fn too_large<T>(what: String) -> Read<T> {
    Err(Fault::new(Code::ModelTooLarge, what))
}

/// What may be done to a column before trees.
const STEPS_MAX: usize = 4;
/// Nodes of all trees of an ensemble in which equality is taken apart: a short file may ask for many.
const APART_MAX: usize = NODES_MAX / 4;
/// Nodes that are looked at while equality is taken apart, for all trees.
const VISITS_MAX: usize = 4 * NODES_MAX;

/// One operation on a column of singles.
#[derive(Clone, Copy)]
pub enum Step {
    Less(f32),
    Times(f32),
    Over(f32),
}

/// What was done to a column, one operation after the other in singles, as the runtime does it.
#[derive(Clone, Copy)]
pub struct Steps {
    list: [Step; STEPS_MAX],
    count: usize,
    double: bool,
    exact: bool,
}

impl Steps {
    /// Nothing yet.
    pub fn new(double: bool) -> Self {
        Self { list: [Step::Less(0.0); STEPS_MAX], count: 0, double, exact: true }
    }

    /// One more. What is not one of singles, or one too many, is no longer known exactly.
    pub fn then(mut self, step: fn(f32) -> Step, value: f64) -> Self {
        let single = value as f32;
        let step = step(single);
        if matches!(step, Step::Less(0.0) | Step::Times(1.0) | Step::Over(1.0)) {
            return self;
        }
        match self.list.get_mut(self.count) {
            Some(slot) if f64::from(single).to_bits() == value.to_bits() && !self.double => {
                *slot = step;
                self.count += 1;
            }
            _ => self.exact = false,
        }
        self
    }

    /// Converted to singles or doubles.
    pub fn cast(mut self, double: bool) -> Self {
        // A double that nothing was done to is rounded once, as trees of singles round it.
        self.exact &= self.double == double || (self.double && self.count == 0);
        self.double = double;
        self
    }

    fn list(&self) -> &[Step] {
        self.list.get(..self.count).unwrap_or_default()
    }

    fn apply(&self, value: f32) -> f32 {
        self.list().iter().fold(value, |x, step| match step {
            Step::Less(v) => x - v,
            Step::Times(v) => x * v,
            Step::Over(v) => x / v,
        })
    }

    /// Whether a greater value comes out as a smaller one; an error where that cannot be said.
    fn falls(&self) -> Read<bool> {
        let mut falls = false;
        for step in self.list() {
            match step {
                Step::Less(v) if v.is_finite() => {}
                Step::Times(v) | Step::Over(v) if v.is_finite() && *v != 0.0 => falls ^= *v < 0.0,
                _ => return unsupported("a feature that is scaled with zero or infinity before trees"),
            }
        }
        Ok(falls)
    }

    /// The test of a feature that holds, or (`true`) fails, exactly where that of the column holds. Every operation keeps
    /// or turns the order of singles, so one single parts those for which it holds from the others.
    fn test(&self, threshold: f32, strict: bool) -> Read<(Test, bool)> {
        if self.count == 0 || !threshold.is_finite() {
            let threshold = f64::from(threshold);
            return Ok((if strict { Test::Below(threshold) } else { Test::AtMost(threshold) }, false));
        }
        let falls = self.falls()?;
        let low = |key: i64| {
            let value = self.apply(single(key));
            (if strict { value < threshold } else { value <= threshold }) != falls
        };
        // Below all singles it holds, or fails where the order is turned; beyond them it is the other way round.
        let (mut from, mut to) = (LEAST, MOST);
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            if low(middle) { from = middle } else { to = middle }
        }
        let test = if from == LEAST { Test::Below(f64::from(f32::MIN)) } else { Test::AtMost(f64::from(single(from))) };
        Ok((test, falls))
    }
}

/// The infinities in the order of singles.
const MOST: i64 = 0x7f80_0000;
const LEAST: i64 = -MOST;

/// The single of a place in the order.
fn single(key: i64) -> f32 {
    // why: places are those of singles, 31 bits and a sign.
    let magnitude = f32::from_bits(key.unsigned_abs() as u32);
    if key < 0 { -magnitude } else { magnitude }
}

/// A column that trees take.
#[derive(Clone, Copy)]
pub struct Column {
    pub feature: u32,
    pub steps: Steps,
}

/// What a node asks of its column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    AtMost,
    Below,
    Equal,
}

/// A node of a file.
#[derive(Clone, Copy)]
pub enum Raw {
    Leaf(f32),
    Split { column: usize, mode: Mode, threshold: f32, missing_yes: bool, yes: u32, no: u32 },
}

/// The trees of these roots.
pub fn trees(raw: &[Raw], roots: &[u32], columns: &[Column]) -> Read<Vec<Tree>> {
    if columns.iter().any(|c| c.steps.double) {
        return unsupported("trees on features in double precision");
    }
    if columns.iter().any(|c| !c.steps.exact) {
        return unsupported("trees on features that were changed in a way that no threshold is exact for");
    }
    let equal = raw.iter().any(|n| matches!(n, Raw::Split { mode: Mode::Equal, .. }));
    if equal {
        let mut grow = Grow { raw, columns, out: Vec::new(), room: APART_MAX, visits: 0 };
        return roots.iter().enumerate().map(|(i, root)| grow.tree(i, *root)).collect();
    }
    let mut nodes = raw.iter().map(|node| linked(node, columns).map(Some)).collect::<Read<Vec<_>>>()?;
    roots.iter().enumerate().map(|(i, root)| in_order(i, &mut nodes, *root)).collect()
}

fn column(columns: &[Column], place: usize) -> Read<&Column> {
    columns.get(place).map_or_else(|| structure(format!("column {place} of {}", columns.len())), Ok)
}

fn linked(node: &Raw, columns: &[Column]) -> Read<Linked> {
    Ok(match *node {
        Raw::Leaf(value) => Linked::Leaf(f64::from(value)),
        Raw::Split { column: place, mode, threshold, missing_yes, yes, no } => {
            let column = column(columns, place)?;
            let (test, turned) = column.steps.test(threshold, mode == Mode::Below)?;
            let (yes, no) = if turned { (no, yes) } else { (yes, no) };
            let missing = if missing_yes != turned { Missing::Yes } else { Missing::No };
            Linked::Split { feature: column.feature, test, missing, yes, no }
        }
    })
}

/// The values of a feature that reach a node: singles from one place in the order to another, and none at all.
#[derive(Clone, Copy)]
struct Region {
    from: i64,
    to: i64,
    missing: bool,
}

const ALL: Region = Region { from: LEAST, to: MOST, missing: true };

impl Region {
    fn any(self) -> bool {
        self.from <= self.to || self.missing
    }

    /// Up to a place, and from the next on, with the gaps on one side.
    fn parted(self, at: i64, missing_yes: bool) -> (Self, Self) {
        let yes = Self { to: self.to.min(at), missing: self.missing && missing_yes, ..self };
        let no = Self { from: self.from.max(at + 1), missing: self.missing && !missing_yes, ..self };
        (yes, no)
    }
}

/// Takes equality apart. Branches that no value reaches are left out, so that of a chain of equalities each stays once.
struct Grow<'a> {
    raw: &'a [Raw],
    columns: &'a [Column],
    out: Vec<Option<Linked>>,
    /// Nodes that may still be made.
    room: usize,
    visits: usize,
}

impl Grow<'_> {
    fn tree(&mut self, tree: usize, root: u32) -> Read<Tree> {
        let place = self.walk(root, 0, &BTreeMap::new())?;
        let mut nodes = core::mem::take(&mut self.out);
        self.room -= nodes.len();
        in_order(tree, &mut nodes, place)
    }

    fn push(&mut self, node: Option<Linked>) -> Read<u32> {
        if self.out.len() == self.room {
            return too_large(format!("more than {APART_MAX} nodes once equality is taken apart"));
        }
        self.out.push(node);
        // why: the cap on nodes is below 2^32.
        Ok((self.out.len() - 1) as u32)
    }

    /// A split whose branches are made by `yes` and `no`.
    fn split(
        &mut self,
        feature: u32,
        (test, missing_yes): (Test, bool),
        yes: impl FnOnce(&mut Self) -> Read<u32>,
        no: impl FnOnce(&mut Self) -> Read<u32>,
    ) -> Read<u32> {
        let place = self.push(None)?;
        let (yes, no) = (yes(self)?, no(self)?);
        let missing = if missing_yes { Missing::Yes } else { Missing::No };
        if let Some(slot) = self.out.get_mut(place as usize) {
            *slot = Some(Linked::Split { feature, test, missing, yes, no });
        }
        Ok(place)
    }

    fn walk(&mut self, mut at: u32, depth: usize, regions: &BTreeMap<u32, Region>) -> Read<u32> {
        loop {
            self.visits += 1;
            if self.visits > VISITS_MAX || depth > TREE_DEPTH_MAX {
                return too_large(format!(
                    "deeper than {TREE_DEPTH_MAX}, or without an end, once equality is taken apart"
                ));
            }
            let Some(node) = self.raw.get(at as usize).copied() else {
                return structure(format!("there is no node {at}"));
            };
            let Raw::Split { column: place, mode, threshold, missing_yes, yes, no } = node else {
                return self.push(Some(linked(&node, self.columns)?));
            };
            let column = *column(self.columns, place)?;
            let feature = column.feature;
            let region = regions.get(&feature).copied().unwrap_or(ALL);
            // One branch, for what of the feature reaches it.
            let branch = |grow: &mut Self, at: u32, deeper: usize, region: Region| {
                let mut inner = regions.clone();
                inner.insert(feature, region);
                grow.walk(at, depth + deeper, &inner)
            };
            let Some(key) = ordered(threshold).filter(|_| threshold.is_finite()) else {
                return Err(Fault::new(Code::ModelNotFinite, format!("node {at}: threshold {threshold}")));
            };
            if mode != Mode::Equal {
                let (test, turned) = column.steps.test(threshold, mode == Mode::Below)?;
                let (yes, no) = if turned { (no, yes) } else { (yes, no) };
                let missing_yes = missing_yes != turned;
                let last = match test {
                    // why: a threshold of a test here is a single.
                    Test::AtMost(t) => ordered(t as f32).unwrap_or(LEAST),
                    Test::Below(t) => ordered(t as f32).unwrap_or(LEAST) - 1,
                    Test::OneOf(_) => LEAST,
                };
                match region.parted(last, missing_yes) {
                    (_, below) if !below.any() => at = yes,
                    (above, _) if !above.any() => at = no,
                    (below, above) => {
                        return self.split(
                            feature,
                            (test, missing_yes),
                            |grow| branch(grow, yes, 1, below),
                            |grow| branch(grow, no, 1, above),
                        );
                    }
                }
                continue;
            }
            if column.steps.count > 0 {
                return unsupported("BRANCH_EQ on a feature that was scaled");
            }
            let inside = (region.from..=region.to).contains(&key);
            let (gaps_yes, gaps_no) = (region.missing && missing_yes, region.missing && !missing_yes);
            let one = Region { from: key, to: key, missing: gaps_yes };
            if !inside && !gaps_yes {
                at = no;
                continue;
            }
            if inside && region.from == region.to && !gaps_no {
                at = yes;
                continue;
            }
            let t = f64::from(threshold);
            if !inside {
                // Gaps alone are equal. The values lie all on one side, so there is a test for none or all of them.
                let rest = Region { missing: false, ..region };
                let gaps = Region { from: 1, to: 0, missing: true };
                if region.from > key {
                    let none = (Test::Below(f64::from(f32::MIN)), true);
                    return self.split(feature, none, |g| branch(g, yes, 1, gaps), |g| branch(g, no, 1, rest));
                }
                let all = (Test::AtMost(f64::from(f32::MAX)), false);
                return self.split(feature, all, |g| branch(g, no, 1, rest), |g| branch(g, yes, 1, gaps));
            }
            let (up_to, above) = region.parted(key, missing_yes);
            let below = Region { to: key - 1, missing: false, ..up_to };
            let under = |grow: &mut Self, deeper: usize| {
                if !below.any() {
                    return branch(grow, yes, deeper, one);
                }
                let test = (Test::Below(t), false);
                grow.split(feature, test, |g| branch(g, no, deeper + 1, below), |g| branch(g, yes, deeper + 1, one))
            };
            if !above.any() {
                return under(self, 0);
            }
            return self.split(
                feature,
                (Test::AtMost(t), missing_yes),
                |grow| under(grow, 1),
                |grow| branch(grow, no, 1, above),
            );
        }
    }
}
