//! Terms of control, what an owner says of its data, and what others say of the use: each one removed, expired or changed.

use tacit_governance::control::{
    Answer, ApprovalRule, Clause, Control, CrossBorder, Emergency, Office, PartyRegion, ReviewRule, Right, RightKind,
    RiskRule, Venue,
};
use tacit_governance::grade::{
    Anonymised, Basis, BasisKind, Class, ConsentFor, DatasetTerms, Grade, Registration, Sharing,
};
use tacit_governance::orders::{
    AlgorithmReview, Denied, NegativeList, RiskAssessment, VECTOR_RUNS_MAX, VectorRun, Verdict,
};
use tacit_governance::{Precision, Rule, ScoreFacts};

use super::*;

/// This owner's chief data officer, a notary, two trustees.
pub const OFFICER: u8 = 20;
const NOTARY: u8 = 21;
const TRUSTEES: [u8; 2] = [22, 23];
pub const REVIEWERS: [u8; 3] = [30, 31, 32];
pub const ASSESSOR: u8 = 33;
/// The first moment after now.
pub const LATER: UnixMillis = UnixMillis(NOW.0 + 1);

fn terms() -> Control {
    let parties = [1, 2, 3, DEMANDER];
    let rights = OWNERS.into_iter().flat_map(|o| {
        RightKind::ALL.map(|kind| Right {
            dataset: dataset_of(o),
            kind,
            holder: key(if kind == RightKind::Hold { o } else { DEMANDER }).id(),
            basis: Hash([kind as u8; 32]),
            until: LATER,
        })
    });
    let rule = |office, owner: Option<u8>, keys: &[u8], need| ApprovalRule {
        office,
        owner: owner.map(|o| key(o).id()),
        keys: keys.iter().map(|k| key(*k).id()).collect(),
        need,
    };
    Control {
        rights: rights.collect(),
        declarations: vec![Answer::No; 4],
        venue: Some(Venue { exchange: "Xiamen".into(), order: "17".into(), operator: Some(key(40).id()) }),
        regions: parties
            .map(|p| PartyRegion {
                party: key(p).id(),
                region: if p == DEMANDER { "SG".into() } else { "CN-XM".into() },
            })
            .to_vec(),
        cross_border: Some(CrossBorder {
            number: "A-1".into(),
            document: Hash([9; 32]),
            jurisdictions: vec!["SG".into()],
            until: LATER,
        }),
        approvals: vec![
            rule(Office::ChiefDataOfficer, Some(1), &[OFFICER], 1),
            rule(Office::Notary, None, &[NOTARY], 1),
            rule(Office::Trustee, None, &TRUSTEES, 1),
        ],
        emergency: Some(Emergency { order: Hash([8; 32]), until: LATER }),
        delegation: 0,
        liability: parties.map(|p| Clause { party: key(p).id(), text: Hash([p; 32]) }).to_vec(),
        dispute: Some(Hash([7; 32])),
        review: Some(ReviewRule { reviewers: REVIEWERS.map(|r| key(r).id()).to_vec(), need: 2, rerun: true }),
        risk: Some(RiskRule { assessors: vec![key(ASSESSOR).id()], score_max: 40 }),
        scene: Some("claims of 2026".into()),
    }
}

pub fn data() -> DatasetTerms {
    DatasetTerms {
        class: Class::Personal,
        grade: Grade::IMPORTANT,
        sharing: Sharing::Conditional,
        basis: Some(Basis { kind: BasisKind::SeparateConsent, document: Hash([6; 32]), until: LATER }),
        consent: vec![ConsentFor { purpose: "fraud research".into(), recipients: vec![key(DEMANDER).id()] }],
        anonymised: None,
        registration: Some(Registration {
            number: "R-1".into(),
            registrar: "registry".into(),
            certificate: Hash([5; 32]),
            until: LATER,
        }),
        region: Some("CN-XM".into()),
        export_controlled: false,
        secret: false,
    }
}

/// What the owner's build gives of the test vectors of `stats/v1`, and of no other kind.
pub fn rerun(kind: &str) -> Vec<VectorRun> {
    let run = |n: u8| VectorRun { name: format!("vector {n}"), result: Hash([n; 32]) };
    if kind == "stats/v1" { [1, 2].map(run).to_vec() } else { Vec::new() }
}

