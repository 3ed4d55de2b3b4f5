//! `match-count/v1`: how many keys two or more owners have in common. No owner learns which; one of them, the collector,
//! learns the number, and with more than two that of each subset of them; or these numbers for each group of one owner's rows.

use tacit_crypto::cbor;
use tacit_governance::{AlignFacts, AlignLevel, Cohort, JobFacts};
use tacit_protocol::{Abort, Audience, Concealed, Disclosure, Party};
use tacit_psi::ring::openings;
use tacit_psi::{Host, RingGroups, RingKeys, RingTerms, ring};
use tacit_types::{Code, Fault, Hash, Lang, LocalQuery, NodeId, Seat};

use super::joint::{BATCH, EXCHANGE_ROUND, Offer, PATIENCE, READING, all_offered, hand, result, seat_of, sizes};
use super::list::{List, ListFold};
use super::params::{self, AlignParams, MATCH_OWNERS_MAX};
use super::{Desk, aligns, alone, facts, local_query, no_desk, own_columns, signed};
use crate::kind::{
    ColumnKinds, Draft, Estimate, Fold, JointContext, JointFuture, JointHalf, JointOutput, Kind, Material, Opened,
    OpenedVector, Parts, Plan, Table,
};
use crate::session;
use crate::stats::groups::GroupFinder;
use crate::stats::suppress::{CellCount, released};

/// The kind.
pub struct MatchCount;

