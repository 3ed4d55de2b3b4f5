//! Rows as a model takes them, and their scores.

use tacit_types::{Code, Column, Columns, Fault, Values};

use crate::model::{Feature, FeatureKind, Kind, Model};

/// The code of a category that the feature does not list.
pub const UNKNOWN_CATEGORY: f64 = -1.0;

/// The features of some rows as numbers: NaN where there is no value, the code of a category, [`UNKNOWN_CATEGORY`].
#[derive(Clone)]
pub struct Frame {
    rows: usize,
    columns: Vec<Vec<f64>>,
}

impl Frame {
    /// Takes the columns of a model's features from a batch, by name. Further columns are passed over.
    ///
    /// Whole numbers may stand for a numeric feature, and for the text of a category; fractions for categories that
    /// are all numbers.
    ///
    /// # Errors
    /// `model.input` for a column that is not there or not of the feature's kind.
    pub fn new(features: &[Feature], batch: &Columns) -> Result<Self, Fault> {
        let mut columns = Vec::with_capacity(features.len());
        for feature in features {
            let column = batch.get(&feature.name);
            let column = column.ok_or_else(|| input(&feature.name, "there is no such column"))?;
            if column.values.len() != batch.rows {
                return Err(input(&feature.name, "another number of rows than the batch"));
            }
            columns.push(match &feature.kind {
                FeatureKind::Numeric => numbers(column)?,
                FeatureKind::Categorical(list) => codes(column, list)?,
            });
        }
        Ok(Self { rows: batch.rows, columns })
    }

    /// One row, of numbers as above.
    ///
    /// # Errors
    /// `model.input` when there is another number of values than of features.
    pub fn row(features: &[Feature], values: &[f64]) -> Result<Self, Fault> {
        if values.len() != features.len() {
            let what = format!("{} values for {} features", values.len(), features.len());
            return Err(Fault::new(Code::ModelInput, what));
        }
        Ok(Self { rows: 1, columns: values.iter().map(|v| vec![*v]).collect() })
    }

    /// The same rows with every value that has a declared range clipped to it: what fixed point encodes.
    #[must_use]
    pub fn clipped(&self, features: &[Feature]) -> Self {
        let mut it = self.clone();
        for (column, feature) in it.columns.iter_mut().zip(features) {
            if let Some((least, most)) = feature.range {
                column.iter_mut().for_each(|v| *v = v.clamp(least, most));
            }
        }
        it
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.columns.len()
    }

    /// The values of a feature, one a row.
    pub fn column(&self, feature: u32) -> &[f64] {
        self.columns.get(feature as usize).map_or(&[], Vec::as_slice)
    }

    /// The value of a feature in a row; NaN where there is none.
    pub fn value(&self, row: usize, feature: u32) -> f64 {
        self.columns.get(feature as usize).and_then(|c| c.get(row)).copied().unwrap_or(f64::NAN)
    }
}

fn input(name: &str, what: &str) -> Fault {
    Fault::new(Code::ModelInput, format!("feature {name:?}: {what}"))
}

fn numbers(column: &Column) -> Result<Vec<f64>, Fault> {
    let valid = |row: usize, value: f64| if column.is_valid(row) { value } else { f64::NAN };
    match &column.values {
        // why: as the source libraries do: whole numbers beyond 2^53 are rounded.
        Values::Int(list) => Ok(list.iter().enumerate().map(|(i, v)| valid(i, *v as f64)).collect()),
        Values::Float(list) => Ok(list.iter().enumerate().map(|(i, v)| valid(i, *v)).collect()),
        Values::Text(_) => Err(input(&column.name, "text where numbers are expected")),
    }
}

