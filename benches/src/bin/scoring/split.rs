//! A split linear model through the halves that nodes run: each owner looks the keys up and scores its part, the parts are
//! summed under masks, and the recipient opens the sum.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;
use tacit_benches::case::{Case, Clock, SAMPLES, median, peak_mb, reset_peak};
use tacit_benches::mesh::{AnyError, Mesh};
use tacit_benches::world;
use tacit_crypto::{Rng, SealKey, Secret};
use tacit_governance::{AttachmentRef, Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::{DraftProvider, Fold, JointHalf};
use tacit_jobs::score::keys::{self, KEYS_MAX};
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan, session};
use tacit_models::{Additive, Feature, Frame, Kind, Link, Meta, Model, Shape, Term};
use tacit_types::limits::BATCH_ROWS;
use tacit_types::{Column, Columns, DatasetVersionId, Hash, ModelVersionId, Name, NodeId, Seat, Values};

use super::Bench;

const OWNERS: usize = 2;
/// What jobs one after the other may take, as a multiple of the first one's peak.
const PARTS_PEAK_MAX: f64 = 1.3;
/// Each owner rounds its part to 2^-28.
const ERROR: f64 = 1e-8;

fn must<T, E: core::fmt::Display>(done: Result<T, E>) -> T {
    done.unwrap_or_else(|e| panic!("{e}"))
}

fn owner(i: usize) -> NodeId {
    NodeId([i as u8 + 1; 32])
}

/// The features of an owner, or of all.
fn features(columns: usize, of: Option<usize>) -> std::ops::Range<usize> {
    let each = columns / OWNERS;
    of.map_or(0..columns, |i| i * each..(i + 1) * each)
}

fn name(feature: usize) -> String {
    format!("f{feature:03}")
}

fn weight(feature: usize) -> f64 {
    (feature % 13) as f64 / 8.0 - 0.7
}

fn model(columns: usize, of: Option<usize>) -> Model {
    let own = features(columns, of);
    let term = |(i, feature): (u32, usize)| Term {
        feature: i,
        shape: Shape::Linear { weight: weight(feature), missing: None },
    };
    let kind = Kind::Additive(Additive { intercept: 0.25, terms: (0..).zip(own.clone()).map(term).collect() });
    let meta = Meta { owner: owner(of.unwrap_or(0)), name: must(Name::new("credit")), version: 1 };
    must(Model::new(meta, own.map(|f| Feature::numeric(name(f))).collect(), Link::Identity, kind))
}

/// Rows from one on, as an owner's query gives them, with the key.
fn rows(first: usize, count: usize, own: std::ops::Range<usize>) -> Columns {
    let ids = (first..first + count).map(|row| format!("{row:09}")).collect();
    let value = |row: usize, f: usize| ((row * 31 + f * 17) % 1001) as f64 / 8.0 - 62.5;
    let column = |f: usize| Column {
        name: name(f),
        values: Values::Float((first..first + count).map(|row| value(row, f)).collect()),
        valid: None,
    };
    let id = Column { name: "id".into(), values: Values::Text(ids), valid: None };
    Columns { rows: count, columns: std::iter::once(id).chain(own.map(column)).collect() }
}

/// The job of so many keys, planned as each node plans it.
fn plan(columns: usize, rows: u64) -> Box<dyn Plan> {
    let provider = |i: usize| DraftProvider {
        name: format!("p{i}"),
        owner: owner(i),
        columns: features(columns, Some(i))
            .map(|f| (name(f), ColumnKind::Float))
            .chain([("id".to_owned(), ColumnKind::Text)])
            .collect(),
    };
    let part = |i: usize| {
        let named = ModelRef { owner: owner(i), model: ModelVersionId([1; 32]) };
        let descriptor = ModelDescriptor {
            format: 1,
            owner: owner(i),
            name: must(Name::new("credit")),
            version: 1,
            family: ModelFamily::Linear,
            features: features(columns, Some(i)).map(name).collect(),
            commitment: Hash([0; 32]),
        };
        (named, descriptor)
    };
    let models: Vec<(ModelRef, ModelDescriptor)> = (0..OWNERS).map(part).collect();
    let named: Vec<ModelRef> = models.iter().map(|(named, _)| named.clone()).collect();
    let draft = Draft { providers: (0..OWNERS).map(provider).collect(), models, dealer: None, keys: Some(rows) };
    let provided = |i: usize| ProviderRef { owner: owner(i), dataset: DatasetVersionId([1; 32]), view: "v".to_owned() };
    let providers: Vec<ProviderRef> = (0..OWNERS).map(provided).collect();
    let hash = Hash([1; 32]);
    let list = AttachmentRef { name: keys::ATTACHMENT.into(), plain: hash, sealed: hash, bytes: 64 };
    let parts = Parts { providers: &providers, models: &named, dealer: None, attachments: &[list] };
    let kind = must(tacit_jobs::kind("score-linear/v1"));
    let params = must(kind.draft(json!({"key": "id", "mode": "split", "unknown": "default"}), &draft));
    must(kind.plan(&params, &parts))
}

