//! What both ends of a link have signed is shown beside the receipt, and nothing else is.

mod common;

use std::path::Path;
use std::process::Command;

use common::*;
use serde_json::Value;
use tacit_crypto::{Statement, cbor, sha256};
use tacit_receipts::link::{
    LINK_LEAF_BYTES_MAX, LINK_PROOF_BYTES_MAX, LINK_SEAL_BYTES_MAX, LinkProof, LinkSeal, LinkState,
};
use tacit_receipts::record::{LINKED_PARTIES_MAX, RECORD_VERSION, RECORD_VERSION_DISPUTED, RECORD_VERSION_LINKED};
use tacit_receipts::*;
use tacit_types::*;

const SESSION: Hash = Hash([6; 32]);

fn scope(record: &UsageRecord) -> LinkScope {
    LinkScope { job: record.job, attempt: record.attempt, session: SESSION }
}

/// What went from a party to another: a frame more, the farther they are apart.
fn flow(world: &World, record: &UsageRecord, from: usize, to: usize) -> Flow {
    let mut chain = FlowChain::new(&scope(record), &world.party(from).id(), &world.party(to).id());
    (0..=from.abs_diff(to)).for_each(|n| chain.take(&[from as u8, to as u8, n as u8]));
    chain.flow()
}

/// A party's seal of its link with another.
fn seal(world: &World, record: &UsageRecord, (from, to): (usize, usize), lie: bool) -> Vec<u8> {
    let (mut sent, received) = (flow(world, record, from, to), flow(world, record, to, from));
    sent.frames += u64::from(lie);
    let ends = (world.party(from).id(), world.party(to).id());
    LinkSeal::sign(&world.signer(from), &scope(record), ends, (sent, received), world.now).bytes().to_vec()
}

/// How parties behave: who lies to whom, and who does not answer whom.
#[derive(Clone, Copy, Default)]
struct Conduct {
    lies: Option<(usize, usize)>,
    silent: Option<(usize, usize)>,
}

/// A party's leaves in the order of the other ends' ids, and those ends.
fn leaves(world: &World, record: &UsageRecord, i: usize, conduct: Conduct) -> Vec<(usize, Vec<u8>)> {
    let mut others: Vec<usize> = (0..world.parties).filter(|other| *other != i).collect();
    others.sort_by_key(|other| world.party(*other).id());
    let leaf = |other: usize| {
        let of = |from, to| seal(world, record, (from, to), conduct.lies == Some((from, to)));
        let (own, ids) = (of(i, other), (world.party(i).id(), world.party(other).id()));
        let theirs = (conduct.silent != Some((other, i))).then(|| of(other, i));
        (other, LinkLeaf::new((&ids.0, &own), (&ids.1, theirs.as_deref())).to_bytes())
    };
    others.into_iter().map(leaf).collect()
}

fn root(leaves: &[(usize, Vec<u8>)]) -> Hash {
    links_root(leaves.iter().map(|(_, leaf)| leaf.as_slice())).unwrap()
}

/// What a record has of the parties' links.
fn entry(world: &World, record: &UsageRecord, i: usize, conduct: Conduct) -> PartyLinks {
    let all = leaves(world, record, i, conduct);
    let seat = |i: usize| Seat(i as u16);
    let differs = |(a, b): (usize, usize)| (a == i).then_some(b).or((b == i).then_some(a));
    let differing = conduct.lies.and_then(differs).map(seat).into_iter().collect();
    let unsealed = u16::from(conduct.silent.is_some_and(|(_, to)| to == i));
    PartyLinks { seat: seat(i), root: root(&all), differing, unsealed }
}

/// A job with links, to its receipt, and its record.
fn linked(world: &mut World, job: u8, conduct: Conduct) -> (u64, UsageRecord) {
    let mut record = world.record(job);
    record.version = RECORD_VERSION_LINKED;
    record.links = (0..world.parties).map(|i| entry(world, &record, i, conduct)).collect();
    let roots: Vec<Option<Hash>> = record.links.iter().map(|links| Some(links.root)).collect();
    (publish(world, &record, &roots), record)
}

