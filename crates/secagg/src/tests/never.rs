//! Certificates that a failed round can never be opened, on complete and drawn graphs, and the rerun
//! that they allow.

use super::*;
use crate::graph::Topology;
use crate::never::{Burden, certificate_seats, is_certificate};
use crate::params::Graph;
use crate::plan::round_phase;
use crate::signed::Signed;
use crate::tails;

/// What a seat keeps of a failed round.
type Kept = (Signed, Burden, Vec<bool>);

/// Runs one round and promises afterwards.
fn promising(plan: &Plan) -> impl Fn(Seat) -> Protocol<Kept> + use<> {
    let plan = plan.clone();
    move |seat| {
        let plan = plan.clone();
        Box::new(move |mut party| {
            let plan = plan.clone();
            Box::pin(async move {
                let mut epoch = setup(&mut party, &plan).await?;
                assert_eq!(epoch.burden(0), None, "nothing of a round that was not entered has left");
                let round = round(0, Width::W64, 4);
                let done = aggregate(&mut party, &mut epoch, &round, input(seat, Width::W64, 4)).await;
                assert!(done.is_err());
                let promise = epoch.promise_never_to_open(&mut party, 0).await?;
                let burden = epoch.burden(0).unwrap();
                let held = epoch.held.values().map(|h| h.shares[0].is_some()).collect();
                Ok((promise, burden, held))
            })
        })
    }
}

/// All seats' promises of a round whose aggregator was lost after the vectors were in.
fn lose_the_aggregator(plan: &Plan) -> BTreeMap<Seat, Kept> {
    let mut world = World::custom(plan.params.seats(), promising(plan));
    world.kills = BTreeMap::from([(plan.aggregator, Step::new(BASE + 1, round_phase::SURVIVORS))]);
    world.run();
    world.outcomes().into_iter().map(|(seat, done)| (seat, done.unwrap_or_else(|e| panic!("{seat}: {e}")))).collect()
}

#[test]
fn enough_promises_leave_too_few_openers_whoever_lies() {
    for n in 3..=128u16 {
        let p = Params::new(n).unwrap();
        let liars_and_rest = n - certificate_seats(&p) + p.corrupt();
        assert_eq!(liars_and_rest, p.threshold() - 1, "{n}: one promise fewer would leave t");
    }
    for (n, c, d) in [(129, 6, 6), (300, 15, 15), (1000, 50, 50), (1000, 100, 100)] {
        let p = Params::sparse(n, c, d).unwrap();
        let Graph::Harary { degree } = p.graph() else { unreachable!() };
        let (holders, t) = (degree + 1, p.threshold());
        // The most colluders that the first bound leaves in a neighbourhood.
        let most = 2 * t - holders - 1;
        assert!(tails::is_safe(n, c, d, degree, t) && 2 * t > holders + most);
        assert_eq!(holders - certificate_seats(&p) + most, t - 1, "{n}");
        // As many drop-outs as the round survives leave enough to promise, too.
        assert!(certificate_seats(&p) <= degree);
    }
}

#[test]
fn a_promise_erases_every_share_of_the_round() {
    let kept = lose_the_aggregator(&plan(Params::new(5).unwrap(), 1));
    assert_eq!(kept.len(), 4);
    assert!(kept.values().all(|(_, _, held)| held.len() == 5 && held.iter().all(|h| !h)));
}

#[test]
fn on_a_drawn_graph_each_neighbourhood_must_have_promised() {
    let params = Params::sparse(160, 2, 4).unwrap();
    let plan = plan(params, 1);
    let kept = lose_the_aggregator(&plan);
    let promises: BTreeMap<Seat, Signed> = kept.iter().map(|(s, k)| (*s, k.0.clone())).collect();
    let burden = kept[&Seat(1)].1.clone();
    let seating = seating(160);
    let met =
        |promises: &BTreeMap<Seat, Signed>| burden.is_met(&seating, &promises.values().cloned().collect::<Vec<_>>());
    assert!(kept.values().all(|(_, b, _)| *b == burden), "everyone asks for the same");
    assert!(met(&promises));
    assert!(!is_certificate(&seating, &params, &burden.transcript(), &promises.values().cloned().collect::<Vec<_>>()));

    // One neighbourhood short of one promise, although nearly everyone else has promised.
    let t1 = kept_t1(&plan);
    let topology = Topology::draw(params.graph(), &t1, (0..160).map(Seat).collect());
    let victim = Seat(77);
    let holders: Vec<Seat> = topology.holders(victim).into_iter().filter(|s| promises.contains_key(s)).collect();
    let need = usize::from(certificate_seats(&params));
    let mut enough = promises.clone();
    holders.iter().skip(need).for_each(|s| drop(enough.remove(s)));
    let others_are_met = burden_without(&burden, &topology, victim).is_met(&seating, &values(&enough));
    let mut short = enough.clone();
    short.remove(&holders[0]);
    assert!(short.len() > 100 && !met(&short));
    assert_eq!(met(&enough), others_are_met);

    let one = promises.values().next().unwrap().clone();
    let doubled: Vec<Signed> = vec![one; 160];
    assert!(!burden.is_met(&seating, &doubled), "one seat counts once");
    let forged: Vec<Signed> = values(&promises)
        .into_iter()
        .map(|mut p| {
            p.signature.0[7] ^= 1;
            p
        })
        .collect();
    assert!(!burden.is_met(&seating, &forged));
    let elsewhere: Vec<Signed> = values(&promises).into_iter().map(|p| Signed { scope: Hash([9; 32]), ..p }).collect();
    assert!(!burden.is_met(&seating, &elsewhere), "of another round");
}

