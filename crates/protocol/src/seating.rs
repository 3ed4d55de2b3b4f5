//! Who sits where.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tacit_crypto::Verifier;
use tacit_types::{NodeId, Seat};

/// One seated party.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The id of its node: the key that signs the party's protocol messages, as long as it is the first.
    pub node: NodeId,
}

/// The parties of one attempt in order of seat, which is the order of their node ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seating {
    members: Vec<Member>,
    /// The keys with which each may sign; empty where every key is the first.
    #[serde(skip)]
    signers: Vec<Vec<NodeId>>,
    #[serde(skip)]
    keys: Keys,
}

/// The members' keys, each decoded when it is first asked for. They follow from the members and signers, so that they are no
/// part of what a seating is compared by.
#[derive(Clone, Default)]
struct Keys(Arc<OnceLock<Vec<OnceLock<Vec<Verifier>>>>>);

impl PartialEq for Keys {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Keys {}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keys")
    }
}

/// Seats beyond which windows are small: a seat holds one for each other.
const MANY: usize = 128;

impl Seating {
    /// Seats nodes in the order of their ids; `None` when a node stands twice or there are more
    /// than [`SEATS_MAX`](tacit_types::limits::SEATS_MAX).
    pub fn new(mut nodes: Vec<NodeId>) -> Option<Self> {
        nodes.sort_unstable();
        let distinct = nodes.windows(2).all(|pair| pair[0] != pair[1]);
        (distinct && nodes.len() <= tacit_types::limits::SEATS_MAX).then(|| Self {
            members: nodes.into_iter().map(|node| Member { node }).collect(),
            signers: Vec::new(),
            keys: Keys::default(),
        })
    }

    /// The same seats, each signing with the keys that its node has now: two while one key gives way to another.
    #[must_use]
    pub fn signing(self, keys_of: impl Fn(&NodeId) -> Vec<NodeId>) -> Self {
        let signers: Vec<Vec<NodeId>> = self.members.iter().map(|m| keys_of(&m.node)).collect();
        let first = self.members.iter().zip(&signers).all(|(member, keys)| *keys == [member.node]);
        let signers = if first { Vec::new() } else { signers };
        Self { signers, keys: Keys::default(), ..self }
    }

    /// Number of seats.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is seated.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// All seats, in order.
    pub fn seats(&self) -> impl Iterator<Item = Seat> + use<> {
        (0..self.members.len() as u16).map(Seat)
    }

    /// The node in a seat.
    pub fn node(&self, seat: Seat) -> Option<NodeId> {
        self.members.get(seat.index()).map(|m| m.node)
    }

    /// The decoded keys with which a seat's node may sign: one, or two while one gives way to another; none for a seat that
    /// nobody has or a key that is no point.
    pub fn verifiers(&self, seat: Seat) -> &[Verifier] {
        let keys = self.keys.0.get_or_init(|| self.members.iter().map(|_| OnceLock::new()).collect());
        let (Some(member), Some(keys)) = (self.members.get(seat.index()), keys.get(seat.index())) else { return &[] };
        keys.get_or_init(|| match self.signers.get(seat.index()) {
            Some(signers) => signers.iter().filter_map(Verifier::new).collect(),
            None => Verifier::new(&member.node).into_iter().collect(),
        })
    }

    /// The seat of a node.
    pub fn seat_of(&self, node: &NodeId) -> Option<Seat> {
        self.members.binary_search_by(|m| m.node.cmp(node)).ok().map(|i| Seat(i as u16))
    }

    /// Bytes of one chunk: smaller when many seats may each have some in flight.
    pub fn chunk_bytes(&self) -> usize {
        match self.members.len() {
            0..=32 => 1 << 20,
            33..=MANY => 256 << 10,
            _ => 16 << 10,
        }
    }

    /// Bytes that one seat may have in flight to all others together while it sends to each of them.
    pub fn fan_out_bytes(&self) -> u64 {
        match self.members.len() {
            0..=MANY => MANY as u64 * self.window_bytes(),
            _ => 4 << 20,
        }
    }

    /// Bytes that each seat may have in flight to one at which all send at once: see
    /// [`Party::narrow`](crate::Party::narrow).
    pub fn narrow_bytes(&self) -> u64 {
        let chunk = self.chunk_bytes() as u64;
        // Small messages that nobody has read yet must leave room for a chunk.
        if self.members.len() > MANY { chunk + chunk / 8 } else { self.window_bytes() }
    }

    /// Bytes that one seat may have in flight to another before it waits for credit.
    pub fn window_bytes(&self) -> u64 {
        // Among many, enough for most messages of a set-up in one go over a distant link.
        let chunks = if self.members.len() > MANY { 4 } else { 2 };
        chunks * self.chunk_bytes() as u64
    }

    /// Bytes beyond all windows that one seat may let others together have in flight to it: see
    /// [`Party::widen`](crate::Party::widen). Among few seats the windows are wide enough.
    pub fn widened_bytes(&self) -> u64 {
        if self.members.len() > MANY { 4 << 20 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::{Secret, SigningKey};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    #[test]
    fn a_seat_signs_with_the_keys_that_its_node_has() {
        let ids = [1, 2].map(|seed| key(seed).id());
        let first = Seating::new(ids.to_vec()).unwrap();
        let signs = |seating: &Seating, seed: u8| {
            let (id, by) = (ids[0], key(seed).sign(b"m"));
            let seat = seating.seat_of(&id).unwrap();
            seating.verifiers(seat).iter().any(|key| key.verify(b"m", &by))
        };
        assert!(signs(&first, 1) && !signs(&first, 2));
        // Where every key is the first nothing is another.
        assert_eq!(first.clone().signing(|id| vec![*id]), first);
        let changed = |seeds: &[u8]| {
            let keys: Vec<NodeId> = seeds.iter().map(|seed| key(*seed).id()).collect();
            first.clone().signing(|id| if *id == ids[0] { keys.clone() } else { vec![*id] })
        };
        let (both, after) = (changed(&[1, 9]), changed(&[9]));
        assert!(signs(&both, 1) && signs(&both, 9) && !signs(&both, 2));
        assert!(!signs(&after, 1) && signs(&after, 9));
        let other = after.seat_of(&ids[1]).unwrap();
        assert_eq!(after.verifiers(other).len(), 1);
        // The seats are the same ones.
        assert_eq!(after.node(Seat(0)), first.node(Seat(0)));
        assert!(after.verifiers(Seat(2)).is_empty());
    }
}
