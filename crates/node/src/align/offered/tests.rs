//! Lists that are remembered and compared.

use std::collections::BTreeSet;

use super::*;

fn key(n: u64) -> [u8; 32] {
    tacit_crypto::sha256(&n.to_be_bytes()).0
}

/// Keys in the order that lists have.
fn ordered(keys: impl IntoIterator<Item = u64>) -> Vec<[u8; 32]> {
    let mut all: Vec<_> = keys.into_iter().map(key).collect();
    all.sort_unstable_by_key(|k| (k[31] & 1, *k));
    all
}

const TERMS: RepeatTerms = RepeatTerms { runs: 9, days: 9, change_min: 5, keys: None };

fn ledger(path: &Path, terms: Option<RepeatTerms>, earlier: Vec<Earlier>) -> Ledger {
    let others = vec![NodeId([7; 32])];
    let own = Decided { job: JobId([9; 32]), at: UnixMillis(0), others, marks: Vec::new(), path: path.into() };
    Ledger::new(own, terms, earlier, Vec::new(), UnixMillis(0)).unwrap()
}

/// Offers a list, as a job does whose rows have been read.
fn offer(mut ledger: Ledger, keys: core::ops::Range<u64>) -> Result<(), Code> {
    ordered(keys).iter().try_for_each(|key| ledger.put(key)).unwrap();
    ledger.done(Hash([1; 32])).map_err(|f| f.code)
}

struct Case {
    folder: tempfile::TempDir,
    done: Vec<Earlier>,
}

impl Case {
    fn offer(&mut self, keys: impl IntoIterator<Item = u64>, form: u8) -> Result<(), Fault> {
        self.offer_groups(keys, &[], form)
    }

    /// A list, with the groups of a count.
    fn offer_groups(
        &mut self,
        keys: impl IntoIterator<Item = u64>,
        groups: &[core::ops::Range<u64>],
        form: u8,
    ) -> Result<(), Fault> {
        let job = JobId([self.done.len() as u8 + 1; 32]);
        let path = self.folder.path().join(format!("{job}.list"));
        let mut ledger = ledger(&path, Some(TERMS), self.done.clone());
        ordered(keys).iter().try_for_each(|key| ledger.put(key))?;
        for group in groups {
            ledger.next()?;
            ordered(group.clone()).iter().try_for_each(|key| ledger.put(key))?;
        }
        ledger.done(Hash([form; 32]))?;
        self.done.push((path, Past { job, at: UnixMillis(0), marks: Vec::new() }));
        Ok(())
    }
}

#[test]
fn a_list_is_the_same_or_differs_by_a_group_from_each_one_before() {
    let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
    let code = |r: Result<(), Fault>| r.map_err(|f| f.code);
    let refused = Err(Code::RefusedAlignment);
    case.offer(0..1000, 1).unwrap();
    assert_eq!(code(case.offer(0..1000, 1)), Ok(()), "the same");
    // One more, one less, one other, four in all; and the last in order, and the first.
    assert_eq!(code(case.offer(0..1001, 1)), refused);
    assert_eq!(code(case.offer(1..1000, 1)), refused);
    assert_eq!(code(case.offer((1..1000).chain([5000]), 1)), refused);
    assert_eq!(code(case.offer(2..1002, 1)), refused);
    assert_eq!(code(case.offer(0..1004, 1)), refused);
    assert_eq!(code(case.offer(0..1005, 1)), Ok(()), "five");
    // Far from the last one, and next to the first.
    assert_eq!(code(case.offer(0..999, 1)), refused);
    assert_eq!(code(case.offer(2000..2100, 1)), Ok(()), "another list altogether");
    // Another form of the same key would hide every difference.
    assert_eq!(code(case.offer(0..1000, 2)), refused);
    // What was refused was not remembered, and left nothing.
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 4);
}

#[test]
fn groups_that_were_near_each_other_are_asked_about_again_and_moved_ones_are_not() {
    let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
    let mut offer = |groups: &[core::ops::Range<u64>]| case.offer_groups(0..300, groups, 1).map_err(|f| f.code);
    // Each near the others or the whole; they were answered together.
    let small = [0..3, 3..7, 7..300];
    assert_eq!(offer(&small), Ok(()));
    assert_eq!(offer(&small), Ok(()));
    assert_eq!(offer(&[0..4, 4..7, 7..300]), Err(Code::RefusedAlignment));
    assert_eq!(offer(&small), Ok(()));
}

