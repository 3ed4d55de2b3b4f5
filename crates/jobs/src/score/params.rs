//! What a scoring job is signed over: the part that every kind of score has.

use std::collections::BTreeSet;

use tacit_governance::Precision;
use tacit_types::limits::COLUMN_NAME_BYTES_MAX;
use tacit_types::{Code, Fault, JobId, NodeId};

use super::keys::KEYS_MAX;
use super::online::Online;
use crate::align::FOUND_COLUMN;
use crate::decimal::Decimal;
use crate::kind::Parts;

/// Owners of data in one scoring job.
pub const OWNERS_MAX: usize = 16;
/// Feature columns of one owner.
pub const FEATURES_MAX: usize = 4096;
/// Edges between bands.
pub const BANDS_MAX: usize = 16;
/// Values of features that one owner holds for a job on shares: rows times its features.
pub const CELLS_MAX: u64 = 1 << 26;
/// Categories of all features of a job: they are public and signed.
pub const CATEGORIES_MAX: usize = 4096;
/// Bytes of a category.
pub const CATEGORY_BYTES_MAX: usize = tacit_models::limits::CATEGORY_BYTES_MAX;
/// Deals of a verified job that are opened and derived again.
pub const AUDITS_MAX: u8 = tacit_mpc::AUDITS_MAX;
/// The same where the job names none: a dealer that deals wrong is found every other time.
pub const AUDITS_DEFAULT: u8 = 1;
/// Numbers that the recipient of a verified job learns; each goes with its code, in four words.
pub const VERIFIED_NUMBERS_MAX: u64 = 1 << 19;
/// Digits after the point of a rounded score.
pub const DECIMALS_MAX: u8 = 6;

/// Who knows the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// Each owner holds the part of the model for its own features: a sum of partial scores.
    #[n(0)]
    Split,
    /// One owner holds the whole model and shows it to nobody.
    #[n(1)]
    Private,
}

impl Mode {
    /// The word used in job files.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Split => "split",
            Mode::Private => "private",
        }
    }
}

/// What happens to a key that not every owner has a usable row for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Unknown {
    /// No row is scored when one is unknown.
    #[n(0)]
    Refuse,
    /// An owner without the row adds nothing; nobody learns that it has none.
    #[n(1)]
    Default,
    /// The row has no score; the recipient learns that some owner has none, not which.
    #[n(2)]
    Flag,
}

/// The function that the recipient applies to the opened sum. It is public.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum LinkWord {
    /// The sum is the score.
    #[n(0)]
    Identity,
    /// `1 / (1 + exp(-x))`.
    #[n(1)]
    Logistic,
    /// `exp(x)`.
    #[n(2)]
    Exp,
}

impl LinkWord {
    /// The score of a margin.
    pub fn apply(self, margin: f64) -> f64 {
        match self {
            LinkWord::Identity => margin,
            LinkWord::Logistic => 1.0 / (1.0 + (-margin).exp()),
            LinkWord::Exp => margin.exp(),
        }
    }
}

/// The public range of a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Range {
    /// The least value; what is below counts as it.
    #[n(1)]
    pub least: Decimal,
    /// The greatest value; what is above counts as it.
    #[n(2)]
    pub most: Decimal,
}

/// One owner's columns.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct OwnerColumns {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The column that holds the key; [`FOUND_COLUMN`] where an alignment found them.
    #[n(2)]
    pub key: String,
    /// The columns that are features, ascending by name.
    #[n(3)]
    pub features: Vec<String>,
    /// The range of each feature, with a private model; none with a split one.
    #[n(4)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// With a private model of trees, one list for each feature: its categories, none for numbers. No list at all where
    /// every feature is a number.
    #[n(5)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub categories: Vec<Vec<String>>,
}

/// What a kind of score wants of the parameters that all have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// There is a bound of margins; without this there is none.
    pub bound: bool,
    /// An error may be named.
    pub error: bool,
    /// Each feature has a public range; without this none has.
    pub ranges: bool,
    /// Features may have public categories.
    pub categories: bool,
    /// A feature belongs to one owner alone.
    pub distinct: bool,
    /// Owners hold the values of all rows until the job is over, unless it opens a window.
    pub held: bool,
}

