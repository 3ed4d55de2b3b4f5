//! `lookup/v1`: who has few keys finds them among the very many of another owner, who ships a cache of its keys once and
//! answers blinded queries after that.

use std::sync::{Mutex, PoisonError};

use tacit_crypto::{Transcript, cbor};
use tacit_governance::align::REPEAT_DAYS_MAX;
use tacit_governance::{AlignFacts, AlignLevel, JobFacts, LookupFacts};
use tacit_protocol::{Abort, Audience, Concealed, Disclosure, Party};
use tacit_psi::lookup::{LookupTerms, Maker, Role, SHIP_TAGS_MAX, cache, lookup};
use tacit_psi::{Common, Host};
use tacit_types::{Code, Fault, Hash, Lang, LocalQuery, NodeId, Seat};

use super::desk::LookupDesk;
use super::joint::{BATCH, EXCHANGE_ROUND, Offer, PATIENCE, READING, hand, result, seat_of, sizes};
use super::list::{List, ListFold};
use super::matched::Matched;
use super::params::{self, AlignMode, AlignParams};
use super::{Desk, aligns, alone, facts, local_query, no_desk, own_columns};
use crate::kind::{
    ColumnKinds, Draft, Estimate, Fold, JointContext, JointFuture, JointHalf, JointOutput, Kind, Material, Opened,
    OpenedVector, Parts, Plan, Table,
};
use crate::session;

/// Distinct keys of the list that is searched.
pub const LOOKUP_KEYS_MAX: u64 = 1 << 27;
/// Days of an epoch where the job does not say.
const EPOCH_DAYS: u32 = 30;
const DAY_MS: u64 = 86_400_000;

/// One cache is made at a time: two jobs of one series write to one shelf.
static MAKING: Mutex<()> = Mutex::new(());

/// The signed parameters of `lookup/v1`.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct LookupParams {
    /// The key, the owners, who asks as the learner, and the queries as the size of its list.
    #[n(1)]
    pub align: AlignParams,
    /// Days after which the cache's key is replaced.
    #[n(2)]
    pub epoch_days: u32,
}

/// The kind.
pub struct Lookup;

impl Kind for Lookup {
    fn id(&self) -> &'static str {
        "lookup/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "which of few keys another owner of very many has",
            Lang::Zh => "少量键中有哪些为另一海量键持有方所有",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("lookup.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(alone())
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let mut written = params::read(written)?;
        let stray = written.level.is_some()
            || written.receiver.is_some()
            || written.collector.is_some()
            || written.mode.is_some()
            || written.size.is_some()
            || written.count_min.is_some()
            || written.group.is_some();
        if stray || written.queries.is_none() {
            let what = "a search has an `asker` and a number of `queries`; level, receiver, collector, mode, size, \
                        count_min and group are of other kinds";
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        // One of the owners has to ask; the first where nobody is named.
        if written.asker.is_none() {
            written.asker = draft.providers.first().map(|p| p.name.clone());
        }
        written.mode = Some("keyed".into());
        let epoch_days = written.epoch_days.unwrap_or(EPOCH_DAYS);
        Ok(cbor::encode(&LookupParams { align: written.params(AlignLevel::Receiver, draft)?, epoch_days }))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let refused = |what: String| Fault::new(Code::RefusedParameters, what);
        let params: LookupParams =
            cbor::decode(params).map_err(|e| refused(format!("the parameters of {} are {e}", self.id())))?;
        let own = &params.align;
        own.check(parts)?;
        let fits = own.level == AlignLevel::Receiver && own.mode == AlignMode::Oprf && own.owners.len() == 2;
        let (Some(asker), Some(queries), true) = (own.learner, own.size, fits) else {
            return Err(refused("two owners, of whom one asks a stated number of queries".into()));
        };
        if !(1..=REPEAT_DAYS_MAX).contains(&params.epoch_days) {
            return Err(refused(format!("epoch_days: 1 to {REPEAT_DAYS_MAX}")));
        }
        let holder = parts.providers.iter().find(|p| p.owner != asker);
        let holder = holder.ok_or_else(|| refused("nobody holds a list".into()))?;
        // Another version, view or form of the key is another series: its caches have nothing to do with these.
        let series = Transcript::new("tacit-lookup/1/series")
            .fixed(&asker.0)
            .fixed(&holder.owner.0)
            .fixed(&holder.dataset.0)
            .bytes(holder.view.as_bytes())
            .fixed(&params::schema(&own.key)?.digest().0)
            .bytes(own.columns(&holder.owner).unwrap_or_default().join("\0").as_bytes())
            .finish();
        Ok(Box::new(LookupPlan { asker, queries, series, params }))
    }
}

struct LookupPlan {
    params: LookupParams,
    asker: NodeId,
    queries: u64,
    series: Hash,
}

fn opening(queries: u64) -> Disclosure {
    let what = "which of the queries the holder has, to who asks";
    Disclosure { what: what.into(), to: Audience::Nodes, cells_max: queries }
}

impl Plan for LookupPlan {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        let facts = facts(&self.params.align, owner);
        // The number of queries is that of the asker's list alone.
        JobFacts { rows_max: facts.rows_max.filter(|_| *owner == self.asker), ..facts }
    }