impl Kind for MatchCount {
    fn id(&self) -> &'static str {
        "match-count/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "how many keys two or more owners have in common",
            Lang::Zh => "多方共有键的数量",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("count.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(alone())
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let mut written = params::read(written)?;
        let stray =
            written.level.is_some() || written.receiver.is_some() || written.keep_days.is_some() || written.searches();
        if stray || written.mode.is_some() {
            let what = "level, receiver, mode, keep_days: of align/v1, and asker, queries, epoch_days: of lookup/v1; a count has a \
                        `collector`";
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        // One of the owners has to collect; the first where nobody is named.
        if written.collector.is_none() {
            written.collector = draft.providers.first().map(|p| p.name.clone());
        }
        Ok(cbor::encode(&written.params(AlignLevel::Count, draft)?))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params = signed(self, params)?;
        params.check(parts)?;
        if params.level != AlignLevel::Count || !(2..=MATCH_OWNERS_MAX).contains(&params.owners.len()) {
            let what = format!("2 to {MATCH_OWNERS_MAX} owners, of whom one collects");
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        Ok(Box::new(CountPlan { params }))
    }
}

struct CountPlan {
    params: AlignParams,
}

/// What the collector can tell: how many keys each subset of two and more owners has in common; of those with whom the groups
/// are, in each group.
fn opening(params: &AlignParams) -> Disclosure {
    let groups = params.groups();
    let what = match groups {
        0 => "how many keys any of the owners have in common, to the collector",
        _ => "how many keys any of the owners have in common in each group, to the collector",
    };
    Disclosure { what: what.into(), to: Audience::Nodes, cells_max: openings(params.owners.len(), groups) }
}

/// The sizes of the lists and of the groups of one.
fn announced(params: &AlignParams) -> Disclosure {
    match params.groups() {
        0 => sizes(params.owners.len()),
        groups => {
            let (what, cells) = ("sizes of the lists and of the groups", params.owners.len() + groups);
            Disclosure { what: what.into(), to: Audience::Nodes, cells_max: cells as u64 }
        }
    }
}

/// Numbers that the recipient is told, or is not: of all keys, and of each group.
fn numbers(params: &AlignParams) -> u64 {
    1 + params.groups() as u64
}

/// What the recipient learns of the counts: before each a flag, and zeroes for one that is too small, or that would let
/// such a one be told from the others.
fn told(counts: &[u64], least: u64) -> Vec<u64> {
    let cell = |rows: u64| CellCount { rows, contributors: 0 };
    let total = counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let groups: &[u64] = if counts.len() > 1 { counts } else { &[] };
    let cells: Vec<CellCount> = groups.iter().copied().map(cell).collect();
    let (all, open) = released(cell(total), &cells, Cohort { rows: least, contributors: 0 });
    let shown = [(total, all)].into_iter().chain(groups.iter().copied().zip(open));
    shown.flat_map(|(count, shown)| if shown { [1, count] } else { [0, 0] }).collect()
}

impl Plan for CountPlan {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        facts(&self.params, owner)
    }

    fn aligns(&self) -> Option<AlignFacts> {
        Some(aligns(&self.params))
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![announced(&self.params), opening(&self.params), result(2 * numbers(&self.params))]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        local_query(&self.params, owner, view)
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Err(no_desk())
    }

    fn fold_at(&self, owner: &NodeId, _: Material, desk: Desk) -> Result<Box<dyn Fold>, Fault> {
        let columns = own_columns(&self.params, owner)?;
        let groups = self.params.group_of(owner).map(GroupFinder::new);
        Ok(Box::new(ListFold::new(self.params.clone(), columns, desk, Box::new(around))?.grouped(groups)))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        // Of lists that are not padded, what the least ones cost.
        let owners = self.params.owners.iter();
        let keys = owners.map(|o| *self.params.offers(&o.owner).start()).max().unwrap_or(0);
        let (hops, batches) = (parties.max(1) as u64 - 1, keys.div_ceil(u64::from(BATCH)));
        Estimate { cells: keys, bytes_up: keys * (32 * hops + 16) + 1024, rounds: 9 + (hops + 1) * batches }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        let opened = open(package)?;
        let invalid = || Fault::new(Code::ReceiptInvalid, "the opened result is no count of keys");
        let owners = self.params.owners.len();
        let (pairs, []) = opened.cells.as_chunks::<2>() else { return Err(invalid()) };
        let number = |pair: &[u128; 2]| match *pair {
            [0, 0] => Ok(None),
            [1, count] => u64::try_from(count).map(Some).map_err(|_| invalid()),
            _ => Err(invalid()),
        };
        let counts = pairs.iter().map(number).collect::<Result<Vec<Option<u64>>, Fault>>()?;
        let Some((count, groups)) = counts.split_first().filter(|(_, groups)| groups.len() == self.params.groups())
        else {
            return Err(invalid());
        };
        let sum = groups.iter().flatten().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let whole = !groups.is_empty() && groups.iter().all(Option::is_some);
        let fits = count.map_or(groups.iter().all(Option::is_none), |n| {
            n <= self.params.keys_max() && if whole { sum == n } else { sum <= n }
        });
        if opened.survivors != owners || !fits {
            return Err(invalid());
        }
        Ok(self.shown(*count, groups))
    }
}

impl CountPlan {
    fn shown(&self, count: Option<u64>, groups: &[Option<u64>]) -> Opened {
        let parties = self.params.owners.len();
        let mut json = serde_json::json!({"parties": parties, "keys": count, "suppressed": count.is_none()});
        let text = |count: Option<u64>| count.map_or_else(|| "suppressed".to_owned(), |n| n.to_string());
        let Some(group) = &self.params.group else {
            let (title, head) = ("keys in common".into(), vec!["keys".into()]);
            return Opened { json, tables: vec![Table { title, head, rows: vec![vec![text(count)]] }] };
        };
        let labelled = || group.by.labels().zip(groups.iter().copied());
        json["groups"] = labelled().map(|(label, n)| serde_json::json!({"group": label, "keys": n})).collect();
        json["suppressed_groups"] = groups.iter().filter(|n| n.is_none()).count().into();
        let all = ("all".to_owned(), count);
        let rows = [all].into_iter().chain(labelled()).map(|(label, n)| vec![label, text(n)]).collect();
        let (title, head) = (format!("keys in common by {}", group.by.column), vec!["group".into(), "keys".into()]);
        Opened { json, tables: vec![Table { title, head, rows }] }
    }
}

struct CountJoint(Result<(AlignParams, List), Fault>);

fn around(list: Result<(AlignParams, List), Fault>) -> Box<dyn JointHalf> {
    Box::new(CountJoint(list))
}

impl JointHalf for CountJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(async move {
            let (params, list) = self.0?;
            count(params, list, party, context).await
        })
    }
}

