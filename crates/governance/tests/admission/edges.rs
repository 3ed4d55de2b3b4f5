//! What a change of a single condition, number or code would leave unnoticed elsewhere: see `cargo xtask mutate`.

use tacit_crypto::cbor;
use tacit_governance::grade::{BasisKind, Class, DatasetTerms, Grade, Sharing};
use tacit_governance::orders::Denied;
use tacit_governance::{ModelGrant, ModelRef};

use super::control::{code, data, listed, of};
use super::scores::{online, scoring};
use super::*;

#[test]
fn an_admission_says_how_many_rows_it_takes_and_none_of_a_job_that_scores_none() {
    let none = Case::new().decide().unwrap();
    assert_eq!(none.rows, 0);
    let some = Admission { rows: 100, ..none.clone() };
    for admission in [&none, &some] {
        assert_eq!(cbor::decode::<Admission>(&cbor::encode(admission)).as_ref(), Ok(admission));
    }
    // Rows that are none are left out: a key and a small number.
    assert_eq!(cbor::encode(&none).len() + 2, cbor::encode(&Admission { rows: 1, ..none.clone() }).len());
}

#[test]
fn of_several_models_each_is_looked_for_by_itself() {
    let (first, second) = (ModelVersionId([201; 32]), ModelVersionId([77; 32]));
    let two = || {
        let other = ModelGrant { owner: key(2).id(), model: second };
        scoring().contract(|c| c.models.push(other))
    };
    assert!(two().decide().is_ok(), "one of two that the contract has");
    // The one that is held here is not the one that the job names.
    let another = two().contract(|c| c.models.push(ModelGrant { owner: key(1).id(), model: second }));
    let asked = another.job(|j| j.models = vec![ModelRef { owner: key(1).id(), model: second }]);
    assert_eq!(asked.decide().unwrap_err().code, Code::RefusedModel);
    // Two are held, and the one that is named is the second.
    let held = scoring().other(|c| {
        let mut spare = c.models[0].1.clone();
        spare.family = tacit_governance::ModelFamily::Trees;
        c.models.insert(0, (second, spare));
    });
    assert_eq!(held.job.models[0].model, first);
    assert!(held.decide().is_ok());
}

#[test]
fn a_kind_that_scores_nothing_has_neither_a_model_nor_a_dealer() {
    let plain = || {
        scoring().other(|c| c.facts.as_mut().unwrap().score = None).other(|c| c.facts.as_mut().unwrap().uses.clear())
    };
    assert!(plain().job(|j| (j.models, j.dealer) = (Vec::new(), None)).decide().is_ok());
    let codes = [plain().job(|j| j.models.clear()), plain().job(|j| j.dealer = None), plain()];
    for case in codes {
        assert_eq!(case.decide().unwrap_err().code, Code::RefusedParameters);
    }
}

#[test]
fn a_job_scores_no_more_than_one_may_however_much_is_left() {
    let rows = |rows: u64| {
        scoring().other(|c| c.rows_used = 0).other(|c| {
            if let Ok(facts) = &mut c.facts {
                facts.score = facts.score.map(|s| tacit_governance::ScoreFacts { rows, ..s });
            }
        })
    };
    assert_eq!(rows(50).decide().unwrap().rows, 50);
    assert_eq!(rows(100).decide().unwrap().rows, 100);
    assert_eq!(rows(101).decide().unwrap_err().code, Code::RefusedQuota);
}

#[test]
fn of_several_contracts_the_one_that_grants_this_owners_data_counts() {
    let case = Case::new();
    // The first has nothing of this owner's; in the second it is one of several.
    let mut others = case.contract.clone();
    others.name = name("others");
    others.datasets.retain(|d| d.owner != key(1).id());
    let (others, ours) = (case.sign(others), case.signed());
    let case = case.job(|j| j.contracts = vec![others.id(), ours.id()]);
    let job = Statement::sign(&key(OPERATOR), "job", NOW, None, case.job.clone());
    for known in [[others.clone(), ours.clone()], [ours.clone(), others.clone()]] {
        assert_eq!(case.judge(&job, &known).decision.unwrap().contract, ours.id());
    }
    // Where none does, the first that is known is the one that refuses.
    assert_eq!(case.judge(&job, &[others]).decision.unwrap_err().code, Code::RefusedContractIncomplete);
}

