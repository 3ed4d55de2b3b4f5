use tacit_governance::contract::Cohort;
use tacit_governance::dataset::Use;
use tacit_governance::grade::{Class, DatasetTerms, Grade, Product, Sharing};
use tacit_governance::site::{AskedDataset, AskedParty};
use tacit_governance::{DatasetDescriptor, JobFacts, PrivacyCost, Role};
use tacit_types::{ContractId, DatasetVersionId, Name, NodeId, UnixMillis};

use super::*;

const KINDS: [&str; 4] = ["count/v1", "stats/v1", "score-linear/v1", "score-trees/v1"];
/// Monday 2026-11-23, 02:30 UTC.
const MONDAY: UnixMillis = UnixMillis(1_795_401_000_000);
const EXAMPLE: &str = include_str!("../../../examples/site.cedar");

fn party(n: u8, name: &str, role: Role) -> AskedParty {
    AskedParty { root: NodeId([n; 32]), name: name.into(), role, region: Some("CN-XM".into()) }
}

fn asked() -> Asked {
    let lab = party(9, "lab", Role::Demander);
    let dataset = DatasetDescriptor {
        format: 1,
        owner: NodeId([1; 32]),
        name: Name::new("claims").unwrap(),
        version: 3,
        columns: Vec::new(),
        row_bucket: 1024,
        commitment: Hash([0; 32]),
        views: vec!["claims".into()],
        aligned: None,
        terms: Some(DatasetTerms {
            class: Class::Enterprise,
            grade: Grade(2),
            sharing: Sharing::Conditional,
            basis: None,
            consent: Vec::new(),
            anonymised: None,
            registration: None,
            region: None,
            export_controlled: false,
            secret: false,
        }),
    };
    Asked {
        asker: lab.clone(),
        recipient: lab.clone(),
        parties: vec![party(1, "bank", Role::Provider), lab],
        seated: vec![NodeId([1; 32])],
        contract: ContractId([5; 32]),
        contract_name: "good".into(),
        ends: UnixMillis(MONDAY.0 + 1_000),
        dataset: Some(AskedDataset {
            id: DatasetVersionId([7; 32]),
            dataset,
            view: "claims".into(),
            grade: Some(Grade(2)),
        }),
        kind: "stats/v1".into(),
        purpose: "贷后 risk".into(),
        product: Product::Aggregate,
        facts: JobFacts {
            uses: vec![("income".into(), Use::Aggregate), ("region".into(), Use::GroupBy)],
            providers_min: 1,
            rows_max: None,
            score: None,
            checked: Some(true),
            privacy: Some(PrivacyCost { epsilon_micro: 250_000, delta_femto: 1 }),
        },
        models: Vec::new(),
        providers: 3,
        cohort: Cohort { rows: 10, contributors: 2 },
        privacy: Some(PrivacyCost { epsilon_micro: 250_000, delta_femto: 1 }),
        rows: 0,
        used: 4,
        price_plan: None,
        now: MONDAY,
    }
}

fn read(text: &str) -> Policy {
    Policy::read(text, &KINDS).unwrap()
}

fn unread(text: &str) -> String {
    let Err(fault) = Policy::read(text, &KINDS) else { panic!("{text}") };
    assert_eq!(fault.code, Code::ConfigPolicy, "{text}");
    fault.what
}

/// Why a job is refused; nothing where it is not.
fn said(policy: &Policy, change: impl FnOnce(&mut Asked)) -> String {
    let mut asked = asked();
    change(&mut asked);
    match policy.decide(&asked) {
        Ok(()) => String::new(),
        Err(fault) => {
            assert_eq!(fault.code, Code::RefusedSitePolicy);
            fault.what
        }
    }
}

fn permits(when: &str) -> bool {
    said(&read(&format!("permit (principal, action, resource) when {{ {when} }};")), |_| ()).is_empty()
}

