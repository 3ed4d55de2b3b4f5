//! All seats of a job in one place, with fixed keys and seeds and no time passing: what a run of a test vector gives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{AttachmentRef, Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_models::{Format, Import, Meta, Model};
use tacit_protocol::{Effect, Event, Machine, Seating, Setup};
use tacit_types::{
    Attempt, Code, Column, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, ModelVersionId, NodeId, Seat, Values,
};

use super::vectors::{Cells, Owner, Run, credit};
use crate::{Draft, DraftProvider, JointContext, JointOutput, Material, Parts, Plan, score, session};

/// Milliseconds that a step may take; none passes.
const STEP_MS: u64 = 1_000;
/// Bytes of a stream.
const STREAM_BYTES_MAX: u64 = 1 << 32;
/// The floor of every run.
const FLOOR: Cohort = Cohort { rows: 3, contributors: 2 };

/// One who has a seat.
struct Seated<'a> {
    key: SigningKey,
    owner: Option<&'a Owner>,
    model: Option<Model>,
}

fn broken(what: impl Into<String>) -> Fault {
    Fault::new(Code::Internal, what)
}

fn hash(byte: u8) -> Hash {
    Hash([byte; 32])
}

impl Cells {
    fn kind(&self) -> ColumnKind {
        match self {
            Cells::Int(_) => ColumnKind::Int,
            Cells::Float(_) => ColumnKind::Float,
            Cells::Text(_) => ColumnKind::Text,
        }
    }

    fn column(&self, name: &str) -> Column {
        fn split<T: Clone + Default>(cells: &[Option<T>]) -> (Vec<T>, Vec<bool>) {
            cells.iter().map(|cell| (cell.clone().unwrap_or_default(), cell.is_some())).unzip()
        }
        let (values, valid) = match self {
            Cells::Int(cells) => {
                let (values, valid) = split(cells);
                (Values::Int(values), valid)
            }
            Cells::Float(cells) => {
                let (values, valid) = split(cells);
                (Values::Float(values), valid)
            }
            Cells::Text(cells) => {
                let (values, valid) = split(cells);
                (Values::Text(values), valid)
            }
        };
        Column { name: name.to_owned(), values, valid: Some(valid) }
    }
}

impl Owner {
    fn rows(&self) -> Columns {
        let columns: Vec<Column> = self.columns.iter().map(|(name, cells)| cells.column(name)).collect();
        let rows = columns.first().and_then(|column| column.valid.as_ref()).map_or(0, Vec::len);
        Columns { rows, columns }
    }
}

/// The seats, ascending by key: the owners in their order have the first keys, the dealer the next.
fn seated(run: &Run) -> Result<Vec<Seated<'_>>, Fault> {
    let mut all = Vec::new();
    let owners = run.owners.iter().map(Some).chain(run.dealer.then_some(None));
    for (i, owner) in owners.enumerate() {
        let seed = u8::try_from(i + 1).map_err(|_| broken("too many owners"))?;
        let key = SigningKey::from_seed(&Secret::new([seed; 32]));
        let model = owner.and_then(|owner| owner.model.as_ref());
        let meta = Meta { owner: key.id(), name: credit()?, version: 1 };
        let model =
            model.map(|file| Format::Linear.read(Import::new(meta), file.to_string().as_bytes())).transpose()?;
        all.push(Seated { key, owner, model });
    }
    Ok(all)
}

