//! How peers learn at once that this side was killed and runs again.
//!
//! A restarted process knows nothing of the connections of the one before. QUIC lets it answer their
//! packets with a reset that nobody else can make (RFC 9000, section 10.3), if its key outlives the
//! process: it is derived from the node's key. Another port has another key, so that no other endpoint
//! of the same node can be made to give resets away (section 21.11).

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use tacit_crypto::{Secret, SigningKey, Transcript};
use tacit_types::{Fault, Hash};

/// The secret of a node from which the keys of its ports are derived.
pub(crate) struct ResetSecret(Secret<[u8; 32]>);

impl ResetSecret {
    pub fn new(key: &SigningKey) -> Self {
        Self(Secret::new(Transcript::new("tacit/1/reset").fixed(key.to_seed().expose_secret()).finish().0))
    }

    fn derive(&self, label: &str, port: u16) -> Hash {
        Transcript::new(label).fixed(self.0.expose_secret()).u64(u64::from(port)).finish()
    }

    /// The configuration of an endpoint on a port.
    ///
    /// # Errors
    /// `internal` when the operating system gives no randomness.
    pub fn endpoint(&self, port: u16) -> Result<EndpointConfig, Fault> {
        let key = ResetKey(Secret::new(self.derive("tacit/1/reset/token", port).0));
        let mut config = EndpointConfig::new(Arc::new(key));
        let process = Secret::new(self.derive("tacit/1/reset/id", port).0);
        let start = crate::tls::random_u64()?;
        let seed = Transcript::new("tacit/1/reset/process").fixed(process.expose_secret()).u64(start).finish();
        config.cid_generator(move || Box::new(Ids { seed, next: 0 }));
        Ok(config)
    }
}

/// Connection ids: unpredictable and new in each process. None is refused unseen: the packets of a dead
/// process are to be answered.
struct Ids {
    seed: Hash,
    next: u64,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next = self.next.wrapping_add(1);
        let hash = Transcript::new("tacit/1/reset/cid").fixed(&self.seed.0).u64(self.next).finish();
        let [a, b, c, d, e, f, g, h, ..] = hash.0;
        ConnectionId::new(&[a, b, c, d, e, f, g, h])
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Makes the token of a connection id.
struct ResetKey(Secret<[u8; 32]>);

impl ResetKey {
    fn tag(&self, data: &[u8]) -> Hash {
        Transcript::new("tacit/1/reset/tag").fixed(self.0.expose_secret()).bytes(data).finish()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        for (out, byte) in out.iter_mut().zip(self.tag(data).0) {
            *out = byte;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let claimed = <[u8; 32]>::try_from(signature).map_err(|_| CryptoError)?;
        if Secret::new(self.tag(data).0).ct_eq(&Secret::new(claimed)) { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_outlive_the_process_and_differ_by_port_and_node() {
        let secret = |n| ResetSecret::new(&SigningKey::from_seed(&Secret::new([n; 32])));
        let token = |n, port, id: &[u8]| {
            let mut out = [0; 32];
            let key = ResetKey(Secret::new(secret(n).derive("tacit/1/reset/token", port).0));
            key.sign(id, &mut out);
            assert!(key.verify(id, &out).is_ok() && key.verify(b"other", &out).is_err());
            out
        };
        assert_eq!(token(1, 7400, b"id"), token(1, 7400, b"id"));
        let all = [token(1, 7400, b"id"), token(1, 7401, b"id"), token(2, 7400, b"id"), token(1, 7400, b"ie")];
        assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
    }
}