/// What the exchange is for: different in any two attempts, because a ring is not taken up again.
fn run_of(list: &List, context: &JointContext) -> Hash {
    let job = list.context("tacit-match-count/1/context");
    tacit_crypto::Transcript::new("tacit-match-count/1/run").fixed(&job.0).fixed(&context.session.0).finish()
}

async fn count(
    params: AlignParams,
    mut list: List,
    mut party: Party,
    context: JointContext,
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, READING * context.step_ms).await?;
    let seats: Vec<Seat> = params.owners.iter().map(|o| seat_of(&context, &o.owner)).collect::<Result<_, _>>()?;
    let collector = params.learner.map(|l| seat_of(&context, &l)).transpose()?;
    let collector = collector.or(seats.first().copied()).unwrap_or(context.aggregator);
    let groups = match &params.group {
        Some(g) => Some(RingGroups {
            seat: seat_of(&context, &g.owner)?,
            count: params.groups(),
            items_max: *params.offers(&g.owner).end(),
        }),
        None => None,
    };
    let (plain, grouped);
    let (keys, own) = if groups.is_some_and(|g| g.seat == party.seat()) {
        grouped = list.groups(&params)?;
        (RingKeys::Grouped(&grouped), grouped.len())
    } else {
        (plain, _) = list.keys(&params)?;
        (RingKeys::Plain(&plain), plain.len())
    };
    let cells = params.owners.len() + params.groups();
    party.reveal(&announced(&params), cells as u64, Concealed::new(()))?;
    let (lists, shown) = all_offered(&mut party, &context, &params, (own, list.desk.shown, list.desk.sole)).await?;
    list.others(&lists, own)?;
    let terms = RingTerms {
        seats,
        collector,
        context: run_of(&list, &context),
        disclosure: opening(&params),
        items_max: params.keys_max(),
        items_min: params.size.unwrap_or(params.keys_min),
        // What was counted against a contract's limit is what may come.
        announced: lists.iter().enumerate().map(|(seat, keys)| (Seat(seat as u16), *keys)).collect(),
        groups,
        batch: BATCH,
        step_base: EXCHANGE_ROUND,
        step_ms: PATIENCE * context.step_ms,
    };
    let desk = &mut list.desk;
    let mut host = Host {
        storage: desk.storage.as_mut(),
        workers: desk.workers.as_ref(),
        memory: desk.memory,
        run: 0,
        resume: None,
    };
    let found = ring(&mut party, &terms, keys, &mut host).await?;
    let least = context.cohort.rows.max(params.count_min.unwrap_or(0));
    let numbers = numbers(&params);
    let cells = found.map_or_else(|| vec![0; 2 * numbers as usize], |counts| told(&counts, least));
    let query = list.context("tacit-match-count/1/done");
    // Whether a number was told is the collector's and the recipient's to know, so its cell is metered either way.
    hand(&mut party, &context, result(2 * numbers), query, cells, (Offer::of(lists, shown), numbers)).await
}

#[cfg(test)]
mod tests {
    use tacit_governance::ProviderRef;
    use tacit_types::{DatasetVersionId, Literal};

    use super::*;
    use crate::align::params::{KeyGroups, KeyPart, OwnerKey};
    use crate::stats::groups::GroupBy;

