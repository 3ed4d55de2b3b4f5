//! Who shares masks with whom in one epoch.

use std::collections::BTreeSet;

use tacit_crypto::{Rng, Secret, Transcript};
use tacit_types::{Hash, Seat};

use crate::params::Graph;

/// The neighbourhoods of an epoch, equal at every seat that holds the same T1.
pub(crate) struct Topology {
    /// All seats of the book, in order.
    seats: Vec<Seat>,
    /// Where the graph is drawn: the ring of seats and half the degree.
    ring: Option<(Vec<Seat>, usize)>,
}

impl Topology {
    /// Draws the graph. T1 covers every nonce, and every nonce was committed before any was shown, so
    /// the ring is as random as the nonce of any one honest seat.
    pub fn draw(graph: Graph, t1: &Hash, mut seats: Vec<Seat>) -> Self {
        seats.sort_unstable();
        let ring = match graph {
            Graph::Complete => None,
            Graph::Harary { degree } => {
                let seed = Transcript::new("tacit-secagg/1/graph").fixed(&t1.0).finish();
                let mut rng = Rng::from_seed(&Secret::new(seed.0));
                let mut ring = seats.clone();
                // Fisher and Yates, downwards.
                for i in (1..ring.len()).rev() {
                    ring.swap(i, rng.below(i as u64 + 1) as usize);
                }
                Some((ring, usize::from(degree) / 2))
            }
        };
        Self { seats, ring }
    }

    /// All seats, in order.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The neighbours of a seat, in order, without itself.
    pub fn neighbours(&self, seat: Seat) -> Vec<Seat> {
        let Some((ring, half)) = &self.ring else {
            return self.seats.iter().copied().filter(|s| *s != seat).collect();
        };
        let Some(at) = ring.iter().position(|s| *s == seat) else { return Vec::new() };
        let n = ring.len();
        let near = (1..=*half).flat_map(|by| [(at + by) % n, (at + n - by % n) % n]);
        let near: BTreeSet<Seat> = near.filter_map(|i| ring.get(i).copied()).filter(|s| *s != seat).collect();
        near.into_iter().collect()
    }

    /// Everyone who holds a share of a seat's secrets, in order: its neighbours and itself.
    pub fn holders(&self, seat: Seat) -> Vec<Seat> {
        let mut holders = self.neighbours(seat);
        holders.insert(holders.partition_point(|s| *s < seat), seat);
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(n: u16) -> Vec<Seat> {
        (0..n).map(Seat).collect()
    }

    #[test]
    fn neighbourhood_is_mutual_and_of_the_degree() {
        let graph = Topology::draw(Graph::Harary { degree: 10 }, &Hash([1; 32]), seats(200));
        for s in seats(200) {
            let near = graph.neighbours(s);
            assert_eq!(near.len(), 10);
            assert!(near.is_sorted() && !near.contains(&s));
            assert!(near.iter().all(|n| graph.neighbours(*n).contains(&s)));
            assert_eq!(graph.holders(s).len(), 11);
            assert!(graph.holders(s).is_sorted());
        }
        assert!(graph.neighbours(Seat(999)).is_empty());
    }

    #[test]
    fn another_transcript_draws_another_ring() {
        let draw = |b: u8| Topology::draw(Graph::Harary { degree: 4 }, &Hash([b; 32]), seats(150)).neighbours(Seat(3));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn a_complete_graph_joins_everyone() {
        let graph = Topology::draw(Graph::Complete, &Hash([1; 32]), vec![Seat(4), Seat(0), Seat(2)]);
        assert_eq!(graph.neighbours(Seat(2)), [Seat(0), Seat(4)]);
        assert_eq!(graph.holders(Seat(2)), [Seat(0), Seat(2), Seat(4)]);
    }

    #[test]
    fn a_degree_beyond_the_ring_joins_everyone_once() {
        let graph = Topology::draw(Graph::Harary { degree: 8 }, &Hash([1; 32]), seats(5));
        assert_eq!(graph.neighbours(Seat(2)), [Seat(0), Seat(1), Seat(3), Seat(4)]);
    }
}
