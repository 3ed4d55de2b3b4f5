use tacit_types::wire;

use super::*;
use crate::graph::Topology;
use crate::messages::{Book, Bundle, Terms};
use crate::plan::{round_phase, setup_phase};
use crate::signed::Signed;

/// Runs a drawn graph with some seats killed in the masked step.
fn check(params: Params, lost: u16) {
    let n = params.seats();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W32, 16)]));
    world.kills = (0..lost).map(|i| (Seat(n - 1 - 3 * i), Step::new(BASE + 1, 2))).collect();
    world.run();
    assert_eq!(world.dead.len(), usize::from(lost));
    let mut survivors: Option<Vec<Seat>> = None;
    for (seat, done) in world.outcomes() {
        let outcome = done.unwrap_or_else(|e| panic!("{seat}: {e}")).0.remove(0);
        let survivors = survivors.get_or_insert(outcome.survivors.clone());
        assert_eq!(*survivors, outcome.survivors);
        assert_eq!(survivors.len(), usize::from(n - lost));
        assert_eq!(outcome.sum, Some(plain_sum(survivors, Width::W32, 16)), "{seat}");
    }
}

#[test]
fn a_drawn_graph_sums_with_and_without_drop_outs() {
    let params = Params::sparse(200, 4, 4).unwrap();
    assert!(matches!(params.graph(), crate::Graph::Harary { degree } if degree < 60), "{params:?}");
    check(params, 0);
    check(params, 4);
}

#[test]
fn a_thousand_seats_sum() {
    check(Params::sparse(1000, 0, 10).unwrap(), 10);
}

#[test]
fn a_seat_whose_neighbours_are_left_out_does_not_send_its_vector() {
    let params = Params::sparse(160, 1, 30).unwrap();
    let crate::Graph::Harary { degree } = params.graph() else { panic!("{params:?}") };
    let removed = usize::from(degree + 2 - params.threshold());
    assert!(removed <= 30, "so many may be left out without going below U_min: {params:?}");
    let plan = plan(params, 1);
    let (target, hub) = (Seat(7), plan.aggregator);
    let mut world = World::new(&plan, &script(vec![round(0, Width::W32, 16)]));
    world.log = true;
    let (t0, keys) = (crate::keys::t0(&plan, &seating(160)), keys(160));
    let mut near = Vec::new();
    world.hook = Box::new(move |mut m| {
        if m.address.to == target && m.address.step == Step::new(BASE, setup_phase::BOOK) {
            // 160 seats: the book is longer than one chunk of 32 KiB, so it is read from its first.
            near.push(m.body.clone());
        }
        if m.address.to == target && m.address.step == Step::new(BASE + 1, round_phase::START) {
            let book: Book = wire::decode(&near.concat()).unwrap();
            let roll = book.bundles[0].open::<Bundle>().unwrap().roll;
            let t1 = crate::keys::t1(&t0, &roll, &book.entries);
            let seats = book.entries.iter().map(|e| e.seat).collect();
            let neighbours = Topology::draw(params.graph(), &t1, seats).neighbours(target);
            let left_out: Vec<Seat> = neighbours.into_iter().filter(|s| *s != hub).take(removed).collect();
            let signed = Signed::read(&m.body).unwrap();
            let mut terms: Terms = signed.open().unwrap();
            terms.participants.retain(|s| !left_out.contains(s));
            m.body = Signed::with_key(&keys[hub.index()], hub, &signed, &terms).bytes();
            m.total = m.body.len() as u64;
        }
        vec![m]
    });
    world.run();
    let mut outcomes = world.outcomes();
    let need = params.threshold();
    match outcomes.remove(&target).unwrap() {
        Err(Abort::Quorum { have, need: n, .. }) => assert_eq!((have, n), (need - 1, need)),
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert!(world.sent.iter().all(|m| m.address.from != target || m.address.step.round() == BASE));
}
