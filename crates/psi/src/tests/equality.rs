//! Every level gives what a plain join of the normalised keys gives, and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The rows of each key, as a plain join would group them.
fn groups(rows: &Rows) -> BTreeMap<String, Vec<u64>> {
    let mut out: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let form = row.as_deref().map(|r| {
            use unicode_normalization::UnicodeNormalization;
            let r: String = r.nfkc().collect();
            caseless::default_case_fold_str(r.trim()).nfkc().collect::<String>()
        });
        if let Some(form) = form.filter(|f| !f.is_empty()) {
            out.entry(form).or_default().push(i as u64);
        }
    }
    out
}

/// Pairs of rows, in order.
fn plain_join(left: &Rows, right: &Rows) -> Vec<(u64, u64)> {
    let (left, right) = (groups(left), groups(right));
    let mut pairs = Vec::new();
    for (key, rows) in &left {
        for a in rows {
            pairs.extend(right.get(key).into_iter().flatten().map(|b| (*a, *b)));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Pairs of rows of two aligned lists of groups.
fn pairs(left: &[Vec<u64>], right: &[Vec<u64>]) -> Vec<(u64, u64)> {
    assert_eq!(left.len(), right.len(), "the order is the same on both sides");
    let all = left.iter().zip(right).flat_map(|(l, r)| l.iter().flat_map(|a| r.iter().map(|b| (*a, *b))));
    let mut all: Vec<(u64, u64)> = all.collect();
    all.sort_unstable();
    all
}

fn sorted(mut groups: Vec<Vec<u64>>) -> Vec<Vec<u64>> {
    groups.sort();
    groups
}

/// Checks one run at every level.
fn check(sender: &Rows, receiver: &Rows) {
    let (s, r) = (groups(sender), groups(receiver));
    let matches = s.keys().filter(|k| r.contains_key(*k)).count() as u64;
    let of = |own: &BTreeMap<String, Vec<u64>>, other: &BTreeMap<String, Vec<u64>>, both: bool| {
        let wanted = own.iter().filter(|(k, _)| other.contains_key(*k) == both);
        sorted(wanted.map(|(_, rows)| rows.clone()).collect())
    };
    for (level, mode) in all() {
        let [at_sender, at_receiver] = honest(&terms(level, mode), sender, receiver);
        match (level, at_sender, at_receiver) {
            (Level::Receiver, Got::Nothing, Got::Set { matched, alone, peer_alone }) => {
                assert_eq!(sorted(matched), of(&r, &s, true), "{mode:?}");
                assert_eq!(sorted(alone), of(&r, &s, false), "{mode:?}");
                assert_eq!(peer_alone, s.len() as u64 - matches);
            }
            (Level::Both, Got::Set { matched: a, alone, peer_alone }, Got::Set { matched: b, alone: d, .. }) => {
                assert_eq!(pairs(&a, &b), plain_join(sender, receiver), "{mode:?}");
                assert_eq!(sorted(alone), of(&s, &r, false));
                assert_eq!(sorted(d), of(&r, &s, false));
                assert_eq!(peer_alone, r.len() as u64 - matches);
            }
            (Level::Cardinality { both }, at_sender, Got::Count(count)) => {
                assert_eq!(count, matches);
                assert_eq!(at_sender, if both { Got::Count(matches) } else { Got::Nothing });
            }
            (Level::Spine, Got::Spine { ids: a, matches: m }, Got::Spine { ids: b, matches: n }) => {
                assert_eq!((m, n), (matches, matches));
                assert_eq!(a.len(), s.len() + r.len() - matches as usize);
                let rows = |ids: &[([u8; 16], Vec<u64>)]| ids.iter().map(|i| i.1.clone()).collect::<Vec<_>>();
                let names = |ids: &[([u8; 16], Vec<u64>)]| ids.iter().map(|i| i.0).collect::<Vec<_>>();
                assert_eq!(names(&a), names(&b));
                assert_eq!(pairs(&rows(&a), &rows(&b)), plain_join(sender, receiver));
            }
            (level, a, b) => panic!("{level:?}: {a:?} {b:?}"),
        }
    }
}

#[test]
fn overlaps_of_none_one_half_and_all() {
    for (n, m, offset) in [(600, 500, 600), (600, 500, 599), (600, 600, 300), (600, 600, 0), (1, 1, 0), (1, 1, 1)] {
        check(&rows(0..n), &rows(offset..offset + m));
    }
}

#[test]
fn lists_of_very_different_length() {
    check(&rows(0..3), &rows(2..1400));
    check(&rows(2..1400), &rows(0..3));
}

#[test]
fn empty_lists_match_nothing() {
    check(&rows(0..0), &rows(0..0));
    check(&rows(0..0), &rows(0..300));
    check(&rows(0..300), &rows(0..0));
    check(&vec![None, Some(String::new()), Some(" ".into())], &vec![None, Some("\u{3000}".into())]);
}

#[test]
fn duplicates_absent_values_and_spellings() {
    let text = |t: &str| Some(t.to_owned());
    let left = vec![
        text("Ann"),
        None,
        text(" ann"),
        text("STRASSE"),
        text("ｂｏｂ"),
        text(""),
        text("only left"),
        text("Σας"),
    ];
    let right = vec![
        text("ANN"),
        text("straße"),
        text("Bob "),
        text("bob"),
        None,
        text("ann"),
        text("only right"),
        text("ΣΑΣ"),
    ];
    check(&left, &right);
    assert_eq!(plain_join(&left, &right).len(), 2 * 2 + 1 + 2 + 1);
    let many = |n: u64, k: u64| rows((0..n).map(|i| i % k));
    check(&many(900, 300), &many(700, 350));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(8))]
    #[test]
    fn random_lists(
        left in proptest::collection::vec(proptest::option::of("[a-eA-E ]{0,3}"), 0..400),
        right in proptest::collection::vec(proptest::option::of("[a-eA-E ]{0,3}"), 0..400),
    ) {
        check(&left, &right);
    }
}

/// The rows of a join of that name of rows that have a key: the receiver's row and the sender's.
fn joined(view: View, receiver: &Rows, sender: &Rows) -> Vec<(Option<u64>, Option<u64>)> {
    let (left, right) = (groups(receiver), groups(sender));
    let mut out = Vec::new();
    for (key, rows) in &left {
        match right.get(key) {
            Some(others) if view != View::Anti => {
                out.extend(rows.iter().flat_map(|a| others.iter().map(|b| (Some(*a), Some(*b)))));
            }
            None if matches!(view, View::Left | View::Full | View::Anti) => {
                out.extend(rows.iter().map(|a| (Some(*a), None)))
            }
            _ => {}
        }
    }
    if matches!(view, View::Right | View::Full) {
        let alone = right.iter().filter(|(key, _)| !left.contains_key(*key));
        out.extend(alone.flat_map(|(_, rows)| rows.iter().map(|b| (None, Some(*b)))));
    }
    out.sort_unstable();
    out
}

/// The places of a view at either party; nothing at one that does not learn.
fn places(terms: &Terms, view: View, sender: &Rows, receiver: &Rows) -> [Vec<Place>; 2] {
    let act = |rows: Rows, terms: Terms| -> Protocol<Vec<Place>> {
        Box::new(move |mut party| {
            Box::pin(async move {
                let mut storage = InMemory::default();
                let keys = key_set(&mut storage, &schema(), &rows);
                let mut host = Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume: None };
                let mut seen = Vec::new();
                if let Outcome::Set(set) = intersect(&mut party, &terms, &keys, &mut host).await? {
                    set.view(host.storage, view, &mut |place| {
                        seen.push(place);
                        Ok(())
                    })?;
                }
                Ok(seen)
            })
        })
    };
    let protocols = vec![act(sender.clone(), terms.clone()), act(receiver.clone(), terms.clone())];
    let mut world = World::new(1, protocols, vec![disclosure()]);
    world.run();
    let places: Vec<Vec<Place>> = world.outcomes().into_iter().map(|o| o.unwrap_or_else(|e| panic!("{e}"))).collect();
    places.try_into().unwrap()
}