pub fn review(by: u8, change: impl FnOnce(&mut AlgorithmReview)) -> Order {
    let mut body = AlgorithmReview {
        kind: "stats/v1".into(),
        model: None,
        verdict: Verdict::Approve,
        grade_max: Grade::IMPORTANT,
        vectors: Hash([4; 32]),
        until: LATER,
        runs: rerun("stats/v1"),
    };
    change(&mut body);
    Order::read(Statement::sign(&key(by), "review", NOW, None, body).bytes()).unwrap()
}

pub fn risk(by: u8, score: u8, until: UnixMillis) -> Order {
    let body = RiskAssessment { party: key(DEMANDER).id(), score, report: Hash([3; 32]), until };
    Order::read(Statement::sign(&key(by), "risk", NOW, None, body).bytes()).unwrap()
}

fn list(item: Denied) -> Order {
    listed(item, None)
}

pub fn listed(item: Denied, until: Option<UnixMillis>) -> Order {
    let body = NegativeList { name: "ours".into(), number: 1, items: vec![item], reason: "no".into(), until };
    Order::read(Statement::sign(&key(1), "list", NOW, None, body).bytes()).unwrap()
}

/// A job under every term of control there is.
pub fn controlled() -> Case {
    let mut case = Case::new().contract(|c| c.control = Some(terms()));
    case.approvers = vec![OFFICER, NOTARY, TRUSTEES[0]];
    case.orders = vec![review(REVIEWERS[0], |_| {}), review(REVIEWERS[1], |_| {}), risk(ASSESSOR, 40, LATER)];
    case.dataset.as_mut().unwrap().terms = Some(data());
    case.facts.as_mut().unwrap().checked = Some(true);
    case
}

pub fn with(change: impl FnOnce(&mut Control)) -> Case {
    controlled().contract(|c| change(c.control.as_mut().unwrap()))
}

pub fn of(change: impl FnOnce(&mut DatasetTerms)) -> Case {
    controlled().other(|c| change(c.dataset.as_mut().unwrap().terms.as_mut().unwrap()))
}

pub fn holding(orders: Vec<Order>) -> Case {
    controlled().other(|c| c.orders = orders)
}

pub fn code(case: Case) -> Option<Code> {
    case.decide().err().map(|f| f.code)
}

#[test]
fn every_link_of_the_chain_of_rights_is_needed_and_has_its_code() {
    assert_eq!(code(controlled()), None);
    for (at, wanted) in
        [Code::RefusedRightHold, Code::RefusedRightProcess, Code::RefusedRightOperate].iter().enumerate()
    {
        for owner in 0..3 {
            let i = owner * 3 + at;
            let without = with(|c| {
                c.rights.remove(i);
            });
            assert_eq!(code(without), Some(*wanted), "{owner} {at}");
            assert_eq!(code(with(|c| c.rights[i].until = NOW)), Some(*wanted), "{owner} {at}");
        }
    }
    assert_eq!(code(with(|c| c.rights[0].holder = key(2).id())), Some(Code::RefusedRightHold));
    assert_eq!(code(with(|c| c.rights[2].holder = key(1).id())), Some(Code::RefusedRightOperate));
    // Who processes may be any party.
    assert_eq!(code(with(|c| c.rights[1].holder = key(2).id())), None);
    let incomplete = Some(Code::RefusedContractIncomplete);
    assert_eq!(code(with(|c| c.rights[1].holder = key(STRANGER).id())), incomplete);
    assert_eq!(code(with(|c| c.delegation = 1)), incomplete, "rights are not handed on");
    assert_eq!(code(with(|c| c.rights.push(Right { holder: key(2).id(), ..c.rights[1].clone() }))), incomplete);
}

#[test]
fn a_contract_answers_the_four_declarations_and_names_no_wildcard() {
    let incomplete = Some(Code::RefusedContractIncomplete);
    assert_eq!(code(with(|c| c.declarations.truncate(3))), incomplete);
    assert_eq!(code(with(|c| c.declarations.push(Answer::No))), incomplete);
    for i in 0..4 {
        for answer in [Answer::Open, Answer::Yes] {
            assert_eq!(code(with(|c| c.declarations[i] = answer)), incomplete);
        }
    }
    for purpose in ["*", "any", "All ", "一切", "fraud *"] {
        let case = controlled().contract(|c| c.purpose = purpose.into()).job(|j| j.purpose = purpose.into());
        assert_eq!(code(case), incomplete, "{purpose}");
    }
    assert_eq!(code(with(|c| c.scene = Some("全部".into()))), incomplete);
    assert_eq!(code(with(|c| c.liability.truncate(3))), incomplete);
    assert_eq!(code(with(|c| c.regions[0].region = "Xiamen".into())), incomplete);
}

