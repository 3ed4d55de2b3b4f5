//! The page in a real browser: it says of every bundle what the library says, code by code and leaf by leaf.

mod browser;
#[path = "../../receipts/tests/common/mod.rs"]
mod common;
#[path = "page/links.rs"]
mod links;

use browser::Browser;
use common::{ORIGIN, World, key, log_key, name};
use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_receipts::receipt::next_link;
use tacit_receipts::*;
use tacit_types::*;

/// A bundle, and the keys that its reader brings.
struct Case {
    name: &'static str,
    bundle: Vec<u8>,
    trust: Option<Trust>,
}

fn receipt(record: UsageRecord, attestations: &[Statement<Attestation>]) -> JointReceipt {
    JointReceipt {
        record,
        attestations: attestations.iter().map(|a| a.bytes().to_vec().into()).collect(),
        price_plan: None,
        charges: None,
        absent: Vec::new(),
    }
}

/// What has the type of a memo and not its fields.
#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct OddMemo {
    #[n(1)]
    version: u32,
}

impl tacit_crypto::Body for OddMemo {
    const TYPE: &'static str = "node-memo";
}

struct Cases(Vec<Case>);

impl Cases {
    fn push(&mut self, name: &'static str, bundle: &Bundle, trust: Trust) {
        self.0.push(Case { name, bundle: bundle.to_bytes(), trust: Some(trust) });
    }

    /// A third receipt, at leaf 4, after something was done to the world, its record, or what its parties signed.
    fn receipt(&mut self, name: &'static str, make: impl FnOnce(&mut World, UsageRecord) -> u64) {
        let mut world = World::new(3);
        world.job(1);
        world.job(2);
        let record = world.record(3);
        let leaf = make(&mut world, record);
        world.job(4);
        self.push(name, &world.single(&[leaf]), world.trust());
    }

    /// A sound receipt whose bundle or trust was altered.
    fn bundle(&mut self, name: &'static str, alter: impl FnOnce(&mut Bundle, &mut Trust)) {
        let mut world = World::new(3);
        (1..=5).for_each(|job| _ = world.job(job));
        let (mut bundle, mut trust) = (world.single(&[4]), world.trust());
        alter(&mut bundle, &mut trust);
        self.push(name, &bundle, trust);
    }
}

/// Marks a line as disputed by the counts of seats.
fn differ(r: &mut UsageRecord, line: usize, counts: &[(u16, u64)]) {
    r.version = record::RECORD_VERSION_DISPUTED;
    let count = |(seat, quantity): &(u16, u64)| Sighting { seat: Seat(*seat), quantity: *quantity };
    r.lines[line].differing = counts.iter().map(count).collect();
}