/// What the halves are told: two owners, and a recipient who is neither.
fn context(recipient: &SealKey) -> JointContext {
    JointContext {
        session: Hash([7; 32]),
        aggregator: Seat(0),
        step_ms: 60_000,
        cohort: Cohort { rows: 3, contributors: 2 },
        recipient: recipient.public(),
        owners: (0..OWNERS).map(owner).collect(),
    }
}

fn recipient() -> SealKey {
    SealKey::generate(&mut Rng::from_seed(&Secret::new([9; 32])))
}

/// The list of keys of the rows, as an attachment.
fn keys_of(first: usize, count: usize) -> Vec<u8> {
    let ids: Vec<String> = (first..first + count).map(|row| format!("{row:09}")).collect();
    must(keys::encode(ids.iter().map(String::as_str))).1
}

/// An owner's local half, before its first row.
fn fold(plan: &dyn Plan, columns: usize, list: &[u8], i: usize) -> Box<dyn Fold> {
    let attachments = [(keys::ATTACHMENT.to_owned(), list.to_vec())].into();
    must(plan.fold(&owner(i), Material { model: Some(model(columns, Some(i)).encode()), attachments }))
}

/// The scores, as the recipient opens them.
fn opened(plan: &dyn Plan, recipient: &SealKey, outputs: Vec<JointOutput>) -> serde_json::Value {
    let releases = (0..).map(Seat).zip(outputs.iter().map(|o| o.release.clone())).collect();
    let package = outputs.into_iter().find_map(|o| o.package).unwrap_or_default();
    let json = must(plan.open(&package, &|bytes| session::unblind(recipient, bytes, &releases))).json;
    json["scores"].clone()
}

/// Processor seconds of one job.
struct Ran {
    /// Of each owner: looking up and scoring its part, then the sum.
    seats: Vec<f64>,
    /// Of plain evaluation of the whole model.
    plain: f64,
    bytes: u64,
}

/// Scores rows from one on, as one job, and holds every score to the plain one.
fn job(columns: usize, first: usize, count: usize) -> Ran {
    let plan = plan(columns, count as u64);
    let list = keys_of(first, count);
    let mut seats = vec![0.0; OWNERS];
    let mut halves: Vec<Option<Box<dyn JointHalf>>> = Vec::new();
    for (i, seconds) in seats.iter_mut().enumerate() {
        let mut fold = fold(&*plan, columns, &list, i);
        for at in (first..first + count).step_by(BATCH_ROWS) {
            let batch = rows(at, BATCH_ROWS.min(first + count - at), features(columns, Some(i)));
            let clock = Clock::start();
            must(fold.take(&batch));
            *seconds += clock.seconds();
        }
        halves.push(Some(fold.finish()));
    }
    drop(list);
    let (recipient, halves) = (recipient(), Mutex::new(halves));
    let report = world::run(OWNERS, &plan.disclosures(), &BTreeMap::new(), |party| {
        let half = halves.lock().ok().and_then(|mut all| all.get_mut(party.seat().index())?.take());
        half.unwrap_or_else(|| panic!("a seat runs once")).run(party, context(&recipient))
    });
    let bytes = report.work.iter().map(|work| work.bytes_of(|_| true)).max().unwrap_or(0);
    seats.iter_mut().zip(&report.work).for_each(|(seconds, work)| *seconds += work.seconds_of(|_| true));
    let scores = opened(&*plan, &recipient, report.outcomes.into_values().map(must).collect());
    Ran { seats, plain: plain(columns, first, &scores), bytes }
}

/// Seconds of plain evaluation of the rows, whose margins the scores are held to.
fn plain(columns: usize, first: usize, scores: &serde_json::Value) -> f64 {
    let (whole, mut seconds) = (model(columns, None), 0.0);
    let scores = scores.as_array().map_or(&[][..], Vec::as_slice);
    for (i, scores) in scores.chunks(BATCH_ROWS).enumerate() {
        let batch = rows(first + i * BATCH_ROWS, scores.len(), features(columns, None));
        let clock = Clock::start();
        let margins = must(Frame::new(whole.features(), &batch).and_then(|frame| whole.margins(&frame)));
        seconds += clock.seconds();
        for (score, margin) in scores.iter().zip(margins) {
            // Each part has the intercept.
            let error = score.as_f64().map_or(f64::NAN, |score| (score - margin - 0.25).abs());
            assert!(error < ERROR, "{score}, not {}", margin + 0.25);
        }
    }
    seconds
}