    fn aligns(&self) -> Option<AlignFacts> {
        let (asker, queries, series) = (self.asker, self.queries, self.series);
        let lookup = LookupFacts { asker, queries, epoch_days: self.params.epoch_days, series };
        // Of two lists one is padded; the other's size is seen by who asks.
        Some(AlignFacts { padded: None, lookup: Some(lookup), ..aligns(&self.params.align) })
    }

    fn kept(&self) -> Option<&AlignParams> {
        Some(&self.params.align)
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![sizes(2), opening(self.queries), result(1)]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        local_query(&self.params.align, owner, view)
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Err(no_desk())
    }

    fn fold_at(&self, owner: &NodeId, _: Material, desk: Desk) -> Result<Box<dyn Fold>, Fault> {
        let columns = own_columns(&self.params.align, owner)?;
        let (series, epoch_days, me) = (self.series, self.params.epoch_days, *owner);
        let then = move |list| -> Box<dyn JointHalf> { Box::new(Search { list, series, epoch_days, me }) };
        Ok(Box::new(ListFold::new(self.params.align.clone(), columns, desk, Box::new(then))?))
    }

    fn estimate(&self, _: usize) -> Estimate {
        // Of queries, in a later run of an epoch: the first one takes the cache as well, of the holder's size.
        let batches = self.queries.div_ceil(u64::from(BATCH));
        Estimate { cells: self.queries, bytes_up: self.queries * 32 + 64 * batches + 1024, rounds: 10 + batches }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        let opened = open(package)?;
        if opened.cells[..] != [2] || opened.survivors != 2 {
            return Err(Fault::new(Code::ReceiptInvalid, "the opened result is none of a search"));
        }
        let json = serde_json::json!({"parties": 2, "queries": self.queries, "searched": true});
        let rows = vec![vec![self.queries.to_string(), "who asked has what was found".to_owned()]];
        let table = Table { title: "search".into(), head: vec!["queries".into(), "result".into()], rows };
        Ok(Opened { json, tables: vec![table] })
    }
}

/// The joint half.
struct Search {
    list: Result<(AlignParams, List), Fault>,
    series: Hash,
    epoch_days: u32,
    me: NodeId,
}

impl JointHalf for Search {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(async move {
            let Self { list, series, epoch_days, me } = *self;
            let (params, list) = list?;
            search(params, list, party, context, (series, epoch_days, me)).await
        })
    }
}

fn terms(params: &AlignParams, context: &JointContext, series: Hash, run: Hash) -> Result<LookupTerms, Abort> {
    let seats: Vec<Seat> = params.owners.iter().map(|o| seat_of(context, &o.owner)).collect::<Result<_, _>>()?;
    let asker = params.learner.map(|l| seat_of(context, &l)).transpose()?;
    let holder = seats.into_iter().find(|s| Some(*s) != asker);
    let (Some(asker), Some(holder), Some(queries)) = (asker, holder, params.size) else {
        return Err(Abort::Local(Fault::new(Code::RefusedParties, "a search has two owners")));
    };
    Ok(LookupTerms {
        context: run,
        series,
        asker,
        holder,
        disclosure: opening(queries),
        queries,
        keys_min: params.keys_min,
        keys_max: LOOKUP_KEYS_MAX,
        batch: BATCH,
        ship: SHIP_TAGS_MAX,
        step_base: EXCHANGE_ROUND,
        // A cache of the largest list is made in that, on two cores.
        begin_ms: 8 * PATIENCE * context.step_ms,
        step_ms: PATIENCE * context.step_ms,
    })
}

