//! What a contract asks of others than its parties, shown in an evidence bundle: so many approvals of different keys over
//! this very contract, reviews of what computes, assessments of who receives, and lists that deny.

mod case;

use case::common::{self, key};
use case::*;
use tacit_crypto::{Body, SigningKey, Statement, cbor};
use tacit_governance::control::{ApprovalRule, Control, DECLARATIONS, Office, ReviewRule, RiskRule};
use tacit_governance::grade::{Class, DatasetTerms, Grade, Sharing};
use tacit_governance::orders::{AlgorithmReview, Denied, NegativeList, RiskAssessment, Verdict};
use tacit_governance::{Approval, Contract, DatasetDescriptor, Order, SignedContract, control::Answer};
use tacit_receipts::papers::Terms;
use tacit_receipts::papers::control::Said;
use tacit_receipts::{Notice, Report, Status};
use tacit_types::{Code, ContractId, DatasetVersionId, Hash, Lang, UnixMillis};

const DAY: u64 = 86_400_000;

fn officer(i: u8) -> SigningKey {
    key(60 + i)
}

fn reviewer(i: u8) -> SigningKey {
    key(70 + i)
}

fn assessor() -> SigningKey {
    key(80)
}

fn terms(control: impl FnOnce(&mut Control)) -> Contract {
    let rule = |office, keys: &[u8], need| ApprovalRule {
        office,
        owner: None,
        keys: keys.iter().map(|i| officer(*i).id()).collect(),
        need,
    };
    let mut all = Control {
        rights: Vec::new(),
        declarations: vec![Answer::No; DECLARATIONS],
        venue: None,
        regions: Vec::new(),
        cross_border: None,
        approvals: vec![rule(Office::ChiefDataOfficer, &[0, 1, 2], 2), rule(Office::Trustee, &[3], 1)],
        emergency: None,
        delegation: 0,
        liability: Vec::new(),
        dispute: None,
        review: None,
        risk: None,
        scene: None,
    };
    control(&mut all);
    Contract { control: Some(all), ..contract() }
}

fn at<T: Body>(by: &SigningKey, time: UnixMillis, body: T) -> Vec<u8> {
    Statement::sign(by, "subject", time, None, body).bytes().to_vec()
}

fn approval(of: &Contract, by: u8, office: Office, verdict: Verdict) -> Vec<u8> {
    let body = Approval { contract: of.id(), office, verdict, reason: "seen".into() };
    at(&officer(by), T0, body)
}

const CDO: Office = Office::ChiefDataOfficer;

/// A use under a contract with the papers that are given beside.
fn with(terms: Contract, papers: Vec<Vec<u8>>) -> Report {
    let mut case = Case::of(terms, spec(), Status::Ok);
    case.papers.extend(papers);
    case.report()
}

fn whole(of: &Contract) -> Vec<Vec<u8>> {
    vec![
        approval(of, 0, CDO, Verdict::Approve),
        approval(of, 2, CDO, Verdict::Approve),
        approval(of, 3, Office::Trustee, Verdict::Approve),
    ]
}

fn codes(report: &Report) -> Vec<(Code, String)> {
    report.faults.iter().map(|f| (f.code, f.what.clone())).collect()
}

#[test]
fn as_many_approvals_as_the_contract_names_are_shown() {
    let of = terms(|_| {});
    // The deciding crate says the same of these very statements.
    let mut signed = SignedContract::draft(of.clone());
    whole(&of).iter().for_each(|bytes| signed.add_approval(Statement::verify(bytes).unwrap()).unwrap());
    assert_eq!(signed.unapproved(), Vec::<String>::new());
    let report = with(of.clone(), whole(&of));
    assert!(report.is_valid() && report.uses[0].authority_shown, "{:?} {}", report.faults, said(&report, Lang::En));
    let (en, zh) = (said(&report, Lang::En), said(&report, Lang::Zh));
    assert!(en.contains("Approved as chief data officer by ") && en.contains("2 of 3 keys must have"), "{en}");
    assert!(en.contains("Approved as trustee by "), "{en}");
    assert!(zh.contains("以首席数据官身份批准") && zh.contains("3 个密钥中须有 2 个"), "{zh}");
    for by in [0, 2, 3] {
        assert!(en.contains(&officer(by).id().short()), "{en}");
    }
    assert!(!report.notices.iter().any(|n| matches!(n, Notice::PapersUnused { .. })));
}

