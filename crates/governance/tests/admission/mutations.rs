//! Every field of contract and job, found in the signed bytes themselves, changed in every way, alone and in pairs.
//!
//! A job changes under the contract that all have signed; a contract changes, is signed anew by all, and the job follows it.
//! The [table](table) says of each place which refusals its changes have and which changes ask for no more than was agreed.
//! A place without a row fails, so a new field comes with its rule.

use std::collections::BTreeSet;

use tacit_crypto::cbor;
use tacit_governance::{AttachmentRef, DistinctTerms, ExactTerms, Lifecycle, OnlineTerms, Succession, UnknownKeys};

use super::*;

mod table;
mod tree;

use table::Row;
use tree::{Item, Op, Path, written};

/// Which body a change is made in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Doc {
    Job,
    Contract,
}

/// One change of one body.
#[derive(Clone, Debug)]
struct Change {
    doc: Doc,
    path: Path,
    op: Op,
}

impl Change {
    fn row(&self) -> &'static Row {
        let (exact, any) = written(&self.path);
        let rows = match self.doc {
            Doc::Job => table::JOB,
            Doc::Contract => table::CONTRACT,
        };
        let row = rows.iter().find(|r| r.path == exact).or_else(|| rows.iter().find(|r| r.path == any));
        row.unwrap_or_else(|| panic!("no row for {:?} {any}: say what refuses its changes", self.doc))
    }

    fn says(&self) -> String {
        format!("{:?} {} {:?}", self.doc, written(&self.path).0, self.op)
    }

    /// Whether both can be made, the one without the other's place having moved.
    fn goes_with(&self, other: &Change) -> bool {
        self.doc != other.doc
            || self.path.first() != other.path.first()
            || (self.path != other.path && self.op.is_leaf() && other.op.is_leaf())
    }
}

const CONTROL: &str = include_str!("../../src/control.rs");

/// A body's name in the sources, and where it stands in the tree.
const BODIES: [(Doc, &str, &str, &str); 32] = [
    (Doc::Job, "", "JobSpec", include_str!("../../src/job.rs")),
    (Doc::Job, "5[].", "ProviderRef", include_str!("../../src/job.rs")),
    (Doc::Job, "13[].", "ModelRef", include_str!("../../src/job.rs")),
    (Doc::Job, "15[].", "AttachmentRef", include_str!("../../src/job.rs")),
    (Doc::Job, "8.", "Cohort", include_str!("../../src/contract.rs")),
    (Doc::Contract, "", "Contract", include_str!("../../src/contract.rs")),
    (Doc::Contract, "3[].", "ContractParty", include_str!("../../src/contract.rs")),
    (Doc::Contract, "4[].", "DatasetGrant", include_str!("../../src/contract.rs")),
    (Doc::Contract, "4[].4[].", "ColumnGrant", include_str!("../../src/contract.rs")),
    (Doc::Contract, "13[].", "User", include_str!("../../src/contract.rs")),
    (Doc::Contract, "10.", "Quota", include_str!("../../src/contract.rs")),
    (Doc::Contract, "20[].", "ModelGrant", include_str!("../../src/model.rs")),
    (Doc::Contract, "21.", "ScoringTerms", include_str!("../../src/model.rs")),
    (Doc::Contract, "21.4.", "OnlineTerms", include_str!("../../src/model.rs")),
    (Doc::Contract, "21.6.", "DistinctTerms", include_str!("../../src/model.rs")),
    (Doc::Contract, "22.", "AlignTerms", include_str!("../../src/align.rs")),
    (Doc::Contract, "24.", "PrivacyTerms", include_str!("../../src/privacy.rs")),
    (Doc::Contract, "24.1.", "PrivacyCost", include_str!("../../src/privacy.rs")),
    (Doc::Contract, "25.", "ExactTerms", include_str!("../../src/exact.rs")),
    (Doc::Contract, "22.6.", "RepeatTerms", include_str!("../../src/align.rs")),
    (Doc::Contract, "40.", "Control", CONTROL),
    (Doc::Contract, "40.1[].", "Right", CONTROL),
    (Doc::Contract, "40.3.", "Venue", CONTROL),
    (Doc::Contract, "40.4[].", "PartyRegion", CONTROL),
    (Doc::Contract, "40.5.", "CrossBorder", CONTROL),
    (Doc::Contract, "40.6[].", "ApprovalRule", CONTROL),
    (Doc::Contract, "40.7.", "Emergency", CONTROL),
    (Doc::Contract, "40.9[].", "Clause", CONTROL),
    (Doc::Contract, "40.11.", "ReviewRule", CONTROL),
    (Doc::Contract, "40.12.", "RiskRule", CONTROL),
    (Doc::Contract, "80.", "Lifecycle", include_str!("../../src/lifecycle.rs")),
    (Doc::Contract, "80.2[].", "Succession", include_str!("../../src/lifecycle.rs")),
];

