//! The least and the most that terms may state, and what refusals say: see `cargo xtask mutate`.

use tacit_governance::grade::Grade;
use tacit_governance::{ModelFamily, ModelGrant, ModelRef};

use super::alignments::aligning;
use super::control::{ASSESSOR, LATER, REVIEWERS, code, controlled, of, review, risk, with};
use super::*;

#[test]
fn a_provider_that_the_contract_does_not_have_brings_no_right_and_misses_none() {
    let stranger = controlled().job(|j| j.providers[1].owner = key(STRANGER).id());
    assert_eq!(code(stranger), Some(Code::RefusedParties));
}

#[test]
fn a_refusal_by_grade_says_whether_checks_would_help() {
    let what = |grade: u8| {
        let case = of(move |d| d.grade = Grade(grade)).other(|c| c.facts.as_mut().unwrap().checked = Some(false));
        case.decide().unwrap_err().what
    };
    assert!(what(5).ends_with(", unless it is checked or verified"), "{}", what(5));
    assert!(!what(0).contains("unless"), "{}", what(0));
}

#[test]
fn where_nothing_is_said_of_regions_nothing_is_asked_and_where_something_is_all_is() {
    let silent = || of(|d| d.region = None);
    let without = |case: Case, keep: fn(&mut tacit_governance::control::Control)| {
        code(case.contract(|c| c.control.as_mut().into_iter().for_each(keep)))
    };
    assert_eq!(without(silent(), |c| (c.regions, c.cross_border) = (Vec::new(), None)), None);
    assert_eq!(without(silent(), |c| c.regions.clear()), Some(Code::RefusedRegion), "an assessment alone");
    let others = without(silent(), |c| {
        c.regions.retain(|r| r.party != key(1).id());
        c.cross_border = None;
    });
    assert_eq!(others, Some(Code::RefusedRegion), "regions of others alone");
    // The data's own region is enough for its owner.
    assert_eq!(code(with(|c| c.regions.retain(|r| r.party != key(1).id()))), None);
    let more = with(|c| c.cross_border.as_mut().unwrap().jurisdictions.push("HK".into()));
    assert_eq!(code(more), None, "one assessed jurisdiction of two");
}

#[test]
fn terms_of_alignment_hold_at_their_least() {
    let sound = |change: fn(&mut AlignTerms)| {
        let mut faults = usize::MAX;
        let _ = aligning().contract(|c| {
            c.alignment.as_mut().into_iter().for_each(change);
            faults = c.faults().len();
        });
        faults == 0
    };
    assert!(sound(|a| a.lookup = Some(LookupTerms { per_job: 1, queries: 1, days: 1, epoch_days: 1 })));
    assert!(sound(|a| a.repeat.as_mut().unwrap().keys = Some(ALIGN_KEYS_MIN)));
    assert!(sound(|a| (a.keys_min, a.keep_days) = (ALIGN_KEYS_MIN, 1)));
    let (low, mid, high) = (AlignLevel::Count, AlignLevel::Spine, AlignLevel::Both);
    assert!(sound(|a| a.levels = vec![AlignLevel::Count, AlignLevel::Spine, AlignLevel::Both]));
    assert!(low < mid && mid < high);
    assert!(!sound(|a| a.levels = vec![AlignLevel::Count, AlignLevel::Both, AlignLevel::Spine]));
}

#[test]
fn words_are_those_of_their_levels_and_grades() {
    for level in AlignLevel::ALL {
        assert_eq!(AlignLevel::parse(level.word()), Ok(level));
    }
    assert_eq!(AlignLevel::parse("all").unwrap_err().code, Code::ArgsInvalid);
    for grade in 1..=6 {
        assert_eq!(Grade::parse(Grade(grade).word()), Some(Grade(grade)));
    }
    assert_eq!(Grade::parse("unknown"), None);
}

#[test]
fn a_refused_learner_is_called_by_its_name() {
    let mut case = aligning();
    case.align.as_mut().unwrap().learners = vec![key(3).id()];
    let what = case.decide().unwrap_err().what;
    assert!(what.starts_with("owner-3 ("), "{what}");
}

#[test]
fn of_a_job_with_models_the_models_are_reviewed_and_not_the_kind_beside_them() {
    let model = ModelVersionId([201; 32]);
    let (precision, online, distinct) = (tacit_governance::Precision::Rounded, None, None);
    let mut case = controlled().contract(|c| {
        c.models.push(ModelGrant { owner: key(1).id(), model });
        c.scoring = Some(ScoringTerms {
            rows: 9,
            rows_per_job: 9,
            precision,
            online,
            verified: false,
            distinct,
            decimals: None,
            unknown: None,
        });
    });
    case.job.models = vec![ModelRef { owner: key(1).id(), model }];
    let descriptor = ModelDescriptor {
        format: 1,
        owner: key(1).id(),
        name: name("credit"),
        version: 1,
        family: ModelFamily::Linear,
        features: vec!["amount".into()],
        commitment: Hash([1; 32]),
    };
    case.models = vec![(model, descriptor)];
    let on = |by| review(by, |r| r.model = Some(model));
    case.orders = vec![on(REVIEWERS[0]), on(REVIEWERS[1]), risk(ASSESSOR, 40, LATER)];
    // Past the review: this kind has no models.
    assert_eq!(code(case), Some(Code::RefusedParameters));
}
