//! Grading anew (重新定级): an owner says that a dataset version, or a column of it, is of another grade than it was, and on what
//! evidence. A more sensitive grade holds as soon as the owner has said it. A less sensitive one holds under a contract once two
//! of those whom the contract lets approve have approved these exact bytes.

use std::collections::BTreeSet;

use tacit_crypto::{Body, Statement, sha256};
use tacit_types::{DatasetVersionId, Hash, NodeId, UnixMillis};

use crate::control::{CONTROL_TEXT_BYTES_MAX, Control, Office};
use crate::dataset::DatasetDescriptor;
use crate::grade::Grade;
use crate::orders::{Order, Verdict};

/// Different keys that must approve a less sensitive grade.
pub const REGRADING_APPROVALS: usize = 2;

/// That an owner grades a dataset version, or a column of it, anew.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Regrading {
    /// The dataset version.
    #[n(1)]
    pub dataset: DatasetVersionId,
    /// The column, for jobs that touch it; the whole version when absent.
    #[n(2)]
    pub column: Option<String>,
    /// Which of the regradings of this version or column it is, from 1: they hold one after the other.
    #[n(3)]
    pub number: u64,
    /// The grade before it.
    #[n(4)]
    pub from: Grade,
    /// The grade after it.
    #[n(5)]
    pub to: Grade,
    /// The hash of the evidence.
    #[n(6)]
    pub evidence: Hash,
    /// Why, for people.
    #[n(7)]
    pub reason: String,
}

impl Body for Regrading {
    const TYPE: &'static str = "regrading";
}

impl Regrading {
    pub(crate) fn is_sound(&self) -> bool {
        let text = |t: &str| !t.trim().is_empty() && t.len() <= CONTROL_TEXT_BYTES_MAX;
        let grades = self.from != self.to && [self.from, self.to].iter().all(|g| Grade::parse(g.word()).is_some());
        self.number > 0 && grades && text(&self.reason) && self.column.as_deref().is_none_or(text)
    }

    /// Whether others have to approve it.
    pub fn is_downward(&self) -> bool {
        self.to < self.from
    }
}

/// What somebody else says to a regrading.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RegradingApproval {
    /// The hash of the signed regrading.
    #[n(1)]
    pub regrading: Hash,
    /// What is said. A rejection stays.
    #[n(2)]
    pub verdict: Verdict,
    /// Why, for people.
    #[n(3)]
    pub reason: String,
}

impl Body for RegradingApproval {
    const TYPE: &'static str = "regrading-approval";
}

/// By what a regrading is approved.
pub fn id(regrading: &Statement<Regrading>) -> Hash {
    sha256(regrading.bytes())
}

/// Who has approved a regrading and who has rejected it, among those that count.
pub fn said(
    regrading: &Statement<Regrading>,
    orders: &[Order],
    counts: impl Fn(&NodeId) -> bool,
) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
    let (mut yes, mut no) = (BTreeSet::new(), BTreeSet::new());
    let id = id(regrading);
    for order in orders {
        let Order::RegradingApproval(word) = order else { continue };
        if word.body().regrading != id || word.signer() == regrading.signer() || !counts(&word.signer()) {
            continue;
        }
        match word.body().verdict {
            Verdict::Approve => yes.insert(word.signer()),
            Verdict::Reject => no.insert(word.signer()),
        };
    }
    (yes, no)
}

/// Whether a regrading to a less sensitive grade is approved under a contract with these terms: by two of its approvers of this
/// owner or of all, this owner's chief data officer among them where the grade before is important or core, and rejected by none.
pub fn approved(regrading: &Statement<Regrading>, orders: &[Order], control: Option<&Control>, owner: &NodeId) -> bool {
    let rule = |key: &NodeId| control.and_then(|c| c.approver(key)).filter(|r| r.owner.is_none_or(|o| o == *owner));
    let (yes, no) = said(regrading, orders, |key| rule(key).is_some());
    let officer =
        |key: &NodeId| rule(key).is_some_and(|r| r.office == Office::ChiefDataOfficer && r.owner == Some(*owner));
    let officer = regrading.body().from < Grade::IMPORTANT || yes.iter().any(officer);
    no.is_empty() && yes.len() >= REGRADING_APPROVALS && officer
}

/// Where the rows of a dataset version come from, and what was said over their grade.
pub struct Graded<'a> {
    /// The owner's root key.
    pub owner: NodeId,
    /// The dataset version.
    pub id: DatasetVersionId,
    /// The versions that it was aligned from, the nearest first: what is said of them holds for it.
    pub sources: &'a [DatasetVersionId],
    /// The version itself.
    pub dataset: &'a DatasetDescriptor,
    /// What the owner took in.
    pub orders: &'a [Order],
}

impl<'a> Graded<'a> {
    /// The owner's regradings of one version and column, in their order.
    fn of(&self, version: &DatasetVersionId, column: Option<&str>) -> Vec<&'a Statement<Regrading>> {
        let matching = self.orders.iter().filter_map(|order| match order {
            Order::Regrading(s) if s.signer() == self.owner => Some(s),
            _ => None,
        });
        let matching = matching.filter(|s| s.body().dataset == *version && s.body().column.as_deref() == column);
        let mut all: Vec<_> = matching.collect();
        all.sort_by_key(|s| s.body().number);
        all
    }

    /// Regradings of the version, or of a column, in the order in which they hold: by the time of issue, so that what was said of
    /// the version does not undo what is said of a source later. One of a version is no earlier than the one before it; of the same
    /// time those of its sources come first.
    pub fn regradings(&self, column: Option<&str>) -> Vec<&'a Statement<Regrading>> {
        let versions = self.sources.iter().rev().chain([&self.id]);
        let mut all: Vec<_> = versions
            .flat_map(|version| {
                let mut at = UnixMillis(0);
                self.of(version, column).into_iter().map(move |regrading| {
                    at = at.max(regrading.envelope().issued_at);
                    (at, regrading)
                })
            })
            .collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, regrading)| regrading).collect()
    }

    /// The grade of the version, or of a column that was graded apart; `None` where nothing states one.
    pub fn grade(&self, column: Option<&str>, approved: impl Fn(&Statement<Regrading>) -> bool) -> Option<Grade> {
        let stated = self.dataset.terms.as_ref().map(|terms| terms.grade);
        let regradings = self.regradings(column);
        if regradings.is_empty() {
            return stated.filter(|_| column.is_none());
        }
        // What nothing was stated of begins at the bottom, so that whatever the owner says of it holds.
        let mut grade = stated.unwrap_or(Grade(1));
        for regrading in regradings {
            let body = regrading.body();
            if body.to >= grade || (body.from == grade && approved(regrading)) {
                grade = body.to;
            }
        }
        Some(grade)
    }

    /// The grade for a job: of the version and of every column that it touches, the most sensitive.
    pub fn for_job(
        &self,
        touches: impl Fn(&str) -> bool,
        approved: impl Fn(&Statement<Regrading>) -> bool,
    ) -> Option<Grade> {
        let columns: BTreeSet<&str> = self
            .orders
            .iter()
            .filter_map(|order| match order {
                Order::Regrading(s) => s.body().column.as_deref(),
                _ => None,
            })
            .filter(|column| touches(column))
            .collect();
        columns.into_iter().map(Some).chain([None]).filter_map(|column| self.grade(column, &approved)).max()
    }
}
