//! Bringing lists of keys together: `align/v1`, by which owners find the rows that they have in common, and
//! `match-count/v1`, by which several learn how many keys all have, and `lookup/v1`, by which one finds few keys among very
//! many of another.

mod count;
pub mod desk;
mod joint;
mod list;
mod lookup;
mod matched;
pub(crate) mod ordered;
pub mod params;
mod places;
mod select;

use tacit_crypto::cbor;
use tacit_governance::{AlignFacts, AlignLevel, JobFacts, Use};
use tacit_protocol::Disclosure;
use tacit_types::{Code, Fault, Lang, LocalQuery, NodeId};

pub use self::count::MatchCount;
pub use self::desk::{Desk, KEPT_BYTES, Keep, Kept, LookupDesk, Offered, Spend};
pub use self::lookup::{LOOKUP_KEYS_MAX, Lookup, LookupParams};
use self::params::MATCH_OWNERS_MAX;
pub use self::params::{AlignParams, KeyGroups, KeyPart, OwnerKey};
pub use self::places::{FOUND_COLUMN, FoundKeys};
pub use self::select::{Records, Selection};
use crate::kind::{ColumnKinds, Draft, Estimate, Fold, Kind, Material, Opened, OpenedVector, Parts, Plan, Table};
pub use tacit_psi::lookup::newest_epoch;
pub use tacit_psi::session::STATE_LABEL;
pub use tacit_psi::{InMemory, Inline, Storage, Workers};

/// The kind.
pub struct Align;

/// Why `align/v1` has no level `count`: two kinds for one number would have two sets of limits on it.
const COUNTED: &str = "how many keys owners have in common, two of them or more, is counted by match-count/v1, which has a \
                       `collector`, a `count_min` and groups; align/v1 finds which, at level receiver, both or spine";

/// Keys are written with their owners.
fn alone() -> Fault {
    Fault::new(Code::RefusedParameters, "an alignment is written with its providers")
}

fn signed(kind: &dyn Kind, bytes: &[u8]) -> Result<AlignParams, Fault> {
    let refused = |e| Fault::new(Code::RefusedParameters, format!("the parameters of {} are {e}", kind.id()));
    cbor::decode(bytes).map_err(refused)
}

impl Kind for Align {
    fn id(&self) -> &'static str {
        "align/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "the rows that owners have in common, kept at each that may know them",
            Lang::Zh => "各方共有的行，分别留存于可获知的各方",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("align.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(alone())
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let written = params::read(written)?;
        let wrong = |what: &str| Err(Fault::new(Code::RefusedParameters, what.to_owned()));
        let Some(word) = written.level.as_deref() else { return wrong("level: one of receiver, both, spine") };
        let level = AlignLevel::parse(word).map_err(|f| Fault::new(Code::RefusedParameters, f.what))?;
        if level == AlignLevel::Count
            || written.collector.is_some()
            || written.count_min.is_some()
            || written.group.is_some()
        {
            return wrong(COUNTED);
        }
        if written.searches() {
            return wrong("asker, queries, epoch_days: of lookup/v1");
        }
        Ok(cbor::encode(&written.params(level, draft)?))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params = signed(self, params)?;
        params.check(parts)?;
        let owners = params.owners.len();
        if params.level == AlignLevel::Count {
            return Err(Fault::new(Code::RefusedParameters, COUNTED));
        }
        if !(2..=MATCH_OWNERS_MAX).contains(&owners) {
            let what = format!("2 to {MATCH_OWNERS_MAX} owners, who learn of keys or of ids");
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        // With each other owner the receiver finds what both have; a level at which more than one party learns would open
        // pairs to those who are in neither, and ids of pairs do not make ids of all.
        if owners > 2 && params.level != AlignLevel::Receiver {
            let what = "level: of three and more owners one alone can learn, `receiver`";
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        Ok(Box::new(AlignPlan { params }))
    }
}

struct AlignPlan {
    params: AlignParams,
}

/// What every job says that brings lists together.
fn facts(params: &AlignParams, owner: &NodeId) -> JobFacts {
    let columns = params.columns(owner).unwrap_or_default().iter().map(|c| (c.clone(), Use::Key));
    let group = params.group_of(owner).map(|by| (by.column.clone(), Use::GroupBy));
    JobFacts {
        uses: columns.chain(group).collect(),
        providers_min: 2,
        // A list that is padded must have room for every row: one that had none would say so.
        rows_max: params.size,
        score: None,
        checked: None,
        privacy: None,
    }
}

fn aligns(params: &AlignParams) -> AlignFacts {
    AlignFacts {
        level: params.level,
        learners: params.learners(),
        keys_min: params.keys_min,
        padded: params.size,
        keep_days: params.keep_days,
        lookup: None,
    }
}

fn local_query(params: &AlignParams, owner: &NodeId, view: &str) -> LocalQuery {
    let mut columns = params.columns(owner).unwrap_or_default().to_vec();
    let group = params.group_of(owner).map(|by| by.column.clone());
    columns.extend(group.filter(|group| !params.columns(owner).unwrap_or_default().contains(group)));
    LocalQuery { view: view.to_owned(), columns, filter: None }
}

fn no_desk() -> Fault {
    Fault::new(Code::JobInternal, "keys are brought together in room that the node lends")
}

fn own_columns<'a>(params: &'a AlignParams, owner: &NodeId) -> Result<&'a [String], Fault> {
    params.columns(owner).ok_or_else(|| Fault::new(Code::RefusedParties, "this owner has no keys in the job"))
}