#[test]
fn an_approval_that_lacks_is_named() {
    let of = terms(|_| {});
    let mut other = of.clone();
    other.purpose = "advertising".into();
    let stranger =
        at(&key(99), T0, Approval { contract: of.id(), office: CDO, verdict: Verdict::Approve, reason: "x".into() });
    let late = Approval { contract: of.id(), office: CDO, verdict: Verdict::Approve, reason: "x".into() };
    let late = at(&officer(2), common::START.plus(30 * DAY), late);
    let second = |papers: Vec<Vec<u8>>| {
        let mut all = whole(&of);
        all.splice(1..2, papers);
        with(of.clone(), all)
    };
    let short = "1 of 2 approvals as chief data officer";
    for (papers, words) in [
        // Nobody; the same key again; that of another contract; a rejection; one from after the use.
        (vec![], short),
        (vec![approval(&of, 0, CDO, Verdict::Approve)], short),
        (vec![approval(&other, 2, CDO, Verdict::Approve)], short),
        (vec![approval(&of, 2, CDO, Verdict::Reject)], short),
        (vec![approval(&of, 2, CDO, Verdict::Reject), approval(&of, 2, CDO, Verdict::Approve)], short),
        (vec![late], short),
        (vec![stranger], "has no say as chief data officer"),
        (vec![approval(&of, 2, Office::Notary, Verdict::Approve)], "has no say as notary"),
    ] {
        let report = second(papers);
        let found = codes(&report);
        assert!(found.iter().all(|(code, _)| *code == Code::ReceiptApproval), "{words}: {found:?}");
        assert!(found.iter().any(|(_, what)| what.contains(words)), "{words}: {found:?}");
        assert!(found.iter().any(|(_, what)| what.contains(short)), "{words}: {found:?}");
        assert!(!report.uses[0].authority_shown && !report.is_valid());
    }
    // Its signature altered, it is no paper at all.
    let mut forged = approval(&of, 2, CDO, Verdict::Approve);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let found = codes(&second(vec![forged]));
    assert!(found.iter().any(|(code, _)| *code == Code::ReceiptPaper), "{found:?}");
    assert!(found.iter().any(|(code, what)| *code == Code::ReceiptApproval && what.contains(short)), "{found:?}");
    // One that is nobody's here is counted.
    let mut more = whole(&of);
    more.push(approval(&other, 1, CDO, Verdict::Approve));
    let report = with(of.clone(), more);
    assert!(report.is_valid() && report.notices.contains(&Notice::PapersUnused { count: 1 }));
}

#[test]
fn a_veto_stands_and_a_key_counts_once_however_often_it_is_named() {
    let of = terms(|_| {});
    let mut vetoed = whole(&of);
    vetoed.push(approval(&of, 3, Office::Trustee, Verdict::Reject));
    let found = codes(&with(of, vetoed));
    assert!(
        matches!(&found[..], [(Code::ReceiptApproval, what)] if what.contains("a trustee has rejected")),
        "{found:?}"
    );
    // Terms that nobody should have signed: one key named twice, and a party that approves what it gets.
    let twice = terms(|control| control.approvals[0].keys = vec![officer(0).id(), officer(0).id()]);
    let found = codes(&with(twice.clone(), whole(&twice)));
    assert!(found.iter().any(|(_, what)| what.contains("1 of 2 approvals")), "{found:?}");
    let own = terms(|control| control.approvals[0].keys = vec![officer(0).id(), root(0).id()]);
    let mut papers = whole(&own);
    papers[1] =
        at(&root(0), T0, Approval { contract: own.id(), office: CDO, verdict: Verdict::Approve, reason: "x".into() });
    let found = codes(&with(own, papers));
    assert!(found.iter().any(|(_, what)| what.contains("1 of 2 approvals")), "{found:?}");
}

#[test]
fn who_rejects_after_the_use_does_not_make_the_use_wrong() {
    let of = terms(|_| {});
    let mut papers = whole(&of);
    let body = Approval { contract: of.id(), office: CDO, verdict: Verdict::Reject, reason: "x".into() };
    papers[1] = at(&officer(2), common::START.plus(30 * DAY), body);
    let report = with(of, papers);
    assert!(report.is_valid() && !report.uses[0].authority_shown, "{:?}", report.faults);
    assert!(said(&report, Lang::En).contains("1 keys rejected the contract after this use"));
    assert!(said(&report, Lang::Zh).contains("在此次使用之后拒绝该合同"));
}

