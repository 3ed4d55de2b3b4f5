//! Each rule of the early warning fires on a log that has what it watches for, with the leaves that show it, and on the
//! same log without it does not.

mod common;

use common::*;
use tacit_crypto::Statement;
use tacit_receipts::warn::*;
use tacit_receipts::*;
use tacit_types::*;

const CONTRACT: ContractId = ContractId([7; 32]);
const DAY: u64 = 86_400_000;

/// What a reader knows whose rules do not fire over a few honest jobs.
fn known(world: &World) -> Known {
    Known {
        now: world.now,
        contracts: vec![Terms {
            contract: CONTRACT,
            name: "screening".into(),
            jobs: Some(10),
            valid_from: UnixMillis(START.0 - DAY),
            valid_until: UnixMillis(START.0 + DAY),
            revoked: None,
        }],
        ..Known::default()
    }
}

fn world(jobs: u8) -> World {
    let mut world = World::new(3);
    (1..=jobs).for_each(|job| _ = world.job(job));
    world
}

fn watch_with(world: &World, known: &Known, checkpoint: &[u8], promises: &[Vec<u8>]) -> Alerts {
    let trust = world.trust();
    let mut bundle = world.bundle();
    bundle.checkpoint = checkpoint.to_vec().into();
    bundle.promises = promises.iter().map(|p| p.clone().into()).collect();
    let report = verify_bundle(&bundle.to_bytes(), Some(&trust)).unwrap();
    let mut watch = Watch::new(&trust, known);
    world.leaves.iter().for_each(|leaf| watch.leaf(leaf));
    watch.finish(&report, checkpoint, promises)
}

fn watch(world: &World, known: &Known) -> Alerts {
    watch_with(world, known, &world.cosigned(3), &[])
}

/// The one alert there is, with the leaves that it links to; each link is the leaf's own hash.
#[track_caller]
fn only(world: &World, alerts: &Alerts, rule: Rule, level: Level, leaves: &[u64]) -> Alert {
    let [alert] = alerts.alerts.as_slice() else { panic!("{:#?}", alerts.alerts) };
    assert_eq!((alert.rule, alert.level, alerts.alarming()), (rule, level, level == Level::Alarm), "{alert:?}");
    let found: Vec<u64> = alert.leaves.iter().map(|l| l.index).collect();
    assert_eq!(found, leaves, "{alert:?}");
    for link in &alert.leaves {
        assert_eq!(link.hash, merkle::leaf_hash(&world.leaves[link.index as usize]));
    }
    for lang in [Lang::En, Lang::Zh] {
        assert!(alert.sentence(lang).contains(rule.word()) && alert.sentence(lang).contains(&alert.about));
    }
    alert.clone()
}

#[test]
fn an_honest_log_gives_no_alert() {
    let world = world(4);
    assert_eq!(watch(&world, &known(&world)), Alerts::default());
}

#[test]
fn what_is_missing_from_the_log_is_a_gap() {
    let mut world = world(2);
    let record = world.record(3);
    world.attest(1, &record);
    // Its receipt is left out; the next number of that party shows it.
    let leaf = world.job(4);
    let alert = only(&world, &watch(&world, &known(&world)), Rule::Gap, Level::Alarm, &[leaf]);
    assert_eq!(alert.about, "receipt.sequence_gap");
}

#[test]
fn a_promise_warns_before_it_is_due_and_is_an_alarm_after() {
    let mut world = world(2);
    let record = world.record(3);
    let deadline = world.now.plus(15 * 60_000);
    let promise = Promise { usage: record.digest(), deadline };
    let promise = Statement::sign(&world.coordinator(), "promise", world.now, None, promise).bytes().to_vec();
    let at = |world: &World, now: u64| {
        watch_with(
            world,
            &Known { now: UnixMillis(now), ..known(world) },
            &world.cosigned(3),
            std::slice::from_ref(&promise),
        )
    };
    let minutes = |n: u64| deadline.0 - n * 60_000;
    assert_eq!(at(&world, minutes(11)).alerts, []);
    let soon = only(&world, &at(&world, minutes(10)), Rule::Promise, Level::Warning, &[3]);
    assert!(soon.what.contains(&deadline.to_string()), "{soon:?}");
    only(&world, &at(&world, deadline.0 + 1), Rule::Promise, Level::Alarm, &[3]);
    // A stranger's promise binds nobody; the verifier names it.
    let theirs = Statement::sign(&key(9), "promise", world.now, None, Promise { usage: record.digest(), deadline });
    let theirs = [theirs.bytes().to_vec()];
    let strange = watch_with(&world, &Known { now: deadline.plus(1), ..known(&world) }, &world.cosigned(3), &theirs);
    assert!(strange.alerts.iter().all(|a| a.rule == Rule::Invalid), "{strange:?}");
    // Kept: it is over.
    world.close(record);
    assert_eq!(at(&world, deadline.0 - 1).alerts, []);
}

