//! Who gets in, who does not, and what each side is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::NamedGroup;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use tacit_net::limits::CONNECTIONS_PER_PEER_MAX;
use tacit_net::{Config, Endpoint, Incoming, NetError, Purpose, Timing, Versions, doctor, system_clock};
use tacit_types::{Code, NodeId, UnixMillis};

use crate::raw::{self, Raw};
use crate::support::{address, echo, identity, loopback, node, open, pair, serve, within};

#[tokio::test]
async fn both_sides_ask_and_both_sides_are_known() {
    let p = pair().await;
    assert_eq!((p.dialler.peer(), p.acceptor.peer()), (identity(2).id(), identity(1).id()));
    assert!(p.dialler.dialled() && !p.acceptor.dialled());
    echo(p.acceptor.clone());
    echo(p.dialler.clone());
    assert_eq!(p.dialler.request(b"abc").await.unwrap(), b"cba");
    assert_eq!(p.acceptor.request(b"12").await.unwrap(), b"21");
    assert!(p.dialler.clock_ahead_ms().abs() < 1000);
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_named() {
    let (a, b) = (node(1, open()), node(2, open()));
    let pinned = identity(3).id();
    let error = a.connect(&address(&b), &pinned, Purpose::Member).await.unwrap_err();
    assert_eq!(error, NetError::Fingerprint { expected: pinned, found: b.id() });
    assert_eq!(error.code(), Code::NetFingerprint);
}

#[tokio::test]
async fn an_unknown_key_is_told_that_it_is_refused() {
    let known = identity(1).id();
    let gate = move |peer: &NodeId, purpose| match purpose {
        Purpose::Member if *peer == known => Ok(()),
        Purpose::Member => Err(Code::NetRefused),
        Purpose::Enrol => Err(Code::InviteUnknown),
    };
    let b = node(2, Config::with_gate(gate));
    serve(&b);
    let stranger = node(3, open());
    for (purpose, code) in [(Purpose::Member, Code::NetRefused), (Purpose::Enrol, Code::InviteUnknown)] {
        let error = stranger.connect(&address(&b), &b.id(), purpose).await.unwrap_err();
        assert!(matches!(error, NetError::Refused { .. }), "{error:?}");
        assert_eq!(error.code(), code);
    }
    let friend = node(1, open());
    let connection = friend.connect(&address(&b), &b.id(), Purpose::Member).await.unwrap();
    assert_eq!(connection.request(b"xy").await.unwrap(), b"yx");
}

#[tokio::test]
async fn an_endpoint_that_only_dials_lets_nobody_in() {
    let (a, b) = (node(1, open()), node(2, Config::default()));
    let error = a.connect(&address(&b), &b.id(), Purpose::Member).await.unwrap_err();
    assert_eq!(error.code(), Code::NetRefused);
}

#[tokio::test]
async fn versions_without_overlap_are_named_on_the_dialling_side() {
    let speaking = |min, max| Config { versions: Versions { min, max }, ..open() };
    let b = node(2, speaking(1, 3));
    serve(&b);
    for (min, max, spoken) in [(1, 1, Some(1)), (2, 9, Some(3)), (4, 5, None)] {
        let a = node(1, speaking(min, max));
        let result = a.connect(&address(&b), &b.id(), Purpose::Member).await;
        match (spoken, result) {
            (Some(version), Ok(connection)) => assert_eq!(connection.version(), version),
            (None, Err(error)) => {
                let (ours, theirs) = (Versions { min, max }, Versions { min: 1, max: 3 });
                assert_eq!(error, NetError::Version { ours, theirs });
                assert_eq!(error.code(), Code::NetVersion);
            }
            other => panic!("{min}..{max}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_clock_a_day_off_is_named_whoever_is_off() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let late = || Config { clock: Arc::new(|| UnixMillis(system_clock()().0 - DAY_MS)), ..open() };
    for (ours, theirs) in [(late(), open()), (open(), late())] {
        let (a, b) = (node(1, ours), node(2, theirs));
        match a.connect(&address(&b), &b.id(), Purpose::Member).await.unwrap_err() {
            error @ NetError::ClockSkew { ours, theirs } => {
                assert!(ours.0.abs_diff(theirs.0).abs_diff(DAY_MS) < 10_000, "{error}");
                assert_eq!(error.code(), Code::ClockSkew);
                assert!(
                    error.to_string().contains(&ours.to_string()) && error.to_string().contains(&theirs.to_string())
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_clock_that_the_server_tolerates_is_judged_by_the_client_too() {
    let strict = Config { clock_skew_max_ms: 1000, ..open() };
    let lax =
        Config { clock_skew_max_ms: u64::MAX, clock: Arc::new(|| UnixMillis(system_clock()().0 + 60_000)), ..open() };
    let (a, b) = (node(1, strict), node(2, lax));
    let error = a.connect(&address(&b), &b.id(), Purpose::Member).await.unwrap_err();
    assert_eq!(error.code(), Code::ClockSkew);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let a = node(1, open());
    let fault = Endpoint::bind(a.local_addr(), identity(2), open()).unwrap_err();
    assert_eq!(fault.code, Code::NetPortTaken);
    assert!(fault.what.contains(&a.local_addr().port().to_string()));
}

#[tokio::test]
async fn nobody_at_the_address_is_known_within_six_seconds() {
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let a = node(1, open());
    let begun = Instant::now();
    let target = silent.local_addr().unwrap().into();
    let error = a.connect(&target, &identity(2).id(), Purpose::Member).await.unwrap_err();
    assert_eq!(error.code(), Code::NetUnreachable);
    assert!(error.to_string().contains(&target.to_string()));
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    let a = node(1, open());
    let target = "no-such-host.invalid:7400".parse().unwrap();
    let error = within(6, "resolving", a.connect(&target, &identity(2).id(), Purpose::Member)).await.unwrap_err();
    assert_eq!(error.code(), Code::NetUnreachable);
}

/// A small-order key: the identity point. Under the plain equation it "signs" anything with R the
/// identity and s = 0.
#[derive(Debug)]
struct IdentityPoint;

const FORGED: [u8; 64] = {
    let mut signature = [0; 64];
    signature[0] = 1;
    signature
};

impl rcgen::PublicKeyData for IdentityPoint {
    fn der_bytes(&self) -> &[u8] {
        &FORGED[..32]
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}
impl rcgen::SigningKey for IdentityPoint {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(FORGED.to_vec())
    }
}
impl rustls::sign::SigningKey for IdentityPoint {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        Some(Box::new(IdentityPoint))
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}
impl rustls::sign::Signer for IdentityPoint {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(FORGED.to_vec())
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Peers that differ from ours in one way each.
fn strange_peers() -> Vec<(&'static str, Raw)> {
    let params = || rcgen::CertificateParams::new(vec![]).unwrap();
    let ed = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let chain = |key: CertifiedKey| Raw { chain: Some(Arc::new(key)), ..Raw::default() };

    let (ca, leaf) = (ed(), ed());
    let ca_params = params();
    let ca_der = ca_params.self_signed(&ca).unwrap().der().clone();
    let issuer = rcgen::Issuer::from_params(&ca_params, &ca);
    let issued = params().signed_by(&leaf, &issuer).unwrap().der().clone();

    let own = params().self_signed(&leaf).unwrap().der().clone();
    let other_key = ed();
    let mut trailing = own.to_vec();
    trailing.push(0);
    let mut huge = params();
    huge.subject_alt_names = vec![rcgen::SanType::DnsName("a".repeat(4000).try_into().unwrap())];
    let huge = huge.self_signed(&leaf).unwrap().der().clone();
    let forged =
        CertifiedKey::new(vec![params().self_signed(&IdentityPoint).unwrap().der().clone()], Arc::new(IdentityPoint));
    vec![
        ("key exchange X25519", Raw { groups: vec![NamedGroup::X25519], ..Raw::default() }),
        ("key exchange P-256", Raw { groups: vec![NamedGroup::secp256r1], ..Raw::default() }),
        ("another protocol name", Raw { alpn: Some(b"tacit/2"), ..Raw::default() }),
        ("no protocol name", Raw { alpn: None, ..Raw::default() }),
        ("an ECDSA key", chain(raw::certified(&rcgen::PKCS_ECDSA_P256_SHA256))),
        ("an RSA key", chain(raw::certified(&rcgen::PKCS_RSA_SHA256))),
        ("a chain of two", chain(raw::with_key(vec![issued.clone(), ca_der], &leaf))),
        ("the same certificate twice", chain(raw::with_key(vec![own.clone(), own.clone()], &leaf))),
        ("a certificate that another key issued", chain(raw::with_key(vec![issued], &leaf))),
        ("a certificate of another key", chain(raw::with_key(vec![own], &other_key))),
        ("a byte after the certificate", chain(raw::with_key(vec![trailing.into()], &leaf))),
        ("a certificate over the size limit", chain(raw::with_key(vec![huge], &leaf))),
        ("no certificate at all", chain(raw::with_key(vec![], &leaf))),
        ("a key of small order", chain(forged)),
    ]
}

#[tokio::test]
async fn strange_clients_are_refused_and_ours_is_not() {
    let b = node(2, open());
    serve(&b);
    let mut strange = strange_peers();
    strange.push(("no client authentication", Raw { chain: None, ..Raw::default() }));
    for (what, raw) in strange {
        let result = within(6, what, raw.member(b.local_addr())).await;
        assert!(result.is_err(), "{what}");
    }
    assert!(Raw::default().member(b.local_addr()).await.is_ok());
}

#[tokio::test]
async fn strange_servers_are_refused() {
    let a = node(1, open());
    for (what, raw) in strange_peers() {
        if what == "no certificate at all" {
            continue; // The library itself cannot serve without one.
        }
        let server = raw.server();
        // Pinned to the key that the server really shows, where it shows one.
        let key = raw.chain.as_ref().and_then(|c| c.cert.first()).map_or([0; 32], |der| ed25519_key(der));
        let target = server.local_addr().unwrap().into();
        let error = within(6, what, a.connect(&target, &NodeId(key), Purpose::Member)).await.unwrap_err();
        let expected = matches!(error.code(), Code::NetHandshake | Code::NetFingerprint);
        assert!(expected, "{what}: {error:?}");
    }
}

/// The 32 bytes after an Ed25519 algorithm identifier and the head of its bit string.
fn ed25519_key(der: &[u8]) -> [u8; 32] {
    const HEAD: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let at = der.windows(HEAD.len()).position(|w| w == HEAD);
    at.map_or([0; 32], |at| der[at + HEAD.len()..][..32].try_into().unwrap())
}

#[tokio::test]
async fn a_server_that_never_answers_the_hello_is_given_up() {
    let timing = Timing { connect: Duration::from_millis(700), ..Timing::default() };
    let a = node(1, Config { timing, ..open() });
    let raw = Raw::default();
    let server = raw.server();
    let key = NodeId(ed25519_key(&raw.chain.as_ref().unwrap().cert[0]));
    let target = server.local_addr().unwrap().into();
    let error = within(2, "the hello", a.connect(&target, &key, Purpose::Member)).await.unwrap_err();
    assert_eq!(error.code(), Code::NetDeadline, "{error:?}");
}

#[test]
fn a_killed_peer_is_noticed_within_the_idle_timeout() {
    let timing = Timing { keep_alive: Duration::from_millis(200), idle: Duration::from_secs(1), ..Timing::default() };
    let quick = move || Config { timing, ..open() };
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let b = doomed.block_on(async { node(2, quick()) });
    let (target, peer) = (address(&b), b.id());
    doomed.spawn(async move {
        let connection = b.accept().await.unwrap();
        echo(connection.clone());
        connection.closed().await;
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async move {
        let a = node(1, quick());
        let connection = a.connect(&target, &peer, Purpose::Member).await.unwrap();
        assert_eq!(connection.request(b"1").await.unwrap(), b"1");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(connection.end(), None, "keep-alives hold an idle connection");
        // Every task of the peer vanishes between two instructions; nothing more is sent.
        doomed.shutdown_background();
        let begun = Instant::now();
        let why = within(4, "noticing", connection.closed()).await;
        assert_eq!(why.code(), Code::NetLost);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    });
}

#[tokio::test]
async fn closing_tells_the_peer_at_once() {
    let p = pair().await;
    let begun = Instant::now();
    p.endpoints.1.close().await;
    let why = within(1, "closing", p.dialler.closed()).await;
    assert_eq!(why, NetError::Closed { by_peer: true, reason: tacit_net::CloseReason::Shutdown });
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(p.endpoints.1.accept().await.is_none());
}

#[tokio::test]
async fn one_key_may_hold_few_connections() {
    let (a, b) = (node(1, open()), node(2, open()));
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_PER_PEER_MAX {
        held.push(a.connect(&address(&b), &b.id(), Purpose::Member).await.unwrap());
        held.push(b.accept().await.unwrap());
    }
    let error = a.connect(&address(&b), &b.id(), Purpose::Member).await.unwrap_err();
    assert_eq!(error.code(), Code::NetRefused);
    held.pop().unwrap().close(tacit_net::CloseReason::Done);
    let again = async {
        while a.connect(&address(&b), &b.id(), Purpose::Member).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(3, "a freed place", again).await;
}

#[tokio::test]
async fn enrolment_is_narrow_in_one_direction_and_wide_in_the_other() {
    let (a, b) = (node(1, open()), node(2, open()));
    let target = address(&b);
    let key = b.id();
    let (ours, theirs) = tokio::join!(a.connect(&target, &key, Purpose::Enrol), b.accept());
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert_eq!((theirs.purpose(), theirs.peer()), (Purpose::Enrol, a.id()));
    let asked = AtomicU64::new(0);
    let coordinator = async {
        while let Ok(Incoming::Request { bytes, responder }) = theirs.accept().await {
            asked.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            responder.respond(&vec![7; 300_000]).await.unwrap();
        }
    };
    let newcomer = async {
        assert_eq!(ours.request(&[1; 16 << 10]).await.unwrap().len(), 300_000);
        // A data stream has no credit.
        let stream = tokio::time::timeout(Duration::from_millis(300), ours.open_stream(b"h")).await;
        assert!(stream.is_err() || stream.unwrap().is_err());
        // One byte more than an enrolment needs ends it.
        let error = ours.request(&[1; (16 << 10) + 1]).await.unwrap_err();
        assert_eq!(error.code(), Code::NetLost, "{error:?}");
    };
    within(5, "enrolment", async { tokio::join!(coordinator, newcomer) }).await;
    assert_eq!(asked.load(Ordering::Relaxed), 16 << 10);
    assert_eq!(theirs.closed().await.code(), Code::NetFrame);
}

#[tokio::test]
async fn a_connection_that_came_to_enrol_does_not_stay() {
    let timing = Timing { enrol: Duration::from_millis(400), ..Timing::default() };
    let (a, b) = (node(1, open()), node(2, Config { timing, ..open() }));
    let (target, key) = (address(&b), b.id());
    let (ours, theirs) = tokio::join!(a.connect(&target, &key, Purpose::Enrol), b.accept());
    let begun = Instant::now();
    let why = within(3, "the end", ours.unwrap().closed()).await;
    assert_eq!(why, NetError::Closed { by_peer: true, reason: tacit_net::CloseReason::Limit });
    assert!(begun.elapsed() > Duration::from_millis(200));
    drop(theirs);
}

#[tokio::test]
async fn the_doctor_names_the_failing_hop() {
    let (a, b) = (node(1, open()), node(2, open()));
    serve(&b);
    let names = |checks: &[doctor::Check]| checks.iter().map(|c| (c.name, c.ok)).collect::<Vec<_>>();
    let well = doctor::probe(&a, &address(&b), &b.id(), Purpose::Member).await;
    let all = ["address", "path", "key", "admission", "clock", "line"];
    assert_eq!(names(&well), all.map(|name| (name, true)), "{well:?}");
    assert!(well[5].detail.contains("bytes"), "{well:?}");

    let wrong_key = doctor::probe(&a, &address(&b), &identity(9).id(), Purpose::Member).await;
    assert_eq!(names(&wrong_key), [("address", true), ("path", true), ("key", false)]);
    assert_eq!(wrong_key[2].code, Some(Code::NetFingerprint));

    let closed = node(3, Config::default());
    let refused = doctor::probe(&a, &address(&closed), &closed.id(), Purpose::Member).await;
    assert_eq!(names(&refused)[1..], [("path", true), ("key", true), ("admission", false)]);
    assert_eq!(refused[3].code, Some(Code::NetRefused));

    let quick = Timing { connect: Duration::from_millis(300), ..Timing::default() };
    let hasty = node(4, Config { timing: quick, ..open() });
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let gone = doctor::probe(&hasty, &silent.local_addr().unwrap().into(), &b.id(), Purpose::Member).await;
    assert_eq!(names(&gone), [("address", true), ("path", false)]);
    assert_eq!(gone[1].code, Some(Code::NetUnreachable));
}

/// A gate that knows the nodes 1 and 2, of which 2 has the key 12 now, and had the keys `over` before.
#[derive(Clone)]
struct Changed {
    over: Vec<NodeId>,
    missed: Arc<AtomicU64>,
}

impl Changed {
    fn new(over: &[u8]) -> Self {
        Self { over: over.iter().map(|n| identity(*n).id()).collect(), missed: Arc::default() }
    }
}

impl tacit_net::Gate for Changed {
    fn admit(&self, key: &NodeId, _: Purpose) -> Result<(), Code> {
        let id = self.id_of(key);
        match [1, 2].contains(&self.n(&id)) {
            true if !self.over.contains(key) => Ok(()),
            true => Err(Code::ReceiptKeyRetired),
            false => Err(Code::NetRefused),
        }
    }

    fn id_of(&self, key: &NodeId) -> NodeId {
        if self.n(key) == 12 { identity(2).id() } else { *key }
    }

    fn keys_of(&self, peer: &NodeId) -> Vec<NodeId> {
        let keys = if self.n(peer) == 2 { vec![*peer, identity(12).id()] } else { vec![*peer] };
        keys.into_iter().filter(|key| !self.over.contains(key)).collect()
    }

    fn mismatch(&self, _: &NodeId, _: &NodeId) {
        self.missed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Changed {
    fn n(&self, key: &NodeId) -> u8 {
        [1, 2, 12].into_iter().find(|n| identity(*n).id() == *key).unwrap_or(0)
    }
}

#[tokio::test]
async fn a_peer_is_known_by_its_id_whichever_of_its_keys_it_shows() {
    let id = identity(2).id();
    let speaking = |n: u8, gate: &Changed| {
        let identity = identity(n).speaking_for(id);
        Endpoint::bind(loopback(), identity, Config::with_gate(gate.clone())).unwrap()
    };
    let overlap = Changed::new(&[]);
    for shown in [2, 12] {
        let (a, b) = (node(1, Config::with_gate(overlap.clone())), speaking(shown, &overlap));
        assert_eq!(b.id(), id);
        let (here, there, own) = (address(&a), address(&b), a.id());
        let (out, came) = tokio::join!(a.connect(&there, &id, Purpose::Member), b.accept());
        let (out, came) = (out.unwrap(), came.unwrap());
        assert_eq!((out.peer(), out.key(), came.peer()), (id, identity(shown).id(), a.id()));
        let (out, came) = tokio::join!(b.connect(&here, &own, Purpose::Member), a.accept());
        let (_out, came) = (out.unwrap(), came.unwrap());
        assert_eq!((came.peer(), came.key()), (id, identity(shown).id()));
    }
    // The key of before is over: as a client it is told so, and as a server it is another's.
    let after = Changed::new(&[2]);
    let (a, old) = (node(1, Config::with_gate(after.clone())), speaking(2, &after));
    let told = old.connect(&address(&a), &a.id(), Purpose::Member).await.unwrap_err();
    assert_eq!(told.code(), Code::ReceiptKeyRetired);
    let error = a.connect(&address(&old), &id, Purpose::Member).await.unwrap_err();
    assert_eq!(error, NetError::Fingerprint { expected: id, found: identity(2).id() });
    assert_eq!(after.missed.load(Ordering::SeqCst), 1);
}
