//! The coordinator's own count of the slots of nodes. A job takes one on every node at once or
//! waits its turn, so two jobs never hold what the other needs.
//!
//! Turns go in the order of asking. A job may pass another that waits only where both have no node in
//! common, so that a job over many nodes is not starved by jobs over few. A node that is busy for
//! reasons of its own says so when it is asked to reserve.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_types::NodeId;
use tokio::sync::oneshot;

/// Slots of a node that has not said how many it has.
pub(crate) const SLOTS_DEFAULT: u32 = 4;

/// The count.
#[derive(Default)]
pub(crate) struct Slots(Mutex<Count>);

#[derive(Default)]
struct Count {
    used: BTreeMap<NodeId, u32>,
    limit: BTreeMap<NodeId, u32>,
    queue: VecDeque<(Vec<NodeId>, oneshot::Sender<Ticket>)>,
}

/// One slot on each of some nodes, until it is dropped.
pub(crate) struct Ticket {
    slots: Arc<Slots>,
    nodes: Vec<NodeId>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        {
            let mut count = self.slots.count();
            for node in &self.nodes {
                if let Some(used) = count.used.get_mut(node) {
                    *used = used.saturating_sub(1);
                }
            }
        }
        self.slots.grant();
    }
}

impl Count {
    fn room(&self, node: &NodeId, ahead: &BTreeMap<NodeId, u32>) -> bool {
        let taken = self.used.get(node).unwrap_or(&0) + ahead.get(node).unwrap_or(&0);
        taken < *self.limit.get(node).unwrap_or(&SLOTS_DEFAULT)
    }

    fn take(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            *self.used.entry(*node).or_default() += 1;
        }
    }

    /// The first that waits and has room on all its nodes beside those ahead of it.
    fn next(&mut self) -> Option<(Vec<NodeId>, oneshot::Sender<Ticket>)> {
        let mut ahead: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut found = None;
        for (i, (nodes, sender)) in self.queue.iter().enumerate() {
            if sender.is_closed() || nodes.iter().all(|node| self.room(node, &ahead)) {
                found = Some(i);
                break;
            }
            for node in nodes {
                *ahead.entry(*node).or_default() += 1;
            }
        }
        let (nodes, sender) = self.queue.remove(found?)?;
        self.take(&nodes);
        Some((nodes, sender))
    }
}

impl Slots {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns how many attempts a node runs at a time.
    pub(crate) fn limit(self: &Arc<Self>, node: NodeId, slots: u32) {
        self.count().limit.insert(node, slots.max(1));
        self.grant();
    }

    /// Asks for a slot on each node; the ticket may be there at once. Dropping the receiver gives the
    /// turn up.
    pub(crate) fn ask(self: &Arc<Self>, nodes: Vec<NodeId>) -> oneshot::Receiver<Ticket> {
        let (sender, receiver) = oneshot::channel();
        self.count().queue.push_back((nodes, sender));
        self.grant();
        receiver
    }

    /// Takes slots that a job held before a restart, whether or not there is room.
    pub(crate) fn retake(self: &Arc<Self>, nodes: Vec<NodeId>) -> Ticket {
        self.count().take(&nodes);
        Ticket { slots: self.clone(), nodes }
    }

    /// Hands out what there is. A ticket that nobody takes any more comes back by its drop, outside
    /// the lock.
    fn grant(self: &Arc<Self>) {
        loop {
            let Some((nodes, sender)) = self.count().next() else { return };
            let _ = sender.send(Ticket { slots: self.clone(), nodes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u8]) -> Vec<NodeId> {
        ids.iter().map(|n| NodeId([*n; 32])).collect()
    }

    fn slots(limit: u32) -> Arc<Slots> {
        let slots = Arc::new(Slots::default());
        (1..=4).for_each(|n| slots.limit(NodeId([n; 32]), limit));
        slots
    }

    #[test]
    fn a_job_gets_all_its_slots_or_waits() {
        let slots = slots(1);
        let first = slots.ask(nodes(&[1, 2])).try_recv().unwrap();
        let mut second = slots.ask(nodes(&[2, 3]));
        assert!(second.try_recv().is_err());
        // Node 3 is free, but the second is first in line for it.
        let mut third = slots.ask(nodes(&[3]));
        assert!(third.try_recv().is_err());
        let fourth = slots.ask(nodes(&[4])).try_recv().unwrap();
        drop(first);
        let second = second.try_recv().unwrap();
        assert!(third.try_recv().is_err());
        drop(second);
        assert!(third.try_recv().is_ok());
        drop(fourth);
    }

    #[test]
    fn a_turn_that_is_given_up_passes_on() {
        let slots = slots(1);
        let first = slots.ask(nodes(&[1])).try_recv().unwrap();
        let (second, mut third) = (slots.ask(nodes(&[1])), slots.ask(nodes(&[1])));
        drop(second);
        drop(first);
        let third = third.try_recv().unwrap();
        drop(third);
        assert!(slots.count().used.values().all(|used| *used == 0));
    }

    #[test]
    fn slots_that_were_held_before_a_restart_count() {
        let slots = slots(2);
        let held = [slots.retake(nodes(&[1])), slots.retake(nodes(&[1])), slots.retake(nodes(&[1]))];
        let mut next = slots.ask(nodes(&[1]));
        assert!(next.try_recv().is_err());
        let [a, b, c] = held;
        drop(a);
        assert!(next.try_recv().is_err());
        drop(b);
        assert!(next.try_recv().is_ok());
        drop(c);
    }
}
