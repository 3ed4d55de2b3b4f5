//! One use held against what its contracts ask of others than their parties: whether the signatures are there, by so many
//! different keys as the contract names, over this contract, from before the use.
//!
//! An approval is part of what makes a contract, so one that lacks is wrong. Reviews, assessments and lists are kept by the
//! owners that took them in, and may be elsewhere: one that lacks is said to lack.

use std::collections::BTreeSet;

use tacit_types::{ContractId, NodeId, UnixMillis};

use super::control::{Denied, List, Review, Risk, Said, TRUSTEE, TermsApproval, YES, office};
use super::read::{Order, TermsBody};
use super::uses::{Telling, list, plain};
use super::{Papers, at};
use crate::verify::CLOCK_SKEW_MILLIS_MAX;

/// A statement with its signer and time.
struct Signed<'a, T> {
    said: &'a T,
    signer: NodeId,
    issued: UnixMillis,
    paper: usize,
}

impl<T> Clone for Signed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Signed<'_, T> {}

/// The statements of one kind that were there when the use began.
fn before<'a, T>(
    papers: &'a Papers,
    began: UnixMillis,
    pick: impl Fn(&'a Said) -> Option<&'a T>,
) -> Vec<Signed<'a, T>> {
    let known = began.plus(CLOCK_SKEW_MILLIS_MAX);
    let signed = |(said, paper): &'a (Said, usize)| {
        let envelope = &papers.all.get(*paper)?.envelope;
        let (signer, issued, said) = (envelope.signer, envelope.issued_at, pick(said)?);
        (issued <= known).then_some(Signed { said, signer, issued, paper: *paper })
    };
    papers.said.iter().filter_map(signed).collect()
}

/// Tells what the contract asked of others, and what of it is shown.
pub(super) fn tell(
    papers: &mut Papers,
    told: &mut Telling<'_>,
    id: &ContractId,
    terms: &TermsBody,
    order: Option<&Order>,
) {
    let Some(control) = &terms.control else { return };
    strangers(papers, told, id, terms);
    for rule in &control.approvals {
        approval(papers, told, id, terms, rule);
    }
    if control.review.is_some() {
        reviews(papers, told, terms, order);
    }
    if control.risk.is_some() {
        risks(papers, told, terms);
    }
}

/// Approvals of this contract by keys that it gives no say, or in another office: nobody signs such a thing unasked.
fn strangers(papers: &mut Papers, told: &mut Telling<'_>, id: &ContractId, terms: &TermsBody) {
    let rules = || terms.control.iter().flat_map(|c| &c.approvals);
    let mut seen = Vec::new();
    for (said, paper) in &papers.said {
        let (Said::Approval(approval), Some(found)) = (said, papers.all.get(*paper)) else { continue };
        if approval.contract != *id {
            continue;
        }
        let signer = found.envelope.signer;
        seen.push(*paper);
        if !rules().any(|rule| rule.office == approval.office && rule.keys.contains(&signer)) {
            let (office, _) = office(approval.office);
            told.unapproved(format!("{} has no say as {office} in the contract {}", signer.short(), terms.name));
        }
    }
    seen.into_iter().for_each(|paper| papers.touch(paper));
}

fn approval(papers: &Papers, told: &mut Telling<'_>, id: &ContractId, terms: &TermsBody, rule: &TermsApproval) {
    let (mut yes, mut no) = (BTreeSet::new(), BTreeSet::new());
    for found in before(papers, told.record.started, |said| match said {
        Said::Approval(a) if a.contract == *id && a.office == rule.office => Some(a),
        _ => None,
    })
    .into_iter()
    .filter(|found| rule.keys.contains(&found.signer))
    {
        // Who proposes or uses does not approve, and counts for nothing here.
        let apart = !terms.parties.iter().any(|p| p.root == found.signer) && !terms.operators.contains(&found.signer);
        match found.said.verdict {
            YES if apart => yes.insert(found.signer),
            YES => false,
            _ => no.insert(found.signer),
        };
    }
    let named: BTreeSet<&NodeId> = rule.keys.iter().collect();
    let (word, word_zh) = office(rule.office);
    // A rejection stands, whatever the same key says beside it.
    yes.retain(|key| !no.contains(key));
    if rule.office == TRUSTEE && !no.is_empty() {
        return told.unapproved(format!("a trustee has rejected the contract {}", terms.name));
    }
    if yes.len() < usize::from(rule.need) {
        let (have, need) = (yes.len(), rule.need);
        // A later rejection takes the place of what the same key said before: then that was here, and is not any more.
        let later = |key: &&NodeId| !yes.contains(key) && !no.contains(key) && said_later(papers, id, rule, key);
        let later = named.iter().copied().filter(later).count();
        if have + later >= usize::from(need) {
            return told.lacks(
                format!(
                    "{have} of {need} approvals as {word} are in the evidence; {later} keys rejected the contract after this use."
                ),
                format!("证据中以{word_zh}身份作出的批准为 {have} 份，须 {need} 份；另有 {later} 个密钥在此次使用之后拒绝该合同。"),
            );
        }
        return told.unapproved(format!("the contract {} has {have} of {need} approvals as {word}", terms.name));
    }
    let names: Vec<String> = yes.iter().map(|key| papers.name(key, told.trust)).collect();
    let (need, of) = (rule.need, named.len());
    told.say(
        "approval",
        format!(
            "Approved as {word} by {}, over exactly these terms: {need} of {of} keys must have.",
            list(&names, false)
        ),
        format!("由 {} 以{word_zh}身份批准，所签即该合同原文：{of} 个密钥中须有 {need} 个。", list(&names, true)),
    );
}

