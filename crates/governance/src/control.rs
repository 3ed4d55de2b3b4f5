//! Terms of control in a contract: who holds which right to what, who must approve, where it may go, and for how long in an
//! emergency. All of them are optional together; with them the contract answers every question that they put, or is refused.

use std::collections::BTreeSet;

use tacit_types::{DatasetVersionId, Hash, NodeId, UnixMillis};

use crate::contract::{Contract, Role};
use crate::model::is_false;

/// The three rights to data that are held apart (结构性分置): a job needs all of them for every dataset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum RightKind {
    /// To hold the data: 数据资源持有权. The owner's.
    #[n(0)]
    Hold,
    /// To process and use it: 数据加工使用权.
    #[n(1)]
    Process,
    /// To run a product made of it: 数据产品经营权. The demander's.
    #[n(2)]
    Operate,
}

impl RightKind {
    /// Every right, in the order of the chain.
    pub const ALL: [RightKind; 3] = [RightKind::Hold, RightKind::Process, RightKind::Operate];

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            RightKind::Hold => "hold",
            RightKind::Process => "process",
            RightKind::Operate => "operate",
        }
    }
}

/// One right to one dataset version.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Right {
    /// The dataset version.
    #[n(1)]
    pub dataset: DatasetVersionId,
    /// Which right.
    #[n(2)]
    pub kind: RightKind,
    /// Whose, by root key: a party of the contract.
    #[n(3)]
    pub holder: NodeId,
    /// The hash of the document that gives it.
    #[n(4)]
    pub basis: Hash,
    /// Until when, exclusive.
    #[n(5)]
    pub until: UnixMillis,
}

/// What the parties declare of one class of data that may not be traded (不得交易).
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Answer {
    /// Not settled: the contract cannot be in force.
    #[n(0)]
    Open,
    /// The data is not of this class.
    #[n(1)]
    No,
    /// It is: the contract cannot be in force.
    #[n(2)]
    Yes,
}

/// Classes that are declared on, in order: harms national security or the public interest; infringes the rights of others or
/// their privacy; is used without the authorisation of who holds the rights; is barred by law or regulation otherwise.
pub const DECLARATIONS: usize = 4;

/// Where the contract was concluded on an exchange (场内). A contract without it was concluded off exchange (场外).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Venue {
    /// The exchange.
    #[n(1)]
    pub exchange: String,
    /// Its number of the order.
    #[n(2)]
    pub order: String,
    /// The root key of who runs it, where it has one here: it may be nothing else in the contract.
    #[n(3)]
    pub operator: Option<NodeId>,
}

/// Where a party is, such as `CN-XM`: what stands before the hyphen is its jurisdiction.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PartyRegion {
    /// Root key.
    #[n(1)]
    pub party: NodeId,
    /// Its region.
    #[n(2)]
    pub region: String,
}

/// The assessment that lets what is computed cross a border (数据出境安全评估).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct CrossBorder {
    /// Its number.
    #[n(1)]
    pub number: String,
    /// The hash of the document.
    #[n(2)]
    pub document: Hash,
    /// Jurisdictions that it covers beside the data's own.
    #[n(3)]
    pub jurisdictions: Vec<String>,
    /// Until when, exclusive.
    #[n(4)]
    pub until: UnixMillis,
}

/// In what office somebody approves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Office {
    /// Chief data officer: 首席数据官.
    #[n(0)]
    ChiefDataOfficer,
    /// Notary of compliance: 合规公证.
    #[n(1)]
    Notary,
    /// Trustee of the persons behind the data: 受托者. One rejection of a trustee is a veto.
    #[n(2)]
    Trustee,
    /// Reviewer of security: 安全审查.
    #[n(3)]
    Security,
}

impl Office {
    /// Every office.
    pub const ALL: [Office; 4] = [Office::ChiefDataOfficer, Office::Notary, Office::Trustee, Office::Security];

    /// The word used in files and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Office::ChiefDataOfficer => "cdo",
            Office::Notary => "notary",
            Office::Trustee => "trustee",
            Office::Security => "security",
        }
    }
}

/// Whose approval the contract needs: so many of these keys.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ApprovalRule {
    /// In what office.
    #[n(1)]
    pub office: Office,
    /// For which owner, by root key; for all when absent.
    #[n(2)]
    pub owner: Option<NodeId>,
    /// Who may approve: root keys of persons who neither sign the contract nor operate under it.
    #[n(3)]
    pub keys: Vec<NodeId>,
    /// How many of them must.
    #[n(4)]
    pub need: u8,
}

