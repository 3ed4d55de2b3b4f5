//! A client and a server that are built from the QUIC library itself, to send what ours never would.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, NamedGroup, SignatureScheme};
use tacit_net::system_clock;
use tacit_types::wire;

/// What a raw peer presents. The default is what ours would.
#[derive(Clone)]
pub struct Raw {
    pub groups: Vec<NamedGroup>,
    pub alpn: Option<&'static [u8]>,
    pub chain: Option<Arc<CertifiedKey>>,
    /// Bytes that it takes on a stream before it reads.
    pub window: u32,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            groups: vec![NamedGroup::X25519MLKEM768],
            alpn: Some(tacit_net::ALPN),
            chain: Some(Arc::new(certified(&rcgen::PKCS_ED25519))),
            window: 1 << 20,
        }
    }
}

fn provider(groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|g| groups.contains(&g.name()));
    Arc::new(provider)
}

/// A self-signed certificate and key of an algorithm.
pub fn certified(algorithm: &'static rcgen::SignatureAlgorithm) -> CertifiedKey {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let der = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().der().clone();
    with_key(vec![der], &key)
}

pub fn with_key(chain: Vec<CertificateDer<'static>>, key: &rcgen::KeyPair) -> CertifiedKey {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&key).unwrap())
}

impl Raw {
    pub fn endpoint() -> quinn::Endpoint {
        quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    pub fn client(&self) -> quinn::ClientConfig {
        let builder = rustls::ClientConfig::builder_with_provider(provider(&self.groups))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything));
        let mut config = match &self.chain {
            Some(chain) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(chain.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|a| a.to_vec()).collect();
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(self.window.into());
        let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        client.transport_config(Arc::new(transport));
        client
    }

    /// A server that completes handshakes and then says nothing.
    pub fn server(&self) -> quinn::Endpoint {
        let mut config = rustls::ServerConfig::builder_with_provider(provider(&self.groups))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.chain.clone().unwrap())));
        config.alpn_protocols = self.alpn.iter().map(|a| a.to_vec()).collect();
        let crypto = QuicServerConfig::try_from(config).unwrap();
        let server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Some(incoming) = accepting.accept().await {
                held.push(incoming.await);
            }
        });
        endpoint
    }

    /// TLS alone. Under TLS 1.3 this says nothing yet about the client's certificate.
    pub async fn connect(&self, target: SocketAddr) -> Result<(quinn::Endpoint, quinn::Connection), String> {
        let endpoint = Self::endpoint();
        let connecting = endpoint.connect_with(self.client(), target, "tacit").map_err(|e| e.to_string())?;
        let connection = connecting.await.map_err(|e| e.to_string())?;
        Ok((endpoint, connection))
    }

    /// TLS and an honest hello.
    pub async fn member(&self, target: SocketAddr) -> Result<(quinn::Endpoint, quinn::Connection), String> {
        let (endpoint, connection) = self.connect(target).await?;
        let answer = hello(&connection, &hello_bytes(0)).await?;
        // The verdict follows the magic and the facts; its first variant is the acceptance.
        let software_len = u64::from_le_bytes(answer[12..20].try_into().unwrap()) as usize;
        match answer[20 + software_len + 16..][..4] {
            [0, 0, 0, 0] => Ok((endpoint, connection)),
            _ => Err(String::from_utf8_lossy(&answer).into_owned()),
        }
    }
}

/// The hello of wire version 1, written out by hand; `purpose` 0 is a member, 1 enrols.
pub fn hello_bytes(purpose: u32) -> Vec<u8> {
    let clock = system_clock()().0;
    wire::encode(&(*b"tacit hi", purpose, (1u16, 1u16), "raw/1", clock, 9u64))
}

pub fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

/// Sends a hello frame and returns the answer's body.
pub async fn hello(connection: &quinn::Connection, body: &[u8]) -> Result<Vec<u8>, String> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_all(&frame(body)).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|e| e.to_string())?;
    let answer = recv.read_to_end(4096).await.map_err(|e| e.to_string())?;
    answer.get(4..).map(<[u8]>::to_vec).ok_or_else(|| "no answer".into())
}

/// Accepts any server.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
