//! Three and more parties.

use std::collections::{BTreeMap, BTreeSet};

use tacit_protocol::Offence;
use tacit_types::Code;

use super::*;
use crate::exchange::POSTED_MAX;
use crate::groups::{GroupSet, GroupSetBuilder, RING_GROUPS_MAX};
use crate::ring::{Incoming, RingGroups, RingKeys, RingTerms, ring};
use crate::star::star;

fn lists() -> Vec<Rows> {
    // Multiples of 1, 2, 3 and 5 below 1,200, and the first twice.
    [1, 2, 3, 5].iter().map(|m| rows((0..1200).filter(|i| i % m == 0).chain([0]))).collect()
}

fn run_of(i: u16, hub: u16, sender: u16) -> Terms {
    Terms {
        context: Hash([i as u8 + 1; 32]),
        receiver: Seat(hub),
        sender: Seat(sender),
        step_base: 3 + i,
        begin_ms: 100 * STEP_MS,
        ..terms(Level::Receiver, Mode::Oprf)
    }
}

fn star_world(runs: Vec<Terms>) -> World<'static, Option<BTreeSet<u64>>> {
    let bring = |rows| (rows, Disk::default(), None);
    star_attempt(1, runs, lists().into_iter().map(bring).collect())
}

/// What a party of a star brings to an attempt: a list, a disk, and the last record of an earlier attempt.
type Brought = (Rows, Disk, Option<Vec<u8>>);

fn star_attempt(attempt: u32, runs: Vec<Terms>, sides: Vec<Brought>) -> World<'static, Option<BTreeSet<u64>>> {
    let protocols = sides.into_iter().map(|(rows, disk, state)| -> Protocol<Option<BTreeSet<u64>>> {
        let runs = runs.clone();
        Box::new(move |mut party| {
            Box::pin(async move {
                let mut storage = Kept(disk);
                let keys = key_set(&mut storage, &schema(), &rows);
                let node = Secret::new([party.seat().0 as u8 + 1; 32]);
                let resume = Some(Resume { key: &node, state: state.as_deref() });
                let mut host = Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume };
                let Some(common) = star(&mut party, &runs, &keys, &mut host).await? else { return Ok(None) };
                let mut seen = BTreeSet::new();
                common.each(host.storage, &mut |_, rows| {
                    seen.extend(rows);
                    Ok(())
                })?;
                Ok(Some(seen))
            })
        })
    });
    World::new(attempt, protocols.collect(), vec![disclosure()])
}

#[test]
fn a_hub_whose_last_run_was_interrupted_brings_no_other_list_to_any() {
    let runs: Vec<Terms> = (0..3).map(|i| Terms { checkpoint: 1, ..run_of(i, 0, i + 1) }).collect();
    let sides: Vec<Brought> = lists().into_iter().map(|rows| (rows, Disk::default(), None)).collect();
    let mut whole = star_attempt(1, runs.clone(), sides.clone());
    whole.run();
    let mut first = star_attempt(1, runs.clone(), sides.clone());
    first.messages_max = whole.sent.len() - 4;
    first.run();
    let interrupted = first.sent.last().map(|m| (m.address.from.0, m.address.to.0));
    assert!(interrupted.is_some_and(|(from, to)| from + to == 3), "the first two runs are over");
    let again: Vec<Brought> = sides
        .into_iter()
        .enumerate()
        .map(|(i, (rows, disk, _))| (rows, disk, first.records.get(&i).cloned()))
        .collect();
    assert!(again[0].2.is_some());

    let mut changed = again.clone();
    changed[0].0[7] = Some("another".into());
    let mut second = star_attempt(2, runs.clone(), changed);
    second.run();
    let refused = second.outcomes().swap_remove(0);
    assert!(matches!(&refused, Err(Abort::Local(f)) if f.code == Code::RefusedDataset), "{refused:?}");
    assert!(second.sent.iter().all(|m| m.address.from != Seat(0)), "nothing was said");

    // With its own list it goes on.
    let mut second = star_attempt(2, runs, again);
    second.run();
    assert_eq!(second.outcomes().swap_remove(0).unwrap(), whole.outcomes().swap_remove(0).unwrap());
}

