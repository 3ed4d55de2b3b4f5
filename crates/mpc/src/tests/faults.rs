//! Lost seats, seats that hold other terms, messages that are none, openings that nobody disclosed.

use tacit_protocol::{Blame, Offence};
use tacit_types::Code;

use super::*;
use crate::{Fx, Group};

fn relu(n: usize, to: Group) -> Plan {
    let mut b = Plan::builder(n, 100).unwrap();
    let x = b.input(0, 2, Fx::new(4, 20).unwrap()).unwrap();
    let x = b.share(x).unwrap();
    let y = b.relu(x, 4).unwrap();
    b.reveal(y, to, disclosure()).unwrap();
    b.finish().unwrap()
}

fn inputs(n: usize) -> Vec<Table> {
    let mut all = vec![Table::default(); n];
    all[0] = Table::default().with(0, 2, &Noise::new(1).numbers(200, 20));
    all
}

fn missing(outcome: &Result<Outputs, Abort>) -> Vec<usize> {
    match outcome {
        Err(Abort::Missing { seats, .. }) => seats.iter().map(|s| s.index()).collect(),
        other => panic!("{:?}", other.as_ref().err()),
    }
}

#[test]
fn a_lost_party_or_dealer_is_named_wherever_it_is_lost() {
    let n = 3;
    let plan = relu(n, Group::first(n));
    let mut seen = 0;
    for lost in 0..=n {
        for after in 0..40 {
            let mut world = World::new(&plan, inputs(n), 1);
            world.kill = Some((lost, after));
            world.run();
            if world.dead.is_empty() {
                break;
            }
            seen += 1;
            for (seat, outcome) in world.outcomes() {
                // Who had everything that it needed before the loss is done.
                if outcome.is_err() {
                    assert_eq!(missing(&outcome), [lost], "at {seat} when {lost} fell silent after {after} messages");
                }
            }
        }
    }
    assert!(seen > 30, "only {seen} losses");
}

#[test]
fn a_silent_seat_is_named_at_the_deadline() {
    let plan = relu(2, Group::first(2));
    let mut world = World::new(&plan, inputs(2), 1);
    let mut count = 0;
    world.hook = Box::new(move |m| {
        count += usize::from(m.address.from == Seat(1) && m.address.to == Seat(0));
        !(m.address.from == Seat(1) && m.address.to == Seat(0) && count > 2)
    });
    world.run();
    let outcomes = world.outcomes();
    assert_eq!(missing(&outcomes[&0]), [1]);
    assert_eq!(world.now, Millis(STEP_MS));
}

#[test]
fn seats_with_other_plans_stop_before_any_seed() {
    let plan = relu(3, Group::first(3));
    for other in 0..=3 {
        let mut all = vec![terms(&plan, 3); 4];
        all[other] = terms(&relu(3, Group::one(0)), 3);
        let mut world = World::with(all, inputs(3), 1, vec![disclosure()]);
        let steps = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
        let seen = steps.clone();
        world.hook = Box::new(move |m| {
            seen.lock().unwrap().insert(m.address.step);
            true
        });
        world.run();
        for (seat, outcome) in world.outcomes() {
            let expected: Vec<Seat> = if seat == other {
                (0..=3).filter(|s| *s != other).map(|s| Seat(s as u16)).collect()
            } else {
                vec![Seat(other as u16)]
            };
            assert_eq!(outcome.err(), Some(Abort::Disagreement { seats: expected }));
        }
        assert_eq!(steps.lock().unwrap().len(), 1, "nothing but hashes was sent");
    }
    let mut later = terms(&plan, 3);
    later.context = Hash([8; 32]);
    assert_ne!(later.hash(), terms(&plan, 3).hash(), "another attempt has other keys");
}

#[test]
fn a_message_of_another_length_is_blamed_on_its_sender() {
    let plan = relu(2, Group::first(2));
    for (from, to, longer) in [(1usize, 0usize, false), (0, 1, true), (2, 1, false), (2, 1, true), (1, 0, true)] {
        let first = plan.tile_step(3, if from == 2 { 1 } else { 0 });
        let mut world = World::new(&plan, inputs(2), 1);
        world.hook = Box::new(move |m| {
            if m.address.from.index() == from && m.address.to.index() == to && m.address.step >= first {
                if longer {
                    m.body.push(0)
                } else {
                    m.body.truncate(m.body.len() - 1)
                }
                m.total = m.body.len() as u64;
            }
            true
        });
        world.run();
        match world.outcomes().remove(&to).unwrap() {
            Err(Abort::Misbehaved { blame, .. }) => {
                let offence = if longer { Offence::Flow } else { Offence::Malformed };
                assert_eq!(blame, Blame::seat(Seat(from as u16), offence));
            }
            other => panic!("{from} to {to}, longer {longer}: {:?}", other.err()),
        }
    }
}

#[test]
fn nothing_is_opened_that_the_job_does_not_list() {
    let plan = relu(2, Group::one(0));
    let few = Disclosure { cells_max: 199, ..disclosure() };
    let other = Disclosure { what: "other".into(), ..disclosure() };
    for listed in [few, other] {
        let mut world = World::with(vec![terms(&plan, 2); 3], inputs(2), 1, vec![listed]);
        let last = plan.tile_step(3, 1).0 + plan.rounds(1);
        let leaked = Arc::new(Mutex::new(0));
        let seen = leaked.clone();
        world.hook = Box::new(move |m| {
            *seen.lock().unwrap() += usize::from(m.address.step.0 == last);
            true
        });
        world.run();
        let outcomes = world.outcomes();
        for party in 0..2 {
            assert_eq!(outcomes[&party].as_ref().err(), Some(&Abort::Undisclosed("scores".into())));
        }
        assert_eq!(*leaked.lock().unwrap(), 0, "the share itself did not leave");
    }
}

#[test]
fn an_input_outside_its_range_does_not_leave() {
    let plan = relu(2, Group::one(0));
    let top = (1i64 << 19) - 1;
    for (value, fits) in [(top, true), (-top, true), (top + 1, false), (-top - 1, false), (i64::MIN, false)] {
        let mut numbers = vec![0; 200];
        numbers[77] = value;
        let tables = vec![Table::default().with(0, 2, &numbers), Table::default()];
        let mut world = World::new(&plan, tables, 1);
        world.run();
        match world.outcomes().remove(&0).unwrap() {
            Ok(_) => assert!(fits, "{value}"),
            Err(Abort::Local(fault)) => {
                assert!(!fits && fault.code == Code::RefusedOverflow && fault.what.contains("element 77"), "{fault:?}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}
