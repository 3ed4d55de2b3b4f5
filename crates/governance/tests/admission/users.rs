//! Who submits jobs or receives results beside the demander: a party, of which everything is asked that is asked of one.
//! Its node signs jobs with another key than its root, which signs the contract.

use tacit_governance::control::{Clause, PartyRegion};
use tacit_governance::orders::{Denied, RiskAssessment};
use tacit_governance::{Order, User};

use super::control::{ASSESSOR, LATER, controlled, listed, risk};
use super::*;

/// The root key and the node key of the second user.
const USER: u8 = 60;
const NODE: u8 = 61;
const SEAL: SealPublic = SealPublic([8; 32]);

/// Adds it to the terms, in a role.
fn add(c: &mut Contract, role: Role) {
    c.parties.push(ContractParty { name: name("user"), root: key(USER).id(), role });
    c.users.push(User { root: key(USER).id(), node: key(NODE).id(), seal: SEAL });
    c.operators.push(key(NODE).id());
    c.recipients.push(SEAL);
    if let Some(control) = &mut c.control {
        control.liability.push(Clause { party: key(USER).id(), text: Hash([1; 32]) });
        control.regions.push(PartyRegion { party: key(USER).id(), region: "CN-XM".into() });
    }
}

fn assessed(score: u8) -> Order {
    let body = RiskAssessment { party: key(USER).id(), score, report: Hash([3; 32]), until: LATER };
    Order::read(Statement::sign(&key(ASSESSOR), "risk", NOW, None, body).bytes()).unwrap()
}

/// Under every term of control, with a second user who submits the job and gets its result.
fn used() -> Case {
    let mut case = controlled().contract(|c| add(c, Role::Demander));
    case.signers.push(USER);
    case.orders.push(assessed(0));
    let consent = &mut case.dataset.as_mut().unwrap().terms.as_mut().unwrap().consent[0];
    consent.recipients.push(key(USER).id());
    case.operator = NODE;
    case.job(|j| j.recipient = SEAL)
}

fn code(case: Case) -> Option<Code> {
    case.decide().err().map(|f| f.code)
}

#[test]
fn a_second_user_signs_the_contract_and_submits() {
    assert_eq!(code(used()), None);
    assert_eq!(
        code(used().other(|c| c.signers.truncate(c.signers.len() - 1))),
        Some(Code::RefusedContractIncomplete),
        "it signs"
    );
}

#[test]
fn keys_that_are_nobodys_neither_submit_nor_receive() {
    let refused = Some(Code::RefusedContractIncomplete);
    let plain = |change: fn(&mut Contract)| code(Case::new().contract(change));
    assert_eq!(plain(|_| {}), None);
    assert_eq!(plain(|c| c.operators.push(key(NODE).id())), refused);
    assert_eq!(plain(|c| c.recipients.push(SEAL)), refused);
    assert_eq!(plain(|c| c.users.clear()), refused);
    let user = |root: u8| User { root: key(root).id(), node: key(NODE).id(), seal: SEAL };
    let named = |root: u8| {
        code(Case::new().contract(move |c| {
            c.users.push(user(root));
            c.operators.push(key(NODE).id());
        }))
    };
    assert_eq!(named(USER), refused, "no party");
    assert_eq!(named(DEMANDER), refused, "one party under two keys");
    assert_eq!(named(2), None, "a provider may use what comes out");
}

#[test]
fn what_is_asked_of_parties_is_asked_of_every_user() {
    let orders = |change: fn(&mut Vec<Order>)| code(used().other(move |c| change(&mut c.orders)));
    assert_eq!(orders(|o| o.truncate(3)), Some(Code::RefusedRisk), "nobody assessed it");
    assert_eq!(orders(|o| o.push(assessed(41))), Some(Code::RefusedRisk));
    assert_eq!(orders(|o| o.push(risk(ASSESSOR, 41, LATER))), Some(Code::RefusedRisk), "the demander");
    let consent = used().other(|c| {
        c.dataset.as_mut().unwrap().terms.as_mut().unwrap().consent[0].recipients.truncate(1);
    });
    assert_eq!(code(consent), Some(Code::RefusedPersonal), "separate consent names it");
    let region = |to: Option<&'static str>| {
        code(used().contract(move |c| {
            let regions = &mut c.control.as_mut().unwrap().regions;
            match to {
                Some(to) => regions.last_mut().unwrap().region = to.into(),
                None => regions.truncate(4),
            }
        }))
    };
    assert_eq!((region(Some("SG")), region(Some("US"))), (None, Some(Code::RefusedRegion)), "assessed, and not");
    assert_eq!(region(None), Some(Code::RefusedRegion));
    let item = Denied { party: Some(key(USER).id()), ..Denied::default() };
    let on_list = move || {
        let item = item.clone();
        move |c: &mut Case| c.orders.push(listed(item, None))
    };
    assert_eq!(code(used().other(on_list())), Some(Code::RefusedListed));
    // Nor does it approve what it uses: with its root key, or the key that signs its jobs.
    for key_of in [USER, NODE] {
        let case = used().contract(move |c| {
            let rule = &mut c.control.as_mut().unwrap().approvals[0];
            rule.keys = vec![key(key_of).id()];
        });
        assert_eq!(code(case), Some(Code::RefusedContractIncomplete));
    }
}

/// A provider who also receives is asked what a recipient is asked.
#[test]
fn a_provider_that_uses_is_asked_as_a_user() {
    let mut case = controlled().contract(|c| {
        c.users.push(User { root: key(2).id(), node: key(NODE).id(), seal: SEAL });
        c.recipients.push(SEAL);
    });
    let refused = case.decide().map_err(|f| f.code).map(|_| ());
    assert_eq!(refused, Err(Code::RefusedPersonal), "consent does not name it");
    case = controlled().contract(|c| {
        c.users.push(User { root: key(2).id(), node: key(NODE).id(), seal: SEAL });
        c.recipients.push(SEAL);
    });
    case.dataset.as_mut().unwrap().terms.as_mut().unwrap().consent[0].recipients.push(key(2).id());
    assert_eq!(code(case), Some(Code::RefusedRisk), "nor was it assessed");
}