fn attest(world: &mut World, i: usize, record: &UsageRecord, transcript: Option<Hash>) -> Statement<Attestation> {
    let role = record.parties[i].role;
    let body = Attestation { transcript, ..Attestation::agreeing(record, role, Some(world.seen())) };
    world.attest_with(i, record, body)
}

/// The receipt of a record that the parties attest with these roots, whatever they are.
fn publish(world: &mut World, record: &UsageRecord, roots: &[Option<Hash>]) -> u64 {
    let signed: Vec<_> = roots.iter().enumerate().map(|(i, root)| attest(world, i, record, *root)).collect();
    let attestations = signed.iter().map(|a| a.bytes().to_vec().into()).collect();
    world.publish(JointReceipt {
        record: record.clone(),
        attestations,
        price_plan: None,
        charges: None,
        absent: vec![],
    })
}

fn proof(world: &World, record: &UsageRecord, (i, other): (usize, usize), conduct: Conduct) -> LinkProof {
    let all = leaves(world, record, i, conduct);
    let place = all.iter().position(|(end, _)| *end == other).unwrap() as u64;
    let leaves: Vec<Vec<u8>> = all.into_iter().map(|(_, leaf)| leaf).collect();
    let ends = (world.party(i).id(), world.party(other).id());
    LinkProof::new((record.job, record.attempt), ends, place, &leaves).unwrap()
}

fn find(world: &World, proof: &LinkProof) -> Result<link::ShownLink, Fault> {
    link::find(proof, &world.bundle().to_bytes(), Some(&world.trust()))
}

fn codes(report: &Report) -> Vec<Code> {
    report.faults.iter().map(|f| f.code).collect()
}

/// What is found where a party's attestation does not fit the record: it does not count.
const UNLIKE: [Code; 2] = [Code::ReceiptLink, Code::ReceiptAttestationMissing];

#[test]
fn a_party_shows_what_it_sent_and_that_the_other_end_signed_for_it() {
    let mut world = World::new(4);
    world.job(1);
    let honest = Conduct::default();
    let (leaf, record) = linked(&mut world, 2, honest);
    let report = world.report();
    assert!(report.is_valid() && report.valid == 2 && report.notices.is_empty(), "{:#?}", report);
    for i in 0..4 {
        for other in (0..4).filter(|other| *other != i) {
            let proof = proof(&world, &record, (i, other), honest);
            assert_eq!(LinkProof::parse(&proof.to_bytes()).unwrap(), proof);
            let shown = find(&world, &proof).unwrap();
            assert_eq!((shown.leaf, shown.link.state), (leaf, LinkState::Sealed));
            let own = shown.link.here.unwrap();
            assert_eq!((own.sent, own.received), (flow(&world, &record, i, other), flow(&world, &record, other, i)));
            // One leaf at both ends.
            assert_eq!(proof.leaf, super_leaf(&world, &record, (other, i)));
        }
    }
    let proof = proof(&world, &record, (1, 2), honest);
    let single = link::find(&proof, &world.single(&[leaf]).to_bytes(), Some(&world.trust())).unwrap();
    assert_eq!(single.link.state, LinkState::Sealed);
    // The receipt of before has no links.
    let before = LinkProof { job: JobId([1; 32]), ..proof };
    assert_eq!(find(&world, &before).unwrap_err().code, Code::ReceiptLink);
}

fn super_leaf(world: &World, record: &UsageRecord, ends: (usize, usize)) -> minicbor::bytes::ByteVec {
    proof(world, record, ends, Conduct::default()).leaf
}

