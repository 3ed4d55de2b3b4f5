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
            matches: MatchesShown::Bucket,
            each_list: true,
            recipients_with_columns: vec![key(1).id()],
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
fn what_a_contract_does_not_say_of_repetition_holds_all_the_same() {
    let case = aligning().contract(|c| c.alignment.as_mut().into_iter().for_each(|a| a.repeat = None));
    let unsaid = case.contract.alignment.clone().unwrap();
    let expected = RepeatTerms { runs: 52, days: REPEAT_DAYS_MAX, change_min: unsaid.keys_min, keys: None };
    assert_eq!(unsaid.repeats(false), Some(expected));
    // A search is held to its own limits.
    assert_eq!(unsaid.repeats(true), None);
    let said = AlignTerms { repeat: Some(expected), ..unsaid };
    assert_eq!((said.repeats(false), said.repeats(true)), (Some(expected), Some(expected)));
    let case = aligning().contract(|c| c.alignment = Some(said));
    assert!(case.decide().is_ok(), "terms that could be written");
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

/// Who signs the job may not choose from how many matches on they are in the receipt, and so on the bill.
#[test]
fn matches_in_a_receipt_are_held_to_the_contracts_floor() {
    let decide = |rows: u64, matches: MatchesShown| {
        let case = aligning().contract(|c| c.alignment.as_mut().into_iter().for_each(|a| a.matches = matches));
        case.job(|j| j.cohort.rows = rows).decide().err().map(|f| f.code)
    };
    for shown in [MatchesShown::Bucket, MatchesShown::Exact] {
        assert_eq!(decide(10, shown), None);
        assert_eq!(decide(11, shown), Some(Code::RefusedCohort));
    }
    assert_eq!(decide(11, MatchesShown::Never), None);
}

#[test]
fn terms_that_show_nothing_are_those_of_before() {
    let of = |matches, each_list| {
        let case = aligning().contract(|c| {
            c.alignment.iter_mut().for_each(|a| {
                (a.matches, a.each_list) = (matches, each_list);
                a.recipients_with_columns.clear();
            });
        });
        cbor::encode(case.contract.alignment.as_ref().unwrap())
    };
    let [never, bucket, exact] = MatchesShown::ALL.map(|matches| of(matches, false));
    let (lists, both) = (of(MatchesShown::Never, true), of(MatchesShown::Exact, true));
    // A map of seven fields, of eight and of nine; the last have their numbers and their values.
    assert_eq!([&never, &bucket, &exact, &lists, &both].map(|b| b[0]), [0xa7, 0xa8, 0xa8, 0xa8, 0xa9]);
    let added = |bytes: &[u8]| bytes[1..].strip_prefix(&never[1..]).map(<[u8]>::to_vec);
    assert_eq!([added(&bucket), added(&exact)], [Some(vec![8, 1]), Some(vec![8, 2])]);
    assert_eq!([added(&lists), added(&both)], [Some(vec![9, 0xf5]), Some(vec![8, 2, 9, 0xf5])]);
    assert_eq!(cbor::decode::<AlignTerms>(&never).unwrap().recipients_with_columns, []);
    let read = |bytes: &[u8]| cbor::decode::<AlignTerms>(bytes).map(|terms| (terms.matches, terms.each_list));
    assert_eq!([read(&never), read(&both)], [Ok((MatchesShown::Never, false)), Ok((MatchesShown::Exact, true))]);
    let ends = |bytes: &[u8], end: u8| read(&[&bytes[..bytes.len() - 1], &[end]].concat());
    assert!(ends(&bucket, 0).is_err() && ends(&lists, 0xf4).is_err(), "nothing is said in one way");
    assert!(ends(&bucket, 2).is_ok() && ends(&bucket, 3).is_err(), "one past them");
}

#[test]
fn a_receipt_shows_no_more_than_the_strictest_contract_of_the_job() {
    let forms =
        [false, true].into_iter().flat_map(|each| MatchesShown::ALL.map(|m| Shown { matches: m, each_list: each }));
    let forms: Vec<Shown> = forms.collect();
    let under = |shown: &Shown| {
        let set = |a: &mut AlignTerms| (a.matches, a.each_list) = (shown.matches, shown.each_list);
        aligning().contract(|c| c.alignment.iter_mut().for_each(set)).signed()
    };
    let known: Vec<SignedContract> = forms.iter().map(under).collect();
    let shown = |named: &[&SignedContract], known: &[SignedContract]| {
        let mut job = aligning().job;
        job.contracts = named.iter().map(|c| c.id()).collect();
        Shown::allowed(&job, known)
    };
    for (one, a) in known.iter().zip(&forms) {
        for (other, b) in known.iter().zip(&forms) {
            let least =
                Shown { matches: a.matches.min(b.matches), each_list: [a.each_list, b.each_list] == [true, true] };
            assert_eq!(shown(&[one, other], &known), least);
        }
    }
    let (all, most) = (known.last().unwrap(), forms.last().unwrap());
    let without = aligning().contract(|c| c.alignment = None).signed();
    assert_eq!(shown(&[all, &without], &[all.clone(), without.clone()]), Shown::default());
    // What is not known here is the other owners' to hold.
    assert_eq!(shown(&[all, &without], std::slice::from_ref(all)), *most);
    assert_eq!(shown(&[all], &[]), Shown::default());
    assert_eq!(shown(&[all], &[known[0].clone(), all.clone()]), *most, "of another job");
}

#[test]
fn what_a_receipt_shows_has_its_words_and_numbers() {
    for shown in MatchesShown::ALL {
        assert_eq!(MatchesShown::parse(shown.word()), Ok(shown));
    }
    assert_eq!(MatchesShown::parse("always").map_err(|f| f.code), Err(Code::ArgsInvalid));
    let known: Vec<u8> = (0..=u8::MAX).filter(|n| Shown::of_number(*n).is_some()).collect();
    assert_eq!(known, [0, 1, 2, 4, 5, 6]);
    assert!(known.iter().all(|n| Shown::of_number(*n).is_some_and(|shown| shown.number() == *n)));
    assert_eq!(Shown::of_number(6), Some(Shown { matches: MatchesShown::Exact, each_list: true }));
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

#[test]
fn ids_of_one_alignment_feed_computations_on_shares_among_those_who_aligned() {
    let alignment = JobId([7; 32]);
    let source = |level| Aligned {
        job: alignment,
        parties: vec![key(1).id(), key(2).id(), key(3).id()],
        level,
        base: dataset_of(9),
        expires: NOW.plus(1),
    };
    let dealer = |c: &mut Contract| {
        c.parties.push(ContractParty { name: name("notary"), root: key(20).id(), role: Role::Dealer });
    };
    let told = |aligned: Option<Aligned>, feeds, change: &dyn Fn(&mut Case)| {
        let mut case = Case::new().contract(dealer).other(|c| {
            c.signers.push(20);
            c.job.dealer = matches!(feeds, Feeds::Shares { .. }).then(|| key(20).id());
            c.feeds = feeds;
        });
        case.dataset.as_mut().into_iter().for_each(|d| d.aligned = aligned.clone());
        let mut owners: Vec<NodeId> = case.job.providers.iter().map(|p| p.owner).collect();
        owners.sort_unstable();
        if let Some(aligned) = case.dataset.as_mut().and_then(|d| d.aligned.as_mut()) {
            aligned.parties = owners;
        }
        change(&mut case);
        case.decide().map(|_| ())
    };
    let with = |aligned, feeds, change: &dyn Fn(&mut Case)| told(aligned, feeds, change).map_err(|f| f.code);
    let shares = Feeds::Shares { alignment };
    let spine = || Some(source(AlignLevel::Spine));
    assert_eq!(with(spine(), shares, &|_| {}), Ok(()));
    let refused = Err(Code::RefusedDataset);
    assert_eq!(with(spine(), Feeds::Rows, &|_| {}), refused, "a kind that reads rows");
    assert_eq!(with(spine(), Feeds::Shares { alignment: JobId([8; 32]) }, &|_| {}), refused, "of another alignment");
    assert_eq!(with(None, shares, &|_| {}), refused, "one owner's ids and the other's plain version");
    assert_eq!(with(Some(source(AlignLevel::Both)), shares, &|_| {}), refused, "keys that both know");
    let aligned = |case: &mut Case, change: &dyn Fn(&mut Aligned)| {
        case.dataset.as_mut().and_then(|d| d.aligned.as_mut()).into_iter().for_each(change);
    };
    assert_eq!(
        with(spine(), shares, &|c| aligned(c, &|a| a.parties.truncate(1))),
        refused,
        "with one who did not align"
    );
    assert_eq!(
        with(spine(), shares, &|c| aligned(c, &|a| a.parties.push(key(9).id()))),
        refused,
        "without one who did"
    );
    assert_eq!(with(spine(), shares, &|c| aligned(c, &|a| a.expires = NOW)), refused, "after its day");
    // Keys that both know are the rows of a job of those who aligned, or of some of them, and of no other version.
    let found = Feeds::Found { alignment };
    let both = || Some(source(AlignLevel::Both));
    assert_eq!(with(both(), found, &|_| {}), Ok(()));
    assert_eq!(with(both(), found, &|c| aligned(c, &|a| a.parties.push(key(9).id()))), Ok(()), "some of them");
    assert_eq!(with(both(), found, &|c| aligned(c, &|a| a.parties.truncate(1))), refused, "one who did not align");
    assert_eq!(with(both(), found, &|c| aligned(c, &|a| a.expires = NOW)), refused, "after its day");
    assert_eq!(with(both(), Feeds::Found { alignment: JobId([8; 32]) }, &|_| {}), refused, "of another alignment");
    assert_eq!(with(spine(), found, &|_| {}), refused, "ids that nobody can match");
    assert_eq!(with(Some(source(AlignLevel::Receiver)), found, &|_| {}), refused, "keys that one of them knows");
    assert_eq!(with(None, found, &|_| {}), refused, "a version that was not aligned");
    // Who computes on shares has a dealer, and no other kind that scores nothing has one.
    let refused = Err(Code::RefusedParameters);
    assert_eq!(with(spine(), shares, &|c| c.job.dealer = None), refused);
    assert_eq!(with(None, Feeds::Rows, &|c| c.job.dealer = Some(key(20).id())), refused);
    // Whose columns go into the sums chooses what they tell: it gets them where all have agreed to that by its name.
    let refused = Err(Code::RefusedRecipient);
    let user = |n: u8| User { root: key(n).id(), node: key(OPERATOR).id(), seal: SealPublic([7; 32]) };
    let with_users = |users: &'static [u8], named: Option<&'static [u8]>| {
        move |c: &mut Case| {
            c.contract.users = users.iter().map(|n| user(*n)).collect();
            c.contract.alignment = named.map(|named| {
                let recipients_with_columns = named.iter().map(|n| key(*n).id()).collect();
                AlignTerms { recipients_with_columns, ..aligning().contract.alignment.unwrap() }
            });
            c.job.contracts = vec![c.contract.id()];
        }
    };
    let to = |users, named| with(spine(), shares, &with_users(users, named));
    assert_eq!(to(&[DEMANDER], None), Ok(()));
    assert_eq!(to(&[2], None), refused, "the second owner is the recipient");
    assert_eq!(to(&[1], None), refused, "the first owner's own");
    assert_eq!(to(&[DEMANDER, 2], None), refused, "one key, and one of its two is an owner");
    let said = told(spine(), shares, &with_users(&[2], None)).unwrap_err().what;
    let owner = Case::new().contract.parties.iter().find(|p| p.root == key(2).id()).unwrap().name.clone();
    assert!(said.starts_with(&format!("{owner} has columns")), "{said}");
    // An owner that may use other results, under its own key, is no recipient of this one.
    let besides = |c: &mut Case| {
        with_users(&[DEMANDER], None)(c);
        let seal = SealPublic([8; 32]);
        c.contract.users.push(User { root: key(2).id(), node: key(61).id(), seal });
        c.contract.operators.push(key(61).id());
        c.contract.recipients.push(seal);
        c.job.contracts = vec![c.contract.id()];
    };
    assert_eq!(with(spine(), shares, &besides), Ok(()));
    assert_eq!(to(&[2], Some(&[])), refused);
    assert_eq!(to(&[2], Some(&[1])), refused, "another owner's name");
    assert_eq!(to(&[2], Some(&[1, 2])), Ok(()));
    assert_eq!(to(&[2], Some(&[DEMANDER])), Err(Code::RefusedContractIncomplete), "a name without data");
    assert_eq!(with(None, Feeds::Rows, &with_users(&[2], None)), Ok(()), "rows of single owners are another matter");
}