#[test]
fn approvals_are_by_others_than_the_parties_and_a_trustee_vetoes() {
    let refused = Some(Code::RefusedApproval);
    for missing in 0..3 {
        assert_eq!(
            code(controlled().other(|c| {
                c.approvers.remove(missing);
            })),
            refused,
            "{missing}"
        );
    }
    assert_eq!(code(controlled().other(|c| c.rejecters = vec![TRUSTEES[1]])), refused, "the other trustee's veto");
    // The same trustee may not take its word back.
    assert_eq!(code(controlled().other(|c| c.rejecters = vec![TRUSTEES[0]])), refused);
    assert_eq!(code(with(|c| c.approvals[2].need = 2)), refused, "two of two");
    assert_eq!(code(with(|c| c.approvals[2].need = 2).other(|c| c.approvers.push(TRUSTEES[1]))), None);
    let incomplete = Some(Code::RefusedContractIncomplete);
    for key_of in [1, DEMANDER, OPERATOR, NOTARY] {
        assert_eq!(code(with(|c| c.approvals[0].keys = vec![key(key_of).id()])), incomplete, "{key_of}");
    }
    assert_eq!(code(with(|c| c.approvals[2].need = 3)), incomplete);
    assert_eq!(code(with(|c| c.approvals[2].need = 0)), incomplete);
    // An edit voids every approval: they are of other bytes.
    let before = controlled().signed();
    let mut edited = with(|c| c.dispute = None).contract;
    edited.quota.jobs += 1;
    let mut after = SignedContract::draft(edited);
    for approval in before.approvals() {
        assert_eq!(after.add_approval(approval.clone()).unwrap_err().code, Code::RefusedContractIncomplete);
    }
    assert_eq!((before.unapproved().len(), after.unapproved().len()), (0, 3));
}

#[test]
fn approvals_travel_with_signatures_in_any_order() {
    let signed = controlled().other(|c| c.rejecters = vec![TRUSTEES[1]]).signed();
    let mut bytes: Vec<Vec<u8>> = signed.statements().map(|(_, b)| b.to_vec()).collect();
    assert_eq!(bytes.len(), 4 + 4);
    bytes.reverse();
    let read = SignedContract::collect(bytes.iter().map(Vec::as_slice)).unwrap();
    assert_eq!((read.signatures().len(), read.approvals().len()), (4, 4));
    assert_eq!(read.unapproved(), ["a trustee has rejected it"]);
    let mut own = SignedContract::draft(signed.body().clone());
    own.merge(&signed).unwrap();
    assert_eq!(own.unapproved(), read.unapproved());
    // Nobody's word is taken but in the office that the terms give.
    assert!(own.approve(&key(STRANGER), Verdict::Approve, "", NOW).is_err());
    assert!(own.approve(&key(1), Verdict::Approve, "", NOW).is_err());
    assert!(SignedContract::collect(bytes[..1].iter().map(Vec::as_slice)).is_err(), "an approval of nothing");
}

#[test]
fn important_and_personal_data_need_this_owners_chief_data_officer() {
    let refused = Some(Code::RefusedApproval);
    let another = || with(|c| c.approvals[0].owner = Some(key(2).id()));
    assert_eq!(code(another()), refused);
    let plain = |change: fn(&mut DatasetTerms)| {
        another().other(|c| change(c.dataset.as_mut().unwrap().terms.as_mut().unwrap()))
    };
    assert_eq!(code(plain(|d| d.class = Class::Enterprise)), refused, "important");
    assert_eq!(code(plain(|d| d.grade = Grade(4))), refused, "personal");
    assert_eq!(code(plain(|d| (d.class, d.grade) = (Class::Enterprise, Grade(4)))), None);
    // Also where the contract has no terms of control at all.
    assert_eq!(code(controlled().contract(|c| c.control = None)), refused);
}