#[test]
fn a_case_warns_once_it_waits_beyond_its_deadline() {
    let mut world = world(1);
    let opened = world.now;
    let opening = cases::Opening {
        version: cases::CASE_VERSION,
        origin: ORIGIN.into(),
        about: Some(world.party(1).id()),
        decider: world.party(2).id(),
        leaves: vec![money::LeafRef { index: 2, hash: merkle::leaf_hash(&world.leaves[2]) }],
        topic: Name::new("overuse").unwrap(),
        text: "more rows than were agreed".into(),
        evidence: Vec::new(),
        answer_by: opened.plus(DAY / 8),
        decide_by: opened.plus(DAY / 4),
        until: None,
    };
    let body = cases::Complaint(opening);
    let complaint = Statement::sign(&world.party(0), "case", opened, None, body).bytes().to_vec();
    world.append(complaint);
    // The witnesses are as late as the reader, and that is not what this is about.
    let thresholds = Thresholds { witness_lag_minutes: 24 * 60, ..Thresholds::default() };
    let late = |world: &World, ms: u64| {
        watch(world, &Known { now: opened.plus(ms), thresholds: thresholds.clone(), ..known(world) })
    };
    assert_eq!(late(&world, DAY / 8).alerts, [], "the last moment counts");
    let alert = only(&world, &late(&world, DAY / 8 + 1), Rule::CaseOverdue, Level::Warning, &[3]);
    assert!(alert.what.starts_with("an answer was due"), "{}", alert.what);
    // Answered: what is missing then is the decision.
    let case = money::LeafRef { index: 3, hash: merkle::leaf_hash(&world.leaves[3]) };
    let step = cases::Step {
        version: cases::CASE_VERSION,
        origin: ORIGIN.into(),
        case,
        act: cases::Act::Answer,
        text: "as agreed".into(),
        evidence: Vec::new(),
    };
    let answer = Statement::sign(&world.party(1), "case", opened, None, step).bytes().to_vec();
    world.append(answer);
    assert_eq!(late(&world, DAY / 8 + 1).alerts, []);
    let alert = only(&world, &late(&world, DAY / 4 + 1), Rule::CaseOverdue, Level::Warning, &[3]);
    assert!(alert.what.starts_with("a decision was due"), "{}", alert.what);
}

#[test]
fn a_quota_warns_when_it_is_nearly_over_and_is_an_alarm_when_it_is_passed() {
    let of = |jobs: u8| {
        let world = world(jobs);
        let alerts = watch(&world, &known(&world));
        (world, alerts)
    };
    assert_eq!(of(7).1.alerts, []);
    let (world, alerts) = of(8);
    only(&world, &alerts, Rule::QuotaBurn, Level::Warning, &(2..10).collect::<Vec<_>>());
    let (world, alerts) = of(11);
    let alert = only(&world, &alerts, Rule::QuotaBurn, Level::Alarm, &(2..13).collect::<Vec<_>>());
    assert_eq!((alert.about.as_str(), alert.what.as_str()), ("screening", "11 jobs; 10 are allowed"));
    // Of a contract that the reader does not know the quota of, nothing can be said.
    let mut blind = known(&world);
    blind.contracts[0].jobs = None;
    assert_eq!(watch(&world, &blind).alerts, []);
}

