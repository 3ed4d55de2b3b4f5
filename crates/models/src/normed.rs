//! Linear models over features that were divided by the norm of their row, as ONNX `Normalizer` does it. All features of a
//! row go into each column, so such a model is one owner's: it can neither be divided nor put on shares.

use tacit_types::{Code, Fault};

use crate::limits::TERMS_MAX;
use crate::model::{Feature, finite};

/// What a row is divided by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Norm {
    /// The greatest number, with its sign: what the operator's specification says. (scikit-learn takes the greatest magnitude.)
    Max,
    /// The sum of magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
}

/// A column: `(feature - offset) * scale`, and what it weighs once it is divided.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormedColumn {
    /// Place of the feature in the model's list.
    pub feature: u32,
    /// What is taken from it first.
    pub offset: f64,
    /// What it is multiplied with then.
    pub scale: f64,
    /// The weight.
    pub weight: f64,
}

/// An intercept and columns under one norm.
#[derive(Clone, PartialEq, Debug)]
pub struct Normed {
    /// The norm.
    pub norm: Norm,
    /// What the sum begins with.
    pub intercept: f64,
    /// The columns, in the order of their sum.
    pub columns: Vec<NormedColumn>,
}

impl Normed {
    /// The margin of a row; `value` gives the value of a feature. Norms are taken in singles, as the runtime takes them: that
    /// shows where squares have no single.
    ///
    /// # Errors
    /// The place of a feature that has no value.
    pub fn margin(&self, value: impl Fn(u32) -> f64) -> Result<f64, u32> {
        let mut row = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let value = value(column.feature);
            if value.is_nan() {
                return Err(column.feature);
            }
            row.push(((value - column.offset) * column.scale) as f32);
        }
        let norm = match self.norm {
            Norm::Max => row.iter().copied().fold(f32::MIN, f32::max),
            Norm::L1 => row.iter().map(|x| x.abs()).sum(),
            Norm::L2 => row.iter().map(|x| x * x).sum(),
        };
        let divided = |x: f32| match self.norm {
            // A row of zeroes stays one.
            _ if norm == 0.0 => x,
            Norm::Max | Norm::L1 => x / norm,
            Norm::L2 => (x * x / norm).sqrt().copysign(x),
        };
        let products = self.columns.iter().zip(row).map(|(column, x)| column.weight * f64::from(divided(x)));
        Ok(products.fold(self.intercept, |sum, product| sum + product))
    }

    pub(crate) fn check(&self, features: &[Feature]) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ModelStructure, what));
        if self.columns.len() > TERMS_MAX {
            let what = format!("{} columns under a norm; at most {TERMS_MAX}", self.columns.len());
            return Err(Fault::new(Code::ModelTooLarge, what));
        }
        finite(self.intercept, || "the intercept".into())?;
        for (i, column) in self.columns.iter().enumerate() {
            let Some(feature) = features.get(column.feature as usize) else {
                return wrong(format!("column {i}: feature {} of {}", column.feature, features.len()));
            };
            if feature.categories() > 0 {
                return wrong(format!("column {i}: a norm is over numbers, and {:?} has categories", feature.name));
            }
            for number in [column.offset, column.scale, column.weight] {
                finite(number, || format!("column {i}, feature {:?}", feature.name))?;
            }
        }
        Ok(())
    }
}
