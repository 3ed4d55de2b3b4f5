//! Reads the public key out of a peer's certificate and accepts exactly one shape: X.509 version
//! 3, Ed25519 throughout (RFC 8410), signed by itself, nothing after it.

use rustls::pki_types::CertificateDer;
use tacit_crypto::{Signature, verify};
use tacit_types::NodeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, X509Version};

use crate::limits::CERTIFICATE_BYTES_MAX;

/// The dotted form of id-Ed25519 (RFC 8410 section 3).
const ED25519: &str = "1.3.101.112";

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadCertificate {
    #[error("a certificate over the size limit")]
    TooLong,
    #[error("a certificate that is not well-formed DER")]
    Malformed,
    #[error("a certificate that is not X.509 version 3")]
    Version,
    #[error("a certificate whose key or signature is not Ed25519")]
    Algorithm,
    #[error("a public key that is not 32 bytes")]
    KeyLen,
    #[error("a certificate that its own key did not sign")]
    NotSelfSigned,
}

/// The Ed25519 public key of a self-signed certificate.
///
/// The certificate's own signature is checked strictly, which refuses keys of small order and
/// certificates that somebody else issued. That the peer holds the key is proven apart from this,
/// by the TLS 1.3 handshake signature.
pub(crate) fn public_key(der: &CertificateDer<'_>) -> Result<NodeId, BadCertificate> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(BadCertificate::TooLong);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| BadCertificate::Malformed)?;
    if !rest.is_empty() {
        return Err(BadCertificate::Malformed);
    }
    let body = &certificate.tbs_certificate;
    if body.version != X509Version::V3 {
        return Err(BadCertificate::Version);
    }
    let algorithms = [&body.subject_pki.algorithm, &body.signature, &certificate.signature_algorithm];
    if !algorithms.into_iter().all(is_ed25519) {
        return Err(BadCertificate::Algorithm);
    }
    let key = whole_bytes(&body.subject_pki.subject_public_key).ok_or(BadCertificate::KeyLen)?;
    let signature = whole_bytes(&certificate.signature_value).ok_or(BadCertificate::NotSelfSigned)?;
    let id = NodeId(key);
    if verify(&id, body.as_ref(), &Signature(signature)) { Ok(id) } else { Err(BadCertificate::NotSelfSigned) }
}

/// RFC 8410 section 3: the parameters must be absent.
fn is_ed25519(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm.to_id_string() == ED25519 && algorithm.parameters.is_none()
}

fn whole_bytes<const N: usize>(bits: &x509_parser::asn1_rs::BitString<'_>) -> Option<[u8; N]> {
    if bits.unused_bits != 0 {
        return None;
    }
    bits.data.as_ref().try_into().ok()
}