#[test]
fn what_is_withheld_secret_or_no_longer_registered_is_used_for_nothing() {
    assert_eq!(code(of(|d| d.sharing = Sharing::Withheld)), Some(Code::RefusedWithheld));
    assert_eq!(code(of(|d| d.secret = true)), Some(Code::RefusedWithheld));
    assert_eq!(code(of(|d| d.sharing = Sharing::Unconditional)), None);
    assert_eq!(code(of(|d| d.registration.as_mut().unwrap().until = NOW)), Some(Code::RefusedRegistration));
    assert_eq!(code(of(|d| d.registration = None)), None);
}

#[test]
fn personal_data_needs_a_ground_that_holds() {
    let refused = Some(Code::RefusedPersonal);
    assert_eq!(code(of(|d| d.basis = None)), refused);
    assert_eq!(code(of(|d| d.basis.as_mut().unwrap().until = NOW)), refused);
    assert_eq!(code(of(|d| d.consent.clear())), refused);
    assert_eq!(code(of(|d| d.consent[0].purpose = "marketing".into())), refused);
    assert_eq!(code(of(|d| d.consent[0].recipients = vec![key(2).id()])), refused);
    assert_eq!(code(of(|d| d.consent[0].recipients.clear())), refused, "separate consent names who");
    let kind = |kind| of(move |d| d.basis.as_mut().unwrap().kind = kind);
    assert_eq!(code(kind(BasisKind::Statutory).other(clear)), None);
    assert_eq!(code(kind(BasisKind::Contract).other(clear)), None);
    assert_eq!(code(kind(BasisKind::Consent).other(clear)), refused);
    assert_eq!(code(kind(BasisKind::Anonymised)), refused);
    let measured = |k, until, quasi: &[&str], measured| {
        let quasi: Vec<String> = quasi.iter().map(|q| (*q).to_owned()).collect();
        kind(BasisKind::Anonymised).other(move |c| {
            let data = c.dataset.as_mut().unwrap().terms.as_mut().unwrap();
            let (method, quasi) = ("k".into(), quasi.clone());
            data.anonymised = Some(Anonymised { method, k, report: Hash([2; 32]), until, quasi, measured });
        })
    };
    let anonymised = |k, until| measured(k, until, &[], None);
    assert_eq!(code(measured(5, LATER, &["age"], Some(5))), None);
    assert_eq!(code(measured(5, LATER, &["age"], Some(4))), refused, "less than what is stated");
    assert_eq!(code(measured(4, LATER, &["age"], Some(9))), refused, "no more is stated");
    assert_eq!(code(measured(5, LATER, &["age"], None)), refused, "not measured");
    assert_eq!(code(anonymised(5, LATER)), None);
    assert_eq!(code(anonymised(4, LATER)), refused);
    assert_eq!(code(anonymised(5, NOW)), refused);
    assert_eq!(code(of(|d| (d.class, d.basis) = (Class::Enterprise, None))), None);
}

fn clear(case: &mut Case) {
    case.dataset.as_mut().unwrap().terms.as_mut().unwrap().consent.clear();
}

#[test]
fn the_grade_decides_what_may_be_made() {
    let refused = Some(Code::RefusedGrade);
    let unchecked =
        |grade| of(move |d| d.grade = Grade(grade)).other(|c| c.facts.as_mut().unwrap().checked = Some(false));
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 0, 7, 255].map(|g| code(unchecked(g))),
        [None, None, None, None, refused, refused, refused, refused, refused,]
    );
    assert_eq!(code(of(|d| d.grade = Grade(0))), refused);
    let higher = |grade| of(move |d| d.grade = Grade(grade)).contract(|c| c.control.as_mut().unwrap().review = None);
    assert_eq!([5, 6, 7].map(|g| code(higher(g))), [None, refused, refused]);
    // A score of important data leaves as yes or no, and only verified.
    let score = |precision, verified| {
        controlled().other(move |c| {
            let (family, unknown) = (tacit_governance::ModelFamily::Linear, tacit_governance::UnknownKeys::Each);
            let facts = c.facts.as_mut().unwrap();
            let score = ScoreFacts { rows: 1, precision, decimals: None, unknown, family, verified };
            (facts.score, facts.checked) = (Some(score), None);
        })
    };
    assert_eq!(code(score(Precision::Rounded, true)), refused);
    assert_eq!(code(score(Precision::Decision, false)), refused);
    assert_eq!(code(score(Precision::Decision, true)), Some(Code::RefusedPrecision), "past the grade");
}

