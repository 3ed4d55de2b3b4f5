//! Grading anew: what holds at once, what needs others, and what every change of the statements does.

use tacit_governance::control::{ApprovalRule, Office};
use tacit_governance::grade::{Class, Grade};
use tacit_governance::regrade::{Graded, REGRADING_APPROVALS, Regrading, RegradingApproval, id, said};

use super::control::{code, controlled};
use super::*;

/// This owner's chief data officer, a notary, two trustees, as the contract of [`controlled`] has them.
const OFFICER: u8 = 20;
const NOTARY: u8 = 21;
const TRUSTEE: u8 = 22;

fn body(from: u8, to: u8) -> Regrading {
    Regrading {
        dataset: dataset_of(1),
        column: None,
        number: 1,
        from: Grade(from),
        to: Grade(to),
        evidence: Hash([9; 32]),
        reason: "measured again".into(),
    }
}

fn sign(by: u8, body: Regrading) -> Statement<Regrading> {
    Statement::sign(&key(by), "regrading", NOW, None, body)
}

fn order(statement: &Statement<Regrading>) -> Order {
    Order::read(statement.bytes()).unwrap()
}

fn word(by: u8, of: &Statement<Regrading>, verdict: Verdict) -> Order {
    let body = RegradingApproval { regrading: id(of), verdict, reason: "seen".into() };
    Order::read(Statement::sign(&key(by), "", NOW, None, body).bytes()).unwrap()
}

/// Sums that nobody checks over data of that grade which is nobody's personal data, with what was said over it.
fn sums(grade: u8, said: Vec<Order>) -> Case {
    let mut case = controlled().other(|c| {
        let terms = c.dataset.as_mut().unwrap().terms.as_mut().unwrap();
        (terms.class, terms.grade) = (Class::Enterprise, Grade(grade));
        c.facts.as_mut().unwrap().checked = Some(false);
    });
    case.orders.extend(said);
    case
}

#[test]
fn a_more_sensitive_grade_holds_at_once_and_by_the_owners_word_alone() {
    assert_eq!(code(sums(4, vec![])), None);
    let up = order(&sign(1, body(4, 5)));
    assert_eq!(code(sums(4, vec![up.clone()])), Some(Code::RefusedGrade), "important gives no unchecked sums");
    assert_eq!(code(sums(4, vec![up.clone()]).other(|c| c.facts.as_mut().unwrap().checked = Some(true))), None);
    // What the owner states as the grade before makes it no less sensitive.
    assert_eq!(code(sums(4, vec![order(&sign(1, body(1, 5)))])), Some(Code::RefusedGrade));
    // Of what no terms were stated the owner's word holds as well.
    let bare = |said| sums(4, said).other(|c| c.dataset.as_mut().unwrap().terms = None);
    assert_eq!(code(bare(vec![])), None);
    assert_eq!(code(bare(vec![up.clone()])), Some(Code::RefusedGrade));
    // Nothing is made of core data.
    assert_eq!(code(sums(4, vec![order(&sign(1, body(4, 6)))])), Some(Code::RefusedGrade));
    // Important data wants this owner's chief data officer in the contract.
    let checked = sums(4, vec![up]).other(|c| c.facts.as_mut().unwrap().checked = Some(true));
    let without = checked.contract(|c| c.control.as_mut().unwrap().approvals.retain(|a| a.need == 9));
    assert_eq!(code(without), Some(Code::RefusedApproval));
    // Another's word over this owner's data, and one over another version, are none.
    assert_eq!(code(sums(4, vec![order(&sign(2, body(4, 5)))])), None);
    let other = Regrading { dataset: dataset_of(2), ..body(4, 5) };
    assert_eq!(code(sums(4, vec![order(&sign(1, other))])), None);
}

