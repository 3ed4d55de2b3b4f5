//! Where every byte went: each is received, lost, or still under way.

use std::collections::BTreeMap;

use crate::run::{Check, holds};

/// Bytes of one kind of traffic from one party to another.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
}

/// A message on its way: copies that may still arrive, whether one was taken.
struct Flight<K> {
    key: K,
    bytes: u64,
    copies: u32,
    taken: bool,
}

/// The books of a run. A key names the attempt, the sender and the receiver.
pub(crate) struct Ledger<K> {
    flights: BTreeMap<u64, Flight<K>>,
    flows: BTreeMap<K, Flow>,
    next: u64,
}

impl<K: Ord + Clone + core::fmt::Debug> Ledger<K> {
    pub fn new() -> Self {
        Self { flights: BTreeMap::new(), flows: BTreeMap::new(), next: 0 }
    }

    /// What the sender itself says that it sent.
    pub fn sent(&mut self, key: K, bytes: u64) {
        self.flows.entry(key).or_default().sent += bytes;
    }

    /// A message that never left or never arrives.
    pub fn lost(&mut self, key: K, bytes: u64) {
        self.flows.entry(key).or_default().lost += bytes;
    }

    /// A message leaves in so many copies; its number.
    pub fn launch(&mut self, key: K, bytes: u64, copies: usize) -> u64 {
        if copies == 0 {
            self.lost(key, bytes);
            return 0;
        }
        self.next += 1;
        self.flights.insert(self.next, Flight { key, bytes, copies: copies as u32, taken: false });
        self.next
    }

    /// A copy is through. `taken` when the receiver could use it.
    pub fn landed(&mut self, id: u64, taken: bool) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let flow = self.flows.entry(flight.key.clone()).or_default();
        flight.copies -= 1;
        if taken && !flight.taken {
            flight.taken = true;
            flow.received += flight.bytes;
        }
        if flight.copies == 0 {
            flow.lost += if flight.taken { 0 } else { flight.bytes };
            self.flights.remove(&id);
        }
    }

    pub fn flow(&self, key: &K) -> Flow {
        self.flows.get(key).copied().unwrap_or_default()
    }

    /// All flows.
    pub fn flows(&self) -> &BTreeMap<K, Flow> {
        &self.flows
    }

    /// Checks that the books balance.
    pub fn bytes_sent_are_received_or_lost(&self) -> Check {
        let mut under_way: BTreeMap<&K, u64> = BTreeMap::new();
        for flight in self.flights.values().filter(|f| !f.taken) {
            *under_way.entry(&flight.key).or_default() += flight.bytes;
        }
        for (key, flow) in &self.flows {
            let flying = under_way.get(key).copied().unwrap_or(0);
            holds(flow.sent == flow.received + flow.lost + flying, "bytes_sent_are_received_or_lost", || {
                format!("{key:?}: {flow:?}, {flying} under way")
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_accounted_for_once() {
        let mut ledger = Ledger::new();
        ledger.sent('a', 30);
        let twice = ledger.launch('a', 10, 2);
        let gone = ledger.launch('a', 10, 1);
        ledger.launch('a', 10, 0);
        assert!(ledger.bytes_sent_are_received_or_lost().is_ok(), "under way");
        ledger.landed(twice, false);
        ledger.landed(twice, true);
        ledger.landed(gone, false);
        assert_eq!(ledger.flow(&'a'), Flow { sent: 30, received: 10, lost: 20 });
        assert!(ledger.bytes_sent_are_received_or_lost().is_ok());
        ledger.sent('a', 1);
        assert!(ledger.bytes_sent_are_received_or_lost().is_err());
    }
}