#[test]
fn use_that_runs_ahead_of_its_time_is_seen_before_the_quota_is_near() {
    let world = world(6);
    // Six of twenty jobs: at half time that is slow, after a tenth of the time three times too fast.
    let at = |elapsed: u64, uses_min: u64| {
        let mut known = known(&world);
        known.contracts[0].jobs = Some(20);
        known.contracts[0].valid_from = UnixMillis(START.0 - 1);
        known.contracts[0].valid_until = UnixMillis(START.0 - 1 + 10 * DAY);
        known.now = UnixMillis(START.0 - 1 + elapsed);
        known.thresholds.rate_uses_min = uses_min;
        known.thresholds.witness_lag_minutes = 1_000_000;
        watch(&world, &known)
    };
    assert_eq!(at(5 * DAY, 5).alerts, []);
    let alert = only(&world, &at(DAY, 5), Rule::QuotaBurn, Level::Warning, &(2..8).collect::<Vec<_>>());
    assert!(alert.what.contains("300 percent"), "{alert:?}");
    assert_eq!(at(DAY, 7).alerts, []);
}

#[test]
fn a_privacy_budget_warns_and_is_an_alarm_when_it_is_passed() {
    let world = world(4);
    let with = |budget: u64| {
        let mut known = known(&world);
        // Each job spends a quarter of a unit.
        known.budgets.insert(DatasetVersionId([1; 32]).to_string(), budget);
        known.budgets.insert(DatasetVersionId([2; 32]).to_string(), 1);
        watch(&world, &known)
    };
    assert_eq!(with(1_250_001).alerts, []);
    only(&world, &with(1_250_000), Rule::BudgetBurn, Level::Warning, &[2, 3, 4, 5]);
    only(&world, &with(1_000_000), Rule::BudgetBurn, Level::Warning, &[2, 3, 4, 5]);
    let alert = only(&world, &with(999_999), Rule::BudgetBurn, Level::Alarm, &[2, 3, 4, 5]);
    assert!(alert.what.starts_with("1000000 of 999999"), "{alert:?}");
}

#[test]
fn refusals_count_within_their_hours() {
    let mut world = world(1);
    for job in 10..15 {
        let mut record = world.record(job);
        record.status =
            Status::Refused { code: if job == 10 { Code::RefusedQuota } else { Code::RefusedColumn }, seat: None };
        (record.attempt, record.result) = (Attempt(0), None);
        world.close(record);
    }
    let alert = only(&world, &watch(&world, &known(&world)), Rule::Refusals, Level::Warning, &[3, 4, 5, 6, 7]);
    assert_eq!(alert.what, "5 in 24 hours: refused.column 4, refused.quota 1");
    let mut patient = known(&world);
    patient.thresholds.refusals_count = 6;
    assert_eq!(watch(&world, &patient).alerts, []);
    // A day later one of them is too old to count.
    let mut later = known(&world);
    later.now = world.now.plus(DAY - 4 * 60_000 + 1);
    later.thresholds.witness_lag_minutes = 1_000_000;
    assert_eq!(watch(&world, &later).alerts, []);
}

#[test]
fn a_use_after_revocation_or_outside_the_validity_is_an_alarm() {
    let world = world(3);
    let with = |alter: &dyn Fn(&mut Terms)| {
        let mut known = known(&world);
        alter(&mut known.contracts[0]);
        watch(&world, &known)
    };
    // The jobs begin at START, a minute and two minutes later.
    let revoked = with(&|t| t.revoked = Some(START.plus(60_000)));
    let alert = only(&world, &revoked, Rule::RevokedButUsed, Level::Alarm, &[3, 4]);
    assert!(alert.what.contains("revoked at"), "{alert:?}");
    assert_eq!(with(&|t| t.revoked = Some(START.plus(120_001))).alerts, []);
    let over = only(&world, &with(&|t| t.valid_until = START.plus(120_000)), Rule::RevokedButUsed, Level::Alarm, &[4]);
    assert!(over.what.contains("in force from"), "{over:?}");
    only(&world, &with(&|t| t.valid_from = START.plus(1)), Rule::RevokedButUsed, Level::Alarm, &[2]);
}

