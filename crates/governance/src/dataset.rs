//! Dataset versions as others see them: columns, disclosure levels, a bucket for the row count.

use serde::{Deserialize, Serialize};
use tacit_crypto::Body;
use tacit_types::{Code, Fault, Hash, Name, NodeId};

use crate::align::Aligned;
use crate::grade::DatasetTerms;

/// The kind of values in a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum ColumnKind {
    /// Whole numbers.
    #[n(0)]
    Int,
    /// Real numbers.
    #[n(1)]
    Float,
    /// Text.
    #[n(2)]
    Text,
}

/// What may leave of a column. A column without any level may be used for nothing.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Level {
    /// Enters protocols only encrypted or secret-shared; nothing derived is opened.
    #[n(1)]
    EncryptedOnly,
    /// Membership after a join.
    #[n(2)]
    AfterJoin,
    /// The outcome of a comparison: the column may filter.
    #[n(3)]
    AfterCompare,
    /// Sums over at least the cohort floor.
    #[n(4)]
    AfterAggregate,
    /// The column may form groups of at least the cohort floor.
    #[n(5)]
    AfterGroupBy,
    /// Only as part of a score.
    #[n(6)]
    ScoreOnly,
    /// An identifier for alignment.
    #[n(7)]
    AlignKey,
}

impl Level {
    /// Every level.
    pub const ALL: [Level; 7] = [
        Level::EncryptedOnly,
        Level::AfterJoin,
        Level::AfterCompare,
        Level::AfterAggregate,
        Level::AfterGroupBy,
        Level::ScoreOnly,
        Level::AlignKey,
    ];

    /// The word used on the command line and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Level::EncryptedOnly => "encrypted_only",
            Level::AfterJoin => "after_join",
            Level::AfterCompare => "after_compare",
            Level::AfterAggregate => "after_aggregate",
            Level::AfterGroupBy => "after_group_by",
            Level::ScoreOnly => "score_only",
            Level::AlignKey => "align_key",
        }
    }

    /// The level of that word.
    ///
    /// # Errors
    /// `args.invalid` for another word.
    pub fn parse(word: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|l| l.word() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            Fault::new(Code::ArgsInvalid, format!("level `{word}`: one of {words}"))
        })
    }
}

/// How a job uses a column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Use {
    /// In sums over the cohort.
    Aggregate,
    /// To form groups.
    GroupBy,
    /// To filter rows.
    Filter,
    /// As a feature of a score.
    Score,
    /// To find the rows that a list of keys names.
    Key,
}

impl Use {
    /// The level that a column needs for this use.
    pub const fn needs(self) -> Level {
        match self {
            Use::Aggregate => Level::AfterAggregate,
            Use::GroupBy => Level::AfterGroupBy,
            Use::Filter => Level::AfterCompare,
            Use::Score => Level::ScoreOnly,
            Use::Key => Level::AlignKey,
        }
    }
}

/// One column of a dataset version.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ColumnInfo {
    /// Name.
    #[n(1)]
    pub name: String,
    /// Kind of values.
    #[n(2)]
    pub kind: ColumnKind,
    /// What may leave at most; a contract may grant less.
    #[n(3)]
    pub levels: Vec<Level>,
}

/// A dataset version, signed by its owner. Nothing in it is derived from a single row.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct DatasetDescriptor {
    /// Version of this format, 1.
    #[n(1)]
    pub format: u8,
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// The dataset's name at the owner.
    #[n(3)]
    pub name: Name,
    /// Version, from 1.
    #[n(4)]
    pub version: u32,
    /// Columns, in order.
    #[n(5)]
    pub columns: Vec<ColumnInfo>,
    /// The row count rounded up to a power of two.
    #[n(6)]
    pub row_bucket: u64,
    /// Root over salted row hashes: commits to the rows, tells nothing of them.
    #[n(7)]
    pub commitment: Hash,
    /// Names of the views that the dataset exposes, the dataset itself first.
    #[n(8)]
    pub views: Vec<String>,
    /// Where it comes from, if it is the part of another version that an alignment found.
    #[n(9)]
    pub aligned: Option<Aligned>,
    /// Class, grade, lawful basis, registration and sharing, where the owner states them.
    #[n(40)]
    pub terms: Option<DatasetTerms>,
}

impl Body for DatasetDescriptor {
    const TYPE: &'static str = "dataset-version";
}

impl DatasetDescriptor {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|c| c.name == name)
    }
}
