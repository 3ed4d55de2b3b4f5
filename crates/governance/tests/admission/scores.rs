//! Scores, windows of calls, models and dealers.

use tacit_governance::UnknownKeys;
use tacit_governance::{DistinctTerms, ModelFamily, ModelGrant, ModelRef, OnlineTerms, Period, Precision, ScoreFacts};

use tacit_governance::admit;

use super::*;

const DEALER: u8 = 6;

fn model_of(owner: u8) -> ModelVersionId {
    ModelVersionId([owner + 200; 32])
}

/// A bank's model over two others' features, with a dealer; seen by the owner with key 1, who brings data and the model.
pub fn scoring() -> Case {
    let mut case = Case::new().contract(|c| {
        c.kinds.push("score-linear/v1".into());
        c.parties.push(ContractParty { name: name("dealer"), root: key(DEALER).id(), role: Role::Dealer });
        c.models.push(ModelGrant { owner: key(1).id(), model: model_of(1) });
        c.scoring = Some(ScoringTerms {
            rows: 1000,
            rows_per_job: 100,
            precision: Precision::Rounded,
            online: None,
            verified: false,
            distinct: None,
            decimals: None,
            unknown: None,
        });
        for grant in &mut c.datasets {
            grant.columns.push(ColumnGrant { name: "income".into(), levels: vec![Level::ScoreOnly] });
            grant.columns.push(ColumnGrant { name: "id".into(), levels: vec![Level::AlignKey] });
        }
    });
    case.signers.push(DEALER);
    case.job.kind = "score-linear/v1".into();
    case.job.models = vec![ModelRef { owner: key(1).id(), model: model_of(1) }];
    case.job.dealer = Some(key(DEALER).id());
    let descriptor = ModelDescriptor {
        format: 1,
        owner: key(1).id(),
        name: name("credit"),
        version: 1,
        family: ModelFamily::Linear,
        features: vec!["income".into()],
        commitment: Hash([1; 32]),
    };
    case.models = vec![(model_of(1), descriptor)];
    case.rows_used = 900;
    if let Some(dataset) = &mut case.dataset {
        for column in ["income", "id"] {
            let levels = Level::ALL.to_vec();
            dataset.columns.push(ColumnInfo { name: column.into(), kind: ColumnKind::Float, levels });
        }
    }
    case.facts = Ok(JobFacts {
        uses: vec![("income".into(), Use::Score), ("id".into(), Use::Key)],
        providers_min: 2,
        rows_max: None,
        score: Some(ScoreFacts {
            rows: 100,
            precision: Precision::Rounded,
            decimals: Some(2),
            unknown: UnknownKeys::Each,
            family: ModelFamily::Linear,
            verified: false,
        }),
        checked: None,
        privacy: None,
    });
    case
}

const WINDOW: OnlineFacts = OnlineFacts { recipient: NodeId([0; 32]), rows: 100, rows_per_second: 10 };

/// A window within the terms, opened by the demander.
pub fn online() -> Case {
    let recipient = key(DEMANDER).id();
    scoring()
        .contract(|c| {
            let terms = OnlineTerms { rows_per_window: 100, rows_per_second: 10 };
            c.scoring = c.scoring.map(|s| ScoringTerms { online: Some(terms), ..s });
        })
        .job(|j| j.asker = Some(recipient))
        .other(|c| c.online = Some(OnlineFacts { recipient, ..WINDOW }))
}

fn window(change: impl FnMut(&mut OnlineFacts)) -> Case {
    online().other(|c| c.online.iter_mut().for_each(change))
}

#[test]
fn a_window_is_opened_only_where_the_contract_says_online_and_by_its_demander() {
    use Code::*;
    assert_eq!(online().decide().unwrap().rows, 100);
    let terms = |rows_per_window, rows_per_second| {
        online().contract(|c| {
            let terms = OnlineTerms { rows_per_window, rows_per_second };
            c.scoring = c.scoring.map(|s| ScoringTerms { online: Some(terms), ..s });
        })
    };
    assert!(terms(100, 10).decide().is_ok());
    let table: Vec<(&str, Case, Code)> = vec![
        (
            "no online terms",
            online().contract(|c| c.scoring = c.scoring.map(|s| ScoringTerms { online: None, ..s })),
            RefusedOnline,
        ),
        ("a row more than a window's", terms(99, 10), RefusedOnline),
        ("a row a second more", terms(100, 9), RefusedOnline),
        ("terms that allow no row", terms(0, 10), RefusedContractIncomplete),
        ("terms that allow no second", terms(100, 0), RefusedContractIncomplete),
        ("no seat for who asks", online().job(|j| j.asker = None), RefusedParameters),
        ("a seat without a window", online().other(|c| c.online = None), RefusedParameters),
        ("another's seat", window(|o| o.recipient = key(OPERATOR).id()), RefusedParameters),
        (
            "a stranger's window",
            window(|o| o.recipient = key(STRANGER).id()).job(|j| j.asker = Some(key(STRANGER).id())),
            RefusedParties,
        ),
        ("the allowance is used up", online().other(|c| c.rows_used = 901), RefusedQuota),
    ];
    for (what, case, code) in table {
        assert_eq!(case.decide().map_err(|f| f.code), Err(code), "{what}");
    }
    // Who asks has neither data nor a model in the job, and does not deal.
    for asker in [1, DEALER] {
        let signed =
            Statement::sign(&key(OPERATOR), "job", NOW, None, online().job(|j| j.asker = Some(key(asker).id())).job);
        assert_eq!(JobSpec::verify(signed.bytes()).unwrap_err().code, RefusedMalformed, "{asker}");
    }
}

