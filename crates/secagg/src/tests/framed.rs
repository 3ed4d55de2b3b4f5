//! What one seat does must not be blamed on another, nor fill the aggregator's memory.

use tacit_protocol::{Offence, Offender};
use tacit_types::wire;

use super::cheats::{CHEAT, N, assert_sum_without, edit, one_round, params, run, setup_step, survived};
use super::*;
use crate::messages::{Book, Deal, Dealt, Root};
use crate::plan::setup_phase;
use crate::signed::Signed;

#[test]
fn two_books_make_nobody_blame_an_honest_dealer() {
    // The aggregator shows the higher seats a book without seat 3: their transcript is another.
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.log = true;
    world.hook = Box::new(|mut m| {
        if m.address.step == setup_step(setup_phase::BOOK) && m.address.to.0 > 3 {
            let mut book: Book = wire::decode(&m.body).unwrap();
            book.entries.retain(|e| e.seat != CHEAT);
            m.body = wire::encode(&book);
            m.total = m.body.len() as u64;
        }
        vec![m]
    });
    world.run();
    let complaints = |m: &Message| {
        let signed = Signed::read(&m.body)?;
        Some(signed.open::<Dealt>()?.complaints)
    };
    let dealt = world.sent.iter().filter(|m| m.address.step == setup_step(setup_phase::DEALT));
    let said: Vec<(Seat, bool)> = dealt.filter_map(complaints).flatten().collect();
    assert!(!said.is_empty() && said.iter().all(|(_, bad)| !bad), "{said:?}");
    let outcomes = world.outcomes();
    assert!(outcomes.values().all(Result::is_err));
}

#[test]
fn an_accept_that_is_none_is_its_senders_fault_and_not_the_aggregators() {
    let outcomes = run(CHEAT, setup_step(setup_phase::ACCEPT), |mut m| {
        let signed = Signed::read(&m.body).unwrap();
        m.body = Signed::with_key(&keys(N)[CHEAT.index()], CHEAT, &signed, &7u8).bytes();
        m.total = m.body.len() as u64;
        vec![m]
    });
    assert_sum_without(&outcomes, &[CHEAT]);
    let blame = &survived(&outcomes)[0];
    assert_eq!((blame.offender, blame.offence), (Offender::Seat(CHEAT), Offence::Malformed));
}

#[test]
fn a_seat_complains_of_each_neighbour_once() {
    // Each complaint is kept with everything that was said: many would fill the aggregator's memory.
    let complaining = |times: usize, and_roots: bool| {
        run(Seat(2), setup_step(setup_phase::DEALT), move |m| {
            vec![edit(m, |dealt: &mut Dealt| {
                dealt.complaints = vec![(CHEAT, true); times];
                dealt.roots.truncate(if and_roots { usize::MAX } else { 0 });
            })]
        })
    };
    let most = usize::from(N);
    let outcomes = complaining(most, true);
    assert_sum_without(&outcomes, &[]);
    assert_eq!(survived(&outcomes).len(), most);
    let outcomes = complaining(most + 1, false);
    assert_sum_without(&outcomes, &[Seat(2)]);
    let blames = survived(&outcomes);
    let [blame] = &blames[..] else { panic!("{} blames", blames.len()) };
    assert_eq!((blame.offender, blame.offence), (Offender::Seat(Seat(2)), Offence::Malformed));
}

#[test]
fn a_root_that_names_another_bundle_is_no_deal() {
    // With it, shares of another secret than the signed one would convict nobody.
    let outcomes = run(CHEAT, setup_step(setup_phase::DEAL), |mut m| {
        let mut deal: Deal = wire::decode(&m.body).unwrap();
        let body: Root = deal.root.open().unwrap();
        let body = Root { bundle: Hash([3; 32]), ..body };
        deal.root = Signed::with_key(&keys(N)[CHEAT.index()], CHEAT, &deal.root, &body);
        m.body = wire::encode(&deal);
        vec![m]
    });
    assert_sum_without(&outcomes, &[CHEAT]);
    let blames = survived(&outcomes);
    assert!(blames.iter().any(|b| (b.offender, b.offence) == (Offender::Seat(CHEAT), Offence::BadDeal)));
}