/// The answer to the first attempt may have been kept by who made it fail.
#[test]
fn another_attempt_brings_the_same_lists() {
    let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
    case.offer_groups(0..1000, &[0..300, 300..1000], 1).unwrap();
    let (path, _) = case.done[0].clone();
    let again = |keys: core::ops::Range<u64>, groups: &[core::ops::Range<u64>], form| {
        let mut ledger = ledger(&path, Some(TERMS), Vec::new());
        ordered(keys).iter().try_for_each(|key| ledger.put(key)).unwrap();
        for group in groups {
            ledger.next().unwrap();
            ordered(group.clone()).iter().try_for_each(|key| ledger.put(key)).unwrap();
        }
        ledger.done(Hash([form; 32])).map_err(|f| f.code)
    };
    let refused = Err(Code::RefusedAlignment);
    assert_eq!(again(0..1000, &[0..300, 300..1000], 1), Ok(()));
    assert_eq!(again(0..999, &[0..300, 300..1000], 1), refused);
    assert_eq!(again(0..2000, &[0..300, 300..1000], 1), refused, "also by as many as another job may");
    assert_eq!(again(0..1000, &[0..299, 299..1000], 1), refused);
    assert_eq!(again(0..1000, &[], 1), refused);
    assert_eq!(again(0..1000, &[0..300, 300..1000, 900..1000], 1), refused);
    assert_eq!(again(0..1000, &[0..300, 300..1000], 2), refused);
    assert_eq!(again(0..1000, &[0..300, 300..1000], 1), Ok(()), "what was refused left no trace");
}

#[test]
fn who_changes_one_key_at_a_time_gets_no_two_answers_that_differ_by_fewer_than_a_group() {
    let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
    let (mut list, mut taken) = ((0..300u64).collect::<BTreeSet<_>>(), Vec::<BTreeSet<u64>>::new());
    for step in 0..120u64 {
        // By turns: one key less, one more, one other, the same again; now and then back to the list before.
        let before = list.clone();
        let some = *list.iter().nth((step * 37 % 200) as usize).unwrap();
        match if step % 20 == 19 { 4 } else { step % 4 } {
            0 => _ = list.remove(&some),
            1 => _ = list.insert(1000 + step),
            2 => _ = list.remove(&some) && list.insert(2000 + step),
            3 => {}
            _ => list = taken.last().cloned().unwrap_or(before),
        }
        if case.offer(list.iter().copied(), 1).is_ok() {
            for other in &taken {
                let apart = list.symmetric_difference(other).count();
                assert!(apart == 0 || apart >= 5, "step {step}: {apart} apart");
            }
            taken.push(list.clone());
        } else {
            let near = |other: &BTreeSet<u64>| (1..5).contains(&list.symmetric_difference(other).count());
            assert!(taken.iter().any(near), "step {step} was refused without a reason");
        }
    }
    let different: BTreeSet<_> = taken.iter().collect();
    assert!(different.len() >= 2 && different.len() <= 1 + 2 * 120 / 5, "{}", different.len());
}

#[test]
fn whoever_moves_a_person_from_group_to_group_asks_about_that_person() {
    let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
    let code = |r: Result<(), Fault>| r.map_err(|f| f.code);
    let refused = Err(Code::RefusedAlignment);
    case.offer_groups(0..300, &[0..100, 100..200, 200..300], 1).unwrap();
    assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..200, 200..300], 1)), Ok(()), "the same");
    assert_eq!(code(case.offer_groups(0..300, &[200..300, 0..100, 100..200], 1)), Ok(()), "in another order");
    // The list is the same, and one, two or four of its keys are in another group.
    assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..201, 201..300], 1)), refused);
    assert_eq!(code(case.offer_groups(0..300, &[0..98, 98..200, 200..300], 1)), refused);
    assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..196, 196..300], 1)), refused);
    assert_eq!(code(case.offer_groups(0..300, &[0..100, 100..205, 205..300], 1)), Ok(()), "five");
    // A list that is nearly a group of before, and a group that is nearly a list of before.
    assert_eq!(code(case.offer(0..99, 1)), refused);
    assert_eq!(code(case.offer_groups(0..900, &[0..299, 299..900], 1)), refused);
    assert_eq!(code(case.offer_groups(0..900, &[0..400, 400..900], 1)), Ok(()));
    assert_eq!(code(case.offer(400..901, 1)), refused);
    // A list without groups, and one as a node kept it before there were any, is a file of one.
    case.offer(5000..5100, 1).unwrap();
    let (path, _) = case.done.last().unwrap();
    assert_eq!(Keys::lists(path).unwrap(), [0]);
    assert_eq!(Keys::lists(&case.done[0].0).unwrap(), [0, 2448, 3296, 4144]);
    // What ends in the middle of a header is no list.
    fs::write(path, &fs::read(&case.done[0].0).unwrap()[..2460]).unwrap();
    assert_eq!(code(case.offer(9000..9100, 1)), Err(Code::StoreFailed));
}

/// A node's lists and counts, under contracts with and without terms.
struct Node {
    home: tempfile::TempDir,
    store: Store,
}

const DAY: UnixMillis = UnixMillis(1_700_000_000_000);