async fn search(
    params: AlignParams,
    mut list: List,
    mut party: Party,
    context: JointContext,
    (series, epoch_days, me): (Hash, u32, NodeId),
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, READING * context.step_ms).await?;
    let run = list.context("tacit-lookup/1/job");
    let run = Transcript::new("tacit-lookup/1/run").fixed(&run.0).fixed(&context.session.0).finish();
    let terms = terms(&params, &context, series, run)?;
    let asks = params.learner == Some(me);
    let (keys, _) = if asks { list.keys(&params)? } else { list.keys_of(params.keys_min, terms.keys_max, None)? };
    party.reveal(&sizes(2), 2, Concealed::new(()))?;
    let Some(LookupDesk { mut shelf, key, now, spend }) = list.desk.lookup.take() else { return Err(no_desk().into()) };
    let rows = list.rows();
    let desk = &mut list.desk;
    let mut host = Host {
        storage: desk.storage.as_mut(),
        workers: desk.workers.as_ref(),
        memory: desk.memory,
        run: 0,
        resume: None,
    };
    let lasts = u64::from(epoch_days) * DAY_MS;
    let found = if asks {
        let role = Role::Asker { oldest: now.0.saturating_sub(lasts + DAY_MS), keys_max: desk.keys_max };
        lookup(&mut party, &terms, &keys, &mut host, shelf.as_mut(), role).await?
    } else {
        // Before anything is answered, and whatever becomes of this attempt.
        spend.ok_or_else(no_desk)?.spend(terms.queries)?;
        let made = {
            let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            let mut maker = Maker { shelf: shelf.as_mut(), key: &key, series, now, lasts };
            cache(&mut maker, &keys, &mut host)?
        };
        lookup(&mut party, &terms, &keys, &mut host, shelf.as_mut(), Role::Holder(&made)).await?
    };
    if let Some(found) = found {
        keep(&found, &rows, &mut list.desk)?;
    }
    let query = list.context("tacit-lookup/1/done");
    hand(&mut party, &context, result(1), query, vec![1], (Offer::Alike(terms.queries), 0)).await
}

/// Keeps the asker's rows that were found.
fn keep(found: &Common, rows: &tacit_psi::storage::Log, desk: &mut Desk) -> Result<(), Fault> {
    let mut keys = Matched::new(rows);
    found.each(desk.storage.as_mut(), &mut |storage, at| keys.put(storage, &at))?;
    keys.keep(desk)
}

#[cfg(test)]
mod tests {
    use tacit_crypto::SealKey;
    use tacit_governance::Cohort;

    use super::super::params::{KeyPart, OwnerKey};
    use super::*;

    #[test]
    fn both_hold_a_list_to_the_most_keys_that_there_may_be() {
        let owners = [NodeId([1; 32]), NodeId([2; 32])];
        let key = vec![KeyPart { name: "id".into(), steps: vec![] }];
        let own = |owner: &NodeId| OwnerKey { owner: *owner, columns: vec!["id".into()] };
        let params = AlignParams {
            level: AlignLevel::Receiver,
            mode: AlignMode::Oprf,
            learner: Some(owners[1]),
            key,
            owners: owners.iter().map(own).collect(),
            keys_min: 5,
            size: Some(64),
            keep_days: 1,
            count_min: None,
            group: None,
        };
        let context = JointContext {
            session: Hash([1; 32]),
            aggregator: Seat(0),
            step_ms: 1000,
            cohort: Cohort { rows: 1, contributors: 1 },
            recipient: SealKey::generate(&mut tacit_crypto::Rng::from_seed(&tacit_crypto::Secret::new([1; 32])))
                .public(),
            owners: owners.to_vec(),
        };
        // What the asker blames a header for, and the holder refuses a list for: `keys_of` and `lookup` test one past it.
        let terms = terms(&params, &context, Hash([3; 32]), Hash([4; 32])).unwrap();
        assert_eq!((terms.keys_min, terms.keys_max, terms.queries), (5, LOOKUP_KEYS_MAX, 64));
        assert_eq!((terms.asker, terms.holder), (Seat(1), Seat(0)));
        const { assert!(LOOKUP_KEYS_MAX <= tacit_psi::lookup::CACHE_KEYS_MAX) };
        // The steps of a cache of that size, and of as many queries as there may be, fit before those of the sum.
        let most = LookupTerms { queries: params::ALIGN_KEYS_MAX, ..terms };
        let steps = 3 + most.keys_max.div_ceil(most.ship.into()) + 2 * most.queries.div_ceil(most.batch.into());
        assert!(u64::from(EXCHANGE_ROUND) + (steps >> 16) + 1 < u64::from(session::COMPUTE_ROUND));
    }
}