#[test]
fn without_a_result_it_is_told_and_no_fault() {
    let of = terms(|_| {});
    let refused = Status::Refused { code: Code::RefusedApproval, seat: Some(tacit_types::Seat(2)) };
    let report = Case::of(of, spec(), refused).report();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert!(said(&report, Lang::En).contains("It does not fit: the contract screening has 0 of 2 approvals"));
}

fn review(by: u8, change: impl FnOnce(&mut AlgorithmReview)) -> Vec<u8> {
    let mut body = AlgorithmReview {
        kind: "stats/v1".into(),
        model: None,
        verdict: Verdict::Approve,
        grade_max: Grade(4),
        vectors: Hash([5; 32]),
        until: T0.plus(DAY),
        runs: Vec::new(),
    };
    change(&mut body);
    at(&reviewer(by), T0, body)
}

fn risk(score: u8, until: UnixMillis) -> Vec<u8> {
    at(&assessor(), T0, RiskAssessment { party: root(0).id(), score, report: Hash([6; 32]), until })
}

fn reviewed() -> Contract {
    terms(|control| {
        control.approvals = Vec::new();
        control.review = Some(ReviewRule {
            reviewers: vec![reviewer(0).id(), reviewer(1).id(), reviewer(2).id()],
            need: 2,
            rerun: false,
        });
        control.risk = Some(RiskRule { assessors: vec![assessor().id()], score_max: 30 });
    })
}

#[test]
fn reviews_and_assessments_are_held_against_the_terms() {
    let good = || vec![review(0, |_| {}), review(1, |_| {}), risk(30, T0.plus(DAY))];
    let report = with(reviewed(), good());
    assert!(report.is_valid() && report.uses[0].authority_shown, "{:?} {}", report.faults, said(&report, Lang::En));
    assert!(said(&report, Lang::En).contains("stats/v1 was reviewed by"));
    assert!(said(&report, Lang::En).contains("was assessed as 30 by"));
    assert!(said(&report, Lang::Zh).contains("评估 bank-0 的风险为 30"));
    // What may be elsewhere lacks; what says no is wrong.
    for (at, paper, words) in [
        (1, review(0, |_| {}), "1 of 2 reviews of stats/v1"),
        (1, review(7, |_| {}), "1 of 2 reviews of stats/v1"),
        (1, review(1, |r| r.kind = "score/v1".into()), "1 of 2 reviews of stats/v1"),
        (1, review(1, |r| r.until = T0), "1 of 2 reviews of stats/v1"),
        (2, risk(30, T0), "No assessment of the risk of bank-0"),
    ] {
        let mut papers = good();
        papers[at] = paper;
        let report = with(reviewed(), papers);
        assert!(report.is_valid() && !report.uses[0].authority_shown, "{words}: {:?}", report.faults);
        assert!(said(&report, Lang::En).contains(words), "{words}: {}", said(&report, Lang::En));
    }
    for (paper, words) in [
        (review(2, |r| r.verdict = Verdict::Reject), "has rejected stats/v1"),
        (
            at(
                &assessor(),
                T0.plus(1000),
                RiskAssessment { party: root(0).id(), score: 31, report: Hash([6; 32]), until: T0.plus(DAY) },
            ),
            "was assessed as 31, at most 30",
        ),
    ] {
        let mut papers = good();
        papers.push(paper);
        let found = codes(&with(reviewed(), papers));
        assert!(matches!(&found[..], [(Code::ReceiptApproval, what)] if what.contains(words)), "{words}: {found:?}");
    }
}