fn score(case: &mut Case, change: impl FnOnce(&mut ScoreFacts)) {
    if let Ok(JobFacts { score: Some(score), .. }) = &mut case.facts {
        change(score);
    }
}

#[test]
fn a_score_within_the_terms_takes_its_rows_from_the_allowance() {
    let admission = scoring().decide().unwrap();
    assert_eq!((admission.rows, admission.dataset), (100, Some(dataset_of(1))));
    assert!(scoring().other(|c| score(c, |s| s.precision = Precision::Decision)).decide().is_ok());
}

#[test]
fn a_contract_says_how_many_digits_a_rounded_score_has() {
    let decide = |allowed: Option<u8>, asked: Option<u8>, precision| {
        let terms = |c: &mut tacit_governance::Contract| {
            c.scoring = c.scoring.map(|s| ScoringTerms { decimals: allowed, ..s });
        };
        let asked = |c: &mut Case| score(c, |s| (s.decimals, s.precision) = (asked, precision));
        scoring().contract(terms).other(asked).decide().map(|a| a.rows).map_err(|f| f.code)
    };
    let (rounded, refused) = (Precision::Rounded, Err(Code::RefusedPrecision));
    assert_eq!((decide(Some(2), Some(3), rounded), decide(Some(0), Some(1), rounded)), (refused, refused));
    assert_eq!((decide(Some(2), Some(2), rounded), decide(Some(0), Some(0), rounded)), (Ok(100), Ok(100)));
    // Less than a rounded score has no digits, and terms from before say nothing of them.
    assert_eq!((decide(Some(0), None, Precision::Band), decide(None, Some(6), rounded)), (Ok(100), Ok(100)));
    // Digits of a score that may be told whole would limit nothing.
    let whole = scoring().contract(|c| {
        c.scoring = c.scoring.map(|s| ScoringTerms { decimals: Some(2), precision: Precision::Score, ..s });
    });
    assert_eq!(whole.decide().map_err(|f| f.code).map(|_| ()), Err(Code::RefusedContractIncomplete));
}

#[test]
fn a_contract_says_what_is_told_of_unknown_keys() {
    let decide = |allowed: Option<UnknownKeys>, asked| {
        let terms = |c: &mut tacit_governance::Contract| {
            c.scoring = c.scoring.map(|s| ScoringTerms { unknown: allowed, ..s });
        };
        let case = scoring().contract(terms).other(|c| score(c, |s| s.unknown = asked));
        case.decide().map(|_| ()).map_err(|f| f.code)
    };
    for (i, allowed) in UnknownKeys::ALL.into_iter().enumerate() {
        for (j, asked) in UnknownKeys::ALL.into_iter().enumerate() {
            let wanted = if j > i { Err(Code::RefusedPrecision) } else { Ok(()) };
            assert_eq!(decide(Some(allowed), asked), wanted, "{} of {}", asked.word(), allowed.word());
        }
        assert_eq!(decide(None, allowed), Ok(()), "terms from before");
    }
}

#[test]
fn a_contract_that_wants_verified_scores_admits_no_other() {
    let terms = |verified| {
        move |c: &mut tacit_governance::Contract| c.scoring = c.scoring.map(|s| ScoringTerms { verified, ..s })
    };
    let decide = |demanded: bool, verified: bool| {
        let case = scoring().contract(terms(demanded)).other(|c| score(c, |s| s.verified = verified));
        case.decide().map(|a| a.rows).map_err(|f| f.code)
    };
    assert_eq!(decide(true, false), Err(Code::RefusedUnverified));
    assert_eq!((decide(true, true), decide(false, true), decide(false, false)), (Ok(100), Ok(100), Ok(100)));
    // A window is none: what it scores is a sum of parts that nobody can check.
    assert_eq!(online().contract(terms(true)).decide().map_err(|f| f.code), Err(Code::RefusedUnverified));
}

