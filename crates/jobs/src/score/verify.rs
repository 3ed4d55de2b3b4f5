//! `verify/v1`: yes or no for each key, and nothing else: whether a rule over the columns of several owners holds, or
//! whether a linear score is at least a threshold.
//!
//! A rule is public. Each owner answers for itself what asks its own columns alone, one bit a row; the bits are joined
//! on shares, with randomness from a dealer, and the answer alone is opened. A score is that of `score-linear/v1`. A key
//! that some owner has no usable row for is answered with no, and nobody is told which, unless the job says otherwise.

mod rule;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tacit_crypto::cbor;
use tacit_governance::{ModelFamily, Precision};
use tacit_types::{Code, Fault, Lang, NodeId, Predicate};

use super::circuit::Circuit;
use super::keys::Wanted;
use super::linear::{self, LinearJob};
use super::params::{Holders, LinkWord, Mode, Output, OwnerColumns, ScoreParams, Unknown, Wants};
use super::plan::{Job, ScorePlan};
use super::written::{self, Habits};
use crate::decimal::Decimal;
use crate::filter;
use crate::kind::{ColumnKinds, Draft, Fold, Kind, Parts, Plan};

/// The kind.
pub struct Verify;

/// The signed parameters.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct VerifyParams {
    /// Rows, columns and the rule for unknown keys; with a threshold, the score that is compared with it.
    #[n(1)]
    pub score: ScoreParams,
    /// The rule, where there is no score.
    #[n(2)]
    pub rule: Option<Predicate>,
}

/// What a person writes for this kind alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: Option<String>,
}

fn wrong<T>(what: &str) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what))
}

impl VerifyParams {
    /// Checks everything that does not rest on the job's parts.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self) -> Result<(), Fault> {
        let output = &self.score.output;
        if output.precision != Precision::Decision || self.score.link != LinkWord::Identity {
            return wrong("output: yes or no, before any link");
        }
        let Some(rule) = &self.rule else {
            return self.score.check();
        };
        if self.score.mode != Mode::Split || output.decimals.is_some() || !output.edges.is_empty() {
            return wrong("rule: without a model and a threshold");
        }
        // A rule has no threshold, which is all that its output lacks.
        let decided = Output { edges: vec![Decimal::whole(0)], ..output.clone() };
        let wants = Wants { distinct: true, held: true, ..Wants::default() };
        ScoreParams { output: decided, ..self.score.clone() }.check_for(wants)?;
        if !rule.within_limits() {
            return wrong("rule: too large or too deep");
        }
        let mut asked = rule.columns();
        asked.sort_unstable();
        let mut columns: Vec<&str> = self.score.owners.iter().flat_map(|o| &o.features).map(String::as_str).collect();
        columns.sort_unstable();
        if columns.is_empty() || columns != asked {
            return wrong("rule: its columns are those of the owners, each of one");
        }
        Ok(())
    }
}

impl Kind for Verify {
    fn id(&self) -> &'static str {
        "verify/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "yes or no to a rule or a threshold over the features of several owners",
            Lang::Zh => "基于多方特征的规则或阈值核验（仅返回是或否）",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("verify/verify.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(written::alone())
    }

    fn draft(&self, mut written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let own: Written = written::apart(&mut written, &["rule"])?;
        if ["output", "decimals", "bands", "link"].iter().any(|name| written.get(name).is_some()) {
            return wrong("params: a verification has neither `output`, `decimals`, `bands` nor `link`");
        }
        let rule = own.rule.as_deref().map(filter::parse).transpose()?;
        if let Some(fields) = written.as_object_mut() {
            fields.insert("output".to_owned(), Precision::Decision.word().into());
            if let Some(rule) = &rule
                && !fields.contains_key("features")
            {
                let features = serde_json::to_value(asked(rule, draft)?);
                fields.insert("features".to_owned(), features.unwrap_or_default());
            }
        }
        let mut habits = linear::habits(draft.models.len() == 1);
        habits.unknown = Unknown::Default;
        if rule.is_some() {
            habits = Habits { modes: &[Mode::Split], ..habits };
        }
        let params = VerifyParams { score: written::read(written, draft, habits)?, rule };
        params.check()?;
        Ok(cbor::encode(&params))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: VerifyParams = written::signed(self, params)?;
        params.check()?;
        let VerifyParams { score, rule } = params;
        let silent = score.unknown == Unknown::Default;
        match rule {
            None => Ok(Box::new(ScorePlan(LinearJob::new(score, parts, silent)?))),
            Some(rule) => {
                score.fits(parts, Holders::Nobody, true)?;
                Ok(Box::new(ScorePlan(RuleJob { rule: rule::Rule::new(&score, &rule, parts, silent)?, score })))
            }
        }
    }
}

/// Which of a rule's columns each provider has.
///
/// # Errors
/// `data.column_unknown` for a column that nobody has; `refused.parameters` for one that several have.
fn asked(rule: &Predicate, draft: &Draft) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in rule.columns() {
        let mut owners = draft.providers.iter().filter(|p| p.columns.contains_key(column));
        match (owners.next(), owners.next()) {
            (Some(one), None) => all.entry(one.name.clone()).or_default().push(column.to_owned()),
            (None, _) => {
                let what = format!("`{column}` is not a column of any provider");
                return Err(Fault::new(Code::DataColumnUnknown, what));
            }
            (Some(_), Some(_)) => {
                return wrong(&format!("rule: `{column}` is a column of several; say under `features` whose it is"));
            }
        }
    }
    Ok(all)
}

/// A checked job with a rule.
struct RuleJob {
    score: ScoreParams,
    rule: rule::Rule,
}

impl Job for RuleJob {
    type Input = rule::Input;
    const FAMILY: ModelFamily = ModelFamily::Linear;

    fn score(&self) -> &ScoreParams {
        &self.score
    }

    fn providers_min(&self) -> usize {
        2
    }

    fn circuit(&self) -> Option<&Arc<Circuit<rule::Input>>> {
        Some(&self.rule.circuit)
    }

    fn fold(
        &self,
        owner: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        _: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault> {
        let columns: Option<&OwnerColumns> = self.score.columns(owner);
        self.rule.fold(&self.score, owner, columns, wanted)
    }
}
