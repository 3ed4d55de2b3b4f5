//! What travels between daemons.

use serde::{Serialize, de::DeserializeOwned};
use tacit_engine::{FromCoordinator, FromNode, ToCoordinator, ToNode};
use tacit_protocol::Message;
use tacit_secagg::{Blinded, Release, Vector, Width};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::wire;

/// What was read, written and read again is the same value.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(bytes: &[u8]) {
    if let Ok(value) = wire::decode::<T>(bytes) {
        let again = wire::encode(&value);
        assert_eq!(wire::decode::<T>(&again).as_ref(), Ok(&value));
    }
}

/// Coordinator to node.
pub fn to_node(bytes: &[u8]) {
    round_trip::<ToNode>(bytes);
}

/// Node to coordinator, in answer.
pub fn from_node(bytes: &[u8]) {
    round_trip::<FromNode>(bytes);
}

/// Anyone to the coordinator.
pub fn to_coordinator(bytes: &[u8]) {
    round_trip::<ToCoordinator>(bytes);
}

/// The coordinator, in answer.
pub fn from_coordinator(bytes: &[u8]) {
    round_trip::<FromCoordinator>(bytes);
}

/// One chunk between seats: a frame is its own encoding.
pub fn message_frame(bytes: &[u8]) {
    if let Ok(message) = Message::from_frame(bytes.to_vec()) {
        assert_eq!(message.into_frame(), bytes);
    }
}

/// The first frame of a connection, from either side: what was read, written and read again is the same,
/// and short whatever the peer said of itself.
pub fn hello(bytes: &[u8]) {
    for (i, again) in tacit_net::hello::rewrite(bytes).into_iter().enumerate() {
        let Some(again) = again else { continue };
        assert!(again.len() <= tacit_net::limits::HELLO_BYTES_MAX.max(bytes.len()));
        assert_eq!(tacit_net::hello::rewrite(&again)[i].as_ref(), Some(&again));
    }
}

/// Exported evidence, as the command that checks it reads it: whatever it says, it convicts nobody whose key did not sign.
pub fn evidence(bytes: &[u8]) {
    if let Ok(blame) = tacit_engine::evidence::decode(bytes) {
        assert_eq!(tacit_engine::evidence::decode(&tacit_engine::evidence::encode(&blame)).as_ref(), Ok(&blame));
        let nodes = (11..14).map(|n| crate::examples::key(n).id()).collect();
        let seating = tacit_protocol::Seating::new(nodes);
        assert!(seating.is_some_and(|seating| !tacit_engine::evidence::convicts(&seating, &blame)));
    }
}

/// A sealed result and a release, as the operator's tool reads them.
pub fn sealed_result(bytes: &[u8]) {
    if let Ok(blinded) = wire::decode_capped::<Blinded>(bytes, MESSAGE_BYTES_MAX) {
        assert_eq!(blinded.survivors().len(), blinded.headers.len());
        assert_eq!(wire::decode_capped::<Blinded>(&wire::encode(&blinded), MESSAGE_BYTES_MAX).as_ref(), Ok(&blinded));
        let key = crate::examples::seal_key(9);
        assert!(tacit_secagg::unblind(&key, &blinded, &Default::default()).is_err() || blinded.headers.is_empty());
    }
    round_trip::<Release>(bytes);
}

/// Vector elements: all bytes count.
pub fn vector(bytes: &[u8]) {
    for width in [Width::W32, Width::W64, Width::W128] {
        match Vector::from_bytes(width, bytes) {
            Some(vector) => assert_eq!(vector.to_bytes(), bytes),
            None => assert!(!bytes.len().is_multiple_of(width.bytes())),
        }
    }
}
