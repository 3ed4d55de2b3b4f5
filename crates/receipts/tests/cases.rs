//! Complaints, incidents and conduct records: every way through their states, who may take which step, what a verifier
//! says of a step that does not fit, and what is overdue.

mod common;

use common::*;
use tacit_crypto::{Body, SigningKey, Statement};
use tacit_receipts::cases::{Opening, Step, *};
use tacit_receipts::money::LeafRef;
use tacit_receipts::*;
use tacit_types::*;

const DAY: u64 = 86_400_000;
const OPENER: usize = 0;
const ABOUT: usize = 1;
const DECIDER: usize = 2;
const STRANGER: usize = 3;

fn world() -> World {
    let mut world = World::new(4);
    world.job(1);
    world
}

fn at(world: &World, leaf: u64) -> LeafRef {
    LeafRef { index: leaf, hash: merkle::leaf_hash(&world.leaves[leaf as usize]) }
}

fn opening(world: &World, kind: Kind) -> Opening {
    Opening {
        version: CASE_VERSION,
        origin: ORIGIN.into(),
        about: Some(world.party(ABOUT).id()),
        decider: world.party(DECIDER).id(),
        leaves: vec![at(world, 2)],
        topic: Name::new("overuse").unwrap(),
        text: "more rows than were agreed".into(),
        evidence: vec![Hash([8; 32])],
        answer_by: world.now.plus(7 * DAY),
        decide_by: world.now.plus(30 * DAY),
        until: (kind == Kind::Conduct).then(|| world.now.plus(365 * DAY)),
    }
}

fn sign<T: Body>(key: &SigningKey, at: UnixMillis, body: T) -> Vec<u8> {
    Statement::sign(key, "case", at, None, body).bytes().to_vec()
}

fn statement(world: &World, kind: Kind, opening: Opening, by: usize) -> Vec<u8> {
    let (key, now) = (world.party(by), world.now);
    match kind {
        Kind::Complaint => sign(&key, now, Complaint(opening)),
        Kind::Incident => sign(&key, now, Incident(opening)),
        Kind::Conduct => sign(&key, now, ConductRecord(opening)),
    }
}

fn open(world: &mut World, kind: Kind) -> u64 {
    let body = opening(world, kind);
    let leaf = statement(world, kind, body, OPENER);
    world.append(leaf)
}

fn step(world: &mut World, case: u64, by: usize, act: Act) -> u64 {
    world.now = world.now.plus(1_000);
    let (text, evidence) = ("so it is".into(), Vec::new());
    let body = Step { version: CASE_VERSION, origin: ORIGIN.into(), case: at(world, case), act, text, evidence };
    let leaf = sign(&world.party(by), world.now, body);
    world.append(leaf)
}

fn books(world: &World) -> (Report, Cases) {
    let trust = world.trust();
    let beside = |_: &_| None;
    let mut verifier = Verifier::new(&trust, TrustSource::Pinned, Scope::WholeLog, &beside).unwrap();
    world.leaves.iter().for_each(|leaf| verifier.leaf(leaf));
    let (report, _, cases) = verifier.finish_books(&world.cosigned(2), [], []);
    (report, cases)
}

/// The state of the case of a leaf in a log without a fault.
#[track_caller]
fn state(world: &World, case: u64) -> State {
    let (report, cases) = books(world);
    assert_eq!(report.faults, []);
    assert!(!report.notices.iter().any(|n| matches!(n, Notice::Unchecked { .. })), "{:?}", report.notices);
    cases.get(case).unwrap().state
}

/// The one fault of a log, and that it changed nothing.
#[track_caller]
fn refused(world: &World, leaf: u64, code: Code, case: Option<(u64, State)>) -> String {
    let (report, cases) = books(world);
    let [fault] = report.faults.as_slice() else { panic!("{:#?}", report.faults) };
    assert_eq!((fault.leaf, fault.code), (Some(leaf), code), "{fault:?}");
    if let Some((case, state)) = case {
        assert_eq!(cases.get(case).unwrap().state, state);
    }
    fault.what.clone()
}

/// Who does what, and where it leads.
type Then = (usize, Act, State);