#[test]
fn what_no_policy_permits_is_refused_and_what_one_forbids_too() {
    assert_eq!(said(&read(""), |_| ()), "no policy permits it");
    let all = "permit (principal, action, resource);";
    assert_eq!(said(&read(all), |_| ()), "");
    assert_eq!(said(&read("forbid (principal, action, resource);"), |_| ()), "policy `policy-1`");
    let two = format!(
        "{all}\n@id(\"b\") @reason(\"later\") forbid (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);"
    );
    assert_eq!(said(&read(&two), |_| ()), "policy `b`: later", "the first that is written is named");
    let other = "permit (principal, action == Action::\"count/v1\", resource);";
    assert_eq!(said(&read(other), |_| ()), "no policy permits it");
    assert_eq!(said(&read(other), |a| a.kind = "count/v1".into()), "");
}

#[test]
fn the_example_does_what_it_says() {
    let example = read(EXAMPLE);
    let ids: Vec<&str> = example.lines().iter().map(|l| l.id.as_str()).collect();
    assert_eq!(ids, ["known-askers", "grade", "office-hours", "income-is-summed-only", "no-scores-unverified"]);
    assert_eq!(said(&example, |_| ()), "");
    let refused = |change: fn(&mut Asked)| said(&example, change);
    assert_eq!(refused(|a| a.asker.region = Some("HK".into())), "", "the party of the contract is who is asked about");
    let there = |a: &mut Asked, region: Option<&str>| {
        a.parties[1].region = region.map(str::to_owned);
    };
    assert_eq!(said(&example, |a| there(a, Some("HK"))), "no policy permits it");
    assert_eq!(said(&example, |a| there(a, None)), "no policy permits it");
    let grade = "policy `grade`: nothing above general-2 leaves this site; ask the data office";
    assert_eq!(refused(|a| a.dataset.as_mut().unwrap().grade = Some(Grade(3))), grade);
    assert_eq!(refused(|a| a.dataset.as_mut().unwrap().grade = None), grade);
    assert_eq!(refused(|a| a.dataset = None), "", "who brings no data has no grade");
    // Saturday; Friday at ten; Friday just before.
    let hours = "policy `office-hours`: jobs run from Monday to Friday, 8:00 to 18:00 in China";
    assert_eq!(refused(|a| a.now = UnixMillis(MONDAY.0 + 5 * 86_400_000)), hours);
    assert_eq!(refused(|a| a.now = UnixMillis(MONDAY.0 + 4 * 86_400_000 + 27_000_000)), hours);
    assert_eq!(refused(|a| a.now = UnixMillis(MONDAY.0 + 4 * 86_400_000 + 26_999_999)), "");
    let income = "policy `income-is-summed-only`: income is used in sums alone";
    assert_eq!(refused(|a| a.facts.uses[0].1 = Use::GroupBy), income);
    let verified = "policy `no-scores-unverified`: who scores here is verified";
    assert_eq!(refused(|a| (a.kind, a.facts.checked) = ("score-linear/v1".into(), None)), verified);
    assert_eq!(refused(|a| a.facts.checked = None), "");
}

#[test]
fn an_error_in_one_policy_refuses_whatever_the_others_say() {
    let over = "permit (principal, action, resource);\n@id(\"sum\") @reason(\"r\") forbid (principal, action, resource) \
                when { context.time.unix * 9223372036854775807 > 0 };";
    assert_eq!(said(&read(over), |_| ()), "policy `sum` could not be evaluated");
    // What Cedar counts for nothing is a refusal here: a permit that fails beside one that holds.
    let over = over.replace("forbid", "permit");
    assert_eq!(said(&read(&over), |_| ()), "policy `sum` could not be evaluated");
    // A kind that the schema does not know is no action.
    let all = read("permit (principal, action, resource);");
    assert!(said(&all, |a| a.kind = "other/v1".into()).starts_with("it could not be asked: "));
}

