//! Readers of other libraries' files.

mod features;
pub mod lightgbm;
pub mod linear;
pub mod onnx;
pub mod xgboost;

use tacit_types::{Code, Fault};

use crate::limits::MODEL_FILE_BYTES_MAX;
use crate::model::{Feature, Meta, Model};

/// What an import is told beside the file.
#[derive(Clone, Debug)]
pub struct Import {
    /// Owner, name and version of the model that is made.
    pub meta: Meta,
    /// The features in the order of training, where the file does not name them, or to say the categories or ranges
    /// that it leaves out. Empty: as the file has them.
    pub features: Vec<Feature>,
    /// Categories by the name of their feature, in the order of their codes: for files that hold codes alone.
    pub categories: Vec<(String, Vec<String>)>,
}

impl Import {
    /// An import that takes the features from the file.
    pub fn new(meta: Meta) -> Self {
        Self { meta, features: Vec::new(), categories: Vec::new() }
    }
}

/// A format that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// XGBoost's JSON.
    XgBoost,
    /// LightGBM's text.
    LightGbm,
    /// Coefficients in the layout of [`linear`].
    Linear,
    /// A scorecard in the layout of [`linear`].
    Scorecard,
    /// ONNX.
    Onnx,
    /// The own canonical form.
    Own,
}

impl Format {
    /// Every format, with the name by which people choose it.
    pub const ALL: [(&'static str, Self); 6] = [
        ("xgboost", Self::XgBoost),
        ("lightgbm", Self::LightGbm),
        ("linear", Self::Linear),
        ("scorecard", Self::Scorecard),
        ("onnx", Self::Onnx),
        ("tacit", Self::Own),
    ];

    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// Reads a file of this format. A model in the own form keeps its owner, name, version and features.
    ///
    /// # Errors
    /// Those of the reader; `model.features` for categories beside a format that has its own.
    pub fn read(self, import: Import, bytes: &[u8]) -> Result<Model, Fault> {
        if matches!(self, Self::Own | Self::Scorecard) && !import.categories.is_empty() {
            return Err(Fault::new(
                Code::ModelFeatures,
                "the file names its categories; none can be declared beside it",
            ));
        }
        match self {
            Self::XgBoost => xgboost::read(import, bytes),
            Self::LightGbm => lightgbm::read(import, bytes),
            Self::Linear => linear::read(import, bytes),
            Self::Scorecard => linear::read_scorecard(import, bytes),
            Self::Onnx => onnx::read(import, bytes),
            Self::Own => Model::decode(bytes),
        }
    }
}

/// Refuses a file over the cap.
fn bounded(bytes: &[u8]) -> Result<(), Fault> {
    if bytes.len() > MODEL_FILE_BYTES_MAX {
        let what = format!("{} bytes; at most {MODEL_FILE_BYTES_MAX}", bytes.len());
        return Err(Fault::new(Code::ModelTooLarge, what));
    }
    Ok(())
}