#[test]
fn every_view_in_every_mode_is_the_join_of_that_name() {
    // Keys in up to three rows on one side and up to four on the other, keys of one side alone, and rows without a key.
    let list = |keys: core::ops::Range<u64>, most: u64| -> Rows {
        let rows = keys.flat_map(|k| vec![Some(k.to_string()); 1 + (k % most) as usize]);
        rows.chain([None, Some(" ".into())]).collect()
    };
    let (sender, receiver) = (list(0..60, 3), list(40..130, 4));
    let sets = all().into_iter().filter(|(level, _)| matches!(level, Level::Receiver | Level::Both));
    assert_eq!(sets.clone().count(), 4);
    for (level, mode) in sets {
        for view in [View::Inner, View::Left, View::Right, View::Full, View::Anti] {
            let expected = joined(view, &receiver, &sender);
            let [at_sender, at_receiver] = places(&terms(level, mode), view, &sender, &receiver);
            if level == Level::Both {
                assert_eq!(at_sender.len(), at_receiver.len(), "{mode:?} {view:?}");
                let mut got = Vec::new();
                for pair in at_receiver.iter().zip(&at_sender) {
                    match pair {
                        (Place::Both(a), Place::Both(b)) => {
                            got.extend(a.iter().flat_map(|a| b.iter().map(|b| (Some(*a), Some(*b)))));
                        }
                        (Place::Own(a), Place::Peer) => got.extend(a.iter().map(|a| (Some(*a), None))),
                        (Place::Peer, Place::Own(b)) => got.extend(b.iter().map(|b| (None, Some(*b)))),
                        other => panic!("{mode:?} {view:?}: {other:?}"),
                    }
                }
                got.sort_unstable();
                assert_eq!(got, expected, "{mode:?} {view:?}");
                continue;
            }
            assert!(at_sender.is_empty(), "who does not learn sees no view");
            let (mut both, mut own, mut peers) = (Vec::new(), Vec::new(), 0);
            for place in at_receiver {
                match place {
                    Place::Both(rows) => both.extend(rows),
                    Place::Own(rows) => own.extend(rows),
                    Place::Peer => peers += 1,
                }
            }
            both.sort_unstable();
            own.sort_unstable();
            let mut of_both: Vec<u64> = expected.iter().filter(|(_, b)| b.is_some()).filter_map(|(a, _)| *a).collect();
            of_both.dedup();
            let alone: Vec<u64> = expected.iter().filter(|(_, b)| b.is_none()).filter_map(|(a, _)| *a).collect();
            let keys: BTreeSet<&String> = expected
                .iter()
                .filter(|(a, _)| a.is_none())
                .filter_map(|(_, b)| sender[b.unwrap() as usize].as_ref())
                .collect();
            assert_eq!((both, own, peers), (of_both, alone, keys.len()), "{mode:?} {view:?}");
        }
    }
}