/// What is wrong with a receipt by itself.
fn of_receipts(cases: &mut Cases) {
    cases.receipt("valid", |w, r| w.close(r));
    cases.receipt("an attestation is missing", |w, r| {
        let signed = w.attest_all(&r);
        w.publish(receipt(r, &signed[..2]))
    });
    cases.receipt("a count of one who has not attested", |w, mut r| {
        differ(&mut r, 1, &[(2, 7)]);
        let signed = [w.attest(0, &r), w.attest(1, &r)];
        let absent = vec![Absent { party: w.party(2).id(), code: Code::JobUnreachable }];
        w.publish(JointReceipt { absent, ..receipt(r, &signed) })
    });
    cases.receipt("a party that took part is declared absent", |w, r| {
        let signed = [w.attest(0, &r), w.attest(1, &r)];
        let absent = vec![Absent { party: w.party(2).id(), code: Code::JobUnreachable }];
        w.publish(JointReceipt { absent, ..receipt(r, &signed) })
    });
    cases.receipt("nobody signed", |w, r| w.publish(receipt(r, &[])));
    cases.receipt("altered after it was signed", |w, mut r| {
        let signed = w.attest_all(&r);
        r.lines[1].quantity = Quantity::Plain(7);
        w.publish(receipt(r, &signed))
    });
    cases.receipt("a stranger signed", |w, r| {
        let mut signed = w.attest_all(&r);
        signed[1] = Attestation::agreeing(&r, Role::Input, None).sign(&key(9), &r, w.now, next_link(None));
        w.publish(receipt(r, &signed))
    });
    cases.receipt("a forged signature of a party", |w, r| {
        let signed = w.attest_all(&r);
        let mut forged = receipt(r, &signed);
        *forged.attestations[1].last_mut().unwrap() ^= 1;
        w.publish(forged)
    });
    cases.receipt("another role", |w, r| {
        let body = Attestation::agreeing(&r, Role::Compute, None);
        let signed = [w.attest(0, &r), w.attest_with(1, &r, body), w.attest(2, &r)];
        w.publish(receipt(r, &signed))
    });
    cases.receipt("one signed twice", |w, r| {
        let mut signed = w.attest_all(&r);
        signed.push(w.attest(1, &r));
        w.publish(receipt(r, &signed))
    });
    cases.receipt("without a number", |w, r| {
        let mut signed = w.attest_all(&r);
        signed[2] =
            Statement::sign(&w.party(2), &r.subject(), w.now, None, Attestation::agreeing(&r, Role::Input, None));
        w.publish(receipt(r, &signed))
    });
    cases.receipt("not by the coordinator", |w, r| {
        let signed = w.attest_all(&r);
        let leaf = receipt(r, &signed).sign(&key(77), w.now).unwrap();
        w.append(leaf.bytes().to_vec())
    });
    cases.receipt("under another job's header", |w, r| {
        let signed = w.attest_all(&r);
        let leaf = Statement::sign(&w.coordinator(), "job/other/1", w.now, None, receipt(r, &signed));
        w.append(leaf.bytes().to_vec())
    });
    cases.receipt("a party disputes", |w, r| {
        let mut body = Attestation::agreeing(&r, Role::Input, Some(w.seen()));
        body.verdict = Verdict::Disputes { code: Code::JobMisbehaved };
        let signed = [w.attest(0, &r), w.attest_with(1, &r, body), w.attest(2, &r)];
        w.publish(receipt(r, &signed))
    });
    for (name, figures) in [("figures behind commitments", [0, 7]), ("figures out of order", [7, 0])] {
        cases.receipt(name, |w, r| {
            let mut body = Attestation::agreeing(&r, Role::Input, Some(w.seen()));
            body.figures = figures.map(|what| Figure { what, commitment: Hash([what; 32]) }).to_vec();
            let signed = [w.attest(0, &r), w.attest_with(1, &r, body), w.attest(2, &r)];
            w.publish(receipt(r, &signed))
        });
    }
    cases.receipt("a party saw a longer log", |w, r| {
        let mut body = Attestation::agreeing(&r, Role::Input, Some(w.seen()));
        body.seen = Some(SeenCheckpoint { size: 40, root: Hash([1; 32]) });
        let signed = [w.attest(0, &r), w.attest_with(1, &r, body), w.attest(2, &r)];
        w.publish(receipt(r, &signed))
    });
    cases.receipt("of a type that is not known", |w, _| {
        let leaf = w.by_coordinator(common::Novelty { text: "<script>window.hit = 1</script>".into() });
        w.append(leaf)
    });
    cases.receipt("a memo of a node", |w, _| {
        let memo = Memo { version: 1, origin: ORIGIN.into(), number: 1, tag: Hash([7; 32]), sealed: None };
        w.append(Statement::sign(&w.party(0), "memo", w.now, None, memo).bytes().to_vec())
    });
    cases.receipt("a memo of another form", |w, _| {
        w.append(Statement::sign(&w.party(0), "memo", w.now, None, OddMemo { version: 1 }).bytes().to_vec())
    });
    cases.receipt("a signature of the coordinator was altered", |w, r| {
        let signed = w.attest_all(&r);
        let mut leaf = receipt(r, &signed).sign(&w.coordinator(), w.now).unwrap().bytes().to_vec();
        *leaf.last_mut().unwrap() ^= 1;
        w.append(leaf)
    });
    cases.receipt("no statement at all", |w, _| w.append(b"no statement".to_vec()));
    cases.receipt("too large", |w, _| w.append(vec![0; 60_001]));
    cases.receipt("refused, and a party never answered", |w, mut r| {
        r.status = Status::Refused { code: Code::RefusedQuota, seat: None };
        (r.attempt, r.result) = (Attempt(0), None);
        r.parties[2].standing = Standing::Silent;
        let signed = [w.attest(0, &r), w.attest(1, &r)];
        let absent = vec![Absent { party: w.party(2).id(), code: Code::JobUnreachable }];
        w.publish(assemble(r, &signed, absent).unwrap().receipt)
    });
    cases.receipt("a late attestation", |w, r| {
        let late = w.attest(2, &r);
        w.append(late.bytes().to_vec())
    });
}

