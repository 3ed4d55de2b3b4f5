//! Three and more parties.

use std::collections::BTreeSet;

use tacit_protocol::Offence;
use tacit_types::Code;

use super::*;
use crate::ring::{RingTerms, ring};
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
        batch: 256,
        step_base: 3,
        step_ms: STEP_MS,
    }
}

fn ring_world(terms: Vec<RingTerms>, lists: Vec<Rows>) -> World<'static, Option<u64>> {
    let protocols = lists.into_iter().zip(terms).map(|(rows, terms)| -> Protocol<Option<u64>> {
        Box::new(move |mut party| {
            Box::pin(async move {
                let mut storage = InMemory::default();
                let keys = key_set(&mut storage, &schema(), &rows);
                let mut host = Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume: None };
                ring(&mut party, &terms, &keys, &mut host).await
            })
        })
    });
    World::new(1, protocols.collect(), vec![disclosure()])
}

#[test]
fn the_collector_of_a_ring_learns_how_many_all_have() {
    for n in 2..=4u16 {
        for collector in 0..n {
            let lists: Vec<Rows> = lists().into_iter().take(n.into()).collect();
            let mut world = ring_world(vec![ring_terms(n, collector); n.into()], lists);
            world.run();
            let expected = 1200 / [2, 6, 30][usize::from(n) - 2];
            for (seat, outcome) in world.outcomes().into_iter().enumerate() {
                let expected = (seat == usize::from(collector)).then_some(expected);
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