fn values(promises: &BTreeMap<Seat, Signed>) -> Vec<Signed> {
    promises.values().cloned().collect()
}

/// The same round's burden without one dealer's neighbourhood.
fn burden_without(burden: &Burden, topology: &Topology, dealer: Seat) -> Burden {
    let holders: BTreeSet<Seat> = topology.holders(dealer).into_iter().collect();
    let mut burden = burden.clone();
    burden.groups.retain(|group| *group != holders);
    assert_eq!(burden.groups.len(), 159);
    burden
}

/// T1 of an honest set-up of this plan, which the seeds fix.
fn kept_t1(plan: &Plan) -> Hash {
    let plan = plan.clone();
    let n = plan.params.seats();
    let mut world = World::custom(n, move |_| -> Protocol<Hash> {
        let plan = plan.clone();
        Box::new(move |mut party| {
            let plan = plan.clone();
            Box::pin(async move { Ok(setup(&mut party, &plan).await?.transcript()) })
        })
    });
    world.run();
    world.outcomes().remove(&Seat(1)).unwrap().unwrap()
}

#[test]
fn a_round_that_its_seat_opened_gives_no_promise_and_its_certificate_cannot_be_had() {
    let plan = plan(Params::new(4).unwrap(), 1);
    let mut world = World::custom(4, move |seat| -> Protocol<(bool, Burden)> {
        let plan = plan.clone();
        Box::new(move |mut party| {
            let plan = plan.clone();
            Box::pin(async move {
                let mut epoch = setup(&mut party, &plan).await?;
                let round = round(0, Width::W64, 4);
                let _ = aggregate(&mut party, &mut epoch, &round, input(seat, Width::W64, 4)).await;
                let promised = epoch.promise_never_to_open(&mut party, 0).await.is_ok();
                Ok((promised, epoch.burden(0).unwrap()))
            })
        })
    });
    // The aggregator vanishes once it has the openings: the others must take the sum for opened.
    world.kills = BTreeMap::from([(Seat(0), Step::new(BASE + 1, round_phase::RESULT))]);
    world.run();
    for (seat, done) in world.outcomes() {
        let (promised, burden) = done.unwrap();
        assert!(!promised, "{seat}");
        assert!(!burden.is_met(&seating(4), &[]));
    }
}

#[test]
fn after_a_certificate_the_rest_run_again_under_the_same_bound_on_colluders() {
    // Four seats: the last is lost for good after the vectors are in, and the votes are lost, too, so
    // nobody opens. Three promise; the sum over the three is opened in a new epoch.
    let first = plan(Params::new(4).unwrap(), 1);
    let mut world = World::custom(4, promising(&first));
    let vote = Step::new(BASE + 1, round_phase::VOTE);
    world.kills = BTreeMap::from([(Seat(3), vote)]);
    world.hook = Box::new(move |m| if m.address.step == vote { vec![] } else { vec![m] });
    world.log = true;
    world.run();
    let opened = world.sent.iter().any(|m| m.address.step == Step::new(BASE + 1, round_phase::UNMASK));
    let kept: BTreeMap<Seat, Kept> = world.outcomes().into_iter().map(|(s, d)| (s, d.unwrap())).collect();
    let promises: Vec<Signed> = kept.values().map(|k| k.0.clone()).collect();
    assert!(!opened && kept.len() == 3);
    assert!(kept.values().all(|(_, burden, _)| burden.is_met(&seating(4), &promises)));
    assert!(!kept[&Seat(1)].1.is_met(&seating(4), &promises[..2]), "n - t + 1 + c is three of four");

    let again = Plan { context: Hash([8; 32]), ..plan(Params::complete(3, first.params.corrupt()).unwrap(), 1) };
    let rest: Vec<Seat> = (0..3).map(Seat).collect();
    for (_, done) in run_all(&again, vec![round(0, Width::W64, 4)]) {
        assert_eq!(done.unwrap().0[0].sum, Some(plain_sum(&rest, Width::W64, 4)));
    }
    assert!(Params::complete(2, 1).is_err(), "of three, none can be left out");
}
