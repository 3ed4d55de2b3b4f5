//! An evidence bundle with the papers of its use, made of what governance signs and read by the verifier, which does
//! not know governance.

mod case;

use case::common::{self, key};
use case::*;
use tacit_crypto::{SigningKey, Statement};
use tacit_engine::record::spec_hash;
use tacit_governance::{Admission, Contract, JobSpec};
use tacit_receipts::{Bundle, Notice, Scope, Status, verify_bundle};
use tacit_types::{Code, DatasetVersionId, JobId, Lang, Seat};

#[test]
fn the_papers_say_who_used_what_for_what_under_which_authority() {
    let case = Case::ok();
    let report = case.report();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert_eq!((report.scope, report.uses.len(), report.uses[0].leaf), (Scope::SingleLeaves, 1, case.leaf));
    assert!(report.uses[0].authority_shown, "{}", said(&report, Lang::En));
    let (en, zh) = (said(&report, Lang::En), said(&report, Lang::Zh));
    let operator = operator().id();
    for part in [
        &format!("signed with the key {operator}, for the purpose \"credit screening\""),
        "the contract screening (",
        "signed by bank-0, bank-1, bank-2",
        "By it the key that signed the job is that of bank-0.",
        "further terms that are not put into words here: fields 23.",
        "bank-1 admitted it at",
        "The data of bank-2: loans, version 3",
        "the contract grants the columns arrears",
        "bank-0, whose key is",
        "Revealed: sum of 4 groups, at most 4 numbers, to bank-0",
        "Counted: 1001 cell_in of bank-1, class A",
    ] {
        assert!(en.contains(part), "{part} in\n{en}");
    }
    for part in ["用途为“credit screening”", "依据：合同 screening", "签署方：bank-0、bank-1、bank-2", "bank-1 于"]
    {
        assert!(zh.contains(part), "{part} in\n{zh}");
    }
    assert!(!report.notices.iter().any(|n| matches!(n, Notice::PapersUnused { .. })));
}

#[test]
fn what_is_lacking_is_said_and_no_authority_is_shown_without_it() {
    for (lacking, words) in [
        (0, "The job "),
        (1, "lacks the signatures of bank-0"),
        (9, "The answer of bank-0 to the job is not in the evidence"),
        (10, "The answer of bank-1 to the job is not in the evidence"),
    ] {
        let mut case = Case::ok();
        case.papers.remove(lacking);
        let report = case.report();
        assert!(!report.uses[0].authority_shown, "{lacking}");
        let faults: String = report.faults.iter().map(|f| f.what.clone()).collect();
        assert!((said(&report, Lang::En) + &faults).contains(words), "{lacking}: {words}");
        // A signature that lacks makes the use one without authority; what is only not here may be elsewhere.
        assert_eq!(report.is_valid(), lacking != 1, "{lacking}");
    }
    let mut case = Case::ok();
    case.papers.retain(|paper| Statement::<Contract>::verify(paper).is_err());
    let report = case.report();
    assert!(report.is_valid() && !report.uses[0].authority_shown);
    assert!(said(&report, Lang::Zh).contains("证据中没有其所依据的合同"));
}

#[test]
fn papers_that_contradict_the_receipt_are_faults() {
    let mut elsewhere = contract();
    elsewhere.purpose = "advertising".into();
    let mut stranger = contract();
    stranger.operators = vec![key(91).id()];
    let mut nobodys = contract();
    nobodys.users[0].node = key(91).id();
    let mut other_kind = contract();
    other_kind.kinds = vec!["score/v1".into()];
    let mut over = contract();
    over.valid_until = T0.plus(500);
    let mut ungranted = contract();
    ungranted.datasets[1].dataset = DatasetVersionId([1; 32]);
    let mut unviewed = contract();
    unviewed.datasets[0].views = vec!["other".into()];
    for (terms, words) in [
        (elsewhere, "another purpose"),
        (stranger, "does not name the key that signed the job"),
        (nobodys, "does not say whose the key is that signed the job"),
        (other_kind, "does not allow jobs of kind"),
        (over, "outside the time"),
        (ungranted, "does not grant the dataset version of bank-2"),
        (unviewed, "does not grant the view"),
    ] {
        let report = Case::of(terms, spec(), Status::Ok).report();
        let found: Vec<_> = report.faults.iter().map(|f| (f.code, f.what.as_str())).collect();
        assert!(matches!(found.as_slice(), [(Code::ReceiptPaper, what)] if what.contains(words)), "{words}: {found:?}");
        assert!(!report.uses[0].authority_shown);
    }
}