/// One job against plain evaluation of the same rows.
pub fn beside_plain(rows: usize, columns: usize, bench: &Bench) {
    let case = format!("split_{rows}x{columns}");
    if !bench.wants(&case) {
        return;
    }
    reset_peak();
    let runs: Vec<Ran> = (0..SAMPLES).map(|_| job(columns, 0, rows)).collect();
    let busiest = |ran: &Ran| ran.seats.iter().copied().fold(0.0, f64::max);
    bench.print(Case {
        case,
        n: rows,
        d: columns,
        parties: OWNERS,
        seconds: median(runs.iter().map(busiest).collect()),
        bytes_sent: runs.first().map_or(0, |ran| ran.bytes),
        limit_seconds: median(runs.iter().map(|ran| ran.plain).collect()),
        peak_mb: peak_mb(),
        samples: SAMPLES,
        note: "split model; the busiest owner, its keys looked up and its part scored and summed; limit: plain evaluation \
               of the whole model"
            .to_owned(),
        ..Case::default()
    });
}

/// One job over QUIC on loopback, by the clock: both owners look up and score side by side, then sum over the links, which
/// are up.
pub async fn over_quic(rows_count: usize, columns: usize, bench: &Bench) -> Result<(), AnyError> {
    let case = format!("quic_split_{rows_count}x{columns}");
    if !bench.wants(&case) {
        return Ok(());
    }
    let mesh = Mesh::connect(OWNERS).await?;
    let (plan, list, recipient) = (plan(columns, rows_count as u64), keys_of(0, rows_count), recipient());
    let batches: Vec<Arc<Vec<Columns>>> = (0..OWNERS)
        .map(|i| {
            let at = (0..rows_count).step_by(BATCH_ROWS);
            Arc::new(at.map(|at| rows(at, BATCH_ROWS.min(rows_count - at), features(columns, Some(i)))).collect())
        })
        .collect();
    reset_peak();
    let (mut seconds, mut limit, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        let local = batches.iter().enumerate().map(|(i, batches)| {
            let (mut fold, batches) = (fold(&*plan, columns, &list, i), batches.clone());
            tokio::task::spawn_blocking(move || {
                batches.iter().for_each(|batch| must(fold.take(batch)));
                fold.finish()
            })
        });
        let mut halves = Vec::new();
        for half in local.collect::<Vec<_>>() {
            halves.push(Some(half.await?));
        }
        let halves = Mutex::new(halves);
        let disclosures = plan.disclosures();
        let ran = mesh.run(&disclosures, |party| {
            let half = halves.lock().ok().and_then(|mut all| all.get_mut(party.seat().index())?.take());
            half.unwrap_or_else(|| panic!("a seat runs once")).run(party, context(&recipient))
        });
        let ran = ran.await?;
        seconds.push(begun.elapsed().as_secs_f64());
        bytes = ran.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let scores = opened(&*plan, &recipient, ran.into_iter().map(|(output, _)| output).collect());
        limit.push(self::plain(columns, 0, &scores));
    }
    bench.print(Case {
        case,
        n: rows_count,
        d: columns,
        parties: OWNERS,
        seconds: median(seconds),
        bytes_sent: bytes,
        limit_seconds: median(limit),
        peak_mb: peak_mb(),
        samples: SAMPLES,
        note:
            "split model; wall time, both owners on the machine's cores; limit: plain evaluation of the whole model on \
               one core"
                .to_owned(),
        ..Case::default()
    });
    Ok(())
}

/// A list of so many keys in parts of a job each, one after the other: the most memory of all seats and the recipient.
pub fn in_parts(rows: usize, columns: usize, bench: &Bench) {
    let case = format!("batch_split_{rows}x{columns}");
    if !bench.wants(&case) {
        return;
    }
    reset_peak();
    let (mut seconds, mut limit, mut bytes, mut one, mut parts) = (0.0, 0.0, 0, 0.0, 0);
    for first in (0..rows).step_by(KEYS_MAX as usize) {
        let ran = job(columns, first, rows.min(first + KEYS_MAX as usize) - first);
        seconds += ran.seats.iter().copied().fold(0.0, f64::max);
        limit += ran.plain;
        bytes += ran.bytes;
        parts += 1;
        if parts == 1 {
            one = peak_mb();
        }
    }
    let peak = peak_mb();
    assert!(peak <= one * PARTS_PEAK_MAX, "{case}: {peak:.0} MB, and {one:.0} MB with the first job");
    bench.print(Case {
        case,
        n: rows,
        d: columns,
        parties: OWNERS,
        seconds,
        bytes_sent: bytes,
        limit_seconds: limit,
        peak_mb: peak,
        samples: 1,
        note: format!(
            "split model, {parts} jobs one after the other; the busiest owner; memory of both owners and the recipient, \
             {one:.0} MB with the first job; limit: plain evaluation"
        ),
        ..Case::default()
    });
}