#[test]
fn a_link_of_another_party_attempt_or_place_is_not_shown() {
    let mut world = World::new(4);
    let honest = Conduct::default();
    let (_, record) = linked(&mut world, 1, honest);
    let (_, other) = linked(&mut world, 2, honest);
    let good = proof(&world, &record, (1, 2), honest);
    let id = |i: usize| world.party(i).id();
    let wrong = [
        ("another attempt's", LinkProof { job: other.job, ..good.clone() }),
        ("another party's", LinkProof { party: id(0), ..good.clone() }),
        ("to another end", LinkProof { peer: id(3), ..good.clone() }),
        ("to itself", LinkProof { peer: id(1), ..good.clone() }),
        ("at another place", LinkProof { index: (good.index + 1) % 3, ..good.clone() }),
        ("of more", LinkProof { size: 4, ..good.clone() }),
        ("with another leaf", LinkProof { leaf: proof(&world, &record, (1, 3), honest).leaf, ..good.clone() }),
        ("with another path", LinkProof { path: good.path.iter().rev().copied().collect(), ..good.clone() }),
        ("of the other end's root", proof(&world, &other, (1, 2), honest)),
    ];
    for (what, proof) in &wrong[..8] {
        assert!(matches!(find(&world, proof).unwrap_err().code, Code::ReceiptLink | Code::LogProof), "{what}");
    }
    assert!(find(&world, &wrong[8].1).is_ok(), "of the other job it is good");
    let stranger = LinkProof { party: key(9).id(), ..good.clone() };
    assert_eq!(find(&world, &stranger).unwrap_err().code, Code::ReceiptUnknown);
    // Every byte of the file counts.
    let bytes = good.to_bytes();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let found = LinkProof::parse(&altered).and_then(|proof| {
            let bundle = &record;
            let mut again = World::new(4);
            let _ = linked(&mut again, 1, honest);
            let said = attest(&mut again, 1, bundle, Some(record.links[1].root));
            proof.verify(bundle, &said, KeyHistory::none())
        });
        assert!(found.is_err(), "byte {at}");
    }
}

#[test]
fn an_end_that_signs_otherwise_is_named_and_the_rest_settles() {
    let mut world = World::new(3);
    let conduct = Conduct { lies: Some((2, 0)), silent: Some((1, 2)) };
    let (leaf, record) = linked(&mut world, 1, conduct);
    let report = world.report();
    assert!(report.is_valid(), "the use stands: {:#?}", report.faults);
    assert_eq!(report.notices, [Notice::LinksDisputed { leaf, count: 1 }]);
    let state = |ends| find(&world, &proof(&world, &record, ends, conduct)).unwrap().link.state;
    assert_eq!([state((0, 2)), state((2, 0))], [LinkState::Differs; 2]);
    assert_eq!([state((0, 1)), state((1, 0)), state((1, 2))], [LinkState::Sealed; 3]);
    assert_eq!(state((2, 1)), LinkState::Unsealed, "what did not come says so");
    assert_eq!((record.links[0].differing.clone(), record.links[2].unsealed), (vec![Seat(2)], 1));
}

#[test]
fn a_root_that_is_left_out_or_altered_is_found() {
    let roots = |record: &UsageRecord| record.links.iter().map(|links| Some(links.root)).collect::<Vec<_>>();
    let with = |alter: &dyn Fn(&mut UsageRecord), signed: &dyn Fn(&mut Vec<Option<Hash>>)| {
        let mut world = World::new(3);
        let mut record = world.record(1);
        record.version = RECORD_VERSION_LINKED;
        record.links = (0..3).map(|i| entry(&world, &record, i, Conduct::default())).collect();
        let mut roots = roots(&record);
        alter(&mut record);
        signed(&mut roots);
        publish(&mut world, &record, &roots);
        codes(&world.report())
    };
    assert_eq!(with(&|_| {}, &|_| {}), []);
    assert_eq!(with(&|r| r.links[1].root = Hash([9; 32]), &|_| {}), UNLIKE, "altered in the record");
    assert_eq!(with(&|r| drop(r.links.remove(1)), &|_| {}), UNLIKE, "left out of it");
    assert_eq!(with(&|_| {}, &|roots| roots[1] = None), UNLIKE, "left out by the party");
    assert_eq!(with(&|_| {}, &|roots| roots[2] = Some(Hash([9; 32]))), UNLIKE, "another of the party");
    assert_eq!(with(&|_| {}, &|roots| roots.swap(0, 2)), [UNLIKE[0], UNLIKE[0], UNLIKE[1]]);
    let without = |r: &mut UsageRecord| (r.version, r.links) = (RECORD_VERSION, vec![]);
    assert_eq!(with(&without, &|_| {}).first(), Some(&Code::ReceiptLink), "all of them left out");
    let aborted = |r: &mut UsageRecord| {
        without(r);
        r.status = Status::Aborted { code: Code::JobPeerLost, step: None, seat: None };
        (r.result, r.disclosures) = (None, vec![]);
    };
    assert_eq!(with(&aborted, &|_| {}), [], "of an attempt without a result a report may have come later");
    for lang in [Lang::En, Lang::Zh] {
        assert!(!Code::ReceiptLink.title(lang).is_empty());
    }
    // A coordinator that puts a record of its own under their signatures.
    let mut world = World::new(3);
    let (_, mut record) = linked(&mut world, 1, Conduct::default());
    let signed: Vec<_> = (0..3).map(|i| attest(&mut world, i, &record, Some(record.links[i].root))).collect();
    record.links[1].root = Hash([9; 32]);
    let attestations = signed.iter().map(|a| a.bytes().to_vec().into()).collect();
    record.attempt = Attempt(2);
    world.publish(JointReceipt { record, attestations, price_plan: None, charges: None, absent: vec![] });
    assert!(codes(&world.report()).contains(&Code::ReceiptDigest));
}