#[test]
fn a_refused_job_is_no_use_after_revocation() {
    let mut world = world(1);
    let mut record = world.record(2);
    record.status = Status::Refused { code: Code::RefusedContractRevoked, seat: None };
    (record.attempt, record.result) = (Attempt(0), None);
    world.close(record);
    let mut known = known(&world);
    known.contracts[0].revoked = Some(START.plus(1));
    assert_eq!(watch(&world, &known).alerts, []);
}

#[test]
fn a_witness_that_lags_is_named() {
    let world = world(2);
    let at = |minutes: u64| watch(&world, &Known { now: world.now.plus(minutes * 60_000 + 1_000), ..known(&world) });
    assert_eq!(at(59).alerts, []);
    let names: Vec<String> = at(61).alerts.iter().map(|a| format!("{} {}", a.rule.word(), a.about)).collect();
    assert_eq!(names, ["witness_lag w.example/0", "witness_lag w.example/1", "witness_lag w.example/2"]);
    // Two of three are a quorum; the third is named all the same.
    let two = watch_with(&world, &known(&world), &world.cosigned(2), &[]);
    let alert = only(&world, &two, Rule::WitnessLag, Level::Warning, &[3]);
    assert_eq!(alert.about, "w.example/2");
    // One of three is none: that is an alarm.
    let one = watch_with(&world, &known(&world), &world.cosigned(1), &[]);
    assert!(one.alarming() && one.alerts.iter().all(|a| a.rule == Rule::WitnessLag), "{one:?}");
}

#[test]
fn two_histories_are_a_fork() {
    let mut world = world(2);
    let record = world.record(3);
    let body = Attestation::agreeing(&record, Role::Input, Some(SeenCheckpoint { size: 3, root: Hash([9; 32]) }));
    let signed = [world.attest(0, &record), world.attest_with(1, &record, body), world.attest(2, &record)];
    let leaf = world.publish(assemble(record, &signed, Vec::new()).unwrap().receipt);
    let alert = only(&world, &watch(&world, &known(&world)), Rule::Fork, Level::Alarm, &[leaf]);
    assert_eq!(alert.about, "log.fork");
}

#[test]
fn a_use_across_a_border_is_seen_and_one_within_is_not() {
    let world = world(2);
    let with = |regions: &[(usize, &str)]| {
        let mut known = known(&world);
        known.regions = regions.iter().map(|(i, region)| (name(*i), (*region).to_owned())).collect();
        watch(&world, &known)
    };
    // The first receives; the others bring data.
    assert_eq!(with(&[(0, "CN-GD"), (1, "CN-BJ"), (2, "CN-GD")]).alerts, []);
    assert_eq!(with(&[(1, "CN-BJ"), (2, "SG")]).alerts, []);
    let alert = only(&world, &with(&[(0, "SG"), (1, "CN-BJ")]), Rule::CrossBorder, Level::Warning, &[2, 3]);
    assert_eq!((alert.about.as_str(), alert.what.as_str()), ("CN-BJ -> SG", "2 uses"));
}

#[test]
fn what_else_a_verifier_finds_is_no_less_an_alarm() {
    let mut world = world(1);
    let record = world.record(2);
    let mut body = Attestation::agreeing(&record, Role::Input, None);
    body.verdict = Verdict::Disputes { code: Code::JobMisbehaved };
    let signed = [world.attest(0, &record), world.attest_with(1, &record, body), world.attest(2, &record)];
    let leaf = world.publish(assemble(record, &signed, Vec::new()).unwrap().receipt);
    let alert = only(&world, &watch(&world, &known(&world)), Rule::Invalid, Level::Alarm, &[leaf]);
    assert_eq!(alert.about, "receipt.disputed");
}

#[test]
fn alerts_of_a_rule_and_their_links_are_bounded() {
    let mut world = world(20);
    let mut known = known(&world);
    let links = watch(&world, &known).alerts.remove(0).leaves;
    assert_eq!((links.len(), links[0].index, links[LINKS_MAX - 1].index), (LINKS_MAX, 6, 21));
    for n in 0..=ALERTS_PER_RULE_MAX {
        world.append(format!("no statement {n}").into_bytes());
    }
    known.contracts.clear();
    let alerts = watch(&world, &known);
    assert_eq!((alerts.alerts.len(), alerts.omitted), (ALERTS_PER_RULE_MAX, 1));
}