impl Plan for AlignPlan {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        facts(&self.params, owner)
    }

    fn aligns(&self) -> Option<AlignFacts> {
        Some(aligns(&self.params))
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![joint::sizes(self.params.owners.len()), joint::opening(&self.params), joint::result(1)]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        local_query(&self.params, owner, view)
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Err(no_desk())
    }

    fn fold_at(&self, owner: &NodeId, _: Material, desk: Desk) -> Result<Box<dyn Fold>, Fault> {
        let columns = own_columns(&self.params, owner)?;
        Ok(Box::new(list::ListFold::new(self.params.clone(), columns, desk, Box::new(joint::half))?))
    }

    fn kept(&self) -> Option<&AlignParams> {
        Some(&self.params)
    }

    /// Each owner gives a one, by which the recipient hears that it was done.
    fn sums_constants(&self) -> bool {
        true
    }

    fn estimate(&self, _: usize) -> Estimate {
        // Of a list that is not padded, what the least one costs.
        let keys = self.params.size.unwrap_or(self.params.keys_min);
        let bytes = if self.params.level == AlignLevel::Spine { 150 } else { 84 };
        let batches = keys.div_ceil(u64::from(joint::BATCH));
        // The receiver does so with each other owner.
        let runs = self.params.owners.len().saturating_sub(1) as u64;
        Estimate { cells: keys, bytes_up: runs * (keys * bytes + 1024), rounds: runs * (12 + 2 * batches) }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        let opened = open(package)?;
        let owners = self.params.owners.len();
        if opened.cells[..] != [owners as u128] || opened.survivors != owners {
            return Err(Fault::new(Code::ReceiptInvalid, "the opened result is none of an alignment"));
        }
        let level = self.params.level.word();
        let json = serde_json::json!({"parties": owners, "level": level, "aligned": true});
        let rows = vec![vec![level.to_owned(), "who may know has its part".to_owned()]];
        let table = Table { title: "alignment".into(), head: vec!["level".into(), "result".into()], rows };
        Ok(Opened { json, tables: vec![table] })
    }
}

#[cfg(test)]
mod tests {
    use tacit_governance::{ColumnKind, ProviderRef};
    use tacit_types::DatasetVersionId;

    use super::*;
    use crate::kind::DraftProvider;

    /// What `align/v1` says to a job of that level: as it is written, and as somebody else's program has signed it.
    fn said(owners: u8, level: &str, more: serde_json::Value) -> [Result<(), Fault>; 2] {
        let ids: Vec<NodeId> = (1..=owners).map(|n| NodeId([n; 32])).collect();
        let columns = [("id".to_owned(), ColumnKind::Text)];
        let provider =
            |owner: &NodeId| DraftProvider { name: owner.short(), owner: *owner, columns: columns.clone().into() };
        let draft = Draft { providers: ids.iter().map(provider).collect(), ..Draft::default() };
        let mut written = serde_json::json!({
            "level": level, "mode": "double_mask", "keys_min": 10, "key": {"id": ["trim/1"]},
        });
        written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let drafted = Align.draft(written.clone(), &draft).map(|_| ());
        written.as_object_mut().unwrap().insert("collector".into(), ids[0].short().into());
        let parsed = AlignLevel::parse(level).unwrap();
        let mut params = params::read(written).and_then(|w| w.params(parsed, &draft)).unwrap();
        params.learner = (parsed == AlignLevel::Count).then_some(ids[0]);
        let of = |owner: &NodeId| ProviderRef { owner: *owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = ids.iter().map(of).collect();
        let parts = Parts { providers: &providers, ..Parts::default() };
        [drafted, Align.plan(&cbor::encode(&params), &parts).map(|_| ())]
    }

    #[test]
    fn a_count_is_refused_with_the_kind_that_counts() {
        assert_eq!(said(2, "both", serde_json::json!({})), [Ok(()), Ok(())]);
        for owners in [2, 3] {
            for refused in said(owners, "count", serde_json::json!({})) {
                let fault = refused.unwrap_err();
                assert_eq!(fault.code, Code::RefusedParameters);
                assert!(fault.what.contains("match-count/v1") && fault.what.contains("two of them or more"), "{fault}");
            }
        }
        // What only a count has is no part of another level.
        let [drafted, _] = said(2, "both", serde_json::json!({"group": null, "count_min": 5}));
        assert!(drafted.unwrap_err().what.contains("match-count/v1"));
    }
}
