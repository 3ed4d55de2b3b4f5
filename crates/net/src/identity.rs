//! A node's identity: its Ed25519 operational key, and the certificate that carries it into TLS.
//!
//! The certificate is an envelope that TLS demands. Nothing in it counts but the public key: no
//! name, no issuer, no date.

use std::fmt;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::CertificateDer;
use tacit_crypto::SigningKey;
use tacit_types::{Code, Fault, NodeId};

use crate::reset::ResetSecret;

/// The key with which an endpoint proves who it is, in the form that TLS takes. Cheap to clone;
/// prints as its public id.
#[derive(Clone)]
pub struct Identity {
    id: NodeId,
    certified: Arc<CertifiedKey>,
    reset: Arc<ResetSecret>,
}

impl Identity {
    /// Makes a self-signed Ed25519 certificate (RFC 8410) for the key. The certificate is new each
    /// time; the key in it is what peers pin.
    ///
    /// # Errors
    /// `internal` when the certificate cannot be encoded.
    pub fn from_signing_key(key: &SigningKey) -> Result<Self, Fault> {
        let certificate = certificate(key)?;
        let certified = CertifiedKey::new(vec![certificate], Arc::new(TlsKey(Arc::new(key.share()))));
        Ok(Self { id: key.id(), certified: Arc::new(certified), reset: Arc::new(ResetSecret::new(key)) })
    }

    /// The same key, speaking for a node whose first key was another.
    #[must_use]
    pub fn speaking_for(self, id: NodeId) -> Self {
        Self { id, ..self }
    }

    /// The node's id and fingerprint: the public key, as long as it is the node's first.
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn reset(&self) -> &ResetSecret {
        &self.reset
    }

    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(self.certified.clone()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id.short())
    }
}

/// A self-signed certificate with an empty name.
fn certificate(key: &SigningKey) -> Result<CertificateDer<'static>, Fault> {
    let failed = |e: rcgen::Error| Fault::new(Code::Internal, format!("making a certificate: {e}"));
    let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.self_signed(&Issuer { id: key.id(), key }).map_err(failed)?.der().clone())
}

/// The key as the certificate encoder wants it.
struct Issuer<'a> {
    id: NodeId,
    key: &'a SigningKey,
}

impl rcgen::PublicKeyData for Issuer<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.id.0
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Issuer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).0.to_vec())
    }
}

/// The key as rustls wants it: the seed stays in the zeroizing type and is never encoded.
struct TlsKey(Arc<SigningKey>);

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey")
    }
}

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(TlsKey(self.0.clone())) as _)
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(message).0.to_vec())
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::public_key;
    use tacit_crypto::Secret;

    #[test]
    fn the_certificate_carries_the_nodes_own_key() {
        let key = SigningKey::from_seed(&Secret::new([5; 32]));
        let der = certificate(&key).unwrap();
        assert_eq!(public_key(&der), Ok(key.id()));
        assert!(der.len() < crate::limits::CERTIFICATE_BYTES_MAX);
    }
}