/// What makes a contract one of emergency (应对突发事件): short, and over by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Emergency {
    /// The hash of the order that it rests on.
    #[n(1)]
    pub order: Hash,
    /// When the emergency ends, exclusive: no job is admitted from then on, whatever the contract's own end.
    #[n(2)]
    pub until: UnixMillis,
}

/// A party's clause of liability (约定各自权责范围).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Clause {
    /// Root key.
    #[n(1)]
    pub party: NodeId,
    /// The hash of its text.
    #[n(2)]
    pub text: Hash,
}

/// Who must have reviewed the kind and the models of every job (算法审查).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ReviewRule {
    /// Root keys of reviewers.
    #[n(1)]
    pub reviewers: Vec<NodeId>,
    /// How many of them must agree: two at least.
    #[n(2)]
    pub need: u8,
    /// Whether a review counts only where its test vectors give the same at the owner's node.
    #[n(3)]
    #[cbor(default, skip_if = "is_false")]
    pub rerun: bool,
}

/// What a demander's assessment of risk (风险评估) must say.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RiskRule {
    /// Root keys of assessors.
    #[n(1)]
    pub assessors: Vec<NodeId>,
    /// The greatest score that is taken, 0 to 100.
    #[n(2)]
    pub score_max: u8,
}

/// The terms of control.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Control {
    /// The chains of rights, one of three for each dataset version.
    #[n(1)]
    pub rights: Vec<Right>,
    /// Answers on the four classes that may not be traded.
    #[n(2)]
    pub declarations: Vec<Answer>,
    /// The exchange, where it was concluded on one.
    #[n(3)]
    pub venue: Option<Venue>,
    /// Where the parties are.
    #[n(4)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub regions: Vec<PartyRegion>,
    /// What lets results cross a border.
    #[n(5)]
    pub cross_border: Option<CrossBorder>,
    /// Whose approvals are needed.
    #[n(6)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRule>,
    /// Whether it is a contract of emergency.
    #[n(7)]
    pub emergency: Option<Emergency>,
    /// How often a right may be handed on: 0, for no right is (不得转委托).
    #[n(8)]
    pub delegation: u8,
    /// The parties' clauses of liability.
    #[n(9)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub liability: Vec<Clause>,
    /// The hash of the clause on disputes.
    #[n(10)]
    pub dispute: Option<Hash>,
    /// Who must have reviewed what computes.
    #[n(11)]
    pub review: Option<ReviewRule>,
    /// What is asked of a demander's risk.
    #[n(12)]
    pub risk: Option<RiskRule>,
    /// The scene of use (应用场景) within the purpose.
    #[n(13)]
    pub scene: Option<String>,
}

/// Rights, approvers' keys, reviewers, clauses and regions, of each at most.
pub const CONTROL_ENTRIES_MAX: usize = 1024;
/// Bytes of a region, a number, a scene or an exchange.
pub const CONTROL_TEXT_BYTES_MAX: usize = 256;
/// Days that a contract of emergency may last.
pub const EMERGENCY_DAYS_MAX: u64 = 30;
/// The fewest reviewers of what computes.
pub const REVIEWERS_MIN: u8 = 2;
/// The greatest score of a risk.
pub const RISK_SCORE_MAX: u8 = 100;

const DAY_MS: u64 = 86_400_000;
/// Words that name everything (一揽子授权).
const WILDCARDS: [&str; 8] = ["all", "any", "everything", "anything", "一切", "全部", "所有", "任意"];

/// Whether a text grants everything at once instead of one thing.
pub fn is_wildcard(text: &str) -> bool {
    text.contains('*') || WILDCARDS.contains(&text.trim().to_lowercase().as_str())
}

/// What stands before the hyphen of a region.
pub fn jurisdiction(region: &str) -> &str {
    region.split('-').next().unwrap_or(region)
}

fn is_region(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    text.len() <= 16 && text.split('-').all(part)
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= CONTROL_TEXT_BYTES_MAX && !is_wildcard(text)
}