#[test]
fn the_hub_of_a_star_learns_what_all_have() {
    for hub in [0u16, 2] {
        let others = (0..4u16).filter(|s| *s != hub);
        let runs: Vec<Terms> = others.enumerate().map(|(i, s)| run_of(i as u16, hub, s)).collect();
        let mut world = star_world(runs);
        world.run();
        let step = [1, 2, 3, 5][usize::from(hub)];
        for (seat, outcome) in world.outcomes().into_iter().enumerate() {
            let got = outcome.unwrap_or_else(|e| panic!("{seat}: {e}"));
            if seat != usize::from(hub) {
                assert_eq!(got, None);
                continue;
            }
            let rows = (0..1200 / step).filter(|r| (r * step) % 30 == 0).chain([1200 / step]);
            assert_eq!(got, Some(rows.collect()));
        }
    }
}

#[test]
fn runs_that_are_no_star_are_refused() {
    let good = || vec![run_of(0, 0, 1), run_of(1, 0, 2), run_of(2, 0, 3)];
    let changes: [fn(&mut Vec<Terms>); 6] = [
        |r| r[1].receiver = Seat(3),
        |r| r[1].sender = Seat(1),
        |r| r[1].context = r[0].context,
        |r| r[1].step_base = r[0].step_base,
        |r| r[2].level = Level::Both,
        Vec::clear,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut runs = good();
        change(&mut runs);
        let mut world = star_world(runs);
        world.run();
        let refused = |o: &Result<_, Abort>| matches!(o, Err(Abort::Local(f)) if f.code == Code::ArgsInvalid);
        assert!(world.outcomes().iter().all(refused), "{i}");
    }
}

fn ring_terms(n: u16, collector: u16) -> RingTerms {
    RingTerms {
        seats: (0..n).map(Seat).collect(),
        collector: Seat(collector),
        context: Hash([7; 32]),
        disclosure: disclosure(),
        items_max: 1 << 20,
        items_min: 1,
        announced: BTreeMap::new(),
        groups: None,
        batch: 256,
        step_base: 3,
        step_ms: STEP_MS,
    }
}

/// The counts of a ring, at its collector.
type Counts = Option<Vec<u64>>;

fn ring_world(terms: Vec<RingTerms>, lists: Vec<Rows>) -> World<'static, Counts> {
    grouped_world(terms, lists, Vec::new())
}

/// As [`ring_world`], where each row of the list of the seat that has groups stands in one.
fn grouped_world(terms: Vec<RingTerms>, lists: Vec<Rows>, of_rows: Vec<usize>) -> World<'static, Counts> {
    let protocols = lists.into_iter().zip(terms).map(|(rows, terms)| -> Protocol<Counts> {
        let of_rows = of_rows.clone();
        Box::new(move |mut party| {
            Box::pin(async move {
                let mut storage = InMemory::default();
                let keys = key_set(&mut storage, &schema(), &rows);
                let groups = terms.groups.filter(|g| g.seat == party.seat());
                let grouped = groups.map(|g| group_set(&mut storage, &rows, &of_rows, g.count, terms.items_min));
                let keys = grouped.as_ref().map_or(RingKeys::Plain(&keys), RingKeys::Grouped);
                let mut host = Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume: None };
                ring(&mut party, &terms, keys, &mut host).await
            })
        })
    });
    World::new(1, protocols.collect(), vec![disclosure()])
}

fn group_set(storage: &mut InMemory, rows: &Rows, of_rows: &[usize], groups: usize, least: u64) -> GroupSet {
    let mut builder = GroupSetBuilder::new(schema().digest(), groups, 1 << 20);
    for (row, group) in rows.iter().zip(of_rows) {
        if let Ok(key) = schema().key([row.as_deref()]) {
            builder.push(storage, &key, *group).unwrap();
        }
    }
    builder.finish(storage, least).unwrap()
}

