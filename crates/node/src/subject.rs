//! What a person may ask an owner: in which jobs was my record eligible, for what, under which contract, when. It is found out
//! at the node from what the node knows, over the rows as they are now, and nothing of it leaves the node.

use std::collections::BTreeMap;
use std::path::Path;

use tacit_data::{Dataset, Limits, Sources};
use tacit_engine::WorkerJob;
use tacit_governance::{AlignLevel, ColumnKind, DatasetDescriptor, JobSpec, Level};
use tacit_jobs::Parts;
use tacit_types::query::Compare;
use tacit_types::{Code, ContractId, Fault, JobId, Literal, LocalQuery, NodeId, Predicate, UnixMillis, wire};

use crate::align::{Narrowed, SpineFile};
use crate::datasets;
use crate::store::{DatasetRow, Store};

/// Whose record, and where.
pub struct Subject<'a> {
    /// The dataset's name; every version of it is looked at, and what was aligned of it.
    pub dataset: &'a str,
    /// The column of the key; the one that is registered as a key when absent.
    pub column: Option<&'a str>,
    /// The key's value.
    pub key: &'a str,
}

/// Whether a record was among the rows that a job could read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Eligible {
    /// So many rows of that key.
    Rows(u64),
    /// It cannot be told here, and why.
    Unknown(Fault),
}

/// One job that a person may know of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Use {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its purpose.
    pub purpose: String,
    /// The contract that it was admitted under.
    pub contract: ContractId,
    /// Name and version of the dataset that it read.
    pub dataset: (String, u32),
    /// When it was admitted here.
    pub admitted: UnixMillis,
    /// Whether it began, so that rows were read.
    pub began: bool,
    /// How it ended, in a word; none while it is open.
    pub ended: Option<&'static str>,
    /// The place of its receipt in the log.
    pub receipt: Option<u64>,
    /// Whether the record was eligible.
    pub eligible: Eligible,
}

/// The uses of a record, newest first, and how many jobs of the dataset were looked at. Jobs for which the record was not
/// eligible are left out.
///
/// # Errors
/// `data.unknown` for a dataset that is not registered here; `data.column_unknown` for a key column that is not there, or where
/// none or several are registered and none is named; those of the database.
pub async fn uses(
    store: &Store,
    home: &Path,
    sources: &Sources,
    owner: &NodeId,
    subject: &Subject<'_>,
) -> Result<(Vec<Use>, usize), Fault> {
    let rows = store.datasets().await?;
    let named: Vec<&DatasetRow> = rows.iter().filter(|row| of(row, subject.dataset)).collect();
    let Some(newest) = named.iter().find(|row| row.name == subject.dataset) else {
        return Err(Fault::new(Code::DataUnknown, subject.dataset));
    };
    let column = key_column(&datasets::descriptor(newest)?, subject)?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    // One question of one version is asked once, however many jobs put it.
    let mut known: BTreeMap<Vec<u8>, Eligible> = BTreeMap::new();
    for id in store.admitted_ids().await? {
        let Some(job) = store.job(&id).await? else { continue };
        let parsed = job.job()?;
        let spec = parsed.body();
        let Some(provider) = spec.provider(owner) else { continue };
        let Some(row) = named.iter().find(|row| row.id == provider.dataset) else { continue };
        looked_at += 1;
        let query = query(spec, owner, &provider.view);
        let question = wire::encode(&(row.id, query.as_ref().ok(), &spec.purpose));
        let eligible = match known.get(&question) {
            Some(eligible) => eligible.clone(),
            None => {
                let asked = async { count(row, query?, &column, subject.key, &spec.purpose, home, sources).await };
                let eligible = asked.await.map_or_else(Eligible::Unknown, Eligible::Rows);
                known.insert(question, eligible.clone());
                eligible
            }
        };
        if eligible != Eligible::Rows(0) {
            found.extend(used(id, &job, spec, row, eligible));
        }
    }
    Ok((found, looked_at))
}

/// Whether a version is of that dataset, or of what was aligned of it.
fn of(row: &DatasetRow, name: &str) -> bool {
    row.name == name || row.name.strip_suffix(crate::align::SUFFIX) == Some(name)
}