#[test]
fn what_a_record_says_of_links_is_bounded_and_in_order() {
    let linked = |parties: usize| {
        let mut record = World::new(parties).record(1);
        record.version = RECORD_VERSION_LINKED;
        let links = |i: usize| PartyLinks { seat: Seat(i as u16), root: Hash([7; 32]), differing: vec![], unsealed: 0 };
        record.links = (0..parties).map(links).collect();
        record
    };
    let with = |alter: &dyn Fn(&mut UsageRecord)| {
        let mut record = linked(3);
        alter(&mut record);
        record.check().map_err(|fault| fault.code)
    };
    let wrong = Err(Code::ReceiptRecord);
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|r| r.links.truncate(1)), Ok(()), "who has not reported has none");
    assert_eq!(with(&|r| r.version = RECORD_VERSION), wrong);
    assert_eq!(with(&|r| r.version = RECORD_VERSION_DISPUTED), wrong);
    assert_eq!(with(&|r| r.version = RECORD_VERSION_LINKED + 1), wrong);
    assert_eq!(with(&|r| r.links.clear()), wrong);
    assert_eq!(with(&|r| r.links.swap(0, 1)), wrong);
    assert_eq!(with(&|r| r.links[1].seat = Seat(0)), wrong);
    assert_eq!(with(&|r| r.links[2].seat = Seat(3)), wrong);
    assert_eq!(with(&|r| r.links[0].differing = vec![Seat(1), Seat(2)]), Ok(()));
    assert_eq!(with(&|r| r.links[0].differing = vec![Seat(2), Seat(1)]), wrong);
    assert_eq!(with(&|r| r.links[0].differing = vec![Seat(1), Seat(1)]), wrong);
    assert_eq!(with(&|r| r.links[0].differing = vec![Seat(0)]), wrong);
    assert_eq!(with(&|r| r.links[0].differing = vec![Seat(3)]), wrong);
    assert_eq!(with(&|r| r.links[0].unsealed = 2), Ok(()));
    assert_eq!(with(&|r| r.links[0].unsealed = 3), wrong);
    let both = |r: &mut UsageRecord| (r.links[0].differing, r.links[0].unsealed) = (vec![Seat(1)], 2);
    assert_eq!(with(&both), wrong);
    assert_eq!(linked(LINKED_PARTIES_MAX).check(), Ok(()));
    assert_eq!(linked(LINKED_PARTIES_MAX + 1).check().unwrap_err().code, Code::ReceiptRecord);
    // A disputed line beside them.
    let differ = |r: &mut UsageRecord| r.lines[1].differing = vec![Sighting { seat: Seat(2), quantity: 7 }];
    assert_eq!(with(&differ), Ok(()));
    // Without them the bytes are those of before.
    let mut plain = linked(3);
    (plain.version, plain.links) = (RECORD_VERSION, vec![]);
    assert_eq!(cbor::encode(&plain), cbor::encode(&World::new(3).record(1)));
}

