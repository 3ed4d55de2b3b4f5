//! `score-trees/v1`: boosted and bagged trees over the features of several owners, on shares with a dealer.
//!
//! With a split ensemble each owner knows the splits on its own features, and no others. It finds alone which leaves
//! its splits allow; that every owner allows a leaf, and what such leaves are worth, is computed on shares.
//!
//! With a private ensemble one owner knows all of it and shows it to nobody, and nobody shows a feature to it. Which
//! feature a split asks is a product with a matrix that its owner alone knows; the comparison is on shares; and a
//! leaf is reached where as many splits agree with its way as the way has. So of the ensemble nothing is public but
//! how many trees it has at most, how many leaves each at most, and the rules of the library that made it.

mod params;
mod private;
mod split;

use std::sync::Arc;

use tacit_crypto::cbor;
use tacit_governance::ModelFamily;
use tacit_types::{Fault, Lang, NodeId};

pub use params::{LEAVES_MAX, Library, TreesParams};

use super::circuit::Circuit;
use super::keys::Wanted;
use super::params::{Holders, Mode, ScoreParams};
use super::plan::{Job, ScorePlan};
use super::written;
use crate::kind::{ColumnKinds, Draft, Fold, Kind, Parts, Plan};

/// The kind.
pub struct ScoreTrees;

impl Kind for ScoreTrees {
    fn id(&self) -> &'static str {
        "score-trees/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "scores of decision trees over the features of several owners",
            Lang::Zh => "基于多方特征的决策树模型评分",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("trees/trees.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(written::alone())
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let params = params::read(written, draft)?;
        params.check()?;
        Ok(cbor::encode(&params))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: TreesParams = written::signed(self, params)?;
        params.check()?;
        let holders = match params.score.mode {
            Mode::Private => Holders::One,
            Mode::Split => Holders::Each(params.holder),
        };
        params.score.fits(parts, holders, true)?;
        let trees = match params.score.mode {
            Mode::Split => Trees::Split(split::SplitTrees::new(&params, parts)?),
            Mode::Private => Trees::Private(private::PrivateTrees::new(&params, parts)?),
        };
        Ok(Box::new(ScorePlan(TreesJob { params, trees })))
    }
}

/// What an input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Input {
    /// The leaves that an owner's splits allow.
    Allowed,
    /// What all leaves are worth, or those of one group of trees.
    Values(u32),
    /// What the sum begins with.
    Base,
    /// An owner's features.
    Columns,
    /// Which columns of the owner at this place the splits of a group ask.
    Choice(u32, u32),
    /// The thresholds of a group's splits, negated.
    Thresholds(u32),
    /// What the splits of a group ask of the model owner's own features, less the thresholds.
    Own(u32),
    /// Which splits are on the way to which leaves of a group.
    Ways(u32),
    /// What the splits of each way sum to where all of them agree, negated.
    Lengths(u32),
}

enum Trees {
    Split(split::SplitTrees),
    Private(private::PrivateTrees),
}

/// A checked job.
struct TreesJob {
    params: TreesParams,
    trees: Trees,
}

impl Job for TreesJob {
    type Input = Input;
    const FAMILY: ModelFamily = ModelFamily::Trees;

    fn score(&self) -> &ScoreParams {
        &self.params.score
    }

    fn providers_min(&self) -> usize {
        1
    }

    fn circuit(&self) -> Option<&Arc<Circuit<Input>>> {
        Some(match &self.trees {
            Trees::Split(split) => &split.circuit,
            Trees::Private(private) => &private.circuit,
        })
    }

    fn fold(
        &self,
        owner: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault> {
        match &self.trees {
            Trees::Split(split) => split.fold(&self.params, owner, wanted, model),
            Trees::Private(private) => private.fold(&self.params, owner, wanted, model),
        }
    }
}
