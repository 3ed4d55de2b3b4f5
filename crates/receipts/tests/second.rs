//! The log's formats against a second implementation, `tests/vectors/receipts/log.py`: the same bytes from the same
//! seeds, and both forms of proof with every byte of them altered.

mod common;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tacit_crypto::{Secret, SigningKey, Statement, cbor};
use tacit_receipts::cose::{self, COSE_RECEIPT_BYTES_MAX, COSE_RECEIPTS_MAX};
use tacit_receipts::merkle::{consistency_proof, leaf_hash, root};
use tacit_receipts::policy::{POLICY_BYTES_MAX, POLICY_ENTRIES_MAX, Policy};
use tacit_receipts::*;
use tacit_types::{Code, Hash};

struct Vectors(Value);

impl Vectors {
    fn read() -> Self {
        Self(serde_json::from_str(include_str!("../../../tests/vectors/receipts/log.json")).unwrap())
    }

    fn text(&self, name: &str) -> String {
        self.0[name].as_str().unwrap().to_owned()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    fn all_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        self.all(name).iter().map(|text| hex::decode(text).unwrap()).collect()
    }

    fn log(&self) -> VerifierKey {
        VerifierKey::parse(&self.text("log_key")).unwrap()
    }

    fn log_secret(&self) -> SigningKey {
        SigningKey::from_seed(&Secret::new(self.bytes("log_seed").try_into().unwrap()))
    }

    fn tree(&self) -> MemTree {
        let mut tree = MemTree::default();
        self.all_bytes("leaves").iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        tree
    }
}

#[test]
fn the_vectors_are_what_the_script_makes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/receipts/log.py");
    match Command::new("python3").arg(script).arg("--check").output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => common::without_python("the log", &error),
    }
}

#[test]
fn a_log_of_the_second_implementation_is_valid_and_has_our_bytes() {
    let vectors = Vectors::read();
    let trust = Trust::parse(&vectors.bytes("trust")).unwrap();
    let report = verify_bundle(&vectors.bytes("bundle"), Some(&trust)).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!((report.leaves, report.receipts, report.valid, report.cosigned.len()), (8, 5, 5, 2));
    assert_eq!(report.notices, [Notice::LinesDisputed { leaf: 7, count: 1 }]);
    let bundle = Bundle::parse(&vectors.bytes("bundle")).unwrap();
    assert_eq!(cbor::encode(&bundle), vectors.bytes("bundle"));
    for leaf in vectors.all_bytes("leaves") {
        match Leaf::read(&leaf).unwrap() {
            Leaf::Receipt(s) => assert_eq!(cbor::encode(s.body()), s.envelope().body),
            Leaf::Attestation(s) => assert_eq!(cbor::encode(s.body()), s.envelope().body),
            Leaf::Genesis(s) => assert_eq!(cbor::encode(s.body()), s.envelope().body),
            Leaf::KeyEvent(s) => assert_eq!(cbor::encode(s.body()), s.envelope().body),
            other => panic!("{other:?}"),
        }
    }
    // What opens a figure of a receipt has the same bytes and the same commitment on both sides.
    for (leaf, bytes) in (2..).zip(vectors.all_bytes("openings")) {
        let opening = Opening::parse(&bytes).unwrap();
        assert_eq!(opening.to_bytes().as_slice(), bytes);
        assert_eq!(opening.value(), 1000 + leaf - 1);
        assert_eq!(opening::find(&opening, &vectors.bytes("bundle"), Some(&trust)).unwrap().leaf, leaf);
    }
    let tree = vectors.tree();
    for (n, expected) in (0..).zip(vectors.all("roots")) {
        assert_eq!(root(&tree, n).unwrap().to_string(), expected);
    }
    for (n, expected) in (0..).zip(vectors.0["consistency"].as_array().unwrap()) {
        let proof: Vec<String> = consistency_proof(&tree, n, 8).unwrap().iter().map(Hash::to_string).collect();
        assert_eq!(serde_json::json!(proof), *expected);
    }
    let head = Checkpoint { origin: vectors.text("origin"), size: 8, root: tree.root() };
    let signed = head.sign(&vectors.log(), &vectors.log_secret()).unwrap();
    assert!(vectors.text("checkpoint").starts_with(&signed.note().to_string()));
}