#[test]
fn an_answer_of_another_key_job_or_dataset_shows_nothing() {
    let with = |i: usize, by: &SigningKey, change: &dyn Fn(&mut Admission)| {
        let mut case = Case::ok();
        let mut answer = Admission { contract: case.contract.id(), ..admission(i, JobId(id(&case.papers[0]).0)) };
        change(&mut answer);
        case.papers[9 + i] = signed(by, "answer", answer);
        case.report()
    };
    // A stranger's yes, and one to another job, are of no use here.
    for report in [with(1, &key(77), &|_| {}), with(1, &key(101), &|a| a.job = JobId([1; 32]))] {
        assert!(!report.uses[0].authority_shown);
        assert!(report.notices.iter().any(|n| matches!(n, Notice::PapersUnused { .. })));
    }
    for (report, words) in [
        (with(1, &key(101), &|a| a.dataset = Some(DatasetVersionId([1; 32]))), "another dataset version"),
        (with(1, &key(101), &|a| a.owner = root(2).id()), "another root key"),
        (with(1, &key(101), &|a| a.contract = tacit_types::ContractId([1; 32])), "does not name"),
    ] {
        assert!(report.faults.iter().any(|f| f.code == Code::ReceiptPaper && f.what.contains(words)), "{words}");
    }
}

#[test]
fn a_refused_and_an_aborted_job_are_told_as_well() {
    let refused = Status::Refused { code: Code::RefusedQuota, seat: Some(Seat(2)) };
    let case = Case::of(contract(), spec(), refused);
    let report = case.report();
    assert!(report.is_valid(), "{:?}", report.faults);
    let (en, zh) = (said(&report, Lang::En), said(&report, Lang::Zh));
    assert!(en.contains("was refused [refused.quota]"), "{en}");
    assert!(en.contains("bank-2 refused it at") && en.contains("the quota is used up [refused.quota]"), "{en}");
    assert!(zh.contains("拒绝：the quota is used up"), "{zh}");
    // What may be why it was refused is told, and is no fault of the evidence.
    let mut elsewhere = spec();
    elsewhere.purpose = "advertising".into();
    let refused = Status::Refused { code: Code::RefusedPurpose, seat: Some(Seat(2)) };
    let report = Case::of(contract(), elsewhere, refused).report();
    assert!(
        report.is_valid()
            && said(&report, Lang::En).contains("It does not fit: the contract screening is for another purpose")
    );

    let aborted = Status::Aborted { code: Code::JobPeerLost, step: None, seat: Some(Seat(1)) };
    let report = Case::of(contract(), spec(), aborted).report();
    assert!(report.is_valid(), "{:?}", report.faults);
    assert!(said(&report, Lang::En).contains("ended without a result [job.peer_lost]"));
    assert!(said(&report, Lang::En).contains("its attestation is absent [job.unreachable]"));
}