impl Wants {
    /// Those of a linear model.
    pub fn linear(params: &ScoreParams) -> Self {
        let private = params.mode == Mode::Private;
        let (bound, categories) = (params.is_shared(), false);
        Self { bound, error: private, ranges: private, categories, distinct: private, held: private }
    }
}

/// Whose models a job names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holders {
    /// Nobody's.
    Nobody,
    /// One party's: the whole model.
    One,
    /// A part of each provider, and of one party more if it is named and no provider.
    Each(Option<NodeId>),
}

/// What the recipient learns of each row.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Output {
    /// How much.
    #[n(1)]
    pub precision: Precision,
    /// Digits after the point, for a rounded score.
    #[n(2)]
    pub decimals: Option<u8>,
    /// On the scale before the link, ascending: the threshold of a decision, or the edges between bands.
    #[n(3)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub edges: Vec<Decimal>,
}

/// The signed parameters of a scoring job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ScoreParams {
    /// Who knows the weights.
    #[n(1)]
    pub mode: Mode,
    /// Keys in the attached list.
    #[n(2)]
    pub rows: u64,
    /// Data owners, ascending by key.
    #[n(3)]
    pub owners: Vec<OwnerColumns>,
    /// What comes out.
    #[n(4)]
    pub output: Output,
    /// The rule for unknown keys.
    #[n(5)]
    pub unknown: Unknown,
    /// The link.
    #[n(6)]
    pub link: LinkWord,
    /// For a job on shares: the greatest magnitude of the score before the link, or of each part of a split model.
    #[n(7)]
    pub bound: Option<Decimal>,
    /// With a private model: how far a score before the link may be from the exact one; a millionth when absent.
    #[n(8)]
    pub error: Option<Decimal>,
    /// The window that the job opens; then `rows` are those of all its calls.
    #[n(9)]
    pub online: Option<Online>,
    /// For a job on shares in verified mode: how many deals are opened and derived again. Parties that deviate are found
    /// before a result is taken; without it nobody who deviates is.
    #[n(10)]
    pub verified: Option<u8>,
    /// The alignment whose keys are the rows; then no list of keys comes, `rows` is the room for them, and owners name no
    /// column with a key.
    #[n(11)]
    pub aligned: Option<JobId>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what.into()))
}

