//! Sums of one function per feature: linear models and scorecards.

use tacit_types::{Code, Fault};

use crate::frame::Frame;
use crate::limits::{BINS_MAX, POINTS_TOTAL_MAX, TERMS_MAX};
use crate::model::{Feature, finite};

/// An intercept and terms.
#[derive(Clone, PartialEq, Debug)]
pub struct Additive {
    /// What the sum begins with.
    pub intercept: f64,
    /// The terms, in the order of their sum. A feature may have several.
    pub terms: Vec<Term>,
}

/// What one feature adds.
#[derive(Clone, PartialEq, Debug)]
pub struct Term {
    /// Place of the feature in the model's list.
    pub feature: u32,
    /// How its value is used.
    pub shape: Shape,
}

/// A function of one value.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    /// `weight * value`.
    Linear {
        /// The weight.
        weight: f64,
        /// What a missing value adds; `None` refuses it.
        missing: Option<f64>,
    },
    /// Points by interval: `points[i]` for `edges[i - 1] <= value < edges[i]`.
    Bins {
        /// The edges, ascending.
        edges: Vec<f64>,
        /// The points, one more than edges.
        points: Vec<f64>,
        /// What a missing value adds; `None` refuses it.
        missing: Option<f64>,
    },
    /// Points by category.
    Categories {
        /// The points, one a category of the feature.
        points: Vec<f64>,
        /// What a category that the feature does not list adds; `None` refuses it.
        other: Option<f64>,
        /// What a missing value adds; `None` refuses it.
        missing: Option<f64>,
    },
}

impl Shape {
    /// What a value adds; `None` when it is missing and there is no rule for that. NaN is missing; below zero is a
    /// category that is not listed.
    pub fn value(&self, value: f64) -> Option<f64> {
        match self {
            Shape::Linear { missing, .. } | Shape::Bins { missing, .. } | Shape::Categories { missing, .. }
                if value.is_nan() =>
            {
                *missing
            }
            Shape::Linear { weight, .. } => Some(weight * value),
            Shape::Bins { edges, points, .. } => points.get(edges.partition_point(|edge| *edge <= value)).copied(),
            Shape::Categories { other, .. } if value < 0.0 => *other,
            // why: a code is a small whole number, so the conversion is exact.
            Shape::Categories { points, other, .. } => points.get(value as usize).copied().or(*other),
        }
    }

    /// Every number of it.
    fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        let (list, more, single, a, b): (&[f64], &[f64], _, _, _) = match self {
            Shape::Linear { weight, missing } => (&[], &[], Some(*weight), *missing, None),
            Shape::Bins { edges, points, missing } => (edges, points, None, *missing, None),
            Shape::Categories { points, other, missing } => (points, &[], None, *other, *missing),
        };
        list.iter().chain(more).copied().chain([single, a, b].into_iter().flatten())
    }

    /// The greatest magnitude of what it adds, for values within `range`; `None` without a bound.
    pub fn bound(&self, range: Option<(f64, f64)>) -> Option<f64> {
        let greatest = |list: &[f64], a: Option<f64>, b: Option<f64>| {
            list.iter().copied().chain(a).chain(b).fold(0.0, |m: f64, v| m.max(v.abs()))
        };
        match self {
            Shape::Linear { weight, missing } => {
                let (least, most) = range?;
                Some((weight * least.abs().max(most.abs())).abs().max(missing.unwrap_or(0.0).abs()))
            }
            Shape::Bins { points, missing, .. } => Some(greatest(points, *missing, None)),
            Shape::Categories { points, other, missing } => Some(greatest(points, *other, *missing)),
        }
    }
}

impl Additive {
    /// The margin of a row; `value` gives the value of a feature. `Err` is the feature whose value is missing.
    ///
    /// # Errors
    /// The place of a feature that has no value and no rule for that.
    pub fn margin(&self, value: impl Fn(u32) -> f64) -> Result<f64, u32> {
        let mut sum = self.intercept;
        for term in &self.terms {
            sum += term.shape.value(value(term.feature)).ok_or(term.feature)?;
        }
        Ok(sum)
    }

