//! What becomes of a message between two processes: when it arrives, how often, or that its
//! connection breaks. Connections are authenticated, so nothing arrives altered.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::faults::{CALM_AT_MS, Coverage, FaultKind, Faults, IDLE_MS};

/// The network of a run.
pub struct Net {
    faults: Faults,
    dice: Dice,
    /// The number of the connection between two, counted up each time it breaks, and whether it is up.
    connections: BTreeMap<(usize, usize), (u32, bool)>,
    /// When the last message of a direction arrives.
    last: BTreeMap<(usize, usize), u64>,
    /// How often each fault happened.
    pub coverage: Coverage,
}

/// A message's fate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// When it arrives, for each copy.
    pub arrives: Vec<u64>,
    /// When its connection breaks, if it does.
    pub breaks: Option<u64>,
    /// The number of its connection: a copy that arrives under another number is lost.
    pub connection: u32,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Net {
    /// The network of a run, everyone connected.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults,
            dice: Dice::new(seed, "net"),
            connections: BTreeMap::new(),
            last: BTreeMap::new(),
            coverage: Coverage::new(),
        }
    }

    /// Counts a fault.
    pub fn count(&mut self, kind: FaultKind) {
        *self.coverage.entry(kind).or_insert(0) += 1;
    }

    /// The number of the connection between two, when it is up.
    pub fn connection(&self, a: usize, b: usize) -> Option<u32> {
        let (number, up) = self.connections.get(&pair(a, b)).copied().unwrap_or((0, true));
        up.then_some(number)
    }

    /// Whether a copy sent over that connection still arrives.
    pub fn is_current(&self, a: usize, b: usize, connection: u32) -> bool {
        self.connection(a, b) == Some(connection)
    }

    /// Breaks a connection; `false` when it is down already or is another one by now.
    pub fn break_off(&mut self, a: usize, b: usize, connection: Option<u32>) -> bool {
        let slot = self.connections.entry(pair(a, b)).or_insert((0, true));
        let hit = slot.1 && connection.is_none_or(|c| c == slot.0);
        if hit {
            *slot = (slot.0 + 1, false);
        }
        hit
    }

    /// Connects two again; `false` when a cut between them forbids it or they are connected.
    pub fn join(&mut self, now: u64, a: usize, b: usize) -> bool {
        let cut = self.cut_until(now, a, b).max(self.cut_until(now, b, a)).is_some();
        let slot = self.connections.entry(pair(a, b)).or_insert((0, true));
        if cut || slot.1 {
            return false;
        }
        slot.1 = true;
        true
    }

    /// When a cut of this direction ends.
    fn cut_until(&self, now: u64, from: usize, to: usize) -> Option<(u64, FaultKind)> {
        let cuts = self.faults.partitions.iter().filter(|p| p.from <= now && now < p.until);
        cuts.filter(|p| p.cut.contains(&(from, to))).map(|p| (p.until, p.kind)).max()
    }

    /// Pairs of which a direction is cut for longer than a connection lives without signs of life,
    /// and when it then breaks.
    pub fn starved(&self) -> Vec<(u64, usize, usize)> {
        let long = self.faults.partitions.iter().filter(|p| p.until - p.from > IDLE_MS);
        long.flat_map(|p| p.cut.iter().map(|(a, b)| (p.from + IDLE_MS, *a, *b))).collect()
    }

    /// Sends a message over the connection between two, which is up.
    pub fn carry(&mut self, now: u64, from: usize, to: usize) -> Carried {
        let connection = self.connection(from, to).unwrap_or(u32::MAX);
        let calm = now >= CALM_AT_MS;
        let mut at = now + self.dice.between(1, self.faults.delay.max(1));
        if self.faults.delay >= 50 && at - now >= 25 {
            self.count(FaultKind::Delay);
        }
        if let Some((slow, extra)) = self.faults.slow
            && (slow == from || slow == to)
            && !calm
        {
            at += extra;
            self.count(FaultKind::Slow);
        }
        if let Some((until, kind)) = self.cut_until(now, from, to) {
            at += until - now;
            self.count(kind);
        }
        let last = self.last.entry((from, to)).or_insert(0);
        let overtaken = !calm && self.dice.chance(self.faults.reorder);
        if overtaken {
            at += self.dice.between(1, 400);
        } else {
            at = at.max(*last);
            *last = at;
        }
        if overtaken {
            self.count(FaultKind::Reorder);
        }
        let mut arrives = vec![at];
        if !calm && self.dice.chance(self.faults.duplicate) {
            arrives.push(at + self.dice.between(0, 5_000));
            self.count(FaultKind::Duplicate);
        }
        let mut breaks = None;
        let ways = [
            (FaultKind::Lose, self.faults.lose),
            (FaultKind::Truncate, self.faults.truncate),
            (FaultKind::Corrupt, self.faults.corrupt),
        ];
        for (kind, rate) in ways {
            if !calm && self.dice.chance(rate) {
                self.count(kind);
                // A lost connection may break before or after the message has arrived.
                let delivered = kind == FaultKind::Lose && self.dice.chance(500);
                breaks = Some(if delivered { at + 1 } else { at.saturating_sub(1).max(now) });
                if !delivered {
                    arrives.clear();
                }
            }
        }
        Carried { arrives, breaks, connection }
    }

    /// A short pause, such as until a break is noticed.
    pub fn pause(&mut self, low: u64, high: u64) -> u64 {
        self.dice.between(low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Partition;

    #[test]
    fn without_faults_messages_arrive_once_and_in_order() {
        let mut net = Net::new(1, Faults { delay: 50, ..Faults::default() });
        let mut last = 0;
        for now in 0..200 {
            let carried = net.carry(now, 0, 1);
            assert_eq!((carried.arrives.len(), carried.breaks), (1, None));
            assert!(carried.arrives[0] >= last && carried.arrives[0] <= now + 50);
            last = carried.arrives[0];
        }
    }

    #[test]
    fn a_cut_holds_messages_back_and_a_long_one_breaks_the_connection() {
        let cut = |until| Partition { kind: FaultKind::PartitionOneWay, from: 10, until, cut: vec![(0, 1)] };
        let faults = Faults { delay: 1, partitions: vec![cut(500), cut(10 + IDLE_MS + 1)], ..Faults::default() };
        let mut net = Net::new(1, faults);
        assert_eq!(net.carry(9, 0, 1).arrives, [10]);
        assert_eq!(net.carry(20, 1, 0).arrives, [21]);
        assert!(net.carry(20, 0, 1).arrives[0] > 10 + IDLE_MS);
        assert_eq!(net.starved(), [(10 + IDLE_MS, 0, 1)]);
        let number = net.connection(0, 1).unwrap();
        assert!(net.break_off(1, 0, Some(number)) && !net.break_off(0, 1, None));
        assert_eq!((net.connection(0, 1), net.is_current(0, 1, number)), (None, false));
        assert!(!net.join(20, 0, 1), "the cut is still there");
        assert!(net.join(9_000, 0, 1) && !net.is_current(0, 1, number));
    }
}