#[test]
fn papers_of_nothing_here_are_said_to_be_unused_and_what_is_no_paper_is_a_fault() {
    let mut case = Case::ok();
    case.papers.push(card(7));
    assert!(case.report().notices.contains(&Notice::PapersUnused { count: 1 }));
    // One of a type that is not read is told where it is about this job, by whoever signed it.
    let job = id(&case.papers[0]);
    case.papers[12] = signed(&key(101), &format!("job/{job}"), common::Novelty { text: "approved".into() });
    let report = case.report();
    assert!(said(&report, Lang::En).contains("A statement of type novelty about job/"), "{}", said(&report, Lang::En));
    assert!(said(&report, Lang::En).contains("signed by bank-1 at"));
    assert!(!report.notices.iter().any(|n| matches!(n, Notice::PapersUnused { .. })));
    case.papers.push(vec![0; 9]);
    let report = case.report();
    assert!(report.faults.iter().any(|f| f.code == Code::ReceiptPaper && f.what.starts_with("paper 13")));
}

#[test]
fn texts_of_others_cannot_upset_what_is_said() {
    let mut terms = contract();
    terms.purpose = "a\n\u{1b}[2J\u{2028}b".into();
    let mut order = spec();
    order.purpose = terms.purpose.clone();
    let text = said(&Case::of(terms, order, Status::Ok).report(), Lang::En);
    assert!(text.contains("\"a\u{fffd}\u{fffd}[2J\u{fffd}b\"") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn every_altered_byte_of_evidence_with_papers_shows() {
    let case = Case::ok();
    let (bytes, trust) = (case.bundle().to_bytes(), case.trust());
    let honest = case.report();
    let mut altered = bytes.clone();
    // One paper of each type byte by byte, heads included; of the rest every eleventh, as the tests of bundles look at
    // all of it.
    let place = |paper: &Vec<u8>| bytes.windows(paper.len()).position(|window| window == paper).unwrap();
    let whole: Vec<_> = [0, 1, 4, 7, 9].map(|i| place(&case.papers[i]) - 3..place(&case.papers[i + 1])).into();
    let places = (0..bytes.len()).filter(|at| at % 11 == 0 || whole.iter().any(|range| range.contains(at)));
    for (at, mask) in places.zip([0x01, 0x80, 0x20].into_iter().cycle()) {
        altered[at] ^= mask;
        let same = verify_bundle(&altered, Some(&trust))
            .is_ok_and(|report| report.is_valid() && report.notices == honest.notices && report.uses == honest.uses);
        assert!(!same, "byte {at} of {} by {mask:#x}", bytes.len());
        altered[at] = bytes[at];
    }
    for cut in (0..bytes.len()).step_by(7) {
        assert!(verify_bundle(&bytes[..cut], Some(&trust)).is_err(), "cut to {cut}");
    }
}

#[test]
fn the_numbers_of_the_fields_are_those_of_governance() {
    let case = Case::ok();
    let terms = tacit_receipts::papers::Terms::read(&tacit_crypto::cbor::encode(&case.contract)).unwrap();
    assert_eq!(terms.known.name, case.contract.name);
    assert_eq!(terms.known.purpose, case.contract.purpose);
    assert_eq!(terms.known.operators, case.contract.operators);
    assert_eq!(terms.known.kinds, case.contract.kinds);
    assert_eq!(
        (terms.known.valid_from, terms.known.valid_until),
        (case.contract.valid_from, case.contract.valid_until)
    );
    let job = Statement::<JobSpec>::verify(&case.papers[0]).unwrap();
    let order = tacit_receipts::papers::Order::read(job.envelope()).unwrap();
    assert_eq!((order.spec, &order.purpose, &order.kind), (spec_hash(&job), &case.spec.purpose, &case.spec.kind));
    assert_eq!(order.providers[1].dataset, case.spec.providers[1].dataset);
}

/// One past the limit of papers is no bundle.
#[test]
fn papers_are_bounded() {
    let mut bundle = Case::ok().bundle();
    bundle.papers = vec![Vec::new().into(); tacit_receipts::papers::PAPERS_MAX];
    assert!(Bundle::parse(&bundle.to_bytes()).is_ok());
    bundle.papers.push(Vec::new().into());
    assert_eq!(Bundle::parse(&bundle.to_bytes()).unwrap_err().code, Code::ReceiptBundle);
}