fn key_column(dataset: &DatasetDescriptor, subject: &Subject<'_>) -> Result<(String, ColumnKind), Fault> {
    let unknown = |what: String| Fault::new(Code::DataColumnUnknown, format!("{}: {what}", dataset.name));
    let mut keys = dataset.columns.iter().filter(|c| match subject.column {
        Some(name) => c.name == name,
        None => c.levels.contains(&Level::AlignKey),
    });
    match (keys.next(), keys.next()) {
        (Some(one), None) => Ok((one.name.clone(), one.kind)),
        (None, _) => {
            Err(unknown(subject.column.map_or("no column is registered as a key".into(), |c| format!("{c:?}"))))
        }
        _ => Err(unknown("several columns are registered as keys: name one".into())),
    }
}

/// What the job reads here.
fn query(spec: &JobSpec, owner: &NodeId, view: &str) -> Result<LocalQuery, Fault> {
    let plan = tacit_jobs::kind(&spec.kind)?.plan(&spec.params, &Parts::of(spec))?;
    Ok(plan.local_query(owner, view))
}

fn literal(kind: ColumnKind, key: &str) -> Result<Literal, Fault> {
    match kind {
        ColumnKind::Text => Ok(Literal::Text(key.to_owned())),
        ColumnKind::Int => key
            .trim()
            .parse()
            .map(Literal::Int)
            .map_err(|_| Fault::new(Code::ArgsInvalid, format!("`{key}`: the key column has whole numbers"))),
        ColumnKind::Float => Err(Fault::new(Code::DataColumnType, "a column of real numbers is no key")),
    }
}

/// How many rows of that key the query leaves, beneath the owner's rule for the purpose.
async fn count(
    row: &DatasetRow,
    mut query: LocalQuery,
    (column, kind): &(String, ColumnKind),
    key: &str,
    purpose: &str,
    home: &Path,
    sources: &Sources,
) -> Result<u64, Fault> {
    let kept = datasets::kept(row)?;
    let dataset = Dataset::open(kept.registration.clone(), sources).await?;
    // Of ids, the rows whose key has one: what the job can have computed on.
    let ids = datasets::descriptor(row)?.aligned.filter(|aligned| aligned.level == AlignLevel::Spine);
    let file = ids.as_ref().map(|aligned| SpineFile::open(home, &kept.aligned, &aligned.job)).transpose()?;
    let before = file.as_ref().map_or(&kept.aligned[..], |file| file.before);
    let mut spine = file.as_ref().map(SpineFile::held).transpose()?;
    if let Some(first) = kept.aligned.first() {
        query.view.clone_from(&first.view);
    }
    spine.iter().for_each(|spine| spine.widen(&mut query));
    let narrowed = Narrowed::new(home, before, &mut query)?;
    let same = Predicate::Compare { column: column.clone(), op: Compare::Eq, value: literal(*kind, key)? };
    query.filter = Some(match query.filter.take() {
        Some(filter) => Predicate::And(vec![filter, same]),
        None => same,
    });
    let mut rows = 0u64;
    let take = |batch| {
        let batch = narrowed.take(batch)?;
        rows += match &mut spine {
            None => batch.rows,
            Some(spine) => {
                let placed = spine.place(batch)?;
                (0..placed.rows()).filter(|row| placed.place(*row).is_some()).count()
            }
        } as u64;
        Ok(())
    };
    dataset.run(&query, kept.rule(purpose).as_ref(), &Limits::default(), take).await?;
    Ok(rows)
}

fn used(id: JobId, job: &WorkerJob, spec: &JobSpec, row: &DatasetRow, eligible: Eligible) -> Option<Use> {
    let admission = crate::serve::admission(job)?;
    Some(Use {
        job: id,
        kind: spec.kind.clone(),
        purpose: spec.purpose.clone(),
        contract: admission.contract,
        dataset: (row.name.clone(), row.version),
        admitted: admission.at,
        began: job.began.0 > 0,
        ended: job.terminal.as_ref().map(tacit_engine::Terminal::word),
        receipt: job.receipt.as_ref().map(|(place, _, _)| *place),
        eligible,
    })
}