/// Whether that key rejected the contract once the use was over.
fn said_later(papers: &Papers, id: &ContractId, rule: &TermsApproval, key: &NodeId) -> bool {
    papers.said.iter().any(|(said, paper)| match said {
        Said::Approval(a) if a.contract == *id && a.office == rule.office && a.verdict != YES => {
            papers.all.get(*paper).is_some_and(|found| found.envelope.signer == *key)
        }
        _ => false,
    })
}

/// The last word of each signer.
fn last<'a, T>(all: impl Iterator<Item = Signed<'a, T>>) -> Vec<Signed<'a, T>> {
    let mut last: Vec<Signed<'a, T>> = Vec::new();
    for found in all {
        match last.iter_mut().find(|known| known.signer == found.signer) {
            Some(known) if known.issued < found.issued => *known = found,
            Some(_) => {}
            None => last.push(found),
        }
    }
    last
}

fn reviews(papers: &mut Papers, told: &mut Telling<'_>, terms: &TermsBody, order: Option<&Order>) {
    let (Some(rule), Some(order)) = (terms.control.as_ref().and_then(|c| c.review.as_ref()), order) else { return };
    let began = told.record.started;
    // The data of the highest grade among what is described here.
    let grades = order.providers.iter().filter_map(|p| papers.described.get(&p.dataset)?.0.terms.as_ref());
    let grade = grades.map(|terms| terms.grade).max();
    let mut subjects: Vec<_> = order.models.iter().map(|m| Some(m.model)).collect();
    if subjects.is_empty() {
        subjects.push(None);
    }
    let mut touched = Vec::new();
    for model in subjects {
        let by_reviewers = last(
            before(papers, began, |said| match said {
                Said::Review(r) if r.kind == order.kind && r.model == model && began < r.until => Some(r),
                _ => None,
            })
            .into_iter()
            .filter(|found: &Signed<'_, Review>| rule.reviewers.contains(&found.signer)),
        );
        let kind = plain(&order.kind);
        let (en, zh) = match model {
            Some(model) => (format!("model {} in {kind}", model.short()), format!("{kind} 中的模型 {}", model.short())),
            None => (kind.clone(), kind),
        };
        touched.extend(by_reviewers.iter().map(|found| found.paper));
        if by_reviewers.iter().any(|found| found.said.verdict != YES) {
            told.unapproved(format!("a reviewer whom the contract {} names has rejected {en}", terms.name));
            continue;
        }
        let good = by_reviewers.iter().filter(|found| grade.is_none_or(|grade| grade <= found.said.grade_max));
        let agreed: BTreeSet<NodeId> = good.map(|found| found.signer).collect();
        let (have, need) = (agreed.len(), rule.need);
        if have < usize::from(need) {
            told.lacks(
                format!("{have} of {need} reviews of {en} that held then are in the evidence."),
                format!("证据中当时有效的 {zh} 审查为 {have} 份，须 {need} 份。"),
            );
            continue;
        }
        let names: Vec<String> = agreed.iter().map(|key| papers.name(key, told.trust)).collect();
        told.say(
            "review",
            format!("{en} was reviewed by {}, of whom the contract wants {need}.", list(&names, false)),
            format!("{zh} 已由 {} 审查，合同要求 {need} 名。", list(&names, true)),
        );
    }
    touched.into_iter().for_each(|paper| papers.touch(paper));
}

fn risks(papers: &mut Papers, told: &mut Telling<'_>, terms: &TermsBody) {
    let Some(rule) = terms.control.as_ref().and_then(|c| c.risk.as_ref()) else { return };
    let began = told.record.started;
    let mut touched = Vec::new();
    for party in terms.parties.iter().filter(|p| p.uses()) {
        let found = last(
            before(papers, began, |said| match said {
                Said::Risk(r) if r.party == party.root && began < r.until => Some(r),
                _ => None,
            })
            .into_iter()
            .filter(|found: &Signed<'_, Risk>| rule.assessors.contains(&found.signer)),
        );
        touched.extend(found.iter().map(|found| found.paper));
        let (name, most) = (&party.name, rule.score_max);
        // The worst word counts.
        match found.iter().max_by_key(|found| found.said.score) {
            None => told.lacks(
                format!("No assessment of the risk of {name} that held then is in the evidence."),
                format!("证据中没有当时有效的 {name} 风险评估。"),
            ),
            Some(worst) if worst.said.score > most => {
                let score = worst.said.score;
                told.unapproved(format!("the risk of {name} was assessed as {score}, at most {most} is taken"));
            }
            Some(worst) => {
                let (who, score) = (papers.name(&worst.signer, told.trust), worst.said.score);
                told.say(
                    "risk",
                    format!("The risk of {name} was assessed as {score} by {who}; the contract takes at most {most}."),
                    format!("{who} 评估 {name} 的风险为 {score}；合同最多接受 {most}。"),
                );
            }
        }
    }
    touched.into_iter().for_each(|paper| papers.touch(paper));
}

/// How an entry applies to a use, as far as the evidence shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applies {
    No,
    /// It names a column that a contract grants; which columns the job touched is not in words here.
    Perhaps,
    Yes,
}

/// Tells of each list that held then what it denies of this use. Whether an owner had taken it in only its answer shows.
pub(super) fn lists(papers: &mut Papers, told: &mut Telling<'_>, order: Option<&Order>) {
    let (Some(order), began) = (order, told.record.started) else { return };
    let mut newest: Vec<Signed<'_, List>> = Vec::new();
    for found in before(papers, began, |said| match said {
        Said::List(l) if l.until.is_none_or(|until| began < until) => Some(l),
        _ => None,
    }) {
        let same = |known: &&mut Signed<'_, List>| known.signer == found.signer && known.said.name == found.said.name;
        match newest.iter_mut().find(same) {
            Some(known) if known.said.number < found.said.number => *known = found,
            Some(_) => {}
            None => newest.push(found),
        }
    }
    let mut touched = Vec::new();
    for found in newest {
        let (who, name) = (papers.name(&found.signer, told.trust), plain(&found.said.name));
        let (number, when) = (found.said.number, at(found.issued));
        touched.push(found.paper);
        let each = found.said.items.iter().map(|item| applies(papers, told, item, order));
        let worst = (1..).zip(each).filter(|(_, how)| *how != Applies::No);
        let worst = worst.max_by_key(|(_, how)| *how == Applies::Yes);
        let reason = plain(&found.said.reason);
        let (about, en, zh) = match worst {
            None => ("list", "denies nothing of this use".to_owned(), "未禁止此次使用".to_owned()),
            Some((item, Applies::Yes)) => {
                told.shown = false;
                (
                    "not_shown",
                    format!("denies this use by its item {item}: {reason}"),
                    format!("第 {item} 项禁止此次使用：{reason}"),
                )
            }
            Some((item, _)) => (
                "list",
                format!("denies by its item {item} a column that a contract grants, whether the job touched it or not"),
                format!("第 {item} 项禁止合同授权的某列，作业是否使用该列此处未说明"),
            ),
        };
        told.say(
            about,
            format!("The list {name}, number {number}, signed by {who} at {when}, {en}."),
            format!("{who} 于 {when} 签署的清单 {name} 第 {number} 号{zh}。"),
        );
    }
    touched.into_iter().for_each(|paper| papers.touch(paper));
}

fn applies(papers: &Papers, told: &Telling<'_>, item: &Denied, order: &Order) -> Applies {
    let terms: Vec<&TermsBody> =
        told.record.contracts.iter().filter_map(|id| Some(&papers.contracts.get(id)?.terms.known)).collect();
    let party = |key: &NodeId| order.signer == *key || terms.iter().any(|t| t.parties.iter().any(|p| p.root == *key));
    let said = item.party.is_some()
        || item.purpose.is_some()
        || item.dataset.is_some()
        || item.column.is_some()
        || item.kind.is_some()
        || item.model.is_some();
    let fits = said
        && item.party.as_ref().is_none_or(party)
        && item.purpose.as_ref().is_none_or(|p| p.trim() == order.purpose.trim())
        && item.dataset.is_none_or(|d| order.providers.iter().any(|p| p.dataset == d))
        && item.kind.as_ref().is_none_or(|k| *k == order.kind)
        && item.model.is_none_or(|m| order.models.iter().any(|used| used.model == m));
    let granted =
        |column: &String| terms.iter().any(|t| t.datasets.iter().any(|d| d.columns.iter().any(|c| c.name == *column)));
    match &item.column {
        _ if !fits => Applies::No,
        None => Applies::Yes,
        Some(column) if granted(column) => Applies::Perhaps,
        Some(_) => Applies::No,
    }
}
