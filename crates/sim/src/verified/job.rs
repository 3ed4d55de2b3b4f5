//! A verified job: who has what, what must come out, and the recipient's part.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{Prg, SealKey, Secret, SigningKey, Transcript};
use tacit_governance::dataset::ColumnKind;
use tacit_governance::{AttachmentRef, Cohort, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::{DraftProvider, OpenedVector};
use tacit_jobs::score::keys;
use tacit_jobs::{Draft, JointContext, JointOutput, Material, Parts, Plan, session};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_protocol::{Machine, Seating, Setup};
use tacit_types::{
    Attempt, Column, Columns, DatasetVersionId, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat, Values,
};

use super::deviation::{Deviation, Summand};
use super::world::Ran;
use crate::bug::Bug;
use crate::dice::Dice;
use crate::run::Options;

/// Milliseconds of a step.
pub const STEP_MS: u64 = 5_000;
/// Keys that are asked for; nobody has the last.
const KEYS: [&str; 4] = ["r0", "r1", "r2", "nobody"];
const KIND: &str = "score-linear/v1";
/// How far a score may be from the exact one.
const ERROR: f64 = 1e-4;
/// Words of a number with its code, of the key, of the seal's seed, and sums of subsets.
const WORDS: usize = 4;
const KEY_WORDS: usize = 2;
const SEED_WORDS: usize = 4;
const TAGS: usize = 64;

/// A job among owners of one feature each, the owner of a private model, and a dealer.
pub struct Job {
    /// Ascending by id: the order of seats.
    keys: Vec<Arc<SigningKey>>,
    owners: Vec<NodeId>,
    model: NodeId,
    dealer: NodeId,
    /// By owner, then row.
    values: Vec<Vec<i64>>,
    weights: Vec<f64>,
    written: Value,
    seed: [u8; 32],
    recipient: SealKey,
}

fn feature(owner: usize) -> String {
    format!("f{owner}")
}

impl Job {
    /// Two, three or five that compute, and the dealer. With `unverified` what was to be verified is not.
    pub fn draw(dice: &mut Dice, unverified: bool) -> Self {
        let (data, own) = *dice.pick(&[(1, false), (1, false), (2, false), (3, true), (2, true), (5, true)]);
        let parties = data + usize::from(!own);
        let mut keys: Vec<Arc<SigningKey>> =
            (0..=parties).map(|_| Arc::new(SigningKey::from_seed(&Secret::new(dice.bytes())))).collect();
        let ids: Vec<NodeId> = keys.iter().map(|k| k.id()).collect();
        let mut owners: Vec<NodeId> = ids[..data].to_vec();
        owners.sort_unstable();
        keys.sort_by_key(|k| k.id());
        let rows = KEYS.len() - 1;
        let values = (0..data).map(|_| (0..rows).map(|_| dice.below(17) as i64 - 8).collect()).collect();
        // Quarters, and no zero: each value counts.
        let weights =
            (0..data).map(|_| dice.between(1, 12) as f64 / 4.0 * [1.0, -1.0][dice.below(2) as usize]).collect();
        let edge = format!("{}.125", dice.below(9) as i64 - 4);
        let output = match dice.below(4) {
            0 => json!({}),
            1 => json!({"output": "rounded", "decimals": 0}),
            2 => json!({"output": "band", "bands": ["-20.125", edge, "20.125"]}),
            _ => json!({"output": "decision", "threshold": edge}),
        };
        let ranges: BTreeMap<String, [&str; 2]> = (0..data).map(|i| (feature(i), ["-8", "8"])).collect();
        let unknown = *dice.pick(&["flag", "flag", "default"]);
        let audits = dice.below(3);
        let mut written = json!({
            "key": "id", "mode": "private", "bound": "256", "error": "0.0001", "ranges": ranges, "unknown": unknown,
        });
        let fields = written.as_object_mut().expect("why: it is an object");
        fields.extend(output.as_object().cloned().unwrap_or_default());
        if !unverified {
            fields.insert("verified".into(), json!(true));
            fields.insert("audits".into(), json!(audits));
        }
        Self {
            model: if own { ids[0] } else { ids[data] },
            dealer: ids[parties],
            keys,
            owners,
            values,
            weights,
            written,
            seed: dice.bytes(),
            recipient: SealKey::generate(&mut tacit_crypto::Rng::from_seed(&Secret::new(dice.bytes()))),
        }
    }

    pub fn describe(&self) -> String {
        format!("{} seats, the dealer in seat {}; {}", self.seats(), self.dealer_seat(), self.written)
    }

    pub fn seats(&self) -> usize {
        self.keys.len()
    }

    pub fn dealer_seat(&self) -> usize {
        self.keys.iter().position(|k| k.id() == self.dealer).unwrap_or(usize::MAX)
    }

    /// Numbers that the recipient opens.
    pub fn numbers(&self) -> usize {
        KEYS.len() * if self.written["unknown"] == json!("flag") { 2 } else { 1 }
    }

    fn plan(&self) -> Box<dyn Plan> {
        let provider = |(i, owner): (usize, &NodeId)| DraftProvider {
            name: format!("p{i}"),
            owner: *owner,
            columns: [(feature(i), ColumnKind::Int), ("id".to_owned(), ColumnKind::Text)].into(),
        };
        let model = ModelRef { owner: self.model, model: ModelVersionId([1; 32]) };
        let descriptor = ModelDescriptor {
            format: 1,
            owner: self.model,
            name: Name::new("credit").expect("why: it is a name"),
            version: 1,
            family: ModelFamily::Linear,
            features: (0..self.owners.len()).map(feature).collect(),
            commitment: Hash([0; 32]),
        };
        let draft = Draft {
            providers: self.owners.iter().enumerate().map(provider).collect(),
            models: vec![(model.clone(), descriptor)],
            dealer: Some(self.dealer),
            keys: Some(KEYS.len() as u64),
        };
        let refer =
            |owner: &NodeId| ProviderRef { owner: *owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = self.owners.iter().map(refer).collect();
        let hash = Hash([1; 32]);
        let keys = AttachmentRef { name: keys::ATTACHMENT.into(), plain: hash, sealed: hash, bytes: 64 };
        let parts = Parts { providers: &providers, models: &[model], dealer: Some(self.dealer), attachments: &[keys] };
        let kind = tacit_jobs::kind(KIND).expect("why: it is in the catalogue");
        let params = kind.draft(self.written.clone(), &draft).expect("why: sound parameters");
        kind.plan(&params, &parts).expect("why: sound parameters")
    }

    fn whole_model(&self) -> Vec<u8> {
        let term = |(i, weight): (usize, &f64)| Term {
            feature: i as u32,
            shape: Shape::Linear { weight: *weight, missing: None },
        };
        let terms = self.weights.iter().enumerate().map(term).collect();
        let features = (0..self.weights.len()).map(|i| Feature::numeric(feature(i))).collect();
        let meta = Meta { owner: self.model, name: Name::new("credit").expect("why: it is a name"), version: 1 };
        let kind = Kind::Additive(Additive { intercept: 0.0, terms });
        Model::new(meta, features, Link::Identity, kind).expect("why: the model is sound").encode()
    }

    fn rows(&self, owner: usize) -> Columns {
        let ids = KEYS.iter().take(KEYS.len() - 1).map(|k| (*k).to_owned()).collect();
        let columns = vec![
            Column { name: "id".into(), valid: None, values: Values::Text(ids) },
            Column { name: feature(owner), valid: None, values: Values::Int(self.values[owner].clone()) },
        ];
        Columns { rows: KEYS.len() - 1, columns }
    }

    /// What this job lists as opened.
    pub fn disclosed(&self) -> BTreeMap<String, u64> {
        self.plan().disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect()
    }

    /// A seat's machine.
    pub fn machine(&self, seat: usize) -> Machine<JointOutput> {
        let (plan, me) = (self.plan(), self.keys[seat].id());
        let owner = self.owners.iter().position(|o| *o == me);
        let mut material = Material::default();
        if owner.is_some() {
            let list = keys::encode(KEYS).expect("why: the keys are sound").1;
            material.attachments.insert(keys::ATTACHMENT.to_owned(), list);
        }
        material.model = (self.model == me).then(|| self.whole_model());
        let mut fold = plan.fold(&me, material).expect("why: the material is sound");
        if let Some(owner) = owner {
            fold.take(&self.rows(owner)).expect("why: the rows are sound");
        }
        let ids: Vec<NodeId> = self.keys.iter().map(|k| k.id()).collect();
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: Seating::new(ids.clone()).expect("why: the keys are distinct"),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let context = JointContext {
            session: Hash(self.seed),
            aggregator: Seat(0),
            step_ms: STEP_MS,
            cohort: Cohort { rows: 3, contributors: 2 },
            recipient: self.recipient.public(),
            owners: ids,
        };
        let mut seed = self.seed;
        seed[0] ^= seat as u8 + 1;
        let half = fold.finish();
        Machine::new(setup, &Secret::new(seed), self.keys[seat].clone(), Millis(0), |p| half.run(p, context))
    }

    /// The recipient's part: what it opens, or why it does not.
    pub fn open(&self, ran: &Ran, deviation: Option<&Deviation>, options: &Options) -> Result<Value, String> {
        let package = ran.package.as_ref().filter(|_| ran.releases.len() == self.seats());
        let package = package.ok_or_else(|| ran.end.clone())?;
        let unblind = |bytes: &[u8]| {
            let mut opened = session::unblind(&self.recipient, bytes, &ran.releases)?;
            if let Some(Deviation::Sum(summand)) = deviation {
                self.add(&mut opened.cells, summand, options.has(Bug::LeakSeal));
            }
            Ok(opened)
        };
        if options.has(Bug::OpenUnchecked) {
            return self.open_unchecked(package, &unblind);
        }
        self.plan().open(package, &unblind).map(|opened| opened.json).map_err(|fault| fault.code.text().to_owned())
    }

    /// As a recipient would that takes each number and leaves its code alone.
    fn open_unchecked(
        &self,
        package: &[u8],
        unblind: &dyn Fn(&[u8]) -> Result<OpenedVector, tacit_types::Fault>,
    ) -> Result<Value, String> {
        let mut plain = self.written.clone();
        plain.as_object_mut().into_iter().for_each(|o| o.retain(|name, _| name != "verified" && name != "audits"));
        let other = Self {
            written: plain,
            keys: self.keys.clone(),
            owners: self.owners.clone(),
            values: Vec::new(),
            weights: Vec::new(),
            recipient: SealKey::from_bytes(&self.recipient.to_bytes()).expect("why: it is a key"),
            ..*self
        };
        let numbers = self.numbers();
        let open = |bytes: &[u8]| {
            let mut opened = unblind(bytes)?;
            opened.cells = opened.cells.into_iter().step_by(WORDS).take(numbers).collect();
            Ok(opened)
        };
        other.plan().open(package, &open).map(|opened| opened.json).map_err(|fault| fault.code.text().to_owned())
    }

    /// Adds to the sum what a seat may add to its own summand. A party knows the seal's seed and not the codes' key; the
    /// dealer knows the key, and the seed only where the bug told it.
    fn add(&self, cells: &mut [u128], summand: &Summand, leaked: bool) {
        let sealed = WORDS * self.numbers() + KEY_WORDS;
        if cells.len() != sealed + SEED_WORDS + TAGS {
            // Of a job that is not verified: nothing is sealed.
            let at = summand.at % cells.len().max(1);
            cells.iter_mut().skip(at).take(1).for_each(|cell| *cell = wrapped(*cell, summand.more));
            return;
        }
        let dealer = summand.seat == self.dealer_seat();
        if dealer {
            let number = WORDS * (summand.at % self.numbers());
            let key = cells[WORDS * self.numbers()] + (cells[WORDS * self.numbers() + 1] << 32);
            for (at, by) in [(number, 1), (number + 2, key)] {
                let sum = wide(cells, at).wrapping_add(by.wrapping_mul(summand.more.into()));
                (cells[at], cells[at + 1]) = (sum & u128::from(u64::MAX), sum >> 64);
            }
        } else {
            let at = summand.at % sealed;
            cells[at] = wrapped(cells[at], summand.more);
        }
        if !dealer || leaked {
            reseal(cells, sealed);
        }
    }

    /// Whether a result is that of the plain model.
    pub fn is_right(&self, json: &Value) -> bool {
        let absent = self.written["unknown"] == json!("default");
        KEYS.iter().enumerate().all(|(row, key)| {
            let parts = (0..self.owners.len()).map(|o| self.values[o].get(row).map(|v| *v as f64 * self.weights[o]));
            let margin: f64 = parts.flatten().sum();
            let known = *key != "nobody" || absent;
            match self.written["output"].as_str() {
                Some("decision") => {
                    json["decisions"][row] == if known { json!(margin >= self.edge()) } else { Value::Null }
                }
                Some("band") => json["bands"][row] == if known { json!(self.band(margin)) } else { Value::Null },
                Some(_) => near(&json["scores"][row], known.then_some((margin + 0.5).floor())),
                None => near(&json["scores"][row], known.then_some(margin)),
            }
        })
    }

    fn edge(&self) -> f64 {
        self.written["threshold"].as_str().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN)
    }

    fn band(&self, margin: f64) -> usize {
        let edges = self.written["bands"].as_array().into_iter().flatten();
        edges.filter_map(|e| e.as_str()?.parse::<f64>().ok()).filter(|edge| margin >= *edge).count()
    }

    /// How a run ended, in a word.
    pub fn end(&self, opened: &Result<Value, String>, ran: &Ran) -> String {
        match opened {
            Ok(_) => "right".into(),
            Err(_) if ran.releases.len() < self.seats() => ran.end.clone(),
            Err(code) => format!("refused {code}"),
        }
    }
}

fn near(found: &Value, wanted: Option<f64>) -> bool {
    match (found.as_f64(), wanted) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= ERROR,
        (None, None) => true,
        _ => false,
    }
}

fn wrapped(cell: u128, more: u64) -> u128 {
    u128::from((cell as u64).wrapping_add(more))
}

fn wide(cells: &[u128], at: usize) -> u128 {
    cells[at] | cells[at + 1] << 64
}

/// Seals changed words anew, as who knows the seed can.
fn reseal(cells: &mut [u128], sealed: usize) {
    let seed: Vec<u8> = cells[sealed..sealed + SEED_WORDS].iter().flat_map(|c| (*c as u64).to_le_bytes()).collect();
    let seed: [u8; 32] = seed.try_into().expect("why: four words");
    let hash = Transcript::new("tacit-score/1/seal").fixed(&seed).finish();
    let mut key = [0; 40];
    key[..32].copy_from_slice(&hash.0);
    let mut subsets = vec![0u64; sealed];
    Prg::new(&Secret::new(key)).apply(0, &mut subsets, false);
    for tag in 0..TAGS {
        let chosen = subsets.iter().zip(&*cells).filter(|(subsets, _)| **subsets >> tag & 1 == 1);
        let sum = chosen.fold(0, |sum: u64, (_, cell)| sum.wrapping_add(*cell as u64));
        cells[sealed + SEED_WORDS + tag] = sum.into();
    }
}
