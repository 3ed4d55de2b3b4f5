//! TLS as this product speaks it: version 1.3, one key exchange (X25519MLKEM768), one protocol
//! name, Ed25519 on both sides, peers known by their keys. No authority, no chain, no resumption.

use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, NamedGroup, PeerMisbehaved, SignatureScheme};
use tacit_crypto::{Signature, verify};
use tacit_types::{Code, Fault, NodeId};

use crate::certificate::public_key;
use crate::identity::Identity;

/// The one protocol name (ALPN, RFC 7301). Its number is the major wire version.
pub const ALPN: &[u8] = b"tacit/1";

/// A name that TLS demands and nobody reads: keys identify.
pub(crate) const SERVER_NAME: &str = "tacit";

/// The provider with everything taken out that this product does not speak.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519MLKEM768);
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    Arc::new(provider)
}

/// Eight bytes of the operating system's randomness.
pub(crate) fn random_u64() -> Result<u64, Fault> {
    let mut bytes = [0u8; 8];
    let filled = rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| Fault::new(Code::Internal, "the operating system gave no randomness"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The server side: every client must present a certificate; the gate judges its key later.
pub(crate) fn server(identity: &Identity) -> Result<QuicServerConfig, Fault> {
    QuicServerConfig::try_from(server_tls(identity)?).map_err(|e| Fault::new(Code::Internal, format!("tls: {e}")))
}

fn server_tls(identity: &Identity) -> Result<rustls::ServerConfig, Fault> {
    let provider = provider();
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .with_client_cert_verifier(Arc::new(AnyKey { provider }))
        .with_cert_resolver(identity.resolver());
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the certificate, and with it the check of the key.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The client side for one dial: the server's key must be one of `expected`. What key it showed is left
/// in `found`, so that a wrong one can be named.
pub(crate) fn client(
    identity: &Identity,
    expected: Vec<NodeId>,
    found: Arc<OnceLock<NodeId>>,
) -> Result<QuicClientConfig, Fault> {
    let provider = provider();
    let verifier = Arc::new(PinnedKey { provider: provider.clone(), expected, found });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(identity.resolver());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|e| Fault::new(Code::Internal, format!("tls: {e}")))
}

fn failed(e: rustls::Error) -> Fault {
    Fault::new(Code::Internal, format!("tls: {e}"))
}

/// The key of the one certificate that a peer presented.
fn single_key(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<NodeId, rustls::Error> {
    if !intermediates.is_empty() {
        return Err(rustls::Error::General("a chain, where one self-signed certificate is expected".into()));
    }
    public_key(end_entity).map_err(|e| rustls::Error::General(e.to_string()))
}

/// Whether the peer holds the key: rustls' own verification, then a strict one, because the usual
/// equation accepts forged signatures for keys of small order.
fn verify_handshake(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let valid = verify_tls13_signature(message, certificate, signed, &provider.signature_verification_algorithms)?;
    let key = public_key(certificate).map_err(|e| rustls::Error::General(e.to_string()))?;
    let strict = <[u8; 64]>::try_from(signed.signature()).is_ok_and(|raw| verify(&key, message, &Signature(raw)));
    if strict { Ok(valid) } else { Err(CertificateError::BadSignature.into()) }
}

/// The client's view of a server: a key that is pinned for it.
#[derive(Debug)]
struct PinnedKey {
    provider: Arc<CryptoProvider>,
    expected: Vec<NodeId>,
    found: Arc<OnceLock<NodeId>>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = single_key(end_entity, intermediates)?;
        let _ = self.found.set(key);
        if !self.expected.contains(&key) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_handshake(&self.provider, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The server's view of a client: any well-formed key that the client proves to hold.
#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        single_key(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_handshake(&self.provider, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The key behind a connection whose handshake is complete.
pub(crate) fn peer_key(connection: &quinn::Connection) -> Option<NodeId> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match chain.as_slice() {
        [one] => public_key(one).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, PeerIncompatible, RootCertStore, ServerConnection};
    use tacit_crypto::{Secret, SigningKey};

    fn answer(flight: &[u8]) -> Result<(), rustls::Error> {
        let identity = Identity::from_signing_key(&SigningKey::from_seed(&Secret::new([1; 32]))).unwrap();
        let mut server = ServerConnection::new(Arc::new(server_tls(&identity).unwrap())).unwrap();
        server.read_tls(&mut &*flight).unwrap();
        server.process_new_packets().map(drop)
    }

    /// A client hello of TLS 1.2 (RFC 5246 section 7.4.1.2), with what such a client would offer.
    fn tls_1_2_hello() -> Vec<u8> {
        let sized = |head: &[u8], body: &[u8]| [head, &(body.len() as u16).to_be_bytes(), body].concat();
        let extensions = [
            sized(&[0, 10], &sized(&[], &[0, 29])),
            sized(&[0, 13], &sized(&[], &[0x08, 0x07])),
            sized(&[0, 16], &sized(&[], &[&[ALPN.len() as u8], ALPN].concat())),
        ];
        let suites = sized(&[], &[0xc0, 0x2b]);
        let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &sized(&[], &extensions.concat())].concat();
        sized(&[22, 3, 1], &sized(&[1, 0], &body))
    }

    #[test]
    fn tls_1_2_is_refused_for_its_version_and_1_3_goes_on() {
        let refused = answer(&tls_1_2_hello()).unwrap_err();
        assert_eq!(refused, PeerIncompatible::SupportedVersionsExtensionRequired.into());

        let stock = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(stock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let mut flight = Vec::new();
        ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut flight).unwrap();
        assert_eq!(answer(&flight), Ok(()));
    }

    #[test]
    fn the_provider_speaks_one_key_exchange_and_no_old_suite() {
        let provider = provider();
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [NamedGroup::X25519MLKEM768]);
        assert!(!provider.cipher_suites.is_empty());
        assert!(provider.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
    }
}