/// What is no properly marked dispute is a fault, in both implementations.
#[test]
fn disputed_lines_are_marked_as_the_second_implementation_has_it() {
    let vectors = Vectors::read();
    let Leaf::Receipt(receipt) = Leaf::read(&vectors.all_bytes("leaves")[7]).unwrap() else { panic!("no receipt") };
    let record = &receipt.body().record;
    assert_eq!(record.version, record::RECORD_VERSION_DISPUTED);
    assert_eq!(record.disputed().collect::<Vec<_>>(), [1]);
    let counts: Vec<(u16, u64)> = record.lines[1].differing.iter().map(|s| (s.seat.0, s.quantity)).collect();
    assert_eq!((record.lines[1].quantity, counts), (Quantity::Plain(1005), vec![(0, 1004), (2, 1006)]));
    let bad = vectors.0["badly_marked"].as_object().unwrap();
    assert_eq!(bad.len(), 16);
    for (what, bytes) in bad {
        let record: UsageRecord = cbor::decode(&hex::decode(bytes.as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(record.check().map_err(|fault| fault.code), Err(Code::ReceiptRecord), "{what}");
    }
}

#[test]
fn both_forms_of_proof_have_the_bytes_of_the_second_implementation() {
    let vectors = Vectors::read();
    let (tree, log) = (vectors.tree(), vectors.log());
    let signed = SignedCheckpoint::open(vectors.text("checkpoint").as_bytes(), &log).unwrap();
    let trust = Trust::parse(&vectors.bytes("trust")).unwrap();
    let quorum = trust.witness_quorum().unwrap();
    let leaves = vectors.all_bytes("leaves");
    for (i, leaf) in (0..).zip(&leaves) {
        let at = i as usize;
        let proof = LogProof::build(&tree, i, &signed).unwrap();
        assert_eq!(proof.to_string(), vectors.all("proofs")[at]);
        proof.verify(leaf, &trust.origin, &log, &quorum).unwrap();
        let receipt = cose::receipt(&tree, (i, 8), leaf, (&log, &vectors.log_secret())).unwrap();
        assert_eq!(receipt, vectors.all_bytes("cose_receipts")[at]);
        let whole = cose::attach(leaf, std::slice::from_ref(&receipt)).unwrap();
        assert_eq!(whole, vectors.all_bytes("transparent_statements")[at]);
        assert_eq!(cose::detach(&whole).unwrap(), (leaf.clone(), vec![receipt.clone()]));
        // Only the diagonal holds.
        for (j, other) in (0..).zip(&leaves) {
            let shown = cose::verify_receipt(&receipt, other, &trust.origin, &log);
            assert_eq!(shown.is_ok(), i == j, "receipt {i} for leaf {j}");
            if let Ok(shown) = shown {
                assert_eq!((shown.head, shown.index), (signed.checkpoint().clone(), i));
            }
        }
    }
}

#[test]
fn every_altered_bit_of_a_cose_receipt_and_of_its_statement_is_refused() {
    let vectors = Vectors::read();
    let (log, origin) = (vectors.log(), vectors.text("origin"));
    let (leaf, receipt) = (&vectors.all_bytes("leaves")[3], &vectors.all_bytes("cose_receipts")[3]);
    cose::verify_receipt(receipt, leaf, &origin, &log).unwrap();
    for bit in 0..receipt.len() * 8 {
        let mut bad = receipt.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(cose::verify_receipt(&bad, leaf, &origin, &log).is_err(), "bit {bit}");
    }
    let whole = &vectors.all_bytes("transparent_statements")[3];
    let shown = |bytes: &[u8]| {
        let (leaf, receipts) = cose::detach(bytes)?;
        receipts.iter().try_for_each(|r| cose::verify_receipt(r, &leaf, &origin, &log).map(drop))
    };
    shown(whole).unwrap();
    for i in 0..whole.len() {
        let mut bad = whole.clone();
        bad[i] ^= 1;
        assert!(shown(&bad).is_err(), "byte {i}");
        assert!(shown(&whole[..i]).is_err(), "cut at {i}");
    }
    assert!(shown(&[whole.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn cose_receipts_are_held_to_their_log_and_their_limits() {
    let vectors = Vectors::read();
    let (log, origin) = (vectors.log(), vectors.text("origin"));
    let (leaf, receipt) = (&vectors.all_bytes("leaves")[3], &vectors.all_bytes("cose_receipts")[3]);
    let code = |r: Result<_, tacit_types::Fault>| r.map(|_: cose::Receipted| ()).unwrap_err().code;
    assert_eq!(code(cose::verify_receipt(receipt, leaf, "log.example/other", &log)), Code::LogProof);
    let other = VerifierKey::new(&origin, KeyKind::Ed25519, common::key(9).id()).unwrap();
    assert_eq!(code(cose::verify_receipt(receipt, leaf, &origin, &other)), Code::LogSignature);
    assert!(cose::receipt(&vectors.tree(), (3, 8), leaf, (&log, &common::key(9))).is_err());
    assert!(cose::receipt(&vectors.tree(), (8, 8), leaf, (&log, &vectors.log_secret())).is_err());
    assert_eq!(
        code(cose::verify_receipt(&vec![0; COSE_RECEIPT_BYTES_MAX + 1], leaf, &origin, &log)),
        Code::LogMalformed
    );
    let many = vec![receipt.clone(); COSE_RECEIPTS_MAX + 1];
    assert!(cose::attach(leaf, &many).is_err());
    assert!(cose::attach(leaf, &[]).is_err());
    assert_eq!(cose::detach(&cose::attach(leaf, &many[1..]).unwrap()).unwrap().1.len(), COSE_RECEIPTS_MAX);
    assert!(cose::detach(&vec![0; cose::TRANSPARENT_BYTES_MAX + 1]).is_err());
    assert!(cose::detach(leaf).is_err(), "a leaf without receipts is none");
}

#[test]
fn a_change_of_the_log_has_the_same_bytes() {
    let vectors = Vectors::read();
    let change = Statement::<ShardChange>::verify(&vectors.bytes("shard_change")).unwrap();
    ShardChange::check(&change).unwrap();
    let (body, at) = (change.body(), change.envelope().issued_at);
    let old = (body.origin.as_str(), &vectors.log_secret());
    let again = ShardChange::sign(old, (&body.next_origin, &common::key(21)), body.first, at);
    assert_eq!(again.bytes(), change.bytes());
    let head = SignedCheckpoint::open(vectors.text("checkpoint").as_bytes(), &vectors.log()).unwrap();
    assert_eq!(head.checkpoint().size + 1, body.first);
    assert_eq!(shard::continues(head.checkpoint()).0.to_vec(), vectors.bytes("continues"));
}

#[test]
fn a_change_of_the_logs_key_has_the_same_bytes_and_is_followed() {
    let vectors = Vectors::read();
    let change = vectors.bytes("key_rotation");
    let body = Statement::<KeyRotation>::verify(&change).unwrap().into_body();
    let next = common::key(21);
    assert_eq!(vectors.text("next_log_key"), common::log_key_of(21).to_string());
    let again = KeyRotation::sign(&body.origin, (&vectors.log_secret(), &next), (body.from, body.until));
    assert_eq!(again.bytes(), change);
    let trust = Trust::parse(&vectors.bytes("trust")).unwrap();
    let changed = Trust::parse(&vectors.bytes("trust_with_change")).unwrap();
    assert_eq!(changed, Trust { rotations: vec![change.into()], ..trust.clone() });
    assert_eq!(changed.to_bytes(), vectors.bytes("trust_with_change"));
    assert_eq!(*changed.chain().unwrap().newest(), common::log_key_of(21));
    let mut both = SignedCheckpoint::open(vectors.text("checkpoint_in_overlap").as_bytes(), &vectors.log()).unwrap();
    let mut ours = both.checkpoint().sign(&common::log_key_of(21), &next).unwrap();
    ours.also_sign(&vectors.log(), &vectors.log_secret()).unwrap();
    assert_eq!(ours.note().signatures(), &both.note().signatures()[..2]);
    assert!(changed.chain().unwrap().open(&both.to_bytes()).unwrap().1.from.is_some(), "the newest is taken");
    for trust in [&trust, &changed] {
        let report = verify_bundle(&vectors.bytes("bundle_after"), Some(trust)).unwrap();
        assert!(report.is_valid() && report.log_keys.len() == 2, "{:?}", report.faults);
        let report = verify_bundle(&vectors.bytes("bundle_of_retired_key"), Some(trust)).unwrap();
        assert_eq!(common::codes(&report), [Code::LogKeyRetired]);
    }
    both = SignedCheckpoint::open(vectors.text("checkpoint_after").as_bytes(), &common::log_key_of(21)).unwrap();
    assert!(SignedCheckpoint::open(&both.to_bytes(), &vectors.log()).is_err());
}

#[test]
fn a_policy_file_says_who_counts() {
    let vectors = Vectors::read();
    let trust = Trust::parse(&vectors.bytes("trust")).unwrap();
    assert_eq!(Policy::write(&trust).unwrap(), vectors.text("policy"));
    let note = vectors.text("checkpoint");
    let keys = vectors.all("witnesses");
    let log = vectors.text("log_key");
    // The note has the cosignatures of the witnesses 0 and 1 of 3.
    let rule = |rule: &str| {
        let text = format!(
            "# who counts\n\nlog {log} https://log.example/\nwitness a {}\nwitness b\t{} https://b.example/\n  witness c {}\n{rule}\n",
            keys[0], keys[1], keys[2]
        );
        Policy::parse(text.as_bytes())
            .and_then(|policy| policy.open(note.as_bytes()).map(|(head, _)| head.checkpoint().size))
    };
    for good in [
        "quorum none",
        "quorum a",
        "group g 2 a b c\nquorum g",
        "group g any c b\nquorum g",
        "group x all a b\ngroup y any x c\nquorum y",
    ] {
        assert_eq!(rule(good).unwrap(), 8, "{good}");
    }
    for short in [
        "quorum c",
        "group g 3 a b c\nquorum g",
        "group g all a c\nquorum g",
        "group x any c\ngroup y all x a\nquorum y",
    ] {
        assert_eq!(rule(short).unwrap_err().code, Code::LogQuorum, "{short}");
    }
    for bad in [
        "",
        "quorum d",
        "quorum a\nquorum b",
        "group g 0 a\nquorum g",
        "group g 3 a b\nquorum g",
        "group g any\nquorum g",
        "group g 1 a a\nquorum g",
        "group g 1 a\ngroup h 1 a\nquorum g",
        "group none 1 a\nquorum none",
        "group a 1 b\nquorum a",
        "group g 01 a\nquorum g",
        "group g 1 h\ngroup h 1 a\nquorum g",
        "witness d\nquorum a",
        "something else\nquorum a",
        "quorum a\u{1}",
    ] {
        assert_eq!(rule(bad).unwrap_err().code, Code::LogMalformed, "{bad}");
    }
    let same = format!("witness d {}\nquorum a", keys[0]);
    assert_eq!(rule(&same).unwrap_err().code, Code::LogMalformed, "a key twice");
    let swapped = format!("log {}\nquorum none\n", keys[0]);
    assert!(Policy::parse(swapped.as_bytes()).is_err(), "a witness key is no log key");
    let other = VerifierKey::new("log.example/other", KeyKind::Ed25519, common::key(9).id()).unwrap();
    let stranger = Policy::parse(format!("log {other}\nquorum none\n").as_bytes()).unwrap();
    assert_eq!(stranger.open(note.as_bytes()).unwrap_err().code, Code::LogSignature);
    let long = format!("#{}\nquorum none\n", "x".repeat(POLICY_BYTES_MAX - 14));
    assert!(Policy::parse(long.as_bytes()).is_ok() && long.len() == POLICY_BYTES_MAX);
    assert!(Policy::parse(format!("#{long}").as_bytes()).is_err());
    let witnesses = |n: u8| -> String {
        let key = |i| VerifierKey::new("w", KeyKind::Cosignature, common::key(i).id()).unwrap();
        (0..n).map(|i| format!("witness w{i} {}\n", key(i))).collect::<String>() + "quorum none\n"
    };
    assert!(Policy::parse(witnesses(POLICY_ENTRIES_MAX as u8).as_bytes()).is_ok());
    assert!(Policy::parse(witnesses(POLICY_ENTRIES_MAX as u8 + 1).as_bytes()).is_err());
}
