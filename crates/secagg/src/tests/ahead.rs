//! Chunks that the driver hashed where they arrived.

use std::collections::BTreeMap;

use tacit_crypto::Pieces;
use tacit_protocol::{Blame, Event, Message, Offence, pieces_of};
use tacit_types::{Seat, Step};

use super::{Done, World, plain_sum, plan, round, script, seating};
use crate::plan::round_phase as phase;
use crate::{Params, Width};

const SEATS: u16 = 5;
/// Two whole chunks and a part of one.
const LEN: usize = 300_000;

/// What a driver does with the chunk that arrives as number `count`.
type Driver = fn(count: usize, message: Message) -> Event;

fn chunk_bytes() -> usize {
    seating(SEATS).chunk_bytes()
}

fn hashed(message: Message) -> Event {
    let pieces = pieces_of(&message, chunk_bytes());
    Event::Hashed { message, pieces }
}

/// The hashes of other bytes at the chunk's place.
fn mistaken(message: Message) -> Event {
    let body: Vec<u8> = message.body.iter().map(|b| b ^ 1).collect();
    let pieces = Pieces::of(u64::from(message.address.sequence) * chunk_bytes() as u64, &body);
    Event::Hashed { message, pieces }
}

/// The right hashes of the chunk, said of the next one's place.
fn misplaced(message: Message) -> Event {
    let pieces = Pieces::of((u64::from(message.address.sequence) + 1) * chunk_bytes() as u64, &message.body);
    Event::Hashed { message, pieces }
}

const DRIVERS: [(&str, Driver); 6] = [
    ("each", |_, message| hashed(message)),
    ("every other", |count, message| if count % 2 == 0 { hashed(message) } else { Event::Received(message) }),
    ("late", |count, message| if count > 5 { hashed(message) } else { Event::Received(message) }),
    ("mistaken", |_, message| mistaken(message)),
    ("one mistaken", |count, message| if count == 4 { mistaken(message) } else { hashed(message) }),
    ("misplaced", |_, message| misplaced(message)),
];

fn masked() -> Step {
    plan(Params::new(SEATS).unwrap(), 1).round_step(0, phase::MASKED)
}

/// Runs a round; the bytes of the seat `spoiled` change on their way.
fn run(driver: Driver, spoiled: Option<Seat>) -> BTreeMap<Seat, Done> {
    let plan = plan(Params::new(SEATS).unwrap(), 1);
    let mut world = World::new(&plan, &script(vec![round(0, Width::W64, LEN)]));
    let mut count = 0;
    world.arrive = Box::new(move |message| {
        if message.address.step != masked() {
            return hashed(message);
        }
        count += 1;
        driver(count - 1, message)
    });
    world.hook = Box::new(move |mut message| {
        let address = &message.address;
        if address.step == masked() && Some(address.from) == spoiled && address.sequence == 1 {
            message.body[77_777] ^= 4;
        }
        vec![message]
    });
    world.run();
    world.outcomes()
}

#[test]
fn the_outcome_is_the_same_whatever_a_driver_hashed() {
    let seats: Vec<Seat> = (0..SEATS).map(Seat).collect();
    let plain = run(|_, message| Event::Received(message), None);
    let sum = plain_sum(&seats, Width::W64, LEN);
    assert!(plain.values().all(|done| done.as_ref().is_ok_and(|(o, _)| o[0].sum.as_ref() == Some(&sum))));
    for (name, driver) in DRIVERS {
        assert!(run(driver, None) == plain, "{name}");
    }
}

#[test]
fn a_vector_that_changed_on_its_way_is_left_out_whatever_a_driver_hashed() {
    let spoiled = Seat(3);
    let rest: Vec<Seat> = (0..SEATS).map(Seat).filter(|seat| *seat != spoiled).collect();
    let plain = run(|_, message| Event::Received(message), Some(spoiled));
    let (outcomes, _) = plain[&Seat(0)].as_ref().unwrap();
    assert_eq!(outcomes[0].survivors, rest);
    assert_eq!(outcomes[0].sum, Some(plain_sum(&rest, Width::W64, LEN)));
    assert!(outcomes[0].blames.iter().any(|b| *b == Blame::seat(spoiled, Offence::BadInput)));
    for (name, driver) in DRIVERS {
        assert!(run(driver, Some(spoiled)) == plain, "{name}");
    }
}