#[test]
fn the_collector_of_a_ring_learns_how_many_all_have() {
    for n in 2..=4u16 {
        for collector in 0..n {
            let lists: Vec<Rows> = lists().into_iter().take(n.into()).collect();
            let mut world = ring_world(vec![ring_terms(n, collector); n.into()], lists);
            world.run();
            let expected = vec![1200 / [2, 6, 30][usize::from(n) - 2]];
            for (seat, outcome) in world.outcomes().into_iter().enumerate() {
                let expected = (seat == usize::from(collector)).then(|| expected.clone());
                assert_eq!(outcome.unwrap_or_else(|e| panic!("{n} {seat}: {e}")), expected);
            }
        }
    }
}

#[test]
fn cheats_in_a_ring_are_blamed() {
    let cheat = |step: u32, from: u16, change: fn(&mut Vec<u8>)| {
        let mut world = ring_world(vec![ring_terms(3, 2); 3], lists().into_iter().take(3).collect());
        world.hook = Box::new(move |mut m| {
            if m.address.step.0 == (3 << 16) + step && m.address.from == Seat(from) {
                change(&mut m.body);
                m.total = m.body.len() as u64;
            }
            vec![m]
        });
        world.run();
        let outcomes = world.outcomes();
        assert!(outcomes[2].is_err(), "the collector has no result");
        outcomes.into_iter().find_map(|o| match o {
            Err(Abort::Misbehaved { blame, .. }) => Some(blame.offence),
            Err(Abort::Disagreement { .. }) => Some(Offence::Inconsistent),
            _ => None,
        })
    };
    assert_eq!(cheat(0, 0, |b| b[0] ^= 1), Some(Offence::Inconsistent));
    assert_eq!(cheat(0, 0, |b| b.truncate(71)), Some(Offence::Malformed));
    assert_eq!(cheat(0, 0, |b| b[71] = 1), Some(Offence::BadSize));
    assert_eq!(cheat(1, 0, |b| b.truncate(32)), Some(Offence::BadCount));
    assert_eq!(cheat(1, 0, |b| b[..32].fill(0)), Some(Offence::BadPoint));
    assert_eq!(cheat(1, 0, |b| b.copy_within(..32, 32)), Some(Offence::Duplicate));
    assert_eq!(cheat(1, 0, |b| b[..64].rotate_left(32)), Some(Offence::Unordered));
    // Five batches of the longest list, then the signature.
    assert_eq!(cheat(6, 0, |b| b[0] ^= 1), Some(Offence::Signature));
    // The last batch of tags to the collector, after two hops.
    assert_eq!(cheat(13, 0, |b| *b.last_mut().unwrap() ^= 1), Some(Offence::Signature));
}

#[test]
fn in_a_ring_each_brings_as_many_keys_as_it_has_announced() {
    for (announced, offence) in [(1199, true), (1200, false), (1201, true)] {
        let mut terms = vec![ring_terms(3, 2); 3];
        terms[1].announced.insert(Seat(0), announced);
        let mut world = ring_world(terms, lists().into_iter().take(3).collect());
        world.run();
        let sent = world.sent.iter().any(|m| m.address.from == Seat(1) && m.address.step.0 > 3 << 16);
        assert_eq!(sent, !offence, "{announced}");
        let found = match &world.outcomes()[1] {
            Err(Abort::Misbehaved { blame, .. }) => blame.offence == Offence::BadSize,
            _ => false,
        };
        assert_eq!(found, offence, "{announced}");
    }
}

#[test]
fn rings_that_cannot_be_are_refused() {
    let refused = |change: fn(&mut RingTerms)| {
        let mut terms = ring_terms(3, 0);
        change(&mut terms);
        let mut world = ring_world(vec![terms; 3], lists().into_iter().take(3).collect());
        world.run();
        world.outcomes().into_iter().all(|o| matches!(o, Err(Abort::Local(f)) if f.code == Code::ArgsInvalid))
    };
    assert!(refused(|t| t.seats = vec![Seat(0), Seat(1), Seat(1)]));
    assert!(refused(|t| t.seats = (0..crate::ring::RING_PARTIES_MAX as u16 + 1).map(Seat).collect()));
    assert!(refused(|t| t.seats.truncate(1)));
    assert!(refused(|t| t.collector = Seat(5)));
    assert!(refused(|t| t.items_max = 0));
    assert!(refused(|t| t.items_max = crate::terms::ITEMS_MAX + 1));
    assert!(refused(|t| t.batch = 1));
    assert!(refused(|t| (t.step_base, t.items_max) = (u16::MAX, crate::terms::ITEMS_MAX)));
    assert!(!refused(|_| ()));
}