/// What a run gives: the opened result, and what each seat counted.
///
/// # Errors
/// Those of the kind; `internal` where a seat does not end well.
pub(super) fn run(kind: &str, run: &Run) -> Result<Value, Fault> {
    let kind = crate::kind(kind)?;
    let mut all = seated(run)?;
    let (rows, keys) = match run.keys.is_empty() {
        true => (None, Vec::new()),
        false => {
            let (rows, bytes) = score::keys::encode(run.keys.iter().map(String::as_str))?;
            (Some(rows), bytes)
        }
    };
    let dealer = all.iter().find(|seat| seat.owner.is_none()).map(|seat| seat.key.id());
    let provider = |seat: &Seated<'_>| {
        let owner = seat.owner?;
        let columns = owner.columns.iter().map(|(name, cells)| (name.clone(), cells.kind())).collect();
        Some(DraftProvider { name: owner.name.clone(), owner: seat.key.id(), columns })
    };
    let credit = credit()?;
    let named = |seat: &Seated<'_>| {
        let model = seat.model.as_ref()?;
        let descriptor = ModelDescriptor {
            format: 1,
            owner: seat.key.id(),
            name: credit.clone(),
            version: 1,
            family: ModelFamily::Linear,
            features: model.features().iter().map(|feature| feature.name.clone()).collect(),
            commitment: hash(0),
        };
        Some((ModelRef { owner: seat.key.id(), model: ModelVersionId([1; 32]) }, descriptor))
    };
    let draft = Draft {
        providers: all.iter().filter_map(provider).collect(),
        models: all.iter().filter_map(named).collect(),
        dealer,
        keys: rows,
    };
    let view = |p: &DraftProvider| ProviderRef { owner: p.owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
    let providers: Vec<ProviderRef> = draft.providers.iter().map(view).collect();
    let models: Vec<ModelRef> = draft.models.iter().map(|(at, _)| at.clone()).collect();
    let list = AttachmentRef { name: "keys".into(), plain: hash(1), sealed: hash(2), bytes: keys.len() as u64 };
    let attachments: Vec<AttachmentRef> = rows.map(|_| list).into_iter().collect();
    let params = kind.draft(run.written.clone(), &draft)?;
    let parts = Parts { providers: &providers, models: &models, dealer, attachments: &attachments };
    let plan = kind.plan(&params, &parts)?;
    all.sort_by_key(|seat| seat.key.id());
    let outputs = play(plan.as_ref(), &all, &keys)?;
    let recipient = recipient()?;
    let places = (0u16..).map(Seat);
    let releases: BTreeMap<Seat, Vec<u8>> = places.zip(outputs.iter().map(|o| o.release.clone())).collect();
    let package = outputs.iter().find_map(|o| o.package.as_ref()).ok_or_else(|| broken("nobody made a result"))?;
    let opened = plan.open(package, &|bytes| session::unblind(&recipient, bytes, &releases))?;
    let counts = outputs.iter().map(|o| json!([o.cells_in, o.payload_bytes, o.cells_out, o.cells_suppressed]));
    Ok(json!({"result": opened.json, "counts": counts.collect::<Vec<_>>()}))
}

fn recipient() -> Result<SealKey, Fault> {
    let bytes = core::array::from_fn(|i| if i == 0 { 9 } else { 0 });
    SealKey::from_bytes(&Secret::new(bytes)).ok_or_else(|| broken("the recipient's key"))
}

/// Steps all seats until each has ended.
fn play(plan: &dyn Plan, all: &[Seated<'_>], keys: &[u8]) -> Result<Vec<JointOutput>, Fault> {
    let ids: Vec<NodeId> = all.iter().map(|seat| seat.key.id()).collect();
    let seating = Seating::new(ids.clone()).ok_or_else(|| broken("the seats"))?;
    let mut machines: Vec<Machine<JointOutput>> = Vec::new();
    for (seat, own) in (0u16..).zip(all) {
        let mut material = Material { model: own.model.as_ref().map(Model::encode), attachments: BTreeMap::new() };
        if own.owner.is_some() && !keys.is_empty() {
            material.attachments.insert("keys".into(), keys.to_vec());
        }
        let mut fold = plan.fold(&own.key.id(), material)?;
        if let Some(owner) = own.owner {
            fold.take(&owner.rows())?;
        }
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat),
            seating: seating.clone(),
            disclosures: plan.disclosures(),
            stream_bytes_max: STREAM_BYTES_MAX,
        };
        let context = JointContext {
            session: hash(5),
            aggregator: Seat(0),
            step_ms: STEP_MS,
            cohort: FLOOR,
            recipient: recipient()?.public(),
            owners: ids.clone(),
        };
        let half = fold.finish();
        let mut seed = [40; 32];
        seed[..2].copy_from_slice(&seat.to_le_bytes());
        let key = Arc::new(own.key.share());
        machines.push(Machine::new(setup, &Secret::new(seed), key, Millis(0), |party| half.run(party, context)));
    }
    let mut events: VecDeque<(usize, Event)> = (0..machines.len()).map(|i| (i, Event::Start)).collect();
    while let Some((to, event)) = events.pop_front() {
        let Some(machine) = machines.get_mut(to) else { continue };
        for effect in machine.step(Millis(0), event) {
            match effect {
                Effect::Send(message) => events.push_back((message.address.to.index(), Event::Received(message))),
                Effect::Credit { to: sender, consumed } => {
                    let from = Seat(u16::try_from(to).unwrap_or(u16::MAX));
                    events.push_back((sender.index(), Event::Credit { from, consumed }));
                }
                Effect::Persist { ticket, .. } => events.push_back((to, Event::Persisted { ticket })),
                _ => {}
            }
        }
    }
    let outcome = |machine: &mut Machine<JointOutput>| match machine.take_outcome() {
        Some(Ok(output)) => Ok(output),
        Some(Err(abort)) => Err(broken(format!("a seat ended with {abort:?}"))),
        None => Err(broken("a seat waits for ever")),
    };
    machines.iter_mut().map(outcome).collect()
}
