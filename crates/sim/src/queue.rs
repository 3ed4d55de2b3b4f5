//! Virtual time: events in order of time, and at one moment in an order that the seed draws.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::run::{Check, EVENTS_MAX, EVENTS_OF_A_PAIR_MAX, holds};

/// The clock and everything that is yet to happen.
pub struct Queue<E> {
    now: u64,
    next: u64,
    most: u64,
    ties: Dice,
    events: BTreeMap<(u64, u64, u64), E>,
}

impl<E> Queue<E> {
    /// An empty queue at time 0 for so many processes.
    pub fn new(seed: u64, processes: usize) -> Self {
        let most = EVENTS_MAX.max(EVENTS_OF_A_PAIR_MAX * (processes as u64).pow(2));
        Self { now: 0, next: 0, most, ties: Dice::new(seed, "ties"), events: BTreeMap::new() }
    }

    /// Milliseconds since the run began.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Checks that the run does not go round in circles.
    pub fn nothing_spins(&self) -> Check {
        holds(self.next < self.most, "nothing_spins", || format!("{} events in {} ms", self.next, self.now))
    }

    /// Adds an event, now at the earliest.
    pub fn at(&mut self, at: u64, event: E) {
        self.next += 1;
        self.events.insert((at.max(self.now), self.ties.below(1 << 32), self.next), event);
    }

    /// Adds an event after a pause.
    pub fn after(&mut self, pause: u64, event: E) {
        self.at(self.now + pause, event);
    }

    /// The next event; the clock moves on to it.
    pub fn pop(&mut self) -> Option<E> {
        let ((at, ..), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_first_and_the_seed_breaks_ties() {
        let order = |seed| {
            let mut queue = Queue::new(seed, 3);
            for i in 0..20 {
                queue.at(5 + i % 2, i);
            }
            core::iter::from_fn(|| queue.pop()).collect::<Vec<_>>()
        };
        let first = order(1);
        assert!(first[..10].iter().all(|i| i % 2 == 0) && first[10..].iter().all(|i| i % 2 == 1));
        assert_eq!(first, order(1));
        assert_ne!(first, order(2));
        let mut queue = Queue::new(0, 3);
        queue.at(9, 'a');
        queue.pop();
        queue.at(3, 'b');
        queue.pop();
        assert_eq!(queue.now(), 9, "the clock never goes back");
    }
}