fn groups(seat: u16, count: usize) -> Option<RingGroups> {
    Some(RingGroups { seat: Seat(seat), count, items_max: 1 << 20 })
}

/// Lists of texts, with gaps and repeats, of which the one of `grouped` has a group for each row, and what a plain join and
/// group-by of them gives: each key in the first of its groups, small groups with the last.
fn drawn(n: u16, grouped: u16, count: usize, overlap: u64, least: u64) -> (Vec<Rows>, Vec<usize>, Vec<u64>) {
    let mut state = overlap * 31 + u64::from(n) * 7 + u64::from(grouped);
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let list = |below: &mut dyn FnMut(u64) -> u64, seat: u64| -> Rows {
        let own = (overlap..300).map(|i| format!("{seat}-{i}"));
        let mut all: Rows = (0..overlap).map(|i| format!("all-{i}")).chain(own).map(Some).collect();
        (0..40).for_each(|_| all.push(all[below(200) as usize].clone()));
        all.extend([None, Some(" ".into())]);
        for i in (1..all.len()).rev() {
            all.swap(i, below(i as u64 + 1) as usize);
        }
        all
    };
    let lists: Vec<Rows> = (0..u64::from(n)).map(|seat| list(&mut below, seat)).collect();
    // The first group has few keys, the others many.
    let mut group = || if below(60) == 0 { 0 } else { 1 + below(count as u64 - 1) as usize };
    let of_rows: Vec<usize> = lists[usize::from(grouped)].iter().map(|_| group()).collect();
    let mut of_keys = BTreeMap::<String, usize>::new();
    for (row, group) in lists[usize::from(grouped)].iter().zip(&of_rows) {
        if let Some(text) = row.as_deref().filter(|t| !t.trim().is_empty()) {
            let held = of_keys.entry(text.to_owned()).or_insert(*group);
            *held = (*held).min(*group);
        }
    }
    let sizes = |of: &BTreeMap<String, usize>| {
        of.values().fold(vec![0u64; count], |mut sizes, group| {
            sizes[*group] += 1;
            sizes
        })
    };
    loop {
        let now = sizes(&of_keys);
        let smallest = (0..count - 1).filter(|g| now[*g] > 0).min_by_key(|g| now[*g]);
        match smallest.filter(|g| now[*g] < least || (1..least).contains(&now[count - 1])) {
            Some(group) => of_keys.values_mut().filter(|g| **g == group).for_each(|g| *g = count - 1),
            None => break,
        }
    }
    let common = |text: &String| lists.iter().all(|list| list.iter().flatten().any(|t| t == text));
    of_keys.retain(|text, _| common(text));
    (lists, of_rows, sizes(&of_keys))
}

#[test]
fn a_ring_counts_each_group_as_a_plain_group_by_of_a_join_does() {
    let mut few = false;
    for n in [2, 3, 5u16] {
        for (i, overlap) in [0, 1, 150, 300].into_iter().enumerate() {
            // Whoever collects, before and after whose rows are in groups, and the same.
            let (grouped, collector) = (i as u16 % n, (i as u16 * 2 + 1) % n);
            for (grouped, collector) in [(grouped, collector), (collector, collector), (n - 1, 0)] {
                let (lists, of_rows, expected) = drawn(n, grouped, 4, overlap, 20);
                few |= overlap == 300 && expected[0] == 0;
                let terms = RingTerms { groups: groups(grouped, 4), items_min: 20, ..ring_terms(n, collector) };
                let mut world = grouped_world(vec![terms; n.into()], lists, of_rows);
                world.run();
                for (seat, outcome) in world.outcomes().into_iter().enumerate() {
                    let expected = (seat == usize::from(collector)).then(|| expected.clone());
                    let got = outcome.unwrap_or_else(|e| panic!("{n} {grouped} {collector} {overlap} {seat}: {e}"));
                    assert_eq!(got, expected, "{n} {grouped} {collector} {overlap} {seat}");
                }
                assert_eq!(expected.iter().sum::<u64>(), overlap);
            }
        }
    }
    assert!(few, "no group was too small");
}