impl Control {
    /// Everything that is wrong with them in a contract, each in one sentence.
    pub(crate) fn faults(&self, of: &Contract) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, text: &str| {
            if !ok {
                faults.push(text.to_owned());
            }
        };
        let party = |root: &NodeId| of.parties.iter().any(|p| p.root == *root);
        let entries = [self.rights.len(), self.regions.len(), self.approvals.len(), self.liability.len()];
        check(entries.iter().all(|n| *n <= CONTROL_ENTRIES_MAX), "more than 1024 entries of one term of control");
        check(
            self.declarations.len() == DECLARATIONS && self.declarations.iter().all(|a| *a == Answer::No),
            "the four declarations on data that may not be traded (不得交易) are not all answered with no",
        );
        check(self.scene.as_deref().is_none_or(is_text), "the scene is empty, too long or for everything");
        check(self.rights.iter().all(|r| party(&r.holder)), "a holder of a right is no party");
        check(
            self.rights.iter().all(|r| of.datasets.iter().any(|d| d.dataset == r.dataset)),
            "a right to a dataset that is not granted",
        );
        let rights: BTreeSet<_> = self.rights.iter().map(|r| (r.dataset, r.kind)).collect();
        check(rights.len() == self.rights.len(), "a right has two holders");
        check(self.delegation == 0, "a right may not be handed on (不得转委托): delegation is 0");
        check(
            self.venue.as_ref().is_none_or(|v| is_text(&v.exchange) && is_text(&v.order)),
            "the exchange or its order has no name",
        );
        check(
            self.regions.iter().all(|r| party(&r.party) && is_region(&r.region))
                && self.regions.iter().map(|r| r.party).collect::<BTreeSet<_>>().len() == self.regions.len(),
            "a region of no party, of one twice, or not such as CN-XM",
        );
        check(
            self.cross_border.as_ref().is_none_or(|c| {
                is_text(&c.number) && !c.jurisdictions.is_empty() && c.jurisdictions.iter().all(|j| is_region(j))
            }),
            "an assessment for crossing a border without number or jurisdiction",
        );
        check(self.emergency_is_short(of), "a contract of emergency lasts over 30 days, or ends after itself");
        check(
            self.approvers_are_apart(of),
            "an approver stands twice, is a party or an operator, or too few are named",
        );
        check(
            self.liability.iter().all(|c| party(&c.party))
                && (self.liability.is_empty() || of.parties.iter().all(|p| self.clauses_of(&p.root) == 1)),
            "clauses of liability are not one for each party",
        );
        check(
            self.review.as_ref().is_none_or(|r| r.need >= REVIEWERS_MIN && distinct(&r.reviewers, r.need)),
            "fewer than two reviewers, or one twice",
        );
        check(
            self.risk.as_ref().is_none_or(|r| r.score_max <= RISK_SCORE_MAX && distinct(&r.assessors, 1)),
            "no assessor of risk, one twice, or a score over 100",
        );
        faults
    }

    fn clauses_of(&self, party: &NodeId) -> usize {
        self.liability.iter().filter(|c| c.party == *party).count()
    }

    fn emergency_is_short(&self, of: &Contract) -> bool {
        self.emergency.is_none_or(|e| {
            let lasts = of.valid_until.0.saturating_sub(of.valid_from.0);
            lasts <= EMERGENCY_DAYS_MAX * DAY_MS && e.until > of.valid_from && e.until <= of.valid_until
        })
    }

    /// Who approves neither proposes nor uses, and counts once.
    fn approvers_are_apart(&self, of: &Contract) -> bool {
        let keys: Vec<&NodeId> = self.approvals.iter().flat_map(|a| &a.keys).collect();
        let once: BTreeSet<&&NodeId> = keys.iter().collect();
        once.len() == keys.len()
            && keys.len() <= CONTROL_ENTRIES_MAX
            && !keys.iter().any(|k| of.parties.iter().any(|p| p.root == **k) || of.operators.contains(k))
            && self.approvals.iter().all(|a| a.need >= 1 && usize::from(a.need) <= a.keys.len())
            && self
                .approvals
                .iter()
                .all(|a| a.owner.is_none_or(|o| of.parties.iter().any(|p| p.root == o && p.role == Role::Provider)))
    }

    /// The right of that kind to a dataset version.
    pub fn right(&self, dataset: &DatasetVersionId, kind: RightKind) -> Option<&Right> {
        self.rights.iter().find(|r| r.dataset == *dataset && r.kind == kind)
    }

    /// Where a party is.
    pub fn region(&self, party: &NodeId) -> Option<&str> {
        self.regions.iter().find(|r| r.party == *party).map(|r| r.region.as_str())
    }

    /// The rule by which that key approves.
    pub fn approver(&self, key: &NodeId) -> Option<&ApprovalRule> {
        self.approvals.iter().find(|a| a.keys.contains(key))
    }
}

fn distinct(keys: &[NodeId], need: u8) -> bool {
    let once: BTreeSet<&NodeId> = keys.iter().collect();
    once.len() == keys.len() && keys.len() >= usize::from(need) && keys.len() <= CONTROL_ENTRIES_MAX
}