#[test]
fn one_byte_more_than_a_seal_a_leaf_or_a_file_has_is_refused() {
    let one = NodeId([1; 32]);
    let any: &link::Speaks<'_> = &|_, _| true;
    let code = |fault: Fault| fault.code;
    let long = |bytes: usize, of: &dyn Fn(&[u8]) -> Fault| of(&vec![0; bytes]).what;
    let seal = |bytes: &[u8]| LinkSeal::read(bytes, (&one, &one), any).unwrap_err();
    assert!(long(LINK_SEAL_BYTES_MAX + 1, &seal).contains("at most"));
    assert!(!long(LINK_SEAL_BYTES_MAX, &seal).contains("at most"));
    let leaf = |bytes: &[u8]| LinkLeaf::parse(bytes).unwrap_err();
    assert!(long(LINK_LEAF_BYTES_MAX + 1, &leaf).contains("at most"));
    assert!(!long(LINK_LEAF_BYTES_MAX, &leaf).contains("at most"));
    let file = |bytes: &[u8]| LinkProof::parse(bytes).unwrap_err();
    assert!(long(LINK_PROOF_BYTES_MAX + 1, &file).contains("at most"));
    assert!(!long(LINK_PROOF_BYTES_MAX, &file).contains("at most"));
    assert_eq!(LinkSeal::read(&[], (&one, &one), any).map_err(code), Err(Code::ReceiptLink));
    // The longest there are fit: a real leaf and its file are well below.
    let mut world = World::new(4);
    let (_, record) = linked(&mut world, 1, Conduct::default());
    let proof = proof(&world, &record, (1, 2), Conduct::default());
    assert!(proof.leaf.len() <= LINK_LEAF_BYTES_MAX && proof.to_bytes().len() < LINK_PROOF_BYTES_MAX / 2);
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/receipts/links.json")).unwrap()
}

#[test]
fn the_vectors_are_what_the_script_makes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/receipts/links.py");
    match Command::new("python3").arg(script).arg("--check").output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => without_python("links", &error),
    }
}

/// Links of the second implementation are those of the first, to the byte.
#[test]
fn links_of_the_second_implementation_hold_and_have_our_bytes() {
    let vectors = vectors();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let trust = Trust::parse(&bytes(&vectors["trust"])).unwrap();
    let bundle = bytes(&vectors["bundle"]);
    let report = verify_bundle(&bundle, Some(&trust)).unwrap();
    assert!(report.is_valid(), "{:#?}", report.faults);
    assert_eq!(report.notices, [Notice::LinksDisputed { leaf: 2, count: 1 }]);
    let parsed = Bundle::parse(&bundle).unwrap();
    let Leaf::Receipt(receipt) = Leaf::read(&parsed.leaves[2]).unwrap() else { panic!("no receipt") };
    let record = &receipt.body().record;
    assert_eq!(cbor::encode(receipt.body()), receipt.envelope().body);
    assert_eq!((record.version, record.links.len()), (RECORD_VERSION_LINKED, 3));
    // The frames of one direction, and the chain over them.
    let frames = vectors["frames"].as_array().unwrap();
    let session = Hash(bytes(&vectors["session"]).try_into().unwrap());
    let scope = LinkScope { job: record.job, attempt: record.attempt, session };
    let mut chain = FlowChain::new(&scope, &record.parties[0].party, &record.parties[1].party);
    frames.iter().for_each(|frame| chain.take(&bytes(frame)));
    let states = vectors["states"].as_array().unwrap();
    for (file, state) in vectors["proofs"].as_array().unwrap().iter().zip(states) {
        let proof = LinkProof::parse(&bytes(file)).unwrap();
        assert_eq!(proof.to_bytes(), bytes(file));
        let shown = link::find(&proof, &bundle, Some(&trust)).unwrap();
        assert_eq!(shown.link.state.word(), state.as_str().unwrap());
        if (proof.party, proof.peer) == (record.parties[0].party, record.parties[1].party) {
            assert_eq!(shown.link.here.unwrap().sent, chain.flow());
            // This implementation signs the same bytes.
            let seal = shown.link.here.unwrap();
            let ends = (seal.from, seal.to);
            let again = LinkSeal::sign(&key(100), &scope, ends, (seal.sent, seal.received), record.ended);
            assert_eq!(sha256(again.bytes()).to_string(), vectors["seal"].as_str().unwrap());
        }
    }
    let wrong = verify_bundle(&bytes(&vectors["bundle_of_another_root"]), Some(&trust)).unwrap();
    assert_eq!(codes(&wrong), UNLIKE);
}
