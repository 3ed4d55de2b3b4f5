//! Exact answers whose questions take the same rows of this owner, or differ by a group: see
//! [`tacit_governance::ExactTerms`]. Decided when the rows are read and before anything of them leaves.
//!
//! What holds is the strictest term of the contracts that the job names, for every question to a dataset of one local name,
//! whatever its version, and whether or not an alignment has narrowed it. What is asked under a contract without such a term is
//! neither compared nor remembered. A row is known by all columns of its view, whatever the question reads; a view with other
//! columns than one that was asked about is refused, for nobody could tell its rows from the other's.

use tacit_crypto::{Secret, agree::derive};
use tacit_governance::{JobSpec, SignedContract};
use tacit_jobs::Fold;
use tacit_jobs::difference::{Asked, Tagger};
use tacit_jobs::shares::{Placed, SharesFold};
use tacit_types::{Code, Columns, DatasetVersionId, Fault, Hash, JobId, LocalQuery, NodeId, UnixMillis};

use crate::datasets::Kept;
use crate::store::{ExactQuestion, Store};

/// The rows of a question on their way to the decision.
pub(crate) struct Watch {
    asked: Asked,
    /// The columns that the job reads itself.
    own: Vec<String>,
    dataset: String,
    question: Hash,
    change_min: u64,
}

impl Watch {
    /// Has the query read every column of its view, where a contract of the job holds its questions apart; nothing otherwise, and
    /// nothing for a job without exact numbers of sets of rows: `sets` are those of [`Fold::sets`].
    ///
    /// # Errors
    /// `refused.difference` for a question of too many sets, `refused.forgotten` where rows of before are not known; those of the database and of the view.
    pub(crate) async fn new(
        store: &Store,
        spec: &JobSpec,
        kept: &Kept,
        (version, dataset): (DatasetVersionId, &tacit_data::Dataset),
        sets: Option<Vec<String>>,
        query: &mut LocalQuery,
    ) -> Result<Option<Self>, Fault> {
        let Some(subjects) = sets else { return Ok(None) };
        let contracts = store.contracts().await?;
        let grants = |c: &SignedContract| c.body().datasets.iter().any(|grant| grant.dataset == version);
        let named = contracts.iter().filter(|c| spec.contracts.contains(&c.id()) && grants(c));
        let strictest = named.filter_map(|c| c.body().exact).map(|exact| exact.change_min).max();
        let Some(change_min) = strictest else { return Ok(None) };
        let owner = spec.providers.iter().find(|p| p.dataset == version).map(|p| p.owner);
        if let Some(owner) = owner {
            answerable(store, &owner, kept.registration.name.as_str()).await?;
        }
        // What an alignment left is read from the view that was aligned.
        let view = kept.aligned.first().map_or(&query.view, |found| &found.view);
        let columns = dataset.columns(view)?;
        let all: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let kinds = columns.iter().map(|column| (column.name.clone(), column.kind.word().to_owned()));
        let tagger = Tagger::new(own_key(store).await?, kinds);
        let own = core::mem::replace(&mut query.columns, all);
        let (dataset, question) = (kept.registration.name.to_string(), spec.question());
        Ok(Some(Self { asked: Asked::new(tagger, subjects, change_min)?, own, dataset, question, change_min }))
    }

    /// Takes a batch for the decision and for the job, which sees the columns that it reads itself.
    ///
    /// # Errors
    /// Those of the fold.
    pub(crate) fn take(&mut self, batch: Columns, fold: &mut dyn Fold) -> Result<(), Fault> {
        let find = |name: &String| {
            let column = batch.get(name).cloned();
            column.ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let columns = self.own.iter().map(find).collect::<Result<_, _>>()?;
        fold.take(&Columns { rows: batch.rows, columns })?;
        self.asked.take(&batch, fold)
    }

    /// As [`Watch::take`], of rows by their ids: a question of the rows that could match.
    ///
    /// # Errors
    /// Those of the fold.
    pub(crate) fn place(&mut self, batch: &Columns, placed: &Placed, fold: &mut dyn SharesFold) -> Result<(), Fault> {
        self.asked.take_placed(batch, placed, fold)
    }

    /// Decides, and remembers the question.
    ///
    /// # Errors
    /// Those of [`Store::remember_rows`].
    pub(crate) async fn decide(mut self, store: &Store, job: &JobId, now: UnixMillis) -> Result<(), Fault> {
        let admitted = store.job(job).await?.as_ref().and_then(crate::serve::admitted_under);
        let contract = admitted.ok_or_else(|| Fault::new(Code::JobInternal, "a job that was not admitted"))?;
        self.asked.all();
        let asks = ExactQuestion {
            job,
            contract,
            question: self.question,
            dataset: &self.dataset,
            form: self.asked.tagger().form(),
            change_min: self.change_min,
            now,
        };
        store.remember_rows(&asks, self.asked.sets()).await
    }
}

/// Exact questions over a dataset are answered: no rows that were asked about are forgotten, or the owner accepts it.
async fn answerable(store: &Store, owner: &NodeId, name: &str) -> Result<(), Fault> {
    let forgotten = store.forgotten(owner, name, crate::now()).await?;
    if !forgotten.waits() {
        return Ok(());
    }
    let what = format!(
        "which rows of this dataset were asked about is forgotten, since its owner's database was restored: {} jobs are counted \
         from the log alone",
        forgotten.jobs
    );
    Err(Fault::new(Code::RefusedForgotten, what))
}

/// The key of this node's tags: nobody else can make rows whose tags fall together. Made once, kept in the database.
async fn own_key(store: &Store) -> Result<[u8; 32], Fault> {
    let mut tx = store.begin().await?;
    let secret: [u8; 32] = match tx.meta("difference_key").await? {
        Some(key) => key.try_into().map_err(|_| Fault::new(Code::StoreCorrupt, "the key of remembered rows"))?,
        None => {
            let key: Secret<[u8; 32]> = Secret::new(crate::os_rng()?.bytes());
            tx.set_meta("difference_key", key.expose_secret()).await?;
            tx.commit().await?;
            *key.expose_secret()
        }
    };
    Ok(*derive::<32>(b"tacit-difference/1/node", &secret, &[]).expose_secret())
}