/// The grade that the owner states of its data is held against that of the reviews.
#[test]
fn a_review_for_a_lower_grade_does_not_count() {
    let graded = |grade: u8| {
        let mut body = Statement::<DatasetDescriptor>::verify(&dataset(1)).unwrap().body().clone();
        body.terms = Some(DatasetTerms {
            class: Class::Enterprise,
            grade: Grade(grade),
            sharing: Sharing::Conditional,
            basis: None,
            consent: Vec::new(),
            anonymised: None,
            registration: None,
            region: None,
            export_controlled: false,
            secret: false,
        });
        signed(&root(1), "loans", body)
    };
    for (grade, enough) in [(4, true), (5, false)] {
        let version = graded(grade);
        let version_id = DatasetVersionId(id(&version).0);
        let mut terms = reviewed();
        terms.datasets[0].dataset = version_id;
        let mut order = spec();
        order.providers[0].dataset = version_id;
        let mut case = Case::of(terms, order, Status::Ok);
        case.papers.extend([version, review(0, |_| {}), review(1, |_| {}), risk(3, T0.plus(DAY))]);
        let report = case.report();
        let told = said(&report, Lang::En);
        assert_eq!(told.contains("stats/v1 was reviewed by"), enough, "{grade}: {told}");
        assert_eq!(told.contains("0 of 2 reviews of stats/v1"), !enough, "{grade}: {told}");
    }
}

#[test]
fn a_list_says_what_it_denies_of_the_use() {
    let list = |number: u64, item: Denied| {
        let items = vec![Denied { purpose: Some("advertising".into()), ..Denied::default() }, item];
        at(&key(95), T0, NegativeList { name: "loans".into(), number, items, reason: "order 17".into(), until: None })
    };
    let nothing = Denied { party: Some(key(1).id()), ..Denied::default() };
    let purpose = Denied { purpose: Some(" credit screening ".into()), ..Denied::default() };
    let column = Denied { column: Some("arrears".into()), ..Denied::default() };
    let unknown = Denied { column: Some("income".into()), ..Denied::default() };
    let party = Denied { party: Some(root(2).id()), kind: Some("stats/v1".into()), ..Denied::default() };
    let dataset = Denied { dataset: Some(DatasetVersionId(id(&dataset(1)).0)), ..Denied::default() };
    let denies = "denies this use by its item 2: order 17";
    for (papers, words, shown) in [
        (vec![list(1, nothing.clone())], "denies nothing of this use", true),
        (vec![list(1, unknown)], "denies nothing of this use", true),
        (vec![list(1, column)], "by its item 2 a column that a contract grants", true),
        (vec![list(1, purpose.clone())], denies, false),
        (vec![list(1, party)], denies, false),
        (vec![list(1, dataset)], denies, false),
        // The later number holds.
        (vec![list(1, purpose.clone()), list(2, nothing.clone())], "number 2, signed by", true),
        (vec![list(2, purpose), list(1, nothing)], denies, false),
    ] {
        let report = with(contract(), papers);
        let told = said(&report, Lang::En);
        assert!(report.is_valid() && told.contains(words), "{words}: {told}");
        assert_eq!(report.uses[0].authority_shown, shown, "{words}: {told}");
    }
}

/// The numbers of the fields here are those of the crate that decides.
#[test]
fn the_verifier_reads_what_governance_writes() {
    let of = terms(|_| {});
    let read = Terms::read(&cbor::encode(&of)).unwrap().known.control.unwrap();
    assert_eq!(read.approvals.iter().map(|a| (a.office, a.need)).collect::<Vec<_>>(), [(0, 2), (2, 1)]);
    assert_eq!(read.approvals[0].keys, of.control.unwrap().approvals[0].keys);
    let read = Terms::read(&cbor::encode(&reviewed())).unwrap().known.control.unwrap();
    assert_eq!(read.review.unwrap().need, 2);
    assert_eq!(read.risk.unwrap().score_max, 30);
    let body = Approval {
        contract: ContractId([3; 32]),
        office: Office::Security,
        verdict: Verdict::Reject,
        reason: "x".into(),
    };
    let Said::Approval(found) = Said::read(Approval::TYPE, &cbor::encode(&body)).unwrap() else { panic!() };
    assert_eq!((found.contract, found.office, found.verdict), (body.contract, 3, 1));
    for bytes in [review(0, |_| {}), risk(3, T0)] {
        let order = Order::read(&bytes).unwrap();
        let envelope = tacit_crypto::statement::Envelope::verify(&bytes).unwrap();
        match (order, Said::read(&envelope.kind, &envelope.body).unwrap()) {
            (Order::Review(a), Said::Review(b)) => {
                assert_eq!((&a.body().kind, a.body().grade_max.0, a.body().until), (&b.kind, b.grade_max, b.until));
            }
            (Order::Risk(a), Said::Risk(b)) => {
                assert_eq!((a.body().party, a.body().score, a.body().until), (b.party, b.score, b.until));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(Said::read("novelty", &cbor::encode(&body)).is_err());
}