/// Four jobs that between them use every field.
fn bases() -> [Case; 4] {
    let full = |case: Case| {
        let mut case = case.contract(|c| {
            c.checked = true;
            c.price_plan = Some(Hash([3; 32]));
            (c.valid_from, c.valid_until) = (UnixMillis(NOW.0 - 10), UnixMillis(NOW.0 + 10));
        });
        case.priced = Some((None, Hash([3; 32])));
        (case.job.created_at, case.job.expires_at) = (UnixMillis(NOW.0 - 5), UnixMillis(NOW.0 + 5));
        if let Ok(facts) = &mut case.facts {
            facts.checked = Some(true);
        }
        case
    };
    // Every allowance is asked for to its last unit, so that one less refuses.
    let online = scores::online().contract(|c| {
        c.kinds.retain(|kind| kind == "score-linear/v1");
        c.datasets.iter_mut().for_each(|d| d.columns.retain(|c| c.name == "income" || c.name == "id"));
        c.scoring = c.scoring.map(|s| ScoringTerms {
            online: Some(OnlineTerms { rows_per_window: 100, rows_per_second: 10 }),
            verified: true,
            distinct: Some(DistinctTerms { keys: 50, days: 7 }),
            decimals: Some(2),
            unknown: Some(UnknownKeys::Each),
            ..s
        });
    });
    let online = online.job(|j| {
        j.attachments =
            vec![AttachmentRef { name: "keys".into(), plain: Hash([4; 32]), sealed: Hash([5; 32]), bytes: 9 }];
    });
    let online = online.other(|c| {
        if let Ok(JobFacts { score: Some(score), providers_min, .. }) = &mut c.facts {
            (score.verified, *providers_min) = (true, 3);
        }
    });
    let aligning = alignments::aligning().contract(|c| {
        c.alignment.iter_mut().for_each(|a| {
            (a.levels, a.learners) = (vec![AlignLevel::Receiver], vec![key(2).id()]);
        });
    });
    let aligning = aligning.other(|c| {
        let lookup = LookupFacts { asker: key(2).id(), queries: 1000, epoch_days: 30, series: Hash([1; 32]) };
        c.align.iter_mut().for_each(|a| a.lookup = Some(lookup));
    });
    let succeeded = private::private(true).contract(|c| {
        let from = ContractParty { name: name("before"), root: key(6).id(), role: Role::Provider };
        let successions = vec![Succession { from, to: key(2).id() }];
        c.exact = Some(ExactTerms { change_min: 10 });
        c.lifecycle = Some(Lifecycle { amends: Some(ContractId([7; 32])), successions, deletion_days: Some(30) });
    });
    let succeeded = succeeded.other(|c| c.signers.push(6));
    [full(succeeded), full(online), full(aligning), full(control::controlled())]
}

/// A base as trees, with what was signed already.
struct Base {
    case: Case,
    job: Item,
    contract: Item,
    signed: SignedContract,
}

impl Base {
    fn new(case: Case) -> Self {
        let job = Item::read(&cbor::encode(&case.job));
        let contract = Item::read(&cbor::encode(&case.contract));
        assert_eq!(job.bytes(), cbor::encode(&case.job));
        let signed = case.signed();
        Self { case, job, contract, signed }
    }

    /// Every change of every place, and every field that another base has and this one has not.
    fn changes(&self, all: &[Base]) -> Vec<Change> {
        let mut changes = Vec::new();
        for doc in [Doc::Job, Doc::Contract] {
            let mut tree = self.tree(doc).clone();
            for path in self.tree(doc).places() {
                for op in tree::ops(&mut tree, &path) {
                    changes.push(Change { doc, path: path.clone(), op });
                }
            }
            for (key, item) in all.iter().flat_map(|other| fields(other.tree(doc))) {
                let path = vec![tree::Step::Key(key)];
                let known = |c: &Change| c.doc == doc && c.path == path;
                if !changes.iter().any(known) {
                    changes.push(Change { doc, path, op: Op::Graft(item) });
                }
            }
        }
        changes
    }

    fn tree(&self, doc: Doc) -> &Item {
        match doc {
            Doc::Job => &self.job,
            Doc::Contract => &self.contract,
        }
    }

