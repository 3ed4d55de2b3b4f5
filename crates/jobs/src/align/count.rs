//! `match-count/v1`: how many keys two or more owners have in common. No owner learns which; one of them, the collector,
//! learns the number, and with more than two the numbers of every group of them.

use tacit_crypto::cbor;
use tacit_governance::{AlignFacts, AlignLevel, JobFacts};
use tacit_protocol::{Abort, Audience, Concealed, Disclosure, Party};
use tacit_psi::{Host, RingTerms, ring};
use tacit_types::{Code, Fault, Hash, Lang, LocalQuery, NodeId, Seat};

use super::joint::{BATCH, EXCHANGE_ROUND, PATIENCE, all_offered, hand, result, seat_of, sizes, sum};
use super::list::{List, ListFold};
use super::params::{self, AlignParams, MATCH_OWNERS_MAX};
use super::{Desk, aligns, alone, facts, local_query, no_desk, own_columns, signed};
use crate::kind::{
    ColumnKinds, Draft, Estimate, Fold, JointContext, JointFuture, JointHalf, JointOutput, Kind, Material, Opened,
    OpenedVector, Parts, Plan, Table,
};
use crate::session;

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

/// What the collector can tell: how many keys each group of two and more owners has in common.
fn opening(owners: usize) -> Disclosure {
    let groups = (1u64 << owners.min(MATCH_OWNERS_MAX)) - 1 - owners as u64;
    let what = "how many keys any of the owners have in common, to the collector";
    Disclosure { what: what.into(), to: Audience::Nodes, cells_max: groups }
}

impl Plan for CountPlan {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        facts(&self.params, owner)
    }

    fn aligns(&self) -> Option<AlignFacts> {
        Some(aligns(&self.params))
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        let owners = self.params.owners.len();
        vec![sizes(owners), opening(owners), result(2)]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        local_query(&self.params, owner, view)
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Err(no_desk())
    }

    fn fold_at(&self, owner: &NodeId, _: Material, desk: Desk) -> Result<Box<dyn Fold>, Fault> {
        let columns = own_columns(&self.params, owner)?;
        Ok(Box::new(ListFold::new(self.params.clone(), columns, desk, Box::new(around))?))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        // Of lists that are not padded, what the least ones cost.
        let keys = self.params.size.unwrap_or(self.params.keys_min);
        let (hops, batches) = (parties.max(1) as u64 - 1, keys.div_ceil(u64::from(BATCH)));
        Estimate { cells: keys, bytes_up: keys * (32 * hops + 16) + 1024, rounds: 9 + (hops + 1) * batches }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        let opened = open(package)?;
        let invalid = || Fault::new(Code::ReceiptInvalid, "the opened result is no count of keys");
        let owners = self.params.owners.len();
        let count = match opened.cells[..] {
            [0, 0] => None,
            [1, count] => Some(u64::try_from(count).map_err(|_| invalid())?),
            _ => return Err(invalid()),
        };
        if opened.survivors != owners || count.is_some_and(|n| n > self.params.keys_max()) {
            return Err(invalid());
        }
        let json = serde_json::json!({"parties": owners, "keys": count, "suppressed": count.is_none()});
        let shown = count.map_or_else(|| "suppressed".into(), |n| n.to_string());
        let table = Table { title: "keys in common".into(), head: vec!["keys".into()], rows: vec![vec![shown]] };
        Ok(Opened { json, tables: vec![table] })
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
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let owners = params.owners.len();
    let seats: Vec<Seat> = params.owners.iter().map(|o| seat_of(&context, &o.owner)).collect::<Result<_, _>>()?;
    let collector = params.learner.map(|l| seat_of(&context, &l)).transpose()?;
    let collector = collector.or(seats.first().copied()).unwrap_or(context.aggregator);
    let (keys, _) = list.keys(&params)?;
    party.reveal(&sizes(owners), owners as u64, Concealed::new(()))?;
    let lists = all_offered(&mut party, &context, &params, keys.len()).await?;
    let offered = sum(&lists);
    list.others(offered - keys.len())?; // proof: the sum has the own list in it.
    let terms = RingTerms {
        seats,
        collector,
        context: run_of(&list, &context),
        disclosure: opening(owners),
        items_max: params.keys_max(),
        items_min: params.size.unwrap_or(params.keys_min),
        // What was counted against a contract's limit is what may come.
        announced: lists.iter().enumerate().map(|(seat, keys)| (Seat(seat as u16), *keys)).collect(),
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
    let found = ring(&mut party, &terms, &keys, &mut host).await?;
    let least = context.cohort.rows.max(params.count_min.unwrap_or(0));
    let cells = match found.filter(|n| *n >= least) {
        Some(count) => vec![1, count],
        None => vec![0, 0],
    };
    let query = list.context("tacit-match-count/1/done");
    // Whether the number was told is the collector's and the recipient's to know, so one cell is metered either way.
    hand(&mut party, &context, result(2), query, cells, (offered, 1)).await
}