impl ScoreParams {
    /// Checks everything of a job with a linear model that does not rest on the job's parts.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self) -> Result<(), Fault> {
        self.check_for(Wants::linear(self))
    }

    /// Checks everything that does not rest on the job's parts, as a kind wants it.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check_for(&self, wants: Wants) -> Result<(), Fault> {
        self.check_rows()?;
        self.output.check()?;
        if let Some(online) = &self.online {
            if self.verified.is_some() {
                return wrong("online: a window is not verified");
            }
            online.check(self)?;
        }
        self.check_verified()?;
        self.check_formats(wants)?;
        self.owners.iter().try_for_each(|columns| check_kinds(columns, wants))?;
        let categories = self.owners.iter().flat_map(|o| &o.categories).map(Vec::len).sum::<usize>();
        if categories > CATEGORIES_MAX {
            return wrong(format!("{categories} categories, at most {CATEGORIES_MAX}"));
        }
        let mut names = BTreeSet::new();
        for columns in &self.owners {
            let twice = columns.features.iter().find(|name| !names.insert(name.as_str()));
            if let Some(twice) = twice.filter(|_| wants.distinct) {
                return wrong(format!("`{twice}` is a feature of two owners; say under `features` whose it is"));
            }
            if wants.held
                && self.online.is_none()
                && self.rows.saturating_mul(columns.features.len() as u64) > CELLS_MAX
            {
                return wrong(format!("more than {CELLS_MAX} values of one owner's features in one job"));
            }
        }
        Ok(())
    }

    /// Checks rows, owners and the names of columns.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check_rows(&self) -> Result<(), Fault> {
        if !(1..=KEYS_MAX).contains(&self.rows) {
            return wrong(format!("rows: {} of 1 to {KEYS_MAX}", self.rows));
        }
        if !(1..=OWNERS_MAX).contains(&self.owners.len()) {
            return wrong(format!("{} owners of 1 to {OWNERS_MAX}", self.owners.len()));
        }
        if !self.owners.windows(2).all(|pair| matches!(pair, [a, b] if a.owner < b.owner)) {
            return wrong("the owners do not ascend");
        }
        if self.aligned.is_some() && self.online.is_some() {
            return wrong("aligned: a window has no list of rows");
        }
        self.owners.iter().try_for_each(|columns| check_columns(columns, self.aligned.is_some()))
    }

    /// Whether the score of a linear model is computed on shares, with a dealer: for a private model, and wherever less
    /// than the score comes out.
    pub fn is_shared(&self) -> bool {
        self.mode == Mode::Private || self.output.precision != Precision::Score
    }

    /// Numbers that the recipient learns: one a row, and what tells unknown rows apart.
    pub(super) fn numbers(&self) -> u64 {
        // Of a window, whatever its calls are: of one row each at the least.
        let calls = if self.online.is_some() { self.rows } else { 1 };
        self.rows
            + match self.unknown {
                Unknown::Refuse => calls,
                Unknown::Default => 0,
                Unknown::Flag => self.rows,
            }
    }

    /// Checks the terms of verified mode.
    fn check_verified(&self) -> Result<(), Fault> {
        let Some(audits) = self.verified else { return Ok(()) };
        if audits > AUDITS_MAX {
            return wrong(format!("audits: {audits}, at most {AUDITS_MAX}"));
        }
        if self.numbers() > VERIFIED_NUMBERS_MAX {
            let numbers = self.numbers();
            return wrong(format!("verified: {numbers} numbers for the recipient, at most {VERIFIED_NUMBERS_MAX}"));
        }
        Ok(())
    }

    /// Checks what makes formats public.
    fn check_formats(&self, wants: Wants) -> Result<(), Fault> {
        let positive = |d: Decimal| d.is_valid() && d.units > 0;
        if self.bound.is_some() != wants.bound || !self.bound.is_none_or(positive) {
            return wrong("`bound`, above zero, goes with a private model and with less than the score, with no other");
        }
        if self.error.is_some_and(|e| !wants.error || !positive(e)) {
            return wrong("`error`, above zero, goes with a private model");
        }
        Ok(())
    }

    /// Checks that the parameters fit who has a part in the job.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn fits(&self, parts: &Parts<'_>, holders: Holders, dealt: bool) -> Result<(), Fault> {
        let providers: BTreeSet<NodeId> = parts.providers.iter().map(|p| p.owner).collect();
        if !self.owners.iter().map(|o| &o.owner).eq(providers.iter()) {
            return wrong("the owners of the columns are not the job's providers");
        }
        let mut models: Vec<NodeId> = parts.models.iter().map(|m| m.owner).collect();
        models.sort_unstable();
        let fits = match holders {
            Holders::Nobody => models.is_empty(),
            Holders::One => models.len() == 1,
            Holders::Each(more) => models.iter().eq(&providers.iter().copied().chain(more).collect::<BTreeSet<_>>()),
        };
        if !fits || parts.dealer.is_some() != dealt {
            return wrong(match (holders, dealt) {
                (Holders::Nobody, _) => "a rule has no model and a dealer",
                (Holders::One, _) => "a private model is one model, with a dealer",
                (Holders::Each(_), false) => "a split model has one part at each owner and no dealer",
                (Holders::Each(_), true) => "a split model on shares has one part at each owner, and a dealer",
            });
        }
        if self.verified.is_some() && !dealt {
            return wrong("verified: for what is computed on shares, with a dealer");
        }
        if parts.dealer.is_some_and(|d| providers.contains(&d) || models.contains(&d)) {
            return wrong("the dealer has neither data nor a model in the job");
        }
        if self.online.is_some() {
            let what = "a window has no list of keys";
            return if parts.attachments.is_empty() { Ok(()) } else { wrong(what) };
        }
        if self.aligned.is_some() {
            let what = "the rows are those of an alignment: no list of keys comes beside it";
            return if parts.attachments.is_empty() { Ok(()) } else { wrong(what) };
        }
        match parts.attachments {
            [one] if one.name == super::keys::ATTACHMENT => Ok(()),
            _ => wrong("there is one attachment, the list of keys"),
        }
    }

    /// An owner's columns.
    pub fn columns(&self, owner: &NodeId) -> Option<&OwnerColumns> {
        self.owners.iter().find(|o| o.owner == *owner)
    }
}

