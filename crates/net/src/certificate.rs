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
    if !is_canonical(der, body.as_ref(), &signature) {
        return Err(BadCertificate::Malformed);
    }
    let id = NodeId(key);
    if verify(&id, body.as_ref(), &Signature(signature)) { Ok(id) } else { Err(BadCertificate::NotSelfSigned) }
}

/// RFC 8410 section 3: the parameters must be absent.
fn is_ed25519(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm.to_id_string() == ED25519 && algorithm.parameters.is_none()
}

/// The signature covers the body alone. This holds the rest to the one encoding that DER allows, so
/// that no two certificates differ only in what nobody signed.
fn is_canonical(der: &[u8], body: &[u8], signature: &[u8; 64]) -> bool {
    const ALGORITHM: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    const SIGNATURE_HEAD: [u8; 3] = [0x03, 0x41, 0x00];
    let len = body.len() + ALGORITHM.len() + SIGNATURE_HEAD.len() + signature.len();
    let [.., high, low] = len.to_be_bytes();
    let head: &[u8] = match len {
        0..=0x7f => &[0x30, low],
        0x80..=0xff => &[0x30, 0x81, low],
        _ => &[0x30, 0x82, high, low],
    };
    der == [head, body, &ALGORITHM, &SIGNATURE_HEAD, signature].concat()
}

fn whole_bytes<const N: usize>(bits: &x509_parser::asn1_rs::BitString<'_>) -> Option<[u8; N]> {
    if bits.unused_bits != 0 {
        return None;
    }
    bits.data.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (rcgen::KeyPair, CertificateDer<'static>) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let der = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().der().clone();
        (key, der)
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_refused_and_never_panics() {
        let (key, der) = good();
        let id: [u8; 32] = key.public_key_raw().try_into().unwrap();
        assert_eq!(public_key(&der), Ok(NodeId(id)));
        for at in 0..der.len() {
            assert!(public_key(&der[..at].into()).is_err(), "cut at {at}");
            for flip in [0x01, 0x80, 0xff, 0x20] {
                let mut bad = der.to_vec();
                bad[at] ^= flip;
                assert!(public_key(&bad.into()).is_err(), "byte {at} ^ {flip:#x}");
            }
        }
    }

    #[test]
    fn lying_lengths_are_refused() {
        let (_, der) = good();
        for at in 0..der.len() {
            for lie in [[0x84, 0xff, 0xff, 0xff, 0xff], [0x80, 0, 0, 0, 0], [0x88, 0x7f, 0xff, 0xff, 0xff]] {
                let mut bad = der[..at].to_vec();
                bad.extend_from_slice(&lie);
                bad.extend_from_slice(&der[at..]);
                assert!(public_key(&bad.into()).is_err(), "{at}");
            }
        }
        assert_eq!(public_key(&vec![0x30; CERTIFICATE_BYTES_MAX].into()), Err(BadCertificate::Malformed));
        assert_eq!(public_key(&vec![0x30; CERTIFICATE_BYTES_MAX + 1].into()), Err(BadCertificate::TooLong));
    }

    #[test]
    fn dates_and_names_count_for_nothing() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["bank.example".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(1991, 1, 1);
        let id: [u8; 32] = key.public_key_raw().try_into().unwrap();
        assert_eq!(public_key(params.self_signed(&key).unwrap().der()), Ok(NodeId(id)));
    }
}
