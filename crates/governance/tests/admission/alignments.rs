//! Alignments, and what may be done with their ids.

use super::*;

/// A job that aligns, under a contract that allows it.
pub fn aligning() -> Case {
    let mut case = Case::new().contract(|c| {
        c.alignment = Some(AlignTerms {
            levels: vec![AlignLevel::Spine, AlignLevel::Receiver],
            learners: vec![key(1).id(), key(2).id()],
            keys_min: 100,
            padded: true,
            keep_days: 30,
            repeat: Some(RepeatTerms { runs: 1, days: 1, change_min: ALIGN_KEYS_MIN, keys: Some(1 << 20) }),
            lookup: Some(LookupTerms { per_job: 1000, queries: 2000, days: 7, epoch_days: 30 }),
        });
    });
    case.align = Some(AlignFacts {
        level: AlignLevel::Receiver,
        learners: vec![key(2).id()],
        keys_min: 100,
        padded: Some(1024),
        keep_days: 30,
        lookup: None,
    });
    case
}

#[test]
fn a_search_is_one_that_the_contract_allows() {
    let facts = LookupFacts { asker: key(2).id(), queries: 1000, epoch_days: 30, series: Hash([1; 32]) };
    let decide = |facts: LookupFacts, terms: fn(&mut AlignTerms)| {
        let mut case = aligning().contract(|c| c.alignment.as_mut().into_iter().for_each(terms));
        case.align.as_mut().into_iter().for_each(|a| a.lookup = Some(facts));
        case.decide().err().map(|f| f.code)
    };
    assert_eq!(decide(facts, |_| ()), None);
    let refused = Some(Code::RefusedAlignment);
    assert_eq!(decide(LookupFacts { queries: 1001, ..facts }, |_| ()), refused, "one past it");
    assert_eq!(decide(LookupFacts { epoch_days: 31, ..facts }, |_| ()), refused, "one past it");
    assert_eq!(decide(facts, |a| a.lookup = None), refused);
    for faulty in [
        (|l| l.per_job = 0) as fn(&mut LookupTerms),
        |l| l.per_job = 2001,
        |l| l.days = 0,
        |l| l.days = REPEAT_DAYS_MAX + 1,
        |l| l.epoch_days = 0,
        |l| l.epoch_days = REPEAT_DAYS_MAX + 1,
    ] {
        let _ = aligning().contract(|c| {
            c.alignment.as_mut().and_then(|a| a.lookup.as_mut()).into_iter().for_each(faulty);
            assert_eq!(c.faults().len(), 1, "terms that allow nothing, or more than they say");
        });
    }
}

#[test]
fn an_alignment_is_one_that_the_contract_allows() {
    assert!(aligning().decide().is_ok());
    let refused = |change: fn(&mut AlignFacts)| {
        let mut case = aligning();
        case.align.as_mut().into_iter().for_each(change);
        case.decide().err().map(|f| f.code)
    };
    assert_eq!(refused(|a| a.level = AlignLevel::Spine), None);
    for change in [
        (|a| a.level = AlignLevel::Both) as fn(&mut AlignFacts),
        |a| a.level = AlignLevel::Count,
        |a| a.learners = vec![key(2).id(), key(3).id()],
        |a| a.keys_min = 99,
        |a| a.padded = None,
        |a| a.keep_days = 31,
    ] {
        assert_eq!(refused(change), Some(Code::RefusedAlignment));
    }
    let none = aligning().contract(|c| c.alignment = None);
    assert_eq!(none.decide().unwrap_err().code, Code::RefusedAlignment);
    for faulty in [
        (|a| a.levels = vec![AlignLevel::Receiver, AlignLevel::Spine]) as fn(&mut AlignTerms),
        |a| a.levels.clear(),
        |a| a.learners.clear(),
        |a| a.keys_min = ALIGN_KEYS_MIN - 1,
        |a| a.keep_days = 0,
        |a| a.keep_days = ALIGN_KEEP_DAYS_MAX + 1,
        |a| a.repeat = a.repeat.map(|r| RepeatTerms { runs: 0, ..r }),
        |a| a.repeat = a.repeat.map(|r| RepeatTerms { days: 0, ..r }),
        |a| a.repeat = a.repeat.map(|r| RepeatTerms { days: REPEAT_DAYS_MAX + 1, ..r }),
        |a| a.repeat = a.repeat.map(|r| RepeatTerms { change_min: ALIGN_KEYS_MIN - 1, ..r }),
        |a| a.repeat = a.repeat.map(|r| RepeatTerms { keys: Some(ALIGN_KEYS_MIN - 1), ..r }),
    ] {
        let case = aligning().contract(|c| c.alignment.as_mut().into_iter().for_each(faulty));
        assert_eq!(case.decide().unwrap_err().code, Code::RefusedContractIncomplete);
    }
}

#[test]
fn what_was_aligned_is_used_until_its_day_and_ids_feed_no_kind_that_reads_rows() {
    let with = |level, expires| {
        let mut case = Case::new();
        let source = Aligned {
            job: JobId([7; 32]),
            parties: vec![key(1).id(), key(2).id()],
            level,
            base: dataset_of(9),
            expires,
        };
        case.dataset.as_mut().into_iter().for_each(|d| d.aligned = Some(source.clone()));
        case.decide().map_err(|f| f.code)
    };
    assert!(with(AlignLevel::Both, NOW.plus(1)).is_ok());
    assert_eq!(with(AlignLevel::Both, NOW).unwrap_err(), Code::RefusedDataset);
    assert_eq!(with(AlignLevel::Spine, NOW.plus(1)).unwrap_err(), Code::RefusedDataset);
}