#[test]
fn a_less_sensitive_grade_holds_once_two_whom_the_contract_names_have_approved_it() {
    let down = sign(1, body(5, 4));
    let decide = |words: &[(u8, Verdict)]| {
        let words = words.iter().map(|(by, verdict)| word(*by, &down, *verdict));
        code(sums(5, [order(&down)].into_iter().chain(words).collect()))
    };
    let (yes, no, refused) = (Verdict::Approve, Verdict::Reject, Some(Code::RefusedGrade));
    assert_eq!(REGRADING_APPROVALS, 2);
    assert_eq!(decide(&[]), refused);
    assert_eq!(decide(&[(OFFICER, yes)]), refused);
    assert_eq!(decide(&[(OFFICER, yes), (OFFICER, yes)]), refused, "one key counts once");
    assert_eq!(decide(&[(OFFICER, yes), (1, yes)]), refused, "who proposes does not approve");
    assert_eq!(decide(&[(OFFICER, yes), (STRANGER, yes)]), refused, "whom the contract does not name");
    assert_eq!(decide(&[(OFFICER, yes), (DEMANDER, yes)]), refused, "a party");
    assert_eq!(decide(&[(NOTARY, yes), (TRUSTEE, yes)]), refused, "important data without its chief data officer");
    assert_eq!(decide(&[(OFFICER, yes), (NOTARY, yes)]), None);
    assert_eq!(decide(&[(OFFICER, yes), (NOTARY, yes), (TRUSTEE, no)]), refused, "a rejection");
    assert_eq!(decide(&[(OFFICER, yes), (NOTARY, yes), (STRANGER, no)]), None, "a stranger's");
    // Approvals of other bytes are none.
    let another = sign(1, Regrading { reason: "else".into(), ..body(5, 4) });
    let said = vec![order(&down), word(OFFICER, &another, yes), word(NOTARY, &another, yes)];
    assert_eq!(code(sums(5, said)), refused);
    // Below important, any two of those that the contract names for this owner or for all.
    let down = sign(1, body(4, 3));
    let said = vec![order(&down), word(NOTARY, &down, yes), word(TRUSTEE, &down, yes)];
    let grade = |case: &Case| {
        let graded = Graded {
            owner: key(1).id(),
            id: dataset_of(1),
            sources: &[],
            dataset: case.dataset.as_ref().unwrap(),
            orders: &case.orders,
        };
        let control = case.contract.control.as_ref();
        graded.grade(None, |r| tacit_governance::regrade::approved(r, &case.orders, control, &key(1).id()))
    };
    assert_eq!(grade(&sums(4, said.clone())), Some(Grade(3)));
    assert_eq!(
        grade(&sums(4, said.clone()).contract(|c| c.control = None)),
        Some(Grade(4)),
        "no approvers, no approval"
    );
    let of_another = |c: &mut Contract| {
        c.control.as_mut().unwrap().approvals.iter_mut().for_each(|a: &mut ApprovalRule| a.owner = Some(key(2).id()));
    };
    assert_eq!(grade(&sums(4, said).contract(of_another)), Some(Grade(4)), "another owner's approvers");
    let as_officer = |c: &mut Contract| c.control.as_mut().unwrap().approvals[0].office = Office::Security;
    let down = sign(1, body(5, 4));
    let said = vec![order(&down), word(OFFICER, &down, yes), word(NOTARY, &down, yes)];
    assert_eq!(grade(&sums(5, said.clone())), Some(Grade(4)));
    assert_eq!(grade(&sums(5, said).contract(as_officer)), Some(Grade(5)));
}

#[test]
fn regradings_hold_one_after_the_other_for_columns_and_for_what_was_aligned() {
    let yes = Verdict::Approve;
    let up = sign(1, body(3, 5));
    let back = sign(1, Regrading { number: 2, ..body(5, 3) });
    // In the order of their numbers, whatever the order in which they came.
    assert_eq!(
        code(sums(3, vec![order(&back), order(&up)])),
        Some(Code::RefusedGrade),
        "not approved: still important"
    );
    let approved = |of: &Statement<Regrading>| vec![word(OFFICER, of, yes), word(NOTARY, of, yes)];
    let all = |mut said: Vec<Order>| {
        said.extend([order(&back), order(&up)]);
        code(sums(3, said))
    };
    assert_eq!(all(approved(&back)), None);
    // A way down from another grade than the one that held is none.
    let wrong = sign(1, Regrading { number: 2, from: Grade(6), ..body(5, 3) });
    let mut said = approved(&wrong);
    said.extend([order(&up), order(&wrong)]);
    assert_eq!(code(sums(3, said)), Some(Code::RefusedGrade));
    // A column: for jobs that touch it alone.
    let of = |column: &str| sign(1, Regrading { column: Some(column.into()), ..body(3, 5) });
    assert_eq!(code(sums(3, vec![order(&of("amount"))])), Some(Code::RefusedGrade));
    assert_eq!(code(sums(3, vec![order(&of("secret"))])), None);
    let unknown = Err(Fault::new(Code::RefusedParameters, "x"));
    let case = sums(3, vec![order(&of("secret"))]).contract(|c| c.control.as_mut().unwrap().approvals.clear());
    assert_eq!(code(case.other(|c| c.facts = unknown)), Some(Code::RefusedApproval), "what it touches is not known");
    // A column is never less sensitive than its dataset.
    let column = sign(1, Regrading { column: Some("amount".into()), ..body(5, 1) });
    let mut said = approved(&column);
    said.push(order(&column));
    assert_eq!(code(sums(5, said)), Some(Code::RefusedGrade));
    // What is said of a version holds for what was aligned from it, and is taken back there.
    let source = DatasetVersionId([77; 32]);
    let from = |n: u64, from, to| sign(1, Regrading { dataset: source, number: n, ..body(from, to) });
    let aligned = |said| sums(3, said).other(|c| c.sources = vec![DatasetVersionId([78; 32]), source]);
    let (up, back) = (from(1, 3, 5), from(2, 5, 3));
    assert_eq!(code(sums(3, vec![order(&up)])), None);
    assert_eq!(code(aligned(vec![order(&up)])), Some(Code::RefusedGrade));
    let mut said = approved(&back);
    said.extend([order(&up), order(&back)]);
    assert_eq!(code(aligned(said.clone())), None);
    said.push(order(&sign(1, body(3, 5))));
    assert_eq!(code(aligned(said)), Some(Code::RefusedGrade), "its own comes after its sources'");
}