#[test]
fn every_fact_reaches_the_policy() {
    for when in [
        "principal.name == \"lab\" && principal.role == \"demander\" && principal.region == \"CN-XM\"",
        "resource is Dataset && resource.name == \"claims\" && resource.version == 3 && resource.view == \"claims\"",
        "resource is Dataset && resource.class == \"enterprise\" && resource.grade == \"general-2\"",
        "resource is Dataset && resource.sharing == \"conditional\" && resource.basis == \"?\" && resource.region == \"?\"",
        "resource is Dataset && resource.rows == 1024 && !resource.aligned",
        "resource in Contract::\"0505050505050505050505050505050505050505050505050505050505050505\"",
        "context.purpose == \"贷后 risk\" && context.kind == \"stats/v1\" && context.product == \"aggregate\"",
        "context.columns == [\"income\", \"region\"] && context.models.isEmpty()",
        "context.uses.contains({column: \"region\", use: \"group_by\"})",
        "context.parties.contains(principal) && !context.seats.contains(principal) && context.recipient == principal",
        "[\"CN-XM\"].containsAll(context.regions) && context.providers == 3",
        "context.cohort_rows == 10 && context.cohort_contributors == 2 && context.checked",
        "context.noisy && context.epsilon_micro == 250000 && context.delta_femto == 1",
        "context.rows == 0 && context.jobs_used == 4 && context.price_plan == \"?\"",
        "context.time.year == 2026 && context.time.month == 11 && context.time.day == 23",
        "context.time.hour == 2 && context.time.minute == 30 && context.time.weekday == 1",
        "context.time.unix == 1795401000",
    ] {
        assert!(permits(when), "{when}");
        assert!(!permits(&format!("!({when})")), "{when}");
    }
    // A party of which nobody says where it is stands among the regions.
    let policy = read("permit (principal, action, resource) when { [\"CN-XM\"].containsAll(context.regions) };");
    assert_eq!(said(&policy, |a| a.parties[0].region = None), "no policy permits it");
    // Who brings no data is asked about by its contract.
    let contract = read("permit (principal, action, resource is Contract) when { resource.name == \"good\" };");
    assert_eq!(said(&contract, |a| a.dataset = None), "");
    assert_eq!(said(&contract, |_| ()), "no policy permits it");
    // A number beyond Cedar's is the largest of them, and no small one.
    let most = read("permit (principal, action, resource) when { context.rows < 9223372036854775807 };");
    assert_eq!(said(&most, |a| a.rows = u64::MAX), "no policy permits it");
}

#[test]
fn a_file_that_does_not_hold_against_the_schema_is_not_loaded() {
    let when = |text: &str| format!("permit (principal, action, resource) when {{ {text} }};");
    for text in [
        "permit (",
        "permit (principal, action, resource)",
        "permit (principal == ?principal, action, resource);",
        "permit (principal, action == Action::\"scores/v9\", resource);",
        "permit (principal == User::\"bank\", action, resource);",
        "@note(\"x\") permit (principal, action, resource);",
        "@id(\"\") permit (principal, action, resource);",
        "@id(\"a\") permit (principal, action, resource); @id(\"a\") forbid (principal, action, resource);",
        // Characters that turn the direction of the text.
        "permit (principal, action, resource) when { context.purpose == \"fra\u{202e}ud\" };",
    ] {
        unread(text);
    }
    for text in [
        "context.colour == \"red\"",
        "context has colour",
        "resource.grade == \"core\"",
        "context.providers == \"3\"",
        "context.providers > principal",
        "context.columns.contains(3)",
        "context.providers",
        "false",
        "principal is Dataset",
    ] {
        unread(&when(text));
    }
    // Every fault is named at once.
    let both = unread(&format!("{}{}", when("context.colour"), when("context.shape")));
    assert!(both.contains("colour") && both.contains("shape"), "{both}");
}

