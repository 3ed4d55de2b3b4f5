//! Early warning: rules over a log that has been verified, and over what its reader knows beside it.
//!
//! A [`Watch`] reads the leaves in order and gives [`Alert`]s. Each names its rule, says whether it is an alarm (the log
//! or a promise is broken) or a warning (a limit comes near), and links to leaves by index and hash, so that whoever gets
//! an alert proves what it rests on. Thresholds are values with names ([`Thresholds`]); no clock is read.

mod rules;
mod watch;

use serde::{Deserialize, Serialize};
use tacit_types::{ContractId, Lang, Name, UnixMillis};

use crate::money::LeafRef;

pub use watch::Watch;

/// Leaves that an alert links to; more are counted in its numbers alone.
pub const LINKS_MAX: usize = 16;
/// Alerts of one rule; the rest are counted in [`Alerts::omitted`].
pub const ALERTS_PER_RULE_MAX: usize = 200;

/// A rule. Its word is stable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A number of a party's chain is missing, or a receipt or an attestation.
    Gap,
    /// The coordinator promised a receipt, and it is not there in time, or soon will not be.
    Promise,
    /// A contract's jobs are used up, or soon will be.
    QuotaBurn,
    /// A dataset's privacy budget is used up, or soon will be.
    BudgetBurn,
    /// Owners refuse more than they usually do.
    Refusals,
    /// A contract was used after it was revoked, or outside its validity.
    RevokedButUsed,
    /// A case waits for somebody beyond its deadline.
    CaseOverdue,
    /// A witness has not cosigned for long.
    WitnessLag,
    /// The log, or a party's chain, shows two histories or went back.
    Fork,
    /// Data of one region was used for a recipient in another.
    CrossBorder,
    /// Anything else that a verifier finds wrong.
    Invalid,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 11] = [
        Rule::Gap,
        Rule::Promise,
        Rule::QuotaBurn,
        Rule::BudgetBurn,
        Rule::Refusals,
        Rule::RevokedButUsed,
        Rule::CaseOverdue,
        Rule::WitnessLag,
        Rule::Fork,
        Rule::CrossBorder,
        Rule::Invalid,
    ];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Rule::Gap => "gap",
            Rule::Promise => "promise",
            Rule::QuotaBurn => "quota_burn",
            Rule::BudgetBurn => "budget_burn",
            Rule::Refusals => "refusals",
            Rule::RevokedButUsed => "revoked_but_used",
            Rule::CaseOverdue => "case_overdue",
            Rule::WitnessLag => "witness_lag",
            Rule::Fork => "fork",
            Rule::CrossBorder => "cross_border",
            Rule::Invalid => "invalid",
        }
    }

    /// What the rule watches for.
    pub const fn title(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Rule::Gap, Lang::En) => "something is missing from the log",
            (Rule::Gap, Lang::Zh) => "日志中有缺失",
            (Rule::Promise, Lang::En) => "a promised receipt is not in the log",
            (Rule::Promise, Lang::Zh) => "承诺的凭证未入日志",
            (Rule::QuotaBurn, Lang::En) => "a contract's jobs run out",
            (Rule::QuotaBurn, Lang::Zh) => "合同作业额度即将用尽",
            (Rule::BudgetBurn, Lang::En) => "a dataset's privacy budget runs out",
            (Rule::BudgetBurn, Lang::Zh) => "数据集隐私预算即将用尽",
            (Rule::Refusals, Lang::En) => "many jobs are refused",
            (Rule::Refusals, Lang::Zh) => "拒绝次数过多",
            (Rule::RevokedButUsed, Lang::En) => "a contract was used when it was not in force",
            (Rule::RevokedButUsed, Lang::Zh) => "合同在失效期间被使用",
            (Rule::CaseOverdue, Lang::En) => "a case is overdue",
            (Rule::CaseOverdue, Lang::Zh) => "案件已逾期",
            (Rule::WitnessLag, Lang::En) => "a witness lags behind",
            (Rule::WitnessLag, Lang::Zh) => "见证方滞后",
            (Rule::Fork, Lang::En) => "two histories",
            (Rule::Fork, Lang::Zh) => "出现两份历史",
            (Rule::CrossBorder, Lang::En) => "a use across a border",
            (Rule::CrossBorder, Lang::Zh) => "跨境使用",
            (Rule::Invalid, Lang::En) => "something in the log is not valid",
            (Rule::Invalid, Lang::Zh) => "日志中有无效内容",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A limit comes near, or something is unusual.
    Warning,
    /// A rule is broken.
    Alarm,
}