    /// What the owner says to the job with these changes.
    fn decide(&self, changes: &[&Change]) -> Result<(), Code> {
        let (mut job, mut contract) = (self.job.clone(), self.contract.clone());
        for change in changes {
            let tree = if change.doc == Doc::Job { &mut job } else { &mut contract };
            change.op.apply(tree, &change.path);
        }
        let contracts = if changes.iter().all(|c| c.doc == Doc::Job) {
            vec![self.signed.clone()]
        } else {
            // Bytes that are no contract are left out before the decision.
            let Ok(terms) = cbor::decode::<Contract>(&contract.bytes()) else {
                return Err(Code::RefusedContractUnknown);
            };
            vec![self.case.sign(terms)]
        };
        let Ok(mut spec) = cbor::decode::<JobSpec>(&job.bytes()) else { return Err(Code::RefusedMalformed) };
        for (contract, old) in contracts.iter().zip([self.signed.id()]) {
            spec.contracts.iter_mut().filter(|id| **id == old).for_each(|id| *id = contract.id());
        }
        let job = Statement::sign(&key(self.case.operator), "job", NOW, None, spec);
        let job = JobSpec::verify(job.bytes()).map_err(|f| f.code)?;
        self.case.judge(&job, &contracts).decision.map(|_| ()).map_err(|f| f.code)
    }
}

fn fields(item: &Item) -> Vec<(u64, Item)> {
    match item {
        Item::Map(items) => items.clone(),
        other => panic!("a body is a map, not {other:?}"),
    }
}

fn all() -> Vec<Base> {
    bases().into_iter().map(Base::new).collect()
}

#[test]
fn each_change_alone_is_refused_by_its_code_or_asks_for_no_more() {
    let bases = all();
    let mut wrong = Vec::new();
    let (mut refused, mut admitted) = (0, 0);
    for (n, base) in bases.iter().enumerate() {
        assert_eq!(base.decide(&[]), Ok(()), "base {n}");
        for change in base.changes(&bases) {
            let row = change.row();
            match base.decide(&[&change]) {
                Ok(()) if (row.free)(&change.op) => admitted += 1,
                Ok(()) => wrong.push(format!("base {n}: {} was admitted", change.says())),
                Err(code) if row.allows(code, change.doc) => refused += 1,
                Err(code) => wrong.push(format!("base {n}: {} was refused by {code}", change.says())),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), refused + admitted, wrong.join("\n"));
    assert!(refused > 300 && admitted > 50, "{refused} {admitted}");
}

/// Of all pairs of changes one in so many is made: each pair of places is still met, for most have more changes than that.
const SHARE: usize = 7;

#[test]
fn no_second_change_makes_up_for_one_that_is_refused() {
    let bases = all();
    let mut wrong = Vec::new();
    let mut pairs = 0_u64;
    for (n, base) in bases.iter().enumerate() {
        let changes = base.changes(&bases);
        let alone: Vec<Result<(), Code>> = changes.iter().map(|c| base.decide(&[c])).collect();
        for (i, first) in changes.iter().enumerate() {
            for (j, second) in changes.iter().enumerate().skip(i + 1) {
                // Two of one term may agree with each other: then the contract says what the job asks. Two that are
                // admitted alone ask for nothing.
                let (a, b) = (first.row(), second.row());
                let refused = alone[i].is_err() || alone[j].is_err();
                if a.meets(b) || !refused || !first.goes_with(second) || (i + j) % SHARE != 0 {
                    continue;
                }
                pairs += 1;
                match base.decide(&[first, second]) {
                    Ok(()) => wrong.push(format!("base {n}: {} and {} were admitted", first.says(), second.says())),
                    Err(code) if a.allows(code, first.doc) || b.allows(code, second.doc) => {}
                    Err(code) => {
                        wrong.push(format!("base {n}: {} and {} were refused by {code}", first.says(), second.says()));
                    }
                }
            }
        }
    }
    wrong.truncate(40);
    assert!(wrong.is_empty(), "of {pairs}:\n{}", wrong.join("\n"));
    assert!(pairs > 40_000, "{pairs}");
}

#[test]
fn every_field_that_the_sources_have_is_in_a_base() {
    let bases = all();
    for (doc, prefix, body, source) in BODIES {
        let start = source.find(&format!("pub struct {body} {{")).unwrap_or_else(|| panic!("{body} is not there"));
        let text = source[start..].split("\n}").next().unwrap_or_default();
        let numbers = text.split("#[n(").skip(1).filter_map(|rest| rest.split(')').next());
        let places: BTreeSet<String> =
            bases.iter().flat_map(|b| b.tree(doc).places()).map(|path| written(&path).1).collect();
        let missing: Vec<String> = numbers.map(|n| format!("{prefix}{n}")).filter(|p| !places.contains(p)).collect();
        assert!(text.contains("#[n("), "{body} has no field");
        assert!(missing.is_empty(), "{body}: no base has {missing:?}");
    }
}