impl Node {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("node.db")).await.unwrap();
        create(&folder(home.path())).unwrap();
        Self { home, store }
    }

    /// A job that has been counted and not decided.
    async fn counted(&self, job: u8, other: u8, terms: Option<RepeatTerms>, at: UnixMillis) -> Ledger {
        let with = With { owners: Hash([100 + other; 32]), others: vec![NodeId([other; 32])] };
        counted(&self.store, self.home.path(), &JobId([job; 32]), terms, (with, vec![Hash([1; 32])]), at).await.unwrap()
    }
}

const REFUSED: Result<(), Code> = Err(Code::RefusedAlignment);

#[tokio::test]
async fn of_two_jobs_at_once_the_second_to_have_its_list_is_held_to_the_first() {
    let node = Node::new().await;
    let (first, second) = (node.counted(1, 7, Some(TERMS), DAY).await, node.counted(2, 7, Some(TERMS), DAY).await);
    let elsewhere = node.counted(3, 8, Some(TERMS), DAY).await;
    assert_eq!(offer(second, 0..999), Ok(()), "the other has none yet");
    assert_eq!(offer(first, 0..1000), REFUSED);
    assert_eq!(offer(elsewhere, 0..1001), Ok(()), "another party has had no answer to either");
    // The other way round.
    let (first, second) = (node.counted(4, 9, Some(TERMS), DAY).await, node.counted(5, 9, Some(TERMS), DAY).await);
    assert_eq!(offer(first, 0..1000), Ok(()));
    assert_eq!(offer(second, 0..999), REFUSED);
    // Who waited for longer than the terms' days is held to nothing of before them.
    let late = DAY.plus(u64::from(TERMS.days) * DAY_MS);
    let (old, new) = (node.counted(6, 6, Some(TERMS), DAY).await, node.counted(7, 6, Some(TERMS), late).await);
    assert_eq!(offer(old, 0..1000), Ok(()));
    assert_eq!(offer(new, 0..999), Ok(()));
    node.store.close().await;
}

#[tokio::test]
async fn a_contract_without_terms_is_remembered_for_those_that_have_them() {
    let node = Node::new().await;
    let mut free = node.counted(1, 7, None, DAY).await;
    free.others(60).unwrap();
    assert_eq!(offer(free, 0..1000), Ok(()));
    // Another attempt may bring another list, and both are remembered.
    assert_eq!(offer(node.counted(1, 7, None, DAY).await, 0..1001), Ok(()));
    assert_eq!(offer(node.counted(1, 7, None, DAY).await, 0..1001), Ok(()));
    assert_eq!(Keys::lists(&list(node.home.path(), &JobId([1; 32]))).unwrap().len(), 2);
    assert_eq!(offer(node.counted(2, 7, None, DAY).await, 0..1002), Ok(()), "nothing limits that");
    fs::remove_file(list(node.home.path(), &JobId([2; 32]))).unwrap();
    assert_eq!(offer(node.counted(3, 7, Some(TERMS), DAY).await, 1..1000), REFUSED);
    assert_eq!(offer(node.counted(3, 7, Some(TERMS), DAY).await, 1..1001), REFUSED);
    let again = offer(node.counted(3, 7, Some(TERMS), DAY).await, 0..1000);
    assert_eq!(again, REFUSED, "the same as one attempt's, which may not have been answered, and near the other's");
    assert_eq!(offer(node.counted(1, 7, None, DAY).await, 0..1000), Ok(()));
    assert_eq!(Keys::lists(&list(node.home.path(), &JobId([1; 32]))).unwrap().len(), 2, "known, in whichever place");
    // What the other has brought under the first contract is used up under the second.
    let limited = RepeatTerms { keys: Some(100), ..TERMS };
    let others = async |keys| node.counted(4, 7, Some(limited), DAY).await.others(keys).map_err(|f| f.code);
    assert_eq!(others(41).await, REFUSED);
    assert_eq!(others(40).await, Ok(()));
    node.store.close().await;
}

#[test]
fn a_difference_is_found_wherever_it_is() {
    let mut case = Case { folder: tempfile::tempdir().unwrap(), done: Vec::new() };
    case.offer(0..64, 1).unwrap();
    for gone in 0..64 {
        assert!(case.offer((0..64).filter(|n| *n != gone), 1).is_err(), "without {gone}");
        assert!(case.offer((0..64).map(|n| if n == gone { 99 } else { n }), 1).is_err(), "another for {gone}");
    }
}

