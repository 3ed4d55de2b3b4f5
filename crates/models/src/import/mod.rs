//! Readers of other libraries' files.

mod features;
pub mod lightgbm;
pub mod xgboost;

use tacit_types::{Code, Fault};

use crate::limits::MODEL_FILE_BYTES_MAX;
use crate::model::{Feature, Meta};

/// What an import is told beside the file.
#[derive(Clone, Debug)]
pub struct Import {
    /// Owner, name and version of the model that is made.
    pub meta: Meta,
    /// The features in the order of training, where the file does not name them, or to say the categories or ranges
    /// that it leaves out. Empty: as the file has them.
    pub features: Vec<Feature>,
}

impl Import {
    /// An import that takes the features from the file.
    pub fn new(meta: Meta) -> Self {
        Self { meta, features: Vec::new() }
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