#[test]
fn a_list_denies_whatever_the_contract_allows() {
    let refused = Some(Code::RefusedListed);
    let item = Denied::default;
    for (what, denied) in [
        ("party", Denied { party: Some(key(2).id()), ..item() }),
        ("demander", Denied { party: Some(key(DEMANDER).id()), ..item() }),
        ("operator", Denied { party: Some(key(OPERATOR).id()), ..item() }),
        ("purpose", Denied { purpose: Some("fraud research".into()), ..item() }),
        ("dataset", Denied { dataset: Some(dataset_of(1)), ..item() }),
        ("column", Denied { column: Some("region".into()), ..item() }),
        ("kind", Denied { kind: Some("stats/v1".into()), ..item() }),
        ("two", Denied { kind: Some("stats/v1".into()), column: Some("amount".into()), ..item() }),
    ] {
        assert_eq!(code(controlled().other(|c| c.orders.push(list(denied.clone())))), refused, "{what}");
        // Also under a contract from before there were terms of control.
        assert_eq!(code(Case::new().other(|c| c.orders.push(list(denied.clone())))), refused, "{what}");
        assert_eq!(code(controlled().other(|c| c.orders.push(listed(denied, Some(NOW))))), None, "{what}");
    }
    for (what, denied) in [
        ("a stranger", Denied { party: Some(key(STRANGER).id()), ..item() }),
        ("a column that is not touched", Denied { column: Some("secret".into()), ..item() }),
        ("one of two", Denied { kind: Some("stats/v1".into()), column: Some("secret".into()), ..item() }),
        ("a model", Denied { model: Some(ModelVersionId([1; 32])), ..item() }),
    ] {
        assert_eq!(code(controlled().other(|c| c.orders.push(list(denied)))), None, "{what}");
    }
    let empty = NegativeList { name: "x".into(), number: 1, items: vec![item()], reason: "no".into(), until: None };
    assert!(Order::read(Statement::sign(&key(1), "list", NOW, None, empty).bytes()).is_err(), "a list of everything");
}

#[test]
fn only_what_two_have_reviewed_computes() {
    let refused = Some(Code::RefusedReview);
    let [a, b, c] = REVIEWERS;
    let two = |second: Order| vec![review(a, |_| {}), second, risk(ASSESSOR, 40, LATER)];
    assert_eq!(code(holding(two(review(c, |_| {})))), None);
    assert_eq!(code(holding(two(review(a, |_| {})))), refused, "one reviewer twice");
    assert_eq!(code(holding(two(review(STRANGER, |_| {})))), refused);
    assert_eq!(code(holding(two(review(b, |r| r.until = NOW)))), refused);
    assert_eq!(code(holding(two(review(b, |r| r.kind = "stats/v2".into())))), refused);
    assert_eq!(code(holding(two(review(b, |r| r.grade_max = Grade(4))))), refused);
    assert_eq!(code(holding(two(review(b, |r| r.model = Some(ModelVersionId([1; 32])))))), refused);
    let mut three = two(review(b, |_| {}));
    three.push(review(c, |r| r.verdict = Verdict::Reject));
    assert_eq!(code(holding(three)), refused, "the third rejects");
    assert_eq!(code(with(|c| c.review.as_mut().unwrap().need = 1)), Some(Code::RefusedContractIncomplete));
}