/// Three lists, the first in two groups and collected by the third.
fn three() -> (Vec<RingTerms>, Vec<Rows>, Vec<usize>) {
    let lists: Vec<Rows> = lists().into_iter().take(3).collect();
    let of_rows = (0..lists[0].len()).map(|i| i % 2).collect();
    (vec![RingTerms { groups: groups(0, 2), ..ring_terms(3, 2) }; 3], lists, of_rows)
}

#[test]
fn cheats_with_groups_are_blamed_before_anything_is_counted() {
    let cheat = |step: u32, from: u16, change: fn(&mut Vec<u8>)| {
        let (terms, lists, of_rows) = three();
        let mut world = grouped_world(terms, lists, of_rows);
        world.hook = Box::new(move |mut m| {
            if m.address.step.0 == (3 << 16) + step && m.address.from == Seat(from) {
                change(&mut m.body);
                m.total = m.body.len() as u64;
            }
            vec![m]
        });
        world.run();
        let outcomes = world.outcomes();
        assert!(outcomes[2].is_err(), "the collector has no result");
        // Who has sent less than arrives is credited too much: that is this test's doing.
        let blames = outcomes.into_iter().filter_map(|o| match o {
            Err(Abort::Misbehaved { blame, .. }) if blame.offence != Offence::Flow => {
                Some((blame.offender, blame.offence))
            }
            _ => None,
        });
        let blames: Vec<_> = blames.collect();
        assert!(blames.iter().all(|(who, _)| *who == tacit_protocol::Offender::Seat(Seat(from))), "{blames:?}");
        blames.first().map(|(_, offence)| *offence)
    };
    // The sizes of the groups, after two hashes and the size of the list: fewer, more, another sum, and a few keys in one.
    assert_eq!(cheat(0, 0, |b| b.truncate(80)), Some(Offence::Malformed));
    assert_eq!(cheat(0, 0, |b| b.extend([0; 8])), Some(Offence::Malformed));
    assert_eq!(cheat(0, 1, |b| b.extend([0; 8])), Some(Offence::Malformed));
    assert_eq!(cheat(0, 0, |b| b[72] ^= 1), Some(Offence::BadSize));
    assert_eq!(cheat(0, 0, |b| b[79] ^= 128), Some(Offence::BadSize));
    // The number of a group: one that there is not, and another than was announced.
    assert_eq!(cheat(1, 0, |b| b[32] = 2), Some(Offence::Malformed));
    assert_eq!(cheat(5, 0, |b| b.iter_mut().skip(32).step_by(33).for_each(|g| *g = 0)), Some(Offence::BadCount));
    // One key in both groups, the same again, none of the form, and out of order.
    assert_eq!(
        cheat(1, 0, |b| {
            b.copy_within(..32, 33);
            (b[32], b[65]) = (0, 1);
        }),
        Some(Offence::Duplicate)
    );
    assert_eq!(cheat(1, 0, |b| b.copy_within(..33, 33)), Some(Offence::Duplicate));
    assert_eq!(cheat(1, 0, |b| b[..32].fill(0)), Some(Offence::BadPoint));
    assert_eq!(cheat(1, 0, |b| b[..66].rotate_left(33)), Some(Offence::Unordered));
    assert_eq!(cheat(1, 0, |b| b.truncate(256 * 32)), Some(Offence::BadCount));
    // Who passes the list on moves keys from one group to the other; and who has its tags.
    assert_eq!(cheat(11, 1, |b| b.iter_mut().skip(32).step_by(33).for_each(|g| *g = 1)), Some(Offence::BadCount));
}