#[test]
fn the_views_of_an_alignment() {
    let terms = terms(Level::Both, Mode::Oprf);
    let run = |view: View| {
        let act = move |rows: Rows, terms: Terms| -> Protocol<Vec<char>> {
            Box::new(move |mut party| {
                Box::pin(async move {
                    let mut storage = InMemory::default();
                    let keys = key_set(&mut storage, &schema(), &rows);
                    let mut host =
                        Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume: None };
                    let Outcome::Set(set) = intersect(&mut party, &terms, &keys, &mut host).await? else {
                        panic!("a set")
                    };
                    let mut seen = Vec::new();
                    set.view(host.storage, view, &mut |place| {
                        seen.push(match place {
                            Place::Both(_) => '=',
                            Place::Own(_) => 'o',
                            Place::Peer => 'p',
                        });
                        Ok(())
                    })?;
                    Ok(seen)
                })
            })
        };
        let protocols = vec![act(rows(0..5), terms.clone()), act(rows(3..6), terms.clone())];
        let mut world = World::new(1, protocols, vec![disclosure()]);
        world.run();
        let texts: Vec<String> = world.outcomes().into_iter().map(|o| o.unwrap().into_iter().collect()).collect();
        texts
    };
    // The sender, in seat 0, has 0 to 4, the receiver 3 to 5.
    assert_eq!(run(View::Inner), ["==", "=="]);
    assert_eq!(run(View::Left), ["==p", "==o"]);
    assert_eq!(run(View::Right), ["==ooo", "==ppp"]);
    assert_eq!(run(View::Full), ["==pooo", "==oppp"]);
    assert_eq!(run(View::Anti), ["p", "o"]);
}