#[test]
fn each_change_of_a_score_has_its_refusal() {
    use Code::*;
    let held_by = |owner| vec![ModelRef { owner: key(owner).id(), model: model_of(1) }];
    let table: Vec<(&str, Case, Code)> = vec![
        ("another version", scoring().job(|j| j.models[0].model = model_of(2)), RefusedModel),
        ("another owner's", scoring().job(|j| j.models = held_by(2)), RefusedModel),
        ("a model that is not held", scoring().other(|c| c.models.clear()), RefusedModel),
        ("a model of another family", scoring().other(|c| c.models[0].1.family = ModelFamily::Network), RefusedModel),
        ("no terms of scoring", scoring().contract(|c| c.scoring = None), RefusedContractIncomplete),
        (
            "no terms and no models",
            scoring()
                .contract(|c| {
                    c.scoring = None;
                    c.models.clear();
                })
                .job(|j| j.models.clear()),
            RefusedPrecision,
        ),
        ("more precise", scoring().other(|c| score(c, |s| s.precision = Precision::Score)), RefusedPrecision),
        ("one row too many for a job", scoring().other(|c| score(c, |s| s.rows = 101)), RefusedQuota),
        ("one row too many in all", scoring().other(|c| c.rows_used = 901), RefusedQuota),
        ("a dealer without that role", scoring().job(|j| j.dealer = Some(key(STRANGER).id())), RefusedParties),
        ("the demander as dealer", scoring().job(|j| j.dealer = Some(key(DEMANDER).id())), RefusedParties),
        ("the dealer has not signed", scoring().other(|c| c.signers.truncate(4)), RefusedContractIncomplete),
        ("a feature that may be summed only", scoring().uses("amount", Use::Score), RefusedLevel),
        ("a feature as key", scoring().uses("income", Use::Key), RefusedLevel),
        (
            "a dealer in a job that scores nothing",
            scoring().other(|c| c.facts.as_mut().unwrap().score = None),
            RefusedParameters,
        ),
        ("the kind is not allowed", scoring().contract(|c| c.kinds.truncate(1)), RefusedKind),
    ];
    for (what, case, code) in table {
        assert_eq!(case.decide().map_err(|f| f.code).map(|_| ()), Err(code), "{what}");
    }
}

#[test]
fn who_deals_needs_no_data_and_who_has_no_part_refuses() {
    let mut case = scoring();
    let mut signed = SignedContract::draft(case.contract.clone());
    for signer in &case.signers {
        signed.add(Statement::sign(&key(*signer), "", NOW, None, case.contract.clone())).unwrap();
    }
    let contracts = [signed];
    let facts = core::mem::replace(&mut case.facts, Err(Fault::new(Code::JobInternal, "")));
    let job = Statement::sign(&key(OPERATOR), "job", NOW, None, case.job);
    let decide = |owner: u8| {
        let request = Request {
            job: &job,
            facts: facts.clone(),
            online: None,
            align: None,
            feeds: Feeds::Rows,
            rerun: |_| Vec::new(),
            now: NOW,
        };
        let ledger = Ledger {
            owner: key(owner).id(),
            contracts: &contracts,
            orders: &[],
            revoked: &[],
            dataset: None,
            sources: &[],
            models: &[],
            jobs_used: &|_| 0,
            rows_used: &|_| 0,
            privacy: PrivacyLedger::EMPTY,
            consumed: false,
            priced: &|_, _| false,
            speaker: &|key| Some(*key),
            unkept: None,
            high_water: NOW,
            coordinator: key(8).id(),
            site: None,
        };
        admit(&request, &ledger)
    };
    assert_eq!(decide(DEALER).unwrap().dataset, None);
    assert_eq!(decide(DEMANDER).unwrap_err().code, Code::RefusedParties);
    assert_eq!(decide(2).unwrap_err().code, Code::RefusedDataset);
}

#[test]
fn periods_follow_each_other_from_the_contracts_beginning_to_its_end() {
    const DAY: u64 = 86_400_000;
    let terms = DistinctTerms { keys: 5, days: 7 };
    let valid = (UnixMillis(1_000), UnixMillis(1_000 + 10 * DAY));
    let period = |at: u64| terms.period(valid, UnixMillis(at));
    let first = Period { number: 0, until: UnixMillis(1_000 + 7 * DAY) };
    let last = Period { number: 1, until: valid.1 };
    assert_eq!([0, 1_000, 999 + 7 * DAY].map(period), [first; 3]);
    assert_eq!([1_000 + 7 * DAY, 1_000 + 9 * DAY].map(period), [last; 2]);
}

#[test]
fn a_limit_on_different_keys_must_be_one_that_can_be_held() {
    let contract = |distinct, online: bool| {
        scoring()
            .contract(move |c| {
                let online = online.then_some(OnlineTerms { rows_per_window: 10, rows_per_second: 10 });
                c.scoring = c.scoring.map(|s| ScoringTerms { distinct: Some(distinct), online, ..s });
            })
            .decide()
            .map(|_| ())
            .map_err(|f| f.code)
    };
    let terms = |keys, days| DistinctTerms { keys, days };
    assert_eq!(contract(terms(1000, 1), false), Ok(()));
    for wrong in [terms(0, 1), terms(1001, 1), terms(5, 0)] {
        assert_eq!(contract(wrong, false), Err(Code::RefusedContractIncomplete), "{wrong:?}");
    }
    // Windows hold it as well.
    assert_eq!(contract(terms(1000, 1), true), Ok(()));
}