type Alter = fn(&mut UsageRecord);

/// Records that contradict themselves, and times.
fn of_records(cases: &mut Cases) {
    fn convicted(r: &mut UsageRecord, seat: u16, offence: &str) {
        r.convictions.push(Conviction { seat: Seat(seat), offence: offence.into(), evidence: Hash([9; 32]) });
    }
    let altered: [(&'static str, Alter); 40] = [
        ("the job of another seat", |r| r.lines[0].party = Seat(1)),
        ("the job twice", |r| {
            let line = r.lines[0].clone();
            r.lines.push(line);
        }),
        ("the job of one who was lost", |r| r.parties[0].standing = Standing::Dropped { step: Step(4) }),
        ("another version", |r| r.version = 4),
        ("no version", |r| r.version = 0),
        ("no disputed line in its version", |r| r.version = 3),
        ("a disputed line", |r| differ(r, 1, &[(0, 7), (2, 8)])),
        ("a disputed line in the version before", |r| {
            differ(r, 1, &[(0, 7)]);
            r.version = 2;
        }),
        ("counts out of order", |r| differ(r, 1, &[(2, 7), (0, 8)])),
        ("a count twice", |r| differ(r, 1, &[(2, 7), (2, 8)])),
        ("a count of the line's own party", |r| differ(r, 1, &[(1, 7)])),
        ("a count of nobody", |r| differ(r, 1, &[(3, 7)])),
        ("a count of no observer", |r| {
            differ(r, 1, &[(2, 7)]);
            r.lines[1].observers = vec![Seat(0)];
        }),
        ("a count of one who was lost", |r| {
            differ(r, 1, &[(2, 7)]);
            r.parties[2].standing = Standing::Dropped { step: Step(4) };
        }),
        ("a count that is the line's own", |r| differ(r, 1, &[(2, 1003)])),
        ("a disputed line of class B", |r| differ(r, 0, &[(2, 7)])),
        ("a disputed commitment", |r| {
            differ(r, 1, &[(2, 7)]);
            r.lines[1].quantity = Quantity::Committed(Hash([9; 32]));
        }),
        ("as many counts as fit", |r| {
            differ(r, 1, &[(0, 7), (2, 8)]);
            r.lines = vec![r.lines[1].clone(); record::SIGHTINGS_MAX / 2];
        }),
        ("more counts than fit", |r| {
            differ(r, 1, &[(0, 7), (2, 8)]);
            r.lines = vec![r.lines[1].clone(); record::SIGHTINGS_MAX / 2 + 1];
        }),
        ("the first version", |r| r.version = 1),
        ("an audience of all", |r| r.disclosures[0].to = record::Audience::Seats),
        ("an audience of all in the first version", |r| {
            r.version = 1;
            r.disclosures[0].to = record::Audience::Seats;
        }),
        ("convictions", |r| [(0, "b"), (0, "ba"), (1, "a")].iter().for_each(|(seat, what)| convicted(r, *seat, what))),
        ("a conviction in the first version", |r| {
            r.version = 1;
            convicted(r, 0, "cheat");
        }),
        ("convictions out of order", |r| {
            [(1, "a"), (0, "b")].iter().for_each(|(seat, what)| convicted(r, *seat, what))
        }),
        ("a conviction twice", |r| [(1, "a"), (1, "a")].iter().for_each(|(seat, what)| convicted(r, *seat, what))),
        ("a conviction of nobody", |r| convicted(r, 3, "cheat")),
        ("a conviction without a word", |r| convicted(r, 0, "Cheat")),
        ("refused by a seat that nobody has", |r| {
            r.status = Status::Refused { code: Code::RefusedQuota, seat: Some(Seat(3)) };
            (r.attempt, r.result) = (Attempt(0), None);
        }),
        ("refused by a seat", |r| {
            r.status = Status::Refused { code: Code::RefusedQuota, seat: Some(Seat(2)) };
            (r.attempt, r.result) = (Attempt(0), None);
        }),
        ("a privacy cost with a delta", |r| r.privacy[0].delta_femto = 1_000_000),
        ("of another log", |r| r.origin = "log.example/other".into()),
        ("a party twice", |r| r.parties[2].party = r.parties[1].party),
        ("ended before it began", |r| r.ended = UnixMillis(1)),
        ("a seat that nobody has", |r| r.lines[1].party = Seat(9)),
        ("an observer that nobody is", |r| r.lines[1].observers = vec![Seat(3)]),
        ("another class", |r| r.lines[1].class = unit::Class::C),
        ("a result without an attempt", |r| r.attempt = Attempt(0)),
        ("an attempt of a refused job", |r| r.status = Status::Refused { code: Code::RefusedQuota, seat: None }),
        ("a disclosure that is too long", |r| r.disclosures[0].what = "x".repeat(257)),
    ];
    for (name, alter) in altered {
        cases.receipt(name, |w, mut r| {
            alter(&mut r);
            let signed = w.attest_all(&r);
            w.publish(receipt(r, &signed))
        });
    }
    cases.receipt("issued before the job ended", |w, mut r| {
        r.ended = w.now.plus(400_000);
        let signed = w.attest_all(&r);
        w.publish(receipt(r, &signed))
    });
    cases.receipt("issued after the witnesses saw it", |w, r| {
        let (now, signed) = (w.now, w.attest_all(&r));
        let leaf = receipt(r, &signed).sign(&w.coordinator(), now.plus(900_000)).unwrap();
        w.append(leaf.bytes().to_vec())
    });
}

/// Bundles, proofs, checkpoints and keys.
fn of_bundles(cases: &mut Cases) {
    let mut flipped = Vec::new();
    cases.bundle("the log's first leaves", |b, _| {
        let mut world = World::new(3);
        world.job(1);
        *b = world.single(&[0, 1, 2]);
    });
    cases.bundle("the proof of another leaf", |b, _| b.proven[0].index = 3);
    cases.bundle("outside the tree", |b, _| b.proven[0].index = 99);
    cases.bundle("a proof that is too short", |b, _| _ = b.proven[0].proof.pop());
    cases.bundle("a proof that is too long", |b, _| b.proven[0].proof.push(Hash([1; 32])));
    cases.bundle("the same receipt twice", |b, _| b.proven.push(b.proven[0].clone()));
    cases.bundle("a byte of the leaf", |b, _| b.proven[0].leaf[900] ^= 4);
    cases.bundle("no witness", |b, _| b.checkpoint = World::new(3).cosigned(0).into());
    cases.bundle("a checkpoint that the log did not sign", |b, _| {
        let text = String::from_utf8(b.checkpoint.to_vec()).unwrap();
        let kept: Vec<&str> = text.lines().filter(|l| !l.starts_with(&format!("\u{2014} {ORIGIN} "))).collect();
        b.checkpoint = format!("{}\n", kept.join("\n")).into_bytes().into();
    });
    cases.bundle("a checkpoint that is none", |b, _| b.checkpoint = b"junk".to_vec().into());
    cases.bundle("a checkpoint of another log", |b, _| {
        let head = Checkpoint { origin: "log.example/other".into(), size: 7, root: Hash([3; 32]) };
        b.checkpoint = head.sign(&log_key(), &key(1)).unwrap().to_bytes().into();
    });
    cases.bundle("a line of a stranger", |b, _| {
        let mut note = SignedNote::parse(&b.checkpoint).unwrap();
        let stranger = VerifierKey::new("w.example/z", KeyKind::Cosignature, key(5).id()).unwrap();
        note.add(stranger.sign(&key(5), note.text(), UnixMillis(5_000)).unwrap()).unwrap();
        b.checkpoint = note.to_string().into_bytes().into();
    });
    cases.bundle("a key that no longer holds", |_, t| t.parties[1].until = Some(3));
    cases.bundle("a party that is not known", |_, t| _ = t.parties.pop());
    cases.bundle("a party of another name", |_, t| t.parties[1].name = name(7));
    cases.bundle("a threshold that nobody asks for", |_, t| t.quorum = 0);
    cases.bundle("a trust file with a threshold that cannot be", |_, t| t.quorum = 9);
    cases.bundle("a key of a witness that is none", |_, t| t.witnesses[0] = t.log_key.clone());
    cases.bundle("another version of bundle", |b, _| b.version = 2);
    cases.bundle("nothing in it", |b, _| b.proven.clear());
    cases.bundle("an attestation that nobody names", |b, _| b.beside.push(b"beside".to_vec().into()));
    cases.bundle("a witness key of small order", |b, t| {
        // With the identity as key, the base point and one sign every message where nobody looks at the key's order.
        let weak = VerifierKey::new(
            "w.example/0",
            KeyKind::Cosignature,
            NodeId([[1].as_slice(), &[0; 31]].concat().try_into().unwrap()),
        )
        .unwrap();
        t.witnesses[0] = weak.to_string();
        let mut signature = [0u8; 72];
        signature[7] = 9;
        signature[8] = 0x58;
        signature[9..40].fill(0x66);
        signature[40] = 1;
        let mut note = SignedNote::parse(&b.checkpoint).unwrap();
        note.add(SignatureLine { name: weak.name().into(), id: weak.id(), signature: signature.to_vec() }).unwrap();
        b.checkpoint = note.to_string().into_bytes().into();
    });
    // Any byte altered: the same is said of it, whatever it is.
    for at in 0..120 {
        cases.bundle("an altered byte", |b, _| {
            let mut bytes = b.to_bytes();
            let place = at * 7_919 % bytes.len();
            bytes[place] ^= 1 << (at % 8);
            flipped.push(bytes);
        });
        let last = cases.0.last_mut().unwrap();
        last.bundle = flipped.pop().unwrap();
    }
    // A receipt whose attestations stand beside it.
    let mut world = World::new(150);
    world.job(1);
    let mut bundle = world.single(&[2]);
    cases.push("attestations that are not at hand", &bundle, world.trust());
    bundle.beside = world.beside.iter().map(|b| b.clone().into()).collect();
    cases.push("attestations beside the log", &bundle, world.trust());
    bundle.beside[3][40] ^= 1;
    cases.push("an altered attestation beside the log", &bundle, world.trust());
    let mut world = World::new(3);
    world.job(1);
    cases.0.push(Case { name: "its own keys", bundle: world.single(&[2]).to_bytes(), trust: None });
    cases.0.push(Case { name: "no bundle", bundle: b"junk".to_vec(), trust: None });
    let mut trailing = world.single(&[2]).to_bytes();
    trailing.push(0);
    cases.0.push(Case { name: "a byte too many", bundle: trailing, trust: None });
}

/// Receipts of a log that changed its key from 1 to 21 at leaf 3, an hour of overlap ago and another.
fn of_rotations(cases: &mut Cases) {
    let mut world = World::new(3);
    world.job(1);
    let rotation = world.rotation(1, 21, 3_600_000);
    world.append(rotation.clone());
    world.job(2);
    let overlap = world.noted(world.tree.size(), &[21, 1]);
    world.now = world.now.plus(2 * 3_600_000);
    let leaf = world.job(3);
    let size = world.tree.size();
    let old = world.trust();
    let newer = Trust { rotations: vec![rotation.clone().into()], ..old.clone() };
    let with = |leaves: &[u64], note: Vec<u8>, theirs: &Trust| Bundle {
        checkpoint: note.into(),
        trust: Some(theirs.clone()),
        ..world.single(leaves)
    };
    let next = world.noted(size, &[21]);
    cases.push("the next key, known to the reader", &with(&[leaf], next.clone(), &newer), newer.clone());
    cases.push("the next key, known to the bundle", &with(&[leaf], next.clone(), &newer), old.clone());
    cases.push("the next key, known to nobody", &with(&[leaf], next.clone(), &old), old.clone());
    cases.push("the change itself", &with(&[3, leaf], next.clone(), &newer), newer.clone());
    cases.push("the old key after its time", &with(&[leaf], world.noted(size, &[1]), &newer), newer.clone());
    let mut early = with(&[2], overlap, &newer);
    early.proven.clear();
    let before = World { tree: MemTree::default(), leaves: world.leaves[..5].to_vec(), ..World::new(3) };
    let mut tree = MemTree::default();
    before.leaves.iter().for_each(|leaf| tree.push(merkle::leaf_hash(leaf)));
    early.proven = Bundle::single(None, Vec::new(), 5, &tree, [(2, before.leaves[2].clone())]).unwrap().proven;
    cases.push("both keys in the overlap", &early, newer.clone());
    cases.push("both keys in the overlap, for who knows the old one", &Bundle { trust: None, ..early }, old.clone());
    let pinned = Trust { log_key: common::log_key_of(21).to_string(), ..newer.clone() };
    cases.push("the newest key pinned", &with(&[leaf], next.clone(), &newer), pinned);
    for stray in [world.rotation(31, 32, 1), world.rotation(1, 22, 1)] {
        let trust = Trust { rotations: vec![rotation.clone().into(), stray.into()], ..old.clone() };
        cases.push("a change that leads nowhere", &with(&[leaf], next.clone(), &old), trust);
    }
    for at in 0..60 {
        let mut altered = newer.clone();
        let place = at * 7 % rotation.len();
        altered.rotations[0][place] ^= 1 << (at % 8);
        cases.push("an altered change", &with(&[leaf], next.clone(), &old), altered);
    }
}

/// Receipts of a log in which a node and a witness changed their keys at the leaves 3 and 4, with an hour of overlap.
fn of_party_keys(cases: &mut Cases) {
    let mut world = World::new(3);
    world.job(1);
    let (from, until) = (world.now, world.now.plus(3_600_000));
    world.change_key(0, 180, 3_600_000);
    let witness = (KeyRole::Witness, world.witness(0).key());
    let turn = PartyRotation::sign(ORIGIN, witness, (&key(50), &key(90)), (from, until)).bytes().to_vec();
    world.append(turn);
    let new = world.job(2);
    let changed = core::mem::take(&mut world.changed);
    let old = world.job(3);
    world.now = until.plus(1_000);
    let over = world.job(4);
    world.changed = changed;
    let after = world.job(5);
    let trust = world.trust();
    let newer =
        Trust { party_rotations: [3, 4].map(|at: usize| world.leaves[at].clone().into()).to_vec(), ..trust.clone() };
    let noted = |witness: u8| {
        let mut signed = world.signed_checkpoint(world.tree.size());
        for (i, seed) in [(0, witness), (1, 51)] {
            let name = world.witness(i).name().to_owned();
            let own = VerifierKey::new(&name, KeyKind::Cosignature, key(seed).id()).unwrap();
            let line = own.sign(&key(seed), signed.note().text(), world.now).unwrap();
            signed.add_cosignature(&own, line).unwrap();
        }
        signed.to_bytes()
    };
    let with = |leaves: &[u64], witness: u8, theirs: &Trust| Bundle {
        checkpoint: noted(witness).into(),
        trust: Some(theirs.clone()),
        ..world.single(leaves)
    };
    cases.push("a party's next key, known to the reader", &with(&[new, after], 90, &trust), newer.clone());
    cases.push("a party's next key, known to the bundle", &with(&[new, after], 90, &newer), trust.clone());
    cases.push("a party's next key, known to nobody", &with(&[new], 90, &trust), trust.clone());
    cases.push("the changes themselves, first", &with(&[3, 4, after], 90, &trust), trust.clone());
    cases.push("the changes themselves, again", &with(&[2, 3, 4, new], 90, &newer), newer.clone());
    cases.push("a party's old key in the overlap", &with(&[2, old], 90, &newer), newer.clone());
    cases.push("a party's old key after its end", &with(&[over], 90, &newer), newer.clone());
    cases.push("a witness's old key after its end", &with(&[after], 50, &newer), newer.clone());
    let stranger = PartyRotation::sign(ORIGIN, (KeyRole::Node, key(9).id()), (&key(9), &key(10)), (from, until));
    let fork = PartyRotation::sign(ORIGIN, (KeyRole::Node, key(100).id()), (&key(100), &key(10)), (from, until));
    for stray in [stranger, fork] {
        let mut trust = newer.clone();
        trust.party_rotations.push(stray.bytes().to_vec().into());
        cases.push("a change of a party's key that leads nowhere", &with(&[new], 90, &newer), trust);
    }
    for at in 0..60 {
        let mut altered = newer.clone();
        let place = at * 11 % altered.party_rotations[0].len();
        altered.party_rotations[0][place] ^= 1 << (at % 8);
        cases.push("an altered change of a party's key", &with(&[new], 90, &newer), altered);
    }
}

/// Receipts of a log in which the coordinator changed the key that signs them at leaf 3, with an hour of overlap.
fn of_coordinators_keys(cases: &mut Cases) {
    let mut world = World::new(3);
    world.job(1);
    let turn = world.change_coordinator(22, 3_600_000);
    let new = world.job(2);
    world.coordinator_seed = 2;
    let old = world.job(3);
    world.now = world.now.plus(3_600_000);
    let over = world.job(4);
    world.coordinator_seed = 22;
    let after = world.job(5);
    let trust = world.trust();
    let newer = Trust { party_rotations: vec![world.leaves[turn as usize].clone().into()], ..trust.clone() };
    let with = |leaves: &[u64], theirs: &Trust| Bundle { trust: Some(theirs.clone()), ..world.single(leaves) };
    cases.push("the coordinator's next key, known to the reader", &with(&[new, after], &trust), newer.clone());
    cases.push("the coordinator's next key, known to the bundle", &with(&[new, after], &newer), trust.clone());
    cases.push("the coordinator's next key, known to nobody", &with(&[new], &trust), trust.clone());
    cases.push("the change itself, first", &with(&[turn, after], &trust), trust.clone());
    cases.push("the coordinator's old key in the overlap", &with(&[2, old], &newer), newer.clone());
    cases.push("the coordinator's old key after its end", &with(&[over], &newer), newer);
}

/// Codes with their leaves as the library gives them; a bundle that cannot be read has one of the whole.
fn expected(case: &Case) -> (Vec<(String, String)>, Vec<String>) {
    match verify_bundle(&case.bundle, case.trust.as_ref()) {
        Ok(report) => {
            let at = |leaf: Option<u64>| leaf.map_or_else(String::new, |leaf| leaf.to_string());
            let mut faults: Vec<_> = report.faults.iter().map(|f| (f.code.text().to_owned(), at(f.leaf))).collect();
            faults.sort();
            let mut notices: Vec<_> = report.notices.iter().map(|n| n.sentence(Lang::En)).collect();
            notices.retain(|n| !n.starts_with("TRUST:"));
            notices.sort();
            (faults, notices)
        }
        Err(fault) => (vec![(fault.code.text().to_owned(), String::new())], Vec::new()),
    }
}

/// What the page shows, once it is done with what was chosen last.
fn shown(browser: &mut Browser, turn: usize) -> (Vec<(String, String)>, Vec<String>) {
    browser.until(&format!("document.body.dataset.done === '{turn}'"));
    let list = |value: Value| -> Vec<Value> { value.as_array().cloned().unwrap_or_default() };
    let of = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let faults = browser.eval("[...document.querySelectorAll('.fault')].map((f) => [f.dataset.code, f.dataset.leaf])");
    let mut faults: Vec<_> = list(faults).iter().map(|f| (of(&f[0]), of(&f[1]))).collect();
    faults.sort();
    let notices = browser.eval("[...document.querySelectorAll('.notice')].map((n) => n.textContent)");
    let mut notices: Vec<_> = list(notices).iter().map(of).collect();
    notices.retain(|n| !n.starts_with("TRUST:"));
    notices.sort();
    (faults, notices)
}

#[test]
fn the_page_finds_what_the_library_finds() {
    if !browser::at_hand() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("verify.html");
    std::fs::write(&page, page::page()).unwrap();
    let mut cases = Cases(Vec::new());
    of_receipts(&mut cases);
    of_records(&mut cases);
    links::of_receipts(&mut cases);
    links::of_records(&mut cases);
    of_bundles(&mut cases);
    of_rotations(&mut cases);
    of_party_keys(&mut cases);
    of_coordinators_keys(&mut cases);
    let mut browser = Browser::open(&page);
    let mut codes = std::collections::BTreeSet::new();
    for (i, case) in cases.0.iter().enumerate() {
        // Each in a page of its own: nothing is left of the one before.
        browser.navigate(&page);
        let (bundle, trust) = (folder.path().join(format!("{i}.bundle")), folder.path().join(format!("{i}.trust")));
        std::fs::write(&bundle, &case.bundle).unwrap();
        let mut turn = 1;
        if let Some(keys) = &case.trust {
            std::fs::write(&trust, keys.to_bytes()).unwrap();
            browser.choose("#trust", &trust);
        }
        browser.choose("#bundle", &bundle);
        let (faults, notices) = shown(&mut browser, std::mem::replace(&mut turn, 2));
        let wanted = expected(case);
        assert_eq!((&faults, &notices), (&wanted.0, &wanted.1), "{}", case.name);
        codes.extend(faults.into_iter().map(|(code, _)| code));
        let verdict = browser.eval("document.querySelector('.verdict').className");
        let held = case.trust.is_some();
        let class = if !wanted.0.is_empty() {
            "invalid"
        } else if held {
            "valid"
        } else {
            "held"
        };
        assert_eq!(verdict, json!(format!("verdict {class}")), "{}", case.name);
        assert_eq!(browser.eval("window.hit === undefined"), json!(true), "{}", case.name);
    }
    // Every code that one receipt can have was there.
    for code in [
        Code::ReceiptAttestationMissing,
        Code::ReceiptAttestationInvalid,
        Code::ReceiptPartyUnknown,
        Code::ReceiptPartyName,
        Code::ReceiptDigest,
        Code::ReceiptDuplicate,
        Code::ReceiptDisputed,
        Code::ReceiptRecord,
        Code::ReceiptTime,
        Code::ReceiptCoordinator,
        Code::ReceiptSignature,
        Code::ReceiptMalformed,
        Code::ReceiptTooLarge,
        Code::ReceiptBundle,
        Code::LogSignature,
        Code::LogQuorum,
        Code::LogMalformed,
        Code::LogProof,
        Code::LogRollback,
    ] {
        assert!(codes.contains(code.text()), "{code} was never found");
    }
    let elsewhere: Vec<String> = browser.requested().into_iter().filter(|u| !u.starts_with("file://")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[test]
fn the_page_says_who_used_what_in_two_languages_and_runs_no_stored_script() {
    if !browser::at_hand() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let page = file("verify.html", page::page().as_bytes());
    let mut world = World::new(3);
    let mut record = world.record(1);
    record.version = record::RECORD_VERSION_DISPUTED;
    record.lines[1].differing = vec![Sighting { seat: Seat(2), quantity: 998 }];
    let hostile = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>\u{202e}gro.live";
    record.disclosures[0].what = hostile.into();
    let leaf = world.close(record);
    let bundle = file("bundle", &world.single(&[leaf]).to_bytes());
    let trust = file("trust", &world.trust().to_bytes());
    let mut browser = Browser::open(&page);
    browser.choose("#trust", &trust);
    browser.drop_file(&bundle);
    browser.until("document.body.dataset.done === '1'");
    let text = browser.eval("document.body.innerText").as_str().unwrap().to_owned();
    for part in [
        "VALID: 1 receipts, 1 valid, 0 faults",
        "secure-sum",
        "bank-1",
        "brought data",
        "1001 (disputed: bank-2 998)",
        "took part to the end",
        "two parties or more count the same",
        "<script>window.hit=1</script>\\u{202e}gro.live",
        "It gave a result.",
        &Hash([7; 32]).to_string(),
        &Hash([1 ^ 0xff; 32]).to_string(),
        "w.example/0",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    browser.eval("document.getElementById('language').click()");
    let text = browser.eval("document.body.innerText").as_str().unwrap().to_owned();
    for part in ["有效: 1 份凭证", "提供数据", "全程参与", "至少两方计数一致", "已得出结果。", "有异议"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(
        browser.eval("[window.hit === undefined, document.images.length, document.scripts.length]"),
        json!([true, 0, 1])
    );
    // Markup that reached the page all the same could not run, and nothing could be sent.
    browser.eval("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.hit=1\"><a onclick=\"window.hit=1\" id=x>x</a>'); document.getElementById('x').click()");
    assert_eq!(browser.eval("fetch('http://127.0.0.1:9/').then(() => 1, () => 0)"), json!(0));
    assert_eq!(browser.eval("window.hit === undefined"), json!(true));
    assert!(browser.complaints().iter().any(|c| c.to_string().contains("Content Security Policy")));
}
