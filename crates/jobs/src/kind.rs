//! What a job kind is.

use core::future::Future;
use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tacit_crypto::SealPublic;
use tacit_governance::{
    AlignFacts, AttachmentRef, Cohort, ColumnKind, Feeds, JobFacts, JobSpec, ModelDescriptor, ModelRef, OnlineFacts,
    ProviderRef,
};
use tacit_protocol::{Abort, Disclosure, Party};
use tacit_secagg::verify::price::Price;
use tacit_types::{Columns, Fault, Hash, JobId, Lang, LocalQuery, NodeId, Seat};

use crate::align::{AlignParams, Desk};
use crate::score::online::host::Reading;
use crate::session::Given;
use crate::shares::OnShares;

/// The kind of each column that every provider of a job has in common; `Float` where they differ
/// between whole and real numbers.
pub type ColumnKinds = BTreeMap<String, ColumnKind>;

/// A job kind.
pub trait Kind: Sync {
    /// Name with version, such as `stats/v1`. It is also the label in transcripts.
    fn id(&self) -> &'static str;

    /// One line for people.
    fn title(&self, lang: Lang) -> &'static str;

    /// A job file to begin with, in TOML, without the parts that `job template` fills in.
    fn template(&self) -> &'static str;

    /// Turns what a person wrote under `[params]` into canonical bytes.
    ///
    /// # Errors
    /// `refused.parameters` naming the field.
    fn params(&self, written: serde_json::Value, columns: &ColumnKinds) -> Result<Vec<u8>, Fault>;

    /// As [`Kind::params`], for kinds in which each provider has columns of its own.
    ///
    /// # Errors
    /// `refused.parameters` naming the field.
    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        self.params(written, &draft.common())
    }

    /// Checks canonical parameters and plans the job. A node does this before anything else.
    ///
    /// # Errors
    /// `refused.parameters` or `refused.overflow`.
    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault>;
}

/// What a job is written with: who provides what.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The providers, in the order of the job.
    pub providers: Vec<DraftProvider>,
    /// The models that the job names.
    pub models: Vec<(ModelRef, ModelDescriptor)>,
    /// The dealer.
    pub dealer: Option<NodeId>,
    /// Rows of the list of keys, where the job has one.
    pub keys: Option<u64>,
}

/// One provider of a job that is being written.
#[derive(Clone, Debug)]
pub struct DraftProvider {
    /// The party's name.
    pub name: String,
    /// The owner's root key.
    pub owner: NodeId,
    /// Its columns.
    pub columns: ColumnKinds,
}

impl Draft {
    /// The columns that all providers have: whole numbers only where all have whole numbers.
    pub fn common(&self) -> ColumnKinds {
        let mut all = self.providers.iter().map(|p| &p.columns);
        let Some(first) = all.next() else { return ColumnKinds::new() };
        all.fold(first.clone(), |common, own| {
            let merged = |name: String, kind: ColumnKind| {
                let kind = match (kind, *own.get(&name)?) {
                    (a, b) if a == b => a,
                    (ColumnKind::Text, _) | (_, ColumnKind::Text) => ColumnKind::Text,
                    _ => ColumnKind::Float,
                };
                Some((name, kind))
            };
            common.into_iter().filter_map(|(name, kind)| merged(name, kind)).collect()
        })
    }
}

/// What a plan rests on beside its parameters: the parts of the signed job that say who brings what.
#[derive(Clone, Copy, Default)]
pub struct Parts<'a> {
    /// Who has data.
    pub providers: &'a [ProviderRef],
    /// Who has a model.
    pub models: &'a [ModelRef],
    /// Who deals.
    pub dealer: Option<NodeId>,
    /// What came under seal.
    pub attachments: &'a [AttachmentRef],
}

impl<'a> Parts<'a> {
    /// Those of a job.
    pub fn of(spec: &'a JobSpec) -> Self {
        let JobSpec { providers, models, dealer, attachments, .. } = spec;
        Self { providers, models, dealer: *dealer, attachments }
    }
}