#[test]
fn each_kind_goes_through_its_states() {
    use Act::*;
    let paths: [(Kind, &[Then]); 8] = [
        (
            Kind::Complaint,
            &[(ABOUT, Answer, State::Answered), (ABOUT, Answer, State::Answered), (DECIDER, Uphold, State::Upheld)],
        ),
        (Kind::Complaint, &[(ABOUT, Answer, State::Answered), (DECIDER, Dismiss, State::Dismissed)]),
        // Nobody need be heard to throw a complaint out, or to take it back.
        (Kind::Complaint, &[(DECIDER, Dismiss, State::Dismissed)]),
        (Kind::Complaint, &[(OPENER, Withdraw, State::Withdrawn)]),
        (
            Kind::Incident,
            &[(OPENER, Contain, State::Contained), (OPENER, Notify, State::Notified), (DECIDER, Close, State::Closed)],
        ),
        (
            Kind::Incident,
            &[
                (OPENER, Notify, State::Notified),
                (OPENER, Contain, State::Notified),
                (DECIDER, Dismiss, State::Dismissed),
            ],
        ),
        (
            Kind::Conduct,
            &[
                (ABOUT, Object, State::Frozen),
                (DECIDER, Uphold, State::Upheld),
                (ABOUT, Object, State::Frozen),
                (DECIDER, Dismiss, State::Dismissed),
            ],
        ),
        (Kind::Conduct, &[(DECIDER, Repair, State::Repaired)]),
    ];
    for (kind, steps) in paths {
        let mut world = world();
        let case = open(&mut world, kind);
        assert_eq!(state(&world, case), State::Open);
        for (by, act, then) in steps {
            step(&mut world, case, *by, *act);
            assert_eq!(state(&world, case), *then, "{kind:?} {act:?}");
        }
        let (_, cases) = books(&world);
        let case = cases.get(case).unwrap();
        assert_eq!((case.steps.len(), case.kind, case.by), (steps.len(), kind, world.party(OPENER).id()));
    }
}

#[test]
fn a_step_is_only_for_whom_it_is_and_in_its_state() {
    // For every kind, state right after opening, party and act: allowed exactly where the table says.
    let allowed: [(Kind, &[(usize, Act)]); 3] = [
        (Kind::Complaint, &[(ABOUT, Act::Answer), (DECIDER, Act::Dismiss), (OPENER, Act::Withdraw)]),
        (Kind::Incident, &[(OPENER, Act::Contain), (OPENER, Act::Notify), (DECIDER, Act::Dismiss)]),
        (Kind::Conduct, &[(ABOUT, Act::Object), (DECIDER, Act::Repair), (OPENER, Act::Withdraw)]),
    ];
    for (kind, may) in allowed {
        for by in [OPENER, ABOUT, DECIDER, STRANGER] {
            for act in Act::ALL {
                let mut world = world();
                let case = open(&mut world, kind);
                let leaf = step(&mut world, case, by, act);
                if may.contains(&(by, act)) {
                    assert_ne!(state(&world, case), State::Open, "{kind:?} {by} {act:?}");
                } else {
                    refused(&world, leaf, Code::ReceiptCase, Some((case, State::Open)));
                }
            }
        }
    }
    // What is over is over.
    for (kind, by, act) in [
        (Kind::Complaint, DECIDER, Act::Dismiss),
        (Kind::Complaint, OPENER, Act::Withdraw),
        (Kind::Incident, DECIDER, Act::Dismiss),
        (Kind::Conduct, DECIDER, Act::Repair),
    ] {
        for (again, then) in [OPENER, ABOUT, DECIDER].into_iter().flat_map(|p| Act::ALL.map(|a| (p, a))) {
            let mut world = world();
            let case = open(&mut world, kind);
            step(&mut world, case, by, act);
            let ended = state(&world, case);
            let leaf = step(&mut world, case, again, then);
            refused(&world, leaf, Code::ReceiptCase, Some((case, ended)));
        }
    }
}

#[test]
fn a_complaint_is_not_upheld_unheard_before_the_time_to_answer_is_over() {
    let mut world = world();
    let case = open(&mut world, Kind::Complaint);
    let leaf = step(&mut world, case, DECIDER, Act::Uphold);
    assert!(refused(&world, leaf, Code::ReceiptCase, Some((case, State::Open))).contains("may be answered until"));
    let mut world = self::world();
    let case = open(&mut world, Kind::Complaint);
    world.now = world.now.plus(7 * DAY);
    step(&mut world, case, DECIDER, Act::Uphold);
    assert_eq!(state(&world, case), State::Upheld);
}

type Alter = fn(&World, &mut Opening);