/// Each field of an approved regrading changed: the approvals are of other bytes then, and where these are signed anew, what it
/// says is another thing.
#[test]
fn each_field_of_a_regrading_that_is_changed_makes_it_another_one() {
    let changes: [fn(&mut Regrading); 7] = [
        |r| r.dataset = dataset_of(2),
        |r| r.column = Some("amount".into()),
        |r| r.number = 2,
        |r| r.from = Grade(6),
        |r| r.to = Grade(3),
        |r| r.evidence = Hash([8; 32]),
        |r| r.reason.push('.'),
    ];
    let first = sign(1, body(5, 4));
    let approve =
        |of: &Statement<Regrading>| vec![word(OFFICER, of, Verdict::Approve), word(NOTARY, of, Verdict::Approve)];
    let held = |statement: &Statement<Regrading>, words: Vec<Order>| {
        code(sums(5, [order(statement)].into_iter().chain(words).collect())).is_none()
    };
    assert!(held(&first, approve(&first)));
    // Of another version, of a column alone, and from another grade than the one that held.
    let anew = [false, false, true, false, true, true, true];
    for (at, (change, anew)) in changes.into_iter().zip(anew).enumerate() {
        let mut changed = body(5, 4);
        change(&mut changed);
        let changed = sign(1, changed);
        assert!(!held(&changed, approve(&first)), "{at}: approvals of other bytes");
        assert_eq!(held(&changed, approve(&changed)), anew, "{at}");
    }
}

#[test]
fn a_regrading_that_says_nothing_or_too_much_is_not_read_and_a_rejection_stays() {
    let long = "x".repeat(tacit_governance::control::CONTROL_TEXT_BYTES_MAX + 1);
    let changes: [fn(&mut Regrading, &str); 8] = [
        |r, _| r.number = 0,
        |r, _| r.to = r.from,
        |r, _| r.to = Grade(0),
        |r, _| r.from = Grade(7),
        |r, _| r.reason = " ".into(),
        |r, long| r.reason = long.into(),
        |r, _| r.column = Some(String::new()),
        |r, long| r.column = Some(long.into()),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut wrong = body(5, 4);
        change(&mut wrong, &long);
        assert_eq!(Order::read(sign(1, wrong).bytes()).unwrap_err().code, Code::ArgsInvalid, "{at}");
    }
    let most = Regrading { reason: long[1..].into(), ..body(5, 4) };
    assert!(Order::read(sign(1, most).bytes()).is_ok());
    let down = sign(1, body(5, 4));
    let (yes, no) = (word(OFFICER, &down, Verdict::Approve), word(OFFICER, &down, Verdict::Reject));
    assert!(no.number() > yes.number() && no.subject() == yes.subject());
    let empty = RegradingApproval { regrading: id(&down), verdict: Verdict::Approve, reason: " ".into() };
    assert!(Order::read(Statement::sign(&key(OFFICER), "", NOW, None, empty).bytes()).is_err());
    // One after the other, each under its own number: none takes the place of another.
    let next = sign(1, Regrading { number: 2, ..body(5, 4) });
    assert!(order(&next).subject() != order(&down).subject() && order(&down).number() == 1);
    assert_eq!(order(&down).word(), "regrading");
    let (approve, reject) = said(&down, &[yes, no], |_| true);
    assert_eq!((approve.len(), reject.len()), (1, 1));
    assert!(body(5, 4).is_downward() && !body(4, 5).is_downward());
}