#[test]
fn a_review_holds_where_its_test_vectors_give_the_same_here() {
    let refused = Some(Code::RefusedReview);
    let [a, b, c] = REVIEWERS;
    let judged = |second: Order, rerun: bool| {
        let orders = vec![review(a, |_| {}), second, risk(ASSESSOR, 40, LATER)];
        holding(orders).contract(|contract| {
            contract.control.as_mut().unwrap().review.as_mut().unwrap().rerun = rerun;
        })
    };
    let other = |by| review(by, |r| r.runs[1].result = Hash([9; 32]));
    for rerun in [true, false] {
        assert_eq!(code(judged(review(b, |_| {}), rerun)), None);
        // All vectors that are here were run where the contract asks for it, and none more than those.
        let fewer = judged(review(b, |r| r.runs.truncate(1)), rerun);
        assert_eq!(code(fewer), if rerun { refused } else { None });
        assert_eq!(code(judged(other(b), rerun)), refused);
        let more = |r: &mut AlgorithmReview| r.runs.push(VectorRun { name: "3".into(), result: Hash([3; 32]) });
        assert_eq!(code(judged(review(b, more), rerun)), refused);
        assert_eq!(code(judged(review(b, |r| r.runs[0].name = "vector 2".into()), rerun)), refused);
        // A third whose program gave something else speaks against it, though two agree.
        let mut three = vec![review(a, |_| {}), review(b, |_| {}), other(c), risk(ASSESSOR, 40, LATER)];
        assert_eq!(code(holding(three.clone())), refused);
        three[2] = other(STRANGER);
        assert_eq!(code(holding(three.clone())), None, "who is no reviewer says nothing");
        three[2] = review(c, |r| (r.runs[1].result, r.until) = (Hash([9; 32]), NOW));
        assert_eq!(code(holding(three)), None, "it is over");
        // What was not run counts where the contract does not ask for it.
        let unrun = judged(review(b, |r| r.runs.clear()), rerun);
        assert_eq!(code(unrun), if rerun { refused } else { None });
    }
    let what = judged(other(b), true).decide().unwrap_err().what;
    assert!(what.contains("test vector `vector 2`"), "{what}");
    let many = |n: usize| {
        let Order::Review(said) = review(b, |_| {}) else { panic!("it is a review") };
        let body = AlgorithmReview { runs: vec![rerun("stats/v1").remove(0); n], ..said.body().clone() };
        Order::read(Statement::sign(&key(b), "review", NOW, None, body).bytes()).is_ok()
    };
    assert_eq!((many(VECTOR_RUNS_MAX), many(VECTOR_RUNS_MAX + 1)), (true, false));
}

#[test]
fn a_recipient_is_assessed_and_its_risk_is_low() {
    let refused = Some(Code::RefusedRisk);
    let only = |order: Vec<Order>| {
        let mut orders = vec![review(REVIEWERS[0], |_| {}), review(REVIEWERS[1], |_| {})];
        orders.extend(order);
        holding(orders)
    };
    assert_eq!(code(only(vec![risk(ASSESSOR, 0, LATER)])), None);
    assert_eq!(code(only(vec![])), refused);
    assert_eq!(code(only(vec![risk(ASSESSOR, 41, LATER)])), refused);
    assert_eq!(code(only(vec![risk(ASSESSOR, 40, NOW)])), refused);
    assert_eq!(code(only(vec![risk(STRANGER, 0, LATER)])), refused);
    assert_eq!(code(only(vec![risk(ASSESSOR, 0, LATER), risk(ASSESSOR, 41, LATER)])), refused, "the worst counts");
}

#[test]
fn what_crosses_a_border_is_assessed_and_what_is_controlled_does_not() {
    let refused = Some(Code::RefusedRegion);
    assert_eq!(code(with(|c| c.cross_border = None)), refused);
    assert_eq!(code(with(|c| c.cross_border.as_mut().unwrap().until = NOW)), refused);
    assert_eq!(code(with(|c| c.cross_border.as_mut().unwrap().jurisdictions = vec!["US".into()])), refused);
    assert_eq!(code(with(|c| c.regions.truncate(3))), refused, "nobody knows where the demander is");
    let home = |c: &mut Control| {
        c.regions[3].region = "CN-GZ".into();
        c.cross_border = None;
    };
    assert_eq!(code(with(home)), None);
    let controlled =
        |case: Case| case.other(|c| c.dataset.as_mut().unwrap().terms.as_mut().unwrap().export_controlled = true);
    assert_eq!(code(controlled(self::controlled())), Some(Code::RefusedExportControl));
    assert_eq!(code(controlled(with(home))), None);
    assert_eq!(code(controlled(with(|c| c.regions.clear()))), Some(Code::RefusedExportControl));
}

#[test]
fn an_emergency_is_short_and_over_by_itself() {
    assert_eq!(code(with(|c| c.emergency.as_mut().unwrap().until = NOW)), Some(Code::RefusedContractExpired));
    let incomplete = Some(Code::RefusedContractIncomplete);
    assert_eq!(code(with(|c| c.emergency.as_mut().unwrap().until = UnixMillis(NOW.0 + 11))), incomplete);
    let days =
        |days: u64| code(controlled().contract(|c| c.valid_until = UnixMillis(c.valid_from.0 + days * 86_400_000)));
    assert_eq!((days(30), days(31)), (None, incomplete));
}

#[test]
fn who_runs_the_exchange_is_nobody_else_in_the_contract() {
    for party in [1, DEMANDER, OPERATOR] {
        let case = with(|c| c.venue.as_mut().unwrap().operator = Some(key(party).id()));
        assert_eq!(code(case), Some(Code::RefusedRoles), "{party}");
    }
    assert_eq!(code(with(|c| c.venue = None)), None);
}