    /// The margins of some rows of a frame, a feature at a time: each is the sum that [`Additive::margin`] gives, to the
    /// bit. `None` for a row that lacks a value for which there is no rule.
    pub fn margins(&self, frame: &Frame, rows: impl ExactSizeIterator<Item = usize> + Clone) -> Vec<Option<f64>> {
        let (mut sums, mut lacks) = (vec![self.intercept; rows.len()], vec![false; rows.len()]);
        for term in &self.terms {
            let column = frame.column(term.feature);
            let each = sums.iter_mut().zip(&mut lacks).zip(rows.clone());
            let each = each.map(|(slots, row)| (slots, column.get(row).copied().unwrap_or(f64::NAN)));
            // The most common shape, without a choice a row.
            if let Shape::Linear { weight, missing: None } = term.shape {
                each.for_each(|((sum, lacks), value)| {
                    *sum += weight * value;
                    *lacks |= value.is_nan();
                });
                continue;
            }
            for ((sum, lacks), value) in each {
                match term.shape.value(value) {
                    Some(value) => *sum += value,
                    None => *lacks = true,
                }
            }
        }
        sums.into_iter().zip(lacks).map(|(sum, lacks)| (!lacks).then_some(sum)).collect()
    }

    pub(crate) fn check(&self, features: &[Feature]) -> Result<(), Fault> {
        let too_large = |what: String| Err(Fault::new(Code::ModelTooLarge, what));
        if self.terms.len() > TERMS_MAX {
            return too_large(format!("{} terms; at most {TERMS_MAX}", self.terms.len()));
        }
        finite(self.intercept, || "the intercept".into())?;
        let mut points_total = 0;
        for (i, term) in self.terms.iter().enumerate() {
            let wrong = |what: String| Err(Fault::new(Code::ModelStructure, format!("term {i}: {what}")));
            let Some(feature) = features.get(term.feature as usize) else {
                return wrong(format!("feature {} of {}", term.feature, features.len()));
            };
            for number in term.shape.numbers() {
                finite(number, || format!("term {i}, feature {:?}", feature.name))?;
            }
            let categories = feature.categories();
            match &term.shape {
                Shape::Linear { .. } if categories == 0 => {}
                Shape::Bins { edges, points, .. } if categories == 0 => {
                    points_total += points.len();
                    if points.len() > BINS_MAX {
                        return too_large(format!("term {i}: {} bins; at most {BINS_MAX}", points.len()));
                    }
                    let ascending = edges.windows(2).all(|w| matches!(w, [a, b] if a < b));
                    if points.len() != edges.len() + 1 || !ascending {
                        return wrong("edges ascend, and there is one more of points than of edges".into());
                    }
                }
                Shape::Categories { points, .. } if categories > 0 => {
                    points_total += points.len();
                    if points.len() != categories {
                        return wrong(format!("{} points for {categories} categories", points.len()));
                    }
                }
                _ => return wrong(format!("does not fit the kind of feature {:?}", feature.name)),
            }
        }
        if points_total > POINTS_TOTAL_MAX {
            return too_large(format!("{points_total} bins and categories; at most {POINTS_TOTAL_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tacit_types::{Column, Columns, Values};

    use super::*;

    #[test]
    fn a_feature_at_a_time_gives_the_same_bits_as_a_row_at_a_time() {
        let features = [Feature::numeric("a"), Feature::numeric("b")];
        let linear = |weight, missing| Shape::Linear { weight, missing };
        let bins = Shape::Bins { edges: vec![0.0, 1.5], points: vec![0.1, -0.7, 1e9], missing: None };
        let shapes = [(0, linear(0.1, None)), (1, linear(-3.3, Some(0.7))), (1, bins), (0, linear(1e200, None))];
        let terms = shapes.into_iter().map(|(feature, shape)| Term { feature, shape }).collect();
        let additive = Additive { intercept: 0.3, terms };
        let values = [0.1, -2.7, f64::NAN, 1e200, f64::INFINITY, 3.3, -0.0];
        let column = |name: &str, turn: usize| {
            let values = (0..49)
                .map(|i| values.iter().copied().cycle().nth(if turn == 0 { i } else { i / 7 }))
                .map(Option::unwrap);
            Column { name: name.into(), values: Values::Float(values.collect()), valid: None }
        };
        let frame =
            Frame::new(&features, &Columns { rows: 49, columns: vec![column("a", 0), column("b", 1)] }).unwrap();
        let rows: Vec<usize> = (0..49).rev().step_by(2).collect();
        let bits = |margin: Option<f64>| margin.map(f64::to_bits);
        let each = rows.iter().map(|row| bits(additive.margin(|feature| frame.value(*row, feature)).ok()));
        let once = additive.margins(&frame, rows.iter().copied());
        assert!(once.into_iter().map(bits).eq(each));
    }
}
