use super::*;
use crate::PHASES;

/// All places between two steps.
fn steps() -> Vec<Step> {
    PHASES.iter().map(|p| Step::new(if p.setup { BASE } else { BASE + 1 }, p.number)).collect()
}

/// Kills the last `lost` seats when they begin `step`, and gives the outcomes of the rest.
fn lose(params: Params, lost: u16, step: Step, tell: bool) -> (Vec<Seat>, BTreeMap<Seat, Done>) {
    let n = params.seats();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W64, 20)]));
    world.tell = tell;
    world.kills = (n - lost..n).map(|s| (Seat(s), step)).collect();
    world.run();
    let dead = world.dead.iter().copied().collect();
    (dead, world.outcomes())
}

#[test]
fn up_to_n_minus_t_seats_lost_between_any_two_steps_leave_the_sum_of_the_survivors() {
    for (n, tell) in [(4, true), (7, true), (7, false), (10, true)] {
        let params = Params::new(n).unwrap();
        for step in steps() {
            for lost in 1..=n - params.threshold() {
                let (dead, outcomes) = lose(params, lost, step, tell);
                let mut seen = None;
                for (seat, done) in outcomes {
                    let outcome =
                        done.unwrap_or_else(|e| panic!("n {n} lost {lost} {step} tell {tell} {seat}: {e}")).0.remove(0);
                    assert_eq!(outcome.sum, Some(plain_sum(&outcome.survivors, Width::W64, 20)), "{n} {lost} {step}");
                    let living = (0..n).map(Seat).filter(|s| !dead.contains(s));
                    assert!(living.into_iter().all(|s| outcome.survivors.contains(&s)));
                    assert_eq!(*seen.get_or_insert(outcome.survivors.clone()), outcome.survivors);
                }
            }
        }
    }
}

#[test]
fn one_seat_more_than_that_stops_the_round_unless_it_was_over_for_them() {
    let params = Params::new(7).unwrap();
    let lost = 7 - params.threshold() + 1;
    for step in steps() {
        let (dead, outcomes) = lose(params, lost, step, true);
        if dead.is_empty() {
            // Only the aggregator has something to do in this step.
            continue;
        }
        for (seat, done) in outcomes {
            match done {
                Ok((outcomes, _)) => {
                    assert!(step > Step::new(BASE + 1, 7), "{step}: {seat} has a sum");
                    assert_eq!(outcomes[0].sum, Some(plain_sum(&outcomes[0].survivors, Width::W64, 20)));
                }
                Err(Abort::Quorum { .. }) => {}
                Err(Abort::Missing { seats, .. }) => assert_eq!(seats, [Seat(0)], "{step}"),
                Err(other) => panic!("{step} {seat}: {other}"),
            }
        }
    }
}

#[test]
fn without_the_aggregator_nobody_gets_anything_and_nobody_hangs() {
    for step in steps() {
        let mut world = World::new(&plan(Params::new(4).unwrap(), 1), &script(vec![round(0, Width::W64, 20)]));
        world.kills = BTreeMap::from([(Seat(0), step)]);
        world.run();
        if world.dead.is_empty() {
            continue;
        }
        for (seat, done) in world.outcomes() {
            match done {
                Err(Abort::Missing { seats, .. }) => assert_eq!(seats, [Seat(0)], "{step} {seat}"),
                other => panic!("{step} {seat}: {:?}", other.map(|_| ())),
            }
        }
    }
}

#[test]
fn half_a_vector_of_a_lost_seat_is_not_in_the_sum() {
    // Seat 3's vector is three chunks long and its second is the last that arrives.
    let len = 700_000;
    let params = Params::new(4).unwrap();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W32, len)]));
    world.tell = false;
    let masked = Step::new(BASE + 1, 2);
    world.hook = Box::new(move |m| {
        let cut = m.address.step == masked && m.address.from == Seat(3) && m.address.sequence == 2;
        if cut { vec![] } else { vec![m] }
    });
    world.run();
    let three: Vec<Seat> = (0..3).map(Seat).collect();
    for (seat, done) in world.outcomes() {
        match done {
            Ok((outcomes, _)) => {
                assert_eq!(outcomes[0].survivors, three);
                assert_eq!(outcomes[0].sum, Some(plain_sum(&three, Width::W32, len)));
            }
            Err(Abort::Missing { seats, .. }) => assert_eq!((seat, seats), (Seat(3), vec![Seat(3)])),
            Err(other) => panic!("{seat}: {other}"),
        }
    }
}

#[test]
fn a_seat_lost_in_one_round_is_left_out_of_the_next() {
    let params = Params::new(5).unwrap();
    let rounds = vec![round(0, Width::W64, 20), round(1, Width::W64, 20)];
    let mut world = World::new(&plan(params, 2), &script(rounds));
    world.kills = BTreeMap::from([(Seat(4), Step::new(BASE + 1, 2))]);
    world.run();
    let four: Vec<Seat> = (0..4).map(Seat).collect();
    for (_, done) in world.outcomes() {
        for outcome in done.unwrap().0 {
            assert_eq!(outcome.survivors, four);
            assert_eq!(outcome.sum, Some(plain_sum(&four, Width::W64, 20)));
        }
    }
}

#[test]
fn stalled_senders_lose_their_turn_and_the_others_are_served() {
    // 22 MB each: two vectors may be on their way at once, and seats 1 and 2 stall with theirs.
    let len = 1_400_000;
    let params = Params::new(7).unwrap();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W128, len)]));
    world.tell = false;
    let masked = Step::new(BASE + 1, 2);
    world.hook = Box::new(move |m| {
        let cut = m.address.step == masked && [1, 2].contains(&m.address.from.0) && m.address.sequence > 3;
        if cut { vec![] } else { vec![m] }
    });
    world.run();
    let served: Vec<Seat> = [0, 3, 4, 5, 6].map(Seat).to_vec();
    let sum = plain_sum(&served, Width::W128, len);
    for (seat, done) in world.outcomes() {
        match done {
            Ok((outcomes, _)) => {
                assert_eq!(outcomes[0].survivors, served);
                assert!(outcomes[0].sum.as_ref() == Some(&sum), "{seat}");
            }
            Err(Abort::Missing { seats, .. }) => assert!([vec![seat], vec![Seat(0)]].contains(&seats), "{seat}"),
            Err(other) => panic!("{seat}: {other}"),
        }
    }
}