fn check_columns(columns: &OwnerColumns, aligned: bool) -> Result<(), Fault> {
    let name = |n: &String| !n.is_empty() && n.len() <= COLUMN_NAME_BYTES_MAX;
    let key = if aligned { columns.key == FOUND_COLUMN } else { name(&columns.key) };
    if !key || !columns.features.iter().all(name) {
        return wrong("a column's name is empty or too long");
    }
    if columns.features.len() > FEATURES_MAX {
        return wrong(format!("{} features of one owner, at most {FEATURES_MAX}", columns.features.len()));
    }
    if !columns.features.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
        return wrong("the features do not ascend");
    }
    if columns.features.contains(&columns.key) {
        return wrong(format!("`{}` is key and feature", columns.key));
    }
    Ok(())
}

/// Checks ranges and categories.
fn check_kinds(columns: &OwnerColumns, wants: Wants) -> Result<(), Fault> {
    if columns.ranges.len() != if wants.ranges { columns.features.len() } else { 0 } {
        return wrong("a range for each feature goes with a private model, with no other");
    }
    let is_range = |r: &Range| r.least.is_valid() && r.most.is_valid() && r.least.cmp_value(r.most).is_le();
    if let Some((name, _)) = columns.features.iter().zip(&columns.ranges).find(|(_, r)| !is_range(r)) {
        return wrong(format!("ranges: that of `{name}` is none"));
    }
    let lists = &columns.categories;
    let some = lists.iter().any(|list| !list.is_empty());
    if some == lists.is_empty() || (some && (!wants.categories || lists.len() != columns.features.len())) {
        return wrong("categories: a list for each feature, or none at all, goes with a private model of trees");
    }
    for (name, list) in columns.features.iter().zip(lists) {
        let distinct: BTreeSet<&String> = list.iter().collect();
        if distinct.len() < list.len() || list.iter().any(|c| c.len() > CATEGORY_BYTES_MAX) {
            return wrong(format!("categories: two of `{name}` are equal, or one is too long"));
        }
    }
    Ok(())
}

impl Output {
    /// Digits after the point that the recipient can tell: of a rounded score, or of the edges that one is told to be beyond.
    pub fn digits(&self) -> Option<u8> {
        self.decimals.into_iter().chain(self.edges.iter().map(|edge| edge.scale)).max()
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let edges = match self.precision {
            Precision::Decision => 1..=1,
            Precision::Band => 1..=BANDS_MAX,
            Precision::Rounded | Precision::Score => 0..=0,
        };
        let ascending =
            self.edges.windows(2).all(|pair| matches!(pair, [a, b] if a.cmp_value(*b) == core::cmp::Ordering::Less));
        if !edges.contains(&self.edges.len()) || !ascending || !self.edges.iter().all(|e| e.is_valid()) {
            return wrong(format!("output: {} edges for `{}`, ascending", self.edges.len(), self.precision.word()));
        }
        let decimals = self.decimals.is_some_and(|d| d <= DECIMALS_MAX);
        if (self.precision == Precision::Rounded) != self.decimals.is_some() || (self.decimals.is_some() && !decimals) {
            return wrong(format!(
                "output: `decimals`, 0 to {DECIMALS_MAX}, goes with `rounded` and with nothing else"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_tell_as_many_digits_as_they_have() {
        let output = |decimals, edges: &[&str]| {
            let edges = edges.iter().map(|edge| Decimal::parse(edge).unwrap()).collect();
            Output { precision: Precision::Band, decimals, edges }.digits()
        };
        assert_eq!(output(None, &[]), None);
        assert_eq!(output(Some(2), &[]), Some(2));
        assert_eq!(output(None, &["1", "1.001", "2.5"]), Some(3));
    }
}