#[test]
fn a_file_has_its_limits() {
    let comment = |bytes: usize| format!("//{}", "x".repeat(bytes - 2));
    assert!(Policy::read(&comment(POLICY_BYTES_MAX), &KINDS).is_ok());
    assert_eq!(unread(&comment(POLICY_BYTES_MAX + 1)), "65537 bytes, at most 65536");
    let many = |n: usize| "forbid(principal,action,resource);\n".repeat(n);
    assert_eq!(read(&many(POLICIES_MAX)).lines().len(), POLICIES_MAX);
    assert_eq!(unread(&many(POLICIES_MAX + 1)), "257 policies, at most 256");
    let id = |bytes: usize| format!("@id(\"{}\") permit (principal, action, resource);", "i".repeat(bytes));
    assert!(Policy::read(&id(POLICY_ID_BYTES_MAX), &KINDS).is_ok());
    assert!(unread(&id(POLICY_ID_BYTES_MAX + 1)).contains("at most 64"));
    let reason = |bytes: usize| format!("@reason(\"{}\") permit (principal, action, resource);", "r".repeat(bytes));
    assert!(Policy::read(&reason(POLICY_REASON_BYTES_MAX), &KINDS).is_ok());
    assert!(unread(&reason(POLICY_REASON_BYTES_MAX + 1)).contains("256"));
    let when = |what: &str| format!("permit (principal, action, resource) when {{ {what} }};");
    // The braces are one more.
    let nested = |n: usize| when(&format!("{}context.checked{}", "(".repeat(n - 1), ")".repeat(n - 1)));
    assert!(Policy::read(&nested(POLICY_DEPTH_MAX), &KINDS).is_ok());
    assert_eq!(unread(&nested(POLICY_DEPTH_MAX + 1)), "policy 1 is nested deeper than 32");
    let ifs = |n: usize| when(&format!("{}true", "if context.checked then true else ".repeat(n - 1)));
    assert!(Policy::read(&ifs(POLICY_DEPTH_MAX), &KINDS).is_ok());
    assert_eq!(
        unread(&format!("{}{}", when("context.noisy"), ifs(POLICY_DEPTH_MAX + 1))),
        "policy 2 is nested deeper than 32"
    );
    // A text and a note nest nothing, and end no policy.
    let quoted = when(&format!("context.purpose == \"\\\"{}\" // {} ;\n", "(;".repeat(100), "[".repeat(100)));
    assert_eq!(read(&quoted).lines().len(), 1);
    // One that is as long as it may be, of which each operator is a step deeper, is read or refused; and goes away again.
    let bare = when("").len();
    for (step, last) in [("1==1&&", "1==1"), ("context.", "checked"), ("1+", "1==2"), ("!", "true"), ("-", "1==1")] {
        let chain = when(&format!("{}{last}", step.repeat((ONE_POLICY_BYTES_MAX - bare - last.len()) / step.len())));
        assert!(
            Policy::read(&chain, &KINDS)
                .map_or_else(|fault| fault.code == Code::ConfigPolicy, |p| p.lines().len() == 1)
        );
    }
    let holds = |n: usize| when(&format!("{}context.checked", "context.checked||".repeat(n)));
    assert!(Policy::read(&holds(30), &KINDS).is_ok());
    let longest = read(&holds((ONE_POLICY_BYTES_MAX - bare) / 17 - 1));
    // How far it is followed depends on the stack that is left; where it is not, that is a refusal.
    assert!(["", "policy `policy-1` could not be evaluated"].contains(&said(&longest, |_| ()).as_str()));
    let long = |bytes: usize| {
        format!(
            "permit (principal, action, resource);{}permit (principal, action, resource)\n;",
            " ".repeat(bytes - 37)
        )
    };
    assert!(Policy::read(&long(ONE_POLICY_BYTES_MAX), &KINDS).is_ok());
    assert_eq!(unread(&long(ONE_POLICY_BYTES_MAX + 1)), "policy 2 has more than 4096 bytes");
}