fn codes(column: &Column, list: &[String]) -> Result<Vec<f64>, Fault> {
    let places: std::collections::BTreeMap<&str, usize> =
        list.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
    // why: the cap on categories is far below 2^53.
    let code = |text: &str| places.get(text).map_or(UNKNOWN_CATEGORY, |place| *place as f64);
    let valid = |row: usize, value: f64| if column.is_valid(row) { value } else { f64::NAN };
    match &column.values {
        Values::Int(values) => Ok(values.iter().enumerate().map(|(i, v)| valid(i, code(&v.to_string()))).collect()),
        Values::Text(values) => Ok(values.iter().enumerate().map(|(i, v)| valid(i, code(v))).collect()),
        Values::Float(values) if list.iter().all(|c| c.parse().is_ok_and(|v| number_name(v) == *c)) => Ok(values
            .iter()
            .enumerate()
            .map(|(i, v)| if v.is_nan() { *v } else { valid(i, code(&number_name(*v))) })
            .collect()),
        Values::Float(_) => Err(input(&column.name, "fractions where categories are expected")),
    }
}

/// The name of a category that is a number: `1` and `1.0` are the same.
pub(crate) fn number_name(value: f64) -> String {
    // why: whole and below 2^63 in magnitude, so the conversion is exact; it has no sign of zero.
    let whole = value.fract() == 0.0 && value.abs() < 9.2e18;
    if whole { (value as i64).to_string() } else { value.to_string() }
}

impl Model {
    /// The margins of a batch, one a row: what the source library gives before the link.
    ///
    /// # Errors
    /// `model.input` for a frame of another number of features; `model.unsupported` for one party's part;
    /// `model.value_missing` names the first row and
    /// feature without a value where the model has no rule for that.
    pub fn margins(&self, frame: &Frame) -> Result<Vec<f64>, Fault> {
        if frame.features() != self.features().len() {
            let what = format!("{} features where the model has {}", frame.features(), self.features().len());
            return Err(Fault::new(Code::ModelInput, what));
        }
        if let Kind::Part(_) = self.kind() {
            return Err(Fault::new(Code::ModelUnsupported, "a part of divided trees scores nothing alone"));
        }
        if let Kind::Additive(additive) = self.kind() {
            let margins: Option<Vec<f64>> = additive.margins(frame, 0..frame.rows()).into_iter().collect();
            if let Some(margins) = margins {
                return Ok(margins);
            }
        }
        (0..frame.rows()).map(|row| self.margin(frame, row).map_err(|feature| self.missing(row, feature))).collect()
    }

    /// The scores of a batch: the link of the margins.
    ///
    /// # Errors
    /// As [`Model::margins`].
    pub fn scores(&self, frame: &Frame) -> Result<Vec<f64>, Fault> {
        let mut margins = self.margins(frame)?;
        margins.iter_mut().for_each(|m| *m = self.link().apply(*m));
        Ok(margins)
    }

    /// The margins of some rows of a frame, of a model that is a sum; `None` for a row that lacks a value for which there
    /// is no rule, and no list at all for other kinds of model.
    pub fn sums(&self, frame: &Frame, rows: impl ExactSizeIterator<Item = usize> + Clone) -> Option<Vec<Option<f64>>> {
        match self.kind() {
            Kind::Additive(additive) => Some(additive.margins(frame, rows)),
            Kind::Normed(normed) => Some(rows.map(|row| normed.margin(|f| frame.value(row, f)).ok()).collect()),
            Kind::Trees(_) | Kind::Network(_) | Kind::Part(_) => None,
        }
    }

    /// The margin of one row, of a model that is a sum; `None` as in [`Model::sums`], and for other kinds.
    pub fn sum(&self, frame: &Frame, row: usize) -> Option<f64> {
        matches!(self.kind(), Kind::Additive(_) | Kind::Normed(_)).then(|| self.margin(frame, row).ok())?
    }

    fn margin(&self, frame: &Frame, row: usize) -> Result<f64, u32> {
        let value = |feature| frame.value(row, feature);
        match self.kind() {
            Kind::Additive(additive) => additive.margin(value),
            Kind::Normed(normed) => normed.margin(value),
            Kind::Trees(trees) => Ok(trees.margin(value)),
            Kind::Network(network) => network.margin(frame.features(), value),
            // proof: the caller has refused a part; a row of it would be without a value.
            Kind::Part(_) => Err(0),
        }
    }

    /// The fault of a row whose feature has no value.
    pub(crate) fn missing(&self, row: usize, feature: u32) -> Fault {
        let name = self.features().get(feature as usize).map_or("", |f| f.name.as_str());
        Fault::new(Code::ModelValueMissing, format!("row {row}, feature {name:?}"))
    }
}