#[test]
fn whatever_is_changed_in_a_ring_nobody_counts_wrong() {
    let lists: Vec<Rows> = [1, 2, 3].iter().map(|m| rows((0..120).filter(|i| i % m == 0))).collect();
    let of_rows: Vec<usize> = (0..120).map(|i| i / 60).collect();
    for groups in [None, groups(0, 2)] {
        let terms = vec![RingTerms { groups, ..ring_terms(3, 2) }; 3];
        let world = || grouped_world(terms.clone(), lists.clone(), of_rows.clone());
        let mut plain = world();
        plain.run();
        let right = plain.outcomes().swap_remove(2).unwrap();
        assert_eq!(right, Some(if groups.is_some() { vec![10, 10] } else { vec![20] }));
        for (number, sent) in plain.sent.iter().enumerate() {
            let length = sent.body.len();
            for at in [0, 32, length / 2, length - 1] {
                let (mut world, mut seen) = (world(), 0);
                world.hook = Box::new(move |mut m| {
                    if seen == number {
                        m.body[at] ^= 1;
                    }
                    seen += 1;
                    vec![m]
                });
                world.run();
                let outcomes = world.outcomes();
                assert!(outcomes.iter().any(Result::is_err), "message {number}, byte {at}, was not missed");
                // What is changed on its way to another may leave the collector with its counts, which are right.
                let counts = outcomes.into_iter().nth(2).and_then(Result::ok);
                assert!(counts.is_none_or(|counts| counts == right), "message {number}, byte {at}");
            }
        }
    }
}

#[test]
fn a_group_of_few_keys_is_refused_before_a_key_of_another_has_left() {
    // 100 and 1,100 keys, where 101 are asked for.
    let (terms, lists, _) = three();
    let of_rows: Vec<usize> = (0..lists[0].len()).map(|i| usize::from(i >= 100)).collect();
    for (least, refused) in [(100, false), (101, true)] {
        let terms = terms.iter().cloned().map(|t| RingTerms { items_min: least, ..t }).collect();
        let mut world = grouped_world(terms, lists.clone(), of_rows.clone());
        // What the first says is of groups that it has not put together.
        let few: Vec<u8> = [100u64, 1100].iter().flat_map(|n| n.to_le_bytes()).collect();
        world.hook = Box::new(move |mut m| {
            if m.address.step.0 == 3 << 16 && m.address.from == Seat(0) {
                m.body.truncate(72);
                m.body.extend_from_slice(&few);
                m.total = m.body.len() as u64;
            }
            vec![m]
        });
        world.run();
        let points = |seat: u16| world.sent.iter().any(|m| m.address.from == Seat(seat) && m.address.step.0 > 3 << 16);
        assert_eq!((points(1), points(2)), (!refused, !refused), "{least}");
        for outcome in world.outcomes().into_iter().skip(1) {
            let found = matches!(&outcome, Err(Abort::Misbehaved { blame, .. }) if blame.offence == Offence::BadSize);
            assert_eq!(found, refused, "{least}: {outcome:?}");
        }
    }
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let code = |change: fn(&mut RingTerms)| {
        let (mut terms, lists, of_rows) = three();
        terms.iter_mut().for_each(change);
        let mut world = grouped_world(terms, lists, of_rows);
        world.run();
        let outcomes = world.outcomes();
        outcomes.into_iter().next().and_then(|o| match o {
            Err(Abort::Local(f)) => Some(f.code),
            _ => None,
        })
    };
    assert_eq!(code(|_| ()), None);
    assert_eq!(code(|t| t.groups = groups(0, RING_GROUPS_MAX)), None);
    assert_eq!(code(|t| t.groups = groups(0, RING_GROUPS_MAX + 1)), Some(Code::ArgsInvalid));
    assert_eq!(code(|t| t.groups = groups(0, 0)), Some(Code::ArgsInvalid));
    assert_eq!(code(|t| t.groups = groups(3, 2)), Some(Code::ArgsInvalid));
    assert_eq!(
        code(|t| t.groups = t.groups.map(|g| RingGroups { items_max: crate::terms::ITEMS_MAX + 1, ..g })),
        Some(Code::ArgsInvalid)
    );
    assert_eq!(code(|t| t.groups = t.groups.map(|g| RingGroups { items_max: 1199, ..g })), Some(Code::RefusedCohort));
    assert_eq!(code(|t| t.groups = t.groups.map(|g| RingGroups { items_max: 1200, ..g })), None);
}