#[test]
fn what_opens_a_case_fits_the_log() {
    let wrong: [(Kind, usize, Alter, Code); 17] = [
        (Kind::Complaint, OPENER, |_, o| o.version = 2, Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.origin = "log.example/other".into(), Code::ReceiptRecord),
        (Kind::Complaint, OPENER, |_, o| o.about = None, Code::ReceiptCase),
        (Kind::Conduct, OPENER, |_, o| o.about = None, Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.about = Some(o.decider), Code::ReceiptCase),
        (Kind::Complaint, ABOUT, |_, _| {}, Code::ReceiptCase),
        (Kind::Complaint, DECIDER, |_, _| {}, Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.leaves[0].hash = Hash([1; 32]), Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.leaves[0].index = 3, Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.leaves = vec![o.leaves[0]; 2], Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.text = "x".repeat(CASE_TEXT_BYTES_MAX + 1), Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.evidence = vec![Hash([1; 32]); CASE_EVIDENCE_MAX + 1], Code::ReceiptCase),
        (Kind::Complaint, OPENER, |_, o| o.decide_by = UnixMillis(o.answer_by.0 - 1), Code::ReceiptCase),
        (Kind::Complaint, OPENER, |w, o| o.answer_by = UnixMillis(w.now.0 - 1_000), Code::ReceiptCase),
        (Kind::Complaint, OPENER, |w, o| o.until = Some(w.now.plus(DAY)), Code::ReceiptCase),
        (Kind::Conduct, OPENER, |_, o| o.until = None, Code::ReceiptCase),
        (
            Kind::Incident,
            OPENER,
            |w, o| o.leaves = (0..=CASE_LEAVES_MAX as u64).map(|i| LeafRef { index: i, ..at(w, 2) }).collect(),
            Code::ReceiptCase,
        ),
    ];
    for (i, (kind, by, alter, code)) in wrong.into_iter().enumerate() {
        let mut world = world();
        let mut body = opening(&world, kind);
        alter(&world, &mut body);
        let leaf = statement(&world, kind, body, by);
        let leaf = world.append(leaf);
        refused(&world, leaf, code, None);
        assert_eq!(books(&world).1.iter().count(), 0, "{i}");
    }
    // The bounds themselves are allowed; an incident may be about nobody, and its reporter may close it.
    let mut world = world();
    let mut body = opening(&world, Kind::Incident);
    (body.about, body.decider) = (None, world.party(OPENER).id());
    body.text = "x".repeat(CASE_TEXT_BYTES_MAX);
    body.evidence = vec![Hash([1; 32]); CASE_EVIDENCE_MAX];
    let leaf = statement(&world, Kind::Incident, body, OPENER);
    let case = world.append(leaf);
    assert_eq!(state(&world, case), State::Open);
}

#[test]
fn a_step_names_the_case_by_place_and_hash_and_a_case_has_only_so_many() {
    let mut world = world();
    let case = open(&mut world, Kind::Complaint);
    let body = |case| Step {
        version: CASE_VERSION,
        origin: ORIGIN.into(),
        case,
        act: Act::Answer,
        text: String::new(),
        evidence: Vec::new(),
    };
    for named in
        [LeafRef { index: case, hash: Hash([1; 32]) }, at(&world, 2), LeafRef { index: 99, hash: Hash([1; 32]) }]
    {
        let (key, now) = (world.party(ABOUT), world.now);
        let leaf = world.append(sign(&key, now, body(named)));
        refused(&world, leaf, Code::ReceiptCase, Some((case, State::Open)));
        world.leaves.pop();
        let leaves = std::mem::take(&mut world.leaves);
        world.tree = MemTree::default();
        leaves.into_iter().for_each(|leaf| _ = world.append(leaf));
    }
    // Whom the trust file does not know says nothing.
    let (stranger, now) = (key(99), world.now);
    let leaf = world.append(sign(&stranger, now, Complaint(opening(&world, Kind::Complaint))));
    refused(&world, leaf, Code::ReceiptPartyUnknown, None);

    let mut world = self::world();
    let case = open(&mut world, Kind::Complaint);
    (0..CASE_STEPS_MAX).for_each(|_| _ = step(&mut world, case, ABOUT, Act::Answer));
    assert_eq!(state(&world, case), State::Answered);
    let leaf = step(&mut world, case, ABOUT, Act::Answer);
    refused(&world, leaf, Code::ReceiptCase, Some((case, State::Answered)));
}