/// What an owner's node brings to its local half beside rows.
#[derive(Clone, Default)]
pub struct Material {
    /// This owner's model, in its canonical bytes.
    pub model: Option<Vec<u8>>,
    /// The job's attachments, opened, by name.
    pub attachments: BTreeMap<String, Vec<u8>>,
}

/// A checked job of one kind.
pub trait Plan: Send + Sync {
    /// Columns and parties, for this owner's decision.
    fn facts(&self, owner: &NodeId) -> JobFacts;

    /// The window that it opens: the recipient has a seat and asks during the run. No window unless the kind says so.
    fn online(&self) -> Option<OnlineFacts> {
        None
    }

    /// As [`Plan::online`], as the recipient's own node needs to know it.
    fn window(&self) -> Option<Reading> {
        None
    }

    /// The lists of keys that it brings together. None unless the kind says so.
    fn aligns(&self) -> Option<AlignFacts> {
        None
    }

    /// What this job keeps at its owners for later jobs: the terms of an alignment. Nothing unless the kind says so.
    fn kept(&self) -> Option<&AlignParams> {
        None
    }

    /// Whether what its owners give to the sum for the recipient is the same numbers whatever their rows are. Then an attempt can
    /// be made again after that has left, and after parties have voted for its end. Not so unless the kind says so.
    fn sums_constants(&self) -> bool {
        false
    }

    /// The job as one that computes on shares of rows by ids, of which nobody knows which match. Then no other half of it reads
    /// rows: [`Plan::fold`] gives none. Not so unless the kind says so.
    fn on_shares(&self) -> Option<Arc<dyn OnShares>> {
        None
    }

    /// The alignment whose keys are its rows, where no list of keys names them. None unless the job says so.
    fn rows_of(&self) -> Option<JobId> {
        None
    }

    /// What its rows may be: ids of an alignment for a kind that computes on shares of them, and for no other; the keys that one
    /// alignment found, for a job whose rows these are.
    fn feeds(&self) -> Feeds {
        match (self.on_shares(), self.rows_of()) {
            (Some(job), _) => Feeds::Shares { alignment: job.alignment() },
            (None, Some(alignment)) => Feeds::Found { alignment },
            (None, None) => Feeds::Rows,
        }
    }

    /// Everything that the job opens, to whom, and how much of it at most.
    fn disclosures(&self) -> Vec<Disclosure>;

    /// What this owner's node reads. Asked of data owners alone.
    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery;

    /// This owner's local half: takes batches of rows, gives the joint half.
    ///
    /// # Errors
    /// What is wrong with the material.
    fn fold(&self, owner: &NodeId, material: Material) -> Result<Box<dyn Fold>, Fault>;

    /// As [`Plan::fold`], for kinds whose halves work in room that the owner's node lends; see [`Desk`].
    ///
    /// # Errors
    /// Those of [`Plan::fold`].
    fn fold_at(&self, owner: &NodeId, material: Material, _desk: Desk) -> Result<Box<dyn Fold>, Fault> {
        self.fold(owner, material)
    }

    /// The cost, from public parameters alone.
    fn estimate(&self, parties: usize) -> Estimate;

    /// What finds parties that deviate, and what it costs. Nothing unless the job asks for it.
    fn safeguard(&self, _parties: usize) -> Option<Safeguard> {
        None
    }

    /// What it costs that every node checks the sums for itself. Nothing unless the job asks for it.
    fn checks(&self, _parties: usize) -> Option<Price> {
        None
    }

    /// The recipient's half: turns the opened vector into a result.
    ///
    /// # Errors
    /// `receipt.invalid` when the vector is not one of this job's.
    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault>;
}

/// The sum that the recipient unblinded, and over how many parties.
pub struct OpenedVector {
    /// The cells.
    pub cells: Vec<u128>,
    /// Parties in the sum.
    pub survivors: usize,
}