#[test]
fn in_a_ring_who_is_not_read_holds_little() {
    const BATCHES: u64 = 64;
    let terms = ring_terms(3, 2);
    let items = BATCHES * 256;
    let opening = [&terms.hash().0[..], &schema().digest().0, &items.to_le_bytes()].concat();
    // The one before sends a whole list, and the one after consumes nothing.
    let (sends, body) = (terms.clone(), opening.clone());
    let before: Protocol<Counts> = Box::new(move |mut party| {
        Box::pin(async move {
            party.post(Seat(0), sends.step(0), body)?;
            for (k, batch) in cheats::elements(items).chunks(256).enumerate() {
                party.post(Seat(0), sends.step(1 + k as u64), batch.concat())?;
            }
            party.flush(Millis(STEP_MS)).await?;
            Ok(None)
        })
    });
    let (idles, honest) = (terms.clone(), terms);
    let after: Protocol<Counts> = Box::new(move |mut party| {
        Box::pin(async move {
            party.post(Seat(0), idles.step(0), opening)?;
            party.receive(Seat(2), idles.step(9), 1, Millis(2 * STEP_MS)).await.map(|_| None)
        })
    });
    let own: Protocol<Counts> = Box::new(move |mut party| {
        Box::pin(async move {
            let mut storage = InMemory::default();
            let keys = key_set(&mut storage, &schema(), &rows(0..items));
            let mut host = Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume: None };
            ring(&mut party, &honest, RingKeys::Plain(&keys), &mut host).await
        })
    });
    let mut protocols = vec![own, after, before];
    protocols.resize_with(cheats::MANY_SEATS, || Box::new(|_| Box::pin(async { Ok(None) })));
    let mut world = World::new(1, protocols, vec![disclosure()]);
    world.run();
    let consumed = world.consumed[&[0, 2]];
    let room = cheats::SMALL_WINDOW + (POSTED_MAX as u64 + 4) * 256 * 32;
    assert!(consumed > cheats::SMALL_WINDOW && consumed <= room, "{consumed} of {}", BATCHES * 256 * 32);
    let ended = world.outcomes().swap_remove(0);
    assert!(matches!(&ended, Err(Abort::Missing { seats, .. }) if *seats == [Seat(1)]), "{ended:?}");
}

/// A seat may hold so many steps that were not forgotten.
const STEPS: u64 = 4096;

#[test]
fn a_list_of_more_batches_than_steps_are_held_blames_nobody() {
    let terms = RingTerms { batch: 1, ..ring_terms(2, 1) };
    let count = STEPS + 100;
    let item = |k: u64| [&k.to_be_bytes()[..], &[0; 8]].concat();
    let sends = terms.clone();
    let sender: Protocol<u64> = Box::new(move |mut party| {
        Box::pin(async move {
            for k in 0..count {
                party.post(Seat(1), sends.step(k), item(k))?;
            }
            party.flush(Millis(STEP_MS)).await?;
            Ok(0)
        })
    });
    let receiver: Protocol<u64> = Box::new(move |mut party| {
        Box::pin(async move {
            let mut incoming = Incoming::new(Seat(0), count, 16, &[]);
            let mut came = 0;
            for k in 0..count {
                came += u64::from(incoming.next(&mut party, &terms, k, k, Millis(STEP_MS)).await? == Some(item(k)));
            }
            Ok(came)
        })
    });
    let mut world = World::new(1, vec![sender, receiver], vec![]);
    world.run();
    assert_eq!(world.outcomes(), [Ok(0), Ok(count)]);
}