#[test]
fn what_is_overdue_by_a_witness_is_said_and_is_no_fault() {
    let mut world = world();
    let case = open(&mut world, Kind::Complaint);
    let overdue = |world: &World| {
        let (report, cases) = books(world);
        assert!(report.is_valid());
        let said = report.notices.iter().any(|n| matches!(n, Notice::CaseOverdue { leaf, .. } if *leaf == case));
        assert_eq!(said, cases.get(case).unwrap().overdue(UnixMillis(world.now.0 / 1000 * 1000)).is_some());
        said
    };
    let opened = world.now;
    assert!(!overdue(&world));
    world.now = opened.plus(7 * DAY);
    assert!(!overdue(&world));
    world.now = opened.plus(7 * DAY + 1_000);
    assert!(overdue(&world));
    step(&mut world, case, ABOUT, Act::Answer);
    assert!(!overdue(&world));
    world.now = opened.plus(30 * DAY + 1_000);
    assert!(overdue(&world));
    step(&mut world, case, DECIDER, Act::Dismiss);
    assert!(!overdue(&world));
}

#[test]
fn an_objection_freezes_what_a_record_does_and_time_ends_it() {
    let mut world = world();
    let case = open(&mut world, Kind::Conduct);
    let opened = world.now;
    let counts = |world: &World, at: UnixMillis| books(world).1.get(case).unwrap().effective(at);
    assert!(counts(&world, opened) && !counts(&world, opened.plus(365 * DAY)));
    step(&mut world, case, ABOUT, Act::Object);
    assert!(!counts(&world, opened));
    step(&mut world, case, DECIDER, Act::Uphold);
    assert!(counts(&world, opened));
    step(&mut world, case, DECIDER, Act::Repair);
    assert!(!counts(&world, opened));
    // Of a complaint nothing has effect.
    let mut world = self::world();
    let case = open(&mut world, Kind::Complaint);
    assert!(!books(&world).1.get(case).unwrap().effective(opened));
}

#[test]
fn a_single_statement_of_a_case_is_checked_by_itself() {
    let mut world = world();
    let case = open(&mut world, Kind::Complaint);
    let report = verify_bundle(&world.single(&[case]).to_bytes(), Some(&world.trust())).unwrap();
    assert_eq!((report.faults.as_slice(), report.receipts), (&[][..], 0));
    let mut body = opening(&world, Kind::Conduct);
    body.until = None;
    let leaf = statement(&world, Kind::Conduct, body, OPENER);
    let leaf = world.append(leaf);
    let report = verify_bundle(&world.single(&[leaf]).to_bytes(), Some(&world.trust())).unwrap();
    assert_eq!(codes(&report), [Code::ReceiptCase]);
}

#[test]
fn statements_have_the_bytes_of_the_vectors_and_the_script_computes_them() {
    let text = include_str!("../../../tests/vectors/receipts/cases.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let acts: Vec<&str> = vectors["acts"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert_eq!(acts, Act::ALL.map(Act::word));
    let mut seen = Vec::new();
    for vector in vectors["statements"].as_array().unwrap() {
        let body = hex::decode(vector["cbor"].as_str().unwrap()).unwrap();
        let said = Said::read(vector["type"].as_str().unwrap(), &body).unwrap().expect("a statement of a case");
        said.check().unwrap_or_else(|fault| panic!("{vector}: {fault}"));
        assert_eq!(tacit_crypto::sha256(&body).to_string(), vector["sha256"].as_str().unwrap());
        match said {
            Said::Opens(kind, opening) => {
                assert_eq!(opening.answer_by, START.plus(7 * DAY));
                assert_eq!(opening.until, (kind == Kind::Conduct).then(|| START.plus(365 * DAY)));
                assert_eq!(opening.about.is_none(), kind == Kind::Incident);
                seen.push(opening.topic.to_string());
            }
            Said::Goes(step) => {
                assert_eq!((step.text.as_str(), step.case.index), (step.act.word(), 21));
                assert_eq!(step.evidence.len(), if step.act == Act::Answer { 2 } else { 0 });
                seen.push(step.text);
            }
        }
    }
    assert_eq!(seen.len(), 3 + Act::ALL.len());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/receipts/cases.py");
    match std::process::Command::new("python3").args([script, "--check"]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => without_python("cases", &error),
    }
}
