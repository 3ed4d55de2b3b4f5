//! Who sits where.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tacit_crypto::Verifier;
use tacit_types::{NodeId, Seat};

/// One seated party.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The key that signs the party's protocol messages and names its node.
    pub node: NodeId,
}

/// The parties of one attempt in order of seat, which is the order of their node ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seating {
    members: Vec<Member>,
    #[serde(skip)]
    keys: Keys,
}

/// The members' keys, each decoded when it is first asked for. They follow from the members, so that they are no part
/// of what a seating is compared by.
#[derive(Clone, Default)]
struct Keys(Arc<OnceLock<Vec<OnceLock<Option<Verifier>>>>>);

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

impl Seating {
    /// Seats nodes in the order of their ids; `None` when a node stands twice or there are more
    /// than [`SEATS_MAX`](tacit_types::limits::SEATS_MAX).
    pub fn new(mut nodes: Vec<NodeId>) -> Option<Self> {
        nodes.sort_unstable();
        let distinct = nodes.windows(2).all(|pair| pair[0] != pair[1]);
        (distinct && nodes.len() <= tacit_types::limits::SEATS_MAX)
            .then(|| Self { members: nodes.into_iter().map(|node| Member { node }).collect(), keys: Keys::default() })
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

    /// The decoded key of a seat's node; `None` for a seat that nobody has or a key that is no point.
    pub fn verifier(&self, seat: Seat) -> Option<&Verifier> {
        let keys = self.keys.0.get_or_init(|| self.members.iter().map(|_| OnceLock::new()).collect());
        let member = self.members.get(seat.index())?;
        keys.get(seat.index())?.get_or_init(|| Verifier::new(&member.node)).as_ref()
    }

    /// The seat of a node.
    pub fn seat_of(&self, node: &NodeId) -> Option<Seat> {
        self.members.binary_search_by(|m| m.node.cmp(node)).ok().map(|i| Seat(i as u16))
    }

    /// Bytes of one chunk: smaller when many seats may each have two in flight.
    pub fn chunk_bytes(&self) -> usize {
        match self.members.len() {
            0..=32 => 1 << 20,
            33..=128 => 256 << 10,
            _ => 32 << 10,
        }
    }

    /// Bytes that one seat may have in flight to another before it waits for credit.
    pub fn window_bytes(&self) -> u64 {
        2 * self.chunk_bytes() as u64
    }
}
