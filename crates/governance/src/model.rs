//! Model versions as others see them, and what a contract says about scoring with them.

use tacit_crypto::Body;
use tacit_types::{Hash, ModelVersionId, Name, NodeId, UnixMillis};

/// The family of a model, which decides the job kinds that can use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum ModelFamily {
    /// A weighted sum with a link: linear and logistic regression, scorecards.
    #[n(0)]
    Linear,
    /// An ensemble of decision trees.
    #[n(1)]
    Trees,
    /// Layers of weighted sums with activations.
    #[n(2)]
    Network,
}

impl ModelFamily {
    /// The word used on the command line and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            ModelFamily::Linear => "linear",
            ModelFamily::Trees => "trees",
            ModelFamily::Network => "network",
        }
    }
}

/// Features of one model.
pub const MODEL_FEATURES_MAX: usize = 4096;

/// A model version, signed by its owner. It names the inputs; no weight, threshold or category is in it or can be
/// guessed from it.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ModelDescriptor {
    /// Version of this format, 1.
    #[n(1)]
    pub format: u8,
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// The model's name at the owner.
    #[n(3)]
    pub name: Name,
    /// Version, from 1.
    #[n(4)]
    pub version: u32,
    /// The family.
    #[n(5)]
    pub family: ModelFamily,
    /// The features' names, in the model's order.
    #[n(6)]
    pub features: Vec<String>,
    /// The hash of thirty-two random bytes and the model: commits to it, tells nothing of it.
    #[n(7)]
    pub commitment: Hash,
}

impl Body for ModelDescriptor {
    const TYPE: &'static str = "model-version";
}

/// A model version in a contract.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ModelGrant {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The exact version.
    #[n(2)]
    pub model: ModelVersionId,
}

/// What the recipient of a score learns, from least to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Precision {
    /// Yes or no against a threshold.
    #[n(0)]
    Decision,
    /// Which of a few bands.
    #[n(1)]
    Band,
    /// The score, rounded.
    #[n(2)]
    Rounded,
    /// The score.
    #[n(3)]
    Score,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Precision; 4] = [Precision::Decision, Precision::Band, Precision::Rounded, Precision::Score];

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Precision::Decision => "decision",
            Precision::Band => "band",
            Precision::Rounded => "rounded",
            Precision::Score => "score",
        }
    }
}

/// What the recipient of scores learns of keys that some owner has no usable row for, from least to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum UnknownKeys {
    /// Nothing in words: such a key has a score, of what is there.
    #[n(0)]
    Hidden,
    /// Whether there is one in a list or a call, which then has no scores.
    #[n(1)]
    Any,
    /// Which they are; never who lacks them.
    #[n(2)]
    Each,
}

impl UnknownKeys {
    /// Every one.
    pub const ALL: [UnknownKeys; 3] = [UnknownKeys::Hidden, UnknownKeys::Any, UnknownKeys::Each];

    /// The word of a job file that asks for it.
    pub const fn word(self) -> &'static str {
        match self {
            UnknownKeys::Hidden => "default",
            UnknownKeys::Any => "refuse",
            UnknownKeys::Each => "flag",
        }
    }
}

/// What a contract allows of scoring. Without it no job scores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ScoringTerms {
    /// Rows over all jobs of the contract, each call and each repetition counted: what an extraction of the
    /// model or of a feature is limited by.
    #[n(1)]
    pub rows: u64,
    /// Rows of one job.
    #[n(2)]
    pub rows_per_job: u64,
    /// The most that a result may say.
    #[n(3)]
    pub precision: Precision,
    /// Whether, and how much, may be scored online; nothing when absent.
    #[n(4)]
    pub online: Option<OnlineTerms>,
    /// Whether every job that scores must be verified: on shares, where parties that deviate are found before a result
    /// is taken.
    #[n(5)]
    #[cbor(default, skip_if = "is_false")]
    pub verified: bool,
    /// How many different keys a recipient may ask about; as many as rows when absent.
    #[n(6)]
    pub distinct: Option<DistinctTerms>,
    /// Digits after the point of a rounded score, at most; as many as a job can ask for when absent.
    #[n(7)]
    pub decimals: Option<u8>,
    /// The most that may be told of unknown keys; which they are when absent.
    #[n(8)]
    pub unknown: Option<UnknownKeys>,
}

/// Different keys that one recipient of a contract may ask about. Each owner's node counts them by itself: a key once in a
/// period, however often it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DistinctTerms {
    /// Keys in a period.
    #[n(1)]
    pub keys: u64,
    /// Days of a period. The first begins when the contract does.
    #[n(2)]
    pub days: u64,
}

/// One period of a contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// Its number, from 0.
    pub number: u64,
    /// When it ends and its keys are free again: never after the contract's own end.
    pub until: UnixMillis,
}

impl DistinctTerms {
    /// The period at a time, of a contract that is valid from one time until another.
    pub fn period(&self, valid: (UnixMillis, UnixMillis), now: UnixMillis) -> Period {
        let each = self.days.max(1).saturating_mul(DAY_MS);
        let number = now.0.saturating_sub(valid.0.0) / each;
        let until = valid.0.0.saturating_add(number.saturating_add(1).saturating_mul(each));
        Period { number, until: UnixMillis(until.min(valid.1.0)) }
    }
}

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a contract allows of scoring online: the recipient asks during the run of a job, its *window*, and learns each
/// score at once, before the window's receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct OnlineTerms {
    /// Rows of one window.
    #[n(1)]
    pub rows_per_window: u64,
    /// Rows a second of all windows of the contract together, held by each owner's node with a burst of one second's rows.
    #[n(2)]
    pub rows_per_second: u64,
}

/// What a job says about the window that it opens, for the decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnlineFacts {
    /// The root key of the recipient, which has a seat.
    pub recipient: NodeId,
    /// Rows at most, over all calls.
    pub rows: u64,
    /// Rows a second.
    pub rows_per_second: u64,
}

/// What a job says about the scores that it asks for, for the decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScoreFacts {
    /// Rows.
    pub rows: u64,
    /// What the recipient learns of each.
    pub precision: Precision,
    /// Digits after the point, of a rounded score.
    pub decimals: Option<u8>,
    /// What the recipient learns of unknown keys.
    pub unknown: UnknownKeys,
    /// The family that each of the job's models must have.
    pub family: ModelFamily,
    /// Whether parties that deviate are found.
    pub verified: bool,
}
