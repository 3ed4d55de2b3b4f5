//! What a job with trees is signed over, and what a person writes of it.

use serde::Deserialize;
use tacit_models::limits::TREES_MAX;
use tacit_models::{Precision, Rules};
use tacit_types::{Code, Fault, NodeId};

use crate::kind::Draft;
use crate::score::params::{Mode, ScoreParams, Unknown, Wants};
use crate::score::written::{self, Habits, word};

/// Leaves of all trees of one job.
pub const LEAVES_MAX: u32 = 1 << 16;

/// The library whose rules a private ensemble follows: how its splits compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Library {
    /// Singles, and a branch of its own for a missing value (XGBoost).
    #[n(0)]
    Xgboost,
    /// Doubles, and zero may be a missing value or the other way round (LightGBM).
    #[n(1)]
    Lightgbm,
    /// Singles, as XGBoost (ONNX tree ensembles).
    #[n(2)]
    Onnx,
}

impl Library {
    /// How its splits compare.
    pub const fn rules(self) -> Rules {
        match self {
            Library::Xgboost | Library::Onnx => Rules { precision: Precision::Single, zeroes: false },
            Library::Lightgbm => Rules { precision: Precision::Double, zeroes: true },
        }
    }
}

/// The signed parameters.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct TreesParams {
    /// What all scores have in common.
    #[n(1)]
    pub score: ScoreParams,
    /// Trees at most.
    #[n(2)]
    pub trees: u32,
    /// Leaves at most: of all trees of a split ensemble, of each tree of a private one.
    #[n(3)]
    pub leaves: u32,
    /// With a split ensemble: who holds what the leaves are worth.
    #[n(4)]
    pub holder: Option<NodeId>,
    /// With a private ensemble: the rules of its splits.
    #[n(5)]
    pub library: Option<Library>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what.into()))
}

impl TreesParams {
    /// Checks everything that does not rest on the job's parts.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self) -> Result<(), Fault> {
        let private = self.score.mode == Mode::Private;
        let wants =
            Wants { bound: true, error: true, categories: private, distinct: private, held: true, ..Wants::default() };
        self.score.check_for(wants)?;
        if self.trees == 0 || self.trees as usize > TREES_MAX {
            return wrong(format!("trees: {} of 1 to {TREES_MAX}", self.trees));
        }
        let all = if private { self.leaves.saturating_mul(self.trees) } else { self.leaves };
        if self.leaves < if private { 2 } else { 1 } || all > LEAVES_MAX {
            let what = format!("leaves: {}, in all trees {all} of at most {LEAVES_MAX}", self.leaves);
            return wrong(what + "; an ensemble of more is trained with fewer trees or leaves");
        }
        if private && !(self.leaves.is_power_of_two() || self.leaves.is_multiple_of(64)) {
            return wrong(format!("leaves: {} is no power of two and no multiple of 64", self.leaves));
        }
        if self.holder.is_some() == private || self.library.is_some() != private {
            return wrong("`holder` goes with a split ensemble, `library` with a private one");
        }
        Ok(())
    }
}

/// What a person writes for trees alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    trees: u32,
    leaves: u32,
    holder: Option<String>,
    library: Option<String>,
}

/// Turns what a person wrote into parameters, which are still to be checked.
///
/// # Errors
/// `refused.parameters` naming the field.
pub(super) fn read(mut written: serde_json::Value, draft: &Draft) -> Result<TreesParams, Fault> {
    let own: Written = written::apart(&mut written, &["trees", "leaves", "holder", "library"])?;
    // One model is a whole one.
    let modes: &[Mode] =
        if draft.models.len() == 1 { &[Mode::Private, Mode::Split] } else { &[Mode::Split, Mode::Private] };
    let habits = Habits { modes, unknown: Unknown::Flag, ranges: false, categories: true };
    let score = written::read(written, draft, habits)?;
    let private = score.mode == Mode::Private;
    let holder = if private { None } else { Some(holder(own.holder.as_deref(), draft)?) };
    if private && own.holder.is_some() {
        return wrong("holder: with a split ensemble alone");
    }
    let libraries = [("xgboost", Library::Xgboost), ("lightgbm", Library::Lightgbm), ("onnx", Library::Onnx)];
    let library = match own.library.as_deref() {
        Some(name) => Some(word("library", Some(name), &libraries, Library::Xgboost)?),
        None if private => return wrong("library: xgboost, lightgbm or onnx, with a private ensemble"),
        None => None,
    };
    Ok(TreesParams { score, trees: own.trees, leaves: own.leaves, holder, library })
}

/// Who holds the leaves: as written, or the one party with a part and no data.
fn holder(written: Option<&str>, draft: &Draft) -> Result<NodeId, Fault> {
    if let Some(name) = written {
        let found = draft.providers.iter().find(|p| p.name == name);
        return found.map_or_else(|| wrong(format!("holder: `{name}` has no data in the job")), |p| Ok(p.owner));
    }
    let mut others =
        draft.models.iter().map(|(at, _)| at.owner).filter(|m| !draft.providers.iter().any(|p| p.owner == *m));
    match (others.next(), others.next()) {
        (Some(one), None) => Ok(one),
        _ => wrong("holder: who holds what the leaves are worth"),
    }
}