#[test]
fn each_refusal_names_its_rule() {
    for (case, rule) in [
        (controlled().other(|c| c.approvers.clear()), Rule::Approvals),
        (with(|c| c.rights.clear()), Rule::Rights),
        (of(|d| d.secret = true), Rule::Release),
        (of(|d| d.basis = None), Rule::Personal),
        (holding(vec![]), Rule::Review),
        (controlled(), Rule::LAST),
    ] {
        let job = Statement::sign(&key(case.operator), "job", NOW, None, case.job.clone());
        let judged = case.judge(&job, &[case.signed()]);
        assert_eq!(judged.rule, rule);
        assert_eq!(judged.decision.is_ok(), rule == Rule::LAST);
    }
}

#[test]
fn a_contract_without_control_has_the_bytes_of_those_from_before_it() {
    let plain = tacit_crypto::cbor::encode(&Case::new().contract);
    let with = tacit_crypto::cbor::encode(&controlled().contract);
    assert_eq!(with[0] - plain[0], 1, "one key more");
    // Key 40 is written in two bytes.
    assert!(with.windows(2).any(|w| w == [0x18, 40]) && !plain.windows(2).any(|w| w == [0x18, 40]));
    let read: Contract = tacit_crypto::cbor::decode(&with).unwrap();
    assert_eq!(read, controlled().contract);
}

/// A key that came later speaks for the operator whom the contract names, and one that is over for nobody.
#[test]
fn an_operator_signs_with_the_key_that_holds() {
    let later: Speaker = |by| if *by == key(STRANGER).id() { Some(key(OPERATOR).id()) } else { Some(*by) };
    let over: Speaker = |_| None;
    let with = |speaker, operator| Case::new().other(|c| (c.speaker, c.operator) = (Some(speaker), operator));
    assert_eq!(code(with(later, STRANGER)), None);
    assert_eq!(code(with(over, OPERATOR)), Some(Code::RefusedOperator));
    // A new key is no way out of a list.
    let operator = Denied { party: Some(key(OPERATOR).id()), ..Denied::default() };
    let case = with(later, STRANGER).other(|c| c.orders.push(list(operator)));
    assert_eq!(code(case), Some(Code::RefusedListed));
}

#[test]
fn of_two_faults_the_one_of_the_earlier_rule_is_the_refusal() {
    type Break = (Rule, fn(Case) -> Case);
    let breaks: [Break; 10] = [
        (Rule::Roles, |case| {
            case.contract(|c| c.control.as_mut().unwrap().venue.as_mut().unwrap().operator = Some(key(1).id()))
        }),
        (Rule::Rights, |case| case.contract(|c| c.control.as_mut().unwrap().rights.clear())),
        (Rule::Release, |case| said(case, |d| d.secret = true)),
        (Rule::Grade, |case| said(case, |d| d.grade = Grade(6))),
        (Rule::Personal, |case| said(case, |d| d.basis = None)),
        (Rule::Purpose, |case| case.job(|j| j.purpose = "another".into())),
        (Rule::Review, |case| case.other(|c| c.orders.retain(|o| !matches!(o, Order::Review(_))))),
        (Rule::Cohort, |case| case.job(|j| j.cohort.rows -= 1)),
        (Rule::Risk, |case| case.other(|c| c.orders.retain(|o| !matches!(o, Order::Risk(_))))),
        (Rule::Price, |case| case.contract(|c| c.price_plan = Some(Hash([9; 32])))),
    ];
    let rule = |case: Case| {
        let job = Statement::sign(&key(case.operator), "job", NOW, None, case.job.clone());
        case.judge(&job, &[case.signed()]).rule
    };
    for (place, (first, one)) in breaks.iter().enumerate() {
        assert_eq!(rule(one(controlled())), *first);
        for (second, other) in &breaks[place + 1..] {
            assert!(first < second);
            assert_eq!(rule(other(one(controlled()))), *first, "{first:?} and {second:?}");
            assert_eq!(rule(one(other(controlled()))), *first, "{first:?} and {second:?}");
        }
    }
}

fn said(case: Case, change: impl FnOnce(&mut DatasetTerms)) -> Case {
    case.other(|c| change(c.dataset.as_mut().unwrap().terms.as_mut().unwrap()))
}