/// A dataset with another key, and one whose key is written otherwise.
#[tokio::test]
async fn keys_of_another_form_are_told_apart_by_the_dataset_that_they_are_of() {
    let node = Node::new().await;
    let terms = Some(RepeatTerms { runs: 99, ..TERMS });
    let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|n| Hash([n; 32]));
    let take = async |job: u8, marks: &[Hash], other: u8| {
        let with = With { owners: Hash([100 + other; 32]), others: vec![NodeId([other; 32])] };
        counted(&node.store, node.home.path(), &JobId([job; 32]), terms, (with, marks.to_vec()), DAY).await.unwrap()
    };
    let bring = |mut ledger: Ledger, form: u8, keys: core::ops::Range<u64>| {
        ordered(keys).iter().try_for_each(|key| ledger.put(key)).unwrap();
        ledger.done(Hash([form; 32])).map_err(|f| f.code)
    };
    let offer = async |job: u8, marks: &[Hash], form: u8, keys: core::ops::Range<u64>| {
        bring(take(job, marks, 7).await, form, keys)
    };
    assert_eq!(offer(1, &[a, b], 1, 0..1000).await, Ok(()));
    assert_eq!(offer(2, &[a], 2, 0..1000).await, REFUSED, "the same dataset");
    assert_eq!(offer(3, &[b, c], 2, 0..1000).await, REFUSED, "one that stands for it");
    assert_eq!(offer(4, &[], 2, 0..1000).await, REFUSED, "one of which nothing is known");
    assert_eq!(offer(5, &[c], 2, 0..1000).await, Ok(()), "another dataset");
    // Keys of one form are compared, whatever they are of; and each dataset with its own.
    assert_eq!(offer(6, &[e], 1, 0..999).await, REFUSED);
    assert_eq!(offer(7, &[c], 2, 0..999).await, REFUSED);
    assert_eq!(offer(8, &[c], 2, 0..1000).await, Ok(()));
    assert_eq!(offer(9, &[a], 1, 0..1000).await, Ok(()), "the first is not locked out by the second");
    // Of two at once the second to have its list is held to the first.
    let (first, second) = (take(10, &[d], 7).await, take(11, &[d], 7).await);
    assert_eq!(bring(second, 3, 0..1000), Ok(()));
    assert_eq!(bring(first, 4, 0..1000), REFUSED);
    // A list of which nothing was noted, as nodes of before left them, may be of any dataset.
    assert_eq!(bring(take(12, &[], 8).await, 1, 0..1000), Ok(()));
    assert_eq!(bring(take(13, &[a], 8).await, 2, 0..1000), REFUSED);
    node.store.close().await;
}

#[tokio::test]
async fn a_dataset_is_known_by_its_name_its_place_and_its_content() {
    let node = Node::new().await;
    let keys = crate::config::Keys::create(&node.home.path().join("keys")).unwrap();
    let path = |file: &str| node.home.path().join(file);
    let add = async |name: &str, file: &str, rows: &str| {
        fs::write(path(file), format!("id,tel\n{rows}")).unwrap();
        let source = tacit_data::Source::parse(path(file).to_str().unwrap()).unwrap();
        let (name, sources) = (tacit_types::Name::new(name).unwrap(), tacit_data::Sources::default());
        let added = datasets::add(&node.store, &keys, &name, source, &sources, Default::default());
        marks(&node.store, &added.await.unwrap().0.id).await.unwrap()
    };
    let people = add("people", "people.csv", "1,20\n2,21\n").await;
    assert_eq!(people.len(), 3);
    for (name, file, rows, same) in [
        ("people", "later.csv", "7,90\n", true),
        ("others", "people.csv", "8,91\n", true),
        ("copy", "copy.csv", "1,20\n2,21\n", true),
        ("others", "elsewhere.csv", "9,92\n", true),
        ("third", "elsewhere.csv", "10,93\n", true),
        ("strangers", "others.csv", "1,20\n3,21\n", false),
    ] {
        assert_eq!(akin(&people, &add(name, file, rows).await), same, "{name} in {file}");
    }
    // What an alignment leaves of a dataset has the marks of that.
    let base = node.store.datasets().await.unwrap().into_iter().find(|d| d.name == "people").unwrap();
    let mut descriptor = datasets::descriptor(&base).unwrap();
    let parties = vec![NodeId([1; 32]), NodeId([2; 32])];
    let (job, level) = (JobId([9; 32]), tacit_governance::AlignLevel::Both);
    descriptor.aligned = Some(tacit_governance::Aligned { job, parties, level, base: base.id, expires: DAY });
    descriptor.commitment = Hash([8; 32]);
    let signed = tacit_crypto::Statement::sign(&keys.root, "people-aligned", DAY, None, descriptor);
    let row = crate::store::DatasetRow {
        name: "people-aligned".into(),
        id: DatasetVersionId(tacit_crypto::sha256(signed.bytes()).0),
        descriptor: signed.bytes().to_vec(),
        ..base
    };
    node.store.put_dataset(&row).await.unwrap();
    let left = marks(&node.store, &row.id).await.unwrap();
    assert!(people.iter().all(|mark| left.contains(mark)), "{left:?}");
    node.store.close().await;
}