#[test]
fn a_contract_of_others_alone_is_none_of_this_owners() {
    let mut case = Case::new().contract(|c| {
        c.parties.retain(|p| p.root != key(1).id());
        c.datasets.retain(|d| d.owner != key(1).id());
    });
    case.signers.retain(|s| *s != 1);
    assert!(case.signed().missing().is_empty(), "all who must have signed");
    assert_eq!(case.decide().unwrap_err().code, Code::RefusedContractIncomplete);
}

#[test]
fn a_contract_is_valid_from_its_first_moment() {
    assert!(Case::new().contract(|c| c.valid_from = NOW).decide().is_ok());
}

#[test]
fn a_list_denies_until_it_ends_and_what_it_names_alone() {
    let denied = |item: Denied, until| code(Case::new().other(|c| c.orders = vec![listed(item, until)]));
    let purpose = |text: &str| Denied { purpose: Some(text.into()), ..Denied::default() };
    let later = UnixMillis(NOW.0 + 1);
    assert_eq!(denied(purpose("fraud research"), Some(later)), Some(Code::RefusedListed));
    assert_eq!(denied(purpose(" fraud research "), None), Some(Code::RefusedListed));
    assert_eq!(denied(purpose("fraud research"), Some(NOW)), None);
    assert_eq!(denied(purpose("another purpose"), None), None);
}

#[test]
fn a_list_names_datasets_kinds_and_models_by_what_they_are() {
    let denied = |case: Case, item: Denied| code(case.other(|c| c.orders = vec![listed(item, None)]));
    let dataset = |n: u8| Denied { dataset: Some(DatasetVersionId([n; 32])), ..Denied::default() };
    let kind = |text: &str| Denied { kind: Some(text.into()), ..Denied::default() };
    let model = |n: u8| Denied { model: Some(ModelVersionId([n; 32])), ..Denied::default() };
    let yes = Some(Code::RefusedListed);
    assert_eq!(denied(Case::new(), dataset(102)), yes);
    assert_eq!(denied(Case::new(), dataset(77)), None);
    assert_eq!(denied(Case::new(), kind("stats/v1")), yes);
    assert_eq!(denied(Case::new(), kind("count/v1")), None);
    assert_eq!(denied(scoring(), model(201)), yes);
    assert_eq!(denied(scoring(), model(77)), None);
    assert_eq!(denied(Case::new(), model(201)), None, "a job without models");
}

#[test]
fn a_refusal_says_whether_data_is_secret_or_withheld() {
    let what = |case: Case| case.decide().unwrap_err().what;
    assert_eq!(what(of(|d| d.secret = true)), "it is to be kept secret");
    assert_eq!(what(of(|d| d.sharing = Sharing::Withheld)), "its sharing attribute is `withheld`");
}

#[test]
fn plain_consent_names_nobody_or_the_demander() {
    let consent = |recipients: &[u8]| {
        let named = recipients.iter().map(|r| key(*r).id()).collect();
        of(move |d| {
            d.basis.as_mut().unwrap().kind = BasisKind::Consent;
            d.consent[0].recipients = named;
        })
    };
    assert_eq!(code(consent(&[])), None);
    assert_eq!(code(consent(&[DEMANDER])), None);
    assert_eq!(code(consent(&[2])), Some(Code::RefusedPersonal));
}

#[test]
fn a_window_is_judged_as_online_and_not_as_a_list_of_scores() {
    let graded = |case: Case| {
        case.other(|c| {
            let terms = DatasetTerms { class: Class::Enterprise, grade: Grade(3), basis: None, ..data() };
            c.dataset.as_mut().unwrap().terms = Some(DatasetTerms { region: None, ..terms });
        })
    };
    assert_eq!(code(graded(scoring())), None);
    assert_eq!(code(graded(online())), Some(Code::RefusedGrade));
}