    fn plan(owners: u8, values: &[&str]) -> CountPlan {
        let ids = (1..=owners).map(|n| NodeId([n; 32]));
        let values: Vec<Literal> = values.iter().map(|v| Literal::Text((*v).into())).collect();
        let by = GroupBy { column: "region".into(), values };
        let params = AlignParams {
            level: AlignLevel::Count,
            mode: params::AlignMode::DoubleMask,
            learner: Some(NodeId([1; 32])),
            key: vec![KeyPart { name: "id".into(), steps: vec![] }],
            owners: ids.clone().map(|owner| OwnerKey { owner, columns: vec!["id".into()] }).collect(),
            keys_min: 5,
            size: None,
            keep_days: 0,
            count_min: None,
            group: (!by.values.is_empty()).then_some(KeyGroups { owner: NodeId([2; 32]), by }),
        };
        let providers: Vec<ProviderRef> =
            ids.map(|owner| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() }).collect();
        params.check(&Parts { providers: &providers, ..Parts::default() }).unwrap();
        CountPlan { params }
    }

    #[test]
    fn the_collector_is_said_to_learn_a_number_of_each_set_of_owners_and_group() {
        let cells = |owners, values: &[&str]| opening(&plan(owners, values).params).cells_max;
        assert_eq!([cells(2, &[]), cells(3, &[]), cells(16, &[])], [1, 4, 65_519]);
        // With the one whose groups they are: one of one set, three of four, and 32,767 of 65,519.
        assert_eq!(cells(2, &["a", "b"]), 3);
        assert_eq!(cells(3, &["a", "b"]), 3 * 3 + 1);
        assert_eq!(cells(16, &["a"]), 2 * 32_767 + (65_519 - 32_767));
    }

    #[test]
    fn a_small_group_is_not_told_and_not_what_tells_it() {
        assert_eq!(told(&[7], 5), [1, 7]);
        assert_eq!(told(&[4], 5), [0, 0]);
        assert_eq!(told(&[6, 0, 9], 5), [1, 15, 1, 6, 0, 0, 1, 9], "nobody is nobody");
        assert_eq!(told(&[6, 4, 9], 5), [1, 19, 0, 0, 0, 0, 1, 9], "four would be 19 less the others");
        assert_eq!(told(&[6, 4, 2, 9], 5), [1, 21, 1, 6, 0, 0, 0, 0, 1, 9], "two small ones together are not small");
        assert_eq!(told(&[1, 1, 2, 0], 5), [0; 10], "few in all");
    }

    #[test]
    fn a_result_that_no_collector_makes_is_refused() {
        let plan = plan(2, &["north", "south"]);
        let open = |cells: &[u64]| {
            let cells: Vec<u128> = cells.iter().map(|c| u128::from(*c)).collect();
            plan.open(&[], &|_| Ok(OpenedVector { cells: cells.clone(), survivors: 2 }))
        };
        let opened = open(&[1, 15, 1, 6, 0, 0, 1, 9]).unwrap();
        let expected = serde_json::json!({
            "parties": 2, "keys": 15, "suppressed": false, "suppressed_groups": 1, "groups": [
                {"group": "north", "keys": 6}, {"group": "south", "keys": null}, {"group": "(other)", "keys": 9},
            ],
        });
        assert_eq!(opened.json, expected);
        let text = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(opened.tables[0].rows[..2], [text(["all", "15"]), text(["north", "6"])]);
        assert_eq!(opened.tables[0].rows[2..], [text(["south", "suppressed"]), text(["(other)", "9"])]);
        open(&[0; 8]).unwrap();
        for wrong in [
            &[1, 15, 1, 6, 0, 0][..],
            &[1, 15],
            &[1, 15, 1, 6, 0, 1, 1, 9],
            &[1, 15, 2, 6, 0, 0, 1, 9],
            &[1, 15, 1, 6, 1, 1, 1, 9],
            &[1, 14, 1, 6, 0, 0, 1, 9],
            &[0, 0, 1, 6, 0, 0, 1, 9],
            &[0, 0, 1, 0, 0, 0, 0, 0],
            &[1, 15, 1, 6, 0, 0, 1],
            &[],
        ] {
            assert_eq!(open(wrong).map(|o| o.json).unwrap_err().code, Code::ReceiptInvalid, "{wrong:?}");
        }
    }
}