/// What a rule found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// The rule.
    pub rule: Rule,
    /// How bad it is.
    pub level: Level,
    /// Who or what it is about: a party, a contract, a dataset, a witness.
    pub about: String,
    /// The numbers, times and codes that it rests on.
    pub what: String,
    /// The leaves that it rests on, ascending, at most [`LINKS_MAX`], the newest. None for what is in no leaf.
    pub leaves: Vec<LeafRef>,
}

impl Alert {
    /// One sentence.
    pub fn sentence(&self, lang: Lang) -> String {
        let level = match (self.level, lang) {
            (Level::Warning, Lang::En) => "warning",
            (Level::Warning, Lang::Zh) => "预警",
            (Level::Alarm, Lang::En) => "ALARM",
            (Level::Alarm, Lang::Zh) => "警报",
        };
        let (colon, comma) = if lang == Lang::Zh { ("：", "，") } else { (": ", ", ") };
        format!(
            "{level}{colon}{}{comma}{}{colon}{} [{}]",
            self.rule.title(lang),
            self.about,
            self.what,
            self.rule.word()
        )
    }
}

/// What all rules found, alarms first, then by rule and first leaf.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alerts {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// How many more there are than [`ALERTS_PER_RULE_MAX`] of a rule.
    pub omitted: u64,
}

impl Alerts {
    /// Whether a rule is broken.
    pub fn alarming(&self) -> bool {
        self.alerts.iter().any(|a| a.level == Level::Alarm)
    }
}

/// When rules fire. Every value has a name and a default; a file gives those that differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Minutes before the deadline of a promise from which it warns.
    pub promise_soon_minutes: u64,
    /// Percent of a contract's jobs from which it warns.
    pub quota_used_percent: u64,
    /// Percent by which use may run ahead of time before it warns: at 150, half as fast again as the validity allows.
    pub quota_rate_percent: u64,
    /// Uses before the rate of a contract, or of a dataset's budget, counts.
    pub rate_uses_min: u64,
    /// Percent of a dataset's privacy budget from which it warns.
    pub budget_used_percent: u64,
    /// Hours over which refusals are counted.
    pub refusals_hours: u64,
    /// Refusals of one contract in that time from which it warns.
    pub refusals_count: u64,
    /// Minutes after which a witness that has not cosigned lags.
    pub witness_lag_minutes: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            promise_soon_minutes: 10,
            quota_used_percent: 80,
            quota_rate_percent: 150,
            rate_uses_min: 5,
            budget_used_percent: 80,
            refusals_hours: 24,
            refusals_count: 5,
            witness_lag_minutes: 60,
        }
    }
}

/// What a reader knows of a contract beside the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The contract.
    pub contract: ContractId,
    /// What its parties call it.
    pub name: String,
    /// Jobs that it allows; none when the reader does not know.
    pub jobs: Option<u64>,
    /// From when.
    pub valid_from: UnixMillis,
    /// Until when, exclusive.
    pub valid_until: UnixMillis,
    /// When an owner revoked it.
    pub revoked: Option<UnixMillis>,
}

/// Everything that a reader brings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// What time it is.
    pub now: UnixMillis,
    /// When rules fire.
    pub thresholds: Thresholds,
    /// Contracts.
    pub contracts: Vec<Terms>,
    /// Privacy budgets in millionths, by dataset version in hex.
    pub budgets: std::collections::BTreeMap<String, u64>,
    /// Regions by party, such as `CN-GD`. Two regions are of one country when their part before the first `-` is one.
    pub regions: std::collections::BTreeMap<Name, String>,
}