/// What a job costs each party.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimate {
    /// Vector cells under masks, over all rounds.
    pub cells: u64,
    /// Payload bytes that one node sends.
    pub bytes_up: u64,
    /// Message exchanges, one after the other.
    pub rounds: u64,
}

/// The terms of a verified job, and its payload bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Safeguard {
    /// Deals of randomness that are opened and derived again: a wrong dealer is found with probability a / (a + 1).
    pub audits: u8,
    /// Bytes that one party sends at most, the sum for the recipient included.
    pub sent: u64,
    /// Bytes that the dealer sends.
    pub dealt: u64,
}

/// Takes the rows of the local query batch by batch. Holds what it must, never the rows.
pub trait Fold: Send {
    /// Takes a batch. The first may be empty: it shows the columns.
    ///
    /// # Errors
    /// `data.column_type`, `data.column_unknown`: of the columns, never of a value. An end that depends on the value
    /// of a row tells the operator about that row. `data.too_large` over the job's `rows_max`.
    fn take(&mut self, batch: &Columns) -> Result<(), Fault>;

    /// What the owner should know of its own rows, and nobody else. Without values of rows.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Of a window, at an owner of rows or of a model: its seat asks its own node before it answers calls, because the
    /// contract limits them over all of its windows.
    fn count_keys(&mut self) {}

    /// The sets of rows that its exact numbers are of, each by what the numbers are: two sets of one name can be taken from
    /// each other. `None` for a half that has no exact numbers of sets of rows.
    fn sets(&self) -> Option<Vec<String>> {
        None
    }

    /// Names the rows of a batch that was taken, one by one, with the place of each set in [`Fold::sets`] that has them.
    ///
    /// # Errors
    /// Those of [`Fold::take`].
    fn members(&self, _batch: &Columns, _each: &mut dyn FnMut(usize, usize)) -> Result<(), Fault> {
        Ok(())
    }

    /// Ends the local half.
    fn finish(self: Box<Self>) -> Box<dyn JointHalf>;
}

/// What all seats of an attempt know alike.
#[derive(Clone)]
pub struct JointContext {
    /// Binds job, contracts, roster and attempt.
    pub session: Hash,
    /// The seat that adds and unmasks.
    pub aggregator: Seat,
    /// Milliseconds that one step may take.
    pub step_ms: u64,
    /// The floor.
    pub cohort: Cohort,
    /// The recipient's key.
    pub recipient: SealPublic,
    /// The root keys of the seats' owners, by seat.
    pub owners: Vec<NodeId>,
}

/// The future of a joint half.
pub type JointFuture = Pin<Box<dyn Future<Output = Result<JointOutput, Abort>> + Send>>;

/// The joint half of one party, holding its contribution.
pub trait JointHalf: Send {
    /// Runs the protocol.
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture;
}

/// How a party's joint half ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JointOutput {
    /// At the aggregator: the sealed result, opaque without the releases and the recipient's key.
    pub package: Option<Vec<u8>>,
    /// At every other survivor of checked sums: SHA-256 of the sealed result, which it has made for itself.
    pub made: Option<Hash>,
    /// This party's part of the key, handed out only after the receipt is in a cosigned checkpoint.
    pub release: Vec<u8>,
    /// Whose inputs are in the result.
    pub survivors: Vec<Seat>,
    /// Vector cells that this party contributed under masks.
    pub cells_in: u64,
    /// Bytes of those cells: of each vector, its length times the bytes of a number. A vector goes to the aggregator as
    /// these bytes, without those of chunks, headers and signatures; the aggregator takes no more and no fewer.
    pub payload_bytes: u64,
    /// Cells released to the recipient.
    pub cells_out: u64,
    /// Cells suppressed by the floor.
    pub cells_suppressed: u64,
    /// What each party has contributed, by seat, where not all have contributed alike.
    pub each: Vec<Given>,
}

/// A result as its recipient sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Opened {
    /// For programs.
    pub json: serde_json::Value,
    /// For people.
    pub tables: Vec<Table>,
}

/// A table for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Column heads.
    pub head: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
}
